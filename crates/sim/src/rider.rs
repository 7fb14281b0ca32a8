//! A machine that rides along with the store of each member.
//!
//! The world knows one application, the store: its oracle knows of each command of a client that it was
//! committed once, in which order, and that whoever was answered was answered from there. None of that
//! depends on what a machine makes of the commands. So a machine of somebody else needs no world of its own:
//! each value that a client writes carries a command for it, it is given what was committed in the same order
//! as the store, is made durable with it, travels in the same snapshots and is lost with it. What is left to
//! judge is the machine itself (`subject.rs`).
//!
//! ```text
//!   Applier ─► Ridden ─┬─► the store's machine
//!                      └─► Rider: what the values carry
//! ```

use core::fmt;
use std::sync::Arc;

use bytes::{BufMut, Bytes};
use quorate_mvcc::Proposal;
use quorate_node::{
    Fault, FaultKind, Fingerprint, Machine, Piece, RestoreError, Snapshot, SnapshotBytes,
    SnapshotError,
};
use quorate_raft::EntryId;

use crate::chance::Chance;
use crate::engine::{SharedEngine, Traced};
use crate::model::Request;

/// What rides along in a run.
pub(crate) trait Rides: fmt::Debug + Send + Sync {
    /// A command for it.
    fn draw(&self, chance: &mut Chance) -> Bytes;

    /// One of a member, with an empty state.
    fn board(&self) -> Result<Box<dyn Rider>, Fault>;
}

/// What rides along with the machine of one process. Its faults end the run.
pub(crate) trait Rider: Send {
    /// The command that an entry carries.
    fn apply(&mut self, entry: EntryId, command: &Bytes) -> Result<(), Fault>;

    /// See [`Machine::membership`].
    fn membership(&self) -> Option<Bytes>;

    /// See [`Machine::set_membership`].
    fn set_membership(&mut self, entry: EntryId, membership: &Bytes) -> Result<(), Fault>;

    /// See [`Machine::commit`].
    fn commit(&mut self, through: EntryId) -> Result<(), Fault>;

    /// See [`Machine::snapshot`].
    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, Fault>;

    /// A piece of what another one read.
    fn restore(&mut self, piece: &Piece) -> Result<(), Fault>;
}

/// Puts commands into values.
#[derive(Debug)]
pub(crate) struct Cargo {
    rides: Arc<dyn Rides>,
    chance: Chance,
}

impl Cargo {
    pub(crate) fn new(rides: Arc<dyn Rides>, chance: Chance) -> Self {
        Self { rides, chance }
    }

    /// Appends a command, and behind it its length.
    pub(crate) fn load(&mut self, value: &mut Vec<u8>) {
        let command = self.rides.draw(&mut self.chance);
        value.extend_from_slice(&command);
        value.put_u32(u32::try_from(command.len()).expect("a command is small"));
    }
}

/// What a command of the store carries. One that writes no value carries nothing.
fn carried(command: &Bytes) -> Option<Bytes> {
    let request = Request::of_command(&Proposal::decode(command).ok()?.command)?;
    let (Request::Put { value, .. } | Request::Swap { value, .. }) = request else { return None };
    let (rest, length) = value.split_last_chunk::<4>()?;
    let begins = rest.len().checked_sub(u32::from_be_bytes(*length) as usize)?;
    Some(value.slice(begins..rest.len()))
}

/// What a rider has made durable: its snapshot, as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Saved {
    last: EntryId,
    membership: Option<Bytes>,
    pieces: Arc<[Bytes]>,
}

impl Saved {
    fn of(
        snapshot: &mut dyn Snapshot,
        membership: Option<Bytes>,
        piece_bytes_max: usize,
    ) -> Result<Self, Fault> {
        let (mut pieces, mut cursor) = (Vec::new(), Bytes::new());
        loop {
            let read = snapshot.read(&cursor, piece_bytes_max).map_err(|error| match error {
                SnapshotError::Fault(fault) => fault,
                SnapshotError::Cursor => wrong(format!("a snapshot refuses its cursor {cursor:?}")),
            })?;
            pieces.push(read.data);
            match read.next {
                Some(next) => cursor = next,
                None => {
                    let last = snapshot.last();
                    return Ok(Self { last, membership, pieces: pieces.into() });
                }
            }
        }
    }

    fn give_to(&self, rider: &mut dyn Rider) -> Result<(), Fault> {
        let end = self.pieces.len() - 1;
        self.pieces.iter().enumerate().try_for_each(|(number, data)| {
            let (first, end) = (number == 0, number == end);
            let membership = self.membership.clone().unwrap_or_default();
            rider.restore(&Piece { last: self.last, membership, first, data: data.clone(), end })
        })
    }
}

/// A machine that is not what it should be.
pub(crate) fn wrong(what: impl Into<String>) -> Fault {
    Fault::new(FaultKind::Diverged, what)
}

/// The machine of a process, and what rides along with it.
struct Ridden {
    below: Box<dyn Machine<Outcome = Traced>>,
    rider: Box<dyn Rider>,
    engine: SharedEngine,
    piece_bytes_max: usize,
    /// The rider's last piece of a snapshot, until the store has all of its own: both have the new state, or
    /// both the old one.
    held: Option<Piece>,
    /// Whether the store was given any of its own.
    below_began: bool,
}

/// Lets a machine ride along with that of a process which has just started.
pub(crate) fn mount(
    below: Box<dyn Machine<Outcome = Traced>>,
    rides: &dyn Rides,
    engine: &SharedEngine,
    piece_bytes_max: usize,
) -> Result<Box<dyn Machine<Outcome = Traced>>, Fault> {
    let mut rider = rides.board()?;
    if let Some(saved) = engine.saved() {
        saved.give_to(&mut *rider)?;
    }
    same_members(&*rider, &*below)?;
    let engine = engine.clone();
    let (held, below_began) = (None, false);
    Ok(Box::new(Ridden { below, rider, engine, piece_bytes_max, held, below_began }))
}

impl Ridden {
    fn save(&mut self) -> Result<(), Fault> {
        same_members(&*self.rider, &*self.below)?;
        let membership = self.below.membership();
        let saved = Saved::of(&mut *self.rider.snapshot()?, membership, self.piece_bytes_max)?;
        let durable = self.below.durable();
        if saved.last != durable {
            return Err(wrong(format!(
                "a snapshot at {durable} says that it ends at {}",
                saved.last
            )));
        }
        self.engine.save(saved);
        Ok(())
    }
}

/// Whether a rider keeps the members that it was given.
fn same_members(rider: &dyn Rider, below: &dyn Machine<Outcome = Traced>) -> Result<(), Fault> {
    let none = |members: Option<Bytes>| members.unwrap_or_default();
    if none(rider.membership()) == none(below.membership()) {
        return Ok(());
    }
    Err(wrong(format!("at {} it does not keep the members of its group", below.applied())))
}

impl Machine for Ridden {
    type Outcome = Traced;

    fn applied(&self) -> EntryId {
        self.below.applied()
    }

    fn durable(&self) -> EntryId {
        self.below.durable()
    }

    fn apply(&mut self, entry: EntryId, command: &Bytes) -> Result<Traced, Fault> {
        if let Some(carried) = carried(command) {
            self.rider.apply(entry, &carried)?;
        }
        self.below.apply(entry, command)
    }

    fn membership(&self) -> Option<Bytes> {
        self.below.membership()
    }

    fn set_membership(&mut self, entry: EntryId, membership: &Bytes) -> Result<(), Fault> {
        self.rider.set_membership(entry, membership)?;
        self.below.set_membership(entry, membership)
    }

    fn commit(&mut self, through: EntryId) -> Result<(), Fault> {
        self.rider.commit(through)?;
        self.below.commit(through)
    }

    fn flush(&mut self) -> Result<(), Fault> {
        self.below.flush()?;
        self.save()
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        self.below.fingerprint()
    }

    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, Fault> {
        let (rider, below) = (self.rider.snapshot()?, self.below.snapshot()?);
        if rider.last() != below.last() {
            let (says, last) = (rider.last(), below.last());
            return Err(wrong(format!("a snapshot at {last} says that it ends at {says}")));
        }
        Ok(Box::new(Both { rider, below, piece_bytes_max: self.piece_bytes_max }))
    }

    fn restore(&mut self, piece: &Piece) -> Result<(), RestoreError> {
        let Some((&whose, _)) = piece.data.split_first() else {
            return Err(RestoreError::Rejected("a piece of nobody".into()));
        };
        let data = piece.data.slice(1..);
        match whose {
            RIDER => {
                let piece = Piece { data, end: false, ..piece.clone() };
                Ok(self.rider.restore(&piece)?)
            }
            RIDER_ENDS => {
                self.held = Some(Piece { data, end: true, ..piece.clone() });
                self.below_began = false;
                Ok(())
            }
            _ => {
                let first = !std::mem::replace(&mut self.below_began, true);
                if let Some(held) = self.held.take_if(|_| piece.end) {
                    self.rider.restore(&held)?;
                }
                self.below.restore(&Piece { data, first, ..piece.clone() })?;
                if piece.end { Ok(self.save()?) } else { Ok(()) }
            }
        }
    }
}

/// A piece of a rider's snapshot, its last one, and one of the store's.
const RIDER: u8 = 0;
const RIDER_ENDS: u8 = 1;
const BELOW: u8 = 2;

/// Both snapshots, one after the other; each piece and each cursor begins with whose it is.
struct Both {
    rider: Box<dyn Snapshot>,
    below: Box<dyn Snapshot>,
    piece_bytes_max: usize,
}

fn tagged(tag: u8, rest: &[u8]) -> Bytes {
    [&[tag], rest].concat().into()
}

impl Snapshot for Both {
    fn last(&self) -> EntryId {
        self.below.last()
    }

    fn read(&mut self, cursor: &[u8], bytes_max: usize) -> Result<SnapshotBytes, SnapshotError> {
        let bytes_max = bytes_max.min(self.piece_bytes_max);
        if let Some((&BELOW, cursor)) = cursor.split_first() {
            let SnapshotBytes { data, next } = self.below.read(cursor, bytes_max)?;
            let next = next.map(|next| tagged(BELOW, &next));
            return Ok(SnapshotBytes { data: tagged(BELOW, &data), next });
        }
        let cursor = cursor.split_first().map_or(&[][..], |(_, cursor)| cursor);
        let SnapshotBytes { data, next } = self.rider.read(cursor, bytes_max)?;
        Ok(match next {
            Some(next) => {
                SnapshotBytes { data: tagged(RIDER, &data), next: Some(tagged(RIDER, &next)) }
            }
            None => {
                SnapshotBytes { data: tagged(RIDER_ENDS, &data), next: Some(tagged(BELOW, &[])) }
            }
        })
    }
}
