//! The machine of a witness: where it is, who belongs to the group, and nothing else.
//!
//! A witness keeps no state (`raft/src/witness.rs`). But a log that does not begin at the beginning needs somebody
//! who knows where it begins and who belonged to the group there, and for all members that is the machine. So a
//! witness has one too, which goes along with what is committed and keeps a position and the members at it, durably,
//! in an image of some hundred bytes. The log is compacted up to there, as anybody's is.
//!
//! It takes a snapshot without looking into it: where the snapshot ends and who belongs to the group then stands
//! beside its bytes.

use alloc::boxed::Box;
use core::fmt;
use core::marker::PhantomData;

use bytes::Bytes;
use quorate_raft::EntryId;

use crate::machine::{Fault, FaultKind, Machine, Piece, RestoreError, Snapshot};
use crate::state::{Image, Keep, State, decode, image};

/// See the module. `O` is the outcome of the group's commands, of which there is none here.
pub struct Witness<O> {
    applied: EntryId,
    durable: EntryId,
    membership: Option<Bytes>,
    keep: Box<dyn Keep>,
    outcome: PhantomData<fn() -> O>,
}

impl<O> Witness<O> {
    /// The one of this image, or one at the beginning, to be kept here from now on.
    ///
    /// # Errors
    /// [`FaultKind::Damaged`] if the image is not what was written, [`FaultKind::Version`] if it is that of a state.
    pub fn open(bytes: Option<&[u8]>, keep: Box<dyn Keep>) -> Result<Self, Fault> {
        let Image { applied, membership, state: Nothing } =
            bytes.map_or_else(|| Ok(Image::default()), decode)?;
        Ok(Self { applied, durable: applied, membership, keep, outcome: PhantomData })
    }
}

/// What it says in the place of a state.
const WITNESS: &[u8] = b"witness";

/// The state that is kept.
#[derive(Default)]
struct Nothing;

impl State for Nothing {
    type Outcome = ();

    fn apply(&mut self, _command: &[u8]) {}

    fn snapshot(&self) -> alloc::vec::Vec<u8> {
        WITNESS.into()
    }

    fn restore(snapshot: &[u8]) -> Option<Self> {
        (snapshot == WITNESS).then_some(Self)
    }
}

impl<O> fmt::Debug for Witness<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { applied, durable, .. } = self;
        f.debug_struct("Witness")
            .field("applied", applied)
            .field("durable", durable)
            .finish_non_exhaustive()
    }
}

impl<O: Send + 'static> Machine for Witness<O> {
    type Outcome = O;

    fn applied(&self) -> EntryId {
        self.applied
    }

    fn durable(&self) -> EntryId {
        self.durable
    }

    fn keeps_state(&self) -> bool {
        false
    }

    fn apply(&mut self, entry: EntryId, _command: &Bytes) -> Result<O, Fault> {
        unreachable!("a witness is given the command of {entry}")
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
            let members = self.membership.as_deref().unwrap_or_default();
            self.keep.keep(&image(self.applied, members, &Nothing))?;
            self.durable = self.applied;
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, Fault> {
        Err(Fault::new(FaultKind::Version, "a witness has no state to give"))
    }

    fn restore(&mut self, piece: &Piece) -> Result<(), RestoreError> {
        if piece.end {
            self.keep.keep(&image(piece.last, &piece.membership, &Nothing))?;
            self.applied = piece.last;
            self.membership = Some(piece.membership.clone()).filter(|members| !members.is_empty());
            self.durable = piece.last;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;
    use alloc::vec::Vec;
    use std::sync::Mutex;

    use super::*;

    extern crate std;

    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<Option<Vec<u8>>>>);

    impl Keep for Disk {
        fn keep(&mut self, image: &[u8]) -> Result<(), Fault> {
            *self.0.lock().expect("nobody panics") = Some(image.into());
            Ok(())
        }
    }

    fn open(disk: &Disk) -> Result<Witness<()>, Fault> {
        let image = disk.0.lock().expect("nobody panics").clone();
        Witness::open(image.as_deref(), Box::new(disk.clone()))
    }

    fn at(index: u64) -> EntryId {
        EntryId::new(2, index)
    }

    #[test]
    fn it_begins_again_where_it_was_durable_and_with_the_members_there() {
        let disk = Disk::default();
        let mut machine = open(&disk).expect("there is nothing to read");
        machine.set_membership(at(3), &Bytes::from_static(b"these")).expect("it can");
        machine.commit(at(9)).expect("it can");
        assert_eq!((machine.applied(), machine.durable()), (at(9), EntryId::ZERO));
        assert_eq!(open(&disk).expect("nothing was kept").durable(), EntryId::ZERO);
        machine.flush().expect("it can");
        machine.set_membership(at(10), &Bytes::from_static(b"others")).expect("it can");
        let again = open(&disk).expect("it is whole");
        assert_eq!((again.applied(), again.durable()), (at(9), at(9)));
        assert_eq!(again.membership(), Some(Bytes::from_static(b"these")));
    }

    #[test]
    fn it_goes_where_a_snapshot_ends_and_keeps_nothing_of_it() {
        let disk = Disk::default();
        let mut machine = open(&disk).expect("there is nothing to read");
        let piece = |first, end| Piece {
            last: at(7),
            membership: Bytes::from_static(b"these"),
            first,
            data: Bytes::from_static(&[7; 4_096]),
            end,
        };
        machine.restore(&piece(true, false)).expect("any bytes will do");
        assert_eq!(machine.applied(), EntryId::ZERO, "there is more to come");
        machine.restore(&piece(false, true)).expect("any bytes will do");
        assert_eq!((machine.applied(), machine.durable()), (at(7), at(7)));
        assert_eq!(open(&disk).expect("it is whole").durable(), at(7));
        assert!(disk.0.lock().expect("nobody panics").as_ref().expect("it was kept").len() < 64);
    }

    #[test]
    fn an_image_of_a_state_is_not_taken_for_its_own() {
        let disk = Disk::default();
        let mut machine = open(&disk).expect("there is nothing to read");
        machine.commit(at(1)).expect("it can");
        machine.flush().expect("it can");
        let mut image = disk.0.lock().expect("nobody panics").clone().expect("it was kept");
        image[24] ^= 1;
        *disk.0.lock().expect("nobody panics") = Some(image);
        assert_eq!(open(&disk).expect_err("a bit is wrong").kind, FaultKind::Damaged);
    }
}
