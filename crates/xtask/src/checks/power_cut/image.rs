//! What is on a disk, and what would be on it if the power were cut now.
//!
//! POSIX promises little. What was written is durable when `fsync` of its file returns; that a name
//! exists, is gone or is another one, when `fsync` of its directory does. Until then each sector of each
//! page has, after a power cut, its old or its new content, whatever became of those beside it; and each
//! name of each directory stands for what it stood for before or after. So a file that was given another
//! name may be found under both, or under none.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::sync::Arc;

use crate::checks::dice::Dice;

pub(crate) const PAGE_BYTES: usize = 4096;
pub(crate) const SECTOR_BYTES: usize = 512;

/// The number of a file or directory.
pub(crate) type Number = u64;

/// The directory that all others are in.
pub(crate) const ROOT: Number = 1;

type Page = [u8; PAGE_BYTES];

/// What a file holds. Pages that are missing are zeros.
#[derive(Clone, Debug, Default)]
struct Content {
    pages: BTreeMap<u64, Arc<Page>>,
    bytes: u64,
}

/// A file.
#[derive(Clone, Debug, Default)]
struct File {
    now: Content,
    durable: Content,
    /// The pages in which the two differ.
    unsynced: BTreeSet<u64>,
}

type Names = BTreeMap<OsString, Number>;

/// A directory.
#[derive(Clone, Debug, Default)]
struct Directory {
    now: Names,
    durable: Names,
}

#[derive(Clone, Debug)]
enum Node {
    File(File),
    Directory(Directory),
}

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// There is no such file.
    Absent,
    /// There is one already.
    Exists,
    /// It is a directory, and should not be, or the reverse.
    OtherKind,
    /// The directory has something in it.
    NotEmpty,
    /// The disk could not do it.
    Io,
}

/// What there is to say of a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) number: Number,
    pub(crate) is_directory: bool,
    pub(crate) bytes: u64,
}

/// What a power cut took back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Undone {
    /// Sectors that have another content than they were last given.
    pub(crate) sectors: u64,
    /// Names that stand for something else than they last did, or for nothing, or are back.
    pub(crate) names: u64,
}

/// Something that is not durable: a power cut keeps it or takes it back, on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unsynced {
    /// What a name in this directory stands for.
    Name(Number, OsString),
    /// The sector of this file that begins at this byte.
    Sector { file: Number, at: u64 },
    /// How long this file is.
    Length(Number),
}

impl Unsynced {
    /// The file or directory that it is a part of.
    pub(crate) fn owner(&self) -> Number {
        match self {
            Self::Name(owner, _) | Self::Sector { file: owner, .. } | Self::Length(owner) => *owner,
        }
    }
}

/// Files and directories.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    nodes: BTreeMap<Number, Node>,
    last: Number,
}

impl Default for Image {
    /// An empty directory.
    fn default() -> Self {
        let root = Node::Directory(Directory::default());
        Self { nodes: BTreeMap::from([(ROOT, root)]), last: ROOT }
    }
}

impl Image {
    fn file(&mut self, number: Number) -> Result<&mut File, Failure> {
        match self.nodes.get_mut(&number) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Directory(_)) => Err(Failure::OtherKind),
            None => Err(Failure::Absent),
        }
    }

    fn directory(&mut self, number: Number) -> Result<&mut Directory, Failure> {
        match self.nodes.get_mut(&number) {
            Some(Node::Directory(directory)) => Ok(directory),
            Some(Node::File(_)) => Err(Failure::OtherKind),
            None => Err(Failure::Absent),
        }
    }

    /// What there is to say of a file or directory.
    pub(crate) fn about(&self, number: Number) -> Result<About, Failure> {
        match self.nodes.get(&number) {
            Some(Node::File(file)) => {
                Ok(About { number, is_directory: false, bytes: file.now.bytes })
            }
            Some(Node::Directory(_)) => Ok(About { number, is_directory: true, bytes: 0 }),
            None => Err(Failure::Absent),
        }
    }

    /// What a name in a directory stands for.
    pub(crate) fn look_up(&mut self, parent: Number, name: &OsStr) -> Result<About, Failure> {
        let number = *self.directory(parent)?.now.get(name).ok_or(Failure::Absent)?;
        self.about(number)
    }

    /// What is in a directory.
    pub(crate) fn list(&mut self, directory: Number) -> Result<Vec<(OsString, About)>, Failure> {
        let names = self.directory(directory)?.now.clone();
        names.into_iter().map(|(name, number)| Ok((name, self.about(number)?))).collect()
    }

    fn make(&mut self, parent: Number, name: &OsStr, node: Node) -> Result<About, Failure> {
        if self.directory(parent)?.now.contains_key(name) {
            return Err(Failure::Exists);
        }
        self.last += 1;
        let number = self.last;
        self.nodes.insert(number, node);
        self.directory(parent)?.now.insert(name.to_owned(), number);
        self.about(number)
    }

    /// Creates a file.
    pub(crate) fn create(&mut self, parent: Number, name: &OsStr) -> Result<About, Failure> {
        self.make(parent, name, Node::File(File::default()))
    }

    /// Creates a directory.
    pub(crate) fn create_directory(
        &mut self,
        parent: Number,
        name: &OsStr,
    ) -> Result<About, Failure> {
        self.make(parent, name, Node::Directory(Directory::default()))
    }

    /// Removes a name; a directory has to be empty.
    pub(crate) fn remove(&mut self, parent: Number, name: &OsStr) -> Result<(), Failure> {
        let about = self.look_up(parent, name)?;
        if about.is_directory && !self.directory(about.number)?.now.is_empty() {
            return Err(Failure::NotEmpty);
        }
        self.directory(parent)?.now.remove(name);
        Ok(())
    }

    /// Gives something another name, which may be that of another file or of an empty directory.
    pub(crate) fn rename(
        &mut self,
        from: (Number, &OsStr),
        to: (Number, &OsStr),
    ) -> Result<(), Failure> {
        let about = self.look_up(from.0, from.1)?;
        if let Some(&replaced) = self.directory(to.0)?.now.get(to.1) {
            if self.about(replaced)?.is_directory != about.is_directory {
                return Err(Failure::OtherKind);
            }
            if about.is_directory && !self.directory(replaced)?.now.is_empty() {
                return Err(Failure::NotEmpty);
            }
        }
        self.directory(from.0)?.now.remove(from.1);
        self.directory(to.0)?.now.insert(to.1.to_owned(), about.number);
        Ok(())
    }

    /// Reads, no further than the end of the file.
    pub(crate) fn read(
        &mut self,
        number: Number,
        offset: u64,
        bytes: usize,
    ) -> Result<Vec<u8>, Failure> {
        let content = &self.file(number)?.now;
        let end = content.bytes.min(offset + bytes as u64);
        let mut read = Vec::with_capacity(bytes);
        let mut at = offset;
        while at < end {
            let (page, begin, length) = Self::piece(at, end);
            match content.pages.get(&page) {
                Some(page) => read.extend_from_slice(&page[begin..begin + length]),
                None => read.resize(read.len() + length, 0),
            }
            at += length as u64;
        }
        Ok(read)
    }

    /// Writes.
    pub(crate) fn write(
        &mut self,
        number: Number,
        offset: u64,
        data: &[u8],
    ) -> Result<(), Failure> {
        let file = self.file(number)?;
        let end = offset + data.len() as u64;
        let mut at = offset;
        let mut rest = data;
        while at < end {
            let (number, begin, length) = Self::piece(at, end);
            let (piece, behind) = rest.split_at(length);
            let page = file.now.pages.entry(number).or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            Arc::make_mut(page)[begin..begin + length].copy_from_slice(piece);
            file.unsynced.insert(number);
            at += length as u64;
            rest = behind;
        }
        file.now.bytes = file.now.bytes.max(end);
        Ok(())
    }

    /// The page at a position, the position in it, and how much of it comes before the end.
    fn piece(at: u64, end: u64) -> (u64, usize, usize) {
        let page = at / PAGE_BYTES as u64;
        let begin = usize::try_from(at % PAGE_BYTES as u64).expect("less than a page");
        let length = (PAGE_BYTES - begin).min(usize::try_from(end - at).unwrap_or(usize::MAX));
        (page, begin, length)
    }

    /// Makes a file longer, with zeros, or shorter.
    pub(crate) fn resize(&mut self, number: Number, bytes: u64) -> Result<(), Failure> {
        let file = self.file(number)?;
        if bytes < file.now.bytes {
            let gone = file.now.pages.split_off(&bytes.div_ceil(PAGE_BYTES as u64));
            file.unsynced.extend(gone.keys());
            let (page, begin, _) = Self::piece(bytes, u64::MAX);
            if let Some(last) = file.now.pages.get_mut(&page) {
                Arc::make_mut(last)[begin..].fill(0);
                file.unsynced.insert(page);
            }
        }
        file.now.bytes = bytes;
        Ok(())
    }

    /// Makes a file durable, but not its name.
    pub(crate) fn sync(&mut self, number: Number) -> Result<(), Failure> {
        let file = self.file(number)?;
        for page in std::mem::take(&mut file.unsynced) {
            match file.now.pages.get(&page) {
                Some(new) => file.durable.pages.insert(page, new.clone()),
                None => file.durable.pages.remove(&page),
            };
        }
        file.durable.bytes = file.now.bytes;
        Ok(())
    }

    /// Makes the names in a directory durable.
    pub(crate) fn sync_directory(&mut self, number: Number) -> Result<(), Failure> {
        let directory = self.directory(number)?;
        directory.durable = directory.now.clone();
        Ok(())
    }

    /// Forgets what has no name any more, neither now nor after a power cut, and is not `open`.
    pub(crate) fn forget_nameless(&mut self, open: &BTreeSet<Number>) {
        let mut named = BTreeSet::from([ROOT]);
        for node in self.nodes.values() {
            if let Node::Directory(Directory { now, durable }) = node {
                named.extend(now.values().chain(durable.values()));
            }
        }
        self.nodes.retain(|number, _| named.contains(number) || open.contains(number));
    }

    /// Cuts the power, as the dice will. What belongs to one file or directory shares a fate more often than
    /// not.
    pub(crate) fn cut(&mut self, dice: &mut Dice) -> Undone {
        let (mut owner, mut kept_of_four) = (0, 0);
        self.cut_by(|what| {
            if owner != what.owner() {
                (owner, kept_of_four) = (what.owner(), dice.roll(5));
            }
            dice.roll(4) < kept_of_four
        })
    }

    /// Cuts the power: all that is not durable is kept or lost, as somebody says. What is on the disk after
    /// that is durable: nothing else can happen to it.
    pub(crate) fn cut_by(&mut self, mut is_kept: impl FnMut(Unsynced) -> bool) -> Undone {
        let mut undone = Undone::default();
        for (number, node) in &mut self.nodes {
            match node {
                Node::File(file) => undone.sectors += file.cut(*number, &mut is_kept),
                Node::Directory(directory) => {
                    undone.names += directory.cut(*number, &mut is_kept);
                }
            }
        }
        self.forget_nameless(&BTreeSet::new());
        undone
    }

    /// All that is not durable, in the order in which [`Self::cut_by`] asks for it.
    pub(crate) fn unsynced(&self) -> Vec<Unsynced> {
        let mut unsynced = Vec::new();
        self.clone().cut_by(|what| {
            unsynced.push(what);
            true
        });
        unsynced
    }

    /// Whether a name stands for something, and may stand for something else after a power cut.
    pub(crate) fn replaces(&self) -> bool {
        self.nodes.values().any(|node| match node {
            Node::File(_) => false,
            Node::Directory(Directory { now, durable }) => {
                now.iter().any(|(name, new)| durable.get(name).is_some_and(|old| old != new))
            }
        })
    }

    /// Takes back all that is not durable: the worst that a power cut can do.
    pub(crate) fn take_back(&mut self) {
        for node in self.nodes.values_mut() {
            match node {
                Node::File(file) => {
                    file.unsynced.clear();
                    file.now = file.durable.clone();
                }
                Node::Directory(directory) => directory.now = directory.durable.clone(),
            }
        }
        self.forget_nameless(&BTreeSet::new());
    }
}

impl Directory {
    /// Returns how many names were undone.
    fn cut(&mut self, number: Number, is_kept: &mut impl FnMut(Unsynced) -> bool) -> u64 {
        let all: BTreeSet<OsString> = self.now.keys().chain(self.durable.keys()).cloned().collect();
        let changed = all.into_iter().filter(|name| self.now.get(name) != self.durable.get(name));
        let mut undone = 0;
        for name in changed.collect::<Vec<_>>() {
            if !is_kept(Unsynced::Name(number, name.clone())) {
                undone += 1;
            } else if let Some(new) = self.now.get(&name) {
                self.durable.insert(name, *new);
            } else {
                self.durable.remove(&name);
            }
        }
        self.now = self.durable.clone();
        undone
    }
}

impl File {
    /// Returns how many sectors were undone.
    fn cut(&mut self, file: Number, is_kept: &mut impl FnMut(Unsynced) -> bool) -> u64 {
        let unsynced = std::mem::take(&mut self.unsynced);
        for number in &unsynced {
            let new = self.now.page(*number);
            let mut page = self.durable.page(*number);
            for begin in (0..PAGE_BYTES).step_by(SECTOR_BYTES) {
                let sector = begin..begin + SECTOR_BYTES;
                let differs = page[sector.clone()] != new[sector.clone()];
                let at = number * PAGE_BYTES as u64 + begin as u64;
                if differs && is_kept(Unsynced::Sector { file, at }) {
                    page[sector.clone()].copy_from_slice(&new[sector]);
                }
            }
            self.durable.pages.insert(*number, Arc::new(page));
        }
        if self.durable.bytes != self.now.bytes && is_kept(Unsynced::Length(file)) {
            self.durable.bytes = self.now.bytes;
        }
        // A file that became shorter has nothing behind its end, should it become longer again.
        let bytes = self.durable.bytes;
        self.durable.pages.split_off(&bytes.div_ceil(PAGE_BYTES as u64));
        let (page, begin, _) = Image::piece(bytes, u64::MAX);
        if let Some(last) = self.durable.pages.get_mut(&page) {
            Arc::make_mut(last)[begin..].fill(0);
        }
        let undone = unsynced.iter().map(|number| {
            let (then, now) = (self.now.page(*number), self.durable.page(*number));
            let sectors = then.chunks(SECTOR_BYTES).zip(now.chunks(SECTOR_BYTES));
            sectors.filter(|(then, now)| then != now).count() as u64
        });
        let undone = undone.sum();
        self.now = self.durable.clone();
        undone
    }
}

impl Content {
    /// A page, of zeros if there is none.
    fn page(&self, number: u64) -> Page {
        self.pages.get(&number).map_or([0; PAGE_BYTES], |page| **page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> &OsStr {
        OsStr::new(name)
    }

    /// A file of which all is durable.
    fn durable(image: &mut Image, called: &str, data: &[u8]) -> Number {
        let number = image.create(ROOT, name(called)).unwrap().number;
        image.write(number, 0, data).unwrap();
        image.sync(number).unwrap();
        image.sync_directory(ROOT).unwrap();
        number
    }

    fn all(image: &mut Image, number: Number) -> Vec<u8> {
        image.read(number, 0, 1 << 20).unwrap()
    }

    #[test]
    fn what_was_synced_is_there_and_each_other_sector_is_old_or_new() {
        let (mut torn, mut whole, mut undone) = (0, 0, 0);
        for seed in 1..200 {
            let mut image = Image::default();
            let file = durable(&mut image, "file", &[1; 10_000]);
            image.write(file, 4_096, &[2; 4_096]).unwrap();
            let cut = image.cut(&mut Dice::new(seed, 0));
            let after = all(&mut image, file);
            assert_eq!(after.len(), 10_000);
            assert!(after[..4_096].iter().chain(&after[8_192..]).all(|byte| *byte == 1));
            let sectors = after[4_096..8_192].chunks(SECTOR_BYTES);
            let new = sectors.filter(|sector| {
                assert!([[1; 512], [2; 512]].contains(&(*sector).try_into().unwrap()));
                sector[0] == 2
            });
            let new = new.count();
            assert_eq!(cut, Undone { sectors: 8 - new as u64, names: 0 });
            match new {
                0 => undone += 1,
                8 => whole += 1,
                _ => torn += 1,
            }
            assert_eq!(image.cut(&mut Dice::new(seed, 1)), Undone::default());
            assert_eq!(all(&mut image, file), after, "a cut leaves nothing to the next one");
        }
        assert!(torn > 50 && whole > 20 && undone > 20, "{torn} {whole} {undone}");
    }

    #[test]
    fn each_name_of_a_directory_that_was_not_synced_is_kept_or_lost_on_its_own() {
        let mut fates = BTreeSet::new();
        for seed in 0..50 {
            let mut image = Image::default();
            durable(&mut image, "old", b"old");
            durable(&mut image, "new", b"new");
            image.rename((ROOT, name("new")), (ROOT, name("old"))).unwrap();
            let undone = image.cut(&mut Dice::new(seed, 0));
            let is_gone = image.look_up(ROOT, name("new")) == Err(Failure::Absent);
            let old = image.look_up(ROOT, name("old")).unwrap().number;
            let is_replaced = all(&mut image, old) == b"new";
            assert!(is_replaced || all(&mut image, old) == b"old");
            assert_eq!(undone.names, u64::from(!is_gone) + u64::from(!is_replaced));
            fates.insert((is_gone, is_replaced));
        }
        assert_eq!(fates.len(), 4, "{fates:?}");
    }

    #[test]
    fn what_is_not_durable_is_told_and_nothing_else() {
        let mut image = Image::default();
        let file = durable(&mut image, "file", &[1; 10_000]);
        assert_eq!(image.unsynced(), []);
        // One sector of these is as before.
        image.write(file, 3_584, &[&[2; 512][..], &[1; 512], &[2; 512]].concat()).unwrap();
        image.write(file, 10_000, &[]).unwrap();
        image.remove(ROOT, name("file")).unwrap();
        let sector = |at| Unsynced::Sector { file, at };
        let unsynced = [Unsynced::Name(ROOT, "file".into()), sector(3_584), sector(4_608)];
        assert_eq!(image.unsynced(), unsynced);
        image.resize(file, 10_001).unwrap();
        assert_eq!(image.unsynced()[3..], [Unsynced::Length(file)]);
        image.cut_by(|what| what == Unsynced::Length(file));
        assert_eq!(image.about(file).unwrap().bytes, 10_001);
        assert_eq!(all(&mut image, file)[..10_000], [1; 10_000]);
    }

    #[test]
    fn only_an_empty_directory_is_replaced_by_another() {
        let mut image = Image::default();
        let mut folder = |called| image.create_directory(ROOT, name(called)).unwrap().number;
        let (new, full) = (folder("new"), folder("full"));
        folder("empty");
        image.create(full, name("file")).unwrap();
        image.create(ROOT, name("file")).unwrap();
        let mut rename = |from, to| image.rename((ROOT, name(from)), (ROOT, name(to)));
        assert_eq!(rename("new", "full"), Err(Failure::NotEmpty));
        assert_eq!(rename("new", "file"), Err(Failure::OtherKind));
        assert_eq!(rename("file", "new"), Err(Failure::OtherKind));
        assert_eq!(rename("new", "empty"), Ok(()));
        assert_eq!(image.look_up(ROOT, name("empty")).unwrap().number, new);
        assert!(image.look_up(full, name("file")).is_ok());
    }

    #[test]
    fn two_directories_need_not_share_a_fate() {
        let mut fates = BTreeSet::new();
        for seed in 0..50 {
            let mut image = Image::default();
            let folders =
                ["a", "b"].map(|folder| image.create_directory(ROOT, name(folder)).unwrap().number);
            image.sync_directory(ROOT).unwrap();
            for folder in folders {
                image.create(folder, name("file")).unwrap();
            }
            image.cut(&mut Dice::new(seed, 0));
            fates.insert(folders.map(|folder| image.look_up(folder, name("file")).is_ok()));
        }
        assert_eq!(fates.len(), 4, "{fates:?}");
    }

    #[test]
    fn a_file_that_was_removed_may_come_back_unless_its_directory_was_synced() {
        for is_synced in [false, true] {
            let mut back = 0;
            for seed in 0..50 {
                let mut image = Image::default();
                durable(&mut image, "file", b"data");
                image.remove(ROOT, name("file")).unwrap();
                if is_synced {
                    image.sync_directory(ROOT).unwrap();
                }
                image.forget_nameless(&BTreeSet::new());
                let undone = image.cut(&mut Dice::new(seed, 0));
                let is_back = image.look_up(ROOT, name("file")).is_ok();
                assert_eq!(undone.names, u64::from(is_back));
                back += undone.names;
            }
            assert_eq!(back > 0, !is_synced, "{back}");
        }
    }

    #[test]
    fn what_is_taken_back_is_as_it_was() {
        let mut image = Image::default();
        let file = durable(&mut image, "file", &[1; 5_000]);
        image.write(file, 100, &[2; 6_000]).unwrap();
        image.rename((ROOT, name("file")), (ROOT, name("other"))).unwrap();
        image.create(ROOT, name("new")).unwrap();
        image.take_back();
        let names: Vec<OsString> =
            image.list(ROOT).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["file"]);
        assert_eq!(all(&mut image, file), [1; 5_000]);
        assert_eq!(image.cut(&mut Dice::new(1, 0)), Undone::default());
    }

    #[test]
    fn a_file_that_grows_again_has_zeros_where_it_was_cut_off() {
        let mut image = Image::default();
        let file = durable(&mut image, "file", &[7; 9_000]);
        image.resize(file, 5_000).unwrap();
        image.resize(file, 9_000).unwrap();
        let expected: Vec<u8> = [vec![7; 5_000], vec![0; 4_000]].concat();
        assert_eq!(all(&mut image, file), expected);
        image.sync(file).unwrap();
        image.cut(&mut Dice::new(1, 0));
        assert_eq!(all(&mut image, file), expected);
    }
}
