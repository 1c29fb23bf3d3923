//! Lines of the index: what is written is read back, and nothing else makes a panic.

use larder_protos::DigestFunction;
use proptest::prelude::*;

use super::*;

const BLOBS: u16 = 513;
const RESULTS: u16 = 514;

fn kind_of(number: u16) -> Option<RecordKind> {
    match number {
        BLOBS => Some(RecordKind::Blob),
        RESULTS => Some(RecordKind::ActionResult),
        _ => None,
    }
}

fn entry(partition: u16, location: Location) -> Entry {
    let kind = kind_of(partition).unwrap();
    let size_bytes = if kind == RecordKind::Blob { 77 } else { 0 };
    Entry {
        key: ShortKey { partition, prefix: [9; PREFIX_BYTES], size_bytes },
        kind,
        location,
        record_bytes: (1 << 48) - 1,
        logical_size_bytes: 77,
        encoding: Encoding::Zstd,
        recency_s: 1_700_000_000,
        hits: 3,
    }
}

fn check(key: &[u8], value: &[u8], expected: Line) {
    assert_eq!(parse_line(key, value, kind_of), Some(expected));
}

#[test]
fn marks_partitions_and_files_survive_the_round_trip() {
    let mark = Mark {
        salt: 7,
        position: LogPosition { pack: 3, offset: u32::MAX },
        sequence: 1 << 40,
        records: 1_000_000,
    };
    check(&MARK_KEY, &mark.to_value(), Line::Mark(mark));
    let partition = Partition {
        kind: RecordKind::ActionResult,
        function: DigestFunction::Blake3,
        keyspace: Keyspace::new("team/ä").unwrap(),
    };
    check(
        &partition_key(BLOBS),
        &partition_value(&partition),
        Line::Partition(BLOBS, partition.clone()),
    );
    let file = entry(BLOBS, Location::File { sequence: 1 << 40 });
    check(&file_key(1 << 40), &file_value(&file), Line::File(file));
}

#[test]
fn what_is_said_of_a_pack_survives_the_round_trip_and_stands_together() {
    let at = |offset| Location::Pack { pack: 5, offset };
    let items = vec![
        Item::Put(entry(BLOBS, at(64))),
        Item::Put(entry(RESULTS, at(300))),
        Item::Removal { key: entry(BLOBS, at(0)).key, at: at(700) },
    ];
    let mut page = Vec::new();
    for item in &items {
        push_item(&mut page, item);
    }
    check(&page_key(5, 64), &page, Line::Page(5, items));

    let recencies = vec![
        Recency { offset: 64, asked_s: 5, hits: 0 },
        Recency { offset: 300, asked_s: u32::MAX, hits: 15 },
    ];
    let mut line = Vec::new();
    for recency in &recencies {
        push_recency(&mut line, *recency);
    }
    check(&recency_key(5, 64), &line, Line::Recencies(5, recencies));
    check(&dead_key(5, 300), &[], Line::Dead(5, 300));

    let keys = [dead_key(5, u32::MAX), recency_key(5, 0), recency_key(5, 9), page_key(5, 0)];
    assert!(keys.is_sorted());
    assert!(keys.iter().all(|key| key.starts_with(&pack_prefix(5))));
    assert!(recency_key(5, 1).starts_with(&recency_prefix(5)));
    assert!(!page_key(6, 0).starts_with(&pack_prefix(5)));
}

proptest! {
    #[test]
    fn arbitrary_lines_do_not_panic(key: Vec<u8>, value: Vec<u8>) {
        let kind_of = |_| Some(RecordKind::Blob);
        let _ = parse_line(&key, &value, kind_of);
        for tag in 0..5 {
            let mut key = key.clone();
            key.insert(0, tag);
            let _ = parse_line(&key, &value, kind_of);
            for what in 0..4 {
                let _ = parse_line(&pack_line_key(1, what, 2), &value, kind_of);
            }
        }
    }
}
