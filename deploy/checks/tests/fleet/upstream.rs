//! The provider behind every fleet here: what it answers is said in the question.

use std::time::Duration;

use gateway_fake::reply::openai;
use gateway_fake::{Gate, Received, Script, Upstream};
use serde_json::{Value, json};

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Question {
    /// A short answer at once.
    Short,
    /// A stream of so many words, one in each span.
    Paced(usize, Duration),
    /// A stream whose first word comes at once, and the second when the gate is opened.
    Held,
}

/// The answer to [`Question::Short`].
pub(crate) const SHORT: &str = "all is well";

/// Starts it. The gate holds back the streams of [`Question::Held`].
pub(crate) async fn start() -> (Upstream, Gate) {
    let (upstream, gate) = (Upstream::start().await, Gate::new());
    let held = gate.clone();
    upstream.respond_with(move |received| answer(received, &held));
    (upstream, gate)
}

// === impl Question ===

impl Question {
    /// The body of a chat request.
    pub(crate) fn body(self) -> String {
        let content = match self {
            Self::Short => "short".to_owned(),
            Self::Paced(n_words, pace) => format!("paced {n_words} {}", pace.as_millis()),
            Self::Held => "held".to_owned(),
        };
        let stream = !matches!(self, Self::Short);
        json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": content}]}).to_string()
    }

    /// What the words of a whole stream are, each ending the moment the next one begins.
    pub(crate) fn words(n_words: usize) -> String {
        (0..n_words).map(|index| format!("word{index}")).collect::<Vec<_>>().join(" ")
    }
}

fn answer(received: &Received, gate: &Gate) -> Script {
    let body: Value = received.json();
    let content = body["messages"][0]["content"].as_str().unwrap_or_default();
    let mut parts = content.split(' ');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("paced"), Some(n_words), Some(milliseconds)) => {
            let n_words = n_words.parse().expect("a number of words");
            let pace = Duration::from_millis(milliseconds.parse().expect("milliseconds"));
            let events = openai::stream("m", &Question::words(n_words), 3);
            let paced = |script: Script, event: &bytes::Bytes| script.chunk(event).pause(pace);
            events.iter().fold(Script::sse_head(), paced).end()
        }
        (Some("held"), ..) => {
            let events = openai::stream("m", &Question::words(2), 3);
            let begun = events[..2].iter().fold(Script::sse_head(), |script, event| script.chunk(event));
            events[2..].iter().fold(begun.wait(gate), |script, event| script.chunk(event)).end()
        }
        _ => openai::answer(received, SHORT),
    }
}
