//! The build that has the bugs, and what is run in it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use quorate_planted::{Exhibit, Finder, SELECTED_BY};

use super::programs::Programs;
use super::report::Verdict;
use crate::workspace;

/// The flag that turns the bugs on. A build with it shares nothing with any other build.
const FLAG: &str = "--cfg museum";
pub(super) const PROFILE: &str = "museum";
pub(super) const TARGET: &str = "target/museum";

/// How long a search may take. A bug could also be one that never ends.
const LIMIT: Duration = Duration::from_secs(3_600);

/// How often a scenario is played for a bug. It is the one that shows it, so a few times are enough.
const SCENARIO_SEEDS: u64 = 5;

/// The programs that have the bugs.
pub(super) struct Builds {
    simulator: PathBuf,
    tests: Programs,
}

impl Builds {
    /// Builds what the search for these bugs needs. The tests among it must pass as long as no bug is
    /// alive.
    pub(super) fn make(bugs: &[Exhibit]) -> io::Result<Self> {
        let status = cargo()
            .args(["build", "--quiet", "--package", "quorate-sim"])
            .args(["--profile", PROFILE, "--target-dir", TARGET])
            .status()?;
        if !status.success() {
            return Err(io::Error::other("the simulator does not build with the bugs"));
        }
        let simulator = workspace::root().join(TARGET).join(PROFILE).join("quorate-sim");
        let wanted: BTreeSet<(&str, &str)> = bugs
            .iter()
            .filter_map(|bug| match bug.finder {
                Finder::Test { package, program, .. } => Some((package, program)),
                Finder::Simulator | Finder::Scenario { .. } | Finder::Graphs { .. } => None,
            })
            .collect();
        let builds = Self { simulator, tests: Programs::build(&wanted)? };
        for (package, program) in wanted {
            let (status, output) = run(builds.tests.command(package, program)?, None)?;
            if !status.success() {
                let what = format!("{package}, test {program} fails with no bug alive:\n{output}");
                return Err(io::Error::other(what));
            }
        }
        for bug in bugs {
            let (command, what) = match bug.finder {
                Finder::Scenario { name, members } => {
                    (builds.play(name, members), format!("the scenario {name}"))
                }
                Finder::Graphs { members } => {
                    (builds.try_graphs(members), format!("a graph of {members} members"))
                }
                Finder::Simulator | Finder::Test { .. } => continue,
            };
            let (status, output) = run(command, None)?;
            if !status.success() {
                let what = format!("a false alarm, with no bug alive, in {what}:\n{output}");
                return Err(io::Error::other(what));
            }
        }
        Ok(builds)
    }

    /// Plays a scenario with this bug alive until it fails.
    pub(super) fn scenario(&self, bug: &Exhibit, name: &str, members: u64) -> io::Result<Verdict> {
        let started = Instant::now();
        let (status, output) = run(self.play(name, members), Some(bug.name))?;
        let failure = output.lines().find_map(|line| failed_play(line, name, members));
        let by = match (&failure, fault_of_the_harness(&output)) {
            (_, Some(place)) => Err(format!("the harness panicked itself: {place}")),
            (Some(_), None) => Ok(format!("scenario {name}, {members} members")),
            (None, None) if status.success() => Err(format!("the scenario {name} passes")),
            (None, None) => Err(format!("the simulator ended with {status}")),
        };
        let seconds = started.elapsed().as_secs_f64();
        let seeds = Some(failure.map_or(SCENARIO_SEEDS, |seed| seed + 1));
        Ok(Verdict { bug: *bug, by, seed: failure, seeds, seconds })
    }

    /// Tries graphs with this bug alive until one fails.
    pub(super) fn graphs(&self, bug: &Exhibit, members: u64) -> io::Result<Verdict> {
        let started = Instant::now();
        let (status, output) = run(self.try_graphs(members), Some(bug.name))?;
        let failure = output.lines().find_map(Failure::parse);
        let by = match (&failure, fault_of_the_harness(&output)) {
            (_, Some(place)) => Err(format!("the harness panicked itself: {place}")),
            (Some(Failure { by, .. }), None) => Ok(format!("{by}, graphs of {members} members")),
            (None, None) if status.success() => Err("all graphs pass".to_owned()),
            (None, None) => Err(format!("the simulator ended with {status}")),
        };
        let seed = failure.map(|failure| failure.seed);
        let seeds = output.lines().find_map(tried_graphs);
        let seconds = started.elapsed().as_secs_f64();
        Ok(Verdict { bug: *bug, by, seed, seeds, seconds })
    }

    fn play(&self, name: &str, members: u64) -> Command {
        let mut command = Command::new(&self.simulator);
        command.args(["scenario", name, "--nodes", &members.to_string(), "--until-failure"]);
        command.args(["--seeds", &SCENARIO_SEEDS.to_string()]);
        command
    }

    fn try_graphs(&self, members: u64) -> Command {
        let mut command = Command::new(&self.simulator);
        command.args(["graphs", "--nodes", &members.to_string(), "--until-failure"]);
        command
    }

    /// Runs seeds with this bug alive until one fails.
    pub(super) fn simulate(&self, bug: &Exhibit, from: u64, seeds_max: u64) -> io::Result<Verdict> {
        let started = Instant::now();
        let mut swarm = self.swarm(from, seeds_max);
        swarm.arg("--until-failure");
        let (status, output) = run(swarm, Some(bug.name))?;
        let failure = output.lines().find_map(Failure::parse);
        let by = match &failure {
            Some(failure) if failure.is_panic && fault_of_the_harness(&output).is_some() => {
                let place = fault_of_the_harness(&output).unwrap_or_default();
                Err(format!("no check found it; the harness panicked itself: {place}"))
            }
            Some(failure) => Ok(failure.by.clone()),
            None if status.success() => Err(format!("{seeds_max} seeds from {from} pass")),
            None => Err(format!("the simulator ended with {status}")),
        };
        let seed = failure.map(|failure| failure.seed);
        let seeds = Some(seed.map_or(seeds_max, |seed| seed - from + 1));
        Ok(Verdict { bug: *bug, by, seed, seeds, seconds: started.elapsed().as_secs_f64() })
    }

    /// Runs a test with this bug alive, which must fail for it.
    pub(super) fn test(
        &self,
        bug: &Exhibit,
        package: &str,
        program: &str,
        name: &str,
    ) -> io::Result<Verdict> {
        let started = Instant::now();
        let mut command = self.tests.command(package, program)?;
        if !is_of_scripts(program) {
            // The others of the program passed with no bug alive, and some take a minute.
            command.arg(name);
        }
        let (status, output) = run(command, Some(bug.name))?;
        let by = if status.success() {
            Err(format!("{package}, test {program} passes"))
        } else if names(&output, program, name) {
            Ok(format!("{package}, test {program}: {name}"))
        } else {
            Err(format!("{package}, test {program} fails, and not in {name}"))
        };
        let seconds = started.elapsed().as_secs_f64();
        Ok(Verdict { bug: *bug, by, seed: None, seeds: None, seconds })
    }

    /// Runs seeds with no bug alive, none of which may fail.
    pub(super) fn pass(&self, from: u64, seeds: u64) -> io::Result<()> {
        let (status, output) = run(self.swarm(from, seeds), None)?;
        if status.success() {
            return Ok(());
        }
        let alarm = output.lines().find(|line| Failure::parse(line).is_some());
        let what = alarm.unwrap_or("the simulator did not end well");
        Err(io::Error::other(format!("a false alarm, with no bug alive: {what}")))
    }

    fn swarm(&self, from: u64, seeds: u64) -> Command {
        let mut command = Command::new(&self.simulator);
        command.args(["swarm", "--from", &from.to_string(), "--seeds", &seeds.to_string()]);
        command
    }
}

/// Whether it is this that failed, by what a test program said. Scripts are all one test, which lists those
/// that no longer say what they should; of any other the name may be told by its beginning.
fn names(output: &str, program: &str, name: &str) -> bool {
    let is_named = |line: &str| match is_of_scripts(program) {
        true => line
            .split_once(" scripts: ")
            .is_some_and(|(_, failed)| failed.contains(&format!("\"{name}\""))),
        false => line.starts_with("---- ") && line.ends_with(" ----") && line.contains(name),
    };
    output.lines().any(is_named)
}

/// Whether a test program is one test that runs scripts.
fn is_of_scripts(program: &str) -> bool {
    matches!(program, "scripts" | "goldenscript")
}

/// The seed of a scenario that failed, from `hung-leader, 3 members, seed 7: scenario: …`.
fn failed_play(line: &str, name: &str, members: u64) -> Option<u64> {
    let rest = line.strip_prefix(&format!("{name}, {members} members, seed "))?;
    rest.split_once(": ")?.0.parse().ok()
}

/// How many graphs were tried, from `graphs: 7 graphs, 1 failures, …`.
fn tried_graphs(line: &str) -> Option<u64> {
    line.strip_prefix("graphs: ")?.split_once(" graphs,")?.0.parse().ok()
}

/// How the simulator tells of a seed that fails.
struct Failure {
    seed: u64,
    /// The property that was violated, or what the code itself asserts.
    by: String,
    is_panic: bool,
}

/// Where the simulator or a checker itself panicked, if one did. That finds nothing: what a bug leaves has
/// to be held against a demand.
fn fault_of_the_harness(output: &str) -> Option<&str> {
    let places = ["panicked at crates/sim/", "panicked at crates/check/"];
    output.lines().find(|line| places.iter().any(|place| line.contains(place)))
}

impl Failure {
    /// Reads `seed 7 fails after 1.5 s: oracle: a read of …`.
    fn parse(line: &str) -> Option<Self> {
        let (seed, rest) = line.strip_prefix("seed ")?.split_once(" fails after ")?;
        let (_, what) = rest.split_once(" s: ")?;
        let (property, detail) = what.split_once(": ").unwrap_or((what, ""));
        let is_panic = property == "panic";
        let by = if is_panic {
            let words: Vec<&str> = detail.split_whitespace().take(12).collect();
            format!("assertion \"{}\"", words.join(" "))
        } else {
            property.to_owned()
        };
        Some(Self { seed: seed.parse().ok()?, by, is_panic })
    }
}

/// A cargo that builds the bugs in.
pub(super) fn cargo() -> Command {
    let mut command =
        Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(workspace::root()).env("RUSTFLAGS", FLAG);
    command
}

/// Runs a command with a bug alive in it, if any, to its end. Returns all that it said.
fn run(command: Command, bug: Option<&str>) -> io::Result<(ExitStatus, String)> {
    run_for(command, bug, LIMIT)
}

fn run_for(
    mut command: Command,
    bug: Option<&str>,
    limit: Duration,
) -> io::Result<(ExitStatus, String)> {
    command.env(SELECTED_BY, bug.unwrap_or_default());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // What a cargo starts must end with it: it would keep the pipes.
    let mut child = command.process_group(0).spawn()?;
    let (mut out, mut err) =
        (child.stdout.take().expect("it is piped"), child.stderr.take().expect("it is piped"));
    let errors = thread::spawn(move || {
        let mut bytes = Vec::new();
        err.read_to_end(&mut bytes).map(|_| bytes)
    });
    let output = thread::spawn(move || {
        let mut bytes = Vec::new();
        out.read_to_end(&mut bytes).map(|_| bytes)
    });
    let end = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > end {
            let group = format!("-{}", child.id());
            Command::new("kill").args(["-s", "KILL", "--", &group]).status()?;
        }
        thread::sleep(Duration::from_millis(5));
    };
    let mut bytes = output.join().expect("it only reads")?;
    bytes.extend(errors.join().expect("it only reads")?);
    Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_simulators_own_words_are_understood() {
        let by = |line| Failure::parse(line).map(|failure| (failure.seed, failure.by));
        let oracle = "seed 56 fails after 9.262233 s: oracle: a read of b\"key-7\" sees i229";
        assert_eq!(by(oracle), Some((56, "oracle".to_owned())));
        let panic = "seed 18 fails after 1.1 s: panic: more is durable than was written";
        let expected = "assertion \"more is durable than was written\"".to_owned();
        assert_eq!(by(panic), Some((18, expected)));
        assert_eq!(by("swarm: 10 seeds, 0 failures"), None);
    }

    #[test]
    fn a_failure_counts_for_the_test_that_it_names() {
        let scripts =
            "thread 'scripts' panicked:\n2 of 60 scripts: [\"transfer_refused\", \"vote\"]\n";
        assert!(names(scripts, "scripts", "transfer_refused"));
        assert!(!names(scripts, "scripts", "transfer"), "another begins so");
        let test =
            "test a_b ... ok\n---- heal::tests::what_a_leader_never_had_is_known stdout ----\n";
        assert!(names(test, "lib", "what_a_leader_never_had"));
        assert!(!names(test, "lib", "a_b"));
    }

    #[test]
    fn what_never_ends_is_ended_with_all_that_it_started() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 600 & sleep 600"]);
        let started = Instant::now();
        let (status, _) = run_for(shell, None, Duration::from_millis(50)).unwrap();
        assert!(!status.success() && started.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn a_scenario_and_a_graph_that_fail_are_understood() {
        let line = "hung-leader, 3 members, seed 2: scenario: nobody but 1 leads after 301ms";
        assert_eq!(failed_play(line, "hung-leader", 3), Some(2));
        assert_eq!(failed_play(line, "hung-leader", 5), None);
        assert_eq!(failed_play("hung-leader, 3 members: 1.3 times", "hung-leader", 3), None);
        assert_eq!(tried_graphs("graphs: 7 graphs, 1 failures, 3 members, the slowest"), Some(7));
        assert_eq!(tried_graphs("swarm: 7 seeds"), None);
    }

    #[test]
    fn a_panic_of_the_harness_is_told_from_one_of_the_product() {
        let at =
            |file| format!("seed 7\nthread 'a' (1) panicked at {file}:190:17:\nout of range\n");
        assert!(fault_of_the_harness(&at("crates/sim/src/rot.rs")).is_some());
        assert!(fault_of_the_harness(&at("crates/check/src/oracle.rs")).is_some());
        assert_eq!(fault_of_the_harness(&at("crates/raft/src/log.rs")), None);
    }
}
