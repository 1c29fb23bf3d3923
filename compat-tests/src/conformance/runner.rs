//! Tries cases on a server, so many at a time, each with a time limit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt, stream};
use tokio::task::JoinSet;

use super::case::{Case, OptIn, Topic};
use super::context::{Cx, Server};
use super::outcome::Halt;

/// How much longer the opt-in cases may take.
const OPT_IN_FACTOR: u32 = 6;

/// How a case ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    Passed,
    /// With what was expected and what was seen.
    Failed(String),
    /// With the reason.
    Skipped(String),
}

/// A case that was tried, or skipped.
#[derive(Clone)]
pub(crate) struct Tried {
    pub(crate) topic: &'static Topic,
    pub(crate) case: &'static Case,
    pub(crate) verdict: Verdict,
    pub(crate) took: Duration,
}

/// How cases are tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// How many at a time.
    pub(crate) jobs: usize,
    /// For one case.
    pub(crate) time_limit: Duration,
}

/// Tries the cases; the verdicts come in the order of the cases.
pub(crate) fn run(
    server: Arc<Server>,
    cases: Vec<(&'static Topic, &'static Case)>,
    seed: u64,
    pace: Pace,
) -> impl Stream<Item = Tried> {
    let tried = move |(topic, case)| {
        let server = Arc::clone(&server);
        async move {
            let begun = Instant::now();
            let verdict = try_case(server, topic, case, seed, pace.time_limit).await;
            Tried { topic, case, verdict, took: begun.elapsed() }
        }
    };
    stream::iter(cases).map(tried).buffered(pace.jobs)
}

async fn try_case(
    server: Arc<Server>,
    topic: &Topic,
    case: &'static Case,
    seed: u64,
    time_limit: Duration,
) -> Verdict {
    let lacking =
        topic.needs.iter().chain(case.needs).find_map(|need| server.announced.lacks(*need));
    if let Some(reason) = lacking {
        return Verdict::Skipped(reason);
    }
    let cx = match Cx::new(server, seed, case.name) {
        Ok(cx) => cx,
        Err(error) => return Verdict::Failed(format!("the kit could not connect: {error}")),
    };
    let limit = match case.opt_in {
        Some(OptIn::Slow | OptIn::Hostile) => time_limit * OPT_IN_FACTOR,
        None => time_limit,
    };
    // A task, so that a panic in a case is that case's verdict; dropping the set ends it at the limit.
    let mut task = JoinSet::new();
    task.spawn(async move { (case.run)(&cx).await });
    match tokio::time::timeout(limit, task.join_next()).await {
        Ok(Some(Ok(Ok(())))) => Verdict::Passed,
        Ok(Some(Ok(Err(Halt::Violated(found))))) => Verdict::Failed(found),
        Ok(Some(Ok(Err(Halt::NotApplicable(reason))))) => Verdict::Skipped(reason),
        Ok(Some(Err(panic))) => Verdict::Failed(format!("the kit itself broke: {panic}")),
        Ok(None) => Verdict::Failed("the kit itself broke: no case was tried".to_owned()),
        Err(_elapsed) => {
            Verdict::Failed(format!("expected an end within {limit:?}, but it still runs"))
        }
    }
}
