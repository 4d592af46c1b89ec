//! A usage event as a request tells it: in words that belong to the request. Each request has two, which are written down and gone; owning
//! their words for that long cost as much as writing them.

use std::borrow::Cow;

use gateway_wire::v1::{Charge, TokenUsage, Units, UsageEvent};
use prost::encoding::{WireType, bool, message};

/// The members of [`UsageEvent`].
#[derive(Clone, Debug, Default)]
pub struct Event<'a> {
    pub id: Cow<'a, str>,
    pub started_unix_ms: i64,
    pub key_id: &'a str,
    pub model: &'a str,
    pub provider: &'a str,
    pub upstream_model: &'a str,
    pub route: &'a str,
    pub tokens: Option<TokenUsage>,
    pub settled_by: i32,
    pub cost_nano_usd: i64,
    pub priced: bool,
    pub status: u32,
    pub topology_revision: u64,
    pub tags: &'a [String],
    pub units: Option<Units>,
    pub user: &'a str,
    pub team: &'a str,
    pub organization: &'a str,
    pub charges: Cow<'a, [Charge]>,
    pub price: Cow<'a, str>,
    pub tier: &'a str,
    pub baseline_nano_usd: Option<i64>,
}

// === impl Event ===

impl Event<'_> {
    /// As Protocol Buffers write a [`UsageEvent`]: in the order of tags, what is empty left out.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        text(1, &self.id, out);
        whole(2, self.started_unix_ms, out);
        text(3, self.key_id, out);
        text(4, self.model, out);
        text(5, self.provider, out);
        text(6, self.upstream_model, out);
        text(7, self.route, out);
        self.tokens.iter().for_each(|tokens| message::encode(8, tokens, out));
        whole(9, self.settled_by.into(), out);
        whole(10, self.cost_nano_usd, out);
        if self.priced {
            bool::encode(11, &true, out);
        }
        whole(12, self.status.into(), out);
        whole(13, self.topology_revision.cast_signed(), out);
        self.tags.iter().for_each(|tag| element(14, tag, out));
        self.units.iter().for_each(|units| message::encode(15, units, out));
        text(16, self.user, out);
        text(17, self.team, out);
        text(18, self.organization, out);
        self.charges.iter().for_each(|charge| message::encode(20, charge, out));
        text(21, &self.price, out);
        text(22, self.tier, out);
        self.baseline_nano_usd.iter().for_each(|baseline| number(23, *baseline, out));
    }

    /// For whoever keeps it longer than the request lives.
    pub(super) fn owned(&self) -> UsageEvent {
        UsageEvent {
            id: self.id.clone().into_owned(),
            started_unix_ms: self.started_unix_ms,
            key_id: self.key_id.to_owned(),
            model: self.model.to_owned(),
            provider: self.provider.to_owned(),
            upstream_model: self.upstream_model.to_owned(),
            route: self.route.to_owned(),
            tokens: self.tokens,
            settled_by: self.settled_by,
            cost_nano_usd: self.cost_nano_usd,
            priced: self.priced,
            status: self.status,
            topology_revision: self.topology_revision,
            tags: self.tags.to_vec(),
            units: self.units,
            user: self.user.to_owned(),
            team: self.team.to_owned(),
            organization: self.organization.to_owned(),
            charges: self.charges.to_vec(),
            price: self.price.clone().into_owned(),
            tier: self.tier.to_owned(),
            baseline_nano_usd: self.baseline_nano_usd,
        }
    }
}

impl<'a> From<&'a UsageEvent> for Event<'a> {
    fn from(event: &'a UsageEvent) -> Self {
        Self {
            id: Cow::Borrowed(&event.id),
            started_unix_ms: event.started_unix_ms,
            key_id: &event.key_id,
            model: &event.model,
            provider: &event.provider,
            upstream_model: &event.upstream_model,
            route: &event.route,
            tokens: event.tokens,
            settled_by: event.settled_by,
            cost_nano_usd: event.cost_nano_usd,
            priced: event.priced,
            status: event.status,
            topology_revision: event.topology_revision,
            tags: &event.tags,
            units: event.units,
            user: &event.user,
            team: &event.team,
            organization: &event.organization,
            charges: Cow::Borrowed(&event.charges),
            price: Cow::Borrowed(&event.price),
            tier: &event.tier,
            baseline_nano_usd: event.baseline_nano_usd,
        }
    }
}

fn text(tag: u32, text: &str, out: &mut Vec<u8>) {
    if !text.is_empty() {
        element(tag, text, out);
    }
}

fn element(tag: u32, text: &str, out: &mut Vec<u8>) {
    key(tag, WireType::LengthDelimited, out);
    varint(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

fn whole(tag: u32, value: i64, out: &mut Vec<u8>) {
    if value != 0 {
        number(tag, value, out);
    }
}

fn number(tag: u32, value: i64, out: &mut Vec<u8>) {
    key(tag, WireType::Varint, out);
    varint(value.cast_unsigned(), out);
}

fn key(tag: u32, wire_type: WireType, out: &mut Vec<u8>) {
    varint(u64::from(tag << 3 | wire_type as u32), out);
}

/// Seven bits at a time, the lowest first; most are one byte.
fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    /// Every member is something; one that is new does not compile here until it is told.
    fn full() -> UsageEvent {
        let word = str::to_owned;
        UsageEvent {
            id: word("0198-ab"),
            started_unix_ms: 1_767_225_600_000,
            key_id: word("vk_1"),
            model: word("m"),
            provider: word("p"),
            upstream_model: word("um"),
            route: word("r"),
            tokens: Some(TokenUsage { input: 300, output: 1, ..TokenUsage::default() }),
            settled_by: 2,
            cost_nano_usd: -7,
            priced: true,
            status: 200,
            topology_revision: u64::MAX,
            tags: vec![word("a"), String::new(), "t".repeat(300)],
            units: Some(Units { audio_ms: 5, ..Units::default() }),
            user: word("u"),
            team: word("t"),
            organization: word("o"),
            charges: vec![Charge { budget: word("b"), window_start_ms: -1, nano_usd: 9 }, Charge::default()],
            price: word("prices@7"),
            tier: word("flex"),
            baseline_nano_usd: Some(0),
        }
    }

    #[test]
    fn it_is_written_as_the_message_is() {
        for event in [UsageEvent::default(), full(), UsageEvent { baseline_nano_usd: Some(-1), ..full() }] {
            let told = Event::from(&event);
            let mut written = Vec::new();
            told.encode(&mut written);
            assert_eq!(written, event.encode_to_vec(), "{event:?}");
            assert_eq!(told.owned(), event);
        }
    }
}
