//! How the membership stands, in words: once in the log when it changes, and as a warning for as long as it lasts.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::warnings::Warnings;

const MEMBERSHIP: &str = "membership";
const CLOCK: &str = "clock";
const FILES: &str = "membership-files";

/// A clock may be off by this much without anybody being told.
const SKEW_MS: i64 = 30_000;

pub(super) struct Standing {
    warnings: Arc<Warnings>,
    folder: PathBuf,
    /// What was said last, so that it is not said again with every try.
    said: Mutex<String>,
}

// === impl Standing ===

impl Standing {
    pub(super) fn new(warnings: Arc<Warnings>, folder: PathBuf) -> Self {
        Self { warnings, folder, said: Mutex::default() }
    }

    pub(super) fn good(&self) {
        self.warnings.clear(MEMBERSHIP);
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// No control plane has let this node in, and none has refused.
    pub(super) fn waiting_to_join(&self, reason: &str) {
        self.warn(format!("this node has not joined the fleet yet, it keeps trying: {reason}"));
    }

    /// The control plane will not have this node any more.
    pub(super) fn refused(&self, reason: &str) {
        let folder = self.folder.display();
        self.error(format!(
            "the control plane refuses this node: {reason}; it serves on from what it holds and gets no changes. To join again, \
             remove `{folder}` and start it with a new join token (`gatewayctl node token create`)"
        ));
    }

    /// The certificate is past its end; the control plane may still renew it.
    pub(super) fn expired(&self, not_after_ms: i64, reason: &str) {
        let when = moment(not_after_ms);
        self.error(format!(
            "this node's certificate expired at {when} and is not renewed yet: {reason}; traffic is not affected, changes of \
             the configuration do not arrive"
        ));
    }

    /// What was received is valid but will be gone with the process.
    pub(super) fn kept(&self, saved: io::Result<()>) {
        match saved {
            Ok(()) => self.warnings.clear(FILES),
            Err(error) => {
                let folder = self.folder.display();
                let text =
                    format!("the membership cannot be kept in `{folder}`, this process uses it from memory: {error}");
                tracing::warn!("{text}");
                self.warnings.set(FILES, text);
            }
        }
    }

    /// Compares the clocks of an exchange that just took place.
    pub(super) fn clocks(&self, ours_ms: i64, theirs_ms: i64) {
        let ahead_ms = ours_ms.saturating_sub(theirs_ms);
        if ahead_ms.saturating_abs() <= SKEW_MS {
            return self.warnings.clear(CLOCK);
        }
        let (seconds, side) = (ahead_ms.unsigned_abs() / 1000, if ahead_ms > 0 { "ahead of" } else { "behind" });
        let text = format!("this node's clock is {seconds} s {side} the control plane's; set it (NTP)");
        tracing::warn!("{text}");
        self.warnings.set(CLOCK, text);
    }

    fn warn(&self, text: String) {
        if self.is_news(&text) {
            tracing::warn!("{text}");
        }
        self.warnings.set(MEMBERSHIP, text);
    }

    fn error(&self, text: String) {
        if self.is_news(&text) {
            tracing::error!("{text}");
        }
        self.warnings.set(MEMBERSHIP, text);
    }

    fn is_news(&self, text: &str) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = *said != text;
        text.clone_into(&mut said);
        is_news
    }
}

/// RFC 3339, for people.
pub(super) fn moment(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms).map_or_else(|_| format!("{unix_ms} ms"), |moment| moment.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_amiss_is_a_warning_for_as_long_as_it_lasts() {
        let warnings = Arc::new(Warnings::default());
        let standing = Standing::new(Arc::clone(&warnings), PathBuf::from("data/member"));
        let check = |expected: &[&str]| {
            let list = warnings.list();
            assert_eq!(list.len(), expected.len(), "{list:?}");
            for (text, expected) in list.iter().zip(expected) {
                assert!(text.contains(expected), "{text}");
            }
        };
        standing.clocks(100_000, 129_000);
        check(&[]);
        standing.clocks(100_000, 3_700_000);
        check(&["3600 s behind the control plane's"]);
        standing.clocks(3_700_000, 100_000);
        standing.expired(0, "no answer");
        check(&["3600 s ahead of", "expired at 1970-01-01T00:00:00Z and is not renewed yet: no answer"]);
        standing.refused("revoked");
        check(&["ahead of", "remove `data/member`"]);
        standing.kept(Err(io::ErrorKind::StorageFull.into()));
        standing.good();
        standing.clocks(0, 0);
        check(&["cannot be kept in `data/member`"]);
        standing.kept(Ok(()));
        check(&[]);
    }
}
