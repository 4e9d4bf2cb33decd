//! `import --balances`: each balance that a file names becomes what the file says, by one adjustment of the difference.

use serde_json::json;
use serde_json::value::RawValue;

use crate::domain::{Amount, Currencies};
use crate::migration::service::{Posted, Service};
use crate::migration::table::{self, Balance, ledgers};
use crate::migration::{Counts, Input, MigrationError, Observer, Options};

/// A balance that differs from the ledger's.
struct Difference {
    balance: Balance,
    ledgers: Amount,
    /// What has to be added to the ledger's.
    amount: Amount,
}

/// Aligns the ledger with a file, under a label that makes each adjustment count once. With `is_dry_run` it only tells what
/// it would do. [`Counts::known`] are balances that were right.
///
/// # Errors
/// [`MigrationError`]. Run again with the same label, it goes on.
pub async fn import_balances(
    options: &Options,
    input: Input,
    label: &str,
    is_dry_run: bool,
    observer: &mut dyn Observer,
) -> Result<Counts, MigrationError> {
    let currencies = &options.currencies;
    let service = Service::new(options);
    let (balances, rejected) = table::read(input, currencies, observer)?;
    let mut counts = Counts {
        rejected,
        ..Counts::default()
    };
    observer.begin(balances.len() as u64);
    for some in balances.chunks(options.batch_entries) {
        let differences = differences(&service, currencies, some).await?;
        counts.known += (some.len() - differences.len()) as u64;
        if is_dry_run {
            counts.accepted += differences.len() as u64;
            for one in &differences {
                observer.found(&one.told(currencies))?;
            }
        } else {
            align(
                &service,
                currencies,
                &differences,
                label,
                &mut counts,
                observer,
            )
            .await?;
        }
        observer.advance(some.len() as u64);
    }
    Ok(counts)
}

async fn differences(
    service: &Service<'_>,
    currencies: &Currencies,
    balances: &[Balance],
) -> Result<Vec<Difference>, MigrationError> {
    let ledgers = ledgers(service, currencies, balances).await?;
    let differences = balances
        .iter()
        .zip(ledgers)
        .filter_map(|(balance, ledgers)| {
            // Both are amounts that are not below zero.
            let amount = balance.amount.checked_sub(ledgers)?;
            (amount != Amount::ZERO).then_some(Difference {
                balance: *balance,
                ledgers,
                amount,
            })
        });
    Ok(differences.collect())
}

/// Posts the adjustments.
async fn align(
    service: &Service<'_>,
    currencies: &Currencies,
    differences: &[Difference],
    label: &str,
    counts: &mut Counts,
    observer: &mut dyn Observer,
) -> Result<(), MigrationError> {
    let items: Vec<Box<RawValue>> = differences
        .iter()
        .map(|one| one.adjustment(currencies, label))
        .collect::<Result<_, _>>()
        .map_err(std::io::Error::from)?;
    let items: Vec<&RawValue> = items.iter().map(AsRef::as_ref).collect();
    let posted = service.post(&items).await?;
    // Whose event id was there before: of this run, when an answer was lost, or of another with the same label.
    let mut again = Vec::new();
    for (one, posted) in differences.iter().zip(posted) {
        match posted {
            Posted::Accepted => counts.accepted += 1,
            Posted::Duplicate => again.push(one.balance),
            Posted::Rejected { code, .. } if code == "idempotency_conflict" => {
                again.push(one.balance);
            }
            Posted::Rejected { code, field } => {
                counts.rejected += 1;
                let why = format!("the service refuses the adjustment {field}");
                let refused = one.balance.refuse(currencies, &code, why.trim_end().into());
                observer.refused(&refused)?;
            }
        }
    }
    let now = ledgers(service, currencies, &again).await?;
    for (balance, now) in again.iter().zip(now) {
        if now == balance.amount {
            counts.accepted += 1;
            continue;
        }
        counts.rejected += 1;
        let decimals = currencies.get(balance.currency).decimals;
        let why = format!(
            "the label {label} has adjusted this balance before, and it is {} now: use another label",
            now.display(decimals)
        );
        observer.refused(&balance.refuse(currencies, "label_used", why))?;
    }
    Ok(())
}

impl Difference {
    fn adjustment(
        &self,
        currencies: &Currencies,
        label: &str,
    ) -> Result<Box<RawValue>, serde_json::Error> {
        let currency = currencies.get(self.balance.currency);
        let user_id = self.balance.user_id.get();
        serde_json::value::to_raw_value(&json!({
            "kind": "adjustment",
            "event_id": format!("import:{label}:{user_id}:{}", currency.code),
            "user_id": user_id,
            "currency": currency.code,
            "amount": self.amount.display(currency.decimals).to_string(),
            "reason": format!("import {label}"),
            "source": "import",
        }))
    }

    fn told(&self, currencies: &Currencies) -> String {
        let Balance {
            user_id,
            currency,
            amount,
            ..
        } = self.balance;
        let currency = currencies.get(currency);
        let [theirs, ours, change] =
            [amount, self.ledgers, self.amount].map(|amount| amount.display(currency.decimals));
        let code = &currency.code;
        format!("{} {code} {theirs} {ours} {change}", user_id.get())
    }
}
