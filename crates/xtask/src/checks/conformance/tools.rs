//! What the programs of foreign clients need, and how they are run.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use serde_json::Value;

use super::Outcomes;
use crate::workspace;

/// The Python packages: the clients, and those of what they are made of whose later versions they do not work with.
const PACKAGES: [&str; 5] =
    ["etcd3==0.12.0", "etcd3gw==2.7.0", "protobuf==3.20.3", "tenacity==6.2.0", "grpcio"];

/// After so long a client is taken to hang. On a quiet machine the longest takes some ten seconds.
const PATIENCE: Duration = Duration::from_secs(300);

/// What runs a program.
#[derive(Clone, Copy, Debug)]
enum Language {
    Python,
    Node,
}

/// A client's program in `foreign/clients`.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) name: &'static str,
    file: &'static str,
    language: Language,
    /// Whether it can.
    pub(super) logs_in: bool,
}

/// Those whose cases are compared.
pub(super) const CLIENTS: [Client; 3] = [
    python("python_etcd3", "python_etcd3.py", true),
    python("python_etcd3gw", "python_etcd3gw.py", false),
    node("node_etcd3", "node_etcd3.mjs"),
];

/// Makes the user root, and lets rights be checked.
pub(super) const SWITCH_RIGHTS_ON: Client = node("switch_rights_on", "switch_rights_on.mjs");

const fn python(name: &'static str, file: &'static str, logs_in: bool) -> Client {
    Client { name, file, language: Language::Python, logs_in }
}

const fn node(name: &'static str, file: &'static str) -> Client {
    Client { name, file, language: Language::Node, logs_in: true }
}

/// What was installed, and the programs that are there.
#[derive(Debug)]
pub(super) struct Tools {
    python: PathBuf,
    modules: PathBuf,
}

impl Tools {
    /// Installs below `target/conformance` what is not there yet.
    pub(super) fn install() -> io::Result<Self> {
        let folder = workspace::root().join("target/conformance");
        let (python, node) = (folder.join("python"), folder.join("node"));
        let done = |folder: &Path| folder.join("installed");
        if !done(&python).exists() {
            succeed(Command::new("python3").args(["-m", "venv"]).arg(&python))?;
            let mut pip = Command::new(python.join("bin/pip"));
            succeed(
                pip.args(["install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES),
            )?;
            fs::write(done(&python), "")?;
        }
        if !done(&node).exists() {
            fs::create_dir_all(&node)?;
            fs::copy(clients().join("package.json"), node.join("package.json"))?;
            let mut npm = Command::new("npm");
            succeed(
                npm.args(["install", "--silent", "--no-audit", "--no-fund"]).current_dir(&node),
            )?;
            fs::write(done(&node), "")?;
        }
        Ok(Self { python: python.join("bin/python"), modules: node.join("node_modules") })
    }
}

impl Client {
    /// What runs it, up to the addresses of the members.
    pub(super) fn command(&self, tools: &Tools) -> Command {
        let mut command = match self.language {
            Language::Python => Command::new(&tools.python),
            Language::Node => Command::new("node"),
        };
        // Neither proxies nor authorities of the surroundings are for this host.
        for name in env::vars_os().map(|(name, _)| name) {
            let lower = name.to_string_lossy().to_ascii_lowercase();
            if lower.ends_with("_proxy") || lower.ends_with("_ca_bundle") {
                command.env_remove(name);
            }
        }
        command
            .arg(clients().join(self.file))
            .env("CONFORMANCE_MODULES", &tools.modules)
            // The package's generated code is older than the compiled form of the library takes.
            .env("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// Runs it, and returns what came of its cases. That it does not end well is one more outcome.
    pub(super) fn run(&self, mut command: Command) -> io::Result<Outcomes> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn()?;
        let printed = read(process.stdout.take().expect("it is piped"));
        let complaints = read(process.stderr.take().expect("it is piped"));
        let end = Instant::now() + PATIENCE;
        let status = loop {
            match process.try_wait()? {
                Some(status) => break Some(status),
                None if Instant::now() > end => {
                    process.kill()?;
                    process.wait()?;
                    break None;
                }
                None => thread::sleep(Duration::from_millis(20)),
            }
        };
        let printed = printed.join().expect("it does not panic")?;
        let complaints = complaints.join().expect("it does not panic")?;
        let mut outcomes = Outcomes::new();
        for line in printed.lines() {
            let (case, outcome) = serde_json::from_str(line)
                .map_err(|error| io::Error::other(format!("{}: {line}: {error}", self.name)))?;
            outcomes.push((case, outcome));
        }
        match status {
            Some(status) if status.success() => Ok(outcomes),
            Some(status) => Err(io::Error::other(format!("{}: {status}\n{complaints}", self.name))),
            None => {
                outcomes.push(("it does not end".to_owned(), Value::Null));
                Ok(outcomes)
            }
        }
    }
}

/// Reads all that there is, on a thread.
fn read(mut from: impl io::Read + Send + 'static) -> JoinHandle<io::Result<String>> {
    thread::spawn(move || {
        let mut text = String::new();
        from.read_to_string(&mut text).map(|_| text)
    })
}

fn clients() -> PathBuf {
    workspace::root().join("foreign/clients")
}

fn succeed(command: &mut Command) -> io::Result<()> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{command:?}: {status}"))) }
}
