//! A cluster dies, and the store of the one member that is left begins anew. It may lack what others had
//! acknowledged, and whatever clients had seen of that, none of them is fooled.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use quorate_mvcc::mem::{MemEngine, all_rows};
use quorate_mvcc::watch::{Cancel, WatchCreateRequest, WatchLimits, WatchRing, WatchStream};
use quorate_mvcc::{
    Command, Error, Event, EventKind, KeyRange, KeyValue, MemberAttributes, RangeRequest,
    Refounding, Store,
};
use quorate_node::Machine;
use quorate_raft::EntryId;

use crate::{Between, apply, between, moved, new_member, random, refused};

fn everything() -> KeyRange {
    KeyRange::From(Bytes::new())
}

/// Begins anew in the next term, after the last entry.
fn refound(store: &mut Store, bump: i64) -> i64 {
    let applied = store.applied();
    let entry = EntryId::new(applied.term.0 + 1, applied.index.0 + 1);
    let how = Refounding { entry, membership: Bytes::from_static(b"one"), bump };
    let revision = store.refound(&how).expect("the engine works");
    assert_eq!((store.applied(), store.durable()), (entry, entry));
    assert_eq!(store.membership(), Some(Bytes::from_static(b"one")));
    revision
}

/// What a client holds: a copy of all keys, and the revision up to which it has followed them.
#[derive(Clone, Default)]
struct Client {
    keys: BTreeMap<Bytes, KeyValue>,
    seen: i64,
}

impl Client {
    fn take(&mut self, events: &[Event]) {
        for Event { kind, kv, .. } in events {
            assert!(kv.mod_revision > self.seen, "it has followed up to {}", self.seen);
            match kind {
                EventKind::Put => drop(self.keys.insert(kv.key.clone(), kv.clone())),
                EventKind::Delete => drop(self.keys.remove(&kv.key)),
            }
        }
        self.seen = events.last().map_or(self.seen, |event| event.kv.mod_revision);
    }

    /// Reads everything anew.
    fn read(&mut self, store: &Store) {
        let answer = store.read_state().range(&RangeRequest::new(everything())).expect("read");
        self.keys = answer.kvs.into_iter().map(|kv| (kv.key.clone(), kv)).collect();
        self.seen = answer.revision;
    }
}

/// A client that resumes where it had come to: what it is told until there is no more, or that it has to read
/// anew.
fn resume(client: &mut Client, ring: &WatchRing) -> Option<Cancel> {
    let limits =
        WatchLimits { fragment_bytes: 1 << 20, advance_bytes: 100, revision_bytes: 1 << 30 };
    let mut stream = WatchStream::new(limits);
    let (key, range_end) = everything().to_pair();
    let start_revision = client.seen + 1;
    let request = WatchCreateRequest { key, range_end, start_revision, ..Default::default() };
    let created = stream.create(request, ring.state().revision());
    assert!(created.created && created.cancel.is_none(), "{created:?}");
    loop {
        let advance = stream.advance(ring.recent(stream.position())).expect("the engine works");
        for response in advance.responses {
            if let Some(cancel) = response.cancel {
                return Some(cancel);
            }
            client.take(&response.events);
        }
        if !advance.more {
            return None;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_watcher_of_the_cluster_that_was_is_fooled(
        left in prop::collection::vec(random::command(), 1..25),
        lost in prop::collection::vec(random::command(), 0..25),
        new in prop::collection::vec(random::command(), 0..15),
        clients in prop::collection::vec(0..60i64, 1..6),
        spare in prop::sample::select(vec![2i64, 3, 1_000, 1_000_000_000]),
        slice in prop::option::of(1..5usize),
    ) {
        let (mut whole, mut store) = (new_member(), new_member());
        for command in left.iter().chain(&lost) {
            apply(&mut whole, command, true);
        }
        left.iter().for_each(|command| drop(apply(&mut store, command, true)));
        let (last, before) = (whole.read_state().revision(), store.read_state());
        let now = |store: &Store| store.read_state().range(&RangeRequest::new(everything()));
        let keys_before = now(&store).unwrap().kvs;

        let revision = refound(&mut store, last - before.revision() + spare);
        prop_assert!(revision > last + 1);
        while slice.is_some_and(|slice| store.compact_some(slice).unwrap()) {}
        let state = store.read_state();
        prop_assert_eq!((state.revision(), state.compacted()), (revision, revision));
        prop_assert_eq!(now(&store).unwrap().kvs, keys_before, "nothing but the revision has changed");
        prop_assert_eq!(state.leases(), before.leases());
        for lease in state.leases().unwrap() {
            prop_assert_eq!(state.lease_keys(lease.id), before.lease_keys(lease.id));
        }
        for old in (1..=last + 1).chain([revision - 1]) {
            let request = RangeRequest { revision: old, ..RangeRequest::new(everything()) };
            prop_assert_eq!(refused(state.range(&request)), Err(Error::Compacted), "{}", old);
            prop_assert_eq!(refused(state.history(old, 9)), Err(Error::Compacted), "{}", old);
            prop_assert_eq!(refused(state.hash_kv(old)), Err(Error::Compacted), "{}", old);
        }

        // Clients of the cluster that was come back, some at once and some when it has gone on.
        let mut ring = WatchRing::new(500, store.read_state());
        let mut held: Vec<Client> =
            clients.iter().map(|seen| Client { seen: 1 + seen % last, ..Client::default() }).collect();
        for at in 0..=new.len() {
            for client in held.iter_mut().skip(at).step_by(new.len() + 1) {
                let compact_revision = store.read_state().compacted();
                prop_assert!(compact_revision >= revision);
                prop_assert_eq!(resume(client, &ring), Some(Cancel::Compacted { compact_revision }));
                client.read(&store);
            }
            if let Some(command) = new.get(at) {
                apply(&mut store, command, true);
                ring.publish(store.take_events(), store.read_state());
            }
        }
        let keys: BTreeMap<Bytes, KeyValue> =
            now(&store).unwrap().kvs.into_iter().map(|kv| (kv.key.clone(), kv)).collect();
        for mut client in held {
            if client.seen <= last {
                client.read(&store);
            }
            // The new cluster may have compacted as well by now.
            if resume(&mut client, &ring).is_some() {
                prop_assert!(store.read_state().compacted() > revision);
                client.read(&store);
            }
            prop_assert_eq!(&client.keys, &keys);
        }
    }

    /// What follows from the commands alone follows from them here as well: fingerprint, hash and rows don't
    /// tell whether a store was moved, or how far its space is back. Others take what it holds as a snapshot,
    /// and a crash leaves it whole.
    #[test]
    fn a_store_begins_anew_alike_however_it_came_to_its_state(
        steps in prop::collection::vec((random::command(), between()), 0..40),
        members in prop::collection::vec((1..5u64, "[a-c]{1,3}"), 0..5),
        new in prop::collection::vec(random::command(), 0..10),
    ) {
        let (mut plain, mut varied) = (new_member(), new_member());
        for (command, between) in &steps {
            apply(&mut plain, command, true);
            apply(&mut varied, command, true);
            match *between {
                Between::Nothing | Between::Commit => {}
                Between::CommitAndRemove(slice) => drop(varied.compact_some(slice).unwrap()),
                Between::CommitAndMove(bytes_max) => varied = moved(&mut varied, bytes_max),
            }
        }
        for (id, name) in members {
            let command = Command::Member(MemberAttributes { id, name, client_urls: Vec::new() });
            apply(&mut plain, &command, true);
            apply(&mut varied, &command, true);
        }
        prop_assert_eq!(refound(&mut varied, 1_000), refound(&mut plain, 1_000));
        prop_assert!(plain.read_state().members().unwrap().is_empty());
        prop_assert_eq!(varied.fingerprint(), plain.fingerprint());
        prop_assert_eq!(varied.read_state().hash_kv(0), plain.read_state().hash_kv(0));

        // A snapshot is refused whose rows do not sum up to what its state says.
        let mut varied = moved(&mut varied, 100);
        for command in &new {
            prop_assert_eq!(apply(&mut varied, command, true), apply(&mut plain, command, true));
        }
        prop_assert_eq!(varied.fingerprint(), plain.fingerprint());
        for store in [&mut plain, &mut varied] {
            while store.compact_some(3).unwrap() {}
        }
        let rows = |store: Store| all_rows(&*store.into_engine()).unwrap();
        prop_assert_eq!(rows(varied), rows(plain));
    }
}

#[test]
fn after_a_crash_it_has_begun_anew_or_not() {
    let put = |value: &'static str| {
        let (key, value) = (Bytes::from("a"), Bytes::from(value));
        Command::Put(quorate_mvcc::PutRequest { key, value, ..Default::default() })
    };
    let reopened = |store: Store| {
        let engine: Box<dyn std::any::Any> = store.into_engine();
        let left = engine.downcast::<MemEngine>().expect("it is what was put in").crash();
        Store::open(Box::new(left)).expect("it opens")
    };
    let mut store = Store::open(Box::new(MemEngine::lazy(1_000))).expect("an empty engine");
    apply(&mut store, &put("1"), true);
    store.flush().expect("the engine works");
    apply(&mut store, &put("2"), true);
    refound(&mut store, 1_000);
    let fingerprint = store.fingerprint();
    let store = reopened(store);
    assert_eq!(store.read_state().revision(), 1_003, "what led there is durable with it");
    assert_eq!(store.fingerprint(), fingerprint);
    assert_eq!(store.membership(), Some(Bytes::from_static(b"one")));
}

#[test]
fn no_revision_is_refused_by_others_for_being_too_large() {
    let mut store = new_member();
    let entry = EntryId::new(2, 2);
    let how = |bump| Refounding { entry, membership: Bytes::from_static(b"one"), bump };
    let before = store.fingerprint();
    for bump in [i64::MIN, -1, 0, 1, (1 << 61) + 1, i64::MAX] {
        store.refound(&how(bump)).expect_err("too little, or too much");
        assert_eq!((store.fingerprint(), store.applied()), (before, EntryId::new(1, 1)));
    }
    assert_eq!(store.refound(&how((1 << 61) - 1)), Ok(1 << 61));
    moved(&mut store, 100);
}
