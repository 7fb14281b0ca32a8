//! What operators ask.

use quorate_proto::etcdserverpb as pb;
use quorate_proto::grpc::health::v1 as healthpb;
use tonic::Code;

use crate::cluster::{Cluster, assert_refused, put, within};

#[tokio::test]
async fn the_state_of_a_member() {
    let cluster = Cluster::start(1).await;
    let status = cluster.status(0).await;
    assert!(status.version.starts_with("3.6."), "{}", status.version);
    assert_eq!(status.storage_version, "3.6.0");
    assert!(status.db_size > 0 && status.db_size_in_use > 0, "clients divide by it");
    assert_eq!(status.db_size_quota, 2 << 30);
    assert_eq!(status.leader, cluster.member_id(0));
    assert!(status.raft_index >= status.raft_applied_index && status.raft_applied_index > 0);
    assert!(status.errors.is_empty() && !status.is_learner);
    assert!(!status.downgrade_info.expect("always there").enabled);
    assert_eq!(status.header.expect("a header").revision, 1);
}

#[tokio::test]
async fn all_members_are_listed_and_agree_on_the_hash() {
    let cluster = Cluster::start(3).await;
    cluster.kv(0).await.put(put("a", "1")).await.expect("written");
    let mut hashes = Vec::new();
    for at in 0..3 {
        let mut client = pb::cluster_client::ClusterClient::new(cluster.channel(at).await);
        let request = pb::MemberListRequest { linearizable: true };
        let list = within(client.member_list(request)).await.expect("a list").into_inner();
        assert_eq!(list.header.expect("a header").revision, 0);
        assert!(list.members.is_sorted_by_key(|member| member.id));
        let mut names: Vec<_> = list.members.iter().map(|member| &member.name[..]).collect();
        names.sort_unstable();
        assert_eq!(names, ["m0", "m1", "m2"]);
        let own = list.members.iter().find(|member| member.id == cluster.member_id(at));
        let own = own.expect("the member lists itself");
        assert_eq!(own.client_ur_ls, [format!("http://{}", cluster.address(at))]);
        assert!(own.peer_ur_ls[0].starts_with("http://127.0.0.1:") && !own.is_learner);

        cluster.catch_up(at, 0).await;
        let request = pb::HashKvRequest { revision: 2 };
        let hash = cluster.maintenance(at).await.hash_kv(request).await.expect("a hash");
        let hash = hash.into_inner();
        assert_eq!((hash.compact_revision, hash.hash_revision), (-1, 2));
        hashes.push(hash.hash);
    }
    assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]), "{hashes:?}");
    let future = cluster.maintenance(0).await.hash_kv(pb::HashKvRequest { revision: 3 }).await;
    let text = "etcdserver: mvcc: required revision is a future revision";
    assert_refused(future, Code::OutOfRange, text);
}

#[tokio::test]
async fn leadership_moves_on_request() {
    let cluster = Cluster::start(3).await;
    let (leader, follower) = cluster.roles().await;
    let follower = follower.expect("there are three");
    let target = |target_id| pb::MoveLeaderRequest { target_id };
    let to = cluster.member_id(follower);
    let refused = cluster.maintenance(follower).await.move_leader(target(to)).await;
    assert_refused(refused, Code::FailedPrecondition, "etcdserver: not leader");
    let refused = cluster.maintenance(leader).await.move_leader(target(1)).await;
    assert_refused(refused, Code::FailedPrecondition, "etcdserver: bad leader transferee");
    let moved = within(cluster.maintenance(leader).await.move_leader(target(to))).await;
    moved.expect("moved");
    assert_eq!(cluster.roles().await.0, follower);
}

#[tokio::test]
async fn what_is_missing_says_its_name() {
    let cluster = Cluster::start(1).await;
    let mut maintenance = cluster.maintenance(0).await;
    let code = Code::Unimplemented;
    let refused = maintenance.snapshot(pb::SnapshotRequest {}).await;
    assert_refused(refused, code, "quorate: Snapshot is not supported yet");
    let refused = maintenance.downgrade(pb::DowngradeRequest::default()).await;
    assert_refused(refused, code, "quorate: Downgrade is not supported yet");
}

#[tokio::test]
async fn to_defragment_is_to_do_nothing() {
    let cluster = Cluster::start(1).await;
    let answer = cluster.maintenance(0).await.defragment(pb::DefragmentRequest {}).await;
    assert_eq!(answer.expect("nothing to do").into_inner().header, None);
}

#[tokio::test]
async fn members_with_the_same_state_have_the_same_hash() {
    let cluster = Cluster::start(3).await;
    let hash = async |at: usize| {
        let answer = cluster.maintenance(at).await.hash(pb::HashRequest {}).await;
        let answer = answer.expect("hashed").into_inner();
        (answer.header.expect("a header").revision, answer.hash)
    };
    let empty = hash(0).await;
    for number in 0..3 {
        within(cluster.kv(number).await.put(put("k", &number.to_string()))).await.expect("put");
    }
    for at in 0..3 {
        cluster.catch_up(at, 2).await;
    }
    let full = hash(0).await;
    assert_ne!(empty.1, full.1);
    assert_eq!([hash(1).await, hash(2).await], [full, full]);
}

#[tokio::test]
async fn the_health_of_the_server() {
    let cluster = Cluster::start(1).await;
    let mut health = healthpb::health_client::HealthClient::new(cluster.channel(0).await);
    let of = |service: &str| healthpb::HealthCheckRequest { service: service.to_owned() };
    let serving = healthpb::health_check_response::ServingStatus::Serving;
    let answer = health.check(of("")).await.expect("known").into_inner();
    assert_eq!(answer.status(), serving);
    assert_refused(health.check(of("x")).await, Code::NotFound, "unknown service");
    let mut watching = health.watch(of("")).await.expect("known").into_inner();
    let first = watching.message().await.expect("no end").expect("an answer");
    assert_eq!(first.status(), serving);
}
