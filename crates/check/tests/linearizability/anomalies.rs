//! Histories as the literature tells them, each with what the checker must say.

use quorate_check::history::{Outcome, Request, Response};
use quorate_check::linearizability::{Illegal, Verdict, check};
use quorate_check::model::Model;

use crate::common::*;

const BUDGET: u64 = 100_000;

#[track_caller]
fn accepts(teller: &Teller) {
    let verdict = check(&teller.history, &Model::default(), BUDGET);
    assert!(verdict.is_linearizable(), "{verdict:#?}");
}

#[track_caller]
fn rejects(teller: &Teller) -> Illegal {
    match check(&teller.history, &Model::default(), BUDGET) {
        Verdict::Illegal(illegal) => *illegal,
        verdict => panic!("{verdict:#?}"),
    }
}

#[test]
fn what_overlaps_may_take_effect_in_either_order() {
    let mut teller = Teller::default();
    teller.ok(10, 40, put("k", "second to be called, first to take effect"));
    teller.ok(0, 50, put("k", "the other"));
    teller.ok(20, 60, get("k"));
    accepts(&teller);
}

#[test]
fn an_empty_history_is_fine() {
    accepts(&Teller::default());
}

#[test]
fn a_stale_read() {
    let mut teller = Teller::default();
    teller.ok(0, 10, put("k", "old"));
    let before = teller.store.clone();
    teller.ok(20, 30, put("k", "new"));
    teller.told_as_in(&before, 25, 40, get("k"));
    accepts(&teller);
    teller.told_as_in(&before, 31, 41, get("k"));
    let illegal = rejects(&teller);
    assert_eq!(illegal.culprit, 3);
    assert_eq!((illegal.revision, illegal.blocked.len()), (3, 1), "{illegal}");
}

#[test]
fn two_reads_that_see_time_go_back() {
    let mut teller = Teller::default();
    let before = teller.store.clone();
    // The write is under way all the while, so either read alone is fine.
    teller.ok(0, 100, put("k", "new"));
    teller.ok(10, 20, get("k"));
    accepts(&teller);
    teller.told_as_in(&before, 30, 40, get("k"));
    assert_eq!(rejects(&teller).culprit, 2);
}

#[test]
fn a_lost_update() {
    let mut teller = Teller::default();
    let before = teller.store.clone();
    teller.ok(0, 10, swap("k", 0, "mine"));
    teller.told_as_in(&before, 5, 15, swap("k", 0, "mine too"));
    assert_eq!(rejects(&teller).culprit, 1, "both found the key missing");
}

#[test]
fn a_read_of_a_value_that_nobody_wrote() {
    let mut teller = Teller::default();
    teller.ok(0, 10, put("k", "written"));
    let mut elsewhere = Model::default();
    elsewhere.apply(&put("k", "never written")).0.unwrap();
    teller.told_as_in(&elsewhere, 20, 30, get("k"));
    assert_eq!(rejects(&teller).culprit, 1);
}

#[test]
fn an_unknown_write_may_take_effect_late_or_never() {
    let mut teller = Teller::default();
    teller.lost(0, put("k", "never"));
    teller.ok(10, 20, get("k"));
    teller.unheard(5, put("k", "late"));
    teller.ok(1_000, 1_010, get("k"));
    accepts(&teller);
}

#[test]
fn an_unknown_write_does_not_take_effect_before_its_call() {
    let mut teller = Teller::default();
    teller.unheard(100, put("k", "from the future"));
    teller.ok(10, 20, get("k"));
    assert_eq!(rejects(&teller).culprit, 1);
}

#[test]
fn an_unknown_write_that_was_seen_is_not_unseen() {
    let mut teller = Teller::default();
    let before = teller.store.clone();
    teller.unheard(0, put("k", "seen"));
    teller.ok(10, 20, get("k"));
    accepts(&teller);
    teller.told_as_in(&before, 30, 40, get("k"));
    assert_eq!(rejects(&teller).culprit, 2);
}

#[test]
fn an_unknown_write_takes_effect_once() {
    let mut teller = Teller::default();
    teller.unheard(0, put("k", "once"));
    teller.ok(10, 20, get("k"));
    teller.ok(30, 40, delete("k"));
    accepts(&teller);
    // It comes back: what a server does that proposes a request again without need.
    teller.store.apply(&put("k", "once")).0.unwrap();
    teller.ok(50, 60, get("k"));
    assert_eq!(rejects(&teller).culprit, 3);
}

#[test]
fn a_write_that_certainly_failed_has_no_effect() {
    let mut teller = Teller::default();
    teller.unheard(0, put("k", "refused")).outcome = Outcome::Failed;
    teller.ok(10, 20, get("k"));
    assert_eq!(rejects(&teller).culprit, 1);
}

#[test]
fn a_swap_that_succeeds_without_reason() {
    let mut teller = Teller::default();
    teller.ok(0, 10, put("k", "a"));
    let expecting = teller.store.clone();
    teller.ok(20, 30, put("k", "b"));
    teller.told_as_in(&expecting, 40, 50, swap("k", 2, "c"));
    assert_eq!(rejects(&teller).culprit, 2);
}

#[test]
fn a_swap_that_fails_without_reason() {
    let mut teller = Teller::default();
    teller.ok(0, 10, put("k", "a"));
    let matching = teller.store.clone();
    let mut other = matching;
    other.apply(&put("k", "b")).0.unwrap();
    teller.told_as_in(&other, 20, 30, swap("k", 2, "c"));
    assert_eq!(rejects(&teller).culprit, 1);
}

#[test]
fn a_transaction_of_which_half_is_seen() {
    let mut teller = Teller::default();
    let before = teller.store.clone();
    teller.ok(0, 100, put_both("a", "b", "both"));
    teller.ok(10, 20, get("a"));
    accepts(&teller);
    teller.told_as_in(&before, 30, 40, get("b"));
    assert_eq!(rejects(&teller).culprit, 2);
}

#[test]
fn a_list_that_skips_a_key() {
    let mut teller = Teller::default();
    teller.ok(0, 10, put("a/1", ""));
    teller.ok(0, 10, put("a/2", ""));
    teller.ok(20, 30, list("a/"));
    accepts(&teller);
    let Outcome::Known { reply: Ok(Response::Range(range)), .. } = &mut teller.history[2].outcome
    else {
        panic!("a range");
    };
    range.kvs.remove(0);
    range.count = 1;
    assert_eq!(rejects(&teller).culprit, 2);
}

/// Write skew, which serializability on one key at a time would let pass: both read both keys, and
/// each writes the other one.
#[test]
fn keys_are_not_judged_one_by_one() {
    let mut teller = Teller::default();
    let before = teller.store.clone();
    teller.ok(0, 10, put("a", "1"));
    let a_only = teller.store.clone();
    teller.told_as_in(&before, 0, 10, put("b", "1"));
    // `b` was told revision 2 as well.
    assert_eq!(rejects(&teller).culprit, 0, "two operations made one revision");
    let mut b_only = before;
    b_only.apply(&put("b", "1")).0.unwrap();
    let mut teller = Teller::default();
    teller.unheard(0, put("a", "1"));
    teller.unheard(0, put("b", "1"));
    teller.told_as_in(&a_only, 20, 30, list(""));
    accepts(&teller);
    teller.told_as_in(&b_only, 20, 30, list(""));
    assert_eq!(rejects(&teller).culprit, 2, "which of the two came first?");
}

#[test]
fn a_lease_takes_its_keys_with_it() {
    let mut teller = Teller::default();
    teller.ok(0, 10, Request::LeaseGrant { id: 7, ttl: 5 });
    let Request::Put(mut leased) = put("k", "leased") else { panic!("a put") };
    leased.lease = 7;
    teller.ok(20, 30, Request::Put(leased));
    let before = teller.store.clone();
    teller.unheard(5, Request::LeaseRevoke { id: 7 });
    teller.ok(40, 50, get("k"));
    accepts(&teller);
    teller.told_as_in(&before, 60, 70, get("k"));
    assert_eq!(rejects(&teller).culprit, 4);
}

#[test]
fn a_refusal_says_something_about_the_state() {
    let mut teller = Teller::default();
    let Request::Put(mut keep) = put("k", "") else { panic!("a put") };
    keep.ignore_value = true;
    let keep = Request::Put(keep);
    let empty = teller.store.clone();
    teller.told_as_in(&empty, 0, 10, keep.clone());
    teller.ok(20, 30, put("k", "a"));
    accepts(&teller);
    teller.told_as_in(&empty, 40, 50, keep);
    assert_eq!(rejects(&teller).culprit, 2, "the key is there");
}

#[test]
fn the_explanation_is_about_the_first_contradiction() {
    let mut teller = Teller::default();
    for round in 0..50 {
        teller.ok(round * 10, round * 10 + 5, put("k", "v"));
    }
    let stale = Model::default();
    teller.told_as_in(&stale, 200, 209, get("k"));
    let illegal = rejects(&teller);
    assert_eq!(illegal.culprit, 50);
    assert_eq!(illegal.revision, 22, "{illegal}");
    assert!(illegal.to_string().contains("operation 50"), "{illegal}");
}

#[test]
fn an_effort_beyond_the_budget_is_not_a_verdict() {
    let mut teller = Teller::default();
    for round in 0..50 {
        teller.ok(round * 10, round * 10 + 5, put("k", "v"));
    }
    let Verdict::Unknown { steps } = check(&teller.history, &Model::default(), 10) else {
        panic!("fifty operations take more than ten steps");
    };
    assert!((10..30).contains(&steps), "{steps}");
}
