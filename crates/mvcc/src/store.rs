//! The store: an engine with the data model in it.
//!
//! One caller drives it through [`quorate_node::Machine`] (in `machine.rs`). After each commit it
//! hands out a [`ReadState`] for readers on other threads, and what happened for watchers.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use quorate_node::{Fault, FaultKind};
use quorate_raft::EntryId;

use crate::alarm::Alarms;
use crate::apply::{Changes, EVENT_BYTES_MAX};
use crate::auth::{Auth, Issued};
use crate::codec::{self, Malformed, Source};
use crate::command;
use crate::compact::Removal;
use crate::engine::{Engine, EngineError, EngineSize, Reader, Table};
use crate::fingerprint::Sums;
use crate::instalment::{self, INSTALMENT_BYTES};
use crate::read::ReadState;
use crate::request::MemberAttributes;
use crate::response::{LeaseChange, RevisionEvents};
use crate::revision::COUNT_MAX;
use crate::rows;
use crate::snapshot::Restore;

/// The facts about the store as a whole. Everything else is in rows only.
///
/// In `Table::Meta`: `state` (the five fields), `member` followed by an id for each member's attributes, users,
/// roles and rights ([`crate::auth`]), alarms ([`crate::alarm`]), and `group`, what the group that replicates the store keeps in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// The newest revision; 1 when empty. Never decreases.
    pub(crate) revision: i64,
    /// The oldest readable revision, -1 before the first compaction. Never above `revision`.
    pub(crate) compacted: i64,
    /// How far the space of what was compacted is back.
    pub(crate) removal: Removal,
    /// What keys, their history and leases take: the bytes of all rows but those of `Table::Meta`. Differs among
    /// members that are not equally far with a removal.
    pub(crate) bytes: u64,
    /// The sums of which the fingerprint is made.
    pub(crate) sums: Sums,
}

impl State {
    /// Of an empty store: revision 1, so that the first change has 2 (etcd's rule).
    pub(crate) const START: Self =
        Self { revision: 1, compacted: -1, removal: Removal::START, bytes: 0, sums: Sums::ZERO };

    pub(crate) const ROW: &'static [u8] = b"state";
    pub(crate) const MEMBER: &'static [u8] = b"member";
    /// [`Machine::membership`](quorate_node::Machine::membership). The first row of its table.
    pub(crate) const MEMBERSHIP: &'static [u8] = b"group";

    /// The layout of the rows as a whole. A store of another one is refused.
    const FORMAT: u8 = 3;

    pub(crate) fn load(reader: &dyn Reader) -> Result<Self, EngineError> {
        match reader.get(Table::Meta, Self::ROW)? {
            None => Ok(Self::START),
            Some(record) if record.first().is_some_and(|format| *format != Self::FORMAT) => {
                Err(EngineError::Version(format!("its rows have the format {}", record[0])))
            }
            Some(record) => Self::decode(&mut Source::new(record.clone()))
                .map_err(|Malformed| rows::damaged("Meta", &record)),
        }
    }

    /// Puts the state into its row. The state that a store begins with has none, also when a batch comes back to it:
    /// rows must not tell how commands were batched.
    pub(crate) fn write(&self, engine: &mut dyn Engine) -> Result<(), EngineError> {
        if *self == Self::START {
            engine.delete(Table::Meta, Self::ROW)
        } else {
            engine.put(Table::Meta, Self::ROW, &self.encode())
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.push(Self::FORMAT);
        codec::put_i64(&mut out, self.revision);
        codec::put_i64(&mut out, self.compacted);
        out.extend(self.removal.encode());
        out.extend_from_slice(&self.bytes.to_be_bytes());
        self.sums.encode(&mut out);
        out
    }

    pub(crate) fn decode(source: &mut Source) -> Result<Self, Malformed> {
        if source.u8()? != Self::FORMAT {
            return Err(Malformed);
        }
        let (revision, compacted) = (source.i64()?, source.i64()?);
        let removal = Removal::decode(source)?;
        let bytes = source.fixed_u64()?;
        let sums = Sums::decode(source)?;
        source.end()?;
        let in_order = removal.done <= compacted && compacted <= revision;
        if !(1..=COUNT_MAX).contains(&revision) || compacted < -1 || !in_order {
            return Err(Malformed);
        }
        Ok(Self { revision, compacted, removal, bytes, sums })
    }

    pub(crate) fn member_row(id: u64) -> Vec<u8> {
        [Self::MEMBER, &id.to_be_bytes()].concat()
    }

    pub(crate) fn member_record(member: &MemberAttributes) -> Vec<u8> {
        let mut out = Vec::new();
        command::encode_member(&mut out, member);
        out
    }

    /// The attributes of all members that told theirs.
    pub(crate) fn members(reader: &dyn Reader) -> Result<Vec<MemberAttributes>, EngineError> {
        let all = crate::key::KeyRange::prefix(Bytes::from_static(Self::MEMBER));
        let bounds = (core::ops::Bound::Included(&all.first()[..]), all.end());
        let rows = reader.scan(Table::Meta, bounds);
        rows.map(|row| {
            let (row, record) = row?;
            command::decode_member(&mut Source::new(record))
                .map_err(|Malformed| rows::damaged("Meta", &row))
        })
        .collect()
    }
}

/// What the group that replicates a store keeps in it of its members
/// ([`Machine::membership`](quorate_node::Machine::membership)), without opening it.
///
/// # Errors
/// If the engine can't be read.
pub fn membership(engine: &dyn Reader) -> Result<Option<Bytes>, EngineError> {
    engine.get(Table::Meta, State::MEMBERSHIP)
}

/// etcd's data model over an engine.
pub struct Store {
    pub(crate) engine: Box<dyn Engine>,
    /// As changed so far.
    pub(crate) state: State,
    /// As committed.
    pub(crate) committed: State,
    /// Users, roles and rights, as changed so far.
    pub(crate) auth: Arc<Auth>,
    /// As committed.
    pub(crate) committed_auth: Arc<Auth>,
    /// The alarms, as changed so far.
    pub(crate) alarms: Arc<Alarms>,
    /// As committed.
    pub(crate) committed_alarms: Arc<Alarms>,
    /// The last entry applied, committed or not.
    pub(crate) applied: EntryId,
    /// What is in [`State::MEMBERSHIP`].
    pub(crate) membership: Option<Bytes>,
    /// Of the batch that is being applied.
    pub(crate) batch: Batch,
    /// Of the last batch that was committed.
    pub(crate) published: Batch,
    /// The snapshot that is being received.
    pub(crate) restore: Option<Restore>,
    /// See [`Store::with_instalments`].
    pub(crate) instalment_bytes: usize,
}

/// What a batch of commands did.
#[derive(Default)]
pub(crate) struct Batch {
    /// How many keys were changed.
    pub(crate) changes: usize,
    /// What happened, without a gap up to the last revision; or nothing of it, if there is too much
    /// to keep.
    pub(crate) events: Vec<RevisionEvents>,
    /// The memory that the events take.
    event_bytes: usize,
    pub(crate) leases: Vec<LeaseChange>,
    pub(crate) issued: Vec<Issued>,
    /// Whether the engine holds instalments of it.
    pub(crate) has_instalments: bool,
}

impl Batch {
    /// Adds what a command did, which led to a revision if it changed anything.
    pub(crate) fn add(&mut self, revision: i64, changes: Changes) {
        let Changes { count, events, event_bytes, leases, issued, sums: _, bytes: _, room: _ } =
            changes;
        self.leases.extend(leases);
        self.issued.extend(issued);
        self.changes += count;
        self.event_bytes = self.event_bytes.saturating_add(event_bytes);
        if self.event_bytes > EVENT_BYTES_MAX {
            // Watchers go to the history for what is missing, and so for all that came before it.
            self.events.clear();
            self.event_bytes = if events.is_empty() { 0 } else { event_bytes };
        }
        if !events.is_empty() {
            self.events.push(RevisionEvents { revision, events: events.into() });
        }
    }
}

impl Store {
    /// Opens the store that an engine holds, or begins an empty one.
    ///
    /// # Errors
    /// If the engine can't be read, or holds something else.
    pub fn open(mut engine: Box<dyn Engine>) -> Result<Self, Fault> {
        let state = State::load(&*engine).map_err(fault)?;
        instalment::take_back(&mut *engine, &state).map_err(fault)?;
        let applied = engine.applied();
        let membership = membership(&*engine).map_err(fault)?;
        let auth = Arc::new(Auth::load(&*engine).map_err(fault)?);
        let alarms = Arc::new(Alarms::load(&*engine).map_err(fault)?);
        Ok(Self {
            engine,
            committed_auth: auth.clone(),
            auth,
            committed_alarms: alarms.clone(),
            alarms,
            membership,
            state,
            committed: state,
            applied,
            batch: Batch::default(),
            published: Batch::default(),
            restore: None,
            instalment_bytes: INSTALMENT_BYTES,
        })
    }

    /// Lets a command commit to the engine whenever it has written so many bytes, and not only some
    /// megabytes: so that tests see the middle of one.
    #[must_use]
    pub fn with_instalments(mut self, bytes: usize) -> Self {
        self.instalment_bytes = bytes;
        self
    }

    /// Gives the engine back. What was not committed is still in it, and is gone once it is opened
    /// again.
    #[must_use]
    pub fn into_engine(self) -> Box<dyn Engine> {
        self.engine
    }

    /// The committed state, for readers on any thread. Costs nothing.
    ///
    /// # Panics
    /// In the middle of a batch that is larger than memory should hold.
    #[must_use]
    pub fn read_state(&self) -> ReadState {
        self.assert_whole();
        let (auth, alarms) = (self.committed_auth.clone(), self.committed_alarms.clone());
        ReadState::new(self.engine.view(), self.committed, auth, alarms, self.engine.applied())
    }

    /// What the last commit changed, by revision: for watchers. What is not taken before the next
    /// commit is dropped; watchers then find it in the history.
    pub fn take_events(&mut self) -> Vec<RevisionEvents> {
        core::mem::take(&mut self.published.events)
    }

    /// The leases that came and went with the last commit: for the [`crate::Lessor`]. As with
    /// [`Store::take_events`], the next commit drops what was not taken.
    pub fn take_lease_changes(&mut self) -> Vec<LeaseChange> {
        core::mem::take(&mut self.published.leases)
    }

    /// The tokens that were given out with the last commit. As with [`Store::take_events`], the next commit drops what
    /// was not taken.
    pub fn take_issued(&mut self) -> Vec<Issued> {
        core::mem::take(&mut self.published.issued)
    }

    /// Takes space of compacted history back, looking at no more than `changes_max` changes. Every
    /// commit does some of it by itself; this is for times without commits. Says whether there is
    /// more to do. To be called between a commit and the next command.
    ///
    /// # Errors
    /// If the engine has failed.
    pub fn compact_some(&mut self, changes_max: usize) -> Result<bool, Fault> {
        assert_eq!(self.state, self.committed, "space is taken back between batches");
        if !self.state.has_removals() {
            return Ok(false);
        }
        self.state.remove_some(&mut *self.engine, changes_max).map_err(fault)?;
        self.write_state(self.engine.applied()).map_err(fault)?;
        Ok(self.state.has_removals())
    }

    /// Begins to give back whatever space there is to win, on a disk that is nearly full. To be called
    /// between batches.
    ///
    /// # Errors
    /// If the engine has failed.
    pub fn reclaim(&mut self) -> Result<(), Fault> {
        self.engine.reclaim().map_err(fault)
    }

    /// How much the store takes.
    #[must_use]
    pub fn size(&self) -> EngineSize {
        self.engine.size()
    }

    /// What the engine has committed ends with a batch.
    pub(crate) fn assert_whole(&self) {
        assert!(!self.batch.has_instalments, "states are taken between batches");
    }

    /// Ends the engine's batch, with the state in it if that has changed.
    pub(crate) fn write_state(&mut self, through: EntryId) -> Result<(), EngineError> {
        if self.state != self.committed {
            self.state.write(&mut *self.engine)?;
        }
        self.engine.commit(through)?;
        self.committed = self.state;
        self.committed_auth.clone_from(&self.auth);
        self.committed_alarms.clone_from(&self.alarms);
        Ok(())
    }
}

/// An engine that failed ends the member.
pub(crate) fn fault(error: EngineError) -> Fault {
    Fault::from(error)
}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        Self::new(kind_of(&error), format!("{error}"))
    }
}

fn kind_of(error: &EngineError) -> FaultKind {
    match error {
        EngineError::Corrupt(_) => FaultKind::Damaged,
        EngineError::Full(_) => FaultKind::Full,
        EngineError::Io(_) => FaultKind::Io,
        EngineError::Version(_) => FaultKind::Version,
    }
}
