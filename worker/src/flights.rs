//! Work that is done once however many wait for it, and told to all of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OnceCell, watch};

/// Where the step that is being made ready is told, in words.
pub type Steps = watch::Sender<String>;

type Key = [u8; 32];

/// What is being made right now, by what it is made of.
#[derive(Debug)]
pub(crate) struct Flights<T, E> {
    flights: Mutex<BTreeMap<Key, Boarded<T, E>>>,
}

/// A flight, and how many wait for its end.
#[derive(Debug)]
struct Boarded<T, E> {
    flight: Arc<Flight<T, E>>,
    seats: usize,
}

#[derive(Debug)]
struct Flight<T, E> {
    result: OnceCell<Result<T, E>>,
    steps: Steps,
}

/// One who waits; a flight is forgotten with its end, or with the last of them.
struct Seat<'a, T, E> {
    flights: &'a Flights<T, E>,
    key: Key,
    flight: Arc<Flight<T, E>>,
}

impl<T, E> Drop for Seat<'_, T, E> {
    fn drop(&mut self) {
        let mut flights = self.flights.lock();
        if let Some(boarded) = flights.get_mut(&self.key)
            && Arc::ptr_eq(&boarded.flight, &self.flight)
        {
            boarded.seats -= 1;
            if boarded.seats == 0 || self.flight.result.initialized() {
                flights.remove(&self.key);
            }
        }
    }
}

impl<T, E> Flights<T, E> {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Boarded<T, E>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone, E: Clone> Flights<T, E> {
    pub(crate) fn new() -> Self {
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
    pub(crate) async fn join<W: Future<Output = Result<T, E>>>(
        &self,
        key: Key,
        steps: &Steps,
        work: impl FnOnce(Steps) -> W,
    ) -> Result<T, E> {
        let seat = self.take_seat(key);
        let flight = &*seat.flight;
        let mut told = flight.steps.subscribe();
        told.mark_changed(); // Who comes late wants to know, too.
        let result = flight.result.get_or_init(|| work(flight.steps.clone()));
        tokio::pin!(result);
        loop {
            tokio::select! {
                biased;
                result = &mut result => return result.clone(),
                Ok(()) = told.changed() => {
                    let step = told.borrow_and_update().clone();
                    if !step.is_empty() {
                        steps.send_replace(step);
                    }
                }
            }
        }
    }

    fn take_seat(&self, key: Key) -> Seat<'_, T, E> {
        let mut flights = self.lock();
        let boarded = flights.entry(key).or_insert_with(|| {
            let flight = Flight { result: OnceCell::new(), steps: Steps::default() };
            Boarded { flight: Arc::new(flight), seats: 0 }
        });
        boarded.seats += 1;
        Seat { flights: self, key, flight: Arc::clone(&boarded.flight) }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;

    use super::*;

    const KEY: Key = [7; 32];

    #[tokio::test]
    async fn work_is_done_once_and_told_to_all_who_wait() {
        let flights = Flights::<_, &str>::new();
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
        let flights = Flights::<_, &str>::new();
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
    async fn nothing_is_kept_once_nobody_waits_any_more() {
        let flights = Flights::<u8, &str>::new();
        let steps = Steps::default();
        {
            let never = flights.join(KEY, &steps, |_| std::future::pending());
            tokio::pin!(never);
            tokio::select! {
                biased;
                never = &mut never => panic!("{never:?}"),
                () = tokio::task::yield_now() => {}
            }
            assert_eq!(flights.lock().len(), 1);
        }
        assert_eq!(flights.lock().len(), 0, "its only waiter was cancelled");
    }

    #[tokio::test]
    async fn a_failure_is_shared_and_tried_again_by_the_next() {
        let flights = Flights::<_, &str>::new();
        let steps = Steps::default();
        let failed = || "no";
        let fail = |_| async { Err(failed()) };
        assert_eq!(flights.join(KEY, &steps, fail).await, Err::<u8, _>(failed()));
        assert_eq!(flights.join(KEY, &steps, |_| async { Ok(3) }).await, Ok(3));
    }
}
