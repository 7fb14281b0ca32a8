//! Why a history has no order, as briefly as it can be said.

use alloc::vec::Vec;
use core::fmt;

use super::search::{Found, Search};
use crate::history::{Operation, Outcome, Reply};
use crate::model::Model;

/// A history without an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Illegal {
    /// The operation whose reply is the first that can't be explained: up to the moment before it
    /// came, the history has an order. (Unless looking for it took too long; then it is the last.)
    pub culprit: usize,
    /// Its request and its reply.
    pub operation: Operation,
    /// The operations before, in the order that explains the most, by their place in the history.
    pub order: Vec<usize>,
    /// The revision that the store has then.
    pub revision: i64,
    /// One of these would have to be next, and none can be.
    pub blocked: Vec<Blocked>,
}

/// An operation that can't be next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// Its place in the history.
    pub index: usize,
    /// Its request, and what its client was told.
    pub operation: Operation,
    /// What its client would have to be told if it were next. The same as it was told if what
    /// follows is in the way.
    pub expected: Reply,
}

/// How many steps are worth taking for a better explanation.
const EXPLANATION_BUDGET: u64 = 100_000;

/// The shortest beginning of the history that has no order, and the furthest that a search in it comes.
pub(super) fn explain(history: &[Operation], start: &Model, mut budget: u64) -> Illegal {
    let mut returns: Vec<u64> =
        history.iter().filter(|it| super::takes_part(it)).filter_map(Operation::returned).collect();
    returns.sort_unstable();
    returns.dedup();
    // All up to `illegal` has no order; none that ends before `unclear` is known to have none. What has
    // an order has one for each of its beginnings, so the border can be halved.
    let (mut unclear, mut illegal) = (0, returns.len() - 1);
    while unclear < illegal {
        let middle = usize::midpoint(unclear, illegal);
        let (found, steps) = Search::new(history, returns[middle], start).run(budget);
        budget = budget.saturating_sub(steps);
        match found {
            Found::Nothing => illegal = middle,
            Found::Order(_) | Found::OutOfBudget => unclear = middle + 1,
        }
    }
    let at = returns[illegal];
    let culprit = history
        .iter()
        .position(|it| super::takes_part(it) && it.returned() == Some(at))
        .expect("something returned at this time");
    let deepest = Search::new(history, at, start).explain(EXPLANATION_BUDGET);
    let mut model = start.clone();
    for &operation in &deepest.order {
        let (_, _) = model.apply(&history[operation].request);
    }
    let blocked = deepest.next.iter().map(|&index| {
        let operation = history[index].clone();
        let (expected, undo) = model.apply(&operation.request);
        model.undo(undo);
        Blocked { index, operation, expected }
    });
    let blocked = blocked.collect();
    let operation = history[culprit].clone();
    Illegal { culprit, operation, order: deepest.order, revision: model.revision(), blocked }
}

impl fmt::Display for Illegal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "no order explains the reply to operation {}:", self.culprit)?;
        writeln!(f, "  {}", Told(&self.operation))?;
        writeln!(
            f,
            "at most {} operations can be placed, which leaves the store at revision {}; then comes \
             one of",
            self.order.len(),
            self.revision
        )?;
        for Blocked { index, operation, expected } in &self.blocked {
            writeln!(f, "  operation {index}: {}", Told(operation))?;
            match &operation.outcome {
                Outcome::Known { reply, .. } if reply == expected => {
                    writeln!(f, "    which fits, and leads nowhere")?;
                }
                _ => writeln!(f, "    expected {expected:?}")?,
            }
        }
        Ok(())
    }
}

/// An operation in one line.
struct Told<'a>(&'a Operation);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Operation { client, call, request, outcome } = self.0;
        write!(f, "client {client} asks at {call} ns: {request:?}; ")?;
        match outcome {
            Outcome::Known { returned, reply } => write!(f, "told at {returned} ns: {reply:?}"),
            Outcome::Failed => f.write_str("it failed"),
            Outcome::Unknown => f.write_str("the outcome is unknown"),
        }
    }
}
