//! What a log holds, for whoever wants to know before anything is done about it.
//!
//! Opening a log writes: the last batch once more, zeros after it, a mark and a pledge. That is right for a member that
//! is about to use it, and wrong for an operator who asks what is damaged and wants every byte left as it
//! is. So the same reading is done here on a disk that takes nothing.

use std::collections::BTreeMap;
use std::io;

use quorate_raft::{Entry, EntryId, GroupId, Index, Remembered, Seal};

use crate::disk::Disk;
use crate::heal::merged;
use crate::recover::{OpenError, Report, Trouble, recover};
use crate::survey::survey;
use crate::wal::WalOptions;

/// What a log holds.
#[derive(Debug)]
pub struct Examined {
    /// What is damaged, in the order of the log; the first few places, if there are many. Empty if nothing
    /// is.
    pub reports: Vec<Report>,
    /// What is known of each group; nothing at all, if there is no log, or no record of it can be read.
    pub groups: BTreeMap<GroupId, ExaminedGroup>,
}

/// What is known of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExaminedGroup {
    /// What an opening would tell.
    pub remembered: Remembered,
    /// The sound entries of a group that was [forgotten](Remembered::Forgotten) which do not follow those
    /// that it tells: ascending, with holes. Others may have taken their places in what is missing.
    pub beyond: Vec<Entry>,
    /// The records whose entries are lost and whose headers are not, so that their size is known.
    pub lost: Vec<LostRecord>,
}

/// A record whose entries are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostRecord {
    /// The position of its first entry.
    pub first: Index,
    /// Its last entry; all have the same term.
    pub last: EntryId,
    /// What the entries took on disk, in bytes.
    pub bytes: u64,
}

/// Reads a log and changes nothing, not even what every opening writes.
///
/// # Errors
/// As for [`crate::Wal::open`]; but a log of which no record is left is one that tells of no group.
pub fn examine(disk: &mut dyn Disk, options: WalOptions) -> Result<Examined, OpenError> {
    let mut disk = Untouched(disk);
    let length_max = options.record_bytes_max;
    match recover(&mut disk, length_max) {
        Ok(found) => {
            let groups = found.recovered.into_iter().map(|(group, recovered)| {
                let remembered = Remembered::Whole(recovered);
                (group, ExaminedGroup { remembered, beyond: Vec::new(), lost: Vec::new() })
            });
            Ok(Examined { reports: Vec::new(), groups: groups.collect() })
        }
        Err(Trouble::Damage(report)) => {
            let survey = survey(&mut disk, length_max)?;
            let groups = survey.groups.into_iter().map(|(group, salvaged)| {
                let seals: &[Seal] = match &salvaged.remembered {
                    Remembered::Damaged(salvage) => &salvage.seals,
                    Remembered::Whole(_) | Remembered::Forgotten(_) => &[],
                };
                let lost = seals.iter().map(|seal| LostRecord {
                    first: seal.first,
                    last: seal.last,
                    bytes: seal.bytes.into(),
                });
                let lost = lost.collect();
                let (remembered, beyond) = (salvaged.remembered, salvaged.beyond);
                (group, ExaminedGroup { remembered, beyond, lost })
            });
            Ok(Examined { reports: merged(survey.reports, report), groups: groups.collect() })
        }
        Err(Trouble::Fatal(error)) => Err(error),
    }
}

/// A disk that is read, and on which nothing becomes of what is written.
#[derive(Debug)]
struct Untouched<'a>(&'a mut dyn Disk);

impl Disk for Untouched<'_> {
    fn segments(&mut self) -> io::Result<Vec<u64>> {
        self.0.segments()
    }

    fn create(&mut self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn read(&mut self, segment: u64, bytes_max: u64) -> io::Result<Vec<u8>> {
        self.0.read(segment, bytes_max)
    }

    fn length(&mut self, segment: u64) -> io::Result<u64> {
        self.0.length(segment)
    }

    fn read_part(&mut self, segment: u64, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        self.0.read_part(segment, offset, bytes)
    }

    fn write(&mut self, _: u64, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn sync_segment(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn remove(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn write_mark(&mut self, _: usize, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn read_mark(&mut self, slot: usize) -> io::Result<Vec<u8>> {
        self.0.read_mark(slot)
    }

    fn sync_pledge(&mut self) -> io::Result<()> {
        Ok(())
    }
}
