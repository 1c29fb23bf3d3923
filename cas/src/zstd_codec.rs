//! zstd as clients send and take it: streams of any framing, decoded and encoded in bounded memory.
//!
//! Units: chunks out of a stream are at most [`CHUNK_BYTES`] long, whatever came in, so a small input that expands a
//! millionfold costs time but no memory. A frame may ask for a window of at most 2^[`MAX_WINDOW_LOG`] bytes.
//! Source: RFC 8878.

use std::cell::RefCell;

use bytes::{BufMut, Bytes, BytesMut};
use futures_core::Stream;
use futures_util::{StreamExt, TryStreamExt, stream};
pub use larder_disk::MAX_WINDOW_LOG;
use larder_disk::ZstdDecoder;
use zstd::zstd_safe::{self, CCtx, CParameter, DCtx, InBuffer, OutBuffer, zstd_sys};

use crate::{PayloadStream, StoreError, blocking};

/// The most bytes that one step of a decoder or an encoder puts out.
pub const CHUNK_BYTES: usize = 128 * 1024;

/// What a data frame begins with.
const DATA_FRAME: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();

/// In a frame's descriptor: its content is one piece, whose size is told.
const SINGLE_SEGMENT: u8 = 1 << 5;

/// zstd returns errors as negative sizes; this is `ZSTD_error_dstSize_tooSmall`, 70 since 1.3.1.
const DESTINATION_TOO_SMALL: usize = 70_usize.wrapping_neg();

/// Decodes `input`, which should hold one blob of `size_bytes`, bytes that we stored ourselves.
pub(crate) fn decode_stream(input: PayloadStream, size_bytes: u64) -> PayloadStream {
    decode_with(input, move |reason| StoreError::DamagedZstd { size_bytes, reason }).boxed()
}

/// Decodes the frames of `input`, skippable ones included. Input that ends within a frame is malformed.
pub fn decode_with<S, F>(
    input: S,
    malformed: F,
) -> impl Stream<Item = Result<Bytes, StoreError>> + Send
where
    S: Stream<Item = Result<Bytes, StoreError>> + Send + Unpin,
    F: Fn(&'static str) -> StoreError + Send,
{
    let state = (input, ZstdDecoder::default(), Bytes::new(), malformed);
    stream::try_unfold(state, async |(mut input, mut decoder, mut chunk, malformed)| {
        loop {
            let decoded = decoder.step(&mut chunk, CHUNK_BYTES).map_err(&malformed)?;
            if !decoded.is_empty() {
                return Ok(Some((decoded, (input, decoder, chunk, malformed))));
            }
            match input.try_next().await? {
                Some(next) => chunk = next,
                None if decoder.is_within_frame() => {
                    return Err(malformed("it ends within a frame"));
                }
                None => return Ok(None),
            }
        }
    })
}

/// Encodes `input` as one frame.
pub(crate) fn encode_stream(input: PayloadStream, level: i32) -> PayloadStream {
    let state = Some((input, Encoder::new(level), 0));
    stream::try_unfold(state, move |state| async move {
        let Some((mut input, mut encoder, mut taken_bytes)) = state else { return Ok(None) };
        loop {
            let Some(chunk) = input.try_next().await? else {
                let held_back_bytes = work_bytes(CHUNK_BYTES.min(taken_bytes), level);
                let last = blocking::run_sized(held_back_bytes, move || encoder.finish()).await?;
                return Ok(Some((last, None)));
            };
            taken_bytes = taken_bytes.saturating_add(chunk.len());
            let work_bytes = work_bytes(chunk.len(), level);
            let encoded;
            let encode = move || (encoder.encode(&chunk), encoder);
            (encoded, encoder) = blocking::run_sized(work_bytes, encode).await?;
            if !encoded.is_empty() {
                return Ok(Some((encoded, Some((input, encoder, taken_bytes)))));
            }
        }
    })
    .boxed()
}

/// How many bytes of level 1, which is what [`blocking::OFF_WORKER_BYTES`] is about, take the time that these take. By the
/// order of magnitude: levels up to 3 go at hundreds of MB/s, up to 9 at tens, the others at a few.
pub fn work_bytes(bytes: usize, level: i32) -> usize {
    match level {
        ..=3 => bytes,
        4..=9 => bytes.saturating_mul(8),
        10.. => bytes.saturating_mul(128),
    }
}

/// Encodes `raw` as one frame that tells its content's size.
pub fn encode(raw: &[u8], level: i32) -> Bytes {
    let mut frame = Vec::with_capacity(zstd_safe::compress_bound(raw.len()));
    zstd_safe::compress(&mut frame, raw, level).expect("the buffer has room for the worst case");
    frame.into()
}

/// A frame that holds `raw`, which is less than 64 KiB, as it is. RFC 8878, 3.1.1.
pub(crate) fn wrap(raw: &[u8]) -> Bytes {
    const TWO_BYTES_FOR_THE_SIZE: u8 = 1 << 6;
    /// The sizes from here on are told less so much.
    const OFFSET_OF_TWO_BYTES: u16 = 256;
    const LAST_BLOCK: u32 = 1;
    let size = u16::try_from(raw.len()).expect("the caller wraps what is small");
    let mut frame = BytesMut::with_capacity(raw.len() + 10);
    frame.put_slice(&DATA_FRAME);
    if let Ok(size) = u8::try_from(size) {
        frame.put_u8(SINGLE_SEGMENT);
        frame.put_u8(size);
    } else {
        frame.put_u8(SINGLE_SEGMENT | TWO_BYTES_FOR_THE_SIZE);
        frame.put_u16_le(size - OFFSET_OF_TWO_BYTES);
    }
    let block_header = (u32::from(size) << 3) | LAST_BLOCK;
    frame.put_slice(&block_header.to_le_bytes()[..3]);
    frame.put_slice(raw);
    frame.freeze()
}

/// Why bytes do not decode to a blob of the size that was said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum DecodeError {
    /// There is more in them.
    TooLong,
    /// They are no zstd, for the reason that the decoder gives.
    Malformed(&'static str),
}

/// Decodes frames, skippable ones included, that should hold `size_bytes`, in one step: the caller bounds it, and whatever
/// windows the frames ask for, it takes no more memory than that.
pub(crate) fn decode(encoded: &[u8], size_bytes: usize) -> Result<Bytes, DecodeError> {
    thread_local! {
        // A context is some 100 KiB, which the allocator would map and unmap for every small blob.
        static CONTEXT: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
    }
    let mut raw = Vec::with_capacity(size_bytes);
    CONTEXT.with_borrow_mut(|context| context.decompress(&mut raw, encoded)).map_err(|code| {
        if code == DESTINATION_TOO_SMALL {
            DecodeError::TooLong
        } else {
            DecodeError::Malformed(zstd_safe::get_error_name(code))
        }
    })?;
    Ok(raw.into())
}

/// Decodes bytes that were verified before they were stored.
pub(crate) fn decode_stored(encoded: &[u8], size_bytes: usize) -> Result<Bytes, StoreError> {
    decode(encoded, size_bytes).map_err(|error| {
        let reason = match error {
            DecodeError::TooLong => "it holds more than its size",
            DecodeError::Malformed(reason) => reason,
        };
        StoreError::DamagedZstd { size_bytes: size_bytes as u64, reason }
    })
}

/// Whether these bytes are exactly one data frame that any decoder takes: fit to be stored and served as they came.
pub(crate) fn is_one_plain_frame(encoded: &[u8]) -> bool {
    let one_frame = zstd_safe::find_frame_compressed_size(encoded)
        .is_ok_and(|frame_bytes| frame_bytes == encoded.len());
    one_frame && window_log(encoded).is_some_and(|log| log <= MAX_WINDOW_LOG)
}

/// The logarithm of the window that a data frame asks for, rounded down; `None` for other frames. RFC 8878, 3.1.1.1.
pub(crate) fn window_log(frame: &[u8]) -> Option<u32> {
    let (magic, header) = frame.split_first_chunk::<4>()?;
    let (descriptor, header) = header.split_first()?;
    if *magic != DATA_FRAME {
        return None;
    }
    if descriptor & SINGLE_SEGMENT != 0 {
        // The window is the content itself.
        let size = zstd_safe::get_frame_content_size(frame).ok()??;
        return Some(size.max(1).ilog2());
    }
    header.first().map(|window| 10 + u32::from(window >> 3))
}

/// Encodes one frame, piece by piece.
pub(crate) struct Encoder {
    context: CCtx<'static>,
}

impl Encoder {
    pub(crate) fn new(level: i32) -> Self {
        let mut context = CCtx::create();
        context
            .set_parameter(CParameter::CompressionLevel(level))
            .expect("zstd clamps the level to its own range");
        Self { context }
    }

    /// What is ready of the frame, which may be nothing, once `raw` was taken.
    pub(crate) fn encode(&mut self, raw: &[u8]) -> Bytes {
        self.run(raw, zstd_sys::ZSTD_EndDirective::ZSTD_e_continue)
    }

    /// The rest of the frame.
    pub(crate) fn finish(mut self) -> Bytes {
        self.run(&[], zstd_sys::ZSTD_EndDirective::ZSTD_e_end)
    }

    fn run(&mut self, raw: &[u8], directive: zstd_sys::ZSTD_EndDirective) -> Bytes {
        let ending = directive == zstd_sys::ZSTD_EndDirective::ZSTD_e_end;
        let mut source = InBuffer::around(raw);
        let mut encoded = BytesMut::new();
        let mut buffer = Vec::with_capacity(CHUNK_BYTES.min(zstd_safe::compress_bound(raw.len())));
        loop {
            buffer.clear();
            let mut sink = OutBuffer::around(&mut buffer);
            let pending = self
                .context
                .compress_stream2(&mut sink, &mut source, directive)
                .expect("compressing from memory to memory has no way to fail");
            encoded.extend_from_slice(&buffer);
            if source.pos() == raw.len() && (!ending || pending == 0) {
                return encoded.freeze();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    async fn decode_chunked(encoded: &[u8], chunk_bytes: usize) -> Result<Vec<u8>, StoreError> {
        let chunks: Vec<_> =
            encoded.chunks(chunk_bytes).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let input = stream::iter(chunks).boxed();
        let mut decoded = decode_stream(input, 0);
        let mut whole = Vec::new();
        while let Some(chunk) = decoded.try_next().await? {
            assert!(chunk.len() <= CHUNK_BYTES, "a chunk of {} B", chunk.len());
            whole.extend_from_slice(&chunk);
        }
        Ok(whole)
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
    }

    #[test]
    fn frames_of_any_kind_are_decoded_together() {
        let skippable = [&0x184D_2A50_u32.to_le_bytes()[..], &3_u32.to_le_bytes(), b"abc"].concat();
        let encoded = [encode(b"one, ", 1).as_ref(), &skippable, &encode(b"two", 1)].concat();
        for chunk_bytes in [1, 2, 7, 1000] {
            let decoded = run(decode_chunked(&encoded, chunk_bytes)).expect("valid frames");
            assert_eq!(decoded, b"one, two", "in chunks of {chunk_bytes} B");
        }
    }

    #[test]
    fn input_that_ends_within_a_frame_is_malformed_at_every_byte() {
        let encoded = encode(&[7; 1000], 1);
        for end in 1..encoded.len() {
            run(decode_chunked(&encoded[..end], 5)).expect_err("a frame cut short");
        }
    }

    #[test]
    fn an_output_that_fills_its_chunks_exactly_ends_well() {
        for size in [CHUNK_BYTES, 2 * CHUNK_BYTES, 2 * CHUNK_BYTES + 1] {
            let encoded = encode(&vec![1; size], 1);
            assert_eq!(run(decode_chunked(&encoded, 1 << 20)).expect("one frame").len(), size);
        }
    }

    #[test]
    fn a_window_over_the_limit_is_refused() {
        let mut context = CCtx::create();
        context.set_parameter(CParameter::WindowLog(MAX_WINDOW_LOG + 1)).expect("a zstd window");
        let mut frame = vec![0; 1 << 10];
        let mut sink = OutBuffer::around(&mut frame[..]);
        let mut source = InBuffer::around(b"x");
        let end = zstd_sys::ZSTD_EndDirective::ZSTD_e_end;
        // Not told the size beforehand, the encoder announces the whole window.
        context
            .compress_stream2(&mut sink, &mut source, zstd_sys::ZSTD_EndDirective::ZSTD_e_continue)
            .expect("room");
        context.compress_stream2(&mut sink, &mut source, end).expect("room");
        let length = sink.pos();
        frame.truncate(length);
        assert_eq!(window_log(&frame), Some(MAX_WINDOW_LOG + 1));
        assert!(!is_one_plain_frame(&frame));
        run(decode_chunked(&frame, 1 << 10)).expect_err("a window over the limit");
    }

    /// Whether this many bytes are encoded without the blocking pool.
    fn encodes_here(size: usize, level: i32) -> bool {
        let builder = &mut tokio::runtime::Builder::new_current_thread();
        let runtime = builder.max_blocking_threads(1).build().expect("a runtime");
        let (release, released) = std::sync::mpsc::channel::<()>();
        runtime.block_on(async {
            // The pool is taken, so what needs it waits.
            let busy = tokio::task::spawn_blocking(move || released.recv());
            let input = stream::iter([Ok(Bytes::from(vec![b'x'; size]))]).boxed();
            let mut encoded = encode_stream(input, level);
            let here = futures_util::poll!(encoded.next()).is_ready();
            drop(release);
            busy.await.expect("it ends").expect_err("nothing was sent");
            let rest: Vec<Bytes> = encoded.try_collect().await.expect("encodes");
            assert_eq!(here, rest.is_empty(), "one frame in one piece");
            here
        })
    }

    #[test]
    fn what_takes_long_to_encode_leaves_the_worker() {
        for (size, level, here) in [
            (1_000, 1, true),
            (60_000, 3, true),
            (70_000, 1, false),
            (1 << 20, 1, false),
            (1_000, 9, true),
            (10_000, 9, false),
            (100, 19, true),
            (1_000, 19, false),
        ] {
            assert_eq!(encodes_here(size, level), here, "{size} B at level {level}");
        }
    }

    #[test]
    fn what_holds_more_than_it_should_is_told_from_what_is_malformed() {
        let frame = encode(b"some text", 1);
        assert_eq!(decode(&frame, 9).as_deref(), Ok(&b"some text"[..]));
        assert_eq!(decode(&frame, 10).as_deref(), Ok(&b"some text"[..]));
        assert_eq!(decode(&frame, 8), Err(DecodeError::TooLong));
        let two = [&frame[..], &frame[..]].concat();
        assert_eq!(decode(&two, 18).expect("two frames").len(), 18);
        assert_eq!(decode(&two, 17), Err(DecodeError::TooLong));
        for damaged in [&frame[..frame.len() - 1], b"no zstd at all", &frame[1..]] {
            let error = decode(damaged, 100).expect_err("malformed");
            assert!(matches!(error, DecodeError::Malformed(_)), "{error:?}");
        }
    }

    fn check_plain(encoded: &[u8], expect: bool) {
        assert_eq!(is_one_plain_frame(encoded), expect, "{encoded:02x?}");
    }

    #[test]
    fn only_a_lone_data_frame_is_plain() {
        let frame = encode(b"some text", 1);
        check_plain(&frame, true);
        check_plain(&[&frame[..], &frame[..]].concat(), false);
        check_plain(&frame[..frame.len() - 1], false);
        check_plain(&[&0x184D_2A50_u32.to_le_bytes()[..], &0_u32.to_le_bytes()].concat(), false);
        check_plain(b"", false);
        check_plain(b"not zstd at all", false);
    }

    #[test]
    fn what_is_wrapped_is_one_plain_frame_of_any_size() {
        for size in [0, 1, 255, 256, 257, 4_096, 65_535] {
            let raw: Vec<u8> = (0..=250).cycle().take(size).collect();
            let frame = wrap(&raw);
            assert!(is_one_plain_frame(&frame), "{size}");
            let told = zstd_safe::get_frame_content_size(&frame).expect("a frame");
            assert_eq!(told, Some(size as u64));
            assert_eq!(decode(&frame, size).expect("decodes")[..], raw);
            assert_eq!(run(decode_chunked(&frame, 100)).expect("decodes"), raw);
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(raw: Vec<u8>, level in -5..20, chunk_bytes in 1..5000_usize) {
            let input = stream::iter([Ok(Bytes::from(raw.clone()))]).boxed();
            let encoded: Vec<Bytes> =
                run(encode_stream(input, level).try_collect()).expect("encodes");
            let encoded = encoded.concat();
            prop_assert_eq!(&run(decode_chunked(&encoded, chunk_bytes)).expect("decodes"), &raw);
            prop_assert_eq!(&decode(&encode(&raw, level), raw.len()).expect("decodes")[..], &raw);
        }

        #[test]
        fn arbitrary_bytes_never_panic(encoded: Vec<u8>) {
            let _ = run(decode_chunked(&encoded, 64));
            let _ = decode(&encoded, 1000);
            let _ = is_one_plain_frame(&encoded);
        }
    }
}
