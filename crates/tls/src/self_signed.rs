//! A certificate that a server makes for itself: it keeps those out who only listen, and proves nothing.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use zeroize::Zeroizing;

use crate::{Error, Identity};

/// The certificate and the key in `directory`, as `cert.pem` and `key.pem`; made now if they are not there, for
/// these hosts (names and addresses), from `now`, the time since 1970, for as long as `valid`.
///
/// # Errors
/// If they can't be made or written.
pub fn self_signed(
    directory: &Path,
    hosts: &[&str],
    now: Duration,
    valid: Duration,
) -> Result<Identity, Error> {
    let identity =
        Identity { certificate: directory.join("cert.pem"), key: directory.join("key.pem") };
    if identity.certificate.exists() && identity.key.exists() {
        return Ok(identity);
    }
    let failed = |error: rcgen::Error| Error::of(directory, error);
    let names: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(names).map_err(failed)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "quorate");
    let since = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = since + now;
    params.not_after = since + now.saturating_add(valid);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    let key = Zeroizing::new(key.serialize_pem());

    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|error| Error::of(directory, error))?;
    // The certificate comes last, and at once: where it is, the key is whole.
    write(&identity.key, key.as_bytes()).map_err(|error| Error::of(&identity.key, error))?;
    let unfinished = directory.join("cert.pem.new");
    write(&unfinished, certificate.pem().as_bytes())
        .and_then(|()| fs::rename(&unfinished, &identity.certificate))
        .map_err(|error| Error::of(&identity.certificate, error))?;
    Ok(identity)
}

/// Writes what nobody else may read.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(bytes)
}
