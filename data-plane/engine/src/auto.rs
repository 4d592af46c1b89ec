//! Automatic choice: a prompt → how demanding it is and what it is about. Pure, bounded by [`gateway_ir::prompt::MAX_SCANNED`],
//! and total: any text has a judgement.
//!
//! [`Signals`] are what a prompt shows; a [`Judge`] makes a [`Judgement`] of them. Rules are the one judge today; one that has
//! learned, or that asks a model, is another variant over the same signals.

mod words;
mod formula;

use std::sync::Arc;

use gateway_ir::prompt::Prompt;
use gateway_model::kind::settings::auto::NAMES;
use http::{HeaderName, HeaderValue};
use regex::Regex;

/// What `settings.auto` says, compiled.
#[derive(Debug)]
pub struct Auto {
    pub(crate) judge: Judge,
    /// In order; the first that matches is it.
    pub(crate) skills: Vec<Skill>,
    /// Models by bucket.
    pub(crate) tiers: [Option<Arc<str>>; 3],
    pub(crate) default_model: Arc<str>,
}

/// Who makes a judgement of signals.
#[derive(Debug)]
pub(crate) enum Judge {
    Rules(Rules),
}

/// Weights of the integer score, and where its tiers end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Bytes of prompt from which on it is long.
    pub(crate) long: u64,
    pub(crate) input: u32,
    pub(crate) code: u32,
    pub(crate) maths: u32,
    pub(crate) analysis: u32,
    pub(crate) safety: u32,
    pub(crate) tools: u32,
    /// The highest scores of all tiers but the last.
    pub(crate) tiers: [u32; 3],
}

#[derive(Debug)]
pub(crate) struct Skill {
    pub(crate) name: Arc<str>,
    pub(crate) any: Vec<Regex>,
}

/// What a prompt shows of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// UTF-8 bytes that users wrote. Bytes and not characters, because in every script four of them are about a token.
    pub n_bytes: u64,
    /// Code between fences.
    pub fence: bool,
    /// Code, or words about it.
    pub code: bool,
    pub maths: bool,
    /// Words that ask for analysis or synthesis.
    pub analysis: bool,
    /// Words that ask for reasons, steps, proofs.
    pub reasoning: bool,
    pub safety: bool,
    pub tools: bool,
    pub schema: bool,
}

/// How demanding a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bucket {
    Simple,
    Medium,
    Complex,
}

/// What has been made of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    pub signals: Signals,
    /// The weights of the signals together.
    pub score: u32,
    /// `0-1`, `2-3`, `4-5` or `6+`.
    pub tier: &'static str,
    pub bucket: Bucket,
    /// From 0 to 100.
    pub percent: u32,
    pub skill: Arc<str>,
}

/// A header in the gateway's families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names {
    pub gateway: &'static str,
    pub lunargate: Option<&'static str>,
}

/// The tiers of the integer score.
const TIERS: [&str; 4] = ["0-1", "2-3", "4-5", "6+"];

/// Whether a client that asks for this leaves the choice to the gateway.
pub fn is_named(model: &str) -> bool {
    NAMES.contains(&model)
}

// === impl Auto ===

impl Auto {
    /// The one name that is listed.
    pub const NAME: &str = NAMES[0];

    /// One pass over at most 36 KiB of text, and one more for each expression of a skill.
    pub fn judge(&self, prompt: &Prompt) -> Judgement {
        let signals = Signals::of(prompt);
        let skill = self.skill(&prompt.user).or_else(|| self.skill(&prompt.system));
        let Judge::Rules(rules) = &self.judge;
        rules.judge(signals, skill.map_or_else(|| "default".into(), Arc::clone))
    }

    /// Models to serve a request of this kind, the best first.
    pub fn models(&self, bucket: Bucket) -> impl Iterator<Item = &str> {
        self.tiers[bucket as usize].iter().chain([&self.default_model]).map(AsRef::as_ref)
    }

    /// Every model that may be chosen without a route.
    pub(crate) fn all_models(&self) -> impl Iterator<Item = &str> {
        self.tiers.iter().flatten().chain([&self.default_model]).map(AsRef::as_ref)
    }

    fn skill(&self, text: &str) -> Option<&Arc<str>> {
        let matching = self.skills.iter().find(|skill| skill.any.iter().any(|regex| regex.is_match(text)));
        matching.map(|skill| &skill.name)
    }
}

// === impl Signals ===

impl Signals {
    /// Users' words count for everything; the application's for what a conversation is about, and not for how long it is or
    /// what is asked in it.
    pub fn of(prompt: &Prompt) -> Self {
        let mut signals = Self {
            n_bytes: prompt.n_user as u64,
            tools: prompt.has_tools,
            schema: prompt.has_schema,
            ..Self::default()
        };
        signals.read(&prompt.user);
        let mut before = Self::default();
        before.read(&prompt.system);
        signals.code |= before.code;
        signals.maths |= before.maths;
        signals
    }

    /// What holds, by name.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        let named = [
            (self.code, "code"),
            (self.maths, "maths"),
            (self.analysis, "analysis"),
            (self.reasoning, "reasoning"),
            (self.safety, "safety"),
            (self.tools, "tools"),
            (self.schema, "schema"),
        ];
        named.into_iter().filter(|(holds, _)| *holds).map(|(_, name)| name)
    }

    fn read(&mut self, text: &str) {
        self.fence |= formula::has_fence(text);
        self.maths |= formula::is_in(text);
        words::read(text, self);
        self.code |= self.fence;
    }
}

// === impl Rules ===

impl Rules {
    fn judge(&self, signals: Signals, skill: Arc<str>) -> Judgement {
        let score = self.score(&signals);
        let tier = self.tiers.iter().position(|highest| score <= *highest).unwrap_or(self.tiers.len());
        let percent = percent(&signals);
        Judgement { score, tier: TIERS[tier], bucket: Bucket::of(percent), percent, skill, signals }
    }

    fn score(&self, signals: &Signals) -> u32 {
        let weighed = [
            (signals.n_bytes > self.long, self.input),
            (signals.code, self.code),
            (signals.maths, self.maths),
            (signals.analysis, self.analysis),
            (signals.safety, self.safety),
            (signals.tools, self.tools),
        ];
        weighed.iter().filter(|(holds, _)| *holds).map(|(_, weight)| weight).sum()
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self { long: 4 * 2000, input: 2, code: 2, maths: 2, analysis: 1, safety: 2, tools: 2, tiers: [1, 3, 5] }
    }
}

/// By length and structure, from 0 to 100.
fn percent(signals: &Signals) -> u32 {
    let length = match signals.n_bytes {
        0..200 => 0,
        200..1000 => 10,
        1000..4000 => 25,
        4000..12_000 => 40,
        _ => 55,
    };
    let structure = [
        (signals.fence, 15),
        (signals.maths, 20),
        (signals.reasoning || signals.analysis, 20),
        (signals.tools, 15),
        (signals.schema, 5),
    ];
    let structure: u32 = structure.iter().filter(|(holds, _)| *holds).map(|(_, share)| share).sum();
    (length + structure).min(100)
}

// === impl Judgement ===

impl Judgement {
    /// As headers: each in its one or two spellings (`x-gateway-*` first).
    pub fn told(&self) -> [(Names, HeaderValue); 5] {
        let both = |gateway, lunargate| Names { gateway, lunargate: Some(lunargate) };
        let one = |gateway| Names { gateway, lunargate: None };
        let text = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("default"));
        let percent = format!("{}.{:02}", self.percent / 100, self.percent % 100);
        [
            (both("x-gateway-complexity", "x-lunargate-complexity"), HeaderValue::from_static(self.tier)),
            (both("x-gateway-complexity-score", "x-lunargate-complexity-score"), HeaderValue::from(self.score)),
            (both("x-gateway-skill", "x-lunargate-skill"), text(&self.skill)),
            (one("x-gateway-route-bucket"), HeaderValue::from_static(self.bucket.name())),
            (one("x-gateway-route-score"), text(&percent)),
        ]
    }
}

// === impl Names ===

impl Names {
    pub fn all(&self) -> impl Iterator<Item = HeaderName> {
        [Some(self.gateway), self.lunargate].into_iter().flatten().map(HeaderName::from_static)
    }
}

// === impl Bucket ===

impl Bucket {
    fn of(percent: u32) -> Self {
        match percent {
            0..33 => Self::Simple,
            33..66 => Self::Medium,
            _ => Self::Complex,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Medium => "medium",
            Self::Complex => "complex",
        }
    }
}

#[cfg(test)]
mod tests;
