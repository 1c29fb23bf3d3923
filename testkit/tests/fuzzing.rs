//! The fuzz targets without a fuzzer: over their corpus, over changes of it, and over bytes that are made up.

use std::fs;
use std::path::PathBuf;

use larder_testkit::fuzz_targets::TARGETS;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

fn fuzz_dir() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz"))
}

/// The inputs that the repository keeps for a target.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let files = fs::read_dir(fuzz_dir().join("corpus").join(name)).expect("a corpus");
    files.map(|file| fs::read(file.expect("an entry").path()).expect("a file")).collect()
}

/// One byte set, a piece left out, or a piece repeated.
fn changed(mut input: Vec<u8>, kind: u8, at: usize, length: usize, byte: u8) -> Vec<u8> {
    if input.is_empty() {
        return vec![byte];
    }
    let at = at % input.len();
    let end = (at + length + 1).min(input.len());
    match kind {
        0 => input[at] = byte,
        1 => drop(input.drain(at..end)),
        _ => input.extend_from_within(at..end),
    }
    input
}

#[test]
fn every_target_has_a_program_and_a_corpus() {
    for (name, _) in TARGETS {
        let program = fuzz_dir().join("fuzz_targets").join(format!("{name}.rs"));
        let text = fs::read(program).expect("a program of the target's name");
        let text = String::from_utf8(text).expect("Rust is UTF-8");
        assert!(text.contains(&format!("fuzz_targets::{name}(data)")), "{name} runs itself");
        assert!(!corpus(name).is_empty(), "{name} has something to begin with");
    }
    let programs = fs::read_dir(fuzz_dir().join("fuzz_targets")).expect("programs").count();
    assert_eq!(programs, TARGETS.len(), "programs without a target");
}

#[test]
fn no_target_breaks_its_promise_over_its_corpus() {
    for (name, target) in TARGETS {
        for input in corpus(name) {
            target(&input);
        }
    }
}

#[test]
fn no_target_breaks_its_promise_over_changes_of_its_corpus() {
    for (name, target) in TARGETS {
        let changes = (0_u8..3, any::<usize>(), 0_usize..64, any::<u8>());
        let changes = proptest::collection::vec(changes, 1..6);
        let inputs = (proptest::sample::select(corpus(name)), changes);
        run(name, inputs, |(input, changes)| {
            let change = |input, (kind, at, length, byte)| changed(input, kind, at, length, byte);
            target(&changes.into_iter().fold(input, change));
        });
    }
}

#[test]
fn no_target_breaks_its_promise_over_bytes_that_are_made_up() {
    for (name, target) in TARGETS {
        run(name, proptest::collection::vec(any::<u8>(), 0..600), |input| target(&input));
    }
}

fn run<T: std::fmt::Debug>(name: &str, inputs: impl Strategy<Value = T>, target: impl Fn(T)) {
    let config = Config { failure_persistence: None, ..Config::with_cases(200) };
    let outcome = TestRunner::new(config).run(&inputs, |input| {
        target(input);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{name}: {failure}"));
}
