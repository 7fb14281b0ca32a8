//! The member that all services speak to: propose, read, and who one is.
//!
//! Services know nothing of Raft. They hand commands in here and get answers, or the reason why there
//! is none; they get a state to read from, fresh enough for what was asked.

use std::sync::Arc;
use std::time::Duration;

use quorate_host::{Handle, Lane, NodeId, Permits, Space};
use quorate_mvcc::watch::{Advance, Recent, WatchStream};
use quorate_mvcc::{
    Caller, Command, MemberAttributes, Outcome, ReadError, ReadState, Response, Rights,
};
use quorate_proto::etcdserverpb as pb;
use tokio::sync::Notify;

use crate::admission::{self, Held, Memory, told};
use crate::config::Quota;
use crate::identity::Identity;
use crate::log::Log;
use crate::login::{Backoff, Jwt, Passwords, Tokens};
use crate::metrics::Metrics;
use crate::published::{Published, Wait};
use crate::rate::RateLimits;
use crate::rpc::Failure;
use crate::rpc::freshness::Wanted;
use crate::shutdown::Shutdown;
use crate::tls::Tls;

/// What a request may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The most operations in a transaction.
    pub(crate) txn_ops_max: usize,
    /// The most bytes of a command.
    pub(crate) request_bytes_max: usize,
    /// How large the store may become.
    pub(crate) quota: Quota,
    /// The shortest life of a lease, in seconds.
    pub(crate) lease_ttl_min: i64,
    /// The most watchers on a stream.
    pub(crate) stream_watchers_max: usize,
    /// The time between progress notifications of a watch.
    pub(crate) progress_interval: Duration,
    /// How long a proposal, a read or a question may take.
    pub(crate) request_timeout: Duration,
    /// What leases get on top when another member takes their clocks over.
    pub(crate) lease_extension: Duration,
    /// How long a message may take to arrive, and be waited for if others wait for its memory.
    pub(crate) client_patience: Duration,
    /// How long a stream whose client wants a leader goes on without one.
    pub(crate) leaderless_max: Duration,
}

/// One member.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) identity: Identity,
    /// Makes the ids of its cluster's members different from those of others.
    pub(crate) token: String,
    /// What it tells the others about itself.
    pub(crate) attributes: MemberAttributes,
    pub(crate) limits: Limits,
    pub(crate) handle: Handle<Outcome>,
    pub(crate) published: Arc<Published>,
    /// What clients hold.
    pub(crate) memory: Arc<Memory>,
    /// How often clients may ask.
    pub(crate) rates: RateLimits,
    /// For watchers.
    pub(crate) watchers: Arc<Permits>,
    /// How full the disk is.
    pub(crate) space: Arc<Space>,
    /// Told whenever a request was refused because of the quota.
    pub(crate) refused: Notify,
    pub(crate) passwords: Passwords,
    /// Who has to wait before another password of his is looked at.
    pub(crate) backoff: Backoff,
    pub(crate) tokens: Arc<Tokens>,
    /// What signs tokens and checks them, if users get such ones.
    pub(crate) jwt: Option<Arc<Jwt>>,
    /// What encrypted connections of clients are served with.
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) log: Log,
    /// Says when the member ends.
    pub(crate) stop: Shutdown,
}

impl Member {
    /// The header of an answer. `revision` is the store's at that moment, or 0 where etcd leaves it out.
    pub(crate) fn header(&self, revision: i64) -> Option<pb::ResponseHeader> {
        Some(pb::ResponseHeader {
            cluster_id: self.identity.cluster_id,
            member_id: self.identity.member_id,
            revision,
            raft_term: self.handle.status().term.0,
        })
    }

    /// Refuses what needs a state, or somebody who proposes: a witness has none, and does not.
    pub(crate) fn check_state(&self) -> Result<(), Failure> {
        if self.identity.is_witness() { Err(Failure::Witness) } else { Ok(()) }
    }

    /// Refuses what a learner does not serve: nearly everything, as etcd has it.
    pub(crate) fn check_votes(&self) -> Result<(), Failure> {
        let status = self.handle.status();
        let is_learner = status.membership.learners.contains(&status.id);
        if is_learner { Err(Failure::LearnerServesLittle) } else { Ok(()) }
    }

    /// The leader that it knows now. Whoever misses its leader campaigns, and forgets it by that. A witness never
    /// campaigns, so one that has been silent for long does not count there.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        let status = self.handle.status();
        let leader = status.leader?;
        if !self.identity.is_witness() {
            return Some(leader);
        }
        let now = self.handle.clock().now();
        let heard = status.peers.iter().find(|peer| peer.id == leader)?.health.last_contact?;
        (now.since(heard) <= self.limits.leaderless_max).then_some(leader)
    }

    /// Whether it knows a leader now.
    pub(crate) fn knows_leader(&self) -> bool {
        self.leader().is_some()
    }

    /// Has all members carry a command out. Answers when this member has: with the revision of the
    /// store after it, and what came of it.
    ///
    /// Whether the caller may have that is checked where it is carried out.
    pub(crate) async fn propose(
        &self,
        caller: &Caller,
        command: Command,
    ) -> Result<(i64, Response), Failure> {
        let (lane, bytes) = (admission::lane_of(&command), command.encode_for(caller));
        if bytes.len() > self.limits.request_bytes_max {
            return Err(Failure::RequestTooLarge);
        }
        let outcome = self.handle.propose_in(lane, bytes).await?;
        Ok((outcome.revision, outcome.result?))
    }

    /// The same, for a command whose answer may be long: there is to be memory for it first.
    pub(crate) async fn propose_for(
        &self,
        held: &Held,
        caller: &Caller,
        command: Command,
    ) -> Result<(i64, Response), Failure> {
        if told::tells(&command) {
            let state = self.state();
            let estimate = |bytes_max| {
                let estimate = |state: &ReadState| Ok(told::bytes(state, &command, bytes_max));
                let is_short = told::is_short(&command);
                let bytes =
                    if is_short { state.read(estimate)? } else { state.read_much(estimate)? };
                Ok(((), bytes?))
            };
            held.answer(admission::lane_of(&command).max(Lane::Ordinary), estimate).await?;
        }
        self.propose(caller, command).await
    }

    /// A state to read from: at least as new as everything that was acknowledged to anybody before
    /// now, or, if the client can do with less, whatever this member has.
    pub(crate) async fn state_for(&self, serializable: bool) -> Result<State, Failure> {
        if !serializable {
            self.check_votes()?;
            self.handle.read_barrier().await?;
        }
        Ok(self.state())
    }

    /// A state to read from that is as new as the client wants, and how stale it is at most, if the client gave a
    /// bound. Without a wish it is as for [`Member::state_for`].
    pub(crate) async fn state_as(
        &self,
        wanted: Wanted,
        serializable: bool,
    ) -> Result<(State, Option<Duration>), Failure> {
        if wanted == Wanted::default() {
            return Ok((self.state_for(serializable).await?, None));
        }
        let staleness = match wanted.max_staleness {
            Some(bound) => Some(self.handle.read_within(bound).await?),
            None => None,
        };
        if let Some(revision) = wanted.min_revision {
            self.wait_for_revision(revision).await?;
        }
        Ok((self.state(), staleness))
    }

    /// Waits until this member's state has reached a revision, as long as requests may take. Asks nobody.
    async fn wait_for_revision(&self, revision: i64) -> Result<(), Failure> {
        if revision <= self.published.revision() {
            return Ok(());
        }
        let wait = self.published.wait()?;
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            () = wait.until(|state| revision <= state.revision()) => Ok(()),
            () = stop.requested() => Err(Failure::Stopped),
            () = tokio::time::sleep(self.limits.request_timeout) => Err(Failure::Timeout),
        }
    }

    /// The state that this member has.
    pub(crate) fn state(&self) -> State {
        State(self.published.state())
    }

    /// Takes what has happened for the watchers of a stream. The other tasks of this thread move to another one if that
    /// has to be read from the disk.
    pub(crate) fn advance(
        &self,
        stream: &mut WatchStream,
        recent: Recent,
    ) -> Result<Advance, Failure> {
        let advance = if stream.reads_disk(&recent) {
            tokio::task::block_in_place(|| stream.advance(recent))
        } else {
            stream.advance(recent)
        };
        advance.map_err(|error| {
            self.log.error("failed to read the history").with("error", error);
            Failure::Unreadable
        })
    }

    /// Waits until the space of a compaction is back on this member, which happens in idle time and, a
    /// little, with each commit.
    pub(crate) async fn wait_for_removal(
        &self,
        wait: Wait<'_>,
        revision: i64,
    ) -> Result<(), Failure> {
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            () = wait.until(|state| revision <= state.physically_compacted()) => Ok(()),
            () = stop.requested() => Err(Failure::Stopped),
        }
    }

    /// Refuses a write that would make the store grow beyond its quota, or on a disk that is nearly full.
    /// To be asked before proposing:
    /// once a command is in the log it is carried out.
    pub(crate) fn check_quota(&self, cost: u64) -> Result<(), Failure> {
        if cost > 0 && self.space.is_scarce() {
            return Err(Failure::NoSpace);
        }
        match self.limits.quota.bytes {
            Some(quota)
                if cost > 0 && self.published.bytes_in_use().saturating_add(cost) >= quota =>
            {
                self.refused.notify_one();
                Err(Failure::NoSpace)
            }
            _ => Ok(()),
        }
    }
}

/// A state to read from.
#[derive(Debug)]
pub(crate) struct State(pub(crate) ReadState);

impl State {
    /// What a caller may read of it.
    pub(crate) fn rights(&self, caller: &Caller) -> Result<Rights<'_>, Failure> {
        Ok(self.0.rights(caller)?)
    }

    /// Reads what takes a moment: a few keys.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&ReadState) -> Result<T, ReadError>,
    ) -> Result<T, Failure> {
        read(&self.0).map_err(Failure::from)
    }

    /// Reads what may take long. The other tasks of this thread move to another one for that time,
    /// which costs more than to read a key.
    pub(crate) fn read_much<T>(
        &self,
        read: impl FnOnce(&ReadState) -> Result<T, ReadError>,
    ) -> Result<T, Failure> {
        tokio::task::block_in_place(|| self.read(read))
    }
}
