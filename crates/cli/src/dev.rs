//! `quorate dev`: a whole cluster on this machine, each member a process of its own, and one screen
//! that shows what happens to it.
//!
//! The members are ordinary ones; this program only starts them, asks them how they are, and starts
//! again those that end. Their addresses are part of who they are, so they are chosen once and kept
//! beside the data.

use std::fs::{self, File};
use std::io::{self, IsTerminal as _, Write as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use serde_json::{Value, json};

use crate::cluster::{aligned, ask};
use crate::connect::Connection;

/// Tells a member that it belongs to a development cluster, and must not outlive it.
const CHILD_VARIABLE: &str = "QUORATE_DEV_MEMBER";
/// The first port that is tried for clients; members take two each.
const FIRST_PORT: u16 = 2379;
/// How long a member that ended stays down, so that one can watch the others.
const REST: Duration = Duration::from_secs(5);
/// How long members may take to end in an orderly way.
const PATIENCE: Duration = Duration::from_secs(10);

/// Run a whole cluster on this machine, to try things on.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many members.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=9))]
    members: Option<u16>,
    /// Where the data lies; started again, the cluster goes on from there.
    #[arg(long, default_value = "quorate-dev")]
    data: PathBuf,
    /// Remove the data first.
    #[arg(long)]
    fresh: bool,
}

/// A member and its process.
#[derive(Debug)]
struct Member {
    name: String,
    client_port: u16,
    peer_port: u16,
    process: Option<Child>,
    /// When it ended, if it did.
    ended: Option<Instant>,
    client: Connection,
}

impl Member {
    fn client_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.client_port)
    }

    fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer_port)
    }
}

/// Ends this process when the program that started it does, if that is a development cluster: a
/// terminal that is closed must not leave members behind.
pub(crate) fn end_with_parent() {
    if std::env::var_os(CHILD_VARIABLE).is_some() {
        // Without the promise the member is still a good one, so a refusal changes nothing.
        let _ = set_parent_process_death_signal(Some(Signal::TERM));
    }
}

/// Runs the cluster until it is interrupted.
pub(crate) fn run(options: Options) -> ExitCode {
    // Members are tied to the thread that starts them, so everything happens on this one.
    let result = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| runtime.block_on(supervise(&options)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quorate dev: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn supervise(options: &Options) -> io::Result<()> {
    let folder = &options.data;
    if options.fresh {
        remove(folder)?;
    }
    fs::create_dir_all(folder).map_err(|error| at(folder, &error))?;
    let lock = File::create(folder.join("lock")).map_err(|error| at(folder, &error))?;
    if lock.try_lock().is_err() {
        let why = format!("{} belongs to a cluster that runs already", folder.display());
        return Err(io::Error::other(why));
    }
    let mut members = members(folder, options.members)?;
    let initial: Vec<String> =
        members.iter().map(|member| format!("{}={}", member.name, member.peer_url())).collect();
    let initial = initial.join(",");
    for member in &mut members {
        start(member, folder, &initial)?;
    }
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut screen = Screen { introduced: false, last: Vec::new(), lines: 0 };
    let result = loop {
        let rows = survey(&mut members).await;
        screen.show(&members, rows, folder);
        tokio::select! {
            _ = interrupt.recv() => break Ok(()),
            _ = terminate.recv() => break Ok(()),
            () = tokio::time::sleep(Duration::from_millis(300)) => {}
        }
        if let Err(error) = revive(&mut members, folder, &initial, screen.introduced) {
            break Err(error);
        }
    };
    println!("\nstopping");
    stop(&mut members).await;
    result
}

/// The members as they were, or new ones.
fn members(folder: &Path, count: Option<u16>) -> io::Result<Vec<Member>> {
    let path = folder.join("ports.json");
    let ports: Vec<(u16, u16)> = match fs::read(&path) {
        Ok(text) => {
            let ports = parse_ports(&text).ok_or_else(|| {
                io::Error::other(format!("{}: not what this program wrote", path.display()))
            })?;
            if count.is_some_and(|count| usize::from(count) != ports.len()) {
                return Err(io::Error::other(format!(
                    "{} holds a cluster of {} members; --fresh removes it, --data names another",
                    folder.display(),
                    ports.len(),
                )));
            }
            ports
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let ports = choose_ports(count.unwrap_or(3))?;
            fs::write(&path, json!(ports).to_string()).map_err(|error| at(&path, &error))?;
            ports
        }
        Err(error) => return Err(at(&path, &error)),
    };
    let member = |(number, (client_port, peer_port)): (usize, (u16, u16))| {
        for port in [client_port, peer_port] {
            TcpListener::bind(("127.0.0.1", port)).map_err(|error| {
                let why = format!(
                    "port {port}, which this cluster had before: {error}; --fresh begins anew"
                );
                io::Error::new(error.kind(), why)
            })?;
        }
        let options = format!("127.0.0.1:{client_port}");
        Ok(Member {
            name: format!("m{}", number + 1),
            client_port,
            peer_port,
            process: None,
            ended: None,
            client: Connection::to(&options, Duration::from_millis(250)),
        })
    };
    ports.into_iter().enumerate().map(member).collect()
}

fn parse_ports(text: &[u8]) -> Option<Vec<(u16, u16)>> {
    let value: Value = serde_json::from_slice(text).ok()?;
    let port = |value: &Value| value.as_u64().and_then(|port| u16::try_from(port).ok());
    let pairs = value.as_array()?.iter().map(|pair| match pair.as_array()?.as_slice() {
        [client, peer] => Some((port(client)?, port(peer)?)),
        _ => None,
    });
    pairs.collect::<Option<Vec<_>>>().filter(|pairs| !pairs.is_empty())
}

/// Two free ports for each member: those that etcd's users expect where they are free, others where
/// they are not.
fn choose_ports(count: u16) -> io::Result<Vec<(u16, u16)>> {
    let mut held = Vec::new();
    let mut next = FIRST_PORT;
    let mut port = || -> io::Result<u16> {
        let listener = loop {
            match TcpListener::bind(("127.0.0.1", next)) {
                Ok(listener) => break listener,
                Err(_) if next < FIRST_PORT + 100 => next += 1,
                Err(_) => break TcpListener::bind(("127.0.0.1", 0))?,
            }
        };
        next = next.saturating_add(1);
        let port = listener.local_addr()?.port();
        held.push(listener);
        Ok(port)
    };
    (0..count).map(|_| Ok((port()?, port()?))).collect()
}

fn start(member: &mut Member, folder: &Path, initial: &str) -> io::Result<()> {
    let own = folder.join(&member.name);
    fs::create_dir_all(&own).map_err(|error| at(&own, &error))?;
    let log_path = own.join("log");
    let log = File::options().create(true).append(true).open(&log_path);
    let log = log.map_err(|error| at(&log_path, &error))?;
    let process = Command::new(std::env::current_exe()?)
        .arg("server")
        .args(["--name", &member.name])
        .args(["--data-dir", &own.join("data").to_string_lossy()])
        .args(["--listen-client-urls", &member.client_url()])
        .args(["--advertise-client-urls", &member.client_url()])
        .args(["--listen-peer-urls", &member.peer_url()])
        .args(["--initial-advertise-peer-urls", &member.peer_url()])
        .args(["--initial-cluster", initial])
        .args(["--initial-cluster-token", "quorate-dev", "--initial-cluster-state", "new"])
        .env(CHILD_VARIABLE, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        // Ctrl-C in the terminal is for this program, which then stops the members in order.
        .process_group(0)
        .spawn()?;
    member.process = Some(process);
    member.ended = None;
    Ok(())
}

/// Starts members again that have been down for a while. One that ends before the cluster ever
/// worked has a reason that starting it again does not mend.
fn revive(members: &mut [Member], folder: &Path, initial: &str, worked: bool) -> io::Result<()> {
    for member in members {
        if member.ended.is_none() {
            continue;
        }
        if !worked {
            let path = folder.join(&member.name).join("log");
            let log = fs::read_to_string(&path).unwrap_or_default();
            let last = log.lines().last().unwrap_or("it wrote nothing");
            return Err(io::Error::other(format!(
                "member {} does not start: {last}\n(its whole log: {})",
                member.name,
                path.display(),
            )));
        }
        if member.ended.is_some_and(|ended| ended.elapsed() >= REST) {
            start(member, folder, initial)?;
        }
    }
    Ok(())
}

/// What the screen shows of each member.
async fn survey(members: &mut [Member]) -> Vec<[String; 6]> {
    let mut rows = Vec::with_capacity(members.len());
    for member in members {
        if let Some(process) = &mut member.process
            && let Ok(Some(_)) = process.try_wait()
        {
            member.process = None;
            member.ended = Some(Instant::now());
        }
        let pid =
            member.process.as_ref().map_or("-".to_owned(), |process| process.id().to_string());
        let said = match &member.process {
            Some(_) => ask(&member.client).await.ok(),
            None => None,
        };
        let state = match (&said, member.ended) {
            (Some(said), _) => said.role().to_owned(),
            (None, Some(_)) => format!("down, back in {} s", REST.as_secs()),
            (None, None) => "starting".to_owned(),
        };
        let number = |number: Option<u64>| number.map_or("-".to_owned(), |n| n.to_string());
        rows.push([
            member.name.clone(),
            state,
            pid,
            member.client_url(),
            number(said.as_ref().map(|said| said.status.raft_term)),
            number(said.as_ref().map(|said| said.status.raft_applied_index)),
        ]);
    }
    rows
}

/// The one screen: drawn over and over on a terminal, and only when something changed elsewhere.
#[derive(Debug)]
struct Screen {
    /// Whether the cluster has worked, and its use was explained.
    introduced: bool,
    last: Vec<[String; 6]>,
    /// How many lines the last picture took.
    lines: usize,
}

impl Screen {
    fn show(&mut self, members: &[Member], rows: Vec<[String; 6]>, folder: &Path) {
        let leads = rows.iter().any(|row| row[1] == "leader");
        let terminal = io::stdout().is_terminal();
        if !self.introduced && leads {
            self.introduced = true;
            self.lines = 0;
            introduce(members, folder);
        }
        let same = |row: &[String; 6], last: &[String; 6]| row[..4] == last[..4];
        let changed = rows.len() != self.last.len()
            || !rows.iter().zip(&self.last).all(|(row, last)| same(row, last));
        if !self.introduced || !(terminal || changed) {
            self.last = rows;
            return;
        }
        let mut table =
            vec![["MEMBER", "STATE", "PID", "CLIENTS", "TERM", "APPLIED"].map(str::to_owned)];
        table.extend(rows.iter().cloned());
        let lines = aligned(&table);
        let mut picture = String::new();
        if terminal && self.lines > 0 {
            // Up to where the last picture began, and clear from there on.
            picture.push_str(&format!("\x1b[{}A\x1b[J", self.lines));
        }
        for line in &lines {
            picture.push_str(line);
            picture.push('\n');
        }
        if !terminal {
            picture.push('\n');
        }
        self.lines = lines.len();
        self.last = rows;
        let mut out = io::stdout().lock();
        // Nobody looks any more: the members go on.
        let _ = out.write_all(picture.as_bytes()).and_then(|()| out.flush());
    }
}

fn introduce(members: &[Member], folder: &Path) {
    let endpoints: Vec<String> =
        members.iter().map(|member| format!("127.0.0.1:{}", member.client_port)).collect();
    let endpoints = endpoints.join(",");
    println!(
        "A cluster of {} is running; its data is in {}. Ctrl-C stops it; started again, it goes on from there.\n\n  \
         export QUORATE_ENDPOINTS={endpoints}\n  \
         quorate put greeting hello\n  \
         quorate get greeting\n  \
         etcdctl --endpoints={endpoints} get greeting\n\n\
         Kill a member and watch the others take over: kill -9 PID. It comes back {} s later.\n",
        match members.len() {
            1 => "one member".to_owned(),
            count => format!("{count} members"),
        },
        folder.display(),
        REST.as_secs(),
    );
}

async fn stop(members: &mut [Member]) {
    for process in members.iter().filter_map(|member| member.process.as_ref()) {
        if let Some(pid) = i32::try_from(process.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself just now.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
    let patience = Instant::now() + PATIENCE;
    for member in members {
        let Some(mut process) = member.process.take() else { continue };
        while matches!(process.try_wait(), Ok(None)) {
            if Instant::now() > patience {
                eprintln!("quorate dev: {} does not end, and is killed", member.name);
                let _ = process.kill();
                let _ = process.wait();
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Removes the data of a development cluster, and refuses to remove anything else.
fn remove(folder: &Path) -> io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    let empty = fs::read_dir(folder).map_err(|error| at(folder, &error))?.next().is_none();
    if !empty && !folder.join("ports.json").exists() {
        let why = format!("{} is not the folder of a development cluster", folder.display());
        return Err(io::Error::other(why));
    }
    fs::remove_dir_all(folder).map_err(|error| at(folder, &error))
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_ports_are_apart_and_survive_the_file() {
        let ports = choose_ports(3).expect("the kernel has free ports");
        let mut all: Vec<u16> = ports.iter().flat_map(|&(a, b)| [a, b]).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 6);
        assert_eq!(parse_ports(json!(ports).to_string().as_bytes()), Some(ports));
        for text in ["", "[]", "[[1]]", "[[1,70000]]", "{}"] {
            assert_eq!(parse_ports(text.as_bytes()), None, "{text}");
        }
    }
}
