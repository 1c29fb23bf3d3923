//! [`settle`]: which salt a directory has, when `LAYOUT` and the packs are asked.
//!
//! The packs' headers carry a checksum and `LAYOUT` does not, so what most of them say counts for more: a `LAYOUT` that rots
//! must not make every record of the directory a stranger.

use std::collections::BTreeMap;

use crate::error::{DiskError, is_unreadable, with_causes};
use crate::io::Io;
use crate::layout::{Layout, says_another_version};

/// What `LAYOUT` says: a salt, nothing, or something that this version does not read.
pub(crate) type Said = Result<Option<u64>, DiskError>;

/// Asks `LAYOUT`. Of another version, or beside no packs at all, what cannot be read is an error: it is not ours to touch.
pub(crate) fn ask(io: &dyn Io, layout: &Layout) -> Result<Said, DiskError> {
    match layout.read_salt(io) {
        Err(DiskError::Layout { found, .. })
            if !says_another_version(&found) && io.list(&layout.packs_dir()).is_ok() =>
        {
            let path = layout.data_dir().join("LAYOUT");
            Ok(Err(DiskError::Layout { path, found }))
        }
        Err(DiskError::Io { operation, path, source }) if is_unreadable(&source) => {
            Ok(Err(DiskError::Io { operation, path, source }))
        }
        said => said.map(Ok),
    }
}

/// The salt of a directory that is only read: what most packs say, or else `LAYOUT`.
pub(crate) fn assume(
    said: Said,
    headers: impl Iterator<Item = Option<u64>>,
    layout: &Layout,
) -> Result<u64, DiskError> {
    let known = match (said, most_named(headers.flatten())) {
        (_, Some(voted)) => Some(voted),
        (said, None) => said?,
    };
    known.ok_or_else(|| DiskError::NoDataDir { path: layout.data_dir().to_owned() })
}

/// The salt of the directory, and `LAYOUT` written where it says otherwise. `headers` are the packs, with the salts of those
/// whose headers are sound.
pub(crate) fn settle(
    io: &dyn Io,
    layout: &Layout,
    said: Said,
    headers: impl ExactSizeIterator<Item = Option<u64>>,
) -> Result<u64, DiskError> {
    let has_packs = headers.len() > 0;
    let voted = most_named(headers.flatten());
    let salt = match (said, voted) {
        (Ok(Some(said)), None) => return Ok(said),
        (Ok(Some(said)), Some(voted)) if said == voted => return Ok(said),
        (Ok(None), None) => io.salt(),
        (Err(error), None) if !has_packs => return Err(error),
        (Err(error), None) => {
            // A cache that begins anew is better than one that does not begin.
            tracing::error!(error = %with_causes(&error), "LAYOUT and all packs' headers are damaged; what is stored is lost");
            io.salt()
        }
        (said, Some(voted)) => {
            let said = said.ok().flatten();
            tracing::warn!(?said, voted, "LAYOUT is lost or damaged; written anew from the packs");
            voted
        }
    };
    layout.write_salt(io, salt)?;
    Ok(salt)
}

/// The salt that most packs' headers name.
pub(crate) fn most_named(salts: impl Iterator<Item = u64>) -> Option<u64> {
    let mut votes = BTreeMap::new();
    for salt in salts {
        *votes.entry(salt).or_insert(0_u32) += 1;
    }
    votes.into_iter().max_by_key(|(_, count)| *count).map(|(salt, _)| salt)
}
