//! Which keys a request may touch.

use quorate_mvcc::{DeleteRangeRequest, KeyRange, PutRequest, RangeRequest, RequestOp, TxnRequest};

/// What has keys that it may touch.
pub(crate) trait Touched {
    /// Shows them, once for each operation.
    fn touched(&self, see: &mut dyn FnMut(&KeyRange));
}

impl Touched for KeyRange {
    fn touched(&self, see: &mut dyn FnMut(&KeyRange)) {
        see(self);
    }
}

impl Touched for RangeRequest {
    fn touched(&self, see: &mut dyn FnMut(&KeyRange)) {
        see(&self.range);
    }
}

impl Touched for PutRequest {
    fn touched(&self, see: &mut dyn FnMut(&KeyRange)) {
        see(&KeyRange::Point(self.key.clone()));
    }
}

impl Touched for DeleteRangeRequest {
    fn touched(&self, see: &mut dyn FnMut(&KeyRange)) {
        see(&self.range);
    }
}

/// Both branches, as it is not known which is taken.
impl Touched for TxnRequest {
    fn touched(&self, see: &mut dyn FnMut(&KeyRange)) {
        for compare in &self.compare {
            see(&compare.range);
        }
        for op in self.success.iter().chain(&self.failure) {
            match op {
                RequestOp::Range(range) => range.touched(see),
                RequestOp::Put(put) => put.touched(see),
                RequestOp::DeleteRange(delete) => delete.touched(see),
                RequestOp::Txn(txn) => txn.touched(see),
            }
        }
    }
}
