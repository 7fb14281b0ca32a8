//! A running member: how it starts, and how it stops.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use quorate_node::{
    Applier, ApplyJob, Begin, GroupConfig, Incarnation, Machine, Node, NodeConfig, membership_of,
};
use quorate_raft::{EntryId, Membership, Time};
use quorate_wal::{Disk, FileDisk, WalOptions};
use tokio::sync::watch;

use crate::apply_thread::ApplyThread;
use crate::asks::Asks;
use crate::card::Card;
use crate::changes::Changes;
use crate::clock::{Clock, wall_clock};
use crate::config::{HostConfig, HostEvent};
use crate::driver::{Driver, Scratch};
use crate::error::StartError;
use crate::fatal::Fatal;
use crate::following::Following;
use crate::handle::{Handle, Shared, Signal, Waiter};
use crate::handshake::Identity;
use crate::inbox::Inbox;
use crate::metrics::Metrics;
use crate::open::{Owner, Start, open_log};
use crate::peer::{Dialing, Directory, Incoming, Listening};
use crate::reconcile::Rests;
use crate::report::Reporter;
use crate::scrub::Pace;
use crate::space::{PatientDisk, Space};
use crate::status::HostStatus;
use crate::transfers::Transfers;
use crate::turn;
use crate::wal_thread::{self, WalJob, WalThread, wal_options};

/// A running member. Stops when dropped, as by [`Host::shutdown`].
pub struct Host<O: Send + 'static> {
    shared: Arc<Shared<O>>,
    fatal: Arc<Fatal>,
    wal: Arc<Inbox<WalJob>>,
    apply: Arc<Inbox<ApplyJob<Waiter<O>>>>,
    directory: Arc<Directory>,
    incoming: Arc<Incoming<O>>,
    space: Option<Arc<Space>>,
    threads: Threads,
}

/// The threads, as long as they run.
#[derive(Debug, Default)]
struct Threads {
    raft: Option<JoinHandle<()>>,
    wal: Option<JoinHandle<()>>,
    apply: Option<JoinHandle<()>>,
    listening: Option<Listening>,
}

impl<O: Send + 'static> fmt::Debug for Host<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("id", &self.shared.id).finish_non_exhaustive()
    }
}

impl<O: Send + 'static> Host<O> {
    /// Starts a member with this state machine, or finishes what it was doing when it was stopped.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(
        config: HostConfig,
        machine: Box<dyn Machine<Outcome = O>>,
    ) -> Result<(Self, Handle<O>), StartError> {
        let first = config.first_membership();
        let mut config = config.check()?;
        let listeners = std::mem::take(&mut config.listeners);
        if machine.keeps_state() == config.is_witness() {
            let reason = "a witness has the machine of one, and no other member has";
            return Err(StartError::Config(reason.into()));
        }
        let membership = membership_of(&*machine, &first).map_err(StartError::Machine)?;
        let is_witness = config.is_witness();
        if let Some(why) = HostConfig::contradiction(config.id, is_witness, &membership) {
            return Err(StartError::Config(why));
        }
        let applied = machine.applied();
        let Start { log, begin, damage } = open(&config, &membership, applied)?;
        if !config.has_begun && config.rejoining.is_none() {
            (config.on_begun)().map_err(|error| StartError::Log {
                path: config.data_dir.join(HostConfig::LOG),
                reason: format!("it can't be noted that there is one: {error}"),
            })?;
        }
        let clock = Clock::start();
        let metrics = Arc::new(Metrics::default());
        let shared = Arc::new(Shared::new(config.id, config.limits.clone(), Arc::clone(&metrics)));
        let reporter = Arc::new(Reporter::new(Arc::clone(&config.on_event)));
        let wal_inbox = Arc::new(Inbox::new(0));
        let apply_inbox: Arc<Inbox<ApplyJob<Waiter<O>>>> = Arc::new(Inbox::new(0));
        let fatal = Arc::new(Fatal::new(
            close_all(&shared, &wal_inbox, &apply_inbox),
            Arc::clone(&config.on_fatal),
        ));
        let started_ms = u64::try_from(wall_clock().as_millis()).unwrap_or(u64::MAX);
        let about = Arc::new(std::mem::take(&mut config.about));
        let card = Card { started_ms, about: Arc::clone(&about) };
        let (id, group) = (config.id, config.group);
        let shown_first = Arc::new(membership.clone());
        let status =
            HostStatus::new(id, config.cluster_id, group, machine.applied(), shown_first, about);
        let (status, shown) = watch::channel(Arc::new(status));
        let handle = Handle::new(Arc::clone(&shared), shown, clock);

        let identity = Identity {
            cluster_id: config.cluster_id,
            id: config.id,
            incarnation: scramble(config.seed),
        };
        let on_change = Arc::clone(&shared);
        let directory = Arc::new(Directory::new(Dialing {
            identity,
            card: card.clone(),
            transport: Arc::clone(&config.transport),
            patience: patience(&config),
            queue_bytes: config.limits.peer_queue_bytes,
            on_change: Arc::new(move |news| on_change.inbox.push_own([Signal::Node(news)])),
            metrics,
            reporter: Arc::clone(&reporter),
            fatal: Arc::clone(&fatal),
        }));
        let incoming = Arc::new(Incoming {
            identity,
            card,
            transport: Arc::clone(&config.transport),
            patience: patience(&config),
            shared: Arc::clone(&shared),
            directory: Arc::clone(&directory),
            rejoining: config.rejoining.is_some(),
            reporter: Arc::clone(&reporter),
            connections: Mutex::default(),
        });
        // From here on, an early return drops the host, which stops what has started.
        let mut host = Self {
            shared: Arc::clone(&shared),
            fatal: Arc::clone(&fatal),
            wal: Arc::clone(&wal_inbox),
            apply: Arc::clone(&apply_inbox),
            directory: Arc::clone(&directory),
            incoming: Arc::clone(&incoming),
            space: config.space.clone(),
            threads: Threads::default(),
        };

        let wal_thread = WalThread {
            log,
            batch_bytes: wal_thread::BATCH_BYTES,
            inbox: Arc::clone(&wal_inbox),
            shared: Arc::clone(&shared),
            clock,
            pace: Pace::new(clock.now(), config.scrub_cycle),
            reporter: Arc::clone(&reporter),
            fatal: Arc::clone(&fatal),
        };
        let healed = match &begin {
            Begin::Whole(_) => damage.map(|report| HostEvent::LogMended { report }),
            Begin::Healing(salvage) => Some(HostEvent::Healing {
                group: config.group,
                missing: salvage.missing(),
                machine_is_behind: applied.index < salvage.base.index,
                report: damage.unwrap_or_default(),
            }),
        };
        if let Some(event) = healed {
            reporter.tell(&event);
        }
        host.threads.wal = Some(spawn("wal", &fatal, move || wal_thread.run())?);
        let apply_thread = ApplyThread {
            group: config.group,
            applier: Applier::new(machine, membership.clone())
                .with_flushes_every(config.limits.unflushed_bytes),
            inbox: Arc::clone(&apply_inbox),
            shared: Arc::clone(&shared),
            reporter: Arc::clone(&reporter),
            clock,
            pace: Pace::new(clock.now(), config.scrub_cycle),
            fatal: Arc::clone(&fatal),
        };
        host.threads.apply = Some(spawn("apply", &fatal, move || apply_thread.run())?);
        let mut driver = Driver {
            id: config.id,
            is_witness,
            group: config.group,
            incarnation: Incarnation { started_ms, process: identity.incarnation },
            leaves: false,
            node: new_node(&config, identity.incarnation, membership, begin, applied, clock),
            clock,
            shared,
            reporter: Arc::clone(&reporter),
            fatal: Arc::clone(&fatal),
            on_rejoined: std::mem::replace(&mut config.on_rejoined, Box::new(|| Ok(()))),
            wal: wal_inbox,
            apply: apply_inbox,
            directory,
            following: Following::new(config.id, config.peers.clone(), patience(&config)),
            membership: Arc::new(Membership::default()),
            belongs: config.rejoining.is_none(),
            status,
            asks: Asks::new(config.request_timeout),
            transfers: Transfers::new(config.request_timeout),
            changes: Changes::new(config.request_timeout),
            rests: Rests::default(),
            heartbeat_interval: config.heartbeat_interval,
            connected: BTreeSet::new(),
            machine_durable: applied.index,
            rests_until: Time::NEVER,
            scratch: Scratch::default(),
        };
        driver.follow_members(clock.now());
        host.threads.raft = Some(spawn("raft", &fatal, move || turn::run(driver))?);
        let listening = incoming
            .listen(listeners)
            .map_err(|source| StartError::Io { what: "listen for other members".into(), source })?;
        host.threads.listening = Some(listening);
        Ok((host, handle))
    }

    /// Stops in order: requests that wait end with `Stopped`, what was given to the log and to the
    /// machine is finished, the machine is made durable. Returns when everything has ended. To hand
    /// leadership over first is up to the caller.
    pub fn shutdown(mut self) {
        self.shared.inbox.close();
        join(self.threads.raft.take());
        // The last words, among them that this member leaves, are worth a moment.
        self.directory.drain(LAST_WORDS);
        self.stop();
    }

    /// Stops as a crash would: nothing more is written, applied or acknowledged. For tests.
    pub fn kill(mut self) {
        self.fatal.pull_the_plug();
        self.stop();
    }

    fn stop(&mut self) {
        // First the raft thread, so that nothing new comes, then those whom it gives work.
        self.shared.inbox.close();
        join(self.threads.raft.take());
        self.wal.close();
        if let Some(space) = &self.space {
            space.close();
        }
        join(self.threads.wal.take());
        self.apply.close();
        join(self.threads.apply.take());
        if let Some(listening) = self.threads.listening.take() {
            listening.stop();
        }
        self.incoming.stop();
        self.directory.stop();
    }
}

impl<O: Send + 'static> Drop for Host<O> {
    fn drop(&mut self) {
        self.stop();
    }
}

fn join(thread: Option<JoinHandle<()>>) {
    if let Some(thread) = thread {
        // A panic in it was caught and told by its guard.
        let _ = thread.join();
    }
}

fn spawn(
    name: &'static str,
    fatal: &Arc<Fatal>,
    body: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, StartError> {
    let fatal = Arc::clone(fatal);
    thread::Builder::new()
        .name(format!("quorate-{name}"))
        .spawn(move || fatal.guard(name, body))
        .map_err(|source| StartError::Io { what: format!("start the {name} thread"), source })
}

/// Closes every inbox, whose threads may have panicked and will not empty them.
fn close_all<O: Send + 'static>(
    shared: &Arc<Shared<O>>,
    wal: &Arc<Inbox<WalJob>>,
    apply: &Arc<Inbox<ApplyJob<Waiter<O>>>>,
) -> Box<dyn Fn() + Send + Sync> {
    let (shared, wal, apply) = (Arc::clone(shared), Arc::clone(wal), Arc::clone(apply));
    Box::new(move || {
        shared.inbox.discard();
        wal.discard();
        apply.discard();
    })
}

/// How long an orderly end waits until what was said is with the network.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How long a connection may be silent where an answer is due: long enough for a busy peer, and
/// not so long that a peer that comes back is missed for more than a few elections.
fn patience(config: &HostConfig) -> Duration {
    config.election_timeout * 2
}

/// Spreads the bits of a seed over the whole word (the finalizer of SplitMix64), so that two
/// uses of one seed have nothing in common.
fn scramble(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn new_node<W>(
    config: &HostConfig,
    incarnation: u64,
    membership: Membership,
    begin: Begin,
    applied: EntryId,
    clock: Clock,
) -> Node<W> {
    let limits = &config.limits;
    let seed = scramble(incarnation ^ config.id.0);
    let mut node = Node::new(NodeConfig {
        request_timeout: config.request_timeout,
        command_bytes_max: limits.command_bytes,
        // The permits bind first; the node's own bounds are for what other members send on.
        pending_max: limits.proposals.max(limits.reads),
        pending_bytes_max: limits.proposal_bytes,
        leader_priority: config.about.leader_priority,
        ..NodeConfig::new(config.id, incarnation, seed)
    });
    let group = GroupConfig {
        group: config.group,
        membership,
        heartbeat_interval: config.heartbeat_interval,
        election_timeout: config.election_timeout,
        election_policy: config.election_policy,
        quiet_after: None,
        limits: limits.raft,
        rejoining: config.rejoining,
        lease: config.lease,
        witness: config.is_witness(),
    };
    let now = clock.now();
    match begin {
        Begin::Whole(recovered) => node.add_group(group, recovered, applied, now),
        Begin::Healing(salvage) => node.add_healing_group(group, salvage, applied, now),
    }
    node
}

/// Opens the log of this member.
fn open(
    config: &HostConfig,
    membership: &Membership,
    applied: EntryId,
) -> Result<Start, StartError> {
    let path = config.data_dir.join(HostConfig::LOG);
    let disk = FileDisk::open(&path)
        .map_err(|error| StartError::Log { path: path.clone(), reason: error.to_string() })?;
    let disk: Box<dyn Disk> = match &config.space {
        Some(space) => Box::new(PatientDisk { disk, space: Arc::clone(space) }),
        None => Box::new(disk),
    };
    let has_begun = config.has_begun && config.rejoining.is_none();
    let owner = Owner { id: config.id, group: config.group, membership, has_begun, applied };
    let options = WalOptions { segment_bytes: config.limits.segment_bytes, ..wal_options() };
    open_log(disk, &path, owner, options)
}
