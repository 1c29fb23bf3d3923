//! Keys and values of the index on disk. Pure; what does not parse is left out, since the log says it again.
//!
//! Source: docs/design/disk-format.md, "The index".

use crate::key::{Keyspace, RecordKind};
use crate::pack::LogPosition;
use crate::partitions::Partition;
use crate::prologue::{encoding_code, encoding_of, function_code, function_of};
use crate::table::{Entry, Location, PREFIX_BYTES, ShortKey, from_six, to_six};

pub(crate) const MARK_KEY: [u8; 1] = [0];
const PARTITION_TAG: u8 = 1;
const ENTRY_TAG: u8 = 2;
const VERSION: u8 = 1;

const MARK_BYTES: usize = 25;
const ENTRY_KEY_BYTES: usize = 3 + PREFIX_BYTES + 8;
const ENTRY_VALUE_BYTES: usize = 25;

/// What the index covers.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct Mark {
    pub(crate) salt: u64,
    /// All that the log holds before this place is in the index.
    pub(crate) position: LogPosition,
    /// No record has this sequence number or a higher one.
    pub(crate) sequence: u64,
}

/// One line of the index.
#[derive(Clone, Eq, PartialEq, Debug)]
pub(crate) enum Line {
    Mark(Mark),
    Partition(u16, Partition),
    Entry(Entry),
}

impl Mark {
    pub(crate) fn to_value(self) -> [u8; MARK_BYTES] {
        let mut value = [0; MARK_BYTES];
        value[0] = VERSION;
        value[1..9].copy_from_slice(&self.salt.to_be_bytes());
        value[9..13].copy_from_slice(&self.position.pack.to_be_bytes());
        value[13..17].copy_from_slice(&self.position.offset.to_be_bytes());
        value[17..].copy_from_slice(&self.sequence.to_be_bytes());
        value
    }
}

pub(crate) fn partition_key(number: u16) -> [u8; 3] {
    let [high, low] = number.to_be_bytes();
    [PARTITION_TAG, high, low]
}

pub(crate) fn partition_value(partition: &Partition) -> Vec<u8> {
    let mut value = vec![kind_code(partition.kind), function_code(partition.function)];
    value.extend_from_slice(partition.keyspace.as_str().as_bytes());
    value
}

pub(crate) fn entry_key(key: &ShortKey) -> [u8; ENTRY_KEY_BYTES] {
    let mut bytes = [0; ENTRY_KEY_BYTES];
    bytes[0] = ENTRY_TAG;
    bytes[1..3].copy_from_slice(&key.partition.to_be_bytes());
    bytes[3..3 + PREFIX_BYTES].copy_from_slice(&key.prefix);
    bytes[3 + PREFIX_BYTES..].copy_from_slice(&key.size_bytes.to_be_bytes());
    bytes
}

pub(crate) fn entry_value(entry: &Entry) -> [u8; ENTRY_VALUE_BYTES] {
    let mut value = [0; ENTRY_VALUE_BYTES];
    value[..8].copy_from_slice(&entry.location.to_bits().to_be_bytes());
    value[8..14].copy_from_slice(&to_six(entry.record_bytes));
    value[14..20].copy_from_slice(&to_six(entry.logical_size_bytes));
    value[20] = encoding_code(entry.encoding);
    value[21..].copy_from_slice(&entry.recency_s.to_be_bytes());
    value
}

/// Reads a line. `kind_of` says what a partition, which comes before its entries, holds.
pub(crate) fn parse_line(
    key: &[u8],
    value: &[u8],
    kind_of: impl FnOnce(u16) -> Option<RecordKind>,
) -> Option<Line> {
    match key.split_first()? {
        (0, []) => parse_mark(value).map(Line::Mark),
        (&PARTITION_TAG, number) => {
            let (codes, keyspace) = value.split_at_checked(2)?;
            let partition = Partition {
                kind: record_kind_of(codes[0])?,
                function: function_of(codes[1])?,
                keyspace: Keyspace::new(std::str::from_utf8(keyspace).ok()?).ok()?,
            };
            Some(Line::Partition(u16::from_be_bytes(number.try_into().ok()?), partition))
        }
        (&ENTRY_TAG, key) => parse_entry(key, value, kind_of).map(Line::Entry),
        _ => None,
    }
}

fn parse_mark(value: &[u8]) -> Option<Mark> {
    let value: &[u8; MARK_BYTES] = value.try_into().ok()?;
    (value[0] == VERSION).then(|| Mark {
        salt: number_at(value, 1, 8),
        position: LogPosition { pack: word_at(value, 9), offset: word_at(value, 13) },
        sequence: number_at(value, 17, 8),
    })
}

fn parse_entry(
    key: &[u8],
    value: &[u8],
    kind_of: impl FnOnce(u16) -> Option<RecordKind>,
) -> Option<Entry> {
    let (partition, rest) = key.split_at_checked(2)?;
    let (prefix, size) = rest.split_at_checked(PREFIX_BYTES)?;
    let partition = u16::from_be_bytes(partition.try_into().ok()?);
    let value: &[u8; ENTRY_VALUE_BYTES] = value.try_into().ok()?;
    let six_at = |at: usize| -> Option<u64> { Some(from_six(value[at..at + 6].try_into().ok()?)) };
    Some(Entry {
        key: ShortKey {
            partition,
            prefix: prefix.try_into().ok()?,
            size_bytes: u64::from_be_bytes(size.try_into().ok()?),
        },
        kind: kind_of(partition)?,
        location: Location::from_bits(number_at(value, 0, 8)),
        record_bytes: six_at(8)?,
        logical_size_bytes: six_at(14)?,
        encoding: encoding_of(value[20])?,
        recency_s: word_at(value, 21),
    })
}

fn number_at(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes[at..at + length].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn word_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn kind_code(kind: RecordKind) -> u8 {
    match kind {
        RecordKind::Blob => 1,
        RecordKind::ActionResult => 2,
    }
}

fn record_kind_of(code: u8) -> Option<RecordKind> {
    match code {
        1 => Some(RecordKind::Blob),
        2 => Some(RecordKind::ActionResult),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use larder_protos::DigestFunction;
    use proptest::prelude::*;

    use super::*;
    use crate::prologue::Encoding;

    #[test]
    fn lines_survive_the_round_trip() {
        let mark = Mark {
            salt: 7,
            position: LogPosition { pack: 3, offset: u32::MAX },
            sequence: 1 << 40,
        };
        let parsed = parse_line(&MARK_KEY, &mark.to_value(), |_| None);
        assert_eq!(parsed, Some(Line::Mark(mark)));

        let partition = Partition {
            kind: RecordKind::ActionResult,
            function: DigestFunction::Blake3,
            keyspace: Keyspace::new("team/ä").unwrap(),
        };
        let parsed = parse_line(&partition_key(513), &partition_value(&partition), |_| None);
        assert_eq!(parsed, Some(Line::Partition(513, partition)));

        let entry = Entry {
            key: ShortKey { partition: 513, prefix: [9; PREFIX_BYTES], size_bytes: 77 },
            kind: RecordKind::Blob,
            location: Location::Pack { pack: 1, offset: 64 },
            record_bytes: (1 << 48) - 1,
            logical_size_bytes: 77,
            encoding: Encoding::Zstd,
            recency_s: 1_700_000_000,
        };
        let parsed = parse_line(&entry_key(&entry.key), &entry_value(&entry), |number| {
            (number == 513).then_some(RecordKind::Blob)
        });
        assert_eq!(parsed, Some(Line::Entry(entry)));
    }

    proptest! {
        #[test]
        fn arbitrary_lines_do_not_panic(key: Vec<u8>, value: Vec<u8>) {
            let _ = parse_line(&key, &value, |_| Some(RecordKind::Blob));
            for tag in 0..4 {
                let mut key = key.clone();
                key.insert(0, tag);
                let _ = parse_line(&key, &value, |_| Some(RecordKind::Blob));
            }
        }
    }
}
