//! Looks at the `choices` of a passing chunk without building them: which choices there are, which have finished, how many
//! bytes of content they bring.

use memchr::memchr2;
use memchr::memmem::Finder;

/// What a chunk's choices say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Choices {
    /// One bit per choice index; those beyond the last bit share it.
    pub(super) present: u128,
    /// The ones with a finish reason.
    pub(super) finished: u128,
    /// Bytes between the quotes of content, reasoning, refusal and arguments, as written.
    pub(super) n_content_bytes: u64,
    /// Those of reasoning among them.
    pub(super) n_reasoning_bytes: u64,
}

struct Walk<'a> {
    text: &'a [u8],
    at: usize,
    depth: u32,
    /// The member name read last.
    name: &'a [u8],
    /// Depth of the `delta` that is open, 0 if none is, and its member read last.
    delta: u32,
    member: &'a [u8],
    index: Option<u32>,
    is_finished: bool,
    choices: Choices,
}

/// Finds choices; made once per stream.
pub(super) struct Scanner(Finder<'static>);

// === impl Scanner ===

impl Scanner {
    const NAME: &[u8] = b"\"choices\"";

    pub(super) fn new() -> Self {
        Self(Finder::new(Self::NAME))
    }

    /// Reads the first `choices` array of a chunk. Text that is not as expected says nothing, it never fails.
    pub(super) fn choices(&self, chunk: &[u8]) -> Choices {
        let place = self.0.find(chunk);
        place.map_or_else(Choices::default, |place| read(&chunk[place + Self::NAME.len()..]))
    }
}

fn read(text: &[u8]) -> Choices {
    let mut walk = Walk {
        text,
        at: 0,
        depth: 0,
        name: b"",
        delta: 0,
        member: b"",
        index: None,
        is_finished: false,
        choices: Choices::default(),
    };
    walk.run();
    walk.choices
}

// === impl Walk ===

/// Depth of the members of a choice: within the array, within the object.
const IN_CHOICE: u32 = 2;

impl<'a> Walk<'a> {
    fn run(&mut self) {
        while let Some(byte) = self.text.get(self.at) {
            self.at += 1;
            match byte {
                b'"' => self.string(),
                b'{' | b'[' => {
                    self.depth += 1;
                    if self.depth == IN_CHOICE + 1 && self.name == b"delta" {
                        self.delta = self.depth;
                    }
                }
                b'}' | b']' => {
                    if self.depth == IN_CHOICE {
                        self.choice();
                    }
                    if self.depth == self.delta {
                        self.delta = 0;
                    }
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return;
                    }
                }
                b'0'..=b'9' if self.depth == IN_CHOICE && self.name == b"index" => self.digit(byte - b'0'),
                // `"choices":null`: what follows is not ours.
                b'n' | b',' if self.depth == 0 => return,
                _ => {}
            }
        }
    }

    /// From behind the opening quote to behind the closing one. A name is followed by a colon, a value is not.
    fn string(&mut self) {
        let start = self.at;
        loop {
            let Some(length) = memchr2(b'"', b'\\', &self.text[self.at..]) else {
                self.at = self.text.len();
                return;
            };
            self.at += length;
            if self.text[self.at] == b'"' {
                break;
            }
            self.at = (self.at + 2).min(self.text.len());
        }
        let string = &self.text[start..self.at];
        self.at += 1;
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        if self.text.get(self.at) == Some(&b':') {
            self.at += 1;
            self.name = string;
            if self.depth == self.delta {
                self.member = string;
            }
        } else {
            self.value(string);
        }
    }

    fn value(&mut self, string: &'a [u8]) {
        if self.delta > 0 {
            // OpenRouter says its reasoning twice, the second time in details, which do not count.
            let is_content = match self.name {
                b"content" | b"reasoning_content" | b"reasoning" | b"refusal" => self.depth == self.delta,
                b"text" | b"thinking" => self.member == b"content",
                b"arguments" => true,
                _ => false,
            };
            if is_content {
                self.choices.n_content_bytes += string.len() as u64;
                if matches!(self.name, b"reasoning_content" | b"reasoning" | b"thinking") {
                    self.choices.n_reasoning_bytes += string.len() as u64;
                }
            }
        } else if self.depth == IN_CHOICE && self.name == b"finish_reason" && !string.is_empty() {
            self.is_finished = true;
        } else if self.depth == IN_CHOICE && self.name == b"text" {
            // The form of the dialect before this one.
            self.choices.n_content_bytes += string.len() as u64;
        }
    }

    fn digit(&mut self, digit: u8) {
        self.index = Some(self.index.unwrap_or(0).saturating_mul(10).saturating_add(digit.into()));
    }

    /// A choice has been read. One without an index is the first, as nearly all are.
    fn choice(&mut self) {
        let bit = 1_u128 << self.index.take().unwrap_or(0).min(127);
        self.choices.present |= bit;
        if std::mem::take(&mut self.is_finished) {
            self.choices.finished |= bit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(chunk: &str, present: u128, finished: u128, n_content_bytes: u64) {
        let n_reasoning_bytes = if chunk.contains("reasoning") { n_content_bytes } else { 0 };
        let expected = Choices { present, finished, n_content_bytes, n_reasoning_bytes };
        assert_eq!(Scanner::new().choices(chunk.as_bytes()), expected, "{chunk}");
        let spaced = chunk.replace(':', " : ").replace(',', " ,\n");
        assert_eq!(Scanner::new().choices(spaced.as_bytes()), expected, "{spaced}");
    }

    #[test]
    fn sees_choices_finishes_and_content() {
        check(
            r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":"Hi \"you\""},"logprobs":null,"finish_reason":null}]}"#,
            1,
            0,
            10,
        );
        check(r#"{"choices":[{"delta":{},"finish_reason":"stop","index":0}],"usage":null}"#, 1, 1, 0);
        check(r#"{"choices":[{"delta":{},"finish_reason":""}]}"#, 1, 0, 0);
        check(
            r#"{"choices":[{"index":1,"delta":{"content":"a"},"finish_reason":null},{"index":12,"delta":{"finish_reason":"x"},"finish_reason":"length"}]}"#,
            1 << 1 | 1 << 12,
            1 << 12,
            1,
        );
        check(
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":3,"id":"c","function":{"name":"f","arguments":"{\"a"}}]},"finish_reason":null}]}"#,
            1,
            0,
            4,
        );
        check(
            r#"{"choices":[{"index":0,"delta":{"content":[{"type":"text","text":"abc"}]},"finish_reason":null}]}"#,
            1,
            0,
            3,
        );
        check(
            r#"{"choices":[{"index":0,"delta":{"reasoning":"ab","reasoning_details":[{"text":"ab"}]},"message":{"content":"abc"}}]}"#,
            1,
            0,
            2,
        );
        check(r#"{"choices":[{"text":"ab","index":1,"logprobs":{"tokens":["ab"]},"finish_reason":null}]}"#, 2, 0, 2);
        check(r#"{"choices":[],"usage":{"index":1}}"#, 0, 0, 0);
        check(r#"{"choices":null,"x":[{"finish_reason":"stop"}]}"#, 0, 0, 0);
        check(
            r#"{"choices":[{"index":0,"logprobs":{"content":[{"token":"finish_reason"}]},"delta":{"content":""},"finish_reason":null}]}"#,
            1,
            0,
            0,
        );
        check(r#"{"id":"x"}"#, 0, 0, 0);
    }

    #[test]
    fn half_a_chunk_is_no_trouble() {
        let chunk = r#"{"choices":[{"index":0,"delta":{"content":"a\\"},"finish_reason":"stop"}]}"#;
        for end in 0..chunk.len() - 2 {
            assert_eq!(Scanner::new().choices(&chunk.as_bytes()[..end]).finished, 0, "{end}");
        }
    }
}
