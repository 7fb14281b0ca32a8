//! What clients show to be let in, and hashes of passwords, as any bytes.

use http::HeaderMap;

use super::Credentials;
use super::hashed::Hashed;

pub use super::jwt::fuzz::{signed_token, token};

/// The metadata of a request.
pub fn credentials(headers: &HeaderMap) {
    let _ = format!("{:?}", Credentials::of(headers, None));
}

/// Whether a hash, which may come from a file of etcd's, is cheap and was made of a password.
#[must_use]
pub fn is_password(password: &[u8], hash: &[u8]) -> bool {
    Hashed::parse(hash).is_some_and(|hash| hash.is_cheap() && hash.is_of(password))
}
