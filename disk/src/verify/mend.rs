//! Telling what a pack has come to, and mending it.
//!
//! A pack that has only a torn tail is cut. Any other is written anew beside it and takes its place in one step: each good
//! record as it was, for a bad one a removal of its key, so that no older record of that key comes back. Records keep their
//! order, their sequence numbers and their pack. The index knows where they were, so it goes first.

use std::io::IoSlice;

use super::directory::NamedPack;
use super::packs::Contents;
use super::{Finding, FindingKind, Repair, Verifier};
use crate::codec::encode_removal;
use crate::error::DiskError;
use crate::io::{IoFile, OpenMode, read_full, write_full};
use crate::pack::{HEADER_BYTES, PackHeader};
use crate::prologue::{Place, Prologue, seal};

impl Verifier<'_> {
    /// Tells what was found in a pack, mends it if asked, and says where it ends then; `None` when it is gone.
    pub(super) fn settle(
        &mut self,
        salt: u64,
        id: u32,
        pack: &NamedPack,
        mut contents: Contents,
    ) -> Result<Option<u64>, DiskError> {
        let is_cut = pack.length < HEADER_BYTES as u64;
        let header = pack.header();
        let is_ours = header.is_none_or(|header| (header.id, header.salt) == (id, salt));
        if let Some(reason) = header_fault(is_cut, header.is_some(), is_ours) {
            let finding = Finding::new(FindingKind::BadHeader, &pack.path, reason);
            contents.findings.insert(0, finding);
        }
        // What belongs elsewhere is not for us to cut; what cannot be read may be readable again.
        let is_mended = self.repair == Repair::Yes
            && is_ours
            && !contents.is_unreadable
            && !contents.findings.is_empty();
        if is_mended && is_cut {
            self.remove_file(&pack.path)?;
        } else if is_mended {
            self.mend(salt, id, pack, &contents)?;
        }
        for mut finding in contents.findings {
            finding.is_mended = is_mended;
            self.tell_only(&finding);
        }
        Ok(match is_mended {
            true if is_cut => None,
            true if contents.has_gaps || !contents.rotten.is_empty() => Some(u64::MAX),
            true => Some(contents.end),
            false => Some(pack.length),
        })
    }

    fn mend(
        &mut self,
        salt: u64,
        id: u32,
        pack: &NamedPack,
        contents: &Contents,
    ) -> Result<(), DiskError> {
        let header = pack.header().unwrap_or_else(|| {
            let created_unix_ms = self.io.unix_ms();
            PackHeader { id, salt, created_unix_ms }
        });
        if contents.has_gaps || !contents.rotten.is_empty() {
            self.remove_dir(&self.layout.index_dir())?;
            return self.rewrite(header, pack, contents);
        }
        let file = self.io.open(&pack.path, OpenMode::ReadWrite);
        let file = file.map_err(DiskError::io("open", &pack.path))?;
        write_full(&*file, &mut [IoSlice::new(&header.to_bytes())], 0)
            .map_err(DiskError::io("write", &pack.path))?;
        file.truncate(contents.end).map_err(DiskError::io("cut", &pack.path))?;
        file.sync_data().map_err(DiskError::io("sync", &pack.path))
    }

    fn rewrite(
        &mut self,
        header: PackHeader,
        pack: &NamedPack,
        contents: &Contents,
    ) -> Result<(), DiskError> {
        let dir = self.layout.tmp_dir();
        self.io.create_dir_all(&dir).map_err(DiskError::io("create", &dir))?;
        let tmp = self.layout.tmp_file(u64::from(header.id));
        let file = self.io.open(&tmp, OpenMode::CreateNew);
        let file = file.map_err(DiskError::io("create", &tmp))?;
        let outcome = write_records(&*file, header, pack, contents, self.io.unix_ms());
        if let Err(error) = outcome.and_then(|()| file.sync_data()) {
            // The pack is as it was; what was begun takes room for nothing.
            let _ = self.io.remove_file(&tmp);
            return Err(DiskError::io("write", &tmp)(error));
        }
        self.io.rename(&tmp, &pack.path).map_err(DiskError::io("replace", &pack.path))?;
        let packs = self.layout.packs_dir();
        self.io.sync_dir(&packs).map_err(DiskError::io("sync", &packs))
    }
}

fn header_fault(is_cut: bool, is_whole: bool, is_ours: bool) -> Option<&'static str> {
    if is_cut {
        Some("shorter than a pack's header; it holds nothing")
    } else if !is_whole {
        Some("the header is damaged")
    } else if !is_ours {
        Some("the header is that of another pack or of another data directory; left alone")
    } else {
        None
    }
}

fn write_records(
    to: &dyn IoFile,
    header: PackHeader,
    pack: &NamedPack,
    contents: &Contents,
    now_ms: u64,
) -> std::io::Result<()> {
    write_full(to, &mut [IoSlice::new(&header.to_bytes())], 0)?;
    let mut end = HEADER_BYTES as u64;
    for (offset, length) in &contents.records {
        let mut bytes = vec![0; *length as usize];
        read_full(&*pack.file, &mut bytes, u64::from(*offset))?;
        let from = Place::in_pack(header.salt, header.id, *offset);
        let Ok(prologue) = Prologue::parse(&bytes, from) else {
            return Err(std::io::ErrorKind::InvalidData.into());
        };
        let mut prologue_bytes = prologue.length_bytes();
        if contents.rotten.contains(offset) {
            let removal = encode_removal(&prologue.key, prologue.logical_size_bytes, now_ms);
            (bytes, prologue_bytes) = (removal.bytes, removal.prologue_bytes);
        }
        let offset = u32::try_from(end).map_err(|_| std::io::ErrorKind::FileTooLarge)?;
        let place = Place::in_pack(header.salt, header.id, offset);
        seal(&mut bytes[..prologue_bytes], prologue.sequence, place);
        write_full(to, &mut [IoSlice::new(&bytes)], end)?;
        end += bytes.len() as u64;
    }
    Ok(())
}
