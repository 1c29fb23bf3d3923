//! Load: operations one after the other in lanes (closed), or at times that were fixed before (open), and what they took.

mod alarm;
mod closed;
mod measured;
mod open;
mod schedule;
mod tickets;
mod worker;

pub(crate) use measured::Measured;
pub(crate) use schedule::{Arrivals, Rate};
pub(crate) use tickets::Tickets;
pub(crate) use worker::{Pace, Phase, Worker};
