//! The token itself: three parts in base64 between dots, of which the last one signs the others (RFC 7515).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::keys::Keys;
use crate::login::Secret;
use crate::rpc::Failure;

/// The longest token. Whatever is longer is none, before anything of it is looked at.
pub(super) const LENGTH_MAX: usize = 8 << 10;

/// The largest whole number up to which a number with a fraction tells all whole ones apart.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// A token that counts until `ends`, in seconds since 1970.
pub(super) fn issue(keys: &Keys, name: &str, revision: u64, ends: u64) -> Result<Secret, Failure> {
    if !keys.can_sign() {
        return Err(Failure::VerifyOnly);
    }
    let header = json!({"alg": keys.method().name(), "typ": "JWT"}).to_string();
    let claims = json!({"username": name, "revision": revision, "exp": ends}).to_string();
    let (header, claims) = (URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signed = Zeroizing::new(format!("{header}.{claims}"));
    let signature = keys.sign(signed.as_bytes()).map_err(|_| Failure::NoEntropy)?;
    let text = format!("{}.{}", *signed, URL_SAFE_NO_PAD.encode(signature));
    // A name that long would be let in nowhere.
    if text.len() > LENGTH_MAX { Err(Failure::RequestTooLarge) } else { Ok(text.into()) }
}

/// The name and the revision in a token, if it was signed with the key and still counts.
pub(super) fn read(keys: &Keys, now: Duration, text: &[u8]) -> Option<(String, u64)> {
    if text.len() > LENGTH_MAX {
        return None;
    }
    let text = str::from_utf8(text).ok()?;
    let (signed, signature) = text.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let header = object(header)?;
    // The token does not choose the method. What it declares critical is unknown here (RFC 7515, section 4.1.11).
    let is_ours = header.get("alg").and_then(Value::as_str) == Some(keys.method().name());
    if !is_ours || header.contains_key("crit") {
        return None;
    }
    if !keys.is_signed(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?) {
        return None;
    }
    let claims = object(claims)?;
    let now = now.as_secs_f64();
    let begins = match claims.get("nbf") {
        None => 0.0,
        Some(begins) => begins.as_f64()?,
    };
    if now >= claims.get("exp")?.as_f64()? || now < begins {
        return None;
    }
    let name = claims.get("username")?.as_str().filter(|name| !name.is_empty())?;
    Some((name.to_owned(), whole(claims.get("revision")?)?))
}

/// What a part says.
fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// A number that is whole. Others than this server may write it with a fraction of zero.
fn whole(number: &Value) -> Option<u64> {
    number.as_u64().or_else(|| {
        let number = number.as_f64()?;
        let is_whole = number.fract() == 0.0 && (0.0..EXACT_MAX).contains(&number);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole")]
        is_whole.then_some(number as u64)
    })
}
