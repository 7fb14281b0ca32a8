//! Passwords: hashed and compared away from everybody who waits for something else.
//!
//! New hashes are made with Argon2id, which takes memory as well as time, so that guessing many at once is dear. Those
//! that etcd makes (bcrypt) are understood, for users who come from there.

use std::sync::Arc;

use argon2::{Argon2, Params, PasswordHasher as _};
use bytes::Bytes;
use quorate_mvcc::auth::PasswordHash;
use tokio::sync::Semaphore;

use super::Secret;
use super::hashed::Hashed;
use crate::rpc::Failure;

/// How many hashes are computed at once: each takes 19 MiB and some tens of milliseconds of a core.
const AT_ONCE: usize = 2;

/// How many more may wait for that. Who comes then is told to come again.
const WAITING_MAX: usize = 64;

/// Computes hashes.
#[derive(Clone, Debug)]
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Passwords {
    pub(crate) fn new() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            places: Arc::new(Semaphore::new(AT_ONCE + WAITING_MAX)),
        }
    }

    /// The hash of a new password.
    pub(crate) async fn hash(&self, password: Secret) -> Result<PasswordHash, Failure> {
        self.compute(move || {
            // What it may fail for, besides memory, is the salt.
            let hash = Argon2::default().hash_password(password.bytes());
            Ok(PasswordHash(Bytes::from(hash.map_err(|_| Failure::NoEntropy)?.to_string())))
        })
        .await
    }

    /// Whether a password is the one that a hash was made of. Without a hash it is not, which takes as long.
    pub(crate) async fn compare(
        &self,
        password: &Arc<Secret>,
        hash: Option<PasswordHash>,
    ) -> Result<bool, Failure> {
        let password = password.clone();
        self.compute(move || Ok(compare(&password, hash.as_ref()).0)).await
    }

    /// Computes something when it has its turn, on a thread for such things.
    async fn compute<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let place = self.places.clone().try_acquire_owned();
        let place = place.map_err(|_| Failure::TooManyRequests)?;
        let turn = self.turns.clone().acquire_owned().await.map_err(|_| Failure::Stopped)?;
        // Both are kept until it is done, whether or not somebody still waits for it.
        let computed = tokio::task::spawn_blocking(move || {
            let _kept = (place, turn);
            job()
        });
        computed.await.map_err(|_| Failure::Stopped)?
    }
}

/// What was computed for an answer. Whoever measures time can learn that, and no more.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Work {
    /// Argon2id with so much memory, so often, in so many lanes.
    Argon2 { memory_kib: u32, passes: u32, lanes: u32 },
    /// bcrypt, for users who come from etcd.
    Bcrypt,
}

impl Work {
    fn of(hash: &Hashed<'_>) -> Self {
        match hash {
            Hashed::Bcrypt(_) => Self::Bcrypt,
            Hashed::Argon2(hash) => Self::argon2(&Params::try_from(&**hash).unwrap_or_default()),
        }
    }

    fn argon2(with: &Params) -> Self {
        Self::Argon2 { memory_kib: with.m_cost(), passes: with.t_cost(), lanes: with.p_cost() }
    }
}

/// Whether a password is the one that a hash was made of, and what was done for that.
fn compare(password: &Secret, hash: Option<&PasswordHash>) -> (bool, Work) {
    match hash.and_then(|PasswordHash(hash)| Hashed::parse(hash)) {
        Some(hash) => (hash.is_of(password.bytes()), Work::of(&hash)),
        None => {
            // Nobody shall learn by the time whether there is such a user.
            let argon2 = Argon2::default();
            drop(argon2.hash_password(password.bytes()));
            (false, Work::argon2(argon2.params()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::from(text.to_owned())
    }

    #[tokio::test]
    async fn a_password_is_recognised_by_its_hash() {
        let passwords = Passwords::new();
        let hash = passwords.hash(secret("right")).await.expect("hashed");
        assert!(hash.0.starts_with(b"$argon2id$"), "the kind of hash stands in it");
        let other = passwords.hash(secret("right")).await.expect("hashed");
        assert!(hash != other, "each hash has a salt");
        let compare = async |text: &str, hash: &PasswordHash| {
            passwords.compare(&secret(text).into(), Some(hash.clone())).await.expect("compared")
        };
        assert!(compare("right", &hash).await);
        assert!(!compare("wrong", &hash).await);
        assert!(!compare("", &hash).await);
        assert!(!passwords.compare(&secret("right").into(), None).await.expect("compared"));
    }

    #[tokio::test]
    async fn an_unknown_user_costs_the_work_of_a_known_one() {
        let passwords = Passwords::new();
        let hash = passwords.hash(secret("right")).await.expect("hashed");
        let (is_same, work) = compare(&secret("right"), Some(&hash));
        assert!(is_same);
        assert_eq!(compare(&secret("wrong"), Some(&hash)), (false, work.clone()));
        assert_eq!(compare(&secret("wrong"), None), (false, work));
    }

    #[tokio::test]
    async fn hashes_of_etcd_are_understood_and_others_are_no_match() {
        let passwords = Passwords::new();
        let compare = async |text: &str, hash: &str| {
            let hash = PasswordHash(Bytes::copy_from_slice(hash.as_bytes()));
            passwords.compare(&secret(text).into(), Some(hash)).await.expect("compared")
        };
        let hash = bcrypt::hash("pass", 4).expect("hashed");
        assert!(compare("pass", &hash).await);
        assert!(!compare("fail", &hash).await);
        let long = "p".repeat(73);
        let of_long = bcrypt::hash(&long[..72], 4).expect("hashed");
        assert!(!compare(&long, &of_long).await, "nothing is cut off in silence");
        for wrong in
            ["", "$2", "$2b$04$short", "plain", "$argon2id$", "$argon2id$v=19$m=1,t=1,p=1$x$y"]
        {
            assert!(!compare("pass", wrong).await, "{wrong}");
        }
    }
}
