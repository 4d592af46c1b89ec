//! Values of a request as they stand in what is written down of it.

use gateway_engine::auto::Judgement;
use gateway_engine::resolve::Arm;
use gateway_ir::usage::{Units, Usage};
use gateway_wire::v1;

pub(super) fn tokens(usage: &Usage) -> v1::TokenUsage {
    v1::TokenUsage {
        input: usage.input,
        cache_read: usage.cache_read,
        cache_write: usage.cache_write,
        cache_write_1h: usage.cache_write_1h,
        output: usage.output,
        reasoning: usage.reasoning,
        input_audio: usage.input_audio,
        output_audio: usage.output_audio,
        input_image: usage.input_image,
        output_image: usage.output_image,
    }
}

pub(super) fn units(units: Units) -> Option<v1::Units> {
    let none = v1::Units::default();
    match units {
        Units::None | Units::Unmeasured => None,
        Units::PicturesMade(pictures_made) => Some(v1::Units { pictures_made, ..none }),
        Units::PicturesRead(pictures_read) => Some(v1::Units { pictures_read, ..none }),
        Units::AudioMs(audio_ms) => Some(v1::Units { audio_ms, ..none }),
        Units::Characters(characters) => Some(v1::Units { characters, ..none }),
        Units::Searches(searches) => Some(v1::Units { searches, ..none }),
    }
}

/// At a character's boundary.
pub(super) fn truncated(text: &str, n_bytes: usize) -> String {
    text.char_indices().take_while(|(at, c)| at + c.len_utf8() <= n_bytes).map(|(_, c)| c).collect()
}

pub(super) fn auto_choice(judgement: &Judgement, model: &str) -> v1::AutoChoice {
    v1::AutoChoice {
        model: model.to_owned(),
        bucket: judgement.bucket.name().to_owned(),
        percent: judgement.percent,
        tier: judgement.tier.to_owned(),
        score: judgement.score,
        skill: judgement.skill.as_ref().to_owned(),
        signals: judgement.signals.names().map(str::to_owned).collect(),
    }
}

pub(super) fn experiment(arm: &Arm, model: &str) -> v1::ExperimentArm {
    v1::ExperimentArm {
        name: arm.experiment.as_ref().to_owned(),
        variant: arm.variant.as_ref().to_owned(),
        model: model.to_owned(),
    }
}
