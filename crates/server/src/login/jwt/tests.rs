//! What is signed and what is believed, method by method.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use quorate_tls::{Files, Source as _};
use ring::hmac;
use serde_json::{Value, json};

use super::keys::{KeyFiles, Keys};
use super::token::{LENGTH_MAX, issue, read};
use crate::config::{Jwt as Settings, Method};
use crate::rpc::Failure;

const NOW: Duration = Duration::from_secs(2_000_000_000);
const LATER: u64 = 2_000_000_300;

use super::*;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys").join(name)
}

/// The files of the private and of the public key that fit a method.
fn files_of(method: Method) -> (&'static str, Option<&'static str>) {
    match method.name() {
        "ES256" => ("p256.pem", Some("p256-public.pem")),
        "ES384" => ("p384.pem", Some("p384-public.pem")),
        "EdDSA" => ("ed25519.pem", Some("ed25519-public.pem")),
        name if name.starts_with("HS") => ("secret", None),
        _ => ("rsa.pem", Some("rsa-public.pem")),
    }
}

fn load(method: Method, private: Option<&str>, public: Option<&str>) -> Result<Keys, String> {
    let (private, public) = (private.map(path), public.map(path));
    let files = KeyFiles(Settings { method, public, private, ttl: Duration::from_secs(300) });
    let read = Files::read(&files.files()).map_err(|error| error.to_string())?;
    files.load(&read).map_err(|error| error.to_string())
}

fn keys(method: Method) -> Keys {
    let (private, public) = files_of(method);
    load(method, Some(private), public).expect("keys")
}

/// What only checks, where there is such a thing.
fn checking(method: Method) -> Option<Keys> {
    let (_, public) = files_of(method);
    public.map(|public| load(method, None, Some(public)).expect("a key"))
}

fn text(secret: &Secret) -> &str {
    str::from_utf8(secret.bytes()).expect("text")
}

fn alice() -> Option<(String, u64)> {
    Some(("alice".to_owned(), 7))
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A token with this header and these claims that is signed as it should be.
fn signed(keys: &Keys, header: &Value, claims: &Value) -> String {
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = keys.sign(signed.as_bytes()).expect("signed");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[test]
fn what_is_signed_is_believed_until_it_ends() {
    for method in Method::ALL {
        let keys = keys(method);
        let token = issue(&keys, "alice", 7, LATER).expect("signed");
        let token = text(&token);
        for keys in [Some(keys), checking(method)].into_iter().flatten() {
            assert_eq!(read(&keys, NOW, token.as_bytes()), alice(), "{method:?}");
            assert_eq!(read(&keys, Duration::from_secs(LATER - 1), token.as_bytes()), alice());
            assert_eq!(read(&keys, Duration::from_secs(LATER), token.as_bytes()), None);
        }
    }
}

#[test]
fn what_others_sign_is_believed() {
    let tokens = fs::read_to_string(path("tokens.txt")).expect("tokens");
    assert_eq!(tokens.lines().count(), Method::ALL.len());
    for method in Method::ALL {
        let keys = checking(method).unwrap_or_else(|| keys(method));
        let believed = tokens.lines().filter(|it| read(&keys, NOW, it.as_bytes()) == alice());
        assert_eq!(believed.count(), 1, "{method:?}: its own, and none of another method");
    }
}

#[test]
fn a_changed_letter_is_no_token() {
    for method in Method::ALL {
        let keys = keys(method);
        let token = issue(&keys, "alice", 7, LATER).expect("signed");
        for at in 0..token.bytes().len() {
            let mut changed = token.bytes().to_vec();
            changed[at] ^= 1;
            assert_eq!(read(&keys, NOW, &changed), None, "{method:?}, letter {at}");
        }
        for length in [0, 1, token.bytes().len() / 2, token.bytes().len() - 1] {
            assert_eq!(read(&keys, NOW, &token.bytes()[..length]), None, "{method:?}");
        }
        for more in [".", ".x", "=", "A", "\n"] {
            assert_eq!(read(&keys, NOW, &[token.bytes(), more.as_bytes()].concat()), None);
        }
    }
}

#[test]
fn a_token_does_not_choose_its_method() {
    let claims = json!({"username": "root", "revision": 7, "exp": LATER});
    for method in Method::ALL {
        let keys = keys(method);
        for other in [json!("none"), json!("None"), json!(""), json!(null), json!(["RS256"])] {
            let token = signed(&keys, &json!({"alg": other}), &claims);
            assert_eq!(read(&keys, NOW, token.as_bytes()), None, "{method:?}: {other}");
        }
        assert_eq!(read(&keys, NOW, signed(&keys, &json!({}), &claims).as_bytes()), None);
        for other in Method::ALL.into_iter().filter(|other| *other != method) {
            let token = signed(&keys, &json!({"alg": other.name()}), &claims);
            assert_eq!(read(&keys, NOW, token.as_bytes()), None, "{method:?}: {other:?}");
        }
        for header in [json!({"alg": "none"}), json!({"alg": method.name()})] {
            let token = format!("{}.{}.", encode(&header), encode(&claims));
            assert_eq!(read(&keys, NOW, token.as_bytes()), None, "{method:?}: not signed at all");
        }
        let critical = json!({"alg": method.name(), "crit": ["b64"], "b64": false});
        assert_eq!(read(&keys, NOW, signed(&keys, &critical, &claims).as_bytes()), None);
    }
}

/// Everybody has the public key. Who takes it as a secret must not be believed.
#[test]
fn a_public_key_is_no_secret() {
    let claims = encode(&json!({"username": "root", "revision": 7, "exp": LATER}));
    for method in Method::ALL.into_iter().filter(|method| !method.is_symmetric()) {
        let keys = keys(method);
        let (_, public) = files_of(method);
        let pem = fs::read(path(public.expect("it has one"))).expect("a key");
        let trimmed = pem.trim_ascii_end();
        for secret in [&pem[..], trimmed] {
            let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
            for alg in ["HS256", method.name()] {
                let signed = format!("{}.{claims}", encode(&json!({"alg": alg})));
                let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&secret, signed.as_bytes()));
                let token = format!("{signed}.{signature}");
                assert_eq!(read(&keys, NOW, token.as_bytes()), None, "{method:?}: {alg}");
            }
        }
    }
    for public in ["rsa-public.pem", "rsa-certificate.pem", "p256-public.pem"] {
        let error = load(Method::Hs256, Some(public), None).expect_err("refused");
        assert!(error.ends_with("is a public key, and no secret"), "{error}");
    }
}

#[test]
fn claims_are_what_they_have_to_be() {
    let keys = keys(Method::EdDsa);
    let find = |claims: Value| {
        let token = signed(&keys, &json!({"alg": "EdDSA"}), &claims);
        read(&keys, NOW, token.as_bytes())
    };
    let now = NOW.as_secs();
    for claims in [
        json!({"username": "alice", "revision": 7, "exp": LATER}),
        json!({"username": "alice", "revision": 7.0, "exp": 2.0e9 + 0.5, "more": [1]}),
        json!({"username": "alice", "revision": 7, "exp": u64::MAX, "nbf": now}),
    ] {
        assert_eq!(find(claims.clone()), alice(), "{claims}");
    }
    for claims in [
        json!({"revision": 7, "exp": LATER}),
        json!({"username": "alice", "exp": LATER}),
        json!({"username": "alice", "revision": 7}),
        json!({"username": "", "revision": 7, "exp": LATER}),
        json!({"username": 5, "revision": 7, "exp": LATER}),
        json!({"username": null, "revision": 7, "exp": LATER}),
        json!({"username": "alice", "revision": "7", "exp": LATER}),
        json!({"username": "alice", "revision": -7, "exp": LATER}),
        json!({"username": "alice", "revision": 7.5, "exp": LATER}),
        json!({"username": "alice", "revision": 1.0e300, "exp": LATER}),
        json!({"username": "alice", "revision": 7, "exp": "2000000300"}),
        json!({"username": "alice", "revision": 7, "exp": now}),
        json!({"username": "alice", "revision": 7, "exp": -1}),
        json!({"username": "alice", "revision": 7, "exp": LATER, "nbf": now + 1}),
        json!({"username": "alice", "revision": 7, "exp": LATER, "nbf": "0"}),
        json!([]),
        json!(null),
    ] {
        assert_eq!(find(claims.clone()), None, "{claims}");
    }
}

#[test]
fn a_token_has_a_longest_length() {
    let keys = keys(Method::Hs256);
    let fits = issue(&keys, &"a".repeat(5900), 7, LATER).expect("it fits");
    assert!(read(&keys, NOW, fits.bytes()).is_some());
    assert!(fits.bytes().len() <= LENGTH_MAX);
    let failure = issue(&keys, &"a".repeat(LENGTH_MAX), 7, LATER).expect_err("too long");
    assert_eq!(failure, Failure::RequestTooLarge);
    let claims = json!({"username": "a".repeat(LENGTH_MAX), "revision": 7, "exp": LATER});
    let token = signed(&keys, &json!({"alg": "HS256"}), &claims);
    assert_eq!(read(&keys, NOW, token.as_bytes()), None);
}

#[test]
fn who_only_checks_gives_out_none() {
    let keys = checking(Method::Rs256).expect("a public key");
    assert_eq!(issue(&keys, "alice", 7, LATER).expect_err("no key"), Failure::VerifyOnly);
}

#[test]
fn keys_in_all_their_forms() {
    let token = issue(&keys(Method::Rs256), "alice", 7, LATER).expect("signed");
    for (private, public) in [
        (Some("rsa.pem"), None),
        (Some("rsa-pkcs1.pem"), Some("rsa-public.pem")),
        (Some("rsa.pem"), Some("rsa-certificate.pem")),
        (None, Some("rsa-certificate.pem")),
        (None, Some("rsa-public.pem")),
    ] {
        let keys = load(Method::Rs256, private, public).expect("keys");
        assert_eq!(read(&keys, NOW, token.bytes()), alice(), "{private:?}, {public:?}");
        assert_eq!(format!("{keys:?}"), "Keys(RS256, ..)");
    }
    let other = load(Method::Rs256, Some("rsa-other.pem"), None).expect("a key");
    assert_eq!(read(&other, NOW, token.bytes()), None);
}

#[test]
fn keys_that_do_not_fit_are_refused() {
    let rsa = "is not an RSA key of 2048 to 4096 bits (to check alone: 8192)";
    let no_private = "has no private key in PEM, or it is encrypted";
    for (method, private, public, why) in [
        (Method::Rs256, Some("p256.pem"), None, rsa),
        (Method::Rs256, Some("rsa-1024.pem"), None, rsa),
        (Method::Rs256, None, Some("rsa-1024-public.pem"), rsa),
        (Method::Ps512, None, Some("ed25519-public.pem"), rsa),
        (Method::Es256, Some("p384.pem"), None, "is not a key on the curve P-256"),
        (Method::Es256, None, Some("p384-public.pem"), "is not a key on the curve P-256"),
        (Method::Es384, Some("rsa-pkcs1.pem"), None, "is not a key on the curve P-384"),
        (Method::EdDsa, Some("rsa.pem"), None, "is not an Ed25519 key"),
        (
            Method::Es256,
            Some("p256-sec1.pem"),
            None,
            "is an EC key in SEC 1, which is not supported: `openssl pkcs8 -topk8 -nocrypt -in FILE` makes one in \
             PKCS #8 of it",
        ),
        (
            Method::Rs256,
            Some("rsa.pem"),
            Some("ed25519-public.pem"),
            "is not an RSA key of 2048 to 4096 bits (to check alone: 8192)",
        ),
        (
            Method::Rs256,
            Some("rsa-other.pem"),
            Some("rsa-public.pem"),
            "is not the public key of the private one",
        ),
        (Method::Rs256, Some("rsa-public.pem"), None, no_private),
        (Method::EdDsa, Some("secret"), None, no_private),
        (Method::Rs256, None, Some("rsa.pem"), "has no public key and no certificate in PEM"),
        (Method::Hs384, Some("ed25519-public.pem"), None, "is a public key, and no secret"),
    ] {
        let error = load(method, private, public).expect_err("refused");
        let file =
            path(public.filter(|_| private != Some("rsa-1024.pem")).or(private).expect("one"));
        assert_eq!(error, format!("{}: {why}", file.display()), "{method:?}");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let short = directory.path().join("short");
    fs::write(&short, [7; 47]).expect("written");
    let error = load(Method::Hs384, short.to_str(), None).expect_err("refused");
    assert!(error.ends_with("is a secret of less than 48 bytes"), "{error}");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[A-Za-z0-9_.=-]{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..99)) {
        let keys = checking(Method::EdDsa).expect("a key");
        prop_assert_eq!(read(&keys, NOW, text.as_bytes()), None);
        prop_assert_eq!(read(&keys, NOW, &bytes), None);
    }
}
