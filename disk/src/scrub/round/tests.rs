//! A round that is stopped goes on where it was; the next one begins when it is due.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use larder_protos::{Digest, DigestFunction};

use super::*;
use crate::codec::Content;
use crate::engine::Engine;
use crate::io::RealIo;
use crate::key::Keyspace;
use crate::options::{Durability, EngineOptions};
use crate::recovery::recover;

const HOUR: Duration = Duration::from_hours(1);

/// Lets so many reads pass.
#[derive(Debug)]
struct Patience(AtomicU32);

impl Pace for Patience {
    fn note_read(&self, _bytes: u64) -> io::Result<()> {
        let left =
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |it| it.checked_sub(1));
        left.map(drop).map_err(|_| io::ErrorKind::ConnectionAborted.into())
    }
}

/// Gives up all packs at the first read, as eviction does, and notes whether that closed them.
#[derive(Debug)]
struct Evicting {
    inventory: Arc<Inventory>,
    open: AtomicU32,
}

impl Pace for Evicting {
    fn note_read(&self, _bytes: u64) -> io::Result<()> {
        for id in self.inventory.packs.ids() {
            let pack = self.inventory.packs.get(id).map(|pack| Arc::downgrade(&pack.file));
            self.inventory.remove_pack(id);
            let is_open = pack.is_some_and(|pack| pack.strong_count() > 0);
            self.open.fetch_add(u32::from(is_open), Ordering::Relaxed);
        }
        Ok(())
    }
}

fn options(data_dir: &Path) -> EngineOptions {
    EngineOptions {
        data_dir: data_dir.to_owned(),
        max_size_bytes: 256 << 20,
        durability: Durability::Interval(HOUR),
        zstd_level: 1,
        index_cache_bytes: 1 << 20,
        large_blob_bytes: 1 << 20,
        scrub_rate_bytes: 0,
        eviction: crate::eviction::EvictionPolicy::Lru,
        min_free_disk_bytes: 0,
    }
}

/// Bytes that zstd cannot shrink.
fn content(seed: u32, length: usize) -> Vec<u8> {
    let mut state = u64::from(seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// Stores packs' worth of small blobs and some large ones; says how many.
fn fill(data_dir: &Path) -> u64 {
    let engine = Engine::open(options(data_dir), Arc::new(RealIo)).unwrap();
    let small = (0..60).map(|seed| content(seed, 60_000));
    let large = (60..66).map(|seed| content(seed, (1 << 20) + 7));
    small
        .chain(large)
        .map(|content| {
            let digest = Digest::of(DigestFunction::Sha256, &content);
            let key = RecordKey::blob(&Keyspace::new("").unwrap(), &digest);
            engine.append(&key, Content::Raw(&content)).unwrap().wait().unwrap();
        })
        .count() as u64
}

fn round(data_dir: &Path, reads: u32) -> Round {
    let recovered = recover(&options(data_dir), Arc::new(RealIo)).unwrap();
    recovered.loader.run();
    Round::resume(&recovered.inventory, Arc::new(Patience(AtomicU32::new(reads))))
}

#[test]
fn a_round_that_is_stopped_again_and_again_checks_each_record_once() {
    let dir = tempfile::tempdir().unwrap();
    let stored = fill(dir.path());
    let mut seen = 0;
    let mut stops = 0;
    loop {
        // Enough for the largest record, which is read again from its beginning.
        let mut round = round(dir.path(), 8);
        assert_eq!(round.totals().records, seen, "the bookmark says where it was");
        round.begin_or_go_on();
        let outcome = round.run(&mut |now| {
            assert_eq!(now.records, seen + 1);
            seen = now.records;
        });
        round.save();
        if outcome.is_ok() {
            break;
        }
        stops += 1;
        assert!(stops < 100, "it never ends");
    }
    assert!(stops > 3, "only {stops} stops");
    assert_eq!(seen, stored);
    let round = round(dir.path(), 0);
    assert_eq!((round.totals().records, round.totals().corrupt_records), (stored, 0));
}

#[test]
fn the_next_round_begins_when_it_is_due() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path());
    let mut round = round(dir.path(), u32::MAX);
    assert_eq!(round.due_in(HOUR), None, "there was none yet");
    round.begin_or_go_on();
    assert_eq!(round.due_in(HOUR), None, "one is under way");
    round.run(&mut |_| {}).unwrap();
    let begun = round.begun_unix_ms();
    let rest = round.due_in(HOUR).unwrap();
    assert!(rest <= HOUR && rest > HOUR / 2, "{rest:?}");
    // As if it had begun an hour ago, or on a clock that was ahead.
    round.bookmark.begun_unix_ms = begun - 3_600_000;
    assert_eq!(round.due_in(HOUR), None);
    round.bookmark.begun_unix_ms = begun + 3_600_000_000;
    assert_eq!(round.due_in(HOUR), None);
    round.begin_or_go_on();
    assert_eq!(round.totals().records, 0, "a new round begins anew");
}

#[test]
fn a_round_that_found_nothing_does_not_put_off_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let mut round = round(dir.path(), u32::MAX);
    round.begin_or_go_on();
    round.run(&mut |_| {}).unwrap();
    assert_eq!(round.due_in(HOUR), None);
}

#[test]
fn a_scrub_that_waits_holds_no_pack() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path());
    let recovered = recover(&options(dir.path()), Arc::new(RealIo)).unwrap();
    let inventory = Arc::clone(&recovered.inventory);
    recovered.loader.run();
    drop(recovered.active);
    inventory.index_queue.close();
    let pace = Arc::new(Evicting { inventory: Arc::clone(&inventory), open: AtomicU32::new(0) });
    let mut round = Round::resume(&inventory, Arc::<Evicting>::clone(&pace));
    round.begin_or_go_on();
    round.run(&mut |_| {}).unwrap();
    assert_eq!((inventory.packs.count(), pace.open.load(Ordering::Relaxed)), (0, 0));
}
