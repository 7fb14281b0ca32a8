//! The configuration file: YAML, of which JSON is a part, with the names of the flags.
//!
//! It is read as etcd reads its own, with two differences. A name that means nothing is refused, where etcd passes over
//! it; and a duration may be written as on the command line, too, where etcd knows whole nanoseconds only.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read as _;

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::flags::{self, Flag, Kind};

/// The largest file that is read, in bytes.
const BYTES_MAX: u64 = 1 << 20;

/// How deep a file may be nested: a list in a section in the file.
const DEPTH_MAX: usize = 3;

/// The parts of a file whose names stand for flags with other names.
const SECTIONS: [(&str, &[(&str, &str)]); 3] = [
    (
        "client-transport-security",
        &[
            ("cert-file", "cert-file"),
            ("key-file", "key-file"),
            ("client-cert-file", "client-cert-file"),
            ("client-key-file", "client-key-file"),
            ("client-cert-auth", "client-cert-auth"),
            ("trusted-ca-file", "trusted-ca-file"),
            ("auto-tls", "auto-tls"),
            ("allowed-cn", "client-cert-allowed-cn"),
            ("allowed-hostname", "client-cert-allowed-hostname"),
        ],
    ),
    (
        "peer-transport-security",
        &[
            ("cert-file", "peer-cert-file"),
            ("key-file", "peer-key-file"),
            ("client-cert-file", "peer-client-cert-file"),
            ("client-key-file", "peer-client-key-file"),
            ("client-cert-auth", "peer-client-cert-auth"),
            ("trusted-ca-file", "peer-trusted-ca-file"),
            ("auto-tls", "peer-auto-tls"),
            ("allowed-cn", "peer-cert-allowed-cn"),
            ("allowed-hostname", "peer-cert-allowed-hostname"),
            ("skip-client-san-verification", "peer-skip-client-san-verification"),
        ],
    ),
    (
        "socket-options",
        &[("reuse-port", "socket-reuse-port"), ("reuse-address", "socket-reuse-address")],
    ),
];

/// The text of a flag.
pub(super) type Setting = (&'static Flag, String);

/// What a file says.
///
/// # Errors
/// Why it can't be meant, for the user.
pub(super) fn read(path: &str) -> Result<Vec<Setting>, String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(BYTES_MAX + 1).read_to_string(&mut text));
    read.map_err(|error| format!("can't read it: {error}"))?;
    if text.len() as u64 > BYTES_MAX {
        return Err(format!("it is larger than {BYTES_MAX} bytes"));
    }
    parse(&text)
}

/// What the text of a file says.
pub(super) fn parse(text: &str) -> Result<Vec<Setting>, String> {
    let mut reader = Reader { parser: Parser::new_from_str(text) };
    let mut settings: Vec<Setting> = Vec::new();
    for (name, value) in reader.document()? {
        match (SECTIONS.iter().find(|(section, _)| *section == name), value) {
            (_, Node::Nothing) => {}
            (None, value) => set(&mut settings, &name, flags::find(&name), value)?,
            (Some((_, names)), Node::Section(section)) => {
                for (inner, value) in section {
                    let flag = names.iter().find(|(known, _)| *known == inner);
                    let flag = flag.and_then(|(_, flag)| flags::find(flag));
                    set(&mut settings, &format!("{name}.{inner}"), flag, value)?;
                }
            }
            (Some(_), _) => return Err(format!("{name} is no section")),
        }
    }
    Ok(settings)
}

/// Notes what stands under a name.
fn set(
    settings: &mut Vec<Setting>,
    name: &str,
    flag: Option<&'static Flag>,
    value: Node,
) -> Result<(), String> {
    let flag = flag.filter(|flag| !matches!(flag.name, "config-file" | "help" | "version"));
    let flag = flag.ok_or_else(|| format!("{name} is unknown"))?;
    let value = match value {
        Node::Nothing => return Ok(()),
        Node::Section(_) => return Err(format!("{name} is a section, and can't be one")),
        Node::List(items) => items.join(","),
        // Templates have this where nothing is to be said.
        Node::Text(text) if text.is_empty() => return Ok(()),
        Node::Text(text) => text,
    };
    let value = match flag.kind {
        Kind::Switch => flags::boolean(&value)
            .ok_or_else(|| format!("invalid value {value:?} for {name}: parse error"))?,
        // etcd has no other durations in a file.
        Kind::Duration if value.bytes().all(|byte| byte.is_ascii_digit()) => format!("{value}ns"),
        Kind::Value | Kind::Duration => value,
    };
    if settings.iter().any(|(known, _)| known.name == flag.name) {
        return Err(format!("{name} is there twice"));
    }
    settings.push((flag, value));
    Ok(())
}

/// What stands at some place of a file.
enum Node {
    /// There is a name, and nothing is said.
    Nothing,
    Text(String),
    List(Vec<String>),
    Section(Vec<(String, Self)>),
}

/// Reads what the parser finds, as far as a configuration can have it.
struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Event<'a>, String> {
        match self.parser.next_event() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => Err(format!("it is no YAML: {error}")),
            None => Err("it ends too early".into()),
        }
    }

    /// All of a file: a section, or nothing.
    fn document(&mut self) -> Result<Vec<(String, Node)>, String> {
        let mut found = Vec::new();
        loop {
            match self.next()? {
                Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
                Event::StreamEnd => return Ok(found),
                Event::DocumentStart(_) => {
                    let event = self.next()?;
                    match self.node(event, 1)? {
                        _ if !found.is_empty() => {
                            return Err("there is more than one document".into());
                        }
                        Node::Section(section) => found = section,
                        Node::Nothing => {}
                        Node::Text(_) | Node::List(_) => {
                            return Err("it has no names with values".into());
                        }
                    }
                }
                event => return Err(unexpected(&event)),
            }
        }
    }

    fn node(&mut self, event: Event<'a>, depth: usize) -> Result<Node, String> {
        if depth > DEPTH_MAX {
            return Err("it is nested too deep".into());
        }
        match event {
            Event::Scalar(text, style, 0, None) => Ok(scalar(text, style)),
            Event::SequenceStart(0, None) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        Event::SequenceEnd => return Ok(Node::List(items)),
                        Event::Scalar(text, _, 0, None) => items.push(text.into_owned()),
                        event => return Err(unexpected(&event)),
                    }
                }
            }
            Event::MappingStart(0, None) => {
                let mut section = Vec::new();
                loop {
                    match self.next()? {
                        Event::MappingEnd => return Ok(Node::Section(section)),
                        Event::Scalar(name, _, 0, None) => {
                            let event = self.next()?;
                            let value = self.node(event, depth + 1)?;
                            section.push((name.into_owned(), value));
                        }
                        event => return Err(unexpected(&event)),
                    }
                }
            }
            event => Err(unexpected(&event)),
        }
    }
}

/// A word of a file. Without quotes it may be one that says nothing.
fn scalar(text: Cow<'_, str>, style: ScalarStyle) -> Node {
    let says_nothing = matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
    if says_nothing && style == ScalarStyle::Plain {
        Node::Nothing
    } else {
        Node::Text(text.into_owned())
    }
}

fn unexpected(event: &Event<'_>) -> String {
    let what = match event {
        Event::Alias(_) => "a reference",
        Event::Scalar(_, _, 0, _) | Event::SequenceStart(0, Some(_)) => "a tag",
        Event::MappingStart(0, Some(_)) => "a tag",
        Event::Scalar(..) => "an anchor",
        Event::SequenceStart(0, _) => "a list",
        Event::MappingStart(0, _) => "a section",
        _ => "an anchor, or an end",
    };
    format!("there is {what} where none can be")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Vec<(&'static str, String)> {
        let settings = parse(text).expect("a file");
        settings.into_iter().map(|(flag, value)| (flag.name, value)).collect()
    }

    #[test]
    fn names_are_those_of_the_flags() {
        let yaml = "\
            # a comment\n\
            name: one\n\
            data-dir: '/var/lib/x y'\n\
            heartbeat-interval: 100\n\
            memory-mlock: true\n\
            wal-dir:\n\
            cert-file: \"\"\n\
            initial-cluster-token: \"null\"\n\
            log-outputs: [stderr]\n\
            experimental-watch-progress-notify-interval: 5000000000\n\
            grpc-keepalive-timeout: 20s\n\
            peer-transport-security:\n  \
              client-cert-auth: false\n  \
              allowed-cn:\n  \
              - a\n  \
              - b\n";
        let wanted = [
            ("name", "one"),
            ("data-dir", "/var/lib/x y"),
            ("heartbeat-interval", "100"),
            ("memory-mlock", "true"),
            ("initial-cluster-token", "null"),
            ("log-outputs", "stderr"),
            ("watch-progress-notify-interval", "5000000000ns"),
            ("grpc-keepalive-timeout", "20s"),
            ("peer-client-cert-auth", "false"),
            ("peer-cert-allowed-cn", "a,b"),
        ];
        assert_eq!(settings(yaml), wanted.map(|(name, value)| (name, value.to_owned())));
        let json = r#"{"name": "one", "pre-vote": true, "socket-options": {"reuse-port": false}}"#;
        assert_eq!(
            settings(json),
            [
                ("name", "one".to_owned()),
                ("pre-vote", "true".to_owned()),
                ("socket-reuse-port", "false".to_owned())
            ]
        );
        assert_eq!(settings("# nothing\n"), []);
    }

    #[test]
    fn what_can_not_be_meant_is_refused() {
        for (text, why) in [
            ("nmae: x", "nmae is unknown"),
            ("config-file: x", "config-file is unknown"),
            ("name: x\nname: y", "name is there twice"),
            ("name: {a: b}", "name is a section, and can't be one"),
            ("client-transport-security: x", "client-transport-security is no section"),
            (
                "client-transport-security: {allowed-names: x}",
                "client-transport-security.allowed-names is unknown",
            ),
            ("pre-vote: maybe", "invalid value \"maybe\" for pre-vote: parse error"),
            ("just words", "it has no names with values"),
            ("- a", "it has no names with values"),
            ("name: &a x", "there is an anchor where none can be"),
            ("name: *a", "it is no YAML: "),
            ("name: !!str x", "there is a tag where none can be"),
            ("name: x\n---\nname: y", "there is more than one document"),
            ("name: [[x]]", "there is a list where none can be"),
            ("name: {a: {b: {c: d}}}", "it is nested too deep"),
            ("name: 'x", "it is no YAML: "),
        ] {
            let refusal = parse(text).map(|_| ()).expect_err(text);
            assert!(refusal.starts_with(why), "{text:?}: {refusal}");
        }
    }

    proptest::proptest! {
        /// Whatever stands in a file, it is understood or refused.
        #[test]
        fn no_text_is_too_odd(text in "[-a-z: \\n\\t\\[\\]{}&*!|>'\"#,?%@~0-9]{0,200}") {
            let _ = parse(&text);
        }
    }
}
