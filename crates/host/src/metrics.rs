//! Counts of what happened, for whoever renders them.
//!
//! Plain atomics without an order between them: a reader sees each number as it was a moment ago,
//! and pays nothing on the hot path.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use quorate_raft::NodeId;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The number.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }
}

/// How long something took, counted in buckets.
#[derive(Debug, Default)]
pub struct Histogram {
    /// One for each of [`Histogram::BOUNDS`], and one for what took longer.
    buckets: [AtomicU64; Self::BOUNDS.len() + 1],
    count: AtomicU64,
    sum_nanos: AtomicU64,
}

impl Histogram {
    /// The upper bounds of the buckets: 1 ms · 2^i for 14 of them, as etcd's
    /// `etcd_disk_wal_fsync_duration_seconds` has them.
    pub const BOUNDS: [Duration; 14] = {
        let mut bounds = [Duration::ZERO; 14];
        let mut i = 0;
        while i < bounds.len() {
            bounds[i] = Duration::from_millis(1 << i);
            i += 1;
        }
        bounds
    };

    /// Counts one that took so long.
    pub fn record(&self, duration: Duration) {
        let bucket = Self::BOUNDS.partition_point(|bound| *bound < duration);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// How many took at most as long as each of [`Histogram::BOUNDS`], and with the last number, all
    /// of them: cumulative, as Prometheus has it.
    #[must_use]
    pub fn cumulative(&self) -> [u64; Self::BOUNDS.len() + 1] {
        let mut sum = 0;
        std::array::from_fn(|i| {
            sum += self.buckets[i].load(Ordering::Relaxed);
            sum
        })
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// How long they took together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_nanos.load(Ordering::Relaxed))
    }
}

/// What was exchanged with a peer.
#[derive(Debug, Default)]
pub struct PeerMetrics {
    /// Bytes written to its connection.
    pub sent_bytes: Counter,
    /// Bytes read from its connections.
    pub received_bytes: Counter,
    /// Messages that were dropped, because there was no connection or too much waited.
    pub dropped: Counter,
    /// Times that the connection to it was made.
    pub connects: Counter,
}

/// All counts of a host.
#[derive(Debug, Default)]
pub struct Metrics {
    /// How long each sync of the log took.
    pub wal_sync: Histogram,
    /// Records given to the log.
    pub wal_records: Counter,
    /// Bytes of the batches that they were written in.
    pub wal_bytes: Counter,
    /// Commands that clients of this member asked for.
    pub proposals: Counter,
    /// Commands of those that have an outcome.
    pub proposals_applied: Counter,
    /// Commands of those that ended without.
    pub proposals_failed: Counter,
    /// Commands and reads that were refused for want of a permit.
    pub overloaded: Counter,
    /// Reads that clients of this member asked for.
    pub reads: Counter,
    /// Reads of those that failed.
    pub reads_failed: Counter,
    /// Entries applied, of all clients of all members.
    pub entries_applied: Counter,
    /// Bytes of the log and of what the machine has on disk that were read to verify them.
    pub scrubbed_bytes: Counter,
    /// Frames and handshakes of peers that were not understood.
    pub malformed: Counter,
    /// Connections of and to others that ended because somebody did not prove who it is, or something was not said by
    /// who it seemed to be: see [`PeerError::is_unauthenticated`](crate::PeerError::is_unauthenticated).
    pub unauthenticated: Counter,
    /// Rounds of the raft thread, whoever ran them.
    pub rounds: Counter,
    /// By peer.
    peers: RwLock<BTreeMap<NodeId, Arc<PeerMetrics>>>,
}

impl Metrics {
    /// What was exchanged with each peer that there is now.
    #[must_use]
    pub fn peers(&self) -> BTreeMap<NodeId, Arc<PeerMetrics>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The counts of a peer, new ones if there are none.
    pub(crate) fn peer(&self, id: NodeId) -> Arc<PeerMetrics> {
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(peers.entry(id).or_default())
    }

    /// That is no peer any more.
    pub(crate) fn forget(&self, id: NodeId) {
        self.peers.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Commands of this member's clients that have not ended.
    #[must_use]
    pub fn proposals_pending(&self) -> u64 {
        let ended = self.proposals_applied.get() + self.proposals_failed.get();
        self.proposals.get().saturating_sub(ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_of_etcd() {
        assert_eq!(Histogram::BOUNDS[0], Duration::from_millis(1));
        assert_eq!(Histogram::BOUNDS[13], Duration::from_millis(8192));
    }

    #[test]
    fn a_duration_falls_into_the_bucket_that_it_does_not_exceed() {
        let histogram = Histogram::default();
        for millis in [1, 2, 3, 100_000] {
            histogram.record(Duration::from_millis(millis));
        }
        let cumulative = histogram.cumulative();
        assert_eq!(cumulative[..3], [1, 2, 3]);
        assert_eq!(cumulative[13], 3);
        assert_eq!(cumulative[14], 4);
        assert_eq!(histogram.count(), 4);
        assert_eq!(histogram.sum(), Duration::from_millis(100_006));
    }
}
