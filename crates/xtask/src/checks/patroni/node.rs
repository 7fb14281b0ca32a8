//! A Patroni with its PostgreSQL: what it is told, how it is started, killed and asked.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use serde_json::{Value, json};

use crate::checks::cluster::signal;
use crate::checks::patroni::install::Programs;

/// The leader's key lives so long, in seconds. Patroni takes no less.
pub(super) const TTL: u64 = 20;

/// The password of everybody in this check.
pub(super) const PASSWORD: &str = "of-a-check";

/// One of the nodes.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    folder: PathBuf,
    /// Where its API listens, and where PostgreSQL does.
    rest: u16,
    pub(super) port: u16,
    process: Option<Child>,
}

impl Node {
    /// Writes what a node is told, below a folder that is given to the user as whom it runs. `store` has hosts and
    /// ports.
    pub(super) fn prepare(
        programs: &Programs,
        base: &Path,
        name: &str,
        [rest, port]: [u16; 2],
        store: &[String],
    ) -> io::Result<Self> {
        let folder = base.join(name);
        fs::create_dir_all(&folder)?;
        let at = |port: u16| format!("127.0.0.1:{port}");
        let user = |name: &str| json!({ "username": name, "password": PASSWORD });
        // JSON is YAML too.
        let told = json!({
            "scope": "check",
            "name": name,
            "restapi": { "listen": at(rest), "connect_address": at(rest) },
            "etcd3": { "hosts": store },
            "bootstrap": {
                "dcs": {
                    "ttl": TTL, "loop_wait": 2, "retry_timeout": 5,
                    "synchronous_mode": true,
                    "postgresql": { "use_pg_rewind": true },
                },
                "initdb": [{ "encoding": "UTF8" }, { "locale": "C" }, "data-checksums"],
            },
            "postgresql": {
                "listen": at(port), "connect_address": at(port),
                "data_dir": folder.join("data"),
                "bin_dir": programs.postgresql,
                "pgpass": folder.join("pgpass"),
                "authentication": {
                    "superuser": user("postgres"), "replication": user("replicator"),
                    "rewind": user("rewinder"),
                },
                "parameters": { "unix_socket_directories": folder, "shared_buffers": "16MB" },
                "pg_hba": ["host all all 127.0.0.1/32 scram-sha-256",
                    "host replication all 127.0.0.1/32 scram-sha-256"],
            },
        });
        fs::write(folder.join("patroni.yml"), format!("{told:#}\n"))?;
        programs.give(&folder)?;
        Ok(Self { name: name.to_owned(), folder, rest, port, process: None })
    }

    /// Starts Patroni, which starts PostgreSQL.
    pub(super) fn start(&mut self, programs: &Programs) -> io::Result<()> {
        assert!(self.process.is_none(), "{} runs already", self.name);
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let mut command = programs.command(&programs.patroni);
        command.arg(self.folder.join("patroni.yml")).stdout(log.try_clone()?).stderr(log);
        self.process = Some(command.stdin(Stdio::null()).spawn()?);
        Ok(())
    }

    fn log_path(&self) -> PathBuf {
        self.folder.with_extension("log")
    }

    /// The end of what it wrote.
    pub(super) fn log(&self) -> String {
        let log = fs::read(self.log_path()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// The process of PostgreSQL, if there is one, and it is that of this node.
    fn postgresql(&self) -> Option<u32> {
        let data = self.folder.join("data");
        let pid = fs::read_to_string(data.join("postmaster.pid")).ok()?;
        let pid = pid.lines().next()?.trim().parse().ok()?;
        let started_as = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let is_ours = String::from_utf8_lossy(&started_as).contains(data.to_str()?);
        is_ours.then_some(pid)
    }

    /// Ends Patroni and PostgreSQL at once, as a power cut of their machine would.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        if let Some(mut patroni) = self.process.take() {
            patroni.kill()?;
            patroni.wait()?;
        }
        // Nobody starts it again now. Its own processes end without it.
        if let Some(pid) = self.postgresql() {
            signal(pid, "KILL")?;
            let patience = Instant::now() + Duration::from_secs(10);
            while self.postgresql().is_some() && Instant::now() < patience {
                thread::sleep(Duration::from_millis(10));
            }
        }
        Ok(())
    }

    /// What Patroni's API says at a path.
    ///
    /// # Errors
    /// If it does not answer, or not with JSON.
    pub(super) fn ask(&self, path: &str) -> io::Result<Value> {
        let address = ([127, 0, 0, 1], self.rest).into();
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: check\r\n\r\n")?;
        let mut answer = String::new();
        stream.take(1 << 20).read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        serde_json::from_str(body).map_err(io::Error::other)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
