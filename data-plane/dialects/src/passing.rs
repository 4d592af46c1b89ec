//! Families that have one form: the bytes pass, whoever answers. Moderations, pictures, speech and transcripts, in OpenAI's forms,
//! <https://platform.openai.com/docs/api-reference>. All that is read is what is charged.

use gateway_ir::failure::Failure;
use gateway_ir::task::Form;
use gateway_ir::usage::{Units, Usage};

use crate::openai_chat::usage::last_task_in;
use crate::task::{Asked, Family, unsupported};
use crate::units::{self, Pictures};

/// What passes, by what it is charged for.
pub(crate) enum Passing {
    Moderations,
    /// Made, changed and varied.
    Pictures,
    Speech,
    /// Translations too.
    Transcripts,
}

// === impl Passing ===

impl Family for Passing {
    /// There is nothing to translate into.
    fn read(&self, form: Form, _: &[u8]) -> Result<Box<dyn Asked>, Box<Failure>> {
        Err(unsupported("model", format!("the upstream has no {} in the form of {}", form.task().name(), form.name())))
    }

    fn n_inputs(&self, _: &[u8]) -> usize {
        1
    }

    fn units_of_request(&self, body: &[u8]) -> Units {
        match self {
            Self::Moderations => Units::None,
            Self::Speech => units::characters(body),
            Self::Pictures | Self::Transcripts => Units::Unmeasured,
        }
    }

    fn usage_of_reply(&self, body: &[u8]) -> Option<Usage> {
        let tokens = last_task_in(body).map(|usage| self.classed(usage));
        let units = match self {
            Self::Moderations | Self::Speech => Units::None,
            Self::Pictures => units::pictures(body),
            Self::Transcripts => units::recording(body),
        };
        if units.is_measured() { Some(Usage { units, ..tokens.unwrap_or_default() }) } else { tokens }
    }

    fn classed(&self, usage: Usage) -> Usage {
        let Usage { input, output, .. } = usage;
        match self {
            Self::Pictures if usage.output_image == 0 => Usage { output_image: output, ..usage },
            Self::Speech if usage.output_audio == 0 => Usage { output_audio: output, ..usage },
            Self::Transcripts if usage.input_audio == 0 => Usage { input_audio: input, ..usage },
            _ => usage,
        }
    }

    fn pictures(&self) -> Option<Pictures> {
        matches!(self, Self::Pictures).then(Pictures::default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_of_every_shape() {
        let one = Usage::of_units(Units::PicturesMade(1));
        let heard = Usage { input: 37, input_audio: 37, output: 12, ..Usage::default() };
        let cases = [
            (Passing::Moderations, r#"{"results":[]}"#, None),
            (Passing::Pictures, r#"{"data":[{"url":"x"}]}"#, Some(one)),
            (Passing::Pictures, r#"{"data":[{"url":"x"}],"usage":{"cost_in_usd_ticks":200000000}}"#, Some(one)),
            (
                Passing::Pictures,
                r#"{"data":[{"b64_json":"x"}],"usage":{"input_tokens":221,"input_tokens_details":{"image_tokens":194,"text_tokens":27},"output_tokens":415,"output_tokens_details":{"image_tokens":272,"text_tokens":143}}}"#,
                Some(Usage { input: 221, input_image: 194, output: 415, output_image: 272, ..one }),
            ),
            // Before there were details of the output, all of it was pictures.
            (
                Passing::Pictures,
                r#"{"data":[{"b64_json":"x"}],"usage":{"input_tokens":14,"output_tokens":272}}"#,
                Some(Usage { input: 14, output: 272, output_image: 272, ..one }),
            ),
            (
                Passing::Transcripts,
                r#"{"text":"","usage":{"type":"tokens","input_tokens":37,"input_token_details":{"text_tokens":0,"audio_tokens":37},"output_tokens":12}}"#,
                Some(heard),
            ),
            (Passing::Transcripts, r#"{"text":"","usage":{"input_tokens":37,"output_tokens":12}}"#, Some(heard)),
            (
                Passing::Transcripts,
                r#"{"text":"","usage":{"type":"duration","seconds":9}}"#,
                Some(Usage::of_units(Units::AudioMs(9_000))),
            ),
            (
                Passing::Transcripts,
                r#"{"duration":3.7,"usage":{"input_tokens":37,"output_tokens":12}}"#,
                Some(Usage { units: Units::AudioMs(3_700), ..heard }),
            ),
            (
                Passing::Transcripts,
                r#"{"usage":{"prompt_audio_seconds":3,"prompt_tokens":5,"total_tokens":391,"completion_tokens":11,"prompt_tokens_details":{"audio_tokens":375}}}"#,
                Some(Usage { input: 380, input_audio: 375, output: 11, ..Usage::of_units(Units::AudioMs(3_000)) }),
            ),
            (Passing::Transcripts, r#"{"text":"hello"}"#, None),
        ];
        for (family, reply, expected) in cases {
            assert_eq!(family.usage_of_reply(reply.as_bytes()), expected, "{reply}");
        }
    }
}
