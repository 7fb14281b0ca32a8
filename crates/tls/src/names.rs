//! Which names a certificate may have, beyond that it is believed.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};

use crate::{Certificate, Error};

/// Which names a certificate may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Allowed {
    /// Any.
    #[default]
    All,
    /// One of these as its common name.
    CommonNames(Vec<String>),
    /// One of these host names or addresses among its alternative names. A certificate may have patterns
    /// (`*.example.com`), these have none.
    Hosts(Vec<ServerName<'static>>),
}

impl Allowed {
    /// From one list of each, as flags have them; empty is any.
    ///
    /// # Errors
    /// If both are given, as they would contradict each other, or if a name is none.
    pub fn new(common_names: &[&str], hosts: &[&str]) -> Result<Self, Error> {
        if !common_names.is_empty() && !hosts.is_empty() {
            return Err(Error::new(format!(
                "AllowedCN and AllowedHostname are mutually exclusive (cn={common_names:?}, \
                 hostname={hosts:?})"
            )));
        }
        if !common_names.is_empty() {
            let names = common_names.iter().map(|name| (*name).to_owned());
            return Ok(Self::CommonNames(names.collect()));
        }
        if hosts.is_empty() {
            return Ok(Self::All);
        }
        let name = |text: &&str| {
            let name = ServerName::try_from((*text).to_owned());
            name.map_err(|_| Error::new(format!("{text:?} is neither a host name nor an address")))
        };
        hosts.iter().map(name).collect::<Result<_, _>>().map(Self::Hosts)
    }

    /// Whether the names of a certificate are allowed.
    #[must_use]
    pub fn admits(&self, certificate: &CertificateDer<'_>) -> bool {
        match self {
            Self::All => true,
            Self::CommonNames(allowed) => Certificate::parse(certificate)
                .and_then(|it| it.common_name)
                .is_some_and(|name| allowed.contains(&name)),
            Self::Hosts(allowed) => ParsedCertificate::try_from(certificate)
                .is_ok_and(|it| allowed.iter().any(|name| verify_server_name(&it, name).is_ok())),
        }
    }

    fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), rustls::Error> {
        match self.admits(certificate) {
            true => Ok(()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }
}

/// A verifier that asks another one first, and then for the names.
#[derive(Debug)]
pub(crate) struct Named<V: ?Sized> {
    pub(crate) allowed: Allowed,
    pub(crate) inner: Arc<V>,
}

impl ClientCertVerifier for Named<dyn ClientCertVerifier> {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        self.allowed.check(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

impl ServerCertVerifier for Named<dyn ServerCertVerifier> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.inner.verify_server_cert(end_entity, intermediates, name, ocsp, now)?;
        self.allowed.check(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
