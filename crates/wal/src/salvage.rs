//! What a damaged log still knows of each group.
//!
//! Every intact record says how its group stood after it (`standing.rs`). So a group is followed from
//! fact to fact; between two facts with nothing missing, the second confirms what the first led to, and
//! across a gap it tells what the gap has done:
//!
//! ```text
//!  log before the gap    1 1 1 2 2 2          the last known: 6@2
//!  gap                   ? ? ?
//!  next record           append 9..10 of term 3; turn 7@2
//!                        so 8 is of term 3; 7 is 7@2, and as 6@2 was there, all before it is right
//!  log after             1 1 1 2 2 2 . . 3 3  lost: 7@2, 8@3
//! ```
//!
//! A lost record may have *removed* entries, too. That changes nothing: what counts is the log after the next
//! fact. Its prefix is right as far as an entry of the same term reaches, as whoever has an entry of
//! some leader has that leader's log before it (Log Matching, Raft §5.3). Where no entry of that term was
//! there, the names between are not known for certain, and the group is forgotten. So it is where the
//! last that there was to know of it may be missing.

use std::collections::{BTreeMap, BTreeSet};

use quorate_raft::{
    Entry, EntryId, GroupId, HardState, Index, Lost, Record, Recovered, Remembered, Salvage, Seal,
    Term,
};

use crate::record::{Body, Header, Kind};
use crate::standing::Standing;
use crate::survey::{Fact, Piece};

/// What is known of a group.
#[derive(Debug)]
pub(crate) struct Salvaged {
    pub(crate) remembered: Remembered,
    /// The sound entries of a forgotten group that do not follow those which it tells.
    pub(crate) beyond: Vec<Entry>,
}

impl Salvaged {
    /// A group of which nothing is known but that it was there.
    pub(crate) fn nothing() -> Self {
        Self { remembered: Remembered::Forgotten(Recovered::default()), beyond: Vec::new() }
    }

    /// A group of which something is sound, and not known to be all.
    fn forgotten(hard_state: HardState, base: EntryId, sound: Vec<Entry>) -> Self {
        let (mut entries, mut beyond): (Vec<Entry>, Vec<Entry>) = Default::default();
        for entry in sound {
            let last = entries.last().map_or(base, |entry| entry.id);
            let follows = entry.id.index == last.index.next() && entry.id.term >= last.term;
            let run = if follows && beyond.is_empty() { &mut entries } else { &mut beyond };
            run.push(entry);
        }
        let remembered = Remembered::Forgotten(Recovered { hard_state, base, entries });
        Self { remembered, beyond }
    }

    /// The term and the vote, as far as is known.
    pub(crate) fn hard_state(&self) -> HardState {
        match &self.remembered {
            Remembered::Whole(recovered) | Remembered::Forgotten(recovered) => recovered.hard_state,
            Remembered::Damaged(salvage) => salvage.hard_state,
        }
    }

    /// From now on it is not known to be all.
    pub(crate) fn forget(&mut self) {
        let salvaged = std::mem::replace(self, Self::nothing());
        *self = match salvaged.remembered {
            Remembered::Forgotten(_) => salvaged,
            Remembered::Whole(Recovered { hard_state, base, entries })
            | Remembered::Damaged(Salvage { hard_state, base, entries, .. }) => {
                Self::forgotten(hard_state, base, entries)
            }
        };
    }

    /// Notes what a group has promised, of which too little is known.
    pub(crate) fn promise(&mut self, promised: HardState) {
        if let Remembered::Forgotten(recovered) = &mut self.remembered
            && !recovered.hard_state.keeps(promised)
        {
            recovered.hard_state = promised;
        }
    }
}

/// Follows all groups through the facts.
pub(crate) fn salvage(facts: Vec<Fact>) -> BTreeMap<GroupId, Salvaged> {
    let mut traces: BTreeMap<GroupId, Trace> = BTreeMap::new();
    let mut gaps = 0;
    for fact in facts {
        match fact {
            Fact::Gap => gaps += 1,
            Fact::Mark(groups) => {
                for (group, standing) in groups {
                    let trace = traces.entry(group).or_insert_with(|| Trace::begin(gaps));
                    trace.gaps = gaps;
                    trace.stand(standing);
                }
            }
            Fact::Piece(Piece { header: Header { kind: Kind::Head, .. }, .. }) => {}
            Fact::Piece(Piece { header, body, .. }) => {
                let trace = traces.entry(header.group).or_insert_with(|| Trace::begin(gaps));
                let after_gap = std::mem::replace(&mut trace.gaps, gaps) != gaps;
                trace.tell(&header, body, after_gap);
            }
        }
    }
    let salvaged = |(group, trace): (_, Trace)| (group, trace.finish(gaps));
    traces.into_iter().map(salvaged).collect()
}

/// Consecutive entries of one term, or of unknown terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: u64,
    last: u64,
    term: Option<Term>,
}

/// One group, followed.
#[derive(Debug)]
struct Trace {
    /// How many gaps there were before the last fact of this group.
    gaps: u64,
    hard_state: HardState,
    /// `None` if nothing is known of what was before the first fact.
    base: Option<EntryId>,
    /// The names of the entries after the base, without a hole.
    runs: Vec<Run>,
    /// The entries that are sound, each of the term that its run says.
    sound: BTreeMap<u64, Entry>,
    /// The bodies that are lost, while their headers are not.
    seals: Vec<Seal>,
}

impl Trace {
    /// Before the first fact of a group, after so many gaps.
    fn begin(gaps: u64) -> Self {
        Self {
            gaps,
            hard_state: HardState::default(),
            base: (gaps == 0).then_some(EntryId::ZERO),
            runs: Vec::new(),
            sound: BTreeMap::new(),
            seals: Vec::new(),
        }
    }

    /// Takes over what a record tells, after a gap or not.
    fn tell(&mut self, header: &Header, body: Option<Body>, after_gap: bool) {
        let Standing { hard_state, base, turn, last } = header.standing;
        match header.kind {
            Kind::Append => {
                self.hard_state = hard_state;
                self.settle(base, turn, header.before());
                self.extend(header, body);
            }
            // The state of the group came before and told of all entries, of which this repeats some.
            Kind::Carry if !after_gap => {
                let rest = self.split_off(last.index.0);
                self.settle(base, turn, header.before());
                self.extend(header, body);
                self.append(rest);
            }
            Kind::Carry => {
                self.hard_state = hard_state;
                self.settle(base, turn, header.before());
                self.extend(header, body);
            }
            Kind::Head | Kind::State | Kind::HardState | Kind::Compact | Kind::Reset => {
                self.stand(header.standing);
            }
        }
    }

    /// Takes over how the group stands.
    fn stand(&mut self, Standing { hard_state, base, turn, last }: Standing) {
        self.hard_state = hard_state;
        self.settle(base, turn, last);
    }

    /// The log is `(base, last]`; all in `(turn, last]` are of the term of `last`.
    fn settle(&mut self, base: EntryId, turn: EntryId, last: EntryId) {
        // Up to here, what was known before is right: the last entry of the term of `turn`, not after it.
        let before = self.runs.iter().rev().find_map(|run| {
            let last = run.last.min(turn.index.0);
            (run.term == Some(turn.term) && run.first <= last).then_some(last)
        });
        let is_of_turn = |id: &EntryId| id.term == turn.term && id.index <= turn.index;
        let begins = [self.base, Some(base)].into_iter().flatten().filter(is_of_turn);
        let right_to = before.into_iter().chain(begins.map(|id| id.index.0)).max();
        let right_to = right_to.filter(|right_to| *right_to >= base.index.0);

        let mut runs = Vec::new();
        let kept_to = right_to.unwrap_or(base.index.0);
        // What lies between the base and the begin of what was known is not known.
        let known_from = self.base.map_or(kept_to, |id| id.index.0) + 1;
        push(&mut runs, base.index.0 + 1, (known_from - 1).min(kept_to), None);
        for run in &self.runs {
            push(&mut runs, run.first.max(base.index.0 + 1), run.last.min(kept_to), run.term);
        }
        match right_to {
            Some(_) => push(&mut runs, kept_to + 1, turn.index.0, Some(turn.term)),
            None if turn.index > base.index => {
                push(&mut runs, kept_to + 1, turn.index.0 - 1, None);
                push(&mut runs, turn.index.0, turn.index.0, Some(turn.term));
            }
            None => {}
        }
        push(&mut runs, turn.index.0 + 1, last.index.0, Some(last.term));

        drop(self.sound.split_off(&(last.index.0 + 1)));
        self.sound = self.sound.split_off(&(base.index.0 + 1));
        let changed = !is_part(&runs, &self.runs);
        self.base = Some(base);
        self.runs = runs;
        if changed {
            let runs = &self.runs;
            self.sound.retain(|index, entry| name(runs, *index) == Some(entry.id.term));
        }
    }

    /// Adds the entries that a header names, and those of them that its body holds.
    fn extend(&mut self, header: &Header, body: Option<Body>) {
        let last = header.standing.last;
        push(&mut self.runs, header.first.0, last.index.0, Some(last.term));
        match body {
            Some(Body::Record(Record::Append(entries)) | Body::Carry(entries)) => {
                self.sound.extend(entries.into_iter().map(|entry| (entry.id.index.0, entry)));
            }
            Some(_) | None => self.seals.push(Seal {
                first: header.first,
                last,
                bytes: header.length,
                checksum: header.body_checksum,
            }),
        }
    }

    /// Takes away what comes after this index.
    fn split_off(&mut self, index: u64) -> (Vec<Run>, BTreeMap<u64, Entry>) {
        let mut rest = Vec::new();
        for run in &self.runs {
            push(&mut rest, run.first.max(index + 1), run.last, run.term);
        }
        // The entries before it stay, and so do their names: they are held against what is told.
        (rest, self.sound.split_off(&(index + 1)))
    }

    /// Puts back what was taken away.
    fn append(&mut self, (runs, mut sound): (Vec<Run>, BTreeMap<u64, Entry>)) {
        for run in runs {
            push(&mut self.runs, run.first, run.last, run.term);
        }
        self.sound.append(&mut sound);
    }

    /// What is known in the end, after so many gaps in all.
    fn finish(self, gaps: u64) -> Salvaged {
        let Self { hard_state, base, runs, sound, mut seals, .. } = self;
        let base = base.unwrap_or(EntryId::ZERO);
        let is_named = runs.iter().all(|run| run.term.is_some());
        let terms = || std::iter::once(base.term).chain(runs.iter().filter_map(|run| run.term));
        let is_ascending = terms().zip(terms().skip(1)).all(|(before, after)| before <= after);
        if self.gaps != gaps || !is_named || !is_ascending {
            return Salvaged::forgotten(hard_state, base, sound.into_values().collect());
        }
        let last = runs.last().map_or(base, |run| EntryId {
            term: run.term.expect("all are named"),
            index: Index(run.last),
        });
        let lost = lost(&runs, &sound);
        seals.retain(|seal| {
            let first = EntryId { term: seal.last.term, index: seal.first };
            lost.iter().any(|lost| lost.contains(first) && lost.contains(seal.last))
        });
        // An entry may have been written more than once.
        let mut seen = BTreeSet::new();
        seals.retain(|seal| seen.insert((seal.first, seal.last)));
        let entries = sound.into_values().collect();
        let remembered = if lost.is_empty() {
            Remembered::Whole(Recovered { hard_state, base, entries })
        } else {
            Remembered::Damaged(Salvage { hard_state, base, last, entries, lost, seals })
        };
        Salvaged { remembered, beyond: Vec::new() }
    }
}

/// Adds a run, if it isn't empty.
fn push(runs: &mut Vec<Run>, first: u64, last: u64, term: Option<Term>) {
    if first > last {
        return;
    }
    match runs.last_mut() {
        Some(run) if run.term == term && run.last + 1 == first => run.last = last,
        _ => runs.push(Run { first, last, term }),
    }
}

/// The term of an entry.
fn name(runs: &[Run], index: u64) -> Option<Term> {
    let position = runs.partition_point(|run| run.last < index);
    runs.get(position).filter(|run| run.first <= index).and_then(|run| run.term)
}

/// Whether each of the runs lies within one of the others that says the same.
fn is_part(runs: &[Run], others: &[Run]) -> bool {
    runs.iter().all(|run| {
        let position = others.partition_point(|other| other.last < run.first);
        others.get(position).is_some_and(|other| {
            other.first <= run.first && run.last <= other.last && other.term == run.term
        })
    })
}

/// The entries that are named and not sound.
fn lost(runs: &[Run], sound: &BTreeMap<u64, Entry>) -> Vec<Lost> {
    let mut lost = Vec::new();
    for run in runs {
        let term = run.term.expect("all are named");
        let mut next = run.first;
        let ends = sound.range(run.first..=run.last).map(|(index, _)| *index);
        for index in ends.chain([run.last + 1]) {
            if next < index {
                let last = EntryId { term, index: Index(index - 1) };
                lost.push(Lost { first: Index(next), last });
            }
            next = index + 1;
        }
    }
    lost
}
