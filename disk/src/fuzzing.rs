//! What fuzzing asks of the engine's parsers: for any bytes on a disk they come to an end, do not panic, and believe only
//! what is whole.
//!
//! Each function takes the bytes that a fuzzer made up and panics where a promise is broken. `fuzz/` runs them under
//! libFuzzer, `testkit/tests/fuzzing.rs` as property tests.

use std::io::{self, BufReader, IoSlice};

use larder_protos::{Digest, DigestFunction};

use crate::body_check::BodyCheck;
use crate::codec::{Codec, Content};
use crate::eviction::trace::{TraceReader, TraceWriter};
use crate::index_format::parse_line;
use crate::io::IoFile;
use crate::key::{Keyspace, RecordKey, RecordKind};
use crate::pack::HEADER_BYTES;
use crate::prologue::{Effect, Place, Prologue, RECORD_MAGIC, announced_bytes, seal};
use crate::scan::{Bodies, Scanner};
use crate::window::Window;

const SALT: u64 = 77;
const PACK: u32 = 3;
/// A pack that has grown beyond this is not changed further.
const GROWN_BYTES: usize = 64 << 10;

/// One record: parsed as it came, and once more with its checksums made right, so that its fields and its body are judged.
pub fn record(data: &[u8]) {
    let place = Place::in_file(SALT);
    let _ = Prologue::parse(data, place);
    let mut bytes = [&RECORD_MAGIC[..], data].concat();
    let Some(length) = announced_bytes(&bytes).ok().filter(|length| *length <= bytes.len()) else {
        return;
    };
    seal(&mut bytes[..length], 7, place);
    let Ok(prologue) = Prologue::parse(&bytes, place) else { return };
    assert_eq!(prologue.length_bytes(), length, "the length of {prologue:?}");

    let mut again = prologue.clone();
    again.extension_bytes = 0;
    let mut written = vec![0; again.length_bytes()];
    again.write(&mut written);
    seal(&mut written, 7, place);
    assert_eq!(Prologue::parse(&written, place).as_ref(), Ok(&again), "written again");

    check_body(prologue, &bytes[length..]);
}

/// Holds a body against a prologue whose frames' checksums are made right.
fn check_body(mut prologue: Prologue, body: &[u8]) {
    let mut rest = body;
    for frame in &mut prologue.frames {
        let (stored, after) = rest.split_at(rest.len().min(frame.stored_bytes as usize));
        frame.checksum = crc32c::crc32c(stored);
        rest = after;
    }
    let image = Image(body.to_vec());
    let mut window = Window::new(&image, body.len() as u64);
    let rot = BodyCheck::new().expect("a decoder").check(&prologue, &mut window, 0);
    let is_blob = prologue.key.kind() == RecordKind::Blob && prologue.effect == Effect::Store;
    if rot.expect("memory is read without errors").is_none() && is_blob {
        assert!(prologue.is_body(body), "a sound body has sound checksums: {prologue:?}");
    }
}

/// The recovery scan, over a pack of sound records that `data` cuts, fills, moves and repeats: what it finds must stand
/// there exactly as it was written.
pub fn pack(data: &[u8]) {
    let (original, offsets) = pack_of(&[300, 0, 40, 870]);
    let mut changed = original.clone();
    for change in data.chunks_exact(7) {
        let word = |at: usize| usize::from(u16::from_le_bytes([change[at], change[at + 1]]));
        mutate(&mut changed, change[0], word(1), word(3), word(5));
        if changed.len() > GROWN_BYTES {
            break;
        }
    }
    let found = scan(&changed, Bodies::Checked);
    assert!(found.good_end <= changed.len().max(HEADER_BYTES));
    assert!(found.damaged_bytes <= changed.len());
    let ends = offsets[1..].iter().copied().chain([original.len()]);
    for at in found.offsets {
        let end = offsets.iter().zip(ends.clone()).find(|(offset, _)| **offset == at);
        let (_, end) = end.unwrap_or_else(|| panic!("no record was written at {at}"));
        assert!(changed.get(at..end) == original.get(at..end), "the record at {at} was changed");
    }
    // A scan that does not look at bodies ends as well, and so does one over bytes that were never a pack.
    scan(&changed, Bodies::Trusted);
    scan(data, Bodies::Checked);
}

/// A line of the index in sled: the first byte says how long the key is.
pub fn index_line(data: &[u8]) {
    let Some((length, line)) = data.split_first() else { return };
    let (key, value) = line.split_at(line.len().min(usize::from(*length)));
    for kind in [None, Some(RecordKind::Blob), Some(RecordKind::ActionResult)] {
        let _ = parse_line(key, value, |_| kind);
    }
}

/// A recorded trace: what is read can be written and read again.
pub fn trace(data: &[u8]) {
    let events: Vec<_> = TraceReader::new(BufReader::new(data)).map_while(Result::ok).collect();
    let mut writer = TraceWriter::begin(Vec::new(), 0).expect("memory takes all");
    for event in &events {
        writer.write(event).expect("memory takes all");
    }
    let written = writer.into_inner();
    let again: Result<Vec<_>, _> = TraceReader::new(&written[..]).collect();
    let read: Vec<_> = again.expect("what was written is a trace");
    assert_eq!(read.len(), events.len());
}

/// A pack of blobs of these sizes, and where each record begins.
pub(crate) fn pack_of(sizes: &[usize]) -> (Vec<u8>, Vec<usize>) {
    let codec = Codec::new(1);
    let mut bytes = vec![0; HEADER_BYTES];
    let mut offsets = Vec::new();
    for (sequence, size) in sizes.iter().enumerate() {
        let content: Vec<u8> = (0..*size)
            .map(|at| (at * 131 % 251).to_le_bytes()[0] ^ size.to_le_bytes()[0])
            .collect();
        let digest = Digest::of(DigestFunction::Sha256, &content);
        let key = RecordKey::blob(&Keyspace::new("t").expect("a short name"), &digest);
        let encoded = codec.encode(&key, Content::Raw(&content), 0);
        let mut record = encoded.expect("memory is written without errors");
        let offset = u32::try_from(bytes.len()).expect("packs are below 4 GiB");
        let place = Place::in_pack(SALT, PACK, offset);
        seal(&mut record.bytes[..record.prologue_bytes], sequence as u64, place);
        offsets.push(bytes.len());
        bytes.extend_from_slice(&record.bytes);
    }
    (bytes, offsets)
}

/// What a scan tells of a pack.
pub(crate) struct Scanned {
    pub(crate) offsets: Vec<usize>,
    pub(crate) good_end: usize,
    pub(crate) damaged_bytes: usize,
}

/// Scans the bytes of a pack from end to end.
pub(crate) fn scan(bytes: &[u8], bodies: Bodies) -> Scanned {
    let image = Image(bytes.to_vec());
    let mut scanner = Scanner::new(&image, (SALT, PACK), 0, bytes.len() as u64, bodies);
    let mut offsets = Vec::new();
    while let Some(found) = scanner.next().expect("memory is read without errors") {
        offsets.push(usize::try_from(found.offset).expect("32 bits"));
    }
    let whole = |bytes| usize::try_from(bytes).expect("no more than the pack has");
    let (good_end, damaged_bytes) = (whole(scanner.good_end()), whole(scanner.damaged_bytes()));
    Scanned { offsets, good_end, damaged_bytes }
}

/// One change: of which kind, where, over how much, and a place more.
fn mutate(bytes: &mut Vec<u8>, kind: u8, at: usize, length: usize, to: usize) {
    if bytes.len() <= HEADER_BYTES {
        return;
    }
    let at = at % bytes.len();
    let end = (at + length % 400 + 1).min(bytes.len());
    let to = to % bytes.len();
    match kind % 7 {
        0 => bytes[at] ^= 1 << (length % 8),
        1 => bytes[at..end].fill(0),
        2 => bytes.truncate(at),
        3 => bytes.extend_from_within(at..end),
        4 => {
            let piece = bytes[at..end].to_vec();
            bytes.splice(to..to, piece);
        }
        5 => {
            let piece = bytes[at..end].to_vec();
            let room = piece.len().min(bytes.len() - to);
            bytes[to..to + room].copy_from_slice(&piece[..room]);
        }
        _ => drop(bytes.drain(at..end)),
    }
}

/// A file in memory that is only read.
#[derive(Debug)]
struct Image(Vec<u8>);

impl IoFile for Image {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self.0.get(start..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn read_cached(&self, _buffer: &mut [u8], _offset: u64) -> usize {
        0
    }

    fn write_at(&self, _slices: &[IoSlice<'_>], _offset: u64) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn truncate(&self, _length_bytes: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn forget_cached(&self, _offset: u64, _length_bytes: u64) {}
}
