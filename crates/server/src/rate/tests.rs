use quorate_mvcc::{DeleteRangeRequest, PutRequest, RequestOp, TxnRequest};

use super::*;

fn at(millis: u64) -> Time {
    Time(1_000_000_000_000 + millis * 1_000_000)
}

fn put(key: &'static str) -> PutRequest {
    PutRequest { key: key.into(), ..PutRequest::default() }
}

fn span(from: &'static str, to: &'static str) -> KeyRange {
    KeyRange::Span { from: from.into(), to: to.into() }
}

fn limited(prefixes: &[(&'static str, u32)]) -> RateLimits {
    let rate = |burst| Rate { per_second: 1, burst };
    let prefixes = prefixes.iter().map(|(prefix, burst)| ((*prefix).into(), rate(*burst)));
    RateLimits::new(Rates { user: None, prefixes: prefixes.collect() })
}

#[test]
fn a_range_touches_a_prefix_if_a_key_may_have_both() {
    let prefix = KeyRange::prefix("/a/".into());
    for (range, expected) in [
        (KeyRange::Point("/a/".into()), true),
        (KeyRange::Point("/a/b".into()), true),
        (KeyRange::Point("/a".into()), false),
        (KeyRange::Point("/a0".into()), false),
        (span("/", "/a/"), false),
        (span("/", "/a/\0"), true),
        (span("/a/z", "/b"), true),
        (span("/a0", "/b"), false),
        (span("/a/z", "/a/b"), false),
        (KeyRange::From("/a/z".into()), true),
        (KeyRange::From("/a0".into()), false),
        (KeyRange::From("\0".into()), true),
    ] {
        assert_eq!(touches(&range, &prefix), expected, "{range:?}");
    }
    assert!(touches(&span("a", "b"), &KeyRange::prefix("".into())));
    assert!(touches(&KeyRange::From("\u{ff}".into()), &KeyRange::prefix(vec![0xff].into())));
}

#[test]
fn a_prefix_is_counted_for_all_and_a_refusal_costs_nothing() {
    let limits = limited(&[("/a/", 3), ("/a/b/", 1)]);
    let too_many = Err(Failure::TooManyRequests);
    assert_eq!(limits.keys_at(&put("/a/b/1"), at(0)), Ok(()));
    assert_eq!(limits.keys_at(&put("/a/b/1"), at(0)), too_many, "the inner one has no more");
    assert_eq!(limits.keys_at(&put("/a/1"), at(0)), Ok(()), "the outer one lost nothing by it");
    assert_eq!(limits.keys_at(&put("/a/1"), at(0)), Ok(()));
    assert_eq!(limits.keys_at(&put("/a/1"), at(0)), too_many);
    assert_eq!(limits.keys_at(&put("/b"), at(0)), Ok(()), "other keys are free");
    assert_eq!(limits.keys_at(&put("/a/1"), at(999)), too_many);
    assert_eq!(limits.keys_at(&put("/a/1"), at(1000)), Ok(()));
    assert_eq!((limits.refused(Whose::Prefix), limits.refused(Whose::User)), (3, 0));
}

#[test]
fn each_operation_of_a_transaction_counts() {
    let range = KeyRange::prefix("/a/".into());
    let delete = RequestOp::DeleteRange(DeleteRangeRequest { range, prev_kv: false });
    let inner = TxnRequest { success: vec![delete], ..TxnRequest::default() };
    let txn = TxnRequest {
        success: vec![RequestOp::Put(put("/a/1")), RequestOp::Txn(inner)],
        failure: vec![RequestOp::Put(put("/b"))],
        ..TxnRequest::default()
    };
    let limits = limited(&[("/a/", 5)]);
    for passes in [true, true, false] {
        assert_eq!(limits.keys_at(&txn, at(0)).is_ok(), passes);
    }
    assert!(limits.keys_at(&put("/a/1"), at(0)).is_ok(), "one was left");
}

#[test]
fn each_user_has_its_own_rate() {
    let rate = Rate { per_second: 1, burst: 2 };
    let limits = RateLimits::new(Rates { user: Some(rate), prefixes: Vec::new() });
    for (name, now, passes) in [
        ("alice", 0, true),
        ("alice", 0, true),
        ("alice", 0, false),
        ("bob", 0, true),
        ("alice", 999, false),
        ("alice", 1000, true),
    ] {
        assert_eq!(limits.user_at(rate, name, at(now)).is_ok(), passes, "{name} at {now}");
    }
    assert_eq!(limits.refused(Whose::User), 2);
    assert_eq!(RateLimits::new(Rates::default()).user("alice"), Ok(()));
}

#[test]
fn buckets_are_so_many_and_those_that_are_full_make_room() {
    let rate = Rate { per_second: 1, burst: 2 };
    let mut users = Users::new(rate, at(0), 2);
    let mut pass = |name: &str, now| {
        let bucket = users.bucket(rate, name, at(now));
        let passes = bucket.has(rate, 1, at(now));
        if passes {
            bucket.take(rate, 1);
        }
        (passes, users.buckets.len())
    };
    assert_eq!([pass("a", 0), pass("b", 0), pass("b", 0)], [(true, 1), (true, 2), (true, 2)]);
    // Others share what is left: one bucket.
    assert_eq!([pass("c", 0), pass("d", 0), pass("e", 0)], [(true, 2), (true, 2), (false, 2)]);
    // The first is full after a second, and goes for whoever comes.
    assert_eq!(pass("c", 1000), (true, 2));
    assert_eq!(pass("b", 1000), (true, 2), "it is still there, and one is back");
    assert_eq!(pass("b", 1000), (false, 2));
}
