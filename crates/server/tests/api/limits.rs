//! What one client may take, at the edge: what just fits passes, and one more is refused or has to wait.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use pb::watch_request::RequestUnion;
use prost::Message as _;
use quorate_proto::etcdserverpb as pb;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};

use crate::auth;
use crate::cluster::{Cluster, assert_refused, get, get_all, put, within};
use crate::http::{number, page};
use crate::watch::{Watching, of, of_all};

/// A connection on which nobody reads answers: they get as far as its window.
struct Unread {
    sender: h2::client::SendRequest<Bytes>,
    /// What keeps calls open.
    open: Vec<(h2::SendStream<Bytes>, h2::RecvStream)>,
}

impl Unread {
    async fn open(cluster: &Cluster) -> Self {
        let stream = TcpStream::connect(cluster.address(0)).await.expect("connected");
        let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        tokio::spawn(connection);
        Self { sender, open: Vec::new() }
    }

    /// Begins a call with this body. Says how it ended, if that is known as soon as the answer begins.
    async fn call(&mut self, path: &str, body: &[u8], is_all: bool) -> Option<i32> {
        let request = http::Request::post(format!("http://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .expect("a request");
        let (answer, mut sender) = self.sender.send_request(request, false).expect("begun");
        sender.send_data(Bytes::copy_from_slice(body), is_all).expect("sent");
        let answer = within(answer).await.expect("an answer");
        let status = answer
            .headers()
            .get("grpc-status")
            .map(|status| status.to_str().expect("text").parse().expect("a number"));
        self.open.push((sender, answer.into_body()));
        status
    }

    async fn range(&mut self, range: &pb::RangeRequest) -> Option<i32> {
        let message = range.encode_to_vec();
        let length = u8::try_from(message.len()).expect("a short one");
        self.call("/etcdserverpb.KV/Range", &[&[0, 0, 0, 0, length], &message[..]].concat(), true)
            .await
    }
}

const TOO_MANY: &str = "etcdserver: too many requests";

/// Wishes for a watcher that is one too many.
async fn assert_no_watcher(watching: &mut Watching) {
    watching.send(RequestUnion::CreateRequest(of("k"))).await;
    let refused = watching.next().await;
    assert!(refused.created && refused.canceled && refused.watch_id == -1, "{refused:?}");
    assert_eq!(refused.cancel_reason, TOO_MANY);
}

async fn cancel(watching: &mut Watching, watch_id: i64) {
    watching.send(RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id })).await;
    let canceled = watching.next().await;
    assert!(canceled.canceled && canceled.watch_id == watch_id, "{canceled:?}");
}

#[tokio::test]
async fn a_stream_has_so_many_watchers() {
    let cluster = Cluster::start_with(1, &["--max-watchers-per-stream=2"]).await;
    let mut watching = Watching::open(&cluster, 0).await;
    let first = watching.create(of("k")).await;
    watching.create(of("k")).await;
    assert_no_watcher(&mut watching).await;
    // Those that are there go on, and one that ends makes room.
    cluster.kv(0).await.put(put("k", "1")).await.expect("written");
    assert_eq!(watching.events(2).await.len(), 2);
    cancel(&mut watching, first).await;
    watching.create(of("k")).await;
    assert_no_watcher(&mut watching).await;
    // Another stream has as many.
    let mut other = Watching::open(&cluster, 0).await;
    other.create(of("k")).await;
}

#[tokio::test]
async fn all_streams_together_have_so_many_watchers() {
    let cluster = Cluster::start_with(1, &["--max-watchers=3"]).await;
    let (mut one, mut two) = (Watching::open(&cluster, 0).await, Watching::open(&cluster, 0).await);
    one.create(of("k")).await;
    one.create(of("k")).await;
    two.create(of("k")).await;
    assert_no_watcher(&mut one).await;
    assert_no_watcher(&mut two).await;
    // Who goes away takes its watchers with it.
    drop(one);
    let created = async {
        loop {
            two.send(RequestUnion::CreateRequest(of("k"))).await;
            if !two.next().await.canceled {
                return;
            }
        }
    };
    within(created).await;
}

/// Whoever has as many streams on a connection as there may be waits, and is not refused.
#[tokio::test]
async fn a_connection_has_so_many_streams() {
    let cluster = Cluster::start_with(1, &["--max-concurrent-streams=2"]).await;
    let channel = cluster.channel(0).await;
    let watch = |channel| async {
        let (requests, receiver) = tokio::sync::mpsc::channel(1);
        let receiver = tonic::codegen::tokio_stream::wrappers::ReceiverStream::new(receiver);
        let responses = pb::watch_client::WatchClient::new(channel).watch(receiver).await;
        (requests, responses.expect("a stream"))
    };
    let first = within(watch(channel.clone())).await;
    let second = within(watch(channel.clone())).await;
    let mut kv = pb::kv_client::KvClient::new(channel);
    let third = timeout(Duration::from_millis(200), kv.range(get("k"))).await;
    assert!(third.is_err(), "{third:?}");
    drop(first);
    within(kv.range(get("k"))).await.expect("there is room again");
    drop(second);
}

/// A message is read up to so many bytes, whatever its request may be.
#[tokio::test]
async fn the_largest_message_is_read_and_one_byte_more_is_not() {
    let cluster = Cluster::start_with(1, &["--max-request-bytes=1000"]).await;
    let mut kv = cluster.kv(0).await;
    // A key of one byte and the heads of both, 1 + 1 + 1 and 1 + 3.
    let fits = 1000 + (512 << 10) - 7;
    let refused = kv.put(put("k", &"v".repeat(fits))).await;
    assert_refused(refused, Code::InvalidArgument, "etcdserver: request is too large");
    let refused = kv.put(put("k", &"v".repeat(fits + 1))).await;
    let text = "grpc: received message larger than max (525289 vs. 525288)";
    assert_refused(refused, Code::ResourceExhausted, text);
}

/// A transaction within another one takes from the same budget, however deep it is.
#[tokio::test]
async fn operations_are_counted_through_all_transactions_within() {
    let cluster = Cluster::start_with(1, &["--max-txn-ops=5"]).await;
    let mut kv = cluster.kv(0).await;
    let nested = |depth: usize| {
        let op = |request| pb::RequestOp { request: Some(request) };
        let mut inner = op(pb::request_op::Request::RequestRange(get("k")));
        for _ in 1..depth {
            let txn = pb::TxnRequest { success: vec![inner], ..Default::default() };
            inner = op(pb::request_op::Request::RequestTxn(txn));
        }
        pb::TxnRequest { success: vec![inner], ..Default::default() }
    };
    kv.txn(nested(5)).await.expect("five in all");
    let text = "etcdserver: too many operations in txn request";
    assert_refused(kv.txn(nested(6)).await, Code::InvalidArgument, text);
}

/// A number of the first member's.
async fn metric(cluster: &Cluster, name: &str) -> f64 {
    number(&page(cluster, 0, "/metrics").await.1, name)
}

/// Waits until a number of the first member's is such a one.
async fn until(cluster: &Cluster, name: &str, is_such: impl Fn(f64) -> bool) {
    let reached = async {
        while !is_such(metric(cluster, name).await) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    within(reached).await;
}

const HELD: &str = "quorate_client_memory_bytes";
const LIMIT: f64 = (16 << 20) as f64;

/// A member with 16 MiB for its clients, and a range of 8 MiB, which costs twice as much.
async fn with_little_memory(flags: &[&str]) -> Cluster {
    let flags = [&["--client-memory-limit=16777216"], flags].concat();
    let cluster = Cluster::start_with(1, &flags).await;
    let mut kv = cluster.kv(0).await;
    for number in 0..8 {
        kv.put(put(&format!("k{number}"), &"v".repeat(1 << 20))).await.expect("written");
    }
    cluster
}

#[tokio::test]
async fn an_answer_is_read_if_it_fits_and_refused_if_it_never_will() {
    let cluster = with_little_memory(&[]).await;
    let mut kv = cluster.kv(0).await.max_decoding_message_size(usize::MAX);
    // Large reads have half of it: 4 MiB, twice.
    let of = |limit| pb::RangeRequest { limit, ..get_all(b'k') };
    let three = within(kv.range(of(3))).await.expect("it fits").into_inner();
    assert_eq!((three.kvs.len(), three.count), (3, 8));
    let text = "quorate: the response is too large, ask for less";
    let refused = within(kv.range(of(4))).await.map(drop);
    assert_refused(refused, Code::ResourceExhausted, text);
    let counted = pb::RangeRequest { count_only: true, ..get_all(b'k') };
    assert_eq!(within(kv.range(counted)).await.expect("it tells little").get_ref().count, 8);
    // In pieces there is all of it.
    let pieces = within(kv.range_stream(get_all(b'k'))).await.expect("it begins");
    let (mut pieces, mut found) = (pieces.into_inner(), 0);
    while let Some(piece) = within(pieces.message()).await.expect("it goes on") {
        found += piece.range_response.expect("an answer").kvs.len();
    }
    assert_eq!(found, 8);
    // What a command would tell is counted before it is carried out.
    let delete = pb::DeleteRangeRequest { key: "k".into(), range_end: "l".into(), prev_kv: true };
    let refused = within(kv.delete_range(delete.clone())).await.map(drop);
    assert_refused(refused, Code::ResourceExhausted, text);
    let txn = pb::TxnRequest {
        success: vec![pb::RequestOp {
            request: Some(pb::request_op::Request::RequestDeleteRange(delete.clone())),
        }],
        ..Default::default()
    };
    assert_refused(within(kv.txn(txn)).await.map(drop), Code::ResourceExhausted, text);
    assert_eq!(within(kv.range(get("k0"))).await.expect("read").get_ref().count, 1);
    let quiet = pb::DeleteRangeRequest { prev_kv: false, ..delete };
    assert_eq!(within(kv.delete_range(quiet)).await.expect("deleted").get_ref().deleted, 8);
    until(&cluster, HELD, |held| held < 1_000_000.0).await;
}

/// Clients that ask for much and read nothing fill what there is for them, and not more; others come in.
#[tokio::test]
async fn memory_stays_below_its_limit_and_urgent_calls_come_in() {
    let cluster = with_little_memory(&[]).await;
    let three = pb::RangeRequest { limit: 3, ..get_all(b'k') };
    let mut greedy = Vec::new();
    let mut refused = 0;
    // The answers wait in connections that nobody reads: their windows are full before.
    for _ in 0..3 {
        let mut connection = Unread::open(&cluster).await;
        refused += usize::from(connection.range(&three).await == Some(8));
        greedy.push(connection);
        let held = metric(&cluster, HELD).await;
        assert!(held <= LIMIT, "{held}");
    }
    assert!(refused > 0, "there is no room for two of 3 MiB");
    let mut lease = cluster.lease(0).await;
    let granted = within(lease.lease_grant(pb::LeaseGrantRequest { id: 7, ttl: 60 })).await;
    granted.expect("granted");
    within(lease.lease_revoke(pb::LeaseRevokeRequest { id: 7 })).await.expect("revoked");
    let mut kv = cluster.kv(0).await;
    within(kv.put(put("other", &"v".repeat(1 << 20)))).await.expect("writes have more room");
    within(kv.range(get("other"))).await.expect("and small reads");
    assert!(metric(&cluster, "quorate_client_memory_refused_total").await >= 1.0);
    drop(greedy);
    until(&cluster, HELD, |held| held < 1_000_000.0).await;
}

/// Whoever announces a large message has memory for it for a moment only.
#[tokio::test]
async fn a_message_that_does_not_come_is_waited_for_no_longer_than_that() {
    let cluster = with_little_memory(&["--handshake-timeout=200ms"]).await;
    let mut connection = Unread::open(&cluster).await;
    // It says that two megabytes follow, and sends none of them.
    let code = connection.call("/etcdserverpb.KV/Put", &[0, 0, 0x1f, 0xff, 0xff], false).await;
    assert_eq!(code, Some(14), "etcdserver: request timed out");
    until(&cluster, HELD, |held| held < 1_000_000.0).await;
}

/// Whoever does not read a large answer loses its connection if others need the memory.
#[tokio::test]
async fn an_answer_that_is_not_read_makes_way() {
    let cluster = with_little_memory(&["--handshake-timeout=100ms"]).await;
    let three = pb::RangeRequest { limit: 3, ..get_all(b'k') };
    let mut greedy = Unread::open(&cluster).await;
    assert_eq!(greedy.range(&three).await, None);
    let mut kv = cluster.kv(0).await.max_decoding_message_size(usize::MAX);
    let read = async {
        loop {
            match kv.range(three.clone()).await {
                Ok(read) => return read.get_ref().kvs.len(),
                Err(refused) => assert_eq!(refused.message(), TOO_MANY),
            }
        }
    };
    assert_eq!(within(read).await, 3);
    let end = poll_fn(|context| greedy.sender.poll_ready(context));
    assert!(within(end).await.is_err(), "the connection is over");
    until(&cluster, HELD, |held| held < 1_000_000.0).await;
}

/// A watcher that does not read is cancelled if the memory is needed, and told where to go on.
#[tokio::test]
async fn a_slow_watcher_makes_way_and_is_told_from_where_to_resume() {
    let cluster = with_little_memory(&["--handshake-timeout=1s"]).await;
    let mut watching = Watching::open(&cluster, 0).await;
    let all = |from| pb::WatchCreateRequest { start_revision: from, ..of_all(b'k') };
    let id = watching.create(all(2)).await;
    // Its history is more than there is memory for: what is not in the connection waits for it, and is in the way.
    until(&cluster, "quorate_watchers_too_slow_total", |count| count == 1.0).await;
    let mut next = 2;
    let cancelled = loop {
        let response = watching.next().await;
        for event in &response.events {
            assert_eq!(event.kv.as_ref().expect("a key").mod_revision, next, "none is missing");
            next += 1;
        }
        if response.canceled {
            break response;
        }
    };
    let reason = format!("quorate: the watcher is too slow, to be resumed from revision {next}");
    assert_eq!(
        (cancelled.watch_id, cancelled.cancel_reason, cancelled.compact_revision),
        (id, reason, 0)
    );
    assert_eq!(cancelled.header.expect("a header").revision, next - 1);
    assert!(next < 10, "something was taken back");
    watching.create(all(next)).await;
    let rest = watching.events(10 - next as usize).await;
    assert_eq!(rest.first().map(|(_, _, revision)| *revision), Some(next));
    assert_eq!(rest.last().map(|(_, _, revision)| *revision), Some(9));
}

/// Does something until it is refused for being done too often. Says how often it was not.
async fn until_refused<T>(mut what: impl AsyncFnMut() -> Result<T, Status>) -> usize {
    let mut passed = 0;
    loop {
        match what().await {
            Ok(_) => passed += 1,
            Err(refused) => {
                assert_eq!(
                    (refused.code(), refused.message()),
                    (Code::ResourceExhausted, TOO_MANY)
                );
                return passed;
            }
        }
    }
}

#[tokio::test]
async fn a_prefix_has_its_rate() {
    let cluster = Cluster::start_with(1, &["--rate-limit-prefix=/a/=1/3,/b/=1000000"]).await;
    let kv = cluster.kv(0).await;
    let mut before = 0;
    let passed = until_refused(async || {
        before = cluster.status(0).await.raft_applied_index;
        kv.clone().put(put("/a/1", "1")).await
    });
    // While they pass a second may, on a slow machine.
    assert!(passed.await >= 3);
    assert_eq!(cluster.status(0).await.raft_applied_index, before, "it is not in the log");
    until_refused(async || kv.clone().range(get("/a/1")).await).await;
    until_refused(async || kv.clone().range(get_all(b'/')).await).await;
    let mut watching = Watching::open(&cluster, 0).await;
    let mut refused = false;
    while !refused {
        watching.send(RequestUnion::CreateRequest(of("/a/1"))).await;
        let created = watching.next().await;
        refused = created.canceled;
        assert!(!refused || created.cancel_reason == TOO_MANY, "{created:?}");
    }
    for _ in 0..10 {
        kv.clone().put(put("/b/1", "1")).await.expect("that has another rate");
        kv.clone().put(put("/c", "1")).await.expect("that has none");
    }
    assert!(metric(&cluster, "quorate_rate_limited_total{by=\"prefix\"}").await >= 4.0);
    let again = async {
        while kv.clone().put(put("/a/1", "2")).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    within(again).await;
}

#[tokio::test]
async fn each_user_has_its_rate() {
    let cluster = Cluster::start_with(1, &["--rate-limit-user=1/5"]).await;
    // Without users nobody has one.
    for _ in 0..10 {
        cluster.kv(0).await.put(put("k", "1")).await.expect("written");
    }
    auth::switch_on(&cluster).await;
    let token = auth::token(&cluster, 0, "root", "rootpw").await;
    let kv = cluster.kv(0).await;
    let passed = until_refused(async || kv.clone().range(auth::by(&token, get("k"))).await).await;
    assert!(passed >= 5, "{passed}");
    assert!(metric(&cluster, "quorate_rate_limited_total{by=\"user\"}").await >= 1.0);
    auth::token(&cluster, 0, "root", "rootpw").await;
}
