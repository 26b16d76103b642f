//! `GET /metrics`: the engine's own counters for Prometheus, so that nothing is counted twice and all of it survives a crash.

use super::problem::Problem;
use super::refused::{Counted, Refusals};
use super::status::by_topic;
use crate::kafka::{Partition, State as PartitionState, Status};
use crate::pipeline::{Pipeline, Room, checkpoint_cpu_seconds};
use crate::publish::pipeline_now;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use domain::event::Reason;
use domain::feed::PipelineNow;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;
use std::sync::Arc;

/// `GET /metrics`: `OpenMetrics` where `Accept` asks for it, else the older text format of Prometheus.
pub async fn metrics(
    State(pipeline): State<Pipeline>,
    State(partitions): State<Status>,
    State(refusals): State<Arc<Refusals>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let listeners = pipeline.feed.listeners() as u64;
    let figures = pipeline.ask(move |room| Figures::of(room, listeners)).await?;
    let mut registry = Registry::with_prefix("rantai");
    registry.register_collector(Box::new(figures));
    registry.register_collector(Box::new(partitions));
    registry.register_collector(Box::new(Counted(refusals)));
    Ok(answer(&registry, &headers))
}

/// `GET /metrics` of a process without pages: its partitions, and what it refused.
pub async fn of_partitions(
    State(partitions): State<Status>,
    State(refusals): State<Arc<Refusals>>,
    headers: HeaderMap,
) -> Response {
    let mut registry = Registry::with_prefix("rantai");
    registry.register_collector(Box::new(partitions));
    registry.register_collector(Box::new(Counted(refusals)));
    answer(&registry, &headers)
}

fn answer(registry: &Registry, headers: &HeaderMap) -> Response {
    let mut text = String::new();
    encode(&mut text, registry).expect("writing to a string");
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let (kind, text) = if accept.contains("application/openmetrics-text") {
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", text)
    } else {
        ("text/plain; version=0.0.4; charset=utf-8", as_older_text(&text))
    };
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

impl Collector for Status {
    /// Nothing where this process owns no partition of Kafka.
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let partitions: Vec<_> = self.partitions().into_iter().map(|((topic, n), of)| (topic, n.to_string(), of)).collect();
        if partitions.is_empty() {
            return Ok(());
        }
        let mut gauge = |name, help, value: fn(&Partition) -> i64| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (topic, number, of) in &partitions {
                let labels = [("topic", topic.as_str()), ("partition", number.as_str())];
                ConstGauge::new(value(of)).encode(family.encode_family(&labels)?)?;
            }
            Ok(())
        };
        gauge("partition_lag", "Messages of the partition that are not processed yet", |of| of.lag as i64)?;
        gauge("partition_next_offset", "The next offset of the partition to be processed", |of| of.next_offset)?;
        gauge("partition_running", "Whether the partition is processed: not while it is taken over, nor after a gap", |of| {
            i64::from(of.state == PartitionState::Running)
        })?;
        let help =
            "Whether nothing of the partition is put away, as a topic does not take its fixes of trackers or its dead letters";
        gauge("partition_waits_for_topic", help, |of| i64::from(of.waits_for.is_some()))?;
        let help = "Fixes of the partition's trackers that are too long for a topic of their devices, since it was taken over";
        gauge("partition_fixes_refused", help, |of| of.refused as i64)?;
        let help = "Records of the partition processed since this process took it over";
        gauge("partition_processed", help, |of| of.processed as i64)
    }
}

/// In the older format a counter's head names it with its suffix, and there are neither units nor an end.
fn as_older_text(text: &str) -> String {
    let mut counter = "";
    let mut older = String::with_capacity(text.len() + 512);
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", name, help] => {
                let is_counter = lines.peek().is_some_and(|next| *next == format!("# TYPE {name} counter"));
                counter = if is_counter { name } else { "" };
                older.extend(["# HELP ", name, if is_counter { "_total " } else { " " }, help, "\n"]);
            }
            ["#", "TYPE", name, kind] => {
                older.extend(["# TYPE ", name, if name == counter { "_total " } else { " " }, kind, "\n"]);
            }
            ["#", ..] => {}
            _ => older.extend([line, "\n"]),
        }
    }
    older
}

/// What is told, as of one moment between two blocks.
#[derive(Debug)]
struct Figures {
    /// Topic, disposition, records.
    records: Vec<(&'static str, &'static str, u64)>,
    /// Reason, records.
    rejections: Vec<(&'static str, u64)>,
    now: PipelineNow,
    identities: u64,
    listeners: u64,
}

impl Figures {
    fn of(room: &Room, listeners: u64) -> Self {
        let totals = room.engine.totals();
        let records = by_topic(totals).flat_map(|(topic, t)| {
            [("accepted", t.accepted), ("duplicate", t.duplicate), ("late", t.late), ("rejected", t.rejected)]
                .map(|(disposition, count)| (topic, disposition, count))
        });
        Self {
            records: records.collect(),
            rejections: Reason::ALL.into_iter().map(Reason::name).zip(totals.by_reason).collect(),
            now: pipeline_now(room),
            identities: room.identities() as u64,
            listeners,
        }
    }
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Durably admitted records by topic and disposition";
        let mut family = encoder.encode_descriptor("records", help, None, MetricType::Counter)?;
        for (topic, disposition, count) in &self.records {
            let labels = [("topic", *topic), ("disposition", *disposition)];
            ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
        }
        let mut family = encoder.encode_descriptor("rejections", "Rejected records by reason", None, MetricType::Counter)?;
        for (reason, count) in &self.rejections {
            ConstCounter::new(*count).encode(family.encode_family(&[("reason", *reason)])?)?;
        }
        let now = &self.now;
        let help = "Windows that can no longer change";
        let closed = encoder.encode_descriptor("closed_windows", help, None, MetricType::Counter)?;
        ConstCounter::new(now.closed_windows).encode(closed)?;
        let help = "Of those, given out more than once, because records came after the first time";
        let corrected = encoder.encode_descriptor("corrected_windows", help, None, MetricType::Counter)?;
        ConstCounter::new(now.corrected_windows).encode(corrected)?;
        for (name, help, value) in [
            ("lag_records", "Records in the log that are not processed yet", now.lag),
            ("devices", "Devices known, registered or not", u64::from(now.devices)),
            ("unregistered_devices", "Devices heard of that nobody registered", u64::from(now.unregistered)),
            ("open_windows", "Windows that can still change", now.open_windows),
            ("identities", "Identities remembered to tell duplicates", self.identities),
            ("live_streams", "Pages that listen", self.listeners),
            ("scrub_damaged", "Things found damaged on the disk by the last daily look", crate::scrub::damaged()),
        ] {
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        let help = "CPU time of this process for checkpoints by part, but for the threads of SQLite";
        let mut family = encoder.encode_descriptor("checkpoint_cpu", help, Some(&Unit::Seconds), MetricType::Counter)?;
        for (part, seconds) in checkpoint_cpu_seconds() {
            ConstCounter::new(seconds).encode(family.encode_family(&[("part", part)])?)?;
        }
        let log = encoder.encode_descriptor("log", "Size of the log", Some(&Unit::Bytes), MetricType::Gauge)?;
        ConstGauge::new(now.log_bytes).encode(log)?;
        let help = "When the last checkpoint was committed, since the Unix epoch";
        let checkpoint = encoder.encode_descriptor("checkpoint_timestamp", help, Some(&Unit::Seconds), MetricType::Gauge)?;
        ConstGauge::new(now.checkpoint_at.map_or(0.0, |at| at.ms() as f64 / 1_000.0)).encode(checkpoint)
    }
}
