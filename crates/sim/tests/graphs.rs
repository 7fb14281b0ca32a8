//! Every directed graph of links in which some majority can talk: the whole stack gets work done. For
//! five members there are tens of thousands: `quorate-sim graphs`.

use quorate_sim::graphs;
use quorate_sim::run::{run_graph, run_quiet_graph};
use quorate_sim::trace::Trace;

fn all_work(members: u64, count: usize) {
    let all = graphs::all(usize::try_from(members).unwrap());
    assert_eq!(all.len(), count);
    for graph in all {
        let report = run_graph(members, graph, Trace::off())
            .unwrap_or_else(|failure| panic!("{graph:?}: {failure}"));
        assert!(report.tally.writes > 10, "{graph:?} did hardly any work");
        assert!(report.worked_after.is_some());
        let report = run_quiet_graph(members, graph, Trace::off())
            .unwrap_or_else(|failure| panic!("{graph:?} of a quiet group: {failure}"));
        assert!(report.tally.writes > 10, "{graph:?} did hardly any work");
        assert!(report.quiet > 0 && report.woken > 0, "{graph:?} was not quiet");
    }
}

#[test]
fn three_members_work_if_two_can_talk() {
    all_work(3, 21);
}

#[test]
fn four_members_work_if_three_can_talk() {
    all_work(4, 55);
}
