//! The dependencies that a `Cargo.toml` names.
//!
//! Cargo knows them better, but tells them only in JSON and only with all of the workspace
//! resolved. The manifests of the crates keep to a small part of TOML; what is beyond it is
//! reported and not guessed at.

/// A dependency that a manifest names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    pub(crate) kind: Kind,
    /// The name of the package.
    pub(crate) name: String,
    /// The line in the manifest, from 1.
    pub(crate) line: usize,
}

/// What a dependency is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is part of the product, or helps to build it.
    Product,
    /// It is for tests and benchmarks.
    Test,
}

/// Reads the dependencies of a manifest.
///
/// # Errors
///
/// The line of what is written in a way this reader does not know: `[dependencies.name]`, a table for
/// one target, or a dependency under another name than its package's.
pub(crate) fn dependencies(manifest: &str) -> Result<Vec<Dependency>, usize> {
    let mut found = Vec::new();
    let mut kind = None;
    for (line, text) in (1..).zip(manifest.lines()) {
        let text = text.trim();
        if text.starts_with('[') {
            kind = match text {
                "[dependencies]" | "[build-dependencies]" => Some(Kind::Product),
                "[dev-dependencies]" => Some(Kind::Test),
                _ if text.contains("dependencies") => return Err(line),
                _ => None,
            };
        } else if let Some(kind) = kind
            && let Some((name, _)) = text.split_once('=')
            && !text.starts_with('#')
        {
            if text.contains("package =") {
                return Err(line);
            }
            let name = name.trim().trim_end_matches(".workspace").to_owned();
            found.push(Dependency { kind, name, line });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read() {
        let manifest = "[package]\nname = \"a\"\n\n[dependencies]\n# why = so\nb.workspace = true\n\n\
             [dev-dependencies]\nc = { version = \"1\" }\n\n[lints]\nworkspace = true\n";
        let read = dependencies(manifest).expect("it keeps to the small part");
        let dependency = |kind, name: &str, line| Dependency { kind, name: name.into(), line };
        assert_eq!(read, [dependency(Kind::Product, "b", 6), dependency(Kind::Test, "c", 9)]);
    }

    #[test]
    fn other_tables_of_dependencies_are_reported() {
        assert_eq!(dependencies("[package]\n[dependencies.a]\nversion = \"1\""), Err(2));
        assert_eq!(dependencies("[target.'cfg(unix)'.dependencies]\na = \"1\""), Err(1));
        assert_eq!(
            dependencies("[dependencies]\na = { package = \"b\", path = \"../b\" }"),
            Err(2)
        );
    }
}
