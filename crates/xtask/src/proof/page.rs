//! The page: what goes into the holes of the template.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use quorate_planted::{Bug, Exhibit, Finder};
use serde_json::Value;

use super::bugs::{Fixed, OwnBug};
use super::demands;
use super::record::Record;
use super::table::{flattened, grouped, rounded, table, told};
use super::template;

const TEMPLATE: &str = include_str!("page.md.in");

const HOUR: f64 = 3_600.0;
const YEAR: f64 = 365.25 * 24.0 * HOUR;

/// Makes the page. `found` is the text in which the museum keeps the seeds of its last search.
///
/// # Errors
///
/// A report that lacks what the page says of it, or a template with a mistake.
pub(super) fn of(
    records: &BTreeMap<String, Record>,
    bugs: &[OwnBug],
    found: &str,
) -> io::Result<String> {
    let mut values = Values::default();
    values.put("runs", runs(records, bugs.len() as u64));
    values.put("bugs", own_bugs(bugs));
    values.put("bugs.count", grouped(bugs.len() as u64));
    values.put("bugs.mended", mended(bugs));
    let (mute, told): (BTreeSet<&str>, BTreeSet<&str>) = records
        .keys()
        .map(String::as_str)
        .partition(|name| records[*name].reports.iter().all(Value::is_null));
    for name in &told {
        let record = &records[*name];
        let known = match *name {
            "swarm" => swarm(&mut values, &record.reports[0]),
            "over-limit" => many_runs(name, &mut values, &record.reports[0]),
            "bench" => bench(&mut values, &record.reports[0]),
            "graphs" | "graphs-5" => graphs(name, &mut values, &record.reports),
            "cuts" => cuts(&mut values, &record.reports),
            "scenarios" => scenarios(&mut values, &record.reports),
            "museum" => museum(&mut values, &record.reports[0]),
            "damage" => damage(&mut values, &record.reports[0]),
            "blackbox" | "crash-points" | "full-disk" | "power-cut" => {
                values.put(&format!("{name}.table"), counts(&record.reports[0], &[]));
                Ok(())
            }
            _ => Err(io::Error::other("the page has no place for this report")),
        };
        known.map_err(|error| io::Error::other(format!("{name}.json: {error}")))?;
    }
    if !told.contains("museum") {
        catalogue(&mut values, found)?;
    }
    template::fill(TEMPLATE, &values.0, &told, &mute)
}

#[derive(Default)]
struct Values(BTreeMap<String, String>);

impl Values {
    fn put(&mut self, name: &str, value: impl Into<String>) {
        let before = self.0.insert(name.to_owned(), value.into());
        assert!(before.is_none(), "{name} has two values");
    }

    fn count(&mut self, name: &str, value: u64) {
        self.put(name, grouped(value));
    }
}

fn field<'a>(report: &'a Value, name: &str) -> io::Result<&'a Value> {
    report.get(name).ok_or_else(|| io::Error::other(format!("{name} is missing")))
}

fn number(report: &Value, name: &str) -> io::Result<u64> {
    let number = field(report, name)?.as_u64();
    number.ok_or_else(|| io::Error::other(format!("{name} is no whole number")))
}

fn measure(report: &Value, name: &str) -> io::Result<f64> {
    let number = field(report, name)?.as_f64();
    number.ok_or_else(|| io::Error::other(format!("{name} is no number")))
}

fn text<'a>(report: &'a Value, name: &str) -> io::Result<&'a str> {
    let text = field(report, name)?.as_str();
    text.ok_or_else(|| io::Error::other(format!("{name} is no text")))
}

fn list<'a>(report: &'a Value, name: &str) -> io::Result<&'a [Value]> {
    let list = field(report, name)?.as_array();
    Ok(list.ok_or_else(|| io::Error::other(format!("{name} is no list")))?)
}

fn object<'a>(
    report: &'a Value,
    name: &str,
) -> io::Result<impl Iterator<Item = (&'a str, &'a Value)>> {
    let map = field(report, name)?.as_object();
    let map = map.ok_or_else(|| io::Error::other(format!("{name} has no names")))?;
    Ok(map.iter().map(|(name, value)| (name.as_str(), value)))
}

/// How many failures, and which.
fn failures(failures: &[Value]) -> String {
    match failures.len() {
        0 => "no failure".to_owned(),
        n => {
            let said: Vec<String> = failures.iter().map(told).collect();
            let failures = if n == 1 { "failure" } else { "failures" };
            format!("**{} {failures}** ({})", grouped(n as u64), said.join("; "))
        }
    }
}

/// A table of all that a report counts.
fn counts(report: &Value, aside: &[&str]) -> String {
    let rows = flattened(report, aside).into_iter().map(|(what, count)| vec![what, count]);
    table(&["what", "count"], &rows.collect::<Vec<_>>())
}

fn runs(records: &BTreeMap<String, Record>, bugs: u64) -> String {
    let row = |(name, record): (&String, &Record)| {
        let commands: Vec<String> = record.commands.iter().map(|c| format!("`{c}`")).collect();
        vec![
            format!("[{name}](proof/{name}.json)"),
            commands.join("<br>"),
            format!("`{}`", record.commit.get(..10).unwrap_or(&record.commit)),
            record.date.clone(),
            format!("{} cores, {}", record.cores, record.machine),
            outcome(name, record, bugs),
        ]
    };
    let rows: Vec<Vec<String>> = records.iter().map(row).collect();
    table(&["report", "command", "commit", "day", "machine", "outcome"], &rows)
}

/// Whether it passed, and if so what it is short of. `bugs` is how many of our own are known by now.
fn outcome(name: &str, record: &Record, bugs: u64) -> String {
    if !record.passed {
        return "**did not pass**".to_owned();
    }
    let reports = record.reports.iter();
    let mut short: Vec<String> =
        reports.flat_map(|report| demands::shortfalls(name, report)).collect();
    match bugs.saturating_sub(record.own_bugs) {
        0 => {}
        1 => short.push("one bug was found since".to_owned()),
        since => short.push(format!("{since} bugs were found since")),
    }
    if short.is_empty() {
        return "passed".to_owned();
    }
    format!("passed, and **falls short**: {}", short.join("; "))
}

fn own_bugs(bugs: &[OwnBug]) -> String {
    let row = |bug: &OwnBug| {
        let file = format!("[{}](../{})", last_part(&bug.keeper), bug.keeper);
        let keeper = match (&bug.test, &bug.seeds) {
            (Some(test), _) => format!("{file}, `{test}`"),
            (None, Some(seeds)) => format!("{file}, seed {seeds}"),
            (None, None) => file,
        };
        let fixed = match &bug.fixed {
            Fixed::In(commit) => format!("`{commit}`"),
            Fixed::WithItsSeed => "–".to_owned(),
            Fixed::NotYet => "**not yet**".to_owned(),
        };
        vec![bug.what.clone(), bug.found.clone(), keeper, fixed]
    };
    let rows: Vec<Vec<String>> = bugs.iter().map(row).collect();
    table(&["what went wrong", "found by", "what keeps it away", "mended in"], &rows)
}

/// How many of the bugs are mended.
fn mended(bugs: &[OwnBug]) -> String {
    match bugs.iter().filter(|bug| bug.fixed == Fixed::NotYet).count() {
        0 => "all mended".to_owned(),
        open => format!("**{} not mended yet**", grouped(open as u64)),
    }
}

fn last_part(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// What stands elsewhere on the page, or is no count.
const TOLD_OF_A_SWARM: [&str; 8] = [
    "first_seed",
    "seeds",
    "failures",
    "simulated_seconds",
    "wall_seconds",
    "faults",
    "coverage",
    "coverage_missing",
];

/// How many seeds, which, how long they took, and what was counted.
fn many_runs(name: &str, values: &mut Values, report: &Value) -> io::Result<()> {
    let (first, seeds) = (number(report, "first_seed")?, number(report, "seeds")?);
    let simulated = measure(report, "simulated_seconds")?;
    let mut put = |what: &str, value: String| values.put(&format!("{name}.{what}"), value);
    put("seeds", grouped(seeds));
    put("first", first.to_string());
    put("last", (first + seeds).saturating_sub(1).to_string());
    put("hours", rounded(simulated / HOUR));
    put("years", rounded(simulated / YEAR));
    put("failures", failures(list(report, "failures")?));
    put("counts", counts(report, &TOLD_OF_A_SWARM));
    Ok(())
}

fn swarm(values: &mut Values, report: &Value) -> io::Result<()> {
    many_runs("swarm", values, report)?;
    let (mut rows, mut faults) = (Vec::new(), 0);
    let (mut due, mut met) = (0, 0);
    let coverage: BTreeMap<&str, &Value> = object(report, "coverage")?.collect();
    for (fault, count) in object(report, "faults")? {
        let count = count.as_u64().ok_or_else(|| io::Error::other("a fault has no count"))?;
        let stages = coverage.get(fault).and_then(|stages| stages.as_object());
        let stages = stages.ok_or_else(|| io::Error::other(format!("{fault} has no coverage")))?;
        let is_met = |met: &Value| met.as_u64().is_some_and(|met| met > 0);
        let (here, missed): (Vec<_>, Vec<_>) = stages.iter().partition(|(_, met)| is_met(met));
        let names = |stages: &[(&String, &Value)]| {
            stages.iter().map(|(stage, _)| stage.replace('_', " ")).collect::<Vec<_>>().join(", ")
        };
        let not_met = match (here.len(), missed.len()) {
            (_, 0) => "–".to_owned(),
            (met, missed) if 0 < met && met < missed => format!("all but {}", names(&here)),
            _ => names(&missed),
        };
        let here = here.len() as u64;
        let share = format!("{here} of {}", stages.len());
        rows.push(vec![fault.replace('_', " "), grouped(count), share, not_met]);
        faults += count;
        due += stages.len() as u64;
        met += here;
    }
    values.put("swarm.faults", table(&["fault", "how often", "stages met", "not met"], &rows));
    values.count("swarm.faults.all", faults);
    values.count("swarm.kinds", rows.len() as u64);
    values.count("swarm.due", due);
    values.count("swarm.met", met);
    values.put("swarm.coverage", matrix(&coverage)?);
    Ok(())
}

/// How often each fault met each stage: a line for each fault, a column for each stage. `-` is a meeting
/// that can't be.
fn matrix(coverage: &BTreeMap<&str, &Value>) -> io::Result<String> {
    let mut met: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
    for (fault, stages) in coverage {
        let stages = stages.as_object().ok_or_else(|| io::Error::other("no stages"))?;
        let counts = stages.iter().map(|(stage, n)| (stage.as_str(), n.as_u64().unwrap_or(0)));
        met.insert(fault, counts.collect());
    }
    let stages: BTreeSet<&str> = met.values().flat_map(|stages| stages.keys().copied()).collect();
    let letters: Vec<char> = ('a'..='z').take(stages.len()).collect();
    if letters.len() < stages.len() {
        return Err(io::Error::other("more stages than letters"));
    }
    let head = letters.iter().map(|letter| format!("{letter:>9}")).collect::<String>();
    let mut lines = vec![format!("{:<16}{head}", "")];
    for (fault, counts) in &met {
        let cell = |stage: &&str| match counts.get(*stage) {
            Some(count) => format!("{count:>9}"),
            None => format!("{:>9}", "-"),
        };
        lines.push(format!("{fault:<16}{}", stages.iter().map(cell).collect::<String>()));
    }
    lines.push(String::new());
    lines.extend(letters.iter().zip(&stages).map(|(letter, stage)| format!("{letter} {stage}")));
    Ok(format!("```text\n{}\n```", lines.join("\n")))
}

fn bench(values: &mut Values, report: &Value) -> io::Result<()> {
    values.count("bench.members", number(report, "members")?);
    pace("bench", values, report)?;
    pace("bench.drawn", values, field(report, "drawn")?)
}

/// What runs cost.
fn pace(name: &str, values: &mut Values, report: &Value) -> io::Result<()> {
    let (simulated, wall) =
        (measure(report, "simulated_seconds")?, measure(report, "wall_seconds")?);
    let mut put = |what, value: f64| values.put(&format!("{name}.{what}"), rounded(value));
    put("hours", simulated / HOUR);
    put("wall", wall);
    put("rate", simulated / wall);
    put("cost", wall / simulated * HOUR);
    put("answered", number(report, "answered")? as f64 / simulated);
    put("events", number(report, "events")? as f64 / simulated);
    put("faults", number(report, "faults")? as f64 / simulated * HOUR);
    values.count(&format!("{name}.runs"), number(report, "runs")?);
    values.count(&format!("{name}.failures"), number(report, "failures")?);
    Ok(())
}

/// A row for each report, also for one that is missing.
fn rows(
    reports: &[Value],
    row: impl Fn(&Value) -> io::Result<Vec<String>>,
) -> io::Result<Vec<Vec<String>>> {
    let missing = || Ok(vec!["**left no report**".to_owned()]);
    reports.iter().map(|report| if report.is_null() { missing() } else { row(report) }).collect()
}

fn graphs(name: &str, values: &mut Values, reports: &[Value]) -> io::Result<()> {
    let row = |report: &Value| {
        let timeouts =
            measure(report, "slowest_seconds")? / measure(report, "election_timeout_seconds")?;
        Ok(vec![
            grouped(number(report, "members")?),
            grouped(number(report, "graphs")?),
            failures(list(report, "failures")?),
            rounded(timeouts),
        ])
    };
    let head = ["members", "graphs", "outcome", "the slowest, in election timeouts"];
    values.put(&format!("{name}.table"), table(&head, &rows(reports, row)?));
    Ok(())
}

fn cuts(values: &mut Values, reports: &[Value]) -> io::Result<()> {
    let row = |report: &Value| {
        Ok(vec![
            grouped(number(report, "members")?),
            grouped(number(report, "events")?),
            grouped(number(report, "cuts")?),
            grouped(number(report, "cuts_within_commits")?),
            failures(list(report, "failures")?),
        ])
    };
    let head = ["members", "events", "cuts", "of these in the midst of a commit", "outcome"];
    values.put("cuts.table", table(&head, &rows(reports, row)?));
    Ok(())
}

fn scenarios(values: &mut Values, reports: &[Value]) -> io::Result<()> {
    let row = |report: &Value| {
        // Only where a member is slow is there anything to compare with.
        let ratio = |name| match report.get(name) {
            Some(_) => measure(report, name).map(rounded),
            None => Ok("–".to_owned()),
        };
        Ok(vec![
            format!("`{}`", text(report, "scenario")?),
            text(report, "demand")?.to_owned(),
            grouped(number(report, "members")?),
            grouped(number(report, "seeds")?),
            failures(list(report, "failures")?),
            rounded(measure(report, "most_measured_milliseconds")?),
            ratio("ratio")?,
            ratio("worst_ratio")?,
        ])
    };
    let head = [
        "scenario",
        "demand",
        "members",
        "seeds",
        "outcome",
        "most measured, ms",
        "times as long as without a fault, on average over all seeds",
        "the same, worst seed",
    ];
    values.put("scenarios.table", table(&head, &rows(reports, row)?));
    Ok(())
}

fn museum(values: &mut Values, report: &Value) -> io::Result<()> {
    let bugs = list(report, "bugs")?;
    let is_quick = field(report, "quick")?.as_bool() == Some(true);
    let (mut rows, mut seeds, mut missed) = (Vec::new(), Vec::new(), Vec::new());
    let mut by_tests = 0_u64;
    for bug in bugs {
        let is_found = field(bug, "found")?.as_bool() == Some(true);
        let (name, by) = (text(bug, "bug")?, text(bug, "by")?);
        let place = if is_quick { "seed" } else { "seeds" };
        let taken = field(bug, place)?.as_u64();
        if !is_found {
            missed.push(name);
        } else if let Some(taken) = taken {
            seeds.push(taken);
        } else {
            by_tests += 1;
        }
        rows.push(vec![
            name.to_owned(),
            text(bug, "title")?.to_owned(),
            text(bug, "from")?.to_owned(),
            if is_found { by.to_owned() } else { format!("**not found**: {by}") },
            taken.map_or_else(|| "–".to_owned(), grouped),
            rounded(measure(bug, "seconds")?),
        ]);
    }
    seeds.sort_unstable();
    let first = told(field(report, "first_seed")?);
    let effort = if is_quick {
        "This was a quick visit: each search began at the seed that found the bug before, and so says nothing \
         of how many seeds it takes."
            .to_owned()
    } else {
        format!(
            "Each search began at seed {first}; it took {} seeds at the median and {} at most.",
            grouped(seeds.get(seeds.len() / 2).copied().unwrap_or_default()),
            grouped(seeds.last().copied().unwrap_or_default())
        )
    };
    let silent = match field(report, "seeds_without_a_bug")?.as_u64() {
        Some(seeds) => format!("{} of the same seeds pass with no bug alive.", grouped(seeds)),
        None => format!("**A false alarm**: {}", told(field(report, "false_alarm")?)),
    };
    let found = bugs.len() - missed.len();
    values.count("museum.bugs", bugs.len() as u64);
    values.count("museum.by_simulator", seeds.len() as u64);
    values.count("museum.by_tests", by_tests);
    values.put(
        "museum.found",
        match missed.as_slice() {
            [] => format!("All {} were found", grouped(found as u64)),
            missed => format!("**Not found: {}**; {found} were", missed.join(", ")),
        },
    );
    values.put("museum.effort", effort);
    values.put("museum.silent", silent);
    let taken = if is_quick { "at seed" } else { "seeds" };
    let head = ["bug", "what goes wrong", "seen in", "found by", taken, "s"];
    values.put("museum.table", table(&head, &rows));
    values.put(
        "museum.source",
        "Of the visit that is told of [above](#the-museum-would-a-bug-be-found).",
    );
    Ok(())
}

/// The table of a museum whose last visit left no report: what it has, and what is remembered.
fn catalogue(values: &mut Values, found: &str) -> io::Result<()> {
    let found = crate::museum::read_found(found)?;
    let row = |bug: &Bug| {
        let Exhibit { name, title, from, finder, .. } = bug.exhibit();
        let by = match finder {
            Finder::Simulator => "the simulator".to_owned(),
            Finder::Scenario { name, members } => {
                format!("the simulator, scenario {name}, {members} members")
            }
            Finder::Graphs { members } => format!("the simulator, graphs of {members} members"),
            Finder::Test { package, program, name } => {
                format!("{package}, test {program}: {name}")
            }
        };
        let seed = found.get(name).map_or_else(|| "–".to_owned(), |seed| grouped(*seed));
        vec![name.to_owned(), title.to_owned(), from.to_owned(), by, seed]
    };
    let rows: Vec<Vec<String>> = Bug::ALL.iter().map(row).collect();
    let head = ["bug", "what goes wrong", "seen in", "to be found by", "last found at seed"];
    values.put("museum.table", table(&head, &rows));
    values.put(
        "museum.source",
        "No visit is stored: this is the catalogue, with the seeds that \
         [the museum remembers](../crates/planted/found.txt).",
    );
    Ok(())
}

fn damage(values: &mut Values, report: &Value) -> io::Result<()> {
    const OUTCOMES: [&str; 5] = ["healed", "refused", "lost", "wrong", "silent"];
    let (mut said, mut rows) = (Vec::new(), Vec::new());
    for (program, report) in object(report, "programs")? {
        let possible = told(field(report, "places_possible")?);
        let summary = text(report, "summary")?;
        said.push(format!("- `{program}`: {summary}. Sectors to choose from: {possible}."));
        let files = object(report, "one_member_by_file")?;
        let at_once = ("logs of all members at once", field(report, "all_members_at_once")?);
        for (file, outcomes) in files.chain([at_once]) {
            // In a data directory, and not in the repository.
            let file =
                if file.contains('/') { format!("`DIR/{file}`") } else { format!("`{file}`") };
            let mut row = vec![program.to_owned(), file];
            for outcome in OUTCOMES {
                row.push(grouped(number(outcomes, outcome)?));
            }
            rows.push(row);
        }
    }
    let head = [&["program", "file"][..], &OUTCOMES].concat();
    let violations = failures(list(report, "violations")?).replace('\n', " ");
    said.push(format!("- Held against what is promised of `quorate`: {violations}."));
    values.put("damage.summary", said.join("\n"));
    values.put("damage.table", table(&head, &rows));
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::record::tests::record;
    use super::*;

    fn page(name: &str, report: Value) -> io::Result<String> {
        of(&BTreeMap::from([(name.to_owned(), record(report))]), &[], "HalfElects 7\n")
    }

    fn a_swarm() -> Value {
        json!({
            "first_seed": 100, "seeds": 2_000, "failures": [], "simulated_seconds": 7_200.5,
            "wall_seconds": 9.25, "events": 5, "messages": {"lost": 1_234},
            "faults": {"crash": 12, "bad_weather": 0},
            "coverage": {"crash": {"idle": 12, "voting": 0}, "bad_weather": {"idle": 0}},
            "coverage_missing": [],
        })
    }

    #[test]
    fn a_page_says_what_a_swarm_counted_also_what_nobody_thought_of() {
        let page = page("swarm", a_swarm()).unwrap();
        assert!(page.contains("2,000 seeds"), "{page}");
        assert!(page.contains("| messages: lost | 1,234 |"), "{page}");
        assert!(page.contains("| bad weather | 0 | 0 of 1 | idle |"), "{page}");
        assert!(page.contains("| crash | 12 | 1 of 2 | voting |"), "{page}");
        assert!(page.contains("no failure"), "{page}");
        assert!(page.contains("`cargo xtask proof --run museum`"), "{page}");
    }

    #[test]
    fn a_report_that_falls_short_says_so_where_it_is_listed() {
        let page = page("swarm", a_swarm()).unwrap();
        assert!(page.contains("**falls short**: 2,000 seeds, and 100,000 are due"), "{page}");
    }

    #[test]
    fn a_run_without_a_report_is_told() {
        let mut record = record(Value::Null);
        record.passed = false;
        let records = BTreeMap::from([("power-cut".to_owned(), record)]);
        let page = of(&records, &[], "HalfElects 7\n").unwrap();
        assert!(page.contains("**did not pass**"), "{page}");
        assert!(page.contains("did not pass, and left no report"), "{page}");
    }

    #[test]
    fn a_scenario_shows_its_ratio_if_it_has_one() {
        let mut report = json!({
            "scenario": "slow-disk", "demand": "as fast", "members": 3, "seeds": 9,
            "failures": [], "most_measured_milliseconds": 7.5,
        });
        let row = |report: &Value| {
            let page = page("scenarios", report.clone()).unwrap();
            page.lines().find(|line| line.starts_with("| `slow-disk`")).unwrap().to_owned()
        };
        assert!(row(&report).ends_with("| 7.50 | – | – |"), "{}", row(&report));
        report["ratio"] = json!(1.046);
        report["worst_ratio"] = json!(1.5);
        assert!(row(&report).ends_with("| 7.50 | 1.05 | 1.50 |"), "{}", row(&report));
    }

    #[test]
    fn a_report_that_is_missing_hides_no_other() {
        let graphs = json!({
            "members": 3, "graphs": 21, "failures": [], "slowest_seconds": 0.5,
            "election_timeout_seconds": 0.1,
        });
        let mut record = record(graphs);
        record.reports.push(Value::Null);
        record.passed = false;
        let page =
            of(&BTreeMap::from([("graphs".to_owned(), record)]), &[], "HalfElects 7\n").unwrap();
        assert!(page.contains("| 3 | 21 | no failure | 5.00 |"), "{page}");
        assert!(page.contains("| **left no report** |"), "{page}");
    }

    #[test]
    fn a_bug_that_is_there_is_told() {
        let bug = |fixed| OwnBug {
            what: "it is wrong".to_owned(),
            found: "somebody".to_owned(),
            keeper: "a.rs".to_owned(),
            test: None,
            seeds: None,
            fixed,
        };
        let fixed = [bug(Fixed::In("0123abc".to_owned())), bug(Fixed::WithItsSeed)];
        assert_eq!(mended(&fixed), "all mended");
        assert_eq!(
            mended(&[fixed.as_slice(), &[bug(Fixed::NotYet)]].concat()),
            "**1 not mended yet**"
        );
    }

    #[test]
    fn a_failure_is_told() {
        let mut report = a_swarm();
        report["failures"] = json!([{"seed": 107, "what": "oracle: a stale read"}]);
        let page = page("swarm", report).unwrap();
        assert!(page.contains("**1 failure** (seed 107, what oracle: a stale read)"), "{page}");
    }

    #[test]
    fn a_report_that_lacks_something_is_an_error() {
        let mut report = a_swarm();
        report.as_object_mut().unwrap().remove("seeds");
        let error = page("swarm", report).unwrap_err().to_string();
        assert_eq!(error, "swarm.json: seeds is missing");
        page("storm", a_swarm()).unwrap_err();
    }

    #[test]
    fn a_quick_visit_claims_no_effort() {
        let bug = json!({"bug": "A", "title": "t", "from": "f", "found": true, "by": "oracle",
            "seed": 7, "seeds": 1, "seconds": 0.5});
        let visit = |quick| {
            json!({"quick": quick, "first_seed": 0, "seeds_max": 9, "seeds_without_a_bug": 8,
                "false_alarm": null, "bugs": [bug.clone()]})
        };
        let quick = page("museum", visit(true)).unwrap();
        assert!(quick.contains("This was a quick visit") && quick.contains("| 7 |"), "{quick}");
        let whole = page("museum", visit(false)).unwrap();
        assert!(whole.contains("it took 1 seeds at the median"), "{whole}");
    }

    #[test]
    fn without_a_visit_the_museum_shows_its_catalogue() {
        let page = page("swarm", a_swarm()).unwrap();
        assert!(page.contains("No visit is stored"), "{page}");
        let row = page.lines().find(|line| line.starts_with("| HalfElects |")).unwrap();
        assert!(row.ends_with("| the simulator | 7 |"), "{row}");
    }
}
