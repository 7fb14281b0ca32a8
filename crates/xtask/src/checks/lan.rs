//! Hosts of their own (network namespaces) on one switch, with a packet filter each that loses what
//! comes from some of the others: all of it, or a share. Only inside a [`capsule`].
//!
//! What is lost is lost for one direction. TCP suffers in both, as confirmations go the way of
//! messages; a connection that one side opened is thus held up by a loss in either direction.
//!
//! The check itself is at the switch and reaches every host, whatever they lose of each other.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use crate::checks::capsule;

/// What is lost: of what goes from one host to another, so many packets in a thousand.
pub(crate) type Losses = BTreeMap<(usize, usize), u64>;

/// All packets, in a thousand.
pub(crate) const ALL: u64 = 1000;

/// The addresses of all hosts.
pub(crate) const NETWORK: &str = "10.177.0.0/24";

/// The switch, and the prefix of the names of its ports.
const SWITCH: &str = "switch";
const PORT: &str = "port";

/// See the module.
#[derive(Debug)]
pub(crate) struct Lan {
    hosts: usize,
    losses: Losses,
}

impl Lan {
    /// Hosts on a switch, and nothing lost.
    ///
    /// # Errors
    /// If `ip` or `nft` is missing or refuses.
    pub(crate) fn new(hosts: usize) -> io::Result<Self> {
        assert!(capsule::is_inside(), "the names here are meant for a capsule");
        let lan = Self { hosts, losses: Losses::new() };
        ip(&["link", "add", SWITCH, "type", "bridge"])?;
        ip(&["addr", "add", "10.177.0.254/24", "dev", SWITCH])?;
        ip(&["link", "set", SWITCH, "up"])?;
        for host in 0..hosts {
            let (name, port) = (name(host), format!("{PORT}{host}"));
            ip(&["netns", "add", &name])?;
            let peer = ["peer", "name", "eth0", "netns", &name];
            ip(&[&["link", "add", &port, "type", "veth"][..], &peer].concat())?;
            ip(&["link", "set", &port, "master", SWITCH, "up"])?;
            ip(&["-n", &name, "addr", "add", &format!("{}/24", address(host)), "dev", "eth0"])?;
            ip(&["-n", &name, "link", "set", "eth0", "up"])?;
            ip(&["-n", &name, "link", "set", "lo", "up"])?;
            lan.filter(host)?;
        }
        Ok(lan)
    }

    /// From now on this is lost, and nothing else.
    ///
    /// # Errors
    /// If the filter refuses.
    pub(crate) fn lose(&mut self, losses: Losses) -> io::Result<()> {
        let before = std::mem::replace(&mut self.losses, losses);
        for host in 0..self.hosts {
            let of = |losses: &Losses| -> Vec<(usize, u64)> {
                let here = losses.iter().filter(|((_, to), _)| *to == host);
                here.map(|((from, _), share)| (*from, *share)).collect()
            };
            if of(&before) != of(&self.losses) {
                self.filter(host)?;
            }
        }
        Ok(())
    }

    /// Gives a host its packet filter, at once as a whole.
    fn filter(&self, host: usize) -> io::Result<()> {
        let mut rules = "flush ruleset\ntable ip faults {\n chain in {\n  type filter hook input \
                         priority 0;\n"
            .to_owned();
        for ((from, to), share) in &self.losses {
            if *to == host {
                let chance = if *share < ALL {
                    format!("numgen random mod {ALL} < {share}")
                } else {
                    String::new()
                };
                rules.push_str(&format!("  ip saddr {} {chance} drop\n", address(*from)));
            }
        }
        rules.push_str(" }\n}\n");
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &name(host), "nft", "-f", "-"]);
        let mut nft =
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        // What it says of its input is told below.
        let _ = nft.stdin.take().expect("it has one").write_all(rules.as_bytes());
        said("nft, the packet filter", nft.wait_with_output()?)
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for host in 0..self.hosts {
            let _ = ip(&["link", "del", &format!("{PORT}{host}")]);
            let _ = ip(&["netns", "del", &name(host)]);
        }
        let _ = ip(&["link", "del", SWITCH]);
    }
}

/// Everything between two sides, in both directions. Who is on both is not cut off from itself.
pub(crate) fn between(some: &[usize], others: &[usize]) -> Losses {
    let pairs = some.iter().flat_map(|one| others.iter().map(|other| (*one, *other)));
    let pairs = pairs.filter(|(one, other)| one != other);
    pairs.flat_map(|(one, other)| [((one, other), ALL), ((other, one), ALL)]).collect()
}

/// What the namespace of a host is called.
pub(crate) fn name(host: usize) -> String {
    format!("host{host}")
}

/// The address of a host.
pub(crate) fn address(host: usize) -> String {
    format!("10.177.0.{}", host + 1)
}

/// What runs a program on a host, or on this one.
pub(crate) fn command(host: Option<usize>, program: &std::ffi::OsStr) -> Command {
    let Some(host) = host else { return Command::new(program) };
    let mut command = Command::new("ip");
    // It becomes the program, so that whoever ends this process ends that one.
    command.args(["netns", "exec", &name(host)]).arg(program);
    command
}

fn ip(arguments: &[&str]) -> io::Result<()> {
    said(&format!("ip {}", arguments.join(" ")), Command::new("ip").args(arguments).output()?)
}

fn said(who: &str, output: std::process::Output) -> io::Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(io::Error::other(format!("{who}: {}", said.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_between_the_sides_and_not_within() {
        let cut = between(&[0, 3], &[1]);
        let lost: Vec<(usize, usize)> = cut.keys().copied().collect();
        assert_eq!(lost, [(0, 1), (1, 0), (1, 3), (3, 1)]);
        assert_eq!(between(&[0, 1], &[0, 1]).len(), 2);
    }
}
