//! The checks of leases: a right recording passes all of them, and a recording that is wrong in one way is
//! rejected by one check and no other.

mod common;

use common::*;
use quorate_check::changes::Changes;
use quorate_check::lease::{
    LeaseHistory, Observation, Rules, Seen, check_together, limit, violations,
};
use quorate_mvcc::{Event, EventKind, KeyValue};

const SECOND: u64 = 1_000_000_000;

/// There, and nothing is left of its time.
const LATE: Seen = Seen::Alive { remaining: 0, granted: 10 };

fn at(call: u64, returned: u64, seen: Seen) -> Observation {
    let returned = Some(returned * SECOND);
    Observation { call: call * SECOND, returned, seen }
}

fn rules() -> Rules {
    Rules { tolerance: SECOND / 10, grace: 3 * SECOND, unsettled: Vec::new() }
}

/// Ten seconds, granted at 100 and kept alive at 105: gone not before 115 and not after 119.
fn lease() -> LeaseHistory {
    LeaseHistory {
        id: 7,
        ttl: 10,
        call: 100 * SECOND,
        returned: 101 * SECOND,
        observations: vec![
            at(105, 106, Seen::Renewed { ttl: 10 }),
            at(108, 109, Seen::Alive { remaining: 7, granted: 10 }),
            at(118, 119, LATE),
            at(118, 120, Seen::Gone),
        ],
    }
}

#[track_caller]
fn names(lease: &LeaseHistory, rules: &Rules) -> Vec<&'static str> {
    violations(lease, rules).iter().map(|violation| violation.property).collect()
}

#[track_caller]
fn only(check: &str, falsify: impl FnOnce(&mut LeaseHistory)) {
    let mut lease = lease();
    assert!(names(&lease, &rules()).is_empty(), "before anything is falsified");
    falsify(&mut lease);
    assert_eq!(names(&lease, &rules()), [check]);
}

#[test]
fn an_end_before_its_time_is_noticed() {
    only("lease_never_early", |lease| lease.observations[3] = at(111, 112, Seen::Gone));
    // The renewal counts from its call, and the tolerance is what the observer declares.
    let mut lease = lease();
    lease.observations[3] = at(111, 115, Seen::Gone);
    assert!(names(&lease, &rules()).is_empty());
    lease.observations[3].returned = Some(115 * SECOND - SECOND / 10);
    assert!(names(&lease, &rules()).is_empty());
    lease.observations[3].returned = Some(115 * SECOND - SECOND / 10 - 1);
    assert_eq!(names(&lease, &rules()), ["lease_never_early"]);
}

#[test]
fn a_lease_that_comes_back_is_noticed() {
    only("lease_never_early", |lease| lease.observations.push(at(102, 103, Seen::Gone)));
}

#[test]
fn who_revokes_a_lease_may_end_it_early() {
    let mut lease = lease();
    lease.observations[3] = at(111, 112, Seen::Gone);
    lease.observations.push(at(110, 111, Seen::Revoked));
    assert!(names(&lease, &rules()).is_empty());
    lease.observations[4].call = 113 * SECOND;
    assert_eq!(names(&lease, &rules()), ["lease_never_early"], "it was gone before");
}

#[test]
fn a_lease_that_does_not_end_is_noticed() {
    only("lease_expiry", |lease| lease.observations.push(at(120, 121, LATE)));
}

#[test]
fn a_renewal_of_unknown_outcome_and_an_election_give_time() {
    let mut late = lease();
    late.observations.push(at(121, 122, LATE));
    assert_eq!(names(&late, &rules()), ["lease_expiry"]);
    let elected = Rules { unsettled: vec![(109 * SECOND, 110 * SECOND)], ..rules() };
    assert!(names(&late, &elected).is_empty());
    late.observations.push(at(107, 108, Seen::MaybeRenewed));
    assert!(names(&late, &rules()).is_empty());
    late.observations[5] = at(107, 107, Seen::MaybeRenewed);
    assert_eq!(names(&late, &rules()), ["lease_expiry"], "that one is no help");
    late.observations[5].returned = None;
    assert!(names(&late, &rules()).is_empty(), "it may take effect at any time");
}

#[test]
fn what_comes_when_a_lease_is_overdue_excuses_nothing() {
    let mut late = lease();
    late.observations.push(at(151, 152, LATE));
    let elected = |from, to| Rules { unsettled: vec![(from * SECOND, to * SECOND)], ..rules() };
    assert_eq!(names(&late, &elected(150, 150)), ["lease_expiry"], "it was to be gone at 119");
    assert!(names(&late, &elected(119, 150)).is_empty(), "there may have been no leader since");
    late.observations.push(at(149, 150, Seen::MaybeRenewed));
    assert_eq!(names(&late, &rules()), ["lease_expiry"], "there was nothing to keep alive");
    let chain = Rules {
        unsettled: [150, 128, 137, 116].map(|at| (at * SECOND, at * SECOND)).into(),
        ..rules()
    };
    assert!(
        names(&late, &chain).is_empty(),
        "each comes before the time from the one before is over"
    );
    assert_eq!(limit(&late, &chain), Some(163 * SECOND));
    late.observations[5] = Observation { returned: None, ..at(130, 0, Seen::MaybeRenewed) };
    assert_eq!(limit(&late, &chain), None, "it may take effect at any time");
}

#[test]
fn more_than_was_granted_is_noticed() {
    only("lease_remaining", |lease| {
        lease.observations[1].seen = Seen::Alive { remaining: 11, granted: 10 };
    });
    only("lease_remaining", |lease| {
        lease.observations[1].seen = Seen::Alive { remaining: 7, granted: 20 };
    });
}

fn put(key: &str, revision: i64, lease: i64) -> Event {
    let (create_revision, mod_revision, version) = (revision, revision, 1);
    let (key, value) = (bytes(key), bytes("value"));
    let kv = KeyValue { key, create_revision, mod_revision, version, value, lease };
    Event { kind: EventKind::Put, kv, prev_kv: None }
}

fn delete(key: &str, revision: i64) -> Event {
    let kv = KeyValue { key: bytes(key), mod_revision: revision, ..KeyValue::default() };
    Event { kind: EventKind::Delete, kv, prev_kv: None }
}

/// Whether keys went together in these changes, of which the first revisions are those of clients.
fn together(events: &[Event], of_clients: i64) -> bool {
    let changes = Changes::new(events.iter().cloned()).expect("they follow from one another");
    check_together(&changes, |revision| revision <= of_clients).is_ok()
}

#[test]
fn keys_go_with_their_lease() {
    let puts = [put("a", 2, 7), put("b", 3, 7), put("c", 4, 8), put("d", 5, 0)];
    let with = |deleted: &[Event]| [&puts[..], deleted].concat();
    assert!(together(&with(&[delete("a", 6), delete("b", 6), delete("c", 7)]), 5));
    assert!(!together(&with(&[delete("a", 6)]), 5), "one stays");
    assert!(!together(&with(&[delete("a", 6), delete("b", 7)]), 5), "one after the other");
    assert!(!together(&with(&[delete("a", 6), delete("b", 6), delete("c", 6)]), 5), "one too many");
    assert!(!together(&with(&[delete("d", 6)]), 5), "it hangs on none");
    assert!(together(&with(&[delete("a", 6), delete("b", 7)]), 6), "a client deleted the first");
    assert!(
        !together(&with(&[delete("c", 6), put("c", 7, 8)]), 5),
        "a key can't hang itself on a lease that ended"
    );
}
