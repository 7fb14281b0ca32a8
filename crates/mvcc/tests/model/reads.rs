//! An engine that counts what its readers read.

use std::cell::Cell;
use std::sync::Arc;

use bytes::Bytes;
use quorate_mvcc::engine::{Engine, EngineError, EngineSize, KeyBounds, Reader, Rows, Table, View};
use quorate_mvcc::mem::MemEngine;
use quorate_raft::EntryId;

thread_local! {
    static READS: Cell<u64> = const { Cell::new(0) };
}

/// How often this thread read from a view of a [`Counting`] engine.
pub(crate) fn count() -> u64 {
    READS.get()
}

fn note() {
    READS.set(READS.get() + 1);
}

/// Counts reads from its views. What the writer reads does not count.
pub(crate) struct Counting(pub(crate) MemEngine);

struct CountingView(View);

impl Reader for CountingView {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        note();
        self.0.get(table, key)
    }

    fn scan<'a>(&'a self, table: Table, bounds: KeyBounds<'_>) -> Rows<'a> {
        note();
        self.0.scan(table, bounds)
    }
}

impl Reader for Counting {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.0.get(table, key)
    }

    fn scan<'a>(&'a self, table: Table, bounds: KeyBounds<'_>) -> Rows<'a> {
        self.0.scan(table, bounds)
    }
}

impl Engine for Counting {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        self.0.put(table, key, value)
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), EngineError> {
        self.0.delete(table, key)
    }

    fn commit(&mut self, applied: EntryId) -> Result<(), EngineError> {
        self.0.commit(applied)
    }

    fn applied(&self) -> EntryId {
        self.0.applied()
    }

    fn durable(&self) -> EntryId {
        self.0.durable()
    }

    fn flush(&mut self) -> Result<(), EngineError> {
        self.0.flush()
    }

    fn view(&self) -> View {
        Arc::new(CountingView(self.0.view()))
    }

    fn replace_begin(&mut self) -> Result<(), EngineError> {
        self.0.replace_begin()
    }

    fn replace_put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        self.0.replace_put(table, key, value)
    }

    fn replace_finish(&mut self, applied: EntryId) -> Result<(), EngineError> {
        self.0.replace_finish(applied)
    }

    fn size(&self) -> EngineSize {
        self.0.size()
    }
}
