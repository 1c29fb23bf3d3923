//! [`Kind`]: the scenarios by name, and what is planned for each: how much at a time, counted in what, bound by what.

use std::fmt;

use clap::ValueEnum;
use larder_protos::Compressor;
use serde::{Serialize, Serializer};

use super::Scenario;
use super::action::{GetResult, Shape, UpdateResult};
use super::batch::{self, BatchRead, BatchUpdate};
use super::find::{self, Find};
use super::http::HttpGet;
use super::large_read::LargeRead;
use super::large_write::LargeWrite;
use super::mixed::{Entries, Mixed};
use super::resident::{Blob, Resident, SMALL_BYTES};
use super::session::Replay;
use super::small_read::{Cold, Hot};
use super::small_write::SmallWrite;
use crate::blobs::Content;
use crate::error::CallError;
use crate::limits::Limit::{
    FileWrite, PageCacheRead, SegmentAppend, Sha256, TcpExchange, TcpReceive, TcpSend, ZstdIn,
    ZstdOut,
};
use crate::limits::Per::{Byte, Operation, WireByte};
use crate::limits::Term;
use crate::session::Session;

const DURABLE_BYTES: usize = 4 << 10;
/// Within these lie the salt of a run, which is a time in microseconds, and the numbers of a scenario's operations.
const SALT_BITS: u32 = 56;
/// The seed of large blobs that are read.
const LARGE_SEED: u64 = 1 << 41;

/// One scenario.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Kind {
    /// `ByteStream.Read` of one large blob that does not compress
    ReadLarge,
    /// `ByteStream.Read` of one large compressible blob by a client that takes zstd
    ReadLargeZstd,
    /// `ByteStream.Read` of the same by a client that does not
    ReadLargeDecoded,
    /// `ByteStream.Read` of 2 KiB, a thousand blobs over and over
    ReadSmall,
    /// `ByteStream.Read` of 2 KiB, each of --cold-blobs once
    ReadSmallCold,
    /// `ByteStream.Write` of new blobs of 2 KiB
    WriteSmall,
    /// `ByteStream.Write` of new blobs of 4 KiB: for servers that sync before they answer
    WriteDurable,
    /// `ByteStream.Write` of large blobs that do not compress
    WriteLarge,
    /// `ByteStream.Write` of large compressible blobs
    WriteLargeText,
    /// `ByteStream.Write` of the same by a client that sends zstd
    WriteLargeZstd,
    /// `FindMissingBlobs` of 1,000 blobs that are there, out of --entries
    FindMissing,
    /// `BatchReadBlobs` of 100 blobs of 2 KiB
    BatchRead,
    /// `BatchUpdateBlobs` of 100 new blobs of 2 KiB
    BatchUpdate,
    /// `GetActionResult` that hits, with ten outputs
    GetResult,
    /// `GetActionResult` that hits, with a tree of a thousand files
    GetResultTree,
    /// `UpdateActionResult` of new results with ten outputs
    UpdateResult,
    /// GET of 2 KiB over HTTP/1.1
    HttpGetSmall,
    /// GET of a large blob over HTTP/1.1
    HttpGetLarge,
    /// A session of a build, replayed
    Session,
    /// Results, questions, reads and writes over a store of --entries
    Mixed,
}

/// What a run makes scenarios of.
#[derive(Clone, Debug)]
pub(crate) struct Sizes {
    pub(crate) large_bytes: usize,
    pub(crate) cold_blobs: u64,
    pub(crate) entries: u64,
    pub(crate) working_set: u64,
    pub(crate) session: Session,
    /// What is new in a run is made from here on.
    pub(crate) salt: u64,
}

/// How a scenario is run unless the command line says otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Operations under way at a time.
    pub(crate) in_flight: usize,
    /// In one round, whatever time is left: what keeps disks from filling.
    pub(crate) most_operations: u64,
    pub(crate) unit: Unit,
    pub(crate) connections: &'static [usize],
    /// What the machine alone would take.
    pub(crate) bound: &'static [Term],
}

/// What costs are divided by.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Unit {
    pub(crate) name: &'static str,
    pub(crate) in_operation: u64,
}

const CALL: Unit = Unit { name: "call", in_operation: 1 };

/// Many small operations at a time, over one connection.
const SMALL: Plan = Plan {
    in_flight: 64,
    most_operations: 5_000_000,
    unit: CALL,
    connections: &[1],
    bound: &[Term(TcpExchange, Operation)],
};

const LARGE_READ: Plan = Plan { in_flight: 4, bound: &[Term(TcpSend, WireByte)], ..SMALL };

/// Two GiB a round.
const LARGE_WRITE: Plan = Plan { in_flight: 4, most_operations: 32, ..SMALL };

impl fmt::Display for Kind {
    /// As on the command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Kind {
    pub(crate) fn plan(self) -> Plan {
        match self {
            Self::ReadLarge | Self::ReadLargeZstd | Self::HttpGetLarge => LARGE_READ,
            Self::ReadLargeDecoded => {
                Plan { bound: &[Term(TcpSend, WireByte), Term(ZstdOut, Byte)], ..LARGE_READ }
            }
            Self::ReadSmall
            | Self::HttpGetSmall
            | Self::GetResult
            | Self::GetResultTree
            | Self::UpdateResult => SMALL,
            Self::ReadSmallCold => {
                Plan { bound: &[Term(TcpExchange, Operation), Term(PageCacheRead, Byte)], ..SMALL }
            }
            Self::WriteSmall => Plan {
                bound: &[Term(TcpExchange, Operation), Term(Sha256, Byte), Term(FileWrite, Byte)],
                ..SMALL
            },
            Self::WriteDurable => Plan { bound: &[Term(SegmentAppend, Operation)], ..SMALL },
            Self::WriteLarge => Plan {
                bound: &[Term(TcpReceive, WireByte), Term(Sha256, Byte), Term(FileWrite, Byte)],
                ..LARGE_WRITE
            },
            Self::WriteLargeText => Plan {
                bound: &[Term(TcpReceive, WireByte), Term(Sha256, Byte), Term(ZstdIn, Byte)],
                ..LARGE_WRITE
            },
            Self::WriteLargeZstd => Plan {
                bound: &[
                    Term(TcpReceive, WireByte),
                    Term(ZstdOut, Byte),
                    Term(Sha256, Byte),
                    Term(FileWrite, WireByte),
                ],
                ..LARGE_WRITE
            },
            Self::FindMissing => Plan {
                in_flight: 16,
                unit: Unit { name: "digest", in_operation: find::DIGESTS },
                bound: &[Term(TcpExchange, Operation), Term(TcpReceive, WireByte)],
                ..SMALL
            },
            Self::BatchRead => Plan {
                in_flight: 16,
                unit: Unit { name: "blob", in_operation: batch::BLOBS },
                bound: &[Term(TcpExchange, Operation), Term(TcpSend, WireByte)],
                ..SMALL
            },
            Self::BatchUpdate => Plan {
                in_flight: 16,
                most_operations: 20_000,
                unit: Unit { name: "blob", in_operation: batch::BLOBS },
                bound: &[
                    Term(TcpExchange, Operation),
                    Term(TcpReceive, WireByte),
                    Term(Sha256, Byte),
                    Term(FileWrite, Byte),
                ],
                ..SMALL
            },
            Self::Session => Plan {
                unit: Unit { name: "action", in_operation: 1 },
                connections: &[1, 8, 64],
                bound: &[],
                ..SMALL
            },
            Self::Mixed => Plan { bound: &[], connections: &[8], ..SMALL },
        }
    }

    /// Where what is new in this scenario is made from: no other scenario of the run has stored it.
    fn salt(self, run: u64) -> u64 {
        run ^ (self as u64) << SALT_BITS
    }

    /// The scenario over a store of so many entries, where it is one of those that look at them.
    pub(crate) fn build(self, sizes: &Sizes, entries: u64) -> Result<Box<dyn Scenario>, CallError> {
        let large = |content| Blob::of(content, LARGE_SEED, sizes.large_bytes);
        let large_read = |content, compressor| Box::new(LargeRead::new(large(content), compressor));
        let large_write = |content, compressor| {
            LargeWrite::new(content, compressor, sizes.large_bytes, self.salt(sizes.salt))
                .map(Box::new)
        };
        let (entries, salt) = (Entries::new(entries), self.salt(sizes.salt));
        Ok(match self {
            Self::ReadLarge => large_read(Content::Noise, Compressor::Identity),
            Self::ReadLargeZstd => large_read(Content::Text, Compressor::Zstd),
            Self::ReadLargeDecoded => large_read(Content::Text, Compressor::Identity),
            Self::ReadSmall => Box::new(Hot::new()),
            Self::ReadSmallCold => Box::new(Cold::new(sizes.cold_blobs)),
            Self::WriteSmall => Box::new(SmallWrite { size_bytes: SMALL_BYTES, salt }),
            Self::WriteDurable => Box::new(SmallWrite { size_bytes: DURABLE_BYTES, salt }),
            Self::WriteLarge => large_write(Content::Noise, Compressor::Identity)?,
            Self::WriteLargeText => large_write(Content::Text, Compressor::Identity)?,
            Self::WriteLargeZstd => large_write(Content::Text, Compressor::Zstd)?,
            Self::FindMissing => Box::new(Find::new(entries)),
            Self::BatchRead => Box::new(BatchRead::new()),
            Self::BatchUpdate => Box::new(BatchUpdate { salt }),
            Self::GetResult => Box::new(GetResult::new(Shape::TenOutputs)),
            Self::GetResultTree => Box::new(GetResult::new(Shape::Tree)),
            Self::UpdateResult => Box::new(UpdateResult::new(salt)),
            Self::HttpGetSmall => Box::new(HttpGet { blobs: Resident::new().all().to_vec() }),
            Self::HttpGetLarge => Box::new(HttpGet { blobs: vec![large(Content::Noise)] }),
            Self::Session => Box::new(Replay::new(sizes.session.clone(), salt)),
            Self::Mixed => Box::new(Mixed { entries, working_set: sizes.working_set, salt }),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_scenario_finds_stored_what_another_has_stored() {
        // In the year 2040, and the last number of a sweep from a third number of connections, a hundred blobs each.
        let (run, last) = (2_208_988_800_000_000, 3 << 40);
        let spaces = Kind::value_variants().iter().map(|kind| {
            let [first, last] = [0, last * batch::BLOBS].map(|number| kind.salt(run) + number);
            assert_eq!(first >> SALT_BITS, last >> SALT_BITS, "{kind}");
            first >> SALT_BITS
        });
        let spaces: HashSet<u64> = spaces.collect();
        assert_eq!(spaces.len(), Kind::value_variants().len());
    }
}
