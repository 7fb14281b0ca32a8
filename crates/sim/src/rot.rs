//! What goes bad beneath a running log: sectors that rot, and writes that were confirmed and lie elsewhere
//! or nowhere.
//!
//! A write that a disk loses or misdirects shows no earlier than when the cache of the system has given it
//! up. So all of this is done to the bytes of a segment after they were written, which leaves the disk
//! as it would be otherwise, and lets somebody look whether it is a fault too many. What was there is
//! remembered for that case: each change can be taken back, as far as the bytes are still there.

use core::fmt;

use quorate_wal::MemDisk;
use quorate_wal::memory::SECTOR_BYTES;

use crate::chance::Chance;
use crate::coverage::Fault;
use crate::ills::Ills;
use crate::powered::Written;

/// A stretch of a segment that is not what was written.
#[derive(Clone)]
pub(crate) struct Spoiled {
    segment: u64,
    offset: usize,
    was: Vec<u8>,
    is: Vec<u8>,
    /// Whether its sector can't be read at all.
    is_unreadable: bool,
}

impl fmt::Debug for Spoiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segment, offset, was, .. } = self;
        write!(f, "{} bytes at offset {offset} of segment {segment}", was.len())
    }
}

impl Spoiled {
    /// Whether any of it is still there.
    pub(crate) fn is_there(&self, disk: &MemDisk, ills: &Ills) -> bool {
        if self.is_unreadable {
            return ills.has_lost_sector(self.segment, self.offset as u64);
        }
        let mut is_there = false;
        if disk.numbers().contains(&self.segment) {
            disk.damage(self.segment, |bytes| {
                is_there = self.changed(bytes).next().is_some();
            });
        }
        is_there
    }

    /// Takes it back, except where something was written since.
    pub(crate) fn put_right(&self, disk: &MemDisk, ills: &Ills) {
        if self.is_unreadable {
            ills.find_sector(self.segment, self.offset as u64);
        } else if disk.numbers().contains(&self.segment) {
            disk.damage(self.segment, |bytes| {
                let changed: Vec<usize> = self.changed(bytes).collect();
                changed.into_iter().for_each(|at| bytes[self.offset + at] = self.was[at]);
            });
        }
    }

    /// Which of its bytes are wrong as they were made wrong.
    fn changed<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
        let now = bytes.get(self.offset..).unwrap_or_default();
        let all = self.was.iter().zip(&self.is).zip(now).enumerate();
        all.filter(|(_, ((was, is), now))| was != is && is == now).map(|(at, _)| at)
    }
}

/// One to three sectors rot, of what is written.
pub(crate) fn rot(disk: &MemDisk, ills: &Ills, chance: &mut Chance) -> Vec<Spoiled> {
    let segments = disk.numbers();
    let mut all = Vec::new();
    if segments.is_empty() {
        return all;
    }
    for _ in 0..chance.between(1, 3) {
        let segment = *chance.pick(&segments);
        let kind = chance.below(4);
        disk.damage(segment, |bytes| {
            let used = used(bytes);
            if used == 0 {
                return;
            }
            let offset = chance.position(used.div_ceil(SECTOR_BYTES)) * SECTOR_BYTES;
            let is_hit = |spoiled: &Spoiled| (spoiled.segment, spoiled.offset) == (segment, offset);
            if all.iter().any(is_hit) {
                // A second flip could take the first one back.
                return;
            }
            let stretch = &mut bytes[offset..used.min(offset + SECTOR_BYTES)];
            let was = stretch.to_vec();
            match kind {
                0 => stretch.fill(0),
                1 => stretch.iter_mut().for_each(|byte| *byte = chance.below(256) as u8),
                2 => stretch[chance.position(was.len())] ^= 1 << chance.below(8),
                _ => ills.lose_sector(segment, offset as u64),
            }
            let is_unreadable = kind == 3;
            all.push(Spoiled { segment, offset, was, is: stretch.to_vec(), is_unreadable });
        });
    }
    all
}

/// One of these writes, which were synced, is lost, or has gone elsewhere in the files of the log. Says which.
///
/// # Errors
/// If it never came to the disk.
pub(crate) fn stray(
    disk: &MemDisk,
    writes: &[Written],
    chance: &mut Chance,
) -> Result<Option<(Fault, Vec<Spoiled>)>, String> {
    let segments = disk.numbers();
    let there: Vec<&Written> =
        writes.iter().filter(|written| segments.contains(&written.segment)).collect();
    if there.is_empty() {
        return Ok(None);
    }
    let Written { segment, offset, bytes: length } = **chance.pick(&there);
    let from = usize::try_from(offset).expect("a segment is in memory");
    let mut was = Err(0);
    disk.damage(segment, |bytes| match bytes.get_mut(from..from + length) {
        Some(place) => {
            was = Ok(place.to_vec());
            // A log appends: where it wrote, there were zeros.
            place.fill(0);
        }
        None => was = Err(bytes.len()),
    });
    let was = was.map_err(|has| {
        format!(
            "a write that was confirmed is not on the disk: {length} bytes at offset {from} of segment \
             {segment}, which has {has}"
        )
    })?;
    let lost = Spoiled {
        segment,
        offset: from,
        is: vec![0; length],
        was: was.clone(),
        is_unreadable: false,
    };
    let is_lost = chance.per_mille(400);
    let other = *chance.pick(&segments);
    let is_last = segments.last() == Some(&other);
    let mut spoiled = vec![lost];
    disk.damage(other, |bytes| {
        // What is after the end of the log is about to be written, and then this is gone.
        let end = if is_last { used(bytes) } else { bytes.len() };
        let sectors = end / SECTOR_BYTES;
        if is_lost || sectors == 0 {
            return;
        }
        let offset = chance.position(sectors) * SECTOR_BYTES + from % SECTOR_BYTES;
        if (other, offset) == (segment, from) {
            // That is where it belongs. Then it is nowhere.
            return;
        }
        let end = end.min(offset + length);
        if let Some(place) = bytes.get_mut(offset..end) {
            let before = place.to_vec();
            place.copy_from_slice(&was[..before.len()]);
            let is = place.to_vec();
            let there = Spoiled { segment: other, offset, was: before, is, is_unreadable: false };
            spoiled.push(there);
        }
    });
    let fault = if spoiled.len() == 1 { Fault::LostWrite } else { Fault::StrayWrite };
    Ok(Some((fault, spoiled)))
}

/// How far a segment is written.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with one segment, of which the first half is written.
    fn disk() -> MemDisk {
        let disk = MemDisk::new();
        let mut bytes = vec![7; 4_096];
        bytes.resize(8_192, 0);
        disk.insert(1, bytes);
        disk
    }

    fn content(disk: &MemDisk) -> Vec<u8> {
        let mut all = Vec::new();
        disk.damage(1, |bytes| all = bytes.to_vec());
        all
    }

    #[test]
    fn what_went_bad_is_found_and_can_be_taken_back() {
        for seed in 0..100 {
            let (disk, ills, mut chance) = (disk(), Ills::default(), Chance::new(seed));
            let written = [Written { segment: 1, offset: 3_584, bytes: 512 }];
            let spoiled = match seed % 2 {
                0 => rot(&disk, &ills, &mut chance),
                _ => {
                    let strayed = stray(&disk, &written, &mut chance).expect("it is on the disk");
                    strayed.expect("there was a write").1
                }
            };
            assert!(spoiled.iter().any(|spoiled| spoiled.is_there(&disk, &ills)), "seed {seed}");
            assert!(content(&disk)[4_096..].iter().all(|byte| *byte == 0), "nothing is there");
            spoiled.iter().rev().for_each(|spoiled| spoiled.put_right(&disk, &ills));
            assert!(!spoiled.iter().any(|spoiled| spoiled.is_there(&disk, &ills)), "seed {seed}");
            assert_eq!(content(&disk), content(&self::disk()), "seed {seed}");
        }
    }

    #[test]
    fn a_write_that_was_confirmed_and_never_came_to_the_disk_is_noticed() {
        let written = [Written { segment: 1, offset: 8_000, bytes: 512 }];
        let what = stray(&disk(), &written, &mut Chance::new(1)).expect_err("it ends at 8192");
        assert!(what.starts_with("a write that was confirmed is not on the disk"), "{what}");
    }

    #[test]
    fn what_was_written_since_is_left_alone() {
        let written = [Written { segment: 1, offset: 3_584, bytes: 512 }];
        let lost = (0..).find_map(|seed| {
            let disk = disk();
            let strayed = stray(&disk, &written, &mut Chance::new(seed));
            let (fault, spoiled) = strayed.expect("it is on the disk")?;
            (fault == Fault::LostWrite).then_some((disk, spoiled))
        });
        let (disk, spoiled) = lost.expect("one of them");
        disk.damage(1, |bytes| bytes[3_584..3_600].fill(9));
        spoiled.iter().for_each(|spoiled| spoiled.put_right(&disk, &Ills::default()));
        let content = content(&disk);
        assert_eq!((content[3_584], content[3_600]), (9, 7));
    }
}
