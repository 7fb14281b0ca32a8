//! What one tells a check: numbers in variables, and `--json FILE` on the command line.

use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use crate::workspace;

/// The number in a variable; another one where it is not set.
///
/// # Errors
/// If it is no number.
pub(crate) fn number(variable: &str, otherwise: u64) -> io::Result<u64> {
    match env::var(variable) {
        Ok(text) => text.parse().map_err(|_| io::Error::other(format!("{variable} is no number"))),
        Err(_) => Ok(otherwise),
    }
}

/// The seed in a variable; where it is not set, one that nobody knew before. It is printed, so that the
/// run can be had again.
///
/// Chance comes from the kernel. The number of the process, say, is no chance: in a capsule it is always
/// the same.
///
/// # Errors
/// If it is no number.
pub(crate) fn seed(variable: &str) -> io::Result<u64> {
    // Few digits, as somebody may have to type them.
    let drawn = RandomState::new().hash_one(variable) % 1_000_000_000;
    let seed = number(variable, drawn)?;
    println!("{variable}={seed}");
    Ok(seed)
}

/// The file of `--json FILE`, if there is one; the only option of these checks. What an earlier run
/// left in it is removed, so that it can't be taken for the report of this one.
///
/// # Errors
/// If the command line says something else, or the file can't be removed.
pub(crate) fn report_file(chore: &str) -> io::Result<Option<PathBuf>> {
    let arguments: Vec<String> = env::args().skip(2).collect();
    match arguments.as_slice() {
        [] => Ok(None),
        [flag, path] if flag == "--json" => {
            forget(Path::new(path))?;
            Ok(Some(PathBuf::from(path)))
        }
        _ => Err(io::Error::other(format!("usage: cargo xtask {chore} [--json FILE]"))),
    }
}

/// Removes a file, if there is one.
///
/// # Errors
/// If it can't be removed.
pub(crate) fn forget(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(workspace::at(path, &error)),
        _ => Ok(()),
    }
}
