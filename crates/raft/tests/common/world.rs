//! A world of members with virtual time, faults drawn from a seed, and eyes for every property that
//! Raft promises.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use quorate_raft::{
    AppendReply, Body, Config, Effects, ElectionPolicy, Entry, EntryId, Event, GroupId, Index,
    Input, Lease, Limits, Membership, Message, NodeId, ReadId, RoleKind, Seq, SnapshotReply, Term,
    Time, VoteReply, quorum,
};

use super::{Member, Random, contains, last};

pub(crate) const MS: u64 = 1_000_000;

/// The rate of a clock that is right.
const RIGHT_PPM: u64 = 1_000_000;

#[derive(Debug)]
pub(crate) enum Happening {
    Deliver(Message),
    Sync { node: NodeId, start: u64, count: usize },
    Durable { node: NodeId, start: u64, seq: Seq },
    Snapshot { node: NodeId, start: u64 },
    Wake { node: NodeId, start: u64 },
    Restart(NodeId),
    Read(NodeId),
    Client,
    Fault,
}

/// How bad the world is; drawn from the seed.
#[derive(Debug)]
pub(crate) struct Weather {
    pub(crate) nodes: u64,
    pub(crate) learners: u64,
    pub(crate) loss: u64,
    pub(crate) repeat: u64,
    pub(crate) delay: u64,
    pub(crate) sync: u64,
    pub(crate) crash: u64,
    pub(crate) partition: u64,
    pub(crate) compact: u64,
    /// How often who belongs to the group changes, and how many members there are besides those that belong to
    /// it at first.
    pub(crate) churn: u64,
    pub(crate) spare: u64,
    /// Who keeps no state.
    pub(crate) witness: Option<NodeId>,
    /// Whether leaders have a lease, and by how much each clock is off at most.
    pub(crate) lease: Option<Lease>,
}

pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) weather: Weather,
    pub(crate) now: Time,
    pub(crate) count: u64,
    pub(crate) queue: BTreeMap<(Time, u64), Happening>,
    pub(crate) members: BTreeMap<NodeId, Member>,
    /// How fast the clock of each runs, in parts per million.
    clocks: BTreeMap<NodeId, u64>,
    /// Links that drop everything.
    pub(crate) cut: BTreeSet<(NodeId, NodeId)>,
    pub(crate) calm: bool,
    pub(crate) is_traced: bool,
    pub(crate) proposals: u64,
    // What was ever seen, for the checks.
    pub(crate) leaders: BTreeMap<Term, NodeId>,
    pub(crate) votes: BTreeMap<(NodeId, Term), NodeId>,
    pub(crate) committed: Vec<Entry>,
    /// The largest commit index any member has known.
    pub(crate) commit: Index,
    pub(crate) reads: BTreeMap<ReadId, Index>,
    /// How many reads there were.
    asked: u64,
    pub(crate) reads_answered: u64,
    /// How many of these a leader of several answered by its lease.
    pub(crate) leased: u64,
    pub(crate) crashes: u64,
    pub(crate) snapshots: u64,
    pub(crate) changes: u64,
    pub(crate) tails: u64,
    /// How often somebody slept, as a follower and as a leader.
    pub(crate) naps: (u64, u64),
}

/// The witness, if it belongs to them.
fn witnesses(members: &Membership, witness: Option<NodeId>) -> BTreeSet<NodeId> {
    witness.filter(|id| members.contains(*id)).into_iter().collect()
}

impl World {
    /// A world whose weather, size and limits the seed decides, with faults to come.
    pub(crate) fn new(seed: u64) -> Self {
        Self::in_weather(seed, None)
    }

    /// The same, in which groups fall quiet, and clients rest for long enough. Beside each member is one that sleeps.
    pub(crate) fn sleepy(seed: u64) -> Self {
        Self::in_weather(seed, Some(Duration::from_millis(20)))
    }

    /// Three members in fair weather whose group falls quiet.
    pub(crate) fn sleepy_and_fair(nodes: u64) -> Self {
        let mut world = Self::fair(nodes, 7);
        let now = world.now;
        for member in world.members.values_mut() {
            member.crash(0);
            member.config.quiet_after = Some(Duration::from_millis(20));
            member.start(now);
        }
        world.ids().into_iter().for_each(|id| world.wake_later(id));
        world
    }

    /// Whoever leads takes a command.
    pub(crate) fn propose(&mut self) {
        let leads =
            |id: &NodeId| self.members[id].raft.as_ref().unwrap().status().role == RoleKind::Leader;
        let leader = self.ids().into_iter().find(leads).expect("somebody leads");
        let command = self.command();
        self.step(leader, Input::Propose(vec![command]));
    }

    /// A machine makes itself durable, and the log is told.
    pub(crate) fn make_machine_durable(&mut self, id: NodeId) {
        let member = self.members.get_mut(&id).unwrap();
        member.machine.sync();
        let durable = member.machine.position().index;
        self.step(id, Input::Compact(durable));
    }

    fn in_weather(seed: u64, quiet_after: Option<Duration>) -> Self {
        let mut random = Random(seed);
        let mut weather = Weather {
            nodes: 1 + random.below(5),
            learners: u64::from(random.chance(20)),
            loss: random.below(4) * random.below(10),
            repeat: random.below(20),
            delay: [1, 5, 30, 200][random.below(4) as usize],
            sync: [0, 1, 10, 100][random.below(4) as usize],
            crash: random.below(30),
            partition: random.below(30),
            compact: random.below(20),
            churn: [0, 5, 30][random.below(3) as usize],
            spare: random.below(4),
            witness: None,
            lease: None,
        };
        // Of one voter or two, a witness is of no use; but it may join them, if there is somebody to do so.
        let all = weather.nodes + weather.learners + weather.spare;
        let first = if weather.nodes < 3 { weather.nodes } else { 0 };
        if first < all && random.chance(50) {
            weather.witness = Some(NodeId(1 + first + random.below(all - first)));
        }
        if random.chance(50) {
            let drift_ppm = [0, 1_000, 200_000][random.below(3) as usize];
            weather.lease = Some(Lease { drift_ppm });
        }
        let limits = Limits {
            append_bytes_max: [40, 200, 1 << 20][random.below(3) as usize],
            inflight_messages_max: [1, 4, 256][random.below(3) as usize],
            retained_bytes_max: [0, 200, 1 << 20][random.below(3) as usize],
            retained_bytes_min: 100,
            ..Limits::default()
        };
        let mut world = Self::with(seed, random, weather, limits, quiet_after);
        world.at(10 * MS, Happening::Client);
        world.at(100 * MS, Happening::Fault);
        world
    }

    /// A world where all is well, and stays so but for what the test does to it.
    pub(crate) fn fair(nodes: u64, seed: u64) -> Self {
        let weather = Weather {
            nodes,
            learners: 0,
            loss: 0,
            repeat: 0,
            delay: 2,
            sync: 1,
            crash: 0,
            partition: 0,
            compact: 0,
            churn: 0,
            spare: 0,
            witness: None,
            lease: None,
        };
        Self::with(seed, Random(seed), weather, Limits::default(), None)
    }

    fn with(
        seed: u64,
        mut random: Random,
        weather: Weather,
        limits: Limits,
        quiet_after: Option<Duration>,
    ) -> Self {
        let voters: Vec<NodeId> = (1..=weather.nodes).map(NodeId).collect();
        let learners = (weather.nodes + 1..=weather.nodes + weather.learners).map(NodeId);
        let mut membership = Membership::of_voters(voters);
        membership.learners = learners.collect();
        membership.witnesses = witnesses(&membership, weather.witness);
        let policy = match seed % 3 {
            0 => ElectionPolicy::Fixed,
            1 => ElectionPolicy::Backoff,
            _ => ElectionPolicy::Adaptive,
        };
        let all = weather.nodes + weather.learners + weather.spare;
        let members: BTreeMap<NodeId, Member> = (1..=all)
            .map(NodeId)
            .map(|id| {
                let config = Config {
                    id,
                    group: GroupId(1),
                    membership: membership.clone(),
                    heartbeat_interval: Duration::from_millis(20),
                    election_timeout: Duration::from_millis(100),
                    election_policy: policy,
                    quiet_after,
                    incarnation: 1,
                    seed: seed * 100 + id.0,
                    rejoining: None,
                    lease: weather.lease,
                    witness: weather.witness == Some(id),
                    limits,
                };
                let mut member = Member::new(config, Time(0));
                member.piece_length = [300, 5000][random.below(2) as usize];
                (id, member)
            })
            .collect();
        let drift = weather.lease.map_or(0, |lease| u64::from(lease.drift_ppm));
        let clocks = members
            .keys()
            .map(|id| (*id, RIGHT_PPM - drift + random.below(2 * drift + 1)))
            .collect();
        let mut world = Self {
            random,
            weather,
            now: Time(0),
            count: 0,
            queue: BTreeMap::new(),
            members,
            clocks,
            cut: BTreeSet::new(),
            calm: false,
            is_traced: std::env::var_os("RAFT_TRACE").is_some(),
            proposals: 0,
            leaders: BTreeMap::new(),
            votes: BTreeMap::new(),
            committed: Vec::new(),
            commit: Index(0),
            reads: BTreeMap::new(),
            asked: 0,
            reads_answered: 0,
            leased: 0,
            crashes: 0,
            snapshots: 0,
            changes: 0,
            tails: 0,
            naps: (0, 0),
        };
        for id in world.ids() {
            world.wake_later(id);
        }
        world
    }

    pub(crate) fn ids(&self) -> Vec<NodeId> {
        self.members.keys().copied().collect()
    }

    fn at(&mut self, delay: u64, happening: Happening) {
        self.count += 1;
        self.queue.insert((Time(self.now.0 + delay), self.count), happening);
    }

    /// What a member's clock shows.
    fn local(&self, id: NodeId) -> Time {
        Time(self.now.0 * self.clocks[&id] / RIGHT_PPM)
    }

    fn wake_later(&mut self, node: NodeId) {
        let member = &self.members[&node];
        let Some(raft) = &member.raft else { return };
        let (deadline, start) = (raft.deadline(), member.starts);
        if deadline != Time::NEVER {
            let when = (deadline.0 * RIGHT_PPM).div_ceil(self.clocks[&node]);
            let delay = when.saturating_sub(self.now.0);
            self.at(delay, Happening::Wake { node, start });
        }
    }

    /// Runs for so long.
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((time, _), happening) = entry.remove_entry();
            self.now = time;
            self.happen(happening);
        }
        self.now = end;
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Deliver(message) => {
                let to = message.to;
                if self.members[&to].is_up() {
                    self.step(to, Input::Message(message));
                }
            }
            Happening::Sync { node, start, count } => {
                if let Some(member) = self.running(node, start)
                    && let Some(seq) = member.sync(count)
                {
                    // The news may be late, and overtaken by later news.
                    let delay = self.random.below(1 + self.weather.sync * MS);
                    self.at(delay, Happening::Durable { node, start, seq });
                }
            }
            Happening::Durable { node, start, seq } => {
                if self.running(node, start).is_some() {
                    self.step(node, Input::Durable(seq));
                }
            }
            Happening::Snapshot { node, start } => {
                if let Some(member) = self.running(node, start)
                    && let Some(input) = member.work_on_snapshot()
                {
                    if let Input::SnapshotInstalled { last } = &input {
                        self.snapshots += 1;
                        let applied = &self.members[&node].machine.applied;
                        assert_eq!(applied.len() as u64, last.index.0);
                        let is_witness = self.weather.witness == Some(node);
                        assert!(is_witness || applied[..] == self.committed[..applied.len()]);
                    }
                    let is_installed = matches!(input, Input::SnapshotInstalled { .. });
                    self.step(node, input);
                    // The machine is ahead of the log for a moment: a good one to crash in.
                    if is_installed && !self.calm && self.random.below(100) < self.weather.crash {
                        self.crash(node);
                    }
                }
            }
            Happening::Wake { node, start } => {
                let now = self.local(node);
                if let Some(member) = self.running(node, start)
                    && member.raft.as_ref().unwrap().deadline() <= now
                {
                    self.step(node, Input::Timeout);
                }
            }
            Happening::Restart(node) => {
                let now = self.local(node);
                let member = self.members.get_mut(&node).unwrap();
                if !member.is_up() {
                    member.start(now);
                    self.wake_later(node);
                }
            }
            Happening::Read(node) => {
                if self.members[&node].is_up() {
                    self.read(node);
                }
            }
            Happening::Client => self.client(),
            Happening::Fault => self.fault(),
        }
    }

    fn running(&mut self, node: NodeId, start: u64) -> Option<&mut Member> {
        self.members.get_mut(&node).filter(|member| member.is_up() && member.starts == start)
    }

    pub(crate) fn client(&mut self) {
        if !self.calm {
            let delay = (1 + self.random.below(20)) * MS;
            self.at(delay, Happening::Client);
        }
        if self.rests() {
            return;
        }
        for id in self.ids() {
            if !self.members[&id].is_up() {
                continue;
            }
            let is_leader =
                self.members[&id].raft.as_ref().unwrap().status().role == RoleKind::Leader;
            if is_leader && self.random.chance(70) {
                let count = self.random.below(3);
                let commands = (0..count).map(|_| self.command()).collect();
                self.step(id, Input::Propose(commands));
            }
            if self.random.chance(20) {
                self.read(id);
            }
            if !self.calm && self.random.chance(self.weather.compact) {
                let now = self.local(id);
                let effects = self.members.get_mut(&id).unwrap().compact(now);
                self.after(id, effects);
            }
            if is_leader && self.random.chance(self.weather.churn) && !self.calm {
                self.change(id);
            }
            if is_leader && self.random.chance(1) {
                let to = NodeId(1 + self.random.below(self.weather.nodes + 1));
                self.step(id, Input::Transfer(to));
            }
        }
    }

    /// Reads at a member. Whoever leads and answers at once relies on its lease, or on nobody else.
    fn read(&mut self, id: NodeId) {
        self.asked += 1;
        let read = ReadId { incarnation: id.0, counter: self.asked };
        self.reads.insert(read, self.commit);
        let answered = self.reads_answered;
        self.step(id, Input::Read(read));
        let raft = self.members[&id].raft.as_ref().unwrap();
        if answered < self.reads_answered {
            let (term, last) = (raft.term(), *self.leaders.last_key_value().unwrap().0);
            assert!(term == last, "{id} answers by its lease in {term}, and somebody led {last}");
            let is_alone = quorum::has_quorum(raft.membership(), |voter| voter == id);
            self.leased += u64::from(!is_alone);
        }
    }

    /// Whether clients leave the groups alone.
    fn rests(&self) -> bool {
        let may_be_quiet = self.members.values().any(|member| member.config.quiet_after.is_some());
        may_be_quiet && self.now.0 % (500 * MS) < 300 * MS
    }

    /// Tells quiet members that others are not there, as their nodes would; or without any reason.
    fn doubt(&mut self) {
        let all_up = self.members.values().all(Member::is_up);
        for id in self.ids() {
            let is_quiet =
                self.members[&id].raft.as_ref().is_some_and(quorate_raft::Raft::is_quiet);
            if is_quiet && (!all_up || self.random.chance(20)) {
                let doubted = !all_up || self.random.chance(50);
                self.step(id, Input::Wake { doubted });
            }
        }
    }

    /// Asks a leader for other members, at random.
    fn change(&mut self, leader: NodeId) {
        let (mut voters, mut learners) = (BTreeSet::new(), BTreeSet::new());
        let raft = self.members[&leader].raft.as_ref().unwrap();
        let now = raft.membership().clone();
        for id in self.ids() {
            // Nobody becomes a voter at once.
            match self.random.below(10) {
                0..6 if now.is_voter(id) => drop(voters.insert(id)),
                0..5 if now.contains(id) => drop(voters.insert(id)),
                0..8 => drop(learners.insert(id)),
                _ => {}
            }
        }
        let mut wanted = Membership { voters, learners, ..Membership::default() };
        wanted.witnesses = witnesses(&wanted, self.weather.witness);
        self.step(leader, Input::Change(wanted));
    }

    fn command(&mut self) -> Bytes {
        self.proposals += 1;
        let length = self.random.below(60) as usize;
        Bytes::from(format!("{}{:length$}", self.proposals, ""))
    }

    fn fault(&mut self) {
        if self.calm {
            return;
        }
        let delay = (1 + self.random.below(300)) * MS;
        self.at(delay, Happening::Fault);
        self.doubt();
        for id in self.ids() {
            if self.random.chance(self.weather.crash) && self.members[&id].is_up() {
                self.crash(id);
            }
        }
        self.cut.clear();
        if self.random.chance(self.weather.partition) {
            for from in self.ids() {
                for to in self.ids() {
                    if self.random.chance(40) {
                        self.cut.insert((from, to));
                        if self.random.chance(50) {
                            self.cut.insert((to, from));
                        }
                    }
                }
            }
        }
    }

    /// Forgets what was not synced, but for some of the first writes.
    fn crash(&mut self, id: NodeId) {
        let member = self.members.get_mut(&id).unwrap();
        let survive = self.random.below(member.unsynced.len() as u64 + 1) as usize;
        member.crash(survive);
        self.crashes += 1;
        let delay = self.random.below(400) * MS;
        self.at(delay, Happening::Restart(id));
    }

    pub(crate) fn step(&mut self, id: NodeId, input: Input) {
        let now = self.local(id);
        let member = self.members.get_mut(&id).unwrap();
        let membership = member.raft.as_ref().unwrap().membership().clone();
        let naps = |member: &Member| member.sleeper.as_ref().map_or((0, 0), |sleeper| sleeper.naps);
        let before = naps(member);
        let effects = member.step(now, input);
        let after = naps(member);
        self.naps.0 += after.0 - before.0;
        self.naps.1 += after.1 - before.1;
        self.changes += effects.changes.iter().filter(|change| change.is_ok()).count() as u64;
        self.check_commit(id, &membership);
        self.after(id, effects);
    }

    /// Shows what a failing seed does.
    #[allow(clippy::print_stdout, reason = "shown when asked for, with a failing seed")]
    fn trace(&self, id: NodeId, effects: &Effects) {
        let at = self.now.0 / 1000;
        for message in &effects.send {
            println!("{at}us {} -> {} {} {:?}", id, message.to, message.term, message.body);
        }
        for event in &effects.events {
            println!("{at}us {id} {event:?}");
        }
    }

    fn after(&mut self, id: NodeId, effects: Effects) {
        if self.is_traced {
            self.trace(id, &effects);
        }
        self.check(id, &effects);
        let start = self.members[&id].starts;
        if !effects.persist.is_empty() {
            let count = effects.persist.len();
            let delay = self.random.below(1 + self.weather.sync * MS);
            self.at(delay, Happening::Sync { node: id, start, count });
        }
        for _ in &effects.snapshots {
            let delay = self.random.below(1 + 3 * self.weather.sync * MS);
            self.at(delay, Happening::Snapshot { node: id, start });
        }
        for message in effects.send {
            if !self.calm
                && (self.cut.contains(&(message.from, message.to))
                    || self.random.chance(self.weather.loss))
            {
                continue;
            }
            let copies = 1 + u64::from(self.random.chance(self.weather.repeat));
            for _ in 0..copies {
                let delay = self.random.below(self.weather.delay * MS);
                let delay = if self.calm { delay.min(5 * MS) } else { delay };
                self.at(delay, Happening::Deliver(message.clone()));
            }
        }
        self.wake_later(id);
    }

    // ---- The properties --------------------------------------------------------------------

    fn check(&mut self, id: NodeId, effects: &Effects) {
        for message in &effects.send {
            self.tails += u64::from(matches!(message.body, Body::Tail(_)));
            self.check_message(message);
        }
        for event in &effects.events {
            match event {
                Event::BecameLeader { term } => self.check_leader(id, *term),
                Event::BecamePreCandidate { .. } | Event::BecameCandidate { .. } => {
                    assert!(self.weather.witness != Some(id), "a witness campaigns");
                }
                Event::Malformed { from, reason } => {
                    panic!("{id} finds a message of {from} malformed: {reason}")
                }
                _ => {}
            }
        }
        // State machine safety: all members apply the same entry at a position.
        for entry in &effects.committed {
            let position = entry.id.index.0 as usize;
            assert!(position <= self.committed.len() + 1);
            if position <= self.committed.len() {
                assert_eq!(self.committed[position - 1], *entry, "{id} applies another entry");
            } else {
                self.committed.push(entry.clone());
            }
        }
        for read in &effects.reads {
            let floor = self.reads.remove(&read.id).expect("each read is answered once at most");
            if let Ok(index) = read.result {
                self.reads_answered += 1;
                assert!(index >= floor, "a stale read: {index} when {floor} was committed");
            }
        }
    }

    /// What a message promises is on its sender's disk.
    fn check_message(&mut self, message: &Message) {
        let member = &self.members[&message.from];
        let is_hypothetical = matches!(
            message.body,
            Body::PreVote(_) | Body::PreVoteReply(VoteReply { granted: true, .. })
        );
        assert!(
            is_hypothetical || message.term <= member.disk.hard_state.term,
            "{} speaks in {} and might forget it",
            message.from,
            message.term
        );
        let vote = match message.body {
            Body::Vote(_) => Some(message.from),
            Body::VoteReply(VoteReply { granted: true, .. }) => Some(message.to),
            _ => None,
        };
        if let Some(candidate) = vote {
            let first = *self.votes.entry((message.from, message.term)).or_insert(candidate);
            assert_eq!(first, candidate, "{} votes twice in {}", message.from, message.term);
        }
        if let Body::AppendReply(AppendReply::Accepted { durable })
        | Body::SnapshotReply(SnapshotReply::Installed { durable }) = message.body
        {
            let disk = last(&member.disk).index;
            let machine = member.machine.durable_position().index;
            assert!(durable <= disk.max(machine), "{} acknowledges too much", message.from);
        }
    }

    /// Election safety, and leader completeness. Whoever led before is asked at once whether it still answers.
    fn check_leader(&mut self, id: NodeId, term: Term) {
        let first = *self.leaders.entry(term).or_insert(id);
        assert_eq!(first, id, "two leaders in {term}");
        let member = &self.members[&id];
        for entry in &self.committed {
            assert_eq!(
                member.entry_at(entry.id.index),
                Some(entry),
                "the leader of {term} lacks a committed entry"
            );
        }
        for other in self.ids().into_iter().filter(|other| *other != id) {
            self.at(0, Happening::Read(other));
        }
    }

    /// What a leader says is committed is on the disks of a majority of those who counted for it.
    fn check_commit(&mut self, id: NodeId, membership: &Membership) {
        let status = self.members[&id].raft.as_ref().unwrap().status();
        if status.role != RoleKind::Leader || status.commit <= self.commit {
            return;
        }
        self.commit = status.commit;
        let entry = self.members[&id].entry_at(status.commit);
        let entry = entry.expect("a leader has what it commits").id;
        let holds = |id: NodeId| {
            let member = &self.members[&id];
            contains(&member.disk, entry)
                || entry.index < member.disk.base.index
                || entry.index <= member.machine.durable_position().index
        };
        let is_held = quorum::has_quorum(membership, holds);
        assert!(is_held, "{id} commits {entry}, which is not on the disks of {membership:?}");
    }

    /// Log matching: entries with one id are one entry, and so is all that precedes them.
    pub(crate) fn check_logs(&self) {
        let mut seen: BTreeMap<EntryId, (&Entry, EntryId)> = BTreeMap::new();
        for member in self.members.values() {
            let mut before = member.written.base;
            for entry in &member.written.entries {
                let (other, other_before) = seen.entry(entry.id).or_insert((entry, before));
                assert_eq!(*other, entry, "two entries with one id");
                assert_eq!(*other_before, before, "one entry with two predecessors");
                before = entry.id;
            }
        }
    }

    /// The faults cease: within a second there is a leader, and what it commits reaches everybody.
    pub(crate) fn recover(&mut self) {
        self.calm = true;
        self.cut.clear();
        self.weather.sync = self.weather.sync.min(5);
        for id in self.ids() {
            self.happen(Happening::Restart(id));
        }
        self.run(Duration::from_secs(1));
        for _ in 0..20 {
            self.client();
            self.run(Duration::from_millis(50));
        }
        self.run(Duration::from_secs(1));
        self.check_logs();
        let statuses: Vec<_> =
            self.members.values().map(|member| member.raft.as_ref().unwrap().status()).collect();
        let leaders: Vec<_> = statuses.iter().filter(|s| s.role == RoleKind::Leader).collect();
        assert_eq!(leaders.len(), 1, "one leader: {statuses:#?}");
        let membership = self.members[&leaders[0].id].raft.as_ref().unwrap().membership();
        assert!(!membership.is_joint(), "the change is over: {membership:?}");
        assert!(membership.is_voter(leaders[0].id), "a voter leads: {membership:?}");
        for status in statuses.iter().filter(|status| membership.contains(status.id)) {
            assert_eq!(self.members[&status.id].raft.as_ref().unwrap().membership(), membership);
            assert_eq!(status.commit, leaders[0].last.index, "all is committed: {statuses:#?}");
            assert_eq!(status.applied, status.commit, "all is applied: {statuses:#?}");
        }
    }
}
