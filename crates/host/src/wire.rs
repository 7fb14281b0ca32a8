//! The peer codec: what members say to one another, as bytes.
//!
//! A frame is the length of its body, the CRC-32 of its body, and the body; all numbers are
//! little-endian and of fixed width:
//!
//! ```text
//!   length u32 | checksum u32 | kind u8 | what the kind says …
//! ```
//!
//! TCP has a checksum of its own, which is weak, and covers the path between two network cards and
//! not the one through a proxy; and what arrives here is written to disk and counted as a vote.
//!
//! **Parse, don't validate.** A frame becomes a message with the properties that the types in
//! `raft/src/message.rs` and `node/src/effects.rs` promise, or a [`Malformed`], and then the
//! connection ends. The sender and the receiver are those of the connection and not on the wire;
//! entries carry no index, because they are consecutive. Lengths and counts are compared with what
//! is there before anything is allocated. Commands are slices of the bytes as they arrived, not
//! copies.
//!
//! Two versions of the protocol never meet on a connection, since the handshake compares them;
//! hence there are no optional fields.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_node::{
    Envelope, EnvelopeBody, Forward, Heal, HealAnswer, HealAsk, Incarnation, PeerState, Unproposed,
    View, proposal,
};
use quorate_raft::{
    Append, AppendReply, AskTail, Body, DiskId, Entry, EntryId, Found, GroupId, Heartbeat,
    HeartbeatReply, Index, Lost, Membership, Message, NodeId, Pace, Payload, ReadId, ReadIndex,
    ReadIndexReply, Rejoin, RejoinReply, RequestVote, SnapshotChunk, SnapshotMeta, SnapshotReply,
    Tail, Term, VoteReply, Word,
};

/// The largest body of a frame, in bytes. A larger length is not believed, a larger message not
/// sent.
pub(crate) const FRAME_BYTES_MAX: usize = 64 << 20;

/// The largest command or question that a frame carries beside everything else, in bytes.
pub(crate) const COMMAND_BYTES_MAX: usize = 16 << 20;

/// The largest command of an entry: one of a client, with the name that the node puts in front.
pub(crate) const ENTRY_BYTES_MAX: usize = COMMAND_BYTES_MAX + proposal::HEADER_BYTES;

/// The bytes before the body: its length and checksum.
pub(crate) const HEADER_BYTES: usize = 8;

/// What one member says to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    /// Of one group to the same group there.
    Envelope(Envelope),
    /// A question for somebody there.
    Ask {
        /// Counts up within the asking process.
        number: u64,
        /// For whom.
        of: Of,
        /// The question.
        payload: Bytes,
    },
    /// The answer to a question.
    Answer {
        /// The number of the question.
        number: u64,
        /// The answer, if there is one.
        answer: Option<Bytes>,
    },
    /// How the speaker sees another member, or that it ends itself.
    View(View),
}

/// Whom a question is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// The application.
    Application,
    /// The host itself: see `reconcile.rs`.
    Host,
}

impl Packet {
    /// About what the packet takes on the wire and in memory, in bytes.
    pub(crate) fn cost(&self) -> usize {
        const FIXED: usize = 128;
        FIXED
            + match self {
                Self::Envelope(envelope) => match &envelope.body {
                    EnvelopeBody::Raft(message) => match &message.body {
                        Body::Append(Append { entries, .. }) | Body::Tail(Tail { entries, .. }) => {
                            entries.iter().map(Entry::cost).sum()
                        }
                        Body::Snapshot(chunk) => chunk_cost(chunk),
                        _ => 0,
                    },
                    EnvelopeBody::Forward(forward) => {
                        forward.commands.iter().map(|(_, command)| 16 + command.len()).sum()
                    }
                    EnvelopeBody::Beat { .. } => 0,
                    EnvelopeBody::Refused(named) | EnvelopeBody::Returned(named) => {
                        named.numbers.len() * 8
                    }
                    EnvelopeBody::HealAsk { ask, .. } => match ask {
                        HealAsk::Entries { .. } => 0,
                        HealAsk::Snapshot { cursor, .. } => cursor.len(),
                    },
                    EnvelopeBody::HealAnswer(answer) => match &answer.body {
                        Heal::Entries { found, .. } => found.entries.iter().map(Entry::cost).sum(),
                        Heal::Snapshot { chunk, .. } => chunk_cost(chunk),
                    },
                },
                Self::Ask { payload, .. } => payload.len(),
                Self::Answer { answer, .. } => answer.as_ref().map_or(0, Bytes::len),
                Self::View(_) => 0,
            }
    }
}

fn chunk_cost(chunk: &SnapshotChunk) -> usize {
    chunk.data.len() + chunk.cursor.len() + chunk.next.as_ref().map_or(0, Bytes::len)
}

/// Why bytes are no frame, or a frame no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// The message is larger than a frame may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Oversize;

/// The numbers of the kinds, of bodies and of variants. Given once and for ever within a version.
mod tag {
    pub(super) const RAFT: u8 = 1;
    pub(super) const FORWARD: u8 = 2;
    pub(super) const REFUSED: u8 = 3;
    pub(super) const ASK: u8 = 4;
    pub(super) const ANSWER: u8 = 5;
    pub(super) const HEAL_ASK: u8 = 6;
    pub(super) const HEAL_ANSWER: u8 = 7;
    pub(super) const VIEW: u8 = 8;
    pub(super) const BEAT: u8 = 9;
    pub(super) const RETURNED: u8 = 10;
    pub(super) const ASK_HOST: u8 = 11;

    pub(super) const ACTIVE: u8 = 1;
    pub(super) const SUSPECT: u8 = 2;
    pub(super) const FAILED: u8 = 3;
    pub(super) const LEAVING: u8 = 4;
    /// Never sent: it says nothing.
    pub(super) const IDLE: u8 = 0;

    pub(super) const HEAL_ENTRIES: u8 = 1;
    pub(super) const HEAL_SNAPSHOT: u8 = 2;
    pub(super) const NO_WORD: u8 = 0;
    pub(super) const FOLLOWER: u8 = 1;
    pub(super) const LEADER: u8 = 2;

    pub(super) const PRE_VOTE: u8 = 1;
    pub(super) const PRE_VOTE_REPLY: u8 = 2;
    pub(super) const VOTE: u8 = 3;
    pub(super) const VOTE_REPLY: u8 = 4;
    pub(super) const APPEND: u8 = 5;
    pub(super) const APPEND_REPLY: u8 = 6;
    pub(super) const HEARTBEAT: u8 = 7;
    pub(super) const HEARTBEAT_REPLY: u8 = 8;
    pub(super) const SNAPSHOT: u8 = 9;
    pub(super) const SNAPSHOT_REPLY: u8 = 10;
    pub(super) const READ_INDEX: u8 = 11;
    pub(super) const READ_INDEX_REPLY: u8 = 12;
    pub(super) const TIMEOUT_NOW: u8 = 13;
    pub(super) const REJOIN: u8 = 14;
    pub(super) const REJOIN_REPLY: u8 = 15;
    /// The same as without a lease, and a promise after it.
    pub(super) const LEASE_HEARTBEAT: u8 = 16;
    pub(super) const LEASE_HEARTBEAT_REPLY: u8 = 17;
    pub(super) const TAIL: u8 = 18;
    pub(super) const ASK_TAIL: u8 = 19;

    pub(super) const ACCEPTED: u8 = 1;
    pub(super) const REJECTED: u8 = 2;
    pub(super) const CONTINUE: u8 = 1;
    pub(super) const INSTALLED: u8 = 2;
    pub(super) const NOOP: u8 = 0;
    pub(super) const COMMAND: u8 = 1;
    pub(super) const MEMBERSHIP: u8 = 2;
}

/// Appends the packet as a frame. Leaves the buffer as it was if the packet is too large for one.
pub(crate) fn encode(packet: &Packet, out: &mut BytesMut) -> Result<(), Oversize> {
    let start = out.len();
    out.put_bytes(0, HEADER_BYTES);
    put_packet(out, packet);
    let body = &out[start + HEADER_BYTES..];
    if body.len() > FRAME_BYTES_MAX {
        out.truncate(start);
        return Err(Oversize);
    }
    let length = u32::try_from(body.len()).expect("a frame is smaller than 4 GiB");
    let checksum = crc32fast::hash(body);
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    out[start + 4..start + HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
    Ok(())
}

/// Takes the first frame out of what has arrived, and returns its body; `None` if more has to arrive
/// first.
pub(crate) fn split_frame(arrived: &mut BytesMut) -> Result<Option<Bytes>, Malformed> {
    let Some(missing) = missing_bytes(arrived)? else { return Ok(None) };
    if missing > 0 {
        return Ok(None);
    }
    let header = arrived.split_to(HEADER_BYTES);
    let length = (&header[..4]).get_u32_le() as usize;
    let checksum = (&header[4..]).get_u32_le();
    let body = arrived.split_to(length).freeze();
    if crc32fast::hash(&body) != checksum {
        return Err(Malformed("the checksum of a frame is wrong"));
    }
    Ok(Some(body))
}

/// How much of the first frame has yet to arrive; `None` while even its length has not.
pub(crate) fn missing_bytes(arrived: &[u8]) -> Result<Option<usize>, Malformed> {
    let Some(mut length) = arrived.get(..4) else { return Ok(None) };
    let length = length.get_u32_le() as usize;
    if length > FRAME_BYTES_MAX {
        return Err(Malformed("a frame is longer than any may be"));
    }
    Ok(Some((HEADER_BYTES + length).saturating_sub(arrived.len())))
}

/// Parses the body of a frame that `from` sent to `to`.
pub(crate) fn decode(body: Bytes, from: NodeId, to: NodeId) -> Result<Packet, Malformed> {
    let mut input = Parser { rest: body };
    let envelope = |group, body| Packet::Envelope(Envelope { group, from, to, body });
    let kind = input.u8()?;
    let packet = match kind {
        tag::RAFT => {
            let group = input.group()?;
            let term = input.term()?;
            let rejoining = input.disk()?;
            let body = input.raft_body()?;
            envelope(group, EnvelopeBody::Raft(Message { from, to, term, rejoining, body }))
        }
        tag::FORWARD => {
            let group = input.group()?;
            let term = input.term()?;
            let incarnation = input.u64()?;
            let count = input.count(8 + 4)?;
            let mut commands = Vec::with_capacity(count);
            for _ in 0..count {
                commands.push((input.u64()?, input.bytes()?));
            }
            if !commands.is_sorted_by(|(a, _), (b, _)| a < b) {
                return Err(Malformed("the numbers of commands do not ascend"));
            }
            envelope(group, EnvelopeBody::Forward(Forward { term, incarnation, commands }))
        }
        kind @ (tag::REFUSED | tag::RETURNED) => {
            let group = input.group()?;
            let term = input.term()?;
            let incarnation = input.u64()?;
            let count = input.count(8)?;
            let mut numbers = Vec::with_capacity(count);
            for _ in 0..count {
                numbers.push(input.u64()?);
            }
            let named = Unproposed { term, incarnation, numbers };
            let body = match kind {
                tag::RETURNED => EnvelopeBody::Returned(named),
                _ => EnvelopeBody::Refused(named),
            };
            envelope(group, body)
        }
        tag::HEAL_ASK => {
            let group = input.group()?;
            let incarnation = input.u64()?;
            envelope(group, EnvelopeBody::HealAsk { incarnation, ask: input.heal_ask()? })
        }
        tag::HEAL_ANSWER => {
            let group = input.group()?;
            let answer = HealAnswer { incarnation: input.u64()?, body: input.heal()? };
            envelope(group, EnvelopeBody::HealAnswer(answer))
        }
        tag::BEAT => envelope(Envelope::NO_GROUP, EnvelopeBody::Beat { incarnation: input.u64()? }),
        tag::ASK | tag::ASK_HOST => Packet::Ask {
            number: input.u64()?,
            of: if kind == tag::ASK { Of::Application } else { Of::Host },
            payload: input.bytes()?,
        },
        tag::ANSWER => Packet::Answer { number: input.u64()?, answer: input.optional_bytes()? },
        tag::VIEW => Packet::View(input.view()?),
        _ => return Err(Malformed("a frame is of an unknown kind")),
    };
    if input.rest.has_remaining() {
        return Err(Malformed("a frame has more bytes than its message"));
    }
    Ok(packet)
}

fn put_packet(out: &mut BytesMut, packet: &Packet) {
    match packet {
        Packet::Envelope(Envelope { group, from, to, body }) => match body {
            EnvelopeBody::Raft(message) => {
                assert!(
                    message.from == *from && message.to == *to,
                    "a message goes where its envelope goes"
                );
                out.put_u8(tag::RAFT);
                out.put_u64_le(group.0);
                out.put_u64_le(message.term.0);
                put_disk(out, message.rejoining);
                put_raft_body(out, &message.body);
            }
            EnvelopeBody::Forward(Forward { term, incarnation, commands }) => {
                out.put_u8(tag::FORWARD);
                out.put_u64_le(group.0);
                out.put_u64_le(term.0);
                out.put_u64_le(*incarnation);
                put_count(out, commands.len());
                for (number, command) in commands {
                    out.put_u64_le(*number);
                    put_bytes(out, command);
                }
            }
            body @ (EnvelopeBody::Refused(named) | EnvelopeBody::Returned(named)) => {
                let Unproposed { term, incarnation, numbers } = named;
                let is_return = matches!(body, EnvelopeBody::Returned(_));
                out.put_u8(if is_return { tag::RETURNED } else { tag::REFUSED });
                out.put_u64_le(group.0);
                out.put_u64_le(term.0);
                out.put_u64_le(*incarnation);
                put_count(out, numbers.len());
                for number in numbers {
                    out.put_u64_le(*number);
                }
            }
            EnvelopeBody::Beat { incarnation } => {
                out.put_u8(tag::BEAT);
                out.put_u64_le(*incarnation);
            }
            EnvelopeBody::HealAsk { incarnation, ask } => {
                out.put_u8(tag::HEAL_ASK);
                out.put_u64_le(group.0);
                out.put_u64_le(*incarnation);
                put_heal_ask(out, ask);
            }
            EnvelopeBody::HealAnswer(HealAnswer { incarnation, body }) => {
                out.put_u8(tag::HEAL_ANSWER);
                out.put_u64_le(group.0);
                out.put_u64_le(*incarnation);
                put_heal(out, body);
            }
        },
        Packet::Ask { number, of, payload } => {
            out.put_u8(match of {
                Of::Application => tag::ASK,
                Of::Host => tag::ASK_HOST,
            });
            out.put_u64_le(*number);
            put_bytes(out, payload);
        }
        Packet::Answer { number, answer } => {
            out.put_u8(tag::ANSWER);
            out.put_u64_le(*number);
            put_optional_bytes(out, answer.as_ref());
        }
        Packet::View(view) => {
            out.put_u8(tag::VIEW);
            put_view(out, view);
        }
    }
}

fn put_raft_body(out: &mut BytesMut, body: &Body) {
    match body {
        Body::PreVote(request) => put_request_vote(out, tag::PRE_VOTE, request),
        Body::Vote(request) => put_request_vote(out, tag::VOTE, request),
        Body::PreVoteReply(reply) => put_vote_reply(out, tag::PRE_VOTE_REPLY, *reply),
        Body::VoteReply(reply) => put_vote_reply(out, tag::VOTE_REPLY, *reply),
        Body::Append(append) => put_append(out, append),
        Body::AppendReply(AppendReply::Accepted { durable }) => {
            out.put_u8(tag::APPEND_REPLY);
            out.put_u8(tag::ACCEPTED);
            out.put_u64_le(durable.0);
        }
        Body::AppendReply(AppendReply::Rejected { previous, hint }) => {
            out.put_u8(tag::APPEND_REPLY);
            out.put_u8(tag::REJECTED);
            out.put_u64_le(previous.0);
            put_entry_id(out, *hint);
        }
        Body::Heartbeat(Heartbeat { commit, round, pace, hold, quiet }) => {
            out.put_u8(if hold.is_zero() { tag::HEARTBEAT } else { tag::LEASE_HEARTBEAT });
            out.put_u64_le(commit.0);
            out.put_u64_le(*round);
            out.put_u8(u8::from(pace.is_some()));
            if let Some(Pace { round_trip, stall }) = pace {
                put_duration(out, *round_trip);
                put_duration(out, *stall);
            }
            out.put_u8((*quiet).into());
            if !hold.is_zero() {
                put_duration(out, *hold);
            }
        }
        Body::HeartbeatReply(HeartbeatReply { round, stall, held, quiet }) => {
            let is_plain = held.is_zero();
            out.put_u8(if is_plain { tag::HEARTBEAT_REPLY } else { tag::LEASE_HEARTBEAT_REPLY });
            out.put_u64_le(*round);
            put_duration(out, *stall);
            out.put_u8((*quiet).into());
            if !is_plain {
                put_duration(out, *held);
            }
        }
        Body::Snapshot(chunk) => {
            out.put_u8(tag::SNAPSHOT);
            put_chunk(out, chunk);
        }
        Body::SnapshotReply(SnapshotReply::Continue { last, cursor }) => {
            out.put_u8(tag::SNAPSHOT_REPLY);
            out.put_u8(tag::CONTINUE);
            put_entry_id(out, *last);
            put_bytes(out, cursor);
        }
        Body::SnapshotReply(SnapshotReply::Installed { durable }) => {
            out.put_u8(tag::SNAPSHOT_REPLY);
            out.put_u8(tag::INSTALLED);
            out.put_u64_le(durable.0);
        }
        Body::ReadIndex(ReadIndex { id }) => {
            out.put_u8(tag::READ_INDEX);
            put_read_id(out, *id);
        }
        Body::ReadIndexReply(ReadIndexReply { id, index }) => {
            out.put_u8(tag::READ_INDEX_REPLY);
            put_read_id(out, *id);
            out.put_u8(index.is_some().into());
            if let Some(index) = index {
                out.put_u64_le(index.0);
            }
        }
        Body::TimeoutNow => out.put_u8(tag::TIMEOUT_NOW),
        Body::Rejoin(Rejoin { round }) => {
            out.put_u8(tag::REJOIN);
            out.put_u64_le(*round);
        }
        Body::RejoinReply(RejoinReply { round, last }) => {
            out.put_u8(tag::REJOIN_REPLY);
            out.put_u64_le(*round);
            out.put_u64_le(last.0);
        }
        Body::Tail(Tail { previous, entries, last }) => {
            out.put_u8(tag::TAIL);
            put_entry_id(out, *last);
            put_entry_id(out, *previous);
            put_entries(out, *previous, entries);
        }
        Body::AskTail(AskTail { after }) => {
            out.put_u8(tag::ASK_TAIL);
            put_entry_id(out, *after);
        }
    }
}

fn put_disk(out: &mut BytesMut, disk: Option<DiskId>) {
    out.put_u8(disk.is_some().into());
    if let Some(disk) = disk {
        out.put_u64_le(disk.0);
    }
}

fn put_request_vote(out: &mut BytesMut, tag: u8, request: &RequestVote) {
    out.put_u8(tag);
    put_entry_id(out, request.last);
    out.put_u8(request.transfer.into());
    out.put_u64_le(request.incarnation);
    put_disk(out, request.disk);
}

fn put_vote_reply(out: &mut BytesMut, tag: u8, reply: VoteReply) {
    out.put_u8(tag);
    out.put_u8(reply.granted.into());
    out.put_u64_le(reply.incarnation);
}

fn put_append(out: &mut BytesMut, append: &Append) {
    out.put_u8(tag::APPEND);
    put_entry_id(out, append.previous);
    out.put_u64_le(append.commit.0);
    put_entries(out, append.previous, &append.entries);
}

/// Entries that follow this one.
fn put_entries(out: &mut BytesMut, mut previous: EntryId, entries: &[Entry]) {
    put_count(out, entries.len());
    for Entry { id, payload } in entries {
        assert!(
            id.index == previous.index.next() && id.term >= previous.term,
            "entry {id} follows {previous} in an append"
        );
        previous = *id;
        out.put_u64_le(id.term.0);
        put_payload(out, payload);
    }
}

fn put_payload(out: &mut BytesMut, payload: &Payload) {
    match payload {
        Payload::Noop => out.put_u8(tag::NOOP),
        Payload::Command(command) => {
            out.put_u8(tag::COMMAND);
            put_bytes(out, command);
        }
        Payload::Membership(membership) => {
            out.put_u8(tag::MEMBERSHIP);
            put_bytes(out, &membership.encode().into());
        }
    }
}

fn put_chunk(out: &mut BytesMut, SnapshotChunk { meta, cursor, data, next }: &SnapshotChunk) {
    put_entry_id(out, meta.last);
    put_bytes(out, &meta.membership.encode().into());
    put_bytes(out, cursor);
    put_bytes(out, data);
    put_optional_bytes(out, next.as_ref());
}

fn put_heal_ask(out: &mut BytesMut, ask: &HealAsk) {
    match ask {
        HealAsk::Entries { lost, term } => {
            out.put_u8(tag::HEAL_ENTRIES);
            put_lost(out, *lost);
            out.put_u64_le(term.0);
        }
        HealAsk::Snapshot { last, cursor } => {
            out.put_u8(tag::HEAL_SNAPSHOT);
            out.put_u8(last.is_some().into());
            if let Some(last) = last {
                put_entry_id(out, *last);
            }
            put_bytes(out, cursor);
        }
    }
}

fn put_heal(out: &mut BytesMut, body: &Heal) {
    match body {
        Heal::Entries { asked, found } => {
            out.put_u8(tag::HEAL_ENTRIES);
            put_lost(out, *asked);
            put_entry_id(out, found.base);
            out.put_u64_le(found.held_to.0);
            out.put_u64_le(found.commit.0);
            let (word, term) = match found.word {
                None => (tag::NO_WORD, Term(0)),
                Some(Word::Follower(term)) => (tag::FOLLOWER, term),
                Some(Word::Leader(term)) => (tag::LEADER, term),
            };
            out.put_u8(word);
            out.put_u64_le(term.0);
            put_count(out, found.entries.len());
            for Entry { id, payload } in &found.entries {
                put_entry_id(out, *id);
                put_payload(out, payload);
            }
        }
        Heal::Snapshot { chunk, term } => {
            out.put_u8(tag::HEAL_SNAPSHOT);
            out.put_u64_le(term.0);
            put_chunk(out, chunk);
        }
    }
}

fn put_lost(out: &mut BytesMut, lost: Lost) {
    out.put_u64_le(lost.first.0);
    put_entry_id(out, lost.last);
}

/// In nanoseconds; what is longer than 584 years is 584 years.
fn put_duration(out: &mut BytesMut, duration: Duration) {
    out.put_u64_le(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
}

fn put_view(out: &mut BytesMut, View { of, incarnation, state, age }: &View) {
    out.put_u64_le(of.0);
    out.put_u64_le(incarnation.started_ms);
    out.put_u64_le(incarnation.process);
    out.put_u8(match state {
        PeerState::Idle => tag::IDLE,
        PeerState::Active => tag::ACTIVE,
        PeerState::Suspect => tag::SUSPECT,
        PeerState::Failed => tag::FAILED,
        PeerState::Leaving => tag::LEAVING,
    });
    out.put_u64_le(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
}

fn put_entry_id(out: &mut BytesMut, id: EntryId) {
    out.put_u64_le(id.term.0);
    out.put_u64_le(id.index.0);
}

fn put_read_id(out: &mut BytesMut, id: ReadId) {
    out.put_u64_le(id.incarnation);
    out.put_u64_le(id.counter);
}

/// A count, or a length. One that does not fit belongs to a message that is larger than a frame and
/// thus never leaves.
fn put_count(out: &mut BytesMut, count: usize) {
    out.put_u32_le(u32::try_from(count).unwrap_or(u32::MAX));
}

fn put_bytes(out: &mut BytesMut, bytes: &Bytes) {
    put_count(out, bytes.len());
    out.put_slice(bytes);
}

fn put_optional_bytes(out: &mut BytesMut, bytes: Option<&Bytes>) {
    out.put_u8(bytes.is_some().into());
    if let Some(bytes) = bytes {
        put_bytes(out, bytes);
    }
}

/// What of a body is not parsed yet.
struct Parser {
    rest: Bytes,
}

const SHORT: Malformed = Malformed("a message ends too early");

impl Parser {
    fn u8(&mut self) -> Result<u8, Malformed> {
        self.rest.try_get_u8().map_err(|_| SHORT)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.rest.try_get_u64_le().map_err(|_| SHORT)
    }

    /// In nanoseconds.
    fn duration(&mut self) -> Result<Duration, Malformed> {
        self.u64().map(Duration::from_nanos)
    }

    /// What a heartbeat or its answer has to say of a lease.
    fn promise(&mut self, is_there: bool) -> Result<Duration, Malformed> {
        if is_there { self.duration() } else { Ok(Duration::ZERO) }
    }

    fn bool(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("a truth value is neither")),
        }
    }

    fn group(&mut self) -> Result<GroupId, Malformed> {
        self.u64().map(GroupId)
    }

    fn term(&mut self) -> Result<Term, Malformed> {
        self.u64().map(Term)
    }

    fn index(&mut self) -> Result<Index, Malformed> {
        self.u64().map(Index)
    }

    fn entry_id(&mut self) -> Result<EntryId, Malformed> {
        Ok(EntryId { term: self.term()?, index: self.index()? })
    }

    fn view(&mut self) -> Result<View, Malformed> {
        let of = NodeId(self.u64()?);
        let incarnation = Incarnation { started_ms: self.u64()?, process: self.u64()? };
        let state = match self.u8()? {
            tag::ACTIVE => PeerState::Active,
            tag::SUSPECT => PeerState::Suspect,
            tag::FAILED => PeerState::Failed,
            tag::LEAVING => PeerState::Leaving,
            _ => return Err(Malformed("a view is of an unknown kind")),
        };
        Ok(View { of, incarnation, state, age: Duration::from_millis(self.u64()?) })
    }

    fn read_id(&mut self) -> Result<ReadId, Malformed> {
        Ok(ReadId { incarnation: self.u64()?, counter: self.u64()? })
    }

    /// A count of things that take at least `bytes_each`, so that what is reserved for them is in
    /// proportion to what has arrived.
    fn count(&mut self, bytes_each: usize) -> Result<usize, Malformed> {
        let count = self.rest.try_get_u32_le().map_err(|_| SHORT)? as usize;
        if count > self.rest.len() / bytes_each { Err(SHORT) } else { Ok(count) }
    }

    fn bytes(&mut self) -> Result<Bytes, Malformed> {
        let length = self.count(1)?;
        Ok(self.rest.split_to(length))
    }

    fn optional_bytes(&mut self) -> Result<Option<Bytes>, Malformed> {
        if self.bool()? { self.bytes().map(Some) } else { Ok(None) }
    }

    fn membership(&mut self) -> Result<Membership, Malformed> {
        Membership::decode(&self.bytes()?).ok_or(Malformed("there is no such membership"))
    }

    fn raft_body(&mut self) -> Result<Body, Malformed> {
        Ok(match self.u8()? {
            tag::PRE_VOTE => Body::PreVote(self.request_vote()?),
            tag::PRE_VOTE_REPLY => Body::PreVoteReply(self.vote_reply()?),
            tag::VOTE => Body::Vote(self.request_vote()?),
            tag::VOTE_REPLY => Body::VoteReply(self.vote_reply()?),
            tag::APPEND => Body::Append(self.append()?),
            tag::APPEND_REPLY => Body::AppendReply(match self.u8()? {
                tag::ACCEPTED => AppendReply::Accepted { durable: self.index()? },
                tag::REJECTED => {
                    AppendReply::Rejected { previous: self.index()?, hint: self.entry_id()? }
                }
                _ => return Err(Malformed("an answer to an append is of an unknown kind")),
            }),
            kind @ (tag::HEARTBEAT | tag::LEASE_HEARTBEAT) => {
                let (commit, round) = (self.index()?, self.u64()?);
                let pace = if self.bool()? {
                    Some(Pace { round_trip: self.duration()?, stall: self.duration()? })
                } else {
                    None
                };
                let quiet = self.bool()?;
                let hold = self.promise(kind == tag::LEASE_HEARTBEAT)?;
                Body::Heartbeat(Heartbeat { commit, round, pace, hold, quiet })
            }
            kind @ (tag::HEARTBEAT_REPLY | tag::LEASE_HEARTBEAT_REPLY) => {
                let (round, stall, quiet) = (self.u64()?, self.duration()?, self.bool()?);
                let held = self.promise(kind == tag::LEASE_HEARTBEAT_REPLY)?;
                Body::HeartbeatReply(HeartbeatReply { round, stall, held, quiet })
            }
            tag::SNAPSHOT => Body::Snapshot(Box::new(self.chunk()?)),
            tag::SNAPSHOT_REPLY => Body::SnapshotReply(match self.u8()? {
                tag::CONTINUE => {
                    SnapshotReply::Continue { last: self.entry_id()?, cursor: self.bytes()? }
                }
                tag::INSTALLED => SnapshotReply::Installed { durable: self.index()? },
                _ => return Err(Malformed("an answer to a snapshot is of an unknown kind")),
            }),
            tag::READ_INDEX => Body::ReadIndex(ReadIndex { id: self.read_id()? }),
            tag::READ_INDEX_REPLY => {
                let id = self.read_id()?;
                let index = if self.bool()? { Some(self.index()?) } else { None };
                Body::ReadIndexReply(ReadIndexReply { id, index })
            }
            tag::TIMEOUT_NOW => Body::TimeoutNow,
            tag::REJOIN => Body::Rejoin(Rejoin { round: self.u64()? }),
            tag::REJOIN_REPLY => {
                Body::RejoinReply(RejoinReply { round: self.u64()?, last: self.index()? })
            }
            tag::TAIL => {
                let (last, previous) = (self.entry_id()?, self.entry_id()?);
                Body::Tail(Tail { previous, entries: self.entries(previous)?, last })
            }
            tag::ASK_TAIL => Body::AskTail(AskTail { after: self.entry_id()? }),
            _ => return Err(Malformed("a message is of an unknown kind")),
        })
    }

    fn disk(&mut self) -> Result<Option<DiskId>, Malformed> {
        Ok(if self.bool()? { Some(DiskId(self.u64()?)) } else { None })
    }

    fn request_vote(&mut self) -> Result<RequestVote, Malformed> {
        Ok(RequestVote {
            last: self.entry_id()?,
            transfer: self.bool()?,
            incarnation: self.u64()?,
            disk: self.disk()?,
        })
    }

    fn vote_reply(&mut self) -> Result<VoteReply, Malformed> {
        Ok(VoteReply { granted: self.bool()?, incarnation: self.u64()? })
    }

    fn append(&mut self) -> Result<Append, Malformed> {
        let previous = self.entry_id()?;
        let commit = self.index()?;
        Ok(Append { previous, entries: self.entries(previous)?, commit })
    }

    /// Entries that follow this one.
    fn entries(&mut self, previous: EntryId) -> Result<Vec<Entry>, Malformed> {
        let count = self.count(8 + 1)?;
        let mut entries = Vec::with_capacity(count);
        let mut last = previous;
        for _ in 0..count {
            let term = self.term()?;
            let index = last.index.0.checked_add(1);
            let index = Index(index.ok_or(Malformed("an entry lies beyond the last index"))?);
            if term < last.term {
                return Err(Malformed("the terms of entries descend"));
            }
            last = EntryId { term, index };
            entries.push(Entry { id: last, payload: self.payload()? });
        }
        Ok(entries)
    }

    fn payload(&mut self) -> Result<Payload, Malformed> {
        match self.u8()? {
            tag::NOOP => Ok(Payload::Noop),
            tag::COMMAND => {
                let command = self.bytes()?;
                if command.len() > ENTRY_BYTES_MAX {
                    return Err(Malformed("an entry is larger than any may be"));
                }
                Ok(Payload::Command(command))
            }
            tag::MEMBERSHIP => Ok(Payload::Membership(self.membership()?.into())),
            _ => Err(Malformed("an entry is of an unknown kind")),
        }
    }

    fn chunk(&mut self) -> Result<SnapshotChunk, Malformed> {
        let last = self.entry_id()?;
        let membership = self.membership()?;
        Ok(SnapshotChunk {
            meta: SnapshotMeta { last, membership },
            cursor: self.bytes()?,
            data: self.bytes()?,
            next: self.optional_bytes()?,
        })
    }

    fn lost(&mut self) -> Result<Lost, Malformed> {
        Ok(Lost { first: self.index()?, last: self.entry_id()? })
    }

    fn heal_ask(&mut self) -> Result<HealAsk, Malformed> {
        match self.u8()? {
            tag::HEAL_ENTRIES => Ok(HealAsk::Entries { lost: self.lost()?, term: self.term()? }),
            tag::HEAL_SNAPSHOT => {
                let last = if self.bool()? { Some(self.entry_id()?) } else { None };
                Ok(HealAsk::Snapshot { last, cursor: self.bytes()? })
            }
            _ => Err(Malformed("a question about what is lost is of an unknown kind")),
        }
    }

    fn heal(&mut self) -> Result<Heal, Malformed> {
        match self.u8()? {
            tag::HEAL_ENTRIES => {
                let asked = self.lost()?;
                let base = self.entry_id()?;
                let (held_to, commit) = (self.index()?, self.index()?);
                let word = match (self.u8()?, self.term()?) {
                    (tag::NO_WORD, Term(0)) => None,
                    (tag::FOLLOWER, term) => Some(Word::Follower(term)),
                    (tag::LEADER, term) => Some(Word::Leader(term)),
                    _ => return Err(Malformed("a word is of an unknown kind")),
                };
                let count = self.count(16 + 1)?;
                let mut entries = Vec::with_capacity(count);
                for _ in 0..count {
                    entries.push(Entry { id: self.entry_id()?, payload: self.payload()? });
                }
                Ok(Heal::Entries { asked, found: Found { base, held_to, commit, entries, word } })
            }
            tag::HEAL_SNAPSHOT => {
                Ok(Heal::Snapshot { term: self.term()?, chunk: Box::new(self.chunk()?) })
            }
            _ => Err(Malformed("an answer about what is lost is of an unknown kind")),
        }
    }
}

#[cfg(test)]
mod tests;
