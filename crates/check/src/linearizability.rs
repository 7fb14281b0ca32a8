//! Is there one order of all operations, each at some moment between its call and its return, in which
//! the [`Model`] gives the very replies that the clients got? (Herlihy and Wing, 1990.)
//!
//! The search is that of Wing and Gong (1993) with Lowe's memory (2017): take an operation that no
//! other one had to precede, carry it out, go on; where the replies don't fit, go back and take
//! another; never try twice what was carried out in another order with the same result. An operation
//! of unknown outcome may be taken at any time after its call, or never.
//!
//! In general this takes exponential time. Three observations make it nearly linear for a store that
//! numbers its changes, and none of them changes a verdict (a brute force that knows none of them
//! agrees in the tests):
//!
//! - *A read that fits is taken at once.* It changes nothing, so whatever can follow it now could
//!   follow without it, and the other way round.
//! - *A reply names the revision* that its operation made or saw. So the operations that are left
//!   must not name one that lies behind already, and what nobody knows the outcome of can only make a
//!   revision that nobody claims.
//! - *What was seen of a key* names the revision of its last put. So a put of unknown outcome whose value
//!   was seen can have made one revision only, none can have touched a key while it was seen
//!   unchanged, none deleted it while it lived, and the version counts how many puts it. What can't be
//!   told apart by anything that was seen need not be tried twice.
//!
//! The first lets all keys be searched together. To partition a history by its keys, as is often
//! done, would lose what the revisions say about different keys, and finds nothing sooner here. See
//! `docs/adr/0003-linearizability-checker.md`.
//!
//! Serializable reads take no part, nor what is read at a past revision: see [`crate::replay`].

mod evidence;
mod fingerprint;
mod illegal;
mod pending;
mod search;

use alloc::boxed::Box;
use alloc::vec::Vec;

use search::{Found, Search};

pub use illegal::{Blocked, Illegal};

use crate::history::{Operation, Outcome, Request};
use crate::model::Model;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is such an order. One of them: the operations that took effect, by their place in the
    /// history.
    Linearizable(Vec<usize>),
    /// There is none.
    Illegal(Box<Illegal>),
    /// The search was given up.
    Unknown {
        /// After so many steps, which was the budget.
        steps: u64,
    },
}

impl Verdict {
    /// Whether there is an order.
    #[must_use]
    pub fn is_linearizable(&self) -> bool {
        matches!(self, Self::Linearizable(_))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_illegal(&self) -> bool {
        matches!(self, Self::Illegal(_))
    }
}

/// Looks for an order of the history's operations, from this state of the store on.
///
/// `budget` bounds the effort: how often an operation may be tried. A history that is fine takes
/// about three tries for each operation; an explanation may take the budget once more.
#[must_use]
pub fn check(history: &[Operation], start: &Model, budget: u64) -> Verdict {
    match Search::new(history, u64::MAX, start).run(budget) {
        (Found::Order(order), _) => Verdict::Linearizable(order),
        (Found::OutOfBudget, steps) => Verdict::Unknown { steps },
        (Found::Nothing, _) => Verdict::Illegal(Box::new(illegal::explain(history, start, budget))),
    }
}

/// Whether the operation is one that the search has to place, if it took effect.
fn takes_part(operation: &Operation) -> bool {
    let says_something = match &operation.outcome {
        Outcome::Known { .. } => true,
        // A read whose answer nobody knows changes nothing, and says nothing.
        Outcome::Unknown => !matches!(operation.request, Request::Range(_)),
        Outcome::Failed => false,
    };
    says_something && !operation.request.is_serializable()
}
