//! Encryption of the connections of clients: from files that are looked at now and then.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quorate_host::{Clock, wall_clock};
use quorate_raft::Time;
use quorate_tls::rustls::pki_types::CertificateDer;
use quorate_tls::{Certificate, Look, Reloading, ServerSettings, self_signed};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use crate::accept::{Accepted, CertifiedName, Shown, Stream};
use crate::config::Config;
use crate::log::Log;
use crate::shutdown::Shutdown;

/// How often to look whether the files have changed.
const LOOK: Duration = Duration::from_secs(1);

/// How often a handshake that failed is worth a line.
const LINE: Duration = Duration::from_secs(1);

/// What encrypted connections are served with.
#[derive(Debug)]
pub(crate) struct Tls {
    reloading: Reloading<ServerSettings>,
    /// Tells those who are connected that the files have changed.
    reloaded: watch::Sender<u64>,
    names_are_users: bool,
    log: Log,
    clock: Clock,
    /// Handshakes that came to nothing.
    failed: AtomicU64,
    /// When the last of them was logged, and how many there were.
    told: Mutex<Option<(Time, u64)>>,
}

impl Tls {
    /// What the configuration asks for, if it does.
    pub(crate) fn open(config: &Config, log: &Log) -> Result<Option<Arc<Self>>, String> {
        let Some(settings) = &config.tls.server else { return Ok(None) };
        if let Some(automatic) = &config.tls.automatic {
            let hosts: Vec<&str> = automatic.hosts.iter().map(String::as_str).collect();
            self_signed(&automatic.directory, &hosts, wall_clock(), automatic.valid)
                .map_err(|error| format!("failed to get client self-signed certs: {error}"))?;
        }
        let reloading = Reloading::new(settings.clone()).map_err(|error| error.to_string())?;
        let tls = Self {
            reloading,
            reloaded: watch::Sender::new(0),
            names_are_users: config.tls.names_are_users,
            log: log.clone(),
            clock: Clock::start(),
            failed: AtomicU64::new(0),
            told: Mutex::new(None),
        };
        tls.warn();
        Ok(Some(Arc::new(tls)))
    }

    /// Shakes hands with a client. With the certificate that there is now, by the authorities that there are now.
    pub(crate) async fn handshake(
        self: &Arc<Self>,
        stream: TcpStream,
        from: SocketAddr,
    ) -> io::Result<Accepted> {
        // Before the files are looked at, so that no change is missed.
        let reloads = self.reloaded.subscribe();
        let config = self.reloading.current().config.clone();
        let stream = TlsAcceptor::from(config).accept(stream).await.inspect_err(|error| {
            self.handshake_failed(from, error);
        })?;
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let name = self.names_are_users.then(|| {
            let name = Certificate::parse(certificates.first()?)?.common_name?;
            Some(CertifiedName(name.into()))
        });
        let shown = match certificates {
            [] => Shown::nothing(),
            _ => Shown::certificates(certificates.to_vec(), self.clone(), reloads),
        };
        Ok(Accepted { stream: Stream::Tls(Box::new(stream)), name: name.flatten(), shown })
    }

    /// Whether who has shown these certificates would be let in now.
    pub(crate) fn lets_in(
        &self,
        shown: &[CertificateDer<'_>],
        now: Duration,
    ) -> Result<(), quorate_tls::Error> {
        self.reloading.current().lets_in(shown, now)
    }

    fn handshake_failed(&self, from: SocketAddr, error: &io::Error) {
        let failed = self.failed.fetch_add(1, Ordering::Relaxed) + 1;
        // Who only looks whether somebody is there hangs up.
        if error.kind() != io::ErrorKind::InvalidData {
            return;
        }
        let now = self.clock.now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match *told {
            Some((last, _)) if now.since(last) < LINE => return,
            Some((_, count)) => failed - count,
            None => 1,
        };
        *told = Some((now, failed));
        drop(told);
        self.log
            .warn("rejected connection on client endpoint")
            .with("remote-addr", from)
            .number("rejected", since)
            .with("error", error);
    }

    /// Looks at the files until `stop`.
    pub(crate) async fn keep_fresh(self: Arc<Self>, mut stop: Shutdown) {
        loop {
            tokio::select! {
                () = sleep(LOOK) => {}
                () = stop.requested() => return,
            }
            match tokio::task::block_in_place(|| self.reloading.look()) {
                Look::Same => {}
                Look::Reloaded => {
                    self.log
                        .info("new connections of clients have the certificates that were changed");
                    self.warn();
                    self.reloaded.send_modify(|count| *count += 1);
                }
                Look::Kept(error) => {
                    self.log
                        .error(
                            "certificates were changed and can't be used: those before stay in use",
                        )
                        .with("error", error);
                }
            }
        }
    }

    fn warn(&self) {
        for warning in &self.reloading.current().warnings {
            self.log.warn(warning);
        }
    }

    /// The first second since 1970 at which the own certificate is not valid any more.
    pub(crate) fn own_not_after(&self) -> Option<u64> {
        self.reloading.current().own_not_after
    }

    /// The same of the first authority of clients.
    pub(crate) fn trusted_not_after(&self) -> Option<u64> {
        self.reloading.current().trusted_not_after
    }

    /// How often files were read anew.
    pub(crate) fn reloads(&self) -> u64 {
        self.reloading.reloads()
    }

    /// Whether there is something wrong with the files as they are now.
    pub(crate) fn is_stale(&self) -> bool {
        self.reloading.wrong().is_some()
    }

    /// How many handshakes came to nothing.
    pub(crate) fn handshakes_failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}
