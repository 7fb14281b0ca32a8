//! Which versions of TLS are spoken, and with which cipher suites.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::version::{TLS12, TLS13};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

use crate::Error;

static ONLY_13: [&SupportedProtocolVersion; 1] = [&TLS13];
static ONLY_12: [&SupportedProtocolVersion; 1] = [&TLS12];
static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// TLS 1.2, of which only the suites with forward secrecy and authenticated encryption are spoken.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls12 => "TLS1.2",
            Self::Tls13 => "TLS1.3",
        })
    }
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "TLS1.2" => Ok(Self::Tls12),
            "TLS1.3" => Ok(Self::Tls13),
            _ => Err(Error::new(format!("unexpected TLS version {text:?}: TLS1.2 or TLS1.3"))),
        }
    }
}

/// Which versions are spoken, and with which cipher suites.
#[derive(Clone, Debug)]
pub struct Protocol {
    versions: &'static [&'static SupportedProtocolVersion],
    provider: Arc<CryptoProvider>,
}

impl Default for Protocol {
    /// TLS 1.3.
    fn default() -> Self {
        Self { versions: &ONLY_13, provider: Arc::new(ring::default_provider()) }
    }
}

impl Protocol {
    /// The versions from `min` to `max`, with these cipher suites, in this order, under the names that Go and
    /// IANA have for them. Where no suite of a version is named, all of that version are spoken.
    ///
    /// # Errors
    /// If nothing is left, or if a suite is not supported or could not be used.
    pub fn new(min: Version, max: Version, suites: &[&str]) -> Result<Self, Error> {
        let versions: &[_] = match (min, max) {
            (Version::Tls13, Version::Tls13) => &ONLY_13,
            (Version::Tls12, Version::Tls12) => &ONLY_12,
            (Version::Tls12, Version::Tls13) => &BOTH,
            (Version::Tls13, Version::Tls12) => {
                let text = format!("min version ({min}) is greater than max version ({max})");
                return Err(Error::new(text));
            }
        };
        let mut provider = ring::default_provider();
        let known = std::mem::take(&mut provider.cipher_suites);
        let mut named = Vec::new();
        for suite in suites {
            let found = known.iter().find(|known| is_called(known, suite)).ok_or_else(|| {
                Error::new(format!(
                    "unexpected TLS cipher suite {suite:?}: there are {}",
                    known.iter().map(name).collect::<Vec<_>>().join(", ")
                ))
            })?;
            if !versions.contains(&found.version()) {
                let which = match min {
                    Version::Tls13 => "only TLS1.3 is enabled",
                    Version::Tls12 => "TLS1.3 is not enabled",
                };
                return Err(Error::new(format!("cipher suite {suite} can't be used when {which}")));
            }
            if !named.contains(found) {
                named.push(*found);
            }
        }
        let rest = known.iter().filter(|known| {
            named.iter().all(|named: &SupportedCipherSuite| named.version() != known.version())
        });
        let rest: Vec<_> = rest.copied().collect();
        provider.cipher_suites = named.into_iter().chain(rest).collect();
        Ok(Self { versions, provider: Arc::new(provider) })
    }

    pub(crate) fn versions(&self) -> &'static [&'static SupportedProtocolVersion] {
        self.versions
    }

    pub(crate) fn provider(&self) -> &Arc<CryptoProvider> {
        &self.provider
    }
}

/// The name that everybody but rustls has for it.
fn name(suite: &SupportedCipherSuite) -> String {
    let name = format!("{:?}", suite.suite());
    match name.strip_prefix("TLS13_") {
        Some(rest) => format!("TLS_{rest}"),
        None => name,
    }
}

/// Go had shorter names for some, which etcd still knows.
fn is_called(suite: &SupportedCipherSuite, text: &str) -> bool {
    let name = name(suite);
    name == text || (name.contains("CHACHA20") && name.strip_suffix("_SHA256") == Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(protocol: &Protocol) -> Vec<String> {
        protocol.provider.cipher_suites.iter().map(name).collect()
    }

    #[test]
    fn versions() {
        assert_eq!(Protocol::default().versions, [&TLS13]);
        let of = |min, max| Protocol::new(min, max, &[]).map(|protocol| protocol.versions);
        assert_eq!(of(Version::Tls12, Version::Tls13), Ok(&[&TLS13, &TLS12][..]));
        assert_eq!(of(Version::Tls12, Version::Tls12), Ok(&[&TLS12][..]));
        let error = of(Version::Tls13, Version::Tls12).expect_err("nothing is left");
        assert_eq!(error.to_string(), "min version (TLS1.3) is greater than max version (TLS1.2)");
        assert!("TLS1.1".parse::<Version>().is_err());
    }

    #[test]
    fn suites() {
        let both = |suites: &[&str]| Protocol::new(Version::Tls12, Version::Tls13, suites);
        let short = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305";
        let some = both(&["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", short]).expect("known");
        let found = names(&some);
        assert_eq!(found[0], "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
        assert_eq!(found[1], "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256");
        assert_eq!(found.len(), 2 + 3, "TLS 1.3 has three, and none was named: {found:?}");
        let one = both(&["TLS_AES_256_GCM_SHA384"]).expect("known");
        assert_eq!(names(&one).len(), 1 + 6);
        let weak = both(&["TLS_RSA_WITH_AES_128_CBC_SHA"]).expect_err("too weak to be known");
        assert!(weak.to_string().starts_with("unexpected TLS cipher suite"), "{weak}");
        let of_12 = ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"];
        let error = Protocol::new(Version::Tls13, Version::Tls13, &of_12).expect_err("of no use");
        assert!(error.to_string().ends_with("when only TLS1.3 is enabled"), "{error}");
    }
}
