//! One damaged sector in the files of a real member, again and again: zeroed, or with one flipped bit.
//!
//! A small data set is written to three members, which are then killed: this is the *specimen*. For
//! each place all three get their files back as they were, one of them is damaged there, and all are
//! started. The damaged one must serve by itself, with every key right in both kinds of reads and the
//! hash that the others have; and it must count again: with one of the healthy members killed, a write
//! needs it. What is not a place to heal from is listed in [`REFUSED_RIGHTLY`], and must be reported.
//!
//! Then all three are damaged at once, at different places of their logs, so that each record has a
//! good copy left; and a cluster of one, which has nobody to ask, must refuse and change nothing.
//!
//! Where `CHECK_ETCD` names an etcd, the same is done to it. Its outcome is told, with the version that it
//! says it has, and never fails.
//!
//! `DAMAGE_SECONDS` bounds the sweep, `DAMAGE_POSITIONS` says how many places at most, or `all`
//! whatever the time; `DAMAGE_SEED` says which. `--json FILE` writes the counts there, and each place with its
//! outcome.

pub(crate) mod place;
mod report;
mod specimen;
mod truth;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, io};

use serde_json::{Map, Value, json};

use crate::checks::cluster::Program;
use crate::checks::dice::Dice;
use crate::checks::{options, verdict};
use place::{Kind, Place};
use report::{Outcome, Report};
use specimen::Specimen;

/// Files whose damage a member may answer with a refusal, and what it must say of it. The identity says
/// who the member is; a guess could let two members be one, and it is written once, so that an operator
/// has a copy or another member's word.
const REFUSED_RIGHTLY: &[(&str, &str)] =
    &[("identity", "identity is damaged; the member can't start")];

/// Runs the check.
pub(crate) fn run() -> io::Result<()> {
    let options = Options::read()?;
    let runtime = tokio::runtime::Runtime::new()?;
    // Connections are made on it.
    let _entered = runtime.enter();
    let mut ours = Report::default();
    runtime.block_on(sweep(Program::quorate()?, &options, options.length, &mut ours));
    ours.print("quorate");
    // Before etcd has its turn: whatever becomes of that, this is told.
    let (json, violations) = (options.json.as_deref(), ours.violations());
    let mut programs = Map::from_iter([("quorate".to_owned(), ours.json())]);
    let program = env::var_os("CHECK_ETCD").map(|_| Program::etcd());
    let version = program.as_ref().and_then(|etcd| etcd.version().ok());
    let report = |programs: &Map<String, Value>| json!({"seed": options.seed, "etcd_version": version, "programs": programs});
    verdict::leave(json, report(&programs), &violations)?;
    let beside = match program {
        None => "etcd: not run, as CHECK_ETCD is not set".to_owned(),
        Some(program) => {
            let name = format!("etcd {}", version.as_deref().unwrap_or("of unknown version"));
            let mut etcd = Report::default();
            runtime.block_on(sweep(program, &options, options.length / 2, &mut etcd));
            etcd.print(&name);
            programs.insert("etcd".to_owned(), etcd.json());
            format!("{name}: {}", etcd.summary())
        }
    };
    println!("damage: {}; {beside}", ours.summary());
    verdict::conclude(json, report(&programs), &violations)
}

/// What the caller wants.
struct Options {
    length: Duration,
    /// How many places at most; without one, all.
    positions: Option<usize>,
    seed: u64,
    json: Option<PathBuf>,
}

impl Options {
    fn read() -> io::Result<Self> {
        let is_all = env::var("DAMAGE_POSITIONS").is_ok_and(|value| value == "all");
        let day = Duration::from_secs(24 * 3600);
        let seconds = options::number("DAMAGE_SECONDS", 120)?;
        Ok(Self {
            length: if is_all { day } else { Duration::from_secs(seconds) },
            positions: match is_all {
                true => None,
                false => Some(options::number("DAMAGE_POSITIONS", 100_000)? as usize),
            },
            seed: options::seed("DAMAGE_SEED")?,
            json: options::report_file("damage")?,
        })
    }
}

/// Damages a program's files in all three ways. What ends it early is part of the report.
async fn sweep(program: Program, options: &Options, length: Duration, report: &mut Report) {
    if let Err(error) = examine(program, options, length, report).await {
        report.broken_off(&error);
    }
}

async fn examine(
    program: Program,
    options: &Options,
    length: Duration,
    report: &mut Report,
) -> io::Result<()> {
    let mut specimen = Specimen::prepare(program.clone(), 3).await?;
    // The last member is damaged: who leads is another question each time.
    let member = 2;
    let mut dice = Dice::new(options.seed, 0);
    let places = place::places(specimen.copy(member), &mut dice)?;
    report.possible(places.len());
    let end = Instant::now() + length;
    for place in places.into_iter().take(options.positions.unwrap_or(usize::MAX)) {
        if Instant::now() > end {
            break;
        }
        let outcome = specimen.round(&[(member, place.clone())]).await?;
        report.one(place, outcome);
    }
    for round in 0..3 {
        let mut places = Vec::new();
        for member in 0..3 {
            let place = in_the_log(specimen.copy(member), 1 + round + 3 * member, 11)?;
            places.push((member, place));
        }
        report.at_once(specimen.round(&places).await?);
    }
    let mut alone = Specimen::prepare(program, 1).await?;
    let place = in_the_log(alone.copy(0), 1, 2)?;
    let outcome = alone.round(&[(0, place.clone())]).await?;
    let unchanged = same_files(alone.copy(0), &alone.data(0), &place)?;
    report.alone(place, outcome, unchanged);
    Ok(())
}

/// Zeroes a sector of the log which is so far into its records.
fn in_the_log(data: &Path, part: usize, of: usize) -> io::Result<Place> {
    let mut longest: Option<(Vec<usize>, PathBuf)> = None;
    for file in place::files(data)? {
        if file.extension().is_some_and(|extension| extension == "wal") {
            let sectors = place::sectors(&data.join(&file))?;
            let used: Vec<usize> = (0..sectors.len()).filter(|at| !sectors[*at]).collect();
            if longest.as_ref().is_none_or(|(most, _)| used.len() > most.len()) {
                longest = Some((used, file));
            }
        }
    }
    let Some((used, file)) = longest.filter(|(used, _)| used.len() > of) else {
        return Err(io::Error::other(format!("{} has no log worth the name", data.display())));
    };
    let offset = place::offset(used[used.len() * part / of]);
    Ok(Place { file, offset, kind: Kind::Zeroed })
}

/// Whether a data directory is its copy with a damage and nothing else.
fn same_files(copy: &Path, data: &Path, place: &Place) -> io::Result<bool> {
    let mut expected = place::content(copy)?;
    if let Some(damaged) = expected.get_mut(&place.file) {
        let start = place.offset as usize;
        let end = damaged.len().min(start + place::SECTOR);
        damaged[start..end].fill(0);
    }
    Ok(place::content(data)? == expected)
}

/// Whether a refusal is one of those that are documented.
fn is_right_refusal(place: &Place, said: &str) -> bool {
    REFUSED_RIGHTLY.iter().any(|(file, what)| place.file == Path::new(file) && said.contains(what))
}

/// Whether what a cluster of one says names the place.
fn names_the_place(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Refused(said) if said.contains("segment") && said.contains("offset"))
}
