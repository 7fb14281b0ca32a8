//! The tables by which messages become JSON and back: `crates/proto/src/json/mod.rs` says what they are for.

use std::fmt::Write;
use std::io;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
};

/// The name of the generated file.
pub(super) const FILE_NAME: &str = "json.rs";

/// The tables of all messages and all calls, as the text of a module.
pub(super) fn tables(files: &[FileDescriptorProto]) -> io::Result<String> {
    let mut tables = Tables::default();
    for file in files {
        let package = file.package();
        for message in &file.message_type {
            tables.message(&format!(".{package}"), message)?;
        }
        for choices in &file.enum_type {
            tables.enumeration(&format!(".{package}"), choices);
        }
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{package}.{}/{}", service.name(), method.name());
                let (input, output) = (method.input_type(), method.output_type());
                let (input, output) = (identifier(input), identifier(output));
                tables.methods.push_str(&format!(
                    "    call(\n        \"{path}\",\n        &{input},\n        &{output},\n    ),\n"
                ));
            }
        }
    }
    let Tables { types, methods } = tables;
    Ok(format!(
        "#![allow(dead_code, reason = \"no call has every message\")]\n\n\
         use crate::json::{{Kind, Message, Method, arm, call, many, one}};\n\n\
         pub(crate) static METHODS: &[Method] = &[\n{methods}];\n{types}"
    ))
}

#[derive(Default)]
struct Tables {
    /// Messages and enumerations.
    types: String,
    methods: String,
}

impl Tables {
    fn message(&mut self, scope: &str, message: &DescriptorProto) -> io::Result<()> {
        let name = format!("{scope}.{}", message.name());
        if message.oneof_decl.len() > 1 {
            return Err(unknown(&name, "a second choice"));
        }
        let mut fields = message.field.iter().collect::<Vec<_>>();
        fields.sort_by_key(|field| field.number());
        let fields: String =
            fields.into_iter().map(|field| self::field(&name, field)).collect::<io::Result<_>>()?;
        write!(
            self.types,
            "\nstatic {}: Message = Message {{\n    name: \"{}\",\n    fields: &[\n{fields}    ],\n}};\n",
            identifier(&name),
            name.trim_start_matches('.')
        )
        .expect("writing to a string does not fail");
        for inner in &message.nested_type {
            self.message(&name, inner)?;
        }
        for inner in &message.enum_type {
            self.enumeration(&name, inner);
        }
        Ok(())
    }

    fn enumeration(&mut self, scope: &str, choices: &EnumDescriptorProto) {
        let name = identifier(&format!("{scope}.{}", choices.name()));
        let values: String = choices
            .value
            .iter()
            .map(|value| format!("    (\"{}\", {}),\n", value.name(), value.number()))
            .collect();
        self.types.push_str(&format!("\nstatic {name}: &[(&str, i32)] = &[\n{values}];\n"));
    }
}

fn field(message: &str, field: &FieldDescriptorProto) -> io::Result<String> {
    let kind = match field.r#type() {
        Type::Bool => "Bool".to_owned(),
        Type::Int64 => "Int64".to_owned(),
        Type::Uint32 => "Uint32".to_owned(),
        Type::Uint64 => "Uint64".to_owned(),
        Type::String => "String".to_owned(),
        Type::Bytes => "Bytes".to_owned(),
        Type::Enum => format!("Enum({})", identifier(field.type_name())),
        Type::Message => format!("Message(&{})", identifier(field.type_name())),
        other => return Err(unknown(message, other.as_str_name())),
    };
    let json_name = match field.json_name() {
        "" => return Err(unknown(message, "a field without a name in JSON")),
        name => name,
    };
    let form = match (field.label(), field.oneof_index) {
        (Label::Repeated, _) => "many",
        (_, Some(_)) => "arm",
        (_, None) => "one",
    };
    let (number, name) = (field.number(), field.name());
    Ok(format!("        {form}({number}, \"{name}\", \"{json_name}\", Kind::{kind}),\n"))
}

/// The name of a static item, for the full name of a message or an enumeration.
fn identifier(full_name: &str) -> String {
    full_name.trim_start_matches('.').replace('.', "_").to_ascii_uppercase()
}

fn unknown(message: &str, what: &str) -> io::Error {
    io::Error::other(format!("{message} has {what}, and the tables for JSON know none"))
}
