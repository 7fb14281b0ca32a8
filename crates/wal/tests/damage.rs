//! Damage at rest: it is refused with its place, or it is where the log can't know better.

mod common;

use std::collections::BTreeSet;

use common::{
    Model, Step, append, compact, hard_state, images, is_prefix, models, open, reopen, workload,
    write,
};
use quorate_raft::{GroupId, Remembered};
use quorate_wal::memory::SECTOR_BYTES;
use quorate_wal::{Disk, MemDisk, OpenError, Opened, PLEDGE_SLOTS, Report, Wal, WalOptions};

/// A log whose last batch is longer than a sector, and where that batch begins.
struct Log {
    disk: MemDisk,
    batches: Vec<Vec<Step>>,
    models: Vec<Model>,
    last_segment: u64,
    last_batch: usize,
    end: usize,
}

const OPTIONS: WalOptions = WalOptions { segment_bytes: 4096, record_bytes_max: 4096 };

/// The same without a mark, as after a power cut that took it.
fn unmarked() -> Log {
    let log = log();
    (0..2).for_each(|slot| log.disk.damage_mark(slot, |bytes| bytes.fill(0)));
    log
}

fn log() -> Log {
    let mut batches = workload();
    // A group that keeps some segments.
    batches.insert(0, vec![append(9, 1, 0, 45)]);
    let disk = MemDisk::new();
    let (mut wal, _) = reopen(&disk, OPTIONS);
    batches.iter().for_each(|batch| write(&mut wal, batch).unwrap());
    // And as many small batches as it takes to have room for the last one.
    for term in 1.. {
        let batch = vec![hard_state(8, term, None)];
        write(&mut wal, &batch).unwrap();
        batches.push(batch);
        if end_of(&disk).1 < 2000 {
            break;
        }
    }
    let (segment, last_batch) = end_of(&disk);
    batches.push(vec![append(8, 1, 0, 15), append(9, 1, 45, 55)]);
    write(&mut wal, batches.last().unwrap()).unwrap();
    let (last_segment, end) = end_of(&disk);
    let models = models(&batches);
    assert_eq!(segment, last_segment, "the last batch is not the first of its segment");
    assert!(end - last_batch > 2 * SECTOR_BYTES);
    assert!(images(&disk).len() > 1);
    Log { disk, batches, models, last_segment, last_batch, end }
}

/// The last segment, and where its records end.
fn end_of(disk: &MemDisk) -> (u64, usize) {
    let (name, bytes) = images(disk).pop().expect("there is a segment");
    (name, end_of_records(&bytes))
}

/// Where the last record ends.
fn end_of_records(bytes: &[u8]) -> usize {
    let last = *records(bytes).last().unwrap();
    let length = u32::from_le_bytes(bytes[last + 40..last + 44].try_into().unwrap());
    last + 128 + (length as usize).next_multiple_of(8)
}

/// Where records begin.
fn records(bytes: &[u8]) -> Vec<usize> {
    (0..bytes.len()).step_by(8).filter(|at| bytes[*at..].starts_with(b"QWAL")).collect()
}

impl Log {
    /// Damages a range and says what an opening finds.
    fn damaged(&self, segment: u64, change: impl FnOnce(&mut [u8])) -> Result<Model, Report> {
        let disk = self.disk.copy();
        disk.damage(segment, change);
        let before = images(&disk);
        match open(&disk, OPTIONS) {
            Ok((_, found)) => Ok(found),
            Err(OpenError::Corrupt(report)) => {
                assert_eq!(images(&disk), before, "a log that is refused is left as it is");
                Err(report)
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Whether all is there but for the end of the last batch.
    fn is_cut_in_last_batch(&self, found: &Model) -> bool {
        let [.., before, _] = &self.models[..] else { unreachable!("there are two batches") };
        is_prefix(found, before, self.batches.last().unwrap())
    }
}

#[test]
fn every_flipped_bit_is_refused_or_in_the_last_batch() {
    let log = unmarked();
    let whole = log.models.last().unwrap();
    let (mut refused, mut cut) = (0, 0);
    for (segment, bytes) in images(&log.disk) {
        let (begins, end) = (records(&bytes), end_of_records(&bytes));
        for at in 0..bytes.len() {
            let result = log.damaged(segment, |bytes| bytes[at] ^= 1 << (at % 8));
            let is_last = segment == log.last_segment;
            if is_last && at >= log.end {
                assert_eq!(result.as_ref(), Ok(whole), "a bit behind the log, at {at}");
            } else if is_last && at >= log.last_batch {
                match result {
                    Ok(found) => {
                        assert!(log.is_cut_in_last_batch(&found), "at {at}: {found:#?}");
                        cut += 1;
                    }
                    // Within the batch, a record may vouch for nothing; but an intact checksum may be
                    // proof of damage by itself.
                    Err(report) => assert!(report.offset as usize >= log.last_batch, "{report}"),
                }
            } else {
                let report = result.expect_err("what was durable is never cut");
                let record = begins.iter().rfind(|begin| **begin <= at).copied().unwrap();
                let place = if at < end { record } else { end };
                assert_eq!((report.segment, report.offset as usize), (segment, place), "{report}");
                refused += 1;
            }
        }
    }
    assert!(refused > 3 * cut && cut > 0, "refused {refused}, cut {cut}");
}

#[test]
fn every_zeroed_sector_is_refused_or_in_the_last_batch() {
    let log = unmarked();
    let (mut refused, mut cut) = (0, 0);
    for (segment, bytes) in images(&log.disk) {
        for begin in (0..bytes.len()).step_by(SECTOR_BYTES) {
            let end = (begin + SECTOR_BYTES).min(bytes.len());
            if bytes[begin..end].iter().all(|byte| *byte == 0) {
                continue;
            }
            let result = log.damaged(segment, |bytes| bytes[begin..end].fill(0));
            let durable = segment != log.last_segment || begin < log.last_batch;
            match result {
                Ok(found) => {
                    // The batch is longer than a sector, so no sector takes it and more with it.
                    assert!(!durable, "segment {segment}, sector at {begin} was cut silently");
                    assert!(log.is_cut_in_last_batch(&found));
                    cut += 1;
                }
                Err(report) => {
                    assert_eq!(report.segment, segment, "{report}");
                    assert!(report.offset as usize <= end, "{report}");
                    refused += 1;
                }
            }
        }
    }
    // The sector in which the last batch begins holds the end of the one before as well. Where it is
    // zeroed, records of the last batch are there that say so.
    assert!(refused > 4 && cut > 0, "refused {refused}, cut {cut}");
}

#[test]
fn a_segment_that_is_gone_is_missed() {
    let log = log();
    for (segment, _) in images(&log.disk) {
        if segment == log.last_segment {
            continue;
        }
        let mut disk = log.disk.copy();
        disk.remove(segment).unwrap();
        let Err(OpenError::Corrupt(report)) = open(&disk, OPTIONS) else {
            panic!("the log opens without segment {segment}");
        };
        assert_eq!((report.segment, report.found.as_str()), (segment, "no such file"));
    }
}

#[test]
fn a_write_in_a_wrong_place_is_noticed() {
    let log = log();
    // Each record of the last segment, written over each other one of it.
    let (segment, bytes) = images(&log.disk).pop().unwrap();
    let begins: BTreeSet<usize> =
        records(&bytes).into_iter().filter(|at| *at < log.last_batch).collect();
    for from in &begins {
        for to in begins.iter().filter(|to| *to != from) {
            let header = bytes[*from..from + 128].to_vec();
            let report = log
                .damaged(segment, |bytes| bytes[*to..to + 128].copy_from_slice(&header))
                .expect_err("a record is not where it belongs");
            assert_eq!(report.offset as usize, *to);
            assert!(report.found.contains(&format!("offset {from}")), "{report}");
        }
    }
}

#[test]
fn a_lost_last_batch_in_a_sealed_segment_is_noticed() {
    let log = log();
    let images = images(&log.disk);
    let (segment, bytes) = &images[images.len() - 2];
    let last = *records(bytes).last().unwrap();
    // All of it, so that the segment looks as if it had ended before.
    let report =
        log.damaged(*segment, |bytes| bytes[last..].fill(0)).expect_err("a record is gone");
    assert_eq!((report.segment, report.offset as usize), (*segment, last), "{report}");
}

#[test]
fn the_limit_damage_that_takes_the_end_of_the_log_shortens_it() {
    // What the log by itself can't know where the mark is lost as well, kept here so that nobody promises
    // more.
    let log = unmarked();
    let shortened = log
        .damaged(log.last_segment, |bytes| bytes[log.last_batch..].fill(0))
        .expect("nothing is left that could witness against it");
    assert_eq!(shortened, log.models[log.models.len() - 2]);
}

#[test]
fn with_a_mark_nothing_that_was_durable_is_cut() {
    let log = log();
    let whole = log.models.last().unwrap();
    for (segment, bytes) in images(&log.disk) {
        let begin = if segment == log.last_segment { log.last_batch } else { 0 };
        let end = if segment == log.last_segment { log.end } else { bytes.len() };
        for at in (begin..end).step_by(7) {
            let report = log
                .damaged(segment, |bytes| bytes[at] ^= 1 << (at % 8))
                .expect_err("what was durable is never cut");
            assert_eq!(report.segment, segment);
            assert!(report.offset as usize <= at, "{report}");
        }
    }
    // The last batch, the last segment from anywhere on, and the last file.
    for begin in (0..log.end).step_by(8) {
        log.damaged(log.last_segment, |bytes| bytes[begin..].fill(0)).expect_err("the end is gone");
    }
    let mut disk = log.disk.copy();
    disk.remove(log.last_segment).unwrap();
    open(&disk, OPTIONS).expect_err("the last file is gone");
    images(&disk).into_iter().for_each(|(segment, _)| disk.remove(segment).unwrap());
    open(&disk, OPTIONS).expect_err("all files are gone");
    // Damage to the mark itself is none to the log.
    for slot in 0..2 {
        let disk = log.disk.copy();
        disk.damage_mark(slot, |bytes| bytes.fill(0xa5));
        assert_eq!(reopen(&disk, OPTIONS).1, *whole);
    }
}

#[test]
fn an_older_mark_tells_what_it_knows() {
    let disk = MemDisk::new();
    let (mut wal, _) = reopen(&disk, OPTIONS);
    let mut ends = Vec::new();
    for last in 1..=4 {
        write(&mut wal, &[append(1, 0, last - 1, last)]).unwrap();
        ends.push(end_of(&disk).1);
    }
    // The last mark is lost; the one before says that three batches were durable.
    disk.damage_mark(1, |bytes| bytes.fill(0));
    let last_after = |begin: usize| {
        let disk = disk.copy();
        disk.damage(1, |bytes| bytes[begin..].fill(0));
        open(&disk, OPTIONS).map(|(_, found)| found[&GroupId(1)].entries.len())
    };
    assert_eq!(last_after(ends[2]).unwrap(), 3, "the fourth is torn, as far as anybody knows");
    last_after(ends[1]).expect_err("the third is gone");
}

#[test]
fn a_report_says_where_what_and_why() {
    let disk = MemDisk::new();
    let (mut wal, _) = reopen(&disk, OPTIONS);
    write(&mut wal, &[hard_state(1, 1, None)]).unwrap();
    write(&mut wal, &[hard_state(1, 2, None), compact(1, 0, 0)]).unwrap();
    // Head: 128 + 16. The vote: 128, and its term at 48.
    disk.damage(1, |bytes| bytes[144 + 48] = 3);
    let message = || open(&disk, OPTIONS).map(|_| ()).unwrap_err().to_string();
    let because = "this is no torn tail, because the mark says that everything before offset 528 of \
         segment 0000000000000001 was durable";
    assert!(message().ends_with(because), "{}", message());
    (0..2).for_each(|slot| disk.damage_mark(slot, |bytes| bytes.fill(0)));
    assert_eq!(
        message(),
        "the log is corrupt: segment 0000000000000001 is damaged at offset 144: expected a header with the \
         checksum 318af25e that it says it has, found one with f67e9663; this is no torn tail, because \
         record 2 at offset 272 was written after everything before offset 272 was durable"
    );
}

#[test]
fn a_newer_format_is_not_cut() {
    let disk = MemDisk::new();
    let (mut wal, _) = reopen(&disk, OPTIONS);
    write(&mut wal, &[hard_state(1, 1, None)]).unwrap();
    disk.damage(1, |bytes| {
        bytes[4] = 4;
        let checksum = crc32fast::hash(&bytes[..124]);
        bytes[124..128].copy_from_slice(&checksum.to_le_bytes());
    });
    let message = open(&disk, OPTIONS).map(|_| ()).unwrap_err().to_string();
    assert!(message.contains("expected version 3, found version 4"), "{message}");
    // Nor is it thrown away, where only the pledge is of another version.
    let disk = MemDisk::new();
    let (mut wal, _) = reopen(&disk, OPTIONS);
    write(&mut wal, &[hard_state(1, 1, None)]).unwrap();
    for slot in PLEDGE_SLOTS {
        disk.damage_mark(slot, |bytes| {
            let Some(length) = bytes.get(8..12) else { return };
            let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
            bytes[12] = 2;
            let checksum = crc32fast::hash(&bytes[8..length]);
            bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
        });
    }
    let Err(OpenError::Corrupt(report)) = Wal::open(Box::new(disk), OPTIONS) else {
        panic!("a pledge of another version is read");
    };
    assert_eq!(report.found, "version 2", "{report}");
}

/// A log of which the last batch begins a segment that carries entries: how it was before, the bytes of that
/// segment, where its checkpoint ends, and what the groups are before and after.
struct Rolled {
    before: MemDisk,
    batches: Vec<Vec<Step>>,
    segment: u64,
    bytes: Vec<u8>,
    checkpoint: usize,
}

fn rolled() -> Rolled {
    let disk = MemDisk::new();
    let (mut wal, _) = reopen(&disk, OPTIONS);
    let mut batches =
        vec![vec![append(9, 1, 0, 20)], vec![append(7, 1, 0, 2), append(8, 1, 0, 99)]];
    batches.iter().for_each(|batch| write(&mut wal, batch).unwrap());
    for index in 1.. {
        let before = disk.copy();
        // Nothing that was promised, so that no pledge tells of it.
        let (group, record) = compact(8, 1, index);
        wal.append(group, &record);
        let rolls = wal.needs_room();
        wal.commit().unwrap();
        wal.mark();
        let (segment, bytes) = images(&disk).pop().expect("there is a segment");
        let is_carry = |at: &&usize| bytes[**at + 5] == 7;
        let records = records(&bytes);
        if let Some(last) = records.iter().rfind(is_carry).filter(|_| rolls) {
            let length = u32::from_le_bytes(bytes[last + 40..last + 44].try_into().unwrap());
            let checkpoint = last + 128 + (length as usize).next_multiple_of(8);
            (0..2).for_each(|slot| before.damage_mark(slot, |bytes| bytes.fill(0)));
            return Rolled { before, batches, segment, bytes, checkpoint };
        }
        batches.push(vec![(group, record)]);
    }
    unreachable!("entries are carried in the end")
}

fn is_true(disk: &MemDisk, model: &Model, batches: &[Vec<Step>]) -> Result<common::Known, String> {
    match Wal::open(Box::new(disk.copy()), OPTIONS).map_err(|error| error.to_string())? {
        Opened::Whole(_, found) if found == *model => Ok(common::Known::Whole),
        Opened::Whole(_, found) => Err(format!("a lie: {found:?}")),
        Opened::Damaged(damaged) => common::tells_truth(&damaged, model, &common::entries(batches)),
    }
}

#[test]
fn a_lost_batch_before_a_torn_segment_is_missed() {
    let Rolled { before, batches, segment, bytes, checkpoint } = rolled();
    let model = models(&batches).pop().unwrap();
    let (last, image) = images(&before).pop().unwrap();
    let lost = *records(&image).last().unwrap();
    assert_eq!(
        (last + 1, end_of_records(&image)),
        (segment, lost + 128),
        "the last batch has no body"
    );
    let mut told = BTreeSet::new();
    for cut in (0..checkpoint).step_by(8) {
        let disk = before.copy();
        let mut torn = bytes.clone();
        torn[cut..].fill(0);
        disk.insert(segment, torn);
        assert_eq!(is_true(&disk, &model, &batches), Ok(common::Known::Whole), "torn at {cut}");
        // The disk never wrote the batch that it said it had.
        disk.damage(last, |bytes| bytes[lost..].fill(0));
        // Nothing tells of it where the head is torn itself.
        if cut < 144 {
            continue;
        }
        let known = is_true(&disk, &model, &batches);
        told.insert(known.unwrap_or_else(|what| panic!("torn at {cut}: {what}")));
    }
    assert!(told.contains(&common::Known::Forgotten), "{told:?}: a state is torn as well");
    assert!(told.contains(&common::Known::Healthy), "{told:?}: all states are there");
}

#[test]
fn a_checkpoint_that_ends_too_early_is_followed_by_what_nobody_knows() {
    // The batch behind the checkpoint was acknowledged: the segments before are gone, and no pledge tells of it.
    let Rolled { before: mut pledged, segment, bytes, checkpoint, .. } = rolled();
    pledged.numbers().into_iter().for_each(|number| pledged.remove(number).unwrap());
    for end in records(&bytes).into_iter().filter(|at| (1..checkpoint).contains(at)) {
        let disk = pledged.copy();
        let mut left = bytes.clone();
        left[end..].fill(0);
        disk.insert(segment, left);
        let Ok(Opened::Damaged(damaged)) = Wal::open(Box::new(disk), OPTIONS) else {
            panic!("only {end} bytes of a checkpoint are there");
        };
        for (group, remembered) in &damaged.groups {
            let is_forgotten = matches!(remembered, Remembered::Forgotten(_));
            assert!(is_forgotten, "{end}: group {group} is said to be {remembered:?}");
        }
    }
}
