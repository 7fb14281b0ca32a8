//! `quorate-sim SEED` replays a run and prints what happens; `quorate-sim swarm --seeds N` runs many;
//! `quorate-sim graphs` tries every graph of links in which some majority can talk, `quorate-sim cuts` cuts the
//! power at every moment of a run, `quorate-sim timeouts` compares the election policies, and `quorate-sim bench`
//! says what a simulated hour costs, `quorate-sim lease` what becomes of leaders' leases with clocks as declared and
//! worse. With `--json FILE` each of them leaves its numbers for a program.
#![allow(clippy::print_stderr, reason = "a command says what is wrong with its arguments")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Write as _};
use std::process::{self, ExitCode};
use std::time::{Duration, Instant};

use mimalloc::MiMalloc;
use quorate_raft::ElectionPolicy;
use quorate_sim::coverage::Fault;
use quorate_sim::cuts::{Course, Cut};
use quorate_sim::graphs::{self, Graph};
use quorate_sim::json::Json;
use quorate_sim::parallel;
use quorate_sim::run::{Failure, run_graph, run_quiet_graph, run_with};
use quorate_sim::scenario;
use quorate_sim::summary::Summary;
use quorate_sim::swarm::Options;
use quorate_sim::tenure;
use quorate_sim::timeouts::{self, Network};
use quorate_sim::trace::Trace;
use quorate_sim::world::Report;

/// A run is a million small allocations.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Prints a line of what was found.
macro_rules! say {
    ($($line:tt)*) => { tell_line(format_args!($($line)*)) };
}

/// Where nobody reads on, as behind `head`, there is nothing left to say: the process ends, and says only that
/// it did not come to its end.
fn tell_line(line: fmt::Arguments<'_>) {
    if writeln!(io::stdout(), "{line}").is_err() {
        process::exit(1);
    }
}

const USAGE: &str = "usage: quorate-sim SEED [--plain | --over-limit | --ordinary]
       quorate-sim swarm --seeds N [--from S] [--jobs J] [--over-limit] [--until-failure] [--coverage]
                         [--json FILE]
       quorate-sim graphs [--nodes N] [--only NUMBER] [--quiet] [--jobs J] [--until-failure] [--json FILE]
       quorate-sim scenario NAME [--nodes N] [--from S] [--seeds N] [--jobs J] [--until-failure] [--json FILE]
       quorate-sim cuts [--nodes N] [--seed S] [--only EVENTS --calls CALLS] [--jobs J] [--json FILE]
       quorate-sim timeouts [--minutes M] [--crashes N] [--from S] [--seeds N] [--jobs J] [--json FILE]
       quorate-sim lease [--nodes N] [--from S] [--seeds N] [--jobs J] [--json FILE]
       quorate-sim bench [--seconds S] [--from S] [--at-least TIMES] [--json FILE]

A swarm with --coverage of so many seeds that each fault must have met each stage fails if one did not; a bench
takes so many seconds for an ordinary load and as many for what the swarm draws, and fails if with the ordinary one it
is below so many times real time. Cuts are of the first run from that seed on in which enough happens.";

/// So many seeds of a swarm let every fault meet every stage that it can meet.
const SEEDS_FOR_COVERAGE: u64 = 20_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((task, rest)) = arguments.split_first() else { return misused() };
    if task == "scenario"
        && let Some((name, rest)) = rest.split_first()
        && let Some(flags) = Flags::parse(rest)
        && let Some(well) = play(name, &flags)
    {
        return if well { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let Some(flags) = Flags::parse(rest) else { return misused() };
    let ended = match task.as_str() {
        "swarm" => swarm(&flags),
        "graphs" => all_graphs(&flags),
        "cuts" => cuts(&flags),
        "timeouts" => timeouts(&flags),
        "lease" => lease(&flags),
        "bench" => bench(&flags),
        seed => seed.parse().ok().and_then(|seed| replay(seed, &flags)),
    };
    match ended {
        Some(true) => ExitCode::SUCCESS,
        Some(false) => ExitCode::FAILURE,
        None => misused(),
    }
}

fn misused() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

/// What stands after the task: names alone, and names with a value.
#[derive(Default)]
struct Flags {
    alone: BTreeSet<String>,
    values: BTreeMap<String, String>,
}

impl Flags {
    const ALONE: [&str; 6] =
        ["plain", "over-limit", "ordinary", "until-failure", "coverage", "quiet"];

    fn parse(arguments: &[String]) -> Option<Self> {
        let mut flags = Self::default();
        let mut rest = arguments.iter();
        while let Some(name) = rest.next() {
            let name = name.strip_prefix("--")?.to_owned();
            if Self::ALONE.contains(&name.as_str()) {
                flags.alone.insert(name);
            } else {
                flags.values.insert(name, rest.next()?.clone());
            }
        }
        Some(flags)
    }

    fn has(&self, name: &str) -> bool {
        self.alone.contains(name)
    }

    /// The number of this name, or the usual one; nothing if it is no number.
    fn number(&self, name: &str, usual: u64) -> Option<u64> {
        self.values.get(name).map_or(Some(usual), |value| value.parse().ok())
    }

    /// Whether nothing is there but these.
    fn are_among(&self, names: &[&str]) -> bool {
        self.alone.iter().chain(self.values.keys()).all(|name| names.contains(&name.as_str()))
    }

    fn jobs(&self) -> Option<usize> {
        usize::try_from(self.number("jobs", 1)?).ok()
    }

    /// Writes the report to the file that was asked for, if one was. Returns whether that went well.
    fn report(&self, report: impl FnOnce() -> String) -> bool {
        let Some(path) = self.values.get("json") else { return true };
        let written = std::fs::write(path, report());
        if let Err(error) = &written {
            eprintln!("can't write {path}: {error}");
        }
        written.is_ok()
    }
}

/// What a report says of a graph, a scenario or a measurement.
fn json(pairs: impl IntoIterator<Item = (&'static str, Json)>) -> String {
    format!("{}\n", Json::object(pairs))
}

fn replay(seed: u64, flags: &Flags) -> Option<bool> {
    if !flags.are_among(&["plain", "over-limit", "ordinary"]) {
        return None;
    }
    let mut kinds = flags.alone.iter();
    let options = match (kinds.next().map(String::as_str), kinds.next()) {
        (None, _) => Options::of_seed(seed),
        (Some("plain"), None) => Options::plain(seed),
        (Some("over-limit"), None) => Options::over_limit(seed),
        (Some("ordinary"), None) => Options::ordinary(),
        _ => return None,
    };
    say!("{options}");
    let result = run_with(seed, options, None, Trace::to(|line| say!("{line}")));
    Some(tell(&result))
}

/// Prints how a single run ended. Returns whether it ended well.
fn tell(result: &Result<Report, Box<Failure>>) -> bool {
    match result {
        Ok(report) => say!("{report:#?}"),
        Err(failure) => say!("{failure}"),
    }
    result.is_ok()
}

fn swarm(flags: &Flags) -> Option<bool> {
    let known = ["seeds", "from", "jobs", "over-limit", "until-failure", "coverage", "json"];
    if !flags.are_among(&known) || !flags.values.contains_key("seeds") {
        return None;
    }
    let (from, seeds, jobs) = (flags.number("from", 0)?, flags.number("seeds", 0)?, flags.jobs()?);
    let start = Instant::now();
    let mut summary = Summary::default();
    let all: Vec<u64> = (from..from.saturating_add(seeds)).collect();
    let is_over = flags.has("over-limit");
    let options = |seed| if is_over { Options::over_limit(seed) } else { Options::of_seed(seed) };
    let one = |seed: &u64| run_with(*seed, options(*seed), None, Trace::off());
    parallel::in_order(&all, jobs, one, |result| {
        summary.add(&result);
        if let Err(failure) = &result {
            say!("{failure}\n");
        }
        !flags.has("until-failure") || result.is_ok()
    });
    let wall = start.elapsed();
    if flags.has("coverage") {
        say!("{}", summary.coverage);
        for (fault, stage) in summary.coverage.missing() {
            say!("not reached: {} at {}", fault.name(), stage.name());
        }
    }
    // Beyond the limit other options are drawn, and no such promise is made.
    let demands_coverage = flags.has("coverage") && !is_over && summary.runs >= SEEDS_FOR_COVERAGE;
    let lacks_coverage = demands_coverage && summary.coverage.missing().next().is_some();
    let written = flags.report(|| summary.to_json(from, wall));
    if summary.halted + summary.whole > 0 {
        say!(
            "over the limit: {} runs came to a halt, {} went on with everything",
            summary.halted,
            summary.whole
        );
    }
    say!(
        "swarm: {} seeds, {} failures, {:.2} simulated hours, {:.1} seconds",
        summary.runs,
        summary.failures.len(),
        summary.simulated.as_secs_f64() / 3600.0,
        wall.as_secs_f64()
    );
    Some(summary.failures.is_empty() && !lacks_coverage && written)
}

fn all_graphs(flags: &Flags) -> Option<bool> {
    let (members, jobs) = (flags.number("nodes", 5)?, flags.jobs()?);
    if !flags.are_among(&["nodes", "only", "jobs", "until-failure", "quiet", "json"])
        || !(1..=5).contains(&members)
    {
        return None;
    }
    let places = usize::try_from(members).ok()?;
    let run_one = if flags.has("quiet") { run_quiet_graph } else { run_graph };
    if flags.values.contains_key("only") {
        let graph = Graph::of_number(places, flags.number("only", 0)?);
        return Some(tell(&run_one(members, graph, Trace::to(|line| say!("{line}")))));
    }
    let start = Instant::now();
    let all = graphs::all(places);
    let mut summary = Summary::default();
    let one = |graph: &Graph| run_one(members, *graph, Trace::off());
    parallel::in_order(&all, jobs, one, |result| {
        summary.add(&result);
        if let Err(failure) = &result {
            say!("{failure}\n");
        }
        !flags.has("until-failure") || result.is_ok()
    });
    let wall = start.elapsed();
    let timeout = Options::calm(members).election_timeout;
    let written = flags.report(|| {
        let failures = summary.failures.iter().map(|(number, what)| {
            Json::object([("graph", Json::Number(*number)), ("what", Json::text(what))])
        });
        json([
            ("members", Json::Number(members)),
            ("graphs", Json::Number(summary.runs)),
            ("failures", Json::List(failures.collect())),
            ("election_timeout_seconds", Json::seconds(timeout)),
            ("slowest_seconds", Json::seconds(summary.worked_after)),
            ("simulated_seconds", Json::seconds(summary.simulated)),
            ("wall_seconds", Json::seconds(wall)),
        ])
    });
    say!(
        "graphs: {} graphs, {} failures, {members} members, the slowest took {:.1} election timeouts, \
         {:.2} simulated hours, {:.1} seconds",
        summary.runs,
        summary.failures.len(),
        summary.worked_after.as_secs_f64() / timeout.as_secs_f64(),
        summary.simulated.as_secs_f64() / 3600.0,
        wall.as_secs_f64()
    );
    Some(summary.failures.is_empty() && written)
}

/// Cuts the power of a cluster at every moment of a run, or at one.
fn cuts(flags: &Flags) -> Option<bool> {
    if !flags.are_among(&["nodes", "seed", "only", "calls", "jobs", "json"]) {
        return None;
    }
    let (members, seed) = (flags.number("nodes", 3)?, flags.number("seed", 0)?);
    // Of fewer, none may lose its disk.
    if !(3..=7).contains(&members) {
        return None;
    }
    let course = Course { members, seed, sabotage: None };
    let (course, cuts) = if flags.values.contains_key("only") {
        (course, vec![Cut { events: flags.number("only", 0)?, calls: flags.number("calls", 0)? }])
    } else {
        match course.eventful() {
            Ok(found) => found,
            Err(violation) => {
                say!("cuts: without any cut: {violation}");
                return Some(false);
            }
        }
    };
    let seed = course.seed;
    let (start, mut failures) = (Instant::now(), Vec::new());
    parallel::in_order(
        &cuts,
        flags.jobs()?,
        |cut| (*cut, course.cut(*cut)),
        |(cut, result)| {
            if let Err(violation) = result {
                let Cut { events, calls } = cut;
                let replay =
                    format!("cuts --nodes {members} --seed {seed} --only {events} --calls {calls}");
                say!("cut after event {events}, call {calls}: {violation}");
                say!("replay: cargo run --release -p quorate-sim -- {replay}");
                failures.push(Json::text(&format!("{replay}: {violation}")));
            }
            true
        },
    );
    let events = cuts.iter().map(|cut| cut.events).collect::<BTreeSet<_>>().len() as u64;
    let in_commits = cuts.iter().filter(|cut| cut.calls > 0).count() as u64;
    say!(
        "cuts: {members} members, seed {seed}, {events} events, {} cuts, {} failures, {:.1} seconds",
        cuts.len(),
        failures.len(),
        start.elapsed().as_secs_f64()
    );
    let well = failures.is_empty();
    let written = flags.report(|| {
        json([
            ("members", Json::Number(members)),
            ("seed", Json::Number(seed)),
            ("events", Json::Number(events)),
            ("cuts", Json::Number(cuts.len() as u64)),
            ("cuts_within_commits", Json::Number(in_commits)),
            ("failures", Json::List(failures)),
            ("wall_seconds", Json::seconds(start.elapsed())),
        ])
    });
    Some(well && written)
}

/// Compares the election policies: how often each deposes a leader that lives, and how long each leaves a group
/// without a leader when it has died.
/// Plays clusters with leases, each with clocks as they were declared and with worse ones. The first must never fail,
/// and of the second some must.
fn lease(flags: &Flags) -> Option<bool> {
    let members = flags.number("nodes", 3)?;
    if !flags.are_among(&["nodes", "from", "seeds", "jobs", "json"]) || !(2..=7).contains(&members)
    {
        return None;
    }
    let (from, seeds) = (flags.number("from", 0)?, flags.number("seeds", 100)?);
    let all: Vec<u64> = (from..from.saturating_add(seeds)).collect();
    let (mut failures, mut stale, mut first) = (Vec::new(), 0, None);
    let (mut leased, mut reads) = (0, 0);
    let one = |seed: &u64| {
        (*seed, tenure::play(members, *seed, true), tenure::play(members, *seed, false))
    };
    parallel::in_order(&all, flags.jobs()?, one, |(seed, inside, outside)| {
        match inside {
            Ok(played) => {
                leased += played.leased;
                reads += played.reads;
            }
            Err(violation) => {
                say!("seed {seed}, with all declared: {violation}");
                failures.push(Json::text(&violation.to_string()));
            }
        }
        match outside {
            Ok(_) => {}
            Err(violation) if tenure::is_stale_read(&violation) => {
                stale += 1;
                first = first.or(Some(seed));
            }
            Err(violation) => {
                say!("seed {seed}: {violation}");
                failures.push(Json::text(&violation.to_string()));
            }
        }
        true
    });
    let (declared, drift) = (tenure::UNDERSTATED_PPM, tenure::DRIFT_PPM);
    say!("{seeds} seeds, clocks off by up to {drift} ppm");
    say!(
        "declared so: {reads} reads, {leased} turns of leaders with a lease, {} failures",
        failures.len()
    );
    say!("declared to be {declared} ppm: a stale read in {stale} seeds, the first {first:?}");
    let well = failures.is_empty() && stale > 0 && leased > 0;
    let report = || {
        json([
            ("seeds", Json::Number(seeds)),
            ("drift_ppm", Json::Number(drift)),
            ("understated_ppm", Json::Number(declared)),
            ("reads", Json::Number(reads)),
            ("turns_with_a_lease", Json::Number(leased)),
            ("failures", Json::List(failures)),
            ("stale_where_understated", Json::Number(stale)),
        ])
    };
    let is_written = flags.report(report);
    Some(well && is_written)
}

fn timeouts(flags: &Flags) -> Option<bool> {
    if !flags.are_among(&["minutes", "crashes", "from", "seeds", "jobs", "json"]) {
        return None;
    }
    let plan = timeouts::Plan {
        quiet: Duration::from_secs(flags.number("minutes", 120)? * 60),
        crashes: u32::try_from(flags.number("crashes", 50)?).ok()?,
    };
    let (from, seeds) = (flags.number("from", 0)?, flags.number("seeds", 24)?);
    let start = Instant::now();
    let mut runs = Vec::new();
    for network in Network::ALL {
        for policy in timeouts::POLICIES {
            let seeds = from..from.saturating_add(seeds);
            runs.extend(seeds.map(|seed| (network, policy, seed)));
        }
    }
    let one = |run: &(Network, ElectionPolicy, u64)| {
        let (network, policy, seed) = *run;
        (network, policy, timeouts::measure(network, policy, seed, plan))
    };
    let mut all: Vec<(Network, ElectionPolicy, timeouts::Measured)> = Vec::new();
    let mut failures = Vec::new();
    parallel::in_order(&runs, flags.jobs()?, one, |(network, policy, measured)| {
        let (network_name, policy_name) = (network.name(), timeouts::name(policy));
        match (measured, all.last_mut()) {
            (Ok(measured), Some((at, of, sum))) if (*at, *of) == (network, policy) => {
                sum.add(&measured);
            }
            (Ok(measured), _) => all.push((network, policy, measured)),
            (Err(violation), _) => {
                say!("{network_name}, {policy_name}: {violation}");
                failures.push(Json::text(&format!("{network_name}, {policy_name}: {violation}")));
            }
        }
        true
    });
    say!("network    policy    false elections a day   without a leader: median       p99");
    for (network, policy, measured) in &all {
        say!("{:<10} {:<9} {measured}", network.name(), timeouts::name(*policy));
    }
    say!(
        "timeouts: {seeds} seeds, {} failures, {:.1} seconds",
        failures.len(),
        start.elapsed().as_secs_f64()
    );
    let well = failures.is_empty();
    let written = flags.report(|| {
        let measured = all.iter().map(|(network, policy, one)| one.json(*network, *policy));
        json([
            ("first_seed", Json::Number(from)),
            ("seeds", Json::Number(seeds)),
            ("failures", Json::List(failures)),
            ("measured", Json::List(measured.collect())),
            ("wall_seconds", Json::seconds(start.elapsed())),
        ])
    });
    Some(well && written)
}

/// Measures what a run costs: of an ordinary cluster, of which so many times real time may be demanded, and
/// beside it of what the swarm draws for as many members.
fn bench(flags: &Flags) -> Option<bool> {
    if !flags.are_among(&["seconds", "from", "at-least", "json"]) {
        return None;
    }
    let at_least = flags.number("at-least", 0)?;
    let length = Duration::from_secs(flags.number("seconds", 30)?);
    let from = flags.number("from", 0)?;
    let ordinary = Pace::measure(from, length, |_| Options::ordinary());
    let drawn = Pace::measure(from, length, Options::of_seed);
    let written = flags.report(|| {
        let first_seed = ("first_seed", Json::Number(from));
        json(
            [first_seed]
                .into_iter()
                .chain(ordinary.json())
                .chain([("drawn", Json::object(drawn.json()))]),
        )
    });
    say!("drawn: {drawn}");
    say!("bench: {ordinary}");
    let is_fast = ordinary.rate() >= at_least as f64;
    if !is_fast {
        say!("bench: {at_least} times real time were demanded");
    }
    Some(
        ordinary.summary.failures.is_empty()
            && drawn.summary.failures.is_empty()
            && is_fast
            && written,
    )
}

/// What runs cost, one after the other on one core.
struct Pace {
    summary: Summary,
    wall: Duration,
}

impl Pace {
    /// Runs one seed after the other for so long, those whose options are of clusters to be measured.
    fn measure(from: u64, length: Duration, options: impl Fn(u64) -> Options) -> Self {
        let (start, mut summary) = (Instant::now(), Summary::default());
        for seed in from.. {
            let options = options(seed);
            if options.members != Options::ORDINARY_MEMBERS {
                continue;
            }
            let result = run_with(seed, options, None, Trace::off());
            if let Err(failure) = &result {
                say!("{failure}\n");
            }
            summary.add(&result);
            if start.elapsed() >= length {
                break;
            }
        }
        Self { summary, wall: start.elapsed() }
    }

    /// How many faults there were, for each member that met one; without what became of single messages.
    fn faults(&self) -> u64 {
        let of_messages = [Fault::Loss, Fault::LinkFull, Fault::Duplicate, Fault::Replay];
        let others = Fault::ALL.into_iter().filter(|fault| !of_messages.contains(fault));
        others.map(|fault| self.summary.coverage.total(fault)).sum()
    }

    /// How many times real time.
    fn rate(&self) -> f64 {
        self.summary.simulated.as_secs_f64() / self.wall.as_secs_f64()
    }

    fn json(&self) -> impl Iterator<Item = (&'static str, Json)> {
        [
            ("members", Json::Number(Options::ORDINARY_MEMBERS)),
            ("runs", Json::Number(self.summary.runs)),
            ("failures", Json::Number(self.summary.failures.len() as u64)),
            ("events", Json::Number(self.summary.events)),
            ("answered", Json::Number(self.summary.answered)),
            ("faults", Json::Number(self.faults())),
            ("simulated_seconds", Json::seconds(self.summary.simulated)),
            ("wall_seconds", Json::seconds(self.wall)),
        ]
        .into_iter()
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (simulated, wall) = (self.summary.simulated.as_secs_f64(), self.wall.as_secs_f64());
        let (runs, hours) = (self.summary.runs, simulated / 3_600.0);
        write!(
            f,
            "{runs} runs, {hours:.2} simulated hours in {wall:.1} seconds, {:.1} for each; ",
            wall / hours
        )?;
        write!(f, "{:.1} requests answered a second, ", self.summary.answered as f64 / simulated)?;
        write!(
            f,
            "{:.0} faults an hour; {:.0} times real time",
            self.faults() as f64 / hours,
            self.rate()
        )
    }
}

fn play(name: &str, flags: &Flags) -> Option<bool> {
    let (_, demand) = scenario::ALL.into_iter().find(|(known, _)| *known == name)?;
    let (members, from) = (flags.number("nodes", 3)?, flags.number("from", 0)?);
    let seeds = flags.number("seeds", 100)?;
    if !flags.are_among(&["nodes", "from", "seeds", "jobs", "until-failure", "json"])
        || !(1..=7).contains(&members)
    {
        return None;
    }
    say!("{demand}");
    let all: Vec<u64> = (from..from.saturating_add(seeds)).collect();
    let (mut failures, mut all_measured) = (Vec::new(), Vec::new());
    let one = |seed: &u64| (*seed, scenario::play(name, members, *seed));
    parallel::in_order(&all, flags.jobs()?, one, |(seed, measured)| {
        match measured {
            Ok(measured) => all_measured.push(measured),
            Err(what) => {
                say!("{what}");
                let replay = format!("scenario {name} --nodes {members} --from {seed} --seeds 1");
                say!("replay: cargo run --release -p quorate-sim -- {replay}");
                failures.push(Json::text(&what));
            }
        }
        !flags.has("until-failure") || failures.is_empty()
    });
    if let Err(what) = scenario::compare(&all_measured) {
        say!("{name}, {members} members: {what}");
        failures.push(Json::text(&what));
    }
    let ratio = scenario::Ratio::of(&all_measured);
    let longest = all_measured.iter().map(|measured| measured.took).max().unwrap_or_default();
    say!(
        "scenario {name}: {members} members, {seeds} seeds, {} failures, the most measured \
         {longest:?}",
        failures.len()
    );
    if let Some(scenario::Ratio { mean, worst }) = ratio {
        let (mean, worst) = (Json::Thousandths(mean), Json::Thousandths(worst));
        say!("{mean} times as long as where nobody is slow, {worst} times for the worst seed");
    }
    let well = failures.is_empty();
    let written = flags.report(|| {
        let ratios = ratio.into_iter().flat_map(|scenario::Ratio { mean, worst }| {
            [("ratio", Json::Thousandths(mean)), ("worst_ratio", Json::Thousandths(worst))]
        });
        let all = [
            ("scenario", Json::text(name)),
            ("demand", Json::text(demand)),
            ("members", Json::Number(members)),
            ("first_seed", Json::Number(from)),
            ("seeds", Json::Number(seeds)),
            ("failures", Json::List(failures)),
            ("most_measured_milliseconds", Json::Thousandths(longest.as_micros())),
        ];
        json(all.into_iter().chain(ratios))
    });
    Some(well && written)
}
