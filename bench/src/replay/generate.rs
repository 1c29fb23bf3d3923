//! Made-up traces, modelled on builds: a graph of actions, branches that change a few of them, and builds that ask for all.
//!
//! An action has a version; a change gives it and most of what depends on it new ones, so that they are built anew. A build asks
//! for each action's result; one that was built before is a hit and its outputs are looked up, others are stored. The trace is
//! that of a cache which keeps everything, so it says which requests a smaller cache misses.

use std::collections::HashSet;
use std::io;

use clap::ValueEnum;
use larder_disk::eviction::trace::{TraceEvent, TraceOp};

use crate::random::{Random, mix};

/// A Monday, 06:00.
pub(crate) const BEGIN_UNIX_MS: u64 = 1_735_797_600_000 + 4 * 86_400_000 - 6 * 3_600_000;
const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// Which trace.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Scenario {
    /// 30 hours of a busy project: a main branch, six others, developers, one nightly scan of cold blobs.
    CiDay,
    /// A working week and the Monday after it: twelve short-lived branches, a scan each night.
    CiWeek,
    /// Developers only: partial builds of many long-lived branches, no scan.
    Branches,
}

impl Scenario {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn shape(self) -> Shape {
        match self {
            Self::CiDay => Shape {
                actions: 5_000,
                branches: 6,
                hours: 30,
                commit_permille: 900,
                full_build_permille: 900,
                has_scans: true,
                branch_hours: 24,
            },
            Self::CiWeek => Shape {
                actions: 2_500,
                branches: 12,
                hours: 7 * 24 + 8,
                commit_permille: 350,
                full_build_permille: 700,
                has_scans: true,
                branch_hours: 30,
            },
            Self::Branches => Shape {
                actions: 4_000,
                branches: 16,
                hours: 3 * 24,
                commit_permille: 500,
                full_build_permille: 150,
                has_scans: false,
                branch_hours: 72,
            },
        }
    }
}

struct Shape {
    actions: usize,
    branches: usize,
    hours: u64,
    /// How often a branch gets a commit in an hour.
    commit_permille: u64,
    /// How many builds are of everything; the others are of a part.
    full_build_permille: u64,
    has_scans: bool,
    /// How long a branch lives before it begins anew from the main one.
    branch_hours: u64,
}

/// Hands all events of a scenario to `write`, in order.
pub(crate) fn run(
    scenario: Scenario,
    seed: u64,
    write: impl FnMut(&TraceEvent) -> io::Result<()>,
) -> io::Result<()> {
    let shape = scenario.shape();
    let mut random = Random::new(seed);
    let graph = Graph::new(shape.actions, &mut random);
    let mut project = Project {
        graph,
        random,
        next_version: 1,
        built: HashSet::new(),
        now_ms: BEGIN_UNIX_MS,
        write,
    };
    let mut main = vec![0; shape.actions];
    let mut branches = vec![main.clone(); shape.branches];
    for hour in 0..shape.hours {
        let begin_ms = BEGIN_UNIX_MS + hour * HOUR_MS;
        project.now_ms = project.now_ms.max(begin_ms);
        let (of_day, day) = ((6 + hour) % 24, (6 + hour) / 24);
        if shape.has_scans && of_day == 2 {
            project.scan(&main, day)?;
        }
        if !(8..20).contains(&of_day) || day % 7 > 4 {
            continue;
        }
        for _ in 0..2 {
            project.commit(&mut main);
            project.build(&main, true)?;
        }
        for (index, branch) in branches.iter_mut().enumerate() {
            // They begin at different hours.
            if (hour + index as u64 * 7).is_multiple_of(shape.branch_hours) {
                branch.clone_from(&main);
            }
            if project.random.permille(shape.commit_permille) {
                project.commit(branch);
                let is_full = project.random.permille(shape.full_build_permille);
                project.build(branch, is_full)?;
            }
        }
    }
    Ok(())
}

/// Which actions depend on which.
struct Graph {
    dependents: Vec<Vec<usize>>,
}

impl Graph {
    /// Each action depends on one to three before it, mostly near ones.
    fn new(actions: usize, random: &mut Random) -> Self {
        let mut dependents = vec![Vec::new(); actions];
        for action in 1..actions as u64 {
            for _ in 0..=random.below(3) {
                let near = random.permille(800);
                let back = 1 + random.below(if near { 40 } else { action }).min(action - 1);
                let on = usize::try_from(action - back).unwrap_or_default();
                dependents[on].push(usize::try_from(action).unwrap_or_default());
            }
        }
        Self { dependents }
    }
}

struct Project<W> {
    graph: Graph,
    random: Random,
    next_version: u64,
    /// Action and version, as the result's name.
    built: HashSet<u64>,
    now_ms: u64,
    write: W,
}

impl<W: FnMut(&TraceEvent) -> io::Result<()>> Project<W> {
    /// Changes a few actions and most of what depends on them.
    fn commit(&mut self, branch: &mut [u64]) {
        let mut changed: Vec<usize> = (0..=self.random.below(3))
            .map(|_| usize::try_from(self.random.below(branch.len() as u64)).unwrap_or_default())
            .collect();
        let version = self.next_version;
        self.next_version += 1;
        while let Some(action) = changed.pop() {
            if branch[action] == version {
                continue;
            }
            branch[action] = version;
            for dependent in &self.graph.dependents[action] {
                // The others see no difference: the change ends there.
                if self.random.permille(350) {
                    changed.push(*dependent);
                }
            }
        }
    }

    /// Asks for everything, or for a run of actions that makes a tenth.
    fn build(&mut self, branch: &[u64], is_full: bool) -> io::Result<()> {
        let (first, count) = if is_full {
            (0, branch.len())
        } else {
            let first = self.random.below(branch.len() as u64);
            (usize::try_from(first).unwrap_or_default(), branch.len() / 10)
        };
        for (action, version) in branch.iter().enumerate().cycle().skip(first).take(count) {
            self.action(action as u64, *version)?;
        }
        self.now_ms += MINUTE_MS;
        Ok(())
    }

    /// Builds all with a mark of the day in it, twice over: nobody asks for any of it again.
    fn scan(&mut self, main: &[u64], day: u64) -> io::Result<()> {
        for kind in 1..=2 {
            for (action, version) in main.iter().enumerate() {
                self.action(action as u64, mix(version ^ (day << 40) ^ (kind << 60)))?;
            }
        }
        self.now_ms = (self.now_ms + 10 * MINUTE_MS).min(self.now_ms + DAY_MS);
        Ok(())
    }

    fn action(&mut self, action: u64, version: u64) -> io::Result<()> {
        let result = mix(mix(action) ^ version.wrapping_mul(0x9E37_79B9));
        let was_hit = !self.built.insert(result);
        let mut sizes = Random::new(result);
        let result_bytes = 300 + sizes.below(700);
        let outputs = (0..=sizes.below(3)).map(|output| (mix(result + 1 + output), sizes.clone()));
        let outputs: Vec<(u64, u64)> = outputs
            .map(|(name, sizes)| (name, Random::new(name ^ sizes.clone().next()).size(12_000)))
            .collect();
        self.event(TraceOp::Action, was_hit, result, if was_hit { result_bytes } else { 0 })?;
        for (name, bytes) in &outputs {
            self.event(TraceOp::Find, was_hit, *name, if was_hit { *bytes } else { 0 })?;
            if !was_hit {
                self.event(TraceOp::StoreBlob, false, *name, *bytes)?;
            } else if self.random.permille(100) {
                self.event(TraceOp::Read, true, *name, *bytes)?;
            }
        }
        if !was_hit {
            self.event(TraceOp::StoreAction, false, result, result_bytes)?;
        }
        Ok(())
    }

    fn event(&mut self, op: TraceOp, was_hit: bool, name: u64, bytes: u64) -> io::Result<()> {
        self.now_ms += self.random.below(8);
        (self.write)(&TraceEvent { unix_ms: self.now_ms, op, was_hit, name, bytes })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn events(scenario: Scenario, seed: u64) -> Vec<TraceEvent> {
        let mut events = Vec::new();
        run(scenario, seed, |event| {
            events.push(*event);
            Ok(())
        })
        .unwrap();
        events
    }

    #[test]
    fn a_trace_is_its_seed() {
        let first = events(Scenario::Branches, 3);
        assert!(first == events(Scenario::Branches, 3));
        assert!(first != events(Scenario::Branches, 4));
    }

    #[test]
    fn time_goes_on_and_what_was_stored_is_there() {
        for scenario in Scenario::value_variants() {
            let mut last_ms = 0;
            let mut stored: HashMap<u64, u64> = HashMap::new();
            let mut hits = 0;
            for event in events(*scenario, 1) {
                assert!(event.unix_ms >= last_ms);
                last_ms = event.unix_ms;
                match event.op {
                    TraceOp::StoreBlob | TraceOp::StoreAction => {
                        assert_eq!(stored.insert(event.name, event.bytes), None);
                    }
                    _ if event.was_hit => {
                        assert_eq!(stored.get(&event.name), Some(&event.bytes));
                        hits += 1;
                    }
                    _ => assert_eq!(stored.get(&event.name), None),
                }
            }
            assert!(hits > stored.len(), "{scenario:?}: {hits} hits of {}", stored.len());
        }
    }
}
