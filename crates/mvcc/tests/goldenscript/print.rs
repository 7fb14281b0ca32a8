//! What a script shows. A key is `key=value`, then `c` creation, `m` modification, `v` version.

use std::fmt::Write as _;

use quorate_mvcc::watch::{Cancel, WatchResponse};
use quorate_mvcc::{
    Alarm, Auth, Event, EventKind, KeyValue, RangeResponse, Response, ResponseOp, RevisionEvents,
    TxnResponse,
};

pub(crate) fn bytes(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// All users, roles and rights.
pub(crate) fn auth(auth: &Auth) -> String {
    let mut out = String::new();
    let (is_enabled, revision) = (auth.is_enabled(), auth.revision());
    writeln!(out, "enabled {is_enabled} revision {revision}").expect("a string");
    for name in auth.users() {
        let user = auth.user(name).expect("it is listed");
        let password = if user.password.is_some() { "" } else { ", no password" };
        let roles = user.roles.iter().map(|role| format!(" {role}")).collect::<String>();
        writeln!(out, "user {name} since {}:{roles}{password}", user.since).expect("a string");
    }
    for name in auth.roles() {
        let role = auth.role(name).expect("it is listed");
        writeln!(out, "role {name}:").expect("a string");
        for (range, permission) in role.permissions() {
            let (key, range_end) = range.to_pair();
            let (key, range_end) = (bytes(&key), bytes(&range_end));
            writeln!(out, "  {permission:?} {key} {range_end}").expect("a string");
        }
    }
    out
}

fn kv(kv: &KeyValue) -> String {
    let KeyValue { key, create_revision, mod_revision, version, value, lease } = kv;
    let (key, value) = (bytes(key), bytes(value));
    let lease = if *lease == 0 { String::new() } else { format!(" lease {lease}") };
    format!("{key}={value} c{create_revision} m{mod_revision} v{version}{lease}")
}

fn before(prev_kv: Option<&KeyValue>) -> String {
    prev_kv.map_or(String::new(), |prev| format!(" before: {}", kv(prev)))
}

/// Alarms in one line.
pub(crate) fn alarms(alarms: &[Alarm]) -> String {
    let alarm = |Alarm { member, kind, clears_below }: &Alarm| {
        let mark = clears_below.map_or(String::new(), |bytes| format!(" below {bytes}"));
        format!("{kind:?} of {member}{mark}")
    };
    let alarms: Vec<String> = alarms.iter().map(alarm).collect();
    if alarms.is_empty() { "no alarm".into() } else { alarms.join(", ") }
}

pub(crate) fn range(range: &RangeResponse) -> String {
    let RangeResponse { revision, kvs, more, count } = range;
    let more = if *more { ", more" } else { "" };
    let mut out = format!("count {count}{more}, at revision {revision}\n");
    for item in kvs {
        writeln!(out, "  {}", kv(item)).unwrap();
    }
    out
}

/// An answer, with the revision of the store where the answer itself has none.
pub(crate) fn response(response: &Response, at: i64) -> String {
    match response {
        Response::Put(put) => op(&ResponseOp::Put(put.clone())),
        Response::DeleteRange(delete) => op(&ResponseOp::DeleteRange(delete.clone())),
        Response::Txn(response) => txn(response),
        Response::LeaseGrant { id, ttl } => format!("lease {id} ttl {ttl}, at revision {at}\n"),
        Response::LeaseExpire { revoked } => format!("revoked {revoked}, at revision {at}\n"),
        Response::Alarm(alarm) => format!("{}, at revision {at}\n", alarms(alarm.as_slice())),
        Response::Compact | Response::LeaseRevoke | Response::Member | Response::Auth => {
            format!("ok, at revision {at}\n")
        }
    }
}

fn op(response: &ResponseOp) -> String {
    match response {
        ResponseOp::Put(put) => {
            format!("put, at revision {}{}\n", put.revision, before(put.prev_kv.as_ref()))
        }
        ResponseOp::DeleteRange(delete) => {
            let mut out = format!("deleted {}, at revision {}\n", delete.deleted, delete.revision);
            for prev in &delete.prev_kvs {
                writeln!(out, "  before: {}", kv(prev)).unwrap();
            }
            out
        }
        ResponseOp::Range(response) => range(response),
        ResponseOp::Txn(response) => txn(response),
    }
}

fn txn(response: &TxnResponse) -> String {
    let TxnResponse { revision, succeeded, responses } = response;
    let mut out = format!("succeeded {succeeded}, at revision {revision}\n");
    for response in responses {
        for line in op(response).lines() {
            writeln!(out, "  {line}").unwrap();
        }
    }
    out
}

fn event(event: &Event) -> String {
    let before = before(event.prev_kv.as_ref());
    match event.kind {
        EventKind::Put => format!("put {}{before}", kv(&event.kv)),
        EventKind::Delete => {
            let KeyValue { key, mod_revision, .. } = &event.kv;
            let bare =
                KeyValue { key: key.clone(), mod_revision: *mod_revision, ..KeyValue::default() };
            assert_eq!(event.kv, bare, "a deletion tells the key and its revision only");
            format!("delete {} m{mod_revision}{before}", bytes(key))
        }
    }
}

pub(crate) fn events(of: &RevisionEvents) -> String {
    let mut out = format!("revision {}\n", of.revision);
    for item in &*of.events {
        writeln!(out, "  {}", event(item)).unwrap();
    }
    out
}

pub(crate) fn watch_responses(responses: &[WatchResponse]) -> String {
    let mut out = String::new();
    for response in responses {
        let WatchResponse { revision, watch_id, created, cancel, fragment, events } = response;
        write!(out, "watch {watch_id}, at revision {revision}").unwrap();
        if *created {
            out += ", created";
        }
        match cancel {
            None => {}
            Some(Cancel::Asked) => out += ", cancelled",
            Some(Cancel::Compacted { compact_revision }) => {
                write!(out, ", cancelled, compacted at {compact_revision}").unwrap();
            }
            Some(Cancel::Refused(error)) => write!(out, ", refused: {error:?}").unwrap(),
        }
        if *fragment {
            out += ", to be continued";
        }
        if !created && cancel.is_none() && events.is_empty() {
            out += ", progress";
        }
        out.push('\n');
        for item in events {
            writeln!(out, "  {}", event(item)).unwrap();
        }
    }
    out
}
