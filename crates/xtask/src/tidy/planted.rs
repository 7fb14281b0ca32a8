//! The museum: every bug of the catalogue stands in the code, and no server can be built with one.
//!
//! A refactoring that loses a planted line would leave a bug in the catalogue that nobody can find, or,
//! worse, one that is found for another reason. And whatever turns the bugs on must never reach a build
//! that serves anybody.

use std::collections::BTreeMap;

use quorate_planted::Bug;

use super::Finding;
use crate::source::Source;
use crate::tree::Tree;

/// Where the bugs are declared.
const CATALOGUE: &str = "crates/planted/src/catalogue.rs";
/// What turns them on.
const SWITCH: &str = "crates/planted/src/lib.rs";
/// The roots of the crates that serve others. None of them compiles with the flag.
const SERVERS: [&str; 3] =
    ["crates/cli/src/main.rs", "crates/host/src/lib.rs", "crates/server/src/lib.rs"];

/// The code, without the crate that declares the bugs.
fn code(tree: &Tree) -> impl Iterator<Item = &Source> {
    tree.product_sources().filter(|source| !source.path.starts_with("crates/planted/"))
}

/// Each bug is planted in as many places as the catalogue says, and nothing else is.
pub(super) fn bugs_stand_where_the_catalogue_says(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for source in code(tree) {
        for at in source.find("planted ! (") {
            let name = &source.tokens[at + 3];
            if Bug::ALL.iter().any(|bug| bug.exhibit().name == name.text) {
                *places.entry(&name.text).or_default() += 1;
            } else {
                let message = format!("{} is no bug of {CATALOGUE}", name.text);
                findings.push(Finding::new(&source.path, name.line, message));
            }
        }
    }
    for exhibit in Bug::ALL.iter().map(|bug| bug.exhibit()) {
        let found = places.get(exhibit.name).copied().unwrap_or_default();
        if found != exhibit.places {
            let message = format!(
                "{} is planted in {found} places and not in {}: plant it where the code went, or \
                 say here what has become of it",
                exhibit.name, exhibit.places
            );
            findings.push(Finding::new(CATALOGUE, 0, message));
        }
    }
    findings
}

/// The flag means something in one place, and is an error in every crate that serves others.
pub(super) fn no_server_has_them(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in tree.product_sources().filter(|source| source.path != SWITCH) {
        let refusals = source.find("# [ cfg ( museum ) ] compile_error ! (").len();
        let is_server = SERVERS.contains(&source.path.as_str());
        if is_server && refusals != 1 {
            let message = "does not refuse to compile with --cfg museum, which plants bugs";
            findings.push(Finding::new(&source.path, 0, message));
        }
        for at in source.find("museum").into_iter().skip(refusals) {
            let token = &source.tokens[at];
            if at > 0 && source.tokens[at - 1].text == "(" && source.tokens[at - 2].text != "fn" {
                let message = format!("only {SWITCH} may ask for the flag; use planted!(…)");
                findings.push(Finding::new(&source.path, token.line, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_that_is_lost_or_unknown_is_found() {
        let findings = |text: &str| {
            let tree = Tree::of(&[("crates/raft/src/a.rs", text)]);
            bugs_stand_where_the_catalogue_says(&tree).len()
        };
        let all = Bug::ALL.len();
        assert_eq!(findings("fn a() {}"), all, "none is planted");
        assert_eq!(findings("fn a() { planted!(HalfElects) }"), all - 1);
        assert_eq!(findings("fn a() { planted!(HalfElects) || planted!(HalfElects) }"), all);
        assert_eq!(findings("fn a() { planted!(NeverHeardOf) }"), all + 1);
    }

    #[test]
    fn a_server_that_compiles_with_the_flag_is_found() {
        let findings = |path, text| no_server_has_them(&Tree::of(&[(path, text)])).len();
        let refusal = "#[cfg(museum)]\ncompile_error!(\"no\");";
        assert_eq!(findings(SERVERS[0], refusal), 0);
        assert_eq!(findings(SERVERS[0], "fn main() {}"), 1);
        assert_eq!(findings("crates/raft/src/a.rs", "#[cfg(museum)] fn a() {}"), 1);
        assert_eq!(findings("crates/raft/src/a.rs", "fn a() { if cfg!(museum) {} }"), 1);
        assert_eq!(findings("crates/raft/src/a.rs", "mod museum; fn museum() {}"), 0);
    }
}
