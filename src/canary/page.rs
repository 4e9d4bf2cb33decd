//! A page in a Chromium, by its DevTools: it shows the balance through the browser library, and tells when it is painted.
//!
//! It is a document of the service's own origin, one of the library's files, in which `page.js` puts the balances. So no origin has to be
//! allowed, and what is timed is what users have: the library, the browser's WebSocket, its layout and its frames.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};

use crate::canary::chromium::Chromium;
use crate::canary::client::Service;
use crate::canary::socket::{FRAMES_MAX, Heard, Socket};

const SCRIPT: &str = include_str!("page.js");

/// The longest that the browser may take for anything, in milliseconds: a machine that is busy starts one slowly.
const BROWSER_MS: u64 = 60_000;

/// What the page calls to tell.
const BINDING: &str = "canaryPainted";

/// A browser with one page.
pub(super) struct Page {
    chromium: Chromium,
    devtools: Socket,
    /// The page's session of DevTools, when there is one.
    session: Option<String>,
    calls: u64,
    /// What the page has told and nobody has looked at.
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
            // A proxy's policy for this file says nothing of pages.
            ("Page.setBypassCSP", json!({"enabled": true})),
            ("Runtime.addBinding", json!({"name": BINDING})),
        ] {
            page.call(method, parameters).await?;
        }
        page.show(service).await?;
        Ok(page)
    }

    /// Loads the page anew.
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
            "the browser tells much, but not that it has loaded {url}"
        ))
    }

    /// A command and its answer; what the page tells meanwhile is kept.
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

    /// The next that is painted, if anything is in time: what is shown (as a balance) and when.
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
        Err("the browser tells much, but nothing of the page".to_owned())
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
            "the page is painted without end, but not with version {version}"
        ))
    }

    /// Ends the browser.
    pub(super) async fn close(mut self, service: &Service<'_>) {
        self.session = None;
        // One that does not answer is ended all the same.
        let _ = self.call("Browser.close", json!({})).await;
        self.chromium.ended(service.clock).await;
    }
}

/// What the page tells by this message, if it does.
fn told(heard: Heard) -> Option<Heard> {
    let Heard { at_us, frame } = heard;
    let is_told = frame["method"] == "Runtime.bindingCalled" && frame["params"]["name"] == BINDING;
    let payload = frame["params"]["payload"].as_str().filter(|_| is_told)?;
    Some(Heard {
        at_us,
        frame: serde_json::from_str(payload).ok()?,
    })
}
