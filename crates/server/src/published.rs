//! The newest state of the store, for readers, and what changed last, for watchers.
//!
//! The apply thread puts in, everybody else takes out, and neither waits for the other: the locks here
//! are held for as long as it takes to clone a few counters.

use std::sync::{PoisonError, RwLock};

use quorate_mvcc::engine::EngineSize;
use quorate_mvcc::watch::{Recent, WatchRing};
use quorate_mvcc::{ReadState, RevisionEvents};
use tokio::sync::watch;

/// How many bytes of events are remembered. Watchers that fall behind further read the history, which
/// costs the disk's time instead of memory.
const RECENT_BYTES_MAX: usize = 16 << 20;

/// What the last commit left.
#[derive(Debug)]
pub(crate) struct Published {
    current: RwLock<Current>,
    /// The revision, for those who wait for the next.
    revision: watch::Sender<i64>,
}

#[derive(Debug)]
struct Current {
    /// The state, and the events that led to it.
    ring: WatchRing,
    size_bytes: u64,
}

impl Published {
    pub(crate) fn new(state: ReadState, size: EngineSize) -> Self {
        let revision = watch::Sender::new(state.revision());
        let ring = WatchRing::new(RECENT_BYTES_MAX, state);
        Self { current: RwLock::new(Current { ring, size_bytes: total(size) }), revision }
    }

    /// Publishes what a commit left, and the events it made. A state that does not follow from those
    /// events is fine too: watchers then read its history.
    pub(crate) fn publish(&self, state: ReadState, size: EngineSize, events: Vec<RevisionEvents>) {
        let revision = state.revision();
        {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            current.ring.publish(events, state);
            current.size_bytes = total(size);
        }
        // Also when only the compaction moved: that concerns watchers too.
        self.revision.send_replace(revision);
    }

    /// Whether the store takes more or less than when it was last published.
    pub(crate) fn takes_other_than(&self, size: EngineSize) -> bool {
        self.current(|current| current.size_bytes != total(size))
    }

    fn current<T>(&self, take: impl FnOnce(&Current) -> T) -> T {
        take(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The newest state.
    pub(crate) fn state(&self) -> ReadState {
        self.current(|current| current.ring.state().clone())
    }

    /// The newest revision.
    pub(crate) fn revision(&self) -> i64 {
        self.current(|current| current.ring.state().revision())
    }

    /// What happened from a revision on.
    pub(crate) fn recent(&self, from: i64) -> Recent {
        self.current(|current| current.ring.recent(from))
    }

    /// How much the store takes, on disk and in memory.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.current(|current| current.size_bytes)
    }

    /// Resolves whenever something was published.
    pub(crate) fn subscribe(&self) -> watch::Receiver<i64> {
        self.revision.subscribe()
    }
}

fn total(size: EngineSize) -> u64 {
    size.disk_bytes + size.memory_bytes
}
