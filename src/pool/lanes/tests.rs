use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{Instant, timeout};

use super::queue::WAY_BACK;
use super::*;

fn lane(store: &str, mode: LaneMode) -> Option<Lane> {
    Some(Lane { store: store.into(), mode })
}

fn alive(_: &u32) -> bool {
    false
}

async fn pulled(lanes: &Lanes<u32>) -> Option<(u32, Option<LanePermit<u32>>)> {
    timeout(Duration::from_millis(10), lanes.pull(1, &Crew::Shared, alive)).await.ok().flatten()
}

/// A worker that waits for a task.
fn idle(lanes: &Lanes<u32>) -> tokio::task::JoinHandle<(u32, Option<LanePermit<u32>>)> {
    let lanes = lanes.clone();
    tokio::spawn(async move { lanes.pull(6, &Crew::Shared, alive).await.unwrap() })
}

fn filled(tasks: &[(u32, Option<Lane>)]) -> Lanes<u32> {
    let lanes = Lanes::new(16);
    for (task, lane) in tasks {
        lanes.push(*task, Crew::Shared, lane.clone(), alive).unwrap();
    }
    lanes
}

#[tokio::test(start_paused = true)]
async fn readers_go_together_and_a_writer_goes_alone() {
    use LaneMode::{Exclusive, Shared};
    let lanes = filled(&[
        (1, lane("s", Shared)),
        (2, lane("s", Shared)),
        (3, lane("s", Exclusive)),
        (4, lane("s", Shared)),
    ]);
    let first = pulled(&lanes).await.unwrap();
    let second = pulled(&lanes).await.unwrap();
    assert_eq!((first.0, second.0), (1, 2));
    assert!(pulled(&lanes).await.is_none(), "the writer waits, and the reader behind it too");
    drop((first, second));
    let writer = pulled(&lanes).await.unwrap();
    assert_eq!(writer.0, 3);
    assert!(pulled(&lanes).await.is_none());
    drop(writer);
    assert_eq!(pulled(&lanes).await.unwrap().0, 4);
    assert!(lanes.shared.queue().holds_no_lane(), "nothing is kept of a lane that nobody uses");
}

/// The first that leaves takes nothing from the other.
#[tokio::test(start_paused = true)]
async fn a_writer_waits_for_the_last_of_the_readers() {
    use LaneMode::{Exclusive, Shared};
    let lanes = filled(&[(1, lane("s", Shared)), (2, lane("s", Shared)), (3, lane("s", Exclusive))]);
    let [first, second] = [pulled(&lanes).await.unwrap(), pulled(&lanes).await.unwrap()];
    drop(first);
    assert!(pulled(&lanes).await.is_none());
    drop(second);
    assert_eq!(pulled(&lanes).await.unwrap().0, 3);
}

#[tokio::test(start_paused = true)]
async fn a_busy_lane_does_not_hold_up_another() {
    let a = || lane("a", LaneMode::Exclusive);
    let lanes = filled(&[(1, a()), (2, a()), (3, lane("b", LaneMode::Exclusive)), (4, None)]);
    let held = [pulled(&lanes).await.unwrap(), pulled(&lanes).await.unwrap(), pulled(&lanes).await.unwrap()];
    assert_eq!([held[0].0, held[1].0, held[2].0], [1, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_script_with_a_worker_gets_its_lane_before_tasks_that_have_none() {
    let lanes = filled(&[(1, lane("s", LaneMode::Exclusive)), (2, lane("s", LaneMode::Exclusive))]);
    let writer = pulled(&lanes).await.unwrap();
    let script = tokio::spawn({
        let lanes = lanes.clone();
        async move { lanes.acquire(Lane { store: "s".into(), mode: LaneMode::Exclusive }).await }
    });
    tokio::task::yield_now().await;
    drop(writer);
    // Task 2 came first, but the one worker it could have may be the script's own.
    let permit = timeout(Duration::from_secs(1), script).await.unwrap().unwrap();
    assert!(pulled(&lanes).await.is_none());
    drop(permit);
    assert_eq!(pulled(&lanes).await.unwrap().0, 2);
}

#[tokio::test(start_paused = true)]
async fn scripts_that_come_and_go_do_not_keep_out_a_writer_whose_worker_is_idle() {
    let lanes = Lanes::new(8);
    let shared = || Lane { store: "s".into(), mode: LaneMode::Shared };
    let first = lanes.acquire(shared()).await;
    let idle = idle(&lanes);
    tokio::task::yield_now().await;
    lanes.push(1, Crew::Shared, lane("s", LaneMode::Exclusive), alive).unwrap();
    let mut second = Box::pin(lanes.acquire(shared()));
    assert!(second.as_mut().now_or_never().is_none(), "the writer is next");
    drop(first);
    let (task, permit) = timeout(Duration::from_secs(1), idle).await.unwrap().unwrap();
    assert_eq!(task, 1);
    drop(permit);
    timeout(Duration::from_secs(1), second).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_place_given_up_is_free_again() {
    let lanes = filled(&[(1, lane("s", LaneMode::Shared))]);
    let reader = pulled(&lanes).await.unwrap();
    let give_up = lanes.acquire(Lane { store: "s".into(), mode: LaneMode::Exclusive });
    assert!(timeout(Duration::from_millis(5), give_up).await.is_err());
    lanes.push(2, Crew::Shared, lane("s", LaneMode::Shared), alive).unwrap();
    assert_eq!(pulled(&lanes).await.unwrap().0, 2);
    drop(reader);
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded_and_the_dead_make_room() {
    let lanes = Lanes::new(2);
    lanes.push(1, Crew::Shared, None, alive).unwrap();
    lanes.push(2, Crew::Shared, None, alive).unwrap();
    assert_eq!(lanes.push(3, Crew::Shared, None, alive), Err(QueueRefusal::Full));
    assert_eq!(lanes.push(3, Crew::Shared, None, |task| *task == 1), Ok(()));
    assert_eq!(pulled(&lanes).await.unwrap().0, 2);
}

#[tokio::test(start_paused = true)]
async fn a_store_with_a_worker_of_its_own_is_served_by_no_other() {
    let lanes = Lanes::new(4);
    let own = Crew::Own("s".into());
    lanes.push(1, own.clone(), None, alive).unwrap();
    assert!(pulled(&lanes).await.is_none());
    assert_eq!(lanes.pull(1, &own, alive).await.unwrap().0, 1);
}

#[tokio::test(start_paused = true)]
async fn a_closed_queue_serves_what_waits_and_then_ends() {
    let lanes = filled(&[(1, None)]);
    lanes.close();
    assert_eq!(lanes.push(2, Crew::Shared, None, alive), Err(QueueRefusal::Closed));
    assert_eq!(lanes.pull(1, &Crew::Shared, alive).await.unwrap().0, 1);
    assert!(lanes.pull(1, &Crew::Shared, alive).await.is_none());
}

/// What another worker is given while one that starts, which may be the one that is to do what is parked, is in the
/// lane.
async fn pulled_beside_a_starting_worker(lanes: &Lanes<u32>, mode: LaneMode) -> Option<u32> {
    let starting = lanes.acquire_at_start(Lane { store: "s".into(), mode });
    let permit = timeout(Duration::from_millis(1), starting).await.expect("let in");
    let pulled = pulled(lanes).await.map(|(task, _)| task);
    drop(permit);
    tokio::time::sleep(Duration::from_millis(1)).await;
    pulled
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_starts_waits_its_turn_where_nothing_is_parked() {
    let lanes = Lanes::new(8);
    let shared = || Lane { store: "s".into(), mode: LaneMode::Shared };
    let first = lanes.acquire(shared()).await;
    let idle = idle(&lanes);
    tokio::task::yield_now().await;
    lanes.push(1, Crew::Shared, lane("s", LaneMode::Exclusive), alive).unwrap();
    let mut starting = Box::pin(lanes.acquire_at_start(shared()));
    assert!(starting.as_mut().now_or_never().is_none(), "the writer is next");
    drop(first);
    drop(timeout(Duration::from_secs(1), idle).await.unwrap().unwrap());
    timeout(Duration::from_secs(1), starting).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_gives_its_place_up_lets_those_behind_it_go_at_once() {
    let lanes = filled(&[(1, lane("s", LaneMode::Shared))]);
    let reader = pulled(&lanes).await.unwrap();
    let mut writer = Box::pin(lanes.acquire(Lane { store: "s".into(), mode: LaneMode::Exclusive }));
    assert!(writer.as_mut().now_or_never().is_none());
    let behind = tokio::spawn({
        let lanes = lanes.clone();
        async move { lanes.acquire(Lane { store: "s".into(), mode: LaneMode::Shared }).await }
    });
    tokio::task::yield_now().await;
    drop(writer);
    drop(timeout(Duration::from_secs(1), behind).await.expect("told").unwrap());
    drop(reader);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_end_of_a_closed_queue_is_told_of_its_last_task() {
    let lanes = filled(&[(1, None)]);
    lanes.close();
    let end = tokio::spawn({
        let lanes = lanes.clone();
        async move { lanes.finished(&Crew::Shared).await }
    });
    tokio::task::yield_now().await;
    assert_eq!(lanes.pull(1, &Crew::Shared, alive).await.unwrap().0, 1);
    timeout(Duration::from_secs(1), end).await.expect("told").unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_cleared_drops_what_waits_for_a_worker_and_keeps_who_has_one() {
    let lanes =
        filled(&[(1, lane("s", LaneMode::Exclusive)), (2, None), (3, lane("t", LaneMode::Exclusive))]);
    let (_, permit) = pulled(&lanes).await.unwrap();
    let script = lanes.acquire(Lane { store: "t".into(), mode: LaneMode::Shared });
    let mut script = Box::pin(script);
    let held = lanes.acquire(Lane { store: "t".into(), mode: LaneMode::Exclusive }).await;
    assert!(script.as_mut().now_or_never().is_none());
    permit.unwrap().park(9, Crew::Shared);
    assert_eq!(lanes.waiting(), 3);
    lanes.clear();
    assert_eq!(lanes.waiting(), 0);
    drop(held);
    timeout(Duration::from_secs(1), script).await.expect("its place is kept");
}

#[tokio::test(start_paused = true)]
async fn a_parked_lane_is_closed_until_its_task_is_done_alone_and_first() {
    use LaneMode::{Exclusive, Shared};
    let lanes = filled(&[(1, lane("s", Exclusive)), (2, lane("s", Shared)), (3, None)]);
    let (_, permit) = pulled(&lanes).await.unwrap();
    let script = tokio::spawn({
        let lanes = lanes.clone();
        async move { lanes.acquire(Lane { store: "s".into(), mode: Exclusive }).await }
    });
    tokio::task::yield_now().await;
    permit.unwrap().park(9, Crew::Shared);
    assert_eq!(pulled_beside_a_starting_worker(&lanes, Shared).await, Some(3), "nothing of the lane");
    assert_eq!(pulled_beside_a_starting_worker(&lanes, Exclusive).await, None);
    assert!(!script.is_finished());
    let (task, permit) = pulled(&lanes).await.unwrap();
    assert_eq!((task, script.is_finished()), (9, false));
    assert!(pulled(&lanes).await.is_none());
    drop(permit);
    drop(timeout(Duration::from_secs(1), script).await.expect("now").unwrap());
    assert_eq!(pulled(&lanes).await.unwrap().0, 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_parked_and_dead_frees_its_lane() {
    let lanes = filled(&[(1, lane("s", LaneMode::Exclusive)), (2, lane("s", LaneMode::Exclusive))]);
    let (_, permit) = pulled(&lanes).await.unwrap();
    permit.unwrap().park(9, Crew::Shared);
    assert_eq!(lanes.waiting(), 2);
    assert_eq!(lanes.pull(1, &Crew::Shared, |task| *task == 9).await.unwrap().0, 2);
}

#[tokio::test(start_paused = true)]
async fn a_closed_queue_still_gives_out_what_is_parked() {
    let lanes = filled(&[(1, lane("s", LaneMode::Exclusive))]);
    let (_, permit) = pulled(&lanes).await.unwrap();
    lanes.close();
    permit.unwrap().park(9, Crew::Shared);
    assert!(timeout(Duration::from_millis(1), lanes.finished(&Crew::Shared)).await.is_err());
    assert_eq!(lanes.pull(1, &Crew::Shared, alive).await.unwrap().0, 9);
    lanes.finished(&Crew::Shared).await;
}

#[tokio::test(start_paused = true)]
async fn a_task_alone_in_its_lane_goes_to_who_was_there_last_if_that_one_waits() {
    let lanes = Arc::new(Lanes::new(8));
    let push = |task| lanes.push(task, Crew::Shared, lane("s", LaneMode::Exclusive), alive).unwrap();
    let pull = |worker| {
        let lanes = lanes.clone();
        tokio::spawn(async move { lanes.pull(worker, &Crew::Shared, alive).await.unwrap() })
    };
    push(1);
    let (_, permit) = pull(7).await.unwrap();
    drop(permit);
    for task in 2..10 {
        // Whoever begins to wait first, it is the same one.
        let (first, second) = if task % 2 == 0 { (6, 7) } else { (7, 6) };
        let (first, second) = (pull(first), pull(second));
        tokio::task::yield_now().await;
        push(task);
        let (taken, waiting) = if task % 2 == 0 { (second, first) } else { (first, second) };
        assert_eq!(taken.await.unwrap().0, task);
        waiting.abort();
    }
    // One that has stopped waiting, or is at work, is not waited for.
    let gone = pull(7);
    tokio::task::yield_now().await;
    gone.abort();
    push(10);
    assert_eq!(timeout(Duration::from_secs(1), pull(6)).await.unwrap().unwrap().0, 10);
}

#[tokio::test(start_paused = true)]
async fn who_stops_waiting_leaves_what_it_was_left_to_the_others() {
    let lanes = Arc::new(Lanes::new(8));
    lanes.push(1, Crew::Shared, lane("s", LaneMode::Exclusive), alive).unwrap();
    drop(lanes.pull(7, &Crew::Shared, alive).await);
    let mut last = Box::pin(lanes.pull(7, &Crew::Shared, alive));
    // It waits, and is not looked at again until it is dropped.
    assert!(last.as_mut().now_or_never().is_none());
    lanes.push(2, Crew::Shared, lane("s", LaneMode::Exclusive), alive).unwrap();
    let mut other = Box::pin(lanes.pull(6, &Crew::Shared, alive));
    assert!(other.as_mut().now_or_never().is_none());
    drop(last);
    assert_eq!(timeout(Duration::from_secs(1), other).await.unwrap().unwrap().0, 2);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_a_lane_may_take_it_again_before_others_and_they_do_not_wait_long() {
    for comes_back in [true, false] {
        let lanes =
            Arc::new(filled(&[(1, lane("s", LaneMode::Exclusive)), (2, lane("s", LaneMode::Exclusive))]));
        let (_, permit) = lanes.pull(7, &Crew::Shared, alive).await.unwrap();
        let other = tokio::spawn({
            let lanes = lanes.clone();
            async move { lanes.pull(6, &Crew::Shared, alive).await.unwrap().0 }
        });
        tokio::task::yield_now().await;
        drop(permit);
        tokio::task::yield_now().await;
        let begun = Instant::now();
        let taken = if comes_back {
            lanes.pull(7, &Crew::Shared, alive).await.unwrap().0
        } else {
            timeout(Duration::from_secs(1), other).await.unwrap().unwrap()
        };
        assert_eq!(taken, 2);
        assert!(begun.elapsed() <= WAY_BACK * 2, "{:?}", begun.elapsed());
    }
}

/// Two readers whose copy is old leave what they wanted to read to workers with another.
#[tokio::test(start_paused = true)]
async fn a_lane_that_two_readers_have_parked_is_closed_until_both_tasks_are_done() {
    let shared = || lane("s", LaneMode::Shared);
    let lanes = filled(&[(1, shared()), (2, shared()), (3, shared())]);
    let held = [pulled(&lanes).await.unwrap(), pulled(&lanes).await.unwrap()];
    let script = tokio::spawn({
        let lanes = lanes.clone();
        async move { lanes.acquire(Lane { store: "s".into(), mode: LaneMode::Shared }).await }
    });
    for (task, permit) in held {
        permit.unwrap().park(task + 8, Crew::Shared);
    }
    for expected in [9, 10] {
        let (task, permit) = pulled(&lanes).await.unwrap();
        assert_eq!(task, expected);
        assert!(pulled(&lanes).await.is_none(), "each has the lane alone");
        assert!(!script.is_finished());
        drop(permit);
    }
    let (task, _permit) = pulled(&lanes).await.unwrap();
    assert_eq!(task, 3);
    drop(timeout(Duration::from_secs(1), script).await.expect("open again").unwrap());
}
