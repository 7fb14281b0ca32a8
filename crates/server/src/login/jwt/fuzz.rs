//! Tokens as anybody may send them.

use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::keys::Keys;
use super::token;

static KEYS: LazyLock<Keys> =
    LazyLock::new(|| Keys::of_secret(b"a secret of 32 bytes or of more.."));

const NOW: Duration = Duration::from_secs(1_700_000_000);

/// A token, whoever made it.
///
/// # Panics
/// If another one is given out to the same user that means another.
pub fn token(text: &[u8]) {
    let Some((name, revision)) = token::read(&KEYS, NOW, text) else { return };
    let Ok(again) = token::issue(&KEYS, &name, revision, NOW.as_secs() + 1) else { return };
    assert_eq!(token::read(&KEYS, NOW, again.bytes()), Some((name, revision)));
}

/// A token with these parts, signed by who has the key.
pub fn signed_token(header: &[u8], claims: &[u8]) {
    let signed = [URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims)].join(".");
    let signature = KEYS.sign(signed.as_bytes()).expect("a secret signs");
    token([&signed, ".", &URL_SAFE_NO_PAD.encode(signature)].concat().as_bytes());
}
