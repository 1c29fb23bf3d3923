//! A shard against a map, with keys whose places are chosen: crowds that have one home, and those that go on at the array's beginning.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::key::RecordKind;
use crate::prologue::Encoding;
use crate::slot::{Location, PREFIX_BYTES};

const SHARD: u8 = 7;
/// With this one the left factor of a key's hash is its first word, so that of 1 leaves the hash to the second.
const OPEN: Mixer = Mixer { seed: (0, 0) };

/// A key whose hash is `hash`, which must be odd; `other` tells keys of one hash apart.
fn key(hash: u64, other: u8) -> ShortKey {
    let mut prefix = [other; PREFIX_BYTES];
    prefix[0] = SHARD;
    prefix[1..9].copy_from_slice(&1_u64.to_le_bytes());
    prefix[9..17].copy_from_slice(&hash.to_le_bytes());
    ShortKey { partition: 0, prefix, size_bytes: 5 }
}

fn entry(key: &ShortKey, sequence: u64) -> Entry {
    Entry {
        key: *key,
        kind: RecordKind::Blob,
        location: Location::File { sequence },
        record_bytes: 100,
        logical_size_bytes: key.size_bytes,
        encoding: Encoding::Raw,
        recency_s: 5,
        hits: 0,
    }
}

fn find(shard: &Shard, key: &ShortKey) -> Option<Location> {
    shard.find(OPEN.of_key(key), |slot| slot.is(key)).map(|found| found.location())
}

/// What a batch does, step by step.
fn find_in_steps(shard: &Shard, key: &ShortKey) -> Option<Location> {
    let candidates = shard.candidates(shard.home(OPEN.of_key(key)));
    let (index, slot) = shard.choose(candidates, |slot| slot.is(key))?;
    Some(SlotRef { slot, place: &shard.places[index] }.location())
}

/// Each slot's mark says where its home is, and none stands behind one that is nearer to its own.
fn assert_ordered(shard: &Shard) {
    for (index, mark) in shard.marks.iter().copied().enumerate() {
        if mark == 0 {
            continue;
        }
        let home = shard.home(shard.mixer.of_slot(&shard.slots[index]));
        assert_eq!(mark & TINT, home.mark & TINT, "the tint of {index}");
        let distance = mark / STEP - 1;
        assert_eq!(shard.at_distance(home.index, distance), index, "the distance of {index}");
        let before = shard.marks[(index + shard.marks.len() - 1) % shard.marks.len()];
        assert!(distance <= before / STEP, "{index} could stand nearer to its home");
    }
    assert_eq!(shard.iter().count(), shard.full);
}

#[test]
fn the_keys_of_these_tests_have_the_hashes_that_they_ask_for() {
    for hash in [1, 3, u64::MAX, 0x1234_5678_9ABC_DEF1] {
        assert_eq!(OPEN.of_key(&key(hash, 9)), hash);
    }
}

#[test]
fn a_crowd_of_one_home_is_found_and_ended_one_by_one() {
    // The end of the array is nearer than the crowd is long, and nothing of it is in reach of one word.
    for hash in [1, u64::MAX / 3, u64::MAX] {
        let mut shard = Shard::new(SHARD, OPEN);
        let crowd: Vec<_> = (0..60).map(|other| key(hash, other)).collect();
        for (number, key) in (0..).zip(&crowd) {
            shard.insert(hash, &entry(key, number));
        }
        assert_ordered(&shard);
        for (number, gone) in (0..).zip(&crowd) {
            assert_eq!(find(&shard, gone), Some(Location::File { sequence: number }));
            assert_eq!(find_in_steps(&shard, gone), find(&shard, gone));
            assert!(shard.remove(hash, |slot| slot.is(gone)).is_some());
            assert_eq!(find(&shard, gone), None);
            assert_ordered(&shard);
        }
    }
}

#[test]
fn who_would_be_further_from_home_than_a_mark_can_say_makes_the_array_grow() {
    // 40 keys each of two hashes that are neighbours as long as the array is short.
    let far = (u64::MAX / 160) | 1;
    let mut shard = Shard::new(SHARD, OPEN);
    let keys: Vec<_> = (0..40).flat_map(|other| [key(1, other), key(far, other)]).collect();
    for key in &keys {
        shard.insert(OPEN.of_key(key), &entry(key, 1));
    }
    assert_ordered(&shard);
    assert!(shard.slots.len() > 160, "{} slots for 80 keys", shard.slots.len());
    assert!(keys.iter().all(|key| find(&shard, key).is_some()));
}

/// Few homes, most of them at either end of the array.
fn hashes() -> impl Strategy<Value = u64> {
    prop_oneof![
        (0_u64..6).prop_map(|low| low << 58),
        (0_u64..6).prop_map(|low| u64::MAX - (low << 57)),
        any::<u64>(),
    ]
    .prop_map(|hash| hash | 1)
}

proptest! {
    #[test]
    fn a_shard_agrees_with_a_map(
        pool in proptest::collection::vec((hashes(), 0_u8..4), 1..60),
        steps in proptest::collection::vec((any::<bool>(), any::<usize>()), 0..400),
    ) {
        let pool: Vec<_> = pool.into_iter().map(|(hash, other)| key(hash, other)).collect();
        let mut shard = Shard::new(SHARD, OPEN);
        let mut model = HashMap::new();
        for (number, (inserts, which)) in (0..).zip(steps) {
            let key = pool[which % pool.len()];
            let hash = OPEN.of_key(&key);
            let location = Location::File { sequence: number };
            if inserts && !model.contains_key(&key) {
                shard.insert(hash, &entry(&key, number));
                model.insert(key, location);
            } else {
                let removed = shard.remove(hash, |slot| slot.is(&key));
                prop_assert_eq!(removed.map(|entry| entry.location), model.remove(&key));
            }
        }
        assert_ordered(&shard);
        for key in &pool {
            prop_assert_eq!(find(&shard, key), model.get(key).copied());
            prop_assert_eq!(find_in_steps(&shard, key), model.get(key).copied());
        }
    }
}
