//! [`Store`]: what the faulty server keeps, and the rules that it keeps or breaks.

use std::collections::HashMap;

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use parking_lot::Mutex;
use prost::Message;
use sha2::{Digest as _, Sha256};
use tonic::Status;

use super::Fault;

/// Blobs by hash, results by the action's hash.
pub(crate) struct Store {
    fault: Option<Fault>,
    blobs: Mutex<HashMap<String, Vec<u8>>>,
    results: Mutex<HashMap<String, reapi::ActionResult>>,
}

impl Store {
    pub(crate) fn new(fault: Option<Fault>) -> Self {
        Self { fault, blobs: Mutex::default(), results: Mutex::default() }
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    pub(crate) fn get(&self, digest: &reapi::Digest) -> Result<Vec<u8>, Status> {
        let is_empty = digest.hash == hash(&[]) && digest.size_bytes == 0;
        if is_empty && !self.has(Fault::NoEmptyBlob) {
            return Ok(Vec::new());
        }
        let found = self.blobs.lock().get(&digest.hash).cloned();
        let size_matters = !self.has(Fault::SizeIgnored);
        match found {
            Some(data) if !size_matters || size(&data) == digest.size_bytes => Ok(data),
            _ if self.has(Fault::AbsentIsEmpty) => Ok(Vec::new()),
            _ => Err(Status::not_found("absent")),
        }
    }

    pub(crate) fn put(&self, digest: &reapi::Digest, data: Vec<u8>) -> Result<(), Status> {
        let right = hash(&data) == digest.hash && size(&data) == digest.size_bytes;
        if !right && !self.has(Fault::HashUnchecked) {
            return Err(Status::invalid_argument("the digest is another"));
        }
        if !self.has(Fault::UploadLost) {
            self.blobs.lock().insert(digest.hash.clone(), data);
        }
        Ok(())
    }

    pub(crate) fn is_missing(&self, digest: &reapi::Digest) -> bool {
        !self.has(Fault::NothingMissing) && self.get(digest).is_err()
    }

    pub(crate) fn result(&self, action: &reapi::Digest) -> Result<reapi::ActionResult, Status> {
        let result = self.results.lock().get(&action.hash).cloned();
        let result = result.ok_or_else(|| Status::not_found("no result"))?;
        let mut named: Vec<_> =
            result.output_files.iter().filter_map(|file| file.digest.clone()).collect();
        named.extend(result.stdout_digest.clone());
        named.extend(result.stderr_digest.clone());
        for directory in &result.output_directories {
            let tree = self.get(&directory.tree_digest.clone().unwrap_or_default())?;
            let tree = reapi::Tree::decode(tree.as_slice()).unwrap_or_default();
            let directories = tree.root.into_iter().chain(tree.children);
            let files = directories.flat_map(|directory| directory.files);
            named.extend(files.filter_map(|file| file.digest));
        }
        let whole = named.iter().all(|digest| self.get(digest).is_ok());
        if whole || self.has(Fault::ResultsUnchecked) {
            Ok(result)
        } else {
            Err(Status::not_found("incomplete"))
        }
    }

    pub(crate) fn put_result(&self, action: &reapi::Digest, result: reapi::ActionResult) {
        let mut results = self.results.lock();
        if !self.has(Fault::FirstResultStays) || !results.contains_key(&action.hash) {
            results.insert(action.hash.clone(), result);
        }
    }
}

pub(crate) fn hash(data: &[u8]) -> String {
    faster_hex::hex_string(&Sha256::digest(data))
}

pub(crate) fn size(data: &[u8]) -> i64 {
    i64::try_from(data.len()).unwrap_or(i64::MAX)
}
