//! Messages and traces as `tracing` events: levels up to DEBUG are messages, TRACE with a target of the table in
//! `trace` is one of `-T`'s events.
//!
//! What is switched off costs a load and a branch where it would arise: the answers to "is this wanted?" are kept
//! there, and made again when the set of traced events changes.

use std::{
    fmt::{self, Write as _},
    sync::Arc,
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    subscriber::Interest,
};
use tracing_subscriber::{
    Layer, Registry,
    layer::{Context, SubscriberExt},
};

use super::{
    format::{LogFormat, Style},
    handle::Log,
    journal::{self, Journal, JournalError},
};

/// About the length of a line.
const LINE: usize = 160;

/// Forwards events of this level and more important ones to a log.
struct Forward {
    log: Arc<Log>,
    level: Level,
}

impl Log {
    /// Takes over what the process says with `tracing`'s macros from here on. `program` stands before each message.
    ///
    /// # Errors
    /// The journal is wanted and cannot be reached; messages go to standard error then.
    pub fn install(self: &Arc<Self>, program: &str, verbose: bool, format: LogFormat) -> Result<(), JournalError> {
        let level = if verbose { Level::DEBUG } else { Level::WARN };
        // The one subscriber of the process, set once: the macros have no place for a handle.
        let _ = tracing::subscriber::set_global_default(self.subscriber(level));
        self.configure(|output| program.clone_into(&mut output.program));
        let (style, journal) = choose(format)?;
        let apart = journal.is_some() && !journal::is_standard_error();
        self.configure(|output| (output.style, output.journal, output.apart) = (style, journal, apart));
        Ok(())
    }

    /// What has `tracing`'s events come to this log.
    pub(super) fn subscriber(self: &Arc<Self>, level: Level) -> impl Subscriber + use<> {
        Registry::default().with(Forward { log: Arc::clone(self), level })
    }
}

/// What standard error is to look like, and whether the journal is spoken to directly.
fn choose(format: LogFormat) -> Result<(Style, Option<Journal>), JournalError> {
    let plain = || if journal::is_standard_error() { Style::Prefix } else { Style::Text };
    Ok(match format {
        LogFormat::Prefix => (Style::Prefix, None),
        LogFormat::Json => (Style::Json, None),
        LogFormat::Journal => (plain(), Some(Journal::open()?)),
        // The journal reads standard error too, and the priorities in front of lines.
        LogFormat::Auto if journal::is_standard_error() => (Style::Prefix, Journal::open().ok()),
        LogFormat::Auto | LogFormat::Text => (Style::Text, None),
    })
}

impl Forward {
    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        match *metadata.level() {
            Level::TRACE => self.log.traced.is_enabled(metadata.target()),
            level => level <= self.level,
        }
    }
}

impl<S: Subscriber> Layer<S> for Forward {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.wants(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.wants(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(if self.log.traced.is_any_enabled() { LevelFilter::TRACE } else { LevelFilter::from_level(self.level) })
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut text = Text(String::with_capacity(LINE));
        if *metadata.level() == Level::TRACE {
            text.0.push_str(metadata.target());
            event.record(&mut text);
            self.log.trace(text.0);
        } else {
            event.record(&mut text);
            self.log.message((*metadata.level()).into(), text.0);
        }
    }
}

/// The message and the fields of an event, blank between them.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        if field.name() != "message" {
            self.0.push_str(field.name());
            self.0.push('=');
        }
        let _ = write!(self.0, "{value:?}");
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test panics: that is how it fails")]
mod tests {
    use tracing::trace;

    use crate::log::for_tests::Captured;

    #[test]
    fn two_logs_in_a_process_trace_events_of_their_own() {
        let (one, other) = (Captured::new(), Captured::new());
        let arises = || {
            for (number, log) in [&one, &other].into_iter().enumerate() {
                log.during(|| {
                    trace!(target: "pr_helper_hello", client = number);
                    trace!(target: "pr_helper_close", client = number, reason = "why");
                });
            }
        };
        arises();
        assert_eq!((one.text().as_str(), other.text().as_str()), ("", ""));
        assert_eq!(one.log.traced.set(["pr_helper_hello"]), Vec::<String>::new());
        other.log.traced.set(["*", "-pr_helper_hello"]);
        arises();
        let (hello, close) = ("pr_helper_hello client=0\n", "pr_helper_close client=1 reason=\"why\"\n");
        assert_eq!((one.text().as_str(), other.text().as_str()), (hello, close));
        one.log.traced.set(["-*"]);
        arises();
        assert_eq!((one.text(), other.text()), (hello.to_owned(), close.repeat(2)));
        assert_eq!(one.log.traced.enabled(), Vec::<&str>::new());
    }
}
