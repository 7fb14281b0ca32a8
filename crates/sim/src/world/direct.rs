//! A world under direction: a scenario says what goes wrong, where and when, instead of chance.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_check::Violation;
use quorate_raft::{NodeId, RoleKind};

use super::World;

impl World {
    /// Runs until this moment. The members have to be started with [`World::begin`].
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn run_until(&mut self, end: Duration) -> Result<(), Violation> {
        while self.heap.peek().is_some_and(|next| next.0.at <= end) {
            assert!(!self.happen_next()?, "the run is over before {end:?}");
        }
        self.now = end;
        Ok(())
    }

    /// Who leads in the latest term, of those that run.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        let running = self.places.values().filter_map(|place| place.process.as_ref());
        let leaders =
            running.map(|process| process.status()).filter(|at| at.role == RoleKind::Leader);
        leaders.max_by_key(|status| status.term).map(|status| status.id)
    }

    /// The members.
    #[must_use]
    pub fn members(&self) -> BTreeSet<NodeId> {
        self.places.keys().copied().collect()
    }

    /// From now on clients ask these only.
    pub fn clients_ask(&mut self, members: BTreeSet<NodeId>) {
        self.core = members;
    }

    /// No sync of this member ends any more.
    pub fn disk_hangs(&mut self, node: NodeId) {
        self.hang(node);
    }

    /// Its disk is so many times slower from now on, and so is what it computes.
    pub fn becomes_slow(&mut self, node: NodeId, disk: u32, cpu: u32) {
        let place = self.place(node);
        (place.disk_factor, place.cpu_factor) = (disk, cpu);
    }

    /// The power fails at these members.
    ///
    /// # Errors
    /// If that shows that something is wrong.
    pub fn power_fails(&mut self, members: &BTreeSet<NodeId>) -> Result<(), Violation> {
        members.iter().try_for_each(|node| self.crash(*node))
    }

    /// A client writes at this member.
    pub fn write_at(&mut self, node: NodeId) {
        let request = self.workload.write();
        self.ask(node, request);
    }

    /// How many writes were acknowledged so far.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.oracle.tally().writes
    }

    /// How long each command of a client took to its acknowledgement, in the order of these.
    #[must_use]
    pub fn latencies(&self) -> &[Duration] {
        &self.latencies
    }

    /// Leaders that took office so far.
    #[must_use]
    pub fn leaders(&self) -> u64 {
        self.report.leaders
    }

    /// The longest that a client has waited for what it waits for now.
    #[must_use]
    pub fn longest_wait(&self) -> Duration {
        let waiting = self.workload.clients().iter().filter(|client| client.waits_for.is_some());
        waiting.map(|client| self.now - client.since).max().unwrap_or_default()
    }

    /// The most bytes that any member has in its log in memory.
    #[must_use]
    pub fn log_bytes_max(&self) -> usize {
        let running = self.places.values().filter_map(|place| place.process.as_ref());
        running.map(|process| process.status().log_bytes).max().unwrap_or_default()
    }
}
