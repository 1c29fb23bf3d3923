//! [`Run`]: all scenarios at all servers, in turn.
//!
//! Within a scenario the servers take turns round by round, so that whatever else the machine does meets all of them.

use std::io::Write;

use crate::error::{BenchError, CallError};
use crate::limits::Limits;
use crate::load::{Pace, Phase, Rate, Tickets, Worker};
use crate::options::Options;
use crate::process::{Sample, ServerProcess};
use crate::progress::Progress;
use crate::report::{Cell, Round, Row, RowTable, described};
use crate::scenario::{Kind, Scenario, Sizes};
use crate::target::Target;
use crate::wire::Wire;

/// Numbers of operations before which the next number of connections begins; no load comes so far.
const SWEEP: u64 = 1 << 40;

/// What does not change during a run.
pub(crate) struct Run<'a> {
    pub(crate) options: &'a Options,
    pub(crate) targets: &'a [Target],
    pub(crate) wire: &'a Wire,
    pub(crate) sizes: &'a Sizes,
    pub(crate) limits: &'a Limits,
    pub(crate) progress: &'a Progress,
}

/// A server that takes part in a scenario.
struct Contender<'a> {
    target: &'a Target,
    scenario: Box<dyn Scenario>,
    workers: Vec<Worker>,
    /// The first number that no operation has had.
    next: u64,
    rounds: Vec<Round>,
    /// Each with the operations that it offered in a second.
    open_rounds: Vec<(f64, Round)>,
    /// Why it takes part no more.
    failure: Option<BenchError>,
}

impl Run<'_> {
    /// Whether all servers and their processes are there, before anything takes time.
    pub(crate) fn greet(
        options: &Options,
        targets: &[Target],
        wire: &Wire,
    ) -> Result<(), BenchError> {
        for target in targets {
            sample(target)?;
            let connected = Worker::connect(target, wire, options.message_bytes(), 1);
            connected.and_then(|worker| worker.greet()).map_err(unreached(target))?;
        }
        Ok(())
    }

    /// Steps of the progress of this scenario.
    pub(crate) fn steps(options: &Options, targets: usize, kind: Kind) -> u64 {
        let sweeps = connections(options, kind).len() as u64;
        sweeps * u64::from(options.rounds) * targets as u64
    }

    /// Runs one scenario; prints its rows when it is done.
    pub(crate) fn scenario(&self, kind: Kind, out: &mut dyn Write) -> Result<Vec<Row>, BenchError> {
        let mut rows = Vec::new();
        for (sweep, &connections) in (0..).zip(connections(self.options, kind)) {
            let mut contenders = Vec::new();
            for target in self.targets {
                self.progress.tell(format!("{kind}: storing what it needs at {}", target.name));
                let contender = self.contender(kind, target, connections)?;
                contenders.push(Contender { next: sweep * SWEEP, ..contender });
            }
            let measured = self.measure(kind, connections, &mut contenders)?;
            self.progress.suspend(|| write!(out, "{}", RowTable(&measured)))?;
            out.flush()?;
            rows.extend(measured);
        }
        Ok(rows)
    }

    fn contender<'t>(
        &self,
        kind: Kind,
        target: &'t Target,
        connections: usize,
    ) -> Result<Contender<'t>, BenchError> {
        let server = || target.name.clone();
        let prepare = |source| BenchError::Prepare { scenario: kind, server: server(), source };
        let entries = target.entries.unwrap_or(self.sizes.entries);
        let scenario = kind.build(self.sizes, entries).map_err(prepare)?;
        let threads = self.options.threads.clamp(1, connections.max(1));
        let connect = |share| {
            let own = (connections + threads - 1 - share) / threads;
            let bytes = self.options.message_bytes();
            Worker::connect(target, self.wire, bytes, own)
        };
        let workers: Result<Vec<Worker>, _> = (0..threads).map(connect).collect();
        let workers = workers.map_err(unreached(target))?;
        let prepared = workers[0].prepare(&*scenario);
        Ok(Contender {
            target,
            scenario,
            workers,
            next: 0,
            rounds: Vec::new(),
            open_rounds: Vec::new(),
            failure: prepared.err().map(prepare),
        })
    }

    /// All rounds of all contenders. An open loop at a share of what the closed loop reaches follows each of its rounds at once, so
    /// that the machine is as busy with other things in both.
    fn measure(
        &self,
        kind: Kind,
        connections: usize,
        contenders: &mut [Contender<'_>],
    ) -> Result<Vec<Row>, BenchError> {
        let arrivals = self.options.arrivals;
        let pace = match self.options.rate {
            Some(Rate::PerSecond(per_second)) => Pace::Open { per_second, arrivals },
            None | Some(Rate::Share(_)) => {
                Pace::Closed { in_flight: self.options.in_flight.unwrap_or(kind.plan().in_flight) }
            }
        };
        for number in 0..self.options.rounds {
            for contender in &mut *contenders {
                self.progress.tell(format!("{kind} from {connections}: {}", contender.target.name));
                if contender.failure.is_none() {
                    if number == 0 {
                        self.phase(kind, contender, pace, Length::WarmUp)?;
                    }
                    let round = self.phase(kind, contender, pace, Length::Round)?;
                    if let Some(Rate::Share(share)) = self.options.rate {
                        let per_second = share * round.measured.per_second().max(1.0);
                        let open = Pace::Open { per_second, arrivals };
                        let open = self.phase(kind, contender, open, Length::Round)?;
                        contender.open_rounds.push((per_second, open));
                    }
                    contender.rounds.push(round);
                }
                self.progress.step();
            }
        }
        let cell = |contender: &Contender<'_>, pace, rounds| Cell {
            scenario: kind,
            server: contender.target.name.clone(),
            connections,
            pace,
            rounds,
            failure: contender.failure.as_ref().map(described),
        };
        let mut cells = Vec::new();
        for contender in &mut *contenders {
            let rounds = std::mem::take(&mut contender.rounds);
            cells.push(cell(contender, pace, rounds));
        }
        for contender in contenders.iter_mut().filter(|it| !it.open_rounds.is_empty()) {
            let (offered, rounds): (Vec<f64>, _) =
                std::mem::take(&mut contender.open_rounds).into_iter().unzip();
            let per_second = offered.iter().sum::<f64>() / f64::from(self.options.rounds);
            cells.push(cell(contender, Pace::Open { per_second, arrivals }, rounds));
        }
        Ok(cells.into_iter().map(|cell| cell.row(self.limits)).collect())
    }

    /// One phase of the load, between two looks at the server; what it wrote is read back afterwards.
    fn phase(
        &self,
        kind: Kind,
        contender: &mut Contender<'_>,
        pace: Pace,
        length: Length,
    ) -> Result<Round, BenchError> {
        let most = self.options.operations.unwrap_or(kind.plan().most_operations);
        let (length, most) = match length {
            Length::WarmUp => (self.options.warm_up, most.div_ceil(4)),
            Length::Round => (self.options.duration, most),
        };
        let tickets = Tickets::new(contender.next, most);
        let before = sample(contender.target)?;
        let phase = Phase { scenario: &*contender.scenario, tickets: &tickets, pace, length };
        let server = || contender.target.name.clone();
        let broken = |source| BenchError::Load { scenario: kind, server: server(), source };
        let mut measured = Worker::load(&mut contender.workers, phase).map_err(broken)?;
        let after = sample(contender.target)?;
        contender.next = tickets.taken().end;
        // After an error it is told already that something may not be there.
        if measured.errors == 0 {
            self.progress.tell(format!("{kind}: reading back at {}", contender.target.name));
            let verified = contender.workers[0].verify(&*contender.scenario, tickets.taken());
            measured.count_verified(verified);
        }
        Ok(Round { measured, server: before.zip(after) })
    }
}

#[derive(Clone, Copy, Debug)]
enum Length {
    WarmUp,
    Round,
}

fn unreached(target: &Target) -> impl Fn(CallError) -> BenchError {
    let way = if target.grpc.certified.is_some() {
        "with TLS (grpcs://)"
    } else {
        "without TLS (grpc://)"
    };
    move |source| BenchError::Connect { address: target.grpc.authority.clone(), way, source }
}

/// What the process of this server has used, where it is known.
fn sample(target: &Target) -> Result<Option<Sample>, BenchError> {
    let Some(pid) = target.pid else { return Ok(None) };
    let sample = ServerProcess::new(pid).sample();
    sample.map(Some).map_err(|source| BenchError::Process { pid, source })
}

fn connections(options: &Options, kind: Kind) -> &[usize] {
    if options.connections.is_empty() { kind.plan().connections } else { &options.connections }
}
