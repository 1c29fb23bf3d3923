//! [`Directory`]: the names in a data directory, those that are Larder's and those that are not, and its salt.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Finding, FindingKind, Verifier};
use crate::error::DiskError;
use crate::io::{DirEntry, IoFile, read_full};
use crate::layout::{
    fan_of_hex, is_root_name, is_tmp_name, parse_blob_dir, parse_blob_name, parse_pack_name,
    says_another_version,
};
use crate::pack::{HEADER_BYTES, PackHeader};
use crate::salt::most_named;

/// What the names in a directory say.
pub(super) struct Directory {
    pub(super) salt: u64,
    pub(super) packs: BTreeMap<u32, NamedPack>,
    pub(super) blob_files: Vec<NamedBlob>,
}

/// A file with a pack's name.
pub(super) struct NamedPack {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn IoFile>,
    pub(super) length: u64,
    /// Its first bytes, fewer where it is shorter.
    pub(super) start: Vec<u8>,
}

impl NamedPack {
    /// What it says of itself, true or not.
    pub(super) fn header(&self) -> Option<PackHeader> {
        self.start.first_chunk().and_then(PackHeader::parse)
    }
}

/// A file with a blob file's name.
pub(super) struct NamedBlob {
    pub(super) path: PathBuf,
    pub(super) hash_hex: String,
    pub(super) sequence: u64,
    pub(super) length: u64,
    /// Whether it stands in the directory of its hash.
    pub(super) is_at_home: bool,
}

impl Directory {
    /// Of all packs and blob files.
    pub(super) fn bytes(&self) -> u64 {
        let packs: u64 = self.packs.values().map(|pack| pack.length).sum();
        packs + self.blob_files.iter().map(|blob| blob.length).sum::<u64>()
    }

    pub(super) fn read(verifier: &mut Verifier<'_>) -> Result<Self, DiskError> {
        let root = verifier.layout.data_dir().to_owned();
        for entry in verifier.names(&root)? {
            if !entry.name.to_str().is_some_and(is_root_name) {
                verifier.foreign(&root, &entry);
            }
        }
        verifier.leftovers()?;
        let packs = verifier.named_packs()?;
        let salt = verifier.salt(&packs)?;
        let blob_files = verifier.named_blobs()?;
        Ok(Self { salt, packs, blob_files })
    }
}

impl Verifier<'_> {
    fn names(&self, dir: &Path) -> Result<Vec<DirEntry>, DiskError> {
        let mut names = match self.io.list(dir) {
            Ok(names) => names,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(DiskError::io("list", dir)(error)),
        };
        names.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(names)
    }

    fn foreign(&mut self, dir: &Path, entry: &DirEntry) {
        let path = dir.join(&entry.name);
        self.tell_only(&Finding::new(FindingKind::Foreign, &path, "no name that Larder gives"));
    }

    /// What an engine that was ended left in `tmp/`, and an index that could not be used.
    fn leftovers(&mut self) -> Result<(), DiskError> {
        let dir = self.layout.tmp_dir();
        for entry in self.names(&dir)? {
            if entry.file_bytes.is_none() || !entry.name.to_str().is_some_and(is_tmp_name) {
                self.foreign(&dir, &entry);
                continue;
            }
            let path = dir.join(&entry.name);
            let reason = "left by a process that was ended; the next start removes it";
            let finding = Finding::new(FindingKind::HalfWritten, &path, reason);
            self.tell(finding, |it| it.remove_file(&path))?;
        }
        let broken = self.layout.broken_index_dir();
        if self.io.list(&broken).is_ok() {
            let reason = "an index that could not be used, kept for a look";
            let finding = Finding::new(FindingKind::HalfWritten, &broken, reason);
            self.tell(finding, |it| it.remove_dir(&broken))?;
        }
        Ok(())
    }

    fn named_packs(&mut self) -> Result<BTreeMap<u32, NamedPack>, DiskError> {
        let dir = self.layout.packs_dir();
        let mut packs = BTreeMap::new();
        for entry in self.names(&dir)? {
            let id = entry.name.to_str().and_then(parse_pack_name);
            let (Some(id), Some(length)) = (id, entry.file_bytes) else {
                self.foreign(&dir, &entry);
                continue;
            };
            let path = dir.join(&entry.name);
            let open = self.open(&path).and_then(|file| {
                let mut start = vec![0; HEADER_BYTES];
                let filled = read_full(&*file, &mut start, 0)?;
                start.truncate(filled);
                Ok((file, start))
            });
            match open {
                Ok((file, start)) => {
                    packs.insert(id, NamedPack { path, file, length, start });
                }
                Err(error) => {
                    self.tell_only(&Finding::new(FindingKind::Unreadable, &path, error));
                }
            }
        }
        Ok(packs)
    }

    /// The salt of the directory, as a start decides it: what most packs say goes over `LAYOUT`.
    fn salt(&mut self, packs: &BTreeMap<u32, NamedPack>) -> Result<u64, DiskError> {
        let said = self.layout.read_salt(&*self.io);
        let headers = packs.values().filter_map(NamedPack::header);
        let voted = most_named(headers.map(|header| header.salt));
        let (salt, reason) = match (&said, voted) {
            (Ok(Some(said)), None) => return Ok(*said),
            (Ok(Some(said)), Some(voted)) if *said == voted => return Ok(voted),
            (Ok(Some(_)), Some(voted)) => (voted, "it says another salt than most packs do"),
            (Ok(None), Some(voted)) => (voted, "missing or empty"),
            (Err(DiskError::Layout { found, .. }), Some(voted)) if !says_another_version(found) => {
                (voted, "no line that this version reads")
            }
            _ => return Err(self.no_salt(said)),
        };
        let path = self.layout.layout_file();
        self.tell(Finding::new(FindingKind::BadLayout, &path, reason), |it| {
            let dir = it.layout.tmp_dir();
            it.io.create_dir_all(&dir).map_err(DiskError::io("create", &dir))?;
            it.layout.write_salt(&*it.io, salt)
        })?;
        Ok(salt)
    }

    fn no_salt(&self, said: Result<Option<u64>, DiskError>) -> DiskError {
        let path = self.layout.layout_file();
        said.err().unwrap_or(DiskError::Layout { path, found: String::new() })
    }

    fn named_blobs(&mut self) -> Result<Vec<NamedBlob>, DiskError> {
        let blobs = self.layout.blobs_dir();
        let mut files = Vec::new();
        for fan in self.names(&blobs)? {
            let parsed = fan.name.to_str().and_then(parse_blob_dir);
            let (Some(number), None) = (parsed, fan.file_bytes) else {
                self.foreign(&blobs, &fan);
                continue;
            };
            let dir = self.layout.blob_dir(number);
            for entry in self.names(&dir)? {
                let parsed = entry.name.to_str().and_then(parse_blob_name);
                let (Some((hash_hex, sequence)), Some(length)) = (parsed, entry.file_bytes) else {
                    self.foreign(&dir, &entry);
                    continue;
                };
                let is_at_home = fan_of_hex(hash_hex) == Some(number);
                let (path, hash_hex) = (dir.join(&entry.name), hash_hex.to_owned());
                files.push(NamedBlob { path, hash_hex, sequence, length, is_at_home });
            }
        }
        Ok(files)
    }
}
