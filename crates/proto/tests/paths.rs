//! The path of every call, as a client puts it on the wire.
//!
//! The names of packages, services and calls are spelled in the `.proto` files and nowhere else; a
//! typing mistake there would suit our own client and nobody else's. Each call is made through the
//! generated client to a service that writes down the path, and answers that it cannot help.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tonic::codegen::{Body, Service, http};
use tonic::{Code, Status, body};

use quorate_proto::etcdserverpb::{
    auth_client::AuthClient, cluster_client::ClusterClient, kv_client::KvClient,
    lease_client::LeaseClient, maintenance_client::MaintenanceClient, watch_client::WatchClient,
};
use quorate_proto::grpc::health::v1::health_client::HealthClient;
use quorate_proto::quoratepb::membership_client::MembershipClient;
use quorate_proto::v3electionpb::election_client::ElectionClient;
use quorate_proto::v3lockpb::lock_client::LockClient;

/// Writes down the path of each call.
#[derive(Clone, Default)]
struct Scribe {
    paths: Arc<Mutex<Vec<String>>>,
}

impl<B: Body> Service<http::Request<B>> for Scribe {
    type Response = http::Response<body::Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        self.paths.lock().expect("no test panics here").push(request.uri().path().to_owned());
        ready(Ok(Status::unimplemented("only the path is of interest").into_http()))
    }
}

/// Makes the calls with empty requests, and returns the paths that were asked for. The calls marked
/// `stream` send a stream of requests.
macro_rules! paths {
    ($client:ident: $($call:ident $($stream:ident)?),* $(,)?) => {{
        let scribe = Scribe::default();
        let mut client = $client::new(scribe.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            $(
                let answer = client.$call(paths!(@request $($stream)?)).await;
                assert_eq!(answer.expect_err("the scribe cannot help").code(), Code::Unimplemented);
            )*
        });
        let paths = scribe.paths.lock().expect("no test panics here");
        paths.clone()
    }};
    (@request) => { tonic::Request::new(Default::default()) };
    (@request stream) => { tonic::codegen::tokio_stream::iter([Default::default()]) };
}

/// Checks the paths of one service, given as its name and the names of its calls.
#[track_caller]
fn check(paths: &[String], service: &str, calls: &[&str]) {
    let expected: Vec<String> = calls.iter().map(|call| format!("/{service}/{call}")).collect();
    assert_eq!(paths, expected);
}

#[test]
fn kv() {
    check(
        &paths!(KvClient: range, range_stream, put, delete_range, txn, compact),
        "etcdserverpb.KV",
        &["Range", "RangeStream", "Put", "DeleteRange", "Txn", "Compact"],
    );
}

#[test]
fn watch() {
    check(&paths!(WatchClient: watch stream), "etcdserverpb.Watch", &["Watch"]);
}

#[test]
fn lease() {
    check(
        &paths!(
            LeaseClient: lease_grant, lease_revoke, lease_keep_alive stream, lease_time_to_live,
            lease_leases
        ),
        "etcdserverpb.Lease",
        &["LeaseGrant", "LeaseRevoke", "LeaseKeepAlive", "LeaseTimeToLive", "LeaseLeases"],
    );
}

#[test]
fn cluster() {
    check(
        &paths!(
            ClusterClient: member_add, member_remove, member_update, member_list, member_promote
        ),
        "etcdserverpb.Cluster",
        &["MemberAdd", "MemberRemove", "MemberUpdate", "MemberList", "MemberPromote"],
    );
}

#[test]
fn membership() {
    check(&paths!(MembershipClient: reconcile), "quoratepb.Membership", &["Reconcile"]);
}

#[test]
fn maintenance() {
    check(
        &paths!(
            MaintenanceClient: alarm, status, defragment, hash, hash_kv, snapshot, move_leader,
            downgrade
        ),
        "etcdserverpb.Maintenance",
        &["Alarm", "Status", "Defragment", "Hash", "HashKV", "Snapshot", "MoveLeader", "Downgrade"],
    );
}

#[test]
fn auth() {
    check(
        &paths!(AuthClient: auth_enable, auth_disable, auth_status, authenticate),
        "etcdserverpb.Auth",
        &["AuthEnable", "AuthDisable", "AuthStatus", "Authenticate"],
    );
    check(
        &paths!(
            AuthClient: user_add, user_get, user_list, user_delete, user_change_password,
            user_grant_role, user_revoke_role
        ),
        "etcdserverpb.Auth",
        &[
            "UserAdd",
            "UserGet",
            "UserList",
            "UserDelete",
            "UserChangePassword",
            "UserGrantRole",
            "UserRevokeRole",
        ],
    );
    check(
        &paths!(
            AuthClient: role_add, role_get, role_list, role_delete, role_grant_permission,
            role_revoke_permission
        ),
        "etcdserverpb.Auth",
        &[
            "RoleAdd",
            "RoleGet",
            "RoleList",
            "RoleDelete",
            "RoleGrantPermission",
            "RoleRevokePermission",
        ],
    );
}

#[test]
fn lock_and_election() {
    check(&paths!(LockClient: lock, unlock), "v3lockpb.Lock", &["Lock", "Unlock"]);
    check(
        &paths!(ElectionClient: campaign, proclaim, leader, observe, resign),
        "v3electionpb.Election",
        &["Campaign", "Proclaim", "Leader", "Observe", "Resign"],
    );
}

#[test]
fn health() {
    check(&paths!(HealthClient: check, watch), "grpc.health.v1.Health", &["Check", "Watch"]);
}
