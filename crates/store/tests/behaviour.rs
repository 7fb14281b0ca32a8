//! What this engine promises beyond what every engine does, one promise per test.

use quorate_mvcc::engine::{Engine, EngineError, Reader, Rows, Table, View};
use quorate_raft::EntryId;
use quorate_store::{DiskEngine, Options};
use std::{fs, ops::Bound, path::Path};
use tempfile::TempDir;

/// So small that a few rows seal a memtable, and every test sees flushes and compactions.
const SMALL: Options = Options { memtable_bytes: 4 << 10, memtables_max: 3, cache_bytes: 1 << 20 };

fn open(dir: &TempDir) -> DiskEngine {
    DiskEngine::open(dir.path(), SMALL).expect("the store opens")
}

fn at(index: u64) -> EntryId {
    EntryId::new(1, index)
}

fn key(number: u64) -> Vec<u8> {
    format!("key{number:05}").into_bytes()
}

fn all(reader: &(impl Reader + ?Sized), table: Table) -> Vec<(Vec<u8>, Vec<u8>)> {
    collect(reader.scan(table, (Bound::Unbounded, Bound::Unbounded)))
}

fn collect(rows: Rows<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    rows.map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())).expect("a sound row"))
        .collect()
}

/// Commits `keys` rows whose value is `round`, one batch each, and returns the next index.
fn fill(engine: &mut DiskEngine, keys: u64, round: u8, mut index: u64) -> u64 {
    for number in 0..keys {
        engine.put(Table::Key, &key(number), &[round; 100]).unwrap();
        engine.commit(at(index)).unwrap();
        index += 1;
    }
    index
}

#[test]
fn an_open_batch_is_seen_by_its_writer_only() {
    let dir = TempDir::new().unwrap();
    let mut engine = open(&dir);
    engine.put(Table::Key, b"a", b"1").unwrap();
    engine.put(Table::Key, b"a", b"2").unwrap();
    assert_eq!(engine.get(Table::Key, b"a").unwrap().as_deref(), Some(&b"2"[..]));
    assert_eq!(engine.view().get(Table::Key, b"a").unwrap(), None);
    engine.delete(Table::Key, b"a").unwrap();
    assert_eq!(engine.get(Table::Key, b"a").unwrap(), None);
    engine.put(Table::Key, b"a", b"3").unwrap();
    engine.commit(at(1)).unwrap();
    assert_eq!(engine.view().get(Table::Key, b"a").unwrap().as_deref(), Some(&b"3"[..]));
    assert_eq!(engine.applied(), at(1));
}

#[test]
fn a_view_keeps_its_state_through_flushes_and_compactions() {
    let dir = TempDir::new().unwrap();
    let mut engine = open(&dir);
    let mut index = 1;
    let mut views: Vec<(u8, View)> = Vec::new();
    for round in 0..6 {
        index = fill(&mut engine, 200, round, index);
        views.push((round, engine.view()));
    }
    engine.flush().unwrap();
    for (round, view) in &views {
        let rows = all(&**view, Table::Key);
        assert_eq!(rows.len(), 200);
        assert!(rows.iter().all(|(_, value)| *value == [*round; 100]), "view of round {round}");
        let row = view.get(Table::Key, &key(7)).unwrap();
        assert_eq!(row.as_deref(), Some(&[*round; 100][..]));
    }
    drop(engine);
    let (round, view) = &views[3];
    assert!(all(&**view, Table::Key).iter().all(|(_, value)| *value == [*round; 100]));
}

#[test]
fn rows_of_a_scan_outlive_what_happens_to_their_tables() {
    let dir = TempDir::new().unwrap();
    let mut engine = open(&dir);
    let index = fill(&mut engine, 300, 1, 1);
    let view = engine.view();
    let mut rows = view.scan(Table::Key, (Bound::Unbounded, Bound::Unbounded));
    let first = rows.next().unwrap().unwrap();
    assert_eq!(&first.0[..], key(0));
    fill(&mut engine, 300, 2, index);
    engine.flush().unwrap();
    let rest = collect(rows);
    assert_eq!(rest.len(), 299);
    assert!(rest.iter().all(|(_, value)| *value == [1; 100]));
}

#[test]
fn an_old_view_is_not_disturbed_by_what_is_written_into_its_memtable() {
    let dir = TempDir::new().unwrap();
    let mut engine = DiskEngine::open(dir.path(), Options::default()).unwrap();
    let index = fill(&mut engine, 100, 1, 1);
    engine.delete(Table::Key, &key(50)).unwrap();
    engine.commit(at(index)).unwrap();
    let view = engine.view();
    fill(&mut engine, 20_000, 2, index + 1);
    assert_eq!(engine.size().disk_bytes, 0, "everything is still in one memtable");
    // Each search would skip twenty thousand rows; a thousand of them would be felt.
    for number in (0..1000).map(|number| number % 100) {
        let from = key(number);
        let mut rows = view.scan(Table::Key, (Bound::Included(&from), Bound::Unbounded));
        let next = if number == 50 { 51 } else { number };
        let (found, value) = rows.next().unwrap().unwrap();
        assert_eq!((&found[..], &value[..]), (&key(next)[..], &[1; 100][..]));
    }
    assert_eq!(all(&*view, Table::Key).len(), 99);
    assert_eq!(all(&*engine.view(), Table::Key).len(), 20_000);
}

#[test]
fn space_comes_back_when_rows_are_overwritten() {
    let dir = TempDir::new().unwrap();
    let mut engine = open(&dir);
    let mut index = fill(&mut engine, 500, 0, 1);
    engine.flush().unwrap();
    let once = engine.size().disk_bytes;
    for round in 1..10 {
        index = fill(&mut engine, 500, round, index);
    }
    engine.flush().unwrap();
    // The compaction runs beside us; it needs a moment, and must then hold the store near its
    // content although ten times as much was written.
    let mut size = engine.size().disk_bytes;
    for _ in 0..500 {
        if size < 3 * once {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
        size = engine.size().disk_bytes;
    }
    assert!(size < 3 * once, "{size} bytes on disk for a content of {once}");
    assert!(files_under(dir.path()) < 40, "old tables are not removed");
}

fn files_under(dir: &Path) -> usize {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| if path.is_dir() { files_under(&path) } else { 1 })
        .sum()
}

#[test]
fn a_store_reopens_where_it_was_durable() {
    let dir = TempDir::new().unwrap();
    let mut engine = open(&dir);
    assert_eq!((engine.applied(), engine.durable()), (EntryId::ZERO, EntryId::ZERO));
    engine.put(Table::Key, b"kept", b"1").unwrap();
    engine.commit(at(7)).unwrap();
    engine.flush().unwrap();
    assert_eq!(engine.durable(), at(7));
    engine.put(Table::Key, b"lost", b"2").unwrap();
    engine.commit(at(8)).unwrap();
    assert_eq!((engine.applied(), engine.durable()), (at(8), at(7)));
    drop(engine);

    let mut engine = open(&dir);
    assert_eq!((engine.applied(), engine.durable()), (at(7), at(7)));
    assert_eq!(all(&engine, Table::Key), [(b"kept".to_vec(), b"1".to_vec())]);
    // An entry may change nothing, and its position is made durable all the same.
    engine.commit(at(9)).unwrap();
    engine.flush().unwrap();
    assert_eq!(engine.durable(), at(9));
    drop(engine);
    assert_eq!(open(&dir).applied(), at(9));
}

#[test]
fn entries_that_write_nothing_become_durable_too() {
    let dir = TempDir::new().unwrap();
    let mut engine = open(&dir);
    for index in 1..=100_000 {
        engine.commit(at(index)).unwrap();
    }
    for _ in 0..1000 {
        if engine.durable() == at(100_000) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("after {} entries, {} is durable", engine.applied(), engine.durable());
}

#[test]
fn a_flush_that_was_begun_ends_by_itself() {
    let dir = TempDir::new().unwrap();
    let mut engine = open(&dir);
    engine.begin_flush().unwrap();
    // Even if nothing was written, and however often it is begun.
    for index in 1..=20 {
        engine.commit(at(index)).unwrap();
        engine.begin_flush().unwrap();
        engine.begin_flush().unwrap();
    }
    for _ in 0..1000 {
        if engine.durable() == at(20) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("after {} entries, {} is durable", engine.applied(), engine.durable());
}

#[test]
fn a_new_version_hides_the_old_one_after_reopening() {
    let dir = TempDir::new().unwrap();
    for round in 0..5u8 {
        let mut engine = open(&dir);
        let index = engine.applied().index.0 + 1;
        assert_eq!(
            engine.get(Table::Key, b"k").unwrap().as_deref(),
            round.checked_sub(1).as_ref().map(std::slice::from_ref)
        );
        engine.put(Table::Key, b"k", &[round]).unwrap();
        engine.commit(at(index)).unwrap();
        assert_eq!(engine.view().get(Table::Key, b"k").unwrap().as_deref(), Some(&[round][..]));
        engine.flush().unwrap();
    }
}

#[test]
fn a_store_is_open_once() {
    let dir = TempDir::new().unwrap();
    let engine = open(&dir);
    let refused = |while_held: &str| {
        let Err(EngineError::Io(error)) = DiskEngine::open(dir.path(), SMALL) else {
            panic!("the store was opened twice, {while_held}")
        };
        assert!(error.contains("in use"), "{error}");
    };
    refused("by two engines");
    let view = engine.view();
    drop(engine);
    refused("while a view reads from it");
    drop(view);
    open(&dir);
}

#[test]
fn a_snapshot_replaces_everything_at_once() {
    let dir = TempDir::new().unwrap();
    let mut engine = open(&dir);
    fill(&mut engine, 300, 1, 1);
    engine.put(Table::Lease, b"l", b"old").unwrap();
    engine.commit(at(301)).unwrap();
    let before = engine.view();

    engine.replace_begin().unwrap();
    engine.replace_put(Table::Key, b"given up", b"x").unwrap();
    engine.replace_begin().unwrap();
    for number in 0..1000 {
        engine.replace_put(Table::Key, &key(number), &[2; 50]).unwrap();
    }
    engine.replace_put(Table::Revision, b"r", b"new").unwrap();
    assert_eq!(all(&engine, Table::Key).len(), 300, "the old content serves until the switch");
    engine.replace_finish(at(5000)).unwrap();

    assert_eq!((engine.applied(), engine.durable()), (at(5000), at(5000)));
    assert_eq!(all(&engine, Table::Key).len(), 1000);
    assert_eq!(all(&engine, Table::Lease), []);
    assert_eq!(all(&*before, Table::Key).len(), 300, "a view from before keeps the old content");
    assert_eq!(all(&*before, Table::Lease).len(), 1);
    drop(before);

    engine.put(Table::Key, &key(5), b"after").unwrap();
    engine.commit(at(5001)).unwrap();
    engine.flush().unwrap();
    drop(engine);
    let engine = open(&dir);
    assert_eq!(engine.applied(), at(5001));
    assert_eq!(all(&engine, Table::Key).len(), 1000);
    assert_eq!(engine.get(Table::Key, &key(5)).unwrap().as_deref(), Some(&b"after"[..]));
    let trees = fs::read_dir(dir.path()).unwrap().filter(|e| e.as_ref().unwrap().path().is_dir());
    assert_eq!(trees.count(), 1, "the old content's directory is removed");
}

#[test]
fn an_unfinished_snapshot_leaves_the_old_content() {
    let dir = TempDir::new().unwrap();
    let mut engine = open(&dir);
    fill(&mut engine, 50, 1, 1);
    engine.flush().unwrap();
    engine.replace_begin().unwrap();
    for number in 0..1000 {
        engine.replace_put(Table::Key, &key(number), &[2; 50]).unwrap();
    }
    drop(engine);
    let engine = open(&dir);
    assert_eq!(engine.applied(), at(50));
    assert_eq!(all(&engine, Table::Key).len(), 50);
}

#[test]
fn a_snapshot_out_of_order_is_refused() {
    let dir = TempDir::new().unwrap();
    let mut engine = open(&dir);
    engine.replace_begin().unwrap();
    engine.replace_put(Table::Key, b"b", b"").unwrap();
    let error = engine.replace_put(Table::Key, b"b", b"").unwrap_err();
    assert!(matches!(error, EngineError::Corrupt(_)), "{error}");
}

#[test]
fn the_first_failure_is_final() {
    let dir = TempDir::new().unwrap();
    let mut engine = open(&dir);
    engine.put(Table::Key, b"a", b"1").unwrap();
    engine.commit(at(1)).unwrap();
    let tables = dir.path().join("0000000000000001.tree/tables");
    fs::remove_dir(&tables).unwrap();
    let error = engine.flush().unwrap_err();
    fs::create_dir(&tables).unwrap();
    assert_eq!(engine.flush(), Err(error.clone()), "a flush is not tried again");
    assert_eq!(engine.put(Table::Key, b"b", b"2"), Err(error.clone()));
    assert_eq!(engine.commit(at(2)), Err(error.clone()));
    assert_eq!(engine.replace_begin(), Err(error));
    assert_eq!(engine.durable(), EntryId::ZERO);
}

#[test]
fn a_missing_table_is_an_error() {
    let dir = TempDir::new().unwrap();
    let mut engine = open(&dir);
    fill(&mut engine, 10, 1, 1);
    engine.flush().unwrap();
    drop(engine);
    let tables = dir.path().join("0000000000000001.tree/tables");
    let table = fs::read_dir(&tables).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(&table).unwrap();
    let error = DiskEngine::open(dir.path(), SMALL).err().expect("the damage is noticed");
    assert!(matches!(error, EngineError::Corrupt(_)), "{error}");
}

#[test]
fn a_lost_pointer_does_not_pass_for_an_empty_store() {
    let dir = TempDir::new().unwrap();
    let mut engine = open(&dir);
    fill(&mut engine, 10, 1, 1);
    engine.flush().unwrap();
    drop(engine);
    fs::remove_file(dir.path().join("generation")).unwrap();
    let error = DiskEngine::open(dir.path(), SMALL).err().expect("the damage is noticed");
    assert!(matches!(error, EngineError::Corrupt(_)), "{error}");
}

#[test]
fn values_may_be_large() {
    let dir = TempDir::new().unwrap();
    let mut engine = open(&dir);
    let large = vec![b'v'; 3 << 20];
    engine.put(Table::Key, b"large", &large).unwrap();
    engine.put(Table::Key, b"empty", b"").unwrap();
    engine.commit(at(1)).unwrap();
    engine.flush().unwrap();
    drop(engine);
    let engine = open(&dir);
    assert_eq!(engine.get(Table::Key, b"large").unwrap().as_deref(), Some(&large[..]));
    assert_eq!(engine.get(Table::Key, b"empty").unwrap().as_deref(), Some(&b""[..]));
}
