//! A state machine for tests: remembers every command, and answers how many came before.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::{Buf, BufMut, Bytes};
use quorate_node::{
    Fault, FaultKind, Machine, Piece, RestoreError, Snapshot, SnapshotBytes, SnapshotError,
};
use quorate_raft::EntryId;

/// A command that no member can apply.
pub(crate) const POISON: &[u8] = b"poison";

/// A command at which the machine panics.
pub(crate) const PANIC: &[u8] = b"panic";

/// The size of a piece of a snapshot: small, so that there are several.
const PIECE_BYTES: usize = 1_000;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) last: EntryId,
    membership: Option<Bytes>,
    pub(crate) commands: Vec<Bytes>,
}

/// What is committed is in `visible`; what is applied beyond, in `pending`.
pub(crate) struct Ledger {
    path: PathBuf,
    visible: Arc<Mutex<State>>,
    pending: Vec<Bytes>,
    durable: EntryId,
    commits: u64,
    /// Commits between two writes of the file: what is committed in between is applied again after a
    /// crash, and keeps its place in the log.
    commits_per_write: u64,
    incoming: Vec<u8>,
}

impl State {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.put_u64(self.last.term.0);
        bytes.put_u64(self.last.index.0);
        let membership = self.membership.clone().unwrap_or_default();
        bytes.put_u32(u32::try_from(membership.len()).unwrap());
        bytes.put_slice(&membership);
        for command in &self.commands {
            bytes.put_u32(u32::try_from(command.len()).unwrap());
            bytes.put_slice(command);
        }
        bytes
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let last = EntryId::new(bytes.try_get_u64().ok()?, bytes.try_get_u64().ok()?);
        let length = bytes.try_get_u32().ok()? as usize;
        if length > bytes.len() {
            return None;
        }
        let membership = Some(bytes.copy_to_bytes(length)).filter(|bytes| !bytes.is_empty());
        let mut commands = Vec::new();
        while bytes.has_remaining() {
            let length = bytes.try_get_u32().ok()? as usize;
            if length > bytes.len() {
                return None;
            }
            commands.push(bytes.copy_to_bytes(length));
        }
        Some(Self { last, membership, commands })
    }
}

impl Ledger {
    pub(crate) fn open(path: PathBuf, commits_per_write: u64) -> io::Result<Self> {
        let state = match fs::read(&path) {
            Ok(bytes) => State::decode(&bytes).expect("the file was written whole"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => State::default(),
            Err(error) => return Err(error),
        };
        Ok(Self {
            path,
            durable: state.last,
            visible: Arc::new(Mutex::new(state)),
            pending: Vec::new(),
            commits: 0,
            commits_per_write,
            incoming: Vec::new(),
        })
    }

    pub(crate) fn shared(&self) -> Arc<Mutex<State>> {
        Arc::clone(&self.visible)
    }

    /// Survives the end of a process, not of the machine, which is all that the tests do.
    fn write(&mut self) -> Result<(), Fault> {
        let state = self.visible.lock().unwrap();
        let side = self.path.with_extension("new");
        fs::write(&side, state.encode())
            .and_then(|()| fs::rename(&side, &self.path))
            .map_err(|error| Fault::new(FaultKind::Io, error.to_string()))?;
        self.durable = state.last;
        Ok(())
    }
}

impl Machine for Ledger {
    type Outcome = u64;

    fn applied(&self) -> EntryId {
        self.visible.lock().unwrap().last
    }

    fn durable(&self) -> EntryId {
        self.durable
    }

    fn apply(&mut self, _entry: EntryId, command: &Bytes) -> Result<u64, Fault> {
        if &command[..] == POISON {
            return Err(Fault::new(FaultKind::Io, "the command is poison"));
        }
        assert!(&command[..] != PANIC, "a command that must not be");
        let before = self.visible.lock().unwrap().commands.len() + self.pending.len();
        self.pending.push(command.clone());
        Ok(before as u64)
    }

    fn membership(&self) -> Option<Bytes> {
        self.visible.lock().unwrap().membership.clone()
    }

    fn set_membership(&mut self, _: EntryId, membership: &Bytes) -> Result<(), Fault> {
        self.visible.lock().unwrap().membership = Some(membership.clone());
        Ok(())
    }

    fn commit(&mut self, through: EntryId) -> Result<(), Fault> {
        let mut state = self.visible.lock().unwrap();
        state.commands.append(&mut self.pending);
        state.last = through;
        drop(state);
        self.commits += 1;
        if self.commits.is_multiple_of(self.commits_per_write) { self.write() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Fault> {
        self.write()
    }

    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, Fault> {
        let state = self.visible.lock().unwrap();
        Ok(Box::new(Frozen { last: state.last, bytes: Bytes::from(state.encode()) }))
    }

    fn restore(&mut self, piece: &Piece) -> Result<(), RestoreError> {
        if piece.first {
            self.incoming.clear();
        }
        self.incoming.extend_from_slice(&piece.data);
        if piece.end {
            let state = State::decode(&self.incoming).filter(|state| state.last == piece.last);
            let mut state = state.ok_or_else(|| RestoreError::Rejected("not a ledger".into()))?;
            state.membership = Some(piece.membership.clone());
            *self.visible.lock().unwrap() = state;
            self.write()?;
        }
        Ok(())
    }
}

struct Frozen {
    last: EntryId,
    bytes: Bytes,
}

impl Snapshot for Frozen {
    fn last(&self) -> EntryId {
        self.last
    }

    fn read(&mut self, cursor: &[u8], bytes_max: usize) -> Result<SnapshotBytes, SnapshotError> {
        let start = match cursor.try_into() {
            Ok(at) => usize::try_from(u64::from_be_bytes(at)).unwrap_or(usize::MAX),
            Err(_) if cursor.is_empty() => 0,
            Err(_) => return Err(SnapshotError::Cursor),
        };
        if start > self.bytes.len() {
            return Err(SnapshotError::Cursor);
        }
        let end = self.bytes.len().min(start + bytes_max.min(PIECE_BYTES));
        let next =
            (end < self.bytes.len()).then(|| Bytes::copy_from_slice(&(end as u64).to_be_bytes()));
        Ok(SnapshotBytes { data: self.bytes.slice(start..end), next })
    }
}
