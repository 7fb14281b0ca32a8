//! The nine checks of watches: a right recording passes all of them, and a recording that is wrong in one
//! way is rejected by one check and no other.

mod common;

use common::*;
use quorate_check::changes::Changes;
use quorate_check::watch::{Watch, violations};
use quorate_mvcc::watch::{Cancel, WatchCreateRequest, WatchResponse};
use quorate_mvcc::{Event, EventKind, KeyValue};

fn put(key: &str, revision: i64, create_revision: i64, version: i64) -> Event {
    let value = bytes(&format!("{key}@{revision}"));
    let (key, mod_revision) = (bytes(key), revision);
    let kv = KeyValue { key, create_revision, mod_revision, version, value, lease: 0 };
    Event { kind: EventKind::Put, kv, prev_kv: None }
}

fn delete(key: &str, revision: i64) -> Event {
    let kv = KeyValue { key: bytes(key), mod_revision: revision, ..KeyValue::default() };
    Event { kind: EventKind::Delete, kv, prev_kv: None }
}

/// What happened: two keys below `k/`, which are watched, and one elsewhere, which is not.
fn changes() -> Changes {
    Changes::new([
        put("k/a", 2, 2, 1),
        put("k/b", 3, 3, 1),
        put("other", 4, 4, 1),
        put("k/a", 5, 2, 2),
        put("k/b", 5, 3, 2),
        delete("k/a", 6),
        put("k/a", 7, 7, 1),
        put("k/b", 8, 3, 3),
    ])
    .expect("they follow from one another")
}

fn progress(revision: i64) -> WatchResponse {
    WatchResponse { revision, ..WatchResponse::default() }
}

/// A right recording of a watch of `k/` from revision 3 on. It may only go wrong where the tests say so:
/// what is wrong about an event that came is no reason for a progress report to be wrong.
fn recording(changes: &Changes) -> Watch {
    let request = WatchCreateRequest {
        key: bytes("k/"),
        range_end: bytes("k0"),
        start_revision: 3,
        prev_kv: true,
        ..WatchCreateRequest::default()
    };
    let created = WatchResponse { revision: 8, created: true, ..WatchResponse::default() };
    let mut watch = Watch { request, responses: vec![created] };
    for revisions in [3..=4, 5..=6, 7..=8] {
        let events: Vec<Event> = changes
            .between(*revisions.start(), *revisions.end())
            .filter(|event| watch.wants(event))
            .map(|event| {
                let before = changes.at(&event.kv.key, event.kv.mod_revision - 1);
                Event { prev_kv: before.cloned(), ..event.clone() }
            })
            .collect();
        watch.responses.push(WatchResponse { revision: 8, events, ..WatchResponse::default() });
    }
    watch
}

/// The events of the recording are, by response: `b@3` | `a@5 b@5 a@6` | `a@7 b@8`.
#[track_caller]
fn only(check: &str, falsify: impl FnOnce(&mut Watch)) {
    let changes = changes();
    let mut watch = recording(&changes);
    assert_eq!(violations(&watch, &changes), [], "before anything is falsified");
    falsify(&mut watch);
    let violations = violations(&watch, &changes);
    let names: Vec<&str> = violations.iter().map(|violation| violation.property).collect();
    assert_eq!(names, [check], "{violations:#?}");
}

#[test]
fn a_right_recording_passes() {
    let changes = changes();
    let mut watch = recording(&changes);
    watch.responses.insert(2, progress(4));
    watch.responses.push(progress(8));
    watch.responses.push(WatchResponse {
        cancel: Some(Cancel::Asked),
        revision: 8,
        ..WatchResponse::default()
    });
    assert_eq!(violations(&watch, &changes), []);
}

#[test]
fn a_watch_from_now_on_begins_behind_its_creation() {
    let changes = changes();
    let mut watch = recording(&changes);
    watch.request.start_revision = 0;
    watch.responses[0].revision = 2;
    assert_eq!(violations(&watch, &changes), []);
    watch.responses[0].revision = 3;
    assert_eq!(violations(&watch, &changes)[0].property, "watch_filter");
}

#[test]
fn filter_notices_a_key_that_was_not_asked_for() {
    only("watch_filter", |watch| watch.responses[1].events.push(put("other", 4, 4, 1)));
}

#[test]
fn filter_notices_a_kind_that_was_not_asked_for() {
    only("watch_filter", |watch| watch.request.no_delete = true);
}

#[test]
fn filter_notices_an_event_before_the_beginning() {
    only("watch_filter", |watch| watch.responses[1].events.insert(0, put("k/a", 2, 2, 1)));
}

#[test]
fn ordered_notices_an_event_out_of_turn() {
    only("watch_ordered", |watch| watch.responses[2].events.swap(1, 2));
}

#[test]
fn unique_notices_an_event_that_comes_twice() {
    only("watch_unique", |watch| {
        let again = watch.responses[2].events[2].clone();
        watch.responses[2].events.push(again);
    });
}

#[test]
fn atomic_notices_a_revision_that_is_split() {
    let split = |watch: &mut Watch| {
        let rest = watch.responses[2].events.split_off(1);
        let second = WatchResponse { events: rest, ..watch.responses[2].clone() };
        watch.responses.insert(3, second);
    };
    only("watch_atomic", split);
    only("watch_atomic", |watch| {
        split(watch);
        watch.responses[2].fragment = true;
    });
    // Who asked for fragments gets them, and is told.
    let changes = changes();
    let mut watch = recording(&changes);
    split(&mut watch);
    watch.request.fragment = true;
    watch.responses[2].fragment = true;
    assert_eq!(violations(&watch, &changes), []);
}

#[test]
fn bookmarkable_notices_an_event_behind_its_report() {
    only("watch_bookmarkable", |watch| watch.responses.insert(2, progress(5)));
}

#[test]
fn bookmarkable_notices_an_event_that_was_not_sent_before_the_report() {
    only("watch_bookmarkable", |watch| {
        watch.responses[3].events.pop();
        watch.responses.push(progress(8));
    });
    only("watch_bookmarkable", |watch| {
        watch.responses.drain(1..);
        watch.responses.push(progress(3));
    });
}

#[test]
fn resumable_notices_a_beginning_that_is_cut_off() {
    only("watch_resumable", |watch| {
        watch.responses.remove(1);
    });
}

#[test]
fn is_create_notices_a_key_that_was_there_before() {
    only("watch_is_create", |watch| {
        let kv = &mut watch.responses[2].events[1].kv;
        (kv.create_revision, kv.version) = (5, 1);
    });
}

#[test]
fn is_create_notices_a_key_that_was_not() {
    only("watch_is_create", |watch| {
        let kv = &mut watch.responses[3].events[0].kv;
        (kv.create_revision, kv.version) = (2, 3);
    });
}

#[test]
fn reliable_notices_an_event_that_is_missing() {
    only("watch_reliable", |watch| {
        watch.responses[2].events.remove(1);
    });
}

#[test]
fn what_is_left_of_a_revision_may_be_lost_with_the_stream() {
    let cut = |watch: &mut Watch, is_fragment: bool| {
        watch.request.fragment = true;
        watch.responses.truncate(3);
        watch.responses[2].events.truncate(1);
        watch.responses[2].fragment = is_fragment;
    };
    let changes = changes();
    let mut watch = recording(&changes);
    cut(&mut watch, true);
    assert_eq!(violations(&watch, &changes), []);
    only("watch_reliable", |watch| cut(watch, false));
}

#[test]
fn reliable_notices_a_value_that_never_was() {
    only("watch_reliable", |watch| watch.responses[2].events[1].kv.value = bytes("a lie"));
}

#[test]
fn prev_kv_notices_another_state() {
    only("watch_prev_kv", |watch| {
        let before = watch.responses[2].events[1].prev_kv.as_mut().expect("it was there");
        before.value = bytes("a lie");
    });
    only("watch_prev_kv", |watch| watch.request.prev_kv = false);
}

#[test]
fn prev_kv_may_be_missing_only_if_it_was_compacted() {
    let forget = |watch: &mut Watch| watch.responses[2].events[1].prev_kv = None;
    only("watch_prev_kv", forget);
    let mut changes = changes();
    let mut watch = recording(&changes);
    forget(&mut watch);
    changes.compacted(5);
    assert_eq!(violations(&watch, &changes), []);
}
