//! The numbers that must hold, measured on the process under test: memory of large blobs, of a bomb, of many calls at a time, of
//! nothing at all and in a control group that gets full, and the latency of a small read.

mod client;
mod control_group;
mod heavy;
mod memory;
mod pressure;

use std::time::{Duration, Instant};

use tokio::runtime::{self, Runtime};

use self::client::{Client, Form, digest};
pub(crate) use self::memory::{Memory, Mib};
use crate::error::{CompatError, Unmet};
use crate::lab::Lab;
use crate::larder::Larder;
use crate::report::Report;

/// What the command line calls it.
pub(crate) const NAME: &str = "limits";

const IDLE_MAX: Mib = Mib(40);
const LARGE_BLOB_MAX: Mib = Mib(64);
const BOMB_MAX: Mib = Mib(64);
const SMALL_READ_MAX: Duration = Duration::from_millis(1);

const LARGE_BLOB: Mib = Mib(1024);
const BOMB: Mib = Mib(512);
const SMALL_BLOB_BYTES: usize = 2048;
const SMALL_READS: usize = 2_000;

type Measure = fn(&mut Measured, &Larder, &Runtime) -> Result<(), CompatError>;

/// Each measurement, on a server of its own.
pub(crate) fn run(lab: &Lab, report: &mut Report<'_>) -> Result<(), CompatError> {
    let dir = lab.dir(NAME)?;
    let measurements: [(&str, Measure); 4] =
        [("idle", idle), ("large-blob", large_blob), ("bomb", bomb), ("small-reads", small_reads)];
    for (name, measure) in measurements {
        report.case(&format!("{NAME}/{name}"), || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(CompatError::io(&dir))?;
            let server = Larder::start(lab, &lab.dir(&format!("{NAME}/{name}"))?)?;
            let mut measured = Measured::of(&server);
            measure(&mut measured, &server, &runtime)?;
            // Ends the connections, for which the server's drain would wait.
            drop(runtime);
            measured.verdict(server)
        });
    }
    heavy::run(lab, report);
    pressure::run(lab, report);
    Ok(())
}

/// What was seen of a server.
struct Measured {
    memory: Memory,
    seen: Vec<String>,
    unmet: Vec<Unmet>,
}

impl Measured {
    fn of(server: &Larder) -> Self {
        Self { memory: Memory::of(server.pid()), seen: Vec::new(), unmet: Vec::new() }
    }

    /// Stops the server; whether all was within its bounds.
    fn verdict(self, server: Larder) -> Result<String, CompatError> {
        let log = server.log().to_owned();
        server.stop()?;
        if self.unmet.is_empty() {
            Ok(self.seen.join(", "))
        } else {
            Err(CompatError::Unmet { unmet: self.unmet, log })
        }
    }

    /// Holds a figure against its bound.
    fn hold<T: PartialOrd + std::fmt::Display>(&mut self, what: &str, actual: T, below: T) {
        let text = format!("{what} {actual} (below {below})");
        if actual < below {
            self.seen.push(text);
        } else {
            self.unmet.push(Unmet::new(format!("expected {what} below {below}, got {actual}")));
        }
    }

    /// How much memory `work` takes at its peak, over what was resident before.
    fn growth<T>(
        &mut self,
        what: &str,
        below: Mib,
        work: impl FnOnce() -> Result<T, CompatError>,
    ) -> Result<T, CompatError> {
        let before = self.memory.resident()?;
        self.memory.forget_peak()?;
        let done = work()?;
        let peak = self.memory.peak()?;
        self.hold(what, Mib(peak.0.saturating_sub(before.0)), below);
        Ok(done)
    }
}

fn idle(measured: &mut Measured, _: &Larder, _: &Runtime) -> Result<(), CompatError> {
    let resident = measured.memory.resident()?;
    measured.hold("RSS of the idle server", resident, IDLE_MAX);
    Ok(())
}

fn large_blob(
    measured: &mut Measured,
    server: &Larder,
    runtime: &Runtime,
) -> Result<(), CompatError> {
    let client = runtime.block_on(Client::connect(server.address()))?;
    let blob = client::LargeBlob::new(LARGE_BLOB.bytes(), 0);
    measured.growth("RSS growth of 1 GiB up", LARGE_BLOB_MAX, || {
        runtime.block_on(client.write_large(&blob))
    })?;
    measured.growth("RSS growth of 1 GiB down", LARGE_BLOB_MAX, || {
        runtime.block_on(client.read_verified(blob.digest()))
    })
}

/// Half a gigabyte of zeros under the name of a blob of 100 B, over both protocols.
fn bomb(measured: &mut Measured, server: &Larder, runtime: &Runtime) -> Result<(), CompatError> {
    let address = server.address();
    let client = runtime.block_on(Client::connect(address))?;
    let (name, frame) = (digest(&[7; 100]), client::zeros(BOMB.bytes()));
    let over_grpc = measured.growth("RSS growth of a 512 MiB bomb over gRPC", BOMB_MAX, || {
        Ok(runtime.block_on(client.write(Form::Zstd, &name, frame.clone())).err())
    })?;
    if !matches!(&over_grpc, Some(status) if status.code() == tonic::Code::InvalidArgument) {
        let text = format!("expected INVALID_ARGUMENT for a bomb over gRPC, got {over_grpc:?}");
        measured.unmet.push(Unmet::new(text));
    }
    let over_http =
        measured.growth("over HTTP", BOMB_MAX, || client::put_over_http(address, &name, &frame))?;
    if over_http != "HTTP/1.1 400 Bad Request" {
        let text = format!("expected 400 for a bomb over HTTP, got {over_http}");
        measured.unmet.push(Unmet::new(text));
    }
    Ok(())
}

fn small_reads(
    measured: &mut Measured,
    server: &Larder,
    runtime: &Runtime,
) -> Result<(), CompatError> {
    let took = runtime.block_on(async {
        let client = Client::connect(server.address()).await?;
        let blob: Vec<u8> = (0..SMALL_BLOB_BYTES).map(|index| index.to_le_bytes()[0]).collect();
        let name = digest(&blob);
        client.write(Form::Identity, &name, blob).await.map_err(CompatError::call("Write"))?;
        let mut took = Vec::with_capacity(SMALL_READS);
        for _ in 0..SMALL_READS {
            let begun = Instant::now();
            client.read_verified(&name).await?;
            took.push(begun.elapsed());
        }
        Ok::<_, CompatError>(took)
    })?;
    let mut sorted = took;
    sorted.sort_unstable();
    let micros = |share: usize| sorted[sorted.len() * share / 100].as_micros();
    measured.hold("2 KiB read p50 in µs", micros(50), SMALL_READ_MAX.as_micros());
    measured.seen.push(format!("p99 {} µs", micros(99)));
    Ok(())
}
