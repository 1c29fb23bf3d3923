//! [`Schedule`]: when operations are meant to begin, fixed before the first one does. Pure.

use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use thiserror::Error;

use crate::blobs::Noise;

/// How many operations begin in a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rate {
    PerSecond(f64),
    /// Of what the closed loop reached just before.
    Share(f64),
}

/// The text is no rate.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("`{text}` is neither operations a second nor a share such as 80%")]
pub(crate) struct RateError {
    text: String,
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let number = |text: &str| text.parse().ok().filter(|it: &f64| it.is_finite() && *it > 0.0);
        let rate = match text.strip_suffix('%') {
            Some(percent) => number(percent).map(|percent| Self::Share(percent / 100.0)),
            None => number(text).map(Self::PerSecond),
        };
        rate.ok_or_else(|| RateError { text: text.to_owned() })
    }
}

/// How operations are spread over time.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Arrivals {
    /// Independent of each other, as many clients are: exponential gaps
    Poisson,
    /// At equal distances
    Even,
}

/// Times since the beginning, without an end.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    gap_s: f64,
    arrivals: Arrivals,
    noise: Noise,
    next_s: f64,
}

impl Schedule {
    /// One of `shares` schedules that make `per_second` together.
    pub(super) fn new(per_second: f64, arrivals: Arrivals, share: u32, shares: u32) -> Self {
        let gap_s = f64::from(shares) / per_second;
        let next_s = gap_s * f64::from(share) / f64::from(shares);
        Self { gap_s, arrivals, noise: Noise::new(share.into()), next_s }
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let now = Duration::try_from_secs_f64(self.next_s).ok();
        self.next_s += match self.arrivals {
            Arrivals::Even => self.gap_s,
            Arrivals::Poisson => -self.noise.unit().ln() * self.gap_s,
        };
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_numbers_or_shares() {
        let check = |text: &str, expect: Option<Rate>| {
            assert_eq!(text.parse::<Rate>().ok(), expect, "{text}");
        };
        check("5000", Some(Rate::PerSecond(5_000.0)));
        check("0.5", Some(Rate::PerSecond(0.5)));
        check("80%", Some(Rate::Share(0.8)));
        check("0", None);
        check("-1", None);
        check("inf", None);
        check("NaN%", None);
        check("%", None);
        check("fast", None);
    }

    #[test]
    fn even_schedules_of_threads_interleave() {
        let times = |share| -> Vec<u128> {
            let schedule = Schedule::new(1_000.0, Arrivals::Even, share, 2);
            schedule.take(3).map(|time| time.as_micros()).collect()
        };
        assert_eq!(times(0), [0, 2_000, 4_000]);
        assert_eq!(times(1), [1_000, 3_000, 5_000]);
    }

    #[test]
    fn arrivals_keep_the_rate() {
        for arrivals in [Arrivals::Even, Arrivals::Poisson] {
            let schedule = Schedule::new(1_000.0, arrivals, 0, 1);
            let until = Duration::from_secs(10);
            let times: Vec<Duration> = schedule.take_while(|time| *time < until).collect();
            assert!((9_600..10_400).contains(&times.len()), "{arrivals:?}: {}", times.len());
            assert!(times.is_sorted());
            let gaps = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
            let long = gaps.filter(|gap| *gap > Duration::from_millis(2)).count();
            // e^-2 of exponential gaps are longer than twice the mean.
            let expected = if arrivals == Arrivals::Even { 0..1 } else { 1_100..1_600 };
            assert!(expected.contains(&long), "{arrivals:?}: {long}");
        }
    }
}
