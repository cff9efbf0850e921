//! Work that is shared out among the cores of this machine.

use std::future::poll_fn;
#[cfg(not(target_arch = "wasm32"))]
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::task::Poll;
use std::thread;
#[cfg(not(target_arch = "wasm32"))]
use std::thread::Builder;

/// Cores that this process may use.
pub fn cores() -> usize {
    // To find out, some systems read files.
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| thread::available_parallelism().map_or(1, |cores| cores.get()))
}

/// Does `work` for each item on at most `threads` threads, including this one, and returns the results
/// in the order of the items. A thread that is done with an item takes the next one. Where the system
/// refuses a thread, the others do its share.
#[cfg(not(target_arch = "wasm32"))]
pub fn share_out<T: Send, R: Send>(
    threads: usize,
    items: impl IntoIterator<Item = T, IntoIter: Send>,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let items = Mutex::new(items.into_iter().enumerate());
    let next = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
    let thread = || -> Vec<(usize, R)> {
        let mut done = Vec::new();
        while let Some((i, item)) = next() {
            done.push((i, work(item)));
        }
        done
    };
    let mut done = thread::scope(|scope| {
        let start = |_| Builder::new().spawn_scoped(scope, thread).ok();
        let others: Vec<_> = (1..threads).map_while(start).collect();
        let mut done = thread();
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done
    });
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Does `work` for each item, one after another: a browser has no threads that wgpu's types could be sent
/// to.
#[cfg(target_arch = "wasm32")]
pub fn share_out<T, R>(
    _threads: usize,
    items: impl IntoIterator<Item = T>,
    work: impl Fn(T) -> R,
) -> Vec<R> {
    items.into_iter().map(work).collect()
}

/// Does `beside` while `work` is under way, and gives both results.
///
/// A native future blocks within its first poll, so there a thread of its own does `beside` during that
/// poll; where the system refuses the thread, this one does both. In a browser `work` has been started by
/// its first poll, and the device is busy with it while this thread does `beside`.
pub async fn both<A: Send, B>(
    beside: impl FnOnce() -> A + Send,
    work: impl Future<Output = B>,
) -> (A, B) {
    let mut work = pin!(work);
    let beside = Mutex::new(Some(beside));
    let first = poll_fn(|context| Poll::Ready(at_once(&beside, || work.as_mut().poll(context))));
    match first.await {
        (beside, Poll::Ready(done)) => (beside, done),
        (beside, Poll::Pending) => (beside, work.await),
    }
}

/// Does `beside` on a thread of its own while this one does `here`. Where the system refuses the thread,
/// this one does both.
#[cfg(not(target_arch = "wasm32"))]
fn at_once<A: Send, B, F: FnOnce() -> A + Send>(
    beside: &Mutex<Option<F>>,
    here: impl FnOnce() -> B,
) -> (A, B) {
    // A thread that does not start drops its closure, so the closure only borrows the work.
    let take = || beside.lock().unwrap_or_else(PoisonError::into_inner).take();
    thread::scope(|scope| {
        let started = Builder::new().spawn_scoped(scope, || take().map(|beside| beside()));
        let here = here();
        let joined = started.ok().and_then(|thread| {
            let done = thread.join();
            done.unwrap_or_else(|panic| resume_unwind(panic))
        });
        match (joined, take()) {
            (Some(beside), _) => (beside, here),
            (None, Some(beside)) => (beside(), here),
            (None, None) => unreachable!("a thread that took the work has done it or panicked"),
        }
    })
}

/// Does `here`, which starts work on a device, and then `beside`.
#[cfg(target_arch = "wasm32")]
fn at_once<A, B, F: FnOnce() -> A>(beside: &Mutex<Option<F>>, here: impl FnOnce() -> B) -> (A, B) {
    let here = here();
    let beside = beside.lock().unwrap_or_else(PoisonError::into_inner).take();
    match beside {
        Some(beside) => (beside(), here),
        None => unreachable!("the work beside is taken once"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use pollster::block_on;

    use super::*;

    #[test]
    fn both_are_done() {
        let mut here = 0;
        let results = block_on(both(|| 2, async {
            here = 1;
            3
        }));
        assert_eq!((results, here), ((2, 3), 1));
    }

    /// Each of the two waits for the other: it would hang if one began only when the other had ended.
    #[test]
    fn both_are_under_way_at_once() {
        let meeting = Barrier::new(2);
        block_on(both(|| meeting.wait(), async {
            meeting.wait();
        }));
    }

    /// What `work` awaits after its first poll is awaited too, and `beside` is done once.
    #[test]
    fn work_that_is_not_done_in_one_poll_is_polled_again() {
        let (mut polls, mut besides) = (0, 0);
        let work = poll_fn(|context| {
            polls += 1;
            context.waker().wake_by_ref();
            match polls {
                3 => Poll::Ready(polls),
                _ => Poll::Pending,
            }
        });
        let results = block_on(both(|| besides += 1, work));
        assert_eq!((results, besides), (((), 3), 1));
    }

    #[test]
    #[should_panic(expected = "beside")]
    fn a_panic_beside_is_passed_on() {
        block_on(both(|| panic!("beside"), async {}));
    }

    #[test]
    fn every_item_is_done_once_and_in_its_place() {
        for threads in [0, 1, 2, 7] {
            let mut items: Vec<usize> = (0..100).collect();
            let doubled = share_out(threads, items.iter_mut(), |item| {
                *item += 1;
                2 * *item
            });
            assert_eq!(items, (1..101).collect::<Vec<_>>());
            assert_eq!(doubled, (1..101).map(|item| 2 * item).collect::<Vec<_>>());
        }
        assert_eq!(share_out(3, [0; 0], |item| item), [0; 0]);
    }
}
