//! Where the names are in a header block (HPACK: RFC 7541, section 6).

use std::ops::Range;

use super::huffman;

/// The entry of the static table that is the field `:authority` without a value.
const AUTHORITY: usize = 1;

/// The name of the field, as it is and as it is in Huffman's code. Clients on the C library of gRPC
/// spell it instead of using the entry.
const SPELLED: &[u8] = b":authority";
const SPELLED_IN_CODE: &[u8] = &[0xb8, 0x3b, 0x53, 0x39, 0xec, 0x32, 0x7d, 0x7f];

/// What the value is overwritten with.
const FILLER: u8 = b'0';

/// How many bytes may follow the prefix of a number. Four allow 2²⁸, which is more than any frame holds.
const LONGEST_NUMBER: u32 = 4;

/// Overwrites the value of each `:authority` that a header block spells out. It stops where the block
/// does not parse, which may be its end: the block goes on in another frame then, or it is broken.
pub(super) fn overwrite_names(block: &mut [u8]) {
    let mut cursor = Cursor { block, at: 0 };
    while cursor.field().is_some() {}
}

struct Cursor<'a> {
    block: &'a mut [u8],
    at: usize,
}

/// Where a string is, and whether it is in Huffman's code.
struct Text {
    range: Range<usize>,
    coded: bool,
}

impl Cursor<'_> {
    /// Goes over one field. None at the end, and where no field is.
    fn field(&mut self) -> Option<()> {
        let prefix = match self.block.get(self.at)?.leading_zeros() {
            // An entry of a table. Its value was overwritten on its way into the table.
            0 => {
                self.number(7)?;
                return Some(());
            }
            // A field to be entered into the table.
            1 => 6,
            // A new size of the table.
            2 => {
                self.number(5)?;
                return Some(());
            }
            // A field that is not to be entered now (four zeros), or by nobody ever (three).
            _ => 4,
        };
        let is_authority = match self.number(prefix)? {
            0 => {
                let name = self.text()?;
                let spelled = if name.coded { SPELLED_IN_CODE } else { SPELLED };
                &self.block[name.range] == spelled
            }
            entry => entry == AUTHORITY,
        };
        let value = self.text()?;
        if is_authority {
            let bytes = &mut self.block[value.range];
            if value.coded {
                huffman::overwrite(bytes);
            } else {
                bytes.fill(FILLER);
            }
        }
        Some(())
    }

    /// A number whose first bits are the low ones of a byte (section 5.1).
    fn number(&mut self, prefix: u32) -> Option<usize> {
        let full = (1 << prefix) - 1;
        let mut number = usize::from(self.byte()?) & full;
        if number < full {
            return Some(number);
        }
        for group in 0..LONGEST_NUMBER {
            let byte = self.byte()?;
            number += usize::from(byte & 0x7f) << (7 * group);
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// A string: a bit for the code, a length, and so many bytes (section 5.2).
    fn text(&mut self) -> Option<Text> {
        let coded = self.block.get(self.at)? & 0x80 != 0;
        let length = self.number(7)?;
        let range = self.at..self.at + length;
        if range.end > self.block.len() {
            return None;
        }
        self.at = range.end;
        Some(Text { range, coded })
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.block.get(self.at)?;
        self.at += 1;
        Some(byte)
    }
}
