//! Members that share a secret: they hear each other and nobody else, and whoever is not heard harms nobody.

mod common;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use common::{Cluster, run, texts, wait_until};
use quorate_host::{
    Authenticated, HostConfig, HostEvent, PeerError, PlainWithin, Secret, Secrets, Tcp,
};
use quorate_raft::NodeId;

fn with_secret(mut config: HostConfig, first: u8) -> HostConfig {
    let bytes: Vec<u8> = (0..40).map(|n| n + first).collect();
    let secret = Secret::new(&bytes).expect("a good one");
    config.transport = Arc::new(Authenticated::new(Arc::new(Secrets::fixed(secret, []))));
    config
}

fn start(cluster: &mut Cluster, index: usize, secret: u8) {
    let config = with_secret(cluster.config(index), secret);
    cluster.start_with(index, config).expect("it starts");
}

/// Whether a member told that it refused somebody for such a reason.
fn refused(cluster: &Cluster, index: usize, why: impl Fn(&PeerError) -> bool) -> bool {
    let events = cluster.members[index].events.lock().unwrap();
    events.iter().any(|event| matches!(event, HostEvent::Refused { error, .. } if why(error)))
}

/// Whether a member told that it has no connection to a peer for such a reason.
fn lost(cluster: &Cluster, index: usize, of: u64, why: impl Fn(&PeerError) -> bool) -> bool {
    let events = cluster.members[index].events.lock().unwrap();
    let is_it = |event: &HostEvent| matches!(event, HostEvent::PeerLost { peer, error } if *peer == NodeId(of) && why(error));
    events.iter().any(is_it)
}

fn is_unauthentic(error: &PeerError) -> bool {
    matches!(error, PeerError::Unauthentic(_))
}

#[test]
fn members_with_a_secret_elect_write_and_take_back_one_that_was_killed() {
    let mut cluster = Cluster::prepare(3);
    (0..3).for_each(|index| start(&mut cluster, index, 1));
    cluster.propose(0, "a");
    let leader = cluster.leader();
    cluster.kill(leader);
    let others: Vec<usize> = (0..3).filter(|index| *index != leader).collect();
    cluster.propose(others[0], "b");
    start(&mut cluster, leader, 1);
    wait_until("it has what it missed", || texts(&cluster.state(leader)) == ["a", "b"]);
    cluster.propose(leader, "c");
    assert_eq!(texts(&cluster.read(others[1])), ["a", "b", "c"]);
    for index in 0..3 {
        assert_eq!(cluster.handle(index).metrics().unauthenticated.get(), 0);
        assert_eq!(cluster.handle(index).metrics().malformed.get(), 0);
    }
    cluster.assert_healthy();
}

#[test]
fn a_member_with_another_secret_is_not_heard_and_harms_nobody() {
    let mut cluster = Cluster::prepare(3);
    (0..2).for_each(|index| start(&mut cluster, index, 1));
    start(&mut cluster, 2, 2);
    wait_until("both sides tell", || {
        refused(&cluster, 0, is_unauthentic)
            && lost(&cluster, 0, 3, is_unauthentic)
            && lost(&cluster, 2, 1, is_unauthentic)
    });
    cluster.propose(0, "a");
    assert_eq!(texts(&cluster.read(1)), ["a"]);
    assert_eq!(cluster.state(2).len(), 0);
    assert_eq!(cluster.handle(2).status().leader, None);
    assert_ne!(cluster.handle(0).metrics().unauthenticated.get(), 0);

    cluster.kill(2);
    start(&mut cluster, 2, 1);
    wait_until("with the right one it is heard", || texts(&cluster.state(2)) == ["a"]);
    cluster.assert_healthy();
}

/// No member falls back on what another one speaks, whichever of them has the secret.
#[test]
fn members_with_a_secret_and_plain_ones_do_not_hear_each_other() {
    for is_odd_one_plain in [true, false] {
        let mut cluster = Cluster::prepare(3);
        for index in 0..3 {
            let config = cluster.config(index);
            let is_plain = (index == 2) == is_odd_one_plain;
            let config = if is_plain { config } else { with_secret(config, 1) };
            cluster.start_with(index, config).expect("it starts");
        }
        let differs = |error: &PeerError| matches!(error, PeerError::Protection { .. });
        wait_until("both sides tell", || {
            refused(&cluster, 0, differs) && refused(&cluster, 2, differs)
        });
        cluster.propose(0, "a");
        assert_eq!(texts(&cluster.read(1)), ["a"]);
        assert_eq!(cluster.state(2).len(), 0);
        assert_eq!(cluster.handle(2).status().leader, None);
        cluster.assert_healthy();
    }
}

/// Somebody on the way flips a bit now and then: what was said arrives as it was said, or not at all.
#[test]
fn what_is_changed_on_the_way_is_counted_and_never_believed() {
    let mut cluster = Cluster::prepare(3);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let between = listener.local_addr().expect("bound").to_string();
    let target = cluster.members[1].address.clone();
    thread::spawn(move || {
        // Ends with the process.
        for mut from in listener.incoming().flatten() {
            let Ok(mut to) = TcpStream::connect(&target) else { continue };
            let (Ok(mut back_from), Ok(mut back_to)) = (to.try_clone(), from.try_clone()) else {
                continue;
            };
            thread::spawn(move || std::io::copy(&mut back_from, &mut back_to));
            thread::spawn(move || {
                let (mut piece, mut passed) = ([0; 4096], 0);
                while let Ok(count @ 1..) = from.read(&mut piece) {
                    // The exchange passes, and a few records.
                    passed += count;
                    if passed > 2_000 {
                        piece[count / 2] ^= 4;
                    }
                    if to.write_all(&piece[..count]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    for index in 0..3 {
        let mut config = with_secret(cluster.config(index), 1);
        if index == 0 {
            config.peers.insert(NodeId(2), vec![between.clone()]);
        }
        cluster.start_with(index, config).expect("it starts");
    }
    // Followers have little to say to each other: the way is that of a leader.
    wait_until("the first one leads", || {
        let leader = cluster.leader();
        leader == 0 || run(cluster.handle(leader).transfer_leadership(Some(NodeId(1)))).is_ok()
    });
    let said: Vec<String> = (0..20).map(|number| format!("{number}")).collect();
    for command in &said {
        cluster.propose(0, command);
    }
    wait_until("it is counted", || cluster.handle(1).metrics().unauthenticated.get() > 2);
    assert!(refused(&cluster, 1, is_unauthentic));
    assert_eq!(cluster.handle(1).metrics().malformed.get(), 0, "no parser has seen it");
    wait_until("all are told in the end", || texts(&cluster.state(1)).len() >= said.len());
    assert_eq!(texts(&cluster.state(1)), texts(&cluster.read(0)));
    cluster.assert_healthy();
}

#[test]
fn members_that_look_whom_they_speak_with_speak_on_this_machine() {
    let mut cluster = Cluster::prepare(3);
    for index in 0..3 {
        let mut config = cluster.config(index);
        // They understand each other: it is the same on the wire.
        config.transport =
            if index == 0 { Arc::new(Tcp) } else { Arc::new(PlainWithin::default()) };
        cluster.start_with(index, config).expect("it starts");
    }
    cluster.propose(0, "a");
    assert_eq!(texts(&cluster.read(2)), ["a"]);
    cluster.assert_healthy();
}
