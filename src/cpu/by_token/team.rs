//! The step on several cores, for minibatches that are large enough to be worth it.
//!
//! Each worker owns some panels. For a span of blocks, it first computes the activations of its panels. The
//! logits of a block need all panels, so the workers then divide the blocks of the span among them. After
//! that each continues with its own panels. One worker alone reads the minibatch and computes the gradients
//! that all panels share, while the others wait.
//!
//! Every sum has one owner, which adds its terms in a fixed order: any number of workers computes the same
//! bits.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;

use super::ByToken;
use super::panel::Panel;
use super::phases::NATIVE;
use super::shared::{LogitSums, Logits, Shared};
use crate::model::dims::Token;
use crate::reference::linear::Tile;

/// Blocks between two barriers. A longer span waits less often, but its activations have to stay in the
/// second-level cache. (Measured on two cores of a Zen 4, 4,096 examples with 2,048 hidden units: a step
/// takes 4.2 ms with a span of 4, and 6.8 with 8.)
const SPAN: usize = 4;

/// A minibatch with its learning rate: `x (batch, block)`, `y (batch)`.
pub type Minibatch<'a> = (&'a [Token], &'a [Token], f32);

/// Workers on the steps of one model. ([`SPAN`] also limits how many of them work on the logits, which are a
/// sixth of a step.)
pub struct Team<'a> {
    workers: usize,
    shared: RwLock<&'a mut Shared<f32>>,
    panels: Vec<RwLock<&'a mut Panel<f32>>>,
    /// The logits of each block of a span.
    logits: Vec<RwLock<Logits<f32>>>,
    barrier: Barrier,
}

impl<'a> Team<'a> {
    /// A team of `workers`, each of which calls [`Team::work`] on its own thread.
    pub fn new(model: &'a mut ByToken<f32>, workers: usize) -> Self {
        let dims = model.shared.dims;
        for panel in &mut model.panels {
            panel.set_buffers(SPAN);
        }
        Self {
            workers,
            shared: RwLock::new(&mut model.shared),
            panels: model.panels.iter_mut().map(RwLock::new).collect(),
            logits: (0..SPAN).map(|_| RwLock::new(Logits::new(&dims))).collect(),
            barrier: Barrier::new(workers),
        }
    }

    /// A guard: if a panic drops it, all workers stop waiting and panic too.
    pub fn alarm(&self) -> Alarm<'_> {
        Alarm(&self.barrier)
    }

    /// The part of worker number `me` in some steps. Worker 0 returns their losses.
    #[inline(always)]
    pub fn work<const FMA: bool, const ROWS: usize, const COLS: usize, const PARTS: usize>(
        &self,
        tile: Tile<FMA, ROWS, COLS, PARTS>,
        me: usize,
        steps: &[Minibatch<'_>],
    ) -> Vec<f32> {
        let _alarm = self.alarm();
        let first = me == 0;
        let mut losses = Vec::new();
        let mut sums = LogitSums::new(&read(&self.shared).dims);
        let own = || self.panels.iter().skip(me).step_by(self.workers);
        for &(x, y, lr) in steps {
            if first {
                write(&self.shared).begin(x, y, ROWS);
                sums.clear();
            }
            self.barrier.wait();
            let shared = read(&self.shared);
            let step = &shared.step(lr);
            for panel in own() {
                (NATIVE.statistics)(&mut write(panel), step);
            }
            let blocks = shared.contexts.blocks();
            for start in (0..blocks).step_by(SPAN) {
                let span = start..blocks.min(start + SPAN);
                for panel in own() {
                    let panel = &mut **write(panel);
                    for block in span.clone() {
                        (NATIVE.activate)(panel, step, block);
                    }
                }
                self.barrier.wait();
                let panels: Vec<_> = self.panels.iter().map(read).collect();
                for block in span.clone().skip(me).step_by(self.workers) {
                    let logits = &mut *write(&self.logits[block % SPAN]);
                    let panels = panels.iter().map(|panel| &***panel);
                    shared.last_layer(tile, panels, block, logits);
                }
                drop(panels);
                self.barrier.wait();
                for panel in own() {
                    let panel = &mut **write(panel);
                    for block in span.clone() {
                        let logits = read(&self.logits[block % SPAN]);
                        let dlogits = &logits.dlogits;
                        (NATIVE.through_second_layer)(panel, step, dlogits, block);
                    }
                }
                if first {
                    for block in span {
                        sums.add(&read(&self.logits[block % SPAN]).sums);
                    }
                }
            }
            if blocks > 1 {
                for panel in own() {
                    (NATIVE.after_blocks)(&mut write(panel), step);
                }
            }
            drop(shared);
            self.barrier.wait();
            if first {
                let panels: Vec<_> = self.panels.iter().map(read).collect();
                let panels = panels.iter().map(|panel| &***panel);
                losses.push(write(&self.shared).end(tile, panels, &sums, lr));
            }
            self.barrier.wait();
            let shared = read(&self.shared);
            let step = &shared.step(lr);
            for panel in own() {
                (NATIVE.update)(&mut write(panel), step);
            }
            drop(shared);
            self.barrier.wait();
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

/// A barrier that spins, because workers rarely wait for more than a microsecond: the standard library's
/// barrier puts threads to sleep, and waking one takes longer than a phase.
struct Barrier {
    workers: usize,
    arrived: AtomicUsize,
    /// How many times all workers have arrived.
    generation: AtomicUsize,
    /// A worker has panicked and will not arrive.
    broken: AtomicBool,
}

impl Barrier {
    /// Iterations of spinning before the core is yielded to other threads: some microseconds.
    const SPINS: usize = 1000;

    fn new(workers: usize) -> Self {
        Self {
            workers,
            arrived: AtomicUsize::new(0),
            generation: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
        }
    }

    /// Returns when all workers have called this.
    ///
    /// # Panics
    ///
    /// If another worker has panicked.
    fn wait(&self) {
        let generation = self.generation.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.workers {
            // Until the generation changes, nobody can arrive for the next one.
            self.arrived.store(0, Ordering::Relaxed);
            self.generation
                .store(generation.wrapping_add(1), Ordering::Release);
            return;
        }
        let mut spins = 0;
        while self.generation.load(Ordering::Acquire) == generation {
            assert!(
                !self.broken.load(Ordering::Relaxed),
                "another worker panicked"
            );
            if spins < Self::SPINS {
                spins += 1;
                spin_loop();
            } else {
                thread::yield_now();
            }
        }
    }
}

/// Tells the other workers of a panic, so that they do not wait forever.
pub struct Alarm<'a>(&'a Barrier);

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
    fn nobody_passes_a_barrier_before_all_have_arrived() {
        let barrier = Barrier::new(3);
        let come = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for round in 1..=1000 {
                        come.fetch_add(1, Ordering::Relaxed);
                        barrier.wait();
                        assert_eq!(come.load(Ordering::Relaxed), 3 * round);
                        barrier.wait();
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_of_one_worker_ends_the_others() {
        let barrier = Barrier::new(2);
        let (one, other) = thread::scope(|scope| {
            let one = scope.spawn(|| {
                let _alarm = Alarm(&barrier);
                panic!("on purpose");
            });
            let other = scope.spawn(|| barrier.wait());
            (one.join(), other.join())
        });
        assert!(one.is_err() && other.is_err());
    }
}
