//! What goes wrong with disks beyond lost power, slowness and damage at rest: calls that fail, disks that
//! are full, writes that go astray, sectors that rot beneath a running log, and damage beyond what can be
//! survived.
//!
//! Each is drawn from a source of its own, as all [`Extremes`](crate::extremes::Extremes) are.

use std::time::Duration;

use crate::chance::Chance;
use crate::swarm::{Recurring, ms};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskFaults {
    /// Calls that fail once; `lasts` says how long a process that ends of it is down.
    pub errors: Option<Recurring>,
    /// Disks of which each call may fail, as long as faults last.
    pub flaky: Option<Flaky>,
    /// Times in which every call of a disk fails, so that no process can start there.
    pub breakdowns: Option<Recurring>,
    /// Times in which a disk has no room for anything new.
    pub full: Option<Recurring>,
    /// The mean time between two writes that were confirmed and went elsewhere or nowhere; never with the
    /// last copy of anything.
    pub strays: Option<Duration>,
    /// The mean time between two times that sectors rot beneath a running log; never the last copy of
    /// anything.
    pub rot: Option<Duration>,
    /// How logs are verified while they run, if they are.
    pub scrub: Option<Scrub>,
    /// Damage without any regard for what can be survived. Nobody can promise to go on after it; what is
    /// promised is to halt and never to lie.
    pub over_limit: Option<OverLimit>,
}

/// How often the calls of a disk fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flaky {
    /// Of a thousand reads, how many fail.
    pub reads_per_mille: u64,
    /// Of a thousand writes and syncs, how many fail.
    pub writes_per_mille: u64,
}

/// How logs are verified while they run. By the law of production, whose pieces are larger and whose
/// rounds take a day: a run has no day, and logs of a few pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scrub {
    /// The time that a round may take.
    pub cycle: Duration,
    /// What is read at once, in bytes.
    pub piece_bytes: usize,
}

/// The longest time between two pieces, as in production.
const PAUSE_MAX: Duration = Duration::from_secs(10);

impl Scrub {
    /// The time between two pieces of a log of so many bytes.
    #[must_use]
    pub fn pause(self, total: u64) -> Duration {
        let pieces = total.div_ceil(self.piece_bytes as u64).max(1);
        (self.cycle / u32::try_from(pieces).unwrap_or(u32::MAX)).min(PAUSE_MAX)
    }
}

/// See [`DiskFaults::over_limit`].
///
/// A blow damages some sectors of the log, or sectors everywhere in it, or takes a file of it, with the
/// state of the machine or without; or it hits log and mark together. One thing it never does is to take the
/// end of a log *and* all that tells of it: that can't be told from a write which was torn, so not even
/// silence can be asked for after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverLimit {
    /// When. Each time some members go down at once, and find damage when they start again.
    pub blows: Recurring,
    /// How many times, at most.
    pub blows_max: u64,
    /// Of a thousand sectors, how many are damaged where it is not just a few.
    pub sectors_per_mille: u64,
}

/// Of a thousand seeds with extremes, how many are over the limit.
const OVER_LIMIT_PER_MILLE: u64 = 30;

impl DiskFaults {
    /// Those of a seed.
    #[must_use]
    pub fn draw(chance: &mut Chance) -> Self {
        let mut each = |per_mille| {
            let mut own = chance.fork();
            let has = own.per_mille(per_mille);
            (has, own)
        };
        let some = |(has, mut own): (bool, Chance), every, lasts| {
            has.then(|| Recurring::draw(&mut own, every, lasts))
        };
        let errors = some(each(250), (300, 4_000), (5, 1_000));
        let breakdowns = some(each(120), (500, 6_000), (50, 3_000));
        let full = some(each(200), (300, 4_000), (50, 3_000));
        let often = |(has, mut own): (bool, Chance)| has.then(|| own.duration(ms(200), ms(3_000)));
        let (strays, rot) = (often(each(200)), often(each(200)));
        let (is_scrubbed, mut own) = each(700);
        let has_something = errors.is_some() || strays.is_some() || rot.is_some();
        let scrub = (is_scrubbed && has_something).then(|| Scrub {
            cycle: own.duration(ms(50), ms(5_000)),
            piece_bytes: *own.pick(&[4 << 10, 32 << 10, 128 << 10]),
        });
        let (is_over, mut own) = each(OVER_LIMIT_PER_MILLE);
        let over_limit = is_over.then(|| OverLimit::draw(&mut own));
        let (is_flaky, mut own) = each(120);
        let flaky = is_flaky.then(|| Flaky {
            reads_per_mille: *own.pick(&[0, 1, 10, 100]),
            writes_per_mille: *own.pick(&[0, 1, 5, 20, 100]),
        });
        Self { errors, flaky, breakdowns, full, strays, rot, scrub, over_limit }
    }

    /// Whether there is nothing of it.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl OverLimit {
    /// Damage of a seed that is over the limit.
    #[must_use]
    pub fn draw(chance: &mut Chance) -> Self {
        Self {
            blows: Recurring::draw(chance, (200, 4_000), (10, 1_500)),
            blows_max: chance.between(1, 3),
            sectors_per_mille: *chance.pick(&[50, 300, 1_000]),
        }
    }
}

/// What became of it in a run, beside what coverage says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskCounts {
    /// Processes that ended because their disk had failed.
    pub ended: u64,
    /// Starts that failed because the disk did, and were tried again.
    pub failed_starts: u64,
    /// Commits that waited for room.
    pub waited: u64,
    /// Times that a running log found damage of itself, and mended it.
    pub mended: u64,
    /// Times that such damage was found by the next start instead.
    pub came_to_light: u64,
    /// Members that refused to begin with what was left of their disk.
    pub refused: u64,
}

impl DiskCounts {
    /// All of them, by name.
    #[must_use]
    pub fn each(&self) -> [(&'static str, u64); 6] {
        let Self { ended, failed_starts, waited, mended, came_to_light, refused } = *self;
        [
            ("processes_ended", ended),
            ("failed_starts", failed_starts),
            ("waited_for_room", waited),
            ("mended_while_running", mended),
            ("found_at_start", came_to_light),
            ("refused_to_start", refused),
        ]
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        let Self { ended, failed_starts, waited, mended, came_to_light, refused } = other;
        self.ended += ended;
        self.failed_starts += failed_starts;
        self.waited += waited;
        self.mended += mended;
        self.came_to_light += came_to_light;
        self.refused += refused;
    }
}

/// How a run over the limit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Everybody went on with everything.
    Whole,
    /// Somebody never did. Nobody lied.
    Halted,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_absent_from_most_seeds_and_present_in_some() {
        let all: Vec<DiskFaults> =
            (0..1_000).map(|seed| DiskFaults::draw(&mut Chance::new(seed))).collect();
        let some = |least: usize, has: fn(&DiskFaults) -> bool| {
            let count = all.iter().filter(|faults| has(faults)).count();
            assert!((least..400).contains(&count), "{count} of 1000");
        };
        some(100, DiskFaults::is_none);
        some(100, |faults| faults.errors.is_some());
        some(50, |faults| faults.flaky.is_some());
        some(50, |faults| faults.breakdowns.is_some());
        some(100, |faults| faults.full.is_some());
        some(100, |faults| faults.strays.is_some());
        some(100, |faults| faults.rot.is_some());
        some(100, |faults| faults.scrub.is_some());
        some(10, |faults| faults.over_limit.is_some());
    }

    #[test]
    fn pieces_are_spread_over_the_round_and_never_far_apart() {
        let scrub = Scrub { cycle: Duration::from_secs(60), piece_bytes: 4_096 };
        assert_eq!(scrub.pause(0), PAUSE_MAX);
        assert_eq!(scrub.pause(4_096 * 12), Duration::from_secs(5));
        assert_eq!(scrub.pause(4_096 * 60 - 1), Duration::from_secs(1));
    }
}
