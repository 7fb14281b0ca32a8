//! `Debug` for the messages that carry a secret.
//!
//! Requests end up in logs, in panics and in the output of failed tests. Passwords, their hashes
//! and tokens must not. Only whether a secret was given is shown, since that is what one wants to
//! know when a login fails.

use std::fmt;

use crate::authpb::User;
use crate::etcdserverpb::{
    AuthUserAddRequest, AuthUserChangePasswordRequest, AuthenticateRequest, AuthenticateResponse,
};

/// Stands for a secret: says whether there was one, and nothing else about it.
struct Secret {
    given: bool,
}

impl Secret {
    fn of(secret: &(impl AsRef<[u8]> + ?Sized)) -> Self {
        Self { given: !secret.as_ref().is_empty() }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.given { "<redacted>" } else { "<empty>" })
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .field("password", &Secret::of(&self.password))
            .field("roles", &self.roles)
            .field("options", &self.options)
            .finish()
    }
}

impl fmt::Debug for AuthenticateRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticateRequest")
            .field("name", &self.name)
            .field("password", &Secret::of(&self.password))
            .finish()
    }
}

impl fmt::Debug for AuthenticateResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticateResponse")
            .field("header", &self.header)
            .field("token", &Secret::of(&self.token))
            .finish()
    }
}

impl fmt::Debug for AuthUserAddRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthUserAddRequest")
            .field("name", &self.name)
            .field("password", &Secret::of(&self.password))
            .field("options", &self.options)
            .field("hashed_password", &Secret::of(&self.hashed_password))
            .finish()
    }
}

impl fmt::Debug for AuthUserChangePasswordRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthUserChangePasswordRequest")
            .field("name", &self.name)
            .field("password", &Secret::of(&self.password))
            .field("hashed_password", &Secret::of(&self.hashed_password))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each message is filled with the same secret in every place that can hold one; none of them
    /// shows it.
    #[test]
    fn secrets_are_not_shown() {
        let secret = || String::from("hunter2");
        let name = || String::from("alice");
        let shown = [
            format!(
                "{:?}",
                User { name: "alice".into(), password: "hunter2".into(), ..User::default() }
            ),
            format!("{:?}", AuthenticateRequest { name: name(), password: secret() }),
            format!("alice {:?}", AuthenticateResponse { header: None, token: secret() }),
            format!(
                "{:?}",
                AuthUserAddRequest {
                    name: name(),
                    password: secret(),
                    options: None,
                    hashed_password: secret(),
                }
            ),
            format!(
                "{:?}",
                AuthUserChangePasswordRequest {
                    name: name(),
                    password: secret(),
                    hashed_password: secret(),
                }
            ),
        ];
        for text in shown {
            assert!(!text.contains("hunter2"), "{text}");
            assert!(text.contains("<redacted>"), "{text}");
            assert!(text.contains("alice"), "the rest of the message stays readable: {text}");
        }
    }

    #[test]
    fn a_missing_secret_is_seen_to_be_missing() {
        let request = AuthenticateRequest { name: "alice".into(), password: String::new() };
        let shown = format!("{request:?}");
        assert_eq!(shown, r#"AuthenticateRequest { name: "alice", password: <empty> }"#);
    }
}
