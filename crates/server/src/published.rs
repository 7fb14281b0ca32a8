//! The newest state of the store, for readers, and what changed last, for watchers.
//!
//! The apply thread puts in, everybody else takes out, and neither waits for the other: the locks here
//! are held for as long as it takes to clone a few counters.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use quorate_host::{Permit, Permits};
use quorate_mvcc::engine::EngineSize;
use quorate_mvcc::watch::{Recent, WatchRing};
use quorate_mvcc::{ReadState, RevisionEvents};
use tokio::sync::watch;

use crate::rpc::Failure;

/// How many bytes of events are remembered. Watchers that fall behind further read the history, which
/// costs the disk's time instead of memory.
const RECENT_BYTES_MAX: usize = 16 << 20;

/// What the last commit left.
#[derive(Debug)]
pub(crate) struct Published {
    current: RwLock<Current>,
    /// The revision, for those who wait for the next.
    revision: watch::Sender<i64>,
    /// For requests that wait.
    waits: Arc<Permits>,
    /// Whether the state wants rights to be checked: asked for each request.
    checks_rights: AtomicBool,
}

#[derive(Debug)]
struct Current {
    /// The state, and the events that led to it.
    ring: WatchRing,
    size_bytes: u64,
}

impl Published {
    /// At most `waits_max` requests wait for another state at a time.
    pub(crate) fn new(state: ReadState, size: EngineSize, waits_max: usize) -> Self {
        let revision = watch::Sender::new(state.revision());
        let checks_rights = AtomicBool::new(state.auth().is_enabled());
        let ring = WatchRing::new(RECENT_BYTES_MAX, state);
        let current = RwLock::new(Current { ring, size_bytes: total(size) });
        let waits = Permits::new(waits_max, usize::MAX);
        Self { current, revision, waits, checks_rights }
    }

    /// Publishes what a commit left, and the events it made. A state that does not follow from those
    /// events is fine too: watchers then read its history.
    pub(crate) fn publish(&self, state: ReadState, size: EngineSize, events: Vec<RevisionEvents>) {
        let (revision, checks_rights) = (state.revision(), state.auth().is_enabled());
        {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            current.ring.publish(events, state);
            current.size_bytes = total(size);
            self.checks_rights.store(checks_rights, Ordering::Release);
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

    /// Whether rights are checked in the newest state.
    pub(crate) fn checks_rights(&self) -> bool {
        self.checks_rights.load(Ordering::Acquire)
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

    /// What is in use of that: see [`ReadState::bytes_in_use`].
    pub(crate) fn bytes_in_use(&self) -> u64 {
        self.current(|current| current.ring.state().bytes_in_use())
    }

    /// The right to wait for another state, unless too many wait.
    pub(crate) fn wait(&self) -> Result<Wait<'_>, Failure> {
        let permit = self.waits.take(0).ok_or(Failure::TooManyRequests)?;
        Ok(Wait { published: self, _permit: permit })
    }

    /// Resolves whenever something was published.
    pub(crate) fn subscribe(&self) -> watch::Receiver<i64> {
        self.revision.subscribe()
    }
}

/// A request that may wait. What it waits for may take long or never come, so whoever waits sees to an end of that.
#[derive(Debug)]
pub(crate) struct Wait<'a> {
    published: &'a Published,
    _permit: Permit,
}

impl Wait<'_> {
    /// Returns when the newest state is such a one.
    pub(crate) async fn until(self, is_such: impl Fn(&ReadState) -> bool) {
        let mut changes = self.published.subscribe();
        while !is_such(&self.published.state()) {
            changes.changed().await.expect("the sender is one of what is borrowed");
        }
    }
}

fn total(size: EngineSize) -> u64 {
    size.disk_bytes + size.memory_bytes
}

#[cfg(test)]
mod tests {
    use quorate_host::Machine as _;
    use quorate_mvcc::{Command, PutRequest};
    use quorate_raft::{EntryId, Index, Term};

    use super::*;
    use crate::witness::no_state;

    #[tokio::test]
    async fn so_many_wait_and_no_more() {
        let mut store = no_state();
        let published = Published::new(store.read_state(), store.size(), 2);
        let [first, second] = [(); 2].map(|()| published.wait().expect("there is room"));
        assert_eq!(published.wait().map(drop), Err(Failure::TooManyRequests));
        drop(first);
        let third = published.wait().expect("one has gone");
        let at = EntryId { index: Index(1), term: Term(1) };
        let put = PutRequest { key: "a".into(), value: "1".into(), ..PutRequest::default() };
        store.apply(at, &Command::Put(put).encode()).expect("in memory");
        store.commit(at).expect("in memory");
        let reaches = |state: &ReadState| 2 <= state.revision();
        tokio::join!(second.until(reaches), third.until(reaches), async {
            published.publish(store.read_state(), store.size(), Vec::new());
        });
        assert!([(); 2].map(|()| published.wait()).iter().all(Result::is_ok), "all have gone");
    }
}
