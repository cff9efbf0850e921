//! Work that is shared out among the cores of this machine.

use std::panic::resume_unwind;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

/// Cores that this process may use.
pub fn cores() -> usize {
    // To find out, some systems read files.
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| thread::available_parallelism().map_or(1, |cores| cores.get()))
}

/// Does `work` for each item, on at most so many threads, this one among them, and gives the results
/// in the order of the items. A thread that is done with an item takes the next one.
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
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(thread)).collect();
        let mut done = thread();
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done
    });
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
