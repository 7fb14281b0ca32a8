//! Transactions: what makes one valid, which way it goes, and its operations one by one.
//!
//! Three steps, in this order, so that a transaction either fails as a whole or can't fail:
//!
//! 1. [`TxnRequest::check`]: what can be refused by looking at the request alone. Servers check
//!    before they propose; [`crate::apply`] checks again what must hold on every member.
//! 2. `Path::plan`: all comparisons, those of inner transactions too, see the state *before* the
//!    transaction (etcd's rule), and so do the checks of the operations that will run.
//! 3. The operations run; each sees what those before it did.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::cmp::Ordering;

use bytes::Bytes;

use crate::command::TXN_DEPTH_MAX;
use crate::engine::{EngineError, Table};
use crate::error::{Error, ReadError};
use crate::key::KeyRange;
use crate::range::Snapshot;
use crate::request::{Compare, CompareOperand, CompareResult, PutRequest, RequestOp, TxnRequest};
use crate::response::{KeyValue, ResponseOp, Room, TxnResponse};
use crate::rows;

impl PutRequest {
    /// Refuses what can be refused by looking at the request alone.
    ///
    /// # Errors
    /// [`Error::EmptyKey`], [`Error::KeyTooLong`], [`Error::ValueProvided`] or
    /// [`Error::LeaseProvided`].
    pub fn check(&self) -> Result<(), Error> {
        if self.key.is_empty() {
            return Err(Error::EmptyKey);
        }
        if self.key.len() > rows::KEY_BYTES_MAX {
            return Err(Error::KeyTooLong);
        }
        if self.ignore_value && !self.value.is_empty() {
            return Err(Error::ValueProvided);
        }
        if self.ignore_lease && self.lease != 0 {
            return Err(Error::LeaseProvided);
        }
        Ok(())
    }
}

impl TxnRequest {
    /// Refuses what can be refused by looking at the request alone. `ops_max` bounds the longest of
    /// the three lists; a transaction within gets what its parent's longest list leaves.
    ///
    /// # Errors
    /// [`Error::TooManyOps`], those of [`PutRequest::check`], or [`Error::DuplicateKey`].
    pub fn check(&self, ops_max: usize) -> Result<(), Error> {
        self.check_ops(ops_max, TXN_DEPTH_MAX)?;
        check_writes(&self.success)?;
        check_writes(&self.failure)?;
        Ok(())
    }

    fn check_ops(&self, ops_max: usize, depth_max: usize) -> Result<(), Error> {
        let longest = self.compare.len().max(self.success.len()).max(self.failure.len());
        let ops_left = ops_max.checked_sub(longest).ok_or(Error::TooManyOps)?;
        let depth_left = depth_max.checked_sub(1).ok_or(Error::TooManyOps)?;
        for op in self.success.iter().chain(&self.failure) {
            match op {
                RequestOp::Put(put) => put.check()?,
                RequestOp::Txn(txn) => txn.check_ops(ops_left, depth_left)?,
                RequestOp::Range(_) | RequestOp::DeleteRange(_) => {}
            }
        }
        Ok(())
    }

    /// Whether it can only read, whichever way it goes, and so needs no place in the log. One within
    /// another counts as a write (etcd's rule).
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.success.iter().chain(&self.failure).all(|op| matches!(op, RequestOp::Range(_)))
    }
}

/// What the operations of one level write, those of transactions within included.
#[derive(Default)]
struct Writes<'a> {
    puts: BTreeSet<&'a Bytes>,
    deletes: Vec<&'a KeyRange>,
}

impl<'a> Writes<'a> {
    fn put(&mut self, key: &'a Bytes) -> Result<(), Error> {
        let deleted = self.deletes.iter().any(|range| range.contains(key));
        if deleted || !self.puts.insert(key) { Err(Error::DuplicateKey) } else { Ok(()) }
    }
}

/// The rule that no key is put twice, nor put and deleted. The order is etcd's, with its two holes: of
/// two inner transactions side by side, the first may put what the second deletes; and a delete
/// without an end is not looked at. Clients of etcd may lean on either, and the outcome is well
/// defined: operations take effect in their order.
fn check_writes(ops: &[RequestOp]) -> Result<Writes<'_>, Error> {
    let mut writes = Writes::default();
    for op in ops {
        if let RequestOp::DeleteRange(delete) = op
            && !matches!(delete.range, KeyRange::From(_))
        {
            writes.deletes.push(&delete.range);
        }
    }
    for op in ops {
        if let RequestOp::Txn(txn) = op {
            let (success, failure) = (check_writes(&txn.success)?, check_writes(&txn.failure)?);
            for &key in &success.puts {
                writes.put(key)?;
            }
            // Only one of the branches will run, so both may put the same key.
            for &key in failure.puts.difference(&success.puts) {
                writes.put(key)?;
            }
            writes.deletes.extend(success.deletes);
            writes.deletes.extend(failure.deletes);
        }
    }
    for op in ops {
        if let RequestOp::Put(put) = op {
            writes.put(&put.key)?;
        }
    }
    Ok(writes)
}

/// Which way a transaction goes, and each one within that is reached.
#[derive(Debug)]
pub(crate) struct Path {
    succeeded: bool,
    /// Of the transactions within the branch taken, in order.
    inner: Vec<Self>,
}

impl Path {
    /// Evaluates the comparisons and checks the operations that will run, all against the state
    /// before.
    pub(crate) fn plan(txn: &TxnRequest, before: &Snapshot<'_>) -> Result<Self, ReadError> {
        let path = Self::choose(txn, before)?;
        // Where several are wrong, the error is that of a put, as in etcd.
        path.visit(txn, &mut |op| match op {
            RequestOp::Put(put) => {
                check_kept(put, before)?;
                check_lease(put, before)
            }
            RequestOp::Range(_) | RequestOp::DeleteRange(_) | RequestOp::Txn(_) => Ok(()),
        })?;
        path.visit(txn, &mut |op| match op {
            RequestOp::Range(range) => Ok(check_revision(range.revision, before)?),
            RequestOp::Put(_) | RequestOp::DeleteRange(_) | RequestOp::Txn(_) => Ok(()),
        })?;
        Ok(path)
    }

    fn choose(txn: &TxnRequest, before: &Snapshot<'_>) -> Result<Self, ReadError> {
        let mut succeeded = true;
        for compare in &txn.compare {
            succeeded = succeeded && holds(compare, before)?;
        }
        let mut path = Self { succeeded, inner: Vec::new() };
        for op in path.branch(txn) {
            if let RequestOp::Txn(txn) = op {
                path.inner.push(Self::choose(txn, before)?);
            }
        }
        Ok(path)
    }

    fn branch<'t>(&self, txn: &'t TxnRequest) -> &'t [RequestOp] {
        if self.succeeded { &txn.success } else { &txn.failure }
    }

    /// Calls `look` with each operation that will run, those of transactions within in their place.
    fn visit<'t>(
        &self,
        txn: &'t TxnRequest,
        look: &mut impl FnMut(&'t RequestOp) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let mut inner = self.inner.iter();
        for op in self.branch(txn) {
            match op {
                RequestOp::Txn(txn) => {
                    let path = inner.next().expect("a path holds every inner transaction");
                    path.visit(txn, look)?;
                }
                RequestOp::Range(_) | RequestOp::Put(_) | RequestOp::DeleteRange(_) => look(op)?,
            }
        }
        Ok(())
    }
}

/// Unlike on its own, a range within a transaction may not name a negative revision once there was a
/// compaction, or one below -1 before (etcd's behaviour: it compares without looking for "newest").
fn check_revision(revision: i64, before: &Snapshot<'_>) -> Result<(), Error> {
    if revision > before.revision {
        Err(Error::FutureRevision)
    } else if revision != 0 && revision < before.compacted {
        Err(Error::Compacted)
    } else {
        Ok(())
    }
}

/// What a put needs to find: its lease, and the key if it keeps something of it. Which is missed first
/// where both are differs within a transaction, as in etcd.
pub(crate) fn check_put(put: &PutRequest, before: &Snapshot<'_>) -> Result<(), ReadError> {
    check_lease(put, before)?;
    check_kept(put, before)
}

fn check_lease(put: &PutRequest, before: &Snapshot<'_>) -> Result<(), ReadError> {
    if put.lease != 0 && before.reader.get(Table::Lease, &rows::lease_row(put.lease))?.is_none() {
        return Err(Error::LeaseNotFound.into());
    }
    Ok(())
}

fn check_kept(put: &PutRequest, before: &Snapshot<'_>) -> Result<(), ReadError> {
    if (put.ignore_value || put.ignore_lease) && before.get(&put.key)?.is_none() {
        return Err(Error::KeyNotFound.into());
    }
    Ok(())
}

/// Whether a comparison holds: for every key of its range, or for a missing key if there is none.
fn holds(compare: &Compare, before: &Snapshot<'_>) -> Result<bool, EngineError> {
    let mut live = before.live(&compare.range);
    let Some(found) = live.next()? else {
        // A missing key has no value, and nothing compares to that, not even as different.
        let has_value = matches!(compare.operand, CompareOperand::Value(_));
        return Ok(!has_value && holds_for(compare, &KeyValue::default()));
    };
    if !holds_for(compare, &found.kv()?) {
        return Ok(false);
    }
    while let Some(found) = live.next()? {
        if !holds_for(compare, &found.kv()?) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn holds_for(compare: &Compare, kv: &KeyValue) -> bool {
    let stored_to_given = match &compare.operand {
        CompareOperand::Version(given) => kv.version.cmp(given),
        CompareOperand::Create(given) => kv.create_revision.cmp(given),
        CompareOperand::Mod(given) => kv.mod_revision.cmp(given),
        CompareOperand::Lease(given) => kv.lease.cmp(given),
        CompareOperand::Value(given) => kv.value.cmp(given),
        CompareOperand::Unknown => Ordering::Equal,
    };
    match compare.result {
        CompareResult::Equal => stored_to_given.is_eq(),
        CompareResult::Greater => stored_to_given.is_gt(),
        CompareResult::Less => stored_to_given.is_lt(),
        CompareResult::NotEqual => stored_to_given.is_ne(),
        CompareResult::Unknown => true,
    }
}

/// What carries out the operations of a transaction: a writer, or a reader for one that only reads.
pub(crate) trait Operations {
    /// Why an operation failed.
    type Failure;

    /// Carries out one operation that is no transaction.
    fn operate(&mut self, op: &RequestOp) -> Result<ResponseOp, Self::Failure>;
}

/// Runs the branch that was chosen. The revision of the answer is left 0: only the outermost has one.
pub(crate) fn run<O: Operations>(
    txn: &TxnRequest,
    path: &Path,
    operations: &mut O,
) -> Result<TxnResponse, O::Failure> {
    let mut inner = path.inner.iter();
    let mut responses = Vec::new();
    for op in path.branch(txn) {
        responses.push(match op {
            RequestOp::Txn(txn) => {
                let path = inner.next().expect("a path holds every inner transaction");
                ResponseOp::Txn(run(txn, path, operations)?)
            }
            RequestOp::Range(_) | RequestOp::Put(_) | RequestOp::DeleteRange(_) => {
                operations.operate(op)?
            }
        });
    }
    Ok(TxnResponse { revision: 0, succeeded: path.succeeded, responses })
}

/// Answers a transaction that only reads.
pub(crate) fn read(
    txn: &TxnRequest,
    at: &Snapshot<'_>,
    room: Room,
) -> Result<TxnResponse, ReadError> {
    assert!(txn.is_read_only(), "a transaction that may write goes through the log");
    let path = Path::plan(txn, at)?;
    let mut reader = ReadOnly { at, room };
    let mut response = run(txn, &path, &mut reader)?;
    reader.room.check()?;
    response.revision = at.revision;
    Ok(response)
}

struct ReadOnly<'a> {
    at: &'a Snapshot<'a>,
    room: Room,
}

impl Operations for ReadOnly<'_> {
    type Failure = ReadError;

    fn operate(&mut self, op: &RequestOp) -> Result<ResponseOp, ReadError> {
        let RequestOp::Range(range) = op else {
            unreachable!("a transaction that only reads holds nothing but ranges: {op:?}")
        };
        Ok(ResponseOp::Range(self.at.range(range, &mut self.room)?))
    }
}
