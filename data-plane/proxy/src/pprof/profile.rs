//! Profiles as `go tool pprof` reads them: gzipped protobuf, <https://github.com/google/pprof/blob/main/proto/profile.proto>.
//! Texts and functions are told once and named by number.

use std::collections::HashMap;
use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;

/// What a value counts: `cpu` in `nanoseconds`.
pub(super) struct Unit {
    pub(super) kind: &'static str,
    pub(super) unit: &'static str,
}

/// A profile that is being written.
pub(super) struct Profile {
    message: wire::Profile,
    texts: HashMap<String, i64>,
    functions: HashMap<i64, u64>,
}

// === impl Profile ===

impl Profile {
    pub(super) fn new(units: &[Unit]) -> Self {
        let mut profile = Self { message: wire::Profile::default(), texts: HashMap::new(), functions: HashMap::new() };
        // The format wants the empty text first.
        profile.text("");
        for unit in units {
            let unit = profile.unit(unit);
            profile.message.sample_type.push(unit);
        }
        profile.message.time_nanos = crate::clock::unix_ms().saturating_mul(1_000_000);
        profile
    }

    /// How long it took and, in nanoseconds of processor time, how often it looked.
    pub(super) fn lasted(&mut self, duration: Duration, period: i64) {
        self.message.duration_nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        self.message.period_type = Some(self.unit(&Unit { kind: "cpu", unit: "nanoseconds" }));
        self.message.period = period;
    }

    /// A stack, innermost function first, with a value per unit.
    pub(super) fn add(&mut self, stack: &[String], values: &[i64]) {
        let location_id = stack.iter().map(|name| self.location(name)).collect();
        self.message.sample.push(wire::Sample { location_id, value: values.to_vec() });
    }

    /// The whole, gzipped.
    pub(super) fn encode(mut self) -> Bytes {
        let mut texts: Vec<(String, i64)> = self.texts.into_iter().collect();
        texts.sort_unstable_by_key(|(_, number)| *number);
        self.message.string_table = texts.into_iter().map(|(text, _)| text).collect();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        let written = gzip.write_all(&self.message.encode_to_vec());
        written.and_then(|()| gzip.finish()).map(Bytes::from).expect("memory takes every write")
    }

    fn unit(&mut self, unit: &Unit) -> wire::ValueType {
        wire::ValueType { r#type: self.text(unit.kind), unit: self.text(unit.unit) }
    }

    fn text(&mut self, text: &str) -> i64 {
        if let Some(number) = self.texts.get(text) {
            return *number;
        }
        let number = i64::try_from(self.texts.len()).unwrap_or(i64::MAX);
        self.texts.insert(text.to_owned(), number);
        number
    }

    /// One per function: lines are not told, because released programs carry none.
    fn location(&mut self, function: &str) -> u64 {
        let name = self.text(function);
        if let Some(id) = self.functions.get(&name) {
            return *id;
        }
        let id = self.functions.len() as u64 + 1;
        self.functions.insert(name, id);
        self.message.function.push(wire::Function { id, name, system_name: name });
        let line = vec![wire::Line { function_id: id, line: 0 }];
        self.message.location.push(wire::Location { id, line });
        id
    }
}

/// The messages, as far as they are used.
pub(super) mod wire {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Profile {
        #[prost(message, repeated, tag = "1")]
        pub(crate) sample_type: Vec<ValueType>,
        #[prost(message, repeated, tag = "2")]
        pub(crate) sample: Vec<Sample>,
        #[prost(message, repeated, tag = "4")]
        pub(crate) location: Vec<Location>,
        #[prost(message, repeated, tag = "5")]
        pub(crate) function: Vec<Function>,
        #[prost(string, repeated, tag = "6")]
        pub(crate) string_table: Vec<String>,
        #[prost(int64, tag = "9")]
        pub(crate) time_nanos: i64,
        #[prost(int64, tag = "10")]
        pub(crate) duration_nanos: i64,
        #[prost(message, optional, tag = "11")]
        pub(crate) period_type: Option<ValueType>,
        #[prost(int64, tag = "12")]
        pub(crate) period: i64,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(crate) struct ValueType {
        #[prost(int64, tag = "1")]
        pub(crate) r#type: i64,
        #[prost(int64, tag = "2")]
        pub(crate) unit: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Sample {
        #[prost(uint64, repeated, tag = "1")]
        pub(crate) location_id: Vec<u64>,
        #[prost(int64, repeated, tag = "2")]
        pub(crate) value: Vec<i64>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Location {
        #[prost(uint64, tag = "1")]
        pub(crate) id: u64,
        #[prost(message, repeated, tag = "4")]
        pub(crate) line: Vec<Line>,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(crate) struct Line {
        #[prost(uint64, tag = "1")]
        pub(crate) function_id: u64,
        #[prost(int64, tag = "2")]
        pub(crate) line: i64,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(crate) struct Function {
        #[prost(uint64, tag = "1")]
        pub(crate) id: u64,
        #[prost(int64, tag = "2")]
        pub(crate) name: i64,
        #[prost(int64, tag = "3")]
        pub(crate) system_name: i64,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut profile = Profile::new(&[Unit { kind: "samples", unit: "count" }]);
        profile.lasted(Duration::from_secs(2), 7);
        profile.add(&["inner".to_owned(), "outer".to_owned()], &[3]);
        profile.add(&["outer".to_owned()], &[4]);
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(profile.encode().as_ref()).read_to_end(&mut bytes).expect("gzip");
        let read = wire::Profile::decode(bytes.as_slice()).expect("a profile");
        let text = |number: i64| read.string_table[usize::try_from(number).expect("not negative")].as_str();
        assert_eq!(text(0), "");
        assert_eq!((text(read.sample_type[0].r#type), text(read.sample_type[0].unit)), ("samples", "count"));
        let stack = |sample: &wire::Sample| -> Vec<&str> {
            let location = |id: &u64| read.location.iter().find(|location| location.id == *id).expect("a location");
            let function = |id: u64| read.function.iter().find(|function| function.id == id).expect("a function");
            sample.location_id.iter().map(|id| text(function(location(id).line[0].function_id).name)).collect()
        };
        assert_eq!(read.sample.iter().map(stack).collect::<Vec<_>>(), [vec!["inner", "outer"], vec!["outer"]]);
        assert_eq!(read.sample.iter().map(|sample| sample.value[0]).collect::<Vec<_>>(), [3, 4]);
        assert_eq!((read.duration_nanos, read.period), (2_000_000_000, 7));
    }
}
