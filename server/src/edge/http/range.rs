//! The `Range` header of one range of bytes.

use larder_cas::ByteRange;

/// What a request's `Range` header asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wanted {
    /// All of it: no header, or one that a server may ignore (other units, several ranges, malformed).
    Whole,
    /// One range, within the size.
    Part { first: u64, last: u64 },
    /// Nothing that exists: 416.
    Unsatisfiable,
}

impl Wanted {
    /// Reads the header for a body of `size_bytes`. Source: RFC 9110, 14.2.
    pub(crate) fn parse(header: &str, size_bytes: u64) -> Self {
        let Some((first, last)) = header
            .split_once('=')
            .filter(|(unit, ranges)| unit.eq_ignore_ascii_case("bytes") && !ranges.contains(','))
            .and_then(|(_, range)| range.trim().split_once('-'))
        else {
            return Self::Whole;
        };
        let end = size_bytes.saturating_sub(1);
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first > last => Self::Whole,
            (Some(first), _) if first >= size_bytes => Self::Unsatisfiable,
            (Some(first), Some(last)) => Self::Part { first, last: last.min(end) },
            (Some(first), None) if last.is_empty() => Self::Part { first, last: end },
            (None, Some(length)) if first.is_empty() => {
                if length == 0 || size_bytes == 0 {
                    return Self::Unsatisfiable;
                }
                Self::Part { first: size_bytes.saturating_sub(length), last: end }
            }
            _ => Self::Whole,
        }
    }

    /// The part as the store wants it.
    pub(crate) fn byte_range(self) -> ByteRange {
        match self {
            Self::Part { first, last } => ByteRange::from_offset(first).limited(last - first + 1),
            Self::Whole | Self::Unsatisfiable => ByteRange::ALL,
        }
    }
}

/// `None` for what is no number. One that is beyond everything is beyond this too.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, size_bytes: u64, expect: Wanted) {
        assert_eq!(Wanted::parse(header, size_bytes), expect, "{header} of {size_bytes} B");
    }

    #[test]
    fn one_range_of_bytes_is_understood() {
        use Wanted::{Part, Unsatisfiable, Whole};
        check("bytes=0-4", 10, Part { first: 0, last: 4 });
        check("bytes=4-", 10, Part { first: 4, last: 9 });
        check("bytes=4-99", 10, Part { first: 4, last: 9 });
        check("bytes=-3", 10, Part { first: 7, last: 9 });
        check("bytes=-30", 10, Part { first: 0, last: 9 });
        check("bytes=10-", 10, Unsatisfiable);
        check("bytes=-0", 10, Unsatisfiable);
        check("bytes=0-", 0, Unsatisfiable);
        check("bytes=-1", 0, Unsatisfiable);
        check("bytes=5-4", 10, Whole);
        check("bytes=0-1,3-4", 10, Whole);
        check("bytes=a-b", 10, Whole);
        check("bytes=-", 10, Whole);
        check("bytes=+1-2", 10, Whole);
        check("items=0-4", 10, Whole);
        check("bytes=0-18446744073709551616", 10, Part { first: 0, last: 9 });
        check("bytes=18446744073709551616-", 10, Unsatisfiable);
        check("Bytes=1-2", 10, Part { first: 1, last: 2 });
        check("bytes", 10, Whole);
    }
}
