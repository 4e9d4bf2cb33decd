//! `compare`: each balance in which a file and the ledger differ, of the users of both.

use crate::domain::{Amount, Currencies, CurrencyId, UserId, decimal};
use crate::migration::service::{Service, ServiceError, UserBalances};
use crate::migration::table::{self, Balance, amount};
use crate::migration::{Input, MigrationError, Observer, Options};

/// What a comparison has found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compared {
    /// Balances that differ.
    pub differences: u64,
    /// Lines of the file that can't be compared.
    pub rejected: u64,
}

/// Tells a line for each balance that differs, `user_id currency theirs ours difference`, and last a total for each
/// currency. *Theirs* is the file's, and the difference is what has to be added to ours.
///
/// # Errors
/// [`MigrationError`].
pub async fn compare(
    options: &Options,
    input: Input,
    observer: &mut dyn Observer,
) -> Result<Compared, MigrationError> {
    let currencies = &options.currencies;
    let (balances, rejected) = table::read(input, currencies, observer)?;
    observer.begin(balances.len() as u64);
    let mut comparison = Comparison {
        currencies,
        theirs: &balances,
        totals: vec![(0, 0); currencies.count()],
        differences: 0,
        observer,
    };
    let service = Service::new(options);
    let mut after = 0;
    loop {
        let page = service.balances(after).await?;
        for user in &page.balances {
            comparison.with_user(user)?;
        }
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    comparison.end()?;
    Ok(Compared {
        differences: comparison.differences,
        rejected,
    })
}

struct Comparison<'a> {
    currencies: &'a Currencies,
    /// What of the file was not compared yet, in the order of users and currencies.
    theirs: &'a [Balance],
    /// Theirs and ours by currency.
    totals: Vec<(i128, i128)>,
    differences: u64,
    observer: &'a mut dyn Observer,
}

impl Comparison<'_> {
    /// The ledger's next user.
    fn with_user(&mut self, user: &UserBalances) -> Result<(), MigrationError> {
        let user_id = UserId::new(user.user_id)
            .map_err(|_| ServiceError::Unexpected(format!("user {}", user.user_id)))?;
        while let Some(first) = self.theirs.first().filter(|one| one.user_id < user_id) {
            self.take(*first)?;
        }
        let unknown = |code: &&String| self.currencies.find(code).is_none();
        if let Some(code) = user.balances.keys().find(unknown) {
            let why = format!("a balance in {code}, which is not configured here");
            return Err(ServiceError::Unexpected(why).into());
        }
        let currencies = self.currencies;
        for (currency, _) in currencies.iter() {
            let ours = amount(user, currencies, currency)?;
            let is_it = |one: &&Balance| (one.user_id, one.currency) == (user_id, currency);
            let theirs = match self.theirs.first().filter(is_it) {
                Some(first) => {
                    self.theirs = &self.theirs[1..];
                    self.observer.advance(1);
                    first.amount
                }
                None => Amount::ZERO,
            };
            self.tell(user_id, currency, theirs, ours)?;
        }
        Ok(())
    }

    /// A balance of a user that the ledger does not know.
    fn take(&mut self, first: Balance) -> Result<(), MigrationError> {
        self.theirs = &self.theirs[1..];
        self.observer.advance(1);
        self.tell(first.user_id, first.currency, first.amount, Amount::ZERO)
    }

    fn tell(
        &mut self,
        user_id: UserId,
        currency: CurrencyId,
        theirs: Amount,
        ours: Amount,
    ) -> Result<(), MigrationError> {
        let (theirs, ours) = (i128::from(theirs.minor()), i128::from(ours.minor()));
        let total = &mut self.totals[currency.index()];
        *total = (total.0 + theirs, total.1 + ours);
        if theirs != ours {
            self.differences += 1;
            self.line(&user_id.get().to_string(), currency, theirs, ours)?;
        }
        Ok(())
    }

    /// The rest of the file, and the totals.
    fn end(&mut self) -> Result<(), MigrationError> {
        while let Some(first) = self.theirs.first() {
            self.take(*first)?;
        }
        for (currency, _) in self.currencies.iter() {
            let (theirs, ours) = self.totals[currency.index()];
            self.line("total", currency, theirs, ours)?;
        }
        Ok(())
    }

    fn line(
        &mut self,
        of: &str,
        currency: CurrencyId,
        theirs: i128,
        ours: i128,
    ) -> Result<(), MigrationError> {
        let currency = self.currencies.get(currency);
        let signed = |minor: i128| {
            let sign = if minor < 0 { "-" } else { "" };
            format!("{sign}{}", decimal(minor.unsigned_abs(), currency.decimals))
        };
        let [theirs, ours, difference] = [theirs, ours, theirs - ours].map(signed);
        let line = format!("{of} {} {theirs} {ours} {difference}", currency.code);
        Ok(self.observer.found(&line)?)
    }
}
