//! Random requests over few keys, so that they meet.

use bytes::Bytes;
use proptest::prelude::*;
use quorate_mvcc::{
    Alarm, AlarmCommand, AlarmKind, Command, Compare, CompareOperand, CompareResult,
    DeleteRangeRequest, KeyRange, PutRequest, RangeRequest, RequestOp, TxnRequest,
};

/// Keys that are prefixes of one another, and with zero bytes.
pub(crate) fn key() -> impl Strategy<Value = Bytes> {
    let keys: [&[u8]; 7] = [b"\0", b"a", b"a\0", b"a\0\x01", b"aa", b"b", b"b\xff"];
    prop::sample::select(keys.map(Bytes::from_static).to_vec())
}

pub(crate) fn range() -> impl Strategy<Value = KeyRange> {
    prop_oneof![
        3 => key().prop_map(KeyRange::Point),
        3 => (key(), key())
            .prop_map(|(key, end)| KeyRange::parse(key, end).expect("the key is not empty")),
        1 => key().prop_map(KeyRange::From),
        1 => key().prop_map(KeyRange::prefix),
    ]
}

fn value() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec![Bytes::new(), Bytes::from_static(b"x"), Bytes::from_static(b"y")])
}

/// Mostly none, often one of those that are granted.
fn lease() -> impl Strategy<Value = i64> {
    prop::sample::select(vec![0, 0, 0, 1, 1, 2, 3])
}

fn put() -> impl Strategy<Value = PutRequest> {
    let rarely = || prop::bool::weighted(0.15);
    (key(), value(), lease(), any::<bool>(), rarely(), rarely()).prop_map(
        |(key, value, lease, prev_kv, ignore_value, ignore_lease)| PutRequest {
            key,
            value: if ignore_value { Bytes::new() } else { value },
            lease: if ignore_lease { 0 } else { lease },
            prev_kv,
            ignore_value,
            ignore_lease,
        },
    )
}

fn delete() -> impl Strategy<Value = DeleteRangeRequest> {
    (range(), any::<bool>()).prop_map(|(range, prev_kv)| DeleteRangeRequest { range, prev_kv })
}

/// Revisions around those that exist.
fn revision() -> impl Strategy<Value = i64> {
    prop_oneof![4 => Just(0i64), 4 => 0..30i64, 1 => -4..0i64]
}

fn bound() -> impl Strategy<Value = i64> {
    prop_oneof![5 => Just(0i64), 1 => 1..20i64]
}

pub(crate) fn range_request() -> impl Strategy<Value = RangeRequest> {
    let limit = prop_oneof![Just(0u64), 1..5u64];
    let bounds = [bound(), bound(), bound(), bound()];
    (range(), limit, revision(), 0..3i32, 0..5i32, any::<[bool; 2]>(), bounds).prop_map(
        |(range, limit, revision, order, target, [keys_only, rarely], bounds)| {
            let mut request = RangeRequest::new(range);
            (request.limit, request.revision) = (limit, revision);
            request.sort_order = order.try_into().expect("a known order");
            request.sort_target = target.try_into().expect("a known target");
            (request.keys_only, request.count_only) = (keys_only && !rarely, keys_only && rarely);
            [request.min_mod_revision, request.max_mod_revision, ..] = bounds;
            [.., request.min_create_revision, request.max_create_revision] = bounds;
            request
        },
    )
}

fn compare() -> impl Strategy<Value = Compare> {
    let operand = prop_oneof![
        (0..3i64).prop_map(CompareOperand::Version),
        (0..9i64).prop_map(CompareOperand::Create),
        (0..9i64).prop_map(CompareOperand::Mod),
        lease().prop_map(CompareOperand::Lease),
        value().prop_map(CompareOperand::Value),
    ];
    (range(), 0..4i32, operand).prop_map(|(range, result, operand)| Compare {
        range,
        result: CompareResult::from(result),
        operand,
    })
}

fn txn() -> impl Strategy<Value = TxnRequest> {
    let mut read = range_request().boxed();
    // Most ranges of transactions read the newest state; others would refuse most transactions.
    read = read
        .prop_map(|mut request| {
            if request.revision > 8 {
                request.revision = 0;
            }
            request
        })
        .boxed();
    let leaf = prop_oneof![
        read.prop_map(RequestOp::Range),
        put().prop_map(RequestOp::Put),
        delete().prop_map(RequestOp::DeleteRange),
    ];
    let op = leaf.prop_recursive(2, 8, 2, |op| {
        let ops = || prop::collection::vec(op.clone(), 0..3);
        (prop::collection::vec(compare(), 0..2), ops(), ops()).prop_map(
            |(compare, success, failure)| RequestOp::Txn(TxnRequest { compare, success, failure }),
        )
    });
    let ops = move || prop::collection::vec(op.clone(), 0..4);
    (prop::collection::vec(compare(), 0..2), ops(), ops())
        .prop_map(|(compare, success, failure)| TxnRequest { compare, success, failure })
}

pub(crate) fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        8 => put().prop_map(Command::Put),
        3 => delete().prop_map(Command::DeleteRange),
        4 => txn().prop_map(Command::Txn),
        1 => (-1..25i64).prop_map(|revision| Command::Compact { revision }),
        1 => (1..4i64, 1..9i64).prop_map(|(id, ttl)| Command::LeaseGrant { id, ttl }),
        1 => (1..4i64).prop_map(|id| Command::LeaseRevoke { id }),
        1 => alarm().prop_map(Command::Alarm),
    ]
}

/// More are taken back than raised, so that most commands are carried out.
fn alarm() -> impl Strategy<Value = AlarmCommand> {
    let member = || prop::sample::select(vec![1u64, 1, 1, 2]);
    let mark = || 100..102u64;
    let raise = |kind| {
        (member(), prop::option::of(mark())).prop_map(move |(member, clears_below)| {
            AlarmCommand::Activate(Alarm { member, kind, clears_below })
        })
    };
    let disarm = |kind| member().prop_map(move |member| AlarmCommand::Deactivate { member, kind });
    prop_oneof![
        3 => raise(AlarmKind::NoSpace),
        1 => raise(AlarmKind::Corrupt),
        4 => disarm(AlarmKind::NoSpace),
        3 => disarm(AlarmKind::Corrupt),
        3 => (member(), mark()).prop_map(|(member, clears_below)| {
            AlarmCommand::Clear { member, clears_below }
        }),
    ]
}
