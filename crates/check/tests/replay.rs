//! Replies against a replay of all changes.

mod common;

use common::*;
use quorate_check::changes::Changes;
use quorate_check::history::{Outcome, Request, Response};
use quorate_check::replay::{Tally, check};
use quorate_mvcc::{Event, EventKind, KeyRange, KeyValue, PutRequest, RangeRequest};

/// A few operations on a right store, and all changes that they made.
fn recording() -> (Teller, Changes) {
    let mut teller = Teller::default();
    let mut events = Vec::new();
    let requests = [
        put("a", "1"),
        Request::Put(PutRequest {
            key: bytes("a"),
            value: bytes("2"),
            prev_kv: true,
            ..PutRequest::default()
        }),
        put_both("b", "c", "3"),
        get("a"),
        delete("b"),
        delete("b"),
        swap("a", 3, "4"),
        swap("a", 3, "5"),
        list(""),
    ];
    for (at, request) in requests.into_iter().enumerate() {
        let before = teller.store.clone();
        teller.ok(at as u64 * 10, at as u64 * 10 + 5, request);
        let revision = teller.store.revision();
        for key in ["a", "b", "c"] {
            let after = teller.store.get(key.as_bytes());
            if before.get(key.as_bytes()) == after {
                continue;
            }
            let gone = KeyValue { key: bytes(key), mod_revision: revision, ..KeyValue::default() };
            let kind = if after.is_some() { EventKind::Put } else { EventKind::Delete };
            events.push(Event { kind, kv: after.cloned().unwrap_or(gone), prev_kv: None });
        }
    }
    (teller, Changes::new(events).expect("the store is right"))
}

/// What the operation at this place was told.
fn told(teller: &mut Teller, at: usize) -> &mut Response {
    match &mut teller.history[at].outcome {
        Outcome::Known { reply: Ok(response), .. } => response,
        other => panic!("{other:?}"),
    }
}

fn read_at(revision: i64) -> Request {
    Request::Range(RangeRequest { revision, ..RangeRequest::new(KeyRange::Point(bytes("a"))) })
}

#[test]
fn a_right_history_passes() {
    let (mut teller, changes) = recording();
    teller.lost(0, put("never", "seen"));
    assert_eq!(check(&teller.history, &changes), Ok(Tally { checked: 9, skipped: 1 }));
}

#[test]
fn stale_is_right_and_wrong_is_not() {
    let (mut teller, changes) = recording();
    let Request::Range(range) = get("a") else { panic!("a range") };
    let old =
        quorate_check::model::Model::new(2, changes.range_at(&KeyRange::prefix(bytes("")), 2));
    teller.told_as_in(&old, 500, 510, Request::Range(RangeRequest { serializable: true, ..range }));
    check(&teller.history, &changes).expect("it is old, and as it was then");
    let Response::Range(range) = told(&mut teller, 9) else { panic!("a range") };
    range.kvs[0].value = bytes("2");
    check(&teller.history, &changes).expect_err("it was not that then");
}

#[test]
fn the_past_is_held_against_what_was() {
    let (mut teller, changes) = recording();
    teller.ok(100, 110, read_at(2));
    let response = told(&mut teller, 9);
    let Response::Range(range) = response else { panic!("a range") };
    range.kvs = changes.at(b"a", 2).cloned().into_iter().collect();
    range.count = 1;
    check(&teller.history, &changes).expect("it was that");
    let Response::Range(range) = told(&mut teller, 9) else { panic!("a range") };
    range.kvs = changes.at(b"a", 3).cloned().into_iter().collect();
    check(&teller.history, &changes).expect_err("it was not that yet");
}

#[track_caller]
fn rejected(falsify: impl FnOnce(&mut Teller)) {
    let (mut teller, changes) = recording();
    falsify(&mut teller);
    check(&teller.history, &changes).expect_err("it was falsified");
}

#[test]
fn every_part_of_a_reply_is_looked_at() {
    rejected(|teller| {
        let Response::Put(put) = told(teller, 1) else { panic!("a put") };
        put.prev_kv.as_mut().expect("it was asked for").version = 7;
    });
    rejected(|teller| {
        let Response::DeleteRange(delete) = told(teller, 4) else { panic!("a delete") };
        delete.deleted = 2;
    });
    rejected(|teller| {
        let Response::DeleteRange(delete) = told(teller, 5) else { panic!("a delete") };
        delete.deleted = 1;
    });
    rejected(|teller| {
        let Response::Txn(txn) = told(teller, 7) else { panic!("a transaction") };
        txn.succeeded = true;
    });
    rejected(|teller| {
        let Response::Range(range) = told(teller, 8) else { panic!("a range") };
        range.count = 1;
    });
}

#[test]
fn a_write_that_is_not_among_the_changes_is_noticed() {
    rejected(|teller| teller.history[0].request = put("a", "something else"));
    rejected(|teller| {
        let Response::Put(put) = told(teller, 0) else { panic!("a put") };
        put.revision = 1_000;
    });
}
