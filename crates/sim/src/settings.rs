//! How a member is configured. All alike, or each differently and anew at each start, as in a cluster
//! whose configuration is changed one member at a time.

use std::time::Duration;

use quorate_raft::{ElectionPolicy, Lease, Limits};

use crate::chance::Chance;
use crate::swarm::Options;

/// What one process is started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The heartbeat, if it leads.
    pub heartbeat: Duration,
    /// The election timeout.
    pub election_timeout: Duration,
    /// How long it waits for a leader, given that.
    pub election_policy: ElectionPolicy,
    /// After how long an idle group is quiet, if ever.
    pub quiet_after: Option<Duration>,
    /// How long a request may wait.
    pub request_timeout: Duration,
    /// The most commands, and as many reads, that may wait.
    pub pending_max: usize,
    /// Whether it answers reads by a lease when it leads.
    pub leader_lease: Option<Lease>,
    /// The bounds of the algorithm.
    pub limits: Limits,
}

impl Settings {
    /// Those that all members have.
    #[must_use]
    pub fn common(options: &Options) -> Self {
        Self {
            heartbeat: options.heartbeat,
            election_timeout: options.election_timeout,
            election_policy: options.election_policy,
            quiet_after: options.quiet.map(|quiet| quiet.after),
            request_timeout: options.request_timeout,
            pending_max: 16_384,
            leader_lease: options.leader_lease,
            limits: Limits {
                retained_bytes_max: options.retained_bytes_max,
                retained_bytes_min: options.retained_bytes_max / 2,
                append_bytes_max: options.append_bytes_max,
                ..Limits::default()
            },
        }
    }

    /// Others that get on with the common ones: no heartbeat is longer and no election timeout
    /// shorter than theirs. Each has a policy of its own, as while a flag is changed on one member after the
    /// other.
    #[must_use]
    pub fn drawn(options: &Options, chance: &mut Chance, policies: &mut Chance) -> Self {
        let common = Self::common(options);
        let append_bytes_max = *chance.pick(&[1, 512, 4_096, 1 << 20]);
        let retained_bytes_max = *chance.pick(&[0, 256, 2_048, 16_384, 1 << 20]);
        Self {
            heartbeat: chance.duration(common.heartbeat / 2, common.heartbeat),
            election_timeout: chance.duration(common.election_timeout, common.election_timeout * 2),
            election_policy: policy_of(policies),
            quiet_after: common.quiet_after.filter(|_| !policies.per_mille(100)),
            request_timeout: chance.duration(common.request_timeout / 2, common.request_timeout),
            leader_lease: common.leader_lease,
            pending_max: *chance.pick(&[4, 64, 16_384]),
            limits: Limits {
                append_bytes_max,
                inflight_messages_max: *chance.pick(&[1, 4, 256]),
                inflight_bytes_max: append_bytes_max * *chance.pick(&[1, 16]),
                retained_bytes_max,
                retained_bytes_min: retained_bytes_max / 2,
                pending_reads_max: *chance.pick(&[1, 16, 1 << 14]),
                ..Limits::default()
            },
        }
    }
}

/// A policy: in two of five draws the adaptive one, which members have unless told otherwise, and in two the
/// fixed one, which leaves a run what it was before there were others.
#[must_use]
pub fn policy_of(chance: &mut Chance) -> ElectionPolicy {
    let (adaptive, fixed) = (ElectionPolicy::Adaptive, ElectionPolicy::Fixed);
    *chance.pick(&[adaptive, adaptive, fixed, fixed, ElectionPolicy::Backoff])
}
