//! A log wakes up with everything that was synced, perhaps with some of what was written after it,
//! and with nothing else.
//!
//! Raft figure 2, "Persistent state". TLA+: the action `Restart`, which keeps `currentTerm`,
//! `votedFor` and `log`. What was written and not synced may survive a crash, as the
//! disk pleases, but only as a prefix: a later record never without an earlier one.
//!
//! A member whose disk was damaged starts when it has healed. It has everything then that it had, or
//! that covers it; what it gave up was not committed in any term up to the one that its disk knew. (It may have
//! been committed since then by a leader of a later term, to whom the member has not acknowledged it.) It may
//! be in a later term.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use quorate_raft::{EntryId, Record, Recovered};

use super::Invariant;
use crate::cluster::{self, Cluster, Fact, Member};

/// See the module.
#[derive(Debug)]
pub struct Recovery;

impl Invariant for Recovery {
    fn name(&self) -> &'static str {
        "recovery"
    }

    fn observe(&mut self, fact: &Fact<'_>, before: &Cluster) -> Result<(), String> {
        let Fact::Started { node, recovered, applied } = fact else { return Ok(()) };
        let member = before.member(*node);
        if *applied < member.machine {
            return Err(format!(
                "the machine of {node} held {} durably and wakes up at {applied}",
                member.machine
            ));
        }
        if member.damaged {
            return healed(before, member, recovered, *applied)
                .map_err(|what| format!("{node} has healed and {what}"));
        }
        let mut candidate = member.durable.clone();
        let mut found = same(&candidate, recovered);
        for part in member.unsynced.iter().flat_map(parts) {
            if found {
                break;
            }
            cluster::replay(&mut candidate, &part);
            found = same(&candidate, recovered);
        }
        if found {
            return Ok(());
        }
        Err(format!(
            "{node} wakes up with {}; synced was {}, and {} records after it",
            shape(recovered),
            shape(&member.durable),
            member.unsynced.len()
        ))
    }
}

/// Whether this is what a damaged log may become.
fn healed(
    cluster: &Cluster,
    member: &Member,
    recovered: &Recovered,
    applied: EntryId,
) -> Result<(), String> {
    let (was, is) = (member.durable.hard_state, recovered.hard_state);
    if is.term < was.term || (is.term == was.term && was.vote.is_some() && is.vote != was.vote) {
        return Err(format!("remembers {is:?} instead of {was:?}"));
    }
    if applied.index < recovered.base.index {
        return Err(format!("its machine at {applied} ends before its log at {}", recovered.base));
    }
    let last = cluster::last(recovered);
    for entry in &member.durable.entries {
        let id = entry.id;
        let committed = cluster.committed_as(id.index);
        let is_committed =
            committed.is_some_and(|other| other.entry.id == id && other.term <= was.term);
        let is_held = cluster::at(recovered, id.index) == Some(entry);
        if is_committed && !is_held && applied.index < id.index {
            return Err(format!("lacks {id}, which is committed; its log ends at {last}"));
        }
    }
    // What was written and not synced may have survived, whether it was replaced by then or not.
    let written = || {
        member.unsynced.iter().flat_map(|record| match record {
            Record::Append(entries) => entries.as_slice(),
            Record::HardState(_) | Record::Compact(_) | Record::Reset(_) => &[],
        })
    };
    for entry in &recovered.entries {
        let index = entry.id.index;
        let synced = cluster::at(&member.durable, index);
        let mut had = written().filter(|had| had.id.index == index).chain(synced).peekable();
        if had.peek().is_some() && !had.any(|had| had == entry) {
            return Err(format!("holds another {} than it had", entry.id));
        }
    }
    Ok(())
}

/// The parts of a record that may survive one without the next: a long append is written in
/// several.
fn parts(record: &Record) -> Vec<Record> {
    match record {
        Record::Append(entries) => {
            entries.iter().map(|entry| Record::Append(vec![entry.clone()])).collect()
        }
        Record::HardState(_) | Record::Compact(_) | Record::Reset(_) => vec![record.clone()],
    }
}

/// Whether two logs say the same. Where each begins may differ: what is compacted may be forgotten
/// later than it was asked for.
fn same(expected: &Recovered, found: &Recovered) -> bool {
    let from = expected.base.index.max(found.base.index);
    let tail = |log: &Recovered| {
        log.entries.iter().filter(move |entry| entry.id.index > from).cloned().collect::<Vec<_>>()
    };
    expected.hard_state == found.hard_state
        && found.base.index <= expected.base.index
        && tail(expected) == tail(found)
}

fn shape(log: &Recovered) -> String {
    let Recovered { hard_state, base, .. } = log;
    let count = log.entries.len();
    format!("{hard_state:?}, {count} entries from {base} to {}", cluster::last(log))
}

#[cfg(test)]
mod tests {
    use quorate_raft::{HardState, Term};

    use super::super::stage::*;
    use super::*;

    fn log(ids: &[(u64, u64)]) -> Recovered {
        let entries = ids.iter().map(|&(term, index)| entry(term, index)).collect();
        Recovered { entries, ..Recovered::default() }
    }

    #[test]
    fn lost_synced_entries_are_noticed_and_lost_unsynced_ones_are_not() {
        let mut stage = Stage::new(Recovery);
        stage.append_durably(A, &[(1, 1), (1, 2)]);
        stage.append(A, &[(1, 3)]);
        stage.append(A, &[(1, 4)]);
        let wakes = |stage: &mut Stage<Recovery>, recovered: &Recovered, fires: bool| {
            let fact = Fact::Started { node: A, recovered, applied: EntryId::ZERO };
            if fires { stage.fires(fact) } else { stage.fine(fact) }
        };
        wakes(&mut stage, &log(&[(1, 1)]), true);
        wakes(&mut stage, &log(&[(1, 1), (1, 2), (1, 3), (1, 4), (1, 5)]), true);
        wakes(&mut stage, &log(&[(1, 1), (2, 2)]), true);
        wakes(&mut stage, &log(&[(1, 1), (1, 2), (1, 3)]), false);
    }

    #[test]
    fn a_machine_that_forgets_is_noticed() {
        let mut stage = Stage::new(Recovery);
        stage.fine(Fact::MachineDurable { node: A, last: EntryId::new(1, 2) });
        let (recovered, applied) = (Recovered::default(), EntryId::new(1, 1));
        stage.fires(Fact::Started { node: A, recovered: &recovered, applied });
    }

    #[test]
    fn what_a_damaged_log_must_not_become_is_noticed() {
        let hurt = |vote: u64| {
            let mut stage = Stage::new(Recovery);
            stage.append_durably(A, &[(1, 1), (1, 2), (1, 3)]);
            let vote = HardState { term: Term(vote), vote: Some(B) };
            stage.fine(Fact::Recorded { node: A, record: &Record::HardState(vote) });
            stage.fine(Fact::Synced { node: A, records: 1 });
            for index in 1..=2 {
                stage.fine(Fact::Committed { node: A, entry: &entry(1, index) });
            }
            stage.fine(Fact::Damaged { node: A, machine: true });
            stage
        };
        let starts = |vote, recovered: &Recovered, applied, fires: bool| {
            let fact = Fact::Started { node: A, recovered, applied };
            let mut stage = hurt(vote);
            if fires { stage.fires(fact) } else { stage.fine(fact) }
        };
        let begin = EntryId::ZERO;
        let later = |log: Recovered| Recovered {
            hard_state: HardState { term: Term(3), vote: None },
            ..log
        };
        starts(2, &later(log(&[(1, 1), (1, 2), (1, 3)])), begin, false);
        // What was not committed may be given up, and a snapshot covers what was.
        starts(2, &later(log(&[(1, 1), (1, 2)])), begin, false);
        let covered = Recovered { base: EntryId::new(1, 2), ..Recovered::default() };
        starts(2, &later(covered.clone()), EntryId::new(1, 2), false);
        starts(2, &later(covered), EntryId::new(1, 1), true);
        starts(2, &later(log(&[(1, 1)])), begin, true);
        starts(2, &later(log(&[(1, 1), (1, 2), (2, 3)])), begin, true);
        starts(3, &later(log(&[(1, 1), (1, 2), (1, 3)])), begin, true);
        starts(4, &later(log(&[(1, 1), (1, 2), (1, 3)])), begin, true);
    }

    #[test]
    fn what_a_later_leader_commits_may_have_been_given_up() {
        let known_to_commit = |term: u64| {
            let mut stage = Stage::new(Recovery);
            for node in [A, B] {
                stage.append_durably(node, &[(1, 1), (1, 2)]);
            }
            stage.fine(Fact::Recorded { node: A, record: &vote(2, None) });
            stage.sync(A);
            stage.fine(Fact::Damaged { node: A, machine: false });
            stage.fine(Fact::Recorded { node: B, record: &vote(term, None) });
            for index in 1..=2 {
                stage.fine(Fact::Committed { node: B, entry: &entry(1, index) });
            }
            stage
        };
        let left = Recovered { hard_state: HardState { term: Term(3), vote: None }, ..log(&[]) };
        let fact = Fact::Started { node: A, recovered: &left, applied: EntryId::ZERO };
        known_to_commit(2).fires(fact);
        known_to_commit(3).fine(fact);
    }
}
