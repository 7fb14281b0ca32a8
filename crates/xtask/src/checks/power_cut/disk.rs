//! A disk whose power can be cut: the [`Image`] as a file system that real processes use (FUSE).
//!
//! Nothing is cached by the kernel, so that what a process has written and what it has made durable is
//! known here, call by call.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use std::{env, fs, io};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem,
    FopenFlags, Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs,
    ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::image::{About, Failure, Image, Number, Undone};
use crate::checks::cluster::temporary_folder;
use crate::checks::dice::Dice;

/// The kernel is to ask again each time.
const NEVER_CACHED: Duration = Duration::ZERO;

/// So much room is said to be there.
const ROOM_BYTES: u64 = 64 << 30;

const BLOCK_BYTES: u32 = 4096;

/// A disk, as long as this lives.
pub(crate) struct Disk {
    path: PathBuf,
    state: Arc<Mutex<State>>,
    session: Option<BackgroundSession>,
}

#[derive(Debug, Default)]
struct State {
    image: Image,
    /// Without power, nothing is read or written.
    power_is_cut: bool,
    /// After so many changes of a kind the power is cut, and these dice say what becomes of everything.
    to_be_cut: Option<(Change, u64, Dice)>,
    /// After so many syncs one fails, of whatever it is.
    to_fail: Option<u64>,
    /// Of what it says that it has synced, and has not. Then a cut takes back everything since.
    lies: BTreeSet<Change>,
    /// How often each file is open.
    open: BTreeMap<Number, usize>,
    done: Done,
    /// What was on the disk when it began to be filmed, and after each operation from then on.
    film: Option<Vec<Image>>,
}

/// What is not durable for a moment at least, as nobody can have synced it at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Change {
    /// A name was created, removed or given to something else.
    Name,
    /// Something was written to a file, or its length was changed.
    Content,
}

/// What was done with a disk, and to it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    /// How many syncs of files and directories there were.
    pub(crate) syncs: u64,
    /// How many of them failed while there was power.
    pub(crate) failed: u64,
    /// What the cuts took back, all together.
    pub(crate) undone: Undone,
}

impl Disk {
    /// An empty disk, at a path of its own.
    ///
    /// # Errors
    /// If this process may not mount it.
    pub(crate) fn mount() -> io::Result<Self> {
        Self::mount_with(Image::default())
    }

    /// A disk with something on it, of which what is not durable is only in the memory of the kernel.
    ///
    /// # Errors
    /// If this process may not mount it.
    pub(crate) fn mount_with(image: Image) -> io::Result<Self> {
        let path = temporary_folder(&env::temp_dir())?;
        let state = Arc::new(Mutex::new(State { image, ..State::default() }));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("quorate-power-cut".into())];
        match fuser::spawn_mount(Files(state.clone()), &path, &config) {
            Ok(session) => Ok(Self { path, state, session: Some(session) }),
            Err(error) => {
                fs::remove_dir(&path)?;
                Err(io::Error::other(format!(
                    "this check needs a disk of its own making (FUSE), and may not mount one: {error}"
                )))
            }
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What was done until now.
    pub(crate) fn done(&self) -> Done {
        lock(&self.state).done
    }

    /// From now on it says that it has synced changes of a kind, and has not; the next cut takes all back
    /// that is not durable.
    pub(crate) fn lie_about(&self, change: Change) {
        lock(&self.state).lies.insert(change);
    }

    /// From now on what is on the disk is noted after each operation that changes it or makes it durable.
    pub(crate) fn begin_film(&self) {
        let mut state = lock(&self.state);
        state.film = Some(vec![state.image.clone()]);
    }

    /// How many pictures the film has.
    pub(crate) fn filmed(&self) -> usize {
        lock(&self.state).film.as_ref().map_or(0, Vec::len)
    }

    /// The film.
    pub(crate) fn end_film(&self) -> Vec<Image> {
        lock(&self.state).film.take().unwrap_or_default()
    }

    /// Cuts the power, at one moment for all that is on the disk. Whoever uses it gets errors from now on.
    /// If that has happened already, nothing does.
    pub(crate) fn cut(&self, dice: &mut Dice) {
        lock(&self.state).cut(dice);
    }

    /// Cuts the power right after so many changes of a kind from now on.
    pub(crate) fn cut_after(&self, change: Change, count: u64, dice: Dice) {
        lock(&self.state).to_be_cut = Some((change, count, dice));
    }

    /// One sync fails after so many from now on: it says so, and nothing is durable by it. `None`: none does.
    pub(crate) fn fail_after(&self, syncs: Option<u64>) {
        lock(&self.state).to_fail = syncs;
    }

    /// Whether there is power.
    pub(crate) fn has_power(&self) -> bool {
        !lock(&self.state).power_is_cut
    }

    /// Power is there again. Whoever used the disk before has to be gone.
    pub(crate) fn power_on(&self) {
        lock(&self.state).power_is_cut = false;
    }
}

impl State {
    fn cut(&mut self, dice: &mut Dice) {
        self.to_be_cut = None;
        if !self.power_is_cut {
            self.power_is_cut = true;
            if !self.lies.is_empty() {
                return self.image.take_back();
            }
            let undone = self.image.cut(dice);
            self.done.undone.sectors += undone.sectors;
            self.done.undone.names += undone.names;
        }
    }

    /// Somebody opened a file.
    fn opened(&mut self, number: Number) {
        *self.open.entry(number).or_default() += 1;
    }

    /// Whether a sync fails that somebody asks for now.
    fn fails(&mut self) -> bool {
        let left = self.to_fail.take();
        self.to_fail = left.and_then(|left| left.checked_sub(1));
        self.done.failed += u64::from(left == Some(0));
        left == Some(0)
    }

    /// An operation is done.
    fn picture(&mut self) {
        if let Some(film) = &mut self.film {
            film.push(self.image.clone());
        }
    }

    /// Somebody changed something.
    fn changed(&mut self, change: Change) {
        self.picture();
        match self.to_be_cut.take() {
            Some((awaited, 0 | 1, mut dice)) if awaited == change => self.cut(&mut dice),
            Some((awaited, count, dice)) => {
                let left = count - u64::from(awaited == change);
                self.to_be_cut = Some((awaited, left, dice));
            }
            None => {}
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            let _ = session.umount_and_join();
        }
        let _ = fs::remove_dir(&self.path);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The calls of the kernel.
struct Files(Arc<Mutex<State>>);

impl Files {
    /// Does something with the image, if there is power.
    fn with<T>(&self, act: impl FnOnce(&mut State) -> Result<T, Failure>) -> Result<T, Errno> {
        let mut state = lock(&self.0);
        if state.power_is_cut {
            return Err(Errno::EIO);
        }
        act(&mut state).map_err(|failure| match failure {
            Failure::Absent => Errno::ENOENT,
            Failure::Exists => Errno::EEXIST,
            Failure::OtherKind => Errno::EINVAL,
            Failure::NotEmpty => Errno::ENOTEMPTY,
            Failure::Io => Errno::EIO,
        })
    }

    /// The same, with something that changes a name.
    fn rename_with<T>(
        &self,
        act: impl FnOnce(&mut Image) -> Result<T, Failure>,
    ) -> Result<T, Errno> {
        self.with(|state| {
            let acted = act(&mut state.image)?;
            state.changed(Change::Name);
            Ok(acted)
        })
    }

    /// Syncs what was changed, or says so.
    fn sync_with(
        &self,
        change: Change,
        act: impl FnOnce(&mut State) -> Result<(), Failure>,
    ) -> Result<(), Errno> {
        self.with(|state| {
            state.done.syncs += 1;
            if state.fails() {
                return Err(Failure::Io);
            }
            if !state.lies.contains(&change) {
                act(state)?;
            }
            state.picture();
            Ok(())
        })
    }
}

/// Replies with what was given, or with why nothing was. The types of replies have no trait in common.
macro_rules! answer {
    ($reply:ident, $acted:expr, $given:pat => $said:expr) => {
        match $acted {
            Ok($given) => $said,
            Err(error) => $reply.error(error),
        }
    };
}

fn attributes(about: About) -> FileAttr {
    let (kind, perm) = if about.is_directory {
        (FileType::Directory, 0o755)
    } else {
        (FileType::RegularFile, 0o644)
    };
    let then = SystemTime::UNIX_EPOCH;
    FileAttr {
        ino: INodeNo(about.number),
        size: about.bytes,
        blocks: about.bytes.div_ceil(512),
        atime: then,
        mtime: then,
        ctime: then,
        crtime: then,
        kind,
        perm,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

impl Filesystem for Files {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.with(|state| state.image.look_up(parent.0, name));
        answer!(reply, found, about => {
            reply.entry(&NEVER_CACHED, &attributes(about), Generation(0));
        });
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let about = self.with(|state| state.image.about(ino.0));
        answer!(reply, about, about => reply.attr(&NEVER_CACHED, &attributes(about)));
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let resized = self.with(|state| {
            if let Some(bytes) = size {
                state.image.resize(ino.0, bytes)?;
            }
            let about = state.image.about(ino.0)?;
            if size.is_some() {
                state.changed(Change::Content);
            }
            Ok(about)
        });
        answer!(reply, resized, about => reply.attr(&NEVER_CACHED, &attributes(about)));
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        let created = self.rename_with(|image| image.create_directory(parent.0, name));
        answer!(reply, created, about => {
            reply.entry(&NEVER_CACHED, &attributes(about), Generation(0));
        });
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let removed = self.rename_with(|image| image.remove(parent.0, name));
        answer!(reply, removed, () => reply.ok());
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.unlink(request, parent, name, reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !flags.is_empty() {
            return reply.error(Errno::EINVAL);
        }
        let (from, to) = ((parent.0, name), (newparent.0, newname));
        answer!(reply, self.rename_with(|image| image.rename(from, to)), () => reply.ok());
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let created = self.with(|state| {
            let about = state.image.create(parent.0, name)?;
            state.opened(about.number);
            state.changed(Change::Name);
            Ok(attributes(about))
        });
        answer!(reply, created, attributes => {
            let direct = FopenFlags::FOPEN_DIRECT_IO;
            reply.created(&NEVER_CACHED, &attributes, Generation(0), FileHandle(0), direct);
        });
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let opened = self.with(|state| {
            state.image.about(ino.0)?;
            state.opened(ino.0);
            Ok(())
        });
        answer!(reply, opened, () => reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO));
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        let mut state = lock(&self.0);
        if let Some(open) = state.open.get_mut(&ino.0) {
            *open -= 1;
            if *open == 0 {
                state.open.remove(&ino.0);
            }
        }
        reply.ok();
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = self.with(|state| state.image.read(ino.0, offset, size as usize));
        answer!(reply, read, data => reply.data(&data));
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let bytes = u32::try_from(data.len()).expect("the kernel counts so");
        let written = self.with(|state| {
            state.image.write(ino.0, offset, data)?;
            state.changed(Change::Content);
            Ok(())
        });
        answer!(reply, written, () => reply.written(bytes));
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        answer!(reply, self.with(|_| Ok(())), () => reply.ok());
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let synced = self.sync_with(Change::Content, |state| state.image.sync(ino.0));
        answer!(reply, synced, () => reply.ok());
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let synced = self.sync_with(Change::Name, |state| {
            state.image.sync_directory(ino.0)?;
            let open: BTreeSet<Number> = state.open.keys().copied().collect();
            state.image.forget_nameless(&open);
            Ok(())
        });
        answer!(reply, synced, () => reply.ok());
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listed = self.with(|state| state.image.list(ino.0));
        answer!(reply, listed, listed => {
            let dots = [".", ".."].map(|dot| (dot.into(), ino.0, FileType::Directory));
            let entries = listed.into_iter().map(|(name, about)| {
                let kind = attributes(about).kind;
                (name, about.number, kind)
            });
            let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
            let all = (1..).zip(dots.into_iter().chain(entries));
            for (at, (name, number, kind)) in all.skip(skipped) {
                if reply.add(INodeNo(number), at, kind, &name) {
                    break;
                }
            }
            reply.ok();
        });
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let blocks = ROOM_BYTES / u64::from(BLOCK_BYTES);
        reply.statfs(blocks, blocks, blocks, 1 << 20, 1 << 20, BLOCK_BYTES, 255, BLOCK_BYTES);
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        // Punching holes and the like are left to file systems that have them.
        if mode != 0 {
            return reply.error(Errno::ENOTSUP);
        }
        let resized = self.with(|state| {
            let bytes = state.image.about(ino.0)?.bytes;
            state.image.resize(ino.0, bytes.max(offset + length))?;
            state.changed(Change::Content);
            Ok(())
        });
        answer!(reply, resized, () => reply.ok());
    }
}
