//! The world: virtual time, a heap of events, and everything that happens in one run.
//!
//! One thread, one seed. An event is taken from the heap, time jumps to it, and it changes one
//! thing: a message arrives, a sync ends, a client asks, a member crashes. Whatever passes the
//! boundary of a node on the way is shown to the [`Invariants`] and the [`Oracle`] at once, and the
//! first thing that is wrong ends the run.
//!
//! A run has two phases. In the first everything that the [`Options`] drew goes wrong again and
//! again, and only safety is asked for. Then faults stop, and the cluster must show that it lives:
//! every member must get a write through, and all machines must come to the same state. In half of
//! the runs a bare majority must do so first while all others stay down or cut off, since a fault
//! that always heals can't show that progress never needed the missing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use quorate_node::{Envelope, EnvelopeBody, GroupConfig, Input, NodeConfig};
use quorate_raft::{AppendReply, Body, Limits, Membership, NodeId, Record, Time};
use quorate_wal::WalOptions;

use crate::chance::Chance;
use crate::cluster::{Cluster, Fact};
use crate::invariants::{Invariants, Violation};
use crate::model::Request;
use crate::net::Net;
use crate::oracle::{Oracle, RequestId, Tally};
use crate::process::{GROUP, Outbox, Process, node_id};
use crate::sabotage::Sabotage;
use crate::storage::Storage;
use crate::swarm::{Options, Recurring};
use crate::trace::Trace;
use crate::workload::Workload;

/// The most events of a run. Busy ones have a few hundred thousand.
const EVENTS_MAX: u64 = 2_000_000;

/// What is done when its time comes. `process` names the process that it was meant for; one that
/// has crashed since gets nothing.
#[derive(Debug)]
enum Event {
    Arrive(Box<Envelope>),
    Turn { node: NodeId, process: u64 },
    Wake { node: NodeId, process: u64 },
    Synced { node: NodeId, process: u64 },
    Apply { node: NodeId, process: u64 },
    FlushMachine { node: NodeId },
    Client { client: usize },
    Crash,
    Restart { node: NodeId, process: u64 },
    Pause,
    Resume { node: NodeId, process: u64 },
    Partition,
    Heal,
    Transfer,
    Compact,
    PhaseEnds,
    Look,
}

/// An event in the heap; the number keeps the order among those of one moment.
#[derive(Debug)]
struct Scheduled {
    at: Duration,
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

/// A member's place in the world, whether a process runs there or not.
struct Place {
    storage: Storage,
    process: Option<Process>,
    /// Counts the processes that ran here.
    processes: u64,
    /// What this member's clock showed when the world began, and how fast it runs, in parts per
    /// million.
    clock_origin: u64,
    clock_ppm: u64,
    /// When the node is woken, if it is.
    wake_at: Option<Duration>,
    turn_scheduled: bool,
    applying: bool,
    /// Events held back while the member is paused.
    paused: Option<Vec<Event>>,
    /// Where the machine was durable when the observer was last told.
    machine_durable: quorate_raft::EntryId,
}

impl Place {
    fn clock(&self, now: Duration) -> Time {
        let nanos = now.as_nanos() * u128::from(self.clock_ppm) / 1_000_000;
        Time(self.clock_origin + u64::try_from(nanos).expect("a run is short"))
    }

    /// When this member's clock will show this time.
    fn when(&self, time: Time) -> Option<Duration> {
        if time == Time::NEVER {
            return None;
        }
        let local = u128::from(time.0.saturating_sub(self.clock_origin));
        let nanos = (local * 1_000_000).div_ceil(u128::from(self.clock_ppm));
        Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }
}

/// Which part of the run it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Everything goes wrong.
    Faulty,
    /// A majority works, and each of its members must get a write through. From here on clients ask
    /// for nothing else: a log that keeps less than what is written during the transfer of a
    /// snapshot would be a moving target, and that is how it was configured.
    Core,
    /// Everything works, and every member must get a write through.
    Whole,
    /// All machines must come to the same state.
    Quiet,
}

/// What a run was like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// How long it took in its own time.
    pub simulated: Duration,
    /// How many events happened.
    pub events: u64,
    /// How requests ended.
    pub tally: Tally,
    /// How long the log became.
    pub entries: u64,
    /// Crashes.
    pub crashes: u64,
    /// Snapshots installed.
    pub snapshots: u64,
    /// Leaders that took office.
    pub leaders: u64,
    /// A number that two runs share only if they went the same way.
    pub fingerprint: u64,
}

/// See the module.
pub struct World {
    options: Options,
    sabotage: Option<Sabotage>,
    chance: Chance,
    now: Duration,
    heap: BinaryHeap<Reverse<Scheduled>>,
    numbered: u64,
    places: BTreeMap<NodeId, Place>,
    net: Net,
    workload: Workload,
    oracle: Oracle,
    invariants: Invariants,
    trace: Trace,
    phase: Phase,
    phase_ends: Duration,
    /// The members that must make progress, and those of them that have.
    core: BTreeSet<NodeId>,
    proven: BTreeSet<NodeId>,
    /// Requests by which members prove that they make progress, and commands to compact, which no
    /// client waits for.
    proofs: BTreeMap<RequestId, NodeId>,
    chores: BTreeMap<RequestId, NodeId>,
    report: Report,
}

type Outcome = Result<(), Violation>;

impl World {
    /// The world of a seed.
    #[must_use]
    pub fn new(seed: u64, sabotage: Option<Sabotage>, trace: Trace) -> Self {
        let mut chance = Chance::new(seed);
        let options = Options::draw(&mut chance.fork());
        let members: Vec<NodeId> = (0..options.members).map(node_id).collect();
        let wal_options = WalOptions {
            segment_bytes: options.segment_bytes,
            record_bytes_max: options.record_bytes_max,
        };
        let places: BTreeMap<NodeId, Place> = members
            .iter()
            .map(|&id| {
                let drift = chance.below(2 * options.clock_drift_ppm + 1);
                let place = Place {
                    storage: Storage::new(wal_options),
                    process: None,
                    processes: 0,
                    clock_origin: chance.below(1 << 50),
                    clock_ppm: 1_000_000 + drift - options.clock_drift_ppm,
                    wake_at: None,
                    turn_scheduled: false,
                    applying: false,
                    paused: None,
                    machine_durable: quorate_raft::EntryId::ZERO,
                };
                (id, place)
            })
            .collect();
        if sabotage == Some(Sabotage::LyingDisk) {
            places.values().for_each(|place| place.storage.lie());
        }
        Self {
            net: Net::new(members.clone(), &options, chance.fork()),
            workload: Workload::new(&options, chance.fork()),
            oracle: Oracle::default(),
            invariants: Invariants::new(Cluster::new(members.iter().copied())),
            phase_ends: options.faulty_for,
            options,
            sabotage,
            now: Duration::ZERO,
            heap: BinaryHeap::new(),
            numbered: 0,
            places,
            trace,
            phase: Phase::Faulty,
            core: members.into_iter().collect(),
            proven: BTreeSet::new(),
            proofs: BTreeMap::new(),
            chores: BTreeMap::new(),
            report: Report {
                simulated: Duration::ZERO,
                events: 0,
                tally: Tally::default(),
                entries: 0,
                crashes: 0,
                snapshots: 0,
                leaders: 0,
                fingerprint: seed,
            },
            chance,
        }
    }

    /// What the run is made of.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn run(&mut self) -> Result<Report, Violation> {
        for id in self.ids() {
            self.start(id)?;
            let flush = self.chance.long_tailed(self.options.flush_every);
            self.schedule(flush, Event::FlushMachine { node: id });
        }
        for client in 0..self.workload.clients().len() {
            let think = self.chance.long_tailed(self.options.think);
            self.schedule(think, Event::Client { client });
        }
        self.recur(self.options.crashes, Event::Crash);
        self.recur(self.options.pauses, Event::Pause);
        self.recur(self.options.partitions, Event::Partition);
        if let Some(every) = self.options.transfer_every {
            self.schedule(every, Event::Transfer);
        }
        if let Some(every) = self.options.compact_every {
            self.schedule(every, Event::Compact);
        }
        self.schedule(self.options.faulty_for, Event::PhaseEnds);
        while let Some(Reverse(next)) = self.heap.pop() {
            assert!(self.now <= next.at, "time goes forwards");
            self.now = next.at;
            self.report.events += 1;
            if self.report.events > EVENTS_MAX {
                let what = format!("more than {EVENTS_MAX} events: somebody talks without end");
                return Err(Violation::new("storm", what));
            }
            self.mix(next.number);
            if self.happen(next.event)? {
                self.report.simulated = self.now;
                self.report.tally = self.oracle.tally();
                self.report.entries = self.oracle.last().0;
                return Ok(self.report);
            }
        }
        unreachable!("the run looks at itself until it ends")
    }

    /// The present moment, for telling when something went wrong.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.now
    }

    fn mix(&mut self, number: u64) {
        let nanos = u64::try_from(self.now.as_nanos()).expect("a run is short");
        let mixed = (self.report.fingerprint ^ nanos).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.report.fingerprint = (mixed ^ (mixed >> 29)).wrapping_add(number);
    }

    fn ids(&self) -> Vec<NodeId> {
        self.places.keys().copied().collect()
    }

    fn place(&mut self, node: NodeId) -> &mut Place {
        self.places.get_mut(&node).expect("every member has a place")
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.numbered += 1;
        let at = self.now + after;
        self.heap.push(Reverse(Scheduled { at, number: self.numbered, event }));
    }

    fn recur(&mut self, fault: Option<Recurring>, event: Event) {
        if let Some(fault) = fault {
            let after = self.chance.long_tailed(fault.every);
            self.schedule(after, event);
        }
    }

    /// Lets an event happen. Returns whether the run is over.
    fn happen(&mut self, event: Event) -> Result<bool, Violation> {
        let Some(event) = self.hold_back(event) else { return Ok(false) };
        match event {
            Event::Arrive(envelope) => self.arrive(*envelope),
            Event::Turn { node, process } => {
                if self.is_current(node, process) {
                    self.place(node).turn_scheduled = false;
                    self.turn(node)?;
                }
            }
            Event::Wake { node, process } => {
                let now = self.now;
                if self.is_current(node, process) && self.place(node).wake_at == Some(now) {
                    self.place(node).wake_at = None;
                    self.turn(node)?;
                }
            }
            Event::Synced { node, process } => {
                if self.is_current(node, process) {
                    self.synced(node)?;
                }
            }
            Event::Apply { node, process } => {
                if self.is_current(node, process) {
                    self.apply(node)?;
                }
            }
            Event::FlushMachine { node } => self.flush_machine(node)?,
            Event::Client { client } => self.client(client)?,
            Event::Crash => self.crash_somebody()?,
            Event::Restart { node, process } => {
                if self.place(node).process.is_none() && self.place(node).processes == process {
                    self.start(node)?;
                }
            }
            Event::Pause => self.pause_somebody(),
            Event::Resume { node, process } => {
                if self.is_current(node, process) {
                    self.resume(node);
                }
            }
            Event::Partition => self.partition(),
            Event::Heal => self.heal(),
            Event::Transfer => self.transfer(),
            Event::Compact => self.compact(),
            Event::PhaseEnds => self.phase_ends(),
            Event::Look => return self.look(),
        }
        Ok(false)
    }

    /// Keeps what happens at a paused member for later.
    fn hold_back(&mut self, event: Event) -> Option<Event> {
        let node = match &event {
            Event::Arrive(envelope) => envelope.to,
            Event::Turn { node, .. }
            | Event::Wake { node, .. }
            | Event::Synced { node, .. }
            | Event::Apply { node, .. } => *node,
            _ => return Some(event),
        };
        match &mut self.place(node).paused {
            Some(held) => {
                held.push(event);
                None
            }
            None => Some(event),
        }
    }

    fn is_current(&self, node: NodeId, process: u64) -> bool {
        let place = &self.places[&node];
        place.process.is_some() && place.processes == process
    }

    // ---- members -------------------------------------------------------------------------------

    fn start(&mut self, id: NodeId) -> Outcome {
        let limits = Limits {
            retained_bytes_max: self.options.retained_bytes_max,
            append_bytes_max: self.options.append_bytes_max,
            ..Limits::default()
        };
        let membership = Membership::of_voters(self.ids());
        let group = GroupConfig {
            group: GROUP,
            membership: membership.clone(),
            heartbeat_interval: self.options.heartbeat,
            election_timeout: self.options.election_timeout,
            limits,
        };
        let mut config = NodeConfig::new(id, self.chance.number(), self.chance.number());
        config.request_timeout = self.options.request_timeout;
        let (sabotage, now) = (self.sabotage, self.now);
        let piece_bytes_max = self.options.snapshot_piece_bytes_max;
        let place = self.place(id);
        let mut recovered = place
            .storage
            .open()
            .map_err(|error| Violation::new("recovery", format!("{id} can't start: {error}")))?;
        if sabotage == Some(Sabotage::VoteForgotten) {
            recovered.hard_state.vote = None;
        }
        let local = place.clock(now);
        let process = Process::start(
            config,
            group,
            membership,
            recovered.clone(),
            &place.storage.engine,
            piece_bytes_max,
            local,
        )
        .map_err(|fault| Violation::new("recovery", format!("{id} can't start: {fault}")))?;
        let applied = process.durable();
        place.process = Some(process);
        place.processes += 1;
        place.machine_durable = applied;
        self.trace.line(now, || {
            format!(
                "{id} starts at {applied}, log {} to {}",
                recovered.base,
                crate::cluster::last(&recovered)
            )
        });
        self.invariants.observe(Fact::Started { node: id, recovered: &recovered, applied })?;
        self.turn(id)
    }

    fn crash(&mut self, id: NodeId) -> Outcome {
        let now = self.now;
        let mut chance = self.chance.fork();
        let place = self.place(id);
        if place.process.take().is_none() {
            return Ok(());
        }
        place.storage.crash(&mut chance);
        place.wake_at = None;
        place.turn_scheduled = false;
        place.applying = false;
        place.paused = None;
        self.report.crashes += 1;
        self.trace.line(now, || format!("{id} crashes"));
        for client in 0..self.workload.clients().len() {
            if let Some((request, at)) = self.workload.client_mut(client).waits_for
                && at == id
            {
                self.oracle.lost(request);
                self.rest(client);
            }
        }
        for waiting in [&mut self.proofs, &mut self.chores] {
            let lost: Vec<RequestId> =
                waiting.iter().filter(|(_, at)| **at == id).map(|(id, _)| *id).collect();
            for request in lost {
                waiting.remove(&request);
                self.oracle.lost(request);
            }
        }
        self.invariants.observe(Fact::Stopped { node: id })
    }

    /// Puts something into a node's inbox, if it runs, and sees that it gets a turn.
    fn post(&mut self, node: NodeId, input: Input<RequestId>) {
        let Some(process) = &mut self.place(node).process else { return };
        process.post(input);
        self.schedule_turn(node);
    }

    fn schedule_turn(&mut self, node: NodeId) {
        let place = self.place(node);
        if place.turn_scheduled {
            return;
        }
        place.turn_scheduled = true;
        let process = place.processes;
        let after = self.chance.long_tailed(self.options.loop_mean);
        self.schedule(after, Event::Turn { node, process });
    }

    /// Gives a node its turn, and does what it asks for.
    fn turn(&mut self, node: NodeId) -> Outcome {
        let now = self.now;
        let place = self.place(node);
        let local = place.clock(now);
        let mut process = place.process.take().expect("only a running node has a turn");
        let result = process.turn(local, |outbox| self.carry_out(node, outbox));
        let deadline = process.deadline();
        let status = process.status();
        self.place(node).process = Some(process);
        result?;
        if deadline <= local {
            let what =
                format!("{node} at {local:?} wants its next turn at {deadline:?}: {status:?}");
            return Err(Violation::new("deadline", what));
        }
        self.check_status(node, &status)?;
        self.begin_batch(node);
        self.begin_job(node);
        self.schedule_wake(node, deadline);
        Ok(())
    }

    fn schedule_wake(&mut self, node: NodeId, deadline: Time) {
        let now = self.now;
        let place = self.place(node);
        let Some(at) = place.when(deadline) else { return };
        let at = at.max(now + Duration::from_nanos(1));
        if place.wake_at.is_some_and(|scheduled| scheduled > now && scheduled <= at) {
            return;
        }
        place.wake_at = Some(at);
        let process = place.processes;
        self.schedule(at - now, Event::Wake { node, process });
    }

    /// What the node says of itself must be what the observer saw it do.
    fn check_status(&mut self, node: NodeId, status: &quorate_raft::Status) -> Outcome {
        let member = self.invariants.cluster().member(node);
        let seen = (member.issued.hard_state.term, crate::cluster::last(&member.issued));
        let said = (status.term, status.last);
        if seen != said {
            let what = format!("{node} says it is at {said:?}, its records say {seen:?}");
            return Err(Violation::new("status", what));
        }
        Ok(())
    }

    fn carry_out(&mut self, node: NodeId, outbox: Outbox) -> Outcome {
        let now = self.now;
        for event in &outbox.events {
            self.trace.line(now, || format!("{node} {event:?}"));
            match event {
                quorate_raft::Event::BecameLeader { .. } => self.report.leaders += 1,
                quorate_raft::Event::SnapshotInstalled { .. } => self.report.snapshots += 1,
                _ => {}
            }
            self.invariants.observe(Fact::Happened { node, event })?;
        }
        for record in &outbox.records {
            self.trace.line(now, || format!("{node} writes {}", brief(record)));
            self.invariants.observe(Fact::Recorded { node, record })?;
        }
        for entry in &outbox.committed {
            let first = entry.id.index.0 == self.oracle.last().0 + 1;
            self.invariants.observe(Fact::Committed { node, entry })?;
            if first {
                self.trace.line(now, || format!("{node} commits {} first", entry.id));
                self.oracle.committed(entry)?;
            }
        }
        for envelope in outbox.send {
            self.send(envelope)?;
        }
        for (request, error) in outbox.failed {
            self.trace.line(now, || format!("{node} fails {request:?}: {error:?}"));
            self.oracle.failed(request, error)?;
            self.ended(request, false);
        }
        Ok(())
    }

    fn send(&mut self, mut envelope: Envelope) -> Outcome {
        if let EnvelopeBody::Raft(message) = &envelope.body {
            self.invariants.observe(Fact::Sent { message })?;
        }
        self.forge(&mut envelope);
        let arrivals = self.net.route(envelope.from, envelope.to);
        let now = self.now;
        self.trace.line(now, || {
            let fate = if arrivals.is_empty() { "lost" } else { "sent" };
            format!("{fate} {envelope:?}")
        });
        for after in arrivals {
            self.schedule(after, Event::Arrive(Box::new(envelope.clone())));
        }
        Ok(())
    }

    fn forge(&mut self, envelope: &mut Envelope) {
        let EnvelopeBody::Raft(message) = &mut envelope.body else { return };
        match (&mut message.body, self.sabotage) {
            (Body::VoteReply(reply), Some(Sabotage::ForgedVotes)) => reply.granted = true,
            (Body::AppendReply(reply), Some(Sabotage::ForgedAcknowledgements)) => {
                if let AppendReply::Rejected { previous, .. } = *reply {
                    *reply = AppendReply::Accepted { durable: previous };
                }
            }
            _ => {}
        }
    }

    fn arrive(&mut self, envelope: Envelope) {
        if self.net.is_blocked(envelope.from, envelope.to) {
            return;
        }
        self.post(envelope.to, Input::Peer(envelope));
    }

    fn begin_batch(&mut self, node: NodeId) {
        let place = self.places.get_mut(&node).expect("every member has a place");
        let Some(process) = &mut place.process else { return };
        let Some(records) = process.begin_batch() else { return };
        place.storage.write(records);
        let number = place.processes;
        if self.sabotage == Some(Sabotage::DurableBeforeSync) {
            let seq = process.syncing().expect("a batch has just begun");
            process.post(Input::Durable { group: GROUP, seq });
            self.schedule_turn(node);
        }
        let mut after = self.chance.long_tailed(self.options.sync_mean);
        if self.chance.per_mille(self.options.slow_sync_per_mille) {
            after += self.chance.long_tailed(Duration::from_millis(1_000));
        }
        self.schedule(after, Event::Synced { node, process: number });
    }

    fn synced(&mut self, node: NodeId) -> Outcome {
        let place = self.place(node);
        place
            .storage
            .sync()
            .map_err(|error| Violation::new("log", format!("{node} can't sync: {error}")))?;
        let process = place.process.as_mut().expect("it is the current process");
        let (seq, records) = process.synced();
        process.post(Input::Durable { group: GROUP, seq });
        self.invariants.observe(Fact::Synced { node, records })?;
        self.schedule_turn(node);
        self.begin_batch(node);
        Ok(())
    }

    fn begin_job(&mut self, node: NodeId) {
        let place = self.place(node);
        let has_job = place.process.as_ref().is_some_and(Process::has_job);
        if !has_job || place.applying {
            return;
        }
        place.applying = true;
        let process = place.processes;
        let after = self.chance.long_tailed(self.options.apply_mean);
        self.schedule(after, Event::Apply { node, process });
    }

    fn apply(&mut self, node: NodeId) -> Outcome {
        let now = self.now;
        let place = self.place(node);
        place.applying = false;
        let process = place.process.as_mut().expect("it is the current process");
        let fault = |fault| Violation::new("machine", format!("{node} fails: {fault}"));
        let job = process.apply().map_err(fault)?;
        let applied = process.applied();
        for (id, outcome) in &job.trace {
            self.oracle.applied(node, *id, outcome)?;
        }
        self.machine_moved(node)?;
        for (request, (id, outcome)) in job.outcomes {
            self.trace.line(now, || format!("{node} answers {request:?} at {id}"));
            self.oracle.acknowledged(request, id, &outcome)?;
            self.ended(request, true);
        }
        for request in job.reads {
            self.trace.line(now, || format!("{node} reads for {request:?} at {applied}"));
            self.answer_read(node, request)?;
        }
        for request in job.unseen {
            self.oracle.lost(request);
            self.ended(request, false);
        }
        self.schedule_turn(node);
        self.begin_job(node);
        Ok(())
    }

    fn answer_read(&mut self, node: NodeId, request: RequestId) -> Outcome {
        let process = self.places[&node].process.as_ref().expect("it answers");
        let Some(Request::Read { key }) = self.oracle.request(request) else {
            return Err(Violation::new("oracle", format!("{request:?} is no read under way")));
        };
        let response = process.read(key);
        let at = process.applied().index;
        self.oracle.read(request, at, &response)?;
        self.ended(request, true);
        Ok(())
    }

    /// Tells the observer how far the machine is durable now.
    fn machine_moved(&mut self, node: NodeId) -> Outcome {
        let place = self.place(node);
        let Some(process) = &place.process else { return Ok(()) };
        let last = process.durable();
        if last == place.machine_durable {
            return Ok(());
        }
        place.machine_durable = last;
        self.invariants.observe(Fact::MachineDurable { node, last })
    }

    fn flush_machine(&mut self, node: NodeId) -> Outcome {
        let again = self.chance.long_tailed(self.options.flush_every);
        self.schedule(again.max(Duration::from_millis(1)), Event::FlushMachine { node });
        let sabotage = self.sabotage;
        let place = self.place(node);
        if place.paused.is_some() {
            return Ok(());
        }
        let Some(process) = &mut place.process else { return Ok(()) };
        if sabotage == Some(Sabotage::MachineForgets) {
            let applied = process.applied().index;
            let feedback = quorate_node::Feedback::Progress { applied, durable: applied };
            process.post(Input::Applied { group: GROUP, feedback });
            self.schedule_turn(node);
            return Ok(());
        }
        let fault = |fault| Violation::new("machine", format!("{node} fails: {fault}"));
        process.flush_machine().map_err(fault)?;
        self.machine_moved(node)?;
        self.schedule_turn(node);
        Ok(())
    }

    // ---- clients -------------------------------------------------------------------------------

    /// A client that has nothing under way thinks for a while.
    fn rest(&mut self, client: usize) {
        self.workload.client_mut(client).waits_for = None;
        let think = self.chance.long_tailed(self.options.think);
        self.schedule(think, Event::Client { client });
    }

    fn client(&mut self, client: usize) -> Outcome {
        if self.phase != Phase::Faulty || self.workload.clients()[client].waits_for.is_some() {
            return Ok(());
        }
        let running: Vec<NodeId> =
            self.core.iter().copied().filter(|id| self.places[id].process.is_some()).collect();
        if running.is_empty() {
            self.rest(client);
            return Ok(());
        }
        let node = *self.chance.pick(&running);
        let model = self.oracle.model();
        let last = self.oracle.last();
        let request = self
            .workload
            .request(|key| model.read(key, last).kvs.first().map_or(0, |kv| kv.mod_revision));
        let is_read = matches!(request, Request::Read { .. });
        if is_read && self.sabotage == Some(Sabotage::LocalReads) {
            let id = self.oracle.begin(request);
            self.workload.client_mut(client).waits_for = Some((id, node));
            return self.answer_read(node, id);
        }
        let id = self.ask(node, request);
        self.workload.client_mut(client).waits_for = Some((id, node));
        Ok(())
    }

    fn ask(&mut self, node: NodeId, request: Request) -> RequestId {
        let now = self.now;
        let command = request.command();
        let id = self.oracle.begin(request.clone());
        self.trace.line(now, || format!("{node} is asked {id:?}: {}", brief_request(&request)));
        let input = match command {
            Some(command) => Input::Propose { group: GROUP, command: command.encode(), waiter: id },
            None => Input::Read { group: GROUP, waiter: id },
        };
        self.post(node, input);
        id
    }

    /// A request is over, whoever asked.
    fn ended(&mut self, request: RequestId, well: bool) {
        if let Some(client) = self.workload.waiting_for(request) {
            self.rest(client);
        }
        self.chores.remove(&request);
        if let Some(node) = self.proofs.remove(&request) {
            // One that failed is asked again at the next look.
            if well {
                self.proven.insert(node);
            }
        }
    }

    /// Asks a member to get a write through.
    fn prove(&mut self, node: NodeId) {
        if self.phase == Phase::Faulty || self.places[&node].process.is_none() {
            return;
        }
        let request = self.workload.write();
        let id = self.ask(node, request);
        self.proofs.insert(id, node);
    }

    // ---- faults --------------------------------------------------------------------------------

    fn crash_somebody(&mut self) -> Outcome {
        let Some(fault) = self.options.crashes.filter(|_| self.phase == Phase::Faulty) else {
            return Ok(());
        };
        let all = self.chance.per_mille(self.options.power_cut_per_mille);
        let ids = self.ids();
        let victims = if all { ids } else { vec![*self.chance.pick(&ids)] };
        for id in victims {
            if self.places[&id].process.is_some() {
                self.crash(id)?;
                let down = self.chance.long_tailed(fault.lasts);
                let process = self.places[&id].processes;
                self.schedule(down, Event::Restart { node: id, process });
            }
        }
        self.recur(Some(fault), Event::Crash);
        Ok(())
    }

    fn pause_somebody(&mut self) {
        let Some(fault) = self.options.pauses.filter(|_| self.phase == Phase::Faulty) else {
            return;
        };
        let node = *self.chance.pick(&self.ids());
        let now = self.now;
        let place = self.place(node);
        if place.process.is_some() && place.paused.is_none() {
            place.paused = Some(Vec::new());
            let process = place.processes;
            self.trace.line(now, || format!("{node} is paused"));
            let lasts = self.chance.long_tailed(fault.lasts);
            self.schedule(lasts, Event::Resume { node, process });
        }
        self.recur(Some(fault), Event::Pause);
    }

    fn resume(&mut self, node: NodeId) {
        let now = self.now;
        let Some(held) = self.place(node).paused.take() else { return };
        self.trace.line(now, || format!("{node} goes on"));
        for event in held {
            self.schedule(Duration::ZERO, event);
        }
        // What would have woken it is among the events held back, if its time has come.
        let place = self.place(node);
        if place.wake_at.is_some_and(|at| at < now) {
            place.wake_at = None;
        }
        self.schedule_turn(node);
    }

    fn partition(&mut self) {
        let Some(fault) = self.options.partitions.filter(|_| self.phase == Phase::Faulty) else {
            return;
        };
        let now = self.now;
        let links = self.net.partition(self.options.partition_style).clone();
        self.trace.line(now, || format!("these links fail: {links:?}"));
        let lasts = self.chance.long_tailed(fault.lasts);
        self.schedule(lasts, Event::Heal);
    }

    fn heal(&mut self) {
        if self.phase != Phase::Faulty {
            return;
        }
        let now = self.now;
        self.net.heal();
        self.trace.line(now, || "all links work".to_owned());
        self.recur(self.options.partitions, Event::Partition);
    }

    fn transfer(&mut self) {
        if self.phase != Phase::Faulty {
            return;
        }
        let ids = self.ids();
        let node = *self.chance.pick(&ids);
        let to = self.chance.per_mille(700).then(|| *self.chance.pick(&ids));
        self.post(node, Input::Transfer { group: GROUP, to });
        if let Some(every) = self.options.transfer_every {
            let after = self.chance.long_tailed(every);
            self.schedule(after, Event::Transfer);
        }
    }

    fn compact(&mut self) {
        if self.phase != Phase::Faulty {
            return;
        }
        let newest = self.oracle.model().revision();
        let revision = newest - i64::try_from(self.chance.below(8)).expect("below eight");
        let node = *self.chance.pick(&self.ids());
        if self.places[&node].process.is_some() {
            let id = self.ask(node, Request::Compact { revision });
            self.chores.insert(id, node);
        }
        if let Some(every) = self.options.compact_every {
            let after = self.chance.long_tailed(every);
            self.schedule(after, Event::Compact);
        }
    }

    // ---- liveness ------------------------------------------------------------------------------

    /// The time of faults is over, or the first part of what comes after it.
    fn phase_ends(&mut self) {
        let now = self.now;
        self.become_gentle();
        let ids = self.ids();
        self.core = ids.iter().copied().collect();
        self.net.heal();
        self.phase = Phase::Whole;
        if self.options.core_first {
            self.options.core_first = false;
            self.phase = Phase::Core;
            let majority = ids.len() / 2 + 1;
            while self.core.len() > majority {
                let out = *self.chance.pick(&ids);
                self.core.remove(&out);
            }
            let core = self.core.clone();
            self.net.isolate_all_but(&core);
        }
        let core = self.core.clone();
        self.trace.line(now, || format!("from now on progress is due at {core:?}"));
        self.proven.clear();
        self.phase_ends = now + self.patience();
        self.schedule(Duration::ZERO, Event::Look);
        for id in ids {
            if self.places[&id].paused.is_some() {
                self.resume(id);
            }
            if !core.contains(&id) {
                continue;
            }
            if self.places[&id].process.is_none() {
                let process = self.places[&id].processes;
                self.schedule(Duration::ZERO, Event::Restart { node: id, process });
            }
        }
    }

    /// How long progress may take once nothing stands in its way: many elections, and the restarts
    /// and snapshots of all members, one piece after another.
    fn patience(&self) -> Duration {
        let entries = u32::try_from(self.oracle.last().0).expect("a run is short");
        self.options.election_timeout * 60
            + self.options.request_timeout * 2
            + self.options.heartbeat / 4 * entries
            + Duration::from_secs(20)
    }

    /// Disks and links work as they should, in a fraction of a heartbeat.
    fn become_gentle(&mut self) {
        let quick = self.options.heartbeat / 16;
        self.net.become_reliable();
        self.net.become_timely(quick);
        self.options.sync_mean = self.options.sync_mean.min(quick);
        self.options.apply_mean = self.options.apply_mean.min(quick);
        self.options.loop_mean = self.options.loop_mean.min(quick / 8);
        self.options.slow_sync_per_mille = 0;
    }

    /// Looks whether the present phase has reached what it asks for. Returns whether the run is
    /// over.
    fn look(&mut self) -> Result<bool, Violation> {
        let done = match self.phase {
            Phase::Faulty => false,
            Phase::Core | Phase::Whole => self.core.is_subset(&self.proven),
            Phase::Quiet => self.is_settled(),
        };
        if done {
            match self.phase {
                Phase::Faulty => {}
                Phase::Core => {
                    self.phase_ends();
                    return Ok(false);
                }
                Phase::Whole => {
                    self.phase = Phase::Quiet;
                    self.phase_ends = self.now + self.patience();
                }
                Phase::Quiet => {
                    self.compare_states()?;
                    return Ok(true);
                }
            }
        } else if self.now >= self.phase_ends {
            return Err(Violation::new("liveness", self.what_is_missing()));
        }
        for node in self.core.clone() {
            let asked = self.proofs.values().any(|at| *at == node);
            // A member that lags behind is left to catch up first, or its own proofs would move the
            // end of the log away from it.
            let last = self.oracle.last();
            let process = self.places[&node].process.as_ref();
            let is_level = process.is_some_and(|process| process.applied().index == last);
            if self.phase != Phase::Quiet && is_level && !asked && !self.proven.contains(&node) {
                self.prove(node);
            }
        }
        self.schedule(self.options.heartbeat, Event::Look);
        Ok(false)
    }

    fn is_settled(&self) -> bool {
        let last = self.oracle.last();
        self.oracle.any_open().is_none()
            && self.places.values().all(|place| {
                place.process.as_ref().is_some_and(|process| process.applied().index == last)
            })
    }

    fn what_is_missing(&self) -> String {
        let open = self.oracle.any_open();
        let members: Vec<String> = self
            .places
            .iter()
            .map(|(id, place)| match &place.process {
                None => format!("{id} is down"),
                Some(process) => {
                    let applied = process.applied();
                    let status = process.status();
                    format!("{id} applied {applied}, {status:?}")
                }
            })
            .collect();
        format!(
            "in phase {:?}, of {:?} only {:?} made progress; committed up to {}; open: {open:?}\n{}",
            self.phase,
            self.core,
            self.proven,
            self.oracle.last(),
            members.join("\n")
        )
    }

    /// All machines hold the state of the model, to the last key.
    fn compare_states(&mut self) -> Outcome {
        let at = self.oracle.last();
        for (id, place) in &self.places {
            let process = place.process.as_ref().expect("all run");
            for key in self.oracle.model().keys() {
                self.oracle.state(key, at, &process.read(key)).map_err(|violation| {
                    Violation::new("convergence", format!("at {id}: {}", violation.what))
                })?;
            }
        }
        Ok(())
    }
}

fn brief(record: &Record) -> String {
    match record {
        Record::Append(entries) => {
            let ids: Vec<_> = entries.iter().map(|entry| entry.id).collect();
            format!("{ids:?}")
        }
        Record::HardState(_) | Record::Compact(_) | Record::Reset(_) => format!("{record:?}"),
    }
}

fn brief_request(request: &Request) -> String {
    let short =
        |value: &bytes::Bytes| String::from_utf8_lossy(value).trim_end_matches('.').to_owned();
    match request {
        Request::Put { key, value } => format!("put {} {}", short(key), short(value)),
        Request::Swap { key, expected, value } => {
            format!("swap {} {} if at {expected}", short(key), short(value))
        }
        Request::Delete { key } => format!("delete {}", short(key)),
        Request::Compact { revision } => format!("compact {revision}"),
        Request::Read { key } => format!("read {}", short(key)),
    }
}
