//! The disk of a member: the production log on a disk in memory that can lose its power.
//!
//! A batch goes to the log when it begins and is committed when its time is over. A crash in between
//! finds the commit anywhere in its course: so many calls of the log reached the disk and the next
//! one did not. Then every sector, length and name that was not synced is lost, kept or torn on its
//! own.

use core::fmt;

use quorate_node::Healed;
use quorate_raft::{EntryId, HardState, Index, Record, Recovered, Remembered, Salvage};
use quorate_wal::memory::SECTOR_BYTES;
use quorate_wal::{
    Damaged, Disk as _, Fate, MARK_SLOTS, MemDisk, Opened, PLEDGE_SLOTS, Scrubbed, Wal, WalOptions,
};

use crate::chance::Chance;
use crate::coverage::Fault;
use crate::engine::SharedEngine;
use crate::ills::Ills;
use crate::powered::{Power, PoweredDisk, Written};
use crate::process::GROUP;
use crate::rot::{Spoiled, rot, stray};

/// A commit makes fewer calls of the disk than this: two to five, and twelve where it begins a log.
pub const CALLS_MAX: u64 = 13;

/// Why storage does not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What the log says.
    pub what: String,
    /// Whether its disk failed, as it was told to.
    pub is_of_disk: bool,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// What a member has on disk: the log, and the engine of its machine.
#[derive(Debug)]
pub struct Storage {
    disk: MemDisk,
    power: Power,
    options: WalOptions,
    wal: Option<Wal>,
    /// The log, while the member heals.
    damaged: Option<Box<Damaged>>,
    /// Whether the log has been given records that are not committed.
    under_way: bool,
    /// What the last commit wrote.
    writes: Vec<Written>,
    /// What went bad beneath a running log, and may be so still.
    spoiled: Vec<Spoiled>,
    /// How many times all of the log was verified since then.
    rounds: u64,
    /// Whether something was ever committed to the log. A server remembers that beside it.
    has_begun: bool,
    /// Whether a damaged log is cut where the damage begins.
    cuts: bool,
    /// Whether the log is said to have been verified, and was not.
    skips_scrub: bool,
    /// The machine's engine.
    pub engine: SharedEngine,
}

impl Storage {
    /// An empty disk.
    #[must_use]
    pub fn new(options: WalOptions) -> Self {
        Self {
            disk: MemDisk::new(),
            power: Power::default(),
            options,
            wal: None,
            damaged: None,
            under_way: false,
            writes: Vec::new(),
            spoiled: Vec::new(),
            rounds: 0,
            has_begun: false,
            cuts: false,
            skips_scrub: false,
            engine: SharedEngine::default(),
        }
    }

    /// The same, on a disk whose calls can fail.
    #[must_use]
    pub fn ailing(options: WalOptions) -> Self {
        let storage = Self::new(options);
        storage.disk.set_faults(storage.power.ills.clone());
        storage
    }

    /// What the disk suffers from.
    #[must_use]
    pub fn ills(&self) -> &Ills {
        &self.power.ills
    }

    /// From now on the disk confirms syncs that it has not done.
    pub fn lie(&self) {
        self.power.lie();
    }

    /// From now on syncs that fail are confirmed.
    pub fn hide_failures(&self) {
        self.power.hide_failures();
    }

    /// From now on a damaged log is cut where the damage begins.
    pub fn cut_damage(&mut self) {
        self.cuts = true;
    }

    /// From now on the log is said to be verified, and is not.
    pub fn skip_scrub(&mut self) {
        self.skips_scrub = true;
    }

    fn trouble(&self, what: &impl fmt::Display) -> Trouble {
        Trouble { what: what.to_string(), is_of_disk: self.power.ills.has_failed() }
    }

    /// Opens the log, as a process does when it starts.
    ///
    /// # Errors
    /// What the log can't read.
    pub fn open(&mut self) -> Result<Remembered, Trouble> {
        self.power.lasts(u64::MAX);
        let disk = Box::new(PoweredDisk { disk: self.disk.clone(), power: self.power.clone() });
        match Wal::open(disk, self.options).map_err(|error| self.trouble(&error))? {
            Opened::Whole(wal, mut groups) => {
                self.wal = Some(*wal);
                // A commit that failed, or that nobody saw the end of, may have come far enough.
                self.has_begun |= groups.contains_key(&GROUP);
                Ok(self.found(groups.remove(&GROUP)))
            }
            Opened::Damaged(damaged) => {
                let mut remembered = remembered(&damaged);
                let mut dropped_after = None;
                if let Remembered::Damaged(salvage) = &remembered
                    && self.cuts
                {
                    let recovered = sound_part(salvage);
                    dropped_after = Some(last_of(&recovered).index);
                    remembered = Remembered::Whole(recovered);
                }
                if let Remembered::Whole(recovered) = &remembered {
                    // What was damaged is not needed.
                    let log = quorate_wal::Healed { recovered: recovered.clone(), dropped_after };
                    let wal = damaged.heal([(GROUP, log)].into());
                    self.wal = Some(wal.map_err(|error| self.trouble(&error))?);
                } else {
                    self.damaged = Some(damaged);
                }
                Ok(remembered)
            }
        }
    }

    /// What the next start would find, without starting.
    ///
    /// # Errors
    /// As for [`Storage::open`].
    pub fn look(&self) -> Result<Remembered, String> {
        let copy = self.disk.copy();
        copy.set_faults(self.power.ills.lasting());
        match Wal::open(Box::new(copy), self.options) {
            Ok(Opened::Whole(_, mut groups)) => Ok(self.found(groups.remove(&GROUP))),
            Ok(Opened::Damaged(damaged)) => Ok(remembered(&damaged)),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Makes the log what it is after healing.
    ///
    /// # Errors
    /// If the log fails, or contradicts it.
    pub fn heal(&mut self, healed: &Healed) -> Result<(), Trouble> {
        if let Some(damaged) = self.damaged.take() {
            let Healed { recovered, dropped_after, .. } = healed.clone();
            let log = quorate_wal::Healed { recovered, dropped_after };
            let wal = damaged.heal([(GROUP, log)].into());
            self.wal = Some(wal.map_err(|error| self.trouble(&error))?);
            return Ok(());
        }
        let records = healed.records.clone();
        let records =
            records.ok_or_else(|| self.trouble(&"a log that is whole was healed as damaged"))?;
        for record in records {
            self.wal().append(GROUP, &record);
        }
        self.wal().commit().map_err(|error| self.trouble(&error))
    }

    /// Damages some sectors of the log, of a member that is down. Returns what the disk was like before.
    pub fn damage(&mut self, chance: &mut Chance) -> MemDisk {
        let before = self.disk.copy();
        let segments = self.disk.numbers();
        if segments.is_empty() || chance.per_mille(100) {
            // Only one copy of what the end of the log is, or of what was promised, and nothing besides.
            let slot = chance.position(PLEDGE_SLOTS.end);
            self.disk.damage_mark(slot, |bytes| spoil(bytes, chance));
        } else {
            for _ in 0..chance.between(1, 3) {
                self.disk.damage(*chance.pick(&segments), |bytes| spoil(bytes, chance));
            }
        }
        before
    }

    /// Another disk takes the place of this one, of a member that is down: a copy from before it was
    /// damaged, say. It suffers from the same ills.
    pub fn put_disk(&mut self, disk: MemDisk) {
        disk.set_faults(self.power.ills.clone());
        self.disk = disk;
    }

    /// So many sectors of a thousand go bad in the whole log of a member that is down.
    pub fn devastate(&mut self, per_mille: u64, chance: &mut Chance) {
        for segment in self.disk.numbers() {
            self.disk.damage(segment, |bytes| {
                for sector in bytes.chunks_mut(SECTOR_BYTES) {
                    if chance.per_mille(per_mille) {
                        spoil(sector, chance);
                    }
                }
            });
        }
    }

    /// Both copies of the mark of a member that is down go bad, and perhaps with them all of the pledge.
    pub fn lose_marks(&mut self, chance: &mut Chance) {
        let end = if chance.per_mille(500) { MARK_SLOTS.end } else { PLEDGE_SLOTS.end };
        for slot in 0..end {
            self.disk.damage_mark(slot, |bytes| spoil(bytes, chance));
        }
    }

    /// Does harm to the log of a member that is down, unless it could not tell. Who loses the end of a log
    /// together with all that tells of it, or before anything does, begins with the rest as after a torn
    /// write: no single disk can be asked for more. What was durably promised is told nevertheless.
    pub fn harm(&mut self, promised: HardState, harm: impl FnOnce(&mut Self)) {
        let (before, known) = (self.disk.copy(), self.look().ok().as_ref().and_then(standing));
        harm(self);
        let left = self.look().ok().as_ref().and_then(standing);
        if let (Some((known, _)), Some(left)) = (known, left)
            && left.0 != known
            && left.1.keeps(promised)
        {
            self.put_disk(before);
        }
    }

    /// A file of the log of a member that is down is gone.
    pub fn lose_file(&mut self, chance: &mut Chance) {
        let segments = self.disk.numbers();
        if segments.is_empty() {
            return;
        }
        // A copy has no faults.
        let mut disk = self.disk.copy();
        let lost = disk.remove(*chance.pick(&segments)).and_then(|()| disk.sync_directory());
        lost.expect("the segment is there");
        self.put_disk(disk);
    }

    /// Sectors rot beneath a running log. What the mark beside it said by then has reached the disk: that it is
    /// lost as well is a fault too many.
    pub fn rot(&mut self, chance: &mut Chance) {
        self.settle();
        // Before the first commit, whatever lies there belongs to no log.
        if self.has_begun {
            self.spoiled = rot(&self.disk, &self.power.ills, chance);
        }
        self.rounds = 0;
    }

    /// Something that the last commit wrote is not where it should be. Says what became of it; nothing if there
    /// is no such write.
    ///
    /// # Errors
    /// If what the commit wrote was never there.
    pub fn stray(&mut self, chance: &mut Chance) -> Result<Option<Fault>, String> {
        self.settle();
        let strayed = stray(&self.disk, &self.writes, chance)?;
        Ok(strayed.map(|(fault, spoiled)| {
            self.spoiled = spoiled;
            self.rounds = 0;
            fault
        }))
    }

    /// Whether what went bad beneath a running log is still there.
    #[must_use]
    pub fn is_spoiled(&self) -> bool {
        self.spoiled.iter().any(|spoiled| spoiled.is_there(&self.disk, &self.power.ills))
    }

    /// What went bad beneath a running log is as it was.
    pub fn put_right(&mut self) {
        for spoiled in self.spoiled.drain(..).rev() {
            spoiled.put_right(&self.disk, &self.power.ills);
        }
    }

    /// Whether the next commit needs room on the disk, and there is none.
    #[must_use]
    pub fn lacks_room(&self) -> bool {
        self.power.ills.is_full() && self.wal.as_ref().is_some_and(Wal::needs_room)
    }

    /// Verifies the next piece of a running log, if it has nothing else to do. Returns what came of it, and
    /// the bytes that the log takes.
    ///
    /// # Errors
    /// If the log fails, or has been over damage more than once.
    pub fn scrub(&mut self, piece_bytes: usize) -> Result<Option<(Scrubbed, u64)>, Trouble> {
        let is_idle = !self.under_way && !self.power.ills.is_full();
        let Some(wal) = self.wal.as_mut().filter(|_| is_idle) else { return Ok(None) };
        let scrubbed = match self.skips_scrub {
            true => Ok(Scrubbed { is_round: true, ..Scrubbed::default() }),
            false => wal.scrub(piece_bytes),
        };
        let bytes = wal.stats().bytes;
        let scrubbed = scrubbed.map_err(|error| self.trouble(&error))?;
        self.rounds += u64::from(scrubbed.is_round);
        // The first round may have been under way.
        if self.rounds >= 2 && self.is_spoiled() {
            let what = format!("it was verified and is damaged: {:?}", self.spoiled);
            return Err(Trouble { what, is_of_disk: false });
        }
        Ok(Some((scrubbed, bytes)))
    }

    /// The log is not to be used any more: what is left of it is no good, or its disk has failed.
    pub fn close(&mut self) {
        (self.wal, self.damaged, self.under_way) = (None, None, false);
        self.writes.clear();
    }

    /// The process ends because its disk has failed. The system goes on, and has in its cache what it had.
    pub fn end(&mut self) {
        self.close();
        self.engine.crash();
    }

    /// The mark beside the log has reached the disk, as it does by itself after a while.
    pub fn settle(&self) {
        self.disk.write_back_marks();
    }

    /// What a log without damage says of the group. A host writes a first record before anything else, so that
    /// one without any belongs to no machine that holds something. None is written here, and the first one
    /// may come after the machine has a snapshot.
    fn found(&self, own: Option<Recovered>) -> Remembered {
        let nothing = || Remembered::of_nothing(self.has_begun, EntryId::ZERO);
        own.map_or_else(nothing, Remembered::Whole)
    }

    fn wal(&mut self) -> &mut Wal {
        self.wal.as_mut().expect("the log of a running process is open")
    }

    /// Gives a batch to the log.
    pub fn write(&mut self, records: Vec<Record>) {
        for record in records {
            self.wal().append(GROUP, &record);
        }
        self.under_way = true;
    }

    /// The batch is durable.
    ///
    /// # Errors
    /// If the log fails.
    pub fn sync(&mut self) -> Result<(), Trouble> {
        self.under_way = false;
        self.power.take_writes();
        self.wal().commit().map_err(|error| self.trouble(&error))?;
        self.has_begun = true;
        self.writes = self.power.take_writes();
        self.wal().mark();
        Ok(())
    }

    /// Whether a commit is under way.
    #[must_use]
    pub fn commits(&self) -> bool {
        self.under_way
    }

    /// The power fails, or the process is killed and the machine with it; if a commit is under way after so
    /// many of its calls, or as many as chance says.
    ///
    /// # Panics
    /// If a commit is not complete after all the calls that one may make.
    pub fn crash(&mut self, calls: Option<u64>, chance: &mut Chance) {
        if let Some(mut wal) = self.wal.take()
            && self.under_way
        {
            let after = calls.unwrap_or_else(|| {
                let most = if chance.per_mille(600) { 5 } else { CALLS_MAX };
                chance.below(most)
            });
            self.power.lasts(after);
            let is_complete = wal.commit().is_ok();
            assert!(
                calls != Some(CALLS_MAX - 1) || is_complete,
                "a commit makes {CALLS_MAX} calls"
            );
            // Of the ills it met some, and nobody will ask.
            self.power.ills.take_failure();
        }
        self.close();
        let (kept, torn) = (chance.below(1_000), chance.below(500));
        self.disk.crash(|_| {
            if chance.per_mille(torn) {
                Fate::Torn(chance.position(SECTOR_BYTES))
            } else if chance.per_mille(kept) {
                Fate::Kept
            } else {
                Fate::Lost
            }
        });
        self.engine.crash();
    }
}

/// What is left of the group in a damaged log.
fn remembered(damaged: &Damaged) -> Remembered {
    let left = damaged.groups.get(&GROUP).cloned();
    left.unwrap_or_else(|| Remembered::Forgotten(Recovered::default()))
}

/// What a log says of its end and of what its member promised, if it says so.
pub(crate) fn standing(remembered: &Remembered) -> Option<(EntryId, HardState)> {
    match remembered {
        Remembered::Whole(log) => Some((last_of(log), log.hard_state)),
        Remembered::Damaged(log) => Some((log.last, log.hard_state)),
        Remembered::Forgotten(_) => None,
    }
}

/// What a log holds before its first gap.
fn sound_part(salvage: &Salvage) -> Recovered {
    let Salvage { hard_state, base, entries, lost, .. } = salvage.clone();
    let end = lost.first().map_or(Index(u64::MAX), |lost| lost.first);
    let entries = entries.into_iter().filter(|entry| entry.id.index < end).collect();
    Recovered { hard_state, base, entries }
}

fn last_of(recovered: &Recovered) -> EntryId {
    recovered.entries.last().map_or(recovered.base, |entry| entry.id)
}

/// A sector goes bad: zeros, other bytes, or a flipped bit. Where there is nothing, nothing is spoiled.
fn spoil(bytes: &mut [u8], chance: &mut Chance) {
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    if used == 0 {
        return;
    }
    let sector = chance.position(used.div_ceil(SECTOR_BYTES)) * SECTOR_BYTES;
    let end = (sector + SECTOR_BYTES).min(bytes.len());
    let sector = &mut bytes[sector..end];
    match chance.below(3) {
        0 => sector.fill(0),
        1 => sector.iter_mut().for_each(|byte| *byte = chance.below(256) as u8),
        _ => sector[chance.position(sector.len())] ^= 1 << chance.below(8),
    }
}

#[cfg(test)]
mod tests {
    use quorate_raft::{NodeId, Term};

    use super::*;

    /// Short segments, which are quick to copy and soon full.
    const OPTIONS: WalOptions = WalOptions { segment_bytes: 4_096, record_bytes_max: 4_096 };

    fn vote(term: u64) -> Record {
        Record::HardState(HardState { term: Term(term), vote: Some(NodeId(1)) })
    }

    fn term_of(remembered: &Remembered) -> Term {
        match remembered {
            Remembered::Whole(recovered) => recovered.hard_state.term,
            other => panic!("nothing was damaged: {other:?}"),
        }
    }

    #[test]
    fn a_crash_keeps_what_was_synced_and_now_and_then_what_was_under_way() {
        let (mut lost, mut kept) = (0, 0);
        for seed in 0..100 {
            let mut storage = Storage::new(OPTIONS);
            storage.open().expect("the disk is empty");
            storage.write(vec![vote(1)]);
            storage.sync().expect("the disk works");
            storage.write(vec![vote(2)]);
            storage.crash(None, &mut Chance::new(seed));
            match term_of(&storage.open().expect("a torn tail is cut")) {
                Term(1) => lost += 1,
                Term(2) => kept += 1,
                other => panic!("{other} was never written"),
            }
        }
        assert!(lost > 10 && kept > 10, "{lost} lost, {kept} kept");
    }

    #[test]
    fn a_log_that_was_found_once_has_begun_though_its_commit_was_never_confirmed() {
        let mut storage = Storage::new(OPTIONS);
        storage.open().expect("the disk is empty");
        storage.write(vec![vote(1)]);
        storage.crash(Some(CALLS_MAX - 1), &mut Chance::new(1));
        assert_eq!(term_of(&storage.open().expect("all is there")), Term(1));
        storage.close();
        let segments = storage.disk.numbers();
        segments.iter().for_each(|segment| storage.disk.damage(*segment, |bytes| bytes.fill(0)));
        (0..PLEDGE_SLOTS.end)
            .for_each(|slot| storage.disk.damage_mark(slot, |bytes| bytes.fill(0)));
        let left = storage.open().expect("there is a segment, with nothing in it");
        assert!(matches!(left, Remembered::Forgotten(_)), "{left:?}");
    }

    #[test]
    fn a_disk_that_lies_loses_what_it_confirmed() {
        let mut storage = Storage::new(OPTIONS);
        storage.open().expect("the disk is empty");
        storage.lie();
        let mut lost = 0;
        for term in 1..=20 {
            storage.write(vec![vote(term)]);
            storage.sync().expect("it says that it works");
            storage.crash(None, &mut Chance::new(term));
            match storage.open() {
                Ok(Remembered::Whole(log)) => lost += u64::from(log.hard_state.term < Term(term)),
                Ok(_) | Err(_) => lost += 1,
            }
            if lost > 0 {
                return;
            }
        }
        panic!("nothing was lost in 20 crashes");
    }
}
