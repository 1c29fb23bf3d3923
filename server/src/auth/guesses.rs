//! [`Guesses`]: how many wrong secrets an address may show.
//!
//! What is known to be right is never held up, so a client with a wrong token does not lock out its neighbours behind one
//! address. Addresses share a fixed number of places, chosen with a random key, so that nobody can grow the table.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// A client that starts with a wrong secret has this many calls in flight.
const BURST: NonZeroU32 = NonZeroU32::new(50).expect("it is not zero");
/// Afterwards.
const PER_SECOND: NonZeroU32 = NonZeroU32::new(2).expect("it is not zero");
const PLACES: u64 = 4096;

/// How many wrong secrets an address may show.
#[derive(Debug)]
pub(crate) struct Guesses {
    limiter: DefaultKeyedRateLimiter<u64>,
    places: RandomState,
}

impl Guesses {
    pub(crate) fn new() -> Self {
        let quota = Quota::per_second(PER_SECOND).allow_burst(BURST);
        Self { limiter: RateLimiter::keyed(quota), places: RandomState::new() }
    }

    /// Whether one more is taken from this address.
    pub(crate) fn admit(&self, address: Option<IpAddr>) -> bool {
        let place = self.places.hash_one(origin(address)) % PLACES;
        self.limiter.check_key(&place).is_ok()
    }
}

/// Who has one IPv6 address has 2^64 of them.
fn origin(address: Option<IpAddr>) -> Option<IpAddr> {
    match address?.to_canonical() {
        IpAddr::V6(v6) => {
            let network = u128::from(v6) & (u128::MAX << 64);
            Some(IpAddr::V6(network.into()))
        }
        v4 @ IpAddr::V4(_) => Some(v4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_guesses() {
        let guesses = Guesses::new();
        let address = |text: &str| Some(text.parse().unwrap());
        let admitted = |text: &str| (0..200).filter(|_| guesses.admit(address(text))).count();
        let first = admitted("10.0.0.1");
        assert!((50..60).contains(&first), "{first}");
        assert!(admitted("2001:db8::1") >= 50, "another address");
        assert!(admitted("2001:db8::2") < 10, "the same network");
        assert!(admitted("::ffff:10.0.0.1") < 10, "the same address in another form");
    }
}
