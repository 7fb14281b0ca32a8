//! How a check ends: first it leaves its report, whatever that says, and then it fails.

use std::path::Path;
use std::{fs, io};

use serde_json::{Value, json};

use crate::workspace;

/// So many characters of a violation are stored, from its beginning and its end: it may hold the logs of
/// all members, which the terminal has whole.
const STORED_CHARACTERS: usize = 2_000;

/// Writes a report, with whether the check passed and what violated its demands, and fails if anything
/// did.
///
/// # Errors
/// The violations, and behind them that the report can't be written, if it can't.
pub(crate) fn conclude(
    path: Option<&Path>,
    report: Value,
    violations: &[String],
) -> io::Result<()> {
    let mut wrong = violations.to_vec();
    wrong.extend(leave(path, report, violations).err().map(|error| error.to_string()));
    match wrong.as_slice() {
        [] => Ok(()),
        some => Err(io::Error::other(some.join("\n"))),
    }
}

/// Writes a report, with whether the check passed and what violated its demands.
///
/// # Errors
/// A report that can't be written.
pub(crate) fn leave(
    path: Option<&Path>,
    mut report: Value,
    violations: &[String],
) -> io::Result<()> {
    let Some(path) = path else { return Ok(()) };
    let stored: Vec<String> = violations.iter().map(|violation| abridged(violation)).collect();
    report["passed"] = json!(violations.is_empty());
    report["violations"] = json!(stored);
    fs::write(path, format!("{report:#}\n")).map_err(|error| workspace::at(path, &error))
}

fn abridged(text: &str) -> String {
    let count = text.chars().count();
    if count <= STORED_CHARACTERS {
        return text.to_owned();
    }
    let half = STORED_CHARACTERS / 2;
    let begin: String = text.chars().take(half).collect();
    let end: String = text.chars().skip(count - half).collect();
    format!("{begin} […] {end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a check leaves, and how it ends.
    fn left(name: &str, violations: &[String]) -> (Value, io::Result<()>) {
        let path = std::env::temp_dir().join(format!("quorate-{name}-{}", std::process::id()));
        let ended = conclude(Some(&path), json!({"cuts": 7}), violations);
        let report = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        fs::remove_file(path).unwrap();
        (report, ended)
    }

    #[test]
    fn a_check_that_fails_leaves_its_report_first() {
        let (report, ended) = left("fails", &["LOST: a".to_owned(), "FORK: b".to_owned()]);
        let expected = json!({"cuts": 7, "passed": false, "violations": ["LOST: a", "FORK: b"]});
        assert_eq!(report, expected);
        assert_eq!(ended.unwrap_err().to_string(), "LOST: a\nFORK: b");
    }

    #[test]
    fn a_report_that_cannot_be_written_hides_no_violation() {
        let path = Path::new("/there/is/no/such/folder");
        let said = |violations: &[String]| {
            conclude(Some(path), json!({}), violations).unwrap_err().to_string()
        };
        let both = said(&["LOST: a".to_owned()]);
        assert!(both.starts_with("LOST: a\n") && both.contains("no/such/folder"), "{both}");
        assert!(said(&[]).contains("no/such/folder"));
    }

    #[test]
    fn a_check_that_passes_says_so() {
        let (report, ended) = left("passes", &[]);
        assert_eq!(report, json!({"cuts": 7, "passed": true, "violations": []}));
        ended.unwrap();
    }

    #[test]
    fn of_a_long_story_the_ends_are_stored() {
        let story = format!("it began{}it ended", "ä".repeat(10_000));
        let (report, ended) = left("story", std::slice::from_ref(&story));
        let stored = report["violations"][0].as_str().unwrap();
        assert!(stored.starts_with("it began") && stored.ends_with("it ended"), "{stored}");
        assert!(stored.chars().count() < STORED_CHARACTERS + 10);
        assert_eq!(ended.unwrap_err().to_string(), story);
    }
}
