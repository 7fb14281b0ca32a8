//! How often a sound peer is suspected, and how soon a dead one is missed: a day of heartbeats for each
//! kind of network and host, drawn from a seed.
//!
//! The numbers are those of the seed, and asserted with little to spare, so that whoever changes a
//! threshold sees what it does.

#[cfg(test)]
extern crate std;

use std::vec::Vec;

use quorate_raft::rng::Rng;

use super::*;

const PEER: NodeId = NodeId(2);
const HEARTBEAT: Duration = Duration::from_millis(100);
/// The heartbeats of a day.
const DAY: u64 = 24 * 60 * 60 * 10;

/// Where the peer stands. All times are in microseconds.
struct Setting {
    /// Between a heartbeat and its answer at the least.
    round_trip: u64,
    /// The mean of what comes on top each time, exponentially distributed.
    jitter: u64,
    /// One of so many answers is lost on its way, and sent again by TCP after `resend`, with all those
    /// behind it.
    loss: u64,
    resend: u64,
    /// One of so many times the host of the peer does not run, for this long in the mean, exponentially
    /// distributed, and answers what has come when it does again.
    pauses: u64,
    pause: u64,
}

const LAN: Setting = Setting {
    round_trip: 200,
    jitter: 100,
    loss: 1_000_000,
    resend: 200_000,
    pauses: 100_000,
    pause: 20_000,
};
const WAN: Setting = Setting {
    round_trip: 80_000,
    jitter: 10_000,
    loss: 2_000,
    resend: 280_000,
    pauses: 100_000,
    pause: 20_000,
};
const NOISY: Setting = Setting {
    round_trip: 300,
    jitter: 5_000,
    loss: 100_000,
    resend: 200_000,
    pauses: 100,
    pause: 60_000,
};
const ERRATIC: Setting = Setting {
    round_trip: 300,
    jitter: 150_000,
    loss: 100_000,
    resend: 200_000,
    pauses: 100,
    pause: 60_000,
};

impl Setting {
    /// When the answers to so many heartbeats arrive, ascending.
    fn arrivals(&self, count: u64, rng: &mut Rng) -> Vec<Time> {
        // The earliest time at which the host, and the connection, take up the next one.
        let (mut host_free, mut line_free) = (0, 0);
        let arrivals = (1..=count).map(|beat| {
            let sent = beat * micros(HEARTBEAT);
            let mut there = (sent + self.round_trip / 2).max(host_free);
            if rng.below(self.pauses) == 0 {
                there += exponential(self.pause, rng);
                host_free = there;
            }
            let mut back = there + self.round_trip / 2 + exponential(self.jitter, rng);
            if rng.below(self.loss) == 0 {
                back += self.resend;
            }
            line_free = back.max(line_free);
            Time(line_free * 1_000)
        });
        arrivals.collect()
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).expect("a test is short")
}

fn exponential(mean: u64, rng: &mut Rng) -> u64 {
    let uniform = (rng.below(1 << 32) as f64 + 1.0) / (1u64 << 32) as f64;
    (-uniform.ln() * mean as f64) as u64
}

/// What came of a day.
#[derive(Debug, PartialEq)]
struct Outcome {
    /// How often the peer was suspected, and how often it was taken for failed, while it was there.
    suspected: usize,
    failed: usize,
    /// How long after the last answer of its life it was suspected, and taken for failed, in milliseconds.
    suspected_after: u64,
    failed_after: u64,
}

/// Looks with each heartbeat that is sent, as a leader does, for a day and until the peer that then
/// dies is missed.
fn day(setting: &Setting, seed: u64) -> Outcome {
    let mut rng = Rng::new(seed);
    let mut detector = Detector::new();
    let mut changes = Vec::new();
    detector.add([PEER], HEARTBEAT, Time(0));
    detector.await_peer(Time(0), PEER, &mut changes);
    let arrivals = setting.arrivals(DAY, &mut rng);
    let last = *arrivals.last().expect("it is a long day");
    let mut arrivals = arrivals.into_iter().peekable();
    let mut outcome = Outcome { suspected: 0, failed: 0, suspected_after: 0, failed_after: 0 };
    let mut beat = Time(0);
    while outcome.failed_after == 0 {
        beat = beat + HEARTBEAT;
        while let Some(arrival) = arrivals.next_if(|arrival| *arrival <= beat) {
            detector.heard(arrival, PEER, &mut changes);
        }
        detector.look(beat, &mut changes);
        let after = u64::try_from(beat.since(last).as_millis()).expect("a test is short");
        for change in changes.drain(..) {
            match change.to {
                PeerState::Suspect if beat < last => outcome.suspected += 1,
                PeerState::Failed if beat < last => outcome.failed += 1,
                PeerState::Suspect => outcome.suspected_after = after,
                PeerState::Failed => outcome.failed_after = after,
                PeerState::Idle | PeerState::Active | PeerState::Leaving => {}
            }
        }
        assert!(beat.since(last) < HEARTBEAT * 100, "nobody misses it: {outcome:?}");
    }
    outcome
}

#[track_caller]
fn check(setting: &Setting, suspected: usize, failed: usize, after: (u64, u64)) {
    let (suspected_after, failed_after) = after;
    let outcome = Outcome { suspected, failed, suspected_after, failed_after };
    assert_eq!(day(setting, 1), outcome);
}

#[test]
fn in_a_quiet_network_nobody_is_wronged() {
    check(&LAN, 0, 0, (499, 1099));
}

/// Some four hundred answers are lost in that day. TCP sends them again soon enough.
#[test]
fn far_away_an_answer_that_is_sent_again_is_waited_for() {
    check(&WAN, 6, 0, (419, 1019));
}

/// It does not run for longer than three heartbeats about once an hour.
#[test]
fn a_noisy_host_is_suspected_some_times_a_day() {
    check(&NOISY, 11, 0, (498, 1098));
}

/// It is missed twice as late as the others are. Without phi, by rounds alone, it would be suspected 1,801
/// times a day instead; with a window of 100 intervals, 657 times.
#[test]
fn to_an_irregular_peer_the_detector_adapts() {
    check(&ERRATIC, 484, 0, (1075, 2175));
}
