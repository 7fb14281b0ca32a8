//! Histories by chance: of a store that does what it should, and with a lie in them.

use std::time::{Duration, Instant};

use quorate_check::history::{Operation, Outcome, Request, Response};
use quorate_check::linearizability::{Verdict, check};
use quorate_check::model::Model;
use quorate_mvcc::{KeyValue, PutRequest, ResponseOp};

use crate::brute_force;
use crate::common::*;

/// What a history is made of.
struct Shape {
    clients: u64,
    operations: u64,
    keys: u64,
    unknown_per_mille: u64,
}

/// What a store does that carries out each request at a moment between call and return.
fn history(chance: &mut Chance, shape: &Shape) -> Vec<Operation> {
    let mut store = Model::default();
    // Each client asks again when it was told, so the moments at which requests take effect are drawn
    // in order, and the calls and returns around them.
    let mut free_from = vec![0; shape.clients as usize];
    let mut now = 0;
    let mut history = Vec::new();
    let mut takes_effect_late: Vec<(u64, Request)> = Vec::new();
    for number in 0..shape.operations {
        now += 10;
        while let Some((_, request)) = takes_effect_late.pop_if(|(at, _)| *at <= now) {
            let _ = store.apply(&request);
        }
        let client = chance.below(shape.clients);
        let free = &mut free_from[client as usize];
        now = now.max(*free + 1);
        let call = now - chance.below((now - *free).min(10 * shape.clients));
        let request = request(chance, shape, number, &store);
        let outcome = if chance.below(1000) < shape.unknown_per_mille {
            match chance.below(3) {
                0 => {}
                1 => {
                    let _ = store.apply(&request);
                }
                _ => {
                    takes_effect_late.push((now + chance.below(500), request.clone()));
                    takes_effect_late.sort_by_key(|(at, _)| core::cmp::Reverse(*at));
                }
            }
            *free = now + 1;
            Outcome::Unknown
        } else {
            let (reply, _) = store.apply(&request);
            let returned = now + chance.below(10 * shape.clients);
            *free = returned + 1;
            Outcome::Known { returned, reply }
        };
        history.push(Operation { client, call, request, outcome });
    }
    history
}

fn request(chance: &mut Chance, shape: &Shape, number: u64, store: &Model) -> Request {
    let key = format!("key-{}", chance.below(shape.keys));
    // Now and then a value that is not the only one of its kind.
    let value = if chance.below(10) == 0 { "common".to_owned() } else { format!("value-{number}") };
    match chance.below(20) {
        0..=5 => put(&key, &value),
        6..=10 => get(&key),
        11..=12 => delete(&key),
        13..=15 => {
            let seen = store.get(key.as_bytes()).map_or(0, |kv| kv.mod_revision);
            swap(&key, if chance.below(3) == 0 { 0 } else { seen }, &value)
        }
        16 => put_both(&key, "both", &value),
        17 => {
            let Request::Put(put) = put(&key, &value) else { panic!("a put") };
            Request::Put(PutRequest { prev_kv: true, ..put })
        }
        18 => {
            let Request::Put(put) = put(&key, "") else { panic!("a put") };
            Request::Put(PutRequest { ignore_value: true, ..put })
        }
        _ => list("key-"),
    }
}

/// Falsifies a reply a little. Says whether it did.
fn lie(chance: &mut Chance, history: &mut [Operation]) -> bool {
    let at = chance.below(history.len() as u64) as usize;
    let by = if chance.below(2) == 0 { 1 } else { -1 };
    let Outcome::Known { reply: Ok(response), .. } = &mut history[at].outcome else { return false };
    let twist = |kv: &mut KeyValue, which| match which {
        0 => kv.value = bytes("a lie"),
        1 => kv.version += by,
        2 => kv.create_revision += by,
        _ => kv.mod_revision += by,
    };
    match response {
        Response::Range(range) => match range.kvs.first_mut() {
            _ if chance.below(5) == 0 => range.revision += by,
            Some(_) if chance.below(5) == 0 => {
                range.kvs.remove(0);
                range.count -= 1;
            }
            Some(kv) => twist(kv, chance.below(4)),
            None => return false,
        },
        Response::Put(put) => match &mut put.prev_kv {
            Some(kv) if chance.below(2) == 0 => twist(kv, chance.below(4)),
            _ => put.revision += by,
        },
        Response::DeleteRange(delete) => delete.deleted = 1 - delete.deleted,
        Response::Txn(txn) => match txn.responses.first_mut() {
            Some(ResponseOp::Range(range)) if !range.kvs.is_empty() => {
                twist(&mut range.kvs[0], chance.below(4));
            }
            _ => txn.revision += by,
        },
        _ => return false,
    }
    true
}

#[test]
fn what_a_right_store_does_is_accepted() {
    for seed in 0..200 {
        let mut chance = Chance(seed);
        let shape = Shape { clients: 8, operations: 300, keys: 5, unknown_per_mille: 50 };
        let history = history(&mut chance, &shape);
        let verdict = check(&history, &Model::default(), 1_000_000);
        let Verdict::Linearizable(order) = verdict else { panic!("seed {seed}: {verdict:#?}") };
        is_witness(&history, &order);
    }
}

/// The order that is given as the proof is one.
fn is_witness(history: &[Operation], order: &[usize]) {
    let mut store = Model::default();
    let mut latest_call = 0;
    for &at in order {
        let (reply, _) = store.apply(&history[at].request);
        if let Outcome::Known { returned, reply: told } = &history[at].outcome {
            assert_eq!(*told, reply, "{:?}", history[at]);
            assert!(latest_call <= *returned, "what follows was called before it returned");
        }
        latest_call = latest_call.max(history[at].call);
    }
    let known = |at: &usize| history[*at].returned().is_some();
    assert_eq!(
        order.iter().filter(|at| known(at)).count(),
        (0..history.len()).filter(known).count()
    );
}

#[test]
fn on_small_histories_it_agrees_with_a_brute_force() {
    let (mut right, mut wrong) = (0, 0);
    for seed in 0..4_000 {
        let mut chance = Chance(seed);
        let shape = Shape { clients: 3, operations: 7, keys: 2, unknown_per_mille: 250 };
        let mut history = history(&mut chance, &shape);
        let lies = chance.below(3);
        for _ in 0..lies {
            lie(&mut chance, &mut history);
        }
        let expected = brute_force::is_linearizable(&history);
        let verdict = check(&history, &Model::default(), 1_000_000);
        assert_eq!(verdict.is_linearizable(), expected, "seed {seed}: {history:#?}\n{verdict:#?}");
        assert_eq!(verdict.is_illegal(), !expected);
        *(if expected { &mut right } else { &mut wrong }) += 1;
    }
    assert!(right > 1_000 && wrong > 1_000, "{right} right and {wrong} wrong ones");
}

#[test]
fn a_lie_in_a_long_history_is_found_or_is_none() {
    let mut found = 0;
    for seed in 0..100 {
        let mut chance = Chance(seed);
        let shape = Shape { clients: 5, operations: 200, keys: 3, unknown_per_mille: 0 };
        let mut history = history(&mut chance, &shape);
        if lie(&mut chance, &mut history) {
            match check(&history, &Model::default(), 1_000_000) {
                Verdict::Illegal(_) => found += 1,
                // With every outcome known, a reply that differs can only be right if it is the
                // order of two operations that is not known.
                Verdict::Linearizable(order) => is_witness(&history, &order),
                Verdict::Unknown { steps } => panic!("seed {seed}: {steps} steps"),
            }
        }
    }
    assert!(found > 60, "{found} lies were found");
}

#[test]
fn ten_thousand_operations_are_no_effort() {
    let mut chance = Chance(7);
    let shape = Shape { clients: 10, operations: 10_000, keys: 10, unknown_per_mille: 20 };
    let history = history(&mut chance, &shape);
    let start = Instant::now();
    let verdict = check(&history, &Model::default(), 1_000_000);
    let took = start.elapsed();
    let Verdict::Linearizable(order) = &verdict else { panic!("{verdict:#?}") };
    is_witness(&history, order);
    assert!(took < Duration::from_secs(10), "{took:?}, without optimization");
}
