//! The definition of linearizability, tried out: every order of every subset that may have taken effect.

use quorate_check::history::{Operation, Outcome};
use quorate_check::model::Model;

/// Whether there is an order. Takes time factorial in the number of operations.
pub(crate) fn is_linearizable(history: &[Operation]) -> bool {
    let left: Vec<&Operation> = history.iter().filter(|it| it.outcome != Outcome::Failed).collect();
    place(&left, &Model::default())
}

fn place(left: &[&Operation], store: &Model) -> bool {
    if left.iter().all(|it| it.outcome == Outcome::Unknown) {
        return true;
    }
    left.iter().enumerate().any(|(at, it)| {
        let must_wait =
            left.iter().any(|other| other.returned().is_some_and(|returned| returned < it.call));
        if must_wait {
            return false;
        }
        let mut store = store.clone();
        let (reply, _) = store.apply(&it.request);
        let fits = match &it.outcome {
            Outcome::Known { reply: told, .. } => *told == reply,
            Outcome::Failed | Outcome::Unknown => true,
        };
        let others: Vec<&Operation> =
            left.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, it)| *it).collect();
        fits && place(&others, &store)
    })
}
