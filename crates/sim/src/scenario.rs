//! Scenarios: one thing goes wrong in a cluster where all is well, and a bound must hold. What is
//! measured is virtual time, so a bound holds to the nanosecond on every machine.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_check::Violation;
use quorate_raft::{Membership, NodeId};

use crate::quiet::Quiet;
use crate::sabotage::Sabotage;
use crate::swarm::Options;
use crate::tenure;
use crate::trace::Trace;
use crate::world::{DirectWrite, World};

/// What a scenario measured.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// What took so long.
    pub took: Duration,
    /// The same where nothing goes wrong, if it is to be compared with that: see [`compare`].
    pub healthy: Option<Duration>,
}

impl From<Duration> for Measured {
    fn from(took: Duration) -> Self {
        Self { took, healthy: None }
    }
}

/// How much longer it took than where nothing goes wrong, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratio {
    /// All runs together: the sum of what they took by the sum of what they were compared with.
    pub mean: u128,
    /// The run in which it was longest.
    pub worst: u128,
}

/// The most that [`Ratio::mean`] may be.
const RATIO_MAX: u128 = 1_200;

impl Ratio {
    /// That of these runs; nothing if nothing of them is to be compared.
    #[must_use]
    pub fn of(all: &[Measured]) -> Option<Self> {
        let compared = || all.iter().filter_map(|one| Some((one.took, one.healthy?)));
        let ratio = |took: Duration, healthy: Duration| {
            (took.as_nanos() * 1_000).div_ceil(healthy.as_nanos().max(1))
        };
        let worst = compared().map(|(took, healthy)| ratio(took, healthy)).max()?;
        let took = compared().map(|(took, _)| took).sum();
        let healthy = compared().map(|(_, healthy)| healthy).sum();
        Some(Self { mean: ratio(took, healthy), worst })
    }
}

/// Holds what was measured against what it was compared with: on average over all runs, since a p99 of one
/// run is mostly chance, it may be 1.2 times as long.
///
/// # Errors
/// If it took longer.
pub fn compare(all: &[Measured]) -> Result<(), String> {
    match Ratio::of(all) {
        Some(Ratio { mean, .. }) if mean > RATIO_MAX => {
            let (whole, part) = (mean / 1_000, mean % 1_000);
            Err(format!("{whole}.{part:03} times as long as where nobody is slow, on average"))
        }
        _ => Ok(()),
    }
}

/// The names and what they demand.
pub const ALL: [(&str, &str); 8] = [
    ("hung-leader", "a leader whose disk hangs is replaced within 3 election timeouts"),
    ("hung-idle-leader", "so is one without load, from the first write on"),
    (
        "slow-disk",
        "a follower with a disk 100 times slower costs 1.2 times the p99 at most, on average over all seeds",
    ),
    (
        "slow-cpu",
        "a follower that computes 100 times slower costs 1.2 times the p99 at most, on average over all seeds",
    ),
    ("power-loss", "all writes acknowledged are there after the power failed everywhere"),
    ("lease", "with leases, and clocks as bad as was declared, no read is stale"),
    ("no-quorum", "without a quorum every request ends in time, and the log stays bounded"),
    (
        "spare",
        "10 election timeouts after a voter is gone a spare votes in its place, and then as many may go as before",
    ),
];

/// Plays a scenario with so many members.
///
/// # Errors
/// What was broken.
///
/// # Panics
/// If there is no such scenario.
pub fn play(name: &str, members: u64, seed: u64) -> Result<Measured, String> {
    play_with(name, members, seed, None)
}

/// The same with a broken promise.
///
/// # Errors
/// What was broken.
///
/// # Panics
/// If there is no such scenario.
pub fn play_with(
    name: &str,
    members: u64,
    seed: u64,
    sabotage: Option<Sabotage>,
) -> Result<Measured, String> {
    let play = Play { members, seed, sabotage };
    let result = match name {
        "hung-leader" => hung_leader(play, true).map(Measured::from),
        "hung-idle-leader" => hung_leader(play, false).map(Measured::from),
        "slow-disk" => slow_follower(play, 100, 1),
        "slow-cpu" => slow_follower(play, 1, 100),
        "power-loss" => power_loss(play).map(Measured::from),
        "lease" => tenure::play(members, seed, true).map(|played| Measured::from(played.took)),
        "no-quorum" => no_quorum(play).map(Measured::from),
        "spare" => spare(play).map(Measured::from),
        other => panic!("there is no scenario {other}"),
    };
    result.map_err(|violation| format!("{name}, {members} members, seed {seed}: {violation}"))
}

fn broken(what: impl Into<String>) -> Violation {
    Violation::new("scenario", what)
}

/// Long enough that nothing of the run's own plan comes before the scenario ends.
const LONG: Duration = Duration::from_secs(1 << 20);
/// By then there is a leader, and the clients are at work.
const SETTLED: Duration = Duration::from_secs(1);

/// One performance of a scenario.
#[derive(Clone, Copy, Debug)]
struct Play {
    members: u64,
    seed: u64,
    sabotage: Option<Sabotage>,
}

impl Play {
    fn world(self, options: Options) -> World {
        World::new(self.seed, options, self.sabotage, Trace::off())
    }
}

fn calm(play: Play, change: impl FnOnce(&mut Options)) -> Result<World, Violation> {
    let mut options = Options::calm(play.members);
    options.faulty_for = LONG;
    change(&mut options);
    let mut world = play.world(options);
    world.begin()?;
    world.run_until(SETTLED)?;
    Ok(world)
}

/// From the hang (or, if nobody asked for anything before, from the first write after it) to the
/// moment that another leads and has got a write through.
fn hung_leader(play: Play, has_load: bool) -> Result<Duration, Violation> {
    let mut world = calm(play, |options| {
        options.clients = if has_load { 4 } else { 0 };
    })?;
    let timeout = world.options().election_timeout;
    let old = world.leader().ok_or_else(|| broken("all is well, and nobody leads"))?;
    world.disk_hangs(old);
    let mut began = world.now();
    if !has_load {
        // Nothing depends on its disk as long as nobody writes: nobody can know, nobody waits.
        world.run_until(began + timeout * 10)?;
        if world.leader() != Some(old) {
            return Err(broken("an idle leader lost its office"));
        }
        began = world.now();
        let others = world.members().into_iter().filter(|id| *id != old);
        others.for_each(|id| drop(world.write_at(id)));
    }
    let mut write: Option<DirectWrite> = None;
    loop {
        let new = world.leader().filter(|id| *id != old);
        let ended = write.as_ref().and_then(|write| world.ended_well(write));
        match (new, ended) {
            (_, Some(true)) => return Ok(world.now() - began),
            // One that failed, or that nobody led by when it was asked for, is asked for again.
            (Some(new), _) if write.is_none() || ended == Some(false) => {
                write = Some(world.write_at(new));
            }
            _ => {}
        }
        if world.now() - began > timeout * 3 {
            let took = world.now() - began;
            return Err(broken(match new {
                None => format!("nobody but {old} leads after {took:?}"),
                Some(new) => format!("{new}, who leads now, has got nothing done after {took:?}"),
            }));
        }
        world.run_until(world.now() + Duration::from_millis(1))?;
    }
}

/// The p99 of writes while one follower is slow, of clients that ask the others; and that of the same
/// clients where nobody is slow. Of three members the leader has to wait for the one that is left, and no
/// longer for the quicker one of two: that alone is most of what it costs.
fn slow_follower(play: Play, disk: u32, cpu: u32) -> Result<Measured, Violation> {
    let p99 = |is_slow: bool| {
        let mut world = calm(play, |_| {})?;
        let leader = world.leader().ok_or_else(|| broken("all is well, and nobody leads"))?;
        let mut others = world.members();
        let victim = others.iter().copied().find(|id| *id != leader);
        let victim = victim.ok_or_else(|| broken("there is no follower"))?;
        others.remove(&victim);
        world.clients_ask(others);
        if is_slow {
            world.becomes_slow(victim, disk, cpu);
        }
        world.run_until(SETTLED + Duration::from_secs(1))?;
        let skipped = world.latencies().len();
        world.run_until(SETTLED + Duration::from_secs(11))?;
        let mut latencies = world.latencies()[skipped..].to_vec();
        latencies.sort_unstable();
        let at = latencies.len() * 99 / 100;
        latencies.get(at).copied().ok_or_else(|| broken("hardly any write was acknowledged"))
    };
    Ok(Measured { took: p99(true)?, healthy: Some(p99(false)?) })
}

/// How long it took from a power failure of all members until all machines held the same. Each write up to
/// the last one acknowledged is read back from every member then.
fn power_loss(play: Play) -> Result<Duration, Violation> {
    let mut options = Options::calm(play.members);
    options.faulty_for = SETTLED;
    let mut world = play.world(options);
    world.begin()?;
    world.run_until(SETTLED - Duration::from_nanos(1))?;
    let acknowledged = world.acknowledged_puts();
    if acknowledged.len() < 50 {
        let what = format!("only {} writes before the power failed", acknowledged.len());
        return Err(broken(what));
    }
    let began = world.now();
    world.power_fails(&world.members())?;
    let report = world.run_to_its_end()?;
    world.read_back(&acknowledged)?;
    Ok(report.simulated - began)
}

/// What must hold at every moment without a quorum.
#[derive(Clone, Copy, Debug)]
struct WithoutQuorum {
    wait_max: Duration,
    log_bytes_max: usize,
}

impl WithoutQuorum {
    /// Holds the longest wait of a client, and the largest log, against it.
    fn demand(self, wait: Duration, log_bytes: usize) -> Result<(), Violation> {
        if wait > self.wait_max {
            return Err(broken(format!("a client has waited for {wait:?}")));
        }
        if log_bytes > self.log_bytes_max {
            return Err(broken(format!("a log has {log_bytes} bytes")));
        }
        Ok(())
    }
}

/// The longest that a client waited in a minute without a quorum. The bound is the request timeout
/// and two heartbeats; the log may grow by what a member takes in meanwhile, and no further.
fn no_quorum(play: Play) -> Result<Duration, Violation> {
    let mut world = calm(play, |options| {
        options.clients = 32;
        options.reads_per_mille = 100;
        options.value_bytes = 4_096;
    })?;
    let leader = world.leader().ok_or_else(|| broken("all is well, and nobody leads"))?;
    let (timeout, heartbeat) = (world.options().request_timeout, world.options().heartbeat);
    let mut left = world.members();
    let majority = left.len() / 2 + 1;
    let down = left.iter().copied().filter(|id| *id != leader).take(majority).collect();
    left.retain(|id| !BTreeSet::contains(&down, id));
    world.power_fails(&down)?;
    world.clients_ask(left);
    let bounds = WithoutQuorum {
        wait_max: timeout + heartbeat * 2,
        // A log that is not committed holds at most what was proposed until the leader gave up.
        log_bytes_max: world.log_bytes_max() + (4 << 20),
    };
    let end = world.now() + Duration::from_secs(60);
    let mut longest = Duration::ZERO;
    while world.now() < end {
        world.run_until(world.now() + heartbeat)?;
        longest = longest.max(world.longest_wait());
        bounds.demand(longest, world.log_bytes_max())?;
    }
    Ok(longest)
}

/// Lets time pass until this holds, which it must within so long.
fn wait(
    world: &mut World,
    at_most: Duration,
    what: &str,
    mut holds: impl FnMut(&mut World) -> bool,
) -> Result<(), Violation> {
    let end = world.now() + at_most;
    while !holds(world) {
        if world.now() > end {
            return Err(broken(format!("{what}: not after {at_most:?}")));
        }
        world.run_until(world.now() + Duration::from_millis(1))?;
    }
    Ok(())
}

/// From the moment that a voter dies for good to the one that a spare votes in its place. Then half of the others die
/// as well, perhaps the leader among them, which nobody survives without the spare. By turns it is the leader or
/// another one that dies first, in a group with clients or in one that is quiet.
fn spare(play: Play) -> Result<Duration, Violation> {
    let (leader_dies, is_quiet) = (play.seed.is_multiple_of(2), play.seed % 4 < 2);
    let mut world = calm(Play { members: play.members + 1, ..play }, |options| {
        options.replace_after = Some(options.heartbeat * 10);
        if is_quiet {
            options.clients = 0;
            options.quiet = Some(Quiet { after: options.heartbeat, every: LONG, lull: LONG });
        }
    })?;
    let timeout = world.options().election_timeout;
    let leader = world.leader().ok_or_else(|| broken("all is well, and nobody leads"))?;
    let mut voters = world.members();
    let spare =
        voters.iter().copied().find(|id| *id != leader).ok_or_else(|| broken("it is alone"))?;
    voters.remove(&spare);
    world.changes_members(Membership {
        learners: BTreeSet::from([spare]),
        ..Membership::of_voters(voters.iter().copied())
    });
    wait(&mut world, timeout * 10, "the spare is a learner", |world| {
        world.voters() == Some(&voters)
    })?;
    world.run_until(world.now() + timeout * 10)?;
    let leader = world.leader().ok_or_else(|| broken("all is well, and nobody leads"))?;
    let first = voters.iter().copied().find(|id| (*id == leader) == leader_dies);
    let first = first.ok_or_else(|| broken("there is no follower"))?;
    let began = world.now();
    world.power_fails(&BTreeSet::from([first]))?;
    voters.remove(&first);
    world.clients_ask(voters.clone());
    let mut left = voters.clone();
    left.insert(spare);
    wait(&mut world, timeout * 10, "the spare votes", |world| world.voters() == Some(&left))?;
    let took = world.now() - began;

    let most = voters.len() / 2;
    let others: BTreeSet<NodeId> = voters.into_iter().take(most).collect();
    world.power_fails(&others)?;
    left.retain(|id| !others.contains(id));
    world.clients_ask(left.clone());
    for id in left {
        let mut write = world.write_at(id);
        wait(&mut world, timeout * 10, "a write is done", |world| {
            match world.ended_well(&write) {
                Some(false) => {
                    write = world.write_at(id);
                    false
                }
                ended => ended == Some(true),
            }
        })?;
    }
    let acknowledged = world.acknowledged_puts();
    world.run_until(world.now() + timeout)?;
    world.read_back(&acknowledged)?;
    Ok(took)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_quorum_a_wait_and_a_log_have_bounds() {
        let second = Duration::from_secs(1);
        let bounds = WithoutQuorum { wait_max: second, log_bytes_max: 7 };
        bounds.demand(second, 7).expect("that is allowed");
        let late = bounds.demand(second + Duration::from_nanos(1), 7).expect_err("too late");
        assert!(late.what.starts_with("a client has waited"), "{late}");
        let large = bounds.demand(second, 8).expect_err("too large");
        assert_eq!(large.what, "a log has 8 bytes");
    }

    #[test]
    fn what_is_compared_is_the_mean_of_all_runs_and_the_worst_is_known() {
        let measured = |took, healthy: u64| Measured {
            took: Duration::from_millis(took),
            healthy: Some(Duration::from_millis(healthy)),
        };
        let alone = Measured::from(Duration::from_secs(9));
        assert_eq!(Ratio::of(&[alone]), None);
        assert_eq!(compare(&[alone]), Ok(()));
        let even = [measured(30, 10), measured(90, 90), alone];
        assert_eq!(Ratio::of(&even), Some(Ratio { mean: 1_200, worst: 3_000 }));
        assert_eq!(compare(&even), Ok(()), "1.2 times is allowed");
        let long = [measured(30, 10), measured(91, 90)];
        let what = compare(&long).expect_err("that is more");
        assert!(what.starts_with("1.210 times"), "{what}");
    }
}
