//! Tokens, and hashes of passwords.

use quorate_server::fuzz::login;

use crate::Draw;

pub(super) fn run(input: &[u8]) {
    let mut draw = Draw::new(input);
    match draw.byte() % 4 {
        0 => login::token(draw.rest()),
        1 => {
            let header = draw.bytes();
            login::signed_token(header, draw.rest());
        }
        2 => login::signed_token(br#"{"alg":"HS256","typ":"JWT"}"#, draw.rest()),
        _ => {
            let password = draw.bytes();
            let _ = login::is_password(password, draw.rest());
        }
    }
}
