//! What the tests share: a naive model, a workload, and a disk that fails when told to.
#![allow(dead_code, reason = "each test uses a part")]

pub(crate) mod filmed;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use quorate_raft::{
    Entry, EntryId, GroupId, HardState, NodeId, Payload, Record, Recovered, Remembered, Salvage,
    Term,
};
use quorate_wal::{Damaged, Disk, Fate, Healed, MemDisk, OpenError, Unsynced, Wal, WalOptions};

/// Groups as a `Vec` would remember them.
pub(crate) type Model = BTreeMap<GroupId, Recovered>;

/// One record of one group.
pub(crate) type Step = (GroupId, Record);

pub(crate) const SMALL: WalOptions = WalOptions { segment_bytes: 2048, record_bytes_max: 1024 };

/// What a record does, said as plainly as can be.
pub(crate) fn apply(model: &mut Model, (group, record): &Step) {
    let log = model.entry(*group).or_default();
    match record {
        Record::HardState(hard_state) => log.hard_state = *hard_state,
        Record::Append(entries) => {
            log.entries.retain(|entry| entry.id.index < entries[0].id.index);
            log.entries.extend(entries.iter().cloned());
        }
        Record::Compact(id) => {
            log.entries.retain(|entry| entry.id.index > id.index);
            log.base = *id;
        }
        Record::Reset(id) => {
            log.entries.clear();
            log.base = *id;
        }
    }
}

/// The model before every batch and after the last one.
pub(crate) fn models(batches: &[Vec<Step>]) -> Vec<Model> {
    let mut model = Model::new();
    let mut models = vec![model.clone()];
    for batch in batches {
        batch.iter().for_each(|step| apply(&mut model, step));
        models.push(model.clone());
    }
    models
}

/// Whether `found` is `before` with some first records of the batch applied.
pub(crate) fn is_prefix(found: &Model, before: &Model, batch: &[Step]) -> bool {
    let mut model = before.clone();
    if *found == model {
        return true;
    }
    batch.iter().any(|step| {
        apply(&mut model, step);
        *found == model
    })
}

pub(crate) fn hard_state(group: u64, term: u64, vote: Option<u64>) -> Step {
    let hard_state = HardState { term: Term(term), vote: vote.map(NodeId) };
    (GroupId(group), Record::HardState(hard_state))
}

/// Appends entries `(after, last]` of a term, with commands of a length that depends on the index.
pub(crate) fn append(group: u64, term: u64, after: u64, last: u64) -> Step {
    let entry = |index: u64| Entry {
        id: EntryId::new(term, index),
        payload: match (index * 7 + term) % 5 {
            0 => Payload::Noop,
            n => Payload::Command(Bytes::from(
                (0..n * 13 + index % 3)
                    .map(|at| (at * 31 + index + term) as u8)
                    .collect::<Vec<_>>(),
            )),
        },
    };
    (GroupId(group), Record::Append((after + 1..=last).map(entry).collect()))
}

pub(crate) fn compact(group: u64, term: u64, index: u64) -> Step {
    (GroupId(group), Record::Compact(EntryId::new(term, index)))
}

pub(crate) fn reset(group: u64, term: u64, index: u64) -> Step {
    (GroupId(group), Record::Reset(EntryId::new(term, index)))
}

/// Three groups through all that a group can go through, with several segments.
pub(crate) fn workload() -> Vec<Vec<Step>> {
    let mut batches = vec![
        vec![hard_state(1, 1, Some(1))],
        vec![append(1, 1, 0, 3), hard_state(2, 3, None), append(2, 3, 0, 1)],
        vec![append(1, 1, 3, 5), hard_state(3, 1, Some(2)), append(3, 1, 0, 2)],
        // Another leader's log wins.
        vec![hard_state(1, 2, Some(3)), append(1, 2, 2, 4)],
        vec![compact(1, 1, 2), append(2, 3, 1, 6)],
        vec![reset(3, 4, 40), append(3, 4, 40, 42), hard_state(3, 5, None)],
        vec![compact(2, 3, 5)],
    ];
    for round in 0..8 {
        let last = 4 + 3 * round;
        batches.push(vec![append(1, 2, last, last + 3), append(3, 5, 42 + round, 43 + round)]);
        if round % 2 == 1 {
            batches.push(vec![compact(1, 2, last), hard_state(3, 5 + round, Some(round))]);
        }
    }
    batches
}

/// Writes a batch and waits for its durability.
pub(crate) fn write(wal: &mut Wal, batch: &[Step]) -> Result<(), quorate_wal::WalError> {
    for (group, record) in batch {
        wal.append(*group, record);
    }
    wal.commit()?;
    wal.mark();
    Ok(())
}

pub(crate) fn open(disk: &MemDisk, options: WalOptions) -> Result<(Wal, Model), OpenError> {
    Wal::open_whole(Box::new(disk.clone()), options)
}

/// Opens a log that can't be refused.
pub(crate) fn reopen(disk: &MemDisk, options: WalOptions) -> (Wal, Model) {
    open(disk, options).unwrap_or_else(|error| panic!("{error}"))
}

/// The calls of a disk that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Segments,
    Create,
    Read,
    ReadPart,
    Write,
    SyncSegment,
    SyncDirectory,
    Remove,
    WriteMark,
    ReadMark,
    SyncPledge,
}

/// A disk that fails its n-th call, and the calls it was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Failing {
    pub(crate) disk: MemDisk,
    pub(crate) fail_at: u64,
    pub(crate) kind: io::ErrorKind,
    pub(crate) asked: Arc<AtomicU64>,
    pub(crate) calls: Arc<Mutex<Vec<Call>>>,
}

impl Failing {
    pub(crate) fn new(disk: MemDisk, fail_at: u64, kind: io::ErrorKind) -> Self {
        Self { disk, fail_at, kind, asked: Arc::default(), calls: Arc::default() }
    }

    fn call(&self, call: Call) -> io::Result<()> {
        self.calls.lock().unwrap().push(call);
        match self.asked.fetch_add(1, Ordering::Relaxed) {
            number if number == self.fail_at => Err(self.kind.into()),
            _ => Ok(()),
        }
    }
}

impl Disk for Failing {
    fn segments(&mut self) -> io::Result<Vec<u64>> {
        self.call(Call::Segments)?;
        self.disk.segments()
    }

    fn create(&mut self, segment: u64, bytes: u64) -> io::Result<()> {
        self.call(Call::Create)?;
        self.disk.create(segment, bytes)
    }

    fn read(&mut self, segment: u64, bytes_max: u64) -> io::Result<Vec<u8>> {
        self.call(Call::Read)?;
        self.disk.read(segment, bytes_max)
    }

    fn length(&mut self, segment: u64) -> io::Result<u64> {
        self.disk.length(segment)
    }

    fn read_part(&mut self, segment: u64, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        self.call(Call::ReadPart)?;
        self.disk.read_part(segment, offset, bytes)
    }

    fn write(&mut self, segment: u64, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.call(Call::Write) {
            // A full disk takes what it can.
            self.disk.write(segment, offset, &bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.disk.write(segment, offset, bytes)
    }

    fn sync_segment(&mut self, segment: u64) -> io::Result<()> {
        if let Err(error) = self.call(Call::SyncSegment) {
            // As Linux does: the pages count as clean, and the next sync has nothing to do.
            self.disk.forget_dirty(segment);
            return Err(error);
        }
        self.disk.sync_segment(segment)
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        self.call(Call::SyncDirectory)?;
        self.disk.sync_directory()
    }

    fn remove(&mut self, segment: u64) -> io::Result<()> {
        self.call(Call::Remove)?;
        self.disk.remove(segment)
    }

    fn write_mark(&mut self, slot: usize, bytes: &[u8]) -> io::Result<()> {
        self.call(Call::WriteMark)?;
        self.disk.write_mark(slot, bytes)
    }

    fn read_mark(&mut self, slot: usize) -> io::Result<Vec<u8>> {
        self.call(Call::ReadMark)?;
        self.disk.read_mark(slot)
    }

    fn sync_pledge(&mut self) -> io::Result<()> {
        self.call(Call::SyncPledge)?;
        self.disk.sync_pledge()
    }
}

/// The segments of a disk, with their bytes.
pub(crate) fn images(disk: &MemDisk) -> Vec<(u64, Vec<u8>)> {
    let mut disk = disk.clone();
    let names = disk.segments().unwrap();
    names.into_iter().map(|name| (name, disk.read(name, u64::MAX).unwrap())).collect()
}

/// What an opening knew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Known {
    /// There was no damage to see.
    Whole,
    /// The last batch was taken for a torn one.
    Cut,
    /// Damage that took nothing.
    Healthy,
    /// All but the contents of entries.
    Named,
    /// Not everything.
    Forgotten,
    /// Nothing: there is no record left, and no mark.
    Lost,
}

/// The model, as what a log is healed with.
pub(crate) fn healed(model: &Model) -> BTreeMap<GroupId, Healed> {
    model.iter().map(|(group, recovered)| (*group, recovered.clone().into())).collect()
}

/// What is told of a damaged log must be true. Returns how much of it was known. `once` has every entry that
/// was ever in a group.
pub(crate) fn check_groups(
    damaged: &Damaged,
    model: &Model,
    once: &BTreeMap<GroupId, Vec<Entry>>,
    what: &str,
) -> Known {
    tells_truth(damaged, model, once).unwrap_or_else(|lie| panic!("{what}: {lie}"))
}

/// The same, without a panic.
pub(crate) fn tells_truth(
    damaged: &Damaged,
    model: &Model,
    once: &BTreeMap<GroupId, Vec<Entry>>,
) -> Result<Known, String> {
    let mut known = Known::Healthy;
    for (group, truth) in model {
        let told = damaged.groups.get(group);
        let is_true = match told {
            Some(Remembered::Whole(recovered)) => recovered == truth,
            Some(Remembered::Damaged(salvage)) => {
                known = known.max(Known::Named);
                is_salvage_of(salvage, truth)
            }
            Some(Remembered::Forgotten(recovered)) => {
                known = known.max(Known::Forgotten);
                let once = once.get(group).map_or(&[][..], |entries| entries);
                recovered.hard_state.term <= truth.hard_state.term
                    && recovered.entries.iter().all(|entry| once.contains(entry))
            }
            None => {
                known = known.max(Known::Forgotten);
                true
            }
        };
        if !is_true {
            return Err(format!("group {group} is {truth:?}, and is said to be {told:?}"));
        }
    }
    match damaged.groups.keys().find(|group| !model.contains_key(group)) {
        Some(group) => Err(format!("a group that never was: {group}")),
        None => Ok(known),
    }
}

/// Whether each entry that there was is either sound or lost, and no other one is.
fn is_salvage_of(salvage: &Salvage, truth: &Recovered) -> bool {
    let Salvage { hard_state, base, last, entries, lost, seals: _ } = salvage;
    let is_lost = |id| lost.iter().any(|lost| lost.contains(id));
    let (gone, sound): (Vec<&Entry>, Vec<&Entry>) =
        truth.entries.iter().partition(|entry| is_lost(entry.id));
    let count: u64 = lost.iter().map(|lost| lost.last.index.0 + 1 - lost.first.0).sum();
    (*hard_state, *base) == (truth.hard_state, truth.base)
        && *last == truth.entries.last().map_or(truth.base, |entry| entry.id)
        && (count, gone.is_empty()) == (gone.len() as u64, false)
        && sound.into_iter().eq(entries)
}

/// Every entry that was ever in a group.
pub(crate) fn entries(batches: &[Vec<Step>]) -> BTreeMap<GroupId, Vec<Entry>> {
    let mut entries: BTreeMap<GroupId, Vec<Entry>> = BTreeMap::new();
    for (group, record) in batches.iter().flatten() {
        if let Record::Append(appended) = record {
            entries.entry(*group).or_default().extend(appended.iter().cloned());
        }
    }
    entries
}

/// What is not durable on a disk.
pub(crate) fn unsynced(disk: &MemDisk) -> Vec<Unsynced> {
    let mut all = Vec::new();
    disk.copy().crash(|what| {
        all.push(what);
        Fate::Kept
    });
    all
}

/// What the power leaves of a disk: everything but one thing, or one thing only, or one torn, for each sector,
/// name and length that isn't durable, and for each block of eight sectors.
pub(crate) fn leftovers(disk: &MemDisk) -> Vec<MemDisk> {
    let place = |what: Unsynced| match what {
        Unsynced::Name { segment } => (0, segment, 0),
        Unsynced::Length { segment } => (1, segment, 0),
        Unsynced::Sector { segment, offset } => (2, segment, offset),
        Unsynced::Mark { slot, offset } => (3, slot as u64, offset),
        Unsynced::Slots { first } => (4, first as u64, 0),
    };
    let all: Vec<_> = unsynced(disk).into_iter().map(place).collect();
    let block = |(kind, file, offset): (u32, u64, u64)| (kind, file, offset / BLOCK_BYTES);
    let blocks: BTreeSet<_> = all.iter().copied().map(block).collect();
    let mut leftovers = Vec::new();
    let mut leave = |fate: &dyn Fn((u32, u64, u64)) -> Fate| {
        let left = disk.copy();
        left.crash(|what| fate(place(what)));
        leftovers.push(left);
    };
    leave(&|_| Fate::Lost);
    leave(&|_| Fate::Kept);
    for one in all {
        for (it, others) in [
            (Fate::Lost, Fate::Kept),
            (Fate::Kept, Fate::Lost),
            (Fate::Torn(200), Fate::Kept),
            (Fate::Torn(200), Fate::Lost),
        ] {
            leave(&|other| if other == one { it } else { others });
        }
    }
    for one in blocks {
        for (it, others) in [(Fate::Lost, Fate::Kept), (Fate::Kept, Fate::Lost)] {
            leave(&|other| if block(other) == one { it } else { others });
        }
    }
    leftovers
}

/// The bytes that a disk with large sectors writes as one.
const BLOCK_BYTES: u64 = 4096;
