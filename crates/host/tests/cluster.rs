//! Whole clusters: they elect, replicate, read, lose members and take them back.

mod common;

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use common::{Cluster, PATIENCE, ledger, run, texts, wait_until};
use quorate_host::{
    AskError, HostEvent, PeerMetrics, PeerState, PeerStatus, RequestError, StartError,
    TransferError,
};
use quorate_raft::{ElectionPolicy, Event, NodeId};

#[test]
fn a_single_member_is_a_cluster() {
    let mut cluster = Cluster::start(1);
    assert_eq!(cluster.propose(0, "a"), 0);
    assert_eq!(cluster.propose(0, "b"), 1);
    assert_eq!(texts(&cluster.read(0)), ["a", "b"]);
    cluster.kill(0);
    cluster.start_member(0).unwrap();
    assert_eq!(cluster.propose(0, "c"), 2);
    assert_eq!(texts(&cluster.read(0)), ["a", "b", "c"]);
    cluster.assert_healthy();
}

#[test]
fn any_member_takes_commands_and_reads() {
    for size in [3, 5] {
        let cluster = Cluster::start(size);
        let mut expected = Vec::new();
        for round in 0..4 {
            for index in 0..cluster.members.len() {
                let command = format!("{round}-{index}");
                assert_eq!(cluster.propose(index, &command), expected.len() as u64);
                expected.push(command);
                let reader = (index + 1) % cluster.members.len();
                assert_eq!(texts(&cluster.read(reader)), expected, "read on {reader}");
            }
        }
        cluster.assert_healthy();
    }
}

#[test]
fn many_callers_at_once_each_get_their_own_outcome() {
    let cluster = Cluster::start(3);
    cluster.propose(0, "first");
    run(async {
        let mut calls = Vec::new();
        for call in 0..600 {
            let handle = cluster.handle(call % 3);
            let command = Bytes::from(format!("{call}"));
            calls.push(async move {
                let outcome = handle.propose(command.clone()).await.expect("there is a leader");
                handle.read_barrier().await.expect("there is a leader");
                (outcome, command)
            });
        }
        let mut outcomes = join_all(calls).await;
        outcomes.sort();
        let positions: Vec<_> = outcomes.iter().map(|(position, _)| *position).collect();
        assert_eq!(positions, (1..=600).collect::<Vec<_>>());
        let in_order: Vec<_> = outcomes.into_iter().map(|(_, command)| command).collect();
        for index in 0..3 {
            cluster.handle(index).read_barrier().await.expect("there is a leader");
            assert_eq!(cluster.state(index)[1..], in_order);
        }
    });
    let metrics = cluster.handle(0).metrics();
    assert!(metrics.proposals_applied.get() >= 200);
    assert_eq!(metrics.proposals_pending(), 0);
    assert!(metrics.wal_sync.count() > 0);
    let exchanged = |peer: &PeerMetrics| peer.sent_bytes.get() > 0 && peer.received_bytes.get() > 0;
    assert!(metrics.peers().values().any(|peer| exchanged(peer)), "with the leader, at least");
    cluster.assert_healthy();
}

#[test]
fn a_killed_leader_is_replaced_and_comes_back_with_everything() {
    let mut cluster = Cluster::start(3);
    let mut expected = Vec::new();
    for round in 0..3 {
        let leader = cluster.leader();
        for count in 0..7 {
            let command = format!("{round}-{count}");
            cluster.propose(leader, &command);
            expected.push(command);
        }
        cluster.kill(leader);
        let other = (leader + 1) % 3;
        let command = format!("{round}-without");
        cluster.propose(other, &command);
        expected.push(command);
        assert_eq!(texts(&cluster.read((leader + 2) % 3)), expected);
        cluster.start_member(leader).unwrap();
        assert_eq!(texts(&cluster.read(leader)), expected, "back as a follower");
    }
    cluster.assert_healthy();
}

#[test]
fn all_members_come_back_after_a_crash_of_all() {
    let mut cluster = Cluster::start(3);
    for count in 0..10 {
        cluster.propose(count % 3, &format!("{count}"));
    }
    for index in 0..3 {
        cluster.kill(index);
    }
    for index in 0..3 {
        cluster.start_member(index).unwrap();
    }
    let expected: Vec<_> = (0..10).map(|count| format!("{count}")).collect();
    for index in 0..3 {
        assert_eq!(texts(&cluster.read(index)), expected);
    }
    cluster.assert_healthy();
}

#[test]
fn a_member_that_stops_in_order_has_applied_nothing_twice() {
    let mut cluster = Cluster::start(3);
    for count in 0..5 {
        cluster.propose(0, &format!("{count}"));
    }
    cluster.stop(1);
    cluster.propose(2, "meanwhile");
    cluster.start_member(1).unwrap();
    assert_eq!(texts(&cluster.read(1)), ["0", "1", "2", "3", "4", "meanwhile"]);
    cluster.assert_healthy();
}

#[test]
fn a_member_without_its_disk_catches_up_by_snapshot() {
    let mut cluster = Cluster::prepare(3);
    cluster.retained_bytes = 0;
    cluster.commits_per_write = 4;
    for index in 0..3 {
        cluster.start_member(index).unwrap();
    }
    let wiped = (cluster.leader() + 1) % 3;
    cluster.propose(wiped, "early");
    cluster.kill(wiped);
    let other = (wiped + 1) % 3;
    let mut expected = vec!["early".to_owned()];
    for count in 0..60 {
        let command = format!("{count}-{}", "x".repeat(100));
        cluster.propose(other, &command);
        expected.push(command);
    }
    cluster.wipe(wiped);
    cluster.start_member(wiped).unwrap();
    assert_eq!(texts(&cluster.read(wiped)), expected);
    wait_until("the snapshot is told", || {
        cluster.members[wiped]
            .events
            .lock()
            .unwrap()
            .iter()
            .any(|event| matches!(event, HostEvent::Raft(_, Event::SnapshotInstalled { .. })))
    });
    cluster.propose(wiped, "late");
    expected.push("late".to_owned());

    // What it has now, it has for good, and it counts again: with another member down too.
    let rejoining = Arc::clone(&cluster.members[wiped].rejoining);
    wait_until("it counts again", || !rejoining.load(Ordering::SeqCst));
    cluster.kill(wiped);
    cluster.start_member(wiped).unwrap();
    assert_eq!(texts(&cluster.read(wiped)), expected);
    cluster.kill((wiped + 1) % 3);
    cluster.propose(wiped, "later");
    expected.push("later".to_owned());
    assert_eq!(texts(&cluster.read(wiped)), expected);
    cluster.assert_healthy();
}

#[test]
fn a_member_that_lost_its_disk_and_was_not_told_stops() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    cluster.propose(leader, "a");
    let lost = (leader + 1) % 3;
    let matched = || {
        let status = cluster.handle(leader).status();
        status.peers.iter().all(|peer| peer.matched >= Some(status.commit))
    };
    wait_until("all have it", matched);
    cluster.kill(lost);
    cluster.wipe(lost);
    let mut config = cluster.config(lost);
    config.rejoining = None;
    cluster.start_with(lost, config).unwrap();
    let fatal = Arc::clone(&cluster.members[lost].fatal);
    wait_until("it stops", || !fatal.lock().unwrap().is_empty());
    let reason = fatal.lock().unwrap()[0].clone();
    assert!(reason.contains("its disk was lost; start it"), "{reason}");
    assert_eq!(run(cluster.handle(lost).propose(Bytes::new())), Err(RequestError::Stopped));

    cluster.stop(lost);
    cluster.wipe(lost);
    cluster.start_member(lost).unwrap();
    let rejoining = Arc::clone(&cluster.members[lost].rejoining);
    wait_until("it counts again", || !rejoining.load(Ordering::SeqCst));
    cluster.propose(lost, "b");
}

#[test]
fn a_minority_acknowledges_nothing_and_tells_so() {
    let mut cluster = Cluster::start(3);
    cluster.propose(0, "a");
    let survivor = cluster.leader();
    cluster.kill((survivor + 1) % 3);
    cluster.kill((survivor + 2) % 3);
    let handle = cluster.handle(survivor);
    let mut status = handle.subscribe();
    run(async {
        status.wait_for(|status| status.leader.is_none()).await.expect("the host is up");
    });
    let write = handle.propose(Bytes::from_static(b"b"));
    let give_up = run(async { tokio::time::timeout(Duration::from_millis(300), write).await });
    assert!(give_up.is_err(), "there is no quorum: {give_up:?}");
    assert_eq!(texts(&cluster.state(survivor)), ["a"]);

    cluster.start_member((survivor + 1) % 3).unwrap();
    let after = cluster.propose(survivor, "c");
    assert!(after == 1 || after == 2, "what nobody waited for may have taken effect: {after}");
    cluster.assert_healthy();
}

/// Hands the lead over to whoever is fit. On a busy machine that may be nobody for a moment.
fn hand_over(cluster: &Cluster, leader: usize) {
    wait_until("somebody is fit", || match run(cluster.handle(leader).transfer_leadership(None)) {
        Ok(()) => true,
        Err(TransferError::NobodyFit) => false,
        Err(error) => panic!("{error}"),
    });
}

#[test]
fn leadership_is_handed_over() {
    let cluster = Cluster::start(3);
    cluster.propose(0, "a");
    let leader = cluster.leader();
    let target = (leader + 1) % 3;
    wait_until("the leader knows that it leads", || cluster.handle(leader).status().is_leader());
    let to = Some(cluster.members[target].id);
    assert_eq!(run(cluster.handle(leader).transfer_leadership(to)), Ok(()));
    wait_until("the target leads", || cluster.handle(target).status().is_leader());
    assert_eq!(
        run(cluster.handle(leader).transfer_leadership(None)),
        Err(TransferError::NotLeader)
    );
    assert_eq!(
        run(cluster.handle(target).transfer_leadership(Some(NodeId(9)))),
        Err(TransferError::NoSuchVoter)
    );
    hand_over(&cluster, target);
    cluster.propose(target, "b");
    cluster.assert_healthy();
}

#[test]
fn questions_reach_the_leader_and_any_member() {
    let cluster = Cluster::start(3);
    cluster.propose(0, "a");
    let leader = cluster.leader();
    let follower = (leader + 1) % 3;
    let ask = |payload| run(cluster.handle(follower).ask_leader(Bytes::from_static(payload)));
    assert_eq!(ask(b"x"), Err(AskError::Unanswered), "nobody answers yet");
    for (index, member) in cluster.members.iter().enumerate() {
        let id = member.id;
        cluster.handle(index).set_ask_handler(Arc::new(move |from, payload, reply| {
            if &payload[..] != b"silence" {
                reply.send(Bytes::from(format!("{id} to {from}: {}", payload.len())));
            }
        }));
    }
    let (l, f) = (cluster.members[leader].id, cluster.members[follower].id);
    assert_eq!(ask(b"four"), Ok(Bytes::from(format!("{l} to {f}: 4"))));
    assert_eq!(ask(b"silence"), Err(AskError::Unanswered));
    let here = run(cluster.handle(leader).ask_leader(Bytes::new()));
    assert_eq!(here, Ok(Bytes::from(format!("{l} to {l}: 0"))));
    let direct = run(cluster.handle(leader).ask(f, Bytes::from_static(b"abc")));
    assert_eq!(direct, Ok(Bytes::from(format!("{f} to {l}: 3"))));
    let nobody = run(cluster.handle(leader).ask(NodeId(9), Bytes::new()));
    assert_eq!(nobody, Err(AskError::NoSuchMember));
    cluster.assert_healthy();
}

#[test]
fn calls_on_a_stopped_host_end() {
    let mut cluster = Cluster::start(3);
    cluster.propose(0, "a");
    let handle = cluster.handle(0);
    let (one, two) = (handle.clone(), handle.clone());
    cluster.kill(1);
    cluster.kill(2);
    let waiting = std::thread::spawn(move || run(one.propose(Bytes::from_static(b"never"))));
    wait_until("the command waits", || two.metrics().proposals.get() >= 2);
    cluster.stop(0);
    assert_eq!(waiting.join().unwrap(), Err(RequestError::Stopped));
    assert_eq!(run(handle.read_barrier()), Err(RequestError::Stopped));
    assert_eq!(run(handle.propose(Bytes::new())), Err(RequestError::Stopped));
    assert_eq!(run(handle.transfer_leadership(None)), Err(TransferError::Stopped));
    assert!(handle.status().stopped);
}

#[test]
fn limits_refuse_at_the_door() {
    let mut cluster = Cluster::prepare(3);
    let mut config = cluster.config(0);
    config.limits.command_bytes = 10;
    config.limits.proposals = 2;
    cluster.start_with(0, config).unwrap();
    let handle = cluster.handle(0);
    let propose = |command: &'static [u8]| handle.propose(Bytes::from_static(command));
    assert_eq!(run(propose(b"eleven bytes")), Err(RequestError::TooLarge));
    run(async {
        // Without a quorum, these two wait.
        let mut first = Box::pin(propose(b"a"));
        let mut second = Box::pin(propose(b"b"));
        let wait = Duration::from_millis(10);
        assert!(tokio::time::timeout(wait, &mut first).await.is_err());
        assert!(tokio::time::timeout(wait, &mut second).await.is_err());
        assert_eq!(propose(b"c").await, Err(RequestError::Overloaded));
    });
    assert_eq!(handle.metrics().overloaded.get(), 1);
    cluster.assert_healthy();
}

#[test]
fn a_machine_that_fails_ends_the_member_and_acknowledges_nothing() {
    for (command, reason) in [
        (ledger::POISON, "the state machine failed: the command is poison"),
        (ledger::PANIC, "the apply thread panicked: a command that must not be"),
    ] {
        let cluster = Cluster::start(1);
        cluster.propose(0, "a");
        let handle = cluster.handle(0);
        let outcome = run(handle.propose(Bytes::from_static(command)));
        assert_eq!(outcome, Err(RequestError::Stopped));
        let fatal = &cluster.members[0].fatal;
        wait_until("the failure is told", || !fatal.lock().unwrap().is_empty());
        assert_eq!(*fatal.lock().unwrap(), [reason]);
        wait_until("the status tells", || handle.status().stopped);
        assert_eq!(run(handle.propose(Bytes::new())), Err(RequestError::Stopped));
    }
}

#[test]
fn a_panic_in_a_round_is_fatal_whichever_thread_runs_it() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    cluster.propose(leader, "a");
    let victim = (leader + 1) % 3;
    cluster.stop(victim);
    let mut config = cluster.config(victim);
    // Of who leads it hears on connections, and mostly by their threads, whose own end would be the
    // end of a connection and nothing else.
    config.on_event = Arc::new(|event| {
        let by_raft = std::thread::current().name() == Some("quorate-raft");
        assert!(by_raft || !matches!(event, HostEvent::Raft(..)), "no more of this");
    });
    cluster.start_with(victim, config).unwrap();
    let fatal = Arc::clone(&cluster.members[victim].fatal);
    let mut leaders = [leader, 3 - leader - victim].into_iter().cycle().skip(1);
    wait_until("the panic is told", || {
        let to = cluster.members[leaders.next().expect("it is a cycle")].id;
        for index in (0..3).filter(|index| *index != victim) {
            // Whoever of the two does not lead refuses.
            let _ = run(cluster.handle(index).transfer_leadership(Some(to)));
        }
        !fatal.lock().unwrap().is_empty()
    });
    assert_eq!(*fatal.lock().unwrap(), ["the raft thread panicked: no more of this"]);
    let handle = cluster.handle(victim);
    wait_until("the status tells", || handle.status().stopped);
    assert_eq!(run(handle.propose(Bytes::new())), Err(RequestError::Stopped));
    cluster.stop(victim);
    cluster.propose(leader, "b");
}

#[test]
fn a_member_that_lost_a_part_of_itself_does_not_start() {
    let mut cluster = Cluster::prepare(1);
    cluster.commits_per_write = 4;
    let mut config = cluster.config(0);
    config.limits.raft.retained_bytes_min = 0;
    cluster.start_with(0, config).unwrap();
    for count in 0..9 {
        cluster.propose(0, &format!("{count}"));
    }
    // Another command lets the log drop what the machine has made durable.
    wait_until("the machine wrote", || cluster.handle(0).status().applied_durable.0 > 4);
    cluster.propose(0, "one more");
    cluster.stop(0);
    let data = cluster.data(0);

    std::fs::rename(data.join("wal"), data.join("elsewhere")).unwrap();
    let error = cluster.start_member(0).unwrap_err();
    assert!(matches!(error, StartError::LogForgotten { .. }), "{error}");
    std::fs::remove_dir_all(data.join("wal")).unwrap();
    std::fs::rename(data.join("elsewhere"), data.join("wal")).unwrap();

    cluster.start_member(0).unwrap();
    cluster.stop(0);

    std::fs::rename(data.join("ledger"), data.join("ledger.elsewhere")).unwrap();
    let error = cluster.start_member(0).unwrap_err();
    assert!(matches!(error, StartError::MachineBehindLog { .. }), "{error}");
    std::fs::rename(data.join("ledger.elsewhere"), data.join("ledger")).unwrap();

    cluster.start_member(0).unwrap();
    assert_eq!(cluster.propose(0, "last"), 10, "nothing was damaged by looking");
    cluster.assert_healthy();
}

#[test]
fn a_member_is_noted_to_have_a_log_before_it_takes_part() {
    let mut cluster = Cluster::prepare(1);
    let mut refused = cluster.config(0);
    refused.on_begun = Box::new(|| Err("no room".into()));
    let error = cluster.start_with(0, refused).unwrap_err();
    assert!(error.to_string().contains("no room"), "{error}");

    let noted = Arc::new(AtomicBool::new(false));
    let mut config = cluster.config(0);
    let (on_begun, log) = (Arc::clone(&noted), cluster.data(0).join("wal"));
    config.on_begun = Box::new(move || {
        let segment = std::fs::read(log.join("0000000000000001.wal")).unwrap();
        assert!(segment.starts_with(b"QWAL"), "there is a record");
        on_begun.store(true, Ordering::SeqCst);
        Ok(())
    });
    cluster.start_with(0, config).unwrap();
    assert!(noted.load(Ordering::SeqCst));
    cluster.propose(0, "a");
    cluster.stop(0);

    // Its log is gone, and so is what the machine had.
    for lost in ["wal", "ledger"] {
        std::fs::rename(cluster.data(0).join(lost), cluster.data(0).join(lost.to_owned() + ".old"))
            .unwrap();
    }
    let mut config = cluster.config(0);
    config.has_begun = true;
    config.on_begun = Box::new(|| panic!("it is noted already"));
    let error = cluster.start_with(0, config).unwrap_err();
    assert!(matches!(error, StartError::LogForgotten { .. }), "{error}");
}

/// Flips a bit in the middle of what the log of a member that is down holds, and says how long that is.
fn spoil_log(cluster: &Cluster, index: usize, at: impl Fn(usize) -> usize) {
    let segment = cluster.data(index).join("wal").join("0000000000000001.wal");
    let mut bytes = std::fs::read(&segment).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[at(used)] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
}

fn has_healed(cluster: &Cluster, index: usize) -> bool {
    let events = cluster.members[index].events.lock().unwrap();
    events.iter().any(|event| matches!(event, HostEvent::Healed { .. }))
}

#[test]
fn members_whose_logs_are_damaged_in_different_places_heal_one_another() {
    let mut cluster = Cluster::start(3);
    let commands: Vec<String> =
        (0..40).map(|count| format!("{count}-{}", "x".repeat(60))).collect();
    for command in &commands {
        cluster.propose(0, command);
    }
    for index in 0..3 {
        assert_eq!(texts(&cluster.read(index)), commands);
    }
    for index in 0..3 {
        cluster.kill(index);
    }
    // Even the last bytes, which nothing in the log tells from a torn end.
    spoil_log(&cluster, 0, |used| used / 3);
    spoil_log(&cluster, 1, |used| used / 2);
    spoil_log(&cluster, 2, |used| used - 4);
    for index in 0..3 {
        cluster.start_member(index).unwrap();
    }
    for index in 0..3 {
        wait_until("it has healed", || has_healed(&cluster, index));
    }
    for index in 0..3 {
        assert_eq!(texts(&cluster.read(index)), commands);
    }
    for index in 0..3 {
        cluster.kill(index);
        cluster.start_member(index).unwrap();
    }
    cluster.propose(1, "after");
    assert_eq!(cluster.read(2).len(), 41, "what was healed is on disk");
    cluster.assert_healthy();
}

#[test]
fn a_log_that_goes_bad_beneath_a_running_member_is_mended_from_its_memory() {
    let mut cluster = Cluster::prepare(1);
    let mut config = cluster.config(0);
    config.scrub_cycle = Duration::from_millis(1);
    cluster.start_with(0, config).unwrap();
    let commands: Vec<String> = (0..40).map(|count| format!("{count}")).collect();
    for command in &commands {
        cluster.propose(0, command);
    }
    let segment = cluster.data(0).join("wal").join("0000000000000001.wal");
    let file = std::fs::OpenOptions::new().write(true).open(segment).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"rot", 1_000).unwrap();
    wait_until("it is mended", || {
        let events = cluster.members[0].events.lock().unwrap();
        events.iter().any(|event| matches!(event, HostEvent::LogMended { .. }))
    });
    cluster.propose(0, "after");
    cluster.kill(0);
    cluster.start_member(0).unwrap();
    assert_eq!(texts(&cluster.read(0))[..40], commands);
    assert!(!has_healed(&cluster, 0), "nothing was missing");
    cluster.assert_healthy();
}

#[test]
fn damage_of_the_log_that_is_mended_at_the_start_is_told() {
    let mut cluster = Cluster::start(1);
    for command in ["1", "2", "3"] {
        cluster.propose(0, command);
    }
    cluster.kill(0);
    // In the first record after the head, which later ones make needless.
    spoil_log(&cluster, 0, |_| 150);
    cluster.start_member(0).unwrap();
    assert_eq!(texts(&cluster.read(0)), ["1", "2", "3"]);
    let told = |cluster: &Cluster| {
        let events = cluster.members[0].events.lock().unwrap();
        let reports = events.iter().filter_map(|event| match event {
            HostEvent::LogMended { report } => Some(report.clone()),
            _ => None,
        });
        reports.collect::<Vec<_>>()
    };
    let reports = told(&cluster);
    assert!(
        matches!(&reports[..], [report] if report.contains("is damaged at offset 144")),
        "{reports:?}"
    );
    assert!(!has_healed(&cluster, 0), "nothing was missing");
    cluster.kill(0);
    cluster.start_member(0).unwrap();
    assert_eq!(told(&cluster).len(), 1, "it is whole again");
    cluster.assert_healthy();
}

#[test]
fn a_member_whose_machine_is_gone_gets_it_from_another() {
    let mut cluster = Cluster::prepare(3);
    cluster.retained_bytes = 0;
    cluster.commits_per_write = 4;
    for index in 0..3 {
        cluster.start_member(index).unwrap();
    }
    let lost = (cluster.leader() + 1) % 3;
    let commands: Vec<String> =
        (0..60).map(|count| format!("{count}-{}", "x".repeat(60))).collect();
    for command in &commands {
        cluster.propose(lost, command);
    }
    cluster.stop(lost);
    std::fs::remove_file(cluster.data(lost).join("ledger")).unwrap();
    cluster.start_member(lost).unwrap();
    wait_until("it has healed", || has_healed(&cluster, lost));
    assert_eq!(texts(&cluster.read(lost)), commands);
    let rejoining = cluster.members[lost].rejoining.load(Ordering::SeqCst);
    assert!(!rejoining, "it remembers what it promised");
    cluster.assert_healthy();
}

#[test]
fn a_member_alone_whose_log_is_damaged_does_not_start_and_changes_nothing() {
    let mut cluster = Cluster::start(1);
    for count in 0..9 {
        cluster.propose(0, &format!("{count}"));
    }
    cluster.kill(0);
    spoil_log(&cluster, 0, |used| used / 2);
    let before = std::fs::read(cluster.data(0).join("wal/0000000000000001.wal")).unwrap();
    for _ in 0..2 {
        let error = cluster.start_member(0).unwrap_err();
        assert!(matches!(error, StartError::LogDamaged { .. }), "{error}");
        let report = error.to_string();
        assert!(report.contains("segment 0000000000000001 is damaged at offset"), "{report}");
    }
    assert!(before == std::fs::read(cluster.data(0).join("wal/0000000000000001.wal")).unwrap());
}

/// Awaits all, at once.
async fn join_all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    let all = std::future::poll_fn(|context| {
        let mut pending = false;
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    Poll::Ready(done) => *output = Some(done),
                    Poll::Pending => pending = true,
                }
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(()) }
    });
    tokio::time::timeout(PATIENCE, all).await.expect("in time");
    outputs.into_iter().map(|output| output.expect("all are done")).collect()
}

/// What one member says of another.
fn looks(cluster: &Cluster, from: usize, at: usize) -> PeerState {
    let id = cluster.members[at].id;
    let status = cluster.handle(from).status();
    status.peers.iter().find(|peer| peer.id == id).expect("it is a peer").health.state
}

#[test]
fn members_know_who_of_the_others_is_there() {
    let mut cluster = Cluster::prepare(3);
    for index in 0..3 {
        let mut config = cluster.config(index);
        config.about.zone = format!("zone-{index}");
        config.about.addresses = vec![cluster.members[index].address.clone()];
        cluster.start_with(index, config).unwrap();
    }
    cluster.propose(0, "a");
    let leader = cluster.leader();
    let (one, two) = ((leader + 1) % 3, (leader + 2) % 3);
    wait_until("the leader hears both", || {
        [one, two].iter().all(|other| looks(&cluster, leader, *other) == PeerState::Active)
    });
    wait_until("followers know one another", || {
        let status = cluster.handle(one).status();
        let about = |peer: &PeerStatus| Arc::clone(&peer.health.about);
        status.peers.iter().map(about).all(|about| about.zone.starts_with("zone-"))
    });
    let status = cluster.handle(one).status();
    let peer = status.peers.iter().find(|peer| peer.id == cluster.members[two].id).unwrap();
    assert_eq!(peer.health.about.zone, format!("zone-{two}"));
    assert_eq!(peer.health.about.addresses, [cluster.members[two].address.clone()]);

    // One is gone without a word, and then back as another process.
    let before = peer.health.incarnation;
    cluster.kill(two);
    wait_until("the leader misses it", || looks(&cluster, leader, two) == PeerState::Failed);
    wait_until("the other one misses it", || looks(&cluster, one, two) == PeerState::Failed);
    cluster.start_member(two).unwrap();
    wait_until("it is back", || looks(&cluster, leader, two) == PeerState::Active);
    // Where the leader tells that it is back before it says so itself, it is no other process yet.
    wait_until("the other one has met it", || {
        let status = cluster.handle(one).status();
        let peer = status.peers.iter().find(|peer| peer.id == cluster.members[two].id).unwrap();
        peer.health.incarnation != before && peer.health.state == PeerState::Idle
    });

    // And one ends in order, and says so.
    cluster.handle(two).announce_end();
    wait_until("both know", || {
        [leader, one].iter().all(|other| looks(&cluster, *other, two) == PeerState::Leaving)
    });
    cluster.stop(two);
    cluster.propose(one, "b");
    assert_eq!(looks(&cluster, leader, two), PeerState::Leaving);
    cluster.assert_healthy();
}

/// That it leaves waits for the raft thread, and the end of the host does not come before it.
#[test]
fn a_member_that_ends_says_so_however_busy_it_is() {
    let mut cluster = Cluster::prepare(3);
    let (entered, is_in_a_round) = mpsc::channel();
    let (release, may_go_on) = mpsc::channel::<()>();
    let (is_to_wait, may_go_on) = (Arc::new(AtomicBool::new(false)), Mutex::new(may_go_on));
    for member in 1..3 {
        let mut config = cluster.config(member);
        // It does not campaign, and no connection is too silent for it.
        config.election_policy = ElectionPolicy::Fixed;
        config.election_timeout = 10 * PATIENCE;
        cluster.start_with(member, config).expect("it can start");
    }
    let mut config = cluster.config(0);
    let waits = Arc::clone(&is_to_wait);
    config.on_event = Arc::new(move |event| {
        let is_in_a_round = matches!(event, HostEvent::PeerChanged(_));
        if is_in_a_round && waits.swap(false, Ordering::SeqCst) {
            entered.send(()).expect("the test waits");
            let _ = may_go_on.lock().expect("nobody panicked").recv();
        }
    });
    cluster.start_with(0, config).expect("it can start");
    cluster.propose(0, "a");
    wait_until("the leader hears them", || {
        [1, 2].iter().all(|other| looks(&cluster, 0, *other) == PeerState::Active)
    });
    is_to_wait.store(true, Ordering::SeqCst);
    cluster.kill(2);
    cluster.refuse_connections(2);
    is_in_a_round.recv_timeout(PATIENCE).expect("one that is gone is missed");
    let handle = cluster.handle(0);
    handle.announce_end();
    let host = cluster.members[0].running.take().expect("it runs").host;
    let end = std::thread::spawn(move || host.shutdown());
    wait_until("nothing more comes in", || {
        let mut proposal = pin!(handle.propose(Bytes::new()));
        let poll = proposal.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        poll == Poll::Ready(Err(RequestError::Stopped))
    });
    release.send(()).expect("the round waits");
    end.join().expect("it ends");
    cluster.refuse_connections(0);
    wait_until("the other one knows", || looks(&cluster, 1, 0) == PeerState::Leaving);
    cluster.assert_healthy();
}

#[test]
fn leadership_goes_to_the_member_that_is_wanted_most() {
    let mut cluster = Cluster::prepare(3);
    cluster.favourite = Some(2);
    // The others have a leader first.
    for member in [0, 1] {
        cluster.start_member(member).unwrap();
    }
    cluster.propose(0, "a");
    cluster.start_member(2).unwrap();
    wait_until("the favourite leads", || cluster.handle(2).status().is_leader());
    cluster.propose(0, "b");
    cluster.assert_healthy();
}

#[test]
fn leadership_is_not_handed_to_who_leaves() {
    let cluster = Cluster::start(3);
    cluster.propose(0, "a");
    let leader = cluster.leader();
    let (one, two) = ((leader + 1) % 3, (leader + 2) % 3);
    wait_until("the leader knows that it leads", || cluster.handle(leader).status().is_leader());
    cluster.handle(one).announce_end();
    wait_until("one leaves", || looks(&cluster, leader, one) == PeerState::Leaving);
    hand_over(&cluster, leader);
    wait_until("the other one leads", || cluster.handle(two).status().is_leader());
    wait_until("it knows too", || looks(&cluster, two, one) == PeerState::Leaving);
    cluster.handle(leader).announce_end();
    wait_until("both leave", || looks(&cluster, two, leader) == PeerState::Leaving);
    let nobody = run(cluster.handle(two).transfer_leadership(None));
    assert_eq!(nobody, Err(TransferError::NobodyFit));
    let named = Some(cluster.members[one].id);
    assert_eq!(run(cluster.handle(two).transfer_leadership(named)), Ok(()), "the operator's word");
    cluster.assert_healthy();
}
