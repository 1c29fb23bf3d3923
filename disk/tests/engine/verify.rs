//! Verifying tells every byte that is wrong; mending leaves a sound directory that serves no wrong byte.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use larder_disk::{
    Content, DiskError, Finding, FindingKind, Io, RealIo, RecordKey, Repair, Unwatched, Verified,
    Watch, verify,
};
use proptest::prelude::*;
use tempfile::{TempDir, tempdir};

use crate::support::{
    action_key, blob_files, blob_key, copy_dir, get, noise, open, pack_files, prose, put, put_blob,
    put_large,
};

pub(crate) fn look(data_dir: &Path, repair: Repair) -> (Verified, Vec<Finding>) {
    let io: Arc<dyn Io> = Arc::new(RealIo);
    let mut findings = Vec::new();
    let verified = verify(data_dir, repair, &io, Arc::new(Unwatched), &mut |finding| {
        findings.push(finding.clone());
    })
    .unwrap();
    (verified, findings)
}

pub(crate) fn kinds(findings: &[Finding]) -> Vec<FindingKind> {
    findings.iter().map(|finding| finding.kind).collect()
}

/// A small directory and what it may serve: each key, and its content or none.
struct Sample {
    dir: TempDir,
    served: Vec<(RecordKey, Option<Vec<u8>>)>,
}

/// All kinds of records, in one small pack and two blob files.
fn sample() -> Sample {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let mut served = Vec::new();
    for content in [noise(1, 90), prose(2, 400), Vec::new(), noise(3, 33)] {
        served.push((put_blob(&engine, &content), Some(content)));
    }
    let frame = zstd::bulk::compress(&prose(4, 700), 3).unwrap();
    let key = blob_key(&prose(4, 700));
    let content = Content::ZstdFrame { frame: &frame, logical_size_bytes: 700 };
    engine.append(&key, content).unwrap().wait().unwrap();
    served.push((key, Some(prose(4, 700))));
    put(&engine, &action_key("a"), b"an old result").unwrap();
    put(&engine, &action_key("a"), b"the newest result").unwrap();
    served.push((action_key("a"), Some(b"the newest result".to_vec())));
    let removed = put_blob(&engine, b"removed");
    engine.remove(&removed).unwrap();
    served.push((removed, None));
    served.push((put_large(&engine, &prose(5, 1 << 20)), Some(prose(5, 1 << 20))));
    served.push((put_large(&engine, &noise(6, 1 << 20)), Some(noise(6, 1 << 20))));
    Sample { dir, served }
}

fn without_index(sample: &Sample) -> TempDir {
    let copy = tempdir().unwrap();
    copy_dir(sample.dir.path(), copy.path());
    std::fs::remove_dir_all(copy.path().join("index")).unwrap();
    copy
}

/// Every key is a miss or has its own content. Says how many are there.
fn assert_never_wrong(data_dir: &Path, sample: &Sample, what: &str) -> usize {
    let engine = open(data_dir);
    let mut hits = 0;
    for (key, content) in &sample.served {
        let Ok(Some(found)) = get(&engine, key) else { continue };
        // Of an action result an older one is right too, where the newest is lost without a trace.
        let is_right = content.as_ref() == Some(&found)
            || (*key == action_key("a") && found == b"an old result")
            || (content.is_none() && found == b"removed");
        assert!(is_right, "{what}: {key}");
        hits += 1;
    }
    hits
}

/// Where the records of a pack begin and end.
fn boundaries(pack: &[u8]) -> BTreeSet<usize> {
    let number = |at: usize, length: usize| {
        let mut bytes = [0; 8];
        bytes[..length].copy_from_slice(&pack[at..at + length]);
        usize::try_from(u64::from_le_bytes(bytes)).unwrap()
    };
    let mut found = BTreeSet::from([64]);
    let mut at = 64;
    while at < pack.len() {
        at += 8 + number(at + 4, 4) + number(at + 32, 8);
        found.insert(at);
    }
    found
}

#[test]
fn a_sound_directory_has_no_findings_and_stays_as_it_is() {
    let sample = sample();
    let pack = std::fs::read(&pack_files(sample.dir.path())[0]).unwrap();
    for repair in [Repair::No, Repair::Yes] {
        let (verified, findings) = look(sample.dir.path(), repair);
        assert!(findings.is_empty(), "{findings:?}");
        assert!(verified.is_sound());
        assert_eq!((verified.packs, verified.blob_files), (1, 2));
        assert_eq!((verified.records, verified.removals), (10, 1));
    }
    assert!(pack == std::fs::read(&pack_files(sample.dir.path())[0]).unwrap());
    assert_eq!(assert_never_wrong(sample.dir.path(), &sample, "sound"), sample.served.len() - 1);
}

#[derive(Default, Debug)]
struct Counted {
    planned: AtomicU64,
    read: AtomicU64,
}

impl Watch for Counted {
    fn planned(&self, bytes: u64) {
        self.planned.fetch_add(bytes, Ordering::Relaxed);
    }
    fn read(&self, bytes: u64) {
        self.read.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[test]
fn who_watches_is_told_how_much_there_is_and_how_much_was_read() {
    let sample = sample();
    let io: Arc<dyn Io> = Arc::new(RealIo);
    let watch = Arc::new(Counted::default());
    let told = Arc::clone(&watch);
    let verified = verify(sample.dir.path(), Repair::No, &io, told, &mut |_| {}).unwrap();
    assert_eq!(watch.planned.load(Ordering::Relaxed), verified.bytes);
    let read = watch.read.load(Ordering::Relaxed);
    assert!(read >= verified.bytes && read < verified.bytes * 2, "{read} of {}", verified.bytes);
}

#[test]
fn a_directory_that_is_open_or_none_of_larders_is_refused() {
    let io: Arc<dyn Io> = Arc::new(RealIo);
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let refused =
        verify(dir.path(), Repair::Yes, &io, Arc::new(Unwatched), &mut |_| {}).unwrap_err();
    assert!(matches!(refused, DiskError::Locked { .. }), "{refused}");
    drop(engine);
    verify(dir.path(), Repair::Yes, &io, Arc::new(Unwatched), &mut |_| {}).unwrap();
    let other = tempdir().unwrap();
    std::fs::write(other.path().join("thesis.tex"), "").unwrap();
    let refused =
        verify(other.path(), Repair::Yes, &io, Arc::new(Unwatched), &mut |_| {}).unwrap_err();
    assert!(matches!(refused, DiskError::NoDataDir { .. }), "{refused}");
    assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 1);
    verify(&other.path().join("absent"), Repair::Yes, &io, Arc::new(Unwatched), &mut |_| {})
        .unwrap_err();
    std::fs::write(dir.path().join("LAYOUT"), "larder-disk 2 00000000000000ff\n").unwrap();
    let refused =
        verify(dir.path(), Repair::Yes, &io, Arc::new(Unwatched), &mut |_| {}).unwrap_err();
    assert!(matches!(refused, DiskError::Layout { .. }), "{refused}");
}

#[test]
fn every_flip_in_a_pack_is_told_and_mended() {
    let sample = sample();
    let copy = without_index(&sample);
    let pack = pack_files(copy.path())[0].clone();
    let whole = std::fs::read(&pack).unwrap();
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        std::fs::write(&pack, &flipped).unwrap();
        let (told, findings) = look(copy.path(), Repair::No);
        assert!(!told.is_sound() && told.mended == 0, "byte {at}");
        assert!(findings.iter().all(|it| it.path == pack), "byte {at}: {findings:?}");
        assert!(std::fs::read(&pack).unwrap() == flipped, "looking changes nothing");
        let (mended, _) = look(copy.path(), Repair::Yes);
        assert!(mended.is_sound() && mended.mended == told.wrong, "byte {at}");
        let (again, findings) = look(copy.path(), Repair::No);
        assert!(again.is_sound() && findings.is_empty(), "byte {at}: {findings:?}");
        if at % 37 == 0 {
            let what = format!("byte {at}");
            let hits = assert_never_wrong(copy.path(), &sample, &what);
            assert!(hits + 3 >= sample.served.len(), "{what}: {hits} hits");
            std::fs::remove_dir_all(copy.path().join("index")).unwrap();
        }
    }
}

#[test]
fn every_flip_in_a_blob_file_is_told_and_the_file_dropped() {
    let sample = sample();
    for number in 0..2 {
        let copy = without_index(&sample);
        let file = blob_files(copy.path())[number].clone();
        let whole = std::fs::read(&file).unwrap();
        // All of the prologue, some of the body, the last byte.
        let last = whole.len() - 1;
        for at in (0..160).chain((160..last).step_by(last / 20)).chain([last]) {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            std::fs::write(&file, &flipped).unwrap();
            let (told, findings) = look(copy.path(), Repair::No);
            assert_eq!(kinds(&findings), [FindingKind::BadRecord], "byte {at}");
            assert!(!told.is_sound() && findings[0].path == file, "byte {at}");
        }
        for length in [0, 1, 11, 12, 67, 68, 120, whole.len() / 2, last] {
            std::fs::write(&file, &whole[..length]).unwrap();
            let (_, findings) = look(copy.path(), Repair::No);
            assert_eq!(kinds(&findings), [FindingKind::BadRecord], "{length} B");
        }
        std::fs::write(&file, [&whole[..], b"more"].concat()).unwrap();
        let (_, findings) = look(copy.path(), Repair::Yes);
        assert_eq!(kinds(&findings), [FindingKind::BadRecord]);
        assert!(findings[0].key.is_some() && findings[0].is_mended && !file.exists());
        assert!(look(copy.path(), Repair::No).1.is_empty());
        assert_never_wrong(copy.path(), &sample, "a blob file less");
    }
}

#[test]
fn a_pack_that_is_cut_anywhere_is_told_and_mended() {
    let sample = sample();
    let copy = without_index(&sample);
    let pack = pack_files(copy.path())[0].clone();
    let whole = std::fs::read(&pack).unwrap();
    let boundaries = boundaries(&whole);
    assert_eq!(boundaries.last(), Some(&whole.len()));
    for length in 0..whole.len() {
        std::fs::write(&pack, &whole[..length]).unwrap();
        let (told, findings) = look(copy.path(), Repair::No);
        // By itself a pack that ends with a record is whole; the index knows better, below.
        assert_eq!(told.is_sound(), boundaries.contains(&length), "{length} B: {findings:?}");
        let (mended, _) = look(copy.path(), Repair::Yes);
        assert!(mended.is_sound(), "{length} B");
        assert!(look(copy.path(), Repair::No).1.is_empty(), "{length} B");
        if length % 53 == 0 {
            assert_never_wrong(copy.path(), &sample, &format!("{length} B"));
            std::fs::remove_dir_all(copy.path().join("index")).unwrap();
            // The engine begins another one where this is gone.
            for path in pack_files(copy.path()) {
                std::fs::remove_file(path).unwrap();
            }
        }
    }
}

#[test]
fn the_index_tells_of_records_that_a_pack_has_lost_without_a_trace() {
    let sample = sample();
    let whole = std::fs::read(&pack_files(sample.dir.path())[0]).unwrap();
    for length in boundaries(&whole).into_iter().filter(|length| *length < whole.len()) {
        let copy = tempdir().unwrap();
        copy_dir(sample.dir.path(), copy.path());
        let pack = pack_files(copy.path())[0].clone();
        std::fs::write(&pack, &whole[..length]).unwrap();
        let (told, findings) = look(copy.path(), Repair::No);
        assert!(!told.is_sound(), "{length} B");
        assert!(findings.iter().all(|it| it.kind == FindingKind::BadIndex), "{findings:?}");
        let (mended, _) = look(copy.path(), Repair::Yes);
        assert!(mended.is_sound() && !copy.path().join("index").exists(), "{length} B");
        assert!(look(copy.path(), Repair::No).0.is_sound(), "{length} B");
        assert_never_wrong(copy.path(), &sample, &format!("{length} B"));
    }
}

#[test]
fn a_bad_record_is_dropped_for_good_and_nothing_older_comes_back() {
    let sample = sample();
    let pack = pack_files(sample.dir.path())[0].clone();
    let mut bytes = std::fs::read(&pack).unwrap();
    for content in [&b"the newest result"[..], &noise(1, 90)] {
        let at = bytes.windows(content.len()).position(|it| it == content).unwrap();
        bytes[at + 3] ^= 1;
    }
    std::fs::write(&pack, &bytes).unwrap();
    let (told, findings) = look(sample.dir.path(), Repair::Yes);
    assert_eq!((told.bad_records, told.wrong, told.mended), (2, 2, 2));
    let keys: Vec<_> = findings.iter().filter_map(|finding| finding.key.clone()).collect();
    assert_eq!(keys, [blob_key(&noise(1, 90)), action_key("a")]);
    let line = findings[0].to_string();
    let place = format!("{} +64: {}: the checksum of frame 0", pack.display(), keys[0]);
    assert!(line.contains(&place) && line.ends_with("(mended)"), "{line}");

    let engine = open(sample.dir.path());
    for (key, content) in &sample.served {
        let expect = content.as_ref().filter(|_| !keys.contains(key));
        assert_eq!(get(&engine, key).unwrap().as_ref(), expect, "{key}");
    }
    put(&engine, &keys[0], &noise(1, 90)).unwrap();
    put(&engine, &keys[1], b"anew").unwrap();
    drop(engine);
    assert!(look(sample.dir.path(), Repair::No).1.is_empty());
    let engine = open(sample.dir.path());
    assert_eq!(get(&engine, &keys[1]).unwrap().unwrap(), b"anew");
    assert!(get(&engine, &keys[0]).unwrap().unwrap() == noise(1, 90));
}

#[test]
fn bytes_that_are_not_what_their_name_says_are_told_though_all_checksums_are_good() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let name = blob_key(&noise(1, 700));
    engine.append(&name, Content::Raw(&noise(2, 700))).unwrap().wait().unwrap();
    drop(engine);
    let (verified, findings) = look(dir.path(), Repair::No);
    assert_eq!((verified.bad_records, verified.wrong), (1, 1));
    assert!(findings[0].to_string().contains("its bytes have the digest"), "{}", findings[0]);
    assert_eq!(findings[0].key, Some(name));
}

#[test]
fn what_is_foreign_or_half_written_is_named_and_is_nothing_wrong() {
    let sample = sample();
    let root = sample.dir.path();
    let stray = blob_files(root)[0].with_file_name("copy of a blob");
    let foreign = ["lost+found", "packs/notes.txt", "packs/0000000f.pack", "blobs/zz", "tmp/mine"];
    std::fs::create_dir(root.join(foreign[0])).unwrap();
    for name in &foreign[1..] {
        std::fs::write(root.join(name), [b'x'; 100]).unwrap();
    }
    let half = root.join("tmp/000000000000000a.tmp");
    std::fs::write(&half, b"begun").unwrap();
    std::fs::write(&stray, b"").unwrap();
    for repair in [Repair::No, Repair::Yes] {
        let (verified, findings) = look(root, repair);
        assert!(verified.is_sound() && verified.wrong == 0, "{findings:?}");
        assert_eq!((verified.foreign, verified.half_written), (6, 1));
    }
    assert!(stray.exists() && foreign.iter().all(|name| root.join(name).exists()));
    assert!(!half.exists());
}

#[test]
fn a_layout_that_is_lost_or_wrong_is_written_from_the_packs() {
    let sample = sample();
    let layout = sample.dir.path().join("LAYOUT");
    let whole = std::fs::read(&layout).unwrap();
    let mut broken: Vec<Option<Vec<u8>>> = vec![None, Some(Vec::new())];
    for at in (0..11).chain(14..whole.len() - 1) {
        let mut flipped = whole.clone();
        flipped[at] = if flipped[at] == b'7' { b'8' } else { b'7' };
        broken.push(Some(flipped));
    }
    for content in broken {
        match &content {
            None => std::fs::remove_file(&layout).unwrap(),
            Some(content) => std::fs::write(&layout, content).unwrap(),
        }
        let (verified, findings) = look(sample.dir.path(), Repair::Yes);
        assert_eq!(kinds(&findings), [FindingKind::BadLayout], "{content:?}");
        assert!(verified.is_sound());
        assert!(std::fs::read(&layout).unwrap() == whole, "{content:?}");
    }
    assert_eq!(assert_never_wrong(sample.dir.path(), &sample, "layout"), sample.served.len() - 1);
}

#[test]
fn an_index_that_cannot_be_used_is_removed() {
    let sample = sample();
    let index = sample.dir.path().join("index");
    for entry in std::fs::read_dir(&index).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::write(path, b"no index at all").unwrap();
        }
    }
    let (verified, findings) = look(sample.dir.path(), Repair::No);
    assert_eq!(kinds(&findings), [FindingKind::BadIndex]);
    assert!(!verified.is_sound() && index.exists());
    assert!(look(sample.dir.path(), Repair::Yes).0.is_sound());
    assert!(!index.exists() && look(sample.dir.path(), Repair::No).1.is_empty());
    assert_eq!(assert_never_wrong(sample.dir.path(), &sample, "index"), sample.served.len() - 1);
}

/// What happens to a file.
#[derive(Clone, Debug)]
enum Harm {
    /// Bytes from somewhere on are overwritten.
    Overwrite { at: prop::sample::Index, with: Vec<u8> },
    /// Its end is lost.
    Cut(prop::sample::Index),
    /// Something follows it.
    Grow(Vec<u8>),
    /// A piece is written where another should be, as by a drive that mistakes the block.
    Misplace { from: prop::sample::Index, to: prop::sample::Index, length: usize },
}

fn harm() -> impl Strategy<Value = Harm> {
    let bytes = || prop::collection::vec(any::<u8>(), 1..200);
    let place = any::<prop::sample::Index>;
    prop_oneof![
        4 => (place(), bytes()).prop_map(|(at, with)| Harm::Overwrite { at, with }),
        2 => place().prop_map(Harm::Cut),
        1 => bytes().prop_map(Harm::Grow),
        2 => (place(), place(), 1..600_usize)
            .prop_map(|(from, to, length)| Harm::Misplace { from, to, length }),
    ]
}

fn suffer(bytes: &mut Vec<u8>, harm: &Harm) {
    let length = bytes.len();
    match harm {
        Harm::Overwrite { at, with } => {
            let at = at.index(length);
            let end = length.min(at + with.len());
            bytes[at..end].copy_from_slice(&with[..end - at]);
        }
        Harm::Cut(at) => bytes.truncate(at.index(length)),
        Harm::Grow(more) => bytes.extend_from_slice(more),
        Harm::Misplace { from, to, length: wanted } => {
            let (from, to) = (from.index(length), to.index(length));
            let wanted = (*wanted).min(length - from).min(length - to);
            bytes.copy_within(from..from + wanted, to);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_to_the_files_is_told_and_mended_and_no_wrong_byte_is_served(
        harms in prop::collection::vec((0..3_usize, harm()), 1..4),
        mends in any::<bool>(),
    ) {
        let sample = sample();
        let root = sample.dir.path();
        let files = [&pack_files(root)[..], &blob_files(root)[..]].concat();
        let whole: Vec<_> = files.iter().map(|path| std::fs::read(path).unwrap()).collect();
        let mut harmed = whole.clone();
        for (file, harm) in &harms {
            // A second cut may have left nothing to harm.
            if !harmed[*file].is_empty() {
                suffer(&mut harmed[*file], harm);
            }
        }
        for (path, bytes) in files.iter().zip(&harmed) {
            std::fs::write(path, bytes).unwrap();
        }
        let (told, findings) = look(root, Repair::No);
        prop_assert_eq!(told.is_sound(), harmed == whole, "{:?}", findings);
        if mends {
            prop_assert!(look(root, Repair::Yes).0.is_sound());
            let (again, findings) = look(root, Repair::No);
            prop_assert!(again.is_sound() && again.wrong == 0, "{:?}", findings);
        }
        assert_never_wrong(root, &sample, "harmed");
    }
}
