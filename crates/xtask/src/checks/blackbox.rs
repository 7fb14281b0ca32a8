//! The checkers of `quorate_check`, held against real processes: what clients asked for and were told
//! while all goes wrong that can, several things at once.
//!
//! Clients put, delete, compare and read a few keys, each by way of changing members; others grant,
//! renew and watch over leases; one compacts the history now and then; others watch everything from the
//! first revision on, and resume where their stream ended, or with what is left if they were absent for too
//! long. Meanwhile members are killed and held, at times a majority; the network falls into parts, loses
//! what goes one way, or a share of it, or delays it; a bit of the log or the store of a member that is
//! down is flipped, always of the same minority; a small disk is full. When nothing is wrong any more, all
//! that was recorded must be explained: by one order (linearizability), by a replay of all changes (as
//! watchers were told of them while they were there), by the nine promises of watches and those of leases;
//! what is left of the history must fit that; and all members must become whole, with one hash. Then
//! some of what was recorded is falsified, and the judge has to object ([`control`]).
//!
//! Members live on hosts of their own, in a [`capsule`], and the losses are those of packet filters. Where
//! none is permitted they live on the loopback interface, and the report says what was not done.
//!
//! `CHECK_PROGRAM=etcd` does the same to etcd, but damages no files and fills no disk: it ends then. Of 3.5.1
//! it found, with members that were killed and held only, that a lease of 4 seconds was told to have
//! 9,223,372,036 left (`lease_remaining`).
//!
//! `BLACKBOX_SECONDS` says for how long things go wrong, in all: in clusters of three and of five by
//! turns, half a minute each at most. `BLACKBOX_SEED` says what, and when. `BLACKBOX_NETWORK=loopback`
//! does without a capsule. `--json FILE` writes what was done and found there.

pub(crate) mod control;
pub(crate) mod evidence;
mod fault;
pub(crate) mod judge;
mod leases;
pub(crate) mod recorder;
mod report;
mod stage;
pub(crate) mod traffic;
pub(crate) mod watchers;
mod wire;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use std::{env, io};

use crate::checks::client::Roster;
use crate::checks::cluster::Program;
use crate::checks::crash::{clients, leader, wait_for_leader};
use crate::checks::dice::Dice;
use crate::checks::{capsule, options, verdict};
use fault::{Deck, Fault, Kind, Target};
use recorder::Recorder;
use report::Report;
use stage::Stage;

/// How many clients write and read, watch, and hold leases.
const WRITERS: u64 = 6;
pub(crate) const WATCHERS: u64 = 5;
const TENANTS: u64 = 5;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_millis(1500);

/// So long at most things go wrong for one cluster.
const ROUND: Duration = Duration::from_secs(30);

/// How often somebody looks whether a fault is to end, or another leads.
const LOOK: Duration = Duration::from_millis(100);

/// Once all is well a lease ends within this time, and clients look on for longer.
const LOOKED_ON: Duration = judge::GRACE
    .saturating_add(Duration::from_secs(leases::TTL_MAX))
    .saturating_add(Duration::from_secs(2));

/// So long it may take until one leader has led for as long as that.
const RESTLESS: Duration = Duration::from_secs(120);

/// So long watchers have to see what was written last.
const LATE: Duration = Duration::from_secs(30);

/// What the caller wants.
struct Options {
    length: Duration,
    is_loopback: bool,
    json: Option<PathBuf>,
}

impl Options {
    fn read() -> io::Result<Self> {
        let is_loopback = match env::var("BLACKBOX_NETWORK").as_deref() {
            Ok("loopback") => true,
            Ok(other) => {
                return Err(io::Error::other(format!(
                    "BLACKBOX_NETWORK={other}: loopback, or unset"
                )));
            }
            Err(_) => false,
        };
        Ok(Self {
            length: Duration::from_secs(options::number("BLACKBOX_SECONDS", 60)?),
            is_loopback,
            json: options::report_file("blackbox")?,
        })
    }
}

/// Runs the check on clusters of three and of five.
pub(crate) fn run() -> io::Result<()> {
    let options = Options::read()?;
    let program = Program::subject()?;
    let refused = match options.is_loopback {
        true => Some("BLACKBOX_NETWORK=loopback".to_owned()),
        false => capsule::enter()?,
    };
    // Not before here: what is drawn outside of a capsule is not what is drawn inside.
    let seed = options::seed("BLACKBOX_SEED")?;
    let length = options.length;
    let name = program.name();
    let mut report = Report { program: name, seed, refused, length, ..Report::default() };
    let mut kinds = Kind::ALL.to_vec();
    kinds.retain(|kind| !report.impossible().contains(kind));
    if let Program::Etcd(_) = program {
        kinds.retain(|kind| ![Kind::Damage, Kind::FullDisk].contains(kind));
    }
    report.kinds.clone_from(&kinds);
    let rounds = 2 * length.div_duration_f64(2 * ROUND).ceil().max(1.0) as u32;
    let runtime = tokio::runtime::Runtime::new()?;
    for round in 0..rounds {
        let members = if round % 2 == 0 { 3 } else { 5 };
        let mut dice = Dice::new(seed, u64::from(round));
        let ended = Stage::set(program.clone(), members, report.refused.is_none(), &mut dice)
            .and_then(|stage| {
                *report.clusters.entry(members).or_default() += 1;
                runtime.block_on(storm(
                    stage,
                    Deck::new(&kinds),
                    length / rounds,
                    dice,
                    &mut report,
                ))
            });
        // What a cluster did not survive is told together with all that was done.
        if let Err(error) = ended {
            report.violations.push(error.to_string());
            break;
        }
    }
    if report.violations.is_empty() {
        report.violations.extend(report.missing());
    }
    println!("{}", report.summary());
    verdict::conclude(options.json.as_deref(), report.json(), &report.violations)
}

/// Lets things go wrong for one cluster, and judges it.
async fn storm(
    mut stage: Stage,
    mut deck: Deck,
    length: Duration,
    mut dice: Dice,
    report: &mut Report,
) -> io::Result<()> {
    wait_for_leader(&stage.cluster).await?;
    let recorder = Arc::new(Recorder::new());
    let members = || clients(&stage.cluster, PATIENCE);
    let roster = Roster::new(members());
    let mut busy = Vec::new();
    for number in 0..WRITERS {
        busy.push(tokio::spawn(traffic::run(
            number,
            roster.clone(),
            recorder.clone(),
            dice.split(),
        )));
    }
    for number in 0..TENANTS {
        busy.push(tokio::spawn(leases::run(number, members(), recorder.clone(), dice.split())));
    }
    busy.push(tokio::spawn(traffic::compact(roster.clone(), recorder.clone(), dice.split())));
    let watching: Vec<_> = (0..WATCHERS)
        .map(|number| {
            tokio::spawn(watchers::run(number, roster.clone(), recorder.clone(), dice.split()))
        })
        .collect();
    let end = Instant::now() + length;
    let mut led = None;
    while Instant::now() < end {
        let calm = Instant::now() + Duration::from_millis(200 + dice.roll(1000));
        while Instant::now() < calm {
            led = look(&stage, led, &recorder).await;
            tokio::time::sleep(LOOK).await;
        }
        let to_damage = stage.damageable().await;
        let members = stage.cluster.len();
        let target = Target { members, leader: led, to_damage: &to_damage };
        let faults = target.draw(&mut deck, &mut dice);
        act(&mut stage, faults, &mut dice, &recorder, report).await?;
    }
    // From here on a leader must be found, and remain.
    let (healed, since) = (Instant::now(), recorder.now());
    judge::wait_until_whole(&mut stage.cluster).await?;
    report.whole_after = report.whole_after.max(healed.elapsed());
    recorder.unsettled_since(since);
    look_on(&stage, &recorder).await?;
    let looked_until = recorder.now();
    recorder.over.store(true, Ordering::Relaxed);
    for task in busy {
        task.await.map_err(io::Error::other)?;
    }
    let last = traffic::write_last(&clients(&stage.cluster, PATIENCE), &recorder).await?;
    recorder.end_watches(last, LATE);
    for task in watching {
        task.await.map_err(io::Error::other)?;
    }
    let calm = stage.cluster.demand_no_panic();
    report.violations.extend(calm.err().map(|panic| panic.to_string()));
    judge::judge(&stage.cluster, &recorder, last, looked_until, report).await
}

/// Waits until one leader has led for so long that every lease it was left with has ended.
async fn look_on(stage: &Stage, recorder: &Recorder) -> io::Result<()> {
    let end = Instant::now() + RESTLESS;
    let mut led = leader(&stage.cluster).await;
    let mut since = Instant::now();
    while since.elapsed() < LOOKED_ON {
        if Instant::now() > end {
            return Err(io::Error::other(format!("nobody remains leader within {RESTLESS:?}")));
        }
        tokio::time::sleep(LOOK).await;
        let leads = look(stage, led, recorder).await;
        if leads.is_none() || leads != led {
            since = Instant::now();
        }
        led = leads;
    }
    Ok(())
}

/// Looks who leads, and notes if that is another one, or nobody.
async fn look(stage: &Stage, led: Option<usize>, recorder: &Recorder) -> Option<usize> {
    let since = recorder.now();
    let leads = leader(&stage.cluster).await;
    if leads.is_none() || leads != led {
        recorder.unsettled_since(since);
    }
    leads
}

/// Begins some faults one soon after the other, and ends each in its time.
async fn act(
    stage: &mut Stage,
    faults: Vec<Fault>,
    dice: &mut Dice,
    recorder: &Recorder,
    report: &mut Report,
) -> io::Result<()> {
    report.at_once += u64::from(faults.len() > 1);
    let since = recorder.now();
    let mut ends = Vec::new();
    for fault in faults {
        ends.push(Instant::now() + fault.length);
        let kind = stage.begin(fault, dice)?;
        *report.faults.entry(kind).or_default() += 1;
        tokio::time::sleep(Duration::from_millis(dice.roll(300))).await;
    }
    for until in ends {
        while Instant::now() < until {
            tokio::time::sleep(LOOK).await;
            stage.keep_full()?;
        }
        stage.cluster.demand_alive()?;
        stage.end_first()?;
    }
    recorder.unsettled_since(since);
    Ok(())
}
