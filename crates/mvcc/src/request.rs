//! What can be asked, with etcd's names. Parsed: a [`KeyRange`] is never empty of meaning, an enum
//! never holds an unknown number, except where etcd gives unknown numbers a meaning.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::error::Error;
use crate::key::KeyRange;

/// Reads a range of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeRequest {
    /// Which keys.
    pub range: KeyRange,
    /// The most keys to return; 0 for all.
    pub limit: u64,
    /// At which revision; 0 for the newest. A negative one means the newest too, except inside a
    /// transaction, where it counts as compacted (etcd's behaviour).
    pub revision: i64,
    /// The order of the keys in the answer.
    pub sort_order: SortOrder,
    /// What they are sorted by.
    pub sort_target: SortTarget,
    /// Whether the local state will do. Means nothing here; the server decides with it what to wait
    /// for.
    pub serializable: bool,
    /// Leaves the values out.
    pub keys_only: bool,
    /// Leaves the keys out too and only counts.
    pub count_only: bool,
    /// Leaves out what was last changed before; 0 for no bound, as in the three below.
    pub min_mod_revision: i64,
    /// Leaves out what was last changed after.
    pub max_mod_revision: i64,
    /// Leaves out what was created before.
    pub min_create_revision: i64,
    /// Leaves out what was created after.
    pub max_create_revision: i64,
}

impl RangeRequest {
    /// All of a range, newest state, ordered by key.
    #[must_use]
    pub fn new(range: KeyRange) -> Self {
        Self {
            range,
            limit: 0,
            revision: 0,
            sort_order: SortOrder::None,
            sort_target: SortTarget::Key,
            serializable: false,
            keys_only: false,
            count_only: false,
            min_mod_revision: 0,
            max_mod_revision: 0,
            min_create_revision: 0,
            max_create_revision: 0,
        }
    }
}

/// An order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortOrder {
    /// As it comes; ascending where the target is not the key.
    #[default]
    None,
    /// Ascending.
    Ascend,
    /// Descending.
    Descend,
}

/// What to sort by. Ties are in order of the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortTarget {
    /// The key.
    #[default]
    Key,
    /// The number of puts since the creation.
    Version,
    /// The revision of the creation.
    Create,
    /// The revision of the last put.
    Mod,
    /// The value.
    Value,
}

impl TryFrom<i32> for SortOrder {
    type Error = Error;

    fn try_from(number: i32) -> Result<Self, Error> {
        Ok(match number {
            0 => Self::None,
            1 => Self::Ascend,
            2 => Self::Descend,
            _ => return Err(Error::InvalidSort),
        })
    }
}

impl TryFrom<i32> for SortTarget {
    type Error = Error;

    fn try_from(number: i32) -> Result<Self, Error> {
        Ok(match number {
            0 => Self::Key,
            1 => Self::Version,
            2 => Self::Create,
            3 => Self::Mod,
            4 => Self::Value,
            _ => return Err(Error::InvalidSort),
        })
    }
}

/// Writes a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutRequest {
    /// The key; not empty.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// The lease to attach the key to; 0 detaches it from the one it has.
    pub lease: i64,
    /// Whether to answer with what was there before.
    pub prev_kv: bool,
    /// Keep the value that is there; `value` must be empty.
    pub ignore_value: bool,
    /// Keep the lease that is there; `lease` must be 0.
    pub ignore_lease: bool,
}

/// Deletes a range of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteRangeRequest {
    /// Which keys.
    pub range: KeyRange,
    /// Whether to answer with what was there before.
    pub prev_kv: bool,
}

/// A transaction: if all comparisons hold then one list of operations, else another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnRequest {
    /// What must hold. An empty list holds.
    pub compare: Vec<Compare>,
    /// What is done if it does.
    pub success: Vec<RequestOp>,
    /// What is done if it does not.
    pub failure: Vec<RequestOp>,
}

/// One comparison: *what is stored* `result` *the operand*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// Every key of it must satisfy. If there is none, a single missing key is compared.
    pub range: KeyRange,
    /// How.
    pub result: CompareResult,
    /// With what.
    pub operand: CompareOperand,
}

/// A relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareResult {
    /// The stored one equals the operand.
    Equal,
    /// The stored one is greater.
    Greater,
    /// The stored one is less.
    Less,
    /// They differ.
    NotEqual,
    /// A number etcd does not know: always holds.
    Unknown,
}

impl From<i32> for CompareResult {
    fn from(number: i32) -> Self {
        match number {
            0 => Self::Equal,
            1 => Self::Greater,
            2 => Self::Less,
            3 => Self::NotEqual,
            _ => Self::Unknown,
        }
    }
}

/// What is compared, and with what. If the wire's union holds another arm than its target says,
/// or none, the operand is 0 or empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompareOperand {
    /// The version.
    Version(i64),
    /// The revision of the creation.
    Create(i64),
    /// The revision of the last put.
    Mod(i64),
    /// The value.
    Value(Bytes),
    /// The lease.
    Lease(i64),
    /// A target etcd does not know: compares as equal.
    Unknown,
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestOp {
    /// Read.
    Range(RangeRequest),
    /// Write.
    Put(PutRequest),
    /// Delete.
    DeleteRange(DeleteRangeRequest),
    /// A transaction within.
    Txn(TxnRequest),
}

/// What a member says about itself when it has started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberAttributes {
    /// The member's id.
    pub id: u64,
    /// Its name.
    pub name: alloc::string::String,
    /// Where clients reach it.
    pub client_urls: Vec<alloc::string::String>,
}
