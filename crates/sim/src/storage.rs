//! The disk of a member: the production log on a disk in memory that can lose its power.
//!
//! A batch goes to the log when it begins and is committed when its time is over. A crash in between
//! finds the commit anywhere in its course: so many calls of the log reached the disk and the next
//! one did not. Then every sector, length and name that was not synced is lost, kept or torn on its
//! own.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use quorate_node::Healed;
use quorate_raft::{Record, Recovered, Remembered};
use quorate_wal::memory::SECTOR_BYTES;
use quorate_wal::{Damaged, Disk, Fate, MemDisk, Opened, Wal, WalOptions};

use crate::chance::Chance;
use crate::engine::SharedEngine;
use crate::process::GROUP;

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
            engine: SharedEngine::default(),
        }
    }

    /// From now on the disk confirms syncs that it has not done.
    pub fn lie(&self) {
        self.power.lies.store(true, Ordering::Relaxed);
    }

    /// Opens the log, as a process does when it starts.
    ///
    /// # Errors
    /// What the log can't read.
    pub fn open(&mut self) -> Result<Remembered, String> {
        self.power.calls_left.store(u64::MAX, Ordering::Relaxed);
        let disk = Box::new(PoweredDisk { disk: self.disk.clone(), power: self.power.clone() });
        match Wal::open(disk, self.options).map_err(|error| error.to_string())? {
            Opened::Whole(wal, mut groups) => {
                self.wal = Some(*wal);
                Ok(Remembered::Whole(groups.remove(&GROUP).unwrap_or_default()))
            }
            Opened::Damaged(damaged) => {
                let remembered = remembered(&damaged);
                if let Remembered::Whole(recovered) = &remembered {
                    // What was damaged is not needed.
                    let log = recovered.clone().into();
                    let wal = damaged.heal([(GROUP, log)].into());
                    self.wal = Some(wal.map_err(|error| error.to_string())?);
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
        match Wal::open(Box::new(self.disk.copy()), self.options) {
            Ok(Opened::Whole(_, mut groups)) => {
                Ok(Remembered::Whole(groups.remove(&GROUP).unwrap_or_default()))
            }
            Ok(Opened::Damaged(damaged)) => Ok(remembered(&damaged)),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Makes the log what it is after healing.
    ///
    /// # Errors
    /// If the log fails, or contradicts it.
    pub fn heal(&mut self, healed: &Healed) -> Result<(), String> {
        if let Some(damaged) = self.damaged.take() {
            let Healed { recovered, dropped_after, .. } = healed.clone();
            let log = quorate_wal::Healed { recovered, dropped_after };
            let wal = damaged.heal([(GROUP, log)].into()).map_err(|error| error.to_string())?;
            self.wal = Some(wal);
            return Ok(());
        }
        let records = healed.records.clone().ok_or("a log that is whole was healed as damaged")?;
        for record in records {
            self.wal().append(GROUP, &record);
        }
        self.wal().commit().map_err(|error| error.to_string())
    }

    /// Damages some sectors of the log, of a member that is down. Returns what the disk was like before.
    pub fn damage(&mut self, chance: &mut Chance) -> MemDisk {
        let before = self.disk.copy();
        let segments = self.disk.segments().expect("a disk in memory can be read");
        if segments.is_empty() || chance.per_mille(100) {
            // Only one of the two copies of what the end of the log is, and nothing besides.
            let slot = usize::from(chance.per_mille(500));
            self.disk.damage_mark(slot, |bytes| spoil(bytes, chance));
        } else {
            for _ in 0..chance.between(1, 3) {
                self.disk.damage(*chance.pick(&segments), |bytes| spoil(bytes, chance));
            }
        }
        before
    }

    /// The disk is as it was before it was damaged.
    pub fn undo(&mut self, before: MemDisk) {
        self.disk = before;
    }

    /// The mark beside the log has reached the disk, as it does by itself after a while.
    pub fn settle(&self) {
        self.disk.write_back_marks();
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
    /// If the log fails. This disk never does.
    pub fn sync(&mut self) -> Result<(), String> {
        self.under_way = false;
        self.wal().commit().map_err(|error| error.to_string())?;
        self.wal().mark();
        Ok(())
    }

    /// The power fails, or the process is killed and the machine with it.
    pub fn crash(&mut self, chance: &mut Chance) {
        if let Some(mut wal) = self.wal.take()
            && self.under_way
        {
            // A commit makes two to six calls; most crashes hit it early.
            self.power.calls_left.store(chance.below(7), Ordering::Relaxed);
            let _ = wal.commit();
        }
        self.damaged = None;
        self.under_way = false;
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

/// How much longer a disk has power, and whether it tells the truth.
#[derive(Clone, Debug)]
struct Power {
    calls_left: Arc<AtomicU64>,
    lies: Arc<AtomicBool>,
}

impl Default for Power {
    fn default() -> Self {
        Self { calls_left: Arc::new(AtomicU64::new(u64::MAX)), lies: Arc::default() }
    }
}

/// A disk that stops in the midst of a commit.
struct PoweredDisk {
    disk: MemDisk,
    power: Power,
}

impl fmt::Debug for PoweredDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.disk.fmt(f)
    }
}

impl PoweredDisk {
    fn call(&self) -> io::Result<()> {
        let left = self.power.calls_left.load(Ordering::Relaxed);
        if left == 0 {
            return Err(io::Error::other("there is no power"));
        }
        self.power.calls_left.store(left - 1, Ordering::Relaxed);
        Ok(())
    }

    fn lies(&self) -> bool {
        self.power.lies.load(Ordering::Relaxed)
    }
}

impl Disk for PoweredDisk {
    fn segments(&mut self) -> io::Result<Vec<u64>> {
        self.disk.segments()
    }

    fn create(&mut self, segment: u64, bytes: u64) -> io::Result<()> {
        self.call()?;
        self.disk.create(segment, bytes)
    }

    fn read(&mut self, segment: u64, bytes_max: u64) -> io::Result<Vec<u8>> {
        self.disk.read(segment, bytes_max)
    }

    fn length(&mut self, segment: u64) -> io::Result<u64> {
        self.disk.length(segment)
    }

    fn read_part(&mut self, segment: u64, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        self.disk.read_part(segment, offset, bytes)
    }

    fn write(&mut self, segment: u64, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.call()?;
        self.disk.write(segment, offset, bytes)
    }

    fn sync_segment(&mut self, segment: u64) -> io::Result<()> {
        self.call()?;
        if self.lies() { Ok(()) } else { self.disk.sync_segment(segment) }
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        self.call()?;
        self.disk.sync_directory()
    }

    fn remove(&mut self, segment: u64) -> io::Result<()> {
        self.call()?;
        self.disk.remove(segment)
    }

    fn write_mark(&mut self, slot: usize, bytes: &[u8]) -> io::Result<()> {
        self.call()?;
        self.disk.write_mark(slot, bytes)
    }

    fn read_mark(&mut self, slot: usize) -> io::Result<Vec<u8>> {
        self.disk.read_mark(slot)
    }
}

#[cfg(test)]
mod tests {
    use quorate_raft::{HardState, NodeId, Term};

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
            storage.crash(&mut Chance::new(seed));
            match term_of(&storage.open().expect("a torn tail is cut")) {
                Term(1) => lost += 1,
                Term(2) => kept += 1,
                other => panic!("{other} was never written"),
            }
        }
        assert!(lost > 10 && kept > 10, "{lost} lost, {kept} kept");
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
            storage.crash(&mut Chance::new(term));
            match storage.open() {
                Ok(recovered) => lost += u64::from(term_of(&recovered) < Term(term)),
                Err(_) => lost += 1,
            }
            if lost > 0 {
                return;
            }
        }
        panic!("nothing was lost in 20 crashes");
    }
}
