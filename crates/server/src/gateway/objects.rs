//! One JSON object after the other, in a body that comes in pieces.

use bytes::{Buf, Bytes, BytesMut};

/// Finds where objects end. What is in them is judged by whoever parses them: here only braces, brackets and texts
/// are told apart, one byte at a time and without recursion.
#[derive(Debug)]
pub(super) struct Objects {
    /// What has come of the next object, without the white space before it.
    bytes: BytesMut,
    /// So many of those have been looked at.
    looked_at: usize,
    /// Braces and brackets that are open.
    open: usize,
    text: Text,
    bytes_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    Outside,
    Inside,
    /// Behind a backslash.
    Escaped,
}

/// What is wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoObject {
    /// There is something else.
    Other,
    /// It has more bytes than it may have: at least so many.
    TooLarge(usize),
}

impl Objects {
    /// An object may have so many bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes: BytesMut::new(), looked_at: 0, open: 0, text: Text::Outside, bytes_max }
    }

    /// More has come.
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
    }

    /// Whether nothing has come that was not taken.
    pub(super) fn is_empty(&mut self) -> bool {
        self.skip_space();
        self.bytes.is_empty()
    }

    /// Takes the next object, if it has come to its end.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, NoObject> {
        if self.is_empty() {
            return Ok(None);
        }
        if self.bytes[0] != b'{' {
            return Err(NoObject::Other);
        }
        while let Some(&byte) = self.bytes.get(self.looked_at) {
            self.looked_at += 1;
            if self.ends_with(byte) {
                let length = std::mem::take(&mut self.looked_at);
                self.check(length)?;
                return Ok(Some(self.bytes.split_to(length).freeze()));
            }
        }
        self.check(self.looked_at)?;
        Ok(None)
    }

    fn check(&self, length: usize) -> Result<(), NoObject> {
        if length > self.bytes_max { Err(NoObject::TooLarge(length)) } else { Ok(()) }
    }

    /// Whether this byte is the last of the object.
    fn ends_with(&mut self, byte: u8) -> bool {
        self.text = match (self.text, byte) {
            (Text::Outside, b'"') => Text::Inside,
            (Text::Inside, b'"') => Text::Outside,
            (Text::Inside, b'\\') => Text::Escaped,
            (Text::Escaped, _) => Text::Inside,
            (text, _) => text,
        };
        if self.text == Text::Outside {
            match byte {
                b'{' | b'[' => self.open += 1,
                // The first byte of an object has opened it, so one is open.
                b'}' | b']' => self.open -= 1,
                _ => {}
            }
        }
        self.open == 0
    }

    fn skip_space(&mut self) {
        if self.looked_at > 0 {
            return;
        }
        let space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        let length = self.bytes.iter().position(|byte| !space(byte)).unwrap_or(self.bytes.len());
        self.bytes.advance(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All objects in a text that comes in pieces of this size.
    fn all(text: &str, size: usize) -> Result<Vec<String>, NoObject> {
        let mut objects = Objects::new(30);
        let mut found = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            objects.push(piece);
            while let Some(object) = objects.next()? {
                found.push(String::from_utf8(object.to_vec()).expect("cut between characters"));
            }
        }
        if !objects.is_empty() {
            found.push("rest".to_owned());
        }
        Ok(found)
    }

    #[test]
    fn objects_are_found_however_they_come() {
        let text = "\r\n{} {\"a\":[{\"b\":\"}\\\"]\\\\\"}]}\n\t{\"ä\":{}}{\"c\":1";
        for size in 1..=text.len() {
            let found = all(text, size).expect("objects");
            let expected = ["{}", "{\"a\":[{\"b\":\"}\\\"]\\\\\"}]}", "{\"ä\":{}}", "rest"];
            assert_eq!(found, expected, "in pieces of {size}");
        }
        assert_eq!(all("  \n", 1), Ok(Vec::new()));
    }

    #[test]
    fn other_things_are_none() {
        for text in ["null", "[]", "{}]", "}", "x", "{}{}\0"] {
            assert_eq!(all(text, 1), Err(NoObject::Other), "{text:?}");
        }
        // Parsers find out.
        assert_eq!(all("{]", 1), Ok(vec!["{]".to_owned()]));
    }

    #[test]
    fn an_object_that_does_not_end_is_not_kept() {
        let text = format!("{{\"a\":\"{}", "x".repeat(100));
        assert_eq!(all(&text, 1), Err(NoObject::TooLarge(31)));
        assert_eq!(all(&"[".repeat(100), 7), Err(NoObject::Other));
        let fits = format!("{{\"a\":\"{}\"}}", "x".repeat(22));
        assert_eq!(all(&fits.repeat(3), 100).map(|found| found.len()), Ok(3));
    }
}
