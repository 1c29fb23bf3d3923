//! [`Snapshot`]: all that the rules look at, read once. The only part of `tidy` that touches the disk.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cargo_metadata::MetadataCommand;

/// Folders of a package in which Rust sources lie; what Bazel builds in `compat-tests/bazel` is none.
const SOURCE_FOLDERS: [&str; 4] = ["src", "tests", "benches", "examples"];

/// The workspace, as far as the rules care.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(super) packages: Vec<Package>,
    pub(super) sources: Vec<Text>,
    /// The files of `docs/adr`.
    pub(super) decisions: Vec<Text>,
}

#[derive(Debug, Default)]
pub(super) struct Package {
    pub(super) name: String,
    /// Relative to the root of the workspace.
    pub(super) folder: String,
    /// The packages of this workspace that it depends on, in whatever way.
    pub(super) internal_dependencies: Vec<String>,
    pub(super) manifest: toml::Table,
}

/// A file; its path is relative to the root of the workspace.
#[derive(Debug, Default)]
pub(super) struct Text {
    pub(super) path: String,
    pub(super) content: String,
}

/// Why the workspace could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error("cargo metadata: {0}")]
    Metadata(#[from] cargo_metadata::Error),
    #[error("{}: {source}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{}: {source}", path.display())]
    Manifest {
        path: PathBuf,
        #[source]
        source: toml::de::Error,
    },
}

impl Snapshot {
    pub(crate) fn take(root: &Path) -> Result<Self, SnapshotError> {
        let metadata = MetadataCommand::new().current_dir(root).no_deps().exec()?;
        let root = metadata.workspace_root.as_std_path();
        let members: Vec<_> = metadata.workspace_packages();
        let names: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
        let mut snapshot = Self::default();
        for member in &members {
            let manifest_path = member.manifest_path.as_std_path();
            let manifest = read(manifest_path)?.parse().map_err(|source| {
                SnapshotError::Manifest { path: manifest_path.to_path_buf(), source }
            })?;
            let folder = manifest_path.parent().unwrap_or(root);
            let dependencies = member.dependencies.iter().map(|dependency| &dependency.name);
            snapshot.packages.push(Package {
                name: member.name.to_string(),
                folder: relative(root, folder),
                internal_dependencies: dependencies
                    .filter(|name| names.contains(&name.as_str()))
                    .cloned()
                    .collect(),
                manifest,
            });
            for source_folder in SOURCE_FOLDERS {
                collect(root, &folder.join(source_folder), "rs", &mut snapshot.sources)?;
            }
            let build_script = folder.join("build.rs");
            if build_script.exists() {
                let content = read(&build_script)?;
                snapshot.sources.push(Text { path: relative(root, &build_script), content });
            }
        }
        collect(root, &root.join("docs/adr"), "md", &mut snapshot.decisions)?;
        Ok(snapshot)
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: usize = self.sources.iter().map(|source| source.content.lines().count()).sum();
        write!(
            f,
            "{} packages, {} files, {lines} lines, {} decisions",
            self.packages.len(),
            self.sources.len(),
            self.decisions.len(),
        )
    }
}

/// Adds every file below `folder` with this extension; a folder that is not there has none.
fn collect(
    root: &Path,
    folder: &Path,
    extension: &str,
    texts: &mut Vec<Text>,
) -> Result<(), SnapshotError> {
    let io = |source| SnapshotError::Io { path: folder.to_path_buf(), source };
    if !folder.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.is_dir() {
            collect(root, &path, extension, texts)?;
        } else if path.extension().is_some_and(|actual| actual == extension) {
            texts.push(Text { path: relative(root, &path), content: read(&path)? });
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "files of our own repository")]
fn read(path: &Path) -> Result<String, SnapshotError> {
    fs::read_to_string(path)
        .map_err(|source| SnapshotError::Io { path: path.to_path_buf(), source })
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}
