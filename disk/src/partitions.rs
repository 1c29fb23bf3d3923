//! [`Partitions`]: small numbers for (kind, digest function, keyspace), so that an index entry need not carry a name.
//!
//! There are at most 65,535, and a number is never given back: the index keeps them over restarts, also those under which nothing is
//! stored any more. Only where the index is made anew from the log are they given out anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

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

/// All partitions that have been seen. Looking one up takes no lock.
#[derive(Default, Debug)]
pub(crate) struct Partitions {
    /// By keyspace; a row has a number for each kind and digest function.
    rows: papaya::HashMap<Keyspace, Arc<Row>>,
    /// By number. Guards list operations; who adds a partition holds it until `rows` says so too.
    list: RwLock<Vec<Partition>>,
}

/// The numbers of one keyspace's partitions, each one more than it is; 0 for none.
#[derive(Default, Debug)]
struct Row([AtomicU16; 2 * DigestFunction::ALL.len()]);

impl Row {
    fn number(&self, kind: RecordKind, function: DigestFunction) -> Option<u16> {
        self.0[column(kind, function)].load(Ordering::Acquire).checked_sub(1)
    }
}

impl Partitions {
    pub(crate) const LIMIT: usize = u16::MAX as usize;

    /// The number of a key's partition, if there has been a record in it.
    pub(crate) fn number(&self, key: &RecordKey) -> Option<u16> {
        self.number_of(key.kind(), key.function(), key.keyspace())
    }

    /// The number of a partition, if there has been a record in it.
    pub(crate) fn number_of(
        &self,
        kind: RecordKind,
        function: DigestFunction,
        keyspace: &Keyspace,
    ) -> Option<u16> {
        self.rows.pin().get(keyspace)?.number(kind, function)
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
        let mut list = self.list.write();
        let Partition { kind, function, keyspace } = &partition;
        if let Some(known) = self.number_of(*kind, *function, keyspace) {
            return Some(known);
        }
        let next = u16::try_from(list.len() + 1).ok()?;
        let rows = self.rows.pin();
        let row = rows.get_or_insert_with(partition.keyspace.clone(), Arc::default);
        row.0[column(partition.kind, partition.function)].store(next, Ordering::Release);
        list.push(partition);
        Some(next - 1)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u16 {
        u16::try_from(self.list.read().len()).unwrap_or(u16::MAX)
    }

    /// What the partitions hold, by number.
    pub(crate) fn kinds(&self) -> Vec<RecordKind> {
        self.list.read().iter().map(|partition| partition.kind).collect()
    }

    /// What a number stands for.
    pub(crate) fn get(&self, number: u16) -> Option<Partition> {
        self.list.read().get(usize::from(number)).cloned()
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
        let rows = partitions.rows.len();
        assert_eq!(push(Partitions::LIMIT), None);
        assert_eq!(partitions.rows.len(), rows, "a name that is refused takes no memory");
        assert_eq!(push(7), Some(7));
    }
}
