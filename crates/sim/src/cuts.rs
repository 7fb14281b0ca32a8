//! The power fails everywhere, at every moment of a run: after each single event, and where commits of logs
//! are under way after each of their calls.
//!
//! The log has a sweep of its own among its tests, and the store has one (`cargo xtask crash-points`). Here a
//! log has a machine beside it, in memory, and some members are a cluster: it starts, writes, installs snapshots,
//! loses disks and takes members back, and is cut in between. Then all start again, everything that was
//! acknowledged has to be there, and they must come to rest in one state. To open a log, or to heal it, is one
//! event.

use std::time::Duration;

use quorate_check::Violation;

use crate::chance::Chance;
use crate::sabotage::Sabotage;
use crate::storage::CALLS_MAX;
use crate::swarm::{Options, Recurring, ms};
use crate::trace::Trace;
use crate::world::World;

/// Where the power fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// After so many events.
    pub events: u64,
    /// After so many calls of each commit that is under way then.
    pub calls: u64,
}

/// A run that is cut again and again.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    /// The members.
    pub members: u64,
    /// What chance does in it.
    pub seed: u64,
    /// What is broken on purpose.
    pub sabotage: Option<Sabotage>,
}

/// How long it lasts.
const LENGTH: Duration = ms(600);

/// So many courses are looked at, at most.
const COURSES_MAX: usize = 100;

impl Course {
    fn begin(self) -> Result<World, Violation> {
        let recurring = |every, lasts| Some(Recurring { every: ms(every), lasts: ms(lasts) });
        let options = Options {
            clients: 2,
            think: ms(15),
            value_bytes: 512,
            faulty_for: LENGTH,
            retained_bytes_max: 256,
            segment_bytes: 4 << 10,
            record_bytes_max: 2 << 10,
            snapshot_piece_bytes_max: 2 << 10,
            flush_every: ms(20),
            crashes: recurring(100, 60),
            wipes: recurring(150, 20),
            ..Options::calm(self.members)
        };
        let mut world = World::new(self.seed, options, self.sabotage, Trace::off());
        world.begin()?;
        Ok(world)
    }

    /// The first course from this seed on in which members install snapshots and come back from the loss of
    /// their disks, and all places where it can be cut.
    ///
    /// # Errors
    /// If something is wrong without any cut, or too little happens in all courses that are looked at.
    pub fn eventful(self) -> Result<(Self, Vec<Cut>), Violation> {
        for seed in (self.seed..).take(COURSES_MAX) {
            let course = Self { seed, ..self };
            let cuts = course.cuts().map_err(|violation| {
                Violation::new(violation.property, format!("seed {seed}: {}", violation.what))
            })?;
            if let Some(cuts) = cuts {
                return Ok((course, cuts));
            }
        }
        let what = format!("too little happens from seed {} on", self.seed);
        Err(Violation::new("cuts", what))
    }

    /// All places where it can be cut; `None` if too little happens.
    fn cuts(self) -> Result<Option<Vec<Cut>>, Violation> {
        let mut world = self.begin()?;
        let mut cuts = Vec::new();
        for events in 0.. {
            let calls = if world.commits() { CALLS_MAX } else { 1 };
            cuts.extend((0..calls).map(|calls| Cut { events, calls }));
            if world.step()? || LENGTH <= world.now() {
                break;
            }
        }
        let (installed, rejoined) = world.installed_and_rejoined();
        Ok((installed > 0 && rejoined > 0).then_some(cuts))
    }

    /// Runs it up to there, cuts the power of all, and runs it to its end.
    ///
    /// # Errors
    /// What is wrong then.
    pub fn cut(self, cut: Cut) -> Result<(), Violation> {
        let mut world = self.begin()?;
        for _ in 0..cut.events {
            world.step()?;
        }
        let acknowledged = world.acknowledged_puts();
        let mut chance = Chance::new(self.seed ^ cut.events << 8 ^ cut.calls);
        world.power_fails_within(cut.calls, &mut chance)?;
        world.run_to_its_end()?;
        world.read_back(&acknowledged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong after some of the cuts.
    fn wrong(sabotage: Option<Sabotage>) -> Vec<String> {
        let any = Course { members: 3, seed: 0, sabotage: None };
        let (whole, cuts) = any.eventful().expect("all is well without a cut");
        assert!(cuts.iter().any(|cut| cut.calls > 0), "no commit is under way");
        let course = Course { sabotage, ..whole };
        let some = cuts.into_iter().step_by(97);
        let wrong = some.filter_map(|cut| Some(format!("{cut:?}: {}", course.cut(cut).err()?)));
        wrong.collect()
    }

    #[test]
    fn wherever_the_power_fails_all_is_there_again() {
        assert_eq!(wrong(None), [""; 0]);
    }

    #[test]
    fn a_disk_that_confirms_what_it_has_not_done_is_noticed() {
        assert_ne!(wrong(Some(Sabotage::LyingDisk)), [""; 0]);
    }
}
