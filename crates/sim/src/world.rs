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
//! that always heals can't show that progress never needed the missing; and in some of them before
//! that, any majority whose members can talk, whatever the other links and members do.
//!
//! Here are time and the heap. What happens at an event is in `members.rs` (processes and what they
//! ask for), `clients.rs` (requests), `churn.rs` (who comes and goes), `witness.rs`
//! (who keeps no state), `watchers.rs` (who looks on), `leases.rs` and `lease_clients.rs`
//! (what ends by a clock), `alarms.rs` (what is refused for a while), `faults.rs`, `extremes.rs`, `damage.rs` and `disks.rs` (the first phase),
//! `liveness.rs` and `partial.rs` (the second).

mod alarms;
mod churn;
mod clients;
mod damage;
mod direct;
mod disks;
mod doubts;
mod extremes;
mod faults;
mod lease_clients;
mod leases;
mod liveness;
mod members;
mod partial;
mod place;
mod stale_reads;
mod upsets;
mod watchers;
mod witness;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use quorate_check::Violation;
use quorate_check::cluster::Cluster;
use quorate_check::invariants::Invariants;
use quorate_check::state_hash::StateHashes;
use quorate_node::{Desired, Envelope, Fingerprint, Healed};
use quorate_raft::{Index, Membership, NodeId};
use quorate_wal::WalOptions;

use crate::alarms::Alarms;
use crate::chance::Chance;
use crate::clock::{Clock, RIGHT_PPM};
use crate::coverage::Coverage;
use crate::disk_faults::{DiskCounts, Ending};
use crate::history::SecondOpinion;
use crate::leases::LeaseCounts;
use crate::net::{Net, NetCounts};
use crate::oracle::{Oracle, RequestId, Tally};
use crate::process::node_id;
use crate::rider::{Cargo, Rides};
use crate::sabotage::Sabotage;
use crate::settings::Settings;
use crate::stale_reads::Judging;
use crate::storage::Storage;
use crate::swarm::{Options, Recurring};
use crate::trace::Trace;
use crate::watches::WatchCounts;
use crate::workload::Workload;

pub use direct::DirectWrite;

use disks::DiskEvent;
use lease_clients::LeaseCall;
use leases::Leasing;
use partial::Vigil;
use place::{Place, Places};
use watchers::Watching;

/// The most events of a run. Busy ones have a few hundred thousand.
const EVENTS_MAX: u64 = 2_000_000;

/// What is done when its time comes. `process` names the process that it was meant for; one that
/// has crashed since gets nothing.
#[derive(Debug)]
enum Event {
    Arrive(Box<Envelope>),
    Turn { node: NodeId, process: u64 },
    Wake { node: NodeId, process: u64 },
    Synced { node: NodeId, process: u64, sync: u64 },
    Apply { node: NodeId, process: u64, job: u64 },
    FlushMachine { node: NodeId },
    Client { client: usize },
    WatchClient { client: usize },
    LeaseClient { client: usize },
    LeaseScan { node: NodeId, process: u64 },
    LeaseAsk { node: NodeId, question: u64, attempt: u64 },
    LeaseCall(Box<LeaseCall>),
    WatchTurn { node: NodeId, client: usize, connection: u64 },
    Crash,
    Wipe,
    Upset { winner: NodeId },
    Damage,
    Healed { node: NodeId, process: u64, healed: Box<Healed> },
    Restart { node: NodeId, process: u64 },
    Pause,
    Resume { node: NodeId, process: u64 },
    Partition,
    Heal,
    JumpClock,
    FreezeClock,
    ThawClock { node: NodeId },
    SlowCpu,
    RestoreCpu { node: NodeId },
    HangDisk,
    DiskAnswers { node: NodeId },
    Disk(DiskEvent),
    Transfer,
    Compact,
    Alarm,
    Churn,
    Reconcile,
    PhaseEnds,
    Look,
}

/// An event in the heap.
#[derive(Debug)]
struct Scheduled {
    moment: Moment,
    event: Event,
}

/// When an event happens: a time in nanoseconds, and a number that keeps the order among those of one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Moment(u128);

impl Moment {
    fn new(at: Duration, number: u64) -> Self {
        Self(at.as_nanos() << 64 | u128::from(number))
    }

    fn at(self) -> Duration {
        Duration::from_nanos((self.0 >> 64) as u64)
    }

    fn number(self) -> u64 {
        self.0 as u64
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.moment == other.moment
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
        self.moment.cmp(&other.moment)
    }
}

/// Which part of the run it is. After the first, clients ask for nothing, and all that is written are the
/// proofs that members make progress: where a log keeps less than clients write while a snapshot travels,
/// whoever needs the snapshot would never catch up, and the options may say that it keeps so little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Everything goes wrong.
    Faulty,
    /// Some majority can talk, all else stays broken, and writes must get through.
    Partial,
    /// A majority works, and each of its members must get a write through.
    Core,
    /// Everything works, and every member must get a write through.
    Whole,
    /// All machines must come to the same state.
    Quiet,
}

/// What a run was like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How long it took in its own time.
    pub simulated: Duration,
    /// How many events happened.
    pub events: u64,
    /// How requests ended, and commands that no client waits for.
    pub tally: Tally,
    /// How many requests of the clients of the store were answered.
    pub answered: u64,
    /// What was made of that without a look at the log.
    pub second_opinion: SecondOpinion,
    /// How long the log became.
    pub entries: u64,
    /// Crashes.
    pub crashes: u64,
    /// Snapshots installed.
    pub snapshots: u64,
    /// Messages in which a witness gave a candidate what that lacks.
    pub tails: u64,
    /// Other members than before, as a member saw them, with each of them.
    pub memberships: u64,
    /// How often a leader asked for a learner in the place of a voter that had failed.
    pub replaced: u64,
    /// How often that was done: a spare took over.
    pub took_over: u64,
    /// Reads of members that may not know of a write that was just answered.
    pub doubts: u64,
    /// Disks lost, and members that were voters again after that.
    pub wipes: u64,
    /// See `wipes`.
    pub rejoined: u64,
    /// Members whose storage was damaged, and how many of them have healed.
    pub damaged: u64,
    /// See `damaged`.
    pub healed: u64,
    /// Campaigns in earnest of members that heard of no leader, each in a term of its own; those that a leader asked
    /// for are not among them.
    pub campaigns: u64,
    /// Leaders that took office.
    pub leaders: u64,
    /// How often a group was quiet, as its leader saw it, and how often a member of one was woken.
    pub quiet: u64,
    /// See `quiet`.
    pub woken: u64,
    /// Reads that might be stale, and were judged.
    pub stale_reads: u64,
    /// Turns of leaders that held a lease then.
    pub leased: u64,
    /// How long a majority that could talk took for its first write, where all else stayed broken.
    pub worked_after: Option<Duration>,
    /// The member with the slow disk, if there was one.
    pub gray: Option<NodeId>,
    /// What became of what went wrong with disks.
    pub disks: DiskCounts,
    /// How it ended, if there was damage beyond the limit.
    pub ending: Option<Ending>,
    /// Which faults there were, and what they met.
    pub coverage: Coverage,
    /// What watchers were told.
    pub watches: WatchCounts,
    /// What leases went through.
    pub leases: LeaseCounts,
    /// What became of messages.
    pub net: NetCounts,
    /// A number that two runs share only if they went the same way.
    pub fingerprint: u64,
}

/// See the module.
pub struct World {
    options: Options,
    sabotage: Option<Sabotage>,
    chance: Chance,
    /// Decides what the extremes add.
    extreme: Chance,
    /// Decides what goes wrong with disks.
    rot: Chance,
    /// Decides who comes and goes.
    churn: Chance,
    /// The members that are pursued, if any are.
    desired: Option<Desired>,
    /// The members that a leader asked for last to replace one that has failed, until that is done.
    replacing: Option<Membership>,
    /// How many disks were lost.
    disks: u64,
    /// Decides which election policy a member is started with, where they differ.
    policies: Chance,
    /// From what follows how much each member is wanted as the leader.
    favours: u64,
    now: Duration,
    heap: BinaryHeap<Reverse<Scheduled>>,
    numbered: u64,
    places: Places,
    net: Net,
    workload: Workload,
    /// What rides along with the machines, if anything does.
    rides: Option<Arc<dyn Rides>>,
    watching: Watching,
    stale_reads: Judging,
    leasing: Leasing,
    alarming: Chance,
    oracle: Oracle,
    invariants: Invariants,
    /// What members said of their states, by the last entry of these.
    states: StateHashes<Index, Fingerprint>,
    trace: Trace,
    phase: Phase,
    phase_ends: Duration,
    /// What was committed when a cluster that has come to a halt was given the time to tell everybody of it.
    halts_at: Option<Index>,
    /// The members that must make progress, and those of them that have.
    core: BTreeSet<NodeId>,
    proven: BTreeSet<NodeId>,
    /// Where and when was asked for what, of requests that have not ended or that were lost.
    asked: BTreeMap<RequestId, (NodeId, Duration)>,
    /// What no client waits for: commands to compact, and reads that would be stale if any were.
    chores: BTreeMap<RequestId, NodeId>,
    /// Requests by which members prove that they make progress.
    proofs: BTreeMap<RequestId, NodeId>,
    /// How many of the proofs were acknowledged.
    proofs_done: u64,
    vigil: Option<Vigil>,
    /// How long each command of a client took that was acknowledged.
    latencies: Vec<Duration>,
    report: Report,
}

type Outcome = Result<(), Violation>;

/// Tells the source of what goes wrong with disks from the others of a seed.
const ROT: u64 = 0x0072_6f74;

/// The same for the policies of members that differ.
const POLICIES: u64 = 0x706f_6c73;

/// The same for how much each member is wanted as the leader.
const FAVOURS: u64 = 0x6661_766f_7273;

/// An empty disk for a member.
fn storage_of(options: &Options, sabotage: Option<Sabotage>) -> Storage {
    let wal = WalOptions {
        segment_bytes: options.segment_bytes,
        record_bytes_max: options.record_bytes_max,
    };
    let is_sound = options.extremes.disk_faults.is_none();
    let mut storage = if is_sound { Storage::new(wal) } else { Storage::ailing(wal) };
    match sabotage {
        Some(Sabotage::LyingDisk) => storage.lie(),
        Some(Sabotage::SyncErrorsHidden) => storage.hide_failures(),
        Some(Sabotage::DamageCutAway) => storage.cut_damage(),
        Some(Sabotage::ScrubSkipped) => storage.skip_scrub(),
        _ => {}
    }
    storage
}

impl World {
    /// The world of a seed, with these options.
    #[must_use]
    pub fn new(seed: u64, options: Options, sabotage: Option<Sabotage>, trace: Trace) -> Self {
        let mut chance = Chance::new(seed);
        // The source of the options; whatever they are, all else of a seed stays what it is.
        let _ = chance.fork();
        let mut extreme = Chance::new(!seed);
        let members: Vec<NodeId> = (0..options.members).map(node_id).collect();
        let places: Places = members
            .iter()
            .map(|&id| {
                let drift = chance.below(2 * options.clock_drift_ppm + 1);
                let origin = chance.below(1 << 50);
                let ppm = if options.extremes.clocks.wild {
                    extreme.between(RIGHT_PPM / 2, RIGHT_PPM * 2)
                } else {
                    RIGHT_PPM + drift - options.clock_drift_ppm
                };
                let place = Place::new(
                    storage_of(&options, sabotage),
                    Settings::common(&options),
                    Clock::new(origin, ppm),
                );
                (id, place)
            })
            .collect();
        Self {
            net: Net::new(members.clone(), &options, chance.fork(), extreme.fork()),
            workload: Workload::new(&options, chance.fork()),
            rides: None,
            watching: Watching::new(seed, options.watches),
            leasing: Leasing::new(seed, options.leases),
            alarming: Alarms::source(seed),
            stale_reads: Judging::new(seed, options.stale_reads),
            oracle: Oracle::default(),
            invariants: Invariants::new(Cluster::new(
                witness::all_voters(&options, members.iter().copied()),
                [],
            )),
            states: StateHashes::default(),
            phase_ends: options.faulty_for,
            options,
            sabotage,
            now: Duration::ZERO,
            heap: BinaryHeap::new(),
            numbered: 0,
            places,
            trace,
            phase: Phase::Faulty,
            halts_at: None,
            core: members.into_iter().collect(),
            proven: BTreeSet::new(),
            proofs: BTreeMap::new(),
            asked: BTreeMap::new(),
            chores: BTreeMap::new(),
            proofs_done: 0,
            vigil: None,
            latencies: Vec::new(),
            report: Report {
                simulated: Duration::ZERO,
                events: 0,
                tally: Tally::default(),
                answered: 0,
                second_opinion: SecondOpinion::default(),
                entries: 0,
                crashes: 0,
                snapshots: 0,
                tails: 0,
                memberships: 0,
                replaced: 0,
                took_over: 0,
                doubts: 0,
                wipes: 0,
                rejoined: 0,
                damaged: 0,
                healed: 0,
                campaigns: 0,
                leaders: 0,
                quiet: 0,
                woken: 0,
                leased: 0,
                stale_reads: 0,
                worked_after: None,
                gray: None,
                watches: WatchCounts::default(),
                disks: DiskCounts::default(),
                ending: None,
                leases: LeaseCounts::default(),
                coverage: Coverage::default(),
                net: NetCounts::default(),
                fingerprint: seed,
            },
            chance,
            extreme,
            rot: Chance::new(seed ^ ROT),
            churn: Chance::new(seed ^ churn::CHURN),
            desired: None,
            replacing: None,
            disks: 0,
            policies: Chance::new(seed ^ POLICIES),
            favours: seed ^ FAVOURS,
        }
    }

    /// A machine rides along with that of each member, and every value that a client writes carries a command
    /// for it. Nothing else is drawn than without it.
    pub(crate) fn carry(&mut self, rides: Arc<dyn Rides>, chance: Chance) {
        self.workload.carry(Cargo::new(Arc::clone(&rides), chance));
        self.rides = Some(rides);
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
        self.begin()?;
        self.run_to_its_end()
    }

    /// Starts all members, and what is to happen to them.
    ///
    /// # Errors
    /// If somebody can't start.
    pub fn begin(&mut self) -> Outcome {
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
        self.recur(self.options.wipes, Event::Wipe);
        self.recur(self.options.damage, Event::Damage);
        if let Some(every) = self.options.transfer_every {
            self.schedule(every, Event::Transfer);
        }
        if let Some(every) = self.options.compact_every {
            self.schedule(every, Event::Compact);
        }
        self.begin_churn();
        self.begin_extremes();
        self.begin_watchers();
        self.begin_disk_faults();
        self.begin_lease_clients();
        self.begin_alarms();
        self.schedule(self.options.faulty_for, Event::PhaseEnds);
        Ok(())
    }

    /// Goes on until the run is over.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn run_to_its_end(&mut self) -> Result<Report, Violation> {
        while !self.happen_next()? {}
        self.report.simulated = self.now;
        self.report.tally = self.oracle.tally();
        self.report.second_opinion = self.oracle.second_opinion()?;
        self.report.watches = self.judge_watchers()?;
        self.judge_leases_together()?;
        self.report.leases = self.leasing.counts;
        self.report.stale_reads = self.stale_reads.judged;
        self.report.entries = self.oracle.last().0;
        self.report.net = self.net.counts();
        Ok(self.report.clone())
    }

    /// Lets the next event happen. Returns whether the run is over.
    fn happen_next(&mut self) -> Result<bool, Violation> {
        let Reverse(next) = self.heap.pop().expect("the run looks at itself until it ends");
        let at = next.moment.at();
        assert!(self.now <= at, "time goes forwards");
        self.now = at;
        self.report.events += 1;
        if self.report.events > EVENTS_MAX {
            let what = format!("more than {EVENTS_MAX} events: somebody talks without end");
            return Err(Violation::new("storm", what));
        }
        self.mix(next.moment.number());
        self.happen(next.event)
    }

    /// What the clients' side of the story is worth so far, whatever the run found itself.
    ///
    /// # Errors
    /// If nothing explains it.
    pub fn second_opinion(&self) -> Result<SecondOpinion, Violation> {
        self.oracle.second_opinion()
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
        &mut self.places[&node]
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.numbered += 1;
        let moment = Moment::new(self.now + after, self.numbered);
        self.heap.push(Reverse(Scheduled { moment, event }));
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
            Event::Arrive(envelope) => self.arrive(envelope),
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
            Event::Synced { node, process, sync } => {
                if self.is_current(node, process) && self.place(node).syncs == sync {
                    self.synced(node)?;
                }
            }
            Event::Apply { node, process, job } => {
                if self.is_current(node, process) && self.places[&node].jobs == job {
                    self.apply(node)?;
                }
            }
            Event::FlushMachine { node } => self.flush_machine(node)?,
            Event::Client { client } => self.client(client)?,
            Event::WatchClient { client } => self.watch_client(client)?,
            Event::WatchTurn { client, connection, .. } => self.watch_turn(client, connection)?,
            Event::LeaseClient { client } => self.lease_client(client),
            Event::LeaseScan { node, process } => {
                if self.is_current(node, process) {
                    self.lease_scan(node);
                }
            }
            Event::LeaseAsk { node, question, attempt } => self.lease_ask(node, question, attempt),
            Event::LeaseCall(call) => self.lease_call(call)?,
            Event::Crash => self.crash_somebody()?,
            Event::Wipe => self.wipe_somebody()?,
            Event::Upset { winner } => self.upset(winner)?,
            Event::Damage => self.damage_somebody()?,
            Event::Healed { node, process, healed } => {
                if self.is_current(node, process) {
                    self.healed(node, &healed)?;
                }
            }
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
            Event::JumpClock => self.jump_clock(),
            Event::FreezeClock => self.freeze_clock(),
            Event::ThawClock { node } => self.thaw_clock(node),
            Event::SlowCpu => self.slow_cpu(),
            Event::RestoreCpu { node } => self.restore_cpu(node),
            Event::HangDisk => self.hang_disk(),
            Event::DiskAnswers { node } => self.disk_answers(node),
            Event::Disk(event) => self.disk_event(event)?,
            Event::Transfer => self.transfer(),
            Event::Compact => self.compact(),
            Event::Alarm => self.alarm(),
            Event::Churn => self.churn()?,
            Event::Reconcile => self.reconcile(),
            Event::PhaseEnds => self.phase_ends()?,
            Event::Look => return self.look(),
        }
        Ok(false)
    }

    /// Keeps what happens at a paused member for later, and what needs a disk that hangs.
    fn hold_back(&mut self, event: Event) -> Option<Event> {
        let (node, needs_process, needs_disk) = match &event {
            Event::Arrive(envelope) => (envelope.to, true, false),
            Event::Turn { node, .. }
            | Event::Wake { node, .. }
            | Event::Apply { node, .. }
            | Event::WatchTurn { node, .. }
            | Event::LeaseScan { node, .. }
            | Event::LeaseAsk { node, .. } => (*node, true, false),
            Event::LeaseCall(call) => (call.way.to, true, false),
            Event::Synced { node, .. } | Event::Healed { node, .. } => (*node, true, true),
            Event::Restart { node, .. } => (*node, false, true),
            _ => return Some(event),
        };
        let place = self.place(node);
        let paused = place.paused.as_mut().filter(|_| needs_process);
        let holding = paused.or(place.hung.as_mut().filter(|_| needs_disk));
        match holding {
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
}
