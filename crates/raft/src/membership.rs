//! Who belongs to a group, who of them counts, and how that changes: joint consensus (Raft §6).
//!
//! A membership is an entry of the log like any other, and counts *from the moment at which a member appends
//! it*, committed or not, and for each member by its own log: so it is undone with its entry. A change of
//! voters is two such entries. The first is *joint*: until the second is there, every decision needs a
//! majority of the voters before and a majority of the voters after, and so no two majorities decide apart,
//! however many members come and go at once. The leader appends the second as soon as the first is committed;
//! so does any leader after it. A change that leaves the voters as they are, as a new learner does, needs
//! one entry only.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use quorate_planted::planted;

use crate::types::{DiskId, Index, NodeId};

/// The members of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Membership {
    /// The voters.
    pub voters: BTreeSet<NodeId>,
    /// During a change of voters, those before it: every decision then needs a majority of both sets. Empty
    /// otherwise.
    pub outgoing: BTreeSet<NodeId>,
    /// Members that receive the log and have no vote, or none once the change is over: a voter that becomes a
    /// learner is in `outgoing` as well until then.
    pub learners: BTreeSet<NodeId>,
    /// Those of all these who keep no state, only the end of the log, and never lead (see `witness.rs`). At least
    /// one voter is none of them, and so it is of the outgoing voters. A member is a witness from when it
    /// joins until it has left, or never.
    pub witnesses: BTreeSet<NodeId>,
    /// The disks with which voters were given their vote, of those who came with a new one: with another disk the
    /// member is another one (see `rejoin.rs`). Written by leaders; in a wish for a change it means nothing.
    pub disks: BTreeMap<NodeId, DiskId>,
    /// What whoever hosts the group has to know of a member, such as where it is found. Opaque here. Of each
    /// member at most [`Membership::ABOUT_BYTES_MAX`], and of nobody else.
    pub about: BTreeMap<NodeId, Bytes>,
}

impl Membership {
    /// The most members of a group, so that a membership is never large. Voters beyond seven make a group slower
    /// and hardly safer; learners are many where many regions read.
    pub const MEMBERS_MAX: usize = 256;

    /// The most bytes that are kept about a member.
    pub const ABOUT_BYTES_MAX: usize = 1024;

    /// A membership of voters alone.
    #[must_use]
    pub fn of_voters(voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self { voters: voters.into_iter().collect(), ..Self::default() }
    }

    /// Whether this member has a vote.
    #[must_use]
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.voters.contains(&id) || self.outgoing.contains(&id)
    }

    /// Whether the word of a voter counts that says that it has this new disk: if it was given its vote with
    /// it. The word of one that says nothing of the kind counts always.
    #[must_use]
    pub fn counts(&self, id: NodeId, disk: Option<DiskId>) -> bool {
        disk.is_none() || (self.is_voter(id) && self.disks.get(&id) == disk.as_ref())
    }

    /// Whether this member belongs to the group.
    #[must_use]
    pub fn contains(&self, id: NodeId) -> bool {
        self.is_voter(id) || self.learners.contains(&id)
    }

    /// Whether this member keeps no state and never leads.
    #[must_use]
    pub fn is_witness(&self, id: NodeId) -> bool {
        self.witnesses.contains(&id)
    }

    /// Whether this member may be handed the lead: it has a vote, also once a change is over, and keeps a state.
    pub(crate) fn may_lead(&self, id: NodeId) -> bool {
        let keeps_vote = self.voters.contains(&id) || planted!(SlowDiskToLeaver);
        self.is_voter(id) && keeps_vote && !self.is_witness(id)
    }

    /// Whether who belongs to both memberships is a witness in both or in neither.
    #[must_use]
    pub fn keeps_witnesses(&self, other: &Self) -> bool {
        let both = self.witnesses.symmetric_difference(&other.witnesses);
        both.into_iter().all(|id| !self.contains(*id) || !other.contains(*id))
    }

    /// All members, ascending, each once.
    #[must_use]
    pub fn members(&self) -> BTreeSet<NodeId> {
        self.voters.iter().chain(&self.outgoing).chain(&self.learners).copied().collect()
    }

    /// Whether a change of voters is under way.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// What [`Self::encode`] makes, in bytes.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        let ids = self.voters.len() + self.outgoing.len() + self.learners.len();
        let about: usize = self.about.values().map(|about| 10 + about.len()).sum();
        let witnesses = match self.witnesses.len() {
            0 => 0,
            count => 2 + 8 * count,
        };
        10 + 8 * ids + 16 * self.disks.len() + about + witnesses
    }

    /// The one way in which a membership is written, wherever that is: five counts, of two bytes each; the ids of
    /// the voters, the outgoing voters and the learners, ascending; by ascending id, the ids of voters with a disk
    /// and that disk; and likewise for whom there is something to know the id, a length of two bytes, and
    /// that. Where there are witnesses, their count and their ids follow. All numbers are little-endian.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let two = |count: usize| u16::try_from(count).expect("members are few").to_le_bytes();
        let sets = [&self.voters, &self.outgoing, &self.learners];
        let mut bytes = Vec::with_capacity(self.encoded_bytes());
        for count in sets.map(BTreeSet::len).into_iter().chain([self.disks.len(), self.about.len()])
        {
            bytes.extend_from_slice(&two(count));
        }
        for id in sets.into_iter().flatten() {
            bytes.extend_from_slice(&id.0.to_le_bytes());
        }
        for (id, disk) in &self.disks {
            bytes.extend_from_slice(&id.0.to_le_bytes());
            bytes.extend_from_slice(&disk.0.to_le_bytes());
        }
        for (id, about) in &self.about {
            bytes.extend_from_slice(&id.0.to_le_bytes());
            bytes.extend_from_slice(&two(about.len()));
            bytes.extend_from_slice(about);
        }
        if !self.witnesses.is_empty() {
            bytes.extend_from_slice(&two(self.witnesses.len()));
            self.witnesses.iter().for_each(|id| bytes.extend_from_slice(&id.0.to_le_bytes()));
        }
        bytes
    }

    /// Reads what [`Self::encode`] made; `None` if it is anything else, or no membership that there may be.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { bytes };
        let [voters, outgoing, learners, disks, about] = [(); 5].map(|()| reader.two());
        let mut membership = Self {
            voters: reader.ids(voters?)?,
            outgoing: reader.ids(outgoing?)?,
            learners: reader.ids(learners?)?,
            disks: reader.disks(disks?)?,
            about: reader.about(about?)?,
            witnesses: BTreeSet::new(),
        };
        if !reader.bytes.is_empty() {
            // No membership is written in two ways: none are no bytes.
            let count = reader.two().filter(|count| *count > 0)?;
            membership.witnesses = reader.ids(count)?;
        }
        (reader.bytes.is_empty() && membership.is_possible()).then_some(membership)
    }

    /// Whether there can be such a membership: there is a voter, none of them is a learner, not all of them are
    /// witnesses, all are not too many, and not too much is known of them, and of nobody else.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        !self.voters.is_empty()
            && self.voters.is_disjoint(&self.learners)
            && self.members().len() <= 2 * Self::MEMBERS_MAX
            && self.disks.keys().all(|id| self.is_voter(*id))
            && self.witnesses.iter().all(|id| self.contains(*id))
            && !self.voters.is_subset(&self.witnesses)
            && (self.outgoing.is_empty() || !self.outgoing.is_subset(&self.witnesses))
            && self
                .about
                .iter()
                .all(|(id, about)| self.contains(*id) && about.len() <= Self::ABOUT_BYTES_MAX)
    }

    /// The next membership on the way to this one, in which nobody is outgoing.
    pub(crate) fn toward(&self, mut wanted: Self) -> Self {
        assert!(!self.is_joint(), "one change at a time");
        if wanted.voters != self.voters {
            wanted.outgoing.clone_from(&self.voters);
        }
        for (id, about) in &self.about {
            if wanted.outgoing.contains(id) {
                wanted.about.entry(*id).or_insert_with(|| about.clone());
            }
        }
        let outgoing = self.disks.iter().filter(|(id, _)| wanted.outgoing.contains(id));
        wanted.disks.extend(outgoing);
        let leaving = self.witnesses.intersection(&wanted.outgoing);
        wanted.witnesses.extend(leaving);
        wanted
    }

    /// What a joint membership leads to.
    pub(crate) fn settled(&self) -> Self {
        let mut settled = Self { outgoing: BTreeSet::new(), ..self.clone() };
        settled.disks.retain(|id, _| settled.voters.contains(id));
        let stays = |id: &NodeId| settled.voters.contains(id) || settled.learners.contains(id);
        settled.about.retain(|id, _| stays(id));
        settled.witnesses.retain(stays);
        settled
    }
}

/// Reads what was written, from its front.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*taken)
    }

    fn two(&mut self) -> Option<usize> {
        self.take().map(|bytes| usize::from(u16::from_le_bytes(bytes)))
    }

    fn id(&mut self) -> Option<NodeId> {
        self.take().map(|bytes| NodeId(u64::from_le_bytes(bytes)))
    }

    fn ids(&mut self, count: usize) -> Option<BTreeSet<NodeId>> {
        let mut ids = BTreeSet::new();
        for _ in 0..count {
            let id = self.id()?;
            if ids.last().is_some_and(|last| id <= *last) {
                return None;
            }
            ids.insert(id);
        }
        Some(ids)
    }

    fn disks(&mut self, count: usize) -> Option<BTreeMap<NodeId, DiskId>> {
        let mut disks = BTreeMap::new();
        for _ in 0..count {
            let (id, disk) = (self.id()?, DiskId(u64::from_le_bytes(self.take()?)));
            if disks.last_key_value().is_some_and(|(last, _)| id <= *last) {
                return None;
            }
            disks.insert(id, disk);
        }
        Some(disks)
    }

    fn about(&mut self, count: usize) -> Option<BTreeMap<NodeId, Bytes>> {
        let mut all = BTreeMap::new();
        for _ in 0..count {
            let (id, length) = (self.id()?, self.two()?);
            let (about, rest) = self.bytes.split_at_checked(length)?;
            self.bytes = rest;
            if all.last_key_value().is_some_and(|(last, _)| id <= *last) {
                return None;
            }
            all.insert(id, Bytes::copy_from_slice(about));
        }
        Some(all)
    }
}

/// The memberships that a log tells. Each counts from the position of its entry on, until the next.
#[derive(Clone, Debug)]
pub(crate) struct Memberships {
    /// Ascending. The first one is the one that the log begins with.
    told: Vec<(Index, Arc<Membership>)>,
}

impl Memberships {
    /// The one that counts at this position.
    pub(crate) fn new(at: Index, membership: impl Into<Arc<Membership>>) -> Self {
        Self { told: alloc::vec![(at, membership.into())] }
    }

    /// Since which position on it is known which of them counted.
    pub(crate) fn begin(&self) -> Index {
        self.told.first().expect("the log begins with one").0
    }

    /// The last one: the one that counts.
    pub(crate) fn latest(&self) -> &Membership {
        &self.told.last().expect("the log begins with one").1
    }

    /// The same.
    pub(crate) fn shared(&self) -> &Arc<Membership> {
        &self.told.last().expect("the log begins with one").1
    }

    /// Since which position it counts.
    pub(crate) fn since(&self) -> Index {
        self.told.last().expect("the log begins with one").0
    }

    /// Since which position all of them have something, up to the last; `None` if that has it not.
    pub(crate) fn since_when(&self, has: impl Fn(&Membership) -> bool) -> Option<Index> {
        let having = self.told.iter().rev().take_while(|(_, membership)| has(membership));
        having.last().map(|(since, _)| *since)
    }

    /// The one before the last. It is committed (see `change.rs`), and forgotten only when the last is, too.
    pub(crate) fn previous(&self) -> Option<&Membership> {
        let (_, earlier) = self.told.split_last()?;
        earlier.last().map(|(_, membership)| &**membership)
    }

    /// The one that counted at this position, which is not before the begin of the log.
    pub(crate) fn at(&self, index: Index) -> &Membership {
        let after = self.told.partition_point(|(since, _)| *since <= index);
        &self.told[after.saturating_sub(1)].1
    }

    /// An entry tells of another one.
    pub(crate) fn push(&mut self, index: Index, membership: impl Into<Arc<Membership>>) {
        assert!(self.since() < index, "a membership at {index} after one at {}", self.since());
        self.told.push((index, membership.into()));
    }

    /// All entries from this position on are dropped.
    pub(crate) fn truncate(&mut self, first: Index) {
        self.told.retain(|(since, _)| *since < first);
        assert!(!self.told.is_empty(), "what the log begins with is committed");
    }

    /// The log begins after this position now.
    pub(crate) fn compact(&mut self, through: Index) {
        let after = self.told.partition_point(|(since, _)| *since <= through);
        self.told.drain(..after.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn of(voters: &[u64]) -> Membership {
        Membership::of_voters(voters.iter().copied().map(NodeId))
    }

    #[test]
    fn each_membership_counts_until_the_next_and_goes_with_its_entry() {
        let mut told = Memberships::new(Index(3), of(&[1]));
        told.push(Index(5), of(&[1, 2]));
        told.push(Index(9), of(&[2]));
        let at = |told: &Memberships, index| told.at(Index(index)).clone();
        assert_eq!(
            (at(&told, 4), at(&told, 5), at(&told, 8)),
            (of(&[1]), of(&[1, 2]), of(&[1, 2]))
        );
        assert_eq!((told.latest().clone(), told.since()), (of(&[2]), Index(9)));
        assert_eq!(told.previous(), Some(&of(&[1, 2])));
        let since_when = |id| told.since_when(|membership| membership.is_voter(NodeId(id)));
        assert_eq!((since_when(1), since_when(2), since_when(3)), (None, Some(Index(5)), None));
        let mut cut = told.clone();
        cut.truncate(Index(9));
        assert_eq!((cut.latest().clone(), cut.since()), (of(&[1, 2]), Index(5)));
        told.compact(Index(7));
        assert_eq!((at(&told, 7), at(&told, 9)), (of(&[1, 2]), of(&[2])));
        assert_eq!(told.previous(), Some(&of(&[1, 2])));
        told.compact(Index(12));
        assert_eq!((told.told.len(), told.latest().clone()), (1, of(&[2])));
        assert_eq!(told.previous(), None);
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        let ids = |ids: &[u64]| ids.iter().copied().map(NodeId).collect::<BTreeSet<_>>();
        let joint = Membership {
            voters: ids(&[1, 9]),
            outgoing: ids(&[1, 2, 3]),
            learners: ids(&[2]),
            disks: [(NodeId(3), DiskId(7)), (NodeId(9), DiskId(u64::MAX))].into(),
            about: [(NodeId(3), "there".into()), (NodeId(9), "here".into())].into(),
            witnesses: BTreeSet::new(),
        };
        let plain = joint.encode();
        assert_eq!(Membership::decode(&plain), Some(joint.clone()));
        assert_eq!(Membership::decode(&[&plain[..], &[0; 2]].concat()), None, "none are no bytes");
        let joint = Membership { witnesses: ids(&[2, 9]), ..joint };
        let bytes = joint.encode();
        assert_eq!(bytes[..plain.len()], plain, "what has no witnesses is written as ever");
        assert_eq!(bytes.len(), joint.encoded_bytes());
        assert_eq!(Membership::decode(&bytes), Some(joint.clone()));
        for length in (0..bytes.len()).filter(|length| *length != plain.len()) {
            assert_eq!(Membership::decode(&bytes[..length]), None, "{length} bytes");
        }
        assert_eq!(Membership::decode(&[&bytes[..], &[0; 8]].concat()), None, "one id too many");
        let wrong = |change: fn(&mut Membership)| {
            let mut wrong = joint.clone();
            change(&mut wrong);
            Membership::decode(&wrong.encode())
        };
        assert_eq!(wrong(|it| it.voters.clear()), None, "nobody decides");
        let both = |it: &mut Membership| it.learners = [NodeId(9)].into();
        assert_eq!(wrong(both), None, "a voter and a learner");
        let mut twice = bytes;
        twice.copy_within(10..18, 18);
        assert_eq!(Membership::decode(&twice), None, "a voter is there twice");
        let unknown = |it: &mut Membership| drop(it.about.insert(NodeId(5), Bytes::new()));
        assert_eq!(wrong(unknown), None, "about somebody else");
        let no_voter =
            |it: &mut Membership| assert_eq!(it.disks.insert(NodeId(5), DiskId(1)), None);
        assert_eq!(wrong(no_voter), None, "a disk of who has no vote");
        let stranger = |it: &mut Membership| assert!(it.witnesses.insert(NodeId(5)));
        assert_eq!(wrong(stranger), None, "a witness that is no member");
        let all_voters = |it: &mut Membership| it.witnesses = [NodeId(1), NodeId(9)].into();
        assert_eq!(wrong(all_voters), None, "nobody can lead");
        let all_outgoing = |it: &mut Membership| it.witnesses = it.outgoing.clone();
        assert_eq!(wrong(all_outgoing), None, "nobody could lead");
        let long = |it: &mut Membership| drop(it.about.insert(NodeId(1), vec![0; 1025].into()));
        assert_eq!(wrong(long), None, "too much");
    }

    #[test]
    fn a_change_of_voters_is_joint_and_a_new_learner_is_not() {
        let ids = |ids: &[u64]| ids.iter().copied().map(NodeId).collect::<BTreeSet<_>>();
        let before = of(&[1, 2, 3]);
        let of = |voters, learners| Membership { voters, learners, ..Membership::default() };
        let learner = before.toward(of(ids(&[1, 2, 3]), ids(&[4])));
        assert!(!learner.is_joint() && learner.contains(NodeId(4)) && !learner.is_voter(NodeId(4)));
        let joint = learner.toward(of(ids(&[1, 2, 4]), ids(&[3])));
        assert!(joint.is_joint() && joint.is_voter(NodeId(3)) && joint.is_voter(NodeId(4)));
        let after = joint.settled();
        assert!(!after.is_joint() && !after.is_voter(NodeId(3)) && after.contains(NodeId(3)));
    }

    #[test]
    fn a_new_disk_counts_where_it_is_named() {
        let membership = Membership { disks: [(NodeId(2), DiskId(7))].into(), ..of(&[1, 2]) };
        assert!(membership.counts(NodeId(2), None), "it stopped saying so");
        assert!(membership.counts(NodeId(2), Some(DiskId(7))));
        assert!(!membership.counts(NodeId(2), Some(DiskId(8))), "that is another member");
        assert!(
            !membership.counts(NodeId(1), Some(DiskId(7))),
            "it had its vote with another disk"
        );
        let joint = membership.toward(of(&[1]));
        assert!(joint.counts(NodeId(2), Some(DiskId(7))), "until it has left");
        assert!(!joint.settled().counts(NodeId(2), Some(DiskId(7))));
    }

    #[test]
    fn a_witness_is_one_until_it_has_left() {
        let before = Membership { witnesses: [NodeId(3)].into(), ..of(&[1, 2, 3]) };
        let joint = before.toward(of(&[1, 2, 4]));
        assert!(joint.is_witness(NodeId(3)) && joint.is_possible());
        assert_eq!(joint.settled(), of(&[1, 2, 4]));
        assert!(before.keeps_witnesses(&of(&[1, 2, 4])), "it leaves");
        assert!(!before.keeps_witnesses(&of(&[1, 2, 3])), "it would have to have a state");
        assert!(!of(&[1, 2, 3]).keeps_witnesses(&before), "it may lead");
        assert!(of(&[1, 2]).keeps_witnesses(&before), "it joins");
    }

    #[test]
    fn what_is_known_of_whoever_leaves_is_known_until_it_has_left() {
        let about = |ids: &[u64]| ids.iter().map(|id| (NodeId(*id), "x".into())).collect();
        let before = Membership { about: about(&[1, 2]), ..of(&[1, 2]) };
        let joint = before.toward(Membership { about: about(&[1, 3]), ..of(&[1, 3]) });
        assert_eq!(joint.about, about(&[1, 2, 3]));
        assert_eq!(joint.settled().about, about(&[1, 3]));
    }
}
