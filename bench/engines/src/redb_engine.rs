//! redb 4: a copy-on-write B-tree in one file; every 500th batch is made durable.

use crate::engine::{Engine, Row};
use redb::{Database, Durability, ReadableDatabase, TableDefinition};
use std::path::Path;

const TABLES: [TableDefinition<&[u8], &[u8]>; 3] =
    [TableDefinition::new("0"), TableDefinition::new("1"), TableDefinition::new("2")];

pub struct Redb {
    database: Database,
    batches: u64,
}

impl Redb {
    pub fn open(dir: &Path) -> Self {
        let database = Database::builder().set_cache_size(64 << 20).create(dir.join("db")).unwrap();
        let write = database.begin_write().unwrap();
        for table in TABLES {
            write.open_table(table).unwrap();
        }
        write.commit().unwrap();
        Self { database, batches: 0 }
    }

    fn write(&mut self, rows: &[Row], durability: Durability) {
        let mut write = self.database.begin_write().unwrap();
        write.set_durability(durability).unwrap();
        {
            let mut tables: Vec<_> =
                TABLES.iter().map(|table| write.open_table(*table).unwrap()).collect();
            for row in rows {
                tables[row.table as usize].insert(&row.key[..], &row.value[..]).unwrap();
            }
        }
        write.commit().unwrap();
    }
}

impl Engine for Redb {
    fn commit(&mut self, rows: &[Row]) {
        self.batches += 1;
        let durable = self.batches.is_multiple_of(500);
        self.write(rows, if durable { Durability::Immediate } else { Durability::None });
    }

    fn get(&self, table: u8, key: &[u8]) -> Option<Vec<u8>> {
        let read = self.database.begin_read().unwrap();
        let table = read.open_table(TABLES[table as usize]).unwrap();
        table.get(key).unwrap().map(|value| value.value().to_vec())
    }

    fn scan(&self, table: u8, from: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
        let read = self.database.begin_read().unwrap();
        let table = read.open_table(TABLES[table as usize]).unwrap();
        for row in table.range(from..).unwrap() {
            let (key, value) = row.unwrap();
            if !visit(key.value(), value.value()) {
                return;
            }
        }
    }

    fn settle(&mut self) {
        self.write(&[], Durability::Immediate);
    }
}
