//! `completeness`: a result is a hit only while everything that it names is there. The absent blobs were never stored, so no
//! eviction is needed to try it.

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use prost::Message;

use crate::conformance::calls::{output_file, result_of};
use crate::conformance::case::{Case, cases};
use crate::conformance::context::Cx;
use crate::conformance::digest::Blob;
use crate::conformance::expect;
use crate::conformance::outcome::{Halt, Outcome};

/// What of a result is absent.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Absent {
    Nothing,
    File,
    Stdout,
    Stderr,
    Tree,
    FileOfRoot,
    FileOfChild,
    /// The directories of the tree, which are in the tree as well.
    Directories,
    RootDirectory,
    ChildOfRootDirectory,
    FileOfRootDirectory,
}

pub(crate) const CASES: &[Case] = cases! {
    /// A result is a hit where all is there: files, standard output and error, a tree, its directories and its files.
    "completeness.whole", Must, "ActionCache.GetActionResult" => check(Absent::Nothing);
    /// A result whose output file is absent is a miss.
    "completeness.file", Should, "ActionCache.GetActionResult, \"any blobs referenced … are available\"" => check(Absent::File);
    /// A result whose standard output is absent is a miss.
    "completeness.stdout", Should, "ActionCache.GetActionResult, \"any blobs referenced … are available\"" => check(Absent::Stdout);
    /// A result whose standard error is absent is a miss.
    "completeness.stderr", Should, "ActionCache.GetActionResult, \"any blobs referenced … are available\"" => check(Absent::Stderr);
    /// A result whose tree is absent is a miss.
    "completeness.tree", Should, "ActionCache.GetActionResult, \"any blobs referenced … are available\"" => check(Absent::Tree);
    /// A result is a miss if a file in the root of its tree is absent: Bazel asks for the file only when it needs it, then fails.
    "completeness.file-of-tree-root", Client[Bazel], "Bazel, build without the bytes" => check(Absent::FileOfRoot);
    /// A result is a miss if a file in a child of its tree is absent.
    "completeness.file-of-tree-child", Client[Bazel], "Bazel, build without the bytes" => check(Absent::FileOfChild);
    /// A result that names a root directory is a hit where its directories and files are there.
    "completeness.root-directory-whole", Must, "OutputDirectory.root_directory_digest" => by_root_directory(Absent::Nothing);
    /// A result whose root directory is absent is a miss.
    "completeness.root-directory", Should, "OutputDirectory.root_directory_digest" => by_root_directory(Absent::RootDirectory);
    /// A result is a miss if a directory below its root directory is absent.
    "completeness.child-of-root-directory", Should, "OutputDirectory.root_directory_digest" => by_root_directory(Absent::ChildOfRootDirectory);
    /// A result is a miss if a file below its root directory is absent.
    "completeness.file-of-root-directory", Should, "OutputDirectory.root_directory_digest" => by_root_directory(Absent::FileOfRootDirectory);
    /// A result that was a miss for want of a blob is a hit, or a miss still, once the blob is there; never an error.
    "completeness.healed", Must, "ActionCache.GetActionResult" => healed;
    /// A tree that is no Tree message is a miss or refused at the upload, and nothing breaks.
    "completeness.malformed-tree", Should, "OutputDirectory.tree_digest" => malformed_tree;
    /// A tree counts by itself: its directories need not be blobs of their own, and Bazel uploads none.
    "completeness.tree-without-directories", Client[Bazel], "Bazel, RemoteExecutionCache" => tree_without_directories;
    /// A tree of 200 directories with 2,000 files is judged whole.
    "completeness.large-tree", Client[Bazel], "Bazel, RemoteExecutionCache" => large_tree;
};

/// A blob, stored unless it is the absent one.
async fn blob_unless(cx: &Cx, absent: bool, blob: Blob) -> Result<Blob, Halt> {
    if !absent {
        cx.store(&blob).await?;
    }
    Ok(blob)
}

fn file_node(name: &str, blob: &Blob) -> reapi::FileNode {
    reapi::FileNode { name: name.to_owned(), digest: Some(blob.digest()), ..Default::default() }
}

/// Stores a result of which one thing is absent. A server may refuse it at once; then there is nothing to ask for.
async fn check(cx: &Cx, absent: Absent) -> Outcome {
    let is = |other| absent == other;
    let file = blob_unless(cx, is(Absent::File), cx.blob(100)).await?;
    let stdout = blob_unless(cx, is(Absent::Stdout), cx.blob(50)).await?;
    let stderr = blob_unless(cx, is(Absent::Stderr), cx.blob(60)).await?;
    let of_root = blob_unless(cx, is(Absent::FileOfRoot), cx.blob(70)).await?;
    let of_child = blob_unless(cx, is(Absent::FileOfChild), cx.blob(80)).await?;
    let child = reapi::Directory { files: vec![file_node("c", &of_child)], ..Default::default() };
    let node = reapi::DirectoryNode {
        name: "child".to_owned(),
        digest: Some(cx.blob_of(child.encode_to_vec()).digest()),
    };
    let root = reapi::Directory {
        files: vec![file_node("r", &of_root)],
        directories: vec![node],
        ..Default::default()
    };
    if absent != Absent::Directories {
        cx.store(&cx.blob_of(child.encode_to_vec())).await?;
        cx.store(&cx.blob_of(root.encode_to_vec())).await?;
    }
    let tree = reapi::Tree { root: Some(root), children: vec![child] };
    let tree = blob_unless(cx, is(Absent::Tree), cx.blob_of(tree.encode_to_vec())).await?;
    let mut result = result_of(vec![output_file("out", &file)]);
    result.stdout_digest = Some(stdout.digest());
    result.stderr_digest = Some(stderr.digest());
    result.output_directories = vec![reapi::OutputDirectory {
        path: "dir".to_owned(),
        tree_digest: Some(tree.digest()),
        ..Default::default()
    }];
    expect_judged(cx, result, !is(Absent::Nothing) && !is(Absent::Directories)).await
}

async fn tree_without_directories(cx: &Cx) -> Outcome {
    check(cx, Absent::Directories).await
}

/// A result with something absent is refused at the upload or a miss after it; a whole one is a hit.
async fn expect_judged(cx: &Cx, result: reapi::ActionResult, something_absent: bool) -> Outcome {
    let action = cx.stored_action().await?;
    let stored = cx.update_action(&action, result).await;
    if something_absent {
        if stored.is_err() {
            return expect::refused(&stored, "UpdateActionResult that names an absent blob");
        }
        return cx.expect_miss(&action, "an action whose result names an absent blob").await;
    }
    expect::ok(stored, "UpdateActionResult of a whole result")?;
    cx.expect_hit(&action, "an action whose result is whole").await.map(drop)
}

async fn by_root_directory(cx: &Cx, absent: Absent) -> Outcome {
    let is = |other| absent == other;
    let file = blob_unless(cx, is(Absent::FileOfRootDirectory), cx.blob(70)).await?;
    let child = reapi::Directory { files: vec![file_node("c", &file)], ..Default::default() };
    let child = cx.blob_of(child.encode_to_vec());
    let child = blob_unless(cx, is(Absent::ChildOfRootDirectory), child).await?;
    let node = reapi::DirectoryNode { name: "child".to_owned(), digest: Some(child.digest()) };
    let root = reapi::Directory { directories: vec![node], ..Default::default() };
    let root = cx.blob_of(root.encode_to_vec());
    let root = blob_unless(cx, is(Absent::RootDirectory), root).await?;
    let mut result = result_of(Vec::new());
    result.output_directories = vec![reapi::OutputDirectory {
        path: "dir".to_owned(),
        root_directory_digest: Some(root.digest()),
        ..Default::default()
    }];
    expect_judged(cx, result, !is(Absent::Nothing)).await
}

async fn healed(cx: &Cx) -> Outcome {
    let output = cx.blob(100);
    let action = cx.stored_action().await?;
    let result = result_of(vec![output_file("out", &output)]);
    let stored = cx.update_action(&action, result).await;
    if stored.is_err() {
        return expect::refused(&stored, "UpdateActionResult that names an absent blob");
    }
    let codes = [tonic::Code::Ok, tonic::Code::NotFound];
    expect::one_of(
        &cx.get_action(&action).await,
        &codes,
        "GetActionResult before the blob is there",
    )?;
    cx.store(&output).await?;
    expect::one_of(&cx.get_action(&action).await, &codes, "GetActionResult once the blob is there")
}

async fn malformed_tree(cx: &Cx) -> Outcome {
    let tree = cx.blob_of(vec![0xff; 100]);
    cx.store(&tree).await?;
    let mut result = result_of(Vec::new());
    result.output_directories = vec![reapi::OutputDirectory {
        path: "dir".to_owned(),
        tree_digest: Some(tree.digest()),
        ..Default::default()
    }];
    expect_judged(cx, result, true).await
}

async fn large_tree(cx: &Cx) -> Outcome {
    let file = cx.stored(100).await?;
    let children: Vec<_> = (0..200)
        .map(|child| {
            let files = (0..10).map(|index| file_node(&format!("file-{child}-{index}"), &file));
            reapi::Directory { files: files.collect(), ..Default::default() }
        })
        .collect();
    let nodes = children.iter().enumerate().map(|(index, child)| reapi::DirectoryNode {
        name: format!("dir-{index:03}"),
        digest: Some(cx.blob_of(child.encode_to_vec()).digest()),
    });
    let root = reapi::Directory { directories: nodes.collect(), ..Default::default() };
    let tree = cx.blob_of(reapi::Tree { root: Some(root), children }.encode_to_vec());
    cx.store(&tree).await?;
    let mut result = result_of(Vec::new());
    result.output_directories = vec![reapi::OutputDirectory {
        path: "dir".to_owned(),
        tree_digest: Some(tree.digest()),
        ..Default::default()
    }];
    expect_judged(cx, result, false).await
}
