//! What was used, by class. The classes are disjoint, whatever shape a vendor reports, so that sums and prices are exact.

/// What one request used. `input` excludes cache reads and writes; `reasoning`, audio and images are parts of `input` and `output`,
/// not beside them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub input: u64,
    pub cache_read: u64,
    /// Cache writes with the short (5 minute) lifetime, or of unknown lifetime.
    pub cache_write: u64,
    pub cache_write_1h: u64,
    pub output: u64,
    pub reasoning: u64,
    pub input_audio: u64,
    pub output_audio: u64,
    pub input_image: u64,
    pub output_image: u64,
    pub units: Units,
    pub tier: Tier,
}

/// The service tier that a request was served in, by what its reply says; not what was asked for, which vendors may not keep to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Or one that nobody charges for apart.
    #[default]
    Standard,
    /// Slower and cheaper.
    Flex,
    /// Sooner and dearer.
    Priority,
    /// One of many whose answers are fetched later.
    Batch,
}

/// What vendors charge for by something else than tokens. One request has one kind of it at most, so that a conversation carries
/// sixteen bytes for it and no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Units {
    #[default]
    None,
    /// Something was used that is charged by the piece or by time, and nobody said how much.
    Unmeasured,
    /// Pictures that were made.
    PicturesMade(u64),
    /// Pictures that were read, where they are charged by the piece.
    PicturesRead(u64),
    /// Milliseconds of a recording that was read.
    AudioMs(u64),
    /// Unicode characters of a text that was spoken.
    Characters(u64),
    /// Searches, in the vendor's own measure: up to 100 documents in each, for most.
    Searches(u64),
}

// === impl Usage ===

impl Usage {
    /// All prompt tokens, in the sense of OpenAI's `prompt_tokens`: cache reads and writes included.
    pub fn prompt(&self) -> u64 {
        self.input.saturating_add(self.cache_read).saturating_add(self.cache_write).saturating_add(self.cache_write_1h)
    }

    /// OpenAI's `total_tokens`.
    pub fn total(&self) -> u64 {
        self.prompt().saturating_add(self.output)
    }

    /// Of both together. No class overflows.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let sum = |of: fn(&Self) -> u64| of(self).saturating_add(of(other));
        Self {
            input: sum(|usage| usage.input),
            cache_read: sum(|usage| usage.cache_read),
            cache_write: sum(|usage| usage.cache_write),
            cache_write_1h: sum(|usage| usage.cache_write_1h),
            output: sum(|usage| usage.output),
            reasoning: sum(|usage| usage.reasoning),
            input_audio: sum(|usage| usage.input_audio),
            output_audio: sum(|usage| usage.output_audio),
            input_image: sum(|usage| usage.input_image),
            output_image: sum(|usage| usage.output_image),
            units: self.units.plus(other.units),
            tier: self.tier.max(other.tier),
        }
    }

    pub fn of_units(units: Units) -> Self {
        Self { units, ..Self::default() }
    }
}

// === impl Tier ===

impl Tier {
    /// As vendors write it: `service_tier` of OpenAI and Anthropic, `serviceTier` of Google and Amazon. What is not known here is
    /// [`Self::Standard`].
    pub fn parse(word: &str) -> Self {
        let is = |known: &str| word.eq_ignore_ascii_case(known);
        if is("priority") {
            Self::Priority
        } else if is("flex") {
            Self::Flex
        } else if is("batch") {
            Self::Batch
        } else {
            Self::Standard
        }
    }

    /// As records have it; empty for the ordinary one.
    pub fn word(self) -> &'static str {
        match self {
            Self::Standard => "",
            Self::Flex => "flex",
            Self::Priority => "priority",
            Self::Batch => "batch",
        }
    }
}

// === impl Units ===

impl Units {
    /// Of both together; of two kinds nobody can say how much that is.
    fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, known) | (known, Self::None) => known,
            (Self::PicturesMade(a), Self::PicturesMade(b)) => Self::PicturesMade(a.saturating_add(b)),
            (Self::PicturesRead(a), Self::PicturesRead(b)) => Self::PicturesRead(a.saturating_add(b)),
            (Self::AudioMs(a), Self::AudioMs(b)) => Self::AudioMs(a.saturating_add(b)),
            (Self::Characters(a), Self::Characters(b)) => Self::Characters(a.saturating_add(b)),
            (Self::Searches(a), Self::Searches(b)) => Self::Searches(a.saturating_add(b)),
            _ => Self::Unmeasured,
        }
    }

    /// What is known, where two say something: the one that measured, and of two the first.
    pub fn or(self, other: Self) -> Self {
        if self.is_measured() || other == Self::None { self } else { other }
    }

    pub fn is_measured(self) -> bool {
        !matches!(self, Self::None | Self::Unmeasured)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;

    /// It is copied with every event that has one, and beside every request.
    #[test]
    fn usage_stays_small() {
        assert_eq!((size_of::<Units>(), size_of::<Usage>()), (16, 104));
        assert!(size_of::<Event>() <= 104, "{}", size_of::<Event>());
    }

    #[test]
    fn a_tier_is_read_in_any_vendors_letters() {
        use Tier::{Batch, Flex, Priority, Standard};
        for (word, expected) in [
            ("priority", Priority),
            ("FLEX", Flex),
            ("batch", Batch),
            ("default", Standard),
            ("scale", Standard),
            ("", Standard),
        ] {
            assert_eq!(Tier::parse(word), expected, "{word}");
        }
        for tier in [Standard, Flex, Priority, Batch] {
            assert_eq!(Tier::parse(tier.word()), tier);
        }
    }

    #[test]
    fn what_was_measured_goes_before_what_was_not() {
        use Units::{AudioMs, Characters, None, Unmeasured};
        for (one, other, expected) in [
            (None, None, None),
            (None, Unmeasured, Unmeasured),
            (Unmeasured, None, Unmeasured),
            (Unmeasured, AudioMs(1), AudioMs(1)),
            (AudioMs(1), Unmeasured, AudioMs(1)),
            (AudioMs(1), Characters(2), AudioMs(1)),
        ] {
            assert_eq!(one.or(other), expected);
        }
    }
}
