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

impl Decided<'_> {
    /// Looks at each operation that will be carried out.
    fn visit(&self, look: &mut impl FnMut(&RequestOp) -> Result<(), Error>) -> Result<(), Error> {
        self.ops.iter().try_for_each(|(op, within)| match within {
            Some(decided) => decided.visit(look),
            None => look(op),
        })
    }
}

impl Model {
    pub(super) fn txn(&mut self, txn: &TxnRequest, undo: &mut Undo) -> Result<TxnResponse, Error> {
        let decided = self.decide(txn);
        // A put is refused before a read is, wherever they stand.
        decided.visit(&mut |op| match op {
            RequestOp::Put(put) => self.check_kept(put).and_then(|()| self.check_lease(put)),
            _ => Ok(()),
        })?;
        decided.visit(&mut |op| match op {
            RequestOp::Range(range) if range.revision > self.revision => Err(Error::FutureRevision),
            // A negative revision does not mean the newest one here, as it does elsewhere.
            RequestOp::Range(range) if range.revision != 0 && range.revision < self.compacted => {
                Err(Error::Compacted)
            }
            _ => Ok(()),
        })?;
        let responses = self.carry_out(decided.ops, undo);
        Ok(TxnResponse { revision: self.revision, succeeded: decided.succeeded, responses })
    }

    /// Makes all comparisons, in the state before.
    fn decide<'a>(&self, txn: &'a TxnRequest) -> Decided<'a> {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        let branch = if succeeded { &txn.success } else { &txn.failure };
        let within = |op: &'a RequestOp| match op {
            RequestOp::Txn(txn) => Some(self.decide(txn)),
            RequestOp::Range(_) | RequestOp::Put(_) | RequestOp::DeleteRange(_) => None,
        };
        Decided { succeeded, ops: branch.iter().map(|op| (op, within(op))).collect() }
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
