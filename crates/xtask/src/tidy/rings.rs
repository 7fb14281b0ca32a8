//! The rings: who may depend on whom, and a core without the standard library.
//!
//! The product and the simulator are two hosts of the same inner rings, so nothing that matters for
//! safety may live in a host. That holds as long as the arrows between the crates point inward and
//! the core cannot reach the world.

use super::Finding;
use crate::manifest::{self, Kind};
use crate::tree::Tree;

/// A crate and what it may depend on.
struct Room {
    /// Its folder below `crates/`.
    name: &'static str,
    /// The crates of the workspace that it may depend on. Their own dependencies may be named as
    /// well.
    may_use: &'static [&'static str],
    /// For the core: all other packages that it may depend on. `None` leaves them to review.
    packages: Option<&'static [&'static str]>,
}

/// All crates, from the inside out.
const ROOMS: [Room; 17] = [
    Room { name: "planted", may_use: &[], packages: None },
    // A file format is arithmetic: whoever has a file reads and writes it.
    Room { name: "bolt", may_use: &[], packages: Some(&[]) },
    Room { name: "raft", may_use: &["planted"], packages: Some(&["bytes"]) },
    Room { name: "node", may_use: &["planted", "raft"], packages: Some(&["bytes"]) },
    // A hash is arithmetic: no clock, no chance, no allocation.
    Room {
        name: "mvcc",
        may_use: &["planted", "node", "raft"],
        packages: Some(&["bytes", "xxhash-rust"]),
    },
    Room { name: "check", may_use: &["mvcc", "raft"], packages: Some(&["bytes"]) },
    Room { name: "wal", may_use: &["planted", "raft"], packages: None },
    Room { name: "store", may_use: &["planted", "mvcc", "node", "raft"], packages: None },
    Room { name: "proto", may_use: &[], packages: None },
    Room { name: "client", may_use: &["proto"], packages: None },
    Room { name: "tls", may_use: &[], packages: None },
    Room { name: "host", may_use: &["node", "raft", "tls", "wal"], packages: None },
    Room {
        name: "server",
        may_use: &["bolt", "host", "mvcc", "store", "proto", "node", "raft", "tls", "wal"],
        packages: None,
    },
    Room { name: "sim", may_use: &["check", "raft", "wal", "node", "mvcc"], packages: None },
    Room { name: "cli", may_use: &["server", "proto", "tls"], packages: None },
    Room {
        name: "fuzz",
        may_use: &["bolt", "host", "mvcc", "node", "raft", "server", "wal"],
        packages: None,
    },
    Room {
        name: "xtask",
        may_use: &["check", "mvcc", "planted", "proto", "raft", "store"],
        packages: None,
    },
];

/// What the simulator may not depend on even in its tests: it has to be sure that nothing of a host
/// is needed.
const NEVER_IN_SIM: [&str; 3] = ["host", "server", "proto"];

/// Dependencies point inward, and the core depends on next to nothing. Tests may lean on anything,
/// the simulator's excepted.
pub(super) fn arrows_point_inward(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in tree.crates() {
        let path = format!("crates/{name}/Cargo.toml");
        let mut report = |line, message: String| findings.push(Finding::new(&path, line, message));
        let Some(room) = ROOMS.iter().find(|room| room.name == name) else {
            report(0, "has no room yet: add it to ROOMS in crates/xtask/src/tidy/rings.rs".into());
            continue;
        };
        let manifest = tree.file(&path).expect("the name of the crate was taken from this path");
        let dependencies = match manifest::dependencies(manifest) {
            Ok(dependencies) => dependencies,
            Err(line) => {
                report(
                    line,
                    "write dependencies as lines of [dependencies], to be read by xtask".into(),
                );
                continue;
            }
        };
        for dependency in dependencies {
            let inner = dependency.name.strip_prefix("quorate-");
            let allowed = match (dependency.kind, inner, room.packages) {
                (Kind::Product, Some(inner), _) => room.may_use.contains(&inner),
                (Kind::Product, None, Some(packages)) => {
                    packages.contains(&dependency.name.as_str())
                }
                (Kind::Product, None, None) => true,
                (Kind::Test, Some(inner), _) => name != "sim" || !NEVER_IN_SIM.contains(&inner),
                (Kind::Test, None, _) => true,
            };
            if !allowed {
                report(
                    dependency.line,
                    format!(
                        "{name} may not depend on {}: move what is needed inward, \
                         or take it as an argument or a trait",
                        dependency.name
                    ),
                );
            }
        }
    }
    findings
}

/// The crates of the core declare `no_std`, and do not bring the standard library back.
pub(super) fn the_core_has_no_std(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let core = |path: &str| {
        ROOMS.iter().any(|room| {
            room.packages.is_some() && path.starts_with(&format!("crates/{}/src/", room.name))
        })
    };
    for source in tree.product_sources().filter(|source| core(&source.path)) {
        if source.path.ends_with("/src/lib.rs") && source.find("# ! [ no_std ]").is_empty() {
            let message = "is the root of a crate of the core: put #![no_std] on top";
            findings.push(Finding::new(&source.path, 0, message));
        }
        for at in source.find("extern crate std") {
            let message = "brings the standard library into the core, which has core and alloc, \
                and more in tests only";
            findings.push(Finding::new(&source.path, source.tokens[at].line, message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrow(name: &str, table: &str, dependency: &str) -> usize {
        let manifest = format!("[{table}]\n{dependency}.workspace = true\n");
        let path = format!("crates/{name}/Cargo.toml");
        arrows_point_inward(&Tree::of(&[(&path, &manifest)])).len()
    }

    #[test]
    fn inward_is_fine() {
        assert_eq!(arrow("mvcc", "dependencies", "quorate-node"), 0);
        assert_eq!(arrow("mvcc", "dependencies", "bytes"), 0);
        assert_eq!(arrow("mvcc", "dev-dependencies", "proptest"), 0);
        assert_eq!(arrow("server", "dependencies", "tokio"), 0);
    }

    #[test]
    fn outward_is_found() {
        assert_eq!(arrow("node", "dependencies", "quorate-mvcc"), 1);
        assert_eq!(arrow("raft", "dependencies", "tokio"), 1);
        assert_eq!(arrow("raft", "build-dependencies", "cc"), 1);
        assert_eq!(arrow("sim", "dependencies", "quorate-host"), 1);
        assert_eq!(arrow("sim", "dev-dependencies", "quorate-proto"), 1);
        assert_eq!(arrow("newcomer", "dependencies", "bytes"), 1);
        assert_eq!(arrow("raft", "target.'cfg(unix)'.dependencies", "libc"), 1);
    }

    /// The table itself cannot hold a circle, or allow what it does not list further in.
    #[test]
    fn the_table_points_inward() {
        for (position, room) in ROOMS.iter().enumerate() {
            for used in room.may_use {
                let further_in = ROOMS[..position].iter().any(|inner| inner.name == *used);
                assert!(further_in, "{} may use {used}, which is not further in", room.name);
            }
        }
    }

    #[test]
    fn std_in_the_core_is_found() {
        let findings = |path, text| the_core_has_no_std(&Tree::of(&[(path, text)])).len();
        assert_eq!(findings("crates/raft/src/lib.rs", "#![no_std]\nextern crate alloc;"), 0);
        assert_eq!(
            findings("crates/raft/src/lib.rs", "#![no_std] #[cfg(test)] extern crate std;"),
            0
        );
        assert_eq!(findings("crates/raft/src/lib.rs", "extern crate alloc;"), 1);
        assert_eq!(findings("crates/raft/src/lib.rs", "#![no_std] extern crate std;"), 1);
        assert_eq!(findings("crates/mvcc/src/a.rs", "extern crate std;"), 1);
        assert_eq!(findings("crates/host/src/lib.rs", "fn a() {}"), 0);
    }
}
