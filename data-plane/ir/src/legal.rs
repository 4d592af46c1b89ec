//! The rules of an event stream (see [`crate::event`]), kept between a decoder and an encoder.
//!
//! What breaks a rule is repaired where that takes nothing but leaving out or opening; content, a finish reason or a terminal
//! mark is never made up. A few integers per stream and no allocation for a reply of one choice.

use std::fmt;

use crate::event::Event;

/// A reply has at most this many choices (OpenAI allows 128).
const MAX_CHOICES: usize = 128;

/// Where a stream stands.
#[derive(Debug, Default)]
pub struct Legality {
    started: bool,
    over: bool,
    first: Choice,
    others: Vec<Choice>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Choice {
    number: u32,
    begun: bool,
    finished: bool,
    n_calls: u32,
}

/// What to do with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Legal,
    /// Tell an empty `Start` before it.
    Open,
    /// Leave it out.
    Drop(Breach),
    /// The stream makes no sense any more: end it with an error.
    Refuse(Breach),
}

/// A rule that an event breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breach {
    /// A second `Start`.
    StartedTwice,
    /// Something behind `End` or `Error`.
    AfterEnd,
    /// A choice says more after its finish.
    AfterFinish,
    /// A choice finishes twice.
    FinishedTwice,
    /// Calls of a choice do not count from 0.
    CallOutOfOrder,
    /// Arguments of a call that has not begun.
    UnknownCall,
    /// `End` though a choice, or all, did not say why it stopped.
    Unfinished,
    TooManyChoices,
}

// === impl Legality ===

impl Legality {
    /// Judges the next event. What is judged [`Verdict::Drop`] has not happened.
    pub fn judge(&mut self, event: &Event) -> Verdict {
        if self.over {
            return Verdict::Drop(Breach::AfterEnd);
        }
        if let Event::Start { .. } = event {
            return if std::mem::replace(&mut self.started, true) {
                Verdict::Drop(Breach::StartedTwice)
            } else {
                Verdict::Legal
            };
        }
        match self.judge_started(event) {
            Ok(()) if std::mem::replace(&mut self.started, true) || matches!(event, Event::Error(_)) => Verdict::Legal,
            Ok(()) => Verdict::Open,
            Err(verdict) => verdict,
        }
    }

    /// Whether every choice has said why it stopped, and there is one.
    pub fn is_finished(&self) -> bool {
        self.first.finished && self.others.iter().all(|choice| choice.finished)
    }

    /// An error was not the end: somebody else goes on.
    pub fn goes_on(&mut self) {
        self.over = false;
    }

    fn judge_started(&mut self, event: &Event) -> Result<(), Verdict> {
        match event {
            Event::End if !self.is_finished() => return Err(Verdict::Refuse(Breach::Unfinished)),
            Event::End | Event::Error(_) => self.over = true,
            _ => {}
        }
        let Some(number) = event.choice() else { return Ok(()) };
        let choice = self.choice(number)?;
        match event {
            Event::Finish { .. } if choice.finished => return Err(Verdict::Drop(Breach::FinishedTwice)),
            Event::Finish { .. } => choice.finished = true,
            // Details of what was said, of which some upstreams think late.
            Event::Logprobs { .. } | Event::Citation { .. } | Event::ReasoningSignature { .. } if choice.finished => {
                return Err(Verdict::Drop(Breach::AfterFinish));
            }
            _ if choice.finished => return Err(Verdict::Refuse(Breach::AfterFinish)),
            Event::ToolCallStart { call, .. } if *call == choice.n_calls => choice.n_calls += 1,
            Event::ToolCallStart { .. } => return Err(Verdict::Refuse(Breach::CallOutOfOrder)),
            Event::ToolCallArguments { call, .. } if *call >= choice.n_calls => {
                return Err(Verdict::Refuse(Breach::UnknownCall));
            }
            _ => {}
        }
        Ok(())
    }

    fn choice(&mut self, number: u32) -> Result<&mut Choice, Verdict> {
        if !self.first.begun {
            self.first = Choice { number, begun: true, ..Choice::default() };
        }
        if self.first.number == number {
            return Ok(&mut self.first);
        }
        let at = self.others.iter().position(|choice| choice.number == number);
        let at = match at {
            Some(at) => at,
            None if self.others.len() + 1 == MAX_CHOICES => return Err(Verdict::Refuse(Breach::TooManyChoices)),
            None => {
                self.others.push(Choice { number, begun: true, ..Choice::default() });
                self.others.len() - 1
            }
        };
        Ok(&mut self.others[at])
    }
}

// === impl Breach ===

impl Breach {
    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::StartedTwice => "started_twice",
            Self::AfterEnd => "after_end",
            Self::AfterFinish => "after_finish",
            Self::FinishedTwice => "finished_twice",
            Self::CallOutOfOrder => "call_out_of_order",
            Self::UnknownCall => "unknown_call",
            Self::Unfinished => "unfinished",
            Self::TooManyChoices => "too_many_choices",
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StartedTwice => "it began twice",
            Self::AfterEnd => "it went on after its end",
            Self::AfterFinish => "a choice went on after it had finished",
            Self::FinishedTwice => "a choice finished twice",
            Self::CallOutOfOrder => "its tool calls are not numbered in order",
            Self::UnknownCall => "it sent arguments of a tool call that had not begun",
            Self::Unfinished => "it ended without saying why it stopped",
            Self::TooManyChoices => "it has more than 128 choices",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::FinishReason;

    fn start() -> Event {
        Event::Start { id: String::new(), model: String::new(), created: None }
    }

    fn text(choice: u32) -> Event {
        Event::Text { choice, text: "a".to_owned() }
    }

    fn call(call: u32) -> Event {
        Event::ToolCallStart { choice: 0, call, id: String::new(), name: String::new() }
    }

    fn arguments(call: u32) -> Event {
        Event::ToolCallArguments { choice: 0, call, json: "{}".to_owned() }
    }

    fn finish(choice: u32) -> Event {
        Event::Finish { choice, reason: FinishReason::Stop, stop_sequence: None }
    }

    #[test]
    fn the_last_event_is_judged() {
        let legal = Verdict::Legal;
        let cases: Vec<(Vec<Event>, Verdict)> = vec![
            (vec![start(), text(0), finish(0), Event::End], legal),
            (vec![start(), text(0), text(1), finish(1), finish(0), Event::End], legal),
            (vec![start(), call(0), arguments(0), call(1), arguments(0), arguments(1)], legal),
            (vec![start(), finish(0), Event::Usage(crate::usage::Usage::default())], legal),
            (vec![start(), finish(2), Event::End], legal),
            (vec![text(0)], Verdict::Open),
            (vec![start(), start()], Verdict::Drop(Breach::StartedTwice)),
            (vec![start(), finish(0), finish(0)], Verdict::Drop(Breach::FinishedTwice)),
            (vec![start(), finish(0), Event::End, text(0)], Verdict::Drop(Breach::AfterEnd)),
            (vec![start(), finish(0), text(0)], Verdict::Refuse(Breach::AfterFinish)),
            (vec![start(), call(1)], Verdict::Refuse(Breach::CallOutOfOrder)),
            (vec![start(), call(0), call(0)], Verdict::Refuse(Breach::CallOutOfOrder)),
            (vec![start(), arguments(0)], Verdict::Refuse(Breach::UnknownCall)),
            (vec![start(), Event::End], Verdict::Refuse(Breach::Unfinished)),
            (vec![start(), text(0), text(1), finish(0), Event::End], Verdict::Refuse(Breach::Unfinished)),
            ((0..129).map(text).collect(), Verdict::Refuse(Breach::TooManyChoices)),
        ];
        for (events, expected) in cases {
            let mut legality = Legality::default();
            let verdicts: Vec<Verdict> = events.iter().map(|event| legality.judge(event)).collect();
            assert_eq!(verdicts.last(), Some(&expected), "{events:?}");
        }
    }
}
