//! Changes of users, roles and rights.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use quorate_planted::planted;

use super::row::{self, NAME_BYTES_MAX};
use super::{Auth, AuthCommand, Issued, ROOT, Role, User};
use crate::engine::{Engine, Table};
use crate::error::{Error, ReadError};
use crate::fingerprint::{self, Sums};
use crate::key::KeyRange;

/// What a command did besides changing the rights.
#[derive(Default)]
pub(crate) struct Done {
    /// In the fingerprint.
    pub(crate) sums: Sums,
    /// The token that was given out.
    pub(crate) issued: Option<Issued>,
}

/// Carries a command out. Everything that refuses comes before the first change.
pub(crate) fn apply(
    engine: &mut dyn Engine,
    auth: &mut Arc<Auth>,
    command: &AuthCommand,
) -> Result<Done, ReadError> {
    let mut done = Done::default();
    if let AuthCommand::Issue { name, token, revision } = command {
        done.issued = Some(auth.issue(name, token, *revision)?);
        return Ok(done);
    }
    let mut next = Auth::clone(auth);
    let mut changed = Rows::new();
    next.change(command, &mut changed)?;
    let is_disabled = auth.is_enabled && !next.is_enabled;
    next.revision += u64::from(!changed.is_empty() || is_disabled);
    if next == **auth {
        return Ok(done);
    }
    changed.push((row::RIGHTS.to_vec(), Some(row::encode_rights(&next))));
    for (row, record) in changed {
        if let Some(before) = engine.get(Table::Meta, &row)? {
            done.sums.go(fingerprint::auth(&row, &before));
        }
        match record {
            Some(record) => {
                engine.put(Table::Meta, &row, &record)?;
                done.sums.come(fingerprint::auth(&row, &record));
            }
            None => engine.delete(Table::Meta, &row)?,
        }
    }
    *auth = Arc::new(next);
    Ok(done)
}

/// The rows to write, or to delete where there is no record.
type Rows = Vec<(Vec<u8>, Option<Vec<u8>>)>;

impl Auth {
    /// Lets a user in whose password was compared at this revision. That is most of what is done here, and copies
    /// nothing.
    fn issue(&self, name: &str, token: &Bytes, revision: u64) -> Result<Issued, Error> {
        if !self.is_enabled {
            return Err(Error::AuthNotEnabled);
        }
        // The password that was compared may be another by now.
        if revision != self.revision && !planted!(TokenOfOldPassword) {
            return Err(Error::AuthOldRevision);
        }
        self.user(name).ok_or(Error::UserNotFound)?;
        Ok(Issued { name: name.into(), token: token.clone(), revision })
    }

    fn change(&mut self, command: &AuthCommand, rows: &mut Rows) -> Result<(), Error> {
        // The one that all of this has if it changes anything.
        let revision = self.revision + 1;
        match command {
            AuthCommand::Enable => self.enable()?,
            AuthCommand::Disable if self.is_enabled => {
                self.is_enabled = false;
                self.out_before = revision;
            }
            AuthCommand::Disable => {}
            AuthCommand::Issue { .. } => {
                unreachable!("it changes nothing, and was answered before")
            }
            AuthCommand::UserAdd { name, password } => {
                check_name(name, Error::UserEmpty)?;
                if self.users.contains_key(name) {
                    return Err(Error::UserExists);
                }
                let user = User { password: password.clone(), since: revision, ..User::default() };
                self.set_user(name, Some(user), rows);
            }
            AuthCommand::UserDelete { name } => {
                if self.is_enabled && name == ROOT {
                    return Err(Error::InvalidAuthManagement);
                }
                self.user(name).ok_or(Error::UserNotFound)?;
                self.set_user(name, None, rows);
            }
            AuthCommand::UserChangePassword { name, password } => {
                let mut user = self.user(name).ok_or(Error::UserNotFound)?.clone();
                user.password = user.password.map(|_| password.clone());
                user.since = revision;
                self.set_user(name, Some(user), rows);
            }
            AuthCommand::UserGrantRole { user: name, role } => {
                let mut user = self.user(name).ok_or(Error::UserNotFound)?.clone();
                if role != ROOT {
                    self.role(role).ok_or(Error::RoleNotFound)?;
                }
                if user.roles.insert(role.clone()) {
                    self.set_user(name, Some(user), rows);
                }
            }
            AuthCommand::UserRevokeRole { user: name, role } => {
                if self.is_enabled && name == ROOT && role == ROOT {
                    return Err(Error::InvalidAuthManagement);
                }
                let mut user = self.user(name).ok_or(Error::UserNotFound)?.clone();
                if !user.roles.remove(role) {
                    return Err(Error::RoleNotGranted);
                }
                self.set_user(name, Some(user), rows);
            }
            AuthCommand::RoleAdd { name } => {
                check_name(name, Error::RoleEmpty)?;
                if self.roles.contains_key(name) {
                    return Err(Error::RoleExists);
                }
                self.set_role(name, Some(Role::default()), rows);
            }
            AuthCommand::RoleDelete { name } => self.delete_role(name, rows)?,
            AuthCommand::RoleGrantPermission { role: name, range, permission } => {
                if range.is_empty() || range.first().is_empty() {
                    return Err(Error::InvalidAuthManagement);
                }
                let mut role = self.role(name).ok_or(Error::RoleNotFound)?.clone();
                role.permissions.insert(range.to_pair(), *permission);
                self.set_role(name, Some(role), rows);
            }
            AuthCommand::RoleRevokePermission { role: name, range } => {
                let mut role = self.role(name).ok_or(Error::RoleNotFound)?.clone();
                role.permissions.remove(&range.to_pair()).ok_or(Error::PermissionNotGranted)?;
                self.set_role(name, Some(role), rows);
            }
        }
        Ok(())
    }

    /// To switch rights on is no change of them, so whoever was let in before stays in.
    pub(super) fn enable(&mut self) -> Result<(), Error> {
        if !self.is_enabled {
            let root = self.user(ROOT).ok_or(Error::RootUserMissing)?;
            if !root.roles.contains(ROOT) {
                return Err(Error::RootRoleMissing);
            }
            self.is_enabled = true;
        }
        Ok(())
    }

    fn delete_role(&mut self, name: &str, rows: &mut Rows) -> Result<(), Error> {
        if self.is_enabled && name == ROOT {
            return Err(Error::InvalidAuthManagement);
        }
        self.role(name).ok_or(Error::RoleNotFound)?;
        let having = self.users.iter().filter(|(_, user)| user.roles.contains(name));
        let having: Vec<(String, User)> =
            having.map(|(name, user)| (name.clone(), User::clone(user))).collect();
        for (of, mut user) in having {
            user.roles.remove(name);
            self.set_user(&of, Some(user), rows);
        }
        self.set_role(name, None, rows);
        Ok(())
    }

    fn set_user(&mut self, name: &str, user: Option<User>, rows: &mut Rows) {
        rows.push((row::user_row(name), user.as_ref().map(row::encode_user)));
        match user {
            Some(user) => self.users.insert(name.into(), Arc::new(user)),
            None => self.users.remove(name),
        };
    }

    fn set_role(&mut self, name: &str, role: Option<Role>, rows: &mut Rows) {
        rows.push((row::role_row(name), role.as_ref().map(row::encode_role)));
        match role {
            Some(role) => self.roles.insert(name.into(), Arc::new(role)),
            None => self.roles.remove(name),
        };
    }
}

pub(super) fn check_name(name: &str, empty: Error) -> Result<(), Error> {
    if name.is_empty() {
        return Err(empty);
    }
    // Its row must fit.
    if name.len() > NAME_BYTES_MAX { Err(Error::KeyTooLong) } else { Ok(()) }
}

/// The range of a permission, as requests have it.
///
/// # Errors
/// [`Error::InvalidAuthManagement`].
pub fn permission_range(key: Bytes, range_end: Bytes) -> Result<KeyRange, Error> {
    match KeyRange::parse(key, range_end) {
        Ok(range) if !range.is_empty() => Ok(range),
        _ => Err(Error::InvalidAuthManagement),
    }
}
