//! Snapshots of other members.

use bytes::Bytes;
use quorate_mvcc::forge::{self, Row};
use quorate_mvcc::mem::MemEngine;
use quorate_mvcc::{
    Alarm, AlarmCommand, AlarmKind, Command, DeleteRangeRequest, KeyRange, PutRequest,
    RangeRequest, RequestOp, Store, TxnRequest,
};
use quorate_node::{Fault, Machine as _, Piece};
use quorate_raft::EntryId;

use crate::Draw;

pub(super) fn run(input: &[u8]) {
    let mut draw = Draw::new(input);
    let last = EntryId::new(2, 50);
    let pieces = match draw.byte() % 3 {
        // As it comes.
        0 => raw(draw, last),
        // Rows that belong together, but for some.
        1 => {
            let mut source = history();
            let mut rows = forge::rows(&forge::bodies(&mut source, 4096));
            change(&mut rows, &mut draw);
            forge::pieces(&[forge::body(&rows)], last)
        }
        _ => {
            let mut rows = Vec::new();
            change(&mut rows, &mut draw);
            forge::pieces(&[forge::body(&rows)], last)
        }
    };
    let mut store = history();
    let before = store.fingerprint();
    for piece in &pieces {
        match store.restore(piece) {
            Ok(()) if piece.end => drop(use_all(&mut store)),
            Ok(()) => {}
            Err(quorate_node::RestoreError::Rejected(_)) => {
                assert_eq!(store.fingerprint(), before, "what was there stays");
                return;
            }
            Err(_) => return,
        }
    }
}

fn raw(mut draw: Draw<'_>, last: EntryId) -> Vec<Piece> {
    let mut pieces = Vec::new();
    while draw.more() && pieces.len() < 16 {
        let flags = draw.byte();
        let (first, end) = (pieces.is_empty() || flags & 1 == 1, flags & 2 == 2);
        let data = Bytes::copy_from_slice(draw.bytes());
        let membership = Bytes::from_static(b"members");
        pieces.push(Piece { last, membership, first, data, end });
        if end {
            break;
        }
    }
    pieces
}

/// Takes rows away, changes some and adds others.
fn change(rows: &mut Vec<Row>, draw: &mut Draw<'_>) {
    let count = draw.byte() % 24;
    for _ in 0..count {
        let (kind, which) = (draw.byte(), usize::from(draw.byte()));
        if kind % 4 == 0 || rows.is_empty() {
            let table = kind / 4 % 6;
            rows.push((table, draw.bytes().to_vec(), draw.bytes().to_vec()));
            continue;
        }
        let at = which % rows.len();
        let (table, key, value) = &mut rows[at];
        let part = if kind & 4 == 0 { key } else { value };
        let place = usize::from(draw.byte()) % (part.len() + 1);
        match kind % 4 {
            1 => {
                let new = draw.bytes();
                let end = (place + new.len()).min(part.len());
                part.splice(place..end, new.iter().copied());
            }
            2 if kind & 8 == 0 => *table = kind / 16 % 6,
            2 => part.truncate(place),
            _ => drop(rows.remove(at)),
        }
    }
}

fn put(key: &'static str, value: &'static str, lease: i64) -> Command {
    Command::Put(PutRequest {
        key: key.into(),
        value: value.into(),
        lease,
        ..PutRequest::default()
    })
}

fn everything() -> KeyRange {
    KeyRange::From(Bytes::from_static(b"\0"))
}

fn apply(store: &mut Store, command: &Command) -> Result<(), Fault> {
    let applied = store.applied();
    let entry =
        EntryId { index: applied.index.next(), term: applied.term.max(quorate_raft::Term(1)) };
    let _ = store.apply(entry, &command.encode())?;
    store.commit(entry)
}

/// A store with a little of everything that can lie in a row.
pub(super) fn history() -> Store {
    let mut store = Store::open(Box::new(MemEngine::new())).expect("an empty engine opens");
    let delete = DeleteRangeRequest { range: KeyRange::Point("a".into()), prev_kv: false };
    for command in [
        Command::LeaseGrant { id: 7, ttl: 60 },
        put("a", "1", 0),
        put("b", "2", 7),
        put("b", "3", 7),
        Command::DeleteRange(delete),
        put("c", "4", 0),
        Command::Compact { revision: 3 },
        Command::Alarm(AlarmCommand::Activate(Alarm {
            member: 5,
            kind: AlarmKind::NoSpace,
            clears_below: Some(900),
        })),
    ] {
        apply(&mut store, &command).expect("the engine works");
    }
    store
}

/// Uses every row of a store. Faults are fine here.
pub(super) fn use_all(store: &mut Store) -> Result<(), Fault> {
    let read = |store: &Store| {
        let state = store.read_state();
        let all = RangeRequest::new(everything());
        let read = (state.range(&all), state.hash_kv(0), state.leases(), state.members());
        drop((read, state.history(state.compacted() + 1, 100)));
        state
            .leases()
            .unwrap_or_default()
            .iter()
            .take(8)
            .for_each(|lease| drop(state.lease_keys(lease.id)));
    };
    read(store);
    let alarms: Vec<Alarm> = store.read_state().alarms().iter().collect();
    for Alarm { member, kind, .. } in alarms {
        apply(store, &Command::Alarm(AlarmCommand::Deactivate { member, kind }))?;
    }
    let deletion = DeleteRangeRequest { range: everything(), prev_kv: true };
    let success = vec![RequestOp::DeleteRange(deletion.clone())];
    let revision = store.read_state().revision();
    for command in [
        put("b", "5", 0),
        put("b", "6", 7),
        Command::LeaseRevoke { id: 7 },
        Command::LeaseGrant { id: 7, ttl: 60 },
        Command::Txn(TxnRequest { success, ..TxnRequest::default() }),
        Command::Compact { revision },
        Command::DeleteRange(deletion),
    ] {
        apply(store, &command)?;
    }
    while store.compact_some(10)? {}
    read(store);
    drop(store.snapshot()?);
    Ok(())
}
