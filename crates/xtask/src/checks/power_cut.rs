//! The power of all members is cut at once, again and again, while clients write: all that was
//! acknowledged is there afterwards.
//!
//! A process that is killed loses nothing that it has written, since the kernel still has it. So the
//! members' data lie on a disk that this process makes itself (`disk.rs`), and which forgets what was
//! not synced: sector by sector in a file, and name by name in a directory. It needs the right to mount
//! (FUSE). Power goes under load, right after names or contents were changed, and again when it has just
//! come back, while members start or have just begun to serve.
//!
//! Now and then a sync of one member fails, with the power on. What it was to make durable may be lost from
//! then on, so the member has to end; then it starts again, or the power goes first.
//!
//! A check of this kind passes easily where nothing is ever lost. So what the cuts undid is counted and
//! must not be nothing; and on a disk that says that it has synced and has not, the same writes must be
//! found lost: the *control*.
//!
//! Nothing is cached by the kernel, so files can't be mapped, and etcd, which does that, can't live here.
//!
//! `POWER_CUT_SECONDS` says for how long the power is cut, in all: a cluster of one, one of three and one of
//! five have an equal part of it each. `POWER_CUT_SEED` says what chance does. `--json FILE` writes what was
//! done to each of them, and found.

pub(crate) mod disk;
pub(crate) mod image;
mod report;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, io};

use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::checks::cluster::{Cluster, Home, Program};
use crate::checks::crash::{self, Acknowledged, Findings};
use crate::checks::dice::Dice;
use crate::checks::{capsule, options, verdict};
use disk::{Change, Disk, Done};
use report::{Course, Report};

/// How many members the clusters have.
const SIZES: [usize; 3] = [1, 3, 5];

const WRITERS: usize = 8;

/// So large that a store makes files of its own while the check runs.
const VALUE_BYTES: u64 = 8 << 10;

/// So long somebody waits for a change; then the power is cut without.
const PATIENCE: Duration = Duration::from_secs(2);

/// So long a member may take to end after a sync that failed.
const END: Duration = Duration::from_secs(10);

/// So much longer the power is cut if chance has left something out until then.
const EXTRA: Duration = Duration::from_secs(60);

/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Runs the check with one, with three and with five members, and the control.
pub(crate) fn run() -> io::Result<()> {
    let length = Duration::from_secs(options::number("POWER_CUT_SECONDS", 120)?);
    let json = options::report_file("power-cut")?;
    let program = Program::quorate()?;
    if let Some(refused) = capsule::enter()? {
        return Err(io::Error::other(format!(
            "this check needs a disk of its own making, and may not mount one: {refused}"
        )));
    }
    let runtime = tokio::runtime::Runtime::new()?;
    let seed = options::seed("POWER_CUT_SEED")?;
    let mut report = Report::new(seed);
    for members in SIZES {
        let (length, dice) = (length / SIZES.len() as u32, Dice::new(seed, members as u64));
        let run = cut_again_and_again(&program, members, length, dice, &mut report);
        if let Err(error) = runtime.block_on(run) {
            report.violations.push(format!("{members} members: {error}"));
        }
    }
    match runtime.block_on(control(&program, Dice::new(seed, 0))) {
        Ok(found) => report.control = found,
        Err(error) => report.violations.push(format!("the control: {error}")),
    }
    report.violations.extend(report.missing());
    println!("{}", report.summary());
    verdict::conclude(json.as_deref(), report.json(), &report.violations)
}

/// Members on a disk whose power can be cut, and clients that write.
struct Scene {
    // The processes end before what they live on.
    cluster: Cluster,
    disk: Disk,
    acknowledged: Acknowledged,
    over: Arc<AtomicBool>,
    writers: Vec<JoinHandle<()>>,
}

impl Scene {
    /// Members that serve.
    async fn set(program: &Program, members: usize) -> io::Result<Self> {
        let disk = Disk::mount()?;
        let home = Home { disk: Some(disk.path().to_owned()), ..Home::default() };
        let (homes, flags) = (vec![home; members], ["--log-level", "warn"]);
        let cluster = Cluster::start_at(&env::temp_dir(), program.clone(), &homes, &flags)?;
        crash::wait_for_leader(&cluster).await?;
        let (acknowledged, over) = Default::default();
        Ok(Self { cluster, disk, acknowledged, over, writers: Vec::new() })
    }

    /// Clients begin to write.
    fn load(&mut self, dice: &mut Dice) {
        for number in 0..WRITERS {
            let clients = crash::clients(&self.cluster, Duration::from_millis(1500));
            let bytes = 1 + dice.roll(VALUE_BYTES) as usize;
            let (acknowledged, over) = (self.acknowledged.clone(), self.over.clone());
            let writer = crash::write(number, clients, bytes, acknowledged, over);
            self.writers.push(tokio::spawn(writer));
        }
    }

    /// The power goes, at a moment that the dice decide: within this time, or right after a few changes.
    async fn lose_power(&mut self, within: Duration, dice: &mut Dice) -> io::Result<()> {
        let change = match dice.roll(3) {
            0 => {
                let most = within.as_millis() as u64;
                return self.lose_power_after(Duration::from_millis(dice.roll(most)), dice).await;
            }
            1 => Change::Name,
            _ => Change::Content,
        };
        self.disk.cut_after(change, 1 + dice.roll(8), dice.split());
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let all_live = self.cluster.demand_alive();
            // Without power they may end.
            if !self.disk.has_power() {
                break;
            }
            all_live?;
            sleep(LOOK).await;
        }
        self.power_off(dice)
    }

    /// The power goes after this time; no member may have ended until then.
    async fn lose_power_after(&mut self, time: Duration, dice: &mut Dice) -> io::Result<()> {
        sleep(time).await;
        self.cluster.demand_alive()?;
        self.power_off(dice)
    }

    /// A sync fails, if there is one soon, and the member that asked for it has to end. It starts again, or all
    /// lose power first.
    async fn fail_a_sync(&mut self, dice: &mut Dice, course: &mut Course) -> io::Result<()> {
        let before = self.disk.done().failed;
        self.disk.fail_after(Some(dice.roll(64)));
        let end = Instant::now() + PATIENCE;
        while self.disk.done().failed == before && Instant::now() < end {
            sleep(LOOK).await;
        }
        self.disk.fail_after(None);
        if self.disk.done().failed == before {
            return Ok(());
        }
        let member = self.ended_by_itself().await?;
        self.cluster.end(member)?;
        self.cluster.demand_alive()?;
        if dice.roll(2) == 0 {
            return self.cluster.restart(member);
        }
        self.power_off(dice)?;
        course.cuts += 1;
        self.power_on()
    }

    /// Waits for a member that ends.
    async fn ended_by_itself(&mut self) -> io::Result<usize> {
        let end = Instant::now() + END;
        while Instant::now() < end {
            for member in 0..self.cluster.len() {
                if self.cluster.has_ended(member)? {
                    return Ok(member);
                }
            }
            sleep(LOOK).await;
        }
        let logs: String = (0..self.cluster.len()).map(|member| self.cluster.log(member)).collect();
        Err(io::Error::other(format!("a sync failed, and no member ended within {END:?}:\n{logs}")))
    }

    fn power_off(&mut self, dice: &mut Dice) -> io::Result<()> {
        self.disk.cut(dice);
        // Without power they may have ended by themselves.
        (0..self.cluster.len()).try_for_each(|member| self.cluster.end(member).map(drop))
    }

    /// Power is there again, and members start.
    fn power_on(&mut self) -> io::Result<()> {
        self.disk.power_on();
        (0..self.cluster.len()).try_for_each(|member| self.cluster.restart(member))
    }

    /// Ends the load, and compares what is there with what was acknowledged.
    async fn judge(&mut self) -> io::Result<(Findings, usize)> {
        self.over.store(true, Ordering::Relaxed);
        for writer in self.writers.drain(..) {
            writer.await.map_err(io::Error::other)?;
        }
        let acknowledged = self.acknowledged.lock().expect("no writer panicked").clone();
        Ok((crash::examine(&self.cluster, &acknowledged).await?, acknowledged.len()))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // Whoever still writes would not stop for want of members.
        self.over.store(true, Ordering::Relaxed);
    }
}

async fn cut_again_and_again(
    program: &Program,
    members: usize,
    length: Duration,
    mut dice: Dice,
    report: &mut Report,
) -> io::Result<()> {
    let mut scene = Scene::set(program, members).await?;
    scene.load(&mut dice);
    let course = report.course(members);
    let ended = cut_for(&mut scene, length, &mut dice, course).await;
    let done = scene.disk.done();
    (course.syncs, course.failed, course.undone) = (done.syncs, done.failed, done.undone);
    ended?;
    let (findings, acknowledged) = scene.judge().await?;
    report.judged(members, acknowledged, &findings);
    scene.cluster.demand_alive()?;
    scene.cluster.demand_no_panic()
}

/// Cuts the power for so long, and until something of each kind was undone. All members serve at the end.
async fn cut_for(
    scene: &mut Scene,
    length: Duration,
    dice: &mut Dice,
    course: &mut Course,
) -> io::Result<()> {
    let start = Instant::now();
    let is_over = |scene: &Scene, soon_again: u64| {
        let Done { undone, failed, .. } = scene.disk.done();
        let is_all = undone.sectors > 0 && undone.names > 0 && soon_again > 0 && failed > 0;
        start.elapsed() > if is_all { length } else { length + EXTRA }
    };
    while !is_over(scene, course.cuts_soon_again) {
        sleep(Duration::from_millis(200 + dice.roll(2_000))).await;
        if dice.roll(3) == 0 {
            scene.fail_a_sync(dice, course).await?;
            crash::wait_for_leader(&scene.cluster).await?;
        }
        scene.lose_power(Duration::from_secs(1), dice).await?;
        course.cuts += 1;
        scene.power_on()?;
        // As in most places, power that has just come back may go again.
        while dice.roll(2) == 0 {
            scene.lose_power(Duration::from_millis(200), dice).await?;
            course.cuts += 1;
            course.cuts_soon_again += 1;
            scene.power_on()?;
        }
        crash::wait_for_leader(&scene.cluster).await?;
    }
    Ok(())
}

/// Writes to a disk that ignores syncs, and cuts its power: acknowledged writes must be found lost. Returns
/// what was found, if anything was.
async fn control(program: &Program, mut dice: Dice) -> io::Result<Option<String>> {
    let mut scene = Scene::set(program, 1).await?;
    for change in [Change::Name, Change::Content] {
        scene.disk.lie_about(change);
    }
    scene.load(&mut dice);
    let end = Instant::now() + EXTRA;
    while scene.acknowledged.lock().expect("no writer panicked").is_empty() {
        if Instant::now() > end {
            return Err(io::Error::other("not one write was acknowledged"));
        }
        sleep(LOOK).await;
    }
    scene.lose_power_after(Duration::ZERO, &mut dice).await?;
    scene.power_on()?;
    crash::wait_for_leader(&scene.cluster).await?;
    let (findings, _) = scene.judge().await?;
    Ok(findings.violations.into_iter().next().filter(|_| findings.lost > 0))
}
