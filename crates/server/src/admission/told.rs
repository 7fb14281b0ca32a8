//! How much a command will tell, before it is proposed.
//!
//! Its answer is made where it is applied, on every member, and can't be held up there. So what it reads is read before,
//! from the state of now, and forgotten. That state may be another one than that in which the command is carried out:
//! what it tells is estimated, and seldom off by much.

use quorate_mvcc::{
    Command, Error, KeyRange, KeyValue, RangeRequest, ReadError, ReadState, RequestOp, TxnRequest,
};

use crate::rpc::Failure;

/// Whether there is anything to estimate: a command that reads nothing tells next to nothing.
pub(crate) fn tells(command: &Command) -> bool {
    match command {
        Command::Put(put) => put.prev_kv,
        Command::DeleteRange(delete) => delete.prev_kv,
        Command::Txn(txn) => any(txn, &|op| match op {
            RequestOp::Range(range) => !range.count_only,
            RequestOp::Put(put) => put.prev_kv,
            RequestOp::DeleteRange(delete) => delete.prev_kv,
            RequestOp::Txn(_) => false,
        }),
        _ => false,
    }
}

/// Whether that takes a moment only: a few keys are read.
pub(crate) fn is_short(command: &Command) -> bool {
    let is_point = |range: &KeyRange| matches!(range, KeyRange::Point(_));
    match command {
        Command::DeleteRange(delete) => is_point(&delete.range),
        Command::Txn(txn) => !any(txn, &|op| match op {
            RequestOp::Range(range) => !is_point(&range.range),
            RequestOp::DeleteRange(delete) => !is_point(&delete.range),
            RequestOp::Put(_) | RequestOp::Txn(_) => false,
        }),
        _ => true,
    }
}

fn any(txn: &TxnRequest, is_such: &impl Fn(&RequestOp) -> bool) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match op {
        RequestOp::Txn(txn) => any(txn, is_such),
        op => is_such(op),
    })
}

/// The bytes that a command will tell.
///
/// # Errors
/// [`Error::AnswerTooLarge`] if those are more than `bytes_max`.
pub(crate) fn bytes(
    state: &ReadState,
    command: &Command,
    bytes_max: usize,
) -> Result<usize, Failure> {
    let estimate = Estimate { state, bytes_max };
    match command {
        Command::Put(put) => estimate.before(KeyRange::Point(put.key.clone()), 0),
        Command::DeleteRange(delete) => estimate.before(delete.range.clone(), 0),
        Command::Txn(txn) => estimate.txn(txn, 0),
        _ => Ok(0),
    }
}

struct Estimate<'a> {
    state: &'a ReadState,
    bytes_max: usize,
}

impl Estimate<'_> {
    /// Adds those of the longer branch to what is told besides.
    fn txn(&self, txn: &TxnRequest, besides: usize) -> Result<usize, Failure> {
        let branch = |ops: &[RequestOp]| {
            ops.iter().try_fold(besides, |besides, op| match op {
                RequestOp::Range(range) => self.range(range, besides),
                RequestOp::Put(put) if put.prev_kv => {
                    self.before(KeyRange::Point(put.key.clone()), besides)
                }
                RequestOp::DeleteRange(delete) if delete.prev_kv => {
                    self.before(delete.range.clone(), besides)
                }
                RequestOp::Txn(txn) => self.txn(txn, besides),
                RequestOp::Put(_) | RequestOp::DeleteRange(_) => Ok(besides),
            })
        };
        Ok(branch(&txn.success)?.max(branch(&txn.failure)?))
    }

    fn before(&self, range: KeyRange, besides: usize) -> Result<usize, Failure> {
        self.range(&RangeRequest::new(range), besides)
    }

    fn range(&self, range: &RangeRequest, besides: usize) -> Result<usize, Failure> {
        match self.state.range_within(range, self.bytes_max - besides) {
            Ok(found) => Ok(besides + found.kvs.iter().map(KeyValue::room).sum::<usize>()),
            // What is refused tells nothing.
            Err(ReadError::Refused(refusal)) if refusal != Error::AnswerTooLarge => Ok(besides),
            Err(error) => Err(error.into()),
        }
    }
}
