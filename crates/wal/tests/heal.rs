//! Damaged logs: what is told of them is true, and with it they become whole again.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use common::{
    Known, Model, Step, append, apply, check_groups, compact, entries, hard_state, healed, images,
    is_prefix, models, reopen, workload, write,
};
use quorate_raft::{Entry, EntryId, GroupId, Index, Payload, Record, Recovered, Remembered};
use quorate_wal::memory::SECTOR_BYTES;
use quorate_wal::{
    Call, Disk, ExaminedGroup, Fate, Fault, HealError, Healed, MARK_SLOTS, MemDisk, OpenError,
    Opened, PLEDGE_SLOTS, Wal, WalOptions, examine,
};

const BLOCK_BYTES: usize = 4096;
const EIO: Fault = Fault::Fails(std::io::ErrorKind::Other);

/// A log, and what it should be.
struct Log {
    disk: MemDisk,
    options: WalOptions,
    batches: Vec<Vec<Step>>,
    model: Model,
    /// The model before each batch.
    models: Vec<Model>,
    /// Every entry that was ever in a group.
    entries: BTreeMap<GroupId, Vec<Entry>>,
}

impl Log {
    fn of(batches: Vec<Vec<Step>>, segment_bytes: u64) -> Self {
        Self::on(MemDisk::new(), batches, segment_bytes)
    }

    fn on(disk: MemDisk, batches: Vec<Vec<Step>>, segment_bytes: u64) -> Self {
        let options = WalOptions { segment_bytes, record_bytes_max: 4096 };
        let (mut wal, _) = reopen(&disk, options);
        batches.iter().for_each(|batch| write(&mut wal, batch).unwrap());
        let mut models = models(&batches);
        let entries = entries(&batches);
        let model = models.pop().expect("the last");
        Self { disk, options, batches, model, models, entries }
    }

    /// The disk without a mark, as after a power cut that took it.
    fn unmarked(&self) -> MemDisk {
        let disk = self.disk.copy();
        (0..2).for_each(|slot| disk.damage_mark(slot, |bytes| bytes.fill(0)));
        disk
    }

    fn open(&self, disk: &MemDisk) -> Result<Opened, OpenError> {
        Wal::open(Box::new(disk.clone()), self.options)
    }

    /// Opens a damaged disk: what is told must be true, the disk must stay as it is, and with the model it
    /// must become whole. Returns how much of it was known.
    fn check(&self, disk: &MemDisk, is_marked: bool, what: &str) -> Known {
        let (image, marks) = (images(disk), marks(disk));
        let examined = examine(&mut disk.clone(), self.options).map_err(|e| e.to_string());
        assert!(images(disk) == image && self::marks(disk) == marks, "{what}: a look is no touch");
        let told = || -> Model {
            let examined = examined.as_ref().expect("what opens can be examined");
            assert!(examined.reports.is_empty(), "{what}: {:?}", examined.reports);
            let groups = examined.groups.iter();
            let of = |group: &ExaminedGroup| match &group.remembered {
                Remembered::Whole(recovered) => recovered.clone(),
                other => panic!("{what}: {other:?} of a whole log"),
            };
            groups.map(|(id, group)| (*id, of(group))).collect()
        };
        let damaged = match self.open(disk) {
            Ok(Opened::Whole(_, found)) if found == self.model => {
                assert_eq!(told(), found, "{what}");
                return Known::Whole;
            }
            Ok(Opened::Whole(_, found)) => {
                assert!(
                    !is_marked,
                    "{what}: acknowledged records were cut, although a mark is there"
                );
                let mut batches = self.models.iter().zip(&self.batches);
                let is_known = batches.any(|(before, batch)| is_prefix(&found, before, batch));
                assert!(is_known, "{what}: this was never in the log");
                return Known::Cut;
            }
            Ok(Opened::Damaged(damaged)) => damaged,
            Err(error) => {
                assert!(!is_marked, "{what}: {error}");
                let is_lost = image.len() == 1 && image[0].1.iter().all(|byte| *byte == 0);
                assert!(is_lost, "{what}: {error}");
                return Known::Lost;
            }
        };
        assert!(images(disk) == image, "{what}: the damage was touched");
        assert!(!damaged.reports.is_empty());
        let examined = examined.expect("what opens can be examined");
        assert_eq!(examined.reports, damaged.reports, "{what}");
        let groups = examined.groups.iter();
        let groups: BTreeMap<_, _> =
            groups.map(|(id, group)| (*id, group.remembered.clone())).collect();
        assert_eq!(groups, damaged.groups, "{what}");
        for (id, group) in &examined.groups {
            let entries = self.entries.get(id).map_or(&[][..], Vec::as_slice);
            check_examined(group, entries, what);
        }
        let known = check_groups(&damaged, &self.model, &self.entries, what);
        let again = self.open(disk);
        let Ok(Opened::Damaged(again)) = again else {
            panic!("{what}: the second opening differs")
        };
        assert_eq!(again.groups, damaged.groups, "{what}: the second opening differs");
        // Without what was lost it can't be healed, unless nobody knows what that was.
        if damaged.groups.values().any(|group| matches!(group, Remembered::Damaged(_))) {
            let short = damaged.groups.iter().map(|(group, known)| (*group, shortened(known)));
            again.heal(short.collect()).map(|_| ()).expect_err("a log is shortened");
        }
        let mut wal = damaged.heal(healed(&self.model)).unwrap_or_else(|e| panic!("{what}: {e}"));
        let step = hard_state(99, 1, Some(1));
        write(&mut wal, std::slice::from_ref(&step)).unwrap();
        let mut model = self.model.clone();
        apply(&mut model, &step);
        assert_eq!(reopen(disk, self.options).1, model, "{what}");
        let oldest = images(disk)[0].0;
        assert!(oldest > image.last().unwrap().0, "{what}: the old segments are still there");
        known
    }
}

/// What lies beside the segments.
fn marks(disk: &MemDisk) -> Vec<Vec<u8>> {
    (0..PLEDGE_SLOTS.end)
        .map(|slot| disk.clone().read_mark(slot).expect("it can be read"))
        .collect()
}

/// What is told of a group beside what is remembered was there once: its entries ascend and join nothing
/// that is told already, and records that are lost hold entries that are.
fn check_examined(group: &ExaminedGroup, entries: &[Entry], what: &str) {
    let ExaminedGroup { remembered, beyond, lost } = group;
    let told_to = match remembered {
        Remembered::Forgotten(Recovered { base, entries, .. }) => {
            entries.last().map_or(*base, |entry| entry.id)
        }
        Remembered::Whole(_) | Remembered::Damaged(_) => EntryId::ZERO,
    };
    let mut before = told_to.index;
    for entry in beyond {
        assert!(before < entry.id.index && entries.contains(entry), "{what}: {entry:?}");
        before = entry.id.index;
    }
    for record in lost {
        let Remembered::Damaged(salvage) = remembered else { panic!("{what}: {remembered:?}") };
        assert!(salvage.lost.iter().any(|lost| lost.contains(record.last)), "{what}: {record:?}");
        assert!(record.first <= record.last.index && record.bytes > 0, "{what}: {record:?}");
    }
}

/// What a log would be that is simply cut at the damage.
fn shortened(known: &Remembered) -> Healed {
    let (hard_state, base, entries) = match known.clone() {
        Remembered::Whole(Recovered { hard_state, base, entries })
        | Remembered::Forgotten(Recovered { hard_state, base, entries }) => {
            (hard_state, base, entries)
        }
        Remembered::Damaged(salvage) => {
            let first = salvage.lost[0].first;
            let sound = salvage.entries.into_iter().take_while(|entry| entry.id.index < first);
            (salvage.hard_state, salvage.base, sound.collect())
        }
    };
    Recovered { hard_state, base, entries }.into()
}

/// Everything that a group can go through, in several segments, with a group that keeps some of them and
/// one that is silent.
fn many_groups() -> Vec<Vec<Step>> {
    let mut batches = workload();
    batches.insert(0, vec![append(9, 1, 0, 45), hard_state(8, 1, None)]);
    batches.push(vec![append(2, 3, 6, 20), append(2, 4, 20, 22), append(1, 3, 27, 30)]);
    batches.push(vec![hard_state(2, 5, Some(2)), append(2, 5, 21, 30)]);
    batches.push(vec![append(1, 3, 30, 33), hard_state(3, 20, None)]);
    batches
}

/// One group, as the first releases have it: elections, appends, compactions.
fn one_group() -> Vec<Vec<Step>> {
    let mut batches = vec![vec![hard_state(1, 0, None)]];
    let mut last = 0;
    for term in 1..6 {
        batches.push(vec![hard_state(1, term, Some(term % 3 + 1))]);
        for _ in 0..9 {
            batches.push(vec![append(1, term, last, last + 2)]);
            last += 2;
        }
        if term % 2 == 0 {
            batches.push(vec![compact(1, term - 1, last - 27)]);
        }
    }
    batches
}

/// How often what was known, with a mark and without.
type Counts = BTreeMap<(bool, Known), usize>;

/// Damages each piece of this length of each segment, one at a time.
fn sweep(log: &Log, piece: usize, change: impl Fn(&mut [u8])) -> Counts {
    let mut counts = Counts::new();
    let (last, bytes) = images(&log.disk).pop().expect("there is a segment");
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let header = (0..=used).rev().find(|at| bytes[*at..].starts_with(b"QWAL")).unwrap();
    let batch = u32::from_le_bytes(bytes[header + 36..header + 40].try_into().unwrap()) as usize;
    for is_marked in [true, false] {
        let sound = if is_marked { log.disk.copy() } else { log.unmarked() };
        for (segment, bytes) in images(&log.disk) {
            for begin in (0..bytes.len()).step_by(piece) {
                let end = (begin + piece).min(bytes.len());
                let disk = sound.copy();
                disk.damage(segment, |bytes| change(&mut bytes[begin..end]));
                let what = format!("segment {segment}, {begin}..{end}, marked: {is_marked}");
                let known = log.check(&disk, is_marked, &what);
                // Only damage in the last batch, or that takes the end of the log, looks like a tear.
                let may_be_torn = segment == last && (begin >= batch || end > used);
                assert!(known != Known::Cut || may_be_torn, "{what}: durable records were cut");
                *counts.entry((is_marked, known)).or_default() += 1;
            }
        }
    }
    counts
}

fn count(counts: &Counts, is_marked: bool, known: Known) -> usize {
    counts.get(&(is_marked, known)).copied().unwrap_or(0)
}

#[test]
fn every_sector_and_block_zeroed_or_flipped() {
    let (mut named, mut forgotten) = (0, 0);
    for batches in [one_group(), many_groups()] {
        for segment_bytes in [4096, 16384] {
            let log = Log::of(batches.clone(), segment_bytes);
            for piece in [SECTOR_BYTES, BLOCK_BYTES] {
                let zeroed = sweep(&log, piece, |bytes| bytes.fill(0));
                let flipped = sweep(&log, piece, |bytes| bytes.iter_mut().for_each(|b| *b ^= 0xa5));
                for counts in [zeroed, flipped] {
                    named += count(&counts, true, Known::Named);
                    forgotten += count(&counts, false, Known::Forgotten);
                    // No sector of these logs tells of two changes of a term and more.
                    let unknown = count(&counts, true, Known::Forgotten);
                    assert!(piece == BLOCK_BYTES || unknown == 0, "{counts:?}");
                }
            }
        }
    }
    assert!(named > 100 && forgotten > 10, "{named} named, {forgotten} forgotten without a mark");
}

#[test]
fn every_byte_flipped() {
    let mut batches = vec![
        vec![hard_state(1, 1, Some(1)), append(1, 1, 0, 2)],
        vec![hard_state(2, 1, None), append(2, 1, 0, 1), append(1, 1, 2, 3)],
        vec![hard_state(1, 2, None), append(1, 2, 2, 4)],
        vec![compact(1, 1, 1), append(2, 1, 1, 2)],
    ];
    batches.extend((4..14).map(|last| vec![append(1, 2, last, last + 1)]));
    let log = Log::of(batches, 2048);
    assert!(images(&log.disk).len() > 1);
    let counts = sweep(&log, 1, |bytes| bytes[0] ^= 0x10);
    assert_eq!(count(&counts, true, Known::Forgotten), 0, "{counts:?}");
    assert!(count(&counts, true, Known::Named) > 500, "{counts:?}");
}

/// Votes and entries of two groups, each in a batch of its own, on a disk of which each moment is kept.
fn elections() -> Vec<Vec<Step>> {
    let mut batches = vec![vec![hard_state(1, 1, Some(1))], vec![hard_state(2, 1, None)]];
    for term in 2..6 {
        let last = 2 * (term - 2);
        batches.push(vec![hard_state(1, term, None), append(2, 1, last, last + 1)]);
        batches.push(vec![append(1, term, last, last + 2)]);
        batches.push(vec![hard_state(1, term, Some(term))]);
        batches.push(vec![append(2, 1, last + 1, last + 2), hard_state(2, term, Some(1))]);
    }
    batches
}

#[test]
fn no_vote_is_forgotten_though_the_mark_and_the_end_of_the_log_are_lost() {
    let batches = elections();
    let (mut cut, mut forgotten) = (0, 0);
    for done in 1..=batches.len() {
        let log = Log::of(batches[..done].to_vec(), 4096);
        let (segment, bytes) = images(&log.disk).pop().expect("there is a segment");
        for begin in begins(&bytes) {
            let disk = log.unmarked();
            disk.damage(segment, |bytes| bytes[begin..].fill(0));
            match log.open(&disk) {
                Ok(Opened::Whole(_, found)) => {
                    for (group, truth) in &log.model {
                        let promised = truth.hard_state;
                        let known = found.get(group).map(|known| known.hard_state);
                        let is_kept = known == Some(promised) || promised == Default::default();
                        assert!(is_kept, "{done} batches, cut at {begin}: {known:?}, {promised:?}");
                    }
                    cut += 1;
                }
                Ok(Opened::Damaged(damaged)) => {
                    let what = format!("{done} batches, cut at {begin}");
                    let known = check_groups(&damaged, &log.model, &log.entries, &what);
                    assert_eq!(known, Known::Forgotten, "{what}: nobody knows what it lost");
                    assert_eq!(damaged.groups.len(), log.model.len(), "{what}");
                    for (group, told) in &damaged.groups {
                        let Remembered::Forgotten(told) = told else { panic!("{what}: {told:?}") };
                        assert_eq!(told.hard_state, log.model[group].hard_state, "{what}");
                    }
                    forgotten += 1;
                }
                Err(error) => panic!("{done} batches, cut at {begin}: {error}"),
            }
        }
    }
    assert!(cut > 5 && forgotten > 50, "{cut} cut, {forgotten} forgotten");
}

#[test]
fn one_slot_of_the_pledge_may_be_damaged_and_not_all() {
    let log = Log::of(elections(), 4096);
    for slot in PLEDGE_SLOTS {
        let disk = log.disk.copy();
        disk.damage_mark(slot, |bytes| bytes.iter_mut().for_each(|byte| *byte ^= 0xa5));
        let Ok(Opened::Whole(mut wal, found)) = log.open(&disk) else {
            panic!("slot {slot} of the pledge is damaged, and the log is refused");
        };
        assert_eq!(found, log.model);
        // It is written anew as the log goes on.
        for term in 7..9 {
            write(&mut wal, &[hard_state(1, term, None)]).unwrap();
        }
        let is_lost = |slot: &Vec<u8>| !slot.starts_with(b"QPLG");
        assert!(!marks(&disk)[PLEDGE_SLOTS].iter().any(is_lost), "slot {slot}");
    }
    // What can't be read may be read tomorrow, and may be the last one.
    for (first, end) in [(2, 4), (4, 6), (2, 6)] {
        let disk = log.disk.copy();
        disk.set_faults(move |call| match call {
            Call::ReadMark { slot } if (first..end).contains(&slot) => Some(EIO),
            _ => None,
        });
        assert!(matches!(log.open(&disk), Err(OpenError::Io { .. })), "{first}..{end}");
    }
    let disk = log.disk.copy();
    PLEDGE_SLOTS.for_each(|slot| disk.damage_mark(slot, |bytes| bytes.fill(0)));
    assert_eq!(log.check(&disk, true, "without a pledge"), Known::Forgotten);
}

/// Where one copy of a place is damaged and the other one can't be read.
#[test]
fn no_older_pledge_counts_as_the_last() {
    let log = Log::of(elections(), 4096);
    for slot in PLEDGE_SLOTS {
        let disk = log.disk.copy();
        disk.damage_mark(slot, |bytes| bytes.fill(0));
        let other = if slot % 2 == 0 { slot + 1 } else { slot - 1 };
        disk.set_faults(move |call| (call == Call::ReadMark { slot: other }).then_some(EIO));
        assert!(matches!(log.open(&disk), Err(OpenError::Io { .. })), "{slot}");
    }
}

#[test]
fn the_first_batch_after_healing_is_told_by_the_mark() {
    let mut log = Log::of(one_group(), 4096);
    let (first, _) = images(&log.disk)[0].clone();
    log.disk.damage(first, |bytes| bytes[200] ^= 1);
    let Ok(Opened::Damaged(damaged)) = log.open(&log.disk) else { panic!("it is damaged") };
    let mut wal = damaged.heal(healed(&log.model)).unwrap();
    let begin = images(&log.disk)[0].1.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let step = hard_state(1, 9, Some(1));
    write(&mut wal, std::slice::from_ref(&step)).unwrap();
    apply(&mut log.model, &step);
    // The disk never wrote it, and of the next one it wrote a part.
    log.disk.damage(images(&log.disk)[0].0, |bytes| {
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        bytes[begin..].fill(0);
        bytes[end..end + 80].fill(7);
    });
    assert_eq!(log.check(&log.disk, true, "the first batch is lost"), Known::Healthy);
}

#[test]
fn any_file_gone() {
    for batches in [one_group(), many_groups()] {
        let log = Log::of(batches, 4096);
        let segments = images(&log.disk);
        assert!(segments.len() > 1);
        let mut named = 0;
        for (segment, _) in &segments {
            let mut disk = log.disk.copy();
            disk.remove(*segment).unwrap();
            let known = log.check(&disk, true, &format!("without segment {segment}"));
            named += usize::from(known == Known::Named);
        }
        assert!(named > 0);
        let mut disk = log.disk.copy();
        segments.iter().for_each(|(segment, _)| disk.remove(*segment).unwrap());
        let Ok(Opened::Damaged(damaged)) = log.open(&disk) else {
            panic!("without any segment, the log is taken for a new one");
        };
        check_groups(&damaged, &log.model, &log.entries, "without any segment");
        damaged.heal(healed(&log.model)).unwrap();
        assert_eq!(reopen(&disk, log.options).1, log.model);
    }
}

#[test]
fn a_write_that_went_to_another_place() {
    let log = Log::of(many_groups(), 4096);
    let segments = images(&log.disk);
    let mut named = 0;
    for is_marked in [true, false] {
        for (from, to) in (0..segments.len()).flat_map(|a| (0..segments.len()).map(move |b| (a, b)))
        {
            for sector in 0..8_usize {
                let (home, away) = (sector * SECTOR_BYTES, (sector * 3 + 1) % 8 * SECTOR_BYTES);
                let ((from, bytes), (to, image)) = (&segments[from], &segments[to]);
                let written = &bytes[home.min(bytes.len())..(home + SECTOR_BYTES).min(bytes.len())];
                if image.len() < away + written.len() || written.iter().all(|byte| *byte == 0) {
                    continue;
                }
                // Without a mark, the end of the log may be lost unnoticed.
                let last = segments[segments.len() - 1].0;
                if !is_marked && [*from, *to].contains(&last) {
                    continue;
                }
                let disk = if is_marked { log.disk.copy() } else { log.unmarked() };
                disk.damage(*to, |bytes| {
                    bytes[away..away + written.len()].copy_from_slice(written)
                });
                disk.damage(*from, |bytes| bytes[home..home + written.len()].fill(0));
                let what = format!("{from}, {home} to {to}, {away}, marked: {is_marked}");
                named += usize::from(log.check(&disk, is_marked, &what) == Known::Named);
            }
        }
    }
    assert!(named > 10, "{named}");
}

#[test]
fn every_write_lost_or_astray() {
    let astray = |offset| Fault::Misdirected { segment: 1, offset };
    let mut named = 0;
    for batches in [one_group(), many_groups()] {
        for fault in [Fault::Lost, astray(512), astray(1_000), astray(3_000)] {
            for nth in 0.. {
                let disk = MemDisk::new();
                let writes = Arc::new(AtomicUsize::new(0));
                let counted = Arc::clone(&writes);
                disk.set_faults(move |call| match call {
                    Call::Write { .. } if counted.fetch_add(1, Ordering::Relaxed) == nth => {
                        Some(fault)
                    }
                    _ => None,
                });
                let log = Log::on(disk, batches.clone(), 4096);
                if writes.load(Ordering::Relaxed) <= nth {
                    break;
                }
                log.disk.clear_faults();
                // Everything was synced. What readers see and the disk doesn't have goes.
                log.disk.write_back_marks();
                log.disk.crash(|_| Fate::Kept);
                let known = log.check(&log.disk, true, &format!("{fault:?} of write {nth}"));
                named += usize::from(known == Known::Named);
            }
        }
    }
    assert!(named > 20, "{named}");
}

/// Where records begin.
fn begins(bytes: &[u8]) -> Vec<usize> {
    (0..bytes.len()).step_by(8).filter(|at| bytes[*at..].starts_with(b"QWAL")).collect()
}

/// A log, and where a record begins in its only segment that has room in its body for others.
fn log_with_long_record() -> (Log, usize) {
    let mut batches = vec![vec![hard_state(1, 1, Some(1))]];
    batches.extend((0..5).map(|round| vec![append(1, 1, 12 * round, 12 * (round + 1))]));
    let log = Log::of(batches, 16384);
    let (_, bytes) = images(&log.disk).remove(0);
    let begins = begins(&bytes);
    let long = begins.windows(2).skip(2).find(|pair| pair[1] - pair[0] > 400);
    let home = long.expect("one of them is long")[0];
    (log, home)
}

#[test]
fn a_record_that_a_client_made_up_is_none() {
    // In a command of some record lies what looks like the last record of the log, of a later term.
    let (log, home) = log_with_long_record();
    let (segment, bytes) = images(&log.disk).remove(0);
    let forged = home + 136;
    let mut header = bytes[home..home + 128].to_vec();
    // As one would follow its home, so that its sequence has a place behind the last record that is left.
    let sequence = u64::from_le_bytes(header[16..24].try_into().unwrap()) + 1;
    header[16..24].copy_from_slice(&sequence.to_le_bytes());
    header[32..36].copy_from_slice(&u32::try_from(forged).unwrap().to_le_bytes());
    header[36..40].copy_from_slice(&u32::try_from(forged).unwrap().to_le_bytes());
    header[48] = 200;
    for length in [0, 4000_u32] {
        header[40..44].copy_from_slice(&length.to_le_bytes());
        let checksum = crc32fast::hash(&header[..124]);
        header[124..].copy_from_slice(&checksum.to_le_bytes());
        for is_marked in [true, false] {
            let disk = if is_marked { log.disk.copy() } else { log.unmarked() };
            disk.damage(segment, |bytes| {
                bytes[home..home + 128].fill(0);
                bytes[forged..forged + 128].copy_from_slice(&header);
            });
            let known = log.check(&disk, is_marked, &format!("{length} bytes of a body"));
            assert_eq!(known, Known::Named);
        }
    }
}

#[test]
fn records_that_a_client_made_up_prove_nothing_together() {
    // The same with two, of which the second continues the first.
    let (log, home) = log_with_long_record();
    let (segment, bytes) = images(&log.disk).remove(0);
    let sequence = u64::from_le_bytes(bytes[home + 16..home + 24].try_into().unwrap());
    for first in [sequence - 2, sequence - 1, sequence, sequence + 1, sequence + 2, 1 << 40] {
        let mut forged = Vec::new();
        for (at, sequence) in [(home + 136, first), (home + 264, first + 1)] {
            let chain: [u8; 4] = forged.last_chunk().copied().unwrap_or_default();
            let mut header = bytes[home..home + 128].to_vec();
            header[5] = 3;
            header[16..24].copy_from_slice(&sequence.to_le_bytes());
            header[32..36].copy_from_slice(&u32::try_from(at).unwrap().to_le_bytes());
            header[36..40].copy_from_slice(&u32::try_from(at).unwrap().to_le_bytes());
            header[40..44].fill(0);
            header[44..48].copy_from_slice(&chain);
            header[48] = 200;
            header[112..124].fill(0);
            let checksum = crc32fast::hash(&header[..124]);
            header[124..].copy_from_slice(&checksum.to_le_bytes());
            forged.extend(header);
        }
        for is_marked in [true, false] {
            let disk = if is_marked { log.disk.copy() } else { log.unmarked() };
            disk.damage(segment, |bytes| {
                bytes[home..home + 128].fill(0);
                bytes[home + 136..home + 392].copy_from_slice(&forged);
            });
            let known = log.check(&disk, is_marked, &format!("{sequence}, forged {first}"));
            assert_eq!(known, Known::Named);
        }
    }
}

#[test]
fn what_cannot_be_read_counts_as_damaged() {
    let log = Log::of(many_groups(), 16384);
    let mut named = 0;
    for (segment, bytes) in images(&log.disk) {
        for block in (0..bytes.len()).step_by(BLOCK_BYTES) {
            let disk = log.disk.copy();
            disk.set_faults(move |call| match call {
                Call::Read { segment: read } if read == segment => Some(EIO),
                Call::ReadPart { segment: read, offset, .. }
                    if read == segment && offset == block as u64 =>
                {
                    Some(EIO)
                }
                _ => None,
            });
            let damaged = match log.open(&disk).unwrap() {
                Opened::Whole(_, found) => {
                    assert_eq!(found, log.model, "block {block} of segment {segment}");
                    continue;
                }
                Opened::Damaged(damaged) => damaged,
            };
            let known = check_groups(
                &damaged,
                &log.model,
                &log.entries,
                &format!("block {block} of segment {segment}"),
            );
            named += usize::from(known == Known::Named);
            damaged.heal(healed(&log.model)).unwrap();
            disk.clear_faults();
            assert_eq!(reopen(&disk, log.options).1, log.model);
        }
    }
    assert!(named > 0);
    // A disk that reads nothing at all is another matter.
    log.disk.set_faults(|call| match call {
        Call::Read { .. } | Call::ReadPart { .. } => Some(EIO),
        _ => None,
    });
    let error = log.open(&log.disk).map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
}

#[test]
fn what_is_read_at_the_third_attempt_is_not_damaged() {
    let log = Log::of(many_groups(), 16384);
    /// The first two of these calls fail.
    fn twice(
        meant: impl Fn(Call) -> bool + Send + 'static,
    ) -> impl FnMut(Call) -> Option<Fault> + Send {
        let mut left = 2;
        move |call| {
            let fails = left > 0 && meant(call);
            left -= u32::from(fails);
            fails.then_some(EIO)
        }
    }
    for (segment, bytes) in images(&log.disk) {
        for block in (0..bytes.len()).step_by(BLOCK_BYTES) {
            let disk = log.disk.copy();
            let mut piece = twice(
                move |call| matches!(call, Call::ReadPart { offset, .. } if offset == block as u64),
            );
            disk.set_faults(move |call| match call {
                Call::Read { segment: read } if read == segment => Some(EIO),
                Call::ReadPart { segment: read, .. } if read == segment => piece(call),
                _ => None,
            });
            match log.open(&disk).unwrap() {
                Opened::Whole(_, found) => assert_eq!(found, log.model),
                Opened::Damaged(damaged) => panic!("block {block}: {:?}", damaged.reports),
            }
        }
    }
    // What only the mark tells: that the last batch was durable.
    let (last, bytes) = images(&log.disk).pop().unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let mut told = 0;
    for slot in MARK_SLOTS {
        let disk = log.disk.copy();
        disk.damage(last, |bytes| bytes[end] ^= 1);
        disk.damage_mark((slot + 1) % 2, |bytes| bytes.fill(0));
        let sound = log.open(&disk.copy()).unwrap();
        disk.set_faults(twice(move |call| call == Call::ReadMark { slot }));
        let found = log.open(&disk).unwrap();
        let is_damaged = |opened: &Opened| matches!(opened, Opened::Damaged(_));
        assert_eq!(is_damaged(&found), is_damaged(&sound), "mark {slot}");
        told += u32::from(is_damaged(&found));
    }
    assert!(told > 0, "no mark tells of the last batch");
}

/// The only segment is gone, and the mark tells what was in it.
#[test]
fn a_segment_that_could_not_be_written_is_not_left_behind() {
    let log = Log::of(vec![vec![hard_state(1, 2, Some(1))]], 4096);
    let disk = log.disk.copy();
    disk.clone().remove(1).unwrap();
    let known = |disk: &MemDisk| match log.open(disk).unwrap() {
        Opened::Damaged(damaged) => damaged,
        Opened::Whole(..) => panic!("its segment is gone"),
    };
    let before = known(&disk);
    assert!(matches!(before.groups[&GroupId(1)], Remembered::Whole(_)));
    let fails: [fn(Call) -> Option<Fault>; 3] = [
        |call| {
            let kind = std::io::ErrorKind::StorageFull;
            matches!(call, Call::Write { .. }).then_some(Fault::Short { written: 64, kind })
        },
        |call| matches!(call, Call::SyncSegment { .. }).then_some(EIO),
        |call| matches!(call, Call::SyncDirectory).then_some(EIO),
    ];
    for (number, fails) in fails.into_iter().enumerate() {
        let damaged = known(&disk);
        disk.set_faults(fails);
        damaged.heal(healed(&log.model)).map(drop).unwrap_err();
        disk.clear_faults();
        assert_eq!(known(&disk).groups, before.groups, "{number}");
    }
    known(&disk).heal(healed(&log.model)).unwrap();
    assert_eq!(reopen(&disk, log.options).1, log.model);
}

#[test]
fn what_contradicts_the_log_does_not_heal_it() {
    let entry = |term, index, command: &'static [u8]| Entry {
        id: EntryId::new(term, index),
        payload: Payload::Command(Bytes::from_static(command)),
    };
    let log = Log::of(
        vec![
            vec![hard_state(1, 2, Some(1)), (GroupId(1), Record::Append(vec![entry(1, 1, b"a")]))],
            vec![(GroupId(1), Record::Append(vec![entry(2, 2, b"b"), entry(2, 3, b"c")]))],
            vec![(GroupId(1), Record::Append(vec![entry(2, 4, b"d")]))],
        ],
        4096,
    );
    // The command `c` of the second append.
    log.disk.damage(1, |bytes| {
        let at = bytes.windows(9).position(|bytes| bytes == b"\x01\0\0\0\x01\0\0\0c").unwrap();
        bytes[at + 8] ^= 1;
    });
    let heal = |change: &dyn Fn(&mut Healed)| {
        let disk = log.disk.copy();
        let Ok(Opened::Damaged(damaged)) = log.open(&disk) else { panic!("it is damaged") };
        let mut groups = healed(&log.model);
        change(groups.get_mut(&GroupId(1)).unwrap());
        match damaged.heal(groups) {
            Ok(_) => Ok(reopen(&disk, log.options).1),
            Err(HealError::Contradiction { group: GroupId(1), reason }) => {
                assert!(images(&disk) == images(&log.disk), "nothing was changed");
                Err(reason)
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(heal(&|_| ()).unwrap(), log.model);
    let refused = |reason: &str, change: &dyn Fn(&mut Healed)| {
        let error = heal(change).expect_err(reason);
        assert!(error.contains(reason), "{error}");
    };
    refused("are not those that were lost", &|h| h.recovered.entries[2] = entry(2, 3, b"x"));
    refused("was never in the log", &|h| h.recovered.entries[1] = entry(1, 2, b"b"));
    refused("is sound", &|h| h.recovered.entries[0] = entry(1, 1, b"x"));
    refused("is to end at index 4", &|h| drop(h.recovered.entries.pop()));
    refused("is to end at index 4", &|h| h.recovered.entries.push(entry(2, 5, b"e")));
    refused("can't follow", &|h| h.recovered.hard_state.vote = None);
    refused("can't follow", &|h| h.recovered.hard_state.term.0 = 1);
    refused("can't follow", &|h| h.recovered.base = EntryId::new(1, 1));
    // What was agreed to be dropped may go, and the state machine may have gone ahead.
    heal(&|h| {
        h.recovered.entries.truncate(1);
        h.dropped_after = Some(Index(1));
    })
    .unwrap();
    heal(&|h| {
        h.recovered.base = EntryId::new(2, 3);
        h.recovered.entries.drain(..3);
        h.recovered.hard_state.term.0 = 3;
    })
    .unwrap();
    // A group that is missing is one that is forgotten by whoever heals.
    let Ok(Opened::Damaged(damaged)) = log.open(&log.disk) else { panic!("it is damaged") };
    let error = damaged.heal(BTreeMap::new()).unwrap_err().to_string();
    assert!(error.contains("group g1") && error.contains("missing"), "{error}");
}
