//! Certificates and keys from files that may change, as configurations of rustls.
//!
//! An operator names files: a certificate and its key, the authorities that are trusted, what these have
//! revoked. This crate makes of them what rustls wants ([`ServerSettings`], [`ClientSettings`]), and makes it
//! anew when the files change ([`Reloading`]). Nothing that is in the files is ever shown.
//!
//! ```text
//!  files ──► Files ──► Source::load ──► Arc<Loaded<ServerConfig>> ──► each new connection
//!              ▲                                   ▲
//!              └── Reloading::look, now and then ──┘   (a broken file changes nothing)
//! ```
//!
//! A [`PublicKey`] of a file is for who checks other signatures than those of connections.
//!
//! # What is kept to
//!
//! - **A set of files is taken whole or not at all.** Whatever does not fit (a key of another certificate, half a
//!   file) leaves what was there, and is tried again at the next look.
//! - **No session outlives the check of its certificate.** Servers give out no tickets, so that every
//!   connection shows its certificate, and what was revoked stays out.
//! - **TLS 1.3, unless somebody asks for less**, and never less than TLS 1.2 with forward secrecy.
//! - **Keys are wiped** where this crate holds them: the text of the file and what was decoded of it. What the
//!   cryptography itself computes with lives as long as the configuration.
//!
//! # What is not here
//!
//! No sockets, no clock and no thread: whoever has them asks for [`Reloading::current`] for each connection, and
//! calls [`Reloading::look`] in a rhythm of its own. No etcd either: flags and their texts are the server's.

mod certificate;
mod client;
mod error;
mod files;
mod names;
mod pem;
mod protocol;
mod public_key;
mod reload;
mod self_signed;
mod server;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use rustls;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;

pub use self::certificate::Certificate;
pub use self::client::{ClientSettings, Servers};
pub use self::error::Error;
pub use self::files::Files;
pub use self::names::Allowed;
pub use self::protocol::{Protocol, Version};
pub use self::public_key::{KeyKind, PublicKey};
pub use self::reload::{Look, Reloading, Source};
pub use self::self_signed::self_signed;
pub use self::server::{Clients, ServerSettings};

/// Who a process says it is: the files of a certificate chain, its own certificate first, and of the private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The chain, in PEM.
    pub certificate: PathBuf,
    /// The key, in PEM: PKCS #8, PKCS #1 (RSA) or SEC 1 (EC).
    pub key: PathBuf,
}

/// Whom to believe when another one says who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// The certificates of authorities, in PEM.
    pub authorities: PathBuf,
    /// Lists of what they revoked, in PEM or one in DER.
    pub revoked: Option<PathBuf>,
}

/// A configuration, and what there is to know about the files that it was made of.
#[derive(Debug)]
pub struct Loaded<T> {
    /// The configuration.
    pub config: Arc<T>,
    /// The first second since 1970 in UTC at which one of the own certificates is not valid any more. `None` if
    /// there are none.
    pub own_not_after: Option<u64>,
    /// The same of the authorities that are trusted.
    pub trusted_not_after: Option<u64>,
    /// What an operator should look at.
    pub warnings: Vec<String>,
    /// Who judges the certificates of those that connect, if anybody is asked for one.
    judge: Option<Arc<dyn ClientCertVerifier>>,
}

impl<T> Loaded<T> {
    /// Whether who has shown these certificates, its own first, would be let in at this time since 1970.
    ///
    /// # Errors
    /// Why not.
    pub fn lets_in(&self, shown: &[CertificateDer<'_>], now: Duration) -> Result<(), Error> {
        let Some(judge) = &self.judge else { return Ok(()) };
        let (own, others) =
            shown.split_first().ok_or_else(|| Error::new("no certificate was shown"))?;
        judge
            .verify_client_cert(own, others, UnixTime::since_unix_epoch(now))
            .map(drop)
            .map_err(|error| Error::new(error.to_string()))
    }
}
