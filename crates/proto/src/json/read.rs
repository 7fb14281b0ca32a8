//! From JSON to the bytes of a message.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use prost::encoding::{WireType, encode_key, encode_varint};
use serde_core::de::{
    DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::{Field, Kind, Malformed, Message};

/// The bytes that a message has on the wire, from its JSON.
///
/// # Errors
/// A text that is no JSON, or not of this message: the table of the [module](super) says what is.
pub fn read(message: &'static Message, json: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut wire = Vec::new();
    let mut source = serde_json::Deserializer::from_slice(json);
    Object { message, wire: &mut wire }
        .deserialize(&mut source)
        .and_then(|()| source.end())
        .map_err(|error| Malformed::new(&error))?;
    Ok(wire)
}

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const BASE64_OF_URLS: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// An object that is a message.
struct Object<'a> {
    message: &'static Message,
    wire: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<(), D::Error> {
        source.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object, {}", self.message.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = vec![false; self.message.fields.len()];
        let mut has_arm = false;
        while let Some(found) = map.next_key_seed(Name(self.message))? {
            let Some(at) = found else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let field = &self.message.fields[at];
            if std::mem::replace(&mut seen[at], true) {
                return Err(A::Error::custom(format_args!("{} is given twice", field.name)));
            }
            let is_given = map.next_value_seed(Content { field, wire: self.wire })?;
            if field.is_arm && is_given && std::mem::replace(&mut has_arm, true) {
                return Err(A::Error::custom(format_args!(
                    "{} is one choice too many",
                    field.name
                )));
            }
        }
        Ok(())
    }
}

/// The name of a field: its position, if the message has it.
struct Name(&'static Message);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Option<usize>, D::Error> {
        source.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<usize>, E> {
        let mut fields = self.0.fields.iter();
        Ok(fields.position(|field| field.name == name || field.json_name == name))
    }
}

/// All that a field holds. Says whether that is anything: `null` is nothing.
struct Content<'a> {
    field: &'static Field,
    wire: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Content<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<bool, D::Error> {
        source.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Content<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = if self.field.is_list { "a list" } else { "one" };
        write!(f, "{form} for {}", self.field.name)
    }

    fn visit_none<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_some<D: Deserializer<'de>>(self, source: D) -> Result<bool, D::Error> {
        let Self { field, wire } = self;
        if field.is_list {
            source.deserialize_seq(List { field, wire })?;
        } else {
            Element { field, wire }.deserialize(source)?;
        }
        Ok(true)
    }
}

/// The elements of a list, one after the other.
struct List<'a> {
    field: &'static Field,
    wire: &'a mut Vec<u8>,
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list for {}", self.field.name)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { field, wire } = self;
        while list.next_element_seed(Element { field, wire })?.is_some() {}
        Ok(())
    }
}

/// One value.
struct Element<'a> {
    field: &'static Field,
    wire: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<(), D::Error> {
        let Self { field, wire } = self;
        let Kind::Message(message) = field.kind else {
            return source.deserialize_any(Self { field, wire });
        };
        let mut inner = Vec::new();
        Object { message, wire: &mut inner }.deserialize(source)?;
        put_bytes(field, &inner, wire);
        Ok(())
    }
}

impl Element<'_> {
    /// What the field is told to be, when something else is there.
    fn refuse<E: Error>(&self) -> E {
        E::custom(format_args!("expected {self}"))
    }

    fn number<E: Error>(self, number: i128) -> Result<(), E> {
        // A negative number of 32 bits has the bytes of the same number of 64 bits.
        let varint = match self.field.kind {
            Kind::Int64 => i64::try_from(number).map(i64::cast_unsigned),
            Kind::Enum(_) => i32::try_from(number).map(|number| i64::from(number).cast_unsigned()),
            Kind::Uint64 => u64::try_from(number),
            Kind::Uint32 => u32::try_from(number).map(u64::from),
            Kind::Bool | Kind::String | Kind::Bytes | Kind::Message(_) => {
                return Err(self.refuse());
            }
        };
        let varint = varint.map_err(|_| self.refuse())?;
        put_varint(self.field, varint, self.wire);
        Ok(())
    }
}

impl fmt::Display for Element<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = match self.field.kind {
            Kind::Bool => "true or false",
            Kind::Int64 => "a whole number of 64 bits",
            Kind::Uint32 => "a whole number of 32 bits that is not negative",
            Kind::Uint64 => "a whole number of 64 bits that is not negative",
            Kind::String => "a text",
            Kind::Bytes => "a text in base64",
            Kind::Enum(_) => "one of the names, or its number,",
            Kind::Message(_) => "an object",
        };
        write!(f, "{form} for {}", self.field.name)
    }
}

impl Visitor<'_> for Element<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        if !matches!(self.field.kind, Kind::Bool) {
            return Err(self.refuse());
        }
        put_varint(self.field, value.into(), self.wire);
        Ok(())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.number(number.into())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.number(number.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        // `1e3` and `1.0` are whole. What is too large for 64 bits stays so.
        if number.fract() == 0.0 { self.number(number as i128) } else { Err(self.refuse()) }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        match self.field.kind {
            Kind::String => put_bytes(self.field, text.as_bytes(), self.wire),
            Kind::Bytes => {
                let engine = if text.contains(['-', '_']) { BASE64_OF_URLS } else { BASE64 };
                let bytes = engine.decode(text).map_err(|_| self.refuse())?;
                put_bytes(self.field, &bytes, self.wire);
            }
            Kind::Enum(names) => {
                let found = names.iter().find(|(name, _)| *name == text);
                let (_, number) = found.ok_or_else(|| self.refuse())?;
                let number = (*number).into();
                return self.number(number);
            }
            Kind::Int64 | Kind::Uint32 | Kind::Uint64 => {
                // The standard parser would let a sign pass.
                let number = Some(text).filter(|text| !text.starts_with('+'));
                let number = number.and_then(|text| text.parse().ok());
                let number = number.ok_or_else(|| self.refuse())?;
                return self.number(number);
            }
            Kind::Bool | Kind::Message(_) => return Err(self.refuse()),
        }
        Ok(())
    }
}

fn put_varint(field: &Field, varint: u64, wire: &mut Vec<u8>) {
    encode_key(field.number, WireType::Varint, wire);
    encode_varint(varint, wire);
}

fn put_bytes(field: &Field, bytes: &[u8], wire: &mut Vec<u8>) {
    encode_key(field.number, WireType::LengthDelimited, wire);
    encode_varint(bytes.len() as u64, wire);
    wire.extend_from_slice(bytes);
}
