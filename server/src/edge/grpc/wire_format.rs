//! Protobuf's wire format as far as messages are read here by hand: each function takes what it reads off the front of `rest`.
//!
//! `None` where there is too little or it is unusual; the caller then decodes the message the long way.
//! Source: <https://protobuf.dev/programming-guides/encoding/>.

pub(super) fn take_byte(rest: &mut &[u8]) -> Option<u8> {
    let (byte, after) = rest.split_first()?;
    *rest = after;
    Some(*byte)
}

/// A field with a length.
pub(super) fn field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(number(rest)?).ok()?;
    let (field, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(field)
}

/// A number of at most nine bytes, so of 63 bits; a negative one is unusual.
pub(super) fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let byte = take_byte(rest)?;
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}
