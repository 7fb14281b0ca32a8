//! The configuration as it was typed: which flag has which text, and whether a human can have meant it.
//!
//! The rules are those of Go's `flag` package and of etcd on top of it, down to the exit codes, because
//! the scripts and container images that start etcd rely on them.

use std::collections::BTreeMap;

use super::flags::{self, FLAGS, Kind, Standing, boolean};
use super::{Stop, file};

/// Flags and their texts, each accepted by name. What a text means is the next step's question.
#[derive(Debug, Default)]
pub(super) struct Typed {
    values: BTreeMap<&'static str, Given>,
    /// What the user should know although it keeps nothing from starting.
    pub(super) warnings: Vec<String>,
}

/// The text of a flag, and where it was found.
#[derive(Debug)]
struct Given {
    value: String,
    source: Source,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    CommandLine,
    Environment,
    File,
}

impl Typed {
    /// Reads the arguments, without the program's own name, and the environment.
    pub(super) fn parse(
        arguments: impl IntoIterator<Item = String>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Stop> {
        let mut typed = Self::default();
        typed.read_arguments(arguments)?;
        let environment: Vec<_> = environment.into_iter().collect();
        match typed.config_file(&environment) {
            Some(path) => typed.read_file(&path, &environment)?,
            None => typed.read_environment(environment)?,
        }
        if typed.is_set("help") {
            return Err(Stop::Help(flags::usage()));
        }
        if typed.is_set("version") {
            return Err(Stop::Version(crate::version::text()));
        }
        typed.judge()?;
        Ok(typed)
    }

    /// The text of a flag, if it was given.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        debug_assert!(FLAGS.iter().any(|flag| flag.name == name), "there is no flag {name}");
        self.values.get(name).map(|given| given.value.as_str())
    }

    /// The error for a text that can't be read: a slip of the command line has another exit code than
    /// one of the environment.
    pub(super) fn invalid(&self, name: &str, value: &str) -> Stop {
        match self.values.get(name) {
            Some(Given { source: Source::Environment, .. }) => Stop::Refused(format!(
                "invalid value {value:?} for {}: parse error",
                flags::variable(name)
            )),
            Some(Given { source: Source::File, .. }) => Stop::Refused(format!(
                "invalid value {value:?} for {name} in the configuration file: parse error"
            )),
            _ => Stop::Usage(format!("invalid value {value:?} for flag -{name}: parse error")),
        }
    }

    fn is_set(&self, switch: &str) -> bool {
        self.get(switch) == Some("true")
    }

    fn read_arguments(&mut self, arguments: impl IntoIterator<Item = String>) -> Result<(), Stop> {
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            // A lone dash and anything that does not begin with one end the flags; so do two dashes.
            let Some(stripped) = argument.strip_prefix('-').filter(|rest| !rest.is_empty()) else {
                return Err(stray(&argument));
            };
            if stripped == "-" {
                return arguments.next().map_or(Ok(()), |argument| Err(stray(&argument)));
            }
            let stripped = stripped.strip_prefix('-').unwrap_or(stripped);
            if stripped.starts_with(['-', '=']) {
                return Err(Stop::Usage(format!("bad flag syntax: {argument}")));
            }
            let (name, value) = match stripped.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (stripped, None),
            };
            let flag = flags::find(name)
                .ok_or_else(|| Stop::Usage(format!("flag provided but not defined: -{name}")))?;
            let value = match (flag.kind, value) {
                (Kind::Value | Kind::Duration, Some(value)) => value,
                (Kind::Value | Kind::Duration, None) => arguments
                    .next()
                    .ok_or_else(|| Stop::Usage(format!("flag needs an argument: -{name}")))?,
                (Kind::Switch, None) => "true".to_owned(),
                (Kind::Switch, Some(value)) => boolean(&value).ok_or_else(|| {
                    Stop::Usage(format!("invalid boolean value {value:?} for -{name}: parse error"))
                })?,
            };
            self.values.insert(flag.name, Given { value, source: Source::CommandLine });
        }
        Ok(())
    }

    /// The configuration file, if there is one to read: nobody who asks for help has to have it.
    fn config_file(&self, environment: &[(String, String)]) -> Option<String> {
        if self.is_set("help") || self.is_set("version") {
            return None;
        }
        let variable = environment.iter().find(|(name, _)| name == "ETCD_CONFIG_FILE");
        let named = self.get("config-file").or(variable.map(|(_, path)| path.as_str()));
        named.filter(|path| !path.is_empty()).map(str::to_owned)
    }

    /// Where there is a configuration file nothing else counts, as in etcd. What is passed over by that is told.
    fn read_file(&mut self, path: &str, environment: &[(String, String)]) -> Result<(), Stop> {
        let settings = file::read(path)
            .map_err(|why| Stop::Refused(format!("the configuration file {path}: {why}")))?;
        let flags = self.values.keys().map(|name| format!("--{name}"));
        let variables = environment.iter().map(|(name, _)| name.clone());
        let variables = variables.filter(|name| name.starts_with("ETCD_"));
        let passed_over = flags.chain(variables);
        self.warnings = passed_over
            .filter(|name| name != "--config-file" && name != "ETCD_CONFIG_FILE")
            .map(|name| format!("{name} has no effect beside the configuration file"))
            .collect();
        self.values = settings
            .into_iter()
            .map(|(flag, value)| (flag.name, Given { value, source: Source::File }))
            .collect();
        Ok(())
    }

    /// A variable whose flag is on the command line is fatal: of two wills, one would lose in silence.
    fn read_environment(
        &mut self,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), Stop> {
        let mut variables: Vec<_> =
            environment.into_iter().filter(|(name, _)| name.starts_with("ETCD_")).collect();
        variables.sort();
        let mut found = Vec::new();
        for (variable, value) in variables {
            let name = variable["ETCD_".len()..].to_ascii_lowercase().replace('_', "-");
            let flag = flags::find(&name)
                .filter(|flag| !matches!(flag.name, "help" | "version"))
                .filter(|_| flags::variable(&name) == variable);
            let Some(flag) = flag else {
                if variable != "ETCD_UNSUPPORTED_ARCH" {
                    // Not its value: a misspelt variable may hold a password.
                    self.warnings.push(format!("unrecognized environment variable {variable}"));
                }
                continue;
            };
            if self.values.contains_key(flag.name) {
                return Err(Stop::Refused(format!(
                    "conflicting environment variable {variable:?} is shadowed by corresponding \
                     command-line flag (either unset environment variable or disable flag)"
                )));
            }
            // Set to nothing is how many shells and images say "not set".
            if value.is_empty() {
                continue;
            }
            let value = match flag.kind {
                Kind::Value | Kind::Duration => value,
                Kind::Switch => boolean(&value).ok_or_else(|| {
                    Stop::Refused(format!("invalid value {value:?} for {variable}: parse error"))
                })?,
            };
            found.push((flag.name, Given { value, source: Source::Environment }));
        }
        self.values.extend(found);
        Ok(())
    }

    /// Refuses what is missing here, and warns of what has no effect.
    fn judge(&mut self) -> Result<(), Stop> {
        for (name, Given { value, .. }) in &self.values {
            let flag = flags::find(name).expect("only flags that were found are kept");
            match flag.standing {
                Standing::Used(_) => {}
                Standing::Only(values, _) if values.iter().any(|it| flag.means(value, it)) => {}
                Standing::Only(values, missing) => {
                    return Err(Stop::Refused(format!(
                        "--{name}={value} is not supported yet: {missing} (accepted: {})",
                        values.join(", ")
                    )));
                }
                Standing::Refused(missing) => {
                    return Err(Stop::Refused(format!("--{name} is not supported yet: {missing}")));
                }
                Standing::Ignored => {
                    self.warnings.push(format!("--{name} has no effect"));
                }
            }
        }
        Ok(())
    }
}

fn stray(argument: &str) -> Stop {
    Stop::Refused(format!("{argument:?} is not a valid flag"))
}
