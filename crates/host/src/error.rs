//! How requests end without an answer, and why a host does not start.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use quorate_node::{Fault, Refusal};
use quorate_raft::{ChangeError, EntryId, NodeId};

use crate::transport::Protection;

/// Why a command has no outcome, or a read may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// No answer within [`crate::HostConfig::request_timeout`]. A command may still take effect.
    Timeout,
    /// No answer in time, and no leader was known at the end. A command was never proposed.
    NoLeader,
    /// This member was overtaken by a snapshot while the command was under way: it may or may not
    /// have taken effect.
    Unknown,
    /// Too much waits already. A command was never proposed.
    Overloaded,
    /// The command is larger than may be replicated, and was never proposed.
    TooLarge,
    /// This member is a witness: it has no state to read, and takes no commands.
    Witness,
    /// The host stops. A command may still take effect.
    Stopped,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "no answer in time",
            Self::NoLeader => "no leader is known",
            Self::Unknown => "a snapshot hides whether the command took effect",
            Self::Overloaded => "too many requests wait",
            Self::TooLarge => "the command is too large",
            Self::Witness => "this member is a witness",
            Self::Stopped => "the host stops",
        })
    }
}

impl std::error::Error for RequestError {}

impl From<quorate_node::RequestError> for RequestError {
    fn from(error: quorate_node::RequestError) -> Self {
        use quorate_node::RequestError as Node;
        match error {
            Node::Timeout => Self::Timeout,
            Node::NoLeader => Self::NoLeader,
            Node::Unknown => Self::Unknown,
            Node::Overloaded => Self::Overloaded,
            Node::TooLarge => Self::TooLarge,
            Node::Witness => Self::Witness,
            Node::NoSuchGroup => unreachable!("the host names the one group that it added"),
        }
    }
}

/// Why leadership was not handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferError {
    /// This member does not lead, so it has nothing to hand over.
    NotLeader,
    /// The named member has no vote, or is this one.
    NoSuchVoter,
    /// No member was named, and none that seems to be there could take over.
    NobodyFit,
    /// Nobody else led within [`crate::HostConfig::request_timeout`].
    Timeout,
    /// The host stops.
    Stopped,
}

impl fmt::Display for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotLeader => "this member does not lead",
            Self::NoSuchVoter => "the target is no other voter of the group",
            Self::NobodyFit => "no other voter seems to be there",
            Self::Timeout => "no other member led in time",
            Self::Stopped => "the host stops",
        })
    }
}

impl std::error::Error for TransferError {}

/// Why the members of the group were not changed, or why nobody knows whether they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MembersError {
    /// The leader refuses the change, or this member does not lead.
    Refused(ChangeError),
    /// There is no group to change: its storage is being healed.
    NotReady,
    /// The change began, and was undone or taken over by another leader; what became of it is seen in
    /// [`crate::HostStatus::membership`].
    LeaderChanged,
    /// The change began, and was not over within [`crate::HostConfig::request_timeout`]. It goes on.
    Timeout,
    /// The host stops.
    Stopped,
}

impl fmt::Display for MembersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => fmt::Display::fmt(why, f),
            Self::NotReady => f.write_str("this member takes no part in the group yet"),
            Self::LeaderChanged => f.write_str("the leader changed while the members did"),
            Self::Timeout => f.write_str("the change of members is not over yet"),
            Self::Stopped => f.write_str("the host stops"),
        }
    }
}

impl std::error::Error for MembersError {}

/// Why the members of a group are not those that were wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReconcileError {
    /// It can't be done as things stand. What was done until then stays, and the same call goes on with it.
    Refused(Refusal),
    /// What is wanted takes more bytes than a question to the leader may have ([`crate::Limits::ask_bytes`]).
    TooLarge,
    /// The host stops.
    Stopped,
}

impl fmt::Display for ReconcileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => fmt::Display::fmt(why, f),
            Self::TooLarge => f.write_str("the desired members are too large for a question"),
            Self::Stopped => f.write_str("the host stops"),
        }
    }
}

impl std::error::Error for ReconcileError {}

/// Why another member did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskError {
    /// No answer within [`crate::HostConfig::request_timeout`].
    Timeout,
    /// No leader was known within that time.
    NoLeader,
    /// The member is not one of this group.
    NoSuchMember,
    /// There is no connection to the member, or more waits for it than may.
    Unreachable,
    /// The member has no handler, or its handler gave no answer.
    Unanswered,
    /// Too many questions wait already.
    Overloaded,
    /// The question is larger than may be sent.
    TooLarge,
    /// The host stops.
    Stopped,
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "the member did not answer in time",
            Self::NoLeader => "no leader is known",
            Self::NoSuchMember => "there is no such member",
            Self::Unreachable => "the member can't be reached",
            Self::Unanswered => "the member has no answer",
            Self::Overloaded => "too many questions wait",
            Self::TooLarge => "the question is too large",
            Self::Stopped => "the host stops",
        })
    }
}

impl std::error::Error for AskError {}

/// Why a host does not start.
#[derive(Debug)]
pub enum StartError {
    /// The configuration contradicts itself.
    Config(String),
    /// A thread or a socket can't be had.
    Io {
        /// What was tried.
        what: String,
        /// What came of it.
        source: std::io::Error,
    },
    /// What the state machine has on disk can't be opened.
    Machine(Fault),
    /// The log can't be opened.
    Log {
        /// The directory of the log.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing is left of the log, or what is there makes no sense.
    LogCorrupt {
        /// The directory of the log.
        path: PathBuf,
        /// Where, and how it is known.
        report: String,
        /// Not if another version of this program wrote it.
        is_damage: bool,
    },
    /// The state machine lacks entries that the log no longer holds: its files were lost or
    /// replaced by older ones. To go on would be to skip commands.
    MachineBehindLog {
        /// Up to where the machine reaches.
        applied: EntryId,
        /// The entry before the first of the log.
        base: EntryId,
    },
    /// The state machine's last entry stands where the log begins, and is another one: the two
    /// belong to different clusters or members.
    MachineContradictsLog {
        /// Up to where the machine reaches.
        applied: EntryId,
        /// The entry before the first of the log.
        base: EntryId,
    },
    /// The log is damaged, and there is no other member that could have what it lost.
    LogDamaged {
        /// Where, and how it is known.
        report: String,
    },
    /// The log is gone, or damaged in such a way that nobody knows what this member promised: whom it
    /// voted for, or where its log ended. It must begin anew, as one that lost its disk.
    LogForgotten {
        /// Where, and how it is known.
        report: String,
    },
}

impl StartError {
    /// What is damaged, if it is the log and so much of it that the member must begin anew, as one that lost
    /// its disk.
    #[must_use]
    pub fn log_is_lost(&self) -> Option<&str> {
        match self {
            Self::LogForgotten { report } | Self::LogCorrupt { report, is_damage: true, .. } => {
                Some(report)
            }
            _ => None,
        }
    }

    /// Whether something on this member's disk is damaged or missing, so that another start will not help.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Machine(fault) => fault.kind.loses_state(),
            Self::LogCorrupt { is_damage, .. } => *is_damage,
            Self::MachineBehindLog { .. } | Self::LogDamaged { .. } | Self::LogForgotten { .. } => {
                true
            }
            Self::Config(_)
            | Self::Io { .. }
            | Self::Log { .. }
            | Self::MachineContradictsLog { .. } => false,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(reason) => write!(f, "the configuration can't be: {reason}"),
            Self::Io { what, source } => write!(f, "can't {what}: {source}"),
            Self::Machine(fault) => write!(f, "can't open the state machine: {fault}"),
            Self::Log { path, reason } => {
                write!(f, "can't open the log in {}: {reason}", path.display())
            }
            Self::LogCorrupt { path, report, is_damage: _ } => {
                write!(f, "can't open the log in {}: the log is corrupt: {report}", path.display())
            }
            Self::MachineBehindLog { applied, base } => write!(
                f,
                "the state machine ends with entry {applied} while the log begins after {base}: \
                 the entries between are lost here; restore the state, or let this member begin \
                 anew"
            ),
            Self::MachineContradictsLog { applied, base } => write!(
                f,
                "the state machine ends with entry {applied} where the log has {base}: they do not \
                 belong together"
            ),
            Self::LogDamaged { report } => write!(
                f,
                "the log is damaged, and no other member has what it lost; nothing was changed: \
                 {report}"
            ),
            Self::LogForgotten { report } => {
                write!(f, "the log is lost, and with it what this member promised: {report}")
            }
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Machine(fault) => Some(fault),
            _ => None,
        }
    }
}

/// Why a peer connection was refused or ended. Reported once per peer and cause, see
/// [`crate::HostEvent`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerError {
    /// The other side speaks something else.
    NotAPeer,
    /// The other side speaks another version of the protocol.
    Version {
        /// Theirs.
        theirs: u16,
        /// Ours.
        ours: u16,
    },
    /// The other side belongs to another cluster.
    Cluster {
        /// Theirs.
        theirs: u64,
        /// Ours.
        ours: u64,
    },
    /// The connection was meant for another member: an address is wrong somewhere.
    Target {
        /// Who was meant.
        meant: NodeId,
        /// Who answered.
        found: NodeId,
    },
    /// The other side is no member of this group.
    Stranger(NodeId),
    /// The two sides protect their connections in different ways.
    Protection {
        /// What the other side seems to speak.
        theirs: Protection,
        /// What this one does.
        ours: Protection,
    },
    /// The other side did not show that it knows a secret of ours, or what came was not said by it, or not now.
    Unauthentic(&'static str),
    /// TLS came to nothing, or to an end, with this reason: a certificate that is not believed, say.
    Tls(String),
    /// Members do not speak plainly with this address unless that is allowed explicitly.
    Unprotected(IpAddr),
    /// A frame that can't be right. The connection is dropped.
    Malformed(&'static str),
    /// The network's own word.
    Io(std::io::ErrorKind),
}

impl PeerError {
    /// What a transport says with it, if it says more than the network does. A socket with a deadline says that it would
    /// block when the deadline passes.
    pub(crate) fn from_io(error: &std::io::Error) -> Self {
        if let Some(said) = error.get_ref().and_then(|inner| inner.downcast_ref::<Self>()) {
            return said.clone();
        }
        Self::Io(match error.kind() {
            std::io::ErrorKind::WouldBlock => std::io::ErrorKind::TimedOut,
            kind => kind,
        })
    }
}

impl PeerError {
    /// Whether the other side may be somebody who is to be kept out, rather than one who is not understood.
    #[must_use]
    pub fn is_unauthenticated(&self) -> bool {
        matches!(
            self,
            Self::Protection { .. } | Self::Unauthentic(_) | Self::Tls(_) | Self::Unprotected(_)
        )
    }
}

/// So that a [transport](crate::Transport) can say it.
impl From<PeerError> for std::io::Error {
    fn from(error: PeerError) -> Self {
        Self::new(std::io::ErrorKind::PermissionDenied, error)
    }
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAPeer => f.write_str("the other side does not speak the peer protocol"),
            Self::Version { theirs, ours } => {
                write!(f, "the other side speaks version {theirs} of the protocol, this one {ours}")
            }
            Self::Cluster { theirs, ours } => write!(
                f,
                "the other side belongs to cluster {theirs:016x}, this one to {ours:016x}"
            ),
            Self::Target { meant, found } => {
                write!(f, "the address of member {meant} leads to member {found}")
            }
            Self::Stranger(id) => write!(f, "{id} is no member of the group"),
            Self::Protection { theirs, ours } => {
                write!(f, "the other side speaks {theirs}, this one {ours}")
            }
            Self::Unauthentic(reason) => write!(f, "not authentic: {reason}"),
            Self::Tls(reason) => write!(f, "TLS: {reason}"),
            Self::Unprotected(address) => write!(
                f,
                "{address} is not on this machine, and no plain connections are allowed with it"
            ),
            Self::Malformed(reason) => write!(f, "malformed frame: {reason}"),
            Self::Io(kind) => write!(f, "{kind}"),
        }
    }
}

impl std::error::Error for PeerError {}
