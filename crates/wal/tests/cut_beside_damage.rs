//! A bad sector that is found after a power cut: the last batch is torn, the mark is as old as it likes, and
//! something else was damaged before. Nothing that was acknowledged may be gone without a word.

mod common;

use std::collections::BTreeMap;

use common::filmed::film_with;
use common::{
    Known, Model, Step, append, apply, entries, hard_state, healed, images, leftovers, models,
    reopen, tells_truth, workload,
};
use quorate_raft::{Entry, GroupId};
use quorate_wal::memory::SECTOR_BYTES;
use quorate_wal::{Disk as _, MemDisk, Opened, Wal, WalOptions};

const OPTIONS: WalOptions = WalOptions { segment_bytes: 4096, record_bytes_max: 2560 };

/// The bytes of the header of a record.
const HEADER_BYTES: usize = 128;

/// A segment, and an offset in it.
type Place = (u64, usize);

/// A record on a disk.
struct Written {
    begin: usize,
    end: usize,
    /// How much of its segment was durable before it was written, as it says.
    durable: usize,
}

/// The records of a segment.
fn records(bytes: &[u8]) -> impl Iterator<Item = Written> {
    let is_begin =
        |at: &usize| bytes[*at..].starts_with(b"QWAL") && bytes.len() - at >= HEADER_BYTES;
    (0..bytes.len()).step_by(8).filter(is_begin).map(|begin| {
        let number = |from: usize| {
            let field = bytes[begin + from..begin + from + 4].try_into().expect("4 bytes");
            u32::from_le_bytes(field) as usize
        };
        let end = begin + HEADER_BYTES + number(40).next_multiple_of(8);
        Written { begin, end, durable: number(36) }
    })
}

/// Where the log ends on a disk.
fn end_of(disk: &MemDisk) -> Place {
    let Some((segment, bytes)) = images(disk).pop() else { return (0, 0) };
    (segment, records(&bytes).last().map_or(0, |record| record.end))
}

/// Where the log ended, as the newest mark on a disk says.
fn marked(disk: &MemDisk) -> Place {
    let places = (0..2).filter_map(|slot| {
        let mark = disk.clone().read_mark(slot).expect("it can be read");
        let number = |from: usize| {
            Some(u64::from_le_bytes(mark.get(from..from + 8)?.try_into().expect("8 bytes")))
        };
        let groups = number(48)? as usize;
        let (sealed, rest) = mark.split_at_checked(56 + 80 * groups)?;
        let is_whole = rest.get(..4)? == crc32fast::hash(sealed).to_le_bytes();
        is_whole.then_some((number(24)?, (number(40)? & 0xffff_ffff) as usize))
    });
    places.max().unwrap_or_default()
}

/// Puts a mark in both slots as it was on another disk, or none.
fn put_marks(disk: &MemDisk, from: Option<&MemDisk>) {
    for slot in 0..2 {
        let mark = from.map_or_else(Vec::new, |from| from.clone().read_mark(slot).expect("read"));
        disk.damage_mark(slot, |bytes| {
            let other = mark.iter().copied().chain(std::iter::repeat(0));
            bytes.iter_mut().zip(other).for_each(|(byte, other)| *byte = other);
        });
    }
}

/// A log after a power cut, with a bad sector.
struct Crashed<'a> {
    disk: MemDisk,
    /// The disk with everything that was written to it.
    whole: &'a MemDisk,
    /// The sector.
    bad: Place,
}

impl Crashed<'_> {
    /// Whether nothing tells that what lies between two places was durable, so that it may be taken for torn: it
    /// is hit where no mark covers it, and there is neither a later segment nor a header that was written
    /// after the first record which is hit was durable.
    fn may_look_torn(&self, from: Place, to: Place) -> bool {
        let (segment, bad) = self.bad;
        let image = |disk: &MemDisk| {
            let mut images = images(disk).into_iter();
            images.find(|(number, _)| *number == segment).expect("it is there").1
        };
        let (now, whole) = (image(&self.disk), image(self.whole));
        let is_hit = |record: &Written| bad < record.end && record.begin < bad + SECTOR_BYTES;
        let from = from.max(marked(&self.disk));
        let flaw = records(&whole).find(|it| is_hit(it) && (segment, it.begin) >= from);
        let Some(flaw) = flaw.filter(|flaw| (segment, flaw.begin) < to) else { return false };
        let is_intact = |it: &Written| {
            let header = it.begin..it.begin + HEADER_BYTES;
            now[header.clone()] == whole[header]
        };
        images(&self.disk).last().is_some_and(|(last, _)| *last == segment)
            && !records(&whole).any(|it| it.durable > flaw.begin && is_intact(&it))
    }
}

/// How much is known after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Told(Known),
    /// A batch that was durable was taken for a torn one, and nothing proved the contrary.
    Torn,
}

/// A log that is filmed.
struct Filmed {
    batches: Vec<Vec<Step>>,
    models: Vec<Model>,
    /// Every entry that was ever in a group.
    entries: BTreeMap<GroupId, Vec<Entry>>,
    moments: Vec<(usize, MemDisk)>,
}

impl Filmed {
    fn of(batches: Vec<Vec<Step>>) -> Self {
        let moments = film_with(&batches, OPTIONS);
        Self { models: models(&batches), entries: entries(&batches), moments, batches }
    }

    /// The disk when a batch was about to be written.
    fn before(&self, batch: usize) -> &MemDisk {
        let moment = self.moments.iter().find(|(acknowledged, _)| *acknowledged == batch);
        &moment.expect("each has a moment").1
    }

    /// What the log was, after each of its records, and how many batches were whole then; the newest first.
    fn states(&self, acknowledged: usize) -> Vec<(usize, Model)> {
        let mut states = Vec::new();
        for (number, mut model) in self.models.iter().cloned().enumerate().take(acknowledged + 1) {
            states.push((number, model.clone()));
            for step in self.batches.get(number).into_iter().flatten() {
                apply(&mut model, step);
                states.push((number, model.clone()));
            }
        }
        states.reverse();
        states
    }

    /// What is told of a log after a crash must be true of a state with all that was acknowledged, or with as
    /// much as can be known.
    fn check(&self, crashed: &Crashed<'_>, states: &[(usize, Model)]) -> Result<Outcome, String> {
        let opened = crashed.disk.copy();
        let outcome = Wal::open(Box::new(opened.clone()), OPTIONS).map_err(|e| e.to_string())?;
        let known = |state: &Model| match &outcome {
            Opened::Whole(_, found) => (found == state).then_some(Known::Whole),
            Opened::Damaged(damaged) => tells_truth(damaged, state, &self.entries).ok(),
        };
        let found = states.iter().find_map(|(whole, state)| Some((*whole, state, known(state)?)));
        let Some((batch, state, known)) = found else { return Err(format!("a lie: {outcome:?}")) };
        if let Opened::Damaged(damaged) = outcome {
            damaged.heal(healed(state)).map_err(|e| e.to_string())?;
            if reopen(&opened, OPTIONS).1 != *state {
                return Err("healing made something else of it".to_owned());
            }
        }
        let acknowledged = states[0].0;
        if batch == acknowledged {
            return Ok(Outcome::Told(known));
        }
        let [from, to] = [batch, batch + 1].map(|batch| end_of(self.before(batch)));
        match crashed.may_look_torn(from, to) {
            true => Ok(Outcome::Torn),
            false => Err(format!("of {acknowledged} batches, the log has {batch}")),
        }
    }

    /// Cuts the power at every moment, in every way, with every sector damaged that was durable by then.
    fn sweep(&self, spoil: impl Fn(&mut [u8])) -> BTreeMap<Outcome, u32> {
        let mut counts = BTreeMap::new();
        for (acknowledged, whole) in &self.moments {
            let states = self.states(*acknowledged);
            let durable = self.before(*acknowledged);
            for left in leftovers(whole) {
                let older = left.copy();
                put_marks(&older, acknowledged.checked_sub(1).map(|older| self.before(older)));
                let unmarked = left.copy();
                put_marks(&unmarked, None);
                for left in [left, older, unmarked] {
                    let there = left.clone().segments().expect("listed");
                    let segments = images(durable).into_iter();
                    for (segment, bytes) in segments.filter(|(it, _)| there.contains(it)) {
                        let last = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
                        for begin in (0..=last).step_by(SECTOR_BYTES) {
                            let end = last.min(begin + SECTOR_BYTES - 1) + 1;
                            let disk = left.copy();
                            disk.damage(segment, |bytes| spoil(&mut bytes[begin..end]));
                            let crashed = Crashed { disk, whole, bad: (segment, begin) };
                            let outcome = self.check(&crashed, &states).unwrap_or_else(|what| {
                                panic!("after {acknowledged}, segment {segment}, {begin}: {what}")
                            });
                            *counts.entry(outcome).or_default() += 1;
                        }
                    }
                }
            }
        }
        counts
    }
}

/// One group, with batches of one record and of several, and records of a header and of several sectors.
fn one_group() -> Vec<Vec<Step>> {
    let vote = |term| hard_state(1, term, Some(1));
    vec![
        vec![vote(1)],
        vec![append(1, 1, 0, 9)],
        vec![append(1, 1, 9, 49), vote(1)],
        vec![append(1, 1, 49, 80)],
        vec![vote(2), append(1, 2, 80, 115)],
        vec![append(1, 2, 115, 117)],
        vec![vote(3)],
        vec![append(1, 3, 117, 158), append(1, 3, 158, 160)],
    ]
}

fn check(batches: Vec<Vec<Step>>) {
    let filmed = Filmed::of(batches);
    let mut counts = filmed.sweep(|bytes| bytes.fill(0));
    for (outcome, count) in filmed.sweep(|bytes| bytes[0] ^= 4) {
        *counts.entry(outcome).or_default() += count;
    }
    for outcome in [Outcome::Told(Known::Named), Outcome::Told(Known::Forgotten), Outcome::Torn] {
        let count = counts.get(&outcome).copied().unwrap_or(0);
        assert!(count > 100, "{outcome:?} came {count} times: {counts:?}");
    }
}

#[test]
fn no_batch_of_a_group_is_cut_that_can_be_known_to_have_been_durable() {
    check(one_group());
}

#[test]
fn no_batch_of_many_groups_is_cut_that_can_be_known_to_have_been_durable() {
    check(workload());
}
