//! Comes from etcd and leaves for it: what an etcd has written is imported, served, saved, and served by an etcd again,
//! and at each station everything is asked for and has to be the same.
//!
//! ```text
//!  etcd, one member ──► its data directory ──► quorate import, three times ──► three members
//!                                                                                   │ snapshot save
//!  etcd, one member ◄── etcdctl snapshot restore ◄──────────────────────────────────┤
//!  three members, at a revision that nobody has seen ◄── quorate snapshot restore ◄─┘
//! ```

mod teller;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use crate::checks::cluster::{Cluster, Home, Program, temporary_folder};
use teller::{ROOT, Seen, Teller};

/// How many members of Quorate there are.
const MEMBERS: usize = 3;

/// How far `quorate snapshot restore` moves the revision.
const BUMP: i64 = 1_000_000_000;

/// Runs the check.
pub(crate) fn run() -> io::Result<()> {
    let folder = Folder(temporary_folder(&std::env::temp_dir())?);
    let (etcd, quorate) = (Program::etcd(), Program::quorate()?);
    let runtime = tokio::runtime::Runtime::new()?;
    let seen = |cluster: &Cluster, member| {
        runtime.block_on(async { Teller::of(&cluster.endpoint(member)).await?.tell().await })
    };

    let mut first =
        Cluster::start(etcd.clone(), 1, &["--log-level", "error", "--bcrypt-cost", "4"])?;
    runtime.block_on(teller::fill(&first.endpoint(0)))?;
    let there = seen(&first, 0)?;

    first.terminate(0)?;

    let mut ours = prepared(&quorate)?;
    for member in 0..MEMBERS {
        let from = first.data(0);
        make(&quorate, &["import", "--from", &from.to_string_lossy()], &ours, member)?;
        ours.restart(member)?;
    }
    for member in 0..MEMBERS {
        demand_same("quorate, imported", &seen(&ours, member)?, &there)?;
    }

    let file = folder.0.join("snapshot");
    let name = file.to_string_lossy();
    let endpoint = ours.endpoint(0);
    run_it(&quorate, &["snapshot", "save", &name, "--endpoints", &endpoint, "--user", ROOT])?;
    demand_same_status(&etcd, &quorate, &name)?;

    let mut second = Cluster::prepare(&std::env::temp_dir(), etcd, &[Home::default()], &[])?;
    make(&etcdctl(&second)?, &["snapshot", "restore", &name], &second, 0)?;
    second.restart(0)?;
    demand_same("etcd, restored", &seen(&second, 0)?, &there)?;
    runtime.block_on(async { Teller::of(&second.endpoint(0)).await?.go_on().await })?;
    second.demand_alive()?;

    let mut later = prepared(&quorate)?;
    for member in 0..MEMBERS {
        make(&quorate, &["snapshot", "restore", &name], &later, member)?;
        later.restart(member)?;
    }
    for member in 0..MEMBERS {
        let teller = runtime.block_on(Teller::of(&later.endpoint(member)))?;
        let newest = runtime.block_on(teller.newest())?;
        if newest.revision != there.newest.revision + BUMP || newest.keys != there.newest.keys {
            let revision = newest.revision;
            return Err(io::Error::other(format!(
                "what was restored differs, at revision {revision}"
            )));
        }
    }
    for cluster in [&mut ours, &mut later] {
        cluster.demand_alive()?;
        cluster.demand_no_panic()?;
    }
    println!(
        "come-and-go: {} keys at {} revisions, {} leases, users and roles: the same in etcd, here, and in etcd again",
        there.newest.keys.len(),
        there.newest.revision,
        there.leases.len(),
    );
    Ok(())
}

/// Three members that have no data yet.
fn prepared(quorate: &Program) -> io::Result<Cluster> {
    let homes = vec![Home::default(); MEMBERS];
    Cluster::prepare(&std::env::temp_dir(), quorate.clone(), &homes, &["--log-level", "warn"])
}

/// The etcdctl that came with the etcd of a cluster.
fn etcdctl(cluster: &Cluster) -> io::Result<Program> {
    match cluster.program() {
        Program::Etcd(path) => Ok(Program::Etcd(path.with_file_name("etcdctl"))),
        Program::Quorate(_) => Err(io::Error::other("Quorate has no etcdctl")),
    }
}

/// Lets a command make the data directory of a member.
fn make(program: &Program, command: &[&str], cluster: &Cluster, member: usize) -> io::Result<()> {
    let data = cluster.data(member);
    let parent = data.parent().expect("it is in the folder of the cluster");
    fs::create_dir_all(parent)?;
    let (address, port) = cluster.peer_address(member);
    let (data, all) = (data.to_string_lossy(), cluster.initial_cluster());
    let peer = format!("http://{address}:{port}");
    let new = [
        "--data-dir",
        &data,
        "--name",
        cluster.name(member),
        "--initial-cluster",
        &all,
        "--initial-cluster-token",
        "check",
        "--initial-advertise-peer-urls",
        &peer,
    ];
    run_it(program, &[command, &new].concat()).map(drop)
}

/// Runs a command, and returns what it prints.
fn run_it(program: &Program, arguments: &[&str]) -> io::Result<String> {
    let (Program::Quorate(path) | Program::Etcd(path)) = program;
    let output = Command::new(path)
        .args(arguments)
        .env("ETCDCTL_API", "3")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{} {}: {said}", path.display(), arguments.join(" "))))
}

/// Both programs say the same of a file, and that includes a checksum of all that is in it.
fn demand_same_status(etcd: &Program, quorate: &Program, file: &str) -> io::Result<()> {
    let Program::Etcd(path) = etcd else { return Err(io::Error::other("no etcd")) };
    let etcdctl = Program::Etcd(path.with_file_name("etcdctl"));
    let status = |program, form: &[&str]| -> io::Result<serde_json::Value> {
        let said = run_it(program, &[&["snapshot", "status", file], form].concat())?;
        serde_json::from_str(&said).map_err(io::Error::other)
    };
    let theirs = status(&etcdctl, &["--write-out=json"])?;
    let own = status(quorate, &["--output=json"])?;
    if theirs == own { Ok(()) } else { Err(io::Error::other(format!("{theirs} is not {own}"))) }
}

fn demand_same(what: &str, found: &Seen, expected: &Seen) -> io::Result<()> {
    if found == expected {
        return Ok(());
    }
    let (mut theirs, mut own) = (expected.lines(), found.lines());
    let different = loop {
        match (theirs.next(), own.next()) {
            (None, None) => break "in nothing that is told".to_owned(),
            (theirs, own) if theirs == own => {}
            (theirs, own) => break format!("expected {theirs:?}\nfound    {own:?}"),
        }
    };
    Err(io::Error::other(format!("{what}: it differs: {different}")))
}

/// A folder that goes when it is not needed any more.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let path: &Path = &self.0;
        // In a temporary folder it may stay.
        let _ = fs::remove_dir_all(path);
    }
}
