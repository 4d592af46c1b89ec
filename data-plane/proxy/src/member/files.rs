//! The membership on disk: `member/{ca.pem, certificate.pem, key.pem}` in the data directory, for the owner only.
//!
//! A new pair is put in place so that a crash at any point leaves one that belongs together: the new key waits beside the old
//! one until its certificate is there.

use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gateway_model::secret::Secret;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::certificate::{Certificate, Credentials, Key};
use super::tls;
use crate::private_file;

const CA: &str = "ca.pem";
const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";
const NEXT_KEY: &str = "key.next.pem";

/// Where they are.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
}

// === impl Files ===

impl Files {
    pub(super) fn new(data_dir: &Path) -> Self {
        Self { folder: data_dir.join("member") }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// `None` where this node never joined. What is there and cannot be used is an error that names the file and the way out.
    pub(super) fn load(&self) -> anyhow::Result<Option<Credentials>> {
        let Some(certificate) = self.read(CERTIFICATE)? else { return Ok(None) };
        let certificate =
            der(&certificate).and_then(Certificate::parse).map_err(|what| self.damaged(CERTIFICATE, &what))?;
        let missing = || "it is missing".to_owned();
        let ca =
            self.read(CA)?.ok_or_else(missing).and_then(|pem| der(&pem)).map_err(|what| self.damaged(CA, &what))?;
        let key = self.key(&certificate)?;
        let credentials = Credentials { ca, certificate, key };
        // That the authority's file is one is found out here, and not at the first dial.
        tls::access(&credentials).map_err(|what| self.damaged(CA, &what))?;
        Ok(Some(credentials))
    }

    /// Puts these in the place of what is there. After an error what was there still is.
    pub(super) fn save(&self, credentials: &Credentials) -> io::Result<()> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let write = |name: &str, pem: &str| private_file::write(&self.folder.join(name), pem.as_bytes());
        write(CA, &pem(&credentials.ca))?;
        write(NEXT_KEY, credentials.key.pem())?;
        write(CERTIFICATE, &pem(&credentials.certificate.der))?;
        private_file::rename(&self.folder.join(NEXT_KEY), &self.folder.join(KEY))
    }

    fn key(&self, certificate: &Certificate) -> anyhow::Result<Key> {
        let read = |name: &str| -> anyhow::Result<Option<Result<Key, String>>> {
            let text = self.read(name)?.map(|bytes| String::from_utf8(bytes).map_err(|_| "it is no text".to_owned()));
            Ok(text.map(|text| text.and_then(|text| Key::from_pem(Secret::new(text)))))
        };
        let key = read(KEY)?;
        if let Some(Ok(key)) = &key
            && key.belongs_to(certificate)
        {
            return Ok(key.clone());
        }
        // The process ended between the two renames.
        if let Some(Ok(next)) = read(NEXT_KEY)?
            && next.belongs_to(certificate)
        {
            if let Err(error) = private_file::rename(&self.folder.join(NEXT_KEY), &self.folder.join(KEY)) {
                tracing::warn!("`{}` stays under its temporary name: {error}", self.folder.join(NEXT_KEY).display());
            }
            return Ok(next);
        }
        let what = match key {
            None => "it is missing".to_owned(),
            Some(Err(what)) => what,
            Some(Ok(_)) => format!("it is not the key of `{CERTIFICATE}`"),
        };
        Err(self.damaged(KEY, &what))
    }

    fn read(&self, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
        match std::fs::read(self.folder.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.damaged(name, &error.to_string())),
        }
    }

    fn damaged(&self, name: &str, what: &str) -> anyhow::Error {
        let (file, folder) = (self.folder.join(name), self.folder.display());
        anyhow!(
            "this node's membership cannot be used, `{}`: {what}; restore the folder `{folder}` from a copy, or remove it and \
             start with a new join token (`gatewayctl node token create`)",
            file.display()
        )
    }
}

/// The one certificate of a file.
fn der(pem: &[u8]) -> Result<CertificateDer<'static>, String> {
    CertificateDer::from_pem_slice(pem).map_err(|error| format!("it holds no certificate ({error:?})"))
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in STANDARD.encode(certificate).as_bytes().chunks(64) {
        let _ = writeln!(text, "{}", String::from_utf8_lossy(line));
    }
    text + "-----END CERTIFICATE-----\n"
}
