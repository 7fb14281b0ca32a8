//! No file names a path of one machine.
//!
//! Such a path works for whoever wrote it, tells others where that was, and fails everywhere else.

use std::env;

use super::Finding;
use crate::tree::Tree;
use crate::workspace;

/// Where people's own folders are on the usual systems; a name follows.
const HOMES: [&str; 4] = ["/home/", "/Users/", "/root/", "\\Users\\"];

pub(super) fn no_path_of_one_machine(tree: &Tree) -> Vec<Finding> {
    let mut prefixes: Vec<String> = HOMES.iter().map(ToString::to_string).collect();
    // And where this workspace happens to be, unless that is a place that any machine has.
    let root = workspace::root();
    if let Some(above) = root.parent()
        && above.parent().is_some()
        && above != env::temp_dir()
    {
        prefixes.push(format!("{}/", above.display()));
    }
    tree.files().flat_map(|(path, text)| findings(path, text, &prefixes)).collect()
}

fn findings(path: &str, text: &str, prefixes: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if prefixes.iter().any(|prefix| names_path(line, prefix)) {
            let message = "names a path of one machine. Take it from an argument, \
                or from the folder of the manifest";
            findings.push(Finding::new(path, number, message));
        }
    }
    findings
}

/// Whether the line has a path that begins with this prefix and goes on.
fn names_path(line: &str, prefix: &str) -> bool {
    line.match_indices(prefix).any(|(at, _)| {
        // The prefix in the middle of a path is part of another one, as in `docs/home/page`.
        let begins = !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-".contains(c));
        let goes_on =
            line[at + prefix.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '.');
        begins && goes_on
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_one_machine_is_found() {
        let prefixes = vec![String::from("/home/"), String::from("/srv/build/")];
        let lines = |text: &str| -> Vec<usize> {
            findings("a", text, &prefixes).iter().map(|finding| finding.line).collect()
        };
        // Put together here, as this file is looked at too.
        assert_eq!(lines(&format!("a\nlet p = \"/{}/alice/x\";", "home")), [2]);
        assert_eq!(lines("see /srv/build/x for it"), [1]);
        assert_eq!(lines("see docs/home/page, /srv/builder/x, and /home/ itself"), [0_usize; 0]);
    }
}
