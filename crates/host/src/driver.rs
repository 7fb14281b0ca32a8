//! A round of the raft thread: inbox → [`Node::step`] → [`Node::flush`] → effects.
//!
//! One round takes all that has arrived, steps through it, flushes once, and gives the effects to
//! whom they concern. Nothing in it waits: not for the disk, not for a peer, not for the machine. A
//! round is therefore short, and a heartbeat is never late because of one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_node::{
    ApplyJob, Effects, Feedback, Incarnation, Input, News, Node, PeerChange, PeerState, Step, View,
};
use quorate_raft::{Event, GroupId, Index, Membership, NodeId, RoleKind, Time};
use tokio::sync::watch;

use crate::ask::Reply;
use crate::asks::{Asks, Reach};
use crate::changes::Changes;
use crate::clock::Clock;
use crate::config::{HostConfig, HostEvent};
use crate::error::{MembersError, RequestError, TransferError};
use crate::fatal::Fatal;
use crate::following::Following;
use crate::handle::{Shared, Signal, Waiter};
use crate::inbox::Inbox;
use crate::peer::Directory;
use crate::reconcile::{self, Rests};
use crate::report::Reporter;
use crate::status::HostStatus;
use crate::transfers::{self, Transfers};
use crate::wal_thread::WalJob;
use crate::wire::Packet;

/// What the raft thread works on, or whoever has its turn ([`crate::turn`]).
pub(crate) struct Driver<O> {
    pub(crate) id: NodeId,
    /// Whether it was started as a witness.
    pub(crate) is_witness: bool,
    pub(crate) group: GroupId,
    /// This process.
    pub(crate) incarnation: Incarnation,
    /// Whether it said that it ends.
    pub(crate) leaves: bool,
    pub(crate) node: Node<Waiter<O>>,
    pub(crate) clock: Clock,
    pub(crate) shared: Arc<Shared<O>>,
    pub(crate) reporter: Arc<Reporter>,
    /// The end of everything, if a round panics or the disk was lost.
    pub(crate) fatal: Arc<Fatal>,
    /// Notes, durably, that this member counts again.
    pub(crate) on_rejoined: Box<dyn FnMut() -> Result<(), String> + Send>,
    /// The log's inbox.
    pub(crate) wal: Arc<Inbox<WalJob>>,
    /// The machine's inbox.
    pub(crate) apply: Arc<Inbox<ApplyJob<Waiter<O>>>>,
    /// The connections to the peers.
    pub(crate) directory: Arc<Directory>,
    /// Whom they are to.
    pub(crate) following: Following,
    /// Who belongs to the group.
    pub(crate) membership: Arc<Membership>,
    /// Whether this member did, as far as its log ever told.
    pub(crate) belongs: bool,
    /// What handles show.
    pub(crate) status: watch::Sender<Arc<HostStatus>>,
    pub(crate) asks: Asks,
    pub(crate) transfers: Transfers,
    pub(crate) changes: Changes,
    pub(crate) rests: Rests,
    /// How often a leader speaks, and how long a caller waits that asks again.
    pub(crate) heartbeat_interval: Duration,
    /// The peers to whom there is a connection.
    pub(crate) connected: BTreeSet<NodeId>,
    /// The last entry that the machine would keep through a crash, as it last said.
    pub(crate) machine_durable: Index,
    /// Until when the raft thread sleeps, if nobody wakes it.
    pub(crate) rests_until: Time,
    /// Kept for their memory only; empty between rounds.
    pub(crate) scratch: Scratch<O>,
}

/// What a round works with.
pub(crate) struct Scratch<O> {
    signals: Vec<Signal<O>>,
    effects: Effects<Waiter<O>>,
    outbox: Outbox,
}

impl<O> Default for Scratch<O> {
    fn default() -> Self {
        Self { signals: Vec::new(), effects: Effects::default(), outbox: Outbox::new() }
    }
}

/// What is sent in a round, by peer, so that each queue is locked once.
type Outbox = BTreeMap<NodeId, Vec<Packet>>;

impl<O: Send + 'static> Driver<O> {
    /// Takes what has arrived, and does all that follows from it and from the time. Called by whoever
    /// has the turn.
    pub(crate) fn round(&mut self) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let Scratch { signals, effects, outbox } = &mut scratch;
        self.shared.inbox.take_now(signals);
        let now = self.clock.now();
        self.shared.metrics.rounds.add(1);
        for signal in signals.drain(..) {
            self.take_in(now, signal, effects, outbox);
        }
        self.node.flush(now, effects);
        let is_change = |(_, event): &(_, Event)| matches!(event, Event::MembershipChanged { .. });
        if self.following.is_passing() || effects.events.iter().any(is_change) {
            self.follow_members(now);
        }
        self.carry_out(now, effects, outbox);
        self.asks.expire(now);
        self.transfers.expire(now);
        self.changes.expire(now);
        self.rests.expire(now);
        self.publish(outbox);
        self.send(outbox);
        self.scratch = scratch;
    }

    /// How long the raft thread may sleep now.
    pub(crate) fn rest(&mut self) -> Duration {
        self.rests_until = self.deadline();
        self.rests_until.since(self.clock.now())
    }

    /// Whether there is a deadline that the raft thread would sleep through.
    pub(crate) fn is_due_sooner(&self) -> bool {
        self.deadline() < self.rests_until
    }

    fn deadline(&self) -> Time {
        self.node
            .deadline()
            .min(self.asks.deadline())
            .min(self.transfers.deadline())
            .min(self.changes.deadline())
            .min(self.rests.deadline())
    }

    fn take_in(
        &mut self,
        now: Time,
        signal: Signal<O>,
        effects: &mut Effects<Waiter<O>>,
        outbox: &mut Outbox,
    ) {
        let group = self.group;
        match signal {
            Signal::Durable(durable) => {
                for (group, seq) in durable {
                    self.node.step(now, Input::Durable { group, seq }, effects);
                }
            }
            Signal::Healed(group) => {
                self.node.step(now, Input::Healed { group }, effects);
                self.reporter.tell(&HostEvent::Healed { group });
            }
            Signal::Applied(group, reports) => {
                for feedback in reports {
                    if let Feedback::Progress { durable, .. } = &feedback {
                        self.machine_durable = *durable;
                    }
                    self.node.step(now, Input::Applied { group, feedback }, effects);
                }
            }
            Signal::Peer(envelope) => self.node.step(now, Input::Peer(envelope), effects),
            Signal::Propose(command, waiter) => {
                self.shared.metrics.proposals.add(1);
                self.node.step(now, Input::Propose { group, command, waiter }, effects);
            }
            Signal::Read(freshness, waiter) => {
                self.shared.metrics.reads.add(1);
                self.node.step(now, Input::Read { group, freshness, waiter }, effects);
            }
            Signal::Change(membership, reply) => {
                let waiter = Waiter::Change(reply);
                self.node.step(now, Input::Change { group, membership, waiter }, effects);
            }
            Signal::Transfer(to, reply) => {
                let leader = self.status.borrow().leader;
                let Membership { voters, witnesses, .. } = &*self.membership;
                let able = voters.difference(witnesses).copied().collect();
                let verdict = transfers::check(self.id, leader, &able, to);
                match verdict {
                    Ok(()) => {
                        self.node.step(now, Input::Transfer { group, to }, effects);
                        if to.is_none() && self.keeps_the_lead() {
                            let _ = reply.send(Err(TransferError::NobodyFit));
                        } else {
                            self.transfers.push(now, reply);
                        }
                    }
                    Err(error) => {
                        let _ = reply.send(Err::<(), TransferError>(error));
                    }
                }
            }
            Signal::Ask(question) => {
                let reach = Reach {
                    id: self.id,
                    leader: self.status.borrow().leader,
                    peers: self.following.peers(),
                    connected: &self.connected,
                };
                self.asks.ask(now, question, reach, &mut into(outbox));
            }
            Signal::Answer { from, number, answer } => self.asks.answered(from, number, answer),
            Signal::Node(news) => self.hear_of(now, news, effects, outbox),
            Signal::Step(asked, reply) => self.step_toward(now, asked, reply, effects),
            Signal::Rest(reply) => self.rests.push(now + self.heartbeat_interval, reply),
            Signal::Leave => {
                self.leaves = true;
                let farewell = self.farewell();
                for peer in &self.connected {
                    outbox.entry(*peer).or_default().push(Packet::View(farewell));
                }
            }
        }
    }

    /// Takes in what is new of another member. One that is connected from now on is told how the others look
    /// from here; later it is told what changes.
    fn hear_of(
        &mut self,
        now: Time,
        news: News,
        effects: &mut Effects<Waiter<O>>,
        outbox: &mut Outbox,
    ) {
        match news {
            News::Connected { peer, up: true } => {
                self.connected.insert(peer);
                let views = self.node.detector().views(now).filter(|view| view.of != peer);
                let farewell = Some(self.farewell()).filter(|_| self.leaves);
                outbox.entry(peer).or_default().extend(views.chain(farewell).map(Packet::View));
            }
            News::Connected { peer, up: false } => {
                self.connected.remove(&peer);
                self.asks.disconnected(peer);
            }
            News::Met { .. } | News::Told { .. } => {}
        }
        self.node.step(now, Input::Node(news), effects);
    }

    /// Takes the next step toward other members, if there is one to take now, and says which.
    fn step_toward(
        &mut self,
        now: Time,
        asked: Bytes,
        reply: Reply,
        effects: &mut Effects<Waiter<O>>,
    ) {
        // What is no question of this program is none.
        let Some((desired, takes_it)) = reconcile::asked(asked) else { return };
        let group = self.group;
        let mut step = self.node.toward(group, &desired).expect("the group was added at the start");
        if let Step::Change(next) = &step
            && takes_it
        {
            let (membership, waiter) = (next.clone(), Waiter::Nobody);
            self.node.step(now, Input::Change { group, membership, waiter }, effects);
            let (_, taken) = effects.changes.pop().expect("a change is answered at once");
            if let Err(why) = taken {
                step = Step::not_taken(why);
            }
        }
        reply.send(reconcile::encode(&step));
    }

    /// "This process ends."
    fn farewell(&self) -> View {
        let (of, incarnation) = (self.id, self.incarnation);
        View { of, incarnation, state: PeerState::Leaving, age: Duration::ZERO }
    }

    /// A member looks different. What this one saw itself, the others hear of.
    fn peer_changed(&self, now: Time, change: PeerChange, outbox: &mut Outbox) {
        self.reporter.tell(&HostEvent::PeerChanged(change));
        if change.told_by.is_some() {
            return;
        }
        let view = self.node.detector().views(now).find(|view| view.of == change.peer);
        for peer in self.connected.iter().filter(|peer| **peer != change.peer) {
            outbox.entry(*peer).or_default().extend(view.map(Packet::View));
        }
    }

    /// Whether this member leads and is not about to hand over.
    fn keeps_the_lead(&self) -> bool {
        let raft = self.node.status(self.group).expect("the group was added at the start").raft;
        raft.role == RoleKind::Leader && raft.transferring.is_none()
    }

    /// Gives the effects to whom they concern, the furthest away first: the messages travel while
    /// the disk turns.
    fn carry_out(&mut self, now: Time, effects: &mut Effects<Waiter<O>>, outbox: &mut Outbox) {
        for envelope in effects.send.drain(..) {
            outbox.entry(envelope.to).or_default().push(Packet::Envelope(envelope));
        }
        self.send(outbox);
        if !effects.persist.is_empty() {
            let jobs = effects.persist.drain(..);
            self.wal.push_own(jobs.map(|(group, persist)| WalJob::Persist(group, persist)));
        }
        for (group, healed) in effects.healed.drain(..) {
            self.wal.push_own([WalJob::Heal(group, Box::new(healed))]);
        }
        if !effects.apply.is_empty() {
            let group = self.group;
            self.apply.push_own(effects.apply.drain(..).map(|(of, job)| {
                assert!(of == group, "a job of {of} on a host of {group}");
                job
            }));
        }
        for (waiter, error) in effects.failed.drain(..) {
            self.shared.fail(waiter, error.into());
        }
        for (waiter, begun) in effects.changes.drain(..) {
            if let Waiter::Change(reply) = waiter {
                match begun {
                    Ok(begun) => self.changes.push(now, begun, reply),
                    Err(why) => drop(reply.send(Err(MembersError::Refused(why)))),
                }
            }
        }
        for (group, event) in effects.events.drain(..) {
            if matches!(event, Event::TransferAborted { .. }) {
                self.transfers.aborted();
            }
            self.disk_was_lost(&event);
            self.reporter.tell(&HostEvent::Raft(group, event));
        }
        for change in effects.peers.drain(..) {
            self.peer_changed(now, change, outbox);
        }
        effects.clear();
    }

    /// What a lost disk means for the host: the end of the member, if nobody knew of it; and if somebody
    /// did, the end of the time in which it does not count.
    fn disk_was_lost(&mut self, event: &Event) {
        match event {
            Event::LogLost { last, acknowledged, .. } => self.fatal.happened(format!(
                "this member's log ends at {} but the cluster knows that it acknowledged {}: its disk \
                 was lost; start it on an empty --data-dir with --initial-cluster-state=existing",
                last.0, acknowledged.0
            )),
            // The one time in the life of a disk that a round waits for it.
            Event::Rejoined { .. } => {
                if let Err(error) = (self.on_rejoined)() {
                    self.fatal.happened(format!("can't note that this member counts again: {error}"));
                }
            }
            _ => {}
        }
    }

    /// Keeps connections to whoever belongs to the group now, and to those who left it as long as the leader has to
    /// tell them of that.
    pub(crate) fn follow_members(&mut self, now: Time) {
        let status = self.node.status(self.group).expect("the group was added at the start");
        let latest = self.node.membership(self.group).expect("the group was added at the start");
        if *self.membership != *latest {
            self.membership = Arc::new(latest.clone());
            self.directory.set_membership(Arc::clone(&self.membership));
        }
        let told = status.raft.peers.iter().map(|peer| peer.id);
        let Some(new) = self.following.look(now, latest, told) else { return };
        if let Err(error) = self.directory.follow(self.following.addresses()) {
            self.fatal.happened(format!("a connection to another member can't be made: {error}"));
        }
        let peers = self.following.peers();
        self.connected.retain(|id| peers.contains(id));
        for peer in new {
            // That changes nothing yet: a connection that is missing is noticed when it goes on missing.
            let news = News::Connected { peer, up: false };
            self.node.step(now, Input::Node(news), &mut Effects::default());
        }
    }

    fn send(&self, outbox: &mut Outbox) {
        let peers = self.directory.peers();
        for (peer, packets) in outbox {
            if packets.is_empty() {
                continue;
            }
            match peers.get(peer) {
                Some(peer) => peer.queue.push(packets).count(&peer.metrics),
                // It left the group in this round.
                None => packets.clear(),
            }
        }
    }

    /// Shows how things stand, if that changed, and wakes those who follow if more than positions
    /// did.
    fn publish(&mut self, outbox: &mut Outbox) {
        let group = self.node.status(self.group).expect("the group was added at the start");
        let before = self.status.borrow().clone();
        let detector = self.node.detector();
        let members = (&self.membership, self.following.peers());
        let status =
            before.next(&group.raft, self.machine_durable, members, &self.connected, detector);
        self.belongs |= Index(0) < status.membership_since && status.belongs();
        let was_removed = self.belongs && !status.belongs() && !status.is_changing();
        let status = HostStatus { was_removed, ..status };
        if status == *before {
            return;
        }
        // What is not committed may never have been.
        if !status.is_changing()
            && let Some(why) =
                HostConfig::contradiction(self.id, self.is_witness, &status.membership)
        {
            self.fatal.happened(why);
        }
        let leader_changed = status.leader != before.leader;
        let notable = status.is_notable_after(&before);
        if leader_changed && status.leader.is_some() && !status.is_leader() {
            self.transfers.moved();
        }
        let leader = status.leader;
        self.changes.look(&status);
        self.status.send_if_modified(|shown| {
            *shown = Arc::new(status);
            notable
        });
        if notable {
            let reach = Reach {
                id: self.id,
                leader,
                peers: self.following.peers(),
                connected: &self.connected,
            };
            self.asks.leader_may_be_known(reach, &mut into(outbox));
        }
    }
}

impl<O> Drop for Driver<O> {
    /// However the thread ends: whoever waits hears that the host stops.
    fn drop(&mut self) {
        self.shared.inbox.discard();
        self.status.send_modify(|status| Arc::make_mut(status).stopped = true);
    }
}

/// Puts packets into the outbox.
fn into(outbox: &mut Outbox) -> impl FnMut(NodeId, Packet) {
    |to, packet| outbox.entry(to).or_default().push(packet)
}

impl<O> Shared<O> {
    /// Ends a request without an outcome.
    pub(crate) fn fail(&self, waiter: Waiter<O>, error: RequestError) {
        match waiter {
            Waiter::Outcome(reply, permit) => {
                drop(permit);
                self.metrics.proposals_failed.add(1);
                let _ = reply.send(Err(error));
            }
            Waiter::Read(reply, permit) => {
                drop(permit);
                self.metrics.reads_failed.add(1);
                let _ = reply.send(Err(error));
            }
            Waiter::Nobody => {}
            Waiter::Change(reply) => {
                let _ = reply.send(Err(MembersError::NotReady));
            }
        }
    }
}
