//! `get`, `put` and `del`.

use std::io::Read as _;

use bytes::Bytes;
use clap::ValueEnum;
use quorate_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use quorate_proto::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest};
use serde_json::json;

use crate::Run;
use crate::connect::{Connection, Error, request};
use crate::output::{self, Format};

/// Which keys are meant.
#[derive(Debug, clap::Args)]
pub(crate) struct Keys {
    /// The key, or the first of a range.
    key: String,
    /// The end of the range, which does not belong to it.
    #[arg(conflicts_with_all = ["prefix", "from_key"])]
    end: Option<String>,
    /// All keys that begin with KEY.
    #[arg(long, conflicts_with = "from_key")]
    prefix: bool,
    /// All keys from KEY on.
    #[arg(long)]
    from_key: bool,
}

impl Keys {
    /// The key and the end of the range, as they are on the wire.
    pub(crate) fn bounds(&self) -> (Bytes, Bytes) {
        let key = Bytes::from(self.key.clone());
        let open_end = Bytes::from_static(b"\0");
        // All keys: those from the first possible one on.
        let key =
            if key.is_empty() && (self.prefix || self.from_key) { open_end.clone() } else { key };
        let end = match &self.end {
            _ if self.prefix => prefix_end(self.key.as_bytes()),
            _ if self.from_key => open_end,
            Some(end) => Bytes::from(end.clone()),
            None => Bytes::new(),
        };
        (key, end)
    }
}

/// The first key after all those that begin with `prefix`; etcd's sign for "no end" if there is none.
fn prefix_end(prefix: &[u8]) -> Bytes {
    let kept = prefix.iter().rposition(|&byte| byte < 0xff).map_or(0, |at| at + 1);
    let mut end = prefix[..kept].to_vec();
    match end.last_mut() {
        Some(last) => *last += 1,
        None => end.push(0),
    }
    end.into()
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SortBy {
    Key,
    Version,
    Create,
    Modify,
    Value,
}

/// Read a key, or a range of keys.
#[derive(Debug, clap::Args)]
pub(crate) struct Get {
    #[command(flatten)]
    keys: Keys,
    /// The most keys to print.
    #[arg(long, default_value_t = 0)]
    limit: i64,
    /// Read as of this revision.
    #[arg(long, default_value_t = 0)]
    rev: i64,
    /// What to sort by.
    #[arg(long, value_enum, default_value_t = SortBy::Key)]
    sort_by: SortBy,
    /// Sort downward.
    #[arg(long)]
    descending: bool,
    /// Print keys without their values.
    #[arg(long)]
    keys_only: bool,
    /// Print how many keys there are.
    #[arg(long)]
    count_only: bool,
    /// Read what the member has, which may be old, and works without a leader.
    #[arg(long)]
    serializable: bool,
    /// Read what is at most so old, as `500ms` or `2s`: the member answers by itself if it knows that it is.
    #[arg(long, value_parser = parse_staleness, conflicts_with = "serializable")]
    max_staleness: Option<u64>,
    /// Read when the member has reached this revision, and wait until then.
    #[arg(long, conflicts_with = "serializable")]
    min_revision: Option<u64>,
}

/// Milliseconds of a time as `500ms` or `2s`.
fn parse_staleness(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text} is no time such as 500ms or 2s");
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s').ok_or_else(wrong)?, 1_000),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(wrong)
}

impl Run for Get {
    async fn run(self, connection: &Connection, format: Format) -> Result<(), Error> {
        let (key, range_end) = self.keys.bounds();
        let order = if self.descending { SortOrder::Descend } else { SortOrder::Ascend };
        let target = match self.sort_by {
            SortBy::Key => SortTarget::Key,
            SortBy::Version => SortTarget::Version,
            SortBy::Create => SortTarget::Create,
            SortBy::Modify => SortTarget::Mod,
            SortBy::Value => SortTarget::Value,
        };
        let message = RangeRequest {
            key,
            range_end,
            limit: self.limit,
            revision: self.rev,
            sort_order: order.into(),
            sort_target: target.into(),
            serializable: self.serializable,
            keys_only: self.keys_only,
            count_only: self.count_only,
            ..RangeRequest::default()
        };
        let (response, staleness) = connection
            .call(|clients, timeout| {
                let mut message = request(message.clone(), timeout);
                let metadata = message.metadata_mut();
                if let Some(millis) = self.max_staleness {
                    metadata.insert("quorate-max-staleness", millis.into());
                }
                if let Some(revision) = self.min_revision {
                    metadata.insert("quorate-min-revision", revision.into());
                }
                async move {
                    let response = clients.kv().range(message).await?;
                    let told = response.metadata().get("quorate-staleness-ms");
                    let told = told.and_then(|millis| millis.to_str().ok()?.parse::<u64>().ok());
                    Ok(response.map(|answer| (answer, told)))
                }
            })
            .await?;
        match format {
            Format::Json => {
                let mut object = json!({
                    "revision": response.header.unwrap_or_default().revision,
                    "count": response.count,
                    "more": response.more,
                    "kvs": response.kvs.iter().map(output::json_key_value).collect::<Vec<_>>(),
                });
                if let Some(millis) = staleness {
                    object["staleness_ms"] = millis.into();
                }
                output::object(&object);
            }
            _ if self.count_only => output::line(response.count.to_string()),
            _ if self.keys_only => response.kvs.iter().for_each(|kv| output::line(&kv.key)),
            _ => output::key_values(&response.kvs, format),
        }
        Ok(())
    }
}

/// Write a key.
#[derive(Debug, clap::Args)]
pub(crate) struct Put {
    /// The key.
    key: String,
    /// The value; read from standard input if it is not given.
    value: Option<String>,
    /// The lease with which the key ends, in hexadecimal.
    #[arg(long, value_parser = crate::lease::parse_id)]
    lease: Option<i64>,
    /// Print what was there before.
    #[arg(long)]
    prev: bool,
}

impl Run for Put {
    async fn run(self, connection: &Connection, format: Format) -> Result<(), Error> {
        let value = match self.value {
            Some(value) => Bytes::from(value),
            None => {
                let mut value = Vec::new();
                std::io::stdin()
                    .read_to_end(&mut value)
                    .map_err(|error| Error::Input(format!("standard input: {error}")))?;
                value.into()
            }
        };
        let message = PutRequest {
            key: self.key.into(),
            value,
            lease: self.lease.unwrap_or_default(),
            prev_kv: self.prev,
            ..PutRequest::default()
        };
        let response = connection
            .call(|clients, timeout| {
                let message = request(message.clone(), timeout);
                async move { clients.kv().put(message).await }
            })
            .await?;
        let revision = response.header.unwrap_or_default().revision;
        match format {
            Format::Json => {
                let mut object = json!({ "revision": revision });
                if let Some(previous) = &response.prev_kv {
                    object["prev_kv"] = output::json_key_value(previous);
                }
                output::object(&object);
            }
            Format::Text => {
                output::line(format!("OK, revision {revision}"));
                output::key_values(response.prev_kv.as_slice(), format);
            }
            Format::Raw => output::key_values(response.prev_kv.as_slice(), format),
        }
        Ok(())
    }
}

/// Delete a key, or a range of keys.
#[derive(Debug, clap::Args)]
pub(crate) struct Delete {
    #[command(flatten)]
    keys: Keys,
    /// Print what was deleted.
    #[arg(long)]
    prev: bool,
}

impl Run for Delete {
    async fn run(self, connection: &Connection, format: Format) -> Result<(), Error> {
        let (key, range_end) = self.keys.bounds();
        let message = DeleteRangeRequest { key, range_end, prev_kv: self.prev };
        let response = connection
            .call(|clients, timeout| {
                let message = request(message.clone(), timeout);
                async move { clients.kv().delete_range(message).await }
            })
            .await?;
        let deleted = response.deleted;
        match format {
            Format::Json => output::object(&json!({
                "revision": response.header.unwrap_or_default().revision,
                "deleted": deleted,
                "prev_kvs": response.prev_kvs.iter().map(output::json_key_value).collect::<Vec<_>>(),
            })),
            Format::Text => {
                output::line(match deleted {
                    1 => "1 key deleted".to_owned(),
                    count => format!("{count} keys deleted"),
                });
                output::key_values(&response.prev_kvs, format);
            }
            Format::Raw => output::key_values(&response.prev_kvs, format),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        let cases: [(&[u8], &[u8]); 4] =
            [(b"a", b"b"), (b"a\xff", b"b"), (b"\xff\xff", b"\0"), (b"", b"\0")];
        for (prefix, end) in cases {
            assert_eq!(prefix_end(prefix), end, "{prefix:?}");
        }
    }
}
