//! Numbers and strings as bytes, for commands, rows and snapshots.
//!
//! Numbers are LEB128 varints, signed ones as their two's complement (revisions and ids are rarely
//! negative), strings have their length before them. Reading gives an error for what can't be
//! read; it never allocates more than it was given, since strings are slices of the input.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

/// The bytes end too early, or say something that no writer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Appends an unsigned number.
pub(crate) fn put_u64(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a signed number.
pub(crate) fn put_i64(out: &mut Vec<u8>, number: i64) {
    put_u64(out, number.cast_unsigned());
}

/// Appends a string.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends flags, the first as the lowest bit.
pub(crate) fn put_flags<const N: usize>(out: &mut Vec<u8>, flags: [bool; N]) {
    const { assert!(N <= 8) };
    out.push(flags.iter().rev().fold(0, |byte, &flag| byte << 1 | u8::from(flag)));
}

/// Reads what the functions above wrote.
pub(crate) struct Source {
    rest: Bytes,
}

impl Source {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        let byte = *self.rest.first().ok_or(Malformed)?;
        self.rest = self.rest.slice(1..);
        Ok(byte)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        let mut number = 0u64;
        for (at, &byte) in self.rest.iter().enumerate() {
            let bits = u64::from(byte & 0x7f);
            // The tenth byte holds the one bit that is left.
            if at == 9 && byte > 1 {
                return Err(Malformed);
            }
            number |= bits << (7 * at);
            if byte < 0x80 {
                // One number has one form: no byte of zeros at the end.
                if byte == 0 && at > 0 {
                    return Err(Malformed);
                }
                self.rest = self.rest.slice(at + 1..);
                return Ok(number);
            }
        }
        Err(Malformed)
    }

    /// A number of fixed length, big-endian.
    pub(crate) fn fixed_u64(&mut self) -> Result<u64, Malformed> {
        let bytes = *self.rest.first_chunk().ok_or(Malformed)?;
        self.rest = self.rest.slice(8..);
        Ok(u64::from_be_bytes(bytes))
    }

    /// The same, twice as long.
    pub(crate) fn u128(&mut self) -> Result<u128, Malformed> {
        let bytes = *self.rest.first_chunk().ok_or(Malformed)?;
        self.rest = self.rest.slice(16..);
        Ok(u128::from_be_bytes(bytes))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Malformed> {
        self.u64().map(u64::cast_signed)
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes, Malformed> {
        let length = usize::try_from(self.u64()?).map_err(|_| Malformed)?;
        if length > self.rest.len() {
            return Err(Malformed);
        }
        Ok(self.rest.split_to(length))
    }

    pub(crate) fn text(&mut self) -> Result<String, Malformed> {
        String::from_utf8(self.bytes()?.into()).map_err(|_| Malformed)
    }

    pub(crate) fn flags<const N: usize>(&mut self) -> Result<[bool; N], Malformed> {
        let byte = self.u8()?;
        if N < 8 && byte >> N != 0 {
            return Err(Malformed);
        }
        Ok(core::array::from_fn(|bit| byte >> bit & 1 == 1))
    }

    /// The number of items that follow. At least a byte each, so that no small input can ask for
    /// much memory.
    pub(crate) fn count(&mut self) -> Result<usize, Malformed> {
        let count = usize::try_from(self.u64()?).map_err(|_| Malformed)?;
        if count > self.rest.len() { Err(Malformed) } else { Ok(count) }
    }

    /// All that is left.
    pub(crate) fn remainder(&mut self) -> Bytes {
        core::mem::take(&mut self.rest)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// That nothing is left.
    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_have_one_form() {
        for number in [0, 1, 127, 128, 300, u64::MAX >> 1, u64::MAX] {
            let mut out = Vec::new();
            put_u64(&mut out, number);
            let mut source = Source::new(out.into());
            assert_eq!(source.u64(), Ok(number));
            assert_eq!(source.end(), Ok(()));
        }
        for bad in [&[][..], &[0x80], &[0x80, 0x00], &[0xff; 10], &[0xff; 11]] {
            assert_eq!(Source::new(Bytes::copy_from_slice(bad)).u64(), Err(Malformed), "{bad:?}");
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        let mut out = Vec::new();
        put_u64(&mut out, u64::MAX);
        assert_eq!(Source::new(out.clone().into()).bytes(), Err(Malformed));
        assert_eq!(Source::new(out.into()).count(), Err(Malformed));
    }

    #[test]
    fn flags_come_back_and_unknown_ones_are_refused() {
        let mut out = Vec::new();
        put_flags(&mut out, [true, false, true]);
        assert_eq!(out, [0b101]);
        assert_eq!(Source::new(out.clone().into()).flags(), Ok([true, false, true]));
        assert_eq!(Source::new(out.into()).flags::<2>(), Err(Malformed));
    }
}
