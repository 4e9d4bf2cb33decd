//! The request that a line of the log belongs to.
//!
//! A request with an id runs within it ([`within`]), and messages carry the id to other threads, which log in its name
//! ([`of`]). Requests without an id cost nothing here: nothing is stored for them.

use smallvec::SmallVec;

use crate::domain::RequestId;

/// A push may be of several requests, most other lines are of one.
pub(super) type Requests = SmallVec<[RequestId; 1]>;

tokio::task_local! {
    static REQUESTS: Requests;
}

/// Runs a future in the name of a request.
pub async fn within<F: Future>(request: RequestId, future: F) -> F::Output {
    REQUESTS.scope(Requests::from([request]), future).await
}

/// Works in the name of these requests, if there are any; else in that of the current one.
pub fn of<T>(requests: impl IntoIterator<Item = RequestId>, work: impl FnOnce() -> T) -> T {
    let requests: Requests = requests.into_iter().collect();
    if requests.is_empty() {
        work()
    } else {
        REQUESTS.sync_scope(requests, work)
    }
}

/// The same work in the name of the current request, for another thread.
pub fn carried<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let request = current();
    move || of(request, work)
}

/// The current request, when it has an id.
pub fn current() -> Option<RequestId> {
    all_current().first().copied()
}

/// All current requests: none, mostly.
pub(super) fn all_current() -> Requests {
    // An error means that there is none.
    REQUESTS.try_with(Requests::clone).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> RequestId {
        RequestId::parse(&format!("{number:032x}")).expect("an id")
    }

    #[actix_rt::test]
    async fn a_request_is_current_within_its_future_and_where_it_is_carried() {
        assert_eq!(current(), None);
        let (one, other) = (id(1), id(2));
        let both = async |own| {
            assert_eq!(current(), Some(own));
            tokio::task::yield_now().await;
            assert_eq!(current(), Some(own));
            let carried = carried(current);
            std::thread::spawn(carried).join().expect("no panic")
        };
        let found = tokio::join!(within(one, both(one)), within(other, both(other)));
        assert_eq!(found, (Some(one), Some(other)));
        assert_eq!(current(), None);
    }

    #[test]
    fn work_is_in_the_name_of_requests_that_are_given() {
        let seen = || all_current().to_vec();
        of([id(1), id(2)], || {
            assert_eq!(seen(), [id(1), id(2)]);
            of(None, || assert_eq!(seen().len(), 2));
            of(Some(id(3)), || assert_eq!(seen(), [id(3)]));
        });
        assert_eq!(seen(), []);
    }
}
