//! What the probes look at, by etcd's names.

use quorate_mvcc::AlarmKind;

use crate::member::Member;
use crate::rpc::Failure;

/// A question that a probe asks, as a list of checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Whether the member should be left running.
    Live,
    /// Whether it should be sent requests.
    Ready,
}

impl Probe {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Live, Self::Ready];

    /// The name in a path.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Live => "livez",
            Self::Ready => "readyz",
        }
    }

    /// The one with this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|probe| probe.name() == name)
    }

    /// What it looks at, in the order of the lines.
    pub(crate) fn checks(self) -> &'static [Check] {
        use Check::{DataCorruption, LinearizableRead, NonLearner, SerializableRead};
        match self {
            Self::Live => &[SerializableRead],
            Self::Ready => &[DataCorruption, SerializableRead, LinearizableRead, NonLearner],
        }
    }
}

/// Something that can be found wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

impl Check {
    /// All.
    pub(crate) const ALL: [Self; 4] =
        [Self::DataCorruption, Self::SerializableRead, Self::LinearizableRead, Self::NonLearner];

    /// The name in a path, and in the lines.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::DataCorruption => "data_corruption",
            Self::SerializableRead => "serializable_read",
            Self::LinearizableRead => "linearizable_read",
            Self::NonLearner => "non_learner",
        }
    }

    /// Looks, and says what is wrong.
    pub(super) async fn make(self, member: &Member) -> Result<(), String> {
        match self {
            Self::DataCorruption => {
                let is_raised = member.published.state().alarms().has(AlarmKind::Corrupt);
                if is_raised { Err("alarm activated: CORRUPT".to_owned()) } else { Ok(()) }
            }
            Self::SerializableRead => read(member, true).await,
            Self::LinearizableRead => read(member, false).await,
            Self::NonLearner => match member.check_votes() {
                Ok(()) => Ok(()),
                Err(_) => Err("not supported for learner".to_owned()),
            },
        }
    }
}

async fn read(member: &Member, is_serializable: bool) -> Result<(), String> {
    if member.identity.is_witness() {
        // It reads nothing, and does its part as long as it hears of a leader.
        let is_fine = is_serializable || member.knows_leader();
        return if is_fine { Ok(()) } else { Err(Failure::NoLeader.text()) };
    }
    // The state that comes back is not looked at: to get one is the check.
    let state = member.state_for(is_serializable).await;
    state.map(drop).map_err(|failure| failure.text())
}
