//! lsm-tree 3 without a journal: one tree, rows tagged by table, a sealed memtable flushed by a
//! thread of ours. The applied position is the last row of each memtable.

use crate::engine::{Engine, Row, tagged};
use lsm_tree::{
    AbstractTree, AnyTree, Cache, Config, Guard, InternalValue, SequenceNumberCounter, Tree,
    ValueType, compaction::Leveled,
};
use std::{
    path::Path,
    sync::{Arc, Condvar, Mutex, mpsc},
    thread::JoinHandle,
};

pub struct Lsm {
    tree: Tree,
    sequence: SequenceNumberCounter,

    memtable_limit: u64,
    work: Option<mpsc::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
    flushed: Arc<(Mutex<u64>, Condvar)>,
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

impl Lsm {
    pub fn open(dir: &Path) -> Self {
        let sequence = SequenceNumberCounter::default();
        let visible = SequenceNumberCounter::default();
        let config = Config::new(dir, sequence.clone(), visible.clone())
            .use_cache(Arc::new(Cache::with_capacity_bytes(setting("CACHE_MIB", 64) << 20)));
        let AnyTree::Standard(tree) = config.open().unwrap() else { unreachable!() };
        let next = tree.get_highest_seqno().map_or(1, |highest| highest + 1);
        sequence.set(next);
        visible.set(next);
        let strategy = Arc::new(
            Leveled::default()
                .with_l0_threshold(setting("L0", 4) as u8)
                .with_table_target_size(setting("TABLE_MIB", 64) << 20),
        );
        let flushed = Arc::new((Mutex::new(0), Condvar::new()));
        let (work, flushes) = mpsc::channel();
        let (compact, compactions) = mpsc::channel();
        let flusher = std::thread::spawn({
            let (tree, flushed, sequence) = (tree.clone(), flushed.clone(), sequence.clone());
            move || {
                for () in flushes {
                    let bound = sequence.get();
                    let lock = tree.get_flush_lock();
                    tree.flush(&lock, bound).unwrap();
                    drop(lock);
                    tree.get_version_history_lock()
                        .maintenance(&tree.tree_config().path, u64::MAX >> 1)
                        .unwrap();
                    *flushed.0.lock().unwrap() += 1;
                    flushed.1.notify_all();
                    let _ = compact.send(());
                }
            }
        });
        let compactor = std::thread::spawn({
            let (tree, sequence) = (tree.clone(), sequence.clone());
            move || {
                for () in compactions {
                    loop {
                        let before = tree.current_version().id();
                        tree.compact(strategy.clone(), sequence.get()).unwrap();
                        if tree.current_version().id() == before {
                            break;
                        }
                    }
                }
            }
        });
        Self {
            tree,
            sequence,
            memtable_limit: setting("MEMTABLE_MIB", 16) << 20,
            work: Some(work),
            threads: vec![flusher, compactor],
            flushed,
        }
    }

    fn rotate(&mut self) {
        if self.tree.rotate_memtable().is_some() {
            self.work.as_ref().unwrap().send(()).unwrap();
        }
        let mut guard = self.flushed.0.lock().unwrap();
        while self.tree.sealed_memtable_count() > 3 {
            guard = self.flushed.1.wait(guard).unwrap();
        }
    }
}

impl Engine for Lsm {
    fn commit(&mut self, rows: &[Row]) {
        let sequence = self.sequence.next();
        let memtable = self.tree.active_memtable();
        for row in rows {
            memtable.insert(InternalValue::from_components(
                tagged(row.table, &row.key),
                &row.value[..],
                sequence,
                ValueType::Value,
            ));
        }

        if memtable.size() > self.memtable_limit {
            drop(memtable);
            self.rotate();
        }
    }

    fn get(&self, table: u8, key: &[u8]) -> Option<Vec<u8>> {
        self.tree.get(tagged(table, key), self.sequence.get()).unwrap().map(|value| value.to_vec())
    }

    fn scan(&self, table: u8, from: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
        for row in self.tree.range(tagged(table, from)..vec![table + 1], self.sequence.get(), None)
        {
            let (key, value) = row.into_inner().unwrap();
            if !visit(&key[1..], &value) {
                return;
            }
        }
    }

    fn settle(&mut self) {
        self.rotate();
        let mut guard = self.flushed.0.lock().unwrap();
        while self.tree.sealed_memtable_count() > 0 {
            guard = self.flushed.1.wait(guard).unwrap();
        }
        drop(guard);
        std::thread::sleep(std::time::Duration::from_millis(20));
        while self.tree.is_compacting() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    fn describe(&self) -> String {
        let levels: Vec<_> =
            (0..7).map(|level| self.tree.level_table_count(level).unwrap_or(0)).collect();
        format!("tables per level {levels:?}, runs in level 0 {}", self.tree.l0_run_count())
    }
}

impl Drop for Lsm {
    fn drop(&mut self) {
        self.work = None;
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}
