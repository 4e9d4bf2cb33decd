//! The balances that a file names, in the order of users and currencies: 32 bytes each.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::domain::{Amount, Currencies, CurrencyId, UserId};
use crate::migration::lines::Row;
use crate::migration::service::{Service, ServiceError, UserBalances};
use crate::migration::{Input, MigrationError, Observer, Refused};

/// The columns of a file of balances.
const COLUMNS: [&str; 3] = ["user_id", "currency", "amount"];

/// A balance that a file names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    /// Whose.
    pub user_id: UserId,
    /// Of which currency.
    pub currency: CurrencyId,
    /// How much; not below zero.
    pub amount: Amount,
    /// The line that names it.
    pub line: u64,
}

/// What a row has; other fields are of no interest.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    user_id: Option<&'a RawValue>,
    #[serde(borrow)]
    currency: Option<Cow<'a, str>>,
    #[serde(borrow)]
    amount: Option<&'a RawValue>,
}

impl Balance {
    /// Refused on its line.
    pub fn refuse(&self, currencies: &Currencies, code: &str, detail: String) -> Refused {
        let currency = currencies.get(self.currency);
        Refused {
            line: self.line,
            code: code.to_owned(),
            detail,
            content: json!({
                "user_id": self.user_id.get(),
                "currency": currency.code,
                "amount": self.amount.display(currency.decimals).to_string(),
            }),
        }
    }
}

/// All balances of a file, sorted, and how many lines were refused. What is named twice counts as it stands first.
///
/// # Errors
/// [`MigrationError::File`], or what the observer says.
pub fn read(
    input: Input,
    currencies: &Currencies,
    observer: &mut dyn Observer,
) -> Result<(Vec<Balance>, u64), MigrationError> {
    let mut rows = input.rows(&COLUMNS)?;
    let (mut balances, mut refused) = (Vec::new(), 0);
    while let Some(row) = rows.next_row()? {
        match row.and_then(|row| balance(&row, currencies)) {
            Ok(balance) => balances.push(balance),
            Err(one) => {
                refused += 1;
                observer.refused(&one)?;
            }
        }
    }
    let key = |one: &Balance| (one.user_id, one.currency.index());
    balances.sort_unstable_by_key(|one| (key(one), one.line));
    let mut told = Ok(());
    balances.dedup_by(|again, first| {
        let is_again = key(again) == key(first);
        if is_again && told.is_ok() {
            refused += 1;
            let detail = format!("line {} names this balance already", first.line);
            told = observer.refused(&again.refuse(currencies, "named_twice", detail));
        }
        is_again
    });
    told?;
    Ok((balances, refused))
}

fn balance(row: &Row, currencies: &Currencies) -> Result<Balance, Refused> {
    let fields: Fields<'_> = serde_json::from_str(row.object.get())
        .map_err(|error| row.refuse("invalid_field", error.to_string()))?;
    let missing = |field: &str| row.refuse("invalid_field", format!("{field} is missing"));
    let user_id = fields.user_id.ok_or_else(|| missing("user_id"))?;
    let user_id = UserId::parse(user_id.get())
        .map_err(|error| row.refuse("invalid_field", format!("user_id {error}")))?;
    let code = fields.currency.ok_or_else(|| missing("currency"))?;
    let currency = currencies
        .find(&code)
        .ok_or_else(|| row.refuse("unknown_currency", "the currency is not configured"))?;
    let amount = fields.amount.ok_or_else(|| missing("amount"))?;
    let wrong = |why: String| row.refuse("invalid_amount", format!("amount {why}"));
    let text: Cow<'_, str> = serde_json::from_str(amount.get())
        .map_err(|_| wrong("must be a string: a JSON number may have been rounded".into()))?;
    if text.starts_with('-') {
        return Err(wrong("must not be below zero".into()));
    }
    let amount = Amount::parse_balance(&text, currencies.get(currency).decimals)
        .map_err(|error| wrong(error.to_string()))?;
    Ok(Balance {
        user_id,
        currency,
        amount,
        line: row.line,
    })
}

/// What the ledger has of the same users and currencies, in the same order; 0 of a user that it does not know.
///
/// # Errors
/// [`ServiceError`].
pub async fn ledgers(
    service: &Service<'_>,
    currencies: &Currencies,
    balances: &[Balance],
) -> Result<Vec<Amount>, ServiceError> {
    let mut found = Vec::with_capacity(balances.len());
    while let Some(first) = balances.get(found.len()) {
        let page = service.balances(first.user_id.get() - 1).await?;
        let last = page.next.unwrap_or(i64::MAX);
        let mut users = page.balances.iter().peekable();
        let covered = balances[found.len()..]
            .iter()
            .take_while(|one| one.user_id.get() <= last);
        for one in covered {
            while users
                .next_if(|user| user.user_id < one.user_id.get())
                .is_some()
            {}
            let user = users
                .peek()
                .filter(|user| user.user_id == one.user_id.get());
            found.push(match user {
                Some(user) => amount(user, currencies, one.currency)?,
                None => Amount::ZERO,
            });
        }
    }
    Ok(found)
}

/// What a user has of one currency, as the service tells it.
///
/// # Errors
/// [`ServiceError::Unexpected`] when its currencies are others than the configuration's.
pub fn amount(
    user: &UserBalances,
    currencies: &Currencies,
    currency: CurrencyId,
) -> Result<Amount, ServiceError> {
    let currency = currencies.get(currency);
    let Some(text) = user.balances.get(&currency.code) else {
        return Ok(Amount::ZERO);
    };
    Amount::parse_balance(text, currency.decimals).map_err(|_| {
        ServiceError::Unexpected(format!(
            "user {} has {text} {}, which the configured currency can't hold",
            user.user_id, currency.code
        ))
    })
}
