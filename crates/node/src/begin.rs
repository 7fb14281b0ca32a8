//! What a member begins with: what its log remembers, held against its state machine, which is durable by
//! itself.
//!
//! The machine may be *within* the log: the entries after its position are applied again. It may be
//! *ahead* of the log: a crash came between the installation of a snapshot and the record of it, or
//! the snapshot replaced entries that were never committed. The machine is right then, since it holds
//! only what is committed, and Raft begins the log anew at its position, as the first record that
//! it writes.
//!
//! Where the machine is *behind* the log's beginning, or the log has gaps, the member heals: it gets from others what
//! is missing before it takes part (`heal.rs`). One that has no others must not begin, unless its own machine has
//! what its log lost. And nobody may begin who forgot: a member that forgot its votes may vote twice in a term, and
//! one that forgot entries may help to elect a leader without them.

use core::fmt;

use quorate_raft::{EntryId, Membership, NodeId, Recovered, Remembered, Salvage};

use crate::heal::can_heal;

/// What a member begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Everything: [`add_group`](crate::Node::add_group).
    Whole(Recovered),
    /// A log with gaps, or a machine that ends before the log begins:
    /// [`add_healing_group`](crate::Node::add_healing_group).
    Healing(Salvage),
}

/// Why a member must not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The machine's last entry stands where the log begins, and is another one: the two belong to
    /// different groups or members.
    Contradiction {
        /// The entry before the first of the log.
        base: EntryId,
    },
    /// The machine ends before the log begins, and there is nobody to get the rest from.
    MachineBehind {
        /// The entry before the first of the log.
        base: EntryId,
    },
    /// The log lost entries, and there is nobody to get them from.
    Damaged,
    /// The log does not know what the member promised.
    Forgotten,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contradiction { base } => {
                write!(
                    f,
                    "the log begins after {base}, and the state machine has another entry there"
                )
            }
            Self::MachineBehind { base } => {
                write!(
                    f,
                    "the log begins after {base}, and nobody has what the state machine lacks"
                )
            }
            Self::Damaged => f.write_str("nobody has what the log lost"),
            Self::Forgotten => f.write_str("what the member promised is forgotten"),
        }
    }
}

impl core::error::Error for Unfit {}

/// What a member of such a group begins with, whose machine is durable up to `machine`.
///
/// # Errors
/// Why it must not begin.
pub fn begin(
    membership: &Membership,
    id: NodeId,
    remembered: Remembered,
    machine: EntryId,
) -> Result<Begin, Unfit> {
    let (salvage, unfit) = match remembered {
        Remembered::Whole(log) if log.base.index <= machine.index => {
            return agree(log.base, machine).map(|()| Begin::Whole(log));
        }
        Remembered::Whole(log) => {
            let behind = Unfit::MachineBehind { base: log.base };
            (Salvage::from(log), behind)
        }
        Remembered::Damaged(salvage) => (salvage, Unfit::Damaged),
        Remembered::Forgotten(_) => return Err(Unfit::Forgotten),
    };
    agree(salvage.base, machine)?;
    if can_heal(membership, id, &salvage, machine) {
        Ok(Begin::Healing(salvage))
    } else {
        Err(unfit)
    }
}

/// Whether the machine has no other entry where the log begins.
fn agree(base: EntryId, machine: EntryId) -> Result<(), Unfit> {
    match base.index == machine.index && base != machine {
        true => Err(Unfit::Contradiction { base }),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use quorate_raft::{HardState, Index, Lost, Term};

    use super::*;

    const OWN: NodeId = NodeId(1);

    fn id(index: u64) -> EntryId {
        EntryId::new(1, index)
    }

    /// A log that begins after entry 3, and lost entry 5.
    fn damaged() -> Salvage {
        let lost = vec![Lost { first: Index(5), last: id(5) }];
        let hard_state = HardState { term: Term(1), vote: None };
        Salvage { hard_state, base: id(3), last: id(5), lost, ..Salvage::default() }
    }

    fn whole() -> Recovered {
        Recovered { base: id(3), ..Recovered::default() }
    }

    #[test]
    fn a_member_alone_begins_with_what_its_machine_completes() {
        let alone = Membership::of_voters([OWN]);
        let begin = |remembered, machine| begin(&alone, OWN, remembered, machine);
        assert_eq!(begin(Remembered::Whole(whole()), id(3)), Ok(Begin::Whole(whole())));
        assert_eq!(begin(Remembered::Whole(whole()), id(9)), Ok(Begin::Whole(whole())));
        let behind = Unfit::MachineBehind { base: id(3) };
        assert_eq!(begin(Remembered::Whole(whole()), id(2)), Err(behind));
        let healing = Ok(Begin::Healing(damaged()));
        assert_eq!(begin(Remembered::Damaged(damaged()), id(5)), healing);
        assert_eq!(begin(Remembered::Damaged(damaged()), id(4)), Err(Unfit::Damaged));
    }

    #[test]
    fn a_member_among_others_heals_whatever_is_named() {
        let both = Membership::of_voters([OWN, NodeId(2)]);
        let begin = |remembered, machine| begin(&both, OWN, remembered, machine);
        let healing = Ok(Begin::Healing(whole().into()));
        assert_eq!(begin(Remembered::Whole(whole()), id(2)), healing);
        let healing = Ok(Begin::Healing(damaged()));
        assert_eq!(begin(Remembered::Damaged(damaged()), EntryId::ZERO), healing);
    }

    #[test]
    fn nobody_begins_with_what_is_forgotten_or_of_another() {
        let both = Membership::of_voters([OWN, NodeId(2)]);
        let begin = |remembered, machine| begin(&both, OWN, remembered, machine);
        let other = EntryId::new(2, 3);
        let contradiction = Unfit::Contradiction { base: id(3) };
        assert_eq!(begin(Remembered::Whole(whole()), other), Err(contradiction));
        assert_eq!(begin(Remembered::Damaged(damaged()), other), Err(contradiction));
        assert_eq!(begin(Remembered::Forgotten(whole()), id(3)), Err(Unfit::Forgotten));
        let fresh = Ok(Begin::Whole(Recovered::default()));
        let begin = |has_begun, machine| begin(Remembered::of_nothing(has_begun, machine), machine);
        assert_eq!(begin(false, EntryId::ZERO), fresh);
        assert_eq!(begin(false, id(1)), Err(Unfit::Forgotten));
        assert_eq!(begin(true, EntryId::ZERO), Err(Unfit::Forgotten));
    }
}
