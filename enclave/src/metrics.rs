//! Counters for the operator, in the Prometheus text format. No label or value
//! ever comes from a request: the only labels are outcomes and limits of fixed lists.

mod pipeline;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use bastide_attested_tls::LaneCounters;
use bastide_pipeline::head::HeadStatus;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use self::pipeline::PipelineSeries;
use crate::gpus::GpuCounters;

/// Content type of the text format.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How a chat completion request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// Answered to its end, with a receipt.
    Answered,
    /// Refused for what it asked.
    Refused,
    /// Refused because the connection wasn't attested.
    NotAttested,
    /// Refused for load or because the process stops.
    Overloaded,
    /// Cut off by the time limit.
    TimedOut,
    /// The client went away.
    Abandoned,
    /// Our own fault.
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: Outcome,
}

/// Which limit turned somebody away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Refusal {
    /// Connections of the node.
    Connections,
    /// Handshakes of the node.
    Handshakes,
    /// Connections of one client.
    ClientConnections,
    /// Handshakes of one client.
    ClientHandshakes,
    /// New connections of one client.
    ClientArrivals,
    /// Attests of the node.
    Attests,
    /// Attests of one client.
    ClientAttests,
    /// Attests on one connection.
    ConnectionAttests,
    /// A request's head did not come in time.
    SlowHead,
    /// A request's body did not come in time.
    SlowBody,
    /// The queue of generations.
    Queue,
    /// One client's share of the queue.
    QueueShare,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabel {
    limit: Refusal,
}

/// All counters. Cheap to update from any thread.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<OutcomeLabel, Counter>,
    refusals: Family<RefusalLabel, Counter>,
    /// Tokens read.
    pub(crate) prompt_tokens: Counter,
    /// Tokens written.
    pub(crate) completion_tokens: Counter,
    /// Connections open now, the handshake included.
    pub(crate) connections: Gauge,
    /// Connections closed because there were too many.
    pub(crate) connections_refused: Counter,
    /// TLS handshakes that failed.
    pub(crate) handshake_failures: Counter,
    /// Generations that wait for a thread.
    pub(crate) queued: Gauge,
    /// Generations that run.
    pub(crate) running: Gauge,
    ready: Gauge,
    attest: Attest,
    gpus: GpuSeries,
    pipeline: PipelineSeries,
}

/// Mirrors of what the GPUs have done. All 0 where there are none.
#[derive(Debug, Default)]
struct GpuSeries {
    epoch: Gauge,
    attested: Gauge,
    age: Gauge<f64, AtomicU64>,
    collection: Gauge<f64, AtomicU64>,
    failures: Counter,
}

/// Mirrors of the lane's own counters.
#[derive(Debug, Default)]
struct Attest {
    epochs: Counter,
    sessions: Counter,
    failures: Counter,
    signatures: Counter,
    waiting: Gauge,
    pace: Gauge<f64, AtomicU64>,
}

impl Metrics {
    /// Registers every metric; all start at zero.
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("bastide_enclave"),
            requests: Family::default(),
            refusals: Family::default(),
            prompt_tokens: Counter::default(),
            completion_tokens: Counter::default(),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
            handshake_failures: Counter::default(),
            queued: Gauge::default(),
            running: Gauge::default(),
            ready: Gauge::default(),
            attest: Attest::default(),
            gpus: GpuSeries::default(),
            pipeline: PipelineSeries::default(),
        };
        for outcome in Outcome::ALL {
            // Creating it is enough for it to be listed with 0.
            drop(metrics.requests.get_or_create(&OutcomeLabel { outcome }));
        }
        for limit in Refusal::ALL {
            drop(metrics.refusals.get_or_create(&RefusalLabel { limit }));
        }
        let registry = &mut metrics.registry;
        metrics.pipeline.register(registry);
        for (name, help, counter) in [
            ("prompt_tokens", "Tokens read", &metrics.prompt_tokens),
            ("completion_tokens", "Tokens written", &metrics.completion_tokens),
            (
                "connections_refused",
                "Connections closed because there were too many",
                &metrics.connections_refused,
            ),
            (
                "handshake_failures",
                "TLS handshakes that failed",
                &metrics.handshake_failures,
            ),
            ("attest_epochs", "Hardware reports made", &metrics.attest.epochs),
            (
                "attest_sessions",
                "Sessions given evidence",
                &metrics.attest.sessions,
            ),
            (
                "attest_failures",
                "Attempts at a hardware report that failed",
                &metrics.attest.failures,
            ),
            (
                "attest_signatures",
                "Sessions given a signature of the session key",
                &metrics.attest.signatures,
            ),
            (
                "gpu_failures",
                "GPU attestations that failed, and changes of GPUs that were found",
                &metrics.gpus.failures,
            ),
        ] {
            registry.register(name, help, counter.clone());
        }
        for (name, help, gauge) in [
            ("connections", "Connections open now", &metrics.connections),
            ("generations_queued", "Generations that wait", &metrics.queued),
            ("generations_running", "Generations that run", &metrics.running),
            (
                "attest_waiting",
                "Sessions that wait for evidence",
                &metrics.attest.waiting,
            ),
            ("ready", "1 if a prompt may be sent here", &metrics.ready),
            ("gpu_epoch", "Number of the latest GPU epoch", &metrics.gpus.epoch),
            (
                "gpu_attested",
                "1 if there is current evidence of GPUs",
                &metrics.gpus.attested,
            ),
        ] {
            registry.register(name, help, gauge.clone());
        }
        for (name, help, gauge) in [
            (
                "attest_pace_seconds",
                "Least time between two hardware reports now",
                &metrics.attest.pace,
            ),
            (
                "gpu_evidence_age_seconds",
                "Age of the current evidence of GPUs",
                &metrics.gpus.age,
            ),
            (
                "gpu_collection_seconds",
                "Time that the latest evidence of GPUs took, with its appraisal",
                &metrics.gpus.collection,
            ),
        ] {
            registry.register(name, help, gauge.clone());
        }
        registry.register(
            "requests",
            "Chat completions by outcome",
            metrics.requests.clone(),
        );
        registry.register(
            "refusals",
            "Connections, attests and requests turned away, by limit",
            metrics.refusals.clone(),
        );
        metrics
    }

    /// Counts a finished chat completion.
    pub(crate) fn count(&self, outcome: Outcome) {
        self.requests.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Counts somebody who was turned away.
    pub(crate) fn refuse(&self, limit: Refusal) {
        self.refusals.get_or_create(&RefusalLabel { limit }).inc();
        if limit.is_at_the_door() {
            self.connections_refused.inc();
        }
    }

    /// The text format, with the lane's, the GPUs' and the head's counters as they are now.
    pub(crate) fn render(
        &self,
        ready: bool,
        lane: &LaneCounters,
        gpus: &GpuCounters,
        head: Option<&HeadStatus>,
    ) -> String {
        if let Some(status) = head {
            self.pipeline.set(status);
        }
        self.ready.set(i64::from(ready));
        for (counter, value) in [
            (&self.attest.epochs, lane.epochs),
            (&self.attest.sessions, lane.sessions),
            (&self.attest.failures, lane.failures),
            (&self.attest.signatures, lane.signatures),
            (&self.gpus.failures, gpus.failures),
        ] {
            counter.inner().store(value, Ordering::Relaxed);
        }
        self.attest
            .waiting
            .set(i64::try_from(lane.waiting).unwrap_or(i64::MAX));
        self.attest.pace.set(lane.pace.as_secs_f64());
        self.gpus.epoch.set(i64::try_from(gpus.epoch).unwrap_or(i64::MAX));
        self.gpus.attested.set(i64::from(gpus.age.is_some()));
        self.gpus.age.set(gpus.age.unwrap_or_default().as_secs_f64());
        self.gpus.collection.set(gpus.collection.as_secs_f64());
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string can't fail");
        text
    }
}

impl Outcome {
    const ALL: [Self; 7] = [
        Self::Answered,
        Self::Refused,
        Self::NotAttested,
        Self::Overloaded,
        Self::TimedOut,
        Self::Abandoned,
        Self::Failed,
    ];

    const fn word(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::NotAttested => "not_attested",
            Self::Overloaded => "overloaded",
            Self::TimedOut => "timed_out",
            Self::Abandoned => "abandoned",
            Self::Failed => "failed",
        }
    }

    /// The outcome of an answer with this status.
    pub(crate) const fn of_status(status: u16) -> Self {
        match status {
            403 => Self::NotAttested,
            429 => Self::Overloaded,
            400..=499 => Self::Refused,
            503 => Self::Overloaded,
            504 => Self::TimedOut,
            _ => Self::Failed,
        }
    }
}

impl Refusal {
    const ALL: [Self; 12] = [
        Self::Connections,
        Self::Handshakes,
        Self::ClientConnections,
        Self::ClientHandshakes,
        Self::ClientArrivals,
        Self::Attests,
        Self::ClientAttests,
        Self::ConnectionAttests,
        Self::SlowHead,
        Self::SlowBody,
        Self::Queue,
        Self::QueueShare,
    ];

    const fn word(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Handshakes => "handshakes",
            Self::ClientConnections => "client_connections",
            Self::ClientHandshakes => "client_handshakes",
            Self::ClientArrivals => "client_arrivals",
            Self::Attests => "attests",
            Self::ClientAttests => "client_attests",
            Self::ConnectionAttests => "connection_attests",
            Self::SlowHead => "slow_head",
            Self::SlowBody => "slow_body",
            Self::Queue => "queue",
            Self::QueueShare => "queue_share",
        }
    }

    /// Whether a connection was closed before its first byte was read.
    const fn is_at_the_door(self) -> bool {
        matches!(
            self,
            Self::Connections
                | Self::Handshakes
                | Self::ClientConnections
                | Self::ClientHandshakes
                | Self::ClientArrivals
        )
    }
}

impl EncodeLabelValue for Refusal {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        self.word().encode(encoder)
    }
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        self.word().encode(encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::{GpuCounters, HeadStatus, Metrics, Outcome, Refusal};
    use bastide_attested_tls::LaneCounters;
    use std::time::Duration;

    #[test]
    fn the_text_has_every_series_from_the_start_and_no_other_label() {
        let metrics = Metrics::new();
        metrics.count(Outcome::Answered);
        metrics.refuse(Refusal::ClientHandshakes);
        metrics.refuse(Refusal::SlowHead);
        let lane = LaneCounters {
            epochs: 3,
            sessions: 9,
            failures: 0,
            signatures: 4,
            waiting: 2,
            pace: Duration::from_millis(1100),
        };
        let gpus = GpuCounters {
            epoch: 7,
            age: Some(Duration::from_millis(1500)),
            collection: Duration::from_millis(250),
            failures: 2,
        };
        let head = HeadStatus {
            ring: 3,
            whole: true,
            acceptance: 0.5,
            ..HeadStatus::default()
        };
        let text = metrics.render(true, &lane, &gpus, Some(&head));
        for line in [
            "bastide_enclave_requests_total{outcome=\"answered\"} 1",
            "bastide_enclave_requests_total{outcome=\"failed\"} 0",
            "bastide_enclave_refusals_total{limit=\"client_handshakes\"} 1",
            "bastide_enclave_refusals_total{limit=\"queue_share\"} 0",
            "bastide_enclave_connections_refused_total 1",
            "bastide_enclave_attest_epochs_total 3",
            "bastide_enclave_attest_waiting 2",
            "bastide_enclave_attest_signatures_total 4",
            "bastide_enclave_attest_pace_seconds 1.1",
            "bastide_enclave_ready 1",
            "bastide_enclave_gpu_epoch 7",
            "bastide_enclave_gpu_attested 1",
            "bastide_enclave_gpu_evidence_age_seconds 1.5",
            "bastide_enclave_gpu_collection_seconds 0.25",
            "bastide_enclave_gpu_failures_total 2",
            "bastide_enclave_completion_tokens_total 0",
            "bastide_enclave_pipeline_whole 1",
            "bastide_enclave_pipeline_ring 3",
            "bastide_enclave_pipeline_acceptance 0.5",
            "bastide_enclave_pipeline_replans_total 0",
        ] {
            assert!(text.lines().any(|got| got == line), "{line} in\n{text}");
        }
        for line in text.lines().filter(|line| line.contains('{')) {
            assert!(
                line.starts_with("bastide_enclave_requests_total{outcome=")
                    || line.starts_with("bastide_enclave_refusals_total{limit="),
                "{line}"
            );
        }
    }
}
