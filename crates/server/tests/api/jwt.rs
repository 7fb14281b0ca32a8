//! Tokens that are signed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_proto::etcdserverpb as pb;
use tokio::time::sleep;
use tonic::Code;

use crate::auth::{auth, by, caught_up, log_in, switch_on, token, user};
use crate::cluster::{Cluster, assert_refused, get, put, within};

const INVALID: &str = "etcdserver: invalid auth token";
const OLD: &str = "etcdserver: revision of auth store is old";

fn key(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys").join(name)
}

fn with_keys(private: Option<&Path>, public: Option<&Path>) -> String {
    let mut flag = "--auth-token=jwt,sign-method=RS256,ttl=10m".to_owned();
    for (name, path) in [("priv-key", private), ("pub-key", public)] {
        if let Some(path) = path {
            flag.push_str(&format!(",{name}={}", path.display()));
        }
    }
    flag
}

/// A cluster with rights, whose members sign tokens.
async fn signing(size: usize) -> Cluster {
    let flag = with_keys(Some(&key("rsa.pem")), Some(&key("rsa-public.pem")));
    let cluster = Cluster::start_with(size, &[&flag]).await;
    switch_on(&cluster).await;
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn every_member_believes_what_one_has_signed() {
    let mut cluster = signing(3).await;
    let alice = token(&cluster, 1, "alice", "alicepw").await;
    assert_eq!(alice.split('.').count(), 3, "it is signed");
    for at in 0..3 {
        caught_up(&cluster, at).await;
        let mut kv = cluster.kv(at).await;
        within(kv.put(by(&alice, put("a1", "x")))).await.expect("put");
        within(kv.range(by(&alice, get("b1")))).await.expect("read");
        let refused = within(kv.range(by(&alice, get("c1")))).await;
        assert_refused(refused, Code::PermissionDenied, "etcdserver: permission denied");
        // Of a simple token nobody knows anything here.
        for wrong in ["abc.1", "", "a.b.c", &alice[..alice.len() - 2]] {
            let refused = within(kv.range(by(wrong, get("a1")))).await;
            assert_refused(refused, Code::Unauthenticated, INVALID);
        }
    }
    let wrong = within(auth(&cluster, 0).await.authenticate(log_in("alice", "wrong"))).await;
    let text = "etcdserver: authentication failed, invalid user ID or password";
    assert_refused(wrong, Code::InvalidArgument, text);
    // A member that starts again has nothing to remember.
    cluster.stop(2).await;
    cluster.restart(2).await;
    caught_up(&cluster, 2).await;
    within(cluster.kv(2).await.range(by(&alice, get("a1")))).await.expect("read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_old_once_rights_have_changed() {
    let cluster = signing(3).await;
    let root = token(&cluster, 0, "root", "rootpw").await;
    let alice = token(&cluster, 0, "alice", "alicepw").await;
    let change = pb::AuthUserChangePasswordRequest {
        name: "alice".into(),
        password: "new".into(),
        ..Default::default()
    };
    within(auth(&cluster, 0).await.user_change_password(by(&root, change))).await.expect("done");
    for at in 0..3 {
        caught_up(&cluster, at).await;
        let mut kv = cluster.kv(at).await;
        let refused = within(kv.put(by(&alice, put("a1", "x")))).await;
        assert_refused(refused, Code::InvalidArgument, OLD);
        let stale = pb::RangeRequest { serializable: true, ..get("a1") };
        assert_refused(within(kv.range(by(&alice, stale))).await, Code::InvalidArgument, OLD);
        let requests = tonic::codegen::tokio_stream::pending::<pb::WatchRequest>();
        let mut watch = pb::watch_client::WatchClient::new(cluster.channel(at).await);
        let refused = within(watch.watch(by(&alice, requests))).await;
        assert_refused(refused, Code::InvalidArgument, OLD);
        // Who was let in at that revision has to come again too, as in etcd.
        let refused = within(kv.range(by(&root, get("a1")))).await;
        assert_refused(refused, Code::InvalidArgument, OLD);
    }
    let refused = within(auth(&cluster, 0).await.authenticate(log_in("alice", "alicepw"))).await;
    assert!(refused.is_err(), "the password is another one");
    let alice = token(&cluster, 2, "alice", "new").await;
    let root = token(&cluster, 1, "root", "rootpw").await;
    within(cluster.kv(1).await.put(by(&alice, put("a1", "x")))).await.expect("put");
    // A user who is gone does not come in, nor with the name of another one.
    let delete = pb::AuthUserDeleteRequest { name: "alice".into() };
    within(auth(&cluster, 0).await.user_delete(by(&root, delete))).await.expect("done");
    let root = token(&cluster, 0, "root", "rootpw").await;
    within(auth(&cluster, 0).await.user_add(by(&root, user("alice", "new")))).await.expect("done");
    for at in 0..3 {
        caught_up(&cluster, at).await;
        let refused = within(cluster.kv(at).await.range(by(&alice, get("a1")))).await;
        assert_refused(refused, Code::InvalidArgument, OLD);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_the_public_key_alone_checks_and_gives_out_none() {
    let mut cluster = signing(3).await;
    let alice = token(&cluster, 0, "alice", "alicepw").await;
    cluster.set_flags(&[&with_keys(None, Some(&key("rsa-public.pem")))]);
    cluster.stop(1).await;
    cluster.restart(1).await;
    caught_up(&cluster, 1).await;
    within(cluster.kv(1).await.put(by(&alice, put("a1", "x")))).await.expect("put");
    let refused = within(auth(&cluster, 1).await.authenticate(log_in("alice", "alicepw"))).await;
    let text = "auth: token signing attempted with verify-only key";
    assert_refused(refused, Code::Unknown, text);
    // Another key believes nothing of it.
    cluster.set_flags(&[&with_keys(Some(&key("rsa-other.pem")), None)]);
    cluster.stop(2).await;
    cluster.restart(2).await;
    let refused = within(cluster.kv(2).await.range(by(&alice, get("a1")))).await;
    assert_refused(refused, Code::Unauthenticated, INVALID);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_change_are_taken_up_and_broken_ones_are_not() {
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("key.pem");
    let replace = |with: &[u8]| {
        let new = folder.path().join("new");
        fs::write(&new, with).expect("written");
        fs::rename(&new, &file).expect("replaced");
    };
    replace(&fs::read(key("rsa.pem")).expect("a key"));
    let cluster = Cluster::start_with(1, &[&with_keys(Some(&file), None)]).await;
    switch_on(&cluster).await;
    let first = token(&cluster, 0, "alice", "alicepw").await;
    let mut kv = cluster.kv(0).await;
    within(kv.range(by(&first, get("a1")))).await.expect("read");

    replace(b"broken");
    // As long as two looks take; whatever was seen by then, the first key counts.
    sleep(Duration::from_secs(2)).await;
    within(kv.range(by(&first, get("a1")))).await.expect("read");

    replace(&fs::read(key("rsa-other.pem")).expect("a key"));
    let refused = async {
        loop {
            match kv.range(by(&first, get("a1"))).await {
                Ok(_) => sleep(Duration::from_millis(50)).await,
                Err(status) => return status,
            }
        }
    };
    assert_refused(Err::<(), _>(within(refused).await), Code::Unauthenticated, INVALID);
    let second = token(&cluster, 0, "alice", "alicepw").await;
    within(kv.range(by(&second, get("a1")))).await.expect("read");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_keys_a_member_does_not_start() {
    let mut cluster = Cluster::start(1).await;
    cluster.stop(0).await;
    for (name, why) in [("none.pem", "No such file"), ("ed25519.pem", "is not an RSA key")] {
        cluster.set_flags(&[&with_keys(Some(&key(name)), None)]);
        let error = cluster.try_restart(0).expect_err("it does not start");
        assert!(error.starts_with("the keys of --auth-token=jwt: "), "{error}");
        assert!(error.contains(why), "{error}");
    }
}
