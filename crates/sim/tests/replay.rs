//! A seed is one run for ever, and the seeds that found bugs find none any more.

use std::cell::RefCell;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use quorate_raft::ElectionPolicy;
use quorate_sim::coverage::{Coverage, Fault};
use quorate_sim::extremes::Extremes;
use quorate_sim::run::{run, run_with};
use quorate_sim::swarm::{Options, PartitionStyle, Recurring};
use quorate_sim::trace::Trace;

/// Everything that a run prints.
fn trace_of(seed: u64, options: Options) -> String {
    let lines = Rc::new(RefCell::new(String::new()));
    let sink = Rc::clone(&lines);
    let trace = Trace::to(move |line| {
        sink.borrow_mut().push_str(line);
        sink.borrow_mut().push('\n');
    });
    let result = run_with(seed, options, None, trace);
    let end = format!("{result:?}");
    let lines = lines.borrow();
    format!("{lines}{end}")
}

#[test]
fn a_seed_replays_to_the_byte() {
    for seed in [3, 6, 10] {
        goes_one_way(seed, Options::of_seed);
    }
    assert_ne!(trace_of(3, Options::of_seed(3)), trace_of(6, Options::of_seed(6)));
}

#[track_caller]
fn goes_one_way(seed: u64, options: fn(u64) -> Options) {
    let (first, second) = (trace_of(seed, options(seed)), trace_of(seed, options(seed)));
    assert!(first.lines().count() > 100, "seed {seed} is no run worth comparing");
    assert!(first == second, "seed {seed} went two ways");
}

/// The first seeds whose options are of some kind.
fn seeds(count: usize, is_meant: fn(&Options) -> bool) -> Vec<u64> {
    (0..).filter(|seed| is_meant(&Options::of_seed(*seed))).take(count).collect()
}

fn has_failing_disks(options: &Options) -> bool {
    let faults = &options.extremes.disk_faults;
    faults.errors.is_some() && faults.rot.is_some() && faults.scrub.is_some()
}

#[test]
fn so_does_one_whose_disks_fail_one_with_leases_and_one_that_is_over_the_limit() {
    seeds(2, has_failing_disks).into_iter().for_each(|seed| goes_one_way(seed, Options::of_seed));
    let with_leases = seeds(2, |options| options.leases.is_some());
    with_leases.into_iter().for_each(|seed| goes_one_way(seed, Options::of_seed));
    [1, 4].into_iter().for_each(|seed| goes_one_way(seed, Options::over_limit));
}

/// What the command prints for a seed, in a process of its own: one with other addresses, other sources of
/// chance and another order of whatever has none.
fn printed(seed: u64, flags: &[&str]) -> Vec<u8> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate-sim"));
    let output = command.arg(seed.to_string()).args(flags).output().expect("it is built");
    assert!(output.status.success(), "seed {seed} {flags:?} fails");
    assert!(output.stdout.len() > 10_000, "seed {seed} is no run worth comparing");
    output.stdout
}

#[test]
fn two_processes_print_the_same_to_the_byte() {
    let with_leases = |options: &Options| options.leases.is_some();
    for seed in [seeds(1, has_failing_disks), seeds(1, with_leases)].concat() {
        assert!(printed(seed, &[]) == printed(seed, &[]), "seed {seed} went two ways");
    }
    let over = &["--over-limit"][..];
    assert!(printed(2, over) == printed(2, over), "seed 2 went two ways over the limit");
    assert_ne!(printed(2, over), printed(2, &[]), "it is another run");
}

#[test]
fn watching_a_run_does_not_change_it() {
    let unwatched = run(10, None, Trace::off()).expect("the seed passes");
    let watched = run(10, None, Trace::to(|_| {})).expect("the seed passes");
    assert_eq!(unwatched, watched);
}

/// Members that forget parts of their logs while terms change and some hear of it and some do not. Written out,
/// to the last digit, so that nothing that a seed draws can move them.
fn healing_across_terms() -> Options {
    let nanos = Duration::from_nanos;
    let ms = Duration::from_millis;
    Options {
        members: 3,
        clients: 9,
        keys: 5,
        think: ms(20),
        reads_per_mille: 388,
        value_bytes: 8,
        faulty_for: ms(1_200),
        heartbeat: ms(10),
        election_timeout: ms(70),
        election_policy: ElectionPolicy::Fixed,
        quiet: None,
        request_timeout: ms(3_000),
        retained_bytes_max: 1 << 20,
        append_bytes_max: 1 << 20,
        snapshot_piece_bytes_max: 4_096,
        clock_drift_ppm: 100,
        delay_min: nanos(473_000),
        delay_mean: nanos(11_361_321),
        loss_per_mille: 0,
        duplicate_per_mille: 125,
        partitions: Some(Recurring { every: ms(150), lasts: ms(200) }),
        partition_style: PartitionStyle::OneWay,
        segment_bytes: 4_096,
        record_bytes_max: 8_192,
        sync_mean: ms(5),
        slow_sync_per_mille: 20,
        flush_every: ms(1_221),
        apply_mean: nanos(20_000),
        loop_mean: ms(1),
        crashes: Some(Recurring { every: nanos(200_830_050), lasts: nanos(1_375_082_935) }),
        power_cut_per_mille: 87,
        wipes: None,
        damage: Some(Recurring { every: ms(200), lasts: ms(60) }),
        upsets_per_mille: 0,
        pauses: None,
        transfer_every: Some(nanos(2_035_413_292)),
        compact_every: None,
        churn_every: None,
        reconciles: false,
        replace_after: None,
        priorities: false,
        witness: None,
        core_first: true,
        extremes: Extremes::none(),
        watches: None,
        leader_lease: None,
        stale_reads: None,
        leases: None,
        alarms: None,
    }
}

#[test]
fn seeds_that_found_bugs_pass() {
    let mut seeds = 0;
    for line in include_str!("../seeds/regressions.txt").lines() {
        let what = line.split('#').next().expect("a line has a beginning").trim();
        if what.is_empty() {
            continue;
        }
        let (seed, kind) = what.split_once(' ').unwrap_or((what, ""));
        let seed = seed.parse().expect("a line begins with a seed");
        let options = match kind.trim() {
            "" => Options::of_seed(seed),
            "plain" => Options::plain(seed),
            "healing" => healing_across_terms(),
            other => panic!("nobody knows the options {other}"),
        };
        // And as it was when there were no alarms.
        let before = options.alarms.map(|_| Options { alarms: None, ..options.clone() });
        for options in [Some(options), before].into_iter().flatten() {
            if let Err(failure) = run_with(seed, options, None, Trace::off()) {
                panic!("{failure}\nonce found: {line}");
            }
        }
        seeds += 1;
    }
    assert!(seeds > 0, "the list is empty");
}

#[test]
fn a_few_seeds_pass_and_together_exercise_every_kind_of_event() {
    let reports: Vec<_> = (100..200)
        .map(|seed| run(seed, None, Trace::off()).unwrap_or_else(|failure| panic!("{failure}")))
        .collect();
    let total = |of: fn(&quorate_sim::world::Report) -> u64| reports.iter().map(of).sum::<u64>();
    assert!(total(|r| r.tally.writes) > 500, "writes");
    assert!(total(|r| r.tally.reads) > 100, "reads");
    assert!(total(|r| r.tally.refused) > 100, "what an alarm refused");
    assert!(total(|r| r.tally.failed) > 20, "failures");
    assert!(total(|r| r.tally.lost) > 10, "requests lost in a crash");
    assert!(total(|r| r.crashes) > 20, "crashes");
    assert!(total(|r| r.snapshots) > 5, "snapshots");
    assert!(total(|r| r.leaders) > 60, "leaders");
    assert!(total(|r| r.doubts) > 30, "reads of members that may not know");
    assert!(total(|r| r.wipes) > 10, "lost disks");
    assert!(total(|r| r.rejoined) > 5, "members that came back from that");
    assert!(total(|r| r.watches.events) > 1_000, "events that watchers were told of");
    assert!(total(|r| r.watches.resumed) > 100, "watches that went on elsewhere");
    assert!(total(|r| r.watches.cancelled) > 20, "watches that were given up");
    assert!(total(|r| r.watches.compacted) > 5, "watches whose history was gone");
    assert!(total(|r| r.watches.progress) > 100, "reports of progress");
    assert!(total(|r| r.leases.granted) > 20, "leases");
    assert!(total(|r| r.leases.expired) > 20, "leases that ran out");
    assert!(total(|r| r.leases.renewed) > 20, "leases that were kept alive");
    let together = total(|r| r.leases.together);
    assert!(together > 2, "{together} ends of leases judged with their keys");
    let mut coverage = Coverage::default();
    reports.iter().for_each(|report| coverage.add(&report.coverage));
    // These are the matter of fewer seeds; `disks.rs` has them.
    let rare = [
        Fault::LiveRot,
        Fault::LostWrite,
        Fault::StrayWrite,
        Fault::ReadError,
        Fault::WriteError,
        Fault::SyncError,
        Fault::DiskBroken,
        Fault::DiskFull,
        Fault::OverLimit,
    ];
    for fault in Fault::ALL.into_iter().filter(|fault| !rare.contains(fault)) {
        assert!(coverage.total(fault) > 0, "no {}", fault.name());
    }
    assert!(reports.iter().any(|report| report.gray.is_some()), "a member with a slow disk");
    assert!(total(|report| report.second_opinion.operations) > 1_000);
    let gave_up = total(|report| report.second_opinion.gave_up.into());
    assert!(6 * gave_up < reports.len() as u64, "too much effort for {gave_up} histories");
}
