//! The beginning of a stream, read before the client is told anything: an error inside a 200, a stream without any event and one
//! that breaks off at once are failures like any other, and another target may still answer.

use std::time::Duration;

use bytes::Bytes;
use gateway_dialects::dialect::{StreamDecoder, StreamTap};
use gateway_ir::event::Event;
use gateway_ir::failure::Failure;
use gateway_ir::legal::Legality;
use tokio::time::{Instant, timeout_at};

use super::reading::Reading;
use crate::relay::cut;
use crate::upstream::UpstreamBody;

/// After its first event a stream is held back for no longer, whatever that was: clients wait for a sign of life.
const AFTER_EVENT: Duration = Duration::from_millis(50);
/// Where there are only comments, which keep connections open: they have to reach the client in time to do so there.
const AFTER_COMMENT: Duration = Duration::from_secs(5);
/// More than this is never held.
const MAX_HELD: usize = 256 * 1024;

/// What looks at the bytes; the reply itself is read anew by whoever sends it on.
pub(super) enum Probe {
    Pass(Box<dyn StreamTap>),
    Translate(Box<dyn StreamDecoder>),
}

/// What has come so far.
enum Come {
    /// Something that the client waits for, or the end.
    Content,
    Event,
    Nothing,
}

// === impl Probe ===

impl Probe {
    /// Reads until there is something to send on, and puts it back. `Err`: this is no answer.
    pub(super) async fn read(mut self, reading: &Reading<'_>, body: &mut UpstreamBody) -> Result<(), Box<Failure>> {
        let (mut held, mut n_bytes, mut release) = (Vec::new(), 0, None::<Instant>);
        while n_bytes <= MAX_HELD {
            let next = match release {
                None => reading.next(body).await?,
                Some(release) => match timeout_at(release, reading.next(body)).await {
                    Ok(next) => next?,
                    Err(_) => break,
                },
            };
            let Some(chunk) = next else {
                self.finish()?;
                break;
            };
            n_bytes += chunk.len();
            held.push(chunk.clone());
            let wait = match self.push(chunk)? {
                Come::Content => break,
                Come::Event => AFTER_EVENT,
                Come::Nothing => AFTER_COMMENT,
            };
            let at = Instant::now() + wait;
            release = Some(release.map_or(at, |release| release.min(at)));
        }
        body.unread(held);
        Ok(())
    }

    fn push(&mut self, chunk: Bytes) -> Result<Come, Box<Failure>> {
        match self {
            Self::Pass(tap) => {
                let has_event = chunk.windows(5).any(|bytes| bytes == b"data:");
                tap.push(chunk)?;
                let seen = tap.seen();
                match &seen.error {
                    _ if seen.content_events > 0 || seen.finished || seen.ended => Ok(Come::Content),
                    Some(failure) => Err(failure.clone()),
                    None => Ok(if has_event { Come::Event } else { Come::Nothing }),
                }
            }
            Self::Translate(decoder) => {
                let mut events = Vec::new();
                decoder.push(&chunk, &mut events)?;
                for event in &events {
                    match event {
                        Event::Error(failure) => return Err(failure.clone()),
                        Event::Start { .. } | Event::Usage(_) => {}
                        _ => return Ok(Come::Content),
                    }
                }
                Ok(if events.is_empty() { Come::Nothing } else { Come::Event })
            }
        }
    }

    /// The upstream has closed before anything came that is worth sending.
    fn finish(&mut self) -> Result<(), Box<Failure>> {
        match self {
            Self::Pass(tap) => tap.finish().map(|_| ()),
            Self::Translate(decoder) => {
                let (mut events, mut legality) = (Vec::new(), Legality::default());
                decoder.finish(&mut events)?;
                events.iter().for_each(|event| {
                    legality.judge(event);
                });
                if legality.is_finished() { Ok(()) } else { Err(cut()) }
            }
        }
    }
}
