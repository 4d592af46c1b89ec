//! Where a node writes its own log: one JSON object per line.

use std::fs::File;
use std::io::{self, BufWriter, Stdout, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use gateway_wire::v1::LogRecord;

use super::line;
use crate::config::LogSink;

pub(super) struct Sink {
    to: To,
    line: Vec<u8>,
}

enum To {
    None,
    Stdout(BufWriter<Stdout>),
    File(BufWriter<File>),
}

// === impl Sink ===

impl Sink {
    pub(super) fn open(sink: &LogSink) -> io::Result<Self> {
        let to = match sink {
            LogSink::None => To::None,
            LogSink::Stdout => To::Stdout(BufWriter::new(io::stdout())),
            LogSink::File(path) => {
                let file = File::options().append(true).create(true).mode(0o600).open(path);
                let file =
                    file.map_err(|error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display())))?;
                To::File(BufWriter::new(file))
            }
        };
        Ok(Self { to, line: Vec::new() })
    }

    /// Buffered; what was written is certain after a flush.
    pub(super) fn write(&mut self, record: &LogRecord) -> io::Result<()> {
        match &mut self.to {
            To::None => Ok(()),
            To::Stdout(out) => put(out, &mut self.line, record),
            To::File(out) => put(out, &mut self.line, record),
        }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            To::None => Ok(()),
            To::Stdout(out) => out.flush(),
            To::File(out) => out.flush(),
        }
    }
}

/// A record is some hundred pieces, which are put together where that costs least.
fn put(out: &mut impl io::Write, line: &mut Vec<u8>, record: &LogRecord) -> io::Result<()> {
    line.clear();
    line::write(record, line);
    out.write_all(line)
}
