//! Watches: one task for each stream of a client.
//!
//! What goes to which watcher is decided by [`WatchStream`], which is pure. The task only brings it
//! what the client wants and what has happened, and takes the responses away. It waits wherever it
//! likes: nothing else waits for it. A client that does not read stops its own stream, which falls
//! back to the history when it goes on.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quorate_host::{Lane, Permit};
use quorate_mvcc::auth::Right;
use quorate_mvcc::watch::{Cancel, WatchCreateRequest, WatchLimits, WatchResponse, WatchStream};
use quorate_mvcc::{Error, Event, KeyRange, KeyValue, ReadState};
use quorate_proto::etcdserverpb as pb;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tonic::{Request, Response, Status, Streaming};

use pb::watch_create_request::FilterType;
use pb::watch_request::RequestUnion;

use super::outbox::{Outbox, Responses, Share, outbox};
use super::stream::Ending;
use super::{Failure, convert, message_bytes_max, oversize};
use crate::admission::Held;
use crate::login::Session;
use crate::member::Member;

/// How many responses may wait for a client that does not read them. If there is too little memory, they wait as history.
const RESPONSES_WAITING_MAX: usize = 16;

/// How much is made ready at once for a client that is behind. Together with the number above, this
/// bounds what a stream holds in memory, but for a revision that alone is larger: that is bounded by
/// [`REVISION_BYTES`].
const ADVANCE_BYTES: usize = 1 << 20;

/// How much one revision may be for a stream, if there is as much memory. A million keys, deleted at once, are less.
const REVISION_BYTES: usize = 256 << 20;

/// Which part of all memory for clients that may be.
const REVISION_PART: usize = 8;

/// How often a response is in memory: as it waits, and as it is sent.
const RESPONSE_COPIES: usize = 2;

/// What a response takes besides its events.
const RESPONSE_BYTES: usize = 256;

/// What a watcher takes besides its keys.
const WATCHER_BYTES: usize = 1 << 10;

/// The service.
#[derive(Debug)]
pub(crate) struct Watch(pub(crate) Arc<Member>);

#[tonic::async_trait]
impl pb::watch_server::Watch for Watch {
    type WatchStream = Responses<Result<pb::WatchResponse, Status>>;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let ending = Ending::new(&self.0, request.metadata());
        let session = Session::of(&request);
        let (responses, receiver) = outbox(RESPONSES_WAITING_MAX, Held::of(&request));
        let task = StreamTask::new(self.0.clone(), session, request.into_inner(), responses);
        tokio::spawn(task.run(ending));
        Ok(Response::new(receiver))
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
    /// What its watchers hold, by their ids.
    permits: HashMap<i64, [Permit; 2]>,
    published: watch::Receiver<i64>,
    responses: Outbox<Result<pb::WatchResponse, Status>>,
    /// What there is no room for in there.
    unsent: VecDeque<WatchResponse>,
    /// The memory of these.
    share: Share,
    /// Whether some watcher is behind, so that there is something to send without a new event.
    behind: bool,
    open: Gauge,
}

/// What the task was woken by.
enum Woken {
    ByClient(Result<Option<pb::WatchRequest>, Status>),
    ByEvents,
    ByTime,
    /// There is memory for more that is there already.
    ByItself(Permit),
    /// There is room for what is not sent yet.
    ByRoom,
    ByEnd(Failure),
    /// Nobody is there any more.
    Alone,
    /// What waits to be read is in the way of others.
    InTheWay,
}

impl StreamTask {
    fn new(
        member: Arc<Member>,
        session: Session,
        requests: Streaming<pb::WatchRequest>,
        responses: Outbox<Result<pb::WatchResponse, Status>>,
    ) -> Self {
        let fragment_bytes = message_bytes_max(member.limits.request_bytes_max);
        let part = member.memory.limit().map_or(usize::MAX, |limit| limit / REVISION_PART);
        Self {
            session,
            checked: 0,
            requests,
            listening: true,
            stream: WatchStream::new(WatchLimits {
                fragment_bytes,
                advance_bytes: ADVANCE_BYTES,
                revision_bytes: REVISION_BYTES.min(part),
            }),
            permits: HashMap::new(),
            published: member.published.subscribe(),
            responses,
            unsent: VecDeque::new(),
            share: None,
            behind: false,
            open: Gauge::new(&member),
            member,
        }
    }

    async fn run(mut self, mut ending: Ending) {
        let mut progress = interval(with_jitter(self.member.limits.progress_interval));
        progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (member, responses) = (self.member.clone(), self.responses.clone());
        let patience = member.limits.client_patience;
        let in_the_way = || responses.is_in_the_way(&member.memory, patience);
        // Goes on from turn to turn, as each of them may be short.
        let mut is_in_the_way = Box::pin(in_the_way());
        loop {
            let is_free = self.unsent.is_empty();
            let memory = member.memory.claim_in_time(Lane::Bulk, ADVANCE_BYTES * RESPONSE_COPIES);
            let woken = tokio::select! {
                room = responses.room(), if !is_free => match room {
                    Some(()) => Woken::ByRoom,
                    None => Woken::Alone,
                },
                request = self.requests.message(), if is_free && self.listening => {
                    Woken::ByClient(request)
                }
                changed = self.published.changed(), if is_free && !self.behind => match changed {
                    Ok(()) => Woken::ByEvents,
                    Err(_) => Woken::ByEnd(Failure::Stopped),
                },
                _ = progress.tick(), if is_free => Woken::ByTime,
                memory = memory, if is_free && self.behind => Woken::ByItself(memory),
                failure = ending.reached() => Woken::ByEnd(failure),
                () = responses.abandoned(), if is_free => Woken::Alone,
                () = &mut is_in_the_way, if !responses.is_empty() => Woken::InTheWay,
            };
            let turn = match woken {
                Woken::ByRoom => {
                    let response = self.unsent.pop_front().expect("there is no room to be without");
                    self.responses.put(Ok(self.response(response)), self.share.clone());
                    continue;
                }
                Woken::ByClient(Ok(Some(request))) => self.answer(request),
                Woken::ByClient(Ok(None)) => {
                    self.listening = false;
                    continue;
                }
                Woken::ByClient(Err(status)) => Err(oversize(&status).map_or(status, Into::into)),
                Woken::ByEvents => {
                    self.behind = true;
                    continue;
                }
                Woken::ByItself(memory) => self.advance(memory),
                Woken::ByTime => Ok(self.stream.tick()),
                Woken::ByEnd(failure) => Err(failure.into()),
                Woken::Alone => return,
                Woken::InTheWay => {
                    self.give_way();
                    is_in_the_way.set(in_the_way());
                    Ok(Vec::new())
                }
            };
            match turn {
                Ok(turn) => {
                    for ended in turn.iter().filter(|response| response.cancel.is_some()) {
                        self.permits.remove(&ended.watch_id);
                    }
                    self.unsent.extend(turn);
                    if self.unsent.is_empty() {
                        self.share = None;
                    }
                    self.open.set_watchers(self.stream.len());
                }
                Err(status) => {
                    // What could not be sent is in the history, for when the client comes back.
                    self.responses.put(Err(status), None);
                    return;
                }
            }
        }
    }

    /// Takes back what the client has not read, and ends the watchers of which something was among it: each is told
    /// where to go on.
    fn give_way(&mut self) {
        let is_answer = |response: &pb::WatchResponse| response.created || response.canceled;
        let unread = self.responses.take_back(|it| it.as_ref().is_ok_and(|it| !is_answer(it)));
        let unsent = std::mem::take(&mut self.unsent);
        let unsent: Vec<_> = unsent.into_iter().map(|response| self.response(response)).collect();
        let (answers, unsent): (Vec<_>, Vec<_>) = unsent.into_iter().partition(is_answer);
        self.share = None;
        for answer in answers {
            self.responses.put(Ok(answer), None);
        }
        let mut resume = BTreeMap::new();
        for response in unread.into_iter().flatten().chain(unsent) {
            let first = response.events.first().and_then(|event| event.kv.as_ref());
            if let Some(first) = first {
                resume.entry(response.watch_id).or_insert(first.mod_revision);
            }
        }
        for (watch_id, next) in resume {
            // It may have ended by itself, and was told so then.
            if self.stream.cancel(watch_id, next - 1).is_none() {
                continue;
            }
            self.permits.remove(&watch_id);
            self.member.metrics.watchers_too_slow.fetch_add(1, Ordering::Relaxed);
            let told = pb::WatchResponse {
                header: self.member.header(next - 1),
                watch_id,
                canceled: true,
                cancel_reason: format!(
                    "quorate: the watcher is too slow, to be resumed from revision {next}"
                ),
                ..Default::default()
            };
            self.responses.put(Ok(told), None);
        }
    }

    /// Carries out what the client wants. What says nothing is ignored, as in etcd.
    fn answer(&mut self, request: pb::WatchRequest) -> Result<Vec<WatchResponse>, Status> {
        let revision = self.member.published.revision();
        match request.request_union {
            Some(RequestUnion::CreateRequest(request)) => {
                let state = self.member.state();
                let may_watch = may_watch(&self.session, &state.0);
                let has_room = self.stream.len() < self.member.limits.stream_watchers_max;
                let keys = request.key.len() + request.range_end.len();
                // Little, and not behind those streams that wait for much.
                let memory = self.member.memory.claim_now(Lane::Relief, WATCHER_BYTES + keys);
                let permit = self.member.watchers.take(0).filter(|_| has_room);
                let permits = permit.zip(memory).map(<[Permit; 2]>::from);
                let rates = &self.member.rates;
                let may_be = |range: &KeyRange| match &permits {
                    None => Err(Error::TooManyWatchers),
                    Some(_) => {
                        may_watch(range)?;
                        rates.keys(range).map_err(|_| Error::TooManyWatchers)
                    }
                };
                let request = create_request(request);
                let response = self.stream.create_if(request, revision, may_be);
                if response.cancel.is_none() {
                    self.permits.extend(permits.map(|permits| (response.watch_id, permits)));
                }
                // Its history, if it asked for any, comes with the next turn.
                self.behind = true;
                Ok(vec![response])
            }
            Some(RequestUnion::CancelRequest(request)) => {
                Ok(self.stream.cancel(request.watch_id, revision).into_iter().collect())
            }
            Some(RequestUnion::ProgressRequest(_)) => {
                self.stream.request_progress();
                // It comes with the next turn.
                self.behind = true;
                Ok(Vec::new())
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

    /// Takes what has happened, or what happened long ago, in so much memory.
    fn advance(&mut self, mut memory: Permit) -> Result<Vec<WatchResponse>, Status> {
        let recent = self.member.published.recent(self.stream.position());
        let mut responses = self.check_rights(recent.state());
        let advance = self.member.advance(&mut self.stream, recent)?;
        self.behind = advance.more;
        responses.extend(advance.responses);
        memory.count(RESPONSE_COPIES * responses.iter().map(bytes).sum::<usize>());
        self.share = Some(Arc::new(memory));
        Ok(responses)
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

impl Drop for StreamTask {
    fn drop(&mut self) {
        self.responses.close();
    }
}

/// What a response takes.
fn bytes(response: &WatchResponse) -> usize {
    let room = |event: &Event| event.kv.room() + event.prev_kv.as_ref().map_or(0, KeyValue::room);
    RESPONSE_BYTES + response.events.iter().map(room).sum::<usize>()
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

pub(super) fn create_request(request: pb::WatchCreateRequest) -> WatchCreateRequest {
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
