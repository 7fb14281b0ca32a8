//! Which version the server says it is.
//!
//! Clients decide by the version of etcd what they may ask. kube-apiserver does not request watch
//! progress from a server older than 3.5.13, for example, and the Go client refuses one that is two
//! minor versions behind it. So the answer on the wire is the etcd version whose behaviour is
//! implemented; Quorate's own version is in the metrics, in the log and in `--version`.

/// The etcd version whose behaviour this server has.
pub(crate) const ETCD: &str = "3.6.14";

/// The version of the cluster as etcd's members would agree on it, and of the stored data.
pub(crate) const CLUSTER: &str = "3.6.0";

/// Quorate's own version.
pub(crate) const QUORATE: &str = env!("CARGO_PKG_VERSION");

/// The text for `--version`. Tools look for the line of etcd.
pub(crate) fn text() -> String {
    format!("etcd Version: {ETCD}\nQuorate Version: {QUORATE}\n")
}
