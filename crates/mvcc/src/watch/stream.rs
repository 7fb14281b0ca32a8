//! The watchers of one client's stream, and the responses they get.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;
use quorate_planted::planted;

use super::index::KeyIndex;
use super::ring::Recent;
use crate::engine::EngineError;
use crate::error::Error;
use crate::key::KeyRange;
use crate::read::ReadState;
use crate::response::{Event, EventKind, RevisionEvents};
use crate::wire;

/// The id that stands for no watcher, or for all of a stream.
pub const NO_WATCHER: i64 = -1;

/// How many revisions of history one [`WatchStream::advance`] sends (etcd's number).
const CATCH_UP_REVISIONS: usize = 1000;
/// How many changes of history it looks at for them.
const CATCH_UP_CHANGES: usize = 20_000;

/// How much a stream does at once.
#[derive(Clone, Copy, Debug)]
pub struct WatchLimits {
    /// The size of a response from which on it is split, where the client allows that.
    pub fragment_bytes: usize,
    /// The size of all responses after which [`WatchStream::advance`] ends, to go on at the next
    /// call. At least one revision is sent.
    pub advance_bytes: usize,
    /// The memory that the events of one revision may take, for all watchers of the stream together.
    /// A revision comes whole, and one that deletes everything is as large as the store; watchers
    /// for whom that is too much are cancelled.
    pub revision_bytes: usize,
}

/// A wish to watch.
#[derive(Clone, Debug, Default)]
pub struct WatchCreateRequest {
    /// The first key; empty for the lowest.
    pub key: Bytes,
    /// As in [`KeyRange::parse`].
    pub range_end: Bytes,
    /// The first revision to send; 0 for what happens from now on.
    pub start_revision: i64,
    /// Whether to tell now and then how far the watcher is, if it has nothing else to tell.
    pub progress_notify: bool,
    /// Leave out puts.
    pub no_put: bool,
    /// Leave out deletions.
    pub no_delete: bool,
    /// Whether events carry the key as it was before.
    pub prev_kv: bool,
    /// The watcher's id; 0 for one of the stream's choice.
    pub watch_id: i64,
    /// Whether large responses may be split.
    pub fragment: bool,
}

/// What a client gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchResponse {
    /// For the header.
    pub revision: i64,
    /// The watcher it is about, or [`NO_WATCHER`].
    pub watch_id: i64,
    /// The answer to a wish to watch.
    pub created: bool,
    /// Whether the watcher is no more, or never was, and why.
    pub cancel: Option<Cancel>,
    /// Whether the events go on in the next response.
    pub fragment: bool,
    /// The events; none in an answer or a report of progress.
    pub events: Vec<Event>,
}

/// Why a watcher ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    /// The client wished it.
    Asked,
    /// What it would have to send next is gone.
    Compacted {
        /// The oldest revision that is left.
        compact_revision: i64,
    },
    /// It was never created; or, with [`Error::AnswerTooLarge`], the next revision has more for it than
    /// [`WatchLimits::revision_bytes`]; or its client may not watch its keys any more.
    Refused(Error),
}

/// The watchers of one stream.
///
/// Most are *synced*: they have been sent everything before `position`, and the next event comes to
/// them from the ring. The others are *behind* and catch up from the history, until they reach
/// `position`.
#[derive(Debug)]
pub struct WatchStream {
    limits: WatchLimits,
    watchers: BTreeMap<i64, Watcher>,
    index: KeyIndex,
    /// The next revision to send to synced watchers.
    position: i64,
    /// The watchers that are behind, by the next revision to send to each; all below `position`.
    behind: BTreeSet<(i64, i64)>,
    /// The next id to try. Not used again after a watcher ended, so that late responses can't be
    /// taken for those of another.
    next_id: i64,
    /// How many watchers want to know what was before.
    with_prev: usize,
    progress_requested: bool,
}

#[derive(Debug)]
struct Watcher {
    range: KeyRange,
    /// The first revision it wants.
    from: i64,
    /// The next revision to send, if it is behind.
    behind: Option<i64>,
    /// The revision before which it reports no progress.
    progress_from: i64,
    progress_notify: bool,
    /// Whether nothing was sent since the last tick.
    quiet: bool,
    no_put: bool,
    no_delete: bool,
    prev_kv: bool,
    fragment: bool,
}

/// What [`WatchStream::advance`] did.
#[derive(Debug, Default)]
pub struct Advance {
    /// To be sent, in this order, after what was returned before.
    pub responses: Vec<WatchResponse>,
    /// Whether there is more to send already.
    pub more: bool,
}

/// Events by watcher, each list in order.
type EventsOf = BTreeMap<i64, Vec<Event>>;

impl WatchStream {
    /// A stream without watchers.
    #[must_use]
    pub fn new(limits: WatchLimits) -> Self {
        Self {
            limits,
            watchers: BTreeMap::new(),
            index: KeyIndex::default(),
            position: 0,
            behind: BTreeSet::new(),
            next_id: 0,
            with_prev: 0,
            progress_requested: false,
        }
    }

    /// How many watchers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.watchers.len()
    }

    /// Whether there is no watcher.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.watchers.is_empty()
    }

    /// From where on the next [`WatchStream::advance`] wants [`super::WatchRing::recent`].
    #[must_use]
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Creates a watcher, at the ring's present revision. Its events come with the next
    /// [`WatchStream::advance`], and so after this answer.
    pub fn create(&mut self, request: WatchCreateRequest, revision: i64) -> WatchResponse {
        self.create_if(request, revision, |_| Ok(()))
    }

    /// The same, if that lets it: with the keys that will be watched.
    pub fn create_if(
        &mut self,
        request: WatchCreateRequest,
        revision: i64,
        check: impl FnOnce(&KeyRange) -> Result<(), Error>,
    ) -> WatchResponse {
        let created = WatchResponse { revision, created: true, ..WatchResponse::default() };
        match self.try_create(request, revision, check) {
            Ok(watch_id) => WatchResponse { watch_id, ..created },
            Err(error) => WatchResponse {
                watch_id: NO_WATCHER,
                cancel: Some(Cancel::Refused(error)),
                ..created
            },
        }
    }

    fn try_create(
        &mut self,
        request: WatchCreateRequest,
        revision: i64,
        check: impl FnOnce(&KeyRange) -> Result<(), Error>,
    ) -> Result<i64, Error> {
        if request.start_revision < 0 {
            return Err(Error::Compacted);
        }
        let range = KeyRange::parse_watch(request.key, request.range_end)?;
        check(&range)?;
        let id = match request.watch_id {
            0 => self.unused_id(),
            id if self.watchers.contains_key(&id) => return Err(Error::WatchIdInUse),
            id => id,
        };
        if self.watchers.is_empty() {
            // Nobody has missed anything.
            self.position = self.position.max(revision + 1);
        }
        assert!(self.position <= revision + 1, "the ring's revision never decreases");
        let (from, progress_from) = match request.start_revision {
            0 => (revision + 1, revision),
            start => (start, start),
        };
        let behind = (from < self.position).then_some(from);
        if behind.is_some() {
            self.behind.insert((from, id));
        }
        self.index.insert(&range, id);
        self.with_prev += usize::from(request.prev_kv);
        let watcher = Watcher {
            range,
            from,
            behind,
            progress_from,
            progress_notify: request.progress_notify,
            quiet: false,
            no_put: request.no_put,
            no_delete: request.no_delete,
            prev_kv: request.prev_kv,
            fragment: request.fragment,
        };
        self.watchers.insert(id, watcher);
        Ok(id)
    }

    fn unused_id(&mut self) -> i64 {
        while self.watchers.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        self.next_id - 1
    }

    /// Ends a watcher. An unknown id gets no answer (etcd's behaviour).
    pub fn cancel(&mut self, watch_id: i64, revision: i64) -> Option<WatchResponse> {
        self.remove(watch_id)?;
        let cancel = Some(Cancel::Asked);
        Some(WatchResponse { revision, watch_id, cancel, ..WatchResponse::default() })
    }

    /// The watchers, and of each the first revision that was not sent to it.
    pub fn next_revisions(&self) -> impl Iterator<Item = (i64, i64)> {
        let next = |watcher: &Watcher| watcher.behind.unwrap_or(self.position.max(watcher.from));
        self.watchers.iter().map(move |(id, watcher)| (*id, next(watcher)))
    }

    /// Ends every watcher whose keys that does not let it watch any more, with its reason.
    pub fn cancel_unless(
        &mut self,
        revision: i64,
        check: impl Fn(&KeyRange) -> Result<(), Error>,
    ) -> Vec<WatchResponse> {
        let refused = self.watchers.iter().filter_map(|(id, watcher)| {
            let refusal = check(&watcher.range).err()?;
            Some((*id, refusal))
        });
        let refused: Vec<_> = refused.collect();
        let end = |(watch_id, refusal)| {
            self.remove(watch_id);
            let cancel = Some(Cancel::Refused(refusal));
            WatchResponse { revision, watch_id, cancel, ..WatchResponse::default() }
        };
        refused.into_iter().map(end).collect()
    }

    fn remove(&mut self, id: i64) -> Option<Watcher> {
        let watcher = self.watchers.remove(&id)?;
        self.index.remove(&watcher.range, id);
        self.with_prev -= usize::from(watcher.prev_kv);
        if let Some(next) = watcher.behind {
            let was_behind = self.behind.remove(&(next, id));
            assert!(was_behind, "watcher {id} is behind at {next}");
        }
        Some(watcher)
    }

    /// Asks for a report of the whole stream's progress. It comes with an [`WatchStream::advance`]
    /// that leaves no watcher behind.
    pub fn request_progress(&mut self) {
        self.progress_requested = true;
    }

    /// Reports the progress of each watcher that asked for it and that was sent nothing since the
    /// last tick. To be called at the interval of progress notification.
    pub fn tick(&mut self) -> Vec<WatchResponse> {
        let revision = self.position - 1;
        let mut responses = Vec::new();
        for (&watch_id, watcher) in &mut self.watchers {
            let synced = watcher.behind.is_none() && revision >= watcher.progress_from;
            if watcher.progress_notify && watcher.quiet && synced {
                responses.push(WatchResponse { revision, watch_id, ..WatchResponse::default() });
            }
            watcher.quiet = true;
        }
        responses
    }

    /// Whether an [`WatchStream::advance`] with this may read from the disk, and not from memory only:
    /// a caller with other things to do then does it elsewhere.
    #[must_use]
    pub fn reads_disk(&self, recent: &Recent) -> bool {
        let Some(events) = &recent.events else { return !self.is_empty() };
        let wants_prev = |of: &RevisionEvents| {
            of.events.iter().any(|event| {
                let ids = self.interested_live(event, of.revision);
                ids.iter().any(|id| self.watchers[id].prev_kv)
            })
        };
        !self.behind.is_empty() || self.with_prev > 0 && events.iter().any(wants_prev)
    }

    /// Sends on: history to watchers that are behind, recent events to the others.
    ///
    /// # Errors
    /// If the engine has failed.
    pub fn advance(&mut self, recent: Recent) -> Result<Advance, EngineError> {
        let Recent { events, state } = recent;
        let mut out = Output { limits: self.limits, responses: Vec::new(), bytes: 0 };
        match events {
            None => self.fall_behind(state.revision() + 1),
            Some(_) if self.watchers.is_empty() => self.position = state.revision() + 1,
            Some(_) => {}
        }
        self.cancel_compacted(&state, &mut out);
        self.catch_up(&state, &mut out)?;
        for events in events.unwrap_or_default() {
            if out.is_full() {
                break;
            }
            self.send_live(&events, &state, &mut out)?;
        }
        let caught_up = self.behind.is_empty() && self.position > state.revision();
        let may_report = caught_up || planted!(WatchProgressTooEarly);
        if may_report && core::mem::take(&mut self.progress_requested) {
            self.report_progress(&mut out);
        }
        Ok(Advance { responses: out.responses, more: !caught_up })
    }

    /// The ring does not reach back to `position`: whoever was synced is behind from there.
    fn fall_behind(&mut self, to: i64) {
        assert!(to >= self.position, "the ring's revision never decreases");
        let position = core::mem::replace(&mut self.position, to);
        for (&id, watcher) in &mut self.watchers {
            let next = watcher.from.max(position);
            if watcher.behind.is_none() && next < to {
                watcher.behind = Some(next);
                self.behind.insert((next, id));
            }
        }
    }

    fn cancel_compacted(&mut self, state: &ReadState, out: &mut Output) {
        let compact_revision = state.compacted();
        while let Some(&(next, watch_id)) = self.behind.first()
            && next < compact_revision
            && !planted!(WatchMissesCompaction)
        {
            self.remove(watch_id);
            let cancel = Some(Cancel::Compacted { compact_revision });
            // The header has no revision, as in etcd: nothing is said about progress.
            out.responses.push(WatchResponse { watch_id, cancel, ..WatchResponse::default() });
        }
    }

    /// Sends a stretch of history to the watchers that are furthest behind, and to those they meet on
    /// the way.
    fn catch_up(&mut self, state: &ReadState, out: &mut Output) -> Result<(), EngineError> {
        let Some(&(from, _)) = self.behind.first() else { return Ok(()) };
        let mut through = self.position - 1 + i64::from(planted!(WatchRepeatsAtHandOver));
        let mut events_of = EventsOf::new();
        let (mut revision, mut bytes) = (from, 0);
        // How many revisions there was something to send of, and the last of them.
        let (mut revisions, mut last_sent) = (0, 0);
        let mut revision_bytes = 0;
        for (looked_at, change) in state.changes(from).enumerate() {
            let change = change?;
            let last = through - i64::from(planted!(WatchLosesAtHandOver));
            if change.revision.main > last {
                break;
            }
            if change.revision.main != revision || planted!(WatchSplitsRevision) {
                let enough = revisions >= CATCH_UP_REVISIONS
                    || looked_at >= CATCH_UP_CHANGES
                    || bytes >= self.limits.advance_bytes;
                if enough {
                    through = revision;
                    break;
                }
                revision = change.revision.main;
                revision_bytes = 0;
            }
            let kind = if change.deletion { EventKind::Delete } else { EventKind::Put };
            let ids = self.interested(&change.key, kind, |watcher| {
                watcher.behind.is_some_and(|next| next <= revision)
            });
            if ids.is_empty() {
                continue;
            }
            let event = self.with_prev_kv(state.event(&change)?, &ids, state)?;
            revisions += usize::from(last_sent != revision);
            last_sent = revision;
            bytes += wire::event_len(&event) * ids.len();
            revision_bytes += event.memory_bytes() * ids.len();
            self.hand_out(&event, &ids, &mut events_of);
            if revision_bytes > self.limits.revision_bytes {
                self.give_up(revision, &mut events_of, state.revision(), out);
                revision_bytes = 0;
            }
        }
        self.set_caught_up(through);
        self.emit(events_of, state.revision(), out);
        Ok(())
    }

    /// The history up to `through` has been sent to everybody who was behind.
    fn set_caught_up(&mut self, through: i64) {
        while let Some(&(next, id)) = self.behind.first()
            && next <= through
        {
            self.behind.pop_first();
            let watcher = self.watchers.get_mut(&id).expect("who is behind is a watcher");
            let next = through + 1;
            watcher.behind = (next < self.position).then_some(next);
            if watcher.behind.is_some() {
                self.behind.insert((next, id));
            }
        }
    }

    fn send_live(
        &mut self,
        of: &RevisionEvents,
        state: &ReadState,
        out: &mut Output,
    ) -> Result<(), EngineError> {
        if of.revision < self.position {
            // Fell behind and skipped it, or took it with the history.
            return Ok(());
        }
        assert_eq!(of.revision, self.position, "the ring leaves out no revision");
        let mut events_of = EventsOf::new();
        let mut revision_bytes = 0;
        for event in &*of.events {
            let ids = self.interested_live(event, of.revision);
            let event = self.with_prev_kv(event.clone(), &ids, state)?;
            revision_bytes += event.memory_bytes() * ids.len();
            self.hand_out(&event, &ids, &mut events_of);
            if revision_bytes > self.limits.revision_bytes {
                self.give_up(of.revision, &mut events_of, of.revision, out);
                revision_bytes = 0;
            }
        }
        self.position += 1;
        self.emit(events_of, of.revision, out);
        Ok(())
    }

    /// The synced watchers to whom an event goes.
    fn interested_live(&self, event: &Event, revision: i64) -> Vec<i64> {
        self.interested(&event.kv.key, event.kind, |watcher| {
            let is_due = watcher.from <= revision || planted!(WatchBeforeItsTime);
            watcher.behind.is_none() && is_due
        })
    }

    /// An event for these watchers, with the key as it was before if one of them wants that.
    fn with_prev_kv(
        &self,
        event: Event,
        ids: &[i64],
        state: &ReadState,
    ) -> Result<Event, EngineError> {
        let wanted = ids.iter().any(|id| self.watchers[id].prev_kv);
        let prev_kv = if wanted { state.prev_kv(&event)? } else { None };
        Ok(Event { prev_kv, ..event })
    }

    /// The watchers to whom a change of a key goes, among those that `may` get it.
    fn interested(&self, key: &[u8], kind: EventKind, may: impl Fn(&Watcher) -> bool) -> Vec<i64> {
        let mut ids = Vec::new();
        self.index.watchers(key, |id| {
            let watcher = &self.watchers[&id];
            let dropped = match kind {
                EventKind::Put => watcher.no_put,
                EventKind::Delete => watcher.no_delete,
            };
            if !dropped && may(watcher) {
                ids.push(id);
            }
        });
        ids
    }

    fn hand_out(&self, event: &Event, ids: &[i64], events_of: &mut EventsOf) {
        for id in ids {
            let prev_kv = event.prev_kv.clone().filter(|_| self.watchers[id].prev_kv);
            let event = Event { kind: event.kind, kv: event.kv.clone(), prev_kv };
            events_of.entry(*id).or_default().push(event);
        }
    }

    fn emit(&mut self, events_of: EventsOf, revision: i64, out: &mut Output) {
        for (watch_id, events) in events_of {
            let watcher = self.watchers.get_mut(&watch_id).expect("events are for watchers");
            watcher.quiet = false;
            let response = WatchResponse { revision, watch_id, events, ..WatchResponse::default() };
            out.push(response, watcher.fragment);
        }
    }

    /// Cancels the watchers for whom a revision is too large, after what they get of those before it.
    fn give_up(
        &mut self,
        too_large: i64,
        events_of: &mut EventsOf,
        revision: i64,
        out: &mut Output,
    ) {
        let is_of_it = |event: &Event| event.kv.mod_revision == too_large;
        let gets_it = |_: &i64, events: &mut Vec<Event>| events.last().is_some_and(is_of_it);
        let mut before: EventsOf = events_of.extract_if(.., gets_it).collect();
        let ids: Vec<i64> = before.keys().copied().collect();
        before.values_mut().for_each(|events| events.retain(|event| !is_of_it(event)));
        before.retain(|_, events| !events.is_empty());
        self.emit(before, revision, out);
        for watch_id in ids {
            self.remove(watch_id);
            let cancel = Some(Cancel::Refused(Error::AnswerTooLarge));
            // As with a compaction, nothing is said about progress.
            out.responses.push(WatchResponse { watch_id, cancel, ..WatchResponse::default() });
        }
    }

    /// All watchers have been sent everything before `position`.
    fn report_progress(&self, out: &mut Output) {
        let revision = self.position - 1;
        let ready = self.watchers.values().all(|watcher| watcher.progress_from <= revision);
        if ready && !self.watchers.is_empty() {
            let watch_id = NO_WATCHER;
            out.responses.push(WatchResponse { revision, watch_id, ..WatchResponse::default() });
        }
    }
}

/// The responses of one advance.
struct Output {
    limits: WatchLimits,
    responses: Vec<WatchResponse>,
    bytes: usize,
}

impl Output {
    fn is_full(&self) -> bool {
        self.bytes >= self.limits.advance_bytes
    }

    /// Adds a response, in fragments if it is large and may be split. An event is never split.
    fn push(&mut self, mut response: WatchResponse, may_split: bool) {
        let lengths: Vec<usize> = response.events.iter().map(wire::event_len).collect();
        let total: usize = lengths.iter().sum();
        self.bytes += total;
        if !may_split || total < self.limits.fragment_bytes || lengths.len() < 2 {
            self.responses.push(response);
            return;
        }
        let mut rest = core::mem::take(&mut response.events).into_iter().zip(lengths).peekable();
        while let Some((event, length)) = rest.next() {
            let mut events = alloc::vec![event];
            let mut filled = length;
            while let Some((event, length)) =
                rest.next_if(|(_, length)| filled + length < self.limits.fragment_bytes)
            {
                events.push(event);
                filled += length;
            }
            let fragment = rest.peek().is_some();
            self.responses.push(WatchResponse { events, fragment, ..response.clone() });
        }
    }
}
