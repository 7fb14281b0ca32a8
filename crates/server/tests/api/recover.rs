//! A cluster that lost its majority, and what becomes of the member that is left.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pb::watch_request::RequestUnion;
use quorate_proto::etcdserverpb as pb;
use quorate_server::Log;
use quorate_server::log::Level;
use quorate_server::recover::{BUMP_DEFAULT, Ending, Wishes, recover};
use tokio::time::sleep;
use tonic::Code;
use tonic::codegen::tokio_stream;

use crate::cluster::{Cluster, assert_refused, get, put, within};

const BEFORE: usize = 30;
const AFTER: usize = 20;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<String>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("whole").push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn key(number: usize) -> String {
    format!("key{number:04}")
}

/// Writes some keys by a member, and returns the revision of the last.
async fn write(cluster: &Cluster, at: usize, numbers: std::ops::Range<usize>) -> i64 {
    let mut kv = cluster.kv(at).await;
    let mut last = 0;
    for number in numbers {
        let answer = within(kv.put(put(&key(number), "value"))).await.expect("acknowledged");
        last = answer.into_inner().header.expect("a header").revision;
    }
    last
}

/// All files below a directory, with what is in them.
fn content(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all.extend(content(&path));
        } else {
            all.insert(path.clone(), fs::read(&path).expect("read"));
        }
    }
    all
}

/// Runs the command; what it says, and how it ends.
fn run(data_dir: &Path, accept_data_loss: bool) -> (String, Result<Ending, String>) {
    let wishes = Wishes { name: None, peer_urls: None, bump: BUMP_DEFAULT, accept_data_loss };
    let mut said = String::new();
    let ending = recover(data_dir, &wishes, &mut |text| {
        said.push_str(text);
        said.push('\n');
    });
    (said, ending)
}

/// What the first answer to a watcher of all keys from this revision on is, after that it was created.
async fn watch_from(cluster: &Cluster, start_revision: i64) -> pb::WatchResponse {
    let request = pb::WatchCreateRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        start_revision,
        ..Default::default()
    };
    let request = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(request)) };
    let mut client = pb::watch_client::WatchClient::new(cluster.channel(0).await);
    let requests = tokio_stream::StreamExt::chain(
        tokio_stream::once(request),
        tokio_stream::pending::<pb::WatchRequest>(),
    );
    let mut responses = within(client.watch(requests)).await.expect("a stream").into_inner();
    let mut next = async || within(responses.message()).await.expect("no end").expect("a response");
    let created = next().await;
    assert!(created.created && !created.canceled, "{created:?}");
    next().await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_members_one_is_left() {
    let mut cluster = Cluster::start(3).await;
    write(&cluster, 0, 0..BEFORE).await;
    let grant = pb::LeaseGrantRequest { id: 77, ttl: 600 };
    within(cluster.lease(0).await.lease_grant(grant)).await.expect("granted");
    let lock = pb::PutRequest { lease: 77, ..put("lock", "held") };
    within(cluster.kv(0).await.put(lock)).await.expect("acknowledged");
    let (old_cluster, old_member) = {
        let header = cluster.status(0).await.header.expect("a header");
        (header.cluster_id, header.member_id)
    };
    // It has all of this, and none of what the others acknowledge after its end.
    let others = [cluster.member_id(1), cluster.member_id(2)];
    cluster.catch_up(0, 1).await;
    cluster.catch_up(0, 2).await;
    cluster.abandon(0).await;
    let last = write(&cluster, 1, BEFORE..BEFORE + AFTER).await;
    cluster.abandon(1).await;
    cluster.abandon(2).await;
    for name in ["identity", "wal", "store"] {
        let lost = cluster.data_dir(1).join(name);
        let gone = if lost.is_dir() { fs::remove_dir_all(lost) } else { fs::remove_file(lost) };
        gone.expect("lost");
    }

    let data_dir = cluster.data_dir(0).to_owned();
    let before = content(&data_dir);
    let (said, ending) = run(&data_dir, false);
    assert_eq!(ending, Ok(Ending::Found), "{said}");
    assert!(content(&data_dir) == before, "without consent every byte stays");
    let left = said.split("acknowledged after revision ").nth(1).expect("it tells the revision");
    let left: i64 = left.split(' ').next().expect("a number").parse().expect("a number");
    assert!(left as usize == 2 + BEFORE && left < last, "it has {left} of {last}: {said}");
    let (said, ending) = run(&data_dir, true);
    assert_eq!(ending, Ok(Ending::Recovered), "{said}");

    cluster.restart(0).await;
    let revision = left + BUMP_DEFAULT;
    let status = cluster.status(0).await;
    let header = status.header.expect("a header");
    assert_ne!(header.cluster_id, old_cluster);
    assert!(header.member_id != old_member && !others.contains(&header.member_id));
    assert_eq!((header.revision, status.leader), (revision, header.member_id));
    let mut members = pb::cluster_client::ClusterClient::new(cluster.channel(0).await);
    let list = pb::MemberListRequest { linearizable: true };
    let list = within(members.member_list(list)).await.expect("listed").into_inner().members;
    let [member] = &list[..] else { panic!("{list:?}") };
    assert_eq!((member.id, &member.name[..]), (header.member_id, "m0"));

    // What it held is there, the lease as well, and all of it can be gone on with.
    let mut kv = cluster.kv(0).await;
    for number in 0..BEFORE + AFTER {
        let found = within(kv.range(get(&key(number)))).await.expect("read").into_inner().count;
        assert_eq!(found, i64::from(number < BEFORE), "{}", key(number));
    }
    let request = pb::LeaseTimeToLiveRequest { id: 77, keys: true };
    let lease = within(cluster.lease(0).await.lease_time_to_live(request)).await;
    let lease = lease.expect("it is there").into_inner();
    assert!(lease.ttl > 500 && lease.keys == ["lock"], "{lease:?}");

    // Nobody is fooled who remembers the cluster that was.
    for seen in [1, left - 1, left, last, revision - 2] {
        let told = watch_from(&cluster, seen + 1).await;
        assert!(told.canceled && told.compact_revision == revision, "{told:?}");
        let old = pb::RangeRequest { revision: seen, ..get(&key(0)) };
        let compacted = "etcdserver: mvcc: required revision has been compacted";
        assert_refused(within(kv.range(old)).await, Code::OutOfRange, compacted);
    }
    let next = write(&cluster, 0, 0..1).await;
    assert_eq!(next, revision + 1);
    let told = watch_from(&cluster, revision + 1).await;
    assert!(told.events.len() == 1 && !told.canceled, "{told:?}");

    // The third disk was not lost after all: its member finds nobody of its cluster.
    let term = cluster.status(0).await.raft_term;
    let lines = Lines::default();
    let log = Log::new(Level::Info, lines.clone());
    cluster.restart_alone(2, &log);
    let refused =
        format!("belongs to cluster {:016x}, this one to {old_cluster:016x}", header.cluster_id);
    within(async {
        while !lines.0.lock().expect("whole").contains(&refused) {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    write(&cluster, 0, 100..110).await;
    assert_eq!(cluster.status(0).await.raft_term, term, "it disturbs nobody");
    cluster.abandon(2).await;

    // It starts again as what it is now.
    cluster.stop(0).await;
    assert!(data_dir.join("before-recovery-1/wal").is_dir());
    let (_, ending) = run(&data_dir, true);
    assert!(ending.expect_err("once is enough").contains("is alone in its cluster"));
    cluster.restart(0).await;
    assert_eq!(cluster.status(0).await.header.expect("a header").cluster_id, header.cluster_id);
    let found = within(cluster.kv(0).await.range(get(&key(109)))).await.expect("read");
    assert_eq!(found.into_inner().count, 1);
}
