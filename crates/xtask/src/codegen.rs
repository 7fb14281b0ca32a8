//! Turns `crates/proto/proto/*.proto` into `crates/proto/src/generated/*.rs`.
//!
//! The generated files are checked in, so that building Quorate needs neither a protobuf compiler
//! nor a build script, and a reviewer sees what a change of a message does to the code. A test
//! compares them with what the `.proto` files give now, byte for byte. The compiler is `protox`,
//! which is a library; the code is laid out by `prettyplease`, whose output depends on its version
//! in `Cargo.lock` and not on the toolchain. That is why rustfmt leaves these files alone.

mod json;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use prost_build::{Config, Module};
use prost_types::FileDescriptorSet;
use protox::prost_reflect::prost::Message as _;

use crate::workspace;

/// What every generated file begins with.
const HEADER: &str =
    "// @generated from crates/proto/proto by `cargo xtask codegen`. Do not edit.\n\n";

/// Messages that carry a password, its hash or a token. Their `Debug` is written by hand in
/// `crates/proto/src/redacted.rs`, so that no log line shows one.
const SECRETS: [&str; 5] = [
    ".authpb.User",
    ".etcdserverpb.AuthUserAddRequest",
    ".etcdserverpb.AuthUserChangePasswordRequest",
    ".etcdserverpb.AuthenticateRequest",
    ".etcdserverpb.AuthenticateResponse",
];

/// Where the generated files are checked in.
pub(crate) fn folder() -> PathBuf {
    workspace::root().join("crates/proto/src/generated")
}

/// The descriptors of all files, as reflection tells them to clients.
const DESCRIPTORS: &str = "descriptors.bin";

/// The bytes of [`DESCRIPTORS`].
///
/// # Errors
///
/// Those of [`generate`].
fn descriptors() -> io::Result<Vec<u8>> {
    let mut descriptors = compile()?;
    for file in &mut descriptors.file {
        // Comments, which are four fifths.
        file.source_code_info = None;
    }
    Ok(descriptors.encode_to_vec())
}

fn compile() -> io::Result<FileDescriptorSet> {
    let protos = workspace::root().join("crates/proto/proto");
    let sources = workspace::files(&protos, ".proto")?;
    protox::compile(sources, [&protos])
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{error:?}")))
}

/// The generated code: for each file name, its text.
///
/// # Errors
///
/// A `.proto` file that cannot be read or does not compile. The message names the file and the
/// line.
pub(crate) fn generate() -> io::Result<BTreeMap<String, String>> {
    let descriptors = compile()?;
    let tables = json::tables(&descriptors.file)?;
    let packages = descriptors
        .file
        .into_iter()
        .map(|file| (Module::from_protobuf_package_name(file.package()), file))
        .collect();
    let modules = Config::new()
        .bytes(["."])
        .skip_debug(SECRETS)
        .service_generator(
            tonic_prost_build::configure().codec_path("crate::codec::Codec").service_generator(),
        )
        .generate(packages)?;

    let text = |code: &String| format!("{HEADER}{code}");
    let files = modules.iter().map(|(module, code)| (module.to_file_name_or("root"), text(code)));
    Ok(files.chain([(json::FILE_NAME.to_owned(), text(&tables))]).collect())
}

/// Rewrites the generated files, and removes those that no package gives any more.
///
/// # Errors
///
/// Those of [`generate`], and a file that cannot be written or removed.
pub(crate) fn rewrite() -> io::Result<()> {
    let (folder, generated) = (folder(), generate()?);
    fs::create_dir_all(&folder)?;
    for stale in workspace::files(&folder, ".rs")? {
        if !generated.contains_key(&file_name(&stale)) {
            fs::remove_file(&stale).map_err(|error| workspace::at(&stale, &error))?;
        }
    }
    for (name, text) in generated {
        let path = folder.join(name);
        // Equal files keep their time stamp, or every dependent crate would be built again.
        if path.exists() && workspace::read(&path)? == text {
            continue;
        }
        fs::write(&path, text).map_err(|error| workspace::at(&path, &error))?;
    }
    let path = folder.join(DESCRIPTORS);
    fs::write(&path, descriptors()?).map_err(|error| workspace::at(&path, &error))?;
    Ok(())
}

fn file_name(path: &Path) -> String {
    path.file_name().expect("a file found in a folder has a name").to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The checked-in code is what the `.proto` files give, to the byte and to the file.
    #[test]
    fn the_generated_code_is_up_to_date() {
        let generated = generate().expect("the .proto files compile");
        let checked_in: BTreeMap<String, String> = workspace::files(&folder(), ".rs")
            .expect("the generated folder exists")
            .iter()
            .map(|path| (file_name(path), workspace::read(path).expect("readable")))
            .collect();

        let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&generated), names(&checked_in), "run `cargo xtask codegen`");
        for (name, text) in &generated {
            // Not assert_eq: thousands of lines on both sides would hide the one line that matters.
            let differs = text.lines().zip(checked_in[name].lines()).find(|(a, b)| a != b);
            assert!(
                *text == checked_in[name],
                "{name} is stale: run `cargo xtask codegen`. First difference, generated and \
                 checked in: {differs:?}"
            );
        }
    }

    #[test]
    fn the_descriptors_are_up_to_date() {
        let checked_in = fs::read(folder().join(DESCRIPTORS)).expect("readable");
        let generated = descriptors().expect("the .proto files compile");
        assert!(generated == checked_in, "{DESCRIPTORS} is stale: run `cargo xtask codegen`");
    }

    /// The comparison above would also pass if nothing were compared.
    #[test]
    fn every_package_is_generated() {
        let generated = generate().expect("the .proto files compile");
        let names: Vec<&str> = generated.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "authpb.rs",
                "etcdserverpb.rs",
                "grpc.health.v1.rs",
                "json.rs",
                "mvccpb.rs",
                "quoratepb.rs",
                "v3electionpb.rs",
                "v3lockpb.rs"
            ]
        );
    }
}
