//! What is known of models: context window, output cap, modalities, capabilities, prices. The facts are public data sets'
//! (`catalog/models.txt`, written by `catalog/refresh.py`); the text is searched where it lies, so that nothing is built at start.

use std::sync::LazyLock;

use crate::unit::{Usd, UsdPerMillion};

static TEXT: &str = include_str!("../../catalog/models.txt");

/// Kinds and the lines of their models. One pass over the text, some tens of microseconds.
static SECTIONS: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| {
    let sections = TEXT.split("\n=").skip(1);
    sections.map(|section| section.split_once('\n').unwrap_or((section, ""))).collect()
});

/// One model of a kind of provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    pub name: &'static str,
    /// `chat`, `completion`, `embedding`, `image`, `transcription`, `speech`, `rerank` or `moderation`.
    pub mode: &'static str,
    /// Largest prompt, in tokens.
    pub context: Option<u64>,
    /// Longest answer, in tokens.
    pub output: Option<u64>,
    modalities: &'static str,
    capabilities: &'static str,
    pub prices: Option<Prices>,
}

/// What a vendor charges by its public list, on the day that the head of the text tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    pub base: Rates,
    /// For a whole request whose prompt has more tokens than this; from the lowest bound to the highest.
    pub long: Vec<(u64, Rates)>,
    pub batch: Option<Rates>,
    /// Of the vendor's service tiers.
    pub flex: Option<Scale>,
    pub priority: Option<Scale>,
    pub units: Units,
}

/// What a service tier charges, for short prompts and for long ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scale {
    pub base: Rates,
    pub long: Vec<(u64, Rates)>,
}

/// Prices of what is charged by something else than tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Units {
    /// A picture made.
    pub image: Option<Usd>,
    /// A picture read.
    pub input_image: Option<Usd>,
    /// A minute of a recording.
    pub minute: Option<Usd>,
    /// Characters of a spoken text.
    pub characters: Option<UsdPerMillion>,
    /// A thousand searches.
    pub searches: Option<Usd>,
}

/// Prices by class; what is absent is not charged by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    pub input: Option<UsdPerMillion>,
    pub output: Option<UsdPerMillion>,
    pub reasoning: Option<UsdPerMillion>,
    pub cache_read: Option<UsdPerMillion>,
    pub cache_write: Option<UsdPerMillion>,
    pub cache_write_1h: Option<UsdPerMillion>,
    pub input_audio: Option<UsdPerMillion>,
    pub output_audio: Option<UsdPerMillion>,
    pub input_image: Option<UsdPerMillion>,
    pub output_image: Option<UsdPerMillion>,
}

/// A model by its exact name. Costs a binary search and the reading of one line; allocates nothing.
pub fn model(kind: &str, name: &str) -> Option<Model> {
    let (_, lines) = SECTIONS.iter().find(|(known, _)| *known == kind)?;
    find(lines, name).and_then(Model::read)
}

/// Every model of a kind, by name.
pub fn of_kind(kind: &str) -> impl Iterator<Item = Model> {
    let section = SECTIONS.iter().find(|(known, _)| *known == kind);
    section.into_iter().flat_map(|(_, lines)| lines.lines()).filter_map(Model::read)
}

/// Which data sets the facts are from, in which versions, and when they were taken.
pub fn source() -> &'static str {
    TEXT.lines().find_map(|line| line.strip_prefix("# taken ")).unwrap_or_default()
}

/// The day on which they were taken.
pub fn taken() -> &'static str {
    source().split_once(' ').map_or("", |(day, _)| day)
}

/// The line of `name` among lines that are sorted by the bytes of their names.
fn find<'a>(lines: &'a str, name: &str) -> Option<&'a str> {
    let (mut low, mut high) = (0, lines.len());
    while low < high {
        let middle = lines.floor_char_boundary(low + (high - low) / 2);
        let start = lines[low..middle].rfind('\n').map_or(low, |at| low + at + 1);
        let end = lines[middle..high].find('\n').map_or(high, |at| middle + at);
        let line = &lines[start..end];
        let known = line.split('\t').next().unwrap_or_default();
        match known.cmp(name) {
            std::cmp::Ordering::Equal => return Some(line),
            std::cmp::Ordering::Less => low = (end + 1).min(high),
            std::cmp::Ordering::Greater => high = start,
        }
    }
    None
}

// === impl Model ===

impl Model {
    /// Reads one line; `None` if it is none.
    fn read(line: &'static str) -> Option<Self> {
        let mut fields = line.split('\t');
        let mut next = || fields.next();
        let (name, mode) = (next()?, next()?);
        Some(Self {
            name,
            mode: mode.trim_end_matches(['1', '2']),
            context: next()?.parse().ok(),
            output: next()?.parse().ok(),
            modalities: next()?,
            capabilities: next()?,
            prices: Prices::read(next()?),
        })
    }

    /// Kinds of content that it reads, and that it makes.
    pub fn modalities(&self) -> (Vec<&'static str>, Vec<&'static str>) {
        let (read, made) = self.modalities.split_once('>').unwrap_or_default();
        let words = |letters: &str| letters.chars().filter_map(|letter| word(MODALITIES, letter)).collect();
        (words(read), words(made))
    }

    pub fn capabilities(&self) -> impl Iterator<Item = &'static str> {
        self.capabilities.chars().filter_map(|letter| word(CAPABILITIES, letter))
    }
}

const MODALITIES: &[(char, &str)] = &[('t', "text"), ('i', "image"), ('a', "audio"), ('v', "video"), ('d', "document")];

const CAPABILITIES: &[(char, &str)] = &[
    ('T', "tools"),
    ('P', "parallel_tool_calls"),
    ('C', "tool_choice"),
    ('S', "json_schema"),
    ('R', "reasoning"),
    ('K', "prompt_cache"),
    ('W', "web_search"),
    ('U', "computer_use"),
];

fn word(words: &[(char, &'static str)], letter: char) -> Option<&'static str> {
    words.iter().find(|(known, _)| *known == letter).map(|(_, word)| *word)
}

// === impl Prices ===

impl Prices {
    /// `None` where nothing is known.
    fn read(text: &str) -> Option<Self> {
        let mut prices = Self::default();
        let (mut tier, mut is_long) = (Tier::Ordinary, false);
        for part in text.split_ascii_whitespace() {
            if let Some(above) = part.strip_prefix('>') {
                is_long = true;
                prices.long(tier)?.push((above.parse().ok()?, Rates::default()));
            } else if let Some(next) = Tier::read(part) {
                (tier, is_long) = (next, false);
                prices.begin(tier);
            } else {
                let (class, price) = part.split_once('=')?;
                if let Some(piece) = prices.units.piece(class) {
                    *piece = Some(Usd::parse(price).ok()?);
                    continue;
                }
                let price = UsdPerMillion::parse(price).ok()?;
                if class == "chars" {
                    prices.units.characters = Some(price);
                    continue;
                }
                let rates = if is_long { &mut prices.long(tier)?.last_mut()?.1 } else { prices.rates(tier)? };
                *rates.class(class)? = Some(price);
            }
        }
        (prices != Self::default()).then_some(prices)
    }

    fn begin(&mut self, tier: Tier) {
        match tier {
            Tier::Ordinary => {}
            Tier::Batch => self.batch = Some(Rates::default()),
            Tier::Flex => self.flex = Some(Scale::default()),
            Tier::Priority => self.priority = Some(Scale::default()),
        }
    }

    fn rates(&mut self, tier: Tier) -> Option<&mut Rates> {
        match tier {
            Tier::Ordinary => Some(&mut self.base),
            Tier::Batch => self.batch.as_mut(),
            Tier::Flex => self.flex.as_mut().map(|scale| &mut scale.base),
            Tier::Priority => self.priority.as_mut().map(|scale| &mut scale.base),
        }
    }

    /// Nobody knows which requests of a batch were long.
    fn long(&mut self, tier: Tier) -> Option<&mut Vec<(u64, Rates)>> {
        match tier {
            Tier::Ordinary => Some(&mut self.long),
            Tier::Batch => None,
            Tier::Flex => self.flex.as_mut().map(|scale| &mut scale.long),
            Tier::Priority => self.priority.as_mut().map(|scale| &mut scale.long),
        }
    }
}

/// What the classes behind belong to.
#[derive(Clone, Copy)]
enum Tier {
    Ordinary,
    Batch,
    Flex,
    Priority,
}

// === impl Tier ===

impl Tier {
    fn read(word: &str) -> Option<Self> {
        Some(match word {
            "batch" => Self::Batch,
            "flex" => Self::Flex,
            "priority" => Self::Priority,
            _ => return None,
        })
    }
}

// === impl Units ===

impl Units {
    fn piece(&mut self, name: &str) -> Option<&mut Option<Usd>> {
        Some(match name {
            "image" => &mut self.image,
            "picture_in" => &mut self.input_image,
            "minute" => &mut self.minute,
            "searches" => &mut self.searches,
            _ => return None,
        })
    }
}

// === impl Rates ===

impl Rates {
    fn class(&mut self, name: &str) -> Option<&mut Option<UsdPerMillion>> {
        Some(match name {
            "in" => &mut self.input,
            "out" => &mut self.output,
            "read" => &mut self.cache_read,
            "write" => &mut self.cache_write,
            "write1h" => &mut self.cache_write_1h,
            "audio_in" => &mut self.input_audio,
            "audio_out" => &mut self.output_audio,
            "image_in" => &mut self.input_image,
            "image_out" => &mut self.output_image,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;

    /// Binary size is paid for this text by everybody.
    const MAX_BYTES: usize = 300 * 1024;

    #[test]
    fn every_line_is_sound_and_found() {
        assert!(TEXT.len() <= MAX_BYTES, "{} bytes", TEXT.len());
        let mut n_models = 0;
        for (kind, lines) in SECTIONS.iter() {
            assert!(catalog::row(kind).is_some(), "`{kind}` is no kind of provider");
            let mut before = "";
            for line in lines.lines() {
                let model = Model::read(line).unwrap_or_else(|| panic!("{kind}: {line}"));
                assert!(before < model.name, "{kind}: `{}` is out of order", model.name);
                before = model.name;
                let told = line.rsplit('\t').next().unwrap_or_default();
                assert_eq!(told.is_empty(), model.prices.is_none(), "{line}");
                let (read, made) = model.modalities();
                assert!(!read.is_empty() && !made.is_empty(), "{line}");
                assert_eq!(model.capabilities().count(), model.capabilities.len(), "{line}");
                assert!(model.context.is_none_or(|tokens| (1..=20_000_000).contains(&tokens)), "{line}");
                let input = model.prices.as_ref().and_then(|prices| prices.base.input);
                let long = model.prices.iter().flat_map(|prices| prices.long.windows(2));
                assert!(long.clone().all(|two| two[0].0 < two[1].0), "{line}: bounds are out of order");
                assert!(input.is_none_or(|price| price.0 <= 1_000 * 1_000_000_000), "{line}: dear beyond belief");
                assert_eq!(super::model(kind, model.name).as_ref(), Some(&model));
                n_models += 1;
            }
            assert_eq!(super::model(kind, "no-such-model"), None);
            assert_eq!(super::model(kind, ""), None);
        }
        assert!(n_models > 3_000, "{n_models} models");
        assert!(source().contains("litellm ") && source().contains("genai-prices "), "{}", source());
        for kind in ["openai", "anthropic", "gemini", "bedrock", "groq", "mistral", "deepseek", "xai", "openrouter"] {
            assert!(of_kind(kind).count() >= 5, "{kind}");
        }
    }

    #[test]
    fn a_line_is_read_whole() {
        let line = "m\tchat1\t1000\t\ttia>ta\tTR\tin=1.25 out=10 read=0.125 write1h=2 audio_in=3 image=0.04 minute=0.006 chars=15 >200000 in=2.5 >400000 in=4 batch out=5 flex in=0.6 priority in=3 >200000 in=6";
        let model = Model::read(line).expect("a line");
        let usd = |text| UsdPerMillion::parse(text).ok();
        let prices = model.prices.clone().expect("prices");
        assert_eq!((model.mode, model.context, model.output), ("chat", Some(1000), None));
        assert_eq!(model.modalities(), (vec!["text", "image", "audio"], vec!["text", "audio"]));
        assert_eq!(model.capabilities().collect::<Vec<_>>(), ["tools", "reasoning"]);
        assert_eq!((prices.base.input, prices.base.cache_read), (usd("1.25"), usd("0.125")));
        assert_eq!((prices.base.cache_write, prices.base.cache_write_1h), (None, usd("2")));
        assert_eq!((prices.base.input_audio, prices.units.characters), (usd("3"), usd("15")));
        assert_eq!((prices.units.image, prices.units.minute), (Usd::parse("0.04").ok(), Usd::parse("0.006").ok()));
        let long = |of: &[(u64, Rates)]| of.iter().map(|(above, rates)| (*above, rates.input)).collect::<Vec<_>>();
        assert_eq!(long(&prices.long), [(200_000, usd("2.5")), (400_000, usd("4"))]);
        assert_eq!(prices.flex.map(|scale| (scale.base.input, scale.long.len())), Some((usd("0.6"), 0)));
        let priority = prices.priority.expect("a tier");
        assert_eq!((priority.base.input, long(&priority.long)), (usd("3"), vec![(200_000, usd("6"))]));
        assert_eq!(prices.batch.and_then(|rates| rates.output), usd("5"));
        for bad in ["m", "m\tchat\t\t\t", ""] {
            assert_eq!(Model::read(bad), None);
        }
        assert_eq!(Prices::read("in=x"), None);
        assert_eq!(Prices::read("colour=1"), None);
        assert_eq!(Prices::read("in=1 batch >200000 in=2"), None);
    }
}
