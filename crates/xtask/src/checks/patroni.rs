//! A database that somebody else keeps available, with Quorate as its store: Patroni with PostgreSQL, by Patroni's own
//! driver for etcd's JSON gateway.
//!
//! Three nodes come to a primary with a synchronous standby, and a writer writes one row after the other. The primary is
//! killed with its Patroni, and comes back; then the leader of Quorate is killed. Somebody is promoted, the writer goes
//! on, and every row whose write was acknowledged is there in the end.

mod install;
mod node;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use serde_json::Value;

use crate::checks::cluster::{Cluster, Program, temporary_folder};
use crate::checks::crash::{leader, wait_for_leader};
use crate::checks::patroni::install::{Programs, must};
use crate::checks::patroni::node::{Node, PASSWORD, TTL};

/// How long anything may take: a first start, a promotion, a return.
const PATIENCE: Duration = Duration::from_secs(180);

/// Rows that are written before and after each fault, at least.
const ROWS: usize = 20;

/// Runs the check; `CHECK_PROGRAM=etcd` runs it on etcd, which checks the check.
pub(crate) fn run() -> io::Result<()> {
    let programs = Programs::find()?;
    let base = temporary_folder(&env::temp_dir())?;
    // Patroni finds its own folder, and sees no others.
    must(Command::new("chmod").arg("711").arg(&base))?;
    let ended = survive(&programs, &base);
    if env::var_os("KEEP").is_none() {
        fs::remove_dir_all(&base)?;
    }
    ended
}

fn survive(programs: &Programs, base: &Path) -> io::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let mut cluster = Cluster::start(Program::subject()?, 3, &["--log-level", "error"])?;
    runtime.block_on(wait_for_leader(&cluster))?;
    let store = cluster.endpoints();
    let store: Vec<String> = store.iter().map(|url| url.replace("http://", "")).collect();

    let mut database = Database::start(programs, base, &store)?;
    let first = database.wait_for("a primary and two standbys", |seen| seen.is_whole())?;
    let first = first.primary;
    database.psql("create table rows (number bigint primary key)")?;
    let writer = Writer::start(database.writer());
    writer.wait_for_more()?;

    let killed = Instant::now();
    database.nodes[first].kill()?;
    let second = database.wait_for("another primary", |seen| seen.primary != first)?.primary;
    let promoted = killed.elapsed();
    writer.wait_for_more()?;
    let written_again = killed.elapsed();
    database.nodes[first].start(programs)?;
    database.wait_for("the killed one as a standby", |seen| seen.is_whole())?;

    let led = runtime.block_on(leader(&cluster));
    let led = led.ok_or_else(|| io::Error::other("nobody leads the store"))?;
    let killed = Instant::now();
    cluster.kill(led)?;
    writer.wait_for_more()?;
    let pause = killed.elapsed();
    // The key of the primary would have ended meanwhile.
    thread::sleep(Duration::from_secs(TTL + 5));
    writer.wait_for_more()?;
    let third = database.wait_for("a primary and two standbys", |seen| seen.is_whole())?.primary;
    cluster.restart(led)?;
    runtime.block_on(wait_for_leader(&cluster))?;

    let acknowledged = writer.end()?;
    let there: BTreeSet<u64> = database
        .psql("select number from rows")?
        .lines()
        .filter_map(|number| number.trim().parse().ok())
        .collect();
    let lost: Vec<&u64> = acknowledged.difference(&there).collect();
    if !lost.is_empty() {
        let (lost, all) = (lost.len(), acknowledged.len());
        return Err(io::Error::other(format!("LOST: {lost} of {all} acknowledged rows")));
    }
    drop(database);
    cluster.demand_alive()?;
    cluster.demand_no_panic()?;
    println!(
        "patroni: primary {} killed, {} promoted after {:.1} s, rows written after {:.1} s; the store's leader killed, \
         {ROWS} rows after {:.1} s, primary {} then; all {} acknowledged rows are there",
        first + 1,
        second + 1,
        promoted.as_secs_f32(),
        written_again.as_secs_f32(),
        pause.as_secs_f32(),
        third + 1,
        acknowledged.len(),
    );
    Ok(())
}

/// The nodes, and how they are reached.
struct Database {
    nodes: Vec<Node>,
    programs: Programs,
}

/// What a Patroni says of all of them.
struct Seen {
    primary: usize,
    /// Those that follow the primary, and those of them that have to have a row before it is acknowledged.
    streaming: usize,
    synchronous: usize,
    nodes: usize,
}

impl Seen {
    /// What the API of a Patroni says, if it knows a primary that runs.
    fn of(answer: &Value) -> Option<Self> {
        let members = answer["members"].as_array()?;
        let is = |member: &&Value, role: &str, state: &str| {
            member["role"] == role && member["state"] == state
        };
        let primary = members.iter().find(|member| is(member, "leader", "running"))?;
        let primary: usize = primary["name"].as_str()?.strip_prefix("node-")?.parse().ok()?;
        let synchronous = members.iter().filter(|m| is(m, "sync_standby", "streaming")).count();
        let others = members.iter().filter(|m| is(m, "replica", "streaming")).count();
        let streaming = synchronous + others;
        Some(Self { primary: primary - 1, streaming, synchronous, nodes: members.len() })
    }

    fn is_whole(&self) -> bool {
        self.nodes == 3 && self.streaming == 2 && self.synchronous >= 1
    }
}

impl Database {
    fn start(programs: &Programs, base: &Path, store: &[String]) -> io::Result<Self> {
        // All are held open until all are known, so that the kernel gives each only once.
        let listeners: Vec<TcpListener> =
            (0..6).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<io::Result<_>>()?;
        let ports: Vec<u16> = listeners
            .iter()
            .map(|listener| listener.local_addr().map(|address| address.port()))
            .collect::<io::Result<_>>()?;
        drop(listeners);
        let mut nodes = Vec::new();
        for (number, ports) in (1..).zip(ports.chunks(2)) {
            let name = format!("node-{number}");
            let mut node = Node::prepare(programs, base, &name, [ports[0], ports[1]], store)?;
            node.start(programs)?;
            nodes.push(node);
        }
        Ok(Self { nodes, programs: programs.clone() })
    }

    /// Waits until the Patronis say so.
    ///
    /// # Errors
    /// If they do not, with the ends of their logs.
    fn wait_for(&self, what: &str, is_there: impl Fn(&Seen) -> bool) -> io::Result<Seen> {
        let patience = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        while Instant::now() < patience {
            said.clear();
            for node in &self.nodes {
                let answer = node.ask("/cluster");
                let seen = answer.as_ref().ok().and_then(Seen::of);
                match seen {
                    Some(seen) if is_there(&seen) => return Ok(seen),
                    _ => said.push(format!("{}: {answer:?}", node.name)),
                }
            }
            thread::sleep(Duration::from_millis(100));
        }
        let logs = self.nodes.iter().map(|node| format!("{}:\n{}", node.name, node.log()));
        said.extend(logs);
        Err(io::Error::other(format!("there is not {what}\n{}", said.join("\n"))))
    }

    /// A command to which a statement is added, and which finds the primary by itself.
    fn writer(&self) -> impl Fn(&str) -> Command + Send + 'static {
        let ports: Vec<String> = self.nodes.iter().map(|node| node.port.to_string()).collect();
        let hosts = vec!["127.0.0.1"; ports.len()].join(",");
        let target = format!(
            "host={hosts} port={} user=postgres dbname=postgres target_session_attrs=read-write \
             connect_timeout=2",
            ports.join(",")
        );
        let (programs, psql) = (self.programs.clone(), self.programs.postgresql.join("psql"));
        move |statement| {
            let mut command = programs.command(&psql);
            command.env("PGPASSWORD", PASSWORD).args(["-X", "-q", "-A", "-t"]);
            command.args(["-v", "ON_ERROR_STOP=1", "-c", statement, &target]);
            command
        }
    }

    fn psql(&self, statement: &str) -> io::Result<String> {
        must(&mut self.writer()(statement))
    }
}

/// Somebody who writes one row after the other, and remembers those that were acknowledged.
struct Writer {
    acknowledged: Arc<Mutex<BTreeSet<u64>>>,
    over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Writer {
    fn start(command: impl Fn(&str) -> Command + Send + 'static) -> Self {
        let (acknowledged, over) = (Arc::<Mutex<BTreeSet<u64>>>::default(), Arc::default());
        let (rows, is_over): (_, Arc<AtomicBool>) = (acknowledged.clone(), Arc::clone(&over));
        let thread = thread::spawn(move || {
            for number in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                // A row whose fate is unknown is left to it: the next one is another one.
                match must(&mut command(&format!("insert into rows values ({number})"))) {
                    Ok(_) => drop(rows.lock().expect("nobody panics with it").insert(number)),
                    Err(_) => thread::sleep(Duration::from_millis(100)),
                }
            }
        });
        Self { acknowledged, over, thread }
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().expect("nobody panics with it").len()
    }

    /// Waits until some more rows are acknowledged.
    fn wait_for_more(&self) -> io::Result<()> {
        let (patience, before) = (Instant::now() + PATIENCE, self.count());
        while self.count() < before + ROWS {
            if Instant::now() > patience {
                return Err(io::Error::other("no rows are written"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn end(self) -> io::Result<BTreeSet<u64>> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| io::Error::other("the writer panicked"))?;
        let rows = self.acknowledged.lock().expect("nobody panics with it").clone();
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_patroni_says_is_understood() {
        let member = |name, role, state| json!({"name": name, "role": role, "state": state});
        let two =
            [member("node-2", "leader", "running"), member("node-1", "sync_standby", "streaming")];
        let seen = Seen::of(&json!({"members": two})).expect("there is a primary");
        assert_eq!((seen.primary, seen.streaming, seen.is_whole()), (1, 1, false));
        let three = [two[0].clone(), two[1].clone(), member("node-3", "replica", "streaming")];
        assert!(Seen::of(&json!({"members": three})).expect("there is a primary").is_whole());
        let starting = [member("node-1", "leader", "starting")];
        assert!(Seen::of(&json!({"members": starting})).is_none());
        assert!(Seen::of(&json!({"members": []})).is_none());
    }
}
