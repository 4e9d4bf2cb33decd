//! The oracle can see: every planted fault is caught within a few seeds.

use balance_coordinator::planted::Plant;

use super::harness::all_are_caught;
use super::run::run;

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
    ];
    let of_the_service = Plant::ALL.map(Fault::Service).into_iter();
    let faults: Vec<Fault> = of_the_service
        .chain(of_the_ledger.map(Fault::Ledger))
        .collect();
    all_are_caught(&faults, |seed, fault| run(seed, Some(fault)));
}
