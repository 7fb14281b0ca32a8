//! Power cuts: at every call of the disk, at every byte that isn't durable, and in any order of sectors.

mod common;

use std::io;

use bytes::Bytes;
use common::filmed::{Filmed, film_with};
use common::{
    Model, SMALL, Step, append, apply, check_groups, entries, hard_state, healed, images,
    is_prefix, leftovers, models, open, reopen, unsynced, workload, write,
};
use quorate_raft::{Entry, EntryId, GroupId, Payload, Record, Recovered, Remembered, Term};
use quorate_wal::memory::SECTOR_BYTES;
use quorate_wal::{Call, Disk, Fate, Fault, MemDisk, Opened, Unsynced, Wal, WalOptions};

/// Writes the batches, and returns what a power cut would find at every moment of it.
fn film(batches: &[Vec<Step>]) -> Vec<(usize, MemDisk)> {
    film_with(batches, SMALL)
}

/// What a crashed disk holds must be all that was acknowledged, and of the batch under way some first
/// records.
fn find(
    crashed: &MemDisk,
    models: &[Model],
    batches: &[Vec<Step>],
    acknowledged: usize,
) -> (Wal, Model) {
    let (wal, found) = reopen(crashed, SMALL);
    let under_way = batches.get(acknowledged).map_or(&[][..], |batch| batch);
    assert!(
        is_prefix(&found, &models[acknowledged], under_way),
        "after {acknowledged} batches, found {found:#?}"
    );
    (wal, found)
}

/// The same, and the log must go on from there.
fn check(crashed: &MemDisk, models: &[Model], batches: &[Vec<Step>], acknowledged: usize) {
    let (mut wal, found) = find(crashed, models, batches, acknowledged);
    // What was told is durable at once: a second power cut takes nothing from it.
    let again = crashed.copy();
    again.crash(|_| Fate::Lost);
    assert_eq!(reopen(&again, SMALL).1, found);
    // And the log goes on.
    let step = hard_state(77, 1, Some(1));
    write(&mut wal, std::slice::from_ref(&step)).unwrap();
    crashed.crash(|_| Fate::Lost);
    let mut expected = found;
    apply(&mut expected, &step);
    assert_eq!(reopen(crashed, SMALL).1, expected);
}

#[test]
fn at_every_byte() {
    let batches = workload();
    let models = models(&batches);
    let mut cuts = 0;
    let mut kept_in_part = 0;
    for (acknowledged, disk) in film(&batches) {
        let sectors = unsynced(&disk)
            .into_iter()
            .filter(|what| matches!(what, Unsynced::Sector { .. }))
            .count();
        for cut in 0..=sectors * SECTOR_BYTES {
            // The bytes of sectors reach the disk in order, up to the cut; names and lengths did.
            let mut left = cut;
            let crashed = disk.copy();
            crashed.crash(|what| match what {
                Unsynced::Name { .. } | Unsynced::Length { .. } | Unsynced::Slots { .. } => {
                    Fate::Kept
                }
                Unsynced::Sector { .. } => {
                    let kept = left.min(SECTOR_BYTES);
                    left -= kept;
                    Fate::Torn(kept)
                }
                Unsynced::Mark { .. } if cut % 2 == 0 => Fate::Kept,
                Unsynced::Mark { .. } => Fate::Lost,
            });
            if cut % 64 == 17 {
                check(&crashed.copy(), &models, &batches, acknowledged);
            }
            let (_, found) = find(&crashed, &models, &batches, acknowledged);
            let after = models.get(acknowledged + 1);
            kept_in_part += usize::from(found != models[acknowledged] && Some(&found) != after);
            cuts += 1;
        }
    }
    assert!(cuts > 10_000, "only {cuts} cuts were tried");
    assert!(kept_in_part > 0, "no batch was ever kept in part");
}

#[test]
fn with_any_set_of_sectors_names_and_lengths_lost() {
    let batches = workload();
    let models = models(&batches);
    let mut most = 0;
    for (acknowledged, disk) in film(&batches) {
        let count = unsynced(&disk).len();
        assert!(count <= 12, "{count} are too many to try all sets");
        most = most.max(count);
        for kept in 0..1_u32 << count {
            let mut bit = 0;
            let crashed = disk.copy();
            crashed.crash(|_| {
                bit += 1;
                if kept >> (bit - 1) & 1 == 1 { Fate::Kept } else { Fate::Lost }
            });
            check(&crashed, &models, &batches, acknowledged);
        }
    }
    assert!(most >= 4, "the largest set has {most} members");
}

#[test]
fn in_the_midst_of_recovery() {
    let batches = workload();
    let models = models(&batches);
    for (acknowledged, disk) in film(&batches) {
        // Every second thing is lost, from the first or the second on.
        for parity in 0..2 {
            let mut number = parity;
            let crashed = disk.copy();
            crashed.crash(|_| {
                number += 1;
                if number % 2 == 0 { Fate::Kept } else { Fate::Lost }
            });
            let recovering = Filmed::on(crashed.copy());
            Wal::open_whole(Box::new(recovering.clone()), SMALL).unwrap();
            for (_, moment) in recovering.film() {
                for fate in [Fate::Lost, Fate::Kept, Fate::Torn(100)] {
                    let moment = moment.copy();
                    moment.crash(|_| fate);
                    check(&moment, &models, &batches, acknowledged);
                }
            }
        }
    }
}

#[test]
fn a_shorter_batch_does_not_bring_a_torn_one_back() {
    // The head of a long batch is lost, the rest of it is there, in the segment of the one before.
    let roomy = WalOptions { segment_bytes: 16 << 10, ..SMALL };
    let long: Vec<Step> = (1..=20).map(|term| hard_state(1, term, Some(term))).collect();
    let film = film_with(&[vec![hard_state(1, 1, None)], long], roomy);
    let (_, disk) = film
        .iter()
        .rfind(|(acknowledged, disk)| *acknowledged == 1 && sectors(disk) > 1)
        .expect("the long batch has several sectors");
    let mut first = true;
    disk.crash(|_| if std::mem::take(&mut first) { Fate::Lost } else { Fate::Kept });
    // A batch that ends where the sixth record of the long one began, which is in the second sector.
    let short: Vec<Step> = (1..=5).map(|term| hard_state(2, term, None)).collect();
    let (mut wal, found) = reopen(disk, roomy);
    let (_, before) = film
        .iter()
        .find(|(acknowledged, _)| *acknowledged == 1)
        .expect("the first batch was acknowledged");
    assert_eq!(used(disk), used(before), "behind the last record there are zeros");
    write(&mut wal, &short).unwrap();
    let mut expected = found;
    short.iter().for_each(|step| apply(&mut expected, step));
    assert_eq!(reopen(disk, roomy).1, expected);
}

/// How many sectors of segments are not durable.
fn sectors(disk: &MemDisk) -> usize {
    unsynced(disk).iter().filter(|what| matches!(what, Unsynced::Sector { .. })).count()
}

/// Up to where the first segment holds anything but zeros.
fn used(disk: &MemDisk) -> Option<usize> {
    let bytes = disk.copy().read(1, 1 << 20).expect("the first segment is there");
    bytes.iter().rposition(|byte| *byte != 0)
}

#[test]
fn what_a_lost_write_leaves_of_a_torn_batch_is_no_record() {
    // So short that the second one doesn't carry the first.
    let tight = WalOptions { segment_bytes: 900, ..SMALL };
    // A record that fills its sector to the end, behind the 272 bytes of the head and the first batch.
    let filling = |term| {
        let payload = Payload::Command(Bytes::from(vec![7; 104]));
        (GroupId(1), Record::Append(vec![Entry { id: EntryId::new(term, 1), payload }]))
    };
    let mut long = vec![filling(1)];
    long.extend((1..=3).map(|term| hard_state(1, 1 + term, Some(term))));
    let film = film_with(&[vec![hard_state(1, 1, None)], long], tight);
    let (_, disk) = film
        .iter()
        .rfind(|(acknowledged, disk)| *acknowledged == 1 && sectors(disk) > 1)
        .expect("the long batch has several sectors");
    let mut first = true;
    disk.crash(|_| if std::mem::take(&mut first) { Fate::Lost } else { Fate::Kept });
    // The batch is cut, and the disk loses the zeros that are written over the rest of it.
    disk.set_faults(|call| matches!(call, Call::Write { .. }).then_some(Fault::Lost));
    let (mut wal, found) = reopen(disk, tight);
    disk.clear_faults();
    let short = [filling(2)];
    write(&mut wal, &short).unwrap();
    let mut expected = found;
    short.iter().for_each(|step| apply(&mut expected, step));
    disk.crash(|_| Fate::Lost);
    let (_, bytes) = images(disk).pop().unwrap();
    assert!(bytes[512..].starts_with(b"QWAL"), "a record is left over where the next belongs");
    assert_eq!(reopen(&disk.copy(), tight).1, expected);
    // Were the segment finished like this, it would be damaged, and nothing in it lost.
    let step = append(3, 1, 0, 20);
    write(&mut wal, std::slice::from_ref(&step)).unwrap();
    apply(&mut expected, &step);
    assert_eq!(images(disk).len(), 2);
    let Opened::Damaged(damaged) = Wal::open(Box::new(disk.clone()), tight).unwrap() else {
        panic!("there are not only zeros behind the last record");
    };
    let whole = |(group, log): (&GroupId, &Recovered)| (*group, Remembered::Whole(log.clone()));
    assert_eq!(damaged.groups, expected.iter().map(whole).collect());
}

#[test]
fn a_torn_segment_that_was_removed_does_not_come_back() {
    let batches = [vec![hard_state(1, 1, None)], vec![append(1, 1, 0, 60)]];
    // The second batch begins a segment, of which the power cut leaves a name and nothing good.
    let (_, disk) = film(&batches)
        .into_iter()
        .rfind(|(_, disk)| {
            // Written and not synced.
            let is_written = |what: &_| matches!(what, Unsynced::Sector { segment: 2, .. });
            unsynced(disk).iter().any(is_written)
        })
        .expect("the second batch begins a segment");
    disk.crash(|what| match what {
        Unsynced::Name { .. }
        | Unsynced::Length { .. }
        | Unsynced::Mark { .. }
        | Unsynced::Slots { .. } => Fate::Kept,
        Unsynced::Sector { .. } => Fate::Torn(20),
    });
    assert_eq!(images(&disk).len(), 2);
    // Recovery goes back to the first segment, where the next batch is torn as well. Were the second
    // there again, it would testify that the first was complete, and the tear were damage.
    let filmed = Filmed::on(disk);
    let (mut wal, found) = Wal::open_whole(Box::new(filmed.clone()), SMALL).unwrap();
    assert_eq!(images(&filmed.disk).len(), 1);
    filmed.film.lock().unwrap().clear();
    write(&mut wal, &[hard_state(1, 2, None), hard_state(1, 3, None)]).unwrap();
    let film = filmed.film.lock().unwrap().clone();
    let (_, disk) = film.iter().rfind(|(_, disk)| sectors(disk) > 0).expect("the batch is synced");
    disk.crash(|what| match what {
        Unsynced::Name { .. }
        | Unsynced::Length { .. }
        | Unsynced::Mark { .. }
        | Unsynced::Slots { .. } => Fate::Lost,
        Unsynced::Sector { .. } => Fate::Torn(180),
    });
    assert_eq!(reopen(disk, SMALL).1, found);
}

#[test]
fn a_pledge_that_only_the_cache_has_does_not_cost_the_one_before() {
    let batches = [vec![hard_state(1, 1, Some(1))], vec![hard_state(1, 2, Some(2))]];
    let disk = MemDisk::new();
    let (mut wal, _) = reopen(&disk, SMALL);
    write(&mut wal, &batches[0]).unwrap();
    disk.set_faults(|call| {
        matches!(call, Call::SyncPledge).then_some(Fault::Fails(io::ErrorKind::Other))
    });
    write(&mut wal, &batches[1]).unwrap_err();
    disk.clear_faults();
    // Only the process ends. The next one reads what no disk has, and loses its power.
    let filmed = Filmed::on(disk);
    Wal::open_whole(Box::new(filmed.clone()), SMALL).unwrap();
    let mut count = 0;
    for (_, moment) in filmed.film() {
        for left in leftovers(&moment) {
            let (_, found) = reopen(&left, SMALL);
            assert!(found[&GroupId(1)].hard_state.term >= Term(1), "{found:?}");
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}

#[test]
fn without_the_sync_the_sweep_would_notice() {
    // The detector, detected: a disk that only says that it syncs.
    #[derive(Debug)]
    struct Liar(MemDisk);
    impl Disk for Liar {
        fn segments(&mut self) -> io::Result<Vec<u64>> {
            self.0.segments()
        }
        fn create(&mut self, segment: u64, bytes: u64) -> io::Result<()> {
            self.0.create(segment, bytes)
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
        fn write(&mut self, segment: u64, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.0.write(segment, offset, bytes)
        }
        fn sync_segment(&mut self, _: u64) -> io::Result<()> {
            Ok(())
        }
        fn sync_directory(&mut self) -> io::Result<()> {
            self.0.sync_directory()
        }
        fn remove(&mut self, segment: u64) -> io::Result<()> {
            self.0.remove(segment)
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
    let disk = MemDisk::new();
    let (mut wal, _) = Wal::open_whole(Box::new(Liar(disk.clone())), SMALL).unwrap();
    write(&mut wal, &[hard_state(1, 1, Some(1))]).unwrap();
    disk.crash(|_| Fate::Lost);
    assert!(open(&disk, SMALL).unwrap().1.is_empty(), "the vote is gone");
}

/// Batches of a few blocks, with carried groups and several segments.
const LARGE: WalOptions = WalOptions { segment_bytes: 24 << 10, record_bytes_max: 4096 };

fn large_workload() -> Vec<Vec<Step>> {
    let mut batches = vec![vec![hard_state(9, 1, None), append(9, 1, 0, 20)]];
    for round in 0..6 {
        let last = 60 * round;
        batches.push(vec![append(1, round + 1, last, last + 60), hard_state(2, round, None)]);
        batches.push(vec![
            append(2, 1, 3 * round, 3 * round + 3),
            append(1, round + 1, last + 50, last + 60),
        ]);
        batches.push(vec![common::compact(1, round + 1, last + 55)]);
    }
    batches
}

#[test]
fn with_each_sector_and_block_of_large_batches_lost_kept_or_torn() {
    let batches = large_workload();
    let models = models(&batches);
    let mut count = 0;
    for (acknowledged, disk) in film_with(&batches, LARGE) {
        let under_way = batches.get(acknowledged).map_or(&[][..], |batch| batch);
        for left in leftovers(&disk) {
            let (_, found) = reopen(&left, LARGE);
            let what = format!("after {acknowledged} batches");
            assert!(is_prefix(&found, &models[acknowledged], under_way), "{what}: {found:#?}");
            // What was told is durable at once.
            left.crash(|_| Fate::Lost);
            assert_eq!(reopen(&left, LARGE).1, found, "{what}");
            count += 1;
        }
    }
    assert!(count > 1_000, "{count}");
}

#[test]
fn in_the_midst_of_healing() {
    let batches = workload();
    let model = models(&batches).pop().unwrap();
    let once = entries(&batches);
    let disk = MemDisk::new();
    let (mut wal, _) = reopen(&disk, SMALL);
    batches.iter().for_each(|batch| write(&mut wal, batch).unwrap());
    disk.write_back_marks();
    let (mut before, mut after) = (0, 0);
    for (segment, bytes) in images(&disk) {
        for begin in (0..bytes.len()).step_by(2 * SECTOR_BYTES) {
            let disk = disk.copy();
            disk.damage(segment, |bytes| {
                let end = (begin + SECTOR_BYTES).min(bytes.len());
                bytes[begin..end].fill(0);
            });
            let filmed = Filmed::on(disk);
            let Opened::Damaged(damaged) = Wal::open(Box::new(filmed.clone()), SMALL).unwrap()
            else {
                continue;
            };
            let known = damaged.groups.clone();
            damaged.heal(healed(&model)).unwrap();
            for (_, moment) in filmed.film() {
                for left in leftovers(&moment) {
                    match Wal::open(Box::new(left.clone()), SMALL).unwrap() {
                        Opened::Whole(_, found) => {
                            assert_eq!(found, model);
                            after += 1;
                        }
                        Opened::Damaged(damaged) => {
                            check_groups(&damaged, &model, &once, "healing was interrupted");
                            assert_eq!(damaged.groups, known, "what was known is forgotten");
                            damaged.heal(healed(&model)).unwrap();
                            assert_eq!(reopen(&left, SMALL).1, model);
                            before += 1;
                        }
                    }
                }
            }
        }
    }
    assert!(before > 100 && after > 100, "{before} before it was done, {after} after");
}
