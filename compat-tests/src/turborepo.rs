//! Turborepo's remote cache: what one workspace built, a clean one fetches; signed or not, and apart for each team.

use std::fs;
use std::net::SocketAddr;
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
pub(crate) const NAME: &str = "turbo";

const PACKAGES: NodePackages = NodePackages { name: NAME, packages: &["turbo@2.11.11"] };

const LIMIT: Duration = Duration::from_mins(2);

const WORKSPACES: u64 = 3;

/// Cold and warm, plain, signed, and behind an instance name with the questions that browsers ask first.
pub(crate) fn run(lab: &Lab, report: &mut Report<'_>) -> Result<(), CompatError> {
    let log = lab.dir(NAME)?.join("install.log");
    let turbo = PACKAGES.ensure(lab, &log)?;
    let version = process::output(0, turbo.command("turbo").arg("--version"), &log, LIMIT)?;
    report.note(NAME, version.trim());
    for (case, prefix, signed, preflight) in [
        ("plain", "", false, false),
        ("signed", "", true, false),
        ("instance", "/some/instance", false, true),
    ] {
        report.case(&format!("{NAME}/http/{case}"), || {
            let dir = lab.dir(&format!("{NAME}/{case}"))?;
            let server = Larder::start(lab, &dir)?;
            let workspace =
                Workspace::new(&dir, &turbo, server.address(), prefix, signed, preflight)?;
            cold_and_warm(server, &workspace)
        });
    }
    Ok(())
}

fn cold_and_warm(mut server: Larder, workspace: &Workspace<'_>) -> Result<String, CompatError> {
    let mut expectations = Expectations::of(&workspace.log);
    let preflights = |calls: u64| if workspace.preflight { calls } else { 0 };

    expectations.equal("cold: tasks from the cache", workspace.build("ours")?, 0);
    let built = workspace.outputs()?;
    let metrics = server.metrics()?;
    expectations.equal("cold: misses", metrics.ended("turborepo/GET", "NOT_FOUND"), WORKSPACES);
    expectations.equal("cold: artifacts stored", metrics.ended("turborepo/PUT", "OK"), WORKSPACES);
    let asked = metrics.ended("turborepo/OPTIONS", "OK");
    expectations.at_least("cold: preflights", asked, preflights(2 * WORKSPACES));

    server.crash_and_restart()?;
    workspace.clean()?;
    expectations.equal("warm: tasks from the cache", workspace.build("ours")?, WORKSPACES);
    let metrics = server.metrics()?;
    expectations.equal("warm: misses", metrics.ended("turborepo/GET", "NOT_FOUND"), 0);
    // One more asks for the status.
    expectations.at_least("warm: hits", metrics.ended("turborepo/GET", "OK"), WORKSPACES);
    expectations.equal("warm: artifacts stored", metrics.calls("turborepo/PUT"), 0);
    expectations.equal("identical outputs", built == workspace.outputs()?, true);

    workspace.clean()?;
    expectations.equal("another team: tasks from the cache", workspace.build("theirs")?, 0);
    expectations.met()?;
    server.stop()?;
    Ok(format!("{WORKSPACES} tasks executed, then {WORKSPACES} cached, none for another team"))
}

struct Workspace<'a> {
    turbo: &'a NodeInstall,
    dir: PathBuf,
    api: String,
    signed: bool,
    preflight: bool,
    log: PathBuf,
}

impl<'a> Workspace<'a> {
    fn new(
        dir: &Path,
        turbo: &'a NodeInstall,
        address: SocketAddr,
        prefix: &str,
        signed: bool,
        preflight: bool,
    ) -> Result<Self, CompatError> {
        let api = format!("http://{address}{prefix}");
        let log = dir.join("turbo.log");
        let workspace = Self { turbo, dir: dir.join("workspace"), api, signed, preflight, log };
        workspace.write_all()?;
        Ok(workspace)
    }

    fn write_all(&self) -> Result<(), CompatError> {
        let packages = json!(["packages/*"]);
        let mut locked = json!({ "": { "name": "root", "workspaces": packages } });
        for number in 0..WORKSPACES {
            let name = format!("p{number}");
            let build = format!("mkdir -p dist && seq {number} 9999 > dist/out.txt");
            let package =
                json!({ "name": name, "version": "1.0.0", "scripts": { "build": build } });
            let root = format!("packages/{name}");
            self.write(&format!("{root}/package.json"), &package)?;
            locked[format!("node_modules/{name}")] = json!({ "resolved": root, "link": true });
            locked[root] = json!({ "version": "1.0.0" });
        }
        let manager = "npm@10.9.3";
        let root = json!({ "name": "root", "private": true, "packageManager": manager, "workspaces": packages });
        self.write("package.json", &root)?;
        let lock =
            json!({ "name": "root", "lockfileVersion": 3, "requires": true, "packages": locked });
        self.write("package-lock.json", &lock)?;
        let build = json!({ "inputs": ["package.json"], "outputs": ["dist/**"] });
        let turbo =
            json!({ "remoteCache": { "signature": self.signed }, "tasks": { "build": build } });
        self.write("turbo.json", &turbo)
    }

    /// Builds for a team; how many tasks turbo says were cached.
    fn build(&self, team: &str) -> Result<u64, CompatError> {
        let mut turbo = self.turbo.command("turbo");
        turbo
            .current_dir(&self.dir)
            .args(["run", "build", "--cache=remote:rw"])
            .args(self.preflight.then_some("--preflight"))
            .env("HOME", &self.dir)
            .env("TURBO_API", &self.api)
            .env("TURBO_TEAM", team)
            .env("TURBO_TOKEN", "secret")
            .env("TURBO_TELEMETRY_DISABLED", "1")
            .env("TURBO_NO_UPDATE_NOTIFIER", "1");
        if self.signed {
            turbo.env("TURBO_REMOTE_CACHE_SIGNATURE_KEY", "a key of at least thirty-two bytes");
        }
        let printed = process::output(0, &mut turbo, &self.log, LIMIT)?;
        cached(&printed).ok_or_else(|| CompatError::Unreadable {
            what: "what turbo printed",
            text: printed,
            log: self.log.clone(),
        })
    }

    /// Removes all that a build leaves.
    fn clean(&self) -> Result<(), CompatError> {
        for number in 0..WORKSPACES {
            for name in ["dist", ".turbo"] {
                let path = self.dir.join(format!("packages/p{number}/{name}"));
                fs::remove_dir_all(&path).map_err(CompatError::io(&path))?;
            }
        }
        Ok(())
    }

    fn outputs(&self) -> Result<Vec<Vec<u8>>, CompatError> {
        let output = |number| {
            let path = self.dir.join(format!("packages/p{number}/dist/out.txt"));
            fs::read(&path).map_err(CompatError::io(&path))
        };
        (0..WORKSPACES).map(output).collect()
    }

    fn write(&self, name: &str, value: &Value) -> Result<(), CompatError> {
        let path = self.dir.join(name);
        path.parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&path, value.to_string()))
            .map_err(CompatError::io(&path))
    }
}

/// Reads ` Cached:    3 cached, 3 total`.
fn cached(printed: &str) -> Option<u64> {
    let line = printed.lines().find_map(|line| line.trim_start().strip_prefix("Cached:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_tasks_are_read() {
        let printed = "p0:build: cache hit\n\n  Tasks:    3 successful, 3 total\n Cached:    2 cached, 3 total\n";
        assert_eq!(cached(printed), Some(2));
        assert_eq!(cached("nothing"), None);
    }
}
