//! Counts of calls, and the page of `/metrics`.
//!
//! Names and labels are those of etcd wherever the number means the same, because dashboards and alerts
//! exist for them. What is Quorate's alone begins with `quorate_`. A number that is not measured here is
//! left out: a zero would be a claim.

mod messages;
mod page;
mod process;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Frame, SizeHint};
use quorate_host::{Clock, Histogram};
use quorate_raft::Time;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::admission::{Held, PIECE_BYTES};
use crate::http::{Check, Probe};
use crate::rpc::METHODS;

use self::messages::Messages;
pub(crate) use self::messages::Received;
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
    /// Whether it is measured how long calls take.
    is_extensive: bool,
    clock: Clock,
    /// Bytes of the bodies that clients were sent.
    sent_bytes: AtomicU64,
    /// Bytes of the bodies that they sent.
    received_bytes: AtomicU64,
    /// How long the store took to commit what was applied.
    store_commit: Histogram,
    /// Elections that this member saw the outcome of.
    pub(crate) leader_changes: AtomicU64,
    /// Voters that this member replaced by spares, as they had failed.
    pub(crate) members_replaced: AtomicU64,
    /// Leases that ran out and were revoked by this member.
    leases_expired: AtomicU64,
    /// Watchers that are open on this member.
    pub(crate) watchers: AtomicU64,
    /// Watchers that were cancelled as their client did not read.
    pub(crate) watchers_too_slow: AtomicU64,
    /// Streams of watches that are open on this member.
    pub(crate) watch_streams: AtomicU64,
    /// Connections for which there was no room.
    pub(crate) connections_refused: AtomicU64,
    /// Answers of `/health`: good ones, and others.
    healths: [AtomicU64; 2],
    /// The checks of each probe.
    probes: [[Checked; Check::ALL.len()]; Probe::ALL.len()],
}

/// What a check has come to.
#[derive(Debug, Default)]
struct Checked {
    /// How often it was well, and how often not.
    counts: [AtomicU64; 2],
    /// Whether it was the last time.
    is_well: AtomicBool,
}

/// One call of the API.
#[derive(Debug, Default)]
struct Call {
    started: AtomicU64,
    handled: [AtomicU64; CODES.len()],
    received_messages: AtomicU64,
    sent_messages: AtomicU64,
    took: HandlingTime,
}

/// How long calls took, from their beginning to the end of the answer.
#[derive(Debug, Default)]
struct HandlingTime {
    /// One for each of [`HandlingTime::BOUNDS_MS`], and one for what took longer.
    buckets: [AtomicU64; Self::BOUNDS_MS.len() + 1],
    sum_nanos: AtomicU64,
}

impl HandlingTime {
    /// The upper bounds of the buckets, as etcd has them.
    const BOUNDS_MS: [u64; 11] = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000];

    fn record(&self, duration: Duration) {
        let bucket =
            Self::BOUNDS_MS.partition_point(|bound| Duration::from_millis(*bound) < duration);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

impl Metrics {
    pub(crate) fn new(is_extensive: bool) -> Self {
        Self {
            calls: METHODS.iter().map(|_| Call::default()).collect(),
            is_extensive,
            clock: Clock::start(),
            sent_bytes: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            store_commit: Histogram::default(),
            leader_changes: AtomicU64::new(0),
            members_replaced: AtomicU64::new(0),
            leases_expired: AtomicU64::new(0),
            watchers: AtomicU64::new(0),
            watchers_too_slow: AtomicU64::new(0),
            watch_streams: AtomicU64::new(0),
            connections_refused: AtomicU64::new(0),
            healths: Default::default(),
            probes: Default::default(),
        }
    }

    /// Counts an answer of `/health`.
    pub(crate) fn health(&self, is_well: bool) {
        self.healths[usize::from(!is_well)].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a check that was made for a probe.
    pub(crate) fn checked(&self, probe: Probe, check: Check, is_well: bool) {
        let checked = &self.probes[probe as usize][check as usize];
        checked.counts[usize::from(!is_well)].fetch_add(1, Ordering::Relaxed);
        checked.is_well.store(is_well, Ordering::Relaxed);
    }

    /// Counts a lease that ran out.
    pub(crate) fn lease_expired(&self) {
        self.leases_expired.fetch_add(1, Ordering::Relaxed);
    }

    /// Measures a commit of the store.
    pub(crate) fn commit<T>(&self, commit: impl FnOnce() -> T) -> T {
        let began = self.clock.now();
        let done = commit();
        self.store_commit.record(self.clock.now().since(began));
        done
    }

    /// Counts the beginning of a call. When that was is told if it is to be measured.
    pub(crate) fn started(&self, method: usize) -> Option<Time> {
        self.calls[method].started.fetch_add(1, Ordering::Relaxed);
        self.is_extensive.then(|| self.clock.now())
    }

    /// Counts the end of a call when its answer has it, which keeps until then what the call holds.
    pub(crate) fn watch_status(
        self: &Arc<Self>,
        method: usize,
        began: Option<Time>,
        held: Option<Held>,
        response: Response<Body>,
    ) -> Response<Body> {
        // An answer without a body has its status in the headers.
        if let Some(status) = Status::from_header_map(response.headers()) {
            self.handled(method, began, status.code());
            return response;
        }
        let (metrics, messages) = (self.clone(), Messages::default());
        response.map(|inner| {
            Body::new(Counted {
                inner,
                metrics,
                method,
                began,
                messages,
                ended: false,
                held,
                rest: Bytes::new(),
            })
        })
    }

    fn handled(&self, method: usize, began: Option<Time>, code: Code) {
        let call = &self.calls[method];
        // The numbers of the codes are gRPC's, 0 to 16.
        call.handled[code as usize].fetch_add(1, Ordering::Relaxed);
        if let Some(began) = began {
            call.took.record(self.clock.now().since(began));
        }
    }
}

/// A body that tells how the call ended.
struct Counted {
    inner: Body,
    metrics: Arc<Metrics>,
    method: usize,
    began: Option<Time>,
    messages: Messages,
    ended: bool,
    /// What the call holds until the last of its answer is gone.
    held: Option<Held>,
    /// What is left of a large piece.
    rest: Bytes,
}

impl Counted {
    /// The next piece of what is left. What the call holds stays until it has arrived.
    fn next_piece(&mut self) -> Bytes {
        let length = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(length);
        match &self.held {
            None => piece,
            Some(held) => held.leaving(piece, self.rest.is_empty()),
        }
    }

    fn end(&mut self, code: Code) {
        if !std::mem::replace(&mut self.ended, true) {
            self.metrics.handled(self.method, self.began, code);
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
        if !self.rest.is_empty() {
            let piece = self.next_piece();
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.metrics.sent_bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
                    let messages = self.messages.add(data);
                    let sent = &self.metrics.calls[self.method].sent_messages;
                    sent.fetch_add(messages, Ordering::Relaxed);
                }
                if let Some(trailers) = frame.trailers_ref() {
                    self.end(code_of(trailers));
                }
            }
            Some(Err(status)) => self.end(status.code()),
            None => {}
        }
        let frame = match frame {
            Some(Ok(frame)) if frame.is_data() => {
                self.rest = frame.into_data().unwrap_or_default();
                Some(Ok(Frame::data(self.next_piece())))
            }
            frame => frame,
        };
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
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
