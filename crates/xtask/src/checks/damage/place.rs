//! Where a member's files can be damaged, and how.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::checks::dice::Dice;

/// What a disk loses at once.
pub(crate) const SECTOR: usize = 512;

/// So many sectors of zeros in each file are damaged too: the log's space that is not used yet.
const ZEROS_MAX: usize = 8;

/// What becomes of a sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// All of it is zero.
    Zeroed,
    /// One bit of one byte is another.
    Flipped {
        /// Which byte of the sector.
        byte: usize,
        /// The bit.
        mask: u8,
    },
}

/// A damage.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The file, below the data directory.
    pub(crate) file: PathBuf,
    /// Where the sector begins.
    pub(crate) offset: u64,
    /// What becomes of it.
    pub(crate) kind: Kind,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { file, offset, kind } = self;
        match kind {
            Kind::Zeroed => write!(f, "{} sector at {offset} zeroed", file.display()),
            Kind::Flipped { byte, mask } => {
                write!(f, "{} byte {} ^ {mask:#04x}", file.display(), offset + *byte as u64)
            }
        }
    }
}

impl Place {
    /// What the file is called in a table: numbers in its path are left out.
    pub(crate) fn family(&self) -> String {
        let parts = self.file.components().map(|part| {
            let part = part.as_os_str().to_string_lossy().into_owned();
            let (stem, rest) = part.split_at(part.find('.').unwrap_or(part.len()));
            let is_number = stem.bytes().any(|byte| byte.is_ascii_digit())
                && stem.bytes().all(|byte| byte.is_ascii_hexdigit() || b"-v".contains(&byte));
            if is_number { format!("*{rest}") } else { part }
        });
        parts.collect::<Vec<_>>().join("/")
    }

    /// Whether a bit is flipped, which is a damage as often as it is done.
    pub(crate) fn is_flip(&self) -> bool {
        matches!(self.kind, Kind::Flipped { .. })
    }

    /// Damages the file of a data directory.
    pub(crate) fn damage(&self, data: &Path) -> io::Result<()> {
        let file = File::options().read(true).write(true).open(data.join(&self.file))?;
        let there = usize::try_from(file.metadata()?.len().saturating_sub(self.offset))
            .map_or(SECTOR, |length| length.min(SECTOR));
        let mut sector = vec![0; there];
        file.read_exact_at(&mut sector, self.offset)?;
        let before = sector.clone();
        match self.kind {
            Kind::Zeroed => sector.fill(0),
            Kind::Flipped { byte, mask } => sector[byte] ^= mask,
        }
        assert_ne!(before, sector, "{self} is a damage");
        file.write_all_at(&sector, self.offset)
    }
}

/// Every place of the files in a data directory, in an order that takes the files by turns, so that any
/// beginning of it is a fair sample; the same for the same files and dice.
pub(crate) fn places(data: &Path, dice: &mut Dice) -> io::Result<Vec<Place>> {
    let mut by_file = Vec::new();
    for file in files(data)? {
        by_file.push(places_of(data, &file, dice)?);
    }
    let mut order = Vec::new();
    while by_file.iter().any(|places| !places.is_empty()) {
        order.extend(by_file.iter_mut().filter_map(Vec::pop));
    }
    Ok(order)
}

/// The sectors of a file in the order in which they lie there, each with whether it is nothing but zeros.
pub(crate) fn sectors(path: &Path) -> io::Result<Vec<bool>> {
    Ok(fs::read(path)?.chunks(SECTOR).map(|sector| sector.iter().all(|byte| *byte == 0)).collect())
}

/// Where a sector begins.
pub(crate) fn offset(sector: usize) -> u64 {
    (sector * SECTOR) as u64
}

fn places_of(data: &Path, file: &Path, dice: &mut Dice) -> io::Result<Vec<Place>> {
    let length = fs::metadata(data.join(file))?.len();
    let sectors = sectors(&data.join(file))?;
    let mut places = Vec::new();
    let mut flipped = |sector: usize| {
        let offset = offset(sector);
        let byte = dice.roll((length - offset).min(SECTOR as u64)) as usize;
        let kind = Kind::Flipped { byte, mask: 1 << dice.roll(8) };
        Place { file: file.to_owned(), offset, kind }
    };
    let mut zeros = Vec::new();
    for (sector, is_zero) in sectors.iter().enumerate() {
        if *is_zero {
            zeros.push(sector);
            continue;
        }
        places.push(flipped(sector));
        places.push(Place { file: file.to_owned(), offset: offset(sector), kind: Kind::Zeroed });
    }
    let step = zeros.len().div_ceil(ZEROS_MAX).max(1);
    places.extend(zeros.into_iter().step_by(step).map(flipped));
    dice.shuffle(&mut places);
    Ok(places)
}

/// All files below a directory, as paths below it, in order of their names.
pub(crate) fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(directory).expect("it is below").to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// All files below a directory, with what is in them.
pub(crate) fn content(directory: &Path) -> io::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let read = |file: PathBuf| Ok((file.clone(), fs::read(directory.join(file))?));
    files(directory)?.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_damaged_there_and_nowhere_else() {
        let folder = std::env::temp_dir().join(format!("quorate-place-{}", std::process::id()));
        fs::create_dir_all(folder.join("wal")).expect("a folder");
        let content: Vec<u8> = (0..1300_u32).map(|at| (at % 251) as u8 + 1).collect();
        let path = folder.join("wal/0001.wal");
        let all = {
            fs::write(&path, &content).expect("written");
            places(&folder, &mut Dice::new(7, 0)).expect("read")
        };
        assert_eq!(all.len(), 6, "three sectors, two kinds");
        for place in all {
            assert_eq!(place.family(), "wal/*.wal");
            fs::write(&path, &content).expect("written");
            place.damage(&folder).expect("damaged");
            let after = fs::read(&path).expect("read");
            assert_eq!(after.len(), content.len());
            let differ: Vec<usize> = (0..1300).filter(|at| after[*at] != content[*at]).collect();
            let sector = place.offset as usize / SECTOR;
            assert!(differ.iter().all(|at| at / SECTOR == sector), "{place}: {differ:?}");
            let expected = match place.kind {
                Kind::Zeroed => 512.min(1300 - sector * SECTOR),
                Kind::Flipped { .. } => 1,
            };
            assert_eq!(differ.len(), expected, "{place}");
        }
        fs::remove_dir_all(folder).expect("removed");
    }
}
