//! Where a node writes its own log: one JSON object per line.

use std::fs::File;
use std::io::{self, BufWriter, Stdout, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use gateway_wire::v1::LogRecord;

use crate::config::LogSink;

pub(super) enum Sink {
    None,
    Stdout(BufWriter<Stdout>),
    File(BufWriter<File>),
}

// === impl Sink ===

impl Sink {
    pub(super) fn open(sink: &LogSink) -> io::Result<Self> {
        Ok(match sink {
            LogSink::None => Self::None,
            LogSink::Stdout => Self::Stdout(BufWriter::new(io::stdout())),
            LogSink::File(path) => {
                let file = File::options().append(true).create(true).mode(0o600).open(path);
                let file =
                    file.map_err(|error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display())))?;
                Self::File(BufWriter::new(file))
            }
        })
    }

    /// Buffered; what was written is certain after a flush.
    pub(super) fn write(&mut self, record: &LogRecord) -> io::Result<()> {
        match self {
            Self::None => Ok(()),
            Self::Stdout(out) => line(out, record),
            Self::File(out) => line(out, record),
        }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::None => Ok(()),
            Self::Stdout(out) => out.flush(),
            Self::File(out) => out.flush(),
        }
    }
}

fn line(out: &mut impl io::Write, record: &LogRecord) -> io::Result<()> {
    serde_json::to_writer(&mut *out, record)?;
    out.write_all(b"\n")
}
