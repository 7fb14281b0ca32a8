//! The groups of one node, behind one door.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BinaryHeap};
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::time::Duration;

use quorate_planted::planted;
use quorate_raft::rng::Rng;
use quorate_raft::{
    Commons, EntryId, GroupId, Index, Membership, NodeId, Recovered, RoleKind, Salvage, Status,
    Time,
};

use crate::detector::Detector;
use crate::effects::{Effects, Envelope, EnvelopeBody, Input, RequestError};
use crate::group::{Dormant, Group, GroupConfig};
use crate::healing::HealingGroup;
use crate::lead::Priority;
use crate::neighbours::{Neighbours, Turn};
use crate::reconcile::{self, Desired, Step, Waiting};
use crate::replace::{GroupView, Replacement, Replacer};
use crate::status::GroupStatus;

/// What a node is.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Its id, in all groups.
    pub id: NodeId,
    /// This process: drawn at random at every start, never used twice.
    pub incarnation: u64,
    /// Where chance comes from.
    pub seed: u64,
    /// How long a client's request may wait for its end.
    pub request_timeout: Duration,
    /// The largest command, in bytes.
    pub command_bytes_max: usize,
    /// The most commands, and as many reads, that may wait in a group.
    pub pending_max: usize,
    /// The most bytes of commands that may wait in a group.
    pub pending_bytes_max: usize,
    /// How much this node is wanted as the leader: see [`crate::lead`].
    pub leader_priority: Priority,
}

impl NodeConfig {
    /// A node with the usual bounds: requests may take 7 s (what etcd allows with its default
    /// timeouts), commands 2 MiB, and 16,384 of them or 256 MiB may wait.
    #[must_use]
    pub fn new(id: NodeId, incarnation: u64, seed: u64) -> Self {
        Self {
            id,
            incarnation,
            seed,
            request_timeout: Duration::from_secs(7),
            command_bytes_max: 2 << 20,
            pending_max: 16_384,
            pending_bytes_max: 256 << 20,
            leader_priority: Priority::default(),
        }
    }
}

/// A group, as far as it is.
#[derive(Debug)]
enum Slot<W> {
    Running(Box<Running<W>>),
    /// Nothing happens to it.
    Dormant(Box<Dormant>),
    /// Its storage is damaged, and it takes no part yet.
    Healing(Box<HealingGroup>),
}

/// A group that is awake, and what of it the detector knows.
#[derive(Debug)]
struct Running<W> {
    group: Group<W>,
    /// Whom it waits to hear from.
    awaited: Vec<NodeId>,
    /// Among whom it seeks its leader.
    sought: Vec<NodeId>,
    /// Since which entry those are members whom the detector knows.
    members_since: Index,
}

impl<W> Slot<W> {
    fn running(group: Group<W>) -> Self {
        let (awaited, sought) = (Vec::new(), Vec::new());
        Self::Running(Box::new(Running { group, awaited, sought, members_since: Index(0) }))
    }

    /// The group, which is awake from now on; or the one that heals.
    fn awake(
        &mut self,
        config: &NodeConfig,
        commons: &mut Commons,
    ) -> Result<&mut Running<W>, &mut HealingGroup> {
        if let Self::Dormant(dormant) = self {
            let group = Dormant::clone(dormant).wake(config, commons);
            // It fell asleep at the end of a flush.
            let awaited = group.footing().awaited().collect();
            let (sought, members_since) = (Vec::new(), group.members_since());
            *self = Self::Running(Box::new(Running { group, awaited, sought, members_since }));
        }
        match self {
            Self::Running(running) => Ok(running),
            Self::Healing(healing) => Err(healing),
            Self::Dormant(_) => unreachable!("it was woken"),
        }
    }

    /// How the member stands here, and who belongs to its group; `None` while it heals.
    fn look(&self) -> Option<(Status, &Membership)> {
        match self {
            Self::Running(running) => {
                Some((running.group.status().raft, running.group.membership()))
            }
            Self::Dormant(dormant) => Some((dormant.status().raft, dormant.membership())),
            Self::Healing(_) => None,
        }
    }

    /// Whether it is quiet, and should not be any more as this happened to a node.
    fn leans(&self, on: NodeId, turn: Turn, is_there: impl Fn(NodeId) -> bool) -> bool {
        let footing = match self {
            Self::Running(running) if running.group.is_quiet() => running.group.footing(),
            Self::Dormant(dormant) => dormant.footing(),
            Self::Running(_) | Self::Healing(_) => return false,
        };
        match turn {
            Turn::Restarted => footing.awaited().any(|id| id == on),
            Turn::Lost => !footing.is_safe(is_there),
        }
    }
}

/// A group, and what the node remembers of it.
#[derive(Debug)]
struct Seat<W> {
    slot: Slot<W>,
    /// When it has something to do without any input.
    deadline: Time,
    /// Whether it is in `touched`.
    is_touched: bool,
    /// Whether it may fall quiet.
    may_be_quiet: bool,
    /// When it is to be awake at the latest, as a node that it leans on is not to be relied on any more.
    wake_at: Time,
}

/// The groups of one node.
#[derive(Debug)]
pub struct Node<W> {
    config: NodeConfig,
    groups: BTreeMap<GroupId, Seat<W>>,
    /// What dormant groups have in common.
    commons: Commons,
    /// The deadlines of the groups that have one, soonest first, so that an idle group costs nothing. Those
    /// that are no longer their group's count for nothing; the first is always one that counts.
    deadlines: BinaryHeap<Reverse<(Time, GroupId)>>,
    /// Groups with input since the last flush, each once.
    touched: Vec<GroupId>,
    /// Which of the other nodes seem to be there.
    detector: Detector,
    /// Those of them that quiet groups lean on.
    neighbours: Neighbours,
    /// When this node is to run next, if nobody wakes it; [`Time::NEVER`] once it has.
    due: Time,
}

/// Room for as many things that come and go is kept, and beyond it that of a burst is given back.
pub(crate) const ROOM_KEPT: usize = 1024;

/// So many deadlines that count for nothing are kept beside those that do, and a few more.
const STALE_DEADLINES: usize = 64;

impl<W> Node<W> {
    /// A node without groups.
    #[must_use]
    pub fn new(config: NodeConfig) -> Self {
        Self {
            config,
            groups: BTreeMap::new(),
            commons: Commons::default(),
            deadlines: BinaryHeap::new(),
            touched: Vec::new(),
            detector: Detector::new(),
            neighbours: Neighbours::new(),
            due: Time::NEVER,
        }
    }

    /// Adds a group with what the log remembers of it. `applied` is how far its state machine's
    /// *durable* state reaches; the entries after it are given to the applier again.
    ///
    /// # Panics
    /// If the group is there already, or the machine and the log contradict one another.
    pub fn add_group(
        &mut self,
        config: GroupConfig,
        recovered: Recovered,
        applied: EntryId,
        now: Time,
    ) {
        let id = config.group;
        self.meet_members(&config, now);
        let may_be_quiet = config.quiet_after.is_some();
        let group = Group::new(&self.config, config, recovered, applied, now);
        self.add(id, may_be_quiet, Slot::running(group));
    }

    /// Adds a group whose log is damaged, or whose state machine, durable up to `machine`, ends before
    /// its log begins (the salvage has no gaps then). It heals with the help of others first, and takes
    /// no part meanwhile; requests fail at once with [`RequestError::NoLeader`]. When
    /// [`Effects::healed`] is durable and [`Input::Healed`] says so, the group begins.
    ///
    /// # Panics
    /// If the group is there already, or has no other voters.
    pub fn add_healing_group(
        &mut self,
        config: GroupConfig,
        salvage: Salvage,
        machine: EntryId,
        now: Time,
    ) {
        let id = config.group;
        self.meet_members(&config, now);
        let may_be_quiet = config.quiet_after.is_some();
        let group = HealingGroup::new(&self.config, config, salvage, machine, now);
        self.add(id, may_be_quiet, Slot::Healing(Box::new(group)));
    }

    /// The detector knows the members of all groups.
    fn meet_members(&mut self, config: &GroupConfig, now: Time) {
        let others = config.membership.members().into_iter().filter(|id| *id != self.config.id);
        self.detector.add(others, config.heartbeat_interval, now);
        if config.quiet_after.is_some() {
            let (heartbeat, election) = (config.heartbeat_interval, config.election_timeout);
            self.neighbours.add_group(heartbeat, election, now);
        }
    }

    fn add(&mut self, id: GroupId, may_be_quiet: bool, slot: Slot<W>) {
        assert!(id != Envelope::NO_GROUP, "a group has a name");
        let seat = Seat {
            slot,
            deadline: Time::NEVER,
            is_touched: true,
            may_be_quiet,
            wake_at: Time::NEVER,
        };
        assert!(self.groups.insert(id, seat).is_none(), "group {id} is there already");
        self.touched.push(id);
    }

    /// Takes in what happened. Cheap; what follows from many inputs together is left to
    /// [`Node::flush`].
    pub fn step(&mut self, now: Time, input: Input<W>, out: &mut Effects<W>) {
        self.wake(now);
        let id = match &input {
            Input::Peer(envelope) => {
                self.detector.heard(now, envelope.from, &mut out.peers);
                if let EnvelopeBody::Beat { incarnation } = envelope.body {
                    if let Some(turn) = self.neighbours.heard(now, envelope.from, incarnation) {
                        self.rouse(now, envelope.from, turn);
                    }
                    return;
                }
                envelope.group
            }
            Input::Transfer { group, .. } | Input::Change { group, .. } => {
                self.detector.look(now, &mut out.peers);
                *group
            }
            Input::Propose { group, .. }
            | Input::Read { group, .. }
            | Input::Durable { group, .. }
            | Input::Applied { group, .. } => *group,
            Input::Healed { group } => return self.begin(now, *group),
            Input::Node(news) => return self.detector.news(now, news, &mut out.peers),
            Input::Timeout => return,
        };
        let Some(seat) = self.groups.get_mut(&id) else {
            if let Input::Propose { waiter, .. }
            | Input::Read { waiter, .. }
            | Input::Change { waiter, .. } = input
            {
                out.failed.push((waiter, RequestError::NoSuchGroup));
            }
            return;
        };
        if !core::mem::replace(&mut seat.is_touched, true) {
            self.touched.push(id);
        }
        let group = match seat.slot.awake(&self.config, &mut self.commons) {
            Ok(running) => &mut running.group,
            Err(healing) => return healing.step(now, input, out),
        };
        // Whoever asks it for a vote now asks one who has reason to doubt its leader as well.
        if core::mem::replace(&mut seat.wake_at, Time::NEVER) != Time::NEVER {
            group.wake(now, true, out);
        }
        match input {
            Input::Peer(envelope) => group.peer(now, envelope, out),
            Input::Propose { command, waiter, .. } => group.propose(now, command, waiter, out),
            Input::Read { freshness, waiter, .. } => group.read(now, freshness, waiter, out),
            Input::Durable { seq, .. } => {
                group.step(now, quorate_raft::Input::Durable(seq), out);
            }
            Input::Applied { feedback, .. } => group.applied(now, feedback, out),
            Input::Transfer { to, .. } => group.transfer(now, to, &self.detector, out),
            Input::Change { membership, waiter, .. } => {
                group.change(now, membership, waiter, &self.detector, out);
            }
            Input::Healed { .. } | Input::Node(_) | Input::Timeout => {}
        }
    }

    /// This node runs. What it is late for its own deadline is no silence of anybody.
    fn wake(&mut self, now: Time) {
        let due = core::mem::replace(&mut self.due, Time::NEVER);
        if due < now {
            self.detector.overslept(now, now.since(due));
            self.neighbours.overslept(now, now.since(due));
        }
    }

    /// The log of a group that healed is durable.
    ///
    /// # Panics
    /// If it does not heal.
    fn begin(&mut self, now: Time, id: GroupId) {
        let seat = self.groups.remove(&id).expect("a group that heals is there");
        let Slot::Healing(group) = seat.slot else { panic!("group {id} does not heal") };
        self.touched.retain(|touched| *touched != id);
        self.add(id, seat.may_be_quiet, Slot::running(group.begin(now)));
    }

    /// Does what the inputs since the last call ask for together, and what time asks for.
    pub fn flush(&mut self, now: Time, out: &mut Effects<W>) {
        self.wake(now);
        // Before anybody gives up waiting: who was silent until now was missed.
        self.detector.look(now, &mut out.peers);
        for lost in self.neighbours.look(now, |id| self.detector.is_good(id)) {
            self.rouse(now, lost, Turn::Lost);
        }
        while let Some(&Reverse((deadline, id))) = self.deadlines.peek() {
            if deadline > now {
                break;
            }
            self.deadlines.pop();
            let Some(seat) = self.groups.get_mut(&id) else { continue };
            if seat.deadline == deadline {
                seat.deadline = Time::NEVER;
                if !core::mem::replace(&mut seat.is_touched, true) {
                    self.touched.push(id);
                }
            }
        }
        self.touched.sort_unstable();
        for id in self.touched.drain(..) {
            let seat = self.groups.get_mut(&id).expect("a touched group exists");
            seat.is_touched = false;
            let deadline = match seat.slot.awake(&self.config, &mut self.commons) {
                Ok(Running { group, awaited, sought, members_since }) => {
                    if seat.wake_at <= now {
                        seat.wake_at = Time::NEVER;
                        group.wake(now, true, out);
                    }
                    group.flush(now, &self.detector, out);
                    let since = group.members_since();
                    if core::mem::replace(members_since, since) != since {
                        let members = group.membership().members();
                        let others = members.into_iter().filter(|id| *id != self.config.id);
                        self.detector.add(others, Duration::ZERO, now);
                    }
                    let footing = group.footing();
                    if !awaited.iter().copied().eq(footing.awaited()) {
                        let before: Vec<NodeId> =
                            core::mem::replace(awaited, footing.awaited().collect());
                        for id in awaited.iter() {
                            self.detector.await_peer(now, *id, &mut out.peers);
                            if seat.may_be_quiet {
                                self.neighbours.await_peer(now, *id);
                            }
                        }
                        for id in before {
                            self.detector.release_peer(now, id, &mut out.peers);
                            if seat.may_be_quiet {
                                self.neighbours.release_peer(id);
                            }
                        }
                    }
                    if seat.may_be_quiet && !sought.iter().copied().eq(footing.sought()) {
                        let before = core::mem::replace(sought, footing.sought().collect());
                        sought.iter().for_each(|id| self.neighbours.seek(now, *id));
                        before.into_iter().for_each(|id| self.neighbours.end_search(id));
                    }
                    // It agreed to be quiet with somebody who was lost before.
                    if seat.wake_at == Time::NEVER
                        && group.is_quiet()
                        && !footing.is_safe(|id| self.neighbours.is_there(id))
                    {
                        seat.wake_at = waking(&self.config, &self.neighbours, id, now);
                    }
                    let deadline = group.deadline().min(seat.wake_at);
                    if deadline == Time::NEVER
                        && let Some(dormant) = group.rest(&mut self.commons)
                    {
                        seat.slot = Slot::Dormant(Box::new(dormant));
                    }
                    deadline
                }
                Err(healing) => {
                    healing.flush(now, out);
                    healing.deadline()
                }
            };
            if core::mem::replace(&mut seat.deadline, deadline) != deadline
                && deadline != Time::NEVER
            {
                self.deadlines.push(Reverse((deadline, id)));
            }
        }
        self.touched.shrink_to(ROOM_KEPT);
        self.forget_stale_deadlines();
        let (from, incarnation) = (self.config.id, self.config.incarnation);
        out.send.extend(self.neighbours.beats(now).map(|to| Envelope {
            group: Envelope::NO_GROUP,
            from,
            to,
            body: EnvelopeBody::Beat { incarnation },
        }));
        self.due = self.deadline();
    }

    /// A node is not to be relied on any more: wakes the groups that lean on it, one by one.
    fn rouse(&mut self, now: Time, neighbour: NodeId, turn: Turn) {
        if planted!(LostNeighbourIgnored) {
            return;
        }
        let neighbours = &self.neighbours;
        for (&id, seat) in &mut self.groups {
            let leans = seat.slot.leans(neighbour, turn, |id| neighbours.is_there(id));
            if leans && seat.wake_at == Time::NEVER {
                seat.wake_at = waking(&self.config, neighbours, id, now);
                if seat.wake_at < seat.deadline {
                    seat.deadline = seat.wake_at;
                    self.deadlines.push(Reverse((seat.wake_at, id)));
                }
            }
        }
    }

    /// Sees that the first deadline is one that counts, and that there are not many others.
    fn forget_stale_deadlines(&mut self) {
        let counts = |deadline, id: &GroupId| {
            self.groups.get(id).is_some_and(|seat| seat.deadline == deadline)
        };
        while let Some(Reverse((deadline, id))) = self.deadlines.peek()
            && !counts(*deadline, id)
        {
            self.deadlines.pop();
        }
        if self.deadlines.len() > 2 * self.groups.len() + STALE_DEADLINES {
            self.deadlines.clear();
            let with_deadline = self.groups.iter().filter(|(_, seat)| seat.deadline != Time::NEVER);
            self.deadlines.extend(with_deadline.map(|(&id, seat)| Reverse((seat.deadline, id))));
        }
        if self.deadlines.len() < self.deadlines.capacity() / 4 {
            self.deadlines.shrink_to(ROOM_KEPT);
        }
    }

    /// When [`Node::flush`] has something to do without any input.
    #[must_use]
    pub fn deadline(&self) -> Time {
        if !self.touched.is_empty() {
            return Time(0);
        }
        let first = self.deadlines.peek().map_or(Time::NEVER, |&Reverse((deadline, _))| deadline);
        first.min(self.neighbours.deadline())
    }

    /// Who this is.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.config.id
    }

    /// Who belongs to a group, as far as its log tells here; not all of it may be committed.
    #[must_use]
    pub fn membership(&self, group: GroupId) -> Option<&Membership> {
        self.groups.get(&group).map(|seat| match &seat.slot {
            Slot::Running(running) => running.group.membership(),
            Slot::Dormant(dormant) => dormant.membership(),
            Slot::Healing(group) => group.membership(),
        })
    }

    /// What is to be done next so that a group has the desired members, as this node sees it, which knows that only
    /// if it leads: see [`crate::reconcile`]. What is to be changed is asked for with [`Input::Change`].
    #[must_use]
    pub fn toward(&self, group: GroupId, desired: &Desired) -> Option<Step> {
        self.groups.get(&group).map(|seat| match seat.slot.look() {
            Some((status, now)) => reconcile::toward(&status, now, desired, &self.detector),
            None => Step::Wait(Waiting::Leader(None)),
        })
    }

    /// Which voter of a group has failed for so long that it is to make way for which spare now, if this node leads:
    /// see [`crate::replace`]. To be asked every second or more often, and carried out with [`Input::Change`].
    pub fn replacement(
        &self,
        group: GroupId,
        now: Time,
        replacer: &mut Replacer,
        is_spare: impl Fn(NodeId) -> bool,
    ) -> Option<Replacement> {
        let here = self.groups.get(&group)?.slot.look();
        let Some((status, members)) = here.filter(|(at, _)| at.role == RoleKind::Leader) else {
            replacer.pauses();
            return None;
        };
        replacer.look(now, &GroupView::of(&status, members, &self.detector), is_spare)
    }

    /// What the other nodes look like from here, as of the last call of [`Node::step`] or
    /// [`Node::flush`].
    #[must_use]
    pub fn detector(&self) -> &Detector {
        &self.detector
    }

    /// How many groups are kept in little memory, as nothing happens to them.
    #[must_use]
    pub fn dormant(&self) -> usize {
        let is_dormant = |seat: &&Seat<W>| matches!(seat.slot, Slot::Dormant(_));
        self.groups.values().filter(is_dormant).count()
    }

    /// What a group looks like here.
    #[must_use]
    pub fn status(&self, group: GroupId) -> Option<GroupStatus> {
        self.groups.get(&group).map(|seat| match &seat.slot {
            Slot::Running(running) => running.group.status(),
            Slot::Dormant(dormant) => dormant.status(),
            Slot::Healing(group) => group.status(),
        })
    }
}

/// When a group wakes up, of many that may do so for the same reason.
fn waking(config: &NodeConfig, neighbours: &Neighbours, group: GroupId, now: Time) -> Time {
    let spread = u64::try_from(neighbours.spread().as_nanos()).unwrap_or(u64::MAX);
    let drawn = Rng::new(config.seed ^ now.0 ^ group.0.rotate_left(32)).below(spread.max(1));
    now + Duration::from_nanos(1 + drawn)
}
