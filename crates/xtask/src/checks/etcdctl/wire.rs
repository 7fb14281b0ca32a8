//! Reads the protobuf form of an output without knowing its messages, so that it can be compared
//! field by field.

use std::fmt::Write as _;

/// A field: its number, and what it holds.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message in words. A message whose first field is the number of the cluster is a
/// header, of which the revision alone can be compared. `None` if these bytes are no message.
pub(super) fn describe(bytes: &[u8], cluster_id: u64) -> Option<String> {
    let fields = fields(bytes)?;
    let number = |wanted| {
        fields.iter().find_map(|(number, value)| match value {
            Value::Number(value) if *number == wanted => Some(*value),
            _ => None,
        })
    };
    if number(1) == Some(cluster_id) && number(2).is_some() {
        return Some(format!("header of revision {}", number(3).unwrap_or_default()));
    }
    let mut text = String::new();
    for (number, value) in fields {
        let _ = match value {
            Value::Number(value) => write!(text, "{number}: {value}; "),
            Value::Bytes(bytes) => match printable(bytes) {
                Some(string) => write!(text, "{number}: {string:?}; "),
                None => match describe(bytes, cluster_id) {
                    Some(message) => write!(text, "{number}: {{{message}}}; "),
                    None => write!(text, "{number}: {bytes:?}; "),
                },
            },
        };
    }
    Some(text)
}

/// How many fields of a message, which may not have been written to its end yet, have this number.
pub(super) fn count(mut bytes: &[u8], wanted: u64) -> usize {
    let mut count = 0;
    while let Some((number, _)) = field(&mut bytes) {
        count += usize::from(number == wanted);
    }
    count
}

fn printable(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control))
}

fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Value<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        fields.push(field(&mut bytes)?);
    }
    Some(fields)
}

/// The two kinds of fields that etcd's messages consist of.
fn field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let tag = varint(bytes)?;
    let value = match tag & 7 {
        0 => Value::Number(varint(bytes)?),
        2 => {
            let length = usize::try_from(varint(bytes)?).ok()?;
            let (value, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            Value::Bytes(value)
        }
        _ => return None,
    };
    (tag >> 3 > 0).then_some((tag >> 3, value))
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_in_words() {
        // Field 1 is a header, field 2 a message with a text and a number, field 4 a number.
        let bytes = b"\x0a\x06\x08\x63\x10\x07\x18\x05\x12\x05\x0a\x01a\x10\x09\x20\x01";
        let words = "1: {header of revision 5}; 2: {1: \"a\"; 2: 9; }; 4: 1; ";
        assert_eq!(describe(bytes, 99).as_deref(), Some(words));
        assert_eq!(count(bytes, 2), 1);
        assert_eq!(count(&bytes[..10], 2), 0, "it is not whole");
        assert_eq!(describe(&bytes[..10], 99), None);
    }
}
