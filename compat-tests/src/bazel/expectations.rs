//! What a cold and a warm build must look like: pure rules over [`BuildRecord`]s.

use std::collections::BTreeSet;

use super::console::TestVerdict;
use super::execution_log::Spawn;
use super::record::BuildRecord;
use crate::error::Unmet;

/// The tests of the workspace that pass.
const PASSING: [&str; 2] = ["//cc:greeting_test", "//tests:passing_test"];
/// The one that does not.
const FAILING: &str = "//tests:failing_test";
/// The workspace has more; fewer would mean that the log or the build is not what we take it for.
const CACHEABLE_AT_LEAST: usize = 20;

/// Against an empty cache everything runs.
pub(super) fn cold(record: &BuildRecord) -> Vec<Unmet> {
    let mut unmet = Vec::new();
    let cacheable = record.spawns.iter().filter(|spawn| spawn.remote_cacheable).count();
    if cacheable < CACHEABLE_AT_LEAST {
        unmet.push(format!(
            "expected {CACHEABLE_AT_LEAST} cacheable spawns or more, got {cacheable}"
        ));
    }
    for spawn in record.spawns.iter().filter(|spawn| spawn.remote_cache_hit) {
        unmet.push(format!("expected {} to run in a cold build, got a hit", spawn.identity()));
    }
    let mut unmet: Vec<_> = unmet.into_iter().map(Unmet::new).collect();
    unmet.extend(tests(record, TestVerdict::Passed));
    unmet.extend(agreement(record));
    unmet
}

/// Against the cache that `cold` filled nothing runs but the test that fails.
pub(super) fn warm(cold: &BuildRecord, record: &BuildRecord) -> Vec<Unmet> {
    let mut unmet = Vec::new();
    for spawn in &record.spawns {
        let excused = spawn.test_target() == Some(FAILING);
        if spawn.remote_cacheable && !spawn.remote_cache_hit && !excused {
            let (identity, runner) = (spawn.identity(), &spawn.runner);
            unmet.push(format!("expected a remote cache hit for {identity}, got {runner}"));
        }
    }
    let identities = |record: &BuildRecord| -> BTreeSet<_> {
        record.spawns.iter().map(Spawn::identity).collect()
    };
    for missing in identities(cold).difference(&identities(record)) {
        unmet.push(format!("expected {missing} in the log of the warm build, got nothing"));
    }
    let mut unmet: Vec<_> = unmet.into_iter().map(Unmet::new).collect();
    unmet.extend(tests(record, TestVerdict::CachedPass));
    unmet.extend(agreement(record));
    unmet
}

/// The passing tests passed as `passing` says; the failing one really ran and failed.
fn tests(record: &BuildRecord, passing: TestVerdict) -> Vec<Unmet> {
    let expected =
        PASSING.map(|label| (label, passing)).into_iter().chain([(FAILING, TestVerdict::Failed)]);
    let mut unmet = Vec::new();
    for (label, verdict) in expected {
        let actual = record.console.tests.get(label);
        if actual != Some(&verdict) {
            unmet.push(Unmet::new(format!("expected {label} as {verdict:?}, got {actual:?}")));
        }
    }
    // Beside the test itself a spawn turns its log into XML. That one may hit or not: the log's seconds are part of its command.
    let ran = |spawn: &Spawn| {
        spawn.test_target() == Some(FAILING) && spawn.exit_code != 0 && !spawn.remote_cache_hit
    };
    if !record.spawns.iter().any(ran) {
        unmet.push(Unmet::new(format!("expected {FAILING} to run and fail, got no such spawn")));
    }
    unmet
}

/// What Bazel printed and what it logged must be the same story.
fn agreement(record: &BuildRecord) -> Vec<Unmet> {
    let printed = (record.console.remote_cache_hits, record.console.run);
    let logged = (record.hits(), record.spawns.len() - record.hits());
    if printed == logged {
        return Vec::new();
    }
    vec![Unmet::new(format!(
        "expected the console and the execution log to agree, got (hits, run) {printed:?} and {logged:?}"
    ))]
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::bazel::console::Console;
    use crate::bazel::execution_log::Variable;

    fn failing_test() -> Spawn {
        let target = Variable { name: "TEST_TARGET".to_owned(), value: FAILING.to_owned() };
        Spawn {
            mnemonic: "TestRunner".to_owned(),
            remote_cacheable: true,
            exit_code: 1,
            environment_variables: vec![target],
            ..Spawn::default()
        }
    }

    fn record(change: impl Fn(usize, &mut Spawn), passing: TestVerdict) -> BuildRecord {
        let mut spawns: Vec<_> = (0..20)
            .map(|index| Spawn {
                mnemonic: "Genrule".to_owned(),
                listed_outputs: vec![format!("out/{index}")],
                remote_cacheable: true,
                ..Spawn::default()
            })
            .chain([failing_test()])
            .collect();
        spawns.iter_mut().enumerate().for_each(|(index, spawn)| change(index, spawn));
        let hits = spawns.iter().filter(|spawn| spawn.remote_cache_hit).count();
        let mut console = Console { remote_cache_hits: hits, run: 21 - hits, ..Console::default() };
        console.tests.extend(PASSING.map(|label| (label.to_owned(), passing)));
        console.tests.insert(FAILING.to_owned(), TestVerdict::Failed);
        BuildRecord { console, spawns, took: Duration::ZERO, log: PathBuf::new() }
    }

    fn hit_all_but(missed: Option<usize>) -> impl Fn(usize, &mut Spawn) {
        move |index, spawn| spawn.remote_cache_hit = index < 20 && Some(index) != missed
    }

    #[test]
    fn a_cold_build_has_no_hit() {
        assert_eq!(cold(&record(|_, _| {}, TestVerdict::Passed)), []);
        let one_hit =
            record(|index, spawn| spawn.remote_cache_hit = index == 3, TestVerdict::Passed);
        assert_eq!(
            cold(&one_hit),
            [Unmet::new("expected Genrule out/3 to run in a cold build, got a hit")]
        );
    }

    #[test]
    fn a_warm_build_has_nothing_but_hits() {
        let before = record(|_, _| {}, TestVerdict::Passed);
        assert_eq!(warm(&before, &record(hit_all_but(None), TestVerdict::CachedPass)), []);
        let one_miss = record(hit_all_but(Some(7)), TestVerdict::CachedPass);
        assert_eq!(
            warm(&before, &one_miss),
            [Unmet::new("expected a remote cache hit for Genrule out/7, got ")]
        );
    }

    #[test]
    fn a_warm_build_that_lost_a_spawn_or_ran_a_passing_test_is_refused() {
        let before = record(|_, _| {}, TestVerdict::Passed);
        let mut shorter = record(hit_all_but(None), TestVerdict::CachedPass);
        shorter.spawns.remove(0);
        shorter.console.remote_cache_hits -= 1;
        assert_eq!(warm(&before, &shorter).len(), 1);
        assert_eq!(warm(&before, &record(hit_all_but(None), TestVerdict::Passed)).len(), 2);
    }

    #[test]
    fn the_failing_test_must_run_and_fail_each_time() {
        let before = record(|_, _| {}, TestVerdict::Passed);
        let cached_failure =
            record(|_, spawn| spawn.remote_cache_hit = true, TestVerdict::CachedPass);
        assert_eq!(warm(&before, &cached_failure).len(), 1);
        let passes = record(
            |index, spawn| {
                hit_all_but(None)(index, spawn);
                spawn.exit_code = 0;
            },
            TestVerdict::CachedPass,
        );
        assert_eq!(warm(&before, &passes).len(), 1);
    }

    #[test]
    fn console_and_log_must_agree() {
        let mut lying = record(|_, _| {}, TestVerdict::Passed);
        lying.console.run -= 1;
        assert_eq!(cold(&lying).len(), 1);
    }
}
