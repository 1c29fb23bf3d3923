//! Remote Asset: Fetch and Push.

use bazel_remote_apis::build::bazel::remote::asset::v1 as asset;

use crate::conformance::context::{Answer, Cx};
use crate::conformance::digest::Blob;

impl Cx {
    /// A push of the blob under these URIs, without qualifiers.
    pub(crate) fn push_request(&self, uris: &[String], blob: &Blob) -> asset::PushBlobRequest {
        asset::PushBlobRequest {
            instance_name: self.instance(),
            uris: uris.to_vec(),
            blob_digest: Some(blob.digest()),
            digest_function: blob.function.value(),
            ..Default::default()
        }
    }

    /// Associates URIs with a blob.
    pub(crate) async fn push_blob(&self, request: asset::PushBlobRequest) -> Answer<()> {
        let mut client = asset::push_client::PushClient::new(self.connection());
        client.push_blob(request).await.map(drop)
    }

    /// Associates URIs with a directory.
    pub(crate) async fn push_directory(&self, request: asset::PushDirectoryRequest) -> Answer<()> {
        let mut client = asset::push_client::PushClient::new(self.connection());
        client.push_directory(request).await.map(drop)
    }

    /// A request for what these URIs name, without qualifiers.
    pub(crate) fn fetch_request(&self, uris: &[String]) -> asset::FetchBlobRequest {
        asset::FetchBlobRequest {
            instance_name: self.instance(),
            uris: uris.to_vec(),
            digest_function: self.function().value(),
            ..Default::default()
        }
    }

    /// What URIs name.
    pub(crate) async fn fetch_blob(
        &self,
        request: asset::FetchBlobRequest,
    ) -> Answer<asset::FetchBlobResponse> {
        let mut client = asset::fetch_client::FetchClient::new(self.connection());
        Ok(client.fetch_blob(request).await?.into_inner())
    }

    /// The directory that URIs name.
    pub(crate) async fn fetch_directory(
        &self,
        request: asset::FetchDirectoryRequest,
    ) -> Answer<asset::FetchDirectoryResponse> {
        let mut client = asset::fetch_client::FetchClient::new(self.connection());
        Ok(client.fetch_directory(request).await?.into_inner())
    }

    /// A URI that nobody has pushed; nobody answers there either.
    pub(crate) fn uri(&self) -> String {
        format!("urn:larder-conformance:{}", self.uuid())
    }
}

/// A qualifier.
pub(crate) fn qualifier(name: &str, value: &str) -> asset::Qualifier {
    asset::Qualifier { name: name.to_owned(), value: value.to_owned() }
}
