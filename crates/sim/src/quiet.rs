//! Groups that may fall quiet, and clients that leave them the time to.
//!
//! A group whose clients never rest is never quiet. So in runs of this kind all clients pause together again and
//! again, for long enough to fall asleep in, and go on while it sleeps, or while something is wrong with it.

use std::time::Duration;

use crate::chance::Chance;

/// How a run has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quiet {
    /// After how long an idle group is quiet.
    pub after: Duration,
    /// How often clients pause together.
    pub every: Duration,
    /// How long they pause.
    pub lull: Duration,
}

/// Tells the source of these options from that of all else.
const QUIET: u64 = 0x71_7569_6574;

/// Of a thousand seeds, in how many groups may fall quiet.
const QUIET_PER_MILLE: u64 = 300;

impl Quiet {
    /// Those of a seed, if it has any.
    #[must_use]
    pub fn of_seed(seed: u64, heartbeat: Duration, election_timeout: Duration) -> Option<Self> {
        let mut chance = Chance::new(seed ^ QUIET);
        if !chance.per_mille(QUIET_PER_MILLE) {
            return None;
        }
        let after = heartbeat * *chance.pick(&[0, 1, 5]);
        let lull = after + heartbeat * 4 + election_timeout * *chance.pick(&[0, 2, 8]);
        Some(Self { after, every: lull + election_timeout * *chance.pick(&[1, 3, 10]), lull })
    }

    /// How long the pause goes on that this moment is in, if it is in one.
    #[must_use]
    pub fn pause_left(&self, now: Duration) -> Option<Duration> {
        let into = Duration::from_nanos((now.as_nanos() % self.every.as_nanos()) as u64);
        self.lull.checked_sub(into).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_pause_at_the_beginning_of_each_period() {
        let ms = Duration::from_millis;
        let quiet = Quiet { after: ms(10), every: ms(100), lull: ms(40) };
        assert_eq!(quiet.pause_left(ms(0)), Some(ms(40)));
        assert_eq!(quiet.pause_left(ms(139)), Some(ms(1)));
        assert_eq!(quiet.pause_left(ms(140)), None);
        assert_eq!(quiet.pause_left(ms(199)), None);
    }

    #[test]
    fn some_seeds_have_it() {
        let ms = Duration::from_millis;
        let of_seed = |seed| Quiet::of_seed(seed, ms(20), ms(100));
        let count = (0..1_000).filter_map(of_seed).count();
        assert!((250..350).contains(&count), "{count}");
        assert!((0..1_000).filter_map(of_seed).all(|quiet| quiet.lull < quiet.every));
    }
}
