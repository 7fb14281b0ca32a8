//! What was recorded, held against the checkers.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_check::changes::Changes;
use quorate_check::history::{Outcome, Request, Response};
use quorate_check::lease::Rules;
use quorate_check::state_hash::StateHashes;
use quorate_mvcc::watch::Cancel;
use quorate_mvcc::{Event, KeyRange, KeyValue, RangeRequest};

use crate::checks::blackbox::control;
use crate::checks::blackbox::evidence::{Evidence, Remains};
use crate::checks::blackbox::recorder::Recorder;
use crate::checks::blackbox::report::Report;
use crate::checks::blackbox::watchers::{everything, next_of, watch as watch_all};
use crate::checks::blackbox::wire;
use crate::checks::client::Client;
use crate::checks::cluster::Cluster;
use crate::checks::crash::clients;

/// How much earlier than by our clock a lease may end, and how much later, if somebody leads. A leader
/// looks every half a second for what has run out, and a new one gives an election timeout more; the rest is
/// for a machine that is busy.
const TOLERANCE: Duration = Duration::from_millis(200);
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// How long members may take to become whole and equal once nothing is wrong any more. That takes
/// seconds; the rest is for a machine that is busy.
const HEALING: Duration = Duration::from_secs(180);

/// What a member that is being healed has in its data directory.
const UNHEALED: [&str; 3] = ["store-lost", "store.lost", "wal.lost"];

/// Waits until every member serves, is whole, and has the hash that the others have.
pub(crate) async fn wait_until_whole(cluster: &mut Cluster) -> io::Result<()> {
    let end = Instant::now() + HEALING;
    loop {
        cluster.demand_alive()?;
        let missing = match same_hashes(&clients(cluster, Duration::from_secs(5))).await {
            Ok(_) => match unhealed(cluster) {
                None => return Ok(()),
                Some(path) => io::Error::other(format!("{} is still there", path.display())),
            },
            Err(error) => error,
        };
        if Instant::now() > end {
            let logs = (0..cluster.len()).map(|m| format!("--- member {m}\n{}", cluster.log(m)));
            let logs: String = logs.collect();
            return Err(io::Error::other(format!(
                "not whole and equal within {HEALING:?}: {missing}\n{logs}"
            )));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What says that a member is not whole yet.
fn unhealed(cluster: &Cluster) -> Option<PathBuf> {
    let data = (0..cluster.len()).map(|member| cluster.data(member));
    data.flat_map(|data| UNHEALED.map(|name| data.join(name))).find(|path| path.exists())
}

/// All that was recorded, and what the members, who all run, have of it. Watchers were to see this revision.
///
/// # Errors
/// Members that do not answer or differ, and changes of which nobody was told.
pub(crate) async fn evidence(
    cluster: &Cluster,
    recorder: &Recorder,
    last: i64,
) -> io::Result<Evidence> {
    let members = clients(cluster, Duration::from_secs(30));
    let (revision, oldest) = same_hashes(&members).await?;
    let remains = remains(&members[0], oldest, revision).await?;
    recorder.told(&remains.changes);
    let changes = Changes::new(recorder.changes());
    let mut changes = changes.map_err(|violation| io::Error::other(violation.to_string()))?;
    // Leases end meanwhile, so there may be more.
    if changes.last() < revision {
        let known = changes.last();
        let what = format!("of the changes up to {revision} those after {known} are not known");
        return Err(io::Error::other(what));
    }
    changes.compacted(oldest);
    Ok(Evidence {
        history: recorder.history(),
        watches: recorder.watches(),
        leases: recorder.leases(),
        rules: Rules {
            tolerance: nanoseconds(TOLERANCE),
            grace: nanoseconds(GRACE),
            unsettled: recorder.unsettled(),
        },
        changes,
        remains,
        compacted: recorder.compacted(),
        last,
    })
}

/// Judges everything, and is judged itself; all members run. Watchers were to see this revision, and
/// until that moment somebody looked at the leases.
pub(super) async fn judge(
    cluster: &Cluster,
    recorder: &Recorder,
    last: i64,
    looked_until: u64,
    report: &mut Report,
) -> io::Result<()> {
    let evidence = evidence(cluster, recorder, last).await?;
    let (violations, not_judged) = evidence.judge();
    report.violations.extend(violations.iter().map(ToString::to_string));
    report.not_judged += not_judged;
    let watches = || evidence.watches.iter().map(|one| &one.watch);
    report.events += watches().map(|watch| watch.events().count()).sum::<usize>();
    let ended = watches()
        .flat_map(|watch| &watch.responses)
        .filter(|response| matches!(response.cancel, Some(Cancel::Compacted { .. })));
    report.overtaken += ended.count();
    report.operations += evidence.history.len();
    let compactions = evidence.history.iter().filter(|operation| {
        matches!(operation.outcome, Outcome::Known { reply: Ok(Response::Compact), .. })
    });
    report.compactions += compactions.count();
    let asked = evidence.history.iter().filter(|operation| {
        // The end of a lease by its clock was asked for by nobody.
        !matches!(operation.request, Request::LeaseRevoke { .. })
    });
    report.unknown += asked.filter(|operation| operation.outcome == Outcome::Unknown).count();
    report.leases += evidence.leases.len();
    report.leases_due += evidence.leases_due(looked_until);
    if violations.is_empty() {
        let (noticed, failed) = control::lie(&evidence, |_| true);
        report.lies_noticed += noticed;
        report.violations.extend(failed);
    }
    Ok(())
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).expect("it is seconds")
}

/// Compares what all members hold at one revision. Returns it, and the oldest one that is left. A compaction
/// of which nobody was told what became of it may still come, so some may have compacted more than others for
/// a while.
///
/// # Errors
/// Members that differ.
async fn same_hashes(members: &[Client]) -> io::Result<(i64, i64)> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let (revision, oldest) = hashes_of(members).await?;
        match (oldest.first(), oldest.len()) {
            // An empty store is at the first revision.
            (Some(oldest), 1) => return Ok((revision, (*oldest).max(1))),
            _ if Instant::now() > end => {
                let what = format!("members stay compacted at {oldest:?}");
                return Err(io::Error::other(what));
            }
            _ => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// The same, with all that are the oldest one of some member.
async fn hashes_of(members: &[Client]) -> io::Result<(i64, BTreeSet<i64>)> {
    let mut hashes = StateHashes::default();
    let answer = members[0].prefix("none/", false).await.map_err(io::Error::other)?;
    let revision = answer.header.unwrap_or_default().revision;
    let mut oldest = BTreeSet::new();
    for (number, client) in members.iter().enumerate() {
        // A linearizable read brings the member up to the revision first.
        client.prefix("none/", false).await.map_err(io::Error::other)?;
        let hash = client.hash_kv(revision).await.map_err(io::Error::other)?;
        hashes.said(number as u64, (revision, hash.compact_revision), hash.hash);
        oldest.insert(hash.compact_revision);
    }
    hashes.check().map_err(|violation| io::Error::other(violation.to_string()))?;
    Ok((revision, oldest))
}

/// What a member has of the history up to a revision.
async fn remains(client: &Client, from: i64, through: i64) -> io::Result<Remains> {
    let changes = changes_since(client, from, through).await?;
    Ok(Remains { from, keys: keys_at(client, from).await?, changes })
}

/// All changes of these revisions, from a watch of everything.
async fn changes_since(client: &Client, from: i64, through: i64) -> io::Result<Vec<Event>> {
    let end = Instant::now() + Duration::from_secs(30);
    let mut events = Vec::new();
    let mut next = from;
    while next <= through {
        if Instant::now() > end {
            let what = format!("a watch is at {next} and never comes to {through}");
            return Err(io::Error::other(what));
        }
        let start = Instant::now();
        let is_enough = |last| last >= through || start.elapsed() > Duration::from_secs(2);
        let watch = watch_all(client, everything(next), is_enough, |_| {}).await;
        next = next_of(&watch.request, &watch.responses);
        events.extend(watch.events().cloned());
    }
    Ok(events)
}

/// All keys at a revision.
async fn keys_at(client: &Client, revision: i64) -> io::Result<Vec<KeyValue>> {
    let all = RangeRequest::new(KeyRange::prefix(Bytes::new()));
    let request = Request::Range(RangeRequest { revision, ..all });
    match wire::send(client, &request).await.map_err(io::Error::other)? {
        Response::Range(range) => Ok(range.kvs),
        other => unreachable!("{other:?} is no answer to a range"),
    }
}
