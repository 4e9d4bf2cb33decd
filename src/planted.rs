//! Faults planted on purpose, to show that the simulation (`tests/simulation`) would see them.
//!
//! Without the feature `simulation`, which no release has, nothing is ever planted and every question here is compiled
//! away.

/// A mistake that the code could make; such systems have made each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// A paced change soon after a push is dropped instead of kept for the next one.
    EarlyChangeDropped,
    /// A known event id is applied again.
    DuplicateApplied,
    /// An older state that is read replaces a newer one.
    OlderReadServed,
    /// What is read or committed below a known version is taken for a copy that lags behind, and memory is shown.
    LossIgnored,
    /// An actor is retired with something under way in it.
    RetiredWhileBusy,
    /// A session is pushed a version that it has.
    VersionSentAgain,
    /// A session is pushed to before its snapshot.
    PushedBeforeSnapshot,
    /// No session is told when the ledger is back.
    NeverRecovered,
    /// The last known balance is shown as if it were fresh.
    StaleUnmarked,
    /// While the ledger is known to be away, memory is shown as if it could be trusted.
    OutageForgotten,
    /// A push counts its changes from an older push than the last one.
    ChangesCountedTwice,
    /// A change that every session was shown by a `balance` is pushed with the next one.
    ShownStaysPending,
    /// A commit whose actor died is dropped.
    OrphanForgotten,
    /// A refresh is answered from memory.
    RefreshFromMemory,
    /// The time of the last push is forgotten.
    GapForgotten,
    /// A push that does not fit into a session's outbox is dropped.
    LaggingForgotten,
    /// The last state of a burst waits for a timer that is never set.
    TimerNotSet,
    /// The sessions of an actor that died are not told to attach again.
    SessionsLeftBehind,
    /// What a later number of another node shows to be missing is not distrusted.
    SequenceIgnored,
    /// What a beat of another node shows to be missing is not distrusted.
    BeatIgnored,
    /// What a node that is gone may have committed last is not distrusted.
    GoneIgnored,
    /// What a node sent before it was first heard is not distrusted.
    NewBootIgnored,
    /// A node that was heard once is taken for one that is heard.
    SilenceIgnored,
    /// A beat that was held up is taken for a new one.
    LateBeatBelieved,
    /// That an entry's fate is unknown is not told to other nodes.
    DoubtForgotten,
    /// A node that is not covered checks no more often than one that is.
    UncoveredUnchecked,
    /// Entries below a state that was heard are not asked for.
    VersionGapForgotten,
    /// A deposit that a check found is paced as a reward is.
    HealedPaced,
    /// With other nodes on the ledger, reads are answered from memory.
    ReadsFromMemory,
    /// What is distrusted is not checked before the next round.
    DistrustUnchecked,
}

impl Plant {
    /// Those that other nodes make possible, caught by the simulation of three nodes.
    pub const OF_NODES: [Self; 12] = [
        Self::SequenceIgnored,
        Self::BeatIgnored,
        Self::GoneIgnored,
        Self::NewBootIgnored,
        Self::SilenceIgnored,
        Self::LateBeatBelieved,
        Self::DoubtForgotten,
        Self::UncoveredUnchecked,
        Self::VersionGapForgotten,
        Self::HealedPaced,
        Self::ReadsFromMemory,
        Self::DistrustUnchecked,
    ];

    /// Those of a single node.
    pub const ALL: [Self; 18] = [
        Self::EarlyChangeDropped,
        Self::DuplicateApplied,
        Self::OlderReadServed,
        Self::LossIgnored,
        Self::RetiredWhileBusy,
        Self::VersionSentAgain,
        Self::PushedBeforeSnapshot,
        Self::NeverRecovered,
        Self::StaleUnmarked,
        Self::OutageForgotten,
        Self::ChangesCountedTwice,
        Self::ShownStaysPending,
        Self::OrphanForgotten,
        Self::RefreshFromMemory,
        Self::GapForgotten,
        Self::LaggingForgotten,
        Self::TimerNotSet,
        Self::SessionsLeftBehind,
    ];
}

#[cfg(feature = "simulation")]
std::thread_local! {
    static PLANTED: std::cell::Cell<Option<Plant>> = const { std::cell::Cell::new(None) };
}

/// Plants a fault in everything that runs on this thread, or takes it away.
#[cfg(feature = "simulation")]
pub fn plant(fault: Option<Plant>) {
    PLANTED.set(fault);
}

/// Whether the calling code has to make this mistake.
#[inline(always)]
pub(crate) fn is_planted(fault: Plant) -> bool {
    #[cfg(feature = "simulation")]
    return PLANTED.get() == Some(fault);
    #[cfg(not(feature = "simulation"))]
    {
        let _ = fault;
        false
    }
}
