//! The process: flags in, exit code out.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use quorate_host::{Clock, wall_clock};
use quorate_raft::Time;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{Config, Stop};
use crate::files;
use crate::log::{Level, Log};
use crate::login::Jwt;
use crate::memory;
use crate::server::Server;

/// Runs a member with these flags, which do not contain the program's name, and with the `ETCD_*`
/// variables of the process, until a signal ends it.
///
/// The exit codes are etcd's: 2 for a slip of the command line, 1 for what can't be started; but an
/// orderly end that a signal asked for is a success, 0, where etcd dies by the signal.
#[must_use]
pub fn run(flags: Vec<OsString>) -> ExitCode {
    let config = match parse(flags) {
        Ok(config) => config,
        Err(stop) => return tell(&stop),
    };
    let log = Log::to_stderr(config.log_level);
    files::take_all();
    if let Err(error) = memory::prepare(config.memory_mlock, &log) {
        log.fatal("failed to start").with("error", error);
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            log.fatal("failed to start").with("error", error);
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(run_until_signal(&config, &log))
}

/// Tells whether a member would take these flags, and these variables and this file, and starts nothing. The exit codes
/// are those of [`run`].
///
/// What only the cluster knows is not asked: whether others have the same settings, or the ports are free.
#[must_use]
pub fn check(flags: Vec<OsString>) -> ExitCode {
    let checked = parse(flags).and_then(|mut config| {
        // The initial cluster counts where there is no member yet.
        if !config.data_dir.exists() {
            config.initial_cluster().map_err(Stop::Refused)?;
        }
        config.peer_links.check().map_err(Stop::Refused)?;
        config.warnings.extend(config.tls.check(wall_clock()).map_err(Stop::Refused)?);
        let silent = Log::new(Level::Fatal, io::sink());
        Jwt::open(&config.auth_token, &silent).map_err(Stop::Refused)?;
        Ok(config)
    });
    let config = match checked {
        Ok(config) => config,
        Err(stop) => return tell(&stop),
    };
    let warnings = config.warnings.iter().map(|warning| format!("warning: {warning}\n"));
    let text: String = warnings.collect();
    let name = &config.name;
    let _ = writeln!(io::stdout(), "{text}the configuration of the member {name:?} is fine");
    ExitCode::SUCCESS
}

/// Says why there is nothing to start. If the terminal is gone, the exit code has to do.
fn tell(stop: &Stop) -> ExitCode {
    let _ = if stop.is_answer() {
        write!(io::stdout(), "{stop}")
    } else {
        writeln!(io::stderr(), "{stop}")
    };
    ExitCode::from(stop.exit_code())
}

/// Flags and variables are text. What is not can't be meant by any of them.
fn parse(flags: Vec<OsString>) -> Result<Config, Stop> {
    let flags = flags
        .into_iter()
        .map(|flag| {
            flag.into_string()
                .map_err(|flag| Stop::Usage(format!("{} is not text", flag.display())))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with("ETCD_"))
        .map(|(name, value)| {
            let value = value.into_string();
            value
                .map(|value| (name.clone(), value))
                .map_err(|_| Stop::Refused(format!("the value of the variable {name} is not text")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    Config::parse(flags, variables)
}

async fn run_until_signal(config: &Config, log: &Log) -> ExitCode {
    let failed = |error: &dyn std::fmt::Display| {
        log.fatal("failed to start").with("error", error);
        ExitCode::FAILURE
    };
    // Before the start, so that no signal during it is lost.
    let signals =
        signal(SignalKind::terminate()).and_then(|t| Ok((t, signal(SignalKind::interrupt())?)));
    let (mut terminate, mut interrupt) = match signals {
        Ok(signals) => signals,
        Err(error) => return failed(&error),
    };
    let clock = Clock::start();
    let mut falls = Falls::default();
    let ended = |name: &str| {
        log.info("received signal; shutting down").with("signal", name);
        log.flush();
        ExitCode::SUCCESS
    };
    let mut server = tokio::select! {
        biased;
        name = asked_to_end(&mut terminate, &mut interrupt) => return ended(name),
        started = start(config, log) => match started {
            Ok(server) => server,
            Err(error) => return failed(&error),
        },
    };
    loop {
        let name = tokio::select! {
            name = asked_to_end(&mut terminate, &mut interrupt) => name,
            () = server.removed() => {
                log.error("the member has been permanently removed from the cluster");
                server.shutdown().await;
                log.flush();
                return ExitCode::SUCCESS;
            }
            report = server.fallen() => {
                server.abandon().await;
                server = loop {
                    let Some(pause) = falls.again(clock.now()) else {
                        return failed(&format!("the store was lost too often: {report}"));
                    };
                    log.error("the member stopped, and starts again without its store")
                        .with("error", &report)
                        .with("pause", format_args!("{pause:?}"));
                    let again = async {
                        tokio::time::sleep(pause).await;
                        start(config, log).await
                    };
                    let started = tokio::select! {
                        biased;
                        name = asked_to_end(&mut terminate, &mut interrupt) => return ended(name),
                        started = again => started,
                    };
                    match started {
                        Ok(server) => break server,
                        Err(error) => log.error("failed to start again").with("error", error),
                    };
                };
                continue;
            }
        };
        log.info("received signal; shutting down").with("signal", name);
        server.shutdown().await;
        log.flush();
        return ExitCode::SUCCESS;
    }
}

/// Resolves with the name of the signal that asks the process to end.
async fn asked_to_end(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "terminated",
        _ = interrupt.recv() => "interrupt",
    }
}

/// Starts a member.
async fn start(config: &Config, log: &Log) -> Result<Server, String> {
    let (config, log) = (config.clone(), log.clone());
    let started = elsewhere(move || Server::start(&config, log)).await?;
    started.map_err(|error| error.to_string())
}

/// Does something that may take for ever on a thread of its own, which nobody waits for at the end of the
/// process: on a full disk, a start that has to write to the log waits for room. As after a crash, what it
/// has done until then is whole.
async fn elsewhere<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let (done, result) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("quorate-start".into())
        .spawn(move || drop(done.send(work())))
        .map_err(|error| format!("can't start a thread: {error}"))?;
    result.await.map_err(|_| "the thread that starts the member panicked".to_owned())
}

/// How often the member fell. Damage that comes back again and again is a broken disk or an error of
/// this program, and then it is better to stop than to wear the other members out.
#[derive(Debug, Default)]
struct Falls {
    /// Those not forgotten.
    count: u32,
    last: Option<Time>,
}

impl Falls {
    /// So many, and no more.
    const MAX: u32 = 8;
    /// The first pause; each further one is twice as long.
    const PAUSE: Duration = Duration::from_secs(1);
    /// After so long without one, all are forgotten.
    const FORGOTTEN: Duration = Duration::from_secs(60 * 60);

    /// The member fell now, or failed to start again: how long to wait before the next attempt.
    fn again(&mut self, now: Time) -> Option<Duration> {
        if self.last.is_some_and(|last| now.since(last) > Self::FORGOTTEN) {
            self.count = 0;
        }
        self.last = Some(now);
        self.count += 1;
        (self.count <= Self::MAX).then(|| Self::PAUSE * 2u32.pow(self.count - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_the_end_need_not_wait_for_the_start() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let (_held, never) = std::sync::mpsc::channel::<()>();
        let was_asked = runtime.expect("a runtime").block_on(async {
            let asked = tokio::time::sleep(Duration::from_millis(10));
            tokio::select! {
                () = asked => true,
                started = elsewhere(move || never.recv()) => panic!("{started:?}"),
            }
        });
        // The runtime is gone, and did not wait for the thread either.
        assert!(was_asked);
    }

    #[test]
    fn a_member_that_falls_again_and_again_stays_down() {
        let mut falls = Falls::default();
        let pauses: Vec<_> = (0..9).map(|_| falls.again(Time(0))).collect();
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(pauses[..4], [seconds(1), seconds(2), seconds(4), seconds(8)]);
        assert_eq!(pauses[7..], [seconds(128), None]);
        let later = Time(0) + Falls::FORGOTTEN + Falls::PAUSE;
        assert_eq!(falls.again(later), seconds(1));
    }
}
