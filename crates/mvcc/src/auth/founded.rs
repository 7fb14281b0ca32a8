//! Users, roles and rights that come from another store.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Auth, PasswordHash, Permission, Role, User};
use super::{admin, row};
use crate::error::Error;
use crate::key::KeyRange;

impl Auth {
    /// No users and no roles yet, at a revision. No token of before counts.
    ///
    /// # Errors
    /// [`Error::InvalidAuthManagement`] if there can't be such a revision.
    pub fn founded(revision: u64) -> Result<Self, Error> {
        // Half of what is believed when it is read, so that there is room for what comes.
        if !(1..=u64::MAX / 4).contains(&revision) {
            return Err(Error::InvalidAuthManagement);
        }
        Ok(Self { revision, out_before: revision, ..Self::default() })
    }

    /// Adds a role that permits this.
    ///
    /// # Errors
    /// As when somebody adds a role: [`Error::RoleEmpty`], [`Error::RoleExists`], [`Error::KeyTooLong`].
    pub fn found_role(
        &mut self,
        name: &str,
        permissions: impl IntoIterator<Item = (KeyRange, Permission)>,
    ) -> Result<(), Error> {
        admin::check_name(name, Error::RoleEmpty)?;
        let permissions = permissions.into_iter();
        let permissions = permissions.map(|(range, permission)| (range.to_pair(), permission));
        let role = Role { permissions: permissions.collect() };
        match self.roles.insert(name.into(), Arc::new(role)) {
            None => Ok(()),
            Some(_) => Err(Error::RoleExists),
        }
    }

    /// Adds a user with these roles. As in etcd, some of them may not exist.
    ///
    /// # Errors
    /// As when somebody adds a user: [`Error::UserEmpty`], [`Error::UserExists`], [`Error::KeyTooLong`].
    pub fn found_user(
        &mut self,
        name: &str,
        password: Option<PasswordHash>,
        roles: impl IntoIterator<Item = String>,
    ) -> Result<(), Error> {
        admin::check_name(name, Error::UserEmpty)?;
        let user = User { password, since: self.revision, roles: roles.into_iter().collect() };
        match self.users.insert(name.into(), Arc::new(user)) {
            None => Ok(()),
            Some(_) => Err(Error::UserExists),
        }
    }

    /// Switches rights on.
    ///
    /// # Errors
    /// [`Error::RootUserMissing`], [`Error::RootRoleMissing`].
    pub fn found_enabled(&mut self) -> Result<(), Error> {
        self.enable()
    }

    /// All rows of it, in no order.
    pub(crate) fn rows(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let users = self.users.iter().map(|(name, it)| (row::user_row(name), row::encode_user(it)));
        let roles = self.roles.iter().map(|(name, it)| (row::role_row(name), row::encode_role(it)));
        let rights =
            (*self != Self::default()).then(|| (row::RIGHTS.to_vec(), row::encode_rights(self)));
        users.chain(roles).chain(rights).collect()
    }
}
