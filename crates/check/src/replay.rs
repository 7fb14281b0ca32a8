//! Every reply, held against a replay of all changes.
//!
//! A reply says at which revision of the store its operation was carried out, and so what it must have
//! been. Whether that revision was a current one is a question of linearizability; that the reply is
//! right *there* holds for serializable reads, and for reads of the past, just as well. So this says
//! nothing about time, needs no search, and judges what [`crate::linearizability`] leaves out. etcd's
//! robustness suite does the same for serializable reads.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use quorate_mvcc::{
    Event, EventKind, KeyValue, RangeRequest, RangeResponse, RequestOp, ResponseOp, TxnRequest,
    TxnResponse,
};

use crate::Violation;
use crate::changes::Changes;
use crate::claim::Claim;
use crate::history::{Operation, Outcome, Request, Response};
use crate::model::{Model, Undo, answer, fits};

/// What was judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Operations whose reply was held against the replay.
    pub checked: u64,
    /// Operations without a reply, or whose reply names no revision.
    pub skipped: u64,
}

/// Holds every reply of a history against the changes that were made.
///
/// # Errors
/// The first reply, by revision, that the state at its revision does not give; or one that names a
/// revision that was never made, or was made by another operation.
pub fn check(history: &[Operation], changes: &Changes) -> Result<Tally, Violation> {
    let mut tally = Tally::default();
    let mut at: Vec<(i64, usize)> = Vec::new();
    let mut made: BTreeMap<i64, usize> = BTreeMap::new();
    for (index, operation) in history.iter().enumerate() {
        let claim = Claim::of(operation);
        match claim {
            Claim::Silent => tally.skipped += 1,
            Claim::Made(_) | Claim::Saw(_) => at.push((claim.latest(), index)),
        }
        if let Claim::Made(revision) = claim
            && let Some(other) = made.insert(revision, index)
        {
            let what = format!("operations {other} and {index} both made revision {revision}");
            return Err(Violation::new("replay", what));
        }
    }
    at.sort_unstable();
    let mut model = Model::default();
    for (revision, index) in at {
        while model.revision() < revision.min(changes.last()) {
            let next = model.revision() + 1;
            model.follow(next, changes.of(next));
        }
        let operation = &history[index];
        judge(operation, revision, &mut model, changes).map_err(|what| {
            Violation::new("replay", format!("operation {index}, {operation:?}: {what}"))
        })?;
        tally.checked += 1;
    }
    Ok(tally)
}

fn judge(
    operation: &Operation,
    revision: i64,
    model: &mut Model,
    changes: &Changes,
) -> Result<(), String> {
    if model.revision() != revision {
        return Err(format!("revision {revision} was never made; the last is {}", changes.last()));
    }
    let Outcome::Known { reply, .. } = &operation.outcome else {
        unreachable!("only a reply names a revision")
    };
    assume_leases(&operation.request, model);
    let (expected, undo) = model.apply(&operation.request);
    let made = made(&undo, model);
    let follows = undo.made.is_none_or(|revision| made == what_became(changes.of(revision)));
    let is_right = fits(&operation.request, reply, &expected);
    model.undo(undo);
    if !is_right {
        return Err(format!("expected {expected:?}"));
    }
    if !follows {
        return Err(format!("changed {:?}", changes.of(revision + 1)));
    }
    let Ok(response) = reply else { return Ok(()) };
    of_the_past(&operation.request, response, &mut |request, response| {
        let found = changes.range_at(&request.range, request.revision);
        let expected = answer(request, response.revision, found);
        if expected == *response { Ok(()) } else { Err(format!("expected {expected:?}")) }
    })
}

/// Which leases there are is not part of the changes, so a put that was not refused vouches for its own.
fn assume_leases(request: &Request, model: &mut Model) {
    fn in_txn(txn: &TxnRequest, model: &mut Model) {
        for op in txn.success.iter().chain(&txn.failure) {
            match op {
                RequestOp::Put(put) => model.assume_lease(put.lease),
                RequestOp::Txn(txn) => in_txn(txn, model),
                RequestOp::Range(_) | RequestOp::DeleteRange(_) => {}
            }
        }
    }
    match request {
        Request::Put(put) => model.assume_lease(put.lease),
        Request::Txn(txn) => in_txn(txn, model),
        _ => {}
    }
}

/// The keys that a request has changed and what they are now, by key.
fn made(undo: &Undo, after: &Model) -> Vec<(Bytes, Option<KeyValue>)> {
    let mut made: Vec<_> =
        undo.keys.iter().map(|(key, _)| (key.clone(), after.get(key).cloned())).collect();
    made.sort_by(|a, b| a.0.cmp(&b.0));
    made.dedup_by(|a, b| a.0 == b.0);
    made
}

/// The keys that events have changed and what they are after them, by key.
fn what_became(events: &[Event]) -> Vec<(Bytes, Option<KeyValue>)> {
    let mut became = BTreeMap::new();
    for Event { kind, kv, .. } in events {
        became.insert(kv.key.clone(), (*kind == EventKind::Put).then(|| kv.clone()));
    }
    became.into_iter().collect()
}

/// Visits the reads of a past revision, with what they answered.
fn of_the_past(
    request: &Request,
    response: &Response,
    visit: &mut impl FnMut(&RangeRequest, &RangeResponse) -> Result<(), String>,
) -> Result<(), String> {
    fn in_txn(
        request: &TxnRequest,
        response: &TxnResponse,
        visit: &mut impl FnMut(&RangeRequest, &RangeResponse) -> Result<(), String>,
    ) -> Result<(), String> {
        let branch = if response.succeeded { &request.success } else { &request.failure };
        for (op, response) in branch.iter().zip(&response.responses) {
            match (op, response) {
                (RequestOp::Range(op), ResponseOp::Range(response)) if op.revision > 0 => {
                    visit(op, response)?;
                }
                (RequestOp::Txn(op), ResponseOp::Txn(response)) => in_txn(op, response, visit)?,
                _ => {}
            }
        }
        Ok(())
    }
    match (request, response) {
        (Request::Range(request), Response::Range(response)) if request.revision > 0 => {
            visit(request, response)
        }
        (Request::Txn(request), Response::Txn(response)) => in_txn(request, response, visit),
        _ => Ok(()),
    }
}
