//! The apply thread: runs the state machine, and answers those who wait for it.
//!
//! Answers leave from here and do not come back through the raft thread, which only hears how far
//! the machine is.

use std::sync::Arc;
use std::time::Duration;

use quorate_node::{Applied, Applier, ApplyJob, Fault};
use quorate_raft::GroupId;

use crate::clock::Clock;
use crate::config::HostEvent;
use crate::error::RequestError;
use crate::fatal::{Fatal, Fatality};
use crate::handle::{Shared, Signal, Waiter};
use crate::inbox::Inbox;
use crate::report::Reporter;
use crate::scrub::{self, Pace};

/// The apply thread.
pub(crate) struct ApplyThread<O: Send + 'static> {
    /// The group that the machine belongs to.
    pub(crate) group: GroupId,
    /// The machine.
    pub(crate) applier: Applier<O>,
    /// What to do. Bounded by what the log holds, whose entries it shares.
    pub(crate) inbox: Arc<Inbox<ApplyJob<Waiter<O>>>>,
    /// Where to report.
    pub(crate) shared: Arc<Shared<O>>,
    /// Whom to tell of snapshots that were refused.
    pub(crate) reporter: Arc<Reporter>,
    /// The clock, and when the next piece of what the machine has on disk is to be verified.
    pub(crate) clock: Clock,
    pub(crate) pace: Pace,
    /// The end of everything, if the machine fails.
    pub(crate) fatal: Arc<Fatal>,
}

impl<O: Send + 'static> ApplyThread<O> {
    /// Applies until the inbox is closed and empty, then makes everything durable.
    pub(crate) fn run(mut self) {
        if let Err(Fault { kind, report }) = self.work() {
            let report = format!("the state machine failed: {report}");
            self.fatal.happened(Fatality { machine: Some(kind), ..report.into() });
        }
    }

    fn work(&mut self) -> Result<(), Fault> {
        let mut jobs = Vec::new();
        let mut applied = Applied::default();
        // Whether the machine may have something that can wait.
        let mut may_idle = true;
        while !self.inbox.is_finished() {
            let rest = self.pace.due().since(self.clock.now());
            self.inbox.take(if may_idle { Duration::ZERO } else { rest }, &mut jobs);
            self.scrub_if_due()?;
            if jobs.is_empty() {
                may_idle = may_idle && self.applier.machine_mut().idle()?;
                continue;
            }
            may_idle = true;
            for job in joined(&mut jobs) {
                if self.fatal.has_happened() {
                    return Ok(());
                }
                if let ApplyJob::Entries { entries, .. } = &job {
                    self.shared.metrics.entries_applied.add(entries.len() as u64);
                }
                self.applier.run(job, &mut applied)?;
                self.answer(&mut applied);
            }
        }
        if self.fatal.has_happened() {
            return Ok(());
        }
        self.applier.machine_mut().flush()
    }

    /// Verifies a piece of what the machine has on disk, also under load: it is short.
    fn scrub_if_due(&mut self) -> Result<(), Fault> {
        if self.pace.due() <= self.clock.now() && !self.fatal.has_happened() {
            let scrubbed = self.applier.machine_mut().scrub(scrub::PIECE_BYTES)?;
            self.pace.scrubbed(self.clock.now(), scrubbed);
            self.shared.metrics.scrubbed_bytes.add(scrubbed.map_or(0, |scrubbed| scrubbed.bytes));
        }
        Ok(())
    }

    fn answer(&self, applied: &mut Applied<Waiter<O>, O>) {
        let Applied { outcomes, reads, unseen, feedback, refused, disputed } = applied;
        self.shared.metrics.proposals_applied.add(outcomes.len() as u64);
        for (waiter, outcome) in outcomes.drain(..) {
            match waiter {
                Waiter::Outcome(reply, permit) => {
                    // First the permit, so that a caller that goes on at once finds it.
                    drop(permit);
                    let _ = reply.send(Ok(outcome));
                }
                Waiter::Read(..) | Waiter::Change(_) | Waiter::Nobody => {
                    unreachable!("it has no command")
                }
            }
        }
        for (waiter, staleness) in reads.drain(..) {
            match waiter {
                Waiter::Read(reply, permit) => {
                    drop(permit);
                    let _ = reply.send(Ok(staleness));
                }
                Waiter::Outcome(..) | Waiter::Change(_) | Waiter::Nobody => {
                    unreachable!("it is no read")
                }
            }
        }
        for waiter in unseen.drain(..) {
            self.shared.fail(waiter, RequestError::Unknown);
        }
        for (last, reason) in refused.drain(..) {
            let group = self.group;
            self.reporter.tell(&HostEvent::SnapshotRefused { group, last, reason });
        }
        for index in disputed.drain(..) {
            self.reporter.tell(&HostEvent::StateDisputed { group: self.group, index });
        }
        if !feedback.is_empty() {
            self.shared.report(Signal::Applied(self.group, std::mem::take(feedback)));
        }
    }
}

/// The jobs, with runs of entries made one job each: what has piled up is committed to the machine
/// at once.
fn joined<W>(jobs: &mut Vec<ApplyJob<W>>) -> Vec<ApplyJob<W>> {
    let mut joined: Vec<ApplyJob<W>> = Vec::with_capacity(jobs.len());
    for job in jobs.drain(..) {
        match (joined.last_mut(), job) {
            (
                Some(ApplyJob::Entries { entries, waiters }),
                ApplyJob::Entries { entries: more_entries, waiters: more_waiters },
            ) => {
                entries.extend(more_entries);
                waiters.extend(more_waiters);
            }
            (_, job) => joined.push(job),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use quorate_raft::{Entry, EntryId, Index, Payload};

    use super::*;

    #[test]
    fn runs_of_entries_become_one_and_keep_their_place() {
        let entries = |index| ApplyJob::Entries {
            entries: vec![Entry { id: EntryId::new(1, index), payload: Payload::Noop }],
            waiters: vec![(Index(index), index)],
        };
        let mut jobs =
            vec![entries(1), entries(2), ApplyJob::Reads(vec![(9, None)]), entries(3), entries(4)];
        let joined = joined(&mut jobs);
        let shape: Vec<Vec<u64>> = joined
            .into_iter()
            .map(|job| match job {
                ApplyJob::Entries { entries, waiters } => {
                    assert!(entries.iter().map(|e| e.id.index).eq(waiters.iter().map(|w| w.0)));
                    waiters.into_iter().map(|(_, waiter)| waiter).collect()
                }
                ApplyJob::Reads(readers) => readers.into_iter().map(|(waiter, _)| waiter).collect(),
                ApplyJob::Snapshot(_) | ApplyJob::HealSnapshot(_) => panic!("there was none"),
            })
            .collect();
        assert_eq!(shape, [vec![1, 2], vec![9], vec![3, 4]]);
    }
}
