//! The wal thread: takes all records that wait, of all groups, and makes them durable with one sync.
//!
//! What arrives during a sync waits for the next one, so that the batches grow with the load and the
//! time of a sync by themselves: no timer decides how long to collect.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_raft::{GroupId, Persist, Seq};
use quorate_wal::Wal;

use crate::clock::Clock;
use crate::fatal::Fatal;
use crate::handle::{Shared, Signal};
use crate::inbox::Inbox;

/// A record and whose it is. The inbox is bounded by what Raft lets be under way: uncommitted bytes
/// on a leader, and on a follower what its leader has in flight to it.
pub(crate) type WalJob = (GroupId, Persist);

/// The wal thread.
pub(crate) struct WalThread<O> {
    /// The log.
    pub(crate) wal: Wal,
    /// What to write.
    pub(crate) inbox: Arc<Inbox<WalJob>>,
    /// Where to report.
    pub(crate) shared: Arc<Shared<O>>,
    /// The clock, to measure syncs.
    pub(crate) clock: Clock,
    /// The end of everything, if the log fails.
    pub(crate) fatal: Arc<Fatal>,
}

impl<O> WalThread<O> {
    /// Writes until the inbox is closed and empty.
    pub(crate) fn run(mut self) {
        let mut jobs = Vec::new();
        while !self.inbox.is_finished() {
            self.inbox.take(Duration::MAX, &mut jobs);
            if self.fatal.has_happened() {
                return;
            }
            if jobs.is_empty() {
                continue;
            }
            match self.write(&mut jobs) {
                Ok(durable) => self.shared.inbox.push_own([Signal::Durable(durable)]),
                // The pages may be lost though marked clean, so a second try could succeed without
                // having written them. Only a restart reads what is really there.
                Err(error) => {
                    self.fatal.happened(&format!("the log failed: {error}"));
                    return;
                }
            }
        }
    }

    /// Makes the records durable, and returns the last number of each group.
    fn write(
        &mut self,
        jobs: &mut Vec<WalJob>,
    ) -> Result<Vec<(GroupId, Seq)>, quorate_wal::WalError> {
        let mut last = BTreeMap::new();
        let metrics = &self.shared.metrics;
        metrics.wal_records.add(jobs.len() as u64);
        for (group, Persist { seq, record }) in jobs.drain(..) {
            self.wal.append(group, &record);
            last.insert(group, seq);
        }
        let start = self.clock.now();
        self.wal.commit()?;
        metrics.wal_sync.record(self.clock.now().since(start));
        Ok(last.into_iter().collect())
    }
}
