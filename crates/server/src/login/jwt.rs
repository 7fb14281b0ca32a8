//! Tokens that say themselves whose they are, and are signed (JWT, RFC 7519).
//!
//! Nothing of them is in the log, and no member has to know one: whoever has the key can check it, after a restart too.
//! A token has the revision of users and rights at which its user was let in; once these are newer, it is refused as
//! old. Keys are read again when their files change, and then only the new ones count.

#[cfg(feature = "fuzz")]
pub(super) mod fuzz;
mod keys;
mod token;

use std::sync::Arc;
use std::time::Duration;

use quorate_host::wall_clock;
use quorate_tls::{Look, Reloading};
use tokio::time::sleep;

use self::keys::KeyFiles;
use super::Secret;
use crate::config::AuthToken;
use crate::log::Log;
use crate::rpc::Failure;
use crate::shutdown::Shutdown;

/// How often to look whether the files of the keys have changed.
const LOOK: Duration = Duration::from_secs(1);

/// Signs tokens, and checks them.
#[derive(Debug)]
pub(crate) struct Jwt {
    keys: Reloading<KeyFiles>,
    log: Log,
}

impl Jwt {
    /// What the configuration asks for, if it does.
    pub(crate) fn open(settings: &AuthToken, log: &Log) -> Result<Option<Arc<Self>>, String> {
        let AuthToken::Jwt(settings) = settings else { return Ok(None) };
        let keys = Reloading::new(KeyFiles(settings.clone()));
        let keys = keys.map_err(|error| format!("the keys of --auth-token=jwt: {error}"))?;
        let jwt = Self { keys, log: log.clone() };
        jwt.warn();
        Ok(Some(Arc::new(jwt)))
    }

    /// A token for a user who was let in at a revision of the rights.
    pub(crate) fn issue(&self, name: &str, revision: u64) -> Result<Secret, Failure> {
        let ends = wall_clock().saturating_add(self.keys.source().0.ttl).as_secs();
        token::issue(&self.keys.current(), name, revision, ends)
    }

    /// Whose token it is, and the revision of the rights at which it was given out. `None` if it is none.
    pub(crate) fn find(&self, text: &[u8]) -> Option<(String, u64)> {
        token::read(&self.keys.current(), wall_clock(), text)
    }

    /// Looks at the files until `stop`.
    pub(crate) async fn keep_fresh(self: Arc<Self>, mut stop: Shutdown) {
        loop {
            tokio::select! {
                () = sleep(LOOK) => {}
                () = stop.requested() => return,
            }
            match tokio::task::block_in_place(|| self.keys.look()) {
                Look::Same => {}
                Look::Reloaded => {
                    self.log.info("the keys of tokens were changed: users log in again");
                    self.warn();
                }
                Look::Kept(error) => {
                    self.log
                        .error("the keys of tokens were changed and can't be used: those before stay in use")
                        .with("error", error);
                }
            }
        }
    }

    fn warn(&self) {
        if let Some(warning) = self.keys.current().warning() {
            self.log.warn(warning);
        }
    }
}

#[cfg(test)]
mod tests;
