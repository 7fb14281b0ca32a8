//! The machine of a member: the production data model over an engine in memory that outlives the
//! process, and lags behind as lazily durable engines do.

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use quorate_mvcc::engine::{
    Engine, EngineError, EngineSize, KeyBounds, Reader, Row, Rows, Table, View,
};
use quorate_mvcc::mem::MemEngine;
use quorate_mvcc::watch::{Recent, WatchRing};
use quorate_mvcc::{
    KeyRange, Lease, LeaseChange, Outcome, RangeRequest, RangeResponse, RevisionEvents, Store,
};
use quorate_node::{
    Fault, Fingerprint, Keep, Machine, Piece, RestoreError, Snapshot, SnapshotBytes, SnapshotError,
    Witness,
};
use quorate_raft::EntryId;

use crate::rider::Saved;

/// A command that was applied, and its outcome.
pub type Traced = (EntryId, Outcome);

/// What a member holds of the data model: the engine, with what of it would survive a crash.
#[derive(Clone, Debug)]
pub struct SharedEngine {
    rows: Arc<Mutex<MemEngine>>,
    /// What a machine that rides along has made durable. All of it survives.
    saved: Arc<Mutex<Option<Saved>>>,
    /// What the machine of a witness has made durable. It has no rows.
    image: Arc<Mutex<Option<Vec<u8>>>>,
}

impl Default for SharedEngine {
    /// An empty engine, durable only when it is told to be.
    fn default() -> Self {
        let rows = Arc::new(Mutex::new(MemEngine::lazy(u32::MAX)));
        Self { rows, saved: Arc::default(), image: Arc::default() }
    }
}

impl SharedEngine {
    /// Loses what a crash loses. Whoever still holds the engine of before keeps what is lost.
    pub fn crash(&mut self) {
        let (left, saved, image) = (self.lock().crash(), self.saved(), self.image());
        self.rows = Arc::new(Mutex::new(left));
        self.saved = Arc::new(Mutex::new(saved));
        self.image = Arc::new(Mutex::new(image));
    }

    fn image(&self) -> Option<Vec<u8>> {
        self.image.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The machine of a witness.
    pub(crate) fn witness(&self) -> Result<Witness<Traced>, Fault> {
        Witness::open(self.image().as_deref(), Box::new(self.clone()))
    }

    /// How far the machine on it is durable, whichever that is, and the members that it keeps.
    pub(crate) fn kept(&self) -> (EntryId, Option<Bytes>) {
        if self.image().is_some() {
            let machine = self.witness().expect("what a witness kept can be read");
            return (machine.durable(), machine.membership());
        }
        (self.durable(), quorate_mvcc::membership(self).expect("an engine in memory can be read"))
    }

    fn lock(&self) -> MutexGuard<'_, MemEngine> {
        // One thread: poisoned only by a panic that ended the run already.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a machine that rides along has made durable.
    pub(crate) fn saved(&self) -> Option<Saved> {
        self.saved.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the place of what was saved before.
    pub(crate) fn save(&self, saved: Saved) {
        *self.saved.lock().unwrap_or_else(PoisonError::into_inner) = Some(saved);
    }
}

impl Keep for SharedEngine {
    fn keep(&mut self, image: &[u8]) -> Result<(), Fault> {
        *self.image.lock().unwrap_or_else(PoisonError::into_inner) = Some(image.into());
        Ok(())
    }
}

impl Reader for SharedEngine {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.lock().get(table, key)
    }

    fn scan<'a>(&'a self, table: Table, bounds: KeyBounds<'_>) -> Rows<'a> {
        let owned = |bound: Bound<&[u8]>| bound.map(Bytes::copy_from_slice);
        let (from, to) = (owned(bounds.0), owned(bounds.1));
        Box::new(Scan {
            engine: self,
            table,
            from,
            to,
            first: Batch::default(),
            last: Batch::default(),
        })
    }
}

/// A scan of an engine that is locked only now and then: it takes rows in batches, larger and larger ones, from
/// either end. Most readers want a row or two of a key with a long history.
struct Scan<'a> {
    engine: &'a SharedEngine,
    table: Table,
    /// The rows that were not taken yet.
    from: Bound<Bytes>,
    to: Bound<Bytes>,
    /// Rows taken from either end, in the order in which they are asked for.
    first: Batch,
    last: Batch,
}

/// Rows taken and not asked for yet.
struct Batch {
    rows: VecDeque<Row>,
    /// How many to take next.
    next: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self { rows: VecDeque::new(), next: 1 }
    }
}

impl Batch {
    /// The most rows that are taken at once.
    const ROWS_MAX: usize = 256;

    /// Takes the next rows. Returns the key of the last of them.
    fn fill(&mut self, rows: impl Iterator<Item = Row>) -> Option<Bytes> {
        self.rows.extend(rows.take(self.next));
        self.next = (self.next * 2).min(Self::ROWS_MAX);
        self.rows.back()?.as_ref().ok().map(|(key, _)| key.clone())
    }
}

impl Scan<'_> {
    fn bounds(&self) -> KeyBounds<'_> {
        (self.from.as_ref().map(|key| &key[..]), self.to.as_ref().map(|key| &key[..]))
    }
}

impl Iterator for Scan<'_> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        if self.first.rows.is_empty() {
            let engine = self.engine.lock();
            let mut batch = std::mem::take(&mut self.first);
            let taken = batch.fill(engine.scan(self.table, self.bounds()));
            self.first = batch;
            if let Some(key) = taken {
                self.from = Bound::Excluded(key);
            }
        }
        // What is left may have been taken from the other end.
        self.first.rows.pop_front().or_else(|| self.last.rows.pop_back())
    }
}

impl DoubleEndedIterator for Scan<'_> {
    fn next_back(&mut self) -> Option<Row> {
        if self.last.rows.is_empty() {
            let engine = self.engine.lock();
            let mut batch = std::mem::take(&mut self.last);
            let taken = batch.fill(engine.scan(self.table, self.bounds()).rev());
            self.last = batch;
            if let Some(key) = taken {
                self.to = Bound::Excluded(key);
            }
        }
        self.last.rows.pop_front().or_else(|| self.first.rows.pop_back())
    }
}

impl Engine for SharedEngine {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        self.lock().put(table, key, value)
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), EngineError> {
        self.lock().delete(table, key)
    }

    fn commit(&mut self, applied: EntryId) -> Result<(), EngineError> {
        self.lock().commit(applied)
    }

    fn applied(&self) -> EntryId {
        self.lock().applied()
    }

    fn durable(&self) -> EntryId {
        self.lock().durable()
    }

    fn flush(&mut self) -> Result<(), EngineError> {
        self.lock().flush()
    }

    fn view(&self) -> View {
        self.lock().view()
    }

    fn replace_begin(&mut self) -> Result<(), EngineError> {
        self.lock().replace_begin()
    }

    fn replace_put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
        self.lock().replace_put(table, key, value)
    }

    fn replace_finish(&mut self, applied: EntryId) -> Result<(), EngineError> {
        self.lock().replace_finish(applied)
    }

    fn size(&self) -> EngineSize {
        self.lock().size()
    }
}

/// What a machine is opened with.
#[derive(Clone, Copy, Debug)]
pub struct MachineOptions {
    /// The bytes of one piece of a snapshot.
    pub piece_bytes_max: usize,
    /// The bytes of recent events that are kept for watchers, if anybody watches in this run.
    pub ring_bytes: Option<usize>,
    /// Whether it says that its state is another than it is.
    pub differs: bool,
}

/// What the world sees of a machine beside what the applier says.
struct Shown {
    store: Store,
    /// What was applied since the last look.
    trace: Vec<Traced>,
    /// The events of the last commits, for watchers.
    ring: Option<WatchRing>,
    /// Counts what was published in it.
    publications: u64,
    /// The leases that came and went since the last look.
    leases: Vec<LeaseChange>,
}

impl Shown {
    /// Hands the committed state over to watchers, as the real server does after each commit.
    fn publish(&mut self) {
        if let Some(ring) = &mut self.ring {
            ring.publish(self.store.take_events(), self.store.read_state());
            self.publications += 1;
        }
        self.leases.extend(self.store.take_lease_changes());
    }
}

/// The readers' side of a machine.
#[derive(Clone)]
pub struct Reading(Arc<Mutex<Shown>>);

impl Reading {
    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was applied since the last call.
    #[must_use]
    pub fn take_trace(&self) -> Vec<Traced> {
        std::mem::take(&mut self.lock().trace)
    }

    /// The leases that came and went since the last call.
    #[must_use]
    pub fn take_lease_changes(&self) -> Vec<LeaseChange> {
        std::mem::take(&mut self.lock().leases)
    }

    /// All leases of the committed state.
    ///
    /// # Panics
    /// If an engine in memory can't be read.
    #[must_use]
    pub fn leases(&self) -> Vec<Lease> {
        let state = self.lock().store.read_state();
        state.leases().expect("the newest state can be read")
    }

    /// All that happened, if nothing of it was compacted.
    ///
    /// # Panics
    /// If an engine in memory can't be read.
    #[must_use]
    pub fn whole_history(&self) -> Option<Vec<RevisionEvents>> {
        let state = self.lock().store.read_state();
        let is_whole = state.compacted() < 0;
        is_whole.then(|| state.history(0, usize::MAX).expect("nothing of it is gone"))
    }

    /// How often something was published for watchers.
    #[must_use]
    pub fn publications(&self) -> u64 {
        self.lock().publications
    }

    /// The published revision.
    ///
    /// # Panics
    /// If the machine was opened for a run without watchers. So do the next.
    #[must_use]
    pub fn published_revision(&self) -> i64 {
        self.lock().ring.as_ref().expect("watchers have a ring").state().revision()
    }

    /// What happened from a revision on, as far as it was published.
    #[must_use]
    pub fn recent(&self, from: i64) -> Recent {
        self.lock().ring.as_ref().expect("watchers have a ring").recent(from)
    }

    /// Reads a key from the committed state, as a client's read does. The state is held no longer
    /// than that: the next write after it would copy the engine.
    ///
    /// # Panics
    /// If an engine in memory can't be read.
    #[must_use]
    pub fn read(&self, key: &Bytes) -> RangeResponse {
        let request = RangeRequest::new(KeyRange::Point(key.clone()));
        let state = self.lock().store.read_state();
        state.range(&request).expect("the newest state can be read")
    }
}

/// The production store; tells the position of every outcome, and shows all of them.
struct Watched {
    shown: Reading,
    piece_bytes_max: usize,
    differs: bool,
}

/// A machine on what an engine holds.
///
/// # Errors
/// If the store can't be opened.
pub fn open(
    engine: &SharedEngine,
    options: MachineOptions,
) -> Result<(Box<dyn Machine<Outcome = Traced>>, Reading), Fault> {
    let MachineOptions { piece_bytes_max, ring_bytes, differs } = options;
    let store = Store::open(Box::new(engine.clone()))?;
    let ring = ring_bytes.map(|bytes| WatchRing::new(bytes, store.read_state()));
    let shown = Shown { store, trace: Vec::new(), ring, publications: 0, leases: Vec::new() };
    let shown = Reading(Arc::new(Mutex::new(shown)));
    Ok((Box::new(Watched { shown: shown.clone(), piece_bytes_max, differs }), shown))
}

impl Machine for Watched {
    type Outcome = Traced;

    fn applied(&self) -> EntryId {
        self.shown.lock().store.applied()
    }

    fn durable(&self) -> EntryId {
        self.shown.lock().store.durable()
    }

    fn apply(&mut self, entry: EntryId, command: &Bytes) -> Result<Self::Outcome, Fault> {
        let mut shown = self.shown.lock();
        let outcome = shown.store.apply(entry, command)?;
        shown.trace.push((entry, outcome.clone()));
        Ok((entry, outcome))
    }

    fn membership(&self) -> Option<Bytes> {
        self.shown.lock().store.membership()
    }

    fn set_membership(&mut self, entry: EntryId, membership: &Bytes) -> Result<(), Fault> {
        self.shown.lock().store.set_membership(entry, membership)
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        let fingerprint = self.shown.lock().store.fingerprint()?;
        Some(Fingerprint(fingerprint.0 ^ u128::from(self.differs)))
    }

    fn commit(&mut self, through: EntryId) -> Result<(), Fault> {
        let mut shown = self.shown.lock();
        shown.store.commit(through)?;
        shown.publish();
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Fault> {
        self.shown.lock().store.flush()
    }

    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, Fault> {
        let snapshot = self.shown.lock().store.snapshot()?;
        Ok(Box::new(Pieces { snapshot, piece_bytes_max: self.piece_bytes_max }))
    }

    fn restore(&mut self, piece: &Piece) -> Result<(), RestoreError> {
        let mut shown = self.shown.lock();
        shown.store.restore(piece)?;
        if piece.end {
            shown.publish();
        }
        Ok(())
    }
}

/// A snapshot in smaller pieces than a node asks for, so that a small state makes a long transfer.
struct Pieces {
    snapshot: Box<dyn Snapshot>,
    piece_bytes_max: usize,
}

impl Snapshot for Pieces {
    fn last(&self) -> EntryId {
        self.snapshot.last()
    }

    fn read(&mut self, cursor: &[u8], bytes_max: usize) -> Result<SnapshotBytes, SnapshotError> {
        self.snapshot.read(cursor, bytes_max.min(self.piece_bytes_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of a scan from both ends, in their order: `backwards` says from which end each is taken.
    fn taken(engine: &SharedEngine, bounds: KeyBounds<'_>, backwards: u32) -> Vec<Bytes> {
        let mut scan = engine.scan(Table::ALL[0], bounds);
        let (mut first, mut last) = (Vec::new(), Vec::new());
        for turn in 0.. {
            let is_back = backwards >> (turn % 32) & 1 != 0;
            let row = if is_back { scan.next_back() } else { scan.next() };
            let Some((key, _)) = row.transpose().expect("it can be read") else { break };
            if is_back { last.push(key) } else { first.push(key) }
        }
        first.into_iter().chain(last.into_iter().rev()).collect()
    }

    #[test]
    fn a_scan_in_batches_gives_each_row_once_from_whichever_end() {
        let mut engine = SharedEngine::default();
        let key = |number: u16| number.to_be_bytes();
        (0..700).for_each(|number| {
            engine.put(Table::ALL[0], &key(number), b"v").expect("there is room")
        });
        for (from, to) in [(0_u16, 700_u16), (3, 4), (5, 5), (10, 650), (600, 900)] {
            let (low, high) = (key(from), key(to));
            let bounds = (Bound::Included(&low[..]), Bound::Excluded(&high[..]));
            let expected: Vec<Bytes> =
                (from..to.min(700)).map(|number| Bytes::copy_from_slice(&key(number))).collect();
            for backwards in [0, u32::MAX, 0x5555_5555, 0x0f0f_0001, 0xfffe_0000] {
                assert_eq!(
                    taken(&engine, bounds, backwards),
                    expected,
                    "{from} {to} {backwards:x}"
                );
            }
        }
    }
}
