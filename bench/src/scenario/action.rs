//! The action cache: results with ten outputs, results with a tree of a thousand files.

use std::ops::Range;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use larder_protos::Digest;
use larder_protos::reapi::{
    ActionResult, Directory, DirectoryNode, FileNode, OutputDirectory, OutputFile, Tree,
};
use prost::Message;

use super::resident::{self, Blob, Resident};
use super::{Moved, Scenario};
use crate::blobs;
use crate::client::Client;
use crate::error::CallError;

const OUTPUTS: u64 = 10;
/// Different results of each kind.
const RESULTS: u64 = 100;
const TREE_DIRECTORIES: u64 = 10;
const FILES_IN_DIRECTORY: u64 = 100;
const AT_A_TIME: usize = 16;

/// What the results name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Shape {
    TenOutputs,
    Tree,
}

/// `GetActionResult` that hits.
#[derive(Debug)]
pub(super) struct GetResult {
    resident: Resident,
    /// Each with the tree that it names, if it does, and the tree's directories, which some servers want to have as well.
    results: Vec<(Digest, ActionResult, Vec<Blob>)>,
}

impl GetResult {
    pub(super) fn new(shape: Shape) -> Self {
        let resident = Resident::new();
        let results = (0..RESULTS).map(|number| match shape {
            Shape::TenOutputs => {
                (key(&format!("ten {number}")), ten_outputs(&resident, number), Vec::new())
            }
            Shape::Tree => {
                let (tree, directories) = tree(&resident, number);
                let result = with_tree(&tree);
                (key(&format!("tree {number}")), result, [vec![tree], directories].concat())
            }
        });
        let results = results.collect();
        Self { resident, results }
    }
}

#[async_trait(?Send)]
impl Scenario for GetResult {
    async fn prepare(&self, client: &Client) -> Result<(), CallError> {
        self.resident.store(client).await?;
        let trees = self.results.iter().flat_map(|(_, _, blobs)| blobs.iter().cloned());
        resident::store(client, trees).await?;
        let updates = self.results.iter().map(|(action, result, _)| async move {
            client.update_result(action, result.clone()).await
        });
        stream::iter(updates).buffer_unordered(AT_A_TIME).try_collect::<()>().await
    }

    async fn operate(&self, client: &Client, number: u64) -> Result<Moved, CallError> {
        let place = usize::try_from(number % RESULTS).unwrap_or_default();
        let (action, stored, _) = &self.results[place];
        expect_same(&client.get_result(action).await?, stored)?;
        Ok(Moved::default())
    }
}

/// `UpdateActionResult` of new results with ten outputs.
#[derive(Debug)]
pub(super) struct UpdateResult {
    resident: Resident,
    salt: u64,
}

impl UpdateResult {
    pub(super) fn new(salt: u64) -> Self {
        Self { resident: Resident::new(), salt }
    }

    fn key(&self, number: u64) -> Digest {
        key(&format!("new {}", self.salt.wrapping_add(number)))
    }
}

#[async_trait(?Send)]
impl Scenario for UpdateResult {
    async fn prepare(&self, client: &Client) -> Result<(), CallError> {
        self.resident.store(client).await
    }

    async fn operate(&self, client: &Client, number: u64) -> Result<Moved, CallError> {
        client.update_result(&self.key(number), ten_outputs(&self.resident, number)).await?;
        Ok(Moved::default())
    }

    async fn verify(&self, client: &Client, done: Range<u64>) -> Result<(), CallError> {
        for number in done.rev().take(usize::try_from(RESULTS).unwrap_or_default()) {
            let result = client.get_result(&self.key(number)).await?;
            expect_same(&result, &ten_outputs(&self.resident, number))?;
        }
        Ok(())
    }
}

/// The digest of an action that nobody has to store.
pub(super) fn key(name: &str) -> Digest {
    blobs::digest(name.as_bytes())
}

/// Servers may add what is known of the execution; what the action made must be the same.
pub(super) fn expect_same(actual: &ActionResult, stored: &ActionResult) -> Result<(), CallError> {
    let same = actual.output_files == stored.output_files
        && actual.output_directories == stored.output_directories
        && actual.exit_code == stored.exit_code;
    same.then_some(()).ok_or(CallError::Different { what: "the action result" })
}

/// The result of an action whose one output is this blob.
pub(super) fn one_output(digest: &Digest) -> ActionResult {
    outputs(std::iter::once(*digest))
}

/// The result of an action with these outputs.
pub(super) fn outputs(digests: impl Iterator<Item = Digest>) -> ActionResult {
    let file = |(number, digest): (u32, Digest)| OutputFile {
        path: format!("bazel-out/k8-fastbuild/bin/package/output_{number}.o"),
        digest: Some(digest.to_proto()),
        ..OutputFile::default()
    };
    ActionResult { output_files: (0..).zip(digests).map(file).collect(), ..ActionResult::default() }
}

fn ten_outputs(resident: &Resident, number: u64) -> ActionResult {
    let first = number.wrapping_mul(OUTPUTS);
    outputs((0..OUTPUTS).map(|place| resident.nth(first.wrapping_add(place)).digest))
}

/// A tree of a thousand files in ten directories, and the directories.
fn tree(resident: &Resident, number: u64) -> (Blob, Vec<Blob>) {
    let directory = |place: u64| {
        let file = |offset: u64| FileNode {
            name: format!("file_{number}_{offset:03}.js"),
            digest: Some(resident.nth(place * FILES_IN_DIRECTORY + offset).digest.to_proto()),
            ..FileNode::default()
        };
        Directory { files: (0..FILES_IN_DIRECTORY).map(file).collect(), ..Directory::default() }
    };
    let children: Vec<Directory> = (0..TREE_DIRECTORIES).map(directory).collect();
    let mut directories: Vec<Blob> = children.iter().map(encoded).collect();
    let node = |(place, child): (u64, &Blob)| DirectoryNode {
        name: format!("directory_{place:02}"),
        digest: Some(child.digest.to_proto()),
    };
    let nodes = (0..).zip(&directories).map(node).collect();
    let root = Directory { directories: nodes, ..Directory::default() };
    directories.push(encoded(&root));
    (encoded(&Tree { root: Some(root), children }), directories)
}

fn encoded(message: &impl Message) -> Blob {
    let bytes = message.encode_to_vec();
    Blob { digest: blobs::digest(&bytes), bytes: bytes.into() }
}

fn with_tree(tree: &Blob) -> ActionResult {
    let directory = OutputDirectory {
        path: "bazel-out/k8-fastbuild/bin/node_modules".to_owned(),
        tree_digest: Some(tree.digest.to_proto()),
        ..OutputDirectory::default()
    };
    ActionResult { output_directories: vec![directory], ..ActionResult::default() }
}

#[cfg(test)]
mod tests {
    use larder_protos::reapi::ExecutedActionMetadata;

    use super::*;

    #[test]
    fn the_tree_has_a_thousand_files() {
        let resident = Resident::new();
        let (made, directories) = tree(&resident, 1);
        assert_ne!(made.digest, tree(&resident, 2).0.digest);
        assert_eq!(directories.len(), 11);
        let tree = Tree::decode(&made.bytes[..]).unwrap();
        assert_eq!(tree.children.iter().map(|child| child.files.len()).sum::<usize>(), 1_000);
        assert_eq!(tree.root.unwrap().directories.len(), 10);
    }

    #[test]
    fn a_result_is_the_same_but_for_how_it_came_about() {
        let resident = Resident::new();
        let stored = ten_outputs(&resident, 3);
        let told = ActionResult {
            execution_metadata: Some(ExecutedActionMetadata::default()),
            ..stored.clone()
        };
        assert!(expect_same(&told, &stored).is_ok());
        assert!(expect_same(&ten_outputs(&resident, 4), &stored).is_err());
        assert!(expect_same(&ActionResult { exit_code: 1, ..stored.clone() }, &stored).is_err());
    }
}
