//! Figures: histograms, and medians of rounds.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// The longest latency that is recorded, in microseconds.
const LATENCY_US_MAX: u64 = 120_000_000;

/// An empty histogram of latencies in microseconds, three digits.
pub fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("valid bounds")
}

/// Records a latency.
pub fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
}

/// A quantile in milliseconds.
pub fn ms(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1000.0
}

/// Summary of a histogram.
pub fn summary(histogram: &Histogram<u64>) -> Value {
    json!({
        "count": histogram.len(),
        "p50_ms": ms(histogram, 0.5),
        "p90_ms": ms(histogram, 0.9),
        "p99_ms": ms(histogram, 0.99),
        "p99_9_ms": ms(histogram, 0.999),
        "max_ms": histogram.max() as f64 / 1000.0,
    })
}

/// Points of a curve: percentiles and their latency in milliseconds.
pub fn curve(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    [
        0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999, 1.0,
    ]
    .iter()
    .map(|quantile| (*quantile, ms(histogram, *quantile)))
    .collect()
}

/// The middle one; of an even number the mean of both.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        len if len % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}
