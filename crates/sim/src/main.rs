//! `quorate-sim SEED` replays a run and prints what happens; `quorate-sim swarm --seeds N` runs many.
#![allow(clippy::print_stdout, reason = "a command says what it found")]
#![allow(clippy::print_stderr, reason = "and what is wrong with its arguments")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use quorate_sim::run::{run, run_with};
use quorate_sim::swarm::Options;
use quorate_sim::trace::Trace;

const USAGE: &str = "usage: quorate-sim SEED [--plain]
       quorate-sim swarm --seeds N [--from S] [--until-failure]";

/// What is to be done.
enum Task {
    /// Replay one seed, without its extremes if it is to be plain.
    Replay { seed: u64, is_plain: bool },
    /// Run many.
    Swarm { from: u64, seeds: u64, until_failure: bool },
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match parse(&arguments) {
        Some(Task::Replay { seed, is_plain }) => replay(seed, is_plain),
        Some(Task::Swarm { from, seeds, until_failure }) => swarm(from, seeds, until_failure),
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn parse(arguments: &[String]) -> Option<Task> {
    let (first, rest) = arguments.split_first()?;
    if first != "swarm" {
        let seed = first.parse().ok()?;
        let is_plain = match rest {
            [] => false,
            [plain] if plain == "--plain" => true,
            _ => return None,
        };
        return Some(Task::Replay { seed, is_plain });
    }
    let (mut from, mut seeds, mut until_failure) = (0, None, false);
    let mut rest = rest.iter();
    while let Some(option) = rest.next() {
        match option.as_str() {
            "--seeds" => seeds = Some(rest.next()?.parse().ok()?),
            "--from" => from = rest.next()?.parse().ok()?,
            "--until-failure" => until_failure = true,
            _ => return None,
        }
    }
    Some(Task::Swarm { from, seeds: seeds?, until_failure })
}

fn replay(seed: u64, is_plain: bool) -> ExitCode {
    let options = if is_plain { Options::plain(seed) } else { Options::of_seed(seed) };
    println!("{options}");
    match run_with(seed, options, None, Trace::to(|line| println!("{line}"))) {
        Ok(report) => {
            println!("{report:#?}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn swarm(from: u64, seeds: u64, until_failure: bool) -> ExitCode {
    let start = Instant::now();
    let (mut ran, mut failures, mut simulated) = (0_u64, 0_u64, Duration::ZERO);
    for seed in from..from.saturating_add(seeds) {
        if until_failure && failures > 0 {
            break;
        }
        ran += 1;
        match run(seed, None, Trace::off()) {
            Ok(report) => simulated += report.simulated,
            Err(failure) => {
                failures += 1;
                simulated += failure.at;
                println!("{failure}\n");
            }
        }
    }
    println!(
        "swarm: {ran} seeds, {failures} failures, {:.2} simulated hours, {:.1} seconds",
        simulated.as_secs_f64() / 3600.0,
        start.elapsed().as_secs_f64()
    );
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
