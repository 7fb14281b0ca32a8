//! The engine of this repository: `lsm-tree` without a journal.

use crate::engine::{Engine, Row};
use quorate_mvcc::engine::{Engine as _, Table};
use quorate_raft::EntryId;
use quorate_store::{DiskEngine, Options};
use std::{ops::Bound, path::Path};

pub struct Store {
    engine: DiskEngine,
    batches: u64,
}

/// Experiments change an option through the environment; the names are those of the fields.
fn option(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

impl Store {
    pub fn open(dir: &Path) -> Self {
        let defaults = Options::default();
        let options = Options {
            memtable_bytes: option("memtable_bytes", defaults.memtable_bytes),
            cache_bytes: option("cache_bytes", defaults.cache_bytes),
            ..defaults
        };
        let engine = DiskEngine::open(dir, options).unwrap();
        Self { batches: engine.applied().index.0, engine }
    }
}

fn table(number: u8) -> Table {
    [Table::Revision, Table::Key][number as usize]
}

impl Engine for Store {
    fn commit(&mut self, rows: &[Row]) {
        self.batches += 1;
        // Table 2 is the applied position, which this engine takes with the commit.
        for row in rows.iter().filter(|row| row.table < 2) {
            self.engine.put(table(row.table), &row.key, &row.value).unwrap();
        }
        self.engine.commit(EntryId::new(1, self.batches)).unwrap();
    }

    fn get(&self, number: u8, key: &[u8]) -> Option<Vec<u8>> {
        self.engine.view().get(table(number), key).unwrap().map(|value| value.to_vec())
    }

    fn scan(&self, number: u8, from: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
        let view = self.engine.view();
        for row in view.scan(table(number), (Bound::Included(from), Bound::Unbounded)) {
            let (key, value) = row.unwrap();
            if !visit(&key, &value) {
                return;
            }
        }
    }

    fn settle(&mut self) {
        self.engine.flush().unwrap();
        // Nobody can wait for the compaction; when the size stays, it has probably ended.
        let (mut size, mut calm) = (0, 0);
        while calm < 4 {
            std::thread::sleep(std::time::Duration::from_millis(500));
            let now = self.engine.size().disk_bytes;
            calm = if now == size { calm + 1 } else { 0 };
            size = now;
        }
    }

    fn describe(&self) -> String {
        format!("{:?}, durable {}", self.engine.size(), self.engine.durable())
    }
}
