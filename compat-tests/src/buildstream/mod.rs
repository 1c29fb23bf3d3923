//! `BuildStream`: its storage service (CAS alone), and its artifact and source caches, which find things by Remote Asset.

mod project;

use std::path::Path;

use crate::buildbox::PACKAGES;
use crate::error::CompatError;
use crate::expectations::Expectations;
use crate::install::DebianPackage;
use crate::lab::Lab;
use crate::larder::Larder;
use crate::report::Report;
use project::{Caches, Project};

/// What the command line calls it.
pub(crate) const NAME: &str = "buildstream";

const VERSION: &str = "BuildStream==2.8.1";
/// A case: the lab, the client's folder and its own.
type Case = fn(&Lab, &Path, &Path) -> Result<String, CompatError>;

/// The sandbox that elements are built in.
const BUBBLEWRAP: DebianPackage = DebianPackage { program: "bwrap", package: "bubblewrap" };
/// What is in the sandbox.
const BUSYBOX: DebianPackage = DebianPackage { program: "busybox", package: "busybox-static" };

/// Elements that the project builds.
const ELEMENTS: u32 = 3;
/// What the last of them makes.
const FILES: usize = 3;

/// Each cache: cold, then warm with nothing left on this machine after a crash.
pub(crate) fn run(lab: &Lab, report: &mut Report<'_>) -> Result<(), CompatError> {
    let log = lab.dir(NAME)?.join("install.log");
    for package in [&BUBBLEWRAP, &BUSYBOX] {
        package.ensure(&log)?;
    }
    let environment = PACKAGES.ensure(lab, &log)?;
    report.note(NAME, VERSION);
    let cases: [(&str, Case); 3] = [
        ("storage-service", storage_service),
        ("artifact-cache", artifact_cache),
        ("source-cache", source_cache),
    ];
    for (name, case) in cases {
        report.case(&format!("{NAME}/{name}"), || {
            case(lab, &lab.dir(&format!("{NAME}/{name}"))?, &environment)
        });
    }
    Ok(())
}

/// The blobs lie in the server; the local cache keeps but what names them.
fn storage_service(lab: &Lab, dir: &Path, environment: &Path) -> Result<String, CompatError> {
    let mut larder = Larder::start(lab, dir)?;
    let project = Project::new(environment, dir, larder.address(), Caches::Storage)?;
    let mut expectations = Expectations::of(&project.log);
    let built = project.bst(&["build", "made.bst"])?;
    expectations.equal("cold: elements built", processed(&built, "Build Queue"), Some(ELEMENTS));
    let made = project.checkout("cold")?;
    expectations.equal("files made", made.file_count(), FILES);
    expectations.at_least("blobs stored", larder.metrics()?.blobs_stored(), 5);

    larder.crash_and_restart()?;
    project.forget("cas")?;
    expectations.extend(made.differences(&project.checkout("warm")?));
    let read = larder.metrics()?.blob_hits();
    expectations.at_least("blobs read, counted by the server", read, 4);
    let again = project.bst(&["build", "made.bst"])?;
    expectations.equal("warm: elements built", processed(&again, "Build Queue"), Some(0));
    expectations.met()?;
    larder.stop()?;
    Ok(format!("{FILES} files identical after kill -9 and without local blobs, {read} blobs read"))
}

/// What one machine built, another one pulls.
fn artifact_cache(lab: &Lab, dir: &Path, environment: &Path) -> Result<String, CompatError> {
    let mut larder = Larder::start(lab, dir)?;
    let project = Project::new(environment, dir, larder.address(), Caches::Artifacts)?;
    let mut expectations = Expectations::of(&project.log);
    let built = project.bst(&["build", "made.bst"])?;
    expectations.equal("cold: elements built", processed(&built, "Build Queue"), Some(ELEMENTS));
    expectations.equal("cold: artifacts pulled", processed(&built, "Pull Queue"), Some(0));
    expectations.equal("cold: artifacts pushed", processed(&built, "Push Queue"), Some(ELEMENTS));
    let made = project.checkout("cold")?;
    let stored = larder.metrics()?;
    expectations.at_least("pushes", stored.calls("Push/PushBlob"), u64::from(ELEMENTS));

    larder.crash_and_restart()?;
    project.forget("")?;
    let pulled = project.bst(&["build", "made.bst"])?;
    expectations.at_least("warm: artifacts pulled", processed(&pulled, "Pull Queue"), Some(1));
    expectations.equal("warm: elements built", processed(&pulled, "Build Queue"), Some(0));
    expectations.extend(made.differences(&project.checkout("warm")?));
    let metrics = larder.metrics()?;
    expectations.at_least("fetches", metrics.calls("Fetch/FetchBlob"), 1);
    expectations.at_least("blobs read, counted by the server", metrics.blob_hits(), 4);
    expectations.met()?;
    larder.stop()?;
    let pulled = processed(&pulled, "Pull Queue").unwrap_or_default();
    Ok(format!("{ELEMENTS} built and pushed; after kill -9 {pulled} pulled, none built, identical"))
}

/// Sources that one machine has fetched and pushed, another one pulls, and builds from.
fn source_cache(lab: &Lab, dir: &Path, environment: &Path) -> Result<String, CompatError> {
    let mut larder = Larder::start(lab, dir)?;
    let project = Project::new(environment, dir, larder.address(), Caches::Sources)?;
    let mut expectations = Expectations::of(&project.log);
    let pushed = project.bst(&["source", "push", "files.bst"])?;
    expectations.equal("cold: sources pushed", processed(&pushed, "Src-push Queue"), Some(1));
    let pushes = |larder: &Larder| {
        larder.metrics().map(|m| m.calls("Push/PushDirectory") + m.calls("Push/PushBlob"))
    };
    expectations.says("source push, cold", &pushed, "Pushed source");
    expectations.at_least("pushes", pushes(&larder)?, 1);

    larder.crash_and_restart()?;
    project.forget("")?;
    let fetched = project.bst(&["source", "fetch", "files.bst"])?;
    expectations.says("source fetch, warm", &fetched, "Pulled source");
    let metrics = larder.metrics()?;
    let fetches = metrics.calls("Fetch/FetchDirectory") + metrics.calls("Fetch/FetchBlob");
    expectations.at_least("fetches", fetches, 1);
    expectations.at_least("blobs read, counted by the server", metrics.blob_hits(), 1);
    expectations.met()?;
    larder.stop()?;
    Ok(format!("a source pushed; after kill -9 pulled by {fetches} fetches"))
}

/// `    Pull Queue:  processed 3, skipped 0, failed 0`
fn processed(printed: &str, queue: &str) -> Option<u32> {
    let rest = printed.lines().find_map(|line| {
        line.trim().strip_prefix(queue)?.strip_prefix(':')?.trim().strip_prefix("processed ")
    })?;
    rest.split(',').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_queue_processed_is_read() {
        let printed = "Pipeline Summary\n    Total:       3\n    \
                       Fetch Queue: processed 2, skipped 1, failed 0 \n    \
                       Src-push Queue: processed 4, skipped 0, failed 0\n    \
                       Push Queue:  processed 3, skipped 0, failed 0\n";
        let table = [
            ("Fetch Queue", Some(2)),
            ("Push Queue", Some(3)),
            ("Src-push Queue", Some(4)),
            ("Build Queue", None),
        ];
        for (queue, count) in table {
            assert_eq!(processed(printed, queue), count, "{queue}");
        }
    }

    #[test]
    fn the_version_is_the_one_that_is_installed() {
        assert!(PACKAGES.requirements.lines().any(|line| line == VERSION));
    }
}
