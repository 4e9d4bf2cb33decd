//! The run itself: deposit, check, take back. What must hold at each step is in `checks.rs`.

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
use crate::canary::{Interrupts, Options, PATIENCE_MS, SENDS_MAX};
use crate::clock::{Clock, Mono};

/// What the browser's page is called in a report.
pub(super) const PAGE: &str = "the page";

pub(super) struct Run<'a> {
    pub(super) service: Service<'a>,
    pub(super) report: CanaryReport,
    interrupts: Interrupts,
    pub(super) progress: &'a mut dyn FnMut(&str),
}

/// The pages that the canary's user has open.
pub(super) struct Pages {
    pub(super) sessions: [Session; 2],
    pub(super) browser: Option<Page>,
}

/// A deposit that may be in the ledger. If it is dropped before it is taken back (the run was cancelled), it logs that.
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

/// Runs to the end. After one interrupt it takes the deposit back first; after a second one it ends at once and says
/// what is left. `progress` gets each step's name, at least once a second while it watches.
pub async fn run(
    options: &Options,
    interrupts: Interrupts,
    progress: &mut dyn FnMut(&str),
) -> CanaryReport {
    let clock = Clock::system();
    let report = CanaryReport::new(options, clock.wall().to_string());
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
    run.report.took_s = clock.mono().us() as f64 / 1_000_000.0;
    run.report
}

/// Waits until the run was interrupted `times` times; for ever when the sender of interrupts is gone.
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
            let started = self.now();
            let mut page = Page::open(&self.service, program).await?;
            let heard = page.painted(before.version, 0).await?;
            self.step(
                "browser → painted",
                Some(ms_between(started, heard.at)),
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
        let sent = self.now();
        let answer = self.insist("deposits", &format!("{event_id}:in")).await;
        let answer = answer.inspect_err(|_| open.0 = None)?;
        self.report.answer_ms = Some(self.ms_since(sent));
        self.step(
            "webhook → answer",
            self.report.answer_ms,
            format!("version {}", answer["version"]),
        );
        // From here on there is a deposit to take back.
        let during = tokio::select! {
            during = self.deposited(before, &answer, pages, sent) => during,
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
            () = interrupted(interrupts, 2) => Err("interrupted again: not checked whether all is as before".to_owned()),
        }
    }

    pub(super) fn compare_heard(
        &mut self,
        source: &'static str,
        heard: Result<Heard, String>,
        expected: &Expected,
    ) {
        match heard {
            Ok(heard) => self.compare(source, &heard.frame, expected, true),
            // Reported already.
            Err(why) if !self.report.deviations.is_empty() => self.step(source, None, why),
            Err(why) => self.deviates(why),
        }
    }

    pub(super) async fn session(
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

    pub(super) fn compare(
        &mut self,
        source: &str,
        shown: &Value,
        expected: &Expected,
        has_epoch: bool,
    ) {
        if let Some(difference) = expected.difference(shown, has_epoch) {
            self.deviates(format!("{source}: {difference}"));
        }
    }

    pub(super) fn deviates(&mut self, what: String) {
        self.report.deviations.push(what);
    }

    pub(super) fn step(&mut self, name: &'static str, ms: Option<f64>, seen: String) {
        self.report.steps.push(Step { name, ms, seen });
    }

    pub(super) fn now(&self) -> Mono {
        self.service.clock.mono()
    }

    pub(super) fn ms_since(&self, then: Mono) -> f64 {
        ms_between(then, self.now())
    }
}

pub(super) fn ms_between(from: Mono, to: Mono) -> f64 {
    to.us_since(from) as f64 / 1000.0
}
