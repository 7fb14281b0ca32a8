//! Locks and elections.

use std::time::Duration;

use quorate_proto::v3electionpb::election_client::ElectionClient;
use quorate_proto::v3lockpb::lock_client::LockClient;
use quorate_proto::{etcdserverpb, v3electionpb as election, v3lockpb as lock};
use tokio::time::{sleep, timeout};
use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::cluster::{Cluster, assert_refused, delete, get, get_all, put, within};

/// Long enough for a mistake to show, and no test waits for it to pass.
const A_WHILE: Duration = Duration::from_millis(100);

async fn grant(cluster: &Cluster, id: i64) {
    let request = etcdserverpb::LeaseGrantRequest { id, ttl: 1000 };
    within(cluster.lease(0).await.lease_grant(request)).await.expect("granted");
}

async fn revoke(cluster: &Cluster, id: i64) {
    let request = etcdserverpb::LeaseRevokeRequest { id };
    within(cluster.lease(0).await.lease_revoke(request)).await.expect("revoked");
}

async fn locks(cluster: &Cluster, at: usize) -> LockClient<Channel> {
    LockClient::new(cluster.channel(at).await)
}

async fn elections(cluster: &Cluster, at: usize) -> ElectionClient<Channel> {
    ElectionClient::new(cluster.channel(at).await)
}

fn lock(lease: i64) -> lock::LockRequest {
    lock::LockRequest { name: "l".into(), lease }
}

fn campaign(lease: i64, value: &str) -> election::CampaignRequest {
    election::CampaignRequest { name: "e".into(), lease, value: value.to_owned().into() }
}

fn who() -> election::LeaderRequest {
    election::LeaderRequest { name: "e".into() }
}

fn proclaim(leader: &election::LeaderKey, value: &str) -> election::ProclaimRequest {
    let leader = Some(leader.clone());
    election::ProclaimRequest { leader, value: value.to_owned().into() }
}

/// Waits until so many keys stand in a queue.
async fn queue_of(cluster: &Cluster, letter: u8, length: i64) {
    let mut kv = cluster.kv(0).await;
    within(async {
        while kv.range(get_all(letter)).await.expect("read").into_inner().count != length {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_goes_to_one_after_the_other_in_their_order() {
    let cluster = Cluster::start(3).await;
    for id in [0x1a, 0x1b, 0x1c] {
        grant(&cluster, id).await;
    }
    let mut client = locks(&cluster, 0).await;
    let first = within(client.lock(lock(0x1a))).await.expect("held").into_inner();
    assert_eq!(first.key, "l/1a");
    let taken = first.header.expect("a header").revision;
    // Who has it already has it, at once.
    let again = within(client.lock(lock(0x1a))).await.expect("held").into_inner();
    assert_eq!((again.key, again.header.expect("a header").revision), ("l/1a".into(), taken));

    let waiting = |at: usize, lease: i64| {
        let client = locks(&cluster, at);
        async move { client.await.lock(lock(lease)).await.expect("held").into_inner() }
    };
    let mut second = Box::pin(waiting(1, 0x1b));
    assert!(timeout(A_WHILE, &mut second).await.is_err(), "the lock is held");
    queue_of(&cluster, b'l', 2).await;
    let mut third = Box::pin(waiting(2, 0x1c));
    assert!(timeout(A_WHILE, &mut third).await.is_err(), "the lock is held");
    queue_of(&cluster, b'l', 3).await;

    let unlocked = within(client.unlock(lock::UnlockRequest { key: first.key.clone() })).await;
    let unlocked = unlocked.expect("given up").into_inner().header.expect("a header").revision;
    let second = within(second).await;
    assert_eq!(second.key, "l/1b");
    assert!(second.header.expect("a header").revision >= unlocked);
    assert!(timeout(A_WHILE, &mut third).await.is_err(), "the second one holds it");
    // Its lease ends, and its hold with that.
    revoke(&cluster, 0x1b).await;
    assert_eq!(within(third).await.key, "l/1c");
    // To give up what is not held is fine.
    within(client.unlock(lock::UnlockRequest { key: first.key })).await.expect("fine");
    assert_refused(
        within(client.unlock(lock::UnlockRequest::default())).await,
        Code::Unknown,
        "etcdserver: key is not provided",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_lock_may_lose_the_lease_or_go_away() {
    let cluster = Cluster::start(1).await;
    for id in [0x1a, 0x1b, 0x1c] {
        grant(&cluster, id).await;
    }
    let mut client = locks(&cluster, 0).await;
    assert_refused(
        within(client.lock(lock(0x99))).await,
        Code::Unknown,
        "etcdserver: requested lease not found",
    );
    let held = within(client.lock(lock(0x1a))).await.expect("held").into_inner();

    // Another key comes in behind, so that the one before goes first, and the waiter's own with its lease.
    let waiter = tokio::spawn({
        let mut client = client.clone();
        async move { client.lock(lock(0x1b)).await }
    });
    queue_of(&cluster, b'l', 2).await;
    revoke(&cluster, 0x1b).await;
    within(client.unlock(lock::UnlockRequest { key: held.key })).await.expect("given up");
    let expired = within(waiter).await.expect("no panic");
    assert_refused(expired, Code::Unknown, "mutex: session is expired");

    // One whose deadline passes leaves the queue.
    let held = within(client.lock(lock(0x1a))).await.expect("held").into_inner();
    let mut patient = Request::new(lock(0x1c));
    patient.set_timeout(A_WHILE);
    within(client.lock(patient)).await.expect_err("the lock is held");
    queue_of(&cluster, b'l', 1).await;
    within(client.unlock(lock::UnlockRequest { key: held.key })).await.expect("given up");

    // And one who brings no lease gets one.
    let held = within(client.lock(lock(0))).await.expect("held").into_inner();
    let key = String::from_utf8(held.key.to_vec()).expect("text");
    let found = cluster.kv(0).await.range(get(&key)).await.expect("read").into_inner();
    let lease = found.kvs[0].lease;
    assert_eq!(key, format!("l/{lease:x}"));
    let request = etcdserverpb::LeaseTimeToLiveRequest { id: lease, keys: false };
    let life = within(cluster.lease(0).await.lease_time_to_live(request)).await.expect("there");
    assert_eq!(life.into_inner().granted_ttl, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn leaders_follow_each_other_and_are_observed() {
    let cluster = Cluster::start(3).await;
    for id in [0x2a, 0x2b] {
        grant(&cluster, id).await;
    }
    let mut client = elections(&cluster, 0).await;
    assert_refused(within(client.leader(who())).await, Code::Unknown, "election: no leader");
    let mut observed = elections(&cluster, 1).await.observe(who()).await.expect("open");
    let mut observed = async || {
        let shown = within(observed.get_mut().message()).await.expect("no end").expect("one more");
        let kv = shown.kv.expect("a key");
        assert!(shown.header.expect("a header").revision >= kv.mod_revision);
        (kv.key, kv.value)
    };

    let first = within(client.campaign(campaign(0x2a, "one"))).await.expect("led").into_inner();
    let leader = first.leader.expect("a place");
    assert_eq!((&leader.name[..], &leader.key[..], leader.lease), (&b"e"[..], &b"e/2a"[..], 0x2a));
    assert_eq!(leader.rev, first.header.expect("a header").revision);
    assert_eq!(observed().await, ("e/2a".into(), "one".into()));

    // Who leads already may campaign with another value, which is shown.
    let again = within(client.campaign(campaign(0x2a, "two"))).await.expect("led").into_inner();
    assert_eq!(again.leader, Some(leader.clone()));
    assert_eq!(observed().await, ("e/2a".into(), "two".into()));
    within(client.proclaim(proclaim(&leader, "three"))).await.expect("leads");
    assert_eq!(observed().await, ("e/2a".into(), "three".into()));
    let found = within(client.leader(who())).await.expect("one leads").into_inner();
    let kv = found.kv.expect("a key");
    assert_eq!((&kv.key[..], &kv.value[..], kv.lease), (&b"e/2a"[..], &b"three"[..], 0x2a));

    let second = tokio::spawn({
        let mut client = elections(&cluster, 2).await;
        async move { client.campaign(campaign(0x2b, "other")).await }
    });
    queue_of(&cluster, b'e', 2).await;
    assert!(!second.is_finished(), "the first one leads");
    let resign =
        |leader: &election::LeaderKey| election::ResignRequest { leader: Some(leader.clone()) };
    within(client.resign(resign(&leader))).await.expect("resigned");
    let second = within(second).await.expect("no panic").expect("led").into_inner();
    let second = second.leader.expect("a place");
    assert_eq!(second.key, "e/2b");
    assert_eq!(observed().await, ("e/2b".into(), "other".into()));

    // The first one leads no longer, and can't end the lead of the second.
    let refused = within(client.proclaim(proclaim(&leader, "four"))).await;
    assert_refused(refused, Code::Unknown, "election: not leader");
    within(client.resign(resign(&leader))).await.expect("fine");
    let stolen = election::LeaderKey { rev: second.rev - 1, ..second.clone() };
    within(client.resign(resign(&stolen))).await.expect("fine");
    let refused = within(client.proclaim(proclaim(&stolen, "five"))).await;
    assert_refused(refused, Code::Unknown, "election: not leader");
    let kv = within(client.leader(who())).await.expect("one leads").into_inner().kv;
    assert_eq!(kv.expect("a key").value, "other");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_election_says_what_is_missing() {
    let cluster = Cluster::start(1).await;
    let mut client = elections(&cluster, 0).await;
    let text = "\"leader\" field must be provided";
    let refused = within(client.proclaim(election::ProclaimRequest::default())).await;
    assert_refused(refused, Code::Unknown, text);
    let refused = within(client.resign(election::ResignRequest::default())).await;
    assert_refused(refused, Code::Unknown, text);
    assert_refused(
        within(client.campaign(campaign(0x77, "v"))).await,
        Code::Unknown,
        "etcdserver: requested lease not found",
    );
    // A candidate that goes away while another one leads leaves the queue.
    for id in [0x2a, 0x2b] {
        grant(&cluster, id).await;
    }
    within(client.campaign(campaign(0x2a, "one"))).await.expect("led");
    let waits = timeout(A_WHILE, client.campaign(campaign(0x2b, "two"))).await;
    assert!(waits.is_err(), "the first one leads");
    queue_of(&cluster, b'e', 1).await;
}

/// At whatever moment that is: before it stands in the queue, while it is about to, or later.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_goes_away_leaves_the_queue() {
    let cluster = Cluster::start(1).await;
    for id in [0x1a, 0x1b] {
        grant(&cluster, id).await;
    }
    let mut client = locks(&cluster, 0).await;
    within(client.lock(lock(0x1a))).await.expect("held");
    for moment in 0..60 {
        let moment = Duration::from_micros(100 * moment);
        let waits = timeout(moment, client.lock(lock(0x1b))).await;
        assert!(waits.is_err(), "the lock is held");
    }
    queue_of(&cluster, b'l', 1).await;
}

/// A client that gives up and asks again with its lease has what the request before brought it.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_again_keeps_what_was_taken_before() {
    let cluster = Cluster::start(1).await;
    grant(&cluster, 0x1a).await;
    let mut client = locks(&cluster, 0).await;
    for moment in 0..30 {
        let moment = Duration::from_micros(200 * moment);
        let _ = timeout(moment, client.lock(lock(0x1a))).await;
        let held = within(client.lock(lock(0x1a))).await.expect("held").into_inner();
        // Long enough for a mistake to show.
        sleep(Duration::from_millis(10)).await;
        let found = cluster.kv(0).await.range(get_all(b'l')).await.expect("read").into_inner();
        assert_eq!(found.count, 1, "it is held");
        within(client.unlock(lock::UnlockRequest { key: held.key })).await.expect("given up");
    }
}

/// The key of a lock is a token that fences: whoever took the lock later has a higher one, and a resource that
/// remembers the highest refuses the holder that was paused.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_fences_a_holder_that_was_paused() {
    let cluster = Cluster::start(1).await;
    for id in [0x1a, 0x1b] {
        grant(&cluster, id).await;
    }
    let mut client = locks(&cluster, 0).await;
    let mut kv = cluster.kv(0).await;
    let paused = within(client.lock(lock(0x1a))).await.expect("held").into_inner().key;
    let token = async |key: &[u8]| {
        let request = etcdserverpb::RangeRequest { key: key.to_vec().into(), ..Default::default() };
        let found = cluster.kv(0).await.range(request).await.expect("read").into_inner();
        found.kvs.first().map(|kv| kv.create_revision)
    };
    let old = token(&paused).await.expect("it is held");
    // It is paused for longer than its lease lives, and another one takes over.
    revoke(&cluster, 0x1a).await;
    let held = within(client.lock(lock(0x1b))).await.expect("held").into_inner().key;
    let new = token(&held).await.expect("it is held");
    assert!(new > old, "tokens grow");
    // A write that is guarded by the token is refused to the one and granted to the other.
    let guarded = |key: &[u8], token: i64, value: &str| etcdserverpb::TxnRequest {
        compare: vec![etcdserverpb::Compare {
            result: etcdserverpb::compare::CompareResult::Equal.into(),
            target: etcdserverpb::compare::CompareTarget::Create.into(),
            key: key.to_vec().into(),
            target_union: Some(etcdserverpb::compare::TargetUnion::CreateRevision(token)),
            ..Default::default()
        }],
        success: vec![etcdserverpb::RequestOp {
            request: Some(etcdserverpb::request_op::Request::RequestPut(put("resource", value))),
        }],
        failure: Vec::new(),
    };
    let mut write = async |txn| kv.txn(txn).await.expect("answered").into_inner().succeeded;
    assert!(write(guarded(&held, new, "new")).await);
    assert!(!write(guarded(&paused, old, "old")).await, "the paused holder writes nothing");
    let found = cluster.kv(0).await.range(get("resource")).await.expect("read").into_inner();
    assert_eq!(found.kvs[0].value, "new");
    cluster.kv(0).await.delete_range(delete("resource")).await.expect("deleted");
}
