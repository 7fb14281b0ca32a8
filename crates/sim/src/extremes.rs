//! What goes wrong beyond the middling faults of [`Options`](crate::swarm::Options): clogged links,
//! wild clocks, starved processes, disks that hang.
//!
//! All of it is drawn from sources of its own, one for each part, and decided by sources of its own
//! while a run goes on. So a seed without extremes is the run it was before there were any, and an
//! extreme that is added later moves nothing that is there. [`Extremes::none`] is a run of the old
//! kind; `seeds/regressions.txt` has seeds that mean it.

use std::time::Duration;

use crate::chance::Chance;
use crate::disk_faults::DiskFaults;
use crate::graphs::Graph;
use crate::swarm::{PartitionStyle, Recurring, ms};

/// All extremes of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extremes {
    /// Those of the network.
    pub network: Network,
    /// Those of clocks.
    pub clocks: Clocks,
    /// Those of processes.
    pub processes: Processes,
    /// Those of disks.
    pub disks: Disks,
    /// What stays broken for good, before everything heals.
    pub partial: Option<Partial>,
    /// What else goes wrong with disks.
    pub disk_faults: DiskFaults,
}

/// Which links work in a phase in which some majority can talk, and all else stays broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partial {
    /// Any such graph; whoever is not of the majority may be down, paused, or without its disk.
    Drawn,
    /// This one, whose first member is the leader of that moment. The run ends with the phase.
    Exact(Graph),
}

/// How links fail beyond loss, delay and partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// The most messages that are on their way over one directed link; more are lost.
    pub capacity: Option<u64>,
    /// Links that deliver nothing for a while and then all of it.
    pub clogs: Option<Clogs>,
    /// Repetitions that come when the world has long moved on, and who receives them may be another
    /// process.
    pub replays: Option<Replays>,
    /// Whether each directed link is slower or faster than the others, by its own factor.
    pub lopsided: bool,
    /// A style of partitions instead of the one in the options.
    pub partition_style: Option<PartitionStyle>,
}

/// See [`Network::clogs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clogs {
    /// Of ten thousand messages, how many clog their link.
    pub per_myriad: u64,
    /// The mean time that it takes.
    pub lasts: Duration,
    /// Whether what was held comes all at once and in order, or each in its own time after that.
    pub in_order: bool,
}

/// See [`Network::replays`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replays {
    /// Of a thousand messages, how many come again.
    pub per_mille: u64,
    /// How much later, on average.
    pub after: Duration,
}

/// How clocks differ beyond a little drift.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clocks {
    /// Whether each clock has a rate of its own, from half to twice the right one.
    pub wild: bool,
    /// Jumps forward; `lasts` says how far.
    pub jumps: Option<Recurring>,
    /// Times in which a clock stands still while its process runs.
    pub freezes: Option<Recurring>,
}

/// How processes fare beyond pauses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Processes {
    /// Times in which a member computes slowly.
    pub slow_cpu: Option<SlowCpu>,
    /// Whether each start of a process draws its settings anew.
    pub mixed_settings: bool,
}

/// See [`Processes::slow_cpu`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowCpu {
    /// When.
    pub episodes: Recurring,
    /// How many times longer everything takes.
    pub factor: u32,
}

/// How disks fail to be quick.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disks {
    /// The mean time of a sync, instead of the one in the options.
    pub sync_mean: Option<Duration>,
    /// Times in which no sync of a member ends.
    pub hangs: Option<Hangs>,
    /// One member whose disk is so many times slower than those of the others, as long as faults
    /// last.
    pub gray: Option<u32>,
}

/// See [`Disks::hangs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hangs {
    /// When.
    pub episodes: Recurring,
    /// Of a thousand, how many last as long as faults do.
    pub for_good_per_mille: u64,
}

impl Extremes {
    /// A run without any.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Those of a seed. A quarter of all seeds has none.
    #[must_use]
    pub fn draw(chance: &mut Chance) -> Self {
        let any = chance.per_mille(750);
        let all = Self {
            network: Network::draw(&mut chance.fork()),
            clocks: Clocks::draw(&mut chance.fork()),
            processes: Processes::draw(&mut chance.fork()),
            disks: Disks::draw(&mut chance.fork()),
            partial: chance.fork().per_mille(400).then_some(Partial::Drawn),
            disk_faults: DiskFaults::draw(&mut chance.fork()),
        };
        if any { all } else { Self::none() }
    }
}

/// Each extreme is in a third of the runs that have any.
fn has(chance: &mut Chance) -> bool {
    chance.per_mille(330)
}

impl Clocks {
    fn draw(chance: &mut Chance) -> Self {
        Self {
            wild: has(chance),
            jumps: has(chance).then(|| Recurring::draw(chance, (100, 3_000), (10, 10_000))),
            freezes: has(chance).then(|| Recurring::draw(chance, (200, 3_000), (10, 3_000))),
        }
    }
}

impl Processes {
    fn draw(chance: &mut Chance) -> Self {
        Self {
            slow_cpu: has(chance).then(|| SlowCpu {
                episodes: Recurring::draw(chance, (200, 4_000), (100, 4_000)),
                factor: *chance.pick(&[10, 100, 1_000]),
            }),
            mixed_settings: has(chance),
        }
    }
}

impl Disks {
    fn draw(chance: &mut Chance) -> Self {
        Self {
            sync_mean: chance.per_mille(100).then(|| ms(*chance.pick(&[50, 100, 300, 1_000]))),
            hangs: has(chance).then(|| Hangs {
                episodes: Recurring::draw(chance, (300, 5_000), (100, 5_000)),
                for_good_per_mille: *chance.pick(&[0, 100, 500]),
            }),
            gray: has(chance).then_some(100),
        }
    }
}

impl Network {
    fn draw(chance: &mut Chance) -> Self {
        Self {
            capacity: has(chance).then(|| chance.between(2, 20)),
            clogs: has(chance).then(|| Clogs {
                per_myriad: *chance.pick(&[1, 5, 20, 50, 200]),
                lasts: ms(*chance.pick(&[20, 100, 500, 2_000, 5_000])),
                in_order: chance.per_mille(500),
            }),
            replays: has(chance).then(|| Replays {
                per_mille: *chance.pick(&[2, 10, 50, 200]),
                after: ms(*chance.pick(&[100, 1_000, 5_000])),
            }),
            lopsided: has(chance),
            partition_style: has(chance).then(|| {
                *chance.pick(&[
                    PartitionStyle::Bridge,
                    PartitionStyle::Ring,
                    PartitionStyle::Links,
                    PartitionStyle::Any,
                ])
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_extreme_is_absent_from_most_runs_and_present_in_some() {
        let all: Vec<Extremes> =
            (0..400).map(|seed| Extremes::draw(&mut Chance::new(seed))).collect();
        let some = |has: fn(&Extremes) -> bool| {
            let count = all.iter().filter(|extremes| has(extremes)).count();
            assert!((10..200).contains(&count), "{count} of 400");
        };
        some(|e| *e == Extremes::none());
        some(|e| e.network.capacity.is_some());
        some(|e| e.network.clogs.is_some());
        some(|e| e.network.replays.is_some());
        some(|e| e.network.lopsided);
        some(|e| e.network.partition_style.is_some());
        some(|e| e.clocks.wild);
        some(|e| e.clocks.jumps.is_some());
        some(|e| e.clocks.freezes.is_some());
        some(|e| e.processes.slow_cpu.is_some());
        some(|e| e.processes.mixed_settings);
        some(|e| e.disks.sync_mean.is_some());
        some(|e| e.disks.hangs.is_some());
        some(|e| e.disks.gray.is_some());
        some(|e| e.partial.is_some());
        some(|e| e.disk_faults.errors.is_some());
    }
}
