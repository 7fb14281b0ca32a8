//! A member that is a witness, as operators and clients see it.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_proto::{etcdserverpb as pb, quoratepb as pb2};
use tokio::time::sleep;
use tonic::Code;
use tonic::codegen::tokio_stream::once;
use tonic::transport::Channel;

use crate::cluster::{Cluster, assert_refused, get, put, within};
use crate::http::page;

const REFUSAL: &str = "quorate: rpc not supported for witness";

/// So that an election is over soon.
const QUICK: [&str; 2] = ["--heartbeat-interval=20", "--election-timeout=200"];

async fn members(cluster: &Cluster, at: usize) -> pb::cluster_client::ClusterClient<Channel> {
    pb::cluster_client::ClusterClient::new(cluster.channel(at).await)
}

/// The members by id, and the ids of the witnesses, as they are written.
async fn list(cluster: &Cluster, at: usize) -> (BTreeMap<u64, pb::Member>, String) {
    let request = pb::MemberListRequest { linearizable: true };
    let answer = within(members(cluster, at).await.member_list(request)).await.expect("a list");
    let witnesses = answer.metadata().get("quorate-witnesses");
    let witnesses = witnesses.map_or("", |ids| ids.to_str().expect("text")).to_owned();
    (answer.into_inner().members.into_iter().map(|it| (it.id, it)).collect(), witnesses)
}

/// Writes, as often as it takes while nobody leads.
async fn write(cluster: &Cluster, at: usize, key: &str, value: &str) {
    within(async {
        while let Err(status) = cluster.kv(at).await.put(put(key, value)).await {
            assert_eq!(status.code(), Code::Unavailable, "{status}");
        }
    })
    .await;
}

async fn read(cluster: &Cluster, at: usize, key: &str) -> String {
    let found = within(cluster.kv(at).await.range(get(key))).await.expect("read").into_inner();
    String::from_utf8(found.kvs[0].value.to_vec()).expect("text")
}

/// All that a client may ask of a witness.
async fn serves_nothing(cluster: &Cluster, at: usize) {
    let mut kv = cluster.kv(at).await;
    let refused = Code::FailedPrecondition;
    assert_refused(within(kv.put(put("a", "1"))).await, refused, REFUSAL);
    assert_refused(within(kv.range(get("a"))).await, refused, REFUSAL);
    let serializable = pb::RangeRequest { serializable: true, ..get("a") };
    assert_refused(within(kv.range(serializable.clone())).await, refused, REFUSAL);
    let mut stale = tonic::Request::new(get("a"));
    stale.metadata_mut().insert("quorate-max-staleness", 60_000.into());
    assert_refused(within(kv.range(stale)).await, refused, REFUSAL);
    let grant = pb::LeaseGrantRequest { ttl: 60, id: 0 };
    assert_refused(within(cluster.lease(at).await.lease_grant(grant)).await, refused, REFUSAL);
    let mut watch = pb::watch_client::WatchClient::new(cluster.channel(at).await);
    let create = pb::WatchRequest::default();
    let stream = once(create);
    assert_refused(within(watch.watch(stream)).await, refused, REFUSAL);
    let hash = pb::HashKvRequest { revision: 0 };
    assert_refused(within(cluster.maintenance(at).await.hash_kv(hash)).await, refused, REFUSAL);
    let request = pb::MemberListRequest { linearizable: false };
    assert_refused(within(members(cluster, at).await.member_list(request)).await, refused, REFUSAL);
}

#[tokio::test]
async fn of_two_members_and_a_witness_any_one_can_be_lost() {
    let flags = [&QUICK[..], &["--initial-witnesses=m2"]].concat();
    let mut cluster = Cluster::start_with(3, &flags).await;
    let witness = 2;
    write(&cluster, 0, "a", "all").await;
    let ids = [0, 1, 2].map(|at| cluster.member_id(at));
    // The leader as well as the other one.
    for round in 0..2 {
        let leader = cluster.roles().await.0;
        let lost = if round == 0 { leader } else { 1 - leader };
        let left = 1 - lost;
        cluster.abandon(lost).await;
        let value = format!("without {lost}");
        write(&cluster, left, "a", &value).await;
        assert_eq!(read(&cluster, left, "a").await, value);
        let leader = cluster.status(witness).await.leader;
        assert!(leader == 0 || leader == ids[left], "a witness never leads");
        cluster.restart(lost).await;
        assert_eq!(read(&cluster, lost, "a").await, value, "it is back");
    }
    cluster.stop(witness).await;
    write(&cluster, 1, "a", "without the witness").await;
    assert_eq!(read(&cluster, 0, "a").await, "without the witness");
    // It goes on as one, whatever the flags are by now.
    cluster.set_flags(&QUICK);
    cluster.restart(witness).await;
    cluster.catch_up(witness, 0).await;
    serves_nothing(&cluster, witness).await;
    assert!(!cluster.data_dir(witness).join("store").exists(), "it keeps no data");
    for at in 0..2 {
        let (listed, witnesses) = list(&cluster, at).await;
        assert_eq!(witnesses, format!("{:x}", ids[witness]));
        let it = &listed[&ids[witness]];
        assert_eq!(
            (it.name.as_str(), it.is_learner),
            ("m2", false),
            "a voter, for whoever knows no witness"
        );
        assert_eq!(it.client_ur_ls, Vec::<String>::new(), "no client is sent there");
    }
    // While both with the data are there, either takes the lead, and the witness does not.
    let to_witness = pb::MoveLeaderRequest { target_id: ids[witness] };
    let leader = cluster.roles().await.0;
    let moved = within(cluster.maintenance(leader).await.move_leader(to_witness)).await;
    moved.expect_err("it can't lead");
}

#[tokio::test]
async fn what_says_how_a_witness_is_doing_works() {
    let cluster = Cluster::start_with(3, &["--initial-witnesses=m2"]).await;
    let witness = 2;
    write(&cluster, 0, "a", "1").await;
    cluster.catch_up(witness, 0).await;
    let status = cluster.status(witness).await;
    assert!(
        status.leader != 0 && status.raft_applied_index > 0 && !status.is_learner,
        "{status:?}"
    );
    for (at, is_witness) in [(0, false), (witness, true)] {
        let mut client = cluster.maintenance(at).await;
        let answer = within(client.status(pb::StatusRequest {})).await.expect("it always answers");
        assert_eq!(answer.metadata().contains_key("quorate-witness"), is_witness, "member {at}");
    }
    let health = page(&cluster, witness, "/health").await;
    assert_eq!(health, (200, r#"{"health":"true","reason":""}"#.to_owned()));
    for path in ["/livez", "/readyz", "/health?serializable=true"] {
        assert_eq!(page(&cluster, witness, path).await.0, 200, "{path}");
    }
    for (at, line) in [(witness, "\nquorate_is_witness 1\n"), (0, "\nquorate_is_witness 0\n")] {
        let (_, metrics) = page(&cluster, at, "/metrics").await;
        assert!(metrics.contains(line), "{metrics}");
    }
}

#[tokio::test]
async fn a_witness_without_a_leader_is_not_healthy() {
    let flags = [&QUICK[..], &["--initial-witnesses=m2"]].concat();
    let mut cluster = Cluster::start_with(3, &flags).await;
    cluster.abandon(0).await;
    cluster.abandon(1).await;
    within(async {
        while cluster.status(2).await.leader != 0 {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let health = page(&cluster, 2, "/health").await;
    assert_eq!(health, (503, r#"{"health":"false","reason":"RAFT NO LEADER"}"#.to_owned()));
}

/// A cluster of two survives nothing, and gets a witness while it runs.
#[tokio::test]
async fn a_witness_joins_two_that_run() {
    let mut cluster = Cluster::start_with(2, &QUICK).await;
    write(&cluster, 0, "a", "1").await;
    let at = cluster.prepare();
    let url = cluster.peer_url(at);
    let mut request =
        tonic::Request::new(pb::MemberAddRequest { peer_ur_ls: vec![url], is_learner: false });
    request.metadata_mut().insert("quorate-witness", "yes".parse().expect("a word"));
    // Through one that may have to ask the other.
    let added = within(members(&cluster, 1).await.member_add(request)).await.expect("added");
    let added = added.into_inner().member.expect("the new one");
    assert!(added.is_learner, "until it has caught up");
    cluster.join(at).await;
    assert_eq!(cluster.member_id(at), added.id);
    // It knows from its log, and the list is of what is committed.
    within(async {
        while list(&cluster, 0).await.0[&added.id].is_learner {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let (listed, witnesses) = list(&cluster, 0).await;
    assert_eq!((listed.len(), witnesses), (3, format!("{:x}", added.id)));
    let it = &listed[&added.id];
    assert_eq!((it.name.as_str(), it.is_learner), ("m2", false));
    serves_nothing(&cluster, at).await;
    let lost = cluster.roles().await.0;
    cluster.abandon(lost).await;
    write(&cluster, 1 - lost, "a", "2").await;
    // It is a witness when it comes back, though no flag says so.
    cluster.stop(at).await;
    cluster.restart(lost).await;
    write(&cluster, lost, "a", "3").await;
    cluster.restart(at).await;
    serves_nothing(&cluster, at).await;
    // And when it comes back with a new disk.
    cluster.stop(at).await;
    cluster.lose_disk(at);
    cluster.rejoin(at).await;
    serves_nothing(&cluster, at).await;
    cluster.catch_up(at, 0).await;
}

/// What a witness keeps beside the log may be lost, and so may the log.
#[tokio::test]
async fn a_witness_gets_back_what_its_disk_lost() {
    let flags = [&QUICK[..], &["--initial-witnesses=m2"]].concat();
    let mut cluster = Cluster::start_with(3, &flags).await;
    let witness = 2;
    write(&cluster, 0, "a", "1").await;
    cluster.catch_up(witness, 0).await;
    cluster.stop(witness).await;
    let state = cluster.data_dir(witness).join("state");
    assert!(state.exists(), "it noted where it is");
    std::fs::write(&state, "something else").expect("written");
    cluster.restart(witness).await;
    cluster.catch_up(witness, 0).await;
    cluster.abandon(1).await;
    write(&cluster, 0, "a", "2").await;
}

async fn step(
    cluster: &Cluster,
    through: usize,
    wanted: &[(usize, pb2::Role)],
) -> pb2::ReconcileResponse {
    let member = |(at, role): &(usize, pb2::Role)| pb2::DesiredMember {
        peer_urls: vec![cluster.peer_url(*at)],
        role: (*role).into(),
    };
    let members = wanted.iter().map(member).collect();
    let request = pb2::ReconcileRequest { members, dry_run: false };
    let mut client = pb2::membership_client::MembershipClient::new(cluster.channel(through).await);
    within(async {
        loop {
            match client.reconcile(request.clone()).await {
                Ok(answer) => return answer.into_inner(),
                // Nobody leads at the moment.
                Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status}"),
            }
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

/// One of three members with the data makes way for a witness, and stays one.
#[tokio::test]
async fn the_desired_members_may_be_witnesses() {
    use pb2::{Role, Step};
    let mut cluster = Cluster::start_with(3, &QUICK).await;
    let (leader, _) = cluster.roles().await;
    let (other, gone) = ((leader + 1) % 3, (leader + 2) % 3);
    let at = cluster.prepare();
    let wanted = [(leader, Role::Voter), (other, Role::Voter), (at, Role::Witness)];
    assert_eq!(step(&cluster, other, &wanted).await.step(), Step::Change, "it comes");
    cluster.join(at).await;
    within(async {
        while step(&cluster, other, &wanted).await.step() != Step::Done {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let id = cluster.member_id(at);
    let (listed, witnesses) = list(&cluster, other).await;
    assert_eq!((listed.len(), witnesses), (3, format!("{id:x}")));
    assert!(!listed.contains_key(&cluster.member_id(gone)) && !listed[&id].is_learner);
    let as_voter = [(leader, Role::Voter), (other, Role::Voter), (at, Role::Voter)];
    let refused = step(&cluster, other, &as_voter).await;
    assert_eq!(refused.step(), Step::Refuse);
    assert_eq!(refused.reason, format!("{id:x} is a witness, and stays one until it leaves"));
    let as_witness = [(leader, Role::Witness), (other, Role::Voter), (at, Role::Witness)];
    assert_eq!(step(&cluster, other, &as_witness).await.step(), Step::Refuse, "it has the data");
    cluster.abandon(leader).await;
    write(&cluster, other, "a", "1").await;
}
