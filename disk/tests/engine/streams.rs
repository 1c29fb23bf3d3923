//! Large blobs that come as zstd are stored as they came, and read as whatever is asked for.

use larder_disk::{
    Accepts, DiskErrorClass, Encoding, Engine, FindingKind, PutOutcome, RecordKey, Repair,
    stream_limit_bytes,
};
use tempfile::tempdir;

use crate::support::{blob_files, blob_key, get, get_range, noise, open, prose};
use crate::verify::{kinds, look};

const MIB: usize = 1 << 20;

fn put_stream(engine: &Engine, content: &[u8], stream: &[u8]) -> RecordKey {
    let key = blob_key(content);
    let mut writer = engine.create_stream(&key).unwrap();
    for piece in stream.chunks(100_003) {
        writer.write(piece).unwrap();
    }
    assert_eq!(writer.finish().unwrap(), PutOutcome::Stored);
    key
}

fn compress(content: &[u8], level: i32) -> Vec<u8> {
    zstd::bulk::compress(content, level).unwrap()
}

fn as_stored(engine: &Engine, key: &RecordKey) -> Vec<u8> {
    let mut reader = engine.read(key, 0..u64::MAX, Accepts::RawOrZstd).unwrap().unwrap();
    assert_eq!(reader.encoding(), Encoding::Zstd);
    let announced = reader.remaining_bytes();
    let mut stored = Vec::new();
    while let Some(chunk) = reader.next_chunk().unwrap() {
        assert!(!chunk.is_empty());
        stored.extend_from_slice(&chunk);
    }
    assert_eq!(stored.len() as u64, announced);
    stored
}

#[test]
fn a_stream_is_read_whole_in_part_and_as_it_came_also_after_a_restart() {
    let half_noise = [noise(1, MIB), prose(1, 2 * MIB)].concat();
    let two_frames = [compress(&half_noise[..MIB], 3), compress(&half_noise[MIB..], 19)].concat();
    let cases = [
        (prose(2, 3 * MIB + 17), compress(&prose(2, 3 * MIB + 17), 1)),
        (half_noise.clone(), compress(&half_noise, 1)),
        (half_noise[1..].to_vec(), compress(&half_noise[1..], 19)),
        // All of it is in one piece, and small enough to be read at once.
        (vec![7; 9 * MIB], compress(&vec![7; 9 * MIB], 1)),
        // Small enough to be decoded at once.
        (prose(3, MIB), compress(&prose(3, MIB), 1)),
        ([&half_noise[..], b"x"].concat(), [two_frames, compress(b"x", 1)].concat()),
    ];
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let keys = cases.each_ref().map(|(content, stream)| put_stream(&engine, content, stream));
    let check = |engine: &Engine| {
        for (key, (content, stream)) in keys.iter().zip(&cases) {
            assert!(as_stored(engine, key) == *stream);
            assert!(get(engine, key).unwrap().as_ref() == Some(content));
            let size = content.len();
            for (start, end) in [(0, 1), (1, 300_000), (MIB - 1, MIB + 1), (size - 1, size)] {
                let range = start as u64..end as u64;
                let expect = content.get(start..end.min(size)).unwrap();
                assert!(get_range(engine, key, range).unwrap().unwrap() == expect, "{start}");
            }
            assert!(get_range(engine, key, size as u64..u64::MAX).unwrap().unwrap().is_empty());
        }
    };
    check(&engine);
    drop(engine);
    assert_eq!(kinds(&look(dir.path(), Repair::No).1), []);
    check(&open(dir.path()));
}

#[test]
fn a_stream_of_many_more_bytes_than_its_blob_is_refused() {
    let dir = tempdir().unwrap();
    let engine = open(dir.path());
    let key = blob_key(&noise(1, MIB));
    let limit = usize::try_from(stream_limit_bytes(MIB as u64)).unwrap();
    let mut writer = engine.create_stream(&key).unwrap();
    writer.write(&vec![0; limit]).unwrap();
    let error = writer.write(b"x").unwrap_err();
    assert_eq!(error.class(), DiskErrorClass::Internal, "{error}");
    drop(writer);
    assert!(!engine.contains(&key));
}

#[test]
fn rot_in_any_piece_of_a_stream_is_found_and_is_a_miss() {
    let content = [noise(1, MIB), prose(1, 2 * MIB)].concat();
    let stream = compress(&content, 1);
    for back in [1, 200_000, 900_000, stream.len() - 1] {
        let dir = tempdir().unwrap();
        let engine = open(dir.path());
        let key = put_stream(&engine, &content, &stream);
        drop(engine);
        let path = blob_files(dir.path()).remove(0);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.len() - back;
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(kinds(&look(dir.path(), Repair::No).1), [FindingKind::BadRecord]);
        let engine = open(dir.path());
        let error = get(&engine, &key).unwrap_err();
        assert_eq!(error.class(), DiskErrorClass::Corrupt, "{error}");
        assert_eq!(get(&engine, &key).unwrap(), None);
    }
}
