//! Draws from the seed, in the shapes that a simulation needs.

use std::time::Duration;

use quorate_raft::rng::Rng;

/// A source of decisions. Two with the same seed decide alike for ever, on every machine.
#[derive(Clone, Debug)]
pub struct Chance(Rng);

impl Chance {
    /// The decisions of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Rng::new(seed))
    }

    /// An independent source. Parts of the world that draw from sources of their own don't disturb
    /// one another when one of them draws more often than before.
    pub fn fork(&mut self) -> Self {
        Self::new(self.0.number())
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0.number()
    }

    /// A number in `[0, bound)`; 0 if there is none.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    /// A number in `[least, most]`.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        assert!(least <= most, "no number is in [{least}, {most}]");
        least + self.0.below((most - least).saturating_add(1))
    }

    /// A position in a list of this length.
    pub fn position(&mut self, length: usize) -> usize {
        assert!(length > 0, "an empty list has no positions");
        usize::try_from(self.0.below(length as u64)).expect("it is below a usize")
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.position(list.len())]
    }

    /// True this many times in a thousand.
    pub fn per_mille(&mut self, rate: u64) -> bool {
        self.0.below(1_000) < rate
    }

    /// A time in `[least, most]`, in steps of a nanosecond.
    pub fn duration(&mut self, least: Duration, most: Duration) -> Duration {
        Duration::from_nanos(self.between(nanos(least), nanos(most)))
    }

    /// A time with a long tail around a mean: the sum of a geometric number of equal steps. Close to
    /// an exponential distribution, and drawn in integers, since floating-point logarithms differ
    /// from machine to machine.
    pub fn long_tailed(&mut self, mean: Duration) -> Duration {
        const STEPS: u64 = 8;
        let mean = nanos(mean);
        let (step, most) = (mean / STEPS, mean.saturating_mul(10));
        let mut total = self.between(0, step);
        while total < most && self.0.below(STEPS + 1) != 0 {
            total += step;
        }
        Duration::from_nanos(total)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_tailed_times_have_about_their_mean_and_a_tail() {
        let mut chance = Chance::new(1);
        let mean = Duration::from_millis(8);
        let times: Vec<Duration> = (0..10_000).map(|_| chance.long_tailed(mean)).collect();
        let average = times.iter().sum::<Duration>() / 10_000;
        assert!(average > mean * 9 / 10 && average < mean * 12 / 10, "{average:?}");
        let late = times.iter().filter(|time| **time > mean * 3).count();
        assert!((200..1_000).contains(&late), "{late} of 10000 took three times as long");
    }

    #[test]
    fn a_seed_decides_alike() {
        let draw = |seed| {
            let mut chance = Chance::new(seed);
            (0..100).map(|_| chance.between(3, 9)).collect::<Vec<_>>()
        };
        assert_eq!(draw(5), draw(5));
        assert_ne!(draw(5), draw(6));
        assert!(draw(5).iter().all(|number| (3..=9).contains(number)));
    }
}
