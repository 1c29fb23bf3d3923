//! [`Metrics`]: what the server under test counted, read from its admin port, so that a client's word is not the only one.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Every counter and gauge by its name and labels, as they are written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Asks for them now.
    pub(crate) fn fetch(admin: SocketAddr) -> io::Result<Self> {
        let mut stream = TcpStream::connect_timeout(&admin, ANSWER_LIMIT)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: larder\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8(answer).map_err(io::Error::other)?;
        if !answer.starts_with("HTTP/1.1 200") {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Self::parse(&answer))
    }

    /// A series and a number a line; comments and other lines are passed over.
    fn parse(text: &str) -> Self {
        let series = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.trim().parse().ok()?))
        };
        Self(text.lines().filter(|line| line.starts_with("larder_")).filter_map(series).collect())
    }

    /// How much each series grew since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let Self(now) = self;
        let grown = |(series, value): (&String, &f64)| {
            (series.clone(), value - earlier.0.get(series).unwrap_or(&0.0))
        };
        Self(now.iter().map(grown).collect())
    }

    /// Answered calls of a method such as `ByteStream/Read`, with whatever code.
    pub(crate) fn calls(&self, method: &str) -> u64 {
        self.sum("larder_rpcs_total{", &format!("method=\"{method}\""))
    }

    /// Action results that were there when they were asked for.
    pub(crate) fn action_hits(&self) -> u64 {
        self.sum("larder_action_lookups_total{", "outcome=\"hit\"")
    }

    /// Action results that were stored.
    pub(crate) fn action_updates(&self) -> u64 {
        self.sum("larder_action_updates_total", "")
    }

    /// Blobs that were read.
    pub(crate) fn blob_hits(&self) -> u64 {
        self.sum("larder_blob_reads_total{", "outcome=\"hit\"")
    }

    /// Blobs that were not there before.
    pub(crate) fn blobs_stored(&self) -> u64 {
        self.sum("larder_blob_puts_total{", "outcome=\"stored\"")
    }

    /// Answered calls of a method, with this code.
    pub(crate) fn ended(&self, method: &str, code: &str) -> u64 {
        self.sum("larder_rpcs_total{", &format!("method=\"{method}\",code=\"{code}\""))
    }

    /// The sum of the series that begin so and have this label.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counters of a run of seconds"
    )]
    fn sum(&self, beginning: &str, label: &str) -> u64 {
        let Self(series) = self;
        let matching = series
            .iter()
            .filter(|(name, _)| name.starts_with(beginning) && name.contains(label))
            .map(|(_, value)| value);
        matching.sum::<f64>() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_read_and_told_apart() {
        let before = Metrics::parse(
            "HTTP/1.1 200 OK\r\n\r\n# TYPE larder_rpcs counter\n\
             larder_rpcs_total{method=\"ByteStream/Read\",code=\"OK\"} 2\n\
             larder_action_lookups_total{outcome=\"hit\"} 1\n",
        );
        let after = Metrics::parse(
            "larder_rpcs_total{method=\"ByteStream/Read\",code=\"OK\"} 5\n\
             larder_rpcs_total{method=\"ByteStream/Read\",code=\"NOT_FOUND\"} 1\n\
             larder_rpcs_total{method=\"ByteStream/Write\",code=\"OK\"} 7\n\
             larder_action_lookups_total{outcome=\"miss\"} 4\n\
             larder_action_lookups_total{outcome=\"hit\"} 3\n\
             larder_action_updates_total 9\n",
        );
        let grown = after.since(&before);
        assert_eq!(grown.ended("ByteStream/Read", "OK"), 3);
        assert_eq!(grown.calls("ByteStream/Read"), 4);
        assert_eq!(grown.calls("ByteStream/Write"), 7);
        assert_eq!((grown.action_hits(), grown.action_updates()), (2, 9));
        assert_eq!(grown.blob_hits(), 0);
    }
}
