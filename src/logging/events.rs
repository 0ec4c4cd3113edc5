//! Warnings and errors as events of the system's log, by numbers that stay the same.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use crate::platform::service::events::{self, Severity};

/// Hands each warning and error on.
pub(super) struct Events<F>(pub F);

impl<S: Subscriber, F: Fn(&events::ServiceEvent<'_>) + 'static> Layer<S> for Events<F> {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let about = event.metadata();
        let severity = match *about.level() {
            Level::ERROR => Severity::Error,
            Level::WARN => Severity::Warning,
            _ => return,
        };
        let mut line = Line::default();
        event.record(&mut line);
        let text = format!("{}{}", line.message, line.fields);
        (self.0)(&events::ServiceEvent { id: events::id(severity, about.target()), severity, text: &text });
    }
}

/// The message and then the fields, as the log shows them.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn warnings_and_errors_are_events_with_the_number_of_their_part() {
        let told: Arc<Mutex<Vec<(u16, Severity, String)>>> = Arc::default();
        let kept = told.clone();
        let keep = move |event: &events::ServiceEvent<'_>| {
            kept.lock().unwrap().push((event.id, event.severity, event.text.to_owned()));
        };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(Events(keep)), || {
            tracing::info!("unheard");
            tracing::warn!(target: "secretbridge::pool::slot", worker = 3, "it crashed");
            tracing::error!(target: "secretbridge::audit::writer", file = "a b", "the disk is full");
            tracing::error!(target: "hyper", "foreign");
        });
        let expected = [
            (120, Severity::Warning, "it crashed worker=3".to_owned()),
            (250, Severity::Error, "the disk is full file=\"a b\"".to_owned()),
            (200, Severity::Error, "foreign".to_owned()),
        ];
        assert_eq!(*told.lock().unwrap(), expected);
    }
}
