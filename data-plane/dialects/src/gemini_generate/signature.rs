//! `thoughtSignature` for what is not Google's. The field holds bytes, which SDKs decode and encode again as they please, so a
//! foreign text goes into it as the base64 of itself under a mark, and comes back letter by letter.

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::engine::{DecodePaddingMode, general_purpose};

/// Of another vendor: over thoughts that can be read, or the encrypted thoughts themselves.
const SIGNATURE: &str = "gateway.signature:";
const REDACTED: &str = "gateway.redacted:";
/// How both begin in base64 of either alphabet, as far as they agree.
const OPENING: &[u8] = b"Z2F0ZXdheS5";

/// What a client's signature is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Signature {
    /// Google's own, as received.
    Own(String),
    /// Another vendor's, as that vendor wrote it.
    Foreign(String),
    /// Another vendor's encrypted thoughts.
    Redacted(String),
}

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, LENIENT);
const PLAIN: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, LENIENT);

pub(super) fn foreign(signature: &str) -> String {
    STANDARD.encode(format!("{SIGNATURE}{signature}"))
}

pub(super) fn redacted(data: &str) -> String {
    STANDARD.encode(format!("{REDACTED}{data}"))
}

pub(super) fn read(given: &str) -> Signature {
    let bytes = decoded(given);
    let text = bytes.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
    if let Some(signature) = text.strip_prefix(SIGNATURE) {
        Signature::Foreign(signature.to_owned())
    } else if let Some(data) = text.strip_prefix(REDACTED) {
        Signature::Redacted(data.to_owned())
    } else {
        Signature::Own(given.to_owned())
    }
}

/// Whether a request holds such a signature anywhere.
pub(super) fn is_in(body: &[u8]) -> bool {
    memchr::memmem::find(body, OPENING).is_some()
}

/// Base64 of either alphabet, with and without padding.
pub(super) fn decoded(text: &str) -> Option<Vec<u8>> {
    let engine: &general_purpose::GeneralPurpose = if text.contains(['-', '_']) { &URL_SAFE } else { &PLAIN };
    engine.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_googles_comes_back_letter_by_letter() {
        for text in ["", "EqQB-_x", "gAAAAABo==", "ü??>>"] {
            let url_safe = |text: String| text.replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned();
            for (wrapped, expected) in [
                (foreign(text), Signature::Foreign(text.to_owned())),
                (redacted(text), Signature::Redacted(text.to_owned())),
            ] {
                assert!(is_in(wrapped.as_bytes()), "{wrapped}");
                assert_eq!(read(&url_safe(wrapped.clone())), expected);
                assert_eq!(read(&wrapped), expected);
            }
        }
        for own in ["QQ==", "CuQaAY89a18OpAEL0vNK", "no base64!"] {
            assert!(!is_in(own.as_bytes()));
            assert_eq!(read(own), Signature::Own(own.to_owned()));
        }
    }
}
