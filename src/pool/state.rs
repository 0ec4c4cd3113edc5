//! What a slot does next: a pure function of its state and of what happened.

use std::time::Duration;

use tokio::time::Instant;

use crate::worker::LaunchError;

/// How often a start is tried that another try may mend.
const MOST_TRIES: u32 = 3;

/// Where a slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotState {
    /// Launching a worker and setting it up; `attempt` counts from 0.
    Starting {
        /// Failures in a row before this one.
        attempt: u32,
    },
    /// Its worker waits for a task.
    Ready {
        /// The worker has finished a task.
        proven: bool,
        /// Failures in a row before it came up.
        attempt: u32,
    },
    /// Its worker runs a task.
    Busy,
    /// Waiting before the next launch.
    BackingOff {
        /// Failures in a row.
        attempt: u32,
        /// When to launch.
        until: Instant,
    },
    /// For good.
    Stopped,
}

/// What happened to a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotEvent {
    /// The worker is up, its vaults are registered and unlocked.
    Up,
    /// It did not come up.
    Failed,
    /// It took a task.
    Took,
    /// The task is done and the worker is well.
    Done,
    /// The worker is broken, or must not be used again.
    Broke,
    /// The back-off is over.
    Elapsed,
    /// No more work.
    Stop,
}

/// First wait after a failed start; doubles up to [`MAX_BACKOFF`].
const MIN_BACKOFF: Duration = Duration::from_millis(200);

/// Longest wait between two starts.
const MAX_BACKOFF: Duration = Duration::from_secs(10);

/// Longest wait while other workers get their work done: what failed here is hardly pwsh itself.
const MAX_BACKOFF_BESIDE_OTHERS: Duration = Duration::from_secs(1);

impl SlotState {
    /// Where a slot begins.
    pub const fn new() -> SlotState {
        SlotState::Starting { attempt: 0 }
    }

    /// Where it is after `event`. An event that cannot happen in a state leaves it as it is.
    pub fn after(self, event: SlotEvent, now: Instant) -> SlotState {
        match (self, event) {
            (_, SlotEvent::Stop) | (SlotState::Stopped, _) => SlotState::Stopped,
            (SlotState::Starting { attempt }, SlotEvent::Up) => SlotState::Ready { proven: false, attempt },
            (SlotState::Starting { attempt }, SlotEvent::Failed) => back_off(attempt, now),
            (SlotState::Ready { .. }, SlotEvent::Took) => SlotState::Busy,
            // After a worker that did a task, the next one starts at once. A worker that ends before
            // its first task counts as one that did not start.
            (SlotState::Ready { proven: true, .. } | SlotState::Busy, SlotEvent::Broke) => SlotState::new(),
            (SlotState::Ready { proven: false, attempt }, SlotEvent::Broke) => back_off(attempt, now),
            (SlotState::Busy, SlotEvent::Done) => SlotState::Ready { proven: true, attempt: 0 },
            (SlotState::BackingOff { attempt, .. }, SlotEvent::Elapsed) => SlotState::Starting { attempt },
            (state, _) => state,
        }
    }

    /// Waits no longer than it must, if other workers get work done.
    pub fn sooner(self, others_work: bool, now: Instant) -> SlotState {
        match self {
            SlotState::BackingOff { attempt, until } if others_work => {
                SlotState::BackingOff { attempt, until: until.min(now + MAX_BACKOFF_BESIDE_OTHERS) }
            }
            state => state,
        }
    }

    /// A word for health and metrics.
    pub fn word(self) -> &'static str {
        match self {
            SlotState::Starting { .. } => "starting",
            SlotState::Ready { .. } => "ready",
            SlotState::Busy => "busy",
            SlotState::BackingOff { .. } => "backing_off",
            SlotState::Stopped => "stopped",
        }
    }
}

impl Default for SlotState {
    fn default() -> SlotState {
        SlotState::new()
    }
}

fn back_off(attempt: u32, now: Instant) -> SlotState {
    let wait = MIN_BACKOFF.saturating_mul(1 << attempt.min(16)).min(MAX_BACKOFF);
    SlotState::BackingOff { attempt: attempt.saturating_add(1), until: now + wait }
}

/// Whether a pool that starts gives up after this failure, of so many in a row.
pub(super) fn is_hopeless(error: &LaunchError, attempts: u32) -> bool {
    let may_pass = match error {
        LaunchError::Broken(_)
        | LaunchError::BrokenIn { .. }
        | LaunchError::Spawn(_)
        | LaunchError::Ended { circumstances: None, .. } => true,
        LaunchError::Ended { circumstances: Some(_), .. }
        | LaunchError::Version { .. }
        | LaunchError::TooOld { .. }
        | LaunchError::SetUp { .. } => false,
    };
    !may_pass || attempts >= MOST_TRIES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Fault;
    use crate::worker::Broken;

    #[test]
    fn a_start_is_given_up_at_once_where_no_other_try_mends_it_and_else_at_the_third() {
        let ended = |circumstances: Option<&str>| LaunchError::Ended {
            how: "exit code 1".into(),
            circumstances: circumstances.map(str::to_owned),
        };
        let what = || "registering".to_owned();
        for (error, first, second, third) in [
            (LaunchError::Spawn("no memory".into()), false, false, true),
            (LaunchError::Broken(Broken::TimedOut), false, false, true),
            (LaunchError::BrokenIn { what: what(), broken: Broken::TimedOut }, false, false, true),
            (ended(None), false, false, true),
            (ended(Some("no home")), true, true, true),
            (LaunchError::Version { theirs: 0 }, true, true, true),
            (LaunchError::TooOld { version: "7.2".into() }, true, true, true),
            (LaunchError::SetUp { what: what(), fault: Box::new(Fault::default()) }, true, true, true),
        ] {
            let given_up = [1, 2, 3].map(|attempts| is_hopeless(&error, attempts));
            assert_eq!(given_up, [first, second, third], "{error:?}");
        }
    }

    const ALL: [SlotEvent; 7] = [
        SlotEvent::Up,
        SlotEvent::Failed,
        SlotEvent::Took,
        SlotEvent::Done,
        SlotEvent::Broke,
        SlotEvent::Elapsed,
        SlotEvent::Stop,
    ];

    #[tokio::test(start_paused = true)]
    async fn every_state_and_event_has_its_place() {
        let now = Instant::now();
        let wait = |attempt, milliseconds| SlotState::BackingOff {
            attempt,
            until: now + Duration::from_millis(milliseconds),
        };
        let starting = SlotState::Starting { attempt: 2 };
        let fresh = SlotState::Ready { proven: false, attempt: 1 };
        let proven = SlotState::Ready { proven: true, attempt: 0 };
        let waiting = wait(3, 0);
        let stopped = SlotState::Stopped;
        // In the order of ALL: up, failed, took, done, broke, elapsed, stop.
        let table = [
            (
                starting,
                [
                    SlotState::Ready { proven: false, attempt: 2 },
                    wait(3, 800),
                    starting,
                    starting,
                    starting,
                    starting,
                    stopped,
                ],
            ),
            (fresh, [fresh, fresh, SlotState::Busy, fresh, wait(2, 400), fresh, stopped]),
            (proven, [proven, proven, SlotState::Busy, proven, SlotState::new(), proven, stopped]),
            (
                SlotState::Busy,
                [
                    SlotState::Busy,
                    SlotState::Busy,
                    SlotState::Busy,
                    proven,
                    SlotState::new(),
                    SlotState::Busy,
                    stopped,
                ],
            ),
            (
                waiting,
                [waiting, waiting, waiting, waiting, waiting, SlotState::Starting { attempt: 3 }, stopped],
            ),
            (stopped, [stopped; 7]),
        ];
        for (state, row) in table {
            for (event, expected) in ALL.into_iter().zip(row) {
                assert_eq!(state.after(event, now), expected, "{state:?} after {event:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_back_off_is_bounded() {
        let now = Instant::now();
        let SlotState::BackingOff { until, .. } =
            (SlotState::Starting { attempt: 40 }).after(SlotEvent::Failed, now)
        else {
            panic!("a failed start backs off");
        };
        assert_eq!(until, now + MAX_BACKOFF);
        let SlotState::BackingOff { until, .. } =
            (SlotState::BackingOff { attempt: 9, until }).sooner(true, now)
        else {
            panic!("it goes on waiting");
        };
        assert_eq!(until, now + MAX_BACKOFF_BESIDE_OTHERS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_is_cut_short_only_where_other_workers_get_work_done() {
        let now = Instant::now();
        let waits = |until| SlotState::BackingOff { attempt: 3, until };
        let long = waits(now + MAX_BACKOFF_BESIDE_OTHERS * 2);
        assert_eq!(long.sooner(false, now), long);
        assert_eq!(long.sooner(true, now), waits(now + MAX_BACKOFF_BESIDE_OTHERS));
        assert_eq!((SlotState::new().word(), SlotState::Busy.word()), ("starting", "busy"));
    }
}
