//! Groups that have nothing to do, and say nothing.
//!
//! A node may hold thousands of groups, most of which nobody asks for anything at most times. Heartbeats are all
//! that such a group says, and timers all that it runs. So a leader whose group has been idle for
//! [`crate::Config::quiet_after`] asks the others to be quiet with it, and once all of them have agreed, nobody has
//! a deadline any more. What the heartbeats were for is left to the nodes, which send one another one heartbeat
//! for all their groups together, and step those with [`Input::Wake`] that lean on a node which is not
//! to be relied on any more.
//!
//! ```text
//!   leader                                      follower
//!     │ idle, all have all, all is committed       │
//!     ├─── Heartbeat t5, commit 9, quiet ─────────►│ its last entry is 9@5 and durable:
//!     │                                            │ it knows that it is committed, and is quiet
//!     │◄── HeartbeatReply, quiet ──────────────────┤
//!   all others have agreed: quiet
//! ```
//!
//! **This is about timers only.** A quiet member is what it is in role, term, vote and log, and answers
//! whatever it is asked by the same rules: a quiet leader confirms a read by a round that begins after the read
//! arrived, like any other. Nothing that matters for safety asks whether a member is quiet. So what follows is about
//! progress, and about not disturbing anybody.
//!
//! - *Nobody is left behind.* The leader asks only when each of the others, whoever it is, has acknowledged the whole
//!   log, and each agrees only if its last entry is the very one that the term and the commit index name. A group with
//!   a member that is away, behind, rejoining, coming or going is not quiet.
//! - *Nobody is quiet with a leader of the past.* The agreement of all is to one offer, and whatever happens at the
//!   leader makes the offer void. A leader that is elected speaks to everybody until all have agreed with *it*.
//!   An old heartbeat that comes again puts nobody to sleep.
//! - *Whatever happens wakes.* A message other than the offer and the agreement to it, a proposal, a read, a change, a
//!   transfer: the member has its timers again from that moment. A leader speaks to the others at once, and that wakes
//!   them.
//! - *Nobody deposes a leader that was merely quiet.* Who is woken by a message was, until then, vouched for by its
//!   node in that its leader is there: it is as loyal as if it had just heard it, and wakes its leader, which may not
//!   have been asked. Not so who is woken because that is in doubt ([`Input::Wake`]). It then waits as if it had just
//!   heard its leader, campaigns, and is elected as usual, as the others are woken by its question at the latest, or
//!   refuse it and campaign themselves if their logs are the longer (what a hibernating region of TiKV did not do:
//!   issue 16429).
//! - *A leader that was cut off* is woken when its node does not hear those of a quorum, asks for their answers, and
//!   gives up when there are none, an election timeout later.
//!
//! - *Nobody needs the log*, as nobody is behind. Whoever falls quiet forgets what its machine holds durably.
//!
//! The heartbeats of groups that are not quiet leave in step: whoever may fall quiet shares a node, and its timer goes
//! off at the multiples of the interval and not an interval after the last. A node with many groups then wakes up
//! once for all of them, and what it has to say to another one is one write.

use quorate_planted::planted;

use crate::attendance::Attendance;
use crate::core::Core;
use crate::effects::Input;
use crate::follower::{Follower, is_heartbeat_new};
use crate::handover::DiskCheck;
use crate::leader::Leader;
use crate::lease::Tenure;
use crate::message::{Body, Heartbeat};
use crate::progress::{Peer, Progress};
use crate::pulse::Pulse;
use crate::raft::Raft;
use crate::read::Reads;
use crate::role::Role;
use crate::types::{EntryId, NodeId, Time};

/// How far a leader is from being quiet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Idleness {
    /// Since when nothing happens.
    since: Time,
    /// The first of the heartbeats that offer to be quiet, if nothing has happened since.
    offered: Option<u64>,
    /// Whether all have agreed.
    pub(crate) is_quiet: bool,
}

impl Idleness {
    /// Something happens at this moment.
    pub(crate) fn new(now: Time) -> Self {
        Self { since: now, offered: None, is_quiet: false }
    }
}

impl Leader {
    /// Whether the heartbeat of this round offers to be quiet.
    pub(crate) fn proposes_quiet(&mut self, core: &Core, round: u64) -> bool {
        let Some(after) = core.quiet_after else { return false };
        if !self.has_nothing_to_do(core) {
            self.idleness = Idleness::new(core.now);
            return false;
        }
        if core.now.since(self.idleness.since) < after {
            return false;
        }
        self.idleness.offered.get_or_insert(round);
        true
    }

    /// Is quiet if all others have agreed.
    pub(crate) fn may_fall_quiet(&mut self, core: &mut Core) {
        let Some(offered) = self.idleness.offered else { return };
        let agree = |peer: &Peer| peer.quiet_round >= offered;
        if self.peers().all(|(_, peer)| agree(peer)) && self.has_nothing_to_do(core) {
            self.idleness.is_quiet = true;
            self.pulse.rest();
            self.tenure.begin_anew();
            core.rest();
        }
    }

    /// Whether everybody has everything, knows what is committed once it is told, and nothing is under way.
    pub(crate) fn has_nothing_to_do(&self, core: &Core) -> bool {
        let last = core.log.last().index;
        let is_settled = core.is_membership_committed()
            && !core.membership().is_joint()
            && core.membership().is_voter(core.id)
            && self.peers().all(|(id, _)| core.membership().contains(id));
        let has_all = |peer: &Peer| {
            peer.counted == last
                && self.is_able(peer)
                && matches!(&peer.progress, Progress::Replicate(way) if way.messages() == 0)
        };
        let have_all =
            self.peers().all(|(_, peer)| has_all(peer) || planted!(QuietBeforeAllHaveAll));
        have_all
            && is_settled
            && self.is_commit_known()
            && core.commit == last
            && core.log.durable() == last
            && core.given == last
            && self.reads.is_empty()
            && self.transferring().is_none()
    }

    /// Something happens: it is not idle, nor quiet if it was. `speaks` tells whether that lets it speak to all
    /// anyhow.
    fn stir(&mut self, core: &Core, speaks: bool) {
        let was_quiet = self.idleness.is_quiet;
        self.idleness = Idleness::new(core.now);
        if !was_quiet {
            return;
        }
        self.heartbeat_at = if speaks { core.next_heartbeat() } else { core.now };
        self.attendance.begin_anew(core.now, core.election.minimum());
        self.disk_check = DiskCheck::nobody_ahead(core);
        // What it measured is of another time.
        self.pulse = Pulse::default();
        // They were there when it fell quiet, and count as heard as at the beginning of a term.
        self.peers_mut().values_mut().for_each(|peer| peer.settle(core.now));
    }

    /// A quiet leader whose followers have all of its log, after so many rounds of a term that began then, and that
    /// may have a lease in it.
    pub(crate) fn woken(core: &Core, round: u64, began: Time, may_lease: bool) -> Self {
        let last = core.log.last().index;
        let others = core.membership().members().into_iter().filter(|id| *id != core.id);
        Self {
            peers: others.map(|id| (id, Peer::in_step(last, core.now))).collect(),
            reads: Reads::after_round(round),
            tenure: Tenure::new(core.lease.filter(|_| may_lease), core.election.floor()),
            pulse: Pulse::default(),
            is_commit_known: true,
            uncommitted_bytes: 0,
            transfer: None,
            heartbeat_at: core.now,
            attendance: Attendance::woken(began, core.now),
            disk_check: DiskCheck::nobody_ahead(core),
            idleness: Idleness { is_quiet: true, ..Idleness::new(core.now) },
        }
    }
}

impl Follower {
    /// Whether it is quiet with its leader, who says that nothing is to be done.
    pub(crate) fn agrees_to_be_quiet(&self, core: &Core, heartbeat: &Heartbeat) -> bool {
        let last = EntryId { term: core.term(), index: heartbeat.commit };
        let has_all = core.log.last() == last
            && core.log.durable() == last.index
            && core.commit == last.index
            || planted!(QuietBeforeAllHaveAll);
        heartbeat.quiet
            && has_all
            && core.quiet_after.is_some()
            && core.incoming.is_none()
            && !core.is_rejoining()
    }

    /// Something happens: this member says something, or the node. `doubted` tells whether it speaks against the
    /// leader.
    fn stir(&mut self, core: &mut Core, by: Option<NodeId>, doubted: bool) {
        if !core::mem::take(&mut self.is_quiet) {
            return;
        }
        if !doubted && !planted!(QuietIsDisloyal) {
            self.heard = Some(core.now);
        }
        core.election.woke(core.now);
        // Who is asked for a vote refuses it, and waits for its leader from now on: so that one is to speak. It is
        // told what it knows, which wakes it.
        if by.is_some_and(|by| self.leader() != Some(by)) && !planted!(QuietLeaderUntold) {
            self.acknowledge(core);
        }
    }
}

impl Raft {
    /// Whether this member is quiet: it has no deadline, although it leads or follows a leader.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        match &self.role {
            Role::Leader(leader) => leader.idleness.is_quiet,
            Role::Follower(follower) => follower.is_quiet,
            Role::PreCandidate(_) | Role::Candidate(_) => false,
        }
    }

    /// What happens wakes this member if it is quiet, and keeps it awake if it was about to be.
    pub(crate) fn stir(&mut self, input: &Input) {
        let by = match input {
            Input::Message(message) => Some(message.from),
            _ => None,
        };
        let (speaks, doubted) = match input {
            Input::Read(_) if planted!(QuietReadUnconfirmed) => return,
            Input::Propose(_) | Input::Read(_) => (true, false),
            Input::Transfer(_) | Input::Change(_) | Input::LaterTerm { .. } => (false, false),
            Input::Wake { doubted } => (false, *doubted),
            Input::Message(message) => match &message.body {
                // These are what a quiet group is quiet by, or have come late.
                Body::Heartbeat(heartbeat)
                    if message.term == self.core.term()
                        && (heartbeat.quiet || !is_heartbeat_new(&self.core, heartbeat)) =>
                {
                    return;
                }
                Body::HeartbeatReply(_) if message.term == self.core.term() => return,
                _ => (false, false),
            },
            Input::Durable(_)
            | Input::Applied(_)
            | Input::Compact(_)
            | Input::SnapshotReady(_)
            | Input::SnapshotInstalled { .. }
            | Input::SnapshotFailed { .. }
            | Input::Unfit(_)
            | Input::Timeout => return,
        };
        if planted!(QuietForEver) && matches!(input, Input::Wake { .. }) {
            return;
        }
        match &mut self.role {
            Role::Leader(leader) => leader.stir(&self.core, speaks),
            Role::Follower(follower) => follower.stir(&mut self.core, by, doubted),
            Role::PreCandidate(_) | Role::Candidate(_) => {}
        }
    }
}
