//! A leader never overwrites or deletes entries in its log; it only appends new entries.
//!
//! Raft figure 3, "Leader Append-Only"; §5.3. TLA+: what `PermittedLogChangesProp` (CCF)
//! permits a leader.

use alloc::format;
use alloc::string::String;

use quorate_raft::{EntryId, Record};

use super::Invariant;
use crate::cluster::{self, Cluster, Fact};

/// See the module. Compaction is not deletion: what it drops is in the machine.
#[derive(Debug)]
pub struct LeaderAppendOnly;

impl Invariant for LeaderAppendOnly {
    fn name(&self) -> &'static str {
        "leader_append_only"
    }

    fn observe(&mut self, fact: &Fact<'_>, before: &Cluster) -> Result<(), String> {
        let Fact::Recorded { node, record } = fact else { return Ok(()) };
        let member = before.member(*node);
        let Some(term) = member.leads else { return Ok(()) };
        let last = cluster::last(&member.issued);
        match record {
            Record::Append(entries) => {
                let mut index = last.index;
                for entry in entries {
                    index = index.next();
                    if entry.id != (EntryId { term, index }) {
                        let id = entry.id;
                        return Err(format!("{node} leads {term}, has {last} and appends {id}"));
                    }
                }
                Ok(())
            }
            Record::Reset(base) => Err(format!("{node} leads {term} and resets its log to {base}")),
            Record::HardState(_) | Record::Compact(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_raft::{Event, Term};

    use super::super::stage::*;
    use super::*;

    fn leader_with_two_entries() -> Stage<LeaderAppendOnly> {
        let mut stage = Stage::new(LeaderAppendOnly);
        stage.append(A, &[(1, 1)]);
        stage.fine(Fact::Happened { node: A, event: &Event::BecameLeader { term: Term(2) } });
        stage.append(A, &[(2, 2)]);
        stage
    }

    #[test]
    fn a_leader_that_overwrites_is_noticed() {
        leader_with_two_entries().fires(Fact::Recorded { node: A, record: &append(&[(2, 2)]) });
    }

    #[test]
    fn a_leader_that_appends_for_another_term_is_noticed() {
        leader_with_two_entries().fires(Fact::Recorded { node: A, record: &append(&[(1, 3)]) });
    }

    #[test]
    fn a_leader_that_takes_a_snapshot_is_noticed() {
        let record = Record::Reset(EntryId::new(2, 9));
        leader_with_two_entries().fires(Fact::Recorded { node: A, record: &record });
    }

    #[test]
    fn a_follower_may_overwrite() {
        let mut stage = leader_with_two_entries();
        let event = Event::BecameFollower { term: Term(3), leader: None };
        stage.fine(Fact::Happened { node: A, event: &event });
        stage.append(A, &[(3, 2)]);
    }
}
