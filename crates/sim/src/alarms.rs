//! Alarms for want of space, in some runs: somebody raises one now and then, it keeps what makes the store grow from being
//! carried out, and goes again.
//!
//! How full a store is plays no part: what is to be seen is that all members refuse the same, whenever they hear of an
//! alarm, and from which commands or snapshots.

use quorate_mvcc::{Alarm, AlarmCommand, AlarmKind};

use crate::chance::Chance;
use crate::swarm::Recurring;

/// How a run has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarms {
    /// How long it is without, and with, on average.
    pub episodes: Recurring,
}

/// Tells the source of all this from that of all else in a seed.
const ALARMS: u64 = 0x61_6c61_726d_7300;

/// How many different marks there are, so that old ones meet new ones.
const MARKS: u64 = 2;

impl Alarms {
    /// Those of a seed, if it has any: one in six does.
    #[must_use]
    pub fn of_seed(seed: u64) -> Option<Self> {
        let mut chance = Chance::new(seed ^ ALARMS);
        chance
            .per_mille(167)
            .then(|| Self { episodes: Recurring::draw(&mut chance, (100, 2_000), (20, 800)) })
    }

    /// The source of what happens in a run.
    #[must_use]
    pub fn source(seed: u64) -> Chance {
        Chance::new(!seed ^ ALARMS)
    }
}

/// What somebody asks for while these are raised, among so many members.
pub(crate) fn next(raised: &[Alarm], members: u64, chance: &mut Chance) -> AlarmCommand {
    let mark = |chance: &mut Chance| 1 + chance.below(MARKS);
    let roll = chance.below(10);
    if raised.is_empty() || roll == 0 {
        let (member, clears_below) = (chance.between(1, members), Some(mark(chance)));
        return AlarmCommand::Activate(Alarm { member, kind: AlarmKind::NoSpace, clears_below });
    }
    let Alarm { member, kind, clears_below } = *chance.pick(raised);
    match (roll, clears_below) {
        (1 | 2, _) => AlarmCommand::Clear { member, clears_below: mark(chance) },
        (3..=6, Some(clears_below)) => AlarmCommand::Clear { member, clears_below },
        _ => AlarmCommand::Deactivate { member, kind },
    }
}
