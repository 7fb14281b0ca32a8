//! Leases at the members: the clocks of whoever leads, and the commands that end what has run out.
//!
//! Who keeps the clocks and what follows from that is decided by [`LeaseKeeper`], the production code.
//! A server has tasks around it that wait for a commit, a barrier, a tick; here these are events of the
//! world. A barrier is a read that no client asked for, so the oracle does not hear of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_check::Violation;
use quorate_check::changes::Changes;
use quorate_check::lease::check_together;
use quorate_mvcc::lease::{EXPIRY_SCAN, LeaseKeeper};
use quorate_mvcc::{Command, Response};
use quorate_node::{Freshness, Input};
use quorate_raft::{Event as RaftEvent, NodeId, RoleKind, Status, Term, Time};

use super::lease_clients::{LeaseClient, Question};
use super::{Event, Outcome, Phase, World};
use crate::chance::Chance;
use crate::clock::RIGHT_PPM;
use crate::leases::{Calm, End, LeaseCounts, Leases, Moment, Record};
use crate::model::Request;
use crate::oracle::RequestId;
use crate::process::GROUP;
use crate::sabotage::Sabotage;

/// The first of the names of barriers. The oracle counts from one.
const BARRIERS: u64 = 1 << 63;

/// Everything about leases.
pub(super) struct Leasing {
    pub(super) chance: Chance,
    pub(super) clients: Vec<LeaseClient>,
    /// The running members.
    pub(super) keepers: BTreeMap<NodeId, Keeping>,
    barriers: BTreeMap<RequestId, (NodeId, Purpose)>,
    /// Commands to end a lease, and who proposed them.
    expiring: BTreeMap<RequestId, NodeId>,
    /// Whose clock ended leases in a term: a term has one leader.
    enders: BTreeMap<u64, NodeId>,
    /// Questions of members to whoever leads, by number.
    pub(super) questions: BTreeMap<u64, Question>,
    pub(super) records: BTreeMap<i64, Record>,
    /// How many barriers, questions and leases there were.
    pub(super) numbers: u64,
    /// Until when not everything worked, or somebody new began to lead.
    unsettled: Duration,
    pub(super) counts: LeaseCounts,
}

impl Leasing {
    /// The leases of a seed, if these options have any.
    pub(super) fn new(seed: u64, leases: Option<Leases>) -> Self {
        let clients = leases.map_or(0, |leases| leases.clients);
        Self {
            chance: Leases::source(seed),
            clients: (0..clients).map(|_| LeaseClient::Idle).collect(),
            keepers: BTreeMap::new(),
            barriers: BTreeMap::new(),
            expiring: BTreeMap::new(),
            enders: BTreeMap::new(),
            questions: BTreeMap::new(),
            records: BTreeMap::new(),
            numbers: 0,
            unsettled: Duration::ZERO,
            counts: LeaseCounts::default(),
        }
    }

    /// A number that no other call gets.
    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }
}

/// What a barrier is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// To take the clocks over in a term.
    Promote(Term),
    /// To answer this question.
    Answer(u64),
}

/// A running member's part.
#[derive(Default)]
pub(super) struct Keeping {
    pub(super) keeper: LeaseKeeper,
    /// Which term it led when that was last looked at.
    led: Option<Term>,
    /// Whether the barrier before a promotion is under way.
    is_promoting: bool,
    /// How many of its commands to end a lease are under way.
    under_way: usize,
    /// Whether one of them is over, so that there is room for others.
    has_room: bool,
    /// Questions about leases that are about to be ended.
    pub(super) waiting: Vec<u64>,
}

/// The term that a member leads, if it does.
fn term_led(status: &Status) -> Option<Term> {
    (status.role == RoleKind::Leader).then_some(status.term)
}

impl World {
    fn has_leases(&self) -> bool {
        self.options.leases.is_some()
    }

    /// What a member's clock shows.
    pub(super) fn local(&self, node: NodeId) -> Time {
        self.places[&node].clock.read(self.now)
    }

    pub(super) fn moment(&self) -> Moment {
        let clocks = self.places.iter().map(|(id, place)| (*id, place.clock.read(self.now)));
        Moment { at: self.now, clocks: clocks.collect() }
    }

    /// The term that a running member leads.
    pub(super) fn leads(&self, node: NodeId) -> Option<Term> {
        self.places[&node].process.as_ref().and_then(|process| term_led(&process.status()))
    }

    fn keeping(&mut self, node: NodeId) -> &mut Keeping {
        self.leasing.keepers.get_mut(&node).expect("who runs has clocks of leases, or none to keep")
    }

    /// A member has started.
    pub(super) fn leases_start(&mut self, node: NodeId) {
        if self.has_leases() {
            self.leasing.keepers.insert(node, Keeping::default());
            self.schedule_lease_scan(node);
        }
    }

    fn schedule_lease_scan(&mut self, node: NodeId) {
        let (process, ppm) = (self.places[&node].processes, self.places[&node].clock.ppm());
        let rate = |ppm| u32::try_from(ppm).expect("clocks are at most twice too fast");
        let after = EXPIRY_SCAN * rate(RIGHT_PPM) / rate(ppm);
        self.schedule(after, Event::LeaseScan { node, process });
    }

    /// The leader looks for what has run out; whoever failed to take over tries again.
    pub(super) fn lease_scan(&mut self, node: NodeId) {
        self.schedule_lease_scan(node);
        let led = self.leads(node);
        if !self.keeping(node).is_promoting {
            self.lease_follow(node, led);
        }
        self.expire_leases(node);
    }

    /// A member had a turn, in which it may have begun to lead, or ceased to.
    pub(super) fn lease_turn(&mut self, node: NodeId, status: &Status) {
        if !self.has_leases() {
            return;
        }
        let (led, keeping) = (term_led(status), self.keeping(node));
        let has_room = std::mem::take(&mut keeping.has_room);
        if led != keeping.led && !keeping.is_promoting {
            self.lease_follow(node, led);
        }
        if has_room {
            self.expire_leases(node);
        }
    }

    fn lease_follow(&mut self, node: NodeId, led: Option<Term>) {
        let keeping = self.keeping(node);
        keeping.led = led;
        if let Some(term) = keeping.keeper.follow(led) {
            keeping.is_promoting = true;
            self.lease_barrier(node, Purpose::Promote(term));
        }
    }

    /// Before a member answers a question about a lease, it has to know that it leads: a barrier tells.
    pub(super) fn lease_confirm(&mut self, node: NodeId, question: u64) -> Outcome {
        if self.sabotage == Some(Sabotage::LeaseUnconfirmed) {
            return self.lease_answer(node, question, true);
        }
        self.lease_barrier(node, Purpose::Answer(question));
        Ok(())
    }

    /// Asks for a barrier at a member.
    fn lease_barrier(&mut self, node: NodeId, purpose: Purpose) {
        let waiter = RequestId(BARRIERS + self.leasing.number());
        self.leasing.barriers.insert(waiter, (node, purpose));
        self.post(node, Input::Read { group: GROUP, freshness: Freshness::Linearizable, waiter });
    }

    /// A read has ended: returns whether it was a barrier of ours, and goes on behind it.
    pub(super) fn lease_barrier_ended(
        &mut self,
        waiter: RequestId,
        has_passed: bool,
    ) -> Result<bool, Violation> {
        let Some((node, purpose)) = self.leasing.barriers.remove(&waiter) else { return Ok(false) };
        match purpose {
            Purpose::Promote(term) => {
                self.keeping(node).is_promoting = false;
                if has_passed {
                    self.promote(node, term);
                }
            }
            Purpose::Answer(question) => self.lease_answer(node, question, has_passed)?,
        }
        Ok(true)
    }

    fn promote(&mut self, node: NodeId, term: Term) {
        let (now, local, led) = (self.now, self.local(node), self.leads(node));
        let extension = self.places[&node].settings.election_timeout;
        let process = self.places[&node].process.as_ref().expect("it has passed a barrier");
        let leases = process.reading().leases();
        self.trace.line(now, || format!("{node} keeps the clocks of {leases:?}"));
        self.keeping(node).keeper.promote(local, term, led, leases, extension);
    }

    /// Begins to end what has run out.
    fn expire_leases(&mut self, node: NodeId) {
        let sabotage = self.sabotage;
        let mut local = self.local(node);
        match sabotage {
            Some(Sabotage::LeaseEndsEarly) => local = local + Duration::from_millis(700),
            Some(Sabotage::LeaseNeverEnds) => return,
            _ => {}
        }
        let keeping = self.keeping(node);
        let commands = keeping.keeper.expire(local, keeping.under_way);
        keeping.under_way += commands.len();
        for command in commands {
            let Command::LeaseExpire { id, term } = command else {
                unreachable!("{command:?} ends no lease");
            };
            self.leasing.enders.insert(term, node);
            let request = self.ask(node, Request::Expire { id, term });
            self.leasing.expiring.insert(request, node);
        }
    }

    /// A command to end a lease is over, if it was one. Others may follow after the member's turn.
    pub(super) fn lease_expiry_ended(&mut self, request: RequestId) {
        if let Some(node) = self.leasing.expiring.remove(&request) {
            let keeping = self.keeping(node);
            keeping.under_way -= 1;
            keeping.has_room = true;
        }
    }

    /// A member's machine may have committed something.
    pub(super) fn leases_published(&mut self, node: NodeId) -> Outcome {
        if !self.has_leases() {
            return Ok(());
        }
        let process = self.places[&node].process.as_ref().expect("its machine is at work");
        let (changes, local) = (process.reading().take_lease_changes(), self.local(node));
        let keeping = self.keeping(node);
        keeping.keeper.note(local, changes);
        for question in std::mem::take(&mut keeping.waiting) {
            self.lease_confirm(node, question)?;
        }
        Ok(())
    }

    /// A member has crashed: its clocks are gone, and so is all that it was asked.
    pub(super) fn leases_crash(&mut self, node: NodeId) {
        if !self.has_leases() {
            return;
        }
        self.leasing.keepers.remove(&node);
        self.leasing.barriers.retain(|_, (at, _)| *at != node);
        for (request, _) in self.leasing.expiring.extract_if(.., |_, at| *at == node) {
            self.oracle.lost(request);
        }
        self.lease_clients_lose(node);
    }

    /// An entry was committed, for the first time anywhere: what it does to leases happens now.
    pub(super) fn lease_committed(&mut self) -> Outcome {
        if !self.has_leases() {
            return Ok(());
        }
        let Some((request, outcome)) = self.oracle.last_committed() else { return Ok(()) };
        let (request, result) = (request.clone(), outcome.result.clone());
        let moment = self.moment();
        let counts = &mut self.leasing.counts;
        let (id, why) = match (request, result) {
            (Request::Grant { id, ttl }, Ok(_)) => {
                counts.granted += 1;
                self.leasing.records.insert(id, Record::new(id, ttl, moment));
                return Ok(());
            }
            (Request::Revoke { id }, Ok(_)) => {
                counts.revoked += 1;
                (id, End::Revoked)
            }
            (Request::Expire { id, term }, Ok(Response::LeaseExpire { revoked: true })) => {
                counts.expired += 1;
                (id, End::Expired(self.leasing.enders[&term]))
            }
            (Request::Expire { id, .. }, _) => {
                let is_there = self.oracle.model().leases().contains_key(&id);
                counts.fenced += u64::from(is_there);
                return Ok(());
            }
            _ => return Ok(()),
        };
        let record = self.leasing.records.get_mut(&id).expect("it was granted");
        record.end(moment, why);
        self.judge_lease(id)
    }

    /// Until now something may have kept a lease from ending.
    pub(super) fn leases_settle(&mut self) {
        self.leasing.unsettled = self.now;
    }

    /// Holds what is known of a lease against the checks.
    pub(super) fn judge_lease(&mut self, id: i64) -> Outcome {
        if self.phase != Phase::Quiet {
            self.leases_settle();
        }
        let slowest = self.places.values().map(|place| place.clock.ppm()).min();
        let extensions = self.places.values().map(|place| place.settings.election_timeout);
        let pending_max = self.places.values().map(|place| place.settings.pending_max).min();
        let together = self.leasing.records.len() / pending_max.expect("there are members");
        let calm = Calm {
            since: self.leasing.unsettled,
            slowest_ppm: slowest.expect("there are members"),
            extension: extensions.max().expect("there are members"),
            command: self.options.request_timeout,
            refusals: u32::try_from(together).expect("a run is short"),
        };
        self.leasing.records[&id].judge(&calm)
    }

    /// Something happened in the algorithm that may concern leases.
    pub(super) fn lease_event(&mut self, event: &RaftEvent) {
        if matches!(event, RaftEvent::BecameLeader { .. }) {
            self.leases_settle();
        }
    }

    /// Holds what members remember of the past against what leases promise of all their keys together.
    ///
    /// # Errors
    /// The first lease that did not take its keys along.
    pub(super) fn judge_leases_together(&mut self) -> Outcome {
        if !self.has_leases() || self.phase != Phase::Quiet {
            return Ok(());
        }
        let model = self.oracle.model();
        let is_end = |revision| model.is_end_of_lease(revision);
        let mut judged = BTreeSet::new();
        for place in self.places.values() {
            // Beyond the limits of what can be survived, some are down for good.
            let Some(process) = &place.process else { continue };
            let Some(history) = process.reading().whole_history() else { continue };
            let events = history.iter().flat_map(|revision| revision.events.iter().cloned());
            let changes = Changes::new(events)?;
            check_together(&changes, |revision| !is_end(revision))?;
            judged.extend((2..=changes.last()).filter(|revision| is_end(*revision)));
        }
        self.leasing.counts.together += judged.len() as u64;
        Ok(())
    }

    /// Whether all leases have ended, and nobody waits for an answer about one. A question that nobody waits
    /// for any more may be held for long on a link that was clogged.
    pub(super) fn leases_are_over(&self) -> bool {
        self.oracle.model().leases().is_empty()
            && self.leasing.questions.values().all(|question| question.client.is_none())
            && self.leasing.clients.iter().all(|client| *client == LeaseClient::Idle)
    }
}
