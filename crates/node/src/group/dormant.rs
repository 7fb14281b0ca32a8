//! A group to which nothing happens, in little memory.
//!
//! The algorithm says when a member may sleep and what becomes of it (`quorate_raft`'s `asleep.rs`). Beside it a group
//! has what its clients and those of other nodes want. A group is dormant when nobody wants anything, and then that is
//! a few numbers: those that name the next command and the next read, what this leader took from other nodes, and
//! what it knows of where the lead belongs. The node wakes it before anything happens to it, and nobody can tell that
//! it slept.

use quorate_raft::{Asleep, Commons, Membership, Time};

use super::Group;
use super::office::{Office, OfficeAsleep};
use super::settings::Settings;
use crate::footing::Footing;
use crate::node::NodeConfig;
use crate::reads::{Reads, ReadsAsleep};
use crate::session::{Sessions, SessionsAsleep};
use crate::status::GroupStatus;
use crate::waiters::Waiters;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Dormant {
    asleep: Asleep,
    /// The number of the next command.
    next_command: u64,
    reads: ReadsAsleep,
    /// What was taken from other nodes in the present term.
    sessions: Option<SessionsAsleep>,
    office: OfficeAsleep,
}

impl<W> Group<W> {
    /// This group, if it may sleep.
    pub(crate) fn rest(&self, commons: &mut Commons) -> Option<Dormant> {
        let is_idle = self.is_quiet()
            && self.waiters.len() == 0
            && self.foreign.is_empty()
            && self.heal_source.is_empty()
            && self.report.is_none()
            && self.deadline() == Time::NEVER;
        let reads = self.reads.asleep().filter(|_| is_idle)?;
        let asleep = self.raft.sleep(commons)?;
        assert!(
            self.given == asleep.last(),
            "the applier was given {} of a log that is committed to {}",
            self.given,
            asleep.last()
        );
        // Only who leads takes anything, and nobody leads a term twice.
        let leads = asleep.leader() == self.settings.node;
        Some(Dormant {
            next_command: self.waiters.next(),
            reads,
            sessions: self.sessions.asleep().filter(|_| leads),
            office: self.office.asleep(&self.settings),
            asleep,
        })
    }
}

impl Dormant {
    /// The group, as it fell asleep.
    pub(crate) fn wake<W>(self, node: &NodeConfig, commons: &mut Commons) -> Group<W> {
        let Self { asleep, next_command, reads, sessions, office } = self;
        let settings = Settings::of_sleeper(node, &asleep);
        let office = Office::woken(office, asleep.unfit(), &settings);
        let given = asleep.last();
        Group {
            waiters: Waiters::beginning_with(next_command),
            sessions: sessions.map(Sessions::woken).unwrap_or_default(),
            reads: Reads::woken(node.incarnation, reads),
            ..Group::idle(settings, asleep.wake(commons), office, given)
        }
    }

    /// What it relies on.
    pub(crate) fn footing(&self) -> Footing<'_> {
        let Self { asleep, .. } = self;
        Footing { us: asleep.id(), leader: Some(asleep.leader()), members: asleep.membership() }
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
