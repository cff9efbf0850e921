//! Work that is shared out among the cores of this machine.

use std::panic::resume_unwind;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::{self, Builder};

/// Cores that this process may use.
pub fn cores() -> usize {
    // To find out, some systems read files.
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| thread::available_parallelism().map_or(1, |cores| cores.get()))
}

/// Does `work` for each item on at most `threads` threads, including this one, and returns the results
/// in the order of the items. A thread that is done with an item takes the next one. Where the system
/// refuses a thread, the others do its share.
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

/// Does `beside` on a thread of its own while this one does `here`, and gives both results. Where the
/// system refuses the thread, this one does both.
pub fn both<A: Send, B>(beside: impl FnOnce() -> A + Send, here: impl FnOnce() -> B) -> (A, B) {
    // A thread that does not start drops what it was given, so it is given a reference.
    let beside = Mutex::new(Some(beside));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_done() {
        let mut here = 0;
        let results = both(
            || 2,
            || {
                here = 1;
                3
            },
        );
        assert_eq!((results, here), ((2, 3), 1));
    }

    #[test]
    #[should_panic(expected = "beside")]
    fn a_panic_beside_is_passed_on() {
        both(|| panic!("beside"), || ());
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
