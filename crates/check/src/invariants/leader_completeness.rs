//! If a log entry is committed in a given term, then that entry will be present in the logs of the
//! leaders for all higher-numbered terms.
//!
//! Raft figure 3, "Leader Completeness"; §5.4. TLA+: `LeaderCompletenessInv`.

use alloc::format;
use alloc::string::String;

use quorate_raft::Event;

use super::Invariant;
use crate::cluster::{self, Cluster, Fact};

/// See the module. Checked at the moment a leader begins: from then on it only appends.
#[derive(Debug)]
pub struct LeaderCompleteness;

impl Invariant for LeaderCompleteness {
    fn name(&self) -> &'static str {
        "leader_completeness"
    }

    fn observe(&mut self, fact: &Fact<'_>, before: &Cluster) -> Result<(), String> {
        let Fact::Happened { node, event: Event::BecameLeader { term } } = fact else {
            return Ok(());
        };
        let log = &before.member(*node).issued;
        // Logs match up to an entry they share, so the newest committed entry speaks for all before
        // it. One that was committed in this term or a later one is no concern of this leader,
        // whatever term the entry is of: a member may learn very late that it was elected.
        let newest = before.committed.iter().rev().find(|committed| committed.term < *term);
        match newest.map(|committed| committed.entry.id) {
            Some(newest) if !cluster::has(log, newest) => Err(format!(
                "{node} leads {term} without the committed entry {newest}; its log ends with {}",
                cluster::last(log)
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_raft::{EntryId, Recovered, Term};

    use super::super::stage::*;
    use super::*;

    #[test]
    fn a_leader_without_a_committed_entry_is_noticed() {
        let mut stage = Stage::new(LeaderCompleteness);
        stage.append(A, &[(1, 1), (1, 2)]);
        stage.append(B, &[(1, 1)]);
        for index in 1..=2 {
            stage.fine(Fact::Committed { node: A, entry: &entry(1, index) });
        }
        let event = Event::BecameLeader { term: Term(2) };
        stage.fine(Fact::Happened { node: A, event: &event });
        stage.fires(Fact::Happened { node: B, event: &event });
    }

    #[test]
    fn a_compacted_log_still_contains_what_it_forgot() {
        let mut stage = Stage::new(LeaderCompleteness);
        stage.append(A, &[(1, 1)]);
        stage.fine(Fact::Committed { node: A, entry: &entry(1, 1) });
        let recovered = Recovered { base: EntryId::new(1, 1), ..Recovered::default() };
        stage.start(B, &recovered);
        stage.fine(Fact::Happened { node: B, event: &Event::BecameLeader { term: Term(2) } });
    }

    #[test]
    fn an_old_entry_that_was_committed_later_is_not_owed() {
        let mut stage = Stage::new(LeaderCompleteness);
        // A leads term 5 and commits what it has of term 2. B was elected in term 3 and learns it only
        // now; C would lead a term after the one in which the entry was committed.
        stage.append(A, &[(2, 1)]);
        stage.fine(Fact::Recorded { node: A, record: &vote(5, Some(A)) });
        stage.fine(Fact::Committed { node: A, entry: &entry(2, 1) });
        stage.fine(Fact::Happened { node: B, event: &Event::BecameLeader { term: Term(3) } });
        stage.fires(Fact::Happened { node: C, event: &Event::BecameLeader { term: Term(6) } });
    }

    #[test]
    fn a_deposed_leader_of_an_older_term_owes_nothing() {
        let mut stage = Stage::new(LeaderCompleteness);
        stage.append(A, &[(5, 1)]);
        stage.fine(Fact::Committed { node: A, entry: &entry(5, 1) });
        stage.fine(Fact::Happened { node: B, event: &Event::BecameLeader { term: Term(4) } });
    }
}
