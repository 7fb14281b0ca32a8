//! `engines ENGINE LAYOUT KEYS VALUE_BYTES BATCH DIR`: load, overwrite, read, scan, reopen.
//!
//! ENGINE is store, fjall, redb or lmdb; LAYOUT is `two` or `one` (see `layout.rs`). One process
//! measures one engine, so memory and processor time belong to it alone.

mod engine;
mod fjall_engine;
mod layout;
mod lmdb_engine;
mod measure;
mod redb_engine;
mod store_engine;

use engine::{Engine, Row};
use layout::Layout;
use std::{path::Path, time::Instant};

fn open(name: &str, dir: &Path) -> Box<dyn Engine> {
    match name {
        "store" => Box::new(store_engine::Store::open(dir)),
        "fjall" => Box::new(fjall_engine::Fjall::open(dir)),
        "redb" => Box::new(redb_engine::Redb::open(dir)),
        "lmdb" => Box::new(lmdb_engine::Lmdb::open(dir)),
        other => panic!("no engine {other:?}"),
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Runs `count` operations, reports wall and processor time for each.
fn timed(what: &str, count: u64, run: impl FnOnce()) {
    let (wall, processor) = (Instant::now(), measure::processor_us());
    run();
    let processor = measure::processor_us() - processor;
    println!(
        "  {what:<22} wall {:9.2} us  processor {:9.2} us",
        wall.elapsed().as_secs_f64() * 1e6 / count as f64,
        processor as f64 / count as f64
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, layout, keys, value_bytes, batch, dir] = &arguments[..] else {
        panic!("engines ENGINE LAYOUT KEYS VALUE_BYTES BATCH DIR")
    };
    let layout = if layout == "two" { Layout::TwoTables } else { Layout::ValuesByKey };
    let keys: u64 = keys.parse().unwrap();
    let value_bytes: usize = value_bytes.parse().unwrap();
    let batch: u64 = batch.parse().unwrap();
    let dir = Path::new(dir);
    let _ = std::fs::remove_dir_all(dir);
    std::fs::create_dir_all(dir).unwrap();
    println!("{}", arguments.join(" "));

    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut engine = open(name, dir);
    let mut revision = 0;
    for phase in ["load", "overwrite"] {
        let mut stalls = Vec::new();
        let mut anonymous = 0;
        timed(phase, keys, || {
            let mut rows = Vec::new();
            let mut value = vec![0u8; value_bytes];
            for first in (0..keys).step_by(batch as usize) {
                rows.clear();
                for number in first..(first + batch).min(keys) {
                    revision += 1;
                    for word in value.chunks_mut(8) {
                        let bytes = random.below(u64::MAX).to_le_bytes();
                        word.copy_from_slice(&bytes[..word.len()]);
                    }
                    let number = if phase == "load" { number } else { random.below(keys) };
                    layout.put(&mut rows, &layout::key(number), revision, &value);
                }
                rows.push(Row { table: 2, key: vec![0], value: revision.to_be_bytes().to_vec() });
                let start = Instant::now();
                engine.commit(&rows);
                stalls.push(start.elapsed().as_micros() as u64);
                if first.is_multiple_of(100 * batch) {
                    anonymous = anonymous.max(measure::anonymous_mib());
                }
            }
        });
        stalls.sort_unstable();
        println!(
            "    batch p50 {} p99.9 {} worst {} us; anonymous memory at most {anonymous} MiB",
            stalls[stalls.len() / 2],
            stalls[stalls.len() * 999 / 1000],
            stalls[stalls.len() - 1],
        );
    }
    timed("settle (once)", 1, || engine.settle());
    println!(
        "    written {} MiB, on disk {} MiB; {}",
        measure::written_mib(),
        measure::disk_mib(dir),
        engine.describe()
    );
    let samples = 100_000.min(keys);
    for round in ["get", "get again"] {
        timed(round, samples, || {
            for _ in 0..samples {
                layout.latest(&*engine, &layout::key(random.below(keys))).unwrap();
            }
        });
    }
    timed("get of an absent key", samples, || {
        for _ in 0..samples {
            let key = layout::key(keys + random.below(keys));
            assert!(layout.latest(&*engine, &key).is_none());
        }
    });
    for (what, values) in [("scan of 1000", true), ("count of 1000", false)] {
        timed(what, 200, || {
            for _ in 0..200 {
                let from = layout::key(random.below(keys));
                layout.scan(&*engine, &from, 1000, values);
            }
        });
    }
    println!("    anonymous memory {} MiB", measure::anonymous_mib());
    timed("close", 1, || drop(engine));
    let mut reopened = None;
    timed("reopen", 1, || reopened = Some(open(name, dir)));
    assert!(layout.latest(&**reopened.as_ref().unwrap(), &layout::key(1)).is_some());
}
