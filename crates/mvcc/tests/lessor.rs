//! The lessor: the facts of etcd's, and random use against a plain list of deadlines.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use quorate_mvcc::lease::{EXPIRY_RETRY, Lessor, Remaining, Renewal};
use quorate_mvcc::{Lease, LeaseChange};
use quorate_raft::{Term, Time};

const SECOND: u64 = 1_000_000_000;

fn at(seconds: u64) -> Time {
    Time(seconds * SECOND)
}

fn primary(leases: &[(i64, i64)]) -> Lessor {
    let mut lessor = Lessor::new();
    let leases = leases.iter().map(|&(id, ttl)| Lease { id, ttl });
    lessor.promote(at(0), Term(1), leases, Duration::ZERO);
    lessor
}

#[test]
fn who_is_not_primary_knows_nothing() {
    let mut lessor = Lessor::new();
    lessor.observe(at(0), LeaseChange::Granted(Lease { id: 1, ttl: 5 }));
    assert_eq!(lessor.renew(at(1), 1), Renewal::NotPrimary);
    assert_eq!(lessor.remaining(at(1), 1), None);
    assert_eq!(lessor.expired(at(100), 10), []);
    assert_eq!(lessor.deadline(), Time::NEVER);
    assert_eq!(lessor.term(), None);
}

#[test]
fn a_lease_runs_out_unless_renewed() {
    let mut lessor = primary(&[(1, 5), (2, 5)]);
    assert_eq!(lessor.renew(at(4), 1), Renewal::Renewed(5));
    assert_eq!(lessor.deadline(), at(5));
    assert_eq!(lessor.expired(at(4), 10), []);
    assert_eq!(lessor.expired(at(5), 10), [2]);
    let left = |seconds, granted| Some(Remaining { left: Duration::from_secs(seconds), granted });
    assert_eq!(lessor.remaining(at(6), 1), left(3, 5));
    assert_eq!(lessor.remaining(at(6), 2), left(0, 5));
    assert_eq!(lessor.remaining(at(6), 3), None);
}

#[test]
fn what_has_run_out_cannot_be_renewed_and_is_reported_until_it_is_gone() {
    let mut lessor = primary(&[(1, 5)]);
    assert_eq!(lessor.renew(at(5), 1), Renewal::Expired);
    assert_eq!(lessor.expired(at(6), 10), [1]);
    assert_eq!(lessor.expired(at(7), 10), [], "the command is under way");
    assert_eq!(lessor.deadline(), at(6) + EXPIRY_RETRY);
    assert_eq!(lessor.expired(at(6) + EXPIRY_RETRY, 10), [1], "it may have been lost");
    assert_eq!(lessor.renew(at(10), 1), Renewal::Expired);
    lessor.observe(at(10), LeaseChange::Revoked { id: 1 });
    assert_eq!(lessor.renew(at(10), 1), Renewal::Unknown);
    assert_eq!(lessor.deadline(), Time::NEVER);
}

#[test]
fn a_new_primary_gives_the_whole_time_and_some_more() {
    let mut lessor = primary(&[(1, 5)]);
    assert_eq!(lessor.expired(at(5), 10), [1]);
    lessor.demote();
    assert_eq!(lessor.expired(at(50), 10), []);
    let extend = Duration::from_secs(1);
    lessor.promote(at(60), Term(3), [Lease { id: 1, ttl: 5 }], extend);
    assert_eq!(lessor.term(), Some(Term(3)));
    assert_eq!(lessor.expired(at(65), 10), []);
    assert_eq!(lessor.expired(at(66), 10), [1]);
}

#[test]
fn many_at_once_come_in_portions_longest_waiting_first() {
    let mut lessor = primary(&[(1, 3), (2, 2), (3, 1), (4, 9)]);
    assert_eq!(lessor.by_remaining(), [3, 2, 1, 4]);
    assert_eq!(lessor.expired(at(5), 2), [3, 2]);
    assert_eq!(lessor.deadline(), at(3), "there is more to report");
    assert_eq!(lessor.expired(at(5), 2), [1]);
}

#[test]
fn a_life_beyond_the_end_of_the_clock_does_not_overflow() {
    let mut lessor = primary(&[(1, 9_000_000_000)]);
    lessor.observe(Time(u64::MAX - 5), LeaseChange::Granted(Lease { id: 2, ttl: i64::MAX }));
    lessor.observe(at(0), LeaseChange::Granted(Lease { id: 3, ttl: -1 }));
    assert_eq!(lessor.expired(at(0), 10), [3], "a time below zero is none");
}

#[derive(Clone, Debug)]
enum Step {
    Grant(i64, i64),
    Revoke(i64),
    Renew(i64),
    Wait(u64),
    Expire(usize),
    Promote,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..6i64, 1..9i64).prop_map(|(id, ttl)| Step::Grant(id, ttl)),
        (1..6i64).prop_map(Step::Revoke),
        (1..6i64).prop_map(Step::Renew),
        (1..4u64).prop_map(Step::Wait),
        (1..4usize).prop_map(Step::Expire),
        Just(Step::Promote),
    ]
}

proptest! {
    /// The model is a map of id to time to live, deadline, and the last report.
    #[test]
    fn random_use_matches_a_list_of_deadlines(steps in prop::collection::vec(step(), 1..80)) {
        let mut lessor = primary(&[]);
        let mut model: BTreeMap<i64, (i64, u64, Option<u64>)> = BTreeMap::new();
        let (mut now, mut term) = (0, 1);
        let retry = EXPIRY_RETRY.as_secs();
        for step in steps {
            match step {
                Step::Grant(id, ttl) => {
                    lessor.observe(at(now), LeaseChange::Granted(Lease { id, ttl }));
                    model.insert(id, (ttl, now + ttl.unsigned_abs(), None));
                }
                Step::Revoke(id) => {
                    lessor.observe(at(now), LeaseChange::Revoked { id });
                    model.remove(&id);
                }
                Step::Renew(id) => {
                    let expected = match model.get_mut(&id) {
                        None => Renewal::Unknown,
                        Some((_, deadline, _)) if *deadline <= now => Renewal::Expired,
                        Some((ttl, deadline, _)) => {
                            *deadline = now + ttl.unsigned_abs();
                            Renewal::Renewed(*ttl)
                        }
                    };
                    prop_assert_eq!(lessor.renew(at(now), id), expected);
                }
                Step::Wait(seconds) => now += seconds,
                Step::Expire(max) => {
                    let due = |&(_, deadline, reported): &(i64, u64, Option<u64>)| {
                        reported.map_or(deadline, |reported| reported + retry)
                    };
                    let mut expected: Vec<(u64, i64)> =
                        model.iter().map(|(&id, lease)| (due(lease), id)).collect();
                    expected.retain(|&(due, _)| due <= now);
                    expected.sort_unstable();
                    let expected: Vec<i64> =
                        expected.into_iter().take(max).map(|(_, id)| id).collect();
                    for id in &expected {
                        model.get_mut(id).unwrap().2 = Some(now);
                    }
                    prop_assert_eq!(lessor.expired(at(now), max), expected);
                    let next = model.values().map(due).min();
                    prop_assert_eq!(lessor.deadline(), next.map_or(Time::NEVER, at));
                }
                Step::Promote => {
                    term += 1;
                    let leases: Vec<Lease> =
                        model.iter().map(|(&id, &(ttl, ..))| Lease { id, ttl }).collect();
                    lessor.promote(at(now), Term(term), leases, Duration::from_secs(1));
                    for (ttl, deadline, reported) in model.values_mut() {
                        (*deadline, *reported) = (now + 1 + ttl.unsigned_abs(), None);
                    }
                }
            }
            for (&id, &(granted, deadline, _)) in &model {
                let left = Duration::from_secs(deadline.saturating_sub(now));
                prop_assert_eq!(lessor.remaining(at(now), id), Some(Remaining { left, granted }));
            }
        }
    }
}
