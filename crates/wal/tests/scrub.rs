//! Reading what nobody asks for: everything is read, what is damaged is found and healed, and the rest is let
//! be.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::{
    Model, append, apply, hard_state, images, leftovers, models, reopen, workload, write,
};
use quorate_wal::memory::SECTOR_BYTES;
use quorate_wal::{
    Call, Disk, Fate, Fault, MemDisk, PLEDGE_SLOTS, Scrubbed, Wal, WalError, WalOptions,
};

const OPTIONS: WalOptions = WalOptions { segment_bytes: 4096, record_bytes_max: 8192 };
/// What is read at once. It divides neither headers nor bodies.
const PIECE_BYTES: usize = 4099;

/// A running log of several segments, with a record that is longer than what is read at once.
fn log() -> (MemDisk, Wal, Model) {
    let mut batches = workload();
    batches.insert(0, vec![append(9, 1, 0, 100)]);
    batches.push(vec![hard_state(8, 1, None)]);
    let disk = MemDisk::new();
    let (mut wal, _) = reopen(&disk, OPTIONS);
    batches.iter().for_each(|batch| write(&mut wal, batch).unwrap());
    assert!(images(&disk).len() > 2);
    (disk, wal, models(&batches).pop().unwrap())
}

/// A whole round, piece by piece.
fn round(wal: &mut Wal) -> Vec<Scrubbed> {
    let mut pieces = Vec::new();
    for _ in 0..1_000 {
        pieces.push(wal.scrub(PIECE_BYTES).unwrap());
        if pieces.last().unwrap().is_round {
            return pieces;
        }
    }
    panic!("no round ends in a thousand pieces");
}

#[test]
fn a_sound_log_is_read_from_its_begin_to_its_end() {
    let (disk, mut wal, model) = log();
    let before = images(&disk);
    let longest = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&longest);
    disk.set_faults(move |call| {
        if let Call::ReadPart { bytes, .. } = call {
            seen.fetch_max(bytes, Ordering::Relaxed);
        }
        None
    });
    for _ in 0..3 {
        let pieces = round(&mut wal);
        assert!(pieces.iter().all(|piece| piece.damage.is_none() && !piece.is_mark_damaged));
        let read: u64 = pieces.iter().map(|piece| piece.bytes).sum();
        let (last, others) = before.split_last().unwrap();
        let all = others.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        assert!(read > all as u64 && read < (all + last.1.len()) as u64, "{read} bytes of {all}");
    }
    assert!(longest.load(Ordering::Relaxed) <= PIECE_BYTES, "memory is bounded");
    assert!(images(&disk) == before);
    assert_eq!(reopen(&disk, OPTIONS).1, model);
}

#[test]
fn a_log_may_grow_and_shrink_while_it_is_read() {
    let (disk, mut wal, mut model) = log();
    let mut rounds = 0;
    for last in 0..300 {
        let batch = [append(20, 1, last, last + 1), common::compact(20, 1, last.max(1))];
        write(&mut wal, &batch).unwrap();
        batch.iter().for_each(|step| apply(&mut model, step));
        let scrubbed = wal.scrub(PIECE_BYTES).unwrap();
        assert_eq!(scrubbed.damage, None);
        rounds += usize::from(scrubbed.is_round);
    }
    assert!(rounds > 10 && wal.stats().rolls > 10, "{rounds} rounds, {:?}", wal.stats());
    assert_eq!(reopen(&disk, OPTIONS).1, model);
}

#[test]
fn every_damaged_sector_is_found_and_healed() {
    let (sound, _, _) = log();
    let end = images(&sound).last().map(|(segment, _)| *segment).unwrap();
    let mut found = 0;
    for (segment, bytes) in images(&sound) {
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        for begin in (0..bytes.len()).step_by(SECTOR_BYTES) {
            for is_zeroed in [true, false] {
                let (disk, mut wal, mut model) = log();
                let sector = begin..(begin + SECTOR_BYTES).min(bytes.len());
                disk.damage(segment, |bytes| {
                    bytes[sector.clone()].iter_mut().for_each(|byte| {
                        *byte = if is_zeroed { 0 } else { *byte ^ 0x5a };
                    });
                });
                let nothing = is_zeroed && bytes[sector.clone()].iter().all(|byte| *byte == 0)
                    || segment == end && begin >= used;
                let what = format!("segment {segment}, sector at {begin}, zeroed: {is_zeroed}");
                let reports: Vec<_> =
                    round(&mut wal).into_iter().filter_map(|piece| piece.damage).collect();
                assert_eq!(reports.len(), usize::from(!nothing), "{what}: {reports:?}");
                found += reports.len();
                // From here on it is whole, and goes on.
                assert!(round(&mut wal).iter().all(|piece| piece.damage.is_none()), "{what}");
                let step = hard_state(77, 1, Some(1));
                write(&mut wal, std::slice::from_ref(&step)).unwrap();
                apply(&mut model, &step);
                disk.crash(|_| Fate::Lost);
                assert_eq!(reopen(&disk, OPTIONS).1, model, "{what}");
            }
        }
    }
    assert!(found > 40, "{found}");
}

#[test]
fn what_cannot_be_read_and_what_is_gone_is_healed_too() {
    for segment in images(&log().0).into_iter().map(|(segment, _)| segment) {
        let (disk, mut wal, model) = log();
        disk.set_faults(move |call| match call {
            Call::ReadPart { segment: read, .. } if read == segment => {
                Some(Fault::Fails(std::io::ErrorKind::Other))
            }
            _ => None,
        });
        let reports: Vec<_> = round(&mut wal).into_iter().filter_map(|p| p.damage).collect();
        assert_eq!(reports.len(), 1, "{reports:?}");
        assert_eq!(reports[0].segment, segment);
        assert!(images(&disk).iter().all(|(left, _)| *left > segment), "it is not needed any more");
        disk.clear_faults();
        assert_eq!(reopen(&disk, OPTIONS).1, model);
    }
}

#[test]
fn a_damaged_mark_is_written_anew() {
    let (disk, mut wal, _) = log();
    for slot in 0..2 {
        disk.damage_mark(slot, |bytes| bytes.fill(0xa5));
    }
    assert!(round(&mut wal).pop().unwrap().is_mark_damaged);
    assert!(!round(&mut wal).pop().unwrap().is_mark_damaged);
    // It tells what it should: the end of the log is missed.
    let (last, _) = images(&disk).pop().unwrap();
    disk.damage(last, |bytes| bytes.fill(0));
    Wal::open_whole(Box::new(disk), OPTIONS).unwrap_err();
}

#[test]
fn a_damaged_copy_of_the_pledge_is_written_anew() {
    for slot in PLEDGE_SLOTS {
        let (disk, mut wal, model) = log();
        let numbers = |disk: &MemDisk| {
            let read = |slot| disk.clone().read_mark(slot).unwrap();
            PLEDGE_SLOTS.map(|slot| read(slot)[16]).collect::<Vec<_>>()
        };
        let before = numbers(&disk);
        let is_last = before[slot - PLEDGE_SLOTS.start] == *before.iter().max().unwrap();
        disk.damage_mark(slot, |bytes| bytes[17] ^= 1);
        assert_eq!(round(&mut wal).pop().unwrap().is_mark_damaged, is_last, "slot {slot}");
        assert!(!round(&mut wal).pop().unwrap().is_mark_damaged);
        // The one before was overwritten, durably, and never the one that was damaged.
        assert_ne!((before != numbers(&disk)), !is_last);
        disk.crash(|_| Fate::Lost);
        assert_eq!(reopen(&disk, OPTIONS).1, model);
    }
}

#[test]
fn healing_may_be_interrupted_at_any_call() {
    let (sound, _, model) = log();
    let segments: Vec<u64> = images(&sound).into_iter().map(|(segment, _)| segment).collect();
    let mut moments = 0;
    for segment in segments {
        let (disk, mut wal, _) = log();
        disk.write_back_marks();
        // Durable and sound until the process ends: a crash leaves the damage, or the healed log.
        let film = Arc::new(Mutex::new(Vec::new()));
        let (camera, handle) = (Arc::clone(&film), disk.clone());
        disk.set_faults(move |call| {
            if !matches!(call, Call::ReadPart { .. } | Call::ReadMark { .. }) {
                camera.lock().unwrap().push(handle.copy());
            }
            None
        });
        disk.damage(segment, |bytes| bytes[10] ^= 1);
        assert_eq!(round(&mut wal).into_iter().filter(|piece| piece.damage.is_some()).count(), 1);
        disk.clear_faults();
        for moment in film.lock().unwrap().iter() {
            for moment in leftovers(moment) {
                let opened = Wal::open(Box::new(moment.clone()), OPTIONS).unwrap();
                match opened {
                    quorate_wal::Opened::Whole(_, found) => assert_eq!(found, model),
                    quorate_wal::Opened::Damaged(damaged) => {
                        let groups = model.iter().map(|(id, log)| (*id, log.clone().into()));
                        damaged.heal(groups.collect()).unwrap();
                        assert_eq!(reopen(&moment, OPTIONS).1, model);
                    }
                }
                moments += 1;
            }
        }
    }
    assert!(moments > 300, "{moments}");
}

#[test]
fn a_log_that_cannot_heal_itself_fails() {
    let (disk, mut wal, _) = log();
    disk.set_faults(|call| match call {
        Call::Create { .. } => Some(Fault::Fails(std::io::ErrorKind::StorageFull)),
        _ => None,
    });
    let (first, _) = images(&disk)[0].clone();
    disk.damage(first, |bytes| bytes[10] ^= 1);
    assert!(matches!(wal.scrub(PIECE_BYTES), Err(WalError::Io { .. })));
    assert!(matches!(wal.scrub(PIECE_BYTES), Err(WalError::Poisoned)));
}
