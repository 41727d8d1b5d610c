//! Counters of the service, in the text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the buckets of times, in seconds.
const SECONDS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Upper bounds of the buckets of batches, in texts.
const TEXTS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

/// What has been counted since the start.
#[derive(Debug)]
pub struct Metrics {
    /// By route and status.
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    seconds: Histogram<12>,
    batches: Histogram<8>,
    tokens: AtomicU64,
    pub connections: AtomicU64,
    reloads: AtomicU64,
    failed_reloads: AtomicU64,
}

#[derive(Debug)]
struct Histogram<const N: usize> {
    bounds: [f64; N],
    /// One more than bounds: what exceeds all of them.
    counts: [AtomicU64; N],
    count: AtomicU64,
    /// In millionths.
    sum: AtomicU64,
}

impl Metrics {
    pub fn new() -> Metrics {
        Metrics {
            requests: Mutex::default(),
            seconds: Histogram::new(SECONDS),
            batches: Histogram::new(TEXTS),
            tokens: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            reloads: AtomicU64::new(0),
            failed_reloads: AtomicU64::new(0),
        }
    }

    /// A request has been answered.
    pub fn add_request(&self, route: &'static str, status: u16, took: Duration) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((route, status)).or_default() += 1;
        drop(requests);
        self.seconds.add(took.as_secs_f64());
    }

    pub fn add_batch(&self, texts: usize, tokens: usize) {
        self.batches.add(texts as f64);
        self.tokens.fetch_add(tokens as u64, Ordering::Relaxed);
    }

    pub fn add_reload(&self, is_good: bool) {
        let counter = if is_good { &self.reloads } else { &self.failed_reloads };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The page for Prometheus. `queued` is the number of texts that are not answered, `model` the
    /// digest of the model.
    pub fn text(&self, queued: usize, model: &str) -> String {
        let mut out = String::new();
        head(&mut out, "pipe_requests_total", "counter", "Answered requests by route and status.");
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        for ((route, status), count) in requests.iter() {
            let labels = format!("route=\"{route}\",status=\"{status}\"");
            line(&mut out, "pipe_requests_total", &labels, *count as f64);
        }
        drop(requests);
        let all = "Time from the head of a request to its answer.";
        self.seconds.write(&mut out, "pipe_request_seconds", all);
        self.batches.write(&mut out, "pipe_batch_texts", "Texts that the model computed at once.");
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        let mut one = |name: &str, kind: &str, help: &str, labels: &str, value: f64| {
            head(&mut out, name, kind, help);
            line(&mut out, name, labels, value);
        };
        let help = "Tokens that the model computed, without padding.";
        one("pipe_tokens_total", "counter", help, "", number(&self.tokens));
        let help = "Texts that wait or are computed.";
        one("pipe_queue_texts", "gauge", help, "", queued as f64);
        one("pipe_connections", "gauge", "Open connections.", "", number(&self.connections));
        let help = "The model that answers, by the digest of its files.";
        one("pipe_model_info", "gauge", help, &format!("digest=\"{model}\""), 1.0);
        let name = "pipe_model_reloads_total";
        head(&mut out, name, "counter", "Times that another model was loaded, or failed to.");
        line(&mut out, name, "result=\"loaded\"", number(&self.reloads));
        line(&mut out, name, "result=\"failed\"", number(&self.failed_reloads));
        out
    }
}

impl<const N: usize> Histogram<N> {
    fn new(bounds: [f64; N]) -> Histogram<N> {
        let zero = || AtomicU64::new(0);
        Histogram { bounds, counts: std::array::from_fn(|_| zero()), count: zero(), sum: zero() }
    }

    fn add(&self, value: f64) {
        if let Some(bucket) = self.bounds.iter().position(|bound| value <= *bound) {
            self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add((value * 1e6) as u64, Ordering::Relaxed);
    }

    fn write(&self, out: &mut String, name: &str, help: &str) {
        head(out, name, "histogram", help);
        let mut below = 0;
        for (bound, count) in self.bounds.iter().zip(&self.counts) {
            below += count.load(Ordering::Relaxed);
            line(out, &format!("{name}_bucket"), &format!("le=\"{bound}\""), below as f64);
        }
        let count = self.count.load(Ordering::Relaxed).max(below);
        line(out, &format!("{name}_bucket"), "le=\"+Inf\"", count as f64);
        line(out, &format!("{name}_sum"), "", self.sum.load(Ordering::Relaxed) as f64 / 1e6);
        line(out, &format!("{name}_count"), "", count as f64);
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

fn line(out: &mut String, name: &str, labels: &str, value: f64) {
    let _ = match labels {
        "" => writeln!(out, "{name} {value}"),
        labels => writeln!(out, "{name}{{{labels}}} {value}"),
    };
}
