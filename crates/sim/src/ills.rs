//! What a disk suffers from at the moment: calls that fail, sectors that can't be read, no room.
//!
//! The disk in memory asks before each call what becomes of it ([`Faults`]), and this answers. The world says
//! what goes wrong and when (`world/disks.rs`), as drawn in [`disk_faults`](crate::disk_faults). What failed is
//! noted until somebody asks: so a disk that failed as it was told to is no fault of the log.
//!
//! Bytes that are there and wrong are not here: `rot.rs` changes them in the disk itself.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quorate_wal::memory::SECTOR_BYTES;
use quorate_wal::{Call, Fault, Faults, PLEDGE_SLOTS};

use crate::chance::Chance;
use crate::disk_faults::Flaky;

/// A call that is to fail once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// A read of a part of a segment; or of a whole one, as at a start, and then of all of its parts for as long
    /// as that start lasts. (Whoever can't read a whole segment reads it piece by piece: one call alone would
    /// never be missed.)
    Read,
    /// A write, of which nothing is written.
    Write,
    /// A write, of which so many bytes are written.
    ShortWrite(usize),
    /// The sync of a segment, or of what lies beside them.
    Sync,
    /// The sync of the directory.
    SyncDirectory,
    /// The creation of a segment.
    Create,
    /// The removal of a segment.
    Remove,
}

impl Failing {
    fn meets(self, call: Call) -> bool {
        matches!(
            (self, call),
            (Self::Read, Call::Read { .. } | Call::ReadPart { .. })
                | (Self::Write | Self::ShortWrite(_), Call::Write { .. })
                | (Self::Sync, Call::SyncSegment { .. } | Call::SyncPledge)
                | (Self::SyncDirectory, Call::SyncDirectory)
                | (Self::Create, Call::Create { .. })
                | (Self::Remove, Call::Remove { .. })
        )
    }

    fn fault(self) -> Fault {
        match self {
            Self::ShortWrite(written) => Fault::Short { written, kind: BROKEN },
            _ => Fault::Fails(BROKEN),
        }
    }
}

/// What a system says of a disk that fails: `EIO` has no kind of its own.
const BROKEN: io::ErrorKind = io::ErrorKind::Other;

/// What a system writes at once.
const PAGE_BYTES: u64 = 4096;

/// The ills of a disk. A clone is another handle of the same ones.
#[derive(Clone, Debug, Default)]
pub struct Ills(Arc<Mutex<State>>);

#[derive(Clone, Debug, Default)]
struct State {
    /// What fails next, if it is called; each kind once.
    armed: Vec<Failing>,
    /// How often calls fail by chance, if they do.
    flaky: Option<(Flaky, Chance)>,
    /// The segment of which no read succeeds until somebody asks what failed.
    silent: Option<u64>,
    /// The last call, if it failed. By chance the same one does not fail again: what never succeeds is damage.
    failed_last: Option<Call>,
    /// Whether every call fails.
    broken: bool,
    /// Whether there is no room.
    full: bool,
    /// How many times it still turns out that there was none, now that there is.
    refusals: u64,
    /// Sectors that can't be read, by segment and number.
    unreadable: BTreeSet<(u64, u64)>,
    /// What failed since the last look.
    failed: Option<Failure>,
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// One call, by itself.
    Once(Failing),
    /// A call of a disk of which all fail.
    Broken,
    /// A call that needs room.
    Full,
}

impl Ills {
    fn state(&self) -> MutexGuard<'_, State> {
        // One thread: poisoned only by a panic that ended the run already.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next call of this kind fails.
    pub fn arm(&self, failing: Failing) {
        let mut state = self.state();
        if !state.armed.contains(&failing) {
            state.armed.push(failing);
        }
    }

    /// From now on each call may fail.
    pub fn get_flaky(&self, flaky: Flaky, chance: Chance) {
        self.state().flaky = Some((flaky, chance));
    }

    /// From now on every call fails.
    pub fn break_down(&self) {
        self.state().broken = true;
    }

    /// Whether every call fails.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.state().broken
    }

    /// From now on there is no room.
    pub fn fill(&self) {
        self.state().full = true;
    }

    /// Whether there is no room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.state().full
    }

    /// There is room again, for whoever tries so many times more.
    pub fn give_room(&self, refusals: u64) {
        let mut state = self.state();
        (state.full, state.refusals) = (false, refusals);
    }

    /// From now on calls do what they should. What can't be read is lost nevertheless.
    pub fn work(&self) {
        let mut state = self.state();
        (state.silent, state.broken, state.flaky) = (None, false, None);
        state.armed.clear();
    }

    /// What failed since the last time that somebody asked.
    pub fn take_failure(&self) -> Option<Failure> {
        let mut state = self.state();
        state.silent = None;
        state.failed.take()
    }

    /// Whether something has failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.state().failed.is_some()
    }

    /// Whether a call finds no room, be it for something new or for what has its place already. Who is told so
    /// may try again, unless it stays so.
    pub(crate) fn refuses_room(&self, is_new: bool) -> bool {
        let mut state = self.state();
        if state.full {
            if !is_new {
                return false;
            }
            state.failed = Some(Failure::Full);
            return true;
        }
        let refuses = state.refusals > 0;
        state.refusals = state.refusals.saturating_sub(1);
        refuses
    }

    /// A sector can't be read any more, until its page is written.
    pub(crate) fn lose_sector(&self, segment: u64, offset: u64) {
        self.state().unreadable.insert((segment, offset / SECTOR_BYTES as u64));
    }

    /// A sector can be read again.
    pub(crate) fn find_sector(&self, segment: u64, offset: u64) {
        self.state().unreadable.remove(&(segment, offset / SECTOR_BYTES as u64));
    }

    /// Whether a sector can't be read.
    pub(crate) fn has_lost_sector(&self, segment: u64, offset: u64) -> bool {
        self.state().unreadable.contains(&(segment, offset / SECTOR_BYTES as u64))
    }

    /// What stays when everything works that can: the sectors that can't be read.
    pub(crate) fn lasting(&self) -> Self {
        let unreadable = self.state().unreadable.clone();
        Self(Arc::new(Mutex::new(State { unreadable, ..State::default() })))
    }
}

impl Faults for Ills {
    fn before(&mut self, call: Call) -> Option<Fault> {
        let mut state = self.state();
        if state.broken {
            state.failed = Some(Failure::Broken);
            return Some(Fault::Fails(BROKEN));
        }
        if let Call::Read { segment } | Call::ReadPart { segment, .. } = call
            && state.silent == Some(segment)
        {
            return Some(Failing::Read.fault());
        }
        let armed = state.armed.iter().position(|failing| failing.meets(call));
        let is_repeated = state.failed_last == Some(call);
        let failing = armed.map(|met| state.armed.remove(met));
        let failing = failing.or_else(|| state.mishap(call).filter(|_| !is_repeated));
        state.failed_last = failing.is_some().then_some(call);
        if let Some(failing) = failing {
            if let Call::Read { segment } = call {
                state.silent = Some(segment);
            }
            state.failed = Some(Failure::Once(failing));
            return Some(failing.fault());
        }
        state.before(call)
    }
}

impl State {
    /// How a call fails by chance, if it does.
    fn mishap(&mut self, call: Call) -> Option<Failing> {
        let (flaky, chance) = self.flaky.as_mut()?;
        let (rate, failing) = match call {
            Call::Read { .. } | Call::ReadPart { .. } => (flaky.reads_per_mille, Failing::Read),
            // That the mark can't be read is a loss like any other of it.
            Call::ReadMark { slot } if PLEDGE_SLOTS.contains(&slot) => {
                (flaky.reads_per_mille, Failing::Read)
            }
            Call::Write { bytes, .. } => {
                let written = chance.position(bytes + 1);
                (flaky.writes_per_mille, Failing::ShortWrite(written))
            }
            // A mark that isn't written is missed by nobody.
            Call::WriteMark { slot, bytes } if PLEDGE_SLOTS.contains(&slot) => {
                let written = chance.position(bytes + 1);
                (flaky.writes_per_mille, Failing::ShortWrite(written))
            }
            Call::SyncSegment { .. } | Call::SyncPledge => (flaky.writes_per_mille, Failing::Sync),
            Call::SyncDirectory => (flaky.writes_per_mille, Failing::SyncDirectory),
            _ => return None,
        };
        chance.per_mille(rate).then_some(failing)
    }

    /// What becomes of a call as far as sectors go.
    fn before(&mut self, call: Call) -> Option<Fault> {
        let sector = SECTOR_BYTES as u64;
        let (first, end, segment) = match call {
            Call::Read { segment } => (0, u64::MAX, segment),
            Call::ReadPart { segment, offset, bytes } => {
                (offset / sector, (offset + bytes as u64).div_ceil(sector), segment)
            }
            Call::Write { segment, offset, bytes } => {
                // What the system holds of a page is written as a whole, and the disk takes other
                // sectors for those that it can't read.
                let written = offset / PAGE_BYTES..(offset + bytes as u64).div_ceil(PAGE_BYTES);
                self.unreadable.retain(|(of, number)| {
                    *of != segment || !written.contains(&(number * sector / PAGE_BYTES))
                });
                return None;
            }
            Call::Create { segment, .. } | Call::Remove { segment } => {
                self.unreadable.retain(|(of, _)| *of != segment);
                return None;
            }
            _ => return None,
        };
        let lost = self.unreadable.range((segment, first)..(segment, end)).next();
        lost.map(|_| Fault::Fails(BROKEN))
    }
}

#[cfg(test)]
mod tests {
    use quorate_wal::{Disk, MemDisk};

    use super::*;

    #[test]
    fn one_call_fails_or_all_do_and_a_sector_is_lost_until_it_is_written() {
        let ills = Ills::default();
        let mut disk = MemDisk::new();
        disk.set_faults(ills.clone());
        disk.create(1, 8_192).expect("nothing is armed");
        ills.arm(Failing::Sync);
        disk.write(1, 0, &[1; 1_024]).expect("a write is not meant");
        disk.sync_segment(1).expect_err("it was armed");
        assert_eq!(ills.take_failure(), Some(Failure::Once(Failing::Sync)));
        disk.sync_segment(1).expect("it fails once");
        ills.arm(Failing::Read);
        disk.read_part(1, 0, 512).expect_err("it was armed");
        disk.read_part(1, 0, 512).expect("a part fails once");
        ills.arm(Failing::Read);
        disk.read(1, 8_192).expect_err("it was armed");
        disk.read_part(1, 0, 512).expect_err("who starts is not helped by another way to read");
        assert_eq!(ills.take_failure(), Some(Failure::Once(Failing::Read)));
        disk.read(1, 8_192).expect("the next start can read");
        ills.lose_sector(1, 600);
        disk.read(1, 8_192).expect_err("a part of it is lost");
        assert_eq!(disk.read_part(1, 0, 512).expect("that is sound"), [1; 512]);
        disk.read_part(1, 500, 20).expect_err("it reaches into the next sector");
        disk.write(1, 4_096, &[2; 512]).expect("the disk works");
        disk.read_part(1, 512, 1).expect_err("another page was written");
        disk.write(1, 0, &[2; 512]).expect("the disk works");
        disk.read(1, 8_192).expect("its page was written");
        ills.break_down();
        disk.segments().expect_err("everything fails");
        assert_eq!(ills.take_failure(), Some(Failure::Broken));
        ills.work();
        disk.segments().expect("it works again");
        assert!(!ills.has_failed());
    }
}
