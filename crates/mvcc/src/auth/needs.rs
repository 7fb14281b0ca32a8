//! The one place that says which rights a request needs, and asks for them.
//!
//! It walks the request that will be carried out, and not one like it: transactions within transactions, both
//! branches of each whichever is taken, what a put or a delete tells of before, and the keys of a lease that a put
//! makes longer-lived or shorter-lived by joining them.

use bytes::Bytes;
use quorate_planted::planted;

use super::{Auth, AuthCommand, Caller, Right, User};
use crate::apply;
use crate::command::Command;
use crate::engine::Reader;
use crate::error::{Error, ReadError};
use crate::key::KeyRange;
use crate::request::{DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest};

/// What a caller may do, in one state.
pub struct Rights<'a> {
    auth: &'a Auth,
    /// `None` of one who may do everything.
    user: Option<&'a User>,
    /// For the keys of leases.
    reader: &'a dyn Reader,
}

impl<'a> Rights<'a> {
    /// Lets a caller in.
    ///
    /// # Errors
    /// [`Error::UserEmpty`], [`Error::AuthOldRevision`], [`Error::PermissionDenied`].
    pub(crate) fn of(
        auth: &'a Auth,
        reader: &'a dyn Reader,
        caller: &Caller,
    ) -> Result<Self, Error> {
        Ok(Self { auth, user: auth.restricted(caller)?, reader })
    }

    /// Refuses unless the caller may do this with the whole of a range.
    ///
    /// # Errors
    /// [`Error::PermissionDenied`].
    pub fn check(&self, right: Right, range: &KeyRange) -> Result<(), Error> {
        match self.user {
            Some(user) if !self.auth.permits(user, right, range) => Err(Error::PermissionDenied),
            _ => Ok(()),
        }
    }

    /// Refuses who may not change users and roles.
    ///
    /// # Errors
    /// [`Error::PermissionDenied`].
    pub fn check_root(&self) -> Result<(), Error> {
        if self.user.is_some() { Err(Error::PermissionDenied) } else { Ok(()) }
    }

    /// What a range needs.
    ///
    /// # Errors
    /// [`Error::PermissionDenied`].
    pub fn range(&self, range: &RangeRequest) -> Result<(), Error> {
        self.check(Right::Read, &range.range)
    }

    /// What a transaction needs.
    ///
    /// # Errors
    /// [`Error::PermissionDenied`], or a failed engine.
    pub fn txn(&self, txn: &TxnRequest) -> Result<(), ReadError> {
        for compare in &txn.compare {
            self.check(Right::Read, &compare.range)?;
        }
        let other: &[RequestOp] = if planted!(RightsOfOneBranch) { &[] } else { &txn.failure };
        for op in txn.success.iter().chain(other) {
            match op {
                RequestOp::Range(range) => self.range(range)?,
                RequestOp::Put(put) => self.put(put)?,
                RequestOp::DeleteRange(delete) => self.delete(delete)?,
                RequestOp::Txn(_) if planted!(RightsWithinTxn) => {}
                RequestOp::Txn(txn) => self.txn(txn)?,
            }
        }
        Ok(())
    }

    /// What it takes to do this with every key of a lease.
    ///
    /// # Errors
    /// [`Error::PermissionDenied`], or a failed engine.
    pub fn lease(&self, right: Right, id: i64) -> Result<(), ReadError> {
        if self.user.is_none() {
            return Ok(());
        }
        for key in apply::attached_keys(self.reader, id, &[]) {
            self.check(right, &KeyRange::Point(key?))?;
        }
        Ok(())
    }

    fn put(&self, put: &PutRequest) -> Result<(), ReadError> {
        let key = KeyRange::Point(put.key.clone());
        self.check(Right::Write, &key)?;
        if put.prev_kv && !planted!(PreviousNeedsNoRight) {
            self.check(Right::Read, &key)?;
        }
        // A lease ends for all of its keys, so nobody adds a key to one of keys that he may not write.
        if put.lease != 0 && !planted!(LeaseNeedsNoRight) {
            self.lease(Right::Write, put.lease)?;
        }
        Ok(())
    }

    fn delete(&self, delete: &DeleteRangeRequest) -> Result<(), ReadError> {
        self.check(Right::Write, &delete.range)?;
        if delete.prev_kv {
            self.check(Right::Read, &delete.range)?;
        }
        Ok(())
    }

    /// What a command needs.
    ///
    /// # Errors
    /// [`Error::PermissionDenied`], or a failed engine.
    pub(crate) fn command(&self, command: &Command) -> Result<(), ReadError> {
        match command {
            Command::Put(put) => self.put(put),
            Command::DeleteRange(delete) => self.delete(delete),
            Command::Txn(txn) => self.txn(txn),
            Command::LeaseRevoke { id } => self.lease(Right::Write, *id),
            Command::Compact { .. } | Command::Auth(_) | Command::Alarm(_) => {
                Ok(self.check_root()?)
            }
            // Whoever was let in may have leases.
            Command::LeaseGrant { .. } | Command::LeaseExpire { .. } | Command::Member(_) => Ok(()),
        }
    }
}

/// Refuses a command that the caller may not have carried out.
pub(crate) fn check(
    auth: &Auth,
    reader: &dyn Reader,
    caller: &Caller,
    command: &Command,
) -> Result<(), ReadError> {
    if !auth.is_enabled() || is_of_servers(command) {
        return Ok(());
    }
    Rights::of(auth, reader, caller)?.command(command)
}

/// Whether no request of a client becomes this command: servers make it by themselves, or have compared a password.
fn is_of_servers(command: &Command) -> bool {
    matches!(
        command,
        Command::LeaseExpire { .. } | Command::Member(_) | Command::Auth(AuthCommand::Issue { .. })
    )
}

/// All keys, as the right to all of them is asked for.
#[must_use]
pub fn all_keys() -> KeyRange {
    KeyRange::From(Bytes::from_static(&[0]))
}
