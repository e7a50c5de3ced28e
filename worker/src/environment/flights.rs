//! Work that is done once however many wait for it, and told to all of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OnceCell, watch};

use super::EnvironmentError;

/// Where the step that is being made ready is told, in words.
pub type Steps = watch::Sender<String>;

type Key = [u8; 32];

/// What is being made right now, by what it is made of.
#[derive(Debug)]
pub(super) struct Flights<T> {
    flights: Mutex<BTreeMap<Key, Arc<Flight<T>>>>,
}

#[derive(Debug)]
struct Flight<T> {
    result: OnceCell<Result<T, EnvironmentError>>,
    steps: Steps,
}

impl<T: Clone> Flights<T> {
    pub(super) fn new() -> Self {
        Self { flights: Mutex::new(BTreeMap::new()) }
    }

    /// Does the work, or waits for whoever does it already; tells `steps` how it goes.
    ///
    /// If whoever does it is dropped, one of those who wait begins anew. A failure is shared by
    /// those that wait, and tried again for the next.
    ///
    /// # Errors
    ///
    /// Those of the work.
    pub(super) async fn join<W: Future<Output = Result<T, EnvironmentError>>>(
        &self,
        key: Key,
        steps: &Steps,
        work: impl FnOnce(Steps) -> W,
    ) -> Result<T, EnvironmentError> {
        let new = || Arc::new(Flight { result: OnceCell::new(), steps: Steps::default() });
        let flight = Arc::clone(self.flights().entry(key).or_insert_with(new));
        let mut told = flight.steps.subscribe();
        told.mark_changed(); // Who comes late wants to know, too.
        let result = flight.result.get_or_init(|| work(flight.steps.clone()));
        tokio::pin!(result);
        let result = loop {
            tokio::select! {
                biased;
                result = &mut result => break result.clone(),
                Ok(()) = told.changed() => {
                    let step = told.borrow_and_update().clone();
                    if !step.is_empty() {
                        steps.send_replace(step);
                    }
                }
            }
        };
        let mut flights = self.flights();
        if flights.get(&key).is_some_and(|current| Arc::ptr_eq(current, &flight)) {
            flights.remove(&key);
        }
        result
    }

    fn flights(&self) -> MutexGuard<'_, BTreeMap<Key, Arc<Flight<T>>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;

    use super::*;

    const KEY: Key = [7; 32];

    #[tokio::test]
    async fn work_is_done_once_and_told_to_all_who_wait() {
        let flights = Flights::new();
        let (go, done) = (Notify::new(), Mutex::new(0));
        let work = |steps: Steps| async {
            steps.send_replace("working".to_owned());
            go.notified().await;
            *done.lock().unwrap() += 1;
            drop(steps);
            Ok(1)
        };
        let (early, late) = (Steps::default(), Steps::default());
        let mut told = late.subscribe();
        let tell = async {
            told.changed().await.unwrap();
            assert_eq!(*told.borrow(), "working");
            go.notify_one();
        };
        let (first, second, ()) =
            tokio::join!(flights.join(KEY, &early, work), flights.join(KEY, &late, work), tell);
        assert_eq!((first, second, *done.lock().unwrap()), (Ok(1), Ok(1), 1));
        assert_eq!(*early.borrow(), "working");
        go.notify_one();
        assert_eq!(flights.join(KEY, &early, work).await, Ok(1));
        assert_eq!(*done.lock().unwrap(), 2, "what is over is not kept");
    }

    #[tokio::test]
    async fn whoever_waits_takes_over_from_one_who_is_dropped() {
        let flights = Flights::new();
        let steps = Steps::default();
        let pending = |_| std::future::pending();
        let never = flights.join(KEY, &steps, pending);
        let other = flights.join(KEY, &steps, |_| async { Ok(2) });
        tokio::pin!(never, other);
        tokio::select! {
            biased;
            never = &mut never => panic!("{never:?}"),
            other = &mut other => panic!("{other:?}"),
            () = tokio::task::yield_now() => {}
        }
        never.set(flights.join(KEY, &steps, pending));
        assert_eq!(other.await, Ok(2));
    }

    #[tokio::test]
    async fn a_failure_is_shared_and_tried_again_by_the_next() {
        let flights = Flights::new();
        let steps = Steps::default();
        let failed = || EnvironmentError::Machine { message: "no".to_owned() };
        let fail = |_| async { Err(failed()) };
        assert_eq!(flights.join(KEY, &steps, fail).await, Err::<u8, _>(failed()));
        assert_eq!(flights.join(KEY, &steps, |_| async { Ok(3) }).await, Ok(3));
    }
}
