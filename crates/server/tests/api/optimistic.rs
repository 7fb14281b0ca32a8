//! The client's helper for optimistic concurrency, `quorate_client::update`.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_client::{Change, Retries, UpdateError, update};
use quorate_proto::etcdserverpb as pb;
use quorate_proto::mvccpb::KeyValue;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use crate::cluster::{Cluster, get, put, within};

fn count(kv: Option<&KeyValue>) -> u64 {
    let text = kv.map_or("0", |kv| std::str::from_utf8(&kv.value).expect("text"));
    text.parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_count_together() {
    const WRITERS: u64 = 16;
    const EACH: u64 = 10;
    let cluster = Cluster::start(3).await;
    // However slow the machine is, nobody gives up.
    let pause_max = Duration::from_millis(20);
    let retries = Retries { attempts_max: u32::MAX, pause_max, ..Retries::default() };
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let mut kv = cluster.kv(writer as usize % 3).await;
        writers.push(tokio::spawn(async move {
            let mut seen = Vec::new();
            for _ in 0..EACH {
                let one_more =
                    |kv: Option<&KeyValue>| Change::Put((count(kv) + 1).to_string().into());
                let updated = update(&mut kv, "counter", retries, one_more).await.expect("counted");
                seen.push(count(updated.before.as_ref()));
            }
            seen
        }));
    }
    let mut seen = BTreeSet::new();
    for writer in writers {
        seen.extend(within(writer).await.expect("no writer panics"));
    }
    assert_eq!(seen, (0..WRITERS * EACH).collect(), "each number was counted on once");
    let found = cluster.kv(0).await.range(get("counter")).await.expect("read").into_inner();
    assert_eq!((count(found.kvs.first()), found.kvs[0].version), (160, 160));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_always_second_gives_up() {
    let cluster = Cluster::start(1).await;
    let (mut kv, other) = (cluster.kv(0).await, cluster.kv(0).await);
    let retries = Retries { attempts_max: 3, pause: Duration::ZERO, pause_max: Duration::ZERO };
    let mut looks = 0;
    let updated = update(&mut kv, "k", retries, |current| {
        assert_eq!(count(current), looks, "what is there now is shown");
        looks += 1;
        let faster = put("k", &looks.to_string());
        let mut other = other.clone();
        block_in_place(|| Handle::current().block_on(other.put(faster))).expect("put");
        Change::Put("mine".into())
    });
    match within(updated).await {
        Err(UpdateError::Contended { attempts: 3, current: Some(current) }) => {
            assert_eq!(current.value, "3");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(looks, 3);
}

#[tokio::test]
async fn a_key_keeps_its_lease_and_can_be_left_or_deleted() {
    let cluster = Cluster::start(1).await;
    let mut kv = cluster.kv(0).await;
    let grant = pb::LeaseGrantRequest { id: 7, ttl: 1_000 };
    within(cluster.lease(0).await.lease_grant(grant)).await.expect("granted");
    kv.put(pb::PutRequest { lease: 7, ..put("k", "1") }).await.expect("put");
    let mut change = async |change: Change| {
        within(update(&mut kv, "k", Retries::default(), |_| change.clone())).await.expect("done")
    };
    let written = change(Change::Put("2".into())).await;
    assert_eq!(
        (written.before.expect("it was there").value.as_ref(), written.attempts),
        (&b"1"[..], 1)
    );
    let left = change(Change::Leave).await;
    let before = left.before.expect("it is there");
    assert_eq!((before.value.as_ref(), before.lease), (&b"2"[..], 7));
    assert_eq!((left.revision, before.mod_revision), (written.revision, written.revision));
    assert_eq!(change(Change::Delete).await.revision, written.revision + 1);
    // There is nothing to delete any more.
    let nothing = change(Change::Delete).await;
    assert_eq!((nothing.revision, nothing.before), (written.revision + 1, None));
    // What the server refuses was not done.
    let empty = within(update(&mut kv, "", Retries::default(), |_| Change::Leave)).await;
    assert!(matches!(empty, Err(UpdateError::Refused(_))), "{empty:?}");
}
