//! A store through its machine: outcomes, reads, snapshots, crashes.

use bytes::Bytes;
use quorate_mvcc::mem::MemEngine;
use quorate_mvcc::{
    Command, DeleteRangeRequest, Error, KeyRange, PutRequest, RangeRequest, Response, Store,
};
use quorate_node::{Machine, Piece, RestoreError};
use quorate_raft::EntryId;

fn put(key: &str, value: &str) -> Command {
    Command::Put(PutRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        ..PutRequest::default()
    })
}

fn delete(key: &str) -> Command {
    let range = KeyRange::Point(Bytes::copy_from_slice(key.as_bytes()));
    Command::DeleteRange(DeleteRangeRequest { range, prev_kv: false })
}

fn everything() -> RangeRequest {
    RangeRequest::new(KeyRange::prefix(Bytes::new()))
}

fn new_store() -> Store {
    Store::open(Box::new(MemEngine::new())).expect("an empty engine opens")
}

/// Applies and commits commands, each as its own batch.
fn run(store: &mut Store, commands: &[Command]) {
    for command in commands {
        let entry = EntryId::new(1, store.applied().index.0 + 1);
        store.apply(entry, &command.encode()).expect("the engine works").result.expect("valid");
        store.commit(entry).expect("the engine works");
    }
}

fn pieces(store: &mut Store, bytes_max: usize) -> Vec<Piece> {
    let mut snapshot = store.snapshot().expect("a state freezes");
    let (mut pieces, mut cursor) = (Vec::new(), Bytes::new());
    loop {
        let read = snapshot.read(&cursor, bytes_max).expect("the cursor is good");
        let (first, end) = (pieces.is_empty(), read.next.is_none());
        pieces.push(Piece {
            last: snapshot.last(),
            membership: Bytes::from_static(b"members"),
            first,
            data: read.data,
            end,
        });
        match read.next {
            Some(next) => cursor = next,
            None => return pieces,
        }
    }
}

#[test]
fn readers_see_whole_batches() {
    let mut store = new_store();
    store.apply(EntryId::new(1, 1), &put("a", "1").encode()).unwrap();
    assert_eq!(store.read_state().revision(), 1);
    assert!(store.read_state().range(&everything()).unwrap().kvs.is_empty());
    store.apply(EntryId::new(1, 2), &put("b", "1").encode()).unwrap();
    store.commit(EntryId::new(1, 3)).unwrap();
    let state = store.read_state();
    assert_eq!((state.revision(), state.applied()), (3, EntryId::new(1, 3)));
    assert_eq!(state.range(&everything()).unwrap().count, 2);
    run(&mut store, &[delete("a")]);
    assert_eq!(state.range(&everything()).unwrap().count, 2, "a state that was taken stays");
    assert_eq!(store.read_state().range(&everything()).unwrap().count, 1);
}

#[test]
fn events_are_those_of_the_last_commit() {
    let mut store = new_store();
    run(&mut store, &[put("a", "1"), put("a", "2")]);
    let events = store.take_events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].revision, 3);
    let [event] = &events[0].events[..] else { panic!("one change is one event: {events:?}") };
    assert_eq!(event.prev_kv, None, "nothing is kept of what was before");
    assert!(store.take_events().is_empty());
    let history = store.read_state().history(3, 10).unwrap();
    let [told] = &history[0].events[..] else { panic!("one change is one event: {history:?}") };
    assert_eq!((history.len(), history[0].revision), (1, 3));
    assert_eq!((told.kind, &told.kv), (event.kind, &event.kv), "history tells the same");
    assert_eq!(told.prev_kv.as_ref().unwrap().value, "1", "and this it reads");
}

#[test]
fn bytes_that_are_no_command_change_nothing() {
    let mut store = new_store();
    let outcome = store.apply(EntryId::new(1, 1), &Bytes::from_static(b"\x01\x01\xff")).unwrap();
    assert_eq!((outcome.revision, outcome.result), (1, Err(Error::UnknownCommand)));
    let newer = store.apply(EntryId::new(1, 2), &Bytes::from_static(b"\x01\x7f"));
    newer.expect_err("a command of a newer version ends the member");
}

#[test]
fn a_crash_loses_whole_batches_and_the_log_brings_them_back() {
    let commands: Vec<Command> =
        (0..10).map(|number| put(["a", "b"][number % 2], &number.to_string())).collect();
    let mut twin = new_store();
    run(&mut twin, &commands);
    for crash_after in 0..=commands.len() {
        let mut store = Store::open(Box::new(MemEngine::lazy(3))).unwrap();
        run(&mut store, &commands[..crash_after]);
        let durable = usize::try_from(store.durable().index.0).unwrap();
        assert!(crash_after - durable < 4, "it makes itself durable now and then");

        let engine: Box<dyn std::any::Any> = store.into_engine();
        let left = engine.downcast::<MemEngine>().expect("it is what was put in").crash();
        let mut store = Store::open(Box::new(left)).unwrap();
        assert_eq!(usize::try_from(store.applied().index.0), Ok(durable));
        assert_eq!(store.read_state().revision(), store.applied().index.0.cast_signed() + 1);
        run(&mut store, &commands[durable..]);
        assert_eq!(store.read_state().hash_kv(0), twin.read_state().hash_kv(0));
    }
}

#[test]
fn a_snapshot_in_any_pieces_gives_the_same_store() {
    let mut store = new_store();
    run(&mut store, &[put("a", "1"), put("b", "2"), delete("a"), put("b", "3")]);
    run(&mut store, &[Command::LeaseGrant { id: 7, ttl: 10 }, Command::Compact { revision: 3 }]);
    for bytes_max in [1, 50, 1 << 20] {
        let mut copy = new_store();
        run(&mut copy, &[put("x", "gone")]);
        let pieces = pieces(&mut store, bytes_max);
        assert_eq!(pieces.len() == 1, bytes_max == 1 << 20);
        for piece in &pieces {
            copy.restore(piece).expect("each piece is good");
        }
        assert_eq!(copy.applied(), store.applied());
        assert_eq!(copy.durable(), store.applied());
        let (from, to) = (store.read_state(), copy.read_state());
        assert_eq!(to.hash_kv(0), from.hash_kv(0));
        assert_eq!(to.leases(), from.leases());
        assert_eq!(to.compacted(), 3);
        run(&mut copy, &[put("after", "1")]);
        assert_eq!(copy.read_state().revision(), from.revision() + 1);
    }
}

#[test]
fn a_snapshot_that_is_not_right_is_refused_and_the_state_stays() {
    let mut store = new_store();
    run(&mut store, &[put("a", "1"), put("b", "2"), put("c", "3"), delete("a")]);
    let pieces = pieces(&mut store, 30);
    assert!(pieces.len() >= 4);
    let refuse = |bad: &[Piece], why: &str| {
        let mut copy = new_store();
        run(&mut copy, &[put("mine", "1")]);
        let result: Result<(), RestoreError> = bad.iter().try_for_each(|piece| copy.restore(piece));
        assert!(matches!(result, Err(RestoreError::Rejected(_))), "{why}: {result:?}");
        assert_eq!(copy.read_state().range(&everything()).unwrap().kvs[0].key, "mine");
        for piece in &pieces {
            copy.restore(piece).expect("another transfer can begin");
        }
        assert_eq!(copy.read_state().hash_kv(0), store.read_state().hash_kv(0));
    };
    refuse(&pieces[1..], "no beginning");
    refuse(&[&pieces[..1], &pieces[2..]].concat(), "a piece is lost");
    refuse(&[&pieces[..2], &pieces[1..]].concat(), "a piece is repeated");
    let mut cut = pieces[..2].to_vec();
    cut[1].end = true;
    refuse(&cut, "the end is missing");
    let mut other = pieces.clone();
    other[1].last = EntryId::new(9, 9);
    refuse(&other, "a piece is of another snapshot");
    for at in 0..pieces[1].data.len() {
        let mut damaged = pieces.clone();
        let mut data = damaged[1].data.to_vec();
        data[at] ^= 0x10;
        damaged[1].data = data.into();
        refuse(&damaged, "a bit is flipped");
    }
}

#[test]
fn a_lease_expires_only_by_the_primary_of_the_present_term() {
    let mut store = new_store();
    run(&mut store, &[Command::LeaseGrant { id: 7, ttl: 10 }]);
    let expire = Command::LeaseExpire { id: 7, term: 1 }.encode();
    let outcome = store.apply(EntryId::new(2, 2), &expire).unwrap();
    assert_eq!(outcome.result, Ok(Response::LeaseExpire { revoked: false }));
    let expire = Command::LeaseExpire { id: 7, term: 2 }.encode();
    let outcome = store.apply(EntryId::new(2, 3), &expire).unwrap();
    assert_eq!(outcome.result, Ok(Response::LeaseExpire { revoked: true }));
    let outcome = store.apply(EntryId::new(2, 4), &expire).unwrap();
    assert_eq!(outcome.result, Ok(Response::LeaseExpire { revoked: false }));
}

#[test]
fn space_comes_back_in_idle_time() {
    let mut store = new_store();
    let commands: Vec<Command> = (0..1000).map(|number| put("k", &number.to_string())).collect();
    run(&mut store, &commands);
    run(&mut store, &[Command::Compact { revision: 1001 }]);
    assert_eq!(store.read_state().physically_compacted(), -1, "a commit does some of it only");
    let mut pieces = 1;
    while store.idle().unwrap() {
        pieces += 1;
    }
    assert!((5..20).contains(&pieces), "in {pieces} pieces");
    assert_eq!(store.read_state().physically_compacted(), 1001);
    assert_eq!(store.read_state().applied(), EntryId::new(1, 1001));
    assert!(!store.idle().unwrap(), "nothing is left to do");
}
