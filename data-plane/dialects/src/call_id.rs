//! Ids for tool calls that came without one: the same input gives the same id, so that a later tool result still finds its call.

/// `call_` and 16 hex digits of a hash over `parts` (FNV-1a; ids need to differ, not to be secret).
pub(crate) fn call_id(parts: &[&str]) -> String {
    format!("call_{:016x}", hash(parts.iter().map(|part| part.as_bytes())))
}

/// FNV-1a over `parts`, with their borders.
pub(crate) fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        // 0xff occurs in no UTF-8 text, so that ("ab", "c") and ("a", "bc") differ.
        for byte in part.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}
