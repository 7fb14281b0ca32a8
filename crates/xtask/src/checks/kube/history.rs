//! What must have happened, made of what each apiserver was answered: every change that was acknowledged, at its
//! revision, on top of the one that it was guarded by. Watches and lists are held against it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::RangeInclusive;

use bytes::Bytes;
use quorate_proto::mvccpb::event::EventType;
use quorate_proto::mvccpb::{Event, KeyValue};

/// The keys that live, as they are.
pub(crate) type State = BTreeMap<Bytes, KeyValue>;

/// What a change demands of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Guard {
    /// It was last written at this revision; 0 if it does not exist.
    Mod(i64),
    /// It was written so often since it exists.
    Version(i64),
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was done, at this revision.
    Done(i64),
    /// The guard did not hold at the first of these revisions. The key had last been written at the other one, 0
    /// if it did not exist; nobody was told where that is `None`.
    Refused(i64, Option<i64>),
    /// No answer came.
    Unknown,
}

/// A change that somebody wanted to make. No two of them write the same value to a key.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) key: Bytes,
    pub(crate) guard: Guard,
    /// The value and the lease; `None` deletes.
    pub(crate) put: Option<(Bytes, i64)>,
    pub(crate) outcome: Outcome,
}

/// A list, read page by page at one revision.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub(crate) prefix: Bytes,
    pub(crate) revision: i64,
    pub(crate) pages: Vec<Page>,
}

/// One page: where it began, the keys with their last revisions, and what was said of the rest.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) kvs: Vec<(Bytes, i64)>,
    pub(crate) count: i64,
    pub(crate) more: bool,
}

/// A range that somebody watches, from a revision on.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) key: Bytes,
    pub(crate) range_end: Bytes,
    pub(crate) from: i64,
}

impl Wish {
    /// Whether an event belongs to it.
    fn wants(&self, event: &Event) -> bool {
        let kv = kv(event);
        let is_inside = match &self.range_end[..] {
            [] => kv.key == self.key,
            [0] => kv.key >= self.key,
            end => kv.key >= self.key && &kv.key[..] < end,
        };
        is_inside && kv.mod_revision >= self.from
    }
}

/// What a watcher was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// An event of a revision, with [`digest`] of all of it.
    Event(i64, u64),
    /// That everything up to a revision was told.
    Progress(i64),
}

/// All of an event in a number.
pub(crate) fn digest(event: &Event) -> u64 {
    let mut hasher = DefaultHasher::new();
    event.hash(&mut hasher);
    hasher.finish()
}

/// The key of an event; an empty one where the server sent none.
pub(crate) fn kv(event: &Event) -> &KeyValue {
    static NONE: KeyValue = KeyValue {
        key: Bytes::new(),
        create_revision: 0,
        mod_revision: 0,
        version: 0,
        value: Bytes::new(),
        lease: 0,
    };
    event.kv.as_ref().unwrap_or(&NONE)
}

/// All changes after a state, in order.
#[derive(Clone, Debug)]
pub(crate) struct History {
    before: State,
    pub(crate) events: Vec<Event>,
    /// So many attempts whose fate nobody knew were carried out.
    pub(crate) resolved: usize,
    /// So many keys went with their leases.
    pub(crate) expired: usize,
}

impl History {
    /// Makes the history of what was attempted on top of a state, and holds what a watch of everything saw against it.
    /// The watch decides only whether attempts without an answer were carried out, and when leases ended. Returns
    /// what is wrong too.
    pub(crate) fn of(before: State, attempts: &[Attempt], seen: &[Event]) -> (Self, Vec<String>) {
        let mut wrong = Vec::new();
        let mut done: BTreeMap<i64, &Attempt> = BTreeMap::new();
        let mut unknown: HashMap<&Bytes, Vec<&Attempt>> = HashMap::new();
        for attempt in attempts {
            match attempt.outcome {
                Outcome::Done(at) => {
                    if let Some(other) = done.insert(at, attempt) {
                        wrong.push(format!("revision {at}: both {attempt:?} and {other:?}"));
                    }
                }
                Outcome::Unknown => unknown.entry(&attempt.key).or_default().push(attempt),
                Outcome::Refused(..) => {}
            }
        }
        let mut state = before.clone();
        let mut history = Self { before, events: Vec::new(), resolved: 0, expired: 0 };
        let mut ends: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
        for event in seen {
            let KeyValue { key, mod_revision: at, .. } = kv(event);
            let now = state.get(key);
            let lease = now.map_or(0, |kv| kv.lease);
            let put = if let Some(attempt) = done.remove(at) {
                if attempt.key != *key || !holds(attempt.guard, now) {
                    wrong.push(format!("revision {at} has {event:?} on {now:?}, not {attempt:?}"));
                }
                attempt.put.clone()
            } else if let Some(attempt) = take(&mut unknown, event, now) {
                history.resolved += 1;
                attempt.put.clone()
            } else if is_deletion(event) && lease != 0 {
                history.expired += 1;
                ends.entry(lease).or_default().insert(*at);
                None
            } else {
                wrong.push(format!("nobody wanted {event:?} on top of {now:?}"));
                continue;
            };
            let expected = change(&mut state, key, *at, put);
            if expected != *event {
                wrong.push(format!("an event is {event:?}, and has to be {expected:?}"));
            }
            history.events.push(expected);
        }
        let lost = done.values().map(|attempt| format!("LOST: {attempt:?}"));
        wrong.extend(lost);
        for (lease, revisions) in ends {
            let left = state.values().filter(|kv| kv.lease == lease).count();
            if revisions.len() != 1 || left != 0 {
                let what = format!("lease {lease} ended at {revisions:?} and left {left} keys");
                wrong.push(what);
            }
        }
        wrong.extend(history.wrong_refusals(attempts));
        (history, wrong)
    }

    /// Holds what the refused were told against what was there then.
    fn wrong_refusals(&self, attempts: &[Attempt]) -> Vec<String> {
        let mut revisions: HashMap<&Bytes, Vec<(i64, i64)>> = HashMap::new();
        for (key, kv) in &self.before {
            revisions.entry(key).or_default().push((kv.mod_revision, kv.mod_revision));
        }
        for event in &self.events {
            let KeyValue { key, mod_revision: at, .. } = kv(event);
            let now = if is_deletion(event) { 0 } else { *at };
            revisions.entry(key).or_default().push((*at, now));
        }
        let last = |key: &Bytes, at: i64| {
            let all = revisions.get(key).map_or(&[][..], Vec::as_slice);
            all.iter().rev().find(|(since, _)| *since <= at).map_or(0, |(_, now)| *now)
        };
        let refused = attempts.iter().filter_map(|attempt| match attempt.outcome {
            Outcome::Refused(at, told) => {
                let there = last(&attempt.key, at);
                let is_right = told.is_none_or(|told| told == there)
                    && !matches!(attempt.guard, Guard::Mod(guard) if guard == there);
                (!is_right).then(|| format!("refused, with {there} there: {attempt:?}"))
            }
            _ => None,
        });
        refused.collect()
    }

    /// What lives in the end.
    pub(crate) fn state(&self) -> State {
        let mut state = self.before.clone();
        self.events.iter().for_each(|event| apply(&mut state, event));
        state
    }

    /// How many events belong to a wish.
    pub(crate) fn count(&self, wish: &Wish) -> usize {
        self.events.iter().filter(|event| wish.wants(event)).count()
    }

    /// Holds what a watcher was told against what it has to be told. Returns how often progress was promised
    /// before it was made, and what else is wrong.
    pub(crate) fn judge_watch(&self, wish: &Wish, told: &[Told]) -> (usize, Vec<String>) {
        let expected: Vec<&Event> = self.events.iter().filter(|event| wish.wants(event)).collect();
        let (mut at, mut promised, mut overtaken) = (0, 0, 0);
        for told in told {
            match *told {
                Told::Progress(revision) => promised = promised.max(revision),
                Told::Event(revision, digest_of_it) => {
                    overtaken += usize::from(revision <= promised);
                    let due = expected.get(at);
                    if due.is_none_or(|due| digest(due) != digest_of_it) {
                        let what = format!(
                            "{wish:?}: event {at} is one of revision {revision}, and has to be {due:?}"
                        );
                        return (overtaken, vec![what]);
                    }
                    at += 1;
                }
            }
        }
        let missing = expected.get(at).map(|first| {
            format!("{wish:?}: only {at} of {} events, then {first:?}", expected.len())
        });
        (overtaken, missing.into_iter().collect())
    }

    /// Holds lists against what was there.
    pub(crate) fn judge_lists(&self, listings: &[Listing]) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut ordered: Vec<&Listing> = listings.iter().collect();
        ordered.sort_by_key(|listing| listing.revision);
        let (mut state, mut events) = (self.before.clone(), self.events.iter().peekable());
        for listing in ordered {
            let is_due = |event: &&Event| kv(event).mod_revision <= listing.revision;
            while let Some(event) = events.next_if(is_due) {
                apply(&mut state, event);
            }
            wrong.extend(listing.differs_from(&state));
        }
        wrong
    }

    /// The revisions of all changes.
    pub(crate) fn span(&self) -> RangeInclusive<i64> {
        let at = |event: Option<&Event>| event.map_or(0, |event| kv(event).mod_revision);
        at(self.events.first())..=at(self.events.last())
    }
}

impl Listing {
    fn differs_from(&self, state: &State) -> Option<String> {
        let there: Vec<(&Bytes, i64)> = state
            .range(self.prefix.clone()..)
            .take_while(|(key, _)| key.starts_with(&self.prefix))
            .map(|(key, kv)| (key, kv.mod_revision))
            .collect();
        let (mut left, mut rest) = (there.len(), there.iter());
        for (number, page) in self.pages.iter().enumerate() {
            let (count, more) = (left as i64, left > page.kvs.len());
            if (page.count, page.more) != (count, more) {
                return Some(format!(
                    "{:?} at {}: page {number} of {} keys says count {} and more {}, with {left} left",
                    self.prefix,
                    self.revision,
                    page.kvs.len(),
                    page.count,
                    page.more
                ));
            }
            for (key, at) in &page.kvs {
                let due = rest.next();
                if due != Some(&(key, *at)) {
                    return Some(format!(
                        "{:?} at {}: {key:?} of {at} is listed in the place of {due:?}",
                        self.prefix, self.revision
                    ));
                }
            }
            left -= page.kvs.len();
        }
        (left != 0).then(|| format!("{:?}: {left} keys are not listed", self.prefix))
    }
}

fn holds(guard: Guard, now: Option<&KeyValue>) -> bool {
    match guard {
        Guard::Mod(revision) => now.map_or(0, |kv| kv.mod_revision) == revision,
        Guard::Version(version) => now.map_or(0, |kv| kv.version) == version,
    }
}

fn is_deletion(event: &Event) -> bool {
    event.r#type == i32::from(EventType::Delete)
}

/// The attempt of unknown fate that an event is of, if there is one. It is carried out once.
fn take<'a>(
    unknown: &mut HashMap<&'a Bytes, Vec<&'a Attempt>>,
    event: &Event,
    now: Option<&KeyValue>,
) -> Option<&'a Attempt> {
    let attempts = unknown.get_mut(&kv(event).key)?;
    let at = attempts.iter().position(|attempt| {
        let same = match &attempt.put {
            None => is_deletion(event),
            Some((value, _)) => !is_deletion(event) && *value == kv(event).value,
        };
        same && holds(attempt.guard, now)
    })?;
    Some(attempts.swap_remove(at))
}

/// Carries out a change and tells it as a watcher is told.
fn change(state: &mut State, key: &Bytes, at: i64, put: Option<(Bytes, i64)>) -> Event {
    let before = state.get(key).cloned();
    let event = match put {
        Some((value, lease)) => Event {
            r#type: EventType::Put.into(),
            kv: Some(KeyValue {
                key: key.clone(),
                create_revision: before.as_ref().map_or(at, |kv| kv.create_revision),
                mod_revision: at,
                version: before.as_ref().map_or(1, |kv| kv.version + 1),
                value,
                lease,
            }),
            prev_kv: before,
        },
        None => Event {
            r#type: EventType::Delete.into(),
            kv: Some(KeyValue { key: key.clone(), mod_revision: at, ..KeyValue::default() }),
            prev_kv: before,
        },
    };
    apply(state, &event);
    event
}

fn apply(state: &mut State, event: &Event) {
    let kv = kv(event);
    if is_deletion(event) {
        state.remove(&kv.key);
    } else {
        state.insert(kv.key.clone(), kv.clone());
    }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
