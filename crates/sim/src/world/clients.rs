//! Requests: from a client, or from the world itself, until they end.

use std::time::Duration;

use quorate_node::{Freshness, Input};
use quorate_raft::NodeId;

use super::{Event, Outcome, Phase, World};
use crate::model::Request;
use crate::oracle::RequestId;
use crate::process::GROUP;
use crate::sabotage::Sabotage;

impl World {
    /// A client that has nothing under way thinks for a while.
    pub(super) fn rest(&mut self, client: usize) {
        self.workload.client_mut(client).waits_for = None;
        let think = self.chance.long_tailed(self.options.think);
        self.schedule(think, Event::Client { client });
    }

    pub(super) fn client(&mut self, client: usize) -> Outcome {
        if self.phase != Phase::Faulty || self.workload.clients()[client].waits_for.is_some() {
            return Ok(());
        }
        if let Some(left) = self.options.quiet.and_then(|quiet| quiet.pause_left(self.now)) {
            let think = self.chance.long_tailed(self.options.think);
            self.schedule(left + think, Event::Client { client });
            return Ok(());
        }
        let running: Vec<NodeId> =
            self.core.iter().copied().filter(|id| self.places[id].process.is_some()).collect();
        if running.is_empty() {
            self.rest(client);
            return Ok(());
        }
        let node = *self.chance.pick(&running);
        let model = self.oracle.model();
        let last = self.oracle.last();
        let request = self
            .workload
            .request(|key| model.read(key, last).kvs.first().map_or(0, |kv| kv.mod_revision));
        self.workload.client_mut(client).since = self.now;
        let is_read = matches!(request, Request::Read { .. });
        if is_read && self.sabotage == Some(Sabotage::LocalReads) {
            let id = self.oracle.begin(request);
            self.workload.client_mut(client).waits_for = Some((id, node));
            return self.answer_read(node, id, None);
        }
        let id = self.ask(node, request);
        self.workload.client_mut(client).waits_for = Some((id, node));
        Ok(())
    }

    pub(super) fn ask(&mut self, node: NodeId, request: Request) -> RequestId {
        let now = self.now;
        let command = request.command();
        let freshness = match &request {
            Request::Read { .. } => self.stale_reads.freshness(self.oracle.floor()),
            _ => Freshness::Linearizable,
        };
        let id = match freshness {
            Freshness::Linearizable => self.oracle.begin(request.clone()),
            Freshness::AtMost(_) | Freshness::AtLeast(_) => {
                self.oracle.begin_stale(request.clone())
            }
        };
        self.begin_stale(node, id, freshness);
        self.trace.line(now, || format!("{node} is asked {id:?}: {}", brief_request(&request)));
        let input = match command {
            Some(command) => Input::Propose { group: GROUP, command: command.encode(), waiter: id },
            None => Input::Read { group: GROUP, freshness, waiter: id },
        };
        self.asked.insert(id, (node, now));
        self.post(node, input);
        id
    }

    /// A request is over, whoever asked.
    pub(super) fn ended(&mut self, request: RequestId, well: bool) {
        if let Some(client) = self.workload.waiting_for(request) {
            self.report.answered += u64::from(well);
            self.rest(client);
        }
        self.chores.remove(&request);
        self.stale_reads.open.remove(&request);
        self.asked.remove(&request);
        self.lease_expiry_ended(request);
        self.lease_command_ended(request, well);
        if let Some(node) = self.proofs.remove(&request) {
            // One that failed is asked again at the next look.
            if well {
                self.proofs_done += 1;
                self.proven.insert(node);
            }
        }
    }

    /// A request that a running member should have ended by now: one way or the other it does, once the time
    /// is up for it, by a clock that may be slow, and the machine has done what was before it.
    pub(super) fn waits_too_long(&self) -> Option<(RequestId, NodeId)> {
        let patience = self.options.request_timeout * 4 + Duration::from_secs(1);
        let open = self.asked.iter().filter(|(id, _)| self.oracle.request(**id).is_some());
        let running = open.filter(|(_, (node, _))| {
            let process = self.places[node].process.as_ref();
            process.is_some_and(|process| !process.is_healing())
        });
        let late = running.filter(|(_, (_, since))| self.now - *since > patience);
        late.map(|(id, (node, _))| (*id, *node)).next()
    }

    /// Asks a member to get a write through.
    pub(super) fn prove(&mut self, node: NodeId) {
        if self.phase == Phase::Faulty || self.places[&node].process.is_none() {
            return;
        }
        if self.is_witness(node) {
            // It takes no requests. That it makes progress shows in that of the others.
            self.proven.insert(node);
            return;
        }
        let request = self.workload.write();
        let id = self.ask(node, request);
        self.proofs.insert(id, node);
    }
}

fn brief_request(request: &Request) -> String {
    let short =
        |value: &bytes::Bytes| String::from_utf8_lossy(value).trim_end_matches('.').to_owned();
    match request {
        Request::Put { key, value } => format!("put {} {}", short(key), short(value)),
        Request::Swap { key, expected, value } => {
            format!("swap {} {} if at {expected}", short(key), short(value))
        }
        Request::Delete { key } => format!("delete {}", short(key)),
        Request::Compact { revision } => format!("compact {revision}"),
        Request::Read { key } => format!("read {}", short(key)),
        Request::Attach { key, lease, .. } => format!("attach {} to {lease}", short(key)),
        Request::Grant { .. }
        | Request::Revoke { .. }
        | Request::Expire { .. }
        | Request::Alarm(_) => format!("{request:?}"),
    }
}
