use std::sync::atomic::Ordering::SeqCst;

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::*;
use crate::clock;
use crate::protocol::{Empty, Op, PingReply};
use crate::worker::fake::{FakeLauncher, Reaction, ok};
use crate::worker::{Broken, CallError};

/// Workers whose set-up comes to what this says of their number.
struct Prepares<F>(F);

impl<F: Fn(u64) -> Result<(), LaunchError> + Send + Sync + 'static> SetUp for Prepares<F> {
    fn prepare<'a>(
        &'a self,
        worker: &'a mut Worker,
        _crew: &'a Crew,
        _lanes: &'a Lanes<Box<dyn Task>>,
        _until: Instant,
    ) -> BoxFuture<'a, Result<(), LaunchError>> {
        let outcome = (self.0)(worker.number());
        Box::pin(async move { outcome })
    }
}

/// Workers whose set-up takes as long as it may.
struct HangsInSetUp;

impl SetUp for HangsInSetUp {
    fn prepare<'a>(
        &'a self,
        _worker: &'a mut Worker,
        _crew: &'a Crew,
        _lanes: &'a Lanes<Box<dyn Task>>,
        until: Instant,
    ) -> BoxFuture<'a, Result<(), LaunchError>> {
        Box::pin(async move {
            tokio::time::sleep_until(until).await;
            Err(LaunchError::BrokenIn { what: "the first step".into(), broken: Broken::TimedOut })
        })
    }
}

/// Pings its worker and tells the worker's number, or how it broke.
struct Ping {
    reply: oneshot::Sender<Result<u64, Broken>>,
    rest: Option<Box<dyn Task>>,
}

impl Task for Ping {
    fn run<'a>(
        self: Box<Self>,
        worker: &'a mut Worker,
        permit: Option<TaskPermit>,
    ) -> BoxFuture<'a, WorkerVerdict> {
        Box::pin(async move {
            let until = Instant::now() + Duration::from_secs(5);
            let outcome = match worker.call::<PingReply>(Op::Ping(Empty {}), until).await {
                Ok(_) => Ok(worker.number()),
                Err(CallError::Broken(broken)) => Err(broken),
                Err(CallError::Fault(_)) => panic!("a ping has no fault"),
            };
            let broke = outcome.is_err();
            let _ = self.reply.send(outcome);
            if let (Some(rest), Some(permit), true) = (self.rest, permit, broke) {
                permit.park(rest, Crew::Shared);
            }
            if broke { WorkerVerdict::Replace } else { WorkerVerdict::Keep }
        })
    }

    fn is_dead(&self) -> bool {
        self.reply.is_closed()
    }
}

fn restarts(pool: &Pool) -> u64 {
    pool.restarts().values().sum()
}

fn sizes(workers: usize) -> plan::PoolLimits {
    plan::PoolLimits { min: workers, max: workers, ..plan::PoolLimits::default() }
}

fn start(
    sizes: plan::PoolLimits,
    script: impl Fn(u64, &Value) -> Reaction + Send + Sync + 'static,
) -> (Pool, Arc<FakeLauncher>) {
    let launcher = Arc::new(FakeLauncher::new(script));
    (Pool::start(launcher.clone(), Arc::new(Prepares(|_| Ok(()))), sizes), launcher)
}

fn well(_: u64, call: &Value) -> Reaction {
    Reaction::Say(vec![ok(call, &json!({}))])
}

fn ping(pool: &Pool) -> oneshot::Receiver<Result<u64, Broken>> {
    let (reply, answer) = oneshot::channel();
    pool.submit(Box::new(Ping { reply, rest: None }), Crew::Shared, None).unwrap();
    answer
}

async fn stopped(pool: &Pool) {
    pool.stop(Instant::now() + Duration::from_secs(30), |_, _| Box::pin(async {})).await;
}

#[tokio::test(start_paused = true)]
async fn workers_are_ready_before_the_pool_is() {
    let (pool, launcher) = start(sizes(3), well);
    pool.ready().await.unwrap();
    assert_eq!(launcher.launched.load(SeqCst), 3);
    ping(&pool).await.unwrap().unwrap();
    stopped(&pool).await;
    assert_eq!(launcher.alive.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_dies_hangs_or_errs_is_replaced() {
    for bad in ["die", "hang", "wrong id"] {
        let (pool, launcher) = start(sizes(1), move |number, call| match (number, bad) {
            (1, "die") => Reaction::Die,
            (1, "hang") => Reaction::Hang,
            (1, _) => Reaction::Say(vec![r#"{"reply":{"id":77,"ok":{}}}"#.into()]),
            _ => well(number, call),
        });
        assert!(ping(&pool).await.unwrap().is_err(), "{bad}");
        assert_eq!(ping(&pool).await.unwrap(), Ok(2), "{bad}");
        assert_eq!((launcher.alive.load(SeqCst), restarts(&pool)), (1, 1), "{bad}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_says_what_is_no_protocol_answers_its_call_and_none_after() {
    let (pool, launcher) = start(sizes(1), |number, call| match (number, well(number, call)) {
        (1, Reaction::Say(answer)) => Reaction::Say([vec!["what is this".to_owned()], answer].concat()),
        (_, reaction) => reaction,
    });
    assert_eq!(ping(&pool).await.unwrap(), Ok(1));
    for _ in 0..3 {
        assert_eq!(ping(&pool).await.unwrap(), Ok(2), "a quiet one stays");
    }
    assert_eq!((launcher.launched.load(SeqCst), launcher.alive.load(SeqCst), restarts(&pool)), (2, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_worker_first_does_what_is_left_over() {
    let (pool, _) =
        start(sizes(1), |number, call| if number == 1 { Reaction::Die } else { well(number, call) });
    let ((reply, first), (rest_reply, rest)) = (oneshot::channel(), oneshot::channel());
    let left_over = Ping { reply: rest_reply, rest: None };
    let task = Ping { reply, rest: Some(Box::new(left_over)) };
    let lane = Lane { store: "s".into(), mode: lanes::LaneMode::Exclusive };
    pool.submit(Box::new(task), Crew::Shared, Some(lane.clone())).unwrap();
    let (next_reply, next) = oneshot::channel();
    pool.submit(Box::new(Ping { reply: next_reply, rest: None }), Crew::Shared, Some(lane)).unwrap();
    assert_eq!(first.await.unwrap(), Err(Broken::Closed));
    assert_eq!(rest.await.unwrap(), Ok(2));
    assert_eq!(next.await.unwrap(), Ok(2));
}

#[tokio::test(start_paused = true)]
async fn the_pool_grows_to_its_maximum_when_nobody_is_idle() {
    let sizes = plan::PoolLimits { min: 1, max: 2, ..plan::PoolLimits::default() };
    let (pool, launcher) = start(sizes, |number, call| {
        let answer = vec![ok(call, &json!({}))];
        if number == 1 { Reaction::Later(Duration::from_secs(2), answer) } else { Reaction::Say(answer) }
    });
    pool.ready().await.unwrap();
    let answers = [ping(&pool), ping(&pool), ping(&pool)];
    for answer in answers {
        answer.await.unwrap().unwrap();
    }
    assert_eq!(launcher.launched.load(SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_worker_is_replaced_before_it_leaves_when_its_time_is_over() {
    let sizes = plan::PoolLimits { max_calls: 3, ..sizes(1) };
    let (pool, launcher) = start(sizes, well);
    let mut numbers = Vec::new();
    for _ in 0..12 {
        numbers.push(ping(&pool).await.unwrap().unwrap());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(launcher.launched.load(SeqCst) > 2, "{numbers:?}");
    assert!(numbers.is_sorted(), "{numbers:?}");
    stopped(&pool).await;
    assert_eq!(launcher.alive.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_workers_age_is_the_time_that_it_lived_whatever_the_wall_clock_says() {
    let sizes = plan::PoolLimits { max_age: Duration::from_secs(100), ..sizes(1) };
    let (pool, launcher) = start(sizes, well);
    for (days, seconds, launched) in [(4_000, 45, 1), (-8_000, 45, 1), (-4_000, 25, 2)] {
        clock::jump(time::Duration::days(days));
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        ping(&pool).await.unwrap().unwrap();
        assert_eq!(launcher.launched.load(SeqCst), launched);
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_does_not_come_up_is_tried_again_with_back_off_and_told() {
    let (pool, launcher) = start(sizes(1), well);
    pool.ready().await.unwrap();
    drop(pool);
    assert_eq!(launcher.launched.load(SeqCst), 1);
    let hello = json!({ "protocol": 0, "pwsh": "7.6.1", "pid": 1 });
    let old = Arc::new(FakeLauncher::with_hello(hello, well));
    let pool = Pool::start(old.clone(), Arc::new(Prepares(|_| Ok(()))), sizes(1));
    assert!(matches!(pool.ready().await, Err(LaunchError::Version { theirs: 0 })));
    assert_eq!(old.launched.load(SeqCst), 1, "no retry mends it");
    for days in [4_000, -8_000, 4_000] {
        clock::jump(time::Duration::days(days));
        tokio::time::sleep(Duration::from_secs(20)).await;
    }
    let launched = old.launched.load(SeqCst);
    assert!((5..15).contains(&launched), "{launched} starts in a minute");
}

#[tokio::test(start_paused = true)]
async fn a_stop_answers_what_waits_and_then_says_farewell_once() {
    let (pool, launcher) =
        start(sizes(2), |_, call| Reaction::Later(Duration::from_secs(1), vec![ok(call, &json!({}))]));
    pool.ready().await.unwrap();
    let answers: Vec<_> = (0..6).map(|_| ping(&pool)).collect();
    let farewells = Arc::new(AtomicUsize::new(0));
    let counted = farewells.clone();
    pool.stop(Instant::now() + Duration::from_secs(30), move |_, _| {
        counted.fetch_add(1, SeqCst);
        Box::pin(async {})
    })
    .await;
    for answer in answers {
        answer.await.unwrap().unwrap();
    }
    assert_eq!((farewells.load(SeqCst), launcher.alive.load(SeqCst)), (1, 0));
    assert!(
        pool.submit(Box::new(Ping { reply: oneshot::channel().0, rest: None }), Crew::Shared, None).is_err()
    );
}

#[tokio::test(start_paused = true)]
async fn a_stop_kills_what_is_not_done_in_time() {
    let (pool, launcher) = start(sizes(1), |_, _| Reaction::Hang);
    pool.ready().await.unwrap();
    let answer = ping(&pool);
    tokio::task::yield_now().await;
    pool.stop(Instant::now() + Duration::from_secs(1), |_, _| Box::pin(async {})).await;
    assert!(answer.await.is_err());
    assert_eq!(launcher.alive.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_that_dies_is_counted_as_started_again() {
    let (pool, launcher) = start(sizes(1), |number, call| match number {
        // Its answer comes, and then a line that nobody asked for.
        1 => Reaction::Say(vec![ok(call, &json!({})), ok(call, &json!({}))]),
        _ => well(number, call),
    });
    ping(&pool).await.unwrap().unwrap();
    assert_eq!(ping(&pool).await.unwrap(), Ok(2));
    assert_eq!((launcher.alive.load(SeqCst), restarts(&pool)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_worker_too_many_ends_and_leaves_its_place() {
    let sizes = plan::PoolLimits { min: 1, max: 2, ..plan::PoolLimits::default() };
    let (pool, launcher) =
        start(sizes, |_, call| Reaction::Later(Duration::from_secs(1), vec![ok(call, &json!({}))]));
    pool.ready().await.unwrap();
    for _ in 0..3 {
        for answer in [ping(&pool), ping(&pool), ping(&pool)] {
            answer.await.unwrap().unwrap();
        }
        assert_eq!((launcher.alive.load(SeqCst), pool.workers().len()), (2, 2));
        tokio::time::sleep(Duration::from_secs(400)).await;
        assert_eq!(launcher.alive.load(SeqCst), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_with_a_store_of_its_own_is_recycled_and_never_doubled() {
    let sizes = plan::PoolLimits { max_calls: 3, ..sizes(1) };
    let most = Arc::new(AtomicUsize::new(0));
    let launcher = Arc::new_cyclic(|launcher: &std::sync::Weak<FakeLauncher>| {
        let (launcher, most) = (launcher.clone(), most.clone());
        FakeLauncher::new(move |number, call| {
            if let Some(launcher) = launcher.upgrade() {
                most.fetch_max(launcher.alive.load(SeqCst), SeqCst);
            }
            well(number, call)
        })
    });
    let pool = Pool::start(launcher.clone(), Arc::new(Prepares(|_| Ok(()))), sizes);
    pool.ready().await.unwrap();
    let own = Crew::Own("s".into());
    pool.add_own_worker("s".into());
    let mut numbers = Vec::new();
    for _ in 0..9 {
        let (reply, answer) = oneshot::channel();
        pool.submit(Box::new(Ping { reply, rest: None }), own.clone(), None).unwrap();
        numbers.push(answer.await.unwrap().unwrap());
    }
    numbers.dedup();
    assert!(numbers.len() >= 3, "{numbers:?}");
    assert_eq!(most.load(SeqCst), 2, "the shared one, and one of its own");
}

#[tokio::test(start_paused = true)]
async fn a_start_that_a_retry_may_mend_is_given_up_at_the_third_failure_and_not_before() {
    let spawn = || LaunchError::Spawn("not now".into());
    for (failures, launched) in [(2, 3), (3, 3)] {
        let launcher = Arc::new(FakeLauncher::new(well));
        let set_up = Prepares(move |number| if number > failures { Ok(()) } else { Err(spawn()) });
        let pool = Pool::start(launcher.clone(), Arc::new(set_up), sizes(1));
        assert_eq!(pool.ready().await.is_ok(), failures < 3, "{failures}");
        assert_eq!(launcher.launched.load(SeqCst), launched, "{failures}");
    }
}

/// The pool waits a little longer than its workers may take, whose message says more.
#[tokio::test(start_paused = true)]
async fn a_worker_that_hangs_in_its_start_is_told_by_the_step_that_hung() {
    let sizes = plan::PoolLimits { start_limit: Duration::from_secs(10), ..sizes(1) };
    let pool = Pool::start(Arc::new(FakeLauncher::new(well)), Arc::new(HangsInSetUp), sizes);
    let outcome = pool.ready().await;
    assert!(matches!(outcome, Err(LaunchError::BrokenIn { .. })), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn another_worker_starts_only_where_more_tasks_wait_than_workers() {
    let sizes = plan::PoolLimits { min: 1, max: 2, ..plan::PoolLimits::default() };
    let (pool, launcher) = start(sizes, well);
    pool.ready().await.unwrap();
    for _ in 0..3 {
        // The worker is back at the queue.
        tokio::time::sleep(Duration::from_millis(10)).await;
        ping(&pool).await.unwrap().unwrap();
    }
    // No other worker would be of use to a store that has one of its own.
    pool.add_own_worker("s".into());
    pool.ready().await.unwrap();
    let answers = [0; 3].map(|_| {
        let (reply, answer) = oneshot::channel();
        pool.submit(Box::new(Ping { reply, rest: None }), Crew::Own("s".into()), None).unwrap();
        answer
    });
    for answer in answers {
        assert_eq!(answer.await.unwrap(), Ok(2));
    }
    assert_eq!(launcher.launched.load(SeqCst), 2, "the shared one, and the one of its own");
    let answers = [ping(&pool), ping(&pool)];
    for answer in answers {
        answer.await.unwrap().unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(launcher.launched.load(SeqCst), 3);
}

/// A worker that is asked to end may take a moment for it, and one that hangs then is not waited for.
#[tokio::test(start_paused = true)]
async fn a_stop_leaves_each_worker_the_time_to_end_by_itself() {
    let ended = Arc::new(AtomicUsize::new(0));
    let counted = ended.clone();
    let (pool, launcher) = start(sizes(2), move |number, call| {
        if call["op"].get("shutdown").is_none() {
            return well(number, call);
        }
        counted.fetch_add(1, SeqCst);
        Reaction::Later(Duration::from_secs(2), vec![ok(call, &json!({}))])
    });
    pool.ready().await.unwrap();
    let begun = Instant::now();
    stopped(&pool).await;
    assert_eq!((ended.load(SeqCst), launcher.alive.load(SeqCst)), (2, 0));
    assert_eq!(begun.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_successor_does_not_come_up_goes_on_and_gets_another_after_a_while() {
    let sizes = plan::PoolLimits { max_calls: 3, ..sizes(1) };
    let launcher = Arc::new(FakeLauncher::new(well));
    let fails = |number| if number == 2 { Err(LaunchError::Spawn("not now".into())) } else { Ok(()) };
    let pool = Pool::start(launcher.clone(), Arc::new(Prepares(fails)), sizes);
    pool.ready().await.unwrap();
    for _ in 0..20 {
        assert_eq!(ping(&pool).await.unwrap(), Ok(1));
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    assert_eq!(launcher.launched.load(SeqCst), 2, "no launch follows another that was in vain");
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(launcher.launched.load(SeqCst), 3);
    assert_eq!(ping(&pool).await.unwrap(), Ok(3));
}

/// The hello alone is as many calls as the limit allows, so each worker is beyond it before its first task.
#[tokio::test(start_paused = true)]
async fn a_limit_that_a_fresh_worker_is_beyond_does_not_start_workers_without_end() {
    let sizes = plan::PoolLimits { max_calls: 1, ..sizes(1) };
    let (pool, launcher) = start(sizes, well);
    pool.ready().await.unwrap();
    for _ in 0..20 {
        assert_eq!(ping(&pool).await.unwrap(), Ok(1));
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    assert_eq!(launcher.launched.load(SeqCst), 1);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let launched = launcher.launched.load(SeqCst);
    assert!((2..=4).contains(&launched), "one in five minutes, not {launched}");
}

/// What failed in one slot is hardly pwsh itself where another gets its work done.
#[tokio::test(start_paused = true)]
async fn a_slot_that_fails_is_tried_more_often_while_others_work() {
    for (works, launches) in [(true, 50..200), (false, 5..30)] {
        let launcher = Arc::new(FakeLauncher::new(well));
        let set_up = Prepares(|number| match number {
            1 => Ok(()),
            _ => Err(LaunchError::Spawn("not now".into())),
        });
        let pool = Pool::start(launcher.clone(), Arc::new(set_up), sizes(2));
        for _ in 0..240 {
            if works {
                ping(&pool).await.unwrap().unwrap();
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let launched = launcher.launched.load(SeqCst);
        assert!(launches.contains(&launched), "{launched} starts in two minutes: {works}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_watches_the_start_is_told_how_many_are_up_now() {
    let launcher = Arc::new(FakeLauncher::new(|number, call| match number {
        1 => Reaction::Die,
        _ => well(number, call),
    }));
    let set_up = Prepares(|number| match number {
        1 | 2 => Ok(()),
        _ => Err(LaunchError::Spawn("not now".into())),
    });
    let pool = Pool::start(launcher, Arc::new(set_up), sizes(2));
    pool.ready().await.unwrap();
    assert_eq!(pool.progress().borrow().up, 2);
    // One of the two breaks, and no other comes up.
    let answers = [ping(&pool), ping(&pool)];
    for answer in answers {
        let _ = answer.await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let progress = pool.progress().borrow().clone();
    assert_eq!(progress.up, 1);
    assert!(progress.failure.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_halted_leaves_no_worker_that_was_just_starting() {
    struct SecondHangs;
    impl SetUp for SecondHangs {
        fn prepare<'a>(
            &'a self,
            worker: &'a mut Worker,
            _crew: &'a Crew,
            _lanes: &'a Lanes<Box<dyn Task>>,
            _until: Instant,
        ) -> BoxFuture<'a, Result<(), LaunchError>> {
            let hangs = worker.number() > 1;
            Box::pin(async move { if hangs { std::future::pending().await } else { Ok(()) } })
        }
    }
    let launcher = Arc::new(FakeLauncher::new(well));
    let sizes = plan::PoolLimits { max_calls: 2, ..sizes(1) };
    let pool = Pool::start(launcher.clone(), Arc::new(SecondHangs), sizes);
    for _ in 0..2 {
        ping(&pool).await.unwrap().unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(launcher.alive.load(SeqCst), 2, "the worker, and its successor");
    pool.halt();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(launcher.alive.load(SeqCst), 0);
}
