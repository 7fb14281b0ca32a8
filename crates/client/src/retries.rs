//! How often somebody tries again, and how long they wait before that.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// How often [`update`](crate::update) tries, and how it waits in between: each time for a random part of a pause
/// that doubles. Chance keeps apart those who met once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// So many attempts are made, at least one.
    pub attempts_max: u32,
    /// The longest that is waited before the second attempt.
    pub pause: Duration,
    /// The longest that is waited before any attempt.
    pub pause_max: Duration,
}

impl Default for Retries {
    /// 32 attempts, with pauses from 2 ms to half a second: some ten seconds in all, if everybody else is always
    /// faster.
    fn default() -> Self {
        let (pause, pause_max) = (Duration::from_millis(2), Duration::from_millis(500));
        Self { attempts_max: 32, pause, pause_max }
    }
}

impl Retries {
    /// The longest pause after so many attempts.
    fn longest(&self, attempts: u32) -> Duration {
        let doubled = attempts.saturating_sub(1).min(31);
        self.pause.saturating_mul(1 << doubled).min(self.pause_max)
    }

    /// Waits before the next attempt, after so many.
    pub(crate) async fn wait(&self, attempts: u32) {
        // The seeds of a new hasher are chance enough for this.
        let part = (RandomState::new().hash_one(attempts) >> 40) as f64 / (1_u64 << 24) as f64;
        tokio::time::sleep(self.longest(attempts).mul_f64(part)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let retries = Retries::default();
        let longest = |attempts| retries.longest(attempts).as_millis();
        assert_eq!(
            [1, 2, 3, 8, 9, 10, 32, u32::MAX].map(longest),
            [2, 4, 8, 256, 500, 500, 500, 500]
        );
    }
}
