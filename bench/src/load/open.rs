//! The open loop: operations begin when the schedule says, whether earlier ones have ended or not. A server that stalls is charged
//! for all that should have begun meanwhile, since latency counts from the intended beginning.

use std::io;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::alarm::Alarm;
use super::schedule::Schedule;
use super::{Measured, Tickets};
use crate::client::Client;
use crate::error::CallError;
use crate::scenario::{Moved, Scenario};

/// More than these do not begin, so that a server that is overrun does not cost the client all memory; those that wait are
/// late, which their latency tells.
const MOST_UNDER_WAY: usize = 10_000;

/// Begins what is due within `length`, and waits for all that has begun.
pub(super) async fn run(
    scenario: &dyn Scenario,
    clients: &[Client],
    tickets: &Tickets,
    schedule: Schedule,
    length: Duration,
) -> io::Result<Measured> {
    let mut measured = Measured::default();
    let alarm = Alarm::new()?;
    let begun = Instant::now();
    let times = schedule.take_while(|at| *at < length).map(|at| begun + at);
    let mut intended = times.zip(std::iter::from_fn(|| tickets.take())).peekable();
    let mut clients = clients.iter().cycle();
    let mut under_way = FuturesUnordered::new();
    loop {
        let is_due = |(at, _): &(Instant, u64)| *at <= Instant::now();
        while under_way.len() < MOST_UNDER_WAY
            && !measured.is_hopeless()
            && let Some((at, number)) = intended.next_if(is_due)
            && let Some(client) = clients.next()
        {
            under_way.push(timed(at, scenario, client, number));
        }
        let waits = under_way.len() < MOST_UNDER_WAY && !measured.is_hopeless();
        let next = intended.peek().filter(|_| waits).map(|(at, _)| *at);
        let ended = match next {
            None => match under_way.next().await {
                None => return Ok(measured),
                ended => ended,
            },
            Some(at) if under_way.is_empty() => {
                alarm.until(at).await?;
                None
            }
            Some(at) => match select(under_way.next(), pin!(alarm.until(at))).await {
                Either::Left((ended, _alarm)) => ended,
                Either::Right((rung, _under_way)) => {
                    rung?;
                    None
                }
            },
        };
        if let Some((latency, outcome)) = ended {
            measured.count(latency, outcome);
        }
    }
}

async fn timed(
    intended: Instant,
    scenario: &dyn Scenario,
    client: &Client,
    number: u64,
) -> (Duration, Result<Moved, CallError>) {
    let outcome = scenario.operate(client, number).await;
    (intended.elapsed(), outcome)
}
