//! Many groups on a few nodes, for measuring what they cost.
//!
//! Each node is the production code: a [`Node`] with all its groups, one log for all of them on a disk in memory,
//! and an applier for each. The network and the disks take as long as they are told to, always the same, so what
//! a request takes can be said in round trips and syncs. What one node has to say to another one in a round of
//! its own travels together: that is one write to a stream.
//!
//! Nothing goes wrong here by itself; whoever measures takes nodes away. For what can go wrong there is the
//! [`world`](crate::world).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_node::{
    Applied, Applier, Effects, Envelope, EnvelopeBody, Fault, FaultKind, Freshness, GroupConfig,
    Input, Machine, Node, NodeConfig, Piece, RestoreError, Snapshot,
};
use quorate_raft::{
    Body, ElectionPolicy, EntryId, GroupId, Limits, Membership, NodeId, Recovered, RoleKind, Seq,
    Time,
};
use quorate_wal::{MemDisk, Wal, WalOptions};

/// How a fleet is made.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// The nodes. Each group has a member on each.
    pub nodes: u64,
    /// On so many of them, the last ones, members are learners.
    pub learners: u64,
    /// The groups.
    pub groups: u64,
    /// After how long an idle group is quiet.
    pub quiet_after: Option<Duration>,
    /// The heartbeat of all groups.
    pub heartbeat: Duration,
    /// The election timeout of all groups.
    pub election_timeout: Duration,
    /// How long a message is on its way: half a round trip.
    pub delay: Duration,
    /// How long a sync takes.
    pub sync: Duration,
}

impl Layout {
    /// Three nodes with etcd's timing, a round trip of a millisecond and syncs of two, whose groups fall quiet after
    /// a second.
    #[must_use]
    pub fn of(groups: u64) -> Self {
        let ms = Duration::from_millis;
        Self {
            nodes: 3,
            learners: 0,
            groups,
            quiet_after: Some(ms(1_000)),
            heartbeat: ms(100),
            election_timeout: ms(1_000),
            delay: Duration::from_micros(500),
            sync: ms(2),
        }
    }

    /// The members of each group.
    fn membership(&self) -> Membership {
        let voters = self.nodes - self.learners;
        Membership {
            learners: (voters + 1..=self.nodes).map(NodeId).collect(),
            ..Membership::of_voters((1..=voters).map(NodeId))
        }
    }
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// What nodes said to one another.
    pub messages: u64,
    /// Those of them that are beats of nodes.
    pub beats: u64,
    /// Those of them that are heartbeats of groups, or answers to such.
    pub heartbeats: u64,
    /// What of it travelled together counts once here: a write to a stream.
    pub writes: u64,
    /// Syncs of logs.
    pub syncs: u64,
    /// Rounds of nodes.
    pub rounds: u64,
    /// How often a member took office.
    pub leaders: u64,
}

impl Counts {
    /// What came since then.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            messages: self.messages - before.messages,
            beats: self.beats - before.beats,
            heartbeats: self.heartbeats - before.heartbeats,
            writes: self.writes - before.writes,
            syncs: self.syncs - before.syncs,
            rounds: self.rounds - before.rounds,
            leaders: self.leaders - before.leaders,
        }
    }
}

#[derive(Debug)]
enum Event {
    Arrive { to: usize, envelopes: Vec<Envelope> },
    Synced { node: usize, process: u64 },
}

struct Scheduled {
    at: Time,
    number: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// A node, and what a host has around it.
struct Host {
    node: Node<u64>,
    effects: Effects<u64>,
    disk: MemDisk,
    wal: Wal,
    appliers: BTreeMap<GroupId, Applier<()>>,
    /// What waits for the sync under way, and what for the next.
    syncing: Option<Vec<(GroupId, Seq)>>,
    unsynced: Vec<(GroupId, Seq)>,
    /// Counts its processes.
    process: u64,
    is_up: bool,
}

/// See the module.
pub struct Fleet {
    layout: Layout,
    now: Time,
    hosts: Vec<Host>,
    heap: BinaryHeap<Reverse<Scheduled>>,
    numbered: u64,
    /// Links over which nothing arrives.
    cut: BTreeSet<(NodeId, NodeId)>,
    counts: Counts,
    /// Requests that ended, and when.
    ended: BTreeMap<u64, (Time, bool)>,
    requests: u64,
}

impl Fleet {
    /// All groups are there, and nobody leads yet.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        let hosts = (1..=layout.nodes)
            .map(|id| {
                let disk = MemDisk::new();
                let (node, wal) = open(&layout, NodeId(id), 1, &disk, Time(0), &BTreeMap::new());
                let membership = Arc::new(layout.membership());
                let applier =
                    || Applier::new(Box::new(Counter::default()), Arc::clone(&membership));
                Host {
                    node,
                    effects: Effects::default(),
                    disk,
                    wal,
                    appliers: groups(&layout).map(|group| (group, applier())).collect(),
                    syncing: None,
                    unsynced: Vec::new(),
                    process: 1,
                    is_up: true,
                }
            })
            .collect();
        Self {
            layout,
            now: Time(0),
            hosts,
            heap: BinaryHeap::new(),
            numbered: 0,
            cut: BTreeSet::new(),
            counts: Counts::default(),
            ended: BTreeMap::new(),
            requests: 0,
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// Lets time pass.
    pub fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        while self.happen_until(end) {}
        self.now = end;
    }

    /// Lets time pass until this holds, at most so long. Returns how long it took.
    pub fn run_until(
        &mut self,
        at_most: Duration,
        mut holds: impl FnMut(&Self) -> bool,
    ) -> Option<Duration> {
        let (begin, end) = (self.now, self.now + at_most);
        loop {
            if holds(self) {
                return Some(self.now.since(begin));
            }
            if !self.happen_until(end) {
                return None;
            }
        }
    }

    /// The next thing happens, if it does not come later.
    fn happen_until(&mut self, end: Time) -> bool {
        let deadline = |host: &Host| if host.is_up { host.node.deadline() } else { Time::NEVER };
        let timer = (0..self.hosts.len()).min_by_key(|host| deadline(&self.hosts[*host]));
        let timer = timer.expect("there are nodes");
        let timer_at = deadline(&self.hosts[timer]).max(self.now);
        let event_at = self.heap.peek().map_or(Time::NEVER, |next| next.0.at);
        if timer_at.min(event_at) > end {
            return false;
        }
        self.now = timer_at.min(event_at);
        if timer_at < event_at {
            self.round(timer);
            return true;
        }
        let Scheduled { event, .. } = self.heap.pop().expect("there is an event").0;
        match event {
            Event::Arrive { to, envelopes } => {
                let host = &mut self.hosts[to];
                if host.is_up {
                    for envelope in envelopes {
                        host.node.step(self.now, Input::Peer(envelope), &mut host.effects);
                    }
                    self.round(to);
                }
            }
            Event::Synced { node, process } => {
                let host = &mut self.hosts[node];
                if host.is_up && host.process == process {
                    host.wal.commit().expect("a disk in memory takes all");
                    self.counts.syncs += 1;
                    for (group, seq) in host.syncing.take().expect("a sync is under way") {
                        host.node.step(self.now, Input::Durable { group, seq }, &mut host.effects);
                    }
                    self.round(node);
                }
            }
        }
        true
    }

    /// A round of a node, and all that it asks for.
    fn round(&mut self, at: usize) {
        let host = &mut self.hosts[at];
        self.counts.rounds += 1;
        host.node.flush(self.now, &mut host.effects);
        loop {
            let jobs = std::mem::take(&mut host.effects.apply);
            if jobs.is_empty() {
                break;
            }
            for (group, job) in jobs {
                let mut applied = Applied::default();
                let applier = host.appliers.get_mut(&group).expect("the group is there");
                applier.run(job, &mut applied).expect("a counter never fails");
                let outcomes = applied.outcomes.into_iter().map(|(request, ())| request);
                let reads = applied.reads.into_iter().map(|(request, _)| request);
                let done = outcomes.chain(reads).map(|request| (request, (self.now, true)));
                self.ended.extend(done);
                for feedback in applied.feedback {
                    let input = Input::Applied { group, feedback };
                    host.node.step(self.now, input, &mut host.effects);
                }
            }
            host.node.flush(self.now, &mut host.effects);
        }
        for (request, _) in host.effects.failed.drain(..) {
            self.ended.insert(request, (self.now, false));
        }
        let took_office = |(_, event): &(GroupId, quorate_raft::Event)| {
            matches!(event, quorate_raft::Event::BecameLeader { .. })
        };
        self.counts.leaders += host.effects.events.iter().filter(|e| took_office(e)).count() as u64;
        for (group, persist) in host.effects.persist.drain(..) {
            host.wal.append(group, &persist.record);
            host.unsynced.push((group, persist.seq));
        }
        let mut writes: BTreeMap<NodeId, Vec<Envelope>> = BTreeMap::new();
        for envelope in host.effects.send.drain(..) {
            self.counts.messages += 1;
            match &envelope.body {
                EnvelopeBody::Beat { .. } => self.counts.beats += 1,
                EnvelopeBody::Raft(message) => {
                    let is_heartbeat =
                        matches!(message.body, Body::Heartbeat(_) | Body::HeartbeatReply(_));
                    self.counts.heartbeats += u64::from(is_heartbeat);
                }
                _ => {}
            }
            writes.entry(envelope.to).or_default().push(envelope);
        }
        host.effects.clear();
        let starts_sync = host.syncing.is_none() && !host.unsynced.is_empty();
        if starts_sync {
            host.syncing = Some(std::mem::take(&mut host.unsynced));
        }
        let (from, process) = (host.node.id(), host.process);
        if starts_sync {
            self.schedule(self.layout.sync, Event::Synced { node: at, process });
        }
        for (to, envelopes) in writes {
            self.counts.writes += 1;
            if !self.cut.contains(&(from, to)) {
                self.schedule(self.layout.delay, Event::Arrive { to: place(to), envelopes });
            }
        }
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.numbered += 1;
        let at = self.now + after;
        self.heap.push(Reverse(Scheduled { at, number: self.numbered, event }));
    }

    // ---- What somebody wants ----------------------------------------------------------------

    /// Asks a member of a group to replicate something. Returns how long it took until that one had the outcome.
    ///
    /// # Panics
    /// If it fails, or takes more than ten seconds.
    pub fn write(&mut self, node: NodeId, group: GroupId) -> Duration {
        self.requests += 1;
        let command = Bytes::from_static(b"one more");
        self.ask(node, Input::Propose { group, command, waiter: self.requests })
    }

    /// Asks a member of a group when it may be read. Returns how long it took.
    ///
    /// # Panics
    /// As [`Fleet::write`].
    pub fn read(&mut self, node: NodeId, group: GroupId) -> Duration {
        self.requests += 1;
        let (freshness, waiter) = (Freshness::Linearizable, self.requests);
        self.ask(node, Input::Read { group, freshness, waiter })
    }

    fn ask(&mut self, node: NodeId, input: Input<u64>) -> Duration {
        let request = self.requests;
        let host = &mut self.hosts[place(node)];
        host.node.step(self.now, input, &mut host.effects);
        self.round(place(node));
        let took =
            self.run_until(Duration::from_secs(10), |fleet| fleet.ended.contains_key(&request));
        let (_, well) = self.ended[&request];
        assert!(well, "request {request} failed");
        took.expect("it has ended")
    }

    // ---- How it stands ----------------------------------------------------------------------

    /// Who leads a group, of those that are up, as the one of the latest term says itself.
    #[must_use]
    pub fn leader(&self, group: GroupId) -> Option<NodeId> {
        let up = self.hosts.iter().filter(|host| host.is_up);
        let status = up.filter_map(|host| host.node.status(group)).map(|status| status.raft);
        let leads = status.filter(|status| status.role == RoleKind::Leader);
        leads.max_by_key(|status| status.term).map(|status| status.id)
    }

    /// The groups that somebody leads.
    #[must_use]
    pub fn led(&self) -> u64 {
        groups(&self.layout).filter(|group| self.leader(*group).is_some()).count() as u64
    }

    /// The groups of which all members that are up are quiet, and one of them leads.
    #[must_use]
    pub fn quiet(&self) -> u64 {
        let is_quiet = |host: &Host, group| host.node.status(group).is_some_and(|s| s.raft.quiet);
        let all = |group: &GroupId| {
            self.leader(*group).is_some()
                && self.hosts.iter().filter(|host| host.is_up).all(|host| is_quiet(host, *group))
        };
        groups(&self.layout).filter(all).count() as u64
    }

    /// The latest term of a group.
    #[must_use]
    pub fn term(&self, group: GroupId) -> u64 {
        let terms = self.hosts.iter().filter_map(|host| host.node.status(group));
        terms.map(|status| status.raft.term.0).max().unwrap_or(0)
    }

    /// How many groups are dormant, of all nodes that are up together.
    #[must_use]
    pub fn dormant(&self) -> u64 {
        let up = self.hosts.iter().filter(|host| host.is_up);
        up.map(|host| host.node.dormant() as u64).sum()
    }

    /// Gives back the memory of what is under way, of all appliers, then of all logs, their disks, and all nodes. Calls
    /// `between` after each, so that what each of them had can be told.
    pub fn take_apart(mut self, mut between: impl FnMut(&'static str)) {
        self.heap = BinaryHeap::new();
        self.ended = BTreeMap::new();
        for host in &mut self.hosts {
            host.effects = Effects::default();
            (host.syncing, host.unsynced) = (None, Vec::new());
        }
        between("queues of the host");
        for host in &mut self.hosts {
            host.appliers = BTreeMap::new();
        }
        between("state machines");
        for host in &mut self.hosts {
            host.wal = empty_log(&MemDisk::new());
        }
        between("index of the log");
        for host in &mut self.hosts {
            host.disk = MemDisk::new();
        }
        between("disk");
        drop(self);
        between("nodes");
    }

    // ---- What goes wrong --------------------------------------------------------------------

    /// A node is down from now on.
    pub fn kill(&mut self, node: NodeId) {
        let host = &mut self.hosts[place(node)];
        host.is_up = false;
        host.effects = Effects::default();
        (host.syncing, host.unsynced) = (None, Vec::new());
    }

    /// A node that is down starts again, as another process.
    ///
    /// # Panics
    /// If its log can't be opened.
    pub fn start(&mut self, node: NodeId) {
        let host = &mut self.hosts[place(node)];
        host.process += 1;
        let applied = host.appliers.iter().map(|(id, a)| (*id, a.machine().durable())).collect();
        host.disk.crash(|_| quorate_wal::Fate::Lost);
        (host.node, host.wal) =
            open(&self.layout, node, host.process, &host.disk, self.now, &applied);
        host.is_up = true;
        self.round(place(node));
    }

    /// Between these nodes nothing arrives from now on, neither way.
    pub fn cut(&mut self, one: NodeId, other: NodeId) {
        self.cut.extend([(one, other), (other, one)]);
    }

    /// All arrives again.
    pub fn heal(&mut self) {
        self.cut.clear();
    }
}

fn place(node: NodeId) -> usize {
    usize::try_from(node.0 - 1).expect("a few nodes")
}

/// The groups of a fleet.
fn groups(layout: &Layout) -> impl Iterator<Item = GroupId> + use<> {
    (1..=layout.groups).map(GroupId)
}

fn empty_log(disk: &MemDisk) -> Wal {
    let opened = Wal::open_whole(Box::new(disk.clone()), WalOptions::default());
    opened.expect("a log opens").0
}

/// A process of a node, with what its disk remembers.
fn open(
    layout: &Layout,
    id: NodeId,
    process: u64,
    disk: &MemDisk,
    now: Time,
    applied: &BTreeMap<GroupId, EntryId>,
) -> (Node<u64>, Wal) {
    let opened = Wal::open_whole(Box::new(disk.clone()), WalOptions::default());
    let (wal, mut recovered) = opened.expect("a log opens");
    let mut node = Node::new(NodeConfig::new(id, id.0 << 32 | process, id.0 << 32 | process));
    for group in groups(layout) {
        let config = GroupConfig {
            group,
            membership: layout.membership(),
            heartbeat_interval: layout.heartbeat,
            election_timeout: layout.election_timeout,
            election_policy: ElectionPolicy::Adaptive,
            quiet_after: layout.quiet_after,
            limits: Limits::default(),
            rejoining: None,
            lease: None,
            witness: false,
        };
        let remembered: Recovered = recovered.remove(&group).unwrap_or_default();
        let applied = applied.get(&group).copied().unwrap_or(EntryId::ZERO);
        node.add_group(config, remembered, applied, now);
    }
    (node, wal)
}

/// A machine that only counts: what it holds is what any machine must.
#[derive(Debug, Default)]
struct Counter {
    applied: EntryId,
    membership: Option<Bytes>,
}

impl Machine for Counter {
    type Outcome = ();

    fn applied(&self) -> EntryId {
        self.applied
    }

    fn durable(&self) -> EntryId {
        self.applied
    }

    fn apply(&mut self, _: EntryId, _: &Bytes) -> Result<(), Fault> {
        Ok(())
    }

    fn membership(&self) -> Option<Bytes> {
        self.membership.clone()
    }

    fn set_membership(&mut self, _: EntryId, membership: &Bytes) -> Result<(), Fault> {
        self.membership = Some(membership.clone());
        Ok(())
    }

    fn commit(&mut self, through: EntryId) -> Result<(), Fault> {
        self.applied = through;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, Fault> {
        Err(Fault::new(FaultKind::Io, "nobody is so far behind"))
    }

    fn restore(&mut self, _: &Piece) -> Result<(), RestoreError> {
        Err(RestoreError::Rejected("nobody is so far behind".into()))
    }
}
