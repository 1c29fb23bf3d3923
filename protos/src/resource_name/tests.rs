//! The forms of resource names, one line a case.

use proptest::prelude::*;

use super::*;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";

fn unmarked(_: &InstanceName, hex_digits: usize) -> Option<DigestFunction> {
    DigestFunction::inferred_from(hex_digits)
}

fn fill(pattern: &str) -> String {
    pattern.replace("HEX", HEX).replace("MD5", MD5)
}

/// `canonical` is how the name reads after parsing, empty for "as it was".
fn check_read(pattern: &str, function: DigestFunction, canonical: &str) {
    let name = fill(pattern);
    let parsed = ReadName::parse(&name, unmarked).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(parsed.digest.function(), function, "{name}");
    let canonical = if canonical.is_empty() { name } else { fill(canonical) };
    assert_eq!(parsed.to_string(), canonical);
}

fn check_write(pattern: &str, instance: &str, id: &str, size_bytes: u64) {
    let name = fill(pattern);
    let parsed = WriteName::parse(&name, unmarked).unwrap_or_else(|error| panic!("{error}"));
    let actual = (parsed.instance.as_str(), &*parsed.upload_id, parsed.digest.size_bytes());
    assert_eq!(actual, (instance, id, size_bytes), "{name}");
}

fn check_refused(pattern: &str) {
    let name = fill(pattern);
    assert!(ReadName::parse(&name, unmarked).is_err(), "read {name:?}");
    assert!(WriteName::parse(&name, unmarked).is_err(), "write {name:?}");
}

#[test]
fn names_to_read() {
    use DigestFunction::{Blake3, GitSha1, Md5, Sha1, Sha256, Sha256Tree};
    check_read("blobs/HEX/0", Sha256, "");
    check_read("main/blobs/HEX/12", Sha256, "");
    check_read("a/b/c/blobs/HEX/12", Sha256, "");
    check_read("blobs/sha256/HEX/12", Sha256, "blobs/HEX/12");
    check_read("blobs/blake3/HEX/12", Blake3, "");
    check_read("blobs/sha256tree/HEX/12", Sha256Tree, "");
    check_read("blobs/MD5/9223372036854775807", Md5, "");
    check_read("blobs/MD500000000/1", Sha1, "");
    check_read("blobs/gitsha1/MD500000000/1", GitSha1, "");
    check_read("compressed-blobs/zstd/HEX/12", Sha256, "");
    check_read("i/compressed-blobs/zstd/blake3/HEX/12", Blake3, "");
    check_read("blobs/HEX/007", Sha256, "blobs/HEX/7");
    // Clients that always write the slash after the instance name write this for the empty one.
    check_read("/blobs/HEX/12", Sha256, "blobs/HEX/12");
}

#[test]
fn names_to_write() {
    check_write("uploads/id/blobs/HEX/12", "", "id", 12);
    check_write("a/b/uploads/id/blobs/HEX/12", "a/b", "id", 12);
    check_write("uploads/id/blobs/HEX/12/file.txt", "", "id", 12);
    check_write("uploads/id/blobs/HEX/12/a/b/c", "", "id", 12);
    check_write("uploads/id/compressed-blobs/zstd/blake3/HEX/12/x", "", "id", 12);
    check_write("uploads/blobs/blobs/HEX/12", "", "blobs", 12);
}

#[test]
fn names_that_are_refused() {
    check_refused("");
    check_refused("/");
    check_refused("blobs");
    check_refused("blobs/HEX");
    check_refused("blobs/HEX/");
    check_refused("blobs/HEX/-1");
    check_refused("blobs/HEX/+1");
    check_refused("blobs/HEX/1x");
    check_refused("blobs/HEX/9223372036854775808");
    check_refused("blobs/abc/1");
    check_refused("blobs/blake3/MD5/1");
    check_refused("blobs/../../etc/passwd");
    check_refused("compressed-blobs/HEX/1");
    check_refused("compressed-blobs/identity/HEX/1");
    check_refused("compressed-blobs/deflate/HEX/1");
    check_refused("actions/blobs/HEX/1");
    check_refused("uploads//blobs/HEX/1");
    check_refused("uploads/id/HEX/1");
    check_refused("uploads/id/uploads/id/blobs/HEX/1");
}

#[test]
fn a_read_name_ends_with_the_size() {
    assert!(ReadName::parse(&fill("blobs/HEX/12/tail"), unmarked).is_err());
}

#[test]
fn what_a_name_leaves_open_is_asked_for() {
    let blake3 = |instance: &InstanceName, hex_digits: usize| {
        assert_eq!((instance.as_str(), hex_digits), ("buck", 64));
        Some(DigestFunction::Blake3)
    };
    let parsed = ReadName::parse(&fill("buck/blobs/HEX/1"), blake3).expect("a good name");
    assert_eq!(parsed.digest.function(), DigestFunction::Blake3);
}

proptest! {
    #[test]
    fn canonical_text_is_parsed_back(
        instance in "([a-z]{1,5}(/[a-z]{1,5}){0,3})?",
        upload_id in "[a-zA-Z0-9-]{1,40}",
        blob: Vec<u8>,
        function in prop::sample::select(DigestFunction::ALL.to_vec()),
        compressor in prop::sample::select(vec![Compressor::Identity, Compressor::Zstd]),
    ) {
        let instance = InstanceName::parse(&instance);
        prop_assume!(instance.is_ok());
        let instance = instance.expect("assumed");
        let digest = Digest::of(function, &blob);
        let read = ReadName { instance: instance.clone(), compressor, digest };
        prop_assert_eq!(&ReadName::parse(&read.to_string(), unmarked), &Ok(read));
        let write = WriteName { instance, upload_id, compressor, digest };
        prop_assert_eq!(&WriteName::parse(&write.to_string(), unmarked), &Ok(write));
    }

    #[test]
    fn arbitrary_names_never_panic(name in "(blobs|uploads|zstd|blake3|[0-9a-f]{64}|/|.){0,12}") {
        let _ = ReadName::parse(&name, unmarked);
        let _ = WriteName::parse(&name, unmarked);
    }
}
