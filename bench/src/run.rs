//! [`Run`]: all scenarios at all servers, in turn.
//!
//! Within a scenario the servers take turns round by round, so that whatever else the machine does meets all of them.

use std::io::Write;

use crate::error::BenchError;
use crate::limits::Limits;
use crate::load::{Pace, Phase, Rate, Tickets, Worker};
use crate::options::Options;
use crate::process::{Sample, ServerProcess};
use crate::progress::Progress;
use crate::report::{Cell, Round, Row, RowTable, described};
use crate::scenario::{Kind, Scenario, Sizes};
use crate::target::Target;

/// Numbers of operations before which the next number of connections begins; no load comes so far.
const SWEEP: u64 = 1 << 40;

/// What does not change during a run.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) options: &'a Options,
    pub(crate) targets: &'a [Target],
    pub(crate) sizes: &'a Sizes,
    pub(crate) limits: &'a Limits,
    pub(crate) progress: &'a Progress,
}

/// A server that takes part in a scenario.
struct Contender<'a> {
    target: &'a Target,
    scenario: Box<dyn Scenario>,
    workers: Vec<Worker>,
    process: Option<ServerProcess>,
    /// The first number that no operation has had.
    next: u64,
    /// Why it takes part no more.
    failure: Option<BenchError>,
}

impl Run<'_> {
    /// Steps of the progress of this scenario.
    pub(crate) fn steps(options: &Options, targets: usize, kind: Kind) -> u64 {
        let paces = 1 + u64::from(matches!(options.rate, Some(Rate::Share(_))));
        let sweeps = connections(options, kind).len() as u64;
        sweeps * paces * u64::from(options.rounds) * targets as u64
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
            let in_flight = self.options.in_flight.unwrap_or(kind.plan().in_flight);
            let closed = Pace::Closed { in_flight };
            let paces = match self.options.rate {
                Some(Rate::PerSecond(per_second)) => {
                    let arrivals = self.options.arrivals;
                    vec![Pace::Open { per_second, arrivals }; contenders.len()]
                }
                None | Some(Rate::Share(_)) => vec![closed; contenders.len()],
            };
            let mut measured = self.measure(kind, connections, &mut contenders, &paces)?;
            if let Some(Rate::Share(share)) = self.options.rate {
                let arrivals = self.options.arrivals;
                let rate = |row: &Row| share * row.per_second.max(1.0);
                let open =
                    measured.iter().map(|row| Pace::Open { per_second: rate(row), arrivals });
                let open = open.collect::<Vec<_>>();
                measured.extend(self.measure(kind, connections, &mut contenders, &open)?);
            }
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
        let scenario = kind.build(self.sizes).map_err(prepare)?;
        let threads = self.options.threads.clamp(1, connections.max(1));
        let connect = |share| {
            let own = (connections + threads - 1 - share) / threads;
            let bytes = self.options.message_bytes();
            Worker::connect(target, self.options.wire(), bytes, own)
        };
        let workers: Result<Vec<Worker>, _> = (0..threads).map(connect).collect();
        let workers = workers
            .map_err(|source| BenchError::Connect { address: target.grpc.clone(), source })?;
        let prepared = workers[0].prepare(&*scenario);
        Ok(Contender {
            target,
            scenario,
            workers,
            process: target.pid.map(ServerProcess::new),
            next: 0,
            failure: prepared.err().map(prepare),
        })
    }

    /// All rounds of all contenders, each with its own pace.
    fn measure(
        &self,
        kind: Kind,
        connections: usize,
        contenders: &mut [Contender<'_>],
        paces: &[Pace],
    ) -> Result<Vec<Row>, BenchError> {
        let mut rounds: Vec<Vec<Round>> = contenders.iter().map(|_| Vec::new()).collect();
        for number in 0..self.options.rounds {
            for ((contender, pace), rounds) in contenders.iter_mut().zip(paces).zip(&mut rounds) {
                self.progress.tell(format!("{kind} from {connections}: {}", contender.target.name));
                if contender.failure.is_none() {
                    if number == 0 {
                        self.phase(kind, contender, *pace, Length::WarmUp)?;
                    }
                    rounds.push(self.phase(kind, contender, *pace, Length::Round)?);
                }
                self.progress.step();
            }
        }
        let cells =
            contenders.iter().zip(paces).zip(rounds).map(|((contender, pace), rounds)| Cell {
                scenario: kind,
                server: contender.target.name.clone(),
                connections,
                pace: *pace,
                rounds,
                failure: contender.failure.as_ref().map(described),
            });
        Ok(cells.map(|cell| cell.row(self.limits)).collect())
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
        let before = contender.sample()?;
        let phase = Phase { scenario: &*contender.scenario, tickets: &tickets, pace, length };
        let mut measured = Worker::load(&mut contender.workers, phase).map_err(|source| {
            BenchError::Connect { address: contender.target.grpc.clone(), source }
        })?;
        let after = contender.sample()?;
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

impl Contender<'_> {
    fn sample(&self) -> Result<Option<Sample>, BenchError> {
        let Some(process) = &self.process else { return Ok(None) };
        let pid = self.target.pid.unwrap_or_default();
        process.sample().map(Some).map_err(|source| BenchError::Process { pid, source })
    }
}

fn connections(options: &Options, kind: Kind) -> &[usize] {
    if options.connections.is_empty() { kind.plan().connections } else { &options.connections }
}
