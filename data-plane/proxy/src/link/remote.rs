//! The road to a control plane on other machines: several addresses, taken in turn, and one connection at a time.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rand::RngExt as _;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::dial::dial;
use super::transport::Transport;
use crate::config::FleetUrl;

/// What a dial shows and whom it trusts: certificate, key, authority.
pub(crate) type Access = Arc<ClientConfig>;

pub(super) struct Route {
    urls: Vec<FleetUrl>,
    access: watch::Receiver<Option<Access>>,
    next: AtomicUsize,
    open: Mutex<Option<Open>>,
    refusals: watch::Sender<String>,
    /// Counts connections.
    opened: watch::Sender<u64>,
}

/// The connection in use.
struct Open {
    close: CancellationToken,
    access: Access,
}

// === impl Route ===

impl Route {
    /// `urls` are not empty. Nodes begin at different ones, so that a fleet spreads over its control planes.
    pub(super) fn new(urls: Vec<FleetUrl>, access: watch::Receiver<Option<Access>>) -> Self {
        let first = rand::rng().random_range(0..urls.len().max(1));
        let (refusals, opened) = (watch::Sender::new(String::new()), watch::Sender::new(0));
        Self { urls, access, next: AtomicUsize::new(first), open: Mutex::default(), refusals, opened }
    }

    /// A new connection, to the first address that has one. Waits for as long as this node has nothing to show.
    pub(super) async fn connect(self: &Arc<Self>) -> io::Result<Transport<TlsStream<TcpStream>>> {
        let mut access = self.access.clone();
        let access = access.wait_for(Option::is_some).await.map(|access| access.clone());
        let Ok(Some(access)) = access else { return Err(io::Error::other("this node is stopping")) };
        let mut failures = Vec::new();
        for _ in 0..self.urls.len() {
            // Counted on also where it succeeds: whoever dials again has lost what was there.
            let turn = self.next.fetch_add(1, Ordering::Relaxed);
            match dial(&self.urls[turn % self.urls.len()], &access).await {
                Ok(stream) => {
                    let close = CancellationToken::new();
                    let open = Open { close: close.clone(), access };
                    *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(open);
                    self.opened.send_modify(|n_opened| *n_opened += 1);
                    let route = Arc::downgrade(self);
                    let refused = move |words: &str| {
                        if let Some(route) = route.upgrade() {
                            route.refused(words);
                        }
                    };
                    return Ok(Transport::new(stream, close, Arc::new(refused)));
                }
                Err(failure) => failures.push(failure.to_string()),
            }
        }
        Err(io::Error::other(failures.join("; ")))
    }

    /// Closes the connection in use.
    pub(super) fn leave(&self) {
        if let Some(open) = self.open.lock().unwrap_or_else(PoisonError::into_inner).take() {
            open.close.cancel();
        }
    }

    /// The other side does not want us. It may be that it has not seen what we would show it now.
    pub(super) fn refused(&self, words: &str) {
        let shown =
            self.open.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|open| Arc::clone(&open.access));
        // A connection that is closed already: old news.
        let Some(shown) = shown else { return };
        let is_current = self.access.borrow().as_ref().is_some_and(|access| Arc::ptr_eq(access, &shown));
        if is_current {
            self.refusals.send_replace(words.to_owned());
        } else {
            self.leave();
        }
    }

    pub(super) fn opened(&self) -> watch::Receiver<u64> {
        self.opened.subscribe()
    }

    pub(super) fn refusals(&self) -> watch::Receiver<String> {
        self.refusals.subscribe()
    }
}
