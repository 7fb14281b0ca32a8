//! Many runs on several threads. Each run is one thread's alone, and what they give is taken in their
//! order, so nothing that is said of them depends on how many threads there were.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

/// Does the work for each item, on so many threads, and hands the results over in the order of the
/// items, until one of them is answered with false.
///
/// # Panics
/// If the work does.
pub fn in_order<T: Sync, R: Send>(
    items: &[T],
    jobs: usize,
    work: impl Fn(&T) -> R + Sync,
    mut take: impl FnMut(R) -> bool,
) {
    if jobs <= 1 {
        let _ = items.iter().all(|item| take(work(item)));
        return;
    }
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..jobs {
            let (sender, next, work) = (sender.clone(), &next, &work);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(number) else { break };
                    if sender.send((number, work(item))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let (mut early, mut due) = (BTreeMap::new(), 0);
        for (number, result) in receiver {
            early.insert(number, result);
            while let Some(result) = early.remove(&due) {
                due += 1;
                if !take(result) {
                    next.store(items.len(), Ordering::Relaxed);
                    return;
                }
            }
        }
        assert_eq!(due, items.len(), "a thread ended before its work was done");
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items_whatever_the_threads() {
        let items: Vec<u64> = (0..500).collect();
        for jobs in [1, 2, 5] {
            let mut results = Vec::new();
            let take = |result| {
                results.push(result);
                result < 90_000
            };
            in_order(&items, jobs, |item| item * item, take);
            assert_eq!(results, (0..=300).map(|item| item * item).collect::<Vec<_>>());
        }
    }
}
