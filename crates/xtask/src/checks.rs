//! The longer checks: real processes, real disks and sockets, and clients and servers that nobody
//! here wrote. Each is a chore of its own, run by `.ci/run`; none belongs to `cargo test`.

pub(crate) mod abuse;
pub(crate) mod blackbox;
pub(crate) mod capsule;
pub(crate) mod client;
pub(crate) mod cluster;
pub(crate) mod come_and_go;
pub(crate) mod compare;
pub(crate) mod conformance;
pub(crate) mod crash;
pub(crate) mod crash_points;
pub(crate) mod damage;
pub(crate) mod dice;
pub(crate) mod differential;
pub(crate) mod etcdctl;
pub(crate) mod failover;
pub(crate) mod foreign;
pub(crate) mod full_disk;
pub(crate) mod gap;
pub(crate) mod handover;
pub(crate) mod kube;
pub(crate) mod lan;
pub(crate) mod links;
pub(crate) mod members;
pub(crate) mod misuse;
pub(crate) mod options;
pub(crate) mod packages;
pub(crate) mod partition;
pub(crate) mod patroni;
pub(crate) mod power_cut;
pub(crate) mod relay;
pub(crate) mod sizes;
pub(crate) mod small_disk;
pub(crate) mod stall;
pub(crate) mod verdict;
