//! A small file that is there whole or not at all, whatever happens while it is written.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

/// Writes a file into a directory that exists, in the place of one of that name, durably.
///
/// # Errors
/// If the system says so. The file is then the old one or the new one.
pub fn write(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = directory.join(format!("{name}.tmp"));
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    rename(directory, &temporary, &directory.join(name))
}

/// Gives a file or a directory another name within a directory, durably.
///
/// # Errors
/// If the system says so.
pub fn rename(directory: &Path, from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    File::open(directory)?.sync_all()
}
