//! Public keys by themselves, for who checks signatures of something else than connections.

use std::path::Path;

use rustls::pki_types::pem::{PemObject as _, SectionKind};
use zeroize::Zeroizing;

use crate::certificate::{Der, OBJECT_ID, SEQUENCE, public_key_info};
use crate::{Error, Files};

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
/// `rsaEncryption`, 1.2.840.113549.1.1.1 (RFC 3279).
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// `id-ecPublicKey`, 1.2.840.10045.2.1 (RFC 5480), and two of its curves.
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
/// `id-Ed25519`, 1.3.101.112 (RFC 8410).
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// A public key, as a file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// What it can check.
    pub kind: KeyKind,
    /// The key without its kind: of RSA the modulus and the exponent in DER (`RSAPublicKey` of RFC 8017), of a curve
    /// a point, which is not compressed, and of Ed25519 the 32 bytes.
    pub bytes: Vec<u8>,
}

/// The kinds of public keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA.
    Rsa {
        /// The bits of the modulus.
        bits: usize,
    },
    /// ECDSA on the curve P-256.
    P256,
    /// ECDSA on the curve P-384.
    P384,
    /// Ed25519.
    Ed25519,
}

impl PublicKey {
    /// The first public key of a file in PEM: one by itself (`PUBLIC KEY`), or that of a certificate. Whether the
    /// certificate can be believed is not asked.
    ///
    /// # Errors
    /// If there is none, or one of another kind.
    ///
    /// # Panics
    /// If the file is none of those that were read.
    pub fn of(files: &Files, path: &Path) -> Result<Self, Error> {
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(files.bytes(path)) {
            // The parser's own words would tell of what is in the file.
            let (kind, der) = section.map_err(|_| Error::of(path, "is not in PEM"))?;
            // It may be a private key that stands before the other one.
            let der = Zeroizing::new(der);
            let info = match kind {
                SectionKind::PublicKey => Der(&der).next_of(SEQUENCE),
                SectionKind::Certificate => public_key_info(&der),
                _ => continue,
            };
            return info
                .and_then(Self::parse)
                .ok_or_else(|| Error::of(path, "is a public key of a kind that is not supported"));
        }
        Err(Error::of(path, "has no public key and no certificate in PEM"))
    }

    /// Of what is in a `SubjectPublicKeyInfo` (RFC 5280, section 4.1.2.7).
    fn parse(info: &[u8]) -> Option<Self> {
        let mut info = Der(info);
        let mut algorithm = Der(info.next_of(SEQUENCE)?);
        let [0, bytes @ ..] = info.next_of(BIT_STRING)? else { return None };
        let kind = match algorithm.next_of(OBJECT_ID)? {
            RSA => KeyKind::Rsa { bits: rsa_bits(bytes)? },
            EC => match (algorithm.next_of(OBJECT_ID)?, bytes) {
                (P256, [4, point @ ..]) if point.len() == 2 * 32 => KeyKind::P256,
                (P384, [4, point @ ..]) if point.len() == 2 * 48 => KeyKind::P384,
                _ => return None,
            },
            ED25519 if bytes.len() == 32 => KeyKind::Ed25519,
            _ => return None,
        };
        Some(Self { kind, bytes: bytes.to_vec() })
    }
}

/// How long the modulus of a key is.
fn rsa_bits(key: &[u8]) -> Option<usize> {
    let mut key = Der(key);
    let mut numbers = Der(key.next_of(SEQUENCE)?);
    let (modulus, exponent) = (numbers.next_of(INTEGER)?, numbers.next_of(INTEGER)?);
    if !key.0.is_empty() || !numbers.0.is_empty() || exponent.is_empty() {
        return None;
    }
    // A zero in front says that the number is positive.
    let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    let first = modulus.first().filter(|first| **first != 0)?;
    Some(modulus.len() * 8 - first.leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<PublicKey, Error> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key.pem");
        fs::write(&path, text).expect("written");
        PublicKey::of(&Files::read(&[&path]).expect("read"), &path)
    }

    #[test]
    fn keys_stand_alone_or_in_certificates() {
        for (algorithm, kind) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, KeyKind::P256),
            (&rcgen::PKCS_ECDSA_P384_SHA384, KeyKind::P384),
            (&rcgen::PKCS_ED25519, KeyKind::Ed25519),
        ] {
            let pair = rcgen::KeyPair::generate_for(algorithm).expect("a key");
            let alone = read(&pair.public_key_pem()).expect("a key");
            assert_eq!(alone.kind, kind);
            assert_eq!(alone.bytes, pair.public_key_raw());
            let params = rcgen::CertificateParams::new(vec!["a".into()]).expect("a name");
            let certificate = params.self_signed(&pair).expect("signed");
            assert_eq!(read(&certificate.pem()).expect("its key"), alone);
            let error = read(&pair.serialize_pem()).expect_err("the private key is another thing");
            assert!(error.to_string().ends_with("has no public key and no certificate in PEM"));
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let pem = |text| format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n");
        for (text, why) in [
            (String::new(), "has no public key and no certificate in PEM"),
            (pem("!"), "is not in PEM"),
            (pem(""), "is a public key of a kind that is not supported"),
            (pem("MAA="), "is a public key of a kind that is not supported"),
        ] {
            let error = read(&text).expect_err("no key");
            assert!(error.to_string().ends_with(why), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (PublicKey::parse(&bytes), rsa_bits(&bytes), public_key_info(&bytes));
        }
    }
}
