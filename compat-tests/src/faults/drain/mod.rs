//! SIGTERM amid uploads, batches and downloads, over gRPC and HTTP: what had begun ends well, what comes later is refused, and the
//! server is gone in time with exit code 0.

mod calls;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime;
use tokio::task::JoinSet;
use tonic::Code;

use self::calls::{Outcome, Progress, Session};
use super::Bench;
use crate::blob::Blob;
use crate::error::CompatError;
use crate::http::Connection;
use crate::larder::{Larder, Launch};
use crate::process;

/// Connections over gRPC, each with all kinds of calls at once.
const SESSIONS: u64 = 3;
const UPLOADS_EACH: u64 = 3;
/// Of each of those uploads before the signal.
const PIECES_BEFORE: u64 = 8;
const BATCHES_BEFORE: u64 = 4;
const DRAIN_LIMIT: Duration = Duration::from_secs(20);
/// Until the drain refuses whoever comes.
const REFUSED_WITHIN: Duration = Duration::from_secs(1);
/// Longer than the uploads take that were begun.
const LOAD_LIMIT: Duration = Duration::from_mins(1);

pub(super) fn run(bench: &mut Bench<'_>) -> Result<String, CompatError> {
    let settings = vec![("drain_timeout", format!("{}s", DRAIN_LIMIT.as_secs()))];
    let data_dir = bench.dir.join("data");
    let launch = Launch { wrapper: Vec::new(), settings, data_dir };
    let mut server = Larder::launch(bench.lab, &bench.dir, launch)?;
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(CompatError::io(&bench.dir))?;
    let read = Blob::noise(calls::READ_BYTES, 0);
    put(server.address(), &read)?;

    let progress = Arc::<Progress>::default();
    let mut load = JoinSet::new();
    runtime.block_on(async {
        for session in 0..SESSIONS {
            let session = Session::open(server.address(), session, &progress).await?;
            for upload in 0..UPLOADS_EACH {
                load.spawn(session.clone().upload(upload));
            }
            load.spawn(session.clone().batches());
            load.spawn(session.read_slowly(read.digest()));
            load.spawn(calls::get_slowly(server.address(), path(&read), read.hash.clone()));
        }
        Ok::<_, CompatError>(())
    })?;
    let begun = Instant::now();
    while !progress.is_enough(SESSIONS * UPLOADS_EACH * PIECES_BEFORE, SESSIONS * BATCHES_BEFORE) {
        bench.expect(begun.elapsed() < LOAD_LIMIT, format!("expected a load, got {progress:?}"));
        if !bench.unmet.is_empty() {
            return Ok(String::new());
        }
        process::pause();
    }
    let signalled = Instant::now();
    server.terminate()?;
    let refused = refused_within(server.address());
    bench.expect(refused, format!("expected no connection {REFUSED_WITHIN:?} after SIGTERM"));
    bench.expect(!server.is_ready(), "expected /readyz to say 503 during the drain, got 200");
    let outcomes: Vec<_> = runtime.block_on(load.join_all()).into_iter().flatten().collect();
    server.await_end()?;
    let took = signalled.elapsed();
    bench.expect(took < DRAIN_LIMIT, format!("expected an end within the limit, got {took:?}"));
    judge(bench, &outcomes, signalled);

    server.restart()?;
    let uploads =
        (0..SESSIONS).flat_map(|session| (0..UPLOADS_EACH).map(move |upload| (session, upload)));
    for (session, upload) in uploads {
        let blob = calls::upload_blob(session, upload);
        let got = get(server.address(), &blob)?;
        bench.expect(got == blob.bytes, format!("expected upload {session}/{upload} to be there"));
    }
    server.stop()?;
    let across =
        outcomes.iter().filter(|outcome| outcome.spans(signalled) && outcome.code == Code::Ok);
    let mut kinds = BTreeMap::new();
    across.for_each(|outcome| *kinds.entry(outcome.what).or_insert(0_u32) += 1);
    Ok(format!(
        "in progress at the signal and ended well: {kinds:?}; gone after {:.1} s",
        took.as_secs_f64()
    ))
}

/// Nothing that had begun fails; what began later ends well or is refused.
fn judge(bench: &mut Bench<'_>, outcomes: &[Outcome], signalled: Instant) {
    for outcome in outcomes {
        let is_right =
            outcome.code == Code::Ok || outcome.begun > signalled && outcome.is_refused();
        let when = if outcome.begun > signalled { "after" } else { "before" };
        bench.expect(
            is_right,
            format!("expected no failure, got of one begun {when} SIGTERM {outcome:?}"),
        );
    }
    for what in [calls::UPLOAD, calls::READ, calls::GET] {
        let count = outcomes.iter().filter(|it| it.what == what && it.spans(signalled)).count();
        bench.expect(count > 0, format!("expected a {what} in progress at SIGTERM, got none"));
    }
    let refused = outcomes.iter().filter(|outcome| outcome.code != Code::Ok).count();
    bench.expect(refused > 0, "expected new calls to be refused, got none");
}

fn refused_within(address: SocketAddr) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < REFUSED_WITHIN {
        if TcpStream::connect(address).is_err() {
            return true;
        }
        process::pause();
    }
    false
}

fn put(address: SocketAddr, blob: &Blob) -> Result<(), CompatError> {
    let put = |mut connection: Connection| connection.put(&path(blob), &blob.bytes);
    Connection::open(address).and_then(put).map(drop).map_err(CompatError::call("PUT"))
}

fn get(address: SocketAddr, blob: &Blob) -> Result<Vec<u8>, CompatError> {
    let get = |mut connection: Connection| connection.get(&path(blob));
    let answer = Connection::open(address).and_then(get).map_err(CompatError::call("GET"))?;
    Ok(answer.body)
}

fn path(blob: &Blob) -> String {
    format!("/cas/{}", blob.hash)
}
