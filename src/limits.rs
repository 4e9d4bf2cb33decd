//! Every cap that is not a setting, and how they depend on each other.

use std::time::Duration;

/// The most entries in one transaction of a writer. The first posting of each lane is taken whatever its length, so
/// that an atomic batch is never split and every posting gets its turn.
pub const TRANSACTION_ENTRIES_MAX: usize = 2048;

/// The most entries of batches in a transaction without single webhooks while those keep coming in: what a deposit waits
/// behind. One posting may be longer.
pub const BULK_BEFORE_SINGLES: usize = 64;

/// The same on PostgreSQL, where a transaction costs several round trips however long it is.
pub const BULK_BEFORE_SINGLES_ON_POSTGRES: usize = 256;

/// The most entries of batches in a transaction with single webhooks: as many as there are single ones, within these
/// bounds.
pub const BULK_BESIDE_SINGLES: (usize, usize) = (8, 32);

/// How long after a single webhook the next one is expected, in milliseconds.
pub const SINGLES_LATELY_MS: u64 = 100;

/// Entries of a batch that are worked on at once before other requests get their turn.
pub const BATCH_SLICE_ENTRIES: usize = 16;

/// The longest body of a batch that is read where it comes in, in bytes; a longer one is read on a thread for blocking work.
pub const BATCH_SHORT_BYTES: usize = 16 << 10;

/// How much of a batch's answer is written at once, in bytes.
pub const ANSWER_PIECE_BYTES: usize = 32 << 10;

/// The bytes of bodies that are received and not parsed yet, of both listeners together: [`BODIES_LONGEST`] of the longest
/// length (`limits.batch_body_bytes`), but at least this many.
pub const BODIES_BYTES: usize = 64 << 20;
/// See [`BODIES_BYTES`].
pub const BODIES_LONGEST: usize = 8;

/// Batches that are parsed or answered at once; more wait for their turn.
pub const BATCHES_AT_WORK_MAX: usize = 4;

/// How many transactions look everything up after one that met a known event id or an account that another node changed.
pub const READS_AFTER_SURPRISE: u32 = 64;

/// How many times a transaction is run again because another node was faster, before the entry is refused.
pub const RACES_MAX: u32 = 8;

/// The longest wait for a lock once one is known to be held, in milliseconds.
pub const LOCK_BRIEF_MS: u64 = 10;

/// Attempts with such waits for one batch until its locked users are found. With `LOCK_BRIEF_MS`, or a 64th of
/// `database.lock_timeout_ms` when that is less, they stay within half of that setting.
pub const LOCK_ATTEMPTS_MAX: u32 = 24;

/// Users that a writer remembers as locked by other sessions.
pub const HELD_USERS_MAX: usize = 65_536;

/// So many entries that are tried alone and fail in a row put the ledger in doubt: before and after the first commit among
/// them.
pub const ALIKE_MAX: (usize, usize) = (2, 4);

/// After so many failed transactions of one batch, other postings get their turn.
pub const FAILURES_MAX: u32 = 64;

/// After a transaction that took too long, so many turns of a writer keep single postings and others apart.
pub const CAREFUL_TURNS: u32 = 256;

/// How often an outage is logged while it lasts, in milliseconds.
pub const OUTAGE_LOG_MS: u64 = 60_000;

/// The longest of `database.timeout_ms` after which a step of a writer counts as hanging, in milliseconds.
pub const STEP_HANGS_MS_MAX: u64 = 5000;

/// How often the writers' steps are looked at, in milliseconds.
pub const WATCHDOG_MS: u64 = 100;

/// The first and the longest wait between attempts to reach the database again, in milliseconds.
pub const RETRY_MS: (u64, u64) = (10, 500);

/// The largest step back of the wall clock that commit times do not follow, in milliseconds. Corrections by NTP are smaller.
pub const CLOCK_STEP_HIDDEN_MS: u64 = 5000;

/// Postings of one user and lane that an actor has under way; entries that come meanwhile are posted together.
pub const POSTINGS_IN_FLIGHT_MAX: usize = 2;

/// The most entries of one user in one posting.
pub const POSTING_ENTRIES_MAX: usize = 256;

/// How long the log is silent on a database that is refused again for the same reason, in seconds.
pub const COMPLAINT_S: u64 = 60;

/// The longest that a step of the start may take, in seconds; migrations have bounds of their own.
pub const START_STEP_S: u64 = 90;

/// How long a step of the start may take before the log tells of it, and the time between two such lines, in seconds.
pub const START_LOG_S: u64 = 5;

/// The most entries that get what they lack (written by an earlier version, or by hand) in one transaction.
pub const FILLED_ENTRIES_MAX: i64 = 20_000;

/// The longest wait for another node's migration, in seconds.
pub const MIGRATION_WAIT_S: u64 = 600;

/// The time between two lines of the log on such a wait, in seconds, and between two attempts, in milliseconds.
pub const MIGRATION_LOG_S: u64 = 10;
/// See [`MIGRATION_LOG_S`].
pub const MIGRATION_POLL_MS: u64 = 200;

/// How long a migration waits for tables that others use, while those who come later wait behind it, and the time between two
/// attempts, in milliseconds. A transaction that has used one at both is waited for without keeping others waiting. The wait is
/// longer than what PostgreSQL takes by default (1 s) until it ends an autovacuum that is in the way.
pub const MIGRATION_TABLES_WAIT_MS: u64 = 2000;
/// See [`MIGRATION_TABLES_WAIT_MS`].
pub const MIGRATION_TABLES_PAUSE_MS: u64 = 1000;

/// Orders (users to create, administrators' actions to log) that may wait for one writer.
pub const ORDERS_MAX: usize = 1024;

/// Reads that may wait for the read pool.
pub const READ_QUEUE_MAX: usize = 65_536;

/// Accounts that one statement reads.
pub const ACCOUNTS_AT_ONCE_MAX: usize = 1000;

/// How often a process renews its row in the ledger, in milliseconds.
pub const NODE_BEAT_MS: u64 = 2000;

/// A process that has not renewed its row for so long is gone, in milliseconds: two renewals may fail.
pub const NODE_GONE_MS: u64 = 3 * NODE_BEAT_MS;

/// What was read of the rows longer ago is of no use, in milliseconds. Less than [`NODE_GONE_MS`], for which a row stays at
/// least, so that no process comes and goes unseen between two reads that are no further apart.
pub const NODES_OLD_MS: u64 = 5_000;

const _: () = assert!(NODE_BEAT_MS < NODES_OLD_MS && NODES_OLD_MS < NODE_GONE_MS);

/// The least time between the begins of two rounds of checks, in milliseconds.
pub const CHECK_ROUND_MS: u64 = 1000;

/// Users of whom entries are missing between known ones, and that are to be asked for.
pub const GAPS_MAX: usize = 16_384;

/// How long an entry of another process may follow on a later one before the ledger is asked for it, in milliseconds.
pub const GAP_WAIT_MS: u64 = 20;

/// Entries of one user that a check for missed changes reads at once.
pub const MISSED_ENTRIES_MAX: i64 = 16;

/// Reads that nobody asked for and that may wait for the read pool.
pub const BACKGROUND_READS_MAX: usize = 256;

/// Asked-for reads that one thread of the pool takes in a row while others wait that nobody asked for.
pub const ASKED_READS_IN_A_ROW_MAX: usize = 32;

/// Cached balances that the sweep has under way to be read again.
pub const REVALIDATIONS_MAX: usize = 64;

/// Resident actors that the sweep looks at in one turn.
pub const SWEEP_SLICE: usize = 128;

/// Committed postings without a receiver, on their way to the registry.
pub const ORPHANS_MAX: usize = 4096;

/// Messages waiting for the registry.
pub const REGISTRY_MAILBOX_MAX: usize = 32_768;

/// Messages waiting for one balance actor.
pub const ACTOR_MAILBOX_MAX: usize = 4096;

/// Frames waiting for one session; beyond it the session is lagging, and its changes are combined.
pub const SESSION_MAILBOX_MAX: usize = 16;

/// Readers that wait for a version of one user.
pub const VERSION_WAITERS_MAX: usize = 64;

/// Refreshes and reads that wait for one read of the ledger.
pub const READ_WAITERS_MAX: usize = 1024;

/// The most of `database.timeout_ms` that is kept for answering after a read has failed, in milliseconds.
const ANSWER_MARGIN_MS: u64 = 100;

/// How long a read may take so that it is answered within `timeout` (`database.timeout_ms`).
pub fn answer_within(timeout: Duration) -> Duration {
    timeout - (timeout / 10).min(Duration::from_millis(ANSWER_MARGIN_MS))
}

/// The longest a read waits for `min_version`, in milliseconds.
pub const MIN_VERSION_WAIT_MS: u64 = 5000;

/// The latest events an actor with sessions remembers.
pub const ACTOR_EVENTS_MAX: usize = 16;

/// The latest entries and pushes of all users that are remembered for administrators, of about 100 bytes each.
pub const RECENT_EVENTS_MAX: usize = 4096;

/// How long an inspected actor may take to answer, in milliseconds; after that the registry's view of it is shown.
pub const INSPECTION_MS: u64 = 1000;

/// The latest pushes to one session that are remembered until its page reports that it shows them.
pub const PUSHES_REMEMBERED_MAX: usize = 8;

/// How long after a full session mailbox the next attempt is made, in milliseconds.
pub const LAGGING_RETRY_MS: u64 = 100;

/// Stale balances that are being read again at once.
pub const RETRIES_MAX: usize = 256;

/// How often the database is probed while a session has a stale balance, in milliseconds.
pub const RECOVERY_PROBE_MS: u64 = 250;

/// After this time a probe counts as hanging and is repeated, in milliseconds.
pub const RECOVERY_PROBE_HANGS_MS: u64 = 500;

/// After this time a read counts as hanging once the ledger is known to be back, in milliseconds.
pub const READ_HANGS_MS: u64 = 500;

/// How long a client may take to send the head of a connection's first request, in milliseconds.
pub const REQUEST_HEAD_MS: u64 = 5000;

/// How long a client may take to send a request's body, in milliseconds.
pub const REQUEST_BODY_MS: u64 = 30_000;

/// How long a client of a kept connection may take to send the head of a request, from its first byte, in milliseconds. The
/// pause before that byte is `server.keep_alive_s`, and to read the last answer there is as much time as both.
pub const NEXT_HEAD_MS: u64 = 15_000;

/// The most users whose requests on `/api` are counted; the least recently seen one is dropped first.
pub const API_USERS_MAX: usize = 65_536;

/// How long a connection may take to close after its last answer, in milliseconds.
pub const LINGER_MS: u64 = 1000;

/// Connections of one worker thread without those of sessions; more wait to be accepted.
pub const WORKER_CONNECTIONS_MAX: usize = 25_600;

/// Bad messages of one session; the last closes it.
pub const BAD_MESSAGES_MAX: u8 = 5;

/// Signatures in one `webhook-signature` header.
pub const SIGNATURES_MAX: usize = 16;

/// The most bytes of Telegram's init data; a few hundred are usual.
pub const INIT_DATA_BYTES_MAX: usize = 8192;

/// Fields of Telegram's init data; about ten exist.
pub const INIT_DATA_FIELDS_MAX: usize = 64;

/// How far Telegram's clock may be ahead of ours, in seconds.
pub const TELEGRAM_SKEW_S: u64 = 30;

/// Refused entries that a transaction may delete beyond `database.conflicts_max` when it keeps another one; twice as many
/// as it keeps when that is more. Entries wait for it.
pub const CONFLICTS_PRUNED_MIN: i64 = 64;

/// Conflicts that are grouped for administrators, the latest. Each is a read of a row of up to 5 KiB.
pub const CONFLICTS_GROUPED_MAX: i64 = 10_000;

/// The most entries in one answer of a history.
pub const HISTORY_ENTRIES_MAX: i64 = 1000;

/// The most users in one answer of all balances.
pub const BALANCES_MAX: i64 = 1000;

/// The longest a follower of the feed waits for an entry, in milliseconds.
pub const FEED_WAIT_MS_MAX: u64 = 30_000;

/// The most followers that wait at once. The ledger is looked at once for all of them; each then reads its page.
pub const FEED_WAITERS_MAX: usize = 256;

/// The least time between two looks for news, and the time between them while an entry waits for a transaction to end, in
/// milliseconds.
pub const FEED_SOON_MS: u64 = 2;

/// How often the ledger is looked at for entries of other processes while a follower waits: soon after the last ones, and
/// after a while without any, in milliseconds.
pub const FEED_LOOK_MS: (u64, u64) = (20, 250);

/// The longest that a cursor of now waits for transactions that were open when it was asked for, in milliseconds.
pub const FEED_NOW_MS: u64 = 1000;

/// The most rows in one answer of an administrative list.
pub const ADMIN_ROWS_MAX: usize = 1000;

/// Bytes of log lines that may wait to be written, and how many more warnings and errors may take.
pub const LOG_BUFFER_BYTES: usize = 4 << 20;
/// See [`LOG_BUFFER_BYTES`].
pub const LOG_RESERVE_BYTES: usize = 256 << 10;

/// The most users whose state `verify` holds at once.
pub const AUDIT_PAGE_ENTRIES: i64 = 50_000;

/// How often the live stream of the dashboard sends a snapshot, in milliseconds.
pub const LIVE_INTERVAL_MS: u64 = 1000;

/// How long its listeners share one snapshot, in milliseconds.
pub const LIVE_FRESH_MS: u64 = 900;

/// How many listeners it has at most.
pub const LIVE_LISTENERS_MAX: u64 = 32;

/// The most snapshots of one stream; the page then connects again.
pub const LIVE_SNAPSHOTS_MAX: u32 = 3600;

/// The most events of a user that a listener gets at once.
pub const LIVE_EVENTS_MAX: usize = 200;

/// The latest violations that a snapshot shows.
pub const LIVE_VIOLATIONS_MAX: usize = 5;

/// How far the dashboard's history goes back, and its step, in seconds.
pub const HISTORY_S: u32 = 3600;
/// See [`HISTORY_S`].
pub const HISTORY_STEP_S: u64 = 5;

/// Bytes that the history may take: 720 snapshots of 8 KiB.
pub const HISTORY_BYTES_MAX: usize = 720 * 8 * 1024;

/// Marks that the history keeps.
pub const HISTORY_MARKS_MAX: usize = 100;

/// The time over which findings count, in seconds, and the time between two readings of the counters. The alerts have the
/// same window. About twenty readings are kept, of 40 KB each with 30 routes.
pub const FINDINGS_WINDOW_S: u64 = 300;
/// See [`FINDINGS_WINDOW_S`].
pub const FINDINGS_STEP_S: u64 = 15;

/// How often conflicts are read for the findings, in seconds.
pub const FINDINGS_LOOK_S: u64 = 60;

/// Runs of the canary that the findings look at.
pub const FINDINGS_RUNS_MAX: usize = 5;

/// Conflicts whose users the findings name.
pub const FINDINGS_CONFLICTS_MAX: i64 = 100;

/// Runs of the canary that are remembered for administrators.
pub const CANARY_RUNS_MAX: usize = 50;

/// Violations of one user that the continuous audit describes in words.
pub const AUDIT_LINES_MAX: usize = 16;

/// Violations that the continuous audit remembers.
pub const AUDIT_VIOLATIONS_MAX: usize = 100;

/// How long the continuous audit pauses when there is no user to check, or the ledger does not answer, in milliseconds.
pub const AUDIT_REST_MS: u64 = 1000;

/// How many times the check of one user is tried; after that it waits for the next round.
pub const AUDIT_ATTEMPTS_MAX: u32 = 3;

/// The longest that the check of one user may take, in milliseconds.
pub const AUDIT_TIMEOUT_MS: u64 = 60_000;

const _: () = assert!(BULK_BESIDE_SINGLES.0 <= BULK_BESIDE_SINGLES.1);
const _: () = assert!(BULK_BESIDE_SINGLES.1 <= TRANSACTION_ENTRIES_MAX);
const _: () = assert!(BULK_BEFORE_SINGLES <= BULK_BEFORE_SINGLES_ON_POSTGRES);
const _: () = assert!(BULK_BEFORE_SINGLES_ON_POSTGRES <= TRANSACTION_ENTRIES_MAX);
const _: () = assert!(POSTING_ENTRIES_MAX <= TRANSACTION_ENTRIES_MAX);
const _: () = assert!(REVALIDATIONS_MAX <= BACKGROUND_READS_MAX);
const _: () = assert!(LIVE_FRESH_MS < LIVE_INTERVAL_MS);
const _: () = assert!(RETRY_MS.0 <= RETRY_MS.1);
const _: () = assert!(REQUEST_HEAD_MS <= NEXT_HEAD_MS);
