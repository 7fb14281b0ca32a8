//! All that a store answers, against the model that says it plainly.

use quorate_mvcc::mem::MemEngine;
use quorate_mvcc::{ReadError, Store};
use quorate_node::Machine as _;
use quorate_raft::EntryId;

use self::model::Model;
use crate::{Draw, requests};

// The one that the tests of the store have.
#[path = "../../../mvcc/tests/model/model.rs"]
#[allow(dead_code, reason = "a part of it is for other tests")]
mod model;

/// The most commands: the model keeps all keys at each revision.
const COMMANDS_MAX: usize = 64;

pub(super) fn run(input: &[u8]) {
    let mut draw = Draw::new(input);
    let mut store = Store::open(Box::new(MemEngine::new())).expect("an empty engine opens");
    let mut model = Model::new();
    for _ in 0..COMMANDS_MAX {
        if !draw.more() {
            break;
        }
        let command = requests::command(&mut draw);
        let entry = EntryId::new(1, store.applied().index.0 + 1);
        let outcome = store.apply(entry, &command.encode()).expect("the engine works");
        assert_eq!(outcome.result, model.apply(&command), "{command:?}");
        assert_eq!(outcome.revision, model.revision(), "{command:?}");
        let between = draw.byte();
        if between & 1 == 1 {
            continue;
        }
        store.commit(entry).expect("the engine works");
        if between & 6 == 2 {
            store.compact_some(usize::from(between >> 4) + 1).expect("the engine works");
        }
        let state = store.read_state();
        assert_eq!((state.revision(), state.compacted()), (model.revision(), model.compacted));
        if between & 8 != 0 {
            let request = requests::range_request(&mut draw);
            let read = state.range(&request).map_err(|error| match error {
                ReadError::Refused(error) => error,
                ReadError::Engine(error) => panic!("the engine works: {error}"),
            });
            assert_eq!(read, model.range(&request), "{request:?}");
        }
    }
}
