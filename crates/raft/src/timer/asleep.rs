//! An election timer in little memory.

use super::ElectionTimer;
use crate::config::Settings;
use crate::measure::{Estimate, Nanos, Peak};
use crate::message::Pace;
use crate::rng::Rng;
use crate::types::Time;

/// All that an [`ElectionTimer`] remembers, without what it was told by the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TimerAsleep {
    rng: Rng,
    drawn: Nanos,
    deadline: Time,
    heard: Option<(Time, Time)>,
    sync: Option<(Nanos, Nanos)>,
    stalls: (Nanos, Nanos, Time),
    /// The round trip and the stall.
    pace: Option<(Nanos, Nanos)>,
    splits: u32,
    is_led: bool,
    has_rested: bool,
    has_yielded: bool,
}

impl ElectionTimer {
    /// What it remembers.
    pub(crate) fn asleep(&self) -> TimerAsleep {
        let Self {
            policy: _,
            minimum: _,
            heartbeat: _,
            rng,
            drawn,
            deadline,
            splits,
            heard,
            is_led,
            has_rested,
            has_yielded,
            sync,
            stalls,
            pace,
        } = self;
        TimerAsleep {
            rng: rng.clone(),
            drawn: (*drawn).into(),
            deadline: *deadline,
            heard: *heard,
            sync: sync.parts(),
            stalls: stalls.parts(),
            pace: pace.map(|pace| (pace.round_trip.into(), pace.stall.into())),
            splits: *splits,
            is_led: *is_led,
            has_rested: *has_rested,
            has_yielded: *has_yielded,
        }
    }

    /// The timer that remembers this.
    pub(crate) fn woken(settings: &Settings, asleep: TimerAsleep) -> Self {
        Self {
            policy: settings.election_policy,
            minimum: settings.election_timeout,
            heartbeat: settings.heartbeat_interval,
            rng: asleep.rng,
            drawn: asleep.drawn.into(),
            deadline: asleep.deadline,
            splits: asleep.splits,
            heard: asleep.heard,
            is_led: asleep.is_led,
            has_rested: asleep.has_rested,
            has_yielded: asleep.has_yielded,
            sync: Estimate::of(asleep.sync),
            stalls: Peak::of(asleep.stalls),
            pace: asleep.pace.map(|(round_trip, stall)| Pace {
                round_trip: round_trip.into(),
                stall: stall.into(),
            }),
        }
    }
}
