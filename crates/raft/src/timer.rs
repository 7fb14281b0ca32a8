//! When to wake up: the election timeout and its policies.
//!
//! The core has deadlines and no ticks. An election timeout has three uses, which belong together: a follower
//! waits for it before it campaigns (Raft §5.2); a voter that heard from a leader within it refuses to help
//! depose that leader (thesis §4.2.3); and a leader that has not heard from a quorum for as long gives up (thesis
//! §6.2). An [`ElectionPolicy`] says how long the first two are. `T` is the configured election timeout.
//!
//! ```text
//!              a leader was heard:                 nobody leads:
//!              waits from [min, min + spread)      waits from [min, min + spread)
//!  Fixed       T                  T                T                    T
//!  Backoff     T                  T                T                    T · 2^splits, up to 4T
//!  Adaptive    max(2h, h + 2q)    4e + q           (h + 2e) · 2^splits  (4e + q) · 2^splits
//!              each of them at most T, and all of them T while too little is known
//!
//!  h  the heartbeat interval
//!  e  what a step of an election takes: a round trip and a sync, each as mean + 4 deviations
//!  q  the worst stall of the last hour, beyond what was promised
//! ```
//!
//! # What adaptive measures
//! - **Stalls**, which decide when silence means death. A leader promises a word for each heartbeat interval. By
//!   how much it was late, at the worst, is what its followers forgive twice over. A member also knows its own
//!   stalls exactly, by the deadline that it has missed; and these are what the others will have to forgive
//!   when it leads. So each says in its answers to heartbeats what it has seen, and the leader tells everybody
//!   the worst of it (`pulse.rs`). A leader that was deposed because it stalled for a moment brings the group
//!   that news itself.
//! - **Round trips**, measured by the leader and told by it, and **syncs**, measured by each member at its own
//!   disk. They decide how long an election takes, and so how far apart campaigns must be drawn to meet seldom,
//!   and how soon one that came to nothing is worth a second.
//!
//! What was measured outlives the term, for it is about hosts and the network; a leader is trusted to be as
//! those before it once it was heard for [`LED_MIN`] heartbeats, and until then, and after a restart, the timeout
//! is the configured one. The least wait, the floor, is two heartbeats: one of them may be late or lost. A member
//! whose timer went off late was itself away: the words of its leader may lie unread. It gives itself one more
//! heartbeat, once. And who would vote for somebody steps back for as long as that election takes, once: the
//! time in which two campaigns can meet is then that of one message, and not of three and a sync.
//!
//! # Why members may differ
//! The members do not agree on a number, and need not: no rule of safety asks how long anybody waited. What is left
//! to show is that nobody is disturbed, and nobody stuck.
//!
//! - *A member with a shorter timeout than the others* asks them first (a preliminary campaign changes
//!   nobody's term), and those who are loyal for longer refuse. It asks again, not faster than once in a heartbeat.
//!   Refusals move nobody's timer, so it keeps nobody from campaigning; and as it is loyal to nobody meanwhile, it
//!   votes for whoever comes next. Its leader, if alive, speaks within a heartbeat and binds it again.
//! - *A member with a longer one* votes later, not never: its loyalty ends no later than its own campaign begins,
//!   and none lasts longer than `T` of its own configuration. So with a dead leader a quorum is free
//!   after the longest `T` of it, as with the fixed policy, whatever was measured by anybody.
//! - *The leader's own check* (`leader.rs`) takes `T`, whatever the policy. To end it sooner would win nothing:
//!   followers do not wait for it, and what it says after their election is stale. To end it too soon would
//!   depose a leader whose quorum is slow, or stalls: nothing that it measures in one direction
//!   tells it how late an answer may be. The same goes for a transfer of leadership and for reads on their way to the
//!   leader.
//! - *Disks* are judged by `T` too (`Core::disk_stands`, `Leader::check_disk`). A disk that has not
//!   finished anything for two heartbeats is slow and not dead, and to fall silent for it would turn one slow sync
//!   into an election.
//! - *A wrong measurement* is worth at most what it can do between the floor and `T`, and what comes from
//!   another member is no more than that either. A campaign that is tried again too soon for its answers to arrive
//!   doubles its wait each time, until it is the fixed policy's.
//!
//! # What a lease of the leader needs
//! A *fixed* promise. The loyalty of a voter may fall with one heartbeat from `T` to much less, and the leader
//! does not know of it; and a restart forgets whom a member was loyal to, under any policy. So promises are something
//! else (`lease.rs`). They are asked for as long as the floor of the leader's policy, below which no
//! loyalty goes ([`ElectionTimer::floor`]), so they bind nobody for longer than its loyalty where all are configured
//! alike.

pub(crate) mod asleep;

use core::time::Duration;

use quorate_planted::planted;

use crate::measure::{Estimate, Peak};
use crate::message::Pace;
use crate::rng::Rng;
use crate::types::Time;

/// How long a member waits before it campaigns, and is loyal before. See the table at the head of `timer.rs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ElectionPolicy {
    /// From one to two election timeouts, always (Raft §5.2; etcd).
    Fixed,
    /// The same, and the range above the least wait doubles with each split vote, up to fourfold.
    Backoff,
    /// As long as what was measured says: not less than two heartbeats, and not longer than with
    /// [`ElectionPolicy::Fixed`].
    #[default]
    Adaptive,
}

/// The floor of the adaptive policy, in heartbeat intervals: one heartbeat may be lost, or late by as much as the
/// next one takes to come. No configuration has an election timeout that is shorter.
const FLOOR: u32 = 2;

/// A leader is not trusted to be as those before it until it was heard for so many heartbeat intervals.
const LED_MIN: u32 = 5;

/// With back-off, the range is at most two to this power times what it was. Wider, and a majority that can elect
/// somebody would wait for longer than it takes to notice that nobody leads.
const SPLITS_MAX: u32 = 2;

/// Measured times are doubled up to here, which leaves none of them below the configured one.
const SPLITS_MAX_MEASURED: u32 = 10;

/// The election timer of one member. The random part is drawn anew for each campaign and each term
/// followed, not for each heartbeat.
#[derive(Clone, Debug)]
pub(crate) struct ElectionTimer {
    policy: ElectionPolicy,
    minimum: Duration,
    heartbeat: Duration,
    rng: Rng,
    /// Where in the range the wait lies, as if the range were `T` long: in `[0, T)`.
    drawn: Duration,
    deadline: Time,
    /// How many campaigns in a row came to nothing.
    splits: u32,
    /// When the leader of the present term was heard first and last.
    heard: Option<(Time, Time)>,
    /// Whether it waits for that leader: it has not campaigned since.
    is_led: bool,
    /// Whether it has given itself time since a leader was heard, as it had been away.
    has_rested: bool,
    /// Whether it has stepped back for a candidate since a leader was heard or since it campaigned.
    has_yielded: bool,
    /// What the writes of this member take.
    sync: Estimate,
    /// The stalls that this member has seen, its own and those of leaders.
    stalls: Peak,
    /// What the last leader said of the group, or this member when it led.
    pace: Option<Pace>,
}

impl ElectionTimer {
    /// A timer that knows nothing, and goes off between one and two minimum timeouts from now.
    pub(crate) fn new(
        policy: ElectionPolicy,
        heartbeat: Duration,
        minimum: Duration,
        seed: u64,
        now: Time,
    ) -> Self {
        let mut timer = Self {
            policy,
            minimum,
            heartbeat,
            rng: Rng::new(seed),
            drawn: Duration::ZERO,
            deadline: Time::NEVER,
            splits: 0,
            heard: None,
            is_led: false,
            has_rested: false,
            has_yielded: false,
            sync: Estimate::default(),
            stalls: Peak::default(),
            pace: None,
        };
        timer.redraw(now);
        timer
    }

    // ---- The wait --------------------------------------------------------------------------

    /// Draws a new place in the range, and starts.
    pub(crate) fn redraw(&mut self, now: Time) {
        let range = u64::try_from(self.minimum.as_nanos()).unwrap_or(u64::MAX);
        let range = if planted!(ElectionsInStep) { 1 } else { range };
        self.drawn = Duration::from_nanos(self.rng.below(range));
        self.restart(now);
    }

    /// Starts the drawn timeout again.
    pub(crate) fn restart(&mut self, now: Time) {
        let (least, spread) = self.range();
        self.deadline = now + least.saturating_add(self.share_of(spread));
    }

    /// Goes off at once.
    pub(crate) fn expire(&mut self, now: Time) {
        self.deadline = now;
    }

    /// When the timer goes off.
    pub(crate) fn deadline(&self) -> Time {
        self.deadline
    }

    /// The configured election timeout `T`.
    pub(crate) fn minimum(&self) -> Duration {
        self.minimum
    }

    /// How long the configuration says that it waits.
    pub(crate) fn policy(&self) -> ElectionPolicy {
        self.policy
    }

    /// How long a voter is loyal to a leader after its last word: as long as it would wait for it itself, at
    /// least, so that nobody who can't be elected is kept waiting by somebody who does not campaign.
    pub(crate) fn loyalty(&self) -> Duration {
        if planted!(LoyaltyAsConfigured) {
            return self.minimum;
        }
        self.led_range().0
    }

    /// What no loyalty of this policy falls below, whatever is measured.
    pub(crate) fn floor(&self) -> Duration {
        match self.policy {
            ElectionPolicy::Fixed | ElectionPolicy::Backoff => self.minimum,
            ElectionPolicy::Adaptive => self.heartbeat.saturating_mul(FLOOR).min(self.minimum),
        }
    }

    /// The least wait and the width of the range above it.
    fn range(&self) -> (Duration, Duration) {
        if self.is_led { self.led_range() } else { self.leaderless_range() }
    }

    fn led_range(&self) -> (Duration, Duration) {
        let known = self.heard.is_some_and(|(first, last)| {
            last.since(first) >= self.heartbeat.saturating_mul(LED_MIN)
        });
        match (self.policy, self.measured()) {
            (ElectionPolicy::Adaptive, Some(measured)) if known => {
                let floor = if planted!(TimeoutWithoutFloor) { 0 } else { FLOOR };
                let floor = self.heartbeat.saturating_mul(floor);
                let late = self.heartbeat.saturating_add(measured.stall.saturating_mul(2));
                (floor.max(late).min(self.minimum), self.spread(measured))
            }
            _ => (self.minimum, self.minimum),
        }
    }

    fn leaderless_range(&self) -> (Duration, Duration) {
        let most = self.minimum;
        let widened = |times: u32| most.saturating_mul(1 << times.min(SPLITS_MAX));
        match (self.policy, self.measured()) {
            (ElectionPolicy::Fixed, _) => (most, most),
            (ElectionPolicy::Adaptive, Some(measured)) => {
                // Whoever leads by now speaks within a heartbeat.
                let least = self.heartbeat.saturating_add(measured.step.saturating_mul(2));
                let times = 1 << self.splits.min(SPLITS_MAX_MEASURED);
                let spread = self.spread(measured).saturating_mul(times);
                (least.saturating_mul(times).min(most), spread.min(most))
            }
            (ElectionPolicy::Backoff | ElectionPolicy::Adaptive, _) => (most, widened(self.splits)),
        }
    }

    /// Far enough apart for campaigns to meet seldom: several of the steps that one takes, and as much as one
    /// of the hosts may stall amid them. Never below what timers on a busy host are worth.
    fn spread(&self, measured: Measured) -> Duration {
        let spread = measured.step.saturating_mul(4).saturating_add(measured.stall);
        spread.max(self.heartbeat / 4).min(self.minimum)
    }

    /// The drawn part of a range.
    fn share_of(&self, spread: Duration) -> Duration {
        if spread == self.minimum {
            return self.drawn;
        }
        let share = spread.as_nanos().saturating_mul(self.drawn.as_nanos());
        let share = share / self.minimum.as_nanos().max(1);
        Duration::from_nanos(u64::try_from(share).unwrap_or(u64::MAX))
    }

    // ---- What happens ----------------------------------------------------------------------

    /// The leader of the present term has shown that it lives.
    pub(crate) fn heard(&mut self, now: Time) {
        let (first, last) = self.heard.unwrap_or((now, now));
        self.stalls.add(now, now.since(last).saturating_sub(self.heartbeat));
        self.heard = Some((first, now));
        self.is_led = true;
        self.has_rested = false;
        self.has_yielded = false;
        if self.splits > 0 && !planted!(BackoffNeverEnds) {
            self.splits = 0;
            self.redraw(now);
        }
        self.restart(now);
    }

    /// This member had no timer for a while, as it was quiet: nobody's silence counts, and it waits as it would
    /// have when the leader was heard last.
    pub(crate) fn woke(&mut self, now: Time) {
        if let Some((_, last)) = &mut self.heard {
            *last = now;
        }
        self.has_rested = false;
        self.has_yielded = false;
        self.redraw(now);
    }

    /// Another term begins, whose leader has said nothing yet.
    pub(crate) fn term_begins(&mut self) {
        self.heard = None;
        self.is_led = false;
    }

    /// This member campaigns, preliminarily or really: draws how long it gives that.
    pub(crate) fn campaign(&mut self, now: Time) {
        self.is_led = false;
        self.has_yielded = false;
        self.redraw(now);
    }

    /// A real campaign of this member is over. It was in vain if nobody has come to lead.
    pub(crate) fn campaign_ends(&mut self, has_leader: bool) {
        self.splits = match has_leader {
            true if planted!(BackoffNeverEnds) => self.splits,
            true => 0,
            false if planted!(SplitsUncounted) => 0,
            false => self.splits.saturating_add(1),
        };
    }

    /// This member would vote for another one, which is given the time to come back for the vote. Once, or else
    /// one that is never elected, as it does not hear what it asks for, could hold all others back.
    pub(crate) fn yield_to_candidate(&mut self, now: Time) {
        if let Some(measured) = self.measured()
            && self.policy == ElectionPolicy::Adaptive
            && (!self.has_yielded || planted!(YieldsForEver))
        {
            self.has_yielded = true;
            let back = now + measured.step.saturating_mul(2).min(self.minimum);
            self.deadline = self.deadline.max(back);
        }
    }

    /// The timer goes off. Whether this member has been away meanwhile, so that what its leader said may not have been
    /// read yet: it waits for a heartbeat then, once.
    pub(crate) fn rests(&mut self, now: Time) -> bool {
        let is_adaptive = self.policy == ElectionPolicy::Adaptive;
        let was_away = now.since(self.deadline) >= self.heartbeat / 4;
        if !is_adaptive || !self.is_led || !was_away || self.has_rested {
            return false;
        }
        self.has_rested = true;
        let (_, spread) = self.range();
        self.deadline = now + self.heartbeat.saturating_add(self.share_of(spread));
        true
    }

    // ---- What is measured ------------------------------------------------------------------

    /// This member comes to do something so much later than it should have.
    pub(crate) fn overdue(&mut self, now: Time, by: Duration) {
        self.stalls.add(now, by);
    }

    /// A write took so long.
    pub(crate) fn synced(&mut self, took: Duration) {
        self.sync.add(took);
    }

    /// What a leader says of the group.
    pub(crate) fn told(&mut self, pace: Pace) {
        self.pace = Some(pace);
    }

    /// The worst stall that this member itself has seen lately.
    pub(crate) fn stall_seen(&self) -> Duration {
        self.stalls.worst()
    }

    /// What is known; `None` if something that is needed was never measured.
    fn measured(&self) -> Option<Measured> {
        let (pace, sync) = (self.pace?, self.sync.bound()?);
        Some(Measured {
            step: pace.round_trip.saturating_add(sync).min(self.minimum),
            stall: pace.stall.max(self.stall_seen()),
        })
    }
}

/// What the adaptive policy goes by.
#[derive(Clone, Copy, Debug)]
struct Measured {
    /// A round trip and a sync. At most `T`.
    step: Duration,
    /// The worst that any member has seen lately.
    stall: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const T: Duration = Duration::from_millis(1000);
    const HEARTBEAT: Duration = Duration::from_millis(100);

    fn timer(policy: ElectionPolicy, seed: u64) -> ElectionTimer {
        ElectionTimer::new(policy, HEARTBEAT, T, seed, Time(0))
    }

    /// An adaptive timer after a second with a leader of this pace.
    fn led(pace: Pace, sync: Duration) -> (ElectionTimer, Time) {
        let mut timer = timer(ElectionPolicy::Adaptive, 1);
        (0..100).for_each(|_| timer.synced(sync));
        let mut now = Time(0);
        for _ in 0..10 {
            now = now + HEARTBEAT;
            timer.told(pace);
            timer.heard(now);
        }
        (timer, now)
    }

    fn pace(round_trip: Duration, stall: Duration) -> Pace {
        Pace { round_trip, stall }
    }

    #[test]
    fn timeouts_are_spread_over_one_to_two_minimums() {
        let mut timer = timer(ElectionPolicy::Fixed, 1);
        let mut early = 0;
        for _ in 0..1000 {
            timer.redraw(Time(0));
            let timeout = timer.deadline().since(Time(0));
            assert!((T..2 * T).contains(&timeout), "{timeout:?}");
            early += u32::from(timeout < T * 3 / 2);
        }
        assert!((400..600).contains(&early), "{early} of 1000 in the first half");
    }

    #[test]
    fn a_restart_keeps_what_was_drawn() {
        let mut timer = timer(ElectionPolicy::Fixed, 1);
        let drawn = timer.deadline().since(Time(0));
        timer.restart(Time(50));
        assert_eq!(timer.deadline(), Time(50) + drawn);
    }

    #[test]
    fn splits_double_the_range_up_to_a_bound_and_a_leader_makes_it_narrow_again() {
        let widest = |splits: u32| {
            let mut timer = timer(ElectionPolicy::Backoff, 1);
            (0..splits).for_each(|_| timer.campaign_ends(false));
            let wait = |timer: &mut ElectionTimer| {
                timer.campaign(Time(0));
                timer.deadline().since(Time(0))
            };
            let widest = (0..1000).map(|_| wait(&mut timer)).max().unwrap();
            timer.heard(Time(0));
            assert!(timer.deadline().since(Time(0)) < 2 * T, "it waits for the leader now");
            widest
        };
        for (splits, most) in [(0, 2), (1, 3), (2, 5), (3, 5), (1000, 5)] {
            let widest = widest(splits);
            assert!(widest < T * most && T * (most - 1) < widest, "{splits} splits: {widest:?}");
        }
    }

    #[test]
    fn what_was_measured_decides_between_floor_and_ceiling() {
        let (lan, now) = led(pace(MS, MS), MS);
        let wait = lan.deadline().since(now);
        assert!((200 * MS..230 * MS).contains(&wait), "{wait:?}");
        assert_eq!(lan.loyalty(), 200 * MS);

        let (wan, now) = led(pace(100 * MS, 16 * MS), 5 * MS);
        let wait = wan.deadline().since(now);
        assert!((200 * MS..650 * MS).contains(&wait), "{wait:?}");

        let (noisy, _) = led(pace(MS, 250 * MS), 5 * MS);
        assert_eq!(noisy.loyalty(), 600 * MS, "a heartbeat, and twice the worst beyond it");

        let (worst, now) = led(pace(Duration::MAX, Duration::MAX), Duration::from_nanos(u64::MAX));
        let wait = worst.deadline().since(now);
        assert!((T..2 * T).contains(&wait), "it is the fixed policy's: {wait:?}");
        assert_eq!(worst.loyalty(), T);
    }

    #[test]
    fn nobody_is_loyal_for_longer_than_it_would_wait_itself() {
        for stall in [0, 1, 50, 100, 300, 399, 400, 401, 5000].map(|ms| ms * MS) {
            for step in [0, 1, 20, 80, 300, 5000].map(|ms| ms * MS) {
                let (mut timer, now) = led(pace(step, stall), MS);
                for _ in 0..100 {
                    timer.redraw(now);
                    let (loyalty, wait) = (timer.loyalty(), timer.deadline().since(now));
                    assert!((2 * HEARTBEAT..=T).contains(&loyalty), "{loyalty:?}");
                    assert!(loyalty <= wait && wait < 2 * T, "{loyalty:?}, {wait:?}");
                }
            }
        }
    }

    #[test]
    fn a_campaign_that_fails_again_and_again_comes_to_wait_as_with_the_fixed_policy() {
        let (mut timer, now) = led(pace(MS, MS), MS);
        timer.term_begins();
        timer.campaign(now);
        let first = timer.deadline().since(now);
        assert!(first < 150 * MS, "a heartbeat and an election: {first:?}");
        for _ in 0..20 {
            timer.campaign_ends(false);
        }
        timer.campaign(now);
        let last = timer.deadline().since(now);
        assert!((T..2 * T).contains(&last), "{last:?}");
    }

    #[test]
    fn a_new_leader_has_the_configured_time_until_it_is_known() {
        let (mut timer, mut now) = led(pace(MS, MS), MS);
        timer.term_begins();
        for beat in 0..=LED_MIN {
            let wait = timer.deadline().since(now);
            assert!(beat == 0 || wait >= T, "beat {beat}: {wait:?}");
            timer.heard(now);
            now = now + HEARTBEAT;
        }
        assert!(timer.loyalty() < 250 * MS);
    }
}
