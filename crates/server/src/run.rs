//! The process: flags in, exit code out.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Config, Stop};
use crate::log::Log;
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
        Err(stop) => {
            // If the terminal is gone, the exit code has to do.
            let _ = if stop.is_answer() {
                write!(io::stdout(), "{stop}")
            } else {
                writeln!(io::stderr(), "{stop}")
            };
            return ExitCode::from(stop.exit_code());
        }
    };
    let log = Log::to_stderr(config.log_level);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            log.fatal("failed to start").with("error", error);
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(run_until_signal(&config, &log))
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
    let server = match Server::start(config, log.clone()) {
        Ok(server) => server,
        Err(error) => return failed(&error),
    };
    let name = tokio::select! {
        _ = terminate.recv() => "terminated",
        _ = interrupt.recv() => "interrupt",
    };
    log.info("received signal; shutting down").with("signal", name);
    server.shutdown().await;
    log.flush();
    ExitCode::SUCCESS
}
