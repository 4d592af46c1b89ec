//! Call ids that carry a signature. Gemini signs its calls and wants the signature back with them, but clients drop fields they
//! do not know; the id of a call is the one thing that every client gives back. Other upstreams get the id without it.
//!
//! ```text
//! call_0123456789abcdef__ts__<signature, base64url without padding>
//! ```

/// Letters that every dialect allows in an id, and that no vendor's own ids hold in this order.
const MARK: &str = "__ts__";

/// An id that carries `signature` (base64).
pub(crate) fn join(id: &str, signature: &str) -> String {
    let mut signed = String::with_capacity(id.len() + MARK.len() + signature.len());
    signed.push_str(id);
    signed.push_str(MARK);
    signed.extend(signature.trim_end_matches('=').chars().map(|letter| match letter {
        '+' => '-',
        '/' => '_',
        letter => letter,
    }));
    signed
}

/// The id itself, and the signature as it was made.
pub(crate) fn split(id: &str) -> (&str, Option<String>) {
    let Some((id, signature)) = id.split_once(MARK) else { return (id, None) };
    let mut signature: String = signature
        .chars()
        .map(|letter| match letter {
            '-' => '+',
            '_' => '/',
            letter => letter,
        })
        .collect();
    while !signature.len().is_multiple_of(4) {
        signature.push('=');
    }
    (id, Some(signature))
}

/// The id itself.
pub(crate) fn plain(id: &str) -> &str {
    id.split_once(MARK).map_or(id, |(id, _)| id)
}

/// Whether a request holds such ids anywhere, so that its bytes may not just pass to an upstream that knows nothing of them.
pub fn is_in(body: &[u8]) -> bool {
    memchr::memmem::find(body, MARK.as_bytes()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_id_carries_comes_back() {
        for signature in ["", "QQ==", "a+b/", "CuQaAY89a18OpAEL0vNK"] {
            let id = join("call_1", signature);
            assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'), "{id}");
            assert_eq!(split(&id), ("call_1", Some(signature.to_owned())));
            assert_eq!(plain(&id), "call_1");
            assert!(is_in(id.as_bytes()));
        }
        assert_eq!(split("call_1"), ("call_1", None));
        assert_eq!(plain("call_1"), "call_1");
    }
}
