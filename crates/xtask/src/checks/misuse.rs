//! Bad input to real processes: each gets a clear error, nothing panics, and nothing is lost.

mod repair;

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use quorate_proto::etcdserverpb::RangeRequest;
use tonic::Code;

use crate::checks::client::Client;
use crate::checks::cluster::{Cluster, Program, tells_of_a_panic};
use crate::checks::crash::{Written, leader, verify, wait_for_leader};
use crate::checks::dice::Dice;

/// Runs everything. Speaks of Quorate only: etcd's answers to garbage are its own affair.
pub(crate) fn run() -> io::Result<()> {
    let Program::Quorate(binary) = Program::quorate()? else {
        return Err(io::Error::other("this check is about quorate"));
    };
    let mut cluster =
        Cluster::start(Program::Quorate(binary.clone()), 3, &["--log-level", "info"])?;
    let runtime = tokio::runtime::Runtime::new()?;
    // Connections are made on it.
    let _entered = runtime.enter();
    runtime.block_on(wait_for_leader(&cluster))?;
    let mut acknowledged = Written::new();
    let client = Client::new(&cluster.endpoint(0), Duration::from_secs(20));
    let revision = runtime.block_on(client.put("crash/kept", "x")).map_err(io::Error::other)?;
    acknowledged.insert("crash/kept".to_owned(), ("x".to_owned(), revision));

    start_up(&binary, &cluster)?;
    strangers(&binary, &cluster)?;
    runtime.block_on(requests(&client))?;
    garbage(&cluster)?;
    runtime.block_on(wait_for_leader(&cluster))?;
    runtime.block_on(verify(&cluster, &acknowledged))?;
    cluster.demand_alive()?;
    hand_over(&mut cluster, &runtime)?;
    repair::run(&binary, &runtime)?;
    cluster.demand_no_panic()?;
    println!("misuse: every mistake has its message, and nothing was lost");
    Ok(())
}

/// Flags of a member that finds everything in order but this data directory.
fn on(data_dir: &str) -> [&str; 8] {
    const ANY: &str = "http://127.0.0.1:0";
    [
        "--data-dir",
        data_dir,
        "--listen-client-urls",
        ANY,
        "--advertise-client-urls",
        ANY,
        "--listen-peer-urls",
        ANY,
    ]
}

/// A directory with these files; its path.
fn directory(parent: &Path, name: &str, files: &[(&str, &[u8])]) -> io::Result<String> {
    let folder = parent.join(name);
    for (file, content) in files {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().expect("it is in a folder"))?;
        fs::write(path, content)?;
    }
    Ok(folder.to_string_lossy().into_owned())
}

/// Command lines that must fail, with what they must say.
fn start_up(binary: &Path, cluster: &Cluster) -> io::Result<()> {
    let (host, peer) = cluster.peer_address(0);
    let taken = format!("http://{host}:{peer}");
    let folder = cluster.data(0).with_file_name("misuse");
    fs::create_dir_all(&folder)?;
    let file = folder.join("a-file");
    fs::write(&file, "not a folder")?;
    let file = file.to_string_lossy().into_owned();
    let data = folder.join("data").to_string_lossy().into_owned();
    // Data that a running member uses, data without an owner, and two kinds of garbage.
    let used = cluster.data(0).to_string_lossy().into_owned();
    let nobodys = directory(&folder, "nobodys", &[("wal/1", b"x")])?;
    let unreadable = directory(&folder, "unreadable", &[("identity", b"garbage")])?;
    let identity = fs::read(cluster.data(0).join("identity"))?;
    let contents: [(&str, &[u8]); 2] = [("identity", &identity), ("store/generation", b"garbage")];
    let damaged = directory(&folder, "damaged", &contents)?;
    let cases: &[(&[&str], Option<i32>, &str)] = &[
        (&["--no-such-flag"], Some(2), "no-such-flag"),
        (&["--data-dir", &data, "stray"], Some(1), "is not a valid flag"),
        (&["--data-dir", &data, "--heartbeat-interval", "soon"], None, "heartbeat-interval"),
        (
            &["--data-dir", &data, "--listen-client-urls", "http://127.0.0.1:0"],
            Some(1),
            "--advertise-client-urls is required",
        ),
        (
            &["--data-dir", &data, "--name", "x", "--initial-cluster", "y=http://127.0.0.1:1"],
            Some(1),
            "couldn't find local name",
        ),
        (
            &[
                "--data-dir",
                &data,
                "--listen-peer-urls",
                &taken,
                "--initial-advertise-peer-urls",
                &taken,
                "--initial-cluster",
                &format!("default={taken}"),
                "--listen-client-urls",
                "http://127.0.0.1:0",
                "--advertise-client-urls",
                "http://127.0.0.1:0",
            ],
            Some(1),
            "ddress",
        ),
        (&["--data-dir", &file], Some(1), "a-file"),
        // Nobody, not even root, may write there.
        (&["--data-dir", "/proc/quorate"], Some(1), "can't write /proc/quorate/identity"),
        (&on(&used), Some(1), "this store is in use"),
        (&on(&nobodys), Some(1), "the data directory is damaged"),
        (&on(&unreadable), Some(1), "identity is damaged; the member can't start"),
        (&on(&damaged), Some(1), "there is no log in"),
        (
            &["--data-dir", &data, "--cert-file", "x.pem"],
            Some(1),
            "KeyFile and CertFile must both be present",
        ),
    ];
    for (flags, code, text) in cases {
        let mut process = Command::new(binary)
            .arg("server")
            .args(*flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let patience = Instant::now() + Duration::from_secs(20);
        while process.try_wait()?.is_none() {
            if Instant::now() > patience {
                process.kill()?;
                process.wait()?;
                return Err(io::Error::other(format!("{flags:?} was taken for good")));
            }
            thread::sleep(Duration::from_millis(20));
        }
        let output = process.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let right = match code {
            Some(code) => output.status.code() == Some(*code),
            None => matches!(output.status.code(), Some(1 | 2)),
        };
        if !right || !said.contains(text) || tells_of_a_panic(&said) {
            return Err(io::Error::other(format!(
                "{flags:?} ends with {} and says:\n{said}\nexpected {code:?} and {text:?}",
                output.status
            )));
        }
    }
    println!("misuse: {} command lines are refused with a reason", cases.len());
    Ok(())
}

/// What a member says of another that is not of its cluster, and is told by it.
const STRANGER: &str = "the other side belongs to cluster";

/// Members that take each other for members of one cluster and are not. All of them say so; none of
/// them serves clients, and the cluster that is there goes on.
fn strangers(binary: &Path, cluster: &Cluster) -> io::Result<()> {
    let listeners: Vec<TcpListener> =
        (0..6).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<io::Result<_>>()?;
    let urls: Vec<String> = listeners
        .iter()
        .map(|listener| Ok(format!("http://{}", listener.local_addr()?)))
        .collect::<io::Result<_>>()?;
    drop(listeners);
    let folder = cluster.data(0).with_file_name("strangers");
    fs::create_dir_all(&folder)?;
    let (host, port) = cluster.peer_address(1);
    // Two with the same list and different tokens, and one that has a member of the cluster in its
    // list, which does not have it.
    let pair = format!("x={},y={}", urls[1], urls[3]);
    let intruder = format!("z={},m2=http://{host}:{port}", urls[5]);
    let members = [
        ("x", &urls[0], &urls[1], &pair, "one"),
        ("y", &urls[2], &urls[3], &pair, "two"),
        ("z", &urls[4], &urls[5], &intruder, "check"),
    ];
    let mut processes = Vec::new();
    for (name, client, peer, list, token) in members {
        let log = folder.join(format!("{name}.log"));
        let process = Command::new(binary)
            .args(["server", "--name", name])
            .args(["--data-dir", &folder.join(name).to_string_lossy()])
            .args(["--listen-client-urls", client, "--advertise-client-urls", client])
            .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
            .args(["--initial-cluster", list, "--initial-cluster-token", token])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()?;
        processes.push((process, log));
    }
    let all_said = |logs: &[String]| logs.iter().all(|log| log.contains(STRANGER));
    let patience = Instant::now() + Duration::from_secs(30);
    let mut logs = Vec::new();
    while Instant::now() < patience && !(logs.len() == 4 && all_said(&logs)) {
        thread::sleep(Duration::from_millis(50));
        logs = processes
            .iter()
            .map(|(_, log)| Ok(String::from_utf8_lossy(&fs::read(log)?).into_owned()))
            .collect::<io::Result<_>>()?;
        logs.push(cluster.log(1));
    }
    let mut ended = false;
    for (process, _) in &mut processes {
        ended |= process.try_wait()?.is_some();
        process.kill()?;
        process.wait()?;
    }
    let served = logs[..3].iter().any(|log| log.contains("ready to serve client requests"));
    if ended || served || !all_said(&logs) || logs.iter().any(|log| tells_of_a_panic(log)) {
        let logs = logs.join("\n---\n");
        return Err(io::Error::other(format!("members of different clusters say:\n{logs}")));
    }
    println!("misuse: members with another token or of another cluster are refused on both sides");
    Ok(())
}

/// Requests that must fail, with etcd's codes and texts.
async fn requests(client: &Client) -> io::Result<()> {
    let large = vec![b'x'; 1_600_000];
    let huge = vec![b'x'; 3_000_000];
    let revision = client.put("compacted", "x").await.map_err(io::Error::other)?;
    client.compact(revision).await.map_err(io::Error::other)?;
    let range =
        |revision| RangeRequest { key: "crash/kept".into(), revision, ..RangeRequest::default() };
    let answers = [
        (
            client.put("", "x").await.map(drop),
            Code::InvalidArgument,
            "etcdserver: key is not provided",
        ),
        (
            client.put("k", large).await.map(drop),
            Code::InvalidArgument,
            "etcdserver: request is too large",
        ),
        (
            client.put("k", huge).await.map(drop),
            Code::ResourceExhausted,
            "grpc: received message larger than max",
        ),
        (
            client.range(range(i64::MAX)).await.map(drop),
            Code::OutOfRange,
            "etcdserver: mvcc: required revision is a future revision",
        ),
        (
            client.range(range(revision - 1)).await.map(drop),
            Code::OutOfRange,
            "etcdserver: mvcc: required revision has been compacted",
        ),
        (
            client.compact(revision).await,
            Code::OutOfRange,
            "etcdserver: mvcc: required revision has been compacted",
        ),
        (
            client.compact(i64::MAX).await,
            Code::OutOfRange,
            "etcdserver: mvcc: required revision is a future revision",
        ),
        (
            client.range(RangeRequest::default()).await.map(drop),
            Code::InvalidArgument,
            "etcdserver: key is not provided",
        ),
    ];
    let count = answers.len();
    for (answer, code, text) in answers {
        match answer {
            Err(status) if status.code() == code && status.message().starts_with(text) => {}
            other => {
                return Err(io::Error::other(format!("expected {code:?} {text:?}, got {other:?}")));
            }
        }
    }
    println!("misuse: {count} requests are refused as etcd refuses them");
    Ok(())
}

/// Garbage on the peer and the client ports of every member: random bytes, a good start with a bad
/// rest, a length that claims everything, and silence.
fn garbage(cluster: &Cluster) -> io::Result<()> {
    let mut dice = Dice::new(1, 0);
    let mut count = 0;
    for member in 0..cluster.len() {
        let client: u16 =
            cluster.endpoint(member).rsplit(':').next().map_or(0, |p| p.parse().unwrap_or(0));
        for port in [cluster.peer_address(member).1, client] {
            for length in [0, 1, 7, 64, 4096, 1 << 20] {
                let mut bytes: Vec<u8> = (0..length).map(|_| dice.roll(256) as u8).collect();
                if dice.roll(3) == 0 {
                    bytes.iter_mut().take(32).for_each(|byte| *byte = 0xff);
                }
                let mut stream = TcpStream::connect(("127.0.0.1", port))?;
                stream.set_read_timeout(Some(Duration::from_millis(100)))?;
                stream.set_write_timeout(Some(Duration::from_secs(1)))?;
                // The member may hang up in the middle, and should.
                let _ = stream.write_all(&bytes);
                let mut answer = [0; 256];
                let _ = stream.read(&mut answer);
                count += 1;
            }
        }
    }
    println!("misuse: {count} connections with garbage did no harm");
    Ok(())
}

/// A leader that is asked to end hands over, ends well, and comes back.
fn hand_over(cluster: &mut Cluster, runtime: &tokio::runtime::Runtime) -> io::Result<()> {
    let first =
        runtime.block_on(leader(cluster)).ok_or_else(|| io::Error::other("nobody leads"))?;
    let status = cluster.terminate(first)?;
    if status.and_then(|status| status.code()) != Some(0) {
        let log = cluster.log(first);
        return Err(io::Error::other(format!("SIGTERM ends the leader with {status:?}\n{log}")));
    }
    let start = Instant::now();
    let other = (first + 1) % cluster.len();
    let client = Client::new(&cluster.endpoint(other), Duration::from_secs(20));
    runtime.block_on(client.put("after", "x")).map_err(io::Error::other)?;
    println!(
        "misuse: SIGTERM ends the leader with code 0; the next write took {:.0} ms",
        start.elapsed().as_secs_f64() * 1e3
    );
    cluster.restart(first)?;
    runtime.block_on(wait_for_leader(cluster))
}
