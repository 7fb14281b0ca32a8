//! The keys of one method of signing.

use std::fmt;
use std::path::Path;

use quorate_tls::rustls::pki_types::PrivateKeyDer;
use quorate_tls::rustls::pki_types::pem::PemObject as _;
use quorate_tls::{Error, Files, KeyKind, PublicKey, Source};
use ring::rand::SystemRandom;
use ring::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaEncoding,
    RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm,
};
use ring::{error, hmac};
use zeroize::Zeroize as _;

use crate::config::{self, Method};

/// How long the modulus of an RSA key may be: what signs is more work the longer it is.
const RSA_BITS_MIN: usize = 2048;
const RSA_BITS_MAX: usize = 8192;

/// What is said of a key in a form that ring does not read.
const SEC1: &str = "is an EC key in SEC 1, which is not supported: `openssl pkcs8 -topk8 -nocrypt -in FILE` makes one \
                    in PKCS #8 of it";

/// What signs tokens and checks them, by one method.
pub(super) struct Keys {
    method: Method,
    pair: Pair,
    warning: Option<String>,
}

/// One key for both, or one for each.
enum Pair {
    Secret(hmac::Key),
    Public { checks: UnparsedPublicKey<Vec<u8>>, signs: Option<Private> },
}

enum Private {
    Rsa(Box<RsaKeyPair>, &'static dyn RsaEncoding),
    Ecdsa(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({}, ..)", self.method.name())
    }
}

impl Keys {
    /// A secret for HS256.
    #[cfg(feature = "fuzz")]
    pub(super) fn of_secret(secret: &[u8]) -> Self {
        let pair = Pair::Secret(hmac::Key::new(hmac::HMAC_SHA256, secret));
        Self { method: Method::Hs256, pair, warning: None }
    }

    pub(super) fn method(&self) -> Method {
        self.method
    }

    /// What an operator should look at.
    pub(super) fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// Whether there is a key to sign with.
    pub(super) fn can_sign(&self) -> bool {
        !matches!(self.pair, Pair::Public { signs: None, .. })
    }

    /// Signs something; fails without a key for it, or without random numbers.
    pub(super) fn sign(&self, text: &[u8]) -> Result<Vec<u8>, error::Unspecified> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Secret(key) => Ok(hmac::sign(key, text).as_ref().to_vec()),
            Pair::Public { signs: None, .. } => Err(error::Unspecified),
            Pair::Public { signs: Some(private), .. } => match private {
                Private::Rsa(key, padding) => {
                    let mut signature = vec![0; key.public().modulus_len()];
                    key.sign(*padding, &random, text, &mut signature)?;
                    Ok(signature)
                }
                Private::Ecdsa(key) => Ok(key.sign(&random, text)?.as_ref().to_vec()),
                Private::Ed25519(key) => Ok(key.sign(text).as_ref().to_vec()),
            },
        }
    }

    /// Whether something was signed by who has the key.
    pub(super) fn is_signed(&self, text: &[u8], signature: &[u8]) -> bool {
        match &self.pair {
            Pair::Secret(key) => hmac::verify(key, text, signature).is_ok(),
            Pair::Public { checks, .. } => checks.verify(text, signature).is_ok(),
        }
    }
}

/// The files of the keys.
#[derive(Debug)]
pub(super) struct KeyFiles(pub(super) config::Jwt);

impl Source for KeyFiles {
    type Value = Keys;

    fn files(&self) -> Vec<&Path> {
        self.0.private.iter().chain(&self.0.public).map(AsRef::as_ref).collect()
    }

    fn load(&self, files: &Files) -> Result<Keys, Error> {
        let (private, public) = (self.0.private.as_deref(), self.0.public.as_deref());
        let pair = match Family::of(self.0.method) {
            Family::Secret(algorithm) => {
                let path = private.expect("the configuration has it with this method");
                Pair::Secret(secret(algorithm, files, path)?)
            }
            family => {
                let signs = private.map(|path| family.private(files, path)).transpose()?;
                let given = public.map(|path| family.public(files, path)).transpose()?;
                let bytes = match (&signs, given) {
                    (None, given) => given.expect("the configuration has one of them"),
                    (Some(key), None) => key.public(),
                    (Some(key), Some(given)) if given == key.public() => given,
                    (Some(_), Some(_)) => {
                        let path = public.expect("it was given");
                        return Err(Error::of(path, "is not the public key of the private one"));
                    }
                };
                let checks = UnparsedPublicKey::new(family.checks(), bytes);
                Pair::Public { checks, signs }
            }
        };
        let open = private.filter(|path| files.is_open_to_all(path));
        let warning = open.map(|path| {
            Error::of(path, "the key can be read by everybody on this machine").to_string()
        });
        Ok(Keys { method: self.0.method, pair, warning })
    }
}

/// A secret: all bytes of its file, as etcd has it.
fn secret(algorithm: hmac::Algorithm, files: &Files, path: &Path) -> Result<hmac::Key, Error> {
    let bytes = files.bytes(path);
    // RFC 7518, section 3.2.
    let least = algorithm.digest_algorithm().output_len();
    if bytes.len() < least {
        return Err(Error::of(path, format!("is a secret of less than {least} bytes")));
    }
    // What others may know too would let everybody sign.
    let has = |words: &[u8]| bytes.windows(words.len()).any(|window| window == words);
    if has(b"PUBLIC KEY-----") || has(b"BEGIN CERTIFICATE-----") {
        return Err(Error::of(path, "is a public key, and no secret"));
    }
    Ok(hmac::Key::new(algorithm, bytes))
}

/// What ring has for a method.
#[derive(Clone, Copy)]
enum Family {
    Secret(hmac::Algorithm),
    Rsa(&'static dyn RsaEncoding, &'static signature::RsaParameters),
    Ecdsa(KeyKind, &'static EcdsaSigningAlgorithm, &'static signature::EcdsaVerificationAlgorithm),
    Ed25519,
}

impl Family {
    fn of(method: Method) -> Self {
        use ring::signature as s;
        match method {
            Method::Hs256 => Self::Secret(hmac::HMAC_SHA256),
            Method::Hs384 => Self::Secret(hmac::HMAC_SHA384),
            Method::Hs512 => Self::Secret(hmac::HMAC_SHA512),
            Method::Rs256 => Self::Rsa(&s::RSA_PKCS1_SHA256, &s::RSA_PKCS1_2048_8192_SHA256),
            Method::Rs384 => Self::Rsa(&s::RSA_PKCS1_SHA384, &s::RSA_PKCS1_2048_8192_SHA384),
            Method::Rs512 => Self::Rsa(&s::RSA_PKCS1_SHA512, &s::RSA_PKCS1_2048_8192_SHA512),
            Method::Ps256 => Self::Rsa(&s::RSA_PSS_SHA256, &s::RSA_PSS_2048_8192_SHA256),
            Method::Ps384 => Self::Rsa(&s::RSA_PSS_SHA384, &s::RSA_PSS_2048_8192_SHA384),
            Method::Ps512 => Self::Rsa(&s::RSA_PSS_SHA512, &s::RSA_PSS_2048_8192_SHA512),
            Method::Es256 => Self::Ecdsa(
                KeyKind::P256,
                &s::ECDSA_P256_SHA256_FIXED_SIGNING,
                &s::ECDSA_P256_SHA256_FIXED,
            ),
            Method::Es384 => Self::Ecdsa(
                KeyKind::P384,
                &s::ECDSA_P384_SHA384_FIXED_SIGNING,
                &s::ECDSA_P384_SHA384_FIXED,
            ),
            Method::EdDsa => Self::Ed25519,
        }
    }

    fn checks(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::Secret(_) => unreachable!("what checks is the secret"),
            Self::Rsa(_, algorithm) => algorithm,
            Self::Ecdsa(_, _, algorithm) => algorithm,
            Self::Ed25519 => &signature::ED25519,
        }
    }

    /// What a key has to be.
    fn wanted(self) -> &'static str {
        match self {
            Self::Secret(_) => "a secret",
            Self::Rsa(..) => "an RSA key of 2048 to 4096 bits (to check alone: 8192)",
            Self::Ecdsa(KeyKind::P384, ..) => "a key on the curve P-384",
            Self::Ecdsa(..) => "a key on the curve P-256",
            Self::Ed25519 => "an Ed25519 key",
        }
    }

    fn public(self, files: &Files, path: &Path) -> Result<Vec<u8>, Error> {
        let PublicKey { kind, bytes } = PublicKey::of(files, path)?;
        let fits = match (self, kind) {
            (Self::Rsa(..), KeyKind::Rsa { bits }) => (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits),
            (Self::Ecdsa(wanted, ..), found) => wanted == found,
            (Self::Ed25519, KeyKind::Ed25519) => true,
            _ => false,
        };
        if fits { Ok(bytes) } else { Err(Error::of(path, format!("is not {}", self.wanted()))) }
    }

    fn private(self, files: &Files, path: &Path) -> Result<Private, Error> {
        // The parser's own words would tell of what is in the file.
        let mut der = PrivateKeyDer::from_pem_slice(files.bytes(path))
            .map_err(|_| Error::of(path, "has no private key in PEM, or it is encrypted"))?;
        let random = SystemRandom::new();
        let is_sec1 = matches!(der, PrivateKeyDer::Sec1(_));
        let key = match (self, &der) {
            (Self::Rsa(padding, _), PrivateKeyDer::Pkcs1(der)) => {
                RsaKeyPair::from_der(der.secret_pkcs1_der())
                    .ok()
                    .map(|key| Private::rsa(key, padding))
            }
            (Self::Rsa(padding, _), PrivateKeyDer::Pkcs8(der)) => {
                RsaKeyPair::from_pkcs8(der.secret_pkcs8_der())
                    .ok()
                    .map(|key| Private::rsa(key, padding))
            }
            (Self::Ecdsa(_, algorithm, _), PrivateKeyDer::Pkcs8(der)) => {
                EcdsaKeyPair::from_pkcs8(algorithm, der.secret_pkcs8_der(), &random)
                    .ok()
                    .map(|key| Private::Ecdsa(Box::new(key)))
            }
            (Self::Ed25519, PrivateKeyDer::Pkcs8(der)) => {
                Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der())
                    .ok()
                    .map(|key| Private::Ed25519(Box::new(key)))
            }
            _ => None,
        };
        der.zeroize();
        key.ok_or_else(|| {
            if is_sec1 {
                Error::of(path, SEC1)
            } else {
                Error::of(path, format!("is not {}", self.wanted()))
            }
        })
    }
}

impl Private {
    fn rsa(key: RsaKeyPair, padding: &'static dyn RsaEncoding) -> Self {
        Self::Rsa(Box::new(key), padding)
    }

    /// The key that checks what this one has signed, as [`PublicKey::bytes`].
    fn public(&self) -> Vec<u8> {
        match self {
            Self::Rsa(key, _) => key.public_key().as_ref().to_vec(),
            Self::Ecdsa(key) => key.public_key().as_ref().to_vec(),
            Self::Ed25519(key) => key.public_key().as_ref().to_vec(),
        }
    }
}
