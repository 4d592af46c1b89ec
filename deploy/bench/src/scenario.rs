//! The work: what is asked, how often, and how the mock upstream behaves meanwhile.

use std::net::SocketAddr;

use serde_json::json;

/// One row of the benchmark.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub id: &'static str,
    pub title: &'static str,
    /// The load generator's mode: `closed`, `rate` or `hold`.
    pub mode: &'static str,
    /// Connections, requests a second, or streams.
    pub n: usize,
    pub stream: bool,
    pub prompt_bytes: usize,
    /// Asks for the model behind the Anthropic upstream; the plain proxy passes the same request to the OpenAI mock.
    pub translated: bool,
    pub mock: Mock,
    pub in_quick: bool,
}

/// How the mock upstream behaves.
#[derive(Clone, Copy, Debug)]
pub struct Mock {
    pub delay_ms: u32,
    pub pause_us: u32,
}

/// Content events in every stream of the closed scenarios.
pub const EVENTS: u64 = 50;
/// Held streams outlive their window by far.
const HELD_EVENTS: u64 = 3_600;

const AT_ONCE: Mock = Mock { delay_ms: 0, pause_us: 0 };

const CLOSED: Scenario = Scenario {
    id: "",
    title: "",
    mode: "closed",
    n: 64,
    stream: false,
    prompt_bytes: 1_000,
    translated: false,
    mock: AT_ONCE,
    in_quick: true,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario { id: "S1", title: "1 KB prompt, concurrency 1", n: 1, ..CLOSED },
    Scenario { id: "S2", title: "1 KB prompt, concurrency 64", ..CLOSED },
    Scenario { id: "S3", title: "stream of 50 events back to back, concurrency 64", stream: true, ..CLOSED },
    Scenario { id: "S4", title: "200 KB prompt, concurrency 16", n: 16, prompt_bytes: 200_000, ..CLOSED },
    Scenario { id: "S5", title: "to Anthropic, concurrency 64", translated: true, ..CLOSED },
    Scenario {
        id: "S5s",
        title: "to Anthropic, stream of 50 events, concurrency 64",
        translated: true,
        stream: true,
        ..CLOSED
    },
    Scenario {
        id: "S6",
        title: "1,000 requests a second, upstream of 50 ms",
        mode: "rate",
        n: 1_000,
        mock: Mock { delay_ms: 50, pause_us: 0 },
        in_quick: false,
        ..CLOSED
    },
    Scenario {
        id: "S7",
        title: "1,000 streams held open, one event a second each",
        mode: "hold",
        n: 1_000,
        stream: true,
        mock: Mock { delay_ms: 0, pause_us: 1_000_000 },
        ..CLOSED
    },
];

// === impl Scenario ===

impl Scenario {
    pub fn is_held(&self) -> bool {
        self.mode == "hold"
    }

    /// A reply with fewer events than this was cut.
    pub fn min_events(&self) -> u64 {
        if self.stream && !self.is_held() { EVENTS } else { 0 }
    }

    /// The query of the mock's control endpoint.
    pub fn control(&self) -> String {
        let n_events = if self.is_held() { HELD_EVENTS } else { EVENTS };
        format!("delay_ms={}&pause_us={}&events={n_events}", self.mock.delay_ms, self.mock.pause_us)
    }

    /// The request as it goes over the wire.
    pub fn request(&self, addr: SocketAddr, key: &str) -> Vec<u8> {
        let model = if self.translated { "bench-translated" } else { "bench" };
        let mut body =
            json!({"model": model, "messages": messages(self.prompt_bytes), "temperature": 0.7, "max_tokens": 256});
        if self.stream {
            body["stream"] = json!(true);
            body["stream_options"] = json!({"include_usage": true});
        }
        let body = body.to_string();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {addr}\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\naccept: application/json\r\nuser-agent: gateway-bench\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        (head + &body).into_bytes()
    }
}

/// A conversation of about `n_bytes`: one question, or many turns with quotes, line breaks and letters beyond ASCII.
fn messages(n_bytes: usize) -> Vec<serde_json::Value> {
    const SENTENCE: &str =
        "Tell me what the keeper wrote on the evening when the \"Höganäs\" came in late:\n\twind, boats, lamp. ";
    const TURN: usize = 4_000;
    let mut all = vec![json!({"role": "system", "content": "You answer from the keeper's books."})];
    let mut left = n_bytes;
    while left > 0 {
        let turn = left.min(TURN);
        let role = if all.len() % 2 == 1 { "user" } else { "assistant" };
        all.push(json!({"role": role, "content": SENTENCE.repeat(turn.div_ceil(SENTENCE.len()))}));
        left -= turn;
    }
    if all.len() % 2 == 1 {
        all.push(json!({"role": "user", "content": "Go on."}));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_promised_size_and_end_with_the_user() {
        for scenario in SCENARIOS {
            let addr = SocketAddr::from(([127, 0, 0, 1], 80));
            let request = String::from_utf8(scenario.request(addr, "k")).expect("UTF-8");
            let (_, body) = request.split_once("\r\n\r\n").expect("a head");
            let slack = scenario.prompt_bytes / 5 + 600;
            assert!(body.len().abs_diff(scenario.prompt_bytes) < slack, "{}: {} bytes", scenario.id, body.len());
            let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
            let last = body["messages"].as_array().and_then(|all| all.last()).expect("messages");
            assert_eq!(last["role"], "user", "{}", scenario.id);
        }
    }
}
