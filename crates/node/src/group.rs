//! One Raft group on this node: the algorithm, and the clients of this node that wait for it.
//!
//! The group adds to Raft what every user needs and what the paper leaves open: any member takes any
//! request. A follower sends commands on to the leader; a group without a leader keeps them for the
//! next one. All of it is bounded in count, in bytes and in time.

mod dormant;
mod office;
mod settings;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use quorate_planted::planted;
use quorate_raft::{
    Body, ChangeError, EntryId, Event, GroupId, Index, Input as RaftInput, Membership, NodeId,
    Payload, ProposeError, Raft, Recovered, SnapshotPiece, Term, Time,
};

use self::office::Office;
use self::settings::Settings;
use crate::audit::Report;
use crate::detector::Detector;
use crate::effects::{
    ApplyJob, Effects, Envelope, EnvelopeBody, Feedback, Forward, Freshness, HealAsk, RequestError,
    Unproposed,
};
use crate::footing::Footing;
use crate::foreign::{Foreign, ForeignCommands};
use crate::heal_source::{HealSource, entries_answer, is_sensible, reader_patience};
use crate::node::NodeConfig;
use crate::proposal::{self, ProposalId};
use crate::reads::Reads;
use crate::session::Sessions;
use crate::status::GroupStatus;
use crate::waiters::Waiters;

pub(crate) use self::dormant::Dormant;

/// What a group is.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// Its id.
    pub group: GroupId,
    /// Its members as of what its state machine holds durably: see [`membership_of`](crate::membership_of).
    pub membership: Membership,
    /// How often a leader speaks to a silent group.
    pub heartbeat_interval: Duration,
    /// The election timeout; see [`quorate_raft::Config::election_timeout`].
    pub election_timeout: Duration,
    /// How long a member waits, given that.
    pub election_policy: quorate_raft::ElectionPolicy,
    /// Once nothing has happened in the group for so long it is quiet, and costs nothing until something does; see
    /// [`quorate_raft::Config::quiet_after`]. `None`: never. Its leader then speaks with every heartbeat, as members
    /// of etcd do.
    pub quiet_after: Option<Duration>,
    /// The bounds of the algorithm.
    pub limits: quorate_raft::Limits,
    /// The disk of a member that has a new one in a group that exists: see
    /// [`quorate_raft::Config::rejoining`].
    pub rejoining: Option<quorate_raft::DiskId>,
    /// Whether a leader answers reads by a lease: see [`quorate_raft::Config::lease`].
    pub lease: Option<quorate_raft::Lease>,
    /// Whether this member is a witness; see [`quorate_raft::Config::witness`]. Its machine is a
    /// [`Witness`](crate::Witness), and it takes no requests ([`RequestError::Witness`]).
    pub witness: bool,
}

/// What the commands of one [`Forward`] may cost together, in bytes; a larger one travels alone. A
/// piece of this size goes through any network, and a lost one is soon sent again.
const FORWARD_BYTES_MAX: usize = 1 << 20;

/// One group.
#[derive(Debug)]
pub(crate) struct Group<W> {
    settings: Settings,
    raft: Raft,
    /// Commands of this node's clients.
    waiters: Waiters<W>,
    /// Commands of other nodes' clients, not yet proposed.
    foreign: ForeignCommands,
    /// What was taken from other nodes.
    sessions: Sessions,
    /// Reads of this node's clients.
    reads: Reads<W>,
    /// Members that heal and read a snapshot here.
    heal_source: HealSource,
    /// What this voter has to say about its state, until there is a leader to say it to. Only the newest
    /// is worth saying.
    report: Option<Box<Report>>,
    /// The last entry given to the applier, or that its machine had from the start.
    given: EntryId,
    /// Who is to lead after this member.
    office: Office,
}

impl<W> Group<W> {
    pub(crate) fn new(
        node: &NodeConfig,
        config: GroupConfig,
        recovered: Recovered,
        applied: EntryId,
        now: Time,
    ) -> Self {
        let settings = Settings::new(node, &config);
        let raft_config = quorate_raft::Config {
            id: node.id,
            group: config.group,
            membership: config.membership,
            heartbeat_interval: config.heartbeat_interval,
            election_timeout: config.election_timeout,
            election_policy: config.election_policy,
            quiet_after: config.quiet_after,
            // Groups on one node must not all time out together.
            seed: node.seed ^ config.group.0.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            limits: config.limits,
            incarnation: node.incarnation,
            rejoining: config.rejoining,
            lease: config.lease,
            witness: config.witness,
        };
        let raft = Raft::new(raft_config, recovered, applied, now);
        Self::idle(settings, raft, Office::new(&settings, applied.index, now), applied)
    }

    /// A group of which nobody wants anything.
    fn idle(settings: Settings, raft: Raft, office: Office, given: EntryId) -> Self {
        Self {
            raft,
            waiters: Waiters::new(),
            foreign: ForeignCommands::default(),
            sessions: Sessions::default(),
            reads: Reads::new(settings.incarnation),
            heal_source: HealSource::default(),
            report: None,
            given,
            office,
            settings,
        }
    }

    /// When [`Group::flush`] has something to do without any input.
    pub(crate) fn deadline(&self) -> Time {
        // There is nobody to send anything to again while nobody else leads: to wake up for it would
        // be to spin until somebody does.
        let resend = match self.raft.leader() {
            Some(leader) if leader != self.settings.node => self.waiters.resend(),
            Some(_) | None if planted!(WaitsForNobody) => self.waiters.resend(),
            Some(_) | None => Time::NEVER,
        };
        let expiry = self.waiters.expiry().min(self.reads.deadline());
        let expiry = expiry.min(self.heal_source.deadline());
        self.raft.deadline().min(expiry).min(resend)
    }

    pub(crate) fn status(&self) -> GroupStatus {
        GroupStatus {
            group: self.settings.id,
            raft: self.raft.status(),
            healing: None,
            pending_commands: self.waiters.len(),
            pending_reads: self.reads.len(),
        }
    }

    /// Queues a command of this node's client.
    pub(crate) fn propose(&mut self, now: Time, command: Bytes, waiter: W, out: &mut Effects<W>) {
        if self.settings.is_witness {
            out.failed.push((waiter, RequestError::Witness));
        } else if command.len() > self.settings.command_bytes_max {
            out.failed.push((waiter, RequestError::TooLarge));
        } else if self.waiters.len() >= self.settings.pending_max
            || self.waiters.bytes() + command.len() > self.settings.pending_bytes_max
        {
            out.failed.push((waiter, RequestError::Overloaded));
        } else {
            self.office.asked();
            self.waiters.push(command, waiter, now + self.settings.request_timeout);
            // A leader is woken by the proposal, and lets all know of it at once.
            if !self.is_leader() {
                self.wake(now, false, out);
            }
        }
    }

    /// Queues a read of this node's client.
    pub(crate) fn read(
        &mut self,
        now: Time,
        freshness: Freshness,
        waiter: W,
        out: &mut Effects<W>,
    ) {
        if self.settings.is_witness {
            out.failed.push((waiter, RequestError::Witness));
        } else if self.reads.len() >= self.settings.pending_max {
            out.failed.push((waiter, RequestError::Overloaded));
        } else {
            self.office.asked();
            self.reads.push(waiter, freshness, now, now + self.settings.request_timeout);
        }
    }

    /// Takes what another node says. Nothing in it is trusted.
    pub(crate) fn peer(&mut self, now: Time, envelope: Envelope, out: &mut Effects<W>) {
        let from = envelope.from;
        // A message of the algorithm may come from a member that this one has not heard of yet (Raft §6).
        let is_known = matches!(envelope.body, EnvelopeBody::Raft(_)) || self.is_member(from);
        if from == self.settings.node || !is_known {
            let reason = "the sender is not another member";
            return out.events.push((self.settings.id, Event::Malformed { from, reason }));
        }
        match envelope.body {
            EnvelopeBody::Raft(message) => {
                if message.from == from && message.to == self.settings.node {
                    if matches!(message.body, Body::ReadIndex(_)) && self.is_member(from) {
                        self.office.asked_of(from);
                    }
                    self.step(now, RaftInput::Message(message), out);
                } else {
                    let reason = "the message is not the envelope's";
                    out.events.push((self.settings.id, Event::Malformed { from, reason }));
                }
            }
            EnvelopeBody::Forward(forward) => self.take_forward(from, forward, out),
            // It is about no group, and never comes here.
            EnvelopeBody::Beat { .. } => {}
            EnvelopeBody::HealAsk { incarnation, ask } => {
                self.heal_other(now, from, incarnation, ask, out);
            }
            // This member was whole before the answer came.
            EnvelopeBody::HealAnswer(_) => {}
            EnvelopeBody::Returned(Unproposed { term, incarnation, numbers }) => {
                if incarnation == self.settings.incarnation {
                    let all = planted!(ReturnedBringsAll).then(|| self.waiters.numbers());
                    let numbers = all.unwrap_or(numbers);
                    numbers.into_iter().for_each(|number| self.waiters.returned(term, number));
                }
            }
            EnvelopeBody::Refused(refused) => {
                if refused.incarnation == self.settings.incarnation {
                    let Unproposed { term, numbers, .. } = refused;
                    let ended = numbers.into_iter().filter_map(|n| self.waiters.refused(term, n));
                    out.failed.extend(ended.map(|waiter| (waiter, RequestError::Overloaded)));
                }
            }
        }
    }

    /// Gives a member whose storage is damaged what it asks for.
    fn heal_other(
        &mut self,
        now: Time,
        from: NodeId,
        incarnation: u64,
        ask: HealAsk,
        out: &mut Effects<W>,
    ) {
        self.wake(now, false, out);
        match ask {
            HealAsk::Entries { lost: asked, term } if is_sensible(asked) => {
                if !planted!(HealerUnheard) {
                    self.step(now, RaftInput::LaterTerm { from, term }, out);
                }
                let found = self.raft.find(asked, self.settings.piece_bytes);
                let way = (self.settings.node, from);
                out.send.push(entries_answer(self.settings.id, way, incarnation, asked, found));
            }
            HealAsk::Entries { .. } => {
                let reason = "it asks for entries that can't be";
                out.events.push((self.settings.id, Event::Malformed { from, reason }));
            }
            // There is nothing to send.
            HealAsk::Snapshot { .. } if self.settings.is_witness => {}
            HealAsk::Snapshot { last, cursor } => {
                let until = now + reader_patience(self.settings.election_timeout);
                let piece = (last, cursor);
                self.heal_source.read(self.settings.id, from, incarnation, piece, until, out);
            }
        }
    }

    /// A piece of a snapshot was read for a member that heals. Says whether that one waits for it still.
    fn piece_for_healing(&mut self, piece: SnapshotPiece, out: &mut Effects<W>) -> bool {
        let term = self.raft.durable_term();
        let answer = self.heal_source.answer(self.settings.id, self.settings.node, piece, term);
        let is_awaited = answer.is_some();
        out.send.extend(answer);
        is_awaited
    }

    /// Queues commands of another node's clients. Silent unless this node leads the very term they
    /// were meant for; see `waiters.rs` for how they end otherwise.
    fn take_forward(&mut self, from: NodeId, forward: Forward, out: &mut Effects<W>) {
        let Forward { term, incarnation, commands } = forward;
        if !self.leads(term) {
            return;
        }
        let Settings { command_bytes_max, pending_max, pending_bytes_max, .. } = self.settings;
        let mut refused = Vec::new();
        for (number, command) in commands {
            // A report says the same however often it is said. It must not take part in the count of
            // what clients asked, beyond which lower numbers are refused.
            let is_own = number >= proposal::OWN;
            let is_first = is_own || self.sessions.first(term, from, incarnation, number);
            if !is_first && !planted!(ForwardTakenTwice) {
                continue;
            }
            if command.len() > command_bytes_max {
                refused.push(number);
                continue;
            }
            let id = ProposalId { origin: from, incarnation, number };
            let foreign = Foreign { term, id, command };
            if self.foreign.push(foreign, pending_max, pending_bytes_max).is_err() {
                refused.push(number);
            }
            if !is_own {
                self.office.asked_of(from);
            }
        }
        self.refuse(from, term, incarnation, refused, out);
    }

    fn refuse(
        &self,
        to: NodeId,
        term: Term,
        incarnation: u64,
        numbers: Vec<u64>,
        out: &mut Effects<W>,
    ) {
        if !numbers.is_empty() {
            let body = EnvelopeBody::Refused(Unproposed { term, incarnation, numbers });
            out.send.push(self.envelope(to, body));
        }
    }

    /// Takes what the applier reports.
    pub(crate) fn applied(&mut self, now: Time, feedback: Feedback, out: &mut Effects<W>) {
        match feedback {
            Feedback::Progress { applied, durable } => {
                self.step(now, RaftInput::Applied(applied), out);
                self.step(now, RaftInput::Compact(durable), out);
            }
            Feedback::Audited(report) => {
                let has_vote = self.raft.membership().is_voter(self.settings.node);
                self.report = Some(Box::new(report)).filter(|_| has_vote);
            }
            Feedback::SnapshotReady(piece) => {
                if planted!(PieceToWhoHeals) && self.piece_for_healing(piece.clone(), out) {
                    return;
                }
                self.step(now, RaftInput::SnapshotReady(piece), out);
            }
            Feedback::HealSnapshotReady(piece) => {
                self.piece_for_healing(piece, out);
            }
            Feedback::SnapshotInstalled { last } => {
                self.waiters.snapshot_installed(&mut out.failed);
                self.given = self.given.max(last);
                self.step(now, RaftInput::SnapshotInstalled { last }, out);
            }
            Feedback::SnapshotFailed { last } => {
                self.step(now, RaftInput::SnapshotFailed { last }, out);
            }
        }
    }

    /// What this member relies on.
    pub(crate) fn footing(&self) -> Footing<'_> {
        let (us, leader) = (self.settings.node, self.raft.leader());
        Footing { us, leader, members: self.raft.membership() }
    }

    fn is_member(&self, id: NodeId) -> bool {
        self.raft.membership().contains(id)
    }

    /// Whether it has nothing to do until something happens.
    pub(crate) fn is_quiet(&self) -> bool {
        self.raft.is_quiet()
    }

    /// Is awake from now on; `doubted` as in [`RaftInput::Wake`].
    pub(crate) fn wake(&mut self, now: Time, doubted: bool, out: &mut Effects<W>) {
        if self.raft.is_quiet() {
            self.step(now, RaftInput::Wake { doubted }, out);
        }
    }

    /// Hands leadership to `to`, or to the best of the voters that speak as they should: of those that are
    /// level the one of the highest priority, and else the one whose log reaches furthest. Never unasked
    /// to one that is silent, leaves or rejoins: with nobody else there, to nobody.
    pub(crate) fn transfer(
        &mut self,
        now: Time,
        to: Option<NodeId>,
        detector: &Detector,
        out: &mut Effects<W>,
    ) {
        if let Some(to) = to.or_else(|| self.office.best(&self.raft, detector)) {
            self.step(now, RaftInput::Transfer(to), out);
        }
    }

    /// Tells the algorithm whom the detector does not find good, and hands over if the lead belongs to
    /// another member. Done by leaders only, before they act.
    fn look_after_the_lead(&mut self, now: Time, detector: &Detector, out: &mut Effects<W>) {
        if !self.is_leader() {
            return self.office.pauses();
        }
        if let Some(unfit) = self.office.unfit(&self.settings, &self.raft, detector) {
            self.step(now, RaftInput::Unfit(unfit), out);
        }
        if let Some(to) = self.office.look(now, &self.settings, &self.raft, detector) {
            self.step(now, RaftInput::Transfer(to), out);
        }
    }

    /// Whether this member leads, and a voter has a higher priority, be it fit or not.
    fn belongs_to_another(&self, detector: &Detector) -> bool {
        self.is_leader() && self.office.belongs_to_another(&self.settings, &self.raft, detector)
    }

    /// Begins a change of members, if this member leads and may.
    pub(crate) fn change(
        &mut self,
        now: Time,
        wanted: Membership,
        waiter: W,
        detector: &Detector,
        out: &mut Effects<W>,
    ) {
        // Raft hears of a silent member after an election timeout, and of one that leaves not at all. What it knows
        // decides too, and more strictly in all else.
        let is_there = |id: &&NodeId| **id == self.settings.node || detector.is_good(**id);
        let there = wanted.voters.iter().filter(is_there).count();
        if self.is_leader() && there <= wanted.voters.len() / 2 {
            return out.changes.push((waiter, Err(ChangeError::LosesQuorum)));
        }
        self.step(now, RaftInput::Change(wanted), out);
        let answer = out.raft.changes.pop().expect("a change is answered at once");
        out.changes.push((waiter, answer));
    }

    /// Who belongs to the group, as far as this member's log tells.
    pub(crate) fn membership(&self) -> &Membership {
        self.raft.membership()
    }

    /// Since which entry those are members who are.
    pub(crate) fn members_since(&self) -> Index {
        self.raft.membership_since()
    }

    /// Does what many inputs together ask for, once: proposes, confirms, and ends what is over.
    pub(crate) fn flush(&mut self, now: Time, detector: &Detector, out: &mut Effects<W>) {
        self.look_after_the_lead(now, detector, out);
        // One that sleeps does not look to whom its lead belongs.
        if self.raft.is_quiet() && self.belongs_to_another(detector) {
            self.step(now, RaftInput::Wake { doubted: false }, out);
        }
        if self.raft.deadline() <= now {
            self.step(now, RaftInput::Timeout, out);
        }
        let leader_known = self.raft.leader().is_some();
        self.waiters.expire(now, leader_known, &mut out.failed);
        self.reads.expire(now, leader_known, &mut out.failed);
        self.propose_queued(now, out);
        self.heal_source.expire(self.settings.id, now, out);
        if let Some(id) = self.reads.begin(now, self.settings.election_timeout) {
            self.step(now, RaftInput::Read(id), out);
        }
        let ready = self.reads.ready(self.given.index);
        if !ready.is_empty() {
            out.apply.push((self.settings.id, ApplyJob::Reads(ready)));
        }
    }

    /// Gives queued commands to the leader, this node or another.
    fn propose_queued(&mut self, now: Time, out: &mut Effects<W>) {
        let term = self.raft.term();
        let leads = self.is_leader();
        self.give_back(leads.then_some(term), out);
        match self.raft.leader() {
            Some(leader) if leader == self.settings.node => self.propose_here(now, term, out),
            Some(leader) => {
                // The leader may have lost them, if it was cut off; it knows which it has seen.
                let mut commands =
                    self.waiters.take_queued(term, now, now + self.settings.election_timeout);
                commands.extend(self.report.take().map(|report| numbered(&report)));
                self.forward(leader, term, commands, out);
            }
            None => {}
        }
    }

    /// Gives back to their nodes the commands that were held here until the lead was lost: nobody else may propose
    /// them in their term, and this node does not lead it again. They go to the next leader with what has waited for
    /// one, and not only when an entry of its has shown that they are in no log.
    fn give_back(&mut self, led: Option<Term>, out: &mut Effects<W>) {
        let stale = self.foreign.take_stale(led);
        let mut of = BTreeMap::<_, Vec<u64>>::new();
        for Foreign { term, id, .. } in stale.into_iter().filter(|f| f.id.number < proposal::OWN) {
            of.entry((id.origin, term, id.incarnation)).or_default().push(id.number);
        }
        for ((to, term, incarnation), numbers) in of {
            let body = EnvelopeBody::Returned(Unproposed { term, incarnation, numbers });
            out.send.push(self.envelope(to, body));
        }
    }

    /// Sends commands to the leader of a term, in as many pieces as it takes.
    fn forward(&self, to: NodeId, term: Term, commands: Vec<(u64, Bytes)>, out: &mut Effects<W>) {
        let incarnation = self.settings.incarnation;
        let mut send = |commands| {
            let body = EnvelopeBody::Forward(Forward { term, incarnation, commands });
            out.send.push(self.envelope(to, body));
        };
        let (mut piece, mut bytes) = (Vec::new(), 0);
        for (number, command) in commands {
            let cost = Payload::Command(command.clone()).cost();
            if bytes + cost > FORWARD_BYTES_MAX && !piece.is_empty() {
                send(core::mem::take(&mut piece));
                bytes = 0;
            }
            bytes += cost;
            piece.push((number, command));
        }
        if !piece.is_empty() {
            send(piece);
        }
    }

    fn propose_here(&mut self, now: Time, term: Term, out: &mut Effects<W>) {
        let nothing_waits =
            !self.waiters.has_queued() && self.foreign.is_empty() && self.report.is_none();
        if nothing_waits || self.raft.transferring().is_some() {
            return;
        }
        let incarnation = self.settings.incarnation;
        let report = self.report.take().map(|report| numbered(&report));
        let own = self.waiters.take_queued(term, now, Time::NEVER).into_iter().chain(report);
        let own = own.map(|(number, command)| {
            (ProposalId { origin: self.settings.node, incarnation, number }, command)
        });
        let foreign = self.foreign.take().into_iter().map(|f| (f.id, f.command));
        let mut queue: VecDeque<_> = own.chain(foreign).collect();
        // In pieces, so that of more than the log can take at once, as after a pause without a
        // leader, the first are taken.
        while !queue.is_empty() {
            let (mut ids, mut commands, mut bytes) = (Vec::new(), Vec::new(), 0);
            while let Some((id, command)) = queue.pop_front() {
                let command = proposal::encode(id, &command);
                bytes += command.len();
                ids.push(id);
                commands.push(command);
                if bytes >= self.settings.piece_bytes {
                    break;
                }
            }
            self.step(now, RaftInput::Propose(commands), out);
            let answer = out.raft.proposed.pop().expect("a proposal is answered at once");
            match answer {
                Ok(_) => {}
                Err(ProposeError::Overloaded) => self.turn_down(term, ids, out),
                Err(error @ (ProposeError::NotLeader(_) | ProposeError::Transferring(_))) => {
                    unreachable!("{error:?} from a leader that said it leads and does not transfer")
                }
            }
        }
    }

    /// The log of this leader does not take these commands.
    fn turn_down(&mut self, term: Term, ids: Vec<ProposalId>, out: &mut Effects<W>) {
        for ProposalId { origin, incarnation, number } in ids {
            if number >= proposal::OWN {
                // There will be another report, when there is less to do.
            } else if origin == self.settings.node {
                let waiter = self.waiters.refused(term, number).expect("it was sent just now");
                out.failed.push((waiter, RequestError::Overloaded));
            } else {
                self.refuse(origin, term, incarnation, Vec::from([number]), out);
            }
        }
    }

    fn is_leader(&self) -> bool {
        self.raft.leader() == Some(self.settings.node)
    }

    fn leads(&self, term: Term) -> bool {
        self.raft.term() == term && self.is_leader()
    }

    fn envelope(&self, to: NodeId, body: EnvelopeBody) -> Envelope {
        Envelope { group: self.settings.id, from: self.settings.node, to, body }
    }

    /// Steps the algorithm and carries out what it asks for, but for answers to proposals, which
    /// stay for the caller.
    pub(crate) fn step(&mut self, now: Time, input: RaftInput, out: &mut Effects<W>) {
        out.raft.clear();
        self.raft.step(now, input, &mut out.raft);
        let Effects { raft: effects, send, persist, events, .. } = &mut *out;
        let group = self.settings.id;
        send.extend(effects.send.drain(..).map(|message| Envelope {
            group,
            from: message.from,
            to: message.to,
            body: EnvelopeBody::Raft(message),
        }));
        if !effects.asks_for_more_than_messages() {
            return;
        }
        persist.extend(effects.persist.drain(..).map(|persist| (group, persist)));
        for outcome in effects.reads.drain(..) {
            self.reads.outcome(outcome, now, self.settings.heartbeat_interval);
        }
        let requests = core::mem::take(&mut effects.snapshots);
        events.extend(effects.events.drain(..).map(|event| (group, event)));
        let committed = core::mem::take(&mut effects.committed);
        if !committed.is_empty() {
            self.give(committed, out);
        }
        out.apply.extend(requests.into_iter().map(|request| (group, ApplyJob::Snapshot(request))));
    }

    /// Gives committed entries to the applier, together with the waiters of this node.
    fn give(&mut self, entries: Vec<quorate_raft::Entry>, out: &mut Effects<W>) {
        let mut waiters = Vec::new();
        for entry in &entries {
            let given = self.given;
            let follows = given.index.next() == entry.id.index && given.term <= entry.id.term;
            assert!(follows, "entry {} is given after {given}", entry.id);
            if entry.id.term > given.term {
                self.waiters.term_committed(entry.id.term);
            }
            self.given = entry.id;
            let Payload::Command(command) = &entry.payload else { continue };
            let Some((id, _)) = proposal::decode(command) else { continue };
            if id.origin == self.settings.node && id.incarnation == self.settings.incarnation {
                let waiter = self.waiters.committed(id.number);
                if planted!(WaiterDropped) && entry.id.term < self.raft.term() {
                    continue;
                }
                waiters.extend(waiter.map(|waiter| (entry.id.index, waiter)));
            }
        }
        out.apply.push((self.settings.id, ApplyJob::Entries { entries, waiters }));
    }
}

/// A report as it is forwarded and proposed.
fn numbered(report: &Report) -> (u64, Bytes) {
    (proposal::OWN | report.index.0, report.encode())
}
