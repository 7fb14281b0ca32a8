//! A cluster with all that can be done to it, and what is being done.

use std::time::Duration;
use std::{env, io};

use crate::checks::blackbox::fault::{Fault, Kind, What};
use crate::checks::cluster::{Cluster, Home, Program};
use crate::checks::crash::clients;
use crate::checks::damage::place::{self, Place};
use crate::checks::dice::Dice;
use crate::checks::lan::{Lan, Losses};
use crate::checks::small_disk::SmallDisk;

/// The size of the small disk. A member reserves an eighth of it, and becomes careful below a quarter;
/// the log takes 64 MiB at a time.
const DISK_MIB: usize = 384;

/// So often the store of one member is damaged: a member that has to rebuild it eight times within
/// hours ends, rightly.
const STORE_DAMAGES_MAX: usize = 5;

const FLAGS: [&str; 6] =
    ["--log-level", "warn", "--heartbeat-interval", "50", "--election-timeout", "500"];

/// See the module. The processes end before what they live on.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) cluster: Cluster,
    lan: Option<Lan>,
    /// The disk that is small, and whose it is.
    disk: Option<SmallDisk>,
    /// The minority whose files are damaged, each with how often its store was.
    fragile: Vec<(usize, usize)>,
    /// Who was damaged and was not seen to serve since.
    hurt: Vec<usize>,
    open: Vec<Fault>,
}

impl Stage {
    /// A cluster: each member on a host of its own, and one with a small disk, if this is a capsule. The
    /// dice decide who is fragile.
    pub(super) fn set(
        program: Program,
        members: usize,
        is_capsule: bool,
        dice: &mut Dice,
    ) -> io::Result<Self> {
        let mut order: Vec<usize> = (0..members).collect();
        dice.shuffle(&mut order);
        let lan = if is_capsule { Some(Lan::new(members)?) } else { None };
        let disk = if is_capsule { Some(SmallDisk::mount(DISK_MIB)?) } else { None };
        // Never a fragile one: a member without its store can't begin anew where there is not a byte left,
        // not even for the note that says so. It refuses to start until somebody makes room.
        let small = order[members - 1];
        let home = |member| Home {
            host: is_capsule.then_some(member),
            disk: disk.as_ref().filter(|_| member == small).map(|disk| disk.path().to_owned()),
            relay: true,
        };
        let homes: Vec<Home> = (0..members).map(home).collect();
        let cluster = Cluster::start_at(&env::temp_dir(), program, &homes, &FLAGS)?;
        let fragile = order[..(members - 1) / 2].iter().map(|member| (*member, 0)).collect();
        Ok(Self { cluster, lan, disk, fragile, hurt: Vec::new(), open: Vec::new() })
    }

    /// The members whose files may be damaged now: of a minority, those that have served since they were
    /// damaged last.
    pub(super) async fn damageable(&mut self) -> Vec<usize> {
        let clients = clients(&self.cluster, Duration::from_millis(300));
        let mut hurt = Vec::new();
        for member in self.hurt.drain(..) {
            if clients[member].prefix("none/", false).await.is_err() {
                hurt.push(member);
            }
        }
        self.hurt = hurt;
        let all = self.fragile.iter().map(|(member, _)| *member);
        all.filter(|member| !self.hurt.contains(member)).collect()
    }

    /// Begins a fault, and says of what kind it was: a member in which there is nothing to damage was only
    /// killed.
    ///
    /// # Errors
    /// A member that ended by itself before, which nobody could tell after a kill.
    pub(super) fn begin(&mut self, fault: Fault, dice: &mut Dice) -> io::Result<Kind> {
        self.cluster.demand_alive()?;
        let mut kind = fault.kind;
        match &fault.what {
            What::Members(members) => {
                for &member in members {
                    match fault.kind {
                        Kind::Hold => self.cluster.pause(member)?,
                        Kind::Damage => {
                            self.cluster.kill(member)?;
                            if !self.damage(member, dice)? {
                                kind = Kind::Kill;
                            }
                        }
                        _ => self.cluster.kill(member)?,
                    }
                }
            }
            What::Losses(_) => {}
            What::Late(members, delay) => {
                for &member in members {
                    self.cluster.delay(member, *delay)?;
                }
            }
            What::Disk => self.disk().fill()?,
        }
        self.open.push(fault);
        self.lose()?;
        Ok(kind)
    }

    /// Ends the fault that began first.
    pub(super) fn end_first(&mut self) -> io::Result<()> {
        let fault = self.open.remove(0);
        match &fault.what {
            What::Members(members) => {
                for &member in members {
                    match fault.kind {
                        Kind::Hold => self.cluster.resume(member)?,
                        _ => self.cluster.restart(member)?,
                    }
                }
            }
            What::Losses(_) => {}
            What::Late(members, _) => {
                for &member in members {
                    self.cluster.delay(member, Duration::ZERO)?;
                }
            }
            What::Disk => self.disk().relieve()?,
        }
        self.lose()
    }

    /// Takes the room that a member has given back on a disk that is to be full.
    pub(super) fn keep_full(&self) -> io::Result<()> {
        if self.open.iter().any(|fault| matches!(fault.what, What::Disk)) {
            self.disk().fill()?;
        }
        Ok(())
    }

    fn disk(&self) -> &SmallDisk {
        self.disk.as_ref().expect("disks are filled in a capsule only")
    }

    /// Tells the network what all faults together lose: the greater share, where two are of one way.
    fn lose(&mut self) -> io::Result<()> {
        let Some(lan) = &mut self.lan else { return Ok(()) };
        let mut sum = Losses::new();
        for fault in &self.open {
            if let What::Losses(losses) = &fault.what {
                for (way, share) in losses {
                    let most = sum.entry(*way).or_default();
                    *most = share.max(most).to_owned();
                }
            }
        }
        lan.lose(sum)
    }

    /// Flips a bit in the log of a member that does not run, or in its store, or one in each. Returns
    /// whether any was.
    fn damage(&mut self, member: usize, dice: &mut Dice) -> io::Result<bool> {
        let data = self.cluster.data(member);
        let places = place::places(&data, dice)?;
        let first = |folder: &str| {
            let here = |place: &&Place| place.file.starts_with(folder) && place.is_flip();
            places.iter().find(here)
        };
        let (_, stores) = self
            .fragile
            .iter_mut()
            .find(|(fragile, _)| *fragile == member)
            .expect("only the fragile ones are damaged");
        let choice = dice.roll(3);
        let mut is_damaged = false;
        if choice != 0
            && *stores < STORE_DAMAGES_MAX
            && let Some(place) = first("store")
        {
            place.damage(&data)?;
            *stores += 1;
            is_damaged = true;
        }
        if (choice != 1 || !is_damaged)
            && let Some(place) = first("wal")
        {
            place.damage(&data)?;
            is_damaged = true;
        }
        self.hurt.push(member);
        Ok(is_damaged)
    }
}
