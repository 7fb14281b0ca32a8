//! Entries of the log, as a member gets them from a leader, applied by two members.

use bytes::Bytes;
use quorate_mvcc::command::CommandError;
use quorate_mvcc::engine::Engine;
use quorate_mvcc::mem::{MemEngine, all_rows};
use quorate_mvcc::{Proposal, Store};
use quorate_node::{Fault, Machine as _};
use quorate_raft::EntryId;

use crate::{Draw, requests};

/// The most entries.
const ENTRIES_MAX: usize = 64;

pub(super) fn run(input: &[u8]) {
    let mut draw = Draw::new(input);
    let (mut one, mut other) = (open(), open().with_instalments(1));
    for number in 1..=ENTRIES_MAX as u64 {
        if !draw.more() {
            break;
        }
        let kind = draw.byte();
        let entry = match kind & 7 {
            0 => requests::command(&mut draw).encode(),
            1 => Bytes::copy_from_slice(draw.rest()),
            kind => {
                // A version, and one of the kinds there are.
                let (head, fields) = (if kind < 5 { vec![1] } else { vec![2, 0] }, draw.bytes());
                [&head[..], fields].concat().into()
            }
        };
        if let Ok(proposal) = Proposal::decode(&entry) {
            let again = proposal.command.encode_for(&proposal.caller);
            assert_eq!(Proposal::decode(&again), Ok(proposal));
        }
        let id = EntryId::new(1, number);
        let outcomes = [&mut one, &mut other].map(|store| store.apply(id, &entry));
        let is_newer = Proposal::decode(&entry) == Err(CommandError::Newer);
        let [outcome, same] = outcomes;
        assert_eq!(outcome, same, "all members come to the same");
        if outcome.is_err() {
            assert!(is_newer, "{outcome:?} of {entry:?}");
            return;
        }
        one.commit(id).expect("the engine works");
        if kind & 8 != 0 {
            other.commit(id).expect("the engine works");
        }
        assert_eq!(one.fingerprint(), other.fingerprint());
    }
    let through = one.applied();
    other.commit(through).expect("the engine works");
    let rows = [one, other].map(|store| left(store).expect("the engine works"));
    assert_eq!(rows[0], rows[1]);
}

fn open() -> Store {
    Store::open(Box::new(MemEngine::new())).expect("an empty engine opens")
}

type Rows = Vec<(quorate_mvcc::engine::Table, Bytes, Bytes)>;

/// The rows of a store when the space of all that was compacted is back.
fn left(mut store: Store) -> Result<Rows, Fault> {
    while store.compact_some(100)? {}
    let engine: Box<dyn Engine> = store.into_engine();
    Ok(all_rows(&*engine)?)
}
