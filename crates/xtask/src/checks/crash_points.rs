//! A store whose power is cut at every operation on its disk, in every way that POSIX allows.
//!
//! The log has such a sweep among its tests, on a disk in memory. The store's tree uses the file system
//! itself, so this check lets it work on a disk of our own making (`power_cut/disk.rs`) and films that:
//! what was on it, and what of it was durable, after each single operation. The work is all that a store
//! does: a first start, batches, flushes, merges of tables, snapshots that replace everything or that are
//! begun in vain, and orderly restarts.
//!
//! Then, for each picture, the images that a power cut could leave are made (`cuts.rs`): what no `fsync`
//! covers is lost, kept, torn at sectors and at pages, and each name of a directory lost or kept on its
//! own. On each of them the store must open, at a position that is not before what it had called durable,
//! with exactly the rows of that position.
//!
//! A process may also be killed, start again on what only the kernel still has, and lose its power then.
//! So for some pictures a store is opened on them, goes on, and is filmed itself.
//!
//! The controls are disks that ignore `fsync` of files, or of directories: there, wrong stores must be found.
//!
//! `CRASH_POINTS_STEP` says that power is cut at every so many operations only, `CRASH_POINTS_RESTARTS` for
//! how many pictures a second film is made, `CRASH_POINTS_SEED` what chance does. `--json FILE` writes what was done and found.

mod cuts;
mod workload;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde_json::json;

use crate::checks::cluster::temporary_folder;
use crate::checks::dice::Dice;
use crate::checks::power_cut::disk::{Change, Disk};
use crate::checks::power_cut::image::{Image, Number, ROOT};
use crate::checks::{capsule, options, verdict};
use workload::{Known, Mark, Rows, Stage};

/// The images lie here, in memory: each capsule has this folder for itself.
const MEMORY: &str = "/run";

/// So many violations are told.
const TOLD: usize = 20;

/// Every so many pictures of a control one is looked at.
const CONTROL_STEP: usize = 40;

/// Runs the check and its controls.
pub(crate) fn run() -> io::Result<()> {
    let restarts = options::number("CRASH_POINTS_RESTARTS", 20)?;
    let step = options::number("CRASH_POINTS_STEP", 1)?;
    let json = options::report_file("crash-points")?;
    if let Some(refused) = capsule::enter()? {
        return Err(io::Error::other(format!(
            "this check needs a disk of its own making, and may not mount one: {refused}"
        )));
    }
    let seed = options::seed("CRASH_POINTS_SEED")?;
    let mut judge = Judge::new(seed)?;
    let film = Film::make(&[])?;
    let operations = film.pictures.len() - 1;
    println!("crash-points: {operations} operations are filmed");
    judge.look_at(&film, count(step).max(1), "power cut");
    println!("crash-points: {} images, {} wrong, and now kills", judge.images, judge.wrong);
    judge.restart(&film, count(restarts));
    let mut controls = BTreeMap::new();
    for (name, change) in [("files", Change::Content), ("directories", Change::Name)] {
        let mut control = Judge::new(seed)?;
        control.look_at(&Film::make(&[change])?, CONTROL_STEP, name);
        println!(
            "crash-points: on a disk that ignores fsync of {name}, {} of {} images are wrong",
            control.wrong, control.images
        );
        if control.wrong == 0 {
            judge.violations.push(format!("a disk that ignores fsync of {name} was not noticed"));
        }
        controls.insert(name, control.wrong);
    }
    println!(
        "crash-points: {} restarts of a killed process, {} operations of these; {} different images",
        judge.restarts,
        judge.operations - operations,
        judge.known.len(),
    );
    println!(
        "crash-points: {} operations, {} images, {} wrong",
        judge.operations, judge.images, judge.wrong
    );
    let report = json!({
        "seed": seed,
        "step": step,
        "operations": judge.operations,
        "images": judge.images,
        "different_images": judge.known.len(),
        "restarts": judge.restarts,
        "wrong": judge.wrong,
        "wrong_on_a_disk_that_ignores_fsync": controls,
    });
    verdict::conclude(json.as_deref(), report, &judge.violations)
}

fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// What was on a disk, and what the store on it said.
struct Film {
    /// Before the first operation, and after each.
    pictures: Vec<Image>,
    marks: Vec<Mark>,
    /// What was promised, and what could be found, before the first picture.
    promised: u64,
    begun: u64,
}

impl Film {
    /// The whole workload, on a disk that lies about these.
    fn make(lies: &[Change]) -> io::Result<Self> {
        let disk = Disk::mount()?;
        lies.iter().for_each(|change| disk.lie_about(*change));
        disk.begin_film();
        let marks = workload::perform(&disk).map_err(io::Error::other)?;
        Ok(Self { pictures: disk.end_film(), marks, promised: 0, begun: 0 })
    }

    /// A store that opens what a killed process has left in the memory of the kernel, and goes on a little.
    fn of_a_restart(&self, at: usize) -> io::Result<Self> {
        let (promised, begun) = self.bounds(at);
        let disk = Disk::mount_with(self.pictures[at].clone())?;
        disk.begin_film();
        let go_on = || {
            let mut stage = Stage::open(&disk)?;
            stage.go_on()?;
            stage.go_on()?;
            stage.flush()?;
            Ok(stage.close())
        };
        let marks = go_on().map_err(|error: quorate_mvcc::engine::EngineError| {
            io::Error::other(format!("after a kill at operation {at}: {error}"))
        })?;
        Ok(Self { pictures: disk.end_film(), marks, promised, begun })
    }

    /// Between which positions a store must be that is cut at this picture.
    fn bounds(&self, at: usize) -> (u64, u64) {
        let (mut promised, mut begun) = (self.promised, self.begun);
        for mark in &self.marks {
            match mark.known {
                // Said when this picture was the last.
                Known::Durable(position) if mark.pictures <= at + 1 => {
                    promised = promised.max(position);
                }
                // What is done from here on is in the next picture.
                Known::Begun(position) if mark.pictures <= at => begun = begun.max(position),
                Known::Durable(_) | Known::Begun(_) => {}
            }
        }
        (promised, begun)
    }
}

/// Looks at what power cuts leave.
struct Judge {
    seed: u64,
    models: Vec<Rows>,
    folder: PathBuf,
    /// What was found on each image, by its content.
    known: BTreeMap<u64, Result<u64, String>>,
    operations: usize,
    images: u64,
    restarts: u64,
    wrong: u64,
    violations: Vec<String>,
}

impl Drop for Judge {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Judge {
    fn new(seed: u64) -> io::Result<Self> {
        Ok(Self {
            seed,
            models: workload::models(),
            folder: temporary_folder(Path::new(MEMORY))?,
            known: BTreeMap::new(),
            operations: 0,
            images: 0,
            restarts: 0,
            wrong: 0,
            violations: Vec::new(),
        })
    }

    /// Cuts the power at every so many pictures.
    fn look_at(&mut self, film: &Film, step: usize, what: &str) {
        self.operations += film.pictures.len() - 1;
        for (at, picture) in film.pictures.iter().enumerate().step_by(step) {
            let (promised, begun) = film.bounds(at);
            let mut dice = Dice::new(self.seed, at as u64);
            for image in cuts::images(picture, &mut dice) {
                self.images += 1;
                let wrong = match self.found(image) {
                    Ok(position) if position < promised => {
                        format!("LOST: {promised} was durable, and the store is at {position}")
                    }
                    Ok(position) if position > begun => {
                        format!("the store is at {position}, and only {begun} was begun")
                    }
                    Ok(_) => continue,
                    Err(wrong) => wrong,
                };
                self.wrong += 1;
                if self.violations.len() < TOLD {
                    self.violations.push(format!("{what}, after operation {at}: {wrong}"));
                }
            }
        }
    }

    /// Kills the process at so many of the pictures, lets it start again, and cuts the power.
    fn restart(&mut self, film: &Film, restarts: usize) {
        // Where all is durable a kill is as good as a power cut. It tells most where something was replaced.
        let mut pictures: Vec<usize> = (0..film.pictures.len()).collect();
        Dice::new(self.seed, u64::MAX).shuffle(&mut pictures);
        pictures.retain(|at| !film.pictures[*at].unsynced().is_empty());
        let (replacing, others): (Vec<usize>, Vec<usize>) =
            pictures.into_iter().partition(|at| film.pictures[*at].replaces());
        let telling = replacing.into_iter().take(restarts / 2).chain(others).take(restarts);
        for at in telling {
            self.restarts += 1;
            match film.of_a_restart(at) {
                Ok(second) => {
                    self.look_at(&second, 1, &format!("kill after operation {at}, power cut"))
                }
                Err(error) => {
                    self.wrong += 1;
                    self.violations.push(error.to_string());
                }
            }
        }
    }

    /// What a store finds on an image.
    fn found(&mut self, mut image: Image) -> Result<u64, String> {
        let mut content = Vec::new();
        collect(&mut image, ROOT, Path::new(""), &mut content);
        let mut hash = DefaultHasher::new();
        content.hash(&mut hash);
        let hash = hash.finish();
        if let Some(found) = self.known.get(&hash) {
            return found.clone();
        }
        let found = write_out(&self.folder, &content)
            .map_err(|error| format!("the image can't be written: {error}"))
            .and_then(|()| workload::recovered(&self.folder.join("store"), &self.models));
        self.known.insert(hash, found.clone());
        found
    }
}

/// A directory, or a file with its content.
type Named = (PathBuf, Option<Vec<u8>>);

/// All that is in a directory, with its path.
fn collect(image: &mut Image, directory: Number, path: &Path, content: &mut Vec<Named>) {
    let list: Vec<(OsString, _)> = image.list(directory).expect("it is a directory");
    for (name, about) in list {
        let path = path.join(name);
        if about.is_directory {
            content.push((path.clone(), None));
            collect(image, about.number, &path, content);
        } else {
            let bytes = usize::try_from(about.bytes).expect("it was written by this process");
            let read = image.read(about.number, 0, bytes).expect("it is a file");
            content.push((path, Some(read)));
        }
    }
}

/// Makes a folder hold just this.
fn write_out(folder: &Path, content: &[Named]) -> io::Result<()> {
    fs::remove_dir_all(folder)?;
    fs::create_dir(folder)?;
    for (path, bytes) in content {
        match bytes {
            Some(bytes) => fs::write(folder.join(path), bytes)?,
            None => fs::create_dir(folder.join(path))?,
        }
    }
    Ok(())
}
