//! [`ActionEntry`]: a well-formed action result, with its bytes as the client encoded them.

use std::sync::Arc;

use bytes::Bytes;
use larder_protos::DigestFunction;
use larder_protos::reapi::{ActionResult, OutputFile};
use prost::Message;

use crate::MalformedResult;
use crate::named::Named;

/// A well-formed action result. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct ActionEntry {
    encoded: Bytes,
    result: Arc<ActionResult>,
}

impl ActionEntry {
    /// Decodes `encoded` and checks every digest in it, all of `function`.
    pub fn parse(function: DigestFunction, encoded: Bytes) -> Result<Self, MalformedResult> {
        let result = ActionResult::decode(encoded.clone())
            .map_err(|source| MalformedResult::NotAnActionResult { source })?;
        Named::by(&result, function)?;
        Ok(Self { encoded, result: Arc::new(result) })
    }

    /// Checks every digest in `result` and encodes it.
    pub fn new(function: DigestFunction, result: ActionResult) -> Result<Self, MalformedResult> {
        Named::by(&result, function)?;
        Ok(Self { encoded: result.encode_to_vec().into(), result: Arc::new(result) })
    }

    /// The message's bytes, as they are stored.
    pub fn encoded(&self) -> &Bytes {
        &self.encoded
    }

    /// Whether it carries bytes that belong in the CAS.
    pub fn has_inlined_bytes(&self) -> bool {
        let ActionResult { output_files, stdout_raw, stderr_raw, .. } = &*self.result;
        let inlined = |file: &OutputFile| !file.contents.is_empty();
        !stdout_raw.is_empty() || !stderr_raw.is_empty() || output_files.iter().any(inlined)
    }

    /// The message.
    pub fn result(&self) -> &ActionResult {
        &self.result
    }
}
