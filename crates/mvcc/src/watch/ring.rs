//! The recent events, shared by all streams.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::read::ReadState;
use crate::response::{Event, RevisionEvents};

/// The events of the latest revisions, as many as fit into a number of bytes, and the state that
/// they led to. A revision whose events do not fit at all leaves it empty.
///
/// Invariants: the revisions are consecutive, since each revision has events, and the last one is
/// the state's.
#[derive(Debug)]
pub struct WatchRing {
    revisions: VecDeque<(RevisionEvents, usize)>,
    /// The sum of their sizes.
    bytes: usize,
    bytes_max: usize,
    state: ReadState,
}

/// What happened since a revision, as a stream takes it from the ring.
#[derive(Clone, Debug)]
pub struct Recent {
    /// The events of all revisions since, in order. `None` if the ring no longer holds them all.
    pub(super) events: Option<Vec<RevisionEvents>>,
    /// The committed state, which reflects these events and no later ones.
    pub(super) state: ReadState,
}

impl Recent {
    /// The committed state, which reflects what happened and nothing later.
    #[must_use]
    pub fn state(&self) -> &ReadState {
        &self.state
    }
}

impl WatchRing {
    /// A ring that begins at a state, with no events before it, and keeps up to `bytes_max` of them in
    /// memory.
    #[must_use]
    pub fn new(bytes_max: usize, state: ReadState) -> Self {
        Self { revisions: VecDeque::new(), bytes: 0, bytes_max, state }
    }

    /// Takes the events of a commit and the state after it. A state that does not follow from what
    /// the ring holds and the events, as after a restored snapshot, empties the ring: streams then
    /// read the history.
    pub fn publish(&mut self, events: Vec<RevisionEvents>, state: ReadState) {
        for events in events {
            if events.revision != self.next_revision() {
                self.revisions.clear();
                self.bytes = 0;
            }
            let bytes = events.events.iter().map(Event::memory_bytes).sum();
            self.bytes += bytes;
            self.revisions.push_back((events, bytes));
        }
        if self.revisions.back().is_none_or(|(last, _)| last.revision != state.revision()) {
            self.revisions.clear();
            self.bytes = 0;
        }
        while self.bytes > self.bytes_max {
            let (_, bytes) = self.revisions.pop_front().expect("bytes are of revisions");
            self.bytes -= bytes;
        }
        self.state = state;
    }

    /// The committed state.
    #[must_use]
    pub fn state(&self) -> &ReadState {
        &self.state
    }

    /// What happened from a revision on. Copies references only.
    #[must_use]
    pub fn recent(&self, from: i64) -> Recent {
        let state = self.state.clone();
        let first = self.revisions.front().map_or(state.revision() + 1, |(of, _)| of.revision);
        let events = usize::try_from(from - first).ok().map(|skipped| {
            self.revisions.iter().skip(skipped).map(|(events, _)| events.clone()).collect()
        });
        Recent { events, state }
    }

    fn next_revision(&self) -> i64 {
        self.revisions.back().map_or(self.state.revision(), |(last, _)| last.revision) + 1
    }
}
