//! The text of the page, with holes for everything that was measured.
//!
//! `{{name}}` is a hole. Lines `{{#report}}` and `{{/report}}` stand around what is said of a report;
//! where nobody has made that report yet, or a run ended without one, a sentence says so instead. Three
//! mistakes are errors, so that the page can't say less or more than what ran: a hole without a value, a
//! value without a hole, and a digit that somebody typed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// What a line is.
enum Line<'a> {
    Opens(&'a str),
    Closes(&'a str),
    Text(&'a str),
}

impl<'a> Line<'a> {
    fn of(line: &'a str) -> Self {
        let inner = line.strip_prefix("{{").and_then(|line| line.strip_suffix("}}"));
        match inner.map(|inner| (inner.chars().next(), inner.get(1..).unwrap_or_default())) {
            Some((Some('#'), name)) => Self::Opens(name),
            Some((Some('/'), name)) => Self::Closes(name),
            _ => Self::Text(line),
        }
    }
}

/// Fills the holes. `mute` are the tools that were run and left no report.
///
/// # Errors
///
/// A mistake in the template, with its line; or a value that has no place in it.
pub(super) fn fill(
    template: &str,
    values: &BTreeMap<String, String>,
    reports: &BTreeSet<&str>,
    mute: &BTreeSet<&str>,
) -> io::Result<String> {
    let mut page = String::new();
    let mut used = BTreeSet::new();
    let mut within: Option<&str> = None;
    for (number, line) in (1..).zip(template.lines()) {
        let wrong = |what: String| io::Error::other(format!("the template, line {number}: {what}"));
        match (Line::of(line), within) {
            (Line::Opens(name), None) => {
                within = Some(name);
                if mute.contains(name) {
                    page.push_str("**It was run, did not pass, and left no report.**\n");
                } else if !reports.contains(name) {
                    page.push_str(&format!(
                        "Not run for this page; `cargo xtask proof --run {name}` runs it.\n"
                    ));
                }
            }
            (Line::Opens(name), Some(open)) => {
                return Err(wrong(format!("{name} begins within {open}")));
            }
            (Line::Closes(name), open) if open == Some(name) => within = None,
            (Line::Closes(name), _) => return Err(wrong(format!("{name} ends and never began"))),
            (Line::Text(text), _) => {
                let is_told = within.is_none_or(|report| reports.contains(report));
                let filled = fill_line(text, |hole| {
                    used.insert(hole.to_owned());
                    match values.get(hole) {
                        Some(value) => Ok(value.as_str()),
                        None if !is_told => Ok(""),
                        None => Err(wrong(format!("nothing is known of {{{{{hole}}}}}"))),
                    }
                });
                let filled = filled.map_err(|error| wrong(error.to_string()))?;
                if is_told {
                    page.push_str(filled.trim_end());
                    page.push('\n');
                }
            }
        }
    }
    if let Some(open) = within {
        return Err(io::Error::other(format!("the template: {open} begins and never ends")));
    }
    match values.keys().find(|name| !used.contains(*name)) {
        None => Ok(page),
        Some(name) => Err(io::Error::other(format!("the template has no place for {name}"))),
    }
}

fn fill_line<'a>(
    line: &str,
    mut value: impl FnMut(&str) -> io::Result<&'a str>,
) -> io::Result<String> {
    let mut filled = String::new();
    let mut rest = line;
    loop {
        let (before, after) = rest.split_once("{{").map_or((rest, None), |(b, a)| (b, Some(a)));
        if let Some(digit) = typed_digit(before) {
            return Err(io::Error::other(format!("the digit {digit} is typed by hand")));
        }
        filled.push_str(before);
        let Some(after) = after else { return Ok(filled) };
        let Some((hole, after)) = after.split_once("}}") else {
            return Err(io::Error::other("a hole does not end"));
        };
        filled.push_str(value(hole)?);
        rest = after;
    }
}

/// A digit in what a reader sees; the target of a link is none.
fn typed_digit(text: &str) -> Option<char> {
    let mut parts = text.split("](");
    let first = parts.next().unwrap_or_default();
    let others = parts.map(|part| part.split_once(')').map_or("", |(_, seen)| seen));
    [first].into_iter().chain(others).find_map(|seen| seen.chars().find(char::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str, values: &[(&str, &str)]) -> io::Result<String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        fill(
            template,
            &values.iter().map(owned).collect(),
            &BTreeSet::from(["swarm"]),
            &BTreeSet::from(["graphs"]),
        )
    }

    #[track_caller]
    fn refused(template: &str, values: &[(&str, &str)], because: &str) {
        let error = filled(template, values).expect_err("this is a mistake").to_string();
        assert!(error.contains(because), "{error}");
    }

    #[test]
    fn holes_are_filled() {
        let page = filled("a {{x}}, {{y}} and {{x}}\n", &[("x", "7"), ("y", "of 8")]).unwrap();
        assert_eq!(page, "a 7, of 8 and 7\n");
        assert_eq!(filled("[the log](adr/0001-a.md) it is\n", &[]).unwrap().len(), 31);
    }

    #[test]
    fn what_was_not_run_is_said_to_be_not_run() {
        let page =
            filled("{{#swarm}}\n{{x}}\n{{/swarm}}\n{{#bench}}\n{{y}}\n{{/bench}}\n", &[("x", "7")]);
        let expected = "7\nNot run for this page; `cargo xtask proof --run bench` runs it.\n";
        assert_eq!(page.unwrap(), expected);
    }

    #[test]
    fn what_was_run_in_vain_is_said_to_be() {
        let page = filled("{{#graphs}}\n{{x}}\n{{/graphs}}\n", &[]).unwrap();
        assert_eq!(page, "**It was run, did not pass, and left no report.**\n");
    }

    #[test]
    fn a_hole_without_a_value_is_an_error() {
        refused("\n{{x}}", &[], "line 2: nothing is known of {{x}}");
        refused("{{#swarm}}\n{{x}}\n{{/swarm}}", &[], "nothing is known of {{x}}");
    }

    #[test]
    fn a_value_without_a_hole_is_an_error() {
        refused("{{x}}", &[("x", "7"), ("y", "8")], "no place for y");
    }

    #[test]
    fn a_number_typed_by_hand_is_an_error() {
        refused("in 5 seconds", &[], "the digit 5 is typed by hand");
        refused("[seed 7](adr/0001-a.md)", &[], "the digit 7");
        refused("[a](b) and {{x}} of 9", &[("x", "7")], "the digit 9");
    }

    #[test]
    fn crooked_templates_are_errors() {
        refused("{{x", &[], "does not end");
        refused("{{#swarm}}\n", &[], "never ends");
        refused("{{/swarm}}\n", &[], "never began");
        refused("{{#swarm}}\n{{#bench}}\n{{/swarm}}", &[], "begins within");
    }
}
