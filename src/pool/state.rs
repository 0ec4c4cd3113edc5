//! What a slot does next: a pure function of its state and of what happened.

use std::time::Duration;

use tokio::time::Instant;

/// Where a slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
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
pub enum Event {
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

impl State {
    /// Where a slot begins.
    pub const fn new() -> State {
        State::Starting { attempt: 0 }
    }

    /// Where it is after `event`. An event that cannot happen in a state leaves it as it is.
    pub fn after(self, event: Event, now: Instant) -> State {
        match (self, event) {
            (_, Event::Stop) | (State::Stopped, _) => State::Stopped,
            (State::Starting { attempt }, Event::Up) => State::Ready { proven: false, attempt },
            (State::Starting { attempt }, Event::Failed) => back_off(attempt, now),
            (State::Ready { .. }, Event::Took) => State::Busy,
            // A worker that has worked was no bad start: its successor starts at once. One that dies before
            // its first task is as good as one that did not come up.
            (State::Ready { proven: true, .. } | State::Busy, Event::Broke) => State::new(),
            (State::Ready { proven: false, attempt }, Event::Broke) => back_off(attempt, now),
            (State::Busy, Event::Done) => State::Ready { proven: true, attempt: 0 },
            (State::BackingOff { attempt, .. }, Event::Elapsed) => State::Starting { attempt },
            (state, _) => state,
        }
    }

    /// Waits no longer than it must, if other workers get work done.
    pub fn sooner(self, others_work: bool, now: Instant) -> State {
        match self {
            State::BackingOff { attempt, until } if others_work => {
                State::BackingOff { attempt, until: until.min(now + MAX_BACKOFF_BESIDE_OTHERS) }
            }
            state => state,
        }
    }

    /// A word for health and metrics.
    pub fn word(self) -> &'static str {
        match self {
            State::Starting { .. } => "starting",
            State::Ready { .. } => "ready",
            State::Busy => "busy",
            State::BackingOff { .. } => "backing_off",
            State::Stopped => "stopped",
        }
    }
}

impl Default for State {
    fn default() -> State {
        State::new()
    }
}

fn back_off(attempt: u32, now: Instant) -> State {
    let wait = MIN_BACKOFF.saturating_mul(1 << attempt.min(16)).min(MAX_BACKOFF);
    State::BackingOff { attempt: attempt.saturating_add(1), until: now + wait }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Event; 7] =
        [Event::Up, Event::Failed, Event::Took, Event::Done, Event::Broke, Event::Elapsed, Event::Stop];

    #[tokio::test(start_paused = true)]
    async fn every_state_and_event_has_its_place() {
        let now = Instant::now();
        let wait = |attempt, milliseconds| State::BackingOff {
            attempt,
            until: now + Duration::from_millis(milliseconds),
        };
        let starting = State::Starting { attempt: 2 };
        let fresh = State::Ready { proven: false, attempt: 1 };
        let proven = State::Ready { proven: true, attempt: 0 };
        let waiting = wait(3, 0);
        let stopped = State::Stopped;
        // In the order of ALL: up, failed, took, done, broke, elapsed, stop.
        let table = [
            (
                starting,
                [
                    State::Ready { proven: false, attempt: 2 },
                    wait(3, 800),
                    starting,
                    starting,
                    starting,
                    starting,
                    stopped,
                ],
            ),
            (fresh, [fresh, fresh, State::Busy, fresh, wait(2, 400), fresh, stopped]),
            (proven, [proven, proven, State::Busy, proven, State::new(), proven, stopped]),
            (
                State::Busy,
                [State::Busy, State::Busy, State::Busy, proven, State::new(), State::Busy, stopped],
            ),
            (waiting, [waiting, waiting, waiting, waiting, waiting, State::Starting { attempt: 3 }, stopped]),
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
        let State::BackingOff { until, .. } = (State::Starting { attempt: 40 }).after(Event::Failed, now)
        else {
            panic!("a failed start backs off");
        };
        assert_eq!(until, now + MAX_BACKOFF);
        let State::BackingOff { until, .. } = (State::BackingOff { attempt: 9, until }).sooner(true, now)
        else {
            panic!("it goes on waiting");
        };
        assert_eq!(until, now + MAX_BACKOFF_BESIDE_OTHERS);
    }
}
