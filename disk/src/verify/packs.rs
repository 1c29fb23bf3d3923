//! Reading packs and blob files, record by record.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;

use super::directory::{Directory, NamedBlob, NamedPack};
use super::{Finding, FindingKind, Verifier};
use crate::error::DiskError;
use crate::key::{RecordKey, RecordKind};
use crate::pack::HEADER_BYTES;
use crate::prologue::{Effect, Place, Prologue, PrologueError, announced_bytes};
use crate::scan::{Bodies, Scanner};
use crate::window::Window;

/// What a pack holds.
#[derive(Default)]
pub(super) struct Contents {
    /// Where each record begins, and how long it is.
    pub(super) records: Vec<(u32, u32)>,
    /// Those of them that are not what they say.
    pub(super) rotten: BTreeSet<u32>,
    /// What there is to tell.
    pub(super) findings: Vec<Finding>,
    /// Where the last record ends.
    pub(super) end: u64,
    /// Whether there is anything but records before that.
    pub(super) has_gaps: bool,
    /// The system did not hand out all of it.
    pub(super) is_unreadable: bool,
}

impl Verifier<'_> {
    /// Reads all packs; says where each ends, as it is left.
    pub(super) fn packs(&mut self, directory: &Directory) -> Result<BTreeMap<u32, u64>, DiskError> {
        let mut ends = BTreeMap::new();
        for (id, pack) in &directory.packs {
            let contents = self.contents(directory.salt, *id, pack);
            if contents.records.is_empty() && !is_pack(pack) {
                let reason = "a pack's name, but no pack";
                self.tell_only(&Finding::new(FindingKind::Foreign, &pack.path, reason));
                continue;
            }
            self.verified.packs += 1;
            self.verified.bytes += pack.length;
            if let Some(end) = self.settle(directory.salt, *id, pack, contents)? {
                ends.insert(*id, end);
            }
        }
        Ok(ends)
    }

    fn contents(&mut self, salt: u64, id: u32, pack: &NamedPack) -> Contents {
        let mut contents = Contents { end: HEADER_BYTES as u64, ..Contents::default() };
        if let Err(error) = self.scan(salt, id, pack, &mut contents) {
            contents.is_unreadable = true;
            let finding = Finding::new(FindingKind::Unreadable, &pack.path, error);
            contents.findings.push(finding.at(contents.end));
        }
        contents
    }

    fn scan(
        &mut self,
        salt: u64,
        id: u32,
        pack: &NamedPack,
        contents: &mut Contents,
    ) -> io::Result<()> {
        let mut scanner = Scanner::new(&*pack.file, (salt, id), 0, pack.length, Bodies::Trusted);
        loop {
            let found = scanner.next()?;
            if let Some(gap) = scanner.damage() {
                let is_tail = found.is_none();
                contents.has_gaps |= !is_tail;
                contents.findings.push(gap_finding(pack, &mut scanner, gap, is_tail)?);
            }
            let Some(found) = found else { break };
            let prologue = found.prologue;
            self.count_record(&prologue);
            let at = u64::from(found.offset);
            let body_at = at + prologue.length_bytes() as u64;
            if let Some(rot) = self.check.check(&prologue, scanner.window(), body_at)? {
                contents.rotten.insert(found.offset);
                let finding = Finding::new(FindingKind::BadRecord, &pack.path, rot);
                contents.findings.push(finding.at(at).of(Some(prologue.key.clone())));
            }
            let length = u32::try_from(prologue.record_bytes()).unwrap_or(u32::MAX);
            contents.records.push((found.offset, length));
            contents.end = scanner.good_end();
        }
        Ok(())
    }

    fn count_record(&mut self, prologue: &Prologue) {
        match prologue.effect {
            Effect::Store => self.verified.records += 1,
            Effect::Remove => self.verified.removals += 1,
        }
    }

    /// Reads all blob files.
    pub(super) fn blob_files(&mut self, directory: &Directory) -> Result<(), DiskError> {
        for blob in &directory.blob_files {
            self.verified.blob_files += 1;
            self.verified.bytes += blob.length;
            self.verified.records += 1;
            match self.blob_file(directory.salt, blob) {
                Ok(None) => {}
                Ok(Some((key, reason))) => {
                    let finding = Finding::new(FindingKind::BadRecord, &blob.path, reason).of(key);
                    self.tell(finding, |it| it.remove_file(&blob.path))?;
                }
                Err(error) => {
                    self.tell_only(&Finding::new(FindingKind::Unreadable, &blob.path, error));
                }
            }
        }
        Ok(())
    }

    /// What is wrong with a blob file, and with which blob.
    fn blob_file(
        &mut self,
        salt: u64,
        blob: &NamedBlob,
    ) -> io::Result<Option<(Option<RecordKey>, String)>> {
        let file = self.open(&blob.path)?;
        let mut window = Window::new(&*file, blob.length);
        let prologue = match read_prologue(&mut window, Place::in_file(salt))? {
            Ok(prologue) => prologue,
            Err(error) => return Ok(Some((None, error.to_string()))),
        };
        let is_named_so = prologue.effect == Effect::Store
            && prologue.key.kind() == RecordKind::Blob
            && prologue.sequence == blob.sequence
            && prologue.key.hash().to_string() == blob.hash_hex;
        let wrong = if !is_named_so {
            Some("its name is another record's".to_owned())
        } else if !blob.is_at_home {
            Some("it stands in the directory of another hash".to_owned())
        } else if let Some(rot) =
            self.check.check(&prologue, &mut window, prologue.length_bytes() as u64)?
        {
            Some(rot.to_string())
        } else if prologue.record_bytes() != blob.length {
            Some(format!("{} B follow its body", blob.length - prologue.record_bytes()))
        } else {
            None
        };
        Ok(wrong.map(|reason| (Some(prologue.key), reason)))
    }
}

fn read_prologue(
    window: &mut Window<'_>,
    place: Place,
) -> io::Result<Result<Prologue, PrologueError>> {
    let announced = match announced_bytes(window.peek(0, 12)?) {
        Ok(announced) if announced as u64 <= window.length() => announced,
        Ok(_) => return Ok(Err(PrologueError::Short)),
        Err(error) => return Ok(Err(error)),
    };
    Ok(Prologue::parse(window.peek(0, announced)?, place))
}

/// Whether a file without a record is a pack all the same: one that is empty, damaged, or not even begun.
fn is_pack(pack: &NamedPack) -> bool {
    pack.length < HEADER_BYTES as u64
        || pack.start.starts_with(&[0x5B, 0x2A, 0x4D, 0x18])
        || pack.start.get(8..12) == Some(b"LrdP")
}

/// What stands where no record is.
fn gap_finding(
    pack: &NamedPack,
    scanner: &mut Scanner<'_>,
    gap: Range<u64>,
    is_tail: bool,
) -> io::Result<Finding> {
    let bytes = gap.end - gap.start;
    let said = match u32::try_from(gap.start) {
        Ok(offset) => scanner.prologue_at(offset)?,
        Err(_) => Err(PrologueError::Magic),
    };
    let kind = if is_tail { FindingKind::TornTail } else { FindingKind::Damage };
    let (key, reason) = match said {
        Ok(prologue) => (Some(prologue.key), "the pack ends before its body does".to_owned()),
        Err(error) => (None, error.to_string()),
    };
    let reason = format!("{bytes} B are no record: {reason}");
    Ok(Finding::new(kind, &pack.path, reason).at(gap.start).of(key))
}
