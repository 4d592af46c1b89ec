//! A reply that is too large to be held, or no JSON: it passes, and only its tail is kept, where usage stands if anywhere.

use bytes::Bytes;
use gateway_dialects::dialect::{ClientDialect, Seen, StreamTap};
use gateway_dialects::task::Family;
use gateway_dialects::units::Pictures;
use gateway_ir::failure::Failure;
use gateway_ir::usage::Usage;

/// Usage is looked for in this much of the end.
const KEPT: usize = 64 * 1024;

pub(crate) struct Tail {
    whose: Whose,
    /// What had been read before it was known to be too large; forwarded first.
    first: Option<Bytes>,
    kept: Vec<u8>,
    /// Counts what goes by, where the end does not tell.
    pictures: Option<Pictures>,
    seen: Seen,
}

/// Who can find usage in it.
enum Whose {
    /// A reply of a conversation: its size says how much a model wrote.
    Conversation(&'static dyn ClientDialect),
    /// Numbers, pictures, sound.
    Task(&'static dyn Family),
}

// === impl Tail ===

impl Tail {
    pub(crate) fn of_conversation(dialect: &'static dyn ClientDialect, first: Bytes) -> Self {
        Self::begin(Whose::Conversation(dialect), first)
    }

    pub(crate) fn of_task(family: &'static dyn Family, first: Bytes) -> Self {
        Self::begin(Whose::Task(family), first)
    }

    fn begin(whose: Whose, first: Bytes) -> Self {
        let pictures = match whose {
            Whose::Conversation(_) => None,
            Whose::Task(family) => family.pictures(),
        };
        let mut tail = Self { whose, first: None, kept: Vec::new(), pictures, seen: Seen::default() };
        tail.keep(&first);
        tail.first = Some(first).filter(|first| !first.is_empty());
        tail
    }

    fn usage(&self) -> Option<Usage> {
        match self.whose {
            Whose::Conversation(dialect) => dialect.usage_of_reply(&self.kept),
            Whose::Task(family) => {
                let told = family.usage_of_reply(&self.kept);
                match &self.pictures {
                    Some(pictures) => Some(Usage { units: pictures.units(), ..told.unwrap_or_default() }),
                    None => told,
                }
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if let Whose::Conversation(_) = self.whose {
            self.seen.content_bytes += bytes.len() as u64;
        }
        if let Some(pictures) = &mut self.pictures {
            pictures.push(bytes);
        }
        let new = &bytes[bytes.len().saturating_sub(KEPT)..];
        let surplus = (self.kept.len() + new.len()).saturating_sub(KEPT);
        self.kept.drain(..surplus.min(self.kept.len()));
        self.kept.extend_from_slice(new);
    }
}

impl StreamTap for Tail {
    fn push(&mut self, chunk: Bytes) -> Result<Bytes, Box<Failure>> {
        self.keep(&chunk);
        match self.first.take() {
            Some(first) => Ok([first, chunk].concat().into()),
            None => Ok(chunk),
        }
    }

    fn finish(&mut self) -> Result<Bytes, Box<Failure>> {
        self.seen.usage = self.usage();
        self.seen.finished = true;
        self.seen.ended = true;
        Ok(self.first.take().unwrap_or_default())
    }

    /// Half a JSON document cannot be ended properly: nothing is added, and the connection is cut.
    fn fail(&mut self, _: &Failure) -> Bytes {
        Bytes::new()
    }

    fn seen(&self) -> &Seen {
        &self.seen
    }
}
