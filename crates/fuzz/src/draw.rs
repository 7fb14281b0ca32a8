//! Choices from bytes.

use bytes::Bytes;

/// Reads choices from the front of an input. When it is at its end, all that it gives is zero or empty: so a short input
/// is a simple one, and whoever repeats something as long as [`Draw::more`] comes to an end.
#[derive(Clone, Copy, Debug)]
pub struct Draw<'a>(&'a [u8]);

impl<'a> Draw<'a> {
    /// From the first byte on.
    #[must_use]
    pub fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    /// Whether there is anything left.
    #[must_use]
    pub fn more(&self) -> bool {
        !self.0.is_empty()
    }

    /// All that is left.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A bit.
    pub fn bit(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number of two bytes.
    pub fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        u64::from_le_bytes([(); 8].map(|()| self.byte()))
    }

    /// One of these.
    ///
    /// # Panics
    /// If there is none.
    pub fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.byte()) % all.len()]
    }

    /// So many bytes, or all that are left.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Up to 255 bytes, whose number comes first.
    pub fn bytes(&mut self) -> &'a [u8] {
        let count = self.byte();
        self.take(count.into())
    }

    /// The same, as a text: what is none is replaced.
    pub fn text(&mut self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// All that is left, in pieces of lengths that are drawn from the front.
    #[must_use]
    pub fn pieces(mut self) -> Vec<Bytes> {
        let count = usize::from(self.byte() % 8);
        let lengths: Vec<usize> = (0..count).map(|_| usize::from(self.byte())).collect();
        let mut pieces: Vec<Bytes> =
            lengths.into_iter().map(|length| Bytes::copy_from_slice(self.take(length))).collect();
        pieces.push(Bytes::copy_from_slice(self.0));
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_behind_the_end_is_nothing() {
        let mut draw = Draw::new(&[1, 2, 3, 2, b'a']);
        assert_eq!((draw.byte(), draw.short()), (1, 0x0302));
        assert_eq!(draw.bytes(), b"a");
        assert!(!draw.more());
        assert_eq!((draw.byte(), draw.bit(), draw.number()), (0, false, 0));
        assert_eq!((draw.bytes(), draw.text().as_str()), (&b""[..], ""));
    }

    #[test]
    fn pieces_are_the_whole() {
        let pieces = Draw::new(&[2, 1, 2, 7, 8, 9, 10]).pieces();
        assert_eq!(pieces, [&[7][..], &[8, 9], &[10]]);
        assert_eq!(Draw::new(&[]).pieces(), [&[][..]]);
    }
}
