//! A page in a Chromium, driven by DevTools: it shows the balance through the browser library, and reports when the
//! balance is painted.
//!
//! Its document is one of the library's files on the service's own origin, and `page.js` puts the balances into it. So
//! no other origin has to be allowed, and the measured way is that of users: library, WebSocket, layout, frames.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};

use crate::canary::chromium::Chromium;
use crate::canary::client::Service;
use crate::canary::socket::{FRAMES_MAX, Heard, Socket};

const SCRIPT: &str = include_str!("page.js");

/// The longest that the browser may take for one step, in milliseconds: on a busy machine it starts slowly.
const BROWSER_MS: u64 = 60_000;

/// The function that the page calls to report.
const BINDING: &str = "canaryPainted";

/// A browser with one page.
pub(super) struct Page {
    chromium: Chromium,
    devtools: Socket,
    /// The page's session of DevTools, when there is one.
    session: Option<String>,
    calls: u64,
    /// What the page has reported and the run has not read yet.
    painted: VecDeque<Heard>,
}

impl Page {
    /// Starts a browser and shows the balance in it.
    pub(super) async fn open(
        service: &Service<'_>,
        program: &std::path::Path,
    ) -> Result<Self, String> {
        let chromium = Chromium::start(program, service.clock).await?;
        let devtools = Socket::open(
            "DevTools",
            service.http.ws(&chromium.devtools),
            service.clock,
        )
        .await?;
        let mut page = Self {
            chromium,
            devtools,
            session: None,
            calls: 0,
            painted: VecDeque::new(),
        };
        let target = page
            .call("Target.createTarget", json!({"url": "about:blank"}))
            .await?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = page.call("Target.attachToTarget", attach).await?;
        page.session = attached["sessionId"].as_str().map(str::to_owned);
        for (method, parameters) in [
            ("Page.enable", json!({})),
            ("Runtime.enable", json!({})),
            // A proxy's content policy for this file is not one for pages.
            ("Page.setBypassCSP", json!({"enabled": true})),
            ("Runtime.addBinding", json!({"name": BINDING})),
        ] {
            page.call(method, parameters).await?;
        }
        page.show(service).await?;
        Ok(page)
    }

    /// Reloads the page.
    pub(super) async fn show(&mut self, service: &Service<'_>) -> Result<(), String> {
        let url = format!("{}/client/balance-client.js", service.options.url);
        let navigated = self.call("Page.navigate", json!({"url": url})).await?;
        if let Some(why) = navigated["errorText"].as_str() {
            return Err(format!("the browser can't open {url}: {why}"));
        }
        self.wait_for_load(&url).await?;
        self.painted.clear();
        let expression = format!("({SCRIPT})({})", Value::String(service.token()));
        let evaluate = json!({"expression": expression, "awaitPromise": true});
        let ran = self.call("Runtime.evaluate", evaluate).await?;
        match ran["exceptionDetails"]["exception"]["description"].as_str() {
            Some(why) => Err(format!("the page fails: {why}")),
            None => Ok(()),
        }
    }

    async fn wait_for_load(&mut self, url: &str) -> Result<(), String> {
        for _ in 0..FRAMES_MAX {
            let heard = self
                .devtools
                .next(Duration::from_millis(BROWSER_MS))
                .await?;
            let heard = heard.ok_or_else(|| format!("the browser does not load {url}"))?;
            if heard.frame["method"] == "Page.loadEventFired" {
                return Ok(());
            }
        }
        Err(format!(
            "the browser sent many events, but not that it has loaded {url}"
        ))
    }

    /// Sends a command and waits for its answer; reports of the page meanwhile are kept.
    async fn call(&mut self, method: &str, parameters: Value) -> Result<Value, String> {
        self.calls += 1;
        let id = self.calls;
        let mut command = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            command["sessionId"] = session.as_str().into();
        }
        self.devtools.send(&command).await?;
        for _ in 0..FRAMES_MAX {
            let heard = self
                .devtools
                .next(Duration::from_millis(BROWSER_MS))
                .await?;
            let heard = heard.ok_or_else(|| format!("the browser does not answer {method}"))?;
            if heard.frame["id"] == id {
                let error = heard.frame["error"]["message"].as_str();
                return error.map_or_else(
                    || Ok(heard.frame["result"].clone()),
                    |why| Err(format!("the browser refuses {method}: {why}")),
                );
            }
            self.painted.extend(told(heard));
        }
        Err(format!(
            "the browser tells much, but does not answer {method}"
        ))
    }

    /// The next painted balance and its time, if one is painted in time.
    pub(super) async fn next(&mut self, patience: Duration) -> Result<Option<Heard>, String> {
        for _ in 0..FRAMES_MAX {
            if let Some(painted) = self.painted.pop_front() {
                return Ok(Some(painted));
            }
            match self.devtools.next(patience).await? {
                Some(heard) => self.painted.extend(told(heard)),
                None => return Ok(None),
            }
        }
        Err("the browser sent many events, but none of the page".to_owned())
    }

    /// Waits until this version, or a later one, is painted.
    pub(super) async fn painted(&mut self, version: i64, more_ms: u64) -> Result<Heard, String> {
        for _ in 0..FRAMES_MAX {
            let heard = self
                .next(Duration::from_millis(BROWSER_MS + more_ms))
                .await?;
            let heard = heard
                .ok_or_else(|| format!("the page: version {version} was not painted in time"))?;
            if heard.frame["version"].as_i64() >= Some(version) {
                return Ok(heard);
            }
        }
        Err(format!(
            "the page was painted many times, but never with version {version}"
        ))
    }

    /// Ends the browser.
    pub(super) async fn close(mut self, service: &Service<'_>) {
        self.session = None;
        // A browser that does not answer is killed below.
        let _ = self.call("Browser.close", json!({})).await;
        self.chromium.ended(service.clock).await;
    }
}

/// What the page reports by this message, if it is a report.
fn told(heard: Heard) -> Option<Heard> {
    let Heard { at, frame } = heard;
    let is_told = frame["method"] == "Runtime.bindingCalled" && frame["params"]["name"] == BINDING;
    let payload = frame["params"]["payload"].as_str().filter(|_| is_told)?;
    Some(Heard {
        at,
        frame: serde_json::from_str(payload).ok()?,
    })
}
