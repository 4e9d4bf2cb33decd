//! Figures of the page beside values of the API: each carries its place in the answer, so none is forgotten.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::driver::Browser;

/// The longest that page and API may take to agree; both go on while they are asked.
const PATIENCE: Duration = Duration::from_secs(60);

/// One figure: its place in the answer, its words, and its exact time when it is one.
#[derive(Debug)]
pub struct Figure {
    pub path: String,
    words: String,
    exact: Option<String>,
}

/// An expression of all figures below an element.
pub fn all_in(selector: &str) -> String {
    format!(
        "[...document.querySelectorAll('{selector} [data-field]')].map((one) => \
         [one.dataset.field, one.textContent, one.querySelector('time')?.dateTime ?? null])"
    )
}

/// The figures that such an expression had.
pub fn read(found: &Value) -> Vec<Figure> {
    let text = |value: &Value| value.as_str().map(|text| text.replace('\u{a0}', " "));
    let one = |one: &Value| Figure {
        path: text(&one[0]).expect("a path"),
        words: text(&one[1]).expect("words"),
        exact: text(&one[2]),
    };
    found.as_array().expect("a list").iter().map(one).collect()
}

/// Waits until all figures below an element, and so many at least, are what the API says.
pub async fn until_equal(
    browser: &Browser,
    selector: &str,
    at_least: usize,
    api: impl AsyncFn() -> Value,
) {
    let start = Instant::now();
    loop {
        let answer = api().await;
        let figures = read(&browser.value(&all_in(selector)).await);
        let mut wrong = differences(&figures, &answer);
        if figures.len() < at_least {
            wrong.push(format!("only {} figures: {figures:#?}", figures.len()));
        }
        if wrong.is_empty() {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{selector}: {wrong:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What of the page is not what the API says.
pub fn differences(figures: &[Figure], answer: &Value) -> Vec<String> {
    let wrong = figures
        .iter()
        .filter(|figure| !figure.is(at(answer, &figure.path)));
    wrong
        .map(|figure| format!("{figure:?}, but it is {}", at(answer, &figure.path)))
        .collect()
}

/// A value by its place.
pub fn at<'a>(answer: &'a Value, path: &str) -> &'a Value {
    const NOTHING: &Value = &Value::Null;
    path.split('.').fold(answer, |value, key| match value {
        Value::Array(list) => key
            .parse()
            .ok()
            .and_then(|index: usize| list.get(index))
            .unwrap_or(NOTHING),
        _ => value.get(key).unwrap_or(NOTHING),
    })
}

impl Figure {
    fn is(&self, value: &Value) -> bool {
        let name = self.path.rsplit('.').next().expect("a part");
        match (value, &self.exact) {
            // Of what lies between two clocks only the seconds are the same at each look.
            (Value::String(at), Some(exact))
                if ["last_push_at", "next_push_at"].contains(&name) =>
            {
                (seconds(at) - seconds(exact)).abs() < 1.0
            }
            (Value::String(at), Some(exact)) => at == exact,
            (Value::Number(at_s), Some(exact)) => {
                (at_s.as_f64().expect("finite") % 86_400.0 - seconds(exact)).abs() < 0.002
            }
            (Value::String(word), None) => self.words == *word || self.words == english(name, word),
            (Value::Number(number), None) => {
                let number = number.as_f64().expect("finite");
                match name {
                    "cache_hit_ratio" => {
                        shows(self.words.trim_end_matches(" %"), number * 100.0, 0.05)
                    }
                    "uptime_s" | "took_s" => shows_duration(&self.words, number * 1000.0),
                    "ms" => shows(&self.words, number, 0.005),
                    _ if name.ends_with("_ms") => shows_duration(&self.words, number),
                    _ => shows(&self.words, number, 0.0),
                }
            }
            (Value::Null, None) => self.words == "–",
            // Of what never happened there is no counter.
            _ => false,
        }
    }
}

/// Seconds of the day of an RFC 3339 time in UTC.
fn seconds(at: &str) -> f64 {
    let part = |range: std::ops::Range<usize>| at[range].parse::<f64>().expect("digits");
    part(11..13) * 3600.0 + part(14..16) * 60.0 + part(17..at.len() - 1)
}

/// What the page calls a word of the API, where it is not the same.
fn english(name: &str, word: &str) -> String {
    let words = [
        ("what", "entry", "commit"),
        ("waits_for", "debounce", "debounce: quiet for a moment"),
        (
            "waits_for",
            "min_interval",
            "the least interval between pushes",
        ),
    ];
    words
        .iter()
        .find(|(of, from, _)| *of == name && *from == word)
        .map_or(word, |(_, _, to)| to)
        .to_owned()
}

/// Whether an English number is this one, but for its rounding.
pub fn shows(words: &str, value: f64, rounding: f64) -> bool {
    words
        .replace(',', "")
        .parse::<f64>()
        .is_ok_and(|shown| (shown - value).abs() <= rounding * 1.000_001)
}

/// Whether an English duration is so many milliseconds: exact to a tenth, or to the whole from 10 on.
pub fn shows_duration(words: &str, ms: f64) -> bool {
    let Some((number, unit)) = words.split_once(' ') else {
        return false;
    };
    let sizes = json!({"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000});
    let Some(size) = sizes[unit].as_f64() else {
        return false;
    };
    let value = ms / size;
    let rounding = match () {
        () if value >= 10.0 => 0.5,
        () if unit == "ms" => 0.005,
        () => 0.05,
    };
    (unit == "ms" || value >= 1.0) && shows(number, value, rounding)
}
