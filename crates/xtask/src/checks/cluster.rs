//! Real clusters of real processes, of Quorate or of etcd, for the checks that no simulator can
//! replace. Both take the same flags, so one harness starts either.
//!
//! Ports come from the kernel, data lies in a temporary folder, everything stays on the loopback
//! interface, and the processes end with the [`Cluster`]. A member can have another [`Home`]: a host of
//! its own, a disk of its own, and a [`relay`] between the other members and itself.

use std::ffi::OsString;
use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use crate::checks::lan;
use crate::checks::relay::Relay;
use crate::workspace;

/// The number of the signal that no process can refuse, on all systems.
const SIGKILL: i32 = 9;

/// Which program the members run.
#[derive(Clone, Debug)]
pub(crate) enum Program {
    /// `quorate server`.
    Quorate(PathBuf),
    /// `etcd`.
    Etcd(PathBuf),
}

impl Program {
    /// What is checked: Quorate, or etcd where `CHECK_PROGRAM=etcd` says so, which checks the checks.
    pub(crate) fn subject() -> io::Result<Self> {
        match env::var("CHECK_PROGRAM").as_deref() {
            Ok("etcd") => Ok(Self::etcd()),
            Ok(other) if other != "quorate" => {
                Err(io::Error::other(format!("CHECK_PROGRAM={other}: quorate or etcd")))
            }
            _ => Self::quorate(),
        }
    }

    /// What it is called in reports.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Quorate(_) => "quorate",
            Self::Etcd(_) => "etcd",
        }
    }

    /// The release build of this workspace, made now if it is not current.
    pub(crate) fn quorate() -> io::Result<Self> {
        let root = workspace::root();
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .args(["build", "--release", "--quiet", "--package", "quorate-cli"])
            .current_dir(&root);
        // Cargo tells a program that it runs which package that is of. The build of ring looks at these variables, and
        // would not be current for them.
        let about_this = |name: &OsString| {
            let name = name.to_string_lossy();
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        };
        env::vars_os().map(|(name, _)| name).filter(about_this).for_each(|name| {
            command.env_remove(name);
        });
        let built = command.status()?;
        if !built.success() {
            return Err(io::Error::other("the release build failed"));
        }
        let target = env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
        Ok(Self::Quorate(target.join("release/quorate")))
    }

    /// The `etcd` that the variable `CHECK_ETCD` names, or the one on the path.
    pub(crate) fn etcd() -> Self {
        Self::Etcd(env::var_os("CHECK_ETCD").map_or_else(|| "etcd".into(), PathBuf::from))
    }

    /// The version that it says it has: the last word of the first line.
    ///
    /// # Errors
    /// A program that can't be run, or says nothing.
    pub(crate) fn version(&self) -> io::Result<String> {
        let (Self::Quorate(path) | Self::Etcd(path)) = self;
        let output = Command::new(path).arg("--version").stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let version = said.lines().next().and_then(|line| line.split_whitespace().next_back());
        version
            .map(str::to_owned)
            .ok_or_else(|| io::Error::other(format!("{} does not say its version", path.display())))
    }

    /// What runs a member on a host.
    fn command(&self, host: Option<usize>) -> Command {
        match self {
            Self::Quorate(path) => {
                let mut command = lan::command(host, path.as_os_str());
                command.arg("server");
                if host.is_some() {
                    // What passes between the hosts of a check is heard by nobody else.
                    command.args(["--peer-insecure-allow", lan::NETWORK]);
                }
                command
            }
            Self::Etcd(path) => lan::command(host, path.as_os_str()),
        }
    }
}

/// Where a member lives, if not on this host like most.
#[derive(Clone, Debug, Default)]
pub(crate) struct Home {
    /// The host of a [`lan::Lan`].
    pub(crate) host: Option<usize>,
    /// A folder for its data that is not that of the cluster.
    pub(crate) disk: Option<PathBuf>,
    /// Whether other members reach it by a relay.
    pub(crate) relay: bool,
}

/// A member of a cluster.
#[derive(Debug)]
pub(crate) struct Member {
    name: String,
    host: Option<usize>,
    address: String,
    /// Where it writes its standard error, beside its data unless those are on a disk of their own.
    folder: PathBuf,
    data: PathBuf,
    client_port: u16,
    /// Where others reach it, and where it listens: the same, unless there is a relay.
    peer_port: u16,
    listen_port: u16,
    relay: Option<Relay>,
    process: Option<Child>,
    stopped: bool,
    /// Whether the cluster was there before it: it is a new member, or its data were removed once.
    joins: bool,
}

/// Some members that know each other.
#[derive(Debug)]
pub(crate) struct Cluster {
    program: Program,
    folder: PathBuf,
    members: Vec<Member>,
    flags: Vec<String>,
    /// How many members were named.
    named: usize,
}

impl Cluster {
    /// Starts a cluster of `count` members; `flags` are given to each.
    pub(crate) fn start(program: Program, count: usize, flags: &[&str]) -> io::Result<Self> {
        Self::start_in(&env::temp_dir(), program, count, flags)
    }

    /// The same, with all data below a folder.
    pub(crate) fn start_in(
        base: &Path,
        program: Program,
        count: usize,
        flags: &[&str],
    ) -> io::Result<Self> {
        Self::start_at(base, program, &vec![Home::default(); count], flags)
    }

    /// Starts a cluster with a member in each of these homes.
    pub(crate) fn start_at(
        base: &Path,
        program: Program,
        homes: &[Home],
        flags: &[&str],
    ) -> io::Result<Self> {
        let mut cluster = Self::prepare(base, program, homes, flags)?;
        for member in 0..cluster.len() {
            cluster.restart(member)?;
        }
        Ok(cluster)
    }

    /// The same without starting a member: somebody else makes their data first.
    pub(crate) fn prepare(
        base: &Path,
        program: Program,
        homes: &[Home],
        flags: &[&str],
    ) -> io::Result<Self> {
        let folder = temporary_folder(base)?;
        // All are held open until all are known, so that the kernel gives each only once.
        let listeners: Vec<TcpListener> = (0..3 * homes.len())
            .map(|_| TcpListener::bind("127.0.0.1:0"))
            .collect::<io::Result<_>>()?;
        let mut ports = listeners.iter().map(|l| l.local_addr().map(|address| address.port()));
        let mut port = || ports.next().expect("there are three for each member");
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        let named = homes.len();
        let mut cluster = Self { program, folder, members: Vec::new(), flags, named };
        for (number, home) in (1..).zip(homes) {
            let name = format!("m{number}");
            let peer_port = port()?;
            cluster.members.push(Member {
                host: home.host,
                address: home.host.map_or_else(|| "127.0.0.1".to_owned(), lan::address),
                folder: cluster.folder.join(&name),
                data: home.disk.as_ref().unwrap_or(&cluster.folder).join(&name).join("data"),
                name,
                client_port: port()?,
                peer_port,
                listen_port: if home.relay { port()? } else { peer_port },
                relay: None,
                process: None,
                stopped: false,
                joins: false,
            });
        }
        drop(listeners);
        for (member, home) in cluster.members.iter_mut().zip(homes) {
            if home.relay {
                let at = |port| format!("{}:{port}", member.address);
                let (from, to) = (at(member.peer_port), at(member.listen_port));
                member.relay = Some(Relay::start(home.host, &from, &to)?);
            }
        }
        Ok(cluster)
    }

    /// What the members run.
    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    /// All members, as `--initial-cluster` has them.
    pub(crate) fn initial_cluster(&self) -> String {
        let scheme = self.peer_scheme();
        let members = self.members.iter();
        let members =
            members.map(|m| format!("{}={scheme}://{}:{}", m.name, m.address, m.peer_port));
        members.collect::<Vec<_>>().join(",")
    }

    /// How members reach each other.
    fn peer_scheme(&self) -> &'static str {
        let is_secure = self.flags.iter().any(|flag| flag == "--peer-auto-tls");
        if is_secure { "https" } else { "http" }
    }

    /// How many members there are.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Where clients reach a member.
    pub(crate) fn endpoint(&self, member: usize) -> String {
        let member = &self.members[member];
        format!("{}://{}:{}", self.client_scheme(), member.address, member.client_port)
    }

    /// How clients reach members.
    fn client_scheme(&self) -> &'static str {
        let is_secure = self.flags.iter().any(|flag| flag == "--cert-file");
        if is_secure { "https" } else { "http" }
    }

    /// Where clients reach the members.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        (0..self.len()).map(|member| self.endpoint(member)).collect()
    }

    /// What a member is called.
    pub(crate) fn name(&self, member: usize) -> &str {
        &self.members[member].name
    }

    /// Where others reach a member.
    pub(crate) fn peer_address(&self, member: usize) -> (&str, u16) {
        (&self.members[member].address, self.members[member].peer_port)
    }

    /// Lets everything that others send to a member, which has a relay, arrive so much later.
    pub(crate) fn delay(&mut self, member: usize, delay: Duration) -> io::Result<()> {
        let relay = self.members[member].relay.as_mut();
        relay.expect("the member lives behind a relay").delay(delay)
    }

    /// Where a member keeps its data.
    pub(crate) fn data(&self, member: usize) -> PathBuf {
        self.members[member].data.clone()
    }

    /// What a member has written to its standard error.
    pub(crate) fn log(&self, member: usize) -> String {
        let path = self.members[member].folder.join("stderr");
        fs::read(path).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// Names one more member, which lives like most and has to be added to the cluster before it is started.
    /// Returns its number.
    ///
    /// # Errors
    /// If there are no ports.
    pub(crate) fn name_another(&mut self) -> io::Result<usize> {
        let ports = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
        let [client, peer] = [ports[0].local_addr()?.port(), ports[1].local_addr()?.port()];
        self.named += 1;
        let name = format!("m{}", self.named);
        let folder = self.folder.join(&name);
        self.members.push(Member {
            name,
            host: None,
            address: "127.0.0.1".to_owned(),
            data: folder.join("data"),
            folder,
            client_port: client,
            peer_port: peer,
            listen_port: peer,
            relay: None,
            process: None,
            stopped: false,
            joins: true,
        });
        Ok(self.len() - 1)
    }

    /// Forgets a member that was removed from the cluster, once its process has ended by itself. Those that were
    /// named after it have other numbers then.
    ///
    /// # Errors
    /// A process that does not end, or panicked, with its log.
    pub(crate) fn see_off(&mut self, member: usize) -> io::Result<()> {
        let patience = Instant::now() + Duration::from_secs(60);
        while !self.has_ended(member)? {
            if Instant::now() > patience {
                let log = self.log(member);
                return Err(io::Error::other(format!("a removed member goes on:\n{log}")));
            }
            thread::sleep(Duration::from_millis(20));
        }
        let log = self.log(member);
        self.end(member)?;
        self.members.remove(member);
        match tells_of_a_panic(&log) {
            true => Err(io::Error::other(format!("a removed member panicked:\n{log}"))),
            false => Ok(()),
        }
    }

    /// Starts a member that is not running.
    pub(crate) fn restart(&mut self, number: usize) -> io::Result<()> {
        let (initial, scheme) = (self.initial_cluster(), self.peer_scheme());
        let client_scheme = self.client_scheme();
        let member = &mut self.members[number];
        assert!(member.process.is_none(), "{} runs already", member.name);
        fs::create_dir_all(&member.folder)?;
        let log = File::options().create(true).append(true).open(member.folder.join("stderr"))?;
        // A member that has data does not look at it.
        let state = if member.joins { "existing" } else { "new" };
        let at = |scheme, port| format!("{scheme}://{}:{port}", member.address);
        let client = at(client_scheme, member.client_port);
        let (peer, listen) = (at(scheme, member.peer_port), at(scheme, member.listen_port));
        let mut command = self.program.command(member.host);
        command
            .args(["--name", &member.name])
            .args(["--data-dir", &member.data.to_string_lossy()])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &listen, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &initial])
            .args(["--initial-cluster-token", "check", "--initial-cluster-state", state])
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        member.process = Some(command.spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("cannot start {:?}: {error}", self.program))
        })?);
        member.stopped = false;
        Ok(())
    }

    /// Whether a member has a process that is not held by [`Cluster::pause`].
    pub(crate) fn runs(&self, member: usize) -> bool {
        self.members[member].process.is_some() && !self.members[member].stopped
    }

    /// Ends a member at once, as `kill -9` does, if it has a process.
    ///
    /// # Errors
    /// A member that had ended by itself, with its log, which says why.
    pub(crate) fn kill(&mut self, member: usize) -> io::Result<()> {
        match self.end(member)? {
            Some(status) if status.signal() != Some(SIGKILL) => {
                let log = self.log(member);
                let what = format!("member {member} ended by itself ({status}):\n{log}");
                Err(io::Error::other(what))
            }
            _ => Ok(()),
        }
    }

    /// Ends a member, if it has a process and has not ended by itself, which it may have done where it
    /// lost its disk. Returns how it ended.
    pub(crate) fn end(&mut self, member: usize) -> io::Result<Option<ExitStatus>> {
        let Some(mut process) = self.members[member].process.take() else { return Ok(None) };
        process.kill()?;
        process.wait().map(Some)
    }

    /// Asks a member to end, as `kill` does, and waits for it.
    pub(crate) fn terminate(&mut self, member: usize) -> io::Result<Option<ExitStatus>> {
        let Some(mut process) = self.members[member].process.take() else { return Ok(None) };
        signal(process.id(), "TERM")?;
        let patience = Instant::now() + Duration::from_secs(30);
        while Instant::now() < patience {
            if let Some(status) = process.try_wait()? {
                return Ok(Some(status));
            }
            thread::sleep(Duration::from_millis(10));
        }
        process.kill()?;
        process.wait()?;
        Err(io::Error::other("a member did not end within 30 s of SIGTERM"))
    }

    /// Holds a member, as SIGSTOP does.
    pub(crate) fn pause(&mut self, member: usize) -> io::Result<()> {
        if let Some(process) = &self.members[member].process {
            signal(process.id(), "STOP")?;
            self.members[member].stopped = true;
        }
        Ok(())
    }

    /// Lets a held member go on.
    pub(crate) fn resume(&mut self, member: usize) -> io::Result<()> {
        if let Some(process) = &self.members[member].process {
            signal(process.id(), "CONT")?;
            self.members[member].stopped = false;
        }
        Ok(())
    }

    /// Removes the data of a member that does not run, which is told so when it is started again.
    pub(crate) fn wipe(&mut self, member: usize) -> io::Result<()> {
        assert!(self.members[member].process.is_none(), "a member that runs keeps its data");
        self.members[member].joins = true;
        fs::remove_dir_all(self.data(member))
    }

    /// Whether a member's process, which was started, ended by itself.
    pub(crate) fn has_ended(&mut self, member: usize) -> io::Result<bool> {
        match &mut self.members[member].process {
            Some(process) => Ok(process.try_wait()?.is_some()),
            None => Ok(false),
        }
    }

    /// Demands that no member ended by itself.
    ///
    /// # Errors
    /// One that did, with its log, which says why.
    pub(crate) fn demand_alive(&mut self) -> io::Result<()> {
        for member in 0..self.len() {
            if self.has_ended(member)? {
                let log = self.log(member);
                return Err(io::Error::other(format!("member {member} ended by itself:\n{log}")));
            }
        }
        Ok(())
    }

    /// Demands that no member's log tells of a panic, of whatever life of its process. One that panicked
    /// just before it was to be killed is not noticed otherwise.
    ///
    /// # Errors
    /// The first member that did, with its log.
    pub(crate) fn demand_no_panic(&self) -> io::Result<()> {
        for member in 0..self.len() {
            let log = self.log(member);
            if tells_of_a_panic(&log) {
                return Err(io::Error::other(format!("member {member} panicked:\n{log}")));
            }
        }
        Ok(())
    }

    /// User and system time of all members so far.
    pub(crate) fn cpu(&self) -> Duration {
        self.stat(|fields| (fields[13] + fields[14]) * 10)
            .map_or(Duration::ZERO, Duration::from_millis)
    }

    /// Resident memory of each member, in bytes.
    pub(crate) fn resident(&self) -> Vec<u64> {
        self.memory("VmRSS:")
    }

    /// The most resident memory that each member ever had, in bytes.
    pub(crate) fn peak(&self) -> Vec<u64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, what: &str) -> Vec<u64> {
        self.members
            .iter()
            .filter_map(|member| member.process.as_ref())
            .filter_map(|process| fs::read_to_string(format!("/proc/{}/status", process.id())).ok())
            .filter_map(|status| {
                let line = status.lines().find(|line| line.starts_with(what))?;
                line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
            })
            .collect()
    }

    /// Sums a function of the numbers in `/proc/PID/stat` over the members.
    fn stat(&self, of: impl Fn(&[u64]) -> u64) -> Option<u64> {
        let mut sum = 0;
        for process in self.members.iter().filter_map(|member| member.process.as_ref()) {
            let stat = fs::read_to_string(format!("/proc/{}/stat", process.id())).ok()?;
            // The name in the second field may hold spaces; the numbers begin behind its bracket.
            let (_, numbers) = stat.rsplit_once(')')?;
            let fields = [0, 0].into_iter().chain(
                numbers.split_whitespace().map(|field| field.parse::<u64>().unwrap_or_default()),
            );
            sum += of(&fields.collect::<Vec<_>>());
        }
        Some(sum)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for member in 0..self.len() {
            // A process that is held can't be waited for unless it is killed, which always works.
            let _ = self.end(member);
        }
        if env::var_os("KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Whether a log has the message of a panic: of Rust, or of Go.
pub(crate) fn tells_of_a_panic(log: &str) -> bool {
    log.lines().any(|line| line.contains("panicked at") || line.starts_with("panic:"))
}

/// Sends a signal. The shell's `kill` does it, so that no unsafe call is needed.
pub(crate) fn signal(pid: u32, name: &str) -> io::Result<()> {
    let status = Command::new("kill").args(["-s", name, &pid.to_string()]).status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("kill -s {name}: {status}")))
    }
}

/// A new folder below another one, such as the system's temporary one.
pub(crate) fn temporary_folder(base: &Path) -> io::Result<PathBuf> {
    for number in 0..10_000 {
        let folder: PathBuf = base.join(format!("quorate-check-{}-{number}", std::process::id()));
        match fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(workspace::at(Path::new(&folder), &error)),
        }
    }
    Err(io::Error::other("no free name for a temporary folder"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_panicked_is_noticed_before_and_after_it_is_killed() {
        // A program that ends by itself.
        let mut cluster = Cluster::start(Program::Etcd("false".into()), 1, &[]).expect("it starts");
        cluster.demand_no_panic().expect("nobody has said anything");
        while !cluster.has_ended(0).expect("it can be asked") {
            thread::sleep(Duration::from_millis(5));
        }
        let said = "thread 'main' panicked at src/main.rs:7:1:\n";
        fs::write(cluster.members[0].folder.join("stderr"), said).expect("written");
        let error = cluster.demand_alive().expect_err("it has ended").to_string();
        assert!(error.contains("member 0 ended by itself") && error.contains(said), "{error}");
        let error = cluster.kill(0).expect_err("it was not killed").to_string();
        assert!(error.contains("member 0 ended by itself (exit status: 1)"), "{error}");
        cluster.kill(0).expect("there is no process any more");
        cluster.demand_alive().expect("who was killed did not end by himself");
        let error = cluster.demand_no_panic().expect_err("its log remains").to_string();
        assert!(error.contains(said), "{error}");
    }
}
