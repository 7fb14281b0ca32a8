//! Keys and values.

use std::sync::Arc;

use quorate_host::Lane;
use quorate_mvcc::{
    Command, KeyRange, KeyValue, RangeRequest, ReadState, RequestOp, Response as Answer,
    ResponseOp, TxnRequest,
};
use quorate_proto::etcdserverpb as pb;
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::freshness::{self, Wanted};
use super::range_stream::RangeInPieces;
use super::stream::Ending;
use super::{Failure, caller, convert};
use crate::admission::Held;
use crate::login::Session;
use crate::member::Member;
use crate::quota;

/// The service.
#[derive(Debug)]
pub(crate) struct Kv(pub(crate) Arc<Member>);

#[tonic::async_trait]
impl pb::kv_server::Kv for Kv {
    async fn range(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<pb::RangeResponse>, Status> {
        let (wanted, caller) = (Wanted::of(request.metadata())?, caller(&request));
        let held = Held::of(&request);
        let request = convert::range_request(request.into_inner())?;
        self.0.rates.keys(&request)?;
        let (state, staleness) = self.0.state_as(wanted, request.serializable).await?;
        state.rights(&caller)?.range(&request).map_err(Failure::from)?;
        let read = |bytes_max| {
            let read = |state: &ReadState| state.range_within(&request, bytes_max);
            let short = is_short(&request);
            let found = if short { state.read(read)? } else { state.read_much(read)? };
            let bytes = found.kvs.iter().map(KeyValue::room).sum();
            Ok((found, bytes))
        };
        let lane = if is_short(&request) { Lane::Ordinary } else { Lane::Bulk };
        let answer = held.answer(lane, read).await?;
        let header = self.0.header(answer.revision);
        let answer = pb::RangeResponse { header, ..convert::range_response(answer) };
        let mut response = Response::new(answer);
        freshness::tell(staleness, response.metadata_mut());
        Ok(response)
    }

    type RangeStreamStream = ReceiverStream<Result<pb::RangeStreamResponse, Status>>;

    async fn range_stream(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        let (session, mut ending) =
            (Session::of(&request), Ending::new(&self.0, request.metadata()));
        let held = Held::of(&request);
        let request = convert::range_request(request.into_inner())?;
        self.0.rates.keys(&request)?;
        let range = RangeInPieces::new(self.0.clone(), session, held, request).await?;
        let (pieces, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            let failure = tokio::select! {
                sent = range.send(&pieces) => sent.err(),
                failure = ending.reached() => Some(failure),
            };
            if let Some(failure) = failure {
                // A client that is gone needs no reason.
                let _ = pieces.send(Err(failure.into())).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn put(
        &self,
        request: Request<pb::PutRequest>,
    ) -> Result<Response<pb::PutResponse>, Status> {
        let (caller, held) = (caller(&request), Held::of(&request));
        let request = request.into_inner();
        self.0.check_quota(quota::put_cost(&request))?;
        let request = convert::put_request(request)?;
        self.0.rates.keys(&request)?;
        let (_, answer) = self.0.propose_for(&held, &caller, Command::Put(request)).await?;
        let Answer::Put(answer) = answer else { unreachable!("a put was answered {answer:?}") };
        let header = self.0.header(answer.revision);
        Ok(Response::new(pb::PutResponse { header, ..convert::put_response(answer) }))
    }

    async fn delete_range(
        &self,
        request: Request<pb::DeleteRangeRequest>,
    ) -> Result<Response<pb::DeleteRangeResponse>, Status> {
        let (caller, held) = (caller(&request), Held::of(&request));
        let request = convert::delete_request(request.into_inner())?;
        self.0.rates.keys(&request)?;
        let (_, answer) = self.0.propose_for(&held, &caller, Command::DeleteRange(request)).await?;
        let Answer::DeleteRange(answer) = answer else {
            unreachable!("a delete was answered {answer:?}")
        };
        let header = self.0.header(answer.revision);
        Ok(Response::new(pb::DeleteRangeResponse { header, ..convert::delete_response(answer) }))
    }

    async fn txn(
        &self,
        request: Request<pb::TxnRequest>,
    ) -> Result<Response<pb::TxnResponse>, Status> {
        let (caller, held) = (caller(&request), Held::of(&request));
        let request = request.into_inner();
        self.0.check_quota(quota::txn_cost(&request))?;
        let request = convert::txn_request(request, self.0.limits.txn_ops_max)?;
        self.0.rates.keys(&request)?;
        let answer = if request.is_read_only() {
            let state = self.0.state_for(may_be_stale(&request)).await?;
            state.rights(&caller)?.txn(&request).map_err(Failure::from)?;
            let read = |bytes_max| {
                let found = state.read_much(|state| state.txn_within(&request, bytes_max))?;
                let bytes = found.responses.iter().map(room).sum();
                Ok((found, bytes))
            };
            held.answer(Lane::Bulk, read).await?
        } else {
            let (_, answer) = self.0.propose_for(&held, &caller, Command::Txn(request)).await?;
            let Answer::Txn(answer) = answer else {
                unreachable!("a transaction was answered {answer:?}")
            };
            answer
        };
        let header = self.0.header(answer.revision);
        Ok(Response::new(pb::TxnResponse { header, ..convert::txn_response(answer) }))
    }

    async fn compact(
        &self,
        request: Request<pb::CompactionRequest>,
    ) -> Result<Response<pb::CompactionResponse>, Status> {
        let caller = caller(&request);
        let pb::CompactionRequest { revision, physical } = request.into_inner();
        // Whoever can't wait is told so before anything is done.
        let wait = if physical { Some(self.0.published.wait()?) } else { None };
        let (current, _) = self.0.propose(&caller, Command::Compact { revision }).await?;
        if let Some(wait) = wait {
            self.0.wait_for_removal(wait, revision).await?;
        }
        Ok(Response::new(pb::CompactionResponse { header: self.0.header(current) }))
    }
}

/// The room that the answer of an operation takes that only reads.
fn room(response: &ResponseOp) -> usize {
    match response {
        ResponseOp::Range(found) => found.kvs.iter().map(KeyValue::room).sum(),
        other => unreachable!("a range was answered {other:?}"),
    }
}

/// Whether a range is one key.
fn is_short(range: &RangeRequest) -> bool {
    matches!(range.range, KeyRange::Point(_))
}

/// Whether all that a transaction reads may be stale. One that reads nothing is a question about the
/// newest state: etcd answers it from a state that may be stale, and clients that take turns with such
/// a question would be misled.
fn may_be_stale(txn: &TxnRequest) -> bool {
    let mut ops = txn.success.iter().chain(&txn.failure).peekable();
    ops.peek().is_some()
        && ops.all(|op| matches!(op, RequestOp::Range(range) if range.serializable))
}
