//! A member whose state is not that of the others, with every checksum right: it is found through the log,
//! stops at a named entry, and is rebuilt from the others, which go on.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;

use bytes::Bytes;
use quorate_mvcc::engine::{Engine, Reader, Table};
use quorate_proto::etcdserverpb as pb;
use quorate_store::{DiskEngine, Options};
use tokio::task::JoinSet;

use crate::cluster::{Cluster, get, put, within};

/// The key whose value is changed behind the member's back.
const KEY: &str = "the-key";
/// More entries than lie between two places at which members compare their states.
const ENTRIES: usize = 1_100;
const WRITERS: usize = 10;

/// Changes a value in the store of a member that doesn't run, as the store itself would write it.
fn change_value(data_dir: &Path, from: &str, to: &str) {
    assert_eq!(from.len(), to.len(), "nothing else is to change in the row");
    let store = data_dir.join("store");
    let mut engine = DiskEngine::open(&store, Options::default()).expect("a store");
    let all = (Bound::Unbounded, Bound::Unbounded);
    let holds = |row: &Bytes| row.windows(from.len()).position(|part| part == from.as_bytes());
    let found: Vec<(Bytes, Bytes, usize)> = engine
        .scan(Table::Key, all)
        .map(|row| row.expect("read"))
        .filter_map(|(key, row)| holds(&row).map(|at| (key, row, at)))
        .collect();
    let [(key, row, at)] = found.as_slice() else { panic!("{} rows", found.len()) };
    let mut changed = row.to_vec();
    changed[*at..at + to.len()].copy_from_slice(to.as_bytes());
    engine.put(Table::Key, key, &changed).expect("written");
    engine.commit(engine.applied()).expect("committed");
    engine.flush().expect("flushed");
}

/// What the member itself answers, without asking anybody.
async fn own_value(cluster: &Cluster, at: usize) -> Bytes {
    let request = pb::RangeRequest { serializable: true, ..get(KEY) };
    let answer = within(cluster.kv(at).await.range(request)).await.expect("read").into_inner();
    let [pair] = answer.kvs.as_slice() else { panic!("{answer:?}") };
    pair.value.clone()
}

/// Writes so many entries through a member, which answers every one of them.
async fn write_on(cluster: &Cluster, at: usize) {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let mut kv = cluster.kv(at).await;
        writers.spawn(async move {
            for number in 0..ENTRIES / WRITERS {
                // Where the leader falls, a request may end with it. Nobody is lied to by that.
                let _ = within(kv.put(put(&format!("key-{writer}-{number}"), "x"))).await;
            }
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer.expect("it ends");
    }
}

/// The hash of everything that a member holds, at the revision that another one has.
async fn hash(cluster: &Cluster, at: usize, revision: i64) -> (u32, i64) {
    let mut maintenance = cluster.maintenance(at).await;
    let request = pb::HashKvRequest { revision };
    let answer = within(maintenance.hash_kv(request)).await.expect("hashed").into_inner();
    (answer.hash, answer.compact_revision)
}

/// Has a member of three differ from the others, as their leader or not.
async fn a_member_that_differs(as_leader: bool) {
    let mut cluster = Cluster::start(3).await;
    let mut kv = cluster.kv(0).await;
    within(kv.put(put(KEY, "right"))).await.expect("written");
    cluster.catch_up(2, 0).await;
    cluster.stop(2).await;
    change_value(cluster.data_dir(2), "right", "wrong");
    cluster.restart(2).await;
    assert_eq!(own_value(&cluster, 2).await, "wrong", "no checksum tells");
    if as_leader {
        within(async {
            while cluster.roles().await.0 != 2 {
                let (leader, _) = cluster.roles().await;
                let request = pb::MoveLeaderRequest { target_id: cluster.member_id(2) };
                let _ = cluster.maintenance(leader).await.move_leader(request).await;
            }
        })
        .await;
    }
    // The row is read when it is replaced, and so what it held goes into the fingerprint.
    within(kv.put(put(KEY, "again"))).await.expect("written");
    let (report, ()) = tokio::join!(cluster.fallen(2), write_on(&cluster, 0));
    let index = report.split("the state after entry ").nth(1).unwrap_or_default();
    let index: u64 = index.split(' ').next().unwrap_or_default().parse().unwrap_or_default();
    assert!(index > 0 && index.is_multiple_of(1024), "{report}");
    assert!(report.contains("on a majority of the voters"), "{report}");

    // It answers nothing more that it would have to know itself.
    let mut fallen = cluster.kv(2).await;
    for serializable in [true, false] {
        let answer = within(fallen.range(pb::RangeRequest { serializable, ..get(KEY) })).await;
        if let Ok(answer) = answer {
            assert_eq!(answer.into_inner().kvs[0].value, "again", "a wrong answer");
        }
    }
    within(kv.put(put(KEY, "while it is down"))).await.expect("the others go on");
    cluster.abandon(2).await;
    cluster.restart(2).await;
    cluster.catch_up(2, 0).await;
    assert_eq!(own_value(&cluster, 2).await, "while it is down");
    let answer = within(kv.range(get(KEY))).await.expect("read").into_inner();
    let revision = answer.header.expect("a header").revision;
    let mut hashes = BTreeMap::new();
    for at in 0..3 {
        hashes.insert(at, hash(&cluster, at, revision).await);
    }
    assert!(hashes.values().all(|hash| *hash == hashes[&0]), "{hashes:?}");
    for gone in ["store-lost", "store.lost"] {
        assert!(!cluster.data_dir(2).join(gone).exists(), "{gone} is still there");
    }
    // It counts again: with another one down, a write needs it.
    cluster.stop(1).await;
    within(kv.put(put(KEY, "with it"))).await.expect("two of three");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_differs_stops_at_an_entry_and_is_rebuilt() {
    a_member_that_differs(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_differs_stops_at_an_entry_and_is_rebuilt() {
    a_member_that_differs(true).await;
}
