//! [`Oracle`]: what may be read of each key, now, after a kill and after a power cut.

use std::collections::BTreeMap;

use larder_disk::{
    DiskError, DiskErrorClass, Engine, GoOn, PurgeRule, PutOutcome, RecordKey, RecordKind,
};

use crate::random::Random;
use crate::sim_disk::PowerCut;
use crate::support::{action_key, blob_key, get, noise, prose, put};

/// What is stored under a name.
type Value = Option<Vec<u8>>;

/// A name that the workload uses.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
pub(crate) enum Subject {
    Small(usize),
    /// Has a file of its own.
    Large(usize),
    Result(usize),
}

/// What the workload does next.
#[derive(Copy, Clone, Debug)]
pub(crate) enum Step {
    /// The number picks the content of an action result.
    Put(Subject, u64),
    Remove(Subject),
    Get(Subject),
    /// All action results go.
    PurgeResults,
}

#[derive(Clone, Default, Debug)]
struct Slot {
    /// What a get must give while the engine lives.
    live: Value,
    /// What may be there after the process was killed.
    after_kill: Vec<Value>,
    /// What may be there after a power cut.
    after_cut: Vec<Value>,
    /// A blob's file that was neither wanted nor could be removed: until the next start cleans up it may turn up.
    may_linger: bool,
}

/// What the workload was told, and what follows from it.
#[derive(Debug)]
pub(crate) struct Oracle {
    slots: BTreeMap<Subject, Slot>,
    /// Whether an answer to a write outlives a power cut.
    syncs: bool,
    /// Whether records may go to make room.
    evicts: bool,
}

const SMALL: usize = 8;
const LARGE: usize = 3;
const RESULTS: usize = 4;

impl Step {
    pub(crate) fn any(random: &mut Random) -> Self {
        if random.below(24) == 0 {
            return Self::PurgeResults;
        }
        let subject = match random.below(8) {
            0..3 => Subject::Small(random.below(SMALL)),
            3..5 => Subject::Large(random.below(LARGE)),
            _ => Subject::Result(random.below(RESULTS)),
        };
        match random.below(8) {
            0 => Self::Remove(subject),
            1 => Self::Get(subject),
            _ => Self::Put(subject, random.next()),
        }
    }
}

impl Subject {
    fn key(self) -> RecordKey {
        match self {
            Self::Small(_) | Self::Large(_) => blob_key(&self.content(0)),
            Self::Result(name) => action_key(&name.to_string()),
        }
    }

    fn content(self, choice: u64) -> Vec<u8> {
        match self {
            Self::Small(seed) if seed % 2 == 0 => prose(seed as u64, seed * 900),
            Self::Small(seed) => noise(seed as u64, seed * 500),
            Self::Large(seed) => noise(seed as u64, 9_000 + seed * 5_000),
            // Some are longer than a sector, so that they can be torn.
            Self::Result(_) => noise(choice, 1 + usize::try_from(choice % 1_500).unwrap()),
        }
    }

    fn all() -> impl Iterator<Item = Self> {
        let small = (0..SMALL).map(Self::Small);
        small.chain((0..LARGE).map(Self::Large)).chain((0..RESULTS).map(Self::Result))
    }
}

impl Oracle {
    /// Of an empty directory.
    pub(crate) fn new(syncs: bool) -> Self {
        let empty = Slot { after_kill: vec![None], after_cut: vec![None], ..Slot::default() };
        let slots = Subject::all().map(|subject| (subject, empty.clone())).collect();
        Self { slots, syncs, evicts: false }
    }

    /// From here on records may have gone to make room.
    pub(crate) fn allow_eviction(&mut self) {
        self.evicts = true;
    }

    /// Takes a step and checks what can be checked at once; says whether it was acknowledged.
    pub(crate) fn take(&mut self, engine: &Engine, step: Step) -> bool {
        match step {
            Step::Put(subject, choice) => {
                let content = subject.content(choice);
                let done = store(engine, subject, &content);
                self.note(engine, subject, Some(content), done.is_ok());
                done.is_ok()
            }
            Step::Remove(subject) => {
                let done = engine.remove(&subject.key());
                // Where there was nothing, nothing is changed: what was refused before may still turn up.
                if !matches!(done, Ok(false)) {
                    self.note(engine, subject, None, done.is_ok());
                }
                done.is_ok()
            }
            Step::Get(subject) => {
                self.look(engine, subject);
                true
            }
            Step::PurgeResults => {
                let rule = PurgeRule {
                    partitions: Some(|_, kind| kind == RecordKind::ActionResult),
                    ..PurgeRule::default()
                };
                let done = engine.purge(&rule, &mut |_| GoOn::Yes);
                let is_done = done.is_ok_and(|purged| purged.skipped_records == 0);
                for subject in (0..RESULTS).map(Subject::Result) {
                    if self.slots[&subject].live.is_some() {
                        self.note(engine, subject, None, is_done);
                    }
                }
                is_done
            }
        }
    }

    fn note(&mut self, engine: &Engine, subject: Subject, value: Value, is_acknowledged: bool) {
        let syncs = self.syncs;
        let slot = self.slots.get_mut(&subject).unwrap();
        if is_acknowledged {
            slot.live.clone_from(&value);
            slot.after_kill.clear();
            if syncs {
                slot.after_cut.clear();
            }
        }
        slot.after_kill.push(value.clone());
        slot.after_cut.push(value.clone());
        if let Subject::Large(_) = subject {
            slot.may_linger |= !is_acknowledged;
            if slot.may_linger {
                slot.after_kill.push(Some(subject.content(0)));
                slot.after_cut.push(Some(subject.content(0)));
            }
        }
        if !is_acknowledged {
            // Refused, so it may have happened or not; now it shows which, and must stay so.
            let Some(seen) = read(engine, subject) else { return };
            let slot = &self.slots[&subject];
            let may_be = seen == slot.live || seen == value || (self.evicts && seen.is_none());
            assert!(may_be, "{subject:?}: {} after a refused change", shown(&seen));
            self.slots.get_mut(&subject).unwrap().live = seen;
        }
    }

    /// Reads a key of a running engine.
    fn look(&mut self, engine: &Engine, subject: Subject) {
        let Some(seen) = read(engine, subject) else { return };
        let evicts = self.evicts;
        let slot = self.slots.get_mut(&subject).unwrap();
        assert!(
            seen == slot.live || (evicts && seen.is_none()),
            "{subject:?}: {} instead of {}",
            shown(&seen),
            shown(&slot.live)
        );
        slot.live = seen;
    }

    /// Reads everything.
    pub(crate) fn look_at_all(&mut self, engine: &Engine) {
        for subject in Subject::all() {
            self.look(engine, subject);
        }
    }

    /// Checks an engine that was opened after a crash, or after a clean end (`None`); what it says is then the truth.
    pub(crate) fn reopened(&mut self, engine: &Engine, cut: Option<PowerCut>) {
        let mut present = 0;
        for subject in Subject::all() {
            let seen = read(engine, subject).unwrap();
            present += u64::from(seen.is_some());
            let slot = self.slots.get_mut(&subject).unwrap();
            let possible = match cut {
                None | Some(PowerCut::KeepsAll) => &slot.after_kill,
                Some(_) => &slot.after_cut,
            };
            // Of an action result that was replaced and not synced, the index may know the new place only, and the power cut
            // has taken that: then both are gone, which is a miss and no lie.
            let is_half_replaced = !self.syncs && possible.len() > 1;
            let may_be_gone = self.evicts || (is_half_replaced && cut != Some(PowerCut::KeepsAll));
            assert!(
                possible.contains(&seen) || (may_be_gone && seen.is_none()),
                "{subject:?}: {} after {cut:?}, not one of {:?}",
                shown(&seen),
                possible.iter().map(shown).collect::<Vec<_>>()
            );
            *slot = Slot {
                live: seen.clone(),
                after_kill: vec![seen.clone()],
                after_cut: vec![seen],
                may_linger: false,
            };
        }
        assert_eq!(engine.usage().records, present);
        self.evicts = false;
    }

    /// Checks an engine whose disk has rotted: each key gives something that was once stored under it, or is a miss after at
    /// most one error. `refill` heals.
    pub(crate) fn heal(engine: &Engine) {
        for subject in Subject::all() {
            match get(engine, &subject.key()) {
                Ok(Some(seen)) => {
                    let is_right = match subject {
                        Subject::Result(_) => true,
                        _ => seen == subject.content(0),
                    };
                    assert!(is_right, "{subject:?}: {} is wrong", shown(&Some(seen)));
                }
                Ok(None) => {}
                Err(_) => assert_eq!(get(engine, &subject.key()).unwrap(), None, "{subject:?}"),
            }
            let content = subject.content(7);
            store(engine, subject, &content).unwrap();
            assert!(get(engine, &subject.key()).unwrap() == Some(content), "{subject:?}");
        }
    }
}

fn store(engine: &Engine, subject: Subject, content: &[u8]) -> Result<PutOutcome, DiskError> {
    let key = subject.key();
    // One of them comes bit by bit, one as zstd besides.
    let zstd;
    let (mut writer, written) = match subject {
        Subject::Large(1) => (engine.create(&key)?, content),
        Subject::Large(2) => {
            zstd = zstd::bulk::compress(content, 1).unwrap();
            (engine.create_stream(&key)?, &zstd[..])
        }
        _ => return put(engine, &key, content),
    };
    for piece in written.chunks(4_000) {
        writer.write(piece)?;
    }
    writer.finish()
}

/// What is there; `contains` must say the same. `None` when there are no descriptors to tell.
fn read(engine: &Engine, subject: Subject) -> Option<Value> {
    let key = subject.key();
    let claimed = engine.contains(&key);
    let seen = match get(engine, &key) {
        Err(error) if error.class() == DiskErrorClass::Capacity => return None,
        seen => seen.unwrap_or_else(|error| panic!("{subject:?}: {error:?}")),
    };
    assert_eq!(claimed, seen.is_some(), "{subject:?}: claimed and not to be had, or the reverse");
    Some(seen)
}

fn shown(value: &Value) -> String {
    value.as_ref().map_or_else(
        || "nothing".to_owned(),
        |bytes| format!("{} B of {:02x?}", bytes.len(), &bytes[..bytes.len().min(4)]),
    )
}
