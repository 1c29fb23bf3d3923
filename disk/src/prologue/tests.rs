//! The prologue: round trips, and every flipped bit.

use larder_protos::Digest;
use proptest::prelude::*;

use super::*;

const PLACE: Place = Place { salt: 0x5A17, position: 3 << 32 | 64 };

fn key(function: DigestFunction, keyspace: &str, size_bytes: u64) -> RecordKey {
    let digest = Digest::of(function, keyspace.as_bytes());
    let digest = Digest::new(*digest.hash(), size_bytes);
    RecordKey::blob(&Keyspace::new(keyspace).unwrap(), &digest)
}

/// A record with its body: raw frames of the sizes that the logical size asks for.
fn record(key: &RecordKey, logical_size_bytes: u64, sequence: u64) -> (Prologue, Vec<u8>) {
    let body: Vec<u8> = (0..logical_size_bytes).map(|at| at.to_le_bytes()[0]).collect();
    let frames = body
        .chunks(FRAME_SIZE_BYTES)
        .map(|frame| FrameEntry {
            stored_bytes: u32::try_from(frame.len()).unwrap(),
            checksum: crc32c::crc32c(frame),
        })
        .collect();
    let prologue = Prologue {
        effect: Effect::Store,
        key: key.clone(),
        encoding: Encoding::Raw,
        frame_size_log2: FRAME_SIZE_LOG2,
        logical_size_bytes,
        sequence,
        written_unix_ms: 1_700_000_000_123,
        extension_bytes: 0,
        frames,
    };
    let mut bytes = vec![0; prologue.length_bytes()];
    prologue.write(&mut bytes);
    seal(&mut bytes, sequence, PLACE);
    bytes.extend_from_slice(&body);
    (prologue, bytes)
}

fn is_sound(bytes: &[u8]) -> bool {
    Prologue::parse(bytes, PLACE)
        .is_ok_and(|prologue| prologue.is_body(&bytes[prologue.length_bytes()..]))
}

#[test]
fn a_prologue_has_the_bytes_that_the_format_says() {
    let key = key(DigestFunction::Sha256, "ks", 3);
    let (_, bytes) = record(&key, 3, 0x0102_0304);
    let check = |at: usize, expect: &[u8]| {
        assert_eq!(&bytes[at..at + expect.len()], expect, "at {at}");
    };
    check(0, &[0x5C, 0x2A, 0x4D, 0x18]);
    check(4, &(68_u32 - 8 + 32 + 2 + 8).to_le_bytes());
    check(8, b"LrdR");
    check(12, &[1, 1, 1, 0, 32, 18]);
    check(18, &2_u16.to_le_bytes());
    check(20, &1_u32.to_le_bytes());
    check(24, &3_u64.to_le_bytes());
    check(32, &3_u64.to_le_bytes());
    check(40, &0x0102_0304_u64.to_le_bytes());
    check(48, &1_700_000_000_123_u64.to_le_bytes());
    check(56, &[0; 8]);
    check(68, key.hash().as_bytes());
    check(100, b"ks");
    check(102, &3_u32.to_le_bytes());
    check(110, &[0, 1, 2]);
}

#[test]
fn every_flipped_bit_of_a_record_is_noticed() {
    let (_, bytes) = record(&key(DigestFunction::Sha256, "tenant", 100), 100, 7);
    assert!(is_sound(&bytes));
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(!is_sound(&flipped), "bit {bit}");
    }
}

#[test]
fn a_record_counts_only_where_it_was_written() {
    let (_, bytes) = record(&key(DigestFunction::Blake3, "", 9), 9, 7);
    let check = |place: Place, expect: bool| {
        assert_eq!(Prologue::parse(&bytes, place).is_ok(), expect, "{place:?}");
    };
    check(PLACE, true);
    check(Place { salt: PLACE.salt + 1, ..PLACE }, false);
    check(Place { position: PLACE.position + 1, ..PLACE }, false);
    check(Place::in_file(PLACE.salt), false);
}

#[test]
fn a_cut_record_is_no_record() {
    let (prologue, bytes) = record(&key(DigestFunction::Md5, "", 50), 50, 7);
    for length in 0..bytes.len() {
        assert!(!is_sound(&bytes[..length]), "{length} bytes");
        let parses = Prologue::parse(&bytes[..length], PLACE).is_ok();
        assert_eq!(parses, length >= prologue.length_bytes(), "{length} bytes");
    }
}

/// Changes bytes of a sound prologue and makes its checksum right again.
fn with_bytes(at: usize, new: &[u8]) -> Result<Prologue, PrologueError> {
    let (prologue, mut bytes) = record(&key(DigestFunction::Sha256, "ks", 300), 300, 7);
    bytes[at..at + new.len()].copy_from_slice(new);
    let length = prologue.length_bytes();
    let sum = checksum(&bytes[..length], PLACE);
    bytes[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&sum.to_le_bytes());
    Prologue::parse(&bytes, PLACE)
}

#[test]
fn fields_of_a_later_version_or_that_contradict_each_other_are_refused() {
    let check = |at: usize, new: &[u8], expect: Option<PrologueError>| {
        assert_eq!(with_bytes(at, new).err(), expect, "{new:?} at {at}");
    };
    check(12, &[1], None);
    check(12, &[2], Some(PrologueError::Unknown));
    check(13, &[9], Some(PrologueError::Unknown));
    check(14, &[4], Some(PrologueError::Unknown));
    check(15, &[2], Some(PrologueError::Unknown));
    check(16, &[31], Some(PrologueError::Inconsistent));
    check(17, &[11], Some(PrologueError::Inconsistent));
    check(17, &[0], None);
    check(18, &[3, 0], Some(PrologueError::Inconsistent));
    check(20, &[2], Some(PrologueError::Inconsistent));
    check(24, &301_u64.to_le_bytes(), Some(PrologueError::Inconsistent));
    check(24, &(1_u64 << 48).to_le_bytes(), Some(PrologueError::Inconsistent));
    check(32, &299_u64.to_le_bytes(), Some(PrologueError::Inconsistent));
    check(40, &(1_u64 << 63).to_le_bytes(), Some(PrologueError::Inconsistent));
    check(56, &1_u32.to_le_bytes(), None);
    check(56, &(1_u32 << 16).to_le_bytes(), Some(PrologueError::Unknown));
    check(60, &1_u16.to_le_bytes(), Some(PrologueError::Inconsistent));
    check(62, &[1], Some(PrologueError::Inconsistent));
    check(100, &[0xFF], Some(PrologueError::Inconsistent));
}

#[test]
fn an_extension_is_passed_over() {
    let (prologue, bytes) = record(&key(DigestFunction::Sha256, "ks", 300), 300, 7);
    let table_at = prologue.length_bytes() - FRAME_ENTRY_BYTES;
    let mut extended = bytes[..table_at].to_vec();
    extended.extend_from_slice(b"signature");
    extended.extend_from_slice(&bytes[table_at..prologue.length_bytes()]);
    let length = u32::try_from(extended.len() - 8).unwrap();
    extended[4..8].copy_from_slice(&length.to_le_bytes());
    extended[60] = 9;
    seal(&mut extended, 8, PLACE);
    let parsed = Prologue::parse(&extended, PLACE).unwrap();
    assert_eq!(parsed, Prologue { extension_bytes: 9, sequence: 8, ..prologue });
    assert_eq!(parsed.length_bytes(), extended.len());
}

fn any_function() -> impl Strategy<Value = DigestFunction> {
    proptest::sample::select(DigestFunction::ALL.to_vec())
}

proptest! {
    #[test]
    fn prologues_survive_the_round_trip(
        function in any_function(),
        keyspace in ".{0,40}",
        size in 0_u64..600_000,
        sequence in 0_u64..1 << 63,
    ) {
        let key = key(function, &keyspace, size);
        let (prologue, bytes) = record(&key, size, sequence);
        prop_assert_eq!(bytes.len() as u64, prologue.record_bytes());
        prop_assert_eq!(announced_bytes(&bytes).unwrap(), prologue.length_bytes());
        prop_assert_eq!(Prologue::parse(&bytes, PLACE).unwrap(), prologue);
        prop_assert!(is_sound(&bytes));
    }

    #[test]
    fn arbitrary_bytes_are_no_prologue_and_no_panic(mut bytes: Vec<u8>, fixed: [u8; 60]) {
        prop_assert!(Prologue::parse(&bytes, PLACE).is_err());
        let mut start = RECORD_MAGIC.to_vec();
        start.extend_from_slice(&[120, 0, 0, 0]);
        start.extend_from_slice(&INNER_MAGIC);
        start.extend_from_slice(&fixed);
        start.append(&mut bytes);
        let _ = Prologue::parse(&start, PLACE);
        // With a right checksum, the fields themselves are judged.
        if let Some(length) = announced_bytes(&start).ok().filter(|length| *length <= start.len()) {
            start[12..16].copy_from_slice(&[1, 1, 1, 0]);
            start[56..60].copy_from_slice(&[0; 4]);
            let sum = checksum(&start[..length], PLACE);
            start[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&sum.to_le_bytes());
            let _ = Prologue::parse(&start, PLACE);
        }
    }
}
