//! What a member is told when it is made.

use core::fmt;
use core::time::Duration;

use crate::lease::Lease;
use crate::membership::Membership;
use crate::timer::ElectionPolicy;
use crate::types::{DiskId, GroupId, NodeId};

/// What a member is told when it is made.
#[derive(Clone, Debug)]
pub struct Config {
    /// This member.
    pub id: NodeId,
    /// The group it belongs to. Raft itself does not need it; it is here so that whatever is
    /// reported can name it.
    pub group: GroupId,
    /// Who belonged to the group when its state machine was as it is: what the log has after that tells the
    /// rest. This member may be none of them, and then it waits until somebody sends it a log.
    pub membership: Membership,
    /// How often a leader speaks to each follower. A good deal more than a round trip.
    pub heartbeat_interval: Duration,
    /// The election timeout `T`. With the fixed policy each wait is drawn from `[T, 2T)`; with the adaptive one
    /// this is the longest that any least wait becomes. Several heartbeats, and well above the time of a
    /// sync to disk.
    pub election_timeout: Duration,
    /// How long a member waits for a leader, given that.
    pub election_policy: ElectionPolicy,
    /// The group goes quiet once nothing has happened in it for so long: its members then have no deadline until
    /// something does, and whoever steps them must tell them when another node can't be relied on any more (see
    /// `quiet.rs`). `None`: never. A group goes quiet only if all of its members may.
    pub quiet_after: Option<Duration>,
    /// Names this process among all that ever ran as this member: drawn at random when it starts. A
    /// vote counts for the process that asked for it and for no other.
    pub incarnation: u64,
    /// Where the random timeouts begin. Different for each member, or votes keep being split.
    pub seed: u64,
    /// The disk of a member of a group that exists, where what it may have promised there is not on this disk:
    /// it is a new one, or the one before was lost. The member does not vote until it knows that it can keep what it
    /// may have promised, or was given a vote with this disk; see `rejoin.rs`. To be set again, and to the
    /// same, by each start until [`crate::Event::Rejoined`], and never after it.
    pub rejoining: Option<DiskId>,
    /// Whether it answers reads by a lease when it leads, and keeps what it promised to leaders when it starts
    /// anew; see `lease.rs` for what that trusts. The same for all members, or else it is of no use where it is
    /// set. A member that had it must not be started without it, or with a shorter election timeout, before its last
    /// process is gone for as long as that one's election timeout.
    pub lease: Option<Lease>,
    /// Whether this member is a witness: it votes and carries the end of the log, keeps no state and never leads (see
    /// `witness.rs`). The memberships of its group say the same of it ([`Membership::witnesses`]).
    pub witness: bool,
    /// How much may be under way.
    pub limits: Limits,
}

/// What the members of many groups on one node have in common; see [`Config`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Settings {
    pub(crate) id: NodeId,
    pub(crate) incarnation: u64,
    pub(crate) limits: Limits,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) election_timeout: Duration,
    pub(crate) election_policy: ElectionPolicy,
    pub(crate) quiet_after: Option<Duration>,
    pub(crate) lease: Option<Lease>,
    pub(crate) witness: bool,
}

/// How much may be under way. Together they bound what a member puts on the wire and, while its state
/// machine keeps up with what is committed, its memory. How far a machine may be behind is not bounded
/// here: its entries stay in the log until they are applied and durable in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Limits {
    /// The entries in one message cost at most so many bytes (a larger entry travels alone).
    pub append_bytes_max: usize,
    /// At most so many appends are on the way to one follower.
    pub inflight_messages_max: usize,
    /// At most so many bytes are on the way to one follower, give or take one message.
    pub inflight_bytes_max: usize,
    /// A leader refuses proposals beyond so many uncommitted bytes.
    pub uncommitted_bytes_max: usize,
    /// At most so many reads wait in the core for their index; more are refused.
    pub pending_reads_max: usize,
    /// A leader keeps entries that could be compacted for followers that are behind, as long as its
    /// log does not exceed so many bytes; beyond that they get a snapshot.
    pub retained_bytes_max: usize,
    /// Every member keeps as many of the last entries as cost so many bytes (at most
    /// `retained_bytes_max`), compactable or not, for whoever is a little behind after a restart or
    /// when leadership moves.
    pub retained_bytes_min: usize,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: usize = 1 << 20;
        Self {
            append_bytes_max: MIB,
            inflight_messages_max: 256,
            inflight_bytes_max: 16 * MIB,
            uncommitted_bytes_max: 64 * MIB,
            pending_reads_max: 16 * 1024,
            retained_bytes_max: 64 * MIB,
            retained_bytes_min: 8 * MIB,
        }
    }
}

/// Why a configuration can't work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// There is no voter, so nothing could ever be decided.
    NoVoters,
    /// A member is listed as a voter and as a learner.
    VoterAndLearner(NodeId),
    /// The heartbeat interval is zero, or the election timeout is not at least twice as long: one
    /// delayed heartbeat would depose the leader.
    Timeouts,
    /// A limit is zero, or a message may be larger than all that may be under way.
    Limits,
    /// With so much drift nothing is left of a lease.
    Drift,
    /// It would rejoin, and no other voter can know what it has forgotten.
    RejoinsAlone,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoVoters => f.write_str("the group has no voter"),
            Self::VoterAndLearner(id) => write!(f, "{id} is a voter and a learner"),
            Self::Timeouts => f.write_str(
                "the election timeout must be at least two heartbeat intervals, above 0",
            ),
            Self::Limits => f.write_str("a limit is 0, or smaller than a single message"),
            Self::Drift => f.write_str("clocks that drift by the whole time allow no lease"),
            Self::RejoinsAlone => {
                f.write_str("it would rejoin a group that has no other voter: what it held is lost")
            }
        }
    }
}

impl core::error::Error for ConfigError {}

impl Config {
    /// Checks that a member can work with this.
    ///
    /// # Errors
    /// The first thing found that can't work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let membership = &self.membership;
        if membership.voters.is_empty() {
            return Err(ConfigError::NoVoters);
        }
        if let Some(id) = membership.voters.intersection(&membership.learners).next() {
            return Err(ConfigError::VoterAndLearner(*id));
        }
        if self.heartbeat_interval.is_zero()
            || self.election_timeout < self.heartbeat_interval.saturating_mul(2)
        {
            return Err(ConfigError::Timeouts);
        }
        let limits = &self.limits;
        if limits.append_bytes_max == 0
            || limits.inflight_messages_max == 0
            || limits.pending_reads_max == 0
            || limits.inflight_bytes_max < limits.append_bytes_max
            || limits.uncommitted_bytes_max < limits.append_bytes_max
        {
            return Err(ConfigError::Limits);
        }
        if self.lease.is_some_and(|lease| !lease.is_possible()) {
            return Err(ConfigError::Drift);
        }
        Ok(())
    }

    /// Checks that a member can begin with this and with nothing else: no log, and a state machine that was given
    /// nothing. With a log that it has already got anew it may rejoin though its membership names nobody else: that may
    /// be one of long ago, from a time in which the member was alone, and whoever sends the log is yet to come in it.
    ///
    /// # Errors
    /// As for [`Config::validate`], and [`ConfigError::RejoinsAlone`].
    pub fn validate_beginning(&self) -> Result<(), ConfigError> {
        self.validate()?;
        let membership = &self.membership;
        let is_other_voter = |id: &NodeId| *id != self.id && membership.is_voter(*id);
        match self.rejoining.is_some() && !membership.members().iter().any(is_other_voter) {
            true => Err(ConfigError::RejoinsAlone),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config {
            id: NodeId(1),
            group: GroupId(1),
            membership: Membership::of_voters([1, 2, 3].map(NodeId)),
            heartbeat_interval: Duration::from_millis(100),
            election_timeout: Duration::from_millis(1000),
            election_policy: ElectionPolicy::Fixed,
            quiet_after: None,
            incarnation: 1,
            seed: 1,
            rejoining: None,
            lease: None,
            witness: false,
            limits: Limits::default(),
        }
    }

    #[test]
    fn what_cannot_work_is_told() {
        assert_eq!(config().validate_beginning(), Ok(()));
        let with = |change: fn(&mut Config)| {
            let mut config = config();
            change(&mut config);
            config.validate_beginning().unwrap_err()
        };
        assert_eq!(with(|c| c.membership.voters.clear()), ConfigError::NoVoters);
        let learner = |c: &mut Config| c.membership.learners = [NodeId(2)].into();
        assert_eq!(with(learner), ConfigError::VoterAndLearner(NodeId(2)));
        assert_eq!(with(|c| c.heartbeat_interval = Duration::ZERO), ConfigError::Timeouts);
        let short = |c: &mut Config| c.election_timeout = Duration::from_millis(199);
        assert_eq!(with(short), ConfigError::Timeouts);
        assert_eq!(with(|c| c.limits.pending_reads_max = 0), ConfigError::Limits);
        let small = |c: &mut Config| c.limits.inflight_bytes_max = c.limits.append_bytes_max - 1;
        assert_eq!(with(small), ConfigError::Limits);
        let lease = |c: &mut Config| c.lease = Some(Lease { drift_ppm: 1_000_000 });
        assert_eq!(with(lease), ConfigError::Drift);
        let alone = |c: &mut Config| {
            c.membership.voters = [c.id].into();
            c.rejoining = Some(DiskId(1));
        };
        assert_eq!(with(alone), ConfigError::RejoinsAlone);
    }
}
