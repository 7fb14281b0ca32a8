//! The rules of the command line and of what it may mean, as tables.

use super::*;

fn parse(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Config, Stop> {
    Config::parse(
        arguments.iter().map(ToString::to_string),
        environment.iter().map(|(name, value)| (name.to_string(), value.to_string())),
    )
}

fn texts(urls: &[Url]) -> Vec<&str> {
    urls.iter().map(Url::as_str).collect()
}

#[test]
fn defaults_are_those_of_etcd_but_for_compaction() {
    let config = parse(&[], &[]).expect("no flag is needed");
    assert_eq!(config.name, "default");
    assert_eq!(config.data_dir, PathBuf::from("default.etcd"));
    assert_eq!(texts(&config.listen_client), ["http://localhost:2379"]);
    assert_eq!(texts(&config.advertise_client), ["http://localhost:2379"]);
    assert_eq!(texts(&config.listen_peer), ["http://localhost:2380"]);
    assert_eq!(config.initial_cluster, "default=http://localhost:2380");
    assert_eq!(config.initial_witnesses, Vec::<String>::new());
    assert_eq!(config.initial_state, InitialState::New);
    assert_eq!(config.initial_token, "etcd-cluster");
    assert_eq!(config.zone, "");
    assert_eq!(config.leader_priority.get(), 1);
    assert_eq!(config.replace_failed_after, None);
    assert_eq!(config.heartbeat_interval, Duration::from_millis(100));
    assert_eq!(config.election_timeout, Duration::from_millis(1000));
    assert_eq!(config.election_policy, ElectionPolicy::Adaptive);
    assert_eq!(config.request_timeout(), Duration::from_secs(7));
    assert_eq!(config.quota, Quota { bytes: Some(2 << 30) });
    let day = Duration::from_secs(86_400);
    assert_eq!(config.auto_compaction, Some(AutoCompaction::Periodic(day)));
    assert_eq!(config.max_txn_ops, 128);
    assert_eq!(config.max_request_bytes, 1_572_864);
    assert_eq!(config.progress_interval, Duration::from_secs(600));
    assert_eq!(config.log_level, Level::Info);
    assert_eq!(config.warnings, Vec::<String>::new());
    assert_eq!(config.initial_cluster().expect("alone").members.len(), 1);
}

#[test]
fn memory_is_locked_where_that_is_asked_for() {
    let is_locked = |arguments: &[&str], environment: &[(&str, &str)]| {
        let config = parse(arguments, environment).expect("a switch");
        assert_eq!(config.warnings, Vec::<String>::new());
        config.memory_mlock
    };
    assert!(!is_locked(&[], &[]));
    assert!(!is_locked(&["--memory-mlock=false"], &[]));
    assert!(is_locked(&["--memory-mlock"], &[]));
    assert!(is_locked(&["--experimental-memory-mlock"], &[]));
    assert!(is_locked(&[], &[("ETCD_MEMORY_MLOCK", "1")]));
}

#[test]
fn memory_for_clients_is_a_quarter_unless_told_otherwise() {
    let limit = |flags: &[&str]| parse(flags, &[]).map(|config| config.client_limits.memory);
    assert_eq!(limit(&[]), Ok(MemoryLimit::Quarter));
    assert_eq!(limit(&["--client-memory-limit=0"]), Ok(MemoryLimit::None));
    let least = 8 * ((512 << 10) + 1_572_864);
    let flag = |bytes: usize| format!("--client-memory-limit={bytes}");
    assert_eq!(limit(&[&flag(least)]), Ok(MemoryLimit::Bytes(least)));
    let refused = limit(&[&flag(least - 1)]).expect_err("too little for anybody").to_string();
    assert!(refused.contains("is less than 16777216"), "{refused}");
    limit(&["--client-memory-limit=1G"]).expect_err("bytes");

    assert_eq!(MemoryLimit::Quarter.bytes(Some(8 << 30)), Some(2 << 30));
    assert_eq!(MemoryLimit::Quarter.bytes(Some(64 << 20)), Some(128 << 20), "at least");
    assert_eq!(MemoryLimit::Quarter.bytes(None), None);
    assert_eq!(MemoryLimit::Bytes(5).bytes(Some(8)), Some(5));
    assert_eq!(MemoryLimit::None.bytes(Some(8)), None);
}

#[test]
fn rates_are_off_unless_they_are_given() {
    let rates = |flags: &[&str]| parse(flags, &[]).map(|config| config.client_limits.rates);
    assert_eq!(rates(&[]), Ok(Rates::default()));
    assert_eq!(rates(&["--rate-limit-prefix="]), Ok(Rates::default()));
    let given = rates(&["--rate-limit-user=5", "--rate-limit-prefix=/a=b/=10/20,=3"]);
    let rate = |per_second, burst| Rate { per_second, burst };
    let prefixes = vec![("/a=b/".into(), rate(10, 20)), ("".into(), rate(3, 3))];
    assert_eq!(given, Ok(Rates { user: Some(rate(5, 5)), prefixes }));
    for wrong in ["0", "1/0", "-1", "1.5", "", "1/2/3", "much", "4294967296"] {
        rates(&["--rate-limit-user", wrong]).expect_err(wrong);
        rates(&["--rate-limit-prefix", &format!("a={wrong}")]).expect_err(wrong);
    }
    rates(&["--rate-limit-prefix=5"]).expect_err("no prefix");
    let many = |count| format!("--rate-limit-prefix={}", vec!["a=1"; count].join(","));
    assert_eq!(rates(&[&many(64)]).expect("as many as may be").prefixes.len(), 64);
    rates(&[&many(65)]).expect_err("one more");
}

#[test]
fn all_spellings_of_a_flag() {
    for arguments in [
        &["--name=n1"][..],
        &["--name", "n1"],
        &["-name", "n1"],
        &["-name=n1"],
        &["--name=n1", "--"],
    ] {
        let config = parse(arguments, &[]).expect("a name");
        assert_eq!(config.name, "n1", "{arguments:?}");
        assert_eq!(config.data_dir, PathBuf::from("n1.etcd"));
        assert_eq!(config.initial_cluster, "n1=http://localhost:2380");
    }
    // The last one counts, and a value may look like a flag.
    assert_eq!(parse(&["--name=a", "--name", "--b"], &[]).expect("a name").name, "--b");
}

#[test]
fn variables_stand_in_for_flags() {
    let config = parse(
        &["--name=n1"],
        &[("ETCD_ELECTION_TIMEOUT", "500"), ("ETCD_DATA_DIR", "/d"), ("ETCD_LOG_LEVEL", "")],
    )
    .expect("flags and variables");
    assert_eq!(config.election_timeout, Duration::from_millis(500));
    assert_eq!(config.data_dir, PathBuf::from("/d"));
    assert_eq!(config.log_level, Level::Info);
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn election_policies() {
    for (name, policy) in [
        ("adaptive", ElectionPolicy::Adaptive),
        ("backoff", ElectionPolicy::Backoff),
        ("fixed", ElectionPolicy::Fixed),
    ] {
        let config = parse(&["--election-policy", name], &[]).expect("a policy");
        assert_eq!(config.election_policy, policy);
    }
}

#[test]
fn leases_of_leaders_are_off_unless_a_drift_is_declared() {
    assert_eq!(parse(&[], &[]).expect("the defaults").leader_lease, None);
    let config = parse(&["--leader-lease-drift=500"], &[]).expect("a drift");
    assert_eq!(config.leader_lease, Some(Lease { drift_ppm: 500 }));
    for wrong in ["1000000", "-1", "0.1%", ""] {
        parse(&["--leader-lease-drift", wrong], &[]).expect_err("no drift, or all of it");
    }
}

#[test]
fn values() {
    let config = parse(
        &[
            "--quota-backend-bytes=-1",
            "--experimental-watch-progress-notify-interval=5s",
            "--grpc-keepalive-interval=0s",
            "--listen-client-urls=http://[::]:2379,http://127.0.0.1:1",
            "--advertise-client-urls=http://example.com:2379",
            "--pre-vote",
            "--client-cert-auth=F",
            "--log-level=warn",
            "--zone=eu-west-1/b",
            "--leader-priority=0",
            "--replace-failed-after=10m",
            "--initial-cluster=default=http://localhost:2380,w=http://w:1",
            "--initial-witnesses=w, ",
        ],
        &[("HOME", "/root")],
    )
    .expect("all supported");
    assert_eq!(config.quota, Quota { bytes: None });
    assert_eq!(config.progress_interval, Duration::from_secs(5));
    assert_eq!(config.keepalive_interval, None);
    assert_eq!(texts(&config.listen_client), ["http://127.0.0.1:1", "http://[::]:2379"]);
    assert_eq!(config.log_level, Level::Warn);
    assert_eq!(config.zone, "eu-west-1/b");
    assert_eq!(config.leader_priority.get(), 0);
    assert_eq!(config.replace_failed_after, Some(Duration::from_secs(600)));
    assert_eq!(config.initial_witnesses, ["w"]);
    let members = config.initial_cluster().expect("both are listed").members;
    let is_witness = |name: &str| members.iter().any(|it| it.name == name && it.is_witness);
    assert_eq!(["w", "default"].map(is_witness), [true, false]);
}

#[test]
fn warned_of() {
    for (arguments, environment, warning) in [
        (&["--max-wals=3"][..], &[][..], "--max-wals has no effect"),
        (&["--snapshot-count=10000"], &[], "--snapshot-count has no effect"),
        (&["--backend-batch-limit", "3"], &[], "--backend-batch-limit has no effect"),
        (&[], &[("ETCD_VERSION", "3")], "unrecognized environment variable ETCD_VERSION"),
        (
            &[],
            &[("ETCD_ROOT_PASSWORD", "s")],
            "unrecognized environment variable ETCD_ROOT_PASSWORD",
        ),
        (
            &["--quota-backend-bytes=8589934593"],
            &[],
            "--quota-backend-bytes exceeds the advised maximum of 8589934592",
        ),
        (
            &["--max-request-bytes=10485761"],
            &[],
            "--max-request-bytes exceeds the advised maximum of 10485760",
        ),
    ] {
        let config = parse(arguments, environment).expect(warning);
        assert_eq!(config.warnings, [warning], "{arguments:?} {environment:?}");
    }
}

#[test]
fn exit_code_2_for_a_slip_of_the_command_line() {
    for (arguments, message) in [
        (&["--nmae=x"][..], "flag provided but not defined: -nmae"),
        (&["--name"], "flag needs an argument: -name"),
        (&["---name=x"], "bad flag syntax: ---name=x"),
        (&["--=x"], "bad flag syntax: --=x"),
        (&["--pre-vote=maybe"], "invalid boolean value \"maybe\" for -pre-vote: parse error"),
        (
            &["--heartbeat-interval=1s"],
            "invalid value \"1s\" for flag -heartbeat-interval: parse error",
        ),
        (
            &["--watch-progress-notify-interval=5"],
            "invalid value \"5\" for flag -watch-progress-notify-interval: parse error",
        ),
        (&["--log-level=loud"], "invalid value \"loud\" for flag -log-level: parse error"),
        (
            &["--initial-cluster-state=old"],
            "invalid value \"old\" for flag -initial-cluster-state: parse error",
        ),
        (
            &["--election-policy=quick"],
            "invalid value \"quick\" for flag -election-policy: parse error",
        ),
    ] {
        let stop = parse(arguments, &[]).expect_err(message);
        assert_eq!(stop.exit_code(), 2, "{arguments:?}");
        let text = stop.to_string();
        assert!(text.starts_with(message), "{text}");
        assert!(text.contains("\nUsage: quorate"), "the usage follows");
    }
}

#[test]
fn exit_code_1_for_what_can_not_be_meant() {
    for (arguments, environment, message) in [
        (&["serve"][..], &[][..], "\"serve\" is not a valid flag"),
        (&["--pre-vote", "true"], &[], "\"true\" is not a valid flag"),
        (&["-"], &[], "\"-\" is not a valid flag"),
        (
            &["--zone=a b"],
            &[],
            "--zone=\"a b\" is not a word of at most 64 letters, digits and any of .-_:/+",
        ),
        (&["--leader-priority=1001"], &[], "--leader-priority=1001 is more than 1000"),
        (
            &["--replace-failed-after=1s"],
            &[],
            "--replace-failed-after=1s is less than two election timeouts",
        ),
        (
            &["--listen-metrics-urls=http://metrics:1"],
            &[],
            "expected IP in URL for binding (http://metrics:1)",
        ),
        (
            &["--enable-pprof"],
            &[],
            "--enable-pprof=true is not supported yet: profiling over HTTP (accepted: false)",
        ),
        (&["--", "--name"], &[], "\"--name\" is not a valid flag"),
        (
            &["--name=a"],
            &[("ETCD_NAME", "a")],
            "conflicting environment variable \"ETCD_NAME\" is shadowed by corresponding \
             command-line flag (either unset environment variable or disable flag)",
        ),
        (&[], &[("ETCD_PRE_VOTE", "no")], "invalid value \"no\" for ETCD_PRE_VOTE: parse error"),
        (
            &[],
            &[("ETCD_MAX_TXN_OPS", "-1")],
            "invalid value \"-1\" for ETCD_MAX_TXN_OPS: parse error",
        ),
        (
            &["--listen-client-urls=http://127.0.0.1:2379"],
            &[],
            "--advertise-client-urls is required when --listen-client-urls is set explicitly",
        ),
        (
            &["--listen-peer-urls=http://example.com:2380"],
            &[],
            "expected IP in URL for binding (http://example.com:2380)",
        ),
        (
            &["--listen-peer-urls=https://127.0.0.1:2380"],
            &[],
            "--initial-advertise-peer-urls=http://localhost:2380: with --peer-auth=tls, members have \
             https URLs",
        ),
        (
            &["--initial-advertise-peer-urls=http://:2380"],
            &[],
            "unexpected empty host (http://:2380)",
        ),
        (
            &["--election-timeout=499"],
            &[],
            "--election-timeout[499ms] should be at least as 5 times as \
             --heartbeat-interval[100ms]",
        ),
        (
            &["--election-timeout=50001"],
            &[],
            "--election-timeout[50001ms] is too long, and should be set less than 50000ms",
        ),
        (&["--heartbeat-interval=0"], &[], "--heartbeat-interval must be >0 (set to 0ms)"),
        (
            &["--watch-progress-notify-interval=99ms"],
            &[],
            "--watch-progress-notify-interval must be at least 100ms",
        ),
        (
            &["--peer-client-cert-auth"],
            &[],
            "--peer-client-cert-auth has no use without https in --listen-peer-urls and \
             --initial-advertise-peer-urls",
        ),
        (
            &["--auto-compaction-retention=often"],
            &[],
            "--auto-compaction-retention=often is no such amount of history",
        ),
        (
            &["--listen-metrics-urls=https://127.0.0.1:1"],
            &[],
            "TLS key/cert (--cert-file, --key-file) must be provided for metrics url \
             https://127.0.0.1:1 with HTTPS scheme",
        ),
        (&["--auto-compaction-mode=hourly"], &[], "unexpected auto-compaction-mode \"hourly\""),
        (
            &["--peer-cert-file=x"],
            &[],
            "--peer-cert-file has no use without https in --listen-peer-urls and \
             --initial-advertise-peer-urls",
        ),
        (
            &["--name=x"],
            &[("ETCD_CONFIG_FILE", "/dev/null/x")],
            "the configuration file /dev/null/x: can't read it: Not a directory (os error 20)",
        ),
    ] {
        let stop = parse(arguments, environment).expect_err(message);
        assert_eq!((stop.exit_code(), stop.to_string().as_str()), (1, message), "{arguments:?}");
    }
}

#[test]
fn help_and_version_come_before_other_complaints() {
    let help = parse(&["--peer-cert-file=x", "-h"], &[]).expect_err("no configuration");
    assert!(help.is_answer());
    assert!(help.to_string().contains("--listen-client-urls value"));
    let version = parse(&["--version"], &[]).expect_err("no configuration");
    assert!(version.is_answer());
    assert!(version.to_string().starts_with("etcd Version: 3.6."));
}

/// What the handbook shows as a configuration file is one.
#[test]
fn the_file_in_the_handbook_is_fine() {
    let handbook = include_str!("../../../../docs/operations.md");
    let (_, text) = handbook.split_once("```yaml\n").expect("there is a file");
    let (text, _) = text.split_once("```").expect("it has an end");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("quorate.yaml");
    std::fs::write(&path, text).expect("written");
    let file = format!("--config-file={}", path.display());
    let config = parse(&[&file], &[]).expect("a configuration");
    assert_eq!(config.initial_cluster().expect("three members").members.len(), 3);
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn a_file_is_all_that_counts() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("quorate.yaml");
    let file = format!("--config-file={}", path.display());
    let variable = [("ETCD_CONFIG_FILE", path.to_str().expect("text"))];
    let says = |text: &str| std::fs::write(&path, text).expect("written");

    says("name: one\nheartbeat-interval: 50\nwatch-progress-notify-interval: 5000000000\n");
    let config = parse(&["--name=two", &file], &[("ETCD_ZONE", "z")]).expect("a file");
    assert_eq!((config.name.as_str(), config.zone.as_str()), ("one", ""));
    assert_eq!(config.heartbeat_interval, Duration::from_millis(50));
    assert_eq!(config.progress_interval, Duration::from_secs(5));
    assert_eq!(
        config.warnings,
        [
            "--name has no effect beside the configuration file",
            "ETCD_ZONE has no effect beside the configuration file"
        ]
    );
    // A name may stand in both, as neither counts.
    let config = parse(&["--zone=y"], &[("ETCD_ZONE", "z"), variable[0]]).expect("a file");
    assert_eq!((config.name.as_str(), config.warnings.len()), ("one", 2));

    for (text, message) in [
        ("nmae: x", "nmae is unknown"),
        ("wal-dir: x", "--wal-dir is not supported yet: a directory of its own for the log"),
        (
            "heartbeat-interval: soon",
            "invalid value \"soon\" for heartbeat-interval in the configuration file: parse error",
        ),
    ] {
        says(text);
        let stop = parse(&[], &variable).expect_err(message);
        assert_eq!(stop.exit_code(), 1);
        assert!(stop.to_string().ends_with(message), "{stop}");
    }
    // What etcd writes there itself is what is done anyway.
    says(
        "corrupt-check-time: 0\ngrpc-keepalive-min-time: 5000000000\nhandshake-timeout: 2000000000\n",
    );
    let config = parse(&[], &variable).expect("a file");
    assert_eq!(config.tls.handshake_timeout, Duration::from_secs(2));
    says("corrupt-check-time: 1");
    parse(&[], &variable).expect_err("that is not done");
    says("name: 'not read");
    assert!(parse(&["--help"], &variable).expect_err("the usage").is_answer());
}

#[test]
fn how_much_history_automatic_compaction_leaves() {
    use AutoCompaction::{Periodic, Revision};

    let seconds = Duration::from_secs;
    let meant = |mode: Option<&str>, retention: Option<&str>| {
        let mode = mode.map(|mode| format!("--auto-compaction-mode={mode}"));
        let retention = retention.map(|it| format!("--auto-compaction-retention={it}"));
        let arguments: Vec<&str> =
            [&mode, &retention].into_iter().flatten().map(|it| &**it).collect();
        parse(&arguments, &[]).map(|config| config.auto_compaction)
    };
    for (mode, retention, expected) in [
        (None, None, Some(Periodic(seconds(86_400)))),
        (Some("periodic"), None, Some(Periodic(seconds(86_400)))),
        (Some("revision"), None, None),
        (None, Some("0"), None),
        (None, Some("0s"), None),
        (Some("revision"), Some("0"), None),
        (None, Some("3"), Some(Periodic(seconds(3 * 3600)))),
        (Some("periodic"), Some("5m"), Some(Periodic(seconds(300)))),
        (None, Some("1h30m"), Some(Periodic(seconds(5400)))),
        (Some("revision"), Some("1000"), Some(Revision(1000))),
    ] {
        assert_eq!(meant(mode, retention), Ok(expected), "{mode:?} {retention:?}");
    }
    for (mode, retention) in [
        (Some("hourly"), None),
        (None, Some("-1")),
        (None, Some("-5m")),
        (None, Some("often")),
        (None, Some("9000000000000000000")),
        (Some("revision"), Some("-1")),
        (Some("revision"), Some("5m")),
    ] {
        let refused = meant(mode, retention).expect_err("no such thing");
        assert_eq!(refused.exit_code(), 1, "{mode:?} {retention:?} {refused}");
    }
}
