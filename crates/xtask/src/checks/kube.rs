//! A program that does what kube-apiserver does with its store, against etcd and against Quorate, three members each:
//! what both are determined to answer is compared, everything else is held against what must have happened.
//!
//! Every object is created, updated and deleted by transactions that compare its mod revision; lists are read in pages
//! at one revision and end where the count says so; watches carry what was there before, many on one stream, and ask how
//! far they have come; events share leases; who compacts is decided by a race for a key. In the end the leader of
//! Quorate is killed while all of that goes on.
//!
//! Times are told and not judged.

mod apiserver;
mod cacher;
mod history;
mod judge;
mod objects;
mod script;
mod storm;
mod transcript;

use std::io;
use std::time::Duration;

use crate::checks::cluster::{Cluster, Program};
use crate::checks::crash::wait_for_leader;
use crate::checks::kube::judge::Watched;
use crate::checks::kube::objects::Scale;
use crate::checks::kube::storm::Fault;
use crate::checks::options;

/// So many violations are told.
const TOLD: usize = 10;

/// Both programs get these. Kubernetes asks for progress every five seconds; here nobody has so much time.
const FLAGS: [&str; 3] =
    ["--experimental-watch-progress-notify-interval=500ms", "--log-level", "error"];

/// What one program did.
struct Side {
    script: script::Found,
    calm: storm::Found,
    fault: Option<storm::Found>,
}

/// Runs it; `KUBE_OBJECTS` says with how many objects, `KUBE_WATCHERS` how many look on, `KUBE_SECONDS` for how long
/// all write at once, and `KUBE_SEED` what chance does.
pub(crate) fn run() -> io::Result<()> {
    let scale = Scale {
        objects: options::number("KUBE_OBJECTS", 2_000)?.max(1_000),
        watchers: options::number("KUBE_WATCHERS", 30)? as usize,
        seconds: options::number("KUBE_SECONDS", 5)?.max(3),
        seed: options::number("KUBE_SEED", 1)?,
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let etcd = runtime.block_on(side(Program::etcd(), scale, false))?;
    let ours = runtime.block_on(side(Program::quorate()?, scale, true))?;

    let mut wrong = violations(&etcd, "etcd");
    wrong.extend(violations(&ours, "quorate"));
    wrong.extend(etcd.script.transcript.difference(&ours.script.transcript));
    if etcd.script.events != ours.script.events {
        wrong.push("what happened is not the same with etcd and with Quorate".to_owned());
    }
    table(&etcd, &ours);
    let fault = ours.fault.as_ref().expect("the leader of Quorate was killed");
    let watched = fault.watched;
    println!(
        "kube: {} objects, {} watchers: {} answers and {} events equal to etcd's; of 18 writers at once {} updates, \
         {} refused; the leader killed: {} updates, {} refused, {} without an answer of which {} were done, {} \
         streams of {} watches with {} events, none lost or doubled",
        scale.objects,
        scale.watchers,
        ours.script.transcript.len(),
        ours.script.events.len(),
        ours.calm.done,
        ours.calm.refused,
        fault.done,
        fault.refused,
        fault.unknown,
        fault.resolved,
        watched.streams,
        watched.watches,
        watched.events,
    );
    if wrong.is_empty() {
        return Ok(());
    }
    let all = wrong.len();
    wrong.truncate(TOLD);
    Err(io::Error::other(format!("{all} violations, seed {}:\n{}", scale.seed, wrong.join("\n"))))
}

async fn side(program: Program, scale: Scale, with_fault: bool) -> io::Result<Side> {
    let mut cluster = Cluster::start(program, 3, &FLAGS)?;
    wait_for_leader(&cluster).await?;
    let gate = versions(&cluster).await?;
    let mut script = script::run(&cluster, scale).await?;
    if with_fault {
        script.wrong.extend(gate);
    }
    let calm = storm::run(&mut cluster, scale, Fault::None).await?;
    let fault = match with_fault {
        true => Some(storm::run(&mut cluster, scale, Fault::Leader).await?),
        false => None,
    };
    Ok(Side { script, calm, fault })
}

/// What a member says of itself that apiservers look at: the size for a metric, and the version for whether it may be
/// asked for progress. etcd 3.5.1 may not, which is why its answers to that are not judged.
async fn versions(cluster: &Cluster) -> io::Result<Vec<String>> {
    let mut wrong = Vec::new();
    for client in crate::checks::crash::clients(cluster, Duration::from_secs(10)) {
        let status = client.status().await.map_err(io::Error::other)?;
        let numbers: Vec<u64> = status.version.split('.').map_while(|n| n.parse().ok()).collect();
        let tells_progress = match numbers[..] {
            [3, 4, patch] => patch >= 31,
            [3, 5, patch] => patch >= 13,
            [3, minor, _] => minor > 5,
            [major, _, _] => major > 3,
            _ => false,
        };
        if !tells_progress {
            wrong.push(format!("version {:?} is not asked for progress", status.version));
        }
        if status.db_size <= 0 {
            wrong.push(format!("a size of {} bytes", status.db_size));
        }
    }
    Ok(wrong)
}

/// All that is wrong with a program.
fn violations(side: &Side, name: &str) -> Vec<String> {
    let storms = [Some(&side.calm), side.fault.as_ref()];
    let of_storms = storms.into_iter().flatten().map(|storm| (&storm.wrong, &storm.watched));
    let mut wrong = Vec::new();
    for (found, watched) in
        [(&side.script.wrong, &side.script.watched)].into_iter().chain(of_storms)
    {
        wrong.extend(found.iter().map(|what| format!("{name}: {what}")));
        let Watched { overtaken, promises, .. } = *watched;
        if overtaken > 0 {
            let what =
                format!("{name}: {overtaken} events came after it was said that they had come");
            // Known of etcd before 3.5.13, and why apiservers do not ask it.
            if name == "etcd" { println!("{what}") } else { wrong.push(what) }
        }
        if promises[0] == 0 {
            wrong.push(format!("{name}: no answer to a request for progress"));
        }
    }
    // The watches of the script had nothing to tell while the leases ran out.
    if side.script.watched.promises[1] == 0 {
        wrong.push(format!("{name}: no progress was told without a request"));
    }
    wrong
}

fn table(etcd: &Side, ours: &Side) {
    println!("\n| | etcd | Quorate | ratio |\n|---|---:|---:|---:|");
    let row = |what: &str, etcd: f64, ours: f64| {
        println!("| {what} | {etcd:.0} | {ours:.0} | {:.2} |", ours / etcd);
    };
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    for ((what, theirs), (_, own)) in etcd.script.times.iter().zip(&ours.script.times) {
        row(&format!("{what}, ms"), ms(*theirs), ms(*own));
    }
    let rate = |storm: &storm::Found| storm.done as f64 / storm.length.as_secs_f64();
    row("updates of 18 writers at once, per second", rate(&etcd.calm), rate(&ours.calm));
    let refused = |storm: &storm::Found| storm.refused as f64;
    row("of them refused, as somebody was faster", refused(&etcd.calm), refused(&ours.calm));
    let lists = |storm: &storm::Found| storm.lists as f64;
    row("lists meanwhile", lists(&etcd.calm), lists(&ours.calm));
    for (what, percent) in [("half", 50), ("99 %", 99)] {
        let within = |storm: &storm::Found| {
            let at = (storm.waits.len() * percent / 100).min(storm.waits.len().saturating_sub(1));
            storm.waits.get(at).map_or(f64::NAN, |wait| ms(*wait))
        };
        let what = format!("a cache is as new as what was read, {what} within ms");
        row(&what, within(&etcd.calm), within(&ours.calm));
    }
    println!();
}
