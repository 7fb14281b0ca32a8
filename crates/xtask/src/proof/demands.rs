//! What a report must say before a run is stored, or shown, as one that passed.
//!
//! That a command ended well is not enough: it may have been told to do nothing, or have done so little
//! that nothing follows from it.

use std::io;

use serde_json::{Value, json};

/// The counts of a tool without which nothing was run. A point leads into an object.
fn counts(tool: &str) -> &'static [&'static str] {
    match tool {
        "swarm" => &["seeds", "leases.granted", "leases.expired", "watches.events"],
        "over-limit" | "scenarios" => &["seeds"],
        "bench" => &["runs"],
        "graphs" | "graphs-5" => &["graphs"],
        "museum" => &["seeds_without_a_bug"],
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
        "damage" | "power-cut" | "blackbox" => {
            if report.get("passed") != Some(&json!(true)) {
                return wrong("it does not say that it passed, and is stored so".to_owned());
            }
            demand_none(report, "violations")
        }
        "museum" => visit(report),
        _ => demand_none(report, "failures"),
    }
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
                json!({"runs": 7, "failures": 0}),
                vec![("runs", json!(0)), ("failures", json!(1))],
            ),
            ("graphs", json!({"graphs": 1, "failures": []}), vec![("graphs", json!(0))]),
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
