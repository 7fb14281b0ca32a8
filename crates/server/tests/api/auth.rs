//! Users, roles and rights.

use quorate_proto::authpb::permission::Type;
use quorate_proto::authpb::{Permission, UserAddOptions};
use quorate_proto::etcdserverpb as pb;
use quorate_proto::{v3electionpb, v3lockpb};
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Request, Streaming};

use crate::cluster::{Cluster, assert_refused, delete, get, get_all, put, within};

const DENIED: &str = "etcdserver: permission denied";
const NOBODY: &str = "etcdserver: user name is empty";

pub(crate) async fn auth(cluster: &Cluster, at: usize) -> pb::auth_client::AuthClient<Channel> {
    pb::auth_client::AuthClient::new(cluster.channel(at).await)
}

/// A request with a token.
pub(crate) fn by<T>(token: &str, request: T) -> Request<T> {
    let mut request = Request::new(request);
    request.metadata_mut().insert("token", token.parse().expect("text"));
    request
}

pub(crate) fn user(name: &str, password: &str) -> pb::AuthUserAddRequest {
    pb::AuthUserAddRequest { name: name.into(), password: password.into(), ..Default::default() }
}

fn with_role(user: &str, role: &str) -> pb::AuthUserGrantRoleRequest {
    pb::AuthUserGrantRoleRequest { user: user.into(), role: role.into() }
}

fn role(name: &str) -> pb::AuthRoleAddRequest {
    pb::AuthRoleAddRequest { name: name.into() }
}

fn permit(role: &str, may: Type, key: &str, range_end: &str) -> pb::AuthRoleGrantPermissionRequest {
    let (key, range_end) = (key.to_owned().into(), range_end.to_owned().into());
    let perm = Some(Permission { perm_type: may.into(), key, range_end });
    pb::AuthRoleGrantPermissionRequest { name: role.into(), perm }
}

pub(crate) fn log_in(name: &str, password: &str) -> pb::AuthenticateRequest {
    pb::AuthenticateRequest { name: name.into(), password: password.into() }
}

pub(crate) async fn token(cluster: &Cluster, at: usize, name: &str, password: &str) -> String {
    let answer = within(auth(cluster, at).await.authenticate(log_in(name, password))).await;
    answer.expect("let in").into_inner().token
}

/// Waits until a member has what was acknowledged. Anybody may ask this.
pub(crate) async fn caught_up(cluster: &Cluster, at: usize) {
    let mut client = auth(cluster, at).await;
    within(client.auth_status(pb::AuthStatusRequest {})).await.expect("told");
}

/// A cluster with rights switched on: `root`, and `alice`, who may read and write what begins with `a` and read what
/// begins with `b`.
async fn with_rights(size: usize) -> Cluster {
    let cluster = Cluster::start(size).await;
    switch_on(&cluster).await;
    cluster
}

/// The same with a cluster that is there.
pub(crate) async fn switch_on(cluster: &Cluster) {
    let mut auth = auth(cluster, 0).await;
    within(auth.user_add(user("root", "rootpw"))).await.expect("added");
    within(auth.user_grant_role(with_role("root", "root"))).await.expect("granted");
    within(auth.user_add(user("alice", "alicepw"))).await.expect("added");
    within(auth.role_add(role("r"))).await.expect("added");
    within(auth.role_grant_permission(permit("r", Type::Readwrite, "a", "b"))).await.expect("done");
    within(auth.role_grant_permission(permit("r", Type::Read, "b", "c"))).await.expect("done");
    within(auth.user_grant_role(with_role("alice", "r"))).await.expect("granted");
    let mut kv = cluster.kv(0).await;
    for key in ["a1", "b1", "c1"] {
        within(kv.put(put(key, "v"))).await.expect("put");
    }
    within(auth.auth_enable(pb::AuthEnableRequest {})).await.expect("enabled");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_held_to_their_rights_on_every_member() {
    let cluster = with_rights(3).await;
    for at in 0..3 {
        caught_up(&cluster, at).await;
        let mut kv = cluster.kv(at).await;
        assert_refused(within(kv.range(get("a1"))).await, Code::InvalidArgument, NOBODY);
        assert_refused(within(kv.put(put("a1", "x"))).await, Code::InvalidArgument, NOBODY);
        let wrong = within(kv.range(by("no.1", get("a1")))).await;
        assert_refused(wrong, Code::Unauthenticated, "etcdserver: invalid auth token");
    }
    // A token that one member has given is known to all.
    let alice = token(&cluster, 1, "alice", "alicepw").await;
    for at in 0..3 {
        caught_up(&cluster, at).await;
        let mut kv = cluster.kv(at).await;
        let found = within(kv.range(by(&alice, get_all(b'a')))).await.expect("read").into_inner();
        assert!(found.count > 0);
        within(kv.range(by(&alice, get("b1")))).await.expect("read");
        let stale = pb::RangeRequest { serializable: true, ..get("c1") };
        assert_refused(within(kv.range(by(&alice, stale))).await, Code::PermissionDenied, DENIED);
        within(kv.put(by(&alice, put("a2", "x")))).await.expect("put");
        let refused = within(kv.put(by(&alice, put("b1", "x")))).await;
        assert_refused(refused, Code::PermissionDenied, DENIED);
        let refused = within(kv.delete_range(by(&alice, delete("b1")))).await;
        assert_refused(refused, Code::PermissionDenied, DENIED);
        let all = pb::RangeRequest { range_end: "\0".into(), ..get("a") };
        assert_refused(within(kv.range(by(&alice, all))).await, Code::PermissionDenied, DENIED);
        let compact = pb::CompactionRequest { revision: 2, physical: false };
        let refused = within(kv.compact(by(&alice, compact))).await;
        assert_refused(refused, Code::PermissionDenied, DENIED);
    }
    let root = token(&cluster, 2, "root", "rootpw").await;
    caught_up(&cluster, 0).await;
    let all = pb::RangeRequest { range_end: "\0".into(), ..get("a") };
    let found = within(cluster.kv(0).await.range(by(&root, all))).await.expect("read");
    assert_eq!(found.into_inner().count, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_logs_in_wrongly_is_told_so() {
    let cluster = Cluster::start(1).await;
    let mut client = auth(&cluster, 0).await;
    let off = "etcdserver: authentication is not enabled";
    let refused = within(client.authenticate(log_in("root", "rootpw"))).await;
    assert_refused(refused, Code::FailedPrecondition, off);
    let refused = within(client.auth_enable(pb::AuthEnableRequest {})).await;
    assert_refused(refused, Code::FailedPrecondition, "etcdserver: root user does not exist");
    within(client.user_add(user("root", "rootpw"))).await.expect("added");
    let refused = within(client.auth_enable(pb::AuthEnableRequest {})).await;
    let text = "etcdserver: root user does not have root role";
    assert_refused(refused, Code::FailedPrecondition, text);
    within(client.user_grant_role(with_role("root", "root"))).await.expect("granted");
    let options = Some(UserAddOptions { no_password: true });
    let certified = pb::AuthUserAddRequest { options, ..user("cert", "") };
    within(client.user_add(certified)).await.expect("added");
    within(client.auth_enable(pb::AuthEnableRequest {})).await.expect("enabled");

    let text = "etcdserver: authentication failed, invalid user ID or password";
    for (name, password) in [("root", "wrong"), ("root", ""), ("nobody", "rootpw"), ("", "")] {
        let refused = within(client.authenticate(log_in(name, password))).await;
        assert_refused(refused, Code::InvalidArgument, text);
    }
    let refused = within(client.authenticate(log_in("cert", ""))).await;
    let text = "auth: authentication failed, password was given for no password user";
    assert_refused(refused, Code::Unknown, text);

    // Anybody may ask whether to log in.
    let status = within(client.auth_status(pb::AuthStatusRequest {})).await.expect("told");
    let status = status.into_inner();
    assert_eq!((status.enabled, status.auth_revision), (true, 4));
}

/// Guesses are not looked at one after the other as fast as they come, and cost nobody else anything.
#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_waits_and_nobody_else_does() {
    let cluster = with_rights(1).await;
    let channel = cluster.channel(0).await;
    let guess = |name: &'static str, password: &'static str| {
        let mut client = pb::auth_client::AuthClient::new(channel.clone());
        tokio::spawn(async move { client.authenticate(log_in(name, password)).await.map(drop) })
    };
    let wrong: Vec<_> = (0..10).map(|_| guess("alice", "wrong")).collect();
    for refused in wrong {
        let refused = within(refused).await.expect("it ends").expect_err("it is wrong");
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    // Each of these would wait for those before, and not all of them may: not even with the right one.
    let right: Vec<_> = (0..5).map(|_| guess("alice", "alicepw")).collect();
    within(guess("root", "rootpw")).await.expect("it ends").expect("let in at once");
    let mut refused = 0;
    for answer in right.into_iter().rev() {
        // Who waits is not waited for.
        let answer = tokio::time::timeout(std::time::Duration::from_secs(1), answer).await;
        if let Ok(Ok(Err(status))) = answer {
            let text = "etcdserver: too many requests";
            assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, text));
            refused += 1;
        }
    }
    assert!(refused >= 1);
}

/// What proves who somebody is stands in no file: neither in the log nor in the store.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_written_to_the_disk() {
    let mut cluster = with_rights(1).await;
    let root = token(&cluster, 0, "root", "rootpw").await;
    let mut client = auth(&cluster, 0).await;
    within(client.user_add(by(&root, user("bob", "first-of-bob")))).await.expect("added");
    let change = pb::AuthUserChangePasswordRequest {
        name: "bob".into(),
        password: "second-of-bob".into(),
        ..Default::default()
    };
    within(client.user_change_password(by(&root, change))).await.expect("changed");
    let token = token(&cluster, 0, "bob", "second-of-bob").await;
    within(cluster.kv(0).await.put(by(&root, put("seen", "plainly-there")))).await.expect("put");
    cluster.stop(0).await;
    let mut folders = vec![cluster.data_dir(0).to_owned()];
    let mut content = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => content.extend(std::fs::read(path).expect("a file")),
            }
        }
    }
    let has = |text: &str| content.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(has("plainly-there"), "the files are those of the data");
    for secret in ["rootpw", "alicepw", "first-of-bob", "second-of-bob", &root, &token] {
        assert!(!has(secret), "{secret} is on the disk");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_was_put_out_stays_out() {
    let cluster = with_rights(1).await;
    let (root, alice) =
        (token(&cluster, 0, "root", "rootpw").await, token(&cluster, 0, "alice", "alicepw").await);
    let (mut client, mut kv) = (auth(&cluster, 0).await, cluster.kv(0).await);
    within(kv.range(by(&alice, get("a1")))).await.expect("read");
    // Other changes leave who was let in alone.
    within(client.user_add(by(&root, user("bob", "bobpw")))).await.expect("added");
    within(kv.put(by(&alice, put("a1", "w")))).await.expect("put");

    let change = pb::AuthUserChangePasswordRequest {
        name: "alice".into(),
        password: "new".into(),
        ..Default::default()
    };
    within(client.user_change_password(by(&root, change))).await.expect("changed");
    let invalid = "etcdserver: invalid auth token";
    let refused = within(kv.range(by(&alice, get("a1")))).await;
    assert_refused(refused, Code::Unauthenticated, invalid);
    let wrong = within(client.authenticate(log_in("alice", "alicepw"))).await;
    assert_eq!(wrong.expect_err("the old password").code(), Code::InvalidArgument);
    let alice = token(&cluster, 0, "alice", "new").await;
    within(kv.range(by(&alice, get("a1")))).await.expect("read");

    // One of the same name is another user.
    let gone = pb::AuthUserDeleteRequest { name: "alice".into() };
    within(client.user_delete(by(&root, gone))).await.expect("deleted");
    within(client.user_add(by(&root, user("alice", "new")))).await.expect("added");
    within(client.user_grant_role(by(&root, with_role("alice", "root")))).await.expect("granted");
    let refused = within(kv.range(by(&alice, get("a1")))).await;
    assert_refused(refused, Code::Unauthenticated, invalid);

    // After rights were off for a while all begin anew.
    within(client.auth_disable(by(&root, pb::AuthDisableRequest {}))).await.expect("disabled");
    within(kv.range(get("a1"))).await.expect("read");
    within(kv.range(by(&alice, get("a1")))).await.expect("a token is no harm");
    within(client.auth_enable(pb::AuthEnableRequest {})).await.expect("enabled");
    let refused = within(kv.range(by(&root, get("a1")))).await;
    assert_refused(refused, Code::Unauthenticated, invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_and_roles_are_told_to_whom_they_concern() {
    let cluster = with_rights(1).await;
    let (root, alice) =
        (token(&cluster, 0, "root", "rootpw").await, token(&cluster, 0, "alice", "alicepw").await);
    let mut client = auth(&cluster, 0).await;
    let users = within(client.user_list(by(&root, pb::AuthUserListRequest {}))).await;
    assert_eq!(users.expect("told").into_inner().users, ["alice", "root"]);
    let roles = within(client.role_list(by(&root, pb::AuthRoleListRequest {}))).await;
    assert_eq!(roles.expect("told").into_inner().roles, ["r"]);
    for refused in [
        within(client.user_list(by(&alice, pb::AuthUserListRequest {}))).await.map(drop),
        within(client.role_list(by(&alice, pb::AuthRoleListRequest {}))).await.map(drop),
        within(client.user_add(by(&alice, user("x", "y")))).await.map(drop),
        within(client.user_grant_role(by(&alice, with_role("alice", "root")))).await.map(drop),
        within(client.auth_disable(by(&alice, pb::AuthDisableRequest {}))).await.map(drop),
    ] {
        assert_refused(refused, Code::PermissionDenied, DENIED);
    }
    let of = |name: &str| pb::AuthUserGetRequest { name: name.into() };
    let own = within(client.user_get(by(&alice, of("alice")))).await.expect("told");
    assert_eq!(own.into_inner().roles, ["r"]);
    let refused = within(client.user_get(by(&alice, of("root")))).await;
    assert_refused(refused, Code::PermissionDenied, DENIED);
    let refused = within(client.user_get(by(&root, of("nobody")))).await;
    assert_refused(refused, Code::FailedPrecondition, "etcdserver: user name not found");

    let of = |role: &str| pb::AuthRoleGetRequest { role: role.into() };
    let own = within(client.role_get(by(&alice, of("r")))).await.expect("told").into_inner().perm;
    let shown = own.iter().map(|perm| (perm.perm_type(), &perm.key[..], &perm.range_end[..]));
    let expected = [(Type::Readwrite, &b"a"[..], &b"b"[..]), (Type::Read, b"b", b"c")];
    assert_eq!(shown.collect::<Vec<_>>(), expected);
    let refused = within(client.role_get(by(&alice, of("root")))).await;
    assert_refused(refused, Code::PermissionDenied, DENIED);
    let all = within(client.role_get(by(&root, of("root")))).await.expect("told").into_inner().perm;
    assert_eq!((&all[0].key[..], &all[0].range_end[..]), (&b""[..], &b"\0"[..]));
    assert_eq!(all[0].perm_type(), Type::Readwrite);

    let nothing = pb::AuthRoleGrantPermissionRequest { name: "r".into(), perm: None };
    let refused = within(client.role_grant_permission(by(&root, nothing))).await;
    assert_refused(refused, Code::InvalidArgument, "etcdserver: permission not given");
    let backwards = permit("r", Type::Read, "b", "a");
    let refused = within(client.role_grant_permission(by(&root, backwards))).await;
    assert_refused(refused, Code::InvalidArgument, "etcdserver: invalid auth management");
    let other = pb::AuthRoleRevokePermissionRequest {
        role: "r".into(),
        key: "a".into(),
        range_end: "c".into(),
    };
    let refused = within(client.role_revoke_permission(by(&root, other))).await;
    let text = "etcdserver: permission is not granted to the role";
    assert_refused(refused, Code::FailedPrecondition, text);
}

/// A stream of watches.
struct Watching {
    requests: mpsc::Sender<pb::WatchRequest>,
    responses: Streaming<pb::WatchResponse>,
}

impl Watching {
    async fn open(cluster: &Cluster, token: &str) -> Self {
        let (requests, receiver) = mpsc::channel(10);
        let mut client = pb::watch_client::WatchClient::new(cluster.channel(0).await);
        let opened = within(client.watch(by(token, ReceiverStream::new(receiver)))).await;
        Self { requests, responses: opened.expect("a stream").into_inner() }
    }

    async fn create(&mut self, key: &str, range_end: &str) -> pb::WatchResponse {
        let create = pb::WatchCreateRequest {
            key: key.to_owned().into(),
            range_end: range_end.to_owned().into(),
            ..Default::default()
        };
        let request_union = Some(pb::watch_request::RequestUnion::CreateRequest(create));
        self.requests.send(pb::WatchRequest { request_union }).await.expect("open");
        self.next().await
    }

    async fn next(&mut self) -> pb::WatchResponse {
        within(self.responses.message()).await.expect("no end").expect("a response")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_needs_rights_and_ends_with_them() {
    let cluster = with_rights(1).await;
    let (root, alice) =
        (token(&cluster, 0, "root", "rootpw").await, token(&cluster, 0, "alice", "alicepw").await);
    let denied = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
    let mut watching = Watching::open(&cluster, &alice).await;
    let refused = watching.create("c1", "").await;
    assert!(refused.created && refused.canceled, "{refused:?}");
    assert_eq!((refused.cancel_reason.as_str(), refused.watch_id), (denied, -1));
    // The end that says "all that follow" is none that says "this key".
    let refused = watching.create("a1", "\0").await;
    assert_eq!(refused.cancel_reason, denied);
    let all = watching.create("a", "c").await;
    assert!(all.created && !all.canceled, "{all:?}");
    let own = watching.create("a1", "").await;
    assert!(!own.canceled, "{own:?}");

    let mut kv = cluster.kv(0).await;
    within(kv.put(by(&root, put("b1", "seen")))).await.expect("put");
    let event = watching.next().await;
    assert_eq!((event.watch_id, event.events.len()), (all.watch_id, 1));
    // What it may not read any more it does not see any more.
    let revoke = pb::AuthRoleRevokePermissionRequest {
        role: "r".into(),
        key: "b".into(),
        range_end: "c".into(),
    };
    within(auth(&cluster, 0).await.role_revoke_permission(by(&root, revoke))).await.expect("done");
    within(kv.put(by(&root, put("b1", "unseen")))).await.expect("put");
    let ended = watching.next().await;
    assert_eq!((ended.watch_id, ended.cancel_reason.as_str()), (all.watch_id, denied));
    assert!(ended.canceled && ended.events.is_empty(), "{ended:?}");
    within(kv.put(by(&root, put("a1", "seen")))).await.expect("put");
    let event = watching.next().await;
    assert_eq!((event.watch_id, event.events.len()), (own.watch_id, 1));
    // And whose password was changed sees nothing.
    let change = pb::AuthUserChangePasswordRequest {
        name: "alice".into(),
        password: "new".into(),
        ..Default::default()
    };
    within(auth(&cluster, 0).await.user_change_password(by(&root, change))).await.expect("done");
    let ended = watching.next().await;
    assert_eq!((ended.watch_id, ended.cancel_reason.as_str()), (own.watch_id, denied));
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_locks_and_elections_need_rights_to_their_keys() {
    let cluster = with_rights(1).await;
    let (root, alice) =
        (token(&cluster, 0, "root", "rootpw").await, token(&cluster, 0, "alice", "alicepw").await);
    let (mut lease, mut kv) = (cluster.lease(0).await, cluster.kv(0).await);
    for id in [7, 8] {
        let grant = pb::LeaseGrantRequest { id, ttl: 100 };
        within(lease.lease_grant(by(&alice, grant))).await.expect("whoever is let in may");
    }
    let attached = |key: &str, lease: i64| pb::PutRequest { lease, ..put(key, "v") };
    within(kv.put(by(&root, attached("c1", 7)))).await.expect("put");
    within(kv.put(by(&alice, attached("a1", 8)))).await.expect("put");
    let refused = within(kv.put(by(&alice, attached("a2", 7)))).await;
    assert_refused(refused, Code::PermissionDenied, DENIED);
    let revoke = pb::LeaseRevokeRequest { id: 7 };
    let refused = within(lease.lease_revoke(by(&alice, revoke))).await;
    assert_refused(refused, Code::PermissionDenied, DENIED);
    let keys = |id: i64, keys: bool| pb::LeaseTimeToLiveRequest { id, keys };
    within(lease.lease_time_to_live(by(&alice, keys(7, false)))).await.expect("the time is told");
    let refused = within(lease.lease_time_to_live(by(&alice, keys(7, true)))).await;
    assert_refused(refused, Code::PermissionDenied, DENIED);
    within(lease.lease_time_to_live(by(&alice, keys(8, true)))).await.expect("its own keys");
    let refused = within(lease.lease_leases(by(&alice, pb::LeaseLeasesRequest {}))).await;
    assert_refused(refused, Code::PermissionDenied, DENIED);
    let renew = async |token: &str, id: i64| {
        let (requests, receiver) = mpsc::channel(1);
        requests.send(pb::LeaseKeepAliveRequest { id }).await.expect("open");
        let mut lease = cluster.lease(0).await;
        let opened = within(lease.lease_keep_alive(by(token, ReceiverStream::new(receiver)))).await;
        within(opened.expect("a stream").into_inner().message()).await
    };
    assert_refused(renew(&alice, 7).await, Code::PermissionDenied, DENIED);
    renew(&alice, 8).await.expect("its own");
    within(lease.lease_revoke(by(&alice, pb::LeaseRevokeRequest { id: 8 })))
        .await
        .expect("its own");

    // Recipes are told by one more client of the store, without its codes.
    let mut locks = v3lockpb::lock_client::LockClient::new(cluster.channel(0).await);
    let lock = |name: &'static str| v3lockpb::LockRequest { name: name.into(), lease: 0 };
    let refused = within(locks.lock(by(&alice, lock("c")))).await;
    assert_refused(refused, Code::Unknown, DENIED);
    let held = within(locks.lock(by(&alice, lock("a")))).await.expect("held").into_inner();
    let unlock = v3lockpb::UnlockRequest { key: held.key };
    within(locks.unlock(by(&alice, unlock))).await.expect("given up");
    let channel = cluster.channel(0).await;
    let mut elections = v3electionpb::election_client::ElectionClient::new(channel);
    let who = |name: &'static str| v3electionpb::LeaderRequest { name: name.into() };
    let refused = within(elections.leader(by(&alice, who("c")))).await;
    assert_refused(refused, Code::Unknown, DENIED);
    let refused = within(elections.leader(by(&alice, who("a")))).await;
    assert_refused(refused, Code::Unknown, "election: no leader");
    let observed = within(elections.observe(by(&alice, who("c")))).await.expect("a stream");
    let refused = within(observed.into_inner().message()).await;
    assert_refused(refused, Code::Unknown, DENIED);
}

/// The files that name all calls.
const PROTOS: [&str; 5] = [
    include_str!("../../../proto/proto/etcdserverpb.proto"),
    include_str!("../../../proto/proto/v3lockpb.proto"),
    include_str!("../../../proto/proto/v3electionpb.proto"),
    include_str!("../../../proto/proto/quoratepb.proto"),
    include_str!("../../../proto/proto/health.proto"),
];

/// The paths of all calls.
fn paths() -> Vec<String> {
    let mut paths = Vec::new();
    for proto in PROTOS {
        let (mut package, mut service) = ("", "");
        for line in proto.lines() {
            let words: Vec<&str> =
                line.split([' ', '(', ';', '{']).filter(|w| !w.is_empty()).collect();
            match words[..] {
                ["package", name, ..] => package = name,
                ["service", name, ..] => service = name,
                ["rpc", name, ..] => paths.push(format!("/{package}.{service}/{name}")),
                _ => {}
            }
        }
    }
    paths
}

/// Makes a call with an empty request, and waits for the first that is said.
async fn call(channel: &Channel, path: &str, token: Option<&str>) -> Result<(), tonic::Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.expect("a connection");
    let codec = quorate_proto::codec::Codec::<(), ()>::default();
    let request = match token {
        Some(token) => by(token, ()),
        None => Request::new(()),
    };
    let path = path.parse().expect("a path");
    client.unary(request, path, codec).await.map(drop)
}

/// Of every call that there is: without a token there is no way in, and users without rights have none to what
/// concerns all. Which calls are open to everybody stands here once more.
#[tokio::test(flavor = "multi_thread")]
async fn no_call_is_forgotten() {
    const OPEN: [&str; 4] = ["AuthStatus", "Authenticate", "Check", "Health/Watch"];
    // They need no right to a key: what users without any may do.
    const FOR_USERS: [&str; 4] = ["MemberList", "Status", "LeaseGrant", "Alarm"];
    // What these need stands in the request; an empty one is refused for what it lacks, and the tests above ask more.
    const ASKED: [&str; 16] = [
        "/Range",
        "RangeStream",
        "/Put",
        "DeleteRange",
        "/Txn",
        "Watch/Watch",
        "LeaseRevoke",
        "LeaseKeepAlive",
        "LeaseTimeToLive",
        "LeaseLeases",
        "Lock/Lock",
        "Lock/Unlock",
        "Election/",
        "UserGet",
        "RoleGet",
        "Authenticate",
    ];
    let cluster = with_rights(1).await;
    let root = token(&cluster, 0, "root", "rootpw").await;
    let mut client = auth(&cluster, 0).await;
    within(client.user_add(by(&root, user("guest", "guestpw")))).await.expect("added");
    let guest = token(&cluster, 0, "guest", "guestpw").await;
    let channel = cluster.channel(0).await;
    let paths = paths();
    assert!(paths.len() >= 52, "{paths:?}");
    let is_one = |path: &str, of: &[&str]| of.iter().any(|end| path.contains(end));
    for path in &paths {
        if is_one(path, &OPEN) {
            continue;
        }
        let refused = within(call(&channel, path, None)).await;
        let status = refused.expect_err(path);
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, NOBODY), "{path}");
        let refused = within(call(&channel, path, Some("made.up"))).await;
        assert_eq!(refused.expect_err(path).code(), Code::Unauthenticated, "{path}");
        if is_one(path, &FOR_USERS) || is_one(path, &ASKED) {
            continue;
        }
        let refused = within(call(&channel, path, Some(&guest))).await;
        let status = refused.expect_err(path);
        assert_eq!((status.code(), status.message()), (Code::PermissionDenied, DENIED), "{path}");
    }
    let status = within(client.auth_status(pb::AuthStatusRequest {})).await.expect("told");
    assert!(status.into_inner().enabled, "nothing that was refused was done");
}
