//! A group to which nothing happens, in little memory.
//!
//! The algorithm says when a member may sleep and what becomes of it (`quorate_raft`'s `asleep.rs`). Beside it a group
//! has what its clients and those of other nodes want. A group is dormant when nobody wants anything, and then that is
//! a few numbers: those that name the next command and the next read, what this leader took from other nodes, and
//! what it knows of where the lead belongs. The node wakes it before anything happens to it, and nobody can tell that it
//! slept.

use alloc::boxed::Box;

use quorate_raft::{Asleep, Commons, Index, Membership, NodeId, Time};

use crate::foreign::ForeignCommands;
use crate::group::{Group, awaited, is_safe};
use crate::heal_source::HealSource;
use crate::lead::Lead;
use crate::node::NodeConfig;
use crate::reads::{Reads, ReadsAsleep};
use crate::session::{Sessions, SessionsAsleep};
use crate::status::GroupStatus;
use crate::waiters::Waiters;

/// See the module.
#[derive(Debug)]
pub(crate) struct Dormant {
    asleep: Asleep,
    /// The number of the next command.
    next_command: u64,
    reads: ReadsAsleep,
    /// What was taken from other nodes in the present term.
    sessions: Option<SessionsAsleep>,
    /// Where the lead belongs, if that is anything to remember.
    lead: Option<Box<Lead>>,
    look_at: Time,
    commits: (Index, Index),
}

impl Dormant {
    /// This group, if it may sleep.
    pub(crate) fn of<W>(group: &Group<W>, commons: &mut Commons) -> Option<Self> {
        let is_idle = group.is_quiet()
            && group.waiters.len() == 0
            && group.foreign.is_empty()
            && group.heal_source.is_empty()
            && group.report.is_none()
            && group.deadline() == Time::NEVER;
        let reads = group.reads.asleep().filter(|_| is_idle)?;
        let asleep = group.raft.sleep(commons)?;
        assert!(
            group.given == asleep.last(),
            "the applier was given {} of a log that is committed to {}",
            group.given,
            asleep.last()
        );
        // Only who leads takes anything, and nobody leads a term twice.
        let leads = asleep.leader() == group.node;
        let nothing = Lead::new(group.lead.own(), group.election_timeout);
        Some(Self {
            next_command: group.waiters.next(),
            reads,
            sessions: group.sessions.asleep().filter(|_| leads),
            lead: (group.lead != nothing).then(|| Box::new(group.lead.clone())),
            look_at: group.look_at,
            commits: group.commits,
            asleep,
        })
    }

    /// The group, as it fell asleep.
    pub(crate) fn wake<W>(&mut self, node: &NodeConfig, commons: &mut Commons) -> Group<W> {
        let asleep = self.asleep.clone();
        let election_timeout = asleep.election_timeout();
        let lead = self.lead.take().map(|lead| *lead);
        Group {
            id: asleep.group(),
            node: node.id,
            incarnation: node.incarnation,
            heartbeat_interval: asleep.heartbeat_interval(),
            election_timeout,
            request_timeout: node.request_timeout,
            command_bytes_max: node.command_bytes_max,
            pending_max: node.pending_max,
            pending_bytes_max: node.pending_bytes_max,
            piece_bytes: asleep.append_bytes_max(),
            waiters: Waiters::beginning_with(self.next_command),
            foreign: ForeignCommands::default(),
            sessions: self.sessions.take().map(Sessions::woken).unwrap_or_default(),
            reads: Reads::woken(node.incarnation, self.reads),
            heal_source: HealSource::default(),
            report: None,
            given: asleep.last(),
            lead: lead.unwrap_or_else(|| Lead::new(node.leader_priority, election_timeout)),
            look_at: self.look_at,
            commits: self.commits,
            unfit: asleep.unfit().into(),
            is_witness: asleep.is_witness(),
            raft: asleep.wake(commons),
        }
    }

    /// See [`Group::awaited`].
    pub(crate) fn awaited(&self) -> impl Iterator<Item = NodeId> {
        awaited(self.asleep.id(), Some(self.asleep.leader()), self.asleep.membership())
    }

    /// See [`Group::is_safe`].
    pub(crate) fn is_safe(&self, is_there: impl Fn(NodeId) -> bool) -> bool {
        let leader = Some(self.asleep.leader());
        is_safe(self.asleep.id(), leader, self.asleep.membership(), is_there)
    }

    pub(crate) fn membership(&self) -> &Membership {
        self.asleep.membership()
    }

    pub(crate) fn status(&self) -> GroupStatus {
        GroupStatus {
            group: self.asleep.group(),
            raft: self.asleep.status(),
            healing: None,
            pending_commands: 0,
            pending_reads: 0,
        }
    }
}
