//! Clusters under random faults: messages are lost, repeated and reordered, disks are slow, members
//! crash and forget what was not synced. After each step the properties that Raft promises are
//! checked (Raft figure 3); at the end the faults cease, and the group must get work done.
//!
//! A failing seed is printed. `RAFT_SEEDS=from..to cargo test -p quorate-raft --test random` runs
//! others, one seed as `RAFT_SEEDS=7..8`; `RAFT_TRACE=1` shows what happens.

#![allow(clippy::print_stdout, reason = "a failing seed is printed")]

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use common::world::World;

fn run(seed: u64) -> World {
    let mut world = World::new(seed);
    for _ in 0..20 {
        world.run(Duration::from_millis(150));
        world.check_logs();
    }
    world.recover();
    world
}

#[test]
fn clusters_keep_their_promises_under_random_faults() {
    let seeds = match std::env::var("RAFT_SEEDS") {
        Ok(range) => {
            let (from, to) = range.split_once("..").expect("RAFT_SEEDS=from..to");
            from.parse().unwrap()..to.parse().unwrap()
        }
        Err(_) => 0..200,
    };
    let (mut committed, mut crashes, mut snapshots, mut reads, mut changes, mut tails) =
        (0, 0, 0, 0, 0, 0);
    let mut leased = 0;
    for seed in seeds {
        match catch_unwind(AssertUnwindSafe(|| run(seed))) {
            Ok(world) => {
                committed += world.committed.len();
                crashes += world.crashes;
                snapshots += world.snapshots;
                reads += world.reads_answered;
                leased += world.leased;
                changes += world.changes;
                tails += world.tails;
            }
            Err(panic) => {
                println!("seed {seed}: {:?}", World::new(seed).weather);
                resume_unwind(panic);
            }
        }
    }
    println!(
        "{committed} entries, {crashes} crashes, {snapshots} snapshots, {reads} reads ({leased} by a lease), \
         {changes} changes, {tails} tails"
    );
    assert!(
        committed > 0 && reads > 0 && leased > 0 && changes > 0 && tails > 0,
        "the weather was so bad that nothing was tested"
    );
}
