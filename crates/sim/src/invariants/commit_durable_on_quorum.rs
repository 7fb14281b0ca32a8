//! An entry that is given to any machine is on the disks of a majority, and on that member's own.
//!
//! Raft §5.3 ("committed once the leader has replicated it on a majority") read together with
//! figure 2 ("persistent state, updated on stable storage before responding to RPCs"). TLA+:
//! `CommittedIsDurableInv` and `QuorumLogInv`.
//!
//! Disks are judged by what the simulated disks synced, not by what the members believe.

use super::Invariant;
use crate::cluster::{Cluster, Fact};

/// See the module. Crashed members count: their disks are still there.
#[derive(Debug)]
pub struct CommitDurableOnQuorum;

impl Invariant for CommitDurableOnQuorum {
    fn name(&self) -> &'static str {
        "commit_durable_on_quorum"
    }

    fn observe(&mut self, fact: &Fact<'_>, before: &Cluster) -> Result<(), String> {
        let Fact::Committed { node, entry } = fact else { return Ok(()) };
        let id = entry.id;
        let holders: Vec<_> =
            before.voters.iter().filter(|voter| before.member(**voter).holds_durably(id)).collect();
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

#[cfg(test)]
mod tests {
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
