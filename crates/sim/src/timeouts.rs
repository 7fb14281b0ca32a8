//! What the election policies are worth: how often each of them deposes a leader that lives, and how long each
//! leaves a group without one after it has died.
//!
//! Three members with the timing of production (heartbeats each 100 ms, an election timeout of 1 s) and one client,
//! in a network that is near, far, or near with hosts that are disturbed. For so long nobody crashes, and each
//! election of that time that the leader has not asked for is a false one: it runs, and all links work. Then the
//! leader loses its power again and again, each time at a moment of its heartbeat that is drawn, and what is measured
//! is the time until another one has taken office. All of it is virtual time: a seed measures the same on every
//! machine.

use core::fmt;
use std::time::Duration;

use quorate_check::Violation;
use quorate_raft::ElectionPolicy;

use crate::chance::Chance;
use crate::extremes::{Extremes, Processes, SlowCpu};
use crate::json::Json;
use crate::swarm::{Options, Recurring, ms};
use crate::trace::Trace;
use crate::world::World;

/// Where the members are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// In one room: a round trip takes 0.2 ms.
    Lan,
    /// On two continents: 80 ms, which vary by a tenth.
    Wan,
    /// In one room, on hosts that are shared with others. A member stands still for 50 ms on average, in one of
    /// ten cases for more than 120 ms and seldom for half a second; each of them every 6 seconds. It computes ten times
    /// slower for a second in six, and five of a thousand syncs take a second or so.
    NoisyHost,
    /// The same where members stand still for 300 ms on average, and for up to 3 seconds: longer than the
    /// election timeout. No timeout that notices a crash in time is right here, and it is to be seen which one is wrong
    /// how often.
    Storm,
}

impl Network {
    /// Those of which a policy is demanded that it is the best.
    pub const DEMANDED: [Self; 3] = [Self::Lan, Self::Wan, Self::NoisyHost];
    /// All.
    pub const ALL: [Self; 4] = [Self::Lan, Self::Wan, Self::NoisyHost, Self::Storm];

    /// Its name in a table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lan => "LAN 0.2 ms",
            Self::Wan => "WAN 80 ms",
            Self::NoisyHost => "noisy host",
            Self::Storm => "storm",
        }
    }

    fn options(self, policy: ElectionPolicy) -> Options {
        let us = Duration::from_micros;
        let near = Options {
            clients: 1,
            keys: 4,
            think: ms(500),
            faulty_for: LONG,
            heartbeat: ms(100),
            election_timeout: ms(1_000),
            election_policy: policy,
            request_timeout: ms(7_000),
            delay_min: us(80),
            delay_mean: us(20),
            sync_mean: ms(1),
            flush_every: ms(10_000),
            compact_every: Some(ms(60_000)),
            ..Options::calm(MEMBERS)
        };
        let noisy = |pause_mean| Options {
            pauses: Some(Recurring { every: ms(2_000), lasts: ms(pause_mean) }),
            slow_sync_per_mille: 5,
            extremes: Extremes {
                processes: Processes {
                    slow_cpu: Some(SlowCpu {
                        episodes: Recurring { every: ms(1_000), lasts: ms(1_000) },
                        factor: 10,
                    }),
                    mixed_settings: false,
                },
                ..Extremes::none()
            },
            ..near.clone()
        };
        match self {
            Self::Lan => near,
            Self::Wan => Options { delay_min: ms(36), delay_mean: ms(4), ..near },
            Self::NoisyHost => noisy(50),
            Self::Storm => noisy(300),
        }
    }
}

/// The policies.
pub const POLICIES: [ElectionPolicy; 3] =
    [ElectionPolicy::Fixed, ElectionPolicy::Backoff, ElectionPolicy::Adaptive];

/// The name of a policy, as the flag of the server has it.
#[must_use]
pub fn name(policy: ElectionPolicy) -> &'static str {
    match policy {
        ElectionPolicy::Fixed => "fixed",
        ElectionPolicy::Backoff => "backoff",
        ElectionPolicy::Adaptive => "adaptive",
    }
}

/// What each run is made of.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How long nobody crashes.
    pub quiet: Duration,
    /// How many leaders crash after that.
    pub crashes: u32,
}

/// What was measured of a policy in a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// How long nobody crashed, all runs together.
    pub quiet: Duration,
    /// How many elections there were in that time.
    pub false_elections: u64,
    /// How long there was no leader, for each crash, ascending.
    pub leaderless: Vec<Duration>,
}

impl Measured {
    /// Adds what another run has measured.
    pub fn add(&mut self, other: &Self) {
        self.quiet += other.quiet;
        self.false_elections += other.false_elections;
        self.leaderless.extend(&other.leaderless);
        self.leaderless.sort_unstable();
    }

    /// Elections in a day in which nobody crashes, in thousandths.
    #[must_use]
    pub fn false_elections_a_day(&self) -> u128 {
        let day = u128::from(24 * 60 * 60 * 1_000_u64);
        u128::from(self.false_elections) * day * 1_000 / self.quiet.as_millis().max(1)
    }

    /// What so many of a thousand crashes did not exceed; nothing if none was measured.
    #[must_use]
    pub fn leaderless_at(&self, per_mille: usize) -> Option<Duration> {
        let last = self.leaderless.len().checked_sub(1)?;
        self.leaderless.get((self.leaderless.len() * per_mille / 1_000).min(last)).copied()
    }

    /// Its numbers.
    #[must_use]
    pub fn json(&self, network: Network, policy: ElectionPolicy) -> Json {
        let at = |per_mille| {
            Json::Thousandths(self.leaderless_at(per_mille).unwrap_or_default().as_micros())
        };
        Json::object([
            ("network", Json::text(network.name())),
            ("policy", Json::text(name(policy))),
            ("quiet_seconds", Json::seconds(self.quiet)),
            ("false_elections", Json::Number(self.false_elections)),
            ("false_elections_a_day", Json::Thousandths(self.false_elections_a_day())),
            ("crashes", Json::Number(self.leaderless.len() as u64)),
            ("leaderless_median_milliseconds", at(500)),
            ("leaderless_p99_milliseconds", at(990)),
        ])
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let a_day = Json::Thousandths(self.false_elections_a_day()).to_string();
        let at = |per_mille| self.leaderless_at(per_mille).unwrap_or_default().as_millis();
        write!(f, "{a_day:>12} {:>10} ms {:>7} ms", at(500), at(990))
    }
}

const MEMBERS: u64 = 3;
/// Nothing of the run's own plan comes before the measurement is over.
const LONG: Duration = Duration::from_secs(1 << 20);
/// By then somebody leads, all members know what they can know, and a disturbed host has been disturbed.
const WARM_UP: Duration = Duration::from_secs(60);
/// Between two crashes: the last one is started again by then, and has found its leader.
const BETWEEN: Duration = Duration::from_secs(10);
/// A group that has no leader for so long is not worth a measurement.
const PATIENCE: Duration = Duration::from_secs(120);

/// Tells the moments of crashes from all else in a seed.
const MOMENTS: u64 = 0x6d_6f6d_656e_7473;

/// Measures a policy in a network, in the run of a seed.
///
/// # Errors
/// The first thing that is wrong in the run.
pub fn measure(
    network: Network,
    policy: ElectionPolicy,
    seed: u64,
    plan: Plan,
) -> Result<Measured, Violation> {
    let mut world = World::new(seed, network.options(policy), None, Trace::off());
    let mut moments = Chance::new(seed ^ MOMENTS);
    world.begin()?;
    world.run_until(WARM_UP)?;
    let before = world.campaigns();
    world.run_until(WARM_UP + plan.quiet)?;
    let mut measured = Measured {
        quiet: plan.quiet,
        false_elections: world.campaigns() - before,
        leaderless: Vec::with_capacity(plan.crashes as usize),
    };
    for _ in 0..plan.crashes {
        let calm = BETWEEN + moments.duration(Duration::ZERO, ms(1_000));
        world.run_until(world.now() + calm)?;
        measured.leaderless.push(crash_the_leader(&mut world)?);
    }
    measured.leaderless.sort_unstable();
    Ok(measured)
}

/// How long there is no leader after it has lost its power. It is started again a second later.
fn crash_the_leader(world: &mut World) -> Result<Duration, Violation> {
    let leader = wait_for_leader(world)?;
    let crashed = world.now();
    world.power_fails(&[leader].into())?;
    wait_for_leader(world)?;
    let took = world.now() - crashed;
    world.run_until(world.now() + ms(1_000))?;
    world.starts(leader);
    Ok(took)
}

/// Lets events happen until somebody leads.
fn wait_for_leader(world: &mut World) -> Result<quorate_raft::NodeId, Violation> {
    let began = world.now();
    loop {
        if let Some(leader) = world.leader() {
            return Ok(leader);
        }
        if world.now() - began > PATIENCE {
            return Err(Violation::new("timeouts", format!("nobody leads after {PATIENCE:?}")));
        }
        world.step()?;
    }
}
