//! Runs one step of the session, with all that it wants to see and do while its command runs.

use std::fmt::Write as _;
use std::io::{self, Read, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::blank::blank;
use super::session::{Act, Step};
use super::{Subject, wire};
use crate::checks::cluster::signal;

/// How long a step waits for what must come.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long an output does not grow after its last event is there before it counts as complete:
/// etcdctl writes an event in several pieces.
const QUIET: Duration = Duration::from_millis(100);

/// A program, and the flags that all its commands get.
#[derive(Clone, Copy)]
pub(super) struct Etcdctl<'a> {
    pub(super) program: &'a Path,
    /// How endpoints begin.
    pub(super) scheme: &'a str,
    pub(super) format: &'a str,
}

impl Etcdctl<'_> {
    /// What a command printed and how it ended, without what names a cluster or a moment.
    pub(super) fn execute(self, step: &Step, subject: &Subject) -> io::Result<String> {
        let mut command = self.start(step, subject)?;
        for act in step.acts {
            match act {
                Act::Type(line) => command.type_line(line)?,
                Act::Run(line) => {
                    let step = Step { line, input: "", acts: &[] };
                    let told = Etcdctl { format: "simple", ..self }.execute(&step, subject)?;
                    let _ = write!(command.meanwhile, "{line}: {told}");
                }
                Act::Watchers(count) => {
                    command.wait_until(act, || Ok(watchers(subject)? == *count))?;
                }
                Act::Events(count) => {
                    let output = command.output.clone();
                    command.wait_until(act, || {
                        let output = output.lock().expect("no reader panics");
                        Ok(events(&output, self.format) >= *count)
                    })?;
                }
                Act::Output(text) => {
                    let output = command.output.clone();
                    command.wait_until(act, || {
                        let output = output.lock().expect("no reader panics");
                        Ok(String::from_utf8_lossy(&output).contains(text) && !output.is_empty())
                    })?;
                }
                Act::Interrupt => {
                    command.wait_until_quiet()?;
                    if command.process.try_wait()?.is_none() {
                        signal(command.process.id(), "INT")?;
                    }
                }
            }
        }
        let told = command.end(step, self.format, subject)?;
        if !step.acts.is_empty() {
            // The next step counts from none again.
            let patience = Instant::now() + PATIENCE;
            while watchers(subject)? > 0 && Instant::now() < patience {
                thread::sleep(Duration::from_millis(10));
            }
        }
        Ok(told)
    }

    fn start(self, step: &Step, subject: &Subject) -> io::Result<Running> {
        let line = subject.names.in_line(step.line);
        let words = line.split(' ').map(|word| if word == "''" { "" } else { word });
        let mut process = Command::new(self.program)
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &subject.endpoints(self.scheme).join(","), "-w", self.format])
            .args(["--command-timeout", "10s"])
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if step.acts.is_empty() {
            let mut input = process.stdin.take().expect("it was asked for");
            input.write_all(step.input.as_bytes())?;
        }
        let (output, output_reader) = collect(process.stdout.take().expect("it was asked for"));
        let (error, error_reader) = collect(process.stderr.take().expect("it was asked for"));
        let readers = vec![output_reader, error_reader];
        Ok(Running { process, output, readers, error, meanwhile: String::new() })
    }
}

/// A command that runs.
struct Running {
    process: Child,
    output: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<io::Result<()>>>,
    error: Arc<Mutex<Vec<u8>>>,
    /// What other commands printed in the meantime.
    meanwhile: String,
}

impl Running {
    fn type_line(&mut self, line: &str) -> io::Result<()> {
        let input = self.process.stdin.as_mut().expect("it is open until the end");
        match writeln!(input, "{line}") {
            // It has ended already, and how it did is compared.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    fn wait_until(
        &mut self,
        act: &Act,
        mut reached: impl FnMut() -> io::Result<bool>,
    ) -> io::Result<()> {
        let patience = Instant::now() + PATIENCE;
        while self.process.try_wait()?.is_none() && !reached()? {
            if Instant::now() > patience {
                let _ = writeln!(self.meanwhile, "waited in vain for {act:?}");
                return Ok(());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn wait_until_quiet(&self) -> io::Result<()> {
        let length = || self.output.lock().expect("no reader panics").len();
        let (mut last, mut since) = (length(), Instant::now());
        while since.elapsed() < QUIET {
            thread::sleep(Duration::from_millis(10));
            if length() != last {
                (last, since) = (length(), Instant::now());
            }
        }
        Ok(())
    }

    fn end(mut self, step: &Step, format: &str, subject: &Subject) -> io::Result<String> {
        drop(self.process.stdin.take());
        let patience = Instant::now() + 2 * PATIENCE;
        let status = loop {
            if let Some(status) = self.process.try_wait()? {
                break status;
            }
            if Instant::now() > patience {
                self.process.kill()?;
                self.process.wait()?;
                return Ok(format!("{} does not end", step.line));
            }
            thread::sleep(Duration::from_millis(1));
        };
        for reader in self.readers {
            reader.join().expect("no reader panics")?;
        }
        let text = |bytes: &[u8]| blank(step.line, &String::from_utf8_lossy(bytes), &subject.names);
        let output = self.output.lock().expect("no reader panics");
        let printed = match format {
            "protobuf" => text(protobuf(&output, subject.names.cluster_id).as_bytes()),
            _ => text(&output),
        };
        // The last line is the error; the ones before are the client's own log of its attempts.
        let error = text(&self.error.lock().expect("no reader panics"));
        let error = error.trim_end().lines().last().unwrap_or_default();
        let (meanwhile, code) = (self.meanwhile, status.code());
        Ok(format!("code {code:?}\n{meanwhile}{printed}error: {error}\n"))
    }
}

/// Reads a pipe to its end, for whoever wants to look meanwhile.
fn collect(mut pipe: impl Read + Send + 'static) -> (Arc<Mutex<Vec<u8>>>, Reader) {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let shared = bytes.clone();
    let reader = thread::spawn(move || {
        let mut piece = [0; 4096];
        loop {
            let length = pipe.read(&mut piece)?;
            if length == 0 {
                return Ok(());
            }
            shared.lock().expect("nobody panics with it").extend_from_slice(&piece[..length]);
        }
    });
    (bytes, reader)
}

type Reader = JoinHandle<io::Result<()>>;

/// The protobuf form in words: lines that are text in every format, then the messages.
fn protobuf(output: &[u8], cluster_id: u64) -> String {
    const NOTES: [&[u8]; 2] = [b"progress notify: ", b"\"x\""];
    let mut bytes = output.to_vec();
    let mut notes = String::new();
    for note in NOTES {
        while let Some(start) = bytes.windows(note.len()).position(|window| window == note) {
            let length = bytes[start..].iter().take_while(|&&byte| byte != b'\n').count();
            let end = (start + length + 1).min(bytes.len());
            notes += &String::from_utf8_lossy(&bytes.drain(start..end).collect::<Vec<_>>());
        }
    }
    match wire::describe(&bytes, cluster_id) {
        Some(message) => format!("{notes}{message}\n"),
        None => format!("{notes}{}", String::from_utf8_lossy(&bytes)),
    }
}

/// How many events of a watch an output has.
fn events(output: &[u8], format: &str) -> usize {
    let text = String::from_utf8_lossy(output);
    match format {
        "json" => text.matches("\"kv\":{").count(),
        "fields" => text.lines().filter(|line| line.starts_with("\"Type\"")).count(),
        "protobuf" => wire::count(output, 11),
        _ => text.lines().filter(|line| matches!(*line, "PUT" | "DELETE")).count(),
    }
}

/// How many watchers the members have, by their own account: a gauge, which may be below zero for a moment.
fn watchers(subject: &Subject) -> io::Result<i64> {
    let mut watchers = 0;
    for endpoint in subject.endpoints("") {
        let mut stream = TcpStream::connect(&endpoint)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {endpoint}\r\nConnection: close\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix("etcd_debugging_mvcc_watcher_total "))
            .ok_or_else(|| io::Error::other(format!("{endpoint} does not count watchers")))?;
        watchers += line.trim().parse::<i64>().map_err(|error| {
            io::Error::other(format!("{endpoint} has {line:?} watchers: {error}"))
        })?;
    }
    Ok(watchers)
}
