//! What other members say to a Raft: any messages, in any order, in between whatever else happens to it.

use std::time::Duration;

use bytes::Bytes;
use quorate_host::fuzz;
use quorate_node::EnvelopeBody;
use quorate_raft::{
    Config, Effects, ElectionPolicy, EntryId, GroupId, Input, Lease, Limits, Membership, NodeId,
    Raft, ReadId, Recovered, Seq, SnapshotPiece, SnapshotRequest, Time,
};

use crate::Draw;

/// The most things that happen.
const STEPS_MAX: usize = 300;

pub(super) fn run(input: &[u8]) {
    let mut draw = Draw::new(input);
    let mut member = Member::new(draw.byte());
    for _ in 0..STEPS_MAX {
        if !draw.more() {
            break;
        }
        member.act(&mut draw);
    }
}

struct Member {
    raft: Raft,
    now: Time,
    effects: Effects,
    written: Seq,
    durable: Seq,
    /// What the machine was given.
    applied: EntryId,
    reads: u64,
    work: Vec<SnapshotRequest>,
}

impl Member {
    fn new(choice: u8) -> Self {
        let mut membership = Membership::of_voters([1, 2, 3].map(NodeId));
        membership.learners = [NodeId(4)].into();
        let witness = choice & 1 == 1;
        membership.witnesses = [NodeId(if witness { 1 } else { 3 })].into();
        let config = Config {
            id: NodeId(1),
            group: GroupId(1),
            membership,
            heartbeat_interval: Duration::from_millis(10),
            election_timeout: Duration::from_millis(100),
            election_policy: ElectionPolicy::Adaptive,
            quiet_after: (choice & 2 == 2).then_some(Duration::ZERO),
            incarnation: 1,
            seed: 1,
            rejoining: None,
            lease: (choice & 4 == 4).then_some(Lease { drift_ppm: 1_000 }),
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
        let raft = Raft::new(config, Recovered::default(), EntryId::ZERO, Time(0));
        Self {
            raft,
            now: Time(0),
            effects: Effects::default(),
            written: Seq(0),
            durable: Seq(0),
            applied: EntryId::ZERO,
            reads: 0,
            work: Vec::new(),
        }
    }

    fn act(&mut self, draw: &mut Draw<'_>) {
        match draw.byte() % 12 {
            0 => {
                self.now = self.now + Duration::from_millis(draw.byte().into());
                self.step(Input::Timeout);
            }
            1 => {
                if self.raft.deadline() != Time::NEVER {
                    self.now = self.now.max(self.raft.deadline());
                }
                self.step(Input::Timeout);
            }
            2 => {
                let count = draw.byte() % 4;
                let command = |_| Bytes::copy_from_slice(draw.bytes());
                self.step(Input::Propose((0..count).map(command).collect()));
            }
            3 => {
                self.reads += 1;
                self.step(Input::Read(ReadId { incarnation: 1, counter: self.reads }));
            }
            4 => {
                let open = self.written.0 - self.durable.0;
                self.durable.0 += (u64::from(draw.byte()) + 1).min(open);
                self.step(Input::Durable(self.durable));
            }
            5 => self.step(Input::Compact(self.applied.index)),
            6 => self.step(Input::Transfer(NodeId(u64::from(draw.byte() % 5)))),
            7 => self.work_on_snapshot(draw.byte()),
            _ => {
                let from = NodeId(u64::from(draw.byte() % 4) + 2);
                let mut body = draw.bytes().to_vec();
                // What is said to no other group is heard.
                if let Some(group) = body.get_mut(1..9) {
                    group.copy_from_slice(&1_u64.to_le_bytes());
                }
                if let Some(kind) = body.first_mut() {
                    *kind = 1;
                }
                let mut said = Vec::new();
                fuzz::body(&body, from, |envelope| said.push(envelope.body));
                for said in said {
                    if let EnvelopeBody::Raft(message) = said {
                        self.step(Input::Message(message));
                    }
                }
            }
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
        assert!(self.effects.send.len() <= 1024 + 8, "an answer is bounded");
        self.work.append(&mut self.effects.snapshots);
        self.effects.clear();
        if after.applied < self.applied.index {
            self.raft.step(self.now, Input::Applied(self.applied.index), &mut self.effects);
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
                let meta = quorate_raft::SnapshotMeta {
                    last: self.applied,
                    membership: Membership::of_voters([1, 2, 3].map(NodeId)),
                };
                let next = choice.is_multiple_of(2).then(|| Bytes::from_static(b"1"));
                let chunk = quorate_raft::SnapshotChunk { meta, cursor, data: Bytes::new(), next };
                self.step(Input::SnapshotReady(SnapshotPiece { to, chunk: Box::new(chunk) }));
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
