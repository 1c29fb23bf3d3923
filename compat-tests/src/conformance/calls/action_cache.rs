//! `ActionCache` and `Capabilities`.

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use prost::Message;
use reapi::action_cache_client::ActionCacheClient;
use reapi::capabilities_client::CapabilitiesClient;

use super::MAX_MESSAGE_BYTES;
use crate::conformance::context::{Answer, Connection, Cx};
use crate::conformance::digest::Blob;
use crate::conformance::expect;
use crate::conformance::outcome::{Halt, Outcome};

impl Cx {
    /// What the server announces to this instance.
    pub(crate) async fn capabilities(&self) -> Answer<reapi::ServerCapabilities> {
        let request = reapi::GetCapabilitiesRequest { instance_name: self.instance() };
        let mut client = CapabilitiesClient::new(self.connection());
        Ok(client.get_capabilities(request).await?.into_inner())
    }

    /// The client itself, for cases that need more than the methods below.
    pub(crate) fn actions(&self) -> ActionCacheClient<Connection> {
        ActionCacheClient::new(self.connection())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// A request for the result of an action, without inlining.
    pub(crate) fn action_request(&self, action: &Blob) -> reapi::GetActionResultRequest {
        reapi::GetActionResultRequest {
            instance_name: self.instance(),
            action_digest: Some(action.digest()),
            digest_function: action.function.value(),
            ..Default::default()
        }
    }

    /// The result of an action, without inlining.
    pub(crate) async fn get_action(&self, action: &Blob) -> Answer<reapi::ActionResult> {
        self.get_action_as(self.action_request(action)).await
    }

    /// The same as the request says.
    pub(crate) async fn get_action_as(
        &self,
        request: reapi::GetActionResultRequest,
    ) -> Answer<reapi::ActionResult> {
        Ok(self.actions().get_action_result(request).await?.into_inner())
    }

    /// Stores the result of an action.
    pub(crate) async fn update_action(
        &self,
        action: &Blob,
        result: reapi::ActionResult,
    ) -> Answer<reapi::ActionResult> {
        let request = reapi::UpdateActionResultRequest {
            instance_name: self.instance(),
            action_digest: Some(action.digest()),
            action_result: Some(result),
            digest_function: action.function.value(),
            ..Default::default()
        };
        Ok(self.actions().update_action_result(request).await?.into_inner())
    }

    /// Prepares a case: an action and its command, both stored as clients must before they store a result.
    pub(crate) async fn stored_action(&self) -> Result<Blob, Halt> {
        self.stored_action_by(self.function()).await
    }

    /// The same by another digest function.
    pub(crate) async fn stored_action_by(
        &self,
        function: crate::conformance::digest::Function,
    ) -> Result<Blob, Halt> {
        let arguments = vec!["/bin/true".to_owned(), self.uuid()];
        let command = reapi::Command { arguments, ..Default::default() };
        let command = Blob::new(function, command.encode_to_vec());
        let root = Blob::new(function, Vec::new());
        let action = reapi::Action {
            command_digest: Some(command.digest()),
            input_root_digest: Some(root.digest()),
            ..Default::default()
        };
        let action = Blob::new(function, action.encode_to_vec());
        self.store(&command).await?;
        self.store(&action).await?;
        Ok(action)
    }

    /// Prepares a case: stores the result of a fresh action, which it gives.
    pub(crate) async fn cached(&self, result: reapi::ActionResult) -> Result<Blob, Halt> {
        let action = self.stored_action().await?;
        let what = "UpdateActionResult, which prepares the case";
        expect::ok(self.update_action(&action, result).await, what)?;
        Ok(action)
    }

    /// The action is a hit.
    pub(crate) async fn expect_hit(
        &self,
        action: &Blob,
        what: &str,
    ) -> Result<reapi::ActionResult, Halt> {
        expect::ok(self.get_action(action).await, format!("GetActionResult of {what}"))
    }

    /// The action is a miss.
    pub(crate) async fn expect_miss(&self, action: &Blob, what: &str) -> Outcome {
        let answer = self.get_action(action).await;
        expect::code(&answer, tonic::Code::NotFound, format!("GetActionResult of {what}"))
    }
}

/// An output file that is this blob.
pub(crate) fn output_file(path: &str, blob: &Blob) -> reapi::OutputFile {
    reapi::OutputFile { path: path.to_owned(), digest: Some(blob.digest()), ..Default::default() }
}

/// A result with these output files and nothing else.
pub(crate) fn result_of(files: Vec<reapi::OutputFile>) -> reapi::ActionResult {
    let metadata = reapi::ExecutedActionMetadata {
        worker: "larder-conformance".to_owned(),
        ..Default::default()
    };
    reapi::ActionResult {
        output_files: files,
        execution_metadata: Some(metadata),
        ..Default::default()
    }
}
