//! [`RecordReader`]: a stored record, frame by frame, each checked before it is handed out.
//!
//! A reader keeps its file open, so eviction and compaction do not disturb it. Small records come with one read; of
//! larger ones only the frames that the range touches are read and decoded.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::codec::frame_logical;
use crate::error::{DiskError, is_unreadable};
use crate::inventory::Inventory;
use crate::io::{IoFile, OpenMode, read_full};
use crate::key::RecordKey;
use crate::prologue::{Effect, Encoding, FRAME_SIZE_BYTES, Place, Prologue, announced_bytes};
use crate::slot::{Entry, Location};
use crate::zstd_decoder::ZstdDecoder;

/// Records up to this size are read at once.
const WHOLE_READ_BYTES: u64 = (FRAME_SIZE_BYTES + FRAME_SIZE_BYTES / 4) as u64;
/// Of larger ones this much is read first: the prologue of a blob of 100 MiB fits.
const FIRST_READ_BYTES: u64 = 4_096;
/// No blob has a longer prologue: the frame table of 2 TiB.
const PROLOGUE_LIMIT_BYTES: u64 = 64 << 20;
/// The largest chunk that is handed out.
const CHUNK_BYTES: usize = FRAME_SIZE_BYTES;
/// A zstd stream that holds at most so much is decoded whole.
const STREAM_AT_ONCE_BYTES: u64 = 1024 * 1024;

/// What a reader of a record can take.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum Accepts {
    /// The blob's bytes.
    Raw,
    /// The blob's bytes, or, for the whole of it, the zstd frames as they are stored.
    RawOrZstd,
}

/// What was found where an entry points to.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is taken apart at once")]
pub(crate) enum Opened {
    Reader(RecordReader),
    /// Nothing: it has been moved or evicted.
    Gone,
    /// A sound record of another key, whose short form is the same: a miss and no damage.
    Another,
}

/// A record being read. Methods block where they do not say otherwise.
#[derive(Debug)]
pub struct RecordReader {
    inventory: Arc<Inventory>,
    key: RecordKey,
    entry: Entry,
    file: Arc<dyn IoFile>,
    /// Where the record begins in the file.
    base: u64,
    prologue: Prologue,
    /// The first bytes of the record, as far as they have been read.
    head: Bytes,
    /// Logical bytes to hand out; not used when frames go out as they are stored.
    range: Range<u64>,
    encoding: Encoding,
    next_frame: usize,
    /// Where the next frame begins in the record.
    next_frame_at: u64,
    /// For a stream that is decoded piece by piece.
    stream: Option<Box<StreamPosition>>,
    /// Checked and not handed out yet.
    ready: Bytes,
    remaining_bytes: u64,
}

/// How far a stream has been decoded.
#[derive(Debug, Default)]
struct StreamPosition {
    decoder: ZstdDecoder,
    /// What is left of the piece that was read last.
    stored: Bytes,
    /// Logical bytes that came out.
    decoded_bytes: u64,
}

impl RecordReader {
    /// Opens what `entry` points to.
    pub(crate) fn open(
        inventory: &Arc<Inventory>,
        key: &RecordKey,
        entry: Entry,
        range: Range<u64>,
        accepts: Accepts,
    ) -> Result<Opened, DiskError> {
        let Some((file, base, place)) = open_location(inventory, key, &entry)? else {
            return Ok(Opened::Gone);
        };
        let first = if entry.record_bytes <= WHOLE_READ_BYTES {
            entry.record_bytes
        } else {
            FIRST_READ_BYTES
        };
        let read = |length, at| read_bytes(&*file, length, base + at);
        let failed = |error| refused(inventory, key, &entry, error);
        let mut head = read(first, 0).map_err(failed)?;
        let announced = announced_bytes(&head).map_or(0, |length| length as u64);
        if announced > head.len() as u64
            && announced <= entry.record_bytes.min(PROLOGUE_LIMIT_BYTES)
        {
            head = read(announced, 0).map_err(failed)?;
        }
        let prologue = match Prologue::parse(&head, place) {
            Ok(prologue) => prologue,
            Err(error) => return Err(inventory.quarantine(key, &entry, &error.to_string())),
        };
        if prologue.key != *key && inventory.is_short_of(&entry, &prologue.key) {
            return Ok(Opened::Another);
        }
        if prologue.key != *key || prologue.effect != Effect::Store {
            return Err(inventory.quarantine(key, &entry, "another record stands there"));
        }
        let size = prologue.logical_size_bytes;
        let range = range.start.min(size)..range.end.min(size);
        let is_stored = accepts == Accepts::RawOrZstd
            && prologue.encoding == Encoding::Zstd
            && range == (0..size);
        let in_steps = !is_stored
            && prologue.is_stream()
            && prologue.encoding == Encoding::Zstd
            && size > STREAM_AT_ONCE_BYTES;
        let mut reader = Self {
            inventory: Arc::clone(inventory),
            key: key.clone(),
            entry,
            file,
            base,
            head,
            encoding: if is_stored { Encoding::Zstd } else { Encoding::Raw },
            next_frame: 0,
            next_frame_at: prologue.length_bytes() as u64,
            stream: in_steps.then(Box::default),
            ready: Bytes::new(),
            remaining_bytes: if is_stored {
                prologue.stored_size_bytes()
            } else {
                range.end.saturating_sub(range.start)
            },
            range,
            prologue,
        };
        reader.skip_frames();
        Ok(Opened::Reader(reader))
    }

    /// How the chunks are encoded. zstd frames follow one another without anything between.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The size of the whole record's content, decoded.
    pub fn logical_size_bytes(&self) -> u64 {
        self.prologue.logical_size_bytes
    }

    /// Bytes that chunks still to come hold, in the encoding they come in.
    pub fn remaining_bytes(&self) -> u64 {
        self.remaining_bytes
    }

    /// The next bytes, at most 256 KiB of them; `None` at the end.
    ///
    /// After `Corrupt` the record is gone from the index and the reader is of no more use.
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>, DiskError> {
        if self.remaining_bytes == 0 {
            return Ok(None);
        }
        if self.ready.is_empty() {
            self.ready = match self.stream.take() {
                Some(mut stream) => {
                    let decoded = self.next_of_stream(&mut stream)?;
                    self.stream = Some(stream);
                    decoded
                }
                None => self.next_frame()?,
            };
        }
        let chunk = self.ready.split_to(self.ready.len().min(CHUNK_BYTES));
        self.remaining_bytes = self.remaining_bytes.saturating_sub(chunk.len() as u64);
        Ok(Some(chunk))
    }

    /// The next bytes where they can be had at once: the system has them in memory, and they go out as they are stored. `None` says nothing
    /// of the record; [`Self::next_chunk`] does. Does not block.
    pub fn next_chunk_at_once(&mut self) -> Option<Bytes> {
        if self.remaining_bytes == 0 || !self.ready.is_empty() || self.decodes() {
            return None;
        }
        let frame = self.prologue.frames.get(self.next_frame)?;
        let length = usize::try_from(frame.stored_bytes).ok().filter(|it| *it <= CHUNK_BYTES)?;
        let mut stored = vec![0; length];
        let filled = self.file.read_cached(&mut stored, self.base + self.next_frame_at);
        if filled < length || crc32c::crc32c(&stored) != frame.checksum {
            return None;
        }
        let stored = Bytes::from(stored);
        let chunk = match self.encoding {
            Encoding::Zstd => stored,
            Encoding::Raw => self.wanted_of(self.next_frame, stored)?,
        };
        self.pass_frame();
        self.remaining_bytes = self.remaining_bytes.saturating_sub(chunk.len() as u64);
        Some(chunk)
    }

    /// Whether frames go out otherwise than they are stored.
    fn decodes(&self) -> bool {
        self.encoding != self.prologue.encoding
    }

    /// Passes over frames before the range.
    fn skip_frames(&mut self) {
        if self.range.is_empty() || self.encoding == Encoding::Zstd {
            return;
        }
        let frame_size = self.prologue.frame_size_bytes();
        let skipped = self.range.start / frame_size;
        for frame in self.prologue.frames.iter().take(usize::try_from(skipped).unwrap_or(0)) {
            self.next_frame += 1;
            self.next_frame_at += u64::from(frame.stored_bytes);
        }
    }

    /// What of the next frame is to be handed out; never empty.
    fn next_frame(&mut self) -> Result<Bytes, DiskError> {
        let index = self.next_frame;
        let stored = self.next_stored()?;
        if self.encoding == Encoding::Zstd {
            return Ok(stored);
        }
        let logical = frame_logical(&self.prologue, index);
        let decoded = usize::try_from(logical.end - logical.start)
            .ok()
            .and_then(|length| self.inventory.codec.decode(self.prologue.encoding, stored, length));
        let Some(decoded) = decoded else {
            return Err(self.corrupt("a frame does not decode to its size"));
        };
        self.wanted_of(index, decoded).ok_or_else(|| self.corrupt("the frames end too early"))
    }

    /// What of the stream is to be handed out next, after all before it has been decoded; never empty.
    fn next_of_stream(&mut self, stream: &mut StreamPosition) -> Result<Bytes, DiskError> {
        loop {
            let decoded = match stream.decoder.step(&mut stream.stored, CHUNK_BYTES) {
                Ok(decoded) if decoded.is_empty() => {
                    stream.stored = self.next_stored()?;
                    continue;
                }
                Ok(decoded) => decoded,
                Err(reason) => return Err(self.corrupt(reason)),
            };
            let begin = stream.decoded_bytes;
            stream.decoded_bytes += decoded.len() as u64;
            if let Some(wanted) = self.wanted_within(begin, decoded) {
                return Ok(wanted);
            }
        }
    }

    /// The next frame, or piece of a stream, as it is stored.
    fn next_stored(&mut self) -> Result<Bytes, DiskError> {
        let Some(frame) = self.prologue.frames.get(self.next_frame).copied() else {
            return Err(self.corrupt("the frames end too early"));
        };
        let stored = self.read_stored(frame.stored_bytes)?;
        if crc32c::crc32c(&stored) != frame.checksum {
            return Err(self.corrupt("the checksum of a frame"));
        }
        self.pass_frame();
        Ok(stored)
    }

    /// Goes on to the next frame.
    fn pass_frame(&mut self) {
        if let Some(frame) = self.prologue.frames.get(self.next_frame) {
            self.inventory.counters.count_traffic(frame.stored_bytes.into());
            self.next_frame_at += u64::from(frame.stored_bytes);
            self.next_frame += 1;
        }
    }

    /// What of a frame's content is in the range; `None` where that is nothing, or the frame is too short.
    fn wanted_of(&self, index: usize, decoded: Bytes) -> Option<Bytes> {
        let logical = frame_logical(&self.prologue, index);
        let is_whole = decoded.len() as u64 == logical.end - logical.start;
        if is_whole { self.wanted_within(logical.start, decoded) } else { None }
    }

    /// What of the logical bytes that begin at `begin` is in the range; `None` where that is nothing.
    fn wanted_within(&self, begin: u64, decoded: Bytes) -> Option<Bytes> {
        let start = self.range.start.max(begin) - begin;
        let end = self.range.end.saturating_sub(begin).min(decoded.len() as u64);
        let (start, end) = (usize::try_from(start).ok()?, usize::try_from(end).ok()?);
        (start < end).then(|| decoded.slice(start..end))
    }

    fn read_stored(&self, length: u32) -> Result<Bytes, DiskError> {
        let length = u64::from(length);
        let end = self.next_frame_at + length;
        if end <= self.head.len() as u64
            && let (Ok(start), Ok(end)) =
                (usize::try_from(self.next_frame_at), usize::try_from(end))
        {
            return Ok(self.head.slice(start..end));
        }
        read_bytes(&*self.file, length, self.base + self.next_frame_at)
            .map_err(|error| refused(&self.inventory, &self.key, &self.entry, error))
    }

    fn corrupt(&self, reason: &str) -> DiskError {
        self.inventory.quarantine(&self.key, &self.entry, reason)
    }
}

type OpenFile = (Arc<dyn IoFile>, u64, Place);

/// The file of a record, where it begins there, and what its checksum says of that. Packs stay open; a blob file is opened
/// for each read: 4 µs beside the millisecond that decoding a MiB takes, and no cache of descriptors to bound.
fn open_location(
    inventory: &Inventory,
    key: &RecordKey,
    entry: &Entry,
) -> Result<Option<OpenFile>, DiskError> {
    match entry.location {
        Location::Pack { pack, offset } => Ok(inventory.packs.get(pack).map(|open| {
            let place = Place::in_pack(inventory.salt, pack, offset);
            (Arc::clone(&open.file), u64::from(offset), place)
        })),
        Location::File { sequence } => {
            let path = inventory.layout.blob_file(key.hash(), sequence);
            match inventory.io.open(&path, OpenMode::Read) {
                Ok(file) => Ok(Some((file, 0, Place::in_file(inventory.salt)))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(refused(inventory, key, entry, error)),
            }
        }
    }
}

/// What a read that the system refused comes to: bytes that cannot be had are as good as corrupt, so that the record is a
/// miss from here on and not an error each time that it is asked for; anything else may pass.
fn refused(inventory: &Inventory, key: &RecordKey, entry: &Entry, error: io::Error) -> DiskError {
    let is_unreadable = is_unreadable(&error);
    let error = inventory.io_error("read", inventory.layout.data_dir())(error);
    if !is_unreadable {
        return error;
    }
    let reason = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    inventory.quarantine(key, entry, &reason)
}

/// The whole name of a record in a pack; `None` when it is no longer there.
pub(crate) fn key_at(inventory: &Inventory, entry: &Entry) -> Result<Option<RecordKey>, DiskError> {
    Ok(prologue_at(inventory, entry)?.map(|prologue| prologue.key))
}

/// What stands before a record in a pack; `None` when it is no longer there.
pub(crate) fn prologue_at(
    inventory: &Inventory,
    entry: &Entry,
) -> Result<Option<Prologue>, DiskError> {
    let Location::Pack { pack, offset } = entry.location else { return Ok(None) };
    let Some(open) = inventory.packs.get(pack) else { return Ok(None) };
    let head = first_bytes(&*open.file, entry.record_bytes, offset.into())
        .map_err(DiskError::io("read", inventory.layout.data_dir()))?;
    let prologue = Prologue::parse(&head, Place::in_pack(inventory.salt, pack, offset)).ok();
    let is_its = |prologue: &Prologue| {
        prologue.effect == Effect::Store && inventory.is_short_of(entry, &prologue.key)
    };
    Ok(prologue.filter(is_its))
}

/// Of a record of so many bytes as many as hold its prologue in almost every case.
pub(crate) fn first_bytes(file: &dyn IoFile, record_bytes: u64, at: u64) -> io::Result<Bytes> {
    read_bytes(file, record_bytes.min(FIRST_READ_BYTES), at)
}

/// Up to `length` bytes: fewer where the file ends, which the checksums then notice.
fn read_bytes(file: &dyn IoFile, length: u64, at: u64) -> io::Result<Bytes> {
    let length = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut buffer = vec![0; length];
    let filled = read_full(file, &mut buffer, at)?;
    buffer.truncate(filled);
    Ok(Bytes::from(buffer))
}
