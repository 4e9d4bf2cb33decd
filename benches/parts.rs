//! Measures the pure parts: the posting rule, batches, pacing, and parsing of input.
//!
//! `cargo bench --bench parts`; `benches/guard` has figures that do not depend on the machine.

#[allow(dead_code, reason = "each bench uses a part of the rig")]
mod rig;

use std::hint::black_box;

use balance_coordinator::clock::Moment;
use balance_coordinator::config::WebhookSecret;
use balance_coordinator::coordinator::pacing::{Intervals, Mode, Pacing};
use balance_coordinator::credentials::webhook::{Signed, sign};
use balance_coordinator::domain::{Amount, Currencies, Found, Kind, Rules, TxHash, post};
use balance_coordinator::http::{parse_body, parse_items};
use balance_coordinator::ledger::batch::{Group, Keys, Loaded, plan};
use balance_coordinator::limits::TRANSACTION_ENTRIES_MAX;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const BODY: &str = r#"{"event_id":"farm:184:2025-08-04T10:05Z","user_id":184,"currency":"UNI","amount":"12.5","source":"farming"}"#;
const RULES: Rules = Rules { auto_create: true };

fn posting(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("posting");
    let (account, entry) = (
        rig::account(7),
        rig::entry(184, "farm:184:2025-08-04T10:05Z", Kind::Reward, 5),
    );
    group.bench_function("one entry", |bencher| {
        bencher.iter(|| {
            post(
                black_box(&account),
                Found::default(),
                black_box(&entry),
                RULES,
            )
        });
    });
    let (entries, accounts) = rig::batch(TRANSACTION_ENTRIES_MAX);
    group.throughput(Throughput::Elements(entries.len() as u64));
    group.bench_function("keys of a transaction", |bencher| {
        bencher.iter(|| {
            Keys::of(&[Group {
                entries: black_box(&entries),
                is_atomic: false,
            }])
        });
    });
    let groups = [Group {
        entries: &entries,
        is_atomic: false,
    }];
    let keys = Keys::of(&groups);
    group.bench_function("plan of a transaction", |bencher| {
        bencher.iter_batched(
            || Loaded {
                accounts: accounts.clone(),
                ..Loaded::default()
            },
            |loaded| plan(&groups, &keys, loaded, RULES, 1),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn pacing(criterion: &mut Criterion) {
    let intervals = Intervals {
        debounce_us: 1_500_000,
        min_interval_us: 5_000_000,
        direct_interval_us: 100_000,
    };
    criterion.bench_function("pacing/note, due, pushed", |bencher| {
        let (mut pacing, mut now) = (Pacing::default(), Moment::default());
        bencher.iter(|| {
            now.mono = now.mono.plus_us(1_000_000);
            pacing.note(black_box(now), Mode::Paced);
            if pacing.due(&intervals).is_some_and(|due| due.at <= now.mono) {
                pacing.pushed(now.mono);
            }
        });
    });
}

/// Items in the batch that is read.
const BATCH_ITEMS: usize = 10_000;

fn batch_body() -> Vec<u8> {
    let item = |n| {
        format!(
            r#"{{"kind":"reward","event_id":"farm:{n}:2025-08-04T10:05Z","user_id":{n},"currency":"UNI","amount":"12.5","source":"farming"}}"#
        )
    };
    let items: Vec<String> = (1..=BATCH_ITEMS).map(item).collect();
    format!(r#"{{"entries":[{}]}}"#, items.join(",")).into_bytes()
}

fn parsing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parsing");
    let currencies = Currencies::default();
    group.bench_function("amount", |bencher| {
        bencher.iter(|| Amount::parse(black_box("1234.567890123"), 9))
    });
    let hash = STANDARD.encode([0xfb; 32]);
    group.bench_function("transaction hash", |bencher| {
        bencher.iter(|| TxHash::parse(black_box(&hash)))
    });
    group.bench_function("body of an entry", |bencher| {
        bencher.iter(|| parse_body(black_box(BODY.as_bytes()), Kind::Reward, &currencies));
    });
    let secret =
        WebhookSecret::parse(&format!("whsec_{}", STANDARD.encode([7; 32]))).expect("a secret");
    let signature = sign(secret.as_bytes(), "id", "1000", BODY.as_bytes());
    let secrets = [secret];
    group.bench_function("signature of an entry", |bencher| {
        let signed = Signed {
            id: "id",
            timestamp: "1000",
            signature: &signature,
        };
        bencher.iter(|| {
            signed
                .verify(&secrets, black_box(BODY.as_bytes()), 1000, 300)
                .is_ok()
        });
    });
    let batch = batch_body();
    group.throughput(Throughput::Bytes(batch.len() as u64));
    group.bench_function("body of a batch", |bencher| {
        bencher.iter(|| assert_eq!(parse_items(black_box(&batch), &currencies), BATCH_ITEMS));
    });
    group.finish();
}

criterion_group!(benches, posting, pacing, parsing);
criterion_main!(benches);
