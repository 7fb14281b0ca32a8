//! A state as the file of etcd's backend: version 3.5 of what is in it, which all versions since then read.

use prost::Message as _;
use quorate_bolt::{KEY_BYTES_MAX, Layout, Writer};
use quorate_mvcc::auth::{self, Permission};
use quorate_mvcc::engine::EngineError;
use quorate_mvcc::record::revision_key;
use quorate_mvcc::revision::Revision;
use quorate_mvcc::{Auth, ReadState};
use quorate_proto::authpb;
use quorate_proto::etcdserverpb as pb;

use super::messages::Lease;
use super::{buckets, facts};
use crate::log::push_string;

/// Why an image is not finished.
#[derive(Debug)]
pub(crate) enum ImageError {
    /// The store can't be read.
    Unreadable(EngineError),
    /// A name is longer than bbolt's keys may be.
    NameTooLong,
    /// Nobody wants it any more.
    Gone,
}

impl From<EngineError> for ImageError {
    fn from(error: EngineError) -> Self {
        Self::Unreadable(error)
    }
}

/// What is to be written.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) state: ReadState,
    /// The members as clients list them, ascending.
    pub(crate) members: Vec<pb::Member>,
}

impl Image {
    /// Writes it page by page. The first time with any layout, to nowhere, to learn the right one.
    ///
    /// # Errors
    /// Those of `sink`, and if the store can't be read.
    pub(crate) fn write(
        &self,
        layout: Layout,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), ImageError>,
    ) -> Result<Layout, ImageError> {
        let mut writer = Writer::begin(layout, sink)?;
        let out = &mut writer;
        // By name, as bbolt has them.
        out.bucket(buckets::ALARM)?;
        self.write_auth(out)?;
        out.bucket(buckets::CLUSTER)?;
        self.write_keys(out)?;
        self.write_leases(out)?;
        self.write_members(out)?;
        out.bucket(buckets::MEMBERS_REMOVED)?;
        self.write_meta(out)?;
        writer.finish()
    }

    fn write_auth(&self, out: &mut Writer<'_, ImageError>) -> Result<(), ImageError> {
        let auth = self.state.auth();
        out.bucket(buckets::AUTH)?;
        out.put(facts::AUTH_ENABLED, &[u8::from(auth.is_enabled())])?;
        out.put(facts::AUTH_REVISION, &auth.revision().to_be_bytes())?;
        out.bucket(buckets::ROLES)?;
        for name in auth.roles() {
            put_named(out, name, &role(auth, name).encode_to_vec())?;
        }
        out.bucket(buckets::USERS)?;
        for name in auth.users() {
            let user = auth.user(name).expect("it is one of the users");
            put_named(out, name, &self::user(name, user).encode_to_vec())?;
        }
        Ok(())
    }

    fn write_keys(&self, out: &mut Writer<'_, ImageError>) -> Result<(), ImageError> {
        out.bucket(buckets::KEY)?;
        let (mut key, mut value) = (Vec::new(), Vec::new());
        let mut newest = self.state.compacted();
        for record in self.state.records() {
            let record = record?;
            key.clear();
            value.clear();
            record.put_key(&mut key);
            record.put_value(&mut value);
            out.put(&key, &value)?;
            newest = newest.max(record.revision.main);
        }
        // etcd finds the revision by what it has: without this it would begin with an older one.
        let revision = Revision { main: self.state.revision(), sub: 0 };
        if revision.main > newest.max(1) {
            out.put(&revision_key(revision), &[])?;
        }
        Ok(())
    }

    fn write_leases(&self, out: &mut Writer<'_, ImageError>) -> Result<(), ImageError> {
        out.bucket(buckets::LEASE)?;
        for lease in self.state.leases()? {
            let message = Lease { id: lease.id, ttl: lease.ttl, remaining_ttl: 0 };
            out.put(&lease.id.to_be_bytes(), &message.encode_to_vec())?;
        }
        Ok(())
    }

    /// For whoever reads the file. Tools that restore it take these away.
    fn write_members(&self, out: &mut Writer<'_, ImageError>) -> Result<(), ImageError> {
        out.bucket(buckets::MEMBERS)?;
        let mut all: Vec<_> =
            self.members.iter().map(|member| (format!("{:x}", member.id), json(member))).collect();
        all.sort();
        for (id, member) in all {
            out.put(id.as_bytes(), member.as_bytes())?;
        }
        Ok(())
    }

    fn write_meta(&self, out: &mut Writer<'_, ImageError>) -> Result<(), ImageError> {
        let applied = self.state.applied();
        out.bucket(buckets::META)?;
        out.put(facts::CONF_STATE, self.conf_state().as_bytes())?;
        out.put(facts::CONSISTENT_INDEX, &applied.index.0.to_be_bytes())?;
        let compacted = self.state.compacted();
        if compacted >= 0 {
            let compacted = revision_key(Revision { main: compacted, sub: 0 });
            out.put(facts::FINISHED_COMPACTION, &compacted)?;
            out.put(facts::SCHEDULED_COMPACTION, &compacted)?;
        }
        out.put(facts::TERM, &applied.term.0.to_be_bytes())
    }

    fn conf_state(&self) -> String {
        let ids = |learners: bool| {
            let members = self.members.iter().filter(|member| member.is_learner == learners);
            members.map(|member| member.id.to_string()).collect::<Vec<_>>().join(",")
        };
        let learners = match ids(true) {
            none if none.is_empty() => none,
            ids => format!(",\"learners\":[{ids}]"),
        };
        format!("{{\"voters\":[{}]{learners},\"auto_leave\":false}}", ids(false))
    }
}

fn put_named(out: &mut Writer<'_, ImageError>, name: &str, value: &[u8]) -> Result<(), ImageError> {
    if name.len() > KEY_BYTES_MAX {
        return Err(ImageError::NameTooLong);
    }
    out.put(name.as_bytes(), value)
}

fn role(auth: &Auth, name: &str) -> authpb::Role {
    let permissions = auth.role(name).into_iter().flat_map(auth::Role::permissions);
    let key_permission = permissions.map(|(range, permission)| {
        let (key, range_end) = range.to_pair();
        let kind = match permission {
            Permission::Read => authpb::permission::Type::Read,
            Permission::Write => authpb::permission::Type::Write,
            Permission::ReadWrite => authpb::permission::Type::Readwrite,
        };
        authpb::Permission { perm_type: kind.into(), key, range_end }
    });
    authpb::Role { name: name.to_owned().into(), key_permission: key_permission.collect() }
}

fn user(name: &str, user: &auth::User) -> authpb::User {
    authpb::User {
        name: name.to_owned().into(),
        password: user.password.as_ref().map(|hash| hash.0.clone()).unwrap_or_default(),
        roles: user.roles.iter().cloned().collect(),
        options: Some(authpb::UserAddOptions { no_password: user.password.is_none() }),
    }
}

/// A member as etcd's backend has it.
fn json(member: &pb::Member) -> String {
    let list = |text: &mut String, urls: &[String]| {
        text.push('[');
        for (number, url) in urls.iter().enumerate() {
            if number > 0 {
                text.push(',');
            }
            push_string(text, url);
        }
        text.push(']');
    };
    let mut text = format!("{{\"id\":{},\"peerURLs\":", member.id);
    list(&mut text, &member.peer_ur_ls);
    if member.is_learner {
        text.push_str(",\"isLearner\":true");
    }
    text.push_str(",\"name\":");
    push_string(&mut text, &member.name);
    text.push_str(",\"clientURLs\":");
    list(&mut text, &member.client_ur_ls);
    text.push('}');
    text
}
