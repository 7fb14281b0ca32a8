//! The cluster whose cost is measured does what it is said to do.

use quorate_sim::coverage::{Coverage, Fault};
use quorate_sim::run::run_with;
use quorate_sim::swarm::Options;
use quorate_sim::trace::Trace;

#[test]
fn an_ordinary_cluster_answers_and_watches_and_keeps_leases_under_its_faults() {
    let mut coverage = Coverage::default();
    for seed in 0..6 {
        let report = run_with(seed, Options::ordinary(), None, Trace::off());
        let report = report.unwrap_or_else(|failure| panic!("{failure}"));
        let seconds = report.simulated.as_secs();
        assert!(seconds >= 60, "seed {seed}: {seconds} s");
        let answered = report.answered;
        assert!(answered > 3 * seconds, "seed {seed}: {answered} answers in {seconds} s");
        assert!(report.watches.events > seconds, "seed {seed}: {:?}", report.watches);
        assert!(report.leases.renewed > 10, "seed {seed}: {:?}", report.leases);
        coverage.add(&report.coverage);
    }
    for fault in [
        Fault::Loss,
        Fault::Duplicate,
        Fault::Partition,
        Fault::Crash,
        Fault::PowerCut,
        Fault::Pause,
        Fault::DiskLost,
        Fault::LogDamage,
        Fault::LiveRot,
        Fault::DiskHang,
        Fault::WriteError,
        Fault::DiskFull,
        Fault::SlowSync,
        Fault::Transfer,
    ] {
        assert!(coverage.total(fault) > 0, "{} never happened", fault.name());
    }
}
