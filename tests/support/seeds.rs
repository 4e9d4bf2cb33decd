//! The seeds of random tests: a part of each is the same in every run, and a part is new.
//!
//! `BALANCE_TEST_SEED` repeats the new part; each test prints it.

use std::sync::OnceLock;

use rand::SeedableRng as _;
use rand::rngs::StdRng;

/// The seed of what is the same in every run.
const FIXED_SEED: u64 = 20_250_804;

/// A number that a variable overrides for longer runs by hand.
pub fn size(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .map_or(default, |value| value.parse().expect("a number"))
}

/// The seed of what is new in this run.
pub fn fresh_seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| match std::env::var("BALANCE_TEST_SEED") {
        Ok(seed) => seed.parse().expect("BALANCE_TEST_SEED: a number"),
        Err(_) => u64::from(rand::random::<u32>()),
    })
}

/// The random numbers of one of several senders, peers or readers: of those with an even number they are the same in
/// every run.
pub fn dice_of(index: usize) -> StdRng {
    let seeds = [FIXED_SEED, fresh_seed()];
    StdRng::seed_from_u64(seeds[index % 2].wrapping_add(index as u64))
}

/// The random numbers of a test that goes on in rounds.
pub struct Dice([StdRng; 2]);

impl Dice {
    /// Prints how the test is repeated: `how` is what follows the seed.
    pub fn new(how: &str) -> Self {
        println!("again: BALANCE_TEST_SEED={} {how}", fresh_seed());
        Self([FIXED_SEED, fresh_seed()].map(StdRng::seed_from_u64))
    }

    /// Those of a round: in even ones they are the same in every run.
    pub fn of(&mut self, round: usize) -> &mut StdRng {
        &mut self.0[round % 2]
    }
}
