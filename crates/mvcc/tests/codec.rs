//! Commands as bytes: every command comes back, and any bytes are read without harm.

use bytes::Bytes;
use proptest::prelude::*;
use quorate_mvcc::auth::{PasswordHash, Permission};
use quorate_mvcc::command::CommandError;
use quorate_mvcc::{
    Alarm, AlarmCommand, AlarmKind, AuthCommand, Caller, Command, Compare, CompareOperand,
    CompareResult, DeleteRangeRequest, KeyRange, MemberAttributes, Proposal, PutRequest,
    RangeRequest, RequestOp, TxnRequest,
};

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..6).prop_map(Bytes::from)
}

fn range() -> impl Strategy<Value = KeyRange> {
    (prop::collection::vec(any::<u8>(), 1..6), bytes())
        .prop_map(|(key, end)| KeyRange::parse(key.into(), end).expect("the key is not empty"))
}

fn put() -> impl Strategy<Value = PutRequest> {
    (bytes(), bytes(), any::<i64>(), any::<[bool; 3]>()).prop_map(|(key, value, lease, flags)| {
        let [prev_kv, ignore_value, ignore_lease] = flags;
        PutRequest { key, value, lease, prev_kv, ignore_value, ignore_lease }
    })
}

fn delete() -> impl Strategy<Value = DeleteRangeRequest> {
    (range(), any::<bool>()).prop_map(|(range, prev_kv)| DeleteRangeRequest { range, prev_kv })
}

fn range_request() -> impl Strategy<Value = RangeRequest> {
    let numbers = any::<(u64, i64, [i64; 4])>();
    (range(), numbers, 0..3i32, 0..5i32, any::<[bool; 3]>()).prop_map(
        |(range, (limit, revision, bounds), order, target, flags)| {
            let [serializable, keys_only, count_only] = flags;
            let [min_mod_revision, max_mod_revision, min_create_revision, max_create_revision] =
                bounds;
            RangeRequest {
                range,
                limit,
                revision,
                sort_order: order.try_into().expect("a known order"),
                sort_target: target.try_into().expect("a known target"),
                serializable,
                keys_only,
                count_only,
                min_mod_revision,
                max_mod_revision,
                min_create_revision,
                max_create_revision,
            }
        },
    )
}

fn compare() -> impl Strategy<Value = Compare> {
    let operand = prop_oneof![
        any::<i64>().prop_map(CompareOperand::Version),
        any::<i64>().prop_map(CompareOperand::Create),
        any::<i64>().prop_map(CompareOperand::Mod),
        any::<i64>().prop_map(CompareOperand::Lease),
        bytes().prop_map(CompareOperand::Value),
        Just(CompareOperand::Unknown),
    ];
    (range(), 0..5i32, operand).prop_map(|(range, result, operand)| Compare {
        range,
        result: CompareResult::from(result),
        operand,
    })
}

fn txn() -> impl Strategy<Value = TxnRequest> {
    let leaf = prop_oneof![
        range_request().prop_map(RequestOp::Range),
        put().prop_map(RequestOp::Put),
        delete().prop_map(RequestOp::DeleteRange),
    ];
    let op = leaf.prop_recursive(3, 12, 3, |op| {
        let ops = || prop::collection::vec(op.clone(), 0..3);
        (prop::collection::vec(compare(), 0..2), ops(), ops()).prop_map(
            |(compare, success, failure)| RequestOp::Txn(TxnRequest { compare, success, failure }),
        )
    });
    let ops = move || prop::collection::vec(op.clone(), 0..4);
    (prop::collection::vec(compare(), 0..3), ops(), ops())
        .prop_map(|(compare, success, failure)| TxnRequest { compare, success, failure })
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        put().prop_map(Command::Put),
        delete().prop_map(Command::DeleteRange),
        txn().prop_map(Command::Txn),
        any::<i64>().prop_map(|revision| Command::Compact { revision }),
        any::<(i64, i64)>().prop_map(|(id, ttl)| Command::LeaseGrant { id, ttl }),
        any::<i64>().prop_map(|id| Command::LeaseRevoke { id }),
        any::<(i64, u64)>().prop_map(|(id, term)| Command::LeaseExpire { id, term }),
        (any::<u64>(), any::<String>(), prop::collection::vec(any::<String>(), 0..3)).prop_map(
            |(id, name, client_urls)| {
                Command::Member(MemberAttributes { id, name, client_urls })
            }
        ),
        auth().prop_map(Command::Auth),
        alarm().prop_map(Command::Alarm),
    ]
}

fn alarm() -> impl Strategy<Value = AlarmCommand> {
    let kind = || prop_oneof![Just(AlarmKind::NoSpace), Just(AlarmKind::Corrupt)];
    prop_oneof![
        (any::<u64>(), kind(), any::<Option<u64>>()).prop_map(|(member, kind, clears_below)| {
            AlarmCommand::Activate(Alarm { member, kind, clears_below })
        }),
        (any::<u64>(), kind()).prop_map(|(member, kind)| AlarmCommand::Deactivate { member, kind }),
        any::<(u64, u64)>()
            .prop_map(|(member, clears_below)| AlarmCommand::Clear { member, clears_below }),
    ]
}

fn auth() -> impl Strategy<Value = AuthCommand> {
    let permission =
        prop_oneof![Just(Permission::Read), Just(Permission::Write), Just(Permission::ReadWrite)];
    let two = || any::<(String, String)>();
    prop_oneof![
        Just(AuthCommand::Enable),
        Just(AuthCommand::Disable),
        (any::<String>(), bytes(), any::<u64>())
            .prop_map(|(name, token, revision)| AuthCommand::Issue { name, token, revision }),
        (any::<String>(), prop::option::of(bytes().prop_map(PasswordHash)))
            .prop_map(|(name, password)| AuthCommand::UserAdd { name, password }),
        any::<String>().prop_map(|name| AuthCommand::UserDelete { name }),
        (any::<String>(), bytes().prop_map(PasswordHash))
            .prop_map(|(name, password)| AuthCommand::UserChangePassword { name, password }),
        two().prop_map(|(user, role)| AuthCommand::UserGrantRole { user, role }),
        two().prop_map(|(user, role)| AuthCommand::UserRevokeRole { user, role }),
        any::<String>().prop_map(|name| AuthCommand::RoleAdd { name }),
        any::<String>().prop_map(|name| AuthCommand::RoleDelete { name }),
        (any::<String>(), range(), permission).prop_map(|(role, range, permission)| {
            AuthCommand::RoleGrantPermission { role, range, permission }
        }),
        (any::<String>(), range())
            .prop_map(|(role, range)| AuthCommand::RoleRevokePermission { role, range }),
    ]
}

fn caller() -> impl Strategy<Value = Caller> {
    prop_oneof![
        Just(Caller::Nobody),
        Just(Caller::Server),
        any::<(String, u64)>().prop_map(|(name, revision)| Caller::User { name, revision }),
    ]
}

proptest! {
    #[test]
    fn every_command_comes_back(command in command(), caller in caller()) {
        let proposal = Proposal { caller, command };
        let bytes = proposal.command.encode_for(&proposal.caller);
        prop_assert_eq!(Proposal::decode(&bytes), Ok(proposal));
    }

    #[test]
    fn a_command_that_is_cut_or_followed_by_something_is_none(command in command()) {
        let bytes = command.encode();
        for length in 0..bytes.len() {
            prop_assert_eq!(Proposal::decode(&bytes.slice(..length)).map(|it| it.command), Err(CommandError::Malformed));
        }
        let longer = Bytes::from([&bytes[..], b"\0"].concat());
        prop_assert_eq!(Proposal::decode(&longer).map(|it| it.command), Err(CommandError::Malformed));
    }

    /// What can be read is written again as the same bytes, so a command has one form only.
    #[test]
    fn any_bytes_are_read_without_harm(
        command in command(),
        noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = command.encode().to_vec();
        for (at, byte) in noise {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let bytes = Bytes::from(bytes);
        if let Ok(command) = Proposal::decode(&bytes).map(|it| it.command) {
            prop_assert_eq!(command.encode(), bytes);
        }
    }
}

#[test]
fn depth_is_bounded() {
    let mut txn = TxnRequest::default();
    for _ in 1..quorate_mvcc::command::TXN_DEPTH_MAX {
        txn = TxnRequest { success: vec![RequestOp::Txn(txn)], ..TxnRequest::default() };
    }
    let deepest = Command::Txn(txn.clone());
    assert_eq!(Proposal::decode(&deepest.encode()).map(|it| it.command), Ok(deepest));
    let deeper =
        Command::Txn(TxnRequest { success: vec![RequestOp::Txn(txn)], ..TxnRequest::default() });
    assert_eq!(
        Proposal::decode(&deeper.encode()).map(|it| it.command),
        Err(CommandError::Malformed)
    );
}

#[test]
fn a_newer_command_is_told_from_nonsense() {
    let decode =
        |bytes: &'static [u8]| Proposal::decode(&Bytes::from_static(bytes)).map(|it| it.command);
    assert_eq!(decode(b""), Err(CommandError::Malformed));
    assert_eq!(decode(b"\x01"), Err(CommandError::Malformed));
    assert_eq!(decode(b"\x00\x01"), Err(CommandError::Malformed));
    assert_eq!(decode(b"\x01\x00"), Err(CommandError::Malformed));
    assert_eq!(decode(b"\x01\x0b"), Err(CommandError::Newer));
    assert_eq!(decode(b"\x03\x01"), Err(CommandError::Newer));
    // Of the callers, and of the changes of rights.
    assert_eq!(decode(b"\x02\x02"), Err(CommandError::Newer));
    assert_eq!(decode(b"\x01\x09\x0c"), Err(CommandError::Newer));
    // Of changes of alarms, and of alarms.
    assert_eq!(decode(b"\x01\x0a\x03"), Err(CommandError::Newer));
    assert_eq!(decode(b"\x01\x0a\x01\x03\x07"), Err(CommandError::Newer));
    assert_eq!(decode(b"\x02\x00\x09"), Err(CommandError::Malformed));
}

/// The same of who wants a command, and of changes of rights.
#[test]
fn the_bytes_of_callers_and_rights_stay_as_they_are() {
    let alice = Caller::User { name: "al".into(), revision: 300 };
    let compact = Command::Compact { revision: 7 };
    assert_eq!(compact.encode_for(&alice), &b"\x02\x01\x02al\xac\x02\x04\x07"[..]);
    assert_eq!(compact.encode_for(&Caller::Server), &b"\x02\x00\x04\x07"[..]);
    let range = KeyRange::parse(Bytes::from_static(b"a"), Bytes::from_static(b"b")).unwrap();
    let (name, role) = ("n".to_owned(), "r".to_owned());
    let user = name.clone();
    let password = PasswordHash(Bytes::from_static(b"h"));
    let cases: [(AuthCommand, &[u8]); 13] = [
        (AuthCommand::Enable, b"\x00"),
        (AuthCommand::Disable, b"\x01"),
        (
            AuthCommand::Issue { name: name.clone(), token: Bytes::from_static(b"t"), revision: 3 },
            b"\x02\x01n\x01t\x03",
        ),
        (
            AuthCommand::UserAdd { name: name.clone(), password: Some(password.clone()) },
            b"\x03\x01n\x01\x01h",
        ),
        (AuthCommand::UserAdd { name: name.clone(), password: None }, b"\x03\x01n\x00\x00"),
        (AuthCommand::UserDelete { name: name.clone() }, b"\x04\x01n"),
        (AuthCommand::UserChangePassword { name: name.clone(), password }, b"\x05\x01n\x01h"),
        (AuthCommand::UserGrantRole { user: user.clone(), role: role.clone() }, b"\x06\x01n\x01r"),
        (AuthCommand::UserRevokeRole { user, role: role.clone() }, b"\x07\x01n\x01r"),
        (AuthCommand::RoleAdd { name: name.clone() }, b"\x08\x01n"),
        (AuthCommand::RoleDelete { name }, b"\x09\x01n"),
        (
            AuthCommand::RoleGrantPermission {
                role: role.clone(),
                range: range.clone(),
                permission: Permission::ReadWrite,
            },
            b"\x0a\x01r\x01a\x01b\x02",
        ),
        (AuthCommand::RoleRevokePermission { role, range }, b"\x0b\x01r\x01a\x01b"),
    ];
    for (command, bytes) in cases {
        let bytes = [b"\x01\x09", bytes].concat();
        let command = Command::Auth(command);
        assert_eq!(command.encode(), bytes, "{command:?}");
        assert_eq!(Proposal::decode(&bytes.into()).map(|it| it.command), Ok(command));
    }
}

/// The bytes of one command of each kind: logs that were written must stay readable.
#[test]
fn the_bytes_stay_as_they_are() {
    let put = PutRequest {
        key: Bytes::from_static(b"k"),
        value: Bytes::from_static(b"v"),
        lease: 300,
        ignore_value: true,
        ..PutRequest::default()
    };
    let range = KeyRange::parse(Bytes::from_static(b"a"), Bytes::from_static(b"\0")).unwrap();
    let mut read = RangeRequest::new(range.clone());
    (read.limit, read.revision, read.keys_only) = (5, -1, true);
    let operand = CompareOperand::Value(Bytes::from_static(b"x"));
    let compare = Compare { range: range.clone(), result: CompareResult::Less, operand };
    let txn = TxnRequest {
        compare: vec![compare],
        success: vec![RequestOp::Range(read)],
        failure: vec![RequestOp::Put(put.clone()), RequestOp::Txn(TxnRequest::default())],
    };
    let member =
        MemberAttributes { id: 1, name: "n".into(), client_urls: vec!["u".into(), "w".into()] };
    let (member_id, kind) = (300, AlarmKind::NoSpace);
    let raise = |clears_below| Alarm { member: member_id, kind, clears_below };
    let cases: [(Command, &[u8]); 12] = [
        (Command::Put(put), b"\x01\x01\x01k\x01v\xac\x02\x02"),
        (
            Command::DeleteRange(DeleteRangeRequest { range, prev_kv: true }),
            b"\x01\x02\x01a\x01\x00\x01",
        ),
        (
            Command::Txn(txn),
            b"\x01\x03\
              \x01\x01a\x01\x00\x02\x03\x01x\
              \x01\x00\x01a\x01\x00\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00\x02\0\0\0\0\
              \x02\x01\x01k\x01v\xac\x02\x02\x03\x00\x00\x00",
        ),
        (Command::Compact { revision: 7 }, b"\x01\x04\x07"),
        (Command::LeaseGrant { id: 7, ttl: 60 }, b"\x01\x05\x07\x3c"),
        (Command::LeaseRevoke { id: 7 }, b"\x01\x06\x07"),
        (Command::LeaseExpire { id: 7, term: 3 }, b"\x01\x07\x07\x03"),
        (Command::Member(member), b"\x01\x08\x01\x01n\x02\x01u\x01w"),
        (
            Command::Alarm(AlarmCommand::Activate(raise(Some(5)))),
            b"\x01\x0a\x00\x01\xac\x02\x01\x05",
        ),
        (Command::Alarm(AlarmCommand::Activate(raise(None))), b"\x01\x0a\x00\x01\xac\x02\x00"),
        (
            Command::Alarm(AlarmCommand::Deactivate { member: 1, kind: AlarmKind::Corrupt }),
            b"\x01\x0a\x01\x02\x01",
        ),
        (
            Command::Alarm(AlarmCommand::Clear { member: 1, clears_below: 5 }),
            b"\x01\x0a\x02\x01\x05",
        ),
    ];
    for (command, bytes) in cases {
        assert_eq!(command.encode(), bytes, "{command:?}");
        assert_eq!(Proposal::decode(&Bytes::from_static(bytes)).map(|it| it.command), Ok(command));
    }
}
