//! A key and its value in the bytes of etcd's `mvccpb.KeyValue`: what it hashes. (The conversion for the wire itself is the server's.)

use alloc::vec::Vec;

use crate::codec;
use crate::response::KeyValue;

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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

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
