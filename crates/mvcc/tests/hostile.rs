//! What comes from other members and may be wrong: snapshots whose checksums are right and whose rows
//! are not, cursors that nobody gave out, and log entries that no version wrote. Each ends in an
//! answer or an error, and in the same one on every member.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use quorate_mvcc::command::{Command, Proposal};
use quorate_mvcc::engine::Table;
use quorate_mvcc::forge::{self, Row, body, pieces, rows};
use quorate_mvcc::mem::MemEngine;
use quorate_mvcc::{
    Alarm, AlarmCommand, AlarmKind, DeleteRangeRequest, Error, KeyRange, PutRequest, RangeRequest,
    RequestOp, Store, TxnRequest,
};
use quorate_node::{Fault, Machine, Piece, RestoreError, SnapshotError};
use quorate_raft::EntryId;

type Place = prop::sample::Index;

const PIECE_BYTES: usize = 60;

fn put(key: &str, value: &str, lease: i64) -> Command {
    let key = Bytes::copy_from_slice(key.as_bytes());
    let value = Bytes::copy_from_slice(value.as_bytes());
    Command::Put(PutRequest { key, value, lease, ..PutRequest::default() })
}

fn everything() -> KeyRange {
    KeyRange::parse(Bytes::from_static(b"\0"), Bytes::from_static(b"\0")).expect("a range")
}

/// A little of everything that can lie in a row.
fn history() -> Vec<Command> {
    let delete = |key: &'static [u8]| {
        let range = KeyRange::parse(Bytes::from_static(key), Bytes::new()).expect("a key");
        Command::DeleteRange(DeleteRangeRequest { range, prev_kv: false })
    };
    vec![
        Command::LeaseGrant { id: 7, ttl: 60 },
        put("a", "1", 0),
        put("b", "2", 7),
        put("b", "3", 7),
        delete(b"a"),
        put("c", "4", 0),
        Command::Compact { revision: 3 },
        Command::Alarm(AlarmCommand::Activate(Alarm {
            member: 5,
            kind: AlarmKind::NoSpace,
            clears_below: Some(900),
        })),
    ]
}

/// Applies entries after the last one, each a batch of its own.
fn run(store: &mut Store, commands: &[Bytes]) -> Result<Vec<String>, Fault> {
    let mut outcomes = Vec::new();
    for command in commands {
        let entry = EntryId { index: store.applied().index.next(), ..EntryId::new(1, 0) };
        outcomes.push(format!("{:?}", store.apply(entry, command)?));
        store.commit(entry)?;
    }
    Ok(outcomes)
}

fn new_store() -> Store {
    Store::open(Box::new(MemEngine::new())).expect("an empty store opens")
}

fn source() -> Store {
    let mut store = new_store();
    let commands: Vec<Bytes> = history().iter().map(Command::encode).collect();
    run(&mut store, &commands).expect("the history is sound");
    store
}

/// The rows of a snapshot, one piece after the other, without checksums.
fn bodies(store: &mut Store) -> Vec<Vec<u8>> {
    forge::bodies(store, PIECE_BYTES)
}

/// One change to a row, of the kinds that a liar would choose.
fn change(row: &mut Row, kind: u8, at: Place, byte: u8) {
    let part = if byte.is_multiple_of(2) { &mut row.1 } else { &mut row.2 };
    let at = at.index(part.len() + 1);
    match kind {
        // A number as large or as small as any, in each of the ways in which numbers are written.
        0 => part.splice(at.min(part.len().saturating_sub(8)).., [0xff; 8]).for_each(drop),
        1 | 2 => {
            let number = if kind == 1 { i64::MAX.to_be_bytes() } else { (!i64::MAX).to_be_bytes() };
            let end = (at + 8).min(part.len());
            drop(part.splice(at..end, number));
        }
        3 => {
            let largest = [[0xff; 8].as_slice(), &[0x7f]].concat();
            drop(part.splice(at..(at + 1).min(part.len()), largest));
        }
        // A key about as long as may be.
        4 => {
            let length = [32_757, 32_758, 32_759, 65_533, 65_534, 65_535, 65_536];
            let more = vec![byte / 32; length[usize::from(byte) % length.len()]];
            drop(part.splice(at..at, more));
        }
        // The row of another key or lease, or in another table.
        5 if at < part.len() => part[at] = part[at].wrapping_add(byte % 3),
        6 => row.0 = byte % 6,
        _ => part.truncate(at),
    }
}

fn restore(store: &mut Store, pieces: &[Piece]) -> Result<(), RestoreError> {
    pieces.iter().try_for_each(|piece| store.restore(piece))
}

/// Uses every row of a store, and says in what it ended. Errors are fine here, panics are not.
fn use_all(store: &mut Store) -> Result<Vec<String>, Fault> {
    let read = |store: &Store| {
        let state = store.read_state();
        let all = RangeRequest::new(everything());
        format!("{:?} {:?} {:?}", state.range(&all), state.hash_kv(0), state.leases())
    };
    let mut seen = vec![read(store)];
    let deletion = DeleteRangeRequest { range: everything(), prev_kv: true };
    let txn = TxnRequest {
        success: vec![RequestOp::DeleteRange(deletion.clone())],
        ..TxnRequest::default()
    };
    let now = store.read_state().revision();
    let alarms: Vec<Alarm> = store.read_state().alarms().iter().collect();
    seen.push(format!("{alarms:?}"));
    let disarm = alarms.iter().map(|&Alarm { member, kind, .. }| {
        Command::Alarm(AlarmCommand::Deactivate { member, kind })
    });
    let commands: Vec<Bytes> = disarm.map(|command| command.encode()).collect();
    seen.extend(run(store, &commands)?);
    let commands = [
        put("b", "5", 0),
        put("b", "6", 7),
        Command::LeaseRevoke { id: 7 },
        Command::LeaseGrant { id: 7, ttl: 60 },
        Command::Txn(txn),
        Command::Compact { revision: now },
        Command::DeleteRange(deletion),
    ];
    let commands: Vec<Bytes> = commands.iter().map(Command::encode).collect();
    seen.extend(run(store, &commands)?);
    while store.compact_some(1)? {}
    seen.push(read(store));
    Ok(seen)
}

#[test]
fn the_checksums_of_the_test_are_those_of_the_store() {
    let mut store = source();
    let bodies = bodies(&mut store);
    assert!(bodies.len() > 3, "there are pieces to damage");
    assert_eq!(body(&rows(&bodies)), bodies.concat(), "the rows are taken apart and put together");
    let mut copy = new_store();
    restore(&mut copy, &pieces(&bodies, store.applied())).expect("nothing was changed");
    assert_eq!(use_all(&mut copy), use_all(&mut store));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_snapshot_of_rows_that_make_no_sense_is_refused_or_ends_in_errors(
        changes in vec((any::<Place>(), 0..8u8, any::<Place>(), any::<u8>()), 1..3),
    ) {
        let mut store = source();
        let mut rows = rows(&bodies(&mut store));
        for (row, kind, at, byte) in changes {
            let count = rows.len();
            change(&mut rows[row.index(count)], kind, at, byte);
        }
        let pieces = pieces(&[body(&rows)], store.applied());
        let end = |mut store: Store| {
            restore(&mut store, &pieces).map(|()| format!("{:?}", use_all(&mut store)))
        };
        prop_assert_eq!(end(new_store()), end(new_store()), "all members end alike");
    }

    #[test]
    fn pieces_with_changed_bytes_are_refused_or_end_in_errors(
        changes in vec((any::<Place>(), any::<Place>(), 0..5u8, any::<u8>()), 1..4),
    ) {
        let mut store = source();
        let mut bodies = bodies(&mut store);
        for (piece, at, kind, byte) in changes {
            let count = bodies.len();
            let body = &mut bodies[piece.index(count)];
            if body.is_empty() {
                continue;
            }
            let at = at.index(body.len());
            match kind {
                0 | 1 => body[at] ^= byte,
                2 => body[at] = 0xff,
                3 => body.truncate(at),
                _ => body.insert(at, byte),
            }
        }
        let pieces = pieces(&bodies, store.applied());
        let end = |mut store: Store| {
            restore(&mut store, &pieces).map(|()| format!("{:?}", use_all(&mut store)))
        };
        prop_assert_eq!(end(new_store()), end(new_store()), "all members end alike");
    }

    #[test]
    fn a_cursor_that_nobody_gave_out_reads_something_or_is_refused(
        cursor in vec(any::<u8>(), 0..40),
        at in any::<Place>(),
        byte in any::<u8>(),
    ) {
        let mut store = source();
        let mut snapshot = store.snapshot().expect("a state freezes");
        let made_up = snapshot.read(&cursor, PIECE_BYTES);
        prop_assert!(!matches!(made_up, Err(SnapshotError::Fault(_))), "{:?}", made_up);
        let first = snapshot.read(&[], PIECE_BYTES).expect("there is a first piece");
        let mut next = first.next.expect("there is a second piece").to_vec();
        let at = at.index(next.len());
        next[at] = byte;
        let changed = snapshot.read(&next, PIECE_BYTES);
        prop_assert!(!matches!(changed, Err(SnapshotError::Fault(_))), "{:?}", changed);
    }

    /// What is no command changes nothing, on every member; what a newer version may have written
    /// stops every member of this version, before it would differ from the newer ones.
    #[test]
    fn an_entry_that_no_version_wrote_has_one_outcome(
        choice in any::<Place>(),
        changes in vec((any::<Place>(), any::<u8>()), 1..4),
    ) {
        let mut entry = choice.get(&history()).encode().to_vec();
        for (at, byte) in changes {
            let at = at.index(entry.len());
            entry[at] = byte;
        }
        let entries = [Bytes::from(entry), put("after", "1", 0).encode()];
        let (mut one, mut other) = (source(), source());
        let outcomes = run(&mut one, &entries);
        prop_assert_eq!(&outcomes, &run(&mut other, &entries));
        let hash = |store: &Store| store.read_state().hash_kv(0);
        prop_assert_eq!(hash(&one), hash(&other));
        match Proposal::decode(&entries[0]).map(|it| it.command) {
            Err(quorate_mvcc::command::CommandError::Newer) => prop_assert!(outcomes.is_err()),
            Err(_) => {
                let refused = format!("{:?}", Error::UnknownCommand);
                prop_assert!(outcomes.expect("it is an outcome")[0].contains(&refused));
            }
            Ok(_) => prop_assert!(outcomes.is_ok()),
        }
    }
}

/// On the way or where it waits to be taken: a bit that flips in a piece is noticed with that piece, and
/// the state that is there stays.
#[test]
fn a_flipped_bit_anywhere_in_a_snapshot_is_refused() {
    let mut store = source();
    let good = pieces(&bodies(&mut store), store.applied());
    let mut copy = new_store();
    run(&mut copy, &[put("old", "1", 0).encode()]).expect("a state to keep");
    let before = copy.fingerprint();
    for (number, piece) in good.iter().enumerate() {
        for at in 0..piece.data.len() {
            let mut data = piece.data.to_vec();
            data[at] ^= 1 << (at % 8);
            let damaged = Piece { data: data.into(), ..piece.clone() };
            restore(&mut copy, &good[..number]).expect("those before are good");
            let refused = copy.restore(&damaged);
            assert!(matches!(refused, Err(RestoreError::Rejected(_))), "byte {at} of {number}");
            assert_eq!(copy.fingerprint(), before, "byte {at} of piece {number}");
        }
    }
    restore(&mut copy, &good).expect("nothing was damaged");
    assert_eq!(copy.fingerprint(), store.fingerprint());
}

/// Rows that are each what somebody wrote, and together not what the sender's commands left.
#[test]
fn a_snapshot_that_lacks_a_row_that_lives_is_refused() {
    let mut store = source();
    let all = rows(&bodies(&mut store));
    let state = all.iter().find(|row| row.1 == b"state").expect("there is a state").clone();
    let mut lacked = 0;
    for row in all.iter().filter(|row| row.0 != 2 && **row != state) {
        // The newest of a key, which comes first, and not a deletion.
        let of_key = |other: &&Row| other.0 == row.0 && other.1[..3] == row.1[..3];
        let newest = all.iter().find(of_key) == Some(row) && row.2 != [1];
        if row.0 == 1 && !newest {
            continue;
        }
        let rows: Vec<Row> = all.iter().filter(|other| *other != row).cloned().collect();
        let mut lying = body(&rows);
        // The sum stays the one that the sender kept.
        let at = 3 + b"state".len();
        lying[at..at + state.2.len()].copy_from_slice(&state.2);
        let mut copy = new_store();
        let taken = restore(&mut copy, &pieces(&[lying], store.applied()));
        assert!(matches!(taken, Err(RestoreError::Rejected(_))), "without {row:?}");
        lacked += 1;
    }
    assert!(lacked >= 4, "a lease, its key, and two others live: {lacked}");
}

/// The longest cursor that is looked at, and one byte more.
#[test]
fn a_cursor_is_no_longer_than_a_row() {
    let mut store = source();
    let mut snapshot = store.snapshot().expect("a state freezes");
    let first = snapshot.read(&[], PIECE_BYTES).expect("there is a first piece");
    let mut cursor = first.next.expect("there is a second piece").to_vec();
    cursor.resize(65_534 + 32, 0xff);
    assert!(snapshot.read(&cursor, PIECE_BYTES).is_ok());
    cursor.push(0xff);
    assert_eq!(snapshot.read(&cursor, PIECE_BYTES).err(), Some(SnapshotError::Cursor));
}

/// What of these rows a store takes, changed in one place.
fn restored(change: impl FnOnce(&mut Vec<Row>)) -> Result<Store, RestoreError> {
    let mut store = source();
    let mut rows = rows(&bodies(&mut store));
    change(&mut rows);
    let mut copy = new_store();
    restore(&mut copy, &pieces(&[body(&rows)], store.applied()))?;
    Ok(copy)
}

/// 2^61 and what is added to it, as a varint.
fn large(more: u8) -> [u8; 9] {
    [0x80 | more, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20]
}

#[test]
fn a_revision_leaves_room_above_it() {
    for (more, is_fine) in [(0, true), (1, false)] {
        let state = |rows: &mut Vec<Row>| {
            let state = rows.iter_mut().find(|row| row.1 == b"state").expect("there is a state");
            state.2.splice(1..2, large(more));
        };
        assert_eq!(restored(state).is_ok(), is_fine, "the store's, 2^61 + {more}");
        let change = |rows: &mut Vec<Row>| {
            let change = rows.iter_mut().find(|row| row.0 == 2).expect("there is a change");
            change.1.splice(8.., ((1u64 << 61) + u64::from(more)).to_be_bytes());
        };
        assert_eq!(restored(change).is_ok(), is_fine, "a change's, 2^61 + {more}");
        let key = |rows: &mut Vec<Row>| {
            let key = rows.iter_mut().find(|row| row.0 == 1 && row.2[0] == 0).expect("a put");
            key.2.splice(2..3, large(more));
        };
        assert_eq!(restored(key).is_ok(), is_fine, "a key's version, 2^61 + {more}");
    }
    let state = |rows: &mut Vec<Row>| {
        let state = rows.iter_mut().find(|row| row.1 == b"state").expect("there is a state");
        state.2.splice(1..2, large(0));
    };
    use_all(&mut restored(state).expect("the largest is taken")).expect("and can be built on");
}

#[test]
fn a_key_is_as_long_as_one_that_can_be_put() {
    const KEY_BYTES_MAX: usize = 32_758;
    for (length, is_fine) in [(KEY_BYTES_MAX, true), (KEY_BYTES_MAX + 1, false)] {
        let key = vec![0; length];
        let of_change = |rows: &mut Vec<Row>| {
            let row = rows.iter_mut().find(|row| row.0 == 2).expect("there is a change");
            row.2 = [&[0], &key[..]].concat();
        };
        assert_eq!(restored(of_change).is_ok(), is_fine, "{length} bytes in a change");
        let of_lease = |rows: &mut Vec<Row>| {
            let row = rows.iter_mut().find(|row| row.0 == 4).expect("a key hangs on a lease");
            row.1 = [&row.1[..8], &key[..]].concat();
        };
        assert_eq!(restored(of_lease).is_ok(), is_fine, "{length} bytes at a lease");
    }
}

#[test]
fn a_lease_that_names_another_key_is_damage_and_no_panic() {
    for key in [b"c", b"x"] {
        let mut store = restored(|rows| {
            let row = rows.iter_mut().find(|row| row.0 == 4).expect("a key hangs on a lease");
            row.1 = [&row.1[..8], key].concat();
        })
        .expect("each row for itself makes sense");
        let revoke = Command::LeaseRevoke { id: 7 }.encode();
        assert!(run(&mut store, &[revoke]).is_err(), "the member stops");
    }
}

/// No member writes such a row, and no reader falls over it.
#[test]
fn a_deletion_at_revision_0_has_nothing_before_it() {
    let mut store = new_store();
    run(&mut store, &[put("a", "1", 0).encode()]).expect("the history is sound");
    let mut rows = rows(&bodies(&mut store));
    rows.push((Table::Revision as u8, vec![0; 16], b"\x01z".to_vec()));
    let mut copy = new_store();
    restore(&mut copy, &pieces(&[body(&rows)], store.applied())).expect("each row makes sense");
    let history = copy.read_state().history(0, 10).expect("nothing was compacted");
    assert_eq!(history.len(), 2);
    assert_eq!(history[0].events[0].prev_kv, None);
}
