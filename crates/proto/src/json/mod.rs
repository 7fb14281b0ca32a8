//! Messages as JSON: the form in which protobuf's own rules write them, as etcd's gateway applies these.
//!
//! Nothing here knows a message. What there is to know about one, the names and kinds of its fields, stands
//! in a table that is generated where the structs are; with it, [`read`] turns JSON into the bytes that the
//! message has on the wire, and [`write`] turns those into JSON. Between the two, a request in JSON is a
//! request like any other: it is decoded, judged and carried out by the very code that serves gRPC.
//!
//! # The form
//!
//! | kind | written | read |
//! |---|---|---|
//! | names | as in the `.proto` file | so, or in lowerCamelCase; others are skipped |
//! | 64-bit numbers | text, `"3"` | text or number, whole |
//! | 32-bit numbers, `bool` | plain | 32 bits: text or number |
//! | enumerations | the name; a number that has none, as number | name or number |
//! | `bytes` | base64 with padding | base64 of either alphabet, padded or not |
//! | zero, empty | left out | |
//! | `null` | never | as if left out, but in a list |
//!
//! A field that is given twice is refused, and so are two arms of a choice. A name that an enumeration does not
//! have is refused too: etcd takes it for the first one, and a comparison with a typing mistake in it would
//! then compare something else.
//!
//! # Bytes from strangers
//!
//! JSON nested more than 128 levels deep is refused, in fields that are skipped too or not: those are skipped
//! without recursion. What is read takes at most four times the bytes of its text. An error never quotes more
//! than a few words of the text.

mod read;
mod write;

use std::fmt;

pub use self::read::read;
pub use self::write::write;
use crate::generated::json::METHODS;

/// A call, and what goes to and fro.
#[derive(Debug)]
pub struct Method {
    pub(crate) path: &'static str,
    pub(crate) input: &'static Message,
    pub(crate) output: &'static Message,
}

impl Method {
    /// The call that has this path in gRPC: `/etcdserverpb.KV/Range`.
    #[must_use]
    pub fn find(path: &str) -> Option<&'static Self> {
        METHODS.iter().find(|method| method.path == path)
    }

    /// The path of the call in gRPC.
    #[must_use]
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// What clients send.
    #[must_use]
    pub fn input(&self) -> &'static Message {
        self.input
    }

    /// What they get.
    #[must_use]
    pub fn output(&self) -> &'static Message {
        self.output
    }
}

/// A kind of message, as its `.proto` file has it.
pub struct Message {
    /// With its package.
    pub(crate) name: &'static str,
    pub(crate) fields: &'static [Field],
}

// A message can hold itself, so its fields are not shown.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A field of a message.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) number: u32,
    /// As in the `.proto` file.
    pub(crate) name: &'static str,
    /// In lowerCamelCase.
    pub(crate) json_name: &'static str,
    pub(crate) kind: Kind,
    /// Whether there may be many.
    pub(crate) is_list: bool,
    /// Whether it is an arm of a choice. No message has two of those; the generator sees to that.
    pub(crate) is_arm: bool,
}

// The tables are written in these words.

pub(crate) const fn call(
    path: &'static str,
    input: &'static Message,
    output: &'static Message,
) -> Method {
    Method { path, input, output }
}

/// A field that there is once.
pub(crate) const fn one(
    number: u32,
    name: &'static str,
    json_name: &'static str,
    kind: Kind,
) -> Field {
    Field { number, name, json_name, kind, is_list: false, is_arm: false }
}

/// One that there may be many of.
pub(crate) const fn many(
    number: u32,
    name: &'static str,
    json_name: &'static str,
    kind: Kind,
) -> Field {
    Field { number, name, json_name, kind, is_list: true, is_arm: false }
}

/// One that is there instead of others.
pub(crate) const fn arm(
    number: u32,
    name: &'static str,
    json_name: &'static str,
    kind: Kind,
) -> Field {
    Field { number, name, json_name, kind, is_list: false, is_arm: true }
}

/// What a field holds.
#[derive(Debug)]
pub(crate) enum Kind {
    Bool,
    Int64,
    Uint32,
    Uint64,
    String,
    Bytes,
    /// The names and their numbers.
    Enum(&'static [(&'static str, i32)]),
    Message(&'static Message),
}

/// Why a text or a message can't be turned into the other: for whoever sent it to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(String);

impl Malformed {
    /// How much of a reason is told. Whoever sends megabytes gets none of them back.
    const CHARACTERS_MAX: usize = 256;

    fn new(reason: &impl ToString) -> Self {
        Self(reason.to_string().chars().take(Self::CHARACTERS_MAX).collect())
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

#[cfg(test)]
mod tests;
