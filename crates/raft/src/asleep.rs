//! Quiet members in little memory.
//!
//! A node may have thousands of groups, and nearly all of them are quiet (`quiet.rs`). A quiet member needs nothing of
//! what others need to act: followers that are behind, appends on their way, reads that wait, what the next step will
//! ask for. So it can be kept *asleep*, which takes a fraction of the memory, and is made again by whatever
//! happens to it:
//!
//! ```text
//!              Raft::sleep, if nothing is under way
//!        Raft ─────────────────────────────────────► Asleep
//!             ◄─────────────────────────────────────
//!              Asleep::wake, before any input
//! ```
//!
//! **To sleep changes nothing.** Whoever wakes is who fell asleep: it answers every input as if it had not slept
//! (`tests/asleep.rs` runs each member beside one that sleeps whenever it may). Each thing that a member remembers is
//! one of these:
//!
//! - *Kept as it is*: the term and the vote, the entries, who leads, the numbers of writes and of heartbeats, until
//!   when it promised to elect nobody, the timer with its seed and what it has measured.
//! - *The same as another thing*, as the member is quiet: what is committed, given to the machine and durable is the
//!   end of the log, and each follower of a quiet leader has all of it.
//! - *The same in many groups*: [`Commons`] has the settings, and the members, once for all that agree.
//! - *Set anew by whatever ends the quiet*, so that nobody can tell what it was before. That is how a leader begins
//!   with followers that it has not heard for long, asleep or not: [`crate::progress::Peer::settle`].
//!
//! Where any of it does not hold, the member stays as it is: while a write is under way or a read unanswered, if its
//! log has more than a few entries, or if it leads and gave somebody a vote with a new disk.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::sync::Arc;
use core::time::Duration;

use quorate_planted::planted;

use crate::config::Settings;
use crate::core::Core;
use crate::core::asleep::CoreAsleep;
use crate::follower::Follower;
use crate::leader::Leader;
use crate::membership::Membership;
use crate::raft::Raft;
use crate::read::ForwardedReads;
use crate::role::Role;
use crate::status::Status;
use crate::types::{EntryId, GroupId, Index, NodeId, Time};

/// A quiet member, in little memory. See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asleep {
    core: CoreAsleep,
    role: RoleAsleep,
}

/// A role of a member that sleeps.
#[derive(Clone, Debug, PartialEq, Eq)]
enum RoleAsleep {
    Follower {
        leader: NodeId,
        heard: Option<Time>,
        matched: Index,
        acknowledged: Index,
        has_answered: bool,
    },
    Leader {
        /// The round of its last heartbeat.
        round: u64,
        /// When its term began.
        began: Time,
        /// Whether it has not given up its lease in this term.
        may_lease: bool,
    },
}

impl Raft {
    /// This member in little memory, if it is quiet and nothing is under way that would be lost. What is the same in
    /// many groups is taken from `commons`.
    #[must_use]
    pub fn sleep(&self, commons: &mut Commons) -> Option<Asleep> {
        let role = match &self.role {
            Role::Follower(follower) => follower.asleep()?,
            Role::Leader(leader) => leader.asleep(&self.core)?,
            Role::PreCandidate(_) | Role::Candidate(_) => return None,
        };
        Some(Asleep { core: self.core.asleep(commons)?, role })
    }
}

impl Asleep {
    /// The member, as it fell asleep. Whatever happens to it is to be told to that one.
    ///
    /// # Panics
    /// If it did not fall asleep with these `commons`.
    #[must_use]
    pub fn wake(self, commons: &mut Commons) -> Raft {
        let (settings, membership) =
            (Arc::clone(&self.core.settings), Arc::clone(&self.core.membership));
        let raft = self.into_raft();
        commons.settings.forget(&settings);
        commons.memberships.forget(&membership);
        raft
    }

    fn into_raft(self) -> Raft {
        let core = Core::woken(self.core);
        let role = match self.role {
            RoleAsleep::Follower { leader, heard, matched, acknowledged, has_answered } => {
                Role::Follower(Follower {
                    leader: Some(leader),
                    heard,
                    matched,
                    acknowledged,
                    has_answered,
                    is_quiet: true,
                    reads: ForwardedReads::default(),
                })
            }
            RoleAsleep::Leader { round, began, may_lease } => {
                let round = if planted!(SleepForgetsRound) { 0 } else { round };
                Role::Leader(Leader::woken(&core, round, began, may_lease).into())
            }
        };
        let raft = Raft { core, role };
        assert!(raft.is_quiet(), "a member that slept is quiet until something happens");
        raft
    }

    /// This member.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.core.settings.id
    }

    /// The group this member belongs to.
    #[must_use]
    pub fn group(&self) -> GroupId {
        self.core.group
    }

    /// See [`crate::Config::witness`].
    #[must_use]
    pub fn is_witness(&self) -> bool {
        self.core.settings.witness
    }

    /// Who leads: this member itself if it does.
    #[must_use]
    pub fn leader(&self) -> NodeId {
        match &self.role {
            RoleAsleep::Follower { leader, .. } => *leader,
            RoleAsleep::Leader { .. } => self.core.settings.id,
        }
    }

    /// Who belongs to the group.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        &self.core.membership
    }

    /// The last entry, which is committed and was given to the machine.
    #[must_use]
    pub fn last(&self) -> EntryId {
        self.core.last()
    }

    /// Whom the host would not have lead: see [`crate::Input::Unfit`].
    #[must_use]
    pub fn unfit(&self) -> &[NodeId] {
        self.core.unfit()
    }

    /// See [`crate::Config::heartbeat_interval`].
    #[must_use]
    pub fn heartbeat_interval(&self) -> Duration {
        self.core.settings.heartbeat_interval
    }

    /// See [`crate::Config::election_timeout`].
    #[must_use]
    pub fn election_timeout(&self) -> Duration {
        self.core.settings.election_timeout
    }

    /// See [`crate::Limits::append_bytes_max`].
    #[must_use]
    pub fn append_bytes_max(&self) -> usize {
        self.core.settings.limits.append_bytes_max
    }

    /// How the member stands. It sleeps on.
    #[must_use]
    pub fn status(&self) -> Status {
        self.clone().into_raft().status()
    }
}

/// What many members that sleep have in common, kept once as long as one of them does.
#[derive(Debug, Default)]
pub struct Commons {
    pub(crate) settings: Pool<Settings>,
    pub(crate) memberships: Pool<Membership>,
}

impl Commons {
    /// How many different settings and memberships are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.settings.0.len() + self.memberships.0.len()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Values that are shared, each of them once, and by how many.
#[derive(Debug)]
pub(crate) struct Pool<T>(BTreeMap<Arc<T>, usize>);

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Ord> Pool<T> {
    /// The one of all that are equal to this one, for one more.
    pub(crate) fn share(&mut self, value: &Arc<T>) -> Arc<T> {
        match self.0.entry(Arc::clone(value)) {
            Entry::Occupied(mut kept) => {
                *kept.get_mut() += 1;
                Arc::clone(kept.key())
            }
            Entry::Vacant(place) => {
                place.insert(1);
                Arc::clone(value)
            }
        }
    }

    /// One has no more use for it.
    pub(crate) fn forget(&mut self, value: &Arc<T>) {
        let users = self.0.get_mut(value).expect("what somebody uses is kept");
        *users -= 1;
        if *users == 0 {
            self.0.remove(value);
        }
    }
}

impl Follower {
    /// What a quiet one remembers besides what any member does, if no read of it waits for an answer.
    fn asleep(&self) -> Option<RoleAsleep> {
        let leader = self.leader.filter(|_| self.is_quiet && self.reads.is_empty())?;
        Some(RoleAsleep::Follower {
            leader,
            heard: self.heard,
            matched: self.matched,
            acknowledged: self.acknowledged,
            has_answered: self.has_answered,
        })
    }
}

impl Leader {
    /// The same, if all others have all.
    fn asleep(&self, core: &Core) -> Option<RoleAsleep> {
        let last = core.log.last().index;
        let mut members = core.membership().members();
        members.remove(&core.id);
        let are_in_step = self.idleness.is_quiet
            && self.peers().map(|(id, _)| id).eq(members)
            && self.peers().all(|(_, peer)| peer.is_in_step(last))
            && self.has_nothing_to_do(core);
        let round = self.reads.round();
        are_in_step.then_some(RoleAsleep::Leader {
            round,
            began: self.attendance.began,
            may_lease: self.tenure.is_possible(),
        })
    }
}
