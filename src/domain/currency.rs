//! The currencies that exist, and how many decimals each has.

use serde::Serialize;

/// Position of a currency in [`Currencies`], and its decimals; valid for one run of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CurrencyId {
    index: u8,
    decimals: u8,
}

impl CurrencyId {
    /// The index into a [`super::Balances`].
    pub const fn index(self) -> usize {
        self.index as usize
    }

    /// How many digits its amounts have after the point.
    pub const fn decimals(self) -> u8 {
        self.decimals
    }
}

/// One currency: its code and the number of digits after the point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Currency {
    /// 1–16 of `A-Z`, `0-9`, `_`, starting with a letter.
    pub code: String,
    /// 0–18: amounts are kept as integers of 10^-decimals.
    pub decimals: u8,
}

/// Why a set of currencies was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CurrencyError {
    /// The code breaks the form.
    #[error("currencies.{0}: a code is 1 to 16 of A-Z, 0-9 and _, starting with a letter")]
    Code(String),
    /// More decimals than an i64 of minor units can carry sensibly.
    #[error("currencies.{0}.decimals: must be 0 to 18")]
    Decimals(String),
    /// None, or more than [`Currencies::COUNT_MAX`].
    #[error("currencies: between 1 and 32 are possible")]
    Count,
}

/// All configured currencies, ordered by code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Currencies(Vec<Currency>);

impl Currencies {
    /// The most currencies one service can have.
    pub const COUNT_MAX: usize = 32;
    /// The most decimals a currency can have: 10^18 minor units still fit an i64.
    pub const DECIMALS_MAX: u8 = 18;

    /// Checks and orders the currencies; a repeated code keeps its last definition.
    ///
    /// # Errors
    /// [`CurrencyError`], naming the configuration key.
    pub fn new(all: impl IntoIterator<Item = (String, u8)>) -> Result<Self, CurrencyError> {
        let ordered: std::collections::BTreeMap<String, u8> = all.into_iter().collect();
        if ordered.is_empty() || ordered.len() > Self::COUNT_MAX {
            return Err(CurrencyError::Count);
        }
        let checked = ordered.into_iter().map(|(code, decimals)| {
            let starts_well = code.starts_with(|c: char| c.is_ascii_uppercase());
            let spelled_well = code
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
            if !starts_well || !spelled_well || code.len() > 16 {
                return Err(CurrencyError::Code(code));
            }
            if decimals > Self::DECIMALS_MAX {
                return Err(CurrencyError::Decimals(code));
            }
            Ok(Currency { code, decimals })
        });
        Ok(Self(checked.collect::<Result<_, _>>()?))
    }

    /// How many there are, at least 1.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Finds a currency by its exact code.
    pub fn find(&self, code: &str) -> Option<CurrencyId> {
        let index = self
            .0
            .binary_search_by(|c| c.code.as_str().cmp(code))
            .ok()?;
        Some(CurrencyId {
            index: u8::try_from(index).ok()?,
            decimals: self.0[index].decimals,
        })
    }

    /// The currency of an id that this set gave.
    pub fn get(&self, id: CurrencyId) -> &Currency {
        &self.0[id.index()]
    }

    /// Every currency with its id, ordered by code.
    pub fn iter(&self) -> impl Iterator<Item = (CurrencyId, &Currency)> {
        (0u8..).zip(&self.0).map(|(index, currency)| {
            let decimals = currency.decimals;
            (CurrencyId { index, decimals }, currency)
        })
    }
}

impl Default for Currencies {
    /// TON and UNI, nine decimals each.
    fn default() -> Self {
        let both = ["TON", "UNI"].map(|code| Currency {
            code: code.into(),
            decimals: 9,
        });
        Self(both.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_decimals_are_checked_by_name() {
        let one = |code: &str, decimals| Currencies::new([(code.to_owned(), decimals)]);
        assert!(one("TON", 9).is_ok());
        assert_eq!(one("ton", 9), Err(CurrencyError::Code("ton".into())));
        assert_eq!(one("1X", 9), Err(CurrencyError::Code("1X".into())));
        assert_eq!(one("X", 19), Err(CurrencyError::Decimals("X".into())));
        assert_eq!(Currencies::new([]), Err(CurrencyError::Count));
    }

    #[test]
    fn ids_find_their_currency_again() {
        let all = Currencies::new([("UNI".into(), 9), ("STARS".into(), 0), ("TON".into(), 9)])
            .expect("valid");
        assert_eq!(all.count(), 3);
        for (id, currency) in all.iter() {
            assert_eq!(all.find(&currency.code), Some(id));
            assert_eq!(all.get(id), currency);
            assert_eq!(id.decimals(), currency.decimals);
        }
        assert_eq!(all.find("EUR"), None);
    }
}
