//! The values of metrics, as far as the findings need them: read from the counters themselves, or from `/metrics`.

use std::collections::BTreeMap;

use prometheus::proto::{Metric, MetricFamily, MetricType};

/// Samples by name and labels.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<Sample>);

#[derive(Debug, Clone, PartialEq)]
struct Sample {
    name: String,
    labels: Labels,
    value: f64,
}

impl Sample {
    fn grows(&self) -> bool {
        self.name.ends_with("_bucket") || self.name.ends_with("_total") && self.value > 0.0
    }
}

/// Labels with their values, by their names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Labels(Vec<(String, String)>);

impl Labels {
    fn new(mut labels: Vec<(String, String)>) -> Self {
        labels.sort_unstable();
        Self(labels)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(label, _)| label == name);
        found.map(|(_, value)| value.as_str())
    }

    fn have(&self, wanted: &[(&str, &str)]) -> bool {
        let mut wanted = wanted.iter();
        wanted.all(|(label, value)| self.get(label) == Some(value))
    }
}

impl Samples {
    /// Reads Prometheus' text format; lines that do not fit are skipped.
    pub(crate) fn parse(text: &str) -> Self {
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let pairs = labels
                .trim_end_matches('}')
                .split("\",")
                .filter_map(|pair| pair.split_once("=\""));
            let labels = pairs
                .map(|(label, value)| (label.to_owned(), value.trim_end_matches('"').to_owned()));
            Some(Sample {
                name: name.to_owned(),
                labels: Labels::new(labels.collect()),
                value: value.parse().ok()?,
            })
        };
        Self(
            text.lines()
                .filter(|line| !line.starts_with('#'))
                .filter_map(sample)
                .collect(),
        )
    }

    /// Takes over the values of counters, levels and histograms, under the names of the text format.
    pub(crate) fn of(families: &[MetricFamily]) -> Self {
        let mut samples = Self::default();
        for family in families {
            for metric in family.get_metric() {
                samples.add(family.name(), family.get_field_type(), metric);
            }
        }
        samples
    }

    fn add(&mut self, name: &str, kind: MetricType, metric: &Metric) {
        let own = metric.get_label().iter();
        let own = own.map(|pair| (pair.name().to_owned(), pair.value().to_owned()));
        let labels: Vec<_> = own.collect();
        let mut add = |name: String, bound: Option<f64>, value: f64| {
            let le = bound.map(|bound| ("le".to_owned(), shown(bound)));
            let labels = labels.iter().cloned().chain(le).collect();
            self.0.push(Sample {
                name,
                labels: Labels::new(labels),
                value,
            });
        };
        match kind {
            MetricType::COUNTER => add(name.to_owned(), None, metric.get_counter().get_value()),
            MetricType::GAUGE => add(name.to_owned(), None, metric.get_gauge().get_value()),
            MetricType::HISTOGRAM => {
                let histogram = metric.get_histogram();
                let bucket = || format!("{name}_bucket");
                let bounded = histogram.get_bucket().iter();
                for one in bounded.filter(|one| one.upper_bound().is_finite()) {
                    let count = one.cumulative_count() as f64;
                    add(bucket(), Some(one.upper_bound()), count);
                }
                let count = histogram.get_sample_count() as f64;
                add(bucket(), Some(f64::INFINITY), count);
            }
            // There are none of these.
            MetricType::SUMMARY | MetricType::UNTYPED => {}
        }
    }

    /// Adds the value of a metric without labels.
    pub(crate) fn set(&mut self, name: &str, value: f64) {
        self.0.push(Sample {
            name: name.to_owned(),
            labels: Labels::new(Vec::new()),
            value,
        });
    }

    /// Which of these samples are not in others, or have another value.
    #[cfg(test)]
    pub(crate) fn missing_in(&self, others: &Self) -> Vec<String> {
        let missing = self.0.iter().filter(|sample| !others.0.contains(sample));
        missing.map(|sample| format!("{sample:?}")).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What only grows. A counter at zero is left out; the buckets of a histogram belong together.
    pub(super) fn growing(&self) -> Self {
        Self(self.0.iter().filter(|s| s.grows()).cloned().collect())
    }

    /// What has grown since an earlier reading of the same process, and by how much.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let known = earlier.0.iter().map(|s| ((&s.name, &s.labels), s.value));
        let known: BTreeMap<_, _> = known.collect();
        let grown = self.0.iter().filter(|s| s.grows()).map(|s| {
            let before = known.get(&(&s.name, &s.labels)).copied();
            Sample {
                value: s.value - before.unwrap_or(0.0),
                ..s.clone()
            }
        });
        Self(grown.filter(Sample::grows).collect())
    }

    /// The sum of a metric's samples with all of these labels.
    pub(super) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fitting = self.of_name(name).filter(|(of, _)| of.have(labels));
        fitting.map(|(_, value)| value).sum()
    }

    /// A metric by one of its labels.
    pub(super) fn by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut by = BTreeMap::new();
        for (labels, value) in self.of_name(name) {
            let value_of = labels.get(label).unwrap_or_default().to_owned();
            *by.entry(value_of).or_default() += value;
        }
        by
    }

    /// A quantile of a histogram in seconds, as Prometheus estimates it; none without observations.
    pub(super) fn quantile(
        &self,
        quantile: f64,
        name: &str,
        labels: &[(&str, &str)],
    ) -> Option<f64> {
        let bucket = format!("{name}_bucket");
        let bound = |text: &str| match text {
            "+Inf" => Some(f64::INFINITY),
            text => text.parse().ok(),
        };
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for (of, count) in self.of_name(&bucket).filter(|(of, _)| of.have(labels)) {
            let Some(le) = of.get("le").and_then(bound) else {
                continue;
            };
            match buckets.iter_mut().find(|(known, _)| *known == le) {
                Some((_, sum)) => *sum += count,
                None => buckets.push((le, count)),
            }
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let rank = quantile * buckets.last().filter(|(_, count)| *count > 0.0)?.1;
        let index = buckets.iter().position(|(_, count)| *count >= rank)?;
        let (lower, below) = if index == 0 {
            (0.0, 0.0)
        } else {
            buckets[index - 1]
        };
        let (upper, count) = buckets[index];
        if upper.is_infinite() {
            return Some(lower);
        }
        Some(lower + (upper - lower) * (rank - below) / (count - below).max(1.0))
    }

    /// The samples of a metric.
    pub(super) fn of_name(&self, name: &str) -> impl Iterator<Item = (&Labels, f64)> {
        let own = self.0.iter().filter(move |sample| sample.name == name);
        own.map(|sample| (&sample.labels, sample.value))
    }
}

/// A bound as the text format shows it.
fn shown(bound: f64) -> String {
    if bound.is_infinite() {
        "+Inf".to_owned()
    } else {
        bound.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_and_quantiles_estimated() {
        let samples = Samples::parse(
            "# HELP a b\n# TYPE a counter\na{k=\"x\",l=\"1,2\"} 3\na{k=\"y\"} 4\nb 5\nbad\n\
             h_bucket{m=\"d\",le=\"0.1\"} 50\nh_bucket{m=\"d\",le=\"0.2\"} 100\nh_bucket{m=\"d\",le=\"+Inf\"} 100\n",
        );
        assert_eq!(
            (
                samples.sum("a", &[]),
                samples.sum("a", &[("k", "y")]),
                samples.sum("b", &[])
            ),
            (7.0, 4.0, 5.0)
        );
        assert_eq!(
            samples.by("a", "k"),
            BTreeMap::from([("x".to_owned(), 3.0), ("y".to_owned(), 4.0)])
        );
        let close = |a: Option<f64>, b: f64| a.is_some_and(|a| (a - b).abs() < 1e-9);
        assert!(close(samples.quantile(0.5, "h", &[("m", "d")]), 0.1));
        assert!(close(samples.quantile(0.75, "h", &[]), 0.15));
        assert_eq!(samples.quantile(0.5, "h", &[("m", "p")]), None);
    }
}
