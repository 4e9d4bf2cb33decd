//! What a session is sent, frame by frame.

use balance_coordinator::clock::parse_rfc3339;
use serde_json::Value;

use super::pushes::Push;
use super::sessions::SessionRecord;
use super::{Oracle, SLACK_US, TIMEOUT_US, TTL_US};
use crate::books::{Minor, shown};
use crate::world::WALL_START_US;

/// The currencies of every run, in the order of the books.
pub(super) const CODES: [&str; 2] = ["TON", "UNI"];

/// Microseconds since the run began, of a timestamp in a frame.
pub(super) fn moment(frame: &Value, field: &str) -> Result<u64, String> {
    let wall_us = frame[field]
        .as_str()
        .and_then(parse_rfc3339)
        .ok_or_else(|| format!("{field} in {frame}"))?;
    u64::try_from(wall_us - WALL_START_US)
        .map_err(|_| format!("{field} before the beginning in {frame}"))
}

fn integer(frame: &Value, field: &str) -> Result<i64, String> {
    frame[field]
        .as_i64()
        .ok_or_else(|| format!("no {field} in {frame}"))
}

impl Oracle {
    /// A session has received a frame.
    pub fn frame(&mut self, index: usize, frame: &Value, now_us: u64) -> Result<(), String> {
        self.frames += 1;
        let user = self.sessions[index].user;
        let wrong = |what: &str| Err(format!("session {index} of user {user}: {what}: {frame}"));
        let frame_type = frame["type"].as_str().unwrap_or_default();
        if (frame_type == "hello") == self.sessions[index].is_greeted {
            return wrong("hello comes first and once");
        }
        match frame_type {
            "hello" => {
                self.sessions[index].is_greeted = true;
                let epoch = frame["epoch"].as_str().unwrap_or_default();
                if self.greets(index, epoch) && frame["user_id"] == user {
                    Ok(())
                } else {
                    wrong("the greeting of another")
                }
            }
            "balance" => self
                .balance(index, frame, now_us)
                .or_else(|what| wrong(&what)),
            "balance_update" => self
                .update(index, frame, now_us)
                .or_else(|what| wrong(&what)),
            "pong" => match self.sessions[index]
                .pings
                .remove(&frame["id"].as_u64().unwrap_or(0))
            {
                true => Ok(()),
                false => wrong("a pong that nobody asked for"),
            },
            "error" => self
                .error(index, frame, now_us)
                .or_else(|what| wrong(&what)),
            _ => wrong("a frame of an unknown type"),
        }
    }

    fn error(&mut self, index: usize, frame: &Value, now_us: u64) -> Result<(), String> {
        let was_well = self.was_well(now_us.saturating_sub(3 * TIMEOUT_US), now_us);
        let session = &mut self.sessions[index];
        let was_said_now = session.reads_what_is_said_now(now_us);
        match frame["code"].as_str() {
            Some("ledger_unavailable") if was_well && was_said_now => {
                Err("the ledger is there".into())
            }
            Some("ledger_unavailable") => {
                frame["retry_after_ms"]
                    .as_u64()
                    .ok_or("no retry_after_ms")?;
                session.answered(frame, now_us)?;
                session.is_owed_since_us.get_or_insert(now_us);
                Ok(())
            }
            Some("invalid_message") if session.bad_messages > 0 => {
                session.bad_messages -= 1;
                Ok(())
            }
            _ => Err("no reason for this error".into()),
        }
    }

    /// What is true of every frame with a balance.
    fn state(&self, session: &SessionRecord, frame: &Value) -> Result<i64, String> {
        let version = integer(frame, "version")?;
        if frame["user_id"] != session.user || frame["epoch"] != *session.epoch {
            return Err("of another user or epoch".into());
        }
        if version < session.version {
            return Err(format!("older than version {}", session.version));
        }
        let asked_us = session.asked_us(frame).filter(|_| frame["stale"] == false);
        let known = self.balances_in(&session.epoch, session.user, version, asked_us);
        let is_known = |known: &Minor| {
            let mut all = CODES.iter().zip(known);
            all.all(|(code, minor)| frame["balances"][code] == shown(*minor))
        };
        if !known.iter().any(is_known) {
            return Err(format!("the ledger has {known:?} at version {version}"));
        }
        Ok(version)
    }

    fn balance(&mut self, index: usize, frame: &Value, now_us: u64) -> Result<(), String> {
        let session = &self.sessions[index];
        let (user, was_said_now) = (session.user, session.reads_what_is_said_now(now_us));
        let version = self.state(session, frame)?;
        let as_of_us = moment(frame, "as_of")?;
        let asked_us = match frame["reason"].as_str() {
            Some("snapshot") => session.opened_us,
            Some("refresh") => session
                .asked_us(frame)
                .ok_or("a refresh that nobody asked for")?,
            Some("recovered") => now_us.saturating_sub(2 * TIMEOUT_US),
            _ => return Err("no reason".into()),
        };
        let is_stale = frame["stale"].as_bool().ok_or("no stale")?;
        let is_lost = self.is_lost(&session.epoch);
        let was_said_now = was_said_now && !is_lost;
        if is_stale && was_said_now {
            // The sessions of a process that has ended are gone.
            self.check_stale((self.process(), user), as_of_us, asked_us, now_us)?;
        }
        if !is_stale && was_said_now {
            if self.knows_of_outage(now_us) {
                return Err("not marked, though the ledger is known to be away".into());
            }
            let may_be_old = self.may_remember_old(user, asked_us);
            if !may_be_old && now_us.saturating_sub(as_of_us) > TTL_US + SLACK_US {
                return Err("older than its time to live".into());
            }
            let is_refresh = frame["reason"] == "refresh";
            let books = &self.books;
            let before_us = asked_us.saturating_sub(1);
            let least = if is_refresh {
                books.version_at(user, before_us)
            } else {
                books.heard_version(user, before_us)
            };
            let is_just_begun = !is_refresh && self.is_just_begun(asked_us);
            if version < least && !may_be_old && !is_just_begun {
                return Err(format!(
                    "asked at {asked_us} us, when version {least} was there"
                ));
            }
        }
        let next_heard_us = self
            .books
            .of(user)
            .get(version as usize)
            .and_then(|commit| commit.heard_us);
        let is_overtaken = next_heard_us.is_some_and(|heard_us| heard_us < as_of_us);
        let may_lag =
            self.may_remember_old(user, as_of_us) || is_lost || self.is_just_begun(as_of_us);
        if as_of_us > now_us || is_overtaken && !may_lag {
            return Err(format!(
                "as of a time when the next version had been heard of at {next_heard_us:?}"
            ));
        }
        let session = &mut self.sessions[index];
        session.answered(frame, now_us)?;
        session.saw(version, true, now_us);
        if is_stale {
            session.is_owed_since_us.get_or_insert(now_us);
        } else {
            session.is_owed_since_us = None;
        }
        Ok(())
    }

    fn update(&mut self, index: usize, frame: &Value, now_us: u64) -> Result<(), String> {
        let session = &self.sessions[index];
        let user = session.user;
        let version = self.state(session, frame)?;
        if version <= session.version {
            return Err("a version that the session has".into());
        }
        if session.first_balance_us.is_none() {
            return Err("before the first balance".into());
        }
        if self.is_lost(&session.epoch) {
            self.sessions[index].saw(version, false, now_us);
            return Ok(());
        }
        let entries = integer(frame, "entries")?;
        let base = version - entries;
        if base > session.version {
            return Err(format!(
                "it leaves out what follows version {}",
                session.version
            ));
        }
        let (before, after) = match (
            self.books.balances_at(user, base),
            self.books.balances_at(user, version),
        ) {
            (Some(before), Some(after)) if entries > 0 => (before, after),
            _ => return Err("so many entries never were".into()),
        };
        for (index, code) in CODES.iter().enumerate() {
            let change = after[index] - before[index];
            let told = frame["changes"].get(code);
            if told.and_then(Value::as_str).map(str::to_owned)
                != (change != 0).then(|| shown(change))
            {
                return Err(format!(
                    "{code} changed by {} since version {base}",
                    shown(change)
                ));
            }
        }
        let push = Push::read(frame, base, version)?;
        if push.pushed_us > now_us {
            return Err("pushed in the future".into());
        }
        let first = self
            .pushes
            .entry((user, push.pushed_us))
            .or_insert_with(|| push.clone());
        if *first != push {
            return Err(format!("another session was told of this push: {first:?}"));
        }
        self.sessions[index].saw(version, false, now_us);
        Ok(())
    }
}
