//! A store that is made of what another one held: a backup, or the data of an etcd.
//!
//! It goes into an empty engine, change by change as history has them, and is a store with [`Import::finish`]. What is
//! in an engine before that is of no use to anybody: whoever imports builds it aside.
//!
//! Keys, values, revisions and versions stay as they are. Keys are attached to their leases by what they say
//! themselves. Of the changes that a compaction made unreadable some may still be there or not; that makes no
//! difference. Leases begin their time anew, as with every new leader.
//!
//! All members of a new cluster import for themselves, from the same file, and must come to the same state; so nothing
//! here depends on anything else.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use core::fmt;

use bytes::Bytes;
use quorate_node::{Fault, Machine as _};
use quorate_raft::EntryId;

use crate::apply::LEASE_TTL_MAX;
use crate::auth::Auth;
use crate::compact::Removal;
use crate::engine::{ALL_KEYS, Engine, EngineError, Table};
use crate::fingerprint::{self, LiveRows, Sums};
use crate::record::Record;
use crate::response::Lease;
use crate::revision::{COUNT_MAX, Revision};
use crate::rows;
use crate::store::{State, Store, fault};

/// How much is written before it is committed, in bytes: an engine may keep a batch in memory.
const BATCH_BYTES: usize = 4 << 20;

/// Why something is not imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportError {
    /// It makes no sense, or is nothing that this store could hold.
    Refused(String),
    /// The engine has failed.
    Fault(Fault),
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => f.write_str(why),
            Self::Fault(fault) => write!(f, "{fault}"),
        }
    }
}

impl core::error::Error for ImportError {}

impl From<EngineError> for ImportError {
    fn from(error: EngineError) -> Self {
        Self::Fault(fault(error))
    }
}

/// What the new store begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// Its position: the log of the new cluster begins after it.
    pub entry: EntryId,
    /// Who belongs to the new cluster: as for [`quorate_node::Machine::set_membership`].
    pub membership: Bytes,
    /// The revision up to which the other store was compacted, -1 if it never was.
    pub compacted: i64,
    /// By how much the revision moves; all before is compacted then. With 0 everything goes on as it was: for a store
    /// of which nothing is lost, and nobody else goes on.
    pub bump: i64,
}

/// What was imported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// The revision that the store begins with.
    pub revision: i64,
    /// The oldest revision that can be read, -1 if all can.
    pub compacted: i64,
    /// How many changes.
    pub changes: u64,
    /// How many leases.
    pub leases: u64,
}

/// An import that is under way.
pub struct Import {
    engine: Box<dyn Engine>,
    newest: Revision,
    sums: Sums,
    imported: Imported,
    /// What was written since the last commit.
    bytes: usize,
}

impl fmt::Debug for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Import").field("imported", &self.imported).finish_non_exhaustive()
    }
}

impl Import {
    /// Begins with an empty engine.
    ///
    /// # Panics
    /// If it is not empty.
    #[must_use]
    pub fn begin(engine: Box<dyn Engine>) -> Self {
        assert_eq!(engine.applied(), EntryId::ZERO, "an import goes into an empty engine");
        Self {
            engine,
            newest: Revision::default(),
            sums: Sums::ZERO,
            imported: Imported::default(),
            bytes: 0,
        }
    }

    /// Adds the next change.
    ///
    /// # Errors
    /// If changes are out of order, or this one can't be: [`ImportError`].
    pub fn change(&mut self, record: &Record) -> Result<(), ImportError> {
        let Record { revision, deletion, kv } = record;
        let refused = |why: &str| {
            let key = kv.key[..kv.key.len().min(64)].escape_ascii();
            Err(ImportError::Refused(format!("the change of {key} at revision {revision}: {why}")))
        };
        self.pass(*revision)?;
        if revision.main < State::START.revision {
            return refused("no change was ever there");
        }
        if kv.key.is_empty() {
            return refused("it has no key");
        }
        if let Err(EngineError::Corrupt(why)) = rows::check_key(&kv.key) {
            return refused(&why);
        }
        let row = rows::key_row(&kv.key, *revision);
        let happened = if *deletion {
            self.put(Table::Key, &row, rows::DELETE_RECORD)?;
            fingerprint::deletion(&kv.key, revision.main)
        } else {
            let can_be = kv.mod_revision == revision.main
                && (1..=kv.mod_revision).contains(&kv.create_revision)
                && (1..=COUNT_MAX / 2).contains(&kv.version);
            if !can_be {
                return refused("its revisions contradict one another");
            }
            self.put(Table::Key, &row, &rows::put_record(kv))?;
            fingerprint::put(kv)
        };
        let change = rows::revision_record(*deletion, &kv.key);
        self.put(Table::Revision, &revision.to_bytes(), &change)?;
        self.sums.happen(happened);
        self.imported.changes += 1;
        Ok(())
    }

    /// There was this revision, and it changed nothing: etcd's tools leave such a mark where they move the revision.
    ///
    /// # Errors
    /// If it is out of order.
    pub fn pass(&mut self, revision: Revision) -> Result<(), ImportError> {
        if revision <= self.newest {
            let newest = self.newest;
            let why = format!("revision {revision} comes after revision {newest}");
            return Err(ImportError::Refused(why));
        }
        self.newest = revision;
        Ok(())
    }

    /// Adds a lease.
    ///
    /// # Errors
    /// If there can't be such a one, or not twice.
    pub fn lease(&mut self, lease: Lease) -> Result<(), ImportError> {
        let Lease { id, ttl } = lease;
        let row = rows::lease_row(id);
        if id == 0 || !(1..=LEASE_TTL_MAX).contains(&ttl) {
            let why = format!("there can't be a lease {id:x} that lives {ttl} seconds");
            return Err(ImportError::Refused(why));
        }
        if self.engine.get(Table::Lease, &row)?.is_some() {
            return Err(ImportError::Refused(format!("the lease {id:x} comes twice")));
        }
        self.put(Table::Lease, &row, &rows::number_record(ttl))?;
        self.imported.leases += 1;
        Ok(())
    }

    /// Ends it: what is in the engine is a store, durably.
    ///
    /// # Errors
    /// If the revisions do not fit together or can't move so far, or the engine fails.
    pub fn finish(
        mut self,
        auth: &Auth,
        how: &Beginning,
    ) -> Result<(Store, Imported), ImportError> {
        let before = self.newest.main.max(how.compacted).max(State::START.revision);
        let moved = before.checked_add(how.bump).filter(|_| how.bump >= 0);
        let Some(revision) = moved.filter(|revision| *revision <= COUNT_MAX / 2) else {
            let most = COUNT_MAX / 2 - before;
            let why = format!("revision {before} moves by 0 to {most}, and not by {}", how.bump);
            return Err(ImportError::Refused(why));
        };
        let compacted = if how.bump > 0 { revision } else { how.compacted.max(-1) };
        for (row, record) in auth.rows() {
            self.put(Table::Meta, &row, &record)?;
        }
        self.engine.commit(EntryId::ZERO)?;
        self.attach_keys()?;
        let (live, bytes) = self.sum_up()?;
        self.sums.live = live;
        let state = State { revision, compacted, removal: Removal::START, bytes, sums: self.sums };
        state.write(&mut *self.engine)?;
        self.engine.commit(EntryId::ZERO)?;
        let mut store = Store::open(self.engine).map_err(ImportError::Fault)?;
        let membership = store.set_membership(how.entry, &how.membership);
        membership.map_err(ImportError::Fault)?;
        store.commit(how.entry).map_err(ImportError::Fault)?;
        store.flush().map_err(ImportError::Fault)?;
        Ok((store, Imported { revision, compacted, ..self.imported }))
    }

    /// Attaches the keys that live to the leases that they name.
    fn attach_keys(&mut self) -> Result<(), ImportError> {
        let view = self.engine.view();
        let mut last = Bytes::new();
        for row in view.scan(Table::Key, ALL_KEYS) {
            let (row, record) = row?;
            let (prefix, revision) = rows::split_key_row(&row)?;
            // The newest change of a key comes first.
            if prefix == last {
                continue;
            }
            if !rows::is_deletion(&record)? {
                let kv = rows::read_put(&prefix, revision, &record)?;
                if kv.lease != 0 {
                    self.put(Table::LeaseKey, &rows::lease_key_row(kv.lease, &kv.key), &[])?;
                }
            }
            last = prefix;
        }
        self.engine.commit(EntryId::ZERO)?;
        Ok(())
    }

    /// The sum of what lives, and what keys, their history and leases take, of all rows.
    fn sum_up(&self) -> Result<(u128, u64), EngineError> {
        let view = self.engine.view();
        let mut live = LiveRows::default();
        let mut bytes = 0;
        for table in Table::ALL {
            for row in view.scan(table, ALL_KEYS) {
                let (key, value) = row?;
                live.add(table, &key, &value)?;
                if table != Table::Meta {
                    bytes += (key.len() + value.len()) as u64;
                }
            }
        }
        Ok((live.sum(), bytes))
    }

    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), ImportError> {
        self.engine.put(table, key, value)?;
        self.bytes += key.len() + value.len();
        if self.bytes > BATCH_BYTES {
            self.bytes = 0;
            self.engine.commit(EntryId::ZERO)?;
        }
        Ok(())
    }
}
