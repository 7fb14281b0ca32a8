//! The member that keeps no state, where there is one: what is asked of it and of the others because of it.

use std::collections::BTreeSet;

use quorate_check::Violation;
use quorate_check::cluster;
use quorate_raft::{Entry, EntryId, Event, Index, Membership, NodeId};

use super::{Outcome, World};
use crate::swarm::Options;

/// All of these members as voters.
pub(super) fn all_voters(
    options: &Options,
    members: impl IntoIterator<Item = NodeId>,
) -> Membership {
    let witnesses = options.witness.into_iter().collect();
    Membership { witnesses, ..Membership::of_voters(members) }
}

impl World {
    pub(super) fn is_witness(&self, id: NodeId) -> bool {
        self.options.witness == Some(id)
    }

    /// The members with whom the group was made.
    pub(super) fn all_voters(&self) -> Membership {
        all_voters(&self.options, self.ids())
    }

    /// Who of these members is a witness.
    pub(super) fn witnesses_of(&self, members: &Membership) -> BTreeSet<NodeId> {
        self.options.witness.filter(|id| members.contains(*id)).into_iter().collect()
    }

    /// Those that clients ask for more than a request, which a witness refuses.
    pub(super) fn has_state(&self) -> impl Iterator<Item = NodeId> {
        self.ids().into_iter().filter(|id| !self.is_witness(*id))
    }

    /// Whether these members, with the disks that they have, can come to have all that is committed. One of them has to
    /// keep a state; what it lacks the witness gives, if its log begins before that and goes on to.
    pub(super) fn can_be_had_from(&self, members: &BTreeSet<NodeId>) -> bool {
        let Some(witness) = self.options.witness else { return true };
        let committed = &self.invariants.cluster().committed;
        let reaches = |id: NodeId, from: Index| {
            let log = &self.invariants.cluster().member(id).durable;
            let rest = committed.iter().skip(usize::try_from(from.0).expect("a run is short"));
            let held = rest
                .map(|committed| &committed.entry)
                .take_while(|entry| cluster::at(log, entry.id.index) == Some(*entry));
            held.last().map_or(from, |entry| entry.id.index)
        };
        let own = |id: NodeId| reaches(id, self.invariants.cluster().member(id).machine.index);
        let others = members.iter().filter(|id| **id != witness).map(|id| own(*id));
        let Some(reached) = others.max() else { return false };
        let end = committed.last().map_or(Index(0), |committed| committed.entry.id.index);
        reached == end
            || members.contains(&witness)
                && reaches(witness, reached) == end
                && self.tail_holds(witness, reached)
    }

    /// Whether the tail of the witness has room for all entries after this one that there are anywhere, so that it
    /// keeps them whatever it compacts.
    pub(super) fn tail_holds(&self, witness: NodeId, after: Index) -> bool {
        let limits = self.places[&witness].settings.limits;
        let tail = limits.retained_bytes_min.min(limits.retained_bytes_max);
        let logs = self.invariants.cluster().members.values().map(|member| &member.issued.entries);
        let longest = logs.map(|log| {
            let later = log.iter().filter(|entry| after < entry.id.index);
            later.map(Entry::cost).sum::<usize>()
        });
        longest.max().is_none_or(|bytes| bytes < tail)
    }

    /// A witness never leads, nor asks to.
    pub(super) fn check_role(&self, id: NodeId, event: &Event) -> Outcome {
        match event {
            Event::BecamePreCandidate { .. }
            | Event::BecameCandidate { .. }
            | Event::BecameLeader { .. }
                if self.is_witness(id) =>
            {
                Err(Violation::new("witness_role", format!("{id} {event:?}")))
            }
            _ => Ok(()),
        }
    }

    /// A witness keeps a tail, and no more: of what its machine was past at the last flush, it holds no entry that
    /// the tail is long enough without.
    pub(super) fn check_tail(&self, id: NodeId) -> Outcome {
        if !self.is_witness(id) {
            return Ok(());
        }
        let limits = self.places[&id].settings.limits;
        let tail = limits.retained_bytes_min.min(limits.retained_bytes_max);
        let log = &self.invariants.cluster().member(id).issued;
        let place = &self.places[&id];
        // The log is compacted with a flush that brings news, and not with a snapshot that agrees with it.
        let Some(EntryId { index: durable, .. }) = place.flushed else { return Ok(()) };
        let held = || log.entries.iter().take_while(|entry| entry.id.index <= durable);
        let rest: usize = held().skip(1).map(Entry::cost).sum();
        match held().next() {
            Some(first) if tail <= rest => {
                let what = format!("{id} holds {}, and {rest} bytes after it", first.id);
                Err(Violation::new("witness_tail", what))
            }
            _ => Ok(()),
        }
    }
}
