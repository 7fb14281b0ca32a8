//! How the host is set up for a member, and what becomes of what it reports.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use quorate_host::{About, HostConfig, HostEvent, Limits, PeerChange, PeerState, Space};
use quorate_node::FaultKind;
use quorate_raft::{Event, NodeId, Term};
use tokio::sync::watch;

use crate::config::{Config, Url};
use crate::identity::Identity;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::rebuild::Rebuild;

/// What a command has on top of the request it was made of, at most: the host adds who asked.
const COMMAND_OVERHEAD_BYTES: usize = 64 << 10;

/// The configuration of the host.
pub(crate) fn config(
    config: &Config,
    identity: &Identity,
    listeners: Vec<TcpListener>,
    metrics: &Arc<Metrics>,
    log: &Log,
    space: &Arc<Space>,
    fallen: watch::Sender<Option<String>>,
) -> HostConfig {
    let id = NodeId(identity.member_id);
    let mut host = HostConfig::new(id, &config.data_dir, listeners);
    host.cluster_id = identity.cluster_id;
    host.peers = identity
        .members
        .iter()
        .map(|member| {
            let urls = member.peer_urls.iter().map(ToString::to_string);
            (NodeId(member.id), urls.collect())
        })
        .collect();
    let witnesses = identity.members.iter().filter(|member| member.is_witness);
    host.witnesses = witnesses.map(|member| NodeId(member.id)).collect();
    host.about = about(config);
    host.has_begun = !identity.founding;
    let data_dir = config.data_dir.clone();
    host.on_begun = Box::new(move || Identity::note_founded(&data_dir));
    host.rejoining = identity.rejoining;
    let data_dir = config.data_dir.clone();
    host.on_rejoined = Box::new(move || Identity::note_rejoined(&data_dir));
    host.heartbeat_interval = config.heartbeat_interval;
    host.election_timeout = config.election_timeout;
    host.election_policy = config.election_policy;
    host.lease = config.leader_lease;
    host.space = Some(Arc::clone(space));
    host.request_timeout = config.request_timeout();
    host.limits = Limits {
        command_bytes: config.max_request_bytes.saturating_add(COMMAND_OVERHEAD_BYTES),
        ..if identity.is_witness() { Limits::of_witness() } else { Limits::default() }
    };
    let (counts, events) = (metrics.clone(), log.clone());
    let told = Mutex::new(BTreeSet::new());
    host.on_event = Arc::new(move |event| {
        // What a member says wrongly it may say for each of its messages.
        let is_news = match event {
            HostEvent::Raft(_, Event::Malformed { from, reason }) => {
                told.lock().unwrap_or_else(PoisonError::into_inner).insert((*from, *reason))
            }
            _ => true,
        };
        if is_news {
            report(event, id, &counts, &events);
        }
    });
    let last = log.clone();
    let rebuild = Rebuild::new(&config.data_dir);
    let data_dir = config.data_dir.clone();
    host.on_fatal = Arc::new(move |what| {
        let is_lost = what.machine.is_some_and(FaultKind::loses_state);
        let others_have_the_state = || {
            let identity = Identity::load(&data_dir).ok().flatten();
            identity.is_some_and(|identity| identity.others_have_the_state())
        };
        if (is_lost || what.is_log_lost) && others_have_the_state() {
            let done = if what.is_log_lost {
                rebuild.forget(&what.report)
            } else {
                rebuild.note(&what.report)
            };
            match done {
                Ok(()) => {
                    fallen.send_replace(Some(what.report.clone()));
                    return;
                }
                Err(error) => drop(last.error("the lost store stays").with("error", error)),
            }
        }
        last.fatal("the member can't go on").with("error", what);
        // Not an exit: nothing may run after this, be it a destructor that flushes.
        std::process::abort();
    });
    host
}

/// What the other members are told. An address that is longer than any name in a network is left out.
fn about(config: &Config) -> About {
    const ADDRESSES_MAX: usize = 8;
    let urls = config.advertise_peer.iter().map(Url::as_str);
    let addresses = urls.filter(|url| quorate_host::is_address(url)).take(ADDRESSES_MAX);
    About {
        version: crate::version::QUORATE.to_owned(),
        zone: config.zone.clone(),
        addresses: addresses.map(str::to_owned).collect(),
        leader_priority: config.leader_priority,
    }
}

fn report(event: &HostEvent, own: NodeId, metrics: &Metrics, log: &Log) {
    match event {
        HostEvent::Raft(_, event) => report_raft(event, own, metrics, log),
        HostEvent::PeerConnected { peer } => {
            log.info("connected to peer").with("peer-id", Hex(*peer));
        }
        HostEvent::PeerLost { peer, error } => {
            log.warn("no connection to peer").with("peer-id", Hex(*peer)).with("error", error);
        }
        HostEvent::SnapshotRefused { last, reason, .. } => {
            log.warn("refused a snapshot")
                .number("applied-index", last.index.0)
                .with("error", reason);
        }
        HostEvent::Healing { missing, machine_is_behind, report, .. } => {
            log.warn(
                "the storage of this member is damaged: it gets from others what it lost first",
            )
            .number("lost-entries", *missing)
            .with("needs-snapshot", machine_is_behind)
            .with("error", report);
        }
        HostEvent::LogMended { report } => {
            log.error("a part of the log had gone bad, and was written anew").with("error", report);
        }
        HostEvent::Healed { .. } => {
            log.info("this member has everything again");
        }
        HostEvent::StateDisputed { index, .. } => {
            log.error("members hold different states; those that differ from most stop")
                .number("applied-index", index.0);
        }
        HostEvent::PeerChanged(change) => report_peer(change, log),
        HostEvent::Refused { .. } => {
            log.warn("refused a connection").with("error", event);
        }
    }
}

/// Tells of failures, of their ends, and of members that leave. Suspicions come and go on any busy machine:
/// they are in the metrics.
fn report_peer(PeerChange { peer, from, to, told_by }: &PeerChange, log: &Log) {
    let line = match (from, to) {
        (_, PeerState::Failed) => log.warn("a peer is silent, as if it had failed"),
        (_, PeerState::Leaving) => log.info("a peer says that it ends"),
        (PeerState::Failed | PeerState::Leaving, PeerState::Idle | PeerState::Active) => {
            log.info("a peer is there again")
        }
        (from, to) => {
            log.debug("a peer looks different").with("was", from.name()).with("is", to.name())
        }
    };
    let line = line.with("peer-id", Hex(*peer));
    if let Some(by) = told_by {
        line.with("told-by", Hex(*by));
    }
}

fn report_raft(event: &Event, own: NodeId, metrics: &Metrics, log: &Log) {
    let elected = |leader: NodeId, term: Term| {
        metrics.leader_changes.fetch_add(1, Ordering::Relaxed);
        let (own, leader) = (Hex(own), Hex(leader));
        log.info(&format!("raft.node: {own} elected leader {leader} at term {}", term.0));
    };
    match event {
        Event::BecameLeader { term } => elected(own, *term),
        Event::BecameFollower { term, leader: Some(leader) }
        | Event::LeaderChanged { term, leader: Some(leader) } => elected(*leader, *term),
        Event::LeaderChanged { term, leader: None } => {
            let own = Hex(own);
            log.info(&format!("raft.node: {own} lost leader at term {}", term.0));
        }
        Event::LostQuorum { term } => {
            log.warn("stepped down to follower since quorum is not active").number("term", term.0);
        }
        Event::DiskIsSlow { term } => {
            log.warn("the disk of this leader is slow: looking for another to lead")
                .number("term", term.0);
        }
        Event::SnapshotStarted { to } => {
            log.info("sending a snapshot").with("peer-id", Hex(*to));
        }
        Event::SnapshotInstalled { meta } => {
            log.info("installed a snapshot").number("applied-index", meta.last.index.0);
        }
        Event::Rejoined { term, last } => {
            log.info("this member is a voter again")
                .number("term", term.0)
                .number("last-index", last.0);
        }
        Event::Malformed { from, reason } => {
            log.warn("dropped a message").with("peer-id", Hex(*from)).with("reason", reason);
        }
        other => {
            log.debug("raft").with("event", format_args!("{other:?}"));
        }
    }
}

/// An id as etcd shows it.
#[derive(Clone, Copy)]
struct Hex(NodeId);

impl std::fmt::Display for Hex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}", self.0.0)
    }
}
