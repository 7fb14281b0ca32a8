//! What a report must say before a run is stored, or shown, as one that passed.
//!
//! That a command ended well is not enough: it may have been told to do nothing, or have done so little
//! that nothing follows from it.

use std::io;

use quorate_planted::Bug;
use serde_json::{Value, json};

use super::table::{grouped, rounded, told};
use crate::museum::report::Effort;

/// The counts of a tool without which nothing was run. A point leads into an object.
fn counts(tool: &str) -> &'static [&'static str] {
    match tool {
        "swarm" => &["seeds", "leases.granted", "leases.expired", "watches.events"],
        "over-limit" | "scenarios" => &["seeds"],
        "bench" => &["runs", "answered", "faults", "drawn.runs"],
        "graphs" | "graphs-5" => &["graphs"],
        "cuts" => &["events", "cuts", "cuts_within_commits"],
        "museum" => &["seeds_without_a_bug"],
        "crash-points" => &["operations", "images", "restarts"],
        "full-disk" => &[
            "full_of_its_own_data.writes_refused",
            "full_of_its_own_data.deletions",
            "full_of_somebody_elses_data.writes_refused",
            "values_that_fitted_again",
        ],
        _ => &[],
    }
}

/// Demands of the report of a run that passed that it tells of no failure, and that something was run.
///
/// # Errors
///
/// What it lacks, or what speaks against it.
pub(super) fn of_a_pass(tool: &str, report: &Value) -> io::Result<()> {
    let wrong = |what: String| Err(io::Error::other(what));
    if report.is_null() {
        return wrong("it passed and left no report".to_owned());
    }
    if report.get("faults_not_possible").is_some_and(|faults| *faults != json!([])) {
        return wrong("there were faults that its machine could not have".to_owned());
    }
    if report.get("program").is_some_and(|program| program != "quorate") {
        return wrong("it is of another program".to_owned());
    }
    for name in counts(tool) {
        let count = name.split('.').try_fold(report, |value, part| value.get(part));
        if count.and_then(Value::as_u64).unwrap_or(0) == 0 {
            return wrong(format!("it is stored as one that passed, without any {name}"));
        }
    }
    match tool {
        "crash-points" | "damage" | "power-cut" | "full-disk" | "blackbox" => {
            if report.get("passed") != Some(&json!(true)) {
                return wrong("it does not say that it passed, and is stored so".to_owned());
            }
            demand_none(report, "violations")
        }
        "museum" => visit(report),
        "bench" => {
            demand_none(report, "failures")?;
            demand_none(&report["drawn"], "failures")
        }
        _ => demand_none(report, "failures"),
    }
}

/// How fast the simulator has to be with an ordinary cluster, in times real time; and how much that cluster
/// has to do and to suffer: requests answered a second, and faults an hour.
pub(super) const BENCH_RATE_MIN: f64 = 500.0;
const BENCH_ANSWERED_MIN: f64 = 5.0;
const BENCH_FAULTS_MIN: f64 = 1_000.0;
/// The fewest seeds of the swarm that the page is to tell of.
pub(super) const SWARM_SEEDS_MIN: u64 = 100_000;
/// The same beyond the limit.
pub(super) const OVER_LIMIT_SEEDS_MIN: u64 = 10_000;
/// The same of a scenario.
const SCENARIO_SEEDS_MIN: u64 = 200;
/// How many graphs there are in which a majority can talk, by members.
const GRAPHS: [(u64, u64); 4] = [(2, 1), (3, 21), (4, 55), (5, 6_405)];
/// For how long real processes have to meet faults, in seconds.
const BLACKBOX_SECONDS_MIN: u64 = 300;

/// What a report is short of that the page is to bear. It may be true, and stored by an earlier tool or for a
/// page that is made in minutes: so it is shown, with what it is short of, and no new one is stored as passed.
pub(super) fn shortfalls(tool: &str, report: &Value) -> Vec<String> {
    let number = |name| report.get(name).and_then(Value::as_u64).unwrap_or(0);
    let seeds = |least| {
        let seeds = number("seeds");
        let what = || format!("{} seeds, and {} are due", grouped(seeds), grouped(least));
        (seeds < least).then(what)
    };
    match tool {
        "swarm" => seeds(SWARM_SEEDS_MIN).or_else(|| unmet(report)).into_iter().collect(),
        "over-limit" => seeds(OVER_LIMIT_SEEDS_MIN).into_iter().collect(),
        "scenarios" => seeds(SCENARIO_SEEDS_MIN).into_iter().collect(),
        "graphs" | "graphs-5" => {
            let (members, graphs) = (number("members"), number("graphs"));
            let all = GRAPHS.into_iter().find(|(of, _)| *of == members).map(|(_, all)| all);
            let what = || format!("{graphs} graphs of {members} members");
            (Some(graphs) != all).then(what).into_iter().collect()
        }
        "bench" => of_the_bench(report),
        "museum" => of_the_catalogue(report),
        "damage" => of_the_damage(report),
        "blackbox" => {
            let seconds = number("seconds_of_faults");
            let what = || format!("{seconds} seconds, and {BLACKBOX_SECONDS_MIN} are due");
            (seconds < BLACKBOX_SECONDS_MIN).then(what).into_iter().collect()
        }
        "crash-points" => {
            let what = || "not at each operation".to_owned();
            (number("step") != 1).then(what).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// How an ordinary cluster was too slow, or what it had too little of.
fn of_the_bench(report: &Value) -> Vec<String> {
    let measure = |name| report.get(name).and_then(Value::as_f64).unwrap_or(0.0);
    let least = |name| measure(name).max(f64::MIN_POSITIVE);
    let simulated = least("simulated_seconds");
    [
        (measure("simulated_seconds") / least("wall_seconds"), BENCH_RATE_MIN, "times real time"),
        (measure("answered") / simulated, BENCH_ANSWERED_MIN, "requests answered a second"),
        (measure("faults") / simulated * 3_600.0, BENCH_FAULTS_MIN, "faults an hour"),
    ]
    .into_iter()
    .filter(|(is, due, _)| is < due)
    .map(|(is, due, what)| format!("{} {what}, and {} are due", rounded(is), rounded(due)))
    .collect()
}

/// The etcd beside which damage is to be shown.
const ETCD_VERSION: &str = "3.5.1";

/// Whether it was done to another etcd, or to none; and how many places were left out where damage could be
/// done to one member.
fn of_the_damage(report: &Value) -> Vec<String> {
    let is_due = report.get("etcd_version").is_some_and(|version| version == ETCD_VERSION);
    let beside = (!is_due).then(|| format!("it is not held against etcd {ETCD_VERSION}"));
    beside.into_iter().chain(places_left_out(report)).collect()
}

fn places_left_out(report: &Value) -> Option<String> {
    let quorate = report.pointer("/programs/quorate").unwrap_or(&Value::Null);
    let files = quorate.get("one_member_by_file").and_then(Value::as_object);
    let outcomes = files.into_iter().flat_map(|files| files.values());
    let outcomes = outcomes.filter_map(Value::as_object).flat_map(|file| file.values());
    let done: u64 = outcomes.filter_map(Value::as_u64).sum();
    match quorate.get("places_possible").and_then(Value::as_u64) {
        Some(possible) if possible <= done => None,
        Some(possible) => Some(format!("{} of {} places", grouped(done), grouped(possible))),
        None => Some("nothing is said of how many places there are".to_owned()),
    }
}

/// The faults that never met a stage, if there are any, or if nothing is said of them.
fn unmet(report: &Value) -> Option<String> {
    let missing = report.get("coverage_missing").and_then(Value::as_array);
    let Some(missing) = missing else {
        return Some("nothing is said of what was not met".to_owned());
    };
    let missing: Vec<String> = missing.iter().map(told).collect();
    (!missing.is_empty()).then(|| format!("never met: {}", missing.join(", ")))
}

/// What a visit to the museum left out, and where it took more seeds than was promised.
fn of_the_catalogue(report: &Value) -> Vec<String> {
    let bugs = report.get("bugs").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let is_there = |name: &str| bugs.iter().any(|bug| bug.get("bug") == Some(&json!(name)));
    let names = Bug::ALL.iter().map(|bug| bug.exhibit().name);
    let left_out: Vec<&str> = names.filter(|name| !is_there(name)).collect();
    let mut short = Vec::new();
    if !left_out.is_empty() {
        short.push(format!("it did not look for {}", left_out.join(", ")));
    }
    if report.get("quick") == Some(&json!(true)) {
        short.push("a quick visit says nothing of how many seeds it takes".to_owned());
    }
    let seeds = bugs.iter().filter_map(|bug| bug.get("seeds").and_then(Value::as_u64));
    short.extend(Effort::of(seeds).lacks());
    short
}

/// Demands that a list is there and empty, or a number there and zero.
fn demand_none(report: &Value, name: &str) -> io::Result<()> {
    match report.get(name) {
        Some(none) if *none == json!([]) || *none == json!(0) => Ok(()),
        Some(some) => Err(io::Error::other(format!("it passed, with {name}: {some}"))),
        None => Err(io::Error::other(format!("it passed, and says nothing of {name}"))),
    }
}

/// Demands that every bug was found, and none where there was none.
fn visit(report: &Value) -> io::Result<()> {
    if report.get("false_alarm") != Some(&Value::Null) {
        return Err(io::Error::other("it passed, with a false alarm"));
    }
    let bugs = report.get("bugs").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    match bugs.iter().find(|bug| bug.get("found") != Some(&json!(true))) {
        Some(bug) => Err(io::Error::other(format!("it passed, and did not find {}", bug["bug"]))),
        None if bugs.is_empty() => Err(io::Error::other("it passed, and looked for no bug")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field, and what it must not be.
    type Spoil = (&'static str, Value);

    /// A good report of each form, with what must not be in it instead.
    fn spoiled() -> Vec<(&'static str, Value, Vec<Spoil>)> {
        let check = json!({
            "faults_not_possible": [], "program": "quorate", "passed": true, "violations": [],
        });
        let swarm = json!({
            "seeds": 7, "failures": [], "leases": {"granted": 3, "expired": 1},
            "watches": {"events": 9},
        });
        let museum = json!({
            "seeds_without_a_bug": 9, "false_alarm": null, "bugs": [{"bug": "A", "found": true}],
        });
        vec![
            (
                "blackbox",
                check,
                vec![
                    ("faults_not_possible", json!(["partition"])),
                    ("program", json!("etcd")),
                    ("passed", json!(false)),
                    ("passed", Value::Null),
                    ("violations", json!(["LOST"])),
                ],
            ),
            (
                "crash-points",
                json!({
                    "operations": 9, "images": 99, "restarts": 2, "passed": true, "violations": [],
                }),
                vec![
                    ("operations", json!(0)),
                    ("images", Value::Null),
                    ("restarts", json!(0)),
                    ("violations", json!(["LOST"])),
                ],
            ),
            (
                "swarm",
                swarm,
                vec![
                    ("seeds", json!(0)),
                    ("failures", json!([{"seed": 7}])),
                    ("failures", Value::Null),
                    ("leases", json!({"granted": 3, "expired": 0})),
                    ("leases", Value::Null),
                    ("watches", json!({"events": 0})),
                ],
            ),
            (
                "bench",
                json!({"runs": 7, "answered": 7, "faults": 7, "failures": 0,
                    "drawn": {"runs": 7, "failures": 0}}),
                vec![
                    ("runs", json!(0)),
                    ("answered", json!(0)),
                    ("faults", json!(0)),
                    ("failures", json!(1)),
                    ("drawn", json!({"runs": 0, "failures": 0})),
                    ("drawn", json!({"runs": 7, "failures": 1})),
                    ("drawn", Value::Null),
                ],
            ),
            ("graphs", json!({"graphs": 1, "failures": []}), vec![("graphs", json!(0))]),
            (
                "cuts",
                json!({"events": 1, "cuts": 2, "cuts_within_commits": 1, "failures": []}),
                vec![
                    ("events", json!(0)),
                    ("cuts_within_commits", json!(0)),
                    ("failures", json!(["at 7"])),
                ],
            ),
            ("scenarios", json!({"seeds": 1, "failures": []}), vec![("seeds", json!(0))]),
            (
                "museum",
                museum,
                vec![
                    ("seeds_without_a_bug", Value::Null),
                    ("false_alarm", json!("seed 7")),
                    ("bugs", json!([])),
                    ("bugs", json!([{"bug": "A", "found": true}, {"bug": "B", "found": false}])),
                ],
            ),
        ]
    }

    /// A report that is short of nothing, with what it is short of instead.
    fn short() -> Vec<(&'static str, Value, Vec<Spoil>)> {
        let bugs: Vec<Value> =
            Bug::ALL.iter().map(|bug| json!({"bug": bug.exhibit().name, "seeds": 7})).collect();
        let late = |seeds: &[u64]| {
            let late = bugs.iter().zip(seeds.iter().chain(std::iter::repeat(&7)));
            let late = late.map(|(bug, seeds)| json!({"bug": bug["bug"], "seeds": seeds}));
            json!(late.collect::<Vec<_>>())
        };
        let by_tests: Vec<Value> =
            bugs.iter().map(|bug| json!({"bug": bug["bug"], "seeds": null})).collect();
        vec![
            (
                "swarm",
                json!({"seeds": 100_000, "coverage_missing": []}),
                vec![
                    ("seeds", json!(99_999)),
                    ("coverage_missing", json!(["slow_sync at healing"])),
                    ("coverage_missing", Value::Null),
                ],
            ),
            ("over-limit", json!({"seeds": 10_000}), vec![("seeds", json!(9_999))]),
            (
                "bench",
                json!({"simulated_seconds": 1_000.0, "wall_seconds": 2.0,
                    "answered": 5_000, "faults": 278}),
                vec![
                    ("simulated_seconds", json!(999.0)),
                    ("wall_seconds", json!(2.1)),
                    ("answered", json!(4_999)),
                    ("faults", json!(277)),
                    ("faults", Value::Null),
                ],
            ),
            ("scenarios", json!({"seeds": 200}), vec![("seeds", json!(199))]),
            (
                "graphs-5",
                json!({"members": 5, "graphs": 6_405}),
                vec![("graphs", json!(6_404)), ("members", json!(4)), ("members", json!(6))],
            ),
            (
                "damage",
                json!({"etcd_version": "3.5.1", "programs": {"quorate": {
                    "places_possible": 7,
                    "one_member_by_file": {"wal": {"healed": 4, "lost": 1}, "store": {"healed": 2}}
                }}}),
                vec![
                    ("etcd_version", json!("3.5.2")),
                    ("etcd_version", Value::Null),
                    ("programs", Value::Null),
                    ("programs", json!({"quorate": {"places_possible": 7}})),
                    (
                        "programs",
                        json!({"quorate": {
                            "places_possible": 7,
                            "one_member_by_file": {"wal": {"healed": 6}}
                        }}),
                    ),
                ],
            ),
            (
                "blackbox",
                json!({"seconds_of_faults": 300}),
                vec![("seconds_of_faults", json!(299))],
            ),
            ("crash-points", json!({"step": 1}), vec![("step", json!(2)), ("step", Value::Null)]),
            (
                "museum",
                json!({"quick": false, "bugs": bugs.clone()}),
                vec![
                    ("quick", json!(true)),
                    ("bugs", json!(bugs[1..])),
                    ("bugs", json!(by_tests)),
                    ("bugs", late(&vec![1_000; bugs.len() / 2 + 1])),
                    ("bugs", late(&[10_001])),
                ],
            ),
        ]
    }

    #[test]
    fn whatever_a_report_is_short_of_is_told() {
        for (tool, good, spoils) in short() {
            assert_eq!(shortfalls(tool, &good), [""; 0], "{tool}");
            for (name, value) in spoils {
                let mut report = good.clone();
                report[name] = value;
                assert_eq!(shortfalls(tool, &report).len(), 1, "{tool}: {name}");
            }
        }
    }

    #[test]
    fn no_report_passes_that_is_less_than_it_looks() {
        for (tool, good, spoils) in spoiled() {
            of_a_pass(tool, &good).unwrap();
            of_a_pass(tool, &Value::Null).unwrap_err();
            for (name, value) in spoils {
                let mut report = good.clone();
                report[name] = value;
                assert!(of_a_pass(tool, &report).is_err(), "{tool}: {report}");
            }
        }
    }
}
