//! The twins of `hot` are, on the wire, the messages that they stand for.

use std::fmt::Debug;

use bazel_remote_apis::build::bazel::remote::execution::v2 as published;
use bazel_remote_apis::google::bytestream as published_bytestream;
use bazel_remote_apis::google::rpc;
use larder_protos::hot;
use proptest::prelude::*;
use prost::Message;

/// Both encode to the same bytes, and each reads what the other wrote, also with a field that neither knows.
fn assert_twins<T, P>(published: &P) -> Result<(), TestCaseError>
where
    T: Message + Default + PartialEq + Debug,
    P: Message + Default + PartialEq + Debug,
{
    let encoded = published.encode_to_vec();
    let twin = T::decode(&encoded[..]).expect("the twin reads it");
    prop_assert_eq!(&twin.encode_to_vec(), &encoded);
    prop_assert_eq!(&P::decode(&twin.encode_to_vec()[..]).expect("read back"), published);
    // Field 1000, a varint of 1.
    let extended = [&encoded[..], &[0xC0, 0x3E, 0x01]].concat();
    prop_assert_eq!(&T::decode(&extended[..]).expect("unknown fields are skipped"), &twin);
    Ok(())
}

fn digest() -> impl Strategy<Value = Option<published::Digest>> {
    prop::option::of(
        (".{0,70}", any::<i64>())
            .prop_map(|(hash, size_bytes)| published::Digest { hash, size_bytes }),
    )
}

fn status() -> impl Strategy<Value = Option<rpc::Status>> {
    prop::option::of((any::<i32>(), ".{0,40}").prop_map(|(code, message)| rpc::Status {
        code,
        message,
        details: Vec::new(),
    }))
}

fn directory() -> impl Strategy<Value = published::Directory> {
    let file = (".{0,20}", digest()).prop_map(|(name, digest)| published::FileNode {
        name,
        digest,
        ..Default::default()
    });
    prop::collection::vec(file, 0..5)
        .prop_map(|files| published::Directory { files, ..Default::default() })
}

proptest! {
    #[test]
    fn write_request(
        resource_name in ".{0,80}",
        write_offset: i64,
        finish_write: bool,
        data: Vec<u8>,
    ) {
        let request =
            published_bytestream::WriteRequest { resource_name, write_offset, finish_write, data };
        assert_twins::<hot::WriteRequest, _>(&request)?;
    }

    #[test]
    fn read_response(data: Vec<u8>) {
        assert_twins::<hot::ReadResponse, _>(&published_bytestream::ReadResponse { data })?;
    }

    #[test]
    fn batch_update_blobs_request(
        instance_name in ".{0,20}",
        blobs in prop::collection::vec((digest(), any::<Vec<u8>>(), any::<i32>()), 0..5),
        digest_function: i32,
    ) {
        let requests = blobs.into_iter().map(|(digest, data, compressor)| {
            published::batch_update_blobs_request::Request { digest, data, compressor }
        });
        let requests = requests.collect();
        let request =
            published::BatchUpdateBlobsRequest { instance_name, requests, digest_function };
        assert_twins::<hot::BatchUpdateBlobsRequest, _>(&request)?;
    }

    #[test]
    fn batch_read_blobs_response(
        blobs in prop::collection::vec((digest(), any::<Vec<u8>>(), any::<i32>(), status()), 0..5),
    ) {
        let responses = blobs.into_iter().map(|(digest, data, compressor, status)| {
            published::batch_read_blobs_response::Response { digest, data, compressor, status }
        });
        let response = published::BatchReadBlobsResponse { responses: responses.collect() };
        assert_twins::<hot::BatchReadBlobsResponse, _>(&response)?;
    }

    #[test]
    fn get_tree_response(
        directories in prop::collection::vec(directory(), 0..5),
        next_page_token in ".{0,10}",
    ) {
        let response = published::GetTreeResponse { directories, next_page_token };
        assert_twins::<hot::GetTreeResponse, _>(&response)?;
    }

    #[test]
    fn update_action_result_request(
        instance_name in ".{0,20}",
        action_digest in digest(),
        exit_code in prop::option::of(any::<i32>()),
        priority in prop::option::of(any::<i32>()),
        digest_function: i32,
    ) {
        let action_result = exit_code
            .map(|exit_code| published::ActionResult { exit_code, ..Default::default() });
        let results_cache_policy =
            priority.map(|priority| published::ResultsCachePolicy { priority });
        let request = published::UpdateActionResultRequest {
            instance_name,
            action_digest,
            action_result,
            results_cache_policy,
            digest_function,
        };
        assert_twins::<hot::UpdateActionResultRequest, _>(&request)?;
        let expect = hot::UpdateActionResultRequest::decode(&request.encode_to_vec()[..]);
        prop_assert_eq!(Ok(request.into()), expect);
    }

    #[test]
    fn arbitrary_bytes_are_judged_alike(bytes: Vec<u8>) {
        let twin = hot::WriteRequest::decode(&bytes[..]);
        let published = published_bytestream::WriteRequest::decode(&bytes[..]);
        prop_assert_eq!(twin.is_ok(), published.is_ok());
    }
}
