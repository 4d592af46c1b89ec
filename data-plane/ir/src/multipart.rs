//! Forms of several parts (`multipart/form-data`, RFC 7578): read as they come, for one field, while files of any size pass.
//!
//! Strict where two readers could understand a form differently, because the field decides what a caller may use.

mod parts;

use std::ops::Range;

use memchr::memmem;

use crate::failure::{Code, Failure};

pub use parts::{Part, Parts};

/// RFC 2046 allows no longer boundary.
const MAX_BOUNDARY: usize = 70;
/// Headers of one part.
const MAX_HEADERS: usize = 8 * 1024;
/// Parts of one form.
const MAX_PARTS: usize = 256;
/// A value of a field that is read is no longer.
const MAX_VALUE: usize = 1024;

/// Finds the field `model` in a form that comes in pieces, and sees to it that there is one at most.
#[derive(Debug)]
pub struct Reader {
    /// What stands between parts: CRLF, two hyphens, the boundary.
    delimiter: Vec<u8>,
    state: State,
    /// Bytes that are not done with: an incomplete delimiter, or the headers of a part.
    window: Vec<u8>,
    /// Where the window begins, counted from the CRLF that is thought before the form.
    at: usize,
    n_parts: usize,
    /// Where the value of `model` begins, and its bytes so far, while its part is read.
    reading: Option<(usize, Vec<u8>)>,
    model: Option<Field>,
}

/// A field's value, and where it stands in the form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub value: String,
    pub at: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first part, or in a part's value.
    Value,
    /// Behind a delimiter: another part, or the end.
    Delimited,
    Headers,
    Ended,
}

/// The CRLF before the first delimiter, which is there in thought only.
const BEFORE: &[u8] = b"\r\n";

/// The boundary of a form with this `content-type`; `None` if it is no form.
pub fn boundary(content_type: &str) -> Option<Result<&str, Box<Failure>>> {
    let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let found = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"'))
    });
    let is_sound = |boundary: &&str| {
        (1..=MAX_BOUNDARY).contains(&boundary.len()) && boundary.bytes().all(|byte| matches!(byte, b' '..=b'~'))
    };
    Some(found.filter(is_sound).ok_or_else(|| broken("has no boundary of 1 to 70 characters")))
}

// === impl Reader ===

impl Reader {
    pub fn new(boundary: &str) -> Self {
        Self {
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            state: State::Value,
            window: BEFORE.to_vec(),
            at: 0,
            n_parts: 0,
            reading: None,
            model: None,
        }
    }

    /// The field, once its whole value has come.
    pub fn model(&self) -> Option<&Field> {
        self.model.as_ref()
    }

    /// Reads on. Memory is bounded whatever comes.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), Box<Failure>> {
        self.window.extend_from_slice(piece);
        loop {
            let goes_on = match self.state {
                State::Value => self.value()?,
                State::Delimited => self.delimited()?,
                State::Headers => self.headers()?,
                State::Ended => {
                    self.consume(self.window.len());
                    false
                }
            };
            if !goes_on {
                return Ok(());
            }
        }
    }

    /// The form is over: it must have said so.
    pub fn finish(&self) -> Result<(), Box<Failure>> {
        if self.state == State::Ended { Ok(()) } else { Err(broken("breaks off before its last boundary")) }
    }

    fn consume(&mut self, n_bytes: usize) {
        self.window.drain(..n_bytes);
        self.at += n_bytes;
    }

    fn value(&mut self) -> Result<bool, Box<Failure>> {
        let found = memmem::find(&self.window, &self.delimiter);
        // The end of the window may be the beginning of a delimiter.
        let n_value = found.unwrap_or_else(|| self.window.len().saturating_sub(self.delimiter.len() - 1));
        if let Some((_, value)) = &mut self.reading {
            value.extend_from_slice(&self.window[..n_value]);
            if value.len() > MAX_VALUE {
                return Err(Box::new(Failure::invalid("`model` must be a name of 1 to 1024 bytes").at("model")));
            }
        }
        self.consume(n_value);
        if found.is_none() {
            return Ok(false);
        }
        if let Some((from, value)) = self.reading.take() {
            self.model = Some(Field { value: name(value)?, at: from..self.at - BEFORE.len() });
        }
        self.consume(self.delimiter.len());
        self.state = State::Delimited;
        Ok(true)
    }

    fn delimited(&mut self) -> Result<bool, Box<Failure>> {
        match self.window.get(..2) {
            None => return Ok(false),
            Some(b"--") => self.state = State::Ended,
            Some(b"\r\n") => self.state = State::Headers,
            Some(_) => return Err(broken("has something behind a boundary")),
        }
        self.consume(2);
        Ok(true)
    }

    fn headers(&mut self) -> Result<bool, Box<Failure>> {
        const END: &[u8] = b"\r\n\r\n";
        let Some(length) = memmem::find(&self.window, END) else {
            return if self.window.len() > MAX_HEADERS {
                Err(broken("has a part with too long headers"))
            } else {
                Ok(false)
            };
        };
        self.n_parts += 1;
        if length > MAX_HEADERS || self.n_parts > MAX_PARTS {
            return Err(broken("has too many parts (256 are allowed), or too long headers (8 KiB)"));
        }
        let is_model = part_name(&self.window[..length])? == "model";
        self.consume(length + END.len());
        self.state = State::Value;
        if is_model {
            if self.model.is_some() {
                return Err(Box::new(Failure::invalid("`model` is given twice").at("model")));
            }
            self.reading = Some((self.at - BEFORE.len(), Vec::new()));
        }
        Ok(true)
    }
}

fn name(value: Vec<u8>) -> Result<String, Box<Failure>> {
    let value = String::from_utf8(value).ok().filter(|value| !value.is_empty() && !value.contains(char::is_control));
    value.ok_or_else(|| Box::new(Failure::invalid("`model` must be a name of 1 to 1024 bytes").at("model")))
}

/// The `name` of a part: given once, in one way.
fn part_name(headers: &[u8]) -> Result<String, Box<Failure>> {
    part_names(headers).map(|(name, _)| name)
}

/// The same, and the name of its file, if it is one.
fn part_names(headers: &[u8]) -> Result<(String, Option<String>), Box<Failure>> {
    let headers = std::str::from_utf8(headers).map_err(|_| broken("has a header that is not UTF-8"))?;
    let mut dispositions = headers.split("\r\n").filter_map(|line| {
        let (header, value) = line.split_once(':')?;
        header.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    });
    let (Some(disposition), None) = (dispositions.next(), dispositions.next()) else {
        return Err(broken("has a part without one `content-disposition`"));
    };
    let (mut found, mut file) = (None, None);
    for (parameter, value) in parameters(disposition)? {
        match parameter.to_ascii_lowercase().as_str() {
            "name" if found.is_none() => found = Some(value),
            "name" | "name*" => return Err(broken("has a part with two names")),
            "filename" => file = Some(value),
            _ => {}
        }
    }
    found.map(|name| (name, file)).ok_or_else(|| broken("has a part without a name"))
}

/// `form-data; name="model"; filename="a\"b.wav"` → names and values.
fn parameters(disposition: &str) -> Result<Vec<(&str, String)>, Box<Failure>> {
    let (kind, mut rest) = disposition.split_once(';').unwrap_or((disposition, ""));
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return Err(broken("has a part that is no `form-data`"));
    }
    let mut found = Vec::new();
    while !rest.trim().is_empty() {
        let (parameter, after) = rest.split_once('=').ok_or_else(|| broken("has a parameter without a value"))?;
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquoted(quoted).ok_or_else(|| broken("has a quote without an end"))?,
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        found.push((parameter.trim(), value));
        rest = match after.trim_start().strip_prefix(';') {
            Some(rest) => rest,
            None if after.trim().is_empty() => "",
            None => return Err(broken("has something behind a parameter")),
        };
    }
    Ok(found)
}

/// A quoted text without its quotes, and what follows it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(letters.next()?.1),
            letter => value.push(letter),
        }
    }
    None
}

fn broken(what: &str) -> Box<Failure> {
    Box::new(Failure::new(Code::InvalidRequest, format!("the form {what}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a;name=\\\"model\\\".wav\"\r\n\
        Content-Type: audio/wav\r\n\r\nRIFF\r\n--\r\n--bmodel\r\n\r\r\n--b\r\ncontent-disposition: form-data; name=model\r\n\r\n\
        whisper\r\n--b\r\nContent-Disposition: form-data; name=\"language\"\r\n\r\n\r\n--b--\r\n";

    fn read(form: &str, n_bytes: usize) -> Result<Option<Field>, Box<Failure>> {
        let mut reader = Reader::new("b");
        for piece in form.as_bytes().chunks(n_bytes) {
            reader.push(piece)?;
        }
        reader.finish().map(|()| reader.model().cloned())
    }

    #[test]
    fn any_split_gives_the_same_field() {
        let form = FORM.replace("--bmodel", "--model");
        for n_bytes in 1..form.len() {
            let field = read(&form, n_bytes).expect("a sound form").expect("a model");
            assert_eq!((field.value.as_str(), &form[field.at]), ("whisper", "whisper"), "{n_bytes}");
        }
    }

    #[test]
    fn what_two_readers_could_understand_differently_is_refused() {
        let part = |disposition: &str| format!("--b\r\n{disposition}\r\n\r\nx\r\n");
        let model = part("Content-Disposition: form-data; name=\"model\"");
        let cases = [
            (FORM.to_owned(), "something behind a boundary"),
            (format!("{model}{model}--b--"), "given twice"),
            (part("Content-Disposition: form-data; name=\"a\"; name=\"model\"") + "--b--", "two names"),
            (part("Content-Disposition: form-data; name=\"a\"; name*=utf-8''model") + "--b--", "two names"),
            (
                part("Content-Disposition: form-data; name=\"a\"\r\nContent-Disposition: form-data; name=\"model\"")
                    + "--b--",
                "without one",
            ),
            (part("Content-Disposition: attachment; name=\"model\"") + "--b--", "no `form-data`"),
            (part("Content-Disposition: form-data; name=\"model") + "--b--", "without an end"),
            (part("Content-Type: text/plain") + "--b--", "without one"),
            (model.clone(), "breaks off"),
            (String::new(), "breaks off"),
            (part("x: y").repeat(300), "without one"),
            (part("Content-Disposition: form-data; name=\"a\"").repeat(300), "too many parts"),
            (format!("--b\r\n{}", "x".repeat(9000)), "too long headers"),
            (model.replace("\r\nx\r\n", &format!("\r\n{}\r\n", "x".repeat(2000))), "1 to 1024"),
            (model.replace("\r\nx\r\n", "\r\na\nb\r\n") + "--b--", "1 to 1024"),
        ];
        for (form, told) in cases {
            let failure = read(&form, 7).expect_err(&form);
            assert!(failure.status == 400 && failure.message.contains(told), "{failure} for {form}");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut reader = Reader::new("b");
        reader.push(b"--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n").expect("a part");
        for _ in 0..1000 {
            reader.push(&[b'\r'; 4096]).expect("a value");
        }
        assert!(reader.window.len() < 16 && reader.window.capacity() < 16 * 1024);
    }

    #[test]
    fn boundaries() {
        let of = |kind| boundary(kind).map(|found| found.ok());
        assert_eq!(of("multipart/form-data; boundary=abc"), Some(Some("abc")));
        assert_eq!(of("Multipart/Form-Data; charset=utf-8; BOUNDARY=\"a b\""), Some(Some("a b")));
        assert_eq!(of("application/json"), None);
        assert_eq!(of("multipart/form-data"), Some(None));
        assert_eq!(of(&format!("multipart/form-data; boundary={}", "x".repeat(71))), Some(None));
    }
}
