//! What is kept, what is not, and that nothing wrong passes.

use larder_protos::DigestFunction;
use proptest::prelude::*;
use zstd::zstd_safe::{CCtx, CParameter};

use super::*;
use crate::{Encoding, Payload, UntrustedPayload};

const MIB: usize = 1 << 20;

fn text(seed: usize, size: usize) -> Vec<u8> {
    let words =
        (seed..).flat_map(|at| format!("word {} of {} ", at * at % 1_009, at % 97).into_bytes());
    words.take(size).collect()
}

fn noise(size: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..size).map(|_| next()).collect()
}

fn frame(content: &[u8]) -> Vec<u8> {
    zstd_codec::encode(content, 1).to_vec()
}

/// As one who does not say the size beforehand encodes, so that the whole window is asked for.
fn frame_with_window(content: &[u8], window_log: u32) -> Vec<u8> {
    let mut context = CCtx::create();
    context.set_parameter(CParameter::WindowLog(window_log)).unwrap();
    context.set_parameter(CParameter::ContentSizeFlag(false)).unwrap();
    let mut frame = Vec::with_capacity(content.len() + 1_000);
    context.compress2(&mut frame, content).unwrap();
    frame
}

fn skippable(bytes: u32) -> Vec<u8> {
    let header = [0x184D_2A50_u32.to_le_bytes(), bytes.to_le_bytes()].concat();
    [header, vec![7; bytes as usize]].concat()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

async fn verify(content: &[u8], encoded: &[u8], chunk_bytes: usize) -> Result<Payload, StoreError> {
    let chunks: Vec<_> =
        encoded.chunks(chunk_bytes).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    let untrusted = UntrustedPayload::from_stream(Encoding::Zstd, stream::iter(chunks).boxed());
    untrusted.verify(&Digest::of(DigestFunction::Sha256, content)).await
}

/// What comes of an upload, in its encoding.
async fn passed(content: &[u8], encoded: &[u8], chunk_bytes: usize) -> (Encoding, Vec<u8>) {
    let payload = verify(content, encoded, chunk_bytes).await.unwrap();
    let encoding = payload.encoding();
    let chunks: Vec<Bytes> = payload.into_stream().try_collect().await.unwrap();
    assert!(chunks.iter().all(|chunk| !chunk.is_empty()));
    (encoding, chunks.concat())
}

#[test]
fn a_frame_that_saves_much_is_kept_whatever_chunks_it_comes_in() {
    for content in [text(1, 4 * MIB), vec![0; 9 * MIB], [text(2, 2 * MIB), noise(MIB)].concat()] {
        let encoded = frame(&content);
        for chunk_bytes in [1_000, 65_536, 1_000_003] {
            let (encoding, bytes) = run(passed(&content, &encoded, chunk_bytes));
            assert!(encoding == Encoding::Zstd && bytes == encoded, "{chunk_bytes}");
        }
    }
}

#[test]
fn what_saves_little_needs_a_large_window_or_is_very_large_comes_out_plain() {
    let prose = text(1, 3 * MIB);
    let (window, larger) = (KEPT_WINDOW_LOG, KEPT_WINDOW_LOG + 1);
    assert_eq!(run(passed(&prose, &frame_with_window(&prose, window), MIB)).0, Encoding::Zstd);
    let larger = frame_with_window(&prose, larger);
    let large = vec![0; 64 * MIB + 1];
    let plain = noise(2 * MIB);
    let skipped = [skippable(5), frame(&prose)].concat();
    let cases =
        [(&prose, larger), (&large, frame(&large)), (&plain, frame(&plain)), (&prose, skipped)];
    for (content, encoded) in cases {
        let (encoding, bytes) = run(passed(content, &encoded, MIB));
        assert!(encoding == Encoding::Raw && bytes == *content, "{} B", content.len());
    }
}

#[test]
fn frames_that_follow_the_first_need_no_larger_window_and_what_is_skipped_goes() {
    let (first, second) = (text(1, 2 * MIB), text(5, MIB));
    let content = [&first[..], &second].concat();
    let kept = frame(&first);
    let later = frame_with_window(&second, KEPT_WINDOW_LOG + 2);
    let encoded = [&kept, &skippable(9), &later[..], &skippable(0)].concat();
    for chunk_bytes in [777, kept.len(), 10 * MIB] {
        let (encoding, bytes) = run(passed(&content, &encoded, chunk_bytes));
        assert_eq!(encoding, Encoding::Zstd);
        let rest = bytes.strip_prefix(&kept[..]).unwrap();
        assert!(zstd_codec::window_log(rest).unwrap() <= KEPT_WINDOW_LOG);
        assert!(zstd::decode_all(rest).unwrap() == second);
    }
    // Nothing follows but what is skipped.
    let encoded = [kept.clone(), skippable(100), skippable(3)].concat();
    assert!(run(passed(&first, &encoded, 50_000)) == (Encoding::Zstd, kept));
}

#[test]
fn nothing_wrong_passes_whole() {
    let content = text(1, 2 * MIB);
    let good = frame(&content);
    let mut other = content.clone();
    *other.last_mut().unwrap() ^= 1;
    let longer = [&content[..], b"x"].concat();
    let mut rotten = good.clone();
    rotten[good.len() / 2] ^= 0xFF;
    let cases: [(&str, Vec<u8>); 6] = [
        ("another blob", frame(&other)),
        ("longer", frame(&longer)),
        ("longer by a frame", [&good[..], &frame(b"x")].concat()),
        ("shorter", frame(&content[1..])),
        ("cut", good[..good.len() - 1].to_vec()),
        ("followed by what is no zstd", [&good[..], b"no zstd"].concat()),
    ];
    for (what, encoded) in cases {
        run(async {
            let payload = verify(&content, &encoded, 10_000).await.unwrap();
            assert_eq!(payload.encoding(), Encoding::Zstd, "{what}");
            let mut passed = Vec::new();
            let mut stream = payload.into_stream();
            let error = loop {
                match stream.try_next().await {
                    Ok(Some(chunk)) => passed.extend_from_slice(&chunk),
                    Ok(None) => panic!("{what}: it passed"),
                    Err(error) => break error,
                }
            };
            assert!(passed.len() < encoded.len(), "{what}: {error}");
        });
    }
}

#[test]
fn a_stream_much_longer_than_its_blob_is_refused() {
    let content = text(1, 2 * MIB);
    // A frame of blocks that hold a byte each, but for the first MiB.
    let first = zstd_codec::encode(&content[..MIB], 1);
    let mut context = CCtx::create();
    context.set_parameter(CParameter::WindowLog(20)).unwrap();
    let mut encoded = Vec::new();
    let mut encoder = zstd::stream::write::Encoder::new(&mut encoded, 1).unwrap();
    std::io::Write::write_all(&mut encoder, &content[..MIB]).unwrap();
    for byte in &content[MIB..] {
        std::io::Write::write_all(&mut encoder, &[*byte]).unwrap();
        std::io::Write::flush(&mut encoder).unwrap();
    }
    encoder.finish().unwrap();
    assert!(encoded.len() > 3 * MIB && first.len() < MIB / 2);
    let error = run(async {
        let payload = verify(&content, &encoded, 100_000).await.unwrap();
        payload.into_stream().try_collect::<Vec<_>>().await.unwrap_err()
    });
    assert!(error.to_string().contains("much longer"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn any_frames_in_any_chunks_are_their_blob(
        sizes in prop::collection::vec(0..900_000_usize, 1..5),
        levels in prop::collection::vec(-3..6, 5),
        chunk_bytes in 1_000..400_000_usize,
    ) {
        let mut content = text(3, MIB + 1);
        let mut encoded = frame(&content);
        for (at, (size, level)) in sizes.iter().zip(levels).enumerate() {
            let part = text(at, *size);
            encoded.extend_from_slice(&zstd_codec::encode(&part, level));
            content.extend_from_slice(&part);
        }
        let (encoding, bytes) = run(passed(&content, &encoded, chunk_bytes));
        prop_assert_eq!(encoding, Encoding::Zstd);
        prop_assert!(zstd::decode_all(&bytes[..]).unwrap() == content);
    }
}
