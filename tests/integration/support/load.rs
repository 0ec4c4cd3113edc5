//! Clients that go on without a pause while something goes wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use super::http::Client;
use super::{SOON, wait_until};

/// What two readers saw.
pub struct Seen([Answers; 2]);

#[derive(Default)]
struct Answers {
    /// How often each status came.
    counts: BTreeMap<u16, usize>,
    worst: Duration,
}

/// Runs `work` while another thread does something until it is told that the work is done.
pub fn beside<A: Send, T>(other: impl FnOnce(&AtomicBool) -> A + Send, work: impl FnOnce() -> T) -> (A, T) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let other = scope.spawn(|| other(&done));
        // The other must end when the work panics, or the scope waits for ever.
        let outcome = catch_unwind(AssertUnwindSafe(work));
        done.store(true, Ordering::Release);
        let other = other.join().unwrap_or_else(|panic| resume_unwind(panic));
        (other, outcome.unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

/// Writes a secret at each of two paths, and runs `work` while two clients read them without a pause; it
/// begins when both read. They must get the value, or an error that a fault may cause: 502, 503 or 504. What
/// is read after the work must be right.
#[track_caller]
pub fn under_readers<T>(client: &Client, paths: &[String; 2], work: impl FnOnce() -> T) -> (Seen, T) {
    for path in paths {
        assert_eq!(client.put(path, "text/plain", path).status, 204, "{path}");
    }
    let reading = AtomicUsize::new(0);
    let reader = |path| {
        let reading = &reading;
        move |done: &AtomicBool| read(client, path, reading, done)
    };
    let (first, (second, outcome)) = beside(reader(&paths[0]), || {
        beside(reader(&paths[1]), || {
            wait_until("both clients read", SOON, || reading.load(Ordering::Acquire) == 2);
            work()
        })
    });
    (Seen([first, second]), outcome)
}

fn read(client: &Client, path: &String, reading: &AtomicUsize, done: &AtomicBool) -> Answers {
    let mut answers = Answers::default();
    loop {
        let last = done.load(Ordering::Acquire);
        let began = Instant::now();
        let answer = client.get(path);
        match answer.status {
            200 => assert_eq!(answer.json()["Value"], *path),
            502..=504 if !last => {}
            status => panic!("{path}: {status} {}", answer.text()),
        }
        if answers.counts.is_empty() {
            reading.fetch_add(1, Ordering::Release);
        }
        *answers.counts.entry(answer.status).or_default() += 1;
        answers.worst = answers.worst.max(began.elapsed());
        if last {
            return answers;
        }
    }
}

impl Seen {
    /// How often the client was refused that was refused most often.
    pub fn most_failures(&self) -> usize {
        let failures = |answers: &Answers| {
            answers.counts.iter().filter(|(status, _)| **status != 200).map(|(_, count)| count).sum()
        };
        self.0.iter().map(failures).max().unwrap_or_default()
    }

    /// The longest that one of them waited for an answer.
    pub fn worst(&self) -> Duration {
        self.0.iter().map(|answers| answers.worst).max().unwrap_or_default()
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all: BTreeMap<u16, usize> = BTreeMap::new();
        for (status, count) in self.0.iter().flat_map(|answers| &answers.counts) {
            *all.entry(*status).or_default() += count;
        }
        write!(f, "readers got")?;
        for (status, count) in all {
            write!(f, " {count} times {status},")?;
        }
        write!(f, " after {:.2?} at most", self.worst())
    }
}

mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "the work failed")]
    fn what_is_beside_a_work_that_fails_ends_with_it() {
        let until_done = |done: &AtomicBool| wait_until("done", SOON, || done.load(Ordering::Acquire));
        beside(until_done, || panic!("the work failed"));
    }
}
