//! Runs [`larder_testkit::fuzz_targets::origin`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| larder_testkit::fuzz_targets::origin(data));
