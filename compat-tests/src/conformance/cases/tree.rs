//! `cas.get-tree`: directory trees.

use std::collections::HashSet;

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use prost::Message;
use tonic::Code;

use crate::conformance::calls::{DirectoryTree, tree_of};
use crate::conformance::case::{Case, cases};
use crate::conformance::context::Cx;
use crate::conformance::digest::Blob;
use crate::conformance::expect;
use crate::conformance::outcome::{Outcome, not_applicable, violated};

pub(crate) const CASES: &[Case] = cases! {
    /// A directory without subdirectories comes alone.
    "cas.get-tree.root-only", Must, "ContentAddressableStorage.GetTree" => wide(0);
    /// All directories of a tree come, the root among them.
    "cas.get-tree.whole", Must, "GetTree, \"return every node descended from the root\"" => wide(10);
    /// A tree of 1,000 directories comes whole.
    "cas.get-tree.thousand", Must, "GetTree, \"return every node descended from the root\"" => wide(1_000);
    /// A tree 100 levels deep comes whole.
    "cas.get-tree.deep", Must, "GetTree, \"return every node descended from the root\"" => deep;
    /// A root that is not there is NOT_FOUND.
    "cas.get-tree.absent-root", Must, "GetTree, \"The requested tree root is not present in the CAS\"" => absent_root;
    /// Where a part of the tree is missing the rest comes.
    "cas.get-tree.absent-part", Must, "GetTree, \"return the portion present and omit the rest\"" => absent_part;
    /// A page has no more directories than asked for.
    "cas.get-tree.page-size", Must, "GetTreeRequest.page_size" => page_size;
    /// Page after page the whole tree comes.
    "cas.get-tree.pages", Must, "GetTreeRequest.page_token" => pages;
    /// Every page but the last has a token, so that a stream that breaks off can be resumed.
    "cas.get-tree.resumable", Should, "GetTree, \"when retrying a partially completed and aborted request\"" => resumable;
    /// The last page has no token.
    "cas.get-tree.last-page", Must, "GetTreeResponse.next_page_token" => last_page;
    /// A token that the server never gave is refused.
    "cas.get-tree.bad-token", Should, "GetTreeRequest.page_token" => bad_token;
    /// A negative page size is refused, or means none.
    "cas.get-tree.negative-page-size", Should, "GetTreeRequest.page_size" => negative_page_size;
    /// A directory that many paths lead to costs no more than its nodes: 24 levels with two ways at each have 2^24 paths.
    "cas.get-tree.many-paths", Should, "GetTree; every directory is a node once" => many_paths;
    /// A root that is no Directory message is refused, and nothing breaks.
    "cas.get-tree.no-directory", Should, "GetTreeRequest.root_digest" => no_directory;
    /// A request without a root is refused.
    "cas.get-tree.no-root", Should, "GetTreeRequest.root_digest" => no_root;
    /// A node without a digest breaks nothing.
    "cas.get-tree.node-without-digest", Should, "DirectoryNode.digest" => node_without_digest;
};

/// All directories of the tree are in the answer, and nothing else; each once or more.
fn expect_directories(found: &[reapi::Directory], tree: &[Blob], what: &str) -> Outcome {
    let expected: HashSet<_> = tree.iter().map(|blob| blob.data.clone()).collect();
    let actual: HashSet<_> = found.iter().map(Message::encode_to_vec).collect();
    let missing = expected.difference(&actual).count();
    let foreign = actual.difference(&expected).count();
    expect::that(missing == 0 && foreign == 0, || {
        let count = expected.len();
        format!(
            "expected the {count} directories of {what}, got {missing} fewer and {foreign} others"
        )
    })
}

async fn wide(cx: &Cx, width: usize) -> Outcome {
    let tree = tree_of(cx, width);
    store(cx, &tree).await?;
    let what = format!("GetTree of a root with {width} subdirectories");
    let found = expect::ok(cx.get_tree(&tree.root()).await, &what)?;
    expect_directories(&found, &tree.directories, &what)?;
    expect::equal(found.len(), width + 1, format!("the number of directories of {what}"))
}

/// Stores a tree, in batches where it is large.
async fn store(cx: &Cx, tree: &DirectoryTree) -> Outcome {
    if tree.directories.len() < 20 {
        return cx.store_tree(tree).await;
    }
    for part in tree.directories.chunks(500) {
        let what = "BatchUpdateBlobs, which prepares the case";
        let answer = cx.batch_update(part.iter().map(Blob::batched).collect()).await;
        for response in expect::ok(answer, what)?.responses {
            expect::batch_code(response.status.as_ref(), Code::Ok, what)?;
        }
    }
    Ok(())
}

/// A chain of directories; each has `ways` nodes that lead to the next. The deepest has a file of its own.
fn chain(cx: &Cx, levels: usize, ways: usize) -> DirectoryTree {
    let file = reapi::FileNode {
        name: "file".to_owned(),
        digest: Some(cx.blob(20).digest()),
        ..Default::default()
    };
    let leaf = reapi::Directory { files: vec![file], ..Default::default() };
    let mut directories = vec![cx.blob_of(leaf.encode_to_vec())];
    for _ in 1..levels {
        let below = directories.last().map(Blob::digest);
        let node = |way| reapi::DirectoryNode { name: format!("way-{way}"), digest: below.clone() };
        let directory =
            reapi::Directory { directories: (0..ways).map(node).collect(), ..Default::default() };
        directories.push(cx.blob_of(directory.encode_to_vec()));
    }
    directories.reverse();
    DirectoryTree { directories }
}

async fn deep(cx: &Cx) -> Outcome {
    let tree = chain(cx, 100, 1);
    store(cx, &tree).await?;
    let what = "GetTree of a tree 100 levels deep";
    let found = expect::ok(cx.get_tree(&tree.root()).await, what)?;
    expect_directories(&found, &tree.directories, what)
}

async fn many_paths(cx: &Cx) -> Outcome {
    let tree = chain(cx, 25, 2);
    store(cx, &tree).await?;
    let what = "GetTree of a tree with 2^24 paths over 25 directories";
    let found = expect::ok(cx.get_tree(&tree.root()).await, what)?;
    expect_directories(&found, &tree.directories, what)?;
    expect::equal(found.len(), 25, format!("the number of directories of {what}"))
}

async fn absent_root(cx: &Cx) -> Outcome {
    let tree = tree_of(cx, 1);
    let answer = cx.get_tree(&tree.root()).await;
    expect::code(&answer, Code::NotFound, "GetTree of a root that was never stored")
}

async fn absent_part(cx: &Cx) -> Outcome {
    let mut tree = tree_of(cx, 5);
    tree.directories.pop();
    store(cx, &tree).await?;
    let what = "GetTree of a tree whose last subdirectory was never stored";
    let found = expect::ok(cx.get_tree(&tree.root()).await, what)?;
    expect_directories(&found, &tree.directories, what)
}

async fn page_size(cx: &Cx) -> Outcome {
    let tree = tree_of(cx, 10);
    store(cx, &tree).await?;
    let pages = cx.get_tree_pages(&tree.root(), 3, "").await;
    let pages = expect::ok(pages.map(Pages), "GetTree with page_size 3")?.0;
    for page in &pages {
        let count = page.directories.len();
        expect::that(count <= 3, || {
            format!("expected at most 3 directories in a page, got {count}")
        })?;
    }
    Ok(())
}

struct Pages(Vec<reapi::GetTreeResponse>);

impl expect::Seen for Pages {
    fn seen(&self) -> String {
        format!("{} pages", self.0.len())
    }
}

/// All directories, each call beginning where the call before ended.
async fn paged(
    cx: &Cx,
    root: &reapi::Digest,
) -> Result<Vec<reapi::Directory>, crate::conformance::outcome::Halt> {
    let mut found = Vec::new();
    let mut token = String::new();
    for _ in 0..100 {
        let what = format!("GetTree with page_size 3 and page_token {token:?}");
        let pages = expect::ok(cx.get_tree_pages(root, 3, &token).await.map(Pages), what)?.0;
        // A call may answer with one page or with all that follow.
        token = pages.last().map_or(String::new(), |page| page.next_page_token.clone());
        found.extend(pages.into_iter().flat_map(|page| page.directories));
        if token.is_empty() {
            return Ok(found);
        }
    }
    violated("expected the pages of 11 directories to end, got 100 pages")
}

async fn pages(cx: &Cx) -> Outcome {
    let tree = tree_of(cx, 10);
    store(cx, &tree).await?;
    let found = paged(cx, &tree.root()).await?;
    expect_directories(&found, &tree.directories, "a tree in pages of 3, a call each")
}

async fn resumable(cx: &Cx) -> Outcome {
    let tree = tree_of(cx, 10);
    store(cx, &tree).await?;
    let mut found = Vec::new();
    let mut token = String::new();
    for _ in 0..20 {
        let what = format!("GetTree with page_size 3 and page_token {token:?}");
        let pages = expect::ok(cx.get_tree_pages(&tree.root(), 3, &token).await.map(Pages), what)?;
        // As if the stream had broken off after its first page.
        let Some(page) = pages.0.into_iter().next() else { break };
        found.extend(page.directories);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    expect_directories(&found, &tree.directories, "a tree whose stream breaks off after each page")
}

async fn last_page(cx: &Cx) -> Outcome {
    let tree = tree_of(cx, 10);
    store(cx, &tree).await?;
    let pages = cx.get_tree_pages(&tree.root(), 0, "").await;
    let pages = expect::ok(pages.map(Pages), "GetTree")?.0;
    let token = pages.last().map_or("", |page| &page.next_page_token);
    expect::equal(token, "", "next_page_token of the last page")
}

async fn bad_token(cx: &Cx) -> Outcome {
    let tree = tree_of(cx, 3);
    store(cx, &tree).await?;
    let answer = cx.get_tree_pages(&tree.root(), 1, "a token that nobody gave").await.map(Pages);
    expect::refused(&answer, "a page_token that nobody gave")
}

async fn negative_page_size(cx: &Cx) -> Outcome {
    let tree = tree_of(cx, 3);
    store(cx, &tree).await?;
    let answer = cx.get_tree_pages(&tree.root(), -1, "").await.map(Pages);
    expect::one_of(&answer, &[Code::Ok, Code::InvalidArgument], "GetTree with page_size -1")
}

async fn no_directory(cx: &Cx) -> Outcome {
    let blob = cx.blob_of(vec![0xff; 100]);
    cx.store(&blob).await?;
    let answer = cx.get_tree(&blob.digest()).await;
    expect::refused(&answer, "GetTree of a blob that is no Directory")
}

async fn no_root(cx: &Cx) -> Outcome {
    let request = reapi::GetTreeRequest { instance_name: cx.instance(), ..Default::default() };
    let answer = match cx.cas().get_tree(request).await {
        Ok(stream) => stream.into_inner().message().await.map(drop),
        Err(status) => Err(status),
    };
    expect::refused(&answer, "GetTree without root_digest")
}

async fn node_without_digest(cx: &Cx) -> Outcome {
    let node = reapi::DirectoryNode { name: cx.uuid(), digest: None };
    let root = reapi::Directory { directories: vec![node], ..Default::default() };
    let root = cx.blob_of(root.encode_to_vec());
    cx.store(&root).await?;
    let answer = cx.get_tree(&root.digest()).await;
    if answer.is_err() {
        expect::refused(&answer, "GetTree of a directory whose node has no digest")?;
    }
    // Whatever the answer was, the server still serves.
    let tree = tree_of(cx, 2);
    store(cx, &tree).await?;
    let found = expect::ok(cx.get_tree(&tree.root()).await, "GetTree after it")?;
    if found.is_empty() {
        return not_applicable("GetTree answers with nothing");
    }
    expect_directories(&found, &tree.directories, "GetTree after it")
}
