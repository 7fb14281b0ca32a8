//! What replies tell about revisions, whatever the order of the operations.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use quorate_mvcc::{
    Compare, CompareOperand, DeleteRangeResponse, KeyValue, PutRequest, PutResponse, RangeRequest,
    RangeResponse, RequestOp, ResponseOp, SortTarget, TxnRequest, TxnResponse,
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
    /// By key: the puts of it that were seen or acknowledged.
    lives: BTreeMap<Bytes, Life>,
    /// All values that were seen.
    values: BTreeSet<Bytes>,
    /// Whether values are compared with more than themselves.
    orders_values: bool,
}

/// What is known of one key's puts.
#[derive(Debug, Default)]
struct Life {
    /// By revision: the revision of the creation, and the number of puts since.
    seen: BTreeMap<i64, (i64, i64)>,
    /// The revisions of the puts that somebody was told to have made.
    acknowledged: BTreeSet<i64>,
}

impl Life {
    /// Whether a put that nobody was told of can have had this revision.
    fn has_room_for_put(&self, revision: i64) -> bool {
        let before = self.seen.range(..revision).next_back();
        let after = self.seen.range(revision..).next();
        let (Some((from, (born, first))), Some((to, (born_after, last)))) = (before, after) else {
            return true;
        };
        if *to == revision || born != born_after {
            return true;
        }
        let known = self.acknowledged.range(from + 1..*to).count() as i64;
        last.saturating_sub(*first) > known.saturating_add(1)
    }

    /// Whether the key can have been deleted at this revision: not while it was alive.
    fn has_room_for_delete(&self, revision: i64) -> bool {
        let after = self.seen.range(revision..).next();
        after.is_none_or(|(_, (born, _))| *born >= revision)
    }
}

impl Evidence {
    pub(super) fn of<'a>(operations: impl Iterator<Item = &'a Operation>) -> Self {
        let mut evidence = Self::default();
        for operation in operations {
            evidence.orders_values |= orders_values(&operation.request);
            if let Outcome::Known { reply: Ok(response), .. } = &operation.outcome {
                evidence.learn(&operation.request, response);
            }
            if let Claim::Made(revision) = Claim::of(operation) {
                evidence.made.insert(revision);
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
            (Request::Put(request), Response::Put(response)) => {
                self.acknowledged(&request.key, response.revision);
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
                (RequestOp::Put(op), ResponseOp::Put(response)) => {
                    self.acknowledged(&op.key, response.revision);
                    self.prev_kv(response);
                }
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

    fn acknowledged(&mut self, key: &Bytes, revision: i64) {
        self.lives.entry(key.clone()).or_default().acknowledged.insert(revision);
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
        self.values.extend(value.cloned());
        // Whoever sees a key knows of its creation too.
        self.put.entry(kv.create_revision).or_default().entry(kv.key.clone()).or_default();
        let life = self.lives.entry(kv.key.clone()).or_default();
        life.seen.insert(kv.create_revision, (kv.create_revision, 1));
        life.seen.insert(kv.mod_revision, (kv.create_revision, kv.version));
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
        saw_all_of
            && changes.keys.iter().all(|(key, _)| {
                let has_room = self.lives.get(key).is_none_or(|life| match after.get(key) {
                    Some(_) => life.has_room_for_put(made),
                    None => life.has_room_for_delete(made),
                });
                has_room && !self.was_untouched(key, made)
            })
    }

    /// For each of these operations of unknown outcome, a number that it shares with those that it can
    /// be exchanged for: they ask for the same, or for values that nobody saw.
    pub(super) fn alike(&self, unknown: &[&Operation]) -> Vec<usize> {
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        let orders_values =
            self.orders_values || unknown.iter().any(|it| orders_values(&it.request));
        let kind = |operation: &&Operation| {
            let mut request = operation.request.clone();
            if !orders_values {
                for_each_put_mut(&mut request, &mut |put| {
                    if !self.values.contains(&put.value) {
                        put.value = Bytes::from_static(b"(never seen)");
                    }
                });
            }
            let next = kinds.len();
            *kinds.entry(format!("{request:?}")).or_insert(next)
        };
        unknown.iter().map(kind).collect()
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

fn for_each_put_mut(request: &mut Request, each: &mut impl FnMut(&mut PutRequest)) {
    fn in_txn(txn: &mut TxnRequest, each: &mut impl FnMut(&mut PutRequest)) {
        for op in txn.success.iter_mut().chain(&mut txn.failure) {
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

/// Whether it matters to a request what a value is that it does not tell.
fn orders_values(request: &Request) -> bool {
    fn in_range(range: &RangeRequest) -> bool {
        range.sort_target == SortTarget::Value
    }
    fn in_txn(txn: &TxnRequest) -> bool {
        let compares = |it: &Compare| matches!(it.operand, CompareOperand::Value(_));
        txn.compare.iter().any(compares)
            || txn.success.iter().chain(&txn.failure).any(|op| match op {
                RequestOp::Range(range) => in_range(range),
                RequestOp::Txn(txn) => in_txn(txn),
                RequestOp::Put(_) | RequestOp::DeleteRange(_) => false,
            })
    }
    match request {
        Request::Range(range) => in_range(range),
        Request::Txn(txn) => in_txn(txn),
        _ => false,
    }
}
