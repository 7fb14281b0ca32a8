//! An engine that notes which keys are touched.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use quorate_mvcc::engine::{Engine, EngineError, EngineSize, KeyBounds, Reader, Rows, Table, View};
use quorate_mvcc::mem::{MemEngine, all_rows};
use quorate_mvcc::{Caller, Command, PutRequest};
use quorate_raft::EntryId;

use super::{PREFIXES, apply, closed, open};
use crate::requests::KEYS;

/// The bytes of a revision behind the key in a row.
const REVISION_BYTES: usize = 16;

/// The keys that were touched.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched {
    /// Of which a row was found.
    pub(super) read: BTreeSet<Bytes>,
    /// To which something happened.
    pub(super) written: BTreeSet<Bytes>,
}

/// Notes them, once told to.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes(Arc<Mutex<Option<Touched>>>);

impl Notes {
    pub(super) fn begin(&self) {
        self.note(|notes| *notes = Some(Touched::default()));
    }

    pub(super) fn end(&self) -> Touched {
        let mut taken = None;
        self.note(|notes| taken = notes.take());
        taken.expect("it was begun")
    }

    fn note(&self, note: impl FnOnce(&mut Option<Touched>)) {
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn read(&self, table: Table, row: &[u8]) {
        if table != Table::Key {
            return;
        }
        self.note(|notes| {
            if let Some(touched) = notes {
                touched.read.insert(key_of(row));
            }
        });
    }

    /// Each change of a key has a row in the order of revisions, with the key behind its kind.
    fn written(&self, table: Table, value: &[u8]) {
        if table != Table::Revision {
            return;
        }
        self.note(|notes| {
            if let Some(touched) = notes {
                touched.written.insert(Bytes::copy_from_slice(&value[1..]));
            }
        });
    }
}

/// The key that a row is of.
fn key_of(row: &[u8]) -> Bytes {
    let prefix = &row[..row.len().saturating_sub(REVISION_BYTES)];
    let found = PREFIXES.iter().find(|(known, _)| known == prefix);
    found.map(|(_, key)| key.clone()).expect("a row of a key that there is")
}

/// What the rows of the keys begin with.
pub(super) fn prefixes() -> Vec<(Bytes, Bytes)> {
    let prefix = |key: &'static [u8]| {
        let mut store = open(Watched::default());
        let key = Bytes::from_static(key);
        let put = PutRequest { key: key.clone(), ..PutRequest::default() };
        apply(&mut store, &Caller::Nobody, &Command::Put(put));
        let rows = all_rows(&closed(store)).expect("the engine works");
        let (_, row, _) = rows.into_iter().find(|row| row.0 == Table::Key).expect("its row");
        (row.slice(..row.len() - REVISION_BYTES), key)
    };
    KEYS.into_iter().map(prefix).collect()
}

#[derive(Debug, Default)]
pub(super) struct Watched {
    engine: MemEngine,
    pub(super) touched: Notes,
}

impl Watched {
    /// Another one with the same rows.
    pub(super) fn copy(&self) -> Self {
        Self { engine: self.engine.crash(), touched: Notes::default() }
    }
}

impl Reader for Watched {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let found = self.engine.get(table, key)?;
        if found.is_some() {
            self.touched.read(table, key);
        }
        Ok(found)
    }

    fn scan<'a>(&'a self, table: Table, bounds: KeyBounds<'_>) -> Rows<'a> {
        Box::new(self.engine.scan(table, bounds).inspect(move |row| {
            if let Ok((key, _)) = row {
                self.touched.read(table, key);
            }
        }))
    }
}

impl Engine for Watched {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        self.touched.written(table, value);
        self.engine.put(table, key, value)
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), EngineError> {
        self.engine.delete(table, key)
    }

    fn commit(&mut self, applied: EntryId) -> Result<(), EngineError> {
        self.engine.commit(applied)
    }

    fn applied(&self) -> EntryId {
        self.engine.applied()
    }

    fn durable(&self) -> EntryId {
        self.engine.durable()
    }

    fn flush(&mut self) -> Result<(), EngineError> {
        self.engine.flush()
    }

    fn view(&self) -> View {
        self.engine.view()
    }

    fn replace_begin(&mut self) -> Result<(), EngineError> {
        self.engine.replace_begin()
    }

    fn replace_put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        self.engine.replace_put(table, key, value)
    }

    fn replace_finish(&mut self, applied: EntryId) -> Result<(), EngineError> {
        self.engine.replace_finish(applied)
    }

    fn size(&self) -> EngineSize {
        self.engine.size()
    }
}
