//! The secrets that members share to authenticate what they say to one another, and the file that holds them.
//!
//! Each line of the file is a secret: the first is the one this member speaks with, and it hears whoever knows any of
//! them. To change the secret of a cluster without a pause, therefore: add the new one as the last line on all members,
//! then move it to the first line on all, then remove the old one on all. The file is read anew for each connection
//! that is made, so no member has to be restarted; as long as it can't be read or makes no sense, the last secrets that
//! did stay.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use zeroize::Zeroizing;

/// The shortest secret, in bytes: as long as the tags that are made with it.
pub const SECRET_BYTES_MIN: usize = 32;

/// The longest secret, in bytes.
const SECRET_BYTES_MAX: usize = 1024;

/// The most secrets: one in use, one that comes, one that goes, and a mistake.
const SECRETS_MAX: usize = 4;

/// The most that is read of a file, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 10;

/// The fewest different bytes of a secret that can have been drawn at random.
const DISTINCT_BYTES_MIN: usize = 10;

/// A secret. It can't be printed, and is wiped from memory when it goes.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// A secret of these bytes.
    ///
    /// # Errors
    /// If it has fewer than [`SECRET_BYTES_MIN`] bytes or more than 1024, or so few different ones that nobody can have
    /// drawn it at random.
    pub fn new(bytes: &[u8]) -> Result<Self, WeakSecret> {
        let mut seen = [false; 256];
        for byte in bytes {
            seen[usize::from(*byte)] = true;
        }
        let distinct = seen.iter().filter(|seen| **seen).count();
        if bytes.len() < SECRET_BYTES_MIN {
            Err(WeakSecret("it has fewer than 32 bytes"))
        } else if bytes.len() > SECRET_BYTES_MAX {
            Err(WeakSecret("it has more than 1024 bytes"))
        } else if distinct < DISTINCT_BYTES_MIN {
            Err(WeakSecret("it repeats the same few characters"))
        } else {
            Ok(Self(Zeroizing::new(bytes.to_vec())))
        }
    }

    /// Only for those who derive keys from it.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Why bytes are no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeakSecret(&'static str);

impl fmt::Display for WeakSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for WeakSecret {}

/// What happened to the file of the secrets after the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretsEvent {
    /// It was changed, and holds so many secrets now.
    ReadAnew(usize),
    /// It can't be used as it is now, and the secrets that were there before stay. Told once for each cause in a row.
    Kept(String),
    /// Others than its owner may read it or write to it.
    Exposed(PathBuf),
}

impl fmt::Display for SecretsEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadAnew(count) => {
                write!(f, "the shared secrets of peers were read anew: {count}")
            }
            Self::Kept(why) => write!(f, "the shared secrets of peers stay as they were: {why}"),
            Self::Exposed(path) => write!(
                f,
                "{} holds the shared secrets of peers, and others than its owner may use it: chmod 600",
                path.display()
            ),
        }
    }
}

/// The secrets of a cluster: never none.
pub struct Secrets {
    source: Option<Source>,
    known: Mutex<Known>,
}

/// Where they come from.
struct Source {
    path: PathBuf,
    tell: Box<dyn Fn(&SecretsEvent) + Send + Sync>,
}

struct Known {
    /// What was read last and made sense.
    text: Zeroizing<Vec<u8>>,
    secrets: Arc<[Secret]>,
    /// Why they were kept, as it was told.
    kept: Option<String>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

impl Secrets {
    /// Secrets that stay as they are: the one to speak with, and further ones that are heard.
    #[must_use]
    pub fn fixed(first: Secret, others: impl IntoIterator<Item = Secret>) -> Self {
        let secrets = std::iter::once(first).chain(others).collect();
        let known = Known { text: Zeroizing::default(), secrets, kept: None };
        Self { source: None, known: Mutex::new(known) }
    }

    /// Those in a file, which is read anew for each connection. `tell` hears of it from any thread, and must not block.
    ///
    /// # Errors
    /// If the file can't be read or holds no secrets that can be used, with the reason and without anything of what it
    /// holds.
    pub fn open(
        path: impl Into<PathBuf>,
        tell: impl Fn(&SecretsEvent) + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let path = path.into();
        let (text, is_exposed) = read(&path)?;
        let secrets = parse(&text).map_err(|why| format!("{}: {why}", path.display()))?;
        if is_exposed {
            tell(&SecretsEvent::Exposed(path.clone()));
        }
        let source = Some(Source { path, tell: Box::new(tell) });
        Ok(Self { source, known: Mutex::new(Known { text, secrets, kept: None }) })
    }

    /// Those that count now, the one to speak with first.
    pub(super) fn now(&self) -> Arc<[Secret]> {
        // Whole after a panic elsewhere: every change is an assignment of what is whole.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(source) = &self.source else { return Arc::clone(&known.secrets) };
        match read(&source.path) {
            Ok((text, _)) if text == known.text => known.kept = None,
            Ok((text, is_exposed)) => match parse(&text) {
                Ok(secrets) => {
                    (source.tell)(&SecretsEvent::ReadAnew(secrets.len()));
                    if is_exposed {
                        (source.tell)(&SecretsEvent::Exposed(source.path.clone()));
                    }
                    *known = Known { text, secrets, kept: None };
                }
                Err(why) => known.keep(source, format!("{}: {why}", source.path.display())),
            },
            Err(why) => known.keep(source, why),
        }
        Arc::clone(&known.secrets)
    }
}

impl Known {
    fn keep(&mut self, source: &Source, why: String) {
        if self.kept.as_ref() != Some(&why) {
            (source.tell)(&SecretsEvent::Kept(why.clone()));
            self.kept = Some(why);
        }
    }
}

/// What a file holds, and whether others than its owner may use it.
fn read(path: &Path) -> Result<(Zeroizing<Vec<u8>>, bool), String> {
    let at = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = File::open(path).map_err(at)?;
    let metadata = file.metadata().map_err(at)?;
    if !metadata.is_file() {
        // A pipe could keep us waiting, and would give its secrets to the first who asks only.
        return Err(format!("{}: not a file", path.display()));
    }
    // All of it at once: a vector that grows leaves copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX as usize + 1));
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(at)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("{}: more than {FILE_BYTES_MAX} bytes", path.display()));
    }
    Ok((text, metadata.mode() & 0o077 != 0))
}

/// The secrets in the text of a file. Empty lines, and those that begin with `#`, are none.
pub(crate) fn parse(text: &[u8]) -> Result<Arc<[Secret]>, String> {
    let mut secrets = Vec::new();
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let line = line.trim_ascii();
        if line.is_empty() || line[0] == b'#' {
            continue;
        }
        if !line.iter().all(u8::is_ascii_graphic) {
            return Err(format!(
                "line {number} is no secret: it has other than printable characters; \
                 `openssl rand -base64 48` makes a good one"
            ));
        }
        let secret = Secret::new(line).map_err(|why| {
            format!("line {number} is no secret: {why}; `openssl rand -base64 48` makes a good one")
        })?;
        secrets.push(secret);
    }
    match secrets.len() {
        0 => Err("there is no secret in it; `openssl rand -base64 48` makes one".to_owned()),
        1..=SECRETS_MAX => Ok(secrets.into()),
        _ => Err(format!("there are more than {SECRETS_MAX} secrets in it")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::mpsc;

    use super::*;

    const OLD: &str = "0123456789abcdefghijklmnopqrstuv";
    const NEW: &str = "vutsrqponmlkjihgfedcba9876543210";

    fn texts(secrets: &[Secret]) -> Vec<&str> {
        secrets.iter().map(|secret| str::from_utf8(secret.bytes()).unwrap()).collect()
    }

    #[test]
    fn a_secret_is_long_and_not_the_same_few_characters() {
        assert!(Secret::new(OLD.as_bytes()).is_ok());
        assert!(Secret::new(&OLD.as_bytes()[1..]).is_err());
        assert!(Secret::new(&[b'a'; 64]).is_err());
        assert!(Secret::new("12345678".repeat(8).as_bytes()).is_err());
        assert!(Secret::new(OLD.repeat(32).as_bytes()).is_ok());
        assert!(Secret::new(OLD.repeat(33).as_bytes()).is_err());
    }

    #[test]
    fn each_line_is_a_secret_and_remarks_are_none() {
        let parsed = parse(format!("# the new one\n\n  {NEW}\r\n{OLD}").as_bytes()).ok().unwrap();
        assert_eq!(texts(&parsed), [NEW, OLD]);
        let many = [OLD; SECRETS_MAX + 1].join("\n");
        for bad in
            ["", "# nothing", "short", &format!("{OLD}\nshort"), &format!("{OLD} {NEW}"), &many]
        {
            let why = parse(bad.as_bytes()).err().expect("no secrets");
            assert!(!why.contains("short") && !why.contains(OLD), "{why}");
        }
        assert!(parse(&[0xff; 40]).is_err());
    }

    #[test]
    fn a_file_is_read_anew_and_what_makes_no_sense_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets");
        let (sender, told) = mpsc::channel();
        let tell = move |event: &SecretsEvent| sender.send(event.clone()).unwrap();
        let open = || Secrets::open(&path, tell.clone());
        assert!(open().unwrap_err().contains("secrets"));
        fs::write(&path, "short").unwrap();
        assert!(open().unwrap_err().contains("line 1"));
        fs::write(&path, OLD).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let secrets = open().unwrap();
        assert_eq!(texts(&secrets.now()), [OLD]);
        assert!(told.try_recv().is_err(), "nothing is to be told");

        fs::write(&path, [NEW, OLD].join("\n")).unwrap();
        assert_eq!(texts(&secrets.now()), [NEW, OLD]);
        assert_eq!(told.try_recv(), Ok(SecretsEvent::ReadAnew(2)));

        fs::write(&path, "short").unwrap();
        assert_eq!(texts(&secrets.now()), [NEW, OLD]);
        assert!(matches!(told.try_recv(), Ok(SecretsEvent::Kept(_))));
        assert_eq!(texts(&secrets.now()), [NEW, OLD]);
        assert!(told.try_recv().is_err(), "it is told once");
        fs::remove_file(&path).unwrap();
        assert_eq!(texts(&secrets.now()), [NEW, OLD]);
        assert!(matches!(told.try_recv(), Ok(SecretsEvent::Kept(_))));

        fs::write(&path, NEW).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(texts(&secrets.now()), [NEW]);
        assert_eq!(told.try_recv(), Ok(SecretsEvent::ReadAnew(1)));
        assert_eq!(told.try_recv(), Ok(SecretsEvent::Exposed(path.clone())));
    }

    #[test]
    fn what_is_no_file_or_too_large_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Secrets::open(folder.path(), |_| {}).is_err());
        let path = folder.path().join("secrets");
        fs::write(&path, vec![b'#'; FILE_BYTES_MAX as usize + 1]).unwrap();
        assert!(Secrets::open(&path, |_| {}).unwrap_err().contains("more than"));
    }
}
