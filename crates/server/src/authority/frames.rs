//! Where the header blocks are in what a client sends (RFC 9113, sections 3.4, 4.1 and 6.2).

use super::block;

/// What a connection over HTTP/2 begins with.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a frame begins with: three bytes of length, one of type, one of flags, four of the stream.
const HEAD: usize = 9;

/// The longest frame that hyper takes. What is announced as longer is refused there, so it is not
/// looked into here.
const LONGEST: usize = 16_384;

/// The type of the frame that begins a header block.
const HEADERS: u8 = 1;

/// The flag of a frame that ends with padding and begins with a byte that says how much.
const PADDED: u8 = 0x08;

/// The flag of a frame whose block comes after five bytes of priority.
const PRIORITY: u8 = 0x20;

/// Follows the frames of one connection from its first byte on.
#[derive(Debug)]
pub(super) struct Frames {
    place: Place,
}

/// What the next byte is part of.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// The preface, of which so many bytes have passed.
    Preface { passed: usize },
    /// The head of a frame, of which so many bytes have passed.
    Head { head: [u8; HEAD], passed: usize },
    /// The payload of a frame that has no names in it, with so much to come.
    Payload { left: usize },
    /// The first byte of a payload that has a header block in it.
    Headers { length: usize, flags: u8 },
    /// Something other than HTTP/2, to its end.
    Other,
}

/// The payload of a HEADERS frame whose end is not there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// Where it begins in the bytes that were given.
    pub(super) at: usize,
    /// How long it will be: more than what is there, and at most 16 KiB.
    pub(super) whole: usize,
}

impl Default for Frames {
    fn default() -> Self {
        Self { place: Place::Preface { passed: 0 } }
    }
}

impl Place {
    const fn head() -> Self {
        Self::Head { head: [0; HEAD], passed: 0 }
    }

    /// What comes after the head of a frame.
    fn after(head: [u8; HEAD]) -> Self {
        let [high, middle, low, kind, flags, ..] = head;
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        match (kind, length) {
            (_, 0) => Self::head(),
            (HEADERS, 1..=LONGEST) => Self::Headers { length, flags },
            _ => Self::Payload { left: length },
        }
    }
}

impl Frames {
    /// Whether all of HTTP/2's preface has passed.
    pub(super) fn have_begun(&self) -> bool {
        !matches!(self.place, Place::Preface { .. } | Place::Other)
    }

    /// Takes the next bytes of the connection and overwrites the names in them. All of them are done
    /// with, unless a part is returned: then those from there on are to be given again, together with
    /// what comes after them.
    pub(super) fn pass(&mut self, bytes: &mut [u8]) -> Option<Part> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &mut bytes[at..];
            at += match self.place {
                Place::Preface { passed } => {
                    let count = rest.len().min(PREFACE.len() - passed);
                    self.place = if rest[..count] != PREFACE[passed..passed + count] {
                        Place::Other
                    } else if passed + count < PREFACE.len() {
                        Place::Preface { passed: passed + count }
                    } else {
                        Place::head()
                    };
                    count
                }
                Place::Head { mut head, passed } => {
                    let count = rest.len().min(HEAD - passed);
                    head[passed..passed + count].copy_from_slice(&rest[..count]);
                    self.place = if passed + count < HEAD {
                        Place::Head { head, passed: passed + count }
                    } else {
                        Place::after(head)
                    };
                    count
                }
                Place::Payload { left } => {
                    let count = rest.len().min(left);
                    self.place = if count < left {
                        Place::Payload { left: left - count }
                    } else {
                        Place::head()
                    };
                    count
                }
                Place::Headers { length, .. } if rest.len() < length => {
                    return Some(Part { at, whole: length });
                }
                Place::Headers { length, flags } => {
                    if let Some(block) = block_of(&mut rest[..length], flags) {
                        block::overwrite_names(block);
                    }
                    self.place = Place::head();
                    length
                }
                Place::Other => rest.len(),
            };
        }
        None
    }
}

/// The header block in the payload of a HEADERS frame, if the frame has room for what its flags say.
fn block_of(payload: &mut [u8], flags: u8) -> Option<&mut [u8]> {
    let (padding, rest) = if flags & PADDED == 0 {
        (0, payload)
    } else {
        let (padding, rest) = payload.split_first_mut()?;
        (usize::from(*padding), rest)
    };
    let priority = if flags & PRIORITY == 0 { 0 } else { 5 };
    let end = rest.len().checked_sub(padding)?;
    rest.get_mut(priority..end)
}
