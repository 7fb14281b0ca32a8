//! An entry that is given to any machine is on the disks of a majority, and on that member's own. Where the members
//! are changing, of a majority of both sets ([`Cluster::deciding`]).
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

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use quorate_raft::{EntryId, Event, Membership, NodeId};

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
                let holds = |voter: NodeId| match voter == *node {
                    true => rejoined,
                    false => may_hold(before.member(voter), newest.entry.id),
                };
                let deciding = before.deciding(newest.entry.id);
                if deciding.iter().any(|membership| decides(membership, holds)) {
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
        let holds = |voter: NodeId| may_hold(before.member(voter), id);
        let deciding = before.deciding(id);
        if !deciding.iter().any(|membership| decides(membership, holds)) {
            let holders: Vec<_> = before.members.keys().filter(|id| holds(**id)).collect();
            return Err(format!(
                "{node} applies {id}, which is on the disks of {holders:?}, and none of {deciding:?} \
                 has a majority of them"
            ));
        }
        if !before.member(*node).holds_durably(id) {
            return Err(format!("{node} applies {id}, which is not on its own disk"));
        }
        Ok(())
    }
}

/// Whether members decide for the group (Raft §5.2, §6), said a second time.
fn decides(membership: &Membership, holds: impl Fn(NodeId) -> bool) -> bool {
    let majority = |voters: &BTreeSet<NodeId>| {
        2 * voters.iter().filter(|voter| holds(**voter)).count() > voters.len()
    };
    let is_joint = !membership.outgoing.is_empty();
    majority(&membership.voters) && (!is_joint || majority(&membership.outgoing))
}

fn may_hold(member: &Member, id: EntryId) -> bool {
    member.rejoining || member.holds_durably(id)
}

#[cfg(test)]
mod tests {
    use quorate_raft::{Entry, Index, Payload, Record, Recovered, Term};

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

    /// A, B and C give way to A and D.
    #[test]
    fn an_entry_without_a_majority_of_both_sets_is_noticed() {
        let mut stage = Stage::new(CommitDurableOnQuorum);
        let set = |ids: &[NodeId]| ids.iter().copied().collect::<BTreeSet<_>>();
        let joint =
            Membership { voters: set(&[A, D]), outgoing: set(&[A, B, C]), ..Membership::default() };
        let begin =
            Entry { id: EntryId::new(1, 1), payload: Payload::Membership(joint.clone().into()) };
        let write = |stage: &mut Stage<_>, node, entry: &Entry| {
            stage.fine(Fact::Recorded { node, record: &Record::Append([entry.clone()].into()) });
            stage.sync(node);
        };
        write(&mut stage, A, &begin);
        write(&mut stage, B, &begin);
        stage.fires(Fact::Committed { node: A, entry: &begin });
        write(&mut stage, D, &begin);
        stage.fine(Fact::Committed { node: A, entry: &begin });
        // From the second membership on the first set is not asked any more.
        let end = Membership { outgoing: BTreeSet::new(), ..joint };
        let end = Entry { id: EntryId::new(1, 2), payload: Payload::Membership(end.into()) };
        write(&mut stage, A, &end);
        write(&mut stage, B, &end);
        stage.fires(Fact::Committed { node: A, entry: &end });
        write(&mut stage, D, &end);
        stage.fine(Fact::Committed { node: A, entry: &end });
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
