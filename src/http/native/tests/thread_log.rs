//! What a test's own thread logs.

use std::cell::RefCell;
use std::sync::Once;

thread_local! {
    /// What this thread logs, where a test wants it.
    static LOG: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

struct ThreadLog;

impl std::io::Write for ThreadLog {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        LOG.with_borrow_mut(|log| log.iter_mut().for_each(|log| log.extend_from_slice(data)));
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Logs what follows on this thread. The subscriber is the whole process's: were it this thread's alone, an
/// event that another thread comes to first would be off for all of them.
pub(super) fn log_from_here() {
    static SUBSCRIBER: Once = Once::new();
    SUBSCRIBER.call_once(|| {
        let subscriber = tracing_subscriber::fmt()
            .with_writer(|| ThreadLog)
            .with_ansi(false)
            .with_max_level(tracing::Level::TRACE)
            .finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
    LOG.set(Some(Vec::new()));
}

pub(super) fn logged() -> Vec<String> {
    let log = String::from_utf8(LOG.take().unwrap_or_default()).unwrap();
    log.lines().map(str::to_owned).collect()
}
