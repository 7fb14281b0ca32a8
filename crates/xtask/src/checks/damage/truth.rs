//! What was acknowledged, and whether a member still says so.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use quorate_proto::etcdserverpb::RangeResponse;
use quorate_proto::mvccpb::KeyValue;

use crate::checks::client::Client;

/// What all keys of the data set begin with.
const PREFIX: &str = "damage/";

/// The keys that are there, and the revision of the last change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Truth {
    keys: BTreeMap<Bytes, KeyValue>,
    revision: i64,
}

/// How an answer differs from what was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    /// It is that of an older state: acknowledged writes are missing.
    Lost(String),
    /// It is that of no state that ever was.
    Wrong(String),
}

impl Truth {
    /// Puts and deletes a part of the data set: so many keys, each several times.
    pub(crate) async fn load(&mut self, client: &Client, part: u32, keys: u32) -> io::Result<()> {
        for round in 0..3 {
            for number in 0..keys {
                let key = format!("{PREFIX}{part}/{number:04}");
                if round == 2 && number % 5 == 0 {
                    let revision = client.delete(key.clone()).await.map_err(io::Error::other)?;
                    self.keys.remove(key.as_bytes());
                    self.revision = revision;
                    continue;
                }
                let value = format!("{part}:{number}:{round}:").repeat(6);
                let revision =
                    client.put(key.clone(), value.clone()).await.map_err(io::Error::other)?;
                let kv = self.keys.entry(key.clone().into()).or_insert_with(|| KeyValue {
                    key: key.into(),
                    create_revision: revision,
                    ..KeyValue::default()
                });
                kv.value = value.into();
                kv.version += 1;
                kv.mod_revision = revision;
                self.revision = revision;
            }
        }
        Ok(())
    }

    /// The revision of the last change.
    pub(crate) fn revision(&self) -> i64 {
        self.revision
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Reads everything from a member; no answer is an error.
    pub(crate) async fn read(
        client: &Client,
        serializable: bool,
    ) -> Result<RangeResponse, tonic::Status> {
        client.prefix(PREFIX, serializable).await
    }

    /// Holds an answer against what was acknowledged.
    pub(crate) fn compare(&self, answer: &RangeResponse) -> Result<(), Difference> {
        let revision = answer.header.as_ref().map_or(0, |header| header.revision);
        let found: BTreeMap<&Bytes, &KeyValue> =
            answer.kvs.iter().map(|kv| (&kv.key, kv)).collect();
        let mut differ = Vec::new();
        for (key, kv) in &self.keys {
            if found.get(key) != Some(&kv) {
                differ.push(format!("{key:?} is {:?} and was {kv:?}", found.get(key)));
            }
        }
        for key in found.keys().filter(|key| !self.keys.contains_key(**key)) {
            differ.push(format!("{key:?} was deleted"));
        }
        let Some(first) = differ.first() else { return Ok(()) };
        let what = format!(
            "{} keys differ at revision {revision} of {}, the first: {first}",
            differ.len(),
            self.revision
        );
        Err(if revision < self.revision { Difference::Lost(what) } else { Difference::Wrong(what) })
    }
}

#[cfg(test)]
mod tests {
    use quorate_proto::etcdserverpb::ResponseHeader;

    use super::*;

    #[test]
    fn an_older_state_is_a_loss_and_any_other_one_is_wrong() {
        let kv = |key: &'static str, value: &'static str| KeyValue {
            key: Bytes::from_static(key.as_bytes()),
            value: Bytes::from_static(value.as_bytes()),
            ..KeyValue::default()
        };
        let keys = [kv("a", "1"), kv("b", "2")].map(|kv| (kv.key.clone(), kv)).into();
        let truth = Truth { keys, revision: 5 };
        let answer = |revision, kvs: &[KeyValue]| RangeResponse {
            header: Some(ResponseHeader { revision, ..ResponseHeader::default() }),
            kvs: kvs.to_vec(),
            ..RangeResponse::default()
        };
        assert_eq!(truth.compare(&answer(5, &[kv("a", "1"), kv("b", "2")])), Ok(()));
        let lost = truth.compare(&answer(4, &[kv("a", "1")]));
        assert!(matches!(lost, Err(Difference::Lost(_))), "{lost:?}");
        let cases: [&[KeyValue]; 3] = [
            &[kv("a", "1")],
            &[kv("a", "1"), kv("b", "3")],
            &[kv("a", "1"), kv("b", "2"), kv("c", "3")],
        ];
        for kvs in cases {
            let wrong = truth.compare(&answer(5, kvs));
            assert!(matches!(wrong, Err(Difference::Wrong(_))), "{wrong:?}");
        }
    }
}
