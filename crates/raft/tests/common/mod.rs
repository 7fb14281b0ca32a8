//! A host small enough to be obviously right: a disk that forgets what was not synced, and a machine
//! that remembers what it applied. The tests differ in who delivers the messages and when.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

pub(crate) mod sleeper;
pub(crate) mod world;

use std::collections::VecDeque;

use bytes::Bytes;
use quorate_raft::{
    Config, DiskId, Effects, Entry, EntryId, Event, Index, Input, Membership, Payload, Persist,
    Raft, Record, Recovered, Seq, SnapshotChunk, SnapshotMeta, SnapshotPiece, SnapshotRequest,
    Time,
};
use sleeper::Sleeper;

/// Plays a record onto what is remembered, and checks that the record keeps its promises.
pub(crate) fn replay(memory: &mut Recovered, record: &Record) {
    match record {
        Record::HardState(hard_state) => {
            let old = memory.hard_state;
            assert!(old.term <= hard_state.term, "the term descends on disk");
            assert!(
                old.term < hard_state.term || old.vote.is_none() || old.vote == hard_state.vote,
                "the vote of {} changes on disk",
                old.term
            );
            memory.hard_state = *hard_state;
        }
        Record::Append(entries) => {
            let first = entries.first().expect("an append has entries").id.index;
            let keep = usize::try_from(first.0 - memory.base.index.0 - 1).unwrap();
            assert!(keep <= memory.entries.len(), "a gap before {first} on disk");
            memory.entries.truncate(keep);
            for entry in entries {
                let last = memory.entries.last().map_or(memory.base, |entry| entry.id);
                assert_eq!(entry.id.index, last.index.next(), "entries follow one another");
                assert!(entry.id.term >= last.term, "terms ascend along the log");
                memory.entries.push(entry.clone());
            }
        }
        Record::Compact(base) => {
            assert!(contains(memory, *base), "{base} is compacted and not in the log");
            let drop = usize::try_from(base.index.0 - memory.base.index.0).unwrap();
            memory.entries.drain(..drop);
            memory.base = *base;
        }
        Record::Reset(base) => {
            memory.entries.clear();
            memory.base = *base;
        }
    }
}

/// The entry at a position of a log.
pub(crate) fn entry_in(log: &Recovered, index: Index) -> Option<&Entry> {
    let offset = index.0.checked_sub(log.base.index.0)?.checked_sub(1)?;
    log.entries.get(usize::try_from(offset).unwrap())
}

/// Whether a log holds this entry or begins after it.
pub(crate) fn contains(log: &Recovered, id: EntryId) -> bool {
    id == log.base || entry_in(log, id.index).is_some_and(|entry| entry.id == id)
}

/// The last entry of a log.
pub(crate) fn last(log: &Recovered) -> EntryId {
    log.entries.last().map_or(log.base, |entry| entry.id)
}

/// A state machine whose state is everything that it ever applied.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    pub(crate) applied: Vec<Entry>,
    /// How much of `applied` survives a crash.
    pub(crate) durable: usize,
    /// What came of a snapshot so far.
    incoming: Vec<u8>,
}

impl Machine {
    pub(crate) fn position(&self) -> EntryId {
        self.applied.last().map_or(EntryId::ZERO, |entry| entry.id)
    }

    pub(crate) fn durable_position(&self) -> EntryId {
        self.durable.checked_sub(1).map_or(EntryId::ZERO, |last| self.applied[last].id)
    }

    /// The last membership that it applied.
    pub(crate) fn membership(&self) -> Option<&Membership> {
        self.applied.iter().rev().find_map(|entry| match &entry.payload {
            Payload::Membership(membership) => Some(&**membership),
            Payload::Noop | Payload::Command(_) => None,
        })
    }

    pub(crate) fn apply(&mut self, entry: Entry) {
        assert_eq!(entry.id.index, self.position().index.next(), "applied in order, each once");
        self.applied.push(entry);
    }

    /// Everything applied so far survives a crash.
    pub(crate) fn sync(&mut self) {
        self.durable = self.applied.len();
    }

    fn crash(&mut self) {
        self.applied.truncate(self.durable);
        self.incoming.clear();
    }

    /// Reads the piece at `cursor` of a snapshot of the durable state, `length` bytes long.
    fn read(&self, cursor: &Bytes, length: usize) -> (Bytes, Option<Bytes>) {
        let all = encode(&self.applied);
        let start = match cursor.len() {
            0 => 0,
            _ => std::str::from_utf8(cursor).unwrap().parse().unwrap(),
        };
        let end = (start + length).min(all.len());
        let next = (end < all.len()).then(|| Bytes::from(end.to_string()));
        (Bytes::copy_from_slice(&all[start..end]), next)
    }

    /// Goes to where a snapshot ends, as a witness does: what it contains is nobody's business.
    fn skip(&mut self, meta: &SnapshotMeta) {
        let unknown = |index| Entry {
            id: EntryId { term: meta.last.term, index: Index(index) },
            payload: Payload::Noop,
        };
        self.applied = (1..meta.last.index.0).map(unknown).collect();
        let payload = Payload::Membership(meta.membership.clone().into());
        self.applied.push(Entry { id: meta.last, payload });
        self.sync();
    }

    /// Writes a piece; true if it was the last.
    fn write(&mut self, chunk: &SnapshotChunk) -> Result<bool, ()> {
        if chunk.cursor.is_empty() {
            self.incoming.clear();
        }
        self.incoming.extend_from_slice(&chunk.data);
        if chunk.next.is_some() {
            return Ok(false);
        }
        let applied = decode(&std::mem::take(&mut self.incoming)).ok_or(())?;
        if applied.last().map(|entry| entry.id) != Some(chunk.meta.last) {
            return Err(());
        }
        self.applied = applied;
        self.sync();
        Ok(true)
    }
}

fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        bytes.extend(entry.id.term.0.to_le_bytes());
        bytes.extend(entry.id.index.0.to_le_bytes());
        let (kind, payload) = match &entry.payload {
            Payload::Noop => (0, Bytes::new()),
            Payload::Command(command) => (1, command.clone()),
            Payload::Membership(membership) => (2, membership.encode().into()),
        };
        bytes.push(kind);
        bytes.push(u8::try_from(payload.len()).unwrap());
        bytes.extend(payload);
    }
    bytes
}

fn decode(mut bytes: &[u8]) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let (term, rest) = bytes.split_first_chunk::<8>()?;
        let (index, rest) = rest.split_first_chunk::<8>()?;
        let ([kind, length], rest) = rest.split_first_chunk::<2>()?;
        let (payload, rest) = rest.split_at_checked(usize::from(*length))?;
        let id = EntryId::new(u64::from_le_bytes(*term), u64::from_le_bytes(*index));
        let payload = match kind {
            0 => Payload::Noop,
            1 => Payload::Command(Bytes::copy_from_slice(payload)),
            _ => Payload::Membership(Membership::decode(payload)?.into()),
        };
        entries.push(Entry { id, payload });
        bytes = rest;
    }
    Some(entries)
}

/// A member with its disk and its machine.
pub(crate) struct Member {
    pub(crate) config: Config,
    /// `None` while it is down.
    pub(crate) raft: Option<Raft>,
    /// What is on disk.
    pub(crate) disk: Recovered,
    /// What would be, if all writes were synced.
    pub(crate) written: Recovered,
    /// Writes that are not synced.
    pub(crate) unsynced: VecDeque<Persist>,
    pub(crate) machine: Machine,
    /// Bytes in a piece of a snapshot.
    pub(crate) piece_length: usize,
    /// Snapshot work that the host has not done yet.
    pub(crate) snapshot_work: VecDeque<SnapshotRequest>,
    /// The snapshots that it sends, frozen.
    frozen: Vec<(quorate_raft::NodeId, Machine)>,
    /// How often it was started.
    pub(crate) starts: u64,
    /// How often its disk was lost.
    pub(crate) disks: u64,
    /// One that sleeps beside it, if it may be quiet; `None` while it is down.
    pub(crate) sleeper: Option<Sleeper>,
}

impl Member {
    pub(crate) fn new(config: Config, now: Time) -> Self {
        let mut member = Self {
            config,
            raft: None,
            disk: Recovered::default(),
            written: Recovered::default(),
            unsynced: VecDeque::new(),
            machine: Machine::default(),
            piece_length: 64,
            snapshot_work: VecDeque::new(),
            frozen: Vec::new(),
            starts: 0,
            disks: 0,
            sleeper: None,
        };
        member.start(now);
        member
    }

    pub(crate) fn start(&mut self, now: Time) {
        assert!(self.raft.is_none(), "it runs already");
        let mut config = self.config.clone();
        config.seed = config.seed.wrapping_add(self.starts << 32);
        self.starts += 1;
        config.incarnation = self.starts;
        let mut machine = self.machine.clone();
        machine.crash();
        if let Some(membership) = machine.membership() {
            config.membership = membership.clone();
        }
        let begin = |config| Raft::new(config, self.disk.clone(), machine.position(), now);
        self.sleeper = config.quiet_after.map(|_| Sleeper::new(begin(config.clone())));
        self.raft = Some(begin(config));
    }

    /// Forgets everything that is not durable, except the first `survive` of the unsynced writes.
    pub(crate) fn crash(&mut self, survive: usize) {
        (self.raft, self.sleeper) = (None, None);
        for persist in self.unsynced.drain(..).take(survive) {
            replay(&mut self.disk, &persist.record);
        }
        self.written = self.disk.clone();
        self.snapshot_work.clear();
        self.frozen.clear();
        self.machine.crash();
    }

    /// Loses the disk of a member that is down. It is started as one that rejoins from then on, until
    /// it says that it counts again.
    pub(crate) fn wipe(&mut self) {
        assert!(self.raft.is_none(), "a member that is up keeps its disk");
        self.disk = Recovered::default();
        self.written = Recovered::default();
        self.machine = Machine::default();
        self.disks += 1;
        self.begin_to_rejoin();
    }

    /// It rejoins when it is started.
    pub(crate) fn begin_to_rejoin(&mut self) {
        self.config.rejoining = Some(DiskId(self.disks));
    }

    pub(crate) fn is_up(&self) -> bool {
        self.raft.is_some()
    }

    /// Steps the core and does what is this member's own business: writes, and applies.
    pub(crate) fn step(&mut self, now: Time, input: Input) -> Effects {
        let mut effects = Effects::default();
        let raft = self.raft.as_mut().expect("a member that is down takes no step");
        let told = input.clone();
        raft.step(now, input, &mut effects);
        if let Some(sleeper) = &mut self.sleeper {
            sleeper.step(now, told, raft, &effects);
        }
        for persist in &effects.persist {
            replay(&mut self.written, &persist.record);
            self.unsynced.push_back(persist.clone());
        }
        for entry in &effects.committed {
            assert!(
                contains(&self.disk, entry.id) || entry.id.index < self.disk.base.index,
                "{} is handed out before it is on this disk",
                entry.id
            );
            self.machine.apply(entry.clone());
        }
        if let Some(entry) = effects.committed.last() {
            let applied = entry.id.index;
            let mut more = Effects::default();
            raft.step(now, Input::Applied(applied), &mut more);
            if let Some(sleeper) = &mut self.sleeper {
                sleeper.step(now, Input::Applied(applied), raft, &more);
            }
            assert!(more.is_empty(), "nothing follows from an application: {more:?}");
        }
        if effects.events.iter().any(|event| matches!(event, Event::Rejoined { .. })) {
            self.config.rejoining = None;
        }
        self.snapshot_work.extend(effects.snapshots.iter().cloned());
        effects
    }

    /// Syncs the first `count` unsynced writes; returns the number to report as durable.
    pub(crate) fn sync(&mut self, count: usize) -> Option<Seq> {
        let mut seq = None;
        for persist in self.unsynced.drain(..count.min(self.unsynced.len())) {
            replay(&mut self.disk, &persist.record);
            seq = Some(persist.seq);
        }
        seq
    }

    /// Does the next piece of snapshot work; returns what to report, if anything.
    pub(crate) fn work_on_snapshot(&mut self) -> Option<Input> {
        match self.snapshot_work.pop_front()? {
            SnapshotRequest::Release { to } => {
                self.frozen.retain(|(peer, _)| *peer != to);
                None
            }
            SnapshotRequest::Read { to, last, mut cursor } => {
                let position = self
                    .frozen
                    .iter()
                    .position(|(peer, machine)| *peer == to && last == Some(machine.position()));
                let machine = match position {
                    Some(position) => &self.frozen[position].1,
                    None => {
                        // A snapshot must not promise what a crash here would take back.
                        let mut machine = self.machine.clone();
                        machine.crash();
                        cursor = Bytes::new();
                        self.frozen.retain(|(peer, _)| *peer != to);
                        self.frozen.push((to, machine));
                        &self.frozen.last().unwrap().1
                    }
                };
                let (data, next) = machine.read(&cursor, self.piece_length);
                let membership = machine.membership().unwrap_or(&self.config.membership).clone();
                let meta = SnapshotMeta { last: machine.position(), membership };
                let chunk = Box::new(SnapshotChunk { meta, cursor, data, next });
                Some(Input::SnapshotReady(SnapshotPiece { to, chunk }))
            }
            // There is data in what a leader sends that does not know of it, as when the witness has left.
            SnapshotRequest::Write(chunk) if self.config.witness => {
                chunk.next.is_none().then(|| {
                    self.machine.skip(&chunk.meta);
                    Input::SnapshotInstalled { last: chunk.meta.last }
                })
            }
            SnapshotRequest::Write(chunk) => match self.machine.write(&chunk) {
                Ok(false) => None,
                Ok(true) => Some(Input::SnapshotInstalled { last: chunk.meta.last }),
                Err(()) => Some(Input::SnapshotFailed { last: chunk.meta.last }),
            },
        }
    }

    /// Makes the machine durable and tells the core that the log before it can go.
    pub(crate) fn compact(&mut self, now: Time) -> Effects {
        self.machine.sync();
        self.step(now, Input::Compact(self.machine.position().index))
    }

    /// The entry at a position of the log as written, or what the machine applied there.
    pub(crate) fn entry_at(&self, index: Index) -> Option<&Entry> {
        let position = usize::try_from(index.0).unwrap() - 1;
        entry_in(&self.written, index).or_else(|| self.machine.applied.get(position))
    }
}

/// SplitMix64, so that a seed means the same for ever.
#[derive(Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
