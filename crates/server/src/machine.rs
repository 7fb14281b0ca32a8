//! The store as the group drives it, and what everybody else hears of that.
//!
//! The apply thread calls this machine and nobody else does. After each commit it publishes the new
//! state to readers, what changed to the watchers, and the leases that came and went to the lessor.
//! All three are handed over without waiting for anyone.

use std::sync::Arc;

use bytes::Bytes;
use quorate_host::Space;
use quorate_mvcc::{Outcome, Store};
use quorate_node::{Fault, Fingerprint, Machine, Piece, RestoreError, Scrubbed, Snapshot};
use quorate_raft::EntryId;

use crate::leases::Leases;
use crate::login::Tokens;
use crate::metrics::Metrics;
use crate::published::Published;

/// The store, with those who want to hear of its commits.
pub(crate) struct Replica {
    store: Store,
    published: Arc<Published>,
    leases: Arc<Leases>,
    tokens: Arc<Tokens>,
    space: Arc<Space>,
    metrics: Arc<Metrics>,
}

impl Replica {
    pub(crate) fn new(
        store: Store,
        published: Arc<Published>,
        leases: Arc<Leases>,
        tokens: Arc<Tokens>,
        space: Arc<Space>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { store, published, leases, tokens, space, metrics }
    }

    fn publish(&mut self) {
        // Before the state, so that whoever got a token is known by it.
        self.tokens.note(self.store.take_issued());
        let (events, leases) = (self.store.take_events(), self.store.take_lease_changes());
        self.published.publish(self.store.read_state(), self.store.size(), events);
        // In this order: see `Leases::promote`.
        self.leases.note(leases);
    }
}

impl Machine for Replica {
    type Outcome = Outcome;

    fn applied(&self) -> EntryId {
        self.store.applied()
    }

    fn durable(&self) -> EntryId {
        self.store.durable()
    }

    fn apply(&mut self, entry: EntryId, command: &Bytes) -> Result<Outcome, Fault> {
        self.store.apply(entry, command)
    }

    fn membership(&self) -> Option<Bytes> {
        self.store.membership()
    }

    fn set_membership(&mut self, entry: EntryId, membership: &Bytes) -> Result<(), Fault> {
        self.store.set_membership(entry, membership)
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        self.store.fingerprint()
    }

    fn commit(&mut self, through: EntryId) -> Result<(), Fault> {
        self.metrics.commit(|| self.store.commit(through))?;
        self.publish();
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Fault> {
        self.store.flush()
    }

    fn begin_flush(&mut self) -> Result<(), Fault> {
        self.store.begin_flush()
    }

    fn idle(&mut self) -> Result<bool, Fault> {
        let more = self.store.idle()?;
        let removed = self.store.read_state().physically_compacted();
        // Somebody may wait for the space of a whole compaction. A part of it is no news.
        if removed != self.published.state().physically_compacted() {
            self.published.publish(self.store.read_state(), self.store.size(), Vec::new());
        }
        Ok(more)
    }

    fn scrub(&mut self, bytes_max: usize) -> Result<Option<Scrubbed>, Fault> {
        // Merges give space back without a commit that would tell. The state of before keeps the tables
        // that were merged away, and with them their space.
        let size = self.store.size();
        if self.published.takes_other_than(size) {
            self.published.publish(self.store.read_state(), size, Vec::new());
        }
        if self.space.is_scarce() {
            self.store.reclaim()?;
        }
        self.store.scrub(bytes_max)
    }

    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, Fault> {
        self.store.snapshot()
    }

    fn restore(&mut self, piece: &Piece) -> Result<(), RestoreError> {
        self.store.restore(piece)?;
        if piece.end {
            // The events between the old state and this one were never seen here. Watchers find them
            // in its history.
            self.published.publish(self.store.read_state(), self.store.size(), Vec::new());
        }
        Ok(())
    }
}
