//! Members that come and go, as clients of the Cluster service see it.

use std::time::Duration;

use quorate_proto::{etcdserverpb as pb, quoratepb as pb2};
use tokio::time::sleep;
use tonic::Code;
use tonic::transport::Channel;

use crate::cluster::{Cluster, assert_refused, get, put, within};

type Members = pb::cluster_client::ClusterClient<Channel>;

async fn members(cluster: &Cluster, at: usize) -> Members {
    Members::new(cluster.channel(at).await)
}

async fn list(cluster: &Cluster, at: usize) -> Vec<pb::Member> {
    let request = pb::MemberListRequest { linearizable: true };
    let answer = within(members(cluster, at).await.member_list(request)).await.expect("a list");
    let answer = answer.into_inner();
    assert_eq!(answer.header.expect("a header").revision, 0, "as etcd leaves it out");
    answer.members
}

fn add(url: &str, is_learner: bool) -> pb::MemberAddRequest {
    pb::MemberAddRequest { peer_ur_ls: vec![url.to_owned()], is_learner }
}

/// Adds a member through one that is there, and starts it.
async fn grow(cluster: &mut Cluster, through: usize) -> usize {
    let at = cluster.prepare();
    let url = cluster.peer_url(at);
    let request = add(&url, false);
    let added = within(members(cluster, through).await.member_add(request)).await.expect("added");
    let added = added.into_inner();
    let member = added.member.expect("the new one");
    assert_eq!((member.name.as_str(), &member.peer_ur_ls), ("", &vec![url]), "it has told nothing");
    assert!(added.members.contains(&member));
    cluster.join(at).await;
    assert_eq!(cluster.member_id(at), member.id);
    at
}

/// Waits until all that are listed are voters.
async fn all_vote(cluster: &Cluster, at: usize) {
    within(async {
        while list(cluster, at).await.iter().any(|member| member.is_learner) {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn one_member_becomes_three_and_leaves() {
    let mut cluster = Cluster::start(1).await;
    within(cluster.kv(0).await.put(put("a", "1"))).await.expect("written");
    let second = grow(&mut cluster, 0).await;
    all_vote(&cluster, 0).await;
    let third = grow(&mut cluster, second).await;
    all_vote(&cluster, second).await;
    for at in [0, second, third] {
        let listed = list(&cluster, at).await;
        let names: Vec<_> = listed.iter().map(|member| member.name.clone()).collect();
        assert_eq!(listed.len(), 3, "{names:?}");
        assert!(listed.iter().all(|member| member.client_ur_ls.len() == 1), "all have told theirs");
        let found = within(cluster.kv(at).await.range(get("a"))).await.expect("read").into_inner();
        assert_eq!(found.kvs[0].value, "1");
    }

    let first = cluster.member_id(0);
    let request = pb::MemberRemoveRequest { id: first };
    let left = within(members(&cluster, third).await.member_remove(request)).await.expect("gone");
    assert!(left.into_inner().members.iter().all(|member| member.id != first));
    within(cluster.removed(0)).await;
    cluster.stop(0).await;
    within(cluster.kv(second).await.put(put("a", "2"))).await.expect("two of two");
    let again = within(members(&cluster, second).await.member_remove(request)).await;
    assert_refused(again, Code::NotFound, "etcdserver: member not found");

    // Both come back by what they noted.
    for at in [second, third] {
        cluster.stop(at).await;
    }
    cluster.try_restart(second).expect("it can start");
    cluster.restart(third).await;
    let found = within(cluster.kv(second).await.range(get("a"))).await.expect("read").into_inner();
    assert_eq!(found.kvs[0].value, "2");
}

#[tokio::test]
async fn a_learner_waits_to_be_promoted() {
    let mut cluster = Cluster::start(1).await;
    let at = cluster.prepare();
    let url = cluster.peer_url(at);
    let mut first = members(&cluster, 0).await;
    let added = within(first.member_add(add(&url, true))).await.expect("added").into_inner();
    let id = added.member.expect("the new one").id;
    let promote = pb::MemberPromoteRequest { id };
    let early = within(first.member_promote(promote)).await;
    let text = "etcdserver: can only promote a learner member which is in sync with leader";
    assert_refused(early, Code::FailedPrecondition, text);
    cluster.join(at).await;

    let text = "etcdserver: rpc not supported for learner";
    let mut kv = cluster.kv(at).await;
    assert_refused(within(kv.put(put("a", "1"))).await, Code::FailedPrecondition, text);
    assert_refused(within(kv.range(get("a"))).await, Code::FailedPrecondition, text);
    let serializable = pb::RangeRequest { serializable: true, ..get("a") };
    within(kv.range(serializable)).await.expect("whatever it has");
    assert!(cluster.status(at).await.is_learner);
    assert!(!cluster.status(0).await.is_learner);

    within(async {
        while first.member_promote(promote).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    within(async {
        while cluster.status(at).await.is_learner {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    within(kv.put(put("a", "1"))).await.expect("a voter serves all");
    let twice = within(first.member_promote(promote)).await;
    let text = "etcdserver: can only promote a learner member";
    assert_refused(twice, Code::FailedPrecondition, text);
}

#[tokio::test]
async fn what_is_refused_is_refused_in_etcds_words() {
    let mut cluster = Cluster::start(3).await;
    let mut client = members(&cluster, 0).await;
    for bad in ["", "localhost:1", "http://a:1/path", "ftp://a:1"] {
        let refused = within(client.member_add(add(bad, false))).await;
        let text = "etcdserver: given member URLs are invalid";
        assert_refused(refused, Code::InvalidArgument, text);
    }
    let none = pb::MemberAddRequest { peer_ur_ls: Vec::new(), is_learner: true };
    let text = "etcdserver: given member URLs are invalid";
    assert_refused(within(client.member_add(none)).await, Code::InvalidArgument, text);
    let used = add(&cluster.peer_url(1), true);
    let text = "etcdserver: Peer URLs already exists";
    assert_refused(within(client.member_add(used)).await, Code::FailedPrecondition, text);
    let id = cluster.member_id(2);
    let taken = pb::MemberUpdateRequest { id, peer_ur_ls: vec![cluster.peer_url(1)] };
    assert_refused(within(client.member_update(taken)).await, Code::FailedPrecondition, text);
    let unknown = pb::MemberUpdateRequest { id: 7, peer_ur_ls: vec!["http://a:1".into()] };
    let text = "etcdserver: member not found";
    assert_refused(within(client.member_update(unknown)).await, Code::NotFound, text);
    let unknown = within(client.member_promote(pb::MemberPromoteRequest { id: 7 })).await;
    assert_refused(unknown, Code::NotFound, text);
    let voter = within(client.member_promote(pb::MemberPromoteRequest { id })).await;
    let text = "etcdserver: can only promote a learner member";
    assert_refused(voter, Code::FailedPrecondition, text);

    // A member that says where else it is found.
    let urls = vec![cluster.peer_url(2), "http://localhost:9".to_owned()];
    let moved = pb::MemberUpdateRequest { id, peer_ur_ls: urls.clone() };
    let moved = within(client.member_update(moved)).await.expect("it is free").into_inner();
    let mut listed = moved.members.into_iter().find(|member| member.id == id).expect("listed");
    listed.peer_ur_ls.sort();
    assert_eq!(listed.peer_ur_ls, urls);

    // With one of three down, to remove one of the other two would leave one of two.
    let down = 2;
    cluster.stop(down).await;
    within(async {
        let remove = pb::MemberRemoveRequest { id: cluster.member_id(1) };
        let mut client = members(&cluster, 0).await;
        loop {
            let refused = client.member_remove(remove).await;
            let Err(status) = refused else { panic!("it would lose the quorum") };
            if status.message() == "etcdserver: unhealthy cluster" {
                assert_eq!(status.code(), Code::Unavailable);
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn who_was_not_added_does_not_join() {
    let mut cluster = Cluster::start(1).await;
    let at = cluster.prepare();
    let why = cluster.try_join(at).expect_err("nobody added it");
    assert!(why.contains("add it first") && why.contains(&cluster.peer_url(at)), "{why}");
}

/// What `quorate member replace` asks for: a dead voter makes way when the new one has caught up, in one step.
#[tokio::test]
async fn a_dead_member_is_replaced_in_one_step() {
    let mut cluster = Cluster::start(3).await;
    within(cluster.kv(0).await.put(put("a", "1"))).await.expect("written");
    let (leader, _) = cluster.roles().await;
    let dead = (leader + 1) % 3;
    let old = cluster.member_id(dead);
    cluster.stop(dead).await;
    let at = cluster.prepare();
    let mut request = tonic::Request::new(add(&cluster.peer_url(at), false));
    request.metadata_mut().insert("quorate-replaces", format!("{old:x}").parse().expect("hex"));
    within(members(&cluster, leader).await.member_add(request)).await.expect("added");
    cluster.join(at).await;
    within(async {
        while list(&cluster, leader).await.iter().any(|member| member.id == old) {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let listed = list(&cluster, leader).await;
    assert_eq!(listed.len(), 3);
    assert!(listed.iter().all(|member| !member.is_learner));
    let other = 3 - leader - dead;
    cluster.stop(other).await;
    within(cluster.kv(at).await.put(put("a", "2"))).await.expect("two of three");
    let mut request = tonic::Request::new(add("http://localhost:9", false));
    request.metadata_mut().insert("quorate-replaces", format!("{old:x}").parse().expect("hex"));
    let again = within(members(&cluster, leader).await.member_add(request)).await;
    assert_refused(again, Code::NotFound, "etcdserver: member not found");
}

async fn reconcile(
    cluster: &Cluster,
    through: usize,
    wanted: &[(usize, pb2::Role)],
    dry_run: bool,
) -> pb2::ReconcileResponse {
    let member = |(at, role): &(usize, pb2::Role)| pb2::DesiredMember {
        peer_urls: vec![cluster.peer_url(*at)],
        role: (*role).into(),
    };
    let request = pb2::ReconcileRequest { members: wanted.iter().map(member).collect(), dry_run };
    let mut client = pb2::membership_client::MembershipClient::new(cluster.channel(through).await);
    within(async {
        loop {
            match client.reconcile(request.clone()).await {
                Ok(answer) => return answer.into_inner(),
                // Nobody leads at the moment.
                Err(status) if status.code() == Code::Unavailable => {
                    sleep(Duration::from_millis(20)).await;
                }
                Err(status) => panic!("{status}"),
            }
        }
    })
    .await
}

/// Asks one member until nothing is left to do.
async fn settle(cluster: &Cluster, through: usize, wanted: &[(usize, pb2::Role)]) {
    within(async {
        while reconcile(cluster, through, wanted, false).await.step() != pb2::Step::Done {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// What `quorate member reconcile` asks for, of members in turn: a dead voter makes way, one more votes, another one only
/// learns.
#[tokio::test]
async fn the_desired_members_come_to_be_whoever_is_asked() {
    use pb2::{Role, Step};
    let mut cluster = Cluster::start(3).await;
    let (leader, _) = cluster.roles().await;
    let (dead, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let same: Vec<_> = (0..3).map(|at| (at, Role::Voter)).collect();
    assert_eq!(reconcile(&cluster, other, &same, false).await.step(), Step::Done, "founders");
    let gone = cluster.member_id(dead);
    cluster.stop(dead).await;
    let (third, learner) = (cluster.prepare(), cluster.prepare());
    let wanted = [
        (leader, Role::Voter),
        (other, Role::Voter),
        (third, Role::Voter),
        (learner, Role::Learner),
    ];
    let told = reconcile(&cluster, other, &wanted, true).await;
    assert_eq!((told.step(), told.members.len()), (Step::Change, 5), "both come");
    assert_eq!(list(&cluster, leader).await.len(), 3, "it was only told");
    // Whoever stays behind with the dead one would be one of two.
    let few = [(leader, Role::Voter), (dead, Role::Voter)];
    within(async {
        loop {
            let told = reconcile(&cluster, other, &few, true).await;
            if told.step() == Step::Refuse {
                return assert!(told.reason.ends_with(&format!("missing: {gone:x}")), "{told:?}");
            }
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let mut asked = [leader, other].into_iter().cycle();
    let began = reconcile(&cluster, other, &wanted, false).await;
    assert_eq!(began.step(), Step::Change);
    let waits = "not caught up yet: ";
    within(async {
        while !reconcile(&cluster, leader, &wanted, true).await.reason.starts_with(waits) {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    cluster.join(third).await;
    cluster.join(learner).await;
    within(async {
        let mut next = async || {
            let through = asked.next().expect("it goes on for ever");
            reconcile(&cluster, through, &wanted, false).await.step()
        };
        while next().await != Step::Done {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let listed = list(&cluster, third).await;
    let learns = |at| {
        let id = cluster.member_id(at);
        listed.iter().find(|member| member.id == id).map(|member| member.is_learner)
    };
    assert_eq!([leader, other, third, learner].map(learns), [false, false, false, true].map(Some));
    assert!(listed.len() == 4 && listed.iter().all(|member| member.id != gone));
}

/// Whoever is asked, and whenever, until the members change; and nobody ever has an id that somebody had before.
#[tokio::test]
async fn the_same_wish_means_one_new_member_and_never_one_that_was() {
    use pb2::{Role, Step};
    let mut cluster = Cluster::start(3).await;
    let new = cluster.prepare();
    let url = cluster.peer_url(new);
    let all: Vec<_> = (0..3).map(|at| (at, Role::Voter)).collect();
    let wanted = [&all[..], &[(new, Role::Learner)]].concat();
    let comes = |told: &pb2::ReconcileResponse| {
        assert_eq!((told.step(), told.members.len()), (Step::Change, 4), "{told:?}");
        let found = told.members.iter().find(|it| it.peer_ur_ls.contains(&url));
        found.expect("it comes").id
    };
    let first = comes(&reconcile(&cluster, 0, &wanted, true).await);
    // No id depends on the time.
    sleep(Duration::from_millis(1_100)).await;
    for through in [1, 2] {
        assert_eq!(comes(&reconcile(&cluster, through, &wanted, true).await), first);
    }
    tokio::join!(settle(&cluster, 0, &wanted), settle(&cluster, 1, &wanted));
    let listed = list(&cluster, 2).await;
    assert_eq!(listed.len(), 4);
    assert!(listed.iter().any(|member| member.id == first), "as it was told");
    settle(&cluster, 1, &all).await;
    assert_ne!(comes(&reconcile(&cluster, 1, &wanted, true).await), first);
}

/// A voter that stays away makes way for the spare, and not for the other learner; when it is back it is the spare.
#[tokio::test]
async fn a_spare_takes_the_place_of_a_voter_that_has_failed() {
    let flags = ["--heartbeat-interval=20", "--election-timeout=200", "--replace-failed-after=1s"];
    let mut cluster = Cluster::start_with(3, &flags).await;
    let (leader, _) = cluster.roles().await;
    let (learner, spare) = (cluster.prepare(), cluster.prepare());
    let mut client = members(&cluster, leader).await;
    let request = add(&cluster.peer_url(learner), true);
    within(client.member_add(request)).await.expect("added");
    cluster.join(learner).await;
    let mut request = tonic::Request::new(add(&cluster.peer_url(spare), true));
    request.metadata_mut().insert("quorate-spare", "yes".parse().expect("a word"));
    within(client.member_add(request)).await.expect("added");
    cluster.join(spare).await;
    let failed = (leader + 1) % 3;
    let (failed_id, spare_id) = (cluster.member_id(failed), cluster.member_id(spare));
    cluster.abandon(failed).await;
    let through = (leader + 2) % 3;
    let votes = |listed: &[pb::Member], id: u64| {
        listed.iter().any(|member| member.id == id && !member.is_learner)
    };
    let listed = within(async {
        loop {
            let listed = list(&cluster, through).await;
            if votes(&listed, spare_id) {
                return listed;
            }
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(listed.iter().filter(|member| member.is_learner).count(), 2, "none has left");
    assert!(!votes(&listed, failed_id) && !votes(&listed, cluster.member_id(learner)));
    // With the spare, two of three are enough; the one that was replaced is back, and takes the place of the next one.
    cluster.restart(failed).await;
    within(async {
        while !cluster.status(failed).await.is_learner {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    cluster.abandon(through).await;
    within(async {
        while cluster.status(failed).await.is_learner {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    within(cluster.kv(failed).await.put(put("a", "1"))).await.expect("a voter serves all");
}
