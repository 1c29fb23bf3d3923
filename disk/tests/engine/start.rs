//! What a start says of what it finds: each thing that is foreign, torn or half written has a log line, and a flipped bit in
//! `LAYOUT` costs nothing.

use std::fmt::{Debug, Write as _};
use std::path::Path;
use std::sync::Arc;

use larder_disk::{DiskError, DiskErrorClass, Engine};
use parking_lot::Mutex;
use tempfile::{TempDir, tempdir};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::faulty::EROFS;
use crate::sim_disk::{Plan, SimDisk};
use crate::support::{
    action_key, blob_files, blob_key, copy_dir, get, noise, open, options, pack_files, put,
    put_blob, put_large,
};

/// Keeps what this thread logs.
#[derive(Clone, Default, Debug)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("larder_disk")
    }
    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _span: &Id, _values: &Record<'_>) {}
    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().push(text.0);
    }
    fn enter(&self, _span: &Id) {}
    fn exit(&self, _span: &Id) {}
}

/// Opens a directory, and hands out what was logged meanwhile.
fn open_and_listen(data_dir: &Path) -> (Engine, Vec<String>) {
    let lines = Lines::default();
    let engine = tracing::subscriber::with_default(lines.clone(), || open(data_dir));
    let said = lines.0.lock().clone();
    (engine, said)
}

fn sample() -> TempDir {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    put_blob(&engine, &noise(1, 500));
    put_blob(&engine, &noise(2, 500));
    put_large(&engine, &noise(3, 1 << 20));
    drop(engine);
    dir
}

#[test]
fn a_sound_directory_starts_without_a_word() {
    let (_engine, said) = open_and_listen(sample().path());
    assert_eq!(said, Vec::<String>::new());
}

#[test]
fn each_thing_that_is_not_as_it_should_be_has_a_line() {
    type Harm = fn(&Path);
    let check = |harm: Harm, place: &str, expect: &str| {
        let dir = sample();
        harm(dir.path());
        let (engine, said) = open_and_listen(dir.path());
        let wanted = |line: &String| line.contains(expect) && line.contains(place);
        assert!(said.iter().any(wanted), "{expect:?} at {place:?} is not in {said:?}");
        assert!(get(&engine, &put_blob(&engine, &noise(1, 500))).unwrap().is_some());
    };
    let foreign = "names that are not Larder's are left alone";
    check(|dir| std::fs::create_dir(dir.join("lost+found")).unwrap(), "count=1", foreign);
    check(|dir| std::fs::write(dir.join("packs/notes"), "").unwrap(), "/packs", foreign);
    check(|dir| std::fs::create_dir(dir.join("blobs/lost+found")).unwrap(), "/blobs", foreign);
    check(|dir| std::fs::write(dir.join("tmp/editor~"), "").unwrap(), "/tmp", foreign);
    check(
        |dir| {
            let file = &blob_files(dir)[0];
            std::fs::write(file.with_file_name("x"), "").unwrap();
        },
        "/blobs/",
        foreign,
    );
    check(
        |dir| std::fs::write(dir.join("tmp/000000000000000a.tmp"), "begun").unwrap(),
        "/tmp",
        "half-written files are removed",
    );
    check(
        |dir| std::fs::write(dir.join("packs/0000000f.pack"), [7; 200]).unwrap(),
        "0000000f.pack",
        "a file with a pack's name holds no record",
    );
    check(
        |dir| {
            let pack = &pack_files(dir)[0];
            let mut bytes = std::fs::read(pack).unwrap();
            bytes[20] ^= 1;
            std::fs::write(pack, bytes).unwrap();
        },
        "00000001.pack",
        "the header of a pack is damaged",
    );
    check(
        |dir| {
            let pack = std::fs::OpenOptions::new().append(true).open(&pack_files(dir)[0]);
            std::io::Write::write_all(&mut pack.unwrap(), &[7; 33]).unwrap();
        },
        "cut_bytes=33",
        "the torn end of a pack is cut off",
    );
    check(|dir| std::fs::remove_file(dir.join("LAYOUT")).unwrap(), "", "LAYOUT is lost or damaged");
}

#[test]
fn a_layout_that_names_another_salt_than_the_packs_costs_nothing() {
    let sample = sample();
    let written = std::fs::read(sample.path().join("LAYOUT")).unwrap();
    // The salt's digits stand at the end of the line.
    for at in [written.len() - 17, written.len() - 2] {
        let dir = tempdir().unwrap();
        copy_dir(sample.path(), dir.path());
        let mut flipped = written.clone();
        flipped[at] = if flipped[at] == b'0' { b'1' } else { b'0' };
        std::fs::write(dir.path().join("LAYOUT"), &flipped).unwrap();
        let (engine, said) = open_and_listen(dir.path());
        assert!(said.iter().any(|line| line.contains("LAYOUT is lost or damaged")), "{said:?}");
        engine.wait_loaded();
        assert_eq!(engine.usage().records, 3);
        drop(engine);
        assert!(std::fs::read(dir.path().join("LAYOUT")).unwrap() == written);
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_read() {
    let dir = tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let disk = SimDisk::new(&data_dir);
    let open = || {
        let engine = Engine::open(options(&data_dir), Arc::new(disk.clone()));
        engine.inspect(Engine::wait_loaded)
    };
    let engine = open().unwrap();
    let small = put_blob(&engine, b"stored before");
    let large = put_large(&engine, &noise(1, 2 << 20));
    let result = action_key("run before");
    put(&engine, &result, b"a result").unwrap();
    put(&engine, &result, b"a later result").unwrap();
    let removed = put_blob(&engine, b"removed before");
    assert!(engine.remove(&removed).unwrap());
    drop(engine);
    // The second time the index is gone, which is of no use anyway.
    for _ in 0..2 {
        disk.plan(Plan::FailsFrom(0, EROFS));
        let engine = open().unwrap();
        assert_eq!(get(&engine, &small).unwrap().unwrap(), b"stored before");
        assert!(get(&engine, &large).unwrap().unwrap() == noise(1, 2 << 20));
        assert_eq!(get(&engine, &result).unwrap().unwrap(), b"a later result");
        assert_eq!(get(&engine, &removed).unwrap(), None);
        assert!(engine.usage().writes_refused);
        assert!(*engine.writes_refused().borrow());
        let refused = [
            put(&engine, &blob_key(b"new"), b"new").unwrap_err(),
            put(&engine, &result, b"another").unwrap_err(),
            engine.create(&blob_key(&noise(2, 2 << 20))).unwrap_err(),
            engine.remove(&small).unwrap_err(),
        ];
        for error in refused {
            assert_eq!(error.class(), DiskErrorClass::Capacity, "{error:?}");
            assert!(matches!(error, DiskError::ReadOnly { .. }), "{error:?}");
        }
        drop(engine);
        let _ = std::fs::remove_dir_all(data_dir.join("index"));
    }
    disk.plan(Plan::Works);
    let engine = open().unwrap();
    assert!(!engine.usage().writes_refused);
    put_blob(&engine, b"new");
    assert_eq!(get(&engine, &result).unwrap().unwrap(), b"a later result");
    // What is no data directory cannot be made one.
    disk.plan(Plan::FailsFrom(0, EROFS));
    let absent = options(&dir.path().join("absent"));
    assert!(Engine::open(absent, Arc::new(disk.clone())).is_err());
}
