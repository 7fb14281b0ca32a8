//! Ten thousand groups of three members on three nodes: what they cost while nobody asks for anything, and
//! how soon the first request is answered. `cargo run --release -p quorate-sim --example groups [GROUPS]`
//!
//! Time is virtual, and exact where requests are measured. What the processor takes is measured, and is that of
//! three nodes together with the little that makes events of it. Memory is counted by the allocator.
#![allow(clippy::print_stdout, reason = "it is a program that prints what it measures")]

use std::alloc::System;
use std::time::Duration;

use cap::Cap;
use quorate_raft::{GroupId, NodeId};
use quorate_sim::fleet::{Counts, Fleet, Layout};
use rustix::time::{ClockId, clock_gettime};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

fn processor() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Lets time pass. Returns what was counted, and the share of a core that each node took, in percent.
fn watch(fleet: &mut Fleet, span: Duration, nodes: u64) -> (Counts, f64) {
    let (counts, began) = (fleet.counts(), processor());
    fleet.run_for(span);
    let share = (processor() - began).as_secs_f64() / span.as_secs_f64() / nodes as f64 * 100.0;
    (fleet.counts().since(&counts), share)
}

fn per_pair(count: u64, span: Duration, nodes: u64) -> f64 {
    count as f64 / span.as_secs_f64() / (nodes * (nodes - 1)) as f64
}

fn main() {
    let groups = std::env::args().nth(1).and_then(|groups| groups.parse().ok()).unwrap_or(10_000);
    let layout = Layout::of(groups);
    let nodes = layout.nodes;
    println!("{groups} groups of {nodes} members on {nodes} nodes");

    // Awake, but in step.
    let awake = Layout { quiet_after: Some(Duration::from_secs(1 << 30)), ..layout };
    let mut fleet = Fleet::new(awake);
    fleet.run_for(Duration::from_secs(10));
    let span = Duration::from_secs(5);
    let (counts, share) = watch(&mut fleet, span, nodes);
    println!(
        "awake, {} led:  {share:.1} % of a core per node; from one node to another {:.0} messages in {:.1} writes \
         a second",
        fleet.led(),
        per_pair(counts.messages, span, nodes),
        per_pair(counts.writes, span, nodes)
    );
    drop(fleet);

    let before = ALLOCATOR.allocated();
    let mut fleet = Fleet::new(layout);
    let all_quiet = fleet.run_until(Duration::from_secs(60), |fleet| {
        fleet.now().0 % 100_000_000 == 0 && fleet.quiet() == groups
    });
    println!(
        "all are quiet {:.1} s after the start",
        all_quiet.expect("they fall quiet").as_secs_f64()
    );
    fleet.run_for(Duration::from_secs(60));
    let span = Duration::from_secs(600);
    let (counts, share) = watch(&mut fleet, span, nodes);
    println!(
        "quiet, {} led:  {share:.4} % of a core per node; from one node to another {:.1} messages a second, {} of {} \
         of them beats; {} syncs",
        fleet.led(),
        per_pair(counts.messages, span, nodes),
        counts.beats,
        counts.messages,
        counts.syncs
    );

    let (round_trip, sync) = (layout.delay * 2, layout.sync);
    let trips =
        |took: Duration| (took.saturating_sub(sync)).as_secs_f64() / round_trip.as_secs_f64();
    let (mut at_leader, mut at_follower, mut read) =
        (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    for group in (1..=groups).map(GroupId).step_by(97) {
        let leader = fleet.leader(group).expect("it is led");
        let follower = NodeId(leader.0 % nodes + 1);
        match group.0 % 3 {
            0 => at_leader = at_leader.max(fleet.write(leader, group)),
            1 => at_follower = at_follower.max(fleet.write(follower, group)),
            _ => read = read.max(fleet.read(follower, group)),
        }
    }
    println!(
        "first request of a sleeping group, the slowest: a write at the leader {:.2} round trips and a sync, at a \
         follower {:.2} and a sync; a read at a follower {:.2}",
        trips(at_leader),
        trips(at_follower),
        read.as_secs_f64() / round_trip.as_secs_f64()
    );

    fleet.run_for(Duration::from_secs(30));
    assert_eq!(fleet.quiet(), groups);
    let victim = NodeId(1);
    let led_there = (1..=groups).filter(|id| fleet.leader(GroupId(*id)) == Some(victim)).count();
    let (counts, began) = (fleet.counts(), processor());
    fleet.kill(victim);
    let took = fleet.run_until(Duration::from_secs(60), |fleet| {
        fleet.now().0 % 10_000_000 == 0 && fleet.led() == groups
    });
    let counts = fleet.counts().since(&counts);
    println!(
        "a node dies that led {led_there}: all are led again after {:.1} s, {} elections, {} messages, {:.1} s of \
         the processor",
        took.expect("they are").as_secs_f64(),
        counts.leaders,
        counts.messages,
        (processor() - began).as_secs_f64()
    );
    fleet.start(victim);
    let took = fleet.run_until(Duration::from_secs(120), |fleet| {
        fleet.now().0 % 100_000_000 == 0 && fleet.quiet() == groups
    });
    println!("it comes back: all are quiet after {:.1} s", took.expect("they are").as_secs_f64());

    fleet.run_for(Duration::from_secs(60));
    let mut last = ALLOCATOR.allocated();
    let each = |bytes: usize| bytes as f64 / (groups * nodes) as f64;
    println!("memory: {:.0} bytes per group and node, of which", each(last - before));
    fleet.take_apart(|part| {
        let now = ALLOCATOR.allocated();
        println!("  {:>6.0}  {part}", each(last.saturating_sub(now)));
        last = now;
    });
}
