//! What the client prints: text for people, JSON for programs, bare values for pipes.
//!
//! JSON holds keys and values as text where they are UTF-8, and as `{"base64": "…"}` where they are
//! not, so that nothing is lost and most of it can be read.

use std::io::{self, Write};

use clap::ValueEnum;
use quorate_proto::mvccpb::KeyValue;
use serde_json::{Value, json};

/// How to print.
#[derive(Debug, clap::Args)]
// See `connect::Options`.
#[group(skip)]
pub(crate) struct Options {
    /// The form of the output.
    #[arg(short, long, global = true, value_enum, default_value_t = Form::Text)]
    #[arg(help_heading = "Output")]
    output: Form,
    /// Print bare values: no keys, no newline behind the last.
    #[arg(long, global = true, conflicts_with = "output", help_heading = "Output")]
    raw: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
    Raw,
}

impl Options {
    pub(crate) fn format(&self) -> Format {
        match (self.raw, self.output) {
            (true, _) => Format::Raw,
            (false, Form::Text) => Format::Text,
            (false, Form::Json) => Format::Json,
        }
    }
}

/// Writes a line. A reader that has gone away ends the program, as it does for other commands.
pub(crate) fn line(text: impl AsRef<[u8]>) {
    bytes(&[text.as_ref(), b"\n"].concat());
}

/// Writes bytes as they are.
pub(crate) fn bytes(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Prints JSON on one line.
pub(crate) fn object(value: &Value) {
    line(value.to_string());
}

/// Bytes as JSON.
pub(crate) fn json_bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({ "base64": base64(bytes) }),
    }
}

/// A stored key as JSON.
pub(crate) fn json_key_value(kv: &KeyValue) -> Value {
    let mut value = json!({
        "key": json_bytes(&kv.key),
        "value": json_bytes(&kv.value),
        "create_revision": kv.create_revision,
        "mod_revision": kv.mod_revision,
        "version": kv.version,
    });
    if kv.lease != 0 {
        value["lease"] = json!(format!("{:016x}", kv.lease));
    }
    value
}

/// Prints stored keys: a line for the key and one for the value, or values only.
pub(crate) fn key_values(kvs: &[KeyValue], format: Format) {
    for (number, kv) in kvs.iter().enumerate() {
        match format {
            Format::Raw => {
                if number > 0 {
                    bytes(b"\n");
                }
                bytes(&kv.value);
            }
            Format::Text | Format::Json => {
                line(&kv.key);
                line(&kv.value);
            }
        }
    }
}

/// The usual base64, with padding (RFC 4648 section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, &byte| word << 8 | u32::from(byte));
        let word = word << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            if digit <= chunk.len() {
                let value = word >> (18 - 6 * digit) & 63;
                text.push(char::from(DIGITS[value as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let cases =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (bytes, text) in cases {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xfe, 0xfd]), "//79");
    }

    #[test]
    fn what_is_no_text_is_not_lost() {
        assert_eq!(json_bytes(b"text"), json!("text"));
        assert_eq!(json_bytes(b"\xff"), json!({ "base64": "/w==" }));
    }
}
