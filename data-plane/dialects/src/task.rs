//! What a family of operations that are not conversations is: the client's request, whatever an upstream speaks; without I/O.
//!
//! A family is one module and one row of [`crate::registry::family`]. Where the client's form is the upstream's the bytes pass,
//! and nothing is read but how many inputs there are and what was used.

use bytes::Bytes;
use gateway_ir::failure::{Code, Failure, Retry};
use gateway_ir::task::Form;
use gateway_ir::usage::{Units, Usage};

use crate::dialect::Encoded;
use crate::units::Pictures;

/// One task in all its forms. One `static` value per family.
pub trait Family: Send + Sync {
    /// Reads a client's request, which is in `form`. Errors name the field. Asked only where bytes do not pass.
    fn read(&self, form: Form, body: &[u8]) -> Result<Box<dyn Asked>, Box<Failure>>;
    /// How many inputs a passing request has, without checking it.
    fn n_inputs(&self, body: &[u8]) -> usize;
    /// What a request says by itself of what is charged by something else than tokens.
    fn units_of_request(&self, _: &[u8]) -> Units {
        Units::None
    }
    /// Usage in a passing reply, without building it; of a long one in its end.
    fn usage_of_reply(&self, body: &[u8]) -> Option<Usage>;
    /// Tokens of which the upstream did not say what they were of, as those that the task is about.
    fn classed(&self, usage: Usage) -> Usage {
        usage
    }
    /// Counts the pictures in a reply of which only the end is kept, where it is made of them.
    fn pictures(&self) -> Option<Pictures> {
        None
    }
}

/// A client's request, read.
pub trait Asked: Send + Sync {
    /// The requests to an upstream, in order; several where it takes only so much at once. None is empty.
    fn encode(&self, upstream: &Upstream<'_>) -> Result<Vec<Encoded>, Box<Failure>>;
    /// The client's answer from the upstream's: one for each request, in their order.
    fn answer(&self, upstream: &Upstream<'_>, replies: &[Bytes], context: &Context<'_>)
    -> Result<Answer, Box<Failure>>;
    /// Bytes of what the model reads, for an estimate where the upstream does not count.
    fn n_content_bytes(&self) -> u64;
}

/// What must be known of the target.
#[derive(Clone, Copy, Debug)]
pub struct Upstream<'a> {
    pub form: Form,
    /// The target's own model name, opaque.
    pub model: &'a str,
    /// How many inputs it takes in one request, where it says so.
    pub at_once: Option<usize>,
}

/// What an answer must say where the upstream said nothing.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Model name the client is told if the upstream named none.
    pub model: &'a str,
    /// Unique per request, for answers that have an id; used where the upstream gave none.
    pub request_id: &'a str,
    /// Tokens the client is told if the upstream counted none.
    pub estimated: u64,
}

/// An answer for the client.
#[derive(Clone, Debug)]
pub struct Answer {
    pub bytes: Bytes,
    /// Only what the upstream counted.
    pub usage: Option<Usage>,
}

/// The failure "this upstream cannot do that"; another target of the model may.
pub(crate) fn unsupported(param: &str, message: impl Into<String>) -> Box<Failure> {
    let failure = Failure::new(Code::UnsupportedParameter, message.into()).at(param);
    Box::new(Failure { retry: Retry::OnlyElsewhere, ..failure })
}
