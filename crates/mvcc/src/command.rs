//! The replicated commands and their bytes.
//!
//! A command is what stands in the log: it must be readable for as long as logs live, so its bytes
//! are versioned and its numbers are never given to something else. Reading is total: any bytes
//! give a command or a [`CommandError`], with memory in proportion to their length.
//!
//! ```text
//! 1 (1 byte) · kind (1 byte) · fields
//! 2 (1 byte) · who wants it · kind (1 byte) · fields
//! ```

use alloc::vec::Vec;

use bytes::Bytes;

use crate::alarm::{self, Alarm, AlarmCommand, AlarmKind};
use crate::auth::{self, AuthCommand, Caller, PasswordHash};
use crate::codec::{self, Malformed, Source};
use crate::error::Error;
use crate::key::KeyRange;
use crate::request::{
    Compare, CompareOperand, CompareResult, DeleteRangeRequest, MemberAttributes, PutRequest,
    RangeRequest, RequestOp, TxnRequest,
};

/// A change that all members make at the same position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Write a key.
    Put(PutRequest),
    /// Delete a range.
    DeleteRange(DeleteRangeRequest),
    /// Compare, then write.
    Txn(TxnRequest),
    /// Forget the history before a revision.
    Compact {
        /// The revision; itself it stays readable.
        revision: i64,
    },
    /// Create a lease.
    LeaseGrant {
        /// Its id, chosen by the client or by the server that proposes. Not 0.
        id: i64,
        /// Its time to live in seconds, raised to the minimum by the server that proposes.
        ttl: i64,
    },
    /// End a lease and delete its keys.
    LeaseRevoke {
        /// Its id.
        id: i64,
    },
    /// End a lease that ran out by the clock of the primary of a term. Takes effect only as an entry
    /// of that very term: a primary that was succeeded, unnoticed by itself, can't end what its
    /// successor renewed.
    LeaseExpire {
        /// Its id.
        id: i64,
        /// The term in which the proposer was the primary.
        term: u64,
    },
    /// A member tells its name and where clients reach it.
    Member(MemberAttributes),
    /// Change users, roles or rights.
    Auth(AuthCommand),
    /// Raise an alarm or take one back.
    Alarm(AlarmCommand),
}

/// A command, and who wants it carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Who wants it.
    pub caller: Caller,
    /// The command.
    pub command: Command,
}

/// The version that is written of a command that nobody in particular wants, and the first there was.
const VERSION: u8 = 1;

/// The same, with who wants it before the kind: as there are users.
const VERSION_WITH_CALLER: u8 = 2;

/// The highest kind that is known.
const KIND_MAX: u8 = 10;

/// Why bytes are no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// No version of the program writes them.
    Malformed,
    /// Their version or kind is beyond what this version of the program knows.
    Newer,
}

impl From<Malformed> for CommandError {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

/// How deep transactions may lie within one another. The budget of operations (128 by default, at
/// least one for each level) is reached sooner; this bounds the stack whatever the budget.
pub const TXN_DEPTH_MAX: usize = 128;

impl Command {
    /// The bytes for the log, of a command that [nobody](Caller::Nobody) in particular wants.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        self.encode_for(&Caller::Nobody)
    }

    /// The bytes for the log.
    #[must_use]
    pub fn encode_for(&self, caller: &Caller) -> Bytes {
        let mut out = Vec::with_capacity(64);
        match caller {
            Caller::Nobody => out.push(VERSION),
            Caller::Server => out.extend_from_slice(&[VERSION_WITH_CALLER, 0]),
            Caller::User { name, revision } => {
                out.extend_from_slice(&[VERSION_WITH_CALLER, 1]);
                codec::put_bytes(&mut out, name.as_bytes());
                codec::put_u64(&mut out, *revision);
            }
        }
        match self {
            Self::Put(put) => {
                out.push(1);
                encode_put(&mut out, put);
            }
            Self::DeleteRange(delete) => {
                out.push(2);
                encode_delete(&mut out, delete);
            }
            Self::Txn(txn) => {
                out.push(3);
                encode_txn(&mut out, txn);
            }
            Self::Compact { revision } => {
                out.push(4);
                codec::put_i64(&mut out, *revision);
            }
            Self::LeaseGrant { id, ttl } => {
                out.push(5);
                codec::put_i64(&mut out, *id);
                codec::put_i64(&mut out, *ttl);
            }
            Self::LeaseRevoke { id } => {
                out.push(6);
                codec::put_i64(&mut out, *id);
            }
            Self::LeaseExpire { id, term } => {
                out.push(7);
                codec::put_i64(&mut out, *id);
                codec::put_u64(&mut out, *term);
            }
            Self::Member(member) => {
                out.push(8);
                encode_member(&mut out, member);
            }
            Self::Auth(command) => {
                out.push(9);
                encode_auth(&mut out, command);
            }
            Self::Alarm(command) => {
                out.push(10);
                encode_alarm(&mut out, *command);
            }
        }
        out.into()
    }

    fn read(kind: u8, source: &mut Source) -> Result<Self, CommandError> {
        let command = match kind {
            1 => Self::Put(decode_put(source)?),
            2 => Self::DeleteRange(decode_delete(source)?),
            3 => Self::Txn(decode_txn(source, TXN_DEPTH_MAX)?),
            4 => Self::Compact { revision: source.i64()? },
            5 => Self::LeaseGrant { id: source.i64()?, ttl: source.i64()? },
            6 => Self::LeaseRevoke { id: source.i64()? },
            7 => Self::LeaseExpire { id: source.i64()?, term: source.u64()? },
            8 => Self::Member(decode_member(source)?),
            9 => Self::Auth(decode_auth(source)?),
            10 => Self::Alarm(decode_alarm(source)?),
            _ => return Err(CommandError::Malformed),
        };
        source.end()?;
        Ok(command)
    }
}

impl Proposal {
    /// Reads the bytes of a log entry.
    ///
    /// # Errors
    /// A [`CommandError`], which says whether a newer version could have written them.
    pub fn decode(bytes: &Bytes) -> Result<Self, CommandError> {
        let mut source = Source::new(bytes.clone());
        let caller = match source.u8()? {
            0 => return Err(CommandError::Malformed),
            VERSION => Caller::Nobody,
            VERSION_WITH_CALLER => match source.u8()? {
                0 => Caller::Server,
                1 => Caller::User { name: source.text()?, revision: source.u64()? },
                _ => return Err(CommandError::Newer),
            },
            _ => return Err(CommandError::Newer),
        };
        let kind = source.u8()?;
        if kind > KIND_MAX {
            return Err(CommandError::Newer);
        }
        Ok(Self { caller, command: Command::read(kind, &mut source)? })
    }
}

/// Changes of users, roles and rights have kinds of their own.
fn encode_auth(out: &mut Vec<u8>, command: &AuthCommand) {
    let text = |out: &mut Vec<u8>, text: &str| codec::put_bytes(out, text.as_bytes());
    match command {
        AuthCommand::Enable => out.push(0),
        AuthCommand::Disable => out.push(1),
        AuthCommand::Issue { name, token, revision } => {
            out.push(2);
            text(out, name);
            codec::put_bytes(out, token);
            codec::put_u64(out, *revision);
        }
        AuthCommand::UserAdd { name, password } => {
            out.push(3);
            text(out, name);
            codec::put_flags(out, [password.is_some()]);
            codec::put_bytes(out, password.as_ref().map_or(&[], |password| &password.0));
        }
        AuthCommand::UserDelete { name } => {
            out.push(4);
            text(out, name);
        }
        AuthCommand::UserChangePassword { name, password } => {
            out.push(5);
            text(out, name);
            codec::put_bytes(out, &password.0);
        }
        AuthCommand::UserGrantRole { user, role } => {
            out.push(6);
            text(out, user);
            text(out, role);
        }
        AuthCommand::UserRevokeRole { user, role } => {
            out.push(7);
            text(out, user);
            text(out, role);
        }
        AuthCommand::RoleAdd { name } => {
            out.push(8);
            text(out, name);
        }
        AuthCommand::RoleDelete { name } => {
            out.push(9);
            text(out, name);
        }
        AuthCommand::RoleGrantPermission { role, range, permission } => {
            out.push(10);
            text(out, role);
            encode_range(out, range);
            auth::row::encode_permission(out, *permission);
        }
        AuthCommand::RoleRevokePermission { role, range } => {
            out.push(11);
            text(out, role);
            encode_range(out, range);
        }
    }
}

fn decode_auth(source: &mut Source) -> Result<AuthCommand, CommandError> {
    Ok(match source.u8()? {
        0 => AuthCommand::Enable,
        1 => AuthCommand::Disable,
        2 => AuthCommand::Issue {
            name: source.text()?,
            token: source.bytes()?,
            revision: source.u64()?,
        },
        3 => {
            let (name, [has_password], password) =
                (source.text()?, source.flags()?, source.bytes()?);
            if !has_password && !password.is_empty() {
                return Err(CommandError::Malformed);
            }
            AuthCommand::UserAdd { name, password: has_password.then_some(PasswordHash(password)) }
        }
        4 => AuthCommand::UserDelete { name: source.text()? },
        5 => AuthCommand::UserChangePassword {
            name: source.text()?,
            password: PasswordHash(source.bytes()?),
        },
        6 => AuthCommand::UserGrantRole { user: source.text()?, role: source.text()? },
        7 => AuthCommand::UserRevokeRole { user: source.text()?, role: source.text()? },
        8 => AuthCommand::RoleAdd { name: source.text()? },
        9 => AuthCommand::RoleDelete { name: source.text()? },
        10 => AuthCommand::RoleGrantPermission {
            role: source.text()?,
            range: decode_range(source)?,
            permission: auth::row::decode_permission(source)?,
        },
        11 => {
            AuthCommand::RoleRevokePermission { role: source.text()?, range: decode_range(source)? }
        }
        _ => return Err(CommandError::Newer),
    })
}

/// Changes of alarms have kinds of their own, too.
fn encode_alarm(out: &mut Vec<u8>, command: AlarmCommand) {
    match command {
        AlarmCommand::Activate(Alarm { member, kind, clears_below }) => {
            out.extend_from_slice(&[0, kind as u8]);
            codec::put_u64(out, member);
            alarm::encode_mark(out, clears_below);
        }
        AlarmCommand::Deactivate { member, kind } => {
            out.extend_from_slice(&[1, kind as u8]);
            codec::put_u64(out, member);
        }
        AlarmCommand::Clear { member, clears_below } => {
            out.push(2);
            codec::put_u64(out, member);
            codec::put_u64(out, clears_below);
        }
    }
}

fn decode_alarm(source: &mut Source) -> Result<AlarmCommand, CommandError> {
    let kind =
        |source: &mut Source| AlarmKind::try_from(source.u8()?).map_err(|_| CommandError::Newer);
    Ok(match source.u8()? {
        0 => {
            let (kind, member) = (kind(source)?, source.u64()?);
            let clears_below = alarm::decode_mark(source)?;
            AlarmCommand::Activate(Alarm { member, kind, clears_below })
        }
        1 => AlarmCommand::Deactivate { kind: kind(source)?, member: source.u64()? },
        2 => AlarmCommand::Clear { member: source.u64()?, clears_below: source.u64()? },
        _ => return Err(CommandError::Newer),
    })
}

fn encode_put(out: &mut Vec<u8>, put: &PutRequest) {
    let PutRequest { key, value, lease, prev_kv, ignore_value, ignore_lease } = put;
    codec::put_bytes(out, key);
    codec::put_bytes(out, value);
    codec::put_i64(out, *lease);
    codec::put_flags(out, [*prev_kv, *ignore_value, *ignore_lease]);
}

fn decode_put(source: &mut Source) -> Result<PutRequest, Malformed> {
    let (key, value, lease) = (source.bytes()?, source.bytes()?, source.i64()?);
    let [prev_kv, ignore_value, ignore_lease] = source.flags()?;
    Ok(PutRequest { key, value, lease, prev_kv, ignore_value, ignore_lease })
}

fn encode_delete(out: &mut Vec<u8>, delete: &DeleteRangeRequest) {
    let DeleteRangeRequest { range, prev_kv } = delete;
    encode_range(out, range);
    codec::put_flags(out, [*prev_kv]);
}

fn decode_delete(source: &mut Source) -> Result<DeleteRangeRequest, Malformed> {
    let range = decode_range(source)?;
    let [prev_kv] = source.flags()?;
    Ok(DeleteRangeRequest { range, prev_kv })
}

/// A range is written as the pair of the wire, which says it in the fewest bytes.
fn encode_range(out: &mut Vec<u8>, range: &KeyRange) {
    let (key, range_end) = range.to_pair();
    codec::put_bytes(out, &key);
    codec::put_bytes(out, &range_end);
}

fn decode_range(source: &mut Source) -> Result<KeyRange, Malformed> {
    KeyRange::parse(source.bytes()?, source.bytes()?).map_err(|_| Malformed)
}

fn encode_txn(out: &mut Vec<u8>, txn: &TxnRequest) {
    let TxnRequest { compare, success, failure } = txn;
    codec::put_u64(out, compare.len() as u64);
    for compare in compare {
        encode_compare(out, compare);
    }
    for branch in [success, failure] {
        codec::put_u64(out, branch.len() as u64);
        for op in branch {
            encode_op(out, op);
        }
    }
}

fn decode_txn(source: &mut Source, depth_left: usize) -> Result<TxnRequest, Malformed> {
    let depth_left = depth_left.checked_sub(1).ok_or(Malformed)?;
    let mut txn = TxnRequest::default();
    for _ in 0..source.count()? {
        txn.compare.push(decode_compare(source)?);
    }
    for branch in [&mut txn.success, &mut txn.failure] {
        for _ in 0..source.count()? {
            branch.push(decode_op(source, depth_left)?);
        }
    }
    Ok(txn)
}

fn encode_compare(out: &mut Vec<u8>, compare: &Compare) {
    let Compare { range, result, operand } = compare;
    encode_range(out, range);
    out.push(match result {
        CompareResult::Equal => 0,
        CompareResult::Greater => 1,
        CompareResult::Less => 2,
        CompareResult::NotEqual => 3,
        CompareResult::Unknown => 4,
    });
    let (target, number) = match operand {
        CompareOperand::Version(number) => (0, *number),
        CompareOperand::Create(number) => (1, *number),
        CompareOperand::Mod(number) => (2, *number),
        CompareOperand::Lease(number) => (4, *number),
        CompareOperand::Unknown => return out.push(5),
        CompareOperand::Value(value) => {
            out.push(3);
            return codec::put_bytes(out, value);
        }
    };
    out.push(target);
    codec::put_i64(out, number);
}

fn decode_compare(source: &mut Source) -> Result<Compare, Malformed> {
    let range = decode_range(source)?;
    let result = match source.u8()? {
        0 => CompareResult::Equal,
        1 => CompareResult::Greater,
        2 => CompareResult::Less,
        3 => CompareResult::NotEqual,
        4 => CompareResult::Unknown,
        _ => return Err(Malformed),
    };
    let operand = match source.u8()? {
        0 => CompareOperand::Version(source.i64()?),
        1 => CompareOperand::Create(source.i64()?),
        2 => CompareOperand::Mod(source.i64()?),
        3 => CompareOperand::Value(source.bytes()?),
        4 => CompareOperand::Lease(source.i64()?),
        5 => CompareOperand::Unknown,
        _ => return Err(Malformed),
    };
    Ok(Compare { range, result, operand })
}

fn encode_op(out: &mut Vec<u8>, op: &RequestOp) {
    match op {
        RequestOp::Range(range) => {
            out.push(0);
            encode_range_request(out, range);
        }
        RequestOp::Put(put) => {
            out.push(1);
            encode_put(out, put);
        }
        RequestOp::DeleteRange(delete) => {
            out.push(2);
            encode_delete(out, delete);
        }
        RequestOp::Txn(txn) => {
            out.push(3);
            encode_txn(out, txn);
        }
    }
}

fn decode_op(source: &mut Source, depth_left: usize) -> Result<RequestOp, Malformed> {
    Ok(match source.u8()? {
        0 => RequestOp::Range(decode_range_request(source)?),
        1 => RequestOp::Put(decode_put(source)?),
        2 => RequestOp::DeleteRange(decode_delete(source)?),
        3 => RequestOp::Txn(decode_txn(source, depth_left)?),
        _ => return Err(Malformed),
    })
}

fn encode_range_request(out: &mut Vec<u8>, request: &RangeRequest) {
    let RangeRequest {
        range,
        limit,
        revision,
        sort_order,
        sort_target,
        serializable,
        keys_only,
        count_only,
        min_mod_revision,
        max_mod_revision,
        min_create_revision,
        max_create_revision,
    } = request;
    encode_range(out, range);
    codec::put_u64(out, *limit);
    codec::put_i64(out, *revision);
    out.push(*sort_order as u8);
    out.push(*sort_target as u8);
    codec::put_flags(out, [*serializable, *keys_only, *count_only]);
    for bound in [min_mod_revision, max_mod_revision, min_create_revision, max_create_revision] {
        codec::put_i64(out, *bound);
    }
}

fn decode_range_request(source: &mut Source) -> Result<RangeRequest, Malformed> {
    let mut request = RangeRequest::new(decode_range(source)?);
    request.limit = source.u64()?;
    request.revision = source.i64()?;
    request.sort_order = i32::from(source.u8()?).try_into().map_err(|_: Error| Malformed)?;
    request.sort_target = i32::from(source.u8()?).try_into().map_err(|_: Error| Malformed)?;
    [request.serializable, request.keys_only, request.count_only] = source.flags()?;
    request.min_mod_revision = source.i64()?;
    request.max_mod_revision = source.i64()?;
    request.min_create_revision = source.i64()?;
    request.max_create_revision = source.i64()?;
    Ok(request)
}

pub(crate) fn encode_member(out: &mut Vec<u8>, member: &MemberAttributes) {
    let MemberAttributes { id, name, client_urls } = member;
    codec::put_u64(out, *id);
    codec::put_bytes(out, name.as_bytes());
    codec::put_u64(out, client_urls.len() as u64);
    for url in client_urls {
        codec::put_bytes(out, url.as_bytes());
    }
}

pub(crate) fn decode_member(source: &mut Source) -> Result<MemberAttributes, Malformed> {
    let mut member =
        MemberAttributes { id: source.u64()?, name: source.text()?, client_urls: Vec::new() };
    for _ in 0..source.count()? {
        member.client_urls.push(source.text()?);
    }
    Ok(member)
}
