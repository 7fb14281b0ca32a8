//! What goes wrong with disks really goes wrong, is survived, and would be noticed if it were not.

mod common;

use std::time::Duration;

use common::is_found;
use quorate_sim::coverage::{Coverage, Fault, Stage};
use quorate_sim::disk_faults::{DiskCounts, DiskFaults, Ending, Scrub};
use quorate_sim::extremes::Extremes;
use quorate_sim::run::run_with;
use quorate_sim::sabotage::Sabotage;
use quorate_sim::swarm::{Options, Recurring};
use quorate_sim::trace::Trace;
use quorate_sim::world::Report;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn often(lasts: u64) -> Option<Recurring> {
    Some(Recurring { every: ms(300), lasts: ms(lasts) })
}

/// A cluster of three where nothing else is wrong, but that members crash.
fn with(seed: u64, disk_faults: DiskFaults) -> Options {
    Options {
        faulty_for: ms(4_000),
        segment_bytes: [4 << 10, 16 << 10, 128 << 10][seed as usize % 3],
        crashes: Some(Recurring { every: ms(400), lasts: ms(100) }),
        extremes: Extremes { disk_faults, ..Extremes::none() },
        ..Options::calm(3)
    }
}

fn all_errors() -> DiskFaults {
    let (errors, breakdowns, full) = (often(100), often(300), often(500));
    DiskFaults { errors, breakdowns, full, ..DiskFaults::default() }
}

/// Damage beneath running logs, which verify themselves this often.
fn all_damage(cycle: Option<u64>) -> DiskFaults {
    let scrub = cycle.map(|cycle| Scrub { cycle: ms(cycle), piece_bytes: 4_096 });
    DiskFaults { strays: Some(ms(300)), rot: Some(ms(300)), scrub, ..DiskFaults::default() }
}

fn runs(seeds: u64, options: impl Fn(u64) -> Options) -> (Coverage, DiskCounts, Vec<Report>) {
    let (mut coverage, mut counts, mut reports) = Default::default();
    for seed in 0..seeds {
        let report = run_with(seed, options(seed), None, Trace::off());
        let report = report.unwrap_or_else(|failure| panic!("{failure}"));
        Coverage::add(&mut coverage, &report.coverage);
        DiskCounts::add(&mut counts, &report.disks);
        Vec::push(&mut reports, report);
    }
    (coverage, counts, reports)
}

#[test]
fn calls_fail_and_processes_end_start_again_and_wait_for_room() {
    let (coverage, counts, _) = runs(20, |seed| with(seed, all_errors()));
    for fault in
        [Fault::ReadError, Fault::WriteError, Fault::SyncError, Fault::DiskBroken, Fault::DiskFull]
    {
        assert!(coverage.total(fault) > 0, "no {}", fault.name());
    }
    let of_start = coverage.count(Fault::ReadError, Stage::Down);
    assert!(of_start > 5, "{of_start} starts met a segment that could not be read for now");
    let DiskCounts { ended, failed_starts, waited, .. } = counts;
    assert!(ended > 10 && failed_starts > 10 && waited > 5, "{counts:?}");
}

#[test]
fn damage_beneath_a_running_log_is_mended_before_a_crash_finds_it() {
    let (coverage, counts, _) = runs(6, |seed| with(seed, all_damage(Some(100))));
    for fault in [Fault::LiveRot, Fault::LostWrite, Fault::StrayWrite] {
        assert!(coverage.total(fault) > 3, "no {}", fault.name());
    }
    assert!(counts.mended > 20 && counts.mended > 3 * counts.came_to_light, "{counts:?}");
}

#[test]
fn damage_beneath_a_log_that_is_not_verified_is_healed_after_a_crash() {
    let (_, counts, reports) = runs(6, |seed| with(seed, all_damage(None)));
    assert_eq!(counts.mended, 0, "nobody looks");
    assert!(counts.came_to_light > 10, "{counts:?}");
    assert!(reports.iter().map(|report| report.healed).sum::<u64>() > 10);
}

#[test]
fn beyond_the_limit_some_clusters_come_to_a_halt_and_none_lies() {
    let (coverage, counts, reports) = runs(30, Options::over_limit);
    assert!(coverage.total(Fault::OverLimit) > 30, "{coverage:?}");
    assert!(counts.refused > 0, "{counts:?}");
    let ended = |as_: Ending| reports.iter().filter(|report| report.ending == Some(as_)).count();
    assert!(ended(Ending::Halted) >= 3, "{} came to a halt", ended(Ending::Halted));
    assert!(ended(Ending::Whole) >= 3, "{} went on", ended(Ending::Whole));
    assert_eq!(ended(Ending::Halted) + ended(Ending::Whole), reports.len());
}

#[test]
fn a_host_that_goes_on_after_a_failed_sync_is_noticed() {
    let options = |seed| with(seed, all_errors());
    is_found(Sabotage::SyncErrorsHidden, 0..20, options, &["recovery", "term_and_vote"]);
}

#[test]
fn a_log_that_is_cut_where_it_is_damaged_is_noticed() {
    let options = |seed| with(seed, all_damage(None));
    is_found(Sabotage::DamageCutAway, 0..20, options, &["recovery", "term_and_vote"]);
}

#[test]
fn a_member_that_begins_although_it_must_not_is_noticed() {
    let by = ["recovery", "term_and_vote"];
    is_found(Sabotage::RefusalIgnored, 0..60, Options::over_limit, &by);
}

#[test]
fn a_log_that_is_said_to_be_verified_and_is_not_is_noticed() {
    let options = |seed| with(seed, all_damage(Some(100)));
    is_found(Sabotage::ScrubSkipped, 0..20, options, &["log"]);
}
