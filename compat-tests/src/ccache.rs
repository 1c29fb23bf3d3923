//! ccache over HTTP, in the layouts that it offers: what one cache directory compiled, an empty one finds on the server.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::error::{CompatError, Unmet};
use crate::install::DebianPackage;
use crate::lab::Lab;
use crate::larder::Larder;
use crate::process;
use crate::report::Report;

/// What the command line calls it.
pub(crate) const NAME: &str = "ccache";

const PACKAGE: DebianPackage = DebianPackage { program: "ccache", package: "ccache" };

/// How ccache makes URLs of its keys.
const LAYOUTS: [&str; 3] = ["bazel", "flat", "subdirs"];

const SOURCES: u32 = 5;
const COMPILE_LIMIT: Duration = Duration::from_mins(1);

/// Each layout, cold and warm.
pub(crate) fn run(lab: &Lab, report: &mut Report<'_>) -> Result<(), CompatError> {
    let dir = lab.dir(NAME)?;
    PACKAGE.ensure(&dir.join("install.log"))?;
    let version = PACKAGE.version().unwrap_or_else(|| "not Debian's, version unknown".to_owned());
    report.note(NAME, &version);
    for layout in LAYOUTS {
        report.case(&format!("{NAME}/http/{layout}"), || {
            cold_and_warm(lab, &lab.dir(&format!("{NAME}/{layout}"))?, layout)
        });
    }
    Ok(())
}

fn cold_and_warm(lab: &Lab, dir: &Path, layout: &str) -> Result<String, CompatError> {
    let mut server = Larder::start(lab, dir)?;
    let cold = Cache::new(dir, "cold", server.address(), layout);
    let compiled = cold.compile_all()?;
    let stored = cold.statistics()?;
    server.crash_and_restart()?;
    let warm = Cache::new(dir, "warm", server.address(), layout);
    let fetched = warm.compile_all()?;
    let found = warm.statistics()?;
    server.stop()?;

    let mut unmet = Vec::new();
    let mut expect = |run: &str, statistics: &BTreeMap<String, u32>, key: &str, expected: u32| {
        let actual = statistics.get(key).copied().unwrap_or_default();
        if actual != expected {
            unmet.push(Unmet::new(format!("{run}: expected {key} {expected}, got {actual}")));
        }
    };
    expect("cold", &stored, "cache_miss", SOURCES);
    expect("cold", &stored, "remote_storage_error", 0);
    expect("warm", &found, "cache_miss", 0);
    expect("warm", &found, "remote_storage_hit", SOURCES);
    expect("warm", &found, "remote_storage_error", 0);
    if compiled != fetched {
        unmet.push(Unmet::new("expected identical object files, got others from the cache"));
    }
    if unmet.is_empty() {
        return Ok(format!("{SOURCES} compiled, then {SOURCES} hits in a new cache directory"));
    }
    Err(CompatError::Unmet { unmet, log: warm.log })
}

/// A cache directory of ccache's, which shares what it compiles through the server.
struct Cache {
    dir: PathBuf,
    storage: String,
    log: PathBuf,
}

impl Cache {
    fn new(dir: &Path, name: &str, address: SocketAddr, layout: &str) -> Self {
        Self {
            dir: dir.join(name),
            storage: format!("http://{address}/kv|layout={layout}"),
            log: dir.join(format!("{name}.log")),
        }
    }

    fn ccache(&self) -> Command {
        let mut command = Command::new(PACKAGE.program);
        command
            .env("CCACHE_CONFIGPATH", "/dev/null")
            .env("CCACHE_DIR", self.dir.join("cache"))
            .env("CCACHE_REMOTE_STORAGE", &self.storage);
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
