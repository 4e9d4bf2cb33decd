//! Reads `/metrics`, as far as the diagnosis needs it.

use std::collections::BTreeMap;

/// Samples by name and labels.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<(String, BTreeMap<String, String>, f64)>);

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
            Some((name.to_owned(), labels.collect(), value.parse().ok()?))
        };
        Self(
            text.lines()
                .filter(|line| !line.starts_with('#'))
                .filter_map(sample)
                .collect(),
        )
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sum of a metric's samples with all of these labels.
    pub(super) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.of(name, labels).map(|(_, value)| value).sum()
    }

    /// A metric by one of its labels.
    pub(super) fn by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut by = BTreeMap::new();
        for (labels, value) in self.of(name, &[]) {
            *by.entry(labels.get(label).cloned().unwrap_or_default())
                .or_default() += value;
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
        let bound = |text: &String| {
            if text == "+Inf" {
                Some(f64::INFINITY)
            } else {
                text.parse().ok()
            }
        };
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for (of, count) in self.of(&bucket, labels) {
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

    fn of<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = (&'a BTreeMap<String, String>, f64)> {
        let fits = move |of: &BTreeMap<String, String>| {
            labels
                .iter()
                .all(|(label, value)| of.get(*label).is_some_and(|found| found == value))
        };
        self.0
            .iter()
            .filter(move |(found, of, _)| found == name && fits(of))
            .map(|(_, of, value)| (of, *value))
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
