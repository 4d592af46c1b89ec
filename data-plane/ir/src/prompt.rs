//! The words of a prompt, taken from a body of any client's dialect without building it: what automatic choice judges by.

use std::collections::VecDeque;
use std::fmt;

use memchr::{memchr, memmem};
use serde::Deserializer as _;
use serde::de::{SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::json;

/// Bytes of a body's text that are looked at, the newest first. Of a text that is longer, its beginning and its end.
pub const MAX_SCANNED: usize = 32 * 1024;
/// The same of what the application says before its users.
const MAX_SYSTEM: usize = 4 * 1024;
/// Texts of users that are kept in mind; of more, the newest.
const MAX_TEXTS: usize = 1024;

/// What a body says, as far as it is worth judging.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    /// What users wrote, newest first, a line apart.
    pub user: String,
    /// What the application says before them.
    pub system: String,
    /// UTF-8 bytes of everything that users wrote, looked at or not.
    pub n_user: usize,
    /// Tools are offered, or demanded.
    pub has_tools: bool,
    /// The answer is to follow a schema.
    pub has_schema: bool,
    /// A user shows a picture.
    pub has_pictures: bool,
}

/// Whose words a text is.
#[derive(Clone, Copy)]
enum Who {
    User,
    System,
}

/// Strings as they stand in the body, without their quotes.
#[derive(Default)]
struct Found<'a> {
    user: VecDeque<&'a [u8]>,
    system: Vec<&'a [u8]>,
    n_user: usize,
    has_tools: bool,
    has_schema: bool,
    has_pictures: bool,
}

// === impl Prompt ===

impl Prompt {
    /// Reads chat completions, legacy completions, Messages, Responses and Gemini alike: they do not share a name that means
    /// different things. Passes over what it does not know; a few scans of the body and copies of at most 36 KiB.
    pub fn read(body: &[u8]) -> Self {
        let mut found = Found::default();
        // What is no JSON has been refused before, and says nothing.
        let _ = json::scan_object(body, |member| {
            let raw = &body[member.value.clone()];
            let is = |names: &[&str]| names.iter().any(|name| member.is(name));
            if is(&["messages", "input", "contents", "prompt"]) {
                found.turns(raw);
            } else if is(&["system", "instructions", "systemInstruction", "system_instruction"]) {
                found.content(raw, Who::System);
            } else if is(&["tools", "functions"]) {
                each(raw, |_| found.has_tools = true);
            } else if is(&["tool_choice", "toolChoice", "function_call"]) {
                found.has_tools |= !matches!(raw, b"null" | b"\"none\"");
            } else if is(&["response_format", "text", "output_format", "output_config"]) {
                found.has_schema |= holds(raw, b"\"json_schema\"");
            } else if is(&["generationConfig", "generation_config"]) {
                found.has_schema |= SCHEMAS.iter().any(|name| holds(raw, name));
            }
        });
        found.read()
    }
}

/// How a conversation begins: what the application says, and the first that a user does, as it stands in the body. The same in all
/// requests of a conversation that grows, whatever marks and turns come later; empty where nobody has said anything. Scans the body.
pub fn opening(body: &[u8]) -> Vec<&[u8]> {
    let mut found = Found::default();
    // As above.
    let _ = json::scan_object(body, |member| {
        let raw = &body[member.value.clone()];
        let is = |names: &[&str]| names.iter().any(|name| member.is(name));
        if is(&["messages", "input", "contents", "prompt"]) {
            match raw.first() {
                Some(b'[') => each(raw, |turn| {
                    if found.user.is_empty() {
                        found.turn(turn);
                    }
                }),
                _ => found.turn(raw),
            }
        } else if is(&["system", "instructions", "systemInstruction", "system_instruction"]) {
            found.content(raw, Who::System);
        }
    });
    found.system.into_iter().chain(found.user).collect()
}

/// Gemini's names of a schema.
const SCHEMAS: [&[u8]; 4] =
    [b"\"responseSchema\"", b"\"response_schema\"", b"\"responseJsonSchema\"", b"\"response_json_schema\""];

/// The elements of an array, in order; of anything else, nothing.
fn each<'a>(raw: &'a [u8], visit: impl FnMut(&'a [u8])) {
    let _ = serde_json::Deserializer::from_slice(raw).deserialize_seq(Elements(visit));
}

struct Elements<F>(F);

impl<'de, F: FnMut(&'de [u8])> Visitor<'de> for Elements<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element::<&RawValue>()? {
            (self.0)(element.get().as_bytes());
        }
        Ok(())
    }
}

fn holds(raw: &[u8], needle: &[u8]) -> bool {
    memmem::find(raw, needle).is_some()
}

// === impl Found ===

impl<'a> Found<'a> {
    /// A conversation: one text, or turns in order.
    fn turns(&mut self, raw: &'a [u8]) {
        match raw.first() {
            Some(b'[') => {
                each(raw, |turn| self.turn(turn));
            }
            _ => self.turn(raw),
        }
    }

    /// A message, or a piece of one that stands by itself. Results of tools and what models said are nobody's words here.
    fn turn(&mut self, raw: &'a [u8]) {
        if raw.first() != Some(&b'{') {
            return self.string(raw, Who::User);
        }
        let (mut role, mut kind, mut content): (&[u8], &[u8], _) = (b"", b"", None);
        let _ = json::scan_object(raw, |member| {
            let value = &raw[member.value.clone()];
            if member.is("role") {
                role = value;
            } else if member.is("type") {
                kind = value;
            } else if member.is("content") || member.is("parts") {
                content = Some(value);
            }
        });
        let who = match role {
            b"\"user\"" => Who::User,
            b"\"system\"" | b"\"developer\"" => Who::System,
            b"" | b"null" if matches!(kind, b"" | b"\"message\"") => Who::User,
            b"" if kind.starts_with(b"\"input_") => return self.piece(raw, Who::User),
            _ => return,
        };
        if let Some(content) = content {
            self.content(content, who);
        }
    }

    /// What a message holds: a text, a piece, or several; in Gemini's `systemInstruction`, `parts` of them.
    fn content(&mut self, raw: &'a [u8], who: Who) {
        match raw.first() {
            Some(b'[') => {
                each(raw, |piece| match piece.first() {
                    Some(b'{') => self.piece(piece, who),
                    _ => self.string(piece, who),
                });
            }
            Some(b'{') => {
                self.piece(raw, who);
                let _ = json::scan_object(raw, |member| {
                    if member.is("parts") {
                        each(&raw[member.value], |piece| self.piece(piece, who));
                    }
                });
            }
            _ => self.string(raw, who),
        }
    }

    /// Not within itself, however deeply a body goes: each level would be one more scan.
    fn piece(&mut self, raw: &'a [u8], who: Who) {
        let _ = json::scan_object(raw, |member| {
            let value = &raw[member.value.clone()];
            if member.is("text") {
                self.string(value, who);
            } else if member.is("type") {
                self.has_pictures |= matches!(value, b"\"image_url\"" | b"\"input_image\"" | b"\"image\"");
            } else if member.is("inlineData") || member.is("inline_data") {
                self.has_pictures |= holds(value, b"\"image/");
            }
        });
    }

    fn string(&mut self, raw: &'a [u8], who: Who) {
        let Some(raw) = raw.strip_prefix(b"\"").and_then(|raw| raw.strip_suffix(b"\"")) else { return };
        match who {
            Who::System => self.system.push(raw),
            Who::User => {
                self.n_user += length(raw);
                if self.user.len() == MAX_TEXTS {
                    self.user.pop_front();
                }
                self.user.push_back(raw);
            }
        }
    }

    fn read(self) -> Prompt {
        Prompt {
            user: joined(self.user.into_iter().rev(), MAX_SCANNED),
            system: joined(self.system.into_iter(), MAX_SYSTEM),
            n_user: self.n_user,
            has_tools: self.has_tools,
            has_schema: self.has_schema,
            has_pictures: self.has_pictures,
        }
    }
}

/// Texts with a line's end between them, as far as `room` bytes of them go.
fn joined<'a>(texts: impl Iterator<Item = &'a [u8]>, mut room: usize) -> String {
    let mut out = String::new();
    for raw in texts {
        if room == 0 {
            break;
        }
        if !out.is_empty() {
            out.push('\n');
        }
        if raw.len() <= room {
            unescape(raw, &mut out);
            room -= raw.len();
        } else {
            let (head, tail) = (boundary(raw, room / 2), boundary(raw, raw.len() - room / 2));
            unescape(&raw[..head], &mut out);
            out.push('\n');
            unescape(&raw[tail..], &mut out);
            room = 0;
        }
    }
    out
}

/// The first beginning of a character from `at` on.
fn boundary(raw: &[u8], at: usize) -> usize {
    (at..raw.len()).find(|at| raw[*at] & 0xc0 != 0x80).unwrap_or(raw.len())
}

/// Undoes the escapes. What is cut off within one is left out or taken as it stands.
fn unescape(mut raw: &[u8], out: &mut String) {
    while let Some(at) = memchr(b'\\', raw) {
        out.push_str(&String::from_utf8_lossy(&raw[..at]));
        let (unescaped, n_read) = escape(&raw[at + 1..]);
        out.extend(unescaped);
        raw = &raw[at + 1 + n_read..];
    }
    out.push_str(&String::from_utf8_lossy(raw));
}

/// Bytes without the escapes.
fn length(mut raw: &[u8]) -> usize {
    let mut length = raw.len();
    while let Some(at) = memchr(b'\\', raw) {
        let (unescaped, n_read) = escape(&raw[at + 1..]);
        length = length - 1 - n_read + unescaped.map_or(0, char::len_utf8);
        raw = &raw[at + 1 + n_read..];
    }
    length
}

/// What stands for the character after a backslash, and how many bytes that takes.
fn escape(rest: &[u8]) -> (Option<char>, usize) {
    let unit = |from: usize| {
        let digits = rest.get(from..from + 4)?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    match rest.first() {
        None => (None, 0),
        Some(b'n' | b'r') => (Some('\n'), 1),
        Some(b't' | b'b' | b'f') => (Some(' '), 1),
        Some(b'u') => match (unit(1), unit(7).filter(|_| rest[5..].starts_with(b"\\u"))) {
            (Some(high @ 0xd800..0xdc00), Some(low @ 0xdc00..0xe000)) => {
                (char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)), 11)
            }
            (Some(unit), _) => (char::from_u32(unit), 5),
            (None, _) => (None, 1),
        },
        Some(plain) => (Some(char::from(*plain)), 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, user: &str, system: &str) -> Prompt {
        let prompt = Prompt::read(body.as_bytes());
        assert_eq!((prompt.user.as_str(), prompt.system.as_str()), (user, system), "{body}");
        prompt
    }

    #[test]
    fn every_dialect_s_words_are_found() {
        check(
            r#"{"model":"auto","messages":[{"role":"system","content":"be brief"},{"role":"user","content":"one"},
                {"role":"assistant","content":"no"},{"role":"tool","content":"no"},{"content":"two","role":"user"}]}"#,
            "two\none",
            "be brief",
        );
        check(
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"what is it?"},{"type":"image_url","image_url":{}}]}]}"#,
            "what is it?",
            "",
        );
        check(
            r#"{"system":[{"type":"text","text":"rules"}],"messages":[{"role":"user","content":[{"type":"tool_result",
                "content":"no"},{"type":"text","text":"yes"}]}]}"#,
            "yes",
            "rules",
        );
        check(r#"{"input":"plain","instructions":"rules"}"#, "plain", "rules");
        check(
            r#"{"input":[{"type":"reasoning","summary":[{"text":"no"}]},{"type":"function_call_output","output":"no"},
                {"type":"message","role":"user","content":[{"type":"input_text","text":"yes"}]},{"type":"input_text","text":"and"}]}"#,
            "and\nyes",
            "",
        );
        check(
            r#"{"systemInstruction":{"parts":[{"text":"rules"}]},"contents":[{"parts":[{"text":"a"},{"text":"b"}]},
                {"role":"model","parts":[{"text":"no"}]}]}"#,
            "b\na",
            "rules",
        );
        check(r#"{"contents":{"parts":[{"text":"one"}]}}"#, "one", "");
        check(r#"{"prompt":["a","b"]}"#, "b\na", "");
        check(r#"{"messages":null,"input":5,"contents":{},"system":false,"prompt":[[1,2]]}"#, "", "");
        check("no json", "", "");
    }

    #[test]
    fn what_the_answer_needs_is_found() {
        let flags = |body: &str| {
            let prompt = Prompt::read(body.as_bytes());
            (prompt.has_tools, prompt.has_schema, prompt.has_pictures)
        };
        for (body, expected) in [
            (r#"{"tools":[],"tool_choice":"none","response_format":{"type":"text"}}"#, (false, false, false)),
            (r#"{"tools":[{}]}"#, (true, false, false)),
            (r#"{"tool_choice":"required"}"#, (true, false, false)),
            (r#"{"response_format":{"type":"json_schema","json_schema":{}}}"#, (false, true, false)),
            (r#"{"text":{"format":{"type":"json_schema"}}}"#, (false, true, false)),
            (r#"{"generationConfig":{"responseSchema":{}}}"#, (false, true, false)),
            (r#"{"contents":[{"parts":[{"inlineData":{"mimeType":"image/png"}}]}]}"#, (false, false, true)),
            (r#"{"input":[{"role":"user","content":[{"type":"input_image"}]}]}"#, (false, false, true)),
        ] {
            assert_eq!(flags(body), expected, "{body}");
        }
    }

    #[test]
    fn escapes_are_undone_and_counted_as_what_they_stand_for() {
        let prompt = check(r#"{"prompt":"a\n\"\u4e2d\ud83d\ude00\ud83d\/"}"#, "a\n\"中😀/", "");
        assert_eq!(prompt.n_user, prompt.user.len());
    }

    #[test]
    fn of_a_long_text_the_beginning_and_the_end_are_read() {
        let long = format!("{}{}{}", "first ", "é\\n".repeat(40_000), " last");
        let prompt = Prompt::read(format!(r#"{{"messages":[{{"role":"user","content":"old"}},"{long}"]}}"#).as_bytes());
        assert!(prompt.user.starts_with("first ") && prompt.user.ends_with(" last"), "both ends");
        assert!(prompt.user.len() <= MAX_SCANNED + 1 && !prompt.user.contains("old"), "{}", prompt.user.len());
        assert_eq!(prompt.n_user, 6 + 3 * 40_000 + 5 + 3);
    }
}
