//! The tables, for Diesel; `migrations/` holds their definitions. The same on SQLite and PostgreSQL, but for
//! `entries.event_digest`, which is SQLite's alone.
#![allow(missing_docs, reason = "the table! macro generates undocumented items")]

diesel::table! {
    __diesel_schema_migrations (version) {
        version -> Text,
    }
}

diesel::table! {
    ledger_info (id) {
        id -> BigInt,
        epoch -> Text,
        created_at_us -> BigInt,
    }
}

diesel::table! {
    currencies (code) {
        code -> Text,
        decimals -> BigInt,
    }
}

diesel::table! {
    accounts (user_id) {
        user_id -> BigInt,
        version -> BigInt,
        telegram_id -> Nullable<BigInt>,
        created_at_us -> BigInt,
        updated_at_us -> BigInt,
    }
}

diesel::table! {
    balances (user_id, currency) {
        user_id -> BigInt,
        currency -> Text,
        amount -> BigInt,
    }
}

diesel::table! {
    entries (id) {
        id -> BigInt,
        user_id -> BigInt,
        version -> BigInt,
        kind -> Text,
        source -> Text,
        currency -> Text,
        amount -> BigInt,
        balance_after -> BigInt,
        event_id -> Text,
        event_digest -> Nullable<Binary>,
        tx_hash -> Nullable<Binary>,
        tx_lt -> Nullable<Text>,
        tx_account -> Nullable<Text>,
        reason -> Nullable<Text>,
        metadata -> Nullable<Text>,
        occurred_at_us -> Nullable<BigInt>,
        reverses -> Nullable<Text>,
        left_after -> Nullable<BigInt>,
        other_balances -> Nullable<Text>,
        committed_at_us -> BigInt,
    }
}

// Only on SQLite, and only while entries of an earlier version are filled in.
diesel::table! {
    filling (id) {
        id -> BigInt,
        user_id -> BigInt,
        version -> BigInt,
        filled -> BigInt,
        total -> BigInt,
        last_entry -> BigInt,
    }
}

diesel::table! {
    conflicts (id) {
        id -> BigInt,
        event_id -> Text,
        user_id -> BigInt,
        kind -> Text,
        currency -> Text,
        amount -> BigInt,
        count -> BigInt,
        first_user_id -> BigInt,
        first_version -> BigInt,
        second -> Text,
        first_seen_at_us -> BigInt,
        seen_at_us -> BigInt,
    }
}

diesel::table! {
    admin_log (id) {
        id -> BigInt,
        action_id -> Text,
        at_us -> BigInt,
        admin -> Text,
        action -> Text,
        user_id -> BigInt,
    }
}

diesel::allow_tables_to_appear_in_same_query!(accounts, balances, entries, conflicts, currencies);
