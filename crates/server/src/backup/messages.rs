//! The messages that etcd keeps on its disk and sends to no client.

use prost::Message;

/// `leasepb.Lease`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Lease {
    #[prost(int64, tag = "1")]
    pub(super) id: i64,
    /// Seconds.
    #[prost(int64, tag = "2")]
    pub(super) ttl: i64,
    /// What remains of them, in seconds, if a checkpoint said so.
    #[prost(int64, tag = "3")]
    pub(super) remaining_ttl: i64,
}

/// `walpb.Record`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WalRecord {
    #[prost(int64, tag = "1")]
    pub(super) kind: i64,
    #[prost(uint32, tag = "2")]
    pub(super) crc: u32,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) data: Vec<u8>,
}

/// `raftpb.Entry`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Entry {
    /// 0 for a request, others for changes of the members.
    #[prost(int32, tag = "1")]
    pub(super) kind: i32,
    #[prost(uint64, tag = "3")]
    pub(super) index: u64,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) data: Vec<u8>,
}

/// `walpb.Snapshot`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WalSnapshot {
    #[prost(uint64, tag = "1")]
    pub(super) index: u64,
}
