//! What the machine can do, measured in the same run as the servers: each [`Limit`] without any server around it.

mod compute;
mod disk;
mod network;
mod stopwatch;

use std::path::Path;

use serde::Serialize;

use crate::error::BenchError;
use crate::load::Measured;

/// One thing that every server needs of the machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Limit {
    /// Bytes over loopback TCP: what the sender takes.
    TcpSend,
    /// The same: what the receiver takes.
    TcpReceive,
    /// A small request read and 2 KiB answered, one system call each, 64 requests under way.
    TcpExchange,
    /// Copying memory that is in no cache.
    Memcpy,
    Sha256,
    Crc32c,
    /// Compressing text at level 1.
    ZstdIn,
    /// Decoding it, a decoded byte.
    ZstdOut,
    /// `pread` of what the page cache has.
    PageCacheRead,
    /// New files of 64 MiB, each written in sequence and synced at its end.
    FileWrite,
    /// Appends of 4 KiB to one file, an fdatasync for each 64.
    SegmentAppend,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Per {
    Operation,
    Byte,
    WireByte,
}

/// A part of what the machine alone would take for an operation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Term(pub(crate) Limit, pub(crate) Per);

/// What one unit of a limit takes: an operation or a byte.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Cost {
    pub(crate) cpu_s: f64,
    pub(crate) wall_s: f64,
}

/// All of them, as measured in this run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Limits(pub(crate) Vec<(Limit, Cost)>);

impl Limit {
    pub(crate) const ALL: [Self; 11] = [
        Self::TcpSend,
        Self::TcpReceive,
        Self::TcpExchange,
        Self::Memcpy,
        Self::Sha256,
        Self::Crc32c,
        Self::ZstdIn,
        Self::ZstdOut,
        Self::PageCacheRead,
        Self::FileWrite,
        Self::SegmentAppend,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::TcpSend => "loopback TCP, send",
            Self::TcpReceive => "loopback TCP, receive",
            Self::TcpExchange => "TCP exchange, 2 KiB",
            Self::Memcpy => "memcpy",
            Self::Sha256 => "SHA-256",
            Self::Crc32c => "CRC32C",
            Self::ZstdIn => "zstd level 1, in",
            Self::ZstdOut => "zstd level 1, out",
            Self::PageCacheRead => "page cache read",
            Self::FileWrite => "file write + fdatasync",
            Self::SegmentAppend => "append 4 KiB, sync a 64",
        }
    }

    /// Whether its unit is a byte.
    pub(crate) fn is_per_byte(self) -> bool {
        !matches!(self, Self::TcpExchange | Self::SegmentAppend)
    }
}

impl Limits {
    /// Measures each for half a second or so, writing for some more; files go to `scratch`, 1 GiB at most, and are removed.
    pub(crate) fn measure(scratch: &Path, mut tell: impl FnMut(Limit)) -> Result<Self, BenchError> {
        let mut measured = Vec::new();
        for limit in Limit::ALL {
            tell(limit);
            let cost = limit.measure(scratch);
            let cost = cost.map_err(|source| BenchError::Limit { limit: limit.name(), source })?;
            measured.push((limit, cost));
        }
        Ok(Self(measured))
    }

    /// What the machine alone would take for an operation of what was measured; `None` where nothing bounds it.
    pub(crate) fn bound(&self, terms: &[Term], measured: &Measured) -> Option<Cost> {
        let mut sum = Cost { cpu_s: 0.0, wall_s: 0.0 };
        for Term(limit, per) in terms {
            let (_, cost) = self.0.iter().find(|(measured, _)| measured == limit)?;
            let count = match per {
                Per::Operation => 1.0,
                Per::Byte => measured.bytes_each(),
                Per::WireByte => measured.wire_bytes_each(),
            };
            sum.cpu_s += cost.cpu_s * count;
            sum.wall_s += cost.wall_s * count;
        }
        (sum.cpu_s > 0.0).then_some(sum)
    }
}

impl Limit {
    fn measure(self, scratch: &Path) -> std::io::Result<Cost> {
        match self {
            Self::TcpSend => network::stream(network::Side::Sender),
            Self::TcpReceive => network::stream(network::Side::Receiver),
            Self::TcpExchange => network::exchange(),
            Self::Memcpy => compute::memcpy(),
            Self::Sha256 => compute::sha256(),
            Self::Crc32c => compute::crc32c(),
            Self::ZstdIn => compute::zstd_in(),
            Self::ZstdOut => compute::zstd_out(),
            Self::PageCacheRead => disk::page_cache_read(scratch),
            Self::FileWrite => disk::file_write(scratch),
            Self::SegmentAppend => disk::segment_append(scratch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Moved;

    #[test]
    fn a_bound_is_the_sum_of_its_terms() {
        let cost = |cpu_s, wall_s| Cost { cpu_s, wall_s };
        let limits =
            Limits(vec![(Limit::TcpExchange, cost(5.0, 7.0)), (Limit::TcpSend, cost(0.5, 1.0))]);
        let moved = Moved { bytes: 40, wire_bytes: 20 };
        let measured = Measured { operations: 2, moved, ..Measured::default() };
        let check = |terms: &[Term], expect: Option<Cost>| {
            assert_eq!(limits.bound(terms, &measured), expect, "{terms:?}");
        };
        check(&[Term(Limit::TcpExchange, Per::Operation)], Some(cost(5.0, 7.0)));
        check(&[Term(Limit::TcpSend, Per::Byte)], Some(cost(10.0, 20.0)));
        let both = [Term(Limit::TcpExchange, Per::Operation), Term(Limit::TcpSend, Per::WireByte)];
        check(&both, Some(cost(10.0, 17.0)));
        check(&[], None);
        check(&[Term(Limit::Memcpy, Per::Byte)], None);
    }
}
