//! Commands that change very much: what they hold in memory does not grow with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use quorate_mvcc::engine::{Engine, EngineError, EngineSize, KeyBounds, Reader, Rows, Table, View};
use quorate_mvcc::mem::MemEngine;
use quorate_mvcc::watch::{WatchCreateRequest, WatchLimits, WatchRing, WatchStream};
use quorate_mvcc::{
    Command, DeleteRangeRequest, Error, EventKind, KeyRange, PutRequest, RangeRequest, ReadError,
    RequestOp, Response, Store, TxnRequest,
};
use quorate_node::Machine;
use quorate_raft::EntryId;

/// An engine that keeps the size of its largest batch.
struct Meter {
    engine: MemEngine,
    batch_bytes: usize,
    largest: Arc<AtomicUsize>,
}

impl Meter {
    fn wrote(&mut self, key: &[u8], value: &[u8]) {
        self.batch_bytes += key.len() + value.len();
        self.largest.fetch_max(self.batch_bytes, Ordering::Relaxed);
    }
}

impl Reader for Meter {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.engine.get(table, key)
    }

    fn scan<'a>(&'a self, table: Table, bounds: KeyBounds<'_>) -> Rows<'a> {
        self.engine.scan(table, bounds)
    }
}

impl Engine for Meter {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        self.wrote(key, value);
        self.engine.put(table, key, value)
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), EngineError> {
        self.wrote(key, &[]);
        self.engine.delete(table, key)
    }

    fn commit(&mut self, applied: EntryId) -> Result<(), EngineError> {
        self.batch_bytes = 0;
        self.engine.commit(applied)
    }

    fn applied(&self) -> EntryId {
        self.engine.applied()
    }

    fn durable(&self) -> EntryId {
        self.engine.durable()
    }

    fn flush(&mut self) -> Result<(), EngineError> {
        self.engine.flush()
    }

    fn view(&self) -> View {
        self.engine.view()
    }

    fn replace_begin(&mut self) -> Result<(), EngineError> {
        self.engine.replace_begin()
    }

    fn replace_put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        self.engine.replace_put(table, key, value)
    }

    fn replace_finish(&mut self, applied: EntryId) -> Result<(), EngineError> {
        self.engine.replace_finish(applied)
    }

    fn size(&self) -> EngineSize {
        self.engine.size()
    }
}

/// How many keys there are, and how long each is: together more than a batch or its events may take.
const KEYS: usize = 3_000;
const KEY_BYTES: usize = 8_000;

const LEASE: i64 = 7;

struct Filled {
    store: Store,
    ring: WatchRing,
    largest: Arc<AtomicUsize>,
}

impl Filled {
    /// A store with all those keys, each attached to the lease.
    fn new() -> Self {
        let largest = Arc::default();
        let engine =
            Meter { engine: MemEngine::new(), batch_bytes: 0, largest: Arc::clone(&largest) };
        let store = Store::open(Box::new(engine)).unwrap();
        let ring = WatchRing::new(64 << 20, store.read_state());
        let mut filled = Self { store, ring, largest };
        filled.run(&Command::LeaseGrant { id: LEASE, ttl: 60 });
        for first in (0..KEYS).step_by(100) {
            let put = |number: usize| {
                let key = Bytes::from(format!("{number:0KEY_BYTES$}"));
                let value = Bytes::from_static(b"value");
                let put = PutRequest { key, value, lease: LEASE, ..PutRequest::default() };
                RequestOp::Put(put)
            };
            let success = (first..first + 100).map(put).collect();
            filled.run(&Command::Txn(TxnRequest { success, ..TxnRequest::default() }));
        }
        filled
    }

    fn run(&mut self, command: &Command) -> Response {
        let entry = EntryId::new(1, self.store.applied().index.0 + 1);
        let outcome = self.store.apply(entry, &command.encode()).unwrap();
        self.store.commit(entry).unwrap();
        self.ring.publish(self.store.take_events(), self.store.read_state());
        outcome.result.unwrap()
    }

    /// Deletes all keys by a command, and compares what is left and what a watcher sees.
    fn delete_by(mut self, command: &Command) -> Response {
        let limits = WatchLimits {
            fragment_bytes: 1 << 20,
            advance_bytes: 1 << 20,
            revision_bytes: 1 << 30,
        };
        let mut stream = WatchStream::new(limits);
        let key = Bytes::from_static(b"0");
        let range_end = Bytes::from_static(b"\0");
        let request =
            WatchCreateRequest { key, range_end, fragment: true, ..WatchCreateRequest::default() };
        stream.create(request, self.ring.state().revision());
        let before = self.ring.state().revision();

        self.largest.store(0, Ordering::Relaxed);
        let response = self.run(command);
        let largest = self.largest.load(Ordering::Relaxed);
        assert!(largest < 5 << 20, "{largest} bytes were written at once");

        let state = self.store.read_state();
        assert_eq!(state.revision(), before + 1, "all at one revision");
        let everything = || RangeRequest::new(KeyRange::prefix(Bytes::new()));
        assert_eq!(state.range(&everything()).unwrap().count, 0);
        let then = RangeRequest { revision: before, ..everything() };
        assert_eq!(state.range(&then).unwrap().count, KEYS as u64, "history has them");
        assert!(state.lease_keys(LEASE).unwrap().is_empty());

        let recent = self.ring.recent(stream.position());
        assert!(stream.reads_disk(&recent), "so many events are not kept in memory");
        let advance = stream.advance(recent).unwrap();
        let events: Vec<_> =
            advance.responses.iter().flat_map(|response| &response.events).collect();
        assert!(events.is_sorted_by_key(|event| &event.kv.key));
        assert!(events.iter().all(|event| event.kind == EventKind::Delete));
        assert_eq!(events.len(), KEYS);

        // Small ones are kept again.
        let put = PutRequest { key: Bytes::from_static(b"1"), ..PutRequest::default() };
        self.run(&Command::Put(put));
        assert!(!stream.reads_disk(&self.ring.recent(stream.position())));
        response
    }
}

#[test]
fn a_deletion_of_everything() {
    let range = KeyRange::prefix(Bytes::new());
    let delete = DeleteRangeRequest { range, prev_kv: false };
    let response = Filled::new().delete_by(&Command::DeleteRange(delete));
    let Response::DeleteRange(response) = response else { panic!("{response:?}") };
    assert_eq!(response.deleted, KEYS as u64);
}

#[test]
fn a_lease_with_very_many_keys() {
    let response = Filled::new().delete_by(&Command::LeaseRevoke { id: LEASE });
    assert_eq!(response, Response::LeaseRevoke);
}

/// Whatever is asked for, an answer stays within bounds; and what a command does does not depend on
/// how much of it can be told.
#[test]
fn an_answer_that_is_too_large_is_refused_and_nothing_else_is() {
    let mut store = Store::open(Box::new(MemEngine::new())).unwrap();
    let mut run = |command: &Command| {
        let entry = EntryId::new(1, store.applied().index.0 + 1);
        let outcome = store.apply(entry, &command.encode()).unwrap();
        store.commit(entry).unwrap();
        (outcome, store.read_state())
    };
    let value = Bytes::from(vec![7; 1 << 20]);
    let put = |key: &'static str, prev_kv| {
        let (key, value) = (Bytes::from(key), value.clone());
        RequestOp::Put(PutRequest { key, value, prev_kv, ..PutRequest::default() })
    };
    let get = RequestOp::Range(RangeRequest::new(KeyRange::Point(Bytes::from("a"))));
    // As many as fit: a mebibyte each, and a little.
    let gets = vec![get.clone(); 1023];
    let txn = |success| TxnRequest { success, ..TxnRequest::default() };
    run(&Command::Txn(txn(vec![put("a", false), put("b", false)]))).0.result.unwrap();

    let all = |rest: &[RequestOp]| txn([&gets[..], rest].concat());
    let (outcome, state) = run(&Command::Txn(all(&[put("c", true)])));
    assert!(matches!(outcome.result, Ok(Response::Txn(of)) if of.responses.len() == 1024));
    assert!(state.txn(&all(&[])).is_ok());
    let refused = Err(ReadError::Refused(Error::AnswerTooLarge));
    assert_eq!(state.txn(&all(std::slice::from_ref(&get))), refused);

    let range = KeyRange::Span { from: Bytes::from("b"), to: Bytes::from("d") };
    let delete = RequestOp::DeleteRange(DeleteRangeRequest { range, prev_kv: true });
    for last in [vec![put("c", true)], vec![get, put("d", false)], vec![delete]] {
        let revision = state.revision();
        let (outcome, state) = run(&Command::Txn(all(&last)));
        assert_eq!(outcome.result, Err(Error::AnswerTooLarge));
        assert!(outcome.revision > revision && state.revision() == outcome.revision);
    }
    let state = store.read_state();
    let everything =
        RangeRequest { keys_only: true, ..RangeRequest::new(KeyRange::prefix(Bytes::new())) };
    let left: Vec<Bytes> =
        state.range(&everything).unwrap().kvs.into_iter().map(|kv| kv.key).collect();
    assert_eq!(left, ["a", "d"]);
}
