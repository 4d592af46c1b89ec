//! What a node's certificate says of it.

use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::vault::hex;

/// A node, as its certificate names it. Whether the certificate can be believed is the TLS layer's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub node_id: String,
    /// Hexadecimal.
    pub serial: String,
    pub not_after_ms: i64,
}

// === impl Identity ===

impl Identity {
    /// From X.509 in DER; `None` for what is no certificate of a node.
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let mut names = certificate.subject().iter_common_name();
        let (name, None) = (names.next()?, names.next()) else { return None };
        let node_id = name.as_str().ok().filter(|id| !id.is_empty())?.to_owned();
        let not_after_ms = certificate.validity().not_after.timestamp().checked_mul(1000)?;
        Some(Self { node_id, serial: hex(certificate.raw_serial()), not_after_ms })
    }

    /// Whether the certificate is still good, as far as time goes.
    pub fn is_current(&self, now_ms: i64) -> bool {
        now_ms <= self.not_after_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rubbish_names_nobody() {
        for rubbish in [&b""[..], b"rubbish", &[0x30, 0x82, 0xff, 0xff], &[0; 64]] {
            assert_eq!(Identity::of(rubbish), None);
        }
    }
}
