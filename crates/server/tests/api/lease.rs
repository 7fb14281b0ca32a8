//! Leases.

use std::time::{Duration, Instant};

use quorate_proto::etcdserverpb as pb;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use crate::cluster::{Cluster, assert_refused, get, get_all, put, within};

/// Elections of 200 ms: the shortest lease lives a second.
const QUICK: [&str; 2] = ["--heartbeat-interval=20", "--election-timeout=200"];

fn grant(id: i64, ttl: i64) -> pb::LeaseGrantRequest {
    pb::LeaseGrantRequest { id, ttl }
}

fn with_lease(key: &str, lease: i64) -> pb::PutRequest {
    pb::PutRequest { lease, ..put(key, "v") }
}

async fn time_to_live(cluster: &Cluster, at: usize, id: i64) -> pb::LeaseTimeToLiveResponse {
    let request = pb::LeaseTimeToLiveRequest { id, keys: true };
    let answer = within(cluster.lease(at).await.lease_time_to_live(request)).await;
    answer.expect("an answer").into_inner()
}

/// A stream of renewals.
struct Renewing {
    requests: mpsc::Sender<pb::LeaseKeepAliveRequest>,
    answers: Streaming<pb::LeaseKeepAliveResponse>,
}

impl Renewing {
    async fn open(cluster: &Cluster, at: usize) -> Self {
        let (requests, receiver) = mpsc::channel(10);
        let opened = cluster.lease(at).await.lease_keep_alive(ReceiverStream::new(receiver)).await;
        Self { requests, answers: opened.expect("a stream").into_inner() }
    }

    /// Renews, and returns the seconds that are left.
    async fn renew(&mut self, id: i64) -> i64 {
        self.requests.send(pb::LeaseKeepAliveRequest { id }).await.expect("open");
        let answer = within(self.answers.message()).await.expect("no end").expect("an answer");
        assert_eq!(answer.id, id);
        assert!(answer.header.is_some());
        answer.ttl
    }
}

#[tokio::test]
async fn granted_listed_and_revoked() {
    let cluster = Cluster::start(1).await;
    let mut lease = cluster.lease(0).await;
    let mut kv = cluster.kv(0).await;
    let granted = lease.lease_grant(grant(7, 100)).await.expect("granted").into_inner();
    assert_eq!((granted.id, granted.ttl, granted.error.as_str()), (7, 100, ""));
    assert_eq!(granted.header.expect("a header").revision, 1);
    let drawn = lease.lease_grant(grant(0, 0)).await.expect("granted").into_inner();
    assert!(drawn.id > 0);
    assert_eq!(drawn.ttl, 2, "the minimum for elections of a second");
    lease.lease_grant(grant(-3, 50)).await.expect("granted");

    kv.put(with_lease("b", 7)).await.expect("written");
    kv.put(with_lease("a", 7)).await.expect("written");
    let alive = time_to_live(&cluster, 0, 7).await;
    assert!((95..=101).contains(&alive.ttl), "{}", alive.ttl);
    assert_eq!(alive.granted_ttl, 100);
    assert_eq!(alive.keys, ["a", "b"]);
    let list = lease.lease_leases(pb::LeaseLeasesRequest {}).await.expect("a list").into_inner();
    let ids: Vec<_> = list.leases.iter().map(|lease| lease.id).collect();
    assert_eq!(ids, [drawn.id, -3, 7], "by what is left");

    let revoke = |id| pb::LeaseRevokeRequest { id };
    let revoked = lease.lease_revoke(revoke(7)).await.expect("revoked").into_inner();
    assert_eq!(revoked.header.expect("a header").revision, 4, "one revision for both keys");
    assert_eq!(kv.range(get_all(b'a')).await.expect("read").get_ref().count, 0);
    let text = "etcdserver: requested lease not found";
    assert_refused(lease.lease_revoke(revoke(7)).await, Code::NotFound, text);
    let gone = time_to_live(&cluster, 0, 7).await;
    assert_eq!((gone.ttl, gone.granted_ttl, gone.keys.len()), (-1, 0, 0));
    assert_eq!(Renewing::open(&cluster, 0).await.renew(7).await, 0);
}

#[tokio::test]
async fn refusals_have_the_words_of_etcd() {
    let cluster = Cluster::start(1).await;
    let mut lease = cluster.lease(0).await;
    lease.lease_grant(grant(7, 9_000_000_000)).await.expect("granted");
    let text = "etcdserver: lease already exists";
    assert_refused(lease.lease_grant(grant(7, 5)).await, Code::FailedPrecondition, text);
    let text = "etcdserver: too large lease TTL";
    assert_refused(lease.lease_grant(grant(8, 9_000_000_001)).await, Code::OutOfRange, text);
}

#[tokio::test]
async fn what_nobody_renews_runs_out_with_its_keys() {
    let cluster = Cluster::start_with(3, &QUICK).await;
    let follower = cluster.roles().await.1.expect("there are three");
    let mut lease = cluster.lease(follower).await;
    let granted = lease.lease_grant(grant(7, 1)).await.expect("granted").into_inner();
    assert_eq!(granted.ttl, 1);
    let mut kv = cluster.kv(follower).await;
    kv.put(with_lease("k", 7)).await.expect("written");
    let began = Instant::now();
    within(async {
        while kv.range(get("k")).await.expect("read").get_ref().count > 0 {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let lived = began.elapsed();
    assert!(lived >= Duration::from_millis(900), "{lived:?}");
    assert_eq!(time_to_live(&cluster, follower, 7).await.ttl, -1);
}

#[tokio::test]
async fn renewed_through_any_member() {
    let cluster = Cluster::start_with(3, &QUICK).await;
    let (leader, follower) = cluster.roles().await;
    let follower = follower.expect("there are three");
    cluster.lease(follower).await.lease_grant(grant(7, 2)).await.expect("granted");
    cluster.kv(follower).await.put(with_lease("k", 7)).await.expect("written");
    let mut renewing = Renewing::open(&cluster, follower).await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        assert_eq!(renewing.renew(7).await, 2);
        sleep(Duration::from_millis(300)).await;
    }
    for at in [leader, follower] {
        let alive = time_to_live(&cluster, at, 7).await;
        assert!((0..=2).contains(&alive.ttl), "{}", alive.ttl);
        assert_eq!((alive.granted_ttl, alive.keys.len()), (2, 1));
    }
    assert_eq!(renewing.renew(8).await, 0, "there is no such lease");
}

#[tokio::test]
async fn a_new_leader_gives_the_whole_time_again() {
    let mut cluster = Cluster::start_with(3, &QUICK).await;
    let (leader, follower) = cluster.roles().await;
    let follower = follower.expect("there are three");
    cluster.lease(leader).await.lease_grant(grant(7, 5)).await.expect("granted");
    cluster.kv(leader).await.put(with_lease("k", 7)).await.expect("written");
    sleep(Duration::from_secs(3)).await;
    cluster.stop(leader).await;
    let alive = time_to_live(&cluster, follower, 7).await;
    // Without a new beginning there would be less than two.
    assert!(alive.ttl >= 3, "{}", alive.ttl);
    assert_eq!(alive.keys, ["k"]);
}

/// More leases than may be ended at once.
#[tokio::test]
async fn many_run_out_together() {
    let cluster = Cluster::start_with(1, &QUICK).await;
    let mut lease = cluster.lease(0).await;
    let mut kv = cluster.kv(0).await;
    for id in 1..=50 {
        lease.lease_grant(grant(id, 3)).await.expect("granted");
        kv.put(with_lease(&format!("k{id}"), id)).await.expect("written");
    }
    assert_eq!(kv.range(get_all(b'k')).await.expect("read").get_ref().count, 50);
    within(async {
        while kv.range(get_all(b'k')).await.expect("read").get_ref().count > 0 {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let list = lease.lease_leases(pb::LeaseLeasesRequest {}).await.expect("a list").into_inner();
    assert_eq!(list.leases, []);
}
