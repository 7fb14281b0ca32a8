//! The same requests and answers in the words of the checkers and on the wire.

use quorate_check::history::{Reply, Request, Response};
use quorate_mvcc::{
    self as mvcc, CompareOperand, CompareResult, Error, Event, EventKind, RequestOp, ResponseOp,
};
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::compare::{CompareTarget, TargetUnion};
use quorate_proto::etcdserverpb::{request_op, response_op};
use quorate_proto::mvccpb;
use tonic::Status;

use crate::checks::client::Client;

/// Sends a request; the answer, or how it failed.
pub(super) async fn send(client: &Client, request: &Request) -> Result<Response, Status> {
    Ok(match request {
        Request::Range(range) => {
            Response::Range(range_answer(client.range(range_of(range)).await?))
        }
        Request::Put(put) => Response::Put(put_answer(client.put_with(put_of(put)).await?)),
        Request::DeleteRange(delete) => {
            Response::DeleteRange(delete_answer(client.delete_range(delete_of(delete)).await?))
        }
        Request::Txn(txn) => {
            let message = pb::TxnRequest {
                compare: txn.compare.iter().map(compare_of).collect(),
                success: txn.success.iter().map(op_of).collect(),
                failure: txn.failure.iter().map(op_of).collect(),
            };
            let answer = client.txn(message).await?;
            Response::Txn(mvcc::TxnResponse {
                revision: revision(answer.header),
                succeeded: answer.succeeded,
                responses: answer.responses.into_iter().map(op_answer).collect(),
            })
        }
        Request::LeaseGrant { id, ttl } => {
            client.grant(*id, *ttl).await?;
            Response::LeaseGrant { id: *id }
        }
        Request::Compact { revision } => {
            client.compact(*revision).await?;
            Response::Compact
        }
        Request::LeaseRevoke { .. } => unreachable!("the traffic has no such request"),
    })
}

/// Whether a failure says that the request was refused before it was in the log.
pub(super) fn is_without_effect(status: &Status) -> bool {
    status.message() == "etcdserver: mvcc: database space exceeded"
}

/// What a failure says of the state, if it is a refusal by the data model.
pub(super) fn refusal(status: &Status) -> Option<Reply> {
    let error = match status.message() {
        "etcdserver: requested lease not found" => Error::LeaseNotFound,
        "etcdserver: lease already exists" => Error::LeaseExists,
        "etcdserver: mvcc: required revision has been compacted" => Error::Compacted,
        "etcdserver: mvcc: required revision is a future revision" => Error::FutureRevision,
        _ => return None,
    };
    Some(Err(error))
}

fn revision(header: Option<pb::ResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
}

fn range_of(range: &mvcc::RangeRequest) -> pb::RangeRequest {
    let (key, range_end) = range.range.to_pair();
    pb::RangeRequest {
        key,
        range_end,
        serializable: range.serializable,
        revision: range.revision,
        ..pb::RangeRequest::default()
    }
}

fn put_of(put: &mvcc::PutRequest) -> pb::PutRequest {
    pb::PutRequest {
        key: put.key.clone(),
        value: put.value.clone(),
        lease: put.lease,
        prev_kv: put.prev_kv,
        ignore_value: put.ignore_value,
        ignore_lease: put.ignore_lease,
    }
}

fn delete_of(delete: &mvcc::DeleteRangeRequest) -> pb::DeleteRangeRequest {
    let (key, range_end) = delete.range.to_pair();
    pb::DeleteRangeRequest { key, range_end, prev_kv: delete.prev_kv }
}

fn op_of(op: &RequestOp) -> pb::RequestOp {
    let request = match op {
        RequestOp::Range(range) => request_op::Request::RequestRange(range_of(range)),
        RequestOp::Put(put) => request_op::Request::RequestPut(put_of(put)),
        RequestOp::DeleteRange(delete) => {
            request_op::Request::RequestDeleteRange(delete_of(delete))
        }
        RequestOp::Txn(_) => unreachable!("the traffic has no transaction within another"),
    };
    pb::RequestOp { request: Some(request) }
}

fn compare_of(compare: &mvcc::Compare) -> pb::Compare {
    let CompareOperand::Mod(operand) = compare.operand else {
        unreachable!("the traffic compares revisions only")
    };
    assert_eq!(compare.result, CompareResult::Equal, "the traffic compares for equality only");
    let (key, range_end) = compare.range.to_pair();
    pb::Compare {
        result: 0,
        target: CompareTarget::Mod as i32,
        key,
        range_end,
        target_union: Some(TargetUnion::ModRevision(operand)),
    }
}

fn key_value(kv: mvccpb::KeyValue) -> mvcc::KeyValue {
    mvcc::KeyValue {
        key: kv.key,
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        value: kv.value,
        lease: kv.lease,
    }
}

fn range_answer(answer: pb::RangeResponse) -> mvcc::RangeResponse {
    mvcc::RangeResponse {
        revision: revision(answer.header),
        kvs: answer.kvs.into_iter().map(key_value).collect(),
        more: answer.more,
        count: answer.count as u64,
    }
}

fn put_answer(answer: pb::PutResponse) -> mvcc::PutResponse {
    mvcc::PutResponse { revision: revision(answer.header), prev_kv: answer.prev_kv.map(key_value) }
}

fn delete_answer(answer: pb::DeleteRangeResponse) -> mvcc::DeleteRangeResponse {
    mvcc::DeleteRangeResponse {
        revision: revision(answer.header),
        deleted: answer.deleted as u64,
        prev_kvs: answer.prev_kvs.into_iter().map(key_value).collect(),
    }
}

fn op_answer(op: pb::ResponseOp) -> ResponseOp {
    match op.response {
        Some(response_op::Response::ResponseRange(range)) => ResponseOp::Range(range_answer(range)),
        Some(response_op::Response::ResponsePut(put)) => ResponseOp::Put(put_answer(put)),
        Some(response_op::Response::ResponseDeleteRange(delete)) => {
            ResponseOp::DeleteRange(delete_answer(delete))
        }
        // What no checker takes for the answer to any of the operations that were asked for.
        Some(response_op::Response::ResponseTxn(_)) | None => {
            ResponseOp::Txn(mvcc::TxnResponse::default())
        }
    }
}

/// An event as the checkers have it.
pub(super) fn event(event: mvccpb::Event) -> Event {
    let kind = match event.r#type {
        0 => EventKind::Put,
        _ => EventKind::Delete,
    };
    Event {
        kind,
        kv: event.kv.map(key_value).unwrap_or_default(),
        prev_kv: event.prev_kv.map(key_value),
    }
}
