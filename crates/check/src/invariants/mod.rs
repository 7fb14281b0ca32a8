//! The safety properties, one file each, checked at every fact that passes a node's boundary.
//!
//! Each names its source: the figure or section of the Raft paper ("In Search of an Understandable
//! Consensus Algorithm", extended version) and the name it has in the TLA+ specifications of Raft,
//! as far as it has one there: Ongaro's `raft.tla` and what etcd made of it, or CCF's `ccfraft.tla`
//! where that is said. Each looks at the fact *before* the observer has learned it, so it
//! compares what happens with what was.

mod commit_durable_on_quorum;
mod durable_before_reply;
mod election_safety;
mod leader_append_only;
mod leader_completeness;
mod log_matching;
mod recovery;
mod state_machine_safety;
mod term_and_vote;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::{vec, vec::Vec};
use core::fmt;

use crate::Violation;
use crate::cluster::{Cluster, Fact};

pub use commit_durable_on_quorum::CommitDurableOnQuorum;
pub use durable_before_reply::DurableBeforeReply;
pub use election_safety::ElectionSafety;
pub use leader_append_only::LeaderAppendOnly;
pub use leader_completeness::LeaderCompleteness;
pub use log_matching::LogMatching;
pub use recovery::Recovery;
pub use state_machine_safety::StateMachineSafety;
pub use term_and_vote::TermAndVote;

/// A property of all runs.
pub trait Invariant: fmt::Debug {
    /// Its name, that of its file.
    fn name(&self) -> &'static str;

    /// Looks at a fact and at what was known before it.
    ///
    /// # Errors
    /// What is wrong, if the fact breaks the property.
    fn observe(&mut self, fact: &Fact<'_>, before: &Cluster) -> Result<(), String>;
}

/// All properties, and what they look at.
#[derive(Debug)]
pub struct Invariants {
    all: Vec<Box<dyn Invariant>>,
    cluster: Cluster,
}

impl Invariants {
    /// All properties of a cluster that has done nothing yet.
    #[must_use]
    pub fn new(cluster: Cluster) -> Self {
        let all: Vec<Box<dyn Invariant>> = vec![
            Box::new(ElectionSafety::default()),
            Box::new(LeaderAppendOnly),
            Box::new(LogMatching::default()),
            Box::new(LeaderCompleteness),
            Box::new(StateMachineSafety),
            Box::new(CommitDurableOnQuorum),
            Box::new(TermAndVote::default()),
            Box::new(DurableBeforeReply),
            Box::new(Recovery),
        ];
        Self { all, cluster }
    }

    /// Checks a fact and learns it.
    ///
    /// # Errors
    /// The first property that it breaks.
    pub fn observe(&mut self, fact: Fact<'_>) -> Result<(), Violation> {
        for invariant in &mut self.all {
            invariant
                .observe(&fact, &self.cluster)
                .map_err(|what| Violation::new(invariant.name(), what))?;
        }
        self.cluster.learn(fact);
        Ok(())
    }

    /// What is known.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}

/// A small stage for the tests of the properties: facts in a row, of which the last one must be seen
/// to break the property, and none before it.
#[cfg(test)]
mod stage {
    use alloc::vec::Vec;

    use quorate_raft::{
        Append, AppendReply, Body, Entry, EntryId, HardState, Heartbeat, Index, Membership,
        Message, NodeId, Payload, Record, Recovered, Term, VoteReply,
    };

    use super::{Cluster, Fact, Invariant};

    pub(super) const A: NodeId = NodeId(1);
    pub(super) const B: NodeId = NodeId(2);
    pub(super) const C: NodeId = NodeId(3);
    /// Belongs to nothing at first.
    pub(super) const D: NodeId = NodeId(4);

    pub(super) struct Stage<I> {
        invariant: I,
        cluster: Cluster,
    }

    impl<I: Invariant> Stage<I> {
        /// Three members that have just been started for the first time.
        pub(super) fn new(invariant: I) -> Self {
            let cluster = Cluster::new(Membership::of_voters([A, B, C]), [D]);
            let mut stage = Self { invariant, cluster };
            for node in [A, B, C, D] {
                stage.start(node, &Recovered::default());
            }
            stage
        }

        #[track_caller]
        pub(super) fn fine(&mut self, fact: Fact<'_>) {
            let result = self.invariant.observe(&fact, &self.cluster);
            assert_eq!(result, Ok(()), "{fact:?}");
            self.cluster.learn(fact);
        }

        #[track_caller]
        pub(super) fn fires(&mut self, fact: Fact<'_>) {
            let result = self.invariant.observe(&fact, &self.cluster);
            assert!(result.is_err(), "{} did not notice {fact:?}", self.invariant.name());
        }

        #[track_caller]
        pub(super) fn start(&mut self, node: NodeId, recovered: &Recovered) {
            self.fine(Fact::Started { node, recovered, applied: EntryId::ZERO });
        }

        /// Gives entries to the log of a member.
        #[track_caller]
        pub(super) fn append(&mut self, node: NodeId, ids: &[(u64, u64)]) {
            self.fine(Fact::Recorded { node, record: &append(ids) });
        }

        /// Gives entries to the log of a member and makes all it has durable.
        #[track_caller]
        pub(super) fn append_durably(&mut self, node: NodeId, ids: &[(u64, u64)]) {
            self.append(node, ids);
            self.sync(node);
        }

        #[track_caller]
        pub(super) fn sync(&mut self, node: NodeId) {
            let records = self.cluster.member(node).unsynced.len();
            self.fine(Fact::Synced { node, records });
        }
    }

    pub(super) fn entry(term: u64, index: u64) -> Entry {
        Entry { id: EntryId::new(term, index), payload: Payload::Noop }
    }

    pub(super) fn append(ids: &[(u64, u64)]) -> Record {
        Record::Append(ids.iter().map(|&(term, index)| entry(term, index)).collect())
    }

    pub(super) fn vote(term: u64, vote: Option<NodeId>) -> Record {
        Record::HardState(HardState { term: Term(term), vote })
    }

    pub(super) fn message(from: NodeId, to: NodeId, term: u64, body: Body) -> Message {
        Message { from, to, term: Term(term), rejoining: None, body }
    }

    pub(super) fn heartbeat(from: NodeId, term: u64) -> Message {
        message(
            from,
            C,
            term,
            Body::Heartbeat(Heartbeat {
                commit: Index(0),
                round: 0,
                pace: None,
                quiet: false,
                hold: core::time::Duration::ZERO,
            }),
        )
    }

    pub(super) fn probe(from: NodeId, term: u64) -> Message {
        let body = Append { previous: EntryId::ZERO, entries: Vec::new(), commit: Index(0) };
        message(from, C, term, Body::Append(body))
    }

    pub(super) fn granted(from: NodeId, to: NodeId, term: u64) -> Message {
        message(from, to, term, Body::VoteReply(VoteReply { granted: true, incarnation: 1 }))
    }

    pub(super) fn accepted(from: NodeId, to: NodeId, term: u64, durable: u64) -> Message {
        let reply = AppendReply::Accepted { durable: Index(durable) };
        message(from, to, term, Body::AppendReply(reply))
    }
}
