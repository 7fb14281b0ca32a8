//! Just enough of JSON to write it.

use core::fmt;
use std::time::Duration;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// A whole number.
    Number(u64),
    /// A number with three digits behind the point, in thousandths.
    Thousandths(u128),
    /// A text.
    Text(String),
    /// Values in their order.
    List(Vec<Self>),
    /// Names with values, in their order.
    Object(Vec<(&'static str, Self)>),
}

impl Json {
    /// A text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// A time, in seconds.
    #[must_use]
    pub fn seconds(time: Duration) -> Self {
        Self::Thousandths(time.as_millis())
    }

    /// Names with values.
    pub fn object(pairs: impl IntoIterator<Item = (&'static str, Self)>) -> Self {
        Self::Object(pairs.into_iter().collect())
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let indent = |f: &mut fmt::Formatter<'_>, depth| write!(f, "\n{:1$}", "", depth * 2);
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Thousandths(number) => write!(f, "{}.{:03}", number / 1_000, number % 1_000),
            Self::Text(text) => quote(f, text),
            Self::List(list) if list.is_empty() => f.write_str("[]"),
            Self::List(list) => {
                f.write_str("[")?;
                for (number, value) in list.iter().enumerate() {
                    f.write_str(if number == 0 { "" } else { "," })?;
                    indent(f, depth + 1)?;
                    value.write(f, depth + 1)?;
                }
                indent(f, depth)?;
                f.write_str("]")
            }
            Self::Object(pairs) => {
                f.write_str("{")?;
                for (number, (name, value)) in pairs.iter().enumerate() {
                    f.write_str(if number == 0 { "" } else { "," })?;
                    indent(f, depth + 1)?;
                    quote(f, name)?;
                    f.write_str(": ")?;
                    value.write(f, depth + 1)?;
                }
                indent(f, depth)?;
                f.write_str("}")
            }
        }
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

fn quote(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for char in text.chars() {
        match char {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            char if u32::from(char) < 0x20 => write!(f, "\\u{:04x}", u32::from(char))?,
            char => write!(f, "{char}")?,
        }
    }
    f.write_str("\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_json() {
        let json = Json::object([
            ("a", Json::List(vec![Json::Number(1), Json::text("say \"x\\y\"\n")])),
            ("b", Json::seconds(Duration::from_micros(1_002_500))),
        ]);
        let expected =
            "{\n  \"a\": [\n    1,\n    \"say \\\"x\\\\y\\\"\\u000a\"\n  ],\n  \"b\": 1.002\n}";
        assert_eq!(json.to_string(), expected);
    }
}
