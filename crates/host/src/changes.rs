//! Callers that wait for a change of members.

use std::time::Duration;

use quorate_raft::{Index, Time};
use tokio::sync::oneshot;

use crate::error::MembersError;
use crate::status::HostStatus;

/// Where the end of a change is told.
pub(crate) type Reply = oneshot::Sender<Result<(), MembersError>>;

#[derive(Debug)]
struct Change {
    deadline: Time,
    /// The entry with which it began.
    begun: Index,
    reply: Reply,
}

/// Callers that wait for a change of members. Few, as there is one change at a time, and all with the same
/// patience.
#[derive(Debug)]
pub(crate) struct Changes {
    timeout: Duration,
    waiting: Vec<Change>,
}

impl Changes {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { timeout, waiting: Vec::new() }
    }

    /// A change began here.
    pub(crate) fn push(&mut self, now: Time, begun: Index, reply: Reply) {
        self.waiting.push(Change { deadline: now + self.timeout, begun, reply });
    }

    /// Ends the waits that are over as things stand.
    pub(crate) fn look(&mut self, status: &HostStatus) {
        let is_over = |change: &Change| {
            change.begun <= status.membership_since && !status.is_changing() && status.is_leader()
        };
        for change in self.waiting.extract_if(.., |change| is_over(change)) {
            let _ = change.reply.send(Ok(()));
        }
        if !status.is_leader() {
            for change in self.waiting.drain(..) {
                let _ = change.reply.send(Err(MembersError::LeaderChanged));
            }
        }
    }

    /// Ends the waits whose time is up.
    pub(crate) fn expire(&mut self, now: Time) {
        for change in self.waiting.extract_if(.., |change| change.deadline <= now) {
            let _ = change.reply.send(Err(MembersError::Timeout));
        }
    }

    /// When [`Changes::expire`] has something to do.
    pub(crate) fn deadline(&self) -> Time {
        self.waiting.first().map_or(Time::NEVER, |change| change.deadline)
    }
}
