//! The closed loop: lanes, each of which begins its next operation when its last has ended.

use std::cell::RefCell;
use std::time::Instant;

use futures_util::future::join_all;

use super::{Measured, Tickets};
use crate::client::Client;
use crate::scenario::Scenario;

/// Runs `lanes` lanes until `end`; what is under way then is waited for.
pub(super) async fn run(
    scenario: &dyn Scenario,
    clients: &[Client],
    tickets: &Tickets,
    lanes: usize,
    end: Instant,
) -> Measured {
    let measured = RefCell::new(Measured::default());
    let lane = |client| {
        let measured = &measured;
        async move {
            while Instant::now() < end && !measured.borrow().is_hopeless() {
                let Some(number) = tickets.take() else { break };
                let begun = Instant::now();
                let outcome = scenario.operate(client, number).await;
                measured.borrow_mut().count(begun.elapsed(), outcome);
            }
        }
    };
    join_all(clients.iter().cycle().take(lanes).map(lane)).await;
    measured.into_inner()
}
