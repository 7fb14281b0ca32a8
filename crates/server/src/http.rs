//! The pages for people and probes: `/health`, `/version`, `/metrics`, `/livez`, `/readyz` and `/peers`. The
//! last one is Quorate's own; the others are etcd's.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use quorate_host::About;
use quorate_mvcc::AlarmKind;
use tonic::body::Body;

use crate::log::push_string;
use crate::member::Member;
use crate::metrics;
use crate::quota;
use crate::rpc::Failure;
use crate::version;

/// The pages.
#[derive(Debug)]
pub(crate) struct Pages {
    pub(crate) member: Arc<Member>,
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const PROMETHEUS: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

impl Pages {
    /// Answers one request. What the request's body holds does not matter to any page.
    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Response<Body> {
        let uri = request.uri();
        let paths = ["/health", "/version", "/metrics", "/livez", "/readyz", "/peers"];
        if !paths.contains(&uri.path()) {
            return page(StatusCode::NOT_FOUND, TEXT, "404 page not found\n");
        }
        if request.method() != Method::GET {
            let mut answer = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "Method Not Allowed\n");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            return answer;
        }
        let query = uri.query().unwrap_or_default();
        match uri.path() {
            "/version" => page(StatusCode::OK, JSON, versions()),
            "/metrics" => {
                let text = metrics::render(&self.member);
                page(StatusCode::OK, PROMETHEUS, text)
            }
            "/peers" => page(StatusCode::OK, JSON, peers(&self.member)),
            "/health" => self.health(query).await,
            "/livez" => self.checks(query, &[Check::SerializableRead]).await,
            _ => {
                let reads = [Check::SerializableRead, Check::LinearizableRead];
                self.checks(query, &[&[Check::DataCorruption], &reads[..]].concat()).await
            }
        }
    }

    /// Whether no alarm is raised but those that do not matter to whoever asks, and the cluster behind this member answers. With `serializable=true`, whether the member
    /// itself does.
    async fn health(&self, query: &str) -> Response<Body> {
        let state = self.member.published.state();
        let mut alarms = state.alarms().iter().map(|alarm| quota::name(alarm.kind));
        if let Some(alarm) = alarms.find(|alarm| !has(query, "exclude", alarm)) {
            return unhealthy(&format!("ALARM {alarm}"));
        }
        let check = if has(query, "serializable", "true") {
            Check::SerializableRead
        } else if self.member.knows_leader() {
            Check::LinearizableRead
        } else {
            return unhealthy("RAFT NO LEADER");
        };
        match self.check(check).await {
            Ok(()) => page(StatusCode::OK, JSON, r#"{"health":"true","reason":""}"#),
            Err(why) => unhealthy(&format!("RANGE ERROR:{why}")),
        }
    }

    /// Makes checks and lists what came of them, if that was asked for or if one failed.
    async fn checks(&self, query: &str, checks: &[Check]) -> Response<Body> {
        let mut lines = String::new();
        let mut failed = false;
        for check in checks.iter().filter(|check| !has(query, "exclude", check.name())) {
            match self.check(*check).await {
                Ok(()) => lines.push_str(&format!("[+]{} ok\n", check.name())),
                Err(why) => {
                    failed = true;
                    lines.push_str(&format!("[-]{} failed: {why}\n", check.name()));
                }
            }
        }
        let verbose = query.split('&').any(|pair| pair.split('=').next() == Some("verbose"));
        match (failed, verbose) {
            (true, _) => page(StatusCode::SERVICE_UNAVAILABLE, TEXT, lines),
            (false, true) => page(StatusCode::OK, TEXT, lines + "ok\n"),
            (false, false) => page(StatusCode::OK, TEXT, "ok\n"),
        }
    }

    async fn check(&self, check: Check) -> Result<(), String> {
        if check == Check::DataCorruption {
            let is_raised = self.member.published.state().alarms().has(AlarmKind::Corrupt);
            return if is_raised { Err("alarm activated: CORRUPT".to_owned()) } else { Ok(()) };
        }
        let serializable = check == Check::SerializableRead;
        if self.member.identity.is_witness() {
            // It reads nothing, and does its part as long as it hears of a leader.
            let is_fine = serializable || self.member.knows_leader();
            return if is_fine { Ok(()) } else { Err(Failure::NoLeader.text()) };
        }
        // The state that comes back is not looked at: to get one is the check.
        let state = self.member.state_for(serializable).await;
        state.map(drop).map_err(|failure| failure.text())
    }
}

/// Something that can be found wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Self::DataCorruption => "data_corruption",
            Self::SerializableRead => "serializable_read",
            Self::LinearizableRead => "linearizable_read",
        }
    }
}

/// Whether a query has this pair. Nothing that is looked for needs decoding.
fn has(query: &str, name: &str, value: &str) -> bool {
    query.split('&').any(|pair| pair.split_once('=') == Some((name, value)))
}

/// `health` is a text and not a truth value, because it always was.
fn unhealthy(reason: &str) -> Response<Body> {
    let mut text = String::from(r#"{"health":"false","reason":"#);
    push_string(&mut text, reason);
    text.push('}');
    page(StatusCode::SERVICE_UNAVAILABLE, JSON, text)
}

/// How the members look from this one, itself first. Never waits for anybody.
fn peers(member: &Member) -> String {
    let (status, now) = (member.handle.status(), member.handle.clock().now());
    let seconds = |since| format!("{:.3}", now.since(since).as_secs_f64());
    let or_null = |value: Option<String>| value.unwrap_or_else(|| "null".to_owned());
    let mut text = format!("[{{\"id\":\"{:x}\",\"state\":\"self\"", status.id.0);
    push_about(&mut text, &status.about);
    for peer in &status.peers {
        let health = &peer.health;
        let told_by = health.told_by.map(|by| format!("\"{:x}\"", by.0));
        text.push_str(&format!(
            ",{{\"id\":\"{:x}\",\"state\":\"{}\",\"seconds\":{},\"told_by\":{},\
             \"last_contact_seconds\":{},\"phi\":{},\"connected\":{}",
            peer.id.0,
            health.state.name(),
            seconds(health.since),
            or_null(told_by),
            or_null(health.last_contact.map(seconds)),
            f64::from(health.phi(now).0) / 1000.0,
            peer.connected,
        ));
        push_about(&mut text, &health.about);
    }
    text.push_str("]\n");
    text
}

/// What a member says about itself, as the end of an object.
fn push_about(text: &mut String, about: &About) {
    let About { version, zone, addresses, leader_priority } = about;
    for (name, value) in [("version", version), ("zone", zone)] {
        text.push_str(&format!(",\"{name}\":"));
        push_string(text, value);
    }
    text.push_str(&format!(",\"leader_priority\":{}", leader_priority.get()));
    text.push_str(",\"addresses\":[");
    for (number, address) in addresses.iter().enumerate() {
        text.push_str(if number == 0 { "" } else { "," });
        push_string(text, address);
    }
    text.push_str("]}");
}

fn versions() -> String {
    format!(
        r#"{{"etcdserver":"{}","etcdcluster":"{}","storage":"{}"}}"#,
        version::ETCD,
        version::CLUSTER,
        version::CLUSTER
    )
}

fn page(status: StatusCode, content: HeaderValue, text: impl Into<Bytes>) -> Response<Body> {
    let mut answer = Response::new(Body::new(Full::new(text.into())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, content);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        assert!(has("serializable=true&exclude=NOSPACE", "exclude", "NOSPACE"));
        assert!(!has("serializable=false", "serializable", "true"));
        assert!(!has("", "serializable", "true"));
    }

    #[test]
    fn versions_are_three() {
        assert!(versions().starts_with("{\"etcdserver\":\"3.6."), "{}", versions());
        assert!(versions().ends_with(",\"etcdcluster\":\"3.6.0\",\"storage\":\"3.6.0\"}"));
    }
}
