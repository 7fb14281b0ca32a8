//! How long the machine itself stood still: threads that have nothing to do with any cluster, of which one wants to
//! be woken up again and again, and the other one to have a block on the disk.
//!
//! A check that sets a time limit to real processes says by it what these could not have helped. Whoever shares a
//! machine with others waits for a core and for the disk, and that says nothing about the program. What it waited so is
//! taken off, but not without a limit: nobody can say what a program would have done that was starved for most of the
//! time, so that is neither held against it nor taken for good.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{env, fmt, fs, io, thread};

use crate::checks::cluster::temporary_folder;
use crate::checks::gap::ms;

/// How often each of them tries.
const CLOCK_EVERY: Duration = Duration::from_millis(2);
const DISK_EVERY: Duration = Duration::from_millis(50);

/// What takes no longer than this is no stall: a scheduler's slice, and a sync on a disk that is busy as usual.
const CLOCK_USUAL: Duration = Duration::from_millis(10);
const DISK_USUAL: Duration = Duration::from_millis(50);

/// From when to when something took longer than usual.
type Stall = (Instant, Instant);

/// See the module.
#[derive(Debug)]
pub(crate) struct Stalls {
    clock: Arc<Mutex<Vec<Stall>>>,
    disk: Arc<Mutex<Vec<Stall>>>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<io::Result<()>>>,
    folder: PathBuf,
}

impl Stalls {
    /// Begins to look, at the clock and at the disk that has the system's temporary folder.
    ///
    /// # Errors
    /// If there can be no file in that.
    pub(crate) fn watch() -> io::Result<Self> {
        let folder = temporary_folder(&env::temp_dir())?;
        let mut file = File::create(folder.join("block"))?;
        let over = Arc::new(AtomicBool::new(false));
        let (clock, disk) = (Arc::<Mutex<Vec<Stall>>>::default(), Arc::<Mutex<_>>::default());
        let sleep = || {
            thread::sleep(CLOCK_EVERY);
            Ok(())
        };
        let sync = move || {
            file.write_all(&[1; 512])?;
            file.sync_all()
        };
        let threads = vec![
            look(sleep, CLOCK_USUAL, Duration::ZERO, clock.clone(), over.clone()),
            look(sync, DISK_USUAL, DISK_EVERY, disk.clone(), over.clone()),
        ];
        Ok(Self { clock, disk, over, threads, folder })
    }

    /// What passed between two moments.
    pub(crate) fn pause(&self, from: Instant, to: Instant) -> Pause {
        let mut all = held(&self.clock).clone();
        all.extend(held(&self.disk).iter());
        Pause { length: to - from, stalled: within(all, from, to) }
    }
}

/// A time without an acknowledgement.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pause {
    pub(crate) length: Duration,
    /// For how long of it the machine stood still.
    pub(crate) stalled: Duration,
}

/// What is to be said of a pause, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    Fine,
    /// The machine stood still for too much of it.
    NotJudged,
    TooLong,
}

impl Pause {
    /// What is left of it for the program to answer for.
    pub(crate) fn net(&self) -> Duration {
        self.length.saturating_sub(self.stalled)
    }

    /// What is to be said of it if it may take so long, and the machine may stand still for half of that.
    pub(crate) fn verdict(&self, longest: Duration) -> Verdict {
        if self.length <= longest {
            Verdict::Fine
        } else if self.stalled > longest / 2 {
            Verdict::NotJudged
        } else if self.net() > longest {
            Verdict::TooLong
        } else {
            Verdict::Fine
        }
    }
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", ms(self.length))?;
        match self.stalled.is_zero() {
            true => Ok(()),
            false => write!(f, " (the machine stood still for {})", ms(self.stalled)),
        }
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn held(stalls: &Mutex<Vec<Stall>>) -> MutexGuard<'_, Vec<Stall>> {
    stalls.lock().expect("nobody panics with it")
}

/// Does something again and again, with a pause between, and notes when it took longer than usual.
fn look(
    mut what: impl FnMut() -> io::Result<()> + Send + 'static,
    usual: Duration,
    pause: Duration,
    stalls: Arc<Mutex<Vec<Stall>>>,
    over: Arc<AtomicBool>,
) -> JoinHandle<io::Result<()>> {
    thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            let began = Instant::now();
            what()?;
            let ended = Instant::now();
            if ended - began > usual {
                held(&stalls).push((began, ended));
            }
            thread::sleep(pause);
        }
        Ok(())
    })
}

/// How much of the time between two moments one of these was going on.
fn within(mut stalls: Vec<Stall>, from: Instant, to: Instant) -> Duration {
    stalls.sort();
    let (mut reached, mut sum) = (from, Duration::ZERO);
    for (began, ended) in stalls {
        let (began, ended) = (began.max(reached), ended.min(to));
        sum += ended.saturating_duration_since(began);
        reached = reached.max(ended);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_between_counts() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let stalls = [(190, 400), (0, 30), (100, 150), (120, 160)];
        let stalls = stalls.map(|(from, to)| (at(from), at(to))).to_vec();
        let of = |from, to| within(stalls.clone(), at(from), at(to)).as_millis();
        assert_eq!(of(50, 200), 60 + 10, "what goes on twice counts once");
        assert_eq!(of(10, 20), 10);
        assert_eq!(of(40, 90), 0);
    }

    #[test]
    fn a_machine_that_stands_still_is_not_the_programs_fault_and_no_excuse() {
        let pause = |length, stalled| Pause {
            length: Duration::from_millis(length),
            stalled: Duration::from_millis(stalled),
        };
        assert_eq!(pause(300, 100).net(), Duration::from_millis(200));
        assert_eq!(pause(300, 400).net(), Duration::ZERO, "both may stand still at once");
        assert_eq!(pause(300, 100).to_string(), "300 ms (the machine stood still for 100)");
        let verdict = |length, stalled| pause(length, stalled).verdict(Duration::from_millis(200));
        assert_eq!([verdict(200, 0), verdict(300, 100)], [Verdict::Fine; 2]);
        assert_eq!([verdict(201, 0), verdict(301, 100)], [Verdict::TooLong; 2]);
        assert_eq!([verdict(201, 101), verdict(9_999, 101)], [Verdict::NotJudged; 2]);
        assert_eq!(verdict(200, 200), Verdict::Fine, "short is short");
    }

    #[test]
    fn what_takes_long_is_noticed() {
        let (stalls, over) = (Arc::<Mutex<Vec<Stall>>>::default(), Arc::<AtomicBool>::default());
        let slow = || {
            thread::sleep(Duration::from_millis(20));
            Ok(())
        };
        let began = Instant::now();
        let thread =
            look(slow, Duration::from_millis(5), Duration::ZERO, stalls.clone(), over.clone());
        while held(&stalls).len() < 2 {
            thread::sleep(Duration::from_millis(1));
        }
        over.store(true, Ordering::Relaxed);
        thread.join().expect("it does not panic").expect("nothing failed");
        let long = within(held(&stalls).clone(), began, Instant::now());
        assert!(long >= Duration::from_millis(40), "{long:?}");
    }
}
