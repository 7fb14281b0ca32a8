//! Commands that change very much: what they hold in memory does not grow with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use quorate_mvcc::engine::{Engine, EngineError, EngineSize, KeyBounds, Reader, Rows, Table, View};
use quorate_mvcc::mem::MemEngine;
use quorate_mvcc::watch::{WatchCreateRequest, WatchLimits, WatchRing, WatchStream};
use quorate_mvcc::{
    Command, DeleteRangeRequest, EventKind, KeyRange, PutRequest, Response, Store, TxnRequest,
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
                quorate_mvcc::RequestOp::Put(put)
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
        let limits = WatchLimits { fragment_bytes: 1 << 20, advance_bytes: 1 << 20 };
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
        let everything = || quorate_mvcc::RangeRequest::new(KeyRange::prefix(Bytes::new()));
        assert_eq!(state.range(&everything()).unwrap().count, 0);
        let then = quorate_mvcc::RangeRequest { revision: before, ..everything() };
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
