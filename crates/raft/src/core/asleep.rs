//! What a member has in every role, in little memory.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;

use quorate_planted::planted;

use super::Core;
use crate::asleep::Commons;
use crate::config::Settings;
use crate::effects::{Effects, HardState};
use crate::lease::Promise;
use crate::log::{Log, LogAsleep};
use crate::membership::{Membership, Memberships};
use crate::timer::ElectionTimer;
use crate::timer::asleep::TimerAsleep;
use crate::types::{EntryId, GroupId, Index, NodeId, Seq, Time};

/// The entries of a log that is held in little memory. There are more only as long as the machine does not hold them
/// durably.
const ENTRIES_MAX: usize = 16;

/// All that a [`Core`] remembers to which nothing happens: what is in its log is on its disk, committed, and given to
/// the machine, and nothing is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CoreAsleep {
    pub(crate) settings: Arc<Settings>,
    pub(crate) membership: Arc<Membership>,
    membership_since: Index,
    pub(crate) group: GroupId,
    now: Time,
    timer: TimerAsleep,
    log: LogAsleep,
    applied: Index,
    compactable: Index,
    promise: Promise,
    round_heard: Option<u64>,
    is_term_known: bool,
    unfit: Box<[NodeId]>,
    hard_state: HardState,
    hard_state_seq: Seq,
    /// The last write, which is durable.
    last_seq: Seq,
    disk_owes_since: Time,
}

impl CoreAsleep {
    /// The last entry.
    pub(crate) fn last(&self) -> EntryId {
        self.log.last()
    }

    /// Whom the host would not have lead.
    pub(crate) fn unfit(&self) -> &[NodeId] {
        &self.unfit
    }
}

impl Core {
    /// What it remembers, if nothing is under way.
    pub(crate) fn asleep(&self, commons: &mut Commons) -> Option<CoreAsleep> {
        let last = self.log.last().index;
        let is_done = (self.commit, self.given) == (last, last)
            && self.durable_seq == self.last_seq
            && self.held.is_empty()
            && self.rejoining.is_none()
            && self.incoming.is_none()
            && self.effects.is_empty()
            && self.is_membership_committed();
        let log = self.log.asleep(ENTRIES_MAX).filter(|_| is_done)?;
        Some(CoreAsleep {
            settings: commons.settings.share(&Arc::new(Settings {
                id: self.id,
                incarnation: self.incarnation,
                limits: self.limits,
                heartbeat_interval: self.heartbeat_interval,
                election_timeout: self.election.minimum(),
                election_policy: self.election.policy(),
                quiet_after: self.quiet_after,
                lease: self.lease,
                witness: self.witness,
            })),
            membership: commons.memberships.share(self.memberships.shared()),
            membership_since: self.memberships.since(),
            group: self.group,
            now: self.now,
            timer: self.election.asleep(),
            log,
            applied: self.applied,
            compactable: self.compactable,
            promise: self.promise,
            round_heard: self.round_heard,
            is_term_known: self.is_term_known,
            unfit: self.unfit.clone().into(),
            hard_state: self.hard_state,
            hard_state_seq: self.hard_state_seq,
            last_seq: self.last_seq,
            disk_owes_since: self.disk_owes_since,
        })
    }

    /// The one that remembers this.
    pub(crate) fn woken(asleep: CoreAsleep) -> Self {
        let CoreAsleep { settings, membership, membership_since, log, .. } = asleep;
        let log = Log::woken(log);
        let last = log.last().index;
        let mut hard_state = asleep.hard_state;
        if planted!(SleepForgetsVote) {
            hard_state.vote = None;
        }
        let commit = if planted!(SleepForgetsCommit) { log.base().index } else { last };
        Self {
            id: settings.id,
            group: asleep.group,
            memberships: Memberships::new(membership_since, membership),
            limits: settings.limits,
            heartbeat_interval: settings.heartbeat_interval,
            quiet_after: settings.quiet_after,
            now: asleep.now,
            election: ElectionTimer::woken(&settings, asleep.timer),
            log,
            commit,
            given: last,
            applied: asleep.applied,
            compactable: asleep.compactable,
            lease: settings.lease,
            witness: settings.witness,
            promise: asleep.promise,
            rejoining: None,
            incarnation: settings.incarnation,
            round_heard: asleep.round_heard,
            is_term_known: asleep.is_term_known,
            incoming: None,
            unfit: asleep.unfit.into_vec(),
            effects: Effects::default(),
            hard_state,
            hard_state_seq: asleep.hard_state_seq,
            last_seq: asleep.last_seq,
            durable_seq: asleep.last_seq,
            disk_owes_since: asleep.disk_owes_since,
            held: VecDeque::new(),
        }
    }
}
