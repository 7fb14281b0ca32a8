//! Between the wire and the data model.
//!
//! Inwards this is the gateway: every request is checked here once, in etcd's order of checks (a
//! client sees which error comes first), and what comes out can't be wrong any more. Outwards it is
//! a change of names.

use bytes::Bytes;
use quorate_mvcc as mvcc;
use quorate_mvcc::{Error, KeyRange};
use quorate_proto::etcdserverpb as pb;
use quorate_proto::mvccpb;

use pb::compare::TargetUnion;
use pb::request_op::Request;
use pb::response_op::Response;

use super::Failure;

/// Checks a range.
pub(crate) fn range_request(request: pb::RangeRequest) -> Result<mvcc::RangeRequest, Failure> {
    Ok(mvcc::RangeRequest {
        range: KeyRange::parse(request.key, request.range_end)?,
        sort_order: request.sort_order.try_into()?,
        sort_target: request.sort_target.try_into()?,
        limit: u64::try_from(request.limit).unwrap_or(0),
        revision: request.revision,
        serializable: request.serializable,
        keys_only: request.keys_only,
        count_only: request.count_only,
        min_mod_revision: request.min_mod_revision,
        max_mod_revision: request.max_mod_revision,
        min_create_revision: request.min_create_revision,
        max_create_revision: request.max_create_revision,
    })
}

/// Checks a put.
pub(crate) fn put_request(request: pb::PutRequest) -> Result<mvcc::PutRequest, Failure> {
    let request = mvcc::PutRequest {
        key: request.key,
        value: request.value,
        lease: request.lease,
        prev_kv: request.prev_kv,
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
    };
    request.check()?;
    Ok(request)
}

/// Checks a delete.
pub(crate) fn delete_request(
    request: pb::DeleteRangeRequest,
) -> Result<mvcc::DeleteRangeRequest, Failure> {
    Ok(mvcc::DeleteRangeRequest {
        range: KeyRange::parse(request.key, request.range_end)?,
        prev_kv: request.prev_kv,
    })
}

/// Checks a transaction with a budget of operations.
pub(crate) fn txn_request(
    request: pb::TxnRequest,
    ops_max: usize,
) -> Result<mvcc::TxnRequest, Failure> {
    let txn = shape(request, ops_max)?;
    txn.check(ops_max)?;
    Ok(txn)
}

/// The operations one by one. What lies within another transaction has the budget that the outer one
/// leaves. The budget is asked for first, since etcd complains of too many operations before it looks
/// at any.
fn shape(request: pb::TxnRequest, ops_max: usize) -> Result<mvcc::TxnRequest, Failure> {
    let ops = request.compare.len().max(request.success.len()).max(request.failure.len());
    let ops_left = ops_max.checked_sub(ops).ok_or(Error::TooManyOps)?;
    let branch = |ops: Vec<pb::RequestOp>| {
        ops.into_iter().map(|op| request_op(op, ops_left)).collect::<Result<Vec<_>, _>>()
    };
    Ok(mvcc::TxnRequest {
        compare: request.compare.into_iter().map(compare).collect::<Result<_, _>>()?,
        success: branch(request.success)?,
        failure: branch(request.failure)?,
    })
}

fn request_op(op: pb::RequestOp, ops_max: usize) -> Result<mvcc::RequestOp, Failure> {
    Ok(match op.request {
        Some(Request::RequestRange(range)) => mvcc::RequestOp::Range(range_request(range)?),
        Some(Request::RequestPut(put)) => mvcc::RequestOp::Put(put_request(put)?),
        Some(Request::RequestDeleteRange(delete)) => {
            mvcc::RequestOp::DeleteRange(delete_request(delete)?)
        }
        Some(Request::RequestTxn(txn)) => mvcc::RequestOp::Txn(shape(txn, ops_max)?),
        // An operation that says nothing. The name of the error is etcd's choice.
        None => return Err(Error::KeyNotFound.into()),
    })
}

/// The target says what is compared; the arm of the union counts only if it is the target's.
fn compare(compare: pb::Compare) -> Result<mvcc::Compare, Failure> {
    use mvcc::CompareOperand as Operand;
    use pb::compare::CompareTarget as Target;

    let operand = match (Target::try_from(compare.target), compare.target_union) {
        (Ok(Target::Version), Some(TargetUnion::Version(version))) => Operand::Version(version),
        (Ok(Target::Version), _) => Operand::Version(0),
        (Ok(Target::Create), Some(TargetUnion::CreateRevision(create))) => Operand::Create(create),
        (Ok(Target::Create), _) => Operand::Create(0),
        (Ok(Target::Mod), Some(TargetUnion::ModRevision(modified))) => Operand::Mod(modified),
        (Ok(Target::Mod), _) => Operand::Mod(0),
        (Ok(Target::Value), Some(TargetUnion::Value(value))) => Operand::Value(value),
        (Ok(Target::Value), _) => Operand::Value(Bytes::new()),
        (Ok(Target::Lease), Some(TargetUnion::Lease(lease))) => Operand::Lease(lease),
        (Ok(Target::Lease), _) => Operand::Lease(0),
        (Err(_), _) => Operand::Unknown,
    };
    Ok(mvcc::Compare {
        range: KeyRange::parse(compare.key, compare.range_end)?,
        result: compare.result.into(),
        operand,
    })
}

/// A key as the wire has it.
pub(crate) fn key_value(kv: mvcc::KeyValue) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: kv.key,
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        value: kv.value,
        lease: kv.lease,
    }
}

fn key_values(kvs: Vec<mvcc::KeyValue>) -> Vec<mvccpb::KeyValue> {
    kvs.into_iter().map(key_value).collect()
}

/// The answer to a range, without its header.
pub(crate) fn range_response(response: mvcc::RangeResponse) -> pb::RangeResponse {
    pb::RangeResponse {
        header: None,
        kvs: key_values(response.kvs),
        more: response.more,
        count: count(response.count),
    }
}

/// The answer to a put, without its header.
pub(crate) fn put_response(response: mvcc::PutResponse) -> pb::PutResponse {
    pb::PutResponse { header: None, prev_kv: response.prev_kv.map(key_value) }
}

/// The answer to a delete, without its header.
pub(crate) fn delete_response(response: mvcc::DeleteRangeResponse) -> pb::DeleteRangeResponse {
    pb::DeleteRangeResponse {
        header: None,
        deleted: count(response.deleted),
        prev_kvs: key_values(response.prev_kvs),
    }
}

/// The answer to a transaction, without its header.
pub(crate) fn txn_response(response: mvcc::TxnResponse) -> pb::TxnResponse {
    pb::TxnResponse {
        header: None,
        succeeded: response.succeeded,
        responses: response.responses.into_iter().map(response_op).collect(),
    }
}

/// The answers inside a transaction have headers too, with the revision and nothing else: old API
/// servers of Kubernetes read it there. That of an inner transaction is empty.
fn response_op(response: mvcc::ResponseOp) -> pb::ResponseOp {
    let header = |revision| Some(pb::ResponseHeader { revision, ..Default::default() });
    let response = match response {
        mvcc::ResponseOp::Range(range) => {
            let header = header(range.revision);
            Response::ResponseRange(pb::RangeResponse { header, ..range_response(range) })
        }
        mvcc::ResponseOp::Put(put) => {
            let header = header(put.revision);
            Response::ResponsePut(pb::PutResponse { header, ..put_response(put) })
        }
        mvcc::ResponseOp::DeleteRange(delete) => {
            let header = header(delete.revision);
            Response::ResponseDeleteRange(pb::DeleteRangeResponse {
                header,
                ..delete_response(delete)
            })
        }
        mvcc::ResponseOp::Txn(txn) => {
            let header = header(txn.revision);
            Response::ResponseTxn(pb::TxnResponse { header, ..txn_response(txn) })
        }
    };
    pb::ResponseOp { response: Some(response) }
}

/// A change of a key.
pub(crate) fn event(event: mvcc::Event) -> mvccpb::Event {
    let r#type = match event.kind {
        mvcc::EventKind::Put => mvccpb::event::EventType::Put,
        mvcc::EventKind::Delete => mvccpb::event::EventType::Delete,
    };
    mvccpb::Event {
        r#type: r#type.into(),
        kv: Some(key_value(event.kv)),
        prev_kv: event.prev_kv.map(key_value),
    }
}

/// A number of keys as the wire has it.
fn count(keys: u64) -> i64 {
    i64::try_from(keys).expect("a store holds fewer than 2^63 keys")
}
