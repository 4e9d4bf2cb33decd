//! What a person does with the demo page and sees on it.

use std::time::{Duration, Instant};

use fantoccini::Locator;
use serde_json::{Value, json};

use crate::driver::{Browser, artefacts};
use crate::support::{Builder, Database, TestApp};

/// The longest that a test waits for a page; a browser on a busy machine is slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whose balance the page shows, unless it is told otherwise.
pub const USER: u64 = 184;

/// The service in development.
pub fn dev(database: Database) -> Builder {
    TestApp::on(database).dev()
}

impl Browser {
    /// Opens the demo page and waits until it is live.
    pub async fn open(&self, app: &TestApp) {
        self.open_as(app, USER).await;
    }

    /// Opens it for a user.
    pub async fn open_as(&self, app: &TestApp, user_id: u64) {
        self.goto(&format!("http://{}/?user={user_id}", app.public))
            .await;
        self.until_state("live").await;
    }

    /// Any page.
    pub async fn goto(&self, url: &str) {
        self.client()
            .goto(url)
            .await
            .unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    /// The value of an expression in the page.
    pub async fn value(&self, expression: &str) -> Value {
        let script = format!("return ({expression})");
        self.client()
            .execute(&script, vec![])
            .await
            .unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    /// Waits until an expression is true.
    pub async fn until(&self, expression: &str) {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            // While a page is loading there is nothing to ask.
            let value = self
                .client()
                .execute(&format!("return Boolean({expression})"), vec![])
                .await;
            if value.is_ok_and(|value| value == true) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let (said, recorded) = (
            self.console().await,
            self.value("{ ...record, frames: record.frames.slice(-5) }")
                .await,
        );
        panic!(
            "{expression}: not within {PATIENCE:?}; the console said {said:#?}, and was recorded: {recorded:#}"
        );
    }

    /// Waits until the page is live, offline, …, with or without ` stale`.
    pub async fn until_state(&self, state: &str) {
        self.until(&format!("record.states.at(-1) === '{state}'"))
            .await;
    }

    /// Waits until a balance stands there exactly, and no count-up is under way.
    pub async fn until_balance(&self, code: &str, amount: &str) {
        self.until(&format!(
            "document.querySelector('.amount[data-code={code}]')?.dataset.amount === '{amount}'"
        ))
        .await;
    }

    /// The text of an element.
    pub async fn text(&self, selector: &str) -> String {
        let text = self
            .value(&format!("document.querySelector('{selector}').textContent"))
            .await;
        text.as_str().expect("a text").to_owned()
    }

    /// Clicks as a person does: on what is visible.
    pub async fn click(&self, selector: &str) {
        let found = self
            .client()
            .wait()
            .for_element(Locator::Css(selector))
            .await;
        let element = found.unwrap_or_else(|error| panic!("{selector}: {error}"));
        element
            .click()
            .await
            .unwrap_or_else(|error| panic!("{selector}: {error}"));
    }

    /// Forgets what was shown before.
    pub async fn forget_shown(&self) {
        self.value("record.shown.splice(0), record.exact.splice(0), record.states.splice(0, record.states.length - 1)")
            .await;
    }

    /// Every text of a balance that was in the page, in units of a ten-thousandth. It speaks English.
    pub async fn shown(&self, code: &str) -> Vec<i64> {
        let shown = self
            .value(&format!(
                "record.shown.filter((one) => one.code === '{code}')"
            ))
            .await;
        shown
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| units(one["text"].as_str().expect("a text")))
            .collect()
    }

    /// Every exact balance that the page came to, and when it was painted (Unix, in milliseconds).
    pub async fn exact(&self, code: &str) -> Vec<(String, f64)> {
        let exact = self
            .value(&format!(
                "record.exact.filter((one) => one.code === '{code}')"
            ))
            .await;
        let one = |one: &Value| {
            (
                one["amount"].as_str().expect("a text").to_owned(),
                one["paintedMs"].as_f64().unwrap_or(f64::NAN),
            )
        };
        exact.as_array().expect("a list").iter().map(one).collect()
    }

    /// The states that the page went through.
    pub async fn states(&self) -> Vec<String> {
        let states = self.value("record.states").await;
        states
            .as_array()
            .expect("a list")
            .iter()
            .map(|state| state.as_str().expect("a text").to_owned())
            .collect()
    }

    /// Whether people want less motion, and in which light they sit.
    pub async fn prefer(&self, reduced_motion: bool, scheme: &str) {
        let motion = if reduced_motion {
            "reduce"
        } else {
            "no-preference"
        };
        let features = json!([
            {"name": "prefers-reduced-motion", "value": motion},
            {"name": "prefers-color-scheme", "value": scheme},
        ]);
        self.devtools("Emulation.setEmulatedMedia", json!({"features": features}))
            .await;
    }

    /// A phone in the hand, so many pixels wide.
    pub async fn on_a_phone(&self, width: u32) {
        let metrics =
            json!({"width": width, "height": 844, "deviceScaleFactor": 2, "mobile": true});
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
            .await;
        self.devtools(
            "Emulation.setTouchEmulationEnabled",
            json!({"enabled": true}),
        )
        .await;
    }

    /// Leaves a picture of what is on the screen now.
    pub async fn screen(&self, name: &str) {
        self.save(name, json!({"format": "png"})).await;
    }

    /// Leaves a picture of the whole page.
    pub async fn picture(&self, name: &str) {
        self.value("scrollTo(0, 0)").await;
        let size = self
            .value("[innerWidth, document.documentElement.scrollHeight]")
            .await;
        let clip = json!({"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1});
        let parameters = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        self.save(name, parameters).await;
    }

    async fn save(&self, name: &str, parameters: Value) {
        let picture = self.devtools("Page.captureScreenshot", parameters).await;
        use base64::Engine as _;
        let data = picture["data"].as_str().expect("a picture");
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(data)
            .expect("base64");
        std::fs::write(artefacts().join(format!("{name}.png")), bytes).expect("written");
    }

    /// Takes the network away, or brings it back.
    pub async fn network(&self, is_there: bool) {
        let conditions = json!({"offline": !is_there, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1});
        self.devtools("Network.enable", json!({})).await;
        self.devtools("Network.emulateNetworkConditions", conditions)
            .await;
    }
}

/// `1,234.5` as ten-thousandths.
pub fn units(text: &str) -> i64 {
    let plain = text.replace(',', "");
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let fraction = format!("{fraction:0<4}");
    assert_eq!(fraction.len(), 4, "{text}: tests use four digits at most");
    format!("{whole}{fraction}")
        .parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}
