//! [`Oracle`]: puts things into a server from several connections at once, remembers what was acknowledged, and holds the
//! server to it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use sha2::{Digest as _, Sha256};

use crate::error::{CompatError, Unmet};
use crate::http::Connection;
use crate::process;

const WRITERS: u64 = 4;
/// Small ones are in packs, large ones have files of their own.
const LARGE_BYTES: usize = 1_200_000;

/// What must be there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Promise {
    /// Whatever was acknowledged.
    Acknowledged,
    /// What was acknowledged before the last [`Oracle::settle`].
    Settled,
    /// Nothing; but what is there is right.
    Nothing,
}

/// What a client knows of a name.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// The newest version that was sent; a blob has only the first.
    tried: u64,
    acknowledged: u64,
    settled: u64,
}

/// A name on the server.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Name {
    Blob(u64),
    /// A value that is replaced again and again.
    Value(u64),
}

/// What was sent and what was acknowledged.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    known: BTreeMap<Name, Known>,
    next: u64,
    /// How many of each status code there were in all loads.
    pub(super) codes: BTreeMap<u16, u32>,
}

/// What a writer did.
#[derive(Default)]
struct Written {
    known: BTreeMap<Name, Known>,
    codes: BTreeMap<u16, u32>,
}

impl Oracle {
    /// Puts things until the server is gone or `until` says so, which is told how many were acknowledged.
    pub(super) fn load(
        &mut self,
        address: SocketAddr,
        mut until: impl FnMut(u32) -> Result<bool, CompatError>,
    ) -> Result<(), CompatError> {
        let (acknowledged, is_over) = (AtomicU32::new(0), AtomicBool::new(false));
        let mut result = Ok(());
        let known = &self.known;
        let begin = self.next;
        let written: Vec<Written> = thread::scope(|scope| {
            let (acknowledged, is_over) = (&acknowledged, &is_over);
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let values: BTreeMap<_, _> = known
                        .iter()
                        .filter(
                            |(name, _)| matches!(name, Name::Value(of) if of % WRITERS == writer),
                        )
                        .map(|(name, known)| (*name, *known))
                        .collect();
                    let mut written = Written { known: values, ..Written::default() };
                    scope.spawn(move || {
                        write(address, &mut written, begin + writer, acknowledged, is_over);
                        written
                    })
                })
                .collect();
            while !writers.iter().all(thread::ScopedJoinHandle::is_finished) {
                match until(acknowledged.load(Ordering::Relaxed)) {
                    Ok(false) => process::pause(),
                    ended => {
                        result = ended.map(drop);
                        is_over.store(true, Ordering::Relaxed);
                        break;
                    }
                }
            }
            writers
                .into_iter()
                .map(|writer| writer.join().expect("a writer does not panic"))
                .collect()
        });
        for Written { known, codes } in written {
            let last = known.keys().filter_map(|name| match name {
                Name::Blob(seed) => Some(*seed),
                Name::Value(_) => None,
            });
            self.next = self.next.max(last.max().map_or(0, |last| last + WRITERS));
            self.known.extend(known);
            for (code, count) in codes {
                *self.codes.entry(code).or_default() += count;
            }
        }
        self.next = self.next.div_ceil(WRITERS) * WRITERS;
        result
    }

    /// How many names were acknowledged so far.
    pub(super) fn acknowledged(&self) -> usize {
        self.known.values().filter(|known| known.acknowledged > 0).count()
    }

    /// What is acknowledged now has since been synced.
    pub(super) fn settle(&mut self) {
        for known in self.known.values_mut() {
            known.settled = known.acknowledged;
        }
    }

    /// Reads everything, and says what is not as promised. What is there then must stay.
    pub(super) fn verify(
        &mut self,
        address: SocketAddr,
        promise: Promise,
    ) -> Result<Vec<Unmet>, CompatError> {
        let mut connection = Connection::open(address).map_err(CompatError::call("connect"))?;
        let mut unmet = Vec::new();
        for (name, known) in &mut self.known {
            let least = match promise {
                Promise::Acknowledged => known.acknowledged,
                Promise::Settled => known.settled,
                Promise::Nothing => 0,
            };
            let answer = connection.get(&name.path()).map_err(CompatError::call("GET"))?;
            let found = match answer.code {
                200 => name.version_of(&answer.body),
                404 => Some(0),
                _ => None,
            };
            match found {
                Some(version) if (least..=known.tried).contains(&version) => {
                    // What was refused may still turn up after a restart.
                    *known = Known { acknowledged: version, settled: version, ..*known };
                }
                found => unmet.push(Unmet::new(format!(
                    "expected {name:?} as of {least} to {}, got {found:?} ({}, {} B)",
                    known.tried,
                    answer.code,
                    answer.body.len()
                ))),
            }
        }
        Ok(unmet)
    }
}

/// One writer's work: blobs of its own, and in between new versions of its values.
fn write(
    address: SocketAddr,
    written: &mut Written,
    first: u64,
    acknowledged: &AtomicU32,
    is_over: &AtomicBool,
) {
    let Ok(mut connection) = Connection::open(address) else { return };
    let mut seed = first;
    while !is_over.load(Ordering::Relaxed) {
        let value = Name::Value(first % WRITERS + WRITERS * (seed / WRITERS % 8));
        for name in [Name::Blob(seed), value] {
            let known = written.known.entry(name).or_default();
            known.tried += 1;
            let version = known.tried;
            let Ok(answer) = connection.put(&name.path(), &name.content(version)) else { return };
            *written.codes.entry(answer.code).or_default() += 1;
            if answer.code == 200 {
                known.acknowledged = version;
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
        }
        seed += WRITERS;
    }
}

impl Name {
    fn path(self) -> String {
        match self {
            Self::Blob(_) => {
                format!("/cas/{}", faster_hex::hex_string(&Sha256::digest(self.content(1))))
            }
            Self::Value(name) => format!("/kv/oracle/{name}"),
        }
    }

    fn content(self, version: u64) -> Vec<u8> {
        match self {
            Self::Blob(seed) => {
                let length = if seed % 16 == 5 {
                    LARGE_BYTES + usize::try_from(seed % 1_000).unwrap_or_default()
                } else {
                    100 + usize::try_from(seed * 7_919 % 20_000).unwrap_or_default()
                };
                noise(seed, length)
            }
            Self::Value(name) => {
                let mut content = version.to_le_bytes().to_vec();
                let length = usize::try_from(version * 613 % 3_000).unwrap_or_default();
                content.extend(noise(name ^ version << 20, length));
                content
            }
        }
    }

    /// Which version a body is; `None` for one that was never sent.
    fn version_of(self, body: &[u8]) -> Option<u64> {
        let version = match self {
            Self::Blob(_) => 1,
            Self::Value(_) => u64::from_le_bytes(*body.first_chunk()?),
        };
        (body == self.content(version)).then_some(version)
    }
}

/// Bytes that do not shrink, the same for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
