//! Families that have one form: the bytes pass, whoever answers. Moderations, pictures and speech, in OpenAI's forms.

use gateway_ir::failure::Failure;
use gateway_ir::task::Form;
use gateway_ir::usage::Usage;

use crate::openai_chat;
use crate::task::{Asked, Family, unsupported};

pub(crate) struct Passing;

// === impl Passing ===

impl Family for Passing {
    /// There is nothing to translate into.
    fn read(&self, form: Form, _: &[u8]) -> Result<Box<dyn Asked>, Box<Failure>> {
        Err(unsupported("model", format!("the upstream has no {} in the form of {}", form.task().name(), form.name())))
    }

    fn n_inputs(&self, _: &[u8]) -> usize {
        1
    }

    fn usage_of_reply(&self, body: &[u8]) -> Option<Usage> {
        openai_chat::usage::last_task_in(body)
    }
}
