//! The museum of planted bugs (`crates/planted`): is each of them found, by what, and how soon?
//!
//! One build has them all; an environment variable says which one is alive. For each bug either the
//! simulator runs seed after seed until one fails, or plays one scenario again and again, or tries graph after
//! graph of the links that work; or a named test must fail, as the catalogue says.
//! Afterwards the same seeds run with no bug alive, and none may fail: a check that sees bugs where
//! there are none finds nothing.
//!
//! `--quick` begins each search at the seed that `crates/planted/found.txt` remembers, so that the gate
//! can afford it. The whole search begins every bug at the same seed, and its figures are those to
//! quote.

mod options;
mod programs;
pub(crate) mod report;
mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::{fs, io, thread};

use quorate_planted::{Bug, Exhibit, Finder};

use crate::workspace;
use options::Options;
use report::Verdict;
use run::Builds;

/// How the command is used.
pub(crate) const USAGE: &str =
    "[--quick] [--only BUG] [--from SEED] [--seeds-max N] [--json FILE] [--record]";

/// The seed that found each bug, for the quick visit.
pub(crate) const FOUND: &str = "crates/planted/found.txt";

/// How many seeds must pass without a bug, at least.
const SILENT_SEEDS_MIN: u64 = 1_000;

/// Visits the museum.
///
/// # Errors
///
/// A bug that is not found, a false alarm, or something that can't be built; and of a visit to all bugs, fewer
/// found by the simulator or more seeds than was promised.
pub(crate) fn run() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let Some(options) = Options::parse(&arguments) else {
        return Err(io::Error::other(format!("usage: cargo xtask museum {USAGE}")));
    };
    let mut found = read_found(&fs::read_to_string(workspace::root().join(FOUND))?)?;
    let bugs: Vec<Exhibit> = Bug::ALL.iter().map(|bug| bug.exhibit()).collect();
    let bugs: Vec<Exhibit> = bugs
        .into_iter()
        .filter(|bug| options.only.as_ref().is_none_or(|n| n == bug.name))
        .collect();
    if bugs.is_empty() {
        return Err(io::Error::other("there is no such bug"));
    }
    let builds = Builds::make(&bugs)?;
    let look = |bug: &Exhibit| match bug.finder {
        Finder::Test { package, program, name } => builds.test(bug, package, program, name),
        Finder::Scenario { name, members } => builds.scenario(bug, name, members),
        Finder::Graphs { members } => builds.graphs(bug, members),
        Finder::Simulator => {
            let known = found.get(bug.name).copied().filter(|_| options.quick);
            builds.simulate(bug, known.unwrap_or(options.from), options.seeds_max)
        }
    };
    let mut verdicts = Vec::new();
    on_all_cores(&bugs, look, |verdict: Verdict| {
        println!("{}", report::line(&verdict));
        verdicts.push(verdict);
    })?;
    let silent = silent(&builds, &verdicts, &options);
    if let Ok(seeds) = silent {
        println!("no bug, no alarm: {seeds} of the same seeds pass without one");
    }
    if options.record {
        let seeds =
            of_the_swarm(&verdicts).filter_map(|verdict| Some((verdict.bug.name, verdict.seed?)));
        found.extend(seeds.map(|(name, seed)| (name.to_owned(), seed)));
        fs::write(workspace::root().join(FOUND), write_found(&found))?;
    }
    if let Some(path) = &options.json {
        fs::write(path, format!("{:#}\n", report::json(&verdicts, &silent, &options)))?;
    }
    silent?;
    println!("{}", report::summary(&verdicts));
    let wrong = report::shortcomings(&verdicts, options.only.is_none());
    if wrong.is_empty() { Ok(()) } else { Err(io::Error::other(wrong.join("; "))) }
}

/// Does something with each of these, as many at once as there are cores: what is done is a process with one thread.
/// Hears the outcomes in order, up to the first error.
///
/// # Errors
/// The first that there is, in order. Nothing new is begun then.
fn on_all_cores<T: Sync, R: Send>(
    all: &[T],
    what: impl Fn(&T) -> io::Result<R> + Sync,
    mut hear: impl FnMut(R),
) -> io::Result<()> {
    let (next, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (sender, outcomes) = mpsc::channel();
    let work = |sender: mpsc::Sender<(usize, io::Result<R>)>| {
        while !is_over.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(one) = all.get(number) else { return };
            // Nobody hears what comes behind an error.
            let _ = sender.send((number, what(one)));
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            let (work, sender) = (&work, sender.clone());
            scope.spawn(move || work(sender));
        }
        drop(sender);
        let mut early = BTreeMap::new();
        let mut heard = 0;
        for (number, outcome) in outcomes {
            early.insert(number, outcome);
            while let Some(outcome) = early.remove(&heard) {
                heard += 1;
                match outcome {
                    Ok(result) => hear(result),
                    Err(error) => {
                        is_over.store(true, Ordering::Relaxed);
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    })
}

/// The verdicts that seeds of the swarm led to.
fn of_the_swarm(verdicts: &[Verdict]) -> impl Iterator<Item = &Verdict> {
    verdicts.iter().filter(|verdict| verdict.bug.finder == Finder::Simulator)
}

/// Runs the seeds that found bugs, and in a whole search all before them, with no bug alive. Returns how
/// many there were.
fn silent(builds: &Builds, verdicts: &[Verdict], options: &Options) -> io::Result<u64> {
    if options.quick {
        let seeds: BTreeSet<u64> =
            of_the_swarm(verdicts).filter_map(|verdict| verdict.seed).collect();
        let seeds: Vec<u64> = seeds.into_iter().collect();
        on_all_cores(&seeds, |seed| builds.pass(*seed, 1), |()| {})?;
        return Ok(seeds.len() as u64);
    }
    let most = of_the_swarm(verdicts).filter_map(|verdict| verdict.seeds).max();
    let seeds = most.unwrap_or_default().max(SILENT_SEEDS_MIN);
    builds.pass(options.from, seeds)?;
    Ok(seeds)
}

/// The seeds of the last search, by bug.
pub(crate) fn read_found(text: &str) -> io::Result<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let known = line.split_once(' ').and_then(|(bug, seed)| Some((bug, seed.parse().ok()?)));
        let Some((bug, seed)) = known else {
            return Err(io::Error::other(format!("{FOUND}: {line:?} is no bug and its seed")));
        };
        found.insert(bug.to_owned(), seed);
    }
    Ok(found)
}

fn write_found(found: &BTreeMap<String, u64>) -> String {
    let mut text = String::from(
        "# The seed at which the simulator last found each bug; written by `cargo xtask museum --record`.\n\
         # A change of what a seed draws makes these stale: the search then goes on from here.\n",
    );
    for bug in Bug::ALL.iter().map(|bug| bug.exhibit().name) {
        if let Some(seed) = found.get(bug) {
            text.push_str(&format!("{bug} {seed}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_done_and_heard_in_order() {
        let numbers: Vec<u64> = (0..50).collect();
        let mut heard = Vec::new();
        let slow_at_first = |number: &u64| {
            thread::sleep(std::time::Duration::from_micros(50 * (50 - number)));
            Ok(*number)
        };
        on_all_cores(&numbers, slow_at_first, |number| heard.push(number)).unwrap();
        assert_eq!(heard, numbers);
        heard.clear();
        let fails = |number: &u64| match number {
            0..20 => Ok(*number),
            _ => Err(io::Error::other(format!("{number} fails"))),
        };
        let error = on_all_cores(&numbers, fails, |number| heard.push(number)).unwrap_err();
        assert_eq!((error.to_string().as_str(), heard.len()), ("20 fails", 20));
    }

    #[test]
    fn what_was_found_is_read_as_it_was_written() {
        let found = BTreeMap::from([("HalfElects".to_owned(), 7)]);
        assert_eq!(read_found(&write_found(&found)).unwrap(), found);
        assert!(read_found("HalfElects seven").is_err());
    }
}
