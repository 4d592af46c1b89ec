//! Declared departures of an upstream, or of one of its models, from its dialect. Rows of the provider catalogue and the
//! configuration name them; the lane and the dialects honour them.

use crate::dialect::Dialect;
use crate::parameters::Parameters;

/// As many stop texts as OpenAI takes: who takes fewer departs from its dialect.
const USUAL_STOPS: usize = 4;

/// How an upstream departs from its dialect. `Default` is the dialect as its owner documents it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    /// Does not accept `stream_options`; usage then comes unasked or not at all.
    pub no_stream_options: bool,
    /// Wants `max_tokens`, not `max_completion_tokens`.
    pub max_tokens_name: bool,
    /// Wants `max_completion_tokens`, not `max_tokens`.
    pub max_completion_tokens_name: bool,
    /// Wants `random_seed`, not `seed`.
    pub random_seed_name: bool,
    /// Knows no `developer` role; send `system`.
    pub no_developer_role: bool,
    /// Knows no tools at all.
    pub no_tools: bool,
    /// Wants message content as one string.
    pub no_content_arrays: bool,
    /// Only streams: a whole reply must be folded from a stream.
    pub stream_only: bool,
    /// Has no legacy completions, though others of its kind have.
    pub no_completions: bool,
    /// What it answers is not quite its dialect, so that no client of that dialect can be given the bytes.
    pub own_replies: bool,
    /// How it is told to go on from a last turn of the assistant; `None`: it cannot, or nobody says so.
    pub prefill: Option<Prefill>,
    /// It repeats such a turn at the beginning of its answer.
    pub prefill_echo: bool,
    /// What it cannot be told.
    pub lacks: Parameters,
    /// The most stop texts that it takes.
    pub max_stops: Option<usize>,
    /// `max_tokens` to send where the dialect demands one and the client gave none.
    pub default_max_tokens: Option<u64>,
}

/// How a last turn of the assistant is told to be the beginning of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefill {
    /// As it stands.
    Plain,
    /// With this member, which is `true`.
    Marked(&'static str),
}

// === impl Quirks ===

impl Quirks {
    /// Whether a request of `dialect` to this upstream must be understood before it can be sent, so that its bytes cannot just
    /// pass. `says` is what the members of `body` may say. A legacy prompt has nothing that a server could lack.
    pub fn needs_content(&self, dialect: Dialect, says: Parameters, body: &[u8]) -> bool {
        if dialect == Dialect::OpenAiCompletions {
            return false;
        }
        self.no_tools
            || self.no_content_arrays
            || self.own_replies
            || says.meets(self.looked_at())
            || (self.no_developer_role && memchr::memmem::find(body, b"\"developer\"").is_some())
    }

    /// Members with these parameters may have to be left out or renamed.
    fn looked_at(&self) -> Parameters {
        let renamed = [
            (self.max_tokens_name, Parameters::MAX_COMPLETION_TOKENS),
            (self.max_completion_tokens_name, Parameters::MAX_TOKENS),
            (self.random_seed_name, Parameters::SEED),
            (self.max_stops.is_some_and(|most| most < USUAL_STOPS), Parameters::STOP),
        ];
        renamed.into_iter().filter(|(holds, _)| *holds).fold(self.lacks, |all, (_, parameter)| all.with(parameter))
    }

    /// These and those; of two limits the tighter one.
    pub fn and(self, more: Self) -> Self {
        Self {
            no_stream_options: self.no_stream_options || more.no_stream_options,
            max_tokens_name: self.max_tokens_name || more.max_tokens_name,
            max_completion_tokens_name: self.max_completion_tokens_name || more.max_completion_tokens_name,
            random_seed_name: self.random_seed_name || more.random_seed_name,
            no_developer_role: self.no_developer_role || more.no_developer_role,
            no_tools: self.no_tools || more.no_tools,
            no_content_arrays: self.no_content_arrays || more.no_content_arrays,
            stream_only: self.stream_only || more.stream_only,
            no_completions: self.no_completions || more.no_completions,
            own_replies: self.own_replies || more.own_replies,
            prefill: more.prefill.or(self.prefill),
            prefill_echo: self.prefill_echo || more.prefill_echo,
            lacks: self.lacks.with(more.lacks),
            max_stops: [self.max_stops, more.max_stops].into_iter().flatten().min(),
            default_max_tokens: more.default_max_tokens.or(self.default_max_tokens),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_request_may_say_takes_it_off_the_passing_lane() {
        let none = Quirks::default();
        let renamed = Quirks { max_tokens_name: true, ..none };
        let seedless = Quirks { lacks: Parameters::SEED, ..none };
        let one_stop = Quirks { max_stops: Some(1), ..none };
        let four_stops = Quirks { max_stops: Some(4), ..none };
        let no_developer = Quirks { no_developer_role: true, ..none };
        let cases: &[(Quirks, &str, bool)] = &[
            (none, "seed", false),
            (renamed, "max_tokens", false),
            (renamed, "max_completion_tokens", true),
            (Quirks { max_completion_tokens_name: true, ..none }, "max_tokens", true),
            (Quirks { random_seed_name: true, ..none }, "seed", true),
            (seedless, "seed", true),
            (seedless, "temperature", false),
            (one_stop, "stop", true),
            (four_stops, "stop", false),
            (no_developer, "developer", true),
            (no_developer, "seed", false),
            (Quirks { own_replies: true, ..none }, "n", true),
        ];
        for (quirks, member, expected) in cases {
            let body = format!("{{\"{member}\":1}}");
            let says = Parameters::of_member(member.as_bytes());
            assert_eq!(
                quirks.needs_content(Dialect::OpenAiChat, says, body.as_bytes()),
                *expected,
                "{quirks:?} {member}"
            );
            assert!(!quirks.needs_content(Dialect::OpenAiCompletions, says, body.as_bytes()));
        }
    }

    #[test]
    fn of_two_limits_the_tighter_one() {
        let (four, two) =
            (Quirks { max_stops: Some(4), ..Quirks::default() }, Quirks { max_stops: Some(2), ..Quirks::default() });
        assert_eq!(four.and(two).max_stops, Some(2));
        assert_eq!(four.and(Quirks::default()), four);
        assert_eq!(Quirks { no_tools: true, ..four }.and(two), Quirks { no_tools: true, ..two });
    }
}
