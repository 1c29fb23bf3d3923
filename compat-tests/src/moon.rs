//! moon, a client of `tonic`'s that compresses: a task over gRPC, with zstd and without, and over HTTP.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::error::CompatError;
use crate::expectations::Expectations;
use crate::install::{self, DebianPackage, NpmPackage};
use crate::lab::Lab;
use crate::larder::Larder;
use crate::process;
use crate::relay::Relay;
use crate::report::Report;
use crate::snapshot::Snapshot;

/// What the command line calls it.
pub(crate) const NAME: &str = "moon";

const PACKAGE: NpmPackage = NpmPackage {
    name: NAME,
    packages: &["@moonrepo/cli@2.5.5", "@moonrepo/core-linux-x64-gnu@2.5.5"],
};
const BINARY: &str = "node_modules/@moonrepo/core-linux-x64-gnu/moon";
/// moon asks it for what has changed.
const GIT: DebianPackage = DebianPackage { program: "git", package: "git" };

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/moon/workspace");
/// A first run also unpacks and compiles moon's plugin for system commands.
const LIMIT: Duration = Duration::from_mins(2);
/// What the task makes.
const FILES: usize = 5;
const OUTPUT_BYTES: u64 = 5_000_000;

/// How moon speaks to the cache.
#[derive(Clone, Copy)]
struct Protocol {
    name: &'static str,
    api: &'static str,
    /// Before the address, and behind it.
    scheme: &'static str,
    path: &'static str,
    compression: &'static str,
    /// What moon's log calls it.
    storage: &'static str,
}

const PROTOCOLS: [Protocol; 3] = [
    Protocol {
        name: "grpc",
        api: "grpc",
        scheme: "grpc",
        path: "",
        compression: "none",
        storage: "grpc-remote-cache",
    },
    Protocol {
        name: "grpc-zstd",
        api: "grpc",
        scheme: "grpc",
        path: "",
        compression: "zstd",
        storage: "grpc-remote-cache",
    },
    Protocol {
        name: "http",
        api: "http",
        scheme: "http",
        path: "/kv",
        compression: "none",
        storage: "http-remote-cache",
    },
];

/// Each protocol: cold, warm after a clean, and warm elsewhere after a crash.
pub(crate) fn run(lab: &Lab, report: &mut Report<'_>) -> Result<(), CompatError> {
    let log = lab.dir(NAME)?.join("install.log");
    let binary = ensure(lab, &log)?;
    let version = process::output(0, Command::new(&binary).arg("--version"), &log, LIMIT)?;
    report.note(NAME, version.lines().last().unwrap_or_default());
    for protocol in PROTOCOLS {
        report.case(&format!("{NAME}/{}", protocol.name), || cold_and_warm(lab, &binary, protocol));
    }
    Ok(())
}

/// The program, installed if need be, with what it needs.
pub(crate) fn ensure(lab: &Lab, log: &Path) -> Result<PathBuf, CompatError> {
    GIT.ensure(log)?;
    Ok(PACKAGE.ensure(lab, log)?.join(BINARY))
}

fn cold_and_warm(lab: &Lab, binary: &Path, protocol: Protocol) -> Result<String, CompatError> {
    let dir = lab.dir(&format!("{NAME}/{}", protocol.name))?;
    let mut larder = Larder::start(lab, &dir)?;
    let relay = Relay::start(larder.address()).map_err(CompatError::io(&dir))?;
    let Protocol { api, scheme, path, compression, .. } = protocol;
    let remote = format!(
        "remote:\n  api: '{api}'\n  host: '{scheme}://{}{path}'\n  cache:\n    compression: '{compression}'\n",
        relay.address(),
    );
    let workspace = |name: &str| Workspace::new(lab, binary, &dir, name, &remote);
    let first = workspace("first")?;
    let mut expectations = Expectations::of(&first.log);

    let cold = first.run_task()?;
    expectations.says_not("moon, cold", &cold, "cached from remote");
    expectations.says("moon, cold", &cold, "made from a greeting");
    let made = first.outputs()?;
    expectations.equal("files made", made.file_count(), FILES);
    let (sent, _) = relay.passed();
    let metrics = larder.metrics()?;
    expectations.at_least("action results stored", stored_results(protocol, &metrics), 1);

    first.clean()?;
    let warm = first.run_task()?;
    expectations.says("moon, warm", &warm, "cached from remote");
    expectations.says("moon, warm", &warm, protocol.storage);
    expectations.extend(made.differences(&first.outputs()?));
    let hits = larder.metrics()?.since(&metrics).action_hits();
    expectations.at_least("hits counted by the server", hits, 1);
    let (_, received) = relay.passed();
    match protocol.compression {
        "zstd" => expectations.at_most("bytes sent", sent, OUTPUT_BYTES / 4),
        _ => expectations.at_least("bytes sent", sent, OUTPUT_BYTES),
    }
    // Over HTTP moon accepts zstd, whatever it is told.
    match (protocol.api, protocol.compression) {
        ("grpc", "none") => expectations.at_least("bytes received", received, OUTPUT_BYTES),
        _ => expectations.at_most("bytes received", received, OUTPUT_BYTES / 4),
    }

    larder.crash_and_restart()?;
    let second = workspace("second")?;
    let elsewhere = second.run_task()?;
    expectations.says("moon, in another workspace", &elsewhere, "cached from remote");
    expectations.extend(made.differences(&second.outputs()?));
    let again = larder.metrics()?.action_hits();
    expectations.at_least("hits counted by the server", again, 1);
    expectations.met()?;
    drop(relay);
    larder.stop()?;
    Ok(format!(
        "{FILES} files identical after a clean, and elsewhere after kill -9, {} hits; \
         {sent} B sent, {received} B received",
        hits + again,
    ))
}

fn stored_results(protocol: Protocol, metrics: &crate::metrics::Metrics) -> u64 {
    match protocol.api {
        "http" => metrics.calls("kv/PUT"),
        _ => metrics.action_updates(),
    }
}

/// A checkout, with a local cache of its own.
pub(crate) struct Workspace {
    binary: PathBuf,
    home: PathBuf,
    dir: PathBuf,
    log: PathBuf,
    /// What the environment says besides.
    variables: Vec<(&'static str, String)>,
}

impl Workspace {
    /// Called `name` in `dir`; `remote` says in moon's words where the cache is.
    pub(crate) fn new(
        lab: &Lab,
        binary: &Path,
        dir: &Path,
        name: &str,
        remote: &str,
    ) -> Result<Self, CompatError> {
        let this = Self {
            binary: binary.to_owned(),
            home: lab.installs("moon-home")?,
            dir: dir.join(name),
            log: dir.join(format!("{name}.log")),
            variables: Vec::new(),
        };
        let settings = this.dir.join(".moon");
        fs::create_dir_all(&settings).map_err(CompatError::io(&settings))?;
        install::copy_tree(Path::new(SOURCES), &this.dir)?;
        let text = format!("projects: ['app']\ntelemetry: false\n{remote}");
        let file = settings.join("workspace.yml");
        fs::write(&file, text).map_err(CompatError::io(&file))?;
        let steps: [&[&str]; 3] = [
            &["init", "--quiet"],
            &["add", "--all"],
            &[
                "-c",
                "user.name=compat",
                "-c",
                "user.email=compat@localhost",
                "commit",
                "-qm",
                "all",
            ],
        ];
        for arguments in steps {
            let mut git = Command::new(GIT.program);
            git.current_dir(&this.dir).env("HOME", &this.home).args(arguments);
            process::run_expecting(0, &mut git, &this.log, LIMIT)?;
        }
        Ok(this)
    }

    /// The same checkout in another environment.
    pub(crate) fn with(self, variables: Vec<(&'static str, String)>) -> Self {
        Self { variables, ..self }
    }

    /// What it has printed.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Runs the task, or takes it from a cache; what it prints.
    pub(crate) fn run_task(&self) -> Result<String, CompatError> {
        let mut moon = Command::new(&self.binary);
        moon.current_dir(&self.dir)
            .env("HOME", &self.home)
            .env("MOON_HOME", self.home.join(".moon"))
            .env_remove("CI")
            .envs(self.variables.iter().cloned())
            .args(["run", "app:make", "--log", "debug"]);
        process::output(0, &mut moon, &self.log, LIMIT)
    }

    /// What the task made.
    pub(crate) fn outputs(&self) -> Result<Snapshot, CompatError> {
        Snapshot::take(&self.dir.join("app"), &["out".into()], |_| false)
    }

    /// Removes the outputs, and what moon itself keeps of them.
    fn clean(&self) -> Result<(), CompatError> {
        for part in ["app/out", ".moon/cache"] {
            let path = self.dir.join(part);
            fs::remove_dir_all(&path).map_err(CompatError::io(&path))?;
        }
        Ok(())
    }
}
