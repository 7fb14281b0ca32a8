//! What is answered, with etcd's names.
//!
//! Each answer carries the `revision` that belongs into its header. That of a whole request is the
//! store's at that time; within a transaction it is the one the operation saw or made.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::alarm::Alarm;
use crate::error::Error;
use crate::key::KeyRange;

/// A key with its value and history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The revision of the put that created it.
    pub create_revision: i64,
    /// The revision of the last put.
    pub mod_revision: i64,
    /// The number of puts since the creation, 1 after the first.
    pub version: i64,
    /// The value.
    pub value: Bytes,
    /// The lease it is attached to, or 0.
    pub lease: i64,
}

/// The largest answer, as the bytes of its keys and values and 64 more for each pair. An answer is
/// held in memory, and that of a command by every member, whether somebody waits for it or not. One
/// of twice this size is more than etcd's clients receive.
pub const ANSWER_BYTES_MAX: usize = 1 << 30;

/// What an answer may still grow by.
pub(crate) struct Room {
    /// `None` once it was asked for more than there was.
    left: Option<usize>,
}

impl Default for Room {
    fn default() -> Self {
        Self { left: Some(ANSWER_BYTES_MAX) }
    }
}

impl Room {
    /// So many bytes, and no more than any answer.
    pub(crate) fn of(bytes: usize) -> Self {
        Self { left: Some(bytes.min(ANSWER_BYTES_MAX)) }
    }

    /// Takes room for so many bytes, if there is as much; says whether there was.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        self.left = self.left.and_then(|left| left.checked_sub(bytes));
        self.left.is_some()
    }

    /// Whether there would be room for so many bytes.
    pub(crate) fn has(&self, bytes: usize) -> bool {
        self.left.is_some_and(|left| bytes <= left)
    }

    /// Refuses an answer that did not find all the room it asked for, and so is not complete.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.left.map(|_| ()).ok_or(Error::AnswerTooLarge)
    }
}

impl KeyValue {
    /// The room that it takes in an answer, in bytes.
    #[must_use]
    pub fn room(&self) -> usize {
        self.key.len() + self.value.len() + 64
    }
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It was written.
    Put,
    /// It was deleted.
    Delete,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The key as it became. Of a deleted one, only the key and `mod_revision`, the revision of the
    /// deletion.
    pub kv: KeyValue,
    /// The key as it was before the revision of the event, for a watcher that asked for it. `None` if
    /// the event created the key, if there was none, or if it was compacted (etcd's rule: it is what a
    /// read at the revision before finds).
    pub prev_kv: Option<KeyValue>,
}

impl Event {
    /// About how much memory it takes, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let kv = |kv: &KeyValue| kv.key.len() + kv.value.len();
        size_of::<Self>() + kv(&self.kv) + self.prev_kv.as_ref().map_or(0, kv)
    }
}

/// All that one revision changed, in order. Cheap to clone.
///
/// What a commit hands out has no [`Event::prev_kv`]: few watchers want it, and those read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionEvents {
    /// The revision.
    pub revision: i64,
    /// The changes, at least one.
    pub events: Arc<[Event]>,
}

/// The answer to a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeResponse {
    /// For the header: the revision the store was at, not the one that was read.
    pub revision: i64,
    /// The keys.
    pub kvs: Vec<KeyValue>,
    /// Whether the limit cut something off.
    pub more: bool,
    /// How many keys the range holds, whatever the limit and the filters.
    pub count: u64,
}

/// The next keys of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The keys.
    pub kvs: Vec<KeyValue>,
    /// About what they take, in bytes.
    pub bytes: usize,
    /// What is behind them, if there is anything; perhaps no keys.
    pub rest: Option<KeyRange>,
}

/// The answer to a put.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutResponse {
    /// For the header.
    pub revision: i64,
    /// What was there before, if asked for and if anything was.
    pub prev_kv: Option<KeyValue>,
}

/// The answer to a delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteRangeResponse {
    /// For the header.
    pub revision: i64,
    /// How many keys were deleted.
    pub deleted: u64,
    /// What was there before, if asked for, in order of the key.
    pub prev_kvs: Vec<KeyValue>,
}

/// The answer to a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnResponse {
    /// For the header; 0 of a transaction within another, whose header is empty.
    pub revision: i64,
    /// Whether the comparisons held.
    pub succeeded: bool,
    /// One for each operation of the branch taken.
    pub responses: Vec<ResponseOp>,
}

/// The answer to one operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseOp {
    /// To a range.
    Range(RangeResponse),
    /// To a put.
    Put(PutResponse),
    /// To a delete.
    DeleteRange(DeleteRangeResponse),
    /// To a transaction within.
    Txn(TxnResponse),
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// To a put.
    Put(PutResponse),
    /// To a delete.
    DeleteRange(DeleteRangeResponse),
    /// To a transaction.
    Txn(TxnResponse),
    /// The history below is gone for readers. Its space comes back later:
    /// [`crate::ReadState::physically_compacted`].
    Compact,
    /// A lease was granted.
    LeaseGrant {
        /// Its id.
        id: i64,
        /// Its time to live in seconds.
        ttl: i64,
    },
    /// A lease was revoked.
    LeaseRevoke,
    /// A lease was found expired and revoked, or was left alone.
    LeaseExpire {
        /// Whether it was revoked. Not so if it was gone, or if the primary that asked has been
        /// succeeded by another, whose clock counts now.
        revoked: bool,
    },
    /// A member's attributes were noted.
    Member,
    /// Users, roles or rights were changed.
    Auth,
    /// The alarm that is raised now, or that was taken back; `None` if there was none.
    Alarm(Option<Alarm>),
}

/// What the proposer of a command gets back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The store's revision after the command.
    pub revision: i64,
    /// The answer, or why the command changed nothing; or that the answer is
    /// [too large](Error::AnswerTooLarge).
    pub result: Result<Response, Error>,
}

/// A lease came or went; what a [`crate::Lessor`] must hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseChange {
    /// A lease was granted.
    Granted(Lease),
    /// A lease is gone.
    Revoked {
        /// Its id.
        id: i64,
    },
}

/// A lease as it is replicated. How much of its life remains, only the primary's clock knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lease {
    /// Its id, not 0.
    pub id: i64,
    /// The time to live it was granted, in seconds.
    pub ttl: i64,
}
