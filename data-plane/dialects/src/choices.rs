//! Several choices of one request: most upstreams give one, and a client that counts on more is told so instead of getting fewer.

use gateway_ir::chat::ChatRequest;
use gateway_ir::failure::{Code, Failure, Retry};

/// Refuses what an upstream of one choice cannot answer. Another target may.
pub(crate) fn only_one(request: &ChatRequest) -> Result<(), Box<Failure>> {
    let Some(n) = request.sampling.n.filter(|n| *n > 1) else { return Ok(()) };
    let message = format!("`n` is {n}, but the upstream gives one choice per request; leave it out and ask {n} times");
    let failure = Failure::new(Code::UnsupportedParameter, message).at("n");
    Err(Box::new(Failure { retry: Retry::OnlyElsewhere, ..failure }))
}
