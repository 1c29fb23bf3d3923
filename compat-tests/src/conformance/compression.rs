//! zstd as clients send it, and as they should not.

use std::io::Write;

use super::outcome::{Halt, violated};

/// One frame, with its content size in the header.
pub(crate) fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(data, 3).expect("memory is enough for a frame")
}

/// One frame as a stream writes it: no content size, and a checksum.
pub(crate) fn zstd_stream(data: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("memory is enough for a frame");
    encoder.include_checksum(true).expect("a parameter that exists");
    encoder.include_contentsize(false).expect("a parameter that exists");
    encoder.write_all(data).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// A frame that decoders skip, carrying `size` bytes.
pub(crate) fn skippable(size: u32) -> Vec<u8> {
    let mut frame = 0x184D_2A50_u32.to_le_bytes().to_vec();
    frame.extend_from_slice(&size.to_le_bytes());
    frame.resize(frame.len() + size as usize, 0x5a);
    frame
}

/// A few hundred kilobytes that decode to `mebibytes` MiB of zeros.
pub(crate) fn bomb(mebibytes: usize) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("memory is enough for a frame");
    let block = vec![0; 1 << 20];
    for _ in 0..mebibytes {
        encoder.write_all(&block).expect("memory takes it");
    }
    encoder.finish().expect("memory takes it")
}

/// Decodes what a server sent, up to `limit` bytes.
pub(crate) fn unzstd(data: &[u8], limit: usize, what: &str) -> Result<Vec<u8>, Halt> {
    let decoder = match zstd::Decoder::new(data) {
        Ok(decoder) => decoder,
        Err(error) => return violated(format!("expected zstd for {what}, got {error}")),
    };
    let mut decoded = Vec::new();
    let mut limited = std::io::Read::take(decoder, limit as u64 + 1);
    match std::io::Read::read_to_end(&mut limited, &mut decoded) {
        Ok(read) if read > limit => {
            violated(format!("expected at most {limit} B of content for {what}, got more"))
        }
        Ok(_) => Ok(decoded),
        Err(error) => violated(format!(
            "expected valid zstd for {what}, got {} B that do not decode: {error}",
            data.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_decodes_to_what_was_encoded() {
        let data = vec![7; 100_000];
        let two_frames = [zstd(&data[..40_000]), skippable(10), zstd_stream(&data[40_000..])];
        for encoded in [zstd(&data), zstd_stream(&data), two_frames.concat()] {
            assert_eq!(unzstd(&encoded, data.len(), "a test").unwrap(), data);
        }
    }

    #[test]
    fn what_is_no_zstd_or_too_long_is_told() {
        assert!(unzstd(b"no zstd at all", 100, "a test").is_err());
        assert!(unzstd(&zstd(&[0; 100]), 99, "a test").is_err());
    }
}
