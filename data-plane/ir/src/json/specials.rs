//! Where a JSON text has bytes that do not stand for themselves in a string: quotes, backslashes, control characters.
//!
//! Long prompts are most of all bytes, so this is where a large body's time goes. Sixty-four bytes are looked at together, once;
//! names, texts and escapes that end within them cost a few instructions each.

use wide::u8x16;

const BLOCK: usize = 64;
const LANE: usize = 16;

/// Goes over one text from front to back.
#[derive(Clone)]
pub struct Specials<'a> {
    text: &'a [u8],
    /// The end of what `marks` tells of.
    seen: usize,
    /// A bit for each special byte of the block before `seen`, the lowest for the first.
    marks: u64,
}

// === impl Specials ===

impl<'a> Specials<'a> {
    pub fn of(text: &'a [u8]) -> Self {
        Self { text, seen: 0, marks: 0 }
    }

    /// The position of the first special byte that is not before `at`; the text's length if there is none. What was asked for
    /// earlier must not be after `at`.
    #[inline]
    pub fn next_from(&mut self, at: usize) -> usize {
        if at < self.seen {
            // Whatever lies before the block has been passed over: nothing is special there.
            let begin = self.seen - BLOCK;
            let marks = self.marks & (u64::MAX << at.saturating_sub(begin));
            if marks != 0 {
                return begin + marks.trailing_zeros() as usize;
            }
        }
        self.search(at.max(self.seen))
    }

    // Apart, so that what is found without it is found within the caller's own registers.
    #[inline(never)]
    fn search(&mut self, mut at: usize) -> usize {
        let (blocks, _) = self.text[at.min(self.text.len())..].as_chunks();
        for block in blocks {
            let marks = marks(block);
            if marks != 0 {
                (self.marks, self.seen) = (marks, at + BLOCK);
                return at + marks.trailing_zeros() as usize;
            }
            at += BLOCK;
        }
        self.search_end(at)
    }

    /// The same in the last bytes, from `at` on, which are less than a block.
    fn search_end(&mut self, at: usize) -> usize {
        if at >= self.text.len() {
            return self.text.len();
        }
        (self.marks, self.seen) = (marks_of_end(self.text, at), at + BLOCK);
        if self.marks == 0 { self.text.len() } else { at + self.marks.trailing_zeros() as usize }
    }
}

/// Whether all of it stands for itself in a JSON string. Made for words of a few dozen bytes.
#[inline]
pub fn is_plain(text: &[u8]) -> bool {
    let (words, tail) = text.as_chunks::<8>();
    let special = |word: &[u8; 8]| specials_of_word(u64::from_le_bytes(*word));
    let last = match text.last_chunk() {
        Some(word) => special(word),
        None => {
            let mut word = [b' '; 8];
            word[..tail.len()].copy_from_slice(tail);
            special(&word)
        }
    };
    words.iter().fold(last, |specials, word| specials | special(word)) == 0
}

/// Not zero if a byte of it is special. Which one cannot be told by it.
fn specials_of_word(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGHS: u64 = ONES << 7;
    let is_zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let is = |byte: u8| is_zero(word ^ (ONES * u64::from(byte)));
    // Of a control character none of the upper three bits is set.
    let upper = word & (ONES * 0xe0);
    (is(b'"') | is(b'\\') | is_zero(upper)) & HIGHS
}

fn marks(block: &[u8; BLOCK]) -> u64 {
    let (lanes, _) = block.as_chunks::<LANE>();
    let bits = |position: usize| marks_of_lane(&lanes[position]) << (position * LANE);
    bits(0) | bits(1) | bits(2) | bits(3)
}

/// The same of the last bytes of a text, from `at` on, which are less than a block.
#[inline(never)]
fn marks_of_end(text: &[u8], at: usize) -> u64 {
    let (lanes, tail) = text[at..].as_chunks::<LANE>();
    let last = match text.last_chunk() {
        // Those before the tail have their marks already, and are shifted out.
        Some(lane) => marks_of_lane(lane) >> (LANE - tail.len()),
        None => {
            let mut lane = [b' '; LANE];
            lane[..tail.len()].copy_from_slice(tail);
            marks_of_lane(&lane)
        }
    };
    lanes.iter().rev().fold(last, |marks, lane| marks << LANE | marks_of_lane(lane))
}

fn marks_of_lane(lane: &[u8; LANE]) -> u64 {
    let bytes = u8x16::new(*lane);
    let is_control = bytes.min(u8x16::splat(0x1f)).simd_eq(bytes);
    let is_special = bytes.simd_eq(u8x16::splat(b'"')) | bytes.simd_eq(u8x16::splat(b'\\')) | is_control;
    u64::from(is_special.to_bitmask())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_special(byte: u8) -> bool {
        byte == b'"' || byte == b'\\' || byte < 0x20
    }

    #[test]
    fn every_byte_is_special_or_not_wherever_it_stands() {
        for length in [0, 1, 7, 15, 16, 17, 63, 64, 65, 127, 128, 200] {
            let plain = "aé~\u{7f}".repeat(60).into_bytes()[..length].to_vec();
            let first = |text: &[u8]| Specials::of(text).next_from(0);
            assert_eq!((first(&plain), is_plain(&plain)), (length, true));
            for at in 0..length {
                for byte in 0..=255 {
                    let mut text = plain.clone();
                    text[at] = byte;
                    let expected = if is_special(byte) { (at, false) } else { (length, true) };
                    assert_eq!((first(&text), is_plain(&text)), expected, "{byte} at {at} of {length}");
                }
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_found_from_anywhere_is_the_next(
            text in proptest::collection::vec(proptest::prop_oneof![4 => b'a'..=b'z', 1 => proptest::num::u8::ANY], 0..300),
            steps in proptest::collection::vec(0_usize..90, 0..40),
        ) {
            let (mut specials, mut at) = (Specials::of(&text), 0);
            for step in steps {
                at = (at + step).min(text.len());
                let next = text[at..].iter().position(|byte| is_special(*byte)).map_or(text.len(), |found| at + found);
                proptest::prop_assert_eq!(specials.next_from(at), next);
                // Sometimes on behind it, as whoever reads an escape does.
                if step % 2 == 0 {
                    at = (next + 1).min(text.len());
                }
            }
        }
    }
}
