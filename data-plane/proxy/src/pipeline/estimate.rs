//! How many tokens a prompt is, before anybody has counted them. Asked only where a limit or a budget depends on it: it reads the
//! request as a translation would, and counts some 16 KiB of it, which takes about a millisecond.

use bytes::Bytes;
use gateway_dialects::registry;
use gateway_engine::count;
use gateway_engine::resolve::Resolved;
use gateway_ir::chat::ChatRequest;
use gateway_ir::dialect::Dialect;
use gateway_ir::facts::Facts;

use crate::ingress::Errand;

/// Text that is read for an estimate at most; longer requests are told by their bytes.
const MAX_READ: usize = 1024 * 1024;

/// As those make tokens who may come to serve it; the most of them.
pub(super) fn n_input(
    (errand, dialect): (Errand, Dialect),
    resolved: &Resolved,
    (body, facts): (&Bytes, &Facts),
) -> u64 {
    let n_bytes = body.len().saturating_sub(facts.n_media_bytes);
    if n_bytes > MAX_READ {
        return count::bound(n_bytes);
    }
    let tokenizers = count::highest(resolved.targets().map(|target| target.tokenizer));
    let seed = rand::random();
    let counted = match errand {
        Errand::Chat | Errand::CountTokens => {
            let Some(request) = read(dialect, facts) else { return count::bound(n_bytes) };
            tokenizers.map(|tokenizer| count::prompt(&request, tokenizer, seed)).max()
        }
        // Its JSON is little beside its texts.
        Errand::Task(_) if facts.n_media_bytes == 0 => match std::str::from_utf8(body) {
            Ok(text) => tokenizers.map(|tokenizer| count::text(text, tokenizer, seed)).max(),
            Err(_) => None,
        },
        Errand::Task(_) => None,
    };
    counted.unwrap_or_else(|| count::estimated(facts, body.len()))
}

/// `None` where it does not make sense; who serves it says what is wrong.
fn read(dialect: Dialect, facts: &Facts) -> Option<ChatRequest> {
    registry::client_dialect(dialect)?.decode_document(facts.document.raw()).ok()
}
