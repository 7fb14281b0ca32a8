//! A bucket of tokens. It knows no clock: time is told.

use std::time::Duration;

use quorate_raft::Time;

/// A token in the units in which they are counted: a second of one a second, in nanoseconds.
const TOKEN: u128 = 1_000_000_000;

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How often in a second, 1 or more.
    pub per_second: u32,
    /// How often at once, after a rest that was long enough; 1 or more.
    pub burst: u32,
}

/// What is left of a rate at a time. So many pass, from any moment on, as the burst and the time since then times the
/// rate are together, and as few are refused as that allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// In parts of tokens.
    level: u128,
    /// When it was at that level.
    at: Time,
}

impl Bucket {
    /// One that nothing was taken from.
    pub(super) fn full(rate: Rate, now: Time) -> Self {
        Self { level: u128::from(rate.burst) * TOKEN, at: now }
    }

    /// Fills it up to a moment. One that is earlier than the last changes nothing.
    fn fill(&mut self, rate: Rate, now: Time) {
        let nanos: Duration = now.since(self.at);
        let gained = nanos.as_nanos() * u128::from(rate.per_second);
        self.level = (self.level + gained).min(u128::from(rate.burst) * TOKEN);
        self.at = self.at.max(now);
    }

    /// Whether so many tokens are in it. What is more than the burst is taken for the burst, or it would never pass.
    pub(super) fn has(&mut self, rate: Rate, tokens: u32, now: Time) -> bool {
        self.fill(rate, now);
        self.level >= Self::parts(rate, tokens)
    }

    /// Takes so many, which are in it.
    pub(super) fn take(&mut self, rate: Rate, tokens: u32) {
        self.level -= Self::parts(rate, tokens);
    }

    /// Whether it is as if nothing had ever been taken from it.
    pub(super) fn is_full(&mut self, rate: Rate, now: Time) -> bool {
        self.has(rate, rate.burst, now)
    }

    fn parts(rate: Rate, tokens: u32) -> u128 {
        u128::from(tokens.min(rate.burst)) * TOKEN
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pass(bucket: &mut Bucket, rate: Rate, tokens: u32, now: Time) -> bool {
        let passes = bucket.has(rate, tokens, now);
        if passes {
            bucket.take(rate, tokens);
        }
        passes
    }

    #[test]
    fn a_burst_passes_and_then_one_at_a_time() {
        let rate = Rate { per_second: 2, burst: 3 };
        let at = |millis: u64| Time(millis * 1_000_000);
        let mut bucket = Bucket::full(rate, at(0));
        let mut passes = |tokens, now| pass(&mut bucket, rate, tokens, now);
        assert!(passes(1, at(0)) && passes(2, at(0)));
        assert!(!passes(1, at(0)) && !passes(1, at(499)));
        assert!(passes(1, at(500)) && !passes(1, at(500)));
        assert!(!passes(1, at(400)), "time that goes back gives nothing");
        assert!(passes(1, at(1000)));
        // A long rest is worth a burst and no more, and so is whatever costs more.
        assert!(passes(100, at(1_000_000)) && !passes(1, at(1_000_000)));
        assert!(!passes(4, at(1_001_499)) && passes(4, at(1_001_500)));
    }

    proptest! {
        /// By the definition: something passes if, from each moment on at which something passed, there is room for it
        /// in the burst and what that time is worth; and if it is no more than the burst.
        #[test]
        fn it_passes_what_the_definition_lets_pass(
            per_second in 1..20_u32,
            burst in 1..10_u32,
            steps in prop::collection::vec((0..1_500_u64, 1..12_u32), 1..100),
        ) {
            let rate = Rate { per_second, burst };
            let mut bucket = Bucket::full(rate, Time(0));
            let mut passed: Vec<(u64, u128)> = Vec::new();
            let mut millis = 0;
            for (pause, tokens) in steps {
                millis += pause % 700;
                let cost = u128::from(tokens.min(burst));
                let fits_since = |at: usize| {
                    let since = passed[at].0;
                    let used: u128 = passed[at..].iter().map(|(_, cost)| cost).sum();
                    let worth = u128::from(burst) * 1000
                        + u128::from(millis - since) * u128::from(per_second);
                    (used + cost) * 1000 <= worth
                };
                let expected = (0..passed.len()).all(fits_since);
                let now = Time(millis * 1_000_000);
                prop_assert_eq!(pass(&mut bucket, rate, tokens, now), expected, "at {} ms", millis);
                if expected {
                    passed.push((millis, cost));
                }
            }
        }
    }
}
