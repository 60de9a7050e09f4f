//! Mirrors of what a head of a pipeline says of itself. All 0 elsewhere.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bastide_pipeline::head::HeadStatus;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Series of a head.
#[derive(Debug, Default)]
pub(super) struct PipelineSeries {
    whole: Gauge,
    ring: Gauge,
    running: Gauge,
    waiting: Gauge,
    frames_under_way: Gauge,
    draft_length: Gauge,
    round_trip: Gauge<f64, AtomicU64>,
    acceptance: Gauge<f64, AtomicU64>,
    drafted: Counter,
    accepted: Counter,
    rounds: Counter,
    frames: Counter,
    stale: Counter,
    lost: Counter,
    replans: Counter,
}

impl PipelineSeries {
    /// Registers every series; all start at zero.
    pub(super) fn register(&self, registry: &mut Registry) {
        for (name, help, gauge) in [
            ("pipeline_whole", "1 if every stage is ready", &self.whole),
            ("pipeline_ring", "How often the stages were joined", &self.ring),
            ("pipeline_running", "Answers on the ring", &self.running),
            (
                "pipeline_waiting",
                "Answers that wait for a place or a whole ring",
                &self.waiting,
            ),
            (
                "pipeline_frames_under_way",
                "Frames that were sent and not answered",
                &self.frames_under_way,
            ),
            (
                "pipeline_draft_length",
                "Tokens drafted for one verification now",
                &self.draft_length,
            ),
        ] {
            registry.register(name, help, gauge.clone());
        }
        for (name, help, gauge) in [
            (
                "pipeline_round_trip_seconds",
                "Measured round trip of a frame of one row",
                &self.round_trip,
            ),
            (
                "pipeline_acceptance",
                "Measured share of drafted tokens that were right",
                &self.acceptance,
            ),
        ] {
            registry.register(name, help, gauge.clone());
        }
        for (name, help, counter) in [
            ("pipeline_drafted", "Tokens drafted", &self.drafted),
            (
                "pipeline_accepted",
                "Drafted tokens that were right",
                &self.accepted,
            ),
            ("pipeline_rounds", "Times that tokens were drafted", &self.rounds),
            ("pipeline_frames", "Frames sent", &self.frames),
            (
                "pipeline_stale",
                "Messages and drafts that came too late to count",
                &self.stale,
            ),
            ("pipeline_stages_lost", "Stages that were lost", &self.lost),
            (
                "pipeline_replans",
                "Answers that were taken up again on a new ring",
                &self.replans,
            ),
        ] {
            registry.register(name, help, counter.clone());
        }
    }

    /// Takes over what the head says.
    pub(super) fn set(&self, status: &HeadStatus) {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.whole.set(status.whole.into());
        self.ring.set(status.ring.into());
        self.running.set(count(status.running));
        self.waiting.set(count(status.waiting));
        self.frames_under_way.set(count(status.frames));
        self.draft_length.set(status.k.into());
        let round_trip = status.round_trip.unwrap_or(Duration::ZERO);
        self.round_trip.set(round_trip.as_secs_f64());
        self.acceptance.set(status.acceptance);
        let counts = &status.counts;
        for (counter, value) in [
            (&self.drafted, counts.drafted),
            (&self.accepted, counts.accepted),
            (&self.rounds, counts.rounds),
            (&self.frames, counts.frames),
            (&self.stale, counts.stale),
            (&self.lost, counts.lost),
            (&self.replans, counts.replans),
        ] {
            counter.inner().store(value, Ordering::Relaxed);
        }
    }
}
