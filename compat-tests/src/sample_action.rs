//! [`SampleAction`]: an action with inputs and outputs, as messages and as files, for clients that upload what they are given and
//! download what a digest names.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use bazel_remote_apis::build::bazel::remote::execution::v2::{
    Action, ActionResult, Command, Digest, Directory, DirectoryNode, FileNode, OutputDirectory,
    OutputFile, Platform, SymlinkNode, Tree, command, platform,
};
use prost::Message;

use crate::blob::Blob;
use crate::error::CompatError;

/// Over what any client sends in a batch.
const LARGE_BYTES: usize = 5 << 20;

/// The action, its command, its input tree and its result.
pub(crate) struct SampleAction {
    pub(crate) action: Blob,
    pub(crate) command: Blob,
    /// Of the input tree; the tree of the outputs has the same files.
    pub(crate) root: Blob,
    subdirectory: Blob,
    tree: Blob,
    /// The message, which is no blob.
    pub(crate) result: Blob,
    pub(crate) small: Blob,
    pub(crate) large: Blob,
    pub(crate) stdout: Blob,
}

impl SampleAction {
    #[expect(deprecated, reason = "remotetool looks for the platform in the command")]
    pub(crate) fn new() -> Self {
        let (small, large) = (Blob::text(10), Blob::noise(LARGE_BYTES, 7));
        let stdout = Blob::of("made by hand\n");
        let subdirectory = Directory {
            files: vec![file("empty", &Blob::of(""), false), file("large.bin", &large, false)],
            ..Directory::default()
        };
        let root = Directory {
            files: vec![file("small.txt", &small, false), file("tool.sh", &small, true)],
            directories: vec![
                directory("again", &message(&subdirectory)),
                directory("sub", &message(&subdirectory)),
            ],
            symlinks: vec![SymlinkNode {
                name: "to-small".to_owned(),
                target: "small.txt".to_owned(),
                ..SymlinkNode::default()
            }],
            ..Directory::default()
        };
        let tree = Tree { root: Some(root.clone()), children: vec![subdirectory.clone()] };
        let command = Command {
            arguments: ["sh", "tool.sh"].map(str::to_owned).to_vec(),
            environment_variables: vec![command::EnvironmentVariable {
                name: "LANG".to_owned(),
                value: "C".to_owned(),
            }],
            output_paths: ["out/result.txt", "out/tree"].map(str::to_owned).to_vec(),
            platform: Some(Platform {
                // remotetool wants one, to write a script that runs the action in it.
                properties: vec![platform::Property {
                    name: "container-image".to_owned(),
                    value: "docker://none".to_owned(),
                }],
            }),
            ..Command::default()
        };
        let action = Action {
            command_digest: Some(digest(&message(&command))),
            input_root_digest: Some(digest(&message(&root))),
            ..Action::default()
        };
        let result = ActionResult {
            output_files: vec![OutputFile {
                path: "out/result.txt".to_owned(),
                digest: Some(digest(&small)),
                ..OutputFile::default()
            }],
            output_directories: vec![OutputDirectory {
                path: "out/tree".to_owned(),
                tree_digest: Some(digest(&message(&tree))),
                ..OutputDirectory::default()
            }],
            stdout_digest: Some(digest(&stdout)),
            ..ActionResult::default()
        };
        Self {
            action: message(&action),
            command: message(&command),
            root: message(&root),
            subdirectory: message(&subdirectory),
            tree: message(&tree),
            result: message(&result),
            small,
            large,
            stdout,
        }
    }

    /// Every blob that the action, its inputs and its outputs name, and the action itself. The empty one needs no upload.
    pub(crate) fn blobs(&self) -> [&Blob; 8] {
        [
            &self.small,
            &self.large,
            &self.stdout,
            &self.subdirectory,
            &self.root,
            &self.tree,
            &self.command,
            &self.action,
        ]
    }

    /// Writes the input tree below `dir`, which is made.
    pub(crate) fn lay_out(&self, dir: &Path) -> Result<(), CompatError> {
        for sub in ["again", "sub"] {
            let sub = dir.join(sub);
            fs::create_dir_all(&sub).map_err(CompatError::io(&sub))?;
            Blob::of("").write(&sub.join("empty"))?;
            self.large.write(&sub.join("large.bin"))?;
        }
        self.small.write(&dir.join("small.txt"))?;
        let tool = dir.join("tool.sh");
        self.small.write(&tool)?;
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&tool, executable).map_err(CompatError::io(&tool))?;
        let link = dir.join("to-small");
        symlink("small.txt", &link).map_err(CompatError::io(&link))
    }
}

fn file(name: &str, blob: &Blob, is_executable: bool) -> FileNode {
    FileNode {
        name: name.to_owned(),
        digest: Some(digest(blob)),
        is_executable,
        ..FileNode::default()
    }
}

fn directory(name: &str, blob: &Blob) -> DirectoryNode {
    DirectoryNode { name: name.to_owned(), digest: Some(digest(blob)) }
}

fn message(message: &impl Message) -> Blob {
    Blob::of(message.encode_to_vec())
}

fn digest(blob: &Blob) -> Digest {
    let size_bytes = i64::try_from(blob.bytes.len()).unwrap_or(i64::MAX);
    Digest { hash: blob.hash.clone(), size_bytes }
}
