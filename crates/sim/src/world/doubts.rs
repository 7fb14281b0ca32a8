//! Reads that would be stale, if any were.
//!
//! A stale read takes a member that does not know of a write, and a client that does and asks just this
//! member, in the short time before it hears of it. Clients that ask anybody at any time hit that by luck. So
//! with each write that is answered, whoever is most likely not to know of it is asked for the same key at
//! once: who has not heard of the term of that answer, as a leader that was deposed and those who follow it,
//! and who has only just started, and may be told what its last process had asked for.

use bytes::Bytes;
use quorate_raft::NodeId;

use super::{Phase, World};
use crate::model::Request;

/// So many requests that no client waits for a member has at most.
const CHORES_MAX: usize = 2;

impl World {
    /// A member has answered a write of this key.
    pub(super) fn doubt(&mut self, teller: NodeId, key: &Bytes) {
        if self.phase != Phase::Faulty {
            return;
        }
        for id in self.ids() {
            if id != teller && self.may_not_know(id, teller) {
                let read = self.ask(id, Request::Read { key: key.clone() });
                self.chores.insert(read, id);
                self.report.doubts += 1;
            }
        }
    }

    fn may_not_know(&self, id: NodeId, teller: NodeId) -> bool {
        let cluster = self.invariants.cluster();
        let term = |id| cluster.member(id).issued.hard_state.term;
        let place = &self.places[&id];
        let is_new = self.now - place.started < self.options.election_timeout;
        place.process.is_some()
            && (is_new || term(id) < term(teller))
            && self.chores.values().filter(|at| **at == id).count() < CHORES_MAX
    }
}
