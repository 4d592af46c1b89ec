//! `settings.auto`: every default filled in, expressions built.

use gateway_model::kind::settings::auto::{Auto as Document, MAX_REGEX_SIZE, Score, Skill as SkillDocument};
use gateway_model::problem::{Code, Problem};
use regex::RegexBuilder;

use crate::auto::{Auto, Judge, Rules, Skill};

/// `None` where it is off.
pub(super) fn compile(document: &Document, problems: &mut Vec<Problem>) -> Option<Auto> {
    let tiers = document.tiers.clone().unwrap_or_default();
    let skills = document.skills.iter().enumerate();
    let auto = Auto {
        judge: Judge::Rules(document.score.as_ref().map(rules).unwrap_or_default()),
        skills: skills.map(|(position, document)| skill(position, document, problems)).collect(),
        tiers: [tiers.simple, tiers.medium, tiers.complex].map(|model| model.map(Into::into)),
        default_model: document.default_model.as_str().into(),
    };
    document.enabled.then_some(auto)
}

fn skill(position: usize, document: &SkillDocument, problems: &mut Vec<Problem>) -> Skill {
    let mut any = Vec::with_capacity(document.regex_any.len());
    for (index, text) in document.regex_any.iter().enumerate() {
        match RegexBuilder::new(text).size_limit(MAX_REGEX_SIZE).build() {
            Ok(regex) => any.push(regex),
            Err(error) => {
                let path = format!("settings.auto.skills[{position}].regex_any[{index}]");
                problems.push(Problem::error(Code::InvalidValue, path, format!("this regex cannot be used: {error}")));
            }
        }
    }
    Skill { name: document.name.as_str().into(), any }
}

fn rules(score: &Score) -> Rules {
    let defaults = Rules::default();
    Rules {
        long: score.input_tokens_threshold.map_or(defaults.long, |tokens| tokens.saturating_mul(4)),
        input: score.input.unwrap_or(defaults.input),
        code: score.code.unwrap_or(defaults.code),
        maths: score.maths.unwrap_or(defaults.maths),
        analysis: score.analysis.unwrap_or(defaults.analysis),
        safety: score.safety.unwrap_or(defaults.safety),
        tools: score.tools.unwrap_or(defaults.tools),
        tiers: [
            score.tier_01_max.unwrap_or(defaults.tiers[0]),
            score.tier_23_max.unwrap_or(defaults.tiers[1]),
            score.tier_45_max.unwrap_or(defaults.tiers[2]),
        ],
    }
}
