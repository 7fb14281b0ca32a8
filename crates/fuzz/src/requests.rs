//! Requests from choices, over few keys, so that they meet.

use bytes::Bytes;
use quorate_mvcc::{
    Alarm, AlarmCommand, AlarmKind, Command, Compare, CompareOperand, CompareResult,
    DeleteRangeRequest, KeyRange, PutRequest, RangeRequest, RequestOp, TxnRequest,
};

use crate::Draw;

/// Prefixes of one another, and with zero bytes.
pub(crate) const KEYS: [&[u8]; 7] = [b"\0", b"a", b"a\0", b"a\0\x01", b"aa", b"b", b"b\xff"];

/// How deep transactions lie in one another.
const DEPTH_MAX: usize = 3;

fn key(draw: &mut Draw<'_>) -> Bytes {
    Bytes::from_static(draw.of(&KEYS))
}

pub(crate) fn range(draw: &mut Draw<'_>) -> KeyRange {
    match draw.byte() % 6 {
        0..3 => KeyRange::Point(key(draw)),
        3 => KeyRange::parse(key(draw), key(draw)).expect("no key is empty"),
        4 => KeyRange::From(key(draw)),
        _ => KeyRange::prefix(key(draw)),
    }
}

fn value(draw: &mut Draw<'_>) -> Bytes {
    Bytes::from_static(draw.of(&[b"", b"x", b"y"]))
}

/// Mostly none, often one of those that are granted.
fn lease(draw: &mut Draw<'_>) -> i64 {
    draw.of(&[0, 0, 0, 1, 1, 2, 3])
}

fn put(draw: &mut Draw<'_>) -> PutRequest {
    let (key, value, lease, flags) = (key(draw), value(draw), lease(draw), draw.byte());
    let (ignore_value, ignore_lease) = (flags & 14 == 14, flags & 0x70 == 0x70);
    PutRequest {
        key,
        value: if ignore_value { Bytes::new() } else { value },
        lease: if ignore_lease { 0 } else { lease },
        prev_kv: flags & 1 == 1,
        ignore_value,
        ignore_lease,
    }
}

fn delete(draw: &mut Draw<'_>) -> DeleteRangeRequest {
    DeleteRangeRequest { range: range(draw), prev_kv: draw.bit() }
}

/// Mostly the newest, else one around those that there are.
fn revision(draw: &mut Draw<'_>) -> i64 {
    match draw.byte() {
        choice @ 128.. => i64::from(choice) - 132,
        _ => 0,
    }
}

pub(crate) fn range_request(draw: &mut Draw<'_>) -> RangeRequest {
    let mut request = RangeRequest::new(range(draw));
    let flags = draw.byte();
    request.revision = revision(draw);
    request.keys_only = flags & 3 == 1;
    request.count_only = flags & 3 == 3;
    if flags & 4 != 0 {
        request.limit = u64::from(draw.byte() % 5);
    }
    if flags & 8 != 0 {
        request.sort_order = i32::from(draw.byte() % 3).try_into().expect("a known order");
        request.sort_target = i32::from(draw.byte() % 5).try_into().expect("a known target");
    }
    let mut bound = |is_wanted: bool| if is_wanted { i64::from(draw.byte() % 20) } else { 0 };
    request.min_mod_revision = bound(flags & 16 != 0);
    request.max_mod_revision = bound(flags & 32 != 0);
    request.min_create_revision = bound(flags & 64 != 0);
    request.max_create_revision = bound(flags & 128 != 0);
    request
}

fn compare(draw: &mut Draw<'_>) -> Compare {
    let range = range(draw);
    let result = CompareResult::from(i32::from(draw.byte() % 5));
    let number = |draw: &mut Draw<'_>| i64::from(draw.byte() % 12);
    let operand = match draw.byte() % 6 {
        0 => CompareOperand::Version(number(draw)),
        1 => CompareOperand::Create(number(draw)),
        2 => CompareOperand::Mod(number(draw)),
        3 => CompareOperand::Lease(lease(draw)),
        4 => CompareOperand::Unknown,
        _ => CompareOperand::Value(value(draw)),
    };
    Compare { range, result, operand }
}

pub(crate) fn txn(draw: &mut Draw<'_>) -> TxnRequest {
    txn_within(draw, DEPTH_MAX)
}

fn txn_within(draw: &mut Draw<'_>, depth: usize) -> TxnRequest {
    let counts = draw.byte();
    let ops = |draw: &mut Draw<'_>, count: u8| (0..count).map(|_| op(draw, depth)).collect();
    TxnRequest {
        compare: (0..counts & 3).map(|_| compare(draw)).collect(),
        success: ops(draw, counts >> 2 & 7),
        failure: ops(draw, counts >> 5),
    }
}

fn op(draw: &mut Draw<'_>, depth: usize) -> RequestOp {
    match draw.byte() % 6 {
        0 | 1 => {
            let mut range = range_request(draw);
            // Most would be refused otherwise.
            if range.revision > 8 {
                range.revision = 0;
            }
            RequestOp::Range(range)
        }
        2 | 3 => RequestOp::Put(put(draw)),
        4 if depth > 0 => RequestOp::Txn(txn_within(draw, depth - 1)),
        _ => RequestOp::DeleteRange(delete(draw)),
    }
}

/// A request that changes keys or leases.
pub(crate) fn write(draw: &mut Draw<'_>) -> Command {
    match draw.byte() % 16 {
        0..5 => Command::Put(put(draw)),
        5..8 => Command::DeleteRange(delete(draw)),
        8..13 => Command::Txn(txn(draw)),
        13 => Command::LeaseGrant {
            id: i64::from(draw.byte() % 4) + 1,
            ttl: i64::from(draw.byte()) - 1,
        },
        14 => Command::LeaseRevoke { id: i64::from(draw.byte() % 4) },
        _ => Command::Compact { revision: i64::from(draw.byte() % 25) - 1 },
    }
}

/// Any that the model knows.
pub(crate) fn command(draw: &mut Draw<'_>) -> Command {
    match draw.byte() % 12 {
        0 => Command::Alarm(alarm(draw)),
        _ => write(draw),
    }
}

fn alarm(draw: &mut Draw<'_>) -> AlarmCommand {
    let (choice, member) = (draw.byte(), u64::from(draw.byte() % 2) + 1);
    let mark = |draw: &mut Draw<'_>| 100 + u64::from(draw.byte() % 2);
    let kind = if choice.is_multiple_of(3) { AlarmKind::Corrupt } else { AlarmKind::NoSpace };
    match choice / 8 % 4 {
        0 => {
            let clears_below = draw.bit().then(|| mark(draw));
            AlarmCommand::Activate(Alarm { member, kind, clears_below })
        }
        1 => AlarmCommand::Clear { member, clears_below: mark(draw) },
        _ => AlarmCommand::Deactivate { member, kind },
    }
}
