//! [`Layout`]: where things stand in a data directory, and what their names mean.
//!
//! Source: docs/design/disk-format.md, "The data directory".

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use larder_protos::Hash;

use crate::error::DiskError;
use crate::io::{Io, OpenMode, read_full, write_full};
use crate::pack::LAST_ID;

const PRODUCT: &str = "larder-disk";
const VERSION: &str = "1";
const LAYOUT_LIMIT_BYTES: usize = 256;

/// The paths of one data directory.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    data_dir: PathBuf,
}

impl Layout {
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned() }
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    pub(crate) fn lock_file(&self) -> PathBuf {
        self.data_dir.join("lock")
    }

    pub(crate) fn packs_dir(&self) -> PathBuf {
        self.data_dir.join("packs")
    }

    pub(crate) fn pack_file(&self, pack: u32) -> PathBuf {
        self.packs_dir().join(format!("{pack:08x}.pack"))
    }

    pub(crate) fn blobs_dir(&self) -> PathBuf {
        self.data_dir.join("blobs")
    }

    pub(crate) fn blob_dir(&self, fan: u8) -> PathBuf {
        self.blobs_dir().join(format!("{fan:02x}"))
    }

    pub(crate) fn blob_file(&self, hash: &Hash, sequence: u64) -> PathBuf {
        self.blob_dir(fan_of(hash)).join(format!("{hash}-{sequence:016x}"))
    }

    pub(crate) fn tmp_dir(&self) -> PathBuf {
        self.data_dir.join("tmp")
    }

    pub(crate) fn tmp_file(&self, sequence: u64) -> PathBuf {
        self.tmp_dir().join(format!("{sequence:016x}.tmp"))
    }

    pub(crate) fn index_dir(&self) -> PathBuf {
        self.data_dir.join("index")
    }

    pub(crate) fn broken_index_dir(&self) -> PathBuf {
        self.data_dir.join("index.broken")
    }

    /// Where the scrub is.
    pub(crate) fn scrub_file(&self) -> PathBuf {
        self.data_dir.join("scrub")
    }

    pub(crate) fn scrub_tmp_file(&self) -> PathBuf {
        self.tmp_dir().join("scrub.tmp")
    }

    pub(crate) fn layout_file(&self) -> PathBuf {
        self.data_dir.join("LAYOUT")
    }

    /// Makes what directories are missing; those of blob files come with their first file.
    pub(crate) fn create_dirs(&self, io: &dyn Io) -> Result<(), DiskError> {
        for dir in [self.packs_dir(), self.blobs_dir(), self.tmp_dir()] {
            io.create_dir_all(&dir).map_err(DiskError::io("create", &dir))?;
        }
        io.sync_dir(&self.data_dir).map_err(DiskError::io("sync", &self.data_dir))
    }

    /// Writes a file and removes it again: whether that can be done here.
    pub(crate) fn try_write(&self, io: &dyn Io) -> io::Result<()> {
        let path = self.tmp_file(0);
        match io.remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        io.open(&path, OpenMode::CreateNew)?;
        io.remove_file(&path)
    }

    /// The salt that `LAYOUT` says; `None` when there is no such file.
    pub(crate) fn read_salt(&self, io: &dyn Io) -> Result<Option<u64>, DiskError> {
        let path = self.layout_file();
        let file = match io.open(&path, OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(DiskError::io("open", &path)(error)),
        };
        let mut bytes = [0; LAYOUT_LIMIT_BYTES];
        let length = read_full(&*file, &mut bytes, 0).map_err(DiskError::io("read", &path))?;
        let text = String::from_utf8_lossy(&bytes[..length]);
        let line = text.lines().next().unwrap_or_default();
        if line.is_empty() {
            // Cut off by a power loss before anything else was written.
            return Ok(None);
        }
        match parse_layout(line) {
            Some(salt) => Ok(Some(salt)),
            None => Err(DiskError::Layout { path, found: line.to_owned() }),
        }
    }

    /// Writes `LAYOUT`, whole or not at all.
    pub(crate) fn write_salt(&self, io: &dyn Io, salt: u64) -> Result<(), DiskError> {
        let path = self.layout_file();
        let tmp = self.tmp_dir().join("LAYOUT.tmp");
        let text = format!("{PRODUCT} {VERSION} {salt:016x}\n");
        let write = || {
            let file = io.open(&tmp, OpenMode::CreateNew)?;
            write_full(&*file, &mut [IoSlice::new(text.as_bytes())], 0)?;
            file.sync_data()?;
            io.rename(&tmp, &path)?;
            io.sync_dir(&self.data_dir)
        };
        write().map_err(DiskError::io("write", &path))
    }
}

/// The directory of a blob file, by its hash.
pub(crate) fn fan_of(hash: &Hash) -> u8 {
    hash.as_bytes().first().copied().unwrap_or_default()
}

/// The same, by the beginning of its hash.
pub(crate) fn fan_of_prefix(prefix: &[u8]) -> u8 {
    prefix.first().copied().unwrap_or_default()
}

/// The id in a pack's file name.
pub(crate) fn parse_pack_name(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".pack").filter(|digits| digits.len() == 8)?;
    parse_hex(digits).and_then(|id| u32::try_from(id).ok()).filter(|id| (1..=LAST_ID).contains(id))
}

/// The hash, in hex, and the sequence number in a blob file's name.
pub(crate) fn parse_blob_name(name: &str) -> Option<(&str, u64)> {
    let (hash, sequence) = name.split_once('-')?;
    let is_hash = hash.len() >= 32 && is_lower_hex(hash);
    (is_hash && sequence.len() == 16).then_some(())?;
    Some((hash, parse_hex(sequence).filter(|sequence| *sequence < 1 << 63)?))
}

/// The first byte of the hashes in a directory under `blobs/`.
pub(crate) fn parse_blob_dir(name: &str) -> Option<u8> {
    (name.len() == 2).then(|| parse_hex(name)).flatten().and_then(|fan| u8::try_from(fan).ok())
}

/// The directory of a blob file, by the hash in its name.
pub(crate) fn fan_of_hex(hash_hex: &str) -> Option<u8> {
    hash_hex.get(..2).and_then(parse_blob_dir)
}

/// Whether a name in the data directory itself is one that an engine gives.
pub(crate) fn is_root_name(name: &str) -> bool {
    const NAMES: [&str; 8] =
        ["LAYOUT", "lock", "packs", "blobs", "tmp", "index", "index.broken", "scrub"];
    NAMES.contains(&name)
}

/// Whether a name in `tmp/` is one that an engine gave.
pub(crate) fn is_tmp_name(name: &str) -> bool {
    name.strip_suffix(".tmp").is_some_and(|stem| {
        stem == "LAYOUT" || stem == "scrub" || (stem.len() == 16 && is_lower_hex(stem))
    })
}

/// Whether a line is whole and of a version that is not this one.
pub(crate) fn says_another_version(line: &str) -> bool {
    let mut words = line.split(' ');
    let is_ours = words.next() == Some(PRODUCT);
    let version = words.next().is_some_and(|word| word != VERSION && word.parse::<u32>().is_ok());
    let salt = words.next().is_some_and(|word| word.len() == 16 && is_lower_hex(word));
    is_ours && version && salt && words.next().is_none()
}

fn parse_layout(line: &str) -> Option<u64> {
    let salt = line.strip_prefix(PRODUCT)?.strip_prefix(' ')?.strip_prefix(VERSION)?;
    parse_hex(salt.strip_prefix(' ').filter(|salt| salt.len() == 16)?)
}

fn parse_hex(digits: &str) -> Option<u64> {
    is_lower_hex(digits).then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_packs() {
        let check = |name: &str, expect: Option<u32>| assert_eq!(parse_pack_name(name), expect);
        check("00000001.pack", Some(1));
        check("7fffffff.pack", Some(u32::MAX >> 1));
        check("80000000.pack", None);
        check("00000000.pack", None);
        check("0000000A.pack", None);
        check("1.pack", None);
        check("00000001.pack~", None);
        check("+0000001.pack", None);
        check("lost+found", None);
    }

    #[test]
    fn names_of_blob_files() {
        let md5 = "0123456789abcdef0123456789abcdef";
        let check = |name: &str, expect: Option<(&str, u64)>| {
            assert_eq!(parse_blob_name(name), expect, "{name}");
        };
        check(&format!("{md5}-000000000000000a"), Some((md5, 10)));
        check(&format!("{md5}-ffffffffffffffff"), None);
        check(&format!("{md5}-a"), None);
        check(md5, None);
        check("x-000000000000000a", None);
        check(&format!("{}-000000000000000a", md5.to_uppercase()), None);
    }

    #[test]
    fn layout_lines() {
        let check = |line: &str, expect: Option<u64>| assert_eq!(parse_layout(line), expect);
        check("larder-disk 1 00000000000000ff", Some(255));
        check("larder-disk 2 00000000000000ff", None);
        check("larder-disk 1 ff", None);
        check("larder-disk 1", None);
        check("", None);
    }

    #[test]
    fn layout_lines_of_another_version() {
        let check = |line: &str, expect: bool| assert_eq!(says_another_version(line), expect);
        check("larder-disk 2 00000000000000ff", true);
        check("larder-disk 12 00000000000000ff", true);
        check("larder-disk 1 00000000000000ff", false);
        check("larder-disk 1 0000000000000_ff", false);
        check("larder-disk q 00000000000000ff", false);
        check("lardez-disk 2 00000000000000ff", false);
        check("larder-disk 2 00000000000000ff more", false);
        check("", false);
    }
}
