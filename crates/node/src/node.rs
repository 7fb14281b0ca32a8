//! The groups of one node, behind one door.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BinaryHeap};
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::time::Duration;

use quorate_raft::{EntryId, GroupId, Index, Membership, NodeId, Recovered, Salvage, Time};

use crate::detector::{Detector, PeerChange};
use crate::effects::{Effects, Input, RequestError};
use crate::group::{Group, GroupConfig};
use crate::healing::HealingGroup;
use crate::lead::Priority;
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
    Running(Box<Group<W>>),
    /// Its storage is damaged, and it takes no part yet.
    Healing(Box<HealingGroup>),
}

/// A group, and what the node remembers of it.
#[derive(Debug)]
struct Seat<W> {
    slot: Slot<W>,
    /// When it has something to do without any input.
    deadline: Time,
    /// Whether it is in `touched`.
    is_touched: bool,
    /// Whom it waits to hear from, as far as the detector knows.
    awaited: Vec<NodeId>,
    /// Since which entry those are members whom the detector knows.
    members_since: Index,
}

/// The groups of one node.
#[derive(Debug)]
pub struct Node<W> {
    config: NodeConfig,
    groups: BTreeMap<GroupId, Seat<W>>,
    /// The deadlines of the groups that have one, soonest first, so that an idle group costs nothing. Those
    /// that are no longer their group's count for nothing; the first is always one that counts.
    deadlines: BinaryHeap<Reverse<(Time, GroupId)>>,
    /// Groups with input since the last flush, each once.
    touched: Vec<GroupId>,
    /// Which of the other nodes seem to be there.
    detector: Detector,
    /// When this node is to run next, if nobody wakes it; [`Time::NEVER`] once it has.
    due: Time,
}

/// So many deadlines that count for nothing are kept beside those that do, and a few more.
const STALE_DEADLINES: usize = 64;

impl<W> Node<W> {
    /// A node without groups.
    #[must_use]
    pub fn new(config: NodeConfig) -> Self {
        Self {
            config,
            groups: BTreeMap::new(),
            deadlines: BinaryHeap::new(),
            touched: Vec::new(),
            detector: Detector::new(),
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
        let group = Group::new(&self.config, config, recovered, applied, now);
        self.add(id, Slot::Running(Box::new(group)));
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
        let group = HealingGroup::new(&self.config, config, salvage, machine, now);
        self.add(id, Slot::Healing(Box::new(group)));
    }

    /// The detector knows the members of all groups.
    fn meet_members(&mut self, config: &GroupConfig, now: Time) {
        let others = config.membership.members().into_iter().filter(|id| *id != self.config.id);
        self.detector.add(others, config.heartbeat_interval, now);
    }

    fn add(&mut self, id: GroupId, slot: Slot<W>) {
        let seat = Seat {
            slot,
            deadline: Time::NEVER,
            is_touched: true,
            awaited: Vec::new(),
            members_since: Index(0),
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
        let group = match &mut seat.slot {
            Slot::Running(group) => group,
            Slot::Healing(group) => return group.step(now, input, out),
        };
        match input {
            Input::Peer(envelope) => group.peer(now, envelope, out),
            Input::Propose { command, waiter, .. } => group.propose(now, command, waiter, out),
            Input::Read { waiter, .. } => group.read(now, waiter, out),
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
        self.add(id, Slot::Running(Box::new(group.begin(now))));
    }

    /// Does what the inputs since the last call ask for together, and what time asks for.
    pub fn flush(&mut self, now: Time, out: &mut Effects<W>) {
        self.wake(now);
        // Before anybody gives up waiting: who was silent until now was missed.
        self.detector.look(now, &mut out.peers);
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
            let deadline = match &mut seat.slot {
                Slot::Running(group) => {
                    group.flush(now, &self.detector, out);
                    let since = group.members_since();
                    if core::mem::replace(&mut seat.members_since, since) != since {
                        let members = group.membership().members();
                        let others = members.into_iter().filter(|id| *id != self.config.id);
                        self.detector.add(others, Duration::ZERO, now);
                    }
                    if !seat.awaited.iter().copied().eq(group.awaited()) {
                        let detector = &mut self.detector;
                        wait_for(detector, now, &mut seat.awaited, group.awaited(), &mut out.peers);
                    }
                    group.deadline()
                }
                Slot::Healing(group) => {
                    group.flush(now, out);
                    group.deadline()
                }
            };
            if core::mem::replace(&mut seat.deadline, deadline) != deadline
                && deadline != Time::NEVER
            {
                self.deadlines.push(Reverse((deadline, id)));
            }
        }
        self.forget_stale_deadlines();
        self.due = self.deadline();
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
    }

    /// When [`Node::flush`] has something to do without any input.
    #[must_use]
    pub fn deadline(&self) -> Time {
        if !self.touched.is_empty() {
            return Time(0);
        }
        self.deadlines.peek().map_or(Time::NEVER, |&Reverse((deadline, _))| deadline)
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
            Slot::Running(group) => group.membership(),
            Slot::Healing(group) => group.membership(),
        })
    }

    /// What the other nodes look like from here, as of the last call of [`Node::step`] or
    /// [`Node::flush`].
    #[must_use]
    pub fn detector(&self) -> &Detector {
        &self.detector
    }

    /// What a group looks like here.
    #[must_use]
    pub fn status(&self, group: GroupId) -> Option<GroupStatus> {
        self.groups.get(&group).map(|seat| match &seat.slot {
            Slot::Running(group) => group.status(),
            Slot::Healing(group) => group.status(),
        })
    }
}

/// A group waits to hear from others than before. Whoever it goes on waiting for does not notice.
fn wait_for(
    detector: &mut Detector,
    now: Time,
    awaited: &mut Vec<NodeId>,
    others: impl Iterator<Item = NodeId>,
    out: &mut Vec<PeerChange>,
) {
    let before = core::mem::replace(awaited, others.collect());
    for id in awaited.iter() {
        detector.await_peer(now, *id, out);
    }
    for id in before {
        detector.release_peer(now, id, out);
    }
}
