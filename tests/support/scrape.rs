//! Parses `/metrics` strictly.

use std::collections::{BTreeMap, BTreeSet};

use super::{Answer, TestApp};

/// One answer of `/metrics`.
#[derive(Debug)]
pub struct Scrape {
    /// Of each metric.
    pub types: BTreeMap<String, String>,
    /// Value by name and labels, as `name{a="b",c="d"}`.
    pub samples: BTreeMap<String, f64>,
}

impl Scrape {
    /// Parses Prometheus' text format: each sample belongs to a metric with type and help text, and
    /// occurs once.
    ///
    /// # Panics
    /// When the text is malformed.
    pub fn parse(text: &str) -> Self {
        let (mut types, mut helped, mut samples) =
            (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        assert!(text.ends_with('\n'), "the last line is ended");
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
                assert!(helped.insert(name.to_owned()) && !help.is_empty(), "{line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
                assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
                assert!(
                    types.insert(name.to_owned(), kind.to_owned()).is_none()
                        && helped.contains(name),
                    "{line}"
                );
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
                let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
                assert!(types.contains_key(&family(series, &types)), "{line}");
                assert!(
                    series
                        .find('{')
                        .is_none_or(|at| at > 0 && series.ends_with('}')),
                    "{line}"
                );
                assert!(
                    samples.insert(series.to_owned(), value).is_none(),
                    "twice: {line}"
                );
            }
        }
        Self { types, samples }
    }

    /// The value of a series; 0 when there is none.
    pub fn value(&self, series: &str) -> f64 {
        self.samples.get(series).copied().unwrap_or(0.0)
    }

    /// The series of a metric, without their values.
    pub fn series<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.samples
            .keys()
            .map(String::as_str)
            .filter(move |series| family(series, &self.types) == name)
    }

    /// The values of a label of a metric.
    pub fn labels(&self, name: &str, label: &str) -> BTreeSet<String> {
        let of = |series: &str| {
            let (_, rest) = series.split_once(&format!("{label}=\""))?;
            rest.split('"').next().map(str::to_owned)
        };
        self.series(name).filter_map(of).collect()
    }
}

/// The metric of a series.
fn family(series: &str, types: &BTreeMap<String, String>) -> String {
    let name = series.split('{').next().expect("a part");
    let base = ["_bucket", "_sum", "_count"]
        .into_iter()
        .find_map(|suffix| name.strip_suffix(suffix));
    let is_histogram = |base: &&str| types.get(*base).is_some_and(|kind| kind == "histogram");
    base.filter(is_histogram).unwrap_or(name).to_owned()
}

impl TestApp {
    /// Reads `/metrics`, with a token if given.
    pub async fn metrics_answer(&self, token: Option<&str>) -> Answer {
        let mut request = self.http.get(format!("http://{}/metrics", self.internal));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        Answer::read(request.send().await.expect("an answer"))
            .await
            .expect("a whole answer")
    }

    /// The current metrics.
    pub async fn metrics(&self) -> Scrape {
        let answer = self.metrics_answer(None).await;
        assert_eq!(answer.status, 200);
        Scrape::parse(&answer.text)
    }
}
