//! The step on several cores, for minibatches that are large enough to pay for it.
//!
//! Each worker has panels of its own. It takes them through their part of a span of chunks; then the
//! workers share out the span's chunks, for the logits of each need all panels; then each goes on with
//! its panels. What is left, the minibatch itself and the gradients that all panels share, one worker
//! does alone while the others wait.
//!
//! Every sum has its terms from the same worker in the same order as with one worker: the results are the
//! same to the last bit, however many there are.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;

use super::ByToken;
use super::common::{Common, LogitSums, Logits};
use super::panel::Panel;
use super::phases::NATIVE;
use crate::reference::linear::Tile;

/// LectureTensors between two meetings. The more, the less is waited; but the activations of all of them lie
/// between what is worked on, and are to stay in the second-level cache. (Measured on two cores of a
/// Zen 4, 4,096 examples with 2,048 hidden units: a step takes 4.2 ms with 4, and 6.8 with 8.)
const SPAN: usize = 4;

/// A minibatch with its learning rate: `x (batch, block)`, `y (batch)`.
pub type Example<'a> = (&'a [u8], &'a [u8], f32);

/// Workers on the steps of one model. (With many cores, [`SPAN`] is also how many of them can be at the
/// logits, a sixth of a step.)
pub struct Team<'a> {
    workers: usize,
    common: RwLock<&'a mut Common<f32>>,
    panels: Vec<RwLock<&'a mut Panel<f32>>>,
    /// Of each chunk of a span.
    logits: Vec<RwLock<Logits<f32>>>,
    meeting: Meeting,
}

impl<'a> Team<'a> {
    /// So many workers, each of whom is to call [`Team::work`] on a thread of its own.
    pub fn new(model: &'a mut ByToken<f32>, workers: usize) -> Self {
        let dims = model.common.dims;
        for panel in &mut model.panels {
            panel.set_desks(SPAN);
        }
        Self {
            workers,
            common: RwLock::new(&mut model.common),
            panels: model.panels.iter_mut().map(RwLock::new).collect(),
            logits: (0..SPAN).map(|_| RwLock::new(Logits::new(&dims))).collect(),
            meeting: Meeting::new(workers),
        }
    }

    /// Ends the waiting of all workers if it is dropped by a panic.
    pub fn alarm(&self) -> Alarm<'_> {
        Alarm(&self.meeting)
    }

    /// The part of worker number `me` in some steps. The first one gives their losses.
    #[inline(always)]
    pub fn work<const FMA: bool, const ROWS: usize, const COLS: usize, const PARTS: usize>(
        &self,
        tile: Tile<FMA, ROWS, COLS, PARTS>,
        me: usize,
        steps: &[Example<'_>],
    ) -> Vec<f32> {
        let _alarm = self.alarm();
        let first = me == 0;
        let mut losses = Vec::new();
        let mut sums = LogitSums::new(&read(&self.common).dims);
        let own = || self.panels.iter().skip(me).step_by(self.workers);
        for &(x, y, lr) in steps {
            if first {
                write(&self.common).begin(x, y, ROWS);
                sums.clear();
            }
            self.meeting.attend();
            let common = read(&self.common);
            let step = &common.step(lr);
            for panel in own() {
                (NATIVE.statistics)(&mut write(panel), step);
            }
            let chunks = common.contexts.chunks();
            for start in (0..chunks).step_by(SPAN) {
                let span = start..chunks.min(start + SPAN);
                for panel in own() {
                    let panel = &mut **write(panel);
                    for chunk in span.clone() {
                        (NATIVE.activate)(panel, step, chunk);
                    }
                }
                self.meeting.attend();
                let panels: Vec<_> = self.panels.iter().map(read).collect();
                for chunk in span.clone().skip(me).step_by(self.workers) {
                    let logits = &mut *write(&self.logits[chunk % SPAN]);
                    let panels = panels.iter().map(|panel| &***panel);
                    common.last_layer(tile, panels, chunk, logits);
                }
                drop(panels);
                self.meeting.attend();
                for panel in own() {
                    let panel = &mut **write(panel);
                    for chunk in span.clone() {
                        let logits = read(&self.logits[chunk % SPAN]);
                        let dlogits = &logits.dlogits;
                        (NATIVE.through_second_layer)(panel, step, dlogits, chunk);
                    }
                }
                if first {
                    for chunk in span {
                        sums.add(&read(&self.logits[chunk % SPAN]).sums);
                    }
                }
            }
            if chunks > 1 {
                for panel in own() {
                    (NATIVE.after_chunks)(&mut write(panel), step);
                }
            }
            drop(common);
            self.meeting.attend();
            if first {
                let panels: Vec<_> = self.panels.iter().map(read).collect();
                let panels = panels.iter().map(|panel| &***panel);
                losses.push(write(&self.common).end(tile, panels, &sums, lr));
            }
            self.meeting.attend();
            let common = read(&self.common);
            let step = &common.step(lr);
            for panel in own() {
                (NATIVE.update)(&mut write(panel), step);
            }
            drop(common);
            self.meeting.attend();
        }
        losses
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// Where workers wait for each other, for fractions of a microsecond where all goes well: the
/// standard library's barrier puts a thread to sleep, and to wake it takes longer than a phase.
struct Meeting {
    workers: usize,
    present: AtomicUsize,
    /// Meetings held.
    held: AtomicUsize,
    /// A worker will not come any more.
    broken: AtomicBool,
}

impl Meeting {
    /// Rounds of waiting before others are let on to the core: some microseconds.
    const PATIENCE: usize = 1000;

    fn new(workers: usize) -> Self {
        Self {
            workers,
            present: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
        }
    }

    /// Returns when all workers have called this.
    ///
    /// # Panics
    ///
    /// If another worker has panicked.
    fn attend(&self) {
        let held = self.held.load(Ordering::Acquire);
        if self.present.fetch_add(1, Ordering::AcqRel) + 1 == self.workers {
            // Nobody can come to the next meeting before this one is held.
            self.present.store(0, Ordering::Relaxed);
            self.held.store(held.wrapping_add(1), Ordering::Release);
            return;
        }
        let mut rounds = 0;
        while self.held.load(Ordering::Acquire) == held {
            assert!(
                !self.broken.load(Ordering::Relaxed),
                "another worker panicked"
            );
            if rounds < Self::PATIENCE {
                rounds += 1;
                spin_loop();
            } else {
                thread::yield_now();
            }
        }
    }
}

/// Tells the workers of a panic, so that they do not wait for ever for one who will not come.
pub struct Alarm<'a>(&'a Meeting);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.broken.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_leaves_a_meeting_before_all_have_come() {
        let meeting = Meeting::new(3);
        let come = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for round in 1..=1000 {
                        come.fetch_add(1, Ordering::Relaxed);
                        meeting.attend();
                        assert_eq!(come.load(Ordering::Relaxed), 3 * round);
                        meeting.attend();
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_of_one_worker_ends_the_others() {
        let meeting = Meeting::new(2);
        let (one, other) = thread::scope(|scope| {
            let one = scope.spawn(|| {
                let _alarm = Alarm(&meeting);
                panic!("on purpose");
            });
            let other = scope.spawn(|| meeting.attend());
            (one.join(), other.join())
        });
        assert!(one.is_err() && other.is_err());
    }
}
