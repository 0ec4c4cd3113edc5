//! Who may take what, as a table of cases without any waiting.

use super::*;

fn lane(store: &str, mode: LaneMode) -> Lane {
    Lane { store: store.into(), mode }
}

fn alone(store: &str) -> Lane {
    lane(store, LaneMode::Exclusive)
}

fn own() -> Crew {
    Crew::Own("a".into())
}

/// A queue of tasks that are numbers.
fn queue() -> TaskQueue<u32> {
    TaskQueue::new(10)
}

fn push(queue: &mut TaskQueue<u32>, task: u32, crew: Crew, lane: Lane) {
    queue.push(task, crew, Some(lane), |_| false).unwrap();
}

/// The task that a worker of the crew gets, if any is for it now.
fn next(queue: &mut TaskQueue<u32>, worker: u64, crew: &Crew) -> Option<u32> {
    match queue.next(worker, crew) {
        Next::Task(task, _) => Some(task),
        Next::Wait(_) | Next::Finished => None,
    }
}

#[test]
fn a_queue_is_empty_where_neither_a_task_nor_a_caller_waits() {
    let mut queue = queue();
    assert!(queue.is_empty());
    push(&mut queue, 1, Crew::Shared, alone("a"));
    assert!(!queue.is_empty());
    assert_eq!(next(&mut queue, 1, &Crew::Shared), Some(1));
    assert!(queue.is_empty());
    let ticket = queue.push_caller(alone("b"), false);
    assert!(!queue.is_empty());
    assert!(queue.give_up(ticket) && queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lane_stays_closed_while_another_crews_task_is_parked_in_it() {
    let mut queue = queue();
    queue.park(&alone("a"), 1, Crew::Shared);
    queue.park(&alone("a"), 2, own());
    push(&mut queue, 3, Crew::Shared, alone("a"));
    assert_eq!(next(&mut queue, 1, &Crew::Shared), Some(1));
    queue.give_back(&alone("a"), None);
    assert_eq!(next(&mut queue, 1, &Crew::Shared), None, "the other one goes first");
    assert_eq!(next(&mut queue, 2, &own()), Some(2));
    queue.give_back(&alone("a"), None);
    assert_eq!(next(&mut queue, 1, &Crew::Shared), Some(3));
}

#[test]
fn what_is_parked_and_dead_opens_its_lane_where_nothing_else_is_parked_in_it() {
    for (also_parked, opens) in [(None, true), (Some("a"), false), (Some("b"), true)] {
        let mut queue = queue();
        queue.park(&alone("a"), 1, own());
        if let Some(store) = also_parked {
            queue.park(&alone(store), 2, own());
        }
        push(&mut queue, 3, Crew::Shared, alone("a"));
        assert_eq!(next(&mut queue, 1, &Crew::Shared), None);
        assert!(queue.drop_dead(|task| *task == 1));
        assert_eq!(next(&mut queue, 1, &Crew::Shared), opens.then_some(3), "{also_parked:?}");
    }
}

#[test]
fn readers_of_another_crew_hold_up_no_reader_and_a_writer_does() {
    for (mode, goes) in [(LaneMode::Shared, true), (LaneMode::Exclusive, false)] {
        let mut queue = queue();
        push(&mut queue, 1, own(), lane("a", mode));
        push(&mut queue, 2, Crew::Shared, lane("a", LaneMode::Shared));
        assert_eq!(next(&mut queue, 1, &Crew::Shared), goes.then_some(2), "{mode:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_a_task_to_the_worker_that_was_there_last_looks_again_after_its_way_back() {
    let mut queue = queue();
    push(&mut queue, 1, Crew::Shared, alone("a"));
    assert_eq!(next(&mut queue, 1, &Crew::Shared), Some(1));
    queue.busy(1);
    queue.give_back(&alone("a"), Some(1));
    assert_eq!(next(&mut queue, 1, &Crew::Shared), None);
    push(&mut queue, 2, Crew::Shared, alone("a"));
    let now = Instant::now();
    assert!(matches!(queue.next(2, &Crew::Shared), Next::Wait(Some(at)) if at == now + WAY_BACK));
    assert_eq!(next(&mut queue, 1, &Crew::Shared), Some(2));
}

#[test]
fn a_lane_admits_readers_together_a_writer_alone_and_beside_a_parked_task_who_starts() {
    use LaneMode::{Exclusive, Shared};
    let held = |shared, exclusive, parked| HeldLane { shared, exclusive, parked };
    for (held, mode, starting, admits) in [
        (held(0, false, false), Shared, false, true),
        (held(0, false, false), Exclusive, false, true),
        (held(2, false, false), Shared, false, true),
        (held(1, false, false), Exclusive, false, false),
        (held(0, true, false), Shared, false, false),
        (held(0, true, false), Exclusive, false, false),
        (held(0, false, true), Shared, false, false),
        (held(0, false, true), Exclusive, false, false),
        (held(0, false, true), Shared, true, true),
        (held(0, false, true), Exclusive, true, true),
        (held(1, false, true), Exclusive, true, false),
        (held(0, true, true), Shared, true, false),
    ] {
        assert_eq!(held.admits(mode, starting), admits, "{held:?} {mode:?} starting: {starting}");
    }
}

#[test]
fn a_parked_task_whose_caller_has_gone_opens_its_lane() {
    let mut queue = TaskQueue::new(2);
    let lane = Lane { store: "s".into(), mode: LaneMode::Exclusive };
    queue.push("first", Crew::Shared, Some(lane.clone()), |_| false).unwrap();
    assert!(matches!(queue.next(1, &Crew::Shared), Next::Task("first", Some(_))));
    queue.park(&lane, "parked", Crew::Shared);
    let caller = queue.push_caller(lane, false);
    assert!(!queue.admit(caller), "the lane is closed until the parked task is done");
    assert!(queue.drop_dead(|task| *task == "parked"));
    assert!(queue.admit(caller), "nothing is parked any more");
    assert_eq!(queue.waiting(), 0);
}
