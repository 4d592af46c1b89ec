//! Frames: what a sealed file consists of behind its head. Each opens only in its file and at its place.

use std::io::{self, Read, Write};

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use aws_lc_rs::rand;

use super::error::Error;
use super::header::{Head, Header};
use super::key::{FILE_ID_LEN, Key};

/// Most that one frame holds. A length beyond it is damage and no reason to allocate.
pub const MAX_FRAME: usize = 16 << 20;

const TAG_LEN: usize = 16;
/// Of the length's word: no frame follows.
const LAST: u32 = 1 << 31;

/// Where the next frame of a file goes.
struct Place {
    key: LessSafeKey,
    binding: [u8; 32],
    index: u64,
}

/// Writes a file, frame by frame.
pub struct Appender<W> {
    place: Place,
    writer: W,
    buffer: Vec<u8>,
}

/// Reads a file, frame by frame.
pub struct Frames<R> {
    place: Place,
    reader: R,
    buffer: Vec<u8>,
    /// Where the last whole frame ended.
    end: u64,
    is_over: bool,
}

// === impl Place ===

impl Place {
    fn new(key: &Key, head: &Head) -> Self {
        Self { key: key.of_file(&head.id), binding: head.binding, index: 0 }
    }

    fn aad(&self, is_last: bool) -> Aad<[u8; 41]> {
        let mut aad = [0; 41];
        aad[..32].copy_from_slice(&self.binding);
        aad[32..40].copy_from_slice(&self.index.to_be_bytes());
        aad[40] = is_last.into();
        Aad::from(aad)
    }
}

// === impl Appender ===

impl<W: Write> Appender<W> {
    /// Begins a file.
    pub fn begin(key: &Key, header: &Header, mut writer: W) -> io::Result<Self> {
        let mut id = [0; FILE_ID_LEN];
        rand::fill(&mut id).map_err(|_| io::Error::other("the system gives no random bytes"))?;
        let head = header.encode(key, id)?;
        writer.write_all(&head.bytes)?;
        Ok(Self { place: Place::new(key, &head), writer, buffer: Vec::new() })
    }

    /// Goes on behind the last whole frame of a file that was read; the writer stands there.
    pub fn resume<R>(frames: Frames<R>, writer: W) -> Self {
        Self { place: frames.place, writer, buffer: Vec::new() }
    }

    /// One more frame, in one write. After an error the file's end is not known.
    pub fn append(&mut self, content: &[u8]) -> io::Result<()> {
        self.write(content, 0)
    }

    /// The frame after which none follows.
    pub fn finish(mut self, content: &[u8]) -> io::Result<W> {
        self.write(content, LAST)?;
        Ok(self.writer)
    }

    /// What the frames go to.
    pub fn writer_mut(&mut self) -> &mut W {
        &mut self.writer
    }

    fn write(&mut self, content: &[u8], last: u32) -> io::Result<()> {
        if content.len() > MAX_FRAME {
            return Err(io::Error::other("a record is larger than any message"));
        }
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| io::Error::other("the system gives no random bytes"))?;
        let len = u32::try_from(content.len()).expect("bounded above");
        self.buffer.clear();
        self.buffer.extend_from_slice(&(len | last).to_le_bytes());
        self.buffer.extend_from_slice(&nonce);
        self.buffer.extend_from_slice(content);
        let at = size_of::<u32>() + NONCE_LEN;
        let sealed = self.place.key.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            self.place.aad(last != 0),
            &mut self.buffer[at..],
        );
        let tag = sealed.map_err(|_| io::Error::other("sealing failed"))?;
        self.buffer.extend_from_slice(tag.as_ref());
        self.writer.write_all(&self.buffer)?;
        self.place.index += 1;
        Ok(())
    }
}

// === impl Frames ===

impl<R: Read> Frames<R> {
    /// Reads the head. That nothing in it was changed is known with the first frame.
    pub fn begin(key: &Key, mut reader: R) -> Result<(Header, Self), Error> {
        let (header, head) = Header::read(key, &mut reader)?;
        let end = head.bytes.len() as u64;
        let place = Place::new(key, &head);
        Ok((header, Self { place, reader, buffer: Vec::new(), end, is_over: false }))
    }

    /// The next frame's content; `None` where the file ends between two frames, or after the last one.
    pub fn read(&mut self) -> Result<Option<&[u8]>, Error> {
        if self.is_over {
            return Ok(None);
        }
        let mut word = [0; size_of::<u32>()];
        if !read_or_end(&mut self.reader, &mut word)? {
            return Ok(None);
        }
        let word = u32::from_le_bytes(word);
        let (len, is_last) = ((word & !LAST) as usize, word & LAST != 0);
        if len > MAX_FRAME {
            return Err(Error::Corrupted);
        }
        let mut nonce = [0; NONCE_LEN];
        self.reader.read_exact(&mut nonce).map_err(Error::of_read)?;
        self.buffer.clear();
        // Grows with what is really there, whatever the length says.
        let n_sealed = (len + TAG_LEN) as u64;
        let n_read = self.reader.by_ref().take(n_sealed).read_to_end(&mut self.buffer).map_err(Error::Unreadable)?;
        if n_read as u64 != n_sealed {
            return Err(Error::Truncated);
        }
        let aad = self.place.aad(is_last);
        let opened = self.place.key.open_in_place(Nonce::assume_unique_for_key(nonce), aad, &mut self.buffer);
        opened.map_err(|_| Error::Corrupted)?;
        self.place.index += 1;
        self.end += size_of::<u32>() as u64 + NONCE_LEN as u64 + n_sealed;
        self.is_over = is_last;
        if is_last && read_or_end(&mut self.reader, &mut [0])? {
            // Something was appended to a file that was complete.
            return Err(Error::Corrupted);
        }
        Ok(Some(&self.buffer[..len]))
    }

    /// Where the last whole frame ended, in bytes from the beginning of the file.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The frame after which none follows has been read.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }
}

/// False at the end of the file.
fn read_or_end(reader: &mut impl Read, buffer: &mut [u8]) -> Result<bool, Error> {
    let n_read = loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read.map_err(Error::Unreadable)?,
        }
    };
    if n_read == 0 && !buffer.is_empty() {
        return Ok(false);
    }
    reader.read_exact(&mut buffer[n_read..]).map_err(Error::of_read)?;
    Ok(true)
}
