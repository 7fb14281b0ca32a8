//! What was done and found: with each number of members, and on the disk of the control.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::checks::crash::Findings;
use crate::checks::power_cut::SIZES;
use crate::checks::power_cut::image::Undone;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Report {
    seed: u64,
    /// By the number of members: what one cluster went through does not stand for another.
    clusters: BTreeMap<usize, Course>,
    /// What was found on a disk that ignores syncs.
    pub(super) control: Option<String>,
    pub(super) violations: Vec<String>,
}

/// What was done to one cluster.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Course {
    /// How often the power was cut, and how often of that right after it had come back: while members
    /// start, or when they have just begun to serve.
    pub(super) cuts: u64,
    pub(super) cuts_soon_again: u64,
    /// How many syncs of files and directories there were.
    pub(super) syncs: u64,
    /// How many of them failed, each of which ended a member.
    pub(super) failed: u64,
    pub(super) undone: Undone,
    /// If it was judged: how many writes were acknowledged, and of these lost.
    judged: Option<Judged>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Judged {
    acknowledged: usize,
    lost: usize,
}

impl Report {
    /// Nothing was done yet.
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// What was done to the cluster of so many members.
    pub(super) fn course(&mut self, members: usize) -> &mut Course {
        self.clusters.entry(members).or_default()
    }

    /// A cluster was held against what it had acknowledged.
    pub(super) fn judged(&mut self, members: usize, acknowledged: usize, findings: &Findings) {
        self.course(members).judged = Some(Judged { acknowledged, lost: findings.lost });
        let said = findings.violations.iter();
        self.violations.extend(said.map(|violation| format!("{members} members: {violation}")));
        if acknowledged == 0 {
            self.violations.push(format!("{members} members: not one write was acknowledged"));
        }
    }

    /// What did not happen, without which nothing follows from the rest.
    pub(super) fn missing(&self) -> Option<String> {
        let mut missing = Vec::new();
        let never = SIZES.iter().filter(|members| !self.clusters.contains_key(members));
        missing.extend(never.map(|members| format!("no cluster of {members}")));
        for (members, course) in &self.clusters {
            let happened = [
                ("cut", course.cuts),
                ("cut soon after another", course.cuts_soon_again),
                ("sync", course.syncs),
                ("sync that failed", course.failed),
                ("sector that was undone", course.undone.sectors),
                ("name that was undone", course.undone.names),
                ("judgement", u64::from(course.judged.is_some())),
            ];
            let never = happened.iter().filter(|(_, count)| *count == 0);
            missing.extend(never.map(|(what, _)| format!("no {what} with {members} members")));
        }
        if self.control.is_none() {
            missing.push("no lost write on a disk that ignores syncs".to_owned());
        }
        let missing = missing.join(", ");
        (!missing.is_empty()).then(|| format!("too little happened to judge: {missing}"))
    }

    /// For a reader.
    pub(super) fn summary(&self) -> String {
        let clusters = self.clusters.iter().map(|(members, course)| {
            let judged = course.judged.map_or("not judged".to_owned(), |judged| {
                format!("of {} acknowledged writes {} lost", judged.acknowledged, judged.lost)
            });
            format!(
                "power-cut: {members} members, {} cuts of all at once, {} of them soon after another; \
                 {} syncs, of which {} failed, {} sectors and {} names undone; {judged}\n",
                course.cuts,
                course.cuts_soon_again,
                course.syncs,
                course.failed,
                course.undone.sectors,
                course.undone.names,
            )
        });
        format!(
            "{}power-cut: seed {}, {} violations; on a disk that ignores syncs: {}",
            clusters.collect::<String>(),
            self.seed,
            self.violations.len(),
            self.control.as_deref().unwrap_or("nothing was found"),
        )
    }

    /// The same as JSON, but for the violations, which end every report in one way. What was not judged
    /// has no count.
    pub(super) fn json(&self) -> Value {
        let clusters: Map<String, Value> = self
            .clusters
            .iter()
            .map(|(members, course)| (format!("of_{members}"), course.json()))
            .collect();
        json!({
            "seed": self.seed,
            "clusters": clusters,
            "found_on_a_disk_that_ignores_syncs": self.control,
        })
    }
}

impl Course {
    fn json(&self) -> Value {
        json!({
            "power_cuts": self.cuts,
            "power_cuts_soon_after_another": self.cuts_soon_again,
            "syncs": self.syncs,
            "syncs_that_failed": self.failed,
            "sectors_undone": self.undone.sectors,
            "names_undone": self.undone.names,
            "acknowledged_writes": self.judged.map(|judged| judged.acknowledged),
            "acknowledged_writes_lost": self.judged.map(|judged| judged.lost),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Spoil = fn(&mut Report);

    fn findings(lost: usize) -> Findings {
        let violations = (0..lost.min(1)).map(|_| "LOST: a key".to_owned()).collect();
        Findings { revision: 7, lost, violations }
    }

    fn good() -> Report {
        let mut report = Report { control: Some("LOST: a key".to_owned()), ..Report::default() };
        for members in SIZES {
            *report.course(members) = Course {
                cuts: 9,
                cuts_soon_again: 2,
                syncs: 80,
                failed: 3,
                undone: Undone { sectors: 7, names: 1 },
                judged: None,
            };
            report.judged(members, 100, &findings(0));
        }
        report
    }

    #[test]
    fn a_check_that_did_nothing_does_not_pass() {
        let report = good();
        assert_eq!((report.missing(), report.violations.len()), (None, 0));
        let lame: [(Spoil, &str); 9] = [
            (|report| report.course(3).cuts = 0, "no cut with 3 members"),
            (|report| report.course(1).cuts_soon_again = 0, "no cut soon after another with 1"),
            (|report| report.course(3).syncs = 0, "no sync with 3"),
            (|report| report.course(5).failed = 0, "no sync that failed with 5"),
            (|report| report.course(1).undone.sectors = 0, "no sector that was undone with 1"),
            (|report| report.course(3).undone.names = 0, "no name that was undone with 3"),
            (|report| report.course(1).judged = None, "no judgement with 1"),
            (|report| report.clusters.retain(|members, _| *members != 5), "no cluster of 5"),
            (|report| report.control = None, "no lost write"),
        ];
        for (spoil, expected) in lame {
            let mut report = good();
            spoil(&mut report);
            let missing = report.missing().expect(expected);
            assert!(missing.contains(expected), "{missing}");
        }
        let mut report = good();
        report.judged(3, 0, &findings(0));
        assert_eq!(report.violations, ["3 members: not one write was acknowledged"]);
    }

    #[test]
    fn lost_writes_are_counted() {
        let mut report = good();
        report.judged(3, 50, &findings(7));
        assert_eq!(report.violations, ["3 members: LOST: a key"]);
        let json = &report.json()["clusters"];
        assert_eq!(json["of_3"]["acknowledged_writes"], 50);
        assert_eq!(json["of_3"]["acknowledged_writes_lost"], 7);
        assert_eq!(json["of_1"]["acknowledged_writes_lost"], 0);
        assert_eq!(Course::default().json()["acknowledged_writes_lost"], Value::Null);
    }
}
