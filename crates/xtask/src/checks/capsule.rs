//! A check in a world of its own: a network, mounts and processes that nobody else sees, and that all
//! end with the check, however it ends.
//!
//! The check begins, asks for a capsule, and is started again inside. Linux gives one to root, and in
//! most places to everybody, who is root in it then (user namespaces). Inside there are names and
//! addresses without a thought for others, file systems can be mounted, and when the first process ends
//! the kernel kills all others and takes the rest away.

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::{env, io};

/// Says that this process is in a capsule.
const INSIDE: &str = "XTASK_CAPSULE";

/// What each capsule has of its own. The processes in it end when `unshare` does.
const OWN: [&str; 6] = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];

/// Prepares a capsule, and runs the arguments in it, if there are any. Names of namespaces lie in `/run`.
/// The first process of a capsule gets only those signals that it asks for, hence the trap. What the check
/// leaves in the folder for temporary files, when it is ended so, goes with the capsule.
const SCRIPT: &str = "
    mount -t tmpfs tmpfs /run && ip link set lo up || exit 1
    ip netns add probe && ip netns exec probe true && ip netns del probe || exit 1
    [ $# = 0 ] && exit 0
    TMPDIR=$(mktemp -d) && export TMPDIR || exit 1
    trap 'kill -9 $! 2>/dev/null; wait $!; umount -l \"$TMPDIR\"/* 2>/dev/null; rm -rf \"$TMPDIR\"; exit 130' INT TERM
    \"$@\" & wait $!; ended=$?; [ -n \"$KEEP\" ] || rm -rf \"$TMPDIR\"; exit $ended";

/// Goes on in a capsule: returns nothing if this is one, and otherwise starts this program anew, with the
/// same arguments. Where that is not permitted, returns why.
pub(crate) fn enter() -> io::Result<Option<String>> {
    if is_inside() {
        return Ok(None);
    }
    match probe() {
        Ok(mut capsule) => {
            let arguments = env::args_os().skip(1);
            Err(capsule.arg(env::current_exe()?).args(arguments).env(INSIDE, "1").exec())
        }
        Err(refused) => Ok(Some(refused)),
    }
}

/// What starts a capsule here, or why there can be none.
pub(crate) fn probe() -> Result<Command, String> {
    let mut refusals = Vec::new();
    for as_user in [&[][..], &["--user", "--map-root-user"]] {
        let capsule = || {
            let mut command = Command::new("unshare");
            command.args(as_user).args(OWN).args(["sh", "-c", SCRIPT, "sh"]);
            command
        };
        match capsule().output() {
            Ok(probe) if probe.status.success() => return Ok(capsule()),
            Ok(probe) => refusals.push(String::from_utf8_lossy(&probe.stderr).trim().to_owned()),
            Err(error) => refusals.push(error.to_string()),
        }
    }
    refusals.dedup();
    Err(refusals.join("; "))
}

/// Whether this process is in a capsule.
pub(crate) fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}
