//! What was recorded, held against the checkers.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use quorate_check::changes::Changes;
use quorate_check::history::{Outcome, Request};
use quorate_check::lease::{self, Rules};
use quorate_check::linearizability::{self, Verdict};
use quorate_check::model::Model;
use quorate_check::state_hash::StateHashes;
use quorate_check::{replay, watch};
use quorate_mvcc::EventKind;

use crate::checks::blackbox::leases::PREFIX;
use crate::checks::blackbox::recorder::Recorder;
use crate::checks::blackbox::report::Report;
use crate::checks::blackbox::watchers::{everything, watch as watch_all};
use crate::checks::client::Client;
use crate::checks::cluster::Cluster;
use crate::checks::crash::clients;

/// How often the search may try an operation.
const BUDGET: u64 = 200_000_000;

/// How long members may take to become whole and equal once nothing is wrong any more. That takes
/// seconds; the rest is for a machine that is busy.
const HEALING: Duration = Duration::from_secs(180);

/// What a member that is being healed has in its data directory.
const UNHEALED: [&str; 3] = ["store-lost", "store.lost", "wal.lost"];

/// Waits until every member serves, is whole, and has the hash that the others have.
pub(super) async fn wait_until_whole(cluster: &mut Cluster) -> io::Result<()> {
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

/// Judges everything; all members run.
pub(super) async fn judge(
    cluster: &Cluster,
    recorder: &Recorder,
    report: &mut Report,
) -> io::Result<()> {
    let members = clients(cluster, Duration::from_secs(30));
    let revision = same_hashes(&members).await?;
    let changes = all_changes(&members[0], revision).await?;
    let history = recorder.history();
    let mut violations = Vec::new();
    let start = Model::default();
    match linearizability::check(&history, &start, BUDGET) {
        Verdict::Linearizable(_) => {}
        Verdict::Illegal(illegal) => violations.push(format!("linearizability: {illegal:?}")),
        Verdict::Unknown { steps } => {
            violations.push(format!("linearizability: no verdict after {steps} steps"));
        }
    }
    match replay::check(&history, &changes) {
        Ok(tally) => report.not_judged += tally.skipped,
        Err(violation) => violations.push(violation.to_string()),
    }
    let watches = recorder.watches();
    for one in watches.iter() {
        violations.extend(watch::violations(one, &changes).iter().map(ToString::to_string));
        report.events += one.events().count();
    }
    let leases = recorder.leases();
    let unsettled = recorder.upsets().into_iter().map(|at| (at, at)).collect();
    let rules = Rules { tolerance: 200_000_000, grace: 5_000_000_000, unsettled };
    for one in leases.iter() {
        violations.extend(lease::violations(one, &rules).iter().map(ToString::to_string));
    }
    let is_of_client = |revision| {
        changes.of(revision).iter().any(|event| {
            event.kind == EventKind::Put || !event.kv.key.starts_with(PREFIX.as_bytes())
        })
    };
    violations.extend(lease::check_together(&changes, is_of_client).err().map(|v| v.to_string()));
    report.operations += history.len();
    let asked = history.iter().filter(|operation| {
        // The end of a lease by its clock was asked for by nobody.
        !matches!(operation.request, Request::LeaseRevoke { .. })
    });
    report.unknown += asked.filter(|operation| operation.outcome == Outcome::Unknown).count();
    report.leases += leases.len();
    report.violations.extend(violations);
    Ok(())
}

/// Compares what all members hold at one revision, which it returns.
async fn same_hashes(members: &[Client]) -> io::Result<i64> {
    let mut hashes = StateHashes::default();
    let answer = members[0].prefix("none/", false).await.map_err(io::Error::other)?;
    let revision = answer.header.unwrap_or_default().revision;
    for (number, client) in members.iter().enumerate() {
        // A linearizable read brings the member up to the revision first.
        client.prefix("none/", false).await.map_err(io::Error::other)?;
        let hash = client.hash_kv(revision).await.map_err(io::Error::other)?;
        hashes.said(number as u64, (revision, hash.compact_revision), hash.hash);
    }
    assert_eq!(hashes.compared(), 1, "nothing was compacted, so all hashes are of one place");
    hashes.check().map_err(|violation| io::Error::other(violation.to_string()))?;
    Ok(revision)
}

/// All changes up to a revision, from a watch of everything.
async fn all_changes(client: &Client, revision: i64) -> io::Result<Changes> {
    let end = Instant::now() + Duration::from_secs(30);
    let mut events = Vec::new();
    loop {
        let last = events.last().map_or(0, |event: &quorate_mvcc::Event| event.kv.mod_revision);
        if last >= revision {
            break;
        }
        if Instant::now() > end {
            return Err(io::Error::other(format!("a watch ends at {last} and not at {revision}")));
        }
        let start = Instant::now();
        let is_enough = || start.elapsed() > Duration::from_secs(2);
        let watch = watch_all(client, everything(last + 1), is_enough).await;
        events.extend(watch.events().cloned());
    }
    Changes::new(events).map_err(|violation| io::Error::other(violation.to_string()))
}
