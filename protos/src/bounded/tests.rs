//! What is counted, what is refused, and that the decoder never makes more than was counted.

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::reapi::{self, ActionResult, NodeProperties, NodeProperty, OutputFile, OutputSymlink};
use crate::{asset, hot, rpc};

const UNLIMITED: usize = usize::MAX;

fn check(encoded: &[u8], shape: &Shape, expect: Result<usize, Malformed>) {
    assert_eq!(scan::count(encoded, shape, UNLIMITED), expect, "{encoded:02x?}");
}

#[test]
fn elements_are_counted_wherever_they_stand() {
    let shape = &ACTION_RESULT;
    check(b"", shape, Ok(0));
    check(b"\x12\x00\x12\x00", shape, Ok(2));
    check(b"\x20\x07\x2a\x02\x12\x00", shape, Ok(0));
    // A file with two properties, once in one part and once in two, which the decoder merges.
    check(b"\x12\x06\x3a\x04\x0a\x00\x0a\x00", shape, Ok(3));
    check(b"\x12\x08\x3a\x02\x0a\x00\x3a\x02\x0a\x00", shape, Ok(3));
    check(b"\x62\x02\x0a\x00\x4a\x04\x5a\x00\x5a\x00", shape, Ok(3));
    check(b"\x0a\x02\x0a\x00\x12\x04\x0a\x00\x12\x00", &TREE, Ok(4));
    // Fields of every type that are not known; a group's are skipped, also if they look like lists.
    check(b"\xc0\x3e\x01\xc1\x3e12345678\xc5\x3e1234\xc2\x3e\x01x", shape, Ok(0));
    check(b"\xc3\x3e\x12\x00\x13\x14\xc4\x3e\x12\x00", shape, Ok(1));
}

#[test]
fn numbers_are_counted_packed_or_not() {
    let shape = reapi::BatchReadBlobsRequest::SHAPE;
    check(b"\x1a\x03\x01\x80\x01\x18\x01\x12\x00", shape, Ok(4));
}

#[test]
fn what_breaks_the_rules_is_refused() {
    let shape = &ACTION_RESULT;
    check(b"\x12", shape, Err(Malformed::Truncated));
    check(b"\x12\x01", shape, Err(Malformed::Truncated));
    check(b"\x80", shape, Err(Malformed::Truncated));
    check(b"\x02\x00", shape, Err(Malformed::Key));
    check(b"\x16", shape, Err(Malformed::Key));
    check(b"\x80\x80\x80\x80\x80\x01\x00", shape, Err(Malformed::Key));
    check(b"\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", shape, Ok(0));
    check(b"\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", shape, Err(Malformed::Number));
    check(b"\x14", shape, Err(Malformed::Group));
    check(b"\x13", shape, Err(Malformed::Truncated));
    // The properties reach beyond the file that they stand in: the decoder would build them all before it noticed.
    check(b"\x12\x02\x3a\x04\x0a\x00\x0a\x00", shape, Err(Malformed::Truncated));
}

/// Groups that nobody knows, each within the one before it.
fn nested_groups(depth: usize) -> Vec<u8> {
    [b"\x7b".repeat(depth), b"\x7c".repeat(depth)].concat()
}

#[test]
fn groups_are_as_deep_as_prost_lets_them_be() {
    for (depth, expect) in [(100, Ok(0)), (101, Err(Malformed::Depth))] {
        let groups = nested_groups(depth);
        check(&groups, &ACTION_RESULT, expect);
        assert_eq!(ActionResult::decode(&groups[..]).is_ok(), expect.is_ok(), "{depth}");
    }
    // Beside each other they may be as many as there is room for, and in a message that is looked into there is one limit more.
    check(&b"\x7b\x7c".repeat(1_000), &ACTION_RESULT, Ok(0));
    check(&within(2, &nested_groups(101)), &ACTION_RESULT, Err(Malformed::Depth));
}

/// A digest is not looked into, so here it is prost that refuses.
#[test]
fn groups_in_a_message_without_lists_are_refused_by_the_decoder() {
    let request = within(2, &nested_groups(1_000_000));
    check(&request, reapi::FindMissingBlobsRequest::SHAPE, Ok(1));
    let refused = decode::<reapi::FindMissingBlobsRequest>(request.into());
    let refused = refused.expect_err("too deep").to_string();
    assert!(refused.ends_with("recursion limit reached"), "{refused}");
}

/// The field of this number, with these bytes.
fn within(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    prost::encode_length_delimiter(bytes.len(), &mut field).expect("a vector grows");
    field.extend_from_slice(bytes);
    field
}

#[test]
fn a_scan_ends_soon_after_its_limit() {
    let many = b"\x12\x00".repeat(1_000);
    assert_eq!(scan::count(&many, &ACTION_RESULT, 10), Ok(11));
}

#[test]
fn limits_grow_with_the_bytes() {
    assert_eq!(Limit::OUTPUTS.of(0), 16_384);
    assert_eq!(Limit::OUTPUTS.of(32 * 1_000), 17_384);
    assert_eq!(Limit::OUTPUTS.of(65 << 20), 1_000_000);
    assert_eq!(Limit::BATCH.of(16_384), 1_536);
    assert_eq!(Limit::BATCH.of(65 << 20), 65_536);
    let files = |count: usize| Bytes::from(b"\x12\x00".repeat(count));
    // Two bytes each: 16,384 + 2 n / 32.
    let allowed = decode::<ActionResult>(files(17_476)).expect("within the limit");
    assert_eq!(allowed.output_files.len(), 17_476);
    let refused = decode::<ActionResult>(files(17_477)).expect_err("over the limit");
    let expect = "ActionResult of 34954 B has more than 17476 elements in its lists";
    assert_eq!(refused.to_string(), expect);
    assert!(matches!(refused, BoundedError::TooManyElements { .. }));
}

#[test]
fn no_element_is_larger_than_its_bound() {
    for (element, size) in [
        ("OutputFile", size_of::<OutputFile>()),
        ("OutputSymlink", size_of::<OutputSymlink>()),
        ("OutputDirectory", size_of::<reapi::OutputDirectory>()),
        ("FileNode", size_of::<reapi::FileNode>()),
        ("DirectoryNode", size_of::<reapi::DirectoryNode>()),
        ("SymlinkNode", size_of::<reapi::SymlinkNode>()),
        ("Directory", size_of::<reapi::Directory>()),
        ("NodeProperty", size_of::<NodeProperty>()),
        ("Digest", size_of::<reapi::Digest>()),
        ("Qualifier", size_of::<asset::Qualifier>()),
        ("Status", size_of::<rpc::Status>()),
        ("Request", size_of::<hot::batch_update_blobs_request::Request>()),
        ("update Response", size_of::<reapi::batch_update_blobs_response::Response>()),
        ("read Response", size_of::<hot::batch_read_blobs_response::Response>()),
    ] {
        assert!(size <= MAX_ELEMENT_BYTES, "{element} takes {size} B");
    }
}

fn properties() -> impl Strategy<Value = Option<NodeProperties>> {
    prop::option::of((0..4_usize).prop_map(|count| NodeProperties {
        properties: vec![NodeProperty { name: "n".to_owned(), value: "v".to_owned() }; count],
        ..NodeProperties::default()
    }))
}

fn action_result() -> impl Strategy<Value = ActionResult> {
    let file = properties()
        .prop_map(|node_properties| OutputFile { node_properties, ..OutputFile::default() });
    let symlink = properties()
        .prop_map(|node_properties| OutputSymlink { node_properties, ..OutputSymlink::default() });
    let files = prop::collection::vec(file, 0..4);
    let symlinks = prop::collection::vec(symlink, 0..4);
    (files, symlinks, any::<i32>()).prop_map(|(output_files, output_symlinks, exit_code)| {
        ActionResult { output_files, output_symlinks, exit_code, ..ActionResult::default() }
    })
}

#[allow(deprecated, reason = "they are lists still")]
fn elements(result: &ActionResult) -> usize {
    let properties = |of: &Option<NodeProperties>| of.as_ref().map_or(0, |of| of.properties.len());
    let files = result.output_files.iter().map(|file| 1 + properties(&file.node_properties));
    let symlinks =
        [&result.output_symlinks, &result.output_file_symlinks, &result.output_directory_symlinks];
    let symlinks = symlinks.into_iter().flatten();
    let symlinks = symlinks.map(|symlink| 1 + properties(&symlink.node_properties));
    let metadata = result.execution_metadata.as_ref();
    let auxiliary = metadata.map_or(0, |metadata| metadata.auxiliary_metadata.len());
    files.sum::<usize>() + symlinks.sum::<usize>() + result.output_directories.len() + auxiliary
}

proptest! {
    #[test]
    fn what_is_whole_is_counted_exactly(result in action_result()) {
        let counted = scan::count(&result.encode_to_vec(), &ACTION_RESULT, UNLIMITED);
        prop_assert_eq!(counted, Ok(elements(&result)));
    }

    #[test]
    fn what_is_damaged_is_refused_or_counted_exactly(
        result in action_result(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut encoded = result.encode_to_vec();
        for (place, byte) in damage {
            if !encoded.is_empty() {
                let place = place.index(encoded.len());
                encoded[place] = byte;
            }
        }
        let counted = scan::count(&encoded, &ACTION_RESULT, UNLIMITED);
        if let Ok(decoded) = ActionResult::decode(&encoded[..]) {
            prop_assert_eq!(counted, Ok(elements(&decoded)), "{:02x?}", encoded);
        }
    }
}
