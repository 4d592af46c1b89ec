//! A conversation, asked of one target: in one of two lanes, as a stream or whole.

use std::time::Duration;

use gateway_dialects::dialect::TapOptions;
use gateway_dialects::registry;
use gateway_engine::snapshot::{Policy, Target};
use gateway_ir::failure::Failure;
use gateway_ir::json;
use http::Response;
use tokio::time::Instant;

use super::beginning::Probe;
use super::reading::{Reading, is_json, must_be_stream, no_such_operation, refusal, tier};
use super::told::{Head, Told};
use super::{Answer, Lane, MAX_HELD_REPLY, MAX_TRANSLATED_REPLY, Outbound, Sent};
use crate::clock;
use crate::upstream::{UpstreamBody, demo_answer};

// === impl Outbound ===

impl Outbound<'_> {
    /// One target's answer, as far as it must be read to know that it is one.
    pub(super) async fn chat(
        &self,
        target: &Target,
        lane: Lane,
        policy: &Policy,
        deadline: Instant,
        request_id: &str,
    ) -> Told {
        if !target.provider.converses() {
            return Err(no_such_operation("conversations", target));
        }
        let dialect = registry::dialect(target.provider.dialect_for(self.inbound.id()));
        let upstream_streams = self.stream || target.quirks.stream_only;
        let Sent { body, headers, dropped, by_tool } = self.encode(target, lane, upstream_streams, dialect)?;
        let response = if target.provider.endpoint.is_demo() {
            demo_answer(request_id, &target.model, upstream_streams, self.body.len(), clock::unix_seconds())
        } else {
            let uri = target.provider.endpoint.uri(dialect.id(), &target.model, upstream_streams);
            self.send(target, self.request(target, uri, body, headers), policy, deadline).await?
        };
        let status = response.status().as_u16();
        let head = Head { status, tier: tier(dialect.id(), response.headers()) };
        let reading = Reading { target, dialect, by_tool, idle: policy.idle, deadline };
        let answer = self.read((lane, upstream_streams), reading, policy.idle_reasoning, response).await;
        let answer = answer.map_err(|failure| Box::new(failure.said_with(status)))?;
        Ok((answer, head, dropped))
    }

    /// What has come so far; `streams` where a stream was asked for.
    async fn read(
        &self,
        (lane, streams): (Lane, bool),
        reading: Reading<'_>,
        idle_reasoning: Duration,
        response: Response<UpstreamBody>,
    ) -> Result<Answer, Box<Failure>> {
        let Reading { target, dialect, idle, .. } = reading;
        if !response.status().is_success() {
            return Err(refusal(dialect, response, target, idle.min(Duration::from_secs(10))).await);
        }
        match (streams, is_json(response.headers())) {
            // Asked for a stream, answered with a whole reply: still an answer.
            (true, false) => {
                must_be_stream(response.headers(), dialect.stream_media_type(), target)?;
                self.streamed(lane, reading, idle_reasoning, response.into_body()).await
            }
            _ => self.whole(lane, reading, response).await,
        }
    }

    async fn streamed(
        &self,
        lane: Lane,
        reading: Reading<'_>,
        idle_reasoning: Duration,
        mut body: UpstreamBody,
    ) -> Result<Answer, Box<Failure>> {
        match (lane, self.stream) {
            (Lane::Pass, true) => {
                let strip_usage = !self.facts.include_usage && !reading.target.quirks.no_stream_options;
                let tap = self.inbound.stream_tap(TapOptions::default());
                Probe::Pass(tap).read(&reading, &mut body).await?;
                Ok(Answer::Passing { body, strip_usage })
            }
            (Lane::Translate, true) => {
                Probe::Translate(reading.decoder()).read(&reading, &mut body).await?;
                Ok(Answer::Translating { body, decoder: reading.decoder() })
            }
            (_, false) => reading.fold_stream(body, idle_reasoning).await.map(|reply| Answer::Folded(Box::new(reply))),
        }
    }

    async fn whole(
        &self,
        lane: Lane,
        reading: Reading<'_>,
        response: Response<UpstreamBody>,
    ) -> Result<Answer, Box<Failure>> {
        let mut body = response.into_body();
        let may_pass = lane == Lane::Pass && !self.stream;
        let limit = if may_pass { MAX_HELD_REPLY } else { MAX_TRANSLATED_REPLY };
        let (bytes, whole) = reading.collect(&mut body, limit).await?;
        if !whole {
            if may_pass {
                return Ok(Answer::PassingWhole { head: bytes, body });
            }
            return Err(reading.garbage("is larger than 32 MiB"));
        }
        if may_pass {
            let mut has_error = false;
            let mut look = |member: json::Member<'_>| {
                has_error |= member.is("error") && bytes.get(member.value) != Some(b"null");
            };
            if json::scan_object(&bytes, &mut look).is_err() {
                return Err(reading.garbage("is not a JSON object"));
            }
            if has_error {
                reading.complete(gateway_ir::fold::fold(reading.events(&bytes)?))?;
            }
            let usage = self.inbound.usage_of_reply(&bytes);
            return Ok(Answer::Whole { bytes, usage });
        }
        let events = reading.events(&bytes)?;
        reading.complete(gateway_ir::fold::fold(events)).map(|reply| Answer::Folded(Box::new(reply)))
    }
}
