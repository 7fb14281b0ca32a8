//! A certificate of the members' and who vouches for it.

use std::path::{Path, PathBuf};
use std::{fs, io};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// The files of one server, and of the authority that clients trust.
pub(super) struct Pki {
    pub(super) authority: PathBuf,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl Pki {
    /// Makes both in a folder, for servers on this host.
    pub(super) fn make(folder: &Path) -> io::Result<Self> {
        let mut authority = named("quorate conformance")?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(authority, new_key()?).map_err(failed)?;
        let mut server = named("member")?;
        for host in ["127.0.0.1", "localhost"] {
            let name = CertificateParams::new(vec![host.to_owned()]).map_err(failed)?;
            server.subject_alt_names.extend(name.subject_alt_names);
        }
        let key = new_key()?;
        let certificate = server.signed_by(&key, &issuer).map_err(failed)?;
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).map(|()| path)
        };
        Ok(Self {
            authority: write("ca.pem", issuer.pem())?,
            certificate: write("member.pem", certificate.pem())?,
            key: write("member.key", key.serialize_pem())?,
        })
    }
}

fn named(name: &str) -> io::Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

fn new_key() -> io::Result<KeyPair> {
    KeyPair::generate().map_err(failed)
}

fn failed(error: rcgen::Error) -> io::Error {
    io::Error::other(error)
}
