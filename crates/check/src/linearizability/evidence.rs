//! What replies tell about revisions, whatever the order of the operations.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;
use quorate_mvcc::{
    DeleteRangeResponse, KeyValue, PutRequest, PutResponse, RangeRequest, RangeResponse, RequestOp,
    ResponseOp, TxnRequest, TxnResponse,
};

use crate::claim::Claim;
use crate::history::{Operation, Outcome, Request, Response};
use crate::model::{Model, Undo};

/// What all replies of a history tell together.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// The revisions that somebody was told to have made.
    made: BTreeSet<i64>,
    /// What was seen to have been put by a revision: keys, and values where those were asked for.
    put: BTreeMap<i64, BTreeMap<Bytes, Option<Bytes>>>,
    /// By key and the revision of its last put: up to which revision that was seen to be the last.
    untouched: BTreeMap<Bytes, BTreeMap<i64, i64>>,
}

impl Evidence {
    pub(super) fn of<'a>(operations: impl Iterator<Item = &'a Operation>) -> Self {
        let mut evidence = Self::default();
        for operation in operations {
            if let Claim::Made(revision) = Claim::of(operation) {
                evidence.made.insert(revision);
            }
            if let Outcome::Known { reply: Ok(response), .. } = &operation.outcome {
                evidence.learn(&operation.request, response);
            }
        }
        evidence
    }

    fn learn(&mut self, request: &Request, response: &Response) {
        match (request, response) {
            (Request::Range(request), Response::Range(response)) => {
                self.range(request, response);
                if request.revision <= 0 {
                    self.last_put_at(response.revision, &response.kvs);
                }
            }
            (Request::Put(_), Response::Put(response)) => {
                self.prev_kv(response);
                self.last_put_at(response.revision.saturating_sub(1), response.prev_kv.as_slice());
            }
            (Request::DeleteRange(_), Response::DeleteRange(response)) => {
                self.prev_kvs(response);
                self.last_put_at(response.revision.saturating_sub(1), &response.prev_kvs);
            }
            (Request::Txn(request), Response::Txn(response)) => self.txn(request, response),
            _ => {}
        }
    }

    fn txn(&mut self, request: &TxnRequest, response: &TxnResponse) {
        let branch = if response.succeeded { &request.success } else { &request.failure };
        for (op, response) in branch.iter().zip(&response.responses) {
            match (op, response) {
                (RequestOp::Range(op), ResponseOp::Range(response)) => self.range(op, response),
                (RequestOp::Put(_), ResponseOp::Put(response)) => self.prev_kv(response),
                (RequestOp::DeleteRange(_), ResponseOp::DeleteRange(response)) => {
                    self.prev_kvs(response);
                }
                (RequestOp::Txn(op), ResponseOp::Txn(response)) => self.txn(op, response),
                _ => {}
            }
        }
    }

    fn range(&mut self, request: &RangeRequest, response: &RangeResponse) {
        for kv in &response.kvs {
            self.seen(kv, (!request.keys_only).then_some(&kv.value));
        }
    }

    fn prev_kv(&mut self, response: &PutResponse) {
        if let Some(kv) = &response.prev_kv {
            self.seen(kv, Some(&kv.value));
        }
    }

    fn prev_kvs(&mut self, response: &DeleteRangeResponse) {
        for kv in &response.prev_kvs {
            self.seen(kv, Some(&kv.value));
        }
    }

    fn seen(&mut self, kv: &KeyValue, value: Option<&Bytes>) {
        let values = self.put.entry(kv.mod_revision).or_default();
        let known = values.entry(kv.key.clone()).or_default();
        if known.is_none() {
            *known = value.cloned();
        }
    }

    fn last_put_at(&mut self, revision: i64, kvs: &[KeyValue]) {
        for kv in kvs {
            let until = self.untouched.entry(kv.key.clone()).or_default();
            let until = until.entry(kv.mod_revision).or_insert(revision);
            *until = revision.max(*until);
        }
    }

    /// Whether somebody was told to have made this revision.
    pub(super) fn is_claimed(&self, revision: i64) -> bool {
        self.made.contains(&revision)
    }

    /// Whether an operation of unknown outcome can have made these changes: the store is as they left
    /// it.
    pub(super) fn permits(&self, changes: &Undo, after: &Model) -> bool {
        let Some(made) = changes.made else { return true };
        let saw_all_of = self.put.get(&made).is_none_or(|seen| {
            seen.iter().all(|(key, value)| {
                after.get(key).is_some_and(|kv| {
                    kv.mod_revision == made && value.as_ref().is_none_or(|value| *value == kv.value)
                })
            })
        });
        saw_all_of && changes.keys.iter().all(|(key, _)| !self.was_untouched(key, made))
    }

    fn was_untouched(&self, key: &Bytes, revision: i64) -> bool {
        let before = self.untouched.get(key).and_then(|until| until.range(..revision).next_back());
        before.is_some_and(|(_, until)| revision <= *until)
    }

    /// For each of these operations of unknown outcome, the one revision that it can have made, if its
    /// puts were seen and can't be those of another of them.
    pub(super) fn pinned(&self, unknown: &[&Operation]) -> Vec<Option<i64>> {
        let mut writers: BTreeMap<(&Bytes, &Bytes), Vec<usize>> = BTreeMap::new();
        // Keys that may be put with a value that the request does not name.
        let mut unnamed: BTreeSet<&Bytes> = BTreeSet::new();
        for (at, operation) in unknown.iter().enumerate() {
            for_each_put(&operation.request, &mut |put| {
                if put.ignore_value {
                    unnamed.insert(&put.key);
                }
                writers.entry((&put.key, &put.value)).or_default().push(at);
            });
        }
        let mut pinned = alloc::vec![None; unknown.len()];
        for (revision, seen) in &self.put {
            if self.is_claimed(*revision) {
                continue;
            }
            for (key, value) in seen {
                let Some(value) = value.as_ref().filter(|_| !unnamed.contains(key)) else {
                    continue;
                };
                if let Some([writer]) = writers.get(&(key, value)).map(Vec::as_slice) {
                    pinned[*writer].get_or_insert(*revision);
                }
            }
        }
        pinned
    }
}

/// All puts that a request can make, in whichever branch.
fn for_each_put<'a>(request: &'a Request, each: &mut impl FnMut(&'a PutRequest)) {
    fn in_txn<'a>(txn: &'a TxnRequest, each: &mut impl FnMut(&'a PutRequest)) {
        for op in txn.success.iter().chain(&txn.failure) {
            match op {
                RequestOp::Put(put) => each(put),
                RequestOp::Txn(txn) => in_txn(txn, each),
                RequestOp::Range(_) | RequestOp::DeleteRange(_) => {}
            }
        }
    }
    match request {
        Request::Put(put) => each(put),
        Request::Txn(txn) => in_txn(txn, each),
        _ => {}
    }
}
