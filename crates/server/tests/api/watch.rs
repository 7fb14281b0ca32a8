//! Watches.

use std::time::Duration;

use pb::watch_create_request::FilterType;
use pb::watch_request::RequestUnion;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::mvccpb::event::EventType;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming};

use crate::cluster::{Cluster, assert_refused, delete, get, put, within};

/// A stream of a client.
pub(crate) struct Watching {
    requests: mpsc::Sender<pb::WatchRequest>,
    responses: Streaming<pb::WatchResponse>,
}

impl Watching {
    pub(crate) async fn open(cluster: &Cluster, at: usize) -> Self {
        Self::open_with(cluster, at, &[]).await.expect("a stream")
    }

    pub(crate) async fn open_with(
        cluster: &Cluster,
        at: usize,
        metadata: &[(&'static str, &'static str)],
    ) -> Result<Self, Status> {
        let (requests, receiver) = mpsc::channel(1000);
        let mut request = Request::new(ReceiverStream::new(receiver));
        for (name, value) in metadata {
            request.metadata_mut().insert(*name, value.parse().expect("text"));
        }
        let mut client = pb::watch_client::WatchClient::new(cluster.channel(at).await)
            .max_decoding_message_size(usize::MAX);
        let responses = within(client.watch(request)).await?.into_inner();
        Ok(Self { requests, responses })
    }

    pub(crate) async fn send(&self, union: RequestUnion) {
        let request = pb::WatchRequest { request_union: Some(union) };
        self.requests.send(request).await.expect("the stream is open");
    }

    pub(crate) async fn next(&mut self) -> pb::WatchResponse {
        let next = within(self.responses.message()).await.expect("no end");
        next.expect("a response")
    }

    /// Creates a watcher and returns its id.
    pub(crate) async fn create(&mut self, request: pb::WatchCreateRequest) -> i64 {
        self.send(RequestUnion::CreateRequest(request)).await;
        let created = self.next().await;
        assert!(created.created && !created.canceled && created.events.is_empty(), "{created:?}");
        created.watch_id
    }

    /// The next so many events, whatever responses they come in: kind, key and revision.
    pub(crate) async fn events(&mut self, count: usize) -> Vec<(EventType, String, i64)> {
        let mut events = Vec::new();
        while events.len() < count {
            let response = self.next().await;
            assert!(!response.canceled, "{response:?}");
            for event in response.events {
                let kv = event.kv.as_ref().expect("a key");
                let key = String::from_utf8(kv.key.to_vec()).expect("text");
                events.push((event.r#type(), key, kv.mod_revision));
            }
        }
        events
    }

    /// Fails if a response comes within a moment.
    pub(crate) async fn assert_silent(&mut self) {
        let next = timeout(Duration::from_millis(200), self.responses.message()).await;
        assert!(next.is_err(), "{next:?}");
    }
}

pub(crate) fn of(key: &str) -> pb::WatchCreateRequest {
    pb::WatchCreateRequest { key: key.to_owned().into(), ..Default::default() }
}

pub(crate) fn of_all(letter: u8) -> pb::WatchCreateRequest {
    pb::WatchCreateRequest {
        key: vec![letter].into(),
        range_end: vec![letter + 1].into(),
        ..Default::default()
    }
}

fn event(kind: EventType, key: &str, revision: i64) -> (EventType, String, i64) {
    (kind, key.to_owned(), revision)
}

#[tokio::test]
async fn history_then_what_happens() {
    let cluster = Cluster::start(1).await;
    let mut kv = cluster.kv(0).await;
    kv.put(put("a1", "1")).await.expect("written");
    kv.put(put("a2", "1")).await.expect("written");
    kv.delete_range(delete("a1")).await.expect("deleted");

    let mut watching = Watching::open(&cluster, 0).await;
    watching.create(pb::WatchCreateRequest { start_revision: 2, ..of_all(b'a') }).await;
    kv.put(put("b", "other")).await.expect("written");
    kv.put(put("a1", "2")).await.expect("written");
    let (put, delete) = (EventType::Put, EventType::Delete);
    assert_eq!(
        watching.events(4).await,
        [event(put, "a1", 2), event(put, "a2", 3), event(delete, "a1", 4), event(put, "a1", 6)]
    );
    watching.assert_silent().await;
}

#[tokio::test]
async fn a_write_at_one_member_is_seen_at_another() {
    let cluster = Cluster::start(3).await;
    let mut watching = Watching::open(&cluster, 1).await;
    watching.create(of_all(b'a')).await;
    for (at, key) in ["a0", "a1", "a2"].into_iter().enumerate() {
        cluster.kv(at).await.put(put(key, "v")).await.expect("written");
    }
    let keys: Vec<_> = watching.events(3).await.into_iter().map(|(_, key, _)| key).collect();
    assert_eq!(keys, ["a0", "a1", "a2"]);
}

#[tokio::test]
async fn answers_come_in_the_order_of_the_requests() {
    let cluster = Cluster::start(1).await;
    let mut watching = Watching::open(&cluster, 0).await;
    for wanted in [0, 0, 50, 0, 51] {
        let request = pb::WatchCreateRequest { watch_id: wanted, ..of("k") };
        watching.send(RequestUnion::CreateRequest(request)).await;
    }
    let mut ids = Vec::new();
    for _ in 0..5 {
        let created = watching.next().await;
        assert!(created.created);
        ids.push(created.watch_id);
    }
    assert_eq!(ids, [0, 1, 50, 2, 51]);
}

#[tokio::test]
async fn watchers_that_can_not_be_created() {
    let cluster = Cluster::start(1).await;
    let mut watching = Watching::open(&cluster, 0).await;
    watching.create(pb::WatchCreateRequest { watch_id: 5, ..of("k") }).await;
    for (request, reason) in [
        (
            pb::WatchCreateRequest { watch_id: 5, ..of("k") },
            "mvcc: duplicate watch ID provided on the WatchStream",
        ),
        (
            pb::WatchCreateRequest { range_end: "a".into(), ..of("k") },
            "mvcc: watcher range is empty",
        ),
        (
            pb::WatchCreateRequest { start_revision: -1, ..of("k") },
            "etcdserver: mvcc: required revision has been compacted",
        ),
    ] {
        watching.send(RequestUnion::CreateRequest(request)).await;
        let refused = watching.next().await;
        assert!(refused.created && refused.canceled, "{refused:?}");
        assert_eq!((refused.watch_id, refused.cancel_reason.as_str()), (-1, reason));
    }
    // The stream lives on.
    cluster.kv(0).await.put(put("k", "v")).await.expect("written");
    assert_eq!(watching.events(1).await, [event(EventType::Put, "k", 2)]);
}

#[tokio::test]
async fn cancelled_by_the_client() {
    let cluster = Cluster::start(1).await;
    let mut watching = Watching::open(&cluster, 0).await;
    let first = watching.create(of("k")).await;
    let second = watching.create(of("k")).await;
    let cancel = |watch_id| RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id });
    watching.send(cancel(99)).await;
    watching.send(cancel(first)).await;
    let cancelled = watching.next().await;
    assert!(cancelled.canceled && cancelled.cancel_reason.is_empty());
    assert_eq!(cancelled.watch_id, first, "an unknown one gets no answer");
    cluster.kv(0).await.put(put("k", "v")).await.expect("written");
    assert_eq!(watching.next().await.watch_id, second);
    watching.assert_silent().await;
}

#[tokio::test]
async fn what_was_compacted_ends_the_watcher() {
    let cluster = Cluster::start(1).await;
    let mut kv = cluster.kv(0).await;
    for value in ["1", "2", "3"] {
        kv.put(put("k", value)).await.expect("written");
    }
    let compaction = pb::CompactionRequest { revision: 3, physical: false };
    kv.compact(compaction).await.expect("compacted");
    let mut watching = Watching::open(&cluster, 0).await;
    let id = watching.create(pb::WatchCreateRequest { start_revision: 2, ..of("k") }).await;
    let ended = watching.next().await;
    assert!(ended.canceled && !ended.created && ended.cancel_reason.is_empty(), "{ended:?}");
    assert_eq!((ended.watch_id, ended.compact_revision), (id, 3));
    assert_eq!(ended.header.expect("a header").revision, 0);
    // From the compacted revision itself on, all is there.
    watching.create(pb::WatchCreateRequest { start_revision: 3, ..of("k") }).await;
    let put = EventType::Put;
    assert_eq!(watching.events(2).await, [event(put, "k", 3), event(put, "k", 4)]);
}

#[tokio::test]
async fn filters_and_what_was_before() {
    let cluster = Cluster::start(1).await;
    let mut kv = cluster.kv(0).await;
    let mut watching = Watching::open(&cluster, 0).await;
    let filters = vec![FilterType::Noput.into()];
    let request = pb::WatchCreateRequest { filters, prev_kv: true, ..of("k") };
    watching.create(request).await;
    kv.put(put("k", "1")).await.expect("written");
    kv.delete_range(delete("k")).await.expect("deleted");
    let response = watching.next().await;
    assert_eq!(response.header.expect("a header").revision, 3);
    let [gone] = &response.events[..] else { panic!("one event: {:?}", response.events) };
    assert_eq!(gone.r#type(), EventType::Delete);
    assert_eq!(gone.prev_kv.as_ref().expect("what was before").value, "1");
    let kv = gone.kv.as_ref().expect("a key");
    assert_eq!((kv.value.len(), kv.version, kv.create_revision), (0, 0, 0));
}

#[tokio::test]
async fn progress_on_request() {
    let cluster = Cluster::start(1).await;
    let mut kv = cluster.kv(0).await;
    let mut watching = Watching::open(&cluster, 0).await;
    let ask = || RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
    // Of nobody there is nothing to say.
    watching.send(ask()).await;
    watching.assert_silent().await;
    watching.create(of("k")).await;
    kv.put(put("other", "1")).await.expect("written");
    watching.send(ask()).await;
    let progress = watching.next().await;
    assert_eq!((progress.watch_id, progress.events.len()), (-1, 0));
    assert_eq!(progress.header.expect("a header").revision, 2);
    // What is promised has been sent before.
    kv.put(put("k", "1")).await.expect("written");
    watching.send(ask()).await;
    assert_eq!(watching.events(1).await, [event(EventType::Put, "k", 3)]);
    assert_eq!(watching.next().await.header.expect("a header").revision, 3);
}

#[tokio::test]
async fn progress_in_time() {
    let cluster = Cluster::start_with(1, &["--watch-progress-notify-interval=100ms"]).await;
    let mut watching = Watching::open(&cluster, 0).await;
    let id = watching.create(pb::WatchCreateRequest { progress_notify: true, ..of("k") }).await;
    cluster.kv(0).await.put(put("other", "1")).await.expect("written");
    let progress = watching.next().await;
    assert_eq!((progress.watch_id, progress.events.len()), (id, 0));
    assert_eq!(progress.header.expect("a header").revision, 2);
}

#[tokio::test]
async fn large_responses_in_fragments() {
    let flags = ["--max-request-bytes=100000"];
    let cluster = Cluster::start_with(1, &flags).await;
    let mut kv = cluster.kv(0).await;
    let value = "v".repeat(90_000);
    for number in 0..12 {
        kv.put(put(&format!("k{number:02}"), &value)).await.expect("written");
    }
    let mut watching = Watching::open(&cluster, 0).await;
    let request = pb::WatchCreateRequest { fragment: true, start_revision: 2, ..of_all(b'k') };
    watching.create(request).await;
    let (mut keys, mut fragments) = (0, 0);
    while keys < 12 {
        let response = watching.next().await;
        assert!(response.events.len() < 8, "{} events", response.events.len());
        keys += response.events.len();
        fragments += usize::from(response.fragment);
        assert_eq!(response.fragment, keys < 12);
    }
    assert!(fragments >= 1);
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_nobody_and_misses_nothing() {
    let cluster = Cluster::start(1).await;
    let mut kv = cluster.kv(0).await;
    let mut watching = Watching::open(&cluster, 0).await;
    watching.create(of_all(b'k')).await;
    // More than all buffers on the way hold, and more than the ring remembers.
    let value = "v".repeat(1 << 20);
    for number in 0..32 {
        let key = format!("k{number:02}");
        within(kv.put(put(&key, &value))).await.expect("written, whoever watches");
    }
    let keys: Vec<_> = watching.events(32).await.into_iter().map(|(_, key, _)| key).collect();
    assert!(keys.iter().enumerate().all(|(at, key)| *key == format!("k{at:02}")), "{keys:?}");
}

#[tokio::test]
async fn watchers_go_on_after_the_client_said_its_last() {
    let cluster = Cluster::start(1).await;
    let mut watching = Watching::open(&cluster, 0).await;
    watching.create(of("k")).await;
    let Watching { requests, mut responses } = watching;
    drop(requests);
    cluster.kv(0).await.put(put("k", "1")).await.expect("written");
    let response = within(responses.message()).await.expect("no end").expect("a response");
    assert_eq!(response.events.len(), 1);
}

#[tokio::test]
async fn a_server_that_stops_says_so() {
    let mut cluster = Cluster::start(1).await;
    let mut watching = Watching::open(&cluster, 0).await;
    watching.create(of("k")).await;
    cluster.stop(0).await;
    let text = "etcdserver: server stopped";
    assert_refused(within(watching.responses.message()).await, Code::Unavailable, text);
}

#[tokio::test]
async fn a_client_may_want_a_leader() {
    let flags = ["--heartbeat-interval=20", "--election-timeout=200"];
    let mut cluster = Cluster::start_with(2, &flags).await;
    let wanting = [("hasleader", "true")];
    let mut wants = Watching::open_with(&cluster, 0, &wanting).await.expect("there is a leader");
    wants.create(of("k")).await;
    let mut content = Watching::open(&cluster, 0).await;
    content.create(of("k")).await;
    cluster.stop(1).await;

    let text = "etcdserver: no leader";
    assert_refused(within(wants.responses.message()).await, Code::Unavailable, text);
    let again = Watching::open_with(&cluster, 0, &wanting).await;
    assert_refused(again.map(|_| ()), Code::Unavailable, text);
    content.assert_silent().await;
    assert_eq!(cluster.status(0).await.errors, [text]);

    cluster.restart(1).await;
    within(cluster.kv(0).await.put(put("k", "1"))).await.expect("written");
    assert_eq!(content.events(1).await.len(), 1);
    assert_eq!(within(cluster.kv(0).await.range(get("k"))).await.expect("read").get_ref().count, 1);
}
