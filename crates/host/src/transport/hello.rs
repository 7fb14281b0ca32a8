//! How two members show each other that they know a secret, and come to the keys of a connection.
//!
//! ```text
//! → magic 8 | version u16 |             nonce 32 | tag 32        who connects
//! ← magic 8 | version u16 | verdict u8 | nonce 32 | tag 32       who accepts; with another verdict than 0, no more than that
//! ```
//!
//! The first tag tells which of several secrets is spoken with; it proves nothing yet, since it can be repeated. The second
//! one covers both messages, so it proves that who accepts knows the secret now. From the secret and both messages
//! come the keys of the two directions, and the first record made with such a key, which holds the greeting
//! (`handshake.rs`), proves the same of who connects, and that both have seen the same messages. Cluster, members and
//! processes are in the greetings, and nothing of those is believed before.
//!
//! Whoever is turned away here is told why in clear, and believes it as far as to say it to its operator.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::Protection;
use super::record::{Opener, Sealer, TAG_BYTES};
use super::secrets::Secret;
use crate::error::PeerError;

/// The version of this exchange and of the records that follow it.
const VERSION: u16 = 1;

/// What both messages begin with. Not what a plain greeting begins with: neither can be taken for the other.
pub(super) const MAGIC: [u8; 8] = *b"QUORMAC\xff";

const HEAD_BYTES: usize = 8 + 2;
const NONCE_BYTES: usize = 32;

/// The bytes of what is said by who connects.
pub(super) const CALL_BYTES: usize = HEAD_BYTES + NONCE_BYTES + TAG_BYTES;

/// The bytes of what is said by who accepts.
pub(super) const ANSWER_BYTES: usize = HEAD_BYTES + 1 + NONCE_BYTES + TAG_BYTES;

const WELCOME: u8 = 0;
const OTHER_VERSION: u8 = 1;
const OTHER_PROTECTION: u8 = 2;
const OTHER_SECRET: u8 = 3;

/// Bytes that nobody can guess and that never come twice.
pub(super) type Nonce = [u8; NONCE_BYTES];

/// What one end of a connection seals and opens with.
pub(super) struct Keys {
    pub(super) sealer: Sealer,
    pub(super) opener: Opener,
}

/// What who connects says.
pub(super) fn call(secret: &Secret, nonce: &Nonce) -> [u8; CALL_BYTES] {
    let mut call = [0; CALL_BYTES];
    put_head(&mut call);
    call[HEAD_BYTES..CALL_BYTES - TAG_BYTES].copy_from_slice(nonce);
    let tag = tag(secret, b"call", &[&call[..CALL_BYTES - TAG_BYTES]]).finalize().into_bytes();
    call[CALL_BYTES - TAG_BYTES..].copy_from_slice(&tag);
    call
}

/// What who accepts answers to a call, and the keys if it was a good one.
pub(super) fn answer(
    secrets: &[Secret],
    call: &[u8; CALL_BYTES],
    nonce: &Nonce,
) -> Result<([u8; ANSWER_BYTES], Keys), PeerError> {
    check_head(call)?;
    let (said, their_tag) = call.split_at(CALL_BYTES - TAG_BYTES);
    // Without a way out between them: how long it takes tells nothing of which one it was.
    let mut known = None;
    for secret in secrets {
        if tag(secret, b"call", &[said]).verify_slice(their_tag).is_ok() {
            known = known.or(Some(secret));
        }
    }
    let secret = known.ok_or(PeerError::Unauthentic("the other side knows none of our secrets"))?;
    let mut answer = [0; ANSWER_BYTES];
    put_head(&mut answer);
    answer[HEAD_BYTES] = WELCOME;
    answer[HEAD_BYTES + 1..ANSWER_BYTES - TAG_BYTES].copy_from_slice(nonce);
    let our_tag = tag(secret, b"answer", &[call, &answer[..ANSWER_BYTES - TAG_BYTES]]);
    answer[ANSWER_BYTES - TAG_BYTES..].copy_from_slice(&our_tag.finalize().into_bytes());
    let [to_acceptor, to_connector] = derive(secret, call, &answer);
    let keys = Keys { sealer: Sealer::new(&to_connector), opener: Opener::new(&to_acceptor) };
    Ok((answer, keys))
}

/// What who accepts says when it goes no further, if there is anything to be said about this error.
pub(super) fn refusal(error: &PeerError) -> Option<[u8; ANSWER_BYTES]> {
    let verdict = match error {
        PeerError::Version { .. } => OTHER_VERSION,
        PeerError::Protection { .. } => OTHER_PROTECTION,
        PeerError::Unauthentic(_) => OTHER_SECRET,
        _ => return None,
    };
    let mut answer = [0; ANSWER_BYTES];
    put_head(&mut answer);
    answer[HEAD_BYTES] = verdict;
    Some(answer)
}

/// The keys of who connected, by the answer to its call.
pub(super) fn heed(
    secret: &Secret,
    call: &[u8; CALL_BYTES],
    answer: &[u8; ANSWER_BYTES],
) -> Result<Keys, PeerError> {
    check_head(answer)?;
    match answer[HEAD_BYTES] {
        WELCOME => {}
        OTHER_VERSION => {
            return Err(PeerError::Version { theirs: head_version(answer), ours: VERSION });
        }
        OTHER_PROTECTION => return Err(PeerError::Unauthentic("the other side wants no tags")),
        OTHER_SECRET => {
            return Err(PeerError::Unauthentic("the other side does not know our secret"));
        }
        _ => return Err(PeerError::Malformed("an answer has an unknown verdict")),
    }
    let (said, their_tag) = answer.split_at(ANSWER_BYTES - TAG_BYTES);
    if tag(secret, b"answer", &[call, said]).verify_slice(their_tag).is_err() {
        return Err(PeerError::Unauthentic("the answer to our call has a wrong tag"));
    }
    let [to_acceptor, to_connector] = derive(secret, call, answer);
    Ok(Keys { sealer: Sealer::new(&to_acceptor), opener: Opener::new(&to_connector) })
}

/// Whether these are the first bytes of a message of this exchange, as far as they go.
///
/// # Errors
/// If they are not, with what they seem to be.
pub(super) fn check_head(arrived: &[u8]) -> Result<(), PeerError> {
    if arrived.len() < MAGIC.len() {
        return Ok(());
    }
    if arrived[..MAGIC.len()] != MAGIC {
        let ours = Protection::Authenticated;
        return Err(match Protection::spoken(arrived) {
            Some(theirs) => PeerError::Protection { theirs, ours },
            None => PeerError::NotAPeer,
        });
    }
    if arrived.len() >= HEAD_BYTES && head_version(arrived) != VERSION {
        return Err(PeerError::Version { theirs: head_version(arrived), ours: VERSION });
    }
    Ok(())
}

fn put_head(message: &mut [u8]) {
    message[..MAGIC.len()].copy_from_slice(&MAGIC);
    message[MAGIC.len()..HEAD_BYTES].copy_from_slice(&VERSION.to_le_bytes());
}

fn head_version(message: &[u8]) -> u16 {
    u16::from_le_bytes([message[MAGIC.len()], message[MAGIC.len() + 1]])
}

/// The tag of one of the two messages, yet to be finished.
fn tag(secret: &Secret, label: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let key = expand(&Hkdf::new(None, secret.bytes()), &[b"quorate peer hello 1 ", label]);
    let mut tag = Hmac::<Sha256>::new_from_slice(&*key).expect("a key may have any length");
    for part in parts {
        tag.update(part);
    }
    tag
}

/// The keys of the two directions: to who accepted, and to who connected.
fn derive(
    secret: &Secret,
    call: &[u8; CALL_BYTES],
    answer: &[u8; ANSWER_BYTES],
) -> [Zeroizing<[u8; 32]>; 2] {
    let keys = Hkdf::new(Some(&[&call[..], answer].concat()), secret.bytes());
    [b"to the acceptor ", b"to the connector"]
        .map(|to| expand(&keys, &[b"quorate peer link 1 ", to]))
}

fn expand(keys: &Hkdf<Sha256>, label: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    keys.expand_multi_info(label, &mut *key).expect("a key is short");
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(first: u8) -> Secret {
        let bytes: Vec<u8> = (0..40).map(|n| n + first).collect();
        Secret::new(&bytes).unwrap()
    }

    fn agree(ours: &Secret, theirs: &[Secret]) -> Result<(Keys, Keys), PeerError> {
        let call = call(ours, &[1; 32]);
        let (answer, acceptor) = answer(theirs, &call, &[2; 32])?;
        Ok((heed(ours, &call, &answer)?, acceptor))
    }

    fn passes(from: &mut Keys, to: &mut Keys) -> bool {
        let mut record = Vec::new();
        from.sealer.seal(b"hello", &mut record);
        to.opener.open(&record).is_ok_and(|body| body.is_some_and(|body| &record[body] == b"hello"))
    }

    #[test]
    fn who_knows_the_same_secret_comes_to_the_same_keys() {
        for theirs in [&[secret(1)][..], &[secret(2), secret(1)], &[secret(1), secret(2)]] {
            let (mut connector, mut acceptor) = agree(&secret(1), theirs).expect("they agree");
            assert!(passes(&mut connector, &mut acceptor));
            assert!(passes(&mut acceptor, &mut connector));
        }
        let error = agree(&secret(1), &[secret(2), secret(3)]).err();
        assert!(matches!(error, Some(PeerError::Unauthentic(_))), "{error:?}");
    }

    #[test]
    fn what_is_sent_back_to_its_sender_is_not_heard() {
        let (mut connector, mut acceptor) = agree(&secret(1), &[secret(1)]).ok().unwrap();
        let (mut again, mut others) = agree(&secret(1), &[secret(1)]).ok().unwrap();
        assert!(!passes(&mut connector, &mut again) && !passes(&mut acceptor, &mut others));
    }

    #[test]
    fn keys_are_those_of_one_connection() {
        let first = call(&secret(1), &[1; 32]);
        let (_, mut before) = answer(&[secret(1)], &first, &[2; 32]).ok().unwrap();
        // The call is repeated by somebody who heard it.
        let (answered, _) = answer(&[secret(1)], &first, &[3; 32]).ok().unwrap();
        let mut connector = heed(&secret(1), &first, &answered).ok().unwrap();
        assert!(!passes(&mut connector, &mut before), "each answer makes other keys");
    }

    #[test]
    fn a_message_with_any_other_bit_is_refused() {
        let first = call(&secret(1), &[1; 32]);
        let (answered, _) = answer(&[secret(1)], &first, &[2; 32]).ok().unwrap();
        for at in 0..CALL_BYTES {
            let mut bad = first;
            bad[at] ^= 1;
            let error = answer(&[secret(1)], &bad, &[2; 32]).err().expect("refused");
            match at {
                0..8 => assert_eq!(error, PeerError::NotAPeer),
                8..10 => assert!(matches!(error, PeerError::Version { .. })),
                _ => assert!(matches!(error, PeerError::Unauthentic(_)), "{at}: {error}"),
            }
            // And who said it does not believe an answer to something else.
            assert!(heed(&secret(1), &bad, &answered).is_err(), "{at}");
        }
        for at in 0..ANSWER_BYTES {
            let mut bad = answered;
            bad[at] ^= 1;
            assert!(heed(&secret(1), &first, &bad).is_err(), "{at}");
        }
        assert!(heed(&secret(1), &first, &answered).is_ok());
    }

    #[test]
    fn a_call_is_no_answer_and_who_is_turned_away_is_told_why() {
        let first = call(&secret(1), &[1; 32]);
        let mut reflected = [0; ANSWER_BYTES];
        reflected[..CALL_BYTES].copy_from_slice(&first);
        assert!(heed(&secret(1), &first, &reflected).is_err());
        let plain =
            PeerError::Protection { theirs: Protection::Plain, ours: Protection::Authenticated };
        for error in [PeerError::Unauthentic(""), PeerError::Version { theirs: 2, ours: 1 }, plain]
        {
            let refusal = refusal(&error).expect("something to say");
            assert!(heed(&secret(1), &first, &refusal).is_err(), "{error}");
        }
        assert_eq!(refusal(&PeerError::NotAPeer), None);
    }
}
