//! What a connection was let in for, for as long as it is open.

use std::future::pending;
use std::sync::Arc;

use quorate_host::wall_clock;
use quorate_tls::rustls::pki_types::CertificateDer;
use tokio::sync::watch;

use crate::tls::Tls;

/// The certificates that a client has shown, and who says whether they still count.
#[derive(Debug)]
pub(crate) struct Shown(Option<Inner>);

#[derive(Debug)]
struct Inner {
    certificates: Vec<CertificateDer<'static>>,
    tls: Arc<Tls>,
    reloads: watch::Receiver<u64>,
}

impl Shown {
    /// Nothing was asked for.
    pub(crate) fn nothing() -> Self {
        Self(None)
    }

    /// These certificates, by the files as they were when `reloads` was subscribed to.
    pub(crate) fn certificates(
        certificates: Vec<CertificateDer<'static>>,
        tls: Arc<Tls>,
        reloads: watch::Receiver<u64>,
    ) -> Self {
        Self(Some(Inner { certificates, tls, reloads }))
    }

    /// Resolves when files have changed, and who has shown this would not be let in any more: it was revoked, say.
    pub(crate) async fn counts_no_more(&mut self) {
        let Some(Inner { certificates, tls, reloads }) = &mut self.0 else {
            return pending().await;
        };
        while reloads.changed().await.is_ok() {
            if tls.lets_in(certificates, wall_clock()).is_err() {
                return;
            }
        }
        // The member ends, and says so elsewhere.
        pending().await
    }
}
