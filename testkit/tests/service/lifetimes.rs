//! What is asked for stays while the rest is evicted, and what loses a chunk is missing as a whole.

use bytes::Bytes;
use larder_protos::Digest;
use larder_protos::reapi::{
    ActionResult, GetActionResultRequest, OutputFile, UpdateActionResultRequest,
};
use larder_testkit::TestServer;
use tonic::Code;

use crate::chunks::{is_missing, noise, split};
use crate::client::{digest, read, store};

/// What is stored beside, three times the limit.
const PRESSURE_BLOBS: u64 = 2_000;

/// Stores other blobs too, since of a pack that is all in use the engine keeps only a part.
async fn store_chunked(server: &TestServer, seed: u64) -> (Bytes, Digest) {
    for number in 0..25 {
        store(server, &noise(100 * seed + number, 100_000)).await;
    }
    let blob = noise(seed, 2_500_000);
    let name = store(server, &blob).await;
    let (chunks, _) = split(server, name, 1).await.expect("present");
    assert!(chunks.len() > 1, "one chunk");
    (blob, name)
}

#[tokio::test]
async fn finding_splitting_and_results_extend_lives() {
    let settings =
        [("max_size", "64MiB"), ("min_free_disk", "0"), ("hot.capacity", "0"), ("eviction", "lru")];
    let server = TestServer::start_with(&settings).await;
    let (found, found_name) = store_chunked(&server, 1).await;
    let (divided, divided_name) = store_chunked(&server, 2).await;
    let (output, output_name) = store_chunked(&server, 3).await;
    let idle_name = store(&server, &noise(4, 2_500_000)).await;
    let file = OutputFile {
        path: "out".to_owned(),
        digest: Some(output_name.to_proto()),
        ..OutputFile::default()
    };
    let action_digest = Some(digest(b"action").to_proto());
    let request = UpdateActionResultRequest {
        action_digest: action_digest.clone(),
        action_result: Some(ActionResult { output_files: vec![file], ..Default::default() }),
        ..UpdateActionResultRequest::default()
    };
    server.actions().update_action_result(request).await.expect("accepted");
    for seed in 0..PRESSURE_BLOBS {
        store(&server, &noise(10_000 + seed, 100_000)).await;
        if seed % 3 > 0 {
            continue;
        }
        // Ages are seconds: where a second fills the store, nothing is older than anything.
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        assert!(!is_missing(&server, found_name).await, "found, and gone after {seed}");
        split(&server, divided_name, 1).await.expect("split again and again");
        let request =
            GetActionResultRequest { action_digest: action_digest.clone(), ..Default::default() };
        server.actions().get_action_result(request).await.expect("a hit");
    }
    for (blob, name) in [(&found, found_name), (&divided, divided_name), (&output, output_name)] {
        assert!(read(&server, name).await.expect("present") == *blob);
    }
    // Nobody asked for it.
    assert!(is_missing(&server, idle_name).await, "nothing was evicted");
    let status = split(&server, idle_name, 1).await.expect_err("it is missing");
    assert_eq!(status.code(), Code::NotFound);
    server.stop().await;
}

#[tokio::test]
async fn a_list_of_chunks_is_whole_or_none() {
    let settings = [("max_size", "16MiB"), ("min_free_disk", "0"), ("hot.capacity", "0")];
    let server = TestServer::start_with(&settings).await;
    let (mut lists, mut whole, mut refusals) = (0, 0, 0);
    for seed in 0..30 {
        let blob = noise(seed, 4 << 20);
        let name = store(&server, &blob).await;
        for earlier in 0..=seed {
            if earlier % 3 > 0 && earlier + 1 < seed {
                continue;
            }
            let blob = noise(earlier, 4 << 20);
            let name = if earlier == seed { name } else { digest(&blob) };
            match split(&server, name, 1).await {
                Ok((chunks, _)) => {
                    lists += 1;
                    let sizes: u64 = chunks.iter().map(Digest::size_bytes).sum();
                    assert_eq!(sizes, 4 << 20);
                    let mut joined = Vec::new();
                    for chunk in chunks {
                        match read(&server, chunk).await {
                            Ok(bytes) => joined.extend(bytes),
                            // Evicted since: then the blob is gone with it, to everyone.
                            Err(status) => {
                                assert_eq!(status.code(), Code::NotFound);
                                assert!(is_missing(&server, name).await, "without {chunk}");
                                let status = split(&server, name, 1).await;
                                let status = status.expect_err("a partial list");
                                assert_eq!(status.code(), Code::NotFound);
                                break;
                            }
                        }
                    }
                    let is_prefix = blob.starts_with(&joined);
                    assert!(is_prefix, "blob {earlier} is another one");
                    whole += usize::from(joined.len() == blob.len());
                }
                Err(status) => {
                    refusals += 1;
                    let expected = [Code::NotFound, Code::ResourceExhausted];
                    assert!(expected.contains(&status.code()), "{status:?}");
                }
            }
        }
    }
    assert!(whole > 0 && refusals > 0, "{lists} lists, {whole} whole, {refusals} refusals");
    server.stop().await;
}
