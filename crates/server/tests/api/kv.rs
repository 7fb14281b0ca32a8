//! Keys and values.

use std::time::Duration;

use bytes::Bytes;
use pb::range_request::{SortOrder, SortTarget};
use quorate_proto::etcdserverpb as pb;
use tonic::Code;

use crate::cluster::{Cluster, assert_refused, delete, get, get_all, put, within};

#[tokio::test]
async fn a_key_lives_through_its_revisions() {
    let cluster = Cluster::start(1).await;
    let mut kv = cluster.kv(0).await;

    let empty = kv.range(get("a")).await.expect("an empty answer").into_inner();
    assert_eq!((empty.header.expect("a header").revision, empty.count), (1, 0));

    let first = kv.put(put("a", "1")).await.expect("written").into_inner();
    let header = first.header.expect("a header");
    assert_eq!(header.revision, 2);
    assert_eq!(header.member_id, cluster.member_id(0));
    assert!(header.cluster_id != 0 && header.raft_term > 0);
    assert_eq!(first.prev_kv, None);

    let again = pb::PutRequest { prev_kv: true, ..put("a", "2") };
    let second = kv.put(again).await.expect("written").into_inner();
    let before = second.prev_kv.expect("it was there");
    assert_eq!((before.value, before.version, before.mod_revision), (Bytes::from("1"), 1, 2));

    let now = kv.range(get("a")).await.expect("read").into_inner();
    let key = &now.kvs[0];
    assert_eq!((key.create_revision, key.mod_revision, key.version), (2, 3, 2));
    let past = pb::RangeRequest { revision: 2, ..get("a") };
    let past = kv.range(past).await.expect("read").into_inner();
    assert_eq!(past.kvs[0].value, "1");
    assert_eq!(past.header.expect("a header").revision, 3, "the newest, not the one that was read");

    let gone = pb::DeleteRangeRequest { prev_kv: true, ..delete("a") };
    let gone = kv.delete_range(gone).await.expect("deleted").into_inner();
    assert_eq!((gone.deleted, gone.prev_kvs[0].value.as_ref()), (1, &b"2"[..]));
    assert_eq!(gone.header.expect("a header").revision, 4);
    let nothing = kv.delete_range(delete("a")).await.expect("deleted").into_inner();
    assert_eq!((nothing.deleted, nothing.header.expect("a header").revision), (0, 4));
}

#[tokio::test]
async fn ranges_count_cut_and_sort() {
    let cluster = Cluster::start(1).await;
    let mut kv = cluster.kv(0).await;
    for (key, value) in [("k1", "c"), ("k2", "b"), ("k3", "a"), ("l", "x")] {
        kv.put(put(key, value)).await.expect("written");
    }
    let limited = pb::RangeRequest { limit: 2, ..get_all(b'k') };
    let answer = kv.range(limited).await.expect("read").into_inner();
    assert_eq!((answer.kvs.len(), answer.more, answer.count), (2, true, 3));

    let sorted = pb::RangeRequest {
        sort_order: SortOrder::Ascend.into(),
        sort_target: SortTarget::Value.into(),
        keys_only: true,
        ..get_all(b'k')
    };
    let answer = kv.range(sorted).await.expect("read").into_inner();
    let keys: Vec<_> = answer.kvs.iter().map(|kv| kv.key.clone()).collect();
    assert_eq!(keys, ["k3", "k2", "k1"]);
    assert!(answer.kvs.iter().all(|kv| kv.value.is_empty()));

    let counted = pb::RangeRequest { count_only: true, ..get_all(b'k') };
    let answer = kv.range(counted).await.expect("read").into_inner();
    assert_eq!((answer.kvs.len(), answer.more, answer.count), (0, false, 3));
    let open = pb::RangeRequest { range_end: "\0".into(), ..get("k3") };
    assert_eq!(kv.range(open).await.expect("read").get_ref().count, 2);
    let negative = pb::RangeRequest { limit: -1, revision: -1, ..get_all(b'k') };
    assert_eq!(kv.range(negative).await.expect("read").get_ref().kvs.len(), 3);
}

#[tokio::test]
async fn refusals_have_the_words_of_etcd() {
    let cluster = Cluster::start(1).await;
    let mut kv = cluster.kv(0).await;
    kv.put(put("a", "1")).await.expect("written");

    let no_key = "etcdserver: key is not provided";
    assert_refused(kv.range(get("")).await, Code::InvalidArgument, no_key);
    assert_refused(kv.put(put("", "x")).await, Code::InvalidArgument, no_key);
    assert_refused(kv.delete_range(delete("")).await, Code::InvalidArgument, no_key);
    for (sort_order, sort_target) in [(7, 0), (0, 7), (-1, 0)] {
        let range = pb::RangeRequest { sort_order, sort_target, ..get("a") };
        let text = "etcdserver: invalid sort option";
        assert_refused(kv.range(range).await, Code::InvalidArgument, text);
    }
    let future = pb::RangeRequest { revision: 100, ..get("a") };
    let text = "etcdserver: mvcc: required revision is a future revision";
    assert_refused(kv.range(future).await, Code::OutOfRange, text);

    for (request, code, text) in [
        (
            pb::PutRequest { ignore_value: true, ..put("a", "x") },
            Code::InvalidArgument,
            "etcdserver: value is provided",
        ),
        (
            pb::PutRequest { ignore_lease: true, lease: 1, ..put("a", "x") },
            Code::InvalidArgument,
            "etcdserver: lease is provided",
        ),
        (
            pb::PutRequest { ignore_value: true, ..put("absent", "") },
            Code::InvalidArgument,
            "etcdserver: key not found",
        ),
        (
            pb::PutRequest { lease: 77, ..put("a", "x") },
            Code::NotFound,
            "etcdserver: requested lease not found",
        ),
        (put(&"k".repeat(65_536), "x"), Code::InvalidArgument, "etcdserver: request is too large"),
        (put(&"\0".repeat(40_000), "x"), Code::InvalidArgument, "etcdserver: request is too large"),
    ] {
        assert_refused(kv.put(request).await, code, text);
    }
    // To look for such a key is no crime. It is not there.
    let absent = kv.range(get(&"k".repeat(100_000))).await.expect("read").into_inner();
    assert_eq!(absent.count, 0);
}

/// All pieces of a range, put together; how many they were, and how long the first one was.
async fn in_pieces(
    kv: &mut pb::kv_client::KvClient<tonic::transport::Channel>,
    request: pb::RangeRequest,
) -> Result<(pb::RangeResponse, usize, usize), tonic::Status> {
    let mut pieces = within(kv.range_stream(request)).await?.into_inner();
    let (mut whole, mut count, mut first) = (pb::RangeResponse::default(), 0, 0);
    while let Some(piece) = within(pieces.message()).await? {
        let piece = piece.range_response.expect("a piece");
        assert!(whole.header.is_none(), "the header comes with the last piece");
        if count == 0 {
            first = piece.kvs.len();
        }
        count += 1;
        let kvs = [whole.kvs, piece.kvs].concat();
        whole = pb::RangeResponse { kvs, ..piece };
    }
    Ok((whole, count, first))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_in_pieces_is_the_range() {
    let cluster = Cluster::start(3).await;
    let mut kv = cluster.kv(1).await;
    for number in 0..100 {
        within(kv.put(put(&format!("a{number:03}"), "v"))).await.expect("written");
    }
    within(kv.delete_range(delete("a050"))).await.expect("deleted");
    within(kv.put(put("b", "v"))).await.expect("written");
    let all = get_all(b'a');
    for request in [
        all.clone(),
        get("a007"),
        get("missing"),
        pb::RangeRequest { limit: 7, ..all.clone() },
        pb::RangeRequest { limit: 99, ..all.clone() },
        pb::RangeRequest { limit: 98, ..all.clone() },
        pb::RangeRequest { limit: 1000, ..all.clone() },
        pb::RangeRequest { revision: 60, ..all.clone() },
        pb::RangeRequest { revision: 60, limit: 20, ..all.clone() },
        pb::RangeRequest { keys_only: true, ..all.clone() },
        pb::RangeRequest { count_only: true, ..all.clone() },
        pb::RangeRequest { count_only: true, limit: 3, ..all.clone() },
        pb::RangeRequest { serializable: true, range_end: "\0".into(), ..all.clone() },
    ] {
        let expected = within(kv.range(request.clone())).await.expect("read").into_inner();
        let (whole, ..) = in_pieces(&mut kv, request.clone()).await.expect("read");
        assert_eq!(whole, expected, "{request:?}");
    }
    let (_, count, first) = in_pieces(&mut kv, all.clone()).await.expect("read");
    assert_eq!(first, 10, "the first piece comes soon");
    assert!((3..10).contains(&count), "the pieces grow: {count}");

    let future = pb::RangeRequest { revision: 1000, ..all.clone() };
    let text = "etcdserver: mvcc: required revision is a future revision";
    assert_refused(in_pieces(&mut kv, future).await, Code::OutOfRange, text);
    let sorted = pb::RangeRequest { sort_target: 3, ..all.clone() };
    let text = "RangeStream does not support custom sort orders";
    assert_refused(in_pieces(&mut kv, sorted).await, Code::Unimplemented, text);
    let filtered = pb::RangeRequest { min_mod_revision: 3, ..all };
    let text = "RangeStream does not support revision filters";
    assert_refused(in_pieces(&mut kv, filtered).await, Code::Unimplemented, text);
}

#[tokio::test]
async fn compaction_forgets_the_past() {
    let cluster = Cluster::start(1).await;
    let mut kv = cluster.kv(0).await;
    for value in ["1", "2", "3"] {
        kv.put(put("a", value)).await.expect("written");
    }
    let compact = |revision, physical| pb::CompactionRequest { revision, physical };
    let answer = kv.compact(compact(3, true)).await.expect("compacted").into_inner();
    assert_eq!(answer.header.expect("a header").revision, 4);

    let compacted = "etcdserver: mvcc: required revision has been compacted";
    let past = |revision| pb::RangeRequest { revision, ..get("a") };
    assert_refused(kv.range(past(2)).await, Code::OutOfRange, compacted);
    assert_eq!(kv.range(past(3)).await.expect("read").get_ref().kvs[0].value, "2");
    assert_refused(kv.compact(compact(3, false)).await, Code::OutOfRange, compacted);
    let future = "etcdserver: mvcc: required revision is a future revision";
    assert_refused(kv.compact(compact(5, false)).await, Code::OutOfRange, future);
}

#[tokio::test]
async fn any_member_takes_any_request() {
    let cluster = Cluster::start(3).await;
    for at in 0..3 {
        let written = cluster.kv(at).await.put(put(&format!("k{at}"), "v")).await;
        let header = written.expect("written").into_inner().header.expect("a header");
        assert_eq!(header.member_id, cluster.member_id(at));
        // Whoever is asked next has it: reads are linearizable.
        for reader in 0..3 {
            let read = cluster.kv(reader).await.range(get_all(b'k')).await.expect("read");
            assert_eq!(read.get_ref().count, at as i64 + 1, "written at {at}, read at {reader}");
        }
    }
}

#[tokio::test]
async fn the_state_survives_a_restart() {
    let mut cluster = Cluster::start(1).await;
    cluster.kv(0).await.put(put("a", "1")).await.expect("written");
    let id = cluster.member_id(0);
    cluster.stop(0).await;
    cluster.restart(0).await;
    assert_eq!(cluster.member_id(0), id);
    let mut kv = cluster.kv(0).await;
    let read = kv.range(get("a")).await.expect("read").into_inner();
    assert_eq!((read.kvs[0].value.as_ref(), read.header.expect("one").revision), (&b"1"[..], 2));
    kv.put(put("a", "2")).await.expect("written");
}

#[tokio::test]
async fn a_cluster_outlives_its_leader_and_waits_for_its_majority() {
    let flags = ["--heartbeat-interval=20", "--election-timeout=200"];
    let mut cluster = Cluster::start_with(3, &flags).await;
    let (leader, follower) = cluster.roles().await;
    let follower = follower.expect("there are three");
    cluster.stop(leader).await;
    within(cluster.kv(follower).await.put(put("a", "1"))).await.expect("written without it");

    let other = (0..3).find(|at| *at != leader && *at != follower).expect("there are three");
    cluster.stop(other).await;
    let mut kv = cluster.kv(follower).await;
    let began = std::time::Instant::now();
    let text = "etcdserver: request timed out";
    let mut reading = kv.clone();
    let (written, read) =
        tokio::join!(within(kv.put(put("a", "2"))), within(reading.range(get("a"))));
    assert_refused(written, Code::Unavailable, text);
    assert_refused(read, Code::Unavailable, text);
    let took = began.elapsed();
    assert!((Duration::from_secs(5)..Duration::from_secs(15)).contains(&took), "{took:?}");
    // Whoever can do with what this member has gets it.
    let stale = pb::RangeRequest { serializable: true, ..get("a") };
    assert_eq!(kv.range(stale).await.expect("read").get_ref().kvs[0].value, "1");

    let mut wanting = tonic::Request::new(get("a"));
    wanting.metadata_mut().insert("hasleader", "true".parse().expect("text"));
    let text = "etcdserver: no leader";
    assert_refused(kv.range(wanting).await, Code::Unavailable, text);

    cluster.restart(other).await;
    let written = within(cluster.kv(follower).await.put(put("a", "3"))).await;
    written.expect("two are enough");
    cluster.catch_up(other, follower).await;
}

/// A range with a word about how new it must be.
fn get_as(key: &str, name: &'static str, value: &str) -> tonic::Request<pb::RangeRequest> {
    let mut request = tonic::Request::new(get(key));
    request.metadata_mut().insert(name, value.parse().expect("text"));
    request
}

/// What an answer says of its staleness.
fn told(response: &tonic::Response<pb::RangeResponse>) -> Option<u64> {
    let told = response.metadata().get("quorate-staleness-ms")?;
    Some(told.to_str().expect("text").parse().expect("a number"))
}

#[tokio::test]
async fn a_read_is_as_new_as_the_client_says() {
    const BOUND: &str = "quorate-max-staleness";
    const REVISION: &str = "quorate-min-revision";
    let mut cluster = Cluster::start(3).await;
    let (leader, follower) = cluster.roles().await;
    let follower = follower.expect("there are three");
    let mut kv = cluster.kv(follower).await;
    let written = cluster.kv(leader).await.put(put("a", "1")).await.expect("written");
    let revision = written.into_inner().header.expect("a header").revision;

    let fresh = within(kv.range(get_as("a", BOUND, "0"))).await.expect("there is a leader");
    assert_eq!((fresh.get_ref().kvs[0].value.as_ref(), told(&fresh)), (&b"1"[..], Some(0)));
    let usual = kv.range(get("a")).await.expect("read");
    assert_eq!(told(&usual), None, "who does not ask is not told");
    let reached =
        kv.range(get_as("a", REVISION, &revision.to_string())).await.expect("it is there");
    assert_eq!((reached.get_ref().kvs[0].value.as_ref(), told(&reached)), (&b"1"[..], None));
    // One that comes later is waited for.
    let (mut waiting, next) = (kv.clone(), (revision + 1).to_string());
    let (seen, _) = tokio::join!(
        within(waiting.range(get_as("a", REVISION, &next))),
        within(kv.put(put("a", "2")))
    );
    assert_eq!(seen.expect("it came").get_ref().kvs[0].value, "2");
    for name in [BOUND, REVISION] {
        let text = format!("quorate: the value of {name} is no such number");
        assert_refused(kv.range(get_as("a", name, "soon")).await, Code::InvalidArgument, &text);
    }

    // A member that is left alone answers by what it knows, and says how old that is.
    let before = within(kv.range(get_as("a", BOUND, "0"))).await.expect("there is a quorum");
    assert_eq!(told(&before), Some(0));
    for at in 0..3 {
        if at != follower {
            cluster.stop(at).await;
        }
    }
    let hour = within(kv.range(get_as("a", BOUND, "3600000"))).await.expect("it is known");
    assert_eq!(hour.get_ref().kvs[0].value, "2");
    assert!(told(&hour).is_some_and(|millis| millis > 0), "{:?}", told(&hour));
    let known = within(kv.range(get_as("a", REVISION, &next))).await.expect("it is here");
    assert_eq!(known.get_ref().kvs[0].value, "2");
}

#[tokio::test]
async fn a_store_at_its_quota_refuses_to_grow() {
    let cluster = Cluster::start_with(1, &["--quota-backend-bytes=100000"]).await;
    let mut kv = cluster.kv(0).await;
    let value = "v".repeat(1000);
    let mut written = 0;
    let refused = loop {
        match kv.put(put(&format!("k{written}"), &value)).await {
            Ok(_) => written += 1,
            Err(status) => break status,
        }
        assert!(written < 100, "the quota is never reached");
    };
    assert!(written > 10, "{written}");
    let text = "etcdserver: mvcc: database space exceeded";
    assert_eq!((refused.code(), refused.message()), (Code::ResourceExhausted, text));
    let mut lease = cluster.lease(0).await;
    let filler = kv.put(put("last", &"v".repeat(100_000 - 1000 * written))).await;
    assert_refused(filler, Code::ResourceExhausted, text);
    // What does not grow it goes on.
    kv.range(get_all(b'k')).await.expect("read");
    kv.delete_range(delete("k0")).await.expect("deleted");
    let _ = lease.lease_leases(pb::LeaseLeasesRequest {}).await.expect("read");
}
