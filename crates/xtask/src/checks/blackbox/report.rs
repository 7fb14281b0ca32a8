//! What was done and judged, in all clusters: for a reader, and as JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::checks::blackbox::fault::Kind;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Which program the members ran.
    pub(super) program: &'static str,
    pub(super) seed: u64,
    /// Why there was no capsule, if there was none.
    pub(super) refused: Option<String>,
    /// The sizes of the clusters, and how many there were of each.
    pub(super) clusters: BTreeMap<usize, usize>,
    /// For so long things went wrong, in all clusters together.
    pub(super) length: Duration,
    pub(super) operations: usize,
    /// Operations of which nobody was told what became of them.
    pub(super) unknown: usize,
    pub(super) events: usize,
    /// Compactions of which somebody was told that they were done, and watches that were behind one, and so
    /// ended.
    pub(super) compactions: usize,
    pub(super) overtaken: usize,
    pub(super) leases: usize,
    /// Leases that would have been noticed if they had not ended: they were to be gone before clients ceased
    /// to look.
    pub(super) leases_due: usize,
    /// Falsified answers to which the judge objected.
    pub(super) lies_noticed: usize,
    /// The kinds of faults that were to be.
    pub(super) kinds: Vec<Kind>,
    /// Those that were.
    pub(super) faults: BTreeMap<Kind, u64>,
    /// How often several kinds were at once.
    pub(super) at_once: u64,
    pub(super) not_judged: u64,
    /// The longest that a cluster took, once nothing befell it, until all members were whole and equal.
    pub(super) whole_after: Duration,
    pub(super) violations: Vec<String>,
}

impl Report {
    /// What was missing, so that nothing follows from a report without violations.
    pub(super) fn missing(&self) -> Option<String> {
        let mut missing = Vec::new();
        for (what, count) in [
            ("operations", self.operations),
            ("events", self.events),
            ("compactions", self.compactions),
            ("watches behind a compaction", self.overtaken),
            ("leases", self.leases),
            ("leases whose time was over", self.leases_due),
        ] {
            if count == 0 {
                missing.push(what);
            }
        }
        // Kinds come in turns, so that few faults are enough for all. A run too short for that has to be
        // repeated for longer: what it did not do it must not stand for.
        let never = self.kinds.iter().filter(|kind| !self.faults.contains_key(kind));
        missing.extend(never.map(|kind| kind.name()));
        (!missing.is_empty()).then(|| format!("too little was seen to judge: no {missing:?}"))
    }

    /// The kinds of faults that there could not be.
    pub(super) fn impossible(&self) -> Vec<Kind> {
        let is_missing = |kind: &Kind| self.refused.is_some() && kind.needs_capsule();
        Kind::ALL.into_iter().filter(is_missing).collect()
    }

    fn network(&self) -> &'static str {
        if self.refused.is_some() { "loopback" } else { "namespaces" }
    }

    /// For a reader.
    pub(super) fn summary(&self) -> String {
        let sizes = self.clusters.iter().map(|(members, count)| format!("{count} of {members}"));
        let faults = Kind::ALL.into_iter().filter_map(|kind| {
            self.faults.get(&kind).map(|count| format!("{} {count}", kind.name()))
        });
        let mut text = format!(
            "blackbox: {}, seed {}, clusters: {}, network: {}, {} s of faults: {}; {} times several \
             kinds at once\n",
            self.program,
            self.seed,
            sizes.collect::<Vec<_>>().join(", "),
            self.network(),
            self.length.as_secs(),
            faults.collect::<Vec<_>>().join(", "),
            self.at_once,
        );
        if let Some(refused) = &self.refused {
            let names = self.impossible().into_iter().map(Kind::name).collect::<Vec<_>>();
            let names = names.join(", ");
            text += &format!("blackbox: NOT DONE, as namespaces are not permitted: {names}\n");
            text += &format!("blackbox: they are refused with: {refused}\n");
        }
        text += &format!(
            "blackbox: {} operations ({} of unknown outcome), {} watch events, {} compactions ({} watches \
             behind one), {} leases ({} looked at when they were to be gone), {} violations, {} not judged, {} lies noticed; whole and equal {:.1} s after the last fault at most",
            self.operations,
            self.unknown,
            self.events,
            self.compactions,
            self.overtaken,
            self.leases,
            self.leases_due,
            self.violations.len(),
            self.not_judged,
            self.lies_noticed,
            self.whole_after.as_secs_f64(),
        );
        text
    }

    /// The same as JSON, but for the violations, which end every report in one way.
    pub(super) fn json(&self) -> Value {
        let clusters: Map<String, Value> =
            self.clusters.iter().map(|(n, count)| (format!("of_{n}"), json!(count))).collect();
        let faults: Map<String, Value> = Kind::ALL
            .into_iter()
            .map(|kind| (kind.name().to_owned(), json!(self.faults.get(&kind).unwrap_or(&0))))
            .collect();
        let impossible: Vec<&str> = self.impossible().into_iter().map(Kind::name).collect();
        json!({
            "program": self.program,
            "seed": self.seed,
            "network": self.network(),
            "faults_not_possible": impossible,
            "clusters": clusters,
            "seconds_of_faults": self.length.as_secs(),
            "faults": faults,
            "several_kinds_at_once": self.at_once,
            "operations": self.operations,
            "operations_of_unknown_outcome": self.unknown,
            "watch_events": self.events,
            "compactions": self.compactions,
            "watches_behind_a_compaction": self.overtaken,
            "leases": self.leases,
            "leases_looked_at_when_due": self.leases_due,
            "lies_noticed_by_the_judge": self.lies_noticed,
            "not_judged": self.not_judged,
            "milliseconds_until_whole_at_most": self.whole_after.as_millis() as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_done_is_said() {
        let kinds = vec![Kind::Kill, Kind::Delay];
        let mut report = Report { operations: 1, events: 1, leases: 1, kinds, ..Report::default() };
        assert!(report.missing().is_some_and(|missing| missing.contains("compactions")));
        report.compactions = 1;
        assert!(report.missing().is_some_and(|missing| missing.contains("behind a compaction")));
        report.overtaken = 1;
        assert!(report.missing().is_some_and(|missing| missing.contains("time was over")));
        report.leases_due = 1;
        assert!(report.missing().is_some_and(|missing| missing.contains("kill")));
        report.faults.insert(Kind::Kill, 6);
        assert!(report.missing().is_some_and(|missing| missing.contains("delay")));
        report.faults.insert(Kind::Kill, 2);
        assert!(report.missing().is_some(), "a short run has to show all kinds, too");
        report.faults.insert(Kind::Delay, 1);
        assert_eq!(report.missing(), None);
        assert!(!report.summary().contains("NOT DONE"));
        assert_eq!(report.json()["network"], "namespaces");
        assert_eq!(report.json()["faults_not_possible"], json!([]));
        report.refused = Some("Operation not permitted".to_owned());
        assert!(report.summary().contains("NOT DONE"));
        assert!(report.summary().contains("partition, one-way loss, random loss, full disk"));
        assert_eq!(report.json()["network"], "loopback");
        assert_eq!(report.json()["faults_not_possible"][0], "partition");
        assert_eq!(
            report.json()["faults"],
            json!({
                "kill": 2, "pause": 0, "flipped bytes": 0, "partition": 0, "one-way loss": 0,
                "random loss": 0, "delay": 1, "full disk": 0
            })
        );
    }
}
