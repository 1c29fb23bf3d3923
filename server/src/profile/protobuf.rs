//! A [`Profile`] as pprof's protobuf, compressed as all its readers expect it.
//!
//! Source: <https://github.com/google/pprof/blob/main/proto/profile.proto>. Of its messages only the fields that are written.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write as _};
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;

use super::stacks::{Measure, Profile};

#[derive(Message)]
struct ProfileMessage {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    mapping: Vec<Mapping>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
}

/// Both are places in the table of strings.
#[derive(Clone, Copy, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Message)]
struct Sample {
    /// The innermost first.
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    /// One for each `sample_type`.
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    text: i64,
}

#[derive(Message)]
struct Mapping {
    #[prost(uint64, tag = "1")]
    id: u64,
    /// Nobody need look for names.
    #[prost(bool, tag = "7")]
    has_functions: bool,
}

#[derive(Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    mapping_id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
}

#[derive(Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "3")]
    system_name: i64,
}

/// Each string once; the first is empty, as the format wants it.
#[derive(Default)]
struct Strings {
    table: Vec<String>,
    places: HashMap<String, i64>,
}

impl Strings {
    fn place(&mut self, text: &str) -> i64 {
        if let Some(place) = self.places.get(text) {
            return *place;
        }
        let place = i64::try_from(self.table.len()).unwrap_or(i64::MAX);
        self.table.push(text.to_owned());
        self.places.insert(text.to_owned(), place);
        place
    }
}

impl Profile {
    /// As pprof's protobuf in gzip.
    pub fn to_pprof(&self) -> io::Result<Vec<u8>> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&self.message().encode_to_vec())?;
        gzip.finish()
    }

    fn message(&self) -> ProfileMessage {
        let mut strings = Strings::default();
        strings.place("");
        let mut value_type =
            |kind, unit| ValueType { kind: strings.place(kind), unit: strings.place(unit) };
        let (sample_type, period_type, period) = match self.measure {
            Measure::Cpu { period, .. } => {
                let cpu = value_type("cpu", "nanoseconds");
                (vec![value_type("samples", "count"), cpu], cpu, nanos(period))
            }
            Measure::Heap { period_bytes } => {
                let period = whole(period_bytes);
                (vec![value_type("inuse_space", "bytes")], value_type("space", "bytes"), period)
            }
        };
        let thread = strings.place("thread");
        // A function has one location, both under the number of its name, which is never 0.
        let mut functions = BTreeSet::new();
        let mut sample = Vec::new();
        for (stack, count) in &self.samples {
            let place = |function: &String| {
                let place = strings.place(function);
                functions.insert(place);
                place.cast_unsigned()
            };
            let location_id = stack.functions.iter().rev().map(place).collect();
            let count = whole(*count);
            let name = stack.thread.as_deref();
            let label = name.map(|name| Label { key: thread, text: strings.place(name) });
            let value = match self.measure {
                Measure::Cpu { .. } => vec![count, count.saturating_mul(period)],
                Measure::Heap { .. } => vec![count],
            };
            sample.push(Sample { location_id, value, label: label.into_iter().collect() });
        }
        let location = functions.iter().map(|place| Location {
            id: place.cast_unsigned(),
            mapping_id: 1,
            line: vec![Line { function_id: place.cast_unsigned() }],
        });
        let since_epoch = self.begun.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        ProfileMessage {
            period_type: Some(period_type),
            sample_type,
            sample,
            mapping: vec![Mapping { id: 1, has_functions: true }],
            location: location.collect(),
            function: functions
                .iter()
                .map(|&name| Function { id: name.cast_unsigned(), name, system_name: name })
                .collect(),
            string_table: strings.table,
            time_nanos: nanos(since_epoch),
            duration_nanos: match self.measure {
                Measure::Cpu { length, .. } => nanos(length),
                Measure::Heap { .. } => 0,
            },
            period,
        }
    }
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::super::stacks::Stack;
    use super::*;

    fn written(profile: &Profile) -> ProfileMessage {
        let mut bytes = Vec::new();
        GzDecoder::new(&profile.to_pprof().unwrap()[..]).read_to_end(&mut bytes).unwrap();
        ProfileMessage::decode(&bytes[..]).unwrap()
    }

    #[test]
    fn memory_is_told_in_bytes() {
        let stack = Stack { thread: None, functions: vec!["main".to_owned()] };
        let profile = Profile {
            begun: SystemTime::UNIX_EPOCH,
            measure: Measure::Heap { period_bytes: 1 << 19 },
            samples: BTreeMap::from([(stack, 70_000)]),
        };
        let message = written(&profile);
        let text = |place: i64| &*message.string_table[usize::try_from(place).unwrap()];
        let types = [message.sample_type[0], message.period_type.unwrap()];
        assert_eq!(types.map(|of| text(of.kind)), ["inuse_space", "space"]);
        assert_eq!(types.map(|of| text(of.unit)), ["bytes", "bytes"]);
        assert_eq!((message.sample_type.len(), message.period), (1, 1 << 19));
        let Sample { value, label, .. } = &message.sample[0];
        assert_eq!((&value[..], label.is_empty()), (&[70_000][..], true));
    }

    #[test]
    fn every_number_leads_to_its_name() {
        let stack = |thread: &str, functions: &[&str]| Stack {
            thread: Some(thread.to_owned()),
            functions: functions.iter().map(|&name| name.to_owned()).collect(),
        };
        let samples = BTreeMap::from([
            (stack("worker", &["main", "serve", "read"]), 3),
            // A thread may be called as a function is.
            (stack("serve", &["main", "read"]), 2),
        ]);
        let profile = Profile {
            begun: SystemTime::UNIX_EPOCH + Duration::from_secs(7),
            measure: Measure::Cpu {
                period: Duration::from_millis(10),
                length: Duration::from_secs(2),
            },
            samples,
        };
        let message = written(&profile);
        let text = |place: i64| &*message.string_table[usize::try_from(place).unwrap()];
        let name = |id: &u64| {
            let location = message.location.iter().find(|location| location.id == *id).unwrap();
            let function = location.line[0].function_id;
            text(message.function.iter().find(|known| known.id == function).unwrap().name)
        };
        let samples = message.sample.iter().map(|sample| {
            let names: Vec<_> = sample.location_id.iter().map(name).collect();
            (text(sample.label[0].text), names.join(" < "), sample.value.clone())
        });
        let samples: Vec<_> = samples.collect();
        assert_eq!(samples[0], ("serve", "read < main".to_owned(), vec![2, 20_000_000]));
        assert_eq!(samples[1].1, "read < serve < main");
        assert_eq!(samples[1].2, [3, 30_000_000]);
        let types: Vec<_> =
            message.sample_type.iter().map(|of| (text(of.kind), text(of.unit))).collect();
        assert_eq!(types, [("samples", "count"), ("cpu", "nanoseconds")]);
        assert_eq!(message.string_table[0], "");
        assert_eq!(message.time_nanos, 7_000_000_000);
        assert_eq!((message.duration_nanos, message.period), (2_000_000_000, 10_000_000));
    }
}
