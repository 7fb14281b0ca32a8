//! Who is there, as a leader sees it: it looks back once for each election timeout, and not at each moment.
//!
//! At the end of each interval a quorum has to have confirmed the leader since the interval began (check-quorum, thesis
//! §6.2). And whoever was heard since the one before it began is *active*: the leader keeps entries for it, and may hand
//! over to it. So a leader whose process was paused first gets to read its mail, and nobody seems to be
//! away because of one message that was late.

use core::time::Duration;

use crate::progress::Peer;
use crate::types::Time;

/// The interval that runs, and what is remembered of those before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attendance {
    /// When the term began: whoever was not heard in it yet counts as heard then.
    pub(crate) began: Time,
    /// When the interval before this one began.
    active_since: Time,
    /// When this interval began.
    since: Time,
    /// When it ends.
    until: Time,
}

impl Attendance {
    /// The first interval of a term.
    pub(crate) fn new(now: Time, length: Duration) -> Self {
        Self { began: now, active_since: now, since: now, until: now + length }
    }

    /// In a term that began then. The interval is over: whatever wakes a leader that slept begins anew.
    pub(crate) fn woken(began: Time, now: Time) -> Self {
        Self { began, ..Self::new(now, Duration::ZERO) }
    }

    /// Nobody was listening before this moment.
    pub(crate) fn begin_anew(&mut self, now: Time, length: Duration) {
        *self = Self { began: self.began, ..Self::new(now, length) };
    }

    /// The next interval.
    pub(crate) fn begin_next(&mut self, now: Time, length: Duration) {
        self.active_since = self.since;
        self.since = now;
        self.until = now + length;
    }

    /// When this interval began.
    pub(crate) fn since(&self) -> Time {
        self.since
    }

    /// When this interval ends.
    pub(crate) fn until(&self) -> Time {
        self.until
    }

    /// Whether a member was heard in this interval or the one before.
    pub(crate) fn is_active(&self, peer: &Peer) -> bool {
        peer.heard.unwrap_or(self.began) >= self.active_since
    }
}
