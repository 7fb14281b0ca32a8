//! A small disk of its own: a file system in memory, which can be filled to the last byte. Mounting
//! one needs a [`capsule`](crate::checks::capsule).

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use crate::checks::cluster::temporary_folder;

/// A small file system, as long as this lives.
#[derive(Debug)]
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of so many MiB.
    ///
    /// # Errors
    /// If that is not permitted.
    pub(crate) fn mount(mib: usize) -> io::Result<Self> {
        let path = temporary_folder(&env::temp_dir())?;
        let size = format!("size={mib}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(&path)
            .output()?;
        if mounted.status.success() {
            return Ok(Self(path));
        }
        fs::remove_dir(&path)?;
        Err(io::Error::other(String::from_utf8_lossy(&mounted.stderr).trim().to_owned()))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Takes all that is left, to the last byte.
    ///
    /// # Errors
    /// If the disk refuses for another reason than that it is full.
    pub(crate) fn fill(&self) -> io::Result<()> {
        let mut file = File::options().create(true).append(true).open(self.ballast())?;
        for piece in [1 << 20, 4096, 1] {
            loop {
                match file.write_all(&vec![7; piece]) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Gives back what [`SmallDisk::fill`] took.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(crate) fn relieve(&self) -> io::Result<()> {
        fs::remove_file(self.ballast())
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}
