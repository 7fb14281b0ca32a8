//! What a kube-apiserver sends: guarded transactions, lists in pages, and the race for who compacts.

use bytes::Bytes;
use quorate_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate_proto::etcdserverpb::request_op::Request as Op;
use quorate_proto::etcdserverpb::response_op::Response as Answer;
use quorate_proto::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest,
    TxnResponse,
};
use quorate_proto::mvccpb::KeyValue;
use tonic::Status;

use crate::checks::client::{Client, end_of_prefix};
use crate::checks::kube::history::{Attempt, Guard, Listing, Outcome, Page};

/// Where all objects are.
pub(crate) const REGISTRY: &str = "/registry/";

/// What the apiservers race for.
pub(crate) const COMPACT_REV_KEY: &str = "compact_rev_key";

/// The transaction of a create (`guard` 0), an update or a delete.
pub(crate) fn guarded(attempt: &Attempt) -> TxnRequest {
    let key = attempt.key.clone();
    let (target, union) = match attempt.guard {
        Guard::Mod(revision) => (CompareTarget::Mod, TargetUnion::ModRevision(revision)),
        Guard::Version(version) => (CompareTarget::Version, TargetUnion::Version(version)),
    };
    let is_create = attempt.guard == Guard::Mod(0) && attempt.put.is_some();
    let change = match attempt.put.clone() {
        Some((value, lease)) => {
            Op::RequestPut(PutRequest { key: key.clone(), value, lease, ..PutRequest::default() })
        }
        None => Op::RequestDeleteRange(DeleteRangeRequest {
            key: key.clone(),
            ..DeleteRangeRequest::default()
        }),
    };
    let look = Op::RequestRange(RangeRequest { key: key.clone(), ..RangeRequest::default() });
    let op = |request| RequestOp { request: Some(request) };
    TxnRequest {
        compare: vec![Compare {
            result: CompareResult::Equal.into(),
            target: target.into(),
            key,
            range_end: Bytes::new(),
            target_union: Some(union),
        }],
        success: vec![op(change)],
        failure: if is_create { vec![] } else { vec![op(look)] },
    }
}

/// What an answer says of the attempt, and the object as it is where that was refused.
///
/// # Errors
/// An answer that is not of the form which apiservers read.
pub(crate) fn outcome(
    attempt: &Attempt,
    answer: &TxnResponse,
) -> Result<(Outcome, Option<KeyValue>), String> {
    let revision = answer.header.as_ref().map_or(0, |header| header.revision);
    let of_op = |header: &Option<_>| {
        header.as_ref().map(|header: &quorate_proto::etcdserverpb::ResponseHeader| header.revision)
    };
    let first = answer.responses.first().and_then(|response| response.response.as_ref());
    match (answer.succeeded, &attempt.put, first) {
        (true, Some(_), Some(Answer::ResponsePut(put))) if of_op(&put.header) == Some(revision) => {
            Ok((Outcome::Done(revision), None))
        }
        (true, None, Some(Answer::ResponseDeleteRange(delete)))
            if of_op(&delete.header) == Some(revision) && delete.deleted == 1 =>
        {
            Ok((Outcome::Done(revision), None))
        }
        (false, _, Some(Answer::ResponseRange(range))) if range.kvs.len() as i64 == range.count => {
            let there = range.kvs.first().cloned();
            let told = there.as_ref().map_or(0, |kv| kv.mod_revision);
            Ok((Outcome::Refused(revision, Some(told)), there))
        }
        (false, Some(_), None) if attempt.guard == Guard::Mod(0) => {
            Ok((Outcome::Refused(revision, None), None))
        }
        _ => Err(format!("{attempt:?} was answered {answer:?}")),
    }
}

/// The request for a page of a list: the first one at the newest revision, the others at that of the first.
pub(crate) fn page(prefix: &str, after: Option<&Bytes>, limit: i64, revision: i64) -> RangeRequest {
    let key = match after {
        Some(last) => [&last[..], b"\0"].concat().into(),
        None => Bytes::copy_from_slice(prefix.as_bytes()),
    };
    RangeRequest {
        key,
        range_end: end_of_prefix(prefix),
        limit,
        revision,
        ..RangeRequest::default()
    }
}

/// Reads a list page by page, with pages of twice the size each time, as apiservers do. `between` is called after
/// each page but the last.
///
/// # Errors
/// Those of the reads; a list that does not end.
pub(crate) async fn list(
    client: &Client,
    prefix: &str,
    mut limit: i64,
    mut between: impl AsyncFnMut() -> Result<(), Status>,
) -> Result<Listing, Status> {
    let mut listing = Listing {
        prefix: Bytes::copy_from_slice(prefix.as_bytes()),
        revision: 0,
        pages: Vec::new(),
    };
    let mut last = None;
    loop {
        let answer = client.range(page(prefix, last.as_ref(), limit, listing.revision)).await?;
        if listing.revision == 0 {
            listing.revision = revision(&answer);
        }
        last = answer.kvs.last().map(|kv| kv.key.clone());
        listing.pages.push(Page {
            count: answer.count,
            more: answer.more,
            kvs: answer.kvs.iter().map(|kv| (kv.key.clone(), kv.mod_revision)).collect(),
        });
        // Not by `more`: this is what makes exact counts matter.
        if answer.kvs.len() as i64 >= answer.count || last.is_none() {
            return Ok(listing);
        }
        between().await?;
        limit = (2 * limit).min(10_000);
    }
}

/// The revision of an answer.
pub(crate) fn revision(answer: &RangeResponse) -> i64 {
    answer.header.as_ref().map_or(0, |header| header.revision)
}
