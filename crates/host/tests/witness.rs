//! Two members with a state and a witness: any one of them can be lost.

mod common;

use std::collections::BTreeSet;

use bytes::Bytes;
use common::{Cluster, run, texts, wait_until};
use quorate_host::{HostConfig, Limits, Membership, Replica, RequestError, StartError, Witness};
use quorate_raft::{DiskId, NodeId};

/// The third member.
const WITNESS: usize = 2;

fn configured(cluster: &Cluster, index: usize) -> HostConfig {
    let mut config = cluster.config(index);
    config.witnesses = BTreeSet::from([cluster.members[WITNESS].id]);
    if index == WITNESS {
        config.limits = Limits::of_witness();
    }
    config
}

fn start_witness(cluster: &Cluster) -> Replica<Witness<u64>> {
    Replica::witness(configured(cluster, WITNESS)).expect("the witness starts")
}

fn start(cluster: &mut Cluster, index: usize) {
    let config = configured(cluster, index);
    cluster.start_with(index, config).expect("the member starts");
}

#[test]
fn either_member_with_a_state_can_be_lost_and_the_witness_too() {
    let mut cluster = Cluster::prepare(3);
    let witness = start_witness(&cluster);
    (0..2).for_each(|index| start(&mut cluster, index));
    let mut expected = Vec::new();
    for round in 0..4 {
        // The leader in every other round.
        let lost = (cluster.leader() + round) % 2;
        let left = 1 - lost;
        for count in 0..5 {
            let command = format!("{round}-{count}");
            cluster.propose(lost, &command);
            expected.push(command);
        }
        cluster.kill(lost);
        let command = format!("{round}-without");
        cluster.propose(left, &command);
        expected.push(command);
        assert_eq!(texts(&cluster.read(left)), expected);
        assert_eq!(cluster.leader(), left, "a witness never leads");
        start(&mut cluster, lost);
        assert_eq!(texts(&cluster.read(lost)), expected, "it is back");
    }
    witness.kill();
    let command = "without the witness";
    cluster.propose(0, command);
    expected.push(command.into());
    assert_eq!(texts(&cluster.read(1)), expected);
    // It goes on where it was.
    let witness = start_witness(&cluster);
    let last = cluster.handle(0).status().commit;
    wait_until("the witness catches up", || witness.handle().status().commit >= last);
    cluster.assert_healthy();
}

#[test]
fn a_witness_takes_no_requests_and_keeps_no_state() {
    let mut cluster = Cluster::prepare(3);
    let witness = start_witness(&cluster);
    (0..2).for_each(|index| start(&mut cluster, index));
    // More than it applies before it notes where it is.
    let command = "x".repeat(1 << 20);
    for count in 0..24 {
        assert_eq!(cluster.propose(count % 2, &command), count as u64);
    }
    let last = cluster.handle(0).status().commit;
    wait_until("the witness has all", || witness.handle().status().applied >= last);
    let refused = run(witness.propose(Bytes::from_static(b"y")));
    assert_eq!(refused, Err(RequestError::Witness));
    assert_eq!(run(witness.handle().read_barrier()), Err(RequestError::Witness));
    let state = cluster.data(WITNESS).join("state");
    assert!(state.metadata().expect("it notes where it is").len() < 1_024);
    cluster.assert_healthy();
}

/// Two members, of which the second is to join; the first runs, and was told of the other as what it is to be.
fn with_another(is_witness: bool) -> (Cluster, HostConfig) {
    let mut cluster = Cluster::prepare(2);
    let (first, second) = (cluster.members[0].id, cluster.members[1].id);
    let mut config = cluster.config(0);
    config.peers.clear();
    cluster.start_with(0, config).expect("the first one starts");
    cluster.propose(0, "alone");
    let mut members = Membership::of_voters([first]);
    members.learners.insert(second);
    if is_witness {
        members.witnesses.insert(second);
    }
    members.about.insert(second, cluster.members[1].address.clone().into());
    run(cluster.handle(0).change_members(members)).expect("one more");
    let mut config = cluster.config(1);
    config.rejoining = Some(DiskId(7));
    (cluster, config)
}

fn last_words(cluster: &Cluster, index: usize) -> String {
    let fatal = &cluster.members[index].fatal;
    wait_until("it ends", || !fatal.lock().unwrap().is_empty());
    fatal.lock().unwrap().concat()
}

#[test]
fn a_member_that_is_a_witness_does_not_go_on_as_another_one() {
    let (mut cluster, config) = with_another(true);
    cluster.start_with(1, config).expect("it does not know yet");
    assert_eq!(
        last_words(&cluster, 1),
        "member n2 is a witness in its group, and was started as a member with a state: it has to be started as \
         what it is, with an empty data directory, or to be removed and added under another id"
    );
}

#[test]
fn a_member_that_is_no_witness_does_not_go_on_as_one() {
    let (cluster, mut config) = with_another(false);
    config.witnesses = [config.id].into();
    let witness = Replica::<Witness<u64>>::witness(config).expect("it does not know yet");
    assert_eq!(
        last_words(&cluster, 1),
        "member n2 is no witness in its group, and was started as one: it has to be started as what it is, with an \
         empty data directory, or to be removed and added under another id"
    );
    drop(witness);
}

/// What it is it learns when it is added, however long it runs before, and forgets when it is removed.
#[test]
fn a_witness_that_is_one_comes_and_goes() {
    let (cluster, mut config) = with_another(true);
    let id = config.id;
    config.witnesses = [id].into();
    let witness = Replica::<Witness<u64>>::witness(config).expect("it starts");
    let status = || witness.handle().status();
    wait_until("it knows", || 0 < status().membership_since.0 && !status().is_changing());
    assert!(status().membership.is_witness(id));
    let alone = Membership::of_voters([cluster.members[0].id]);
    run(cluster.handle(0).change_members(alone)).expect("one less");
    wait_until("it has left", || status().was_removed);
    cluster.assert_healthy();
}

#[test]
fn what_is_no_group_or_no_witness_does_not_start() {
    let cluster = Cluster::prepare(3);
    let mut config = configured(&cluster, WITNESS);
    config.witnesses = [1, 2, 3].map(NodeId).into();
    let refused = Replica::<Witness<u64>>::witness(config);
    assert!(matches!(refused, Err(StartError::Config(_))), "nobody could lead");
    let mut config = configured(&cluster, WITNESS);
    config.witnesses = BTreeSet::new();
    let refused = Replica::<Witness<u64>>::witness(config);
    assert!(matches!(refused, Err(StartError::Config(_))), "it would have to have a state");
}
