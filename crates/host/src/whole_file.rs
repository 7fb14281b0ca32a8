//! A small file that is there whole or not at all, whatever happens while it is written; and directories that
//! are moved as one.

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

/// Moves a file or a directory into another directory of the same file system, durably: after a crash it is in
/// one of the two.
///
/// # Errors
/// If the system says so.
pub fn move_between(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    for path in [to, from] {
        let directory = path.parent().filter(|path| !path.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// Gives a file that was written under another name its own, durably, in the place of one of that name.
///
/// # Errors
/// If the system says so. The file is then the old one or the new one.
pub fn complete(file: &File, written: &Path, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    rename(directory.unwrap_or(Path::new(".")), written, path)
}

/// Removes a file of a directory, durably, if it is there.
///
/// # Errors
/// If the system says so.
pub fn remove(directory: &Path, name: &str) -> io::Result<()> {
    match fs::remove_file(directory.join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.and_then(|()| File::open(directory)?.sync_all()),
    }
}

/// Makes everything durable that is in a directory, whoever wrote it there.
///
/// # Errors
/// If the system says so.
pub fn sync_all_in(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_all_in(&path)?;
        } else {
            File::open(path)?.sync_all()?;
        }
    }
    File::open(directory)?.sync_all()
}
