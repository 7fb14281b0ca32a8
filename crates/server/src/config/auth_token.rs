//! Which tokens users get: `--auth-token`.

use std::path::PathBuf;
use std::time::Duration;

use super::typed::Typed;
use super::{Stop, duration};

/// How long a signed token lives where nothing is given, as in etcd.
const TTL_DEFAULT: Duration = Duration::from_secs(300);

/// Which tokens users get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthToken {
    /// Random ones, which all members know by their hashes.
    Simple,
    /// Signed ones, which say themselves whose they are.
    Jwt(Jwt),
}

/// How tokens are signed and checked (RFC 7519).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwt {
    /// By which method, and no other.
    pub method: Method,
    /// The file of the key that checks. `None` if it follows from the other one.
    pub public: Option<PathBuf>,
    /// The file of the key that signs. Without it there are no new tokens.
    pub private: Option<PathBuf>,
    /// How long a token lives.
    pub ttl: Duration,
}

/// The methods of signing (RFC 7518, section 3.1, and RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSA (PKCS #1 v1.5) with SHA-256.
    Rs256,
    /// RSA (PKCS #1 v1.5) with SHA-384.
    Rs384,
    /// RSA (PKCS #1 v1.5) with SHA-512.
    Rs512,
    /// RSA (PSS) with SHA-256.
    Ps256,
    /// RSA (PSS) with SHA-384.
    Ps384,
    /// RSA (PSS) with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// The name, in flags and in tokens.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Whether one key does both, which must then be a secret.
    #[must_use]
    pub fn is_symmetric(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }
}

impl AuthToken {
    pub(super) fn mean(typed: &Typed) -> Result<Self, Stop> {
        match typed.get("auth-token") {
            None | Some("simple") => Ok(Self::Simple),
            Some(text) => match text.split_once(',').unwrap_or((text, "")) {
                ("jwt", options) => Jwt::mean(options)
                    .map(Self::Jwt)
                    .map_err(|why| Stop::Refused(format!("--auth-token=jwt: {why}"))),
                _ => Err(Stop::Refused(format!(
                    "--auth-token={text:?} is neither 'simple' nor 'jwt,sign-method=…,…'"
                ))),
            },
        }
    }
}

impl Jwt {
    fn mean(options: &str) -> Result<Self, String> {
        const NAMES: [&str; 4] = ["pub-key", "priv-key", "sign-method", "ttl"];
        let mut given = [None; 4];
        for option in options.split(',').filter(|_| !options.is_empty()) {
            let (name, value) = option
                .split_once('=')
                .filter(|(_, value)| !value.is_empty())
                .ok_or_else(|| format!("{option:?} is not name=value"))?;
            let at = NAMES.iter().position(|known| *known == name);
            let at = at.ok_or_else(|| format!("{name:?} is unknown ({})", NAMES.join(", ")))?;
            if given[at].replace(value).is_some() {
                return Err(format!("{name} is given twice"));
            }
        }
        let [public, private, method, ttl] = given;
        let method = method_of(method.ok_or("sign-method is missing")?)?;
        let ttl = match ttl {
            None => TTL_DEFAULT,
            Some(text) => duration::parse(text)
                .filter(|ttl| *ttl >= Duration::from_secs(1))
                .ok_or_else(|| format!("ttl={text} is not a duration of at least 1s"))?,
        };
        match (public, private) {
            (_, None) if method.is_symmetric() => {
                Err(format!("{} needs priv-key, the file of the secret", method.name()))
            }
            (Some(_), _) if method.is_symmetric() => Err(format!(
                "{} has one key for both, the secret in priv-key: pub-key means nothing with it",
                method.name()
            )),
            (None, None) => {
                Err("priv-key is missing, or pub-key to check tokens and give out none".to_owned())
            }
            (public, private) => Ok(Self {
                method,
                public: public.map(PathBuf::from),
                private: private.map(PathBuf::from),
                ttl,
            }),
        }
    }
}

fn method_of(name: &str) -> Result<Method, String> {
    let found = Method::ALL.into_iter().find(|method| method.name() == name);
    found.ok_or_else(|| match name {
        "ES512" => {
            "sign-method=ES512 is not supported: there is no P-521 here, use ES384".to_owned()
        }
        name => {
            let names = Method::ALL.map(Method::name);
            format!("sign-method={name} is unknown ({})", names.join(", "))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn parse(text: &str) -> Result<AuthToken, Stop> {
        Config::parse([format!("--auth-token={text}")], []).map(|config| config.auth_token)
    }

    fn jwt(method: Method, public: Option<&str>, private: Option<&str>, ttl: u64) -> AuthToken {
        let (public, private) = (public.map(PathBuf::from), private.map(PathBuf::from));
        AuthToken::Jwt(Jwt { method, public, private, ttl: Duration::from_secs(ttl) })
    }

    #[test]
    fn tokens_are_simple_or_signed() {
        let default = Config::parse([], []).expect("the defaults").auth_token;
        assert_eq!(default, AuthToken::Simple);
        for (text, meant) in [
            ("simple", AuthToken::Simple),
            (
                "jwt,pub-key=/a,priv-key=/b,sign-method=RS256,ttl=10m",
                jwt(Method::Rs256, Some("/a"), Some("/b"), 600),
            ),
            ("jwt,sign-method=EdDSA,pub-key=a=b", jwt(Method::EdDsa, Some("a=b"), None, 300)),
            ("jwt,priv-key=/b,sign-method=HS512", jwt(Method::Hs512, None, Some("/b"), 300)),
        ] {
            assert_eq!(parse(text), Ok(meant), "{text}");
        }
    }

    #[test]
    fn what_can_not_be_meant_is_refused() {
        for (text, why) in [
            ("", "\"\" is neither 'simple' nor 'jwt,sign-method=…,…'"),
            ("simple,ttl=1s", "\"simple,ttl=1s\" is neither 'simple' nor 'jwt,sign-method=…,…'"),
            ("JWT", "\"JWT\" is neither 'simple' nor 'jwt,sign-method=…,…'"),
            ("jwt", "jwt: sign-method is missing"),
            ("jwt,", "jwt: sign-method is missing"),
            ("jwt,pub-key=/a", "jwt: sign-method is missing"),
            (
                "jwt,sign-method=RS256",
                "jwt: priv-key is missing, or pub-key to check tokens and give out none",
            ),
            (
                "jwt,sign-method=none,priv-key=/b",
                "jwt: sign-method=none is unknown (HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, \
                 PS512, ES256, ES384, EdDSA)",
            ),
            (
                "jwt,sign-method=ES512,priv-key=/b",
                "jwt: sign-method=ES512 is not supported: there is no P-521 here, use ES384",
            ),
            (
                "jwt,sign-method=HS256,pub-key=/a",
                "jwt: HS256 needs priv-key, the file of the secret",
            ),
            (
                "jwt,sign-method=HS256,pub-key=/a,priv-key=/b",
                "jwt: HS256 has one key for both, the secret in priv-key: pub-key means nothing with it",
            ),
            (
                "jwt,sign-method=RS256,priv-key=/b,ttl=0",
                "jwt: ttl=0 is not a duration of at least 1s",
            ),
            (
                "jwt,sign-method=RS256,priv-key=/b,ttl=5",
                "jwt: ttl=5 is not a duration of at least 1s",
            ),
            ("jwt,sign-method", "jwt: \"sign-method\" is not name=value"),
            ("jwt,priv-key=,sign-method=RS256", "jwt: \"priv-key=\" is not name=value"),
            ("jwt,ttl=1s,ttl=2s", "jwt: ttl is given twice"),
            ("jwt,key=/b", "jwt: \"key\" is unknown (pub-key, priv-key, sign-method, ttl)"),
        ] {
            let refused = parse(text).expect_err("refused");
            assert_eq!(refused, Stop::Refused(format!("--auth-token={why}")), "{text}");
        }
    }
}
