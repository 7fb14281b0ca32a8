//! Who of the other nodes is there: a judgement for people, for metrics, and for who is to lead next.
//!
//! **It decides nothing that safety hangs on.** Raft counts votes and acknowledgements, and needs no
//! opinion about anybody. What is said here may be wrong, and then somebody is shown as absent who is
//! not, or does not get a leadership that it could have had.
//!
//! There is one detector for all groups of a node, since it is processes and machines that fail.
//!
//! # Who is waited for
//!
//! Silence means something only where speech is due. A leader hears from every other member, as each
//! answers its heartbeats; a follower hears from the leader. Two followers may have nothing to say to
//! one another for hours: they are [`PeerState::Idle`] to each other, which is neither good nor bad.
//! A peer to which there is no connection is waited for as well, since the host tries to make one all
//! the time.
//!
//! # When silence is too long
//!
//! ```text
//!              heard                silent                    silent for longer
//!      Idle ──────────► Active ───────────────► Suspect ────────────────────────► Failed
//!       ▲                 │ ▲                      │                                 │
//!       └─────────────────┘ └──────────────────────┴──────────── heard ──────────────┘
//!     not waited for           says that it leaves, from any state: Leaving, until another process comes
//! ```
//!
//! The level of suspicion is phi (`rhythm.rs`), which takes into account how regularly this peer speaks.
//! It presumes that intervals are normally distributed; the pauses of busy machines are longer and more
//! frequent than that. A verdict therefore takes some rounds that were missed as well: four for a suspicion,
//! which costs little and may be wrong, ten for a failure. So rounds bind for a peer that is regular but for
//! its pauses, and phi for one that never was regular; `accuracy.rs` has the numbers.
//!
//! A single message ends a suspicion at once, for it proves that the peer is there. What keeps a peer
//! from going back and forth is the window: the interval that was too long becomes part of the rhythm,
//! and the next one must be longer still. The silence of a failure does not count as an interval.
//!
//! While this node did not run, it heard nobody. What it slept beyond its own deadline is nobody's silence
//! ([`Detector::overslept`]).
//!
//! The detector has no deadline of its own. A leader wakes with each heartbeat and a follower with its
//! election timer at the latest, and then it is looked at; an idle node sleeps on.
//!
//! # What others say
//!
//! Nodes tell one another how they see third ones ([`View`]): a follower thereby knows what only its
//! leader sees. Where views differ,
//!
//! 1. a contact of this node's own counts, unless the other one's view rests on something later;
//! 2. then what is said of a later process counts, and all that is said of an earlier one is past;
//! 3. else, of the same process, what rests on the later evidence counts. That one hears the peer
//!    regularly is evidence of every moment; that there is silence, of the moment of the verdict.
//!
//! That somebody was alive says that it had not failed until then, and not that it is alive now. So a good
//! report ends a bad one, and leaves a peer idle of which there is nothing else to say.

mod rhythm;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use quorate_raft::{NodeId, Time};

use crate::lead::Priority;

pub use self::rhythm::Phi;
use self::rhythm::{Estimate, Rhythm};

/// From here on a silent peer is suspected: regular intervals are as long once in 10^8.
const SUSPECT_PHI: Phi = Phi::of(8);

/// So many messages must be missing for that.
const SUSPECT_ROUNDS: u64 = 4;

/// From here on it has failed, as far as this node can tell.
const FAILED_PHI: Phi = Phi::of(16);

/// So many messages must be missing for that. With etcd's timing that is an election timeout.
const FAILED_ROUNDS: u64 = 10;

/// What a peer looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeerState {
    /// Nobody here waits to hear from it, and there is nothing against it.
    Idle,
    /// It speaks when it should.
    Active,
    /// It has been silent for longer than is usual.
    Suspect,
    /// It has been silent for so long that it is most likely not there, or not to be reached.
    Failed,
    /// It said that it ends, and may be gone.
    Leaving,
}

impl PeerState {
    /// All states.
    pub const ALL: [Self; 5] =
        [Self::Idle, Self::Active, Self::Suspect, Self::Failed, Self::Leaving];

    /// Whether nothing speaks against giving it something to do.
    #[must_use]
    pub fn is_good(self) -> bool {
        matches!(self, Self::Idle | Self::Active)
    }

    /// Its name, as it is shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Active => "active",
            Self::Suspect => "suspect",
            Self::Failed => "failed",
            Self::Leaving => "leaving",
        }
    }
}

/// Names a process of a node, and tells which of two was started later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Incarnation {
    /// When it was started, in milliseconds since 1970 by its own clock. After a clock was set back,
    /// reports about the process before seem to be later, until this node itself hears the new one.
    pub started_ms: u64,
    /// What it drew at its start, as in [`crate::NodeConfig::incarnation`]. Zero in both numbers stands
    /// for a process that this node has not met.
    pub process: u64,
}

/// What a node tells others about itself. Its host bounds the lengths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The version of the program; empty if it is not known.
    pub version: String,
    /// Where it stands: members of one zone may be lost together. Empty if nobody said.
    pub zone: String,
    /// Where other members are to reach it.
    pub addresses: Vec<String>,
    /// How much it is wanted as the leader.
    pub leader_priority: Priority,
}

/// How a node sees another one, told to a third.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The node that is seen. Who speaks of itself says that it leaves.
    pub of: NodeId,
    /// The process that is meant.
    pub incarnation: Incarnation,
    /// What it looks like. [`PeerState::Idle`] says nothing and is not told.
    pub state: PeerState,
    /// How old the evidence is: the last contact if the peer is active, else the verdict.
    pub age: Duration,
}

/// What a host learns about a peer, other than by a message of a group.
#[derive(Clone, Debug)]
pub enum News {
    /// It said who it is, just now.
    Met {
        /// The peer.
        peer: NodeId,
        /// Its process.
        incarnation: Incarnation,
        /// What it says about itself.
        about: Arc<About>,
    },
    /// The connection to it was made or ended. A host that makes connections says at its start that there
    /// are none.
    Connected {
        /// The peer.
        peer: NodeId,
        /// Whether there is a connection now.
        up: bool,
    },
    /// A peer told how it sees another node.
    Told {
        /// Who says so.
        by: NodeId,
        /// What it says.
        view: View,
    },
}

/// A peer looks different from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerChange {
    /// The peer.
    pub peer: NodeId,
    /// What it looked like before.
    pub from: PeerState,
    /// What it looks like now.
    pub to: PeerState,
    /// Whose word that rests on; `None` if this node saw it itself.
    pub told_by: Option<NodeId>,
}

/// What there is to say about a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerHealth {
    /// The peer.
    pub id: NodeId,
    /// What it looked like when it was last looked at.
    pub state: PeerState,
    /// Since when.
    pub since: Time,
    /// Whose word that rests on; `None` if this node saw it itself.
    pub told_by: Option<NodeId>,
    /// When this node last heard it.
    pub last_contact: Option<Time>,
    /// Whether there is a connection to it; `None` where there are no connections.
    pub connected: Option<bool>,
    /// Its last known process.
    pub incarnation: Incarnation,
    /// What it said about itself.
    pub about: Arc<About>,
    /// Since when it is silent, and what that is measured by; `None` if nobody here waits for it.
    silence: Option<(Time, Estimate)>,
}

impl PeerHealth {
    /// Nothing is known of this peer yet.
    #[must_use]
    pub fn unknown(id: NodeId) -> Self {
        Self {
            id,
            state: PeerState::Idle,
            since: Time(0),
            told_by: None,
            last_contact: None,
            connected: None,
            incarnation: Incarnation::default(),
            about: Arc::default(),
            silence: None,
        }
    }

    /// How suspicious its silence is at this moment.
    #[must_use]
    pub fn phi(&self, now: Time) -> Phi {
        self.silence.map_or(Phi(0), |(since, estimate)| estimate.phi(now.since(since)))
    }
}

/// What another node says about a peer.
#[derive(Clone, Copy, Debug)]
struct Told {
    by: NodeId,
    incarnation: Incarnation,
    state: PeerState,
    /// When the evidence is from.
    at: Time,
}

/// A peer.
#[derive(Clone, Debug)]
struct Peer {
    /// What it looks like to this node alone, and since when.
    own: PeerState,
    own_since: Time,
    /// What it looks like after all that was said, and since when.
    shown: PeerState,
    shown_since: Time,
    /// Whose word that rests on.
    shown_by: Option<NodeId>,
    /// The process that was last met.
    incarnation: Incarnation,
    about: Arc<About>,
    /// When it was last heard.
    heard: Option<Time>,
    /// From when its silence counts: the last contact, or when somebody began to wait for it; later by what
    /// this node overslept since.
    silent_since: Time,
    rhythm: Rhythm,
    /// In how many groups it should speak.
    awaited_by: usize,
    connected: Option<bool>,
    /// The best of what others say.
    told: Option<Told>,
}

/// The peers of a node, as far as they are known to be there.
#[derive(Debug)]
pub struct Detector {
    /// How often a peer should speak that is waited for. Where groups differ, the longest.
    interval: Duration,
    peers: BTreeMap<NodeId, Peer>,
}

impl Detector {
    pub(crate) fn new() -> Self {
        Self { interval: Duration::ZERO, peers: BTreeMap::new() }
    }

    /// There are these peers, who speak this often when they should.
    pub(crate) fn add(
        &mut self,
        peers: impl IntoIterator<Item = NodeId>,
        interval: Duration,
        now: Time,
    ) {
        self.interval = self.interval.max(interval);
        for id in peers {
            self.peers.entry(id).or_insert_with(|| Peer::new(now));
        }
    }

    /// One more group waits to hear from this peer.
    pub(crate) fn await_peer(&mut self, now: Time, id: NodeId, out: &mut Vec<PeerChange>) {
        let interval = self.interval;
        self.change(now, id, out, |peer| {
            if !peer.is_awaited() {
                peer.silent_since = now;
            }
            peer.awaited_by += 1;
            let is_fresh = peer.heard.is_some_and(|heard| now.since(heard) <= interval);
            if peer.own == PeerState::Idle && is_fresh {
                peer.set_own(now, PeerState::Active);
            }
        });
    }

    /// A group no longer waits for this peer.
    pub(crate) fn release_peer(&mut self, now: Time, id: NodeId, out: &mut Vec<PeerChange>) {
        self.change(now, id, out, |peer| {
            peer.awaited_by = peer.awaited_by.saturating_sub(1);
            if peer.awaited_by == 0 && peer.own == PeerState::Active {
                peer.set_own(now, PeerState::Idle);
            }
        });
    }

    /// A message of this peer arrived.
    pub(crate) fn heard(&mut self, now: Time, id: NodeId, out: &mut Vec<PeerChange>) {
        let interval = self.interval;
        self.change(now, id, out, |peer| peer.hear(now, interval));
    }

    /// What the host learned.
    pub(crate) fn news(&mut self, now: Time, news: &News, out: &mut Vec<PeerChange>) {
        let interval = self.interval;
        match news {
            News::Met { peer, incarnation, about } => self.change(now, *peer, out, |peer| {
                if peer.incarnation != *incarnation {
                    // Nothing that was said or known of another process holds for this one. Whoever was
                    // met last is the present one, whatever the clocks say.
                    peer.incarnation = *incarnation;
                    peer.rhythm = Rhythm::new();
                    peer.set_own(now, PeerState::Idle);
                    peer.silent_since = now;
                }
                peer.about = Arc::clone(about);
                peer.hear(now, interval);
            }),
            News::Connected { peer, up } => self.change(now, *peer, out, |peer| {
                let was_awaited = peer.is_awaited();
                peer.connected = Some(*up);
                if !was_awaited {
                    peer.silent_since = now;
                }
            }),
            News::Told { by, view } => {
                if self.peers.contains_key(by) {
                    self.change(now, view.of, out, |peer| peer.hear_of(now, *by, *view));
                }
            }
        }
    }

    /// This node should have run so long ago, and could not: nobody is blamed for that time.
    pub(crate) fn overslept(&mut self, now: Time, late: Duration) {
        // Less than that is the usual delay of a busy machine, and part of everybody's rhythm.
        if late < self.interval / 2 {
            return;
        }
        for peer in self.peers.values_mut() {
            peer.silent_since = (peer.silent_since + late).min(now);
        }
    }

    /// Judges the silence of those who are waited for.
    pub(crate) fn look(&mut self, now: Time, out: &mut Vec<PeerChange>) {
        let interval = self.interval;
        for (&id, peer) in &mut self.peers {
            peer.judge(now, interval);
            peer.show(now, id, out);
        }
    }

    /// Whether something speaks against giving a task to this peer: by what this node sees, or by what it
    /// was told.
    pub(crate) fn is_good(&self, id: NodeId) -> bool {
        self.peers.get(&id).is_none_or(|peer| peer.own.is_good() && peer.shown.is_good())
    }

    /// Whether this peer speaks as it should.
    pub(crate) fn is_active(&self, id: NodeId) -> bool {
        self.peers.get(&id).is_some_and(|peer| peer.shown == PeerState::Active)
    }

    /// How much this peer is wanted as the leader, as far as it said.
    pub(crate) fn priority(&self, id: NodeId) -> Priority {
        self.peers.get(&id).map_or(Priority::default(), |peer| peer.about.leader_priority)
    }

    /// How this node sees the others, for those who are told: what it saw itself and has something to say
    /// about.
    pub fn views(&self, now: Time) -> impl Iterator<Item = View> {
        self.peers.iter().filter_map(move |(&of, peer)| {
            let evidence = match peer.own {
                PeerState::Idle => return None,
                PeerState::Active => peer.heard?,
                PeerState::Suspect | PeerState::Failed | PeerState::Leaving => peer.own_since,
            };
            let age = now.since(evidence);
            Some(View { of, incarnation: peer.incarnation, state: peer.own, age })
        })
    }

    /// All there is to say about a peer, if it is one.
    #[must_use]
    pub fn peer(&self, id: NodeId) -> Option<PeerHealth> {
        self.peers.get(&id).map(|peer| peer.health(id, self.interval))
    }

    /// The same of all of them, ascending by id.
    pub fn peers(&self) -> impl Iterator<Item = PeerHealth> {
        self.peers.iter().map(|(&id, peer)| peer.health(id, self.interval))
    }

    /// Changes a peer, if there is such a one, and says what has become of it.
    fn change(
        &mut self,
        now: Time,
        id: NodeId,
        out: &mut Vec<PeerChange>,
        change: impl FnOnce(&mut Peer),
    ) {
        if let Some(peer) = self.peers.get_mut(&id) {
            change(peer);
            peer.show(now, id, out);
        }
    }
}

impl Peer {
    fn new(now: Time) -> Self {
        Self {
            own: PeerState::Idle,
            own_since: now,
            shown: PeerState::Idle,
            shown_since: now,
            shown_by: None,
            incarnation: Incarnation::default(),
            about: Arc::default(),
            heard: None,
            silent_since: now,
            rhythm: Rhythm::new(),
            awaited_by: 0,
            connected: None,
            told: None,
        }
    }

    fn health(&self, id: NodeId, interval: Duration) -> PeerHealth {
        let measure = || (self.silent_since, self.rhythm.estimate(interval));
        PeerHealth {
            id,
            state: self.shown,
            since: self.shown_since,
            told_by: self.shown_by,
            last_contact: self.heard,
            connected: self.connected,
            incarnation: self.incarnation,
            about: Arc::clone(&self.about),
            silence: self.is_awaited().then(measure),
        }
    }

    /// Whether its silence means something.
    fn is_awaited(&self) -> bool {
        self.awaited_by > 0 || self.connected == Some(false)
    }

    fn set_own(&mut self, now: Time, state: PeerState) {
        if self.own != state {
            (self.own, self.own_since) = (state, now);
        }
    }

    fn hear(&mut self, now: Time, interval: Duration) {
        if self.awaited_by > 0 && self.own != PeerState::Failed {
            self.rhythm.note(now.since(self.silent_since), interval);
        }
        (self.heard, self.silent_since) = (Some(now), now);
        // Whatever others said rests on something earlier.
        self.told = None;
        // Who leaves goes on speaking for a while.
        if self.own != PeerState::Leaving {
            let is_due = self.awaited_by > 0;
            self.set_own(now, if is_due { PeerState::Active } else { PeerState::Idle });
        }
    }

    /// Somebody says this of it.
    fn hear_of(&mut self, now: Time, by: NodeId, view: View) {
        let View { of, incarnation, state, age } = view;
        if by == of {
            // Another process than the one that was met has nothing to say about this one.
            if state == PeerState::Leaving && incarnation == self.incarnation {
                self.set_own(now, PeerState::Leaving);
            }
            return;
        }
        let age = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        let told = Told { by, incarnation, state, at: Time(now.0.saturating_sub(age)) };
        let is_past = self.heard.is_some_and(|heard| heard >= told.at)
            || incarnation < self.incarnation
            || self.told.is_some_and(|best| (incarnation, told.at) < (best.incarnation, best.at));
        if state != PeerState::Idle && !is_past {
            self.told = Some(told);
        }
    }

    fn judge(&mut self, now: Time, interval: Duration) {
        if !self.is_awaited() || matches!(self.own, PeerState::Failed | PeerState::Leaving) {
            return;
        }
        let silence = now.since(self.silent_since);
        // Next to nobody is silent at any time.
        if silence < interval {
            return;
        }
        let estimate = self.rhythm.estimate(interval);
        let (phi, rounds) = (estimate.phi(silence), estimate.rounds(silence));
        if phi >= FAILED_PHI && rounds >= FAILED_ROUNDS {
            self.set_own(now, PeerState::Failed);
        } else if phi >= SUSPECT_PHI && rounds >= SUSPECT_ROUNDS {
            self.set_own(now, PeerState::Suspect);
        }
    }

    /// What another one says, if it counts for more than what this node sees.
    fn overruled_by(&self) -> Option<Told> {
        let told = self.told?;
        let evidence = match self.own {
            PeerState::Active => Time::NEVER,
            PeerState::Idle => self.heard.unwrap_or(Time(0)),
            PeerState::Suspect | PeerState::Failed | PeerState::Leaving => self.own_since,
        };
        (told.incarnation > self.incarnation || told.at >= evidence).then_some(told)
    }

    /// Settles what it looks like, and says so if that has changed.
    fn show(&mut self, now: Time, id: NodeId, out: &mut Vec<PeerChange>) {
        let (state, since, told_by) = match self.overruled_by() {
            None => (self.own, self.own_since, None),
            Some(told) if told.state == PeerState::Active => match self.own.is_good() {
                true => (self.own, self.own_since, None),
                false => (PeerState::Idle, now, Some(told.by)),
            },
            Some(told) => (told.state, told.at, Some(told.by)),
        };
        let from = self.shown;
        self.shown_by = told_by;
        if from != state {
            // What went before was true for a while, whatever is known now.
            self.shown_since = if since > self.shown_since { since } else { now };
            self.shown = state;
            out.push(PeerChange { peer: id, from, to: state, told_by });
        }
    }
}

#[cfg(test)]
mod accuracy;
#[cfg(test)]
mod tests;
