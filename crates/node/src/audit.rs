//! Do the members of a group still hold the same state?
//!
//! They apply the same log, so they should. A machine that is not deterministic, a bit that flipped in
//! memory, an error of this program: any of these makes one differ, and without a word it would give
//! wrong answers for ever. So members compare fingerprints of their states ([`Machine::fingerprint`]),
//! and they do it *through the log*, which makes what they conclude the same everywhere.
//!
//! ```text
//!  index   …   1024 ─────────────── 1030 ── 1031 ── 1033
//!              every member         the reports of members 2, 1 and 3 on index 1024:
//!              notes its own        2 and 1 agree, a majority; 3 differs, and stops
//! ```
//!
//! - **Places** are the multiples of an interval, so that all members look at the same ones.
//! - Each voter sends its **report** on a place to the leader like any command; it travels in the
//!   envelope of [`proposal`](crate::proposal), under a number that no client's command has, and no
//!   machine ever sees it. A report may be lost, and come twice: there will be other places.
//! - The **verdict** follows from the committed reports. Where a majority of the voters agrees, a member
//!   whose own note differs stops with [`FaultKind::Diverged`], be it the leader. Where all voters have
//!   reported and no majority agrees, every member stops with [`FaultKind::Undecided`]: nobody can tell
//!   whose state is right.
//!
//! A group without commands has no places, and so no reports: the few that a place makes do not reach
//! the next one.
//!
//! [`Machine::fingerprint`]: crate::Machine::fingerprint

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::{BufMut, Bytes, BytesMut};
use quorate_planted::planted;
use quorate_raft::quorum::has_quorum;
use quorate_raft::{Index, Membership, NodeId};

use crate::machine::{Fault, FaultKind, Fingerprint};

/// How many entries lie between two places, unless [`Applier::with_audits_every`] says otherwise.
///
/// [`Applier::with_audits_every`]: crate::Applier::with_audits_every
pub const AUDIT_INTERVAL: u64 = 1024;

/// The places that are remembered. A report comes a few entries after its place, and a member that is
/// far behind will find later ones.
const PLACES: usize = 16;

/// What a member says about its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The place: the last entry that the state contains.
    pub index: Index,
    /// The state.
    pub fingerprint: Fingerprint,
}

impl Report {
    const BYTES: usize = 8 + 16;

    pub(crate) fn encode(self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(Self::BYTES);
        bytes.put_u64_le(self.index.0);
        bytes.put_u128_le(self.fingerprint.0);
        bytes.freeze()
    }

    /// `None` for bytes that are no report. They come from the log, so every member decides alike.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (index, fingerprint) = bytes.split_first_chunk()?;
        let fingerprint = u128::from_le_bytes(fingerprint.try_into().ok()?);
        Some(Self {
            index: Index(u64::from_le_bytes(*index)),
            fingerprint: Fingerprint(fingerprint),
        })
    }
}

/// What a member noted and heard.
#[derive(Debug)]
pub(crate) struct Audit {
    interval: u64,
    /// `None` as long as that is nothing, which it is in most of thousands of groups.
    notes: Option<Box<Notes>>,
}

#[derive(Debug, Default)]
struct Notes {
    /// Its own states, oldest first.
    own: VecDeque<Report>,
    /// What voters reported, by place.
    heard: BTreeMap<Index, BTreeMap<NodeId, Fingerprint>>,
    /// The places where reports differ, as was told already.
    disputed: BTreeSet<Index>,
}

impl Audit {
    pub(crate) fn new(interval: u64) -> Self {
        Self { interval, notes: None }
    }

    /// Whether members look at their state after this entry.
    pub(crate) fn is_place(&self, index: Index) -> bool {
        index.0.is_multiple_of(self.interval)
    }

    /// Notes the own state at a place.
    pub(crate) fn note(&mut self, report: Report) {
        let own = &mut self.notes.get_or_insert_default().own;
        if own.len() == PLACES {
            own.pop_front();
        }
        own.push_back(report);
    }

    /// The state was replaced: the notes are of another one.
    pub(crate) fn forget_own(&mut self) {
        if let Some(notes) = &mut self.notes {
            notes.own.clear();
        }
    }

    /// Takes a report that was committed as entry `at`. Says whether it is the first that contradicts
    /// another one of its place.
    ///
    /// # Errors
    /// The verdict, if it is against this member.
    pub(crate) fn hear(
        &mut self,
        at: Index,
        from: NodeId,
        report: Report,
        membership: &Membership,
    ) -> Result<bool, Fault> {
        let Report { index, fingerprint } = report;
        if !self.is_place(index) || index >= at || !membership.is_voter(from) {
            return Ok(false);
        }
        let notes = self.notes.get_or_insert_default();
        // A member that came to the place twice, before and after a restart, is believed once.
        notes.heard.entry(index).or_default().entry(from).or_insert(fingerprint);
        if notes.heard.len() > PLACES {
            notes.heard.pop_first();
        }
        let Some(heard) = notes.heard.get(&index) else { return Ok(false) };
        let states: BTreeSet<Fingerprint> = heard.values().copied().collect();
        let agreed = states
            .iter()
            .copied()
            .find(|state| has_quorum(membership, |voter| heard.get(&voter) == Some(state)));
        let own = notes.own.iter().find(|own| own.index == index).map(|own| own.fingerprint);
        match (agreed, own) {
            (Some(agreed), Some(own)) if agreed != own && !planted!(DivergedGoesOn) => {
                return Err(Fault::new(
                    FaultKind::Diverged,
                    format!(
                        "the state after entry {} has the fingerprint {own} here and {agreed} \
                         on a majority of the voters",
                        index.0
                    ),
                ));
            }
            (None, _) if states.len() > 1 && has_all(membership, heard) => {
                let states: Vec<String> =
                    heard.iter().map(|(voter, state)| format!("{voter}: {state}")).collect();
                return Err(Fault::new(
                    FaultKind::Undecided,
                    format!(
                        "no majority of the voters has the same state after entry {}: {}",
                        index.0,
                        states.join(", ")
                    ),
                ));
            }
            _ => {}
        }
        let is_news = states.len() > 1 && notes.disputed.insert(index);
        if notes.disputed.len() > PLACES {
            notes.disputed.pop_first();
        }
        Ok(is_news)
    }
}

/// Whether every voter has reported that has a state.
fn has_all(membership: &Membership, heard: &BTreeMap<NodeId, Fingerprint>) -> bool {
    let mut voters = membership.members();
    voters.retain(|id| membership.is_voter(*id) && !membership.is_witness(*id));
    voters.iter().all(|id| heard.contains_key(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Index = Index(100);

    fn report(state: u128) -> Report {
        Report { index: PLACE, fingerprint: Fingerprint(state) }
    }

    /// What a member concludes that noted `own`, from these reports of voters 1, 2, ….
    fn verdict(own: u128, states: &[(u64, u128)], voters: u64) -> Result<bool, FaultKind> {
        let membership = Membership::of_voters((1..=voters).map(NodeId));
        let mut audit = Audit::new(100);
        audit.note(report(own));
        let mut disputed = false;
        for (at, (from, state)) in (101..).zip(states) {
            let heard = audit.hear(Index(at), NodeId(*from), report(*state), &membership);
            disputed |= heard.map_err(|fault| fault.kind)?;
        }
        Ok(disputed)
    }

    #[test]
    fn the_majority_of_the_voters_is_right_and_not_of_those_who_reported() {
        assert_eq!(verdict(7, &[(1, 7), (2, 7), (3, 7)], 3), Ok(false));
        assert_eq!(verdict(7, &[(1, 7), (2, 7), (3, 8)], 3), Ok(true), "told, and goes on");
        assert_eq!(verdict(8, &[(1, 7), (3, 7)], 3), Err(FaultKind::Diverged), "before it reports");
        assert_eq!(verdict(8, &[(1, 7), (2, 7)], 5), Ok(false), "two of five decide nothing");
        assert_eq!(verdict(8, &[(1, 7), (1, 7), (1, 7)], 3), Ok(false), "one voice is one voice");
        assert_eq!(verdict(8, &[(4, 7), (5, 7), (1, 7)], 3), Ok(false), "strangers have none");
    }

    #[test]
    fn a_witness_is_not_waited_for_and_makes_no_majority() {
        let mut membership = Membership::of_voters([1, 2, 3].map(NodeId));
        membership.witnesses = [NodeId(3)].into();
        let mut audit = Audit::new(100);
        audit.note(report(7));
        let mut hear = |at, from, state| {
            audit.hear(Index(at), NodeId(from), report(state), &membership).map_err(|it| it.kind)
        };
        assert_eq!(hear(101, 1, 7), Ok(false));
        assert_eq!(hear(102, 2, 8), Err(FaultKind::Undecided));
        // Who alone has a state agrees with itself.
        let mut membership = Membership::of_voters([1, 2].map(NodeId));
        membership.witnesses = [NodeId(2)].into();
        let mut audit = Audit::new(100);
        audit.note(report(7));
        assert_eq!(audit.hear(Index(101), NodeId(1), report(7), &membership), Ok(false));
    }

    #[test]
    fn without_a_majority_nobody_goes_on_once_all_have_spoken() {
        assert_eq!(verdict(7, &[(1, 7), (2, 8)], 3), Ok(true));
        assert_eq!(verdict(7, &[(1, 7), (2, 8), (3, 9)], 3), Err(FaultKind::Undecided));
        assert_eq!(verdict(7, &[(1, 7), (2, 8)], 2), Err(FaultKind::Undecided));
        let halves = [(1, 7), (2, 7), (3, 8), (4, 8)];
        assert_eq!(verdict(7, &halves, 4), Err(FaultKind::Undecided));
    }

    #[test]
    fn what_can_t_be_a_report_is_none() {
        let membership = Membership::of_voters([1, 2, 3].map(NodeId));
        let mut audit = Audit::new(100);
        audit.note(report(7));
        let odd = Report { index: Index(50), fingerprint: Fingerprint(8) };
        let early = Report { index: Index(200), fingerprint: Fingerprint(8) };
        for report in [odd, early] {
            for from in [1, 2, 3].map(NodeId) {
                assert_eq!(audit.hear(Index(150), from, report, &membership), Ok(false));
            }
        }
        assert!(audit.notes.unwrap().heard.is_empty());
        for length in 0..40 {
            let bytes = alloc::vec![0; length];
            assert_eq!(Report::decode(&bytes).is_some(), length == Report::BYTES, "{length}");
        }
        assert_eq!(Report::decode(&report(9).encode()), Some(report(9)));
    }

    #[test]
    fn the_memory_is_bounded() {
        let membership = Membership::of_voters([1, 2, 3].map(NodeId));
        let mut audit = Audit::new(10);
        for place in 1..1000 {
            let index = Index(place * 10);
            audit.note(Report { index, fingerprint: Fingerprint(1) });
            for (from, state) in [(1, 1), (2, 2)] {
                let report = Report { index, fingerprint: Fingerprint(state) };
                let at = Index(index.0 + 5);
                assert!(audit.hear(at, NodeId(from), report, &membership).is_ok());
            }
        }
        let notes = audit.notes.unwrap();
        assert_eq!([notes.own.len(), notes.heard.len(), notes.disputed.len()], [PLACES; 3]);
    }
}
