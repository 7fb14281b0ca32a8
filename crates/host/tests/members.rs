//! Members that come and go, on real threads, sockets and files.

mod common;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use common::{Cluster, run, wait_until};
use quorate_host::{
    AskError, ChangeError, Desired, DiskId, MembersError, Membership, NodeId, ReconcileError,
    Refusal, Step, Tcp, Waiting,
};
use quorate_raft::ElectionPolicy;

fn id(index: usize) -> NodeId {
    NodeId(index as u64 + 1)
}

/// A member that knows the first ones, and has never been one of them.
fn join(cluster: &mut Cluster, index: usize, known: usize, disk: u64) {
    let mut config = cluster.config(index);
    config.peers.retain(|peer, _| *peer == id(index) || *peer <= id(known));
    config.rejoining = Some(DiskId(disk));
    cluster.start_with(index, config).expect("it can start");
}

/// Changes the members on whoever leads, until it is so.
fn change(cluster: &Cluster, change: impl Fn(&mut Membership)) {
    loop {
        let leader = cluster.handle(cluster.leader());
        let now = (*leader.status().membership).clone();
        let mut wanted = Membership { outgoing: [].into(), ..now };
        change(&mut wanted);
        match run(leader.change_members(wanted)) {
            Ok(()) | Err(MembersError::Refused(ChangeError::Unchanged)) => return,
            Err(MembersError::Stopped) => panic!("it stops"),
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn add(cluster: &Cluster, index: usize) {
    let address = Bytes::from(cluster.members[index].address.clone());
    change(cluster, |wanted| {
        if !wanted.voters.contains(&id(index)) {
            wanted.learners.insert(id(index));
        }
        wanted.about.insert(id(index), address.clone());
    });
}

fn promote(cluster: &Cluster, index: usize) {
    change(cluster, |wanted| {
        wanted.learners.remove(&id(index));
        wanted.voters.insert(id(index));
    });
}

#[test]
fn one_member_becomes_three_and_makes_way_for_them() {
    let mut cluster = Cluster::prepare(3);
    let mut config = cluster.config(0);
    config.peers.clear();
    cluster.start_with(0, config).unwrap();
    cluster.propose(0, "alone");
    for index in [1, 2] {
        add(&cluster, index);
        join(&mut cluster, index, 0, index as u64);
        promote(&cluster, index);
        cluster.propose(index, "one more");
    }
    // Two are enough now, and each of them knows the others.
    cluster.kill(0);
    cluster.propose(2, "without the first");
    let mut config = cluster.config(0);
    config.peers.clear();
    config.has_begun = true;
    cluster.start_with(0, config).unwrap();
    cluster.propose(0, "with it");
    change(&cluster, |wanted| {
        wanted.voters.remove(&id(0));
    });
    wait_until("it knows that it left", || cluster.handle(0).status().was_removed);
    cluster.stop(0);
    cluster.propose(1, "for good");
    let all = cluster.state(1);
    wait_until("both have it", || cluster.state(2).len() == all.len());
    assert_eq!(cluster.state(2), all);
    let status = cluster.handle(1).status();
    assert_eq!(*status.membership.voters.iter().collect::<Vec<_>>(), [&id(1), &id(2)]);
    wait_until("it is no peer any more", || {
        cluster.handle(1).status().peers.iter().all(|peer| peer.id != id(0))
    });
    cluster.assert_healthy();
}

/// A dead voter is replaced: the new one does not wait for it.
#[test]
fn a_dead_member_is_replaced() {
    let mut cluster = Cluster::prepare(4);
    for index in 0..3 {
        let mut config = cluster.config(index);
        config.peers.remove(&id(3));
        cluster.start_with(index, config).unwrap();
    }
    cluster.propose(0, "a");
    let dead = (cluster.leader() + 1) % 3;
    cluster.kill(dead);
    add(&cluster, 3);
    let rejoined = Arc::new(AtomicBool::new(false));
    let mut config = cluster.config(3);
    config.rejoining = Some(DiskId(7));
    let noted = Arc::clone(&rejoined);
    config.on_rejoined = Box::new(move || {
        noted.store(true, Ordering::SeqCst);
        Ok(())
    });
    cluster.start_with(3, config).unwrap();
    change(&cluster, |wanted| {
        wanted.voters.remove(&id(dead));
        wanted.learners.remove(&id(3));
        wanted.voters.insert(id(3));
    });
    wait_until("it is a voter like the others", || rejoined.load(Ordering::SeqCst));
    let other = (0..3).find(|at| *at != dead && *at != cluster.leader()).unwrap();
    cluster.kill(other);
    cluster.propose(3, "two of three, and one of them is new");
    cluster.assert_healthy();
}

#[test]
fn what_would_lose_the_quorum_is_refused() {
    let mut cluster = Cluster::prepare(4);
    for index in 0..3 {
        let mut config = cluster.config(index);
        config.peers.remove(&id(3));
        cluster.start_with(index, config).unwrap();
    }
    cluster.propose(0, "a");
    let leader = cluster.leader();
    let handle = cluster.handle(leader);
    wait_until("it knows that it leads", || handle.status().is_leader());
    let now = (*handle.status().membership).clone();
    let refused = |wanted: Membership| run(handle.change_members(wanted)).expect_err("refused");
    let mut wanted = now.clone();
    wanted.voters.insert(id(3));
    let why = MembersError::Refused(ChangeError::NotCaughtUp(id(3)));
    assert_eq!(refused(wanted), why, "it is no learner");
    let unchanged = MembersError::Refused(ChangeError::Unchanged);
    assert_eq!(refused(now.clone()), unchanged);
    let dead = (leader + 1) % 3;
    cluster.kill(dead);
    wait_until("it is missed", || {
        let status = handle.status();
        status.peers.iter().any(|peer| peer.id == id(dead) && peer.active == Some(false))
    });
    let mut wanted = now;
    wanted.voters = [id(leader), id(dead)].into();
    assert_eq!(refused(wanted), MembersError::Refused(ChangeError::LosesQuorum));
    let follower = cluster.handle((leader + 2) % 3);
    let wanted = (*follower.status().membership).clone();
    let why = run(follower.change_members(wanted)).expect_err("it does not lead");
    assert!(matches!(why, MembersError::Refused(ChangeError::NotLeader(_))), "{why}");
    cluster.assert_healthy();
}

/// The members that are wanted, with the addresses of those that are new.
fn desired(cluster: &Cluster, voters: &[usize], new: &[usize]) -> Desired {
    let about = new.iter().map(|at| (id(*at), cluster.members[*at].address.clone().into()));
    Desired { about: about.collect(), ..Desired::of_voters(voters.iter().copied().map(id)) }
}

/// Asked of a follower, once and for all: two members, one of them dead, make way for two new ones. In the middle of it
/// the leader changes.
#[test]
fn one_call_brings_the_desired_members_about() {
    let mut cluster = Cluster::prepare(5);
    for index in 0..3 {
        let mut config = cluster.config(index);
        config.peers.retain(|peer, _| *peer <= id(2));
        cluster.start_with(index, config).unwrap();
    }
    cluster.propose(0, "a");
    let leader = cluster.leader();
    let (dead, asked) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.kill(dead);
    let wanted = desired(&cluster, &[asked, 3, 4], &[3, 4]);
    let handle = cluster.handle(asked);
    let call = {
        let wanted = wanted.clone();
        thread::spawn(move || run(handle.reconcile(&wanted)))
    };
    join(&mut cluster, 3, 2, 7);
    let handle = cluster.handle(asked);
    wait_until("both are learners", || handle.status().membership.learners.len() == 2);
    run(cluster.handle(leader).transfer_leadership(Some(id(asked)))).expect("it hands over");
    join(&mut cluster, 4, 2, 8);
    assert_eq!(call.join().expect("no panic"), Ok(()));
    assert_eq!(handle.status().membership.members(), wanted.members());
    cluster.propose(4, "for good");
    assert_eq!(run(cluster.handle(4).reconcile(&wanted)), Ok(()), "once more");
    cluster.assert_healthy();
}

#[test]
fn a_call_that_would_lose_the_quorum_says_who_is_missing() {
    let mut cluster = Cluster::start(3);
    cluster.propose(0, "a");
    let leader = cluster.leader();
    let (dead, asked) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.kill(dead);
    let wanted = desired(&cluster, &[leader, dead], &[]);
    let missing = [id(dead)].into();
    let why = ReconcileError::Refused(Refusal::LosesQuorum { missing });
    wait_until("it is missed", || {
        run(cluster.handle(asked).step_toward(&wanted, false))
            .is_ok_and(|step| matches!(step, Step::Refuse(_)))
    });
    assert_eq!(run(cluster.handle(asked).reconcile(&wanted)), Err(why));
    let nobody = Desired::default();
    let why = ReconcileError::Refused(Refusal::Impossible);
    assert_eq!(run(cluster.handle(asked).reconcile(&nobody)), Err(why));
    let handle = cluster.handle(leader);
    assert_eq!(handle.status().membership.members().len(), 3, "nothing was done");
    let wanted = desired(&cluster, &[leader, asked], &[]);
    assert_eq!(run(cluster.handle(asked).reconcile(&wanted)), Ok(()));
    cluster.assert_healthy();
}

/// A leader that is about to hand over begins no change, however possible it is.
#[test]
fn a_step_that_the_leader_does_not_take_is_not_said_to_be_taken() {
    let mut cluster = Cluster::prepare(4);
    for index in 0..3 {
        let mut config = cluster.config(index);
        config.peers.remove(&id(3));
        if index == 0 {
            // It leads only if somebody makes it, and waits for ever for one who does not take over.
            config.election_policy = ElectionPolicy::Fixed;
            config.election_timeout = 10 * common::PATIENCE;
        }
        cluster.start_with(index, config).expect("it can start");
    }
    wait_until("the patient one leads", || {
        let leader = cluster.leader();
        if leader != 0 {
            // Whether it worked is seen the next time.
            let _ = run(cluster.handle(leader).transfer_leadership(Some(id(0))));
        }
        leader == 0
    });
    let dead = id(1);
    cluster.kill(1);
    cluster.refuse_connections(1);
    let handle = cluster.handle(0);
    let mut wanted = desired(&cluster, &[0, 1, 2], &[]);
    wanted.learners.insert(id(3));
    wait_until("it could be done", || {
        matches!(run(handle.step_toward(&wanted, false)), Ok(Step::Change(_)))
    });
    let before = handle.status().membership.clone();
    let mut transfer = pin!(handle.transfer_leadership(Some(dead)));
    let step = run(async {
        poll_fn(|context| {
            assert!(transfer.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
        loop {
            match handle.step_toward(&wanted, true).await {
                // A member that is late is missed for a moment.
                Ok(Step::Refuse(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
                step => return step,
            }
        }
    });
    assert_eq!(step, Ok(Step::Wait(Waiting::Leader(Some(dead)))));
    assert_eq!(handle.status().membership, before, "nothing was begun");
    cluster.assert_healthy();
}

#[test]
fn members_that_can_not_be_asked_for_are_an_error() {
    let mut cluster = Cluster::prepare(1);
    let mut config = cluster.config(0);
    let wanted = desired(&cluster, &[0], &[0]);
    config.limits.ask_bytes = wanted.alone().encode().len();
    cluster.start_with(0, config).expect("it can start");
    let handle = cluster.handle(0);
    assert_eq!(run(handle.step_toward(&wanted, false)), Err(AskError::TooLarge), "one byte more");
    assert_eq!(run(handle.reconcile(&wanted)), Err(ReconcileError::TooLarge));
    let wanted = desired(&cluster, &[0], &[]);
    assert_eq!(run(handle.reconcile(&wanted)), Ok(()));
    cluster.assert_healthy();
}

#[test]
fn one_that_is_to_join_learns_who_it_is() {
    let mut cluster = Cluster::prepare(2);
    let mut config = cluster.config(0);
    config.peers.remove(&id(1));
    cluster.start_with(0, config).unwrap();
    let ask = |own: &str| {
        let (address, own) = (&cluster.members[0].address, [own.to_owned()]);
        quorate_host::inquire(&Tcp, address, &own, Duration::from_secs(30)).expect("it answers")
    };
    let own = cluster.members[1].address.clone();
    assert_eq!(ask(&own).id, None, "it is no member yet");
    assert_eq!(ask("").id, None);
    cluster.propose(0, "a");
    add(&cluster, 1);
    wait_until("it is one", || ask(&own).id == Some(id(1)));
    let found = ask(&format!("http://{own}"));
    assert_eq!(found.id, Some(id(1)), "a scheme makes no difference");
    assert_eq!(found.membership, *cluster.handle(0).status().membership);
    assert_eq!(found.cluster_id, common::CLUSTER_ID);
    cluster.assert_healthy();
}
