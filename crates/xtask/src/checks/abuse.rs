//! Strangers and bad clients at real members: whatever they do, no member ends, none takes more memory than it may, and
//! clients elsewhere are served all the while.
//!
//! Bad ones come from 127.0.0.2 and good ones from 127.0.0.1, as a member tells them apart by address. The good ones go
//! on throughout, on new connections as well as on those that they have, and none of their requests may fail. How long
//! they wait is printed and not judged: the bad ones run on the same machine.
//!
//! Members have 1024 files, as on a system where nobody has raised that. `ABUSE_SCALE` makes everything so many times
//! as much; `ABUSE_ONLY` runs the acts whose names have that in them.

mod bystander;
mod frames;
mod handshakes;
mod line;
mod requests;

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs};

use crate::checks::cluster::{Cluster, Program, temporary_folder};
use crate::checks::crash::wait_for_leader;
use crate::checks::options;

use self::bystander::Bystanders;

/// How long a connection may take to come to its first request, where nothing else is said.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The memory that a member may ever have taken, where nothing else is said.
const MEMORY_MIB: u64 = 1024;

/// What bad clients need to know.
#[derive(Debug)]
struct Stage {
    cluster: Cluster,
    /// How many times as much.
    scale: u64,
}

impl Stage {
    /// The port of a member for clients.
    fn port(&self, member: usize) -> u16 {
        let endpoint = self.cluster.endpoint(member);
        let port = endpoint.rsplit(':').next().and_then(|port| port.parse().ok());
        port.expect("the harness makes well-formed addresses")
    }

    fn ports(&self) -> Vec<u16> {
        (0..self.cluster.len()).map(|member| self.port(member)).collect()
    }
}

/// Runs everything.
pub(crate) fn run() -> io::Result<()> {
    let Program::Quorate(binary) = Program::quorate()? else {
        return Err(io::Error::other("this check is about quorate"));
    };
    let scale = options::number("ABUSE_SCALE", 1)?;
    let memory_mib = options::number("ABUSE_MEMORY_MIB", MEMORY_MIB)?;
    let folder = temporary_folder(&env::temp_dir())?;
    let wrapped = wrap(&folder, &binary);
    let outcome = wrapped.and_then(|program| on(program, scale, memory_mib));
    let _ = fs::remove_dir_all(&folder);
    outcome
}

/// The program with few files, that speaks in clear and encrypted on the same port.
fn wrap(folder: &Path, binary: &Path) -> io::Result<PathBuf> {
    let script = folder.join("quorate");
    let text = format!(
        "#!/bin/sh\n\
         ulimit -n 1024\n\
         for argument do\n\
         shift\n\
         case \"$flag\" in --listen-client-urls)\n\
         flag=; set -- \"$@\" \"$argument,https${{argument#http}}\"; continue ;;\n\
         esac\n\
         flag=\"$argument\"\n\
         set -- \"$@\" \"$argument\"\n\
         done\n\
         exec '{}' \"$@\"\n",
        binary.display()
    );
    fs::write(&script, text)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700))?;
    Ok(script)
}

fn on(program: PathBuf, scale: u64, memory_mib: u64) -> io::Result<()> {
    let flags = ["--auto-tls", "--quota-backend-bytes=8589934592"];
    let cluster = Cluster::start(Program::Quorate(program), 3, &flags)?;
    let mut stage = Stage { cluster, scale };
    let runtime = tokio::runtime::Runtime::new()?;
    // Connections are made on it.
    let _entered = runtime.enter();
    runtime.block_on(wait_for_leader(&stage.cluster))?;
    let bystanders = Bystanders::start(&stage.cluster.endpoints());
    let judged = runtime.block_on(acts(&mut stage, &bystanders));
    let served = runtime.block_on(bystanders.end());
    judged?;
    let served = served?;
    stage.cluster.demand_alive()?;
    stage.cluster.demand_no_panic()?;
    let most: Vec<u64> = stage.cluster.peak().iter().map(|bytes| bytes >> 20).collect();
    println!("abuse: {served} requests of others were answered, all of them");
    println!("abuse: the members took at most {most:?} MiB; {memory_mib} are allowed");
    if most.len() != stage.cluster.len() || most.iter().any(|mib| *mib > memory_mib) {
        return Err(io::Error::other(format!("a member took more than {memory_mib} MiB")));
    }
    runtime.block_on(wait_for_leader(&stage.cluster))?;
    println!("abuse: nobody ended, nobody was kept out, and memory was bounded");
    Ok(())
}

/// One act after the other.
async fn acts(stage: &mut Stage, bystanders: &Bystanders) -> io::Result<()> {
    let only = env::var("ABUSE_ONLY").ok();
    macro_rules! act {
        ($name:literal, $act:expr) => {
            if only.as_ref().is_none_or(|only| $name.contains(only.as_str())) {
                let start = Instant::now();
                let told = $act.await;
                let told = told.map_err(|error| io::Error::other(format!("{}: {error}", $name)))?;
                let took = start.elapsed().as_secs_f64();
                let waits = bystanders.turn_page()?;
                let peak: Vec<u64> = stage.cluster.peak().iter().map(|bytes| bytes >> 20).collect();
                println!("abuse: {}: {told} ({took:.1} s; {waits}; {peak:?} MiB)", $name);
                stage.cluster.demand_alive()?;
            }
        };
    }
    act!("slow handshakes", handshakes::slow(stage));
    act!("half-open connections", handshakes::half_open(stage));
    act!("idle connections", handshakes::idle(stage));
    act!("rapid reset", frames::rapid_reset(stage));
    act!("headers without end", frames::continuations(stage));
    act!("settings and pings", frames::settings_and_pings(stage));
    act!("bodies of 1 GiB", requests::bodies(stage));
    act!("deep nesting", requests::nesting(stage));
    act!("huge ranges", requests::ranges(stage));
    act!("watches", requests::watches(stage));
    Ok(())
}
