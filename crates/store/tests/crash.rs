//! Kills a writing process again and again; each time the store must reopen at a committed position
//! with exactly the rows of that position, and not before what it had called durable.
//!
//! This program is both sides. `crash write DIR` writes for ever and reports each position as it
//! becomes durable; without arguments it starts such a child, kills it, and checks.

#![expect(clippy::print_stdout, reason = "the child talks to its parent this way")]

use quorate_mvcc::engine::{Engine, Reader, Table};
use quorate_raft::EntryId;
use quorate_store::{DiskEngine, Options};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    ops::Bound,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

const ROUNDS: u64 = 25;
const KEYS: u64 = 400;
/// A child that makes nothing durable for so long is stuck.
const PROGRESS: Duration = Duration::from_secs(60);
/// So small that flushes and compactions are always under way when the kill comes.
const SMALL: Options = Options { memtable_bytes: 32 << 10, memtables_max: 3, cache_bytes: 1 << 20 };

/// The rows that batch `index` writes: three keys get its number, one is deleted.
fn batch(index: u64) -> ([u64; 3], u64) {
    let written = [0, 1, 2].map(|step| (index * 7 + step * 131) % KEYS);
    (written, (index * 13) % KEYS)
}

/// What the store holds when every batch up to `applied` and no other has been applied. Deletions
/// come after the writes of their batch.
fn model(applied: u64) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut rows = BTreeMap::new();
    for index in 1..=applied {
        let (written, deleted) = batch(index);
        for key in written {
            rows.insert(key.to_be_bytes().to_vec(), value(index));
        }
        rows.remove(&deleted.to_be_bytes()[..]);
    }
    rows
}

fn value(index: u64) -> Vec<u8> {
    index.to_be_bytes().repeat(1 + (index % 40) as usize)
}

fn write(dir: &Path) {
    let mut engine = DiskEngine::open(dir, SMALL).expect("the store opens");
    let mut reported = engine.durable();
    for index in engine.applied().index.0 + 1.. {
        // Every so often the whole content is replaced by itself, as a snapshot would do.
        if index.is_multiple_of(300) {
            engine.replace_begin().expect("a replacement begins");
            for (key, value) in model(index) {
                engine.replace_put(Table::Key, &key, &value).expect("a row is collected");
            }
            engine.replace_finish(EntryId::new(1, index)).expect("the content is replaced");
        } else {
            let (written, deleted) = batch(index);
            for key in written {
                engine.put(Table::Key, &key.to_be_bytes(), &value(index)).expect("a row is put");
            }
            engine.delete(Table::Key, &deleted.to_be_bytes()).expect("a row is deleted");
            engine.commit(EntryId::new(1, index)).expect("the batch is committed");
        }
        if engine.durable() != reported {
            reported = engine.durable();
            println!("{}", reported.index.0);
            std::io::stdout().flush().expect("the parent listens");
        }
    }
}

/// Lets a child write for a while and kills it; returns the last position that it called durable.
fn write_and_kill(dir: &Path, patience: Duration) -> u64 {
    let mut child = Command::new(std::env::current_exe().expect("this program has a path"))
        .args(["write".as_ref(), dir.as_os_str()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts");
    let lines = BufReader::new(child.stdout.take().expect("its output is piped")).lines();
    let (send, receive) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in lines {
            let position: u64 = line.expect("a line").parse().expect("a position");
            if send.send(position).is_err() {
                return;
            }
        }
    });
    // However slow the machine is, each round gets somewhere before its time begins to run.
    let mut durable = receive.recv_timeout(PROGRESS).expect("the child makes progress");
    let start = Instant::now();
    while let Some(left) = patience.checked_sub(start.elapsed()) {
        match receive.recv_timeout(left) {
            Ok(position) => durable = position,
            Err(mpsc::RecvTimeoutError::Timeout) => break,
            Err(mpsc::RecvTimeoutError::Disconnected) => panic!("the child ended by itself"),
        }
    }
    child.kill().expect("the child can be killed");
    child.wait().expect("the child is gone");
    // What it managed to say before it died counts too.
    durable = receive.iter().last().unwrap_or(durable);
    reader.join().expect("the reader ends with the child");
    durable
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|first| first == "write") {
        return write(Path::new(&arguments[2]));
    }
    let dir = tempfile::tempdir().expect("a directory");
    let mut last = 0;
    for round in 0..ROUNDS {
        let durable = write_and_kill(dir.path(), Duration::from_millis(round * 9));
        let engine = DiskEngine::open(dir.path(), SMALL).expect("the store opens after a kill");
        let applied = engine.applied().index.0;
        assert!(applied >= durable, "{durable} was durable, but the store is at {applied}");
        assert!(applied > last, "the store was at {last} and is at {applied} now");
        let rows: BTreeMap<Vec<u8>, Vec<u8>> = engine
            .scan(Table::Key, (Bound::Unbounded, Bound::Unbounded))
            .map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())).expect("a row"))
            .collect();
        assert!(rows == model(applied), "the rows are not those of position {applied}");
        last = applied;
    }
    println!("test kill ... ok ({ROUNDS} kills, {last} batches)");
}
