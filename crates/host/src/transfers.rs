//! Callers that wait for leadership to move.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_raft::{NodeId, Time};
use tokio::sync::oneshot;

use crate::error::TransferError;

/// Callers that wait for leadership to move. Few, and all with the same patience.
#[derive(Debug)]
pub(crate) struct Transfers {
    timeout: Duration,
    waiting: Vec<(Time, oneshot::Sender<Result<(), TransferError>>)>,
}

impl Transfers {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { timeout, waiting: Vec::new() }
    }

    /// Somebody waits.
    pub(crate) fn push(&mut self, now: Time, reply: oneshot::Sender<Result<(), TransferError>>) {
        self.waiting.push((now + self.timeout, reply));
    }

    /// Another member leads.
    pub(crate) fn moved(&mut self) {
        self.end(Ok(()));
    }

    /// The leader gave up the transfer.
    pub(crate) fn aborted(&mut self) {
        self.end(Err(TransferError::Timeout));
    }

    fn end(&mut self, result: Result<(), TransferError>) {
        for (_, reply) in self.waiting.drain(..) {
            let _ = reply.send(result);
        }
    }

    /// Ends the waits whose time is up.
    pub(crate) fn expire(&mut self, now: Time) {
        for (_, reply) in self.waiting.extract_if(.., |(deadline, _)| *deadline <= now) {
            let _ = reply.send(Err(TransferError::Timeout));
        }
    }

    /// When [`Transfers::expire`] has something to do.
    pub(crate) fn deadline(&self) -> Time {
        self.waiting.first().map_or(Time::NEVER, |(deadline, _)| *deadline)
    }
}

/// Whether a transfer may be asked for at all.
pub(crate) fn check(
    id: NodeId,
    leader: Option<NodeId>,
    voters: &BTreeSet<NodeId>,
    to: Option<NodeId>,
) -> Result<(), TransferError> {
    if leader != Some(id) {
        return Err(TransferError::NotLeader);
    }
    let possible = |voter: &NodeId| *voter != id && to.is_none_or(|to| to == *voter);
    if voters.iter().any(possible) { Ok(()) } else { Err(TransferError::NoSuchVoter) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_leader_hands_over_and_only_to_another_voter() {
        let voters = [NodeId(1), NodeId(2)].into();
        let check = |leader, to: Option<u64>| check(NodeId(1), leader, &voters, to.map(NodeId));
        assert_eq!(check(None, None), Err(TransferError::NotLeader));
        assert_eq!(check(Some(NodeId(2)), None), Err(TransferError::NotLeader));
        assert_eq!(check(Some(NodeId(1)), None), Ok(()));
        assert_eq!(check(Some(NodeId(1)), Some(2)), Ok(()));
        assert_eq!(check(Some(NodeId(1)), Some(1)), Err(TransferError::NoSuchVoter));
        assert_eq!(check(Some(NodeId(1)), Some(3)), Err(TransferError::NoSuchVoter));
    }

    #[test]
    fn every_wait_ends() {
        let mut transfers = Transfers::new(Duration::from_nanos(10));
        let wait = |transfers: &mut Transfers, now| {
            let (sender, receiver) = oneshot::channel();
            transfers.push(Time(now), sender);
            receiver
        };
        let mut first = wait(&mut transfers, 0);
        let mut second = wait(&mut transfers, 5);
        assert_eq!(transfers.deadline(), Time(10));
        transfers.expire(Time(10));
        assert_eq!(first.try_recv(), Ok(Err(TransferError::Timeout)));
        transfers.moved();
        assert_eq!(second.try_recv(), Ok(Ok(())));
        let mut third = wait(&mut transfers, 6);
        transfers.aborted();
        assert_eq!(third.try_recv(), Ok(Err(TransferError::Timeout)));
    }
}
