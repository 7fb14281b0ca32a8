//! Members that share a secret, as real members: they elect, write, come back and join, and hear nobody else.

use std::fs;
use std::path::Path;
use std::time::Duration;

use quorate_proto::etcdserverpb as pb;
use quorate_server::Log;
use quorate_server::log::Level;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::cluster::{Cluster, get, put, within};
use crate::http::page;

const FIRST: &str = "the-first-secret/0123456789abcdefghijklmnopqrstuv";
const SECOND: &str = "the-second-secret/0123456789abcdefghijklmnopqrstuv";

/// Flags of members with the secret in a file, and short timeouts.
struct Shared {
    folder: TempDir,
    flags: Vec<String>,
}

impl Shared {
    fn new(secrets: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        let flags = ["--peer-auth=hmac".to_owned(), secret_file(&path)];
        let shared = Self { folder, flags: [&flags[..], &timing()].concat() };
        shared.write(secrets);
        shared
    }

    fn write(&self, secrets: &str) {
        let (path, side) = (self.folder.path().join("secret"), self.folder.path().join("side"));
        fs::write(&side, secrets).expect("written");
        fs::rename(&side, &path).expect("in one step");
    }

    fn flags(&self) -> Vec<&str> {
        texts(&self.flags)
    }
}

fn secret_file(path: &Path) -> String {
    format!("--peer-secret-file={}", path.display())
}

fn timing() -> [String; 2] {
    ["--heartbeat-interval=20".to_owned(), "--election-timeout=200".to_owned()]
}

fn texts(flags: &[String]) -> Vec<&str> {
    flags.iter().map(String::as_str).collect()
}

async fn write(cluster: &Cluster, at: usize, key: &str) {
    within(cluster.kv(at).await.put(put(key, "1"))).await.expect("written");
}

async fn has(cluster: &Cluster, at: usize, key: &str) -> bool {
    let answer = within(cluster.kv(at).await.range(get(key))).await.expect("read");
    answer.into_inner().count == 1
}

/// A number of a member's page of metrics.
async fn metric(cluster: &Cluster, at: usize, name: &str) -> u64 {
    let (_, page) = page(cluster, at, "/metrics").await;
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.expect(name).parse().expect("a number")
}

/// Waits until a member has turned somebody away.
async fn turned_away(cluster: &Cluster, at: usize) {
    within(async {
        while metric(cluster, at, "quorate_peer_unauthenticated_total").await == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn members_with_a_secret_elect_write_come_back_and_join() {
    let shared = Shared::new(FIRST);
    let mut cluster = Cluster::start_with(3, &shared.flags()).await;
    write(&cluster, 0, "a").await;
    let (leader, follower) = cluster.roles().await;
    let follower = follower.expect("there are three");
    cluster.kill(leader);
    write(&cluster, follower, "b").await;
    cluster.restart(leader).await;
    cluster.catch_up(leader, follower).await;
    assert!(has(&cluster, leader, "a").await && has(&cluster, leader, "b").await);

    let at = cluster.prepare();
    let request =
        pb::MemberAddRequest { peer_ur_ls: vec![cluster.peer_url(at)], is_learner: false };
    let mut members = pb::cluster_client::ClusterClient::new(cluster.channel(0).await);
    within(members.member_add(request)).await.expect("added");
    cluster.join(at).await;
    cluster.catch_up(at, 0).await;
    // A learner for a while, which reads what it has.
    let local = pb::RangeRequest { serializable: true, ..get("b") };
    let answer = within(cluster.kv(at).await.range(local)).await.expect("read");
    assert_eq!(answer.into_inner().count, 1);
    for at in 0..4 {
        assert_eq!(metric(&cluster, at, "quorate_peer_unauthenticated_total").await, 0);
    }
}

#[tokio::test]
async fn the_secret_is_changed_while_the_cluster_goes_on() {
    let shared = Shared::new(FIRST);
    let mut cluster = Cluster::start_with(3, &shared.flags()).await;
    // One member at a time makes its connections anew; the others are never started again.
    for (at, secrets) in [
        (2, format!("{FIRST}\n{SECOND}\n")),
        (2, format!("# the new one\n{SECOND}\n{FIRST}\n")),
        (2, SECOND.to_owned()),
    ] {
        shared.write(&secrets);
        cluster.stop(at).await;
        write(&cluster, 0, "a").await;
        cluster.restart(at).await;
        write(&cluster, at, "b").await;
        assert!(has(&cluster, 1, "b").await);
    }
    for at in 0..3 {
        assert_eq!(metric(&cluster, at, "quorate_peer_unauthenticated_total").await, 0);
    }
}

#[tokio::test]
async fn who_has_another_secret_or_none_is_not_heard_and_harms_nobody() {
    let (shared, other) = (Shared::new(FIRST), Shared::new(SECOND));
    let mut cluster = Cluster::start_with(3, &shared.flags()).await;
    let plain = timing();
    for flags in [other.flags(), texts(&plain)] {
        cluster.stop(2).await;
        let before = metric(&cluster, 0, "quorate_peer_unauthenticated_total").await;
        cluster.set_flags(&flags);
        cluster.restart_alone(2, &Log::to_stderr(Level::Fatal));
        within(async {
            while metric(&cluster, 0, "quorate_peer_unauthenticated_total").await == before {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        write(&cluster, 0, "a").await;
        write(&cluster, 1, "b").await;
        cluster.kill(2);
        cluster.set_flags(&shared.flags());
        cluster.restart(2).await;
        cluster.catch_up(2, 0).await;
        assert!(has(&cluster, 2, "b").await);
    }
}

#[tokio::test]
async fn who_has_a_secret_is_not_heard_by_plain_members() {
    let (shared, plain) = (Shared::new(FIRST), timing());
    let mut cluster = Cluster::start_with(3, &texts(&plain)).await;
    cluster.stop(2).await;
    cluster.set_flags(&shared.flags());
    cluster.restart_alone(2, &Log::to_stderr(Level::Fatal));
    turned_away(&cluster, 0).await;
    write(&cluster, 0, "a").await;
    cluster.kill(2);
    cluster.set_flags(&texts(&plain));
    cluster.restart(2).await;
    cluster.catch_up(2, 0).await;
    assert!(has(&cluster, 2, "a").await);
}

#[tokio::test]
async fn a_member_does_not_start_without_its_secret() {
    let shared = Shared::new(FIRST);
    let mut cluster = Cluster::start_with(1, &shared.flags()).await;
    cluster.stop(0).await;
    shared.write("too short");
    let why = cluster.try_restart(0).expect_err("no secret");
    assert!(why.contains("--peer-secret-file") && !why.contains("too short"), "{why}");
    shared.write(FIRST);
    cluster.restart(0).await;
}
