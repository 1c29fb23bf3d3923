//! [`ActionEntry`]: a well-formed action result, with its bytes as the client encoded them.

use std::sync::Arc;

use bytes::Bytes;
use larder_protos::reapi::{ActionResult, OutputFile};
use larder_protos::{DigestFunction, bounded};
use prost::Message;

use crate::MalformedResult;
use crate::named::Named;

/// A well-formed action result. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct ActionEntry {
    encoded: Bytes,
    /// In the lists of the message.
    elements: usize,
    result: Arc<ActionResult>,
}

impl ActionEntry {
    /// Decodes `encoded` and checks every digest in it, all of `function`.
    pub fn parse(function: DigestFunction, encoded: Bytes) -> Result<Self, MalformedResult> {
        let elements = bounded::check::<ActionResult>(&encoded)?;
        let result = bounded::decode::<ActionResult>(encoded.clone())?;
        Named::by(&result, function)?;
        Ok(Self { encoded, elements, result: Arc::new(result) })
    }

    /// Checks every digest in `result` and encodes it.
    pub fn new(function: DigestFunction, result: ActionResult) -> Result<Self, MalformedResult> {
        Named::by(&result, function)?;
        let encoded = Bytes::from(result.encode_to_vec());
        // What was within its limit may no longer be once its inlined bytes are gone.
        let elements = bounded::check::<ActionResult>(&encoded)?;
        Ok(Self { encoded, elements, result: Arc::new(result) })
    }

    /// About how much memory it takes, its bytes and the message decoded from them.
    pub fn memory_bytes(&self) -> usize {
        2 * self.encoded.len() + self.elements * bounded::MAX_ELEMENT_BYTES
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

    /// The message alone; a copy of it where another entry shares it.
    pub fn into_result(self) -> ActionResult {
        Arc::unwrap_or_clone(self.result)
    }
}

#[cfg(test)]
mod tests {
    use larder_protos::reapi;

    use super::*;

    const FUNCTION: DigestFunction = DigestFunction::Sha256;

    #[test]
    fn a_result_of_empty_outputs_is_refused_before_it_is_decoded() {
        let symlinks = |count: usize| Bytes::from(b"\x62\x00".repeat(count));
        let refused = ActionEntry::parse(FUNCTION, symlinks(1 << 20)).expect_err("too many");
        let text = "ActionResult of 2097152 B has more than 81920 elements in its lists";
        assert_eq!(refused.to_string(), text);
        let allowed = ActionEntry::parse(FUNCTION, symlinks(1_000)).expect("few");
        assert!(allowed.memory_bytes() >= 1_000 * size_of::<reapi::OutputSymlink>());
    }

    #[test]
    fn what_is_stored_can_be_read_again() {
        let symlinks = vec![reapi::OutputSymlink::default(); 20_000];
        let mut result = ActionResult {
            output_symlinks: symlinks,
            stdout_raw: vec![0; 1 << 20],
            ..ActionResult::default()
        };
        ActionEntry::new(FUNCTION, result.clone()).expect("large enough for its symlinks");
        result.stdout_raw.clear();
        ActionEntry::new(FUNCTION, result).expect_err("too small for its symlinks");
    }
}
