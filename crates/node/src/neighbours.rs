//! The nodes that quiet groups lean on (see `quorate_raft`'s `quiet.rs`), and the one heartbeat for all of them.
//!
//! A group that is quiet hears nothing of its leader, and its leader nothing of the others. So the nodes say it for
//! them: as long as a node has a group that may fall quiet, it sends a *beat* in each interval to every node that
//! one of its groups waits to hear from. A leader waits for all others and a follower for its leader, so whoever
//! leans on a node is sent beats by it. What they cost does not depend on how many groups there are. One who seeks its
//! leader and does not campaign, as a learner that has just started, has its node say so to all voters.
//!
//! ```text
//!   beat: "I am process 4711 of n1"     once per heartbeat interval and pair of nodes
//! ```
//!
//! A neighbour is *lost* when it has not sent a beat for an election timeout, or the [`Detector`](crate::Detector),
//! which hears all that it says, has something against it. It is *another one* when its beat names another process:
//! that one leads nothing, whatever it led before. Then the groups that lean on it are woken: those that it leads;
//! those led here, of which a quorum is not heard any more; and, if it is another process now, all led here that
//! it belongs to, for it waits to hear of a leader. Messages of groups are no substitute for a beat: a new process may
//! say a lot about one group and not have another one at all.
//!
//! Thousands of groups may lean on one node. They wake up one by one, at places drawn from an election timeout, so that
//! their elections are not all at once.
//!
//! Nothing here matters for safety: a group that is woken without need asks for the votes of members that hear their
//! leader, and one that sleeps on is woken by the first who wants something of it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use quorate_raft::{NodeId, Time};

/// Another node, as far as groups here wait to hear from it.
#[derive(Debug)]
struct Neighbour {
    /// How many groups do.
    awaited_by: usize,
    /// How many groups seek their leader there.
    sought_by: usize,
    /// The process that sent the last beat.
    incarnation: Option<u64>,
    /// When that came, or when the first group began to wait.
    silent_since: Time,
    is_lost: bool,
}

impl Neighbour {
    fn new(now: Time) -> Self {
        Self { awaited_by: 0, sought_by: 0, incarnation: None, silent_since: now, is_lost: false }
    }

    /// Whether it is sent beats.
    fn hears(&self) -> bool {
        self.awaited_by > 0 || self.sought_by > 0
    }
}

/// What became of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It is not heard any more.
    Lost,
    /// It is another process.
    Restarted,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Neighbours {
    /// How often beats are sent; zero while no group may fall quiet.
    interval: Duration,
    /// After how much silence a neighbour is lost.
    patience: Duration,
    /// When they are sent next.
    beat_at: Time,
    peers: BTreeMap<NodeId, Neighbour>,
}

impl Neighbours {
    pub(crate) fn new() -> Self {
        Self {
            interval: Duration::ZERO,
            patience: Duration::ZERO,
            beat_at: Time::NEVER,
            peers: BTreeMap::new(),
        }
    }

    /// There is a group that may fall quiet. The shortest interval of all groups counts, and the longest timeout.
    pub(crate) fn add_group(&mut self, heartbeat: Duration, election_timeout: Duration, now: Time) {
        self.interval =
            if self.interval.is_zero() { heartbeat } else { self.interval.min(heartbeat) };
        self.patience = self.patience.max(election_timeout);
        self.beat_at = self.beat_at.min(now);
    }

    /// One more group waits to hear from this node.
    pub(crate) fn await_peer(&mut self, now: Time, id: NodeId) {
        let peer = self.peers.entry(id).or_insert_with(|| Neighbour::new(now));
        if peer.awaited_by == 0 {
            peer.silent_since = now;
            peer.is_lost = false;
        }
        peer.awaited_by += 1;
    }

    /// One less does. What was known of its process stays: the next group to wait begins with that.
    pub(crate) fn release_peer(&mut self, id: NodeId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.awaited_by = peer.awaited_by.saturating_sub(1);
        }
    }

    /// One more group seeks its leader there. Nothing is expected of the node for that.
    pub(crate) fn seek(&mut self, now: Time, id: NodeId) {
        self.peers.entry(id).or_insert_with(|| Neighbour::new(now)).sought_by += 1;
    }

    /// One less does.
    pub(crate) fn end_search(&mut self, id: NodeId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.sought_by = peer.sought_by.saturating_sub(1);
        }
    }

    /// A beat came. Only of nodes that somebody here waits for is anything remembered.
    pub(crate) fn heard(&mut self, now: Time, id: NodeId, incarnation: u64) -> Option<Turn> {
        let peer = self.peers.get_mut(&id)?;
        peer.silent_since = now;
        peer.is_lost = false;
        let before = peer.incarnation.replace(incarnation);
        before.filter(|before| *before != incarnation).map(|_| Turn::Restarted)
    }

    /// This node should have run so long ago, and could not: what was sent meanwhile is still unread.
    pub(crate) fn overslept(&mut self, now: Time, late: Duration) {
        for peer in self.peers.values_mut() {
            peer.silent_since = (peer.silent_since + late).min(now);
        }
    }

    /// The neighbours that are lost from now on. `is_good` tells whether all else that is known speaks for one.
    pub(crate) fn look(&mut self, now: Time, is_good: impl Fn(NodeId) -> bool) -> Vec<NodeId> {
        let mut lost = Vec::new();
        if self.interval.is_zero() {
            return lost;
        }
        for (id, peer) in &mut self.peers {
            let is_there = now.since(peer.silent_since) < self.patience && is_good(*id);
            if peer.awaited_by > 0 && !is_there && !peer.is_lost {
                peer.is_lost = true;
                lost.push(*id);
            }
        }
        lost
    }

    /// To whom a beat is to be sent now.
    pub(crate) fn beats(&mut self, now: Time) -> impl Iterator<Item = NodeId> {
        let is_due = self.beat_at <= now;
        if is_due {
            // In step with the heartbeats of the groups.
            let interval = u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX);
            let next = now + self.interval;
            self.beat_at = Time(next.0 - next.0 % interval);
        }
        self.peers.iter().filter(move |(_, peer)| is_due && peer.hears()).map(|(id, _)| *id)
    }

    /// Whether a node may be leant on.
    pub(crate) fn is_there(&self, id: NodeId) -> bool {
        self.peers.get(&id).is_none_or(|peer| !peer.is_lost)
    }

    /// When beats are due, if there is anybody to send them to.
    pub(crate) fn deadline(&self) -> Time {
        if self.peers.values().any(Neighbour::hears) { self.beat_at } else { Time::NEVER }
    }

    /// Over how long the groups that wake up for the same reason are spread.
    pub(crate) fn spread(&self) -> Duration {
        self.patience
    }
}
