//! How a server shows who it is, and whom it lets in.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;

use crate::names::Named;
use crate::{Allowed, Error, Files, Identity, Loaded, Protocol, Source, Trust, pem};

/// How a server shows who it is, and whom it lets in.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Who it is.
    pub identity: Identity,
    /// Whom it lets in.
    pub clients: Clients,
    /// What it speaks.
    pub protocol: Protocol,
    /// The protocols that may be agreed on for the inside (ALPN), the first that both have is taken.
    pub alpn: Vec<Vec<u8>>,
}

/// Whom a server lets in.
#[derive(Clone, Debug)]
pub enum Clients {
    /// Whoever comes; nobody is asked for a certificate.
    All,
    /// Who has a certificate of these authorities, with a name that is allowed.
    Verified(Trust, Allowed),
}

impl Source for ServerSettings {
    type Value = Loaded<ServerConfig>;

    fn files(&self) -> Vec<&Path> {
        let mut files = vec![self.identity.certificate.as_path(), &self.identity.key];
        if let Clients::Verified(trust, _) = &self.clients {
            files.push(&trust.authorities);
            files.extend(trust.revoked.as_deref());
        }
        files
    }

    fn load(&self, files: &Files) -> Result<Loaded<ServerConfig>, Error> {
        let provider = self.protocol.provider();
        let own = pem::own(files, &self.identity, provider)?;
        let (mut trusted_not_after, mut judge) = (None, None);
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_protocol_versions(self.protocol.versions());
        let builder = builder.map_err(|error| Error::new(error.to_string()))?;
        let builder = match &self.clients {
            Clients::All => builder.with_no_client_auth(),
            Clients::Verified(trust, allowed) => {
                let (roots, not_after) = pem::roots(files, &trust.authorities)?;
                trusted_not_after = not_after;
                let roots = Arc::new(roots);
                let inner = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
                    .with_crls(pem::revoked(files, trust)?)
                    // Of an authority that has no list, nothing is revoked.
                    .allow_unknown_revocation_status()
                    .build();
                let blamed = trust.revoked.as_deref().unwrap_or(&trust.authorities);
                let inner = inner.map_err(|error| Error::of(blamed, error))?;
                let named: Named<dyn ClientCertVerifier> =
                    Named { allowed: allowed.clone(), inner };
                let named: Arc<dyn ClientCertVerifier> = Arc::new(named);
                judge = Some(named.clone());
                builder.with_client_cert_verifier(named)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(own.key)));
        config.alpn_protocols.clone_from(&self.alpn);
        // Every connection shows its certificate.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Loaded {
            config: Arc::new(config),
            own_not_after: own.not_after,
            trusted_not_after,
            warnings: own.warnings,
            judge,
        })
    }
}
