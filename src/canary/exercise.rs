//! The run itself, step by step.

use std::time::Duration;

use rand::Rng as _;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::canary::client::Service;
use crate::canary::expected::Expected;
use crate::canary::page::Page;
use crate::canary::report::{CanaryReport, Step};
use crate::canary::session::Session;
use crate::canary::socket::Heard;
use crate::canary::{Interrupts, Options, PATIENCE_MS, READ_EVERY_MS, SENDS_MAX};
use crate::clock;
use crate::clock::Clock;
use crate::domain::Amount;

/// What the browser's page is called in a report.
const PAGE: &str = "the page";

struct Run<'a> {
    service: Service<'a>,
    report: CanaryReport,
    interrupts: Interrupts,
    progress: &'a mut dyn FnMut(&str),
}

/// The pages that the canary's user has open.
struct Pages {
    sessions: [Session; 2],
    browser: Option<Page>,
}

/// A deposit that may be there. Dropped before it is settled (whoever ran this has gone away), it says so.
struct Open<'a>(Option<&'a str>);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if let Some(event_id) = self.0 {
            log::error!(
                "the canary was cut off: its deposit {event_id}:in may not have been taken back"
            );
        }
    }
}

/// Runs it to its end, or, interrupted, to where nothing is left behind; interrupted again, it ends at once and says what
/// is left. `progress` is told what is being done, at least once a second while it watches.
pub async fn run(
    options: &Options,
    interrupts: Interrupts,
    progress: &mut dyn FnMut(&str),
) -> CanaryReport {
    let clock = Clock::system();
    let report = CanaryReport::new(options, clock::rfc3339(clock.now_us()));
    let mut run = Run {
        service: Service::new(options, clock),
        report,
        interrupts,
        progress,
    };
    if let Err(why) = run.go().await {
        run.report.deviations.push(why);
    }
    run.report.ok = run.report.deviations.is_empty();
    run.report.took_s = clock.monotonic_us() as f64 / 1_000_000.0;
    run.report
}

/// Waits until the run was interrupted so often; for ever when nobody can any more.
async fn interrupted(mut interrupts: Interrupts, times: u32) {
    if interrupts
        .wait_for(|so_far| *so_far >= times)
        .await
        .is_err()
    {
        std::future::pending::<()>().await;
    }
}

impl Run<'_> {
    async fn go(&mut self) -> Result<(), String> {
        let interrupts = self.interrupts.clone();
        let (before, mut pages) = tokio::select! {
            opened = self.open() => opened?,
            () = interrupted(interrupts.clone(), 1) => return Err("interrupted before anything was deposited".to_owned()),
        };
        let done = self
            .deposit_and_take_back(&before, &mut pages, interrupts)
            .await;
        if let Some(browser) = pages.browser {
            browser.close(&self.service).await;
        }
        done
    }

    async fn open(&mut self) -> Result<(Expected, Pages), String> {
        (self.progress)("looking at the balance");
        let before = Expected::of(&self.service.balance(true).await?)?;
        self.step("balance before", None, before.to_string());
        let sessions = [
            self.session("session 1", &before).await?,
            self.session("session 2", &before).await?,
        ];
        let mut browser = None;
        if let Some(program) = &self.service.options.browser {
            (self.progress)("starting a browser");
            let started_us = self.now_us();
            let mut page = Page::open(&self.service, program).await?;
            let heard = page.painted(before.version, 0).await?;
            self.step(
                "browser → painted",
                Some(ms_between(started_us, heard.at_us)),
                before.to_string(),
            );
            self.compare(PAGE, &heard.frame, &before, true);
            browser = Some(page);
        }
        Ok((before, Pages { sessions, browser }))
    }

    async fn deposit_and_take_back(
        &mut self,
        before: &Expected,
        pages: &mut Pages,
        interrupts: Interrupts,
    ) -> Result<(), String> {
        (self.progress)("depositing");
        let event_id = format!("canary:{:016x}", rand::rng().random::<u64>());
        let mut open = Open(Some(&event_id));
        let sent_us = self.now_us();
        let answer = self.insist("deposits", &format!("{event_id}:in")).await;
        let answer = answer.inspect_err(|_| open.0 = None)?;
        self.report.answer_ms = Some(self.ms_since(sent_us));
        self.step(
            "webhook → answer",
            self.report.answer_ms,
            format!("version {}", answer["version"]),
        );
        // From here on there is something to take back.
        let during = tokio::select! {
            during = self.deposited(before, &answer, pages, sent_us) => during,
            () = interrupted(interrupts.clone(), 1) => Err("interrupted".to_owned()),
        };
        (self.progress)("taking it back");
        let back = self.insist("withdrawals", &format!("{event_id}:out")).await;
        open.0 = None;
        if let Err(why) = during {
            self.deviates(why);
        }
        let back = back.map_err(|why| {
            let (amount, currency) = (&self.report.amount, &self.report.currency);
            format!(
                "left behind: {amount} {currency} of deposit {event_id}:in, to be taken back by a withdrawal: {why}"
            )
        })?;
        self.step("withdrawal", None, format!("version {}", back["version"]));
        tokio::select! {
            looked = self.taken_back(before, &back, pages) => looked,
            () = interrupted(interrupts, 2) => Err("interrupted again: nobody has looked whether all is as before".to_owned()),
        }
    }

    /// What has to hold when it is as before.
    async fn taken_back(
        &mut self,
        before: &Expected,
        back: &Value,
        pages: &mut Pages,
    ) -> Result<(), String> {
        let after = before.after(back, Amount::default(), self.service.options)?;
        self.compare("the withdrawal's answer", back, &after, false);
        let Pages {
            sessions: [first, second],
            browser,
        } = pages;
        for session in [&mut *first, second] {
            let heard = session.push_of(after.version, |_| {}).await;
            self.compare_heard(session.name, heard, &after);
        }
        if let Some(page) = browser {
            let heard = page.painted(after.version, first.min_interval_ms).await;
            self.compare_heard(PAGE, heard, &after);
        }
        let at_last = self.service.balance(true).await?;
        self.compare("GET /api/v1/balance", &at_last, &after, true);
        self.step("balance after", None, after.to_string());
        Ok(())
    }

    fn compare_heard(
        &mut self,
        whose: &'static str,
        heard: Result<Heard, String>,
        expected: &Expected,
    ) {
        match heard {
            Ok(heard) => self.compare(whose, &heard.frame, expected, true),
            // It has been told of already.
            Err(why) if !self.report.deviations.is_empty() => self.step(whose, None, why),
            Err(why) => self.deviates(why),
        }
    }

    /// What has to hold while the deposit is there.
    async fn deposited(
        &mut self,
        before: &Expected,
        answer: &Value,
        pages: &mut Pages,
        sent_us: u64,
    ) -> Result<(), String> {
        let amount = self.service.options.amount;
        let expected = before.after(answer, amount, self.service.options)?;
        self.compare("the deposit's answer", answer, &expected, false);
        if answer["version"].as_i64() != Some(before.version + 1) {
            self.deviates(format!(
                "the deposit made version {}: somebody else writes to this user",
                answer["version"]
            ));
        }
        for (index, session) in pages.sessions.iter_mut().enumerate() {
            self.pushed(session, index == 0, &expected, sent_us).await?;
        }
        if let Some(page) = &mut pages.browser {
            let heard = page
                .painted(expected.version, pages.sessions[0].min_interval_ms)
                .await?;
            self.report.painted_ms = Some(ms_between(sent_us, heard.at_us));
            self.step(
                "webhook → painted",
                self.report.painted_ms,
                expected.to_string(),
            );
            self.compare(PAGE, &heard.frame, &expected, true);
        }
        let started_us = self.now_us();
        let balance = self.service.balance(false).await?;
        self.compare("GET /api/v1/balance", &balance, &expected, true);
        self.step(
            "balance over HTTP",
            Some(self.ms_since(started_us)),
            expected.to_string(),
        );
        self.watch(&expected, pages).await?;
        self.reload(&expected, pages).await
    }

    /// The push that tells of the deposit.
    async fn pushed(
        &mut self,
        session: &mut Session,
        is_first: bool,
        expected: &Expected,
        sent_us: u64,
    ) -> Result<(), String> {
        let mut early = Vec::new();
        let heard = session
            .push_of(expected.version, |other| {
                early.push(other.frame.to_string())
            })
            .await?;
        early.into_iter().for_each(|frame| {
            self.deviates(format!("{}: came before the push: {frame}", session.name))
        });
        let (ms, mode) = (ms_between(sent_us, heard.at_us), &heard.frame["mode"]);
        self.step(
            if is_first {
                "webhook → frame 1"
            } else {
                "webhook → frame 2"
            },
            Some(ms),
            format!("{mode}"),
        );
        self.compare(session.name, &heard.frame, expected, true);
        let change = heard.frame["changes"][&self.service.options.currency].as_str();
        if change != Some(&self.report.amount) {
            self.deviates(format!(
                "{}: the change is {change:?}, not {}",
                session.name, self.report.amount
            ));
        }
        if is_first {
            self.report.frame_ms = Some(ms);
            self.report.push_ms = server_ms(&heard.frame);
            self.step(
                "commit → push",
                self.report.push_ms,
                "by the service's clock".to_owned(),
            );
        }
        Ok(())
    }

    /// Nothing may change: no older value, no jump, on both sessions, in the browser and over HTTP.
    async fn watch(&mut self, expected: &Expected, pages: &mut Pages) -> Result<(), String> {
        let watch = self.service.options.watch;
        let until = self.service.clock.deadline(watch);
        let (mut frames, mut reads) = (0_u64, 0_u64);
        while !until.has_passed() {
            (self.progress)(&format!("watching, {} s more", until.remaining().as_secs()));
            sleep(Duration::from_millis(READ_EVERY_MS).min(until.remaining())).await;
            for session in &mut pages.sessions {
                while let Some(heard) = session.next(Duration::ZERO).await? {
                    frames += 1;
                    if heard.frame["type"] != "pong" {
                        self.compare(session.name, &heard.frame, expected, true);
                    }
                }
            }
            if let Some(page) = &mut pages.browser {
                while let Some(heard) = page.next(Duration::ZERO).await? {
                    frames += 1;
                    self.compare(PAGE, &heard.frame, expected, true);
                }
            }
            let balance = self.service.balance(reads % 2 == 1).await?;
            reads += 1;
            self.compare("GET /api/v1/balance", &balance, expected, true);
        }
        self.step(
            "watched",
            Some(watch.as_secs_f64() * 1000.0),
            format!("{frames} frames, {reads} reads"),
        );
        Ok(())
    }

    /// Connects again, as a page that is loaded anew.
    async fn reload(&mut self, expected: &Expected, pages: &mut Pages) -> Result<(), String> {
        (self.progress)("connecting again");
        let started_us = self.now_us();
        let _reloaded = self.session("session 3", expected).await?;
        self.step(
            "reload → snapshot",
            Some(self.ms_since(started_us)),
            expected.to_string(),
        );
        if let Some(page) = &mut pages.browser {
            let started_us = self.now_us();
            page.show(&self.service).await?;
            // The first that it shows, whatever that is.
            let heard = page.painted(0, 0).await?;
            self.step(
                "reload → painted",
                Some(ms_between(started_us, heard.at_us)),
                expected.to_string(),
            );
            self.compare(PAGE, &heard.frame, expected, true);
        }
        Ok(())
    }

    async fn session(
        &mut self,
        name: &'static str,
        expected: &Expected,
    ) -> Result<Session, String> {
        let session = Session::open(&self.service, name).await?;
        self.compare(name, &session.snapshot, expected, true);
        Ok(session)
    }

    /// Sends an entry until it has an outcome, or until the run is interrupted for the second time.
    async fn insist(&mut self, what: &str, event_id: &str) -> Result<Value, String> {
        let interrupts = self.interrupts.clone();
        tokio::select! {
            outcome = self.send_until_answered(what, event_id) => outcome,
            () = interrupted(interrupts, 2) => {
                Err(format!("{what}: interrupted again; the outcome of event {event_id} is not known"))
            }
        }
    }

    /// Sends an entry until it has an outcome. The same event id makes that safe.
    async fn send_until_answered(&mut self, what: &str, event_id: &str) -> Result<Value, String> {
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
        Err(format!(
            "{what} has no outcome after {SENDS_MAX} attempts; send event {event_id} again: {last}"
        ))
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
        ms_between(us, self.now_us())
    }
}

/// From the commit to the push.
fn server_ms(update: &Value) -> Option<f64> {
    let at = |key: &str| clock::parse_rfc3339(update[key].as_str()?);
    Some((at("pushed_at")? - at("first_committed_at")?) as f64 / 1000.0)
}

fn ms_between(from_us: u64, to_us: u64) -> f64 {
    to_us.saturating_sub(from_us) as f64 / 1000.0
}
