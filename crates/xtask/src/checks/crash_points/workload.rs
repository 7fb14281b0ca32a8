//! What is done to the store, and what it has to hold after each entry: a function of the entry's number.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use quorate_mvcc::engine::{ALL_KEYS, Engine as _, EngineError, Reader as _, Table};
use quorate_raft::EntryId;
use quorate_store::{DiskEngine, Options};

use crate::checks::power_cut::disk::Disk;

/// So small that a few entries fill a memtable.
const SMALL: Options = Options { memtable_bytes: 8 << 10, memtables_max: 2, cache_bytes: 1 << 20 };

/// So many keys there are.
const KEYS: u64 = 40;

/// The last entry of the workload. Whoever goes on after a cut writes a few more.
pub(super) const LAST: u64 = 36;

/// In an orderly way the store is closed and opened again before these.
const REOPENED: [u64; 2] = [9, 25];

/// These replace the whole content.
const SNAPSHOTS: [u64; 2] = [15, 31];

/// For so long nothing may happen on the disk until the threads of the store count as idle.
const QUIET: Duration = Duration::from_millis(20);

type Row = ((Table, Vec<u8>), Vec<u8>);

/// What the store holds.
pub(super) type Rows = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// What an entry does.
enum Entry {
    Batch { put: Vec<Row>, removed: (Table, Vec<u8>) },
    Snapshot(Rows),
}

fn key(number: u64) -> (Table, Vec<u8>) {
    let table = if number.is_multiple_of(5) { Table::Lease } else { Table::Key };
    (table, format!("key{:02}", number % KEYS).into_bytes())
}

fn row(number: u64, index: u64) -> Row {
    let bytes = 20 + (index * 37 + number * 11) % 400;
    (key(number), index.to_be_bytes().repeat(bytes as usize / 8))
}

fn entry(index: u64) -> Entry {
    if SNAPSHOTS.contains(&index) {
        return Entry::Snapshot((0..KEYS).step_by(2).map(|number| row(number, index)).collect());
    }
    let put = (0..4).map(|step| row((index * 7 + step * 11) % KEYS, index)).collect();
    Entry::Batch { put, removed: key((index * 13 + 3) % KEYS) }
}

/// What the store holds at each position, from an empty one on.
pub(super) fn models() -> Vec<Rows> {
    let mut rows = Rows::new();
    let mut models = vec![rows.clone()];
    for index in 1..=LAST + 4 {
        match entry(index) {
            Entry::Batch { put, removed } => {
                rows.extend(put);
                rows.remove(&removed);
            }
            Entry::Snapshot(content) => rows = content,
        }
        models.push(rows.clone());
    }
    models
}

/// What was known of the store at a moment of the film: when it had so many pictures.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) pictures: usize,
    pub(super) known: Known,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Known {
    /// From now on this position may be found.
    Begun(u64),
    /// The store said that this position is durable.
    Durable(u64),
}

/// A store on a disk that is filmed, and what it says.
pub(super) struct Stage<'a> {
    disk: &'a Disk,
    engine: DiskEngine,
    marks: Vec<Mark>,
}

impl<'a> Stage<'a> {
    /// Opens the store.
    pub(super) fn open(disk: &'a Disk) -> Result<Self, EngineError> {
        let engine = DiskEngine::open(&disk.path().join("store"), SMALL)?;
        let mut stage = Self { disk, engine, marks: Vec::new() };
        stage.note_durable();
        Ok(stage)
    }

    /// Where the store is.
    pub(super) fn position(&self) -> u64 {
        self.engine.applied().index.0
    }

    fn note(&mut self, known: Known) {
        self.marks.push(Mark { pictures: self.disk.filmed(), known });
    }

    fn note_durable(&mut self) {
        let durable = self.engine.durable().index.0;
        self.note(Known::Durable(durable));
    }

    /// Carries out the next entry.
    pub(super) fn go_on(&mut self) -> Result<(), EngineError> {
        let index = self.position() + 1;
        let applied = EntryId::new(1, index);
        let engine = &mut self.engine;
        match entry(index) {
            Entry::Batch { put, removed } => {
                for ((table, key), value) in put {
                    engine.put(table, &key, &value)?;
                }
                engine.delete(removed.0, &removed.1)?;
                self.note(Known::Begun(index));
                self.engine.commit(applied)?;
            }
            Entry::Snapshot(content) => {
                // It is begun in vain first.
                engine.replace_begin()?;
                engine.replace_put(Table::Key, b"in vain", &[1; 10_000])?;
                engine.replace_begin()?;
                for ((table, key), value) in content {
                    engine.replace_put(table, &key, &value)?;
                }
                self.note(Known::Begun(index));
                self.engine.replace_finish(applied)?;
            }
        }
        self.note_durable();
        Ok(())
    }

    /// Makes everything durable.
    pub(super) fn flush(&mut self) -> Result<(), EngineError> {
        self.engine.flush()?;
        let applied = self.position();
        self.note(Known::Durable(applied));
        Ok(())
    }

    /// Waits until the store has nothing to do.
    fn settle(&mut self) {
        let mut before = 0;
        while before != self.disk.filmed() {
            before = self.disk.filmed();
            sleep(QUIET);
        }
        self.note_durable();
    }

    /// Closes the store; returns what it said.
    pub(super) fn close(self) -> Vec<Mark> {
        self.marks
    }
}

/// Does everything that a store does, from the first start on.
pub(super) fn perform(disk: &Disk) -> Result<Vec<Mark>, EngineError> {
    let mut marks = Vec::new();
    let mut stage = Stage::open(disk)?;
    let mut to_be_reopened = REOPENED.into_iter().peekable();
    while stage.position() < LAST {
        let index = stage.position() + 1;
        if to_be_reopened.next_if_eq(&index).is_some() {
            // A snapshot that arrives in pieces may never be complete.
            stage.engine.replace_begin()?;
            stage.engine.replace_put(Table::Key, b"begun", &[1; 10_000])?;
            marks.extend(stage.close());
            stage = Stage::open(disk)?;
        } else {
            stage.go_on()?;
        }
        if index.is_multiple_of(2) {
            stage.flush()?;
        }
        if index.is_multiple_of(6) {
            stage.settle();
        }
    }
    stage.engine.reclaim()?;
    stage.settle();
    marks.extend(stage.close());
    Ok(marks)
}

/// Opens a store that a power cut has left; returns its position, if its rows are those of that position.
pub(super) fn recovered(store: &Path, models: &[Rows]) -> Result<u64, String> {
    let failed = |error: EngineError| format!("the store can't be used: {error}");
    let engine = DiskEngine::open(store, SMALL).map_err(failed)?;
    let position = engine.applied().index.0;
    let mut rows = Rows::new();
    for table in Table::ALL {
        for found in engine.scan(table, ALL_KEYS) {
            let (key, value) = found.map_err(failed)?;
            rows.insert((table, key.to_vec()), value.to_vec());
        }
    }
    match usize::try_from(position).ok().and_then(|at| models.get(at)) {
        Some(model) if *model == rows => Ok(position),
        Some(_) => Err(format!("the rows are not those of position {position}")),
        None => Err(format!("position {position} was never written")),
    }
}
