//! Every message survives the way there, and nothing else does harm.

use std::collections::BTreeSet;

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;

use quorate_node::{Effects, GroupConfig, Input, Node, NodeConfig};
use quorate_raft::{DiskId, Limits, Recovered, Time};

use super::*;

const FROM: NodeId = NodeId(7);
const TO: NodeId = NodeId(9);

fn blob() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn term() -> impl Strategy<Value = Term> {
    any::<u64>().prop_map(Term)
}

fn index() -> impl Strategy<Value = Index> {
    any::<u64>().prop_map(Index)
}

fn entry_id() -> impl Strategy<Value = EntryId> {
    (term(), index()).prop_map(|(term, index)| EntryId { term, index })
}

fn read_id() -> impl Strategy<Value = ReadId> {
    any::<(u64, u64)>().prop_map(|(incarnation, counter)| ReadId { incarnation, counter })
}

fn duration() -> impl Strategy<Value = Duration> {
    any::<u64>().prop_map(Duration::from_nanos)
}

fn request_vote() -> impl Strategy<Value = RequestVote> {
    (entry_id(), any::<(bool, u64, Option<u64>)>()).prop_map(
        |(last, (transfer, incarnation, disk))| RequestVote {
            disk: disk.map(DiskId),
            last,
            transfer,
            incarnation,
        },
    )
}

fn vote_reply() -> impl Strategy<Value = VoteReply> {
    any::<(bool, u64)>().prop_map(|(granted, incarnation)| VoteReply { granted, incarnation })
}

fn append() -> impl Strategy<Value = Append> {
    let entries = vec((0..3u64, payload()), 0..6);
    (0..u64::MAX / 2, 0..u64::MAX / 2, entries, index()).prop_map(|(term, at, entries, commit)| {
        let previous = EntryId::new(term, at);
        let mut last = previous;
        let entry = |(later, payload): (u64, Payload)| {
            last = EntryId::new(last.term.0 + later, last.index.0 + 1);
            Entry { id: last, payload }
        };
        let entries = entries.into_iter().map(entry).collect();
        Append { previous, entries, commit }
    })
}

fn members() -> impl Strategy<Value = BTreeSet<NodeId>> {
    btree_set(any::<u64>().prop_map(NodeId), 0..4)
}

/// A membership that there may be.
fn membership() -> impl Strategy<Value = Membership> {
    (members(), members(), members(), any::<u64>(), blob()).prop_map(
        |(mut voters, outgoing, mut learners, voter, about)| {
            voters.insert(NodeId(voter));
            learners.retain(|id| !voters.contains(id));
            let disks = outgoing.first().map(|id| (*id, DiskId(voter))).into_iter().collect();
            let about = [(NodeId(voter), about)].into();
            let witnesses = learners.clone();
            Membership { voters, outgoing, learners, witnesses, disks, about }
        },
    )
}

fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        Just(Payload::Noop),
        blob().prop_map(Payload::Command),
        membership().prop_map(|membership| Payload::Membership(membership.into())),
    ]
}

fn chunk() -> impl Strategy<Value = Box<SnapshotChunk>> {
    (entry_id(), membership(), blob(), blob(), option::of(blob())).prop_map(
        |(last, membership, cursor, data, next)| {
            let meta = SnapshotMeta { last, membership };
            Box::new(SnapshotChunk { meta, cursor, data, next })
        },
    )
}

fn promise() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(Duration::ZERO), duration()]
}

fn raft_body() -> impl Strategy<Value = Body> {
    prop_oneof![
        request_vote().prop_map(Body::PreVote),
        vote_reply().prop_map(Body::PreVoteReply),
        request_vote().prop_map(Body::Vote),
        vote_reply().prop_map(Body::VoteReply),
        append().prop_map(Body::Append),
        index().prop_map(|durable| Body::AppendReply(AppendReply::Accepted { durable })),
        (index(), entry_id()).prop_map(|(previous, hint)| {
            Body::AppendReply(AppendReply::Rejected { previous, hint })
        }),
        (index(), any::<u64>(), option::of((duration(), duration())), promise(), any::<bool>())
            .prop_map(|(commit, round, pace, hold, quiet)| {
                let pace = pace.map(|(round_trip, stall)| Pace { round_trip, stall });
                Body::Heartbeat(Heartbeat { commit, round, pace, hold, quiet })
            }),
        (any::<u64>(), duration(), promise(), any::<bool>()).prop_map(
            |(round, stall, held, quiet)| {
                Body::HeartbeatReply(HeartbeatReply { round, stall, held, quiet })
            },
        ),
        chunk().prop_map(Body::Snapshot),
        (entry_id(), blob()).prop_map(|(last, cursor)| {
            Body::SnapshotReply(SnapshotReply::Continue { last, cursor })
        }),
        index().prop_map(|durable| Body::SnapshotReply(SnapshotReply::Installed { durable })),
        read_id().prop_map(|id| Body::ReadIndex(ReadIndex { id })),
        (read_id(), option::of(index()))
            .prop_map(|(id, index)| Body::ReadIndexReply(ReadIndexReply { id, index })),
        Just(Body::TimeoutNow),
        any::<u64>().prop_map(|round| Body::Rejoin(Rejoin { round })),
        (any::<u64>(), index())
            .prop_map(|(round, last)| Body::RejoinReply(RejoinReply { round, last })),
        (append(), entry_id()).prop_map(|(Append { previous, entries, .. }, last)| {
            Body::Tail(Tail { previous, entries, last })
        }),
        entry_id().prop_map(|after| Body::AskTail(AskTail { after })),
    ]
}

fn lost() -> impl Strategy<Value = Lost> {
    (index(), entry_id()).prop_map(|(first, last)| Lost { first, last })
}

fn heal_ask() -> impl Strategy<Value = HealAsk> {
    prop_oneof![
        (lost(), term()).prop_map(|(lost, term)| HealAsk::Entries { lost, term }),
        (option::of(entry_id()), blob())
            .prop_map(|(last, cursor)| HealAsk::Snapshot { last, cursor }),
    ]
}

fn heal() -> impl Strategy<Value = Heal> {
    let word = prop_oneof![term().prop_map(Word::Leader), term().prop_map(Word::Follower)];
    let entry = (entry_id(), payload()).prop_map(|(id, payload)| Entry { id, payload });
    let found = (entry_id(), index(), index(), vec(entry, 0..4), option::of(word)).prop_map(
        |(base, held_to, commit, entries, word)| Found { base, held_to, commit, entries, word },
    );
    prop_oneof![
        (lost(), found).prop_map(|(asked, found)| Heal::Entries { asked, found }),
        (chunk(), term()).prop_map(|(chunk, term)| Heal::Snapshot { chunk, term }),
    ]
}

fn envelope_body() -> impl Strategy<Value = EnvelopeBody> {
    let commands = proptest::collection::btree_map(any::<u64>(), blob(), 0..5);
    prop_oneof![
        8 => (term(), option::of(any::<u64>()), raft_body()).prop_map(|(term, disk, body)| {
            let rejoining = disk.map(DiskId);
            EnvelopeBody::Raft(Message { from: FROM, to: TO, term, rejoining, body })
        }),
        1 => (term(), any::<u64>(), commands).prop_map(|(term, incarnation, commands)| {
            let commands = commands.into_iter().collect();
            EnvelopeBody::Forward(Forward { term, incarnation, commands })
        }),
        1 => (term(), any::<u64>(), vec(any::<u64>(), 0..5)).prop_map(
            |(term, incarnation, numbers)| {
                EnvelopeBody::Refused(Unproposed { term, incarnation, numbers })
            }
        ),
        1 => (term(), any::<u64>(), vec(any::<u64>(), 0..5)).prop_map(
            |(term, incarnation, numbers)| {
                EnvelopeBody::Returned(Unproposed { term, incarnation, numbers })
            }
        ),
        1 => (any::<u64>(), heal_ask())
            .prop_map(|(incarnation, ask)| EnvelopeBody::HealAsk { incarnation, ask }),
        1 => (any::<u64>(), heal()).prop_map(|(incarnation, body)| {
            EnvelopeBody::HealAnswer(HealAnswer { incarnation, body })
        }),
    ]
}

fn view() -> impl Strategy<Value = View> {
    let told = &PeerState::ALL[1..];
    (any::<(u64, u64, u64)>(), prop::sample::select(told), any::<u64>()).prop_map(
        |((of, started_ms, process), state, age)| View {
            of: NodeId(of),
            incarnation: Incarnation { started_ms, process },
            state,
            age: Duration::from_millis(age),
        },
    )
}

fn packet() -> impl Strategy<Value = Packet> {
    prop_oneof![
        8 => (any::<u64>(), envelope_body()).prop_map(|(group, body)| {
            Packet::Envelope(Envelope { group: GroupId(group), from: FROM, to: TO, body })
        }),
        1 => (any::<u64>(), blob()).prop_map(|(number, payload)| {
            let of = if number % 2 == 0 { Of::Application } else { Of::Host };
            Packet::Ask { number, of, payload }
        }),
        1 => (any::<u64>(), option::of(blob()))
            .prop_map(|(number, answer)| Packet::Answer { number, answer }),
        1 => view().prop_map(Packet::View),
        1 => any::<u64>().prop_map(beat),
    ]
}

fn beat(incarnation: u64) -> Packet {
    let body = EnvelopeBody::Beat { incarnation };
    Packet::Envelope(Envelope { group: Envelope::NO_GROUP, from: FROM, to: TO, body })
}

#[test]
fn what_a_quiet_group_and_one_that_is_awake_cost_on_the_wire() {
    let bytes = |packet| framed(&[packet]).len();
    assert_eq!(bytes(beat(u64::MAX)), 17, "once for all quiet groups");
    assert_eq!(bytes(heartbeat()), 61, "for each that is awake");
}

fn framed(packets: &[Packet]) -> BytesMut {
    let mut bytes = BytesMut::new();
    for packet in packets {
        encode(packet, &mut bytes).expect("the packet is small");
    }
    bytes
}

/// A frame with a right length and checksum around any body.
fn frame_around(body: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::new();
    bytes.put_u32_le(u32::try_from(body.len()).unwrap());
    bytes.put_u32_le(crc32fast::hash(body));
    bytes.put_slice(body);
    bytes
}

fn heartbeat() -> Packet {
    let ms = Duration::from_millis;
    let pace = Some(Pace { round_trip: ms(7), stall: ms(8) });
    let body = Body::Heartbeat(Heartbeat {
        commit: Index(5),
        round: 6,
        pace,
        quiet: false,
        hold: Duration::ZERO,
    });
    let message = Message { from: FROM, to: TO, term: Term(2), rejoining: None, body };
    let body = EnvelopeBody::Raft(message);
    Packet::Envelope(Envelope { group: GroupId(1), from: FROM, to: TO, body })
}

proptest! {
    #[test]
    fn packets_survive_in_order_however_the_bytes_are_cut(
        packets in vec(packet(), 1..6),
        cuts in vec(1..200usize, 1..20),
    ) {
        let mut sent = framed(&packets);
        let mut arrived = BytesMut::new();
        let mut received = Vec::new();
        let mut cuts = cuts.into_iter().cycle();
        while !sent.is_empty() {
            let cut = cuts.next().expect("a cycle has no end").min(sent.len());
            arrived.extend_from_slice(&sent.split_to(cut));
            while let Some(body) = split_frame(&mut arrived).unwrap() {
                received.push(decode(body, FROM, TO).unwrap());
            }
        }
        prop_assert_eq!(received, packets);
        prop_assert!(arrived.is_empty());
    }

    #[test]
    fn what_parses_from_any_body_is_written_back_the_same(body in vec(any::<u8>(), 0..200)) {
        if let Ok(packet) = decode(Bytes::from(body.clone()), FROM, TO) {
            prop_assert_eq!(&framed(&[packet])[HEADER_BYTES..], &body[..]);
        }
    }

    #[test]
    fn a_damaged_message_is_refused_or_is_another_message(
        packet in packet(),
        at in any::<prop::sample::Index>(),
        bits in 1..=255u8,
    ) {
        // With a right checksum around it, as from a peer that means harm.
        let mut body = framed(std::slice::from_ref(&packet)).split_off(HEADER_BYTES);
        let at = at.index(body.len());
        body[at] ^= bits;
        if let Ok(other) = decode(body.clone().freeze(), FROM, TO) {
            prop_assert_ne!(&other, &packet);
            prop_assert_eq!(&framed(&[other])[HEADER_BYTES..], &body[..]);
        }
    }

    #[test]
    fn a_flipped_bit_on_the_way_is_noticed(
        packet in packet(),
        at in any::<prop::sample::Index>(),
        bit in 0..8u32,
    ) {
        let mut bytes = framed(&[packet]);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        // In the length, it may also look as if more were to come.
        prop_assert!(!matches!(split_frame(&mut bytes), Ok(Some(_))));
    }

    #[test]
    fn any_stream_of_bytes_ends_in_packets_or_an_error(bytes in vec(any::<u8>(), 0..400)) {
        let mut arrived = BytesMut::from(&bytes[..]);
        while let Ok(Some(body)) = split_frame(&mut arrived) {
            let _ = decode(body, FROM, TO);
        }
        prop_assert!(arrived.len() <= bytes.len());
    }
}

#[test]
fn commands_are_slices_of_what_arrived() {
    let command = Bytes::from(vec![1; 100]);
    let entry = Entry { id: EntryId::new(1, 1), payload: Payload::Command(command) };
    let append = Append { previous: EntryId::ZERO, entries: vec![entry], commit: Index(0) };
    let message =
        Message { from: FROM, to: TO, term: Term(1), rejoining: None, body: Body::Append(append) };
    let body = EnvelopeBody::Raft(message);
    let packet = Packet::Envelope(Envelope { group: GroupId(1), from: FROM, to: TO, body });
    let body = split_frame(&mut framed(&[packet])).unwrap().unwrap();
    let place = body.as_ptr_range();
    let packet = decode(body, FROM, TO).unwrap();
    let Packet::Envelope(Envelope { body: EnvelopeBody::Raft(message), .. }) = packet else {
        panic!("a message was sent");
    };
    let Body::Append(append) = message.body else { panic!("an append was sent") };
    let Payload::Command(command) = &append.entries[0].payload else {
        panic!("a command was sent");
    };
    let slice = command.as_ptr_range();
    assert!(place.start <= slice.start && slice.end <= place.end, "the command was copied");
}

#[test]
fn an_unbelievable_length_is_refused_before_anything_is_reserved() {
    let length = u32::try_from(FRAME_BYTES_MAX + 1).unwrap();
    let mut bytes = BytesMut::from(&length.to_le_bytes()[..]);
    assert!(split_frame(&mut bytes).is_err());
}

#[test]
fn an_unbelievable_count_is_refused_before_anything_is_reserved() {
    let mut body =
        framed(&[Packet::Ask { number: 1, of: Of::Host, payload: Bytes::new() }]).split_off(8);
    let end = body.len();
    body[end - 4..].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(decode(body.freeze(), FROM, TO), Err(SHORT));
}

#[test]
fn a_message_too_large_for_a_frame_is_not_written() {
    let mut out = framed(&[heartbeat()]);
    let before = out.clone();
    let payload = Bytes::from(vec![0; FRAME_BYTES_MAX]);
    assert_eq!(encode(&Packet::Ask { number: 1, of: Of::Host, payload }, &mut out), Err(Oversize));
    assert_eq!(out, before);
}

#[test]
fn bytes_after_a_message_and_unknown_kinds_are_refused() {
    let body = framed(&[heartbeat()]).split_off(HEADER_BYTES);
    let mut longer = frame_around(&[&body[..], &[0]].concat());
    let longer = split_frame(&mut longer).unwrap().unwrap();
    assert!(decode(longer, FROM, TO).is_err());
    let mut other = body;
    other[0] = 200;
    assert!(decode(other.freeze(), FROM, TO).is_err());
    assert!(decode(Bytes::new(), FROM, TO).is_err());
}

/// The bytes of version 1, so that a change of the format does not go unseen.
#[test]
fn the_bytes_of_a_heartbeat() {
    let bytes = framed(&[heartbeat()]);
    let mut expected = vec![53, 0, 0, 0];
    expected.extend_from_slice(&crc32fast::hash(&bytes[8..]).to_le_bytes());
    expected.push(1);
    expected.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0]);
    expected.extend_from_slice(&[2, 0, 0, 0, 0, 0, 0, 0]);
    expected.push(0);
    expected.push(7);
    expected.extend_from_slice(&[5, 0, 0, 0, 0, 0, 0, 0]);
    expected.extend_from_slice(&[6, 0, 0, 0, 0, 0, 0, 0]);
    expected.push(1);
    expected.extend_from_slice(&7_000_000_u64.to_le_bytes());
    expected.extend_from_slice(&8_000_000_u64.to_le_bytes());
    expected.push(0);
    assert_eq!(&bytes[..], &expected[..]);
}

/// A member of three, and how it takes what comes out of frames.
struct Receiver {
    node: Node<u64>,
    effects: Effects<u64>,
    now: Time,
}

impl Receiver {
    fn new() -> Self {
        let mut node = Node::new(NodeConfig::new(TO, 1, 1));
        let group = GroupConfig {
            group: GroupId(1),
            membership: Membership::of_voters([TO, FROM, NodeId(8)]),
            heartbeat_interval: Duration::from_millis(100),
            election_timeout: Duration::from_millis(1000),
            election_policy: quorate_raft::ElectionPolicy::Fixed,
            quiet_after: None,
            limits: Limits::default(),
            rejoining: None,
            lease: None,
            witness: false,
        };
        node.add_group(group, Recovered::default(), EntryId::ZERO, Time(0));
        Self { node, effects: Effects::default(), now: Time(0) }
    }

    /// What a host does, with a disk as fast as thought and a machine that never answers.
    fn step(&mut self, input: Input<u64>) {
        self.node.step(self.now, input, &mut self.effects);
        self.node.flush(self.now, &mut self.effects);
        while let Some((group, persist)) = self.effects.persist.pop() {
            self.effects.persist.clear();
            let durable = Input::Durable { group, seq: persist.seq };
            self.node.step(self.now, durable, &mut self.effects);
        }
        assert!(self.effects.send.len() < 2_000, "an answer is bounded");
        let mut out = BytesMut::new();
        for envelope in self.effects.send.drain(..) {
            out.clear();
            encode(&Packet::Envelope(envelope), &mut out).expect("an answer fits into a frame");
        }
        self.effects.apply.clear();
        self.effects.failed.clear();
        self.effects.clear();
    }
}

/// Packets such as a member of the group sends soon after its start: small numbers, all of them near
/// those of the receiver.
fn likely_body() -> impl Strategy<Value = (u64, Body)> {
    let id = || {
        (0..3u64, 0..4u64).prop_map(|(term, index)| match index {
            0 => EntryId::ZERO,
            index => EntryId::new(term.max(1), index),
        })
    };
    let entries = vec(blob(), 0..4);
    let append = (id(), entries, 0..5u64).prop_map(|(previous, commands, commit)| {
        let mut last = previous;
        let entry = |command| {
            last = EntryId::new(last.term.0.max(1), last.index.0 + 1);
            Entry { id: last, payload: Payload::Command(command) }
        };
        let entries = commands.into_iter().map(entry).collect();
        Body::Append(Append { previous, entries, commit: Index(commit) })
    });
    let chunk = (id(), blob(), option::of(blob())).prop_map(|(last, data, next)| {
        let meta = SnapshotMeta { last, membership: Membership::of_voters([FROM, TO]) };
        Body::Snapshot(Box::new(SnapshotChunk { meta, cursor: Bytes::new(), data, next }))
    });
    let body = prop_oneof![
        4 => append,
        1 => chunk,
        1 => (0..5u64, 0..3u64, option::of(duration()), promise()).prop_map(|(commit, round, pace, hold)| {
            let pace = pace.map(|round_trip| Pace { round_trip, stall: round_trip });
            Body::Heartbeat(Heartbeat { commit: Index(commit), round, pace, hold, quiet: true })
        }),
        1 => (id(), any::<bool>()).prop_map(|(last, transfer)| {
            Body::Vote(RequestVote { last, transfer, incarnation: 1, disk: None })
        }),
        2 => any::<bool>().prop_map(|granted| {
            Body::PreVoteReply(VoteReply { granted, incarnation: 1 })
        }),
        2 => any::<bool>().prop_map(|granted| {
            Body::VoteReply(VoteReply { granted, incarnation: 1 })
        }),
        1 => any::<u64>().prop_map(|round| Body::Rejoin(Rejoin { round })),
        1 => (0..4u64).prop_map(|at| {
            Body::AppendReply(AppendReply::Accepted { durable: Index(at) })
        }),
        1 => Just(Body::TimeoutNow),
    ];
    (1..4u64, body)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    /// From the bytes on the wire to the core: frames that a member could have sent, some with a few
    /// bytes changed and the right checksum around them, as from a peer that means harm.
    #[test]
    fn frames_with_changed_bytes_do_a_member_no_harm(
        frames in vec((likely_body(), vec((any::<prop::sample::Index>(), any::<u8>()), 0..3)), 1..40),
    ) {
        let mut receiver = Receiver::new();
        receiver.step(Input::Timeout);
        for ((term, body), changes) in frames {
            let message = Message { from: FROM, to: TO, term: Term(term), rejoining: None, body };
            let body = EnvelopeBody::Raft(message);
            let packet = Packet::Envelope(Envelope { group: GroupId(1), from: FROM, to: TO, body });
            let mut body = framed(&[packet]).split_off(HEADER_BYTES);
            for (at, byte) in changes {
                let at = at.index(body.len());
                body[at] = byte;
            }
            let mut arrived = frame_around(&body);
            let body = split_frame(&mut arrived).expect("the checksum is right");
            match decode(body.expect("the frame is whole"), FROM, TO) {
                Ok(Packet::Envelope(envelope)) => receiver.step(Input::Peer(envelope)),
                Ok(_) => {}
                Err(Malformed(reason)) => prop_assert!(!reason.is_empty()),
            }
            if term == 3 {
                receiver.now = receiver.now.max(receiver.node.deadline());
                receiver.step(Input::Timeout);
            }
        }
    }
}

#[test]
fn a_view_that_says_nothing_is_refused() {
    let (of, incarnation) = (NodeId(3), Incarnation { started_ms: 1, process: 2 });
    let view = |state| View { of, incarnation, state, age: Duration::from_millis(9) };
    let decoded = |state| {
        decode(framed(&[Packet::View(view(state))]).split_off(HEADER_BYTES).freeze(), FROM, TO)
    };
    assert_eq!(decoded(PeerState::Failed), Ok(Packet::View(view(PeerState::Failed))));
    assert!(decoded(PeerState::Idle).is_err());
}
