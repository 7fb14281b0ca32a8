//! The pages for people and probes: `/health`, `/version`, `/metrics`, `/livez`, `/readyz` and `/peers`. The
//! last one is Quorate's own; the others are etcd's. What the probes look at is in `http/checks.rs`.

mod checks;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use quorate_host::About;
use tonic::body::Body;

pub(crate) use self::checks::{Check, Probe};
use crate::log::push_string;
use crate::member::Member;
use crate::metrics;
use crate::quota;
use crate::version;

/// The pages.
#[derive(Debug)]
pub(crate) struct Pages {
    pub(crate) member: Arc<Member>,
    /// Whether only those are served that tell how the member does: on `--listen-metrics-urls`.
    pub(crate) only_probes: bool,
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const PROMETHEUS: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// What a path leads to.
enum Found {
    Version,
    Metrics,
    Peers,
    Health,
    /// All checks of a probe, or one.
    Probe(Probe, Option<Check>),
}

impl Found {
    fn at(path: &str) -> Option<Self> {
        Some(match path {
            "/version" => Self::Version,
            "/metrics" => Self::Metrics,
            "/peers" => Self::Peers,
            "/health" => Self::Health,
            path => {
                let mut parts = path.strip_prefix('/')?.split('/');
                let probe = Probe::named(parts.next()?)?;
                let check = match parts.next() {
                    None => None,
                    Some(name) => Some(*probe.checks().iter().find(|check| check.name() == name)?),
                };
                if parts.next().is_some() {
                    return None;
                }
                Self::Probe(probe, check)
            }
        })
    }
}

impl Pages {
    /// Answers one request. What the request's body holds does not matter to any page.
    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Response<Body> {
        let uri = request.uri();
        let found = match Found::at(uri.path()) {
            Some(Found::Version | Found::Peers) if self.only_probes => None,
            found => found,
        };
        let Some(found) = found else {
            return page(StatusCode::NOT_FOUND, TEXT, "404 page not found\n");
        };
        if request.method() != Method::GET {
            let mut answer = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "Method Not Allowed\n");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            return answer;
        }
        let query = uri.query().unwrap_or_default();
        match found {
            Found::Version => page(StatusCode::OK, JSON, versions()),
            Found::Metrics => page(StatusCode::OK, PROMETHEUS, metrics::render(&self.member)),
            Found::Peers => page(StatusCode::OK, JSON, peers(&self.member)),
            Found::Health => self.health(query).await,
            Found::Probe(probe, None) => {
                let excluded = |check: &Check| has(query, "exclude", check.name());
                let checks: Vec<_> =
                    probe.checks().iter().filter(|check| !excluded(check)).copied().collect();
                self.probe(query, probe, &checks).await
            }
            Found::Probe(probe, Some(check)) => self.probe(query, probe, &[check]).await,
        }
    }

    /// Whether no alarm is raised but those that do not matter to whoever asks, and the cluster behind this member
    /// answers. With `serializable=true`, whether the member itself does.
    async fn health(&self, query: &str) -> Response<Body> {
        let reason = self.health_failure(query).await;
        self.member.metrics.health(reason.is_none());
        match reason {
            None => page(StatusCode::OK, JSON, r#"{"health":"true","reason":""}"#),
            Some(reason) => unhealthy(&reason),
        }
    }

    async fn health_failure(&self, query: &str) -> Option<String> {
        let state = self.member.published.state();
        let mut alarms = state.alarms().iter().map(|alarm| quota::name(alarm.kind));
        if let Some(alarm) = alarms.find(|alarm| !has(query, "exclude", alarm)) {
            return Some(format!("ALARM {alarm}"));
        }
        let check = if has(query, "serializable", "true") {
            Check::SerializableRead
        } else if self.member.knows_leader() {
            Check::LinearizableRead
        } else {
            return Some("RAFT NO LEADER".to_owned());
        };
        let made = check.make(&self.member).await;
        made.err().map(|why| format!("RANGE ERROR:{why}"))
    }

    /// Makes checks and lists what came of them, if that was asked for or if one failed.
    async fn probe(&self, query: &str, probe: Probe, checks: &[Check]) -> Response<Body> {
        let mut lines = String::new();
        let mut failed = false;
        for check in checks {
            let made = check.make(&self.member).await;
            self.member.metrics.checked(probe, *check, made.is_ok());
            match made {
                Ok(()) => lines.push_str(&format!("[+]{} ok\n", check.name())),
                Err(why) => {
                    failed = true;
                    lines.push_str(&format!("[-]{} failed: {why}\n", check.name()));
                }
            }
        }
        let verbose = query.split('&').any(|pair| pair.split('=').next() == Some("verbose"));
        let mut answer = match (failed, verbose) {
            (true, _) => page(StatusCode::SERVICE_UNAVAILABLE, TEXT, lines + "\n"),
            (false, true) => page(StatusCode::OK, TEXT, lines + "ok\n"),
            (false, false) => page(StatusCode::OK, TEXT, "ok\n"),
        };
        answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        answer
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
    fn paths() {
        let is = |path| Found::at(path).is_some();
        for path in ["/livez", "/readyz", "/livez/serializable_read", "/readyz/non_learner"] {
            assert!(is(path), "{path}");
        }
        for path in ["/livez/", "/livez/non_learner", "/readyz/x", "/readyz/non_learner/", "/", "x"]
        {
            assert!(!is(path), "{path}");
        }
    }

    #[test]
    fn versions_are_three() {
        assert!(versions().starts_with("{\"etcdserver\":\"3.6."), "{}", versions());
        assert!(versions().ends_with(",\"etcdcluster\":\"3.6.0\",\"storage\":\"3.6.0\"}"));
    }
}
