//! Builds with credentials: moon over TLS, by token and by certificate; ccache with a token in its URL and as a bearer.

use std::path::Path;

use super::keys::{Keys, READER, WRITER};
use super::{Clients, NAME, start};
use crate::ccache;
use crate::error::{CompatError, Unmet};
use crate::expectations::Expectations;
use crate::lab::Lab;
use crate::larder::{Larder, Launch};
use crate::moon::{self, Workspace};
use crate::report::Report;
use crate::snapshot::Snapshot;

/// What moon says of a task that it did not run.
const FROM_CACHE: &str = "cached from remote";
/// Runs of which one must find what is stored.
const ATTEMPTS: u32 = 4;
/// The variable that moon is told to take its token from.
const TOKEN: &str = "LARDER_COMPAT_TOKEN";

pub(super) fn run(lab: &Lab, keys: &Keys, report: &mut Report<'_>) -> Result<(), CompatError> {
    let log = lab.dir(NAME)?.join("install.log");
    let binary = moon::ensure(lab, &log)?;
    report.case(&format!("{NAME}/moon-token"), || moon_by_token(lab, keys, &binary));
    report.case(&format!("{NAME}/moon-certificate"), || moon_by_certificate(lab, keys, &binary));
    ccache::PACKAGE.ensure(&log)?;
    let newest = ccache::NEWEST.ensure(lab, &log)?.join("bin/ccache");
    for (name, program, user, attribute) in [
        (
            "ccache-basic",
            Path::new(ccache::PACKAGE.program),
            format!("ci:{WRITER}@"),
            String::new(),
        ),
        ("ccache-bearer", &newest, String::new(), format!("|bearer-token={WRITER}")),
    ] {
        report.case(&format!("{NAME}/{name}"), || {
            let dir = lab.dir(&format!("{NAME}/{name}"))?;
            let credentials = keys.path("credentials").display().to_string();
            let settings = vec![("auth.credentials_file", credentials)];
            let launch = Launch { wrapper: Vec::new(), settings, data_dir: dir.join("data") };
            let server = Larder::launch(lab, &dir, launch)?;
            let address = server.address();
            let storage = format!("http://{user}{address}/kv|layout=bazel{attribute}");
            ccache::cold_and_warm(server, &dir, program, &storage)
        });
    }
    Ok(())
}

/// By token: a writer fills the cache, a reader builds from it, and nobody builds without.
fn moon_by_token(lab: &Lab, keys: &Keys, binary: &Path) -> Result<String, CompatError> {
    let dir = lab.dir(&format!("{NAME}/moon-token"))?;
    let larder = start(lab, &dir, keys, Clients::ShowNone)?;
    let remote = format!(
        "remote:\n  api: 'grpc'\n  host: 'grpcs://{}'\n  auth:\n    token: '{TOKEN}'\n  \
         tls:\n    cert: '{}'\n    domain: 'localhost'\n",
        larder.address(),
        keys.path("servers.crt").display(),
    );
    let workspace = |name: &str, token: &str| {
        let workspace = Workspace::new(lab, binary, &dir, name, &remote)?;
        Ok::<_, CompatError>(workspace.with(vec![(TOKEN, token.to_owned())]))
    };
    let writer = workspace("writer", WRITER)?;
    let mut expectations = Expectations::of(writer.log());
    expectations.says_not("the writer, cold", &writer.run_task()?, FROM_CACHE);
    let made = writer.outputs()?;
    let filled = larder.metrics()?;
    expectations.at_least("action results stored", filled.action_updates(), 1);

    let reader = |name: &str| workspace(name, READER);
    expectations.extend(from_cache(made, Missed::StoresNothing, reader)?);
    let nobody = workspace("nobody", "of-nobody-0123456789abcdef0123")?;
    expectations.says_not("nobody", &nobody.run_task()?, FROM_CACHE);
    let since = larder.metrics()?.since(&filled);
    expectations.equal("action results stored since", since.action_updates(), 0);
    expectations.at_least("hits counted by the server", since.action_hits(), 1);
    expectations.met()?;
    larder.stop()?;
    Ok("a writer's task is a hit for a reader; with a wrong token it runs, and stores nothing"
        .into())
}

/// What becomes of what a task makes that was not found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Missed {
    Stores,
    StoresNothing,
}

/// The task of a new workspace comes from the cache and is what was `made` last. moon connects in the background and, over TLS now
/// and then, looks for its first task before it is connected; then the next workspace has to do.
fn from_cache(
    mut made: Snapshot,
    missed: Missed,
    workspace: impl Fn(&str) -> Result<Workspace, CompatError>,
) -> Result<Vec<Unmet>, CompatError> {
    for attempt in 1..=ATTEMPTS {
        let workspace = workspace(&format!("warm-{attempt}"))?;
        let is_hit = workspace.run_task()?.contains(FROM_CACHE);
        let outputs = workspace.outputs()?;
        if is_hit {
            return Ok(made.differences(&outputs));
        }
        if missed == Missed::Stores {
            made = outputs;
        }
    }
    Ok(vec![Unmet::new(format!(
        "expected `{FROM_CACHE}` within {ATTEMPTS} runs, got no such text"
    ))])
}

/// By certificate, with no credentials.
fn moon_by_certificate(lab: &Lab, keys: &Keys, binary: &Path) -> Result<String, CompatError> {
    let dir = lab.dir(&format!("{NAME}/moon-certificate"))?;
    let larder = start(lab, &dir, keys, Clients::ShowCertificates)?;
    let path = |name: &str| keys.path(name).display().to_string();
    let remote = format!(
        "remote:\n  api: 'grpc'\n  host: 'grpcs://{}'\n  mtls:\n    caCert: '{}'\n    \
         clientCert: '{}'\n    clientKey: '{}'\n    domain: 'localhost'\n",
        larder.address(),
        path("servers.crt"),
        path("client.crt"),
        path("client.key"),
    );
    let first = Workspace::new(lab, binary, &dir, "first", &remote)?;
    let mut expectations = Expectations::of(first.log());
    expectations.says_not("moon, cold", &first.run_task()?, FROM_CACHE);
    let other = |name: &str| Workspace::new(lab, binary, &dir, name, &remote);
    expectations.extend(from_cache(first.outputs()?, Missed::Stores, other)?);
    expectations.at_least("hits counted by the server", larder.metrics()?.action_hits(), 1);
    expectations.met()?;
    larder.stop()?;
    Ok("a task stored and found again by a client's certificate".to_owned())
}
