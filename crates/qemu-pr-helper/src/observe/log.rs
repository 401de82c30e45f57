//! Messages and traces as `tracing` events: levels up to DEBUG are messages, TRACE with a target of the table in
//! `trace` is one of `-T`'s events.

use std::fmt::{self, Write as _};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer, Registry,
    layer::{Context, SubscriberExt},
};

use super::{sink, trace};

/// Sends events on their way to standard error and the trace file.
struct Output(Level);

/// Takes over what the program says from here on. `program` stands before each message.
pub fn install(program: &str, verbose: bool) {
    let level = if verbose { Level::DEBUG } else { Level::WARN };
    sink::name(program);
    let subscriber = Registry::default().with(Output(level));
    // The one subscriber of the process, set once.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

impl<S: Subscriber> Layer<S> for Output {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        match *metadata.level() {
            Level::TRACE => trace::is_enabled(metadata.target()),
            level => level <= self.0,
        }
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        if *event.metadata().level() == Level::TRACE {
            sink::trace(trace::line(event.metadata().target(), &text.0));
        } else {
            sink::message(&text.0);
        }
    }
}

/// The message and the fields of an event, blank between them.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let blank = if self.0.is_empty() { "" } else { " " };
        let _ = match field.name() {
            "message" => write!(self.0, "{blank}{value:?}"),
            name => write!(self.0, "{blank}{name}={value:?}"),
        };
    }
}
