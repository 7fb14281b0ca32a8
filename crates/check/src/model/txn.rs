//! Transactions: all comparisons first, nested ones too, then the operations of the branches taken.

use alloc::vec::Vec;
use core::cmp::Ordering;

use quorate_mvcc::{
    Compare, CompareOperand, CompareResult, Error, KeyValue, RequestOp, ResponseOp, TxnRequest,
    TxnResponse,
};

use super::{Model, Undo};

/// A transaction whose comparisons have been made.
struct Decided<'a> {
    succeeded: bool,
    /// The operations of the branch taken, with what was decided of a transaction within.
    ops: Vec<(&'a RequestOp, Option<Self>)>,
}

impl Model {
    pub(super) fn txn(&mut self, txn: &TxnRequest, undo: &mut Undo) -> Result<TxnResponse, Error> {
        let decided = self.decide(txn)?;
        let responses = self.carry_out(decided.ops, undo);
        Ok(TxnResponse { revision: self.revision, succeeded: decided.succeeded, responses })
    }

    /// Compares, and refuses the whole if an operation of the branches taken would be refused.
    fn decide<'a>(&self, txn: &'a TxnRequest) -> Result<Decided<'a>, Error> {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        let branch = if succeeded { &txn.success } else { &txn.failure };
        let mut ops = Vec::with_capacity(branch.len());
        for op in branch {
            let within = match op {
                RequestOp::Range(range) => {
                    if range.revision > self.revision {
                        return Err(Error::FutureRevision);
                    }
                    if range.revision != 0 && range.revision < self.compacted.max(0) {
                        return Err(Error::Compacted);
                    }
                    None
                }
                RequestOp::Put(put) => {
                    self.check_put(put)?;
                    None
                }
                RequestOp::DeleteRange(_) => None,
                RequestOp::Txn(txn) => Some(self.decide(txn)?),
            };
            ops.push((op, within));
        }
        Ok(Decided { succeeded, ops })
    }

    fn carry_out(
        &mut self,
        ops: Vec<(&RequestOp, Option<Decided<'_>>)>,
        undo: &mut Undo,
    ) -> Vec<ResponseOp> {
        let mut responses = Vec::with_capacity(ops.len());
        for (op, within) in ops {
            responses.push(match op {
                RequestOp::Range(range) => {
                    ResponseOp::Range(self.range(range).expect("it was checked before"))
                }
                RequestOp::Put(put) => {
                    let made = self.next_revision(undo);
                    ResponseOp::Put(self.put(put, made, undo))
                }
                RequestOp::DeleteRange(delete) => {
                    ResponseOp::DeleteRange(self.delete(delete, undo))
                }
                RequestOp::Txn(_) => {
                    let decided = within.expect("a transaction within was decided");
                    let responses = self.carry_out(decided.ops, undo);
                    // etcd leaves the header of a transaction within empty.
                    let succeeded = decided.succeeded;
                    ResponseOp::Txn(TxnResponse { revision: 0, succeeded, responses })
                }
            });
        }
        responses
    }

    /// Whether a comparison holds: for every key of the range, or for a missing one if there is none.
    fn holds(&self, compare: &Compare) -> bool {
        let found = self.keys_in(&compare.range);
        if found.is_empty() {
            // What is not there has no value, not even an empty one.
            return !matches!(compare.operand, CompareOperand::Value(_))
                && satisfies(&KeyValue::default(), compare);
        }
        found.iter().all(|kv| satisfies(kv, compare))
    }
}

fn satisfies(kv: &KeyValue, compare: &Compare) -> bool {
    let ordering = match &compare.operand {
        CompareOperand::Version(number) => kv.version.cmp(number),
        CompareOperand::Create(number) => kv.create_revision.cmp(number),
        CompareOperand::Mod(number) => kv.mod_revision.cmp(number),
        CompareOperand::Lease(number) => kv.lease.cmp(number),
        CompareOperand::Value(value) => kv.value.cmp(value),
        CompareOperand::Unknown => Ordering::Equal,
    };
    match compare.result {
        CompareResult::Equal => ordering.is_eq(),
        CompareResult::NotEqual => ordering.is_ne(),
        CompareResult::Greater => ordering.is_gt(),
        CompareResult::Less => ordering.is_lt(),
        CompareResult::Unknown => true,
    }
}
