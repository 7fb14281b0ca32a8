//! The questions of this member's callers that wait for an answer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use quorate_raft::{NodeId, Time};
use tokio::sync::oneshot;

use crate::error::AskError;
use crate::handle::{Asked, Question};
use crate::permits::Permit;
use crate::wire::Packet;

/// Whom a question could go to, at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach<'a> {
    /// This member.
    pub(crate) id: NodeId,
    /// Who leads.
    pub(crate) leader: Option<NodeId>,
    /// All peers.
    pub(crate) peers: &'a BTreeSet<NodeId>,
    /// Those to whom there is a connection.
    pub(crate) connected: &'a BTreeSet<NodeId>,
}

/// A question that was sent.
#[derive(Debug)]
struct Sent {
    to: NodeId,
    deadline: Time,
    reply: oneshot::Sender<Result<Asked, AskError>>,
    _permit: Permit,
}

/// All questions that wait. The patience is the same for all, so they expire in the order in which
/// they came; one that waited for a leader first may end a little late, behind those sent meanwhile.
#[derive(Debug)]
pub(crate) struct Asks {
    timeout: Duration,
    /// The number of the last question sent.
    number: u64,
    /// Sent, by number.
    sent: BTreeMap<u64, Sent>,
    /// For a leader that is not known or not connected yet.
    waiting: VecDeque<(Time, Question)>,
}

impl Asks {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { timeout, number: 0, sent: BTreeMap::new(), waiting: VecDeque::new() }
    }

    /// Sends a question, lets it wait for a leader, or ends it.
    pub(crate) fn ask(
        &mut self,
        now: Time,
        question: Question,
        reach: Reach<'_>,
        send: &mut impl FnMut(NodeId, Packet),
    ) {
        let deadline = now + self.timeout;
        match question.to {
            Some(to) if !reach.peers.contains(&to) => {
                let _ = question.reply.send(Err(AskError::NoSuchMember));
            }
            Some(to) if !reach.connected.contains(&to) => {
                let _ = question.reply.send(Err(AskError::Unreachable));
            }
            Some(to) => self.send(deadline, to, question, send),
            None => {
                self.waiting.push_back((deadline, question));
                self.leader_may_be_known(reach, send);
            }
        }
    }

    /// Sends what waits for a leader, if there is one to send it to.
    pub(crate) fn leader_may_be_known(
        &mut self,
        reach: Reach<'_>,
        send: &mut impl FnMut(NodeId, Packet),
    ) {
        let Some(leader) = reach.leader else { return };
        if leader == reach.id {
            for (_, question) in self.waiting.drain(..) {
                let _ = question.reply.send(Ok(Asked::Here));
            }
        } else if reach.connected.contains(&leader) {
            while let Some((deadline, question)) = self.waiting.pop_front() {
                self.send(deadline, leader, question, send);
            }
        }
    }

    fn send(
        &mut self,
        deadline: Time,
        to: NodeId,
        question: Question,
        send: &mut impl FnMut(NodeId, Packet),
    ) {
        self.number += 1;
        let Question { of, payload, reply, permit, .. } = question;
        self.sent.insert(self.number, Sent { to, deadline, reply, _permit: permit });
        send(to, Packet::Ask { number: self.number, of, payload });
    }

    /// A member answered. Answers that nobody waits for, or from somebody else, are nothing.
    pub(crate) fn answered(&mut self, from: NodeId, number: u64, answer: Option<Bytes>) {
        if self.sent.get(&number).is_some_and(|sent| sent.to == from)
            && let Some(sent) = self.sent.remove(&number)
        {
            let _ = sent.reply.send(answer.map(Asked::Answer).ok_or(AskError::Unanswered));
        }
    }

    /// The connection to a member ended, and what was on it may be lost.
    pub(crate) fn disconnected(&mut self, peer: NodeId) {
        for (_, sent) in self.sent.extract_if(.., |_, sent| sent.to == peer) {
            let _ = sent.reply.send(Err(AskError::Unreachable));
        }
    }

    /// Ends the questions whose time is up.
    pub(crate) fn expire(&mut self, now: Time) {
        while let Some(first) = self.sent.first_entry()
            && first.get().deadline <= now
        {
            let _ = first.remove().reply.send(Err(AskError::Timeout));
        }
        let over = self.waiting.partition_point(|(deadline, _)| *deadline <= now);
        for (_, question) in self.waiting.drain(..over) {
            let _ = question.reply.send(Err(AskError::NoLeader));
        }
    }

    /// When [`Asks::expire`] has something to do.
    pub(crate) fn deadline(&self) -> Time {
        let sent = self.sent.first_key_value().map_or(Time::NEVER, |(_, sent)| sent.deadline);
        let waiting = self.waiting.front().map_or(Time::NEVER, |(at, _)| *at);
        sent.min(waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permits::Permits;
    use crate::wire::Of;

    const US: NodeId = NodeId(1);
    const PEER: NodeId = NodeId(2);

    struct Fixture {
        asks: Asks,
        leader: Option<NodeId>,
        peers: BTreeSet<NodeId>,
        connected: BTreeSet<NodeId>,
        sent: Vec<(NodeId, u64)>,
    }

    type Receiver = oneshot::Receiver<Result<Asked, AskError>>;

    impl Fixture {
        fn new() -> Self {
            Self {
                asks: Asks::new(Duration::from_nanos(10)),
                leader: None,
                peers: BTreeSet::from([PEER, NodeId(3)]),
                connected: BTreeSet::from([PEER]),
                sent: Vec::new(),
            }
        }

        fn ask(&mut self, now: u64, to: Option<NodeId>) -> Receiver {
            let (reply, receiver) = oneshot::channel();
            let permit = Permits::new(1, 1).take(0).unwrap();
            let of = Of::Application;
            let question = Question { to, of, payload: Bytes::new(), reply, permit };
            let Self { asks, leader, peers, connected, sent } = self;
            let reach = Reach { id: US, leader: *leader, peers, connected };
            asks.ask(Time(now), question, reach, &mut record(sent));
            receiver
        }

        fn leader(&mut self, leader: NodeId) {
            self.leader = Some(leader);
            let Self { asks, leader, peers, connected, sent } = self;
            let reach = Reach { id: US, leader: *leader, peers, connected };
            asks.leader_may_be_known(reach, &mut record(sent));
        }
    }

    fn record(sent: &mut Vec<(NodeId, u64)>) -> impl FnMut(NodeId, Packet) {
        |to, packet| match packet {
            Packet::Ask { number, .. } => sent.push((to, number)),
            other => panic!("{other:?} is no question"),
        }
    }

    fn end(mut receiver: Receiver) -> Result<Bytes, AskError> {
        match receiver.try_recv().expect("the question ended")? {
            Asked::Answer(bytes) => Ok(bytes),
            Asked::Here => Ok(Bytes::from_static(b"here")),
        }
    }

    #[test]
    fn an_answer_finds_its_question_if_it_comes_from_whom_was_asked() {
        let mut fixture = Fixture::new();
        let receiver = fixture.ask(0, Some(PEER));
        assert_eq!(fixture.sent, [(PEER, 1)]);
        fixture.asks.answered(NodeId(3), 1, Some(Bytes::from_static(b"forged")));
        fixture.asks.answered(PEER, 2, Some(Bytes::from_static(b"of nothing")));
        fixture.asks.answered(PEER, 1, Some(Bytes::from_static(b"yes")));
        fixture.asks.answered(PEER, 1, None);
        assert_eq!(end(receiver), Ok(Bytes::from_static(b"yes")));
        assert_eq!(fixture.asks.deadline(), Time::NEVER);
    }

    #[test]
    fn a_question_to_the_leader_waits_for_one() {
        let mut fixture = Fixture::new();
        let receiver = fixture.ask(0, None);
        fixture.leader(NodeId(3));
        assert_eq!(fixture.sent, [], "there is no connection to it");
        fixture.leader(PEER);
        assert_eq!(fixture.sent, [(PEER, 1)]);
        fixture.asks.answered(PEER, 1, None);
        assert_eq!(end(receiver), Err(AskError::Unanswered));
    }

    #[test]
    fn a_question_to_the_leader_comes_back_to_a_member_that_became_it() {
        let mut fixture = Fixture::new();
        let receiver = fixture.ask(0, None);
        fixture.leader(US);
        assert_eq!(end(receiver), Ok(Bytes::from_static(b"here")));
    }

    #[test]
    fn every_question_ends() {
        let mut fixture = Fixture::new();
        let stranger = fixture.ask(0, Some(NodeId(9)));
        let away = fixture.ask(0, Some(NodeId(3)));
        let lost = fixture.ask(0, Some(PEER));
        fixture.asks.disconnected(PEER);
        let unanswered = fixture.ask(1, Some(PEER));
        let leaderless = fixture.ask(2, None);
        assert_eq!(fixture.asks.deadline(), Time(11));
        fixture.asks.expire(Time(10));
        fixture.asks.expire(Time(12));
        assert_eq!(end(stranger), Err(AskError::NoSuchMember));
        assert_eq!(end(away), Err(AskError::Unreachable));
        assert_eq!(end(lost), Err(AskError::Unreachable));
        assert_eq!(end(unanswered), Err(AskError::Timeout));
        assert_eq!(end(leaderless), Err(AskError::NoLeader));
    }
}
