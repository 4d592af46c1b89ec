//! What earlier versions wrote is still read: spools outlive an upgrade, and a control plane serves nodes of the version before.

use gateway_wire::v1::{TokenUsage, UsageEvent};
use prost::Message;

/// A usage event as it was before units and images were counted.
#[derive(Clone, PartialEq, Message)]
struct Earlier {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(message, optional, tag = "8")]
    tokens: Option<EarlierTokens>,
    #[prost(int64, tag = "10")]
    cost_nano_usd: i64,
    #[prost(bool, tag = "11")]
    priced: bool,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct EarlierTokens {
    #[prost(uint64, tag = "1")]
    input: u64,
    #[prost(uint64, tag = "8")]
    output_audio: u64,
}

#[test]
fn usage_without_units_is_read() {
    let tokens = Some(EarlierTokens { input: 5, output_audio: 3 });
    let earlier = Earlier { id: "r1".to_owned(), tokens, cost_nano_usd: 7, priced: true };
    let read = UsageEvent::decode(earlier.encode_to_vec().as_slice()).expect("an event");
    let tokens = Some(TokenUsage { input: 5, output_audio: 3, ..TokenUsage::default() });
    let expected = UsageEvent { id: "r1".to_owned(), tokens, cost_nano_usd: 7, priced: true, ..UsageEvent::default() };
    assert_eq!(read, expected);
    // And the other way: what an earlier version does not know, it does not trip over.
    let units = Some(gateway_wire::v1::Units { searches: 2, ..gateway_wire::v1::Units::default() });
    assert_eq!(read.baseline_nano_usd, None, "what is not said is not zero");
    let newer = UsageEvent { units, baseline_nano_usd: Some(9), ..expected };
    assert_eq!(Earlier::decode(newer.encode_to_vec().as_slice()), Ok(earlier));
}
