//! Nothing that another member says makes a node panic, forget somebody who waits, or answer twice:
//! envelopes that are nearly right, in between whatever else happens.
//!
//! They are drawn near what the node knows: its term, its processes, the numbers of its own commands,
//! the reads that it asked about.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use quorate_node::proposal::{self, ProposalId};
use quorate_node::{
    Applied, Applier, ApplyJob, Effects, Envelope, EnvelopeBody, Fault, Feedback, Forward,
    GroupConfig, Input, Machine, Node, NodeConfig, Piece, RestoreError, Snapshot, SnapshotBytes,
    SnapshotError, Unproposed,
};
use quorate_raft::{
    Append, AppendReply, Body, Entry, EntryId, Event, GroupId, Heartbeat, HeartbeatReply, Index,
    Lease, Limits, Membership, Message, NodeId, Payload, ReadId, ReadIndex, ReadIndexReply,
    Recovered, RequestVote, RoleKind, Seq, SnapshotReply, Status, Term, Time, VoteReply,
};

const GROUP: GroupId = GroupId(1);
const US: NodeId = NodeId(1);
const INCARNATION: u64 = 7;
const COMMAND_BYTES_MAX: usize = 64;
const PENDING_MAX: usize = 8;

/// Numbers that decide what happens in one step.
type Choices = [u8; 8];

/// Counts commands.
#[derive(Default)]
struct Counter {
    applied: EntryId,
    membership: Option<Bytes>,
    commands: usize,
}

impl Machine for Counter {
    type Outcome = usize;

    fn applied(&self) -> EntryId {
        self.applied
    }

    fn durable(&self) -> EntryId {
        self.applied
    }

    fn apply(&mut self, _: EntryId, _: &Bytes) -> Result<usize, Fault> {
        self.commands += 1;
        Ok(self.commands)
    }

    fn membership(&self) -> Option<Bytes> {
        self.membership.clone()
    }

    fn set_membership(&mut self, _: EntryId, membership: &Bytes) -> Result<(), Fault> {
        self.membership = Some(membership.clone());
        Ok(())
    }

    fn commit(&mut self, through: EntryId) -> Result<(), Fault> {
        self.applied = through;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, Fault> {
        Ok(Box::new(Frozen(self.applied)))
    }

    fn restore(&mut self, _: &Piece) -> Result<(), RestoreError> {
        Err(RestoreError::Rejected("nothing is believed here".into()))
    }
}

struct Frozen(EntryId);

impl Snapshot for Frozen {
    fn last(&self) -> EntryId {
        self.0
    }

    fn read(&mut self, cursor: &[u8], _: usize) -> Result<SnapshotBytes, SnapshotError> {
        if !(cursor.is_empty() || cursor == b"2") {
            return Err(SnapshotError::Cursor);
        }
        let next = cursor.is_empty().then(|| Bytes::from_static(b"2"));
        Ok(SnapshotBytes { data: Bytes::from_static(b"data"), next })
    }
}

struct Host {
    node: Node<u64>,
    applier: Applier<usize>,
    effects: Effects<u64>,
    now: Time,
    /// Who asked and has no answer yet, and whether for a read.
    waiting: BTreeMap<u64, bool>,
    /// How many asked.
    asked: u64,
    jobs: VecDeque<ApplyJob<u64>>,
    written: Seq,
    /// Messages to the others that want an answer.
    questions: VecDeque<Message>,
    malformed: usize,
    outcomes: usize,
    reads: usize,
    refusals: usize,
}

impl Host {
    fn new() -> Self {
        Self::with(None)
    }

    fn with(lease: Option<Lease>) -> Self {
        let membership = Membership::of_voters([1, 2, 3].map(NodeId));
        let mut config = NodeConfig::new(US, INCARNATION, 1);
        config.command_bytes_max = COMMAND_BYTES_MAX;
        config.pending_max = PENDING_MAX;
        config.pending_bytes_max = 200;
        let mut node = Node::new(config);
        let limits = Limits {
            append_bytes_max: 200,
            inflight_bytes_max: 1000,
            uncommitted_bytes_max: 1500,
            pending_reads_max: 3,
            ..Limits::default()
        };
        let group = GroupConfig {
            group: GROUP,
            membership: membership.clone(),
            heartbeat_interval: Duration::from_millis(100),
            election_timeout: Duration::from_millis(1000),
            election_policy: quorate_raft::ElectionPolicy::Fixed,
            quiet_after: None,
            limits,
            rejoining: None,
            lease,
            witness: false,
        };
        node.add_group(group, Recovered::default(), EntryId::ZERO, Time(0));
        let mut host = Self {
            node,
            applier: Applier::new(Box::new(Counter::default()), membership),
            effects: Effects::default(),
            now: Time(0),
            waiting: BTreeMap::new(),
            asked: 0,
            jobs: VecDeque::new(),
            written: Seq(0),
            questions: VecDeque::new(),
            malformed: 0,
            outcomes: 0,
            reads: 0,
            refusals: 0,
        };
        // So that it has a deadline.
        host.step(Input::Timeout);
        host
    }

    fn status(&self) -> Status {
        self.node.status(GROUP).expect("the group is there").raft
    }

    fn step(&mut self, input: Input<u64>) {
        self.node.step(self.now, input, &mut self.effects);
        self.node.flush(self.now, &mut self.effects);
        for (_, persist) in &self.effects.persist {
            assert_eq!(persist.seq, self.written.next(), "writes are numbered one by one");
            self.written = persist.seq;
        }
        for envelope in self.effects.send.drain(..) {
            assert!(envelope.group == GROUP && envelope.from == US && envelope.to != US);
            match envelope.body {
                EnvelopeBody::Raft(message) if self.questions.len() < 100 => {
                    self.questions.push_back(message);
                }
                EnvelopeBody::Refused(refused) => {
                    assert!(!refused.numbers.is_empty(), "a refusal refuses something");
                    self.refusals += 1;
                }
                _ => {}
            }
        }
        self.jobs.extend(self.effects.apply.drain(..).map(|(_, job)| job));
        for (waiter, _) in self.effects.failed.drain(..) {
            assert!(self.waiting.remove(&waiter).is_some(), "{waiter} is answered twice");
        }
        let is_malformed = |event: &&(GroupId, Event)| matches!(event.1, Event::Malformed { .. });
        self.malformed += self.effects.events.iter().filter(is_malformed).count();
        self.effects.clear();
        let status = self.node.status(GROUP).expect("the group is there");
        assert!(status.pending_commands <= PENDING_MAX && status.pending_reads <= PENDING_MAX);
    }

    fn apply(&mut self) {
        let Some(job) = self.jobs.pop_front() else { return };
        let mut applied = Applied::default();
        self.applier.run(job, &mut applied).expect("the machine never fails");
        for (waiter, _) in applied.outcomes {
            self.outcomes += 1;
            assert_eq!(self.waiting.remove(&waiter), Some(false), "{waiter} is answered once");
        }
        for waiter in applied.unseen {
            assert_eq!(self.waiting.remove(&waiter), Some(false), "{waiter} is answered once");
        }
        for (waiter, _) in applied.reads {
            self.reads += 1;
            assert_eq!(self.waiting.remove(&waiter), Some(true), "{waiter} is answered once");
        }
        for feedback in applied.feedback {
            self.step(Input::Applied { group: GROUP, feedback });
        }
    }

    fn act(&mut self, choices: Choices) {
        let [kind, size, ..] = choices;
        match kind % 16 {
            0 => {
                self.now = self.now + Duration::from_millis(u64::from(size));
                self.step(Input::Timeout);
            }
            1 => {
                self.now = self.now.max(self.node.deadline());
                self.step(Input::Timeout);
            }
            2 | 3 => {
                self.asked += 1;
                let waiter = self.asked;
                if size.is_multiple_of(3) {
                    self.waiting.insert(waiter, true);
                    self.step(Input::Read {
                        group: GROUP,
                        freshness: quorate_node::Freshness::Linearizable,
                        waiter,
                    });
                } else {
                    self.waiting.insert(waiter, false);
                    let command = Bytes::from(vec![0; usize::from(size % 70)]);
                    self.step(Input::Propose { group: GROUP, command, waiter });
                }
            }
            4 | 5 => self.step(Input::Durable { group: GROUP, seq: self.written }),
            6 | 7 => self.apply(),
            8 | 9 => self.answer(size),
            _ => {
                let envelope = envelope(&self.status(), self.asked, choices);
                self.step(Input::Peer(envelope));
            }
        }
    }

    /// Another member answers what it was asked, truthfully or nearly so.
    fn answer(&mut self, choice: u8) {
        let Some(question) = self.questions.pop_front() else { return };
        let body = match question.body {
            Body::PreVote(request) => Body::PreVoteReply(granted(request)),
            Body::Vote(request) => Body::VoteReply(granted(request)),
            Body::Append(append) => {
                let durable = Index(append.previous.index.0 + append.entries.len() as u64);
                Body::AppendReply(AppendReply::Accepted { durable })
            }
            Body::Heartbeat(Heartbeat { round, .. }) => Body::HeartbeatReply(HeartbeatReply {
                round: round + u64::from(choice == 0),
                stall: Duration::from_millis(choice.into()),
                quiet: choice.is_multiple_of(2),
                held: lasts(choice),
            }),
            Body::ReadIndex(ReadIndex { id }) => {
                let index = (!choice.is_multiple_of(4)).then(|| self.status().commit);
                Body::ReadIndexReply(ReadIndexReply { id, index })
            }
            Body::Snapshot(chunk) => {
                let cursor = match choice % 3 {
                    0 => Bytes::from_static(b"made up"),
                    1 => Bytes::new(),
                    _ => chunk.next.unwrap_or_default(),
                };
                Body::SnapshotReply(SnapshotReply::Continue { last: chunk.meta.last, cursor })
            }
            _ => return,
        };
        let message =
            Message { from: question.to, to: US, term: question.term, rejoining: None, body };
        self.step(Input::Peer(said(question.to, EnvelopeBody::Raft(message))));
    }

    /// Time passes and the machine works until nobody should wait any more.
    fn end(&mut self) {
        self.now = self.now + Duration::from_secs(60);
        self.step(Input::Timeout);
        while !self.jobs.is_empty() {
            self.apply();
        }
        assert!(self.waiting.is_empty(), "{:?} wait for ever", self.waiting);
    }
}

fn said(from: NodeId, body: EnvelopeBody) -> Envelope {
    Envelope { group: GROUP, from, to: US, body }
}

/// Up to the longest that there is.
fn lasts(choice: u8) -> Duration {
    match choice {
        255 => Duration::MAX,
        power => Duration::from_nanos(1 << (power % 64)),
    }
}

const LEASE: Lease = Lease { drift_ppm: 1_000 };

/// An envelope made of choices, near what the node knows.
fn envelope(status: &Status, asked: u64, choices: Choices) -> Envelope {
    let [_, kind, from, term, a, b, c, d] = choices;
    let near = |base: u64, choice: u8| match choice {
        255 => u64::MAX,
        254 => 1 << 62,
        253 => 0,
        choice => (base + u64::from(choice % 5)).saturating_sub(2),
    };
    let from = NodeId([2, 3, 2, 3, 2, 3, 4, 1][usize::from(from % 8)]);
    let term = match term {
        0..200 => status.term,
        _ => Term(near(status.term.0, term.wrapping_mul(7))),
    };
    let incarnation = [INCARNATION, 20, 21, u64::MAX][usize::from(a % 4)];
    let number = |choice: u8| near(asked, choice);
    let command = |choice: u8| {
        let bytes = vec![choice; usize::from(choice % 70)];
        match choice % 4 {
            // One of ours, as a leader that lies would put it into the log.
            0 => {
                let id = ProposalId { origin: US, incarnation, number: number(choice) };
                proposal::encode(id, &bytes)
            }
            1 => {
                let id = ProposalId { origin: from, incarnation, number: number(choice) };
                proposal::encode(id, &bytes)
            }
            _ => Bytes::from(bytes),
        }
    };
    let read = ReadId { incarnation, counter: near(1, b) };
    let index = |choice: u8| Index(near(status.last.index.0, choice));
    let message = |body| EnvelopeBody::Raft(Message { from, to: US, term, rejoining: None, body });
    let body = match kind % 10 {
        0..3 => {
            let mut commands: Vec<(u64, Bytes)> =
                [a, b, c, d].map(|choice| (number(choice), command(choice))).into();
            commands.truncate(usize::from(d % 5));
            EnvelopeBody::Forward(Forward { term, incarnation, commands })
        }
        3 => {
            let numbers = [b, c, d].map(number).into();
            EnvelopeBody::Refused(Unproposed { term, incarnation, numbers })
        }
        4 | 5 => {
            let previous = status.last;
            let entry = |n: u64, choice| Entry {
                id: EntryId { term, index: Index(previous.index.0 + n) },
                payload: Payload::Command(command(choice)),
            };
            let entries = vec![entry(1, a), entry(2, b)];
            message(Body::Append(Append { previous, entries, commit: index(c) }))
        }
        6 => message(Body::ReadIndexReply(ReadIndexReply {
            id: read,
            index: c.is_multiple_of(2).then(|| index(d)),
        })),
        7 => message(Body::ReadIndex(ReadIndex { id: read })),
        8 => message(Body::Heartbeat(Heartbeat {
            commit: status.commit,
            round: near(1, b),
            pace: None,
            quiet: d.is_multiple_of(2),
            hold: lasts(d),
        })),
        _ => {
            // The envelope says one thing and the message another.
            let to = NodeId(u64::from(b % 4));
            let from = NodeId(u64::from(c % 4));
            EnvelopeBody::Raft(Message { from, to, term, rejoining: None, body: Body::TimeoutNow })
        }
    };
    let group = if d == 255 { GroupId(near(1, c)) } else { GROUP };
    Envelope { group, ..said(from, body) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_envelope_makes_a_node_panic_or_forget_anybody(
        is_leased in any::<bool>(),
        actions in vec(any::<Choices>(), 1..150),
    ) {
        let mut host = Host::with(is_leased.then_some(LEASE));
        for choices in actions {
            host.act(choices);
        }
        host.end();
    }
}

/// The test above is worth something only if it gets anywhere.
#[test]
fn the_envelopes_reach_what_they_are_meant_for() {
    let mut random = 1_u64;
    let (mut outcomes, mut reads, mut refusals, mut malformed) = (0, 0, 0, 0);
    let (mut leads, mut leased) = (0, 0);
    for number in 0..800_u32 {
        let mut host = Host::with(number.is_multiple_of(2).then_some(LEASE));
        for _ in 0..150 {
            let mut choices = Choices::default();
            for choice in &mut choices {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *choice = (random >> 56) as u8;
            }
            host.act(choices);
            leads += usize::from(host.status().role == RoleKind::Leader);
            leased += usize::from(host.status().leased);
        }
        host.end();
        outcomes += host.outcomes;
        reads += host.reads;
        refusals += host.refusals;
        malformed += host.malformed;
    }
    assert!(
        outcomes > 50 && reads > 50 && refusals > 50 && malformed > 500 && leads > 1000,
        "{outcomes} outcomes, {reads} reads, {refusals} refusals, {malformed} malformed, {leads}"
    );
    assert!(leased > 100, "a leader had a lease {leased} times");
}

/// A host with the leader of the first term.
fn leader() -> Host {
    let mut host = Host::new();
    host.act([1, 0, 0, 0, 0, 0, 0, 0]);
    // The preliminary votes, then the votes, which wait for the disk, then the first entry.
    for _ in 0..3 {
        for _ in 0..host.questions.len() {
            host.answer(1);
        }
        host.act([4, 0, 0, 0, 0, 0, 0, 0]);
    }
    assert_eq!(host.status().role, RoleKind::Leader);
    host
}

#[test]
fn what_strangers_and_the_node_itself_say_is_dropped() {
    let mut host = leader();
    let term = host.status().term;
    for from in [4, 1, 0, u64::MAX].map(NodeId) {
        let commands = vec![(1, Bytes::new())];
        let before = (host.malformed, host.status().last);
        let forward = Forward { term, incarnation: 1, commands };
        host.step(Input::Peer(said(from, EnvelopeBody::Forward(forward))));
        assert_eq!((host.malformed, host.status().last), (before.0 + 1, before.1), "{from}");
    }
}

#[test]
fn the_largest_command_of_another_node_is_taken_and_a_larger_one_refused() {
    let mut host = leader();
    let term = host.status().term;
    for (number, length) in [(1, COMMAND_BYTES_MAX), (2, COMMAND_BYTES_MAX + 1)] {
        let last = host.status().last.index;
        let commands = vec![(number, Bytes::from(vec![0; length]))];
        let forward = Forward { term, incarnation: 1, commands };
        host.step(Input::Peer(said(NodeId(2), EnvelopeBody::Forward(forward))));
        let taken = host.status().last.index == last.next();
        let fits = length == COMMAND_BYTES_MAX;
        assert_eq!((taken, host.refusals), (fits, usize::from(!fits)), "{length} bytes");
    }
}

/// An entry that is no envelope of a command, or of a later version, does nothing and is counted as
/// applied, as on every other member.
#[test]
fn an_entry_that_is_no_proposal_does_nothing() {
    let mut applier =
        Applier::new(Box::new(Counter::default()), Membership::of_voters([1, 2, 3].map(NodeId)));
    let good = proposal::encode(ProposalId { origin: US, incarnation: 1, number: 1 }, b"x");
    let mut later = good.to_vec();
    later[0] = 2;
    let commands = [Bytes::new(), good.slice(..24), Bytes::from(later), good];
    let entries = (1..).zip(commands).map(|(index, command)| Entry {
        id: EntryId::new(1, index),
        payload: Payload::Command(command),
    });
    let mut applied = Applied::<u64, usize>::default();
    let job = ApplyJob::Entries { entries: entries.collect(), waiters: vec![(Index(4), 9)] };
    applier.run(job, &mut applied).expect("it is no fault");
    assert_eq!(applied.outcomes, [(9, 1)], "one command was applied");
    assert!(matches!(
        applied.feedback[..],
        [Feedback::Progress { applied: Index(4), durable: Index(4) }]
    ));
}

/// A vote for who asks.
fn granted(request: RequestVote) -> VoteReply {
    VoteReply { granted: true, incarnation: request.incarnation }
}
