//! What a request needs of a model beside reading and writing text, as a set that fits into a register. Read off the one scan
//! of the body, by names and values that stand for the same thing in every dialect.

use crate::json::Below;

/// A set of needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs(u8);

/// How each is called, in the order of [`Needs::names`].
const NAMES: [(&str, Needs); 5] = [
    ("tools", Needs::TOOLS),
    ("vision", Needs::VISION),
    ("audio", Needs::AUDIO),
    ("documents", Needs::DOCUMENTS),
    ("json-schema", Needs::JSON_SCHEMA),
];

/// Shorter texts than this are no media worth counting.
const LEAST_MEDIA: usize = 512;

// === impl Needs ===

impl Needs {
    pub const NONE: Self = Self(0);
    pub const TOOLS: Self = Self(1);
    pub const VISION: Self = Self(1 << 1);
    pub const AUDIO: Self = Self(1 << 2);
    pub const DOCUMENTS: Self = Self(1 << 3);
    pub const JSON_SCHEMA: Self = Self(1 << 4);
    const MEDIA: Self = Self::VISION.with(Self::AUDIO).with(Self::DOCUMENTS);

    #[must_use]
    pub const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    #[must_use]
    pub const fn both(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    #[must_use]
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    pub const fn covers(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().filter(move |(_, need)| self.covers(*need)).map(|(name, _)| name)
    }

    /// What a top-level member of a body says, with what was found below it; and how many bytes of it are media. A name that is
    /// written with escapes is not recognised.
    pub(crate) fn of_member(name: &[u8], value: &[u8], below: Below) -> (Self, usize) {
        let found = Self(below.bits);
        match name {
            b"messages" | b"input" | b"contents" | b"system" => (found.both(Self::MEDIA), below.n_bytes),
            b"tools" | b"functions" => {
                let is_empty = value.iter().all(|byte| matches!(byte, b'[' | b']' | b' ' | b'\n' | b'\r' | b'\t'));
                let is_list = value.first() == Some(&b'[') && !is_empty;
                (if is_list { Self::TOOLS } else { Self::NONE }, 0)
            }
            b"response_format" | b"text" | b"output_config" | b"output_format" | b"generationConfig"
            | b"generation_config" => (found.both(Self::JSON_SCHEMA), 0),
            _ => (Self::NONE, 0),
        }
    }
}

/// What a member anywhere below the top level says. A glance at the first letter is all that most cost.
#[inline]
pub(crate) fn look(name: &[u8], value: &[u8]) -> Below {
    let says = |need: Needs| Below { bits: need.0, n_bytes: 0 };
    match name.first() {
        Some(b't') if name == b"type" => says(match value {
            b"\"image_url\"" | b"\"image\"" | b"\"input_image\"" => Needs::VISION,
            b"\"input_audio\"" | b"\"audio\"" => Needs::AUDIO,
            b"\"file\"" | b"\"input_file\"" | b"\"document\"" => Needs::DOCUMENTS,
            b"\"json_schema\"" => Needs::JSON_SCHEMA,
            _ => Needs::NONE,
        }),
        Some(b'm') if name == b"mimeType" || name == b"mime_type" => says(match value {
            [b'"', b'i', b'm', b'a', b'g', b'e', b'/', ..] => Needs::VISION,
            [b'"', b'a', b'u', b'd', b'i', b'o', b'/', ..] => Needs::AUDIO,
            _ => Needs::DOCUMENTS,
        }),
        Some(b'r') => says(match name {
            b"responseSchema" | b"response_schema" | b"responseJsonSchema" | b"response_json_schema" => {
                Needs::JSON_SCHEMA
            }
            _ => Needs::NONE,
        }),
        Some(b'd' | b'u' | b'i' | b'f') if value.len() >= LEAST_MEDIA && value[0] == b'"' => match name {
            b"data" => Below { bits: 0, n_bytes: value.len() },
            b"url" | b"image_url" | b"file_data" if value.starts_with(b"\"data:") => {
                Below { bits: 0, n_bytes: value.len() }
            }
            _ => Below::default(),
        },
        _ => Below::default(),
    }
}

#[cfg(test)]
mod tests {
    use crate::facts::Facts;

    fn needs(members: &str) -> String {
        let facts = Facts::scan(&format!("{{\"model\":\"m\",{members}}}").into()).expect("a valid body");
        facts.needs.names().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_dialect_says_it_in_its_own_words() {
        let blocks = |block: &str| format!(r#""messages":[{{"role":"user","content":[{block}]}}]"#);
        let cases = [
            (r#""messages":[{"role":"user","content":"a \"type\": \"image\" and tools"}]"#.to_owned(), ""),
            (blocks(r#"{"type":"image_url","image_url":{"url":"https://x/y.png"}}"#), "vision"),
            (blocks(r#"{"type": "image", "source": {"type": "url", "url": "https://x"}}"#), "vision"),
            (blocks(r#"{"type":"input_audio","input_audio":{"data":"AA","format":"wav"}}"#), "audio"),
            (blocks(r#"{"type":"document","source":{"type":"base64"}}"#), "documents"),
            (
                r#""input":[{"role":"user","content":[{"type":"input_image","image_url":"data:x"}]}]"#.to_owned(),
                "vision",
            ),
            (r#""input":[{"role":"user","content":[{"type":"input_file","file_id":"f"}]}]"#.to_owned(), "documents"),
            (r#""contents":[{"parts":[{"inlineData":{"mimeType":"image/png","data":"AA"}}]}]"#.to_owned(), "vision"),
            (r#""contents":[{"parts":[{"inline_data":{"mime_type":"audio/wav"}}]}]"#.to_owned(), "audio"),
            (r#""tools":[{"type":"function","function":{"name":"f"}}]"#.to_owned(), "tools"),
            (r#""tools":[ ]"#.to_owned(), ""),
            (r#""tools":null,"functions":[{"name":"f"}]"#.to_owned(), "tools"),
            // What a tool's schema calls its own fields is no picture.
            (r#""tools":[{"input_schema":{"properties":{"type":"image"}}}]"#.to_owned(), "tools"),
            (r#""response_format":{"type":"json_schema","json_schema":{}}"#.to_owned(), "json-schema"),
            (r#""response_format":{"type":"json_object"}"#.to_owned(), ""),
            (r#""text":{"format":{"type":"json_schema","schema":{}}}"#.to_owned(), "json-schema"),
            (r#""output_config":{"format":{"type":"json_schema"}}"#.to_owned(), "json-schema"),
            (r#""generationConfig":{"responseSchema":{}}"#.to_owned(), "json-schema"),
        ];
        for (members, expected) in cases {
            assert_eq!(needs(&members), expected, "{members}");
        }
    }

    #[test]
    fn media_are_no_text() {
        let picture = format!("data:image/png;base64,{}", "A".repeat(4000));
        let body = format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"{picture}"}}}}]}}]}}"#
        );
        let facts = Facts::scan(&body.into()).expect("a valid body");
        assert_eq!(facts.n_media_bytes, picture.len() + 2);
        let long = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{}"}}]}}"#, "x".repeat(4000));
        assert_eq!(Facts::scan(&long.into()).expect("a valid body").n_media_bytes, 0);
    }
}
