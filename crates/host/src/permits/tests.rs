use proptest::prelude::*;
use tokio::sync::oneshot::error::TryRecvError;

use super::*;

const LANES: [Lane; 4] = [Lane::Urgent, Lane::Relief, Lane::Ordinary, Lane::Bulk];

#[test]
fn permits_end_by_count_and_by_bytes_and_come_back() {
    let permits = Permits::new(2, 10);
    let first = permits.take(4).unwrap();
    assert!(first.is_only());
    assert!(permits.take(7).is_none(), "eleven bytes are too many");
    let second = permits.take(6).unwrap();
    assert!(permits.take(0).is_none(), "two are out");
    assert!(!first.is_only());
    drop(first);
    assert!(permits.take(5).is_none());
    assert!(permits.take(4).is_some());
    drop(second);
    assert!(permits.take(10).is_some(), "refusals took nothing with them");
}

#[test]
fn each_lane_ends_at_its_mark_and_leaves_the_rest_to_who_is_more_urgent() {
    for (lane, mark) in LANES.into_iter().zip([160, 150, 140, 80]) {
        let permits = Permits::new(1000, 160);
        assert_eq!(permits.bytes_max(lane), mark);
        assert!(permits.take_in(lane, mark + 1).is_none());
        let all = permits.take_in(lane, mark).expect("up to the mark");
        assert!(permits.take_in(lane, 1).is_none());
        let rest = permits.take(160 - mark).expect("the rest is left");
        assert!(permits.take(1).is_none());
        drop((all, rest));
        assert_eq!(permits.bytes(), 0);
    }
    let permits = Permits::new(16, 0);
    let all: Vec<_> = (0..14).map(|_| permits.take_in(Lane::Ordinary, 0).unwrap()).collect();
    assert!(permits.take_in(Lane::Ordinary, 0).is_none(), "the same for their number");
    assert!(permits.take_in(Lane::Relief, 0).is_some());
    drop(all);
    assert!(Permits::new(1, 1).take_in(Lane::Bulk, 1).is_some(), "one fits everywhere");
}

fn later(asked: Admission) -> Turn {
    match asked {
        Admission::Later(turn) => turn,
        other => panic!("{other:?}"),
    }
}

#[test]
fn turns_come_by_lane_and_then_in_order() {
    let permits = Permits::new(1000, 160);
    let all = permits.take(160).unwrap();
    let mut bulk = later(permits.line_up(Lane::Bulk, 80, 10));
    let mut first = later(permits.line_up(Lane::Ordinary, 60, 10));
    let mut second = later(permits.line_up(Lane::Ordinary, 60, 10));
    let mut urgent = later(permits.line_up(Lane::Urgent, 20, 10));
    assert!(matches!(permits.line_up(Lane::Urgent, 1, 4), Admission::Crowded));
    assert!(matches!(permits.line_up(Lane::Bulk, 81, 10), Admission::Never));
    drop(all);
    let urgent = urgent.granted.try_recv().expect("the first");
    let first = first.granted.try_recv().expect("the second: 80 of 140");
    let second = second.granted.try_recv().expect("the third: 140 of 140");
    assert!(bulk.granted.try_recv().is_err());
    assert!(permits.take_in(Lane::Bulk, 0).is_none(), "somebody waits in that lane");
    drop((urgent, first));
    assert!(bulk.granted.try_recv().is_err(), "60 are out, of 80");
    drop(second);
    assert_eq!(bulk.granted.try_recv().expect("the last").bytes(), 80);
}

#[test]
fn who_gives_its_place_up_makes_way_and_what_it_was_granted_comes_back() {
    let permits = Permits::new(1000, 10);
    let mut held = permits.take(8).unwrap();
    let large = later(permits.line_up(Lane::Urgent, 10, 10));
    let mut small = later(permits.line_up(Lane::Urgent, 2, 10));
    assert_eq!(small.granted.try_recv().unwrap_err(), TryRecvError::Empty, "not past the other");
    drop(large);
    let small = small.granted.try_recv().expect("it is next");
    let unseen = later(permits.line_up(Lane::Urgent, 5, 10));
    held.shrink_to(9);
    assert_eq!(held.bytes(), 8, "nothing is taken by that");
    held.shrink_to(3);
    assert_eq!((permits.bytes(), permits.waiting()), (10, 0));
    held.count(30);
    assert_eq!(permits.bytes(), 37, "what is there is counted");
    assert!(permits.take(0).is_none());
    drop((unseen, small, held));
    assert_eq!(permits.bytes(), 0);
}

/// What may be done to permits.
#[derive(Clone, Debug)]
enum Step {
    Take(usize, usize),
    LineUp(usize, usize),
    /// Of what is out or waits, the one at this position modulo their number.
    Drop(usize),
    Shrink(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..4_usize, 0..40_usize).prop_map(|(lane, bytes)| Step::Take(lane, bytes)),
        (0..4_usize, 0..40_usize).prop_map(|(lane, bytes)| Step::LineUp(lane, bytes)),
        any::<usize>().prop_map(Step::Drop),
        (any::<usize>(), 0..40_usize).prop_map(|(at, bytes)| Step::Shrink(at, bytes)),
    ]
}

/// The same in a list that is gone through from the beginning at each step: numbers, lanes and bytes of those that are
/// in and of those that wait.
#[derive(Default)]
struct Model {
    inside: Vec<(u64, usize)>,
    line: Vec<(usize, u64, usize)>,
}

impl Model {
    const MAX: usize = 64;

    fn fits(&self, lane: usize, bytes: usize) -> bool {
        let mark = [64, 60, 56, 32][lane];
        self.inside.iter().map(|(_, bytes)| bytes).sum::<usize>() + bytes <= mark
    }

    fn enter(&mut self, number: u64, lane: usize, bytes: usize) -> bool {
        let enters = self.line.iter().all(|(of, _, _)| lane < *of) && self.fits(lane, bytes);
        if enters {
            self.inside.push((number, bytes));
        }
        enters
    }

    fn advance(&mut self) {
        self.line.sort_unstable();
        while let Some(&(lane, number, bytes)) = self.line.first()
            && self.fits(lane, bytes)
        {
            self.line.remove(0);
            self.inside.push((number, bytes));
        }
    }
}

proptest! {
    #[test]
    fn permits_are_as_a_plain_list_would_have_them(steps in prop::collection::vec(step(), 0..200)) {
        let permits = Permits::new(usize::MAX, Model::MAX);
        let mut model = Model::default();
        let (mut inside, mut line) = (Vec::<(u64, Permit)>::new(), Vec::<(u64, Turn)>::new());
        for (number, step) in (0..).zip(steps) {
            match step {
                Step::Take(lane, bytes) => {
                    let permit = permits.take_in(LANES[lane], bytes);
                    prop_assert_eq!(permit.is_some(), model.enter(number, lane, bytes));
                    inside.extend(permit.map(|permit| (number, permit)));
                }
                Step::LineUp(lane, bytes) => {
                    let enters = model.enter(number, lane, bytes);
                    match permits.line_up(LANES[lane], bytes, 5) {
                        Admission::Now(permit) => {
                            prop_assert!(enters);
                            inside.push((number, permit));
                        }
                        Admission::Later(turn) => {
                            prop_assert!(!enters && model.line.len() < 5);
                            line.push((number, turn));
                            model.line.push((lane, number, bytes));
                        }
                        Admission::Crowded => prop_assert!(!enters && model.line.len() == 5),
                        Admission::Never => prop_assert!(bytes > LANES[lane].mark(Model::MAX)),
                    }
                }
                Step::Drop(at) if inside.len() + line.len() > 0 => {
                    let at = at % (inside.len() + line.len());
                    if at < inside.len() {
                        let (number, _) = inside.swap_remove(at);
                        model.inside.retain(|(of, _)| *of != number);
                    } else {
                        let (number, _) = line.swap_remove(at - inside.len());
                        model.line.retain(|(_, of, _)| *of != number);
                    }
                    model.advance();
                }
                Step::Shrink(at, bytes) if !inside.is_empty() => {
                    let at = at % inside.len();
                    let (number, permit) = &mut inside[at];
                    permit.shrink_to(bytes);
                    let held = model.inside.iter_mut().find(|(of, _)| of == number).unwrap();
                    held.1 = held.1.min(bytes);
                    model.advance();
                }
                Step::Drop(_) | Step::Shrink(..) => {}
            }
            let mut granted = Vec::new();
            line.retain_mut(|(number, turn)| match turn.granted.try_recv() {
                Ok(permit) => {
                    granted.push((*number, permit));
                    false
                }
                Err(_) => true,
            });
            inside.extend(granted);
            let mut numbers: Vec<_> = inside.iter().map(|(number, _)| *number).collect();
            let mut expected: Vec<_> = model.inside.iter().map(|(number, _)| *number).collect();
            numbers.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(numbers, expected);
            let bytes: usize = model.inside.iter().map(|(_, bytes)| bytes).sum();
            prop_assert_eq!((permits.bytes(), permits.waiting()), (bytes, model.line.len()));
        }
    }
}
