//! The state of a whole store as a stream of checked pieces, and back.
//!
//! ```text
//! piece   = format (1 byte) · checksum (4) · rows
//! row     = table (1) · key · value           (each with its length)
//! the end = 0xff · number of all rows         (behind the last row of the last piece)
//! ```
//!
//! A piece's checksum continues that of the piece before, so the last one speaks for the whole
//! content, and a piece that is damaged, lost, repeated or of another transfer is noticed as it
//! comes. At the end, what lives in the rows is summed up and held against the sum that the sender kept
//! with each command (`fingerprint.rs`): so they are what the commands left, and not only what the
//! sender read. What a reader needs to go on is in the cursor: a transfer can be resumed at any piece,
//! and several can share a snapshot.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Bound;

use bytes::Bytes;
use quorate_node::{Piece, RestoreError, Snapshot, SnapshotBytes, SnapshotError};
use quorate_planted::planted;
use quorate_raft::EntryId;

use crate::alarm;
use crate::auth;
use crate::codec::{self, Malformed, Source};
use crate::command;
use crate::engine::{Engine, EngineError, ROW_KEY_BYTES_MAX, Table, View};
use crate::fingerprint::LiveRows;
use crate::hash::crc32c;
use crate::revision::COUNT_MAX;
use crate::rows;
use crate::store::{State, fault};

const FORMAT: u8 = 1;
const END: u8 = 0xff;
/// Format and checksum.
const HEADER: usize = 5;

/// A frozen store, read in pieces.
pub(crate) struct StoreSnapshot {
    view: View,
    last: EntryId,
}

/// Where a piece begins.
struct Cursor {
    table: Table,
    /// After this key, or at the beginning of the table.
    after: Option<Bytes>,
    /// The checksum of the pieces before.
    checksum: u32,
    /// The rows in the pieces before.
    rows: u64,
}

impl Cursor {
    const START: Self = Self { table: Table::ALL[0], after: None, checksum: 0, rows: 0 };

    fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        out.push(self.table as u8);
        codec::put_u64(&mut out, u64::from(self.checksum));
        codec::put_u64(&mut out, self.rows);
        codec::put_flags(&mut out, [self.after.is_some()]);
        out.extend_from_slice(self.after.as_deref().unwrap_or_default());
        out.into()
    }

    /// The longest cursor: the key of a row, and the numbers before it.
    const BYTES_MAX: usize = ROW_KEY_BYTES_MAX + 32;

    /// Reads what [`Self::encode`] wrote, or what a follower made up.
    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.is_empty() {
            return Ok(Self::START);
        }
        if bytes.len() > Self::BYTES_MAX {
            return Err(Malformed);
        }
        let mut source = Source::new(Bytes::copy_from_slice(bytes));
        let table = Table::try_from(source.u8()?).map_err(|_| Malformed)?;
        let checksum = source.u64()?.try_into().map_err(|_| Malformed)?;
        let rows = source.u64()?;
        if rows > COUNT_MAX.unsigned_abs() {
            return Err(Malformed);
        }
        let [after] = source.flags()?;
        Ok(Self { table, after: after.then(|| source.remainder()), checksum, rows })
    }
}

impl StoreSnapshot {
    pub(crate) fn new(view: View, last: EntryId) -> Self {
        Self { view, last }
    }

    /// Appends rows from the cursor on and moves it. Says whether these were the last.
    fn read_rows(
        &self,
        cursor: &mut Cursor,
        out: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<bool, EngineError> {
        for table in Table::ALL.into_iter().skip(cursor.table as usize) {
            if table != cursor.table {
                (cursor.table, cursor.after) = (table, None);
            }
            let after = cursor.after.clone();
            let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            for row in self.view.scan(table, (from, Bound::Unbounded)) {
                let (key, value) = row?;
                if is_membership(table, &key) {
                    // It comes with the pieces.
                    continue;
                }
                out.push(table as u8);
                codec::put_bytes(out, &key);
                codec::put_bytes(out, &value);
                cursor.rows += 1;
                cursor.after = Some(key);
                if out.len() >= bytes_max {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

impl Snapshot for StoreSnapshot {
    fn last(&self) -> EntryId {
        self.last
    }

    fn read(&mut self, cursor: &[u8], bytes_max: usize) -> Result<SnapshotBytes, SnapshotError> {
        let mut cursor = Cursor::decode(cursor).map_err(|Malformed| SnapshotError::Cursor)?;
        let mut data = Vec::with_capacity(bytes_max.min(1 << 20) + HEADER);
        data.extend_from_slice(&[0; HEADER]);
        let ended = self.read_rows(&mut cursor, &mut data, bytes_max).map_err(fault)?;
        if ended {
            data.push(END);
            codec::put_u64(&mut data, cursor.rows);
        }
        cursor.checksum = crc32c(cursor.checksum, &data[HEADER..]);
        data[0] = FORMAT;
        data[1..HEADER].copy_from_slice(&cursor.checksum.to_be_bytes());
        Ok(SnapshotBytes { data: data.into(), next: (!ended).then(|| cursor.encode()) })
    }
}

/// A snapshot that is being received.
pub(crate) struct Restore {
    last: EntryId,
    checksum: u32,
    rows: u64,
    /// The table and key of the last row.
    row: Option<(Table, Bytes)>,
    /// The state's revision. Its row comes before those of keys.
    revision: i64,
    /// What lives in the rows so far, and what the state says that lives in all of them.
    live: LiveRows,
    live_by_state: u128,
    /// The same of what the rows take.
    bytes: u64,
    bytes_by_state: u64,
    ended: bool,
}

impl Restore {
    pub(crate) fn begin(piece: &Piece, engine: &mut dyn Engine) -> Result<Self, EngineError> {
        engine.replace_begin()?;
        engine.replace_put(Table::Meta, State::MEMBERSHIP, &piece.membership)?;
        Ok(Self {
            last: piece.last,
            checksum: 0,
            rows: 0,
            row: Some((Table::Meta, Bytes::from_static(State::MEMBERSHIP))),
            revision: State::START.revision,
            live: LiveRows::default(),
            live_by_state: State::START.sums.live,
            bytes: 0,
            bytes_by_state: State::START.bytes,
            ended: false,
        })
    }

    /// Takes a piece. After an error the transfer must be given up.
    pub(crate) fn take(
        &mut self,
        piece: &Piece,
        engine: &mut dyn Engine,
    ) -> Result<(), RestoreError> {
        let body = self.check(piece)?;
        let mut source = Source::new(body);
        while !source.is_empty() {
            if self.ended {
                return Err(rejected("there is something behind the end"));
            }
            let table = source.u8().map_err(malformed)?;
            if table == END {
                if source.u64().map_err(malformed)? != self.rows {
                    return Err(rejected("the number of rows is wrong"));
                }
                if self.live.sum() != self.live_by_state || self.bytes != self.bytes_by_state {
                    return Err(rejected("the rows are not those of the state"));
                }
                self.ended = true;
                continue;
            }
            let table = Table::try_from(table).map_err(|_| rejected("there is no such table"))?;
            let key = source.bytes().map_err(malformed)?;
            let value = source.bytes().map_err(malformed)?;
            let newest = match check_row(table, &key, &value) {
                Ok(Named::State(state)) => {
                    self.revision = self.revision.max(state.revision);
                    self.live_by_state = state.sums.live;
                    self.bytes_by_state = state.bytes;
                    state.revision
                }
                Ok(Named::Revision(revision)) => revision,
                Ok(Named::Nothing) => 0,
                Err(error) => return Err(rejected(&format!("{error}"))),
            };
            if newest > self.revision {
                return Err(rejected("a change is of a revision that the state does not know"));
            }
            self.live.add(table, &key, &value).map_err(|error| rejected(&format!("{error}")))?;
            if table != Table::Meta {
                self.bytes += (key.len() + value.len()) as u64;
            }
            let row = (table, key);
            if self.row.as_ref().is_some_and(|last| *last >= row) {
                return Err(rejected("the rows are out of order"));
            }
            engine.replace_put(table, &row.1, &value).map_err(given_up)?;
            self.rows += 1;
            self.row = Some(row);
        }
        if self.ended == piece.end { Ok(()) } else { Err(rejected("the end is not where it is")) }
    }

    /// The rows of a piece, if it is the right one and undamaged.
    fn check(&mut self, piece: &Piece) -> Result<Bytes, RestoreError> {
        if piece.last != self.last {
            return Err(rejected("the piece is of another snapshot"));
        }
        if piece.data.len() < HEADER || piece.data[0] != FORMAT {
            return Err(rejected("the format is unknown"));
        }
        let body = piece.data.slice(HEADER..);
        self.checksum = crc32c(self.checksum, &body);
        let is_whole = piece.data[1..HEADER] == self.checksum.to_be_bytes();
        if !is_whole && !planted!(SnapshotChecksumIgnored) {
            return Err(rejected("the checksum is wrong"));
        }
        Ok(body)
    }

    /// Puts what was received in the place of what is there.
    pub(crate) fn finish(self, engine: &mut dyn Engine) -> Result<(), RestoreError> {
        assert!(self.ended, "the last piece was taken");
        engine.replace_finish(self.last).map_err(given_up)
    }
}

fn is_membership(table: Table, key: &[u8]) -> bool {
    table == Table::Meta && key == State::MEMBERSHIP
}

/// What a row names.
enum Named {
    State(State),
    /// The revision that it is of.
    Revision(i64),
    Nothing,
}

/// Whether a row is one that this version writes, so that it is refused here and does not end the
/// member later: by a number that leaves no room for the next, or a key whose own rows do not fit.
fn check_row(table: Table, key: &Bytes, value: &Bytes) -> Result<Named, EngineError> {
    let name = |name: &str| rows::damaged(name, &key[..key.len().min(64)]);
    if key.len() > ROW_KEY_BYTES_MAX {
        return Err(name("of any kind"));
    }
    match table {
        Table::Meta if *key == State::ROW => {
            let state =
                State::decode(&mut Source::new(value.clone())).map_err(|Malformed| name("Meta"))?;
            check_count(state.revision)?;
            return Ok(Named::State(state));
        }
        Table::Meta if auth::row::is_one(key) => auth::row::check(key, value)?,
        Table::Meta if alarm::is_one(key) => drop(alarm::decode(key, value)?),
        Table::Meta => {
            command::decode_member(&mut Source::new(value.clone()))
                .map_err(|Malformed| name("Meta"))?;
        }
        Table::Key => {
            let (prefix, revision) = rows::split_key_row(key)?;
            check_count(revision.main.max(revision.sub))?;
            if rows::is_deletion(value)? {
                rows::check_key(&rows::key_of_prefix(&prefix)?)?;
            } else {
                let kv = rows::read_put(&prefix, revision, value)?;
                rows::check_key(&kv.key)?;
                check_count(kv.version)?;
            }
            return Ok(Named::Revision(revision.main));
        }
        Table::Revision => {
            let change = rows::read_change(key, value)?;
            rows::check_key(&change.key)?;
            check_count(change.revision.main.max(change.revision.sub))?;
            return Ok(Named::Revision(change.revision.main));
        }
        Table::Lease => {
            rows::read_lease(key, value)?;
        }
        Table::LeaseKey => {
            if key.len() <= rows::lease_row(0).len() || !value.is_empty() {
                return Err(name("LeaseKey"));
            }
            rows::check_key(&key[rows::lease_row(0).len()..])?;
        }
    }
    Ok(Named::Nothing)
}

/// Refuses a number so large that what follows it could not be read again.
fn check_count(count: i64) -> Result<(), EngineError> {
    if count <= COUNT_MAX / 2 {
        return Ok(());
    }
    Err(EngineError::Corrupt(format!("{count} is more than ever happened")))
}

/// A snapshot for which there is no room is given up, and the member goes on with what it has.
pub(crate) fn given_up(error: EngineError) -> RestoreError {
    match error {
        EngineError::Full(_) => rejected(&format!("{error}")),
        error => RestoreError::Fault(fault(error)),
    }
}

fn malformed(Malformed: Malformed) -> RestoreError {
    rejected("a row ends too early")
}

fn rejected(why: &str) -> RestoreError {
    RestoreError::Rejected(String::from(why))
}
