//! Config items in a sealed file: one by one, compressed, so that neither writing nor reading a million of them needs them
//! in memory twice.
//!
//! The uncompressed content is the encoding of a message with the items of topology as field 1 and of identity as field 2.

use std::io::{self, BufReader, Read, Write};

use prost::Message as _;

use super::error::Error;
use super::frame::{Appender, Frames, MAX_FRAME};
use super::header::Header;
use super::key::Key;
use crate::v1::{Class, Item};

/// Writes items.
pub struct ItemWriter<W: Write> {
    compressor: zstd::Encoder<'static, Chunks<W>>,
    buffer: Vec<u8>,
}

/// Reads items. What it gives has been authenticated; that nothing is missing at the end is known when it gives `None`.
pub struct ItemReader<'a> {
    content: BufReader<zstd::Decoder<'static, BufReader<Opened<'a>>>>,
    buffer: Vec<u8>,
}

/// Cuts what is written into frames.
struct Chunks<W> {
    appender: Appender<W>,
    chunk: Vec<u8>,
}

/// The content of all frames, one after the other.
struct Opened<'a> {
    frames: Frames<Box<dyn Read + Send + 'a>>,
    chunk: Vec<u8>,
    n_taken: usize,
}

const CHUNK: usize = 256 * 1024;
/// Digests do not compress; the rest does at the fastest level.
const LEVEL: i32 = 1;
const TOPOLOGY: u8 = 0x0a;
const IDENTITY: u8 = 0x12;

// === impl ItemWriter ===

impl<W: Write> ItemWriter<W> {
    pub fn begin(key: &Key, header: &Header, writer: W) -> io::Result<Self> {
        let appender = Appender::begin(key, header, writer)?;
        let chunks = Chunks { appender, chunk: Vec::with_capacity(CHUNK) };
        Ok(Self { compressor: zstd::Encoder::new(chunks, LEVEL)?, buffer: Vec::new() })
    }

    pub fn write(&mut self, class: Class, item: &Item) -> io::Result<()> {
        self.buffer.clear();
        self.buffer.push(if class == Class::Topology { TOPOLOGY } else { IDENTITY });
        // A vector grows as needed.
        let _ = item.encode_length_delimited(&mut self.buffer);
        self.compressor.write_all(&self.buffer)
    }

    /// To be called, or the file is incomplete.
    pub fn finish(self) -> io::Result<W> {
        let Chunks { appender, chunk } = self.compressor.finish()?;
        appender.finish(&chunk)
    }
}

impl<W: Write> Write for Chunks<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n_taken = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..n_taken]);
        if self.chunk.len() == CHUNK {
            self.appender.append(&self.chunk)?;
            self.chunk.clear();
        }
        Ok(n_taken)
    }

    /// Frames are whole only; what is left goes out at the end.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// === impl ItemReader ===

impl<'a> ItemReader<'a> {
    pub fn begin(key: &Key, reader: impl Read + Send + 'a) -> Result<(Header, Self), Error> {
        let reader: Box<dyn Read + Send + 'a> = Box::new(reader);
        let (header, frames) = Frames::begin(key, reader)?;
        let opened = Opened { frames, chunk: Vec::new(), n_taken: 0 };
        let decoder = zstd::Decoder::new(opened).map_err(Error::of_content)?;
        Ok((header, Self { content: BufReader::with_capacity(CHUNK, decoder), buffer: Vec::new() }))
    }

    /// The next item; `None` at the end of a file that is whole.
    pub fn read(&mut self) -> Result<Option<(Class, Item)>, Error> {
        let mut tag = [0];
        let n_read = self.content.read(&mut tag).map_err(Error::of_content)?;
        let class = match (n_read, tag[0]) {
            (0, _) => return Ok(None),
            (_, TOPOLOGY) => Class::Topology,
            (_, IDENTITY) => Class::Identity,
            // Authenticated, so it is not damage; but not ours either.
            _ => return Err(Error::Corrupted),
        };
        let len = self.length()?;
        self.buffer.resize(len, 0);
        self.content.read_exact(&mut self.buffer).map_err(Error::of_content)?;
        let item = Item::decode(self.buffer.as_slice()).map_err(|_| Error::Corrupted)?;
        Ok(Some((class, item)))
    }

    /// A variable-length number, as protobuf has it.
    fn length(&mut self) -> Result<usize, Error> {
        let mut length = 0_usize;
        for shift in (0..usize::BITS).step_by(7).take(4) {
            let mut byte = [0];
            self.content.read_exact(&mut byte).map_err(Error::of_content)?;
            length |= usize::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                return if length <= MAX_FRAME { Ok(length) } else { Err(Error::Corrupted) };
            }
        }
        Err(Error::Corrupted)
    }
}

// === impl Opened ===

impl Read for Opened<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while self.n_taken == self.chunk.len() {
            let is_over = self.frames.is_over();
            match self.frames.read().map_err(io::Error::other)? {
                Some(chunk) => {
                    self.chunk.clear();
                    self.chunk.extend_from_slice(chunk);
                    self.n_taken = 0;
                }
                None if is_over => return Ok(0),
                // Cut between two frames.
                None => return Err(io::Error::other(Error::Truncated)),
            }
        }
        let n_taken = bytes.len().min(self.chunk.len() - self.n_taken);
        bytes[..n_taken].copy_from_slice(&self.chunk[self.n_taken..][..n_taken]);
        self.n_taken += n_taken;
        Ok(n_taken)
    }
}
