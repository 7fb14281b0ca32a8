//! Members that sleep whenever they may, beside those who never do: under random faults, nobody can tell them apart.
//! Not by what they ask for, nor by how they stand, nor, once they are awake, by anything that they remember.

mod common;

use std::time::Duration;

use common::world::World;
use quorate_raft::{Raft, Status};

#[test]
fn whoever_sleeps_is_as_if_it_had_not_slept() {
    let (mut followers, mut leaders, mut committed, mut reads) = (0, 0, 0, 0);
    for seed in 0..60 {
        let mut world = World::sleepy(seed);
        for _ in 0..20 {
            world.run(Duration::from_millis(250));
            world.check_logs();
        }
        followers += world.naps.0;
        leaders += world.naps.1;
        committed += world.committed.len();
        reads += world.reads_answered;
    }
    assert!(followers > 400 && leaders > 150, "{followers} and {leaders} slept");
    assert!(committed > 500 && reads > 200, "{committed} entries, {reads} reads");
}

#[test]
fn whoever_is_quiet_keeps_no_log_that_its_machine_holds() {
    let mut world = World::sleepy_and_fair(3);
    world.calm = true;
    world.run(Duration::from_secs(1));
    for _ in 0..20 {
        world.propose();
        world.run(Duration::from_millis(5));
    }
    world.run(Duration::from_secs(1));
    let statuses = |world: &World| -> Vec<Status> {
        let rafts = world.members.values().map(|member| member.raft.as_ref().unwrap());
        rafts.map(Raft::status).collect()
    };
    let before = world.naps;
    assert!(statuses(&world).iter().all(|status| status.quiet && status.log_bytes > 512));
    for id in world.ids() {
        world.make_machine_durable(id);
    }
    world.run(Duration::from_secs(1));
    for status in statuses(&world) {
        assert!(status.quiet && status.log_bytes == 0, "{status:?}");
        assert_eq!((status.last.index, status.commit), (status.base.index, status.base.index));
    }
    assert_eq!((before.0 + 2, before.1 + 1), world.naps, "and they sleep, once it is written");
    world.propose();
    world.run(Duration::from_secs(1));
    assert!(statuses(&world).iter().all(|status| status.commit.0 == status.base.index.0 + 1));
}
