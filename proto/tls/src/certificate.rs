//! The certificate that a listener shows. What takes its place is looked at first: a broken one changes nothing.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Where certificate and key are: PEM, the chain with the listener's own certificate first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Why two files are no certificate. Never holds any of the key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read `{}`: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: std::io::Error },
    #[error("`{}` holds no certificate in PEM form", .0.display())]
    NoCertificate(PathBuf),
    #[error("`{}` holds no private key in PEM form, or one with a passphrase", .0.display())]
    NoKey(PathBuf),
    #[error("`{}` and `{}` cannot be used together: {cause}", files.certificate.display(), files.key.display())]
    Mismatch { files: Files, cause: rustls::Error },
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

/// A certificate in use.
pub struct Certificate {
    files: Files,
    shown: Arc<Shown>,
    config: Arc<ServerConfig>,
    /// The files as they were when they were last read.
    read: Stamp,
}

/// What handshakes show; connections that are open are not touched when it changes.
struct Shown(ArcSwap<CertifiedKey>);

/// Tells one state of the files from the next without reading them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Stamp([Option<(SystemTime, u64, u64)>; 2]);

/// How often the files are looked at. Works on every file system, also where changes are not announced.
const PACE: Duration = Duration::from_secs(1);

// === impl Certificate ===

impl Certificate {
    /// Reads and checks the files. TLS 1.2 and 1.3; HTTP/2 and HTTP/1.1 are offered.
    pub async fn open(files: Files) -> Result<Self, Error> {
        let provider = Arc::new(default_provider());
        let read = files.stamp().await;
        let shown = Arc::new(Shown(ArcSwap::from_pointee(files.load(&provider).await?)));
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(Error::Setup)?.with_no_client_auth();
        let mut config = config.with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Resumed without memory on this side, and without a lock that handshakes share.
        config.ticketer = Ticketer::new().map_err(Error::Setup)?;
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        Ok(Self { files, shown, config: Arc::new(config), read })
    }

    /// For handshakes, now and after each change.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Reads the files again when they have changed and rested for a moment, and at each SIGHUP. `tell` is given what is wrong
    /// with the new ones, while the old certificate goes on being shown, and `None` once all is well. Ends when it is dropped.
    pub async fn follow(mut self, tell: impl Fn(Option<String>) + Send) {
        let provider = default_provider();
        let mut hangup = signal(SignalKind::hangup()).ok();
        let mut last = self.read.clone();
        loop {
            let asked = tokio::select! {
                () = tokio::time::sleep(PACE) => false,
                () = next(&mut hangup) => true,
            };
            let stamp = self.files.stamp().await;
            // Certificate and key are replaced one after the other: both are read when neither has moved since the last look.
            let rests = stamp == last;
            last = stamp.clone();
            if !asked && (stamp == self.read || !rests) {
                continue;
            }
            self.read = stamp;
            match self.files.load(&provider).await {
                Ok(key) => {
                    self.shown.0.store(Arc::new(key));
                    tracing::info!(
                        "new connections are shown the certificate in `{}`",
                        self.files.certificate.display()
                    );
                    tell(None);
                }
                Err(error) => {
                    let told =
                        format!("the old TLS certificate is still shown, because the new one cannot be used: {error}");
                    tracing::warn!("{told}");
                    tell(Some(told));
                }
            }
        }
    }
}

async fn next(hangup: &mut Option<Signal>) {
    match hangup {
        Some(hangup) => {
            hangup.recv().await;
        }
        None => std::future::pending().await,
    }
}

// === impl Files ===

impl Files {
    async fn load(&self, provider: &CryptoProvider) -> Result<CertifiedKey, Error> {
        let certificate = read(&self.certificate).await?;
        let chain = CertificateDer::pem_slice_iter(&certificate).collect::<Result<Vec<_>, _>>();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| Error::NoCertificate(self.certificate.clone()))?;
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key).await?).map_err(|_| Error::NoKey(self.key.clone()))?;
        CertifiedKey::from_der(chain, key, provider).map_err(|cause| Error::Mismatch { files: self.clone(), cause })
    }

    async fn stamp(&self) -> Stamp {
        Stamp([stamp(&self.certificate).await, stamp(&self.key).await])
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, Error> {
    tokio::fs::read(path).await.map_err(|cause| Error::Unreadable { path: path.to_owned(), cause })
}

async fn stamp(path: &Path) -> Option<(SystemTime, u64, u64)> {
    let metadata = tokio::fs::metadata(path).await.ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

// === impl Shown ===

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown(..)")
    }
}

#[cfg(test)]
mod tests;
