//! What a leader learns of the group's pace, and tells the group.
//!
//! How long an election will take, the members can't measure while there is none: it is a matter of round
//! trips between members that do not talk to one another. The leader talks to all of them. It measures how
//! long its heartbeats take to be answered, hears from each follower with the answer how long that one's host
//! has stalled lately, and says with the next heartbeat what came of it: so each member knows the group, and one
//! that has just started knows what the others have seen in the last hour.
//!
//! A follower says what *it* has seen and never what it was told: otherwise the members would tell one another
//! of a stall for ever. All of this decides how long somebody waits, and nothing else.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use crate::core::Core;
use crate::few::Few;
use crate::measure::Estimate;
use crate::message::{HeartbeatReply, Pace};
use crate::read::Sent;
use crate::types::NodeId;

/// The leader's measurements, for one term.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// The rounds that are timed, ascending.
    timed: VecDeque<Sent>,
    peers: Few<Beat>,
    pace: Option<Pace>,
}

/// What is known of one follower.
#[derive(Debug, Default)]
struct Beat {
    round_trip: Estimate,
    /// The last timed round that it answered: a repeated answer tells nothing of the time it took.
    answered: Option<u64>,
    /// What it said last of the stalls that it has seen.
    stall: Duration,
}

impl Pulse {
    /// Answers to so many heartbeats may be on their way.
    const TIMED_MAX: usize = 16;

    /// A round of heartbeats leaves. Returns what is to be told with it. Rounds for reads may follow one another
    /// within microseconds, so not each of them is timed.
    pub(crate) fn begin(&mut self, core: &mut Core, round: u64) -> Option<Pace> {
        let is_due = self
            .timed
            .back()
            .is_none_or(|sent| core.now.since(sent.at) >= core.heartbeat_interval / 2);
        if is_due {
            if self.timed.len() == Self::TIMED_MAX {
                self.timed.pop_front();
            }
            self.timed.push_back(Sent { round, at: core.now });
            self.pace = self.summary(core);
            if let Some(pace) = self.pace {
                core.election.told(pace);
            }
        }
        self.pace
    }

    /// Nothing is asked for a while: gives back what memory it can.
    pub(crate) fn rest(&mut self) {
        self.timed = VecDeque::new();
    }

    /// A follower answered a round.
    pub(crate) fn answered(&mut self, core: &Core, from: NodeId, reply: HeartbeatReply) {
        let beat = self.peers.get_or_insert_with(from, Beat::default);
        beat.stall = reply.stall;
        let sent = self.timed.iter().find(|sent| sent.round == reply.round);
        if let Some(sent) = sent
            && beat.answered < Some(sent.round)
        {
            beat.answered = Some(sent.round);
            beat.round_trip.add(core.now.since(sent.at));
        }
    }

    /// The round trip within which as many voters answer as an election needs when this leader is gone, and the
    /// worst stall that any voter has seen. `None` before anybody answered.
    fn summary(&self, core: &Core) -> Option<Pace> {
        let voters = || self.peers.iter().filter(|(id, _)| core.membership().is_voter(**id));
        let mut bounds: Vec<Duration> =
            voters().filter_map(|(_, beat)| beat.round_trip.bound()).collect();
        bounds.sort_unstable();
        let needed = bounds.len().div_ceil(2).min(bounds.len().checked_sub(1)?);
        let stalls = voters().map(|(_, beat)| beat.stall);
        let stall = stalls.max().unwrap_or_default().max(core.election.stall_seen());
        Some(Pace { round_trip: bounds[needed], stall })
    }
}
