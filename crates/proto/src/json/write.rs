//! From the bytes of a message to JSON.

use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::encoding::{WireType, decode_key, decode_varint};

use super::{Field, Kind, Malformed, Message};

/// Messages in messages in messages: as deep as prost decodes them.
const DEPTH_MAX: usize = 100;

/// Appends the JSON of a message, from the bytes that it has on the wire.
///
/// # Errors
/// Bytes that are none of this message. Fields that the message does not have are left out.
pub fn write(message: &'static Message, wire: &[u8], json: &mut String) -> Result<(), Malformed> {
    object(message, wire, DEPTH_MAX, json)
        .ok_or_else(|| Malformed::new(&format_args!("these bytes are no {}", message.name)))
}

/// What stands behind the key of a field.
enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

fn object(message: &Message, mut wire: &[u8], depth: usize, json: &mut String) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    json.push('{');
    let mut is_first = true;
    // The elements of a list follow one another.
    let mut list = None;
    while !wire.is_empty() {
        let (number, value) = field(&mut wire)?;
        let Some(field) = message.fields.iter().find(|field| field.number == number) else {
            continue;
        };
        if list == Some(number) {
            json.push(',');
        } else {
            json.push_str(if list.is_some() { "]" } else { "" });
            json.push_str(if is_first { "\"" } else { ",\"" });
            json.push_str(field.name);
            json.push_str(if field.is_list { "\":[" } else { "\":" });
            list = field.is_list.then_some(number);
        }
        is_first = false;
        element(field, &value, depth, json)?;
    }
    json.push_str(if list.is_some() { "]}" } else { "}" });
    Some(())
}

/// Takes a field off the front.
fn field<'a>(wire: &mut &'a [u8]) -> Option<(u32, Value<'a>)> {
    let (number, wire_type) = decode_key(wire).ok()?;
    let value = match wire_type {
        WireType::Varint => Value::Varint(decode_varint(wire).ok()?),
        WireType::LengthDelimited => {
            let length = usize::try_from(decode_varint(wire).ok()?).ok()?;
            let (bytes, rest) = wire.split_at_checked(length)?;
            *wire = rest;
            Value::Bytes(bytes)
        }
        // No message here has any of these.
        WireType::SixtyFourBit
        | WireType::ThirtyTwoBit
        | WireType::StartGroup
        | WireType::EndGroup => return None,
    };
    Some((number, value))
}

fn element(field: &Field, value: &Value<'_>, depth: usize, json: &mut String) -> Option<()> {
    match (&field.kind, value) {
        (Kind::Bool, Value::Varint(value)) => {
            json.push_str(if *value == 0 { "false" } else { "true" });
        }
        (Kind::Int64, Value::Varint(value)) => {
            put(json, format_args!("\"{}\"", value.cast_signed()))
        }
        (Kind::Uint64, Value::Varint(value)) => put(json, format_args!("\"{value}\"")),
        // Cut off as every reader of the wire does.
        (Kind::Uint32, Value::Varint(value)) => put(json, format_args!("{}", *value as u32)),
        (Kind::Enum(names), Value::Varint(value)) => {
            let value = *value as i32;
            match names.iter().find(|(_, number)| *number == value) {
                Some((name, _)) => put(json, format_args!("\"{name}\"")),
                None => put(json, format_args!("{value}")),
            }
        }
        (Kind::String, Value::Bytes(bytes)) => text(std::str::from_utf8(bytes).ok()?, json),
        (Kind::Bytes, Value::Bytes(bytes)) => {
            json.push('"');
            STANDARD.encode_string(bytes, json);
            json.push('"');
        }
        (Kind::Message(message), Value::Bytes(bytes)) => object(message, bytes, depth, json)?,
        // A list of numbers in one piece.
        (kind, &Value::Bytes(mut packed)) if field.is_list && is_number(kind) => {
            let mut is_first = true;
            while !packed.is_empty() {
                let value = Value::Varint(decode_varint(&mut packed).ok()?);
                json.push_str(if is_first { "" } else { "," });
                is_first = false;
                element(field, &value, depth, json)?;
            }
        }
        _ => return None,
    }
    Some(())
}

fn is_number(kind: &Kind) -> bool {
    !matches!(kind, Kind::String | Kind::Bytes | Kind::Message(_))
}

fn put(json: &mut String, text: std::fmt::Arguments<'_>) {
    json.write_fmt(text).expect("writing to a string does not fail");
}

fn text(text: &str, json: &mut String) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            control if control < ' ' => {
                put(json, format_args!("\\u{:04x}", u32::from(control)));
            }
            other => json.push(other),
        }
    }
    json.push('"');
}
