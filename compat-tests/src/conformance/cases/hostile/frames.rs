//! HTTP/2 frames by hand, well formed or not. Source: RFC 9113, section 6; RFC 7541, section 6.2.2.

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The client's preface, with these settings.
pub(super) fn preface(settings: &[(u16, u32)]) -> Vec<u8> {
    let payload = settings.iter().flat_map(|(name, value)| {
        name.to_be_bytes().into_iter().chain(value.to_be_bytes()).collect::<Vec<_>>()
    });
    [PREFACE, &frame(SETTINGS, 0, 0, &payload.collect::<Vec<_>>())].concat()
}

/// One frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("frames are small").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// The header block of a gRPC call, and more fields.
pub(super) fn call(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    fields.iter().chain(more).flat_map(|(name, value)| field(name, value)).collect()
}

/// A message as gRPC frames it.
pub(super) fn message(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("messages are small").to_be_bytes();
    [&[0], &length[..], bytes].concat()
}

/// A field, written out, that the receiver need not remember.
fn field(name: &str, value: &str) -> Vec<u8> {
    [&[0], &text(name)[..], &text(value)[..]].concat()
}

fn text(text: &str) -> Vec<u8> {
    const PREFIX_MAX: usize = 127;
    let mut encoded = Vec::new();
    let mut rest = text.len();
    if let Some(over) = rest.checked_sub(PREFIX_MAX) {
        encoded.push(0x7F);
        rest = over;
        while rest >= 0x80 {
            encoded.push((rest % 0x80).to_le_bytes()[0] | 0x80);
            rest /= 0x80;
        }
    }
    encoded.push(rest.to_le_bytes()[0]);
    encoded.extend_from_slice(text.as_bytes());
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_bytes_that_the_standard_says() {
        assert_eq!(
            frame(PING, 1, 0, &[7; 8]),
            [&[0, 0, 8, 6, 1, 0, 0, 0, 0][..], &[7; 8]].concat()
        );
        assert_eq!(frame(DATA, 0, 3, &[0; 300])[..9], [0, 1, 44, 0, 0, 0, 0, 0, 3]);
        let settings = preface(&[(4, 0)]);
        assert_eq!(settings[24..], [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
        assert_eq!(message(b"ab"), [0, 0, 0, 0, 2, b'a', b'b']);
    }

    #[test]
    fn texts_of_any_length_are_written() {
        assert_eq!(text("ab"), [2, b'a', b'b']);
        assert_eq!(text(&"x".repeat(127))[..3], [0x7F, 0, b'x']);
        assert_eq!(text(&"x".repeat(128))[..3], [0x7F, 1, b'x']);
        assert_eq!(text(&"x".repeat(127 + 300))[..4], [0x7F, 0xAC, 2, b'x']);
    }
}
