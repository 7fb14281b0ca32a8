//! What a member begins with: its log, as far as it is sound, held against its state machine, which is
//! durable by itself.
//!
//! The machine may be *within* the log: the entries after its position are applied again. It may be
//! *ahead* of the log: a crash came between the installation of a snapshot and the record of it, or
//! the snapshot replaced entries that were never committed. The machine is right then, since it holds
//! only what is committed, and Raft begins the log anew at its position, as the first record that
//! it writes.
//!
//! Where the machine is *behind* the log's beginning, or the log has gaps, the member heals: it gets
//! from others what is missing before it takes part (`node/src/heal.rs`). One that has no others must
//! not begin. And it must not have a past without there being a log at all: a member that forgot its
//! votes may vote twice in a term, and one that forgot entries may help to elect a leader without them.
//! An empty log and a log that is gone are told apart by a record that is written before anything else
//! happens.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use quorate_node::can_heal;
use quorate_raft::{
    EntryId, GroupId, HardState, Membership, NodeId, Record, Recovered, Remembered, Salvage,
};
use quorate_wal::{Damaged, Disk, OpenError, Opened, Wal, WalError};

use crate::error::StartError;
use crate::wal_thread::{self, Log};

/// Whose log it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner<'a> {
    pub(crate) id: NodeId,
    pub(crate) group: GroupId,
    pub(crate) membership: &'a Membership,
    /// Up to where its machine reaches.
    pub(crate) applied: EntryId,
}

/// What a member begins with.
#[derive(Debug)]
pub(crate) enum Begin {
    /// Everything.
    Whole(Recovered),
    /// A log with gaps, or a machine that ends before the log begins.
    Healing(Salvage),
}

/// Opens the log on a disk, which is in this directory.
pub(crate) fn open_log(
    disk: Box<dyn Disk>,
    path: &Path,
    owner: Owner<'_>,
) -> Result<(Log, Begin), StartError> {
    let failed = |error: &dyn fmt::Display| StartError::Log {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let opened = Wal::open(disk, wal_thread::wal_options()).map_err(|error| match error {
        OpenError::Io { .. } => failed(&error),
        OpenError::Corrupt(report) => {
            StartError::LogCorrupt { path: path.to_owned(), report: report.to_string() }
        }
    })?;
    match opened {
        Opened::Whole(mut wal, mut groups) => {
            let begin = match groups.remove(&owner.group) {
                Some(recovered) => begin_whole(recovered, owner)?,
                None if owner.applied == EntryId::ZERO => {
                    begin_empty(&mut wal, owner.group).map_err(|error| failed(&error))?
                }
                None => return Err(StartError::LogLost { applied: owner.applied }),
            };
            Ok((Log::Whole(wal), begin))
        }
        Opened::Damaged(damaged) => {
            let report = report(&damaged);
            match damaged.groups.get(&owner.group).cloned() {
                Some(Remembered::Whole(recovered)) => {
                    // What was damaged is not needed.
                    let begin = begin_whole(recovered.clone(), owner)?;
                    let groups = BTreeMap::from([(owner.group, recovered.into())]);
                    let wal = damaged.heal(groups).map_err(|error| failed(&error))?;
                    Ok((Log::Whole(Box::new(wal)), begin))
                }
                Some(Remembered::Damaged(salvage)) => {
                    if !can_heal(owner.membership, owner.id, &salvage, owner.applied) {
                        return Err(StartError::LogDamaged { report });
                    }
                    Ok((Log::Damaged(damaged), Begin::Healing(salvage)))
                }
                Some(Remembered::Forgotten(_)) | None => Err(StartError::LogForgotten { report }),
            }
        }
    }
}

/// What is damaged, in the words of the log.
fn report(damaged: &Damaged) -> String {
    let places: Vec<String> = damaged.reports.iter().map(ToString::to_string).collect();
    places.join("; ")
}

/// Begins a log that has nothing of the group, and never had.
fn begin_empty(wal: &mut Wal, group: GroupId) -> Result<Begin, WalError> {
    wal.append(group, &Record::HardState(HardState::default()));
    wal.commit()?;
    Ok(Begin::Whole(Recovered::default()))
}

/// Holds a log without gaps against the machine.
fn begin_whole(recovered: Recovered, owner: Owner<'_>) -> Result<Begin, StartError> {
    let Owner { applied, .. } = owner;
    let base = recovered.base;
    if applied.index == base.index && applied != base {
        return Err(StartError::MachineContradictsLog { applied, base });
    }
    if base.index <= applied.index {
        return Ok(Begin::Whole(recovered));
    }
    let salvage = Salvage::from(recovered);
    if can_heal(owner.membership, owner.id, &salvage, applied) {
        Ok(Begin::Healing(salvage))
    } else {
        Err(StartError::MachineBehindLog { applied, base })
    }
}
