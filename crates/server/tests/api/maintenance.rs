//! What operators ask.

use quorate_proto::etcdserverpb as pb;
use quorate_proto::grpc::health::v1 as healthpb;
use quorate_server::backup::SnapshotFile;
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
    let refused = maintenance.downgrade(pb::DowngradeRequest::default()).await;
    assert_refused(refused, code, "quorate: Downgrade is not supported yet");
}

/// What `etcdctl snapshot save` demands of the stream.
#[tokio::test]
async fn a_snapshot_is_a_file_with_its_hash_behind() {
    let cluster = Cluster::start(1).await;
    let mut kv = cluster.kv(0).await;
    for number in 0..40 {
        let value = "v".repeat(10_000);
        kv.put(put(&format!("key{number}"), &value)).await.expect("put");
    }
    let mut maintenance = cluster.maintenance(0).await;
    let answer = maintenance.snapshot(pb::SnapshotRequest {}).await.expect("it begins");
    let (mut pieces, mut left) = (answer.into_inner(), None);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("snapshot");
    let mut file = SnapshotFile::create(&path).expect("created");
    let mut count = 0;
    while let Some(piece) = pieces.message().await.expect("it goes on") {
        assert_eq!((piece.header, &piece.version[..]), (None, "3.6.0"));
        assert!((1..=32 << 10).contains(&piece.blob.len()));
        file.write(&piece.blob).expect("written");
        let length = piece.blob.len() as u64;
        let is_hash = left == Some(0);
        let expected = left.map_or(piece.remaining_bytes, |left: u64| left.saturating_sub(length));
        assert_eq!(piece.remaining_bytes, expected);
        assert!(!is_hash || length == 32);
        left = Some(piece.remaining_bytes);
        count += 1;
    }
    let bytes = file.finish().expect("its hash is right");
    assert!(left == Some(0) && count > 10 && bytes % 512 == 32, "{count} pieces, {bytes} bytes");
    let status = quorate_server::backup::status(&path, false).expect("sound");
    assert_eq!((status.revision, status.total_bytes), (41, bytes - 32));
}

#[tokio::test]
async fn few_snapshots_are_sent_at_once_and_who_goes_away_makes_room() {
    let cluster = Cluster::start(1).await;
    let mut kv = cluster.kv(0).await;
    for number in 0..40 {
        kv.put(put(&format!("key{number}"), &"v".repeat(100_000))).await.expect("put");
    }
    let mut maintenance = cluster.maintenance(0).await;
    let mut first = Vec::new();
    for _ in 0..2 {
        // Nobody reads more of it.
        let answer = maintenance.snapshot(pb::SnapshotRequest {}).await.expect("it begins");
        let mut pieces = answer.into_inner();
        pieces.message().await.expect("it goes on").expect("a piece");
        first.push(pieces);
    }
    let refused = maintenance.snapshot(pb::SnapshotRequest {}).await;
    assert_refused(refused, Code::ResourceExhausted, "etcdserver: too many requests");
    drop(first);
    while let Err(status) = maintenance.snapshot(pb::SnapshotRequest {}).await {
        assert_eq!(status.code(), Code::ResourceExhausted);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
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
