//! What a member begins with: its log, as far as it is sound, held against its state machine, as
//! `node/src/begin.rs` judges.
//!
//! A member must not have a past without there being a log at all: it would have all its votes to give
//! again. So a record is written before anything else happens, and it is noted beside the log that there
//! is one ([`HostConfig::on_begun`](crate::HostConfig::on_begun)): a log without a record is then one that
//! was lost.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use quorate_node::{Begin, Unfit, begin};
use quorate_raft::{EntryId, GroupId, HardState, Membership, NodeId, Record, Remembered};
use quorate_wal::{Damaged, Disk, HealError, OpenError, Opened, Report, Wal, WalError, WalOptions};

use crate::error::StartError;
use crate::wal_thread::Log;

/// Whose log it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner<'a> {
    pub(crate) id: NodeId,
    pub(crate) group: GroupId,
    pub(crate) membership: &'a Membership,
    /// Whether it is known to have written to its log before.
    pub(crate) has_begun: bool,
    /// Up to where its machine reaches.
    pub(crate) applied: EntryId,
}

impl Owner<'_> {
    /// What it begins with. `report` tells what is wrong with the log, should it be to blame.
    fn begin(self, remembered: Remembered, report: &str) -> Result<Begin, StartError> {
        let (applied, report) = (self.applied, report.to_owned());
        begin(self.membership, self.id, remembered, applied).map_err(|unfit| match unfit {
            Unfit::Contradiction { base } => StartError::MachineContradictsLog { applied, base },
            Unfit::MachineBehind { base } => StartError::MachineBehindLog { applied, base },
            Unfit::Damaged => StartError::LogDamaged { report },
            Unfit::Forgotten => StartError::LogForgotten { report },
        })
    }
}

/// A log that was opened.
pub(crate) struct Start {
    /// It is damaged only if it is to be healed.
    pub(crate) log: Log,
    /// What the member begins with.
    pub(crate) begin: Begin,
    /// What was damaged, and where. If the log is whole now, that was not needed.
    pub(crate) damage: Option<String>,
}

/// Opens the log on a disk, which is in this directory.
pub(crate) fn open_log(
    disk: Box<dyn Disk>,
    path: &Path,
    owner: Owner<'_>,
    options: WalOptions,
) -> Result<Start, StartError> {
    let failed = |error: &dyn fmt::Display| StartError::Log {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let opened = Wal::open(disk, options).map_err(|error| match error {
        OpenError::Io { .. } => failed(&error),
        OpenError::Corrupt(report) => {
            let (path, is_damage) = (path.to_owned(), !is_of_another_version(&report));
            StartError::LogCorrupt { path, report: report.to_string(), is_damage }
        }
    })?;
    match opened {
        Opened::Whole(mut wal, mut groups) => {
            let own = groups.remove(&owner.group).map(Remembered::Whole);
            let is_empty = own.is_none();
            let nothing = || Remembered::of_nothing(owner.has_begun, owner.applied);
            let remembered = own.unwrap_or_else(nothing);
            let begin = owner.begin(remembered, "there is no log of this member")?;
            if is_empty {
                write_first(&mut wal, owner.group).map_err(|error| failed(&error))?;
            }
            Ok(Start { log: Log::Whole(wal), begin, damage: None })
        }
        Opened::Damaged(damaged) => {
            let report = report(&damaged);
            let own = damaged.groups.get(&owner.group).cloned();
            let remembered = own.unwrap_or_else(|| Remembered::of_nothing(true, owner.applied));
            let sound = match &remembered {
                Remembered::Whole(recovered) => Some(recovered.clone()),
                Remembered::Damaged(_) | Remembered::Forgotten(_) => None,
            };
            let begin = owner.begin(remembered, &report)?;
            let Some(recovered) = sound else {
                return Ok(Start { log: Log::Damaged(damaged), begin, damage: Some(report) });
            };
            // What was damaged is not needed.
            let groups = BTreeMap::from([(owner.group, recovered.into())]);
            let wal = damaged.heal(groups).map_err(|error| match error {
                // There is no other way to have it whole again.
                HealError::TooLarge { .. } => {
                    StartError::LogForgotten { report: format!("{report}; {error}") }
                }
                HealError::Contradiction { .. } | HealError::Io { .. } => failed(&error),
            })?;
            Ok(Start { log: Log::Whole(Box::new(wal)), begin, damage: Some(report) })
        }
    }
}

/// Whether a log that makes no sense does so because another version of this program wrote it. That one is
/// whole: the program is the wrong one, perhaps on all members at once, and none of them must throw away
/// what it has.
fn is_of_another_version(report: &Report) -> bool {
    report.expected.starts_with("version ")
}

/// What is damaged, in the words of the log.
fn report(damaged: &Damaged) -> String {
    let places: Vec<String> = damaged.reports.iter().map(ToString::to_string).collect();
    places.join("; ")
}

/// Begins a log that has nothing of the group: it is a new one, or that of a member that rejoins.
fn write_first(wal: &mut Wal, group: GroupId) -> Result<(), WalError> {
    wal.append(group, &Record::HardState(HardState::default()));
    wal.commit()
}
