//! Replicas: a state of one's own, and what becomes of its file.

mod common;
#[path = "../examples/counter.rs"]
mod counter;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{run, wait_until};
use quorate_host::{
    DiskId, Fault, FaultKind, HostConfig, Kept, NodeId, Replica, RequestError, StartError, State,
};

#[test]
fn the_counter_counts_and_is_short() {
    counter::main().expect("the example works");
    let lines = include_str!("../examples/counter.rs").lines().count();
    assert!(lines <= 60, "{lines} lines: what makes it long belongs into the library");
}

/// A list of words, one of which panics.
#[derive(Default)]
struct Words(Vec<String>);

impl State for Words {
    type Outcome = usize;

    fn apply(&mut self, command: &[u8]) -> usize {
        assert!(command != b"panic", "a command that must not be");
        self.0.push(String::from_utf8_lossy(command).into_owned());
        self.0.len()
    }

    fn snapshot(&self) -> Vec<u8> {
        self.0.join(" ").into_bytes()
    }

    fn restore(snapshot: &[u8]) -> Option<Self> {
        let text = str::from_utf8(snapshot).ok()?;
        Some(Self(text.split_whitespace().map(str::to_owned).collect()))
    }
}

type Member = Replica<Kept<Words>>;

/// The configuration of a cluster of one.
fn alone(folder: &Path) -> HostConfig {
    let mut config = HostConfig::new(NodeId(1), folder, Vec::new());
    config.request_timeout = Duration::from_secs(20);
    config
}

fn propose(member: &Member, word: &'static str) -> usize {
    run(member.propose(word)).expect("it is alone")
}

fn words(member: &Member) -> String {
    run(member.read(|words| words.0.join(" "))).expect("it is alone")
}

#[test]
fn a_crash_loses_nothing_and_an_orderly_end_writes_the_state() {
    let folder = tempfile::tempdir().unwrap();
    let member = Member::open(alone(folder.path())).expect("it is new");
    assert_eq!((propose(&member, "a"), propose(&member, "b")), (1, 2));
    member.kill();
    assert!(!folder.path().join("state").exists(), "the log has it all");
    let member = Member::open(alone(folder.path())).expect("all is there");
    assert_eq!(propose(&member, "c"), 3);
    assert_eq!(words(&member), "a b c");
    member.shutdown();
    assert!(folder.path().join("state").exists());
    let member = Member::open(alone(folder.path())).expect("all is there");
    assert_eq!(member.read_local(|words| words.0.len()), Ok(3), "it was in the file");
    assert_eq!(propose(&member, "d"), 4);
}

#[test]
fn a_damaged_file_is_no_state() {
    let folder = tempfile::tempdir().unwrap();
    let member = Member::open(alone(folder.path())).expect("it is new");
    propose(&member, "a");
    member.shutdown();
    let path = folder.path().join("state");
    let mut image = fs::read(&path).unwrap();
    *image.last_mut().unwrap() ^= 1;
    fs::write(&path, image).unwrap();
    let error = Member::open(alone(folder.path())).expect_err("it is damaged");
    assert!(error.is_damage(), "{error}");
    assert!(
        matches!(error, StartError::Machine(Fault { kind: FaultKind::Damaged, .. })),
        "{error}"
    );
}

#[test]
fn a_lost_log_is_not_taken_for_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    Member::open(alone(folder.path())).expect("it is new").kill();
    fs::remove_dir_all(folder.path().join(HostConfig::LOG)).unwrap();
    let error = Member::open(alone(folder.path())).expect_err("it forgot what it promised");
    assert!(error.log_is_lost().is_some(), "{error}");
}

#[test]
fn a_reader_that_panics_harms_nobody_and_a_machine_that_does_ends_its_member() {
    let folder = tempfile::tempdir().unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    let mut config = alone(folder.path());
    config.on_fatal = Arc::new({
        let ended = Arc::clone(&ended);
        move |_| ended.store(true, Ordering::SeqCst)
    });
    let member = Member::open(config).expect("it is new");
    propose(&member, "a");
    let look = || member.read_local::<()>(|_| panic!("a reader"));
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(look)).expect_err("it panics");
    assert_eq!(propose(&member, "b"), 2);
    assert_eq!(run(member.propose("panic")), Err(RequestError::Stopped));
    wait_until("the member ends", || ended.load(Ordering::SeqCst));
    assert_eq!(member.read_local(|words| words.0.len()), Err(RequestError::Stopped));
}

/// A group of three in which all write their state at once, and keep no log for those who are behind.
#[test]
fn a_member_that_lost_its_disk_is_given_the_state() {
    let folder = tempfile::tempdir().unwrap();
    let listeners = [1, 2, 3].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let open = |id: u64, rejoining: Option<DiskId>| {
        let listener = listeners[id as usize - 1].try_clone().unwrap();
        let mut config = alone(&folder.path().join(id.to_string()));
        (config.id, config.listeners, config.rejoining) = (NodeId(id), vec![listener], rejoining);
        config.peers = (1..)
            .map(NodeId)
            .zip(&listeners)
            .map(|(id, listener)| (id, vec![listener.local_addr().unwrap().to_string()]))
            .collect();
        config.heartbeat_interval = Duration::from_millis(20);
        config.election_timeout = Duration::from_millis(200);
        config.limits.unflushed_bytes = 0;
        config.limits.raft.retained_bytes_max = 0;
        config.limits.raft.retained_bytes_min = 0;
        Member::open(config).expect("it can start")
    };
    let [first, second, third] = [1, 2, 3].map(|id| open(id, None));
    assert_eq!((propose(&first, "a"), propose(&second, "b")), (1, 2));
    third.kill();
    assert_eq!(propose(&first, "c"), 3);
    // What is durable in the machine goes from the log in the same turn.
    for member in [&first, &second] {
        wait_until("all is durable", || {
            let status = member.handle().status();
            status.applied_durable == status.last
        });
    }
    fs::remove_dir_all(folder.path().join("3")).unwrap();
    let third = open(3, Some(DiskId(1)));
    assert_eq!(words(&third), "a b c");
    let is_given = folder.path().join("3").join("state").exists();
    assert!(is_given, "what it lacks is in no log");
    assert_eq!(propose(&second, "d"), 4);
    assert_eq!(words(&third), "a b c d");
}
