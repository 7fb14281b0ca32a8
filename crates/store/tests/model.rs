//! Random work on the engine and on a `BTreeMap` must give the same answers, for the writer and for
//! every view, forwards and backwards, across flushes, compactions, snapshots and reopenings.

#![expect(clippy::print_stdout, reason = "a failing seed must be seen")]

use quorate_mvcc::engine::{Engine, Reader, Table, View};
use quorate_raft::EntryId;
use quorate_store::{DiskEngine, Options};
use std::{
    collections::BTreeMap,
    ops::{Bound, RangeBounds},
};
use tempfile::TempDir;

type Content = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

const SMALL: Options = Options { memtable_bytes: 8 << 10, memtables_max: 2, cache_bytes: 64 << 10 };

/// SplitMix64: small, seeded, and the same for ever.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn table(&mut self) -> Table {
        [Table::Meta, Table::Key, Table::LeaseKey][self.below(3) as usize]
    }

    fn key(&mut self) -> Vec<u8> {
        let length = self.below(4) as usize;
        (0..length).map(|_| [0, 1, b'k', 0xff][self.below(4) as usize]).collect()
    }

    fn bound(&mut self) -> Bound<Vec<u8>> {
        match self.below(3) {
            0 => Bound::Unbounded,
            1 => Bound::Included(self.key()),
            _ => Bound::Excluded(self.key()),
        }
    }
}

fn compare(reader: &(impl Reader + ?Sized), content: &Content, random: &mut Random) {
    let (table, key) = (random.table(), random.key());
    let found = reader.get(table, &key).unwrap();
    assert_eq!(found.as_deref(), content.get(&(table, key.clone())).map(|v| &v[..]), "{key:?}");

    let table = random.table();
    let bounds = (random.bound(), random.bound());
    let borrowed = (bounds.0.as_ref().map(|key| &key[..]), bounds.1.as_ref().map(|key| &key[..]));
    let mut expected: Vec<(Vec<u8>, Vec<u8>)> = content
        .iter()
        .filter(|((at, key), _)| *at == table && bounds.contains(key))
        .map(|((_, key), value)| (key.clone(), value.clone()))
        .collect();
    let rows = reader.scan(table, borrowed);
    let owned = |row: quorate_mvcc::engine::Row| {
        let (key, value) = row.unwrap();
        (key.to_vec(), value.to_vec())
    };
    let rows: Vec<_> = if random.below(2) == 0 {
        rows.map(owned).collect()
    } else {
        expected.reverse();
        rows.rev().map(owned).collect()
    };
    assert_eq!(rows, expected, "{table:?} {bounds:?}");
}

fn run(seed: u64, steps: u64) {
    let dir = TempDir::new().unwrap();
    let mut random = Random(seed);
    let mut engine = DiskEngine::open(dir.path(), SMALL).unwrap();
    // What each committed position holds, the writer's open batch, and the views that are held.
    let mut history: BTreeMap<EntryId, Content> = BTreeMap::from([(EntryId::ZERO, Content::new())]);
    let mut latest = Content::new();
    let mut committed = Content::new();
    let mut views: Vec<(Content, View)> = Vec::new();
    for _ in 0..steps {
        let next = EntryId::new(1, engine.applied().index.0 + 1);
        match random.below(100) {
            0..50 => {
                let (table, key) = (random.table(), random.key());
                let value = vec![random.below(256) as u8; random.below(300) as usize];
                engine.put(table, &key, &value).unwrap();
                latest.insert((table, key), value);
            }
            50..60 => {
                let (table, key) = (random.table(), random.key());
                engine.delete(table, &key).unwrap();
                latest.remove(&(table, key));
            }
            60..80 => {
                engine.commit(next).unwrap();
                committed.clone_from(&latest);
                history.insert(next, committed.clone());
                // Only positions that a crash may still return to are worth remembering.
                let durable = engine.durable();
                history.retain(|position, _| *position >= durable);
            }
            80..85 => {
                views.push((committed.clone(), engine.view()));
                if views.len() > 8 {
                    views.remove(random.below(8) as usize);
                }
            }
            85..97 => {
                compare(&engine, &latest, &mut random);
                for (content, view) in &views {
                    compare(&**view, content, &mut random);
                }
            }
            97 => {
                engine.commit(next).unwrap();
                engine.flush().unwrap();
                committed.clone_from(&latest);
                history = BTreeMap::from([(next, committed.clone())]);
            }
            98 if random.below(4) == 0 => {
                engine.replace_begin().unwrap();
                latest = Content::new();
                for number in 0..random.below(200) {
                    let key = (Table::Key, number.to_be_bytes().to_vec());
                    let value = vec![number as u8; 100];
                    engine.replace_put(key.0, &key.1, &value).unwrap();
                    latest.insert(key, value);
                }
                engine.replace_finish(next).unwrap();
                committed.clone_from(&latest);
                history = BTreeMap::from([(next, committed.clone())]);
            }
            98 => {}
            _ => {
                views.clear();
                drop(engine);
                engine = DiskEngine::open(dir.path(), SMALL).unwrap();
                let found = engine.applied();
                assert_eq!(found, engine.durable());
                latest = history.get(&found).expect("a committed position").clone();
                committed.clone_from(&latest);
                history = BTreeMap::from([(found, committed.clone())]);
                for _ in 0..20 {
                    compare(&engine, &latest, &mut random);
                }
            }
        }
    }
}

#[test]
fn the_engine_answers_like_a_map() {
    for seed in 0..4 {
        println!("seed {seed}");
        run(seed, 3000);
    }
}
