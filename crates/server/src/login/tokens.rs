//! Tokens, by their hashes: in memory, on every member.
//!
//! A token that is not used for a while is forgotten, and so are all when the member starts again; their users log in
//! anew, as clients of etcd do by themselves. Whether the user of a token may still come in, the state says.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use quorate_host::Clock;
use quorate_mvcc::auth::Issued;
use quorate_raft::Time;
use sha2::{Digest, Sha256};

use super::Secret;
use crate::rpc::Failure;

/// How many tokens are kept at most. Where there are more, those go that were not used for longest.
const TOKENS_MAX: usize = 100_000;

/// The letters of a token.
const LETTERS: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// How many of them it has: 16 in etcd, and as many here as make 128 bits.
const LENGTH: usize = 23;

/// The hash of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Token([u8; 32]);

impl Token {
    /// Of what a client has sent.
    pub(crate) fn of(text: &[u8]) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// A new one: what its user gets, and what everybody else gets.
    pub(crate) fn new(revision: u64) -> Result<(Secret, Self), Failure> {
        let mut text = String::with_capacity(LENGTH + 21);
        while text.len() < LENGTH {
            let mut bytes = [0; LENGTH];
            getrandom::fill(&mut bytes).map_err(|_| Failure::NoEntropy)?;
            // 208 is four times the letters, so that all are as likely.
            let letters = bytes.iter().filter(|byte| **byte < 208);
            let letters =
                letters.map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]));
            text.extend(letters.take(LENGTH - text.len()));
        }
        text.push('.');
        text.push_str(&revision.to_string());
        let token = Self::of(text.as_bytes());
        Ok((text.into(), token))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The tokens that this member knows.
#[derive(Debug)]
pub(crate) struct Tokens {
    clock: Clock,
    life: Duration,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    tokens: HashMap<Token, Entry>,
    /// When those that are too old were last looked for.
    swept: Option<Time>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    /// The revision of the rights at which it was given out.
    revision: u64,
    used: Time,
}

impl Tokens {
    /// Tokens that live so long without being used.
    pub(crate) fn new(life: Duration) -> Self {
        Self { clock: Clock::start(), life, known: Mutex::default() }
    }

    /// Notes tokens that were given out.
    pub(crate) fn note(&self, issued: Vec<Issued>) {
        self.note_at(self.clock.now(), issued);
    }

    fn note_at(&self, now: Time, issued: Vec<Issued>) {
        if issued.is_empty() {
            return;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = known.swept.is_none_or(|swept| now.since(swept) >= self.life);
        if is_due {
            known.tokens.retain(|_, entry| now.since(entry.used) < self.life);
            known.swept = Some(now);
        }
        if known.tokens.len() >= TOKENS_MAX {
            let mut used: Vec<Time> = known.tokens.values().map(|entry| entry.used).collect();
            let (_, limit, _) = used.select_nth_unstable(TOKENS_MAX / 4);
            let limit = *limit;
            known.tokens.retain(|_, entry| entry.used > limit);
        }
        for Issued { name, token, revision } in issued {
            // What is no hash was made by no server.
            let Ok(token) = <[u8; 32]>::try_from(&token[..]) else { continue };
            if known.tokens.len() < TOKENS_MAX {
                known.tokens.insert(Token(token), Entry { name, revision, used: now });
            }
        }
    }

    /// Whose token it is, and the revision of the rights at which it was given out. It lives on for a while by that.
    pub(crate) fn find(&self, token: &Token) -> Option<(String, u64)> {
        self.find_at(self.clock.now(), token)
    }

    fn find_at(&self, now: Time, token: &Token) -> Option<(String, u64)> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = known.tokens.get_mut(token)?;
        if now.since(entry.used) >= self.life {
            known.tokens.remove(token);
            return None;
        }
        entry.used = now;
        Some((entry.name.clone(), entry.revision))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(300);

    fn issued(name: &str, token: &Token) -> Issued {
        let token = bytes::Bytes::copy_from_slice(token.bytes());
        Issued { name: name.to_owned(), token, revision: 5 }
    }

    #[test]
    fn a_token_has_letters_a_dot_and_a_number() {
        let (text, token) = Token::new(7).expect("there is entropy");
        let text = str::from_utf8(text.bytes()).expect("letters");
        let (letters, number) = text.split_once('.').expect("a dot");
        assert_eq!((letters.len(), number), (LENGTH, "7"));
        assert!(letters.bytes().all(|byte| LETTERS.contains(&byte)));
        assert_eq!(Token::of(text.as_bytes()), token);
        assert_ne!(Token::new(7).expect("there is entropy").1, token);
    }

    #[test]
    fn a_token_lives_as_long_as_it_is_used() {
        let (tokens, begin) = (Tokens::new(LIFE), Time(1));
        let (token, other) = (Token::of(b"a"), Token::of(b"b"));
        tokens.note_at(begin, vec![issued("alice", &token)]);
        let alice = Some(("alice".to_owned(), 5));
        assert_eq!(tokens.find_at(begin + LIFE / 2, &token), alice);
        assert_eq!(tokens.find_at(begin + LIFE, &token), alice, "it was used in between");
        assert_eq!(tokens.find_at(begin, &other), None);
        assert_eq!(tokens.find_at(begin + LIFE * 2, &token), None);
        assert_eq!(tokens.find_at(begin + LIFE * 2, &token), None, "and it does not come back");
    }

    #[test]
    fn old_tokens_make_room() {
        let (tokens, begin) = (Tokens::new(LIFE), Time(1));
        tokens.note_at(begin, vec![issued("alice", &Token::of(b"a"))]);
        tokens.note_at(begin + LIFE, vec![issued("bob", &Token::of(b"b"))]);
        let known = tokens.known.lock().expect("no panic");
        assert_eq!(known.tokens.len(), 1);
    }

    #[test]
    fn tokens_are_bounded_and_those_that_are_used_stay() {
        let (tokens, begin) = (Tokens::new(LIFE), Time(1));
        let token = |number: usize| Token::of(&number.to_be_bytes());
        let at = |number: usize| begin + Duration::from_micros(number as u64);
        for number in 0..TOKENS_MAX + TOKENS_MAX / 2 {
            tokens.note_at(at(number), vec![issued("alice", &token(number))]);
            assert!(tokens.find_at(at(number), &token(0)).is_some(), "it is used all the time");
        }
        let last = TOKENS_MAX + TOKENS_MAX / 2 - 1;
        assert!(tokens.find_at(at(last), &token(last)).is_some());
        assert!(tokens.find_at(at(last), &token(1)).is_none(), "it was not used for longest");
        assert!(tokens.known.lock().expect("no panic").tokens.len() <= TOKENS_MAX);
    }

    #[test]
    fn what_is_no_hash_is_no_token() {
        let tokens = Tokens::new(LIFE);
        tokens.note(vec![Issued { name: "x".into(), token: "short".into(), revision: 1 }]);
        assert!(tokens.known.lock().expect("no panic").tokens.is_empty());
    }
}
