//! Patroni out of Python's registry, PostgreSQL out of Debian's, and the user as whom both run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use crate::workspace;

/// What is asked of Python's registry.
const PACKAGES: [&str; 2] = ["patroni[etcd3]==4.1.5", "psycopg[binary]==3.3.9"];

/// Where Debian puts PostgreSQL, below a folder for each version.
const POSTGRESQL: &str = "/usr/lib/postgresql";

/// Debian's Python. Another one that root has first on its path may lie where nobody else may look.
const PYTHON: &str = "/usr/bin/python3";

/// PostgreSQL refuses to run as root.
const USER: &str = "postgres";

/// Where the programs are.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    pub(super) patroni: PathBuf,
    /// The folder of `postgres`, `psql` and the others.
    pub(super) postgresql: PathBuf,
    is_root: bool,
}

impl Programs {
    /// Finds them, and installs those that are not there.
    ///
    /// # Errors
    /// What can't be installed, or not be run by the user as whom it has to run.
    pub(super) fn find() -> io::Result<Self> {
        let id = Command::new("id").arg("-u").output()?;
        let is_root = id.stdout.trim_ascii() == b"0";
        let postgresql = match postgresql() {
            Some(found) => found,
            None => {
                install("postgresql")?;
                // Debian may start it. Where it did not, there is nothing to stop.
                let _ = Command::new("service").args(["postgresql", "stop"]).status();
                postgresql()
                    .ok_or_else(|| io::Error::other("no PostgreSQL after its installation"))?
            }
        };
        let folder = workspace::root().join("target/patroni");
        let patroni = folder.join("bin/patroni");
        if !patroni.exists() {
            if must(Command::new(PYTHON).args(["-c", "import ensurepip, venv"])).is_err() {
                install("python3-venv")?;
            }
            must(Command::new(PYTHON).args(["-m", "venv"]).arg(&folder))?;
            let mut install = Command::new(folder.join("bin/pip"));
            must(install.args(["install", "--quiet"]).args(PACKAGES))?;
        }
        let programs = Self { patroni, postgresql, is_root };
        let version = must(programs.command(&programs.patroni).arg("--version"))?;
        println!("patroni: {}", version.trim());
        Ok(programs)
    }

    /// A command that does not run as root.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = if self.is_root {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", USER, "--regid", USER, "--init-groups", "--"]);
            // What `setpriv` runs is still found with the rights of root, and what that runs is not. So this is noticed
            // here, and not by a Patroni that can't start itself a second time.
            command.arg("/usr/bin/env").arg(program);
            command
        } else {
            Command::new(program)
        };
        command.stdin(Stdio::null()).current_dir("/");
        command
    }

    /// Gives a folder to the user as whom they run, and makes it readable to nobody else.
    pub(super) fn give(&self, folder: &Path) -> io::Result<()> {
        if self.is_root {
            must(Command::new("chown").args(["-R", &format!("{USER}:{USER}")]).arg(folder))?;
        }
        must(Command::new("chmod").arg("700").arg(folder)).map(drop)
    }
}

/// Installs a package of Debian.
fn install(package: &str) -> io::Result<()> {
    must(Command::new("apt-get").args(["update", "-qq"]))?;
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "-qq", package]).env("DEBIAN_FRONTEND", "noninteractive");
    must(&mut install).map(drop)
}

/// The newest version that is there.
fn postgresql() -> Option<PathBuf> {
    let versions = fs::read_dir(POSTGRESQL).ok()?;
    let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let versions = versions.flatten().map(|entry| entry.path());
    let newest = versions.filter(|path| path.join("bin/postgres").exists()).max_by_key(version)?;
    Some(newest.join("bin"))
}

/// Runs a command to its end, and returns what it wrote to its standard output.
///
/// # Errors
/// A command that fails, with what it wrote to its standard error.
pub(super) fn must(command: &mut Command) -> io::Result<String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| {
        io::Error::new(error.kind(), format!("{}: {error}", command.get_program().display()))
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(io::Error::other(format!("{}: {}: {said}", command.get_program().display(), output.status)))
}
