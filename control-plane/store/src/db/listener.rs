//! A connection of its own on which Postgres tells what other processes announce.
//!
//! The driver can mend a lost connection by itself, and would hide what was announced meanwhile; here every fault is an error,
//! and whoever listens starts anew and asks.

use std::time::Duration;

use gateway_model::kind::Class;
use gateway_model::secret::Secret;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{ConnectOptions as _, Executor as _};

use crate::error::Error;

pub(super) const CHANNEL: &str = "gateway_config";
/// What identifies the connection among those of the server.
pub(super) const APPLICATION: &str = "gateway-listener";

const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// After so long without a word the connection is asked whether it is still there.
const QUIET: Duration = Duration::from_secs(15);
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// What is announced: `class:revision` for a class that has moved, any other text for what has to be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Announcement {
    Moved(Class, u64),
    Other,
}

/// What is announced from the moment it was made. Dropped, its connection ends.
#[derive(Debug)]
pub(crate) struct Listener(PgListener);

// === impl Announcement ===

impl Announcement {
    /// Names of ours and numbers, nothing that would have to be quoted.
    pub(super) fn text(self) -> String {
        match self {
            Self::Moved(class, revision) => format!("{}:{revision}", class.name()),
            Self::Other => "other".to_owned(),
        }
    }

    fn parse(text: &str) -> Self {
        let parse = || {
            let (name, revision) = text.split_once(':')?;
            let class = Class::ALL.into_iter().find(|class| class.name() == name)?;
            Some(Self::Moved(class, revision.parse().ok()?))
        };
        parse().unwrap_or(Self::Other)
    }
}

// === impl Listener ===

impl Listener {
    pub(super) async fn connect(url: &Secret) -> Result<Self, Error> {
        let options: PgConnectOptions = url.expose().parse()?;
        let options = options.application_name(APPLICATION).disable_statement_logging();
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(CONNECT_WAIT).idle_timeout(None);
        let pool = pool.max_lifetime(None).connect_with(options).await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(Self(listener))
    }

    /// The next announcement. After an error there are no more.
    pub(crate) async fn next(&mut self) -> Result<Announcement, Error> {
        loop {
            match tokio::time::timeout(QUIET, self.0.try_recv()).await {
                Ok(Ok(Some(announcement))) => return Ok(Announcement::parse(announcement.payload())),
                Ok(Ok(None)) => return Err(Error::away()),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => {
                    let answer = tokio::time::timeout(ANSWER_WAIT, self.0.execute("SELECT 1")).await;
                    answer.map_err(|_| Error::away())??;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements_are_read() {
        for (text, expected) in [
            ("topology:7", Announcement::Moved(Class::Topology, 7)),
            ("identity:18446744073709551615", Announcement::Moved(Class::Identity, u64::MAX)),
            ("identity:", Announcement::Other),
            ("secrets:1", Announcement::Other),
            ("topology:-1", Announcement::Other),
            ("", Announcement::Other),
        ] {
            assert_eq!(Announcement::parse(text), expected, "{text}");
            if expected != Announcement::Other {
                assert_eq!(expected.text(), text);
            }
        }
    }
}
