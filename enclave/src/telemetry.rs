//! What leaves the enclave as a log: events that say `ops!`, and of these only
//! the fields on the list below, as JSON lines on stderr. Everything else,
//! from our own code or from a dependency, is dropped unseen, whatever its
//! level. There is no message text: an event's name is a constant.

use std::fmt;
use std::io::Write;
use std::sync::Mutex;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::clock;

/// Target of the events that may leave.
pub(crate) const OPS_TARGET: &str = "bastide::ops";

/// Fields that may leave as text. Their values come from our own constants,
/// from the operator's command line or from the model's directory; each call
/// of `ops!` is reviewed for that.
const TEXT_FIELDS: [&str; 9] = [
    "attester",
    "cause",
    "code",
    "listen",
    "manifest",
    "metrics",
    "model",
    "phase",
    "source_file",
];

/// Fields that may leave as numbers or truth values.
const NUMBER_FIELDS: [&str; 3] = ["simulated", "source_line", "stage"];

/// Longest text of a field, characters.
const MOST_TEXT: usize = 256;

/// Writes one allowed event: level, constant name, then fields of the lists in
/// `telemetry`. A field not on them doesn't leave.
macro_rules! ops {
    ($level:ident, $name:literal $(, $field:ident = $value:expr)* $(,)?) => {
        ::tracing::event!(
            name: $name,
            target: $crate::telemetry::OPS_TARGET,
            ::tracing::Level::$level,
            ops = true,
            $($field = $value,)*
        )
    };
}
pub(crate) use ops;

/// The allow-list as a tracing layer, writing to `W`.
#[derive(Debug)]
pub struct AllowList<W> {
    writer: Mutex<W>,
}

impl<W: Write> AllowList<W> {
    /// Writes what is allowed to `writer`, a line an event.
    pub const fn new(writer: W) -> Self {
        Self {
            writer: Mutex::new(writer),
        }
    }
}

fn is_allowed(metadata: &Metadata<'_>) -> bool {
    metadata.is_event() && metadata.target() == OPS_TARGET
}

impl<S: Subscriber, W: Write + 'static> Layer<S> for AllowList<W> {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        is_allowed(metadata)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // `enabled` is a hint that another layer could override.
        if !is_allowed(event.metadata()) {
            return;
        }
        let mut line = Map::new();
        line.insert("time".to_owned(), clock::now().to_string().into());
        line.insert("level".to_owned(), event.metadata().level().as_str().into());
        line.insert("event".to_owned(), event.metadata().name().into());
        event.record(&mut Allowed(&mut line));
        let mut bytes = Value::Object(line).to_string().into_bytes();
        bytes.push(b'\n');
        if let Ok(mut writer) = self.writer.lock() {
            // Nobody can be told that logging fails.
            let _ = writer.write_all(&bytes);
        }
    }
}

struct Allowed<'a>(&'a mut Map<String, Value>);

impl Allowed<'_> {
    fn number(&mut self, field: &Field, value: impl Into<Value>) {
        if NUMBER_FIELDS.contains(&field.name()) {
            self.0.insert(field.name().to_owned(), value.into());
        }
    }
}

impl Visit for Allowed<'_> {
    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {
        // Formatted values, messages among them, may hold anything.
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if TEXT_FIELDS.contains(&field.name()) {
            let value: String = value.chars().take(MOST_TEXT).collect();
            self.0.insert(field.name().to_owned(), value.into());
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.number(field, value);
    }
}

/// Installs the allow-list, writing to stderr, for the whole process.
///
/// # Errors
/// If another subscriber is installed already: its rules would not be ours.
pub fn install() -> Result<(), tracing::subscriber::SetGlobalDefaultError> {
    use tracing_subscriber::layer::SubscriberExt as _;
    let subscriber = tracing_subscriber::registry().with(AllowList::new(std::io::stderr()));
    tracing::subscriber::set_global_default(subscriber)
}

#[cfg(test)]
mod tests {
    use super::AllowList;
    use serde_json::Value;
    use std::io::Write;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::layer::SubscriberExt as _;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(emit: impl FnOnce()) -> String {
        let buffer = Buffer::default();
        let subscriber = tracing_subscriber::registry().with(AllowList::new(buffer.clone()));
        tracing::subscriber::with_default(subscriber, emit);
        String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn untagged_events_of_any_level_are_dropped() {
        let log = logged(|| {
            let prompt = "CANARY";
            tracing::error!("CANARY");
            tracing::error!(target: "hyper::proto", prompt, "CANARY");
            tracing::info!(target: "bastide::ops::other", code = "CANARY");
            tracing::info!(ops = true, code = "CANARY");
            let span = tracing::error_span!(target: "bastide::ops", "CANARY", code = "CANARY");
            span.in_scope(|| tracing::warn!("CANARY"));
        });
        assert_eq!(log, "");
    }

    #[test]
    fn of_a_tagged_event_only_listed_fields_leave() {
        let log = logged(|| {
            let prompt = "CANARY";
            ops!(
                INFO,
                "enclave.test",
                code = "a.b",
                prompt = prompt,
                source_line = 3_u64
            );
            tracing::info!(target: "bastide::ops", code = %prompt, cause = ?prompt, "CANARY {prompt}");
        });
        assert!(!log.contains("CANARY"), "{log}");
        let lines: Vec<Value> = log
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["event"], "enclave.test");
        assert_eq!(lines[0]["code"], "a.b");
        assert_eq!(lines[0]["source_line"], 3);
        assert_eq!(lines[0].as_object().unwrap().len(), 5);
    }
}
