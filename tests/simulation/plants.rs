//! The oracle can see: every planted fault is caught within a few seeds.

use balance_coordinator::planted::Plant;

use super::run::run;

/// Within so many seeds a planted fault has to be caught.
const SEEDS_MAX: u64 = 200;

/// A mistake that only the ledger could make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerPlant {
    /// Accepted is answered, and then the commit does not happen.
    AnsweredBeforeCommit,
    /// A user that can't be read has nothing.
    ZeroForUnknown,
}

/// Any planted fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// In the service.
    Service(Plant),
    /// In the ledger.
    Ledger(LedgerPlant),
}

#[test]
fn every_planted_fault_is_caught() {
    let of_the_ledger = [
        LedgerPlant::AnsweredBeforeCommit,
        LedgerPlant::ZeroForUnknown,
    ]
    .map(Fault::Ledger);
    let faults = Plant::ALL
        .map(Fault::Service)
        .into_iter()
        .chain(of_the_ledger);
    let mut missed = Vec::new();
    for fault in faults {
        let caught = (0..SEEDS_MAX).find_map(|seed| {
            let violations = run(seed, Some(fault)).violations;
            violations
                .into_iter()
                .next()
                .map(|violation| (seed, violation))
        });
        match caught {
            Some((seed, violation)) => println!("{fault:?}: caught by seed {seed}, {violation}"),
            None => missed.push(fault),
        }
    }
    assert!(
        missed.is_empty(),
        "not caught within {SEEDS_MAX} seeds: {missed:?}"
    );
}
