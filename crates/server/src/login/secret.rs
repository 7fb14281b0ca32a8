//! What must not be shown.

use std::fmt;

use zeroize::Zeroizing;

/// A password or a token in clear. It can't be printed, and its memory is wiped when it is dropped.
pub(crate) struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text that it was made of, for whom it belongs to.
    pub(crate) fn into_text(mut self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0)).expect("it was made of a text")
    }
}

impl From<String> for Secret {
    /// Takes the memory over, so that nothing is left behind.
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text.into_bytes()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show() {
        let secret = Secret::from("word".to_owned());
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert_eq!(secret.bytes(), b"word");
    }
}
