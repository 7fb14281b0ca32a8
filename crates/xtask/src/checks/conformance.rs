//! Clients that nobody here wrote, against etcd and against Quorate: each runs its cases in both, and what comes of a
//! case has to be the same.
//!
//! The programs of the clients in other languages are in `foreign/clients`, and print a line for each case. They run
//! against three members with plain connections, with TLS, and with TLS and users and rights. What they are made of is
//! installed below `target/conformance`. The sessions of etcdctl ([`etcdctl`]) and the Rust crate `etcd-client`
//! ([`foreign`]) follow.

mod pki;
mod tools;

use std::io;
use std::path::Path;

use serde_json::Value;

use crate::checks::cluster::{Cluster, Program, temporary_folder};
use crate::checks::{etcdctl, foreign};
use pki::Pki;
use tools::{CLIENTS, Client, SWITCH_RIGHTS_ON, Tools};

/// How many members each cluster has.
const MEMBERS: usize = 3;

/// The text of a maintenance call without a token, which these clients do not send with it.
const OF_ANY_CALL: &str =
    "the error has the code and the text of other calls, as in later versions of etcd";

/// What differs because it is meant to: the client, the case, whether with rights only, and why.
const MEANT: [(&str, &str, bool, &str); 4] = [
    (
        "python_etcd3gw",
        "a_key_that_is_no_base64",
        false,
        "the error says at which place of the JSON text it is, and not of the base64",
    ),
    ("python_etcd3gw", "a_path_that_there_is_not", false, "the answer is JSON, as all others are"),
    ("python_etcd3", "hash", true, OF_ANY_CALL),
    ("node_etcd3", "a_snapshot", true, OF_ANY_CALL),
];

/// How clients and members meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Plain,
    Tls,
    /// With TLS, and rights are checked: the Python client sends no token in clear.
    Auth,
}

/// Who clients log in as, and the password.
const ROOT: (&str, &str) = ("root", "a-password");

/// How many cases were the same, were not, and could not be run.
#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
}

/// What came of the cases of a client, in their order.
type Outcomes = Vec<(String, Value)>;

/// Runs the check.
pub(crate) fn run() -> io::Result<()> {
    let mut tally = Tally::default();
    let tools = Tools::install()?;
    let quorate = Program::quorate()?;
    for mode in [Mode::Plain, Mode::Tls, Mode::Auth] {
        let theirs = outcomes(Program::etcd(), mode, &tools)?;
        let ours = outcomes(quorate.clone(), mode, &tools)?;
        for ((client, theirs), (_, ours)) in theirs.iter().zip(&ours) {
            let before = (tally.passed, tally.failed);
            tally.compare(client.name, mode, theirs, ours);
            let (same, other) = (tally.passed - before.0, tally.failed - before.1);
            println!("{} {mode:?}: {same} cases as with etcd, {other} not", client.name);
        }
    }
    tally.skipped += 1;
    println!("python_etcd3gw {:?} is skipped: this client can't log in", Mode::Auth);
    for (client, case, _, why) in MEANT {
        println!("{client} {case} differs: {why}");
    }
    let (same, different) = etcdctl::compare()?;
    tally.passed += same;
    tally.failed += different;
    match foreign::run() {
        Ok(()) => tally.passed += 1,
        Err(error) => {
            println!("etcd-client: {error}");
            tally.failed += 1;
        }
    }
    let Tally { passed, failed, skipped } = tally;
    println!("conformance: {passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { Ok(()) } else { Err(io::Error::other("a client can tell the difference")) }
}

impl Tally {
    /// Counts the cases of a client, and prints those that differ.
    fn compare(&mut self, client: &str, mode: Mode, theirs: &Outcomes, ours: &Outcomes) {
        let there = theirs.len().max(ours.len());
        for position in 0..there {
            let (their, our) = (theirs.get(position), ours.get(position));
            let case = their.or(our).map_or("", |(case, _)| case);
            let is_meant = MEANT.iter().any(|(of, name, with_rights, _)| {
                *of == client && *name == case && (mode == Mode::Auth || !with_rights)
            });
            if their == our || (is_meant && our.is_some()) {
                self.passed += 1;
            } else {
                self.failed += 1;
                println!("{client} {mode:?} {case}\n--- etcd\n{their:?}\n--- quorate\n{our:?}\n");
            }
        }
    }
}

/// Runs all clients against a cluster of this program.
fn outcomes(
    program: Program,
    mode: Mode,
    tools: &Tools,
) -> io::Result<Vec<(&'static Client, Outcomes)>> {
    let folder = Folder(temporary_folder(&std::env::temp_dir())?);
    let pki = Pki::make(&folder.0)?;
    let (certificate, key) = (pki.certificate.to_string_lossy(), pki.key.to_string_lossy());
    let mut flags = vec!["--log-level", "error"];
    if mode != Mode::Plain {
        flags.extend(["--cert-file", &certificate, "--key-file", &key]);
    }
    let mut cluster = Cluster::start(program, MEMBERS, &flags)?;
    // One member for all: another one may be behind with rights that were just changed, as with etcd.
    let endpoint = cluster.endpoint(0);
    let host = endpoint.split("//").nth(1).expect("a URL has a host");
    let start = |client: &Client| {
        let mut command = client.command(tools);
        command.arg(host);
        if mode != Mode::Plain {
            command.env("CONFORMANCE_CA", &pki.authority);
        }
        command
    };
    if mode == Mode::Auth {
        let mut command = start(&SWITCH_RIGHTS_ON);
        command.env("CONFORMANCE_ROOT", ROOT.0).env("CONFORMANCE_ROOT_PASSWORD", ROOT.1);
        SWITCH_RIGHTS_ON.run(command)?;
    }
    let mut all = Vec::new();
    for client in CLIENTS.iter().filter(|client| client.logs_in || mode != Mode::Auth) {
        let mut command = start(client);
        if mode == Mode::Auth {
            command.env("CONFORMANCE_USER", ROOT.0).env("CONFORMANCE_PASSWORD", ROOT.1);
        }
        all.push((client, client.run(command)?));
    }
    cluster.demand_alive()?;
    Ok(all)
}

/// A folder that goes with this.
struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left lies in the system's temporary folder.
        let _ = std::fs::remove_dir_all(Path::new(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tally(client: &str, theirs: &[(&str, i64)], ours: &[(&str, i64)]) -> (usize, usize) {
        let outcomes = |of: &[(&str, i64)]| -> Outcomes {
            of.iter().map(|(case, outcome)| ((*case).to_owned(), json!(outcome))).collect()
        };
        let mut tally = Tally::default();
        tally.compare(client, Mode::Plain, &outcomes(theirs), &outcomes(ours));
        (tally.passed, tally.failed)
    }

    #[test]
    fn a_case_passes_if_its_outcome_is_that_of_etcd() {
        assert_eq!(tally("any", &[("a", 1), ("b", 2)], &[("a", 1), ("b", 2)]), (2, 0));
        assert_eq!(tally("any", &[("a", 1), ("b", 2)], &[("a", 1), ("b", 3)]), (1, 1));
        let (client, case, ..) = MEANT[0];
        assert_eq!(tally(client, &[(case, 1)], &[(case, 2)]), (1, 0), "it is meant");
        assert_eq!(tally("any", &[(case, 1)], &[(case, 2)]), (0, 1), "of that client only");
    }

    #[test]
    fn a_case_that_is_missing_fails() {
        assert_eq!(tally("any", &[("a", 1), ("b", 2)], &[("a", 1)]), (1, 1));
        assert_eq!(tally("any", &[("a", 1)], &[("a", 1), ("b", 2)]), (1, 1));
        let (client, case, ..) = MEANT[0];
        assert_eq!(tally(client, &[(case, 1)], &[]), (0, 1), "also one that may differ");
    }
}
