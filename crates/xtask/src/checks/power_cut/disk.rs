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

use super::image::{About, Failure, Image, NamesAfter, Number};
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

#[derive(Debug)]
struct State {
    image: Image,
    /// Without power, nothing is read or written.
    has_power: bool,
    /// How often each file is open.
    open: BTreeMap<Number, usize>,
    /// How many syncs of files and directories there were.
    syncs: u64,
}

impl Disk {
    /// An empty disk, at a path of its own.
    ///
    /// # Errors
    /// If this process may not mount it.
    pub(crate) fn mount() -> io::Result<Self> {
        let path = temporary_folder(&env::temp_dir())?;
        let state = State { image: Image::new(), has_power: true, open: BTreeMap::new(), syncs: 0 };
        let state = Arc::new(Mutex::new(state));
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

    /// How many syncs there were.
    pub(crate) fn syncs(&self) -> u64 {
        lock(&self.state).syncs
    }

    /// Cuts the power, at one moment for all that is on the disk. Whoever uses it gets errors from now on.
    pub(crate) fn cut(&self, names: NamesAfter, dice: &mut Dice) {
        let mut state = lock(&self.state);
        state.has_power = false;
        state.image.cut(names, dice);
    }

    /// Power is there again. Whoever used the disk before has to be gone.
    pub(crate) fn power_on(&self) {
        lock(&self.state).has_power = true;
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
        if !state.has_power {
            return Err(Errno::EIO);
        }
        act(&mut state).map_err(|failure| match failure {
            Failure::Absent => Errno::ENOENT,
            Failure::Exists => Errno::EEXIST,
            Failure::OtherKind => Errno::EINVAL,
            Failure::NotEmpty => Errno::ENOTEMPTY,
        })
    }

    fn done(&self, reply: ReplyEmpty, act: impl FnOnce(&mut State) -> Result<(), Failure>) {
        match self.with(act) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn entry(&self, reply: ReplyEntry, act: impl FnOnce(&mut State) -> Result<About, Failure>) {
        match self.with(act) {
            Ok(about) => reply.entry(&NEVER_CACHED, &attributes(about), Generation(0)),
            Err(error) => reply.error(error),
        }
    }
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
        self.entry(reply, |state| state.image.look_up(parent.0, name));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.with(|state| state.image.about(ino.0)) {
            Ok(about) => reply.attr(&NEVER_CACHED, &attributes(about)),
            Err(error) => reply.error(error),
        }
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
            state.image.about(ino.0)
        });
        match resized {
            Ok(about) => reply.attr(&NEVER_CACHED, &attributes(about)),
            Err(error) => reply.error(error),
        }
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
        self.entry(reply, |state| state.image.create_directory(parent.0, name));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.done(reply, |state| state.image.remove(parent.0, name));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.done(reply, |state| state.image.remove(parent.0, name));
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
        self.done(reply, |state| state.image.rename((parent.0, name), (newparent.0, newname)));
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
            *state.open.entry(about.number).or_default() += 1;
            Ok(about)
        });
        match created {
            Ok(about) => reply.created(
                &NEVER_CACHED,
                &attributes(about),
                Generation(0),
                FileHandle(0),
                FopenFlags::FOPEN_DIRECT_IO,
            ),
            Err(error) => reply.error(error),
        }
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let opened = self.with(|state| {
            state.image.about(ino.0)?;
            *state.open.entry(ino.0).or_default() += 1;
            Ok(())
        });
        match opened {
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO),
            Err(error) => reply.error(error),
        }
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
        match self.with(|state| state.image.read(ino.0, offset, size as usize)) {
            Ok(data) => reply.data(&data),
            Err(error) => reply.error(error),
        }
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
        match self.with(|state| state.image.write(ino.0, offset, data)) {
            Ok(()) => reply.written(u32::try_from(data.len()).expect("the kernel counts so")),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        self.done(reply, |_| Ok(()));
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.done(reply, |state| {
            state.syncs += 1;
            state.image.sync(ino.0)
        });
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.done(reply, |state| {
            state.syncs += 1;
            state.image.sync_directory(ino.0)?;
            let open: BTreeSet<Number> = state.open.keys().copied().collect();
            state.image.forget_nameless(&open);
            Ok(())
        });
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listed = match self.with(|state| state.image.list(ino.0)) {
            Ok(listed) => listed,
            Err(error) => return reply.error(error),
        };
        let dots = [".", ".."].map(|dot| (dot.into(), ino.0, FileType::Directory));
        let entries = listed.into_iter().map(|(name, about)| {
            let kind = attributes(about).kind;
            (name, about.number, kind)
        });
        let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
        for (at, (name, number, kind)) in (1..).zip(dots.into_iter().chain(entries)).skip(skipped) {
            if reply.add(INodeNo(number), at, kind, &name) {
                break;
            }
        }
        reply.ok();
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
        self.done(reply, |state| {
            let bytes = state.image.about(ino.0)?.bytes;
            state.image.resize(ino.0, bytes.max(offset + length))
        });
    }
}
