//! What a line of a script says.
//!
//! A transaction is written `comparisons ? operations : operations`, comparisons separated by
//! commas, operations by semicolons; one within another stands in parentheses:
//!
//! ```text
//! create(a)=0, value(b)>x ? put a 1; get a : (version(c)!=0 ? del c :)
//! ```

use std::error::Error as StdError;
use std::str::FromStr;

use bytes::Bytes;
use goldenscript::Argument;
use quorate_mvcc::auth::{PasswordHash, Permission, admin};
use quorate_mvcc::{
    Alarm, AlarmCommand, AlarmKind, AuthCommand, Compare, CompareOperand, CompareResult,
    DeleteRangeRequest, KeyRange, PutRequest, RangeRequest, RequestOp, SortOrder, SortTarget,
    TxnRequest,
};

type Parsed<T> = Result<T, Box<dyn StdError>>;

/// The arguments of a line or of an operation, taken one by one. Flags are words among the
/// positional ones and must be taken before them.
pub(crate) struct Arguments {
    positional: Vec<String>,
    keyed: Vec<(String, String)>,
}

impl Arguments {
    pub(crate) fn of_line(args: &[Argument]) -> Self {
        let mut arguments = Self { positional: Vec::new(), keyed: Vec::new() };
        for arg in args {
            match arg {
                Argument::KeyValue(key, value) => {
                    arguments.keyed.push((key.clone(), value.clone()));
                }
                Argument::Positional(value) => arguments.positional.push(value.clone()),
                other => panic!("an argument of another kind: {other}"),
            }
        }
        arguments
    }

    fn of_words(words: &str) -> Self {
        let mut arguments = Self { positional: Vec::new(), keyed: Vec::new() };
        for word in words.split_whitespace() {
            match word.split_once('=') {
                Some((key, value)) => arguments.keyed.push((key.into(), value.into())),
                None => arguments.positional.push(word.into()),
            }
        }
        arguments
    }

    /// The next positional argument.
    pub(crate) fn positional(&mut self) -> Parsed<String> {
        self.maybe_positional().ok_or_else(|| "an argument is missing".into())
    }

    fn maybe_positional(&mut self) -> Option<String> {
        (!self.positional.is_empty()).then(|| self.positional.remove(0))
    }

    /// All positional arguments that are left.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        std::mem::take(&mut self.positional)
    }

    /// Whether a word is there.
    pub(crate) fn flag(&mut self, flag: &str) -> bool {
        let before = self.positional.len();
        self.positional.retain(|word| word != flag);
        self.positional.len() < before
    }

    fn keyed<T: FromStr<Err: StdError + 'static>>(&mut self, key: &str) -> Parsed<Option<T>> {
        let Some(at) = self.keyed.iter().position(|(name, _)| name == key) else { return Ok(None) };
        Ok(Some(self.keyed.remove(at).1.parse()?))
    }

    /// A number, 0 if it is not given.
    pub(crate) fn number<T: FromStr<Err: StdError + 'static> + Default>(
        &mut self,
        key: &str,
    ) -> Parsed<T> {
        Ok(self.keyed(key)?.unwrap_or_default())
    }

    /// A number, if it is given.
    pub(crate) fn maybe_number(&mut self, key: &str) -> Parsed<Option<usize>> {
        self.keyed(key)
    }

    /// Key and range end, both as they are on the wire.
    pub(crate) fn key_pair(&mut self) -> Parsed<(Bytes, Bytes)> {
        let key = self.positional()?.into();
        Ok((key, self.maybe_positional().unwrap_or_default().into()))
    }

    pub(crate) fn range(&mut self) -> Parsed<KeyRange> {
        let (key, range_end) = self.key_pair()?;
        KeyRange::parse(key, range_end).map_err(|error| format!("{error:?}").into())
    }

    /// A change of alarms, by the name of its line.
    pub(crate) fn alarm(&mut self, line: &str) -> Parsed<AlarmCommand> {
        let mark = self.keyed("below")?;
        let (kind, member) = (self.alarm_kind()?, self.positional()?.parse()?);
        Ok(match (line, mark) {
            ("raise", clears_below) => AlarmCommand::Activate(Alarm { member, kind, clears_below }),
            ("disarm", None) => AlarmCommand::Deactivate { member, kind },
            ("clear", Some(clears_below)) => AlarmCommand::Clear { member, clears_below },
            other => return Err(format!("{other:?} is no change of alarms").into()),
        })
    }

    fn alarm_kind(&mut self) -> Parsed<AlarmKind> {
        Ok(match self.positional()?.as_str() {
            "nospace" => AlarmKind::NoSpace,
            "corrupt" => AlarmKind::Corrupt,
            other => return Err(format!("there is no alarm {other}").into()),
        })
    }

    /// A change of users, roles or rights, by the name of its line.
    pub(crate) fn auth(&mut self, line: &str) -> Parsed<AuthCommand> {
        let hash = |password: String| PasswordHash(password.into());
        Ok(match line {
            "enable" => AuthCommand::Enable,
            "disable" => AuthCommand::Disable,
            "issue" => AuthCommand::Issue {
                revision: self.number("rev")?,
                name: self.positional()?,
                token: self.positional()?.into(),
            },
            "user_add" => AuthCommand::UserAdd {
                name: self.positional()?,
                password: self.maybe_positional().map(hash),
            },
            "user_delete" => AuthCommand::UserDelete { name: self.positional()? },
            "password" => AuthCommand::UserChangePassword {
                name: self.positional()?,
                password: hash(self.positional()?),
            },
            "grant_role" => {
                AuthCommand::UserGrantRole { user: self.positional()?, role: self.positional()? }
            }
            "revoke_role" => {
                AuthCommand::UserRevokeRole { user: self.positional()?, role: self.positional()? }
            }
            "role_add" => AuthCommand::RoleAdd { name: self.positional()? },
            "role_delete" => AuthCommand::RoleDelete { name: self.positional()? },
            "permit" => AuthCommand::RoleGrantPermission {
                role: self.positional()?,
                permission: match self.positional()?.as_str() {
                    "read" => Permission::Read,
                    "write" => Permission::Write,
                    "readwrite" => Permission::ReadWrite,
                    other => return Err(format!("there is no permission {other}").into()),
                },
                range: self.permission_range()?,
            },
            "forbid" => AuthCommand::RoleRevokePermission {
                role: self.positional()?,
                range: self.permission_range()?,
            },
            other => unreachable!("{other} is no change of rights"),
        })
    }

    fn permission_range(&mut self) -> Parsed<KeyRange> {
        let (key, range_end) = self.key_pair()?;
        admin::permission_range(key, range_end)
            .map_err(|error| format!("{error:?}, before it is proposed").into())
    }

    pub(crate) fn put(&mut self) -> Parsed<PutRequest> {
        let flags = ["prev_kv", "ignore_value", "ignore_lease"].map(|flag| self.flag(flag));
        let [prev_kv, ignore_value, ignore_lease] = flags;
        let lease = self.number("lease")?;
        let (key, value) = self.key_pair()?;
        Ok(PutRequest { key, value, lease, prev_kv, ignore_value, ignore_lease })
    }

    pub(crate) fn delete(&mut self) -> Parsed<DeleteRangeRequest> {
        let prev_kv = self.flag("prev_kv");
        Ok(DeleteRangeRequest { range: self.range()?, prev_kv })
    }

    pub(crate) fn range_request(&mut self) -> Parsed<RangeRequest> {
        let flags = ["keys_only", "count_only", "serializable"].map(|flag| self.flag(flag));
        let [keys_only, count_only, serializable] = flags;
        let order: Option<String> = self.keyed("order")?;
        let sort_order = match order.as_deref() {
            None => SortOrder::None,
            Some("ascend") => SortOrder::Ascend,
            Some("descend") => SortOrder::Descend,
            Some(other) => return Err(format!("there is no order {other}").into()),
        };
        let target: Option<String> = self.keyed("target")?;
        let sort_target = match target.as_deref() {
            None | Some("key") => SortTarget::Key,
            Some("version") => SortTarget::Version,
            Some("create") => SortTarget::Create,
            Some("mod") => SortTarget::Mod,
            Some("value") => SortTarget::Value,
            Some(other) => return Err(format!("there is no target {other}").into()),
        };
        Ok(RangeRequest {
            limit: self.number("limit")?,
            revision: self.number("rev")?,
            sort_order,
            sort_target,
            serializable,
            keys_only,
            count_only,
            min_mod_revision: self.number("min_mod")?,
            max_mod_revision: self.number("max_mod")?,
            min_create_revision: self.number("min_create")?,
            max_create_revision: self.number("max_create")?,
            range: self.range()?,
        })
    }

    /// That all arguments were taken.
    pub(crate) fn reject_rest(&self) -> Parsed<()> {
        if self.positional.is_empty() && self.keyed.is_empty() {
            return Ok(());
        }
        Err(format!("too much: {:?} {:?}", self.positional, self.keyed).into())
    }
}

/// Reads a whole transaction.
pub(crate) fn txn(text: &str) -> Parsed<TxnRequest> {
    let [compares, branches] = split(text, '?')[..] else {
        return Err(format!("a transaction has one question mark: {text}").into());
    };
    let branches = split(branches, ':');
    if branches.len() > 2 {
        return Err(format!("a transaction has at most one colon: {text}").into());
    }
    Ok(TxnRequest {
        compare: items(compares, ',').map(compare).collect::<Parsed<_>>()?,
        success: items(branches[0], ';').map(op).collect::<Parsed<_>>()?,
        failure: branches
            .get(1)
            .map_or(Ok(Vec::new()), |text| items(text, ';').map(op).collect())?,
    })
}

/// Splits where a separator stands outside of parentheses.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if letter == separator && depth == 0 => {
                parts.push(&text[from..at]);
                from = at + letter.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

fn items(text: &str, separator: char) -> impl Iterator<Item = &str> {
    split(text, separator).into_iter().map(str::trim).filter(|item| !item.is_empty())
}

fn op(text: &str) -> Parsed<RequestOp> {
    if let Some(inner) = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')) {
        return Ok(RequestOp::Txn(txn(inner)?));
    }
    let (name, words) = text.split_once(' ').unwrap_or((text, ""));
    let mut args = Arguments::of_words(words);
    let op = match name {
        "get" => RequestOp::Range(args.range_request()?),
        "put" => RequestOp::Put(args.put()?),
        "del" => RequestOp::DeleteRange(args.delete()?),
        other => return Err(format!("there is no operation {other}").into()),
    };
    args.reject_rest()?;
    Ok(op)
}

/// `target(key)=operand` or `target(key end)=operand`.
fn compare(text: &str) -> Parsed<Compare> {
    let malformed = || format!("no comparison: {text}");
    let (target, rest) = text.split_once('(').ok_or_else(malformed)?;
    let (range, rest) = rest.split_once(')').ok_or_else(malformed)?;
    let results = [
        ("!=", CompareResult::NotEqual),
        ("=", CompareResult::Equal),
        (">", CompareResult::Greater),
        ("<", CompareResult::Less),
        ("~", CompareResult::Unknown),
    ];
    let (operand, result) = results
        .into_iter()
        .find_map(|(sign, result)| Some((rest.strip_prefix(sign)?, result)))
        .ok_or_else(malformed)?;
    let operand = match target {
        "version" => CompareOperand::Version(operand.parse()?),
        "create" => CompareOperand::Create(operand.parse()?),
        "mod" => CompareOperand::Mod(operand.parse()?),
        "lease" => CompareOperand::Lease(operand.parse()?),
        "value" => CompareOperand::Value(Bytes::copy_from_slice(operand.as_bytes())),
        "unknown" => CompareOperand::Unknown,
        other => return Err(format!("there is no target {other}").into()),
    };
    Ok(Compare { range: Arguments::of_words(range).range()?, result, operand })
}
