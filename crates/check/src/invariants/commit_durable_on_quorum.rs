//! An entry that is given to any machine is on the disks of a majority, and on that member's own.
//!
//! Raft §5.3 ("committed once the leader has replicated it on a majority") read together with
//! figure 2 ("persistent state, updated on stable storage before responding to RPCs"). TLA+:
//! `CommittedIsDurableInv` and `QuorumLogInv`.
//!
//! Disks are judged by what the simulated disks synced, not by what the members believe.
//!
//! A disk that was lost since may have been one of the majority. Nobody knows, so it counts as one
//! until its member counts as a voter again; and that must not happen before the newest committed
//! entry is on a majority with what the disk holds by then.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use quorate_raft::{EntryId, Event};

use super::Invariant;
use crate::cluster::{Cluster, Fact, Member};

/// See the module. Crashed members count: their disks are still there.
#[derive(Debug)]
pub struct CommitDurableOnQuorum;

impl Invariant for CommitDurableOnQuorum {
    fn name(&self) -> &'static str {
        "commit_durable_on_quorum"
    }

    fn observe(&mut self, fact: &Fact<'_>, before: &Cluster) -> Result<(), String> {
        let (node, entry) = match fact {
            Fact::Committed { node, entry } => (node, *entry),
            Fact::Happened { node, event: Event::Rejoined { .. } } => {
                let Some(newest) = before.committed.last() else { return Ok(()) };
                let rejoined = before.member(*node).holds_durably(newest.entry.id);
                let others = before.voters.iter().filter(|voter| *voter != node);
                let held = others.filter(|voter| may_hold(before.member(**voter), newest.entry.id));
                if (held.count() + usize::from(rejoined)) * 2 > before.voters.len() {
                    return Ok(());
                }
                return Err(format!(
                    "{node} counts again, and {} is on no quorum",
                    newest.entry.id
                ));
            }
            _ => return Ok(()),
        };
        let id = entry.id;
        let holders: Vec<_> =
            before.voters.iter().filter(|voter| may_hold(before.member(**voter), id)).collect();
        if holders.len() * 2 <= before.voters.len() {
            return Err(format!(
                "{node} applies {id}, which is on the disks of {holders:?} of {} voters",
                before.voters.len()
            ));
        }
        if !before.member(*node).holds_durably(id) {
            return Err(format!("{node} applies {id}, which is not on its own disk"));
        }
        Ok(())
    }
}

fn may_hold(member: &Member, id: EntryId) -> bool {
    member.rejoining || member.holds_durably(id)
}

#[cfg(test)]
mod tests {
    use quorate_raft::{Index, Recovered, Term};

    use super::super::stage::*;
    use super::*;

    #[test]
    fn an_entry_on_one_disk_of_three_is_noticed() {
        let mut stage = Stage::new(CommitDurableOnQuorum);
        stage.append_durably(A, &[(1, 1)]);
        stage.append(B, &[(1, 1)]);
        stage.fires(Fact::Committed { node: A, entry: &entry(1, 1) });
        stage.sync(B);
        stage.fine(Fact::Committed { node: A, entry: &entry(1, 1) });
    }

    #[test]
    fn a_member_that_counts_again_before_it_holds_what_it_held_is_noticed() {
        let mut stage = Stage::new(CommitDurableOnQuorum);
        for node in [A, B] {
            stage.append_durably(node, &[(1, 1)]);
        }
        stage.fine(Fact::Committed { node: A, entry: &entry(1, 1) });
        stage.fine(Fact::Stopped { node: B });
        stage.fine(Fact::Wiped { node: B });
        stage.start(B, &Recovered::default());
        let event = Event::Rejoined { term: Term(1), last: Index(0) };
        stage.fires(Fact::Happened { node: B, event: &event });
        stage.append_durably(B, &[(1, 1)]);
        stage.fine(Fact::Happened { node: B, event: &event });
    }

    #[test]
    fn an_entry_that_is_not_on_the_own_disk_is_noticed() {
        let mut stage = Stage::new(CommitDurableOnQuorum);
        stage.append_durably(A, &[(1, 1)]);
        stage.append_durably(B, &[(1, 1)]);
        stage.append(C, &[(1, 1)]);
        stage.fires(Fact::Committed { node: C, entry: &entry(1, 1) });
    }

    #[test]
    fn disks_that_hold_another_entry_at_the_index_do_not_count() {
        let mut stage = Stage::new(CommitDurableOnQuorum);
        stage.append_durably(A, &[(2, 1)]);
        stage.append_durably(B, &[(1, 1)]);
        stage.append_durably(C, &[(1, 1)]);
        stage.fires(Fact::Committed { node: A, entry: &entry(2, 1) });
    }
}
