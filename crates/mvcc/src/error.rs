//! What the data model refuses, and why.

use core::fmt;

use crate::engine::EngineError;

/// Why a request was refused. Every one follows from the request and the replicated state alone, so
/// all members refuse alike. The texts here are for logs; what a client reads is the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Error {
    /// A key is empty.
    EmptyKey,
    /// `ignore_value` or `ignore_lease` of a key that does not exist; also an operation of a
    /// transaction that says nothing (etcd answers both alike).
    KeyNotFound,
    /// `ignore_value` together with a value.
    ValueProvided,
    /// `ignore_lease` together with a lease.
    LeaseProvided,
    /// More operations in a transaction than are allowed.
    TooManyOps,
    /// A transaction would write one key twice.
    DuplicateKey,
    /// An unknown order or target of sorting.
    InvalidSort,
    /// The revision's history is gone.
    Compacted,
    /// The revision is yet to come.
    FutureRevision,
    /// No such lease.
    LeaseNotFound,
    /// The lease id is in use.
    LeaseExists,
    /// A time to live above the limit.
    LeaseTtlTooLarge,
    /// A watch of a range that can't contain a key.
    WatchRangeEmpty,
    /// A watch with an id that is in use on its stream.
    WatchIdInUse,
    /// There are as many watchers as there may be.
    TooManyWatchers,
    /// A replicated command whose bytes make no sense. It changes nothing.
    UnknownCommand,
    /// A key to be written is longer than a row can hold. etcd's keys are bounded by the size of a
    /// request alone.
    KeyTooLong,
    /// Rights can't be switched on without a user [`ROOT`](crate::auth::ROOT).
    RootUserMissing,
    /// Nor as long as that user has not the role of the same name.
    RootRoleMissing,
    /// Nobody said who wants something, or a user without a name.
    UserEmpty,
    /// The user is there already.
    UserExists,
    /// There is no such user.
    UserNotFound,
    /// A role without a name.
    RoleEmpty,
    /// The role is there already.
    RoleExists,
    /// There is no such role.
    RoleNotFound,
    /// The user has not this role.
    RoleNotGranted,
    /// The role permits nothing for exactly this range.
    PermissionNotGranted,
    /// The caller may not do that.
    PermissionDenied,
    /// Nobody is let in where rights are not checked.
    AuthNotEnabled,
    /// It would leave nobody who may change rights; or it is a range that can't be granted.
    InvalidAuthManagement,
    /// The caller was let in before the last change of users, roles and rights.
    AuthOldRevision,
    /// The store has reached its quota, by an [alarm](crate::alarm), and the command may make it grow.
    NoSpace,
    /// The data of members are damaged or differ, by an alarm.
    CorruptCluster,
    /// As many alarms are raised as can be.
    TooManyAlarms,
    /// What the request asks to be told is more than [`crate::response::ANSWER_BYTES_MAX`]. The one
    /// error that may come after a change: a command took effect, but for its answer.
    AnswerTooLarge,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptyKey => "a key is empty",
            Self::KeyNotFound => "the key does not exist",
            Self::ValueProvided => "a value is given together with ignore_value",
            Self::LeaseProvided => "a lease is given together with ignore_lease",
            Self::TooManyOps => "too many operations in a transaction",
            Self::DuplicateKey => "a key is written twice in a transaction",
            Self::InvalidSort => "unknown sort option",
            Self::Compacted => "the revision has been compacted",
            Self::FutureRevision => "the revision is a future one",
            Self::LeaseNotFound => "the lease does not exist",
            Self::LeaseExists => "the lease exists",
            Self::LeaseTtlTooLarge => "the time to live is too large",
            Self::WatchRangeEmpty => "the range of the watch is empty",
            Self::WatchIdInUse => "the id of the watch is in use",
            Self::TooManyWatchers => "there are too many watchers",
            Self::UnknownCommand => "the bytes of the command make no sense",
            Self::KeyTooLong => "the key is too long",
            Self::RootUserMissing => "there is no user root",
            Self::RootRoleMissing => "the user root has not the role root",
            Self::UserEmpty => "the name of the user is empty",
            Self::UserExists => "the user exists",
            Self::UserNotFound => "the user does not exist",
            Self::RoleEmpty => "the name of the role is empty",
            Self::RoleExists => "the role exists",
            Self::RoleNotFound => "the role does not exist",
            Self::RoleNotGranted => "the user has not this role",
            Self::PermissionNotGranted => "the role has no such permission",
            Self::PermissionDenied => "it is not permitted",
            Self::AuthNotEnabled => "rights are not switched on",
            Self::InvalidAuthManagement => "rights can't be changed so",
            Self::AuthOldRevision => "rights have changed since the caller was let in",
            Self::NoSpace => "an alarm is raised for want of space",
            Self::CorruptCluster => "an alarm is raised for damaged data",
            Self::TooManyAlarms => "too many alarms are raised",
            Self::AnswerTooLarge => "the answer is too large",
        })
    }
}

impl core::error::Error for Error {}

/// Why a read gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The request was refused.
    Refused(Error),
    /// The engine failed: nothing the client asked, and fatal for the member.
    Engine(EngineError),
}

impl From<Error> for ReadError {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<EngineError> for ReadError {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::Engine(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ReadError {}
