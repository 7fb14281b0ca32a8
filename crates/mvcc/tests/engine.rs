//! The in-memory engine against the suite for engines.

use quorate_mvcc::engine::Table;
use quorate_mvcc::engine::{Engine, suite};
use quorate_mvcc::mem::{MemEngine, all_rows};
use quorate_raft::EntryId;

#[test]
fn the_engine_in_memory_passes_the_suite() {
    suite::all(&mut || Box::new(MemEngine::new()));
    suite::all(&mut || Box::new(MemEngine::lazy(3)));
}

#[test]
fn a_crash_leaves_whole_batches_up_to_the_durable_position() {
    let mut engine = MemEngine::lazy(2);
    for index in 1..=5 {
        engine.put(Table::Key, &[index as u8], b"").unwrap();
        engine.commit(EntryId::new(1, index)).unwrap();
    }
    assert_eq!(engine.durable(), EntryId::new(1, 3));
    let engine = engine.crash();
    assert_eq!(engine.applied(), EntryId::new(1, 3));
    assert_eq!(all_rows(&engine).unwrap().len(), 3);
}
