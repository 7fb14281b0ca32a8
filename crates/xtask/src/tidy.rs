//! Rules of the architecture that the compiler does not know.
//!
//! One rule, one file. Each looks at a [`Tree`] and returns what breaks the rule, with the place
//! and the way to mend it; each has a test that plants the fault, since a check that never fired
//! proves nothing.

mod clock;
mod machine;
mod pages;
mod planted;
mod rings;
mod sync;

use std::{fmt, io};

use crate::tree::Tree;

/// A place that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The file, as a path below the root.
    path: String,
    /// The line in it, from 1; 0 when the file as a whole is meant.
    line: usize,
    /// What is wrong, and what to do about it.
    message: String,
}

impl Finding {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// A rule: looks at the tree and returns what breaks it.
type Rule = fn(&Tree) -> Vec<Finding>;

const RULES: [Rule; 8] = [
    clock::one_file_reads_the_clock,
    machine::no_path_of_one_machine,
    pages::named_files_exist,
    planted::bugs_stand_where_the_catalogue_says,
    planted::no_server_has_them,
    rings::arrows_point_inward,
    rings::the_core_has_no_std,
    sync::one_call_syncs,
];

/// Prints what breaks a rule.
///
/// # Errors
///
/// A tree that cannot be read, or that breaks a rule.
pub(crate) fn run() -> io::Result<()> {
    let tree = Tree::read()?;
    let findings: Vec<Finding> = RULES.iter().flat_map(|rule| rule(&tree)).collect();
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        n => Err(io::Error::other(format!("{n} places break a rule of the architecture"))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    /// Fails with everything that is wrong, as one text.
    #[track_caller]
    fn check(rule: Rule) {
        static TREE: LazyLock<Tree> =
            LazyLock::new(|| Tree::read().expect("the workspace can be read"));
        let tree = &*TREE;
        assert!(tree.crates().len() > 10, "the workspace was not found");
        let findings: Vec<String> = rule(tree).iter().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
    }

    #[test]
    fn one_file_reads_the_clock() {
        check(clock::one_file_reads_the_clock);
    }

    #[test]
    fn no_path_of_one_machine() {
        check(machine::no_path_of_one_machine);
    }

    #[test]
    fn named_files_exist() {
        check(pages::named_files_exist);
    }

    #[test]
    fn bugs_stand_where_the_catalogue_says() {
        check(planted::bugs_stand_where_the_catalogue_says);
    }

    #[test]
    fn no_server_has_them() {
        check(planted::no_server_has_them);
    }

    #[test]
    fn arrows_point_inward() {
        check(rings::arrows_point_inward);
    }

    #[test]
    fn the_core_has_no_std() {
        check(rings::the_core_has_no_std);
    }

    #[test]
    fn one_call_syncs() {
        check(sync::one_call_syncs);
    }
}
