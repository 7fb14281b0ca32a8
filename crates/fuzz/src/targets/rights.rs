//! The rights that a request is checked for, against the keys that carrying it out really touches.
//!
//! First the request is carried out for the servers, on an engine that notes what is read and what is written. Then it
//! is asked for by users: one who may do everything with every key, who must get the same answer; and for each key that
//! was touched one who may do all but that, who must be refused.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use bytes::Bytes;
use quorate_mvcc::auth::{Permission, Right};
use quorate_mvcc::{
    AuthCommand, Caller, Command, Error, KeyRange, Outcome, RequestOp, Response, ResponseOp, Store,
    TxnResponse,
};
use quorate_node::Machine as _;
use quorate_raft::EntryId;

use self::watched::{Touched, Watched};
use crate::{Draw, requests};

mod watched;

/// The most commands before.
const HISTORY_MAX: u8 = 12;

const USER: &str = "user";
const ROLE: &str = "role";

pub(super) fn run(input: &[u8]) {
    let mut draw = Draw::new(input);
    let base = base(&mut draw);
    let command = requests::write(&mut draw);
    let (outcome, touched) = as_server(&base, &command);
    let everything = [(all_keys(), Permission::ReadWrite)];
    let allowed = as_user(&base, &command, &everything);
    if matches!(command, Command::Compact { .. }) {
        assert_eq!(allowed.result, Err(Error::PermissionDenied), "only root compacts");
        return;
    }
    assert_eq!(allowed, outcome, "who may do everything gets what is there");
    let needed = needed(&command, &outcome, &touched);
    for (right, key) in &needed {
        let refused = as_user(&base, &command, &all_but(*right, key));
        assert_eq!(
            refused.result,
            Err(Error::PermissionDenied),
            "{right:?} of {key:?}, which was touched, is not asked for by {command:?}"
        );
    }
    if !needed.is_empty() {
        assert_eq!(as_user(&base, &command, &[]).result, Err(Error::PermissionDenied));
    }
}

fn all_keys() -> KeyRange {
    KeyRange::From(Bytes::from_static(b"\0"))
}

/// All rights to all keys, but for one.
fn all_but(right: Right, key: &Bytes) -> Vec<(KeyRange, Permission)> {
    let other = match right {
        Right::Read => Permission::Write,
        Right::Write => Permission::Read,
    };
    let behind = KeyRange::From([key, &b"\0"[..]].concat().into());
    let mut permitted =
        vec![(KeyRange::Point(key.clone()), other), (behind, Permission::ReadWrite)];
    if key.as_ref() > &b"\0"[..] {
        let before = KeyRange::Span { from: Bytes::from_static(b"\0"), to: key.clone() };
        permitted.push((before, Permission::ReadWrite));
    }
    permitted
}

/// A store with some history.
fn base(draw: &mut Draw<'_>) -> Watched {
    let mut store = open(Watched::default());
    for id in 1..=3 {
        apply(&mut store, &Caller::Nobody, &Command::LeaseGrant { id, ttl: 60 });
    }
    let count = draw.byte() % HISTORY_MAX;
    for _ in 0..count {
        let command = requests::write(draw);
        apply(&mut store, &Caller::Nobody, &command);
    }
    closed(store)
}

fn open(engine: Watched) -> Store {
    Store::open(Box::new(engine)).expect("the store opens")
}

fn closed(store: Store) -> Watched {
    let engine: Box<dyn std::any::Any> = store.into_engine();
    *engine.downcast().expect("it is what was put in")
}

fn apply(store: &mut Store, caller: &Caller, command: &Command) -> Outcome {
    let entry = EntryId::new(1, store.applied().index.0 + 1);
    let outcome = store.apply(entry, &command.encode_for(caller)).expect("the engine works");
    store.commit(entry).expect("the engine works");
    outcome
}

/// What becomes of a command, and what it touches.
fn as_server(base: &Watched, command: &Command) -> (Outcome, Touched) {
    let engine = base.copy();
    let touched = engine.touched.clone();
    let mut store = open(engine);
    touched.begin();
    let entry = EntryId::new(1, store.applied().index.0 + 1);
    let outcome = store.apply(entry, &command.encode_for(&Caller::Server));
    let touched = touched.end();
    (outcome.expect("the engine works"), touched)
}

/// What becomes of a command that a user wants who has these rights.
fn as_user(base: &Watched, command: &Command, permitted: &[(KeyRange, Permission)]) -> Outcome {
    let mut store = open(base.copy());
    let (user, role) = (|| USER.to_owned(), || ROLE.to_owned());
    let root = || "root".to_owned();
    let mut commands = vec![
        AuthCommand::UserAdd { name: root(), password: None },
        AuthCommand::UserGrantRole { user: root(), role: root() },
        AuthCommand::UserAdd { name: user(), password: None },
        AuthCommand::RoleAdd { name: role() },
        AuthCommand::UserGrantRole { user: user(), role: role() },
    ];
    commands.extend(permitted.iter().map(|(range, permission)| {
        let (range, permission) = (range.clone(), *permission);
        AuthCommand::RoleGrantPermission { role: role(), range, permission }
    }));
    commands.push(AuthCommand::Enable);
    for command in commands {
        let done = apply(&mut store, &Caller::Nobody, &Command::Auth(command));
        assert_eq!(done.result, Ok(Response::Auth));
    }
    let revision = store.read_state().auth().revision();
    apply(&mut store, &Caller::User { name: user(), revision }, command)
}

type Needed = BTreeSet<(Right, Bytes)>;

/// The rights without which the command can't be carried out as it was.
fn needed(command: &Command, outcome: &Outcome, touched: &Touched) -> Needed {
    let mut needed: Needed =
        touched.written.iter().map(|key| (Right::Write, key.clone())).collect();
    let mut asked = Asked::default();
    match command {
        Command::Put(put) => asked.op(&RequestOp::Put(put.clone())),
        Command::DeleteRange(delete) => asked.op(&RequestOp::DeleteRange(delete.clone())),
        Command::Txn(txn) => asked.op(&RequestOp::Txn(txn.clone())),
        // The keys of a lease are read to delete them.
        _ => asked.written.push(all_keys()),
    }
    for key in &touched.read {
        let within = |ranges: &[KeyRange]| ranges.iter().any(|range| range.contains(key));
        // What is to be written is read for its version, its lease and its creation, which nobody learns.
        if within(&asked.read) || !within(&asked.written) {
            needed.insert((Right::Read, key.clone()));
        }
    }
    match &outcome.result {
        Ok(Response::Put(put)) => show(&mut needed, put.prev_kv.iter().map(|kv| &kv.key)),
        Ok(Response::DeleteRange(delete)) => {
            show(&mut needed, delete.prev_kvs.iter().map(|kv| &kv.key));
        }
        Ok(Response::Txn(txn)) => shown_by(txn, &mut needed),
        _ => {}
    }
    needed
}

fn show<'k>(needed: &mut Needed, keys: impl Iterator<Item = &'k Bytes>) {
    needed.extend(keys.map(|key| (Right::Read, key.clone())));
}

fn shown_by(txn: &TxnResponse, needed: &mut Needed) {
    for response in &txn.responses {
        match response {
            ResponseOp::Range(range) => show(needed, range.kvs.iter().map(|kv| &kv.key)),
            ResponseOp::Put(put) => show(needed, put.prev_kv.iter().map(|kv| &kv.key)),
            ResponseOp::DeleteRange(delete) => {
                show(needed, delete.prev_kvs.iter().map(|kv| &kv.key));
            }
            ResponseOp::Txn(txn) => shown_by(txn, needed),
        }
    }
}

/// The ranges of a request.
#[derive(Default)]
struct Asked {
    /// Whose keys are told of, or compared.
    read: Vec<KeyRange>,
    written: Vec<KeyRange>,
}

impl Asked {
    fn op(&mut self, op: &RequestOp) {
        match op {
            RequestOp::Range(range) => self.read.push(range.range.clone()),
            RequestOp::Put(put) => {
                let key = KeyRange::Point(put.key.clone());
                self.read.extend(put.prev_kv.then(|| key.clone()));
                self.written.push(key);
            }
            RequestOp::DeleteRange(delete) => {
                self.read.extend(delete.prev_kv.then(|| delete.range.clone()));
                self.written.push(delete.range.clone());
            }
            RequestOp::Txn(txn) => {
                self.read.extend(txn.compare.iter().map(|compare| compare.range.clone()));
                txn.success.iter().chain(&txn.failure).for_each(|op| self.op(op));
            }
        }
    }
}

/// What the rows of keys begin with, and the keys: learned from a store that holds each of them once.
static PREFIXES: LazyLock<Vec<(Bytes, Bytes)>> = LazyLock::new(watched::prefixes);
