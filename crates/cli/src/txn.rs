//! `txn`: a transaction in the words that etcdctl uses too.

use std::io::Read as _;

use bytes::Bytes;
use clap::Parser;
use quorate_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate_proto::etcdserverpb::request_op::Request as Op;
use quorate_proto::etcdserverpb::response_op::Response;
use quorate_proto::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};
use serde_json::{Value, json};

use crate::Run;
use crate::connect::{Connection, Error, request};
use crate::kv::Keys;
use crate::output::{self, Format};

pub(crate) const HELP: &str = "\
Read a transaction from standard input and run it: comparisons, an empty line, the operations if \
all of them hold, an empty line, the operations if one does not.

  value(\"lock\") = \"mine\"
  mod(\"config\") < \"12\"

  put config \"new value\"
  del lock

  get config

A comparison names value, version, create, mod or lease of a key, and =, !=, < or >. An operation is \
get, put or del with the keys and options of the commands of these names that choose keys.";

/// Read a transaction from standard input and run it.
#[derive(Debug, clap::Args)]
pub(crate) struct Txn {}

impl Run for Txn {
    async fn run(self, connection: &Connection, format: Format) -> Result<(), Error> {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|error| Error::Input(format!("standard input: {error}")))?;
        let message = parse(&text).map_err(Error::Input)?;
        let response = connection
            .call(|clients, timeout| {
                let message = request(message.clone(), timeout);
                async move { clients.kv().txn(message).await }
            })
            .await?;
        let responses = response.responses.iter().filter_map(|r| r.response.as_ref());
        match format {
            Format::Json => output::object(&json!({
                "revision": response.header.unwrap_or_default().revision,
                "succeeded": response.succeeded,
                "responses": responses.map(json_response).collect::<Vec<_>>(),
            })),
            Format::Text | Format::Raw => {
                if format == Format::Text {
                    output::line(if response.succeeded { "SUCCESS" } else { "FAILURE" });
                }
                for response in responses {
                    print(response, format);
                }
            }
        }
        Ok(())
    }
}

fn json_response(response: &Response) -> Value {
    match response {
        Response::ResponseRange(range) => json!({
            "count": range.count,
            "more": range.more,
            "kvs": range.kvs.iter().map(output::json_key_value).collect::<Vec<_>>(),
        }),
        Response::ResponsePut(put) => {
            json!({ "put": true, "prev_kv": put.prev_kv.as_ref().map(output::json_key_value) })
        }
        Response::ResponseDeleteRange(delete) => json!({ "deleted": delete.deleted }),
        Response::ResponseTxn(txn) => json!({ "succeeded": txn.succeeded }),
    }
}

fn print(response: &Response, format: Format) {
    match response {
        Response::ResponseRange(range) => output::key_values(&range.kvs, format),
        Response::ResponsePut(_) if format == Format::Text => output::line("OK"),
        Response::ResponseDeleteRange(delete) if format == Format::Text => {
            output::line(delete.deleted.to_string());
        }
        Response::ResponsePut(_) | Response::ResponseDeleteRange(_) | Response::ResponseTxn(_) => {}
    }
}

/// Parses a transaction. An error names the line.
fn parse(text: &str) -> Result<TxnRequest, String> {
    let mut txn = TxnRequest::default();
    let mut part = 0;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let here = |what: String| format!("line {}: {what}", number + 1);
        match (line.is_empty(), part) {
            (true, _) => part += 1,
            (false, 0) => txn.compare.push(comparison(line).map_err(here)?),
            (false, 1) => txn.success.push(operation(line).map_err(here)?),
            (false, 2) => txn.failure.push(operation(line).map_err(here)?),
            (false, _) => return Err(here("a transaction has three parts".to_owned())),
        }
    }
    Ok(txn)
}

/// Parses `target("key") op "value"`.
fn comparison(line: &str) -> Result<Compare, String> {
    let form = || format!("{line:?} is not of the form  value(\"key\") = \"value\"");
    let (target, rest) = line.split_once('(').ok_or_else(form)?;
    let (key, rest) = rest.rsplit_once(')').ok_or_else(form)?;
    let rest = rest.trim();
    let (sign, value) = ["!=", "=", "<", ">"]
        .iter()
        .find_map(|sign| rest.strip_prefix(sign).map(|value| (*sign, value)))
        .ok_or_else(form)?;
    let key = single_word(key)?;
    let value = single_word(value)?;
    let number = || value.parse::<i64>().map_err(|_| format!("{value:?} is compared as a number"));
    let (target, union) = match target.trim() {
        "value" | "val" => (CompareTarget::Value, TargetUnion::Value(value.clone().into())),
        "version" | "ver" => (CompareTarget::Version, TargetUnion::Version(number()?)),
        "create" | "c" => (CompareTarget::Create, TargetUnion::CreateRevision(number()?)),
        "mod" | "m" => (CompareTarget::Mod, TargetUnion::ModRevision(number()?)),
        "lease" => (CompareTarget::Lease, TargetUnion::Lease(number()?)),
        other => {
            return Err(format!(
                "{other:?}: what is compared is value, version, create, mod or lease"
            ));
        }
    };
    let result = match sign {
        "=" => CompareResult::Equal,
        "!=" => CompareResult::NotEqual,
        "<" => CompareResult::Less,
        _ => CompareResult::Greater,
    };
    Ok(Compare {
        result: result.into(),
        target: target.into(),
        key: key.into(),
        target_union: Some(union),
        range_end: Bytes::new(),
    })
}

/// An operation as it is typed.
#[derive(Debug, Parser)]
#[command(multicall = true, disable_help_subcommand = true)]
enum Operation {
    Get {
        #[command(flatten)]
        keys: Keys,
        #[arg(long, default_value_t = 0)]
        limit: i64,
        #[arg(long, default_value_t = 0)]
        rev: i64,
    },
    Put {
        key: String,
        value: String,
        #[arg(long, value_parser = crate::lease::parse_id)]
        lease: Option<i64>,
    },
    Del {
        #[command(flatten)]
        keys: Keys,
    },
}

fn operation(line: &str) -> Result<RequestOp, String> {
    let words = words(line)?;
    let operation = Operation::try_parse_from(words)
        .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())?;
    let op = match operation {
        Operation::Get { keys, limit, rev } => {
            let (key, range_end) = keys.bounds();
            let request =
                RangeRequest { key, range_end, limit, revision: rev, ..RangeRequest::default() };
            Op::RequestRange(request)
        }
        Operation::Put { key, value, lease } => Op::RequestPut(PutRequest {
            key: key.into(),
            value: value.into(),
            lease: lease.unwrap_or_default(),
            ..PutRequest::default()
        }),
        Operation::Del { keys } => {
            let (key, range_end) = keys.bounds();
            Op::RequestDeleteRange(DeleteRangeRequest { key, range_end, prev_kv: false })
        }
    };
    Ok(RequestOp { request: Some(op) })
}

fn single_word(text: &str) -> Result<String, String> {
    match words(text)?.as_slice() {
        [word] => Ok(word.clone()),
        _ => Err(format!("{text:?} is not one word; put quotes around it")),
    }
}

/// Splits a line at its spaces, but for those inside double quotes. There, `\n`, `\t`, `\"` and `\\`
/// stand for what they stand for elsewhere.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = line.chars();
    let mut word: Option<String> = None;
    while let Some(letter) = rest.next() {
        match letter {
            ' ' | '\t' => words.extend(word.take()),
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next() {
                        Some('"') => break,
                        Some('\\') => word.push(match rest.next() {
                            Some('n') => '\n',
                            Some('t') => '\t',
                            Some(letter @ ('"' | '\\')) => letter,
                            other => {
                                return Err(format!("\\{} means nothing", other.unwrap_or(' ')));
                            }
                        }),
                        Some(letter) => word.push(letter),
                        None => return Err(format!("{line:?} lacks a closing quote")),
                    }
                }
            }
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_what_is_quoted() {
        assert_eq!(
            words(r#"put  a "b c" """#),
            Ok(vec!["put".into(), "a".into(), "b c".into(), String::new()])
        );
        assert_eq!(words(r#""a\n\"b\\""#), Ok(vec!["a\n\"b\\".into()]));
        assert!(words("\"a").is_err() && words(r#""\x""#).is_err());
    }

    #[test]
    fn a_transaction_has_three_parts() {
        let txn = parse(
            "mod(\"k\") > \"3\"\nvalue(\"k\") != \"v\"\n\nput k \"a b\"\nget k --prefix\n\ndel k z\n",
        );
        let txn = txn.expect("it is well formed");
        assert_eq!(txn.compare[0].result, i32::from(CompareResult::Greater));
        assert_eq!(txn.compare[0].target_union, Some(TargetUnion::ModRevision(3)));
        assert_eq!(txn.compare[1].target_union, Some(TargetUnion::Value("v".into())));
        let Some(Op::RequestPut(put)) = &txn.success[0].request else { panic!("it is a put") };
        assert_eq!(put.value, "a b");
        let Some(Op::RequestRange(get)) = &txn.success[1].request else { panic!("it is a get") };
        assert_eq!(get.range_end, "l");
        let Some(Op::RequestDeleteRange(del)) = &txn.failure[0].request else { panic!("a delete") };
        assert_eq!(del.range_end, "z");
    }

    #[test]
    fn a_mistake_is_shown_with_its_line() {
        for (text, line) in [
            ("color(\"k\") = \"1\"", "line 1: "),
            ("mod(\"k\") = \"x\"", "line 1: "),
            ("mod(k) ~ 1", "line 1: "),
            ("\njump k", "line 2: "),
            ("\nput k", "line 2: "),
            ("\n\n\nget k", "line 4: "),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.starts_with(line), "{text:?}: {error}");
        }
    }
}
