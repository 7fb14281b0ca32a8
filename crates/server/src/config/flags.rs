//! The flags: every name that etcd knows, and what becomes of it here; and the few that are Quorate's own.
//!
//! A flag that etcd has and Quorate has not is listed too, because silence would be a lie: who asks for
//! encryption must not get a server without it. Such a flag is refused by name with the reason, unless
//! its value asks for what Quorate does anyway.

/// A flag of the command line, which is also an environment variable `ETCD_…`.
#[derive(Debug)]
pub(super) struct Flag {
    /// The name without dashes in front.
    pub(super) name: &'static str,
    /// Whether a value follows.
    pub(super) kind: Kind,
    /// What becomes of it.
    pub(super) standing: Standing,
}

/// Whether a flag takes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `--name=value` or `--name value`.
    Value,
    /// The same, and the value is a duration.
    Duration,
    /// `--name` or `--name=true`. A word after it is not its value.
    Switch,
}

/// What becomes of a flag.
#[derive(Clone, Copy, Debug)]
pub(super) enum Standing {
    /// It is read; the text is its line in the usage.
    Used(&'static str),
    /// Only these values are accepted, as they say what is done anyway. For another, this is missing.
    Only(&'static [&'static str], &'static str),
    /// Accepted with a warning: it sets a detail of etcd's inside that does not exist here.
    Ignored,
    /// Refused; this is missing.
    Refused(&'static str),
}

use super::duration;
use Kind::{Duration, Switch, Value};
use Standing::{Ignored, Only, Refused, Used};

const DISCOVERY: &str = "discovery of the initial cluster";
const TRACING: &str = "distributed tracing";
const LOG_ROTATION: &str = "log rotation";

impl Flag {
    /// Whether a text means the same as another one.
    pub(super) fn means(&self, text: &str, other: &str) -> bool {
        match self.kind {
            Duration => text == other || duration::parse(text) == duration::parse(other),
            Value | Switch => text == other,
        }
    }
}

const fn flag(name: &'static str, kind: Kind, standing: Standing) -> Flag {
    Flag { name, kind, standing }
}

/// All flags. Those that are used come first, in the order of the usage.
pub(super) const FLAGS: &[Flag] = &[
    flag("name", Value, Used("name of this member (default 'default')")),
    flag("data-dir", Value, Used("directory of the member's data (default '${name}.etcd')")),
    flag(
        "listen-client-urls",
        Value,
        Used("URLs to serve clients on (default 'http://localhost:2379')"),
    ),
    flag(
        "advertise-client-urls",
        Value,
        Used("client URLs told to the cluster (default 'http://localhost:2379')"),
    ),
    flag(
        "listen-peer-urls",
        Value,
        Used("URLs to hear other members on (default 'http://localhost:2380')"),
    ),
    flag(
        "initial-advertise-peer-urls",
        Value,
        Used("peer URLs told to the cluster (default 'http://localhost:2380')"),
    ),
    flag(
        "initial-cluster",
        Value,
        Used("all members of a new cluster, 'name=url,…' (default this member alone)"),
    ),
    flag(
        "initial-witnesses",
        Value,
        Used(
            "names of those in --initial-cluster that are witnesses, 'name,…': voters that keep no data; \
             the same on all members of a new cluster (default none)",
        ),
    ),
    flag(
        "peer-auth",
        Value,
        Used(
            "'tls' encrypts what members say to one another; 'hmac' puts a tag on it, with a shared secret and \
             without encryption; 'none' does neither; the same on all members (default 'tls' with https URLs, \
             else 'none')",
        ),
    ),
    flag(
        "peer-cert-file",
        Value,
        Used("certificate chain shown to other members, in PEM; read anew when it changes"),
    ),
    flag("peer-key-file", Value, Used("the private key of --peer-cert-file")),
    flag(
        "peer-client-cert-file",
        Value,
        Used("the certificate for connections to other members, if it is another one"),
    ),
    flag("peer-client-key-file", Value, Used("the private key of --peer-client-cert-file")),
    flag(
        "peer-trusted-ca-file",
        Value,
        Used("authorities, one of which must have signed the certificate of each member"),
    ),
    flag(
        "peer-client-cert-auth",
        Switch,
        Used("demand certificates of members, which --peer-trusted-ca-file does anyway"),
    ),
    flag(
        "peer-crl-file",
        Value,
        Used("lists of certificates of members that are revoked, in PEM or DER"),
    ),
    flag(
        "peer-cert-allowed-cn",
        Value,
        Used("common names, 'name,…', one of which a member's certificate must have"),
    ),
    flag(
        "peer-cert-allowed-hostname",
        Value,
        Used("host names, 'name,…', for one of which a member's certificate must be made out"),
    ),
    flag(
        "peer-auto-tls",
        Switch,
        Used(
            "make a certificate for other members, if none is given: encrypts, and lets in whoever comes \
             (default false)",
        ),
    ),
    flag(
        "peer-secret-file",
        Value,
        Used(
            "file of the secret for --peer-auth=hmac: on its first line the one to speak with, on others more \
             that are heard; read anew when it changes",
        ),
    ),
    flag(
        "peer-insecure-allow",
        Value,
        Used(
            "addresses and networks beyond this machine whose members are spoken with without any protection, \
             '10.0.0.0/24,…' (default none)",
        ),
    ),
    flag("initial-cluster-state", Value, Used("'new' or 'existing' (default 'new')")),
    flag(
        "initial-cluster-token",
        Value,
        Used("sets this cluster's ids apart from others' (default 'etcd-cluster')"),
    ),
    flag("heartbeat-interval", Value, Used("milliseconds between heartbeats (default 100)")),
    flag(
        "election-timeout",
        Value,
        Used("milliseconds without a leader before an election (default 1000)"),
    ),
    flag(
        "election-policy",
        Value,
        Used(
            "'adaptive' waits as short as what was measured allows and at most --election-timeout; \
             'backoff' and 'fixed' wait at least that long (default 'adaptive')",
        ),
    ),
    flag(
        "leader-lease-drift",
        Value,
        Used(
            "answer reads by a lease of the leader, trusting that no member's clock is off by more parts \
             per million than this; the same on all members (default: no lease)",
        ),
    ),
    flag(
        "quota-backend-bytes",
        Value,
        Used("size at which growing writes are refused, 0 is 2 GiB, negative is none (default 0)"),
    ),
    flag("auto-compaction-mode", Value, Used("'periodic' or 'revision' (default 'periodic')")),
    flag(
        "auto-compaction-retention",
        Value,
        Used(
            "history that automatic compaction leaves: hours or a duration, or a number of revisions, by the \
             mode; 0 is no automatic compaction (default 24h if periodic, 0 otherwise)",
        ),
    ),
    flag(
        "zone",
        Value,
        Used("where this member stands, as a word; the others show it (default none)"),
    ),
    flag(
        "leader-priority",
        Value,
        Used(
            "how much this member is wanted as the leader, 0 to 1000: the lead moves to the highest that is \
             fit and has been for ten election timeouts (default 1)",
        ),
    ),
    flag(
        "replace-failed-after",
        Duration,
        Used(
            "how long a voter must have failed until a spare takes its place, if this member leads; see \
             'member add --spare' (default 0, never)",
        ),
    ),
    flag("max-txn-ops", Value, Used("operations in a transaction (default 128)")),
    flag("max-request-bytes", Value, Used("bytes of a request (default 1572864)")),
    flag("max-concurrent-streams", Value, Used("streams of a client's connection (default 10000)")),
    flag(
        "client-memory-limit",
        Value,
        Used(
            "bytes that requests, their answers, watches and snapshots may take together, 0 is no limit \
             (default a quarter of this process' memory)",
        ),
    ),
    flag(
        "rate-limit-user",
        Value,
        Used("calls of each user in a second, and at once, 'rate[/burst]' (default no limit)"),
    ),
    flag(
        "rate-limit-prefix",
        Value,
        Used(
            "operations of all clients on the keys below a prefix, 'prefix=rate[/burst],…' (default no limit)",
        ),
    ),
    flag("max-watchers-per-stream", Value, Used("watchers of a stream (default 10000)")),
    flag("max-watchers", Value, Used("watchers of all clients together (default 1000000)")),
    flag(
        "grpc-keepalive-interval",
        Duration,
        Used("silence after which a client is pinged, 0 is never (default 2h)"),
    ),
    flag("grpc-keepalive-timeout", Duration, Used("wait for the answer to a ping (default 20s)")),
    flag(
        "watch-progress-notify-interval",
        Duration,
        Used("time between progress notifications of a watch (default 10m)"),
    ),
    flag(
        "cert-file",
        Value,
        Used("certificate chain shown to clients, in PEM; read again when it changes"),
    ),
    flag("key-file", Value, Used("the private key of --cert-file")),
    flag(
        "trusted-ca-file",
        Value,
        Used("authorities, one of which must have signed the certificate of each client"),
    ),
    flag(
        "client-cert-auth",
        Switch,
        Used(
            "demand certificates of clients; who sends no token is the user in its certificate's CN",
        ),
    ),
    flag("client-crl-file", Value, Used("lists of certificates that are revoked, in PEM or DER")),
    flag(
        "client-cert-allowed-cn",
        Value,
        Used("common names, 'name,…', one of which a client's certificate must have"),
    ),
    flag(
        "client-cert-allowed-hostname",
        Value,
        Used("host names, 'name,…', for one of which a client's certificate must be made out"),
    ),
    flag(
        "auto-tls",
        Switch,
        Used("make a certificate for clients, if none is given (default false)"),
    ),
    flag(
        "self-signed-cert-validity",
        Value,
        Used("years for which such a certificate is valid (default 1)"),
    ),
    flag("tls-min-version", Value, Used("'TLS1.2' or 'TLS1.3' (default 'TLS1.3')")),
    flag("tls-max-version", Value, Used("'TLS1.2' or 'TLS1.3' (default 'TLS1.3')")),
    flag("cipher-suites", Value, Used("cipher suites, 'name,…', by Go's names (default all)")),
    flag(
        "handshake-timeout",
        Duration,
        Used("time in which a new connection must have come to its first request (default 10s)"),
    ),
    flag(
        "auth-token",
        Value,
        Used(
            "'simple', or 'jwt,sign-method=method,priv-key=file,pub-key=file,ttl=10m' for signed tokens \
             (default 'simple')",
        ),
    ),
    flag(
        "auth-token-ttl",
        Value,
        Used("seconds that a simple token lives without being used (default 300)"),
    ),
    flag("enable-grpc-gateway", Switch, Used("serve the calls as JSON over HTTP (default true)")),
    flag(
        "metrics",
        Value,
        Used("'basic', or 'extensive': how long calls take, too (default 'basic')"),
    ),
    flag(
        "listen-metrics-urls",
        Value,
        Used("URLs to serve /metrics and the probes on, beside those for clients (default none)"),
    ),
    flag(
        "memory-mlock",
        Switch,
        Used("keep all memory out of the swap; needs the right to lock it (default false)"),
    ),
    flag(
        "log-level",
        Value,
        Used("'debug', 'info', 'warn', 'error', 'panic' or 'fatal' (default 'info')"),
    ),
    flag(
        "config-file",
        Value,
        Used("YAML or JSON with the names of these flags; all others have no effect then"),
    ),
    flag("version", Switch, Used("print the version and exit")),
    flag("help", Switch, Used("print this and exit")),
    // What is done anyway.
    flag("pre-vote", Switch, Only(&["true"], "elections without a pre-vote")),
    flag("strict-reconfig-check", Switch, Only(&["true"], "changing members without the check")),
    flag("logger", Value, Only(&["zap"], "another logger")),
    flag("log-outputs", Value, Only(&["default", "stderr"], "another output of the log")),
    flag("log-format", Value, Only(&["json"], "another format of the log")),
    flag("enable-pprof", Switch, Only(&["false"], "profiling over HTTP")),
    flag("force-new-cluster", Switch, Only(&["false"], "forcing a new cluster")),
    flag("unsafe-no-fsync", Switch, Only(&["false"], "running without syncing")),
    flag(
        "peer-skip-client-san-verification",
        Switch,
        Only(&["true"], "comparing the certificate of a member that connects with its address"),
    ),
    flag("socket-reuse-port", Switch, Only(&["false"], "sharing a port")),
    flag("socket-reuse-address", Switch, Only(&["false"], "choosing how an address is reused")),
    flag("enable-log-rotation", Switch, Only(&["false"], LOG_ROTATION)),
    flag("enable-distributed-tracing", Switch, Only(&["false"], TRACING)),
    flag("cors", Value, Only(&["*"], "a list of origins")),
    flag("host-whitelist", Value, Only(&["*"], "a list of hosts")),
    flag(
        "grpc-keepalive-min-time",
        Duration,
        Only(&["5s"], "refusing clients that ping too often"),
    ),
    flag("corrupt-check-time", Duration, Only(&["0", "0s"], "checking for corruption")),
    // What is missing.
    flag("wal-dir", Value, Refused("a directory of its own for the log")),
    flag("listen-client-http-urls", Value, Refused("a listener of its own for HTTP")),
    flag(
        "initial-election-tick-advance",
        Switch,
        Refused("choosing when the first election begins"),
    ),
    flag("snapshot-catchup-entries", Value, Refused("choosing how much of the log is kept")),
    flag("raft-read-timeout", Duration, Refused("choosing the timeouts between members")),
    flag("raft-write-timeout", Duration, Refused("choosing the timeouts between members")),
    // What etcd shows when it calls itself; nothing here does.
    flag("client-cert-file", Value, Ignored),
    flag("client-key-file", Value, Ignored),
    // Hashes of passwords are made with Argon2id.
    flag("bcrypt-cost", Value, Ignored),
    flag("log-rotation-config-json", Value, Refused(LOG_ROTATION)),
    flag("discovery", Value, Refused(DISCOVERY)),
    flag("discovery-token", Value, Refused(DISCOVERY)),
    flag("discovery-endpoints", Value, Refused(DISCOVERY)),
    flag("discovery-srv", Value, Refused(DISCOVERY)),
    flag("discovery-srv-name", Value, Refused(DISCOVERY)),
    flag("discovery-dial-timeout", Duration, Refused(DISCOVERY)),
    flag("discovery-request-timeout", Duration, Refused(DISCOVERY)),
    flag("discovery-keepalive-time", Duration, Refused(DISCOVERY)),
    flag("discovery-keepalive-timeout", Duration, Refused(DISCOVERY)),
    flag("discovery-insecure-transport", Switch, Refused(DISCOVERY)),
    flag("discovery-insecure-skip-tls-verify", Switch, Refused(DISCOVERY)),
    flag("discovery-cert", Value, Refused(DISCOVERY)),
    flag("discovery-key", Value, Refused(DISCOVERY)),
    flag("discovery-cacert", Value, Refused(DISCOVERY)),
    flag("discovery-user", Value, Refused(DISCOVERY)),
    flag("discovery-password", Value, Refused(DISCOVERY)),
    flag("compact-hash-check-time", Duration, Refused("checking for corruption")),
    flag("compaction-batch-limit", Value, Refused("choosing the pace of compaction")),
    flag("compaction-sleep-interval", Duration, Refused("choosing the pace of compaction")),
    flag("warning-apply-duration", Duration, Refused("warnings of slow requests")),
    flag("warning-unary-request-duration", Duration, Refused("warnings of slow requests")),
    flag("max-learners", Value, Refused("learners")),
    flag("bootstrap-defrag-threshold-megabytes", Value, Refused("defragmenting at the start")),
    flag("downgrade-check-time", Duration, Refused("downgrading")),
    flag("feature-gates", Value, Refused("feature gates")),
    flag("distributed-tracing-address", Value, Refused(TRACING)),
    flag("distributed-tracing-service-name", Value, Refused(TRACING)),
    flag("distributed-tracing-instance-id", Value, Refused(TRACING)),
    flag("distributed-tracing-sampling-rate", Value, Refused(TRACING)),
    flag("initial-corrupt-check", Switch, Refused("checking for corruption")),
    flag("compact-hash-check-enabled", Switch, Refused("checking for corruption")),
    flag("enable-lease-checkpoint", Switch, Refused("lease checkpoints")),
    flag("enable-lease-checkpoint-persist", Switch, Refused("lease checkpoints")),
    flag("stop-grpc-service-on-defrag", Switch, Refused("defragmenting")),
    // Details of etcd's inside, and what it ignores itself. The log here is trimmed as soon as the store
    // has what it says, without a count.
    flag("snapshot-count", Value, Ignored),
    flag("max-snapshots", Value, Ignored),
    flag("max-wals", Value, Ignored),
    flag("backend-batch-interval", Duration, Ignored),
    flag("backend-batch-limit", Value, Ignored),
    flag("backend-bbolt-freelist-type", Value, Ignored),
    flag("txn-mode-write-with-shared-buffer", Switch, Ignored),
    flag("discovery-fallback", Value, Ignored),
    flag("discovery-proxy", Value, Ignored),
    flag("v2-deprecation", Value, Ignored),
    flag("enable-v2", Switch, Ignored),
    flag("proxy", Value, Ignored),
    flag("proxy-failure-wait", Value, Ignored),
    flag("proxy-refresh-interval", Value, Ignored),
    flag("proxy-dial-timeout", Value, Ignored),
    flag("proxy-write-timeout", Value, Ignored),
    flag("proxy-read-timeout", Value, Ignored),
    flag("cluster-active-size", Value, Ignored),
    flag("cluster-remove-delay", Value, Ignored),
    flag("cluster-sync-interval", Value, Ignored),
    flag("config", Value, Ignored),
    flag("force", Value, Ignored),
    flag("max-result-buffer", Value, Ignored),
    flag("max-retry-attempts", Value, Ignored),
    flag("peer-heartbeat-interval", Value, Ignored),
    flag("peer-election-timeout", Value, Ignored),
    flag("retry-interval", Value, Ignored),
    flag("snapshot", Value, Ignored),
    flag("v", Value, Ignored),
    flag("vv", Value, Ignored),
];

/// The flag of this name. `experimental-x` was etcd's name of `x` up to 3.6, and `h` is short.
pub(super) fn find(name: &str) -> Option<&'static Flag> {
    let name = match name {
        "h" => "help",
        name => name.strip_prefix("experimental-").unwrap_or(name),
    };
    FLAGS.iter().find(|flag| flag.name == name)
}

/// The environment variable of a flag.
pub(super) fn variable(name: &str) -> String {
    format!("ETCD_{}", name.to_ascii_uppercase().replace('-', "_"))
}

/// The spellings that Go's `strconv.ParseBool` takes, as `true` or `false`.
pub(super) fn boolean(text: &str) -> Option<String> {
    let value = match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => true,
        "0" | "f" | "F" | "FALSE" | "false" | "False" => false,
        _ => return None,
    };
    Some(value.to_string())
}

/// The text for `--help`, and for who mistypes.
pub(super) fn usage() -> String {
    let mut text = String::from("Usage: quorate [flags]\n\n");
    for flag in FLAGS {
        if let Used(line) = flag.standing {
            let name = match flag.kind {
                Value | Duration => format!("--{} value", flag.name),
                Switch => format!("--{}", flag.name),
            };
            text.push_str(&format!("  {name:<40} {line}\n"));
        }
    }
    text.push_str("\nEach flag is also an environment variable: --data-dir is ETCD_DATA_DIR.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_once() {
        let mut names: Vec<_> = FLAGS.iter().map(|flag| flag.name).collect();
        names.sort_unstable();
        let listed = names.len();
        names.dedup();
        assert_eq!(names.len(), listed);
    }

    #[test]
    fn names_and_variables() {
        assert_eq!(variable("data-dir"), "ETCD_DATA_DIR");
        let experimental = find("experimental-watch-progress-notify-interval").expect("an alias");
        assert_eq!(experimental.name, "watch-progress-notify-interval");
        assert!(find("watch").is_none());
    }
}
