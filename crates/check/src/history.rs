//! What clients asked for and what they were told, with the times at which they did and were.
//!
//! The times of all clients come from one clock, the recorder's; only their order means something.

use alloc::vec::Vec;

use quorate_mvcc::{
    DeleteRangeRequest, DeleteRangeResponse, Error, PutRequest, PutResponse, RangeRequest,
    RangeResponse, RequestOp, TxnRequest, TxnResponse,
};

/// What a client may ask the key-value store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Read.
    Range(RangeRequest),
    /// Write.
    Put(PutRequest),
    /// Delete.
    DeleteRange(DeleteRangeRequest),
    /// Compare, then read and write.
    Txn(TxnRequest),
    /// Create a lease. Of an id that the server chose, the recorder notes what it chose.
    LeaseGrant {
        /// Its id, not 0.
        id: i64,
        /// Its time to live in seconds, as it was asked for.
        ttl: i64,
    },
    /// End a lease and delete its keys. The end of a lease by its clock is noted as a revocation whose
    /// outcome is unknown, asked for when the lease was granted.
    LeaseRevoke {
        /// Its id.
        id: i64,
    },
    /// Forget the history before a revision.
    Compact {
        /// The revision; itself it stays readable.
        revision: i64,
    },
}

impl Request {
    /// Whether it is a read that may be answered from an old state. Such a read is no concern of
    /// linearizability; [`crate::replay`] judges it.
    #[must_use]
    pub fn is_serializable(&self) -> bool {
        match self {
            Self::Range(range) => range.serializable,
            // etcd's rule: every operation must say so.
            Self::Txn(txn) => {
                let ops = || txn.success.iter().chain(&txn.failure);
                ops().next().is_some()
                    && ops().all(|op| matches!(op, RequestOp::Range(range) if range.serializable))
            }
            _ => false,
        }
    }
}

/// An answer that is not a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// To a range.
    Range(RangeResponse),
    /// To a put.
    Put(PutResponse),
    /// To a delete.
    DeleteRange(DeleteRangeResponse),
    /// To a transaction.
    Txn(TxnResponse),
    /// A lease was granted. The revision in the header of such an answer is that of a later moment
    /// (etcd fills it in on the way out), so it is not kept; nor in the two below.
    LeaseGrant {
        /// Its id.
        id: i64,
    },
    /// A lease was revoked.
    LeaseRevoke,
    /// The history was compacted.
    Compact,
}

/// What a client was told: an answer, or why the request was refused by the state as it found it. A
/// refusal says something about that state, and is checked like an answer.
pub type Reply = Result<Response, Error>;

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a reply.
    Known {
        /// When it came, in nanoseconds of the recorder's clock.
        returned: u64,
        /// The reply.
        reply: Reply,
    },
    /// With an error that says it never took effect and never will.
    Failed,
    /// Nobody knows: it may take effect at any time after the call, or never.
    Unknown,
}

/// A request of a client and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Who asked. For explanations only: a client may have many requests under way.
    pub client: u64,
    /// When, in nanoseconds of the recorder's clock.
    pub call: u64,
    /// For what.
    pub request: Request,
    /// How it ended.
    pub outcome: Outcome,
}

impl Operation {
    /// When it was over, if it ever was.
    #[must_use]
    pub fn returned(&self) -> Option<u64> {
        match &self.outcome {
            Outcome::Known { returned, .. } => Some(*returned),
            Outcome::Failed | Outcome::Unknown => None,
        }
    }
}

/// All operations of all clients, in any order.
pub type History = Vec<Operation>;
