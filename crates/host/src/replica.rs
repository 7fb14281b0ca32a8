//! A member together with its state machine: the shortest way to a replicated state.
//!
//! A [`Host`] takes a machine away to a thread of its own. A [`Replica`] lets callers look at it there, and for
//! a [`State`] it also opens the file in which the state is kept, and notes beside the log that there is one.

use std::fmt;
use std::fs;
use std::io;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use quorate_node::{
    Fault, FaultKind, Fingerprint, Keep, Kept, Machine, Piece, RestoreError, Scrubbed, Snapshot,
    State, Witness,
};
use quorate_raft::EntryId;

use crate::config::HostConfig;
use crate::error::{RequestError, StartError};
use crate::handle::Handle;
use crate::host::Host;
use crate::{space, whole_file};

/// A running member that can be asked. Stops when dropped, as by [`Replica::shutdown`].
///
/// A state that fits on one write implements [`State`] and is [opened](Replica::open); anything else
/// implements [`Machine`] and is [started](Replica::start).
pub struct Replica<M: Machine> {
    handle: Handle<M::Outcome>,
    machine: Shared<M>,
    host: Host<M::Outcome>,
}

impl<M: Machine> fmt::Debug for Replica<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Replica").field(&self.host).finish()
    }
}

impl<S: State> Replica<Kept<S>> {
    /// Starts a member with the state that the file `state` of its data directory holds, or with the empty one
    /// if there is none.
    ///
    /// The state is written when much was applied since the last time, and in [`Replica::shutdown`];
    /// whatever else was acknowledged is in the log, on the disks of a majority, and is applied again after
    /// a crash.
    ///
    /// # Errors
    /// See [`StartError`]. Where the file of the state is damaged ([`StartError::is_damage`]), and there are
    /// other members, it can be removed: this one then gets the state from them.
    pub fn open(config: HostConfig) -> Result<Self, StartError> {
        let file = StateFile { directory: config.data_dir.clone() };
        let image = file.read().map_err(StartError::Machine)?;
        let machine = Kept::open(image.as_deref(), Box::new(file)).map_err(StartError::Machine)?;
        Self::start(config, machine)
    }
}

impl<O: Send + 'static> Replica<Witness<O>> {
    /// Starts a witness, which keeps where it is in the file `state` of its data directory. It is one of
    /// [`HostConfig::witnesses`], and best has [`Limits::of_witness`](crate::Limits::of_witness).
    ///
    /// # Errors
    /// As [`Replica::open`].
    pub fn witness(config: HostConfig) -> Result<Self, StartError> {
        let machine = open_witness(&config.data_dir).map_err(StartError::Machine)?;
        Self::start(config, machine)
    }
}

/// What a witness has in the place of a state: where it is, from and to the file [`HostConfig::STATE`] of this data
/// directory. For whoever starts a [`Host`] with it; a [`Replica::witness`] has one.
///
/// # Errors
/// If the file can't be read, is damaged, or is that of a state.
pub fn open_witness<O>(data_dir: &Path) -> Result<Witness<O>, Fault> {
    let file = StateFile { directory: data_dir.to_owned() };
    let image = file.read()?;
    Witness::open(image.as_deref(), Box::new(file))
}

impl<M: Machine + 'static> Replica<M> {
    /// Starts a member with this machine. That it has a log is noted in a file beside it
    /// ([`HostConfig::has_begun`]), so that a log that was lost is never taken for a new one.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(config: HostConfig, machine: M) -> Result<Self, StartError> {
        let config = remembering(config)?;
        let machine = Shared(Arc::new(Mutex::new(machine)));
        let (host, handle) = Host::start(config, Box::new(machine.clone()))?;
        Ok(Self { handle, machine, host })
    }

    /// Replicates a command and returns its outcome: see [`Handle::propose`].
    ///
    /// # Errors
    /// See [`RequestError`], which says for each case whether the command may still take effect.
    pub async fn propose(&self, command: impl Into<Bytes>) -> Result<M::Outcome, RequestError> {
        self.handle.propose(command.into()).await
    }

    /// Looks at the state once it reflects everything that any member acknowledged before the call: a
    /// linearizable read. `look` runs while nothing is applied, so it should take out what is wanted and no more.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn read<T>(&self, look: impl FnOnce(&M) -> T) -> Result<T, RequestError> {
        self.handle.read_barrier().await?;
        self.read_local(look)
    }

    /// Looks at the state once it is at most so stale, and says how stale it is at most: see
    /// [`Handle::read_within`]. Answered without a word to anybody as long as that is known to be so.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn read_within<T>(
        &self,
        bound: Duration,
        look: impl FnOnce(&M) -> T,
    ) -> Result<(T, Duration), RequestError> {
        let staleness = self.handle.read_within(bound).await?;
        Ok((self.read_local(look)?, staleness))
    }

    /// Looks at the state as it is on this member, however far it lags behind. Asks nobody, and works without a
    /// leader.
    ///
    /// # Errors
    /// [`RequestError::Stopped`] if the machine has panicked: nobody knows what it is then.
    pub fn read_local<T>(&self, look: impl FnOnce(&M) -> T) -> Result<T, RequestError> {
        let machine = self.machine.0.lock().map_err(|_| RequestError::Stopped)?;
        // A caller that panics must not take the member along.
        let looked = panic::catch_unwind(AssertUnwindSafe(|| look(&machine)));
        drop(machine);
        looked.or_else(|panic| panic::resume_unwind(panic))
    }

    /// All else that a member can be asked: its status, its metrics, to hand leadership over.
    #[must_use]
    pub fn handle(&self) -> &Handle<M::Outcome> {
        &self.handle
    }

    /// Stops in order, with everything that was applied made durable. See [`Host::shutdown`].
    pub fn shutdown(self) {
        self.host.shutdown();
    }

    /// Stops as a crash would. For tests.
    pub fn kill(self) {
        self.host.kill();
    }
}

/// Beside the log: that there is one.
const BEGUN: &str = "begun";

/// The configuration of a member that notes that it has a log.
fn remembering(mut config: HostConfig) -> Result<HostConfig, StartError> {
    let note = config.data_dir.join(BEGUN);
    config.has_begun |= note.try_exists().map_err(|source| StartError::Io {
        what: format!("look for {}", note.display()),
        source,
    })?;
    let noting = |mut then: Box<dyn FnMut() -> Result<(), String> + Send>| {
        let directory = config.data_dir.clone();
        Box::new(move || {
            whole_file::write(&directory, BEGUN, b"").map_err(|error| error.to_string())?;
            then()
        })
    };
    config.on_begun = noting(mem::replace(&mut config.on_begun, Box::new(|| Ok(()))));
    config.on_rejoined = noting(mem::replace(&mut config.on_rejoined, Box::new(|| Ok(()))));
    Ok(config)
}

/// Keeps the image of a state in a file that is there whole or not at all.
struct StateFile {
    directory: PathBuf,
}

impl StateFile {
    /// What was kept, if anything was.
    fn read(&self) -> Result<Option<Vec<u8>>, Fault> {
        match fs::read(self.directory.join(HostConfig::STATE)) {
            Ok(image) => Ok(Some(image)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.fault("read", &error)),
        }
    }

    fn fault(&self, what: &str, error: &io::Error) -> Fault {
        let kind = if space::is_full(error) { FaultKind::Full } else { FaultKind::Io };
        let path = self.directory.join(HostConfig::STATE);
        Fault::new(kind, format!("can't {what} {}: {error}", path.display()))
    }
}

impl Keep for StateFile {
    fn keep(&mut self, image: &[u8]) -> Result<(), Fault> {
        whole_file::write(&self.directory, HostConfig::STATE, image)
            .map_err(|error| self.fault("write", &error))
    }
}

/// A machine at which callers look while it is driven.
struct Shared<M>(Arc<Mutex<M>>);

impl<M> Clone for Shared<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> Shared<M> {
    /// The thread that drives the machine is the only one that can leave it broken, and ends with that.
    fn lock(&self) -> MutexGuard<'_, M> {
        self.0.lock().expect("a machine that panicked is not driven any more")
    }
}

impl<M: Machine> Machine for Shared<M> {
    type Outcome = M::Outcome;

    fn applied(&self) -> EntryId {
        self.lock().applied()
    }

    fn durable(&self) -> EntryId {
        self.lock().durable()
    }

    fn keeps_state(&self) -> bool {
        self.lock().keeps_state()
    }

    fn apply(&mut self, entry: EntryId, command: &Bytes) -> Result<M::Outcome, Fault> {
        self.lock().apply(entry, command)
    }

    fn membership(&self) -> Option<Bytes> {
        self.lock().membership()
    }

    fn set_membership(&mut self, entry: EntryId, membership: &Bytes) -> Result<(), Fault> {
        self.lock().set_membership(entry, membership)
    }

    fn commit(&mut self, through: EntryId) -> Result<(), Fault> {
        self.lock().commit(through)
    }

    fn flush(&mut self) -> Result<(), Fault> {
        self.lock().flush()
    }

    fn begin_flush(&mut self) -> Result<(), Fault> {
        self.lock().begin_flush()
    }

    fn idle(&mut self) -> Result<bool, Fault> {
        self.lock().idle()
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        self.lock().fingerprint()
    }

    fn scrub(&mut self, bytes_max: usize) -> Result<Option<Scrubbed>, Fault> {
        self.lock().scrub(bytes_max)
    }

    fn snapshot(&mut self) -> Result<Box<dyn Snapshot>, Fault> {
        self.lock().snapshot()
    }

    fn restore(&mut self, piece: &Piece) -> Result<(), RestoreError> {
        self.lock().restore(piece)
    }
}
