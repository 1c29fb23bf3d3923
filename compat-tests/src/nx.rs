//! Nx's self-hosted cache: what one workspace built, a clean one with an empty cache of its own fetches.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::CompatError;
use crate::expectations::Expectations;
use crate::install::{NodeInstall, NodePackages};
use crate::lab::Lab;
use crate::larder::Larder;
use crate::process;
use crate::report::Report;

/// What the command line calls it.
pub(crate) const NAME: &str = "nx";

const PACKAGES: NodePackages = NodePackages { name: NAME, packages: &["nx@24.0.6"] };

const LIMIT: Duration = Duration::from_mins(2);

const PROJECTS: u64 = 3;

/// Cold and warm, without an instance name and with one.
pub(crate) fn run(lab: &Lab, report: &mut Report<'_>) -> Result<(), CompatError> {
    let dir = lab.dir(NAME)?;
    let log = dir.join("install.log");
    let nx = PACKAGES.ensure(lab, &log)?;
    let version =
        process::output(0, nx.command("nx").current_dir(&dir).arg("--version"), &log, LIMIT)?;
    report.note(NAME, version.split_whitespace().collect::<Vec<_>>().join(" ").as_str());
    for (case, prefix) in [("plain", ""), ("instance", "/some/instance")] {
        report.case(&format!("{NAME}/http/{case}"), || {
            cold_and_warm(lab, &nx, &lab.dir(&format!("{NAME}/{case}"))?, prefix)
        });
    }
    Ok(())
}

fn cold_and_warm(
    lab: &Lab,
    nx: &NodeInstall,
    dir: &Path,
    prefix: &str,
) -> Result<String, CompatError> {
    let mut server = Larder::start(lab, dir)?;
    let workspace = Workspace::new(dir, nx, server.address(), prefix)?;
    let mut expectations = Expectations::of(&workspace.log);

    expectations.equal("cold: tasks from the remote cache", workspace.build("cold")?, 0);
    let built = workspace.outputs()?;
    let metrics = server.metrics()?;
    expectations.equal("cold: misses", metrics.ended("nx/GET", "NOT_FOUND"), PROJECTS);
    expectations.equal("cold: records stored", metrics.ended("nx/PUT", "OK"), PROJECTS);

    server.crash_and_restart()?;
    workspace.clean()?;
    expectations.equal("warm: tasks from the remote cache", workspace.build("warm")?, PROJECTS);
    let metrics = server.metrics()?;
    expectations.equal("warm: hits", metrics.ended("nx/GET", "OK"), PROJECTS);
    expectations.equal("warm: calls", metrics.calls("nx/GET"), PROJECTS);
    expectations.equal("warm: records stored", metrics.calls("nx/PUT"), 0);
    expectations.equal("identical outputs", built == workspace.outputs()?, true);
    expectations.met()?;
    server.stop()?;
    Ok(format!("{PROJECTS} tasks executed, then {PROJECTS} from the remote cache"))
}

struct Workspace<'a> {
    nx: &'a NodeInstall,
    dir: PathBuf,
    server: String,
    log: PathBuf,
}

impl<'a> Workspace<'a> {
    fn new(
        dir: &Path,
        nx: &'a NodeInstall,
        address: SocketAddr,
        prefix: &str,
    ) -> Result<Self, CompatError> {
        let server = format!("http://{address}{prefix}");
        let workspace = Self { nx, dir: dir.join("workspace"), server, log: dir.join("nx.log") };
        workspace.write("package.json", &json!({ "name": "root", "private": true }))?;
        let settings = json!({ "neverConnectToCloud": true, "analytics": false });
        workspace.write("nx.json", &settings)?;
        for number in 0..PROJECTS {
            let (name, root) = (format!("p{number}"), format!("packages/p{number}"));
            let dist = format!("{root}/dist");
            let build = json!({
                "command": format!("mkdir -p {dist} && seq {number} 9999 > {dist}/out.txt"),
                "cache": true,
                "inputs": ["{projectRoot}/project.json"],
                "outputs": ["{projectRoot}/dist"],
            });
            let project = json!({ "name": name, "root": root, "targets": { "build": build } });
            workspace.write(&format!("{root}/project.json"), &project)?;
        }
        let modules = workspace.dir.join("node_modules");
        symlink(nx.modules(), &modules).map_err(CompatError::io(&modules))?;
        Ok(workspace)
    }

    /// Builds with a cache of this name; how many tasks Nx says were in the remote one.
    fn build(&self, cache: &str) -> Result<u64, CompatError> {
        let mut nx = self.nx.command("nx");
        nx.current_dir(&self.dir)
            .args(["run-many", "--target=build", "--output-style=static"])
            .env("HOME", &self.dir)
            .env("CI", "true")
            .env("NO_COLOR", "1")
            .env("NX_DAEMON", "false")
            .env("NX_NO_CLOUD", "true")
            .env("NX_CACHE_DIRECTORY", self.dir.with_file_name(cache))
            .env("NX_WORKSPACE_DATA_DIRECTORY", self.dir.with_file_name(format!("{cache}-data")))
            .env("NX_SELF_HOSTED_REMOTE_CACHE_SERVER", &self.server)
            .env("NX_SELF_HOSTED_REMOTE_CACHE_ACCESS_TOKEN", "secret");
        let printed = process::output(0, &mut nx, &self.log, LIMIT)?;
        Ok(remote(&printed))
    }

    /// Removes all that a build leaves.
    fn clean(&self) -> Result<(), CompatError> {
        for number in 0..PROJECTS {
            let path = self.dir.join(format!("packages/p{number}/dist"));
            fs::remove_dir_all(&path).map_err(CompatError::io(&path))?;
        }
        Ok(())
    }

    fn outputs(&self) -> Result<Vec<Vec<u8>>, CompatError> {
        let output = |number| {
            let path = self.dir.join(format!("packages/p{number}/dist/out.txt"));
            fs::read(&path).map_err(CompatError::io(&path))
        };
        (0..PROJECTS).map(output).collect()
    }

    fn write(&self, name: &str, value: &Value) -> Result<(), CompatError> {
        let path = self.dir.join(name);
        path.parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&path, value.to_string()))
            .map_err(CompatError::io(&path))
    }
}

/// How many tasks are marked as found in the remote cache.
fn remote(printed: &str) -> u64 {
    printed.lines().filter(|line| line.contains("[remote cache]")).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_from_the_remote_cache_are_counted() {
        let printed = "> nx run p0:build  [remote cache]\n> nx run p1:build  [local cache]\n";
        assert_eq!(remote(printed), 1);
    }
}
