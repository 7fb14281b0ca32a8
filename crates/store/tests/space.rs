//! Space comes back by what clients can do on a full disk: delete, and compact.

use bytes::Bytes;
use quorate_mvcc::{Command, DeleteRangeRequest, KeyRange, PutRequest, Store};
use quorate_node::Machine;
use quorate_raft::EntryId;
use quorate_store::{DiskEngine, Options};
use std::{thread, time::Duration};
use tempfile::TempDir;

fn run(store: &mut Store, command: &Command) {
    let entry = EntryId::new(1, store.applied().index.0 + 1);
    store.apply(entry, &command.encode()).unwrap().result.unwrap();
    store.commit(entry).unwrap();
}

#[test]
fn deletion_and_compaction_give_space_back_without_another_write() {
    let dir = TempDir::new().unwrap();
    let options = Options { memtable_bytes: 4 << 20, ..Options::default() };
    let mut store = Store::open(Box::new(DiskEngine::open(dir.path(), options).unwrap())).unwrap();
    for number in 0..600 {
        let key = Bytes::from(format!("own/{number:06}"));
        let value = Bytes::from(vec![number as u8; 100_000]);
        run(&mut store, &Command::Put(PutRequest { key, value, ..PutRequest::default() }));
    }
    store.flush().unwrap();
    let full = store.size().disk_bytes;
    assert!(full > 55_000_000, "{full} bytes");
    let range = KeyRange::prefix(Bytes::from_static(b"own/"));
    run(&mut store, &Command::DeleteRange(DeleteRangeRequest { range, prev_kv: false }));
    let revision = store.read_state().revision();
    run(&mut store, &Command::Compact { revision });
    for _ in 0..1_000 {
        while store.idle().unwrap() {}
        // What a server does from time to time on a disk that is nearly full.
        store.reclaim().unwrap();
        if store.size().disk_bytes < full / 10 {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("{} of {full} bytes are left", store.size().disk_bytes);
}
