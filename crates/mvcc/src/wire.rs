//! A key and its value in the bytes of etcd's `mvccpb.KeyValue`: what it hashes, and what counts
//! when a response is measured. (The conversion for the wire itself is the server's.)

use alloc::vec::Vec;

use crate::codec;
use crate::response::{Event, EventKind, KeyValue};

/// Appends the protobuf form: fields in order of their numbers, zeros and empties left out.
pub(crate) fn put_key_value(out: &mut Vec<u8>, kv: &KeyValue) {
    let bytes = |out: &mut Vec<u8>, field: u8, bytes: &[u8]| {
        if !bytes.is_empty() {
            out.push(field << 3 | 2);
            codec::put_bytes(out, bytes);
        }
    };
    let number = |out: &mut Vec<u8>, field: u8, number: i64| {
        if number != 0 {
            out.push(field << 3);
            codec::put_i64(out, number);
        }
    };
    bytes(out, 1, &kv.key);
    number(out, 2, kv.create_revision);
    number(out, 3, kv.mod_revision);
    number(out, 4, kv.version);
    bytes(out, 5, &kv.value);
    number(out, 6, kv.lease);
}

/// The length of a varint.
fn varint_len(number: u64) -> usize {
    (number | 1).ilog2() as usize / 7 + 1
}

/// The length of a field with a length before it, tag included; 0 if it is empty.
fn field_len(length: usize) -> usize {
    if length == 0 { 0 } else { message_len(length) }
}

/// The same of a message, which is written even if it is empty.
fn message_len(length: usize) -> usize {
    1 + varint_len(length as u64) + length
}

fn key_value_len(kv: &KeyValue) -> usize {
    let number = |number: i64| {
        if number == 0 { 0 } else { 1 + varint_len(number.cast_unsigned()) }
    };
    field_len(kv.key.len())
        + number(kv.create_revision)
        + number(kv.mod_revision)
        + number(kv.version)
        + field_len(kv.value.len())
        + number(kv.lease)
}

/// The length of an event as a field of a response.
pub(crate) fn event_len(event: &Event) -> usize {
    let kind = if event.kind == EventKind::Delete { 2 } else { 0 };
    let prev_kv = event.prev_kv.as_ref().map_or(0, |kv| message_len(key_value_len(kv)));
    message_len(kind + message_len(key_value_len(&event.kv)) + prev_kv)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn the_length_is_that_of_the_bytes() {
        for lease in [0, 1, -1, i64::MAX] {
            for length in [0, 1, 127, 128, 20_000] {
                let kv = KeyValue {
                    key: Bytes::from_static(b"key"),
                    create_revision: 300,
                    mod_revision: 1 << 40,
                    version: 1,
                    value: alloc::vec![7; length].into(),
                    lease,
                };
                let mut out = Vec::new();
                put_key_value(&mut out, &kv);
                assert_eq!(out.len(), key_value_len(&kv));
            }
        }
    }

    #[test]
    fn a_key_value_has_the_bytes_of_protobuf() {
        let kv = KeyValue {
            key: Bytes::from_static(b"k"),
            create_revision: 2,
            mod_revision: 300,
            version: 1,
            value: Bytes::from_static(b"vv"),
            lease: 0,
        };
        let mut out = Vec::new();
        put_key_value(&mut out, &kv);
        assert_eq!(out, b"\x0a\x01k\x10\x02\x18\xac\x02\x20\x01\x2a\x02vv");
    }
}
