//! What is told of a visit: a line for each bug, the summary, and the same for programs.

use std::io;

use quorate_planted::Exhibit;
use serde_json::{Value, json};

use super::options::Options;

/// What became of the search for a bug.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    /// The bug.
    pub(super) bug: Exhibit,
    /// The check that found it; what happened instead, if none did.
    pub(super) by: Result<String, String>,
    /// The seed at which it was found, by the simulator.
    pub(super) seed: Option<u64>,
    /// How many seeds that took.
    pub(super) seeds: Option<u64>,
    /// How long that took.
    pub(super) seconds: f64,
}

impl Verdict {
    pub(super) fn is_found(&self) -> bool {
        self.by.is_ok()
    }
}

/// A row of the table.
pub(super) fn line(verdict: &Verdict) -> String {
    let Verdict { bug, by, seeds, seconds, .. } = verdict;
    let seeds = seeds.map_or_else(|| "-".to_owned(), |seeds| seeds.to_string());
    let by = match by {
        Ok(by) => by.clone(),
        Err(instead) => format!("NOT FOUND: {instead}"),
    };
    let name = bug.name;
    format!("{name:<30} {:>2} {seeds:>6} seeds {seconds:>7.1} s  {by}  ({})", bug.row, bug.from)
}

/// The fewest bugs that the simulator has to find of the whole catalogue.
pub(crate) const BY_SIMULATOR_MIN: usize = 30;
/// The median of how many seeds that takes stays below this.
pub(crate) const MEDIAN_BELOW: u64 = 1_000;
/// The most seeds that any of them may take.
pub(crate) const SEEDS_MOST: u64 = 10_000;

/// How many seeds it took to find bugs, of those that the simulator found.
pub(crate) struct Effort {
    /// How many bugs these are.
    pub(crate) bugs: usize,
    /// The median.
    pub(crate) median: u64,
    /// The most.
    pub(crate) max: u64,
}

impl Effort {
    pub(crate) fn of(seeds: impl IntoIterator<Item = u64>) -> Self {
        let mut seeds: Vec<u64> = seeds.into_iter().collect();
        seeds.sort_unstable();
        Self {
            bugs: seeds.len(),
            median: seeds.get(seeds.len() / 2).copied().unwrap_or_default(),
            max: seeds.last().copied().unwrap_or_default(),
        }
    }

    /// What is demanded of it, if it is of the whole catalogue, and is not so.
    pub(crate) fn lacks(&self) -> Vec<String> {
        let Self { bugs, median, max } = self;
        let mut lacks = Vec::new();
        if *bugs < BY_SIMULATOR_MIN {
            lacks.push(format!("the simulator found {bugs}, and {BY_SIMULATOR_MIN} are the least"));
        }
        if *median >= MEDIAN_BELOW {
            lacks.push(format!("the median is {median} seeds, and not below {MEDIAN_BELOW}"));
        }
        if *max > SEEDS_MOST {
            lacks.push(format!("one took {max} seeds, and {SEEDS_MOST} are the most"));
        }
        lacks
    }
}

fn effort(verdicts: &[Verdict]) -> Effort {
    Effort::of(verdicts.iter().filter(|v| v.is_found()).filter_map(|verdict| verdict.seeds))
}

/// The last line.
pub(super) fn summary(verdicts: &[Verdict]) -> String {
    let found = verdicts.iter().filter(|verdict| verdict.is_found()).count();
    let Effort { median, max, .. } = effort(verdicts);
    let all = verdicts.len();
    format!("museum: {found} of {all} found, median {median} seeds, max {max} seeds")
}

/// What is wrong with a visit: bugs that were not found, and if it was one to the whole catalogue, more
/// effort than was promised. Nothing, if it may be called a success.
pub(super) fn shortcomings(verdicts: &[Verdict], is_whole: bool) -> Vec<String> {
    let missed: Vec<&str> =
        verdicts.iter().filter(|v| !v.is_found()).map(|verdict| verdict.bug.name).collect();
    let mut wrong = Vec::new();
    if !missed.is_empty() {
        wrong.push(format!("not found: {}", missed.join(", ")));
    }
    if is_whole {
        wrong.extend(effort(verdicts).lacks());
    }
    wrong
}

/// The same for a program that makes a page of it. `silent` says how many seeds passed with no bug
/// alive, or which one did not.
pub(super) fn json(verdicts: &[Verdict], silent: &io::Result<u64>, options: &Options) -> Value {
    let bugs: Vec<Value> = verdicts.iter().map(object).collect();
    json!({
        "quick": options.quick,
        "first_seed": options.from,
        "seeds_max": options.seeds_max,
        "seeds_without_a_bug": silent.as_ref().ok(),
        "false_alarm": silent.as_ref().err().map(ToString::to_string),
        "bugs": bugs,
    })
}

fn object(verdict: &Verdict) -> Value {
    let Verdict { bug, by, seed, seeds, seconds } = verdict;
    let (Ok(said) | Err(said)) = by;
    json!({
        "bug": bug.name,
        "row": bug.row,
        "title": bug.title,
        "from": bug.from,
        "found": by.is_ok(),
        "by": said,
        "seed": seed,
        "seeds": seeds,
        "seconds": (seconds * 1_000.0).round() / 1_000.0,
    })
}

#[cfg(test)]
mod tests {
    use quorate_planted::Bug;

    use super::*;

    fn verdict(by: Result<&str, &str>, seeds: Option<u64>) -> Verdict {
        let by = by.map(str::to_owned).map_err(str::to_owned);
        Verdict { bug: Bug::HalfElects.exhibit(), by, seed: seeds, seeds, seconds: 0.5 }
    }

    #[test]
    fn a_summary_counts_what_was_found_and_by_how_many_seeds() {
        let verdicts = [
            verdict(Ok("oracle"), Some(3)),
            verdict(Ok("oracle"), Some(900)),
            verdict(Ok("oracle"), Some(40)),
            verdict(Ok("a test"), None),
            verdict(Err("10000 seeds pass"), Some(10_000)),
        ];
        let expected = "museum: 4 of 5 found, median 40 seeds, max 900 seeds";
        assert_eq!(summary(&verdicts), expected);
        assert!(line(&verdicts[4]).contains("NOT FOUND"));
    }

    #[test]
    fn a_visit_fails_for_each_thing_that_was_promised_and_is_not_so() {
        let found = |seeds: &[u64]| -> Vec<Verdict> {
            seeds.iter().map(|seeds| verdict(Ok("oracle"), Some(*seeds))).collect()
        };
        let wrong = |seeds: &[u64]| shortcomings(&found(seeds), true);
        let good = [[999; 29].as_slice(), &[10_000]].concat();
        assert_eq!(wrong(&good), [""; 0]);
        assert_eq!(wrong(&good[1..]), ["the simulator found 29, and 30 are the least"]);
        let slow = [[999; 15].as_slice(), &[1_000; 15]].concat();
        assert_eq!(wrong(&slow), ["the median is 1000 seeds, and not below 1000"]);
        let hidden = [[999; 29].as_slice(), &[10_001]].concat();
        assert_eq!(wrong(&hidden), ["one took 10001 seeds, and 10000 are the most"]);
        // What a test finds is none of the simulator's.
        let mut by_test = found(&good);
        by_test[0].seeds = None;
        assert_eq!(shortcomings(&by_test, true).len(), 1);
        // What was not found is told first, and of a visit to a few bugs no more is asked.
        let mut missed = found(&good);
        missed.push(verdict(Err("10000 seeds pass"), Some(10_000)));
        assert_eq!(shortcomings(&missed, true), ["not found: HalfElects"]);
        assert_eq!(shortcomings(&missed[30..], false), ["not found: HalfElects"]);
        assert_eq!(shortcomings(&found(&[20_000]), false), [""; 0]);
    }

    #[test]
    fn a_false_alarm_is_told_beside_what_was_found() {
        let options = Options::parse(&[]).unwrap();
        let verdicts = [verdict(Ok("oracle"), Some(3))];
        let report = json(&verdicts, &Ok(1_000), &options);
        assert_eq!(report["bugs"][0]["seeds"], 3);
        assert_eq!(report["seeds_without_a_bug"], 1_000);
        let report = json(&verdicts, &Err(io::Error::other("seed 7")), &options);
        assert_eq!(report["false_alarm"], "seed 7");
        assert!(report["seeds_without_a_bug"].is_null());
    }
}
