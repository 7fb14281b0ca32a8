//! A world under direction: a scenario says what goes wrong, where and when, instead of chance.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use quorate_check::Violation;
use quorate_node::Input;
use quorate_raft::{Membership, NodeId, RoleKind};

use super::{Event, World};
use crate::chance::Chance;
use crate::model::Request;
use crate::oracle::RequestId;
use crate::process::GROUP;
use crate::tenure::Played;

/// A write that a scenario asked for.
#[derive(Clone, Debug)]
pub struct DirectWrite {
    id: RequestId,
    request: Request,
}

impl World {
    /// Runs until this moment. The members have to be started with [`World::begin`].
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn run_until(&mut self, end: Duration) -> Result<(), Violation> {
        while self.heap.peek().is_some_and(|next| next.0.moment.at() <= end) {
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

    /// The member whose clock runs slowest, of those that may lead.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn slowest_clock(&self) -> NodeId {
        let slowest = self.has_state().min_by_key(|id| self.places[id].clock.ppm());
        slowest.expect("there are members")
    }

    /// Whoever leads is asked to hand over to this member.
    pub fn hands_over(&mut self, to: NodeId) {
        if let Some(leader) = self.leader().filter(|leader| *leader != to) {
            self.post(leader, Input::Transfer { group: GROUP, to: Some(to) });
        }
    }

    /// Whoever leads is asked for other members.
    pub fn changes_members(&mut self, members: Membership) {
        if let Some(leader) = self.leader() {
            self.ask_for(leader, members);
        }
    }

    /// Who votes, as far as the leader knows; nothing while that changes, or nobody leads.
    #[must_use]
    pub fn voters(&self) -> Option<&BTreeSet<NodeId>> {
        let process = self.places[&self.leader()?].process.as_ref()?;
        let (members, status) = (process.membership(), process.status());
        let is_settled = !members.is_joint() && status.membership_since <= status.commit;
        is_settled.then_some(&members.voters)
    }

    /// Nothing arrives any more between these and those, and all else does.
    pub fn cut_links(&mut self, these: &[NodeId], those: &[NodeId]) {
        let pairs = these.iter().flat_map(|this| those.iter().map(|that| (*this, *that)));
        self.net.block(pairs.flat_map(|(this, that)| [(this, that), (that, this)]).collect());
    }

    /// All links work again.
    pub fn mend_links(&mut self) {
        self.net.heal();
    }

    /// What was answered so far, and how often a leader with a lease had a turn.
    #[must_use]
    pub fn played(&self) -> Played {
        Played { took: self.now, reads: self.oracle.tally().reads, leased: self.report.leased }
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

    /// How many campaigns in earnest there were so far that no leader had asked for.
    #[must_use]
    pub fn campaigns(&self) -> u64 {
        self.report.campaigns
    }

    /// A member that is down is started.
    pub fn starts(&mut self, node: NodeId) {
        let process = self.place(node).processes;
        self.schedule(Duration::ZERO, Event::Restart { node, process });
    }

    /// The power fails at these members.
    ///
    /// # Errors
    /// If that shows that something is wrong.
    pub fn power_fails(&mut self, members: &BTreeSet<NodeId>) -> Result<(), Violation> {
        members.iter().try_for_each(|node| self.crash(*node))
    }

    /// The power fails at all members, after so many calls of each commit that is under way. What becomes of all
    /// that is not durable is drawn.
    ///
    /// # Errors
    /// If that shows that something is wrong.
    pub fn power_fails_within(&mut self, calls: u64, chance: &mut Chance) -> Result<(), Violation> {
        let members = self.members();
        members.into_iter().try_for_each(|node| self.crash_in(node, Some(calls), chance))
    }

    /// Lets the next event happen. Returns whether the run is over.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn step(&mut self) -> Result<bool, Violation> {
        self.happen_next()
    }

    /// Whether anybody's log is in the midst of a commit.
    #[must_use]
    pub fn commits(&self) -> bool {
        self.places.values().any(|place| place.process.is_some() && place.storage.commits())
    }

    /// How many snapshots were installed so far, and how many members came back from the loss of a disk.
    #[must_use]
    pub fn installed_and_rejoined(&self) -> (u64, u64) {
        (self.report.snapshots, self.report.rejoined)
    }

    /// A client writes at this member.
    pub fn write_at(&mut self, node: NodeId) -> DirectWrite {
        let request = self.workload.write();
        DirectWrite { id: self.ask(node, request.clone()), request }
    }

    /// How a write has ended: whether it took effect; nothing if it has not ended.
    #[must_use]
    pub fn ended_well(&self, write: &DirectWrite) -> Option<bool> {
        let has_ended = self.oracle.request(write.id).is_none();
        has_ended.then(|| self.oracle.has_committed(&write.request))
    }

    /// What was put up to the furthest position that a client was told of, keys and values.
    #[must_use]
    pub fn acknowledged_puts(&self) -> Vec<(Bytes, Bytes)> {
        self.oracle.acknowledged_puts()
    }

    /// Reads from every running member all that was ever put there.
    ///
    /// # Errors
    /// If one of these is not among it.
    pub fn read_back(&self, puts: &[(Bytes, Bytes)]) -> Result<(), Violation> {
        for (id, place) in self.places.iter() {
            let Some(process) = &place.process else { continue };
            let history = process.reading().whole_history().unwrap_or_default();
            let events = history.iter().flat_map(|revision| revision.events.iter());
            let there: BTreeSet<(Bytes, Bytes)> =
                events.map(|event| (event.kv.key.clone(), event.kv.value.clone())).collect();
            if let Some((key, value)) = puts.iter().find(|put| !there.contains(put)) {
                let what = format!("{id} has lost {key:?}, which was {value:?}");
                return Err(Violation::new("durability", what));
            }
        }
        Ok(())
    }

    /// How long each command of a client took to its acknowledgement, in the order of these.
    #[must_use]
    pub fn latencies(&self) -> &[Duration] {
        &self.latencies
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::process::node_id;
    use crate::swarm::Options;
    use crate::trace::Trace;

    /// A calm run of three members, at its end.
    pub(crate) fn ended(seed: u64) -> World {
        let mut options = Options::calm(3);
        options.faulty_for = Duration::from_secs(1);
        let mut world = World::new(seed, options, None, Trace::off());
        world.run().expect("all is well");
        world
    }

    /// The same; then the first member's process gives its place to one of another world, which holds another
    /// state.
    pub(crate) fn with_a_stranger(seed: u64) -> World {
        let (mut world, mut other) = (ended(seed), ended(seed + 1));
        world.place(node_id(0)).process = other.place(node_id(0)).process.take();
        world
    }

    #[test]
    fn a_member_that_lost_an_acknowledged_write_is_noticed() {
        let acknowledged = ended(1).acknowledged_puts();
        assert!(acknowledged.len() > 50, "{} writes", acknowledged.len());
        ended(1).read_back(&acknowledged).expect("all is there");
        let lost = with_a_stranger(1).read_back(&acknowledged).expect_err("that is another state");
        assert_eq!(lost.property, "durability");
    }
}
