//! `watch`.

use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use quorate_proto::etcdserverpb::{WatchCreateRequest, WatchRequest};
use quorate_proto::mvccpb::Event;
use quorate_proto::mvccpb::event::EventType;
use serde_json::json;
use tokio_stream::StreamExt as _;

use crate::Run;
use crate::connect::{Connection, Error};
use crate::kv::Keys;
use crate::output::{self, Format};

/// Follow the changes of a key, or of a range of keys.
#[derive(Debug, clap::Args)]
pub(crate) struct Watch {
    #[command(flatten)]
    keys: Keys,
    /// Begin with this revision, instead of now.
    #[arg(long, default_value_t = 0)]
    rev: i64,
    /// Print what was there before each change.
    #[arg(long)]
    prev: bool,
}

impl Run for Watch {
    async fn run(self, connection: &Connection, format: Format) -> Result<(), Error> {
        let (key, range_end) = self.keys.bounds();
        let create = WatchCreateRequest {
            key,
            range_end,
            start_revision: self.rev,
            prev_kv: self.prev,
            ..WatchCreateRequest::default()
        };
        let message = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        let mut responses = connection
            .call(|clients, _| {
                // A stream of requests that does not end keeps the watch open.
                let requests = tokio_stream::once(message.clone()).chain(tokio_stream::pending());
                async move { clients.watch().watch(requests).await }
            })
            .await?;
        while let Some(response) = responses.message().await.map_err(Error::Refused)? {
            if response.canceled {
                let why = match response.compact_revision {
                    0 => response.cancel_reason,
                    revision => format!(
                        "revision {} is compacted; the first that is left is {revision}",
                        self.rev
                    ),
                };
                return Err(Error::Input(format!("the watch was cancelled: {why}")));
            }
            response.events.iter().for_each(|event| print(event, format));
        }
        Err(Error::Unreachable("the server ended the watch".to_owned()))
    }
}

fn print(event: &Event, format: Format) {
    let kv = event.kv.clone().unwrap_or_default();
    let deleted = event.r#type == i32::from(EventType::Delete);
    match format {
        Format::Json => {
            let mut object = json!({ "type": if deleted { "delete" } else { "put" } });
            if deleted {
                object["key"] = output::json_bytes(&kv.key);
                object["mod_revision"] = json!(kv.mod_revision);
            } else {
                object["kv"] = output::json_key_value(&kv);
            }
            if let Some(previous) = &event.prev_kv {
                object["prev_kv"] = output::json_key_value(previous);
            }
            output::object(&object);
        }
        Format::Raw => {
            if !deleted {
                output::line(&kv.value);
            }
        }
        Format::Text => {
            let what = if deleted { "DELETE" } else { "PUT" };
            output::line(format!("{what} at revision {}", kv.mod_revision));
            output::line(&kv.key);
            if !deleted {
                output::line(&kv.value);
            }
            if let Some(previous) = &event.prev_kv {
                output::line(format!("before, at revision {}:", previous.mod_revision));
                output::line(&previous.value);
            }
        }
    }
}
