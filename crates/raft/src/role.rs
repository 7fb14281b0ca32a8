//! What a member may be, and how it becomes something else.
//!
//! ```text
//!              timeout              would win               won
//!  Follower ───────────► PreCandidate ───────► Candidate ────────► Leader
//!   ▲ ▲ ▲ │                 │    ▲                │  │               │
//!   │ │ │ └─ TimeoutNow ────┼────┼───────────────►│  │               │
//!   │ │ │                   │    └── timeout ─────┘  │               │
//!   │ │ └─ would lose, or a leader or a later term ──┘               │
//!   │ └─── lost, or a leader or a later term ────────┘               │
//!   └───── a later term, or no quorum is heard any more ─────────────┘
//! ```
//!
//! Handlers do not change roles. They return a [`Next`], and `raft.rs` performs it by the `become_*`
//! functions here, each of which ends by asserting what must hold in the new role.

use alloc::boxed::Box;

use quorate_planted::planted;

use crate::candidate::Campaign;
use crate::core::Core;
use crate::effects::Event;
use crate::follower::Follower;
use crate::leader::Leader;
use crate::types::{NodeId, Term};

/// What a member is, with the data that only this role has.
#[derive(Debug)]
pub(crate) enum Role {
    /// Follows a leader, or waits for one.
    Follower(Follower),
    /// Asks whether it would be elected (thesis §9.6).
    PreCandidate(Campaign),
    /// Asks to be elected.
    Candidate(Campaign),
    /// Leads.
    Leader(Box<Leader>),
}

/// What should happen after a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Next {
    /// Nothing: the role stays.
    Stay,
    /// Follow in this term, under this leader if one is known.
    Follow {
        /// The term, not below the present one.
        term: Term,
        /// Its leader.
        leader: Option<NodeId>,
    },
    /// Ask whether an election would be won.
    PreCampaign,
    /// Campaign in the next term.
    Campaign {
        /// The leader asked for it.
        transfer: bool,
    },
    /// Lead the present term.
    Lead,
}

/// Becomes a follower.
pub(crate) fn become_follower(core: &mut Core, term: Term, leader: Option<NodeId>) -> Role {
    assert!(leader != Some(core.id), "{} can't follow itself", core.id);
    if core.term() < term {
        core.enter_term(term, core.vote().filter(|_| planted!(VoteOutlivesTerm)));
    }
    core.election.redraw(core.now);
    core.report(Event::BecameFollower { term, leader });

    assert_eq!(core.term(), term, "a follower is in the term it follows");
    Role::Follower(Follower::new(core, leader))
}

/// Becomes a pre-candidate: term and vote stay as they are.
pub(crate) fn become_pre_candidate(core: &mut Core) -> Role {
    assert_may_campaign(core, false);
    core.election.campaign(core.now);
    core.report(Event::BecamePreCandidate { term: core.term() });
    Role::PreCandidate(Campaign::preliminary(core))
}

/// Becomes a candidate: enters the next term and votes for itself, in one write.
pub(crate) fn become_candidate(core: &mut Core, transfer: bool) -> Role {
    assert_may_campaign(core, transfer);
    let term = core.term().next();
    core.enter_term(term, Some(core.id));
    core.election.campaign(core.now);
    core.report(Event::BecameCandidate { term });

    assert_eq!(core.vote(), Some(core.id), "a candidate votes for itself");
    assert!(core.log.last().term < term, "an entry of {term} exists before its election");
    Role::Candidate(Campaign::real(core, transfer))
}

/// Becomes the leader, and appends the first entry of its term.
pub(crate) fn become_leader(core: &mut Core) -> Role {
    let term = core.term();
    assert_eq!(core.vote(), Some(core.id), "a leader voted for itself");
    assert!(core.is_term_durable(), "{} would lead {term} and might forget it", core.id);
    assert!(!core.is_witness(), "{} keeps no state, and would lead {term}", core.id);
    core.report(Event::BecameLeader { term });
    let leader = Leader::new(core);

    assert_eq!(core.log.last().term, term, "a leader begins its term with an entry");
    assert_eq!(core.log.leader_term(), term, "a leader's log is its own");
    Role::Leader(Box::new(leader))
}

/// What must hold whenever a member asks for votes. If its leader asked for that, the member's promises were to
/// that leader, or to one whose time was over when that one was elected.
fn assert_may_campaign(core: &Core, transfer: bool) {
    assert!(core.may_campaign(), "{} has no vote and can't lead", core.id);
    assert!(!core.is_rejoining(), "{} does not know yet what it promised", core.id);
    let has_promised = core.promise.holds(core.now) && !transfer;
    assert!(!has_promised, "{} has promised to elect nobody", core.id);
}
