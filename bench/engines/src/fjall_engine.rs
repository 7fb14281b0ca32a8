//! fjall 3: log-structured merge trees behind a shared journal.

use crate::engine::{Engine, Row};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};
use std::path::Path;

pub struct Fjall {
    database: Database,
    tables: Vec<Keyspace>,
}

impl Fjall {
    pub fn open(dir: &Path) -> Self {
        let database =
            Database::builder(dir).cache_size(64 << 20).worker_threads(2).open().unwrap();
        let tables = (0..3)
            .map(|table| {
                database
                    .keyspace(&table.to_string(), || {
                        KeyspaceCreateOptions::default().max_memtable_size(16 << 20)
                    })
                    .unwrap()
            })
            .collect();
        Self { database, tables }
    }
}

impl Engine for Fjall {
    fn commit(&mut self, rows: &[Row]) {
        let mut batch = self.database.batch();
        for row in rows {
            batch.insert(&self.tables[row.table as usize], &row.key[..], &row.value[..]);
        }
        batch.commit().unwrap();
    }

    fn get(&self, table: u8, key: &[u8]) -> Option<Vec<u8>> {
        let snapshot = self.database.snapshot();
        snapshot.get(&self.tables[table as usize], key).unwrap().map(|value| value.to_vec())
    }

    fn scan(&self, table: u8, from: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
        let snapshot = self.database.snapshot();
        for row in snapshot.range(&self.tables[table as usize], from..) {
            let (key, value) = row.into_inner().unwrap();
            if !visit(&key, &value) {
                return;
            }
        }
    }

    fn settle(&mut self) {
        self.database.persist(PersistMode::SyncAll).unwrap();
        while self.database.outstanding_flushes() > 0 || self.database.active_compactions() > 0 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}
