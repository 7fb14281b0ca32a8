//! A mirror has what the store has, and whatever is done to it leaves the store as it is.

use quorate_mvcc::engine::{Engine, EngineError, Reader, Table};
use quorate_raft::EntryId;
use quorate_store::{DiskEngine, Mirrored, Options};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

const OPTIONS: Options =
    Options { memtable_bytes: 1 << 20, memtables_max: 2, cache_bytes: 1 << 20 };

fn write(engine: &mut DiskEngine, indexes: std::ops::RangeInclusive<u64>) {
    for index in indexes {
        for number in 0..25 {
            let key = format!("key{:03}", (number * 7 + index * 11) % 100);
            engine.put(Table::Key, key.as_bytes(), &[index as u8; 40]).expect("written");
        }
        engine.commit(EntryId::new(2, index)).expect("committed");
        engine.flush().expect("flushed");
    }
}

/// All files below a directory, with what is in them.
fn content(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all.extend(content(&path));
        } else {
            all.insert(path.clone(), fs::read(&path).expect("read"));
        }
    }
    all
}

#[test]
fn a_mirror_is_written_to_and_the_store_stays_as_it_is() {
    let dir = TempDir::new().expect("a directory");
    let (store, mirror) = (dir.path().join("store"), dir.path().join("mirror"));
    let mut engine = DiskEngine::open(&store, OPTIONS).expect("a new store");
    write(&mut engine, 1..=3);
    drop(engine);
    let before = content(&store);

    let mirrored = Mirrored::new(&store, &mirror).expect("mirrored");
    let mut other = DiskEngine::open(&mirror, OPTIONS).expect("the mirror is a store");
    assert_eq!(other.applied(), EntryId::new(2, 3));
    assert_eq!(other.get(Table::Key, b"key033").expect("read").as_deref(), Some(&[3; 40][..]));
    // Enough for merges, which remove what the store has.
    write(&mut other, 4..=12);
    assert!(content(&store) == before, "the store was touched");
    let locked = DiskEngine::open(&store, OPTIONS);
    assert!(matches!(locked, Err(EngineError::Io(_))), "the store can't be opened meanwhile");
    drop(other);
    fs::remove_dir_all(&mirror).expect("removed");
    drop(mirrored);

    assert!(content(&store) == before, "the store was touched");
    let engine = DiskEngine::open(&store, OPTIONS).expect("the store is whole");
    assert_eq!(engine.applied(), EntryId::new(2, 3));
}

#[test]
fn a_store_that_is_open_is_not_mirrored() {
    let dir = TempDir::new().expect("a directory");
    let (store, mirror) = (dir.path().join("store"), dir.path().join("mirror"));
    let _engine = DiskEngine::open(&store, OPTIONS).expect("a new store");
    let why = Mirrored::new(&store, &mirror).err().expect("it is in use");
    assert!(why.to_string().contains("this store is in use"), "{why}");
    assert!(!mirror.exists());
}
