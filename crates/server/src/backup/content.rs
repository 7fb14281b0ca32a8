//! From the buckets of etcd's backend into a store.

use std::fmt;

use bytes::Bytes;
use prost::Message as _;
use quorate_bolt::{Bolt, Item, ReadAt};
use quorate_mvcc::apply::LEASE_TTL_MAX;
use quorate_mvcc::auth::{PasswordHash, Permission};
use quorate_mvcc::record::read_revision_key;
use quorate_mvcc::{Auth, Import, KeyRange, KeyValue, Lease, Record};
use quorate_proto::etcdserverpb::{AlarmMember, AlarmType};
use quorate_proto::{authpb, mvccpb};

use super::{buckets, facts, messages};

/// What the backend says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// The last entry of its log that it has; 0 if it does not say.
    pub(super) applied: u64,
    /// The revision up to which it is compacted, -1 if it never was.
    pub(super) compacted: i64,
}

/// Why a bucket can't be read.
fn damaged(bucket: &[u8], key: &[u8]) -> String {
    let key = &key[..key.len().min(64)];
    format!("{} in bucket {} makes no sense", key.escape_ascii(), bucket.escape_ascii())
}

/// Hands out what is in a bucket; nothing if there is no such bucket.
pub(super) fn each<R: ReadAt + ?Sized, E: fmt::Display>(
    bolt: &Bolt<'_, R>,
    bucket: &[u8],
    mut take: impl FnMut(Item) -> Result<(), E>,
) -> Result<(), String> {
    let explain = |error: &dyn fmt::Display| error.to_string();
    let Some(found) = bolt.bucket(bucket).map_err(|error| explain(&error))? else { return Ok(()) };
    let mut items = bolt.items(&found).map_err(|error| explain(&error))?;
    while let Some(item) = items.next().map_err(|error| explain(&error))? {
        if item.is_bucket {
            return Err(damaged(bucket, &item.key));
        }
        take(item).map_err(|error| explain(&error))?;
    }
    Ok(())
}

/// Reads what it says about itself.
///
/// # Errors
/// If it is no backend of etcd. The text is meant for the operator.
pub(super) fn facts<R: ReadAt + ?Sized>(bolt: &Bolt<'_, R>) -> Result<Facts, String> {
    for needed in [buckets::KEY, buckets::META] {
        if bolt.bucket(needed).map_err(|error| error.to_string())?.is_none() {
            let needed = needed.escape_ascii();
            return Err(format!("it is no backend of etcd: there is no bucket {needed}"));
        }
    }
    let mut found = Facts { applied: 0, compacted: -1 };
    each(bolt, buckets::META, |item| {
        let wrong = || damaged(buckets::META, &item.key);
        match &item.key[..] {
            facts::CONSISTENT_INDEX => {
                let number = item.value[..].try_into().map_err(|_| wrong())?;
                found.applied = u64::from_be_bytes(number);
            }
            facts::FINISHED_COMPACTION | facts::SCHEDULED_COMPACTION => {
                let (revision, _) = read_revision_key(&item.value).ok_or_else(wrong)?;
                found.compacted = found.compacted.max(revision.main);
            }
            _ => {}
        }
        Ok::<_, String>(())
    })?;
    Ok(found)
}

/// Hands out the changes, in order, and those marks that only move the revision.
pub(super) fn import_keys<R: ReadAt + ?Sized>(
    bolt: &Bolt<'_, R>,
    import: &mut Import,
) -> Result<(), String> {
    each(bolt, buckets::KEY, |item| {
        let wrong = || damaged(buckets::KEY, &item.key);
        let (revision, deletion) = read_revision_key(&item.key).ok_or_else(wrong)?;
        let done = if item.value.is_empty() && !deletion {
            import.pass(revision)
        } else {
            let kv = mvccpb::KeyValue::decode(Bytes::from(item.value.clone()));
            let kv = key_value(kv.map_err(|_| wrong())?);
            import.change(&Record { revision, deletion, kv })
        };
        done.map_err(|error| error.to_string())
    })
}

fn key_value(kv: mvccpb::KeyValue) -> KeyValue {
    KeyValue {
        key: kv.key,
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        value: kv.value,
        lease: kv.lease,
    }
}

/// Hands out the leases. One that was never allowed to live so long, or so short, lives as long as it may.
pub(super) fn import_leases<R: ReadAt + ?Sized>(
    bolt: &Bolt<'_, R>,
    import: &mut Import,
) -> Result<(), String> {
    each(bolt, buckets::LEASE, |item| {
        let lease = messages::Lease::decode(&item.value[..]);
        let lease = lease.map_err(|_| damaged(buckets::LEASE, &item.key))?;
        let ttl = lease.ttl.clamp(1, LEASE_TTL_MAX);
        import.lease(Lease { id: lease.id, ttl }).map_err(|error| error.to_string())
    })
}

/// Users, roles, and whether rights are checked.
pub(super) fn auth<R: ReadAt + ?Sized>(bolt: &Bolt<'_, R>) -> Result<Auth, String> {
    let (mut is_enabled, mut revision) = (false, 0);
    each(bolt, buckets::AUTH, |item| {
        match &item.key[..] {
            facts::AUTH_ENABLED => is_enabled = item.value == [1],
            facts::AUTH_REVISION => {
                let number = item.value[..].try_into();
                let number = number.map_err(|_| damaged(buckets::AUTH, &item.key))?;
                revision = u64::from_be_bytes(number);
            }
            _ => {}
        }
        Ok::<_, String>(())
    })?;
    let refused = |name: &[u8], why: &dyn fmt::Display| {
        format!("the user or role {}: {why}", name[..name.len().min(64)].escape_ascii())
    };
    // A backend on which nobody ever changed a right may say 0, or nothing.
    let mut auth = Auth::founded(revision.max(1))
        .map_err(|_| format!("users are at revision {revision}, which can't be"))?;
    each(bolt, buckets::ROLES, |item| {
        let role = authpb::Role::decode(&item.value[..]);
        let role = role.map_err(|_| damaged(buckets::ROLES, &item.key))?;
        let name = text(&role.name).ok_or_else(|| damaged(buckets::ROLES, &item.key))?;
        let permissions = role.key_permission.into_iter().map(permission);
        let permissions: Option<Vec<_>> = permissions.collect();
        let permissions = permissions.ok_or_else(|| damaged(buckets::ROLES, &item.key))?;
        auth.found_role(name, permissions).map_err(|why| refused(&item.key, &why))
    })?;
    each(bolt, buckets::USERS, |item| {
        let user = authpb::User::decode(&item.value[..]);
        let user = user.map_err(|_| damaged(buckets::USERS, &item.key))?;
        let name = text(&user.name).ok_or_else(|| damaged(buckets::USERS, &item.key))?;
        let has_none = user.password.is_empty() || user.options.is_some_and(|it| it.no_password);
        let password = (!has_none).then(|| PasswordHash(Bytes::copy_from_slice(&user.password)));
        auth.found_user(name, password, user.roles).map_err(|why| refused(&item.key, &why))
    })?;
    if is_enabled {
        auth.found_enabled().map_err(|why| format!("rights are switched on, but {why}"))?;
    }
    Ok(auth)
}

fn text(bytes: &[u8]) -> Option<&str> {
    str::from_utf8(bytes).ok()
}

fn permission(permission: authpb::Permission) -> Option<(KeyRange, Permission)> {
    let kind = match permission.perm_type.try_into().ok()? {
        authpb::permission::Type::Read => Permission::Read,
        authpb::permission::Type::Write => Permission::Write,
        authpb::permission::Type::Readwrite => Permission::ReadWrite,
    };
    Some((KeyRange::parse(permission.key, permission.range_end).ok()?, kind))
}

/// The alarms that were raised, in words.
pub(super) fn alarms<R: ReadAt + ?Sized>(bolt: &Bolt<'_, R>) -> Result<Vec<String>, String> {
    let mut alarms = Vec::new();
    each(bolt, buckets::ALARM, |item| {
        let alarm = AlarmMember::decode(&item.key[..]);
        let alarm = alarm.map_err(|_| damaged(buckets::ALARM, &item.key))?;
        let kind = AlarmType::try_from(alarm.alarm).map_or("unknown", |kind| kind.as_str_name());
        alarms.push(format!("{kind} of member {:x}", alarm.member_id));
        Ok::<_, String>(())
    })?;
    Ok(alarms)
}

/// Users with a password whose hash etcd can't compare, since it is none of bcrypt.
pub(super) fn foreign_passwords<R: ReadAt + ?Sized>(
    bolt: &Bolt<'_, R>,
) -> Result<Vec<String>, String> {
    let mut users = Vec::new();
    each(bolt, buckets::USERS, |item| {
        let user = authpb::User::decode(&item.value[..]);
        let user = user.map_err(|_| damaged(buckets::USERS, &item.key))?;
        if !user.password.is_empty() && !user.password.starts_with(b"$2") {
            users.push(String::from_utf8_lossy(&user.name).into_owned());
        }
        Ok::<_, String>(())
    })?;
    Ok(users)
}
