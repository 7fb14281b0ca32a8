//! What is done to a cluster, and how it is drawn.

use std::time::Duration;

use crate::checks::dice::Dice;
use crate::checks::lan::{self, ALL, Losses};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Members are killed, and started again.
    Kill,
    /// Members are stopped, and let go on.
    Hold,
    /// A member is killed, a bit of its log is flipped, or of its store, or of both, and it is started.
    Damage,
    /// The network falls into parts: into two, or one member is alone, or none hears another.
    Partition,
    /// Some members hear nothing from some others, which hear them.
    OneWayLoss,
    /// Of the packets between some members a share is lost.
    RandomLoss,
    /// What is sent to some members comes late.
    Delay,
    /// The disk of a member is full to the last byte.
    FullDisk,
}

impl Kind {
    pub(super) const ALL: [Self; 8] = [
        Self::Kill,
        Self::Hold,
        Self::Damage,
        Self::Partition,
        Self::OneWayLoss,
        Self::RandomLoss,
        Self::Delay,
        Self::FullDisk,
    ];

    /// What it is called in reports.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Hold => "pause",
            Self::Damage => "flipped bytes",
            Self::Partition => "partition",
            Self::OneWayLoss => "one-way loss",
            Self::RandomLoss => "random loss",
            Self::Delay => "delay",
            Self::FullDisk => "full disk",
        }
    }

    /// Whether it needs a capsule: hosts, packet filters and disks of its own.
    pub(super) fn needs_capsule(self) -> bool {
        matches!(self, Self::Partition | Self::OneWayLoss | Self::RandomLoss | Self::FullDisk)
    }
}

/// So many kinds may be at once.
const KINDS_MAX: usize = 3;

/// A fault as it was drawn.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    pub(super) what: What,
    /// So long it lasts.
    pub(super) length: Duration,
}

/// Whom it hits, and how.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// These members.
    Members(Vec<usize>),
    /// This is lost.
    Losses(Losses),
    /// What others send to these members comes so much later.
    Late(Vec<usize>, Duration),
    /// The one disk that is small.
    Disk,
}

/// The cluster for which faults are drawn.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) members: usize,
    /// The member that leads, if one does.
    pub(super) leader: Option<usize>,
    /// The members whose files may be damaged now.
    pub(super) to_damage: &'a [usize],
}

/// The kinds that are possible, as a deck of cards: none comes a second time before all have come.
#[derive(Clone, Debug)]
pub(super) struct Deck {
    all: Vec<Kind>,
    left: Vec<Kind>,
}

impl Deck {
    pub(super) fn new(kinds: &[Kind]) -> Self {
        assert!(kinds.len() >= KINDS_MAX, "there are kinds enough for one moment");
        Self { all: kinds.to_vec(), left: Vec::new() }
    }

    /// Draws so many kinds, none of them twice.
    fn draw(&mut self, count: usize, dice: &mut Dice) -> Vec<Kind> {
        let mut drawn = Vec::new();
        while drawn.len() < count {
            if self.left.is_empty() {
                self.left.extend(self.all.iter().filter(|kind| !drawn.contains(*kind)));
                dice.shuffle(&mut self.left);
            }
            drawn.extend(self.left.pop());
        }
        drawn
    }
}

impl Target<'_> {
    /// Draws what happens at once: at most three kinds, none twice. Only one of them ends or stops
    /// processes of one member.
    pub(super) fn draw(&self, deck: &mut Deck, dice: &mut Dice) -> Vec<Fault> {
        let mut kinds = deck.draw(1 + dice.roll(KINDS_MAX as u64) as usize, dice);
        // Nobody may be damaged before he has healed.
        kinds.retain(|kind| *kind != Kind::Damage || !self.to_damage.is_empty());
        let mut free: Vec<usize> = (0..self.members).collect();
        kinds.sort_unstable_by_key(|kind| *kind != Kind::Damage);
        let mut faults = Vec::new();
        for kind in kinds {
            let what = match kind {
                Kind::Damage => {
                    let one = self.to_damage[dice.roll(self.to_damage.len() as u64) as usize];
                    What::Members(vec![one])
                }
                Kind::Kill | Kind::Hold => What::Members(self.victims(&free, dice)),
                Kind::Partition => What::Losses(self.partition(dice)),
                Kind::OneWayLoss => What::Losses(self.one_way(ALL, dice)),
                Kind::RandomLoss => What::Losses(self.lossy(dice)),
                Kind::Delay => {
                    let late = self.victims(&(0..self.members).collect::<Vec<_>>(), dice);
                    What::Late(late, Duration::from_millis(10 + dice.roll(400)))
                }
                Kind::FullDisk => What::Disk,
            };
            if let What::Members(members) = &what {
                free.retain(|member| !members.contains(member));
                if members.is_empty() {
                    continue;
                }
            }
            let length = Duration::from_millis(300 + dice.roll(2200));
            faults.push(Fault { kind, what, length });
        }
        faults
    }

    /// Some of these, the leader preferably; more than a minority in a quarter of the cases.
    fn victims(&self, free: &[usize], dice: &mut Dice) -> Vec<usize> {
        let most = if dice.roll(4) == 0 { self.members } else { (self.members - 1) / 2 };
        let count = 1 + dice.roll(most as u64) as usize;
        let mut victims = free.to_vec();
        dice.shuffle(&mut victims);
        if dice.roll(2) == 0 {
            victims.sort_by_key(|victim| Some(*victim) != self.leader);
        }
        victims.truncate(count);
        victims
    }

    /// Two halves, or one and the rest, or each for itself.
    fn partition(&self, dice: &mut Dice) -> Losses {
        let mut members: Vec<usize> = (0..self.members).collect();
        dice.shuffle(&mut members);
        if dice.roll(2) == 0 {
            members.sort_by_key(|member| Some(*member) != self.leader);
        }
        match dice.roll(5) {
            0 => lan::between(&members, &members),
            1 | 2 => lan::between(&members[..1], &members[1..]),
            _ => {
                let (few, most) = members.split_at((self.members - 1) / 2);
                lan::between(few, most)
            }
        }
    }

    /// From some to some others.
    fn one_way(&self, share: u64, dice: &mut Dice) -> Losses {
        let from = self.victims(&(0..self.members).collect::<Vec<_>>(), dice);
        let mut losses = Losses::new();
        for from in from {
            // To all others, or to some.
            let mut to: Vec<usize> = (0..self.members).filter(|to| *to != from).collect();
            dice.shuffle(&mut to);
            if dice.roll(2) == 0 {
                to.truncate(1 + dice.roll(to.len() as u64) as usize);
            }
            losses.extend(to.into_iter().map(|to| ((from, to), share)));
        }
        losses
    }

    /// A share of what goes from some to others, or of everything.
    fn lossy(&self, dice: &mut Dice) -> Losses {
        let share = ALL * (5 + dice.roll(36)) / 100;
        if dice.roll(2) == 0 {
            return self.one_way(share, dice);
        }
        let all: Vec<usize> = (0..self.members).collect();
        lan::between(&all, &all).into_keys().map(|way| (way, share)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_kind_comes_twice_before_all_have_come() {
        let (mut deck, mut dice) = (Deck::new(&Kind::ALL), Dice::new(7, 0));
        let mut drawn: Vec<Kind> = (0..8).flat_map(|_| deck.draw(2, &mut dice)).collect();
        let mut again = drawn.split_off(Kind::ALL.len());
        drawn.sort();
        again.sort();
        assert_eq!((&drawn[..], &again[..]), (&Kind::ALL[..], &Kind::ALL[..]));
        for _ in 0..100 {
            let kinds = deck.draw(3, &mut dice);
            assert_eq!(kinds.iter().collect::<BTreeSet<_>>().len(), 3, "{kinds:?}");
        }
    }

    #[test]
    fn all_kinds_are_drawn_and_no_member_falls_twice_at_once() {
        let mut seen = BTreeSet::new();
        let mut most = 0;
        for seed in 0..500 {
            let target =
                Target { members: 3 + 2 * (seed as usize % 2), leader: Some(1), to_damage: &[2] };
            let faults = target.draw(&mut Deck::new(&Kind::ALL), &mut Dice::new(seed, 0));
            most = most.max(faults.len());
            let mut fallen = BTreeSet::new();
            for fault in &faults {
                seen.insert(fault.kind);
                match &fault.what {
                    What::Members(members) => {
                        assert!(members.iter().all(|member| fallen.insert(*member)), "{faults:?}");
                        assert!(fault.kind != Kind::Damage || members == &[2], "{faults:?}");
                    }
                    What::Losses(losses) => {
                        let in_range = |at: usize| at < target.members;
                        assert!(!losses.is_empty(), "{faults:?}");
                        assert!(
                            losses.iter().all(|((from, to), share)| from != to
                                && in_range(*from)
                                && in_range(*to)
                                && (1..=ALL).contains(share)),
                            "{faults:?}"
                        );
                    }
                    What::Late(members, _) => assert!(!members.is_empty(), "{faults:?}"),
                    What::Disk => assert_eq!(fault.kind, Kind::FullDisk),
                }
            }
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), Kind::ALL);
        assert_eq!(most, 3);
    }
}
