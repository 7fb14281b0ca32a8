use alloc::vec;

use quorate_raft::{Entry, Payload, SnapshotMeta};

use super::*;

const PATIENCE: Duration = Duration::from_millis(100);
const OTHERS: [u64; 2] = [2, 3];

/// Member 1 of some members, with a log in which entries are sound or lost.
struct Patient {
    /// What its disk knew when it was found damaged.
    term: Term,
    healer: Healer,
    now: Time,
    out: Effects<()>,
}

/// A log: the term on disk, the base, and for each entry its term and whether it is sound.
fn salvage(term: u64, base: (u64, u64), log: &[(u64, bool)]) -> Salvage {
    let base = EntryId::new(base.0, base.1);
    let mut salvage = Salvage {
        hard_state: HardState { term: Term(term), vote: Some(NodeId(3)) },
        base,
        last: base,
        ..Salvage::default()
    };
    for (term, is_sound) in log {
        let id = EntryId { term: Term(*term), index: salvage.last.index.next() };
        salvage.last = id;
        match salvage.lost.last_mut() {
            _ if *is_sound => salvage.entries.push(entry(id)),
            Some(lost) if lost.last == EntryId { index: Index(id.index.0 - 1), ..id } => {
                lost.last = id;
            }
            _ => salvage.lost.push(Lost { first: id.index, last: id }),
        }
    }
    salvage
}

fn entry(id: EntryId) -> Entry {
    let payload = Bytes::from(alloc::format!("{id}"));
    Entry { id, payload: Payload::Command(payload) }
}

impl Patient {
    fn of(members: u64, salvage: Salvage, machine: (u64, u64)) -> Self {
        Self::among(Membership::of_voters((1..=members).map(NodeId)), salvage, machine)
    }

    fn among(membership: Membership, salvage: Salvage, machine: (u64, u64)) -> Self {
        let is_witness = membership.is_witness(NodeId(1));
        let config = HealConfig {
            group: GroupId(1),
            id: NodeId(1),
            incarnation: 7,
            membership,
            patience: PATIENCE,
            is_witness,
        };
        let machine = EntryId::new(machine.0, machine.1);
        let mut patient = Self {
            term: salvage.hard_state.term,
            healer: Healer::new(config, salvage, machine, Time(0)),
            now: Time(0),
            out: Effects::default(),
        };
        patient.flush();
        patient
    }

    fn flush(&mut self) {
        self.healer.flush(self.now, &mut self.out);
    }

    /// Whom it asks for entries, and for which. Each question names the term on its disk: a leader of an
    /// earlier one gives up because of it, and without it the patient would wait for ever.
    fn asked(&mut self) -> Vec<(u64, Lost)> {
        let own = self.term;
        let asks = self.out.send.drain(..).filter_map(|envelope| match envelope.body {
            EnvelopeBody::HealAsk { incarnation: 7, ask: HealAsk::Entries { lost, term } } => {
                assert_eq!(term, own, "it knows of this term, and says so");
                Some((envelope.to.0, lost))
            }
            _ => None,
        });
        asks.collect()
    }

    /// Whom it asks for a piece of a snapshot, and where that begins.
    fn pulled(&mut self) -> Vec<(u64, Bytes)> {
        let asks = self.out.send.drain(..).filter_map(|envelope| match envelope.body {
            EnvelopeBody::HealAsk { ask: HealAsk::Snapshot { cursor, .. }, .. } => {
                Some((envelope.to.0, cursor))
            }
            _ => None,
        });
        asks.collect()
    }

    fn hears(&mut self, from: u64, body: Heal) {
        let answer = HealAnswer { incarnation: 7, body };
        self.healer.answer(self.now, NodeId(from), answer, &mut self.out);
        self.flush();
    }

    /// Another member, with this log, answers the question about the first gap.
    fn hears_of(&mut self, from: u64, log: &Salvage, word: Option<Word>) {
        let asked = self.healer.salvage.lost[0];
        let found = Found { word, ..log.find(asked, 1 << 20) };
        self.hears(from, Heal::Entries { asked, found });
    }

    fn hears_piece(
        &mut self,
        from: u64,
        last: (u64, u64),
        cursor: &'static str,
        next: Option<&'static str>,
    ) {
        let meta = SnapshotMeta {
            last: EntryId::new(last.0, last.1),
            membership: self.healer.config.membership.clone(),
        };
        let chunk = SnapshotChunk {
            meta,
            cursor: cursor.into(),
            data: Bytes::new(),
            next: next.map(Bytes::from),
        };
        self.hears(from, Heal::Snapshot { chunk: Box::new(chunk), term: Term(9) });
    }

    /// The machine has installed the snapshot.
    fn installs(&mut self, last: (u64, u64)) {
        let last = EntryId::new(last.0, last.1);
        self.healer.applied(self.now, Feedback::SnapshotInstalled { last });
        self.flush();
    }

    /// What it comes to, if it has everything.
    fn healed(&mut self) -> Option<Healed> {
        self.out.apply.clear();
        self.out.healed.pop().map(|(_, healed)| healed)
    }

    /// The ids of the log it comes to.
    fn healed_log(&mut self) -> Vec<(u64, u64)> {
        let healed = self.healed().expect("it has everything");
        let recovered = healed.recovered;
        for of_log in &recovered.entries {
            assert_eq!(*of_log, entry(of_log.id), "each entry is what its name says");
        }
        recovered.entries.iter().map(|entry| (entry.id.term.0, entry.id.index.0)).collect()
    }
}

fn lost(term: u64, first: u64, last: u64) -> Lost {
    Lost { first: Index(first), last: EntryId::new(term, last) }
}

#[test]
fn gaps_are_filled_from_whoever_has_them() {
    let own = salvage(3, (0, 0), &[(1, true), (1, false), (1, false), (2, true), (2, false)]);
    let mut patient = Patient::of(3, own, (0, 0));
    assert_eq!(patient.asked(), [(2, lost(1, 2, 3)), (3, lost(1, 2, 3))]);
    // The other copies are damaged too, in other places.
    let second = salvage(3, (0, 0), &[(1, true), (1, true), (1, false), (2, false), (2, true)]);
    let third = salvage(3, (0, 0), &[(1, false), (1, false), (1, true), (2, true)]);
    patient.hears_of(2, &second, Some(Word::Follower(Term(3))));
    assert_eq!(patient.asked(), [(2, lost(1, 3, 3))], "who had something may have more");
    patient.hears_of(3, &third, Some(Word::Follower(Term(3))));
    assert_eq!(patient.asked(), [(3, lost(2, 5, 5))]);
    patient.hears_of(2, &second, Some(Word::Follower(Term(3))));
    assert_eq!(patient.healed_log(), [(1, 1), (1, 2), (1, 3), (2, 4), (2, 5)]);
}

/// What tells of the entries of term 1 from `first` to `last` in a log.
fn seal(first: u64, last: u64) -> quorate_raft::Seal {
    // Of the bytes that the log would have written, as a record of it was read.
    let (bytes, checksum) = match (first, last) {
        (1, 1) => (11, 0xf707_faa6),
        (1, 2) => (22, 0xaf58_313c),
        _ => unreachable!("no test seals these"),
    };
    quorate_raft::Seal { first: Index(first), last: EntryId::new(1, last), bytes, checksum }
}

/// The same log with other bytes under the names.
fn forged(mut log: Salvage) -> Salvage {
    for entry in &mut log.entries {
        entry.payload = Payload::Command(Bytes::from_static(b"1@9"));
    }
    log
}

#[test]
fn bytes_that_are_not_those_that_were_lost_are_refused_and_another_member_is_asked() {
    let own = Salvage { seals: vec![seal(1, 1)], ..salvage(3, (0, 0), &[(1, false)]) };
    let right = salvage(3, (0, 0), &[(1, true)]);
    let word = Some(Word::Follower(Term(3)));
    let mut patient = Patient::of(3, own.clone(), (0, 0));
    patient.asked();
    patient.hears_of(2, &forged(right.clone()), word);
    assert!(patient.healed().is_none());
    let refused =
        Event::Malformed { from: NodeId(2), reason: "entries that are not those that were lost" };
    assert_eq!(patient.out.events, [(GroupId(1), refused)]);
    assert_eq!(patient.asked(), [], "not as fast as the network answers");
    patient.hears_of(3, &right, word);
    assert_eq!(patient.healed_log(), [(1, 1)]);

    // Alone with who has other bytes, it asks again and again, and takes the right ones when they come.
    let mut patient = Patient::of(2, own, (0, 0));
    for _ in 0..6 {
        patient.hears_of(2, &forged(right.clone()), word);
        assert!(patient.healed().is_none());
        patient.asked();
        patient.now = patient.now + PATIENCE;
        patient.flush();
        assert_eq!(patient.asked(), [(2, lost(1, 1, 1))]);
    }
    for _ in 0..2 {
        patient.now = patient.now + PATIENCE;
        patient.flush();
        if !patient.healer.salvage.lost.is_empty() {
            patient.hears_of(2, &right, word);
        }
    }
    assert_eq!(patient.healed_log(), [(1, 1)]);
}

#[test]
fn where_two_sent_what_does_not_fit_each_is_tried_alone() {
    for liar in OTHERS {
        let own = salvage(3, (0, 0), &[(1, false), (1, false)]);
        let own = Salvage { seals: vec![seal(1, 2)], ..own };
        let mut patient = Patient::of(3, own, (0, 0));
        let right = salvage(3, (0, 0), &[(1, true), (1, true)]);
        let of = |who: u64| if who == liar { forged(right.clone()) } else { right.clone() };
        // Each first has the one entry only, or the other.
        let mut first = of(2);
        first.entries.pop();
        patient.hears_of(2, &first, None);
        patient.hears_of(3, &of(3), None);
        assert!(patient.healed().is_none());
        for _ in 0..4 {
            for who in OTHERS {
                if !patient.healer.salvage.lost.is_empty() {
                    patient.hears_of(who, &of(who), None);
                }
            }
        }
        assert_eq!(patient.healed_log(), [(1, 1), (1, 2)]);
    }
}

#[test]
fn what_is_healed_keeps_the_vote() {
    let mut patient = Patient::of(3, salvage(3, (0, 0), &[(1, false)]), (0, 0));
    patient.hears_of(3, &salvage(8, (0, 0), &[(1, true)]), Some(Word::Leader(Term(8))));
    let healed = patient.healed().expect("the gap is filled");
    let vote = HardState { term: Term(3), vote: Some(NodeId(3)) };
    assert_eq!((healed.recovered.hard_state, healed.dropped_after), (vote, None));
}

#[test]
fn other_names_and_answers_to_others_change_nothing() {
    let mut patient = Patient::of(3, salvage(3, (0, 0), &[(2, false)]), (0, 0));
    let asked = lost(2, 1, 1);
    let other = entry(EntryId::new(1, 1));
    let found = Found { entries: vec![other], held_to: Index(1), ..Found::default() };
    patient.hears(2, Heal::Entries { asked, found: found.clone() });
    assert!(patient.healed().is_none(), "the entry of another term is another entry");
    let right = Found { entries: vec![entry(EntryId::new(2, 1))], ..found };
    let answer = HealAnswer { incarnation: 6, body: Heal::Entries { asked, found: right } };
    patient.healer.answer(patient.now, NodeId(2), answer, &mut patient.out);
    patient.flush();
    assert!(patient.healed().is_none(), "an earlier process asked for it");
}

#[test]
fn a_damaged_copy_or_a_lost_disk_is_not_never_had() {
    for (second, third) in [
        // The others never had it, but one of them lost its disk and has no word.
        (Some(Word::Follower(Term(9))), None),
        // One can still get it in the term in which this one acknowledged.
        (Some(Word::Follower(Term(9))), Some(Word::Leader(Term(2)))),
    ] {
        let own = salvage(3, (0, 0), &[(1, true), (2, false), (2, true)]);
        let mut patient = Patient::of(3, own, (0, 0));
        let without = salvage(9, (0, 0), &[(1, true)]);
        patient.hears_of(2, &without, second);
        patient.hears_of(3, &without, third);
        assert!(patient.healed().is_none(), "{second:?} and {third:?}");
    }
    let own = salvage(3, (0, 0), &[(1, true), (2, false), (2, true)]);
    let mut patient = Patient::of(3, own.clone(), (0, 0));
    for other in OTHERS {
        patient.hears_of(other, &own, Some(Word::Follower(Term(9))));
    }
    assert!(patient.healed().is_none(), "all copies are damaged: somebody had it");
}

#[test]
fn what_a_leader_never_had_is_given_up() {
    for (word, gives_up) in [(3, true), (9, true), (2, false)] {
        let own = salvage(3, (0, 0), &[(1, true), (2, true), (2, false), (2, true)]);
        let mut patient = Patient::of(3, own, (0, 0));
        let leader = salvage(word, (0, 0), &[(1, true), (2, true)]);
        patient.hears_of(2, &leader, Some(Word::Leader(Term(word))));
        let Some(healed) = patient.healed() else {
            assert!(!gives_up, "the leader of {word} could have had it");
            continue;
        };
        assert!(gives_up, "a leader of an earlier term says nothing");
        assert_eq!(healed.dropped_after, Some(Index(2)));
        assert_eq!(healed.recovered.entries.len(), 2);
        let term = healed.recovered.hard_state.term;
        assert_eq!(term, Term(word.max(3)), "it does not listen to whom it promised more");
    }
}

#[test]
fn what_no_quorum_can_have_is_given_up() {
    // Of five, three others never had it. They must have left the term of this member's promises.
    for (term, gives_up) in [(4, true), (3, false)] {
        let own = salvage(3, (0, 0), &[(1, true), (2, false)]);
        let mut patient = Patient::of(5, own, (0, 0));
        let without = salvage(term, (0, 0), &[(1, true)]);
        for other in [2, 3] {
            patient.hears_of(other, &without, Some(Word::Follower(Term(term))));
            assert!(patient.healed().is_none(), "two can be done without");
        }
        patient.hears_of(4, &without, Some(Word::Follower(Term(term))));
        assert_eq!(patient.healed().is_some(), gives_up);
    }
}

#[test]
fn what_all_others_never_had_is_given_up() {
    let mut patient = Patient::of(3, salvage(3, (0, 0), &[(1, true), (2, false)]), (0, 0));
    let without = salvage(3, (0, 0), &[(1, true)]);
    for other in OTHERS {
        assert!(patient.healed().is_none());
        patient.hears_of(other, &without, Some(Word::Follower(Term(3))));
    }
    assert_eq!(patient.healed_log(), [(1, 1)]);
}

/// The only voter needed nobody to commit what it lost: that the learners do not have it says nothing.
#[test]
fn what_a_lone_voter_lost_is_never_given_up() {
    let mut members = Membership::of_voters([NodeId(1)]);
    members.learners = OTHERS.map(NodeId).into();
    let told = |log: &[(u64, bool)]| {
        let mut log = salvage(3, (0, 0), log);
        log.entries[0].payload = Payload::Membership(members.clone().into());
        log
    };
    let mut patient = Patient::of(3, told(&[(1, true), (2, false)]), (0, 0));
    let without = told(&[(1, true)]);
    for other in OTHERS {
        patient.hears_of(other, &without, Some(Word::Follower(Term(3))));
    }
    assert_eq!(patient.healer.salvage().lost.len(), 1, "it waits for whoever has it");
    patient.hears_of(OTHERS[0], &told(&[(1, true), (2, true)]), None);
    let healed = patient.healed().expect("it has it back");
    assert_eq!(healed.recovered.entries.len(), 2);
}

/// Two of five have lost their disks and have no word; they wait for this one to be there.
#[test]
fn where_another_entry_is_committed_one_member_is_enough() {
    let mut patient = Patient::of(5, salvage(3, (0, 0), &[(1, true), (1, false)]), (0, 0));
    let other = salvage(3, (0, 0), &[(1, true), (3, true), (3, true)]);
    patient.hears_of(2, &other, None);
    patient.hears_of(3, &other, None);
    patient.hears_of(4, &other, Some(Word::Follower(Term(3))));
    assert_eq!(patient.healer.salvage().lost.len(), 1, "that it is not here may be a loss");
    let asked = patient.healer.salvage().lost[0];
    let found = other.find(asked, 1 << 20);
    patient.hears(5, Heal::Entries { asked, found: Found { commit: Index(1), ..found.clone() } });
    assert_eq!(patient.healer.salvage().lost.len(), 1, "that is the entry before");
    patient.hears(5, Heal::Entries { asked, found: Found { commit: Index(2), ..found } });
    assert_eq!(patient.healed_log(), [(1, 1)]);
}

#[test]
fn the_part_of_a_gap_that_somebody_has_is_not_given_up_with_the_rest() {
    let own = salvage(3, (0, 0), &[(1, false), (1, false), (1, false)]);
    let mut patient = Patient::of(3, own, (0, 0));
    patient.hears_of(2, &salvage(9, (0, 0), &[(1, true), (1, false)]), Some(Word::Leader(Term(9))));
    // The leader has the first, lost the second, and never had the third.
    patient.hears_of(2, &salvage(9, (0, 0), &[(1, true), (1, false)]), Some(Word::Leader(Term(9))));
    assert!(patient.healed().is_none(), "the second is missing");
    assert_eq!(patient.healer.salvage.last, EntryId::new(1, 2));
    patient.hears_of(3, &salvage(9, (0, 0), &[(1, true), (1, true)]), None);
    assert_eq!(patient.healed_log(), [(1, 1), (1, 2)]);
}

#[test]
fn a_gap_that_others_compacted_is_covered_by_a_snapshot() {
    let own = salvage(3, (0, 0), &[(1, true), (1, false), (2, true), (2, true)]);
    let mut patient = Patient::of(3, own, (0, 0));
    patient.asked();
    patient.hears_of(2, &salvage(3, (2, 3), &[(2, true)]), Some(Word::Leader(Term(3))));
    assert_eq!(patient.pulled(), [(2, Bytes::new())]);
    patient.hears_piece(2, (2, 3), "", Some("x"));
    assert_eq!(patient.pulled(), [(2, Bytes::from("x"))]);
    patient.hears_piece(2, (2, 3), "", Some("x"));
    patient.pulled();
    patient.hears_piece(2, (2, 3), "x", None);
    assert_eq!(patient.out.apply.len(), 3, "each piece that fits is written");
    assert!(patient.out.healed.is_empty(), "it is not installed");
    patient.installs((2, 3));
    let healed = patient.healed().expect("the gap is covered");
    assert_eq!((healed.recovered.base, healed.dropped_after), (EntryId::new(2, 3), None));
    assert_eq!(healed.recovered.entries, [entry(EntryId::new(2, 4))], "the rest was sound");
}

#[test]
fn a_snapshot_that_the_log_contradicts_replaces_it() {
    let own = salvage(3, (0, 0), &[(1, true), (1, false), (1, true), (1, true)]);
    let mut patient = Patient::of(3, own, (0, 0));
    patient.hears_of(2, &salvage(9, (2, 3), &[]), Some(Word::Leader(Term(9))));
    patient.hears_piece(2, (2, 3), "", None);
    patient.installs((2, 3));
    let healed = patient.healed().expect("the log begins anew");
    assert_eq!((healed.recovered.base, healed.dropped_after), (EntryId::new(2, 3), Some(Index(3))));
    assert!(healed.recovered.entries.is_empty());
    assert_eq!(healed.recovered.hard_state, HardState { term: Term(9), vote: None });
}

#[test]
fn a_machine_that_is_gone_is_fetched_from_who_is_far_enough() {
    let mut patient = Patient::of(3, salvage(3, (2, 5), &[(2, true)]), (0, 0));
    let first = patient.pulled();
    let (first, second) = (first[0].0, 5 - first[0].0);
    patient.hears_piece(first, (1, 4), "", None);
    assert!(patient.out.apply.is_empty(), "it ends before the log begins");
    assert_eq!(patient.pulled(), [(second, Bytes::new())]);
    patient.hears_piece(second, (2, 6), "", None);
    patient.installs((2, 6));
    let healed = patient.healed().expect("the machine is there");
    assert_eq!(healed.recovered.base, EntryId::new(2, 6));
}

#[test]
fn when_nobody_is_far_enough_all_are_asked_anew_after_a_while() {
    let mut patient = Patient::of(2, salvage(3, (2, 5), &[(2, true)]), (0, 0));
    for _ in 0..3 {
        assert_eq!(patient.pulled(), [(2, Bytes::new())]);
        patient.hears_piece(2, (1, 4), "", None);
        assert_eq!(patient.pulled(), [], "not as fast as the network answers");
        patient.now = patient.now + PATIENCE;
        patient.flush();
    }
}

#[test]
fn who_does_not_answer_is_asked_again_and_then_another() {
    let mut patient = Patient::of(3, salvage(3, (2, 5), &[]), (0, 0));
    let (first, _) = patient.pulled()[0];
    let mut asked = Vec::new();
    for _ in 0..8 {
        patient.now = patient.now + PATIENCE;
        patient.flush();
        asked.extend(patient.pulled().into_iter().map(|(who, _)| who));
    }
    assert_eq!(asked[0], first);
    assert!(asked.contains(&(5 - first)), "{asked:?}");
}

#[test]
fn what_the_own_machine_has_is_not_asked_for() {
    let own = salvage(3, (0, 0), &[(1, true), (1, false), (2, true), (2, true)]);
    let machine = EntryId::new(2, 3);
    let alone = Membership::of_voters([NodeId(1)]);
    assert!(can_heal(&alone, NodeId(1), &own, machine));
    assert!(!can_heal(&alone, NodeId(1), &own, EntryId::new(1, 1)));
    let mut patient = Patient::of(1, own, (2, 3));
    assert_eq!(patient.healed_log(), [(2, 4)]);
}

/// Three voters, of whom this one is a witness.
fn with_witness(id: u64) -> Membership {
    let witnesses = [NodeId(id)].into();
    Membership { witnesses, ..Membership::of_voters([1, 2, 3].map(NodeId)) }
}

#[test]
fn who_has_no_state_is_no_reason_to_wait_for_a_snapshot() {
    let log = salvage(1, (0, 0), &[(1, true), (1, false)]);
    let mut patient = Patient::among(with_witness(3), log, (0, 0));
    patient.hears_of(3, &salvage(1, (1, 2), &[]), Some(Word::Follower(Term(1))));
    patient.asked();
    patient.now = patient.now + PATIENCE;
    patient.flush();
    assert_eq!(patient.asked(), [(2, lost(1, 2, 2)), (3, lost(1, 2, 2))]);
    patient.hears_of(2, &salvage(1, (0, 0), &[(1, true), (1, true)]), None);
    assert_eq!(patient.healed_log(), [(1, 1), (1, 2)]);
}

/// A witness with this log, of which its machine is past so much.
fn witness(log: &[(u64, bool)], machine: (u64, u64)) -> Patient {
    Patient::among(with_witness(1), salvage(1, (0, 0), log), machine)
}

/// Its machine has no state that anybody could be given instead.
#[test]
fn a_witness_keeps_what_is_sound_before_and_after_what_it_lost() {
    let log = [(1, true), (1, false), (1, true), (1, true)];
    for machine in [(0, 0), (1, 1), (1, 2), (1, 3), (1, 4)] {
        let mut patient = witness(&log, machine);
        assert_eq!(patient.asked(), [(2, lost(1, 2, 2)), (3, lost(1, 2, 2))]);
        patient.hears_of(2, &salvage(1, (0, 0), &[(1, false), (1, true)]), None);
        assert_eq!(patient.healed_log(), [(1, 1), (1, 2), (1, 3), (1, 4)], "at {machine:?}");
    }
}

#[test]
fn a_witness_gives_up_what_it_is_past_when_there_is_a_state_to_be_had() {
    let log = [(1, true), (1, false), (1, false), (1, true), (1, false), (1, true)];
    let mut patient = witness(&log, (1, 6));
    patient.hears_of(2, &salvage(1, (1, 2), &[(1, false)]), None);
    assert_eq!(patient.asked().last(), Some(&(3, lost(1, 3, 3))), "as far as there is one");
    patient.hears_of(2, &salvage(1, (1, 2), &[(1, true)]), None);
    assert_eq!(patient.asked().last(), Some(&(2, lost(1, 5, 5))));
    patient.hears_of(2, &salvage(1, (1, 6), &[]), None);
    let healed = patient.healed().expect("it needs nothing else");
    assert_eq!((healed.recovered.base, healed.dropped_after), (EntryId::new(1, 5), None));
    assert_eq!(healed.recovered.entries, [entry(EntryId::new(1, 6))]);
}

#[test]
fn what_another_witness_is_past_is_no_state_to_be_had() {
    let witnesses = [1, 3].map(NodeId).into();
    let members = Membership { witnesses, ..Membership::of_voters([1, 2, 3].map(NodeId)) };
    let log = salvage(1, (0, 0), &[(1, true), (1, false)]);
    let mut patient = Patient::among(members, log, (1, 2));
    patient.hears_of(3, &salvage(1, (1, 2), &[]), Some(Word::Follower(Term(1))));
    assert!(patient.healed().is_none());
}

/// It is committed, whoever never had it.
#[test]
fn a_witness_gives_up_nothing_that_it_is_past_because_others_never_had_it() {
    let log = [(1, true), (1, false), (1, false), (1, true)];
    let mut patient = witness(&log, (1, 2));
    let behind = salvage(9, (0, 0), &[(1, true)]);
    for other in OTHERS {
        patient.hears_of(other, &behind, Some(Word::Follower(Term(9))));
    }
    assert_eq!(patient.asked().last(), Some(&(3, lost(1, 2, 3))), "nor what may follow");
    patient.hears_of(2, &behind, Some(Word::Leader(Term(9))));
    assert_eq!(patient.asked().last(), Some(&(3, lost(1, 2, 2))), "a leader is another matter");
}

#[test]
fn a_witness_needs_no_snapshot_of_what_it_is_past() {
    let mut patient = witness(&[(1, true), (1, true), (1, false), (1, true)], (0, 0));
    patient.hears_of(2, &salvage(1, (1, 3), &[]), None);
    assert_eq!(patient.pulled().last(), Some(&(2, Bytes::new())), "it is not past it yet");
    patient.hears_piece(2, (1, 3), "", None);
    patient.installs((1, 3));
    assert_eq!(patient.asked(), [(2, lost(1, 3, 3)), (3, lost(1, 3, 3))]);
    patient.hears_of(2, &salvage(1, (1, 3), &[]), None);
    assert_eq!(patient.healed_log(), [(1, 4)]);
}

#[test]
fn an_installation_under_way_is_waited_for() {
    let mut patient = Patient::of(3, salvage(3, (0, 0), &[(1, false)]), (0, 0));
    patient.hears_of(2, &salvage(3, (1, 1), &[]), Some(Word::Leader(Term(3))));
    patient.hears_piece(2, (1, 1), "", None);
    patient.hears_of(3, &salvage(3, (0, 0), &[(1, true)]), None);
    assert!(patient.healed().is_none(), "the machine is about to be elsewhere");
    patient.installs((1, 1));
    assert!(patient.healed().is_some());
}
