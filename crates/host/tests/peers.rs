//! Wrong neighbours: clusters that are not meant to meet, addresses that lead elsewhere, and noise on
//! the peer port. Each is refused with the reason on both sides, and disturbs nobody.

mod common;

use std::io::Write;
use std::net::TcpStream;

use common::{CLUSTER_ID, Cluster, texts, wait_until};
use quorate_host::{HostEvent, PeerError};
use quorate_raft::NodeId;

/// How often a member told this.
fn told(cluster: &Cluster, index: usize, event: &HostEvent) -> usize {
    let events = cluster.members[index].events.lock().unwrap();
    events.iter().filter(|told| *told == event).count()
}

#[test]
fn a_member_of_another_cluster_is_refused_on_both_sides_and_told_once() {
    let mut cluster = Cluster::prepare(3);
    for index in 0..2 {
        cluster.start_member(index).unwrap();
    }
    let mut config = cluster.config(2);
    config.cluster_id = 0x99;
    cluster.start_with(2, config).unwrap();

    let (ours, theirs) = (CLUSTER_ID, 0x99);
    let error = PeerError::Cluster { theirs, ours };
    let refused = HostEvent::Refused { peer: Some(NodeId(3)), error: error.clone() };
    let lost = HostEvent::PeerLost { peer: NodeId(3), error };
    let error = PeerError::Cluster { theirs: ours, ours: theirs };
    let lost_there = HostEvent::PeerLost { peer: NodeId(1), error };
    wait_until("both sides tell", || {
        told(&cluster, 0, &refused) > 0
            && told(&cluster, 0, &lost) > 0
            && told(&cluster, 2, &lost_there) > 0
    });
    for count in 0..5 {
        cluster.propose(0, &format!("{count}"));
    }
    wait_until("the stranger tried again", || cluster.handle(0).metrics().malformed.get() > 3);
    assert_eq!(told(&cluster, 0, &refused), 1);
    assert_eq!(told(&cluster, 0, &lost), 1);
    assert_eq!(texts(&cluster.read(1)), ["0", "1", "2", "3", "4"]);
    assert_eq!(cluster.state(2).len(), 0);
    assert_eq!(cluster.handle(2).status().leader, None);
    cluster.assert_healthy();
}

#[test]
fn an_address_that_leads_to_another_member_is_told_and_another_address_is_tried() {
    let mut cluster = Cluster::prepare(3);
    for index in 1..3 {
        cluster.start_member(index).unwrap();
    }
    let mut config = cluster.config(0);
    let (second, third) = (NodeId(2), NodeId(3));
    let wrong = config.peers[&third][0].clone();
    config.peers.get_mut(&second).expect("it is a peer").insert(0, wrong);
    cluster.start_with(0, config).unwrap();
    let error = PeerError::Target { meant: second, found: third };
    let lost = HostEvent::PeerLost { peer: second, error };
    let connected = HostEvent::PeerConnected { peer: second };
    wait_until("the mistake is told", || told(&cluster, 0, &lost) > 0);
    wait_until("the right address is found", || told(&cluster, 0, &connected) > 0);
    cluster.propose(0, "a");
    assert_eq!(texts(&cluster.read(1)), ["a"]);
    cluster.assert_healthy();
}

#[test]
fn noise_on_the_peer_port_disturbs_nobody() {
    let cluster = Cluster::start(3);
    cluster.propose(0, "a");
    let noise: Vec<u8> =
        (0..20_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for length in [0, 1, 48, 49, 50, 20_000] {
        for member in &cluster.members {
            let mut socket = TcpStream::connect(&member.address).unwrap();
            // The member may hang up while this is still being written.
            let _ = socket.write_all(&noise[..length]);
        }
    }
    wait_until("the noise is counted", || {
        (0..3).all(|index| cluster.handle(index).metrics().malformed.get() >= 3)
    });
    for index in 0..3 {
        cluster.propose(index, "b");
    }
    assert_eq!(texts(&cluster.read(2)), ["a", "b", "b", "b"]);
    cluster.assert_healthy();
}
