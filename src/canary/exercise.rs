//! The run itself, step by step.

use std::time::Duration;

use rand::Rng as _;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::clock::{self, Clock};
use crate::domain::Amount;

use super::client::Service;
use super::report::{CanaryReport, Step};
use super::session::Session;
use super::{Options, PATIENCE_MS, READ_EVERY_MS, SENDS_MAX};

/// Which state everybody has to show.
#[derive(Debug, Clone)]
struct Expected {
    epoch: String,
    version: i64,
    balances: Value,
}

struct Run<'a> {
    service: Service<'a>,
    report: CanaryReport,
    progress: &'a mut dyn FnMut(&str),
}

/// Runs it to its end. `progress` is told what is being done, at least once a second while it watches.
pub async fn run(options: &Options, progress: &mut dyn FnMut(&str)) -> CanaryReport {
    let clock = Clock::system();
    let report = CanaryReport {
        started_at: clock::rfc3339(clock.now_us()),
        took_s: 0.0,
        url: options.url.clone(),
        user_id: options.user_id.get(),
        currency: options.currency.clone(),
        amount: options.amount.display(options.decimals).to_string(),
        ok: false,
        answer_ms: None,
        frame_ms: None,
        push_ms: None,
        steps: Vec::new(),
        deviations: Vec::new(),
    };
    let mut run = Run { service: Service::new(options, clock), report, progress };
    if let Err(why) = run.go().await {
        run.report.deviations.push(why);
    }
    run.report.ok = run.report.deviations.is_empty();
    run.report.took_s = clock.monotonic_us() as f64 / 1_000_000.0;
    run.report
}

impl Run<'_> {
    async fn go(&mut self) -> Result<(), String> {
        (self.progress)("looking at the balance");
        let before = Expected::of(&self.service.balance(true).await?)?;
        self.step("balance before", None, before.to_string());
        let mut first = self.session("session 1", &before).await?;
        let mut second = self.session("session 2", &before).await?;

        (self.progress)("depositing");
        let event_id = format!("canary:{:016x}", rand::rng().random::<u64>());
        let sent_us = self.now_us();
        let answer = self.insist("deposits", &format!("{event_id}:in")).await?;
        self.report.answer_ms = Some(self.ms_since(sent_us));
        self.step("webhook → answer", self.report.answer_ms, format!("version {}", answer["version"]));
        // From here on there is something to take back.
        let during = self.deposited(&before, &answer, &mut [&mut first, &mut second], sent_us).await;
        (self.progress)("taking it back");
        let back = self.insist("withdrawals", &format!("{event_id}:out")).await;
        if let Err(why) = during {
            self.report.deviations.push(why);
        }
        let back = back?;
        self.step("withdrawal", None, format!("version {}", back["version"]));
        let after = before.after(&back, Amount::default(), self.service.options)?;
        self.compare("the withdrawal's answer", &back, &after, false);
        let version = after.version;
        for session in [&mut first, &mut second] {
            match session.push_of(version, |_| {}).await {
                Ok(heard) => self.compare(session.name, &heard.frame, &after, true),
                // It has been told of already.
                Err(why) if !self.report.deviations.is_empty() => self.step("session", None, why),
                Err(why) => self.deviates(why),
            }
        }
        let at_last = self.service.balance(true).await?;
        self.compare("GET /api/v1/balance", &at_last, &after, true);
        self.step("balance after", None, after.to_string());
        Ok(())
    }

    /// What has to hold while the deposit is there.
    async fn deposited(
        &mut self,
        before: &Expected,
        answer: &Value,
        sessions: &mut [&mut Session; 2],
        sent_us: u64,
    ) -> Result<(), String> {
        let amount = self.service.options.amount;
        let expected = before.after(answer, amount, self.service.options)?;
        self.compare("the deposit's answer", answer, &expected, false);
        if answer["version"].as_i64() != Some(before.version + 1) {
            self.deviates(format!("the deposit made version {}: somebody else writes to this user", answer["version"]));
        }
        for (index, session) in sessions.iter_mut().enumerate() {
            let mut early = Vec::new();
            let heard = session.push_of(expected.version, |other| early.push(other.frame.to_string())).await?;
            early
                .into_iter()
                .for_each(|frame| self.deviates(format!("{}: came before the push: {frame}", session.name)));
            let (ms, mode) = ((heard.at_us.saturating_sub(sent_us)) as f64 / 1000.0, &heard.frame["mode"]);
            self.step(if index == 0 { "webhook → frame 1" } else { "webhook → frame 2" }, Some(ms), format!("{mode}"));
            self.compare(session.name, &heard.frame, &expected, true);
            let change = heard.frame["changes"][&self.service.options.currency].as_str();
            if change != Some(&self.report.amount) {
                self.deviates(format!("{}: the change is {change:?}, not {}", session.name, self.report.amount));
            }
            if index == 0 {
                self.report.frame_ms = Some(ms);
                self.report.push_ms = server_ms(&heard.frame);
                self.step("commit → push", self.report.push_ms, "by the service's clock".to_owned());
            }
        }
        let started_us = self.now_us();
        let balance = self.service.balance(false).await?;
        self.compare("GET /api/v1/balance", &balance, &expected, true);
        self.step("balance over HTTP", Some(self.ms_since(started_us)), expected.to_string());
        self.watch(&expected, sessions).await?;
        (self.progress)("connecting again");
        let started_us = self.now_us();
        let _reloaded = self.session("session 3", &expected).await?;
        self.step("reload → snapshot", Some(self.ms_since(started_us)), expected.to_string());
        Ok(())
    }

    /// Nothing may change: no older value, no jump, on both sessions and over HTTP.
    async fn watch(&mut self, expected: &Expected, sessions: &mut [&mut Session; 2]) -> Result<(), String> {
        let watch = self.service.options.watch;
        let until = self.service.clock.deadline(watch);
        let (mut frames, mut reads) = (0_u64, 0_u64);
        while !until.has_passed() {
            (self.progress)(&format!("watching, {} s more", until.remaining().as_secs()));
            sleep(Duration::from_millis(READ_EVERY_MS).min(until.remaining())).await;
            for session in sessions.iter_mut() {
                while let Some(heard) = session.next(Duration::ZERO).await? {
                    frames += 1;
                    if heard.frame["type"] != "pong" {
                        self.compare(session.name, &heard.frame, expected, true);
                    }
                }
            }
            let balance = self.service.balance(reads % 2 == 1).await?;
            reads += 1;
            self.compare("GET /api/v1/balance", &balance, expected, true);
        }
        self.step("watched", Some(watch.as_secs_f64() * 1000.0), format!("{frames} frames, {reads} reads"));
        Ok(())
    }

    async fn session(&mut self, name: &'static str, expected: &Expected) -> Result<Session, String> {
        let session = Session::open(&self.service, name).await?;
        self.compare(name, &session.snapshot, expected, true);
        Ok(session)
    }

    /// Sends an entry until it has an outcome. The same event id makes that safe.
    async fn insist(&mut self, what: &str, event_id: &str) -> Result<Value, String> {
        let options = self.service.options;
        let body = json!({
            "event_id": event_id, "user_id": options.user_id, "currency": options.currency,
            "amount": self.report.amount, "source": "canary",
        });
        let mut last = String::new();
        for attempt in 0..SENDS_MAX {
            match self.service.post(what, &body).await {
                Ok((200, answer)) => return Ok(answer),
                Ok((503 | 429, answer)) => last = answer.to_string(),
                Ok((status, answer)) => return Err(format!("{what}: {status} {answer}")),
                Err(why) => last = why,
            }
            self.deviates(format!("{what}, attempt {}: {last}", attempt + 1));
            sleep(Duration::from_millis(PATIENCE_MS / u64::from(SENDS_MAX))).await;
        }
        Err(format!("{what} has no outcome after {SENDS_MAX} attempts; send event {event_id} again: {last}"))
    }

    fn compare(&mut self, whose: &str, shown: &Value, expected: &Expected, has_epoch: bool) {
        if let Some(difference) = expected.difference(shown, has_epoch) {
            self.deviates(format!("{whose}: {difference}"));
        }
    }

    fn deviates(&mut self, what: String) {
        self.report.deviations.push(what);
    }

    fn step(&mut self, name: &'static str, ms: Option<f64>, seen: String) {
        self.report.steps.push(Step { name, ms, seen });
    }

    fn now_us(&self) -> u64 {
        self.service.clock.monotonic_us()
    }

    fn ms_since(&self, us: u64) -> f64 {
        self.now_us().saturating_sub(us) as f64 / 1000.0
    }
}

impl Expected {
    fn of(shown: &Value) -> Result<Self, String> {
        let (epoch, version) = (shown["epoch"].as_str(), shown["version"].as_i64());
        let (Some(epoch), Some(version)) = (epoch, version) else { return Err(format!("no balance: {shown}")) };
        Ok(Self { epoch: epoch.to_owned(), version, balances: shown["balances"].clone() })
    }

    /// The state behind an entry that leaves so much more than there was before all of them.
    fn after(&self, answer: &Value, more: Amount, options: &Options) -> Result<Self, String> {
        let version = answer["version"].as_i64().ok_or_else(|| format!("no version: {answer}"))?;
        let mut balances = self.balances.clone();
        let shown = &mut balances[&options.currency];
        let before = shown.as_str().and_then(|text| shown_amount(text, options.decimals));
        let after = before.and_then(|before| before.checked_add(more));
        let after = after.ok_or_else(|| format!("no balance of {}: {}", options.currency, self.balances))?;
        *shown = Value::String(after.display(options.decimals).to_string());
        Ok(Self { epoch: self.epoch.clone(), version, balances })
    }

    fn difference(&self, shown: &Value, has_epoch: bool) -> Option<String> {
        if has_epoch && shown["epoch"] != self.epoch.as_str() {
            return Some(format!("epoch {} instead of {}", shown["epoch"], self.epoch));
        }
        if shown["stale"] == true {
            return Some(format!("a stale balance: {shown}"));
        }
        match shown["version"].as_i64() {
            Some(version) if version < self.version => Some(format!("older: version {version} after {}", self.version)),
            Some(version) if version > self.version => {
                Some(format!("version {version} instead of {}: somebody else writes to this user", self.version))
            }
            Some(_) if shown["balances"] != self.balances => {
                Some(format!("balances {} instead of {}", shown["balances"], self.balances))
            }
            Some(_) => None,
            None => Some(format!("no version: {shown}")),
        }
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "version {}: {}", self.version, self.balances)
    }
}

/// An amount as it is shown, which may be zero.
fn shown_amount(text: &str, decimals: u8) -> Option<Amount> {
    let is_zero = text.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    if is_zero { Some(Amount::default()) } else { Amount::parse(text, decimals).ok() }
}

/// From the commit to the push.
fn server_ms(update: &Value) -> Option<f64> {
    let at = |key: &str| clock::parse_rfc3339(update[key].as_str()?);
    Some((at("pushed_at")? - at("first_committed_at")?) as f64 / 1000.0)
}
