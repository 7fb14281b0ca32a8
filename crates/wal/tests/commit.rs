//! What a commit does, seen from outside.

mod common;

use std::io;

use common::{Call, Failing, SMALL, append, compact, hard_state, models, reopen, workload, write};
use quorate_wal::{MemDisk, Wal, WalOptions};

#[test]
fn whatever_is_committed_is_found_by_every_later_opening() {
    let batches = workload();
    let models = models(&batches);
    let disk = MemDisk::new();
    let (mut wal, found) = reopen(&disk, SMALL);
    assert!(found.is_empty());
    for (batch, model) in batches.iter().zip(&models[1..]) {
        write(&mut wal, batch).unwrap();
        assert_eq!(reopen(&disk.copy(), SMALL).1, *model);
    }
    assert!(wal.stats().rolls >= 2, "the workload begins several segments");
}

#[test]
fn a_log_may_be_opened_and_continued_after_each_batch() {
    let batches = workload();
    let disk = MemDisk::new();
    for (batch, model) in batches.iter().zip(models(&batches)) {
        let (mut wal, found) = reopen(&disk, SMALL);
        assert_eq!(found, model);
        write(&mut wal, batch).unwrap();
    }
}

#[test]
fn a_commit_syncs_once_for_all_groups() {
    let disk = MemDisk::new();
    let (mut wal, _) = reopen(&disk, SMALL);
    for (done, batch) in workload().iter().enumerate() {
        assert_eq!(disk.syncs(), done as u64);
        for (group, record) in batch {
            wal.append(*group, record);
        }
        assert_eq!(disk.syncs(), done as u64, "appending does no I/O");
        wal.commit().unwrap();
        assert_eq!(disk.syncs(), done as u64 + 1);
    }
    let syncs = disk.syncs();
    wal.commit().unwrap();
    assert_eq!(disk.syncs(), syncs, "there was nothing to make durable");
    assert_eq!(wal.stats().syncs, syncs);
    let rolls = wal.stats().rolls;
    assert_eq!(disk.directory_syncs(), 1 + rolls, "one for the pledge, and one for each segment");
}

#[test]
fn a_segment_is_created_written_synced_and_named_in_this_order() {
    let disk = Failing::new(MemDisk::new(), u64::MAX, io::ErrorKind::Other);
    let (mut wal, _) = Wal::open_whole(Box::new(disk.clone()), SMALL).unwrap();
    disk.calls.lock().unwrap().clear();
    write(&mut wal, &[hard_state(1, 1, None)]).unwrap();
    use Call::{Create, SyncDirectory, SyncPledge, SyncSegment, Write, WriteMark};
    let first = disk.calls.lock().unwrap().split_off(0);
    let begun = [Create, Write, Write, SyncSegment, SyncDirectory];
    let pledged = [WriteMark, WriteMark, SyncPledge];
    let promises_nothing = [&pledged[..], &[SyncDirectory]].concat();
    assert_eq!(first, [&promises_nothing[..], &begun, &pledged, &[WriteMark]].concat());
    write(&mut wal, &[append(1, 1, 0, 1)]).unwrap();
    let second = disk.calls.lock().unwrap().split_off(0);
    assert_eq!(second, [Write, SyncSegment, WriteMark], "entries are no promise");
    write(&mut wal, &[hard_state(1, 2, None)]).unwrap();
    let third = disk.calls.lock().unwrap().split_off(0);
    assert_eq!(third, [&[Write, SyncSegment], &pledged[..], &[WriteMark]].concat());
}

#[test]
fn a_batch_larger_than_a_segment_gets_a_larger_one() {
    let disk = MemDisk::new();
    let (mut wal, _) = reopen(&disk, SMALL);
    let batches = [vec![append(1, 1, 0, 200)], vec![append(1, 1, 200, 202)]];
    for batch in &batches {
        write(&mut wal, batch).unwrap();
    }
    assert_eq!(reopen(&disk, SMALL).1, models(&batches)[2]);
}

#[test]
#[should_panic(expected = "can't follow those before it")]
fn a_gap_is_refused() {
    let (mut wal, _) = reopen(&MemDisk::new(), SMALL);
    let _ = write(&mut wal, &[append(1, 1, 1, 2)]);
}

#[test]
#[should_panic(expected = "can't follow those before it")]
fn a_second_vote_in_a_term_is_refused() {
    let (mut wal, _) = reopen(&MemDisk::new(), SMALL);
    let _ = write(&mut wal, &[hard_state(1, 1, Some(1)), hard_state(1, 1, Some(2))]);
}

#[test]
#[should_panic(expected = "is the limit")]
fn an_entry_beyond_the_limit_is_refused() {
    let options = WalOptions { record_bytes_max: 40, ..SMALL };
    let (mut wal, _) = reopen(&MemDisk::new(), options);
    let _ = write(&mut wal, &[append(1, 1, 0, 3)]);
}

#[test]
fn more_groups_than_can_promise_are_refused_before_anything_is_written() {
    let options = WalOptions { segment_bytes: 8 << 20, record_bytes_max: 1024 };
    let disk = MemDisk::new();
    let (mut wal, _) = reopen(&disk, options);
    let most = Wal::GROUPS_MAX as u64;
    let steps: Vec<_> = (0..most).map(|group| hard_state(group, 1, None)).collect();
    write(&mut wal, &steps).unwrap();
    let one_more = std::panic::AssertUnwindSafe(|| write(&mut wal, &[hard_state(most, 1, None)]));
    std::panic::catch_unwind(one_more).expect_err("there is no room for its promise");
    assert_eq!(reopen(&disk, options).1, models(&[steps])[1]);
}

#[test]
fn segments_go_as_groups_compact() {
    let disk = MemDisk::new();
    let (mut wal, _) = reopen(&disk, SMALL);
    for last in 1..400 {
        write(&mut wal, &[append(1, 1, last - 1, last), compact(1, 1, 1.max(last - 1))]).unwrap();
    }
    assert!(wal.stats().rolls > 10);
    assert!(wal.stats().segments <= 2, "{:?}", wal.stats());
}

#[test]
fn a_group_that_never_writes_again_keeps_no_segment() {
    let disk = MemDisk::new();
    let (mut wal, _) = reopen(&disk, SMALL);
    // 1.5 segments of entries that stay.
    let mut batches = vec![vec![hard_state(9, 7, Some(7)), append(9, 7, 0, 40)]];
    for last in 1..600 {
        batches.push(vec![append(1, 1, last - 1, last), compact(1, 1, 1.max(last - 1))]);
    }
    for batch in &batches {
        write(&mut wal, batch).unwrap();
    }
    let stats = wal.stats();
    assert!(stats.rolls > 30, "{stats:?}");
    assert!(stats.bytes < 4 * stats.live_bytes + 4 * SMALL.segment_bytes, "{stats:?}");
    assert_eq!(reopen(&disk, SMALL).1, *models(&batches).last().unwrap());
}

#[test]
fn ten_thousand_groups_share_a_log() {
    let disk = MemDisk::new();
    let options = WalOptions { segment_bytes: 1 << 20, record_bytes_max: 1 << 16 };
    let (mut wal, _) = reopen(&disk, options);
    let batches: Vec<Vec<_>> = (0..5)
        .map(|round| {
            let step =
                |group| [hard_state(group, round + 1, None), append(group, 1, round, round + 1)];
            (0..10_000).flat_map(step).collect()
        })
        .collect();
    for batch in &batches {
        write(&mut wal, batch).unwrap();
    }
    assert_eq!(disk.syncs(), 5);
    assert_eq!(reopen(&disk, options).1, models(&batches)[5]);
}
