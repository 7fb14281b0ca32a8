//! The text files of the workspace, as the checks of [`tidy`](crate::tidy) see them.
//!
//! The checks take a value and no folder, so that their tests can plant a fault in a tree of two
//! lines and see it found.

use std::collections::BTreeMap;
use std::{fs, io};

use crate::source::Source;
use crate::workspace;

/// All text files, by their path below the root, which has `/` between its parts on every system.
pub(crate) struct Tree {
    files: BTreeMap<String, String>,
    /// See [`Tree::product_sources`]. Kept, since splitting them is most of the work of the checks.
    product_sources: Vec<Source>,
}

impl Tree {
    /// Reads the workspace. What is not UTF-8 is no text and is left out.
    ///
    /// # Errors
    ///
    /// A folder or a file that cannot be read.
    pub(crate) fn read() -> io::Result<Self> {
        let root = workspace::root();
        let mut files = BTreeMap::new();
        for path in workspace::files(&root, "")? {
            let bytes = fs::read(&path).map_err(|error| workspace::at(&path, &error))?;
            if let Ok(text) = String::from_utf8(bytes) {
                let below = path.strip_prefix(&root).expect("it was found below the root");
                let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
                files.insert(parts.join("/"), text);
            }
        }
        Ok(Self::new(files))
    }

    /// A tree of a few files, for tests of checks.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let owned = |&(path, text): &(&str, &str)| (path.to_owned(), text.to_owned());
        Self::new(files.iter().map(owned).collect())
    }

    fn new(files: BTreeMap<String, String>) -> Self {
        const ASIDE: [&str; 3] = ["/tests/", "/benches/", "/examples/"];
        let product_sources = files
            .iter()
            .filter(|(path, _)| path.starts_with("crates/") && path.ends_with(".rs"))
            .filter(|(path, _)| !ASIDE.iter().any(|aside| path.contains(aside)))
            .filter(|(path, _)| !path.ends_with("/tests.rs"))
            .map(|(path, text)| Source::parse(path, text))
            .collect();
        Self { files, product_sources }
    }

    /// All files: path and text, sorted by path.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The text of one file, or `None` when there is no such file.
    pub(crate) fn file(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Whether there is a file, or a folder with a file in it, of this path.
    pub(crate) fn exists(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let folder = format!("{path}/");
        self.files.contains_key(path) || self.files.keys().any(|file| file.starts_with(&folder))
    }

    /// The Rust files of the product: those of the crates, without integration tests, benchmarks
    /// and examples.
    pub(crate) fn product_sources(&self) -> impl Iterator<Item = &Source> {
        self.product_sources.iter()
    }

    /// The folder names below `crates/`, sorted.
    pub(crate) fn crates(&self) -> Vec<&str> {
        self.files
            .keys()
            .filter_map(|path| path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml"))
            .collect()
    }
}
