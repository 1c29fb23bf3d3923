//! Times of the protocol. Pure.
//!
//! Source: `google/protobuf/timestamp.proto` and `duration.proto`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use larder_protos::well_known;

use super::error::AssetError;

/// From year 1 to year 9999.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
const NANOS: std::ops::Range<i32> = 0..1_000_000_000;

/// A moment: seconds since 1970, and nanoseconds. Compares as time does.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Moment {
    seconds: i64,
    nanos: i32,
}

impl Moment {
    /// Reads a field; `None` where it is not set.
    pub(super) fn read(
        field: &'static str,
        timestamp: Option<well_known::Timestamp>,
    ) -> Result<Option<Self>, AssetError> {
        let Some(well_known::Timestamp { seconds, nanos }) = timestamp else { return Ok(None) };
        if SECONDS.contains(&seconds) && NANOS.contains(&nanos) {
            Ok(Some(Self { seconds, nanos }))
        } else {
            Err(AssetError::Time { field, seconds, nanos })
        }
    }

    /// As a field.
    pub(super) fn to_proto(self) -> well_known::Timestamp {
        well_known::Timestamp { seconds: self.seconds, nanos: self.nanos }
    }
}

impl From<SystemTime> for Moment {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        Self { seconds, nanos: since.subsec_nanos().cast_signed() }
    }
}

/// Reads a field with a length of time; `None` where it is not set.
pub(super) fn duration(
    field: &'static str,
    duration: Option<well_known::Duration>,
) -> Result<Option<Duration>, AssetError> {
    let Some(well_known::Duration { seconds, nanos }) = duration else { return Ok(None) };
    let parts = (u64::try_from(seconds), u32::try_from(nanos));
    match parts {
        (Ok(whole), Ok(rest)) if NANOS.contains(&nanos) => Ok(Some(Duration::new(whole, rest))),
        _ => Err(AssetError::Time { field, seconds, nanos }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(seconds: i64, nanos: i32, moment: bool, length: bool) {
        let read = Moment::read("at", Some(well_known::Timestamp { seconds, nanos }));
        assert_eq!(read.is_ok(), moment, "{seconds} s {nanos} ns");
        let read = duration("for", Some(well_known::Duration { seconds, nanos }));
        assert_eq!(read.is_ok(), length, "{seconds} s {nanos} ns");
    }

    #[test]
    fn only_what_is_a_time_is_taken() {
        check(0, 0, true, true);
        check(-1, 999_999_999, true, false);
        check(1, 1_000_000_000, false, false);
        check(1, -1, false, false);
        check(253_402_300_800, 0, false, true);
        check(-62_135_596_801, 0, false, false);
        assert!(Moment::read("at", None).unwrap().is_none());
        assert!(duration("for", None).unwrap().is_none());
    }

    #[test]
    fn moments_compare_as_time_does() {
        let now = SystemTime::now();
        let later = Moment::from(now + Duration::from_nanos(1));
        assert!(Moment::from(now) < later);
        assert!(Moment::from(UNIX_EPOCH) < Moment::from(now));
        assert_eq!(Moment::read("at", Some(later.to_proto())).unwrap(), Some(later));
    }
}
