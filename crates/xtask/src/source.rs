//! A Rust file as a flat list of words and signs, which is what the checks search.
//!
//! Searching the text would find a word in a comment, in a message or in a test. Searching the
//! syntax tree would miss the arguments of macros. Tokens have neither fault: comments and literals
//! fall away, and macros are seen through.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// One Rust file.
pub(crate) struct Source {
    /// Its path below the root.
    pub(crate) path: String,
    /// Its words and signs outside of tests, in order; literals and comments are left out.
    pub(crate) tokens: Vec<Token>,
}

/// A word, or one sign or bracket.
pub(crate) struct Token {
    pub(crate) text: String,
    /// The line in the file, from 1.
    pub(crate) line: usize,
    /// It is part of a `use` declaration: it names a thing and does not call it.
    pub(crate) imported: bool,
}

impl Source {
    /// Splits a file.
    ///
    /// # Panics
    ///
    /// When the text is not made of Rust's tokens. Such a file does not compile, and the checks run
    /// after the compiler.
    pub(crate) fn parse(path: &str, text: &str) -> Self {
        let stream: TokenStream = text
            .parse()
            .unwrap_or_else(|error| panic!("{path} is not made of Rust's tokens: {error}"));
        let mut tokens = Vec::new();
        flatten(stream, false, &mut tokens);
        Self { path: path.to_owned(), tokens }
    }

    /// Where these tokens follow each other: the position of the first token of each match.
    ///
    /// `words` are separated by blanks, and every sign is a word of its own: `"Instant : : now"`.
    pub(crate) fn find(&self, words: &str) -> Vec<usize> {
        let words: Vec<&str> = words.split_whitespace().collect();
        let here = |window: &[Token]| window.iter().zip(&words).all(|(t, word)| t.text == *word);
        let windows = self.tokens.windows(words.len()).enumerate();
        windows.filter(|(_, window)| here(window)).map(|(position, _)| position).collect()
    }

    /// Where the function or method of this name is called or handed on, and not declared or
    /// imported: the lines.
    pub(crate) fn uses_of(&self, function: &str) -> Vec<usize> {
        let declared = |at: usize| at > 0 && self.tokens[at - 1].text == "fn";
        self.find(function)
            .into_iter()
            .filter(|&at| !declared(at) && !self.tokens[at].imported)
            .map(|at| self.tokens[at].line)
            .collect()
    }
}

/// Appends the tokens of `stream`, without the items that are compiled for tests only.
fn flatten(stream: TokenStream, imported: bool, tokens: &mut Vec<Token>) {
    let mut in_import = imported;
    // Set by `#[cfg(test)]` and `#[test]`, until the item they stand before is over.
    let mut in_test = false;
    let mut before = None;
    for tree in stream {
        let (text, line) = (sign(&tree), tree.span().start().line);
        let push = |text: &str, tokens: &mut Vec<Token>| {
            tokens.push(Token { text: text.to_owned(), line, imported: in_import });
        };
        match &tree {
            TokenTree::Group(group) => {
                if before.as_deref() == Some("#") && is_for_tests(&group.stream()) {
                    in_test = true;
                } else if !in_test {
                    let (open, close) = brackets(group.delimiter());
                    push(open, tokens);
                    flatten(group.stream(), in_import, tokens);
                    push(close, tokens);
                }
                if group.delimiter() == Delimiter::Brace {
                    in_test = false;
                }
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {
                if text == "use" {
                    in_import = true;
                } else if text == ";" {
                    in_import = imported;
                }
                if !in_test {
                    tokens.push(Token { text: text.clone(), line, imported: in_import });
                }
                // The comma ends a field or an arm. It also ends the attribute's reach inside `<A,
                // B>`: rather that a test is searched in vain than that what follows a field goes
                // unseen.
                if text == ";" || text == "," {
                    in_test = false;
                }
            }
            TokenTree::Literal(_) => {}
        }
        before = Some(text);
    }
}

/// The text of a word or a sign; nothing for a group and a literal.
fn sign(tree: &TokenTree) -> String {
    match tree {
        TokenTree::Ident(_) | TokenTree::Punct(_) => tree.to_string(),
        TokenTree::Group(_) | TokenTree::Literal(_) => String::new(),
    }
}

/// Whether the inside of an attribute says that an item is for tests: `test`, or `cfg` of something
/// with `test`.
fn is_for_tests(attribute: &TokenStream) -> bool {
    let mut words = attribute.to_string();
    words.retain(|c| !c.is_whitespace());
    words == "test" || words == "cfg(test)" || words.starts_with("cfg(all(test,")
}

fn brackets(delimiter: Delimiter) -> (&'static str, &'static str) {
    match delimiter {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::None => ("", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> String {
        let source = Source::parse("a.rs", text);
        source.tokens.iter().map(|token| token.text.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_literals_and_tests_fall_away() {
        assert_eq!(words("fn a() { /* b */ c(\"d\") } // e"), "fn a ( ) { c ( ) }");
        assert_eq!(words("a! { b(\"c\") }"), "a ! { b ( ) }");
        assert_eq!(words("#[cfg(test)] mod tests { a() } b"), "# b");
        assert_eq!(words("#[test] #[should_panic] fn a() -> [u8; 2] { b() } c"), "# c");
        assert_eq!(words("#[cfg(test)] use a::b; c"), "# c");
        assert_eq!(words("{ #[cfg(test)] a: b, c: d }"), "{ # c : d }");
        assert_eq!(words("#[cfg(not(test))] fn a() {}"), "# [ cfg ( not ( test ) ) ] fn a ( ) { }");
    }

    #[test]
    fn a_use_is_neither_an_import_nor_a_declaration() {
        let text = "use a::{go, other};\nfn go() {\n go();\n a.map(go)\n}\n/// go();\nfn b() {}";
        assert_eq!(Source::parse("a.rs", text).uses_of("go"), [3, 4]);
    }
}
