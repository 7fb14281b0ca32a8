//! LMDB through heed: a memory-mapped copy-on-write B-tree; every 500th batch is synced.

use crate::engine::{Engine, Row};
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, WithTls, types::Bytes};
use std::{ops::Bound, path::Path};

pub struct Lmdb {
    environment: Env<WithTls>,
    tables: [Database<'static, Bytes, Bytes>; 3],
    batches: u64,
}

impl Lmdb {
    pub fn open(dir: &Path) -> Self {
        let mut options = EnvOpenOptions::new();
        options.map_size(16 << 30).max_dbs(3);
        // SAFETY: the benchmark's directory is not touched by anybody else.
        let environment = unsafe {
            options.flags(EnvFlags::NO_SYNC);
            options.open(dir).unwrap()
        };
        let write = environment.write_txn().unwrap();
        let tables = environment
            .create_databases_and_commit(write, |open, write| {
                let mut table = |name| open.create_database(write, Some(name));
                let tables = (table("0")?, table("1")?, table("2")?);
                Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(tables))
            })
            .unwrap()
            .unwrap_commit();
        let tables = [tables.0, tables.1, tables.2];
        Self { environment, tables, batches: 0 }
    }
}

impl Engine for Lmdb {
    fn commit(&mut self, rows: &[Row]) {
        let mut write = self.environment.write_txn().unwrap();
        for row in rows {
            self.tables[row.table as usize].put(&mut write, &row.key, &row.value).unwrap();
        }
        write.commit().unwrap();
        self.batches += 1;
        if self.batches.is_multiple_of(500) {
            self.settle();
        }
    }

    fn get(&self, table: u8, key: &[u8]) -> Option<Vec<u8>> {
        let read = self.environment.read_txn().unwrap();
        self.tables[table as usize].get(&read, key).unwrap().map(<[u8]>::to_vec)
    }

    fn scan(&self, table: u8, from: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
        let read = self.environment.read_txn().unwrap();
        let range: (Bound<&[u8]>, Bound<&[u8]>) = (Bound::Included(from), Bound::Unbounded);
        for row in self.tables[table as usize].range(&read, &range).unwrap() {
            let (key, value) = row.unwrap();
            if !visit(key, value) {
                return;
            }
        }
    }

    fn settle(&mut self) {
        self.environment.force_sync().unwrap();
    }
}
