//! The lines that scripts wait for.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use quorate_server::Log;
use quorate_server::log::Level;

use crate::cluster::Cluster;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<String>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("whole").push_str(std::str::from_utf8(bytes).expect("text"));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_life_in_lines() {
    let lines = Lines::default();
    let log = Log::new(Level::Info, lines.clone());
    let mut cluster = Cluster::start_logging(1, &log).await;
    let id = format!("{:x}", cluster.member_id(0));
    cluster.stop(0).await;
    log.flush();
    let text = lines.0.lock().expect("whole").clone();
    let mut rest = &text[..];
    for part in [
        "\"msg\":\"starting the member\",\"name\":\"m0\"".to_owned(),
        format!("raft.node: {id} elected leader {id} at term "),
        "\"msg\":\"published local member to cluster through raft\"".to_owned(),
        "\"msg\":\"ready to serve client requests\"".to_owned(),
        "serving client traffic insecurely".to_owned(),
        "\"msg\":\"closed etcd server\"".to_owned(),
    ] {
        let at = rest.find(&part).unwrap_or_else(|| panic!("no {part} in order in\n{text}"));
        rest = &rest[at + part.len()..];
    }
    assert!(text.lines().all(|line| line.starts_with("{\"level\":\"info\",\"ts\":\"20")));
    assert!(text.lines().all(|line| line.ends_with('}')));
}
