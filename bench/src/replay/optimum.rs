//! What could be reached by who knows the future.
//!
//! - [`belady`] can be reached: it always evicts what is asked for furthest ahead, entry by entry and without packs, and does not
//!   let in what is asked for further ahead than all the rest. Among entries of equal size nothing is better; with sizes that
//!   differ, something may be, and finding it is NP-hard.
//! - [`bound`] cannot be beaten, and perhaps not be reached: an entry that stays from one request to the next takes its size for
//!   that long, and all of them together take no more than the limit for the whole length of the trace. The cheapest are
//!   counted, wherever they lie. (PFOO-L in Berger, Beckmann, Harchol-Balter: Practical Bounds on Optimal Caching with Variable
//!   Object Sizes, 2018.)

use std::collections::{BTreeSet, HashMap};

use crate::requests::{Requests, Score};

/// Evicts what is asked for furthest ahead.
pub(crate) fn belady(requests: &Requests, max_size_bytes: u64) -> Score {
    let next_uses = next_uses(requests);
    let mut score = Score::default();
    let mut by_next_use: BTreeSet<(usize, u32)> = BTreeSet::new();
    let mut next_use: HashMap<u32, usize> = HashMap::new();
    let mut used_bytes = 0;
    for (request, next) in requests.requests.iter().zip(next_uses) {
        let bytes = requests.bytes_of(request);
        if let Some(now) = next_use.remove(&request.entry) {
            by_next_use.remove(&(now, request.entry));
            used_bytes -= bytes;
            if request.kind.is_lookup() {
                score.count(bytes);
            }
        } else if !request.kind.stores() || !(1..=max_size_bytes).contains(&bytes) {
            continue;
        }
        let Some(next) = next else { continue };
        next_use.insert(request.entry, next);
        by_next_use.insert((next, request.entry));
        used_bytes += bytes;
        while used_bytes > max_size_bytes {
            let Some((_, furthest)) = by_next_use.pop_last() else { break };
            next_use.remove(&furthest);
            used_bytes -= requests.bytes[furthest as usize];
        }
    }
    score
}

/// What no cache of this size can beat; hits and hit bytes each by themselves.
pub(crate) fn bound(requests: &Requests, max_size_bytes: u64) -> Score {
    let mut last_use: HashMap<u32, usize> = HashMap::new();
    // How long each entry waits for a lookup, and its size.
    let mut waits: Vec<(u64, u64)> = Vec::new();
    for (time, request) in requests.requests.iter().enumerate() {
        let bytes = requests.bytes_of(request);
        let last = last_use.insert(request.entry, time);
        if let Some(last) = last.filter(|_| request.kind.is_lookup() && bytes <= max_size_bytes) {
            waits.push(((time - last) as u64, bytes));
        }
    }
    let room = u128::from(max_size_bytes) * requests.requests.len() as u128;
    let cost = |wait: &(u64, u64)| u128::from(wait.0) * u128::from(wait.1);
    let cheapest = |waits: &[(u64, u64)]| {
        let mut left = room;
        let fits = waits.iter().take_while(|wait| {
            let fits = cost(wait) <= left;
            left = left.saturating_sub(cost(wait));
            fits
        });
        let mut score = Score::default();
        // The one at the margin counts whole: a bound may be generous.
        let whole = fits.count() + 1;
        waits.iter().take(whole).for_each(|wait| score.count(wait.1));
        score
    };
    waits.sort_unstable_by_key(cost);
    let hits = cheapest(&waits).hits;
    waits.sort_unstable();
    Score { hits, hit_bytes: cheapest(&waits).hit_bytes }
}

/// For each request, when its entry is looked up again.
fn next_uses(requests: &Requests) -> Vec<Option<usize>> {
    let mut next: HashMap<u32, usize> = HashMap::new();
    let mut uses = vec![None; requests.requests.len()];
    for (time, request) in requests.requests.iter().enumerate().rev() {
        uses[time] = next.get(&request.entry).copied();
        if request.kind.is_lookup() {
            next.insert(request.entry, time);
        }
    }
    uses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::{exact_lru, unlimited};
    use crate::requests::{Kind, Request};

    /// Entries of 10 bytes; a lookup that misses stores.
    fn requests(entries: &[u32]) -> Requests {
        let kind = Kind::Lookup { was_hit: true };
        Requests {
            requests: entries
                .iter()
                .map(|entry| Request { now_s: 0, entry: *entry, kind })
                .collect(),
            bytes: vec![10; 10],
        }
    }

    #[test]
    fn the_future_beats_the_past() {
        // Round and round over three entries where two fit: the worst for the least recently used.
        let requests = requests(&[0, 1, 2, 0, 1, 2, 0, 1, 2]);
        let check = |score: Score, hits: u64| {
            assert_eq!(score, Score { hits, hit_bytes: hits * 10 });
        };
        check(exact_lru(&requests, 20), 0);
        check(belady(&requests, 20), 4);
        check(belady(&requests, 30), 6);
        check(exact_lru(&requests, 30), 6);
        check(unlimited(&requests), 6);
        check(bound(&requests, 30), 6);
    }

    #[test]
    fn what_is_never_asked_for_again_is_not_let_in() {
        check_belady(&[0, 1, 2, 3, 4, 0], 10, 1);
        check_belady(&[0, 1, 0, 1], 10, 1);
        check_belady(&[0, 1, 0, 1], 9, 0);
    }

    fn check_belady(entries: &[u32], max_size_bytes: u64, hits: u64) {
        assert_eq!(belady(&requests(entries), max_size_bytes).hits, hits, "{entries:?}");
    }

    #[test]
    fn nothing_beats_the_bound() {
        let mut random = crate::random::Random::new(7);
        for round in 0..200 {
            let entries: Vec<u32> = (0..300)
                .map(|_| u32::try_from(random.below(10) * random.below(2)).unwrap())
                .collect();
            let mut requests = requests(&entries);
            for bytes in &mut requests.bytes {
                *bytes = 1 + random.below(20);
            }
            let size = 10 + random.below(60);
            let bound = bound(&requests, size);
            for score in [belady(&requests, size), exact_lru(&requests, size)] {
                assert!(score.hits <= bound.hits, "round {round}");
                assert!(score.hit_bytes <= bound.hit_bytes, "round {round}");
            }
        }
    }
}
