//! Users, roles and rights in rows of `Table::Meta`.
//!
//! | row | value |
//! |---|---|
//! | `rights` | whether they are checked, the revision, the one before which no token counts |
//! | `role`, name | how many ranges, and of each: key, range end, permission |
//! | `user`, name | whether there is a password, its hash, since when, the roles |
//!
//! A name stands in a row as it is, at its end. All sort behind the row of the group's membership, which comes first.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

use bytes::Bytes;

use super::{Auth, PasswordHash, Permission, Role, User};
use crate::codec::{self, Malformed, Source};
use crate::engine::{EngineError, ROW_KEY_BYTES_MAX, Reader, Table};
use crate::key::KeyRange;
use crate::rows;

pub(crate) const RIGHTS: &[u8] = b"rights";
const ROLE: &[u8] = b"role";
const USER: &[u8] = b"user";

/// The longest name, in bytes.
pub(super) const NAME_BYTES_MAX: usize = ROW_KEY_BYTES_MAX - ROLE.len();

pub(super) fn user_row(name: &str) -> Vec<u8> {
    [USER, name.as_bytes()].concat()
}

pub(super) fn role_row(name: &str) -> Vec<u8> {
    [ROLE, name.as_bytes()].concat()
}

/// Whether a row of `Table::Meta` is one of these.
pub(crate) fn is_one(row: &[u8]) -> bool {
    row == RIGHTS || row.starts_with(ROLE) || row.starts_with(USER)
}

/// Whether one of these rows holds what this version writes.
pub(crate) fn check(row: &Bytes, record: &Bytes) -> Result<(), EngineError> {
    let mut source = Source::new(record.clone());
    let read = if row == RIGHTS {
        decode_rights(&mut source).map(drop)
    } else if row.starts_with(ROLE) {
        name(row).and_then(|_| decode_role(&mut source)).map(drop)
    } else {
        name(row).and_then(|_| decode_user(&mut source)).map(drop)
    };
    read.map_err(|Malformed| rows::damaged("Meta", row))
}

/// The name in a row of a role or a user, whose marks are of one length.
fn name(row: &Bytes) -> Result<String, Malformed> {
    const { assert!(ROLE.len() == USER.len()) };
    String::from_utf8(row[ROLE.len()..].to_vec()).map_err(|_| Malformed)
}

pub(super) fn encode_rights(auth: &Auth) -> Vec<u8> {
    let mut out = Vec::new();
    codec::put_flags(&mut out, [auth.is_enabled]);
    codec::put_u64(&mut out, auth.revision);
    codec::put_u64(&mut out, auth.out_before);
    out
}

fn decode_rights(source: &mut Source) -> Result<(bool, u64, u64), Malformed> {
    let [is_enabled] = source.flags()?;
    let (revision, out_before) = (source.u64()?, source.u64()?);
    source.end()?;
    // There are not so many changes that the next number could be missing.
    let can_be = (1..=u64::MAX / 2).contains(&revision) && out_before <= revision;
    if can_be { Ok((is_enabled, revision, out_before)) } else { Err(Malformed) }
}

pub(super) fn encode_user(user: &User) -> Vec<u8> {
    let mut out = Vec::new();
    codec::put_flags(&mut out, [user.password.is_some()]);
    codec::put_bytes(&mut out, user.password.as_ref().map_or(&[], |password| &password.0));
    codec::put_u64(&mut out, user.since);
    codec::put_u64(&mut out, user.roles.len() as u64);
    for role in &user.roles {
        codec::put_bytes(&mut out, role.as_bytes());
    }
    out
}

fn decode_user(source: &mut Source) -> Result<User, Malformed> {
    let ([has_password], password) = (source.flags()?, source.bytes()?);
    if !has_password && !password.is_empty() {
        return Err(Malformed);
    }
    let password = has_password.then_some(PasswordHash(password));
    let mut user = User { password, since: source.u64()?, ..User::default() };
    for _ in 0..source.count()? {
        user.roles.insert(source.text()?);
    }
    source.end()?;
    Ok(user)
}

pub(super) fn encode_role(role: &Role) -> Vec<u8> {
    let mut out = Vec::new();
    codec::put_u64(&mut out, role.permissions.len() as u64);
    for ((key, range_end), permission) in &role.permissions {
        codec::put_bytes(&mut out, key);
        codec::put_bytes(&mut out, range_end);
        encode_permission(&mut out, *permission);
    }
    out
}

fn decode_role(source: &mut Source) -> Result<Role, Malformed> {
    let mut permissions = BTreeMap::new();
    for _ in 0..source.count()? {
        let pair = (source.bytes()?, source.bytes()?);
        // What could not be granted is none.
        KeyRange::parse(pair.0.clone(), pair.1.clone()).map_err(|_| Malformed)?;
        permissions.insert(pair, decode_permission(source)?);
    }
    source.end()?;
    Ok(Role { permissions })
}

pub(crate) fn encode_permission(out: &mut Vec<u8>, permission: Permission) {
    out.push(match permission {
        Permission::Read => 0,
        Permission::Write => 1,
        Permission::ReadWrite => 2,
    });
}

pub(crate) fn decode_permission(source: &mut Source) -> Result<Permission, Malformed> {
    Ok(match source.u8()? {
        0 => Permission::Read,
        1 => Permission::Write,
        2 => Permission::ReadWrite,
        _ => return Err(Malformed),
    })
}

impl Auth {
    /// All that an engine holds.
    pub(crate) fn load(reader: &dyn Reader) -> Result<Self, EngineError> {
        let mut auth = Self::default();
        if let Some(record) = reader.get(Table::Meta, RIGHTS)? {
            (auth.is_enabled, auth.revision, auth.out_before) =
                sound(RIGHTS, decode_rights(&mut Source::new(record)))?;
        }
        for found in all(reader, ROLE) {
            let (row, record) = found?;
            let role = sound(&row, decode_role(&mut Source::new(record)))?;
            auth.roles.insert(sound(&row, name(&row))?, Arc::new(role));
        }
        for found in all(reader, USER) {
            let (row, record) = found?;
            let user = sound(&row, decode_user(&mut Source::new(record)))?;
            auth.users.insert(sound(&row, name(&row))?, Arc::new(user));
        }
        Ok(auth)
    }
}

/// What was read of a row, or that it is damaged.
fn sound<T>(row: &[u8], read: Result<T, Malformed>) -> Result<T, EngineError> {
    read.map_err(|Malformed| rows::damaged("Meta", row))
}

fn all<'a>(
    reader: &'a dyn Reader,
    mark: &'static [u8],
) -> impl Iterator<Item = Result<(Bytes, Bytes), EngineError>> + 'a {
    let KeyRange::Span { from, to } = KeyRange::prefix(Bytes::from_static(mark)) else {
        unreachable!("a mark is a word")
    };
    reader.scan(Table::Meta, (Bound::Included(&from), Bound::Excluded(&to)))
}
