//! All parts of a form, handed on as they come: names, and then their values piece by piece.

use memchr::memmem;

use super::{BEFORE, MAX_HEADERS, MAX_PARTS, State, broken, part_names};
use crate::failure::Failure;

/// The next thing in a form.
#[derive(Debug, PartialEq, Eq)]
pub enum Part<'a> {
    Begins {
        name: String,
        filename: Option<String>,
    },
    /// The next bytes of the value of the part that began last.
    Value(&'a [u8]),
}

/// Reads a form that comes in pieces.
#[derive(Debug)]
pub struct Parts {
    delimiter: Vec<u8>,
    state: State,
    /// A part has begun: what comes before the first is nobody's.
    has_begun: bool,
    window: Vec<u8>,
    n_parts: usize,
}

// === impl Parts ===

impl Parts {
    /// `boundary` as [`super::boundary`] gives it.
    pub fn new(boundary: &str) -> Self {
        Self {
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            state: State::Value,
            has_begun: false,
            window: BEFORE.to_vec(),
            n_parts: 0,
        }
    }

    /// Reads on. Memory is bounded by the piece and the headers of one part.
    pub fn push(
        &mut self,
        piece: &[u8],
        mut visit: impl FnMut(Part<'_>) -> Result<(), Box<Failure>>,
    ) -> Result<(), Box<Failure>> {
        self.window.extend_from_slice(piece);
        loop {
            match self.state {
                State::Value => {
                    let found = memmem::find(&self.window, &self.delimiter);
                    // The end of the window may be the beginning of a delimiter.
                    let n_value = found.unwrap_or_else(|| self.window.len().saturating_sub(self.delimiter.len() - 1));
                    if self.has_begun && n_value > 0 {
                        visit(Part::Value(&self.window[..n_value]))?;
                    }
                    self.window.drain(..n_value + found.map_or(0, |_| self.delimiter.len()));
                    if found.is_none() {
                        return Ok(());
                    }
                    self.state = State::Delimited;
                }
                State::Delimited => {
                    self.state = match self.window.get(..2) {
                        None => return Ok(()),
                        Some(b"--") => State::Ended,
                        Some(b"\r\n") => State::Headers,
                        Some(_) => return Err(broken("has something behind a boundary")),
                    };
                    self.window.drain(..2);
                }
                State::Headers => {
                    let Some(begun) = self.headers()? else { return Ok(()) };
                    visit(begun)?;
                }
                State::Ended => {
                    self.window.clear();
                    return Ok(());
                }
            }
        }
    }

    /// The form is over: it must have said so.
    pub fn finish(&self) -> Result<(), Box<Failure>> {
        if self.state == State::Ended { Ok(()) } else { Err(broken("breaks off before its last boundary")) }
    }

    fn headers(&mut self) -> Result<Option<Part<'static>>, Box<Failure>> {
        const END: &[u8] = b"\r\n\r\n";
        let length = memmem::find(&self.window, END);
        if length.unwrap_or(self.window.len()) > MAX_HEADERS {
            return Err(broken("has a part with too long headers"));
        }
        let Some(length) = length else { return Ok(None) };
        self.n_parts += 1;
        if self.n_parts > MAX_PARTS {
            return Err(broken("has too many parts (256 are allowed)"));
        }
        let (name, filename) = part_names(&self.window[..length])?;
        self.window.drain(..length + END.len());
        (self.state, self.has_begun) = (State::Value, true);
        Ok(Some(Part::Begins { name, filename }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A part's name, its file's, and its value.
    type Found = (String, Option<String>, Vec<u8>);

    fn read(form: &[u8], n_bytes: usize) -> Result<Vec<Found>, Box<Failure>> {
        let (mut parts, mut found) = (Parts::new("b"), Vec::<Found>::new());
        for piece in form.chunks(n_bytes) {
            parts.push(piece, |part| {
                match part {
                    Part::Begins { name, filename } => found.push((name, filename, Vec::new())),
                    Part::Value(bytes) => found.last_mut().expect("a part began").2.extend_from_slice(bytes),
                }
                Ok(())
            })?;
        }
        parts.finish().map(|()| found)
    }

    #[test]
    fn any_split_gives_the_same_parts() {
        let form = b"preamble\r\n--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b\r\n\
            content-disposition: form-data; name=file; filename=\"a\\\"b.jsonl\"\r\nContent-Type: x/y\r\n\r\n\r\n{}\r\n--\r\r\n--b\r\n\
            Content-Disposition: form-data; name=\"empty\"\r\n\r\n\r\n--b--\r\nepilogue";
        let expected = [
            ("purpose".to_owned(), None, b"batch".to_vec()),
            ("file".to_owned(), Some("a\"b.jsonl".to_owned()), b"\r\n{}\r\n--\r".to_vec()),
            ("empty".to_owned(), None, Vec::new()),
        ];
        for n_bytes in 1..form.len() {
            assert_eq!(read(form, n_bytes).expect("a sound form"), expected, "in pieces of {n_bytes}");
        }
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let part = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n";
        for form in ["", "x", part, "--bx", &part.repeat(300), &format!("--b\r\nx: {}", "y".repeat(9000))] {
            for n_bytes in [1, 7, form.len().max(1)] {
                assert!(read(form.as_bytes(), n_bytes).is_err(), "{form}");
            }
        }
    }
}
