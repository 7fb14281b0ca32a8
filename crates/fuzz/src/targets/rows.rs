//! Rows that somebody else wrote, in a store that is opened.

use quorate_mvcc::Store;
use quorate_mvcc::engine::{Engine, Table};
use quorate_mvcc::mem::MemEngine;
use quorate_raft::EntryId;

use super::snapshot::{history, use_all};
use crate::Draw;

pub(super) fn run(input: &[u8]) {
    let mut draw = Draw::new(input);
    let mut engine: Box<dyn Engine> = match draw.byte() % 3 {
        0 => Box::new(MemEngine::new()),
        _ => history().into_engine(),
    };
    while draw.more() {
        let table = draw.of(&Table::ALL);
        let (key, value) = (draw.bytes(), draw.bytes());
        let changed = match value {
            [] => engine.delete(table, key),
            value => engine.put(table, key, value),
        };
        changed.expect("the engine works");
    }
    let through = EntryId { index: engine.applied().index.next(), ..EntryId::new(1, 1) };
    engine.commit(through).expect("the engine works");
    if let Ok(mut store) = Store::open(engine) {
        let _ = use_all(&mut store);
    }
}
