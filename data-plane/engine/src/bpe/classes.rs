//! What the patterns of vocabularies ask of a character: its general category, and whether it is white space.

use std::sync::LazyLock;

use regex_syntax::hir::{Class as Set, HirKind};

/// Bits of a character's class.
pub(super) type Class = u8;

/// Upper and title case.
pub(super) const UPPER: Class = 1;
pub(super) const LOWER: Class = 1 << 1;
/// Letters without case, and modifiers.
pub(super) const CASELESS: Class = 1 << 2;
pub(super) const MARK: Class = 1 << 3;
pub(super) const NUMBER: Class = 1 << 4;
pub(super) const SPACE: Class = 1 << 5;
pub(super) const BREAK: Class = 1 << 6;

pub(super) const LETTER: Class = UPPER | LOWER | CASELESS;

/// Characters of the basic plane by number; of the others by range, in order.
struct Table {
    basic: Vec<Class>,
    beyond: Vec<(u32, u32, Class)>,
}

static TABLE: LazyLock<Table> = LazyLock::new(Table::new);

/// One look for characters of the basic plane, a binary search for others.
pub(super) fn class(character: char) -> Class {
    let number = character as u32;
    if let Some(class) = TABLE.basic.get(number as usize) {
        return *class;
    }
    let at = TABLE.beyond.partition_point(|(_, last, _)| *last < number);
    TABLE.beyond.get(at).filter(|(first, ..)| *first <= number).map_or(0, |(.., class)| *class)
}

// === impl Table ===

impl Table {
    const CATEGORIES: [(&str, Class); 5] = [
        (r"[\p{Lu}\p{Lt}]", UPPER),
        (r"\p{Ll}", LOWER),
        (r"[\p{Lm}\p{Lo}]", CASELESS),
        (r"\p{M}", MARK),
        (r"\p{N}", NUMBER),
    ];

    fn new() -> Self {
        let mut table = Self { basic: vec![0; 1 << 16], beyond: Vec::new() };
        for (pattern, class) in Self::CATEGORIES {
            for (first, last) in ranges(pattern) {
                for number in first..=last.min(0xffff) {
                    table.basic[number as usize] |= class;
                }
                if last > 0xffff {
                    table.beyond.push((first.max(0x1_0000), last, class));
                }
            }
        }
        table.beyond.sort_unstable();
        // All white space is in the basic plane.
        let spaces = (0..=0xffff).filter(|number| char::from_u32(*number).is_some_and(char::is_whitespace));
        spaces.for_each(|number| table.basic[number as usize] |= SPACE);
        ['\r', '\n'].into_iter().for_each(|end| table.basic[end as usize] |= BREAK);
        table
    }
}

fn ranges(pattern: &str) -> Vec<(u32, u32)> {
    let parsed = regex_syntax::parse(pattern).expect("categories that Unicode has");
    let HirKind::Class(Set::Unicode(set)) = parsed.into_kind() else { return Vec::new() };
    set.iter().map(|range| (range.start().into(), range.end().into())).collect()
}
