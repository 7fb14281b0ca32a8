//! Nothing that a peer says makes a member panic, grow without bound, or take back what it committed:
//! arbitrary messages, in between whatever else happens to a member.
//!
//! The messages are drawn near what the member knows (its term, the ends of its log), because far
//! from there they are refused early; and sometimes far from there.

use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use quorate_raft::{
    Append, AppendReply, AskTail, Body, Config, DiskId, Effects, ElectionPolicy, Entry, EntryId,
    Event, GroupId, Heartbeat, HeartbeatReply, Index, Input, Lease, Limits, Membership, Message,
    NodeId, Pace, Payload, Raft, ReadId, ReadIndex, ReadIndexReply, Recovered, Rejoin, RejoinReply,
    RequestVote, RoleKind, Seq, SnapshotChunk, SnapshotMeta, SnapshotPiece, SnapshotReply,
    SnapshotRequest, Status, Tail, Term, Time, VoteReply,
};

/// Numbers that decide what happens in one step. Fewer and smaller ones are simpler, which is how a
/// failing case is reduced.
type Choices = [u8; 10];

struct Host {
    raft: Raft,
    now: Time,
    effects: Effects,
    written: Seq,
    durable: Seq,
    /// What the machine was given, so far.
    applied: EntryId,
    reads: u64,
    work: Vec<SnapshotRequest>,
    truncations: u32,
    installations: u32,
}

impl Host {
    fn new() -> Self {
        Self::with(false, false)
    }

    fn with(rejoining: bool, witness: bool) -> Self {
        let mut membership = Membership::of_voters([1, 2, 3].map(NodeId));
        membership.learners = [NodeId(4)].into();
        membership.witnesses = [NodeId(if witness { 1 } else { 3 })].into();
        let config = Config {
            id: NodeId(1),
            group: GroupId(1),
            membership,
            heartbeat_interval: Duration::from_millis(10),
            election_timeout: Duration::from_millis(100),
            election_policy: ElectionPolicy::Adaptive,
            quiet_after: Some(Duration::ZERO),
            incarnation: 1,
            seed: 1,
            rejoining: rejoining.then_some(DiskId(1)),
            lease: Some(Lease { drift_ppm: 1_000 }),
            witness,
            limits: Limits {
                append_bytes_max: 100,
                inflight_messages_max: 3,
                inflight_bytes_max: 1000,
                uncommitted_bytes_max: 1000,
                pending_reads_max: 3,
                retained_bytes_max: 100,
                retained_bytes_min: 50,
            },
        };
        Self {
            raft: Raft::new(config, Recovered::default(), EntryId::ZERO, Time(0)),
            now: Time(0),
            effects: Effects::default(),
            written: Seq(0),
            durable: Seq(0),
            applied: EntryId::ZERO,
            reads: 0,
            work: Vec::new(),
            truncations: 0,
            installations: 0,
        }
    }

    fn step(&mut self, input: Input) {
        let before = self.raft.status();
        self.raft.step(self.now, input, &mut self.effects);
        let after = self.raft.status();
        assert!(before.term <= after.term && before.commit <= after.commit);
        if before.term == after.term && before.vote.is_some() {
            assert_eq!(before.vote, after.vote, "a vote changes");
        }
        for entry in &self.effects.committed {
            assert_eq!(entry.id.index, self.applied.index.next(), "applied in order, each once");
            self.applied = entry.id;
        }
        for persist in &self.effects.persist {
            assert_eq!(persist.seq, self.written.next(), "writes are numbered one by one");
            self.written = persist.seq;
        }
        for event in &self.effects.events {
            self.truncations += u32::from(matches!(event, Event::Truncated { .. }));
            self.installations += u32::from(matches!(event, Event::SnapshotInstalled { .. }));
        }
        for message in &self.effects.send {
            assert!(message.from == NodeId(1) && message.to != NodeId(1));
        }
        assert!(self.effects.send.len() <= 1024 + 8, "an answer is bounded");
        self.work.append(&mut self.effects.snapshots);
        self.effects.clear();
        if after.applied < self.applied.index {
            let applied = self.applied.index;
            self.raft.step(self.now, Input::Applied(applied), &mut self.effects);
        }
    }

    fn act(&mut self, choices: Choices) {
        let [kind, size, ..] = choices;
        match kind % 16 {
            0 => {
                let span = Duration::from_millis(u64::from(size));
                self.now = self.now + span;
                self.step(Input::Timeout);
            }
            1 => {
                if self.raft.deadline() != Time::NEVER {
                    self.now = self.now.max(self.raft.deadline());
                }
                self.step(Input::Timeout);
            }
            2 => {
                let commands = (0..size % 4).map(|n| Bytes::from(vec![n; usize::from(n)]));
                self.step(Input::Propose(commands.collect()));
            }
            3 => {
                self.reads += 1;
                self.step(Input::Read(ReadId { incarnation: 1, counter: self.reads }));
            }
            4 | 5 => {
                let open = self.written.0 - self.durable.0;
                self.durable.0 += (u64::from(size) + 1).min(open);
                self.step(Input::Durable(self.durable));
            }
            6 => {
                let index = self.applied.index;
                self.step(Input::Compact(index));
            }
            7 => self.step(Input::Transfer(NodeId(u64::from(size % 5)))),
            8 => self.work_on_snapshot(size),
            _ => {
                let message = message(&self.raft.status(), choices);
                self.step(Input::Message(message));
            }
        }
    }

    fn work_on_snapshot(&mut self, choice: u8) {
        if self.work.is_empty() {
            return;
        }
        match self.work.remove(0) {
            SnapshotRequest::Release { .. } => {}
            SnapshotRequest::Read { to, cursor, .. } => {
                if self.applied == EntryId::ZERO {
                    return;
                }
                let meta = SnapshotMeta {
                    last: self.applied,
                    membership: Membership::of_voters([1, 2, 3].map(NodeId)),
                };
                let next = (choice.is_multiple_of(2)).then(|| Bytes::from_static(b"1"));
                let chunk = Box::new(SnapshotChunk { meta, cursor, data: Bytes::new(), next });
                self.step(Input::SnapshotReady(SnapshotPiece { to, chunk }));
            }
            SnapshotRequest::Write(chunk) => {
                if chunk.next.is_some() {
                    return;
                }
                let last = chunk.meta.last;
                if choice.is_multiple_of(4) {
                    self.step(Input::SnapshotFailed { last });
                } else {
                    self.applied = last;
                    self.step(Input::SnapshotInstalled { last });
                }
            }
        }
    }
}

/// A message made of choices, near what the member knows.
fn message(status: &Status, choices: Choices) -> Message {
    let [_, kind, from, term, a, b, c, d, e, f] = choices;
    let near = |base: u64, choice: u8| match choice {
        255 => u64::MAX,
        // The largest that is believed, and one more.
        254 => 1 << 62,
        252 => (1 << 62) + 1,
        253 => 0,
        choice => (base + u64::from(choice % 5)).saturating_sub(2),
    };
    let index = |choice: u8| {
        let bases = [status.last.index, status.commit, status.base.index, status.durable];
        Index(near(bases[usize::from(choice / 5 % 4)].0, choice))
    };
    let log_term = |choice: u8| {
        let bases = [status.last.term, status.base.term, status.term];
        Term(near(bases[usize::from(choice / 5 % 3)].0, choice))
    };
    let before_last =
        EntryId { term: status.last.term, index: Index(status.last.index.0.saturating_sub(1)) };
    let known = [status.last, before_last, status.base, EntryId::ZERO];
    let id = |term: u8, index_choice: u8| match index(index_choice) {
        _ if term < 160 => known[usize::from(term % 4)],
        Index(0) if term < 250 => EntryId::ZERO,
        index => EntryId { term: log_term(term), index },
    };
    // What is worth a snapshot lies beyond the log.
    let ahead = match index(b) {
        index if a < 100 => EntryId { term: log_term(a), index },
        _ => EntryId { term: status.term, index: Index(status.last.index.0 + u64::from(a % 4)) },
    };
    let entries = || {
        let mut last = id(a, b);
        let mut entries = Vec::new();
        for n in 0..c % 5 {
            let jump = u64::from(n == d % 7);
            // Mostly what follows; sometimes a gap, or a term that descends.
            last = match e % 16 {
                0 => EntryId { term: last.term, index: Index(last.index.0.saturating_add(2)) },
                1 => EntryId { term: Term(last.term.0.saturating_sub(jump)), ..last },
                _ => EntryId {
                    term: Term(last.term.0.saturating_add(jump)),
                    index: Index(last.index.0.saturating_add(1)),
                },
            };
            let payload = if n == 0 { Payload::Noop } else { Payload::Command(Bytes::new()) };
            entries.push(Entry { id: last, payload });
        }
        entries
    };
    let cursor = |choice: u8| match choice % 3 {
        0 => Bytes::new(),
        1 => Bytes::from_static(b"1"),
        _ => Bytes::from_static(b"2"),
    };
    // Up to the longest that there is.
    let lasts = |choice: u8| match choice {
        255 => Duration::MAX,
        power => Duration::from_nanos(1 << (power % 64)),
    };
    let read = ReadId { incarnation: 1, counter: u64::from(a) };
    let request = RequestVote {
        last: id(a, b),
        transfer: c.is_multiple_of(3),
        incarnation: 1,
        disk: f.is_multiple_of(2).then_some(DiskId(1)),
    };
    // Votes for those who ask, or nobody would ever lead.
    let kind = match status.role {
        RoleKind::PreCandidate if kind < 128 => 1,
        RoleKind::Candidate if kind < 128 => 3,
        _ => kind % 19,
    };
    let body = match kind {
        0 => Body::PreVote(request),
        1 => Body::PreVoteReply(VoteReply {
            granted: a.is_multiple_of(2),
            incarnation: u64::from(!b.is_multiple_of(8)),
        }),
        2 => Body::Vote(request),
        3 => Body::VoteReply(VoteReply {
            granted: a.is_multiple_of(2),
            incarnation: u64::from(!b.is_multiple_of(8)),
        }),
        4..=6 => Body::Append(Append { previous: id(a, b), entries: entries(), commit: index(f) }),
        7 => Body::AppendReply(AppendReply::Accepted { durable: index(a) }),
        8 => Body::AppendReply(AppendReply::Rejected { previous: index(a), hint: id(b, c) }),
        9 => Body::Heartbeat(Heartbeat {
            commit: index(a),
            round: near(2, b),
            pace: c.is_multiple_of(2).then(|| Pace { round_trip: lasts(d), stall: lasts(e) }),
            quiet: f.is_multiple_of(2),
            hold: lasts(f),
        }),
        10 => Body::HeartbeatReply(HeartbeatReply {
            round: near(2, a),
            stall: lasts(b),
            quiet: c.is_multiple_of(2),
            held: lasts(c),
        }),
        11 => Body::Snapshot(Box::new(SnapshotChunk {
            meta: SnapshotMeta {
                last: ahead,
                membership: Membership::of_voters([1, 2, 3].map(NodeId)),
            },
            cursor: cursor(c),
            data: Bytes::new(),
            next: (!d.is_multiple_of(3)).then(|| cursor(e)),
        })),
        12 if c.is_multiple_of(2) => {
            Body::SnapshotReply(SnapshotReply::Installed { durable: index(a) })
        }
        12 => Body::SnapshotReply(SnapshotReply::Continue { last: id(a, b), cursor: cursor(d) }),
        13 if c.is_multiple_of(2) => Body::ReadIndex(ReadIndex { id: read }),
        13 => Body::ReadIndexReply(ReadIndexReply {
            id: read,
            index: d.is_multiple_of(2).then(|| index(b)),
        }),
        14 => Body::Rejoin(Rejoin { round: near(1, a) }),
        // The first rounds of the only incarnation.
        15 => Body::RejoinReply(RejoinReply { round: 1 + u64::from(a % 3), last: index(b) }),
        16 => {
            let (previous, entries) = (id(a, b), entries());
            let end = entries.last().map_or(previous, |entry| entry.id);
            let more = Index(end.index.0.saturating_add(u64::from(d % 3)));
            Body::Tail(Tail { previous, entries, last: EntryId { index: more, ..end } })
        }
        17 => Body::AskTail(AskTail { after: id(a, b) }),
        _ => Body::TimeoutNow,
    };
    // Its own term is where most can happen, and the one after.
    let term = match term {
        0..100 => Term(near(status.term.0 + u64::from(term.is_multiple_of(2)), term)),
        100.. if matches!(body, Body::PreVote(_) | Body::PreVoteReply(_)) => status.term.next(),
        100.. => status.term,
    };
    let to = if from == 255 { NodeId(2) } else { NodeId(1) };
    let from = NodeId([2, 3, 2, 3, 2, 3, 4, 5, 1, 0][usize::from(from % 10)]);
    Message {
        from,
        to,
        term,
        rejoining: f.is_multiple_of(7).then_some(DiskId(u64::from(f % 3))),
        body,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn no_message_makes_a_member_panic(
        rejoining in any::<bool>(),
        witness in any::<bool>(),
        actions in vec(any::<Choices>(), 1..120),
    ) {
        let mut host = Host::with(rejoining, witness);
        for choices in actions {
            host.act(choices);
        }
    }
}

/// The test above is worth something only if it gets anywhere.
#[test]
fn the_messages_reach_every_role() {
    let mut random = 1_u64;
    let mut seen = [false; 4];
    let (mut commits, mut truncations, mut installations) = (0, 0, 0);
    for _ in 0..1000 {
        let mut host = Host::new();
        for _ in 0..120 {
            let mut choices = Choices::default();
            for choice in &mut choices {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *choice = (random >> 56) as u8;
            }
            let commit = host.raft.status().commit;
            host.act(choices);
            let after = host.raft.status();
            seen[after.role as usize] = true;
            commits += u32::from(commit < after.commit);
        }
        truncations += host.truncations;
        installations += host.installations;
    }
    assert_eq!(seen, [true; 4]);
    assert!(
        commits > 50 && truncations > 5 && installations > 5,
        "{commits} commits, {truncations} truncations, {installations} snapshots"
    );
}

/// Says something to the host as member 2.
fn say(host: &mut Host, term: u64, body: Body) {
    let message =
        Message { from: NodeId(2), to: NodeId(1), term: Term(term), rejoining: None, body };
    host.step(Input::Message(message));
}

fn append_all(term: u64, commit: u64) -> Body {
    let entry = |index| Entry { id: EntryId::new(term, index), payload: Payload::Noop };
    let entries = (1..=3).map(entry).collect();
    Body::Append(Append { previous: EntryId::ZERO, entries, commit: Index(commit) })
}

/// A host that is installing the only piece of a snapshot that ends with 3@5.
fn installing() -> Host {
    let mut host = Host::new();
    let meta = SnapshotMeta {
        last: EntryId::new(5, 3),
        membership: Membership::of_voters([1, 2, 3].map(NodeId)),
    };
    let chunk =
        Box::new(SnapshotChunk { meta, cursor: Bytes::new(), data: Bytes::new(), next: None });
    say(&mut host, 5, Body::Snapshot(chunk));
    assert!(matches!(host.work[..], [SnapshotRequest::Write(_)]));
    host
}

/// The machine is done, whatever was said meanwhile.
fn installed(mut host: Host) -> Status {
    host.applied = EntryId::new(5, 3);
    host.step(Input::SnapshotInstalled { last: host.applied });
    host.raft.status()
}

#[test]
fn a_leader_that_contradicts_its_snapshot_while_it_is_installed_is_not_believed() {
    for (term, is_true) in [(5, true), (4, false)] {
        let mut host = installing();
        say(&mut host, 5, append_all(term, 3));
        assert_eq!(host.raft.status().commit, Index(if is_true { 3 } else { 0 }), "by an append");
        let status = installed(host);
        assert_eq!((status.last, status.commit), (EntryId::new(5, 3), Index(3)));

        let mut host = installing();
        say(&mut host, 5, append_all(term, 2));
        assert_eq!(host.raft.status().commit, Index(2), "what comes before may be committed");
        say(
            &mut host,
            5,
            Body::Heartbeat(Heartbeat {
                commit: Index(3),
                round: 0,
                pace: None,
                quiet: false,
                hold: Duration::ZERO,
            }),
        );
        assert_eq!(host.raft.status().commit, Index(if is_true { 3 } else { 2 }), "by a heartbeat");
        let status = installed(host);
        assert_eq!((status.last, status.commit), (EntryId::new(5, 3), Index(3)));
    }
}

#[test]
fn a_member_that_is_elected_while_it_installs_commits_nothing_in_the_place_of_the_snapshot() {
    let mut host = installing();
    host.act([1; 10]);
    host.step(Input::Durable(host.written));
    say(&mut host, 6, Body::PreVoteReply(VoteReply { granted: true, incarnation: 1 }));
    host.step(Input::Durable(host.written));
    say(&mut host, 6, Body::VoteReply(VoteReply { granted: true, incarnation: 1 }));
    host.step(Input::Propose(vec![Bytes::new(); 3]));
    host.step(Input::Durable(host.written));
    assert_eq!(host.raft.status().role, RoleKind::Leader);
    say(&mut host, 6, Body::AppendReply(AppendReply::Accepted { durable: Index(2) }));
    assert_eq!(host.raft.status().commit, Index(2), "what comes before is committed");
    say(&mut host, 6, Body::AppendReply(AppendReply::Accepted { durable: Index(4) }));
    assert_eq!(host.raft.status().commit, Index(2));
    let status = installed(host);
    assert_eq!((status.role, status.last), (RoleKind::Follower, EntryId::new(5, 3)));
}

#[test]
fn a_vote_that_was_asked_for_by_an_earlier_process_does_not_elect_this_one() {
    let mut host = Host::new();
    host.act([1; 10]);
    host.step(Input::Durable(host.written));
    let granted = |incarnation| VoteReply { granted: true, incarnation };
    say(&mut host, 1, Body::PreVoteReply(granted(1)));
    host.step(Input::Durable(host.written));
    assert_eq!(host.raft.status().role, RoleKind::Candidate);
    say(&mut host, 1, Body::VoteReply(granted(0)));
    assert_eq!(host.raft.status().role, RoleKind::Candidate, "it was for another log");
    say(&mut host, 1, Body::VoteReply(granted(1)));
    assert_eq!(host.raft.status().role, RoleKind::Leader);
}
