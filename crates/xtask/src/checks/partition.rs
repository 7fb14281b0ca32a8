//! Five members, each on a host of its own (a network namespace), joined by a switch that is cut in
//! two: the old leader and one other on one side, three on the other. Only the three may go on; when
//! the cut is healed all five hold the same.
//!
//! Needs the right to make network namespaces. Where that is missing the check says so and fails:
//! set `PARTITION=skip` to leave it out knowingly.

use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use crate::checks::cluster::Program;

const MEMBERS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the check.
pub(crate) fn run() -> io::Result<()> {
    if env::var("PARTITION").is_ok_and(|value| value == "skip") {
        println!("partition: left out, as PARTITION=skip asks");
        return Ok(());
    }
    let Program::Quorate(binary) = Program::quorate()? else {
        return Err(io::Error::other("this check is about quorate"));
    };
    let mut lan = Lan::new(binary.to_string_lossy().into_owned())?;
    lan.start()?;
    lan.until("the first write", || lan.put(0, "partition/before", "1"))?;
    let leader = lan.leader()?;
    let other = (leader + 1) % MEMBERS;
    let majority: Vec<usize> = (0..MEMBERS).filter(|m| *m != leader && *m != other).collect();

    lan.cut(&[leader, other])?;
    lan.until("a write on the side of three", || lan.put(majority[0], "partition/during", "2"))?;
    let start = Instant::now();
    for member in [leader, other] {
        let (refused, said) = lan.put(member, "partition/refused", "3")?;
        if refused {
            return Err(io::Error::other(format!("member {member} of two acknowledged a write")));
        }
        if !said.contains("etcdserver: ") && !said.contains("no answer within") {
            return Err(io::Error::other(format!("member {member} of two says: {said}")));
        }
    }
    let seconds = start.elapsed().as_secs_f64() / 2.0;
    let new_leader = lan.leader_among(&majority)?;

    lan.heal()?;
    lan.until("a write everywhere", || lan.put(leader, "partition/after", "4"))?;
    let mut stories = Vec::new();
    for member in 0..MEMBERS {
        lan.until("a read everywhere", || {
            let output = lan.client(member, &["get", "partition/", "--prefix", "-o", "json"])?;
            Ok((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
        })?;
        let output = lan.client(member, &["get", "partition/", "--prefix", "-o", "json"])?;
        stories.push(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    for key in ["partition/before", "partition/during", "partition/after"] {
        if !stories[0].contains(key) {
            return Err(io::Error::other(format!("LOST: {key} is not in {}", stories[0])));
        }
    }
    if stories.iter().any(|story| story != &stories[0]) {
        return Err(io::Error::other(format!("FORK: {stories:#?}")));
    }
    println!(
        "partition: leader {leader} cut off with {other}: {new_leader} led the three, the two refused \
         after {seconds:.1} s each; healed, all five hold the same"
    );
    Ok(())
}

/// Five hosts and a switch.
struct Lan {
    binary: String,
    /// What all names here begin with.
    prefix: String,
    folder: std::path::PathBuf,
    processes: Vec<Child>,
}

impl Lan {
    fn new(binary: String) -> io::Result<Self> {
        let prefix = format!("q{}", std::process::id());
        let folder = env::temp_dir().join(format!("quorate-{prefix}"));
        fs::create_dir_all(&folder)?;
        let lan = Self { binary, prefix, folder, processes: Vec::new() };
        let switch = lan.switch();
        ip(&["netns", "add", &switch])?;
        for bridge in ["whole", "part"] {
            ip(&["-n", &switch, "link", "add", bridge, "type", "bridge"])?;
            ip(&["-n", &switch, "link", "set", bridge, "up"])?;
        }
        for member in 0..MEMBERS {
            let (host, port) = (lan.host(member), format!("port{member}"));
            ip(&["netns", "add", &host])?;
            ip(&[
                "-n", &switch, "link", "add", &port, "type", "veth", "peer", "name", "eth0",
                "netns", &host,
            ])?;
            ip(&["-n", &switch, "link", "set", &port, "master", "whole", "up"])?;
            ip(&["-n", &host, "addr", "add", &format!("{}/24", address(member)), "dev", "eth0"])?;
            ip(&["-n", &host, "link", "set", "eth0", "up"])?;
            ip(&["-n", &host, "link", "set", "lo", "up"])?;
        }
        Ok(lan)
    }

    fn switch(&self) -> String {
        format!("{}-switch", self.prefix)
    }

    fn host(&self, member: usize) -> String {
        format!("{}-{member}", self.prefix)
    }

    fn start(&mut self) -> io::Result<()> {
        let peer = |member| format!("http://{}:2380", address(member));
        let initial: Vec<String> = (0..MEMBERS).map(|m| format!("m{m}={}", peer(m))).collect();
        for member in 0..MEMBERS {
            let client = format!("http://{}:2379", address(member));
            let log = fs::File::create(self.folder.join(format!("m{member}.log")))?;
            let process = Command::new("ip")
                .args(["netns", "exec", &self.host(member), &self.binary, "server"])
                .args(["--name", &format!("m{member}")])
                .args(["--data-dir", &self.folder.join(format!("m{member}")).to_string_lossy()])
                .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
                .args(["--listen-peer-urls", &peer(member)])
                .args(["--initial-advertise-peer-urls", &peer(member)])
                .args(["--initial-cluster", &initial.join(",")])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()?;
            self.processes.push(process);
        }
        Ok(())
    }

    /// Runs the client on a member's own host, against that member.
    fn client(&self, member: usize, arguments: &[&str]) -> io::Result<Output> {
        Command::new("ip")
            .args(["netns", "exec", &self.host(member), &self.binary])
            .args(arguments)
            .args(["--endpoints", &format!("{}:2379", address(member)), "--timeout", "15"])
            .output()
    }

    fn put(&self, member: usize, key: &str, value: &str) -> io::Result<(bool, String)> {
        let output = self.client(member, &["put", key, value])?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    /// Repeats something until it succeeds.
    fn until(
        &self,
        what: &str,
        attempt: impl Fn() -> io::Result<(bool, String)>,
    ) -> io::Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let (success, said) = attempt()?;
            if success {
                return Ok(());
            }
            if Instant::now() > end {
                let logs = (0..MEMBERS).map(|member| {
                    let log = fs::read_to_string(self.folder.join(format!("m{member}.log")));
                    format!("--- member {member}\n{}", log.unwrap_or_default())
                });
                let logs: String = logs.collect();
                return Err(io::Error::other(format!("{what} does not come: {said}\n{logs}")));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn leader(&self) -> io::Result<usize> {
        self.leader_among(&(0..MEMBERS).collect::<Vec<_>>())
    }

    /// Which of these says that it leads.
    fn leader_among(&self, members: &[usize]) -> io::Result<usize> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            for &member in members {
                let output = self.client(member, &["status", "-o", "json"])?;
                if String::from_utf8_lossy(&output.stdout).contains("\"role\":\"leader\"") {
                    return Ok(member);
                }
            }
            thread::sleep(Duration::from_millis(100));
        }
        Err(io::Error::other(format!("none of {members:?} says that it leads")))
    }

    fn cut(&self, members: &[usize]) -> io::Result<()> {
        self.plug(members, "part")
    }

    fn heal(&self) -> io::Result<()> {
        self.plug(&(0..MEMBERS).collect::<Vec<_>>(), "whole")
    }

    fn plug(&self, members: &[usize], bridge: &str) -> io::Result<()> {
        for member in members {
            ip(&["-n", &self.switch(), "link", "set", &format!("port{member}"), "master", bridge])?;
        }
        Ok(())
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // `ip netns exec` has become the member itself.
            let _ = process.kill();
            let _ = process.wait();
        }
        for member in 0..MEMBERS {
            let _ = ip(&["netns", "del", &self.host(member)]);
        }
        let _ = ip(&["netns", "del", &self.switch()]);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The address of a member, in a network that exists in these namespaces only.
fn address(member: usize) -> String {
    format!("10.177.0.{}", member + 1)
}

fn ip(arguments: &[&str]) -> io::Result<()> {
    let output = Command::new("ip").args(arguments).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(io::Error::other(format!("ip {}: {}", arguments.join(" "), said.trim())))
}
