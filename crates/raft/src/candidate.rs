//! Campaigns, preliminary and real.
//!
//! A preliminary campaign asks "would you vote for me in the next term?" and changes nobody's term
//! (thesis §9.6): a member that was cut off for a while can't depose a leader who does well without
//! it. Only one that would win campaigns in earnest.

use alloc::collections::BTreeMap;

use quorate_planted::planted;

use crate::core::Core;
use crate::effects::ReadError;
use crate::message::{Body, RequestVote, VoteReply};
use crate::quorum::{self, Tally};
use crate::role::Next;
use crate::types::{DiskId, NodeId};

/// The votes of a campaign.
#[derive(Debug)]
pub(crate) struct Campaign {
    /// What each voter answered. A repeated answer counts once.
    votes: BTreeMap<NodeId, bool>,
}

impl Campaign {
    /// Begins a preliminary campaign.
    pub(crate) fn preliminary(core: &mut Core) -> Self {
        for voter in other_voters(core) {
            let request = request(core, voter, false);
            core.send_in_term(voter, core.term().next(), Body::PreVote(request));
        }
        Self { votes: BTreeMap::from([(core.id, true)]) }
    }

    /// Begins a campaign in the present term.
    ///
    /// The requests leave when the term and the candidate's vote for itself are durable, and the
    /// log before them with it. If they left earlier, a candidate that crashed could campaign in
    /// the same term again, with a shorter log, and count the votes given to the longer one. Its
    /// own vote counts from then on as well, by the same rule.
    pub(crate) fn real(core: &mut Core, transfer: bool) -> Self {
        for voter in other_voters(core) {
            let request = request(core, voter, transfer);
            core.send(voter, Body::Vote(request));
        }
        Self { votes: BTreeMap::new() }
    }

    /// Counts the candidate's own vote once it is durable.
    pub(crate) fn on_written(&mut self, core: &Core) -> Next {
        if core.is_term_durable() {
            self.votes.insert(core.id, true);
        }
        self.decide(core, Next::Lead)
    }

    /// Counts an answer. `won` is what a quorum of votes leads to.
    pub(crate) fn on_vote_reply(
        &mut self,
        core: &Core,
        (from, disk): (NodeId, Option<DiskId>),
        reply: VoteReply,
        won: Next,
    ) -> Next {
        if !core.membership().counts(from, disk) && !planted!(VoteOfAnotherDisk) {
            // To this candidate it is another member than the one that has the vote.
            return Next::Stay;
        }
        if reply.incarnation != core.incarnation && !planted!(VoteForEarlierProcess) {
            // It was asked for by a process of which nothing is left, for the log that it had.
            return Next::Stay;
        }
        // The first answer stands: a voter does not change its mind within a term.
        self.votes.entry(from).or_insert(reply.granted);
        self.decide(core, won)
    }

    /// What the votes so far lead to.
    pub(crate) fn decide(&self, core: &Core, won: Next) -> Next {
        match quorum::tally(core.membership(), |id| self.votes.get(&id).copied()) {
            Tally::Won => won,
            Tally::Open => Next::Stay,
            Tally::Lost => Next::Follow { term: core.term(), leader: None },
        }
    }

    /// Nobody leads, as far as a candidate knows.
    pub(crate) fn on_read(core: &mut Core, id: crate::ReadId) {
        core.answer_read(id, Err(ReadError::NoLeader));
    }
}

fn request(core: &Core, voter: NodeId, transfer: bool) -> RequestVote {
    RequestVote {
        last: core.log.last(),
        transfer,
        incarnation: core.incarnation,
        disk: core.membership().disks.get(&voter).copied(),
    }
}

/// The voters besides this member, ascending, so that messages have one order.
fn other_voters(core: &Core) -> alloc::vec::Vec<NodeId> {
    let members = core.membership().members();
    members.into_iter().filter(|id| *id != core.id && core.membership().is_voter(*id)).collect()
}
