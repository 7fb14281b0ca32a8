//! The files that the pages name exist.
//!
//! A map that names a room that has moved is worse than none. A path in a page is either the target
//! of a link, relative to the page, or stands between backticks, and then begins at the root, in
//! `crates/`, or with the name of a crate whose folder `src/` is meant. A page at the root is named
//! by its name alone.

use super::Finding;
use crate::tree::Tree;

pub(super) fn named_files_exist(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let pages = tree.files().filter(|(path, _)| path.ends_with(".md"));
    for (page, text) in pages {
        for (number, line) in (1..).zip(text.lines()) {
            let quoted = line.split('`').skip(1).step_by(2).filter(|path| is_gone(tree, path));
            let linked = links(line).filter(|target| is_dangling(tree, page, target));
            for path in quoted.chain(linked) {
                let message = format!(
                    "names {path}, which does not exist: follow the move, or drop the line"
                );
                findings.push(Finding::new(page, number, message));
            }
        }
    }
    findings
}

/// Whether this text between backticks is a path of the repository and nothing is there.
fn is_gone(tree: &Tree, text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let Some((first, rest)) = text.split_once('/') else {
        let is_page = text.strip_suffix(".md").is_some_and(|name| !name.is_empty());
        return is_page && text.chars().all(plain) && !tree.exists(text);
    };
    let is_crate = tree.crates().contains(&first);
    let is_path = is_crate || first == "crates" || first == "docs" || first == ".ci";
    let there = |path: String| tree.exists(&path);
    is_path
        && text.chars().all(plain)
        && !there(text.to_owned())
        && !there(format!("crates/{text}"))
        && !(is_crate && there(format!("crates/{first}/src/{rest}")))
}

/// The targets of the links in a line of Markdown.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0))
}

/// Whether a link from this page leads into the repository and nothing is there.
fn is_dangling(tree: &Tree, page: &str, target: &str) -> bool {
    let path = target.split('#').next().unwrap_or_default();
    if path.is_empty() || target.contains("://") || target.starts_with("mailto:") {
        return false;
    }
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." if parts.pop().is_none() => return true,
            ".." => {}
            _ => parts.push(part),
        }
    }
    !parts.is_empty() && !tree.exists(&parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> usize {
        named_files_exist(&Tree::of(&[
            ("ARCHITECTURE.md", text),
            ("crates/raft/Cargo.toml", ""),
            ("crates/raft/src/commit.rs", ""),
            ("docs/wal.md", "[up](../ARCHITECTURE.md)"),
        ]))
        .len()
    }

    #[test]
    fn rooms_that_exist_are_fine() {
        assert_eq!(
            named("`crates/raft/src/commit.rs`, `raft/src/commit.rs`, `raft/commit.rs`, `raft/`"),
            0
        );
        assert_eq!(
            named("[wal](docs/wal.md#format), [top](#top), [web](https://example.org/a)"),
            0
        );
        assert_eq!(named("`raft/src/<role>.rs`, `either/or`, `a/b` and `Instant::now`"), 0);
    }

    #[test]
    fn rooms_that_have_moved_are_found() {
        assert_eq!(named("`raft/src/quorum.rs`"), 1);
        assert_eq!(named("`crates/quorum` and `docs/raft.md` and `raft/quorum.rs`"), 3);
        assert_eq!(named("[wal](wal.md)"), 1);
        assert_eq!(named("`ARCHITECTURE.md` and `CHANGELOG.md` and `.md`"), 1);
        assert_eq!(named("[out](../other.md)"), 1);
    }
}
