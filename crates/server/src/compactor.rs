//! Compacts without being asked: etcd's two ways to say how much history stays.
//!
//! Only the leader proposes it; but every member follows along what the newest revision was when, so that whoever takes
//! over knows it. What it is to compact is decided in [`Schedule`], which is told the time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use quorate_mvcc::{Caller, Command, Error};
use quorate_raft::Time;
use tokio::time::sleep;

use crate::config::AutoCompaction;
use crate::member::Member;
use crate::rpc::Failure;

/// The longest time from one compaction to the next, of history by time.
const INTERVAL_MAX: Duration = Duration::from_secs(3600);

/// How often the revision is looked at within such a time.
const LOOKS: u32 = 10;

/// How often history is compacted of which so many revisions stay.
const INTERVAL_OF_REVISIONS: Duration = Duration::from_secs(300);

/// A time so short that it is asked for by mistake must not keep a processor busy.
const LOOK_MIN: Duration = Duration::from_millis(100);

/// Decides what is to be compacted.
#[derive(Debug)]
struct Schedule {
    policy: AutoCompaction,
    /// When a revision was first seen as the newest, oldest first. Of what was seen a whole period ago or earlier, only the
    /// last is kept.
    seen: VecDeque<(Time, i64)>,
    /// When was compacted last, or begun; and what.
    last: (Time, Option<i64>),
}

impl Schedule {
    fn new(policy: AutoCompaction, now: Time) -> Self {
        Self { policy, seen: VecDeque::new(), last: (now, None) }
    }

    /// How long until the next look.
    fn pause(&self) -> Duration {
        match self.policy {
            AutoCompaction::Periodic(period) => (period.min(INTERVAL_MAX) / LOOKS).max(LOOK_MIN),
            AutoCompaction::Revision(_) => INTERVAL_OF_REVISIONS,
        }
    }

    /// Takes note of the newest revision, and tells which to compact now, if this member is to do that.
    fn look(&mut self, now: Time, newest: i64, leads: bool) -> Option<i64> {
        let revision = match self.policy {
            AutoCompaction::Periodic(period) => {
                if self.seen.back().is_none_or(|(_, revision)| *revision != newest) {
                    self.seen.push_back((now, newest));
                }
                let is_old = |seen: Option<&(Time, i64)>| {
                    seen.is_some_and(|(at, _)| period <= now.since(*at))
                };
                while is_old(self.seen.get(1)) {
                    self.seen.pop_front();
                }
                // The first time only after a whole period, in which somebody may have read what this process
                // does not know the age of.
                let interval =
                    if self.last.1.is_none() { period } else { period.min(INTERVAL_MAX) };
                let is_due = interval <= now.since(self.last.0);
                self.seen.front().filter(|seen| is_due && is_old(Some(*seen)))?.1
            }
            AutoCompaction::Revision(kept) => newest - kept,
        };
        (leads && revision > 0 && self.last.1 != Some(revision)).then_some(revision)
    }

    /// This was compacted.
    fn done(&mut self, now: Time, revision: i64) {
        self.last = (now, Some(revision));
    }
}

/// Compacts whenever it is due. Ends with the server.
pub(crate) async fn run(member: Arc<Member>, policy: AutoCompaction) {
    let clock = member.handle.clock();
    let mut stop = member.stop.clone();
    let mut schedule = Schedule::new(policy, clock.now());
    loop {
        let leads = member.handle.status().is_leader();
        // Not for longer: a state keeps the space of what was removed since.
        let due = {
            let state = member.published.state();
            let due = schedule.look(clock.now(), state.revision(), leads);
            // Others may have compacted more.
            due.filter(|revision| *revision > state.compacted())
        };
        if let Some(revision) = due {
            let proposed = member.propose(&Caller::Server, Command::Compact { revision });
            let proposed = tokio::select! {
                proposed = proposed => proposed,
                () = stop.requested() => return,
            };
            match proposed {
                Ok(_) | Err(Failure::Refused(Error::Compacted)) => {
                    schedule.done(clock.now(), revision);
                    let line = member.log.info("completed auto compaction");
                    drop(line.with("revision", revision));
                }
                // It is tried again at the next look.
                Err(failure) => {
                    let line = member.log.warn("failed auto compaction");
                    drop(line.with("revision", revision).with("error", failure.text()));
                }
            }
        }
        tokio::select! {
            () = sleep(schedule.pause()) => {}
            () = stop.requested() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One look: the minute, the newest revision, whether it leads; and what is compacted, which succeeds.
    type Look = (u64, i64, bool, Option<i64>);

    fn check(policy: AutoCompaction, looks: &[Look]) {
        let at = |minute: u64| Time(minute * 60_000_000_000);
        let mut schedule = Schedule::new(policy, at(0));
        for look @ (minute, newest, leads, expected) in looks {
            let due = schedule.look(at(*minute), *newest, *leads);
            assert_eq!(due, *expected, "{policy:?} {look:?}");
            if let Some(revision) = due {
                schedule.done(at(*minute), revision);
            }
        }
    }

    #[test]
    fn of_history_by_time_a_whole_period_stays() {
        let minutes = |minutes: u64| AutoCompaction::Periodic(Duration::from_secs(60 * minutes));
        // A short period: the first time after a whole one, then once in each.
        check(
            minutes(10),
            &[
                (0, 5, true, None),
                (1, 6, true, None),
                (9, 7, true, None),
                (10, 8, true, Some(5)),
                (11, 9, true, None),
                (19, 9, true, None),
                (20, 9, true, Some(8)),
                // Nothing new is nothing to do.
                (30, 9, true, Some(9)),
                (40, 9, true, None),
                (50, 10, true, None),
                (60, 10, true, Some(10)),
            ],
        );
        // A long one: then every hour.
        check(
            minutes(180),
            &[
                (0, 5, true, None),
                (60, 6, true, None),
                (120, 7, true, None),
                (179, 8, true, None),
                (180, 9, true, Some(5)),
                (239, 9, true, None),
                (240, 9, true, Some(6)),
                (300, 9, true, Some(7)),
                (359, 9, true, None),
                (360, 9, true, Some(9)),
            ],
        );
        // Who does not lead compacts nothing, and knows what to compact when it does.
        check(
            minutes(10),
            &[
                (0, 5, false, None),
                (8, 6, false, None),
                (15, 7, false, None),
                (16, 7, true, Some(5)),
                (25, 7, false, None),
                (26, 7, true, Some(7)),
            ],
        );
        // A process that did not run for a while has not seen what was newest in between.
        check(
            minutes(10),
            &[(0, 5, true, None), (500, 900, true, Some(5)), (505, 900, true, None)],
        );
    }

    #[test]
    fn of_history_by_revisions_so_many_stay() {
        check(
            AutoCompaction::Revision(100),
            &[
                (0, 1, true, None),
                (5, 100, true, None),
                (10, 101, true, Some(1)),
                (15, 101, true, None),
                (20, 350, false, None),
                (25, 350, true, Some(250)),
            ],
        );
    }

    #[test]
    fn looks_are_as_often_as_in_etcd() {
        let pause = |policy| Schedule::new(policy, Time(0)).pause();
        let seconds = Duration::from_secs;
        assert_eq!(pause(AutoCompaction::Periodic(seconds(300))), seconds(30));
        assert_eq!(pause(AutoCompaction::Periodic(seconds(86_400))), seconds(360));
        assert_eq!(pause(AutoCompaction::Periodic(Duration::from_nanos(1))), LOOK_MIN);
        assert_eq!(pause(AutoCompaction::Revision(1)), seconds(300));
    }
}
