//! Replays: the engine's policies over simulated packs, and two yardsticks without packs.

use std::collections::{BTreeMap, HashMap, HashSet};

use larder_disk::eviction::{Simulation, SimulationOptions, SimulationTotals};

use crate::requests::{Kind, Requests, Score};

/// A policy as the engine runs it.
pub(crate) fn policy(requests: &Requests, options: SimulationOptions) -> (Score, SimulationTotals) {
    let mut simulation = Simulation::new(options);
    let mut score = Score::default();
    for request in &requests.requests {
        let (now_s, name, bytes) =
            (request.now_s, u64::from(request.entry), requests.bytes_of(request));
        if request.kind == Kind::Replace {
            simulation.store(now_s, name, bytes);
        } else if simulation.touch(now_s, name) {
            if request.kind.is_lookup() {
                score.count(bytes);
            }
        } else if request.kind.stores() && bytes > 0 {
            simulation.store(now_s, name, bytes);
        }
    }
    (score, simulation.totals())
}

/// Least recently used, entry by entry: what `lru` would be without packs.
pub(crate) fn exact_lru(requests: &Requests, max_size_bytes: u64) -> Score {
    let mut score = Score::default();
    let mut by_recency: BTreeMap<usize, u32> = BTreeMap::new();
    let mut recency: HashMap<u32, usize> = HashMap::new();
    let mut used_bytes = 0;
    for (time, request) in requests.requests.iter().enumerate() {
        let bytes = requests.bytes_of(request);
        if let Some(last) = recency.get_mut(&request.entry) {
            by_recency.remove(last);
            by_recency.insert(time, request.entry);
            *last = time;
            if request.kind.is_lookup() {
                score.count(bytes);
            }
        } else if request.kind.stores() && (1..=max_size_bytes).contains(&bytes) {
            recency.insert(request.entry, time);
            by_recency.insert(time, request.entry);
            used_bytes += bytes;
            while used_bytes > max_size_bytes {
                let Some((_, oldest)) = by_recency.pop_first() else { break };
                recency.remove(&oldest);
                used_bytes -= requests.bytes[oldest as usize];
            }
        }
    }
    score
}

/// A cache that keeps everything.
pub(crate) fn unlimited(requests: &Requests) -> Score {
    let mut score = Score::default();
    let mut stored = HashSet::new();
    for request in &requests.requests {
        if stored.contains(&request.entry) {
            if request.kind.is_lookup() {
                score.count(requests.bytes_of(request));
            }
        } else if request.kind.stores() && requests.bytes_of(request) > 0 {
            stored.insert(request.entry);
        }
    }
    score
}
