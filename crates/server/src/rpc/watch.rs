//! Watches: one task for each stream of a client.
//!
//! What goes to which watcher is decided by [`WatchStream`], which is pure. The task only brings it
//! what the client wants and what has happened, and takes the responses away. It waits wherever it
//! likes: nothing else waits for it. A client that does not read stops its own stream, which falls
//! back to the history when it goes on.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quorate_mvcc::auth::Right;
use quorate_mvcc::watch::{Cancel, WatchCreateRequest, WatchLimits, WatchResponse, WatchStream};
use quorate_mvcc::{Error, KeyRange, ReadState};
use quorate_proto::etcdserverpb as pb;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use pb::watch_create_request::FilterType;
use pb::watch_request::RequestUnion;

use super::stream::Ending;
use super::{Failure, convert, message_bytes_max, oversize};
use crate::login::Session;
use crate::member::Member;

/// How many responses may wait for a client that does not read them.
const RESPONSES_WAITING_MAX: usize = 16;

/// How much is made ready at once for a client that is behind. Together with the number above, this
/// bounds what a stream holds in memory, but for a revision that alone is larger: that is bounded by
/// [`REVISION_BYTES`].
const ADVANCE_BYTES: usize = 1 << 20;

/// How much one revision may be for a stream. A million keys, deleted at once, are less.
const REVISION_BYTES: usize = 256 << 20;

/// The service.
#[derive(Debug)]
pub(crate) struct Watch(pub(crate) Arc<Member>);

#[tonic::async_trait]
impl pb::watch_server::Watch for Watch {
    type WatchStream = ReceiverStream<Result<pb::WatchResponse, Status>>;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let ending = Ending::new(&self.0, request.metadata());
        let session = Session::of(&request);
        let (responses, receiver) = mpsc::channel(RESPONSES_WAITING_MAX);
        let task = StreamTask::new(self.0.clone(), session, request.into_inner(), responses);
        tokio::spawn(task.run(ending));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// A stream and what it is connected to.
struct StreamTask {
    member: Arc<Member>,
    session: Session,
    /// The revision of the rights that its watchers were last held against.
    checked: u64,
    requests: Streaming<pb::WatchRequest>,
    /// Whether the client may still want something. After it has said its last, its watchers go on.
    listening: bool,
    stream: WatchStream,
    published: watch::Receiver<i64>,
    responses: mpsc::Sender<Result<pb::WatchResponse, Status>>,
    /// Whether some watcher is behind, so that there is something to send without a new event.
    behind: bool,
    open: Gauge,
}

/// What the task was woken by.
enum Woken {
    ByClient(Result<Option<pb::WatchRequest>, Status>),
    ByEvents,
    ByTime,
    ByItself,
    ByEnd(Failure),
    /// Nobody is there any more.
    Alone,
}

impl StreamTask {
    fn new(
        member: Arc<Member>,
        session: Session,
        requests: Streaming<pb::WatchRequest>,
        responses: mpsc::Sender<Result<pb::WatchResponse, Status>>,
    ) -> Self {
        let fragment_bytes = message_bytes_max(member.limits.request_bytes_max);
        Self {
            session,
            checked: 0,
            requests,
            listening: true,
            stream: WatchStream::new(WatchLimits {
                fragment_bytes,
                advance_bytes: ADVANCE_BYTES,
                revision_bytes: REVISION_BYTES,
            }),
            published: member.published.subscribe(),
            responses,
            behind: false,
            open: Gauge::new(&member),
            member,
        }
    }

    async fn run(mut self, mut ending: Ending) {
        let mut progress = interval(with_jitter(self.member.limits.progress_interval));
        progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let woken = tokio::select! {
                request = self.requests.message(), if self.listening => Woken::ByClient(request),
                changed = self.published.changed() => match changed {
                    Ok(()) => Woken::ByEvents,
                    Err(_) => Woken::ByEnd(Failure::Stopped),
                },
                _ = progress.tick() => Woken::ByTime,
                () = std::future::ready(()), if self.behind => Woken::ByItself,
                failure = ending.reached() => Woken::ByEnd(failure),
                () = self.responses.closed() => Woken::Alone,
            };
            let turn = match woken {
                Woken::ByClient(Ok(Some(request))) => self.answer(request),
                Woken::ByClient(Ok(None)) => {
                    self.listening = false;
                    continue;
                }
                Woken::ByClient(Err(status)) => Err(oversize(&status).map_or(status, Into::into)),
                Woken::ByEvents | Woken::ByItself => self.advance(),
                Woken::ByTime => Ok(self.stream.tick()),
                Woken::ByEnd(failure) => Err(failure.into()),
                Woken::Alone => return,
            };
            self.open.set_watchers(self.stream.len());
            let sent = tokio::select! {
                sent = self.send(turn) => sent,
                failure = ending.reached() => {
                    // What could not be sent is in the history, for when the client comes back.
                    let _ = self.responses.try_send(Err(failure.into()));
                    return;
                }
            };
            if sent.is_none() {
                return;
            }
        }
    }

    /// Carries out what the client wants. What says nothing is ignored, as in etcd.
    fn answer(&mut self, request: pb::WatchRequest) -> Result<Vec<WatchResponse>, Status> {
        let revision = self.member.published.revision();
        match request.request_union {
            Some(RequestUnion::CreateRequest(request)) => {
                let state = self.member.state();
                let may_watch = may_watch(&self.session, &state.0);
                let request = create_request(request);
                let response = self.stream.create_if(request, revision, may_watch);
                // Its history, if it asked for any, comes with the next turn.
                self.behind = true;
                Ok(vec![response])
            }
            Some(RequestUnion::CancelRequest(request)) => {
                Ok(self.stream.cancel(request.watch_id, revision).into_iter().collect())
            }
            Some(RequestUnion::ProgressRequest(_)) => {
                self.stream.request_progress();
                self.advance()
            }
            None => Ok(Vec::new()),
        }
    }

    /// Ends what the client may not watch any more, if rights have changed.
    fn check_rights(&mut self, state: &ReadState) -> Vec<WatchResponse> {
        let auth = state.auth();
        if !auth.is_enabled() || auth.revision() == self.checked {
            return Vec::new();
        }
        self.checked = auth.revision();
        self.stream.cancel_unless(state.revision(), may_watch(&self.session, state))
    }

    /// Takes what has happened, or what happened long ago.
    fn advance(&mut self) -> Result<Vec<WatchResponse>, Status> {
        let recent = self.member.published.recent(self.stream.position());
        let mut responses = self.check_rights(recent.state());
        let advance = self.member.advance(&mut self.stream, recent)?;
        self.behind = advance.more;
        responses.extend(advance.responses);
        Ok(responses)
    }

    /// Sends what a turn has brought. `None` if it was the last.
    async fn send(&self, turn: Result<Vec<WatchResponse>, Status>) -> Option<()> {
        match turn {
            Ok(responses) => {
                for response in responses {
                    self.responses.send(Ok(self.response(response))).await.ok()?;
                }
                Some(())
            }
            Err(status) => {
                // A client that is gone needs no reason.
                let _ = self.responses.send(Err(status)).await;
                None
            }
        }
    }

    fn response(&self, response: WatchResponse) -> pb::WatchResponse {
        let (canceled, compact_revision, cancel_reason) = match response.cancel {
            None => (false, 0, String::new()),
            Some(Cancel::Asked) => (true, 0, String::new()),
            Some(Cancel::Compacted { compact_revision }) => (true, compact_revision, String::new()),
            Some(Cancel::Refused(refusal)) => (true, 0, reason(refusal)),
        };
        pb::WatchResponse {
            header: self.member.header(response.revision),
            watch_id: response.watch_id,
            created: response.created,
            canceled,
            compact_revision,
            cancel_reason,
            fragment: response.fragment,
            events: response.events.into_iter().map(convert::event).collect(),
        }
    }
}

/// Which ranges a client may watch, by the rights of a state.
fn may_watch<'a>(
    session: &Session,
    state: &'a ReadState,
) -> impl Fn(&KeyRange) -> Result<(), Error> + use<'a> {
    let rights = session.caller(state.auth()).and_then(|caller| state.rights(&caller));
    move |range| match &rights {
        Ok(rights) => rights.check(Right::Read, range),
        Err(refusal) => Err(*refusal),
    }
}

/// Why a watcher ended, as etcd has it: where it is a matter of rights, in the form of its gRPC library.
fn reason(refusal: Error) -> String {
    let text = Failure::from(refusal).text();
    match refusal {
        Error::PermissionDenied | Error::UserEmpty | Error::AuthOldRevision => {
            let code = Status::from(Failure::from(refusal)).code();
            format!("rpc error: code = {code:?} desc = {text}")
        }
        _ => text,
    }
}

fn create_request(request: pb::WatchCreateRequest) -> WatchCreateRequest {
    // A number that is no filter drops nothing, as in etcd.
    let filters = |filter: FilterType| request.filters.contains(&filter.into());
    WatchCreateRequest {
        no_put: filters(FilterType::Noput),
        no_delete: filters(FilterType::Nodelete),
        key: request.key,
        range_end: request.range_end,
        start_revision: request.start_revision,
        progress_notify: request.progress_notify,
        prev_kv: request.prev_kv,
        watch_id: request.watch_id,
        fragment: request.fragment,
    }
}

/// Up to a tenth longer, so that a thousand streams that were opened together do not speak together.
fn with_jitter(interval: Duration) -> Duration {
    let part = (RandomState::new().hash_one(0) % 1000) as u32;
    interval + interval / 10 * part / 1000
}

/// Counts the stream and its watchers for as long as they are open.
struct Gauge {
    member: Arc<Member>,
    watchers: u64,
}

impl Gauge {
    fn new(member: &Arc<Member>) -> Self {
        member.metrics.watch_streams.fetch_add(1, Ordering::Relaxed);
        Self { member: member.clone(), watchers: 0 }
    }

    fn set_watchers(&mut self, watchers: usize) {
        let watchers = watchers as u64;
        let all: &AtomicU64 = &self.member.metrics.watchers;
        all.fetch_add(watchers.wrapping_sub(self.watchers), Ordering::Relaxed);
        self.watchers = watchers;
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.set_watchers(0);
        self.member.metrics.watch_streams.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_a_tenth_at_most() {
        let interval = Duration::from_secs(10);
        for _ in 0..100 {
            let longer = with_jitter(interval);
            assert!((interval..=Duration::from_secs(11)).contains(&longer), "{longer:?}");
        }
    }
}
