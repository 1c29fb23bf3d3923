//! [`Requests`]: a trace, made ready to be replayed many times.

use std::collections::HashMap;
use std::fmt;
use std::io::BufRead;

use larder_disk::eviction::trace::{TraceError, TraceOp, TraceReader};

/// One request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Request {
    pub(crate) now_s: u32,
    /// Index of the entry.
    pub(crate) entry: u32,
    pub(crate) kind: Kind,
}

/// What a request does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// Asks. Whoever misses stores the entry: in a request of its own when the recorded cache missed too, else here, since
    /// the trace then says nothing of it.
    Lookup { was_hit: bool },
    /// Stores what is not there.
    Store,
    /// Stores in place of what is there.
    Replace,
}

/// A trace in memory.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    pub(crate) requests: Vec<Request>,
    /// Bytes of each entry: the largest that the trace says; 0 when it never does.
    pub(crate) bytes: Vec<u64>,
}

/// What came of a replay.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Score {
    pub(crate) hits: u64,
    pub(crate) hit_bytes: u64,
}

impl Requests {
    /// Reads a whole trace.
    pub(crate) fn read(reader: &mut TraceReader<impl BufRead>) -> Result<Self, TraceError> {
        let mut read = Self::default();
        let mut entries: HashMap<u64, u32> = HashMap::new();
        for event in reader {
            let event = event?;
            let next = u32::try_from(entries.len()).unwrap_or(u32::MAX);
            let entry = *entries.entry(event.name).or_insert(next);
            if entry == next {
                read.bytes.push(0);
            }
            let bytes = &mut read.bytes[entry as usize];
            *bytes = event.bytes.max(*bytes);
            let kind = match event.op {
                TraceOp::Read | TraceOp::Find | TraceOp::Action => {
                    Kind::Lookup { was_hit: event.was_hit }
                }
                TraceOp::StoreBlob => Kind::Store,
                TraceOp::StoreAction => Kind::Replace,
            };
            let now_s = u32::try_from(event.unix_ms / 1_000).unwrap_or(u32::MAX);
            read.requests.push(Request { now_s, entry, kind });
        }
        Ok(read)
    }

    pub(crate) fn bytes_of(&self, request: &Request) -> u64 {
        self.bytes[request.entry as usize]
    }

    /// How many lookups there are, and the bytes they ask for.
    pub(crate) fn lookups(&self) -> Score {
        let mut all = Score::default();
        for request in self.requests.iter().filter(|it| it.kind.is_lookup()) {
            all.count(self.bytes_of(request));
        }
        all
    }
}

impl Kind {
    pub(crate) fn is_lookup(self) -> bool {
        matches!(self, Self::Lookup { .. })
    }

    /// Whether the entry is stored here unless it is there.
    pub(crate) fn stores(self) -> bool {
        self != Self::Lookup { was_hit: false }
    }
}

impl Score {
    pub(crate) fn count(&mut self, bytes: u64) {
        self.hits += 1;
        self.hit_bytes += bytes;
    }
}

impl fmt::Display for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: u64 = self.bytes.iter().sum();
        let (lookups, entries) = (self.lookups().hits, self.bytes.len());
        write!(f, "{lookups} lookups, {entries} entries of {} MiB", bytes >> 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_becomes_requests() {
        let trace = "larder-trace 1 5000\n0 a- a 0\n1000 sb b 70\n0 sa a 9\n0 r+ b 70\n";
        let mut reader = TraceReader::new(trace.as_bytes());
        let requests = Requests::read(&mut reader).unwrap();
        let request = |now_s, entry, kind| Request { now_s, entry, kind };
        let expect = [
            request(5, 0, Kind::Lookup { was_hit: false }),
            request(6, 1, Kind::Store),
            request(6, 0, Kind::Replace),
            request(6, 1, Kind::Lookup { was_hit: true }),
        ];
        assert_eq!(requests.requests, expect);
        assert_eq!(requests.bytes, [9, 70]);
        assert_eq!(requests.lookups(), Score { hits: 2, hit_bytes: 79 });
    }
}
