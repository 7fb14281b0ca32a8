//! Where chance comes from in the checks: from a seed that is told, so that a run can be had again, as far
//! as real processes do the same twice.

/// xorshift64*.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Dice for one of several uses of a seed. Neighbouring seeds and uses have nothing in common, from the
    /// first number on: both are mixed (splitmix64) before they are the state.
    pub(crate) fn new(seed: u64, what_for: u64) -> Self {
        let mix = |number: u64| {
            let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        };
        // The state of this generator is never zero.
        Self(mix(mix(seed) ^ what_for) | 1)
    }

    /// A number below `sides`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % sides.max(1)
    }

    /// Dice of their own for a part of the work, so that it does not matter how often others roll theirs.
    pub(crate) fn split(&mut self) -> Self {
        Self::new(self.roll(u64::MAX), 0)
    }

    /// Brings things into an order, each as likely as any other.
    pub(crate) fn shuffle<T>(&mut self, things: &mut [T]) {
        for at in (1..things.len()).rev() {
            things.swap(at, self.roll(at as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn neighbours_begin_with_different_numbers() {
        let first = |seed, what_for| Dice::new(seed, what_for).roll(u64::MAX);
        let all: BTreeSet<u64> =
            (0..100).flat_map(|seed| (0..10).map(move |what_for| first(seed, what_for))).collect();
        assert_eq!(all.len(), 1_000);
        let even = (0..1_000).filter(|seed| Dice::new(*seed, 0).roll(2) == 0).count();
        assert!((400..600).contains(&even), "{even} of 1,000");
    }

    #[test]
    fn every_order_comes() {
        let mut dice = Dice::new(7, 0);
        let mut seen = BTreeSet::new();
        for _ in 0..200 {
            let mut things = [1, 2, 3];
            dice.shuffle(&mut things);
            seen.insert(things);
        }
        assert_eq!(seen.len(), 6);
    }
}
