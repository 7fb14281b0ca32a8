//! The page of `/metrics`, in the text format of Prometheus.

use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quorate_host::{Histogram, PeerState};

use super::process::Process;
use super::{CODES, Call, HandlingTime, Metrics};
use crate::http::Probe;
use crate::member::Member;
use crate::quota;
use crate::rate::Whose;
use crate::rpc::{METHODS, Method};
use crate::tls::Tls;
use crate::version;

/// All numbers of a member.
pub(crate) fn render(member: &Member) -> String {
    let metrics = &member.metrics;
    let mut page = Page(String::with_capacity(64 << 10));
    of_the_member(&mut page, metrics, member);
    of_the_clients(&mut page, member);
    of_the_host(&mut page, member);
    of_the_peers(&mut page, member);
    of_the_store(&mut page, metrics, member);
    of_the_calls(&mut page, metrics);
    if let Some(tls) = &member.tls {
        of_the_certificates(&mut page, tls);
    }
    of_the_probes(&mut page, metrics);
    of_the_process(&mut page);
    page.0
}

fn of_the_member(page: &mut Page, metrics: &Metrics, member: &Member) {
    let status = member.handle.status();
    page.one("etcd_server_has_leader", "gauge", u8::from(member.knows_leader()));
    page.one("etcd_server_is_leader", "gauge", u8::from(status.is_leader()));
    let is_learner = status.membership.learners.contains(&status.id);
    page.one("etcd_server_is_learner", "gauge", u8::from(is_learner));
    page.one("etcd_server_leader_changes_seen_total", "counter", load(&metrics.leader_changes));
    page.one("etcd_server_proposals_committed_total", "gauge", status.commit.0);
    page.one("etcd_server_proposals_applied_total", "gauge", status.applied.0);
    // No limit is etcd's zero here too.
    let quota = member.limits.quota.bytes;
    page.one("etcd_server_quota_backend_bytes", "gauge", quota.unwrap_or(0));
    let is_nearly_full =
        quota.is_some_and(|quota| quota::soft_limit(quota) <= member.published.bytes_in_use());
    page.one("quorate_quota_nearly_reached", "gauge", u8::from(is_nearly_full));
    page.labelled("etcd_server_version", "gauge", [("server_version", version::ETCD)], 1);
    page.labelled("etcd_cluster_version", "gauge", [("cluster_version", "3.6")], 1);
    let id = format!("{:x}", member.identity.member_id);
    page.labelled("etcd_server_id", "gauge", [("server_id", id.as_str())], 1);
    page.labelled("quorate_build_info", "gauge", [("version", version::QUORATE)], 1);
    page.one("quorate_members_replaced_total", "counter", load(&metrics.members_replaced));
    page.one("quorate_is_witness", "gauge", u8::from(member.identity.is_witness()));
    page.one("quorate_raft_term", "gauge", status.term.0);
    page.one("quorate_raft_log_last_index", "gauge", status.last.0);
    page.one("quorate_raft_applied_durable_index", "gauge", status.applied_durable.0);
}

/// What clients hold, and how often they were told to come again.
fn of_the_clients(page: &mut Page, member: &Member) {
    let memory = &member.memory;
    page.one("quorate_client_memory_limit_bytes", "gauge", memory.limit().unwrap_or(0));
    page.one("quorate_client_memory_bytes", "gauge", memory.held());
    page.one("quorate_client_memory_waiting", "gauge", memory.waiting());
    page.one("quorate_client_memory_refused_total", "counter", memory.refused());
    page.one("quorate_watchers_too_slow_total", "counter", load(&member.metrics.watchers_too_slow));
    page.head("quorate_rate_limited_total", "counter");
    for whose in Whose::ALL {
        let labels = [("by", whose.label())];
        page.sample("quorate_rate_limited_total", labels, member.rates.refused(whose));
    }
}

fn of_the_host(page: &mut Page, member: &Member) {
    let host = member.handle.metrics();
    page.one("etcd_server_proposals_pending", "gauge", host.proposals_pending());
    page.one("etcd_server_proposals_failed_total", "counter", host.proposals_failed.get());
    page.one("etcd_server_read_indexes_failed_total", "counter", host.reads_failed.get());
    page.histogram("etcd_disk_wal_fsync_duration_seconds", &host.wal_sync);
    page.one("etcd_disk_wal_write_bytes_total", "gauge", host.wal_bytes.get());
    page.one("quorate_proposals_total", "counter", host.proposals.get());
    page.one("quorate_reads_total", "counter", host.reads.get());
    page.one("quorate_overloaded_total", "counter", host.overloaded.get());
    page.one("quorate_entries_applied_total", "counter", host.entries_applied.get());
    page.one("quorate_scrubbed_bytes_total", "counter", host.scrubbed_bytes.get());
    page.one("quorate_peer_malformed_total", "counter", host.malformed.get());
    let unauthenticated = host.unauthenticated.get();
    page.one("quorate_peer_unauthenticated_total", "counter", unauthenticated);
    page.one("quorate_raft_rounds_total", "counter", host.rounds.get());

    let peers = host.peers();
    page.head("etcd_network_peer_sent_bytes_total", "counter");
    for (peer, counts) in &peers {
        let to = format!("{:x}", peer.0);
        page.sample(
            "etcd_network_peer_sent_bytes_total",
            [("To", to.as_str())],
            counts.sent_bytes.get(),
        );
    }
    page.head("etcd_network_peer_received_bytes_total", "counter");
    for (peer, counts) in &peers {
        let from = format!("{:x}", peer.0);
        let bytes = counts.received_bytes.get();
        page.sample("etcd_network_peer_received_bytes_total", [("From", from.as_str())], bytes);
    }
    page.head("etcd_network_peer_sent_failures_total", "counter");
    for (peer, counts) in &peers {
        let to = format!("{:x}", peer.0);
        page.sample(
            "etcd_network_peer_sent_failures_total",
            [("To", to.as_str())],
            counts.dropped.get(),
        );
    }
}

/// Whether the other members seem to be there, as seen from this one.
fn of_the_peers(page: &mut Page, member: &Member) {
    let (status, now) = (member.handle.status(), member.handle.clock().now());
    let peers: Vec<_> =
        status.peers.iter().map(|peer| (format!("{:x}", peer.id.0), &peer.health)).collect();
    let local = format!("{:x}", status.id.0);
    page.head("etcd_network_known_peers", "gauge");
    for (remote, _) in &peers {
        let labels = [("Local", local.as_str()), ("Remote", remote.as_str())];
        page.sample("etcd_network_known_peers", labels, 1);
    }
    page.head("etcd_network_active_peers", "gauge");
    for ((remote, _), peer) in peers.iter().zip(&status.peers) {
        let labels = [("Local", local.as_str()), ("Remote", remote.as_str())];
        page.sample("etcd_network_active_peers", labels, u8::from(peer.connected));
    }
    page.head("quorate_peer_state", "gauge");
    for (to, health) in &peers {
        for state in PeerState::ALL {
            let labels = [("To", to.as_str()), ("state", state.name())];
            page.sample("quorate_peer_state", labels, u8::from(health.state == state));
        }
    }
    page.head("quorate_peer_suspicion_phi", "gauge");
    for (to, health) in &peers {
        let phi = f64::from(health.phi(now).0) / 1000.0;
        page.sample("quorate_peer_suspicion_phi", [("To", to.as_str())], phi);
    }
    page.head("quorate_peer_last_contact_seconds", "gauge");
    for (to, health) in &peers {
        if let Some(contact) = health.last_contact {
            let seconds = now.since(contact).as_secs_f64();
            page.sample("quorate_peer_last_contact_seconds", [("To", to.as_str())], seconds);
        }
    }
    page.head("quorate_peer_info", "gauge");
    for (to, health) in &peers {
        let about = &health.about;
        let labels = [("To", to.as_str()), ("version", &about.version), ("zone", &about.zone)];
        page.sample("quorate_peer_info", labels, 1);
    }
}

fn of_the_store(page: &mut Page, metrics: &Metrics, member: &Member) {
    let bytes = member.published.size_bytes();
    page.one("etcd_mvcc_db_total_size_in_bytes", "gauge", bytes);
    let state = member.published.state();
    page.one("etcd_mvcc_db_total_size_in_use_in_bytes", "gauge", state.bytes_in_use());
    page.one("etcd_debugging_mvcc_current_revision", "gauge", state.revision());
    page.one("etcd_debugging_mvcc_compact_revision", "gauge", state.compacted().max(0));
    page.head("etcd_debugging_server_alarms", "gauge");
    for alarm in state.alarms().iter() {
        let id = format!("{:x}", alarm.member);
        let labels = [("server_id", id.as_str()), ("alarm_type", quota::name(alarm.kind))];
        page.sample("etcd_debugging_server_alarms", labels, 1);
    }
    page.one("etcd_debugging_auth_revision", "gauge", state.auth().revision());
    page.histogram("etcd_disk_backend_commit_duration_seconds", &metrics.store_commit);
    page.one("etcd_debugging_mvcc_watcher_total", "gauge", load(&metrics.watchers));
    let refused = load(&metrics.connections_refused);
    page.one("quorate_client_connections_refused_total", "counter", refused);
    page.one("etcd_debugging_mvcc_watch_stream_total", "gauge", load(&metrics.watch_streams));
    page.one("etcd_debugging_server_lease_expired_total", "counter", load(&metrics.leases_expired));
}

/// Until when certificates are valid, as seconds since 1970: `time()` has the same beginning.
fn of_the_certificates(page: &mut Page, tls: &Tls) {
    let ends = [("own", tls.own_not_after()), ("authority", tls.trusted_not_after())];
    page.head("quorate_tls_not_after_timestamp_seconds", "gauge");
    for (whose, end) in ends {
        if let Some(end) = end {
            let labels = [("listener", "client"), ("certificate", whose)];
            page.sample("quorate_tls_not_after_timestamp_seconds", labels, end);
        }
    }
    let listener = [("listener", "client")];
    page.labelled("quorate_tls_reloads_total", "counter", listener, tls.reloads());
    page.labelled("quorate_tls_files_broken", "gauge", listener, u8::from(tls.is_stale()));
    let failed = tls.handshakes_failed();
    page.labelled("quorate_tls_handshakes_failed_total", "counter", listener, failed);
}

fn of_the_calls(page: &mut Page, metrics: &Metrics) {
    page.one("etcd_network_client_grpc_sent_bytes_total", "counter", load(&metrics.sent_bytes));
    let received = load(&metrics.received_bytes);
    page.one("etcd_network_client_grpc_received_bytes_total", "counter", received);
    page.of_each_call("grpc_server_started_total", metrics, |call| &call.started);
    page.of_each_call("grpc_server_msg_received_total", metrics, |call| &call.received_messages);
    page.of_each_call("grpc_server_msg_sent_total", metrics, |call| &call.sent_messages);
    if metrics.is_extensive {
        page.head("grpc_server_handling_seconds", "histogram");
        for (method, call) in METHODS.iter().zip(&metrics.calls) {
            page.handling(labels(method), &call.took);
        }
    }
    page.head("grpc_server_handled_total", "counter");
    for (method, call) in METHODS.iter().zip(&metrics.calls) {
        for (code, handled) in CODES.iter().zip(&call.handled) {
            let labels = [
                ("grpc_code", *code),
                ("grpc_method", method.name),
                ("grpc_service", method.service),
                ("grpc_type", method.kind.label()),
            ];
            page.sample("grpc_server_handled_total", labels, load(handled));
        }
    }
}

fn labels(method: &Method) -> [(&'static str, &'static str); 3] {
    [
        ("grpc_method", method.name),
        ("grpc_service", method.service),
        ("grpc_type", method.kind.label()),
    ]
}

fn of_the_process(page: &mut Page) {
    let process = Process::look();
    page.maybe("process_cpu_seconds_total", "counter", process.cpu_seconds);
    page.maybe("process_start_time_seconds", "gauge", process.start_seconds);
    page.maybe("process_virtual_memory_bytes", "gauge", process.virtual_bytes);
    page.maybe("process_resident_memory_bytes", "gauge", process.resident_bytes);
    page.maybe("process_open_fds", "gauge", process.open_files);
    page.maybe("process_max_fds", "gauge", process.files_max);
    // The same two by names of etcd's own.
    page.maybe("os_fd_used", "gauge", process.open_files);
    page.maybe("os_fd_limit", "gauge", process.files_max);
}

fn of_the_probes(page: &mut Page, metrics: &Metrics) {
    let [well, failed] = &metrics.healths;
    page.one("etcd_server_health_success", "counter", load(well));
    page.one("etcd_server_health_failures", "counter", load(failed));
    // As in etcd, a check that was never made is not listed.
    let made = || {
        Probe::ALL.into_iter().flat_map(|probe| {
            let checks = probe.checks().iter();
            checks
                .map(move |check| (probe, check, &metrics.probes[probe as usize][*check as usize]))
        })
    };
    page.head("etcd_server_healthcheck", "gauge");
    for (probe, check, checked) in made() {
        if checked.counts.iter().any(|count| load(count) > 0) {
            let labels = [("type", probe.name()), ("name", check.name())];
            let is_well = checked.is_well.load(Ordering::Relaxed);
            page.sample("etcd_server_healthcheck", labels, u8::from(is_well));
        }
    }
    page.head("etcd_server_healthchecks_total", "counter");
    for (probe, check, checked) in made() {
        for (status, count) in ["success", "error"].into_iter().zip(&checked.counts) {
            let labels = [("type", probe.name()), ("name", check.name()), ("status", status)];
            if load(count) > 0 {
                page.sample("etcd_server_healthchecks_total", labels, load(count));
            }
        }
    }
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// The text, metric by metric.
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str) {
        self.write(format_args!("# TYPE {name} {kind}\n"));
    }

    /// A metric of one number.
    fn one(&mut self, name: &str, kind: &str, value: impl Display) {
        self.labelled(name, kind, [], value);
    }

    /// A metric of one number, if there is one.
    fn maybe(&mut self, name: &str, kind: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.one(name, kind, value);
        }
    }

    /// A metric of one number, with labels.
    fn labelled<const N: usize>(
        &mut self,
        name: &str,
        kind: &str,
        labels: [(&str, &str); N],
        value: impl Display,
    ) {
        self.head(name, kind);
        self.sample(name, labels, value);
    }

    /// One number. The values of all labels are words or hexadecimal numbers of ours, or names that were
    /// checked when they arrived, so nothing in them is escaped.
    fn sample<const N: usize>(
        &mut self,
        name: &str,
        labels: [(&str, &str); N],
        value: impl Display,
    ) {
        self.write(format_args!("{name}"));
        for (at, (label, text)) in labels.into_iter().enumerate() {
            self.write(format_args!("{}{label}=\"{text}\"", if at == 0 { '{' } else { ',' }));
        }
        self.write(format_args!("{} {value}\n", if N == 0 { "" } else { "}" }));
    }

    fn histogram(&mut self, name: &str, histogram: &Histogram) {
        self.head(name, "histogram");
        let bucket = format!("{name}_bucket");
        let cumulative = histogram.cumulative();
        for (bound, count) in Histogram::BOUNDS.iter().zip(cumulative) {
            let bound = bound.as_secs_f64().to_string();
            self.sample(&bucket, [("le", bound.as_str())], count);
        }
        // What was counted in between may be in one of the two numbers only; one value serves both.
        let count = cumulative.last().copied().unwrap_or_default();
        self.sample(&bucket, [("le", "+Inf")], count);
        self.write(format_args!("{name}_sum {}\n", histogram.sum().as_secs_f64()));
        self.write(format_args!("{name}_count {count}\n"));
    }

    /// A counter of each call.
    fn of_each_call(&mut self, name: &str, metrics: &Metrics, count: fn(&Call) -> &AtomicU64) {
        self.head(name, "counter");
        for (method, call) in METHODS.iter().zip(&metrics.calls) {
            self.sample(name, labels(method), load(count(call)));
        }
    }

    /// The histogram of one call.
    fn handling(&mut self, labels: [(&str, &str); 3], took: &HandlingTime) {
        let [method, service, kind] = labels;
        let name = "grpc_server_handling_seconds";
        let bounds = HandlingTime::BOUNDS_MS.map(|bound| (bound as f64 / 1000.0).to_string());
        let mut count = 0;
        for (bound, bucket) in bounds.iter().map(String::as_str).chain(["+Inf"]).zip(&took.buckets)
        {
            count += load(bucket);
            let labels = [method, service, kind, ("le", bound)];
            self.sample("grpc_server_handling_seconds_bucket", labels, count);
        }
        let sum = Duration::from_nanos(load(&took.sum_nanos)).as_secs_f64();
        self.sample(&format!("{name}_sum"), labels, sum);
        self.sample(&format!("{name}_count"), labels, count);
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("writing to a string does not fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples() {
        let mut page = Page(String::new());
        page.one("a_total", "counter", 3);
        page.labelled("b", "gauge", [("x", "1"), ("y", "z")], 0.5);
        assert_eq!(
            page.0,
            "# TYPE a_total counter\na_total 3\n# TYPE b gauge\nb{x=\"1\",y=\"z\"} 0.5\n"
        );
    }

    #[test]
    fn histograms_are_cumulative_and_end_with_all() {
        let mut page = Page(String::new());
        page.histogram("h", &Histogram::default());
        assert!(page.0.starts_with("# TYPE h histogram\nh_bucket{le=\"0.001\"} 0\n"), "{}", page.0);
        assert!(page.0.ends_with("h_bucket{le=\"+Inf\"} 0\nh_sum 0\nh_count 0\n"), "{}", page.0);
    }
}
