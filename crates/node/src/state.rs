//! A state that is small enough to be written whole: the shortest way to a [`Machine`].
//!
//! Whoever implements [`State`] says what a command does, and how all of the state is written down and
//! read back. [`Kept`] makes a machine of that, which writes the whole state where a [`Keep`] keeps it. A
//! state that is too large for that, or has a storage of its own, implements [`Machine`] itself.
//!
//! ```text
//! image    = format (4 bytes) · term (8) · index (8) · length (4) · members · state · checksum (8)
//! snapshot = an image, in pieces
//! ```
//!
//! The position stands in the same image as the state: no command is ever applied twice to it. So do the members of
//! the group, which are nobody's but the group's ([`Machine::membership`]); none are no bytes.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;

use bytes::{Buf as _, BufMut as _, Bytes};
use quorate_raft::{EntryId, Index, Term};

use crate::machine::{
    Fault, FaultKind, Fingerprint, Machine, Piece, RestoreError, Snapshot, SnapshotBytes,
    SnapshotError,
};

/// A deterministic state that can be written whole. Its `Default` is the state before the first command,
/// the same on every member.
///
/// Every member applies the same commands in the same order and must come to the same state and the same
/// outcomes, so [`State::apply`] is **a function of the state and the command alone**: no clock, no
/// randomness, no environment, no order of a hash map.
pub trait State: Default + Send + 'static {
    /// What the proposer of a command gets back.
    type Outcome: Send + 'static;

    /// Carries out a command. One that can't be carried out, or makes no sense, has an outcome too: it is
    /// in the log, and every member meets it.
    fn apply(&mut self, command: &[u8]) -> Self::Outcome;

    /// The whole state as bytes. All that [`State::apply`] depends on has to be in it.
    fn snapshot(&self) -> Vec<u8>;

    /// The state of which these bytes are the [`State::snapshot`]; nothing if they are of none that this
    /// version of the program knows.
    fn restore(snapshot: &[u8]) -> Option<Self>;

    /// See [`Machine::fingerprint`]: must cost next to nothing, so it is kept up to date by `apply`.
    fn fingerprint(&self) -> Option<Fingerprint> {
        None
    }
}

/// Where an image is kept.
pub trait Keep: Send {
    /// Keeps this image durably, in place of the one before. After a crash there is the one or the other.
    ///
    /// # Errors
    /// If that can't be had. The member stops.
    fn keep(&mut self, image: &[u8]) -> Result<(), Fault>;
}

/// Tells an image of this format.
const FORMAT: [u8; 4] = *b"QST1";
/// What stands before and behind the state.
const HEADER_BYTES: usize = 24;
const CHECKSUM_BYTES: usize = 8;

/// A [`State`] as a [`Machine`]. The state itself is found by dereference.
///
/// It is written whole when much was applied since the last time, and before an orderly end; in between, the
/// log has what it lacks. While it is written or a snapshot is taken, nothing is applied: a state of some
/// megabytes costs a pause of some milliseconds.
pub struct Kept<S> {
    state: S,
    applied: EntryId,
    durable: EntryId,
    membership: Option<Bytes>,
    keep: Box<dyn Keep>,
    /// What came of a snapshot under way.
    incoming: Vec<u8>,
}

impl<S: State> Kept<S> {
    /// The state of this image, or the empty one, to be kept here from now on.
    ///
    /// # Errors
    /// [`FaultKind::Damaged`] if the image is not what was written, [`FaultKind::Version`] if it is, and
    /// this program can't read it.
    pub fn open(image: Option<&[u8]>, keep: Box<dyn Keep>) -> Result<Self, Fault> {
        let Image { applied, membership, state } =
            image.map_or_else(|| Ok(Image::default()), decode)?;
        Ok(Self { state, applied, durable: applied, membership, keep, incoming: Vec::new() })
    }

    fn image(&self) -> Vec<u8> {
        image(self.applied, self.membership.as_deref().unwrap_or_default(), &self.state)
    }
}

pub(crate) fn image(applied: EntryId, members: &[u8], state: &impl State) -> Vec<u8> {
    let state = state.snapshot();
    let length = HEADER_BYTES + members.len() + state.len() + CHECKSUM_BYTES;
    let mut image = Vec::with_capacity(length);
    image.put_slice(&FORMAT);
    image.put_u64(applied.term.0);
    image.put_u64(applied.index.0);
    image.put_u32(u32::try_from(members.len()).expect("members are few"));
    image.put_slice(members);
    image.put_slice(&state);
    image.put_u64(checksum(&image));
    image
}

/// What an image says.
#[derive(Default)]
pub(crate) struct Image<S> {
    pub(crate) applied: EntryId,
    pub(crate) membership: Option<Bytes>,
    pub(crate) state: S,
}

pub(crate) fn decode<S: State>(image: &[u8]) -> Result<Image<S>, Fault> {
    let damaged = || Fault::new(FaultKind::Damaged, "an image of the state is damaged");
    let (mut image, sum) = image.split_last_chunk::<CHECKSUM_BYTES>().ok_or_else(damaged)?;
    if checksum(image) != u64::from_be_bytes(*sum) || image.len() < HEADER_BYTES {
        return Err(damaged());
    }
    let unknown = || Fault::new(FaultKind::Version, "an image of the state is of another version");
    image = image.strip_prefix(&FORMAT).ok_or_else(unknown)?;
    let applied = EntryId { term: Term(image.get_u64()), index: Index(image.get_u64()) };
    let length = image.get_u32() as usize;
    let (members, state) = image.split_at_checked(length).ok_or_else(damaged)?;
    let membership = (!members.is_empty()).then(|| Bytes::copy_from_slice(members));
    Ok(Image { applied, membership, state: S::restore(state).ok_or_else(unknown)? })
}

/// FNV-1a: any change of a single byte changes it.
fn checksum(bytes: &[u8]) -> u64 {
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

impl<S> Deref for Kept<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.state
    }
}

impl<S> fmt::Debug for Kept<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { applied, durable, .. } = self;
        f.debug_struct("Kept")
            .field("applied", applied)
            .field("durable", durable)
            .finish_non_exhaustive()
    }
}

impl<S: State> Machine for Kept<S> {
    type Outcome = S::Outcome;

    fn applied(&self) -> EntryId {
        self.applied
    }

    fn durable(&self) -> EntryId {
        self.durable
    }

    fn apply(&mut self, _entry: EntryId, command: &Bytes) -> Result<S::Outcome, Fault> {
        Ok(self.state.apply(command))
    }

    fn membership(&self) -> Option<Bytes> {
        self.membership.clone()
    }

    fn set_membership(&mut self, _entry: EntryId, membership: &Bytes) -> Result<(), Fault> {
        self.membership = Some(membership.clone());
        Ok(())
    }

    fn commit(&mut self, through: EntryId) -> Result<(), Fault> {
        self.applied = through;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Fault> {
        if self.durable != self.applied {
            self.keep.keep(&self.image())?;
            self.durable = self.applied;
        }
        Ok(())
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        self.state.fingerprint()
    }

    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, Fault> {
        Ok(Box::new(Frozen { last: self.applied, image: self.image().into() }))
    }

    fn restore(&mut self, piece: &Piece) -> Result<(), RestoreError> {
        if piece.first {
            self.incoming.clear();
        }
        self.incoming.extend_from_slice(&piece.data);
        if !piece.end {
            return Ok(());
        }
        let image = core::mem::take(&mut self.incoming);
        let Image { applied: last, membership: _, state } =
            decode(&image).map_err(|fault| RestoreError::Rejected(fault.report))?;
        if last != piece.last {
            let reason = format!("it ends at {last}, and was to end at {}", piece.last);
            return Err(RestoreError::Rejected(reason));
        }
        // Whoever has told of no members yet belongs to a group all the same, whose members come with the pieces.
        let members = piece.membership.clone();
        self.keep.keep(&self::image(last, &members, &state)).map_err(RestoreError::Fault)?;
        (self.state, self.applied) = (state, last);
        self.membership = Some(members).filter(|members| !members.is_empty());
        self.durable = last;
        Ok(())
    }
}

/// An image, read in pieces. A cursor is a position in it.
struct Frozen {
    last: EntryId,
    image: Bytes,
}

impl Snapshot for Frozen {
    fn last(&self) -> EntryId {
        self.last
    }

    fn read(&mut self, cursor: &[u8], bytes_max: usize) -> Result<SnapshotBytes, SnapshotError> {
        let from = match <[u8; 8]>::try_from(cursor) {
            Ok(from) => usize::try_from(u64::from_be_bytes(from)).ok(),
            Err(_) => cursor.is_empty().then_some(0),
        };
        let from = from.filter(|from| *from < self.image.len()).ok_or(SnapshotError::Cursor)?;
        let to = from.saturating_add(bytes_max.max(1)).min(self.image.len());
        let next =
            (to < self.image.len()).then(|| Bytes::copy_from_slice(&(to as u64).to_be_bytes()));
        Ok(SnapshotBytes { data: self.image.slice(from..to), next })
    }
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;
    use alloc::vec;
    use core::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// All bytes that were ever said.
    #[derive(Debug, Default, PartialEq)]
    struct Said(Vec<u8>);

    impl State for Said {
        type Outcome = usize;

        fn apply(&mut self, command: &[u8]) -> usize {
            self.0.extend_from_slice(command);
            self.0.len()
        }

        fn snapshot(&self) -> Vec<u8> {
            self.0.clone()
        }

        fn restore(snapshot: &[u8]) -> Option<Self> {
            (!snapshot.contains(&b'?')).then(|| Self(snapshot.to_vec()))
        }
    }

    /// A disk that has no room when it is told so.
    #[derive(Clone, Default)]
    struct Disk(Arc<AtomicBool>);

    impl Keep for Disk {
        fn keep(&mut self, _image: &[u8]) -> Result<(), Fault> {
            match self.0.load(Ordering::Relaxed) {
                true => Err(Fault::new(FaultKind::Full, "no room")),
                false => Ok(()),
            }
        }
    }

    fn open(image: Option<&[u8]>) -> Result<Kept<Said>, Fault> {
        Kept::open(image, Box::new(Disk::default()))
    }

    fn at(index: u64) -> EntryId {
        EntryId::new(2, index)
    }

    /// One that has applied a command for each of these.
    fn having_heard(words: &[&str]) -> Kept<Said> {
        let mut machine = open(None).expect("there is nothing to read");
        for (index, word) in (1..).zip(words) {
            machine.apply(at(index), &Bytes::copy_from_slice(word.as_bytes())).expect("it can");
            machine.commit(at(index)).expect("it can");
        }
        machine
    }

    /// The pieces of its snapshot.
    fn pieces(machine: &mut Kept<Said>, bytes_max: usize) -> Vec<Piece> {
        let mut snapshot = machine.snapshot().expect("it can be taken");
        let (mut pieces, mut cursor) = (Vec::new(), Some(Bytes::new()));
        while let Some(from) = cursor {
            let read = snapshot.read(&from, bytes_max).expect("its own cursor");
            let (last, first, end) = (snapshot.last(), from.is_empty(), read.next.is_none());
            let membership = Bytes::from_static(b"members");
            pieces.push(Piece { last, membership, first, data: read.data, end });
            cursor = read.next;
        }
        pieces
    }

    #[test]
    fn it_begins_again_where_it_was_durable() {
        let mut machine = having_heard(&["a", "bc"]);
        assert_eq!((machine.applied(), machine.durable()), (at(2), EntryId::ZERO));
        machine.flush().expect("there is room");
        assert_eq!(machine.durable(), at(2));
        let again = open(Some(&machine.image())).expect("it is whole");
        assert_eq!((&*again, again.applied(), again.durable()), (&*machine, at(2), at(2)));
    }

    #[test]
    fn a_damaged_image_and_one_of_another_version_are_told_apart() {
        let image = having_heard(&["a", "bc"]).image();
        for byte in 0..image.len() {
            let mut other = image.clone();
            other[byte] ^= 1;
            let fault = open(Some(&other)).expect_err("a bit is wrong");
            assert_eq!(fault.kind, FaultKind::Damaged);
            assert_eq!(open(Some(&image[..byte])).expect_err("too short").kind, FaultKind::Damaged);
        }
        let unreadable = having_heard(&["?"]).image();
        assert_eq!(open(Some(&unreadable)).expect_err("no such state").kind, FaultKind::Version);
    }

    #[test]
    fn a_snapshot_travels_in_pieces_of_any_size_and_begins_anew() {
        let mut from = having_heard(&["a", "bc", "def"]);
        for bytes_max in [0, 1, 7, 1_000] {
            let pieces = pieces(&mut from, bytes_max);
            let mut to = having_heard(&["x"]);
            to.restore(&pieces[0]).expect("the first one of a transfer that ends there");
            for piece in &pieces {
                to.restore(piece).expect("it is the next one");
            }
            assert_eq!((&*to, to.applied(), to.durable()), (&*from, at(3), at(3)));
        }
        let mut snapshot = from.snapshot().expect("it can be taken");
        for cursor in [&b"?"[..], &u64::MAX.to_be_bytes()] {
            assert_eq!(snapshot.read(cursor, 1).expect_err("it is made up"), SnapshotError::Cursor);
        }
    }

    #[test]
    fn what_is_no_snapshot_changes_nothing() {
        let mut from = having_heard(&["a", "bc", "def"]);
        let pieces = pieces(&mut from, 16);
        let rejected = |wrong: Vec<Piece>| {
            let mut to = having_heard(&["x"]);
            let last = wrong.iter().map(|piece| to.restore(piece)).last();
            assert!(matches!(last, Some(Err(RestoreError::Rejected(_)))), "{last:?}");
            assert_eq!((&to.0[..], to.applied()), (&b"x"[..], at(1)));
        };
        rejected(vec![pieces[0].clone(), pieces[2].clone()]);
        rejected(pieces.iter().map(|piece| Piece { last: at(9), ..piece.clone() }).collect());
    }

    #[test]
    fn without_room_it_says_so_and_stays_what_it_was() {
        let pieces = pieces(&mut having_heard(&["a", "bc"]), 1_000);
        let disk = Disk::default();
        let mut machine: Kept<Said> =
            Kept::open(None, Box::new(disk.clone())).expect("there is nothing to read");
        machine.apply(at(1), &Bytes::from_static(b"x")).expect("it can");
        machine.commit(at(1)).expect("it can");
        disk.0.store(true, Ordering::Relaxed);
        assert_eq!(machine.flush().expect_err("there is no room").kind, FaultKind::Full);
        machine.restore(&pieces[0]).expect_err("there is no room");
        assert_eq!((&machine.0[..], machine.durable()), (&b"x"[..], EntryId::ZERO));
        disk.0.store(false, Ordering::Relaxed);
        machine.flush().expect("there is room again");
        assert_eq!(machine.durable(), at(1));
    }
}
