//! A command that is larger than all memtables: the store holds a part of it at a time, and a crash
//! in the middle leaves none of it.

use bytes::Bytes;
use quorate_mvcc::{
    Command, DeleteRangeRequest, KeyRange, PutRequest, RangeRequest, RequestOp, Response, Store,
    TxnRequest,
};
use quorate_node::Machine;
use quorate_raft::EntryId;
use quorate_store::{DiskEngine, Options};
use tempfile::TempDir;

const OPTIONS: Options =
    Options { memtable_bytes: 32 << 10, memtables_max: 2, cache_bytes: 1 << 20 };

const KEYS: u64 = 2_500;

fn open(dir: &TempDir) -> Store {
    let engine = DiskEngine::open(dir.path(), OPTIONS).expect("the store opens");
    Store::open(Box::new(engine)).expect("it holds a store").with_instalments(16 << 10)
}

/// The entry after which the keys are there, and that which deletes them.
const FILLED: EntryId = EntryId::new(1, KEYS / 100);
const DELETED: EntryId = EntryId::new(1, KEYS / 100 + 1);

fn fill(store: &mut Store) {
    for index in 1..=FILLED.index.0 {
        let put = |number: u64| {
            let key = Bytes::from(format!("key{:05}", index * 100 + number));
            let value = Bytes::from_static(&[7; 100]);
            RequestOp::Put(PutRequest { key, value, ..PutRequest::default() })
        };
        let txn = TxnRequest { success: (0..100).map(put).collect(), ..TxnRequest::default() };
        let entry = EntryId::new(1, index);
        store.apply(entry, &Command::Txn(txn).encode()).unwrap().result.unwrap();
        store.commit(entry).unwrap();
    }
}

fn delete(store: &mut Store) {
    let range = KeyRange::prefix(Bytes::new());
    let command = Command::DeleteRange(DeleteRangeRequest { range, prev_kv: false });
    match store.apply(DELETED, &command.encode()).unwrap().result.unwrap() {
        Response::DeleteRange(response) => assert_eq!(response.deleted, KEYS),
        other => panic!("{other:?}"),
    }
}

fn count(store: &Store) -> u64 {
    let everything = RangeRequest::new(KeyRange::prefix(Bytes::new()));
    store.read_state().range(&everything).unwrap().count
}

#[test]
fn most_of_it_is_on_disk_before_it_ends() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    fill(&mut store);
    delete(&mut store);
    let memory_bytes = store.size().memory_bytes;
    let memory_bytes_max = OPTIONS.memtables_max as u64 * 2 * OPTIONS.memtable_bytes;
    assert!(memory_bytes < memory_bytes_max, "{memory_bytes} bytes are in memory");
    store.commit(DELETED).unwrap();
    assert_eq!(count(&store), 0);
}

#[test]
fn a_crash_in_the_middle_leaves_none_of_it() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    fill(&mut store);
    let hash = store.read_state().hash_kv(0).unwrap();
    delete(&mut store);
    assert_eq!(store.durable(), FILLED, "memory is smaller than the deletion");
    drop(store);

    // The second time, what is left to take back is what the first has not made durable.
    for _ in 0..2 {
        let store = open(&dir);
        assert_eq!(store.applied(), FILLED);
        assert_eq!(count(&store), KEYS);
        assert_eq!(store.read_state().hash_kv(0).unwrap(), hash);
    }
    let mut store = open(&dir);
    delete(&mut store);
    store.commit(DELETED).unwrap();
    store.flush().unwrap();
    drop(store);
    let store = open(&dir);
    assert_eq!((store.applied(), count(&store)), (DELETED, 0));
}
