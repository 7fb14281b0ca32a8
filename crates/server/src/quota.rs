//! What a request would add to the store, as etcd estimates it, and how full the store may be.
//!
//! A request that adds nothing (a read, a delete) is never refused for want of space: deleting is how
//! space is won back. What counts is the size of what is in use, and not what lies on the disk: so deletions and
//! compactions bring it down by themselves.

mod keeper;

pub(crate) use self::keeper::{Keeper, name};

use quorate_proto::etcdserverpb as pb;

/// What surrounds a key and its value in the store.
const KEY_OVERHEAD: u64 = 256;

/// What a lease takes.
pub(crate) const LEASE_COST: u64 = 64;

/// From where on the log and a metric warn: four fifths of the quota.
pub(crate) fn soft_limit(quota: u64) -> u64 {
    quota - quota / 5
}

/// Below what an alarm goes that was raised at the quota: nine tenths of it.
pub(crate) fn clear_mark(quota: u64) -> u64 {
    quota - quota / 10
}

/// The bytes that a key takes with its value.
pub(crate) fn key_cost(key: &[u8], value: &[u8]) -> u64 {
    KEY_OVERHEAD + key.len() as u64 + value.len() as u64
}

/// The bytes that a put adds.
pub(crate) fn put_cost(put: &pb::PutRequest) -> u64 {
    key_cost(&put.key, &put.value)
}

/// The bytes that a transaction adds: those of its dearer branch, as it is not known which is taken.
pub(crate) fn txn_cost(txn: &pb::TxnRequest) -> u64 {
    use pb::request_op::Request;

    let branch_cost = |ops: &[pb::RequestOp]| {
        ops.iter()
            .map(|op| match &op.request {
                Some(Request::RequestPut(put)) => put_cost(put),
                Some(Request::RequestTxn(txn)) => txn_cost(txn),
                Some(Request::RequestRange(_) | Request::RequestDeleteRange(_)) | None => 0,
            })
            .sum::<u64>()
    };
    branch_cost(&txn.success).max(branch_cost(&txn.failure))
}

#[cfg(test)]
mod tests {
    use pb::request_op::Request;

    use super::*;

    fn put(value: &'static str) -> Request {
        Request::RequestPut(pb::PutRequest {
            key: "key".into(),
            value: value.into(),
            ..Default::default()
        })
    }

    fn branch(requests: impl IntoIterator<Item = Request>) -> Vec<pb::RequestOp> {
        requests.into_iter().map(|request| pb::RequestOp { request: Some(request) }).collect()
    }

    #[test]
    fn the_dearer_branch_counts() {
        let inner = pb::TxnRequest { failure: branch([put("1234")]), ..Default::default() };
        let txn = pb::TxnRequest {
            success: branch([put("1"), Request::RequestTxn(inner)]),
            failure: branch([put("123")]),
            ..Default::default()
        };
        assert_eq!(txn_cost(&txn), 256 + 3 + 1 + 256 + 3 + 4);
    }

    #[test]
    fn reads_and_deletes_are_free() {
        let txn = pb::TxnRequest {
            success: branch([
                Request::RequestRange(Default::default()),
                Request::RequestDeleteRange(Default::default()),
            ]),
            failure: vec![pb::RequestOp { request: None }],
            ..Default::default()
        };
        assert_eq!(txn_cost(&txn), 0);
    }
}
