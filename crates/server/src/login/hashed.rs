//! The hash of a password, which says itself how it was made, and so what it takes to compare a password with it.
//!
//! Most are made here. Others come with a backup, and whoever made that has written whatever he liked: so what is dearer
//! than anybody makes them is compared with nothing. Else a login could take all memory, or hours of a core.

use argon2::password_hash::phc::PasswordHash as Parsed;
use argon2::{Argon2, Params, PasswordVerifier as _};

/// The highest cost of bcrypt: some seconds of a core. etcd takes 10 unless told otherwise.
const BCRYPT_COST_MAX: u32 = 16;

/// The most memory of Argon2, in KiB, the most passes and the most lanes: more than twice of what is recommended.
const ARGON2_KIB_MAX: u32 = 48 << 10;
const ARGON2_PASSES_MAX: u32 = 8;
const ARGON2_LANES_MAX: u32 = 16;

/// The longest password that bcrypt does not cut, in bytes.
const BCRYPT_BYTES_MAX: usize = 72;

/// A hash that can be compared with.
#[derive(Debug)]
pub(super) enum Hashed<'a> {
    /// As etcd makes them.
    Bcrypt(&'a str),
    /// As they are made here.
    Argon2(Box<Parsed>),
}

impl<'a> Hashed<'a> {
    /// Reads one; `None` if it is none, or too dear.
    pub(super) fn parse(hash: &'a [u8]) -> Option<Self> {
        let text = str::from_utf8(hash).ok()?;
        if text.starts_with("$2") {
            let cost = text.parse::<bcrypt::HashParts>().ok()?.get_cost();
            return (cost <= BCRYPT_COST_MAX).then_some(Self::Bcrypt(text));
        }
        let hash = Parsed::new(text).ok()?;
        let params = Params::try_from(&hash).ok()?;
        let is_bearable = params.m_cost() <= ARGON2_KIB_MAX
            && params.t_cost() <= ARGON2_PASSES_MAX
            && params.p_cost() <= ARGON2_LANES_MAX;
        is_bearable.then(|| Self::Argon2(Box::new(hash)))
    }

    /// Whether it was made of this password.
    pub(super) fn is_of(&self, password: &[u8]) -> bool {
        match self {
            Self::Bcrypt(text) => {
                // bcrypt has no say in what is behind.
                let fits = password.len() <= BCRYPT_BYTES_MAX;
                fits && bcrypt::verify(password, text).unwrap_or(false)
            }
            Self::Argon2(hash) => Argon2::default().verify_password(password, &**hash).is_ok(),
        }
    }

    /// Whether it takes less than a millisecond or so.
    #[cfg(feature = "fuzz")]
    pub(super) fn is_cheap(&self) -> bool {
        match self {
            Self::Bcrypt(text) => text.starts_with("$2b$04$"),
            Self::Argon2(hash) => Params::try_from(&**hash)
                .is_ok_and(|params| params.m_cost().saturating_mul(params.t_cost()) <= 256),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_that_nobody_could_bear_to_compare_is_none() {
        let bcrypt = |cost: u32| format!("$2b${cost:02}${}", ".".repeat(53));
        let argon2 = |memory: u32, passes: u32, lanes: u32| {
            format!("$argon2id$v=19$m={memory},t={passes},p={lanes}$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo")
        };
        for (hash, is_one) in [
            (bcrypt(10), true),
            (bcrypt(16), true),
            (bcrypt(17), false),
            (bcrypt(31), false),
            (argon2(19_456, 2, 1), true),
            (argon2(49_152, 8, 16), true),
            (argon2(49_153, 1, 1), false),
            (argon2(u32::MAX, 1, 1), false),
            (argon2(19_456, 9, 1), false),
            (argon2(19_456, u32::MAX, 1), false),
            (argon2(19_456, 2, 17), false),
        ] {
            assert_eq!(Hashed::parse(hash.as_bytes()).is_some(), is_one, "{hash}");
        }
    }
}
