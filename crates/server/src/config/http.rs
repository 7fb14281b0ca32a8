//! What is served over plain HTTP.

use super::typed::Typed;
use super::url::Url;
use super::{Stop, urls};

/// What is served over plain HTTP, and where.
#[derive(Clone, Debug)]
pub struct Http {
    /// Whether the calls can be made in JSON, too.
    pub gateway: bool,
    /// Whether more is measured than costs nearly nothing.
    pub extensive_metrics: bool,
    /// Where `/metrics` and the probes are served beside the URLs for clients; with `https`, as those for clients are.
    pub listen_metrics: Vec<Url>,
}

impl Http {
    pub(super) fn mean(typed: &Typed) -> Result<Self, Stop> {
        let extensive_metrics = match typed.get("metrics") {
            None | Some("basic") => false,
            Some("extensive") => true,
            Some(other) => return Err(typed.invalid("metrics", other)),
        };
        let listen_metrics = match typed.get("listen-metrics-urls") {
            None | Some("") => Vec::new(),
            Some(_) => urls(typed, "listen-metrics-urls", "")?,
        };
        for url in &listen_metrics {
            url.check_listen().map_err(Stop::Refused)?;
        }
        let gateway = typed.get("enable-grpc-gateway") != Some("false");
        Ok(Self { gateway, extensive_metrics, listen_metrics })
    }
}
