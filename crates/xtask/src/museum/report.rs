//! What is told of a visit: a line for each bug, the summary, and the same for programs.

use std::fmt::Write as _;

use quorate_planted::Exhibit;

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
    let row = if bug.row == 0 { "-".to_owned() } else { bug.row.to_string() };
    let seeds = seeds.map_or_else(|| "-".to_owned(), |seeds| seeds.to_string());
    let by = match by {
        Ok(by) => by.clone(),
        Err(instead) => format!("NOT FOUND: {instead}"),
    };
    let name = bug.name;
    format!("{name:<30} {row:>2} {seeds:>6} seeds {seconds:>7.1} s  {by}  ({})", bug.from)
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

/// One object for each bug.
pub(super) fn json(verdicts: &[Verdict]) -> String {
    let objects: Vec<String> = verdicts.iter().map(object).collect();
    format!("[\n{}\n]\n", objects.join(",\n"))
}

fn object(verdict: &Verdict) -> String {
    let Verdict { bug, by, seed, seeds, seconds } = verdict;
    let number = |n: &Option<u64>| n.map_or_else(|| "null".to_owned(), |n| n.to_string());
    let (found, by) = match by {
        Ok(by) => (true, by),
        Err(instead) => (false, instead),
    };
    format!(
        "  {{\"bug\": {}, \"row\": {}, \"title\": {}, \"from\": {}, \"found\": {found}, \"by\": {}, \
         \"seed\": {}, \"seeds\": {}, \"seconds\": {seconds:.3}}}",
        text(bug.name),
        bug.row,
        text(bug.title),
        text(bug.from),
        text(by),
        number(seed),
        number(seeds),
    )
}

/// A text as JSON has it.
fn text(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => write!(out, "\\u{:04x}", u32::from(c)).expect("it is memory"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
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
    fn texts_are_escaped() {
        assert_eq!(text("a \"b\" \\\n"), "\"a \\\"b\\\" \\\\\\u000a\"");
        assert!(json(&[verdict(Ok("oracle"), Some(3))]).contains("\"seeds\": 3, "));
    }
}
