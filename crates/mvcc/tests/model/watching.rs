//! Watches against the model: whatever the size of the ring, the moments of advancing, compactions
//! and the state's moves, each watcher gets exactly its events.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use quorate_mvcc::watch::{
    Cancel, NO_WATCHER, WatchCreateRequest, WatchLimits, WatchResponse, WatchRing, WatchStream,
};
use quorate_mvcc::{Command, Event, EventKind, KeyRange};

use crate::model::Model;
use crate::{apply, moved, new_member, random, reads};

#[derive(Clone, Debug)]
enum Step {
    Apply(Command),
    Watch { range: KeyRange, start: i64, flags: [bool; 5] },
    Cancel(i64),
    Advance,
    Progress,
    Tick,
    Remove,
    Move,
}

fn step() -> impl Strategy<Value = Step> {
    let watch = (random::range(), prop_oneof![Just(0i64), 1..30i64], any::<[bool; 5]>());
    prop_oneof![
        10 => random::command().prop_map(Step::Apply),
        3 => watch.prop_map(|(range, start, flags)| Step::Watch { range, start, flags }),
        1 => (0..5i64).prop_map(Step::Cancel),
        4 => Just(Step::Advance),
        2 => Just(Step::Progress),
        2 => Just(Step::Tick),
        1 => Just(Step::Remove),
        1 => Just(Step::Move),
    ]
}

/// A client that believes nothing.
#[derive(Default)]
struct Client {
    watchers: BTreeMap<i64, Watching>,
}

struct Watching {
    range: KeyRange,
    no_put: bool,
    no_delete: bool,
    prev_kv: bool,
    /// The next revision to come.
    next: i64,
    /// Events of a response that goes on.
    begun: Vec<Event>,
}

impl Client {
    /// Takes a response and compares it with what the model has for its watcher.
    fn take(&mut self, response: WatchResponse, model: &Model) {
        let WatchResponse { revision, watch_id, created, cancel, fragment, events } = response;
        assert!(!created, "answers to wishes are not sent by themselves");
        if let Some(cancel) = cancel {
            let compact_revision = model.compacted;
            assert_eq!(cancel, Cancel::Compacted { compact_revision });
            assert_eq!(revision, 0);
            let watching = self.watchers.remove(&watch_id).expect("it was created");
            assert!(watching.next < model.compacted, "what it wants next is there");
            return;
        }
        if events.is_empty() {
            let told: Vec<&mut Watching> = match watch_id {
                NO_WATCHER => self.watchers.values_mut().collect(),
                id => vec![self.watchers.get_mut(&id).expect("it was created")],
            };
            for watching in told {
                let missed = watching.expected(model, revision);
                assert!(missed.is_empty(), "progress {revision} promises {missed:?}");
                watching.next = watching.next.max(revision + 1);
            }
            return;
        }
        let watching = self.watchers.get_mut(&watch_id).expect("it was created");
        watching.begun.extend(events);
        if fragment {
            return;
        }
        let events = std::mem::take(&mut watching.begun);
        let through = events.last().expect("there are events").kv.mod_revision;
        assert!(revision >= through, "the header is not older than its events");
        let mut expected = watching.expected(model, through);
        for event in &mut expected {
            // What was before is compacted, whether its space is back or not.
            event.prev_kv.take_if(|_| event.kv.mod_revision <= model.compacted);
        }
        assert_eq!(events, expected, "all of each revision, each once, in order");
        watching.next = through + 1;
    }
}

impl Watching {
    /// The events from `next` through a revision.
    fn expected(&self, model: &Model, through: i64) -> Vec<Event> {
        let all = model.events.iter().flatten();
        let wanted = all.filter(|event| {
            let dropped = match event.kind {
                EventKind::Put => self.no_put,
                EventKind::Delete => self.no_delete,
            };
            let revision = event.kv.mod_revision;
            !dropped
                && self.range.contains(&event.kv.key)
                && (self.next..=through).contains(&revision)
        });
        let strip = |event: &Event| Event {
            prev_kv: event.prev_kv.clone().filter(|_| self.prev_kv),
            ..event.clone()
        };
        wanted.map(strip).collect()
    }
}

/// Goes on, and sees to it that the engine is read only where that was said before.
fn advance(stream: &mut WatchStream, ring: &WatchRing, client: &mut Client, model: &Model) -> bool {
    let recent = ring.recent(stream.position());
    let expected = stream.reads_disk(&recent);
    let reads_before = reads::count();
    let advance = stream.advance(recent).expect("the engine works");
    assert!(expected || reads::count() == reads_before, "it reads without notice");
    for response in advance.responses {
        client.take(response, model);
    }
    advance.more
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn each_watcher_gets_exactly_its_events(
        steps in prop::collection::vec(step(), 1..80),
        ring_bytes in prop::sample::select(vec![0usize, 500, 2_000, 100_000]),
        advance_bytes in prop::sample::select(vec![1usize, 100, 10_000]),
        fragment_bytes in prop::sample::select(vec![30usize, 10_000]),
    ) {
        let (mut store, mut model) = (new_member(), Model::new());
        let mut ring = WatchRing::new(ring_bytes, store.read_state());
        let mut stream = WatchStream::new(WatchLimits { fragment_bytes, advance_bytes, revision_bytes: 1 << 30 });
        let mut client = Client::default();
        for step in steps {
            match step {
                Step::Apply(command) => {
                    let outcome = apply(&mut store, &command, true);
                    prop_assert_eq!(outcome.result, model.apply(&command));
                    ring.publish(store.take_events(), store.read_state());
                }
                Step::Watch { range, start, flags } => {
                    let [progress_notify, no_put, no_delete, prev_kv, fragment] = flags;
                    let (no_put, no_delete) = (no_put && no_delete, no_delete && !no_put);
                    let (key, range_end) = range.to_pair();
                    let request = WatchCreateRequest {
                        key, range_end, start_revision: start, progress_notify,
                        no_put, no_delete, prev_kv, watch_id: 0, fragment,
                    };
                    let response = stream.create(request, ring.state().revision());
                    prop_assert!(response.created);
                    if range.is_empty() {
                        prop_assert_eq!(response.watch_id, NO_WATCHER);
                        continue;
                    }
                    let next = if start == 0 { model.revision() + 1 } else { start };
                    let watching =
                        Watching { range, no_put, no_delete, prev_kv, next, begun: Vec::new() };
                    prop_assert!(client.watchers.insert(response.watch_id, watching).is_none());
                }
                Step::Cancel(id) => {
                    let known = client.watchers.remove(&id).is_some();
                    let answer = stream.cancel(id, ring.state().revision());
                    prop_assert_eq!(answer.is_some(), known);
                }
                Step::Advance => drop(advance(&mut stream, &ring, &mut client, &model)),
                Step::Progress => stream.request_progress(),
                Step::Tick => stream.tick().into_iter().for_each(|told| client.take(told, &model)),
                Step::Remove => {
                    store.compact_some(2).unwrap();
                    ring.publish(Vec::new(), store.read_state());
                }
                Step::Move => {
                    store = moved(&mut store, 100);
                    ring.publish(Vec::new(), store.read_state());
                }
            }
        }
        let mut advances = 0;
        while advance(&mut stream, &ring, &mut client, &model) {
            advances += 1;
            prop_assert!(advances < 1000, "it ends");
        }
        prop_assert_eq!(stream.len(), client.watchers.len());
        for (id, watching) in &client.watchers {
            let missed = watching.expected(&model, model.revision());
            prop_assert!(missed.is_empty(), "watcher {} missed {:?}", id, missed);
            prop_assert!(watching.begun.is_empty());
        }
    }
}

/// Ten thousand watchers of one stream: those of a key are found without asking the others.
#[test]
fn many_watchers_of_one_stream() {
    let mut store = new_member();
    let mut ring = WatchRing::new(1 << 20, store.read_state());
    let limits =
        WatchLimits { fragment_bytes: 1 << 20, advance_bytes: 1 << 20, revision_bytes: 1 << 30 };
    let mut stream = WatchStream::new(limits);
    for number in 0..10_000 {
        let key = Bytes::from(format!("{number:05}"));
        let range_end = KeyRange::prefix(key.clone()).to_pair().1;
        let range_end = if number % 2 == 0 { Bytes::new() } else { range_end };
        let request = WatchCreateRequest { key, range_end, ..WatchCreateRequest::default() };
        assert_eq!(stream.create(request, 1).watch_id, number);
    }
    for number in [0, 17, 9_998, 9_999] {
        let (key, value) = (Bytes::from(format!("{number:05}")), Bytes::new());
        let put = quorate_mvcc::PutRequest { key, value, ..Default::default() };
        apply(&mut store, &Command::Put(put), true);
        ring.publish(store.take_events(), store.read_state());
        let advance = stream.advance(ring.recent(stream.position())).unwrap();
        let ids: Vec<i64> = advance.responses.iter().map(|response| response.watch_id).collect();
        assert_eq!(ids, [number]);
    }
}

/// Events that nobody gave to the ring are found in the history.
#[test]
fn a_ring_that_missed_a_commit_begins_anew() {
    let put = |value: &'static str| {
        let (key, value) = (Bytes::from("a"), Bytes::from(value));
        Command::Put(quorate_mvcc::PutRequest { key, value, ..Default::default() })
    };
    let mut store = new_member();
    let mut ring = WatchRing::new(1 << 20, store.read_state());
    let limits =
        WatchLimits { fragment_bytes: 1 << 20, advance_bytes: 1 << 20, revision_bytes: 1 << 30 };
    let mut stream = WatchStream::new(limits);
    let request = WatchCreateRequest { key: Bytes::from("a"), ..WatchCreateRequest::default() };
    stream.create(request, ring.state().revision());
    for (value, published) in [("1", true), ("2", false), ("3", true)] {
        apply(&mut store, &put(value), true);
        if published {
            ring.publish(store.take_events(), store.read_state());
        }
    }
    let advance = stream.advance(ring.recent(stream.position())).unwrap();
    let events = advance.responses.iter().flat_map(|response| &response.events);
    let values: Vec<&Bytes> = events.map(|event| &event.kv.value).collect();
    assert_eq!(values, ["1", "2", "3"]);
}
