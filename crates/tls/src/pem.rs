//! What is in the files: certificates, keys and lists of revoked certificates.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroize as _;

use crate::{Certificate, Error, Files, Identity, Trust};

/// What an identity is made of.
pub(crate) struct Own {
    pub(crate) key: Arc<CertifiedKey>,
    pub(crate) not_after: Option<u64>,
    pub(crate) warnings: Vec<String>,
}

/// The certificates of a file, at least one.
pub(crate) fn certificates(
    files: &Files,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found = CertificateDer::pem_slice_iter(files.bytes(path)).collect::<Result<Vec<_>, _>>();
    // What the error says is a matter of form, and holds nothing of the file.
    let found = found.map_err(|error| Error::of(path, format!("is not in PEM: {error}")))?;
    if found.is_empty() {
        return Err(Error::of(path, "has no certificate in PEM"));
    }
    Ok(found)
}

/// The earliest end of some certificates. What can't be read was let pass by rustls, and ends never.
pub(crate) fn not_after(certificates: &[CertificateDer<'_>]) -> Option<u64> {
    certificates.iter().filter_map(|it| Some(Certificate::parse(it)?.not_after)).min()
}

/// A certificate chain with its key.
pub(crate) fn own(
    files: &Files,
    identity: &Identity,
    provider: &CryptoProvider,
) -> Result<Own, Error> {
    let Identity { certificate, key } = identity;
    let chain = certificates(files, certificate)?;
    let parsed = PrivateKeyDer::from_pem_slice(files.bytes(key));
    // The parser's own words would tell of what is in the file.
    let mut der = parsed.map_err(|_| Error::of(key, "has no private key in PEM"))?;
    let signing = provider.key_provider.load_private_key(der.clone_key());
    der.zeroize();
    let signing =
        signing.map_err(|_| Error::of(key, "is a key of a kind that is not supported"))?;
    let not_after = not_after(&chain);
    let certified = CertifiedKey::new(chain, signing);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            return Err(Error::of(key, format!("is not the key of {}", certificate.display())));
        }
        Err(error) => return Err(Error::of(certificate, error)),
    }
    let mut warnings = Vec::new();
    if files.is_open_to_all(key) {
        let text = "the private key can be read by everybody on this machine";
        warnings.push(Error::of(key, text).to_string());
    }
    Ok(Own { key: Arc::new(certified), not_after, warnings })
}

/// The authorities of a file.
pub(crate) fn roots(files: &Files, path: &Path) -> Result<(RootCertStore, Option<u64>), Error> {
    let authorities = certificates(files, path)?;
    let not_after = not_after(&authorities);
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(|error| Error::of(path, error))?;
    }
    Ok((roots, not_after))
}

/// The lists of revoked certificates that belong to the authorities.
pub(crate) fn revoked(
    files: &Files,
    trust: &Trust,
) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
    let Some(path) = &trust.revoked else { return Ok(Vec::new()) };
    let bytes = files.bytes(path);
    // A SEQUENCE is what DER begins with, and no text in PEM does.
    if bytes.first() == Some(&0x30) && !bytes.starts_with(b"0-") {
        return Ok(vec![CertificateRevocationListDer::from(bytes.to_vec())]);
    }
    let found = CertificateRevocationListDer::pem_slice_iter(bytes).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| Error::of(path, format!("is not in PEM: {error}")))?;
    if found.is_empty() {
        return Err(Error::of(path, "has no list of revoked certificates"));
    }
    Ok(found)
}
