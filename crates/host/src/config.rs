//! What a host is told when it starts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_node::{About, PeerChange};
use quorate_raft::{DiskId, ElectionPolicy, EntryId, Event, GroupId, Index, Membership, NodeId};

use crate::error::{PeerError, StartError};
use crate::fatal::Fatality;
use crate::space::Space;
use crate::transport::{Tcp, Transport};

/// What a host is told when it starts. [`HostConfig::new`] fills in everything that has a good
/// default.
pub struct HostConfig {
    /// This member. Never given to another.
    pub id: NodeId,
    /// The group that is replicated.
    pub group: GroupId,
    /// Equal on all members; connections between different clusters are refused.
    pub cluster_id: u64,
    /// Holds the log, in [`HostConfig::LOG`]. Created if missing.
    pub data_dir: PathBuf,
    /// The other voters, each with the addresses (`host:port`, perhaps with a scheme in front) to try in turn. An entry for this
    /// member itself is ignored.
    pub peers: BTreeMap<NodeId, Vec<String>>,
    /// Who of the first members is a witness, and this member itself if it is one: a voter that keeps no state and
    /// never leads (see [`Witness`](quorate_node::Witness)). Equal on all of them. At least one of the voters is
    /// none.
    pub witnesses: BTreeSet<NodeId>,
    /// Where other members connect to. Bound by the caller, who thereby knows the ports.
    pub listeners: Vec<TcpListener>,
    /// There is a log: [`HostConfig::on_begun`] was called by an earlier start. Should nothing be found of
    /// it, it was lost, and the member must not begin as if it had never promised anything. A lost log looks
    /// like one that was never begun, so this is to be remembered beside it, as a [`crate::Replica`] does. Means
    /// nothing with [`HostConfig::rejoining`].
    pub has_begun: bool,
    /// Called when there is a log for the first time, before the member takes part in anything, so that
    /// the next start has [`HostConfig::has_begun`]. The host does not start if that can't be noted.
    pub on_begun: Box<dyn FnMut() -> Result<(), String> + Send>,
    /// The group exists, and what this member may have promised there is not on its disk, which is a new one:
    /// its number, drawn at random for this disk. The member does not vote until it knows that it can keep its
    /// promises, or was given a vote with this disk. To be told by each start until [`HostConfig::on_rejoined`]
    /// has returned without an error, and by none after it; and a disk that is lost again has another number.
    pub rejoining: Option<DiskId>,
    /// Called, from any thread, when a member that was rejoining counts as a voter again, so that
    /// the next start does not rejoin. The member stops if that can't be noted.
    pub on_rejoined: Box<dyn FnMut() -> Result<(), String> + Send>,
    /// What other members are told about this one: each of them on every connection. Texts are bounded, see
    /// [`crate::is_name`] and [`crate::is_address`], and at most 8 addresses.
    pub about: About,
    /// How connections are made; plain TCP unless told otherwise.
    pub transport: Arc<dyn Transport>,
    /// How often a leader says that it leads.
    pub heartbeat_interval: Duration,
    /// How long a follower waits for a leader before it asks for an election; several heartbeats. With
    /// the adaptive policy, the longest that this becomes.
    pub election_timeout: Duration,
    /// How long it waits, given that; the adaptive policy unless told otherwise.
    pub election_policy: ElectionPolicy,
    /// Whether a leader answers reads by a lease, and what that trusts of clocks: see [`quorate_raft::Lease`] and
    /// [`quorate_raft::Config::lease`]. Off unless told otherwise.
    pub lease: Option<quorate_raft::Lease>,
    /// How long any request may take.
    pub request_timeout: Duration,
    /// In how long everything that the state machine has on disk is read and verified once, at the
    /// latest.
    pub scrub_cycle: Duration,
    /// The disk of `data_dir`, if the log is to wait for room there instead of ending the member.
    pub space: Option<Arc<Space>>,
    /// The limits.
    pub limits: Limits,
    /// The origin of all chance in here: election timeouts, and the name of this process towards
    /// the other members. Another one for each process.
    pub seed: u64,
    /// Called, from any thread, with what an operator may want to read. Must not block.
    pub on_event: Arc<dyn Fn(&HostEvent) + Send + Sync>,
    /// Called when this member must not go on: the log or the state machine failed. Nothing is
    /// acknowledged after. The default prints the reason and aborts the process; one that returns
    /// leaves a host that answers everything with [`crate::RequestError::Stopped`].
    pub on_fatal: Arc<dyn Fn(&Fatality) + Send + Sync>,
}

/// How much may wait, in number and in bytes. Beyond these, requests are refused at once instead of
/// waiting for their time to run out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest command, in bytes. etcd's default is 1.5 MiB (`--max-request-bytes`); this leaves
    /// room around it.
    pub command_bytes: usize,
    /// Commands of this member's clients that wait for their outcome.
    pub proposals: usize,
    /// The bytes of those.
    pub proposal_bytes: usize,
    /// Reads of this member's clients that wait for their index.
    pub reads: usize,
    /// Questions to other members that wait for an answer.
    pub asks: usize,
    /// The largest question or answer, in bytes.
    pub ask_bytes: usize,
    /// The bytes of all questions to other members that wait for an answer, and as many of theirs.
    pub asks_bytes: usize,
    /// What may wait to be sent to one peer, in bytes. What comes on top is dropped; Raft sends
    /// it again.
    pub peer_queue_bytes: usize,
    /// What may have arrived from peers and wait for the raft thread, in bytes. Beyond it their
    /// connections are not read.
    pub inbound_bytes: usize,
    /// What the state machine may have applied since it was last asked to make itself durable, in bytes of
    /// entries: so much is in memory beside the log, and applied again after a crash.
    pub unflushed_bytes: usize,
    /// The length of a segment of the log, in bytes. The disk space is taken when it begins.
    pub segment_bytes: u64,
    /// The bounds of the algorithm itself.
    pub raft: quorate_raft::Limits,
}

impl Limits {
    /// What a witness keeps of the end of the log, in bytes, with [`Limits::of_witness`].
    pub const WITNESS_TAIL_BYTES: usize = 4 << 20;

    /// Those of a witness, whose process is to stay small: it takes no requests, sends little, and what it keeps
    /// of the log is its tail. All that a leader may have on the way to it fits besides. A segment is short, so that
    /// those before it are given back without the tail being read and written again.
    #[must_use]
    pub fn of_witness() -> Self {
        const MIB: usize = 1 << 20;
        Self {
            peer_queue_bytes: 2 * MIB,
            inbound_bytes: 2 * MIB,
            asks_bytes: MIB,
            unflushed_bytes: MIB,
            segment_bytes: 2 * Self::WITNESS_TAIL_BYTES as u64,
            raft: quorate_raft::Limits {
                retained_bytes_min: Self::WITNESS_TAIL_BYTES,
                retained_bytes_max: Self::WITNESS_TAIL_BYTES,
                ..quorate_raft::Limits::default()
            },
            ..Self::default()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            command_bytes: 2 << 20,
            proposals: 16_384,
            proposal_bytes: 64 << 20,
            reads: 65_536,
            asks: 16_384,
            ask_bytes: 1 << 20,
            asks_bytes: 64 << 20,
            peer_queue_bytes: 64 << 20,
            inbound_bytes: 64 << 20,
            unflushed_bytes: quorate_node::UNFLUSHED_BYTES_MAX,
            segment_bytes: quorate_wal::WalOptions::default().segment_bytes,
            raft: quorate_raft::Limits::default(),
        }
    }
}

impl HostConfig {
    /// The directory of the log, in the data directory.
    pub const LOG: &str = "wal";

    /// The file in the data directory in which a [`Replica`](crate::Replica) keeps a state, and a witness where it is.
    pub const STATE: &str = "state";

    /// The group of a host that replicates one.
    pub const GROUP: GroupId = GroupId(1);

    /// The configuration of a member, with etcd's defaults for time (heartbeats every 100 ms,
    /// elections after 1 s without) and a seed drawn from the operating system.
    #[must_use]
    pub fn new(id: NodeId, data_dir: impl Into<PathBuf>, listeners: Vec<TcpListener>) -> Self {
        Self {
            id,
            group: Self::GROUP,
            cluster_id: 0,
            data_dir: data_dir.into(),
            peers: BTreeMap::new(),
            witnesses: BTreeSet::new(),
            listeners,
            has_begun: false,
            on_begun: Box::new(|| Ok(())),
            rejoining: None,
            on_rejoined: Box::new(|| Ok(())),
            about: About { version: env!("CARGO_PKG_VERSION").to_owned(), ..About::default() },
            transport: Arc::new(Tcp),
            heartbeat_interval: Duration::from_millis(100),
            election_timeout: Duration::from_secs(1),
            election_policy: ElectionPolicy::Adaptive,
            lease: None,
            request_timeout: Duration::from_secs(5),
            scrub_cycle: Duration::from_secs(24 * 60 * 60),
            space: None,
            limits: Limits::default(),
            // The keys of the standard library's hash maps are the one source of entropy it has.
            seed: RandomState::new().hash_one(id.0),
            on_event: Arc::new(|_| {}),
            on_fatal: Arc::new(abort),
        }
    }

    /// The members with which the group was made, as far as the configuration tells. To one that joins later, the
    /// log tells better.
    pub(crate) fn first_membership(&self) -> Membership {
        let mut first = Membership::of_voters(self.peers.keys().copied());
        first.voters.insert(self.id);
        let about = |addresses: &Vec<String>| Bytes::from(addresses.join("\n"));
        first.about = self.peers.iter().map(|(id, addresses)| (*id, about(addresses))).collect();
        first.about.retain(|_, about| about.len() <= Membership::ABOUT_BYTES_MAX);
        first.witnesses = self.witnesses.intersection(&first.voters).copied().collect();
        first
    }

    /// Whether this member is a witness.
    pub(crate) fn is_witness(&self) -> bool {
        self.witnesses.contains(&self.id)
    }

    /// Why this member can't go on with these members, which are committed, if it can't: a process is started as a
    /// witness or not, and the members have it as one or not. Who is none of them may still become one.
    pub(crate) fn contradiction(
        id: NodeId,
        is_witness: bool,
        members: &Membership,
    ) -> Option<String> {
        if !members.contains(id) || members.is_witness(id) == is_witness {
            return None;
        }
        let (is, was_started) = match is_witness {
            true => ("no witness", "one"),
            false => ("a witness", "a member with a state"),
        };
        Some(format!(
            "member {id} is {is} in its group, and was started as {was_started}: it has to be started as what it is, \
             with an empty data directory, or to be removed and added under another id"
        ))
    }

    /// The configuration, if it makes sense.
    pub(crate) fn check(mut self) -> Result<Self, StartError> {
        self.peers.remove(&self.id);
        let refuse = |reason: String| Err(StartError::Config(reason));
        if self.id == NodeId(0) {
            return refuse("the id 0 is given to nobody".into());
        }
        if self.heartbeat_interval.is_zero() || self.request_timeout.is_zero() {
            return refuse("heartbeat interval and request timeout are longer than nothing".into());
        }
        if self.election_timeout < self.heartbeat_interval * 2 {
            return refuse(format!(
                "an election timeout of {:?} does not outlast two heartbeats of {:?}",
                self.election_timeout, self.heartbeat_interval
            ));
        }
        if self.lease.is_some_and(|lease| lease.drift_ppm >= 1_000_000) {
            return refuse("clocks that drift by the whole time allow no lease".into());
        }
        if self.peers.keys().chain([&self.id]).all(|id| self.witnesses.contains(id)) {
            return refuse("a group of witnesses alone has no state, and nobody to lead it".into());
        }
        crate::card::check(&self.about).map_err(StartError::Config)?;
        if self.rejoining.is_some() && self.peers.is_empty() {
            return refuse("it would rejoin, and no other member has what it had".into());
        }
        if let Some((id, _)) = self.peers.iter().find(|(_, addresses)| addresses.is_empty()) {
            return refuse(format!("member {id} has no address"));
        }
        if self.limits.command_bytes > crate::wire::COMMAND_BYTES_MAX
            || self.limits.ask_bytes > crate::wire::COMMAND_BYTES_MAX
        {
            return refuse(format!(
                "commands and questions have at most {} bytes",
                crate::wire::COMMAND_BYTES_MAX
            ));
        }
        let raft = &self.limits.raft;
        if raft.append_bytes_max > crate::wire::COMMAND_BYTES_MAX
            || raft.uncommitted_bytes_max > crate::wal_thread::APPEND_BYTES_MAX
        {
            return refuse(format!(
                "an append has at most {} bytes, and at most {} are uncommitted",
                crate::wire::COMMAND_BYTES_MAX,
                crate::wal_thread::APPEND_BYTES_MAX
            ));
        }
        Ok(self)
    }
}

impl fmt::Debug for HostConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostConfig")
            .field("id", &self.id)
            .field("group", &self.group)
            .field("cluster_id", &self.cluster_id)
            .field("data_dir", &self.data_dir)
            .field("peers", &self.peers)
            .finish_non_exhaustive()
    }
}

/// The end of a process that must not acknowledge anything more. An abort and not an exit, since
/// nothing may run after it, be it a destructor that flushes.
#[expect(clippy::print_stderr, reason = "the last words of a process without a better place")]
fn abort(what: &Fatality) {
    eprintln!("fatal: {what}");
    std::process::abort();
}

/// What an operator may want to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostEvent {
    /// Something notable happened to a group.
    Raft(GroupId, Event),
    /// The connection to a peer was made.
    PeerConnected {
        /// The peer.
        peer: NodeId,
    },
    /// The connection to a peer could not be made or was lost. Told once for each cause until it is
    /// made again.
    PeerLost {
        /// The peer.
        peer: NodeId,
        /// Why.
        error: PeerError,
    },
    /// Another member looks different from now on: see [`quorate_node::detector`].
    PeerChanged(PeerChange),
    /// Somebody who connected was turned away. Told once for each cause.
    Refused {
        /// Who it claims to be, if it got that far.
        peer: Option<NodeId>,
        /// Why.
        error: PeerError,
    },
    /// The leader sent a snapshot that the state machine would not have. It will send it again; told
    /// once for each cause in a row.
    SnapshotRefused {
        /// The group.
        group: GroupId,
        /// The last entry that it contains.
        last: EntryId,
        /// Why, in the words of the machine.
        reason: String,
    },
    /// The storage of this member is damaged: it takes no part in the group before it has from others what
    /// it lacks.
    Healing {
        /// The group.
        group: GroupId,
        /// How many entries of the log are lost.
        missing: u64,
        /// Whether the state machine ends before the log begins.
        machine_is_behind: bool,
        /// What is damaged of the log, and where; nothing, if it is whole.
        report: String,
    },
    /// A part of the log had gone bad. Nothing was lost with it, as it was in memory still or not needed, and
    /// the log was written anew.
    LogMended {
        /// What was wrong, and where.
        report: String,
    },
    /// This member has everything again, and takes part.
    Healed {
        /// The group.
        group: GroupId,
    },
    /// Members say that their states differ. Those that differ from a majority stop by themselves.
    StateDisputed {
        /// The group.
        group: GroupId,
        /// After which entry.
        index: Index,
    },
}

impl fmt::Display for HostEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raft(group, event) => write!(f, "{group}: {event:?}"),
            Self::PeerConnected { peer } => write!(f, "connected to {peer}"),
            Self::PeerLost { peer, error } => write!(f, "no connection to {peer}: {error}"),
            Self::PeerChanged(PeerChange { peer, from, to, told_by }) => {
                write!(f, "{peer} was {} and is {}", from.name(), to.name())?;
                told_by.map_or(Ok(()), |by| write!(f, ", says {by}"))
            }
            Self::Refused { peer: Some(peer), error } => {
                write!(f, "refused a connection from {peer}: {error}")
            }
            Self::Refused { peer: None, error } => write!(f, "refused a connection: {error}"),
            Self::SnapshotRefused { group, last, reason } => {
                write!(f, "{group}: refused a snapshot up to {last}: {reason}")
            }
            Self::Healing { group, missing, report, .. } => {
                write!(f, "{group}: heals; {missing} entries of the log are lost: {report}")
            }
            Self::LogMended { report } => write!(f, "a part of the log was written anew: {report}"),
            Self::Healed { group } => write!(f, "{group}: has healed"),
            Self::StateDisputed { group, index } => {
                write!(f, "{group}: the states of members differ after entry {index}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal_thread::APPEND_BYTES_MAX;
    use crate::wire::COMMAND_BYTES_MAX;

    type Change = fn(&mut Limits, usize);

    /// What lets clients and this member itself produce more than the codec or the log takes.
    #[test]
    fn limits_beyond_what_a_frame_or_the_log_takes_are_refused() {
        let check = |change: Change, at: usize| {
            let mut config = HostConfig::new(NodeId(1), "nowhere", Vec::new());
            change(&mut config.limits, at);
            config.check().is_ok()
        };
        let limits: [(Change, usize); 4] = [
            (|limits, at| limits.command_bytes = at, COMMAND_BYTES_MAX),
            (|limits, at| limits.ask_bytes = at, COMMAND_BYTES_MAX),
            (|limits, at| limits.raft.append_bytes_max = at, COMMAND_BYTES_MAX),
            (|limits, at| limits.raft.uncommitted_bytes_max = at, APPEND_BYTES_MAX),
        ];
        for (change, largest) in limits {
            assert!(check(change, largest) && !check(change, largest + 1), "{largest}");
        }
    }
}
