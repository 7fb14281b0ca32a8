//! How a client shows who it is, and which servers it believes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{DigitallySignedStruct, SignatureScheme};

use crate::names::Named;
use crate::{Allowed, Error, Files, Identity, Loaded, Protocol, Source, Trust, pem};

/// How a client shows who it is, and which servers it believes.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// Who it is, if it is asked.
    pub identity: Option<Identity>,
    /// Which servers it believes.
    pub servers: Servers,
    /// What it speaks.
    pub protocol: Protocol,
    /// The protocols that it offers for the inside (ALPN).
    pub alpn: Vec<Vec<u8>>,
}

/// Which servers a client believes.
#[derive(Clone, Debug)]
pub enum Servers {
    /// All, whoever they say they are: what is said to them is safe from those who listen only.
    All,
    /// Who has a certificate of these authorities for the name by which it was called, with a name that is
    /// allowed beside.
    Verified(Trust, Allowed),
}

impl Servers {
    /// Those that the system trusts: the file in `SSL_CERT_FILE`, or the first that is there of those where the
    /// systems have it.
    ///
    /// # Errors
    /// If there is none.
    pub fn of_the_system() -> Result<Self, Error> {
        let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
        let known = SYSTEM.iter().map(PathBuf::from).find(|path| path.is_file());
        let authorities = named.or(known).ok_or_else(|| {
            Error::new(format!("there is no file of trusted authorities: {}", SYSTEM.join(", ")))
        })?;
        Ok(Self::Verified(Trust { authorities, revoked: None }, Allowed::All))
    }
}

/// Where systems have the authorities that they trust: Debian and its kin, Fedora and its kin, Alpine.
const SYSTEM: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

impl Source for ClientSettings {
    type Value = Loaded<ClientConfig>;

    fn files(&self) -> Vec<&Path> {
        let mut files = Vec::new();
        if let Some(identity) = &self.identity {
            files.extend([identity.certificate.as_path(), &identity.key]);
        }
        if let Servers::Verified(trust, _) = &self.servers {
            files.push(&trust.authorities);
            files.extend(trust.revoked.as_deref());
        }
        files
    }

    fn load(&self, files: &Files) -> Result<Loaded<ClientConfig>, Error> {
        let provider = self.protocol.provider();
        let own = self.identity.as_ref().map(|identity| pem::own(files, identity, provider));
        let own = own.transpose()?;
        let builder = ClientConfig::builder_with_provider(provider.clone());
        let builder = builder.with_protocol_versions(self.protocol.versions());
        let builder = builder.map_err(|error| Error::new(error.to_string()))?;
        let mut trusted_not_after = None;
        let verifier: Arc<dyn ServerCertVerifier> = match &self.servers {
            Servers::All => Arc::new(Unverified(provider.clone())),
            Servers::Verified(trust, allowed) => {
                let (roots, not_after) = pem::roots(files, &trust.authorities)?;
                trusted_not_after = not_after;
                let roots = Arc::new(roots);
                let inner = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
                    .with_crls(pem::revoked(files, trust)?)
                    .allow_unknown_revocation_status()
                    .build();
                let blamed = trust.revoked.as_deref().unwrap_or(&trust.authorities);
                let inner = inner.map_err(|error| Error::of(blamed, error))?;
                let named: Named<dyn ServerCertVerifier> =
                    Named { allowed: allowed.clone(), inner };
                Arc::new(named)
            }
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let (own_not_after, warnings, key) = match own {
            None => (None, Vec::new(), None),
            Some(own) => (own.not_after, own.warnings, Some(own.key)),
        };
        let mut config = match key {
            None => builder.with_no_client_auth(),
            Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        config.resumption = Resumption::disabled();
        let config = Arc::new(config);
        Ok(Loaded { config, own_not_after, trusted_not_after, warnings, judge: None })
    }
}

/// Believes every server that has the key of the certificate that it shows.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
