//! Random requests against a naive model: answers, histories, watches; and the same commands on
//! several stores, which must stay the same.

mod model;
mod random;
mod reads;
mod refounding;
mod watching;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use model::Model;
use proptest::prelude::*;
use quorate_mvcc::engine::Table;
use quorate_mvcc::fingerprint::LiveRows;
use quorate_mvcc::mem::{MemEngine, all_rows};
use quorate_mvcc::{Command, KeyRange, Outcome, RangeRequest, ReadError, Store};
use quorate_node::{Machine, Piece};
use quorate_raft::EntryId;

fn new_store() -> Store {
    let engine = reads::Counting(MemEngine::new());
    Store::open(Box::new(engine)).expect("an empty engine opens")
}

/// A store of a group that has told who belongs to it.
fn new_member() -> Store {
    let mut store = new_store();
    let first = EntryId::new(1, 1);
    store.set_membership(first, &Bytes::from_static(b"members")).expect("the engine works");
    store.commit(first).expect("the engine works");
    store
}

/// Applies a command; `commit` ends the batch.
fn apply(store: &mut Store, command: &Command, commit: bool) -> Outcome {
    let entry = EntryId::new(1, store.applied().index.0 + 1);
    let outcome = store.apply(entry, &command.encode()).expect("the engine works");
    if commit {
        store.commit(entry).expect("the engine works");
    }
    outcome
}

/// The store as another member gets it.
fn moved(store: &mut Store, bytes_max: usize) -> Store {
    let mut snapshot = store.snapshot().expect("a state freezes");
    let (mut copy, mut cursor, mut first) = (new_store(), Bytes::new(), true);
    loop {
        let read = snapshot.read(&cursor, bytes_max).expect("the cursor is good");
        let end = read.next.is_none();
        let piece = Piece {
            last: snapshot.last(),
            membership: store.membership().expect("it has one"),
            first,
            data: read.data,
            end,
        };
        copy.restore(&piece).expect("the piece is good");
        match read.next {
            Some(next) => (cursor, first) = (next, false),
            None => return copy,
        }
    }
}

/// What happens between two commands.
#[derive(Clone, Copy, Debug)]
enum Between {
    Nothing,
    Commit,
    CommitAndRemove(usize),
    CommitAndMove(usize),
}

fn between() -> impl Strategy<Value = Between> {
    prop_oneof![
        2 => Just(Between::Nothing),
        4 => Just(Between::Commit),
        1 => (1..5usize).prop_map(Between::CommitAndRemove),
        1 => (1..200usize).prop_map(Between::CommitAndMove),
    ]
}

fn refused<T>(result: Result<T, ReadError>) -> Result<T, quorate_mvcc::Error> {
    result.map_err(|error| match error {
        ReadError::Refused(error) => error,
        ReadError::Engine(error) => panic!("the engine works: {error}"),
    })
}

fn check_reads(store: &Store, model: &Model, requests: &[RangeRequest]) {
    let state = store.read_state();
    assert_eq!((state.revision(), state.compacted()), (model.revision(), model.compacted));
    for request in requests {
        assert_eq!(refused(state.range(request)), model.range(request), "{request:?}");
    }
    let leases: Vec<(i64, i64)> =
        state.leases().unwrap().iter().map(|lease| (lease.id, lease.ttl)).collect();
    assert_eq!(leases, Vec::from_iter(model.leases.clone()));
    for &id in model.leases.keys() {
        assert_eq!(state.lease_keys(id).unwrap(), model.lease_keys(id));
    }
    let alarms = state.alarms().iter().map(|it| ((it.kind, it.member), it.clears_below));
    assert_eq!(alarms.collect::<BTreeMap<_, _>>(), model.alarms);
}

/// The history that is left is that of the model, but for the keys as they were before, which
/// compaction may have taken.
fn check_history(store: &Store, model: &Model) {
    let state = store.read_state();
    let from = model.compacted + 1;
    let history = state.history(from.max(0), usize::MAX).unwrap();
    let expected = model.events.iter().skip(from.max(1) as usize - 1).filter(|of| !of.is_empty());
    assert!(history.iter().map(|of| &of.events[..]).eq(expected.map(Vec::as_slice)));
    for of in history {
        assert!(of.events.iter().all(|event| event.kv.mod_revision == of.revision));
    }
}

/// A batch that comes back to what a store begins with leaves the rows of one that has two commits.
#[test]
fn a_batch_that_comes_back_to_the_beginning_leaves_its_rows() {
    let commands = [Command::LeaseGrant { id: 1, ttl: 1 }, Command::LeaseRevoke { id: 1 }];
    let rows = [true, false].map(|commit_between| {
        let mut store = new_member();
        apply(&mut store, &commands[0], commit_between);
        apply(&mut store, &commands[1], true);
        all_rows(&*store.into_engine()).unwrap()
    });
    assert_eq!(rows[0], rows[1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn answers_are_those_of_the_model(
        steps in prop::collection::vec((random::command(), between()), 1..40),
        requests in prop::collection::vec(random::range_request(), 1..8),
    ) {
        let (mut store, mut model) = (new_member(), Model::new());
        for (command, between) in steps {
            let outcome = apply(&mut store, &command, !matches!(between, Between::Nothing));
            let expected = model.apply(&command);
            prop_assert_eq!(outcome.result, expected, "{:?}", command);
            prop_assert_eq!(outcome.revision, model.revision());
            match between {
                Between::Nothing => continue,
                Between::Commit => {}
                Between::CommitAndRemove(slice) => drop(store.compact_some(slice).unwrap()),
                Between::CommitAndMove(bytes_max) => store = moved(&mut store, bytes_max),
            }
            check_reads(&store, &model, &requests);
            check_history(&store, &model);
        }
    }

    /// However batches end, space is taken back and state is moved: the same commands give the same
    /// answers, the same hash, and, when all space is back, the same rows.
    #[test]
    fn the_same_commands_give_the_same_state(
        steps in prop::collection::vec((random::command(), between()), 1..60),
    ) {
        let (mut plain, mut varied) = (new_member(), new_member());
        for (command, between) in &steps {
            let outcome = apply(&mut plain, command, true);
            let commit = !matches!(between, Between::Nothing);
            prop_assert_eq!(apply(&mut varied, command, commit), outcome);
            prop_assert_eq!(varied.fingerprint(), plain.fingerprint());
            match *between {
                Between::Nothing | Between::Commit => {}
                Between::CommitAndRemove(slice) => drop(varied.compact_some(slice).unwrap()),
                Between::CommitAndMove(bytes_max) => varied = moved(&mut varied, bytes_max),
            }
        }
        let through = varied.applied();
        varied.commit(through).unwrap();
        prop_assert_eq!(varied.read_state().hash_kv(0), plain.read_state().hash_kv(0));
        for store in [&mut plain, &mut varied] {
            while store.compact_some(3).unwrap() {}
        }
        let rows = |store: Store| all_rows(&*store.into_engine()).unwrap();
        prop_assert_eq!(rows(varied), rows(plain));
    }

    /// A command that is larger than memory should hold is committed in instalments. Whichever of
    /// them a crash leaves, the store is at the end of a command before, with exactly the rows of
    /// that time, and the log brings the rest.
    #[test]
    fn a_crash_within_a_command_leaves_none_of_it(
        commands in prop::collection::vec(random::command(), 1..30),
        uncommitted in 1..4usize,
        commits_between in 0..12u32,
        instalment_bytes in prop::sample::select(vec![1usize, 100]),
    ) {
        let store_of = |engine: MemEngine| {
            Store::open(Box::new(engine)).unwrap().with_instalments(instalment_bytes)
        };
        // How far the space of compactions is back depends on where batches end.
        let rows_of = |mut store: Store| {
            while store.compact_some(3).unwrap() {}
            all_rows(&*store.into_engine()).unwrap()
        };
        let committed = commands.len().saturating_sub(uncommitted);
        let mut store = store_of(MemEngine::lazy(commits_between));
        let outcomes: Vec<Outcome> = (0..)
            .zip(&commands)
            .map(|(number, command)| apply(&mut store, command, number < committed))
            .collect();

        let engine: Box<dyn std::any::Any> = store.into_engine();
        let left = engine.downcast::<MemEngine>().expect("it is what was put in");
        let mut store = store_of(left.crash());
        let durable = usize::try_from(store.applied().index.0).unwrap();
        prop_assert!(durable < commands.len(), "the last command was not committed");
        let mut plain = new_store();
        commands[..durable].iter().for_each(|command| drop(apply(&mut plain, command, true)));
        prop_assert_eq!(store.fingerprint(), plain.fingerprint());
        prop_assert_eq!(rows_of(store_of(left.crash())), rows_of(plain));

        for (command, outcome) in commands.iter().zip(outcomes).skip(durable) {
            prop_assert_eq!(apply(&mut store, command, true), outcome);
        }
        let mut plain = new_store();
        commands.iter().for_each(|command| drop(apply(&mut plain, command, true)));
        prop_assert_eq!(store.fingerprint(), plain.fingerprint());
        prop_assert_eq!(rows_of(store), rows_of(plain));
    }

    /// The fingerprint changes exactly when the state does, and never comes back to what it was for
    /// another state. What of the rows is kept in sums, and how much they take, is what the rows sum up to.
    #[test]
    fn another_state_has_another_fingerprint(
        steps in prop::collection::vec((random::command(), 0..4usize), 1..40),
    ) {
        let mut store = new_store();
        let mut seen = BTreeMap::new();
        for (command, slice) in steps {
            apply(&mut store, &command, true);
            if slice > 0 {
                store.compact_some(slice).unwrap();
            }
            let print = store.fingerprint().expect("a store has one");
            let state = store.read_state();
            let leases = state.leases().unwrap();
            let keys: Vec<_> =
                leases.iter().map(|lease| state.lease_keys(lease.id).unwrap()).collect();
            let all = RangeRequest::new(KeyRange::From(Bytes::from_static(b"\0")));
            let told = format!("{:?} {leases:?} {keys:?} {:?} {} {:?}", state.range(&all),
                state.revision(), state.compacted(), state.alarms());
            prop_assert_eq!(seen.entry(print).or_insert_with(|| told.clone()), &told);
        }
        let states: BTreeSet<_> = seen.values().collect();
        prop_assert_eq!(states.len(), seen.len(), "two fingerprints of one state");
        let mut live = LiveRows::default();
        let mut summed = None;
        let counted = store.read_state().bytes_in_use();
        let mut bytes = 0;
        for (table, key, value) in all_rows(&*store.into_engine()).unwrap() {
            live.add(table, &key, &value).unwrap();
            if table != Table::Meta {
                bytes += (key.len() + value.len()) as u64;
            }
            if table == Table::Meta && key == "state" {
                let at = value.len() - 32;
                summed = Some(u128::from_be_bytes(value[at..at + 16].try_into().unwrap()));
            }
        }
        prop_assert_eq!(live.sum(), summed.unwrap_or_default());
        prop_assert_eq!(bytes, counted);
    }

    /// When the removal is done, nothing is left that compaction lets go, and nothing is missing.
    #[test]
    fn compaction_takes_exactly_what_it_lets_go(
        commands in prop::collection::vec(random::command(), 1..60),
        slice in 1..10usize,
    ) {
        let (mut store, mut model) = (new_store(), Model::new());
        for command in &commands {
            let outcome = apply(&mut store, command, true);
            prop_assert_eq!(outcome.result, model.apply(command));
        }
        while store.compact_some(slice).unwrap() {}
        prop_assert_eq!(store.read_state().physically_compacted(), model.compacted);
        let rows = all_rows(&*store.into_engine()).unwrap();
        let mut left: Vec<(i64, Bytes)> = Vec::new();
        for (_, row, record) in rows.iter().filter(|(table, ..)| *table == Table::Revision) {
            let main = i64::from_be_bytes(row[..8].try_into().unwrap());
            left.push((main, record.slice(1..)));
        }
        left.sort();
        left.dedup();
        prop_assert_eq!(left, Vec::from_iter(model.kept()));
    }
}
