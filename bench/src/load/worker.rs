//! [`Worker`]: a share of the load: connections, and a runtime on whatever thread runs it.

use std::ops::Range;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use super::schedule::Schedule;
use super::{Arrivals, Measured, Tickets, closed, open};
use crate::blobs;
use crate::client::Client;
use crate::error::CallError;
use crate::process::thread_cpu;
use crate::scenario::Scenario;
use crate::target::Target;
use crate::wire::Wire;

/// What a server has to answer its first call.
const GREETING: Duration = Duration::from_secs(10);

/// Connections that one thread at a time drives.
pub(crate) struct Worker {
    clients: Vec<Client>,
    _drivers: JoinSet<()>,
    runtime: Runtime,
}

/// How operations follow each other, of all workers together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    Closed { in_flight: usize },
    Open { per_second: f64, arrivals: Arrivals },
}

/// What the workers do now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phase<'a> {
    pub(crate) scenario: &'a dyn Scenario,
    pub(crate) tickets: &'a Tickets,
    pub(crate) pace: Pace,
    pub(crate) length: Duration,
}

impl Worker {
    /// Opens so many connections.
    pub(crate) fn connect(
        target: &Target,
        wire: &Wire,
        message_bytes: usize,
        connections: usize,
    ) -> Result<Self, CallError> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let mut drivers = JoinSet::new();
        let mut clients = Vec::with_capacity(connections);
        for _ in 0..connections {
            let client = Client::connect(target, wire, message_bytes, &mut drivers);
            clients.push(runtime.block_on(client)?);
        }
        Ok(Self { clients, _drivers: drivers, runtime })
    }

    /// Asks for a blob, to see that a cache answers at all.
    pub(crate) fn greet(&self) -> Result<(), CallError> {
        let name = [blobs::digest(b"larder-bench")];
        let asked = async {
            let answer = tokio::time::timeout(GREETING, self.clients[0].count_missing(&name)).await;
            answer.unwrap_or(Err(CallError::Silent { limit: GREETING })).map(drop)
        };
        self.runtime.block_on(asked)
    }

    /// Stores what a scenario needs.
    pub(crate) fn prepare(&self, scenario: &dyn Scenario) -> Result<(), CallError> {
        self.runtime.block_on(scenario.prepare(&self.clients[0]))
    }

    /// Reads some of what was written back.
    pub(crate) fn verify(
        &self,
        scenario: &dyn Scenario,
        done: Range<u64>,
    ) -> Result<(), CallError> {
        self.runtime.block_on(scenario.verify(&self.clients[0], done))
    }

    /// The load of all workers at once, each on a thread of its own.
    pub(crate) fn load(workers: &mut [Self], phase: Phase<'_>) -> Result<Measured, CallError> {
        let shares = workers.len();
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..)
                .zip(workers)
                .map(|(share, worker)| scope.spawn(move || worker.run(phase, share, shares)))
                .collect();
            let mut all = Measured::default();
            for thread in running {
                all.join_thread(thread.join().expect("a load does not panic")?);
            }
            Ok(all)
        })
    }

    fn run(
        &mut self,
        phase: Phase<'_>,
        share: usize,
        shares: usize,
    ) -> Result<Measured, CallError> {
        let Phase { scenario, tickets, pace, length } = phase;
        let (begun, cpu) = (Instant::now(), thread_cpu());
        let mut measured = match pace {
            Pace::Closed { in_flight } => {
                let lanes = (in_flight + shares - 1 - share) / shares;
                let end = begun + length;
                let load = closed::run(scenario, &self.clients, tickets, lanes, end);
                self.runtime.block_on(load)
            }
            Pace::Open { per_second, arrivals } => {
                let [share, shares] = [share, shares].map(|it| u32::try_from(it).unwrap_or(1));
                let schedule = Schedule::new(per_second, arrivals, share, shares);
                let load = open::run(scenario, &self.clients, tickets, schedule, length);
                self.runtime.block_on(load)?
            }
        };
        measured.elapsed = begun.elapsed();
        measured.busiest = thread_cpu().saturating_sub(cpu);
        measured.client_cpu = measured.busiest;
        Ok(measured)
    }
}
