//! What was done and found, for one member and for three together.

use serde_json::{Value, json};

use crate::checks::crash::Findings;
use crate::checks::power_cut::image::Undone;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Report {
    seed: u64,
    /// How often the power was cut, and how often of that right after it had come back: while members
    /// start, or when they have just begun to serve.
    pub(super) cuts: u64,
    pub(super) cuts_soon_again: u64,
    /// How many syncs of files and directories there were.
    pub(super) syncs: u64,
    pub(super) undone: Undone,
    /// Of clusters that were judged: how many writes were acknowledged, and of these lost.
    judged: Option<Judged>,
    /// What was found on a disk that ignores syncs.
    pub(super) control: Option<String>,
    pub(super) violations: Vec<String>,
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

    /// A cluster was held against what it had acknowledged.
    pub(super) fn judged(&mut self, members: usize, acknowledged: usize, findings: &Findings) {
        let judged = self.judged.get_or_insert_default();
        judged.acknowledged += acknowledged;
        judged.lost += findings.lost;
        let said = findings.violations.iter();
        self.violations.extend(said.map(|violation| format!("{members} members: {violation}")));
        if acknowledged == 0 {
            self.violations.push(format!("{members} members: not one write was acknowledged"));
        }
    }

    /// What did not happen, without which nothing follows from the rest.
    pub(super) fn missing(&self) -> Option<String> {
        let happened = [
            ("cut", self.cuts),
            ("cut soon after another", self.cuts_soon_again),
            ("sync", self.syncs),
            ("sector that was undone", self.undone.sectors),
            ("name that was undone", self.undone.names),
            ("cluster that was judged", u64::from(self.judged.is_some())),
            ("lost write on a disk that ignores syncs", u64::from(self.control.is_some())),
        ];
        let missing: Vec<&str> =
            happened.iter().filter(|(_, count)| *count == 0).map(|(what, _)| *what).collect();
        let missing = missing.join(", no ");
        (!missing.is_empty()).then(|| format!("too little happened to judge: no {missing}"))
    }

    /// For a reader.
    pub(super) fn summary(&self) -> String {
        let judged = self.judged.map_or("not judged".to_owned(), |judged| {
            format!("of {} acknowledged writes {} lost", judged.acknowledged, judged.lost)
        });
        format!(
            "power-cut: seed {}, {} cuts of all at once, {} of them soon after another; {} syncs, {} \
             sectors and {} names undone; {judged}, {} violations\npower-cut: on a disk that ignores \
             syncs: {}",
            self.seed,
            self.cuts,
            self.cuts_soon_again,
            self.syncs,
            self.undone.sectors,
            self.undone.names,
            self.violations.len(),
            self.control.as_deref().unwrap_or("nothing was found"),
        )
    }

    /// The same as JSON, but for the violations, which end every report in one way. What was not judged
    /// has no count.
    pub(super) fn json(&self) -> Value {
        json!({
            "seed": self.seed,
            "power_cuts": self.cuts,
            "power_cuts_soon_after_another": self.cuts_soon_again,
            "syncs": self.syncs,
            "sectors_undone": self.undone.sectors,
            "names_undone": self.undone.names,
            "acknowledged_writes": self.judged.map(|judged| judged.acknowledged),
            "acknowledged_writes_lost": self.judged.map(|judged| judged.lost),
            "found_on_a_disk_that_ignores_syncs": self.control,
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
        let mut report = Report {
            cuts: 9,
            cuts_soon_again: 2,
            syncs: 80,
            undone: Undone { sectors: 7, names: 1 },
            control: Some("LOST: a key".to_owned()),
            ..Report::default()
        };
        report.judged(1, 100, &findings(0));
        report
    }

    #[test]
    fn a_check_that_did_nothing_does_not_pass() {
        let report = good();
        assert_eq!((report.missing(), report.violations.len()), (None, 0));
        let lame: [(Spoil, &str); 7] = [
            (|report| report.cuts = 0, "no cut"),
            (|report| report.cuts_soon_again = 0, "no cut soon after another"),
            (|report| report.syncs = 0, "no sync"),
            (|report| report.undone.sectors = 0, "no sector"),
            (|report| report.undone.names = 0, "no name"),
            (|report| report.judged = None, "no cluster"),
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
        let json = report.json();
        assert_eq!(
            (&json["acknowledged_writes"], &json["acknowledged_writes_lost"]),
            (&json!(150), &json!(7))
        );
        assert_eq!(Report::default().json()["acknowledged_writes_lost"], Value::Null);
    }
}
