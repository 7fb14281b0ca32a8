//! Ends a run: reads all that happened from each member, makes the history of it, and holds every watch and list
//! against that.

use std::io;
use std::time::Duration;

use quorate_proto::etcdserverpb::{RangeRequest, WatchCreateRequest};
use quorate_proto::mvccpb::Event;

use crate::checks::client::Client;
use crate::checks::kube::apiserver::revision;
use crate::checks::kube::cacher::Cacher;
use crate::checks::kube::history::{Attempt, History, Listing, State, Wish, kv};
use crate::checks::kube::objects::everything;

/// A replay that tells nothing for so long does not end.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a run leaves.
#[derive(Debug)]
pub(crate) struct Run {
    /// What there was at the beginning, and the revision of it.
    pub(crate) before: State,
    pub(crate) start: i64,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) listings: Vec<Listing>,
    pub(crate) cachers: Vec<Cacher>,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) history: History,
    pub(crate) wrong: Vec<String>,
    pub(crate) watched: Watched,
}

/// What the watchers had.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Watched {
    pub(crate) watches: usize,
    pub(crate) streams: usize,
    pub(crate) events: usize,
    /// Promises of progress: asked for, and without.
    pub(crate) promises: [usize; 2],
    /// Events that came after a promise that there are no more.
    pub(crate) overtaken: usize,
}

impl Watched {
    /// What others had too.
    pub(crate) fn add(&mut self, other: Self) {
        self.watches += other.watches;
        self.streams += other.streams;
        self.events += other.events;
        self.promises[0] += other.promises[0];
        self.promises[1] += other.promises[1];
        self.overtaken += other.overtaken;
    }
}

/// Everything that is there, and the revision of it.
///
/// # Errors
/// A member that does not answer.
pub(crate) async fn everything_now(client: &Client) -> io::Result<(State, i64)> {
    let Wish { key, range_end, .. } = everything(0);
    let all = RangeRequest { key, range_end, ..RangeRequest::default() };
    let all = client.range(all).await.map_err(io::Error::other)?;
    let revision = revision(&all);
    Ok((all.kvs.into_iter().map(|kv| (kv.key.clone(), kv)).collect(), revision))
}

impl Run {
    /// Judges it. Nobody writes any more.
    ///
    /// # Errors
    /// A member that does not answer.
    pub(crate) async fn judge(self, clients: &[Client]) -> io::Result<Judged> {
        let end = clients[0].prefix("/none/", false).await.map_err(io::Error::other)?;
        let end = revision(&end);
        let seen = replay(&clients[0], self.start + 1, end).await?;
        let (history, mut wrong) = History::of(self.before, &self.attempts, &seen);
        for client in &clients[1..] {
            if replay(client, self.start + 1, end).await? != seen {
                wrong.push("FORK: two members tell different histories".to_owned());
            }
        }
        wrong.extend(history.judge_lists(&self.listings));
        let mut watched = Watched::default();
        for cacher in self.cachers {
            let wishes = cacher.wishes.clone();
            let counts: Vec<usize> = wishes.iter().map(|wish| history.count(wish)).collect();
            watched.watches += wishes.len();
            watched.events += counts.iter().sum::<usize>();
            let followed = cacher.end(end, counts).await;
            watched.streams += followed.streams;
            watched.promises[0] += followed.promises[0];
            watched.promises[1] += followed.promises[1];
            wrong.extend(followed.wrong);
            for (wish, told) in wishes.iter().zip(&followed.told) {
                let (overtaken, found) = history.judge_watch(wish, told);
                watched.overtaken += overtaken;
                wrong.extend(found);
            }
        }
        Ok(Judged { history, wrong, watched })
    }
}

/// All events of a member from a revision to another one, which is of a change.
async fn replay(client: &Client, from: i64, to: i64) -> io::Result<Vec<Event>> {
    let wish = everything(from);
    let wish = WatchCreateRequest {
        key: wish.key,
        range_end: wish.range_end,
        start_revision: from,
        prev_kv: true,
        ..WatchCreateRequest::default()
    };
    // What is not there yet is not told in the beginning.
    let mut stream = client.watch(wish).await.map_err(io::Error::other)?;
    let mut events: Vec<Event> = Vec::new();
    while events.last().is_none_or(|event| kv(event).mod_revision < to) && from <= to {
        let answer = tokio::time::timeout(PATIENCE, stream.message()).await;
        let answer = answer.map_err(|_| {
            let last = events.last().map(kv);
            io::Error::other(format!("a replay to {to} stands still after {last:?}"))
        })?;
        let answer = answer.map_err(io::Error::other)?;
        let answer = answer.ok_or_else(|| io::Error::other("a replay ended"))?;
        if answer.canceled {
            return Err(io::Error::other(format!("a replay was ended: {answer:?}")));
        }
        events.extend(answer.events);
    }
    Ok(events)
}
