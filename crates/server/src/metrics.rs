//! Counts of calls, and the page of `/metrics`.
//!
//! Names and labels are those of etcd wherever the number means the same, because dashboards and alerts
//! exist for them. What is Quorate's alone begins with `quorate_`. A number that is not measured here is
//! left out: a zero would be a claim.

mod page;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Frame, SizeHint};
use tonic::body::Body;
use tonic::{Code, Status};

use crate::rpc::METHODS;

pub(crate) use self::page::render;

/// The codes of gRPC, by their number.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// What is counted here. The host, the engine and the store count for themselves.
#[derive(Debug)]
pub(crate) struct Metrics {
    calls: Vec<Call>,
    /// Bytes of the bodies that clients were sent.
    sent_bytes: AtomicU64,
    /// Elections that this member saw the outcome of.
    pub(crate) leader_changes: AtomicU64,
    /// Voters that this member replaced by spares, as they had failed.
    pub(crate) members_replaced: AtomicU64,
    /// Leases that ran out and were revoked by this member.
    leases_expired: AtomicU64,
    /// Watchers that are open on this member.
    pub(crate) watchers: AtomicU64,
    /// Streams of watches that are open on this member.
    pub(crate) watch_streams: AtomicU64,
}

/// One call of the API.
#[derive(Debug, Default)]
struct Call {
    started: AtomicU64,
    handled: [AtomicU64; CODES.len()],
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            calls: METHODS.iter().map(|_| Call::default()).collect(),
            sent_bytes: AtomicU64::new(0),
            leader_changes: AtomicU64::new(0),
            members_replaced: AtomicU64::new(0),
            leases_expired: AtomicU64::new(0),
            watchers: AtomicU64::new(0),
            watch_streams: AtomicU64::new(0),
        }
    }

    /// Counts a lease that ran out.
    pub(crate) fn lease_expired(&self) {
        self.leases_expired.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the beginning of a call.
    pub(crate) fn started(&self, method: usize) {
        self.calls[method].started.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the end of a call when its answer has it.
    pub(crate) fn watch_status(
        self: &Arc<Self>,
        method: usize,
        response: Response<Body>,
    ) -> Response<Body> {
        // An answer without a body has its status in the headers.
        if let Some(status) = Status::from_header_map(response.headers()) {
            self.handled(method, status.code());
            return response;
        }
        let metrics = self.clone();
        response.map(|inner| Body::new(Counted { inner, metrics, method, ended: false }))
    }

    fn handled(&self, method: usize, code: Code) {
        // The numbers of the codes are gRPC's, 0 to 16.
        self.calls[method].handled[code as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// A body that tells how the call ended.
struct Counted {
    inner: Body,
    metrics: Arc<Metrics>,
    method: usize,
    ended: bool,
}

impl Counted {
    fn end(&mut self, code: Code) {
        if !std::mem::replace(&mut self.ended, true) {
            self.metrics.handled(self.method, code);
        }
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.metrics.sent_bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
                }
                if let Some(trailers) = frame.trailers_ref() {
                    self.end(code_of(trailers));
                }
            }
            Some(Err(status)) => self.end(status.code()),
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A body that is dropped before its end was cancelled by the client.
impl Drop for Counted {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

fn code_of(trailers: &HeaderMap) -> Code {
    Status::from_header_map(trailers).map_or(Code::Unknown, |status| status.code())
}
