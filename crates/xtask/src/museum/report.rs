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

/// The last line.
pub(super) fn summary(verdicts: &[Verdict]) -> String {
    let found = verdicts.iter().filter(|verdict| verdict.is_found()).count();
    let mut seeds: Vec<u64> =
        verdicts.iter().filter(|v| v.is_found()).filter_map(|verdict| verdict.seeds).collect();
    seeds.sort_unstable();
    let median = seeds.get(seeds.len() / 2).copied().unwrap_or_default();
    let max = seeds.last().copied().unwrap_or_default();
    let all = verdicts.len();
    format!("museum: {found} of {all} found, median {median} seeds, max {max} seeds")
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
