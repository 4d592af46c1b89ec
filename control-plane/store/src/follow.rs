//! Hearing of other processes' commits as they happen: a hint that spares waiting for the next question, never the only way to
//! know. The only place of this crate that spawns.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::db::{Announcement, Db};
use crate::error::Error;
use crate::heads::{Heads, read_heads};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Listens for as long as it lives.
#[derive(Debug)]
pub(crate) struct Follower(JoinHandle<()>);

// === impl Follower ===

impl Follower {
    pub(crate) fn spawn(db: Db, watch: watch::Sender<Heads>) -> Self {
        Self(tokio::spawn(follow(db, watch)))
    }

    pub(crate) fn stop(&self) {
        self.0.abort();
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Listens; after any fault starts anew, at first soon, then less often.
async fn follow(db: Db, watch: watch::Sender<Heads>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let mut listened = false;
        let fault = listen(&db, &watch, &mut listened).await;
        let Err(error) = fault else { return };
        if listened || pause == FIRST_PAUSE {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "changes that other control planes make are not announced for now; they are asked for every second"
            );
        }
        if listened {
            pause = FIRST_PAUSE;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// `Ok` where nothing is announced. `listened` becomes true once it does.
async fn listen(db: &Db, watch: &watch::Sender<Heads>, listened: &mut bool) -> Result<(), Error> {
    let Some(mut listener) = db.listen().await? else { return Ok(()) };
    // What was committed before we listened was announced to nobody here.
    ask(db, watch).await?;
    *listened = true;
    loop {
        match listener.next().await? {
            // Its lineage is the one we know: a new one is announced as something else.
            Announcement::Moved(class, revision) => {
                let mut heads = watch.borrow().clone();
                *heads.of_mut(class) = revision;
                watch.send_if_modified(|seen| seen.advance(&heads));
            }
            Announcement::Other => ask(db, watch).await?,
        }
    }
}

async fn ask(db: &Db, watch: &watch::Sender<Heads>) -> Result<(), Error> {
    let heads = read_heads(db.readers()).await?;
    watch.send_if_modified(|seen| seen.advance(&heads));
    Ok(())
}
