//! What must hold while the deposit is in the ledger, and after it was taken back.

use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

use crate::canary::READ_EVERY_MS;
use crate::canary::exercise::{PAGE, Pages, Run, ms_between};
use crate::canary::expected::Expected;
use crate::canary::session::Session;
use crate::clock::{self, Mono};
use crate::domain::Amount;

impl Run<'_> {
    /// What must hold while the deposit is in the ledger.
    pub(super) async fn deposited(
        &mut self,
        before: &Expected,
        answer: &Value,
        pages: &mut Pages,
        sent: Mono,
    ) -> Result<(), String> {
        let amount = self.service.options.amount;
        let expected = before.after(answer, amount, self.service.options)?;
        self.compare("the deposit's answer", answer, &expected, false);
        if answer["version"].as_i64() != Some(before.version + 1) {
            self.deviates(format!(
                "the deposit made version {}: another program writes to this user",
                answer["version"]
            ));
        }
        for (index, session) in pages.sessions.iter_mut().enumerate() {
            self.pushed(session, index == 0, &expected, sent).await?;
        }
        if let Some(page) = &mut pages.browser {
            let heard = page
                .painted(expected.version, pages.sessions[0].min_interval_ms)
                .await?;
            self.report.painted_ms = Some(ms_between(sent, heard.at));
            self.step(
                "webhook → painted",
                self.report.painted_ms,
                expected.to_string(),
            );
            self.compare(PAGE, &heard.frame, &expected, true);
        }
        let started = self.now();
        let balance = self.service.balance(false).await?;
        self.compare("GET /api/v1/balance", &balance, &expected, true);
        self.step(
            "balance over HTTP",
            Some(self.ms_since(started)),
            expected.to_string(),
        );
        self.watch(&expected, pages).await?;
        self.reload(&expected, pages).await
    }

    /// The push that brings the deposit.
    async fn pushed(
        &mut self,
        session: &mut Session,
        is_first: bool,
        expected: &Expected,
        sent: Mono,
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
        let (ms, mode) = (ms_between(sent, heard.at), &heard.frame["mode"]);
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

    /// Checks that nothing changes: no older value, no jump, on both sessions, in the browser and over HTTP.
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

    /// Connects again, as a page does that is reloaded.
    async fn reload(&mut self, expected: &Expected, pages: &mut Pages) -> Result<(), String> {
        (self.progress)("connecting again");
        let started = self.now();
        let _reloaded = self.session("session 3", expected).await?;
        self.step(
            "reload → snapshot",
            Some(self.ms_since(started)),
            expected.to_string(),
        );
        if let Some(page) = &mut pages.browser {
            let started = self.now();
            page.show(&self.service).await?;
            // The first version that it shows, whatever that is.
            let heard = page.painted(0, 0).await?;
            self.step(
                "reload → painted",
                Some(ms_between(started, heard.at)),
                expected.to_string(),
            );
            self.compare(PAGE, &heard.frame, expected, true);
        }
        Ok(())
    }

    /// What must hold after the withdrawal: all is as before.
    pub(super) async fn taken_back(
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
}

/// From the commit to the push.
fn server_ms(update: &Value) -> Option<f64> {
    let at = |key: &str| clock::parse_rfc3339(update[key].as_str()?);
    Some((at("pushed_at")? - at("first_committed_at")?) as f64 / 1000.0)
}
