//! Init data as Telegram gives it to a Mini App, made from Telegram's documentation.

use serde_json::{Value, json};

use super::now_s;
use super::signing::hmac_sha256;

/// The bot of every test app that has one.
pub const BOT_TOKEN: &str = "7000000001:AAE-a-token-of-no-bot-for-tests-only";

/// Init data; tests can damage any part.
#[derive(Debug, Clone)]
pub struct InitData {
    bot_token: String,
    user: Value,
    auth_date: i64,
}

impl InitData {
    /// Of a Telegram user, made now.
    pub fn of(telegram_id: u64) -> Self {
        let user =
            json!({"id": telegram_id, "first_name": "Ana & \"Bo\" +100%", "language_code": "ru"});
        Self {
            bot_token: BOT_TOKEN.to_owned(),
            user,
            auth_date: now_s(),
        }
    }

    /// Made so many seconds ago.
    pub fn aged(self, seconds: i64) -> Self {
        Self {
            auth_date: now_s() - seconds,
            ..self
        }
    }

    /// Of another bot.
    pub fn by(self, bot_token: &str) -> Self {
        Self {
            bot_token: bot_token.to_owned(),
            ..self
        }
    }

    /// As a Mini App reads it from `Telegram.WebApp.initData`.
    pub fn text(&self) -> String {
        let mut fields = [
            ("query_id", "AAHdF6IQAAAAAN0XohDhrOrc".to_owned()),
            ("user", self.user.to_string()),
            ("auth_date", self.auth_date.to_string()),
            ("signature", "bm90LWxvb2tlZC1hdC1oZXJl".to_owned()),
        ];
        fields.sort();
        let check = fields
            .each_ref()
            .map(|(name, value)| format!("{name}={value}"))
            .join("\n");
        let key = hmac_sha256(b"WebAppData", self.bot_token.as_bytes());
        let hash = hex::encode(hmac_sha256(&key, check.as_bytes()));
        let escaped = |value: &str| value.bytes().map(escape).collect::<String>();
        let pairs = fields
            .each_ref()
            .map(|(name, value)| format!("{name}={}", escaped(value)));
        format!("{}&hash={hash}", pairs.join("&"))
    }
}

/// As `encodeURIComponent` does.
fn escape(byte: u8) -> String {
    let is_plain = byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte);
    if is_plain {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}
