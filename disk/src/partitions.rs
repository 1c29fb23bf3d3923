//! [`Partitions`]: small numbers for (kind, digest function, keyspace), so that an index entry need not carry a name.
//!
//! Numbers are never given back while the engine is open, and there are at most 65,535.

use std::collections::HashMap;

use larder_protos::DigestFunction;
use parking_lot::RwLock;

use crate::error::DiskError;
use crate::key::{Keyspace, RecordKey, RecordKind};

/// What a partition's number stands for.
#[derive(Clone, Eq, PartialEq, Hash, Debug)]
pub(crate) struct Partition {
    pub(crate) kind: RecordKind,
    pub(crate) function: DigestFunction,
    pub(crate) keyspace: Keyspace,
}

impl Partition {
    fn of(key: &RecordKey) -> Self {
        Self { kind: key.kind(), function: key.function(), keyspace: key.keyspace().clone() }
    }
}

/// All partitions that have been seen.
#[derive(Default, Debug)]
pub(crate) struct Partitions {
    /// Guards two map operations; written once per new partition.
    state: RwLock<State>,
}

#[derive(Default, Debug)]
struct State {
    /// By keyspace; a row has a number for each kind and digest function.
    rows: HashMap<Keyspace, Row>,
    list: Vec<Partition>,
}

type Row = [Option<u16>; 2 * DigestFunction::ALL.len()];

impl Partitions {
    pub(crate) const LIMIT: usize = u16::MAX as usize;

    /// The number of a key's partition, if there has been a record in it. `contains` pays for this each time.
    pub(crate) fn number(&self, key: &RecordKey) -> Option<u16> {
        self.state.read().rows.get(key.keyspace())?[column(key.kind(), key.function())]
    }

    /// The number of a key's partition, a new one if need be.
    pub(crate) fn intern(&self, key: &RecordKey) -> Result<u16, DiskError> {
        match self.number(key) {
            Some(number) => Ok(number),
            None => self
                .push(Partition::of(key))
                .ok_or(DiskError::TooManyPartitions { limit: Self::LIMIT }),
        }
    }

    /// Adds a partition, unless it is there; `None` when all numbers are taken.
    pub(crate) fn push(&self, partition: Partition) -> Option<u16> {
        let mut state = self.state.write();
        let column = column(partition.kind, partition.function);
        let known = state.rows.get(&partition.keyspace).and_then(|row| row[column]);
        if known.is_some() {
            return known;
        }
        let number = u16::try_from(state.list.len()).ok().filter(|number| *number < u16::MAX)?;
        state.rows.entry(partition.keyspace.clone()).or_default()[column] = Some(number);
        state.list.push(partition);
        Some(number)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u16 {
        u16::try_from(self.state.read().list.len()).unwrap_or(u16::MAX)
    }

    /// What a number stands for.
    pub(crate) fn get(&self, number: u16) -> Option<Partition> {
        self.state.read().list.get(usize::from(number)).cloned()
    }
}

fn column(kind: RecordKind, function: DigestFunction) -> usize {
    let kinds = match kind {
        RecordKind::Blob => 0,
        RecordKind::ActionResult => 1,
    };
    kinds * DigestFunction::ALL.len() + function as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(name: &str, kind: RecordKind, function: DigestFunction) -> Partition {
        Partition { kind, function, keyspace: Keyspace::new(name).unwrap() }
    }

    #[test]
    fn each_partition_has_its_number_and_keeps_it() {
        let partitions = Partitions::default();
        let mut expected = 0;
        for name in ["", "a", "b"] {
            for kind in [RecordKind::Blob, RecordKind::ActionResult] {
                for function in DigestFunction::ALL {
                    let partition = partition(name, kind, function);
                    assert_eq!(partitions.push(partition.clone()), Some(expected));
                    assert_eq!(partitions.push(partition.clone()), Some(expected));
                    assert_eq!(partitions.get(expected), Some(partition));
                    expected += 1;
                }
            }
        }
        assert_eq!(partitions.count(), expected);
    }

    #[test]
    fn numbers_end_at_the_limit() {
        let partitions = Partitions::default();
        let push = |number: usize| {
            let name = number.to_string();
            partitions.push(partition(&name, RecordKind::Blob, DigestFunction::Sha256))
        };
        for number in 0..Partitions::LIMIT {
            assert_eq!(push(number).map(usize::from), Some(number));
        }
        assert_eq!(push(Partitions::LIMIT), None);
        assert_eq!(push(7), Some(7));
    }
}
