//! The engine on a simulated disk: a crash at every change, every error at every call, and random workloads by the thousand.
//!
//! `LARDER_SIM_SEEDS=5000` says how many random runs there are, `LARDER_SIM_FIRST=17` with which seed they begin. A failing run
//! prints its seed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use larder_disk::{DiskErrorClass, Durability, Engine, EngineOptions};
use tempfile::{TempDir, tempdir};

use crate::faulty::{EDQUOT, EIO, EMFILE, ENFILE, ENOSPC, EROFS};
use crate::oracle::{Oracle, Step, Subject};
use crate::random::Random;
use crate::sim_disk::{Plan, PowerCut, SimDisk};
use crate::support::{blob_key, noise, options, put};

/// In a normal run of the tests.
const SEEDS: u64 = 60;

/// A period that no run lives to see: what is synced and when is then decided by the workload alone.
const NEVER: Duration = Duration::from_secs(1 << 30);

/// What becomes of sled.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
enum Index {
    /// There is none and there can be none: the quickest, and all rests on the log.
    Impossible,
    Kept,
    /// Gone at each crash.
    Lost,
}

/// A machine: a simulated disk, an engine on it, and who remembers what it said.
struct Machine {
    dir: TempDir,
    disk: SimDisk,
    options: EngineOptions,
    index: Index,
    oracle: Oracle,
    random: Random,
    engine: Option<Engine>,
}

impl Machine {
    fn new(seed: u64, durability: Durability, index: Index) -> Self {
        let dir = tempdir().unwrap();
        let data_dir = dir.path().join("data");
        let disk = SimDisk::new(&data_dir);
        let mut options = options(&data_dir);
        options.durability = durability;
        options.large_blob_bytes = 8 << 10;
        if index == Index::Impossible {
            std::fs::create_dir(&data_dir).unwrap();
            std::fs::write(data_dir.join("index"), b"no directory").unwrap();
        }
        let oracle = Oracle::new(durability == Durability::Sync);
        let random = Random::new(seed);
        Self { dir, disk, options, index, oracle, random, engine: None }
    }

    fn open(&mut self) -> &Engine {
        let engine = Engine::open(self.options.clone(), Arc::new(self.disk.clone()));
        let engine = engine.unwrap_or_else(|error| panic!("{error:?}"));
        engine.wait_loaded();
        self.engine.insert(engine)
    }

    fn take(&mut self, step: Step) -> bool {
        self.oracle.take(self.engine.as_ref().unwrap(), step)
    }

    /// Ends the engine as it ends when it is asked to, and begins again.
    fn restart(&mut self) {
        self.engine = None;
        self.open();
        self.oracle.reopened(self.engine.as_ref().unwrap(), None);
    }

    /// Ends the engine at once: nothing that it does from here on reaches the disk.
    fn crash(&mut self, cut: PowerCut) {
        self.disk.plan(Plan::DiesAt(0));
        self.engine = None;
        self.disk.crash(cut, &mut self.random);
        if self.index == Index::Lost {
            let _ = std::fs::remove_dir_all(self.dir.path().join("data/index"));
        }
        self.open();
        self.oracle.reopened(self.engine.as_ref().unwrap(), Some(cut));
    }
}

/// Each kind of change once and more.
fn fixed_steps() -> Vec<Step> {
    use Subject::{Large, Result, Small};
    vec![
        Step::Put(Small(3), 0),
        Step::Put(Result(0), 1_400),
        Step::Put(Large(0), 0),
        Step::Put(Result(0), 700),
        Step::Put(Large(1), 0),
        Step::Remove(Small(3)),
        Step::Put(Small(7), 0),
        Step::Remove(Large(0)),
        Step::Put(Small(3), 0),
        Step::Put(Large(0), 0),
        Step::Remove(Result(0)),
        Step::Put(Result(0), 1_100),
        Step::PurgeResults,
        Step::Put(Result(0), 900),
    ]
}

const MODES: [Durability; 2] = [Durability::Sync, Durability::Interval(NEVER)];

#[test]
fn a_crash_at_every_change_leaves_what_was_promised() {
    let mut crashes = 0;
    for durability in MODES {
        for cut in PowerCut::ALL {
            let mut dies_at = 0;
            loop {
                let mut machine = Machine::new(dies_at, durability, Index::Impossible);
                machine.disk.plan(Plan::DiesAt(dies_at));
                let io: Arc<dyn larder_disk::Io> = Arc::new(machine.disk.clone());
                // The first start is a sequence of changes too.
                machine.engine = Engine::open(machine.options.clone(), io).ok();
                if machine.engine.is_some() {
                    for step in fixed_steps() {
                        machine.take(step);
                    }
                }
                let is_through = machine.disk.changes() <= dies_at;
                machine.crash(cut);
                crashes += 1;
                // And nothing is worse after a second one.
                machine.take(Step::Put(Subject::Small(5), 0));
                machine.crash(cut);
                if is_through {
                    break;
                }
                dies_at += 1;
            }
        }
    }
    assert!(crashes > 300, "only {crashes} crashes: the disk is not asked for much");
}

#[test]
fn every_error_at_every_call_leaves_the_store_whole_and_passes() {
    for durability in MODES {
        for errno in [ENOSPC, EDQUOT, EMFILE, ENFILE, EROFS, EIO] {
            expect_to_pass(durability, errno, 1);
        }
        // What is to mend the first fails with it.
        for times in 2..=4 {
            expect_to_pass(durability, EIO, times);
        }
    }
}

/// Lets so many changes fail from each one on.
fn expect_to_pass(durability: Durability, errno: i32, times: u32) {
    let mut fails_at = 0;
    loop {
        let mut machine = Machine::new(fails_at, durability, Index::Impossible);
        machine.open();
        if matches!(errno, ENOSPC | EDQUOT) {
            machine.oracle.allow_eviction();
        }
        machine.disk.plan(Plan::FailsTimes(fails_at, errno, times));
        for step in fixed_steps() {
            machine.take(step);
        }
        let is_through = machine.disk.changes() <= fails_at;
        machine.disk.plan(Plan::Works);
        let refuses = machine.engine.as_ref().unwrap().usage().writes_refused;
        // A sync that failed is the one thing that does not pass.
        assert!(!refuses || errno == EIO, "{errno} at {fails_at}");
        let passed = machine.take(Step::Put(Subject::Result(3), 900));
        assert_eq!(passed, !refuses, "{errno} at {fails_at}");
        let engine = machine.engine.as_ref().unwrap();
        machine.oracle.look_at_all(engine);
        let cuts = [PowerCut::KeepsAll, PowerCut::Scatters];
        machine.crash(cuts[usize::try_from(fails_at).unwrap() % 2]);
        if is_through {
            break;
        }
        fails_at += 1;
    }
}

#[test]
fn a_disk_that_is_smaller_than_the_limit_is_used_to_its_end_and_goes_on() {
    for durability in MODES {
        let mut machine = Machine::new(1, durability, Index::Impossible);
        machine.disk.set_capacity(3 << 20);
        machine.open();
        let engine = machine.engine.as_ref().unwrap();
        let mut last = None;
        for seed in 0..60 {
            // Some in packs, some in files of their own; all of them together are six times the disk.
            let length = if seed % 3 == 0 { 300_000 } else { 7_000 };
            let content = noise(seed, length);
            put(engine, &blob_key(&content), &content)
                .unwrap_or_else(|error| panic!("{seed}: {error:?}"));
            last = Some(content);
        }
        let usage = engine.usage();
        assert!(usage.full_disk_evictions > 0 && usage.evictions > 0, "{usage:?}");
        assert!(!usage.writes_refused);
        assert!(machine.disk.used_bytes() <= 3 << 20);
        let content = last.unwrap();
        let key = blob_key(&content);
        assert!(crate::support::get(engine, &key).unwrap() == Some(content));
        machine.engine = None;
        let usage = machine.open().usage();
        assert_eq!(
            usage.stored_bytes + usage.dead_bytes,
            machine.disk.used_bytes() as u64 - LAYOUT_BYTES
        );
    }
}

/// `LAYOUT`, which is no part of the usage.
const LAYOUT_BYTES: u64 = 31;

#[test]
fn a_disk_on_which_eviction_does_not_help_costs_little_of_the_store() {
    let mut machine = Machine::new(1, Durability::Sync, Index::Impossible);
    machine.open();
    let engine = machine.engine.as_ref().unwrap();
    let contents: Vec<_> = (0..40).map(|seed| noise(seed, 200_000)).collect();
    for content in &contents {
        put(engine, &blob_key(content), content).unwrap();
    }
    // Not a byte more, whatever is removed.
    machine.disk.plan(Plan::FailsFrom(0, ENOSPC));
    for seed in 100..103 {
        let content = noise(seed, 100);
        let error = put(engine, &blob_key(&content), &content).unwrap_err();
        assert_eq!(error.class(), DiskErrorClass::Capacity);
    }
    let left = contents.iter().filter(|content| engine.contains(&blob_key(content))).count();
    assert!((30..40).contains(&left), "{left} of 40 are left");
}

fn random_run(seed: u64) {
    let mut random = Random::new(seed ^ 0x5EED);
    let durability = random.one_of(&MODES);
    let index = match random.below(8) {
        0 => Index::Kept,
        1 => Index::Lost,
        _ => Index::Impossible,
    };
    let mut machine = Machine::new(seed, durability, index);
    machine.open();
    for _ in 0..=random.below(5) {
        let at = random.below(60) as u64;
        let times = random.one_of(&[1, 2, 3, 4]);
        let plan = match random.below(6) {
            0 => Plan::FailsTimes(at, random.one_of(&[EMFILE, EROFS, EIO]), times),
            1 => Plan::FailsFrom(at, random.one_of(&[EMFILE, EROFS, EIO])),
            2 => Plan::FailsAt(at, ENOSPC),
            3 => Plan::Works,
            _ => Plan::DiesAt(at),
        };
        if matches!(plan, Plan::FailsAt(_, ENOSPC)) {
            machine.oracle.allow_eviction();
        }
        machine.disk.plan(plan);
        for _ in 0..random.below(30) {
            machine.take(Step::any(&mut random));
        }
        let is_dying = matches!(plan, Plan::DiesAt(_));
        if !is_dying {
            machine.disk.plan(Plan::Works);
            for _ in 0..random.below(6) {
                machine.take(Step::any(&mut random));
            }
            machine.oracle.look_at_all(machine.engine.as_ref().unwrap());
        }
        let refuses = machine.engine.as_ref().unwrap().usage().writes_refused;
        if !is_dying && !refuses && random.below(3) == 0 {
            machine.restart();
        } else {
            machine.crash(random.one_of(&PowerCut::ALL));
        }
    }
    // Rot comes last: what it takes is no longer the oracle's to know.
    if random.below(4) == 0 {
        for _ in 0..=random.below(4) {
            machine.disk.rot(&mut random);
        }
        if random.below(2) == 0 {
            machine.disk.plan(Plan::DiesAt(0));
            machine.engine = None;
            machine.disk.crash(PowerCut::KeepsAll, &mut random);
            machine.open();
        }
        Oracle::heal(machine.engine.as_ref().unwrap());
    }
}

#[test]
fn random_workloads_agree_with_the_oracle() {
    let (first, count) = (setting("LARDER_SIM_FIRST", 0), setting("LARDER_SIM_SEEDS", SEEDS));
    for seed in first..first + count {
        let run = catch_unwind(AssertUnwindSafe(|| random_run(seed)));
        assert!(
            run.is_ok(),
            "seed {seed} failed; again with LARDER_SIM_FIRST={seed} LARDER_SIM_SEEDS=1"
        );
    }
}

#[expect(clippy::disallowed_methods, reason = "how a person asks a test for more")]
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}
