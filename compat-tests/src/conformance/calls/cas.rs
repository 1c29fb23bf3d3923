//! `ContentAddressableStorage`: FindMissingBlobs, the batches, GetTree, SplitBlob and SpliceBlob; and trees to ask for.

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use prost::Message;
use reapi::compressor::Value as Compressor;
use reapi::content_addressable_storage_client::ContentAddressableStorageClient;
use reapi::{batch_update_blobs_request, batch_update_blobs_response};

use super::MAX_MESSAGE_BYTES;
use crate::conformance::context::{Answer, Connection, Cx};
use crate::conformance::digest::Blob;
use crate::conformance::expect;
use crate::conformance::outcome::{Halt, Outcome, violated};

impl Cx {
    /// The client itself, for cases that need more than the methods below.
    pub(crate) fn cas(&self) -> ContentAddressableStorageClient<Connection> {
        ContentAddressableStorageClient::new(self.connection())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Which of the digests are missing.
    pub(crate) async fn find_missing(
        &self,
        digests: &[reapi::Digest],
    ) -> Answer<Vec<reapi::Digest>> {
        self.find_missing_by(self.function().value(), digests).await
    }

    /// The same with this `digest_function`.
    pub(crate) async fn find_missing_by(
        &self,
        digest_function: i32,
        digests: &[reapi::Digest],
    ) -> Answer<Vec<reapi::Digest>> {
        let request = reapi::FindMissingBlobsRequest {
            instance_name: self.instance(),
            blob_digests: digests.to_vec(),
            digest_function,
        };
        Ok(self.cas().find_missing_blobs(request).await?.into_inner().missing_blob_digests)
    }

    /// FindMissingBlobs says that the blob is there.
    pub(crate) async fn expect_present(&self, blob: &Blob, what: &str) -> Outcome {
        let asked = self.find_missing_by(blob.function.value(), &[blob.digest()]).await;
        let missing = expect::ok(asked, "FindMissingBlobs")?;
        expect::that(missing.is_empty(), || format!("expected {what} to be present, got missing"))
    }

    /// FindMissingBlobs says that the blob is not there.
    pub(crate) async fn expect_missing(&self, blob: &Blob, what: &str) -> Outcome {
        let asked = self.find_missing_by(blob.function.value(), &[blob.digest()]).await;
        let missing = expect::ok(asked, "FindMissingBlobs")?;
        expect::that(!missing.is_empty(), || format!("expected {what} to be missing, got present"))
    }

    /// A batch of uploads.
    pub(crate) async fn batch_update(
        &self,
        requests: Vec<batch_update_blobs_request::Request>,
    ) -> Answer<reapi::BatchUpdateBlobsResponse> {
        self.batch_update_by(self.function().value(), requests).await
    }

    /// The same with this `digest_function`.
    pub(crate) async fn batch_update_by(
        &self,
        digest_function: i32,
        requests: Vec<batch_update_blobs_request::Request>,
    ) -> Answer<reapi::BatchUpdateBlobsResponse> {
        let request = reapi::BatchUpdateBlobsRequest {
            instance_name: self.instance(),
            requests,
            digest_function,
        };
        Ok(self.cas().batch_update_blobs(request).await?.into_inner())
    }

    /// A batch of downloads.
    pub(crate) async fn batch_read(
        &self,
        digests: &[reapi::Digest],
        acceptable: &[Compressor],
    ) -> Answer<reapi::BatchReadBlobsResponse> {
        self.batch_read_by(self.function().value(), digests, acceptable).await
    }

    /// The same with this `digest_function`.
    pub(crate) async fn batch_read_by(
        &self,
        digest_function: i32,
        digests: &[reapi::Digest],
        acceptable: &[Compressor],
    ) -> Answer<reapi::BatchReadBlobsResponse> {
        let request = reapi::BatchReadBlobsRequest {
            instance_name: self.instance(),
            digests: digests.to_vec(),
            acceptable_compressors: acceptable.iter().map(|value| (*value).into()).collect(),
            digest_function,
        };
        Ok(self.cas().batch_read_blobs(request).await?.into_inner())
    }

    /// All directories of a tree, in pages as the server gives them.
    pub(crate) async fn get_tree(&self, root: &reapi::Digest) -> Answer<Vec<reapi::Directory>> {
        let pages = self.get_tree_pages(root, 0, "").await?;
        Ok(pages.into_iter().flat_map(|page| page.directories).collect())
    }

    /// One GetTree call: its responses.
    pub(crate) async fn get_tree_pages(
        &self,
        root: &reapi::Digest,
        page_size: i32,
        page_token: &str,
    ) -> Answer<Vec<reapi::GetTreeResponse>> {
        let request = reapi::GetTreeRequest {
            instance_name: self.instance(),
            root_digest: Some(root.clone()),
            page_size,
            page_token: page_token.to_owned(),
            digest_function: self.function().value(),
        };
        let mut stream = self.cas().get_tree(request).await?.into_inner();
        let mut pages = Vec::new();
        while let Some(page) = stream.message().await? {
            pages.push(page);
        }
        Ok(pages)
    }

    /// The chunks of a blob.
    pub(crate) async fn split(
        &self,
        blob: &reapi::Digest,
        chunking_function: i32,
    ) -> Answer<reapi::SplitBlobResponse> {
        let mut client = self.cas();
        let answer = client.split_blob(reapi::SplitBlobRequest {
            instance_name: self.instance(),
            blob_digest: Some(blob.clone()),
            digest_function: self.function().value(),
            chunking_function,
        });
        Ok(answer.await?.into_inner())
    }

    /// A blob out of chunks.
    pub(crate) async fn splice(
        &self,
        blob: &reapi::Digest,
        chunks: Vec<reapi::Digest>,
        chunking_function: i32,
    ) -> Answer<reapi::SpliceBlobResponse> {
        let mut client = self.cas();
        let answer = client.splice_blob(reapi::SpliceBlobRequest {
            instance_name: self.instance(),
            blob_digest: Some(blob.clone()),
            chunk_digests: chunks,
            digest_function: self.function().value(),
            chunking_function,
        });
        Ok(answer.await?.into_inner())
    }

    /// Prepares a case: stores the directories of a tree.
    pub(crate) async fn store_tree(&self, tree: &DirectoryTree) -> Outcome {
        for directory in &tree.directories {
            self.store(directory).await?;
        }
        Ok(())
    }
}

/// An upload in a batch, uncompressed.
impl Blob {
    pub(crate) fn batched(&self) -> batch_update_blobs_request::Request {
        batch_update_blobs_request::Request {
            digest: Some(self.digest()),
            data: self.data.clone(),
            compressor: Compressor::Identity.into(),
        }
    }

    /// The same as zstd, of these compressed bytes.
    pub(crate) fn batched_zstd(&self, zstd: Vec<u8>) -> batch_update_blobs_request::Request {
        batch_update_blobs_request::Request {
            digest: Some(self.digest()),
            data: zstd,
            compressor: Compressor::Zstd.into(),
        }
    }

    /// What a batch upload answered for this blob.
    pub(crate) fn updated<'a>(
        &self,
        answer: &'a reapi::BatchUpdateBlobsResponse,
    ) -> Result<&'a batch_update_blobs_response::Response, Halt> {
        let digest = self.digest();
        let mine =
            answer.responses.iter().find(|response| response.digest.as_ref() == Some(&digest));
        mine.map_or_else(
            || violated(format!("expected a response for {}, got none", self.path())),
            Ok,
        )
    }

    /// What a batch download answered for this blob.
    pub(crate) fn batch_answer<'a>(
        &self,
        answer: &'a reapi::BatchReadBlobsResponse,
    ) -> Result<&'a reapi::batch_read_blobs_response::Response, Halt> {
        let digest = self.digest();
        let mine =
            answer.responses.iter().find(|response| response.digest.as_ref() == Some(&digest));
        mine.map_or_else(
            || violated(format!("expected a response for {}, got none", self.path())),
            Ok,
        )
    }
}

/// Directories, each a blob; the first is the root.
pub(crate) struct DirectoryTree {
    pub(crate) directories: Vec<Blob>,
}

impl DirectoryTree {
    /// The root's digest.
    pub(crate) fn root(&self) -> reapi::Digest {
        self.directories.first().map(Blob::digest).unwrap_or_default()
    }
}

/// A root with `width` subdirectories, each with a file of a name that no other has. The files are empty, and so are there.
pub(crate) fn tree_of(cx: &Cx, width: usize) -> DirectoryTree {
    let leaves: Vec<_> = (0..width)
        .map(|index| {
            let file = cx.blob_of(Vec::new());
            let file = reapi::FileNode {
                name: format!("file-{index}-{}", cx.uuid()),
                digest: Some(file.digest()),
                ..Default::default()
            };
            let leaf = reapi::Directory { files: vec![file], ..Default::default() };
            cx.blob_of(leaf.encode_to_vec())
        })
        .collect();
    let nodes = leaves.iter().enumerate().map(|(index, leaf)| reapi::DirectoryNode {
        name: format!("dir-{index:05}"),
        digest: Some(leaf.digest()),
    });
    let root = reapi::Directory { directories: nodes.collect(), ..Default::default() };
    let root = cx.blob_of(root.encode_to_vec());
    DirectoryTree { directories: [vec![root], leaves].concat() }
}
