use super::*;

fn attempt(key: &'static str, guard: i64, value: &'static str, outcome: Outcome) -> Attempt {
    let put = (!value.is_empty()).then(|| (Bytes::from(value), 0));
    Attempt { key: key.into(), guard: Guard::Mod(guard), put, outcome }
}

/// The events of changes, as a watch tells them; an empty value deletes.
fn events(changes: &[(&'static str, &'static str, i64, i64)]) -> Vec<Event> {
    let mut state = State::new();
    let event = |&(key, value, lease, at): &(&'static str, &'static str, i64, i64)| {
        let put = (!value.is_empty()).then(|| (Bytes::from(value), lease));
        change(&mut state, &Bytes::from(key), at, put)
    };
    changes.iter().map(event).collect()
}

fn three() -> (Vec<Attempt>, Vec<Event>) {
    let attempts = vec![
        attempt("a", 0, "1", Outcome::Done(2)),
        attempt("a", 2, "2", Outcome::Done(3)),
        attempt("a", 3, "", Outcome::Done(4)),
    ];
    (attempts, events(&[("a", "1", 0, 2), ("a", "2", 0, 3), ("a", "", 0, 4)]))
}

fn wrong(attempts: &[Attempt], seen: &[Event]) -> Vec<String> {
    History::of(State::new(), attempts, seen).1
}

#[test]
fn what_was_acknowledged_is_the_history() {
    let (mut attempts, seen) = three();
    attempts.push(attempt("a", 2, "never", Outcome::Refused(3, Some(3))));
    attempts.push(attempt("a", 9, "never", Outcome::Refused(4, Some(0))));
    let (history, wrong) = History::of(State::new(), &attempts, &seen);
    assert_eq!((history.events, wrong), (seen, vec![]));
}

#[test]
fn a_lost_write_and_one_that_nobody_wanted_are_found() {
    let (attempts, seen) = three();
    assert!(wrong(&attempts, &seen[..2])[0].starts_with("LOST"));
    assert!(wrong(&attempts[..2], &seen)[0].starts_with("nobody wanted"));
    // Done, though its guard did not hold.
    let mut late = attempts;
    late[1].guard = Guard::Mod(1);
    assert!(wrong(&late, &seen)[0].starts_with("revision 3 has"));
}

#[test]
fn a_refused_write_is_not_done_and_was_refused_for_a_reason() {
    let (mut attempts, seen) = three();
    attempts[1].outcome = Outcome::Refused(3, Some(2));
    let wrong = wrong(&attempts, &seen);
    assert!(wrong[0].starts_with("nobody wanted"), "{wrong:?}");
    assert!(wrong.iter().any(|what| what.starts_with("refused, with 2 there")), "{wrong:?}");
}

#[test]
fn a_write_without_an_answer_is_done_once_or_not_at_all() {
    let (mut attempts, seen) = three();
    attempts[1].outcome = Outcome::Unknown;
    let (history, found) = History::of(State::new(), &attempts, &seen);
    assert_eq!((history.resolved, found), (1, vec![]));
    let attempts = [attempts[0].clone(), attempts[1].clone()];
    assert_eq!(wrong(&attempts, &seen[..1]), Vec::<String>::new());
    let twice = events(&[("a", "1", 0, 2), ("a", "2", 0, 3), ("a", "2", 0, 4)]);
    assert!(wrong(&attempts, &twice)[0].starts_with("nobody wanted"));
}

#[test]
fn a_lease_takes_all_its_keys_at_once() {
    let create =
        |key, at| Attempt { put: Some(("1".into(), 7)), ..attempt(key, 0, "1", Outcome::Done(at)) };
    let attempts = [create("a", 2), create("b", 3)];
    let born = [("a", "1", 7, 2), ("b", "1", 7, 3)];
    let seen = |ends: &[(&'static str, i64)]| {
        let ends = ends.iter().map(|&(key, at)| (key, "", 0, at));
        events(&born.into_iter().chain(ends).collect::<Vec<_>>())
    };
    assert_eq!(wrong(&attempts, &seen(&[("a", 4), ("b", 4)])), Vec::<String>::new());
    assert!(wrong(&attempts, &seen(&[("a", 4), ("b", 5)]))[0].starts_with("lease 7 ended"));
    assert!(wrong(&attempts, &seen(&[("a", 4)]))[0].starts_with("lease 7 ended"));
}

#[test]
fn a_watcher_is_told_everything_once_and_no_progress_too_soon() {
    let (attempts, seen) = three();
    let (history, _) = History::of(State::new(), &attempts, &seen);
    let wish = Wish { key: "a".into(), range_end: "b".into(), from: 3 };
    let told = |of: &[usize]| -> Vec<Told> {
        of.iter().map(|&at| Told::Event(kv(&seen[at]).mod_revision, digest(&seen[at]))).collect()
    };
    assert_eq!(history.count(&wish), 2);
    assert_eq!(history.judge_watch(&wish, &told(&[1, 2])), (0, vec![]));
    for bad in [&[0, 1, 2][..], &[1], &[1, 1, 2], &[2], &[2, 1], &[1, 2, 2]] {
        assert_eq!(history.judge_watch(&wish, &told(bad)).1.len(), 1, "{bad:?}");
    }
    let mut promised = told(&[1, 2]);
    promised.insert(1, Told::Progress(3));
    assert_eq!(history.judge_watch(&wish, &promised), (0, vec![]));
    promised[1] = Told::Progress(4);
    assert_eq!(history.judge_watch(&wish, &promised), (1, vec![]));
    let mut without = seen[2].clone();
    without.prev_kv = None;
    let told = [told(&[1])[0], Told::Event(4, digest(&without))];
    assert_eq!(history.judge_watch(&wish, &told).1.len(), 1);
}

#[test]
fn pages_have_all_keys_of_their_revision_and_exact_counts() {
    let seen =
        events(&[("p/a", "1", 0, 2), ("p/b", "1", 0, 3), ("q", "1", 0, 4), ("p/a", "", 0, 5)]);
    let attempts = [
        attempt("p/a", 0, "1", Outcome::Done(2)),
        attempt("p/b", 0, "1", Outcome::Done(3)),
        attempt("q", 0, "1", Outcome::Done(4)),
        attempt("p/a", 2, "", Outcome::Done(5)),
    ];
    let (history, wrong) = History::of(State::new(), &attempts, &seen);
    assert_eq!(wrong, Vec::<String>::new());
    let page =
        |key: &'static str, at, count, more| Page { kvs: vec![(key.into(), at)], count, more };
    let list = |revision, pages| Listing { prefix: "p/".into(), revision, pages };
    let good = [
        list(4, vec![page("p/a", 2, 2, true), page("p/b", 3, 1, false)]),
        list(5, vec![page("p/b", 3, 1, false)]),
    ];
    assert_eq!(history.judge_lists(&good), Vec::<String>::new());
    for bad in [
        list(5, vec![page("p/a", 2, 2, true), page("p/b", 3, 1, false)]),
        list(4, vec![page("p/a", 2, 1, true), page("p/b", 3, 1, false)]),
        list(4, vec![page("p/a", 2, 2, true)]),
        list(4, vec![page("p/b", 3, 2, true), page("p/a", 2, 1, false)]),
        list(4, vec![page("p/a", 3, 2, true), page("p/b", 3, 1, false)]),
    ] {
        assert_eq!(history.judge_lists(std::slice::from_ref(&bad)).len(), 1, "{bad:?}");
    }
}
