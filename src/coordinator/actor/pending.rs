//! The changes of a user that not every open session has been sent: what the next push sums up.
//!
//! They are counted from the *base*, the newest state that every session has been sent, by a push or by a `balance`. A push
//! brings all sessions to one state. Between pushes a `balance` may bring some of them further than others; then the
//! changes up to that state are kept apart ([`Stretch`]) from those behind it, so that the base can move there as soon as
//! the other sessions follow or leave. Pure. Bounded: there are no more stretches than sessions.

use smallvec::SmallVec;

use crate::clock::{Moment, Mono};
use crate::coordinator::pacing::{Due, Intervals, Mode, Pacing, Waiting};
use crate::domain::{Account, RequestId, Source};
use crate::planted::{Plant, is_planted};

/// The most sources one push names.
const SOURCES_MAX: usize = 16;

/// The most requests that the log names for one push: the first ones.
const REQUESTS_MAX: usize = 16;

type Sources = SmallVec<[Source; 2]>;

/// The changes that wait for a push.
#[derive(Debug)]
pub(super) struct Pending {
    base: Option<Account>,
    /// The changes that some sessions have been sent, oldest first.
    stretches: Vec<Stretch>,
    /// The last push, and the times of the changes that no session has been sent.
    pacing: Pacing,
    /// The sources of those.
    sources: Sources,
    /// The versions that requests with an id have made, above the base.
    requests: Vec<(i64, RequestId)>,
}

/// Changes up to a state that some sessions have been sent and others have not.
#[derive(Debug)]
struct Stretch {
    end: Account,
    waiting: Option<Waiting>,
    sources: Sources,
}

/// What a push sums up.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sum {
    /// The state that the changes are counted from.
    pub before: Account,
    /// When they were committed.
    pub waiting: Waiting,
    /// What made them.
    pub sources: Sources,
}

impl Pending {
    /// Without a change. `last_push` is when the user was last pushed to, if ever.
    pub(super) fn since(last_push: Option<Mono>) -> Self {
        Self {
            base: None,
            stretches: Vec::new(),
            pacing: Pacing::since(last_push),
            sources: Sources::new(),
            requests: Vec::new(),
        }
    }

    /// The first known state is what changes are counted from.
    pub(super) fn ensure_base(&mut self, known: &Account) {
        self.base.get_or_insert_with(|| known.clone());
    }

    /// Notes a change, unless every session has been sent it.
    pub(super) fn note(&mut self, version: i64, mode: Mode, committed: Moment, source: &Source) {
        let is_dropped = is_planted(Plant::EarlyChangeDropped)
            && mode == Mode::Paced
            && self.pacing.last_push().is_some();
        if !self.is_news(version) || is_dropped {
            return;
        }
        let change = Waiting::of(committed, mode);
        let sources = match self.stretch_of(version) {
            Some(stretch) => {
                stretch.waiting = together(stretch.waiting, Some(change));
                &mut stretch.sources
            }
            None => {
                self.pacing.add(change);
                &mut self.sources
            }
        };
        add_source(sources, source);
    }

    /// Notes the request that has made this version, for the log of the push that tells of it.
    pub(super) fn note_request(&mut self, version: i64, request: Option<RequestId>) {
        if let Some(request) = request
            && self.is_news(version)
            && self.requests.len() < REQUESTS_MAX
        {
            self.requests.push((version, request));
        }
    }

    /// The requests whose changes the next push tells of.
    pub(super) fn requests(&self) -> Vec<RequestId> {
        self.requests.iter().map(|(_, request)| *request).collect()
    }

    /// Notes that a read has found this version, unless every session has been sent it.
    pub(super) fn note_read(&mut self, version: i64, began: Moment, ended: Moment) {
        if self.is_news(version) && self.stretch_of(version).is_none() {
            self.pacing.note_read(began, ended);
        }
    }

    /// Whether the base lacks this version.
    fn is_news(&self, version: i64) -> bool {
        let base = self.base.as_ref();
        base.is_some_and(|base| version > base.version)
    }

    /// The stretch that a version belongs to; `None` when no session has been sent it.
    fn stretch_of(&mut self, version: i64) -> Option<&mut Stretch> {
        let mut stretches = self.stretches.iter_mut();
        stretches.find(|stretch| version <= stretch.end.version)
    }

    /// Moves the base to the newest state that every session has been sent. `known` is the newest state there is; `seen` are
    /// the versions that the sessions that count have been sent. Without any the base stays: the next session to count
    /// is sent the newest state.
    pub(super) fn settle(&mut self, known: &Account, seen: &[i64]) {
        let Some(least) = seen.iter().copied().min() else {
            return;
        };
        if is_planted(Plant::ShownStaysPending) {
            return;
        }
        if least >= known.version {
            self.start_from(known.clone());
            return;
        }
        let ends_at = self.stretches.last().map(|last| last.end.version);
        if seen.contains(&known.version) && ends_at != Some(known.version) {
            self.stretches.push(Stretch {
                end: known.clone(),
                waiting: self.pacing.take(),
                sources: std::mem::take(&mut self.sources),
            });
        }
        let shown = |stretch: &mut Stretch| stretch.end.version <= least;
        if let Some(last) = self.stretches.extract_if(.., shown).last() {
            self.requests.retain(|one| one.0 > last.end.version);
            self.base = Some(last.end);
        }
        self.join_stretches(seen);
    }

    /// Joins each stretch to the next one when no session is left that has been sent just its end.
    fn join_stretches(&mut self, seen: &[i64]) {
        for index in (0..self.stretches.len()).rev() {
            if seen.contains(&self.stretches[index].end.version) {
                continue;
            }
            let Stretch {
                waiting,
                mut sources,
                ..
            } = self.stretches.remove(index);
            let later = match self.stretches.get_mut(index) {
                Some(next) => {
                    next.waiting = together(next.waiting, waiting);
                    &mut next.sources
                }
                None => {
                    waiting.into_iter().for_each(|them| self.pacing.add(them));
                    &mut self.sources
                }
            };
            later
                .iter()
                .for_each(|source| add_source(&mut sources, source));
            *later = sources;
        }
    }

    /// Nothing waits: every session has been sent this state.
    fn start_from(&mut self, state: Account) -> Option<Account> {
        self.stretches.clear();
        self.sources.clear();
        self.requests.clear();
        self.pacing.take();
        self.base.replace(state)
    }

    /// When the changes were committed; `None` without any.
    pub(super) fn waiting(&self) -> Option<Waiting> {
        let earlier = self.stretches.iter().map(|stretch| stretch.waiting);
        earlier.fold(self.pacing.waiting(), together)
    }

    /// When the next push is due; `None` without a change.
    pub(super) fn due(&self, intervals: &Intervals) -> Option<Due> {
        let mut all = self.pacing;
        self.waiting().into_iter().for_each(|them| all.add(them));
        all.due(intervals)
    }

    /// Entries between the base and this version.
    pub(super) fn entries(&self, version: i64) -> i64 {
        self.base.as_ref().map_or(0, |base| version - base.version)
    }

    /// Notes a push of everything up to `state`, and gives what it sums up; `None` when there is nothing.
    pub(super) fn pushed(&mut self, state: &Account, at: Mono) -> Option<Sum> {
        let mut sources = Sources::new();
        let stretches = self.stretches.iter().map(|stretch| &stretch.sources);
        for source in stretches.chain([&self.sources]).flatten() {
            add_source(&mut sources, source);
        }
        self.waiting()
            .into_iter()
            .for_each(|them| self.pacing.add(them));
        let waiting = self.pacing.pushed(at);
        let before = self.start_from(state.clone());
        if is_planted(Plant::ChangesCountedTwice) {
            self.base.clone_from(&before);
        }
        Some(Sum {
            before: before?,
            waiting: waiting?,
            sources,
        })
    }
}

fn together(one: Option<Waiting>, other: Option<Waiting>) -> Option<Waiting> {
    one.into_iter().chain(other).reduce(Waiting::and)
}

fn add_source(sources: &mut Sources, source: &Source) {
    if sources.len() < SOURCES_MAX && !sources.contains(source) {
        sources.push(source.clone());
    }
}

#[cfg(test)]
mod tests;
