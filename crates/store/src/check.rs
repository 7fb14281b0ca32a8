//! Verifies what the tree would trust when it opens.
//!
//! The tree checks every block that it reads, and the table of contents of every file. It does not
//! check its manifest, though it stores that file's checksum beside the pointer to it; and it
//! reserves memory for a table of contents before it has checked it. A flipped bit in either could
//! select an older manifest, delete tables as orphans, or ask for a hundred gigabytes. So the
//! manifest as a whole and the end of every table that it names are verified here, before the tree
//! sees them. This reads a few kilobytes per table and no data.
//!
//! ```text
//! current      manifest number (8, little-endian) | xxh3-128 of the manifest (16) | 0
//! v<number>    an archive; its section `tables` lists the tables by level and run
//! tables/<id>  blocks … | table of contents | trailer: magic (4), version (1), kind of checksum (1),
//!              xxh3-128 of the table of contents (16), its position (8), …
//! ```

use crate::{
    error::damaged,
    reading::{read_file, read_through, read_twice},
};
use quorate_mvcc::engine::EngineError;
use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};
use xxhash_rust::xxh3::xxh3_128;

/// The file that names the manifest in force.
const CURRENT: &str = "current";
/// The directory of the table files.
pub(crate) const TABLES: &str = "tables";
const CURRENT_BYTES: usize = 8 + 16 + 1;
/// About 40 bytes per table; a store with a million tables is far from this.
const MANIFEST_BYTES_MAX: u64 = 64 << 20;
const TRAILER_MAGIC: &[u8; 4] = b"SFA!";
/// Magic, version, kind of checksum, checksum, position and length of the table of contents.
const TRAILER_BYTES: usize = 4 + 1 + 1 + 16 + 8 + 8;
/// A table of contents has less than ten entries of some thirty bytes.
const CONTENTS_BYTES_MAX: u64 = 64 << 10;

/// Verifies the manifest of the tree in `dir`, and the ends of the tables that it names.
///
/// # Errors
/// If a file can't be read, is missing, or does not match its checksum.
pub(crate) fn verify_tree(dir: &Path) -> Result<(), EngineError> {
    let manifest = verify_manifest(dir)?;
    for id in table_ids(&manifest)? {
        verify_end_of_table(&dir.join(TABLES).join(id.to_string()))?;
    }
    Ok(())
}

/// Reads every byte of the tree in `dir`, to find out whether the disk can give it back.
///
/// # Errors
/// If a file can't be read, or is missing.
pub(crate) fn read_tree(dir: &Path) -> Result<(), EngineError> {
    let manifest = verify_manifest(dir)?;
    table_ids(&manifest)?
        .into_iter()
        .try_for_each(|id| read_through(&dir.join(TABLES).join(id.to_string())))
}

/// The number of the manifest in force on disk.
///
/// # Errors
/// If the pointer to it can't be read.
pub(crate) fn manifest_number(dir: &Path) -> Result<u64, EngineError> {
    read_pointer(&dir.join(CURRENT)).map(|(number, _)| number)
}

/// The number and the checksum of the manifest in force.
fn read_pointer(current: &Path) -> Result<(u64, [u8; 16]), EngineError> {
    let pointer = read_twice(current.display(), || read_file(current))?;
    let pointer: [u8; CURRENT_BYTES] = pointer
        .as_slice()
        .try_into()
        .map_err(|_| damaged(current, format!("{} bytes long", pointer.len())))?;
    if pointer[CURRENT_BYTES - 1] != 0 {
        return Err(damaged(current, "unknown kind of checksum"));
    }
    let number = pointer[..8].try_into().expect("eight bytes");
    let checksum = pointer[8..24].try_into().expect("sixteen bytes");
    Ok((u64::from_le_bytes(number), checksum))
}

/// Checks the manifest against the checksum in `current`; returns its path.
pub(crate) fn verify_manifest(dir: &Path) -> Result<PathBuf, EngineError> {
    let (number, checksum) = read_pointer(&dir.join(CURRENT))?;
    let path = dir.join(format!("v{number}"));
    let size = read_twice(path.display(), || fs::metadata(&path))?.len();
    if size > MANIFEST_BYTES_MAX {
        return Err(damaged(&path, format!("{size} bytes are more than a manifest takes")));
    }
    let manifest = read_twice(path.display(), || read_file(&path))?;
    if xxh3_128(&manifest).to_le_bytes() != checksum {
        return Err(damaged(&path, "the checksum does not match"));
    }
    Ok(path)
}

/// The tables that a verified manifest names.
fn table_ids(manifest: &Path) -> Result<Vec<u64>, EngineError> {
    let malformed = |error: &dyn std::fmt::Debug| damaged(manifest, format!("{error:?}"));
    let archive = sfa::Reader::new(manifest).map_err(|error| malformed(&error))?;
    let section =
        archive.toc().section(b"tables").ok_or_else(|| damaged(manifest, "it names no tables"))?;
    let mut reader = section.buf_reader(manifest).map_err(|error| malformed(&error))?;
    let mut list = Vec::new();
    reader.read_to_end(&mut list).map_err(|error| malformed(&error))?;
    parse_table_ids(&list).ok_or_else(|| damaged(manifest, "the list of tables is malformed"))
}

/// Levels (1 byte) of runs (1 byte) of tables (4 bytes), each with its number (8), kind of checksum
/// (1), checksum (16) and sequence number (8).
fn parse_table_ids(mut list: &[u8]) -> Option<Vec<u64>> {
    let mut ids = Vec::new();
    let (&levels, rest) = list.split_first()?;
    list = rest;
    for _ in 0..levels {
        let (&runs, rest) = list.split_first()?;
        list = rest;
        for _ in 0..runs {
            let (tables, rest) = list.split_first_chunk::<4>()?;
            list = rest;
            for _ in 0..u32::from_le_bytes(*tables) {
                let (table, rest) = list.split_first_chunk::<{ 8 + 1 + 16 + 8 }>()?;
                ids.push(u64::from_le_bytes(*table.first_chunk()?));
                list = rest;
            }
        }
    }
    list.is_empty().then_some(ids)
}

/// Checks a table's trailer and its table of contents, which lie at its end.
fn verify_end_of_table(path: &Path) -> Result<(), EngineError> {
    let (file, size) = read_twice(path.display(), || {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Ok((file, size))
    })?;
    let Some(contents_end) = size.checked_sub(TRAILER_BYTES as u64) else {
        return Err(damaged(path, format!("{size} bytes are too few for a table")));
    };
    let mut trailer = [0; TRAILER_BYTES];
    read_twice(path.display(), || file.read_exact_at(&mut trailer, contents_end))?;
    if !trailer.starts_with(TRAILER_MAGIC) {
        return Err(damaged(path, "it does not end like a table"));
    }
    let checksum = &trailer[6..22];
    let position = u64::from_le_bytes(trailer[22..30].try_into().expect("eight bytes"));
    let length = contents_end.checked_sub(position).filter(|length| *length <= CONTENTS_BYTES_MAX);
    let Some(length) = length else {
        return Err(damaged(path, "the table of contents is not at its end"));
    };
    let mut contents = vec![0; length as usize];
    read_twice(path.display(), || file.read_exact_at(&mut contents, position))?;
    if xxh3_128(&contents).to_le_bytes() != checksum {
        return Err(damaged(path, "the checksum of the table of contents does not match"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_tables_is_parsed_whole_or_not_at_all() {
        let mut list = vec![2, 1];
        list.extend(2u32.to_le_bytes());
        for id in [7u64, 9] {
            list.extend(id.to_le_bytes());
            list.extend([0; 25]);
        }
        list.push(0);
        assert_eq!(parse_table_ids(&list), Some(vec![7, 9]));
        for length in 0..list.len() {
            assert_eq!(parse_table_ids(&list[..length]), None, "cut at {length}");
        }
        list.push(0);
        assert_eq!(parse_table_ids(&list), None, "trailing bytes were accepted");
    }
}
