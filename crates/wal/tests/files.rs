//! The log on a real file system.

mod common;

use std::fs;
use std::io;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};

use common::{SMALL, hard_state, models, workload, write};
use quorate_wal::{Disk, FileDisk, MemDisk, OpenError, Opened, Wal, WalOptions};

fn file_disk(path: &std::path::Path) -> Box<FileDisk> {
    Box::new(FileDisk::open(path).unwrap())
}

#[test]
fn a_log_in_files_is_the_log_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a/b");
    let memory = MemDisk::new();
    let (mut mirror, _) = common::reopen(&memory, SMALL);
    let batches = workload();
    for (batch, model) in batches.iter().zip(models(&batches)) {
        let (mut wal, found) = Wal::open_whole(file_disk(&path), SMALL).unwrap();
        assert_eq!(found, model);
        write(&mut wal, batch).unwrap();
        write(&mut mirror, batch).unwrap();
    }
    let mut files = FileDisk::open(&path).unwrap();
    for (segment, bytes) in common::images(&memory) {
        assert!(files.read(segment, u64::MAX).unwrap() == bytes, "segment {segment} differs");
    }
    let mut memory = memory;
    assert_eq!(files.segments().unwrap(), memory.segments().unwrap());
}

#[test]
fn a_second_process_is_kept_out() {
    let directory = tempfile::tempdir().unwrap();
    let first = FileDisk::open(directory.path()).unwrap();
    let second = FileDisk::open(directory.path()).unwrap_err();
    assert_eq!(second.kind(), io::ErrorKind::WouldBlock);
    assert!(second.to_string().contains("in use by another process"), "{second}");
    drop(first);
    FileDisk::open(directory.path()).unwrap();
}

#[test]
fn a_segment_has_its_space_from_the_begin() {
    use std::os::unix::fs::MetadataExt as _;
    let directory = tempfile::tempdir().unwrap();
    let options = WalOptions { segment_bytes: 1 << 20, ..SMALL };
    let (mut wal, _) = Wal::open_whole(file_disk(directory.path()), options).unwrap();
    write(&mut wal, &[hard_state(1, 1, None)]).unwrap();
    let metadata = fs::metadata(directory.path().join("0000000000000001.wal")).unwrap();
    assert_eq!(metadata.len(), 1 << 20);
    assert!(metadata.blocks() * 512 >= 1 << 20, "{} blocks", metadata.blocks());
    assert_eq!(wal.stats().bytes, 1 << 20);
}

#[test]
fn other_files_are_let_be() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["README", "1.wal", "000000000000000A.wal", "0000000000000001.wal.old"] {
        fs::write(directory.path().join(name), "mine").unwrap();
    }
    let mut disk = FileDisk::open(directory.path()).unwrap();
    assert_eq!(disk.segments().unwrap(), []);
    let (mut wal, _) = Wal::open_whole(Box::new(disk), SMALL).unwrap();
    workload().iter().for_each(|batch| write(&mut wal, batch).unwrap());
    assert_eq!(fs::read(directory.path().join("1.wal")).unwrap(), b"mine");
}

#[test]
fn a_file_that_is_no_segment_is_refused_unread() {
    let directory = tempfile::tempdir().unwrap();
    // 4 TiB are easily had, as long as they are a hole.
    let file = fs::File::create(directory.path().join("0000000000000001.wal")).unwrap();
    file.set_len(1 << 42).unwrap();
    let error = Wal::open_whole(file_disk(directory.path()), SMALL).map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
    assert!(error.to_string().contains("more than 1073741824 bytes"), "{error}");
}

#[test]
fn files_are_scrubbed_marked_and_healed() {
    let directory = tempfile::tempdir().unwrap();
    let batches = workload();
    let model = models(&batches).pop().unwrap();
    let flip = |segment: u64, at: u64| {
        let path = directory.path().join(format!("{segment:016x}.wal"));
        let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    };
    let round = |wal: &mut Wal| {
        let mut damaged = 0;
        loop {
            let scrubbed = wal.scrub(1 << 16).unwrap();
            damaged += usize::from(scrubbed.damage.is_some());
            if scrubbed.is_round {
                return damaged;
            }
        }
    };
    let (mut wal, _) = Wal::open_whole(file_disk(directory.path()), SMALL).unwrap();
    batches.iter().for_each(|batch| write(&mut wal, batch).unwrap());
    assert_eq!(round(&mut wal), 0);
    let last = || FileDisk::segments(&mut FileDisk::open(directory.path()).unwrap()).unwrap();
    // A running log heals itself.
    let segment = wal.stats().rolls;
    flip(segment, 200);
    assert_eq!(round(&mut wal), 1);
    assert_eq!(round(&mut wal), 0);
    assert_eq!(wal.stats().marks_failed, 0);
    drop(wal);
    // The last record of one that doesn't run is damaged; the mark tells.
    let segment = *last().last().unwrap();
    let path = directory.path().join(format!("{segment:016x}.wal"));
    let used = fs::read(path).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
    flip(segment, used as u64);
    let Opened::Damaged(damaged) = Wal::open(file_disk(directory.path()), SMALL).unwrap() else {
        panic!("the last record was cut");
    };
    damaged.heal(common::healed(&model)).unwrap();
    let (_, found) = Wal::open_whole(file_disk(directory.path()), SMALL).unwrap();
    assert_eq!(found, model);
    // So it does when there is no segment left.
    for segment in last() {
        fs::remove_file(directory.path().join(format!("{segment:016x}.wal"))).unwrap();
    }
    let Opened::Damaged(damaged) = Wal::open(file_disk(directory.path()), SMALL).unwrap() else {
        panic!("a log that is gone is taken for a new one");
    };
    damaged.heal(common::healed(&model)).unwrap();
    let (_, found) = Wal::open_whole(file_disk(directory.path()), SMALL).unwrap();
    assert_eq!(found, model);
}

#[test]
fn a_new_directory_is_its_owners_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (above, below) = (directory.path().join("data"), directory.path().join("data/wal"));
    drop(FileDisk::open(&below).unwrap());
    for made in [above, below] {
        let mode = fs::metadata(&made).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{}", made.display());
    }
}

#[test]
fn a_directory_that_cannot_be_made_is_reported() {
    let file = tempfile::NamedTempFile::new().unwrap();
    FileDisk::open(file.path().join("wal")).unwrap_err();
}
