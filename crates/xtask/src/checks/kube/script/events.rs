//! Events, which live for a while.

use std::io;
use std::time::{Duration, Instant};

use quorate_proto::etcdserverpb::RangeRequest;

use super::Script;
use crate::checks::kube::apiserver::page;
use crate::checks::kube::history::Guard;
use crate::checks::kube::judge::{Watched, everything_now};
use crate::checks::kube::objects::Scale;

/// Events live so long, in seconds, in this check.
const EVENT_TTL: i64 = 3;
const TIME_OF_EVENTS: Duration = Duration::from_secs(EVENT_TTL as u64);

impl Script {
    /// Events share leases, and go with them: not before their time, and all of a lease at once. Which lease ends
    /// first is not determined, and a slow machine may not be done with the events of one before it ends, so nothing
    /// of this is compared.
    pub(super) async fn events_with_leases(&mut self, scale: Scale) -> io::Result<Watched> {
        let (before, start) = everything_now(&self.clients[0]).await?;
        let cachers = self.cachers(scale, |_| start + 1);
        let determined = self.transcript.len();
        let mut leases = Vec::new();
        for lease in 0..2 {
            let granted = Instant::now();
            let answer = self.client().grant_any(EVENT_TTL).await.map_err(io::Error::other)?;
            if answer.id == 0 || answer.ttl != EVENT_TTL {
                self.wrong.push(format!("a lease of {EVENT_TTL} s was granted as {answer:?}"));
            }
            let prefix = format!("/registry/events/lease-{lease}/");
            let mut events = 0;
            while events < 100 {
                let (key, value) = (format!("{prefix}{events:03}").into(), self.value());
                if !self.write(key, Guard::Mod(0), Some((value, answer.id))).await {
                    if granted.elapsed() < TIME_OF_EVENTS {
                        self.wrong.push("an event was not created".to_owned());
                    }
                    break;
                }
                events += 1;
            }
            leases.push((granted, prefix, events));
        }
        self.transcript.truncate(determined);
        let patience = Instant::now() + Duration::from_secs(60);
        for (granted, prefix, events) in leases {
            let client = self.client();
            loop {
                let all = page(&prefix, None, 0, 0);
                let all = RangeRequest { count_only: true, ..all };
                let count = client.range(all).await.map_err(io::Error::other)?.count;
                let age = granted.elapsed();
                if count == 0 {
                    if age < TIME_OF_EVENTS {
                        self.wrong.push(format!("{prefix} lived {age:?} only"));
                    }
                    break;
                }
                if count != events || Instant::now() > patience {
                    self.wrong.push(format!("{prefix} has {count} of {events} after {age:?}"));
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(self.judge(before, start, cachers).await?.watched)
    }
}
