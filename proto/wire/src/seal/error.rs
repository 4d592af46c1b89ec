//! Why a sealed file stays closed. The messages complete a sentence that names the file.

use std::io;

use super::What;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("it is not a sealed file of this gateway")]
    Foreign,
    #[error("it was made by a newer version (format {format}); upgrade this program or use a file of its own version")]
    Newer { format: u16 },
    #[error("it was sealed under another key")]
    WrongKey,
    #[error("it holds {found} where {expected} was expected")]
    Another { found: What, expected: What },
    #[error("it ends too early: it was cut off or not written to its end")]
    Truncated,
    #[error("it is damaged: its content is not what was sealed")]
    Corrupted,
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
}

// === impl Error ===

impl Error {
    /// From a read that wanted so many bytes and no less.
    pub(super) fn of_read(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            _ => Self::Unreadable(error),
        }
    }

    /// From a reader on top of frames, whose errors travel inside those of I/O.
    pub(super) fn of_content(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => error,
            // The frames are whole, but do not hold what they should.
            Err(_) => Self::Corrupted,
        }
    }
}
