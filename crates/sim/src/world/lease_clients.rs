//! Clients with leases, and how their questions find whoever leads.
//!
//! A client grants a lease, hangs keys on it, keeps it alive for a while or asks what is left of it,
//! and begins anew when it is gone. That a lease is kept alive, and what is left of it, only the leader
//! can say: the member that is asked passes the question on, beside the log, and again when it gets no
//! answer, until its time is up. Question and answer travel as messages between members do, but that they
//! are part of a call: when one of them is lost, its sender knows. What the leader does with a question is
//! in `leases.rs`.

use std::time::Duration;

use bytes::Bytes;
use quorate_check::lease::Seen;
use quorate_mvcc::lease::LeaseAnswer;
use quorate_raft::NodeId;

use super::{Event, Outcome, Phase, World};
use crate::leases::{Leases, Moment};
use crate::model::Request;
use crate::net::Delivery;
use crate::oracle::RequestId;
use crate::sabotage::Sabotage;

/// After how long a question is passed on again that got no answer: the server's number.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// What a client of leases is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeaseClient {
    /// Nothing.
    Idle,
    /// It asks for a lease.
    Granting { id: i64, request: RequestId, node: NodeId },
    /// It has a lease, and maybe waits for an answer about it.
    Holding { id: i64, waits: Waits },
}

/// What a client with a lease waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// Nothing.
    Nothing,
    /// A command, and where.
    Command(RequestId, NodeId),
    /// An answer to this question.
    Answer(u64),
}

/// A question about a lease, on its way between the member that was asked and whoever leads.
#[derive(Debug)]
pub(super) struct Question {
    /// Who waits for the answer, if anybody still does.
    pub(super) client: Option<usize>,
    lease: i64,
    is_renewal: bool,
    /// When the client asked.
    call: Moment,
    /// The member that was asked; until when it asks on.
    member: NodeId,
    deadline: Duration,
    /// Who has the question now and has not answered, and how often somebody was asked before.
    leader: Option<NodeId>,
    attempt: u64,
    /// What was noted of it when its client gave it up.
    noted: Option<usize>,
}

/// The way of a question or an answer, which may begin and end at the same member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
}

/// A question on its way to who leads, or the answer on its way back.
#[derive(Debug)]
pub(super) struct LeaseCall {
    pub(super) way: Way,
    question: u64,
    attempt: u64,
    answer: Option<LeaseAnswer>,
}

impl World {
    pub(super) fn begin_lease_clients(&mut self) {
        for client in 0..self.leasing.clients.len() {
            self.schedule_lease_client(client);
        }
    }

    fn lease_options(&self) -> Leases {
        self.options.leases.expect("who uses leases has options")
    }

    fn schedule_lease_client(&mut self, client: usize) {
        let mean = self.lease_options().act_mean;
        let after = self.leasing.chance.long_tailed(mean).max(Duration::from_millis(1));
        self.schedule(after, Event::LeaseClient { client });
    }

    fn any_running(&mut self) -> Option<NodeId> {
        let running: Vec<NodeId> =
            self.has_state().filter(|id| self.places[id].process.is_some()).collect();
        (!running.is_empty()).then(|| *self.leasing.chance.pick(&running))
    }

    /// A client does something.
    pub(super) fn lease_client(&mut self, client: usize) {
        let is_faulty = self.phase == Phase::Faulty;
        let state = self.leasing.clients[client];
        if !is_faulty && state == LeaseClient::Idle {
            return;
        }
        self.schedule_lease_client(client);
        if let LeaseClient::Holding { waits: Waits::Answer(number), .. } = state
            && self.leasing.questions[&number].deadline < self.now
        {
            return self.give_up(number);
        }
        let Some(node) = self.any_running() else { return };
        match state {
            LeaseClient::Idle => {
                let ttl = self.lease_options().ttl_max;
                let ttl = self.leasing.chance.between(1, ttl);
                let ttl = i64::try_from(ttl).expect("a few seconds");
                let id = i64::try_from(self.leasing.number()).expect("a run is short");
                let request = self.ask(node, Request::Grant { id, ttl });
                self.leasing.clients[client] = LeaseClient::Granting { id, request, node };
            }
            LeaseClient::Holding { id, waits: Waits::Nothing } => {
                let waits = self.use_lease(client, id, node, is_faulty);
                self.leasing.clients[client] = LeaseClient::Holding { id, waits };
            }
            LeaseClient::Granting { .. } | LeaseClient::Holding { .. } => {}
        }
    }

    fn use_lease(&mut self, client: usize, id: i64, node: NodeId, is_faulty: bool) -> Waits {
        let Leases { renewals_per_mille, revocations_per_mille, .. } = self.lease_options();
        let roll = self.leasing.chance.below(1_000);
        if !is_faulty || roll >= renewals_per_mille + revocations_per_mille + 200 {
            return self.begin_question(client, id, node, false);
        }
        if roll < renewals_per_mille {
            return self.begin_question(client, id, node, true);
        }
        let request = if roll < renewals_per_mille + revocations_per_mille {
            Request::Revoke { id }
        } else {
            let number = self.leasing.number();
            let (chance, keys) = (&mut self.leasing.chance, self.options.keys);
            // Half of the keys are ones that others write and delete, too.
            let key = match chance.below(2) {
                0 => format!("key-{}", chance.below(keys)),
                _ => format!("lease-{id}-{}", chance.below(3)),
            };
            let value = Bytes::from(format!("on lease {id}, {number}"));
            Request::Attach { key: key.into(), value, lease: id }
        };
        Waits::Command(self.ask(node, request), node)
    }

    /// A command is over, if it was one of these clients'.
    pub(super) fn lease_command_ended(&mut self, ended: RequestId, well: bool) {
        for client in &mut self.leasing.clients {
            *client = match *client {
                LeaseClient::Granting { id, request, .. } if request == ended => match well {
                    true => LeaseClient::Holding { id, waits: Waits::Nothing },
                    // If it was granted all the same, its clock will end it.
                    false => LeaseClient::Idle,
                },
                LeaseClient::Holding { id, waits: Waits::Command(request, _) }
                    if request == ended =>
                {
                    LeaseClient::Holding { id, waits: Waits::Nothing }
                }
                other => other,
            };
        }
    }

    fn begin_question(&mut self, client: usize, lease: i64, node: NodeId, renew: bool) -> Waits {
        let number = self.leasing.number();
        let question = Question {
            client: Some(client),
            lease,
            is_renewal: renew,
            call: self.moment(),
            member: node,
            deadline: self.now + self.options.request_timeout,
            leader: None,
            attempt: 0,
            noted: None,
        };
        self.leasing.questions.insert(number, question);
        self.schedule(Duration::ZERO, Event::LeaseAsk { node, question: number, attempt: 0 });
        Waits::Answer(number)
    }

    /// The question of this number, if this is still its present attempt.
    fn question(&mut self, number: u64, attempt: u64) -> Option<&mut Question> {
        self.leasing.questions.get_mut(&number).filter(|question| question.attempt == attempt)
    }

    /// The member that was asked passes a question on.
    pub(super) fn lease_ask(&mut self, node: NodeId, number: u64, attempt: u64) {
        let now = self.now;
        let process = self.places[&node].process.as_ref();
        let leader = process.and_then(|process| process.status().leader);
        let Some(question) = self.question(number, attempt) else { return };
        question.leader = None;
        if question.client.is_none() {
            return self.forget_question(number);
        }
        if question.deadline < now {
            return self.give_up(number);
        }
        let Some(leader) = leader else { return self.ask_again(number) };
        let way = Way { from: node, to: leader };
        let Some(after) = self.travel_time(way) else { return self.ask_again(number) };
        let question = self.leasing.questions.get_mut(&number).expect("it is under way");
        question.leader = Some(leader);
        let call = LeaseCall { way, question: number, attempt, answer: None };
        self.schedule(after, Event::LeaseCall(Box::new(call)));
    }

    /// How long a question or an answer takes to the end of its way, if it gets there. A call arrives once.
    fn travel_time(&mut self, way: Way) -> Option<Duration> {
        let Way { from, to } = way;
        if from == to {
            return Some(Duration::ZERO);
        }
        let arrivals = self.net.call(self.now, from, to);
        for fault in arrivals.faults() {
            self.note(fault, to);
        }
        arrivals.iter().next()
    }

    /// A question or an answer is at the end of its way. What is held on a clogged link comes again, and what
    /// is lost is asked for again.
    pub(super) fn lease_call(&mut self, call: Box<LeaseCall>) -> Outcome {
        let LeaseCall { way, question, attempt, answer } = *call;
        if way.from != way.to {
            match self.net.deliver(self.now, way.from, way.to) {
                Delivery::Arrives => {}
                Delivery::Held(after) => {
                    self.schedule(after, Event::LeaseCall(call));
                    return Ok(());
                }
                Delivery::Lost => {
                    if self.question(question, attempt).is_some() {
                        self.ask_again(question);
                    }
                    return Ok(());
                }
            }
        }
        match answer {
            None => self.lease_asked(way.to, question, attempt),
            Some(answer) => self.lease_answered(question, attempt, answer),
        }
    }

    /// Who held a question or an answer that had come is gone.
    pub(super) fn forget_way(&mut self, way: Way) {
        if way.from != way.to {
            self.net.forget(way.from, way.to);
        }
    }

    /// There was no answer.
    fn ask_again(&mut self, number: u64) {
        let question = self.leasing.questions.get_mut(&number).expect("it is under way");
        question.leader = None;
        question.attempt += 1;
        if question.client.is_none() {
            return self.forget_question(number);
        }
        let (node, attempt) = (question.member, question.attempt);
        self.schedule(ASK_AGAIN, Event::LeaseAsk { node, question: number, attempt });
    }

    /// A question comes to who leads, or did.
    fn lease_asked(&mut self, node: NodeId, number: u64, attempt: u64) -> Outcome {
        if self.question(number, attempt).is_none() {
            return Ok(());
        }
        if self.places[&node].process.is_none() {
            self.ask_again(number);
            return Ok(());
        }
        self.lease_confirm(node, number)
    }

    /// The barrier before an answer has passed, or has failed.
    pub(super) fn lease_answer(&mut self, node: NodeId, number: u64, has_passed: bool) -> Outcome {
        let Some(question) = self.leasing.questions.get(&number) else { return Ok(()) };
        if question.leader != Some(node) {
            return Ok(());
        }
        let (lease, is_renewal) = (question.lease, question.is_renewal);
        let (member, attempt) = (question.member, question.attempt);
        let (local, led, sabotage) = (self.local(node), self.leads(node), self.sabotage);
        let keeping = self.leasing.keepers.get_mut(&node).expect("it was asked");
        let answer = if !has_passed {
            LeaseAnswer::NotPrimary
        } else if is_renewal && sabotage == Some(Sabotage::RenewalForgotten) {
            match keeping.keeper.remaining(local, led, lease) {
                LeaseAnswer::Alive { granted, .. } => LeaseAnswer::Alive { left: granted, granted },
                other => other,
            }
        } else if is_renewal {
            let Some(answer) = keeping.keeper.renew(local, led, lease) else {
                keeping.waiting.push(number);
                return Ok(());
            };
            answer
        } else {
            keeping.keeper.remaining(local, led, lease)
        };
        if self.leasing.questions[&number].client.is_none() {
            // Whatever was done is done, and nobody is there to hear of it.
            self.forget_question(number);
            return Ok(());
        }
        let way = Way { from: node, to: member };
        let Some(after) = self.travel_time(way) else {
            self.ask_again(number);
            return Ok(());
        };
        if let Some(question) = self.leasing.questions.get_mut(&number) {
            question.leader = None;
        }
        let call = LeaseCall { way, question: number, attempt, answer: Some(answer) };
        self.schedule(after, Event::LeaseCall(Box::new(call)));
        Ok(())
    }

    /// An answer comes back to the member that was asked, and from there to its client.
    fn lease_answered(&mut self, number: u64, attempt: u64, answer: LeaseAnswer) -> Outcome {
        if self.question(number, attempt).is_none() {
            return Ok(());
        }
        if answer == LeaseAnswer::NotPrimary {
            self.ask_again(number);
            return Ok(());
        }
        let now = self.now;
        let Some(client) = self.leasing.questions[&number].client else {
            self.forget_question(number);
            return Ok(());
        };
        let question = self.leasing.questions.remove(&number).expect("it was there");
        let Question { lease, is_renewal, call, member, .. } = question;
        self.trace.line(now, || format!("{member} says of lease {lease}: {answer:?}"));
        let seen = match answer {
            LeaseAnswer::Alive { granted, .. } if is_renewal => Seen::Renewed { ttl: granted },
            LeaseAnswer::Alive { left, granted } => Seen::Alive { remaining: left, granted },
            LeaseAnswer::Gone | LeaseAnswer::NotPrimary => Seen::Gone,
        };
        self.leasing.clients[client] = match seen {
            Seen::Gone => LeaseClient::Idle,
            _ => LeaseClient::Holding { id: lease, waits: Waits::Nothing },
        };
        if seen == Seen::Gone {
            self.oracle.lease_gone(lease);
        }
        self.leasing.counts.renewed += u64::from(matches!(seen, Seen::Renewed { .. }));
        let record = self.leasing.records.get_mut(&lease).expect("its client was told of it");
        record.saw(&call, Some(now), seen);
        self.judge_lease(lease)
    }

    /// The client of a question stops to wait; who leads may still get it.
    fn give_up(&mut self, number: u64) {
        let question = self.leasing.questions.get_mut(&number).expect("it is under way");
        let Some(client) = question.client.take() else { return };
        self.leasing.clients[client] =
            LeaseClient::Holding { id: question.lease, waits: Waits::Nothing };
        if question.is_renewal {
            let record = self.leasing.records.get_mut(&question.lease);
            let record = record.expect("its client was told of it");
            question.noted = Some(record.saw(&question.call, None, Seen::MaybeRenewed));
        }
        if question.leader.is_none() {
            self.forget_question(number);
        }
    }

    /// A question that nobody waits for is no more: it can't renew anything any longer.
    fn forget_question(&mut self, number: u64) {
        let now = self.now;
        let question = self.leasing.questions.remove(&number).expect("it was under way");
        if let Some(noted) = question.noted {
            let record = self.leasing.records.get_mut(&question.lease);
            record.expect("its client was told of it").settled(noted, now);
        }
    }

    /// A member has crashed: what clients asked it is lost, and so is what it was asked as a leader.
    pub(super) fn lease_clients_lose(&mut self, node: NodeId) {
        for client in 0..self.leasing.clients.len() {
            let state = self.leasing.clients[client];
            if let LeaseClient::Granting { request, node: at, .. }
            | LeaseClient::Holding { waits: Waits::Command(request, at), .. } = state
                && at == node
            {
                self.oracle.lost(request);
                self.lease_command_ended(request, false);
            }
        }
        let questions = self.leasing.questions.iter();
        let met: Vec<u64> = questions
            .filter(|(_, question)| question.member == node || question.leader == Some(node))
            .map(|(number, _)| *number)
            .collect();
        for number in met {
            if self.leasing.questions[&number].member == node {
                self.give_up(number);
            }
            let question = self.leasing.questions.get(&number);
            if question.is_some_and(|question| question.leader == Some(node)) {
                self.ask_again(number);
            }
        }
    }
}
