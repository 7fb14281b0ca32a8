//! Users, roles and what they permit: etcd's model, replicated with the data that it guards.
//!
//! A user has roles, and a role permits to read or to write ranges of keys; the role `root` permits everything, and
//! only it permits to change users and roles. As long as rights are not switched on, everybody may do everything.
//!
//! **Where rights are checked.** A command says who wants it ([`Caller`]), and is checked when it is applied, against
//! the state that it would change: so all members agree, and no change of rights can slip in between. A read is
//! checked against the very state that it reads. Both take the same request that is carried out afterwards, with its
//! ranges already parsed, so that what is checked and what is done can't differ ([`needs`]).
//!
//! A change of users, roles or rights raises the *revision* of all of them. Who was let in at an older one is asked to
//! show his token again, as what it stood for may be gone.
//!
//! Of passwords there are hashes here, made by who proposes; of tokens too.

pub mod admin;
mod cover;
mod founded;
pub mod needs;
pub(crate) mod row;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use quorate_planted::planted;

use crate::error::Error;
use crate::key::KeyRange;

pub use self::needs::Rights;

/// The user that must be there before rights are switched on, and the role that permits everything.
pub const ROOT: &str = "root";

/// What one may do with keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    /// Learn of them: with values, as events, by comparing, by counting.
    Read,
    /// Put and delete them.
    Write,
}

/// What a role permits for one range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// To read.
    Read,
    /// To write, which does not mean to read.
    Write,
    /// Both.
    ReadWrite,
}

impl Permission {
    /// Whether it has this right in it.
    #[must_use]
    pub fn has(self, right: Right) -> bool {
        match self {
            Self::ReadWrite => true,
            Self::Read => right == Right::Read,
            Self::Write => right == Right::Write,
        }
    }
}

/// The hash of a password, in bcrypt's form or another that the servers know. It is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub Bytes);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

/// A user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// `None` of a user who is let in by a certificate only.
    pub password: Option<PasswordHash>,
    /// The revision of the rights at which the password became this one. Tokens of before are worth nothing.
    pub since: u64,
    /// Some may be of roles that do not exist: `root` needs not.
    pub roles: BTreeSet<String>,
}

/// A role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// By key and range end, as requests have them.
    permissions: BTreeMap<(Bytes, Bytes), Permission>,
}

impl Role {
    /// What it permits, in order of the key.
    pub fn permissions(&self) -> impl Iterator<Item = (KeyRange, Permission)> + '_ {
        self.permissions.iter().map(|((key, range_end), permission)| {
            let range = KeyRange::parse(key.clone(), range_end.clone());
            (range.expect("it was parsed before"), *permission)
        })
    }
}

/// Who wants something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Caller {
    /// Somebody who did not say who. May do everything as long as rights are not switched on, and nothing else.
    #[default]
    Nobody,
    /// The servers themselves. May do everything.
    Server,
    /// A user that was let in.
    User {
        /// The name.
        name: String,
        /// The revision of users, roles and rights at which that was.
        revision: u64,
    },
}

/// All users, roles and rights. Small, and therefore in memory as well as in rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    is_enabled: bool,
    /// See the description of the module.
    revision: u64,
    /// Tokens from before this revision are worth nothing.
    out_before: u64,
    users: BTreeMap<String, Arc<User>>,
    roles: BTreeMap<String, Arc<Role>>,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            is_enabled: false,
            revision: 1,
            out_before: 0,
            users: BTreeMap::new(),
            roles: BTreeMap::new(),
        }
    }
}

impl Auth {
    /// Whether rights are checked.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// Grows with each change of users, roles or rights, and when rights are switched off. Begins at 1.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// A user.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name).map(|user| &**user)
    }

    /// The names of all users, in order.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        self.users.keys().map(String::as_str)
    }

    /// A role. `root` may be one that is not there, and permits everything all the same.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.get(name).map(|role| &**role)
    }

    /// The names of all roles, in order.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.keys().map(String::as_str)
    }

    /// Whether a user who was let in at a revision of the rights may stay: if the password is still the same, and rights
    /// were not switched off since.
    #[must_use]
    pub fn stays(&self, name: &str, revision: u64) -> bool {
        let user = self.user(name);
        self.out_before <= revision && user.is_some_and(|user| user.since <= revision)
    }

    /// The user that a caller is; `None` if the caller may do everything.
    ///
    /// # Errors
    /// [`Error::UserEmpty`] of nobody, [`Error::AuthOldRevision`] of one that was let in before the last change, and
    /// [`Error::PermissionDenied`] of one that is gone.
    fn restricted(&self, caller: &Caller) -> Result<Option<&User>, Error> {
        if !self.is_enabled {
            return Ok(None);
        }
        match caller {
            Caller::Nobody if planted!(NobodyMayAct) => Ok(None),
            Caller::Nobody => Err(Error::UserEmpty),
            Caller::Server => Ok(None),
            Caller::User { revision, .. }
                if *revision < self.revision && !planted!(OldRightsCount) =>
            {
                Err(Error::AuthOldRevision)
            }
            Caller::User { name, .. } => {
                let user = self.user(name).ok_or(Error::PermissionDenied)?;
                Ok(Some(user).filter(|user| !user.roles.contains(ROOT)))
            }
        }
    }

    /// Refuses who may not change users and roles.
    ///
    /// # Errors
    /// As for every request, and [`Error::PermissionDenied`].
    pub fn check_root(&self, caller: &Caller) -> Result<(), Error> {
        match self.restricted(caller)? {
            None => Ok(()),
            Some(_) => Err(Error::PermissionDenied),
        }
    }

    /// Refuses who was not let in.
    ///
    /// # Errors
    /// As for every request.
    pub fn check_user(&self, caller: &Caller) -> Result<(), Error> {
        self.restricted(caller).map(drop)
    }

    /// Whether a user may do this with the whole of a range: by all of its roles together.
    fn permits(&self, user: &User, right: Right, wanted: &KeyRange) -> bool {
        let roles = user.roles.iter().filter_map(|role| self.role(role));
        let permitted = roles.flat_map(Role::permissions);
        let permitted: Vec<KeyRange> = permitted
            .filter(|(_, permission)| permission.has(right))
            .map(|(range, _)| range)
            .collect();
        cover::covers(permitted, wanted)
    }
}

/// A change of users, roles or rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthCommand {
    /// Rights are checked from now on.
    Enable,
    /// Rights are not checked any more.
    Disable,
    /// A user was let in, and gets a token.
    Issue {
        /// The user.
        name: String,
        /// The hash of the token, by which servers find it.
        token: Bytes,
        /// The revision at which the password was compared.
        revision: u64,
    },
    /// A new user.
    UserAdd {
        /// The name.
        name: String,
        /// `None` for a user who is let in by a certificate only.
        password: Option<PasswordHash>,
    },
    /// A user goes.
    UserDelete {
        /// The name.
        name: String,
    },
    /// A user has another password. One that had none goes on having none.
    UserChangePassword {
        /// The name.
        name: String,
        /// The new one.
        password: PasswordHash,
    },
    /// A user gets a role.
    UserGrantRole {
        /// The user.
        user: String,
        /// The role.
        role: String,
    },
    /// A user loses a role.
    UserRevokeRole {
        /// The user.
        user: String,
        /// The role.
        role: String,
    },
    /// A new role, which permits nothing yet.
    RoleAdd {
        /// The name.
        name: String,
    },
    /// A role goes, and all its users lose it.
    RoleDelete {
        /// The name.
        name: String,
    },
    /// A role permits this for exactly this range from now on.
    RoleGrantPermission {
        /// The role.
        role: String,
        /// The range.
        range: KeyRange,
        /// What it permits.
        permission: Permission,
    },
    /// What a role permits for exactly this range, it permits no more.
    RoleRevokePermission {
        /// The role.
        role: String,
        /// The range.
        range: KeyRange,
    },
}

/// A token was given out, with which its user is let in for as long as he [may stay](Auth::stays): servers know tokens
/// by their hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// To whom.
    pub name: String,
    /// The hash.
    pub token: Bytes,
    /// At which revision of the rights.
    pub revision: u64,
}
