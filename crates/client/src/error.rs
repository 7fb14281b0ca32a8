//! Why a key was not changed, or may not have been.

use std::error::Error;
use std::fmt;

use quorate_proto::mvccpb::KeyValue;
use tonic::{Code, Status};

/// Why [`update`](crate::update) did not change a key, or does not know whether it did.
#[derive(Clone, Debug)]
pub enum UpdateError {
    /// Others were faster in every attempt. Nothing was changed.
    Contended {
        /// So many attempts were made.
        attempts: u32,
        /// The key as it was in the end; `None` if it did not exist.
        current: Option<KeyValue>,
    },
    /// The key could not be read, or the change was refused. Nothing was changed.
    Refused(Status),
    /// No answer came to the write, so it may have been done, or be done yet. Trying again could change the key twice:
    /// read it, and decide by what it holds. A value that names its writer makes that easy.
    Unanswered(Status),
}

impl UpdateError {
    /// What a failed write means.
    pub(crate) fn of_write(status: Status) -> Self {
        match status.code() {
            // With these a server says that it did not do it.
            Code::InvalidArgument
            | Code::NotFound
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented => Self::Refused(status),
            _ => Self::Unanswered(status),
        }
    }
}

impl fmt::Display for UpdateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contended { attempts, .. } => {
                write!(f, "others changed the key first, in each of {attempts} attempts")
            }
            Self::Refused(status) => write!(f, "the key was not changed: {status}"),
            Self::Unanswered(status) => {
                write!(f, "nobody knows whether the key was changed: {status}")
            }
        }
    }
}

impl Error for UpdateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Contended { .. } => None,
            Self::Refused(status) | Self::Unanswered(status) => Some(status),
        }
    }
}
