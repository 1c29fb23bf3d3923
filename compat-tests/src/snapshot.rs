//! [`Snapshot`]: what a build left on disk, byte for byte, to be compared with what another one left.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::error::{CompatError, Unmet};

/// Every entry under a directory, by its path from there.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Snapshot(BTreeMap<PathBuf, Entry>);

#[derive(Debug, Eq, PartialEq)]
enum Entry {
    Directory,
    File {
        sha256: String,
        executable: bool,
    },
    /// Where it points; a target under the root is told from there, so that two roots can be compared.
    Symlink(PathBuf),
}

impl Snapshot {
    /// Reads all that is under those of `parts` of `root` that exist, without the entries that `skip` names and what is below
    /// them; links are noted and not followed.
    pub(crate) fn take(
        root: &Path,
        parts: &[PathBuf],
        skip: impl Fn(&Path) -> bool,
    ) -> Result<Self, CompatError> {
        let mut entries = BTreeMap::new();
        let mut pending: Vec<_> = parts.iter().map(|part| root.join(part)).collect();
        pending.retain(|path| path.exists());
        while let Some(dir) = pending.pop() {
            for child in fs::read_dir(&dir).map_err(CompatError::io(&dir))? {
                let path = child.map_err(CompatError::io(&dir))?.path();
                if skip(&path) {
                    continue;
                }
                let metadata = fs::symlink_metadata(&path).map_err(CompatError::io(&path))?;
                if metadata.is_dir() {
                    pending.push(path.clone());
                }
                let entry = Entry::read(root, &path, &metadata)?;
                let relative = path.strip_prefix(root).unwrap_or(&path);
                entries.insert(relative.to_path_buf(), entry);
            }
        }
        Ok(Self(entries))
    }

    /// How many files there are, links and directories not counted.
    pub(crate) fn file_count(&self) -> usize {
        self.0.values().filter(|entry| matches!(entry, Entry::File { .. })).count()
    }

    /// Each entry in which `other` differs from this one.
    pub(crate) fn differences(&self, other: &Self) -> Vec<Unmet> {
        let Self(expected) = self;
        let Self(actual) = other;
        let changed = expected.iter().filter_map(|(path, entry)| {
            let name = path.display();
            match actual.get(path) {
                Some(same) if same == entry => None,
                Some(changed) => Some(format!("expected {name} as {entry:?}, got {changed:?}")),
                None => Some(format!("expected {name}, got nothing of that name")),
            }
        });
        let added = actual.keys().filter(|path| !expected.contains_key(*path));
        let added = added.map(|path| format!("expected nothing named {}, got it", path.display()));
        changed.chain(added).map(Unmet::new).collect()
    }
}

impl Entry {
    fn read(root: &Path, path: &Path, metadata: &Metadata) -> Result<Self, CompatError> {
        if metadata.is_dir() {
            return Ok(Self::Directory);
        }
        if metadata.is_symlink() {
            let target = fs::read_link(path).map_err(CompatError::io(path))?;
            let inside = target.strip_prefix(root).map(Path::to_path_buf);
            return Ok(Self::Symlink(inside.unwrap_or(target)));
        }
        let bytes = fs::read(path).map_err(CompatError::io(path))?;
        Ok(Self::File {
            sha256: faster_hex::hex_string(&Sha256::digest(bytes)),
            executable: metadata.permissions().mode() & 0o111 != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    type Change = fn(&Path);

    fn tree() -> (tempfile::TempDir, Snapshot) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("bin/sub")).unwrap();
        fs::write(root.join("bin/sub/file"), "bytes").unwrap();
        symlink(root.join("bin/sub/file"), root.join("bin/link")).unwrap();
        let snapshot = Snapshot::take(root, &["bin".into(), "absent".into()], |_| false).unwrap();
        (dir, snapshot)
    }

    #[test]
    fn two_equal_trees_under_different_roots_are_equal() {
        let ((_one, first), (_two, second)) = (tree(), tree());
        assert_eq!(first.differences(&second), []);
        assert_eq!(first.file_count(), 1);
    }

    #[test]
    fn what_is_skipped_is_skipped_with_all_below_it() {
        let (dir, _) = tree();
        let parts = ["bin".into()];
        let snapshot = Snapshot::take(dir.path(), &parts, |path| path.ends_with("sub")).unwrap();
        assert_eq!(snapshot.file_count(), 0);
    }

    #[test]
    fn every_kind_of_change_is_seen() {
        let changes: [(&str, Change); 5] = [
            ("content", |root| fs::write(root.join("bin/sub/file"), "bytez").unwrap()),
            ("mode", |root| {
                let mode = PermissionsExt::from_mode(0o755);
                fs::set_permissions(root.join("bin/sub/file"), mode).unwrap();
            }),
            ("target", |root| {
                fs::remove_file(root.join("bin/link")).unwrap();
                symlink("sub/file", root.join("bin/link")).unwrap();
            }),
            ("absence", |root| fs::remove_file(root.join("bin/link")).unwrap()),
            ("addition", |root| fs::create_dir(root.join("bin/new")).unwrap()),
        ];
        for (what, change) in changes {
            let (dir, before) = tree();
            change(dir.path());
            let after = Snapshot::take(dir.path(), &["bin".into()], |_| false).unwrap();
            assert_eq!(before.differences(&after).len(), 1, "{what}");
        }
    }
}
