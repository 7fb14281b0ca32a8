//! What many runs were like together.

use std::time::Duration;

use crate::coverage::{Coverage, Fault, Stage, is_due};
use crate::disk_faults::{DiskCounts, Ending};
use crate::json::Json;
use crate::leases::LeaseCounts;
use crate::net::NetCounts;
use crate::oracle::Tally;
use crate::run::Failure;
use crate::watches::WatchCounts;
use crate::world::Report;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many runs there were.
    pub runs: u64,
    /// The seeds that failed, and what each found first.
    pub failures: Vec<(u64, String)>,
    /// How long all runs took in their own time.
    pub simulated: Duration,
    /// How many events happened.
    pub events: u64,
    /// How requests ended, and commands that no client waits for.
    pub tally: Tally,
    /// How many requests of the clients of the store were answered.
    pub answered: u64,
    /// What watchers were told, and was judged.
    pub watches: WatchCounts,
    /// What leases went through, each of which was judged.
    pub leases: LeaseCounts,
    /// What became of messages.
    pub net: NetCounts,
    /// Which faults met what. Of runs that failed nothing is known.
    pub coverage: Coverage,
    /// Leaders, snapshots installed, members that came back from the loss of a disk.
    pub leaders: u64,
    /// How often a group was quiet, as its leader saw it, and how often a member of one was woken.
    pub quiet: u64,
    /// See `quiet`.
    pub woken: u64,
    /// Messages in which a witness gave a candidate what that lacks.
    pub tails: u64,
    /// See `leaders`.
    pub snapshots: u64,
    /// Reads that might be stale, and were judged.
    pub stale_reads: u64,
    /// Turns of leaders that held a lease.
    pub leased: u64,
    /// How often a member saw others belong to the group.
    pub memberships: u64,
    /// How often a leader asked for a learner in the place of a voter that had failed.
    pub replaced: u64,
    /// How often that was done: a spare took over.
    pub took_over: u64,
    /// See `leaders`.
    pub rejoined: u64,
    /// Members whose storage was damaged, and how many of them healed.
    pub damaged: u64,
    /// See `damaged`.
    pub healed: u64,
    /// Operations in the histories that were judged again as clients see them.
    pub judged_again: u64,
    /// Histories for which that search took too long, so that nothing is known.
    pub not_judged_again: u64,
    /// What became of what went wrong with disks.
    pub disks: DiskCounts,
    /// Runs with damage beyond the limit that came to a halt, and those in which all was found again.
    pub halted: u64,
    /// See `halted`.
    pub whole: u64,
    /// The longest that a majority that could talk took for a write while all else stayed broken.
    pub worked_after: Duration,
}

impl Summary {
    /// One more run.
    pub fn add(&mut self, result: &Result<Report, Box<Failure>>) {
        self.runs += 1;
        match result {
            Ok(report) => self.add_report(report),
            Err(failure) => {
                self.simulated += failure.at;
                let what = failure.what.lines().next().unwrap_or_default();
                self.failures.push((failure.seed, what.to_owned()));
            }
        }
    }

    fn add_report(&mut self, report: &Report) {
        self.simulated += report.simulated;
        self.events += report.events;
        self.tally.writes += report.tally.writes;
        self.tally.reads += report.tally.reads;
        self.tally.refused += report.tally.refused;
        self.tally.failed += report.tally.failed;
        self.tally.lost += report.tally.lost;
        self.answered += report.answered;
        self.watches.add(&report.watches);
        self.leases.add(&report.leases);
        self.net.sent += report.net.sent;
        self.net.lost += report.net.lost;
        self.net.refused += report.net.refused;
        self.net.repeated += report.net.repeated;
        self.net.replayed += report.net.replayed;
        self.net.clogs += report.net.clogs;
        self.net.held += report.net.held;
        self.coverage.add(&report.coverage);
        self.leaders += report.leaders;
        self.quiet += report.quiet;
        self.woken += report.woken;
        self.leased += report.leased;
        self.stale_reads += report.stale_reads;
        self.tails += report.tails;
        self.snapshots += report.snapshots;
        self.memberships += report.memberships;
        self.replaced += report.replaced;
        self.took_over += report.took_over;
        self.rejoined += report.rejoined;
        self.damaged += report.damaged;
        self.healed += report.healed;
        self.judged_again += report.second_opinion.operations;
        self.not_judged_again += u64::from(report.second_opinion.gave_up);
        self.disks.add(&report.disks);
        self.halted += u64::from(report.ending == Some(Ending::Halted));
        self.whole += u64::from(report.ending == Some(Ending::Whole));
        self.worked_after = self.worked_after.max(report.worked_after.unwrap_or_default());
    }

    /// The same for a program that makes a page of it. `seeds` says which were asked for, `wall` how
    /// long it took.
    #[must_use]
    pub fn to_json(&self, first_seed: u64, wall: Duration) -> String {
        let failures = self.failures.iter().map(|(seed, what)| {
            Json::object([("seed", Json::Number(*seed)), ("what", Json::text(what))])
        });
        let faults =
            Fault::ALL.map(|fault| (fault.name(), Json::Number(self.coverage.total(fault))));
        let meetings = Fault::ALL.map(|fault| {
            let due = Stage::ALL.into_iter().filter(|stage| is_due(fault, *stage));
            let counts =
                due.map(|stage| (stage.name(), Json::Number(self.coverage.count(fault, stage))));
            (fault.name(), Json::object(counts))
        });
        let missing = self
            .coverage
            .missing()
            .map(|(fault, stage)| Json::text(&format!("{} at {}", fault.name(), stage.name())));
        let Tally { writes, reads, refused, failed, lost } = self.tally;
        let requests = [
            ("writes", writes),
            ("reads", reads),
            ("refused", refused),
            ("failed", failed),
            ("lost", lost),
        ];
        let WatchCounts { streams, watches, resumed, cancelled, compacted, events, progress } =
            self.watches;
        let watched = [
            ("streams", streams),
            ("watches", watches),
            ("resumed", resumed),
            ("cancelled", cancelled),
            ("compacted", compacted),
            ("events", events),
            ("progress", progress),
        ];
        let LeaseCounts { granted, expired, revoked, renewed, fenced, together } = self.leases;
        let leased = [
            ("granted", granted),
            ("expired", expired),
            ("revoked", revoked),
            ("renewed", renewed),
            ("fenced", fenced),
            ("judged_together", together),
        ];
        let NetCounts { sent, lost, refused, repeated, replayed, clogs, held } = self.net;
        let messages = [
            ("sent", sent),
            ("lost", lost),
            ("refused", refused),
            ("repeated", repeated),
            ("replayed", replayed),
            ("clogs", clogs),
            ("held", held),
        ];
        let numbers = |pairs: &[(&'static str, u64)]| {
            Json::object(pairs.iter().map(|(name, number)| (*name, Json::Number(*number))))
        };
        let all = Json::object([
            ("first_seed", Json::Number(first_seed)),
            ("seeds", Json::Number(self.runs)),
            ("failures", Json::List(failures.collect())),
            ("simulated_seconds", Json::seconds(self.simulated)),
            ("wall_seconds", Json::seconds(wall)),
            ("events", Json::Number(self.events)),
            ("requests", numbers(&requests)),
            ("watches", numbers(&watched)),
            ("leases", numbers(&leased)),
            ("messages", numbers(&messages)),
            ("leaders", Json::Number(self.leaders)),
            ("quiet", Json::Number(self.quiet)),
            ("woken", Json::Number(self.woken)),
            ("reads_that_may_be_stale", Json::Number(self.stale_reads)),
            ("turns_with_a_lease", Json::Number(self.leased)),
            ("tails", Json::Number(self.tails)),
            ("snapshots", Json::Number(self.snapshots)),
            ("memberships", Json::Number(self.memberships)),
            ("replaced", Json::Number(self.replaced)),
            ("spares_took_over", Json::Number(self.took_over)),
            ("rejoined", Json::Number(self.rejoined)),
            ("damaged", Json::Number(self.damaged)),
            ("healed", Json::Number(self.healed)),
            ("operations_judged_again", Json::Number(self.judged_again)),
            ("histories_not_judged_again", Json::Number(self.not_judged_again)),
            ("disks", numbers(&self.disks.each())),
            ("over_limit", numbers(&[("halted", self.halted), ("whole", self.whole)])),
            ("faults", Json::object(faults)),
            ("coverage", Json::object(meetings)),
            ("coverage_missing", Json::List(missing.collect())),
        ]);
        format!("{all}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::run;
    use crate::trace::Trace;

    #[test]
    fn runs_add_up() {
        let mut summary = Summary::default();
        let reports: Vec<_> = (0..3).map(|seed| run(seed, None, Trace::off())).collect();
        reports.iter().for_each(|report| summary.add(report));
        assert_eq!((summary.runs, summary.failures.len()), (3, 0));
        let writes = reports.iter().map(|report| report.as_ref().unwrap().tally.writes);
        assert_eq!(summary.tally.writes, writes.sum());
        let json = summary.to_json(0, Duration::from_millis(1_500));
        assert!(json.contains("\"wall_seconds\": 1.500"), "{json}");
        assert!(json.contains("\"failures\": []"), "{json}");
        assert!(json.contains("\"coverage_missing\": ["), "{json}");
    }
}
