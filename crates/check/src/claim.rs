//! At which state of the store an operation was carried out, as its reply says.

use quorate_mvcc::ResponseOp;

use crate::history::{Operation, Outcome, Response};

/// The state of the store in which an operation can have been carried out, as far as its reply says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It made this revision.
    Made(i64),
    /// It was carried out at this revision and made none.
    Saw(i64),
    /// Its reply names no revision.
    Silent,
}

impl Claim {
    pub(crate) fn of(operation: &Operation) -> Self {
        let Outcome::Known { reply: Ok(response), .. } = &operation.outcome else {
            return Self::Silent;
        };
        let (revision, wrote) = match response {
            Response::Range(range) => (range.revision, false),
            Response::Put(put) => (put.revision, true),
            Response::DeleteRange(delete) => (delete.revision, delete.deleted > 0),
            Response::Txn(txn) => (txn.revision, txn.responses.iter().any(wrote)),
            Response::LeaseGrant { .. } | Response::LeaseRevoke | Response::Compact => {
                return Self::Silent;
            }
        };
        if wrote { Self::Made(revision) } else { Self::Saw(revision) }
    }

    /// The highest revision that the store may be at when the operation is carried out.
    pub(crate) fn latest(self) -> i64 {
        match self {
            Self::Made(revision) => revision.saturating_sub(1),
            Self::Saw(revision) => revision,
            Self::Silent => i64::MAX,
        }
    }

    /// Whether it can be carried out at this revision.
    pub(crate) fn allows(self, revision: i64) -> bool {
        self == Self::Silent || self.latest() == revision
    }
}

fn wrote(op: &ResponseOp) -> bool {
    match op {
        ResponseOp::Range(_) => false,
        ResponseOp::Put(_) => true,
        ResponseOp::DeleteRange(delete) => delete.deleted > 0,
        ResponseOp::Txn(txn) => txn.responses.iter().any(wrote),
    }
}
