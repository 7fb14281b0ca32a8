//! The tests that every engine must pass, on this one: with memtables so small that they are
//! flushed and compacted all the time, and with the default ones, where all stays in memory.

use quorate_mvcc::engine::{Engine, suite};
use quorate_store::{DiskEngine, Options};
use tempfile::TempDir;

fn run(options: Options) {
    let mut dirs = Vec::new();
    suite::all(&mut || {
        let dir = TempDir::new().expect("a directory");
        let engine: Box<dyn Engine> =
            Box::new(DiskEngine::open(dir.path(), options).expect("the store opens"));
        dirs.push(dir);
        engine
    });
}

#[test]
fn in_small_memtables() {
    run(Options { memtable_bytes: 1 << 10, memtables_max: 2, cache_bytes: 1 << 16 });
}

#[test]
fn in_large_memtables() {
    run(Options::default());
}
