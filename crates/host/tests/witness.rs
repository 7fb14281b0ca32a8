//! Two members with a state and a witness: any one of them can be lost.

mod common;

use std::collections::BTreeSet;

use bytes::Bytes;
use common::{Cluster, run, texts, wait_until};
use quorate_host::{HostConfig, Limits, Replica, RequestError, StartError, Witness};
use quorate_raft::NodeId;

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
