//! One table: why a request fails, and the gRPC code and text that say so.
//!
//! Clients compare the *text*, byte for byte, and decide by it whether to retry, to authenticate
//! again or to give up. The texts are therefore etcd's and are written down nowhere else.

use quorate_host::{AskError, Membership, RequestError, TransferError};
use quorate_mvcc as mvcc;
use tonic::{Code, Status};

/// What whoever has no room is told, by the quota of the member or by an alarm.
const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";

/// What whoever comes when there is too much to do is told.
const TOO_MANY_REQUESTS: &str = "etcdserver: too many requests";

/// Why a request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// What the data model refuses.
    Refused(mvcc::Error),
    /// The engine could not be read. The member is about to stop.
    Unreadable,
    /// The store has reached its quota, and the request would make it grow.
    NoSpace,
    /// The command is larger than `--max-request-bytes`.
    RequestTooLarge,
    /// The message is larger than the transport's limit, in bytes.
    MessageTooLarge {
        /// What came.
        found: u64,
        /// What may come.
        limit: u64,
    },
    /// More requests wait than may.
    TooManyRequests,
    /// No leader is known, and the client wants one.
    NoLeader,
    /// The leader changed while the request was under way.
    LeaderChanged,
    /// The time for requests has passed.
    Timeout,
    /// The client's own deadline has passed.
    DeadlineExceeded,
    /// The member stops.
    Stopped,
    /// Leadership can only be handed over by who has it.
    NotLeader,
    /// Leadership can't be handed to this member.
    BadTransferee,
    /// Leadership was not taken over in time.
    TransferTimeout,
    /// No member has this id.
    MemberNotFound,
    /// Another member has this id.
    MemberIdExists,
    /// Another member is found there.
    PeerUrlExists,
    /// The URLs are none where a member could be found.
    BadPeerUrls,
    /// Only learners become voters.
    NotALearner,
    /// The learner has not caught up.
    LearnerNotReady,
    /// There would be too many members.
    TooManyLearners,
    /// Too few of the voters would be there.
    UnhealthyCluster,
    /// This member has no vote and serves little.
    LearnerServesLittle,
    /// This member is a witness, and serves nobody.
    Witness,
    /// There are no such members: there is no role of this number.
    UnknownRole(i32),
    /// More members are wanted than a cluster may have.
    TooManyMembers,
    /// The version of the client is not a text.
    ClientVersion,
    /// The value of this metadata can't be read.
    BadMetadata(&'static str),
    /// The health of a service that does not exist.
    UnknownService,
    /// A range that comes in pieces comes in the order of its keys.
    NoOrderInPieces,
    /// And with all of them.
    NoFilterInPieces,
    /// The lease of a lock ended while its owner waited.
    SessionExpired,
    /// The place in an election is lost.
    NoLongerLeads,
    /// An election has no candidates.
    NobodyLeads,
    /// The request does not say whose place it is about.
    NoLeaderKey,
    /// The token is one that nobody was given, or of a user who was put out.
    InvalidToken,
    /// There is no such user, or this is not the password.
    WrongPassword,
    /// The user is let in by a certificate, and not by a password.
    HasNoPassword,
    /// The member has the key that checks tokens, and none to sign one with.
    VerifyOnly,
    /// A permission without one.
    PermissionNotGiven,
    /// The system gives no random numbers.
    NoEntropy,
    /// What is to be done with alarms, or which, is a number that stands for nothing.
    UnknownAlarm,
    /// The call exists in etcd and not here yet.
    Unsupported(&'static str),
}

impl Failure {
    /// The code and the text.
    fn row(self) -> (Code, String) {
        use Code::{
            DataLoss, DeadlineExceeded, FailedPrecondition, Internal, InvalidArgument, NotFound,
            OutOfRange, PermissionDenied, ResourceExhausted, Unauthenticated, Unavailable,
            Unimplemented, Unknown,
        };
        use mvcc::Error as Refusal;

        let (code, text) = match self {
            Self::Refused(refusal) => match refusal {
                Refusal::EmptyKey => (InvalidArgument, "etcdserver: key is not provided"),
                Refusal::KeyNotFound => (InvalidArgument, "etcdserver: key not found"),
                // etcd has no bound for keys but that of the request.
                Refusal::KeyTooLong => (InvalidArgument, "etcdserver: request is too large"),
                // Where etcd sends whatever memory holds, and its client refuses from 2 GiB on.
                Refusal::AnswerTooLarge => {
                    (ResourceExhausted, "quorate: the response is too large, ask for less")
                }
                Refusal::ValueProvided => (InvalidArgument, "etcdserver: value is provided"),
                Refusal::LeaseProvided => (InvalidArgument, "etcdserver: lease is provided"),
                Refusal::TooManyOps => {
                    (InvalidArgument, "etcdserver: too many operations in txn request")
                }
                Refusal::RootUserMissing => {
                    (FailedPrecondition, "etcdserver: root user does not exist")
                }
                Refusal::RootRoleMissing => {
                    (FailedPrecondition, "etcdserver: root user does not have root role")
                }
                Refusal::UserEmpty => (InvalidArgument, "etcdserver: user name is empty"),
                Refusal::UserExists => (FailedPrecondition, "etcdserver: user name already exists"),
                Refusal::UserNotFound => (FailedPrecondition, "etcdserver: user name not found"),
                Refusal::RoleEmpty => (InvalidArgument, "etcdserver: role name is empty"),
                Refusal::RoleExists => (FailedPrecondition, "etcdserver: role name already exists"),
                Refusal::RoleNotFound => (FailedPrecondition, "etcdserver: role name not found"),
                Refusal::RoleNotGranted => {
                    (FailedPrecondition, "etcdserver: role is not granted to the user")
                }
                Refusal::PermissionNotGranted => {
                    (FailedPrecondition, "etcdserver: permission is not granted to the role")
                }
                Refusal::PermissionDenied => (PermissionDenied, "etcdserver: permission denied"),
                Refusal::AuthNotEnabled => {
                    (FailedPrecondition, "etcdserver: authentication is not enabled")
                }
                Refusal::InvalidAuthManagement => {
                    (InvalidArgument, "etcdserver: invalid auth management")
                }
                Refusal::AuthOldRevision => {
                    (InvalidArgument, "etcdserver: revision of auth store is old")
                }
                Refusal::DuplicateKey => {
                    (InvalidArgument, "etcdserver: duplicate key given in txn request")
                }
                Refusal::InvalidSort => (InvalidArgument, "etcdserver: invalid sort option"),
                Refusal::Compacted => {
                    (OutOfRange, "etcdserver: mvcc: required revision has been compacted")
                }
                Refusal::FutureRevision => {
                    (OutOfRange, "etcdserver: mvcc: required revision is a future revision")
                }
                Refusal::LeaseNotFound => (NotFound, "etcdserver: requested lease not found"),
                Refusal::LeaseExists => (FailedPrecondition, "etcdserver: lease already exists"),
                Refusal::LeaseTtlTooLarge => (OutOfRange, "etcdserver: too large lease TTL"),
                // A watch that can't be created is told so in a response of its stream, with these
                // texts; as the end of a call they do not occur.
                Refusal::WatchRangeEmpty => (InvalidArgument, "mvcc: watcher range is empty"),
                Refusal::WatchIdInUse => {
                    (InvalidArgument, "mvcc: duplicate watch ID provided on the WatchStream")
                }
                // etcd has as many as its memory holds.
                Refusal::TooManyWatchers => (ResourceExhausted, TOO_MANY_REQUESTS),
                Refusal::NoSpace => (ResourceExhausted, NO_SPACE),
                Refusal::CorruptCluster => (DataLoss, "etcdserver: corrupt cluster"),
                Refusal::TooManyAlarms => (ResourceExhausted, "quorate: too many alarms"),
                // A member of a newer version proposed it, so it was none of ours; its client is
                // told nothing, and this row is for completeness.
                Refusal::UnknownCommand => (Internal, "quorate: the command can't be read"),
            },
            Self::Unreadable => (Internal, "quorate: the store can't be read"),
            Self::NoSpace => (ResourceExhausted, NO_SPACE),
            Self::RequestTooLarge => (InvalidArgument, "etcdserver: request is too large"),
            Self::MessageTooLarge { found, limit } => {
                let text = format!("grpc: received message larger than max ({found} vs. {limit})");
                return (ResourceExhausted, text);
            }
            Self::TooManyRequests => (ResourceExhausted, TOO_MANY_REQUESTS),
            Self::NoLeader => (Unavailable, "etcdserver: no leader"),
            Self::LeaderChanged => (Unavailable, "etcdserver: leader changed"),
            Self::Timeout => (Unavailable, "etcdserver: request timed out"),
            Self::DeadlineExceeded => (DeadlineExceeded, "context deadline exceeded"),
            Self::Stopped => (Unavailable, "etcdserver: server stopped"),
            Self::NotLeader => (FailedPrecondition, "etcdserver: not leader"),
            Self::BadTransferee => (FailedPrecondition, "etcdserver: bad leader transferee"),
            Self::TransferTimeout => {
                (Unknown, "etcdserver: request timed out, leader transfer took too long")
            }
            Self::MemberNotFound => (NotFound, "etcdserver: member not found"),
            Self::MemberIdExists => (FailedPrecondition, "etcdserver: member ID already exist"),
            Self::PeerUrlExists => (FailedPrecondition, "etcdserver: Peer URLs already exists"),
            Self::BadPeerUrls => (InvalidArgument, "etcdserver: given member URLs are invalid"),
            Self::NotALearner => {
                (FailedPrecondition, "etcdserver: can only promote a learner member")
            }
            Self::LearnerNotReady => (
                FailedPrecondition,
                "etcdserver: can only promote a learner member which is in sync with leader",
            ),
            Self::TooManyLearners => {
                (FailedPrecondition, "etcdserver: too many learner members in cluster")
            }
            Self::UnhealthyCluster => (Unavailable, "etcdserver: unhealthy cluster"),
            Self::LearnerServesLittle => {
                (FailedPrecondition, "etcdserver: rpc not supported for learner")
            }
            // The code is that of a learner's refusal: nothing was done, and to repeat it here is of no use.
            Self::Witness => (FailedPrecondition, "quorate: rpc not supported for witness"),
            Self::UnknownRole(role) => {
                return (InvalidArgument, format!("quorate: there is no role {role}"));
            }
            Self::TooManyMembers => {
                let most = Membership::MEMBERS_MAX;
                return (InvalidArgument, format!("quorate: a cluster has at most {most} members"));
            }
            Self::ClientVersion => (InvalidArgument, "etcdserver: invalid client api version"),
            Self::BadMetadata(name) => {
                return (
                    InvalidArgument,
                    format!("quorate: the value of {name} is no such number"),
                );
            }
            Self::UnknownService => (NotFound, "unknown service"),
            Self::InvalidToken => (Unauthenticated, "etcdserver: invalid auth token"),
            Self::WrongPassword => {
                (InvalidArgument, "etcdserver: authentication failed, invalid user ID or password")
            }
            Self::HasNoPassword => {
                (Unknown, "auth: authentication failed, password was given for no password user")
            }
            Self::VerifyOnly => (Unknown, "auth: token signing attempted with verify-only key"),
            Self::PermissionNotGiven => (InvalidArgument, "etcdserver: permission not given"),
            Self::NoEntropy => (Internal, "quorate: the system gives no random numbers"),
            Self::NoOrderInPieces => {
                (Unimplemented, "RangeStream does not support custom sort orders")
            }
            Self::NoFilterInPieces => {
                (Unimplemented, "RangeStream does not support revision filters")
            }
            Self::SessionExpired => (Unknown, "mutex: session is expired"),
            Self::NoLongerLeads => (Unknown, "election: not leader"),
            Self::NobodyLeads => (Unknown, "election: no leader"),
            Self::NoLeaderKey => (Unknown, "\"leader\" field must be provided"),
            Self::UnknownAlarm => (InvalidArgument, "quorate: there is no such action or alarm"),
            Self::Unsupported(call) => {
                return (Unimplemented, format!("quorate: {call} is not supported yet"));
            }
        };
        (code, text.to_owned())
    }

    /// The text alone, as it stands in the response that cancels a watch.
    pub(crate) fn text(self) -> String {
        self.row().1
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let (code, text) = failure.row();
        Self::new(code, text)
    }
}

impl From<mvcc::Error> for Failure {
    fn from(refusal: mvcc::Error) -> Self {
        Self::Refused(refusal)
    }
}

impl From<mvcc::ReadError> for Failure {
    fn from(error: mvcc::ReadError) -> Self {
        match error {
            mvcc::ReadError::Refused(refusal) => Self::Refused(refusal),
            mvcc::ReadError::Engine(_) => Self::Unreadable,
        }
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        match error {
            // etcd's clients are told the same whether a leader is known or not: they asked in time,
            // and the cluster did not answer in time.
            RequestError::Timeout | RequestError::NoLeader => Self::Timeout,
            RequestError::Unknown => Self::LeaderChanged,
            RequestError::Overloaded => Self::TooManyRequests,
            RequestError::TooLarge => Self::RequestTooLarge,
            RequestError::Witness => Self::Witness,
            RequestError::Stopped => Self::Stopped,
        }
    }
}

impl From<TransferError> for Failure {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::NotLeader => Self::NotLeader,
            TransferError::NoSuchVoter => Self::BadTransferee,
            TransferError::NobodyFit | TransferError::Timeout => Self::TransferTimeout,
            TransferError::Stopped => Self::Stopped,
        }
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Timeout
            | AskError::Unreachable
            | AskError::Unanswered
            | AskError::NoSuchMember => Self::Timeout,
            AskError::NoLeader => Self::NoLeader,
            AskError::Overloaded => Self::TooManyRequests,
            AskError::TooLarge => Self::RequestTooLarge,
            AskError::Stopped => Self::Stopped,
        }
    }
}

#[cfg(test)]
mod tests {
    use mvcc::Error as Refusal;

    use super::*;

    /// The texts once more, from the fact sheet of etcd and not from the table above: a slip of the
    /// keyboard in one of the two shows.
    #[test]
    fn codes_and_texts_are_those_of_etcd() {
        for (failure, code, text) in [
            (Failure::Refused(Refusal::EmptyKey), 3, "etcdserver: key is not provided"),
            (Failure::Refused(Refusal::KeyTooLong), 3, "etcdserver: request is too large"),
            (Failure::Refused(Refusal::KeyNotFound), 3, "etcdserver: key not found"),
            (Failure::Refused(Refusal::ValueProvided), 3, "etcdserver: value is provided"),
            (Failure::Refused(Refusal::LeaseProvided), 3, "etcdserver: lease is provided"),
            (
                Failure::Refused(Refusal::TooManyOps),
                3,
                "etcdserver: too many operations in txn request",
            ),
            (
                Failure::Refused(Refusal::DuplicateKey),
                3,
                "etcdserver: duplicate key given in txn request",
            ),
            (Failure::Refused(Refusal::InvalidSort), 3, "etcdserver: invalid sort option"),
            (
                Failure::Refused(Refusal::Compacted),
                11,
                "etcdserver: mvcc: required revision has been compacted",
            ),
            (
                Failure::Refused(Refusal::FutureRevision),
                11,
                "etcdserver: mvcc: required revision is a future revision",
            ),
            (Failure::Refused(Refusal::LeaseNotFound), 5, "etcdserver: requested lease not found"),
            (Failure::Refused(Refusal::LeaseExists), 9, "etcdserver: lease already exists"),
            (Failure::Refused(Refusal::LeaseTtlTooLarge), 11, "etcdserver: too large lease TTL"),
            (Failure::NoSpace, 8, "etcdserver: mvcc: database space exceeded"),
            (Failure::Refused(Refusal::NoSpace), 8, "etcdserver: mvcc: database space exceeded"),
            (Failure::Refused(Refusal::CorruptCluster), 15, "etcdserver: corrupt cluster"),
            (Failure::RequestTooLarge, 3, "etcdserver: request is too large"),
            (Failure::UnknownRole(9), 3, "quorate: there is no role 9"),
            (Failure::TooManyMembers, 3, "quorate: a cluster has at most 256 members"),
            (
                Failure::MessageTooLarge { found: 3_000_000, limit: 2_097_152 },
                8,
                "grpc: received message larger than max (3000000 vs. 2097152)",
            ),
            (Failure::TooManyRequests, 8, "etcdserver: too many requests"),
            (Failure::NoLeader, 14, "etcdserver: no leader"),
            (Failure::LeaderChanged, 14, "etcdserver: leader changed"),
            (Failure::Timeout, 14, "etcdserver: request timed out"),
            (Failure::DeadlineExceeded, 4, "context deadline exceeded"),
            (Failure::Stopped, 14, "etcdserver: server stopped"),
            (Failure::NotLeader, 9, "etcdserver: not leader"),
            (Failure::BadTransferee, 9, "etcdserver: bad leader transferee"),
            (
                Failure::TransferTimeout,
                2,
                "etcdserver: request timed out, leader transfer took too long",
            ),
            (Failure::MemberNotFound, 5, "etcdserver: member not found"),
            (Failure::MemberIdExists, 9, "etcdserver: member ID already exist"),
            (Failure::PeerUrlExists, 9, "etcdserver: Peer URLs already exists"),
            (Failure::BadPeerUrls, 3, "etcdserver: given member URLs are invalid"),
            (Failure::NotALearner, 9, "etcdserver: can only promote a learner member"),
            (
                Failure::LearnerNotReady,
                9,
                "etcdserver: can only promote a learner member which is in sync with leader",
            ),
            (Failure::TooManyLearners, 9, "etcdserver: too many learner members in cluster"),
            (Failure::UnhealthyCluster, 14, "etcdserver: unhealthy cluster"),
            (Failure::LearnerServesLittle, 9, "etcdserver: rpc not supported for learner"),
            (Failure::ClientVersion, 3, "etcdserver: invalid client api version"),
            (Failure::UnknownService, 5, "unknown service"),
            (Failure::Refused(Refusal::RootUserMissing), 9, "etcdserver: root user does not exist"),
            (
                Failure::Refused(Refusal::RootRoleMissing),
                9,
                "etcdserver: root user does not have root role",
            ),
            (Failure::Refused(Refusal::UserEmpty), 3, "etcdserver: user name is empty"),
            (Failure::Refused(Refusal::UserExists), 9, "etcdserver: user name already exists"),
            (Failure::Refused(Refusal::UserNotFound), 9, "etcdserver: user name not found"),
            (Failure::Refused(Refusal::RoleEmpty), 3, "etcdserver: role name is empty"),
            (Failure::Refused(Refusal::RoleExists), 9, "etcdserver: role name already exists"),
            (Failure::Refused(Refusal::RoleNotFound), 9, "etcdserver: role name not found"),
            (
                Failure::Refused(Refusal::RoleNotGranted),
                9,
                "etcdserver: role is not granted to the user",
            ),
            (
                Failure::Refused(Refusal::PermissionNotGranted),
                9,
                "etcdserver: permission is not granted to the role",
            ),
            (Failure::Refused(Refusal::PermissionDenied), 7, "etcdserver: permission denied"),
            (
                Failure::Refused(Refusal::AuthNotEnabled),
                9,
                "etcdserver: authentication is not enabled",
            ),
            (
                Failure::Refused(Refusal::InvalidAuthManagement),
                3,
                "etcdserver: invalid auth management",
            ),
            (
                Failure::Refused(Refusal::AuthOldRevision),
                3,
                "etcdserver: revision of auth store is old",
            ),
            (Failure::InvalidToken, 16, "etcdserver: invalid auth token"),
            (
                Failure::WrongPassword,
                3,
                "etcdserver: authentication failed, invalid user ID or password",
            ),
            (
                Failure::HasNoPassword,
                2,
                "auth: authentication failed, password was given for no password user",
            ),
            (Failure::VerifyOnly, 2, "auth: token signing attempted with verify-only key"),
            (Failure::PermissionNotGiven, 3, "etcdserver: permission not given"),
            (Failure::NoOrderInPieces, 12, "RangeStream does not support custom sort orders"),
            (Failure::NoFilterInPieces, 12, "RangeStream does not support revision filters"),
            (Failure::SessionExpired, 2, "mutex: session is expired"),
            (Failure::NoLongerLeads, 2, "election: not leader"),
            (Failure::NobodyLeads, 2, "election: no leader"),
            (Failure::NoLeaderKey, 2, "\"leader\" field must be provided"),
            (Failure::Unsupported("Hash"), 12, "quorate: Hash is not supported yet"),
        ] {
            let status = Status::from(failure);
            assert_eq!((status.code() as i32, status.message()), (code, text), "{failure:?}");
        }
    }

    /// What the layers below report becomes what etcd says of it.
    #[test]
    fn failures_below_have_their_rows() {
        for (error, failure) in [
            (RequestError::Timeout, Failure::Timeout),
            (RequestError::NoLeader, Failure::Timeout),
            (RequestError::Unknown, Failure::LeaderChanged),
            (RequestError::Overloaded, Failure::TooManyRequests),
            (RequestError::TooLarge, Failure::RequestTooLarge),
            (RequestError::Stopped, Failure::Stopped),
        ] {
            assert_eq!(Failure::from(error), failure, "{error:?}");
        }
        let engine = mvcc::ReadError::Engine(mvcc::engine::EngineError::Io("gone".into()));
        assert_eq!(Failure::from(engine), Failure::Unreadable);
    }
}
