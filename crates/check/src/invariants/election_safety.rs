//! At most one leader can be elected in a given term.
//!
//! Raft figure 3, "Election Safety"; §5.2. TLA+: `MoreThanOneLeaderInv`.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;

use quorate_raft::{Event, NodeId, Term};

use super::Invariant;
use crate::cluster::{Cluster, Fact, leadership};

/// See the module. Remembers the leaders of all terms, for ever and over all restarts; a member
/// leads a term if it says so, or if it sends what only a leader sends.
#[derive(Debug, Default)]
pub struct ElectionSafety {
    leaders: BTreeMap<Term, NodeId>,
}

impl Invariant for ElectionSafety {
    fn name(&self) -> &'static str {
        "election_safety"
    }

    fn observe(&mut self, fact: &Fact<'_>, _: &Cluster) -> Result<(), String> {
        let (node, term) = match fact {
            Fact::Happened { node, event: Event::BecameLeader { term } } => (*node, *term),
            Fact::Sent { message } => match leadership(message) {
                Some(term) => (message.from, term),
                None => return Ok(()),
            },
            _ => return Ok(()),
        };
        let leader = *self.leaders.entry(term).or_insert(node);
        if leader == node { Ok(()) } else { Err(format!("{leader} and {node} both lead {term}")) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::stage::*;
    use super::*;

    #[test]
    fn two_leaders_of_one_term_are_noticed() {
        let mut stage = Stage::new(ElectionSafety::default());
        let event = Event::BecameLeader { term: Term(2) };
        stage.fine(Fact::Happened { node: A, event: &event });
        stage.fine(Fact::Sent { message: &heartbeat(A, 2) });
        stage.fine(Fact::Happened { node: B, event: &Event::BecameLeader { term: Term(3) } });
        stage.fires(Fact::Happened { node: B, event: &event });
    }

    #[test]
    fn a_leader_that_only_behaves_like_one_is_noticed() {
        let mut stage = Stage::new(ElectionSafety::default());
        stage.fine(Fact::Sent { message: &heartbeat(A, 2) });
        stage.fires(Fact::Sent { message: &probe(B, 2) });
    }
}
