//! One key, changed only if nobody else has changed it since it was read.

use bytes::Bytes;
use quorate_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate_proto::etcdserverpb::kv_client::KvClient;
use quorate_proto::etcdserverpb::request_op::Request as Op;
use quorate_proto::etcdserverpb::response_op::Response as Answer;
use quorate_proto::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse,
};
use quorate_proto::mvccpb::KeyValue;
use tonic::Status;
use tonic::transport::Channel;

use crate::{Retries, UpdateError};

/// What is to become of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It gets this value, and keeps its lease if it has one.
    Put(Bytes),
    /// It is deleted, if it exists.
    Delete,
    /// It stays as it is.
    Leave,
}

/// What became of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updated {
    /// The revision of the change; that of the last look at the key where nothing was to be changed.
    pub revision: i64,
    /// The key as it was before; `None` if it did not exist.
    pub before: Option<KeyValue>,
    /// So many attempts it took, at least one.
    pub attempts: u32,
}

/// Changes a key as `change` says of what is there, which is `None` if the key does not exist. It is asked again,
/// with what is there then, whenever somebody else was faster; so it has no effects of its own. Only the change of
/// the last time is made.
///
/// # Errors
/// See [`UpdateError`]. Dropped before it has ended, it may or may not have changed the key.
pub async fn update(
    kv: &mut KvClient<Channel>,
    key: impl Into<Bytes>,
    retries: Retries,
    mut change: impl FnMut(Option<&KeyValue>) -> Change,
) -> Result<Updated, UpdateError> {
    let key = key.into();
    let look = RangeRequest { key: key.clone(), ..RangeRequest::default() };
    let read = kv.range(look.clone()).await.map_err(UpdateError::Refused)?.into_inner();
    let mut revision = read.header.map_or(0, |header| header.revision);
    let mut current = read.kvs.into_iter().next();
    for attempts in 1.. {
        let op = match (change(current.as_ref()), &current) {
            (Change::Leave, _) | (Change::Delete, None) => {
                return Ok(Updated { revision, before: current, attempts });
            }
            (Change::Put(value), _) => Op::RequestPut(PutRequest {
                key: key.clone(),
                value,
                lease: current.as_ref().map_or(0, |kv| kv.lease),
                ..PutRequest::default()
            }),
            (Change::Delete, Some(_)) => Op::RequestDeleteRange(DeleteRangeRequest {
                key: key.clone(),
                ..DeleteRangeRequest::default()
            }),
        };
        let txn = guarded(&key, current.as_ref(), op, look.clone());
        let answer = kv.txn(txn).await.map_err(UpdateError::of_write)?.into_inner();
        revision = answer.header.as_ref().map_or(0, |header| header.revision);
        if answer.succeeded {
            return Ok(Updated { revision, before: current, attempts });
        }
        current = there(answer)?;
        if attempts >= retries.attempts_max {
            return Err(UpdateError::Contended { attempts, current });
        }
        retries.wait(attempts).await;
    }
    unreachable!("attempts are counted up to a number")
}

/// A change, if the key was last written when it was read; a look at it otherwise.
fn guarded(key: &Bytes, read: Option<&KeyValue>, change: Op, look: RangeRequest) -> TxnRequest {
    let op = |request| vec![RequestOp { request: Some(request) }];
    let compare = Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        key: key.clone(),
        range_end: Bytes::new(),
        // A key that does not exist has the mod revision 0.
        target_union: Some(TargetUnion::ModRevision(read.map_or(0, |kv| kv.mod_revision))),
    };
    TxnRequest { compare: vec![compare], success: op(change), failure: op(Op::RequestRange(look)) }
}

/// What a refusal tells of the key.
fn there(answer: TxnResponse) -> Result<Option<KeyValue>, UpdateError> {
    let first = answer.responses.into_iter().next().and_then(|response| response.response);
    match first {
        Some(Answer::ResponseRange(range)) => Ok(range.kvs.into_iter().next()),
        _ => Err(UpdateError::Refused(Status::internal("a refusal without the key"))),
    }
}
