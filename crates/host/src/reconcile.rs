//! Steps toward the members that somebody wants, as callers ask for them on any member and the leader takes them.
//!
//! A question to the leader's host is answered with the [`Step`] that came next, and that the leader has begun, unless
//! it was only to be told. Whoever asks goes on asking until there is nothing left to do: a question that is lost, or a
//! leader, costs a moment and nothing else.

use std::collections::BTreeSet;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_node::{Desired, Refusal, Step, Waiting};
use quorate_raft::{Membership, NodeId, Time};
use tokio::sync::oneshot;

/// A refusal counts when it was heard so often, a heartbeat after the other: a new leader has not heard from everybody
/// yet, and a member may be late.
pub(crate) const REFUSALS: u32 = 20;

/// "Take the next step toward these members", which are what is desired [alone](Desired::alone), or only tell it.
pub(crate) fn ask(desired: &Membership, takes_it: bool) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(u8::from(takes_it));
    bytes.put_slice(&desired.encode());
    bytes.freeze()
}

/// Reads what [`ask`] made; `None` if it is anything else.
pub(crate) fn asked(mut bytes: Bytes) -> Option<(Desired, bool)> {
    let takes_it = match bytes.try_get_u8().ok()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    Some((Membership::decode(&bytes)?.into(), takes_it))
}

/// A step as it travels: a kind, and what belongs to it.
pub(crate) fn encode(step: &Step) -> Bytes {
    let mut bytes = BytesMut::new();
    let (kind, ids): (u8, Vec<NodeId>) = match step {
        Step::Done => (0, Vec::new()),
        Step::Change(_) => (1, Vec::new()),
        Step::Wait(Waiting::Leader(leader)) => (2, Vec::from_iter(*leader)),
        Step::Wait(Waiting::Change) => (3, Vec::new()),
        Step::Wait(Waiting::Learners(who)) => (4, who.iter().copied().collect()),
        Step::Refuse(Refusal::Impossible) => (5, Vec::new()),
        Step::Refuse(Refusal::TooMany) => (6, Vec::new()),
        Step::Refuse(Refusal::LosesQuorum { missing }) => (7, missing.iter().copied().collect()),
    };
    bytes.put_u8(kind);
    for id in ids {
        bytes.put_u64_le(id.0);
    }
    if let Step::Change(next) = step {
        bytes.put_slice(&next.encode());
    }
    bytes.freeze()
}

/// Reads what [`encode`] made; `None` if it is anything else.
pub(crate) fn decode(mut bytes: Bytes) -> Option<Step> {
    let kind = bytes.try_get_u8().ok()?;
    if kind == 1 {
        return Membership::decode(&bytes).map(Step::Change);
    }
    let mut ids = BTreeSet::new();
    while bytes.has_remaining() {
        ids.insert(NodeId(bytes.try_get_u64_le().ok()?));
    }
    match (kind, ids.len()) {
        (0, 0) => Some(Step::Done),
        (2, 0 | 1) => Some(Step::Wait(Waiting::Leader(ids.first().copied()))),
        (3, 0) => Some(Step::Wait(Waiting::Change)),
        (4, _) => Some(Step::Wait(Waiting::Learners(ids))),
        (5, 0) => Some(Step::Refuse(Refusal::Impossible)),
        (6, 0) => Some(Step::Refuse(Refusal::TooMany)),
        (7, _) => Some(Step::Refuse(Refusal::LosesQuorum { missing: ids })),
        _ => None,
    }
}

/// Callers that ask again in a moment, all after the same time.
#[derive(Debug, Default)]
pub(crate) struct Rests(Vec<(Time, oneshot::Sender<()>)>);

impl Rests {
    pub(crate) fn push(&mut self, until: Time, reply: oneshot::Sender<()>) {
        self.0.push((until, reply));
    }

    /// Ends those that are over.
    pub(crate) fn expire(&mut self, now: Time) {
        for (_, reply) in self.0.extract_if(.., |(until, _)| *until <= now) {
            let _ = reply.send(());
        }
    }

    /// When [`Rests::expire`] has something to do.
    pub(crate) fn deadline(&self) -> Time {
        self.0.first().map_or(Time::NEVER, |(until, _)| *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_steps_arrive_as_they_were_sent() {
        let members = Membership::of_voters([1, 9].map(NodeId));
        for takes_it in [false, true] {
            let desired = Desired::from(members.clone());
            assert_eq!(asked(ask(&desired.alone(), takes_it)), Some((desired, takes_it)));
        }
        assert_eq!(asked(Bytes::from_static(&[2])), None);
        assert_eq!(asked(Bytes::from_static(&[1, 0])), None);
        let who = BTreeSet::from([3, u64::MAX].map(NodeId));
        for step in [
            Step::Done,
            Step::Change(members),
            Step::Wait(Waiting::Leader(None)),
            Step::Wait(Waiting::Leader(Some(NodeId(7)))),
            Step::Wait(Waiting::Change),
            Step::Wait(Waiting::Learners(who.clone())),
            Step::Refuse(Refusal::Impossible),
            Step::Refuse(Refusal::TooMany),
            Step::Refuse(Refusal::LosesQuorum { missing: who }),
        ] {
            assert_eq!(decode(encode(&step)), Some(step));
        }
        for wrong in [&[][..], &[8], &[0, 1], &[1, 1], &[4, 1, 2], &[2, 1, 2]] {
            assert_eq!(decode(Bytes::from_static(wrong)), None, "{wrong:?}");
        }
    }
}
