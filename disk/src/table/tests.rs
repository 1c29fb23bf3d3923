//! The table against a map: what goes in comes out, and nothing else.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::key::RecordKind;
use crate::prologue::Encoding;
use crate::slot::PREFIX_BYTES;

fn entry(seed: u8, kind: RecordKind, size_bytes: u64, location: Location) -> Entry {
    let identity = if kind == RecordKind::Blob { size_bytes } else { 0 };
    Entry {
        key: ShortKey {
            partition: u16::from(kind == RecordKind::Blob),
            prefix: [seed; PREFIX_BYTES],
            size_bytes: identity,
        },
        kind,
        location,
        record_bytes: size_bytes + 108,
        logical_size_bytes: size_bytes,
        encoding: Encoding::Zstd,
        recency_s: 5,
        hits: 0,
    }
}

const HERE: Location = Location::Pack { pack: 1, offset: 64 };
const THERE: Location = Location::File { sequence: 9 };

#[test]
fn locations_survive_the_round_trip() {
    let check = |location: Location| assert_eq!(Location::from_bits(location.to_bits()), location);
    check(HERE);
    check(Location::Pack { pack: (1 << 31) - 1, offset: u32::MAX });
    check(Location::File { sequence: 0 });
    check(Location::File { sequence: (1 << 63) - 1 });
}

#[test]
fn a_blob_is_its_hash_and_its_size_an_action_result_only_its_hash() {
    let table = Table::new();
    assert!(table.insert_if_absent(&entry(1, RecordKind::Blob, 10, HERE)));
    assert!(!table.insert_if_absent(&entry(1, RecordKind::Blob, 10, THERE)));
    assert!(table.insert_if_absent(&entry(1, RecordKind::Blob, 11, THERE)));
    assert_eq!(table.replace(&entry(1, RecordKind::ActionResult, 20, HERE)), None);
    let old = table.replace(&entry(1, RecordKind::ActionResult, 30, THERE)).unwrap();
    assert_eq!(old.logical_size_bytes, 20);
}

#[test]
fn what_has_moved_meanwhile_is_left_alone() {
    let table = Table::new();
    let blob = entry(1, RecordKind::Blob, 10, HERE);
    table.insert_if_absent(&blob);
    assert_eq!(table.remove_at(&blob.key, THERE), None);
    assert_eq!(table.relocate(&blob.key, THERE, HERE), None);
    assert_eq!(table.relocate(&blob.key, HERE, THERE).unwrap().location, THERE);
    assert!(table.touch(&blob.key, 77));
    table.set_hits(&blob.key, HERE, 9);
    assert_eq!(table.get(&blob.key).unwrap().hits, 1);
    table.set_hits(&blob.key, THERE, 3);
    assert_eq!(table.get(&blob.key).unwrap().hits, 3);
    assert_eq!(table.remove_at(&blob.key, THERE).unwrap().recency_s, 77);
    assert!(!table.touch(&blob.key, 78));
}

#[test]
fn who_took_the_place_of_another_is_known() {
    let table = Table::new();
    let result = entry(1, RecordKind::ActionResult, 10, HERE);
    table.replace(&result);
    assert!(!table.has_older(&result.key, HERE));
    let later = Location::Pack { pack: 2, offset: 64 };
    table.replace(&Entry { location: later, ..result });
    assert!(table.has_older(&result.key, later));
    assert!(!table.has_older(&result.key, HERE));
    // It does not matter which of the two is read first.
    let other = entry(2, RecordKind::ActionResult, 10, later);
    table.offer(&other);
    table.offer(&Entry { location: HERE, ..other });
    assert!(table.has_older(&other.key, later));
}

#[test]
fn while_the_removals_are_the_same_what_was_found_is_there() {
    const MEETINGS: u32 = 1_000;
    let (table, blob) = (Table::new(), entry(1, RecordKind::Blob, 10, HERE));
    let have_met = std::sync::atomic::AtomicBool::new(false);
    let removed = std::thread::scope(|scope| {
        let remover = scope.spawn(|| {
            let mut removed = 0;
            while !have_met.load(Ordering::Relaxed) {
                table.insert_if_absent(&blob);
                table.remove_at(&blob.key, HERE);
                assert_eq!(table.remove_at(&blob.key, HERE), None, "that counts for nothing");
                removed += 1;
            }
            removed
        });
        let mut unchanged = 0;
        let mut is_always_there = true;
        while unchanged < MEETINGS && is_always_there {
            let before = table.removals();
            if table.touch(&blob.key, 9) {
                let is_still_there = table.touch(&blob.key, 9);
                if table.removals() == before {
                    unchanged += 1;
                    is_always_there = is_still_there;
                }
            }
        }
        have_met.store(true, Ordering::Relaxed);
        assert!(is_always_there, "it went, and the removals stayed the same");
        remover.join().expect("the remover ends")
    });
    assert_eq!(table.removals(), removed);
}

#[test]
fn a_batch_of_many_groups_finds_what_is_there_and_nothing_else() {
    let table = Table::new();
    let shortener = crate::slot::Shortener::new(7);
    let entries: Vec<_> = (0..3_000_u16)
        .map(|number| {
            // Four shards, so that a group has many keys of one.
            let mut hash = [0; 32];
            hash[0] = number.to_le_bytes()[0] % 4;
            hash[10..12].copy_from_slice(&number.to_le_bytes());
            let key = shortener.shorten(1, &hash, 10);
            Entry { key, ..entry(0, RecordKind::Blob, 10, HERE) }
        })
        .collect();
    entries.iter().step_by(3).for_each(|entry| assert!(table.insert_if_absent(entry)));
    let keys: Vec<_> = entries.iter().map(|entry| entry.key).collect();
    let found = table.touch_all(&keys, 9);
    assert!(found.iter().enumerate().all(|(number, found)| *found == (number % 3 == 0)));
    let is_touched = |number: usize| table.get(&keys[number]).is_some_and(|it| it.recency_s == 9);
    assert!((0..keys.len()).all(|number| is_touched(number) == (number % 3 == 0)));
}

proptest! {
    #[test]
    fn many_keys_at_once_are_answered_as_one_by_one(seeds: Vec<(u8, bool)>) {
        let table = Table::new();
        let entries: Vec<_> =
            seeds.iter().map(|(seed, _)| entry(*seed, RecordKind::Blob, 10, HERE)).collect();
        for (entry, (_, is_there)) in entries.iter().zip(&seeds) {
            if *is_there {
                table.insert_if_absent(entry);
            }
        }
        let keys: Vec<_> = entries.iter().map(|entry| entry.key).collect();
        let expected: Vec<_> = keys.iter().map(|key| table.get(key).is_some()).collect();
        prop_assert_eq!(table.touch_all(&keys, 9), expected);
    }

    #[test]
    fn agrees_with_a_map(steps: Vec<(u8, u8, u16)>) {
        let table = Table::new();
        let mut model: HashMap<ShortKey, Entry> = HashMap::new();
        for (step, seed, offset) in steps {
            let location = Location::Pack { pack: 1, offset: u32::from(offset) };
            let entry = entry(seed % 16, RecordKind::Blob, u64::from(seed % 3), location);
            match step % 3 {
                0 => {
                    let absent = !model.contains_key(&entry.key);
                    prop_assert_eq!(table.insert_if_absent(&entry), absent);
                    model.entry(entry.key).or_insert(entry);
                }
                1 => prop_assert_eq!(table.replace(&entry), model.insert(entry.key, entry)),
                _ => prop_assert_eq!(table.remove_if(&entry.key, |_| true), model.remove(&entry.key)),
            }
            prop_assert_eq!(table.get(&entry.key), model.get(&entry.key).copied());
        }
        let mut seen = 0;
        table.for_each(|entry| {
            assert_eq!(model.get(&entry.key), Some(entry));
            seen += 1;
        });
        prop_assert_eq!(seen, model.len());
    }
}
