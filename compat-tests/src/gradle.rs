//! Gradle's build cache over HTTP: what one user home built, another one fetches.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::error::CompatError;
use crate::expectations::Expectations;
use crate::install::DebianPackage;
use crate::lab::Lab;
use crate::larder::Larder;
use crate::process;
use crate::report::Report;

/// What the command line calls it.
pub(crate) const NAME: &str = "gradle";

const PACKAGE: DebianPackage = DebianPackage { program: "gradle", package: "gradle" };

const LIMIT: Duration = Duration::from_mins(3);

const TASKS: u64 = 5;

/// Credentials are sent, as most set-ups have them; the server takes any.
const SETTINGS: &str = "
rootProject.name = 'larder'
buildCache {
    local { enabled = false }
    remote(HttpBuildCache) {
        url = System.getProperty('larder')
        push = true
        credentials {
            username = 'larder'
            password = 'secret'
        }
    }
}
";

/// Tasks without plugins, so that nothing is downloaded.
const BUILD: &str = "
@CacheableTask
class Shout extends DefaultTask {
    @Input String word
    @OutputFile File out
    @TaskAction void run() { out.text = word.toUpperCase() * 10000 }
}
task all
(1..TASKS).each { number ->
    def shout = task(\"shout$number\", type: Shout) {
        word = \"word $number, \"
        out = file(\"$buildDir/shout${number}.txt\")
    }
    all.dependsOn shout
}
";

/// Cold and warm, without an instance name and with one.
pub(crate) fn run(lab: &Lab, report: &mut Report<'_>) -> Result<(), CompatError> {
    let dir = lab.dir(NAME)?;
    PACKAGE.ensure(&dir.join("install.log"))?;
    let version = PACKAGE.version().unwrap_or_else(|| "not Debian's, version unknown".to_owned());
    report.note(NAME, &version);
    for (case, prefix) in [("plain", ""), ("instance", "/some/instance")] {
        report.case(&format!("{NAME}/http/{case}"), || {
            cold_and_warm(lab, &lab.dir(&format!("{NAME}/{case}"))?, prefix)
        });
    }
    Ok(())
}

fn cold_and_warm(lab: &Lab, dir: &Path, prefix: &str) -> Result<String, CompatError> {
    let mut server = Larder::start(lab, dir)?;
    let project = Project::new(dir, server.address(), prefix)?;
    let mut expectations = Expectations::of(&project.log);

    let printed = project.build("cold")?;
    let built = project.outputs()?;
    let metrics = server.metrics()?;
    expectations.equal("cold: tasks from the cache", from_cache(&printed), 0);
    expectations.equal("cold: misses", metrics.ended("gradle/GET", "NOT_FOUND"), TASKS);
    expectations.equal("cold: archives stored", metrics.ended("gradle/PUT", "OK"), TASKS);

    server.crash_and_restart()?;
    project.clean()?;
    let printed = project.build("warm")?;
    let metrics = server.metrics()?;
    expectations.equal("warm: tasks from the cache", from_cache(&printed), TASKS);
    expectations.equal("warm: hits", metrics.ended("gradle/GET", "OK"), TASKS);
    expectations.equal("warm: calls", metrics.calls("gradle/GET"), TASKS);
    expectations.equal("warm: archives stored", metrics.calls("gradle/PUT"), 0);
    expectations.equal("identical outputs", built == project.outputs()?, true);
    expectations.met()?;
    server.stop()?;
    Ok(format!("{TASKS} tasks executed, then {TASKS} FROM-CACHE in a new user home"))
}

/// How many tasks say that they were not executed.
fn from_cache(printed: &str) -> u64 {
    printed.lines().filter(|line| line.ends_with(" FROM-CACHE")).count() as u64
}

struct Project {
    dir: PathBuf,
    cache: String,
    log: PathBuf,
}

impl Project {
    fn new(dir: &Path, address: SocketAddr, prefix: &str) -> Result<Self, CompatError> {
        let project = Self {
            dir: dir.join("project"),
            cache: format!("http://{address}{prefix}/gradle/"),
            log: dir.join("gradle.log"),
        };
        fs::create_dir_all(&project.dir).map_err(CompatError::io(&project.dir))?;
        for (name, text) in [
            ("settings.gradle", SETTINGS.to_owned()),
            ("build.gradle", BUILD.replace("TASKS", &TASKS.to_string())),
        ] {
            let path = project.dir.join(name);
            fs::write(&path, text).map_err(CompatError::io(&path))?;
        }
        Ok(project)
    }

    /// Builds with a user home of this name; what Gradle printed.
    fn build(&self, home: &str) -> Result<String, CompatError> {
        let mut gradle = Command::new(PACKAGE.program);
        gradle
            .current_dir(&self.dir)
            .args(["--no-daemon", "--build-cache", "--console=plain", "--gradle-user-home"])
            .arg(self.dir.with_file_name(home))
            .arg(format!("-Dlarder={}", self.cache))
            .arg("all");
        process::output(0, &mut gradle, &self.log, LIMIT)
    }

    /// Removes all that a build leaves in the project.
    fn clean(&self) -> Result<(), CompatError> {
        for name in ["build", ".gradle"] {
            let path = self.dir.join(name);
            fs::remove_dir_all(&path).map_err(CompatError::io(&path))?;
        }
        Ok(())
    }

    fn outputs(&self) -> Result<Vec<Vec<u8>>, CompatError> {
        let output = |number| {
            let path = self.dir.join(format!("build/shout{number}.txt"));
            fs::read(&path).map_err(CompatError::io(&path))
        };
        (1..=TASKS).map(output).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_from_the_cache_are_counted() {
        let printed =
            ":shout1\n:shout2 FROM-CACHE\n:shout3 UP-TO-DATE\n:shout4 FROM-CACHE\n\nBUILD";
        assert_eq!(from_cache(printed), 2);
    }
}
