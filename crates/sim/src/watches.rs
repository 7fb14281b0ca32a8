//! Clients that watch: what they wish to see, what they were told, and where they go on after a
//! stream broke.
//!
//! A client of this kind has one stream at one member, with a few watches on it, as the clients of
//! etcd do. When the stream breaks it opens another one, at whichever member, and goes on with each
//! watch behind the last revision that it was told of whole: behind that of the answer to its wish,
//! of an event, or of a report of progress. What was compacted meanwhile is lost to it.
//!
//! Each part of that, from one stream to the next, is a [`Watch`] of its own for the nine checks of
//! [`quorate_check::watch`], with all that arrived. That the parts fit together follows from the first
//! of them that is wrong: it begins where the one before left off, and must not begin later.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use quorate_check::Violation;
use quorate_check::changes::Changes;
use quorate_check::watch::{Watch, check};
use quorate_mvcc::KeyRange;
use quorate_mvcc::watch::{
    Cancel, NO_WATCHER, WatchCreateRequest, WatchLimits, WatchResponse, WatchStream,
};
use quorate_raft::NodeId;

use crate::chance::Chance;

/// How a run is watched. Drawn from a source of its own, and nothing else in a run depends on it:
/// watchers only look on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watches {
    /// The clients, each with a stream.
    pub clients: u64,
    /// The most watches of a stream.
    pub per_stream: u64,
    /// The bytes of recent events that a member keeps; watchers further behind read the history.
    pub ring_bytes: usize,
    /// The bytes after which a stream makes a pause.
    pub advance_bytes: usize,
    /// The bytes from which on a response is split, where the client allows that.
    pub fragment_bytes: usize,
    /// The mean time until a stream with something to tell tells it.
    pub turn_mean: Duration,
    /// The mean time between two things that a client does.
    pub act_mean: Duration,
    /// Of a thousand such things, how many are that it loses its connection.
    pub breaks_per_mille: u64,
}

/// Tells the source of these options from that of all else.
const WATCHES: u64 = 0x77_6174_6368_6573;

impl Watches {
    /// Those of a seed, if it has any: two in three do.
    #[must_use]
    pub fn of_seed(seed: u64) -> Option<Self> {
        let mut chance = Chance::new(seed ^ WATCHES);
        chance.per_mille(667).then(|| Self::draw(&mut chance))
    }

    fn draw(chance: &mut Chance) -> Self {
        let ms = Duration::from_millis;
        Self {
            clients: chance.between(1, 3),
            per_stream: chance.between(1, 4),
            ring_bytes: *chance.pick(&[0, 256, 2_048, 1 << 20, 1 << 20]),
            advance_bytes: *chance.pick(&[1, 512, 1 << 20, 1 << 20]),
            fragment_bytes: *chance.pick(&[1, 256, 1 << 20]),
            turn_mean: *chance.pick(&[Duration::from_micros(50), ms(2), ms(50), ms(1_000)]),
            act_mean: ms(*chance.pick(&[30, 150, 600])),
            breaks_per_mille: *chance.pick(&[0, 30, 150]),
        }
    }

    /// The source of what watchers do in a run.
    #[must_use]
    pub fn source(seed: u64) -> Chance {
        Chance::new(!seed ^ WATCHES)
    }

    /// What a stream does at once. No revision of a run is too large for it.
    #[must_use]
    pub fn limits(&self) -> WatchLimits {
        WatchLimits {
            fragment_bytes: self.fragment_bytes,
            advance_bytes: self.advance_bytes,
            revision_bytes: 16 << 20,
        }
    }
}

/// What watchers were told in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchCounts {
    /// Streams opened.
    pub streams: u64,
    /// Watches judged: each from the wish to where its stream or itself ended.
    pub watches: u64,
    /// How many of them went on with one that was lost.
    pub resumed: u64,
    /// Wishes given up by their client, whose watch was ended and told so.
    pub cancelled: u64,
    /// How many were cancelled because their history was gone.
    pub compacted: u64,
    /// Events judged.
    pub events: u64,
    /// Reports of progress judged.
    pub progress: u64,
}

impl WatchCounts {
    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        let Self { streams, watches, resumed, cancelled, compacted, events, progress } = other;
        self.streams += streams;
        self.watches += watches;
        self.resumed += resumed;
        self.cancelled += cancelled;
        self.compacted += compacted;
        self.events += events;
        self.progress += progress;
    }
}

/// Something that a client wants to see, from whichever member.
#[derive(Clone, Debug)]
struct Wish {
    request: WatchCreateRequest,
    /// The next revision to be told of; 0 while it was told of none and wants what happens from now on.
    next: i64,
    /// Whether it was created before, so that the next time is a resumption.
    was_created: bool,
}

/// A watch of the present stream.
#[derive(Debug)]
struct Open {
    id: i64,
    wish: usize,
    watch: Watch,
    is_over: bool,
}

/// A stream as both ends see it.
#[derive(Debug)]
pub struct Connection {
    /// Where it ends.
    pub node: NodeId,
    /// The member's end.
    pub stream: WatchStream,
    /// Responses on their way, in their order.
    pub under_way: VecDeque<WatchResponse>,
    /// What had been published when the stream took its last turn.
    pub publications: u64,
    /// Whether there is more to tell of that.
    pub behind: bool,
    /// Whether its next turn is scheduled.
    pub scheduled: bool,
    open: Vec<Open>,
}

/// A client.
#[derive(Debug, Default)]
pub struct WatchClient {
    wishes: Vec<Wish>,
    /// Its stream, if it has one.
    pub connection: Option<Connection>,
    /// Counts its streams.
    pub connections: u64,
    /// All that was told and is over.
    told: Vec<Watch>,
    /// What it saw.
    pub counts: WatchCounts,
}

impl WatchClient {
    /// Thinks of something more to see, among so many keys, in a store that is at this revision.
    /// Returns which wish that is.
    pub fn wish(&mut self, chance: &mut Chance, keys: u64, revision: i64) -> usize {
        let key = |number: u64| Bytes::from(format!("key-{number}"));
        let prefix = |chance: &mut Chance| {
            let of = if chance.per_mille(300) { &b"lease-"[..] } else { &b"key-"[..] };
            KeyRange::prefix(Bytes::from_static(of))
        };
        let range = match chance.below(5) {
            0 => KeyRange::Point(key(chance.below(keys))),
            1 => prefix(chance),
            2 => {
                let (one, other) = (chance.below(keys), chance.below(keys));
                let (from, to) = (key(one).min(key(other)), key(one).max(key(other)));
                // Up to the last of the two and itself: never empty.
                KeyRange::Span { from, to: [&to[..], b"\0"].concat().into() }
            }
            _ => KeyRange::prefix(Bytes::new()),
        };
        let some = |chance: &mut Chance, most: u64| {
            i64::try_from(chance.between(1, most)).expect("a small number")
        };
        let next = match chance.below(6) {
            0 | 1 => 0,
            2 => 1,
            3 => (revision - some(chance, 30)).max(1),
            4 => revision + some(chance, 3),
            _ => revision + some(chance, 30),
        };
        let (key, range_end) = range.to_pair();
        let request = WatchCreateRequest {
            key,
            range_end,
            progress_notify: chance.per_mille(500),
            no_put: chance.per_mille(100),
            no_delete: chance.per_mille(150),
            prev_kv: chance.per_mille(500),
            watch_id: 0,
            fragment: chance.per_mille(400),
            start_revision: 0,
        };
        self.wishes.push(Wish { request, next, was_created: false });
        self.wishes.len() - 1
    }

    /// How many wishes it has.
    #[must_use]
    pub fn wishes(&self) -> usize {
        self.wishes.len()
    }

    /// Opens a stream at a member, with all wishes on it. `skips` makes the member begin each resumed
    /// watch one revision late.
    pub fn connect(&mut self, node: NodeId, limits: WatchLimits, revision: i64, skips: bool) {
        assert!(self.connection.is_none(), "a client has one stream");
        self.connections += 1;
        self.counts.streams += 1;
        self.connection = Some(Connection {
            node,
            stream: WatchStream::new(limits),
            under_way: VecDeque::new(),
            publications: 0,
            behind: true,
            scheduled: false,
            open: Vec::new(),
        });
        for wish in 0..self.wishes.len() {
            self.create(wish, revision, skips);
        }
    }

    /// Asks for a wish on the present stream, whose member is at this revision. See
    /// [`WatchClient::connect`] for `skips`.
    pub fn create(&mut self, wish: usize, revision: i64, skips: bool) {
        let connection = self.connection.as_mut().expect("there is a stream");
        let of = &mut self.wishes[wish];
        let request = WatchCreateRequest { start_revision: of.next, ..of.request.clone() };
        let is_resumed = std::mem::replace(&mut of.was_created, true);
        self.counts.resumed += u64::from(is_resumed);
        let mut asked = request.clone();
        asked.start_revision += i64::from(skips && is_resumed);
        let response = connection.stream.create(asked, revision);
        let watch = Watch { request, responses: Vec::new() };
        connection.open.push(Open { id: response.watch_id, wish, watch, is_over: false });
        connection.under_way.push_back(response);
        connection.behind = true;
    }

    /// Wants one of its watches no more, and forgets the wish.
    pub fn cancel(&mut self, which: usize, revision: i64) {
        let Some(connection) = &mut self.connection else { return };
        let open = connection.open.iter().filter(|open| !open.is_over).nth(which);
        if let Some(id) = open.map(|open| open.id) {
            connection.under_way.extend(connection.stream.cancel(id, revision));
        }
    }

    /// The first so many responses that are under way arrive.
    ///
    /// # Errors
    /// If one of them is none that a client can get.
    pub fn receive(&mut self, count: usize, compacted: i64) -> Result<(), Violation> {
        for _ in 0..count {
            let connection = self.connection.as_mut().expect("what arrives has a stream");
            let response = connection.under_way.pop_front().expect("so many are under way");
            self.take(&response, compacted)?;
        }
        Ok(())
    }

    fn take(&mut self, response: &WatchResponse, compacted: i64) -> Result<(), Violation> {
        let Self { connection, wishes, counts, .. } = self;
        let connection = connection.as_mut().expect("what arrives has a stream");
        let is_for_all = response.watch_id == NO_WATCHER;
        // What is said to all was said before the answer to a wish that has not arrived yet.
        let is_meant = |open: &Open| match is_for_all {
            true => !open.watch.responses.is_empty(),
            false => open.id == response.watch_id,
        };
        let whose = connection.open.iter_mut().filter(|open| !open.is_over && is_meant(open));
        let mut is_for_somebody = false;
        for open in whose {
            is_for_somebody = true;
            open.watch.responses.push(response.clone());
            let wish = &mut wishes[open.wish];
            match response.cancel {
                None => {}
                Some(Cancel::Asked) => {
                    open.is_over = true;
                    counts.cancelled += 1;
                    wish.next = i64::MAX;
                    continue;
                }
                Some(Cancel::Compacted { compact_revision })
                    if wish.next < compact_revision && compact_revision <= compacted =>
                {
                    open.is_over = true;
                    counts.compacted += 1;
                    wish.next = compact_revision;
                    continue;
                }
                Some(cancel) => {
                    let what = format!("{:?} is ended with {cancel:?}", open.watch.request);
                    return Err(Violation::new("watch_cancel", what));
                }
            }
            let last = response.events.last().map(|event| event.kv.mod_revision);
            if response.created {
                let is_from_now = wish.next == 0;
                wish.next = if is_from_now { response.revision + 1 } else { wish.next };
            } else if let Some(last) = last {
                // The rest of what was split may be more of the same revision.
                wish.next = if response.fragment { wish.next } else { wish.next.max(last + 1) };
            } else {
                counts.progress += 1;
                wish.next = wish.next.max(response.revision + 1);
            }
        }
        if is_for_somebody || is_for_all {
            return Ok(());
        }
        Err(Violation::new("watch_stranger", format!("nobody asked for {response:?}")))
    }

    /// The wishes whose watch has ended while its stream goes on, for good or because their history is
    /// gone. What was told of them is put by.
    pub fn ended(&mut self) -> Vec<usize> {
        let Some(connection) = &mut self.connection else { return Vec::new() };
        let mut ended = Vec::new();
        for open in std::mem::take(&mut connection.open) {
            if open.is_over {
                ended.push(open.wish);
                self.told.push(open.watch);
            } else {
                connection.open.push(open);
            }
        }
        ended.retain(|wish| self.wishes[*wish].next != i64::MAX);
        ended
    }

    /// The stream is no more, and what was under way on it is lost.
    pub fn disconnect(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        self.told.extend(connection.open.into_iter().map(|open| open.watch));
        self.wishes.retain(|wish| wish.next != i64::MAX);
    }

    /// Holds all that it was told against the truth. `all` says that whatever it was not told by now
    /// would never be told, as if progress to the last revision had been reported to it.
    ///
    /// # Errors
    /// The first promise broken.
    pub fn judge(&mut self, changes: &Changes, all: bool) -> Result<(), Violation> {
        for watch in &self.told {
            check(watch, changes)?;
        }
        let open = self.connection.iter_mut().flat_map(|connection| &mut connection.open);
        for Open { watch, is_over, .. } in open {
            if all && !*is_over {
                let revision = changes.last();
                watch.responses.push(WatchResponse { revision, ..WatchResponse::default() });
            }
            check(watch, changes)?;
        }
        let open = self.connection.iter().flat_map(|connection| &connection.open);
        let judged = self.told.iter().chain(open.map(|open| &open.watch));
        for watch in judged {
            self.counts.watches += 1;
            self.counts.events += watch.events().count() as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use quorate_mvcc::{Event, EventKind, KeyValue};

    use super::*;

    const LIMITS: WatchLimits =
        WatchLimits { fragment_bytes: 1 << 20, advance_bytes: 1 << 20, revision_bytes: 1 << 20 };

    fn event(revision: i64) -> Event {
        let key = Bytes::from_static(b"k");
        let version = revision - 1;
        let kv = KeyValue {
            key,
            create_revision: 2,
            mod_revision: revision,
            version,
            ..KeyValue::default()
        };
        Event { kind: EventKind::Put, kv, prev_kv: None }
    }

    fn told(revision: i64, fragment: bool) -> WatchResponse {
        let events = vec![event(revision)];
        WatchResponse { revision, events, fragment, ..WatchResponse::default() }
    }

    /// A client with one wish for everything, on a stream at a member of revision 1.
    fn client(next: i64) -> WatchClient {
        let (key, range_end) = KeyRange::prefix(Bytes::new()).to_pair();
        let request =
            WatchCreateRequest { key, range_end, fragment: true, ..WatchCreateRequest::default() };
        let wishes = vec![Wish { request, next, was_created: false }];
        let mut client = WatchClient { wishes, ..WatchClient::default() };
        client.connect(NodeId(1), LIMITS, 1, false);
        client.receive(1, -1).expect("the answer to the wish");
        client
    }

    fn hears(client: &mut WatchClient, responses: impl IntoIterator<Item = WatchResponse>) {
        let connection = client.connection.as_mut().expect("it has a stream");
        connection.under_way.extend(responses);
        let count = connection.under_way.len();
        client.receive(count, 3).expect("it is meant for it");
    }

    #[test]
    fn a_watch_goes_on_behind_what_was_told_whole() {
        let mut client = client(0);
        assert_eq!(client.wishes[0].next, 2, "the answer says what it begins behind");
        hears(&mut client, [told(2, false), told(3, true)]);
        assert_eq!(client.wishes[0].next, 3, "of 3 there is more to come");
        hears(&mut client, [WatchResponse { revision: 7, ..WatchResponse::default() }]);
        assert_eq!(client.wishes[0].next, 8, "nothing happened up to 7");
        client.disconnect();
        client.connect(NodeId(2), LIMITS, 9, false);
        let resumed = &client.connection.as_ref().unwrap().open[0].watch;
        assert_eq!(resumed.request.start_revision, 8);
        assert_eq!(client.counts.resumed, 1);
    }

    #[test]
    fn what_is_gone_is_skipped_and_no_reason_is_made_up() {
        let mut client = client(1);
        let cancelled = |compact_revision| WatchResponse {
            cancel: Some(Cancel::Compacted { compact_revision }),
            ..WatchResponse::default()
        };
        hears(&mut client, [cancelled(3)]);
        assert_eq!(client.ended(), [0]);
        client.create(0, 5, false);
        hears(&mut client, []);
        assert_eq!(client.wishes[0].next, 3);
        let connection = client.connection.as_mut().unwrap();
        let id = connection.open[0].id;
        connection.under_way.push_back(WatchResponse { watch_id: id, ..cancelled(4) });
        client.receive(1, 3).expect_err("nobody has compacted so far");
    }

    #[test]
    fn what_nobody_asked_for_is_noticed() {
        let mut client = client(1);
        let connection = client.connection.as_mut().expect("it has a stream");
        let stranger = connection.open[0].id + 1;
        connection.under_way.push_back(WatchResponse { watch_id: stranger, ..told(2, false) });
        let violation = client.receive(1, 3).expect_err("it has no such watch");
        assert_eq!(violation.property, "watch_stranger");
    }

    #[test]
    fn a_watch_at_rest_must_have_been_told_all() {
        let changes = Changes::new([event(2), event(3)]).expect("they follow from one another");
        let judge = |responses: &[WatchResponse], all| {
            let mut client = client(1);
            hears(&mut client, responses.iter().cloned());
            client.judge(&changes, all).map(|()| client.counts.events)
        };
        assert_eq!(judge(&[told(2, false)], false), Ok(1));
        judge(&[told(2, false)], true).expect_err("3 never came");
        assert_eq!(judge(&[told(2, false), told(3, false)], true), Ok(2));
        judge(&[told(3, false)], false).expect_err("2 was before it");
    }

    #[test]
    fn some_runs_are_watched_and_some_are_not() {
        let watched = (0..300).filter(|seed| Watches::of_seed(*seed).is_some()).count();
        assert!((150..250).contains(&watched), "{watched} of 300");
    }
}
