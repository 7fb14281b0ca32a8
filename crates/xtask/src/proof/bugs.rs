//! The bugs that were found in our own code. Each is a claim that can be checked: the seed, test or
//! script that keeps it from coming back exists, and so does the commit that mended it.
//!
//! Seeds that find their bug to this day are in [`SEEDS`], which `cargo test` runs; what was found by other
//! means, or by a seed that later became another run, is in [`LIST`].

use std::{fs, io};

use crate::workspace;

/// The seeds that are run by every test.
pub(super) const SEEDS: &str = "crates/sim/seeds/regressions.txt";
/// The bugs that have another keeper.
pub(super) const LIST: &str = "docs/proof/bugs.txt";

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnBug {
    /// What went wrong.
    pub(super) what: String,
    /// Who found it.
    pub(super) found: String,
    /// The file that has the test, script or seed.
    pub(super) keeper: String,
    /// The function in it, if it has several.
    pub(super) test: Option<String>,
    /// The seeds that found it when they came to the list, if it is there for them.
    pub(super) seeds: Option<String>,
    pub(super) fixed: Fixed,
}

/// Whether it is mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fixed {
    /// This commit did it.
    In(String),
    /// The commit did it with which the seed came, and which it can't name. The test that runs the seed
    /// would fail if it were not so.
    WithItsSeed,
    /// It is known and there.
    NotYet,
}

/// All of them.
///
/// # Errors
///
/// A line that makes no sense, or a bug whose keeper does not exist.
pub(super) fn all() -> io::Result<Vec<OwnBug>> {
    let read = |path: &str| workspace::read(&workspace::root().join(path));
    let mut bugs = seeds(&read(SEEDS)?)?;
    bugs.extend(list(&read(LIST)?)?);
    for bug in &bugs {
        bug.verify(|path| fs::read_to_string(workspace::root().join(path)).ok())?;
    }
    Ok(bugs)
}

impl OwnBug {
    /// Demands that what keeps the bug away exists.
    fn verify(&self, read: impl Fn(&str) -> Option<String>) -> io::Result<()> {
        let Self { what, keeper, test, .. } = self;
        let Some(text) = read(keeper) else {
            return Err(io::Error::other(format!("{what}: there is no {keeper}")));
        };
        match test {
            Some(test) if !text.contains(&format!("fn {test}(")) => {
                Err(io::Error::other(format!("{what}: {keeper} has no {test}")))
            }
            _ => Ok(()),
        }
    }
}

/// Lines like `143 plain # what went wrong (fixed in 0123abc)`, or without a commit; "the same" is the bug of the line before.
fn seeds(text: &str) -> io::Result<Vec<OwnBug>> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let bug = |line: &str| {
        let (seed, what) = line.split_once('#')?;
        let what = what.trim();
        let mended = what.strip_suffix(')').and_then(|what| what.rsplit_once(" (fixed in "));
        let (what, fixed) = mended.map_or((what, None), |(what, fixed)| (what, Some(fixed)));
        Some(OwnBug {
            what: what.to_owned(),
            found: "the simulator".to_owned(),
            keeper: SEEDS.to_owned(),
            test: None,
            seeds: Some(seed.trim().to_owned()),
            fixed: fixed.map_or(Fixed::WithItsSeed, |commit| Fixed::In(commit.to_owned())),
        })
    };
    let bug = |line| {
        let wrong = "does not say what the seed found";
        bug(line).ok_or_else(|| io::Error::other(format!("{SEEDS}: {line:?} {wrong}")))
    };
    let mut bugs: Vec<OwnBug> = Vec::new();
    for line in lines {
        let bug = bug(line)?;
        match bugs.last_mut() {
            Some(last) if bug.what == "the same" => {
                let seeds = [last.seeds.take(), bug.seeds].into_iter().flatten();
                last.seeds = Some(seeds.collect::<Vec<_>>().join(" and "));
            }
            _ => bugs.push(bug),
        }
    }
    Ok(bugs)
}

/// Paragraphs of four lines: `bug:`, `found:`, `kept:` with a file and perhaps a function, and `fixed:` with
/// a commit, or `not yet`.
fn list(text: &str) -> io::Result<Vec<OwnBug>> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let paragraphs = lines.split(|line| line.trim().is_empty()).filter(|lines| !lines.is_empty());
    let bug = |lines: &[&str]| {
        let [what, found, kept, fixed] = lines else { return None };
        let kept = kept.strip_prefix("kept: ")?;
        let (keeper, test) = kept.split_once(": ").map_or((kept, None), |(k, t)| (k, Some(t)));
        Some(OwnBug {
            what: what.strip_prefix("bug: ")?.to_owned(),
            found: found.strip_prefix("found: ")?.to_owned(),
            keeper: keeper.to_owned(),
            test: test.map(str::to_owned),
            seeds: None,
            fixed: match fixed.strip_prefix("fixed: ")? {
                "not yet" => Fixed::NotYet,
                commit => Fixed::In(commit.to_owned()),
            },
        })
    };
    let bug = |lines: &[&str]| {
        bug(lines).ok_or_else(|| io::Error::other(format!("{LIST}: {lines:?} is no bug")))
    };
    paragraphs.map(bug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# a comment\nbug: it was wrong\nfound: somebody\n\
                        kept: tests/a.rs: it_is_right\nfixed: 0123abc\n";

    #[test]
    fn seeds_are_read_with_what_they_found() {
        let bugs = seeds("# a comment\n\n143 plain  # it was (so) wrong (fixed in 0123abc)\n");
        let [bug] = bugs.unwrap().try_into().unwrap();
        let fixed = Fixed::In("0123abc".to_owned());
        assert_eq!((bug.what.as_str(), bug.fixed), ("it was (so) wrong", fixed));
        assert_eq!(bug.found, "the simulator");
        assert_eq!(bug.seeds.as_deref(), Some("143 plain"));
        let [bug] = seeds("143 # it was wrong").unwrap().try_into().unwrap();
        assert_eq!((bug.what.as_str(), bug.fixed), ("it was wrong", Fixed::WithItsSeed));
        seeds("143").expect_err("nobody knows what it found");
        let twice = "7 # it was wrong (fixed in 0123abc)\n8 plain # the same (fixed in 0123abc)\n";
        let [bug] = seeds(twice).unwrap().try_into().unwrap();
        assert_eq!(bug.seeds.as_deref(), Some("7 and 8 plain"));
    }

    #[test]
    fn a_list_is_read() {
        let [bug] = list(TEXT).unwrap().try_into().unwrap();
        assert_eq!((bug.keeper.as_str(), bug.test.as_deref()), ("tests/a.rs", Some("it_is_right")));
        assert_eq!(bug.fixed, Fixed::In("0123abc".to_owned()));
        let [open] = list(&TEXT.replace("0123abc", "not yet")).unwrap().try_into().unwrap();
        assert_eq!(open.fixed, Fixed::NotYet);
        assert!(list(&TEXT.replace("kept", "held")).is_err());
        assert!(list(&TEXT.replace("fixed: 0123abc\n", "")).is_err());
    }

    #[test]
    fn who_keeps_a_bug_away_exists() {
        let [bug] = list(TEXT).unwrap().try_into().unwrap();
        bug.verify(|_| Some("fn it_is_right() {}".to_owned())).unwrap();
        bug.verify(|_| Some("fn it_is_righteous() {}".to_owned())).unwrap_err();
        bug.verify(|_| None).unwrap_err();
    }
}
