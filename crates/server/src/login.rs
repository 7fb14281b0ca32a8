//! Who lets users in: passwords, and the tokens that they get for them.
//!
//! A password is compared once, away from all threads that others wait for; the user gets a token for it, which is
//! sent with each request. What stands in the log is a hash of the token, so that every member knows it and nobody can
//! take it from there; or nothing, where tokens are signed ([`Jwt`]). None of them is ever shown ([`Secret`]).

mod backoff;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod hashed;
mod jwt;
mod password;
mod secret;
mod tokens;

use std::fmt;

use http::HeaderMap;
use quorate_mvcc::{Auth, Caller, Error};

use crate::accept::CertifiedName;
use crate::member::Member;
use crate::rpc::{Failure, caller};

pub(crate) use self::backoff::Backoff;
pub(crate) use self::jwt::Jwt;
pub(crate) use self::password::Passwords;
pub(crate) use self::secret::Secret;
pub(crate) use self::tokens::{Token, Tokens};

/// The metadata in which clients send their token: that of etcd's, and that of everybody else.
const TOKEN: &str = "token";
const AUTHORIZATION: &str = "authorization";

/// What may stand before a token in the latter.
const BEARER: &str = "Bearer ";

/// The metadata of a request that comes through a JSON gateway: the certificate of its connection is the gateway's,
/// and not that of whoever asks.
const GATEWAY: &str = "grpcgateway-accept";

/// What a client shows to prove who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credentials<'a> {
    /// Nothing.
    None,
    /// The token that it was given for its password.
    Token(Sent<'a>),
    /// The certificate of its connection, with the name of a user.
    Certificate(&'a CertifiedName),
}

/// A token as a client has sent it, which is not shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent<'a>(&'a [u8]);

impl fmt::Debug for Sent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sent(..)")
    }
}

impl<'a> Credentials<'a> {
    /// What the metadata of a request holds, or its connection. A value that is no text is a token that nobody was
    /// given. Who sends a token means it, whatever the certificate says.
    pub(crate) fn of(metadata: &'a HeaderMap, certified: Option<&'a CertifiedName>) -> Self {
        if let Some(value) = metadata.get(TOKEN).or_else(|| metadata.get(AUTHORIZATION)) {
            let bytes = value.as_bytes();
            return Self::Token(Sent(bytes.strip_prefix(BEARER.as_bytes()).unwrap_or(bytes)));
        }
        match certified {
            Some(name) if !metadata.contains_key(GATEWAY) => Self::Certificate(name),
            _ => Self::None,
        }
    }
}

/// Whoever opened a stream, for as long as it is open: that lasts longer than a token does.
#[derive(Clone, Debug)]
pub(crate) struct Session(Caller);

impl Session {
    pub(crate) fn of<T>(request: &tonic::Request<T>) -> Self {
        Self(caller(request))
    }

    /// Who that is now, unless he was put out since.
    pub(crate) fn caller(&self, auth: &Auth) -> Result<Caller, Error> {
        match &self.0 {
            Caller::User { name, revision } if auth.is_enabled() => {
                if !auth.stays(name, *revision) {
                    return Err(Error::PermissionDenied);
                }
                Ok(Caller::User { name: name.clone(), revision: auth.revision() })
            }
            caller => Ok(caller.clone()),
        }
    }
}

impl Member {
    /// Who sends a request. As long as rights are not checked it is nobody, whatever was sent.
    pub(crate) fn caller(&self, credentials: Credentials<'_>) -> Result<Caller, Failure> {
        if !self.published.checks_rights() {
            return Ok(Caller::Nobody);
        }
        let state = self.published.state();
        let auth = state.auth();
        let token = match credentials {
            Credentials::None => return Ok(Caller::Nobody),
            Credentials::Token(Sent(token)) => token,
            Credentials::Certificate(CertifiedName(name)) => {
                return Ok(Caller::User { name: name.to_string(), revision: auth.revision() });
            }
        };
        if let Some(jwt) = &self.jwt {
            // It has the revision of the rights at which it was signed. Who checks rights refuses an older one.
            let (name, revision) = jwt.find(token).ok_or(Failure::InvalidToken)?;
            return Ok(Caller::User { name, revision });
        }
        // Tokens are known on every member before their users hear of them. Who was put out since is known by the state.
        match self.tokens.find(&Token::of(token)) {
            Some((name, since)) if auth.stays(&name, since) => {
                Ok(Caller::User { name, revision: auth.revision() })
            }
            _ => Err(Failure::InvalidToken),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_wherever_clients_put_it() {
        let assert = |name: &'static str, value: &'static [u8], credentials: Credentials<'_>| {
            let value = http::HeaderValue::from_bytes(value).expect("a header");
            let name = http::HeaderName::from_static(name);
            let metadata = HeaderMap::from_iter([(name, value)]);
            assert_eq!(Credentials::of(&metadata, None), credentials);
        };
        let token = Credentials::Token(Sent(b"abc.1"));
        assert("token", b"abc.1", token);
        assert("authorization", b"abc.1", token);
        assert("authorization", b"Bearer abc.1", token);
        assert("token", b"\xff", Credentials::Token(Sent(b"\xff")));
        assert("other", b"abc.1", Credentials::None);
        assert_eq!(format!("{token:?}"), "Token(Sent(..))");
    }

    #[test]
    fn a_certificate_is_second_to_a_token_and_not_that_of_who_asks_a_gateway() {
        let name = CertifiedName("alice".into());
        for (header, credentials) in [
            ("other", Credentials::Certificate(&name)),
            ("token", Credentials::Token(Sent(b"x"))),
            ("grpcgateway-accept", Credentials::None),
        ] {
            let name_and_value = (header.parse().expect("a name"), "x".parse().expect("a value"));
            let metadata = HeaderMap::from_iter([name_and_value]);
            assert_eq!(Credentials::of(&metadata, Some(&name)), credentials);
        }
    }
}
