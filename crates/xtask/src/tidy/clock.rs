//! One file reads the clock.
//!
//! Whatever asks for the time by itself cannot be replayed: the simulator runs on a time of its
//! own, and a decision that hangs on the real one is a bug that no seed brings back. Time is an
//! argument everywhere else.

use super::Finding;
use crate::tree::Tree;

/// Where the clock may be read, and why.
const ALLOWED: [(&str, &str); 5] = [
    ("crates/host/src/clock.rs", "the clock of the product"),
    (
        "crates/cli/",
        "a command measures how long it takes, and no decision of the cluster hangs on it",
    ),
    ("crates/server/src/log.rs", "stamps the lines of the log, for people to read"),
    ("crates/sim/src/main.rs", "tells how long a swarm took; no simulated world sees it"),
    ("crates/xtask/", "the chores are no part of the product"),
];

/// The calls that read it, token by token.
const READS: [&str; 2] = ["Instant : : now", "SystemTime : : now"];
/// Other names for the clocks would hide the calls.
const DISGUISES: [&str; 2] = ["Instant as", "SystemTime as"];

pub(super) fn one_file_reads_the_clock(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in tree.product_sources() {
        if ALLOWED.iter().any(|(place, _)| source.path.starts_with(place)) {
            continue;
        }
        let mut report = |words: &[&str], message: &str| {
            for at in words.iter().flat_map(|words| source.find(words)) {
                findings.push(Finding::new(&source.path, source.tokens[at].line, message));
            }
        };
        report(
            &READS,
            "reads the clock. Take the time as an argument; crates/host/src/clock.rs reads it",
        );
        report(&DISGUISES, "gives a clock another name, so that reading it would go unseen");
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        let findings = one_file_reads_the_clock(&Tree::of(&[(path, text)]));
        findings.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_reading_is_found() {
        let path = "crates/server/src/rpc/lease.rs";
        assert_eq!(lines(path, "fn a() {\n let t = std::time::Instant::now();\n}"), [2]);
        assert_eq!(lines(path, "fn a() { b(SystemTime::now) }"), [1]);
        assert_eq!(lines(path, "use std::time::Instant as Timer;"), [1]);
        assert_eq!(
            lines(path, "/// Not `Instant::now()`.\nfn a() { b(\"Instant::now()\") }"),
            [0_usize; 0]
        );
    }

    #[test]
    fn the_clock_and_tests_may_read() {
        let text = "fn a() { Instant::now() }";
        assert_eq!(lines("crates/host/src/clock.rs", text), [0_usize; 0]);
        assert_eq!(lines("crates/host/tests/a.rs", text), [0_usize; 0]);
        assert_eq!(lines("crates/host/src/clocks.rs", text), [1]);
        assert_eq!(
            lines("crates/host/src/a.rs", &format!("#[cfg(test)] mod tests {{ {text} }}")),
            [0_usize; 0]
        );
    }
}
