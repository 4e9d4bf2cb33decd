//! What a balance change *is*: identifiers, money, entries and the pure rule that posts them.
//!
//! Owns no clock, no SQL, no actor and no HTTP; everything here is a value or a pure function and
//! may be used from any thread. Start reading at [`posting::post`].

mod amount;
mod currency;
mod entry;
mod ids;
pub mod posting;
mod ton_address;
mod tx_hash;

pub use amount::{Amount, AmountError, Balances, decimal};
pub use currency::{Currencies, Currency, CurrencyError, CurrencyId};
pub use entry::{Change, Details, Kind, MetadataError, NewEntry, Reversal, Source, check_metadata};
pub use ids::{EventId, IdError, RequestId, SessionId, TelegramId, UserId};
pub use posting::{
    Account, Applied, CONFLICT_CODE, Found, Outcome, Recorded, Reversed, Reversible, Rules, post,
};
pub use ton_address::{TonAddress, TonAddressError};
pub use tx_hash::{TxHash, TxHashError};

#[cfg(test)]
mod tests;
