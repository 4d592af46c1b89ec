//! Where a node writes its own log: one JSON object per line.

use std::fs::File;
use std::io::{self, Stdout, Write};
use std::os::unix::fs::OpenOptionsExt as _;

use crate::config::LogSink;

pub(super) struct Sink {
    to: To,
    /// The last line is there in part.
    is_torn: bool,
}

enum To {
    None,
    Stdout(Stdout),
    File(File),
}

/// Why lines are not there, and how many.
#[derive(Debug)]
pub(super) struct Unwritten {
    pub(super) error: io::Error,
    pub(super) n_lines: u64,
}

// === impl Sink ===

impl Sink {
    pub(super) fn open(sink: &LogSink) -> io::Result<Self> {
        let to = match sink {
            LogSink::None => To::None,
            LogSink::Stdout => To::Stdout(io::stdout()),
            LogSink::File(path) => {
                let file = File::options().append(true).create(true).mode(0o600).open(path);
                To::File(file.map_err(|error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display())))?)
            }
        };
        Ok(Self { to, is_torn: false })
    }

    /// Whether anybody wants lines.
    pub(super) fn takes(&self) -> bool {
        !matches!(self.to, To::None)
    }

    /// Whole lines. What did not fit is lost; the next line begins by itself all the same.
    pub(super) fn write(&mut self, lines: &[u8]) -> Result<(), Unwritten> {
        match &mut self.to {
            _ if lines.is_empty() => Ok(()),
            To::None => Ok(()),
            To::Stdout(out) => put(out, lines, &mut self.is_torn),
            To::File(out) => put(out, lines, &mut self.is_torn),
        }
    }
}

fn put(out: &mut impl Write, lines: &[u8], is_torn: &mut bool) -> Result<(), Unwritten> {
    let mut rest = lines;
    let mut write = || {
        if *is_torn {
            out.write_all(b"\n")?;
            *is_torn = false;
        }
        while !rest.is_empty() {
            match out.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n_bytes) => rest = &rest[n_bytes..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        out.flush()
    };
    write().map_err(|error| {
        let written = &lines[..lines.len() - rest.len()];
        *is_torn |= written.last().is_some_and(|last| *last != b'\n');
        Unwritten { error, n_lines: memchr::memchr_iter(b'\n', rest).count() as u64 }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, then nothing more.
    struct Full(Vec<u8>, usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n_bytes = bytes.len().min(self.1 - self.0.len());
            self.0.extend_from_slice(&bytes[..n_bytes]);
            if n_bytes > 0 { Ok(n_bytes) } else { Err(io::ErrorKind::StorageFull.into()) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_does_not_fit_is_counted_and_the_next_line_is_whole() {
        for room in 0..=6 {
            let (mut out, mut is_torn) = (Full(Vec::new(), room), false);
            let n_unwritten =
                put(&mut out, b"a1\nb2\n", &mut is_torn).map_or_else(|unwritten| unwritten.n_lines, |()| 0);
            out.1 = usize::MAX;
            assert!(put(&mut out, b"c3\n", &mut is_torn).is_ok());
            let text = String::from_utf8(out.0).expect("UTF-8");
            let n_whole = text.lines().filter(|line| line.len() == 2).count() as u64;
            // A line of which all but its end was written is there after all.
            assert!(n_whole + n_unwritten == 3 || room % 3 == 2 && n_whole + n_unwritten == 4, "{room}: {text:?}");
            assert!(text.ends_with("c3\n") && !text.contains("c3c") && text.lines().last() == Some("c3"), "{text:?}");
        }
    }
}
