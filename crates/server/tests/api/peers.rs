//! Members that share a secret or show each other certificates, as real members: they elect, write, come back and join, and
//! hear nobody else.

use std::fs;
use std::path::Path;
use std::time::Duration;

use quorate_proto::etcdserverpb as pb;
use quorate_server::Log;
use quorate_server::log::Level;
use quorate_tls::Identity;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::cluster::{Cluster, get, put, within};
use crate::http::page;
use crate::pki::Authority;

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

/// Flags of members that show this certificate, and believe this authority.
fn shown(authority: &Authority, own: &Identity) -> Vec<String> {
    let file = |flag: &str, path: &Path| format!("--peer-{flag}={}", path.display());
    let mut flags = vec![
        file("cert-file", &own.certificate),
        file("key-file", &own.key),
        file("trusted-ca-file", &authority.file()),
        "--peer-client-cert-auth".to_owned(),
    ];
    flags.extend(timing());
    flags
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

/// Three members elect a leader, write, lose it and take it back, and take in a fourth.
async fn elect_write_come_back_and_join(flags: &[&str]) {
    let mut cluster = Cluster::start_with(3, flags).await;
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
async fn members_with_a_secret_elect_write_come_back_and_join() {
    elect_write_come_back_and_join(&Shared::new(FIRST).flags()).await;
}

#[tokio::test]
async fn members_with_certificates_elect_write_come_back_and_join() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(folder.path(), "authority");
    elect_write_come_back_and_join(&texts(&shown(&authority, &authority.sign("m", 1)))).await;
}

#[tokio::test]
async fn members_with_certificates_of_their_own_elect_write_come_back_and_join() {
    let flags = [&["--peer-auto-tls".to_owned()][..], &timing()].concat();
    elect_write_come_back_and_join(&texts(&flags)).await;
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

/// Lets the third of three members have other flags, with which it is not heard, and takes it back.
async fn one_is_not_heard_and_harms_nobody(right: &[&str], wrong: &[&[&str]]) {
    let mut cluster = Cluster::start_with(3, right).await;
    for flags in wrong {
        cluster.stop(2).await;
        let before = metric(&cluster, 0, "quorate_peer_unauthenticated_total").await;
        cluster.set_flags(flags);
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
        cluster.set_flags(right);
        cluster.restart(2).await;
        cluster.catch_up(2, 0).await;
        assert!(has(&cluster, 2, "b").await);
    }
}

#[tokio::test]
async fn who_has_another_secret_or_none_is_not_heard_and_harms_nobody() {
    let (shared, other, plain) = (Shared::new(FIRST), Shared::new(SECOND), timing());
    one_is_not_heard_and_harms_nobody(&shared.flags(), &[&other.flags(), &texts(&plain)]).await;
}

#[tokio::test]
async fn who_has_a_secret_is_not_heard_by_plain_members() {
    let (shared, plain) = (Shared::new(FIRST), timing());
    one_is_not_heard_and_harms_nobody(&texts(&plain), &[&shared.flags()]).await;
}

#[tokio::test]
async fn who_has_no_good_certificate_is_not_heard_and_harms_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let [ours, theirs] = ["ours", "theirs"].map(|name| Authority::new(folder.path(), name));
    let right = shown(&ours, &ours.sign("m", 1));
    let (shared, plain) = (Shared::new(FIRST), timing());
    let own = [&["--peer-auto-tls".to_owned()][..], &timing()].concat();
    let stranger = shown(&theirs, &theirs.sign("m", 1));
    let wrong = [&texts(&stranger)[..], &shared.flags(), &texts(&plain), &texts(&own)];
    one_is_not_heard_and_harms_nobody(&texts(&right), &wrong).await;
    // And the reverse: TLS is not what plain members hear.
    one_is_not_heard_and_harms_nobody(&texts(&plain), &[&texts(&right)]).await;
}

#[tokio::test]
async fn certificates_are_changed_while_the_cluster_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(folder.path(), "authority");
    let revoked = folder.path().join("revoked");
    fs::write(&revoked, authority.revoke(&[9])).expect("written");
    let mut flags = shown(&authority, &authority.sign("m", 1));
    flags.push(format!("--peer-crl-file={}", revoked.display()));
    let mut cluster = Cluster::start_with(3, &texts(&flags)).await;
    // The certificate is replaced in its place, and then the old one is revoked.
    authority.sign_into("m", "m", 2);
    for list in [[9], [1]] {
        fs::write(&revoked, authority.revoke(&list)).expect("written");
        cluster.stop(2).await;
        write(&cluster, 0, "a").await;
        cluster.restart(2).await;
        write(&cluster, 2, "b").await;
        assert!(has(&cluster, 1, "b").await);
    }
    assert_eq!(metric(&cluster, 0, "quorate_peer_unauthenticated_total").await, 0);
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
