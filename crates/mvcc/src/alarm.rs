//! Alarms: what is wrong with the cluster and keeps it from writing, replicated with the data.
//!
//! etcd's model. An alarm is of one member and concerns all: as long as any is raised, every member refuses the same
//! commands where they are applied (`Alarms::check`), so whoever proposed them before he had heard of it is refused too.
//!
//! - [`AlarmKind::NoSpace`] refuses what makes the store grow: puts, also where a transaction may make one, and new leases.
//!   Deletions, compactions, the ends of leases and everything else go on, since they are how space comes back.
//! - [`AlarmKind::Corrupt`] refuses whatever concerns keys and leases.
//!
//! What etcd's have not is a *mark*: an alarm that a server raised by itself says below which size of the store it has
//! no reason any more, and goes by itself then ([`AlarmCommand::Clear`]). One that an operator raised has none and stays
//! until somebody takes it back.
//!
//! Alarms are few and therefore in memory as well as in rows. Of `Table::Meta`: `raised`, kind, member → mark.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Bound;

use bytes::Bytes;
use quorate_planted::planted;

use crate::codec::{self, Malformed, Source};
use crate::command::Command;
use crate::engine::{Engine, EngineError, Reader, Table};
use crate::error::{Error, ReadError};
use crate::fingerprint::{self, Sums};
use crate::key::KeyRange;
use crate::request::{RequestOp, TxnRequest};
use crate::rows;

/// The most that may be raised at a time, twice as many as the members of the largest cluster have. Anybody who may raise
/// alarms may name members that do not exist (etcd's rule), and all of them are kept in memory.
pub const ALARMS_MAX: usize = 1024;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum AlarmKind {
    /// The store has reached its quota.
    NoSpace = 1,
    /// The data of members differ, or are damaged.
    Corrupt = 2,
}

impl TryFrom<u8> for AlarmKind {
    type Error = u8;

    fn try_from(number: u8) -> Result<Self, u8> {
        match number {
            1 => Ok(Self::NoSpace),
            2 => Ok(Self::Corrupt),
            other => Err(other),
        }
    }
}

/// An alarm that is raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Whose it is. Need not be a member.
    pub member: u64,
    /// What is wrong.
    pub kind: AlarmKind,
    /// The size of the store, in bytes, below which it goes by itself. `None` of one that only somebody takes back.
    pub clears_below: Option<u64>,
}

/// A change of alarms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmCommand {
    /// Raises an alarm. Of one that is raised only the mark may change; one without a mark keeps having none.
    Activate(Alarm),
    /// Takes an alarm back.
    Deactivate {
        /// Whose.
        member: u64,
        /// Which.
        kind: AlarmKind,
    },
    /// Takes an alarm for want of space back, if it still has this mark: the store is smaller now.
    Clear {
        /// Whose.
        member: u64,
        /// The mark.
        clears_below: u64,
    },
}

/// All that are raised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alarms {
    /// With their marks.
    raised: BTreeMap<(AlarmKind, u64), Option<u64>>,
}

impl Alarms {
    /// All of them, by kind and member.
    pub fn iter(&self) -> impl Iterator<Item = Alarm> + '_ {
        let alarm = |(&(kind, member), &clears_below): (&(AlarmKind, u64), &Option<u64>)| Alarm {
            member,
            kind,
            clears_below,
        };
        self.raised.iter().map(alarm)
    }

    /// An alarm of a member.
    #[must_use]
    pub fn get(&self, kind: AlarmKind, member: u64) -> Option<Alarm> {
        let clears_below = *self.raised.get(&(kind, member))?;
        Some(Alarm { member, kind, clears_below })
    }

    /// Whether any member has such an alarm.
    #[must_use]
    pub fn has(&self, kind: AlarmKind) -> bool {
        self.raised.range((kind, 0)..=(kind, u64::MAX)).next().is_some()
    }

    /// Refuses a command that must not be carried out while these are raised.
    ///
    /// # Errors
    /// [`Error::CorruptCluster`], [`Error::NoSpace`].
    pub(crate) fn check(&self, command: &Command) -> Result<(), Error> {
        if self.has(AlarmKind::Corrupt) && is_of_data(command) {
            return Err(Error::CorruptCluster);
        }
        if self.has(AlarmKind::NoSpace) && may_grow(command) {
            return Err(Error::NoSpace);
        }
        Ok(())
    }

    /// All that an engine holds.
    pub(crate) fn load(reader: &dyn Reader) -> Result<Self, EngineError> {
        let KeyRange::Span { from, to } = KeyRange::prefix(Bytes::from_static(RAISED)) else {
            unreachable!("the mark is a word")
        };
        let mut alarms = Self::default();
        for found in reader.scan(Table::Meta, (Bound::Included(&from), Bound::Excluded(&to))) {
            let (row, record) = found?;
            let Alarm { member, kind, clears_below } = decode(&row, &record)?;
            alarms.raised.insert((kind, member), clears_below);
        }
        Ok(alarms)
    }

    /// Carries a command out. Says which alarm it raised or took back, and what that changes in the fingerprint.
    pub(crate) fn apply(
        &mut self,
        engine: &mut dyn Engine,
        command: AlarmCommand,
    ) -> Result<(Option<Alarm>, Sums), ReadError> {
        let mut sums = Sums::ZERO;
        match command {
            AlarmCommand::Activate(Alarm { member, kind, clears_below }) => {
                let before = self.get(kind, member);
                if before.is_none() && self.raised.len() >= ALARMS_MAX {
                    return Err(Error::TooManyAlarms.into());
                }
                let clears_below = match before {
                    Some(before) => before.clears_below.and(clears_below),
                    None => clears_below,
                };
                let after = Alarm { member, kind, clears_below };
                if before != Some(after) {
                    replace(engine, &mut sums, before, Some(after))?;
                    self.raised.insert((kind, member), clears_below);
                }
                Ok((Some(after), sums))
            }
            AlarmCommand::Deactivate { member, kind } => {
                let before = self.get(kind, member);
                self.take_back(engine, &mut sums, before)?;
                Ok((before, sums))
            }
            AlarmCommand::Clear { member, clears_below } => {
                let before = self.get(AlarmKind::NoSpace, member);
                let before = before.filter(|alarm| {
                    alarm.clears_below == Some(clears_below) || planted!(ClearedByOldMark)
                });
                self.take_back(engine, &mut sums, before)?;
                Ok((before, sums))
            }
        }
    }

    fn take_back(
        &mut self,
        engine: &mut dyn Engine,
        sums: &mut Sums,
        alarm: Option<Alarm>,
    ) -> Result<(), EngineError> {
        if let Some(Alarm { member, kind, .. }) = alarm {
            replace(engine, sums, alarm, None)?;
            self.raised.remove(&(kind, member));
        }
        Ok(())
    }
}

/// Whether a command concerns keys or leases.
fn is_of_data(command: &Command) -> bool {
    match command {
        Command::Put(_)
        | Command::DeleteRange(_)
        | Command::Txn(_)
        | Command::Compact { .. }
        | Command::LeaseGrant { .. }
        | Command::LeaseRevoke { .. }
        | Command::LeaseExpire { .. } => true,
        Command::Member(_) | Command::Auth(_) | Command::Alarm(_) => false,
    }
}

/// Whether a command may make the store grow. A transaction may if one of its branches does, whichever would be taken.
fn may_grow(command: &Command) -> bool {
    match command {
        Command::Put(_) | Command::LeaseGrant { .. } => true,
        Command::Txn(_) if planted!(CappedTxnApplied) => false,
        Command::Txn(txn) => may_put(txn),
        Command::DeleteRange(_)
        | Command::Compact { .. }
        | Command::LeaseRevoke { .. }
        | Command::LeaseExpire { .. }
        | Command::Member(_)
        | Command::Auth(_)
        | Command::Alarm(_) => false,
    }
}

fn may_put(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match op {
        RequestOp::Put(_) => true,
        RequestOp::Txn(txn) => may_put(txn),
        RequestOp::Range(_) | RequestOp::DeleteRange(_) => false,
    })
}

/// What all their rows begin with. They sort behind the row of the group's membership, which comes first.
const RAISED: &[u8] = b"raised";

/// Whether a row of `Table::Meta` is one of these.
pub(crate) fn is_one(row: &[u8]) -> bool {
    row.starts_with(RAISED)
}

/// Reads such a row.
pub(crate) fn decode(row: &Bytes, record: &Bytes) -> Result<Alarm, EngineError> {
    let read = || {
        let [kind, member @ ..] = row.get(RAISED.len()..).ok_or(Malformed)? else {
            return Err(Malformed);
        };
        let kind = AlarmKind::try_from(*kind).map_err(|_| Malformed)?;
        let member = u64::from_be_bytes(member.try_into().map_err(|_| Malformed)?);
        let mut source = Source::new(record.clone());
        let clears_below = decode_mark(&mut source)?;
        source.end()?;
        Ok(Alarm { member, kind, clears_below })
    };
    read().map_err(|Malformed| rows::damaged("Meta", row))
}

fn encode(alarm: Alarm) -> (Vec<u8>, Vec<u8>) {
    let row = [RAISED, &[alarm.kind as u8], &alarm.member.to_be_bytes()].concat();
    let mut record = Vec::new();
    encode_mark(&mut record, alarm.clears_below);
    (row, record)
}

pub(crate) fn encode_mark(out: &mut Vec<u8>, clears_below: Option<u64>) {
    codec::put_flags(out, [clears_below.is_some()]);
    if let Some(bytes) = clears_below {
        codec::put_u64(out, bytes);
    }
}

pub(crate) fn decode_mark(source: &mut Source) -> Result<Option<u64>, Malformed> {
    let [has_mark] = source.flags()?;
    if has_mark { Ok(Some(source.u64()?)) } else { Ok(None) }
}

/// Writes the row of an alarm anew, or removes it.
fn replace(
    engine: &mut dyn Engine,
    sums: &mut Sums,
    before: Option<Alarm>,
    after: Option<Alarm>,
) -> Result<(), EngineError> {
    if let Some(alarm) = before {
        let (row, record) = encode(alarm);
        sums.go(fingerprint::alarm(&row, &record));
        if after.is_none() {
            engine.delete(Table::Meta, &row)?;
        }
    }
    if let Some(alarm) = after {
        let (row, record) = encode(alarm);
        engine.put(Table::Meta, &row, &record)?;
        sums.come(fingerprint::alarm(&row, &record));
    }
    Ok(())
}
