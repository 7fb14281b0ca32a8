//! How regularly a peer speaks, and how suspicious its silence is.
//!
//! The level of suspicion is that of Hayashibara, Défago, Yared and Katayama, "The φ accrual failure
//! detector" (SRDS 2004): with the intervals between messages taken as normally distributed,
//!
//! ```text
//! phi = -log10 P(an interval is longer than the present silence)
//! ```
//!
//! so that to suspect at phi 1 is wrong one time in ten, at phi 3 one time in a thousand, as far as
//! intervals are normally distributed. On a busy machine they are not, which is why phi alone gives no
//! verdict (see `detector.rs`).
//!
//! All of it is in integers. `core` has neither logarithm nor exponential, and what a processor or a
//! library makes of the last bit must not decide anything that a seed is to replay. The tail of the
//! normal distribution is a table, read with linear interpolation; it is true to a hundredth.

use alloc::collections::VecDeque;
use core::time::Duration;

/// So many intervals are remembered, the latest ones: with a heartbeat each 100 ms the last 100 s. Fewer
/// forget the bad moments of a noisy host before the next one comes (`accuracy.rs`).
const WINDOW: usize = 1_000;

/// An interval counts as at most so many times the expected one. A longer one is an outage and not a
/// rhythm, and must not keep the next outage from being seen.
const LONGEST: u32 = 8;

/// An interval counts from this part of the expected one on. Whoever writes a lot speaks far more often
/// than it is asked to; if that were its rhythm, the end of the burst would look like its end.
const SHORTEST: u32 = 2;

/// The deviation is at least this part of the expected interval. In a quiet network it is close to
/// nothing, and then a message that is a millisecond late would be a sensation.
const STEADIEST: u32 = 8;

/// A level of suspicion, in thousandths. Ascending from 0; [`Phi::MAX`] stands for all above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Phi(pub u32);

impl Phi {
    /// The largest level that is told from larger ones: a silence that regular intervals would have once
    /// in 10^24.
    pub const MAX: Self = Self(TAIL[TAIL.len() - 1]);

    /// The level of a whole number.
    pub(super) const fn of(whole: u32) -> Self {
        Self(whole * 1000)
    }
}

/// The intervals between the messages of a peer.
#[derive(Clone, Debug)]
pub(super) struct Rhythm {
    /// The latest ones, in microseconds.
    intervals: VecDeque<u32>,
    sum: u64,
    /// The sum of their squares. A thousand squares of 32 bits do not fit 64.
    sum_of_squares: u128,
    /// What they come to.
    estimate: Option<Estimate>,
}

/// What a rhythm says of a silence: all that [`Estimate::phi`] needs, small enough to be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Estimate {
    /// The mean of the intervals; at least what was agreed on, never 0.
    mean: Duration,
    /// Their standard deviation, never 0.
    deviation: Duration,
}

impl Rhythm {
    pub(super) fn new() -> Self {
        Self { intervals: VecDeque::new(), sum: 0, sum_of_squares: 0, estimate: None }
    }

    /// Takes note of an interval between two messages, where one was `expected` after so long.
    pub(super) fn note(&mut self, interval: Duration, expected: Duration) {
        if interval < expected / SHORTEST {
            return;
        }
        let interval = interval.min(expected.saturating_mul(LONGEST));
        let micros = u32::try_from(interval.as_micros()).unwrap_or(u32::MAX);
        if self.intervals.len() == WINDOW {
            let oldest = self.intervals.pop_front().expect("the window is full");
            self.sum -= u64::from(oldest);
            self.sum_of_squares -= square(oldest);
        }
        self.intervals.push_back(micros);
        self.sum += u64::from(micros);
        self.sum_of_squares += square(micros);
        self.estimate = Some(self.calculate(expected));
    }

    /// What the intervals come to, where one is `expected` to be so long.
    pub(super) fn estimate(&self, expected: Duration) -> Estimate {
        // Nothing is known at first. The first messages find connections to be made and disks cold.
        let unknown = || Estimate::at_least(expected, expected / 4, expected);
        self.estimate.unwrap_or_else(unknown)
    }

    fn calculate(&self, expected: Duration) -> Estimate {
        let count = u64::try_from(self.intervals.len()).expect("the window is small");
        // The variance of the whole window: E[x²] - E[x]², with one division, rounded down.
        let squares = self.sum_of_squares * u128::from(count);
        let square = u128::from(self.sum) * u128::from(self.sum);
        let variance = (squares - square) / u128::from(count * count);
        let deviation = u64::try_from(variance.isqrt()).unwrap_or(u64::MAX);
        let mean = Duration::from_micros(self.sum / count);
        Estimate::at_least(mean, Duration::from_micros(deviation), expected)
    }
}

fn square(micros: u32) -> u128 {
    u128::from(micros) * u128::from(micros)
}

impl Estimate {
    /// The estimate, and what it is at the least.
    fn at_least(mean: Duration, deviation: Duration, expected: Duration) -> Self {
        let nanosecond = Duration::from_nanos(1);
        let deviation = deviation.max(expected / STEADIEST).max(nanosecond);
        Self { mean: mean.max(expected).max(nanosecond), deviation }
    }

    /// How suspicious a silence of this length is.
    pub(crate) fn phi(&self, silence: Duration) -> Phi {
        let (mean, deviation) = (nanos(self.mean), nanos(self.deviation));
        // In thousandths of a deviation, from -2 deviations on, below which nothing is suspicious.
        let above = i128::from(nanos(silence)) - i128::from(mean);
        let distance = above * 1000 / i128::from(deviation) + 2000;
        let Ok(distance) = u64::try_from(distance) else {
            return if distance < 0 { Phi(0) } else { Phi::MAX };
        };
        let Ok(at) = usize::try_from(distance / STEP) else { return Phi::MAX };
        let Some(next) = TAIL.get(at + 1) else { return Phi::MAX };
        let part = u32::try_from(distance % STEP).expect("a step is small");
        let step = u32::try_from(STEP).expect("a step is small");
        Phi(TAIL[at] + (next - TAIL[at]) * part / step)
    }

    /// How many messages should have come in a silence of this length.
    pub(super) fn rounds(&self, silence: Duration) -> u64 {
        nanos(silence) / nanos(self.mean)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The distance between two entries of [`TAIL`], in thousandths of a deviation.
const STEP: u64 = 250;

/// -1000 · log10 Q(y) at y = -2, -1.75, …, 10.25, where Q is the upper tail of the standard normal
/// distribution. Between two entries the curve is at most 0.004 below the line that joins them.
const TAIL: [u32; 50] = [
    10, 18, 30, 48, 75, 112, 160, 223, 301, 397, 511, 645, 800, 976, 1175, 1397, 1643, 1913, 2207,
    2526, 2870, 3239, 3633, 4053, 4499, 4971, 5469, 5993, 6543, 7119, 7721, 8350, 9006, 9688,
    10396, 11131, 11893, 12681, 13496, 14338, 15206, 16101, 17023, 17972, 18947, 19950, 20979,
    22035, 23118, 24228,
];

#[cfg(test)]
pub(super) mod tests {
    extern crate std;

    use std::vec::Vec;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// -log10 of the upper tail of the normal distribution at `y`, by Simpson's rule on the integral of
    /// exp(-(y u + u²/2)) over u, which is the tail without its largest factor.
    pub(in crate::detector) fn exact_phi(y: f64) -> f64 {
        let steps = 1_000;
        let end = 12.0 - y.min(0.0);
        let h = end / f64::from(steps);
        let f = |u: f64| (-(y * u + u * u / 2.0)).exp();
        let inner: f64 =
            (1..steps).map(|i| f(f64::from(i) * h) * if i % 2 == 0 { 2.0 } else { 4.0 }).sum();
        let integral = (f(0.0) + f(end) + inner) * h / 3.0;
        let ln_tail = -y * y / 2.0 - (std::f64::consts::TAU).sqrt().ln() + integral.ln();
        -ln_tail / std::f64::consts::LN_10
    }

    #[test]
    fn the_reference_knows_the_normal_distribution() {
        for (y, tail) in [(0.0_f64, 0.5_f64), (1.0, 0.158_655_25), (3.0, 0.001_349_898)] {
            assert!((exact_phi(y) + tail.log10()).abs() < 1e-6, "{y}");
        }
    }

    proptest! {
        #[test]
        fn phi_is_that_of_the_normal_distribution(
            mean in 1_000_000..10_000_000_000_u64,
            deviation in 1_000_000..10_000_000_000_u64,
            y in -4.0..12.0_f64,
        ) {
            let silence = mean as f64 + y * deviation as f64;
            prop_assume!(silence >= 0.0);
            let estimate = Estimate {
                mean: Duration::from_nanos(mean),
                deviation: Duration::from_nanos(deviation),
            };
            let phi = estimate.phi(Duration::from_nanos(silence as u64));
            let exact = exact_phi(y).min(f64::from(Phi::MAX.0) / 1000.0);
            prop_assert!((f64::from(phi.0) / 1000.0 - exact).abs() < 0.011, "{phi:?} {exact}");
        }

        /// The sums that are kept come to what the last intervals of a list come to.
        #[test]
        fn a_window_is_the_end_of_a_list(
            intervals in vec(0..40_000_000_u64, 0..2_500),
            expected in 1_000..10_000_000_u64,
        ) {
            let expected = Duration::from_micros(expected);
            let mut rhythm = Rhythm::new();
            for interval in &intervals {
                rhythm.note(Duration::from_micros(*interval), expected);
            }
            let taken: Vec<f64> = intervals
                .iter()
                .map(|interval| Duration::from_micros(*interval))
                .filter(|interval| *interval >= expected / SHORTEST)
                .map(|interval| interval.min(expected * LONGEST).as_secs_f64())
                .collect();
            let taken = &taken[taken.len().saturating_sub(WINDOW)..];
            prop_assert_eq!(rhythm.intervals.len(), taken.len());
            let Estimate { mean, deviation } = rhythm.estimate(expected);
            if taken.is_empty() {
                prop_assert_eq!(mean, expected);
                return Ok(());
            }
            let count = taken.len() as f64;
            let exact_mean = taken.iter().sum::<f64>() / count;
            let variance = taken.iter().map(|x| (x - exact_mean).powi(2)).sum::<f64>() / count;
            let exact_mean = exact_mean.max(expected.as_secs_f64());
            let exact_deviation = variance.sqrt().max((expected / STEADIEST).as_secs_f64());
            prop_assert!((mean.as_secs_f64() - exact_mean).abs() < 3e-6);
            prop_assert!((deviation.as_secs_f64() - exact_deviation).abs() < 3e-6);
        }

        /// A longer silence is never less suspicious, whatever the numbers.
        #[test]
        fn suspicion_grows(
            mean in 1..=u64::MAX,
            deviation in 1..=u64::MAX,
            silences in any::<(u64, u64)>(),
        ) {
            let estimate = Estimate {
                mean: Duration::from_nanos(mean),
                deviation: Duration::from_nanos(deviation),
            };
            let (a, b) = silences;
            let phi = |silence| estimate.phi(Duration::from_nanos(silence));
            prop_assert!(phi(a.min(b)) <= phi(a.max(b)));
            prop_assert!(phi(u64::MAX) <= Phi::MAX);
        }
    }

    #[test]
    fn a_burst_is_no_rhythm() {
        let expected = Duration::from_millis(100);
        let mut rhythm = Rhythm::new();
        for _ in 0..10_000 {
            rhythm.note(Duration::from_micros(50), expected);
        }
        assert_eq!(rhythm.estimate, None);
    }
}
