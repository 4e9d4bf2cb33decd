//! Connections to PostgreSQL: their settings, and what a server has to offer.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Text;

use crate::ledger::LedgerError;

/// Makes the planner look rows up by their keys. By default it scans tables that are still short, and keeps such a plan long
/// after they have grown.
pub(in crate::ledger) const BY_INDEX: &str =
    "SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan; SET jit = off;";

/// How long sent data may stay unacknowledged, in milliseconds; after that the peer is taken to be gone.
const UNACKNOWLEDGED_MS_MAX: u64 = 2000;

/// The answer of `SHOW lc_messages`.
#[derive(QueryableByName)]
struct Language {
    #[diesel(sql_type = Text)]
    lc_messages: String,
}

/// Connects with the settings of every connection: bounded waits, commits on disk.
pub(in crate::ledger) fn connect(
    url: &str,
    timeout_ms: u64,
) -> Result<PgConnection, diesel::ConnectionError> {
    let joint = if url.contains('?') { '&' } else { '?' };
    let connect_s = timeout_ms.div_ceil(1000).max(2);
    let unacknowledged_ms = timeout_ms.min(UNACKNOWLEDGED_MS_MAX);
    let bounded = format!(
        "{url}{joint}connect_timeout={connect_s}&tcp_user_timeout={unacknowledged_ms}&keepalives_idle=2\
         &keepalives_interval=1&keepalives_count=2&application_name=balance-coordinator"
    );
    let mut connection = PgConnection::establish(&bounded)?;
    connection
        .batch_execute(&format!(
            "SET synchronous_commit = on; SET statement_timeout = {timeout_ms};"
        ))
        .map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
}

/// Refuses a server whose messages are not in English: errors are sorted by their messages (Diesel does not give their
/// codes), and in another language a lock timeout would look like a refusal.
pub(in crate::ledger) fn check_language(connection: &mut PgConnection) -> Result<(), LedgerError> {
    let Language { lc_messages } = sql_query("SHOW lc_messages")
        .get_result(connection)
        .map_err(|error| LedgerError::Unavailable(error.to_string()))?;
    if is_english(&lc_messages) {
        return Ok(());
    }
    Err(LedgerError::Unfit(format!(
        "the server's messages have to be in English, and its lc_messages is {lc_messages:?}; have its administrator say \
         ALTER DATABASE … SET lc_messages = 'C'"
    )))
}

/// By the name of a locale, such as `C`, `en_US.UTF-8` or `English_United States.1252`.
fn is_english(locale: &str) -> bool {
    let language = locale
        .split(['_', '.', '@', '-'])
        .next()
        .unwrap_or_default();
    matches!(language, "" | "C" | "POSIX" | "en" | "English")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_english_messages_are_accepted() {
        for english in [
            "C",
            "POSIX",
            "C.UTF-8",
            "en_US.UTF-8",
            "en-GB",
            "en",
            "English_United States.1252",
            "",
        ] {
            assert!(is_english(english), "{english}");
        }
        for other in [
            "de_DE.UTF-8",
            "ru_RU",
            "fr",
            "German_Germany.1252",
            "enm_XX",
        ] {
            assert!(!is_english(other), "{other}");
        }
    }
}
