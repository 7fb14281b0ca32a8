//! Calls that fail: nothing is acknowledged after, nothing is tried again, and nothing that was
//! acknowledged is lost.

mod common;

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::Ordering;

use common::{Call, Failing, SMALL, is_prefix, models, reopen, workload, write};
use quorate_wal::{Fate, MemDisk, Wal, WalError};

#[test]
fn every_call_may_fail_once() {
    let batches = workload();
    let models = models(&batches);
    let mut failed = Vec::new();
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::Other] {
        for fail_at in 0.. {
            let disk = Failing::new(MemDisk::new(), fail_at, kind);
            let acknowledged = run_until_failure(&disk, &batches);
            if disk.asked.load(Ordering::Relaxed) <= fail_at {
                assert_eq!(acknowledged, None);
                break;
            }
            // The mark may fail: it is a loss of caution, not of data.
            let Some(acknowledged) = acknowledged else { continue };
            failed.extend(disk.calls.lock().unwrap().last().copied());
            let batch = &batches[acknowledged];
            // The machine loses its power.
            let cut = disk.disk.copy();
            cut.crash(|_| Fate::Lost);
            let (_, found) = reopen(&cut, SMALL);
            assert!(is_prefix(&found, &models[acknowledged], batch), "call {fail_at}: {found:#?}");
            // Only the process ends, and the machine loses its power after the restart. What the restart
            // told is durable, though a failed sync left its pages clean and unwritten.
            let (_, told) = reopen(&disk.disk, SMALL);
            assert!(is_prefix(&told, &models[acknowledged], batch), "call {fail_at}: {told:#?}");
            disk.disk.crash(|_| Fate::Lost);
            assert_eq!(reopen(&disk.disk, SMALL).1, told, "call {fail_at}");
        }
    }
    use Call::{Create, Remove, SyncDirectory, SyncPledge, SyncSegment, Write, WriteMark};
    for call in [Create, Write, SyncSegment, SyncDirectory, Remove, WriteMark, SyncPledge] {
        assert!(failed.contains(&call), "{call:?} never failed");
    }
}

/// Writes the batches until one fails, and returns how many didn't; `None` if all are written.
fn run_until_failure(disk: &Failing, batches: &[Vec<common::Step>]) -> Option<usize> {
    let Ok((mut wal, _)) = Wal::open_whole(Box::new(disk.clone()), SMALL) else { return Some(0) };
    for (acknowledged, batch) in batches.iter().enumerate() {
        let Err(error) = write(&mut wal, batch) else { continue };
        assert!(matches!(error, WalError::Io { .. }), "{error}");
        let asked = disk.asked.load(Ordering::Relaxed);
        for _ in 0..3 {
            let again = write(&mut wal, batch);
            assert!(matches!(again, Err(WalError::Poisoned)), "{again:?}");
        }
        assert_eq!(disk.asked.load(Ordering::Relaxed), asked, "nothing is tried after a failure");
        return Some(acknowledged);
    }
    None
}

#[test]
fn every_call_of_an_opening_may_fail() {
    let batches = workload();
    let models = models(&batches);
    let disk = MemDisk::new();
    let (mut wal, _) = reopen(&disk, SMALL);
    batches.iter().for_each(|batch| write(&mut wal, batch).unwrap());
    let mut failed = BTreeSet::new();
    for fail_at in 0.. {
        let failing = Failing::new(disk.copy(), fail_at, io::ErrorKind::Other);
        let opened = Wal::open_whole(Box::new(failing.clone()), SMALL);
        failed.insert(format!("{:?}", failing.calls.lock().unwrap().last().unwrap()));
        if let Ok((_, found)) = opened {
            assert_eq!(found, *models.last().unwrap());
            if failing.asked.load(Ordering::Relaxed) <= fail_at {
                break;
            }
        }
        failing.disk.crash(|_| Fate::Lost);
        assert_eq!(reopen(&failing.disk, SMALL).1, *models.last().unwrap());
    }
    assert!(failed.len() >= 5, "{failed:?}");
}
