//! What a store holds goes out as etcd would hold it, and comes into another store as it was.

use bytes::Bytes;
use proptest::prelude::*;
use quorate_mvcc::auth::{PasswordHash, Permission, ROOT};
use quorate_mvcc::mem::MemEngine;
use quorate_mvcc::revision::Revision;
use quorate_mvcc::{
    Auth, Beginning, Command, DeleteRangeRequest, Import, ImportError, Imported, KeyRange,
    KeyValue, Lease, PutRequest, RangeRequest, ReadState, Record, Store,
};
use quorate_node::Machine as _;
use quorate_raft::{EntryId, Index, Membership, NodeId, Term};

fn entry(index: u64) -> EntryId {
    EntryId { term: Term(1), index: Index(index) }
}

fn beginning(compacted: i64, bump: i64) -> Beginning {
    let membership = Membership::of_voters([NodeId(1), NodeId(2)]).encode().into();
    Beginning { entry: entry(1), membership, compacted, bump }
}

fn key(number: u8) -> Bytes {
    Bytes::from(format!("key{number}"))
}

fn put(key: Bytes, value: &[u8], lease: i64) -> Command {
    let value = Bytes::copy_from_slice(value);
    Command::Put(PutRequest { key, value, lease, ..PutRequest::default() })
}

fn delete(range: KeyRange) -> Command {
    Command::DeleteRange(DeleteRangeRequest { range, prev_kv: false })
}

/// A store in which these commands were carried out, or refused.
fn store(commands: &[Command]) -> Store {
    let mut store = Store::open(Box::new(MemEngine::new())).expect("an empty one");
    for (command, index) in commands.iter().zip(1..) {
        store.apply(entry(index), &command.encode()).expect("the engine is in memory");
        store.commit(entry(index)).expect("the engine is in memory");
    }
    store
}

/// A store of what another one gives out.
fn copy(state: &ReadState, bump: i64) -> (Store, Imported) {
    let mut import = Import::begin(Box::new(MemEngine::new()));
    for record in state.records() {
        import.change(&record.expect("read")).expect("it was one");
    }
    for lease in state.leases().expect("read") {
        import.lease(lease).expect("it was one");
    }
    import.finish(state.auth(), &beginning(state.compacted(), bump)).expect("finished")
}

fn commands() -> impl Strategy<Value = Vec<Command>> {
    let one = prop_oneof![
        6 => (0_u8..6, any::<u8>(), 0_i64..3).prop_map(|(it, value, lease)| put(key(it), &[value], lease)),
        2 => (0_u8..6).prop_map(|it| delete(KeyRange::Point(key(it)))),
        1 => (0_u8..6).prop_map(|it| delete(KeyRange::From(key(it)))),
        1 => (1_i64..3).prop_map(|id| Command::LeaseGrant { id, ttl: 60 + id }),
        1 => (1_i64..3).prop_map(|id| Command::LeaseRevoke { id }),
        1 => (1_i64..30).prop_map(|revision| Command::Compact { revision }),
    ];
    prop::collection::vec(one, 0..60)
}

fn everything(revision: i64) -> RangeRequest {
    RangeRequest { revision, ..RangeRequest::new(KeyRange::From(Bytes::from_static(b"\0"))) }
}

proptest! {
    #[test]
    fn a_copy_answers_as_what_it_was_made_of(commands in commands(), more in commands()) {
        let mut store = store(&commands);
        let state = store.read_state();
        let (mut copy, imported) = copy(&state, 0);
        let copied = copy.read_state();
        prop_assert_eq!(imported.revision, state.revision());
        prop_assert_eq!((copied.revision(), copied.compacted()), (state.revision(), state.compacted()));
        prop_assert_eq!(copied.applied(), entry(1));
        prop_assert_eq!(copied.leases(), state.leases());
        for id in 1..3 {
            prop_assert_eq!(copied.lease_keys(id), state.lease_keys(id));
        }
        for revision in 0..=state.revision() {
            prop_assert_eq!(copied.range(&everything(revision)), state.range(&everything(revision)));
            prop_assert_eq!(copied.history(revision, 1000), state.history(revision, 1000));
            prop_assert_eq!(copied.hash_kv(revision), state.hash_kv(revision));
        }
        // It goes on in the same way.
        for (command, index) in more.iter().zip(1000..) {
            let outcomes = [&mut store, &mut copy].map(|store| {
                let outcome = store.apply(entry(index), &command.encode()).expect("in memory");
                store.commit(entry(index)).expect("in memory");
                outcome
            });
            prop_assert_eq!(&outcomes[0], &outcomes[1], "{:?}", command);
        }
        let (state, copied) = (store.read_state(), copy.read_state());
        prop_assert_eq!(copied.range(&everything(0)), state.range(&everything(0)));
    }

    /// Another member may be further with the removal of what was compacted.
    #[test]
    fn what_goes_out_depends_on_no_removal(commands in commands()) {
        let mut store = store(&commands);
        let records = |store: &Store| store.read_state().records().collect::<Vec<_>>();
        let before = records(&store);
        while store.compact_some(1).expect("in memory") {
            prop_assert_eq!(&records(&store), &before);
        }
        prop_assert_eq!(&records(&store), &before);
    }

    /// Members that import the same can compare what they have, and find it whole.
    #[test]
    fn all_members_come_to_the_same(commands in commands()) {
        let state = store(&commands).read_state();
        let (mut one, _) = copy(&state, 10);
        let (two, _) = copy(&state, 10);
        prop_assert_eq!(one.fingerprint(), two.fingerprint());
        prop_assert_eq!(one.read_state().range(&everything(0)), state.range(&everything(0)).map(|mut it| {
            it.revision += 10;
            it
        }));
        // The sum of what lives is held against the rows as a snapshot is received.
        let mut snapshot = one.snapshot().expect("whole");
        let mut other = Store::open(Box::new(MemEngine::new())).expect("an empty one");
        let all = snapshot.read(&[], usize::MAX).expect("in memory");
        prop_assert!(all.next.is_none());
        let membership = one.membership().expect("it has one");
        other.restore(&quorate_node::Piece {
            last: snapshot.last(),
            membership,
            data: all.data,
            first: true,
            end: true,
        }).expect("it is right");
        prop_assert_eq!(other.fingerprint(), one.fingerprint());
    }
}

#[test]
fn the_revision_moves_and_watchers_are_told() {
    let state = store(&[put(key(1), b"a", 0), put(key(1), b"b", 0)]).read_state();
    let (copy, imported) = copy(&state, 1000);
    let expected = Imported { revision: 1003, compacted: 1003, changes: 2, leases: 0 };
    assert_eq!(imported, expected);
    let copied = copy.read_state();
    assert!(copied.history(3, 10).is_err(), "it was compacted");
    assert_eq!(copied.range(&everything(0)).expect("read").kvs.len(), 1);
    assert_eq!(copy.membership(), Some(beginning(0, 0).membership));
}

#[test]
fn users_and_roles_come_along() {
    let mut auth = Auth::founded(7).expect("a revision");
    let all = KeyRange::From(Bytes::from_static(b"a"));
    auth.found_role("reader", [(all.clone(), Permission::Read)]).expect("new");
    assert!(auth.found_enabled().is_err(), "there is no root");
    let hash = PasswordHash(Bytes::from_static(b"$2a$04$hash"));
    auth.found_user(ROOT, Some(hash.clone()), [ROOT.to_owned()]).expect("new");
    auth.found_user("joe", None, ["reader".to_owned()]).expect("new");
    assert!(auth.found_user("joe", None, []).is_err(), "he is there already");
    assert!(auth.found_user("", None, []).is_err() && auth.found_role("", []).is_err());
    auth.found_enabled().expect("there is a root now");
    let import = Import::begin(Box::new(MemEngine::new()));
    let (store, _) = import.finish(&auth, &beginning(-1, 0)).expect("finished");
    let state = store.read_state();
    assert_eq!(state.auth(), &auth);
    let reopened = Store::open(store.into_engine()).expect("it is whole");
    assert_eq!(reopened.read_state().auth(), &auth);
    let found = reopened.read_state();
    let found = found.auth();
    assert!(found.is_enabled() && found.revision() == 7 && !found.stays("joe", 6));
    assert_eq!(found.user(ROOT).and_then(|user| user.password.clone()), Some(hash));
    let role = found.role("reader").expect("it came along");
    assert!(role.permissions().eq([(all, Permission::Read)]));
}

#[test]
fn what_can_not_be_is_refused() {
    let record =
        |main, sub, kv: KeyValue| Record { revision: Revision { main, sub }, deletion: false, kv };
    let kv = |main| KeyValue {
        key: key(1),
        create_revision: main,
        mod_revision: main,
        version: 1,
        ..KeyValue::default()
    };
    let begin = || Import::begin(Box::new(MemEngine::new()));
    let refused = |record: &Record| {
        let mut import = begin();
        import.change(&self::record(5, kv(5))).expect("sound");
        let refused = import.change(record);
        assert!(matches!(refused, Err(ImportError::Refused(_))), "{record:?}");
    };
    refused(&record(5, 0, kv(5)));
    refused(&record(4, 0, kv(4)));
    refused(&record(6, 0, kv(7)));
    refused(&record(6, 0, KeyValue { create_revision: 7, ..kv(6) }));
    refused(&record(6, 0, KeyValue { create_revision: 0, ..kv(6) }));
    refused(&record(6, 0, KeyValue { version: 0, ..kv(6) }));
    refused(&record(6, 0, KeyValue { version: i64::MAX, ..kv(6) }));
    refused(&record(6, 0, KeyValue { key: Bytes::new(), ..kv(6) }));
    refused(&record(6, 0, KeyValue { key: vec![0; 40_000].into(), ..kv(6) }));

    let deletion = Record { deletion: true, ..record(0, 0, kv(0)) };
    for record in
        [deletion, Record { revision: Revision { main: 0, sub: 1 }, ..record(1, 0, kv(1)) }]
    {
        let refused = begin().change(&record);
        assert!(matches!(refused, Err(ImportError::Refused(_))), "{record:?}");
    }

    for (id, ttl) in [(0, 5), (7, 0), (7, -5), (7, i64::MAX)] {
        assert!(begin().lease(Lease { id, ttl }).is_err(), "{id} {ttl}");
    }
    let mut import = begin();
    import.lease(Lease { id: -7, ttl: 5 }).expect("an id may be anything");
    assert!(import.lease(Lease { id: -7, ttl: 6 }).is_err(), "twice");

    for bump in [-1, i64::MAX] {
        let refused = begin().finish(&Auth::default(), &beginning(-1, bump));
        assert!(matches!(refused, Err(ImportError::Refused(_))), "{bump}");
    }
    assert!(Auth::founded(0).is_err() && Auth::founded(u64::MAX).is_err());
}

fn record(main: i64, kv: KeyValue) -> Record {
    Record { revision: Revision { main, sub: 0 }, deletion: false, kv }
}
