//! [`ByteSize`]: a number of bytes as people write it.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A number of bytes; reads and shows `50GiB`, `512MiB`, `100MB`, `1.5GiB` or plain bytes.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Default)]
pub struct ByteSize(u64);

/// The text is no size, or one over 2^64 - 1 B.
#[derive(Copy, Clone, Eq, PartialEq, Debug, thiserror::Error)]
#[error("not a size such as 512MiB, 1.5GiB or a plain number of bytes")]
pub struct ByteSizeError;

/// Units of the binary system first: a size that is exact in several shows in the earliest that
/// gives the shortest number.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("", 1),
];

/// More digits than this after the point mean nothing, and would overflow the arithmetic.
const FRACTION_DIGITS_MAX: usize = 9;

impl ByteSize {
    /// So many bytes.
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// So many times 2^20 bytes.
    pub const fn mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// So many times 2^30 bytes.
    pub const fn gib(gib: u64) -> Self {
        Self(gib << 30)
    }

    /// In bytes.
    pub const fn as_bytes(self) -> u64 {
        self.0
    }

    /// Rounded down to one digit after the point, for people: `49.7 GiB`.
    pub fn approximate(self) -> String {
        let unit = UNITS[..4].iter().find(|(_, unit_bytes)| self.0 >= *unit_bytes);
        let Some((name, unit_bytes)) = unit else { return format!("{} B", self.0) };
        let tenths = u128::from(self.0) * 10 / u128::from(*unit_bytes);
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    }
}

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        let unit_start = text.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(unit_start);
        let unit_bytes = unit_bytes(unit.trim_start()).ok_or(ByteSizeError)?;
        let (whole, fraction) = match number.split_once('.') {
            Some((_, "")) => return Err(ByteSizeError),
            Some((whole, fraction)) => (whole, fraction),
            None => (number, ""),
        };
        // A fraction of a byte is a unit that somebody forgot.
        if fraction.len() > FRACTION_DIGITS_MAX || (!fraction.is_empty() && unit_bytes == 1) {
            return Err(ByteSizeError);
        }
        let whole: u64 = whole.parse().map_err(|_| ByteSizeError)?;
        let fraction_value: u128 = match fraction {
            "" => 0,
            digits => digits.parse().map_err(|_| ByteSizeError)?,
        };
        let denominator = (0..fraction.len()).fold(1_u128, |power, _| power * 10);
        let bytes = u128::from(whole) * unit_bytes + fraction_value * unit_bytes / denominator;
        u64::try_from(bytes).map(Self).map_err(|_| ByteSizeError)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = UNITS.iter().filter(|(_, unit_bytes)| self.0.is_multiple_of(*unit_bytes));
        match exact.min_by_key(|(_, unit_bytes)| (self.0 / unit_bytes).to_string().len()) {
            Some((name, unit_bytes)) if self.0 > 0 => write!(f, "{}{name}", self.0 / unit_bytes),
            _ => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn unit_bytes(unit: &str) -> Option<u128> {
    let unit = if unit.eq_ignore_ascii_case("b") { "" } else { unit };
    let found = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
    found.map(|(_, unit_bytes)| u128::from(*unit_bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, bytes) in [
            ("0", 0),
            ("1", 1),
            ("17B", 17),
            ("4096", 4096),
            ("1KiB", 1024),
            ("1kb", 1000),
            ("100MB", 100_000_000),
            ("512MiB", 512 << 20),
            ("512 mib", 512 << 20),
            ("1.5GiB", 3 << 29),
            ("0.25KiB", 256),
            ("50GiB", 50 << 30),
            ("2TiB", 2 << 40),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "",
            "GiB",
            "-1",
            "+1",
            "1e9",
            "1.GiB",
            "1.5",
            "1.0B",
            ".5GiB",
            "1.2.3",
            "1 apple",
            "1GiBs",
            "0x10",
            "18446744073709551616",
            "99999999999TiB",
            "1.0000000001GiB",
            " 1",
        ] {
            assert_eq!(text.parse::<ByteSize>(), Err(ByteSizeError), "{text:?}");
        }
    }

    #[test]
    fn shows_the_shortest_exact_text() {
        for (bytes, text) in [
            (0, "0"),
            (1000, "1kB"),
            (1024, "1KiB"),
            (100_000_000, "100MB"),
            (512 << 20, "512MiB"),
            (50 << 30, "50GiB"),
            (3 << 29, "1536MiB"),
            (12_345, "12345"),
        ] {
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
    }

    #[test]
    fn approximates_for_people() {
        for (bytes, text) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (50 << 30, "50.0 GiB")]
        {
            assert_eq!(ByteSize(bytes).approximate(), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(bytes: u64, shift in 0_u32..64) {
            let size = ByteSize(bytes >> shift << (shift / 2));
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }
    }
}
